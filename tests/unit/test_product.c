/* tests/unit/test_product.c - fast products against the decoded truth: every type, every level that this machine has,
 * shapes with tails, canaries round outputs, and what the header says cannot be seen in a result.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "kernel/decode.h"
#include "kernel/product.h"
#include "test.h"

#define MAX_IN 1600
#define MAX_OUT 100
#define MAX_N 48
#define CANARY (-12345.5f)

typedef struct bench {
    fh_tensor tensor;
    fh_weight weight;
    const fh_weight *list[1];
    fh_matrix matrix;
    uint8_t *bytes;
    float *w; /* [n_mat * stored rows, in], decoded */
    float *x; /* [MAX_N, in] */
    fh_rng rng;
} bench;

static double normal(fh_rng *r) {
    double s = 0;
    for (int i = 0; i < 12; i++) s += fh_rng_f64(r);
    return s - 6.0;
}

static void put_f16(uint8_t *p, double v) {
    const uint16_t h = fh_f32_to_f16((float)v);
    memcpy(p, &h, 2);
}

/* Random codes with scales of one size. */
static void fill_block(fh_rng *r, fh_dtype t, uint8_t *p) {
    const fh_dtype_info *d = fh_dtype_get_info(t);
    for (uint32_t i = 0; i < d->block_bytes; i++) p[i] = (uint8_t)fh_rng_u32(r);
    const double s = 0.01 + 0.01 * fh_rng_f64(r);
    switch (t) {
    case FH_DTYPE_F32: {
        const float f = (float)normal(r);
        memcpy(p, &f, 4);
        break;
    }
    case FH_DTYPE_F16: put_f16(p, normal(r)); break;
    case FH_DTYPE_BF16: {
        const uint16_t h = fh_f32_to_bf16((float)normal(r));
        memcpy(p, &h, 2);
        break;
    }
    case FH_DTYPE_Q4_0:
    case FH_DTYPE_Q5_0:
    case FH_DTYPE_Q8_0:
    case FH_DTYPE_IQ4_NL:
    case FH_DTYPE_IQ4_XS:
    case FH_DTYPE_IQ2_XXS:
    case FH_DTYPE_IQ2_XS:
    case FH_DTYPE_IQ2_S:
    case FH_DTYPE_IQ3_XXS:
    case FH_DTYPE_IQ3_S:
    case FH_DTYPE_IQ1_S:
    case FH_DTYPE_Q1_0:
    case FH_DTYPE_Q2_0: put_f16(p, s); break;
    case FH_DTYPE_Q4_1:
    case FH_DTYPE_Q5_1: put_f16(p, s), put_f16(p + 2, -s * 7); break;
    case FH_DTYPE_Q4_K:
    case FH_DTYPE_Q5_K: put_f16(p, s), put_f16(p + 2, s * 7); break;
    case FH_DTYPE_Q6_K: put_f16(p + 208, s); break;
    case FH_DTYPE_Q3_K: put_f16(p + 108, s); break;
    case FH_DTYPE_Q2_K: put_f16(p + 80, s), put_f16(p + 82, s); break;
    case FH_DTYPE_TQ1_0: put_f16(p + 52, s); break;
    case FH_DTYPE_TQ2_0: put_f16(p + 64, s); break;
    case FH_DTYPE_MXFP4: p[0] = (uint8_t)(120 + fh_rng_u32(r) % 5); break;
    case FH_DTYPE_NVFP4:
        for (int i = 0; i < 4; i++) p[i] = (uint8_t)(40 + fh_rng_u32(r) % 30);
        break;
    case FH_DTYPE_IQ1_M: /* a nibble of the f16 scale on top of each of four words */
        p[49] &= 15, p[51] &= 15, p[53] &= 15, p[55] = (uint8_t)((p[55] & 15) | 0x20);
        break;
    case FH_DTYPE_F8_E4M3: p[0] = (uint8_t)((p[0] & 0x87) | 0x38); break;
    default: break;
    }
}

