/* serve/api_openai_responses_answer.c - answers of POST /v1/responses, whole or as events.
 * SPDX-License-Identifier: Apache-2.0
 * Every event has a type and a sequence_number. response.created, response.in_progress; for each item, one after
 * another, output_item.added, its parts, output_item.done; then completed or incomplete. */
#include "serve/api_openai_responses.h"

#include "base/num.h"

static void put_id(const fh_ask *a, fh_json_writer *w, const char *key, const char *prefix, size_t k) {
    char id[64];
    (void)snprintf(id, sizeof id, "%s_%s%02zx", prefix, a->id, k & 255u);
    fh_put_z(w, key, id);
}

static const char *prefix_of(const fh_item *i) {
    return i->kind == FH_ITEM_REASONING ? "rs" : i->kind == FH_ITEM_MESSAGE ? "msg" : "fc";
}

static fh_str text_of(const fh_ask *a, const fh_item *i) {
    const fh_said *s = &a->said[0];
    const fh_buf *b = i->kind == FH_ITEM_REASONING ? &s->reasoning
                      : i->kind == FH_ITEM_MESSAGE ? &s->text
                                                   : &s->call[i->call].arguments;
    fh_str all = fh_buf_str(b);
    if (i->kind == FH_ITEM_CALL) return all;
    return (fh_str){all.ptr + i->from, FH_MIN(i->to, all.len) - i->from};
}

