/* serve/api_openai_embed.c - POST /v1/embeddings, and rerank as its clients know it.
 * SPDX-License-Identifier: Apache-2.0
 * Rerank answers in three forms: Cohere's and llama-server's ({"results": [...]}) and, where the request says "texts",
 * a bare array. */
#include <stdlib.h>

#include "base/num.h"
#include "serve/api_openai_part.h"
#include "serve/chat_embed.h"
#include "serve/router.h"

enum { AS_FLOATS, AS_BASE64, AS_RESULTS, AS_ARRAY };

static void put_usage(const fh_vec *v, fh_json_writer *w) {
    fh_json_put_key(w, "usage");
    fh_json_put_object(w);
    fh_put_u64(w, "prompt_tokens", v->n_token);
    fh_put_u64(w, "total_tokens", v->n_token);
    fh_json_put_end(w);
}

static void put_vector(const fh_vec *v, fh_json_writer *w, size_t i) {
    const float *x = v->out + i * v->width;
    if (v->style == AS_BASE64) {
        fh_vec_put_base64(w, x, v->width);
        return;
    }
    fh_json_put_array(w);
    for (uint32_t k = 0; k < v->width; k++) fh_json_put_f64(w, (double)x[k]);
    fh_json_put_end(w);
}

static void embeddings_done(fh_vec *v) {
    fh_buf b;
    fh_json_writer w;
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    fh_put_z(&w, "object", "list");
    fh_json_put_key(&w, "data");
    fh_json_put_array(&w);
    for (size_t i = 0; i < v->n_input; i++) {
        fh_json_put_object(&w);
        fh_put_z(&w, "object", "embedding");
        fh_put_u64(&w, "index", i);
        fh_json_put_key(&w, "embedding");
        put_vector(v, &w, i);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_put_z(&w, "model", v->r->name);
    put_usage(v, &w);
    fh_json_put_end(&w);
    fh_put_reply(v->call, &b);
}

void fh_openai_embeddings(fh_call *c) {
    fh_in in;
    fh_str format;
    fh_vec *v = fh_vec_new(c);
    if (!v) return;
    fh_in_init(&in, fh_json_root(v->body));
    (void)fh_in_str(&in, "model", &v->model);
    fh_vec_read_input(v, &in, "input");
    if (fh_in_str(&in, "encoding_format", &format)) {
        if (fh_str_is(format, "base64")) v->style = AS_BASE64;
        else if (!fh_str_is(format, "float"))
            fh_in_fail(&in, "encoding_format", "'encoding_format' must be float or base64");
    }
    (void)fh_in_u64(&in, "dimensions", 1, UINT32_MAX, &v->dimensions);
    fh_in_ignore(&in, "user");
    v->done = embeddings_done;
    if (fh_in_answer(&in, c)) fh_vec_free(v);
    else fh_vec_run(v);
}

/* ---- rerank ---- */

typedef struct place {
    double score;
    size_t index;
} place;

static int better(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static void put_place(const fh_vec *v, fh_json_writer *w, const place *p) {
    fh_json_put_object(w);
    fh_put_u64(w, "index", p->index);
    fh_json_put_key(w, v->style == AS_ARRAY ? "score" : "relevance_score");
    fh_json_put_f64(w, p->score);
    if (v->with_text && v->style == AS_ARRAY) fh_put_str(w, "text", v->input[p->index].text);
    if (v->with_text && v->style == AS_RESULTS) {
        fh_json_put_key(w, "document");
        fh_json_put_object(w);
        fh_put_str(w, "text", v->input[p->index].text);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void rerank_done(fh_vec *v) {
    fh_buf b;
    fh_json_writer w;
    place *list = fh_alloc(v->n_input, sizeof *list);
    if (!list) {
        fh_call_fail(v->call, 503, NULL, NULL, "out of memory");
        return;
    }
    for (size_t i = 0; i < v->n_input; i++) list[i] = (place){v->score[i], i};
    qsort(list, v->n_input, sizeof *list, better);
    size_t n = v->top ? FH_MIN(v->top, v->n_input) : v->n_input;
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    if (v->style == AS_RESULTS) {
        fh_json_put_object(&w);
        fh_put_z(&w, "model", v->r->name);
        fh_put_z(&w, "object", "list");
        put_usage(v, &w);
        fh_json_put_key(&w, "results");
    }
    fh_json_put_array(&w);
    for (size_t i = 0; i < n; i++) put_place(v, &w, &list[i]);
    fh_json_put_end(&w);
    if (v->style == AS_RESULTS) fh_json_put_end(&w);
    fh_free(list);
    fh_put_reply(v->call, &b);
}

void fh_openai_rerank(fh_call *c) {
    fh_in in;
    fh_vec *v = fh_vec_new(c);
    if (!v) return;
    fh_in_init(&in, fh_json_root(v->body));
    (void)fh_in_str(&in, "model", &v->model);
    if (!fh_in_str(&in, "query", &v->query)) fh_in_fail(&in, "query", "'query' must be a text");
    bool texts = fh_json_get(fh_json_root(v->body), "texts") != NULL;
    v->style = texts ? AS_ARRAY : AS_RESULTS;
    fh_vec_read_input(v, &in, texts ? "texts" : "documents");
    (void)fh_in_u64(&in, "top_n", 1, UINT32_MAX, &v->top);
    (void)fh_in_bool(&in, "return_documents", &v->with_text);
    (void)fh_in_bool(&in, "return_text", &v->with_text);
    v->rank = true;
    v->done = rerank_done;
    if (fh_in_answer(&in, c)) fh_vec_free(v);
    else fh_vec_run(v);
}
