/* kernel/quantize_legacy.c - rows of the types with one scale per block: Q4_0 to Q5_1, Q1_0, Q2_0, ternary, FP4, IQ4.
 * SPDX-License-Identifier: Apache-2.0
 * Q4_0, Q4_1, Q5_0, Q5_1 with weights and IQ4_NL, IQ4_XS always search for the scale; all others follow from the
 * largest number. Codes of Q4_0 to Q5_1 without weights are truncated after adding a half, not rounded.
 * Where the largest number is below 2^-128 its reciprocal overflows; the reference's codes are then undefined, and the
 * scale is 0 anyway. */
#include "kernel/quantize_part.h"

enum { BLOCK = 32, CHUNK_BLOCKS = FH_CHUNK / BLOCK };

/* Sixteen bytes: first half of the block below, second above; the fifth bits one after the other. */
static void pack_32(const uint8_t *code, uint8_t *q, uint8_t *high) {
    uint32_t h = 0;
    for (size_t i = 0; i < 16; i++) q[i] = (uint8_t)((code[i] & 15) | code[i + 16] << 4);
    if (!high) return;
    for (size_t i = 0; i < 32; i++) h |= (uint32_t)(code[i] >> 4 & 1) << i;
    fh_store_u32(high, h);
}

/* What a cast of the reference gives: to 8 bits by way of an integer; 0 for what is none. */
static inline int truncate_code(float x, int top) {
    const int l = x > -128.0f && x < 128.0f ? (int)x : 0;
    const uint8_t byte = (uint8_t)l;
    return byte < top ? byte : top;
}

/* ---- codes around zero: Q4_0, Q5_0 ---- */

static void plain_symmetric(const float *x, uint8_t *y, int half) {
    float max = 0, amax = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        if (amax < fabsf(x[i])) {
            amax = fabsf(x[i]);
            max = x[i];
        }
    }
    const float d = max / (float)-half, id = d != 0 ? 1.0f / d : 0, add = (float)half + 0.5f;
    uint8_t code[BLOCK];
    for (size_t i = 0; i < BLOCK; i++) code[i] = (uint8_t)truncate_code(x[i] * id + add, 2 * half - 1);
    fh_store_f16(y, d);
    if (half == 8) pack_32(code, y + 2, NULL);
    else pack_32(code, y + 6, y + 2);
}

/* Mean square of the row, for every block. */
static float fill_energy(const float *x, size_t n, float *energy) {
    float e;
    fh_block_energy(x, 1, n, &e);
    e = e / (float)n;
    for (size_t b = 0; b < CHUNK_BLOCKS; b++) energy[b] = e;
    return e;
}

static void row_symmetric(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight, int half,
                          size_t bytes) {
    float energy[CHUNK_BLOCKS], scale[CHUNK_BLOCKS], grid[CHUNK_BLOCKS];
    uint8_t code[BLOCK];
    if (!weight) {
        for (size_t at = 0; at < n; at += BLOCK, y += bytes) plain_symmetric(x + at, y, half);
        return;
    }
    fill_energy(x, n, energy);
    for (size_t at = 0; at < n; at += FH_CHUNK) {
        const size_t blocks = FH_MIN(n - at, (size_t)FH_CHUNK) / BLOCK;
        fits->symmetric(&(fh_symmetric){.in = {.x = x + at,
                                               .weight = weight + at,
                                               .energy = energy,
                                               .n_group = blocks,
                                               .group = BLOCK,
                                               .kind = FH_FIT_IMPORTANCE},
                                        .half = half,
                                        .scale = scale,
                                        .grid_scale = grid});
        for (size_t b = 0; b < blocks; b++, y += bytes) {
            fh_symmetric_codes(x + at + BLOCK * b, BLOCK, grid[b], half, code);
            fh_store_f16(y, scale[b]);
            if (half == 8) pack_32(code, y + 2, NULL);
            else pack_32(code, y + 6, y + 2);
        }
    }
}

void fh_quantize_row_q4_0(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    row_symmetric(fits, x, y, n, weight, 8, 18);
}

void fh_quantize_row_q5_0(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    row_symmetric(fits, x, y, n, weight, 16, 22);
}

/* ---- codes from the smallest number: Q4_1, Q5_1 ---- */

