/* tests/unit/test_tokenizer_config.c - tokenizer_config.json and the files beside it; folders put
 * together here.
 * SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>

#include "base/num.h"
#include "format/tokenizer_config.h"
#include "reader_loop.h"

static const char RICH[] =
    "{\"tokenizer_class\":\"X\",\"add_bos_token\":true,\"add_eos_token\":null,"
    "\"clean_up_tokenization_spaces\":false,"
    "\"model_max_length\":1000000000000000019884624838656,\"bos_token\":{\"__type\":\"AddedToken\","
    "\"content\":\"<s>\","
    "\"lstrip\":true,\"normalized\":true},\"eos_token\":\"</s>\",\"pad_token\":null,"
    "\"additional_special_tokens\":[\"<a>\",{\"content\":\"<b>\"}],"
    "\"added_tokens_decoder\":{\"7\":{\"content\":\"<s>\",\"special\":true,\"normalized\":false},"
    "\"9\":{\"content\":\"w\"}},"
    "\"chat_template\":[{\"name\":\"default\",\"template\":\"D\"},{\"name\":\"tool_use\",\"template\":\"T\"},"
    "{\"name\":\"default\",\"template\":\"E\"}]}";

static fh_status walk(fh_tokenizer_config *c, fh_status s) {
    size_t sum = 0;
    if (s != FH_OK) {
        CHECK(!c);
        return s;
    }
    for (uint32_t i = 0; i < c->n_added; i++) sum += c->added[i].text.len;
    for (uint32_t i = 0; i < c->n_extra; i++) sum += c->extra[i].len;
    for (uint32_t i = 0; i < c->n_template; i++) sum += c->templates[i].name.len + c->templates[i].text.len;
    CHECK(sum < SIZE_MAX);
    fh_tokenizer_config_free(c);
    return s;
}

static fh_status read_and_walk(fh_str text, fh_err *err) {
    fh_tokenizer_config *c = NULL;
    fh_status s = fh_tokenizer_config_parse(&c, text, err);
    return walk(c, s);
}

TEST(tokenizer_config, reads_every_key) {
    fh_tokenizer_config *c = NULL;
    fh_err err = {0};
    CHECK_OK(fh_tokenizer_config_parse(&c, FH_STR(RICH), &err), err);
    CHECK_STR(c->tokenizer_class, "X");
    CHECK(c->add_bos == FH_TRI_YES && c->add_eos == FH_TRI_UNSET && c->clean_up_spaces == FH_TRI_NO);
    CHECK(c->has_max_length && c->max_length == 1e30);
    CHECK_STR(c->special[FH_SPECIAL_BOS].text, "<s>");
    CHECK_U64(c->special[FH_SPECIAL_BOS].flags, FH_ADDED_SPECIAL | FH_ADDED_LSTRIP | FH_ADDED_NORMALIZED);
    CHECK_STR(c->special[FH_SPECIAL_EOS].text, "</s>");
    CHECK(!c->special[FH_SPECIAL_PAD].present && !c->special[FH_SPECIAL_UNK].present);
    CHECK_U64(c->n_extra, 2);
    CHECK_STR(c->extra[1], "<b>");
    CHECK_U64(c->n_added, 2);
    CHECK(c->added[0].id == 7 && c->added[0].flags == FH_ADDED_SPECIAL);
    CHECK(c->added[1].id == 9 && c->added[1].flags == FH_ADDED_NORMALIZED);
    CHECK_U64(c->n_template, 2); /* the last "default" counts */
    CHECK_STR(fh_tokenizer_config_find_template(c, "default")->text, "E");
    CHECK_STR(fh_tokenizer_config_find_template(c, "tool_use")->text, "T");
    CHECK(!fh_tokenizer_config_find_template(c, "rag"));
    fh_tokenizer_config_free(c);
    CHECK_OK(fh_tokenizer_config_parse(&c, FH_STR("{\"chat_template\":\"one\"}"), &err), err);
    CHECK_STR(fh_tokenizer_config_find_template(c, "default")->text, "one");
    fh_tokenizer_config_free(c);
    CHECK_OK(fh_tokenizer_config_parse(&c, FH_STR("{\"chat_template\":{\"rag\":\"R\"}}"), &err), err);
    CHECK_STR(fh_tokenizer_config_find_template(c, "rag")->text, "R");
    fh_tokenizer_config_free(c);
    fh_tokenizer_config_free(NULL);
}

