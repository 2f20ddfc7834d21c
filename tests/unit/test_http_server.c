/* tests/unit/test_http_server.c - the server on real sockets: answers, streams, limits, hostile peers.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/rng.h"
#include "http_peer.h"
#include "serve/http.h"

#define H "Host: a\r\n"

typedef struct lab {
    fh_http *http;
    uint16_t port;
    _Atomic int closed, gone, room, requests;
    fh_exchange *held;
} lab;

static void on_closed(void *ctx) { ((lab *)ctx)->closed++; }
static void on_room(void *ctx) { ((lab *)ctx)->room++; }

static void *answer_late(void *ctx) {
    fh_exchange *x = ctx;
    (void)poll(NULL, 0, 20);
    fh_exchange_reply(x, 200, "text/plain", FH_STR("late"));
    fh_exchange_release(x);
    return NULL;
}

static void start_late(fh_exchange *x) {
    pthread_t t;
    fh_exchange_hold(x);
    CHECK(pthread_create(&t, NULL, answer_late, x) == 0);
    pthread_detach(t);
}

static lab *much_lab;

static void *write_much(void *ctx) {
    fh_exchange *x = ctx;
    char piece[1000];
    bool full = false;
    memset(piece, 'x', sizeof piece);
    fh_exchange_begin(x, 200, "text/plain");
    uint64_t end = fh_clock_ns() + 8000000000u;
    for (int i = 0; i < 50000 && fh_clock_ns() < end; i++) { /* 50 MB are more than sockets hold */
        int before = much_lab->room;
        if (!fh_exchange_write(x, (fh_str){piece, sizeof piece}, &full)) break;
        while (full && much_lab->room == before && !fh_exchange_is_gone(x) && fh_clock_ns() < end)
            (void)poll(NULL, 0, 5);
    }
    fh_exchange_end(x);
    fh_exchange_release(x);
    return NULL;
}

static void start_much(fh_exchange *x) {
    pthread_t t;
    fh_exchange_hold(x);
    CHECK(pthread_create(&t, NULL, write_much, x) == 0);
    pthread_detach(t);
}

static void stream(fh_exchange *x) {
    bool full;
    fh_exchange_begin(x, 200, "text/event-stream");
    fh_exchange_write(x, FH_STR("one\n"), &full);
    fh_exchange_write(x, FH_STR(""), &full);
    fh_exchange_write(x, FH_STR("two\n"), &full);
    fh_exchange_end(x);
    fh_exchange_write(x, FH_STR("never\n"), &full);
}

static void handle(void *ctx, fh_exchange *x) {
    lab *l = ctx;
    fh_str path = fh_exchange_path(x);
    l->requests++;
    fh_exchange_on_closed(x, on_closed, l);
    fh_exchange_on_room(x, on_room, l);
    fh_exchange_set_header(x, "X-Test", FH_STR("was"));
    fh_exchange_set_header(x, "X-Test", FH_STR("a\r\nb: c"));
    if (fh_str_is(path, "/stream")) stream(x);
    else if (fh_str_is(path, "/late")) start_late(x);
    else if (fh_str_is(path, "/much")) start_much(x);
    else if (fh_str_is(path, "/half")) fh_exchange_begin(x, 200, "text/plain");
    else if (fh_str_is(path, "/hold")) {
        fh_exchange_hold(x);
        l->held = x;
    } else if (!fh_str_is(path, "/drop")) {
        fh_exchange_reply(x, 200, "text/plain", fh_exchange_body(x).len ? fh_exchange_body(x) : path);
        fh_exchange_reply(x, 201, "text/plain", FH_STR("twice"));
    }
}

static void head(void *ctx, fh_exchange *x) {
    (void)ctx;
    if (fh_str_is(fh_exchange_path(x), "/early")) fh_exchange_reply(x, 401, "text/plain", FH_STR("no"));
}

static void start(lab *l, fh_http_options o) {
    fh_err err = {.status = FH_OK};
    *l = (lab){.port = 0};
    much_lab = l;
    o.handler = handle;
    o.head = head;
    o.ctx = l;
    const fh_http_listener at = {.host = "127.0.0.1", .tag = 7};
    CHECK_OK(fh_http_new(&l->http, &o, &err), err);
    CHECK_OK(fh_http_listen(l->http, &at, &l->port, &err), err);
    CHECK_OK(fh_http_run(l->http, &err), err);
}

