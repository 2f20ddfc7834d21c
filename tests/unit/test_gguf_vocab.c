/* tests/unit/test_gguf_vocab.c - tokenizer.ggml.* keys: built files, hostile vocabularies,
 * agreement with tokenizer.json.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "format/gguf_vocab.h"
#include "format/tokenizer_json.h"
#include "reader_loop.h"
#include "vocab_walk.h"

/* What a test file holds; fields that are not set are left out. */
typedef struct spec {
    const char *model;
    const fh_str *tokens;
    size_t n_token;
    const int32_t *types;
    size_t n_type;
    const float *scores;
    size_t n_score;
    const fh_str *merges;
    size_t n_merge;
    const char *id_key;
    uint32_t id;
    fh_bytes charsmap;
    const char *bool_key; /* a bool, or with bool_type another type, that is true */
    fh_gguf_type bool_type;
} spec;

static const char T[] = "tokenizer.ggml.";

static void add_kv(fh_gguf_build *b, const char *key, fh_gguf_type type, fh_gguf_type elem, uint64_t n,
                   fh_bytes payload) {
    fh_err err = {0};
    char full[100];
    snprintf(full, sizeof full, "%s%s", T, key);
    fh_gguf_kv kv = {.key = fh_str_of(full), .type = type, .elem = elem, .n = n, .payload = payload};
    CHECK_OK(fh_gguf_build_add_kv(b, &kv, &err), err);
}

static fh_bytes bytes_of(const void *p, size_t n) { return (fh_bytes){p, n}; }

/* Into out, which the caller releases. */
static void make_file(const spec *s, fh_buf *out) {
    fh_gguf_build *b = NULL;
    fh_err err = {0};
    char path[FH_PATH_MAX], key[100];
    static const uint8_t yes[4] = {1, 0, 0, 0};
    CHECK_OK(fh_gguf_build_new(&b, &err), err);
    if (s->model) CHECK_OK(fh_gguf_build_add_str(b, "tokenizer.ggml.model", fh_str_of(s->model), &err), err);
    CHECK_OK(fh_gguf_build_add_str(b, "tokenizer.ggml.pre", FH_STR("some-pre"), &err), err);
    CHECK_OK(fh_gguf_build_add_str(b, "tokenizer.chat_template.tool_use", FH_STR("{{ tools }}"), &err), err);
    CHECK_OK(fh_gguf_build_add_str(b, "tokenizer.chat_template", FH_STR("{{ plain }}"), &err), err);
    CHECK_OK(fh_gguf_build_add_str(b, "tokenizer.chat_templates", FH_STR("no template"), &err), err);
    if (s->tokens) CHECK_OK(fh_gguf_build_add_strs(b, "tokenizer.ggml.tokens", s->tokens, s->n_token, &err), err);
    if (s->types) add_kv(b, "token_type", FH_GGUF_ARRAY, FH_GGUF_I32, s->n_type, bytes_of(s->types, 4 * s->n_type));
    if (s->scores) add_kv(b, "scores", FH_GGUF_ARRAY, FH_GGUF_F32, s->n_score, bytes_of(s->scores, 4 * s->n_score));
    if (s->merges) CHECK_OK(fh_gguf_build_add_strs(b, "tokenizer.ggml.merges", s->merges, s->n_merge, &err), err);
    snprintf(key, sizeof key, "%s%s", T, s->id_key ? s->id_key : "");
    if (s->id_key) CHECK_OK(fh_gguf_build_add_u32(b, key, s->id, &err), err);
    if (s->charsmap.ptr) add_kv(b, "precompiled_charsmap", FH_GGUF_ARRAY, FH_GGUF_U8, s->charsmap.len, s->charsmap);
    if (s->bool_key)
        add_kv(b, s->bool_key, s->bool_type, FH_GGUF_U8, 1, bytes_of(yes, s->bool_type == FH_GGUF_BOOL ? 1 : 4));
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("v.gguf"), &err), err);
    CHECK_OK(fh_gguf_write(b, path, NULL, NULL, &err), err);
    fh_gguf_build_free(b);
    CHECK(load_file(out, fh_test_tmp(), "v.gguf"));
}

