/* tests/fuzz/fuzz_schema.c - libFuzzer target for JSON Schema: a schema, a zero byte, an instance.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: what is accepted is JSON, no position is a dead end, a mask says what the matcher says, and a
 * refusal has a reason. */
#include "base/json.h"
#include "base/num.h"
#include "text/mask.h"
#include "text/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const fh_str pieces[] = {{"\"", 1},    {"{", 1},   {"}", 1},     {"[", 1},    {"]", 1},     {",", 1},
                                {":", 1},     {"\":", 2}, {"\",\"", 3}, {"a", 1},    {"ab\":", 4}, {"\":1,\"a", 6},
                                {"1", 1},     {"0", 1},   {".5", 2},    {"-", 1},    {"null", 4},  {"tr", 2},
                                {"\\u00", 4}, {" ", 1},   {"\n ", 2},   {"\xC3", 1}, {"\xA9", 1},  {"abcdefghijkl", 12},
                                {"\"}", 2},   {"{\"", 2}, {"1]}", 3},   {"e", 1},    {"2024-", 5}};

static void check_mask(fh_mask *k, fh_matcher *m) {
    const uint32_t *bits = NULL;
    bool any = fh_matcher_can_end(m);
    if (fh_mask_compute(k, m, &bits, NULL) != FH_OK) return;
    for (uint32_t i = 0; i < FH_COUNT(pieces); i++) {
        bool ok = false;
        if (fh_matcher_accept(m, pieces[i], &ok, NULL) != FH_OK) return;
        if (ok) FH_REQUIRE(fh_matcher_rollback(m, 1));
        FH_REQUIRE(ok == (bits[i >> 5] >> (i & 31) & 1));
        any |= ok;
    }
    for (uint32_t b = 0; b < 256 && !any; b++) {
        char c = (char)b;
        if (fh_matcher_accept(m, (fh_str){&c, 1}, &any, NULL) != FH_OK) return;
        if (any) FH_REQUIRE(fh_matcher_rollback(m, 1));
    }
    FH_REQUIRE(any);
}

static void check_text(const fh_grammar *g, fh_str text) {
    static const uint8_t kind[FH_COUNT(pieces)] = {0};
    fh_mask_vocab *v = NULL;
    fh_mask *k = NULL;
    fh_matcher *m = NULL;
    bool ok = true;
    if (fh_mask_vocab_new(&v, pieces, kind, FH_COUNT(pieces), NULL) == FH_OK && fh_mask_new(&k, v, g, NULL) == FH_OK &&
        fh_matcher_new(&m, g, NULL) == FH_OK) {
        check_mask(k, m);
        for (size_t i = 0; i < text.len && ok; i++) {
            if (fh_matcher_accept(m, (fh_str){text.ptr + i, 1}, &ok, NULL) != FH_OK) break;
            if (ok && i < 12) check_mask(k, m);
        }
        fh_json *doc = NULL;
        if (ok && fh_matcher_can_end(m)) FH_REQUIRE(fh_json_parse(&doc, text, NULL, NULL) != FH_ERR_FORMAT);
        fh_json_free(doc);
    }
    fh_matcher_free(m);
    fh_mask_free(k);
    fh_mask_vocab_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_str source = {(const char *)data, size}, text = {NULL, 0};
    size_t at;
    fh_json *doc = NULL;
    fh_grammar *g = NULL;
    fh_err err = {0};
    if (fh_str_find(source, '\0', &at)) {
        text = fh_str_first(fh_str_drop(source, at + 1), 300);
        source.len = at;
    }
    if (fh_json_parse(&doc, source, NULL, NULL) != FH_OK) return 0;
    fh_status st = fh_grammar_from_schema(&g, fh_json_root(doc), NULL, &err);
    fh_json_free(doc); /* the grammar borrows nothing of it */
    if (st != FH_OK) FH_REQUIRE(err.message[0] && !g);
    else check_text(g, text);
    fh_grammar_free(g);
    return 0;
}
