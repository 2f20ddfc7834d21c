/* tests/unit/test_chart_svg.c - charts: hostile names, odd numbers, the ceiling.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/chart_svg.h"
#include "base/fault.h"
#include "base/num.h"
#include "test.h"

#include <math.h>

static size_t count(fh_str text, const char *what) {
    size_t n = 0, len = strlen(what);
    for (size_t i = 0; i + len <= text.len; i++) n += memcmp(text.ptr + i, what, len) == 0;
    return n;
}

/* Every "<" opens one of our own elements, every "&" one of our own entities, no control character is left. */
static void check_harmless(fh_str s) {
    size_t tags = count(s, "<svg") + count(s, "</svg") + count(s, "<title") + count(s, "</title") + count(s, "<style") +
                  count(s, "</style") + count(s, "<rect") + count(s, "<path") + count(s, "</path") + count(s, "<text") +
                  count(s, "</text") + count(s, "<circle");
    CHECK_U64(count(s, "<"), tags);
    CHECK_U64(count(s, "&"),
              count(s, "&lt;") + count(s, "&gt;") + count(s, "&amp;") + count(s, "&quot;") + count(s, "&#39;"));
    CHECK(fh_utf8_valid(s));
    for (size_t i = 0; i < s.len; i++) CHECK((unsigned char)s.ptr[i] >= 0x20 || s.ptr[i] == '\n');
    CHECK_U64(count(s, "nan"), 0);
    CHECK_U64(count(s, "inf"), 0);
}

TEST(chart_svg, text_is_escaped_and_numbers_are_finite) {
    static const char *const name[] = {"</text><script>alert(1)</script>",
                                       "a&b\"c'",
                                       "\x01\x7f\xff\xc2\x85\xef\xbf\xbf",
                                       "\xc3",
                                       "",
                                       "\xe6\xbc\xa2\xe5\xad\x97 long long long long long long long name"};
    static const double x[] = {0, 1, NAN, 3, INFINITY, 1e308}, y[] = {-5, INFINITY, 2, NAN, 1e308, 1e-320};
    fh_chart_series s[FH_COUNT(name)];
    fh_chart_mark m[FH_COUNT(name)];
    for (size_t i = 0; i < FH_COUNT(name); i++) {
        s[i] = (fh_chart_series){fh_str_of(name[i]), x, y, i, fh_str_of(name[i])};
        m[i] = (fh_chart_mark){x[i], y[i], fh_str_of(name[i])};
    }
    for (size_t n = 0; n <= FH_COUNT(name); n++) {
        fh_str t = fh_str_of(name[n % FH_COUNT(name)]);
        fh_chart c[2] = {{FH_CHART_LINES, t, t, t, t, t, t, s, n, m, n},
                         {FH_CHART_BARS, t, t, t, t, t, t, s, n, NULL, 0}};
        fh_buf b;
        fh_buf_init(&b, 1 << 20);
        fh_chart_svg(&b, c, 2);
        CHECK(b.status == FH_OK);
        check_harmless(fh_buf_str(&b));
        CHECK(fh_str_ends(fh_buf_str(&b), "</svg>\n"));
        fh_buf_release(&b);
    }
}

TEST(chart_svg, draws_what_it_was_given) {
    static const double x[] = {0, 10}, y[] = {0, 100};
    fh_chart_series s = {FH_STR("one"), x, y, 2, {NULL, 0}};
    fh_chart c = {
        FH_CHART_LINES, FH_STR("t"), {NULL, 0}, FH_STR("x"), FH_STR("y"), FH_STR("$"), {NULL, 0}, &s, 1, NULL, 0};
    fh_buf b;
    fh_buf_init(&b, 1 << 16);
    fh_chart_svg(&b, &c, 1);
    /* the plot goes from (84, 416) to (750, 96) */
    CHECK_U64(count(fh_buf_str(&b), "d=\"M84.0 416.0L750.0 96.0\""), 1);
    CHECK_U64(count(fh_buf_str(&b), ">$100</text>"), 1);
    fh_buf_release(&b);
    fh_buf_init(&b, 700); /* full: sticky, no more than that */
    fh_chart_svg(&b, &c, 1);
    CHECK(fh_buf_check(&b, NULL) == FH_ERR_LIMIT && b.len <= 700);
    fh_buf_release(&b);
    fh_fault_arm(FH_FAULT_ALLOC, 1, true);
    fh_buf_init(&b, 1 << 16);
    fh_chart_svg(&b, &c, 1);
    fh_fault_disarm();
    CHECK(fh_buf_check(&b, NULL) == FH_ERR_MEMORY);
    fh_buf_release(&b);
}
