/* serve/http_connection.c - connections: from bytes to exchanges, deadlines, closing. All of it runs on the loop.
 * SPDX-License-Identifier: Apache-2.0
 * Input is taken from libevent's buffer as far as the state wants it and no further: what a client pipelines waits
 * there, 64 KiB at the most. Freeing is immediate; after a call that may free (say so below) c is not touched. */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "serve/http_part.h"

#define INPUT_MOST ((size_t)64 << 10)
#define LINGER_NS 2000000000u
#define BODY_GRACE_NS 10000000000u
#define BODY_BYTES_PER_S 1024u

static void advance(fh_connection *c);

/* ---- lists ---- */

static void enter_heads(fh_connection *c) {
    fh_http *h = c->http;
    if (c->in_heads) return;
    c->in_heads = true;
    c->head_next = NULL;
    c->head_prev = h->head_last;
    if (h->head_last) h->head_last->head_next = c;
    else h->head_first = c;
    h->head_last = c;
}

static void leave_heads(fh_connection *c) {
    fh_http *h = c->http;
    if (!c->in_heads) return;
    c->in_heads = false;
    if (c->head_prev) c->head_prev->head_next = c->head_next;
    else h->head_first = c->head_next;
    if (c->head_next) c->head_next->head_prev = c->head_prev;
    else h->head_last = c->head_prev;
}

static void link_all(fh_connection *c) {
    fh_http *h = c->http;
    c->next = h->all;
    if (h->all) h->all->prev = c;
    h->all = c;
    h->n_connection++;
}

static void unlink_all(fh_connection *c) {
    fh_http *h = c->http;
    if (c->prev) c->prev->next = c->next;
    else h->all = c->next;
    if (c->next) c->next->prev = c->prev;
    h->n_connection--;
}

/* ---- addresses ---- */

static uint32_t bucket_of(const uint8_t key[16]) {
    uint32_t v = 2166136261u;
    for (int i = 0; i < 16; i++) v = (v ^ key[i]) * 16777619u;
    return v % FH_ADDRESS_BUCKETS;
}

/* NULL for lack of memory. */
static fh_address *count_address(fh_http *h, const uint8_t key[16]) {
    fh_address **at = &h->address[bucket_of(key)];
    for (; *at; at = &(*at)->next)
        if (memcmp((*at)->key, key, 16) == 0) {
            (*at)->n++;
            return *at;
        }
    fh_address *a = fh_alloc_zero(1, sizeof *a);
    if (!a) return NULL;
    memcpy(a->key, key, 16);
    a->n = 1;
    *at = a;
    return a;
}

static void uncount_address(fh_http *h, fh_address *a) {
    if (!a || --a->n) return;
    fh_address **at = &h->address[bucket_of(a->key)];
    while (*at != a) at = &(*at)->next;
    *at = a->next;
    fh_free(a);
}

typedef struct peer {
    uint8_t key[16];
    char text[64];
    bool loopback, counted;
} peer;

static peer read_peer(const struct sockaddr *sa) {
    peer p = {.text = "unix", .loopback = true};
    if (sa && sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, p.text, sizeof p.text);
        memcpy(p.key, &in.sin_addr, 4);
        p.loopback = p.key[0] == 127;
        p.counted = !p.loopback;
    } else if (sa && sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, p.text, sizeof p.text);
        bool v4 = IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr);
        memcpy(p.key, in6.sin6_addr.s6_addr + (v4 ? 12 : 0), v4 ? 4 : 8);
        if (!v4) p.key[15] = 6;
        p.loopback = v4 ? p.key[0] == 127 : IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
        p.counted = !p.loopback;
    }
    return p;
}

/* ---- ends ---- */

void fh_connection_free(fh_connection *c) {
    fh_http *h = c->http;
    fh_exchange *x = c->x;
    leave_heads(c);
    unlink_all(c);
    uncount_address(h, c->address);
    bufferevent_free(c->bev);
    fh_free(c);
    if (x) fh_exchange_close(x, true);
}

static void set_state(fh_connection *c, fh_connection_state s) {
    c->state = s;
    c->since_ns = fh_clock_ns();
    if (s == FH_CONN_HEAD) enter_heads(c);
    else leave_heads(c);
}

