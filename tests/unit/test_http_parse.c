/* tests/unit/test_http_parse.c - requests that are read, and shapes that two readers could read differently.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "base/rng.h"
#include "serve/http_parse.h"
#include "test.h"

static fh_http_head head;
static char bytes[FH_HTTP_HEAD_MOST + 64];

/* The status that a head gets, or 0; -1: not whole. */
static int parse(fh_str text) {
    size_t at = 0, len = 0;
    bool whole = false;
    CHECK(text.len < sizeof bytes);
    memcpy(bytes, text.ptr, text.len);
    fh_http_refusal r = fh_http_scan_head((fh_str){bytes, text.len}, &at, &whole, &len);
    if (r.status) return r.status;
    if (!whole) return -1;
    CHECK_U64(len, text.len);
    r = fh_http_parse_head(bytes, len, &head);
    CHECK(!r.status == !r.why);
    return r.status;
}

#define H "Host: a\r\n"

TEST(http_parse, reads) {
    fh_str v;
    CHECK_U64(parse(FH_STR("POST /v1/models/a%2Fb?x=1%262&y=a+b&z HTTP/1.1\r\nHost: h:1\r\nContent-Length: 12\r\n"
                           "X-A:\t two words \r\nConnection: foo, Close\r\n\r\n")),
              0);
    CHECK_STR(head.method, "POST");
    CHECK_STR(head.path, "/v1/models/a/b");
    CHECK_STR(head.host, "h:1");
    CHECK(head.has_length && head.length == 12 && !head.chunked && head.close && head.minor == 1);
    CHECK_U64(head.n_query, 3);
    CHECK_STR(head.query[0].value, "1&2");
    CHECK_STR(head.query[1].value, "a b");
    CHECK_STR(head.query[2].name, "z");
    CHECK(fh_http_find(&head, "x-a", &v));
    CHECK_STR(v, "two words");
    CHECK(!fh_http_find(&head, "x", &v));
    CHECK_U64(parse(FH_STR("GET http://b:2/x HTTP/1.1\r\nHost: a\r\n\r\n")), 0);
    CHECK_STR(head.host, "b:2");
    CHECK_STR(head.path, "/x");
    CHECK_U64(parse(FH_STR("GET / HTTP/1.0\r\n\r\n")), 0);
    CHECK(head.close && head.minor == 0);
    CHECK_U64(parse(FH_STR("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")), 0);
    CHECK(!head.close);
    CHECK_U64(parse(FH_STR("OPTIONS * HTTP/1.1\r\n" H "\r\n")), 0);
}

TEST(http_parse, refuses) {
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        {"GET / HTTP/1.1\rHost: a\r\n\r\n", 400},
        {"\r\nGET / HTTP/1.1\r\n" H "\r\n", 400},
        {"GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H "\tX: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H ": a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H "X\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H "X Y: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H "X: a\x01\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" H H "\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: \r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", 501},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" H "Content-Encoding: gzip\r\n\r\n", 415},
        {"POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n", 417},
        {"GET /../etc HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /a/%2e%2e/b HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /a%2f..%2fb HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /%00 HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /%0a HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /%zz HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /% HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /%4 HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /%ff HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /#x HTTP/1.1\r\n" H "\r\n", 400},
        {"GET  / HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /  HTTP/1.1\r\n" H "\r\n", 400},
        {"GET / x HTTP/1.1\r\n" H "\r\n", 400},
        {"GET /\r\n" H "\r\n", 400},
        {"get / HTTP/1.1\r\n" H "\r\n", 400},
        {" GET / HTTP/1.1\r\n" H "\r\n", 400},
        {"GET / HTTP/2.0\r\n" H "\r\n", 505},
        {"GET / http/1.1\r\n" H "\r\n", 400},
        {"GET x HTTP/1.1\r\n" H "\r\n", 400},
        {"CONNECT a:1 HTTP/1.1\r\n" H "\r\n", 400},
        {"GET ftp://a/ HTTP/1.1\r\n" H "\r\n", 400},
        {"GET http://a HTTP/1.1\r\n" H "\r\n", 400},
        {"PRI * HTTP/2.0\r\n\r\n", 505},
    };
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        int got = parse(fh_str_of(rows[i].text));
        if (got != rows[i].status) fh_test_fail(__FILE__, __LINE__, "row %zu gives %d: %s", i, got, rows[i].text);
    }
    CHECK_U64(parse(FH_STR("GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n")), 400);
}

TEST(http_parse, caps) {
    static char text[FH_HTTP_HEAD_MOST + 16];
    size_t at = 0, len;
    bool whole;
    memset(text, 'a', sizeof text);
    CHECK_U64(fh_http_scan_head((fh_str){text, sizeof text}, &at, &whole, &len).status, 431);
    fh_buf b;
    for (int n = 99; n <= 100; n++) {
        fh_buf_init(&b, sizeof bytes);
        fh_buf_add_z(&b, "GET / HTTP/1.1\r\n" H);
        for (int i = 0; i < n; i++) fh_buf_printf(&b, "X-%d: y\r\n", i);
        fh_buf_add_z(&b, "\r\n");
        CHECK_U64(parse(fh_buf_str(&b)), n == 99 ? 0 : 431);
        fh_buf_release(&b);
    }
    fh_buf_init(&b, sizeof bytes);
    fh_buf_add_z(&b, "GET /?a");
    for (int i = 0; i < 32; i++) fh_buf_add_z(&b, "&a=1");
    fh_buf_add_z(&b, " HTTP/1.1\r\n" H "\r\n");
    CHECK_U64(parse(fh_buf_str(&b)), 400);
    fh_buf_release(&b);
}