static void walk(const fh_gguf *g, const fh_vocab *v) {
    size_t at = 0, n = 0;
    fh_str name, text;
    CHECK(v->n_id == v->n_token);
    walk_vocab(v);
    while (fh_gguf_vocab_next_template(g, &at, &name, &text)) n += name.len + text.len;
    CHECK(n <= UINT32_MAX);
}

static fh_status read_and_walk(fh_str text, fh_err *err) {
    fh_gguf *g = NULL;
    fh_vocab *v = NULL;
    fh_status s = fh_gguf_open(&g, fh_bytes_of(text), err);
    if (s == FH_OK) s = fh_gguf_vocab_read(&v, g, err);
    if (s == FH_OK) walk(g, v);
    else CHECK(!v);
    fh_vocab_free(v);
    fh_gguf_close(g);
    return s;
}

static const fh_str TOKENS[] = {{"<s>", 3}, {"a", 1},  {"b", 1},      {"ab", 2},
                                {" ", 1},   {" a", 2}, {"<0x0A>", 6}, {"b", 1}};
static const int32_t TYPES[] = {3, 1, 1, 1, 1, 4, 6, 0};
static const float SCORES[] = {0, -1, -2, -3, -4, -5, 0, -6};
static const fh_str MERGES[] = {{"a b", 3}, {"  a", 3}};
static const uint8_t MAP[] = {4, 0, 0, 0, 1, 2, 3, 4, 'a', 0};

static spec good(const char *model) {
    return (spec){.model = model,
                  .tokens = TOKENS,
                  .n_token = 8,
                  .types = TYPES,
                  .n_type = 8,
                  .scores = SCORES,
                  .n_score = 8,
                  .merges = MERGES,
                  .n_merge = 2,
                  .id_key = "bos_token_id",
                  .id = 0,
                  .charsmap = {MAP, sizeof MAP},
                  .bool_key = "add_space_prefix",
                  .bool_type = FH_GGUF_BOOL};
}

TEST(gguf_vocab, reads_every_key) {
    fh_buf b;
    fh_gguf *g = NULL;
    fh_vocab *v = NULL;
    fh_err err = {0};
    fh_str name, text;
    size_t at = 0;
    uint32_t id;
    spec s = good("gpt2");
    make_file(&s, &b);
    CHECK_OK(fh_gguf_open(&g, (fh_bytes){b.ptr, b.len}, &err), err);
    CHECK_OK(fh_gguf_vocab_read(&v, g, &err), err);
    CHECK(v->kind == FH_VOCAB_BPE && v->n_id == 8 && !v->score && !v->byte_fallback);
    CHECK_STR(v->pre, "some-pre");
    CHECK_STR(fh_vocab_piece(v, 3), "ab");
    CHECK(v->n_merge == 2 && v->merge[0].result == 3);
    CHECK(v->merge[1].left == 4 && v->merge[1].right == 1 && v->merge[1].result == 5);
    CHECK(fh_vocab_type(v, 0) == FH_TOKEN_CONTROL && fh_vocab_type(v, 7) == FH_TOKEN_NORMAL);
    CHECK(fh_vocab_find(v, FH_STR("b"), &id) && id == 7);
    CHECK(v->byte_id[10] == 6 && v->special[FH_SPECIAL_BOS] == 0 && v->special[FH_SPECIAL_EOS] == FH_VOCAB_NO_ID);
    CHECK(v->add_space_prefix == FH_TRI_YES && v->add_bos == FH_TRI_UNSET);
    CHECK(v->charsmap.len == sizeof MAP && memcmp(v->charsmap.ptr, MAP, sizeof MAP) == 0);
    CHECK(v->n_added == 2 && v->added[0].id == 0 && v->added[0].flags == FH_ADDED_SPECIAL);
    CHECK(v->added[1].id == 5 && v->added[1].flags == 0);
    CHECK(fh_gguf_vocab_next_template(g, &at, &name, &text));
    CHECK_STR(name, "tool_use");
    CHECK_STR(text, "{{ tools }}");
    CHECK(fh_gguf_vocab_next_template(g, &at, &name, &text));
    CHECK_STR(name, "default");
    CHECK_STR(text, "{{ plain }}");
    CHECK(!fh_gguf_vocab_next_template(g, &at, &name, &text));
    fh_vocab_free(v);
    fh_gguf_close(g);
    fh_buf_release(&b);
}

