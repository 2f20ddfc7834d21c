/* tests/unit/test_tokenizer_promises.c - what holds for every tokenizer, on random and hostile text.
 * SPDX-License-Identifier: Apache-2.0
 * The ids themselves are compared with the reference by tests/golden/check.py; here are the promises: T23 (text never
 * becomes a control token), byte-level round trips, incremental = whole, no failure half done. --times N makes the
 * random tests N times as long. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/num.h"
#include "base/rng.h"
#include "library/open_tokenizer.h"
#include "text/split.h"
#include "test.h"
#include "text/unicode.h"

#define LIMIT ((size_t)64 << 20)

static const char *const names[] = {
    "llama3.tokenizer.json",       "qwen35.tokenizer.json",      "o200k.tokenizer.json",
    "kimi.tokenizer.json",         "deepseek-v3.tokenizer.json", "gemma4.tokenizer.json",
    "bert-uncased.tokenizer.json", "added-flags.tokenizer.json", "spm-bpe-llama.model",
    "spm-unigram-identity.model",
};
/* Those that keep every byte of the text: byte-level, without a normalizer or (qwen35) with NFC alone. */
static const char *const byte_level[] = {"llama3.tokenizer.json", "qwen35.tokenizer.json", "o200k.tokenizer.json",
                                         "kimi.tokenizer.json", "deepseek-v3.tokenizer.json"};

typedef struct rig {
    fh_tokenizer *t;
    fh_tokenizer_scratch *s;
    fh_ids ids;
    fh_buf text, back;
    fh_rng rng;
    fh_err err;
} rig;

static void path_of(char path[512], const char *name) {
    snprintf(path, 512, "%s/tokenizers/%s", fh_test_golden(), name);
}

static void rig_open(rig *r, const char *name) {
    char path[512];
    path_of(path, name);
    memset(r, 0, sizeof *r);
    CHECK_OK(fh_tokenizer_open(&r->t, path, (fh_str){"", 0}, &r->err), r->err);
    CHECK_OK(fh_tokenizer_scratch_new(&r->s, r->t, &r->err), r->err);
    fh_ids_init(&r->ids, LIMIT);
    fh_buf_init(&r->text, LIMIT);
    fh_buf_init(&r->back, LIMIT);
    fh_rng_init(&r->rng, fh_test_seed(), 7);
}

static void rig_close(rig *r) {
    fh_buf_release(&r->back);
    fh_buf_release(&r->text);
    fh_ids_release(&r->ids);
    fh_tokenizer_scratch_free(r->s);
    fh_tokenizer_free(r->t);
}

static void encode(rig *r, bool parse_special) {
    const fh_encode_options opt = {.add_special = false, .parse_special = parse_special};
    fh_ids_clear(&r->ids);
    CHECK_OK(fh_tokenizer_encode(r->t, r->s, fh_buf_str(&r->text), &opt, &r->ids, &r->err), r->err);
    CHECK_OK(fh_ids_check(&r->ids, &r->err), r->err);
}

static void decode(rig *r) {
    fh_buf_clear(&r->back);
    CHECK_OK(fh_tokenizer_decode(r->t, r->ids.ptr, r->ids.len, false, &r->back, &r->err), r->err);
}

/* A code point of a kind that matters to tokenizers: ASCII, blanks, digits, marks, CJK, emoji, anything. */
static uint32_t random_cp(fh_rng *rng) {
    static const char ascii[] = "aAbBzZ'sStTmM019 .,!?-_/\\\"<>|[](){}#$%&*+=@^`~:;";
    static const uint32_t odd[] = {' ',    '\n',   '\r',   '\t',   0xa0,     0x2003,  0x3000, 0x301,
                                   0x300,  0x660,  0x966,  0x4e00, 0x3042,   0x30a2,  0xac00, 0x5d0,
                                   0x627,  0xdf,   0x130,  0x17f,  0x212a,   0x1f600, 0x200d, 0xfe0f,
                                   0x2581, 0xfb01, 0xe000, 0xfffd, 0x10ffff, 0x0,     0x7f,   0x85};
    switch (fh_rng_below(rng, 4)) {
    case 0: return (uint32_t)(unsigned char)ascii[fh_rng_below(rng, sizeof ascii - 1)];
    case 1: return odd[fh_rng_below(rng, FH_COUNT(odd))];
    case 2: return (uint32_t)('a' + fh_rng_below(rng, 26));
    default: {
        uint32_t cp = (uint32_t)fh_rng_below(rng, fh_rng_below(rng, 4) ? 0x3000 : 0x110000);
        return cp >= 0xd800 && cp < 0xe000 ? 'x' : cp;
    }
    }
}