static bool await(_Atomic int *what, int value) {
    for (int i = 0; i < 300 && *what < value; i++) (void)poll(NULL, 0, 10);
    return *what >= value;
}

TEST(http_server, answers) {
    char out[4096];
    lab l;
    start(&l, (fh_http_options){.body_most = 0});
    int fd = peer_open(l.port);
    peer_send(fd, FH_STR("GET /a HTTP/1.1\r\n" H "\r\n"));
    CHECK(peer_read(fd, out, sizeof out, "\r\n\r\n/a", 3000) > 0);
    CHECK(strstr(out, "HTTP/1.1 200 OK\r\n") == out && strstr(out, "Content-Length: 2\r\n"));
    CHECK(strstr(out, "X-Test: a  b: c\r\n") && !strstr(out, "was") && strstr(out, "Connection: keep-alive\r\n"));
    peer_send(fd, FH_STR("POST /b HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhel"));
    (void)poll(NULL, 0, 20);
    peer_send(fd, FH_STR("loGET /c HTTP/1.1\r\n" H "\r\nGET /stream HTTP/1.1\r\n" H "\r\n")); /* pipelined */
    CHECK(peer_read(fd, out, sizeof out, "\r\n0\r\n\r\n", 3000) > 0);
    CHECK(strstr(out, "\r\n\r\nhello") && strstr(out, "\r\n\r\n/c"));
    CHECK(strstr(out, "Transfer-Encoding: chunked") && strstr(out, "\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n"));
    CHECK(!strstr(out, "never") && !strstr(out, "twice"));
    peer_send(fd, FH_STR("HEAD /d HTTP/1.1\r\n" H "\r\nGET /late HTTP/1.1\r\n" H "Connection: close\r\n\r\n"));
    CHECK(peer_read(fd, out, sizeof out, NULL, 3000) > 0);
    CHECK(strstr(out, "Content-Length: 2\r\n") && !strstr(out, "\r\n\r\n/d") && strstr(out, "\r\n\r\nlate"));
    close(fd);
    CHECK(peer_ask(l.port,
                   "POST /e HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", out,
                   sizeof out, "abcde") > 0 &&
          strstr(out, "\r\n\r\nabcde"));
    CHECK(peer_ask(l.port, "GET /stream HTTP/1.0\r\n\r\n", out, sizeof out, NULL) > 0);
    CHECK(strstr(out, "Connection: close\r\n") && !strstr(out, "chunked") && strstr(out, "\r\n\r\none\ntwo\n"));
    CHECK(peer_ask(l.port, "GET /drop HTTP/1.1\r\n" H "\r\n", out, sizeof out, "answer") > 0);
    CHECK(strstr(out, "HTTP/1.1 500 ") == out);
    CHECK(await(&l.closed, 9));
    fh_http_free(l.http);
    CHECK_U64(l.closed, l.requests);
}

TEST(http_server, refuses) {
    static const struct {
        const char *text;
        const char *starts; /* of the answer */
    } rows[] = {
        {"GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\n", "HTTP/1.1 413 "},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", "HTTP/1.1 413 "},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", "HTTP/1.1 400 "},
        {"POST /early HTTP/1.1\r\n" H "Content-Length: 900\r\n\r\nabc", "HTTP/1.1 401 "},
        {"GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", "HTTP/1.1 400 "}};
    char out[4096];
    lab l;
    start(&l, (fh_http_options){.body_most = 1000});
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        int fd = peer_open(l.port);
        peer_send(fd, fh_str_of(rows[i].text));
        peer_send(fd, FH_STR("GET /smuggled HTTP/1.1\r\n" H "\r\n"));
        (void)peer_read(fd, out, sizeof out, NULL, 5000);
        if (strstr(out, rows[i].starts) != out) fh_test_fail(__FILE__, __LINE__, "row %zu gives: %.60s", i, out);
        CHECK(strstr(out, "Connection: close\r\n") && !strstr(out, "/smuggled"));
        close(fd);
    }
    fh_http_free(l.http);
}