static const wrong_case WRONG[] = {
    {"@[]", FH_ERR_FORMAT, "tokenizer_config.json: should be an object"},
    {"{\"add_bos_token\":@1}", FH_ERR_FORMAT, "'add_bos_token' should be true or false"},
    {"{\"tokenizer_class\":@1}", FH_ERR_FORMAT, "a string"},
    {"{\"model_max_length\":@\"x\"}", FH_ERR_FORMAT, "a number"},
    {"{\"bos_token\":@1}", FH_ERR_FORMAT, "a string or an object"},
    {"{\"bos_token\":@{}}", FH_ERR_FORMAT, "a string or an object"},
    {"{\"bos_token\":{\"content\":\"a\",\"lstrip\":@1}}", FH_ERR_FORMAT, "'lstrip' of 'a' should be true or false"},
    {"{\"additional_special_tokens\":@1}", FH_ERR_FORMAT, "a list"},
    {"{\"additional_special_tokens\":[@1]}", FH_ERR_FORMAT, "a string or an object"},
    {"{\"added_tokens_decoder\":@[]}", FH_ERR_FORMAT, "should be an object"},
    {"{\"added_tokens_decoder\":{\"x\":@{\"content\":\"a\"}}}", FH_ERR_FORMAT, "the id of 'x'"},
    {"{\"added_tokens_decoder\":{\"-1\":@{\"content\":\"a\"}}}", FH_ERR_FORMAT, "the id of '-1'"},
    {"{\"added_tokens_decoder\":{\"1048576\":@{\"content\":\"a\"}}}", FH_ERR_LIMIT, "token id 1048576"},
    {"{\"added_tokens_decoder\":{\"1\":\"a\",\"01\":@\"b\"}}", FH_ERR_FORMAT, "two tokens with the id 1"},
    {"{\"chat_template\":@1}", FH_ERR_FORMAT, "a string or a list of templates"},
    {"{\"chat_template\":[@\"a\"]}", FH_ERR_FORMAT, "a list of {\"name\", \"template\"}"},
    {"{\"chat_template\":[@{\"name\":\"a\"}]}", FH_ERR_FORMAT, "a list of"},
};

TEST(tokenizer_config, too_many_templates) {
    fh_buf b;
    fh_err err = {0};
    fh_buf_init(&b, 1 << 16);
    fh_buf_add_z(&b, "{\"chat_template\":{\"0\":\"\"");
    for (int i = 1; i < 64; i++) fh_buf_printf(&b, ",\"%d\":\"\"", i);
    size_t len = b.len;
    fh_buf_add_z(&b, "}}");
    CHECK_OK(read_within_bound(read_and_walk, fh_buf_str(&b), &err), err);
    b.len = len;
    fh_buf_add_z(&b, ",\"64\":\"\"}}");
    CHECK_STATUS(read_within_bound(read_and_walk, fh_buf_str(&b), &err), FH_ERR_LIMIT);
    fh_buf_release(&b);
}

TEST(tokenizer_config, refuses_what_is_wrong) { check_wrong(read_and_walk, WRONG, FH_COUNT(WRONG)); }
TEST(tokenizer_config, survives_lack_of_memory) { fail_every_allocation(read_and_walk, FH_STR(RICH), 4); }

TEST(tokenizer_config, survives_damage) {
    cut_everywhere(read_and_walk, FH_STR(RICH), 1, false);
    change_everywhere(read_and_walk, FH_STR(RICH), 1);
}

/* ---- folders ---- */

static void put_file(const char *name, const char *text) {
    char path[FH_PATH_MAX];
    fh_writer *w = NULL;
    fh_err err = {0};
    CHECK_OK(fh_path_join(path, fh_test_tmp(), fh_str_of(name), &err), err);
    CHECK_OK(fh_writer_open(&w, path, &err), err);
    CHECK_OK(fh_writer_add(w, text, strlen(text), &err), err);
    CHECK_OK(fh_writer_commit(w, &err), err);
}

static fh_tokenizer_config *opened(void) {
    fh_tokenizer_config *c = NULL;
    fh_err err = {0};
    CHECK_OK(fh_tokenizer_config_open(&c, fh_test_tmp(), &err), err);
    return c;
}

TEST(tokenizer_config, an_empty_folder_says_nothing) {
    fh_tokenizer_config *c = opened();
    CHECK(c->n_template == 0 && c->n_added == 0 && !c->has_max_length && c->tokenizer_class.len == 0);
    fh_tokenizer_config_free(c);
}

