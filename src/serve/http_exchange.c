/* serve/http_exchange.c - requests as handlers see them, and answers from any thread.
 * SPDX-License-Identifier: Apache-2.0
 * An answer is framed where it is written and waits in `pending` until the loop moves it to the connection. Lack of
 * memory breaks the one exchange that it hits: its connection is closed. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "base/clock.h"
#include "serve/http_part.h"

#define MOST_ANSWER ((size_t)1 << 30) /* one whole answer; streams have buffer_most and a share of it over that */
#define MOST_EXTRA ((size_t)32 << 10)

/* ---- life ---- */

fh_exchange *fh_exchange_new(fh_connection *c) {
    fh_exchange *x = fh_alloc_zero(1, sizeof *x);
    if (!x) return NULL;
    if (pthread_mutex_init(&x->lock, NULL) != 0) {
        fh_free(x);
        return NULL;
    }
    fh_http *h = c->http;
    x->refs = 1;
    x->http = h;
    x->conn = c;
    x->tag = c->tag;
    x->loopback = c->loopback;
    memcpy(x->peer, c->peer, sizeof x->peer);
    x->number = ++h->n_request;
    x->arrived_ns = fh_clock_ns();
    x->buffer_most = h->opt.buffer_most;
    fh_buf_init(&x->body, h->opt.body_most);
    fh_buf_init(&x->extra, MOST_EXTRA);
    fh_buf_init(&x->pending, MOST_ANSWER);
    atomic_fetch_add(&h->n_exchange, 1);
    return x;
}

void fh_exchange_unref(fh_exchange *x) {
    if (atomic_fetch_sub(&x->refs, 1) != 1) return;
    if (x->thing_free) x->thing_free(x->thing);
    fh_buf_release(&x->body);
    fh_buf_release(&x->extra);
    fh_buf_release(&x->pending);
    fh_free(x->head_bytes);
    pthread_mutex_destroy(&x->lock);
    fh_free(x);
}

void fh_exchange_hold(fh_exchange *x) { atomic_fetch_add(&x->refs, 1); }

static void mark_dirty(fh_exchange *x) {
    if (x->http && x->conn) fh_http_mark_dirty(x->http, x);
}

void fh_exchange_release(fh_exchange *x) {
    pthread_mutex_lock(&x->lock);
    if (x->answer != FH_ANSWER_ENDED) mark_dirty(x); /* the loop sees whether that was the last who could answer */
    pthread_mutex_unlock(&x->lock);
    fh_exchange_unref(x);
}

void fh_exchange_attach(fh_exchange *x, void *thing, void (*free_fn)(void *thing)) {
    x->thing = thing;
    x->thing_free = free_fn;
}

void *fh_exchange_thing(const fh_exchange *x) { return x->thing; }

/* ---- the request ---- */

fh_str fh_exchange_method(const fh_exchange *x) { return x->head.method; }
fh_str fh_exchange_path(const fh_exchange *x) { return x->head.path; }
fh_str fh_exchange_body(const fh_exchange *x) { return fh_buf_str(&x->body); }
fh_str fh_exchange_peer(const fh_exchange *x) { return fh_str_of(x->peer); }
bool fh_exchange_is_loopback(const fh_exchange *x) { return x->loopback; }
int fh_exchange_tag(const fh_exchange *x) { return x->tag; }
uint64_t fh_exchange_number(const fh_exchange *x) { return x->number; }
uint64_t fh_exchange_arrived_ns(const fh_exchange *x) { return x->arrived_ns; }

bool fh_exchange_query(const fh_exchange *x, const char *name, fh_str *out) {
    for (uint32_t i = 0; i < x->head.n_query; i++) {
        if (!fh_str_is(x->head.query[i].name, name)) continue;
        *out = x->head.query[i].value;
        return true;
    }
    return false;
}

bool fh_exchange_header(const fh_exchange *x, const char *name, fh_str *out) {
    if (!fh_http_name_is(FH_STR("host"), name)) return fh_http_find(&x->head, name, out);
    if (!x->head.host.ptr) return false;
    *out = x->head.host; /* of an absolute target it is that one */
    return true;
}

/* ---- framing; the exchange's lock is held ---- */