/* What is queued goes out, then our side is shut, and input is thrown away for a moment: closing at once would reset
 * the connection and take the answer from a client that is still writing. */
static void start_closing(fh_connection *c) {
    set_state(c, FH_CONN_CLOSING);
    evbuffer_drain(bufferevent_get_input(c->bev), SIZE_MAX);
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0 && !c->shut) {
        c->shut = true;
        if (!c->tls) (void)shutdown(c->fd, SHUT_WR);
    }
}

/* An answer to what never became a request. */
static void refuse(fh_connection *c, fh_http_refusal r) {
    char text[768], body[384];
    int n_body = snprintf(body, sizeof body,
                          "{\"error\":{\"message\":\"%s\",\"type\":\"invalid_request_error\",\"param\":null,"
                          "\"code\":null}}\n",
                          r.why);
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                     "Connection: close\r\n\r\n%s",
                     r.status, n_body, body);
    fh_http_lock_stats(c->http)->malformed++;
    fh_http_unlock_stats(c->http);
    if (n > 0) (void)bufferevent_write(c->bev, text, FH_MIN((size_t)n, sizeof text - 1));
    if (c->x) {
        fh_exchange *x = c->x;
        c->x = NULL;
        fh_exchange_close(x, true);
    }
    start_closing(c);
}

/* ---- an answer went out ---- */

/* Its last byte is with the kernel. */
static void finish_exchange(fh_connection *c) {
    fh_exchange *x = c->x;
    c->x = NULL;
    c->answer_queued = false;
    fh_exchange_close(x, false);
    if (c->close_after || c->http->draining) {
        start_closing(c);
        return;
    }
    set_state(c, FH_CONN_HEAD);
    c->scanned = 0;
}

void fh_connection_answer_moved(fh_connection *c) {
    if (c->x && c->answer_queued && evbuffer_get_length(bufferevent_get_output(c->bev)) == 0) {
        finish_exchange(c);
        advance(c);
    }
}

/* ---- input ---- */

/* The body is whole. May free c. */
static void run_handler(fh_connection *c) {
    fh_http *h = c->http;
    fh_exchange *x = c->x;
    set_state(c, FH_CONN_ANSWER);
    fh_exchange_hold(x);
    h->opt.handler(h->opt.ctx, x);
    fh_exchange_release(x); /* the loop looks whether it was dropped */
}

/* False: refused, or c is gone. */
static bool take_body(fh_connection *c) {
    struct evbuffer *in = bufferevent_get_input(c->bev);
    fh_exchange *x = c->x;
    while (evbuffer_get_length(in) && !(x->head.chunked ? c->chunks.done : c->body_left == 0)) {
        size_t n = FH_MIN(evbuffer_get_contiguous_space(in), evbuffer_get_length(in)), used;
        fh_str bytes = {(const char *)evbuffer_pullup(in, (ev_ssize_t)n), n};
        if (x->head.chunked) {
            fh_http_refusal r = fh_http_take_chunks(&c->chunks, bytes, c->http->opt.body_most, &x->body, &used);
            if (r.status) {
                refuse(c, r);
                return false;
            }
        } else {
            used = (size_t)FH_MIN(c->body_left, (uint64_t)n);
            fh_buf_add(&x->body, bytes.ptr, used);
            c->body_left -= used;
            if (fh_buf_check(&x->body, NULL) != FH_OK) {
                refuse(c, (fh_http_refusal){503, "out of memory"});
                return false;
            }
        }
        c->body_got += used;
        evbuffer_drain(in, used);
    }
    return true;
}

/* The head is whole and its exchange made: what can be said before the body. False: it was answered. */
static bool begin_request(fh_connection *c) {
    fh_http *h = c->http;
    fh_exchange *x = c->x;
    c->body_got = 0;
    c->body_left = x->head.length;
    c->chunks = (fh_http_chunks){0};
    c->n_request++;
    set_state(c, FH_CONN_BODY);
    bool has_body = x->head.chunked || x->head.length > 0;
    if (h->opt.head) {
        x->early = has_body; /* an answer now leaves the body unread: the connection ends with it */
        h->opt.head(h->opt.ctx, x);
        if (fh_exchange_has_begun(x)) {
            set_state(c, FH_CONN_ANSWER);
            return false;
        }
        x->early = false;
    }
    if (x->head.has_length && x->head.length > h->opt.body_most) {
        refuse(c, (fh_http_refusal){413, "the body is too large"});
        return false;
    }
    if (x->head.expects_continue && has_body && evbuffer_get_length(bufferevent_get_input(c->bev)) == 0)
        (void)bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return true;
}

