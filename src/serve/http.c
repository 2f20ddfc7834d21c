/* serve/http.c - the server: listening sockets, the loop, its clock, and the door by which other threads reach it.
 * SPDX-License-Identifier: Apache-2.0
 * libevent moves the bytes and speaks TLS; what it would read as HTTP (evhttp) is not used, because it lets pass what
 * two readers can understand differently. Locks: an exchange's, then the server's; never the other way round. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "serve/http_part.h"

#define BACKLOG 4096

/* ---- the door ---- */

void fh_http_wake(fh_http *h) {
    uint64_t one = 1;
    if (atomic_exchange(&h->woken, true)) return;
    while (write(h->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void fh_http_mark_dirty(fh_http *h, fh_exchange *x) {
    if (x->dirty) return;
    x->dirty = true;
    fh_exchange_hold(x);
    pthread_mutex_lock(&h->lock);
    x->next_dirty = NULL;
    if (h->dirty_last) h->dirty_last->next_dirty = x;
    else h->dirty_first = x;
    h->dirty_last = x;
    pthread_mutex_unlock(&h->lock);
    fh_http_wake(h);
}

void fh_http_add_date(fh_http *h, fh_buf *out) {
    pthread_mutex_lock(&h->lock);
    if (h->date[0]) fh_buf_printf(out, "Date: %s\r\n", h->date);
    pthread_mutex_unlock(&h->lock);
}

fh_http_stats *fh_http_lock_stats(fh_http *h) {
    pthread_mutex_lock(&h->lock);
    return &h->stats;
}

void fh_http_unlock_stats(fh_http *h) { pthread_mutex_unlock(&h->lock); }

fh_http_stats fh_http_get_stats(const fh_http *ch) {
    fh_http *h = (fh_http *)(uintptr_t)ch;
    fh_http_stats st = *fh_http_lock_stats(h);
    fh_http_unlock_stats(h);
    return st;
}

uint32_t fh_http_n_exchange(const fh_http *h) { return h->n_exchange; }

/* ---- the loop ---- */

static void flush_dirty(fh_http *h) {
    for (;;) {
        pthread_mutex_lock(&h->lock);
        fh_exchange *x = h->dirty_first;
        if (x) {
            h->dirty_first = x->next_dirty;
            if (!h->dirty_first) h->dirty_last = NULL;
        }
        pthread_mutex_unlock(&h->lock);
        if (!x) return;
        pthread_mutex_lock(&x->lock);
        x->dirty = false;
        bool open = x->conn && x->conn->state == FH_CONN_ANSWER && x->answer != FH_ANSWER_ENDED;
        pthread_mutex_unlock(&x->lock);
        if (open) fh_exchange_check_dropped(x, 2); /* the connection's and this list's */
        fh_exchange_flush(x);
        fh_exchange_unref(x);
    }
}

static void on_wake(evutil_socket_t fd, short what, void *ctx) {
    (void)what;
    fh_http *h = ctx;
    uint64_t n;
    while (read((int)fd, &n, sizeof n) < 0 && errno == EINTR) {
    }
    atomic_store(&h->woken, false);
    if (h->quit) {
        event_base_loopbreak(h->base);
        return;
    }
    if (h->stop_listening && !h->draining) {
        h->draining = true;
        for (fh_listen_socket *l = h->listeners; l; l = l->next) {
            if (l->ev) evconnlistener_free(l->ev);
            l->ev = NULL;
        }
        fh_connection_drain_idle(h);
    }
    flush_dirty(h);
}

static void set_date(fh_http *h) {
    uint64_t now = fh_clock_unix_ms() / 1000;
    if (now == h->date_s) return;
    h->date_s = now;
    time_t t = (time_t)now;
    struct tm tm;
    gmtime_r(&t, &tm);
    pthread_mutex_lock(&h->lock);
    if (strftime(h->date, sizeof h->date, "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0) h->date[0] = '\0';
    h->stats.connections = h->n_connection;
    pthread_mutex_unlock(&h->lock);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx) {
    (void)fd, (void)what;
    fh_http *h = ctx;
    uint64_t now = fh_clock_ns();
    set_date(h);
    for (fh_connection *c = h->all, *next; c; c = next) {
        next = c->next;
        fh_connection_check(c, now);
    }
    if (h->accept_paused && !h->draining) {
        h->accept_paused = false;
        for (fh_listen_socket *l = h->listeners; l; l = l->next)
            if (l->ev) evconnlistener_enable(l->ev);
    }
    if (h->opt.tick) h->opt.tick(h->opt.ctx);
}

static void *run_loop(void *ctx) {
    fh_http *h = ctx;
    event_base_dispatch(h->base);
    return NULL;
}

/* ---- listeners ---- */

static void on_accept(struct evconnlistener *ev, evutil_socket_t fd, struct sockaddr *sa, int len, void *ctx) {
    (void)ev;
    fh_connection_accept(ctx, (int)fd, sa, len);
}

/* No descriptors left: wait for the next tick instead of spinning. */
static void on_accept_error(struct evconnlistener *ev, void *ctx) {
    fh_listen_socket *l = ctx;
    evconnlistener_disable(ev);
    l->http->accept_paused = true;
}

static fh_status cannot_listen(fh_err *err, const fh_http_listener *l) {
    int e = errno;
    fh_status s = e == EADDRINUSE ? FH_ERR_EXISTS : e == EACCES ? FH_ERR_DENIED : FH_ERR_IO;
    char why[128];
    return fh_fail(err, s, "cannot listen on '%.200s' port %u: %s", l->host, l->port, strerror_r(e, why, sizeof why));
}

/* A socket file that nobody answers on is a leftover. */
static void remove_leftover(const struct sockaddr_un *un) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    if (connect(fd, (const struct sockaddr *)un, sizeof *un) != 0 && errno == ECONNREFUSED) unlink(un->sun_path);
    close(fd);
}

static fh_status open_unix(fh_listen_socket *s, const fh_http_listener *l, fh_err *err) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *path = l->host + 5;
    if (!fh_str_copy(un.sun_path, sizeof un.sun_path, fh_str_of(path)))
        return fh_fail(err, FH_ERR_LIMIT, "the path of the socket '%.200s' is longer than %zu bytes", path,
                       sizeof un.sun_path - 1);
    s->path = fh_strdup(fh_str_of(path));
    if (!s->path) return fh_fail_memory(err, strlen(path));
    remove_leftover(&un);
    s->unix_socket = true;
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) return cannot_listen(err, l);
    mode_t before = umask(0177); /* for its owner alone, from the first moment on */
    int rc = bind(s->fd, (const struct sockaddr *)&un, sizeof un);
    umask(before);
    if (rc == 0) return FH_OK;
    fh_status st = cannot_listen(err, l);
    fh_free(s->path); /* not ours to unlink */
    s->path = NULL;
    return st;
}

static fh_status open_tcp(fh_listen_socket *s, const fh_http_listener *l, uint16_t *port, fh_err *err) {
    struct sockaddr_storage sa;
    socklen_t len = sizeof(struct sockaddr_in6), have = sizeof sa;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(l->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(l->port)};
    const char *host = strcmp(l->host, "localhost") == 0 ? "127.0.0.1" : l->host;
    memset(&sa, 0, sizeof sa);
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
        memcpy(&sa, &in, sizeof in);
        len = sizeof in;
    } else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1) {
        memcpy(&sa, &in6, sizeof in6);
    } else {
        return fh_fail(err, FH_ERR_USAGE, "a host is an IP address, localhost or unix:/path, not '%.200s'", l->host);
    }
    int one = 1;
    s->fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) return cannot_listen(err, l);
    (void)setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s->fd, (const struct sockaddr *)&sa, len) != 0) return cannot_listen(err, l);
    if (getsockname(s->fd, (struct sockaddr *)&sa, &have) != 0) return cannot_listen(err, l);
    memcpy(&in, &sa, sizeof in); /* the port lies at the same place in both */
    if (port) *port = ntohs(in.sin_port);
    return FH_OK;
}