static void plain_affine(const float *x, uint8_t *y, int top) {
    float lo = 3.4028234664e38f, hi = -3.4028234664e38f;
    for (size_t i = 0; i < BLOCK; i++) {
        if (x[i] < lo) lo = x[i];
        if (x[i] > hi) hi = x[i];
    }
    const float d = (hi - lo) / (float)top, id = d != 0 ? 1.0f / d : 0;
    uint8_t code[BLOCK];
    for (size_t i = 0; i < BLOCK; i++) code[i] = (uint8_t)truncate_code((x[i] - lo) * id + 0.5f, top);
    fh_store_f16(y, d);
    fh_store_f16(y + 2, lo);
    if (top == 15) pack_32(code, y + 4, NULL);
    else pack_32(code, y + 8, y + 4);
}

static void row_affine(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight, int top,
                       size_t bytes) {
    float energy[CHUNK_BLOCKS], scale[CHUNK_BLOCKS], depth[CHUNK_BLOCKS], grid[CHUNK_BLOCKS], zero[CHUNK_BLOCKS];
    uint8_t code[BLOCK];
    if (!weight) {
        for (size_t at = 0; at < n; at += BLOCK, y += bytes) plain_affine(x + at, y, top);
        return;
    }
    fill_energy(x, n, energy);
    for (size_t at = 0; at < n; at += FH_CHUNK) {
        const size_t blocks = FH_MIN(n - at, (size_t)FH_CHUNK) / BLOCK;
        fits->affine(&(fh_affine){.in = {.x = x + at,
                                         .weight = weight + at,
                                         .energy = energy,
                                         .n_group = blocks,
                                         .group = BLOCK,
                                         .kind = FH_FIT_IMPORTANCE},
                                  .top = top,
                                  .first = -0.9f,
                                  .step = 0.05f,
                                  .steps = 36,
                                  .scale = scale,
                                  .depth = depth,
                                  .grid_scale = grid,
                                  .grid_0 = zero});
        for (size_t b = 0; b < blocks; b++, y += bytes) {
            fh_affine_codes(x + at + BLOCK * b, BLOCK, grid[b], zero[b], top, code);
            fh_store_f16(y, scale[b]);
            fh_store_f16(y + 2, -depth[b]);
            if (top == 15) pack_32(code, y + 4, NULL);
            else pack_32(code, y + 8, y + 4);
        }
    }
}

void fh_quantize_row_q4_1(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    row_affine(fits, x, y, n, weight, 15, 20);
}

void fh_quantize_row_q5_1(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    row_affine(fits, x, y, n, weight, 31, 24);
}

/* ---- IQ4_NL: blocks of 32; IQ4_XS: eight of them with scales of 6 bits ---- */

static void row_nonlinear(const fh_fits *fits, const float *x, size_t block, size_t n_block, const float *weight,
                          float *scale) {
    float energy[CHUNK_BLOCKS], spread[CHUNK_BLOCKS];
    const size_t per = block / BLOCK;
    fh_block_energy(x, n_block, block, energy);
    for (size_t g = 0; g < n_block * per; g++) spread[g] = energy[g / per] * (2.0f / (float)block);
    fits->nonlinear(&(fh_nonlinear){.in = {.x = x,
                                           .weight = weight,
                                           .energy = spread,
                                           .n_group = n_block * per,
                                           .group = BLOCK,
                                           .kind = weight ? FH_FIT_IMPORTANCE : FH_FIT_SQUARE},
                                    .scale = scale});
}

void fh_quantize_row_iq4_nl(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    float scale[CHUNK_BLOCKS];
    uint8_t code[BLOCK];
    for (size_t at = 0; at < n; at += FH_CHUNK) {
        const size_t blocks = FH_MIN(n - at, (size_t)FH_CHUNK) / BLOCK;
        row_nonlinear(fits, x + at, BLOCK, blocks, weight ? weight + at : NULL, scale);
        for (size_t b = 0; b < blocks; b++, y += 18) {
            fits->nonlinear_codes(x + at + BLOCK * b, BLOCK, scale[b] != 0 ? 1 / scale[b] : 0, code);
            fh_store_f16(y, scale[b]);
            pack_32(code, y + 2, NULL);
        }
    }
}