static void make(bench *b, fh_dtype t, uint32_t n_mat, uint64_t out, uint64_t in, uint64_t seed) {
    const fh_dtype_info *d = fh_dtype_get_info(t);
    uint64_t bytes = 0;
    memset(b, 0, sizeof *b);
    fh_rng_init(&b->rng, fh_test_seed(), seed);
    CHECK(fh_dtype_bytes(t, n_mat * out * in, &bytes));
    b->bytes = fh_alloc(bytes + 1, 1);
    b->w = fh_alloc(n_mat * out * in, sizeof(float));
    b->x = fh_alloc(MAX_N * in, sizeof(float));
    CHECK(b->bytes != NULL && b->w != NULL && b->x != NULL);
    for (uint64_t i = 0; i < bytes; i += d->block_bytes) fill_block(&b->rng, t, b->bytes + 1 + i);
    fh_decode(t, b->bytes + 1, b->w, n_mat * out * in);
    for (size_t i = 0; i < MAX_N * in; i++) b->x[i] = (float)normal(&b->rng);
    b->tensor = (fh_tensor){.dtype = t, .data = {b->bytes + 1, bytes}, .shape = {3, {n_mat, out, in}}};
    b->weight = (fh_weight){.codes = &b->tensor, .shape = b->tensor.shape};
    b->list[0] = &b->weight;
    b->matrix =
        (fh_matrix){.weight = b->list, .n_weight = 1, .n_mat = n_mat, .out = out, .in = in, .stride = out, .step = 1};
}

static void drop(bench *b) {
    fh_free(b->bytes);
    fh_free(b->w);
    fh_free(b->x);
}

/* Everything that one run needs. Results have room for a canary before and behind each. */
typedef struct run {
    uint8_t *form, *scratch;
    void *form_block, *scratch_block;
    float *y; /* [n, out + 2] */
    const void *x[MAX_N];
    float *to[MAX_N];
} run;

static void *aligned(void **block, size_t n) {
    *block = fh_alloc(n + FH_PRODUCT_ALIGN, 1);
    CHECK(*block != NULL);
    const size_t off = (uintptr_t)*block % FH_PRODUCT_ALIGN;
    return (uint8_t *)*block + (off ? FH_PRODUCT_ALIGN - off : 0);
}

static void run_make(run *r, const bench *b, const fh_product *p, fh_product_form form, size_t n, bool spread) {
    const size_t row = (fh_product_form_bytes(form, b->matrix.in) + 63) / 64 * 64, gap = spread ? 64 : 0;
    r->form = aligned(&r->form_block, n * (row + 2 * gap) + 64);
    r->scratch = aligned(&r->scratch_block, fh_product_scratch_bytes(p));
    r->y = fh_alloc(n * (b->matrix.out + 2), sizeof(float));
    CHECK(r->y != NULL);
    for (size_t i = 0; i < n * (b->matrix.out + 2); i++) r->y[i] = CANARY;
    for (size_t i = 0; i < n; i++) {
        uint8_t *at = r->form + i * row + (i % 3) * gap + i / 3 * 2 * gap;
        if (form == FH_FORM_F32) memcpy(at, b->x + i * b->matrix.in, b->matrix.in * sizeof(float));
        else fh_product_form_make(p, form, b->x + i * b->matrix.in, b->matrix.in, at);
        r->x[i] = at;
        r->to[i] = r->y + i * (b->matrix.out + 2) + 1;
    }
}

static void run_drop(run *r) {
    fh_free(r->form_block);
    fh_free(r->scratch_block);
    fh_free(r->y);
}

static void run_go(run *r, const fh_product *p, fh_product_form form, uint32_t mat, size_t n) {
    const fh_product_args a = {
        .mat = mat, .p0 = 0, .p1 = fh_product_panels(p), .form = form, .n = n, .x = r->x, .y = r->to};
    fh_product_run(p, &a, r->scratch);
}

