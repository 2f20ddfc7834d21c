/* tests/unit/test_json_tree.c - the tree: shape, lookups, duplicate keys, ceilings, lack of memory.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/num.h"
#include <math.h>

#include "json_tree.h"
#include "test.h"

static fh_json *parse(const char *text) {
    fh_json *doc = NULL;
    fh_err err = {0};
    CHECK_OK(fh_json_parse(&doc, fh_str_of(text), NULL, &err), err);
    return doc;
}

TEST(json, tree_lookups) {
    fh_json *doc = parse("{\"name\":\"tiny\",\"n\":2048.0,\"neg\":-3,\"x\":1e-5,\"on\":true,"
                         "\"off\":false,\"none\":null,\"list\":[1,[2,3],{\"k\":4}],"
                         "\"sub\":{\"a\":{\"b\":\"deep\"}},\"\":0}");
    const fh_json_node *top = fh_json_root(doc);
    uint64_t u = 0;
    int64_t i = 0;
    double d = 0;
    bool on = false, off = true;
    fh_str s = {NULL, 0};
    CHECK(fh_json_is(top, FH_JSON_OBJECT));
    CHECK_U64(top->n_child, 10);
    CHECK(fh_json_to_str(fh_json_get(top, "name"), &s));
    CHECK_STR(s, "tiny");
    CHECK(fh_json_to_u64(fh_json_get(top, "n"), &u) && u == 2048);
    CHECK(fh_json_to_i64(fh_json_get(top, "neg"), &i) && i == -3);
    CHECK(fh_json_to_f64(fh_json_get(top, "x"), &d) && d == 1e-5);
    CHECK(fh_json_to_bool(fh_json_get(top, "on"), &on) && on);
    CHECK(fh_json_to_bool(fh_json_get(top, "off"), &off) && !off);
    CHECK(fh_json_is(fh_json_get(top, "none"), FH_JSON_NULL));
    CHECK(fh_json_get(top, "") != NULL);
    CHECK(fh_json_to_str(fh_json_get(fh_json_get(fh_json_get(top, "sub"), "a"), "b"), &s));
    CHECK_STR(s, "deep");
    /* Wrong kind, absent, or asked of nothing: false, and the output stays. */
    u = 7;
    CHECK(!fh_json_to_u64(fh_json_get(top, "neg"), &u) && u == 7);
    CHECK(!fh_json_to_u64(fh_json_get(top, "name"), &u) && u == 7);
    CHECK(!fh_json_to_u64(fh_json_get(top, "absent"), &u) && u == 7);
    CHECK(!fh_json_to_u64(NULL, &u) && !fh_json_to_bool(fh_json_get(top, "none"), &on));
    CHECK(fh_json_get(fh_json_get(fh_json_get(top, "no"), "way"), "out") == NULL);
    CHECK(fh_json_get(fh_json_get(top, "list"), "k") == NULL);
    CHECK(fh_json_first(NULL) == NULL && fh_json_first(fh_json_get(top, "n")) == NULL);

    const fh_json_node *list = fh_json_get(top, "list");
    uint64_t n = 0;
    for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c), n++) {
        CHECK(c->key.ptr == NULL);
        CHECK(c->kind == (n == 0 ? FH_JSON_NUMBER : n == 1 ? FH_JSON_ARRAY : FH_JSON_OBJECT));
    }
    CHECK_U64(n, 3);
    CHECK_U64(list->n_child, 3);
    CHECK_U64(list->span, 1 + 1 + 3 + 2);
    CHECK_U64(top->offset, 0);
    CHECK_U64(fh_json_get(top, "name")->offset, 8);
    fh_json_free(doc);
    fh_json_free(NULL);
}

/* U+0000 in keys and strings is text like any other. */
TEST(json, tree_keeps_nul) {
    fh_json *doc = parse("{\"\\u0000\":1,\"\\u0000a\":\"x\\u0000y\",\"\":2}");
    const fh_json_node *top = fh_json_root(doc);
    uint64_t u;
    fh_str s;
    CHECK(fh_json_to_u64(fh_json_get_str(top, FH_STR("\0")), &u) && u == 1);
    CHECK(fh_json_to_u64(fh_json_get(top, ""), &u) && u == 2);
    CHECK(fh_json_to_str(fh_json_get_str(top, FH_STR("\0a")), &s));
    CHECK(fh_str_eq(s, FH_STR("x\0y")));
    fh_json_free(doc);
}