TEST(gguf_vocab, knows_the_models) {
    static const struct {
        const char *name;
        fh_vocab_kind kind;
        bool scores;
        uint32_t n_merge;
    } models[] = {{"gpt2", FH_VOCAB_BPE, false, 2},
                  {"llama", FH_VOCAB_BPE_SCORES, true, 0},
                  {"gemma4", FH_VOCAB_BPE, false, 2},
                  {"t5", FH_VOCAB_UNIGRAM, true, 0},
                  {"bert", FH_VOCAB_WORDPIECE, false, 0}};
    for (size_t i = 0; i < FH_COUNT(models); i++) {
        fh_buf b;
        fh_gguf *g = NULL;
        fh_vocab *v = NULL;
        fh_err err = {0};
        spec s = good(models[i].name);
        make_file(&s, &b);
        CHECK_OK(fh_gguf_open(&g, (fh_bytes){b.ptr, b.len}, &err), err);
        CHECK_OK(fh_gguf_vocab_read(&v, g, &err), err);
        CHECK(v->kind == models[i].kind && (v->score != NULL) == models[i].scores);
        CHECK_U64(v->n_merge, models[i].n_merge);
        if (v->score) CHECK(v->score[3] == -3);
        fh_vocab_free(v);
        fh_gguf_close(g);
        fh_buf_release(&b);
    }
}

static void refused(const spec *s, fh_status want, const char *message) {
    fh_buf b;
    fh_err err = {0};
    make_file(s, &b);
    fh_status got = read_within_bound(read_and_walk, fh_buf_str(&b), &err);
    if (got != want || !strstr(err.message, message))
        fh_test_fail(__FILE__, __LINE__, "%s '%s', expected %s '%s'", fh_status_name(got), err.message,
                     fh_status_name(want), message);
    fh_buf_release(&b);
}

TEST(gguf_vocab, refuses_what_is_wrong) {
    static const int32_t high[] = {1, 1, 1, 7}, low[] = {1, 1, 1, -1};
    static const float nan_score[] = {0, (float)(1e300 * 1e300) * 0};
    static const fh_str one_part[] = {{"ab", 2}}, unknown[] = {{"a c", 3}}, no_result[] = {{"b a", 3}},
                        none[] = {{"", 0}};
    spec s = good("rwkv");
    refused(&s, FH_ERR_UNSUPPORTED, "'rwkv' is not known");
    s = good(NULL);
    refused(&s, FH_ERR_NOT_FOUND, "tokenizer.ggml.model");
    s = good("gpt2");
    s.tokens = NULL;
    refused(&s, FH_ERR_NOT_FOUND, "tokenizer.ggml.tokens");
    s = good("gpt2");
    s.n_type = 7;
    refused(&s, FH_ERR_FORMAT, "7 elements for 8 tokens");
    s = good("llama");
    s.n_score = 7;
    refused(&s, FH_ERR_FORMAT, "7 elements for 8 tokens");
    s = good("llama");
    s.scores = NULL;
    refused(&s, FH_ERR_FORMAT, "'llama' without 'tokenizer.ggml.scores'");
    s = good("gpt2");
    s.merges = NULL;
    refused(&s, FH_ERR_FORMAT, "'gpt2' without 'tokenizer.ggml.merges'");
    s = good("bert");
    s.types = high, s.n_type = s.n_token = 4;
    refused(&s, FH_ERR_FORMAT, "token 3 'ab' has the type 7");
    s.types = low;
    refused(&s, FH_ERR_FORMAT, "has the type -1");
    s = good("t5");
    s.scores = nan_score, s.n_score = s.n_token = 2, s.types = NULL;
    refused(&s, FH_ERR_FORMAT, "not finite");
    s = good("gpt2");
    s.merges = one_part, s.n_merge = 1;
    refused(&s, FH_ERR_FORMAT, "two parts with a space");
    s.merges = none;
    refused(&s, FH_ERR_FORMAT, "two parts with a space");
    s.merges = unknown;
    refused(&s, FH_ERR_FORMAT, "right part 'c' is no token");
    s.merges = no_result;
    refused(&s, FH_ERR_FORMAT, "result 'ba' is no token");
    s = good("gpt2");
    s.charsmap.len = 9;
    refused(&s, FH_ERR_FORMAT, "precompiled_charsmap");
    s = good("gpt2");
    s.bool_type = FH_GGUF_U32;
    refused(&s, FH_ERR_FORMAT, "'tokenizer.ggml.add_space_prefix' should be true or false");
}

