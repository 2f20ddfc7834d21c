/* tests/unit/test_json_write.c - the writer: layout, escapes, sticky failure.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "base/num.h"
#include "test.h"

#include <math.h>

static void sample(fh_json_writer *w) {
    fh_json_put_object(w);
    fh_json_put_key(w, "a");
    fh_json_put_u64(w, UINT64_MAX);
    fh_json_put_key(w, "b");
    fh_json_put_array(w);
    fh_json_put_i64(w, INT64_MIN);
    fh_json_put_f64(w, 0.5);
    fh_json_put_bool(w, true);
    fh_json_put_bool(w, false);
    fh_json_put_null(w);
    fh_json_put_object(w);
    fh_json_put_end(w);
    fh_json_put_array(w);
    fh_json_put_end(w);
    fh_json_put_end(w);
    fh_json_put_key_str(w, FH_STR("c\0d"));
    fh_json_put_object(w);
    fh_json_put_key(w, "");
    fh_json_put_z(w, "x");
    fh_json_put_end(w);
    fh_json_put_end(w);
}

TEST(json, writes_compact_and_pretty) {
    static const char compact[] = "{\"a\":18446744073709551615,\"b\":[-9223372036854775808,0.5,true,false,null,{},[]],"
                                  "\"c\\u0000d\":{\"\":\"x\"}}";
    static const char pretty[] = "{\n"
                                 "  \"a\": 18446744073709551615,\n"
                                 "  \"b\": [\n"
                                 "    -9223372036854775808,\n"
                                 "    0.5,\n"
                                 "    true,\n"
                                 "    false,\n"
                                 "    null,\n"
                                 "    {},\n"
                                 "    []\n"
                                 "  ],\n"
                                 "  \"c\\u0000d\": {\n"
                                 "    \"\": \"x\"\n"
                                 "  }\n"
                                 "}";
    fh_buf b;
    fh_json_writer w;
    for (int i = 0; i < 2; i++) {
        fh_buf_init(&b, 1 << 16);
        fh_json_writer_init(&w, &b, i == 1);
        sample(&w);
        bool same = fh_str_is(fh_buf_str(&b), i ? pretty : compact) && b.status == FH_OK;
        fh_buf_release(&b);
        CHECK(same);
        CHECK_U64(w.depth, 0);
    }
}

TEST(json, writes_minimal_escapes) {
    static const struct {
        const char *text;
        size_t len;
        const char *json;
    } rows[] = {
        {"", 0, "\"\""},
        {"plain / 'text'", 14, "\"plain / 'text'\""},
        {"\"\\", 2, "\"\\\"\\\\\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"\0\x01\x0B\x1F\x7F", 5, "\"\\u0000\\u0001\\u000b\\u001f\x7F\""},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
        {"\xE2\x80\xA8\xE2\x80\xA9", 6, "\"\xE2\x80\xA8\xE2\x80\xA9\""},
        /* no UTF-8: one U+FFFD for each longest piece that could have begun a character */
        {"a\xFF"
         "b",
         3,
         "\"a\xEF\xBF\xBD"
         "b\""},
        {"\x80\x80", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {"\xC0\x80", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {"\xF0\x9F\x98", 3, "\"\xEF\xBF\xBD\""},
        {"\xE2\x82(", 3, "\"\xEF\xBF\xBD(\""},
        {"\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {"\xF4\x90\x80\x80", 4, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {"\xE2\n", 2, "\"\xEF\xBF\xBD\\n\""},
    };
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        fh_buf b;
        fh_json_writer w;
        fh_buf_init(&b, 1 << 10);
        fh_json_writer_init(&w, &b, false);
        fh_json_put_str(&w, (fh_str){rows[i].text, rows[i].len});
        bool same = fh_str_is(fh_buf_str(&b), rows[i].json);
        fh_buf_release(&b);
        if (!same) fh_test_fail(__FILE__, __LINE__, "row %zu, expected %s", i, rows[i].json);
    }
}

/* Every string of up to two bytes and every lead byte with odd tails: always valid text. */
TEST(json, written_strings_are_always_valid) {
    fh_buf b;
    fh_json_writer w;
    fh_buf_init(&b, 1 << 10);
    for (unsigned v = 0; v < 0x10000; v++) {
        char raw[4] = {(char)(v >> 8), (char)(v & 0xFF), (char)(v % 3 ? 0x80 : 0x41), '\xBF'};
        fh_buf_clear(&b);
        fh_json_writer_init(&w, &b, false);
        fh_json_put_str(&w, (fh_str){raw, 1 + v % 4});
        fh_json_reader r;
        fh_json_event ev;
        fh_json_reader_init(&r, fh_buf_str(&b));
        fh_status s = fh_json_next(&r, &ev, NULL);
        bool same = s == FH_OK && ev.kind == FH_JSON_STRING && fh_utf8_valid(ev.text) &&
                    (!fh_utf8_valid((fh_str){raw, 1 + v % 4}) || fh_str_eq(ev.text, (fh_str){raw, 1 + v % 4}));
        fh_json_reader_release(&r);
        if (!same) fh_test_fail(__FILE__, __LINE__, "bytes %04x", v);
    }
    fh_buf_release(&b);
}

TEST(json, nonfinite_is_written_as_null) {
    fh_buf b;
    fh_json_writer w;
    fh_buf_init(&b, 64);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_array(&w);
    fh_json_put_f64(&w, (double)NAN);
    fh_json_put_f64(&w, (double)INFINITY);
    fh_json_put_f64(&w, -(double)INFINITY);
    fh_json_put_end(&w);
    bool same = fh_str_is(fh_buf_str(&b), "[null,null,null]");
    fh_buf_release(&b);
    CHECK(same);
}

TEST(json, writer_depth_is_limited) {
    for (int pretty = 0; pretty < 2; pretty++) {
        fh_buf b;
        fh_json_writer w;
        fh_err err = {0};
        fh_buf_init(&b, 1 << 20);
        fh_json_writer_init(&w, &b, pretty != 0);
        for (int i = 0; i < FH_JSON_MAX_DEPTH; i++) fh_json_put_array(&w);
        fh_status full = b.status;
        size_t len = b.len;
        fh_json_put_array(&w);
        fh_json_put_u64(&w, 1); /* nothing more happens, ends included */
        for (int i = 0; i < FH_JSON_MAX_DEPTH + 1; i++) fh_json_put_end(&w);
        fh_status s = fh_buf_check(&b, &err);
        bool stays = b.len - len < 2 + 2 * FH_JSON_MAX_DEPTH;
        fh_buf_release(&b);
        CHECK_STATUS(full, FH_OK);
        CHECK_STATUS(s, FH_ERR_LIMIT);
        CHECK(stays);
    }
}

/* A full buffer is reported at the end, wherever it filled up. */
TEST(json, writer_failure_is_sticky) {
    fh_buf b;
    fh_json_writer w;
    size_t need = 0;
    fh_status s = FH_ERR_LIMIT;
    for (size_t limit = 0; limit < 300 && s != FH_OK; limit++) {
        fh_buf_init(&b, limit);
        fh_json_writer_init(&w, &b, true);
        sample(&w);
        s = fh_buf_check(&b, NULL);
        need = b.len;
        size_t cap = limit;
        fh_buf_release(&b);
        CHECK(s == FH_OK || s == FH_ERR_LIMIT);
        CHECK(need <= cap);
        if (s == FH_OK) CHECK_U64(need, cap);
    }
    CHECK_STATUS(s, FH_OK);
}
