/* tests/unit/test_grammar.c - matchers: GBNF against the slow oracle, JSON mode against the JSON reader, going back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/json.h"
#include "base/num.h"
#include "grammar_oracle.h"
#include "test.h"
#include "text/grammar.h"

static bool whole(fh_matcher *m, fh_str text) {
    bool ok = false;
    fh_err err = {0};
    fh_matcher_reset(m);
    CHECK_OK(fh_matcher_accept(m, text, &ok, &err), err);
    return ok && fh_matcher_can_end(m);
}

static fh_grammar *gbnf(const char *text) {
    fh_grammar *g = NULL;
    fh_err err = {0};
    CHECK_OK(fh_grammar_from_gbnf(&g, fh_str_of(text), &err), err);
    return g;
}

static bool matches(const char *grammar, const char *text) {
    fh_grammar *g = gbnf(grammar);
    fh_matcher *m = NULL;
    fh_err err = {0};
    CHECK_OK(fh_matcher_new(&m, g, &err), err);
    bool yes = whole(m, fh_str_of(text));
    fh_matcher_free(m);
    fh_grammar_free(g);
    return yes;
}

TEST(grammar, gbnf_language) {
    CHECK(matches("root ::= \"a\" [b-d]+ # c\n", "abcd"));
    CHECK(!matches("root ::= \"a\" [b-d]+", "a"));
    CHECK(matches("root ::=\n  \"x\" |\n  other\nother ::= (\n \"y\"\n  | \"z\" )?\n", "z"));
    CHECK(matches("root ::= [^\\x00-\\x1F] \"\\u00e9\" \"\\U0001F600\" .", "q\xC3\xA9\xF0\x9F\x98\x80\xE2\x82\xAC"));
    CHECK(matches("root ::= \"a\"{2} \"b\"{1,} \"c\"{0,1}", "aabbc"));
    CHECK(matches("root ::= e\ne ::= t (\"+\" t)*\nt ::= [0-9]+ | \"(\" e \")\"", "1+(2+(3))+44"));
    CHECK(!matches("root ::= e\ne ::= t (\"+\" t)*\nt ::= [0-9]+ | \"(\" e \")\"", "1+(2+(3)+44"));
    CHECK(matches("root ::= [\\]\\\\a-] [-x]", "]-"));
    CHECK(matches("root ::= \"\"", ""));
    CHECK(matches("root ::= x x?\nx ::= \"a\"* \"b\"?", "aabaab"));
}

TEST(grammar, gbnf_refused) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"root ::= root \"a\" | \"b\"", "line 1: rule 'root' is left-recursive"},
        {"root ::= \"a\" | x\n\nx ::= y? z\ny ::= \"q\"\nz ::= x \"b\" | \"c\"", "is left-recursive"},
        {"root ::= <think>", "references to tokens"},
        {"root ::= !<[123]>", "references to tokens"},
        {"root ::= x", "line 1: rule 'x' is used but not defined"},
        {"a ::= \"b\"", "there is no rule 'root'"},
        {"root ::= \"a\"\nroot ::= \"b\"", "defined twice"},
        {"root ::= \"a\" root", "can never end"},
        {"root ::= [b-a]", "runs backwards"},
        {"root ::= \"a", "ends inside"},
        {"root ::= (\"a\"", "not closed"},
        {"root ::= \"a\"{3,2}", "runs backwards"},
        {"root ::= \"a\"{,2}", "a count is malformed"},
        {"root ::= \"\\q\"", "means nothing"},
        {"root = \"a\"", "::= is missing"},
        {"root ::= \"a\" )", "none of its parts"},
        {"root ::= \"a\"{100000}", "a count above"},
        {"root ::= \"\\ud800\"", "no Unicode character"},
        {"", "there is no rule 'root'"},
    };
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        fh_grammar *g = NULL;
        fh_err err = {0};
        fh_status st = fh_grammar_from_gbnf(&g, fh_str_of(cases[i].text), &err);
        fh_grammar_free(g);
        if (st == FH_OK || !strstr(err.message, cases[i].says))
            fh_test_fail(__FILE__, __LINE__, "'%s' gives %s: %s", cases[i].text, fh_status_name(st), err.message);
    }
}

/* T24: nesting, sizes and explosions end in an error. */
TEST(grammar, gbnf_ceilings) {
    fh_buf b;
    fh_grammar *g = NULL;
    fh_buf_init(&b, 1 << 22);
    fh_buf_add_z(&b, "root ::= ");
    fh_buf_fill(&b, '(', 60000);
    CHECK_STATUS(fh_grammar_from_gbnf(&g, fh_buf_str(&b), NULL), FH_ERR_LIMIT);
    fh_buf_clear(&b);
    fh_buf_add_z(&b, "root ::= r0\n");
    for (int i = 0; i < 40; i++) fh_buf_printf(&b, "r%d ::= r%d r%d\n", i, i + 1, i + 1);
    fh_buf_add_z(&b, "r40 ::= \"a\"\n");
    fh_status st = fh_grammar_from_gbnf(&g, fh_buf_str(&b), NULL);
    CHECK(st == FH_OK || st == FH_ERR_LIMIT);
    fh_grammar_free(g);
    g = NULL;
    fh_buf_clear(&b);
    for (int i = 0; i < 120000; i++) fh_buf_printf(&b, "r%d ::= \"a\"\n", i);
    CHECK_STATUS(fh_grammar_from_gbnf(&g, fh_buf_str(&b), NULL), FH_ERR_LIMIT);
    fh_buf_release(&b);
}