TEST(http_server, slow_heads) {
    char out[512];
    lab l;
    start(&l, (fh_http_options){.head_ms = 300, .idle_ms = 600});
    int silent = peer_open(l.port), slow = peer_open(l.port), idle = peer_open(l.port);
    uint64_t t = fh_clock_ns();
    peer_send(idle, FH_STR("GET /a HTTP/1.1\r\n" H "\r\n"));
    CHECK(peer_read(idle, out, sizeof out, "\r\n\r\n/a", 1000) > 0);
    for (int i = 0; i < 8; i++) { /* a byte now and then is no progress */
        peer_send(slow, FH_STR("X"));
        (void)poll(NULL, 0, 50);
    }
    CHECK(peer_read(slow, out, sizeof out, NULL, 1000) > 0 && strstr(out, "HTTP/1.1 408 ") == out);
    CHECK(peer_read(silent, out, sizeof out, NULL, 1000) == -1);
    CHECK(fh_clock_ns() - t < 3000000000u);
    CHECK(peer_read(idle, out, sizeof out, NULL, 2000) == -1);
    close(silent), close(slow), close(idle);
    CHECK_U64(fh_http_get_stats(l.http).timed_out, 2);
    fh_http_free(l.http);
}

/* Those who say nothing make room when there is none. */
TEST(http_server, crowd) {
    enum { N = 200 };
    char out[512];
    int fd[N];
    lab l;
    start(&l, (fh_http_options){.connections_most = 50});
    for (int i = 0; i < N; i++) {
        fd[i] = peer_open(l.port);
        peer_send(fd[i], FH_STR("GET /x"));
    }
    for (int i = 0; i < 5; i++)
        CHECK(peer_ask(l.port, "GET /a HTTP/1.1\r\n" H "\r\n", out, sizeof out, "\r\n\r\n/a") > 0 &&
              strstr(out, "200 OK"));
    CHECK_U64(fh_http_get_stats(l.http).refused_full, 0);
    for (int i = 0; i < N; i++) close(fd[i]);
    fh_http_free(l.http);
}

TEST(http_server, reader_stalls) {
    char out[65536];
    lab l;
    start(&l, (fh_http_options){.buffer_most = 65536, .stall_ms = 400});
    int fd = peer_open(l.port);
    peer_send(fd, FH_STR("GET /much HTTP/1.1\r\n" H "\r\n"));
    CHECK(await(&l.requests, 1));
    CHECK(await(&l.closed, 1)); /* it does not read and is dropped */
    CHECK_U64(fh_http_get_stats(l.http).stalled, 1);
    close(fd);
    fd = peer_open(l.port);
    peer_send(fd, FH_STR("GET /much HTTP/1.1\r\n" H "\r\n"));
    uint64_t t = fh_clock_ns();
    while (l.room == 0 && fh_clock_ns() - t < 4000000000u) (void)peer_read(fd, out, sizeof out, NULL, 50);
    CHECK(l.room >= 1); /* one that reads makes room again */
    while (peer_read(fd, out, sizeof out, NULL, 200) > 0) {
    }
    close(fd);
    CHECK(await(&l.closed, 2));
    (void)poll(NULL, 0, 100);
    fh_http_free(l.http);
}

TEST(http_server, client_leaves) {
    bool full;
    lab l;
    start(&l, (fh_http_options){.body_most = 0});
    int fd = peer_open(l.port);
    peer_send(fd, FH_STR("GET /hold HTTP/1.1\r\n" H "\r\n"));
    CHECK(await(&l.requests, 1));
    CHECK(l.closed == 0 && fh_http_n_exchange(l.http) == 1);
    uint64_t t = fh_clock_ns();
    close(fd);
    CHECK(await(&l.closed, 1));
    CHECK(fh_clock_ns() - t < 250000000u);
    CHECK(fh_exchange_is_gone(l.held) && !fh_exchange_on_closed(l.held, on_closed, &l));
    fh_exchange_begin(l.held, 200, "text/plain");
    CHECK(!fh_exchange_write(l.held, FH_STR("x"), &full));
    fh_exchange_end(l.held);
    fh_exchange_release(l.held);
    /* and an exchange may outlive its server */
    fd = peer_open(l.port);
    peer_send(fd, FH_STR("GET /hold HTTP/1.1\r\n" H "\r\n"));
    CHECK(await(&l.requests, 2));
    fh_http_free(l.http);
    CHECK(l.closed == 2 && fh_exchange_is_gone(l.held));
    fh_exchange_reply(l.held, 200, "text/plain", FH_STR("too late"));
    fh_exchange_release(l.held);
    close(fd);
}

