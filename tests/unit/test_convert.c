/* tests/unit/test_convert.c - models from one kind of file to the other, and back.
 * SPDX-License-Identifier: Apache-2.0
 * The oracle is the engine in exact mode on the source's own files: a converted model gives the same bits. Where a
 * peer's conversion of the same model is at hand, names, shapes, types and bytes of all tensors are the same. */
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "forge/convert.h"
#include "format/gguf_vocab.h"
#include "infer/engine.h"
#include "test.h"
#include "text/tokenizer.h"

static void load(fh_model **out, const char *path, fh_err *err) {
    fh_bundle *b = NULL;
    CHECK_OK(fh_bundle_open(&b, path, err), *err);
    CHECK_OK(fh_model_load(out, b, err), *err);
}

typedef struct results {
    float *v;
    size_t n, width, room;
} results;

static fh_status keep(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    results *r = ctx;
    (void)work, (void)index, (void)err;
    CHECK(r->n + r->width <= r->room);
    memcpy(r->v + r->n, row, r->width * sizeof *row);
    r->n += r->width;
    return FH_OK;
}

/* What a model says to ten tokens: logits, hidden rows or a score. */
static results answer(const fh_model *m, fh_err *err) {
    static const uint32_t token[] = {7, 1, 99, 300, 42, 12, 7, 8, 250, 17};
    fh_engine_options opt = {.threads = 1, .kv_type = FH_DTYPE_F32, .exact = true};
    fh_engine *e = NULL;
    fh_session *s = NULL;
    const fh_plan *p = fh_model_plan(m, FH_PLAN_STEP);
    fh_export what = p->exported[FH_EXPORT_SCORE] != FH_NO_VALUE    ? FH_EXPORT_SCORE
                     : p->exported[FH_EXPORT_LOGITS] != FH_NO_VALUE ? FH_EXPORT_LOGITS
                                                                    : FH_EXPORT_HIDDEN;
    results r = {.width = p->value[p->exported[what]].width};
    r.room = r.width * 10;
    r.v = malloc(r.room * sizeof *r.v);
    CHECK_OK(fh_engine_new(&e, m, &opt, err), *err);
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, err), *err);
    if (fh_model_plan(m, FH_PLAN_ENCODE)) CHECK_OK(fh_session_encode(s, token, 10, err), *err);
    fh_work w = {s, token, 10, what == FH_EXPORT_SCORE ? FH_WANT_FIRST : FH_WANT_ALL};
    CHECK_OK(fh_engine_step(e, &w, 1, what, keep, &r, NULL, err), *err);
    fh_session_free(s);
    fh_engine_free(e);
    return r;
}

typedef enum sameness { SAME, CLOSE } sameness;

/* CLOSE: the two forms keep columns in another order, so sums run in another. */
static void same_answer(const fh_model *a, const fh_model *b, sameness how, const char *what, fh_err *err) {
    results x = answer(a, err), y = answer(b, err);
    double d = 0, n = 0;
    CHECK_U64(x.n, y.n);
    for (size_t i = 0; i < x.n; i++) {
        d += ((double)x.v[i] - (double)y.v[i]) * ((double)x.v[i] - (double)y.v[i]);
        n += (double)x.v[i] * (double)x.v[i];
    }
    if (how == SAME ? memcmp(x.v, y.v, x.n * sizeof *x.v) != 0 : !(d <= 1e-9 * n))
        fh_test_fail(__FILE__, __LINE__, "%s: the answers differ, nmse %g", what, d / n);
    free(x.v);
    free(y.v);
}

static void convert(const fh_model *m, const char *out, bool tokenizer, fh_convert_type type, fh_err *err) {
    fh_convert_options opt = {.no_tokenizer = !tokenizer, .type = type};
    CHECK_OK(fh_convert(m, out, &opt, err), *err);
}

/* There and back. */
static void both_ways(const char *root, const char *kind, const char *name, sameness how) {
    char path[400], gguf[400], folder[400];
    fh_model *m = NULL, *g = NULL, *h = NULL;
    fh_err err = {0};
    snprintf(path, sizeof path, "%s/%s/%s", root, kind, name);
    snprintf(gguf, sizeof gguf, "%s/%s.gguf", fh_test_tmp(), name);
    snprintf(folder, sizeof folder, "%s/%s", fh_test_tmp(), name);
    load(&m, path, &err);
    convert(m, gguf, true, FH_CONVERT_KEEP, &err);
    load(&g, gguf, &err);
    CHECK_U64(fh_model_n_note(g), 0); /* nothing is written that nothing uses */
    same_answer(m, g, how, name, &err);
    bool blocks = strstr(name, "nvfp4-modelopt") != NULL;
    convert(g, folder, true, blocks ? FH_CONVERT_F32 : FH_CONVERT_KEEP, &err);
    load(&h, folder, &err);
    CHECK_U64(fh_model_n_note(h), 0);
    same_answer(g, h, how, name, &err);
    if (how == CLOSE) same_answer(m, h, SAME, name, &err);
    fh_model_free(m);
    fh_model_free(g);
    fh_model_free(h);
}

