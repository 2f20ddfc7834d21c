/* tests/unit/test_quantize.c - quantizers: the reference's bytes, one kind of bits on every CPU, sane reconstruction.
 * SPDX-License-Identifier: Apache-2.0
 * Golden hashes were taken from the reference implementation over numbers that are made here (tests of the format's
 * authors are not needed for that). They cover every type that it can make. */
#include <math.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "kernel/decode.h"
#include "kernel/quantize.h"
#include "test.h"

enum { COLS = 4096, ROWS = 256 };

static uint64_t xorshift(uint64_t *s) {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* Sums of twelve: about normal, deviation 0.02. */
static void fill(float *x, size_t n, uint64_t *s) {
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 12; k++) sum += (double)(xorshift(s) >> 11) / 9007199254740992.0;
        x[i] = (float)((sum - 6) * 0.02);
    }
}

static uint64_t fnv(const uint8_t *p, size_t n) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static size_t bytes_of(fh_dtype t, size_t n) {
    const fh_dtype_info *i = fh_dtype_get_info(t);
    return n / i->block_elems * i->block_bytes;
}

/* x, weights, output of the golden case. */
static float *golden_x(float **weight) {
    uint64_t s = 88172645463325252u;
    float *x = fh_alloc((size_t)COLS * (ROWS + 1), sizeof *x);
    CHECK(x);
    fill(x, (size_t)COLS * ROWS, &s);
    *weight = x + (size_t)COLS * ROWS;
    for (size_t i = 0; i < COLS; i++) (*weight)[i] = 0.1f + (float)(xorshift(&s) >> 40) / 16777216.0f;
    return x;
}

static const struct {
    fh_dtype type;
    uint64_t plain, weighted; /* 0: not possible */
} golden[] = {
    {FH_DTYPE_F32, 0x56f652748e6d7bc6, 0x56f652748e6d7bc6},
    {FH_DTYPE_F16, 0x2c1ab1c41bcee232, 0x2c1ab1c41bcee232},
    {FH_DTYPE_BF16, 0x5a2f0415d1f7b948, 0x5a2f0415d1f7b948},
    {FH_DTYPE_Q4_0, 0x124e80bc3c23a095, 0x0bb9a6bf135b01d5},
    {FH_DTYPE_Q4_1, 0xaf1578d9ce127fed, 0xca16644321c4c9ab},
    {FH_DTYPE_Q5_0, 0x0acaa2340b7ddde1, 0x570243803f9a132c},
    {FH_DTYPE_Q5_1, 0x6024fd91908f7cdf, 0x2bb1bd5a4507453d},
    {FH_DTYPE_Q8_0, 0xf2cfc50a7b3dd74c, 0xf2cfc50a7b3dd74c},
    {FH_DTYPE_Q2_K, 0xa2f9272b7a245856, 0xe5e10ddd095247ec},
    {FH_DTYPE_Q3_K, 0x45f64a14c29979c6, 0xd7fa0fc091b4abc9},
    {FH_DTYPE_Q4_K, 0xfbe73d51c7dde1fd, 0x696e4a80f30d7d42},
    {FH_DTYPE_Q5_K, 0xd2e4d4263b3ab347, 0x0f101cf8e619e5ae},
    {FH_DTYPE_Q6_K, 0xf235ae2205756e0b, 0x4b6e221126afc146},
    {FH_DTYPE_IQ2_XXS, 0x0, 0xc092a62c371d6416},
    {FH_DTYPE_IQ2_XS, 0x0, 0xbf007fe0c1263409},
    {FH_DTYPE_IQ3_XXS, 0xd9faddebce430a02, 0x6011d1deacefd1f9},
    {FH_DTYPE_IQ1_S, 0x0, 0x3e32a5b35222b694},
    {FH_DTYPE_IQ4_NL, 0x3f8d52835da455f4, 0x8117d11ea5bd2c91},
    {FH_DTYPE_IQ3_S, 0x39c57945a6c4f8b4, 0x7d45296263a173b1},
    {FH_DTYPE_IQ2_S, 0x352586fd1e5add0f, 0x7e76db29d4e4cdab},
    {FH_DTYPE_IQ4_XS, 0x2b4f6252789a493f, 0x7dc0e4361f6c7491},
    {FH_DTYPE_IQ1_M, 0x424a07321cca1c42, 0x412537153e103455},
    {FH_DTYPE_TQ1_0, 0x5d954b57bf08e50a, 0x5d954b57bf08e50a},
    {FH_DTYPE_TQ2_0, 0x1e53a7e1cb068797, 0x1e53a7e1cb068797},
    {FH_DTYPE_MXFP4, 0x7c6f42a23f910ddc, 0x7c6f42a23f910ddc},
    {FH_DTYPE_NVFP4, 0xc4b1a75ff2d8d70b, 0xc4b1a75ff2d8d70b},
    {FH_DTYPE_Q1_0, 0xd35d2df6d27b1351, 0xd35d2df6d27b1351},
    {FH_DTYPE_Q2_0, 0x7cc1debceac36d85, 0x7cc1debceac36d85},
};

