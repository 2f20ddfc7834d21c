/* tests/fuzz/fuzz_request.c - whole requests to a whole server: connection, parser, router, JSON, every API's reader,
 * scheduler, answer.
 * SPDX-License-Identifier: Apache-2.0
 * The server runs in this process, so that sanitizers see all of it, and listens on this machine. Input: the first byte
 * even: bytes as they stand, sent in two pieces; odd: a line "METHOD PATH" and a body behind a line break, which get a
 * right head. The server must answer each, or close it, within its time, and must still say that it is well. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "serve/server.h"

#define WAIT_MS 900
#define HEALTH "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint16_t port;

static void set(fh_config *c, const char *key, const char *value) {
    FH_REQUIRE(fh_config_set(c, fh_str_of(key), fh_str_of(value), 2, NULL) == FH_OK);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static fh_app *app;
    const fh_fleet_options fo = {.ctx = 96,
                                 .parallel = 4,
                                 .draft = 4,
                                 .threads = 1,
                                 .exact = true,
                                 .memory_most = (uint64_t)1 << 30,
                                 .state_most = 64 << 20,
                                 .keep_alive_ms = -1};
    fh_config c;
    fh_fleet *fleet = NULL;
    fh_err err = {0};
    (void)argc;
    (void)argv;
    FH_REQUIRE(fh_config_init(&c, &err) == FH_OK);
    set(&c, "log", "off");
    set(&c, "audit", "none");
    set(&c, "body", "64K");
    set(&c, "head_timeout", "300ms");
    set(&c, "idle_timeout", "300ms");
    FH_REQUIRE(fh_fleet_new(&fleet, &fo, NULL, NULL, &err) == FH_OK);
    FH_REQUIRE(fh_fleet_add(fleet, "m", "tests/golden/models/llama-sharded", true, &err) == FH_OK);
    FH_REQUIRE(fh_fleet_add(fleet, "e", "tests/golden/models/bert", true, &err) == FH_OK);
    const fh_app_options o = {.config = &c};
    FH_REQUIRE(fh_app_new(&app, &o, fleet, &err) == FH_OK);
    FH_REQUIRE(fh_app_listen(app, FH_LISTEN_MAIN, "127.0.0.1", 0, &port, &err) == FH_OK);
    FH_REQUIRE(fh_app_run(app, &err) == FH_OK);
    fh_config_release(&c);
    fh_fleet_entry e;
    for (int i = 0; i < 2000; i++)
        if (fh_fleet_find(fleet, FH_STR("m"), &e) && e.loaded && fh_fleet_find(fleet, FH_STR("e"), &e) && e.loaded)
            return 0;
        else (void)poll(NULL, 0, 10);
    FH_BUG("the models did not load");
}

static int dial(void) {
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct linger now = {.l_onoff = 1}; /* ends with a reset: no port waits for its next use */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FH_REQUIRE(fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    return fd;
}

static void say(int fd, fh_str s) {
    while (s.len) {
        ssize_t n = send(fd, s.ptr, s.len, MSG_NOSIGNAL);
        if (n <= 0) return; /* it has heard enough */
        s = fh_str_drop(s, (size_t)n);
    }
}

/* What comes until it closes or, where the client is the one who goes, until the first of it. */
static size_t hear(int fd, char *out, size_t cap, bool all) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char rest[4096]; /* behind the first cap bytes */
    size_t n = 0;
    while (poll(&p, 1, WAIT_MS) == 1) {
        ssize_t k = n < cap ? recv(fd, out + n, cap - n, 0) : recv(fd, rest, sizeof rest, 0);
        if (k <= 0) break;
        n += (size_t)k;
        if (!all) break;
    }
    return n;
}

static void raw(fh_str in) {
    char out[512];
    int fd = dial();
    size_t half = in.len / 2;
    say(fd, fh_str_first(in, half));
    say(fd, fh_str_drop(in, half));
    (void)shutdown(fd, SHUT_WR);
    (void)hear(fd, out, sizeof out, true);
    close(fd);
}

static void composed(fh_str in) {
    char head[400], out[4096];
    size_t end = 0;
    if (!fh_str_find(in, '\n', &end)) end = in.len;
    fh_str line = fh_str_first(in, FH_MIN(end, 200u)), body = fh_str_drop(in, FH_MIN(end + 1, in.len));
    int n = snprintf(head, sizeof head,
                     "%.*s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     FH_STR_ARG(line), body.len);
    int fd = dial();
    say(fd, (fh_str){head, (size_t)n});
    say(fd, body);
    size_t got = hear(fd, out, sizeof out, true);
    FH_REQUIRE(got >= 12 && memcmp(out, "HTTP/1.", 7) == 0);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint32_t count;
    char out[512];
    if (size < 2 || size > 32768) return 0;
    fh_str in = {(const char *)data + 1, size - 1};
    if (data[0] & 1) composed(in);
    else raw(in);
    if (++count % 64) return 0;
    int fd = dial();
    say(fd, FH_STR(HEALTH));
    FH_REQUIRE(hear(fd, out, sizeof out, false) > 12 && memcmp(out + 9, "200", 3) == 0);
    close(fd);
    return 0;
}
