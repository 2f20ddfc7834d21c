/* tests/unit/test_tokenizer_json.c - tokenizer.json: vocabulary, merges, added tokens, parts;
 * hostile texts.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "format/tokenizer_json.h"
#include "reader_loop.h"
#include "vocab_walk.h"

static const char BPE[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"added_tokens\":["
    "{\"id\":5,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":true,\"normalized\":false,"
    "\"special\":true},{\"id\":0,\"content\":\"a\",\"special\":false,\"lstrip\":true}],"
    "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":null,\"decoder\":{\"type\":\"ByteLevel\",\"x\":[1,2]},"
    "\"model\":{\"type\":\"BPE\",\"dropout\":0.5,\"unk_token\":\"a\",\"continuing_subword_prefix\":null,"
    "\"end_of_word_suffix\":\"</w>\",\"fuse_unk\":true,\"byte_fallback\":false,\"ignore_merges\":true,"
    "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"abb\":4,\"\\u0000\":3},\"merges\":[\"a b\",\"ab b\"]}}";

static fh_status read_and_walk(fh_str text, fh_err *err) {
    fh_tokenizer_json *t = NULL;
    fh_status s = fh_tokenizer_json_parse(&t, text, err);
    if (s != FH_OK) {
        CHECK(!t);
        return s;
    }
    walk_vocab(fh_tokenizer_json_vocab(t));
    fh_tokenizer_json_free(t);
    return FH_OK;
}

TEST(tokenizer_json, reads_bpe) {
    fh_tokenizer_json *t = NULL;
    fh_err err = {0};
    uint32_t id = 9;
    CHECK_OK(fh_tokenizer_json_parse(&t, FH_STR(BPE), &err), err);
    const fh_vocab *v = fh_tokenizer_json_vocab(t);
    CHECK(v->kind == FH_VOCAB_BPE && v->fuse_unk && v->ignore_merges && !v->byte_fallback);
    CHECK(v->dropout == 0.5 && v->continuing_prefix.len == 0);
    CHECK_STR(v->end_suffix, "</w>");
    CHECK_U64(v->n_id, 6);
    CHECK_U64(v->n_token, 6);
    CHECK_STR(fh_vocab_piece(v, 4), "abb");
    CHECK(fh_str_eq(fh_vocab_piece(v, 3), (fh_str){"\0", 1}));
    CHECK(fh_vocab_find(v, (fh_str){"\0", 1}, &id) && id == 3);
    CHECK(!fh_vocab_find(v, FH_STR("c"), &id) && id == 3);
    CHECK_U64(v->n_merge, 2);
    CHECK(v->merge[0].left == 0 && v->merge[0].right == 1 && v->merge[0].result == 2);
    CHECK(v->merge[1].left == 2 && v->merge[1].right == 1 && v->merge[1].result == 4);
    CHECK_U64(v->special[FH_SPECIAL_UNK], 0);
    CHECK_U64(v->special[FH_SPECIAL_BOS], FH_VOCAB_NO_ID);
    CHECK_U64(v->n_added, 2);
    CHECK(v->added[0].id == 5 && v->added[0].flags == (FH_ADDED_SPECIAL | FH_ADDED_RSTRIP));
    CHECK(v->added[1].id == 0 && v->added[1].flags == (FH_ADDED_LSTRIP | FH_ADDED_NORMALIZED));
    CHECK(fh_vocab_type(v, 5) == FH_TOKEN_CONTROL && fh_vocab_type(v, 0) == FH_TOKEN_USER_DEFINED);
    CHECK(fh_vocab_type(v, 1) == FH_TOKEN_NORMAL && fh_vocab_type(v, 6) == FH_TOKEN_NONE);
    CHECK(!fh_tokenizer_json_part(t, FH_TOKENIZER_PRE_TOKENIZER));
    CHECK(!fh_tokenizer_json_part(t, FH_TOKENIZER_POST_PROCESSOR));
    CHECK_STR(fh_json_get(fh_tokenizer_json_part(t, FH_TOKENIZER_NORMALIZER), "type")->text, "NFC");
    CHECK_U64(fh_json_get(fh_tokenizer_json_part(t, FH_TOKENIZER_DECODER), "x")->n_child, 2);
    fh_tokenizer_json_free(t);
    fh_tokenizer_json_free(NULL);
}

/* Merges and added tokens before the vocabulary they need, pairs instead of texts, parts with spaces. */
TEST(tokenizer_json, order_and_spelling_do_not_matter) {
    static const char text[] =
        "{\"model\":{\"merges\":[[\"a\",\"b c\"],[\"x\\u0041\",\"a\"]],\"vocab\":{\"b c\":1,\"ab c\":2,\"a\":0,"
        "\"xA\":7,\"xAa\":4},\"byte_fallback\":null},\"added_tokens\":[{\"content\":\"z\",\"id\":9}]}";
    fh_tokenizer_json *t = NULL;
    fh_err err = {0};
    CHECK_OK(fh_tokenizer_json_parse(&t, FH_STR(text), &err), err);
    const fh_vocab *v = fh_tokenizer_json_vocab(t);
    CHECK(v->kind == FH_VOCAB_BPE); /* no type, but merges */
    CHECK_U64(v->n_id, 10);
    CHECK_U64(v->n_token, 6);
    CHECK(fh_vocab_type(v, 3) == FH_TOKEN_NONE && fh_vocab_piece(v, 3).len == 0);
    CHECK(v->merge[0].right == 1 && v->merge[0].result == 2 && v->merge[1].left == 7);
    CHECK_STR(fh_vocab_piece(v, v->added[0].id), "z");
    CHECK_U64(v->added[0].flags, FH_ADDED_NORMALIZED);
    fh_tokenizer_json_free(t);
}

