/* serve/http_part.h - the insides of the HTTP server. Private to src/serve.
 * SPDX-License-Identifier: Apache-2.0
 * One thread, the loop, owns connections and everything of libevent. Exchanges are shared: what other threads touch is
 * behind their lock, and they hand an exchange to the loop by putting it on the list of the dirty and waking it.
 *
 * A connection's states: HEAD -> BODY -> ANSWER -> HEAD again, or CLOSING -> gone. It has an exchange in BODY and
 * ANSWER. An exchange is referred to by its connection, by the dirty list, and by those who hold it. */
#ifndef FH_SERVE_HTTP_PART_H
#define FH_SERVE_HTTP_PART_H

#include <pthread.h>
#include <stdatomic.h>

#include "serve/http.h"
#include "serve/http_parse.h"

struct bufferevent;
struct event;
struct event_base;
struct evconnlistener;
struct ssl_ctx_st;

typedef enum fh_answer_state { FH_ANSWER_NONE, FH_ANSWER_BEGUN, FH_ANSWER_ENDED } fh_answer_state;

typedef struct fh_connection fh_connection;

struct fh_exchange {
    /* set before the handler sees it */
    uint64_t number, arrived_ns;
    int tag;
    bool loopback, is_head, http10;
    char peer[64];
    char *head_bytes;
    fh_http_head head;
    fh_buf body;
    void (*thing_free)(void *);
    void *thing;
    _Atomic uint32_t refs;

    pthread_mutex_t lock;
    fh_http *http;       /* NULL once the server is gone */
    fh_connection *conn; /* the loop's; NULL once it is gone */
    fh_answer_state answer;
    int status;
    bool gone, closed, close_after, chunked, told_full, broken, dirty;
    bool early;       /* answered before its body was read */
    fh_buf extra;     /* header lines for the answer */
    fh_buf pending;   /* framed bytes that the loop has not yet taken */
    size_t in_flight; /* bytes in the connection's output, as of the loop's last look */
    size_t buffer_most;
    uint64_t body_bytes;
    void (*room_fn)(void *), *room_ctx;
    void (*closed_fn)(void *), *closed_ctx;
    fh_exchange *next_dirty;
};

/* How many connections an address has. */
typedef struct fh_address {
    uint8_t key[16]; /* IPv6 by its first 64 bits */
    uint32_t n;
    struct fh_address *next;
} fh_address;
#define FH_ADDRESS_BUCKETS 1024

typedef enum fh_connection_state { FH_CONN_HEAD, FH_CONN_BODY, FH_CONN_ANSWER, FH_CONN_CLOSING } fh_connection_state;

typedef struct fh_listen_socket {
    fh_http *http;
    struct evconnlistener *ev;
    int fd, tag;
    bool unix_socket, tls, tls12;
    char *path; /* of a unix socket: unlinked at the end */
    char *tls_key, *tls_certificate;
    struct ssl_ctx_st *ssl; /* under tls_lock */
    struct fh_listen_socket *next;
} fh_listen_socket;

struct fh_connection {
    fh_http *http;
    struct bufferevent *bev;
    int fd, tag;
    bool loopback, close_after, answer_queued, shut, tls;
    char peer[64];
    fh_address *address; /* NULL: not counted */
    fh_connection_state state;
    uint64_t since_ns;    /* of this state, or of the first byte of a head */
    uint64_t progress_ns; /* last byte written */
    uint64_t body_left, body_got;
    fh_http_chunks chunks;
    size_t scanned;
    uint32_t n_request;
    fh_exchange *x;
    fh_connection *prev, *next;           /* all */
    fh_connection *head_prev, *head_next; /* those in HEAD, oldest first */
    bool in_heads;
};

struct fh_http {
    fh_http_options opt;
    struct event_base *base;
    struct event *wake_event, *tick_event;
    int wake_fd;
    pthread_t thread;
    bool running;
    fh_listen_socket *listeners;
    fh_connection *all, *head_first, *head_last;
    fh_address *address[FH_ADDRESS_BUCKETS];
    bool draining, accept_paused;
    uint32_t n_connection;
    char date[40];
    uint64_t date_s;

    pthread_mutex_t lock; /* of the dirty list, stats, and TLS contexts */
    fh_exchange *dirty_first, *dirty_last;
    fh_http_stats stats;
    _Atomic bool woken, stop_listening, quit;
    _Atomic uint64_t n_request;
    _Atomic uint32_t n_exchange;
};

/* ---- http_exchange.c ---- */
fh_exchange *fh_exchange_new(fh_connection *c);
void fh_exchange_unref(fh_exchange *x);
/* On the loop: moves what is pending to the connection's output. */
void fh_exchange_flush(fh_exchange *x);
/* On the loop, once: tells who waits, lets go of the connection. gone: the answer did not get through whole. */
void fh_exchange_close(fh_exchange *x, bool gone);
void fh_exchange_call_room(fh_exchange *x, size_t in_flight);
/* On the loop: nobody holds it any more and it has no whole answer: gives it one. others: references that count. */
void fh_exchange_check_dropped(fh_exchange *x, uint32_t others);

/* ---- http.c ---- */
void fh_http_wake(fh_http *h);
void fh_http_mark_dirty(fh_http *h, fh_exchange *x); /* x's lock is held */
void fh_http_add_date(fh_http *h, fh_buf *out);
fh_http_stats *fh_http_lock_stats(fh_http *h);
void fh_http_unlock_stats(fh_http *h);

/* ---- http_connection.c ---- all on the loop */
void fh_connection_accept(fh_listen_socket *l, int fd, const void *address, int len);
void fh_connection_free(fh_connection *c);
void fh_connection_answer_moved(fh_connection *c); /* something was added to its output, or the answer has ended */
void fh_connection_check(fh_connection *c, uint64_t now);
void fh_connection_drain_idle(fh_http *h);

/* ---- http_tls.c ---- */
FH_MUST_USE fh_status fh_tls_context(struct ssl_ctx_st **out, const char *key, const char *certificate, bool tls12,
                                     fh_err *err);
void fh_tls_context_free(struct ssl_ctx_st *ctx);
struct bufferevent *fh_tls_bufferevent(struct event_base *base, int fd, struct ssl_ctx_st *ctx);

#endif