static double relative_error(const bench *b, const run *r, uint32_t mat, size_t n) {
    const uint64_t in = b->matrix.in, out = b->matrix.out;
    double wrong = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        const float *y = r->y + i * (out + 2);
        if (y[0] != CANARY || y[out + 1] != CANARY) fh_test_fail(__FILE__, __LINE__, "a canary died");
        for (uint64_t j = 0; j < out; j++) {
            double want = 0;
            for (uint64_t k = 0; k < in; k++) {
                want += (double)b->w[(mat * out + j) * in + k] * (double)b->x[i * in + k];
            }
            const double d = (double)y[1 + j] - want;
            wrong += d * d, all += want * want;
        }
    }
    return sqrt(wrong / all);
}

static const fh_dtype types[] = {
    FH_DTYPE_Q4_0, FH_DTYPE_Q4_1, FH_DTYPE_Q5_0, FH_DTYPE_Q5_1,    FH_DTYPE_Q8_0,   FH_DTYPE_Q2_K,   FH_DTYPE_Q3_K,
    FH_DTYPE_Q4_K, FH_DTYPE_Q5_K, FH_DTYPE_Q6_K, FH_DTYPE_IQ4_NL,  FH_DTYPE_IQ4_XS, FH_DTYPE_MXFP4,  FH_DTYPE_NVFP4,
    FH_DTYPE_F32,  FH_DTYPE_F16,  FH_DTYPE_BF16, FH_DTYPE_F8_E4M3, FH_DTYPE_IQ3_S,  FH_DTYPE_IQ2_XS, FH_DTYPE_TQ2_0};

static uint64_t some_in(fh_dtype t, uint32_t pick) {
    const uint64_t e = fh_dtype_get_info(t)->block_elems;
    static const uint64_t plain[] = {1, 31, 512, 777, 1024, 1056};
    if (e == 1) return plain[pick % FH_COUNT(plain)];
    return e * (1 + pick % (MAX_IN / e));
}

static bool level_usable(fh_cpu_level l) { return fh_cpu_has_level(l); }

/* The mean square of relative errors, weighed by the number of results, and what it may be: int8 has 0.53 % for normal
 * inputs (their largest of 32 is 2.4 times their size, in 127 steps), bf16 0.24 % (both factors are rounded). */
typedef struct pool {
    double sum, n;
} pool;
static const double most[FH_FORM_COUNT] = {[FH_FORM_F32] = 1e-6, [FH_FORM_I8] = 0.0058, [FH_FORM_BF16] = 0.0029};

static void check_case(pool *pools, fh_dtype t, fh_cpu_level level, uint64_t out, uint64_t in, size_t n,
                       uint64_t seed) {
    bench b;
    make(&b, t, 2, out, in, seed);
    fh_product p;
    fh_product_init(&p, &b.matrix, level);
    for (int f = 0; f < FH_FORM_COUNT; f++) {
        const fh_product_form form = (fh_product_form)f;
        run r;
        if (!fh_product_takes(&p, form)) continue;
        run_make(&r, &b, &p, form, n, seed % 2 == 0);
        run_go(&r, &p, form, 1, n);
        const double e = relative_error(&b, &r, 1, n), count = (double)n * (double)out;
        if (!(e <= most[f] * (in < 256 ? 8 : 4))) /* a gross mistake; one case has too few numbers for more */
            fh_test_fail(__FILE__, __LINE__, "%s level %s form %d out %llu in %llu n %zu: relative error %.5f",
                         fh_dtype_name(t), fh_cpu_level_name(level), f, (unsigned long long)out, (unsigned long long)in,
                         n, e);
        if (in >= 256) pools[f].sum += e * e * count, pools[f].n += count;
        run_drop(&r);
    }
    drop(&b);
}

