/* tests/fuzz/fuzz_regex.c - libFuzzer target for text/regex: pattern, a zero byte, a text.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: a matcher that takes a text byte by byte says at the end what the automaton says of the whole,
 * it takes only UTF-8, and no position that it reaches is a dead end. */
#include "text/grammar_part.h"
#include "text/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Some byte leads on, or the text may end. */
static void check_way_on(fh_matcher *m) {
    bool ok = fh_matcher_can_end(m);
    for (uint32_t b = 0; b < 256 && !ok; b++) {
        char c = (char)b;
        FH_REQUIRE(fh_matcher_accept(m, (fh_str){&c, 1}, &ok, NULL) == FH_OK);
        if (ok) FH_REQUIRE(fh_matcher_rollback(m, 1));
    }
    FH_REQUIRE(ok);
}

static bool read_text(fh_grammar *g, fh_str text) {
    fh_matcher *m = NULL;
    bool ok = true;
    if (fh_matcher_new(&m, g, NULL) != FH_OK) return false;
    for (size_t i = 0; i < text.len && ok; i++) {
        FH_REQUIRE(fh_matcher_accept(m, (fh_str){text.ptr + i, 1}, &ok, NULL) == FH_OK);
        if (i < 24) check_way_on(m);
    }
    bool whole = ok && fh_matcher_can_end(m);
    if (whole) FH_REQUIRE(fh_utf8_valid(text));
    fh_matcher_free(m);
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_str pattern = {(const char *)data, size}, text = {NULL, 0};
    size_t at;
    fh_grammar *g = NULL;
    fh_work w;
    fh_err err = {0};
    const fh_auto *a = NULL;
    if (fh_str_find(pattern, '\0', &at)) {
        text = fh_str_drop(pattern, at + 1);
        pattern.len = at;
    }
    fh_work_init(&w);
    fh_status st = fh_regex_compile(&w, pattern, true, &a, &err);
    if (st == FH_OK) st = fh_grammar_from_auto(&g, FH_GRAMMAR_REGEX, a, &w, &err);
    if (st == FH_OK) {
        bool whole = read_text(g, text);
        if (fh_utf8_valid(text)) FH_REQUIRE(whole == fh_auto_matches(a, text));
    } else {
        FH_REQUIRE(err.message[0] && !g);
    }
    fh_work_release(&w);
    fh_grammar_free(g);
    return 0;
}
