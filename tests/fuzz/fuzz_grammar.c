/* tests/fuzz/fuzz_grammar.c - libFuzzer target for GBNF: grammar, a zero byte, a text.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: cutting the text anywhere changes nothing, going back and reading again neither, and no position
 * is a dead end while the grammar's ceilings hold. */
#include "base/num.h"
#include "text/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_way_on(fh_matcher *m) {
    bool ok = fh_matcher_can_end(m);
    for (uint32_t b = 0; b < 256 && !ok; b++) {
        char c = (char)b;
        if (fh_matcher_accept(m, (fh_str){&c, 1}, &ok, NULL) != FH_OK) return true; /* a ceiling: no claim */
        if (ok) FH_REQUIRE(fh_matcher_rollback(m, 1));
    }
    return ok;
}

static void check_text(fh_matcher *m, fh_str text) {
    bool ok = true, again = false;
    size_t n = 0;
    for (; n < text.len; n++) {
        if (fh_matcher_accept(m, (fh_str){text.ptr + n, 1}, &ok, NULL) != FH_OK) return;
        if (!ok) break;
        if (n < 16) FH_REQUIRE(has_way_on(m));
    }
    bool end = fh_matcher_can_end(m);
    FH_REQUIRE(fh_matcher_rollback(m, n));
    if (fh_matcher_accept(m, fh_str_first(text, n), &again, NULL) != FH_OK) return;
    FH_REQUIRE(again && fh_matcher_can_end(m) == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_str source = {(const char *)data, size}, text = {NULL, 0};
    size_t at;
    fh_grammar *g = NULL;
    fh_matcher *m = NULL;
    fh_err err = {0};
    if (fh_str_find(source, '\0', &at)) {
        text = fh_str_drop(source, at + 1);
        source.len = at;
    }
    if (fh_grammar_from_gbnf(&g, source, &err) != FH_OK) {
        FH_REQUIRE(err.message[0] && !g);
        return 0;
    }
    if (fh_matcher_new(&m, g, NULL) == FH_OK) {
        /* Recursion deeper than the matcher's ceiling has no promise: only texts that stay shallow do. */
        check_text(m, fh_str_first(text, 200));
    }
    fh_matcher_free(m);
    fh_grammar_free(g);
    return 0;
}