/* Half an answer is never made to look whole. */
TEST(http_server, half) {
    char out[512];
    lab l;
    start(&l, (fh_http_options){.body_most = 0});
    (void)peer_ask(l.port, "GET /half HTTP/1.1\r\n" H "\r\n", out, sizeof out, NULL);
    CHECK(!strstr(out, "\r\n0\r\n\r\n"));
    fh_http_free(l.http);
}

TEST(http_server, drains) {
    char out[512];
    lab l;
    start(&l, (fh_http_options){.body_most = 0});
    int fd = peer_open(l.port), idle = peer_open(l.port);
    peer_send(idle, FH_STR("GET /a HTTP/1.1\r\n" H "\r\n"));
    CHECK(peer_read(idle, out, sizeof out, "\r\n\r\n/a", 1000) > 0);
    peer_send(fd, FH_STR("GET /hold HTTP/1.1\r\n" H "\r\n"));
    CHECK(await(&l.requests, 2));
    fh_http_stop_listening(l.http);
    CHECK(peer_read(idle, out, sizeof out, NULL, 2000) == -1);
    fh_exchange_reply(l.held, 200, "text/plain", FH_STR("still here"));
    fh_exchange_release(l.held);
    CHECK(peer_read(fd, out, sizeof out, NULL, 2000) > 0 && strstr(out, "still here") &&
          strstr(out, "Connection: close"));
    CHECK_U64(fh_http_n_exchange(l.http), 0);
    close(fd), close(idle);
    fh_http_free(l.http);
}

/* Many clients that do everything wrong at random moments; the server's books are even afterwards. */
TEST(http_server, random_peers) {
    static const char *const texts[] = {"GET /a HTTP/1.1\r\n" H "\r\n",
                                        "GET /stream HTTP/1.1\r\n" H "\r\n",
                                        "GET /late HTTP/1.1\r\n" H "\r\n",
                                        "GET /drop HTTP/1.1\r\n" H "\r\n",
                                        "POST /b HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello",
                                        "GET / HT\n\n",
                                        "POST /c HTTP/1.1\r\n" H
                                        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"};
    fh_rng rng;
    lab l;
    char out[2048];
    fh_rng_init(&rng, fh_test_seed(), 11);
    start(&l, (fh_http_options){.body_most = 0});
    for (size_t i = 0; i < 1000 * fh_test_times(); i++) {
        int fd = peer_open(l.port);
        for (uint64_t k = fh_rng_below(&rng, 4) + 1; k > 0; k--) {
            fh_str t = fh_str_of(texts[fh_rng_below(&rng, FH_COUNT(texts))]);
            peer_send(fd, fh_rng_below(&rng, 4) ? t : fh_str_first(t, (size_t)fh_rng_below(&rng, t.len)));
        }
        if (fh_rng_below(&rng, 3)) (void)peer_read(fd, out, sizeof out, "\r\n\r\n", (int)fh_rng_below(&rng, 10));
        close(fd);
    }
    CHECK(peer_ask(l.port, "GET /a HTTP/1.1\r\n" H "\r\n", out, sizeof out, "\r\n\r\n/a") > 0);
    for (int i = 0; i < 300 && fh_http_n_exchange(l.http); i++) (void)poll(NULL, 0, 10);
    CHECK_U64(fh_http_n_exchange(l.http), 0);
    fh_http_free(l.http);
    CHECK_U64(l.closed, l.requests);
    (void)poll(NULL, 0, 200); /* late answers let go */
}