/* The tree owns its text: the source can go. */
TEST(json, tree_outlives_its_text) {
    char text[] = "{\"key\":\"value\",\"n\":12}";
    fh_json *doc = parse(text);
    fh_str s;
    uint64_t u;
    memset(text, 'x', sizeof text);
    CHECK(fh_json_to_str(fh_json_get(fh_json_root(doc), "key"), &s));
    CHECK_STR(s, "value");
    CHECK(fh_json_to_u64(fh_json_get(fh_json_root(doc), "n"), &u) && u == 12);
    fh_json_free(doc);
}

TEST(json, duplicate_keys_are_refused) {
    static const struct {
        const char *text;
        uint64_t offset;
    } rows[] = {
        {"{\"a\":1,\"a\":2}", 7},
        {"{\"a\":1,\"b\":2, \"a\":3}", 14},
        {"{\"a\":{\"x\":1},\"b\":[{\"c\":1,\"c\":2}]}", 25},
        {"{\"a\":1,\"\\u0061\":2}", 7}, /* the same key in another spelling */
        {"{\"\":1,\"\":2}", 6},
        {"{\"a\":1,\"b\":2,\"b\":3,\"a\":4}", 13}, /* the first that is a second one */
        {"{\"\\u0000\":1,\"\\u0000\":2}", 12},
        {"{\"p\":0,\"o\":0,\"n\":0,\"m\":0,\"l\":0,\"k\":0,\"j\":0,\"i\":0,\"h\":0,\"g\":0,\"f\":0,"
         "\"e\":0,\"d\":0,\"c\":0,\"k\":0,\"p\":0}",
         85},
    };
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        fh_json *doc = NULL;
        fh_err err = {0};
        CHECK_STATUS(fh_json_parse(&doc, fh_str_of(rows[i].text), NULL, &err), FH_ERR_FORMAT);
        CHECK_U64(err.offset, rows[i].offset);
        CHECK(doc == NULL);
    }
    fh_err err = {0};
    fh_json *doc = NULL;
    CHECK_STATUS(fh_json_parse(&doc, FH_STR("{\"a\":1,\"a\":2}"), NULL, &err), FH_ERR_FORMAT);
    CHECK_STR(fh_str_of(err.message), "JSON: the key 'a' occurs twice in one object");
    doc = parse("[{\"a\":1},{\"a\":2},{\"a\":{\"a\":3}}]"); /* not in one object */
    fh_json_free(doc);
}

TEST(json, last_duplicate_wins_by_option) {
    fh_json_options opt = {.allow_duplicate_keys = true};
    fh_json *doc = NULL;
    fh_err err = {0};
    uint64_t u = 0;
    CHECK_OK(fh_json_parse(&doc, FH_STR("{\"a\":1,\"b\":2,\"a\":3}"), &opt, &err), err);
    CHECK(fh_json_to_u64(fh_json_get(fh_json_root(doc), "a"), &u) && u == 3);
    CHECK_U64(fh_json_root(doc)->n_child, 3);
    fh_json_free(doc);
}

/* {"k0":0, ...} with n members, in an order that is neither sorted nor reversed; then `last` once
 * more. */
static void wide_object(fh_buf *b, uint32_t n, const char *last) {
    fh_buf_add_byte(b, '{');
    for (uint32_t i = 0; i < n; i++)
        fh_buf_printf(b, "%s\"some longer common prefix %u\":%u", i ? "," : "", (uint32_t)((uint64_t)i * 7919 % n), i);
    if (last) fh_buf_printf(b, ",\"some longer common prefix %s\":0", last);
    fh_buf_add_byte(b, '}');
}

TEST(json, a_hundred_thousand_keys) {
    enum { N = 100000 };
    fh_buf b;
    fh_json *doc = NULL;
    fh_err err = {0};
    fh_json_options opt = {.max_bytes = (size_t)1 << 30};
    fh_buf_init(&b, 1 << 24);
    wide_object(&b, N, NULL);
    fh_status ok = fh_json_parse(&doc, fh_buf_str(&b), &opt, &err);
    uint32_t n = ok == FH_OK ? fh_json_root(doc)->n_child : 0;
    fh_json_free(doc);
    fh_buf_clear(&b);
    wide_object(&b, N, "54321");
    uint64_t second = b.len - strlen("\"some longer common prefix 54321\":0}");
    fh_status twice = fh_json_parse(&doc, fh_buf_str(&b), &opt, &err);
    fh_buf_release(&b);
    CHECK_STATUS(ok, FH_OK);
    CHECK_U64(n, N);
    CHECK_STATUS(twice, FH_ERR_FORMAT);
    CHECK_U64(err.offset, second);
}

