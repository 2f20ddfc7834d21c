/* serve/json_put.h - members of answers, and sending what was written.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_SERVE_JSON_PUT_H
#define FH_SERVE_JSON_PUT_H

#include "serve/app.h"
#include "serve/sse.h"

#define FH_REPLY_MOST ((size_t)256 << 20)

static inline void fh_put_str(fh_json_writer *w, const char *key, fh_str s) {
    fh_json_put_key(w, key);
    fh_json_put_str(w, s);
}
static inline void fh_put_z(fh_json_writer *w, const char *key, const char *z) {
    fh_json_put_key(w, key);
    fh_json_put_z(w, z);
}
static inline void fh_put_u64(fh_json_writer *w, const char *key, uint64_t v) {
    fh_json_put_key(w, key);
    fh_json_put_u64(w, v);
}
static inline void fh_put_f64(fh_json_writer *w, const char *key, double v) {
    fh_json_put_key(w, key);
    fh_json_put_f64(w, v);
}
static inline void fh_put_bool(fh_json_writer *w, const char *key, bool v) {
    fh_json_put_key(w, key);
    fh_json_put_bool(w, v);
}
static inline void fh_put_null(fh_json_writer *w, const char *key) {
    fh_json_put_key(w, key);
    fh_json_put_null(w);
}
static inline void fh_put_object(fh_json_writer *w, const char *key) {
    fh_json_put_key(w, key);
    fh_json_put_object(w);
}
static inline void fh_put_array(fh_json_writer *w, const char *key) {
    fh_json_put_key(w, key);
    fh_json_put_array(w);
}
/* A JSON object as text that someone else wrote; {} where it is none. */
void fh_put_args(fh_json_writer *w, fh_str json);
/* "2026-03-09T07:05:02.123Z" of milliseconds since 1970. */
void fh_put_time(fh_json_writer *w, const char *key, uint64_t unix_ms);

/* Answers with what was written, or with a 500 where it did not fit; releases the buffer. */
void fh_put_reply(fh_call *c, fh_buf *b);
/* Sends what was written and empties the buffer. */
fh_consume fh_put_send(fh_stream *s, const char *event, fh_buf *b);
/* The error of an answer that has begun, as its last event. */
void fh_put_send_error(fh_call *c, fh_stream *s, const char *event, const fh_err *err);

#endif
