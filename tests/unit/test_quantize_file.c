/* tests/unit/test_quantize_file.c - whole files: the reference's bytes, refusals, splits, the same for any threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/num.h"
#include "base/rng.h"
#include "forge/quantize.h"
#include "test.h"

enum { COLS = 256, ROWS = 24 };

static const char *path_of(const char *name) {
    static char path[4][512];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", fh_test_tmp(), name);
    return path[at];
}

typedef struct source {
    float data[3][COLS * ROWS];
    fh_gguf_build *build;
} source;

static source src;

static void add_tensor(const char *name, size_t i, fh_dtype type, uint64_t rows, uint64_t cols) {
    fh_err err = {0};
    uint64_t bytes;
    const fh_tensor t = {.name = fh_str_of(name), .dtype = type, .shape = {.n_dim = 2, .dim = {rows, cols}}};
    CHECK(fh_dtype_bytes(type, rows * cols, &bytes) && bytes <= sizeof src.data[i]);
    fh_tensor with = t;
    with.data = (fh_bytes){(const uint8_t *)src.data[i], (size_t)bytes};
    CHECK_OK(fh_gguf_build_add_tensor(src.build, &with, &err), err);
}

/* A model of three weights and a norm. */
static void begin(void) {
    fh_err err = {0};
    fh_rng r;
    fh_rng_init(&r, 7, 0);
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < FH_COUNT(src.data[0]); i++) src.data[k][i] = (float)(fh_rng_f64(&r) - 0.5);
    CHECK_OK(fh_gguf_build_new(&src.build, &err), err);
    CHECK_OK(fh_gguf_build_add_str(src.build, "general.architecture", FH_STR("llama"), &err), err);
    CHECK_OK(fh_gguf_build_add_u32(src.build, "general.file_type", 0, &err), err);
    CHECK_OK(fh_gguf_build_add_u32(src.build, "llama.block_count", 2, &err), err);
}

static void end(const char *path) {
    fh_err err = {0};
    CHECK_OK(fh_gguf_write(src.build, path, NULL, NULL, &err), err);
    fh_gguf_build_free(src.build);
}

static void usual(const char *path) {
    begin();
    add_tensor("token_embd.weight", 0, FH_DTYPE_F32, ROWS, COLS);
    add_tensor("blk.1.ffn_down.weight", 1, FH_DTYPE_F32, ROWS, COLS);
    add_tensor("blk.0.attn_v.weight", 2, FH_DTYPE_F32, ROWS, COLS);
    end(path);
}

static fh_status quantize(const char *from, const char *to, const fh_quantize_options *opt, int workers, fh_err *err) {
    fh_bundle *b = NULL;
    fh_feed *f = NULL;
    fh_quantize_plan *p = NULL;
    fh_pool *pool = NULL;
    fh_status st = fh_bundle_open(&b, from, err);
    if (st == FH_OK) st = fh_feed_open(&f, b, NULL, err);
    if (st == FH_OK) st = fh_pool_new(&pool, &(fh_pool_options){.n_worker = workers, .no_pin = true}, err);
    if (st == FH_OK) st = fh_quantize_plan_new(&p, f, opt, pool, err);
    if (st == FH_OK) st = fh_quantize_write(p, f, to, opt, pool, err);
    fh_quantize_plan_free(p);
    fh_pool_free(pool);
    fh_feed_close(f);
    return st;
}

static bool same_files(const char *a, const char *b) {
    fh_err err = {0};
    fh_buf x, y;
    fh_buf_init(&x, (size_t)1 << 26);
    fh_buf_init(&y, (size_t)1 << 26);
    CHECK_OK(fh_file_read(a, &x, &err), err);
    CHECK_OK(fh_file_read(b, &y, &err), err);
    const bool same = x.len == y.len && memcmp(x.ptr, y.ptr, x.len) == 0;
    fh_buf_release(&x);
    fh_buf_release(&y);
    return same;
}