TEST(convert, llama_both_ways) { both_ways(fh_test_golden(), "models", "llama-sharded", SAME); }
TEST(convert, gemma_both_ways) { both_ways(fh_test_golden(), "models", "mm-gemma3", SAME); }
TEST(convert, latent_both_ways) { both_ways(fh_test_golden(), "models", "deepseek-v3", SAME); }
TEST(convert, memory_both_ways) { both_ways(fh_test_golden(), "models", "qwen35-moe", CLOSE); }
TEST(convert, bert_both_ways) { both_ways(fh_test_golden(), "models", "bert", SAME); }
TEST(convert, t5_both_ways) { both_ways(fh_test_golden(), "models", "t5", SAME); }
TEST(convert, embedder_both_ways) { both_ways(fh_test_golden(), "models", "qwen3-embedding", SAME); }
TEST(convert, reranker_both_ways) { both_ways(fh_test_golden(), "models", "bge-reranker", SAME); }
TEST(convert, mxfp4_both_ways) { both_ways(fh_test_golden(), "checkpoints", "gpt-oss-mxfp4", SAME); }
TEST(convert, packed_integers_both_ways) { both_ways(fh_test_golden(), "checkpoints", "awq-4bit", SAME); }
TEST(convert, packed_blocks_both_ways) { both_ways(fh_test_golden(), "checkpoints", "fp8-block-edges", SAME); }

TEST_GOLDEN(convert, all_families_both_ways) {
    static const char *const same[] = {"llama2",      "llama3-gqa", "llama-linear",   "llama-bias", "llama-f16",
                                       "llama-f32",   "qwen2",      "qwen2-yarn",     "qwen3",      "mixtral",
                                       "qwen3-moe",   "gemma3",     "embeddinggemma", "gpt-oss",    "deepseek-v2-lite",
                                       "deepseek-v2", "kimi-k2",    "mm-kimi25",      "bge-m3",     "flan-t5"};
    static const char *const packed[] = {"deepseek-v3-fp8", "fp8-block-qwen3",    "fp8-channel-ct", "int4-g32-ct",
                                         "nvfp4-ct",        "gptq-4bit-actorder", "gptq-8bit"};
    for (size_t i = 0; i < FH_COUNT(same); i++) both_ways(fh_test_shared(), "models", same[i], SAME);
    for (size_t i = 0; i < FH_COUNT(packed); i++) both_ways(fh_test_shared(), "checkpoints", packed[i], SAME);
    both_ways(fh_test_shared(), "models", "qwen35", CLOSE);
    both_ways(fh_test_shared(), "models", "mm-qwen35", CLOSE);
}

/* ---- against a peer's conversion ---- */

static void same_tensors(const char *root, const char *from, const char *name, const char *first_part) {
    char path[400], out[400];
    fh_model *m = NULL;
    fh_bundle *peer = NULL, *mine = NULL;
    fh_err err = {0};
    snprintf(path, sizeof path, "%s/%s/%s", root, from, name);
    snprintf(out, sizeof out, "%s/mine-%s.gguf", fh_test_tmp(), name);
    load(&m, path, &err);
    convert(m, out, false, FH_CONVERT_KEEP, &err);
    CHECK_OK(fh_bundle_open(&mine, out, &err), err);
    snprintf(path, sizeof path, "%s/gguf/%s.gguf", root, first_part);
    CHECK_OK(fh_bundle_open(&peer, path, &err), err);
    CHECK_U64(fh_bundle_n_tensor(mine), fh_bundle_n_tensor(peer));
    for (size_t i = 0; i < fh_bundle_n_tensor(peer); i++) {
        const fh_tensor *want = fh_bundle_get_tensor(peer, i), *got = NULL;
        for (size_t k = 0; k < fh_bundle_n_tensor(mine) && !got; k++)
            if (fh_str_eq(fh_bundle_get_tensor(mine, k)->name, want->name)) got = fh_bundle_get_tensor(mine, k);
        if (!got || got->dtype != want->dtype || !fh_shape_eq(&got->shape, &want->shape) ||
            memcmp(got->data.ptr, want->data.ptr, want->data.len) != 0)
            fh_test_fail(__FILE__, __LINE__, "%s: tensor '%.*s' %s", name, FH_STR_ARG(want->name),
                         got ? "differs" : "is missing");
    }
    fh_bundle_close(peer);
    fh_bundle_close(mine);
    fh_model_free(m);
}