/* Sixteen times the keys may take about sixteen times as long; quadratic would be 256. */
TEST(json, duplicate_check_is_not_quadratic) {
    uint64_t ns[2] = {UINT64_MAX, UINT64_MAX};
    fh_json_options opt = {.max_bytes = (size_t)1 << 30};
    fh_status s = FH_OK;
    for (int size = 0; size < 2; size++) {
        fh_buf b;
        fh_buf_init(&b, 1 << 24);
        wide_object(&b, size ? 128000 : 8000, NULL);
        for (int turn = 0; turn < 3 && s == FH_OK; turn++) {
            fh_json *doc = NULL;
            uint64_t start = fh_clock_cpu_ns();
            s = fh_json_parse(&doc, fh_buf_str(&b), &opt, NULL);
            uint64_t took = fh_clock_cpu_ns() - start;
            if (took < ns[size]) ns[size] = took;
            fh_json_free(doc);
        }
        fh_buf_release(&b);
    }
    CHECK_STATUS(s, FH_OK);
    CHECK(ns[1] < 100 * ns[0]);
}

/* Memory never passes the ceiling, whatever the text; what does not fit is FH_ERR_LIMIT. */
TEST(json, tree_memory_has_a_ceiling) {
    fh_buf b;
    fh_json *doc = NULL;
    fh_err err = {0};
    fh_buf_init(&b, 1 << 22);
    fh_buf_add_byte(&b, '[');
    for (int i = 0; i < 500000; i++) fh_buf_add_z(&b, "1,");
    fh_buf_add_z(&b, "1]");
    fh_mem_reset_peak();
    uint64_t before = fh_mem_get_stats().live_bytes;
    fh_status refused = fh_json_parse(&doc, fh_buf_str(&b), NULL, &err); /* 24 MB of nodes */
    uint64_t grown = fh_mem_get_stats().peak_bytes - before;
    fh_json_options opt = {.max_bytes = (size_t)32 << 20};
    fh_status fits = fh_json_parse(&doc, fh_buf_str(&b), &opt, NULL);
    fh_mem_reset_peak();
    uint64_t held = fh_mem_get_stats().peak_bytes - before;
    fh_json_free(doc);
    fh_buf_release(&b);
    CHECK_STATUS(refused, FH_ERR_LIMIT);
    CHECK(strstr(err.message, "more than the limit of ") != NULL);
    CHECK(grown < 4096); /* refused before anything was allocated */
    CHECK_STATUS(fits, FH_OK);
    CHECK(held <= opt.max_bytes);
}

/* The least ceiling that works is what the tree takes, one byte less is refused. */
TEST(json, ceiling_is_exact) {
    fh_buf b;
    fh_buf_init(&b, 1 << 16);
    wide_object(&b, 40, NULL);
    size_t low = 1, high = 1 << 20;
    while (low < high) {
        fh_json *doc = NULL;
        fh_json_options opt = {.max_bytes = low + (high - low) / 2};
        fh_status s = fh_json_parse(&doc, fh_buf_str(&b), &opt, NULL);
        fh_json_free(doc);
        if (s == FH_OK) high = opt.max_bytes;
        else low = opt.max_bytes + 1;
    }
    fh_json *doc = NULL;
    fh_json_options opt = {.max_bytes = low};
    fh_mem_reset_peak();
    uint64_t before = fh_mem_get_stats().live_bytes;
    fh_status s = fh_json_parse(&doc, fh_buf_str(&b), &opt, NULL);
    uint64_t peak = fh_mem_get_stats().peak_bytes - before;
    fh_json_free(doc);
    fh_buf_release(&b);
    CHECK_STATUS(s, FH_OK);
    CHECK(low >= 41 * sizeof(fh_json_node));
    CHECK(peak <= low + 4 * 64); /* the heap rounds each of four blocks up */
}

