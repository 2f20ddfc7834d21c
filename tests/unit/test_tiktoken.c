/* tests/unit/test_tiktoken.c - tiktoken rank files, and base64 on its own.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "format/base64.h"
#include "format/tiktoken.h"
#include "reader_loop.h"
#include "vocab_walk.h"

static const char FILE_TEXT[] = "YQ== 0\nYg== 1\r\n\nYWI= 2\n//79 4\n"; /* a, b, ab, FF FE FD */

static fh_status read_and_walk(fh_str text, fh_err *err) {
    static const fh_tiktoken_special special[] = {{FH_STR("<|end|>"), 600, FH_ADDED_SPECIAL},
                                                  {FH_STR("ab"), 601, FH_ADDED_SPECIAL}};
    fh_vocab *v = NULL;
    fh_status s = fh_tiktoken_parse(&v, text, special, FH_COUNT(special), err);
    if (s != FH_OK) {
        CHECK(!v);
        return s;
    }
    CHECK(v->kind == FH_VOCAB_BPE_RANKS && v->raw_bytes && v->n_added == 2);
    walk_vocab(v);
    fh_vocab_free(v);
    return FH_OK;
}

TEST(tiktoken, reads_ranks) {
    fh_vocab *v = NULL;
    fh_err err = {0};
    uint32_t id;
    fh_tiktoken_special special[] = {{FH_STR("ab"), 9, FH_ADDED_SPECIAL}};
    CHECK_OK(fh_tiktoken_parse(&v, FH_STR(FILE_TEXT), special, 1, &err), err);
    CHECK_U64(v->n_id, 10);
    CHECK_U64(v->n_token, 5);
    CHECK_STR(fh_vocab_piece(v, 2), "ab");
    CHECK_STR(fh_vocab_piece(v, 4), "\xFF\xFE\xFD");
    CHECK(fh_vocab_type(v, 3) == FH_TOKEN_NONE && fh_vocab_type(v, 9) == FH_TOKEN_CONTROL);
    /* Text never turns into a special token by looking its bytes up. */
    CHECK(fh_vocab_find(v, FH_STR("ab"), &id) && id == 2);
    CHECK(v->byte_id['a'] == 0 && v->byte_id['b'] == 1 && v->byte_id['c'] == FH_VOCAB_NO_ID);
    CHECK(v->n_added == 1 && v->added[0].id == 9);
    fh_vocab_free(v);
    special[0].id = 2;
    CHECK_STATUS(fh_tiktoken_parse(&v, FH_STR(FILE_TEXT), special, 1, &err), FH_ERR_FORMAT);
    special[0].id = FH_VOCAB_MAX_ID;
    CHECK_STATUS(fh_tiktoken_parse(&v, FH_STR(FILE_TEXT), special, 1, &err), FH_ERR_LIMIT);
}

static const wrong_case WRONG[] = {
    {"@", FH_ERR_FORMAT, "no tokens"},
    {"@\n\n", FH_ERR_FORMAT, "no tokens"},
    {"YQ== 0\n@YQ==\n", FH_ERR_FORMAT, "a token in base64, a space and a rank"},
    {"@YQ==  0\n", FH_ERR_FORMAT, "a token in base64"},
    {"@YQ== 0 \n", FH_ERR_FORMAT, "a token in base64"},
    {"@YQ== -1\n", FH_ERR_FORMAT, "a token in base64"},
    {"@YQ== 0x1\n", FH_ERR_FORMAT, "a token in base64"},
    {"@YQ== 18446744073709551616\n", FH_ERR_FORMAT, "a token in base64"},
    {"@YQ== 1048576\n", FH_ERR_LIMIT, "out of range"},
    {"@YQ 0\n", FH_ERR_FORMAT, "not base64"},
    {"@ 0\n", FH_ERR_FORMAT, "not base64"},
    {"@YR== 0\n", FH_ERR_FORMAT, "not base64"},
    {"YQ== 0\n@Yg== 0\n", FH_ERR_FORMAT, "id 0 stands for both 'a' and 'b'"},
    {"YQ== 0\nYQ== 1\n", FH_ERR_FORMAT, "'a' has two ids"},
};

TEST(tiktoken, refuses_what_is_wrong) { check_wrong(read_and_walk, WRONG, FH_COUNT(WRONG)); }
TEST(tiktoken, survives_lack_of_memory) { fail_every_allocation(read_and_walk, FH_STR(FILE_TEXT), 6); }

TEST(tiktoken, survives_damage) {
    cut_everywhere(read_and_walk, FH_STR(FILE_TEXT), 1, true);
    change_everywhere(read_and_walk, FH_STR(FILE_TEXT), 1);
}

/* A token of 70,000 bytes, and one just under the limit (its base64 does not fit the reader's small buffer). */
TEST(tiktoken, long_tokens) {
    for (size_t n = 65535; n <= 70002; n += 4467) {
        fh_buf b;
        fh_err err = {0};
        fh_buf_init(&b, 1 << 20);
        fh_buf_fill(&b, 'A', n / 3 * 4);
        fh_buf_add_z(&b, " 0\n");
        CHECK_OK(fh_buf_check(&b, &err), err);
        CHECK_STATUS(read_within_bound(read_and_walk, fh_buf_str(&b), &err), n == 65535 ? FH_OK : FH_ERR_LIMIT);
        fh_buf_release(&b);
    }
}

TEST(base64, decodes_strictly) {
    static const struct {
        const char *text, *bytes;
    } good[] = {{"", ""},        {"Zg==", "f"},          {"Zm8=", "fo"},
                {"Zm9v", "foo"}, {"Zm9vYmFy", "foobar"}, {"+/+/", "\xFB\xFF\xBF"}};
    static const char *const wrong[] = {"Z",     "Zg",    "Zg=",    "Zg===", "Z===",     "====", "Zh==", "Zm9=",
                                        "Zm9v=", "Zm 9v", "Zm9v\n", "Zg=v",  "Zg==Zg==", "-_-_", "Z=g="};
    uint8_t out[16];
    size_t n = 99;
    for (size_t i = 0; i < FH_COUNT(good); i++) {
        CHECK(fh_base64_decode(fh_str_of(good[i].text), out, &n));
        CHECK_STR(((fh_str){(const char *)out, n}), good[i].bytes);
        CHECK(n <= fh_base64_room(strlen(good[i].text)));
    }
    n = 99;
    for (size_t i = 0; i < FH_COUNT(wrong); i++)
        if (fh_base64_decode(fh_str_of(wrong[i]), out, &n)) fh_test_fail(__FILE__, __LINE__, "'%s' decodes", wrong[i]);
    CHECK_U64(n, 99);
}
