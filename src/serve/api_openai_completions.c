/* serve/api_openai_completions.c - POST /v1/completions.
 * SPDX-License-Identifier: Apache-2.0
 * One prompt a request, as text or as token ids; several answers to it are fine. */
#include "base/num.h"
#include "serve/api_openai_part.h"
#include "serve/router.h"

typedef struct text_api {
    fh_stream stream;
    fh_buf b;
    fh_json_writer w;
    bool usage, echo;
    size_t told[FH_ASK_CHOICES_MOST];
    size_t offset[FH_ASK_CHOICES_MOST]; /* bytes of the text before the tokens that are told next */
} text_api;

static void free_api(void *api) {
    text_api *p = api;
    fh_stream_release(&p->stream);
    fh_buf_release(&p->b);
    fh_free(p);
}

static size_t token_bytes(const fh_ask *a, uint32_t token) {
    fh_buf b;
    fh_buf_init(&b, 1u << 16);
    size_t n = fh_tokenizer_token_bytes(a->r->tokenizer, token, &b, NULL) == FH_OK ? b.len : 0;
    fh_buf_release(&b);
    return n;
}

static void put_top(const fh_ask *a, fh_json_writer *w, const fh_said *s, size_t i) {
    fh_json_put_object(w);
    for (size_t k = 0; k < a->n_logprob; k++) {
        const fh_token_chance *c = &s->top[i * a->n_logprob + k];
        fh_buf b;
        if (c->token == FH_VOCAB_NO_ID) break;
        fh_buf_init(&b, 1u << 16);
        if (fh_tokenizer_token_bytes(a->r->tokenizer, c->token, &b, NULL) == FH_OK && fh_utf8_valid(fh_buf_str(&b)))
            fh_json_put_key_str(w, fh_buf_str(&b));
        else {
            char name[24];
            (void)snprintf(name, sizeof name, "<%u>", c->token);
            fh_json_put_key(w, name);
        }
        fh_json_put_f64(w, (double)c->ln);
        fh_buf_release(&b);
    }
    fh_json_put_end(w);
}

