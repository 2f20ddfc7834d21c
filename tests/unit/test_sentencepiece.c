/* tests/unit/test_sentencepiece.c - SentencePiece models built byte by byte, published ones,
 * hostile ones.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "format/sentencepiece.h"
#include "reader_loop.h"
#include "vocab_walk.h"

/* ---- writing protocol buffers ---- */

static void put_varint(fh_buf *b, uint64_t v) {
    for (; v >= 0x80; v >>= 7) fh_buf_add_byte(b, (uint8_t)(v | 0x80));
    fh_buf_add_byte(b, (uint8_t)v);
}

static void put_number(fh_buf *b, uint32_t field, uint64_t v) {
    put_varint(b, field << 3);
    put_varint(b, v);
}

static void put_bytes(fh_buf *b, uint32_t field, fh_str s) {
    put_varint(b, field << 3 | 2);
    put_varint(b, s.len);
    fh_buf_add_str(b, s);
}

static void put_float(fh_buf *b, uint32_t field, float f) {
    put_varint(b, field << 3 | 5);
    fh_buf_add(b, &f, sizeof f);
}

/* type 0: none written, which means normal */
static void put_piece(fh_buf *b, fh_str piece, float score, uint64_t type) {
    fh_buf m;
    fh_buf_init(&m, 1 << 17);
    put_bytes(&m, 1, piece);
    put_float(&m, 2, score);
    if (type) put_number(&m, 3, type);
    put_bytes(b, 1, fh_buf_str(&m));
    fh_buf_release(&m);
}

static void put_normalizer(fh_buf *b, fh_str charsmap, bool prefix) {
    fh_buf m;
    fh_buf_init(&m, 1 << 17);
    put_bytes(&m, 1, FH_STR("rule"));
    put_bytes(&m, 2, charsmap);
    put_number(&m, 3, prefix);
    put_number(&m, 4, 0);
    put_bytes(b, 3, fh_buf_str(&m));
    fh_buf_release(&m);
}

static void put_trainer(fh_buf *b, uint64_t model, bool bytes) {
    fh_buf m;
    fh_buf_init(&m, 1 << 17);
    put_number(&m, 3, model);
    put_number(&m, 24, 1);
    put_number(&m, 35, bytes);
    put_bytes(&m, 44, FH_STR("??"));
    put_bytes(&m, 46, FH_STR("<bos>"));
    put_bytes(b, 2, fh_buf_str(&m));
    fh_buf_release(&m);
}

static fh_str charsmap(void) { return (fh_str){"\4\0\0\0\1\2\3\4x\0", 10}; }

static void small_model(fh_buf *b) {
    fh_buf_init(b, 1 << 20);
    put_piece(b, FH_STR("<u>"), 0, FH_TOKEN_UNKNOWN);
    put_piece(b, FH_STR("<bos>"), 0, FH_TOKEN_CONTROL);
    put_piece(b,
              FH_STR("\xE2\x96\x81"
                     "a"),
              -1.5f, 0);
    put_piece(b, FH_STR("<x>"), 0, FH_TOKEN_USER_DEFINED);
    put_piece(b, FH_STR("b"), -2, FH_TOKEN_UNUSED);
    put_trainer(b, 1, false);
    put_normalizer(b, charsmap(), false);
    put_bytes(b, 4, FH_STR("self test data"));
    put_number(b, 900, UINT64_MAX); /* unknown: varint */
    put_float(b, 901, 1);           /* unknown: 32 bits */
    put_varint(b, 902 << 3 | 1);    /* unknown: 64 bits */
    fh_buf_add_u64le(b, 7);
}

static fh_status read_and_walk(fh_str text, fh_err *err) {
    fh_vocab *v = NULL;
    fh_status s = fh_sentencepiece_parse(&v, fh_bytes_of(text), err);
    if (s != FH_OK) {
        CHECK(!v);
        return s;
    }
    CHECK(v->n_id == v->n_token && v->score);
    walk_vocab(v);
    fh_vocab_free(v);
    return FH_OK;
}

