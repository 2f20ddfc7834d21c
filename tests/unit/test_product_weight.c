/* tests/unit/test_product_weight.c - fast products of packed weights: whole published layouts against their decoded
 * values, level by level, from the file and packed.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/json.h"
#include "base/rng.h"
#include "format/packed.h"
#include "format/safetensors.h"
#include "kernel/product.h"
#include "kernel/weight_decode.h"
#include "packed_maker.h"
#include "test.h"

enum { N = 5 };

static void *aligned(fh_arena *a, size_t n) {
    uint8_t *p = fh_arena_alloc(a, n + FH_PRODUCT_ALIGN, 1);
    CHECK(p != NULL);
    return p + (FH_PRODUCT_ALIGN - (uintptr_t)p % FH_PRODUCT_ALIGN);
}

/* Mean square error of what `form` gives, relative to the mean square; result: [N, out] of matrix `mat`. */
static double error_of(const fh_product *p, fh_product_form form, uint32_t mat, const float *x, const float *w,
                       fh_arena *a, float *result) {
    const fh_matrix *m = p->matrix;
    const size_t bytes = (fh_product_form_bytes(form, m->in) + 63) / 64 * 64;
    uint8_t *forms = aligned(a, N * bytes);
    const void *in[N];
    float *out[N];
    double wrong = 0, all = 0;
    for (size_t i = 0; i < N; i++) {
        in[i] = forms + i * bytes;
        out[i] = result + i * m->out;
        if (form == FH_FORM_F32) memcpy(forms + i * bytes, x + i * m->in, m->in * sizeof *x);
        else fh_product_form_make(p, form, x + i * m->in, m->in, forms + i * bytes);
    }
    const fh_product_args args = {
        .mat = mat, .p0 = 0, .p1 = fh_product_panels(p), .form = form, .n = N, .x = in, .y = out};
    fh_product_run(p, &args, aligned(a, fh_product_scratch_bytes(p)));
    for (size_t i = 0; i < N; i++) {
        for (uint64_t r = 0; r < m->out; r++) {
            double want = 0;
            for (uint64_t k = 0; k < m->in; k++) {
                want += (double)w[(mat * m->out + r) * m->in + k] * (double)x[i * m->in + k];
            }
            const double d = (double)out[i][r] - want;
            wrong += d * d, all += want * want;
        }
    }
    return all > 0 ? sqrt(wrong / all) : wrong > 0 ? 1 : 0;
}

/* Returns whether codes met int8 inputs. */
static bool check_weight(const fh_weight *w, const char *where) {
    static const double most[FH_FORM_COUNT] = {[FH_FORM_F32] = 1e-6, [FH_FORM_I8] = 0.012, [FH_FORM_BF16] = 0.006};
    const uint64_t rows = fh_weight_rows(w), cols = fh_weight_cols(w);
    const uint32_t n_mat = (uint32_t)fh_weight_matrices(w);
    fh_arena a;
    fh_rng rng;
    fh_arena_init(&a, (size_t)1 << 30);
    fh_rng_init(&rng, fh_test_seed(), 3);
    float *v = fh_arena_alloc(&a, n_mat * rows * cols, sizeof *v), *x = fh_arena_alloc(&a, N * cols, sizeof *x);
    float *y = fh_arena_alloc(&a, 2 * N * rows, sizeof *y);
    CHECK(v != NULL && x != NULL && y != NULL);
    fh_weight_decode(w, 0, n_mat * rows, v);
    for (size_t i = 0; i < N * cols; i++) x[i] = (float)(fh_rng_f64(&rng) + fh_rng_f64(&rng) - 1);
    const fh_weight *list[1] = {w};
    const fh_matrix m = {
        .weight = list, .n_weight = 1, .n_mat = n_mat, .out = rows, .in = cols, .stride = rows, .step = 1};
    bool codes = false;
    for (int l = 0; l < FH_CPU_LEVEL_COUNT; l++) {
        fh_product p;
        if (!fh_cpu_has_level((fh_cpu_level)l)) continue;
        fh_product_init(&p, &m, (fh_cpu_level)l);
        for (int f = 0; f < FH_FORM_COUNT; f++) {
            const fh_product_form form = (fh_product_form)f;
            if (!fh_product_takes(&p, form)) continue;
            if (l == FH_CPU_LEVEL_REF && form == FH_FORM_F32 && fh_product_takes(&p, FH_FORM_I8)) continue;
            const double e = error_of(&p, form, n_mat - 1, x, v, &a, y);
            if (!(e <= most[f]))
                fh_test_fail(__FILE__, __LINE__, "%s '%.*s' (%s) level %s form %d: relative error %.6f", where,
                             FH_STR_ARG(w->name), w->layout, fh_cpu_level_name((fh_cpu_level)l), f, e);
            if (fh_product_pack_bytes(&p) == 0) continue;
            codes = true;
            fh_product q;
            fh_product_init(&q, &m, (fh_cpu_level)l);
            fh_product_set_packed(&q, aligned(&a, fh_product_pack_bytes(&q)),
                                  fh_arena_alloc(&a, fh_product_all_panels(&q), 1));
            while (fh_product_pack(&q, 3)) {
            }
            (void)error_of(&q, form, n_mat - 1, x, v, &a, y + N * rows);
            CHECK(memcmp(y, y + N * rows, N * rows * sizeof *y) == 0);
        }
    }
    fh_arena_release(&a);
    return codes;
}