static void add_random(rig *r, size_t n) {
    char utf8[4];
    for (size_t i = 0; i < n; i++) fh_buf_add(&r->text, utf8, fh_utf8_put(random_cp(&r->rng), utf8));
}

/* T23: the spelling of every special token, whole, cut, doubled and between random text. */
TEST(tokenizer_promises, t23_text_never_becomes_a_control_token) {
    for (size_t k = 0; k < FH_COUNT(names); k++) {
        rig r;
        rig_open(&r, names[k]);
        const fh_vocab *v = fh_tokenizer_vocab(r.t);
        uint32_t unk = fh_tokenizer_special(r.t, FH_SPECIAL_UNK); /* what unknown text rightly becomes */
        size_t n_control = 0, tries = 100 * fh_test_times();
        for (uint32_t id = 0; id < v->n_id; id++) {
            fh_str piece = fh_vocab_piece(v, id);
            size_t one;
            if (!fh_tokenizer_is_control(r.t, id) || piece.len == 0) continue;
            fh_utf8_next(piece, 0, &one);
            if (one == piece.len) continue; /* the stated exception */
            n_control++;
            for (size_t i = 0; i < tries; i++) {
                fh_buf_clear(&r.text);
                add_random(&r, fh_rng_below(&r.rng, 4));
                size_t cut = fh_rng_below(&r.rng, 3) ? piece.len : fh_rng_below(&r.rng, piece.len);
                fh_buf_add(&r.text, piece.ptr, cut);
                if (fh_rng_below(&r.rng, 2)) fh_buf_add_str(&r.text, piece);
                fh_buf_add(&r.text, piece.ptr + cut, piece.len - cut);
                add_random(&r, fh_rng_below(&r.rng, 3));
                encode(&r, false);
                for (size_t j = 0; j < r.ids.len; j++)
                    if (fh_tokenizer_is_control(r.t, r.ids.ptr[j]) && r.ids.ptr[j] != unk)
                        fh_test_fail(__FILE__, __LINE__, "%s: text spelling '%.*s' gives control token %u", names[k],
                                     FH_STR_ARG(piece), r.ids.ptr[j]);
            }
        }
        CHECK(n_control > 0);
        rig_close(&r);
    }
}

TEST(tokenizer_promises, byte_level_round_trip) {
    for (size_t k = 0; k < FH_COUNT(byte_level); k++) {
        rig r;
        rig_open(&r, byte_level[k]);
        fh_buf want;
        fh_buf_init(&want, LIMIT);
        bool nfc = strncmp(byte_level[k], "qwen", 4) == 0;
        for (size_t i = 0; i < 4000 * fh_test_times(); i++) {
            fh_buf_clear(&r.text);
            fh_buf_clear(&want);
            add_random(&r, 1 + fh_rng_below(&r.rng, 40));
            if (nfc) CHECK_OK(fh_unicode_normalize(&want, fh_buf_str(&r.text), FH_NFC, &r.err), r.err);
            else fh_buf_add_str(&want, fh_buf_str(&r.text));
            encode(&r, false);
            decode(&r);
            if (!fh_str_eq(fh_buf_str(&r.back), fh_buf_str(&want)))
                fh_test_fail(__FILE__, __LINE__, "%s: '%.*s' comes back as '%.*s'", byte_level[k],
                             FH_STR_ARG(fh_buf_str(&want)), FH_STR_ARG(fh_buf_str(&r.back)));
        }
        fh_buf_release(&want);
        rig_close(&r);
    }
}

static void stream(rig *r, fh_buf *out, bool *half) {
    fh_detok *d;
    CHECK_OK(fh_detok_new(&d, r->t, false, &r->err), r->err);
    size_t sent = 0;
    for (size_t j = 0; j < r->ids.len; j++) {
        CHECK_OK(fh_detok_push(d, r->ids.ptr[j], out, &r->err), r->err);
        if (!fh_utf8_valid(fh_str_drop(fh_buf_str(out), sent))) *half = true;
        sent = out->len;
    }
    CHECK_OK(fh_detok_finish(d, out, &r->err), r->err);
    fh_detok_free(d);
}

