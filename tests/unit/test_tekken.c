/* tests/unit/test_tekken.c - tekken.json: ranks behind special tokens, versions, hostile texts.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "format/tekken.h"
#include "reader_loop.h"
#include "vocab_walk.h"

static const char CONFIG[] = "\"config\":{\"pattern\":\"\\\\w+\",\"num_vocab_tokens\":258,\"default_vocab_size\":263,"
                             "\"default_num_special_tokens\":6,\"version\":\"v3\"}";
static const char SPECIAL[] = "\"special_tokens\":[{\"rank\":1,\"token_str\":\"</s>\",\"is_control\":true},"
                              "{\"is_control\":false,\"token_str\":\"[X]\",\"rank\":0}]";

static void base64_byte(char out[5], unsigned v) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out[0] = digits[v >> 2];
    out[1] = digits[(v & 3) << 4];
    out[2] = out[3] = '=';
    out[4] = 0;
}

/* 256 bytes, "ab" and "zz"; the config above leaves "zz" out. first: entries before the config. */
static void put_vocab(fh_buf *b) {
    fh_buf_add_z(b, "\"vocab\":[");
    for (unsigned i = 0; i < 256; i++) {
        char code[5];
        base64_byte(code, i);
        fh_buf_printf(b, "{\"rank\":%u,\"token_bytes\":\"%s\",\"token_str\":null},", i, code);
    }
    fh_buf_add_z(b, "{\"token_str\":\"ab\",\"token_bytes\":\"YWI=\",\"rank\":256},"
                    "{\"rank\":257,\"token_bytes\":\"eno=\",\"token_str\":\"zz\"}]");
}

static void small_file(fh_buf *b, bool vocab_first, const char *config, const char *special) {
    fh_buf_init(b, 1 << 20);
    fh_buf_add_z(b, "{\"type\":{\"a\":[1]},");
    if (!vocab_first) fh_buf_printf(b, "%s,", config);
    put_vocab(b);
    if (vocab_first) fh_buf_printf(b, ",%s", config);
    if (special) fh_buf_printf(b, ",%s", special);
    fh_buf_add_byte(b, '}');
}

static fh_status read_and_walk(fh_str text, fh_err *err) {
    fh_vocab *v = NULL;
    fh_status s = fh_tekken_parse(&v, text, err);
    if (s != FH_OK) {
        CHECK(!v);
        return s;
    }
    CHECK(v->n_id == v->n_token);
    walk_vocab(v);
    for (uint32_t i = 0; i < 256; i++) CHECK(v->byte_id[i] != FH_VOCAB_NO_ID);
    fh_vocab_free(v);
    return FH_OK;
}

TEST(tekken, reads_ranks_and_specials) {
    for (int vocab_first = 0; vocab_first < 2; vocab_first++) {
        fh_buf b;
        fh_vocab *v = NULL;
        fh_err err = {0};
        small_file(&b, vocab_first != 0, CONFIG, SPECIAL);
        CHECK_OK(fh_tekken_parse(&v, fh_buf_str(&b), &err), err);
        fh_buf_release(&b);
        CHECK(v->kind == FH_VOCAB_BPE_RANKS && v->raw_bytes);
        CHECK_U64(v->n_id, 263);
        CHECK_U64(v->byte_id[0], 6);
        CHECK_U64(v->byte_id[255], 261);
        CHECK_STR(fh_vocab_piece(v, 262), "ab");
        CHECK_STR(fh_vocab_piece(v, 0), "[X]");
        CHECK_STR(fh_vocab_piece(v, 5), "<SPECIAL_5>");
        CHECK_STR(v->pre, "\\w+");
        CHECK(v->special[FH_SPECIAL_EOS] == 1 && v->special[FH_SPECIAL_BOS] == FH_VOCAB_NO_ID);
        CHECK_U64(v->n_added, 6);
        CHECK(v->added[0].id == 1 && v->added[0].flags == FH_ADDED_SPECIAL);
        CHECK(v->added[1].id == 0 && v->added[1].flags == 0);
        fh_vocab_free(v);
    }
}

