/* tests/unit/test_ref_op.c - functions and loops that every op builds on: accuracy, and one result on every CPU.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kernel/ref_math.h"
#include "kernel/ref_op.h"
#include "kernel/ref_op_dot.h"
#include "test.h"

static double within(fh_rng *r, double lo, double hi) { return lo + (hi - lo) * fh_rng_f64(r); }
static double relative(double got, double want) { return fabs(got - want) / (fabs(want) + 1e-300); }

TEST(ref_op, functions_are_accurate) {
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 1);
    for (size_t i = 0; i < 20000 * fh_test_times(); i++) {
        double x = within(&r, -80, 80), s, c;
        CHECK(relative(fh_math_exp(x), exp(x)) < 1e-11);
        x = within(&r, -12, 12);
        CHECK(relative(fh_math_tanh(x), tanh(x)) < 1e-10);
        CHECK(fabs(fh_math_erf(x) - erf(x)) < 2e-12);
        CHECK(relative(fh_math_sigmoid(x), 1 / (1 + exp(-x))) < 1e-11);
        x = x * 1e-4;
        CHECK(relative(fh_math_tanh(x), tanh(x)) < 1e-10 && relative(fh_math_erf(x), erf(x)) < 1e-12);
        x = exp(within(&r, -30, 30));
        CHECK(fabs(fh_math_log(x) - log(x)) < 1e-14 * (1 + fabs(log(x))) &&
              relative(fh_math_log1p(x), log1p(x)) < 1e-12);
        x = within(&r, -2e6, 2e6);
        fh_math_sin_cos(x, &s, &c);
        CHECK(fabs(s - sin(x)) < 1e-13 && fabs(c - cos(x)) < 1e-13);
    }
    CHECK((float)fh_math_exp(1000) == INFINITY && (float)fh_math_exp(-1000) == 0 && isnan(fh_math_exp(NAN)));
    CHECK(fh_math_exp(0) == 1 && fh_math_erf(0) == 0 && fh_math_erf(9) == 1 && fh_math_erf(-9) == -1);
    CHECK(fh_math_tanh(400) == 1 && fh_math_tanh(-400) == -1 && isnan(fh_math_erf(NAN)));
}

/* What the header promises, in the plainest words. */
static float plain_dot(const float *w, const float *x, size_t n) {
    float s[16] = {0};
    for (size_t i = 0; i < n; i++) s[i % 16] += w[i] * x[i];
    for (size_t d = 8; d >= 1; d /= 2) {
        for (size_t i = 0; i < d; i++) s[i] += s[i + d];
    }
    return s[0];
}

static void check_table(const fh_dot_table *t, fh_rng *r) {
    for (size_t round = 0; round < 60 * fh_test_times(); round++) {
        const size_t n = fh_rng_below(r, 200), rows = 1 + fh_rng_below(r, 9), ld = n + fh_rng_below(r, 3);
        float *w = fh_alloc(n, 4), *v = fh_alloc(rows * ld, 4), *acc = fh_alloc(n, 4), *p = fh_alloc(rows, 4);
        float *want = fh_alloc(n, 4), *out = fh_alloc(rows, 4);
        const float *x[9];
        for (size_t i = 0; i < n; i++) w[i] = (float)within(r, -1, 1);
        for (size_t i = 0; i < rows * ld; i++) v[i] = (float)within(r, -1, 1);
        for (size_t i = 0; i < n; i++) acc[i] = want[i] = (float)within(r, -1, 1);
        for (size_t i = 0; i < rows; i++) {
            p[i] = (float)within(r, 0, 1);
            x[i] = v + i * ld;
        }
        t->dots(w, x, rows, n, out);
        for (size_t i = 0; i < rows; i++) {
            const float d = plain_dot(w, x[i], n);
            CHECK(memcmp(&out[i], &d, sizeof d) == 0);
        }
        t->mix(0.75f, p, v, ld, rows, acc, n);
        for (size_t i = 0; i < n; i++) {
            want[i] = 0.75f * want[i];
            for (size_t j = 0; j < rows; j++) want[i] = want[i] + p[j] * v[j * ld + i];
        }
        CHECK(memcmp(acc, want, n * 4) == 0);
        t->axpy(0.3f, w, acc, n);
        for (size_t i = 0; i < n; i++) want[i] = want[i] + 0.3f * w[i];
        CHECK(memcmp(acc, want, n * 4) == 0);
        float *s = fh_alloc(rows * ld, 4);
        memcpy(s, v, rows * ld * 4);
        t->delta(s, ld, rows, n, p, out, w, 0.9f, 0.4f, acc);
        for (size_t c = 0; c < n; c++) {
            float seen = 0, o = 0;
            for (size_t i = 0; i < rows; i++) {
                v[i * ld + c] = v[i * ld + c] * 0.9f;
                seen = seen + v[i * ld + c] * out[i];
            }
            const float d = (w[c] - seen) * 0.4f;
            for (size_t i = 0; i < rows; i++) {
                v[i * ld + c] = v[i * ld + c] + out[i] * d;
                o = o + v[i * ld + c] * p[i];
            }
            CHECK(memcmp(&o, &acc[c], 4) == 0);
        }
        CHECK(memcmp(s, v, rows * ld * 4) == 0);
        fh_free(w);
        fh_free(v);
        fh_free(acc);
        fh_free(p);
        fh_free(want);
        fh_free(out);
        fh_free(s);
    }
}