/* A stack of calls far beyond what is kept is refused, a list as right recursion of any length is not. */
TEST(grammar, gbnf_depth) {
    fh_grammar *g = gbnf("root ::= list | nest\nlist ::= \"x\" | \"x\" list\nnest ::= \"(\" nest \")\" | \"\"");
    fh_matcher *m = NULL;
    fh_err err = {0};
    fh_buf b;
    bool ok;
    fh_buf_init(&b, 1 << 20);
    CHECK_OK(fh_matcher_new(&m, g, &err), err);
    fh_buf_fill(&b, 'x', 100000);
    CHECK(whole(m, fh_buf_str(&b)));
    fh_buf_clear(&b);
    fh_buf_fill(&b, '(', 900);
    fh_buf_fill(&b, ')', 900);
    CHECK(whole(m, fh_buf_str(&b)));
    fh_buf_clear(&b);
    fh_buf_fill(&b, '(', 100000);
    fh_matcher_reset(m);
    CHECK_OK(fh_matcher_accept(m, fh_buf_str(&b), &ok, &err), err);
    CHECK(!ok);
    fh_buf_release(&b);
    fh_matcher_free(m);
    fh_grammar_free(g);
}

TEST(grammar, gbnf_oracle) {
    oracle o;
    fh_buf source, text;
    fh_buf_init(&source, 1 << 16);
    fh_buf_init(&text, 256);
    fh_rng_init(&o.rng, fh_test_seed(), 92);
    int matched = 0, compiled = 0;
    for (int round = 0; round < 400; round++) {
        fh_grammar *g = NULL;
        fh_matcher *m = NULL;
        fh_err err = {0};
        o.n = 0;
        o.n_rule = 1 + (int)fh_rng_below(&o.rng, ORACLE_RULES);
        fh_buf_clear(&source);
        for (int r = 0; r < o.n_rule; r++) {
            o.rule[r] = oracle_make(&o, 4, r + 1);
            fh_buf_printf(&source, "r%d ::= ", r);
            oracle_print(&o, o.rule[r], true, &source);
            fh_buf_add_byte(&source, '\n');
        }
        fh_buf_add_z(&source, "root ::= r0\n");
        fh_status st = fh_grammar_from_gbnf(&g, fh_buf_str(&source), &err);
        if (st != FH_OK && (strstr(err.message, "never end") || strstr(err.message, "left-recursive"))) continue;
        CHECK_OK(st, err);
        CHECK_OK(fh_matcher_new(&m, g, &err), err);
        compiled++;
        for (int k = 0; k < 40; k++) {
            uint8_t letters[ORACLE_TEXT];
            int n = (int)fh_rng_below(&o.rng, 10);
            fh_buf_clear(&text);
            for (int i = 0; i < n; i++) {
                letters[i] = (uint8_t)fh_rng_below(&o.rng, k % 2 ? 2 : 5);
                fh_buf_add_z(&text, oracle_letters[letters[i]]);
            }
            bool want = oracle_ends(&o, o.rule[0], letters, n, 0) >> n & 1, got = whole(m, fh_buf_str(&text));
            matched += want;
            if (want != got) {
                fh_buf_add_byte(&source, 0);
                fh_test_fail(__FILE__, __LINE__, "%d letters: %d under\n%s", n, got, (const char *)source.ptr);
            }
        }
        fh_matcher_free(m);
        fh_grammar_free(g);
    }
    fh_buf_release(&source);
    fh_buf_release(&text);
    CHECK(matched > 300);
    CHECK(compiled > 200);
}

/* ---- JSON mode ---- */
static fh_matcher *json_matcher(fh_grammar **g, const fh_grammar_options *opt) {
    fh_matcher *m = NULL;
    fh_err err = {0};
    CHECK_OK(fh_grammar_from_json(g, opt, &err), err);
    CHECK_OK(fh_matcher_new(&m, *g, &err), err);
    return m;
}