/* Byte tokens that a careless parser turns into an index outside 0 to 255. */
TEST(gguf_vocab, refuses_hostile_byte_tokens) {
    static const char *const names[] = {"<0x-1>", "<0x100>", "<0x>",   "<0xG0>", "<0x0x>",
                                        "",       "a",       "<0x 1>", "<0x+1>", "<0x1>"};
    for (size_t i = 0; i < FH_COUNT(names); i++) {
        fh_str tokens[1] = {fh_str_of(names[i])};
        static const int32_t byte[1] = {6};
        spec s = good("bert");
        s.tokens = tokens, s.types = byte, s.n_token = s.n_type = 1;
        refused(&s, FH_ERR_FORMAT, "of the type byte");
    }
}

/* As the peers: a special id that no token has is left out, and counted. */
TEST(gguf_vocab, special_ids_out_of_range_are_left_out) {
    fh_buf b;
    fh_gguf *g = NULL;
    fh_vocab *v = NULL;
    fh_err err = {0};
    static const uint32_t ids[] = {8, INT32_MAX, UINT32_MAX};
    for (size_t i = 0; i < FH_COUNT(ids); i++) {
        spec s = good("gpt2");
        s.id = ids[i];
        make_file(&s, &b);
        CHECK_OK(fh_gguf_open(&g, (fh_bytes){b.ptr, b.len}, &err), err);
        CHECK_OK(fh_gguf_vocab_read(&v, g, &err), err);
        CHECK(v->special[FH_SPECIAL_BOS] == FH_VOCAB_NO_ID && v->n_special_ignored == 1);
        fh_vocab_free(v);
        fh_gguf_close(g);
        fh_buf_release(&b);
    }
}

/* Every key that is read takes each type of the format in turn: an answer or an error, nothing else. */
TEST(gguf_vocab, every_key_with_every_type) {
    static const char *const keys[] = {"model",
                                       "pre",
                                       "tokens",
                                       "token_type",
                                       "scores",
                                       "merges",
                                       "bos_token_id",
                                       "eos_token_id",
                                       "add_bos_token",
                                       "add_space_prefix",
                                       "remove_extra_whitespaces",
                                       "precompiled_charsmap"};
    static const uint8_t zeros[16] = {0};
    static const size_t sizes[FH_GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    for (size_t k = 0; k < FH_COUNT(keys); k++) {
        for (int type = 0; type < 2 * FH_GGUF_TYPE_COUNT; type++) {
            fh_gguf_type t = (fh_gguf_type)(type % FH_GGUF_TYPE_COUNT);
            bool array = type >= FH_GGUF_TYPE_COUNT;
            if (t == FH_GGUF_ARRAY || (array && t == FH_GGUF_STR)) continue;
            fh_gguf_build *b = NULL;
            fh_err err = {0};
            fh_buf file;
            char path[FH_PATH_MAX];
            CHECK_OK(fh_gguf_build_new(&b, &err), err);
            add_kv(b, keys[k], array ? FH_GGUF_ARRAY : t, t, 1, bytes_of(zeros, sizes[t]));
            if (k != 0) CHECK_OK(fh_gguf_build_add_str(b, "tokenizer.ggml.model", FH_STR("gpt2"), &err), err);
            if (k != 2) CHECK_OK(fh_gguf_build_add_strs(b, "tokenizer.ggml.tokens", TOKENS + 1, 1, &err), err);
            if (k != 5) CHECK_OK(fh_gguf_build_add_strs(b, "tokenizer.ggml.merges", MERGES, 0, &err), err);
            CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("t.gguf"), &err), err);
            CHECK_OK(fh_gguf_write(b, path, NULL, NULL, &err), err);
            fh_gguf_build_free(b);
            CHECK(load_file(&file, fh_test_tmp(), "t.gguf"));
            fh_status s = read_within_bound(read_and_walk, fh_buf_str(&file), &err);
            CHECK(s == FH_OK || s == FH_ERR_FORMAT || s == FH_ERR_UNSUPPORTED || s == FH_ERR_NOT_FOUND);
            fh_buf_release(&file);
        }
    }
}

