/* tests/unit/test_stop.c - stop strings: the same end wherever the pieces were cut, whole characters, nothing lost.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/num.h"
#include "base/rng.h"
#include "infer/stop.h"
#include "test.h"

static fh_err err;

/* The definition: the first byte at which some stop string is complete, the longest of them. */
static size_t plain_find(fh_str text, const fh_str *stop, size_t n, size_t *at) {
    for (size_t end = 1; end <= text.len; end++) {
        size_t found = FH_STOP_NONE;
        for (size_t i = 0; i < n; i++)
            if (stop[i].len <= end && memcmp(text.ptr + end - stop[i].len, stop[i].ptr, stop[i].len) == 0 &&
                (found == FH_STOP_NONE || stop[i].len > stop[found].len))
                found = i;
        if (found == FH_STOP_NONE) continue;
        *at = end - stop[found].len;
        return found;
    }
    *at = text.len;
    return FH_STOP_NONE;
}

/* May the text from `at` on still become a stop string? */
static bool may_begin(fh_str rest, const fh_str *stop, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (rest.len < stop[i].len && memcmp(rest.ptr, stop[i].ptr, rest.len) == 0) return true;
    return false;
}

static void check_stream(fh_str text, const fh_str *stop, size_t n, fh_rng *g) {
    fh_stop *s = NULL;
    fh_buf out;
    size_t at, want = plain_find(text, stop, n, &at);
    fh_buf_init(&out, 1 << 20);
    CHECK_OK(fh_stop_new(&s, stop, n, &err), err);
    for (int round = 0; round < 3; round++) {
        fh_str rest = text;
        fh_buf_clear(&out);
        fh_stop_clear(s);
        while (rest.len > 0) {
            fh_str piece = fh_str_first(rest, round == 0 ? 1 : fh_rng_below(g, 5));
            rest = fh_str_drop(rest, piece.len);
            CHECK_OK(fh_stop_feed(s, piece, &out, &err), err);
            if (fh_stop_found(s) != FH_STOP_NONE) continue;
            size_t seen = text.len - rest.len;
            CHECK_U64(out.len + fh_stop_held(s), seen);
            CHECK(fh_utf8_valid(fh_buf_str(&out)));
            /* what is held has a reason */
            fh_str held = {text.ptr + out.len, seen - out.len};
            CHECK(held.len == 0 || may_begin(held, stop, n) || !fh_utf8_valid(held) ||
                  may_begin(fh_str_drop(held, 1), stop, n) || may_begin(fh_str_drop(held, 2), stop, n) ||
                  may_begin(fh_str_drop(held, 3), stop, n));
        }
        CHECK_U64(fh_stop_found(s), want);
        CHECK_OK(fh_stop_finish(s, &out, &err), err);
        CHECK_U64(out.len, at);
        CHECK(memcmp(out.ptr ? (const char *)out.ptr : "", text.ptr, at) == 0);
    }
    fh_stop_free(s);
    fh_buf_release(&out);
}

TEST(stop, ends_where_the_definition_says_however_it_is_cut) {
    /* few letters, so that beginnings overlap; some of two, three and four bytes that share them */
    static const char *const letter[] = {
        "a", "b", "a", "b", "\n", "\xC3\xA9", "\xC3\xA8", "\xE2\x82\xAC", "\xE2\x82\xAD", "\xF0\x9F\x98\x80"};
    fh_rng g;
    fh_rng_init(&g, fh_test_seed(), 31);
    for (size_t round = 0; round < 4000 * fh_test_times(); round++) {
        char text[256], stops[4][64];
        fh_str stop[4];
        size_t len = 0, n = fh_rng_below(&g, 5), kinds = 2 + fh_rng_below(&g, FH_COUNT(letter) - 1);
        for (size_t i = 0; i < n; i++) {
            size_t k = 0;
            for (size_t left = 1 + fh_rng_below(&g, 5); left > 0; left--) {
                const char *c = letter[fh_rng_below(&g, kinds)];
                memcpy(stops[i] + k, c, strlen(c));
                k += strlen(c);
            }
            stop[i] = (fh_str){stops[i], k};
        }
        for (size_t left = fh_rng_below(&g, 40); left > 0; left--) {
            const char *c = letter[fh_rng_below(&g, kinds)];
            memcpy(text + len, c, strlen(c));
            len += strlen(c);
        }
        check_stream((fh_str){text, len}, stop, n, &g);
    }
}

