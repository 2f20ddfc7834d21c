/* tests/unit/test_pretokenizer.c - cuts, normalizers and templates, each on its own.
 * SPDX-License-Identifier: Apache-2.0
 * Expected pieces are those of Hugging Face tokenizers 0.23.3. */
#include "base/num.h"
#include "text/normalizer.h"
#include "text/postprocess.h"
#include "text/pretokenizer.h"
#include "tokenizer_maker.h"

static fh_status join_pieces(void *ctx, fh_str piece, fh_err *err) {
    fh_buf *out = ctx;
    CHECK(piece.len > 0);
    if (out->len > 0) fh_buf_add_byte(out, '|');
    fh_buf_add_str(out, piece);
    return fh_buf_check(out, err);
}

static void check_cuts(const char *json, const char *text, const char *want) {
    fh_json *doc = NULL;
    fh_err err = {0};
    fh_arena arena;
    fh_pretokenizer p = {0};
    fh_pretok_scratch s;
    fh_buf out;
    fh_arena_init(&arena, 1 << 20);
    fh_buf_init(&out, 1 << 20);
    fh_pretok_scratch_init(&s);
    CHECK_OK(fh_json_parse(&doc, fh_str_of(json), NULL, &err), err);
    CHECK_OK(fh_pretokenizer_build(&p, fh_json_root(doc), &arena, &err), err);
    CHECK_OK(fh_pretokenizer_run(&p, &s, fh_str_of(text), true, join_pieces, &out, &err), err);
    CHECK_STR(fh_buf_str(&out), want);
    fh_pretok_scratch_release(&s);
    fh_pretokenizer_release(&p);
    fh_buf_release(&out);
    fh_json_free(doc);
    fh_arena_release(&arena);
}

#define SPLIT(pattern, behavior, invert) \
    "{\"type\":\"Split\",\"pattern\":{" pattern "},\"behavior\":\"" behavior "\",\"invert\":" invert "}"

TEST(pretokenizer, behaviors) {
    const char *text = "The-final--countdown";
    check_cuts(SPLIT("\"String\":\"-\"", "Removed", "false"), text, "The|final|countdown");
    check_cuts(SPLIT("\"String\":\"-\"", "Isolated", "false"), text, "The|-|final|-|-|countdown");
    check_cuts(SPLIT("\"String\":\"-\"", "MergedWithPrevious", "false"), text, "The-|final-|-|countdown");
    check_cuts(SPLIT("\"String\":\"-\"", "MergedWithNext", "false"), text, "The|-final|-|-countdown");
    check_cuts(SPLIT("\"String\":\"-\"", "Contiguous", "false"), text, "The|-|final|--|countdown");
    check_cuts(SPLIT("\"String\":\"-\"", "Removed", "true"), text, "-|-|-");
    check_cuts(SPLIT("\"String\":\"-\"", "Contiguous", "true"), text, "The|-|final|--|countdown");
    check_cuts(SPLIT("\"String\":\"-\"", "MergedWithNext", "true"), text, "The-|final-|-|countdown");
    check_cuts(SPLIT("\"Regex\":\"\\\\s+\"", "Isolated", "false"), " a  b", " |a|  |b");
}

TEST(pretokenizer, kinds) {
    check_cuts("{\"type\":\"Whitespace\"}", "Hey there-- x_1!", "Hey|there|--|x_1|!");
    check_cuts("{\"type\":\"WhitespaceSplit\"}", " Hey  there\tx! ", "Hey|there|x!");
    check_cuts("{\"type\":\"BertPreTokenizer\"}", "Hey,  you$!", "Hey|,|you|$|!");
    check_cuts("{\"type\":\"Punctuation\"}", "a,,b", "a|,|,|b");
    check_cuts("{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}", "a,,b", "a|,,|b");
    check_cuts("{\"type\":\"Digits\",\"individual_digits\":false}", "a12b\xC2\xB2", "a|12|b|\xC2\xB2");
    check_cuts("{\"type\":\"Digits\",\"individual_digits\":true}", "a12", "a|1|2");
    check_cuts("{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"-\"}", "a--b-", "a|b");
    check_cuts("{\"type\":\"FixedLength\",\"length\":2}",
               "ab\xC3\xA9"
               "de",
               "ab|\xC3\xA9"
               "d|e");
    check_cuts("{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}", "Hi you",
               "\xC4\xA0Hi|\xC4\xA0you");
    check_cuts("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}", "a b",
               "a\xC4\xA0"
               "b");
    check_cuts("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\"}", "Hey you", "_Hey|_you");
    check_cuts("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"never\",\"split\":false}", "a b",
               "a_b");
    check_cuts("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"}", " a", "_a");
}