TEST(gguf_vocab, refuses_too_many_tokens) {
    fh_str *tokens = fh_alloc((size_t)FH_VOCAB_MAX_ID + 1, sizeof *tokens);
    CHECK(tokens);
    for (size_t i = 0; i <= FH_VOCAB_MAX_ID; i++) tokens[i] = FH_STR("");
    spec s = {.model = "bert", .tokens = tokens, .n_token = (size_t)FH_VOCAB_MAX_ID + 1};
    refused(&s, FH_ERR_LIMIT, "a vocabulary of 1048577 tokens");
    fh_free(tokens);
}

TEST(gguf_vocab, survives_lack_of_memory) {
    fh_buf b;
    spec s = good("gemma4");
    make_file(&s, &b);
    fail_every_allocation(read_and_walk, fh_buf_str(&b), 8);
    fh_buf_release(&b);
}

TEST(gguf_vocab, survives_damage) {
    fh_buf b;
    spec s = good("gpt2");
    make_file(&s, &b);
    cut_everywhere(read_and_walk, fh_buf_str(&b), 1, true);
    change_everywhere(read_and_walk, fh_buf_str(&b), 1);
    fh_buf_release(&b);
}

/* ---- the same model in both forms ---- */

/* Byte-level BPE: the converter keeps pieces, ids and merges as they are; it may pad the end. */
static void same_as_json(const char *dir, const char *gguf, const char *json) {
    fh_buf a, b;
    fh_gguf *g = NULL;
    fh_vocab *v = NULL;
    fh_tokenizer_json *t = NULL;
    fh_err err = {0};
    CHECK(load_file(&a, dir, gguf) && load_file(&b, dir, json));
    CHECK_OK(fh_gguf_open(&g, (fh_bytes){a.ptr, a.len}, &err), err);
    CHECK_OK(fh_gguf_vocab_read(&v, g, &err), err);
    CHECK_OK(fh_tokenizer_json_parse(&t, fh_buf_str(&b), &err), err);
    const fh_vocab *w = fh_tokenizer_json_vocab(t);
    CHECK(v->kind == FH_VOCAB_BPE && w->kind == FH_VOCAB_BPE && w->n_id <= v->n_id);
    for (uint32_t i = 0; i < w->n_id; i++)
        if (fh_vocab_type(w, i) != FH_TOKEN_NONE) CHECK(fh_str_eq(fh_vocab_piece(v, i), fh_vocab_piece(w, i)));
    CHECK_U64(v->n_merge, w->n_merge);
    if (v->n_merge) CHECK(memcmp(v->merge, w->merge, v->n_merge * sizeof *v->merge) == 0);
    fh_tokenizer_json_free(t);
    fh_vocab_free(v);
    fh_gguf_close(g);
    fh_buf_release(&a);
    fh_buf_release(&b);
}

TEST(gguf_vocab, agrees_with_tokenizer_json) {
    same_as_json(fh_test_golden(), "gguf/llama-sharded-00001-of-00003.gguf", "models/llama-sharded/tokenizer.json");
}

TEST_GOLDEN(gguf_vocab, agrees_with_tokenizer_json_for_all_golden_models) {
    static const char *const names[] = {"qwen3",  "gpt2",  "deepseek-v3", "gpt-oss", "smollm3", "command-r",
                                        "falcon", "olmo2", "glm45",       "phi2",    "pythia",  "kimi-k2"};
    for (size_t i = 0; i < FH_COUNT(names); i++) {
        char gguf[80], json[80];
        snprintf(gguf, sizeof gguf, "gguf/%s.gguf", names[i]);
        snprintf(json, sizeof json, "models/%s/tokenizer.json", names[i]);
        same_as_json(fh_test_shared(), gguf, json);
    }
}