static void finish_iq4_xs(const fh_fits *fits, const float *x, const float *scale, uint8_t *y) {
    float max = 0, amax = 0;
    uint8_t code[BLOCK];
    unsigned high = 0, low[8];
    for (size_t g = 0; g < 8; g++) {
        if (fabsf(scale[g]) > amax) {
            amax = fabsf(scale[g]);
            max = scale[g];
        }
    }
    const float d = -max / 32, id = d != 0 ? 1 / d : 0;
    fh_store_f16(y, d);
    for (size_t g = 0; g < 8; g++) {
        const int l = fh_clamp_int(fh_round_near(id * scale[g]), -32, 31);
        const float dg = d * (float)l;
        fits->nonlinear_codes(x + BLOCK * g, BLOCK, dg != 0 ? 1 / dg : 0, code);
        pack_32(code, y + 8 + 16 * g, NULL);
        low[g] = (unsigned)(l + 32) & 15;
        high |= (unsigned)(l + 32) >> 4 << (2 * g);
    }
    fh_store_u16(y + 2, (uint16_t)high);
    for (size_t g = 0; g < 4; g++) y[4 + g] = (uint8_t)(low[2 * g] | low[2 * g + 1] << 4);
}

void fh_quantize_row_iq4_xs(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    float scale[CHUNK_BLOCKS];
    for (size_t at = 0; at < n; at += FH_CHUNK) {
        const size_t supers = FH_MIN(n - at, (size_t)FH_CHUNK) / FH_SUPER;
        row_nonlinear(fits, x + at, FH_SUPER, supers, weight ? weight + at : NULL, scale);
        for (size_t s = 0; s < supers; s++, y += 136) finish_iq4_xs(fits, x + at + FH_SUPER * s, scale + 8 * s, y);
    }
}

/* ---- by the largest number alone ---- */

static float largest_size(const float *x, size_t n) {
    float amax = 0;
    for (size_t i = 0; i < n; i++) {
        const float a = fabsf(x[i]);
        amax = amax > a ? amax : a;
    }
    return amax;
}

/* -1 0 1 (and 2), halves away from zero, plus 1; what is no number counts as 0. */
static inline unsigned trit(float v) { return 1u + (v >= 0.5f) - (v <= -0.5f); }
static inline unsigned trit_and_2(float v) { return trit(v) + (v >= 1.5f); }

/* One bit each: the sign; the scale is the mean size. */
void fh_quantize_row_q1_0(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    (void)fits;
    (void)weight;
    for (size_t at = 0; at < n; at += 128, x += 128, y += 18) {
        float sum = 0;
        for (size_t i = 0; i < 128; i++) sum += fabsf(x[i]);
        fh_store_f16(y, sum / 128);
        memset(y + 2, 0, 16);
        for (size_t i = 0; i < 128; i++) y[2 + i / 8] = (uint8_t)(y[2 + i / 8] | (x[i] >= 0) << (i % 8));
    }
}

/* -1 0 1 2 times the largest size. */
void fh_quantize_row_q2_0(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    (void)fits;
    (void)weight;
    for (size_t at = 0; at < n; at += 64, x += 64, y += 18) {
        const float d = largest_size(x, 64), id = d > 0 ? 1.0f / d : 0;
        fh_store_f16(y, d);
        for (size_t i = 0; i < 16; i++) {
            unsigned q = 0;
            for (size_t k = 0; k < 4; k++) q |= trit_and_2(x[4 * i + k] * id) << (2 * k);
            y[2 + i] = (uint8_t)q;
        }
    }
}

/* Five digits of base 3 in a byte, as a fraction of 256 rounded up; the digits lie `apart` numbers from each other. */
static uint8_t pack_trits(const float *x, size_t apart, size_t n, float id) {
    unsigned q = 0;
    for (size_t k = 0; k < 5; k++) q = q * 3 + (k < n ? trit(x[k * apart] * id) : 0);
    return (uint8_t)((q * 256 + 242) / 243);
}

void fh_quantize_row_tq1_0(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    (void)fits;
    (void)weight;
    for (size_t at = 0; at < n; at += FH_SUPER, x += FH_SUPER, y += 54) {
        const float d = largest_size(x, FH_SUPER), id = d != 0 ? 1.0f / d : 0;
        for (size_t i = 0; i < 32; i++) y[i] = pack_trits(x + i, 32, 5, id);
        for (size_t i = 0; i < 16; i++) y[32 + i] = pack_trits(x + 160 + i, 16, 5, id);
        for (size_t i = 0; i < 4; i++) y[48 + i] = pack_trits(x + 240 + i, 4, 4, id);
        fh_store_f16(y + 52, d);
    }
}