TEST(product, every_type_and_level_against_the_decoded_truth) {
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 9);
    for (int l = 0; l < FH_CPU_LEVEL_COUNT; l++) {
        pool pools[FH_FORM_COUNT] = {{0, 0}};
        if (!level_usable((fh_cpu_level)l)) continue;
        for (size_t k = 0; k < FH_COUNT(types); k++) {
            for (size_t i = 0; i < (l == FH_CPU_LEVEL_REF ? 1 : 2) * fh_test_times(); i++) {
                const uint64_t in = some_in(types[k], fh_rng_u32(&r));
                const uint64_t out = 1 + fh_rng_below(&r, MAX_OUT - 1);
                const size_t n = (size_t)(1 + fh_rng_below(&r, i == 0 ? 8 : l == FH_CPU_LEVEL_REF ? 4 : MAX_N - 1));
                check_case(pools, types[k], (fh_cpu_level)l, out, in, n, fh_rng_u32(&r));
            }
        }
        for (int f = 0; f < FH_FORM_COUNT; f++) {
            const double e = pools[f].n > 0 ? sqrt(pools[f].sum / pools[f].n) : 0;
            if (!(e <= most[f]))
                fh_test_fail(__FILE__, __LINE__, "level %s form %d: relative error %.5f, at most %.5f",
                             fh_cpu_level_name((fh_cpu_level)l), f, e, most[f]);
        }
    }
}

/* Where weights come from: the file; packed forms that were made before, or are made as products meet them. */
typedef enum source { FROM_FILE, PACKED, PACKED_AS_MET } source;

/* Bits of one level's results, for the same weights and inputs. */
static void results(const bench *b, fh_cpu_level level, fh_product_form form, size_t n, size_t split, source from,
                    float *out) {
    fh_product p;
    run r;
    void *block = NULL;
    static fh_panel_state state[2 * MAX_OUT];
    const uint64_t rows = b->matrix.out;
    fh_product_init(&p, &b->matrix, level);
    if (from != FROM_FILE) {
        memset(state, 0, sizeof state);
        fh_product_set_packed(&p, aligned(&block, fh_product_pack_bytes(&p)), state);
    }
    while (from == PACKED && fh_product_pack(&p, 1)) {
    }
    run_make(&r, b, &p, form, n, false);
    for (size_t i = 0; i < n; i += split) {
        fh_product_args a = {.mat = 1,
                             .p0 = 0,
                             .p1 = fh_product_panels(&p),
                             .form = form,
                             .n = FH_MIN(split, n - i),
                             .x = r.x + i,
                             .y = r.to + i};
        fh_product_run(&p, &a, r.scratch);
    }
    for (size_t i = 0; i < n; i++) memcpy(out + i * rows, r.to[i], rows * sizeof *out);
    run_drop(&r);
    fh_free(block);
}

TEST(product, int8_and_f32_results_are_the_same_bits_on_every_level_and_in_every_split) {
    static float want[MAX_OUT * MAX_N], got[MAX_OUT * MAX_N];
    for (size_t k = 0; k < FH_COUNT(types); k++) {
        bench b;
        const uint64_t in = some_in(types[k], 4), out = 45;
        const size_t n = 13;
        make(&b, types[k], 2, out, in, k);
        for (int f = 0; f < FH_FORM_COUNT; f++) {
            fh_product p;
            fh_product_init(&p, &b.matrix, FH_CPU_LEVEL_REF);
            if (f == FH_FORM_BF16 || !fh_product_takes(&p, (fh_product_form)f)) continue;
            results(&b, FH_CPU_LEVEL_REF, (fh_product_form)f, n, n, FROM_FILE, want);
            for (int l = 0; l < FH_CPU_LEVEL_COUNT; l++) {
                static const size_t split[] = {1, 5, 13};
                if (!level_usable((fh_cpu_level)l) || l == FH_CPU_LEVEL_REF) continue;
                for (size_t s = 0; s < 2 * FH_COUNT(split); s++) {
                    const bool packed = s >= FH_COUNT(split);
                    if (packed && fh_product_pack_bytes(&p) == 0) continue;
                    results(&b, (fh_cpu_level)l, (fh_product_form)f, n, split[s % FH_COUNT(split)],
                            packed ? PACKED : FROM_FILE, got);
                    for (size_t i = 0; i < n * out; i++) {
                        if (memcmp(&want[i], &got[i], sizeof(float)) != 0)
                            fh_test_fail(__FILE__, __LINE__, "%s level %s form %d split %zu element %zu: %.9g not %.9g",
                                         fh_dtype_name(types[k]), fh_cpu_level_name((fh_cpu_level)l), f,
                                         split[s % FH_COUNT(split)], i, (double)got[i], (double)want[i]);
                    }
                }
            }
        }
        drop(&b);
    }
}