/* False: more is needed, or it was refused. */
static bool take_head(fh_connection *c) {
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t n = FH_MIN(evbuffer_get_length(in), FH_HTTP_HEAD_MOST + 1), len = 0;
    bool whole = false;
    if (n == 0) return false;
    if (c->scanned == 0 && c->n_request > 0) c->since_ns = fh_clock_ns(); /* idle until now */
    fh_str bytes = {(const char *)evbuffer_pullup(in, (ev_ssize_t)n), n};
    fh_http_refusal r = fh_http_scan_head(bytes, &c->scanned, &whole, &len);
    if (r.status == 0 && !whole) return false;
    if (r.status == 0) {
        c->x = fh_exchange_new(c);
        if (c->x) c->x->head_bytes = fh_alloc(len, 1);
        if (!c->x || !c->x->head_bytes) r = (fh_http_refusal){503, "out of memory"};
    }
    if (r.status == 0) {
        memcpy(c->x->head_bytes, bytes.ptr, len);
        evbuffer_drain(in, len);
        r = fh_http_parse_head(c->x->head_bytes, len, &c->x->head);
    }
    if (r.status) {
        refuse(c, r);
        return false;
    }
    c->x->is_head = fh_str_is(c->x->head.method, "HEAD");
    c->x->http10 = c->x->head.minor == 0;
    fh_http_stats *st = fh_http_lock_stats(c->http);
    st->requests++;
    fh_http_unlock_stats(c->http);
    return begin_request(c);
}

/* As far as the input goes. One request at a time: the next is read when the answer to this one is out. */
static void advance(fh_connection *c) {
    if (c->state == FH_CONN_HEAD && !take_head(c)) return;
    if (c->state != FH_CONN_BODY || !take_body(c)) return;
    fh_exchange *x = c->x;
    if (x->head.chunked ? c->chunks.done : c->body_left == 0) run_handler(c);
}

/* ---- libevent's calls ---- */

static void on_read(struct bufferevent *bev, void *ctx) {
    fh_connection *c = ctx;
    if (c->state == FH_CONN_CLOSING) evbuffer_drain(bufferevent_get_input(bev), SIZE_MAX);
    else advance(c);
}

static void on_write(struct bufferevent *bev, void *ctx) {
    fh_connection *c = ctx;
    size_t left = evbuffer_get_length(bufferevent_get_output(bev));
    if (c->state == FH_CONN_CLOSING) {
        if (left == 0) start_closing(c);
        return;
    }
    if (!c->x) return;
    fh_exchange_call_room(c->x, left);
    fh_connection_answer_moved(c);
}

static void on_event(struct bufferevent *bev, short what, void *ctx) {
    (void)bev;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)) fh_connection_free(ctx);
}

static void on_output(struct evbuffer *out, const struct evbuffer_cb_info *info, void *ctx) {
    (void)out;
    fh_connection *c = ctx;
    if (!info->n_deleted) return;
    c->progress_ns = fh_clock_ns();
    fh_http_lock_stats(c->http)->bytes_out += info->n_deleted;
    fh_http_unlock_stats(c->http);
}

static void on_input(struct evbuffer *in, const struct evbuffer_cb_info *info, void *ctx) {
    (void)in;
    fh_connection *c = ctx;
    if (!info->n_added) return;
    fh_http_lock_stats(c->http)->bytes_in += info->n_added;
    fh_http_unlock_stats(c->http);
}

/* ---- new ones ---- */

static void turn_away(fh_http *h, int fd, bool tls, bool whole) {
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
                               "Connection: close\r\n\r\n";
    if (!tls) (void)send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
    fh_http_stats *st = fh_http_lock_stats(h);
    if (whole) st->refused_full++;
    else st->refused_address++;
    fh_http_unlock_stats(h);
}

