/* tests/fuzz/fuzz_json.c - libFuzzer target for base/json.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: pull reader and the tree accept the same texts, skipping agrees with
 * reading, and a tree that was written reads back as the same tree. */
#include "json_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile char sink; /* so that every byte handed out is really read */

static fh_status read_all(fh_str text, bool nonfinite, uint64_t *offset) {
    fh_json_reader r;
    fh_json_event ev = {FH_JSON_NULL, {NULL, 0}, 0};
    fh_err err = {0};
    fh_status s = FH_OK;
    fh_json_reader_init(&r, text);
    r.allow_nonfinite = nonfinite;
    while (s == FH_OK && ev.kind != FH_JSON_END) {
        double d;
        uint64_t u;
        int64_t i;
        s = fh_json_next(&r, &ev, &err);
        if (s != FH_OK) break;
        for (size_t k = 0; k < ev.text.len; k++) sink = ev.text.ptr[k];
        if (ev.kind == FH_JSON_NUMBER) {
            bool exact = fh_json_text_u64(ev.text, &u) || fh_json_text_i64(ev.text, &i);
            if (exact) FH_REQUIRE(fh_json_text_f64(ev.text, &d));
        } else if (ev.text.len > 0) {
            FH_REQUIRE(fh_utf8_valid(ev.text));
        }
    }
    *offset = err.offset;
    if (s != FH_OK) {
        FH_REQUIRE(err.offset <= text.len);
        FH_REQUIRE(fh_json_next(&r, &ev, &err) == s && err.offset == *offset);
    }
    fh_json_reader_release(&r);
    return s;
}

static fh_status skip_all(fh_str text, bool nonfinite) {
    fh_json_reader r;
    fh_json_event ev;
    fh_json_reader_init(&r, text);
    r.allow_nonfinite = nonfinite;
    fh_status s = fh_json_next(&r, &ev, NULL);
    if (s == FH_OK) s = fh_json_skip(&r, &ev, NULL);
    if (s == FH_OK) s = fh_json_expect(&r, FH_JSON_END, &ev, "text", NULL);
    fh_json_reader_release(&r);
    return s;
}

static void check_round_trip(const fh_json *doc, const fh_json_options *opt, bool pretty) {
    fh_buf out;
    fh_json_writer w;
    fh_json *again = NULL;
    fh_err err = {0};
    fh_json_options roomy = *opt;
    roomy.max_bytes = (size_t)1 << 30;
    fh_buf_init(&out, (size_t)1 << 30);
    fh_json_writer_init(&w, &out, pretty);
    fh_json_put_tree(&w, fh_json_root(doc));
    FH_REQUIRE(fh_buf_check(&out, &err) == FH_OK);
    FH_REQUIRE(w.depth == 0);
    FH_REQUIRE(fh_json_parse(&again, fh_buf_str(&out), &roomy, &err) == FH_OK);
    FH_REQUIRE(json_same_tree(fh_json_root(doc), fh_json_root(again)));
    fh_json_free(again);
    fh_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_str text = {(const char *)data, size};
    for (int option = 0; option < 2; option++) {
        bool lenient = option == 1;
        fh_json_options opt = {.allow_nonfinite = lenient, .allow_duplicate_keys = lenient};
        fh_json *doc = NULL;
        fh_err err = {0};
        uint64_t offset;
        fh_status read = read_all(text, lenient, &offset);
        FH_REQUIRE(skip_all(text, lenient) == read);
        fh_status tree = fh_json_parse(&doc, text, &opt, &err);
        if (read != FH_OK) {
            FH_REQUIRE(tree == read && err.offset == offset && !doc);
        } else if (tree != FH_OK) {
            /* Well-formed, but too large for the ceiling, or with a key twice. */
            FH_REQUIRE(tree == FH_ERR_LIMIT || (tree == FH_ERR_FORMAT && !lenient));
            FH_REQUIRE(!doc);
        } else {
            check_round_trip(doc, &opt, lenient);
            fh_json_free(doc);
        }
    }
    return 0;
}
