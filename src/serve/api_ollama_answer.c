/* serve/api_ollama_answer.c - answers of /api/generate and /api/chat: one JSON object, or one a line.
 * SPDX-License-Identifier: Apache-2.0
 * A tool call is told whole, when it has ended; its arguments are an object here. */
#include "serve/api_ollama_answer.h"

#include "base/clock.h"
#include "base/num.h"
#include "serve/api_ollama_part.h"

typedef struct ollama_api {
    fh_voice v; /* first */
    fh_json_writer w;
    bool chat;
    size_t told; /* tokens whose chances were sent */
} ollama_api;

void fh_ollama_put_head(fh_json_writer *w, const char *model) {
    fh_put_z(w, "model", model);
    fh_put_time(w, "created_at", fh_clock_unix_ms());
}

static void put_call(const fh_said *s, fh_json_writer *w, uint32_t k) {
    fh_json_put_object(w);
    fh_put_z(w, "id", s->call[k].id);
    fh_put_object(w, "function");
    fh_put_u64(w, "index", k);
    fh_put_z(w, "name", s->call[k].name);
    fh_json_put_key(w, "arguments");
    fh_put_args(w, fh_buf_str(&s->call[k].arguments));
    fh_json_put_end(w);
    fh_json_put_end(w);
}

/* What is said, as the members of one object; call: one to tell, or UINT32_MAX; all: every one. */
static void put_said(fh_ask *a, fh_str text, fh_str thinking, uint32_t call, bool all) {
    ollama_api *p = a->api;
    fh_json_writer *w = &p->w;
    const fh_said *s = &a->said[0];
    if (!p->chat) {
        fh_put_str(w, "response", text);
        if (thinking.len) fh_put_str(w, "thinking", thinking);
        return;
    }
    fh_put_object(w, "message");
    fh_put_z(w, "role", "assistant");
    fh_put_str(w, "content", text);
    if (thinking.len) fh_put_str(w, "thinking", thinking);
    if (call != UINT32_MAX || (all && s->n_call)) {
        fh_put_array(w, "tool_calls");
        for (uint32_t k = 0; k < s->n_call; k++)
            if (all || k == call) put_call(s, w, k);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void put_chances(fh_ask *a) {
    ollama_api *p = a->api;
    const fh_said *s = &a->said[0];
    if (!a->want_chance || p->told == s->tokens.len) return;
    fh_json_put_key(&p->w, "logprobs");
    fh_ask_put_chances(a, &p->w, s, p->told, s->tokens.len);
    p->told = s->tokens.len;
}

static void open_line(fh_ask *a) {
    ollama_api *p = a->api;
    fh_json_writer_init(&p->w, &p->v.b, false);
    fh_json_put_object(&p->w);
    fh_ollama_put_head(&p->w, a->r->name);
}

static fh_consume send_line(fh_ask *a, fh_str text, fh_str thinking, uint32_t call) {
    ollama_api *p = a->api;
    open_line(a);
    put_said(a, text, thinking, call, false);
    put_chances(a);
    fh_put_bool(&p->w, "done", false);
    fh_json_put_end(&p->w);
    return fh_put_send(&p->v.stream, NULL, &p->v.b);
}

static void put_end(fh_ask *a) {
    ollama_api *p = a->api;
    fh_json_writer *w = &p->w;
    const fh_said *s = &a->said[0];
    put_chances(a);
    fh_put_bool(w, "done", true);
    fh_put_z(w, "done_reason", s->why == FH_WHY_LENGTH ? "length" : "stop");
    if (!p->chat) {
        fh_put_array(w, "context");
        for (size_t i = 0; i < a->tokens.len; i++) fh_json_put_u64(w, a->tokens.ptr[i]);
        for (size_t i = 0; i < s->tokens.len; i++) fh_json_put_u64(w, s->tokens.ptr[i]);
        fh_json_put_end(w);
    }
    fh_put_u64(w, "total_duration", fh_clock_ns() - a->start_ns);
    fh_put_u64(w, "load_duration", a->load_ns);
    fh_put_u64(w, "prompt_eval_count", a->n_prompt);
    fh_put_u64(w, "prompt_eval_duration", a->prompt_ns);
    fh_put_u64(w, "eval_count", a->n_new);
    fh_put_u64(w, "eval_duration", a->new_ns);
    fh_json_put_key(w, "freehold");
    fh_ask_put_provenance(a, w);
}

static void finish(fh_ask *a) {
    ollama_api *p = a->api;
    const fh_said *s = &a->said[0];
    fh_str none = {"", 0};
    open_line(a);
    put_said(a, a->stream ? none : fh_buf_str(&s->text), a->stream ? none : fh_buf_str(&s->reasoning), UINT32_MAX,
             !a->stream);
    put_end(a);
    fh_json_put_end(&p->w);
    if (!a->stream) {
        fh_put_reply(a->call, &p->v.b);
        return;
    }
    (void)fh_put_send(&p->v.stream, NULL, &p->v.b);
    fh_stream_end(&p->v.stream);
}

static fh_consume say(fh_ask *a, const fh_say *s) {
    ollama_api *p = a->api;
    fh_str none = {"", 0};
    if (s->kind == FH_SAY_DONE) {
        finish(a);
        return FH_CONSUME_MORE;
    }
    if (!a->stream) return FH_CONSUME_MORE;
    switch (s->kind) {
    case FH_SAY_START: fh_stream_begin(&p->v.stream); break;
    case FH_SAY_TEXT: return send_line(a, s->text, none, UINT32_MAX);
    case FH_SAY_REASONING: return send_line(a, none, s->text, UINT32_MAX);
    case FH_SAY_CALL_END: return send_line(a, none, none, s->call);
    case FH_SAY_FAILED: fh_put_send_error(a->call, &p->v.stream, NULL, s->err); return FH_CONSUME_CANCEL;
    case FH_SAY_DONE:
    case FH_SAY_TOKEN:
    case FH_SAY_CALL:
    case FH_SAY_ARGUMENTS:
    case FH_SAY_END: break;
    }
    return FH_CONSUME_MORE;
}

bool fh_ollama_attach(fh_ask *a, bool chat) {
    ollama_api *p = fh_ask_attach(a, sizeof *p, FH_STREAM_LINES, say, NULL);
    if (p) p->chat = chat;
    return p != NULL;
}
