/* tests/unit/test_base.c - errors, text, memory, buffers, hashes, random numbers, log.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/log.h"
#include "base/rng.h"
#include "test.h"

TEST(err, table_is_whole) {
    for (int s = 0; s < FH_STATUS_COUNT; s++) {
        CHECK(fh_status_name((fh_status)s) && fh_status_text((fh_status)s));
        CHECK(fh_status_http((fh_status)s) >= 200 && fh_status_http((fh_status)s) < 600);
        CHECK(fh_status_exit((fh_status)s) >= 0 && fh_status_exit((fh_status)s) <= 2);
        CHECK((fh_status_exit((fh_status)s) == 0) == (s == FH_OK));
    }
}

TEST(err, text_names_file_and_byte) {
    fh_err err;
    char text[1200];
    CHECK_STATUS(fh_fail_at(&err, FH_ERR_FORMAT, 77, "no %s", "sense"), FH_ERR_FORMAT);
    fh_err_set_path(&err, "a.gguf");
    fh_err_set_path(&err, "b.gguf");
    fh_err_shift(&err, 3);
    CHECK_STR(fh_str_of(fh_err_text(&err, text, sizeof text)), "a.gguf: no sense (at byte 80)");
    CHECK_STATUS(fh_fail(NULL, FH_ERR_IO, "nobody listens"), FH_ERR_IO);
    errno = ENOSPC;
    CHECK_STATUS(fh_fail_errno(&err, "write", "x"), FH_ERR_SPACE);
}

TEST(err, hostile_text_is_made_harmless) {
    fh_err err;
    fh_fail(&err, FH_ERR_FORMAT, "key '%s'", "a\x1b[2J\n\xff\xc3\xa9\xc2\x9b");
    CHECK_STR(fh_str_of(err.message), "key 'a?[2J?\?\xc3\xa9?\?'");
}

TEST(str, numbers_and_utf8) {
    uint64_t v = 7;
    CHECK(fh_str_u64(FH_STR("18446744073709551615"), &v) && v == UINT64_MAX);
    CHECK(!fh_str_u64(FH_STR("18446744073709551616"), &v) && v == UINT64_MAX);
    CHECK(!fh_str_u64(FH_STR(""), &v) && !fh_str_u64(FH_STR("-1"), &v) && !fh_str_u64(FH_STR("1 "), &v));
    CHECK(fh_utf8_valid(FH_STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
    CHECK(!fh_utf8_valid(FH_STR("\xc0\x80")) && !fh_utf8_valid(FH_STR("\xed\xa0\x80")));
    CHECK(!fh_utf8_valid(FH_STR("\xf4\x90\x80\x80")) && !fh_utf8_valid(FH_STR("\xe2\x82")));
    CHECK(!fh_utf8_valid(FH_STR("\xe0\x9f\xbf")) && !fh_utf8_valid(FH_STR("\xf0\x8f\xbf\xbf")));
    char out[4];
    CHECK(fh_str_copy(out, sizeof out, FH_STR("abc")) && !fh_str_copy(out, sizeof out, FH_STR("abcd")));
    CHECK(!fh_str_copy(out, sizeof out, FH_STR("a\0b")));
    CHECK(fh_str_holds(FH_STR("blk.0.ffn"), ".0.") && fh_str_holds(FH_STR("ab"), "ab") &&
          fh_str_holds(FH_STR("ab"), ""));
    CHECK(!fh_str_holds(FH_STR("ab"), "abc") && !fh_str_holds((fh_str){NULL, 0}, "a") &&
          !fh_str_holds(FH_STR("ab"), "B"));
    for (int c = 0; c < 256; c++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *at = c ? strchr(digits, c) : NULL;
        CHECK(fh_hex_value((char)c) == (at ? (int)(at - digits) % 16 : -1));
    }
}

TEST(mem, arena_keeps_its_ceiling) {
    fh_arena a;
    fh_err err;
    fh_arena_init(&a, 10000);
    CHECK(fh_arena_alloc(&a, 100, 40) && !fh_arena_alloc(&a, 100, 80));
    CHECK(!fh_arena_alloc(&a, 1, 1)); /* sticky */
    CHECK_STATUS(fh_arena_fail(&a, &err), FH_ERR_LIMIT);
    fh_arena_release(&a);
    CHECK(fh_arena_alloc(&a, 10, 1));
    fh_arena_release(&a);
    fh_arena_init(&a, SIZE_MAX);
    CHECK(!fh_arena_alloc(&a, SIZE_MAX / 2, 3));
    fh_arena_release(&a);
    CHECK(!fh_alloc(SIZE_MAX / 2, 3));
}

TEST(mem, every_allocation_can_fail) {
    if (!fh_mem_get_stats().calls && !fh_fault_parse(FH_STR("alloc:1"))) fh_test_fail(__FILE__, __LINE__, "no faults");
    fh_fault_arm(FH_FAULT_ALLOC, 2, false);
    void *a = fh_alloc(1, 1), *b = fh_alloc(1, 1), *c = fh_alloc(1, 1);
    bool ok = a && !b && c;
    fh_free(a), fh_free(b), fh_free(c);
    CHECK(ok);
    fh_fault_arm(FH_FAULT_ALLOC, 1, true);
    CHECK(!fh_alloc(1, 1) && !fh_alloc_zero(1, 1) && !fh_strdup(FH_STR("x")));
    CHECK_U64(fh_fault_calls(FH_FAULT_ALLOC), 3);
    fh_fault_disarm();
    CHECK(fh_fault_parse(FH_STR("read:3+")) && !fh_fault_parse(FH_STR("read:x")) && !fh_fault_parse(FH_STR("tea:1")));
}

