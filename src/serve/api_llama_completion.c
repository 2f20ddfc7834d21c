/* serve/api_llama_completion.c - POST /completion, /infill and /apply-template as llama-server has them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "serve/api_llama_part.h"
#include "serve/router.h"

typedef struct completion {
    fh_voice v; /* first */
    fh_json_writer w;
    bool tokens;
    size_t told;
} completion;

static void put_ms(fh_json_writer *w, const char *key, uint64_t ns) { fh_put_f64(w, key, (double)(ns / 1000) / 1e3); }

static void put_timings(const fh_ask *a, fh_json_writer *w) {
    uint32_t computed = a->n_prompt - FH_MIN(a->n_cached, a->n_prompt);
    fh_put_object(w, "timings");
    fh_put_u64(w, "cache_n", a->n_cached);
    fh_put_u64(w, "prompt_n", computed);
    put_ms(w, "prompt_ms", a->prompt_ns);
    fh_put_f64(w, "prompt_per_second", a->prompt_ns ? computed * 1e9 / (double)a->prompt_ns : 0);
    fh_put_u64(w, "predicted_n", a->n_new);
    put_ms(w, "predicted_ms", a->new_ns);
    fh_put_f64(w, "predicted_per_second", a->new_ns ? a->n_new * 1e9 / (double)a->new_ns : 0);
    fh_json_put_end(w);
}

static void begin(fh_ask *a, fh_str text) {
    completion *p = a->api;
    const fh_said *s = &a->said[0];
    fh_json_writer_init(&p->w, &p->v.b, false);
    fh_json_put_object(&p->w);
    fh_put_u64(&p->w, "index", 0);
    fh_put_str(&p->w, "content", text);
    fh_put_array(&p->w, "tokens");
    for (size_t i = p->told; p->tokens && i < s->tokens.len; i++) fh_json_put_u64(&p->w, s->tokens.ptr[i]);
    fh_json_put_end(&p->w);
    if (a->want_chance) {
        fh_json_put_key(&p->w, "completion_probabilities");
        fh_ask_put_chances(a, &p->w, s, p->told, s->tokens.len);
    }
    p->told = s->tokens.len;
}

static void finish(fh_ask *a) {
    completion *p = a->api;
    const fh_said *s = &a->said[0];
    fh_json_writer *w = &p->w;
    begin(a, a->stream ? FH_STR("") : fh_buf_str(&s->text));
    fh_put_u64(w, "id_slot", 0);
    fh_put_bool(w, "stop", true);
    fh_put_z(w, "model", a->r->name);
    fh_put_u64(w, "tokens_predicted", a->n_new);
    fh_put_u64(w, "tokens_evaluated", a->n_prompt);
    fh_put_u64(w, "tokens_cached", (uint64_t)a->n_prompt + a->n_new);
    fh_put_bool(w, "truncated", false);
    fh_put_z(w, "stop_type", s->why == FH_WHY_STOP_STRING ? "word" : s->why == FH_WHY_LENGTH ? "limit" : "eos");
    fh_put_str(w, "stopping_word", s->why == FH_WHY_STOP_STRING ? s->stop : FH_STR(""));
    put_timings(a, w);
    fh_json_put_key(w, "freehold");
    fh_ask_put_provenance(a, w);
    fh_json_put_end(w);
    if (!a->stream) {
        fh_put_reply(a->call, &p->v.b);
        return;
    }
    (void)fh_put_send(&p->v.stream, NULL, &p->v.b);
    fh_stream_end(&p->v.stream);
}

static fh_consume say(fh_ask *a, const fh_say *s) {
    completion *p = a->api;
    if (s->kind == FH_SAY_DONE) finish(a);
    if (!a->stream) return FH_CONSUME_MORE;
    if (s->kind == FH_SAY_START) fh_stream_begin(&p->v.stream);
    if (s->kind == FH_SAY_FAILED) fh_put_send_error(a->call, &p->v.stream, "error", s->err);
    if (s->kind != FH_SAY_TEXT) return FH_CONSUME_MORE;
    begin(a, s->text);
    fh_put_bool(&p->w, "stop", false);
    fh_put_u64(&p->w, "tokens_predicted", a->n_new);
    fh_put_u64(&p->w, "tokens_evaluated", a->n_prompt);
    fh_json_put_end(&p->w);
    return fh_put_send(&p->v.stream, NULL, &p->v.b);
}

/* ---- requests ---- */