/* However a head is cut into pieces, the scan says the same. */
TEST(http_parse, pieces) {
    static const char *const texts[] = {"GET / HTTP/1.1\r\n" H "\r\nrest", "GET / HTTP/1.1\r\nHost: a\n\r\n",
                                        "GET / HTTP/1.1\r\nX: \rHost: a\r\n\r\n"};
    for (size_t t = 0; t < FH_COUNT(texts); t++) {
        size_t n = strlen(texts[t]), at = 0, len = 0, at2 = 0, len2 = 0;
        bool whole, whole2 = false;
        fh_http_refusal one = fh_http_scan_head(fh_str_of(texts[t]), &at, &whole, &len), r = {0, NULL};
        for (size_t i = 1; i <= n && !whole2 && !r.status; i++)
            r = fh_http_scan_head((fh_str){texts[t], i}, &at2, &whole2, &len2);
        CHECK_U64(one.status, r.status);
        CHECK(whole == whole2 && len == len2);
    }
}

static int chunked(fh_str text, size_t step, size_t most, fh_buf *out, bool *done) {
    fh_http_chunks c = {0};
    fh_buf_clear(out);
    for (size_t at = 0; at < text.len && !c.done;) {
        size_t used = 0;
        fh_http_refusal r = fh_http_take_chunks(&c, fh_str_first(fh_str_drop(text, at), step), most, out, &used);
        if (r.status) return r.status;
        if (used == 0 && !c.done) fh_test_fail(__FILE__, __LINE__, "no progress");
        at += used;
    }
    *done = c.done;
    return 0;
}

TEST(http_parse, chunks) {
    static const struct {
        const char *text, *body;
        int status;
        bool done;
    } rows[] = {
        {"5\r\nhello\r\n0\r\n\r\n", "hello", 0, true},
        {"1\r\na\r\nA\r\n0123456789\r\n00\r\n\r\n", "a0123456789", 0, true},
        {"5\r\nhel", "hel", 0, false},
        {"5\nhello\n0\n\n", "", 400, false},
        {"5\r\nhello0\r\n\r\n", "", 400, false},
        {"5;x=1\r\nhello\r\n0\r\n\r\n", "", 400, false},
        {"+5\r\nhello\r\n0\r\n\r\n", "", 400, false},
        {"0x5\r\nhello\r\n0\r\n\r\n", "", 400, false},
        {" 5\r\nhello\r\n0\r\n\r\n", "", 400, false},
        {"\r\n", "", 400, false},
        {"0\r\nX: y\r\n\r\n", "", 400, false},
        {"ffffffffffffffff\r\n", "", 400, false},
        {"fffffffffffffff\r\n", "", 413, false},
        {"40\r\n", "", 413, false},
    };
    fh_buf out;
    fh_buf_init(&out, 64);
    for (size_t i = 0; i < FH_COUNT(rows); i++)
        for (size_t step = 1; step <= 64; step++) {
            bool done = false;
            int got = chunked(fh_str_of(rows[i].text), step, 63, &out, &done);
            if (got != rows[i].status || done != rows[i].done)
                fh_test_fail(__FILE__, __LINE__, "row %zu in steps of %zu gives %d", i, step, got);
            if (!got) CHECK_STR(fh_buf_str(&out), rows[i].body);
        }
    fh_buf_release(&out);
}

/* Random bytes never make it fail otherwise than by a refusal; what it takes has every promise of the header. */
TEST(http_parse, random) {
    static const char *const words[] = {"GET ",
                                        "/",
                                        " HTTP/1.1",
                                        "\r\n",
                                        "\r\n",
                                        "Host: a",
                                        "Content-Length: ",
                                        "1",
                                        "\n",
                                        "Transfer-Encoding: chunked",
                                        ":",
                                        " ",
                                        "%2e",
                                        "..",
                                        "?",
                                        "&",
                                        "=",
                                        "%",
                                        "\r",
                                        "\0"};
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 7);
    for (size_t i = 0; i < 20000 * fh_test_times(); i++) {
        size_t n = 0, at = 0, len = 0;
        bool whole = false;
        for (uint64_t k = fh_rng_below(&rng, 14); k > 0; k--) {
            const char *w = words[fh_rng_below(&rng, FH_COUNT(words))];
            size_t m = FH_MAX(strlen(w), 1u);
            memcpy(bytes + n, w, m);
            n += m;
        }
        memcpy(bytes + n, "\r\n\r\n", 4);
        fh_http_refusal r = fh_http_scan_head((fh_str){bytes, n + 4}, &at, &whole, &len);
        if (r.status || !whole || fh_http_parse_head(bytes, len, &head).status) continue;
        CHECK(!(head.has_length && head.chunked));
        CHECK(fh_utf8_valid(head.path) && !memchr(head.path.ptr, 0, head.path.len));
        CHECK(head.minor == 0 || head.host.ptr);
    }
}