static void all_of_it(fh_json **doc, fh_buf *out, fh_str text, fh_status *s) {
    fh_err err = {0};
    fh_json_reader r;
    fh_json_event ev;
    fh_json_writer w;
    *s = fh_json_parse(doc, text, NULL, &err);
    if (*s != FH_OK) return;
    fh_json_writer_init(&w, out, true);
    fh_json_put_tree(&w, fh_json_root(*doc));
    *s = fh_buf_check(out, &err);
    if (*s != FH_OK) return;
    fh_json_reader_init(&r, fh_buf_str(out));
    do *s = fh_json_next(&r, &ev, &err);
    while (*s == FH_OK && ev.kind != FH_JSON_END);
    fh_json_reader_release(&r);
}

/* The n-th allocation fails, for every n: a status each time, nothing left behind. */
TEST(json, every_allocation_may_fail) {
    fh_buf text;
    fh_buf_init(&text, 1 << 16);
    fh_buf_add_z(&text, "{\"e\":\"\\n\\u0041\",\"wide\":");
    wide_object(&text, 50, NULL);
    fh_buf_add_z(&text, ",\"l\":[\"\\\"\",1.5,null,{}]}");
    for (int forever = 0; forever < 2; forever++) {
        uint64_t blocks = fh_mem_get_stats().live_blocks, failures = 0;
        fh_status s = FH_ERR_MEMORY;
        for (uint64_t n = 1; s != FH_OK && n < 100; n++) {
            fh_json *doc = NULL;
            fh_buf out;
            fh_buf_init(&out, 1 << 16);
            fh_fault_arm(FH_FAULT_ALLOC, n, forever != 0);
            all_of_it(&doc, &out, fh_buf_str(&text), &s);
            fh_fault_disarm();
            fh_json_free(doc);
            fh_buf_release(&out);
            if (s != FH_OK) {
                CHECK_STATUS(s, FH_ERR_MEMORY);
                failures++;
            }
            CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
        }
        CHECK_STATUS(s, FH_OK);
        CHECK(failures >= 5); /* document, nodes, text, sorting, output, scratch */
    }
    fh_buf_release(&text);
}

TEST(json, nonfinite_in_the_tree) {
    fh_json_options opt = {.allow_nonfinite = true};
    fh_json *doc = NULL;
    fh_err err = {0};
    double d = 0;
    uint64_t u;
    fh_str text = FH_STR("{\"a\":-Infinity,\"b\":NaN}");
    CHECK_STATUS(fh_json_parse(&doc, text, NULL, &err), FH_ERR_FORMAT);
    CHECK_U64(err.offset, 5);
    CHECK_OK(fh_json_parse(&doc, text, &opt, &err), err);
    CHECK(fh_json_to_f64(fh_json_get(fh_json_root(doc), "a"), &d) && isinf(d) && d < 0);
    CHECK(!fh_json_to_u64(fh_json_get(fh_json_root(doc), "b"), &u));
    fh_json_free(doc);
}

/* A tree that is written and read again is the same tree. */
TEST(json, trees_round_trip) {
    static const char *const texts[] = {
        ("{\"architectures\":[\"LlamaForCausalLM\"],\"rms_norm_eps\":1e-05,\"rope_theta\":500000.0,"
         "\"rope_scaling\":{\"factor\":8.0,\"type\":\"llama3\"},\"vocab_size\":128256,"
         "\"eos\":[1,2]}"),
        "[0.1,1e22,-0.0,5e-324,18446744073709551615,-9223372036854775808,1.7976931348623157e308]",
        "\"\\ud83d\\ude00\\u0000\\u001f\\\"\\\\/\"",
        "[[],{},[[{}]],{\"\":[]}]",
    };
    for (size_t i = 0; i < FH_COUNT(texts); i++) {
        for (int pretty = 0; pretty < 2; pretty++) {
            fh_json *doc = parse(texts[i]), *again = NULL;
            fh_buf out;
            fh_json_writer w;
            fh_err err = {0};
            fh_buf_init(&out, 1 << 16);
            fh_json_writer_init(&w, &out, pretty != 0);
            fh_json_put_tree(&w, fh_json_root(doc));
            CHECK_OK(fh_buf_check(&out, &err), err);
            CHECK_OK(fh_json_parse(&again, fh_buf_str(&out), NULL, &err), err);
            CHECK(json_same_tree(fh_json_root(doc), fh_json_root(again)));
            fh_json_free(again);
            fh_json_free(doc);
            fh_buf_release(&out);
        }
    }
}
