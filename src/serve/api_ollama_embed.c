/* serve/api_ollama_embed.c - POST /api/embed, and /api/embeddings as it was before.
 * SPDX-License-Identifier: Apache-2.0
 * Texts that are too long are refused unless the request says "truncate": true. */
#include "base/clock.h"
#include "serve/api_ollama_part.h"
#include "serve/chat_embed.h"
#include "serve/router.h"

static void put_vector(const fh_vec *v, fh_json_writer *w, size_t i) {
    fh_json_put_array(w);
    for (uint32_t k = 0; k < v->width; k++) fh_json_put_f64(w, (double)v->out[i * v->width + k]);
    fh_json_put_end(w);
}

static void embed_done(fh_vec *v) {
    fh_buf b;
    fh_json_writer w;
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    if (v->style == 1) {
        fh_json_put_key(&w, "embedding");
        put_vector(v, &w, 0);
    } else {
        fh_put_z(&w, "model", v->r->name);
        fh_put_array(&w, "embeddings");
        for (size_t i = 0; i < v->n_input; i++) put_vector(v, &w, i);
        fh_json_put_end(&w);
        fh_put_u64(&w, "total_duration", fh_clock_ns() - v->start_ns);
        fh_put_u64(&w, "load_duration", v->load_ns);
        fh_put_u64(&w, "prompt_eval_count", v->n_token);
    }
    fh_json_put_end(&w);
    fh_put_reply(v->call, &b);
}

static void embed(fh_call *c, const char *input, int style) {
    fh_in in;
    fh_vec *v = fh_vec_new(c);
    if (!v) return;
    fh_in_init(&in, fh_json_root(v->body));
    (void)fh_ollama_read_model(&in, &v->model);
    fh_vec_read_input(v, &in, input);
    v->keep_ms = fh_ollama_read_keep(&in);
    (void)fh_in_bool(&in, "truncate", &v->cut);
    (void)fh_in_u64(&in, "dimensions", 0, UINT32_MAX, &v->dimensions);
    fh_in_ignore(&in, "options");
    v->style = style;
    v->done = embed_done;
    if (fh_in_answer(&in, c)) fh_vec_free(v);
    else fh_vec_run(v);
}

void fh_ollama_embed(fh_call *c) { embed(c, "input", 0); }
void fh_ollama_embeddings(fh_call *c) { embed(c, "prompt", 1); }