TEST(quantize_file, keys_order_and_threads) {
    const char *from = path_of("from.gguf"), *one = path_of("one.gguf"), *three = path_of("three.gguf");
    const fh_quantize_options opt = {.mix = {.mix = FH_MIX_Q4_K_M}};
    fh_err err = {0};
    fh_bundle *b;
    uint64_t v;
    usual(from);
    CHECK_OK(quantize(from, one, &opt, 1, &err), err);
    CHECK_OK(quantize(from, three, &opt, 3, &err), err);
    CHECK(same_files(one, three));
    CHECK_OK(fh_bundle_open(&b, one, &err), err);
    const fh_gguf *g = fh_bundle_gguf(b, 0);
    CHECK_U64(fh_gguf_n_kv(g), 4);
    CHECK_STR(fh_gguf_get_kv(g, 2)->key, "general.quantization_version");
    CHECK_STR(fh_gguf_get_kv(g, 3)->key, "general.file_type");
    CHECK(fh_gguf_to_u64(fh_gguf_get_kv(g, 3), &v) && v == 15);
    CHECK_STR(fh_gguf_get_tensor(g, 0)->name, "token_embd.weight");
    CHECK_STR(fh_gguf_get_tensor(g, 1)->name, "blk.0.attn_v.weight");
    CHECK_STR(fh_gguf_get_tensor(g, 2)->name, "blk.1.ffn_down.weight");
    CHECK(fh_gguf_get_tensor(g, 0)->dtype == FH_DTYPE_Q6_K);
    CHECK(fh_gguf_get_tensor(g, 1)->dtype == FH_DTYPE_Q6_K);
    CHECK(fh_gguf_get_tensor(g, 2)->dtype == FH_DTYPE_Q4_K);
    fh_bundle_close(b);
}

TEST(quantize_file, quantized_already) {
    const char *from = path_of("from.gguf"), *to = path_of("to.gguf"), *again = path_of("again.gguf");
    fh_quantize_options opt = {.mix = {.mix = FH_MIX_Q8_0}};
    fh_err err = {0};
    usual(from);
    CHECK_OK(quantize(from, to, &opt, 1, &err), err);
    CHECK_OK(quantize(to, again, &opt, 1, &err), err); /* nothing to change */
    CHECK(same_files(to, again));
    opt.mix.mix = FH_MIX_Q4_0;
    CHECK_STATUS(quantize(to, again, &opt, 1, &err), FH_ERR_UNSUPPORTED);
    opt.requantize = true;
    CHECK_OK(quantize(to, again, &opt, 1, &err), err);
    opt.mix.copy = true;
    CHECK_OK(quantize(to, again, &opt, 1, &err), err);
    CHECK(same_files(to, again));
}

TEST(quantize_file, needs_importance) {
    const char *from = path_of("from.gguf"), *to = path_of("to.gguf");
    fh_quantize_options opt = {.mix = {.mix = FH_MIX_IQ2_XXS}};
    fh_err err = {0};
    begin();
    add_tensor("blk.0.attn_q.weight", 0, FH_DTYPE_F32, ROWS, COLS);
    end(from);
    CHECK_STATUS(quantize(from, to, &opt, 1, &err), FH_ERR_UNSUPPORTED);
    CHECK(fh_file_get_kind(to) == FH_FILE_NONE);
}

/* A number that is not finite stops everything, names the place, and leaves what was there. */
TEST(quantize_file, not_finite) {
    const char *from = path_of("from.gguf"), *to = path_of("to.gguf"), *old = path_of("old.gguf");
    fh_quantize_options opt = {.mix = {.mix = FH_MIX_Q4_0}};
    fh_err err = {0};
    usual(old);
    usual(to);
    begin();
    src.data[1][COLS * 17 + 5] = NAN;
    add_tensor("token_embd.weight", 0, FH_DTYPE_F32, ROWS, COLS);
    add_tensor("blk.0.attn_v.weight", 1, FH_DTYPE_F32, ROWS, COLS);
    end(from);
    CHECK_STATUS(quantize(from, to, &opt, 2, &err), FH_ERR_FORMAT);
    CHECK(strstr(err.message, "blk.0.attn_v.weight") && strcmp(err.path, from) == 0);
    CHECK(same_files(to, old));
    opt.mix.copy = true;
    CHECK_STATUS(quantize(from, to, &opt, 2, &err), FH_ERR_FORMAT);
    /* finite, but no scale of F16 can say it */
    begin();
    src.data[1][3] = 1e30f;
    add_tensor("blk.0.attn_v.weight", 1, FH_DTYPE_F32, ROWS, COLS);
    end(from);
    opt.mix.copy = false;
    CHECK_STATUS(quantize(from, to, &opt, 2, &err), FH_ERR_FORMAT);
    CHECK(strstr(err.message, "too large"));
}

