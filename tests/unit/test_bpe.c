/* tests/unit/test_bpe.c - merging: against the definition, over seams and heaps, with hostile vocabularies.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/num.h"
#include "text/bpe.h"
#include "text/bpe_part.h"
#include "tokenizer_maker.h"

/* ---- ranks against the definition ---- */

/* By the definition: of all neighbours that join to a token, the one of lowest rank, leftmost first. */
static size_t join_by_definition(const fh_vocab *v, fh_str text, uint32_t *id) {
    size_t start[200], n = text.len;
    for (size_t i = 0; i <= n; i++) start[i] = i;
    for (;;) {
        uint32_t best = UINT32_MAX, found;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            fh_str pair = {text.ptr + start[i], start[i + 2] - start[i]};
            if (fh_vocab_find(v, pair, &found) && found < best) best = found, at = i;
        }
        if (best == UINT32_MAX) break;
        memmove(start + at + 1, start + at + 2, (n - at - 1) * sizeof *start);
        n--;
    }
    for (size_t i = 0; i < n; i++)
        CHECK(fh_vocab_find(v, (fh_str){text.ptr + start[i], start[i + 1] - start[i]}, &id[i]));
    return n;
}

/* A vocabulary over the letters a to d with random longer tokens, in an order that no training would give. */
static fh_vocab *random_ranks(fh_rng *r) {
    fh_vocab *v = NULL;
    fh_err err = {0};
    CHECK_OK(fh_vocab_new(&v, FH_VOCAB_BPE_RANKS, 1u << 16, &err), err);
    v->raw_bytes = true;
    uint32_t id = 0;
    char used[400][8];
    for (uint32_t tries = 0; tries < 300; tries++) {
        char text[8] = {0};
        size_t len = id < 4 ? 1 : 2 + fh_rng_below(r, 5);
        for (size_t k = 0; k < len; k++) text[k] = (char)('a' + (id < 4 ? id : fh_rng_below(r, 4)));
        bool again = false;
        for (uint32_t i = 0; i < id; i++) again = again || strcmp(used[i], text) == 0;
        if (again) continue;
        memcpy(used[id], text, sizeof text);
        CHECK_OK(fh_vocab_put(v, id++, fh_str_of(text), FH_TOKEN_NORMAL, 0, &err), err);
    }
    CHECK_OK(fh_vocab_index(v, true, &err), err);
    CHECK_OK(fh_vocab_finish(v, &err), err);
    return v;
}

TEST(bpe, ranks_are_the_definition) {
    fh_rng r;
    fh_err err = {0};
    fh_rng_init(&r, fh_test_seed(), 2);
    for (int vocab = 0; vocab < 12; vocab++) {
        fh_vocab *v = random_ranks(&r);
        fh_bpe *m = NULL;
        fh_bpe_options opt = {.bytes = true, .own_end = FH_OWN_ALL};
        fh_bpe_scratch s = {0};
        fh_ids got;
        fh_ids_init(&got, 1000);
        CHECK_OK(fh_bpe_new(&m, v, &opt, &err), err);
        for (int round = 0; round < 200; round++) {
            char text[120];
            uint32_t want[120];
            size_t len = 1 + fh_rng_below(&r, sizeof text - 1); /* both ways of merging: 40 symbols divide them */
            for (size_t i = 0; i < len; i++) text[i] = (char)('a' + fh_rng_below(&r, 4));
            size_t n = join_by_definition(v, (fh_str){text, len}, want);
            fh_ids_clear(&got);
            CHECK_OK(fh_bpe_encode(m, &s, (fh_str){text, len}, false, &got, &err), err);
            CHECK(got.len == n && memcmp(got.ptr, want, n * sizeof *want) == 0);
        }
        fh_ids_release(&got);
        fh_bpe_scratch_release(&s);
        fh_bpe_free(m);
        fh_vocab_free(v);
    }
}

/* ---- tokenizer.json ---- */

#define MODEL(options, vocab, merges) \
    "{\"model\":{\"type\":\"BPE\"," options "\"vocab\":{" vocab "},\"merges\":[" merges "]},\"added_tokens\":["
#define NO_ADDED "]}"