static void read_ids(fh_ask *a, fh_in *in, const fh_json_node *list) {
    uint64_t id;
    for (const fh_json_node *n = fh_json_first(list); n; n = fh_json_after(list, n)) {
        if (fh_json_to_u64(n, &id) && id < UINT32_MAX) fh_ids_add(&a->ids, (uint32_t)id);
        else fh_in_fail(in, "prompt", "'prompt' must be a text or an array of token ids");
    }
}

static void read_common(fh_ask *a, fh_in *in) {
    static const char *const idle[] = {"cache_prompt", "id_slot",          "timings_per_token",  "return_progress",
                                       "n_keep",       "t_max_predict_ms", "post_sampling_probs"};
    completion *p = a->api;
    uint64_t n;
    const fh_json_node *schema;
    a->kind = FH_ASK_TEXT;
    (void)fh_in_str(in, "model", &a->model);
    (void)fh_in_bool(in, "stream", &a->stream);
    (void)fh_in_bool(in, "ignore_eos", &a->ignore_end);
    (void)fh_in_bool(in, "return_tokens", &p->tokens);
    fh_ask_read_most(a, in, "n_predict");
    fh_ask_read_most(a, in, "max_tokens");
    fh_ask_read_sampling(a, in);
    fh_ask_read_stop(a, in, "stop");
    fh_ask_read_bias(a, in, "logit_bias");
    a->samplers = fh_in_get(in, "samplers");
    if (fh_in_u64(in, "n_probs", 0, fh_app_caps(a->call->app)->n_top, &n) && n) {
        a->want_chance = true;
        a->n_logprob = (uint32_t)n;
    }
    if (fh_in_str(in, "grammar", &a->format_text) && a->format_text.len) a->format = FH_FORMAT_GBNF;
    if (a->format_text.len > fh_app_caps(a->call->app)->schema_bytes)
        fh_in_fail(in, "grammar", "'grammar' has more than %u bytes", fh_app_caps(a->call->app)->schema_bytes);
    if ((schema = fh_in_get(in, "json_schema"))) fh_ask_read_schema(a, in, "json_schema", schema);
    for (size_t i = 0; i < FH_COUNT(idle); i++) fh_in_ignore(in, idle[i]);
}

static fh_ask *new_ask(fh_call *c, fh_in *in) {
    fh_ask *a = fh_ask_open(c, in, sizeof(completion), say, NULL);
    if (a) read_common(a, in);
    return a;
}

void fh_llama_completion(fh_call *c) {
    fh_in in;
    fh_ask *a = new_ask(c, &in);
    if (!a) return;
    const fh_json_node *prompt = fh_in_get(&in, "prompt");
    if (fh_json_is(prompt, FH_JSON_ARRAY)) read_ids(a, &in, prompt);
    else if (!fh_json_to_str(prompt, &a->prompt))
        fh_in_fail(&in, "prompt", "'prompt' must be a text or an array of token ids");
    fh_ask_go(a, &in);
}

void fh_llama_infill(fh_call *c) {
    fh_in in;
    fh_ask *a = new_ask(c, &in);
    if (!a) return;
    a->infill = true;
    bool before = fh_in_str(&in, "input_prefix", &a->prefix), behind = fh_in_str(&in, "input_suffix", &a->suffix);
    if (!before || !behind) fh_in_fail(&in, "input_prefix", "'input_prefix' and 'input_suffix' must be texts");
    (void)fh_in_str(&in, "prompt", &a->prompt);
    fh_ask_go(a, &in);
}

static void say_prompt(fh_ask *a, fh_str prompt, const fh_ids *ids) {
    fh_buf b;
    fh_json_writer w;
    (void)ids;
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    fh_put_str(&w, "prompt", prompt);
    fh_json_put_end(&w);
    fh_put_reply(a->call, &b);
}

void fh_llama_template(fh_call *c) {
    fh_in in;
    fh_json_writer w;
    fh_ask *a = fh_ask_new(c);
    if (!a) return;
    fh_in_init(&in, fh_json_root(a->body));
    (void)fh_in_str(&in, "model", &a->model);
    const fh_json_node *list = fh_in_array(&in, "messages");
    if (!list) fh_in_fail(&in, "messages", "'messages' must be an array of messages");
    fh_json_writer_init(&w, &a->messages, false);
    if (list) fh_json_put_tree(&w, list);
    fh_ask_read_tools(a, &in, fh_in_array(&in, "tools"));
    a->kwargs = fh_in_object(&in, "chat_template_kwargs");
    if (fh_in_answer(&in, c)) fh_ask_free(a);
    else fh_ask_render(a, say_prompt);
}