static fh_connection *new_connection(fh_listen_socket *l, int fd) {
    fh_http *h = l->http;
    fh_connection *c = fh_alloc_zero(1, sizeof *c);
    if (!c) return NULL;
    c->http = h;
    c->fd = fd;
    c->tag = l->tag;
    c->tls = l->tls;
    if (l->tls) {
        fh_http_lock_stats(h);
        c->bev = fh_tls_bufferevent(h->base, fd, l->ssl);
        fh_http_unlock_stats(h);
    } else {
        c->bev = bufferevent_socket_new(h->base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    }
    if (c->bev) return c;
    fh_free(c);
    return NULL;
}

void fh_connection_accept(fh_listen_socket *l, int fd, const void *address, int len) {
    fh_http *h = l->http;
    peer p = read_peer(l->unix_socket || len <= 0 ? NULL : address);
    /* Those who have not said anything make room for those who might. */
    if (h->n_connection >= h->opt.connections_most && h->head_first) fh_connection_free(h->head_first);
    if (h->n_connection >= h->opt.connections_most) {
        turn_away(h, fd, l->tls, true);
        return;
    }
    fh_address *a = p.counted ? count_address(h, p.key) : NULL;
    bool too_many = a && a->n > h->opt.per_address_most;
    fh_connection *c = too_many || (p.counted && !a) ? NULL : new_connection(l, fd);
    if (!c) {
        uncount_address(h, a);
        turn_away(h, fd, l->tls, !too_many);
        return;
    }
    int one = 1;
    if (!l->unix_socket) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->address = a;
    c->loopback = p.loopback;
    memcpy(c->peer, p.text, sizeof c->peer);
    link_all(c);
    set_state(c, FH_CONN_HEAD);
    c->progress_ns = c->since_ns;
    fh_http_stats *st = fh_http_lock_stats(h);
    st->accepted++;
    fh_http_unlock_stats(h);
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, INPUT_MOST);
    bufferevent_setwatermark(c->bev, EV_WRITE, h->opt.buffer_most / 4, 0);
    evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c);
    evbuffer_add_cb(bufferevent_get_input(c->bev), on_input, c);
    if (bufferevent_enable(c->bev, EV_READ | EV_WRITE) != 0) fh_connection_free(c);
}

/* ---- deadlines ---- */

static bool body_is_late(const fh_connection *c, uint64_t now) {
    uint64_t spent = now - c->since_ns;
    if (spent < BODY_GRACE_NS) return false;
    return c->body_got < (spent - BODY_GRACE_NS) / 1000000u * BODY_BYTES_PER_S / 1000u + 1;
}

/* May free c. */
void fh_connection_check(fh_connection *c, uint64_t now) {
    const fh_http_options *o = &c->http->opt;
    uint64_t spent = now > c->since_ns ? now - c->since_ns : 0;
    bool waits = evbuffer_get_length(bufferevent_get_output(c->bev)) > 0;
    bool idle = c->state == FH_CONN_HEAD && c->n_request > 0 && c->scanned == 0;
    bool late = false, stalled = false;
    switch (c->state) {
    case FH_CONN_HEAD: late = spent > (uint64_t)(idle ? o->idle_ms : o->head_ms) * 1000000u; break;
    case FH_CONN_BODY: late = body_is_late(c, now); break;
    case FH_CONN_CLOSING: late = spent > LINGER_NS && !waits; break;
    case FH_CONN_ANSWER: break;
    }
    if (c->state == FH_CONN_CLOSING || c->state == FH_CONN_ANSWER)
        stalled = waits && now > c->progress_ns + (uint64_t)o->stall_ms * 1000000u;
    if (!late && !stalled) return;
    if (c->state != FH_CONN_CLOSING && !idle) {
        fh_http_stats *st = fh_http_lock_stats(c->http);
        if (stalled) st->stalled++;
        else st->timed_out++;
        fh_http_unlock_stats(c->http);
    }
    if (late && c->state != FH_CONN_CLOSING && (c->scanned || c->x))
        refuse(c, (fh_http_refusal){408, "the request came too slowly"});
    else fh_connection_free(c);
}

void fh_connection_drain_idle(fh_http *h) {
    for (fh_connection *c = h->head_first, *next; c; c = next) {
        next = c->head_next;
        if (c->scanned == 0 && c->n_request > 0) fh_connection_free(c);
    }
}