TEST(grammar, json_texts) {
    static const struct {
        const char *text;
        bool want;
    } cases[] = {
        {"{}", true},
        {" { } ", false},
        {"\n{ }", true},
        {"[]", false},
        {"{\"a\":1,}", false},
        {"{\"a\" : [ ] }", true},
        {"{\"a\":01}", false},
        {"{\"a\":-0.5e+10}", true},
        {"{\"a\":.5}", false},
        {"{\"a\":1.}", false},
        {"{\"a\":\"\\u00e9\\n\\/\"}", true},
        {"{\"a\":\"\\x\"}", false},
        {"{\"a\":\"\n\"}", false},
        {"{\"a\":\"\\ud83d\\ude00\"}", true},
        {"{\"a\":\"\\ud83d\"}", false},
        {"{\"a\":\"\\ude00\"}", false},
        {"{\"a\":\"\xC3\xA9\xF0\x9F\x98\x80\"}", true},
        {"{\"a\":\"\xC0\x80\"}", false},
        {"{\"a\":\"\xED\xA0\x80\"}", false},
        {"{\"a\":\"\xE0\x80\x80\"}", false},
        {"{\"a\":\"\xF4\x90\x80\x80\"}", false},
        {"{\"a\":1,\"a\":2}", false},
        {"{\"a\":1,\"\\u0061\":2}", false},
        {"{\"a\":1,\"A\":2,\"aa\":3,\"\":4}", true},
        {"{\"\":1,\"\":2}", false},
        {"{\"a\":{\"a\":{\"a\":[{\"a\":null}]}}}", true},
        {"{\"a\":tru}", false},
        {"{\"a\":true,\"b\":false}", true},
        {"{\"a\":nulll}", false},
        {"{'a':1}", false},
        {"{\"a\":1}x", false},
        {"{\"a\":[1,2,]}", false},
        {"", false},
    };
    fh_grammar *g = NULL;
    fh_matcher *m = json_matcher(&g, NULL);
    for (size_t i = 0; i < FH_COUNT(cases); i++)
        if (whole(m, fh_str_of(cases[i].text)) != cases[i].want)
            fh_test_fail(__FILE__, __LINE__, "'%s' is not %d", cases[i].text, cases[i].want);
    fh_matcher_free(m);
    fh_grammar_free(g);
}

/* Mutated JSON: the matcher and the JSON reader agree. */
TEST(grammar, json_oracle) {
    static const char seed_text[] =
        "{\"a\": [1, -2.5e3, {\"b\\u00e9\": null, \"\": true}], \"c\":\"x\\\"y\xC3\xA9\", \"d\": {}}";
    static const char letters[] = "{}[]:,\"\\0123abu -.eE+\ntrfnl\x80\xC3\xA9";
    fh_grammar *g = NULL;
    fh_matcher *m = json_matcher(&g, NULL);
    fh_rng rng;
    char text[sizeof seed_text + 8];
    int good = 0;
    fh_rng_init(&rng, fh_test_seed(), 93);
    for (int round = 0; round < 30000; round++) {
        size_t n = sizeof seed_text - 1;
        memcpy(text, seed_text, n);
        for (uint64_t k = fh_rng_below(&rng, 4); k > 0; k--) {
            size_t at = (size_t)fh_rng_below(&rng, n);
            char c = letters[fh_rng_below(&rng, sizeof letters - 1)];
            switch (fh_rng_below(&rng, 3)) {
            case 0: text[at] = c; break;
            case 1: memmove(text + at, text + at + 1, --n - at); break;
            default:
                memmove(text + at + 1, text + at, n - at);
                text[at] = c;
                n++;
            }
        }
        fh_json *doc = NULL;
        bool want = fh_json_parse(&doc, (fh_str){text, n}, NULL, NULL) == FH_OK &&
                    fh_json_root(doc)->kind == FH_JSON_OBJECT && text[n - 1] == '}';
        fh_json_free(doc);
        good += want;
        if (whole(m, (fh_str){text, n}) != want)
            fh_test_fail(__FILE__, __LINE__, "'%.*s' is not %d", (int)n, text, want);
    }
    CHECK(good > 5000);
    fh_matcher_free(m);
    fh_grammar_free(g);
}

TEST(grammar, json_space_and_depth) {
    fh_grammar *g = NULL;
    fh_buf b;
    fh_matcher *m = json_matcher(&g, &(fh_grammar_options){.compact = true});
    CHECK(whole(m, FH_STR("{\"a\":[1,\" \"]}")) && !whole(m, FH_STR("{\"a\": 1}")));
    fh_matcher_free(m);
    fh_grammar_free(g);
    m = json_matcher(&g, &(fh_grammar_options){.max_space = 2});
    CHECK(whole(m, FH_STR("{  \"a\"  :  1  ,  \"b\":[  ]}")) && !whole(m, FH_STR("{   }")));
    fh_buf_init(&b, 4096);
    for (int deep = 256; deep <= 257; deep++) {
        fh_buf_clear(&b);
        fh_buf_add_z(&b, "{\"a\":");
        fh_buf_fill(&b, '[', (size_t)deep - 1);
        fh_buf_fill(&b, ']', (size_t)deep - 1);
        fh_buf_add_byte(&b, '}');
        CHECK(whole(m, fh_buf_str(&b)) == (deep == 256));
    }
    fh_buf_release(&b);
    fh_matcher_free(m);
    fh_grammar_free(g);
}