/* Ids need not come from a text: a model may write any sequence. */
TEST(tokenizer_promises, incremental_is_whole_and_never_half_a_character) {
    for (size_t k = 0; k < FH_COUNT(names); k++) {
        rig r;
        rig_open(&r, names[k]);
        fh_buf out;
        fh_buf_init(&out, LIMIT);
        const fh_vocab *v = fh_tokenizer_vocab(r.t);
        for (size_t i = 0; i < 1000 * fh_test_times(); i++) {
            fh_buf_clear(&r.text);
            fh_buf_clear(&out);
            add_random(&r, fh_rng_below(&r.rng, 30));
            encode(&r, true);
            if (i % 2) {
                fh_ids_clear(&r.ids);
                size_t n = fh_rng_below(&r.rng, 20);
                for (size_t j = 0; j < n; j++) fh_ids_add(&r.ids, (uint32_t)fh_rng_below(&r.rng, v->n_id));
            }
            bool half = false;
            stream(&r, &out, &half);
            decode(&r);
            CHECK(fh_str_eq(fh_buf_str(&out), fh_buf_str(&r.back)));
            CHECK(!half);
        }
        fh_buf_release(&out);
        rig_close(&r);
    }
}

/* Words of every length around those that the cache takes, in one text and each alone at the end of its own, the
 * cache empty and full: where a word stands in memory and what was met before make no difference. */
TEST(tokenizer_promises, words_together_are_words_alone) {
    for (size_t k = 0; k < FH_COUNT(byte_level); k++) {
        rig r;
        rig_open(&r, byte_level[k]);
        fh_ids alone;
        fh_ids_init(&alone, LIMIT);
        fh_buf whole;
        fh_buf_init(&whole, LIMIT);
        for (size_t i = 0; i < 1200; i++) {
            size_t n = i % 3 ? 1 + fh_rng_below(&r.rng, 19) : 1 + fh_rng_below(&r.rng, 70);
            uint64_t kinds = i % 5 ? 3 : 26; /* few letters: words come again */
            fh_buf_clear(&r.text);
            fh_buf_add_byte(&r.text, ' ');
            while (n-- > 0) fh_buf_add_byte(&r.text, (uint8_t)('a' + fh_rng_below(&r.rng, kinds)));
            fh_buf_add_str(&whole, fh_buf_str(&r.text));
            encode(&r, false);
            fh_ids_add_all(&alone, r.ids.ptr, r.ids.len);
        }
        for (int again = 0; again < 3; again++) {
            if (again == 1) { /* an empty cache */
                fh_tokenizer_scratch_free(r.s);
                CHECK_OK(fh_tokenizer_scratch_new(&r.s, r.t, &r.err), r.err);
            }
            fh_buf_clear(&r.text);
            fh_buf_add_str(&r.text, fh_buf_str(&whole));
            encode(&r, false);
            CHECK_U64(r.ids.len, alone.len);
            CHECK(memcmp(r.ids.ptr, alone.ptr, alone.len * sizeof *alone.ptr) == 0);
        }
        fh_buf_release(&whole);
        fh_ids_release(&alone);
        rig_close(&r);
    }
}

/* By a scanner, by PCRE2 and by a plain string, whatever the length of a row. */
TEST(tokenizer_promises, cuts_in_rows_are_cuts_one_by_one) {
    static const char pattern[] = "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s*[\\r\\n]+";
    fh_split *s[3] = {NULL};
    rig r;
    rig_open(&r, byte_level[0]);
    CHECK_OK(fh_split_new(&s[0], FH_STR(pattern), &r.err), r.err);
    CHECK_OK(fh_split_new_slow(&s[1], FH_STR(pattern), FH_SPLIT_ONIGURUMA, &r.err), r.err);
    CHECK_OK(fh_split_new_literal(&s[2], FH_STR("a"), &r.err), r.err);
    for (size_t i = 0; i < 300; i++) {
        fh_buf_clear(&r.text);
        add_random(&r, fh_rng_below(&r.rng, 200));
        fh_str text = fh_buf_str(&r.text), row[67];
        const fh_split *one = s[i % 3];
        size_t most = 2 + fh_rng_below(&r.rng, FH_COUNT(row) - 1), at = 0, from = 0;
        while (at < text.len) {
            size_t n = 0, k = 0, start, end;
            CHECK_OK(fh_split_cut(one, text, &at, row, most, &n, &r.err), r.err);
            CHECK(n > 0 && n <= most && row[n - 1].ptr + row[n - 1].len == text.ptr + at);
            while (k < n) {
                bool found;
                CHECK_OK(fh_split_next(one, text, from, &found, &start, &end, &r.err), r.err);
                if (!found) start = end = text.len;
                if (start > from) CHECK(k < n && row[k].ptr == text.ptr + from && row[k++].len == start - from);
                if (end > start) CHECK(k < n && row[k].ptr == text.ptr + start && row[k++].len == end - start);
                from = end;
            }
        }
        CHECK_U64(from, text.len);
    }
    for (size_t i = 0; i < FH_COUNT(s); i++) fh_split_free(s[i]);
    rig_close(&r);
}