TEST(product, bf16_results_do_not_depend_on_split_or_packing) {
    static float want[MAX_OUT * MAX_N], got[MAX_OUT * MAX_N];
    static const fh_cpu_level level[] = {FH_CPU_LEVEL_BF16, FH_CPU_LEVEL_AMX};
    for (size_t l = 0; l < FH_COUNT(level); l++) {
        if (!level_usable(level[l])) continue;
        for (size_t k = 0; k < FH_COUNT(types); k++) {
            bench b;
            fh_product p;
            const size_t n = 37;
            make(&b, types[k], 2, 50, some_in(types[k], 4), k);
            fh_product_init(&p, &b.matrix, level[l]);
            results(&b, level[l], FH_FORM_BF16, n, n, FROM_FILE, want);
            for (size_t split = 1; split < n; split += 5) {
                results(&b, level[l], FH_FORM_BF16, n, split, fh_product_pack_bytes(&p) > 0 ? PACKED : FROM_FILE, got);
                CHECK(memcmp(want, got, n * 50 * sizeof(float)) == 0);
            }
            drop(&b);
        }
    }
}

TEST(product, many_inputs_pack_what_they_meet_and_give_the_same_bits) {
    static float want[MAX_OUT * MAX_N], got[MAX_OUT * MAX_N];
    for (size_t k = 0; k < FH_COUNT(types); k++) {
        bench b;
        const size_t n = 40;
        make(&b, types[k], 2, 45, some_in(types[k], 4), k);
        for (int l = 0; l < FH_CPU_LEVEL_COUNT; l++) {
            if (!level_usable((fh_cpu_level)l)) continue;
            fh_product p;
            fh_product_init(&p, &b.matrix, (fh_cpu_level)l);
            const fh_product_form form = fh_product_wants(&p, n);
            if (fh_product_pack_bytes(&p) == 0) continue;
            results(&b, (fh_cpu_level)l, form, n, n, FROM_FILE, want);
            results(&b, (fh_cpu_level)l, form, n, n, PACKED_AS_MET, got);
            CHECK(memcmp(want, got, n * 45 * sizeof(float)) == 0);
            results(&b, (fh_cpu_level)l, form, n, 35, PACKED_AS_MET, got); /* the rest finds them packed */
            CHECK(memcmp(want, got, n * 45 * sizeof(float)) == 0);
        }
        drop(&b);
    }
}

typedef struct race {
    const bench *b;
    fh_product p;
    const float *want;
    atomic_bool same;
} race;

static void race_worker(void *ctx, int worker, int n_worker) {
    race *c = ctx;
    run r;
    (void)n_worker;
    if (worker == 0) {
        while (fh_product_pack(&c->p, 1)) sched_yield();
        return;
    }
    run_make(&r, c->b, &c->p, FH_FORM_I8, MAX_N, false);
    for (int round = 0; round < 8; round++) {
        const size_t n = round % 2 ? MAX_N : 3;
        fh_product_args a = {.mat = 1, .p1 = fh_product_panels(&c->p), .form = FH_FORM_I8, .n = n, .x = r.x, .y = r.to};
        fh_product_run(&c->p, &a, r.scratch);
        for (size_t i = 0; i < n; i++) {
            if (memcmp(r.to[i], c->want + i * c->b->matrix.out, c->b->matrix.out * sizeof(float)) != 0)
                atomic_store(&c->same, false);
        }
    }
    run_drop(&r);
}

