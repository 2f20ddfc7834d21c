/* serve/json_put.c - members of answers, and sending what was written.
 * SPDX-License-Identifier: Apache-2.0 */
#include "serve/json_put.h"

#include <time.h>

void fh_put_args(fh_json_writer *w, fh_str json) {
    fh_json *doc = NULL;
    const fh_json_options opt = {.allow_duplicate_keys = true};
    if (fh_json_parse(&doc, json, &opt, NULL) == FH_OK && fh_json_is(fh_json_root(doc), FH_JSON_OBJECT)) {
        fh_json_put_tree(w, fh_json_root(doc));
    } else {
        fh_json_put_object(w);
        fh_json_put_end(w);
    }
    fh_json_free(doc);
}

void fh_put_time(fh_json_writer *w, const char *key, uint64_t unix_ms) {
    char day[40], text[64];
    struct tm tm;
    time_t t = (time_t)(unix_ms / 1000);
    if (!gmtime_r(&t, &tm) || !strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm)) day[0] = '\0';
    (void)snprintf(text, sizeof text, "%s.%03uZ", day, (unsigned)(unix_ms % 1000));
    fh_put_z(w, key, text);
}

void fh_put_reply(fh_call *c, fh_buf *b) {
    if (fh_buf_check(b, NULL) == FH_OK) fh_exchange_reply(c->x, 200, "application/json", fh_buf_str(b));
    else fh_call_fail(c, 500, NULL, NULL, "the answer is too large");
    fh_buf_release(b);
}

fh_consume fh_put_send(fh_stream *s, const char *event, fh_buf *b) {
    if (fh_buf_check(b, NULL) != FH_OK) s->gone = true;
    else fh_stream_send(s, event, fh_buf_str(b));
    fh_buf_clear(b);
    return s->gone ? FH_CONSUME_CANCEL : s->full ? FH_CONSUME_PAUSE : FH_CONSUME_MORE;
}

void fh_put_send_error(fh_call *c, fh_stream *s, const char *event, const fh_err *err) {
    fh_buf b;
    fh_buf_init(&b, 1u << 16);
    fh_call_error_json(c, fh_status_http(err->status), NULL, NULL, fh_str_of(err->message), &b);
    (void)fh_put_send(s, event, &b);
    fh_stream_end(s);
    fh_buf_release(&b);
}