TEST(ref_op, loops_give_the_same_bits_everywhere) {
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 2);
    check_table(&fh_dot_base, &r);
#if defined(__x86_64__)
    if (fh_cpu_has_level(FH_CPU_LEVEL_AVX2)) check_table(&fh_dot_avx2, &r);
    if (fh_cpu_has_level(FH_CPU_LEVEL_AVX512)) check_table(&fh_dot_avx512, &r);
#endif
    check_table(fh_dot_best(), &r);
}

/* ---- routing, by hand ---- */
static void check_route(fh_ref_route_rule rule, const float *x, const float *bias, const int32_t *id,
                        const float *weight) {
    float tmp[64], w[8];
    int32_t got[8];
    fh_ref_route(&rule, x, bias, tmp, got, w);
    for (uint32_t i = 0; i < rule.k; i++) {
        CHECK_U64(got[i], id[i]);
        CHECK(fabsf(w[i] - weight[i]) < 1e-6f);
    }
}

static float sigmoid(float x) { return 1 / (1 + expf(-x)); }

TEST(ref_op, routes) {
    const float x[8] = {1, 3, 2, 3, -1, 0, 2.5f, -4},
                sum = expf(1) + 2 * expf(3) + expf(2) + expf(-1) + 1 + expf(2.5f) + expf(-4);
    check_route((fh_ref_route_rule){.gate = FH_GATE_SOFTMAX, .n_expert = 8, .k = 3, .scale = 2}, x, NULL,
                (int32_t[]){1, 3, 6}, (float[]){2 * expf(3) / sum, 2 * expf(3) / sum, 2 * expf(2.5f) / sum});
    check_route((fh_ref_route_rule){.gate = FH_GATE_SOFTMAX, .n_expert = 8, .k = 2, .scale = 1, .renorm = true}, x,
                NULL, (int32_t[]){1, 3}, (float[]){0.5f, 0.5f});
    check_route((fh_ref_route_rule){.gate = FH_GATE_SOFTMAX_TOPK, .n_expert = 8, .k = 2, .scale = 1}, x, NULL,
                (int32_t[]){1, 3}, (float[]){0.5f, 0.5f});
    const float bias[8] = {0, 0, 0, 0, 0, 0, 0, 5};
    const float w7 = sigmoid(-4), w1 = sigmoid(3);
    check_route((fh_ref_route_rule){.gate = FH_GATE_SIGMOID, .n_expert = 8, .k = 2, .scale = 2.5f, .renorm = true}, x,
                bias, (int32_t[]){7, 1}, (float[]){2.5f * w7 / (w7 + w1), 2.5f * w1 / (w7 + w1)});
    /* four groups of two: by the best, {1, 3} win; by the sum of two, {2, 3} and {0, 1}, of which 3 comes after 1 */
    check_route((fh_ref_route_rule){.gate = FH_GATE_SIGMOID,
                                    .n_expert = 8,
                                    .k = 3,
                                    .scale = 1,
                                    .group_rule = FH_GROUP_TOP2,
                                    .n_group = 4,
                                    .n_group_used = 2},
                x, NULL, (int32_t[]){1, 3, 2}, (float[]){w1, w1, sigmoid(2)});
    check_route((fh_ref_route_rule){.gate = FH_GATE_SOFTMAX,
                                    .n_expert = 8,
                                    .k = 2,
                                    .scale = 1,
                                    .group_rule = FH_GROUP_MAX,
                                    .n_group = 4,
                                    .n_group_used = 1},
                x, NULL, (int32_t[]){1, 0}, (float[]){expf(3) / sum, expf(1) / sum});
    /* negative choice scores in the winning groups still beat everything in the losing ones */
    const float low[4] = {-9, -9, -9, -9}, push[4] = {-3, -5, -9, -9};
    check_route((fh_ref_route_rule){.gate = FH_GATE_SIGMOID,
                                    .n_expert = 4,
                                    .k = 2,
                                    .scale = 1,
                                    .group_rule = FH_GROUP_TOP2,
                                    .n_group = 2,
                                    .n_group_used = 1},
                low, push, (int32_t[]){0, 1}, (float[]){sigmoid(-9), sigmoid(-9)});
    const float none[4] = {NAN, 1, NAN, NAN};
    float tmp[16], w[4];
    int32_t id[4];
    fh_ref_route(&(fh_ref_route_rule){.gate = FH_GATE_SOFTMAX_TOPK, .n_expert = 4, .k = 3, .scale = 1}, none, NULL, tmp,
                 id, w);
    CHECK(id[0] == 1 && id[1] == 0 && id[2] == 2); /* still distinct and in range */
}

TEST(ref_op, split_rotation_is_halves_of_interleaved_rows) {
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 3);
    float halves[24], mixed[24], tmp[24], c[12], s[12], freq[12];
    for (size_t i = 0; i < 12; i++) {
        freq[i] = (float)within(&r, 0, 1);
        halves[i] = mixed[2 * i] = (float)within(&r, -1, 1);
        halves[i + 12] = mixed[2 * i + 1] = (float)within(&r, -1, 1);
    }
    fh_ref_rope_angles(77, freq, 1.5f, 12, c, s);
    fh_ref_rope(FH_ROPE_HALVES, false, c, s, halves, 12, NULL);
    fh_ref_rope(FH_ROPE_SPLIT, false, c, s, mixed, 12, tmp);
    CHECK(memcmp(halves, mixed, sizeof halves) == 0);
}
