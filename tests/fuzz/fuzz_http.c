/* tests/fuzz/fuzz_http.c - requests as strangers send them: head, then a chunked body, cut anywhere.
 * SPDX-License-Identifier: Apache-2.0
 * The first byte says how the rest is cut. Whole or in pieces the outcome must be the same, and what is accepted must
 * keep the promises of http_parse.h. */
#include "base/num.h"
#include "serve/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static fh_http_refusal scan(fh_str in, size_t step, bool *whole, size_t *len) {
    size_t at = 0;
    fh_http_refusal r = {0, NULL};
    *whole = false;
    for (size_t n = FH_MIN(step, in.len); r.status == 0 && !*whole; n = FH_MIN(n + step, in.len)) {
        r = fh_http_scan_head(fh_str_first(in, n), &at, whole, len);
        if (n == in.len) break;
    }
    return r;
}

static void check_head(const fh_http_head *h) {
    FH_REQUIRE(h->method.len > 0 && h->path.len > 0 && (h->path.ptr[0] == '/' || fh_str_is(h->path, "*")));
    FH_REQUIRE(!(h->chunked && h->has_length) && fh_utf8_valid(h->path));
    FH_REQUIRE(h->minor == 0 || h->host.ptr);
    for (size_t i = 0; i < h->path.len; i++) FH_REQUIRE((unsigned char)h->path.ptr[i] >= 0x20);
    for (uint32_t i = 0; i < h->n_header; i++)
        for (size_t k = 0; k < h->header[i].value.len; k++)
            FH_REQUIRE(h->header[i].value.ptr[k] != '\r' && h->header[i].value.ptr[k] != '\n');
}

static int take(fh_str in, size_t step, fh_buf *out, bool *done) {
    fh_http_chunks c = {0};
    fh_http_refusal r = {0, NULL};
    for (size_t at = 0, used; at < in.len && !c.done && r.status == 0; at += used) {
        r = fh_http_take_chunks(&c, fh_str_first(fh_str_drop(in, at), step), 4096, out, &used);
        FH_REQUIRE(r.status || used > 0 || c.done);
    }
    *done = c.done;
    return r.status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char bytes[FH_HTTP_HEAD_MOST + 4096];
    static fh_http_head head;
    bool whole, whole2, done, done2;
    size_t len = 0, len2 = 0, step;
    fh_buf a, b;
    if (size < 2 || size > sizeof bytes) return 0;
    step = (size_t)data[0] + 1;
    fh_str in = {(const char *)data + 1, size - 1};
    fh_http_refusal one = scan(in, in.len, &whole, &len), two = scan(in, step, &whole2, &len2);
    FH_REQUIRE(one.status == two.status && whole == whole2 && len == len2);
    if (one.status == 0 && whole) {
        memcpy(bytes, in.ptr, len);
        if (fh_http_parse_head(bytes, len, &head).status == 0) check_head(&head);
        in = fh_str_drop(in, len);
    }
    fh_buf_init(&a, 8192);
    fh_buf_init(&b, 8192);
    int s1 = take(in, in.len, &a, &done), s2 = take(in, step, &b, &done2);
    FH_REQUIRE(s1 == s2 && done == done2 && (s1 || fh_str_eq(fh_buf_str(&a), fh_buf_str(&b))));
    fh_buf_release(&a);
    fh_buf_release(&b);
    return 0;
}