TEST(tokenizer_config, older_folders) {
    put_file("tokenizer_config.json", "{\"unk_token\":\"<old>\",\"bos_token\":\"<s>\"}");
    put_file("special_tokens_map.json", "{\"unk_token\":\"<unk>\",\"additional_special_tokens\":[\"<z>\","
                                        "\"<y>\"]}");
    put_file("added_tokens.json", "{\"<y>\":5,\"plain\":6,\"<s>\":7,\"<x>\":8}");
    put_file("chat_template.json", "{\"chat_template\":\"J\"}");
    fh_tokenizer_config *c = opened();
    CHECK_STR(c->special[FH_SPECIAL_UNK].text, "<unk>");
    CHECK_STR(c->special[FH_SPECIAL_BOS].text, "<s>");
    CHECK_U64(c->n_added, 4);
    static const uint32_t flags[] = {FH_ADDED_SPECIAL, FH_ADDED_NORMALIZED, FH_ADDED_SPECIAL, FH_ADDED_NORMALIZED};
    for (uint32_t i = 0; i < 4; i++) CHECK(c->added[i].id == 5 + i && c->added[i].flags == flags[i]);
    CHECK_STR(c->extra[0], "<z>"); /* order as written */
    CHECK_STR(fh_tokenizer_config_find_template(c, "default")->text, "J");
    fh_tokenizer_config_free(c);
    /* With added_tokens_decoder in the config the other two no longer count. */
    put_file("tokenizer_config.json", "{\"unk_token\":\"<old>\",\"added_tokens_decoder\":{}}");
    c = opened();
    CHECK_STR(c->special[FH_SPECIAL_UNK].text, "<old>");
    CHECK(c->n_added == 0 && c->n_extra == 0);
    fh_tokenizer_config_free(c);
}

TEST(tokenizer_config, template_files_replace_the_config) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    put_file("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"R\"}]}");
    put_file("chat_template.json", "{\"chat_template\":\"J\"}");
    fh_tokenizer_config *c = opened();
    CHECK(c->n_template == 1 && fh_tokenizer_config_find_template(c, "rag"));
    fh_tokenizer_config_free(c);
    put_file("chat_template.jinja", "from a file");
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("additional_chat_templates"), &err), err);
    CHECK(mkdir(path, 0700) == 0);
    put_file("additional_chat_templates/tool_use.jinja", "tools");
    put_file("additional_chat_templates/readme.txt", "no template");
    c = opened();
    CHECK_U64(c->n_template, 2);
    CHECK_STR(fh_tokenizer_config_find_template(c, "default")->text, "from a file");
    CHECK_STR(fh_tokenizer_config_find_template(c, "tool_use")->text, "tools");
    fh_tokenizer_config_free(c);
    put_file("chat_template.jinja", "\xFF");
    CHECK_STATUS(fh_tokenizer_config_open(&c, fh_test_tmp(), &err), FH_ERR_FORMAT);
    CHECK(strstr(err.message, "no UTF-8"));
}

TEST(tokenizer_config, errors_name_the_file) {
    fh_tokenizer_config *c = NULL;
    fh_err err = {0};
    put_file("tokenizer_config.json", "{}");
    put_file("added_tokens.json", "{\"a\":1,\"b\":1}");
    CHECK_STATUS(fh_tokenizer_config_open(&c, fh_test_tmp(), &err), FH_ERR_FORMAT);
    CHECK(!c && strstr(err.path, "added_tokens.json") && strstr(err.message, "two tokens with the id 1"));
    CHECK_U64(err.offset, 11);
}

static fh_status open_folder(fh_str text, fh_err *err) {
    fh_tokenizer_config *c = NULL;
    (void)text;
    fh_status s = fh_tokenizer_config_open(&c, fh_test_tmp(), err);
    return walk(c, s);
}

TEST(tokenizer_config, folders_survive_lack_of_memory_and_reading_errors) {
    fh_err err = {0};
    put_file("tokenizer_config.json", "{\"bos_token\":\"<s>\"}");
    put_file("added_tokens.json", "{\"a\":1}");
    put_file("chat_template.jinja", "x");
    fail_every_allocation(open_folder, FH_STR(""), 5);
    for (uint64_t n = 1; n < 20; n++) {
        uint64_t blocks = fh_mem_get_stats().live_blocks;
        fh_fault_arm(FH_FAULT_READ, n, false);
        fh_status s = open_folder(FH_STR(""), &err);
        uint64_t calls = fh_fault_calls(FH_FAULT_READ);
        fh_fault_disarm();
        CHECK(s == FH_OK ? calls < n : s == FH_ERR_IO);
        CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
    }
}

TEST(tokenizer_config, reads_committed_folders) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_tokenizer_config *c = NULL;
    CHECK_OK(fh_path_join(path, fh_test_golden(), FH_STR("models/llama-sharded"), &err), err);
    CHECK_OK(fh_tokenizer_config_open(&c, path, &err), err);
    CHECK(c->special[FH_SPECIAL_EOS].present && c->tokenizer_class.len > 0);
    fh_tokenizer_config_free(c);
}
