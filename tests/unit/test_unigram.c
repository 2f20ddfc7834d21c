/* tests/unit/test_unigram.c - Viterbi against all ways to cut a text, and WordPiece.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "text/unigram.h"
#include "tokenizer_maker.h"

typedef struct best_cut {
    const fh_vocab *v;
    fh_str text;
    double score;
} best_cut;

/* The best sum over all cuts of text from at on; unknown characters cost as much as the model says. */
static void try_cuts(best_cut *b, size_t at, double sum, double unknown) {
    if (at == b->text.len && sum > b->score) b->score = sum;
    for (size_t end = at + 1; end <= b->text.len; end++) {
        uint32_t id;
        fh_str part = {b->text.ptr + at, end - at};
        bool found = fh_vocab_find(b->v, part, &id) && fh_vocab_type(b->v, id) == FH_TOKEN_NORMAL;
        if (found) try_cuts(b, end, sum + b->v->score[id], unknown);
        else if (end == at + 1) try_cuts(b, end, sum + unknown, unknown);
    }
}

static fh_vocab *random_pieces(fh_rng *r, double *lowest) {
    fh_vocab *v = NULL;
    fh_err err = {0};
    char used[80][6];
    uint32_t id = 1;
    *lowest = 0;
    CHECK_OK(fh_vocab_new(&v, FH_VOCAB_UNIGRAM, 4000, &err), err);
    CHECK_OK(fh_vocab_put(v, 0, FH_STR("<unk>"), FH_TOKEN_UNKNOWN, 0, &err), err);
    CHECK_OK(fh_vocab_put_score(v, 0, 0, 0, &err), err);
    for (int tries = 0; tries < 60; tries++) {
        char text[6] = {0};
        size_t len = 1 + fh_rng_below(r, 4);
        for (size_t k = 0; k < len; k++) text[k] = (char)('a' + fh_rng_below(r, 3));
        bool again = false;
        for (uint32_t i = 1; i < id; i++) again = again || strcmp(used[i], text) == 0;
        if (again) continue;
        memcpy(used[id], text, sizeof text);
        double score = -1 - 10 * fh_rng_f64(r);
        *lowest = FH_MIN(*lowest, score);
        CHECK_OK(fh_vocab_put(v, id, fh_str_of(text), FH_TOKEN_NORMAL, 0, &err), err);
        CHECK_OK(fh_vocab_put_score(v, id++, score, 0, &err), err);
    }
    CHECK_OK(fh_vocab_index(v, true, &err), err);
    v->special[FH_SPECIAL_UNK] = 0;
    CHECK_OK(fh_vocab_finish(v, &err), err);
    return v;
}

TEST(unigram, is_the_best_of_all_cuts) {
    fh_rng r;
    fh_err err = {0};
    fh_rng_init(&r, fh_test_seed(), 3);
    for (int vocab = 0; vocab < 20; vocab++) {
        double lowest;
        fh_vocab *v = random_pieces(&r, &lowest);
        fh_unigram *m = NULL;
        fh_unigram_options opt = {.own_end = FH_OWN_ALL};
        fh_unigram_scratch s = {0};
        fh_ids got;
        fh_ids_init(&got, 100);
        CHECK_OK(fh_unigram_new(&m, v, &opt, &err), err);
        for (int round = 0; round < 60; round++) {
            char text[12];
            size_t len = 1 + fh_rng_below(&r, sizeof text - 1), covered = 0;
            for (size_t i = 0; i < len; i++) text[i] = (char)('a' + fh_rng_below(&r, 3));
            best_cut b = {v, {text, len}, -1e9};
            try_cuts(&b, 0, 0, lowest - 10);
            fh_ids_clear(&got);
            CHECK_OK(fh_unigram_encode(m, &s, b.text, false, &got, &err), err);
            double sum = 0;
            bool unknown = false;
            for (size_t i = 0; i < got.len; i++) {
                unknown = unknown || got.ptr[i] == 0;
                sum += v->score[got.ptr[i]];
                covered += fh_vocab_piece(v, got.ptr[i]).len;
            }
            if (unknown) continue; /* a run of unknown characters is one token: its length is not in the ids */
            CHECK_U64(covered, len);
            CHECK(sum > b.score - 1e-9 && sum < b.score + 1e-9);
        }
        fh_ids_release(&got);
        fh_unigram_scratch_release(&s);
        fh_unigram_free(m);
        fh_vocab_free(v);
    }
}

#define UNIGRAM(options, vocab) "{\"model\":{\"type\":\"Unigram\"," options "\"vocab\":[" vocab "]},\"added_tokens\":["

TEST(unigram, unknown_runs_and_bytes) {
    token_case c;
    token_case_open(&c, make_json(UNIGRAM("\"unk_id\":0,", "[\"?\",0],[\"a\",-1]") "]}"));
    encode_into(&c, FH_STR("xyzaxy"), false, false);
    check_ids(&c.ids, IDS(0, 1, 0), "runs");
    token_case_close(&c);
    token_case_open(&c, make_json(UNIGRAM("\"unk_id\":0,\"byte_fallback\":true,",
                                          "[\"?\",0],[\"a\",-1],[\"<0xC3>\",-5],[\"<0xA9>\",-5]") "]}"));
    encode_into(&c, FH_STR("a\xC3\xA9"), false, false);
    check_ids(&c.ids, IDS(1, 2, 3), "bytes");
    token_case_close(&c);
}

/* T23: a control piece is in the vocabulary with the best score of all, and text does not reach it. */
TEST(unigram, control_pieces_are_not_text) {
    token_case c;
    token_case_open(
        &c, make_json(UNIGRAM("\"unk_id\":0,",
                              "[\"?\",0],[\"<\",-1],[\"s\",-1],[\">\",-1],[\"<s>\",0]") "{\"id\":4,\"content\":\"<s>\","
                                                                                        "\"special\":true}]}"));
    encode_into(&c, FH_STR("<s>"), false, false);
    check_ids(&c.ids, IDS(1, 2, 3), "as text");
    encode_into(&c, FH_STR("<s>"), false, true);
    check_ids(&c.ids, IDS(4), "as what it is");
    token_case_close(&c);
}

#define WORDPIECE(options, vocab) \
    "{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\"," \
    "\"cleanup\":true}," \
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\"," options "\"vocab\":{" vocab "}}," \
    "\"added_tokens\":[{\"id\":0,\"content\":\"[UNK]\",\"special\":true},{\"id\":1,\"content\":\"[SEP]\",\"special\":" \
    "true}]}"

TEST(unigram, wordpiece) {
    token_case c;
    token_case_open(&c, make_json(WORDPIECE(
                            "\"max_input_chars_per_word\":8,",
                            "\"[UNK]\":0,\"[SEP]\":1,\"un\":2,\"##aff\":3,\"##able\":4,\"##a\":5,\"aff\":6,\".\":7")));
    encode_into(&c, FH_STR("unaffable"), false, false); /* nine letters */
    check_ids(&c.ids, IDS(0), "too long");
    encode_into(&c, FH_STR("unaffa aff unx [SEP]"), false, false);
    check_ids(&c.ids, IDS(2, 3, 5, 6, 0, 0), "words");
    encode_into(&c, FH_STR("[SEP] aff"), false, true);
    check_ids(&c.ids, IDS(1, 6), "special");
    encode_into(&c, FH_STR("unaff aff ."), false, false);
    CHECK_STR(decode_all(&c), "unaff aff.");
    token_case_close(&c);
}