TEST(bpe, earlier_merges_first_and_leftmost_of_equals) {
    token_case c;
    token_case_open(
        &c, make_json(MODEL("", "\"a\":0,\"b\":1,\"aa\":2,\"ab\":3,\"aab\":4", "\"a b\",\"a a\",\"aa b\"") NO_ADDED));
    encode_into(&c, FH_STR("aaab"), false, false);
    check_ids(&c.ids, IDS(2, 3), "aaab");
    encode_into(&c, FH_STR("aaa"), false, false);
    check_ids(&c.ids, IDS(2, 0), "aaa");
    encode_into(&c, FH_STR("aab"), false, false);
    check_ids(&c.ids, IDS(0, 3), "aab");
    token_case_close(&c);
    token_case_open(&c, make_json(MODEL("\"ignore_merges\":true,", "\"a\":0,\"b\":1,\"aab\":2", "") NO_ADDED));
    encode_into(&c, FH_STR("aab"), false, false);
    check_ids(&c.ids, IDS(2), "taken whole");
    token_case_close(&c);
}

TEST(bpe, unknown_characters) {
    token_case c;
    token_case_open(&c, make_json(MODEL("\"unk_token\":\"?\",\"fuse_unk\":true,", "\"?\":0,\"a\":1", "") NO_ADDED));
    encode_into(&c, FH_STR("xyaz"), false, false);
    check_ids(&c.ids, IDS(0, 1, 0), "fused");
    token_case_close(&c);
    token_case_open(&c, make_json(MODEL("\"unk_token\":\"?\",", "\"?\":0,\"a\":1", "") NO_ADDED));
    encode_into(&c, FH_STR("xya"), false, false);
    check_ids(&c.ids, IDS(0, 0, 1), "not fused");
    token_case_close(&c);
    /* left out, and its neighbours join: as in the reference */
    token_case_open(&c, make_json(MODEL("", "\"a\":0,\"b\":1,\"ab\":2", "\"a b\"") NO_ADDED));
    encode_into(&c, FH_STR("axb"), false, false);
    check_ids(&c.ids, IDS(2), "dropped");
    token_case_close(&c);
    token_case_open(&c, make_json(MODEL("\"byte_fallback\":true,", "\"a\":0,\"<0xC3>\":1,\"<0xA9>\":2", "") NO_ADDED));
    encode_into(&c, FH_STR("a\xC3\xA9"), false, false);
    check_ids(&c.ids, IDS(0, 1, 2), "bytes");
    encode_into(&c, FH_STR("<0xC3>"), false, false); /* text is no byte token */
    CHECK_U64(c.ids.len, 0);
    token_case_close(&c);
}

TEST(bpe, prefix_and_suffix) {
    token_case c;
    token_case_open(&c, make_json(MODEL("\"continuing_subword_prefix\":\"##\",\"end_of_word_suffix\":\"</w>\",",
                                        "\"a\":0,\"##b\":1,\"##c</w>\":2,\"ab\":3,\"abc</w>\":4,\"a</w>\":5",
                                        "\"a ##b\",\"ab ##c</w>\"") NO_ADDED));
    encode_into(&c, FH_STR("abc"), false, false);
    check_ids(&c.ids, IDS(4), "abc");
    encode_into(&c, FH_STR("a"), false, false);
    check_ids(&c.ids, IDS(5), "a");
    token_case_close(&c);
}

/* ---- T23 ---- */

TEST(bpe, merges_never_spell_a_control_token) {
    token_case c;
    token_case_open(&c,
                    make_json(MODEL("\"ignore_merges\":true,", "\"<\":0,\"s\":1,\">\":2,\"<s\":3,\"<s>\":4,\"!\":5",
                                    "\"< s\",\"<s >\"") "{\"id\":4,\"content\":\"<s>\",\"special\":true}" NO_ADDED));
    encode_into(&c, FH_STR("<s>"), false, false);
    check_ids(&c.ids, IDS(3, 2), "as text");
    encode_into(&c, FH_STR("<s>"), false, true);
    check_ids(&c.ids, IDS(4), "as what it is");
    encode_into(&c, FH_STR("!<s>!"), false, false); /* the cache does not mix the two up */
    check_ids(&c.ids, IDS(5, 3, 2, 5), "as text again");
    token_case_close(&c);
}

/* ---- long pieces and hostile vocabularies ---- */

static double encode_ms(token_case *c, fh_str text) {
    uint64_t from = fh_clock_cpu_ns();
    encode_into(c, text, false, false);
    return (double)(fh_clock_cpu_ns() - from) * 1e-6;
}