TEST(tokenizer_json, reads_the_other_models) {
    fh_tokenizer_json *t = NULL;
    fh_err err = {0};
    uint32_t id;
    CHECK_OK(fh_tokenizer_json_parse(
                 &t,
                 FH_STR("{\"model\":{\"unk_id\":1,\"byte_fallback\":true,\"vocab\":[[\"<s>\",0],[\"u\",-1.5],"
                        "[\"<0x0A>\",-2e1],[\"u\",-3]]}}"),
                 &err),
             err);
    const fh_vocab *v = fh_tokenizer_json_vocab(t);
    CHECK(v->kind == FH_VOCAB_UNIGRAM && v->score && v->score[1] == -1.5 && v->score[2] == -20);
    CHECK_U64(v->special[FH_SPECIAL_UNK], 1);
    CHECK(v->byte_id[10] == 2 && v->byte_id[11] == FH_VOCAB_NO_ID);
    CHECK(fh_vocab_find(v, FH_STR("u"), &id) && id == 3); /* the last one, as the reference says */
    fh_tokenizer_json_free(t);
    CHECK_OK(
        fh_tokenizer_json_parse(
            &t, FH_STR("{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[UNK]\":0}}}"), &err),
        err);
    v = fh_tokenizer_json_vocab(t);
    CHECK(v->kind == FH_VOCAB_WORDPIECE && v->max_word_chars == 100 && !v->score);
    CHECK_STR(v->continuing_prefix, "##");
    fh_tokenizer_json_free(t);
    CHECK_OK(fh_tokenizer_json_parse(&t, FH_STR("{\"model\":{\"vocab\":{\"x\":0},\"unk_token\":\"y\"}}"), &err), err);
    v = fh_tokenizer_json_vocab(t);
    CHECK(v->kind == FH_VOCAB_WORDLEVEL && v->special[FH_SPECIAL_UNK] == FH_VOCAB_NO_ID);
    fh_tokenizer_json_free(t);
    CHECK_OK(fh_tokenizer_json_parse(
                 &t,
                 FH_STR("{\"model\":{\"continuing_subword_prefix\":\"##\",\"vocab\":{\"a\":0,\"##b\":1,\"ab\":2},"
                        "\"merges\":[\"#version: 0.2\",\"a ##b\"]}}"),
                 &err),
             err);
    v = fh_tokenizer_json_vocab(t);
    CHECK(v->n_merge == 1 && v->merge[0].result == 2);
    fh_tokenizer_json_free(t);
}