static void free_listener(fh_listen_socket *s) {
    if (s->ev) evconnlistener_free(s->ev);
    if (s->fd >= 0) close(s->fd);
    if (s->path) unlink(s->path);
    fh_tls_context_free(s->ssl);
    fh_free(s->path);
    fh_free(s->tls_key);
    fh_free(s->tls_certificate);
    fh_free(s);
}

static fh_status open_tls(fh_listen_socket *s, const fh_http_listener *l, fh_err *err) {
    s->tls = true;
    s->tls12 = l->tls12;
    s->tls_key = fh_strdup(fh_str_of(l->tls_key));
    s->tls_certificate = fh_strdup(fh_str_of(l->tls_certificate));
    if (!s->tls_key || !s->tls_certificate) return fh_fail_memory(err, 0);
    return fh_tls_context(&s->ssl, s->tls_key, s->tls_certificate, s->tls12, err);
}

fh_status fh_http_listen(fh_http *h, const fh_http_listener *l, uint16_t *port, fh_err *err) {
    if (!l->tls_key != !l->tls_certificate) return fh_fail(err, FH_ERR_USAGE, "TLS needs both a key and a certificate");
    fh_listen_socket *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    s->fd = -1;
    s->http = h;
    s->tag = l->tag;
    fh_status st = l->tls_key ? open_tls(s, l, err) : FH_OK;
    if (st == FH_OK) st = strncmp(l->host, "unix:", 5) == 0 ? open_unix(s, l, err) : open_tcp(s, l, port, err);
    if (st == FH_OK) {
        s->ev =
            evconnlistener_new(h->base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, s->fd);
        if (!s->ev) st = cannot_listen(err, l);
    }
    if (st != FH_OK) {
        free_listener(s);
        return st;
    }
    s->fd = -1; /* the listener's now */
    evconnlistener_set_error_cb(s->ev, on_accept_error);
    s->next = h->listeners;
    h->listeners = s;
    return FH_OK;
}

