/* serve/sse.h - an answer that is sent as it is made: server-sent events, or one JSON object a line.
 * SPDX-License-Identifier: Apache-2.0
 * One thread at a time. A client that is gone costs nothing more; one that does not read makes `full` true until
 * there is room again. */
#ifndef FH_SERVE_SSE_H
#define FH_SERVE_SSE_H

#include "serve/http.h"

typedef enum fh_stream_kind { FH_STREAM_EVENTS, FH_STREAM_LINES } fh_stream_kind;

typedef struct fh_stream {
    fh_exchange *x;
    fh_stream_kind kind;
    bool begun, ended, gone, full;
    fh_buf buf; /* of one piece */
} fh_stream;

void fh_stream_init(fh_stream *s, fh_exchange *x, fh_stream_kind kind);
void fh_stream_release(fh_stream *s); /* ends a stream that has begun */
void fh_stream_begin(fh_stream *s);   /* status 200 and the headers; the first send does it, too */
/* event: its name, or NULL; only server-sent events have one. json: one line. */
void fh_stream_send(fh_stream *s, const char *event, fh_str json);
void fh_stream_end(fh_stream *s);

#endif