TEST(product, packing_while_products_run_is_not_seen) {
    static float want[MAX_OUT * MAX_N];
    static fh_panel_state state[2 * MAX_OUT];
    fh_pool *team = NULL;
    fh_err err = {0};
    CHECK(fh_pool_new(&team, &(fh_pool_options){.n_worker = 3}, &err) == FH_OK);
    for (uint64_t round = 0; round < 20; round++) {
        bench b;
        void *block = NULL;
        make(&b, FH_DTYPE_Q4_K, 2, 96, 512, round);
        results(&b, fh_cpu_best_level(), FH_FORM_I8, MAX_N, MAX_N, FROM_FILE, want);
        race c = {.b = &b, .want = want, .same = true};
        fh_product_init(&c.p, &b.matrix, fh_cpu_best_level());
        memset(state, 0, sizeof state);
        fh_product_set_packed(&c.p, aligned(&block, fh_product_pack_bytes(&c.p)), state);
        fh_pool_run(team, race_worker, &c);
        CHECK(atomic_load(&c.same));
        for (uint64_t i = 0; i < fh_product_all_panels(&c.p); i++) CHECK(atomic_load(&state[i].is) != 0);
        fh_free(block);
        drop(&b);
    }
    fh_pool_free(team);
}

TEST(product, forms_of_inputs_are_the_same_bits_on_every_level) {
    bench b;
    fh_product ref, p;
    make(&b, FH_DTYPE_Q8_0, 1, 4, 320, 3);
    memset(b.x, 0, 40 * sizeof(float));
    b.x[100] = 1e30f, b.x[200] = 1e-35f;
    for (size_t i = 224; i < 256; i++) b.x[i] = 1e-36f;
    fh_product_init(&ref, &b.matrix, FH_CPU_LEVEL_REF);
    for (int l = 0; l < FH_CPU_LEVEL_COUNT; l++) {
        uint8_t want[640], got[640];
        if (!level_usable((fh_cpu_level)l)) continue;
        fh_product_init(&p, &b.matrix, (fh_cpu_level)l);
        CHECK(fh_product_form_bytes(FH_FORM_I8, 320) >= sizeof want);
        fh_product_form_make(&ref, FH_FORM_I8, b.x, 320, want);
        fh_product_form_make(&p, FH_FORM_I8, b.x, 320, got);
        CHECK(memcmp(want, got, sizeof want) == 0);
        if (!fh_product_takes(&p, FH_FORM_BF16)) continue;
        fh_product_form_make(&p, FH_FORM_BF16, b.x, 320, got);
        for (size_t i = 0; i < 320; i++) {
            uint16_t h;
            memcpy(&h, got + 2 * i, 2);
            CHECK_U64(h, fh_f32_to_bf16(b.x[i]));
        }
    }
    drop(&b);
}

TEST(product, numbers_that_are_none_come_out_as_none) {
    bench b;
    run r;
    fh_product p;
    make(&b, FH_DTYPE_Q4_K, 2, 40, 512, 5);
    b.x[7] = NAN;
    b.x[512 + 300] = INFINITY;
    fh_product_init(&p, &b.matrix, fh_cpu_best_level());
    run_make(&r, &b, &p, FH_FORM_I8, 3, false);
    run_go(&r, &p, FH_FORM_I8, 0, 3);
    for (size_t i = 0; i < 40; i++) CHECK(!isfinite(r.to[0][i]) && !isfinite(r.to[1][i]) && isfinite(r.to[2][i]));
    run_drop(&r);
    drop(&b);
}

static void count_done(void *ctx, uint64_t r, size_t n_row, uint64_t i, size_t n, const float *value) {
    float *sum = ctx;
    for (size_t j = 0; j < n; j++) {
        for (size_t k = 0; k < n_row; k++) sum[(i + j) * 70 + r + k] = value[j * FH_PRODUCT_PANEL + k];
    }
}