/* Files up to version 7 may lack the list of special tokens; the block must have room for theirs. */
TEST(tekken, old_versions_have_a_list_of_their_own) {
    fh_buf b;
    fh_vocab *v = NULL;
    fh_err err = {0};
    small_file(&b, false, "\"config\":{\"version\":\"v7\"}", NULL);
    CHECK_OK(fh_tekken_parse(&v, fh_buf_str(&b), &err), err);
    CHECK_U64(v->n_id, 1258);
    CHECK_STR(fh_vocab_piece(v, 9), "[TOOL_CALLS]");
    CHECK_STR(fh_vocab_piece(v, 20), "<SPECIAL_20>");
    CHECK_STR(fh_vocab_piece(v, 1257), "zz");
    CHECK(v->special[FH_SPECIAL_UNK] == 0 && v->special[FH_SPECIAL_PAD] == 11);
    fh_vocab_free(v);
    fh_buf_release(&b);
    small_file(&b, false, "\"config\":{\"version\":\"v11\"}", NULL);
    CHECK_STATUS(fh_tekken_parse(&v, fh_buf_str(&b), &err), FH_ERR_FORMAT);
    CHECK(strstr(err.message, "version v11 without 'special_tokens'"));
    fh_buf_release(&b);
    small_file(&b, false, CONFIG, NULL); /* six ids for a list of twenty */
    CHECK_STATUS(fh_tekken_parse(&v, fh_buf_str(&b), &err), FH_ERR_FORMAT);
    fh_buf_release(&b);
}

static void refused(const char *config, const char *special, fh_status want, const char *message) {
    fh_buf b;
    fh_err err = {0};
    small_file(&b, false, config, special);
    fh_status s = read_within_bound(read_and_walk, fh_buf_str(&b), &err);
    if (s != want || !strstr(err.message, message))
        fh_test_fail(__FILE__, __LINE__, "%s %s: %s '%s', expected %s '%s'", config, special, fh_status_name(s),
                     err.message, fh_status_name(want), message);
    fh_buf_release(&b);
}

TEST(tekken, refuses_wrong_configs) {
    static const char six[] = "\"config\":{\"default_num_special_tokens\":6}";
    refused("\"config\":7", SPECIAL, FH_ERR_FORMAT, "'config' should be an object");
    refused("\"config\":{},\"config\":{}", SPECIAL, FH_ERR_FORMAT, "'config' stands twice");
    refused("\"config\":{\"version\":\"7\"}", SPECIAL, FH_ERR_FORMAT, "config.version");
    refused("\"config\":{\"version\":7}", SPECIAL, FH_ERR_FORMAT, "config.version");
    refused("\"config\":{\"pattern\":7}", SPECIAL, FH_ERR_FORMAT, "config.pattern");
    refused("\"config\":{\"default_vocab_size\":1}", SPECIAL, FH_ERR_FORMAT, "no room for 1000");
    refused("\"config\":{\"default_vocab_size\":-1}", SPECIAL, FH_ERR_FORMAT, "a whole number");
    refused("\"config\":{\"default_vocab_size\":1e18}", SPECIAL, FH_ERR_LIMIT, "at most 1048576");
    refused("\"config\":{\"default_num_special_tokens\":1000000}", SPECIAL, FH_ERR_LIMIT, "at most 16384");
    refused("\"config\":{\"default_vocab_size\":1100}", SPECIAL, FH_ERR_FORMAT, "100 ranks in use");
    refused("\"config\":{\"default_vocab_size\":1300}", SPECIAL, FH_ERR_FORMAT, "ranks 0 to 299 are in use");
    refused(six, "\"vocab\":[]", FH_ERR_FORMAT, "'vocab' stands twice");
    refused(six, "\"special_tokens\":{}", FH_ERR_FORMAT, "an array or null");
    refused(six, "\"special_tokens\":[1]", FH_ERR_FORMAT, "should be an object");
    refused(six, "\"special_tokens\":[],\"special_tokens\":[]", FH_ERR_FORMAT, "stands twice");
    refused(six, "\"special_tokens\":[{\"rank\":1}]", FH_ERR_FORMAT, "without 'token_str'");
    refused(six, "\"special_tokens\":[{\"token_str\":\"a\"}]", FH_ERR_FORMAT, "without 'rank'");
    refused(six, "\"special_tokens\":[{\"token_str\":\"\",\"rank\":1}]", FH_ERR_FORMAT, "has no name");
    refused(six, "\"special_tokens\":[{\"token_str\":\"q\",\"rank\":6}]", FH_ERR_FORMAT, "has rank 6, but there are 6");
    refused(six, "\"special_tokens\":[{\"token_str\":\"q\",\"rank\":0},{\"token_str\":\"r\",\"rank\":0}]",
            FH_ERR_FORMAT, "id 0 stands for both 'q' and 'r'");
    refused(six, "\"special_tokens\":[{\"token_str\":\"q\",\"rank\":0,\"is_control\":1}]", FH_ERR_FORMAT, "is_control");
}

