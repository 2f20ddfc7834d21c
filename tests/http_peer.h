/* tests/http_peer.h - a client of raw bytes for tests of the server.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TESTS_HTTP_PEER_H
#define FH_TESTS_HTTP_PEER_H

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

static inline int peer_open(uint16_t port) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof in) == 0);
    return fd;
}

static inline void peer_send(int fd, fh_str s) {
    while (s.len) {
        ssize_t n = send(fd, s.ptr, s.len, MSG_NOSIGNAL);
        if (n <= 0) return; /* it was closed on us: the answer says why */
        s = fh_str_drop(s, (size_t)n);
    }
}

/* Up to size - 1 bytes within ms, or until it is closed; stops when `until` was seen (may be NULL). -1: nothing but the
 * end. */
static inline int peer_read(int fd, char *out, size_t size, const char *until, int ms) {
    size_t n = 0;
    bool ended = false;
    out[0] = '\0';
    while (n + 1 < size && !(until && strstr(out, until))) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, ms) <= 0) break;
        ssize_t got = recv(fd, out + n, size - 1 - n, 0);
        ended = got <= 0;
        if (ended) break;
        n += (size_t)got;
        out[n] = '\0';
    }
    return n == 0 && ended ? -1 : (int)n;
}

/* One request on a connection of its own; the answer until it is closed or `until`. */
static inline int peer_ask(uint16_t port, const char *text, char *out, size_t size, const char *until) {
    int fd = peer_open(port);
    peer_send(fd, fh_str_of(text));
    int n = peer_read(fd, out, size, until, 5000);
    close(fd);
    return n;
}

#endif