TEST(buf, limit_is_sticky_and_taken_text_ends_in_nul) {
    fh_buf b;
    fh_err err;
    fh_buf_init(&b, 8);
    fh_buf_add_z(&b, "12345");
    fh_buf_printf(&b, "%d", 678);
    CHECK_STR(fh_buf_str(&b), "12345678");
    fh_buf_add_byte(&b, '9');
    fh_buf_clear(&b);
    fh_buf_add_z(&b, "123456789");
    fh_buf_add_z(&b, "1");
    CHECK_STATUS(fh_buf_check(&b, &err), FH_ERR_LIMIT);
    fh_buf_clear(&b);
    fh_buf_add_z(&b, "ok");
    size_t n;
    char *z = fh_buf_take(&b, &n);
    bool right = z && n == 2 && strcmp(z, "ok") == 0 && !b.ptr;
    fh_free(z);
    fh_buf_release(&b);
    CHECK(right);
}

TEST(cursor, never_reads_past_the_end) {
    static const uint8_t raw[] = {1, 2, 0, 3, 0, 0, 0, 9};
    fh_cursor c = fh_cursor_of((fh_bytes){raw, sizeof raw});
    CHECK_U64(fh_cursor_u8(&c), 1);
    CHECK_U64(fh_cursor_u16(&c), 2);
    CHECK_U64(fh_cursor_u32(&c), 3);
    CHECK_U64(fh_cursor_left(&c), 1);
    CHECK_U64(fh_cursor_u16(&c), 0);
    CHECK(c.failed && c.pos == 7 && fh_cursor_left(&c) == 0);
    CHECK_U64(fh_cursor_u8(&c), 0); /* for good */
    c = fh_cursor_of((fh_bytes){raw, sizeof raw});
    CHECK(!fh_cursor_take(&c, UINT64_MAX).ptr && c.failed);
}

/* FIPS 180-2, appendix B */
TEST(hash, published_vectors) {
    char hex[FH_SHA256_HEX];
    fh_err err;
    CHECK_OK(fh_sha256_of(fh_bytes_of(FH_STR("abc")), hex, &err), err);
    CHECK_STR(fh_str_of(hex), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    fh_sha256 *h;
    CHECK_OK(fh_sha256_new(&h, &err), err);
    fh_status st = FH_OK;
    char again[FH_SHA256_HEX], block[1000];
    memset(block, 'a', sizeof block);
    for (int i = 0; i < 1000 && st == FH_OK; i++) st = fh_sha256_add(h, block, sizeof block, &err);
    if (st == FH_OK) st = fh_sha256_finish(h, hex, &err);
    if (st == FH_OK) st = fh_sha256_finish(h, again, &err); /* ready for the next: the empty message */
    fh_sha256_free(h);
    CHECK_OK(st, err);
    CHECK_STR(fh_str_of(hex), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    CHECK_STR(fh_str_of(again), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* Known answers of the paper's Random123 distribution (kat_vectors, philox4x32 10). */
TEST(rng, published_vectors) {
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < FH_COUNT(kat); i++) {
        uint32_t out[4];
        fh_philox(kat[i].counter, kat[i].key, out);
        CHECK(memcmp(out, kat[i].out, sizeof out) == 0);
    }
}

TEST(rng, streams_and_ranges) {
    fh_rng a, b;
    fh_rng_init(&a, 7, 0);
    fh_rng_init(&b, 7, 1);
    int same = 0, low = 0;
    for (int i = 0; i < 10000; i++) {
        same += fh_rng_u32(&a) == fh_rng_u32(&b);
        double f = fh_rng_f64(&a);
        CHECK(f >= 0 && f < 1);
        uint64_t k = fh_rng_below(&b, 10);
        CHECK(k < 10);
        low += k == 0;
    }
    CHECK(same < 3 && low > 850 && low < 1150);
    fh_rng copy = a; /* a value: the copy goes the same way */
    CHECK_U64(fh_rng_u64(&copy), fh_rng_u64(&a));
}

TEST(log, lines_are_whole_and_escaped) {
    int fd[2];
    char got[4096];
    CHECK(pipe(fd) == 0);
    fh_log_config(FH_LOG_INFO, true, fd[1]);
    fh_log(FH_LOG_DEBUG, "unseen", FH_LOG_U("n", 1));
    fh_log(FH_LOG_INFO, "a.b", FH_LOG_S("path", FH_STR("x\"\n\x1b")), FH_LOG_U("n", 3), FH_LOG_B("ok", true),
           FH_LOG_F("f", 0.5), FH_LOG_I("i", -4));
    fh_log_config(FH_LOG_INFO, false, fd[1]);
    fh_log(FH_LOG_WARN, "c", FH_LOG_U("n", 3));
    fh_log_config(FH_LOG_WARN, false, 2);
    ssize_t n = read(fd[0], got, sizeof got - 1);
    close(fd[0]), close(fd[1]);
    CHECK(n > 0);
    got[n] = '\0';
    CHECK(strstr(got, "\"event\":\"a.b\",\"path\":\"x\\\"\\u000a\\u001b\",\"n\":3,\"ok\":true,\"f\":0.5,\"i\":-4}\n"));
    CHECK(strstr(got, "\nwarn c n=3\n") && !strstr(got, "unseen"));
}