static const wrong_case WRONG[] = {
    {"@[]", FH_ERR_FORMAT, "'tekken.json' should be an object"},
    {"{}", FH_ERR_FORMAT, "0 ranks in use"},
    {"{\"vocab\":@7}", FH_ERR_FORMAT, "'vocab' should be an array"},
    {"{\"vocab\":[@7]}", FH_ERR_FORMAT, "should be an object"},
    {"{\"vocab\":[@{\"rank\":0}]}", FH_ERR_FORMAT, "without 'token_bytes'"},
    {"{\"vocab\":[@{\"rank\":0,\"token_bytes\":\"AA\"}]}", FH_ERR_FORMAT, "not base64"},
    {"{\"vocab\":[@{\"rank\":0,\"token_bytes\":\"\"}]}", FH_ERR_FORMAT, "not base64"},
    {"{\"vocab\":[@{\"rank\":0,\"token_bytes\":\"AQ==\"}]}", FH_ERR_FORMAT, "rank 0 should be the byte 0x00"},
    {"{\"vocab\":[{\"rank\":@-1,\"token_bytes\":\"AQ==\"}]}", FH_ERR_FORMAT, "a whole number"},
    {"{\"vocab\":[{\"rank\":@4294967296,\"token_bytes\":\"AQ==\"}]}", FH_ERR_LIMIT, "at most"},
    {"{\"vocab\":[@{\"rank\":4294967295,\"token_bytes\":\"AQ==\"}]}", FH_ERR_LIMIT, "out of range"},
    {"{\"vocab\":[{\"rank\":0,\"token_bytes\":\"AA==\"},@{\"rank\":0,\"token_bytes\":\"AA==\"}]}", FH_ERR_FORMAT,
     "stands for both"},
    {"{\"vocab\":[{\"rank\":0,\"token_bytes\":@5}]}", FH_ERR_FORMAT, "token_bytes"},
};

TEST(tekken, refuses_what_is_wrong) {
    /* The vocabulary waits for a config that never comes. */
    check_wrong(read_and_walk, WRONG, FH_COUNT(WRONG));
}

TEST(tekken, survives_lack_of_memory) {
    fh_buf b;
    small_file(&b, true, CONFIG, SPECIAL);
    fail_every_allocation(read_and_walk, fh_buf_str(&b), 8);
    fh_buf_release(&b);
}

TEST(tekken, survives_damage) {
    fh_buf b;
    small_file(&b, false, CONFIG, SPECIAL);
    cut_everywhere(read_and_walk, fh_buf_str(&b), 7, false);
    change_everywhere(read_and_walk, fh_buf_str(&b), 17);
    fh_buf_release(&b);
}
