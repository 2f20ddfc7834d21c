/* tests/unit/test_api_json_in.c - members of a request: kinds, ranges, the first failure, null.
 * SPDX-License-Identifier: Apache-2.0 */
#include "serve/json_in.h"
#include "serve/json_put.h"
#include "test.h"

static fh_json *doc;

static void start(fh_in *in, const char *text) {
    fh_err err = {0};
    fh_json_free(doc);
    doc = NULL;
    CHECK_OK(fh_json_parse(&doc, fh_str_of(text), NULL, &err), err);
    fh_in_init(in, fh_json_root(doc));
}

static void finish(void) {
    fh_json_free(doc);
    doc = NULL;
}

TEST(api_json_in, reads_what_is_there_and_leaves_the_rest) {
    fh_in in;
    fh_str s = FH_STR("before");
    bool b = false;
    uint64_t u = 7;
    int64_t i = 7;
    double f = 7;
    start(&in, "{\"s\":\"x\",\"b\":true,\"u\":3,\"i\":-3,\"f\":0.5,\"none\":null,\"list\":[1],\"obj\":{}}");
    CHECK(fh_in_str(&in, "s", &s));
    CHECK_STR(s, "x");
    CHECK(fh_in_bool(&in, "b", &b) && b);
    CHECK(fh_in_u64(&in, "u", 0, 3, &u));
    CHECK_U64(u, 3);
    CHECK(fh_in_i64(&in, "i", -3, 3, &i) && i == -3);
    CHECK(fh_in_f64(&in, "f", 0, 1, &f) && f > 0.4 && f < 0.6);
    CHECK(fh_in_array(&in, "list") && fh_in_object(&in, "obj"));
    CHECK(!fh_in_str(&in, "none", &s) && !fh_in_u64(&in, "absent", 0, 1, &u));
    CHECK_STR(s, "x");
    CHECK(!in.failed);
    finish();
}

TEST(api_json_in, the_first_failure_is_kept_and_stops_reading) {
    fh_in in;
    uint64_t u = 7;
    bool b = false;
    start(&in, "{\"n\":12,\"b\":true,\"t\":\"x\"}");
    CHECK(!fh_in_u64(&in, "n", 1, 8, &u));
    CHECK_U64(u, 7);
    CHECK(in.failed);
    CHECK_U64(in.status, 400);
    CHECK_STR(fh_str_of(in.param), "n");
    CHECK(strstr(in.message, "from 1 to 8") != NULL);
    CHECK(!fh_in_bool(&in, "b", &b) && !b); /* nothing more is read */
    CHECK(!fh_in_u64(&in, "t", 0, 9, &u));
    CHECK_STR(fh_str_of(in.param), "n");
    finish();
}

TEST(api_json_in, wrong_kinds_are_refused_by_name) {
    static const char *const texts[] = {"{\"x\":1}", "{\"x\":\"1\"}", "{\"x\":true}", "{\"x\":[]}", "{\"x\":{}}"};
    for (size_t i = 0; i < 5; i++) {
        fh_in in;
        fh_str s;
        bool b;
        uint64_t u;
        bool ok[5];
        start(&in, texts[i]);
        ok[0] = fh_in_u64(&in, "x", 0, 9, &u);
        start(&in, texts[i]);
        ok[1] = fh_in_str(&in, "x", &s);
        start(&in, texts[i]);
        ok[2] = fh_in_bool(&in, "x", &b);
        start(&in, texts[i]);
        ok[3] = fh_in_array(&in, "x") != NULL;
        start(&in, texts[i]);
        ok[4] = fh_in_object(&in, "x") != NULL;
        for (size_t k = 0; k < 5; k++) CHECK(ok[k] == (k == i));
    }
    finish();
}

TEST(api_json_put, arguments_that_are_no_object_become_an_empty_one) {
    static const char *const cases[][2] = {
        {"{\"a\":1.0}", "{\"a\":1.0}"}, {"[1]", "{}"}, {"", "{}"}, {"{\"a\":", "{}"}, {"\"x\"", "{}"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fh_buf b;
        fh_json_writer w;
        fh_buf_init(&b, 1000);
        fh_json_writer_init(&w, &b, false);
        fh_put_args(&w, fh_str_of(cases[i][0]));
        bool same = fh_str_is(fh_buf_str(&b), cases[i][1]);
        fh_buf_release(&b);
        CHECK(same);
    }
}

TEST(api_json_put, times_are_iso) {
    fh_buf b;
    fh_json_writer w;
    fh_buf_init(&b, 1000);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    fh_put_time(&w, "t", 1709967902123u);
    fh_json_put_end(&w);
    bool same = fh_str_is(fh_buf_str(&b), "{\"t\":\"2024-03-09T07:05:02.123Z\"}");
    fh_buf_release(&b);
    CHECK(same);
}