void fh_quantize_row_tq2_0(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    (void)fits;
    (void)weight;
    for (size_t at = 0; at < n; at += FH_SUPER, x += FH_SUPER, y += 66) {
        const float d = largest_size(x, FH_SUPER), id = d != 0 ? 1.0f / d : 0;
        for (size_t i = 0; i < 64; i++) {
            const float *from = x + i / 32 * 128 + i % 32;
            unsigned q = 0;
            for (size_t k = 0; k < 4; k++) q |= trit(from[32 * k] * id) << (2 * k);
            y[i] = (uint8_t)q;
        }
        fh_store_f16(y + 64, d);
    }
}

/* ---- FP4: sizes 0 1 2 3 4 6 8 12 (doubled), then their negatives ---- */

/* The nearest; in the middle between two the smaller. The reference compares errors |value d - x|: d has few digits, so
 * that these are exact near the middles and the comparison with a middle is the same. d = 0: all are as far. */
static inline unsigned nearest_fp4(float x, float d) {
    static const float middle[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};
    const float size = fabsf(x);
    unsigned code = 0;
    for (size_t k = 0; k < 7; k++) code += size > middle[k] * d;
    return d == 0 ? 0 : code + (x < 0 && code ? 8 : 0);
}

static void pack_fp4(const float *x, size_t n, float d, uint8_t *q) {
    for (size_t i = 0; i < n / 2; i++) q[i] = (uint8_t)(nearest_fp4(x[i], d) | nearest_fp4(x[i + n / 2], d) << 4);
}

/* floor(log2(x)) with the logarithm rounded to f32 first, as the reference has it: just below a power of two the
 * rounding goes up to it. x > 0. */
static int floor_log2(float x) {
    int e;
    const float m = frexpf(x, &e); /* x = m 2^e, m in [1/2, 1): the logarithm is e - below */
    if (e == 0) return -1;         /* nothing near zero rounds to zero */
    const double t = 1.0 - (double)m, below = (t + t * t / 2 + t * t * t / 3) * 1.4426950408889634;
    int place;
    (void)frexp(e > 0 ? (double)e - 0.25 : -(double)e, &place);
    const double half_ulp = ldexp(1.0, place - 1 - 24);
    return below <= half_ulp ? e : e - 1;
}

/* The exponent is that of the largest number, less two: its code is then 4 to 8 (doubled: 8 or 12). */
void fh_quantize_row_mxfp4(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    (void)fits;
    (void)weight;
    for (size_t at = 0; at < n; at += BLOCK, x += BLOCK, y += 17) {
        const float amax = largest_size(x, BLOCK);
        /* below 2^-125 the exponent wraps around, there as here */
        y[0] = amax > 0 && amax <= 3.4028234664e38f ? (uint8_t)(floor_log2(amax) - 2 + 127) : 0;
        pack_fp4(x, BLOCK, fh_widen_e8m0_half(y[0]), y + 1);
    }
}

/* A positive number as four bits of exponent and three of mantissa; halves up, at most 448. */
static uint8_t narrow_ue4m3(float x) {
    if (!(x > 0)) return 0;
    if (x > 448) x = 448;
    const uint32_t bits = fh_f32_bits(x);
    const int e = (int)(bits >> 23 & 255) - 127 + 7;
    if (e <= 0) {
        const int m = (int)(x * 512.0f + 0.5f);
        return (uint8_t)(m > 7 ? 7 : m);
    }
    const uint32_t m = (uint32_t)e << 3 | (bits >> 20 & 7), rounded = m + (bits >> 19 & 1);
    return (uint8_t)(rounded >= 15 << 3 ? 0x7e : rounded);
}

void fh_quantize_row_nvfp4(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    (void)fits;
    (void)weight;
    for (size_t at = 0; at < n; at += 64, y += 36) {
        for (size_t g = 0; g < 4; g++, x += 16) {
            y[g] = narrow_ue4m3(largest_size(x, 16) / 6.0f);
            pack_fp4(x, 16, fh_widen_ue4m3_half(y[g]), y + 4 + 8 * g);
        }
    }
}