fh_status fh_http_reload_tls(fh_http *h, fh_err *err) {
    for (fh_listen_socket *l = h->listeners; l; l = l->next) {
        struct ssl_ctx_st *fresh = NULL;
        if (!l->tls) continue;
        FH_TRY(fh_tls_context(&fresh, l->tls_key, l->tls_certificate, l->tls12, err));
        pthread_mutex_lock(&h->lock);
        struct ssl_ctx_st *old = l->ssl;
        l->ssl = fresh;
        pthread_mutex_unlock(&h->lock);
        fh_tls_context_free(old); /* what is open keeps a reference of its own */
    }
    return FH_OK;
}

/* ---- life ---- */

static uint32_t or_else(uint32_t v, uint32_t otherwise) { return v ? v : otherwise; }

static fh_status open_loop(fh_http *h, fh_err *err) {
    const struct timeval tick = {0, 100000};
    h->base = event_base_new();
    h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!h->base || h->wake_fd < 0) return fh_fail(err, FH_ERR_IO, "cannot make an event loop");
    h->wake_event = event_new(h->base, h->wake_fd, EV_READ | EV_PERSIST, on_wake, h);
    h->tick_event = event_new(h->base, -1, EV_PERSIST, on_tick, h);
    if (!h->wake_event || !h->tick_event || event_add(h->wake_event, NULL) != 0 || event_add(h->tick_event, &tick) != 0)
        return fh_fail_memory(err, 0);
    return FH_OK;
}

fh_status fh_http_new(fh_http **out, const fh_http_options *opt, fh_err *err) {
    fh_http *h = fh_alloc_zero(1, sizeof *h);
    if (!h) return fh_fail_memory(err, sizeof *h);
    h->opt = *opt;
    h->opt.body_most = opt->body_most ? opt->body_most : (size_t)32 << 20;
    h->opt.buffer_most = opt->buffer_most ? opt->buffer_most : (size_t)1 << 20;
    h->opt.connections_most = or_else(opt->connections_most, 12000);
    h->opt.per_address_most = or_else(opt->per_address_most, 256);
    h->opt.head_ms = or_else(opt->head_ms, 10000);
    h->opt.idle_ms = or_else(opt->idle_ms, 60000);
    h->opt.stall_ms = or_else(opt->stall_ms, 30000);
    h->wake_fd = -1;
    pthread_mutex_init(&h->lock, NULL);
    fh_status s = open_loop(h, err);
    if (s == FH_OK) *out = h;
    else fh_http_free(h);
    return s;
}

fh_status fh_http_run(fh_http *h, fh_err *err) {
    sigset_t all, before;
    set_date(h);
    /* A client that went away makes a failed write, not a signal; and signals are for whoever waits for them. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int failed = pthread_create(&h->thread, NULL, run_loop, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) return fh_fail(err, FH_ERR_MEMORY, "cannot start the server's thread");
    h->running = true;
    return FH_OK;
}

void fh_http_stop_listening(fh_http *h) {
    atomic_store(&h->stop_listening, true);
    fh_http_wake(h);
}

void fh_http_free(fh_http *h) {
    if (!h) return;
    if (h->running) {
        atomic_store(&h->quit, true);
        fh_http_wake(h);
        pthread_join(h->thread, NULL);
    }
    while (h->all) fh_connection_free(h->all);
    for (fh_exchange *x; (x = h->dirty_first) != NULL; fh_exchange_unref(x)) h->dirty_first = x->next_dirty;
    for (fh_listen_socket *l; (l = h->listeners) != NULL; free_listener(l)) h->listeners = l->next;
    if (h->wake_event) event_free(h->wake_event);
    if (h->tick_event) event_free(h->tick_event);
    /* What was freed ends in the loop. */
    for (int i = 0; h->base && i < 4; i++) event_base_loop(h->base, EVLOOP_NONBLOCK);
    if (h->base) event_base_free(h->base);
    if (h->wake_fd >= 0) close(h->wake_fd);
    pthread_mutex_destroy(&h->lock);
    fh_free(h);
}