/* As the reference: the model's id wins, empty and repeated ones count for nothing. */
TEST(tokenizer_json, added_tokens_follow_the_model) {
    fh_tokenizer_json *t = NULL;
    fh_err err = {0};
    CHECK_OK(fh_tokenizer_json_parse(
                 &t,
                 FH_STR("{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0,\"b\":1}},\"added_tokens\":["
                        "{\"id\":7,\"content\":\"b\",\"special\":true},{\"id\":3,\"content\":\"\"},"
                        "{\"id\":4,\"content\":\"c\"},{\"id\":4,\"content\":\"c\"}]}"),
                 &err),
             err);
    const fh_vocab *v = fh_tokenizer_json_vocab(t);
    CHECK_U64(v->n_added, 2);
    CHECK_U64(v->added[0].id, 1);
    CHECK_U64(v->added[1].id, 4);
    CHECK_U64(v->n_added_ignored, 3);
    CHECK_U64(v->n_token, 3);
    fh_tokenizer_json_free(t);
}

#define MODEL(x) "{\"model\":{\"type\":\"BPE\"," x "}}"
#define V3 "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}"
#define VOCAB(x) "{\"model\":{\"vocab\":" x "}}"
#define MERGES(x) MODEL(V3 ",\"merges\":" x)
#define ADDED(x) "{\"model\":{\"vocab\":{\"a\":0}},\"added_tokens\":" x "}"
static const wrong_case WRONG[] = {
    {"@", FH_ERR_FORMAT, "expected a value"},
    {"@[]", FH_ERR_FORMAT, "'tokenizer.json' should be an object"},
    {"{}", FH_ERR_FORMAT, "no 'model'"},
    {"{\"model\":@null}", FH_ERR_FORMAT, "'model' should be an object"},
    {"{\"model\":{\"type\":\"BPE\"}}", FH_ERR_FORMAT, "no 'model.vocab'"},
    {"{\"model\":{\"type\":@\"Magic\"}}", FH_ERR_UNSUPPORTED, "'Magic' is not known"},
    {"{\"model\":{\"vocab\":{}},\"model\":@{}}", FH_ERR_FORMAT, "'model' stands twice"},
    {VOCAB("{},\"vocab\":@{}"), FH_ERR_FORMAT, "'model.vocab' stands twice"},
    {VOCAB("{\"a\":0,\"a\":1}"), FH_ERR_FORMAT, "'a' has two ids, 0 and 1"},
    {VOCAB("{\"a\":0,\"b\":@0}"), FH_ERR_FORMAT, "id 0 stands for both 'a' and 'b'"},
    {VOCAB("{\"a\":@-1}"), FH_ERR_FORMAT, "a whole number, 0 or more"},
    {VOCAB("{\"a\":@0.5}"), FH_ERR_FORMAT, "a whole number, 0 or more"},
    {VOCAB("{\"a\":@\"0\"}"), FH_ERR_FORMAT, "a whole number, 0 or more"},
    {VOCAB("{\"a\":@1048576}"), FH_ERR_LIMIT, "out of range"},
    {VOCAB("{\"a\":@18446744073709551615}"), FH_ERR_LIMIT, "out of range"},
    {VOCAB("{\"a\":@18446744073709551616}"), FH_ERR_FORMAT, "a whole number"},
    {VOCAB("@7"), FH_ERR_FORMAT, "an object or an array"},
    {VOCAB("[[\"a\",@\"b\"]]"), FH_ERR_FORMAT, "score in model.vocab"},
    {VOCAB("[[\"a\",@1e999]]"), FH_ERR_FORMAT, "a finite number"},
    {VOCAB("[[\"a\",1,@2]]"), FH_ERR_FORMAT, "end of a model.vocab entry"},
    {VOCAB("[[\"a\",1]],\"unk_id\":@1"), FH_ERR_FORMAT, "no token has this id"},
    {MODEL("\"vocab\":[],\"merges\":[]"), FH_ERR_FORMAT, "should be an object"},
    {MODEL(V3), FH_ERR_FORMAT, "without 'model.merges'"},
    {MERGES("[@\"a c\"]"), FH_ERR_FORMAT, "right part 'c' is no token"},
    {MERGES("[@\"c a\"]"), FH_ERR_FORMAT, "left part 'c' is no token"},
    {MERGES("[@\"b a\"]"), FH_ERR_FORMAT, "result 'ba' is no token"},
    {MERGES("[@\"a b c\"]"), FH_ERR_FORMAT, "one space between"},
    {MERGES("[@\"ab\"]"), FH_ERR_FORMAT, "one space between"},
    {MERGES("[\"a b\",@[\"a\",\"b\"]]"), FH_ERR_FORMAT, "all \"a b\" or all"},
    {MERGES("[[\"a\"@]]"), FH_ERR_FORMAT, "right part"},
    {MERGES("[[\"a\",\"b\",@\"a\"]]"), FH_ERR_FORMAT, "end of a pair"},
    {MERGES("@{}"), FH_ERR_FORMAT, "should be an array"},
    {MERGES("[],\"merges\":@[]"), FH_ERR_FORMAT, "'model.merges' stands twice"},
    {MERGES("[],\"dropout\":@1.5"), FH_ERR_FORMAT, "0 to 1, or null"},
    {MODEL("\"unk_id\":@-1"), FH_ERR_FORMAT, "'model.unk_id' should be a whole number"},
    {MODEL("\"fuse_unk\":@1"), FH_ERR_FORMAT, "true or false"},
    {MODEL("\"unk_token\":@1"), FH_ERR_FORMAT, "a string or null"},
    {MODEL("\"max_input_chars_per_word\":@-3"), FH_ERR_FORMAT, "0 to 1000000"},
    {ADDED("@{}"), FH_ERR_FORMAT, "should be an array"},
    {ADDED("[@3]"), FH_ERR_FORMAT, "should be an object"},
    {ADDED("[@{\"id\":1}]"), FH_ERR_FORMAT, "without 'content'"},
    {ADDED("[@{\"content\":\"x\"}]"), FH_ERR_FORMAT, "without 'id'"},
    {ADDED("[@{\"id\":0,\"content\":\"x\"}]"), FH_ERR_FORMAT, "id 0 stands for both 'a' and 'x'"},
    {ADDED("[@{\"id\":9999999,\"content\":\"x\"}]"), FH_ERR_LIMIT, "out of range"},
    {ADDED("[{\"id\":@-1,\"content\":\"x\"}]"), FH_ERR_FORMAT, "a whole number"},
    {ADDED("[{\"id\":1,\"content\":\"x\",\"lstrip\":@0}]"), FH_ERR_FORMAT, "'lstrip' should be true or false"},
    {"{\"normalizer\":@[],\"model\":{\"vocab\":{}}}", FH_ERR_FORMAT, "an object or null"},
    {"{\"decoder\":{},\"decoder\":@{}}", FH_ERR_FORMAT, "'decoder' stands twice"},
    {"{\"normalizer\":{\"a\":1,@\"a\":2}}", FH_ERR_FORMAT, "'a'"},
    {"{\"model\":{\"vocab\":{}}} @x", FH_ERR_FORMAT, "end of the text"},
};