/* Tokens that were not told yet, in the old form. */
static void put_chances(fh_ask *a, uint32_t choice) {
    text_api *p = a->api;
    fh_json_writer *w = &p->w;
    const fh_said *s = &a->said[choice];
    size_t from = p->told[choice], to = s->tokens.len;
    fh_json_put_key(w, "logprobs");
    if (!a->want_chance) {
        fh_json_put_null(w);
        return;
    }
    fh_json_put_object(w);
    fh_put_array(w, "tokens");
    for (size_t i = from; i < to; i++) fh_ask_put_token(a, w, s->tokens.ptr[i]);
    fh_json_put_end(w);
    fh_put_array(w, "token_logprobs");
    for (size_t i = from; i < to; i++) fh_json_put_f64(w, (double)s->own[i].ln);
    fh_json_put_end(w);
    fh_put_array(w, "top_logprobs");
    for (size_t i = from; i < to; i++) put_top(a, w, s, i);
    fh_json_put_end(w);
    fh_put_array(w, "text_offset");
    for (size_t i = from; i < to; i++) {
        fh_json_put_u64(w, p->offset[choice]);
        p->offset[choice] += token_bytes(a, s->tokens.ptr[i]);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
    p->told[choice] = to;
}

static void put_choice(fh_ask *a, uint32_t choice, fh_str text, const char *why) {
    text_api *p = a->api;
    fh_json_put_object(&p->w);
    fh_put_u64(&p->w, "index", choice);
    fh_put_str(&p->w, "text", text);
    put_chances(a, choice);
    fh_json_put_key(&p->w, "finish_reason");
    if (why) fh_json_put_z(&p->w, why);
    else fh_json_put_null(&p->w);
    fh_json_put_end(&p->w);
}

static void open_answer(fh_ask *a) {
    text_api *p = a->api;
    fh_json_writer_init(&p->w, &p->b, false);
    fh_json_put_object(&p->w);
    fh_openai_put_head(a, &p->w, "cmpl-", "text_completion");
    fh_put_array(&p->w, "choices");
}

static void reply_whole(fh_ask *a) {
    text_api *p = a->api;
    open_answer(a);
    for (uint32_t i = 0; i < a->n_choice; i++) {
        fh_buf text;
        fh_buf_init(&text, FH_ASK_TEXT_MOST * 2);
        if (p->echo) fh_buf_add_str(&text, a->prompt);
        fh_buf_add_str(&text, fh_buf_str(&a->said[i].text));
        put_choice(a, i, fh_buf_str(&text), fh_openai_why(a->said[i].why));
        fh_buf_release(&text);
    }
    fh_json_put_end(&p->w);
    fh_json_put_key(&p->w, "usage");
    fh_openai_put_usage(a, &p->w);
    fh_openai_put_extra(a, &p->w);
    fh_json_put_end(&p->w);
    fh_put_reply(a->call, &p->b);
}

static fh_consume send_chunk(fh_ask *a, uint32_t choice, fh_str text, const char *why) {
    text_api *p = a->api;
    open_answer(a);
    put_choice(a, choice, text, why);
    fh_json_put_end(&p->w);
    if (p->usage) fh_put_null(&p->w, "usage");
    fh_json_put_end(&p->w);
    return fh_put_send(&p->stream, NULL, &p->b);
}

static void send_last(fh_ask *a) {
    text_api *p = a->api;
    if (p->usage) {
        open_answer(a);
        fh_json_put_end(&p->w);
        fh_json_put_key(&p->w, "usage");
        fh_openai_put_usage(a, &p->w);
        fh_openai_put_extra(a, &p->w);
        fh_json_put_end(&p->w);
        (void)fh_put_send(&p->stream, NULL, &p->b);
    }
    fh_stream_send(&p->stream, NULL, FH_STR("[DONE]"));
    fh_stream_end(&p->stream);
}

static fh_consume say(fh_ask *a, const fh_say *s) {
    text_api *p = a->api;
    if (!a->stream) {
        if (s->kind == FH_SAY_DONE) reply_whole(a);
        return FH_CONSUME_MORE;
    }
    switch (s->kind) {
    case FH_SAY_START:
        for (uint32_t i = 0; p->echo && i < a->n_choice; i++) (void)send_chunk(a, i, a->prompt, NULL);
        fh_stream_begin(&p->stream);
        break;
    case FH_SAY_TEXT: return send_chunk(a, s->choice, s->text, NULL);
    case FH_SAY_END: return send_chunk(a, s->choice, FH_STR(""), fh_openai_why(a->said[s->choice].why));
    case FH_SAY_DONE: send_last(a); break;
    case FH_SAY_FAILED: fh_put_send_error(a->call, &p->stream, NULL, s->err); return FH_CONSUME_CANCEL;
    case FH_SAY_TOKEN:
    case FH_SAY_REASONING:
    case FH_SAY_CALL:
    case FH_SAY_ARGUMENTS:
    case FH_SAY_CALL_END: break;
    }
    return FH_CONSUME_MORE;
}

/* ---- the request ---- */

static void read_ids(fh_ask *a, fh_in *in, const fh_json_node *list) {
    uint64_t id;
    for (const fh_json_node *n = fh_json_first(list); n; n = fh_json_after(list, n)) {
        if (fh_json_to_u64(n, &id) && id < UINT32_MAX) fh_ids_add(&a->ids, (uint32_t)id);
        else fh_in_fail(in, "prompt", "'prompt' holds what is no token id");
    }
}

static void read_prompt(fh_ask *a, fh_in *in) {
    const fh_json_node *p = fh_in_get(in, "prompt"), *one = fh_json_first(p);
    if (fh_json_to_str(p, &a->prompt)) return;
    if (!fh_json_is(p, FH_JSON_ARRAY) || !one) {
        fh_in_fail(in, "prompt", "'prompt' must be a text or an array of token ids");
    } else if (fh_json_is(one, FH_JSON_NUMBER)) {
        read_ids(a, in, p);
    } else if (p->n_child > 1) {
        fh_in_fail(in, "prompt", "'prompt' has %u entries: one a request is supported", p->n_child);
    } else if (fh_json_is(one, FH_JSON_ARRAY)) {
        read_ids(a, in, one);
    } else if (!fh_json_to_str(one, &a->prompt)) {
        fh_in_fail(in, "prompt", "'prompt' must be a text or an array of token ids");
    }
}

static void read_request(fh_ask *a, fh_in *in) {
    text_api *p = a->api;
    uint64_t n;
    a->kind = FH_ASK_TEXT;
    fh_openai_read_common(a, in);
    read_prompt(a, in);
    fh_ask_read_most(a, in, "max_tokens");
    if (!a->most_set) a->most = 16, a->most_set = true; /* as this route always had it */
    (void)fh_in_bool(in, "echo", &p->echo);
    if (fh_in_str(in, "suffix", &a->suffix) && a->suffix.len) {
        a->infill = true;
        a->prefix = a->prompt;
        a->prompt = FH_STR("");
    }
    if (fh_in_u64(in, "logprobs", 0, fh_app_caps(a->call->app)->n_top, &n)) {
        a->want_chance = true;
        a->n_logprob = (uint32_t)n;
    }
    if (fh_in_u64(in, "best_of", 1, 1u << 20, &n) && n != a->n_choice)
        fh_in_fail(in, "best_of", "'best_of' must be equal to 'n'");
    fh_openai_read_format(a, in, "response_format", fh_in_object(in, "response_format"));
    const fh_json_node *o = fh_json_get(fh_json_root(a->body), "stream_options");
    (void)fh_json_to_bool(fh_json_get(o, "include_usage"), &p->usage);
}

void fh_openai_completions(fh_call *c) {
    fh_in in;
    fh_ask *a = fh_ask_new(c);
    if (!a) return;
    text_api *p = fh_alloc_zero(1, sizeof *p);
    if (!p) {
        fh_ask_free(a);
        fh_call_fail(c, 503, NULL, NULL, "out of memory");
        return;
    }
    fh_buf_init(&p->b, FH_REPLY_MOST);
    fh_stream_init(&p->stream, c->x, FH_STREAM_EVENTS);
    a->api = p;
    a->free_api = free_api;
    a->say = say;
    fh_in_init(&in, fh_json_root(a->body));
    read_request(a, &in);
    if (fh_in_answer(&in, c)) fh_ask_free(a);
    else fh_ask_run(a);
}
