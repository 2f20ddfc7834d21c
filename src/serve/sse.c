/* serve/sse.c - an answer that is sent as it is made.
 * SPDX-License-Identifier: Apache-2.0 */
#include "serve/sse.h"

#define PIECE_MOST ((size_t)64 << 20)

void fh_stream_init(fh_stream *s, fh_exchange *x, fh_stream_kind kind) {
    *s = (fh_stream){.x = x, .kind = kind};
    fh_buf_init(&s->buf, PIECE_MOST);
}

void fh_stream_release(fh_stream *s) {
    if (s->begun) fh_stream_end(s);
    fh_buf_release(&s->buf);
}

void fh_stream_begin(fh_stream *s) {
    if (s->begun) return;
    s->begun = true;
    if (s->kind == FH_STREAM_EVENTS) {
        fh_exchange_set_header(s->x, "Cache-Control", FH_STR("no-cache"));
        fh_exchange_set_header(s->x, "X-Accel-Buffering", FH_STR("no")); /* proxies shall pass events on at once */
    }
    fh_exchange_begin(s->x, 200, s->kind == FH_STREAM_EVENTS ? "text/event-stream" : "application/x-ndjson");
}

void fh_stream_send(fh_stream *s, const char *event, fh_str json) {
    bool full = false;
    fh_stream_begin(s);
    if (s->gone || s->ended) return;
    fh_buf_clear(&s->buf);
    if (s->kind == FH_STREAM_EVENTS) {
        if (event) {
            fh_buf_add_z(&s->buf, "event: ");
            fh_buf_add_z(&s->buf, event);
            fh_buf_add_byte(&s->buf, '\n');
        }
        fh_buf_add_z(&s->buf, "data: ");
    }
    fh_buf_add_str(&s->buf, json);
    fh_buf_add_z(&s->buf, s->kind == FH_STREAM_EVENTS ? "\n\n" : "\n");
    if (fh_buf_check(&s->buf, NULL) != FH_OK || !fh_exchange_write(s->x, fh_buf_str(&s->buf), &full)) s->gone = true;
    s->full = full;
}

void fh_stream_end(fh_stream *s) {
    if (s->ended) return;
    fh_stream_begin(s);
    s->ended = true;
    fh_exchange_end(s->x);
}