TEST(quantize, bytes_of_the_reference) {
    float *weight, *x = golden_x(&weight);
    uint8_t *y = fh_alloc((size_t)COLS * ROWS, 4);
    CHECK(y);
    for (size_t k = 0; k < FH_COUNT(golden); k++) {
        const fh_dtype t = golden[k].type;
        const size_t n = bytes_of(t, (size_t)COLS * ROWS);
        for (int w = 0; w < 2; w++) {
            const uint64_t want = w ? golden[k].weighted : golden[k].plain;
            if (!want) continue;
            fh_quantize(t, x, y, ROWS, COLS, w ? weight : NULL);
            if (fnv(y, n) != want)
                fh_test_fail(__FILE__, __LINE__, "%s %s weights differs", fh_dtype_name(t), w ? "with" : "without");
            CHECK(fh_quantize_is_valid(t, y, n / fh_dtype_get_info(t)->block_bytes));
        }
    }
    fh_free(x);
    fh_free(y);
}

/* Numbers that quantizers stumble over: zeros, single numbers, one sign only, ties, many scales in one row. */
static void hard_row(float *x, size_t n, int kind, fh_rng *r) {
    for (size_t i = 0; i < n; i++) {
        const double u = fh_rng_f64(r), g = fh_rng_f64(r) + fh_rng_f64(r) + fh_rng_f64(r) - 1.5;
        double v = g;
        switch (kind) {
        case 0: break;
        case 1: v = u < 0.8 ? 0 : g; break;
        case 2: v = i % 256 ? 0 : g; break;
        case 3: v = u; break;
        case 4: v = -u * 1e-3; break;
        case 5: v = (double)(int)(u * 5) - 2; break;
        case 6: v = tan(3.14 * (u - 0.5)) * 0.01; break;
        case 7: v = g * pow(10, (double)((i / 64) % 12) - 8); break;
        case 8: v = i / 32 % 3 ? 0.25 : -1; break;
        case 9: v = i / 32 % 2 ? g : 0; break;
        default: v = g * pow(10, -(double)((i / 256) % 40)); break;
        }
        x[i] = (float)v;
    }
}

enum { N_KIND = 11, HARD = 16 * 256 + 256 }; /* an odd number of super-blocks */

TEST(quantize, same_bits_on_every_level) {
    fh_rng r;
    float x[HARD], weight[HARD];
    uint8_t want[HARD * 4 + 1], got[HARD * 4 + 1];
    fh_rng_init(&r, fh_test_seed(), 0);
    for (int kind = 0; kind < N_KIND; kind++) {
        hard_row(x, HARD, kind, &r);
        for (size_t i = 0; i < HARD; i++) weight[i] = kind == 1 && i / 32 % 2 ? 0 : (float)fh_rng_f64(&r);
        for (unsigned t = 0; t < FH_DTYPE_COUNT; t++) {
            if (!fh_can_quantize((fh_dtype)t)) continue;
            const size_t n = bytes_of((fh_dtype)t, HARD);
            for (int w = 0; w < 2; w++) {
                if (!w && fh_quantize_needs_weights((fh_dtype)t)) continue;
                CHECK(fh_quantize_at(FH_CPU_LEVEL_REF, (fh_dtype)t, x, want, 1, HARD, w ? weight : NULL));
                for (unsigned l = 1; l < FH_CPU_LEVEL_COUNT; l++) {
                    memset(got, 0xa5, sizeof got);
                    if (!fh_quantize_at((fh_cpu_level)l, (fh_dtype)t, x, got, 1, HARD, w ? weight : NULL)) continue;
                    CHECK(got[n] == 0xa5);
                    if (memcmp(want, got, n) != 0)
                        fh_test_fail(__FILE__, __LINE__, "%s, numbers %d, level %s", fh_dtype_name((fh_dtype)t), kind,
                                     fh_cpu_level_name((fh_cpu_level)l));
                }
            }
        }
    }
}

/* A row means the same wherever it stands, and whatever is read along with it. */
TEST(quantize, rows_do_not_depend_on_each_other) {
    fh_rng r;
    float x[4 * 512], weight[512];
    uint8_t all[4 * 512 * 4], one[512 * 4];
    fh_rng_init(&r, fh_test_seed(), 0);
    hard_row(x, 4 * 512, 0, &r);
    for (size_t i = 0; i < 512; i++) weight[i] = (float)fh_rng_f64(&r);
    for (unsigned t = 0; t < FH_DTYPE_COUNT; t++) {
        if (!fh_can_quantize((fh_dtype)t)) continue;
        const size_t n = bytes_of((fh_dtype)t, 512);
        fh_quantize((fh_dtype)t, x, all, 4, 512, weight);
        for (size_t row = 0; row < 4; row++) {
            fh_quantize((fh_dtype)t, x + row * 512, one, 1, 512, weight);
            CHECK(memcmp(one, all + row * n, n) == 0);
        }
    }
}

