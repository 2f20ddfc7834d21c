/* serve/api_openai_chat.c - POST /v1/chat/completions.
 * SPDX-License-Identifier: Apache-2.0
 * A stream: a chunk with the role for each choice, deltas, a chunk with the reason for each, usage where it was asked
 * for, [DONE]. A call's id and name come in its first piece only. */
#include "base/num.h"
#include "serve/api_openai_part.h"
#include "serve/router.h"

typedef struct chat_api {
    fh_voice v; /* first */
    bool usage;
    size_t told[FH_ASK_CHOICES_MOST]; /* tokens whose chances were sent */
} chat_api;

/* ---- whole answers ---- */

static void put_message(const fh_said *s, fh_json_writer *w) {
    fh_json_put_object(w);
    fh_put_z(w, "role", "assistant");
    fh_json_put_key(w, "content");
    if (s->text.len || !s->n_call) fh_json_put_str(w, fh_buf_str(&s->text));
    else fh_json_put_null(w);
    fh_put_null(w, "refusal");
    if (s->reasoning.len) {
        fh_put_str(w, "reasoning_content", fh_buf_str(&s->reasoning));
        fh_put_str(w, "reasoning", fh_buf_str(&s->reasoning));
    }
    if (s->n_call) {
        fh_json_put_key(w, "tool_calls");
        fh_json_put_array(w);
        for (uint32_t i = 0; i < s->n_call; i++) {
            fh_json_put_object(w);
            fh_put_z(w, "id", s->call[i].id);
            fh_put_z(w, "type", "function");
            fh_json_put_key(w, "function");
            fh_json_put_object(w);
            fh_put_z(w, "name", s->call[i].name);
            fh_put_str(w, "arguments", fh_buf_str(&s->call[i].arguments));
            fh_json_put_end(w);
            fh_json_put_end(w);
        }
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void put_chances(const fh_ask *a, fh_json_writer *w, const fh_said *s, size_t from) {
    fh_json_put_object(w);
    fh_json_put_key(w, "content");
    fh_ask_put_chances(a, w, s, from, s->tokens.len);
    fh_put_null(w, "refusal");
    fh_json_put_end(w);
}

static void reply_whole(fh_ask *a) {
    chat_api *p = a->api;
    fh_json_writer w;
    fh_json_writer_init(&w, &p->v.b, false);
    fh_json_put_object(&w);
    fh_openai_put_head(a, &w, "chatcmpl-", "chat.completion");
    fh_json_put_key(&w, "choices");
    fh_json_put_array(&w);
    for (uint32_t i = 0; i < a->n_choice; i++) {
        const fh_said *s = &a->said[i];
        fh_json_put_object(&w);
        fh_put_u64(&w, "index", i);
        fh_json_put_key(&w, "message");
        put_message(s, &w);
        fh_json_put_key(&w, "logprobs");
        if (a->want_chance) put_chances(a, &w, s, 0);
        else fh_json_put_null(&w);
        fh_put_z(&w, "finish_reason", fh_openai_why(s->why));
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_json_put_key(&w, "usage");
    fh_openai_put_usage(a, &w);
    fh_openai_put_extra(a, &w);
    fh_json_put_end(&w);
    fh_put_reply(a->call, &p->v.b);
}

/* ---- chunks ---- */

static void open_chunk(fh_ask *a, fh_json_writer *w, uint32_t choice) {
    chat_api *p = a->api;
    fh_json_writer_init(w, &p->v.b, false);
    fh_json_put_object(w);
    fh_openai_put_head(a, w, "chatcmpl-", "chat.completion.chunk");
    fh_json_put_key(w, "choices");
    fh_json_put_array(w);
    fh_json_put_object(w);
    fh_put_u64(w, "index", choice);
    fh_json_put_key(w, "delta");
    fh_json_put_object(w);
}

static fh_consume close_chunk(fh_ask *a, fh_json_writer *w, uint32_t choice, const char *why) {
    chat_api *p = a->api;
    const fh_said *s = &a->said[choice];
    fh_json_put_end(w); /* delta */
    fh_json_put_key(w, "logprobs");
    if (a->want_chance && p->told[choice] < s->tokens.len) {
        put_chances(a, w, s, p->told[choice]);
        p->told[choice] = s->tokens.len;
    } else fh_json_put_null(w);
    fh_json_put_key(w, "finish_reason");
    if (why) fh_json_put_z(w, why);
    else fh_json_put_null(w);
    fh_json_put_end(w);
    fh_json_put_end(w);
    if (p->usage) fh_put_null(w, "usage");
    fh_json_put_end(w);
    return fh_put_send(&p->v.stream, NULL, &p->v.b);
}

static fh_consume send_roles(fh_ask *a) {
    fh_json_writer w;
    fh_consume c = FH_CONSUME_MORE;
    for (uint32_t i = 0; i < a->n_choice; i++) {
        open_chunk(a, &w, i);
        fh_put_z(&w, "role", "assistant");
        fh_put_z(&w, "content", "");
        c = close_chunk(a, &w, i, NULL);
    }
    return c;
}

static fh_consume send_call(fh_ask *a, const fh_say *s) {
    fh_json_writer w;
    bool first = s->kind == FH_SAY_CALL;
    open_chunk(a, &w, s->choice);
    fh_json_put_key(&w, "tool_calls");
    fh_json_put_array(&w);
    fh_json_put_object(&w);
    fh_put_u64(&w, "index", s->call);
    if (first) {
        fh_put_str(&w, "id", s->id);
        fh_put_z(&w, "type", "function");
    }
    fh_json_put_key(&w, "function");
    fh_json_put_object(&w);
    if (first) fh_put_str(&w, "name", s->name);
    fh_put_str(&w, "arguments", first ? FH_STR("") : s->text);
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    return close_chunk(a, &w, s->choice, NULL);
}

static void send_last(fh_ask *a) {
    chat_api *p = a->api;
    fh_json_writer w;
    if (p->usage) {
        fh_json_writer_init(&w, &p->v.b, false);
        fh_json_put_object(&w);
        fh_openai_put_head(a, &w, "chatcmpl-", "chat.completion.chunk");
        fh_json_put_key(&w, "choices");
        fh_json_put_array(&w);
        fh_json_put_end(&w);
        fh_json_put_key(&w, "usage");
        fh_openai_put_usage(a, &w);
        fh_openai_put_extra(a, &w);
        fh_json_put_end(&w);
        (void)fh_put_send(&p->v.stream, NULL, &p->v.b);
    }
    fh_stream_send(&p->v.stream, NULL, FH_STR("[DONE]"));
    fh_stream_end(&p->v.stream);
}

static fh_consume say_stream(fh_ask *a, const fh_say *s) {
    fh_json_writer w;
    switch (s->kind) {
    case FH_SAY_START: return send_roles(a);
    case FH_SAY_TEXT:
        open_chunk(a, &w, s->choice);
        fh_put_str(&w, "content", s->text);
        return close_chunk(a, &w, s->choice, NULL);
    case FH_SAY_REASONING:
        open_chunk(a, &w, s->choice);
        fh_put_str(&w, "reasoning_content", s->text);
        fh_put_str(&w, "reasoning", s->text);
        return close_chunk(a, &w, s->choice, NULL);
    case FH_SAY_CALL:
    case FH_SAY_ARGUMENTS: return send_call(a, s);
    case FH_SAY_END:
        open_chunk(a, &w, s->choice);
        return close_chunk(a, &w, s->choice, fh_openai_why(a->said[s->choice].why));
    case FH_SAY_DONE: send_last(a); return FH_CONSUME_MORE;
    case FH_SAY_FAILED:
        fh_put_send_error(a->call, &((chat_api *)a->api)->v.stream, NULL, s->err);
        return FH_CONSUME_CANCEL;
    case FH_SAY_TOKEN:
    case FH_SAY_CALL_END: break;
    }
    return FH_CONSUME_MORE;
}

static fh_consume say(fh_ask *a, const fh_say *s) {
    if (a->stream) return say_stream(a, s);
    if (s->kind == FH_SAY_DONE) reply_whole(a);
    return FH_CONSUME_MORE;
}

/* ---- the request ---- */

static void read_chat(fh_ask *a, fh_in *in) {
    uint64_t n;
    chat_api *p = a->api;
    bool generate = true;
    fh_openai_read_common(a, in);
    fh_openai_read_messages(a, in, fh_in_array(in, "messages"));
    fh_ask_read_tools(a, in, fh_in_array(in, "tools"));
    fh_openai_read_choice(a, in);
    fh_openai_read_format(a, in, "response_format", fh_in_object(in, "response_format"));
    fh_openai_read_effort(a, in, "reasoning_effort", fh_in_get(in, "reasoning_effort"));
    fh_ask_read_budget(a, in);
    a->kwargs = fh_in_object(in, "chat_template_kwargs");
    fh_ask_read_most(a, in, "max_tokens");
    fh_ask_read_most(a, in, "max_completion_tokens");
    (void)fh_in_bool(in, "logprobs", &a->want_chance);
    if (fh_in_u64(in, "top_logprobs", 0, fh_app_caps(a->call->app)->n_top, &n)) {
        a->n_logprob = (uint32_t)n;
        if (!a->want_chance) fh_in_fail(in, "top_logprobs", "'top_logprobs' needs 'logprobs' to be true");
    }
    (void)fh_in_bool(in, "continue_final_message", &a->continue_last);
    if (fh_in_bool(in, "add_generation_prompt", &generate) && !generate) a->continue_last = true;
    p->usage = fh_openai_wants_usage(a);
}

void fh_openai_chat(fh_call *c) {
    fh_in in;
    fh_ask *a = fh_ask_open(c, &in, sizeof(chat_api), say, NULL);
    if (!a) return;
    read_chat(a, &in);
    fh_ask_go(a, &in);
}
