/* serve/api_openai_completions.c - POST /v1/completions.
 * SPDX-License-Identifier: Apache-2.0
 * Several prompts are answered one after another; choices are numbered through. */
#include "base/num.h"
#include "serve/api_openai_part.h"
#include "serve/router.h"

typedef struct text_api {
    fh_voice v; /* first */
    fh_json_writer w;
    bool usage, echo, begun;
    const fh_json_node *list, *next; /* prompts, where there are several; the one after this */
    uint32_t n_before;               /* choices of the prompts before */
    size_t told[FH_ASK_CHOICES_MOST];
    size_t offset[FH_ASK_CHOICES_MOST]; /* bytes of the text before the tokens that are told next */
} text_api;

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
    fh_put_u64(&p->w, "index", p->n_before + choice);
    fh_put_str(&p->w, "text", text);
    put_chances(a, choice);
    fh_json_put_key(&p->w, "finish_reason");
    if (why) fh_json_put_z(&p->w, why);
    else fh_json_put_null(&p->w);
    fh_json_put_end(&p->w);
}

static void open_answer(fh_ask *a) {
    text_api *p = a->api;
    fh_json_writer_init(&p->w, &p->v.b, false);
    fh_json_put_object(&p->w);
    fh_openai_put_head(a, &p->w, "cmpl-", "text_completion");
    fh_put_array(&p->w, "choices");
}

static bool set_prompt(fh_ask *a, const fh_json_node *n);

/* On to the next prompt, if there is one. */
static bool go_on(fh_ask *a) {
    text_api *p = a->api;
    if (!p->next || !set_prompt(a, p->next)) return false;
    p->next = fh_json_after(p->list, p->next);
    p->n_before += a->n_choice;
    memset(p->told, 0, sizeof p->told);
    memset(p->offset, 0, sizeof p->offset);
    fh_ask_again(a);
    return true;
}

static void reply_whole(fh_ask *a) {
    text_api *p = a->api;
    if (!p->begun) open_answer(a);
    p->begun = true;
    for (uint32_t i = 0; i < a->n_choice; i++) {
        fh_buf text;
        fh_buf_init(&text, FH_ASK_TEXT_MOST * 2);
        if (p->echo) fh_buf_add_str(&text, a->prompt);
        fh_buf_add_str(&text, fh_buf_str(&a->said[i].text));
        put_choice(a, i, fh_buf_str(&text), fh_openai_why(a->said[i].why));
        fh_buf_release(&text);
    }
    if (go_on(a)) return;
    fh_json_put_end(&p->w);
    fh_json_put_key(&p->w, "usage");
    fh_openai_put_usage(a, &p->w);
    fh_openai_put_extra(a, &p->w);
    fh_json_put_end(&p->w);
    fh_put_reply(a->call, &p->v.b);
}

static fh_consume send_chunk(fh_ask *a, uint32_t choice, fh_str text, const char *why) {
    text_api *p = a->api;
    open_answer(a);
    put_choice(a, choice, text, why);
    fh_json_put_end(&p->w);
    if (p->usage) fh_put_null(&p->w, "usage");
    fh_json_put_end(&p->w);
    return fh_put_send(&p->v.stream, NULL, &p->v.b);
}

static void send_last(fh_ask *a) {
    text_api *p = a->api;
    if (go_on(a)) return;
    if (p->usage) {
        open_answer(a);
        fh_json_put_end(&p->w);
        fh_json_put_key(&p->w, "usage");
        fh_openai_put_usage(a, &p->w);
        fh_openai_put_extra(a, &p->w);
        fh_json_put_end(&p->w);
        (void)fh_put_send(&p->v.stream, NULL, &p->v.b);
    }
    fh_stream_send(&p->v.stream, NULL, FH_STR("[DONE]"));
    fh_stream_end(&p->v.stream);
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
        fh_stream_begin(&p->v.stream);
        break;
    case FH_SAY_TEXT: return send_chunk(a, s->choice, s->text, NULL);
    case FH_SAY_END: return send_chunk(a, s->choice, FH_STR(""), fh_openai_why(a->said[s->choice].why));
    case FH_SAY_DONE: send_last(a); break;
    case FH_SAY_FAILED: fh_put_send_error(a->call, &p->v.stream, NULL, s->err); return FH_CONSUME_CANCEL;
    case FH_SAY_TOKEN:
    case FH_SAY_REASONING:
    case FH_SAY_CALL:
    case FH_SAY_ARGUMENTS:
    case FH_SAY_CALL_END: break;
    }
    return FH_CONSUME_MORE;
}

/* ---- the request ---- */

/* A text, or token ids. */
static bool set_prompt(fh_ask *a, const fh_json_node *n) {
    uint64_t id;
    fh_ids_clear(&a->ids);
    a->prompt = FH_STR("");
    if (fh_json_to_str(n, &a->prompt)) return true;
    for (const fh_json_node *t = fh_json_first(n); t; t = fh_json_after(n, t)) {
        if (!fh_json_to_u64(t, &id) || id >= UINT32_MAX) return false;
        fh_ids_add(&a->ids, (uint32_t)id);
    }
    return a->ids.len > 0 && a->ids.status == FH_OK;
}

static void read_prompt(fh_ask *a, fh_in *in) {
    text_api *p = a->api;
    const fh_json_node *n = fh_in_get(in, "prompt"), *one = fh_json_first(n);
    uint32_t most = fh_app_caps(a->call->app)->n_input;
    bool several = fh_json_is(n, FH_JSON_ARRAY) && !fh_json_is(one, FH_JSON_NUMBER), ok = n && (one || !several);
    if (several && n && n->n_child > most) {
        fh_in_fail(in, "prompt", "'prompt' has %u entries, at most %u", n->n_child, most);
        return;
    }
    for (const fh_json_node *k = several && ok ? fh_json_after(n, one) : NULL; k && ok; k = fh_json_after(n, k))
        ok = set_prompt(a, k);
    if (!ok || !set_prompt(a, several ? one : n)) {
        fh_in_fail(in, "prompt", "'prompt' must be a text, token ids, or an array of either");
        return;
    }
    if (several) p->list = n, p->next = fh_json_after(n, one);
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
        if (p->next) fh_in_fail(in, "suffix", "'suffix' goes with one prompt");
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
    p->usage = fh_openai_wants_usage(a);
}

void fh_openai_completions(fh_call *c) {
    fh_in in;
    fh_ask *a = fh_ask_open(c, &in, sizeof(text_api), say, NULL);
    if (!a) return;
    read_request(a, &in);
    fh_ask_go(a, &in);
}