static const char *reason(int status) {
    static const struct {
        int status;
        const char *text;
    } rows[] = {{200, "OK"},
                {201, "Created"},
                {202, "Accepted"},
                {204, "No Content"},
                {400, "Bad Request"},
                {401, "Unauthorized"},
                {403, "Forbidden"},
                {404, "Not Found"},
                {405, "Method Not Allowed"},
                {408, "Request Timeout"},
                {409, "Conflict"},
                {413, "Content Too Large"},
                {415, "Unsupported Media Type"},
                {417, "Expectation Failed"},
                {422, "Unprocessable Content"},
                {429, "Too Many Requests"},
                {431, "Request Header Fields Too Large"},
                {499, "Client Closed Request"},
                {500, "Internal Server Error"},
                {501, "Not Implemented"},
                {503, "Service Unavailable"},
                {504, "Gateway Timeout"},
                {505, "HTTP Version Not Supported"},
                {507, "Insufficient Storage"},
                {529, "Overloaded"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status) return rows[i].text;
    return status < 400 ? "OK" : "Error";
}

static void put_head(fh_exchange *x, int status, const char *content_type, bool sized, uint64_t length) {
    fh_http *h = x->http;
    bool close = x->close_after || x->early || x->head.close || !h || h->stop_listening;
    x->chunked = !sized && !x->http10;
    x->close_after = close || (!sized && x->http10);
    fh_buf_printf(&x->pending, "HTTP/1.1 %d %s\r\n", status, reason(status));
    if (h) fh_http_add_date(h, &x->pending);
    if (content_type && status != 204) fh_buf_printf(&x->pending, "Content-Type: %s\r\n", content_type);
    if (x->chunked) fh_buf_add_z(&x->pending, "Transfer-Encoding: chunked\r\n");
    else if (sized && status != 204) fh_buf_printf(&x->pending, "Content-Length: %llu\r\n", (unsigned long long)length);
    fh_buf_printf(&x->pending, "Connection: %s\r\n", x->close_after ? "close" : "keep-alive");
    if (x->extra.status == FH_OK) fh_buf_add(&x->pending, x->extra.ptr, x->extra.len);
    else x->broken = true;
    fh_buf_add_z(&x->pending, "\r\n");
    x->status = status;
}

static void check_memory(fh_exchange *x) {
    if (x->pending.status != FH_OK) x->broken = true;
}

/* Takes the line of this name out of what was set. */
static void drop_header(fh_buf *b, const char *name) {
    size_t n = strlen(name);
    for (size_t at = 0; at < b->len;) {
        size_t end = at;
        while (end < b->len && b->ptr[end] != '\n') end++;
        end += end < b->len;
        if (end - at > n + 1 && memcmp(b->ptr + at, name, n) == 0 && b->ptr[at + n] == ':') {
            memmove(b->ptr + at, b->ptr + end, b->len - end);
            b->len -= end - at;
        } else {
            at = end;
        }
    }
}

void fh_exchange_set_header(fh_exchange *x, const char *name, fh_str value) {
    pthread_mutex_lock(&x->lock);
    if (x->answer == FH_ANSWER_NONE) {
        drop_header(&x->extra, name);
        fh_buf_printf(&x->extra, "%s: ", name);
        for (size_t i = 0; i < value.len; i++) {
            unsigned char c = (unsigned char)value.ptr[i];
            fh_buf_add_byte(&x->extra, c < 0x20 || c == 0x7f ? ' ' : c);
        }
        fh_buf_add_z(&x->extra, "\r\n");
    }
    pthread_mutex_unlock(&x->lock);
}

void fh_exchange_reply(fh_exchange *x, int status, const char *content_type, fh_str body) {
    pthread_mutex_lock(&x->lock);
    if (x->answer == FH_ANSWER_NONE) {
        x->answer = FH_ANSWER_ENDED;
        x->status = status;
        if (!x->gone) {
            put_head(x, status, content_type, true, body.len);
            if (!x->is_head && status != 204) fh_buf_add_str(&x->pending, body);
            x->body_bytes = x->is_head ? 0 : body.len;
            check_memory(x);
        }
        mark_dirty(x);
    }
    pthread_mutex_unlock(&x->lock);
}

void fh_exchange_begin(fh_exchange *x, int status, const char *content_type) {
    pthread_mutex_lock(&x->lock);
    if (x->answer == FH_ANSWER_NONE) {
        x->answer = FH_ANSWER_BEGUN;
        x->status = status;
        if (!x->gone) {
            put_head(x, status, content_type, false, 0);
            check_memory(x);
        }
        mark_dirty(x);
    }
    pthread_mutex_unlock(&x->lock);
}

/* A client that does not read may hold buffer_most, and as much again of what was under way when it was told. */
static void add_piece(fh_exchange *x, fh_str piece, bool *full) {
    size_t held = x->pending.len + x->in_flight;
    if (held > 2 * x->buffer_most + ((size_t)1 << 20)) {
        x->broken = true; /* whoever writes did not listen */
        mark_dirty(x);
        return;
    }
    if (x->chunked) fh_buf_printf(&x->pending, "%zx\r\n", piece.len);
    fh_buf_add_str(&x->pending, piece);
    if (x->chunked) fh_buf_add_z(&x->pending, "\r\n");
    x->body_bytes += piece.len;
    check_memory(x);
    if (held + piece.len > x->buffer_most) *full = x->told_full = true;
    mark_dirty(x);
}

bool fh_exchange_write(fh_exchange *x, fh_str piece, bool *full) {
    bool ignored = false, *is_full = full ? full : &ignored;
    *is_full = false;
    pthread_mutex_lock(&x->lock);
    bool alive = !x->gone && !x->broken && x->answer == FH_ANSWER_BEGUN;
    if (alive && piece.len && !x->is_head) add_piece(x, piece, is_full);
    alive = alive && !x->broken;
    pthread_mutex_unlock(&x->lock);
    return alive;
}

void fh_exchange_end(fh_exchange *x) {
    pthread_mutex_lock(&x->lock);
    if (x->answer == FH_ANSWER_BEGUN) {
        x->answer = FH_ANSWER_ENDED;
        if (!x->gone && x->chunked && !x->is_head) fh_buf_add_z(&x->pending, "0\r\n\r\n");
        check_memory(x);
        mark_dirty(x);
    }
    pthread_mutex_unlock(&x->lock);
}

/* ---- looks ---- */

#define LOCKED_LOOK(type, name, value) \
    type name(const fh_exchange *cx) { \
        pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&cx->lock; \
        pthread_mutex_lock(lock); \
        type v = (value); \
        pthread_mutex_unlock(lock); \
        return v; \
    }
LOCKED_LOOK(bool, fh_exchange_is_gone, cx->gone || cx->broken)
LOCKED_LOOK(bool, fh_exchange_has_begun, cx->answer != FH_ANSWER_NONE)
LOCKED_LOOK(int, fh_exchange_status, cx->status)
LOCKED_LOOK(uint64_t, fh_exchange_bytes, cx->body_bytes)

void fh_exchange_on_room(fh_exchange *x, void (*fn)(void *ctx), void *ctx) {
    pthread_mutex_lock(&x->lock);
    x->room_fn = fn;
    x->room_ctx = ctx;
    pthread_mutex_unlock(&x->lock);
}

bool fh_exchange_on_closed(fh_exchange *x, void (*fn)(void *ctx), void *ctx) {
    pthread_mutex_lock(&x->lock);
    bool open = !x->closed;
    if (open) {
        x->closed_fn = fn;
        x->closed_ctx = ctx;
    }
    pthread_mutex_unlock(&x->lock);
    return open;
}

/* ---- the loop's side ---- */

void fh_exchange_flush(fh_exchange *x) {
    pthread_mutex_lock(&x->lock);
    fh_connection *c = x->conn;
    bool broken = x->broken;
    if (c && !broken && x->pending.len) {
        struct evbuffer *out = bufferevent_get_output(c->bev);
        if (evbuffer_get_length(out) == 0) c->progress_ns = fh_clock_ns();
        if (bufferevent_write(c->bev, x->pending.ptr, x->pending.len) != 0) broken = x->broken = true;
        if (x->pending.cap > ((size_t)256 << 10)) {
            size_t limit = x->pending.limit;
            fh_buf_release(&x->pending);
            fh_buf_init(&x->pending, limit);
        } else {
            fh_buf_clear(&x->pending);
        }
        x->in_flight = evbuffer_get_length(out);
    }
    if (c && x->answer == FH_ANSWER_ENDED) {
        c->answer_queued = true;
        c->close_after = x->close_after;
    }
    pthread_mutex_unlock(&x->lock);
    if (c && broken) fh_connection_free(c);
    else if (c) fh_connection_answer_moved(c);
}

void fh_exchange_call_room(fh_exchange *x, size_t in_flight) {
    void (*fn)(void *) = NULL, *ctx = NULL;
    pthread_mutex_lock(&x->lock);
    x->in_flight = in_flight;
    if (x->told_full && in_flight + x->pending.len <= x->buffer_most / 2) {
        x->told_full = false;
        fn = x->room_fn;
        ctx = x->room_ctx;
    }
    pthread_mutex_unlock(&x->lock);
    if (fn) fn(ctx);
}

void fh_exchange_close(fh_exchange *x, bool gone) {
    pthread_mutex_lock(&x->lock);
    fh_http *h = x->http;
    void (*fn)(void *) = x->closed ? NULL : x->closed_fn;
    void *ctx = x->closed_ctx;
    x->gone = x->gone || gone;
    x->closed = true;
    x->conn = NULL;
    x->http = NULL;
    fh_buf_release(&x->pending);
    fh_buf_init(&x->pending, MOST_ANSWER);
    pthread_mutex_unlock(&x->lock);
    if (fn) fn(ctx);
    atomic_fetch_sub(&h->n_exchange, 1);
    fh_exchange_unref(x);
}

void fh_exchange_check_dropped(fh_exchange *x, uint32_t others) {
    if (atomic_load(&x->refs) != others) return;
    pthread_mutex_lock(&x->lock);
    fh_answer_state answer = x->answer;
    if (answer == FH_ANSWER_BEGUN && x->conn) x->broken = true; /* half an answer is not ended as if it were whole */
    pthread_mutex_unlock(&x->lock);
    if (answer == FH_ANSWER_NONE)
        fh_exchange_reply(x, 500, "text/plain", FH_STR("the request was dropped without an answer\n"));
}