static void note_progress(void *ctx, uint64_t done, uint64_t total) {
    uint64_t *seen = ctx;
    CHECK(done >= seen[0] && done <= total);
    seen[0] = done;
    seen[1] = total;
}

TEST(quantize_file, progress_reaches_the_end) {
    const char *from = path_of("from.gguf"), *to = path_of("to.gguf");
    uint64_t seen[2] = {0};
    const fh_quantize_options opt = {.mix = {.mix = FH_MIX_Q5_1}, .progress = note_progress, .progress_ctx = seen};
    fh_err err = {0};
    usual(from);
    CHECK_OK(quantize(from, to, &opt, 1, &err), err);
    CHECK_U64(seen[0], seen[1]);
    CHECK_U64(seen[1], 3 * 4 * COLS * ROWS);
}

/* ---- splits ---- */

static void split_part(const char *path, uint16_t no, const char *tensor, size_t i) {
    const uint16_t count = 2;
    const int32_t tensors = 2;
    fh_err err = {0};
    begin();
    const fh_gguf_kv kv[3] = {
        {.key = FH_STR("split.no"), .type = FH_GGUF_U16, .n = 1, .payload = {(const uint8_t *)&no, 2}},
        {.key = FH_STR("split.count"), .type = FH_GGUF_U16, .n = 1, .payload = {(const uint8_t *)&count, 2}},
        {.key = FH_STR("split.tensors.count"), .type = FH_GGUF_I32, .n = 1, .payload = {(const uint8_t *)&tensors, 4}}};
    for (size_t k = 0; k < 3; k++) CHECK_OK(fh_gguf_build_add_kv(src.build, &kv[k], &err), err);
    add_tensor(tensor, i, FH_DTYPE_F32, ROWS, COLS);
    end(path);
}

TEST(quantize_file, a_fault_at_every_call) {
    static const fh_fault_kind kinds[] = {FH_FAULT_ALLOC, FH_FAULT_OPEN,  FH_FAULT_MMAP,
                                          FH_FAULT_WRITE, FH_FAULT_FSYNC, FH_FAULT_RENAME};
    const char *from = path_of("fault.gguf"), *whole = path_of("fault-whole.gguf"), *to = path_of("fault-to.gguf");
    const fh_quantize_options opt = {.mix = {.mix = FH_MIX_Q4_K_M}, .bpw = 4.5};
    fh_err err = {0};
    usual(from);
    CHECK_OK(quantize(from, whole, &opt, 2, &err), err);
    for (size_t k = 0; k < FH_COUNT(kinds); k++)
        for (uint64_t nth = 1;; nth++) {
            fh_fault_arm(kinds[k], nth, false);
            const fh_status st = quantize(from, to, &opt, 2, &err);
            fh_fault_disarm();
            CHECK(st == FH_OK || fh_file_get_kind(to) == FH_FILE_NONE || kinds[k] == FH_FAULT_FSYNC);
            (void)unlink(to);
            CHECK(nth < 2000);
            if (st == FH_OK) break;
        }
    CHECK_OK(quantize(from, to, &opt, 2, &err), err);
    CHECK(same_files(to, whole));
}