TEST(tokenizer_json, refuses_what_is_wrong) { check_wrong(read_and_walk, WRONG, FH_COUNT(WRONG)); }

TEST(tokenizer_json, survives_lack_of_memory) { fail_every_allocation(read_and_walk, FH_STR(BPE), 10); }

TEST(tokenizer_json, survives_damage) {
    cut_everywhere(read_and_walk, FH_STR(BPE), 1, false);
    change_everywhere(read_and_walk, FH_STR(BPE), 1);
}

/* One entry, the largest id: nothing near the size of that id's table may leave the bound. */
TEST(tokenizer_json, sparse_ids_stay_in_bounds) {
    fh_err err = {0};
    CHECK_OK(read_within_bound(read_and_walk, FH_STR("{\"model\":{\"vocab\":{\"a\":1048575}}}"), &err), err);
}

/* 200,000 short pieces and one pair repeated: the most memory per byte that a text can ask for. */
TEST(tokenizer_json, dense_text_stays_in_bounds) {
    fh_buf b;
    fh_err err = {0};
    fh_buf_init(&b, 64u << 20);
    fh_buf_add_z(&b, "{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2");
    for (int i = 3; i < 200000; i++) fh_buf_printf(&b, ",\"%x\":%d", 0x10000 + i, i);
    fh_buf_add_z(&b, "},\"merges\":[\"a b\"");
    for (int i = 0; i < 800000; i++) fh_buf_add_z(&b, ",\"a b\"");
    fh_buf_add_z(&b, "]}}");
    CHECK_OK(fh_buf_check(&b, &err), err);
    CHECK_OK(read_within_bound(read_and_walk, fh_buf_str(&b), &err), err);
    /* A few more than four merges a token and 65,536. */
    b.len -= 3;
    for (int i = 0; i < 70000; i++) fh_buf_add_z(&b, ",\"a b\"");
    fh_buf_add_z(&b, "]}}");
    CHECK_STATUS(read_within_bound(read_and_walk, fh_buf_str(&b), &err), FH_ERR_LIMIT);
    fh_buf_release(&b);
}

