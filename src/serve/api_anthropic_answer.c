/* serve/api_anthropic_answer.c - answers of POST /v1/messages, whole or streamed.
 * SPDX-License-Identifier: Apache-2.0
 * A stream: message_start, ping, then blocks strictly one after another (start, deltas, stop), message_delta with the
 * reason, message_stop. A block that another kind of text interrupts is closed before that begins. */
#include "serve/api_anthropic_part.h"

#include "base/num.h"

typedef enum block { BLOCK_NONE, BLOCK_THINKING, BLOCK_TEXT, BLOCK_CALL } block;

typedef struct messages_api {
    fh_voice v; /* first */
    fh_json_writer w;
    block open;
    uint32_t index;
} messages_api;

static const char *reason_of(const fh_said *s) {
    switch (s->why) {
    case FH_WHY_STOP_STRING: return "stop_sequence";
    case FH_WHY_LENGTH: return "max_tokens";
    case FH_WHY_CALLS: return "tool_use";
    case FH_WHY_STOP:
    case FH_WHY_CANCELLED: break;
    }
    return "end_turn";
}

static void put_reason(const fh_said *s, fh_json_writer *w) {
    fh_put_z(w, "stop_reason", reason_of(s));
    if (s->why == FH_WHY_STOP_STRING) fh_put_str(w, "stop_sequence", s->stop);
    else fh_put_null(w, "stop_sequence");
}

static void put_usage(const fh_ask *a, fh_json_writer *w) {
    uint32_t cached = FH_MIN(a->n_cached, a->n_prompt);
    fh_put_object(w, "usage");
    fh_put_u64(w, "input_tokens", a->n_prompt - cached);
    fh_put_u64(w, "cache_creation_input_tokens", 0);
    fh_put_u64(w, "cache_read_input_tokens", cached);
    fh_put_u64(w, "output_tokens", a->n_new);
    fh_json_put_end(w);
}

static void put_head(const fh_ask *a, fh_json_writer *w) {
    char id[40];
    (void)snprintf(id, sizeof id, "msg_%s", a->id);
    fh_put_z(w, "id", id);
    fh_put_z(w, "type", "message");
    fh_put_z(w, "role", "assistant");
    fh_put_z(w, "model", a->r->name);
}

/* ---- whole ---- */