static void check_checkpoint(const char *root, const char *name, bool want_codes) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_arena a;
    fh_map *map = NULL;
    fh_st *st = NULL;
    fh_json *config = NULL;
    fh_buf text;
    fh_weights w;
    bool codes = false;
    fh_arena_init(&a, 64u << 20);
    fh_buf_init(&text, 16u << 20);
    snprintf(path, sizeof path, "%s/checkpoints/%s/config.json", root, name);
    CHECK_OK(fh_file_read(path, &text, &err), err);
    CHECK_OK(fh_json_parse(&config, fh_buf_str(&text), NULL, &err), err);
    snprintf(path, sizeof path, "%s/checkpoints/%s/model.safetensors", root, name);
    CHECK_OK(fh_map_open(&map, path, &err), err);
    CHECK_OK(fh_st_open(&st, fh_map_bytes(map), &err), err);
    const size_t n = fh_st_n_tensor(st);
    const fh_tensor **list = fh_arena_alloc(&a, n, sizeof *list);
    CHECK(list != NULL);
    for (size_t i = 0; i < n; i++) list[i] = fh_st_get_tensor(st, i);
    CHECK_OK(fh_packed_bind(&w, &a, list, n, fh_json_root(config), &err), err);
    for (size_t i = 0; i < w.n; i++) {
        if (w.item[i].layout[0] && w.item[i].shape.n_dim >= 2) codes = check_weight(&w.item[i], name) || codes;
    }
    CHECK(codes == want_codes);
    fh_buf_release(&text);
    fh_json_free(config);
    fh_st_close(st);
    fh_map_close(map);
    fh_arena_release(&a);
}

TEST(product_weight, committed_checkpoints) {
    check_checkpoint(fh_test_golden(), "awq-4bit", true);
    check_checkpoint(fh_test_golden(), "nvfp4-ct", true);
    check_checkpoint(fh_test_golden(), "gpt-oss-mxfp4", true);
    check_checkpoint(fh_test_golden(), "gptq-4bit-actorder", false); /* a map of columns: decoded */
    check_checkpoint(fh_test_golden(), "fp8-block-edges", false);
}

TEST_GOLDEN(product_weight, all_checkpoints) {
    static const char *const codes[] = {"awq-4bit", "gptq-4bit",      "gptq-8bit",     "int4-g32-ct",
                                        "nvfp4-ct", "nvfp4-modelopt", "gpt-oss-mxfp4", "deepseek-v4-fp8-fp4"};
    for (size_t i = 0; i < FH_COUNT(codes); i++) check_checkpoint(fh_test_shared(), codes[i], true);
    check_checkpoint(fh_test_shared(), "deepseek-v3-fp8", false);
    check_checkpoint(fh_test_shared(), "fp8-channel-ct", false);
}