static void put_long(fh_buf *b, size_t n, char c) {
    fh_buf_add_byte(b, '"');
    fh_buf_fill(b, (uint8_t)c, n);
    fh_buf_add_byte(b, '"');
}

/* Two long parts join to a third; one byte more than a piece may have is refused. */
TEST(tokenizer_json, long_pieces) {
    for (size_t half = 300; half <= 32768; half = half == 300 ? 32767 : half + 1) {
        fh_buf b;
        fh_err err = {0};
        fh_buf_init(&b, 1 << 20);
        fh_buf_add_z(&b, "{\"model\":{\"vocab\":{");
        put_long(&b, half, 'x');
        fh_buf_add_z(&b, ":0,");
        size_t at = b.len;
        put_long(&b, 2 * half, 'x');
        fh_buf_add_z(&b, ":1},\"merges\":[[");
        put_long(&b, half, 'x');
        fh_buf_add_byte(&b, ',');
        put_long(&b, half, 'x');
        fh_buf_add_z(&b, "]]}}");
        CHECK_OK(fh_buf_check(&b, &err), err);
        fh_status s = read_within_bound(read_and_walk, fh_buf_str(&b), &err);
        CHECK_STATUS(s, half == 32768 ? FH_ERR_LIMIT : FH_OK);
        if (half == 32768) CHECK_U64(err.offset, at);
        if (half == 300) fail_every_allocation(read_and_walk, fh_buf_str(&b), 8);
        fh_buf_release(&b);
    }
}

TEST(tokenizer_json, too_many_added_tokens) {
    fh_buf b;
    fh_err err = {0};
    fh_buf_init(&b, 64u << 20);
    fh_buf_add_z(&b, "{\"model\":{\"vocab\":{}},\"added_tokens\":[{\"id\":0,\"content\":\"0\"}");
    for (unsigned i = 1; i < FH_VOCAB_MAX_ADDED; i++) fh_buf_printf(&b, ",{\"id\":%u,\"content\":\"%x\"}", i, i);
    size_t len = b.len;
    fh_buf_add_z(&b, "]}");
    CHECK_OK(read_within_bound(read_and_walk, fh_buf_str(&b), &err), err);
    b.len = len;
    fh_buf_add_z(&b, ",{\"id\":200000,\"content\":\"z\"}]}");
    CHECK_OK(fh_buf_check(&b, &err), err);
    CHECK_STATUS(read_within_bound(read_and_walk, fh_buf_str(&b), &err), FH_ERR_LIMIT);
    CHECK_U64(err.offset, len + 1);
    fh_buf_release(&b);
}

/* ---- published files: the pull reader against a tree of the same text ---- */