TEST(sentencepiece, reads_unigram) {
    fh_buf b;
    fh_vocab *v = NULL;
    fh_err err = {0};
    small_model(&b);
    CHECK_OK(fh_sentencepiece_parse(&v, fh_bytes_of(fh_buf_str(&b)), &err), err);
    fh_buf_release(&b); /* the vocabulary owns all it says */
    CHECK(v->kind == FH_VOCAB_UNIGRAM && v->n_id == 5 && !v->raw_bytes && !v->byte_fallback);
    CHECK_STR(fh_vocab_piece(v, 2), "\xE2\x96\x81"
                                    "a");
    CHECK(v->score[2] == -1.5 && fh_vocab_type(v, 2) == FH_TOKEN_NORMAL);
    CHECK(v->special[FH_SPECIAL_UNK] == 0 && v->special[FH_SPECIAL_BOS] == 1);
    CHECK(v->special[FH_SPECIAL_EOS] == FH_VOCAB_NO_ID);
    CHECK(v->space_as_suffix == FH_TRI_YES && v->add_space_prefix == FH_TRI_NO);
    CHECK(v->remove_extra_spaces == FH_TRI_NO && v->escape_spaces == FH_TRI_YES);
    CHECK_STR(v->normalizer, "rule");
    CHECK_STR(v->unk_surface, "??");
    CHECK(fh_str_eq(fh_str_of_bytes(v->charsmap), charsmap()));
    CHECK_U64(v->n_added, 3);
    CHECK(v->added[0].id == 0 && v->added[0].flags == FH_ADDED_SPECIAL);
    CHECK(v->added[2].id == 3 && v->added[2].flags == 0);
    fh_vocab_free(v);
}

/* All 256 byte pieces from `from` on; every piece of a BPE model. */
static void byte_model(fh_buf *b, unsigned from, const char *extra, uint64_t extra_type) {
    fh_buf_init(b, 1 << 20);
    put_piece(b, FH_STR("<unk>"), 0, FH_TOKEN_UNKNOWN);
    for (unsigned i = from; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        put_piece(b, fh_str_of(name), 0, FH_TOKEN_BYTE);
    }
    if (extra) put_piece(b, fh_str_of(extra), 0, extra_type);
    put_trainer(b, 2, true);
}

TEST(sentencepiece, reads_byte_fallback) {
    fh_buf b;
    fh_vocab *v = NULL;
    fh_err err = {0};
    byte_model(&b, 0, NULL, 0);
    CHECK_OK(fh_sentencepiece_parse(&v, fh_bytes_of(fh_buf_str(&b)), &err), err);
    CHECK(v->kind == FH_VOCAB_BPE_SCORES && v->byte_fallback);
    for (uint32_t i = 0; i < 256; i++) CHECK_U64(v->byte_id[i], i + 1);
    fh_vocab_free(v);
    fh_buf_release(&b);
}

/* ---- the numbers of XLM-R ---- */

static void xlmr_model(fh_buf *b, uint64_t third) {
    fh_buf_init(b, 1 << 12);
    put_piece(b, FH_STR("<unk>"), 0, FH_TOKEN_UNKNOWN);
    put_piece(b, FH_STR("<s>"), 0, FH_TOKEN_CONTROL);
    put_piece(b, FH_STR("</s>"), 0, third);
    put_piece(b, FH_STR(","), -1, 0);
    put_piece(b, FH_STR("x"), -2, 0);
    put_trainer(b, 1, false);
}

static fh_status read_xlmr(fh_str text, fh_err *err) {
    fh_vocab *v = NULL;
    fh_status s = fh_sentencepiece_parse_xlmr(&v, fh_bytes_of(text), err);
    if (s != FH_OK) {
        CHECK(!v);
        return s;
    }
    walk_vocab(v);
    fh_vocab_free(v);
    return FH_OK;
}

