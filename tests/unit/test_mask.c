/* tests/unit/test_mask.c - every bit of every mask against asking the matcher, token by token.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/json.h"
#include "base/num.h"
#include "base/rng.h"
#include "test.h"
#include "text/markup_grammar.h"
#include "text/mask.h"
#include "text/schema.h"

enum { N_TOKEN = 2600, MAX_LEN = 40 };

typedef struct vocab {
    fh_str piece[N_TOKEN];
    uint8_t kind[N_TOKEN];
    char text[N_TOKEN][MAX_LEN];
} vocab;

static const char sample[] = "{\"name\": \"Ada \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\", \"na\": 1, \"names\":[1, 2.50, "
                             "-3e4, true, null],\n  \"k\": {\"k\":\"a\\u00e9\\ud83d\\ude00\\n\"}, "
                             "\"zip\":\"12345\",\"when\": \"2024-02-29\"} "
                             "\":\"\",\"a\":1,\"b\":[[\"x\"]],\"n\":1,\"n\": ((a+b)*c)-(aa) abab ab c1,c22 - "
                             "caf\xC3\xA9 \xE6\x9D\xB1\xE4\xBA\xAC \xC2\x85 "
                             "\xE2\x80\xA8\n- x_1 = f(ab, 12);{y=a*(b+c);}// note \xE6\x9D\xB1\n";
static const char *const hostile[] = {"\"",
                                      "\":",
                                      "\",",
                                      "\"}",
                                      "\": \"",
                                      "\",\"",
                                      "\":1,\"",
                                      "\":1,\"na",
                                      "a\":1,\"a\":",
                                      "\":\"\",\"a\":1,\"a\":1}",
                                      "\\u00",
                                      "\\ud83d",
                                      "\\",
                                      "\xF0\x9F",
                                      "\xC3",
                                      "\xA9\"",
                                      "]]}}",
                                      "}}}",
                                      "      ",
                                      "\n\n\n\n",
                                      "12345\"",
                                      "\"\"\"",
                                      "[TOOL_CALLS]",
                                      "[TOOL_CALLS][{\"name\": \"na\"",
                                      ", \"arguments\": {\"",
                                      "[na(k=\"",
                                      "CALLS][{\"",
                                      "}}]",
                                      "\":{\"",
                                      "\":null,\"",
                                      "name\":\"",
                                      "names\":[",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

static void make_vocab(vocab *v, fh_rng *rng) {
    for (uint32_t i = 0; i < N_TOKEN; i++) {
        size_t len = 0;
        v->kind[i] = FH_MASK_TEXT;
        if (i < 256) {
            v->text[i][len++] = (char)i;
        } else if (i < 256 + FH_COUNT(hostile)) {
            len = strlen(hostile[i - 256]);
            memcpy(v->text[i], hostile[i - 256], len);
        } else if (i == N_TOKEN - 3) {
            v->kind[i] = FH_MASK_END;
        } else if (i == N_TOKEN - 2) {
            v->kind[i] = FH_MASK_CONTROL;
            v->text[i][len++] = 'a';
        } else if (i < N_TOKEN - 1) {
            for (uint64_t parts = 1 + fh_rng_below(rng, 2); parts > 0; parts--) {
                size_t at = (size_t)fh_rng_below(rng, sizeof sample - 1), n = 1 + (size_t)fh_rng_below(rng, 9);
                n = FH_MIN(n, sizeof sample - 1 - at);
                memcpy(v->text[i] + len, sample + at, n);
                len += n;
            }
        }
        v->piece[i] = (fh_str){v->text[i], len};
    }
}

static const char json_rules[] = "root ::= v\nv ::= o | a | s | n | \"true\" | \"null\"\no ::= \"{\" w (s w \":\" w v "
                                 "(w \",\" w s w \":\" w v)*)? w \"}\"\na ::= \"[\" w (v (w \",\" w v)*)? w \"]\"\n"
                                 "s ::= \"\\\"\" ([^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" "
                                 "[0-9a-f]{4}))* \"\\\"\"\nn ::= \"-\"? [0-9]+ (\".\" [0-9]+)?\nw ::= [ \\n]*";

enum { N_GRAMMAR = 17 };

static fh_grammar *make_grammar(int i) {
    static const char *const schemas[] = {
        "true",
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":6},\"na\":{\"type\":"
        "\"integer\",\"maximum\":40},\"names\":{\"type\":\"array\"}},\"required\":[\"na\"],"
        "\"additionalProperties\":false}",
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":3},\"na\":{\"type\":"
        "\"integer\"},\"n\xC3\xA9\":true},\"maxProperties\":4}",
        "{\"type\":\"object\",\"patternProperties\":{\"^(a|ab|n.*)$\":{\"type\":[\"integer\",\"string\"]}},"
        "\"additionalProperties\":false,\"properties\":{\"names\":{\"type\":\"array\"}}}",
        "{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"}},\"required\":[\"k\"],"
        "\"additionalProperties\":{\"type\":\"integer\"}},{\"type\":\"object\",\"properties\":"
        "{\"k\":{\"enum\":[\"ab\",\"a\\u00e9\"]},\"zip\":{\"type\":\"string\",\"pattern\":\"^[0-9]{5}$\"}},"
        "\"required\":[\"k\",\"zip\"]},{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":33,"
        "\"minLength\":2}}]}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^[a-z\\u00e9 ]*[ab]$\",\"maxLength\":20}}",
        "{\"type\":\"string\",\"pattern\":\"a\",\"minLength\":3,\"maxLength\":12}",
    };
    static const char *const gbnfs[] = {
        "root ::= e\ne ::= t ([-+*] t)*\nt ::= [abc]+ | \"(\" e \")\"",
        json_rules,
        "root ::= (s w)*\ns ::= i w \"=\" w e \";\" | \"{\" (s w)* \"}\" | \"//\" [^\\n]* \"\\n\"\ne ::= t (w [-+*] w "
        "t)*\n"
        "t ::= i (\"(\" (e (\",\" w e)*)? \")\")? | [0-9]+ | \"(\" e \")\"\ni ::= [a-zA-Z_] [a-zA-Z0-9_]*\nw ::= [ "
        "\\n]*",
        "root ::= (\"-\" \" \" [^\\r\\n\\x85\\u2028\\u20AC]+ \"\\n\")+",
        "root ::= (w \" \")* [\\u0080-\\uFFFF\\U0001F600]+\nw ::= [a-z\\u00e9]+ | \"[\" w \"]\"",
        "root ::= x*\nx ::= \"ab\" y | \"a\" y | \"c\" [0-9]{1,2}\ny ::= \"\" | x \",\"",
    };
    fh_grammar *g = NULL;
    fh_err err = {0};
    fh_json *doc = NULL;
    if (i < (int)FH_COUNT(schemas)) {
        CHECK_OK(fh_json_parse(&doc, fh_str_of(schemas[i]), NULL, &err), err);
        CHECK_OK(fh_grammar_from_schema(&g, fh_json_root(doc), &(fh_grammar_options){.max_space = i % 2 ? 3 : 0}, &err),
                 err);
        fh_json_free(doc);
    } else if (i < (int)(FH_COUNT(schemas) + FH_COUNT(gbnfs))) {
        CHECK_OK(fh_grammar_from_gbnf(&g, fh_str_of(gbnfs[(size_t)i - FH_COUNT(schemas)]), &err), err);
    } else if (i <= N_GRAMMAR - 3) { /* rules that call into JSON, and a notation of their own */
        static const char tools[] =
            "[{\"name\":\"na\",\"parameters\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"},\"zip\":"
            "{\"type\":\"integer\"},\"names\":{\"type\":\"array\"}},\"required\":[\"k\"]}}]";
        CHECK_OK(fh_json_parse(&doc, fh_str_of(tools), NULL, &err), err);
        fh_call_rule rule = {.tools = fh_json_root(doc), .parallel = true};
        const fh_markup *m = fh_markup_find(i == N_GRAMMAR - 4 ? FH_STR("mistral-list") : FH_STR("llama-4"));
        rule.choice = i == N_GRAMMAR - 4 ? FH_CALL_AUTO : FH_CALL_REQUIRED;
        CHECK_OK(fh_grammar_from_calls(&g, m, &rule, &(fh_grammar_options){.max_space = 2}, &err), err);
        fh_json_free(doc);
    } else if (i == N_GRAMMAR - 2) {
        CHECK_OK(fh_grammar_from_json(&g, NULL, &err), err);
    } else {
        CHECK_OK(fh_grammar_from_regex(&g, FH_STR("(\\w+ )*([abc]{2,5}|\xC3\xA9+)\\.?"), &err), err);
    }
    return g;
}
static bool bit(const uint32_t *bits, uint32_t i) { return bits[i >> 5] >> (i & 31) & 1; }