static void put_part(fh_json_writer *w, const fh_item *i, fh_str text) {
    fh_json_put_object(w);
    fh_put_z(w, "type", i->kind == FH_ITEM_MESSAGE ? "output_text" : "reasoning_text");
    fh_put_str(w, "text", text);
    if (i->kind == FH_ITEM_MESSAGE) {
        fh_put_array(w, "annotations");
        fh_json_put_end(w);
        fh_put_array(w, "logprobs");
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

/* done: with what it holds; else as it begins. */
static void put_item(const fh_ask *a, fh_json_writer *w, size_t k, bool done) {
    const fh_responses *p = a->api;
    const fh_item *i = &p->item[k];
    fh_json_put_object(w);
    put_id(a, w, "id", prefix_of(i), k);
    fh_put_z(w, "type",
             i->kind == FH_ITEM_REASONING ? "reasoning"
             : i->kind == FH_ITEM_MESSAGE ? "message"
                                          : "function_call");
    fh_put_z(w, "status", done ? "completed" : "in_progress");
    if (i->kind == FH_ITEM_CALL) {
        fh_put_z(w, "call_id", a->said[0].call[i->call].id);
        fh_put_z(w, "name", a->said[0].call[i->call].name);
        fh_put_str(w, "arguments", done ? text_of(a, i) : FH_STR(""));
    } else {
        if (i->kind == FH_ITEM_MESSAGE) fh_put_z(w, "role", "assistant");
        if (i->kind == FH_ITEM_REASONING) {
            fh_put_array(w, "summary");
            fh_json_put_end(w);
        }
        fh_put_array(w, "content");
        if (done) put_part(w, i, text_of(a, i));
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void put_node(fh_json_writer *w, const char *key, const fh_json_node *n, const char *otherwise) {
    fh_json *doc = NULL;
    fh_json_put_key(w, key);
    if (n) fh_json_put_tree(w, n);
    else if (fh_json_parse(&doc, fh_str_of(otherwise), NULL, NULL) == FH_OK) fh_json_put_tree(w, fh_json_root(doc));
    else fh_json_put_null(w);
    fh_json_free(doc);
}

static void put_usage(const fh_ask *a, fh_json_writer *w) {
    fh_put_object(w, "usage");
    fh_put_u64(w, "input_tokens", a->n_prompt);
    fh_put_object(w, "input_tokens_details");
    fh_put_u64(w, "cached_tokens", a->n_cached);
    fh_json_put_end(w);
    fh_put_u64(w, "output_tokens", a->n_new);
    fh_put_object(w, "output_tokens_details");
    fh_put_u64(w, "reasoning_tokens", a->said[0].n_reasoning);
    fh_json_put_end(w);
    fh_put_u64(w, "total_tokens", (uint64_t)a->n_prompt + a->n_new);
    fh_json_put_end(w);
}

static void put_text_or_null(fh_json_writer *w, const char *key, fh_str s) {
    if (s.len) fh_put_str(w, key, s);
    else fh_put_null(w, key);
}

void fh_responses_put(fh_ask *a, fh_json_writer *w, const char *status) {
    const fh_responses *p = a->api;
    bool ended = strcmp(status, "in_progress") != 0;
    fh_json_put_object(w);
    put_id(a, w, "id", "resp", 0);
    fh_put_z(w, "object", "response");
    fh_put_u64(w, "created_at", a->unix_s);
    fh_put_z(w, "status", status);
    fh_put_bool(w, "background", false);
    fh_put_null(w, "error");
    fh_json_put_key(w, "incomplete_details");
    if (strcmp(status, "incomplete") == 0) {
        fh_json_put_object(w);
        fh_put_z(w, "reason", "max_output_tokens");
        fh_json_put_end(w);
    } else fh_json_put_null(w);
    put_text_or_null(w, "instructions", p->instructions);
    if (a->most_set) fh_put_u64(w, "max_output_tokens", a->most);
    else fh_put_null(w, "max_output_tokens");
    fh_put_z(w, "model", a->r->name);
    fh_put_array(w, "output");
    for (size_t k = 0; ended && k < p->n_item; k++) put_item(a, w, k, true);
    fh_json_put_end(w);
    fh_put_bool(w, "parallel_tool_calls", a->parallel);
    put_text_or_null(w, "previous_response_id", p->previous);
    fh_put_object(w, "reasoning");
    put_text_or_null(w, "effort", a->think == FH_ASK_THINK_LEVEL ? a->level : (fh_str){NULL, 0});
    fh_put_null(w, "summary");
    fh_json_put_end(w);
    fh_put_bool(w, "store", p->store);
    put_node(w, "text", p->text, "{\"format\":{\"type\":\"text\"}}");
    put_node(w, "tool_choice", p->tool_choice, "\"auto\"");
    put_node(w, "tools", p->tools, "[]");
    fh_put_z(w, "truncation", "disabled");
    fh_put_null(w, "user");
    put_node(w, "metadata", p->metadata, "{}");
    if (ended) put_usage(a, w);
    else fh_put_null(w, "usage");
    if (ended) {
        fh_json_put_key(w, "freehold");
        fh_ask_put_provenance(a, w);
    }
    fh_json_put_end(w);
}

/* ---- events ---- */

static fh_json_writer *begin(fh_responses *p, const char *type) {
    fh_json_writer_init(&p->w, &p->v.b, false);
    fh_json_put_object(&p->w);
    fh_put_z(&p->w, "type", type);
    fh_put_u64(&p->w, "sequence_number", p->sequence++);
    return &p->w;
}

static void send(fh_responses *p, const char *type) {
    fh_json_put_end(&p->w);
    (void)fh_put_send(&p->v.stream, type, &p->v.b);
}

static void send_response(fh_ask *a, const char *type, const char *status) {
    fh_responses *p = a->api;
    fh_json_writer *w = begin(p, type);
    fh_json_put_key(w, "response");
    fh_responses_put(a, w, status);
    send(p, type);
}

static fh_json_writer *begin_item(fh_ask *a, const char *type, bool part) {
    fh_responses *p = a->api;
    size_t k = p->n_item - 1;
    fh_json_writer *w = begin(p, type);
    put_id(a, w, "item_id", prefix_of(&p->item[k]), k);
    fh_put_u64(w, "output_index", k);
    if (part) fh_put_u64(w, "content_index", 0);
    return w;
}

static void send_item(fh_ask *a, const char *type, bool done) {
    fh_responses *p = a->api;
    fh_json_writer *w = begin(p, type);
    fh_put_u64(w, "output_index", p->n_item - 1);
    fh_json_put_key(w, "item");
    put_item(a, w, p->n_item - 1, done);
    send(p, type);
}

static void send_part(fh_ask *a, const char *type, fh_str text) {
    fh_responses *p = a->api;
    fh_json_writer *w = begin_item(a, type, true);
    fh_json_put_key(w, "part");
    put_part(w, &p->item[p->n_item - 1], text);
    send(p, type);
}

static const char *event_of(const fh_item *i, bool done) {
    switch (i->kind) {
    case FH_ITEM_REASONING: return done ? "response.reasoning_text.done" : "response.reasoning_text.delta";
    case FH_ITEM_CALL: return done ? "response.function_call_arguments.done" : "response.function_call_arguments.delta";
    case FH_ITEM_MESSAGE:
    case FH_ITEM_NONE: break;
    }
    return done ? "response.output_text.done" : "response.output_text.delta";
}

static void send_text(fh_ask *a, bool done, fh_str text) {
    fh_responses *p = a->api;
    const fh_item *i = &p->item[p->n_item - 1];
    const char *type = event_of(i, done);
    fh_json_writer *w = begin_item(a, type, i->kind != FH_ITEM_CALL);
    if (done && i->kind == FH_ITEM_CALL) fh_put_z(w, "name", a->said[0].call[i->call].name);
    fh_put_str(w, !done ? "delta" : i->kind == FH_ITEM_CALL ? "arguments" : "text", text);
    if (i->kind == FH_ITEM_MESSAGE) {
        fh_put_array(w, "logprobs");
        fh_json_put_end(w);
    }
    send(p, type);
}

/* ---- items ---- */

static void close_item(fh_ask *a) {
    fh_responses *p = a->api;
    if (!p->open) return;
    p->open = false;
    const fh_item *i = &p->item[p->n_item - 1];
    if (!a->stream) return;
    send_text(a, true, text_of(a, i));
    if (i->kind != FH_ITEM_CALL) send_part(a, "response.content_part.done", text_of(a, i));
    send_item(a, "response.output_item.done", true);
}

static void open_item(fh_ask *a, fh_item_kind kind, size_t from, uint32_t call) {
    fh_responses *p = a->api;
    if (p->open && p->item[p->n_item - 1].kind == kind && kind != FH_ITEM_CALL) return;
    close_item(a);
    fh_item *list = fh_realloc(p->item, p->n_item + 1, sizeof *list);
    if (!list) {
        p->failed = true;
        return;
    }
    p->item = list;
    list[p->n_item++] = (fh_item){.kind = kind, .from = from, .to = from, .call = call};
    p->open = true;
    if (!a->stream) return;
    send_item(a, "response.output_item.added", false);
    if (kind != FH_ITEM_CALL) send_part(a, "response.content_part.added", FH_STR(""));
}

static void take(fh_ask *a, const fh_say *s) {
    fh_responses *p = a->api;
    const fh_said *said = &a->said[0];
    size_t all = s->kind == FH_SAY_TEXT ? said->text.len : said->reasoning.len;
    if (s->kind == FH_SAY_CALL) open_item(a, FH_ITEM_CALL, 0, s->call);
    if (s->kind == FH_SAY_TEXT) open_item(a, FH_ITEM_MESSAGE, all - s->text.len, 0);
    if (s->kind == FH_SAY_REASONING) open_item(a, FH_ITEM_REASONING, all - s->text.len, 0);
    if (p->failed || !p->open) return;
    if (s->kind == FH_SAY_TEXT || s->kind == FH_SAY_REASONING) p->item[p->n_item - 1].to = all;
    if (s->kind != FH_SAY_CALL && a->stream) send_text(a, false, s->text);
}

static void finish(fh_ask *a) {
    fh_responses *p = a->api;
    bool whole = a->said[0].why != FH_WHY_LENGTH;
    const char *status = whole ? "completed" : "incomplete";
    close_item(a);
    if (p->store) fh_responses_keep(a);
    if (a->stream) {
        send_response(a, whole ? "response.completed" : "response.incomplete", status);
        fh_stream_end(&p->v.stream);
        return;
    }
    fh_json_writer_init(&p->w, &p->v.b, false);
    fh_responses_put(a, &p->w, status);
    fh_put_reply(a->call, &p->v.b);
}

fh_consume fh_responses_say(fh_ask *a, const fh_say *s) {
    fh_responses *p = a->api;
    switch (s->kind) {
    case FH_SAY_START:
        if (a->stream) {
            send_response(a, "response.created", "in_progress");
            send_response(a, "response.in_progress", "in_progress");
        }
        break;
    case FH_SAY_TEXT:
    case FH_SAY_REASONING:
    case FH_SAY_CALL:
    case FH_SAY_ARGUMENTS: take(a, s); break;
    case FH_SAY_CALL_END: close_item(a); break;
    case FH_SAY_DONE: finish(a); break;
    case FH_SAY_FAILED: {
        fh_json_writer *w = begin(p, "error");
        fh_put_z(w, "code", "server_error");
        fh_put_str(w, "message", fh_str_of(s->err->message));
        fh_put_null(w, "param");
        send(p, "error");
        fh_stream_end(&p->v.stream);
        return FH_CONSUME_CANCEL;
    }
    case FH_SAY_TOKEN:
    case FH_SAY_END: break;
    }
    if (!a->stream) return FH_CONSUME_MORE;
    return p->v.stream.gone || p->failed ? FH_CONSUME_CANCEL : p->v.stream.full ? FH_CONSUME_PAUSE : FH_CONSUME_MORE;
}