TEST(convert, tensors_are_the_peers) {
    same_tensors(fh_test_golden(), "models", "llama-sharded", "llama-sharded-00001-of-00003");
    same_tensors(fh_test_golden(), "checkpoints", "gpt-oss-mxfp4", "gpt-oss-mxfp4");
}

TEST_GOLDEN(convert, all_tensors_are_the_peers) {
    static const char *const names[] = {
        "llama2",      "llama3-gqa", "llama-linear", "llama-bias",  "llama-f16", "llama-f32",        "qwen2",
        "qwen2-yarn",  "qwen3",      "mixtral",      "qwen3-moe",   "gemma3",    "embeddinggemma",   "mm-gemma3",
        "gpt-oss",     "kimi-k2",    "mm-kimi25",    "deepseek-v2", "qwen35",    "deepseek-v2-lite", "qwen35-moe",
        "deepseek-v3", "mm-qwen35",  "bert",         "bge-m3",      "t5",        "flan-t5",          "qwen3-embedding"};
    for (size_t i = 0; i < FH_COUNT(names); i++) same_tensors(fh_test_shared(), "models", names[i], names[i]);
    same_tensors(fh_test_shared(), "checkpoints", "nvfp4-modelopt", "nvfp4-modelopt");
}

/* ---- tokenizers ---- */

static void read_file(const char *folder, const char *name, fh_buf *out, fh_err *err) {
    char path[500];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    fh_buf_init(out, (size_t)64 << 20);
    CHECK_OK(fh_file_read(path, out, err), *err);
}

static void same_ids(const fh_tokenizer *a, const fh_tokenizer *b) {
    static const char *const text[] = {"Hello, world!",
                                       "  two  spaces and\n\nlines\t",
                                       "na\xC3\xAFve 12345 \xE4\xBD\xA0",
                                       "<|start|>user\nhi<|end|>",
                                       "don't I'll We're  x",
                                       ""};
    fh_tokenizer_scratch *s = NULL, *t = NULL;
    fh_err err = {0};
    CHECK_OK(fh_tokenizer_scratch_new(&s, a, &err), err);
    CHECK_OK(fh_tokenizer_scratch_new(&t, b, &err), err);
    for (size_t i = 0; i < FH_COUNT(text); i++)
        for (int k = 0; k < 4; k++) {
            fh_encode_options opt = {.add_special = (k & 1) != 0, .parse_special = (k & 2) != 0};
            fh_ids x, y;
            fh_ids_init(&x, 1000);
            fh_ids_init(&y, 1000);
            CHECK_OK(fh_tokenizer_encode(a, s, fh_str_of(text[i]), &opt, &x, &err), err);
            CHECK_OK(fh_tokenizer_encode(b, t, fh_str_of(text[i]), &opt, &y, &err), err);
            CHECK_U64(x.len, y.len);
            CHECK(x.len == 0 || memcmp(x.ptr, y.ptr, x.len * sizeof *x.ptr) == 0);
            fh_ids_release(&x);
            fh_ids_release(&y);
        }
    fh_tokenizer_scratch_free(s);
    fh_tokenizer_scratch_free(t);
}

/* file: what the folder's tokenizer is, made into one by build. */
typedef fh_status builder(fh_tokenizer **out, fh_str text, const fh_tokenizer_config *c, fh_err *err);

static fh_status of_pieces(fh_tokenizer **out, fh_str text, const fh_tokenizer_config *c, fh_err *err) {
    return fh_tokenizer_from_sentencepiece(out, fh_bytes_of(text), c, err);
}