static void reply_whole(fh_ask *a) {
    messages_api *p = a->api;
    const fh_said *s = &a->said[0];
    fh_json_writer *w = &p->w;
    fh_json_writer_init(w, &p->v.b, false);
    fh_json_put_object(w);
    put_head(a, w);
    fh_put_array(w, "content");
    if (s->reasoning.len) {
        fh_json_put_object(w);
        fh_put_z(w, "type", "thinking");
        fh_put_str(w, "thinking", fh_buf_str(&s->reasoning));
        fh_put_z(w, "signature", "");
        fh_json_put_end(w);
    }
    if (s->text.len) {
        fh_json_put_object(w);
        fh_put_z(w, "type", "text");
        fh_put_str(w, "text", fh_buf_str(&s->text));
        fh_json_put_end(w);
    }
    for (uint32_t i = 0; i < s->n_call; i++) {
        fh_json_put_object(w);
        fh_put_z(w, "type", "tool_use");
        fh_put_z(w, "id", s->call[i].id);
        fh_put_z(w, "name", s->call[i].name);
        fh_json_put_key(w, "input");
        fh_put_args(w, fh_buf_str(&s->call[i].arguments));
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    put_reason(s, w);
    put_usage(a, w);
    fh_json_put_key(w, "freehold");
    fh_ask_put_provenance(a, w);
    fh_json_put_end(w);
    fh_put_reply(a->call, &p->v.b);
}

/* ---- streamed ---- */

static fh_json_writer *begin(messages_api *p, const char *type) {
    fh_json_writer_init(&p->w, &p->v.b, false);
    fh_json_put_object(&p->w);
    fh_put_z(&p->w, "type", type);
    return &p->w;
}

static fh_consume send(messages_api *p, const char *type) {
    fh_json_put_end(&p->w);
    return fh_put_send(&p->v.stream, type, &p->v.b);
}

static void send_start(fh_ask *a) {
    messages_api *p = a->api;
    fh_json_writer *w = begin(p, "message_start");
    fh_put_object(w, "message");
    put_head(a, w);
    fh_put_array(w, "content");
    fh_json_put_end(w);
    fh_put_null(w, "stop_reason");
    fh_put_null(w, "stop_sequence");
    put_usage(a, w);
    fh_json_put_end(w);
    (void)send(p, "message_start");
    (void)begin(p, "ping");
    (void)send(p, "ping");
}

static fh_consume send_delta(messages_api *p, const char *type, const char *field, fh_str text) {
    fh_json_writer *w = begin(p, "content_block_delta");
    fh_put_u64(w, "index", p->index);
    fh_put_object(w, "delta");
    fh_put_z(w, "type", type);
    fh_put_str(w, field, text);
    fh_json_put_end(w);
    return send(p, "content_block_delta");
}

static void close_block(messages_api *p) {
    if (p->open == BLOCK_NONE) return;
    if (p->open == BLOCK_THINKING) (void)send_delta(p, "signature_delta", "signature", FH_STR(""));
    fh_json_writer *w = begin(p, "content_block_stop");
    fh_put_u64(w, "index", p->index++);
    (void)send(p, "content_block_stop");
    p->open = BLOCK_NONE;
}

static void open_block(messages_api *p, block kind, const fh_say *s) {
    if (p->open == kind && kind != BLOCK_CALL) return;
    close_block(p);
    fh_json_writer *w = begin(p, "content_block_start");
    fh_put_u64(w, "index", p->index);
    fh_put_object(w, "content_block");
    if (kind == BLOCK_THINKING) {
        fh_put_z(w, "type", "thinking");
        fh_put_z(w, "thinking", "");
        fh_put_z(w, "signature", "");
    } else if (kind == BLOCK_TEXT) {
        fh_put_z(w, "type", "text");
        fh_put_z(w, "text", "");
    } else {
        fh_put_z(w, "type", "tool_use");
        fh_put_str(w, "id", s->id);
        fh_put_str(w, "name", s->name);
        fh_put_object(w, "input");
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    (void)send(p, "content_block_start");
    p->open = kind;
}

static void send_last(fh_ask *a) {
    messages_api *p = a->api;
    close_block(p);
    fh_json_writer *w = begin(p, "message_delta");
    fh_put_object(w, "delta");
    put_reason(&a->said[0], w);
    fh_json_put_end(w);
    put_usage(a, w);
    (void)send(p, "message_delta");
    (void)begin(p, "message_stop");
    (void)send(p, "message_stop");
    fh_stream_end(&p->v.stream);
}

static fh_consume say_stream(fh_ask *a, const fh_say *s) {
    messages_api *p = a->api;
    switch (s->kind) {
    case FH_SAY_START: send_start(a); break;
    case FH_SAY_REASONING:
        open_block(p, BLOCK_THINKING, s);
        return send_delta(p, "thinking_delta", "thinking", s->text);
    case FH_SAY_TEXT: open_block(p, BLOCK_TEXT, s); return send_delta(p, "text_delta", "text", s->text);
    case FH_SAY_CALL: open_block(p, BLOCK_CALL, s); break;
    case FH_SAY_ARGUMENTS: return send_delta(p, "input_json_delta", "partial_json", s->text);
    case FH_SAY_CALL_END: close_block(p); break;
    case FH_SAY_DONE: send_last(a); break;
    case FH_SAY_FAILED: fh_put_send_error(a->call, &p->v.stream, "error", s->err); return FH_CONSUME_CANCEL;
    case FH_SAY_TOKEN:
    case FH_SAY_END: break;
    }
    return p->v.stream.gone ? FH_CONSUME_CANCEL : p->v.stream.full ? FH_CONSUME_PAUSE : FH_CONSUME_MORE;
}

static fh_consume say(fh_ask *a, const fh_say *s) {
    if (a->stream) return say_stream(a, s);
    if (s->kind == FH_SAY_DONE) reply_whole(a);
    return FH_CONSUME_MORE;
}

bool fh_anthropic_attach(fh_ask *a) {
    return fh_ask_attach(a, sizeof(messages_api), FH_STREAM_EVENTS, say, NULL) != NULL;
}