TEST(sentencepiece, numbers_of_xlmr) {
    static const char *const piece[] = {"<s>", "<pad>", "</s>", "<unk>", ",", "x", "<mask>"};
    fh_buf b;
    fh_vocab *v = NULL;
    fh_err err = {0};
    xlmr_model(&b, FH_TOKEN_CONTROL);
    CHECK_OK(fh_sentencepiece_parse_xlmr(&v, fh_bytes_of(fh_buf_str(&b)), &err), err);
    CHECK_U64(v->n_id, FH_COUNT(piece));
    for (uint32_t i = 0; i < v->n_id; i++) {
        CHECK_STR(fh_vocab_piece(v, i), piece[i]);
        CHECK((fh_vocab_type(v, i) == FH_TOKEN_NORMAL) == (i == 4 || i == 5));
    }
    CHECK(v->score[4] == -1 && v->score[5] == -2);
    CHECK(v->special[FH_SPECIAL_BOS] == 0 && v->special[FH_SPECIAL_CLS] == 0 && v->special[FH_SPECIAL_PAD] == 1);
    CHECK(v->special[FH_SPECIAL_EOS] == 2 && v->special[FH_SPECIAL_SEP] == 2 && v->special[FH_SPECIAL_UNK] == 3);
    CHECK(v->special[FH_SPECIAL_MASK] == 6 && v->n_added == 5);
    fh_vocab_free(v);
    fail_every_allocation(read_xlmr, fh_buf_str(&b), 8);
    cut_everywhere(read_xlmr, fh_buf_str(&b), 1, true);
    change_everywhere(read_xlmr, fh_buf_str(&b), 1);
    fh_buf_release(&b);
    xlmr_model(&b, 0);
    CHECK_STATUS(read_xlmr(fh_buf_str(&b), &err), FH_ERR_FORMAT);
    CHECK(strstr(err.message, "starts with <unk>, <s> and </s>"));
    fh_buf_release(&b);
}

/* One model with one thing wrong; takes b. */
static void refused(fh_buf *b, fh_status want, const char *message) {
    fh_err err = {0};
    fh_status s = read_within_bound(read_and_walk, fh_buf_str(b), &err);
    if (s != want || !strstr(err.message, message))
        fh_test_fail(__FILE__, __LINE__, "%s '%s', expected %s '%s'", fh_status_name(s), err.message,
                     fh_status_name(want), message);
    fh_buf_release(b);
}

TEST(sentencepiece, refuses_wrong_pieces) {
    fh_buf b;
    fh_buf_init(&b, 100);
    refused(&b, FH_ERR_FORMAT, "no pieces");
    small_model(&b);
    put_piece(&b, FH_STR(""), 0, 0);
    refused(&b, FH_ERR_FORMAT, "piece 5 is empty");
    small_model(&b);
    put_piece(&b, FH_STR("b"), 0, 0);
    refused(&b, FH_ERR_FORMAT, "'b' has two ids, 4 and 5");
    small_model(&b);
    put_piece(&b, FH_STR("c"), 0, 7);
    refused(&b, FH_ERR_FORMAT, "piece 5 'c' has the type 7");
    small_model(&b);
    put_piece(&b, FH_STR("c"), 0, UINT64_MAX);
    refused(&b, FH_ERR_FORMAT, "which is none");
    small_model(&b);
    put_piece(&b, FH_STR("c"), (float)1e300, 0); /* infinite as a float */
    refused(&b, FH_ERR_FORMAT, "not finite");
    small_model(&b);
    put_piece(&b, FH_STR("c"), 0, FH_TOKEN_UNKNOWN);
    refused(&b, FH_ERR_FORMAT, "2 unknown pieces");
    fh_buf_init(&b, 1 << 20);
    put_piece(&b, FH_STR("c"), 0, 0);
    refused(&b, FH_ERR_FORMAT, "0 unknown pieces");
    small_model(&b);
    put_trainer(&b, 3, false);
    refused(&b, FH_ERR_UNSUPPORTED, "model_type 3");
    small_model(&b);
    put_piece(&b, FH_STR("<0x00>"), 0, FH_TOKEN_BYTE);
    refused(&b, FH_ERR_FORMAT, "byte_fallback is off");
    byte_model(&b, 1, NULL, 0);
    refused(&b, FH_ERR_FORMAT, "'<0x00>' is missing");
    byte_model(&b, 0, "<0x-1>", FH_TOKEN_BYTE);
    refused(&b, FH_ERR_FORMAT, "'<0x-1>' is not");
    byte_model(&b, 0, "<0xaa>", FH_TOKEN_BYTE);
    refused(&b, FH_ERR_FORMAT, "byte 0xAA has two tokens");
    byte_model(&b, 1, "<0x00>", FH_TOKEN_NORMAL);
    refused(&b, FH_ERR_FORMAT, "'<0x00>' is missing");
}