static void tokenizer_both_ways(const char *name, const char *file, builder *from, const char *back, builder *to) {
    char path[400], gguf[400], folder[400];
    fh_model *m = NULL, *g = NULL;
    fh_tokenizer *t[3] = {NULL};
    fh_tokenizer_config *c[2] = {NULL};
    fh_buf text;
    fh_err err = {0};
    snprintf(path, sizeof path, "%s/models/%s", fh_test_golden(), name);
    snprintf(gguf, sizeof gguf, "%s/t.gguf", fh_test_tmp());
    snprintf(folder, sizeof folder, "%s/t", fh_test_tmp());
    load(&m, path, &err);
    convert(m, gguf, true, FH_CONVERT_KEEP, &err);
    load(&g, gguf, &err);
    convert(g, folder, true, FH_CONVERT_KEEP, &err);
    read_file(path, file, &text, &err);
    CHECK_OK(fh_tokenizer_config_open(&c[0], path, &err), err);
    CHECK_OK(from(&t[0], fh_buf_str(&text), c[0], &err), err);
    fh_buf_release(&text);
    CHECK_OK(fh_tokenizer_from_gguf(&t[1], fh_bundle_gguf(fh_model_bundle(g), 0), &err), err);
    read_file(folder, back, &text, &err);
    CHECK_OK(fh_tokenizer_config_open(&c[1], folder, &err), err);
    CHECK_OK(to(&t[2], fh_buf_str(&text), c[1], &err), err);
    fh_buf_release(&text);
    same_ids(t[0], t[1]);
    same_ids(t[0], t[2]);
    CHECK_U64(c[0]->n_template, c[1]->n_template);
    if (c[0]->n_template) CHECK(fh_str_eq(c[0]->templates[0].text, c[1]->templates[0].text));
    for (int i = 0; i < 3; i++) fh_tokenizer_free(t[i]);
    for (int i = 0; i < 2; i++) fh_tokenizer_config_free(c[i]);
    fh_model_free(m);
    fh_model_free(g);
}

TEST(convert, byte_level_tokenizer) {
    tokenizer_both_ways("llama-sharded", "tokenizer.json", fh_tokenizer_from_json, "tokenizer.json",
                        fh_tokenizer_from_json);
}
TEST(convert, sentencepiece_tokenizer) {
    tokenizer_both_ways("t5", "spiece.model", of_pieces, "spiece.model", of_pieces);
}
TEST(convert, wordpiece_tokenizer) {
    tokenizer_both_ways("bert", "tokenizer.json", fh_tokenizer_from_json, "vocab.txt", fh_tokenizer_from_wordlist);
}

/* ---- rotation ---- */

/* The file again, with a list of divisors beside its tensors. */
static void with_divisors(const fh_gguf *g, const float *v, uint64_t n, const char *path, fh_err *err) {
    fh_gguf_build *b = NULL;
    fh_tensor t = {.name = FH_STR("rope_freqs.weight"), .dtype = FH_DTYPE_F32, .shape = {.n_dim = 1, .dim = {n}}};
    t.data = (fh_bytes){(const uint8_t *)v, (size_t)n * sizeof *v};
    CHECK_OK(fh_gguf_build_new(&b, err), *err);
    for (size_t i = 0; i < fh_gguf_n_kv(g); i++) CHECK_OK(fh_gguf_build_add_kv(b, fh_gguf_get_kv(g, i), err), *err);
    for (size_t i = 0; i < fh_gguf_n_tensor(g); i++)
        CHECK_OK(fh_gguf_build_add_tensor(b, fh_gguf_get_tensor(g, i), err), *err);
    CHECK_OK(fh_gguf_build_add_tensor(b, &t, err), *err);
    CHECK_OK(fh_gguf_write(b, path, NULL, NULL, err), *err);
    fh_gguf_build_free(b);
}