static void check_mask(const vocab *v, fh_matcher *m, const uint32_t *bits, int grammar, const fh_buf *text) {
    fh_err err = {0};
    for (uint32_t id = 0; id < N_TOKEN; id++) {
        bool want = false;
        if (v->kind[id] == FH_MASK_END) {
            want = fh_matcher_can_end(m);
        } else if (v->kind[id] == FH_MASK_TEXT && v->piece[id].len) {
            CHECK_OK(fh_matcher_accept(m, v->piece[id], &want, &err), err);
            if (want) CHECK(fh_matcher_rollback(m, 1));
        }
        if (bit(bits, id) != want)
            fh_test_fail(__FILE__, __LINE__, "grammar %d, token %u '%.*s' is %d behind '%.*s'", grammar, id,
                         FH_STR_ARG(v->piece[id]), !want, (int)text->len, text->len ? (const char *)text->ptr : "");
    }
}

TEST(mask, is_what_the_matcher_says) {
    static vocab v;
    fh_rng rng;
    fh_mask_vocab *mv = NULL;
    fh_err err = {0};
    fh_buf text;
    fh_rng_init(&rng, fh_test_seed(), 96);
    fh_buf_init(&text, 1 << 16);
    make_vocab(&v, &rng);
    CHECK_OK(fh_mask_vocab_new(&mv, v.piece, v.kind, N_TOKEN, &err), err);
    CHECK_U64(fh_mask_vocab_words(mv), (N_TOKEN + 31) / 32);
    uint64_t checked = 0, same = 0;
    for (int i = 0; i < N_GRAMMAR; i++) {
        fh_grammar *g = make_grammar(i);
        fh_matcher *m = NULL;
        fh_mask *k = NULL;
        CHECK_OK(fh_matcher_new(&m, g, &err), err);
        CHECK_OK(fh_mask_new(&k, mv, g, &err), err);
        for (int round = 0; round < 12; round++) {
            fh_matcher_reset(m);
            fh_buf_clear(&text);
            for (int step = 0; step < 25; step++) {
                const uint32_t *bits = NULL;
                uint32_t may[N_TOKEN], n_may = 0;
                bool ok;
                CHECK_OK(fh_mask_compute(k, m, &bits, &err), err);
                check_mask(&v, m, bits, i, &text);
                checked++;
                for (uint32_t id = 0; id < N_TOKEN; id++)
                    if (bit(bits, id) && v.kind[id] == FH_MASK_TEXT) may[n_may++] = id;
                if (n_may == 0) break;
                uint32_t id = may[fh_rng_below(&rng, n_may)];
                CHECK_OK(fh_matcher_accept(m, v.piece[id], &ok, &err), err);
                CHECK(ok);
                fh_buf_add_str(&text, v.piece[id]);
                if (fh_rng_below(&rng, 8) == 0) { /* going back and on must not wake a mask of another position */
                    CHECK(fh_matcher_rollback(m, 1));
                    text.len -= v.piece[id].len;
                }
            }
        }
        same += fh_mask_get_stats(k).same_position;
        fh_mask_free(k);
        fh_matcher_free(m);
        fh_grammar_free(g);
    }
    CHECK(checked > 1000 && same > 100);
    fh_mask_vocab_free(mv);
    fh_buf_release(&text);
}