/* One piece of a megabyte, and a million blanks: merging must not be quadratic. */
TEST(tokenizer_promises, long_pieces_are_linear) {
    static const char *const fill[] = {"a", " ", "ab", "\xe4\xb8\x80", "1", "!"};
    for (size_t k = 0; k < FH_COUNT(names); k++) {
        rig r;
        rig_open(&r, names[k]);
        for (size_t f = 0; f < FH_COUNT(fill); f++) {
            fh_buf_clear(&r.text);
            while (r.text.len < 300000) fh_buf_add_z(&r.text, fill[f]);
            uint64_t start = fh_clock_ns();
            encode(&r, false);
            uint64_t ms = (fh_clock_ns() - start) / 1000000;
            if (ms > 10000) fh_test_fail(__FILE__, __LINE__, "%s: %llu ms", names[k], (unsigned long long)ms);
        }
        rig_close(&r);
    }
}

static fh_status whole_way(const char *name, fh_err *err) {
    const fh_encode_options opt = {.add_special = true, .parse_special = true};
    char path[512];
    fh_tokenizer *t = NULL;
    fh_tokenizer_scratch *s = NULL;
    fh_ids ids;
    fh_buf out;
    path_of(path, name);
    fh_ids_init(&ids, 4096);
    fh_buf_init(&out, 4096);
    fh_status st = fh_tokenizer_open(&t, path, (fh_str){"", 0}, err);
    if (st == FH_OK) st = fh_tokenizer_scratch_new(&s, t, err);
    if (st == FH_OK)
        st = fh_tokenizer_encode(t, s, FH_STR("Hello, w\xc3\xb6rld! \xf0\x9f\x98\x80 12345"), &opt, &ids, err);
    if (st == FH_OK) st = fh_ids_check(&ids, err);
    if (st == FH_OK) st = fh_tokenizer_decode(t, ids.ptr, ids.len, false, &out, err);
    if (st == FH_OK) st = fh_buf_check(&out, err);
    fh_buf_release(&out);
    fh_ids_release(&ids);
    fh_tokenizer_scratch_free(s);
    fh_tokenizer_free(t);
    return st;
}

TEST(tokenizer_promises, every_allocation_can_fail) {
    static const char *const some[] = {"llama3.tokenizer.json", "bert-uncased.tokenizer.json", "gemma4.tokenizer.json",
                                       "spm-bpe-llama.model", "spm-unigram-identity.model"};
    for (size_t k = 0; k < FH_COUNT(some); k++) {
        fh_err err;
        fh_fault_arm(FH_FAULT_ALLOC, 0, false);
        CHECK_OK(whole_way(some[k], &err), err);
        uint64_t calls = fh_fault_calls(FH_FAULT_ALLOC), blocks = fh_mem_get_stats().live_blocks;
        uint64_t step = FH_MAX(calls / 400, (uint64_t)1);
        for (uint64_t n = 1; n <= calls; n += n < 100 ? 1 : step) {
            fh_fault_arm(FH_FAULT_ALLOC, n, n % 2);
            fh_status st = whole_way(some[k], &err);
            fh_fault_disarm();
            CHECK(st == FH_OK || st == FH_ERR_MEMORY);
            CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
        }
    }
}

TEST(tokenizer_promises, a_model_brings_its_own) {
    char path[512];
    fh_err err;
    fh_tokenizer *t = NULL;
    snprintf(path, sizeof path, "%s/models/llama-sharded", fh_test_golden());
    CHECK_OK(fh_tokenizer_open(&t, path, (fh_str){"", 0}, &err), err);
    fh_tokenizer_free(t);
    snprintf(path, sizeof path, "%s/gguf/llama-sharded-00001-of-00003.gguf", fh_test_golden());
    CHECK_OK(fh_tokenizer_open(&t, path, (fh_str){"", 0}, &err), err);
    fh_tokenizer_free(t);
    CHECK_OK(fh_tokenizer_open(&t, NULL, (fh_str){"", 0}, &err), err); /* the built-in one */
    fh_tokenizer_free(t);
    snprintf(path, sizeof path, "%s/checkpoints/nvfp4-ct/model.safetensors", fh_test_golden());
    t = NULL;
    fh_status st = fh_tokenizer_open(&t, path, (fh_str){"", 0}, &err);
    fh_tokenizer_free(t);
    CHECK(st == FH_OK || err.message[0]);
}