/* GGUF keeps what frequencies are divided by; config.json wants the formula, and the bits all the same. */
TEST(convert, divisors_become_settings) {
    char path[400], gguf[400], folder[400];
    fh_model *m = NULL;
    fh_err err = {0};
    float exact[32], near[32], other[32];
    snprintf(path, sizeof path, "%s/models/llama-sharded", fh_test_golden());
    snprintf(gguf, sizeof gguf, "%s/plain.gguf", fh_test_tmp());
    load(&m, path, &err);
    convert(m, gguf, false, FH_CONVERT_KEEP, &err);
    uint32_t n = fh_model_spec(m)->rope[0].n_rot / 2;
    double theta = fh_model_spec(m)->rope[0].theta, two_pi = 6.283185307179586;
    CHECK(n > 2 && n <= 32);
    fh_model_free(m);
    for (uint32_t i = 0; i < n; i++) { /* factor 8 over 64 positions, bounds 1 and 4 */
        double f = pow(theta, -2.0 * i / (2 * n)), turns = 64 * f / two_pi;
        double keep = turns > 4 ? 1 : turns < 1 ? 0 : (turns - 1) / 3;
        exact[i] = near[i] = (float)(1 / ((1 - keep) / 8 + keep));
        other[i] = 1.0f + 0.5f * (float)i;
        if (keep > 0 && keep < 1) near[i] = nextafterf(near[i], 9);
    }
    const struct {
        const float *v;
        const char *word, *list;
    } cases[] = {
        {exact, "\"llama3\"", NULL}, {near, "\"llama3\"", "short_factor"}, {other, "\"longrope\"", "long_factor"}};
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        fh_model *g = NULL, *h = NULL, *again = NULL;
        fh_buf text;
        load(&m, gguf, &err);
        snprintf(path, sizeof path, "%s/turned%zu.gguf", fh_test_tmp(), i);
        with_divisors(fh_bundle_gguf(fh_model_bundle(m), 0), cases[i].v, n, path, &err);
        load(&g, path, &err);
        snprintf(folder, sizeof folder, "%s/turned%zu", fh_test_tmp(), i);
        convert(g, folder, false, FH_CONVERT_KEEP, &err);
        read_file(folder, "config.json", &text, &err);
        fh_buf_add_byte(&text, 0);
        CHECK(strstr((const char *)text.ptr, cases[i].word) != NULL);
        CHECK((strstr((const char *)text.ptr, "_factor\": [") != NULL) == (cases[i].list != NULL));
        fh_buf_release(&text);
        load(&h, folder, &err);
        same_answer(g, h, SAME, cases[i].word, &err);
        if (i < 2) { /* and back again */
            snprintf(path, sizeof path, "%s/again%zu.gguf", fh_test_tmp(), i);
            convert(h, path, false, FH_CONVERT_KEEP, &err);
            load(&again, path, &err);
            same_answer(h, again, SAME, cases[i].word, &err);
            fh_model_free(again);
        }
        fh_model_free(m);
        fh_model_free(g);
        fh_model_free(h);
    }
}

/* ---- types, refusals, faults ---- */

static void refused(const fh_model *m, const char *out, fh_convert_type type, fh_status want, const char *word) {
    fh_err err = {0};
    fh_convert_options opt = {.type = type};
    CHECK_STATUS(fh_convert(m, out, &opt, &err), want);
    if (!strstr(err.message, word)) fh_test_fail(__FILE__, __LINE__, "'%s' lacks '%s'", err.message, word);
}

TEST(convert, blocks_want_a_type_and_targets_are_not_overwritten) {
    char path[400], out[400], file[440];
    fh_model *m = NULL, *h = NULL;
    fh_err err = {0};
    snprintf(path, sizeof path, "%s/types/Q4_K_M.gguf", fh_test_golden());
    snprintf(out, sizeof out, "%s/out", fh_test_tmp());
    load(&m, path, &err);
    refused(m, out, FH_CONVERT_KEEP, FH_ERR_UNSUPPORTED, "give a type");
    CHECK(fh_file_get_kind(out) == FH_FILE_NONE);
    convert(m, out, false, FH_CONVERT_F32, &err); /* f32 holds every value of every block */
    load(&h, out, &err);
    same_answer(m, h, SAME, "Q4_K_M in f32", &err);
    refused(m, out, FH_CONVERT_F32, FH_ERR_EXISTS, "not empty");
    snprintf(file, sizeof file, "%s/config.json", out);
    refused(m, file, FH_CONVERT_F32, FH_ERR_EXISTS, "there already");
    refused(h, file, FH_CONVERT_KEEP, FH_ERR_EXISTS, "there already");
    fh_model_free(m);
    fh_model_free(h);
}

TEST(convert, no_half_file_after_a_fault) {
    char path[400], out[400];
    fh_model *m = NULL;
    fh_err err = {0};
    bool done = false;
    snprintf(path, sizeof path, "%s/models/llama-sharded", fh_test_golden());
    load(&m, path, &err);
    uint64_t blocks = fh_mem_get_stats().live_blocks;
    for (int kind = 0; kind < 2; kind++, done = false)
        for (uint64_t nth = 1; !done; nth += 1 + nth / 6) {
            fh_convert_options opt = {.type = FH_CONVERT_KEEP};
            snprintf(out, sizeof out, "%s/f%d-%llu.gguf", fh_test_tmp(), kind, (unsigned long long)nth);
            fh_fault_arm(kind ? FH_FAULT_WRITE : FH_FAULT_ALLOC, nth, false);
            done = fh_convert(m, out, &opt, &err) == FH_OK && fh_file_get_kind(out) == FH_FILE_REGULAR;
            fh_fault_disarm();
            if (!done) CHECK(fh_file_get_kind(out) == FH_FILE_NONE);
            CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
        }
    fh_model_free(m);
}
