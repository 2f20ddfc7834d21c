/* serve/json_put.h - special members of answers, and sending what was written.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_SERVE_JSON_PUT_H
#define FH_SERVE_JSON_PUT_H

#include "base/json_member.h"
#include "serve/app.h"
#include "serve/sse.h"

#define FH_REPLY_MOST ((size_t)256 << 20)

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