/* Time per byte may not grow with the piece; sanitizers and noise are why the bound is loose. */
TEST(bpe, a_long_piece_costs_n_log_n) {
    enum { SHORT = 1 << 14, LONG = 1 << 20 };
    token_case c;
    char *text = fh_alloc(LONG, 1);
    CHECK(text);
    memset(text, 'a', LONG);
    token_case_open(&c, make_json(MODEL("", "\"a\":0,\"aa\":1,\"aaaa\":2,\"aaaaaaaa\":3",
                                        "\"a a\",\"aa aa\",\"aaaa aaaa\"") NO_ADDED));
    double one = encode_ms(&c, (fh_str){text, SHORT});
    for (int i = 0; i < 4; i++) one = FH_MIN(one, encode_ms(&c, (fh_str){text, SHORT}));
    double all = encode_ms(&c, (fh_str){text, LONG});
    CHECK_U64(c.ids.len, LONG / 8);
    if (all > 64 * 12 * (one + 0.2))
        fh_test_fail(__FILE__, __LINE__, "%.1f ms for 16 KiB, %.1f ms for 1 MiB", one, all);
    token_case_close(&c);
    fh_free(text);
}

/* Merges that lead nowhere, twice, to themselves or around in a circle are harmless: a result is always longer. */
TEST(bpe, hostile_merges) {
    token_case c;
    fh_tokenizer *t = NULL;
    fh_err err = {0};
    token_case_open(
        &c, make_json(MODEL("", "\"a\":0,\"aa\":1,\"aaa\":2", "\"a a\",\"a aa\",\"aa a\",\"a a\",\"a aa\"") NO_ADDED));
    encode_into(&c, FH_STR("aaaaaaa"), false, false);
    size_t letters = 0;
    for (size_t i = 0; i < c.ids.len; i++) letters += fh_vocab_piece(fh_tokenizer_vocab(c.t), c.ids.ptr[i]).len;
    CHECK_U64(letters, 7);
    token_case_close(&c);
    CHECK_STATUS(fh_tokenizer_from_json(&t, FH_STR(MODEL("", "\"a\":0,\"\":1", "[\"a\",\"\"]") NO_ADDED), NULL, &err),
                 FH_OK);
    fh_tokenizer_free(t);
}

/* SentencePiece: best score first; unused pieces fall apart again. */
TEST(bpe, scores) {
    static const struct {
        const char *piece;
        float score;
        fh_token_type type;
    } piece[] = {{"<unk>", 0, FH_TOKEN_UNKNOWN}, {"a", -9, FH_TOKEN_NORMAL},   {"b", -9, FH_TOKEN_NORMAL},
                 {"ab", -2, FH_TOKEN_NORMAL},    {"bb", -1, FH_TOKEN_NORMAL},  {"abb", -3, FH_TOKEN_UNUSED},
                 {"xa", -1, FH_TOKEN_NORMAL},    {"<c>", -1, FH_TOKEN_CONTROL}};
    fh_vocab *v = NULL;
    fh_bpe *m = NULL;
    fh_err err = {0};
    fh_ids got;
    fh_bpe_scratch s = {0};
    fh_bpe_options opt = {.fuse_unk = true, .own_end = FH_OWN_ALL};
    CHECK_OK(fh_vocab_new(&v, FH_VOCAB_BPE_SCORES, 1000, &err), err);
    for (uint32_t i = 0; i < FH_COUNT(piece); i++) {
        CHECK_OK(fh_vocab_put(v, i, fh_str_of(piece[i].piece), piece[i].type, 0, &err), err);
        CHECK_OK(fh_vocab_put_score(v, i, (double)piece[i].score, 0, &err), err);
    }
    CHECK_OK(fh_vocab_index(v, true, &err), err);
    v->special[FH_SPECIAL_UNK] = 0;
    CHECK_OK(fh_vocab_finish(v, &err), err);
    CHECK_OK(fh_bpe_new(&m, v, &opt, &err), err);
    fh_ids_init(&got, 100);
    static const struct {
        const char *text;
        uint32_t want[5];
    } cases[] = {{"abb", {1, 4, UINT32_MAX}},                           /* bb beats ab; abb is unused and falls apart */
                 {"ab", {3, UINT32_MAX}},     {"xa", {6, UINT32_MAX}},  /* x is no piece, but xa is */
                 {"xb", {0, 2, UINT32_MAX}},  {"xyx", {0, UINT32_MAX}}, /* a run of unknown characters is one token */
                 {"<c>", {0, UINT32_MAX}}};
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        fh_ids_clear(&got);
        CHECK_OK(fh_bpe_encode(m, &s, fh_str_of(cases[i].text), false, &got, &err), err);
        check_ids(&got, cases[i].want, cases[i].text);
    }
    fh_ids_release(&got);
    fh_bpe_scratch_release(&s);
    fh_bpe_free(m);
    fh_vocab_free(v);
}