/* ---- XLM-R without a tokenizer.json ---- */

static void check_xlmr(const char *folder) {
    static const struct {
        const char *a, *b;
        uint32_t n, id[21];
    } cases[] = {
        /* ids by transformers 5.23.0 */
        {"Hello, world!", NULL, 14, {0, 4, 3, 9, 24, 121, 7, 4, 56, 65, 24, 19, 3, 2}},
        {"na\xC3\xAFve caf\xC3\xA9 12345 \xE2\x80\x94 \xE4\xBD\xA0\xE5\xA5\xBD", NULL, 21, {0,  86, 10, 3, 37, 9,   4,
                                                                                            18, 10, 44, 3, 4,  114, 27,
                                                                                            33, 48, 4,  3, 4,  3,   2}},
        {"<s>hi<mask> x </s>", NULL, 10, {0, 0, 4, 31, 16, 317, 4, 70, 2, 2}},
        {"", NULL, 2, {0, 2}},
        {"a b", "c d", 12, {0, 4, 10, 4, 30, 2, 2, 4, 18, 4, 19, 2}},
    };
    const fh_encode_options opt = {.add_special = true, .parse_special = true};
    fh_tokenizer *t = NULL;
    fh_tokenizer_scratch *s = NULL;
    fh_ids ids, type;
    fh_err err;
    CHECK_OK(fh_tokenizer_open(&t, folder, (fh_str){"", 0}, &err), err);
    CHECK_OK(fh_tokenizer_scratch_new(&s, t, &err), err);
    fh_ids_init(&ids, 100);
    fh_ids_init(&type, 100);
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        fh_str a = fh_str_of(cases[i].a), b = cases[i].b ? fh_str_of(cases[i].b) : FH_STR("");
        fh_ids_clear(&ids);
        fh_ids_clear(&type);
        if (cases[i].b) CHECK_OK(fh_tokenizer_encode_pair(t, s, a, b, &opt, &ids, &type, &err), err);
        else CHECK_OK(fh_tokenizer_encode(t, s, a, &opt, &ids, &err), err);
        CHECK_U64(ids.len, cases[i].n);
        CHECK(memcmp(ids.ptr, cases[i].id, ids.len * sizeof *ids.ptr) == 0);
        for (size_t k = 0; k < type.len; k++) CHECK_U64(type.ptr[k], 0);
    }
    fh_ids_release(&ids);
    fh_ids_release(&type);
    fh_tokenizer_scratch_free(s);
    fh_tokenizer_free(t);
}

static void put_file(const char *folder, const char *name, fh_str text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(text.ptr, 1, text.len, f) == text.len && fclose(f) == 0);
}

/* The class says it, or else the kind of model; with neither, pieces keep the file's own numbers. */
TEST(tokenizer_promises, xlmr_numbers_its_pieces_otherwise) {
    char path[512];
    fh_buf pieces;
    fh_tokenizer *t = NULL;
    fh_err err;
    snprintf(path, sizeof path, "%s/models/bge-reranker", fh_test_golden());
    check_xlmr(path);
    fh_buf_init(&pieces, 1 << 20);
    snprintf(path, sizeof path, "%s/models/bge-reranker/sentencepiece.bpe.model", fh_test_golden());
    CHECK_OK(fh_file_read(path, &pieces, &err), err);
    put_file(fh_test_tmp(), "sentencepiece.bpe.model", fh_buf_str(&pieces));
    fh_buf_release(&pieces);
    CHECK_OK(fh_tokenizer_open(&t, fh_test_tmp(), (fh_str){"", 0}, &err), err);
    CHECK_U64(fh_tokenizer_vocab(t)->n_id, 316);
    fh_tokenizer_free(t);
    put_file(fh_test_tmp(), "config.json", FH_STR("{\"model_type\":\"xlm-roberta\"}"));
    check_xlmr(fh_test_tmp());
}