static void same_as_tree(const char *dir, const char *name) {
    fh_buf b;
    fh_err err = {0};
    fh_json *doc = NULL;
    fh_tokenizer_json *t = NULL;
    fh_json_options opt = {.max_bytes = 512u << 20};
    uint64_t id;
    CHECK(load_file(&b, dir, name));
    CHECK_OK(fh_json_parse(&doc, fh_buf_str(&b), &opt, &err), err);
    CHECK_OK(fh_tokenizer_json_parse(&t, fh_buf_str(&b), &err), err);
    CHECK_OK(read_within_bound(read_and_walk, fh_buf_str(&b), &err), err);
    const fh_vocab *v = fh_tokenizer_json_vocab(t);
    const fh_json_node *root = fh_json_root(doc), *model = fh_json_get(root, "model");
    const fh_json_node *list = fh_json_get(model, "vocab");
    uint32_t n = 0, found;
    for (const fh_json_node *e = fh_json_first(list); e; e = fh_json_after(list, e), n++) {
        fh_str piece = e->key;
        id = n;
        if (list->kind == FH_JSON_ARRAY) piece = fh_json_first(e)->text;
        else CHECK(fh_json_to_u64(e, &id));
        CHECK(fh_str_eq(fh_vocab_piece(v, (uint32_t)id), piece));
        CHECK(fh_vocab_find(v, piece, &found) && found == id);
    }
    list = fh_json_get(model, "merges");
    CHECK_U64(v->n_merge, list ? list->n_child : 0);
    n = 0;
    for (const fh_json_node *e = fh_json_first(list); e; e = fh_json_after(list, e), n++) {
        fh_str a = fh_vocab_piece(v, v->merge[n].left), c = fh_vocab_piece(v, v->merge[n].right);
        fh_str joined = fh_vocab_piece(v, v->merge[n].result);
        CHECK(fh_str_eq(fh_str_first(joined, a.len), a) && fh_str_eq(fh_str_drop(joined, a.len), c));
        if (e->kind == FH_JSON_ARRAY) CHECK(fh_str_eq(fh_json_first(e)->text, a));
        else CHECK(fh_str_eq(fh_str_first(e->text, a.len), a) && e->text.len == a.len + 1 + c.len);
    }
    list = fh_json_get(root, "added_tokens");
    CHECK_U64(v->n_added, list->n_child);
    n = 0;
    for (const fh_json_node *e = fh_json_first(list); e; e = fh_json_after(list, e), n++) {
        CHECK(fh_json_to_u64(fh_json_get(e, "id"), &id) && id == v->added[n].id);
        CHECK(fh_str_eq(fh_json_get(e, "content")->text, fh_vocab_piece(v, v->added[n].id)));
    }
    fh_tokenizer_json_free(t);
    fh_json_free(doc);
    fh_buf_release(&b);
}

TEST(tokenizer_json, committed_files_agree_with_a_tree) {
    same_as_tree(fh_test_golden(), "models/llama-sharded/tokenizer.json");
    same_as_tree(fh_test_golden(), "models/mm-gemma3/tokenizer.json");
}

TEST_GOLDEN(tokenizer_json, golden_files_agree_with_a_tree) {
    static const char *const names[] = {
        "added-flags", "bert-cased",        "bert-uncased", "deepseek-llm", "deepseek-v3", "gemma", "gemma4",
        "gpt2",        "gpt2-prefix-space", "kimi",         "llama2",       "llama3",      "o200k", "qwen2",
        "qwen35",      "starcoder",         "tekken"};
    for (size_t i = 0; i < FH_COUNT(names); i++) {
        char name[80];
        snprintf(name, sizeof name, "tokenizers/%s.tokenizer.json", names[i]);
        same_as_tree(fh_test_shared(), name);
    }
}

/* ---- the table of pieces, for all readers ---- */