/* Relative error (rms of the difference over rms of the numbers) that normal numbers may have at most. */
static const struct {
    fh_dtype type;
    double limit;
} error_row[] = {
    {FH_DTYPE_F32, 0},       {FH_DTYPE_F16, 3e-4},     {FH_DTYPE_BF16, 2.5e-3}, {FH_DTYPE_Q8_0, 0.006},
    {FH_DTYPE_Q6_K, 0.02},   {FH_DTYPE_Q5_K, 0.04},    {FH_DTYPE_Q5_0, 0.05},   {FH_DTYPE_Q5_1, 0.045},
    {FH_DTYPE_Q4_K, 0.08},   {FH_DTYPE_Q4_0, 0.1},     {FH_DTYPE_Q4_1, 0.09},   {FH_DTYPE_IQ4_NL, 0.085},
    {FH_DTYPE_IQ4_XS, 0.09}, {FH_DTYPE_MXFP4, 0.13},   {FH_DTYPE_NVFP4, 0.11},  {FH_DTYPE_Q3_K, 0.18},
    {FH_DTYPE_IQ3_S, 0.16},  {FH_DTYPE_IQ3_XXS, 0.2},  {FH_DTYPE_Q2_K, 0.33},   {FH_DTYPE_IQ2_S, 0.3},
    {FH_DTYPE_IQ2_XS, 0.33}, {FH_DTYPE_IQ2_XXS, 0.38}, {FH_DTYPE_IQ1_M, 0.5},   {FH_DTYPE_IQ1_S, 0.53},
    {FH_DTYPE_Q1_0, 0.65},
};

TEST(quantize, what_comes_back) {
    uint64_t s = 88172645463325252u;
    float x[COLS], weight[COLS], back[COLS];
    uint8_t y[COLS * 4];
    fill(x, COLS, &s);
    for (size_t i = 0; i < COLS; i++) weight[i] = 1;
    for (size_t k = 0; k < FH_COUNT(error_row); k++) {
        const fh_dtype t = error_row[k].type;
        double error = 0, size = 0;
        fh_quantize(t, x, y, 1, COLS, weight);
        fh_decode(t, y, back, COLS);
        for (size_t i = 0; i < COLS; i++) {
            error += ((double)back[i] - x[i]) * ((double)back[i] - x[i]);
            size += (double)x[i] * x[i];
        }
        if (sqrt(error / size) > error_row[k].limit)
            fh_test_fail(__FILE__, __LINE__, "%s: relative error %.4f", fh_dtype_name(t), sqrt(error / size));
    }
}

/* A group of zeros within other numbers: the reference's IQ3_S puts what follows it in the wrong place; not here. */
TEST(quantize, zeros_between) {
    uint64_t s = 88172645463325252u;
    float x[512], weight[512], back[512];
    uint8_t y[512 * 4];
    fill(x, 512, &s);
    for (size_t i = 0; i < 512; i++) weight[i] = 1;
    for (size_t i = 32; i < 64; i++) x[i] = 0;
    for (unsigned t = 0; t < FH_DTYPE_COUNT; t++) {
        if (!fh_can_quantize((fh_dtype)t) || t == FH_DTYPE_Q1_0) continue;
        double dot = 0, xx = 0, bb = 0;
        fh_quantize((fh_dtype)t, x, y, 1, 512, weight);
        fh_decode((fh_dtype)t, y, back, 512);
        for (size_t i = 0; i < 512; i++) {
            dot += (double)x[i] * back[i];
            xx += (double)x[i] * x[i];
            bb += (double)back[i] * back[i];
        }
        if (dot < 0.7 * sqrt(xx * bb))
            fh_test_fail(__FILE__, __LINE__, "%s: cosine %.3f", fh_dtype_name((fh_dtype)t), dot / sqrt(xx * bb));
    }
}

TEST(quantize, not_a_number) {
    float x[512], weight[512];
    uint8_t y[512 * 4];
    const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-44f, -0.0f};
    for (size_t k = 0; k < FH_COUNT(odd); k++) {
        for (size_t i = 0; i < 512; i++) {
            x[i] = k < 3 && i % 7 ? 0.01f * (float)(i % 13) : odd[k];
            weight[i] = i % 5 == 0 ? odd[k] : 1;
        }
        for (unsigned t = 0; t < FH_DTYPE_COUNT; t++) {
            if (!fh_can_quantize((fh_dtype)t)) continue;
            fh_quantize((fh_dtype)t, x, y, 1, 512, weight);
            if (!fh_quantize_needs_weights((fh_dtype)t)) fh_quantize((fh_dtype)t, x, y, 1, 512, NULL);
        }
    }
    for (size_t i = 0; i < 512; i++) x[i] = 1e30f;
    fh_quantize(FH_DTYPE_Q8_0, x, y, 1, 512, NULL);
    CHECK(!fh_quantize_is_valid(FH_DTYPE_Q8_0, y, 16));
}