static void check_feeds(const char *const *pieces, size_t n_piece, const char *const *want, fh_str stop) {
    fh_stop *s = NULL;
    fh_buf out;
    fh_buf_init(&out, 1000);
    CHECK_OK(fh_stop_new(&s, &stop, 1, &err), err);
    for (size_t i = 0; i < n_piece; i++) {
        fh_buf_clear(&out);
        CHECK_OK(fh_stop_feed(s, fh_str_of(pieces[i]), &out, &err), err);
        CHECK_STR(fh_buf_str(&out), want[i]);
    }
    fh_buf_release(&out);
    fh_stop_free(s);
}

TEST(stop, text_leaves_as_soon_as_it_can) {
    const char *const in[] = {"Hello", " <", "/", "p> </", "s", ">more", "never"};
    const char *const out[] = {"Hello", " ", "", "</p> ", "", "", ""};
    check_feeds(in, FH_COUNT(in), out, FH_STR("</s>"));
    const char *const euro[] = {"\xE2", "\x82", "\xAC", "\xE2\x82", "x", "\xFF", "ok"};
    const char *const whole[] = {"", "", "\xE2\x82\xAC", "", "\xE2\x82x", "\xFF", "ok"}; /* broken text passes */
    check_feeds(euro, FH_COUNT(euro), whole, FH_STR("STOP"));
}

TEST(stop, nothing_is_lost_at_the_end) {
    const fh_str stop = FH_STR("\n\nUser:");
    fh_stop *s = NULL;
    fh_buf out;
    fh_buf_init(&out, 1000);
    CHECK_OK(fh_stop_new(&s, &stop, 1, &err), err);
    CHECK_OK(fh_stop_feed(s, FH_STR("end\n\nUse"), &out, &err), err);
    CHECK_STR(fh_buf_str(&out), "end");
    CHECK_U64(fh_stop_held(s), 5);
    CHECK_OK(fh_stop_finish(s, &out, &err), err);
    CHECK_STR(fh_buf_str(&out), "end\n\nUse");
    CHECK_U64(fh_stop_held(s), 0);
    fh_stop_free(s);
    fh_buf_release(&out);
}

TEST(stop, wrong_stop_strings_are_refused) {
    fh_stop *s = NULL;
    static char big[FH_STOP_BYTES_MOST + 1];
    fh_str many[FH_STOP_MOST + 1];
    memset(big, 'x', sizeof big);
    CHECK_STATUS(fh_stop_new(&s, &FH_STR(""), 1, &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_stop_new(&s, &FH_STR("\xC3"), 1, &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_stop_new(&s, &(fh_str){big, sizeof big}, 1, &err), FH_ERR_LIMIT);
    for (size_t i = 0; i < FH_COUNT(many); i++) many[i] = FH_STR("x");
    CHECK_STATUS(fh_stop_new(&s, many, FH_COUNT(many), &err), FH_ERR_LIMIT);
    CHECK(!s);
    CHECK_OK(fh_stop_new(&s, many, FH_STOP_MOST, &err), err);
    fh_stop_free(s);
}

TEST(stop, memory_that_ends_is_a_status) {
    const fh_str stop[] = {FH_STR("abc"), FH_STR("b")};
    for (uint64_t nth = 1;; nth++) {
        fh_stop *s = NULL;
        fh_buf out;
        fh_buf_init(&out, 1000);
        fh_fault_arm(FH_FAULT_ALLOC, nth, false);
        fh_status st = fh_stop_new(&s, stop, 2, &err);
        if (st == FH_OK) st = fh_stop_feed(s, FH_STR("xxxaab"), &out, &err);
        fh_fault_disarm();
        fh_stop_free(s);
        fh_buf_release(&out);
        if (st == FH_OK) break;
        CHECK_STATUS(st, FH_ERR_MEMORY);
        CHECK(nth < 100);
    }
}