TEST(pretokenizer, sequences) {
    check_cuts("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":\"Metaspace\","
               "\"replacement\":\"_\",\"prepend_scheme\":\"first\"}]}",
               "a b", "_a|b");
    check_cuts("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\",\"use_regex\":false},{\"type\":"
               "\"Digits\"}]}",
               "a1",
               "\xC4\xA0"
               "a|1");
}

static void check_wrong(const char *json, fh_status want) {
    fh_json *doc = NULL;
    fh_err err = {0};
    fh_arena arena;
    fh_pretokenizer p = {0};
    fh_arena_init(&arena, 1 << 20);
    CHECK_OK(fh_json_parse(&doc, fh_str_of(json), NULL, &err), err);
    CHECK_STATUS(fh_pretokenizer_build(&p, fh_json_root(doc), &arena, &err), want);
    CHECK(err.message[0] && !p.step);
    fh_json_free(doc);
    fh_arena_release(&arena);
}

TEST(pretokenizer, refuses) {
    check_wrong("{}", FH_ERR_FORMAT);
    check_wrong("{\"type\":\"Guess\"}", FH_ERR_UNSUPPORTED);
    check_wrong("{\"type\":\"CharDelimiterSplit\"}", FH_ERR_FORMAT);
    check_wrong("{\"type\":\"FixedLength\",\"length\":0}", FH_ERR_FORMAT);
    check_wrong(SPLIT("\"String\":\"-\"", "Sideways", "false"), FH_ERR_UNSUPPORTED);
    check_wrong("{\"type\":\"Split\",\"pattern\":\"-\",\"behavior\":\"Isolated\",\"invert\":false}", FH_ERR_FORMAT);
    check_wrong("{\"type\":\"Sequence\",\"pretokenizers\":{}}", FH_ERR_FORMAT);
}

/* ---- normalizers ---- */

static void check_normal(const char *json, const char *text, const char *want) {
    fh_json *doc = NULL;
    fh_err err = {0};
    fh_arena arena;
    fh_normalizer n = {0};
    fh_normalizer_scratch s;
    fh_str out;
    bool head = true;
    fh_arena_init(&arena, 1 << 20);
    fh_normalizer_scratch_init(&s);
    CHECK_OK(fh_json_parse(&doc, fh_str_of(json), NULL, &err), err);
    CHECK_OK(fh_normalizer_build(&n, fh_json_root(doc), &arena, &err), err);
    CHECK_OK(fh_normalizer_run(&n, &s, fh_str_of(text), &out, &head, &err), err);
    CHECK_STR(out, want);
    fh_normalizer_scratch_release(&s);
    fh_normalizer_release(&n);
    fh_json_free(doc);
    fh_arena_release(&arena);
}