/* ---- going back ---- */
TEST(grammar, rollback) {
    static const char text[] = "{\"k\": [1, {\"a\": \"b\", \"c\": [true, null]}, \"d\"], \"l\": {\"m\": 2}}";
    fh_grammar *g = NULL;
    fh_matcher *m = json_matcher(&g, NULL), *c = NULL;
    fh_err err = {0};
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 94);
    size_t at[400], n = 0, pos = 0;
    bool ok;
    for (int round = 0; round < 5000; round++) {
        if (fh_rng_below(&rng, 3) && pos < sizeof text - 1 && n < FH_COUNT(at)) {
            size_t len = (size_t)fh_rng_below(&rng, 6);
            len = FH_MIN(len, sizeof text - 1 - pos);
            CHECK_OK(fh_matcher_accept(m, (fh_str){text + pos, len}, &ok, &err), err);
            CHECK(ok);
            at[n++] = pos;
            pos += len;
        } else if (n) {
            size_t back = 1 + (size_t)fh_rng_below(&rng, n);
            CHECK(fh_matcher_rollback(m, back));
            n -= back;
            pos = at[n];
        }
        /* A refused text moves nothing; a copy goes its own way. */
        CHECK_OK(fh_matcher_accept(m, FH_STR("]}]}{\"x\":["), &ok, &err), err);
        CHECK(!ok);
        CHECK(fh_matcher_can_end(m) == (pos == sizeof text - 1));
        if (round % 50) continue;
        CHECK_OK(fh_matcher_clone(&c, m, &err), err);
        CHECK_OK(fh_matcher_accept(c, (fh_str){text + pos, sizeof text - 1 - pos}, &ok, &err), err);
        CHECK(ok && fh_matcher_can_end(c));
        fh_matcher_free(c);
    }
    CHECK(!fh_matcher_rollback(m, n + 1));
    fh_matcher_forget(m);
    CHECK(!fh_matcher_rollback(m, 1));
    CHECK_OK(fh_matcher_accept(m, (fh_str){text + pos, sizeof text - 1 - pos}, &ok, &err), err);
    CHECK(ok && fh_matcher_can_end(m));
    fh_matcher_free(m);
    fh_grammar_free(g);
}

TEST(grammar, choice) {
    static const fh_str choice[] = {{"yes", 3}, {"yes, please", 11}, {"no", 2}, {"\xC3\xA9t\xC3\xA9", 5}};
    fh_grammar *g = NULL;
    fh_matcher *m = NULL;
    fh_err err = {0};
    CHECK_OK(fh_grammar_from_choice(&g, choice, 4, &err), err);
    CHECK_OK(fh_matcher_new(&m, g, &err), err);
    for (size_t i = 0; i < 4; i++) CHECK(whole(m, choice[i]));
    CHECK(!whole(m, FH_STR("yes,")) && !whole(m, FH_STR("nope")) && !whole(m, FH_STR("")));
    fh_matcher_free(m);
    fh_grammar_free(g);
    CHECK_STATUS(fh_grammar_from_choice(&g, choice, 0, NULL), FH_ERR_USAGE);
}

TEST(grammar, memory) {
    static const char source[] = "root ::= e\ne ::= t (\"+\" t)*\nt ::= [0-9]{1,3} | \"(\" e \")\"";
    fh_status st = FH_ERR_MEMORY;
    for (uint64_t nth = 1; st != FH_OK; nth++) {
        fh_grammar *g = NULL;
        fh_matcher *m = NULL, *c = NULL;
        bool ok = true;
        fh_fault_arm(FH_FAULT_ALLOC, nth, false);
        st = fh_grammar_from_gbnf(&g, FH_STR(source), NULL);
        if (st == FH_OK) st = fh_matcher_new(&m, g, NULL);
        for (int i = 0; i < 40 && st == FH_OK; i++) st = fh_matcher_accept(m, FH_STR("((1+"), &ok, NULL);
        if (st == FH_OK) st = fh_matcher_clone(&c, m, NULL);
        fh_fault_disarm();
        CHECK(ok);
        fh_matcher_free(c);
        fh_matcher_free(m);
        fh_grammar_free(g);
        CHECK(st == FH_OK || st == FH_ERR_MEMORY);
        CHECK(nth < 10000);
    }
}
