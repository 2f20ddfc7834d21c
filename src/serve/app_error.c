/* serve/app_error.c - how a failure looks to the clients of each API, in one table.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "base/json.h"
#include "base/num.h"
#include "serve/app_part.h"

#define MOST_ERROR ((size_t)16 << 10)

static const struct {
    int status;
    const char *openai, *anthropic, *llama;
} types[] = {
    {400, "invalid_request_error", "invalid_request_error", "invalid_request_error"},
    {401, "authentication_error", "authentication_error", "authentication_error"},
    {403, "permission_error", "permission_error", "permission_error"},
    {404, "not_found_error", "not_found_error", "not_found_error"},
    {409, "invalid_request_error", "invalid_request_error", "invalid_request_error"},
    {413, "invalid_request_error", "request_too_large", "invalid_request_error"},
    {429, "rate_limit_error", "rate_limit_error", "rate_limit_error"},
    {501, "not_supported_error", "api_error", "not_supported_error"},
    {503, "unavailable_error", "overloaded_error", "unavailable_error"},
    {529, "unavailable_error", "overloaded_error", "unavailable_error"},
    {504, "timeout_error", "timeout_error", "timeout_error"},
};

static const char *type_of(fh_dialect d, int status) {
    for (size_t i = 0; i < FH_COUNT(types); i++)
        if (types[i].status == status)
            return d == FH_DIALECT_ANTHROPIC ? types[i].anthropic
                   : d == FH_DIALECT_LLAMA   ? types[i].llama
                                             : types[i].openai;
    if (status < 500) return "invalid_request_error";
    return d == FH_DIALECT_ANTHROPIC ? "api_error" : "server_error";
}

static void put_text(fh_json_writer *w, const char *key, const char *value) {
    fh_json_put_key(w, key);
    if (value) fh_json_put_z(w, value);
    else fh_json_put_null(w);
}

static void put_message(fh_json_writer *w, fh_str message) {
    fh_json_put_key(w, "message");
    fh_json_put_str(w, message);
}

void fh_call_error_json(const fh_call *c, int status, const char *code, const char *param, fh_str message,
                        fh_buf *out) {
    fh_json_writer w;
    const char *type = type_of(c->dialect, status);
    fh_json_writer_init(&w, out, false);
    fh_json_put_object(&w);
    if (c->dialect == FH_DIALECT_OLLAMA) {
        fh_json_put_key(&w, "error");
        fh_json_put_str(&w, message);
        fh_json_put_end(&w);
        return;
    }
    if (c->dialect == FH_DIALECT_ANTHROPIC) put_text(&w, "type", "error");
    fh_json_put_key(&w, "error");
    fh_json_put_object(&w);
    if (c->dialect == FH_DIALECT_LLAMA) {
        fh_json_put_key(&w, "code");
        fh_json_put_i64(&w, status);
        put_message(&w, message);
        put_text(&w, "type", type);
    } else if (c->dialect == FH_DIALECT_ANTHROPIC) {
        put_text(&w, "type", type);
        put_message(&w, message);
    } else {
        put_message(&w, message);
        put_text(&w, "type", type);
        put_text(&w, "param", param);
        put_text(&w, "code", code);
    }
    fh_json_put_end(&w);
    fh_json_put_end(&w);
}

static void reply(fh_call *c, int status, const char *code, const char *param, fh_str message) {
    fh_buf out;
    fh_buf_init(&out, MOST_ERROR);
    fh_call_error_json(c, status, code, param, message, &out);
    fh_buf_add_byte(&out, '\n');
    c->used.finish = c->used.finish ? c->used.finish : "error";
    if (fh_buf_check(&out, NULL) == FH_OK) fh_exchange_reply(c->x, status, "application/json", fh_buf_str(&out));
    else fh_exchange_reply(c->x, status, "text/plain", FH_STR("out of memory\n"));
    fh_buf_release(&out);
}

void fh_call_fail(fh_call *c, int status, const char *code, const char *param, const char *fmt, ...) {
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    reply(c, status, code, param, fh_str_of(text));
}

void fh_call_fail_err(fh_call *c, const fh_err *err) {
    int status = err->status == FH_OK ? 500 : fh_status_http(err->status);
    /* Malformed input and wrong use are the client's; a model that is malformed comes as another status. */
    if (status == 422) status = 400;
    reply(c, status, NULL, NULL, fh_str_of(err->message));
}

void fh_call_fail_busy(fh_call *c, bool whole, uint32_t retry_after_ms, const char *why) {
    char seconds[16];
    int status = !whole ? 429 : c->dialect == FH_DIALECT_ANTHROPIC ? 529 : 503;
    snprintf(seconds, sizeof seconds, "%u", FH_MAX((retry_after_ms + 999) / 1000, 1u));
    fh_exchange_set_header(c->x, "Retry-After", fh_str_of(seconds));
    reply(c, status, NULL, NULL, fh_str_of(why));
}