TEST(pretokenizer, normalizers) {
    check_normal("{\"type\":\"NFC\"}", "e\xCC\x81 x", "\xC3\xA9 x");
    check_normal("{\"type\":\"NFD\"}", "a\xC3\xA9", "ae\xCC\x81");
    check_normal("{\"type\":\"NFKC\"}", "\xEF\xAC\x81-1\xC2\xB2", "fi-12");
    check_normal("{\"type\":\"Lowercase\"}", "AbC\xC3\x89", "abc\xC3\xA9");
    check_normal("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}", " \xC2\xA0 a ", "a ");
    check_normal("{\"type\":\"Strip\"}", "   ", "");
    check_normal("{\"type\":\"StripAccents\"}", "e\xCC\x81", "e");
    check_normal("{\"type\":\"Prepend\",\"prepend\":\"_\"}", "a", "_a");
    check_normal("{\"type\":\"Prepend\",\"prepend\":\"_\"}", "", "");
    check_normal("{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"__\"}", "a b ", "a__b__");
    check_normal("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}", "a   b c", "a b c");
    check_normal("{\"type\":\"Nmt\"}", "a\x01\tb\xE2\x80\x8B", "a b ");
    check_normal("{\"type\":\"ByteLevel\"}", "a b",
                 "a\xC4\xA0"
                 "b");
    check_normal("{\"type\":\"BertNormalizer\"}", "H\xC3\xA9llo\t\xE4\xBB\x8A\x01", "hello  \xE4\xBB\x8A ");
    check_normal("{\"type\":\"BertNormalizer\",\"lowercase\":false}", "H\xC3\xA9", "H\xC3\xA9");
    check_normal("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"StripAccents\"},{\"type\":"
                 "\"Lowercase\"}]}",
                 "\xC3\x89"
                 "A",
                 "ea");
}

/* Normal forms cut the text where nothing joins: the result must be that of the whole. */
TEST(pretokenizer, normal_forms_in_parts_are_those_of_the_whole) {
    static const fh_normal_form forms[] = {FH_NFC, FH_NFD, FH_NFKC, FH_NFKD};
    fh_rng r;
    fh_buf text, whole;
    fh_err err = {0};
    fh_normalizer_scratch s;
    fh_rng_init(&r, fh_test_seed(), 4);
    fh_buf_init(&text, 1 << 20);
    fh_buf_init(&whole, 1 << 20);
    fh_normalizer_scratch_init(&s);
    for (int round = 0; round < 3000; round++) {
        fh_norm_step st = {.kind = FH_NORM_FORM, .form = forms[round % 4]};
        fh_normalizer n = {&st, 1};
        fh_str out;
        bool head = true;
        random_text(&r, &text, 12);
        for (int k = 0; k < 3; k++) { /* marks and jamo behind anything */
            char c[4];
            fh_buf_add(&text, c,
                       fh_utf8_put((uint32_t)(fh_rng_below(&r, 2) ? 0x300 + fh_rng_below(&r, 0x70)
                                                                  : 0x1100 + fh_rng_below(&r, 0x100)),
                                   c));
        }
        fh_buf_clear(&whole);
        CHECK_OK(fh_unicode_normalize(&whole, fh_buf_str(&text), st.form, &err), err);
        CHECK_OK(fh_normalizer_run(&n, &s, fh_buf_str(&text), &out, &head, &err), err);
        CHECK(fh_str_eq(out, fh_buf_str(&whole)));
    }
    fh_normalizer_scratch_release(&s);
    fh_buf_release(&text);
    fh_buf_release(&whole);
}

/* ---- templates ---- */

TEST(pretokenizer, pairs_and_types) {
    token_case c;
    fh_ids type;
    fh_err err = {0};
    fh_encode_options opt = {.add_special = true};
    fh_ids_init(&type, 100);
    token_case_open(&c,
                    make_json("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"[\":2,\"]\":3},\"merges\":[]},"
                              "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"]\",3],\"cls\":[\"[\",2]}}"));
    CHECK_OK(fh_tokenizer_encode_pair(c.t, c.s, FH_STR("a"), FH_STR("bb"), &opt, &c.ids, &type, &err), err);
    check_ids(&c.ids, IDS(2, 0, 3, 1, 1, 3), "pair");
    check_ids(&type, IDS(0, 0, 0, 1, 1, 1), "types");
    encode_into(&c, FH_STR("b"), true, false);
    check_ids(&c.ids, IDS(2, 1, 3), "single");
    encode_into(&c, FH_STR("b"), false, false);
    check_ids(&c.ids, IDS(1), "bare");
    token_case_close(&c);
    fh_ids_release(&type);
}