TEST(quantize_file, splits) {
    const char *from = path_of("m-00001-of-00002.gguf"), *to = path_of("q.gguf"), *whole = path_of("whole.gguf");
    fh_quantize_options opt = {.mix = {.mix = FH_MIX_Q8_0}};
    fh_err err = {0};
    fh_bundle *b;
    split_part(from, 0, "blk.1.ffn_up.weight", 0);
    split_part(path_of("m-00002-of-00002.gguf"), 1, "blk.0.ffn_up.weight", 1);
    CHECK_OK(quantize(from, whole, &opt, 1, &err), err);
    CHECK_OK(fh_bundle_open(&b, whole, &err), err);
    CHECK_U64(fh_bundle_n_part(b), 1);
    CHECK_U64(fh_bundle_n_tensor(b), 2);
    CHECK(!fh_gguf_find(fh_bundle_gguf(b, 0), "split.count"));
    CHECK_STR(fh_bundle_get_tensor(b, 0)->name, "blk.0.ffn_up.weight");
    fh_bundle_close(b);
    opt.keep_split = true;
    CHECK_OK(quantize(from, to, &opt, 1, &err), err);
    CHECK(fh_file_get_kind(to) == FH_FILE_NONE);
    CHECK_OK(fh_bundle_open(&b, path_of("q-00002-of-00002.gguf"), &err), err);
    CHECK_U64(fh_bundle_n_part(b), 2);
    CHECK_U64(fh_bundle_n_tensor(b), 2);
    CHECK(fh_bundle_get_tensor(b, 0)->dtype == FH_DTYPE_Q8_0);
    fh_bundle_close(b);
}

/* ---- against the reference's files ---- */

static void digest_file(const char *path, char hex[FH_SHA256_HEX]) {
    fh_err err = {0};
    fh_bundle *b;
    fh_sha256 *h;
    CHECK_OK(fh_bundle_open(&b, path, &err), err);
    CHECK_OK(fh_sha256_new(&h, &err), err);
    for (size_t i = 0; i < fh_bundle_n_tensor(b); i++) {
        const fh_tensor *t = fh_bundle_get_tensor(b, i);
        CHECK_OK(fh_sha256_add(h, t->name.ptr, t->name.len, &err), err);
        CHECK_OK(fh_sha256_add(h, t->data.ptr, t->data.len, &err), err);
    }
    CHECK_OK(fh_sha256_finish(h, hex, &err), err);
    fh_sha256_free(h);
    fh_bundle_close(b);
}

TEST_GOLDEN(quantize_file, every_mix_of_the_reference) {
    char path[600], base[600], hex[FH_SHA256_HEX];
    const char *to = path_of("to.gguf");
    fh_err err = {0};
    fh_buf text;
    fh_json *doc;
    fh_imatrix *imatrix;
    size_t n = 0;
    fh_buf_init(&text, (size_t)1 << 24);
    snprintf(path, sizeof path, "%s/types/quant.json", fh_test_shared());
    CHECK_OK(fh_file_read(path, &text, &err), err);
    CHECK_OK(fh_json_parse(&doc, fh_buf_str(&text), NULL, &err), err);
    snprintf(path, sizeof path, "%s/types/imatrix.gguf", fh_test_shared());
    snprintf(base, sizeof base, "%s/types/base.gguf", fh_test_shared());
    CHECK_OK(fh_imatrix_open(&imatrix, path, &err), err);
    const fh_json_node *files = fh_json_get(fh_json_root(doc), "files");
    for (unsigned m = 0; m < FH_MIX_COUNT; m++) {
        const fh_json_node *want = fh_json_get(files, fh_mix_get((fh_mix)m)->name);
        const fh_quantize_options opt = {.mix = {.mix = (fh_mix)m}, .imatrix = imatrix, .imatrix_path = path};
        fh_str digest;
        if (!want) continue;
        CHECK(fh_json_to_str(fh_json_get(want, "tensor_sha256"), &digest));
        CHECK_OK(quantize(base, to, &opt, 2, &err), err);
        digest_file(to, hex);
        if (!fh_str_is(digest, hex)) fh_test_fail(__FILE__, __LINE__, "%s differs", fh_mix_get((fh_mix)m)->name);
        n++;
    }
    CHECK_U64(n, 32);
    fh_imatrix_free(imatrix);
    fh_json_free(doc);
    fh_buf_release(&text);
}