TEST(sentencepiece, refuses_wrong_charsmaps) {
    static const struct {
        const char *bytes;
        size_t len;
    } maps[] = {{"\4\0\0\0\1\2\3\4x", 9}, {"\5\0\0\0\1\2\3\4\5", 9}, {"\xFC\xFF\xFF\xFF\1\2\3\4", 8}, {"\4", 1},
                {"\0\0\0\0\0\0\0\0", 8},  {"\10\0\0\0\1\2\3\4", 8}};
    for (size_t i = 0; i < FH_COUNT(maps); i++) {
        fh_buf b;
        small_model(&b);
        put_normalizer(&b, (fh_str){maps[i].bytes, maps[i].len}, true);
        refused(&b, FH_ERR_FORMAT, "precompiled_charsmap");
    }
}

/* The wire format itself: raw bytes behind a good model. */
TEST(sentencepiece, refuses_broken_fields) {
    static const struct {
        const char *bytes;
        size_t len;
        const char *message;
    } tails[] = {
        {"\x0A", 1, "ends inside a field"},
        {"\x0A\x7F", 2, "ends inside a field"},
        {"\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11, "ends inside a field"},
        {"\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 12, "over ten bytes"},
        {"\x00", 1, "field numbered 0"},
        {"\xFF\xFF\xFF\xFF\xFF\x7F", 6, "field numbered"},
        {"\x0B\x0C", 2, "wire type 3"},
        {"\x0C", 1, "wire type 4"},
        {"\x0E", 1, "wire type 6"},
        {"\x0F", 1, "wire type 7"},
        {"\x08\x01", 2, "expected 2"},                  /* pieces as a varint */
        {"\x10\x01", 2, "expected 2"},                  /* trainer_spec as a varint */
        {"\x18\x01", 2, "expected 2"},                  /* normalizer_spec as a varint */
        {"\x0A\x02\x08\x01", 4, "expected 2"},          /* piece text as a varint */
        {"\x0A\x05\x0A\x01y\x10\x01", 7, "expected 5"}, /* score as a varint */
        {"\x0A\x02\x1A\x00", 4, "expected 0"},          /* type as bytes */
        {"\x12\x03\xE8\x02\x01", 5, "expected 2"},      /* unk_piece as a varint */
        {"\x12\x02\x1A\x00", 4, "expected 0"},          /* model_type as bytes */
        {"\x1A\x02\x10\x01", 4, "expected 2"},          /* charsmap as a varint */
        {"\x1A\x02\x1A\x00", 4, "expected 0"},          /* add_dummy_prefix as bytes */
        {"\x3D\x01\x02\x03", 4, "ends inside a field"},
        {"\x39\x01\x02\x03\x04\x05\x06\x07", 8, "ends inside a field"},
        {"\x38\x80", 2, "ends inside a field"},
    };
    for (size_t i = 0; i < FH_COUNT(tails); i++) {
        fh_buf b;
        small_model(&b);
        size_t at = b.len;
        fh_err err = {0};
        fh_buf_add(&b, tails[i].bytes, tails[i].len);
        CHECK_STATUS(read_and_walk(fh_buf_str(&b), &err), FH_ERR_FORMAT);
        if (err.offset < at || err.offset > b.len)
            fh_test_fail(__FILE__, __LINE__, "%zu: byte %llu, expected %zu to %zu", i, (unsigned long long)err.offset,
                         at, b.len);
        refused(&b, FH_ERR_FORMAT, tails[i].message);
    }
}

TEST(sentencepiece, survives_lack_of_memory) {
    fh_buf b;
    small_model(&b);
    fail_every_allocation(read_and_walk, fh_buf_str(&b), 8);
    fh_buf_release(&b);
}

TEST(sentencepiece, survives_damage) {
    fh_buf b;
    small_model(&b);
    cut_everywhere(read_and_walk, fh_buf_str(&b), 1, true);
    change_everywhere(read_and_walk, fh_buf_str(&b), 1);
    fh_buf_release(&b);
}

/* A million of the shortest pieces, and as many empty ones. */
TEST(sentencepiece, dense_files_stay_in_bounds) {
    fh_buf b;
    fh_err err = {0};
    fh_buf_init(&b, 64u << 20);
    put_piece(&b, FH_STR("<unk>"), 0, FH_TOKEN_UNKNOWN);
    for (uint32_t i = 1; i < 1u << 20; i++) {
        uint8_t m[8] = {0x0A, 5, 0x0A, 3, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        fh_buf_add(&b, m, 7);
    }
    CHECK_OK(fh_buf_check(&b, &err), err);
    CHECK_OK(read_within_bound(read_and_walk, fh_buf_str(&b), &err), err);
    fh_buf_add(&b, "\x0A\5\x0A\3zzz", 7);
    refused(&b, FH_ERR_LIMIT, "more than 1048576 pieces");
    fh_buf_init(&b, 64u << 20);
    for (int i = 0; i < 1 << 20; i++) fh_buf_add(&b, "\x0A\0", 2);
    refused(&b, FH_ERR_FORMAT, "is empty");
}

static void published(const char *name, uint32_t n, fh_vocab_kind kind, uint32_t unk, uint32_t bos) {
    fh_buf b;
    fh_vocab *v = NULL;
    fh_err err = {0};
    CHECK(load_file(&b, fh_test_shared(), name));
    CHECK_OK(read_within_bound(read_and_walk, fh_buf_str(&b), &err), err);
    CHECK_OK(fh_sentencepiece_parse(&v, fh_bytes_of(fh_buf_str(&b)), &err), err);
    CHECK_U64(v->n_id, n);
    CHECK(v->kind == kind && v->special[FH_SPECIAL_UNK] == unk && v->special[FH_SPECIAL_BOS] == bos);
    fh_vocab_free(v);
    cut_everywhere(read_and_walk, fh_buf_str(&b), b.len / 150, true);
    fh_buf_release(&b);
}

/* Sizes and ids as SentencePiece itself gives them. */
TEST_GOLDEN(sentencepiece, reads_published_models) {
    published("tokenizers/spm-bpe-gemma.model", 1200, FH_VOCAB_BPE_SCORES, 0, 1);
    published("tokenizers/spm-bpe-llama.model", 1200, FH_VOCAB_BPE_SCORES, 0, 1);
    published("tokenizers/spm-unigram-identity.model", 1200, FH_VOCAB_UNIGRAM, 0, 1);
    published("tokenizers/spm-unigram-nmt.model", 1200, FH_VOCAB_UNIGRAM, 0, 1);
    published("models/t5/spiece.model", 316, FH_VOCAB_UNIGRAM, 2, FH_VOCAB_NO_ID);
}