TEST(mask, empty_vocabulary) {
    fh_mask_vocab *mv = NULL;
    fh_err err = {0};
    CHECK_OK(fh_mask_vocab_new(&mv, NULL, NULL, 0, &err), err);
    CHECK_U64(fh_mask_vocab_words(mv), 0);
    fh_mask_vocab_free(mv);
}

TEST(mask, memory) {
    static vocab v;
    fh_rng rng;
    fh_rng_init(&rng, 1, 97);
    make_vocab(&v, &rng);
    fh_status st = FH_ERR_MEMORY;
    for (uint64_t nth = 1; st != FH_OK; nth++) {
        fh_grammar *g = make_grammar(2);
        fh_mask_vocab *mv = NULL;
        fh_matcher *m = NULL;
        fh_mask *k = NULL;
        const uint32_t *bits = NULL;
        bool ok = true;
        fh_fault_arm(FH_FAULT_ALLOC, nth, false);
        st = fh_mask_vocab_new(&mv, v.piece, v.kind, 600, NULL);
        if (st == FH_OK) st = fh_matcher_new(&m, g, NULL);
        if (st == FH_OK) st = fh_mask_new(&k, mv, g, NULL);
        for (int i = 0; i < 6 && st == FH_OK; i++) {
            st = fh_mask_compute(k, m, &bits, NULL);
            if (st == FH_OK)
                st = fh_matcher_accept(m,
                                       i == 0   ? FH_STR("{\"na")
                                       : i == 1 ? FH_STR("m\":[")
                                                : FH_STR("\"\\\","),
                                       &ok, NULL);
        }
        fh_fault_disarm();
        fh_mask_free(k);
        fh_matcher_free(m);
        fh_mask_vocab_free(mv);
        fh_grammar_free(g);
        CHECK(st == FH_OK || st == FH_ERR_MEMORY);
        CHECK(nth < 10000);
    }
}