TEST(product, results_can_be_handed_over_instead_of_stored) {
    static float got[70 * 9];
    bench b;
    run r;
    fh_product p;
    make(&b, FH_DTYPE_Q6_K, 2, 70, 512, 6);
    fh_product_init(&p, &b.matrix, fh_cpu_best_level());
    run_make(&r, &b, &p, FH_FORM_I8, 9, false);
    run_go(&r, &p, FH_FORM_I8, 1, 9);
    const fh_product_args a = {
        .mat = 1, .p0 = 0, .p1 = 99, .form = FH_FORM_I8, .n = 9, .x = r.x, .done = count_done, .ctx = got};
    fh_product_run(&p, &a, r.scratch);
    for (size_t i = 0; i < 9; i++) CHECK(memcmp(got + i * 70, r.to[i], 70 * sizeof(float)) == 0);
    run_drop(&r);
    drop(&b);
}

TEST(product, rows_at_a_step_and_transposed) {
    bench b;
    run r;
    fh_product p;
    make(&b, FH_DTYPE_Q8_0, 2, 64, 96, 8);
    b.matrix.out = 32, b.matrix.step = 2, b.matrix.first = 1; /* the odd rows of each */
    fh_product_init(&p, &b.matrix, fh_cpu_best_level());
    run_make(&r, &b, &p, FH_FORM_I8, 2, false);
    run_go(&r, &p, FH_FORM_I8, 1, 2);
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 32; j++) {
            double want = 0, size = 0;
            for (size_t k = 0; k < 96; k++) {
                const double t = (double)b.w[(64 + 1 + 2 * j) * 96 + k] * (double)b.x[i * 96 + k];
                want += t, size += t * t;
            }
            CHECK(fabs((double)r.to[i][j] - want) < 0.03 * sqrt(size));
        }
    }
    run_drop(&r);
    b.matrix = (fh_matrix){.weight = b.list,
                           .n_weight = 1,
                           .n_mat = 1,
                           .out = 40,
                           .in = 50,
                           .first = 3,
                           .step = 2,
                           .col = 5,
                           .transposed = true};
    fh_product_init(&p, &b.matrix, fh_cpu_best_level());
    CHECK(fh_product_pack_bytes(&p) == 0 && !fh_product_takes(&p, FH_FORM_I8));
    run_make(&r, &b, &p, FH_FORM_F32, 2, false);
    run_go(&r, &p, FH_FORM_F32, 0, 2);
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 40; j++) {
            double want = 0;
            for (size_t k = 0; k < 50; k++) {
                want += (double)b.w[(3 + k) * 96 + 5 + 2 * j] * (double)b.x[i * 50 + k];
            }
            CHECK(fabs((double)r.to[i][j] - want) < 1e-4 * (1 + fabs(want)));
        }
    }
    run_drop(&r);
    drop(&b);
}

TEST(product, packing_is_close_to_the_size_of_the_file) {
    static const fh_dtype t[] = {FH_DTYPE_Q4_0,   FH_DTYPE_Q4_1,   FH_DTYPE_Q5_0,  FH_DTYPE_Q5_1, FH_DTYPE_Q8_0,
                                 FH_DTYPE_Q2_K,   FH_DTYPE_Q3_K,   FH_DTYPE_Q4_K,  FH_DTYPE_Q5_K, FH_DTYPE_Q6_K,
                                 FH_DTYPE_IQ4_NL, FH_DTYPE_IQ4_XS, FH_DTYPE_MXFP4, FH_DTYPE_NVFP4};
    for (size_t i = 0; i < FH_COUNT(t); i++) {
        bench b;
        fh_product p;
        make(&b, t[i], 2, 96, 1024, i);
        fh_product_init(&p, &b.matrix, FH_CPU_LEVEL_REF);
        const uint64_t got = fh_product_pack_bytes(&p), file = b.tensor.data.len;
        if (got > file * 106 / 100)
            fh_test_fail(__FILE__, __LINE__, "%s: %f of the file", fh_dtype_name(t[i]), (double)got / (double)file);
        drop(&b);
    }
}