TEST(vocab, finds_by_preference) {
    fh_vocab *v = NULL;
    fh_err err = {0};
    uint32_t id;
    CHECK_OK(fh_vocab_new(&v, FH_VOCAB_BPE, 1000, &err), err);
    CHECK_OK(fh_vocab_put(v, 0, FH_STR("x"), FH_TOKEN_NORMAL, 0, &err), err);
    CHECK_OK(fh_vocab_put(v, 1, FH_STR("x"), FH_TOKEN_CONTROL, 0, &err), err);
    CHECK_OK(fh_vocab_put(v, 2, FH_STR("y"), FH_TOKEN_UNUSED, 0, &err), err);
    CHECK_OK(fh_vocab_put(v, 3, FH_STR("y"), FH_TOKEN_USER_DEFINED, 0, &err), err);
    CHECK_OK(fh_vocab_put(v, 4, FH_STR("y"), FH_TOKEN_NORMAL, 0, &err), err);
    CHECK_STATUS(fh_vocab_put(v, 4, FH_STR("z"), FH_TOKEN_NORMAL, 11, &err), FH_ERR_FORMAT);
    CHECK_U64(err.offset, 11);
    CHECK(!fh_vocab_find(v, FH_STR("x"), &id)); /* no table yet */
    CHECK_OK(fh_vocab_index(v, false, &err), err);
    CHECK(fh_vocab_find(v, FH_STR("x"), &id) && id == 0);
    CHECK(fh_vocab_find(v, FH_STR("y"), &id) && id == 4);
    CHECK_STATUS(fh_vocab_index(v, true, &err), FH_ERR_FORMAT);
    CHECK_STATUS(fh_vocab_put_score(v, 0, 0.0 / (double)(v->n_merge), 5, &err), FH_ERR_FORMAT);
    fh_vocab_free(v);
}

TEST(vocab, names) {
    CHECK_STR(fh_str_of(fh_vocab_special_name(FH_SPECIAL_UNK)), "unk");
    CHECK_STR(fh_str_of(fh_vocab_special_name(FH_SPECIAL_FIM_FILE)), "fim_file");
    for (int i = 0; i < FH_SPECIAL_COUNT; i++) CHECK(fh_vocab_special_name((fh_vocab_special)i)[0] != '?');
    CHECK_STR(fh_str_of(fh_vocab_kind_name(FH_VOCAB_BPE)), "bpe");
    CHECK_STR(fh_str_of(fh_vocab_kind_name(FH_VOCAB_WORDLEVEL)), "wordlevel");
}

TEST(vocab, byte_pieces_are_strict) {
    uint8_t b = 7;
    CHECK(fh_vocab_parse_byte(FH_STR("<0x0A>"), &b) && b == 10);
    CHECK(fh_vocab_parse_byte(FH_STR("<0xfF>"), &b) && b == 255);
    static const char *const wrong[] = {"<0x-1>", "<0x0>",  "<0x0A", "<0x0A>>",  "<0X0A>", "<0x0G>",
                                        "<0x 1>", "<0x+1>", "",      "<0x000A>", "0x0A",   "<0x-A>"};
    for (size_t i = 0; i < FH_COUNT(wrong); i++) CHECK(!fh_vocab_parse_byte(fh_str_of(wrong[i]), &b));
    CHECK_U64(b, 255);
}

TEST(vocab, charsmap_is_checked) {
    uint8_t map[14] = {4, 0, 0, 0, 1, 2, 3, 4, 'a', 0, 'b', 0, 0, 0};
    fh_bytes trie, texts;
    CHECK(fh_charsmap_split((fh_bytes){map, 12}, &trie, &texts) && trie.len == 4 && texts.len == 4);
    CHECK(fh_charsmap_split((fh_bytes){map, 8}, &trie, &texts) && texts.len == 0);
    CHECK(!fh_charsmap_split((fh_bytes){map, 11}, &trie, &texts)); /* no NUL at the end */
    CHECK(!fh_charsmap_split((fh_bytes){map, 7}, &trie, &texts));
    CHECK(!fh_charsmap_split((fh_bytes){NULL, 0}, &trie, &texts));
    map[0] = 8;
    CHECK(fh_charsmap_split((fh_bytes){map, 12}, &trie, &texts) && texts.len == 0);
    map[0] = 12;
    CHECK(!fh_charsmap_split((fh_bytes){map, 12}, &trie, &texts)); /* longer than the rest */
    map[0] = 6;
    CHECK(!fh_charsmap_split((fh_bytes){map, 12}, &trie, &texts)); /* no whole units */
    map[0] = 0;
    CHECK(!fh_charsmap_split((fh_bytes){map, 12}, &trie, &texts));
    map[3] = 0xFF;
    CHECK(!fh_charsmap_split((fh_bytes){map, 12}, &trie, &texts));
}
