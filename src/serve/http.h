/* serve/http.h - HTTP/1.1 as this program speaks it: whole requests in, whole or streamed answers out.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: sockets, TLS, deadlines, limits, parsing of requests. Knows nothing of models, keys or JSON.
 * A handler is called once per request, when its body is whole, on the server's thread, and must not block; it answers
 * at once or later, from any thread. Every exchange ends with exactly one whole answer or one ended stream; an exchange
 * that its handler drops without an answer becomes a 500.
 * Hostile peers: head within 10 s, body at 1 KB/s or more after that, idle connections closed after 60 s, header and
 * body sizes capped, connections capped in all and per address, smuggling shapes (two lengths, length and chunked,
 * line folding, bare LF) refused. A client that does not read holds at most `buffer_most` bytes, then writes tell so;
 * one that has read nothing for 30 s is dropped. */
#ifndef FH_SERVE_HTTP_H
#define FH_SERVE_HTTP_H

#include "base/buf.h"

typedef struct fh_http fh_http;
typedef struct fh_exchange fh_exchange;

typedef void fh_http_handler(void *ctx, fh_exchange *x);

typedef struct fh_http_options {
    size_t body_most;          /* 0: 32 MiB; decoded bytes */
    size_t buffer_most;        /* of one stream; 0: 1 MiB */
    uint32_t connections_most; /* 0: 12,000 */
    uint32_t per_address_most; /* 0: 256; loopback is not capped */
    uint32_t head_ms, idle_ms; /* 0: 10,000 and 60,000 */
    uint32_t stall_ms;         /* 0: 30,000 without a byte read by a client for whom some wait */
    fh_http_handler *handler;  /* when the body is whole */
    fh_http_handler *head;     /* or NULL: when the head is, before the body; an answer here ends the request */
    void (*tick)(void *ctx);   /* or NULL: about ten times a second, on the server's thread */
    void *ctx;
} fh_http_options;

typedef struct fh_http_listener {
    const char *host;                      /* "127.0.0.1", "::1", "0.0.0.0", "unix:/path" */
    uint16_t port;                         /* 0: any free one */
    const char *tls_key, *tls_certificate; /* PEM files, or NULL: plain */
    bool tls12;                            /* TLS 1.2, too; else 1.3 alone */
    int tag;                               /* the caller's: fh_exchange_tag */
} fh_http_listener;

/* Sockets are opened by listen, the thread starts with run: what is restricted in between counts for it. */
FH_MUST_USE fh_status fh_http_new(fh_http **out, const fh_http_options *opt, fh_err *err);
FH_MUST_USE fh_status fh_http_listen(fh_http *h, const fh_http_listener *l, uint16_t *port, fh_err *err);
FH_MUST_USE fh_status fh_http_run(fh_http *h, fh_err *err);
/* Any thread. TLS listeners read their files again; what is open stays as it is. */
FH_MUST_USE fh_status fh_http_reload_tls(fh_http *h, fh_err *err);
void fh_http_stop_listening(fh_http *h); /* first half of a graceful end: what is open is served, no more keep-alive */
uint32_t fh_http_n_exchange(const fh_http *h); /* requests under way */
void fh_http_free(fh_http *h);                 /* closes what is left, joins the thread; NULL is fine */

typedef struct fh_http_stats {
    uint64_t accepted, refused_full, refused_address, malformed, timed_out, stalled, requests, bytes_in, bytes_out;
    uint32_t connections;
} fh_http_stats;
fh_http_stats fh_http_get_stats(const fh_http *h);

/* ---- the request ---- borrowed, valid as long as the exchange */
fh_str fh_exchange_method(const fh_exchange *x); /* "GET" */
fh_str fh_exchange_path(const fh_exchange *x);   /* decoded, without the query; no "..", no NUL */
bool fh_exchange_query(const fh_exchange *x, const char *name, fh_str *out);
bool fh_exchange_header(const fh_exchange *x, const char *name, fh_str *out); /* any letter case; false if absent */
fh_str fh_exchange_body(const fh_exchange *x);
fh_str fh_exchange_peer(const fh_exchange *x); /* "127.0.0.1", "::1", "unix" */
bool fh_exchange_is_loopback(const fh_exchange *x);
int fh_exchange_tag(const fh_exchange *x);             /* of the listener that it came in by */
uint64_t fh_exchange_number(const fh_exchange *x);     /* counts requests: for the log and X-Request-Id */
uint64_t fh_exchange_arrived_ns(const fh_exchange *x); /* when its head was whole, on fh_clock_ns */

/* ---- the answer ---- */
/* Sets a header of the answer that will be made, in place of an earlier one of that name. Control characters in value
 * become blanks. */
void fh_exchange_set_header(fh_exchange *x, const char *name, fh_str value);
void fh_exchange_reply(fh_exchange *x, int status, const char *content_type, fh_str body);
/* A stream: begin once, write pieces, end once. write: false when the client is gone (the stream then only needs its
 * end). full: buffered bytes have passed buffer_most; pause, and go on when on_room is called. */
void fh_exchange_begin(fh_exchange *x, int status, const char *content_type);
bool fh_exchange_write(fh_exchange *x, fh_str piece, bool *full);
void fh_exchange_end(fh_exchange *x);
bool fh_exchange_is_gone(const fh_exchange *x); /* nobody will read the answer */
bool fh_exchange_has_begun(const fh_exchange *x);
int fh_exchange_status(const fh_exchange *x);     /* of the answer; 0 before it */
uint64_t fh_exchange_bytes(const fh_exchange *x); /* of the answer's body, so far */
/* Called on the server's thread, at most once each time; closed also when the answer was sent whole. Set before the
 * answer begins. False: it is closed already, fn will not be called. */
void fh_exchange_on_room(fh_exchange *x, void (*fn)(void *ctx), void *ctx);
bool fh_exchange_on_closed(fh_exchange *x, void (*fn)(void *ctx), void *ctx);
/* One thing that lives as long as the exchange: freed, on any thread, after it was closed and released by all. */
void fh_exchange_attach(fh_exchange *x, void *thing, void (*free)(void *thing));
void *fh_exchange_thing(const fh_exchange *x);
/* An exchange that answers later must be held; released from any thread. */
void fh_exchange_hold(fh_exchange *x);
void fh_exchange_release(fh_exchange *x);

#endif
