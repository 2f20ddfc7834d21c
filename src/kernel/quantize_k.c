/* kernel/quantize_k.c - rows of Q2_K to Q6_K: super-blocks of 256 numbers, each group with a scale of few bits.
 * SPDX-License-Identifier: Apache-2.0
 * Three steps, as in the reference: fit every group alone (kernel/quantize_fit_body.h), write the groups' scales in
 * the bits that the format has, then choose the codes again for the scales as they will be read. Where a scale came out
 * as 0 the codes of the first step stay: they have no effect, but they are bytes.
 * Without weights the scales are divided by the largest; with weights they are fitted too. */
#include "kernel/quantize_part.h"

/* Up to eight super-blocks are searched together. */
typedef struct k_chunk {
    const fh_fits *fits;
    const float *x, *weight; /* [n * 256]; weight may be NULL */
    size_t n;                /* super-blocks */
    float energy[FH_CHUNK_GROUPS], scale[FH_CHUNK_GROUPS], depth[FH_CHUNK_GROUPS], sum[FH_CHUNK_GROUPS];
    float grid_scale[FH_CHUNK_GROUPS], grid_0[FH_CHUNK_GROUPS];
} k_chunk;

/* Energies for the weights: factor times the mean square of the super-block, for each of its groups. */
static void spread_energy(k_chunk *c, size_t group, float factor) {
    float block[FH_CHUNK_SUPERS];
    const size_t per = FH_SUPER / group;
    fh_block_energy(c->x, c->n, FH_SUPER, block);
    for (size_t g = 0; g < c->n * per; g++) c->energy[g] = factor * block[g / per] / FH_SUPER;
}

static fh_fit_in fit_in(const k_chunk *c, size_t group, fh_fit_weight kind) {
    return (fh_fit_in){.x = c->x,
                       .weight = c->weight,
                       .energy = c->energy,
                       .n_group = c->n * (FH_SUPER / group),
                       .group = (int)group,
                       .kind = kind};
}

typedef void k_finish(const k_chunk *c, size_t s, uint8_t *y);

static void each_super(const k_chunk *c, uint8_t *y, size_t bytes, k_finish *finish) {
    for (size_t s = 0; s < c->n; s++) finish(c, s, y + s * bytes);
}

/* Four codes of 2 bits in a byte, 32 apart. */
static void pack_quarters(const uint8_t *restrict code, uint8_t *restrict q) {
    for (size_t h = 0; h < 2; h++, code += 128, q += 32)
        for (size_t i = 0; i < 32; i++)
            q[i] =
                (uint8_t)((code[i] & 3) | (code[i + 32] & 3) << 2 | (code[i + 64] & 3) << 4 | (code[i + 96] & 3) << 6);
}

/* ---- Q2_K: 16 groups of 16, scale and minimum of 4 bits ---- */

/* Codes 0 .. 15 for values that are not negative, by the largest; what one step is worth. */
static float divide_by_largest(const float *v, size_t n, float top, int *code) {
    float max = 0;
    for (size_t g = 0; g < n; g++) max = v[g] > max ? v[g] : max;
    const float id = max > 0 ? top / max : 0;
    for (size_t g = 0; g < n; g++) code[g] = fh_round_near(id * v[g]);
    return max > 0 ? max / top : 0;
}

static void finish_q2_k(const k_chunk *c, size_t s, uint8_t *y) {
    const float *x = c->x + s * FH_SUPER, *scale = c->scale + 16 * s, *depth = c->depth + 16 * s;
    uint8_t code[FH_SUPER];
    float d, m;
    if (c->weight) {
        uint8_t ls[16], lm[16];
        d = fh_fit_positive(16, 15, scale, c->sum + 16 * s, ls);
        m = fh_fit_positive(16, 15, depth, c->sum + 16 * s, lm);
        for (size_t g = 0; g < 16; g++) y[g] = (uint8_t)(ls[g] | lm[g] << 4);
    } else {
        int ls[16], lm[16];
        d = divide_by_largest(scale, 16, 15, ls);
        m = divide_by_largest(depth, 16, 15, lm);
        for (size_t g = 0; g < 16; g++) y[g] = (uint8_t)((uint8_t)ls[g] | (unsigned)lm[g] << 4);
    }
    d = fh_store_f16(y + 80, d);
    m = fh_store_f16(y + 82, m);
    for (size_t g = 0; g < 16; g++) {
        const float dg = d * (float)(y[g] & 15), mg = m * (float)(y[g] >> 4);
        const size_t k = 16 * s + g;
        if (dg == 0) fh_affine_codes(x + 16 * g, 16, c->grid_scale[k], c->grid_0[k], 3, code + 16 * g);
        else c->fits->divide_codes(x + 16 * g, 16, mg, dg, 0, 3, code + 16 * g);
    }
    pack_quarters(code, y + 16);
}

static void search_affine(k_chunk *c, size_t group, int top, fh_fit_weight plain, const fh_affine *how) {
    fh_affine f = *how;
    f.in = fit_in(c, group, c->weight ? FH_FIT_IMPORTANCE : plain);
    f.top = top;
    f.scale = c->scale;
    f.depth = c->depth;
    f.grid_scale = c->grid_scale;
    f.grid_0 = c->grid_0;
    f.sum_weight = c->weight ? c->sum : NULL;
    c->fits->affine(&f);
}

/* The grids that are tried with weights, and without. */
static const fh_affine weighted = {.first = -0.9f, .step = 0.05f, .steps = 36};
static const fh_affine plain_q2 = {.first = -0.5f, .step = 0.1f, .steps = 15, .absolute = true};
static const fh_affine plain_q4 = {.first = -1.0f, .step = 0.1f, .steps = 20};
static const fh_affine plain_q5 = {.first = -0.5f, .step = 0.1f, .steps = 15};

void fh_quantize_row_q2_k(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    k_chunk c = {.fits = fits};
    for (size_t at = 0; at < n; at += FH_CHUNK, y += (size_t)FH_CHUNK_SUPERS * 84) {
        c.x = x + at;
        c.weight = weight ? weight + at : NULL;
        c.n = FH_MIN(n - at, (size_t)FH_CHUNK) / FH_SUPER;
        if (weight) spread_energy(&c, 16, 1);
        search_affine(&c, 16, 3, FH_FIT_ABS, weight ? &weighted : &plain_q2);
        each_super(&c, y, 84, finish_q2_k);
    }
}

/* ---- Q4_K and Q5_K: 8 groups of 32, scale and minimum of 6 bits ---- */

/* Six bits each of eight scales and eight minima in twelve bytes: the first four whole, of the others the low halves,
 * and the high bits on top of the first. */
static void pack_scales_6(const uint8_t *ls, const uint8_t *lm, uint8_t *y) {
    for (size_t g = 0; g < 4; g++) {
        y[g] = (uint8_t)(ls[g] | ls[g + 4] >> 4 << 6);
        y[g + 4] = (uint8_t)(lm[g] | lm[g + 4] >> 4 << 6);
        y[g + 8] = (uint8_t)((ls[g + 4] & 15) | (lm[g + 4] & 15) << 4);
    }
}

/* d, dmin and the scales; the codes for them. */
static void finish_affine_32(const k_chunk *c, size_t s, int top, uint8_t *y, uint8_t *code) {
    const float *x = c->x + s * FH_SUPER, *scale = c->scale + 8 * s, *depth = c->depth + 8 * s;
    uint8_t ls[8], lm[8];
    float d, m;
    if (c->weight) {
        d = fh_fit_positive(8, 63, scale, c->sum + 8 * s, ls);
        m = fh_fit_positive(8, 63, depth, c->sum + 8 * s, lm);
    } else {
        int is[8], im[8];
        d = divide_by_largest(scale, 8, 63, is);
        m = divide_by_largest(depth, 8, 63, im);
        for (size_t g = 0; g < 8; g++) {
            ls[g] = (uint8_t)is[g];
            lm[g] = (uint8_t)im[g];
        }
    }
    for (size_t g = 0; g < 8; g++) {
        ls[g] = FH_MIN(ls[g], 63);
        lm[g] = FH_MIN(lm[g], 63);
    }
    d = fh_store_f16(y, d);
    m = fh_store_f16(y + 2, m);
    pack_scales_6(ls, lm, y + 4);
    for (size_t g = 0; g < 8; g++) {
        const float dg = d * (float)ls[g], mg = m * (float)lm[g];
        const size_t k = 8 * s + g;
        if (dg == 0) fh_affine_codes(x + 32 * g, 32, c->grid_scale[k], c->grid_0[k], top, code + 32 * g);
        else c->fits->divide_codes(x + 32 * g, 32, mg, dg, 0, top, code + 32 * g);
    }
}

/* Of 64 codes the low halves: the first 32 below, the others above. */
static void pack_halves(const uint8_t *restrict code, uint8_t *restrict q) {
    for (size_t k = 0; k < 4; k++, code += 64, q += 32)
        for (size_t i = 0; i < 32; i++) q[i] = (uint8_t)((code[i] & 15) | code[i + 32] << 4);
}

static void finish_q4_k(const k_chunk *c, size_t s, uint8_t *y) {
    uint8_t code[FH_SUPER];
    finish_affine_32(c, s, 15, y, code);
    pack_halves(code, y + 16);
}

static void finish_q5_k(const k_chunk *c, size_t s, uint8_t *y) {
    uint8_t code[FH_SUPER], *high = y + 16;
    finish_affine_32(c, s, 31, y, code);
    memset(high, 0, 32);
    for (size_t g = 0; g < 8; g++)
        for (size_t i = 0; i < 32; i++) high[i] = (uint8_t)(high[i] | code[32 * g + i] >> 4 << g);
    pack_halves(code, y + 48);
}

static void row_affine_32(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight, int top,
                          size_t bytes) {
    k_chunk c = {.fits = fits};
    const bool q4 = top == 15;
    for (size_t at = 0; at < n; at += FH_CHUNK, y += FH_CHUNK_SUPERS * bytes) {
        c.x = x + at;
        c.weight = weight ? weight + at : NULL;
        c.n = FH_MIN(n - at, (size_t)FH_CHUNK) / FH_SUPER;
        if (weight) spread_energy(&c, 32, 2);
        search_affine(&c, 32, top, FH_FIT_RMS_ABS, weight ? &weighted : q4 ? &plain_q4 : &plain_q5);
        each_super(&c, y, bytes, q4 ? finish_q4_k : finish_q5_k);
    }
}

void fh_quantize_row_q4_k(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    row_affine_32(fits, x, y, n, weight, 15, 144);
}

void fh_quantize_row_q5_k(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    row_affine_32(fits, x, y, n, weight, 31, 176);
}

/* ---- Q6_K: 16 groups of 16, scale of 8 bits with sign ---- */

/* The value of largest size, the first of several; 0 where all are. */
static float largest_scale(const float *v, size_t n, float *size) {
    float max = 0, amax = 0;
    for (size_t g = 0; g < n; g++) {
        if (fabsf(v[g]) > amax) {
            amax = fabsf(v[g]);
            max = v[g];
        }
    }
    *size = amax;
    return max;
}

static void finish_q6_k(const k_chunk *c, size_t s, uint8_t *y) {
    const float *x = c->x + s * FH_SUPER, *scale = c->scale + 16 * s;
    uint8_t code[FH_SUPER], *low = y, *high = y + 128;
    float size;
    const float max = largest_scale(scale, 16, &size);
    if (size < 1e-15f) {
        memset(y, 0, 210);
        return;
    }
    const float id = -128.0f / max, d = fh_store_f16(y + 208, 1 / id);
    for (size_t g = 0; g < 16; g++) {
        const int near = fh_round_near(id * scale[g]);
        const int8_t l = (int8_t)(near < 127 ? near : 127);
        const float dg = d * (float)l;
        y[192 + g] = (uint8_t)l;
        if (dg == 0) fh_symmetric_codes(x + 16 * g, 16, c->grid_scale[16 * s + g], 32, code + 16 * g);
        else c->fits->divide_codes(x + 16 * g, 16, 0, dg, 32, 63, code + 16 * g);
    }
    for (size_t h = 0; h < 2; h++, low += 64, high += 32) {
        const uint8_t *q = code + 128 * h;
        for (size_t i = 0; i < 64; i++) low[i] = (uint8_t)((q[i] & 15) | q[i + 64] << 4);
        for (size_t i = 0; i < 32; i++)
            high[i] = (uint8_t)(q[i] >> 4 | q[i + 32] >> 4 << 2 | q[i + 64] >> 4 << 4 | q[i + 96] >> 4 << 6);
    }
}

void fh_quantize_row_q6_k(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    k_chunk c = {.fits = fits};
    for (size_t at = 0; at < n; at += FH_CHUNK, y += (size_t)FH_CHUNK_SUPERS * 210) {
        c.x = x + at;
        c.weight = weight ? weight + at : NULL;
        c.n = FH_MIN(n - at, (size_t)FH_CHUNK) / FH_SUPER;
        fits->symmetric(&(fh_symmetric){.in = fit_in(&c, 16, weight ? FH_FIT_GIVEN : FH_FIT_SQUARE),
                                        .half = 32,
                                        .scale = c.scale,
                                        .grid_scale = c.grid_scale});
        each_super(&c, y, 210, finish_q6_k);
    }
}

/* ---- Q3_K: 16 groups of 16, scale of 6 bits with sign ---- */

/* One group without weights: by the largest, then single codes while that helps. Codes -4 .. 3, + 4. */
static float fit_q3_group(const float *x, uint8_t *code) {
    float size, sum_lx = 0, sum_l2 = 0;
    int l[16];
    const float max = largest_scale(x, 16, &size);
    if (size < 1e-15f) {
        memset(code, 0, 16);
        return 0;
    }
    const float id = -4.0f / max;
    for (size_t i = 0; i < 16; i++) {
        const float w = x[i] * x[i];
        l[i] = fh_clamp_int(fh_round_near(id * x[i]), -4, 3);
        sum_lx += w * x[i] * (float)l[i];
        sum_l2 += w * (float)l[i] * (float)l[i];
    }
    for (int round = 0; round < 5; round++) {
        bool changed = false;
        for (size_t i = 0; i < 16; i++) {
            const float w = x[i] * x[i];
            float lx = sum_lx - w * x[i] * (float)l[i];
            if (!(lx > 0)) continue;
            float l2 = sum_l2 - w * (float)l[i] * (float)l[i];
            const int near = fh_clamp_int(fh_round_near(x[i] * l2 / lx), -4, 3);
            if (near == l[i]) continue;
            lx += w * x[i] * (float)near;
            l2 += w * (float)near * (float)near;
            if (l2 > 0 && lx * lx * sum_l2 > sum_lx * sum_lx * l2) {
                l[i] = near;
                sum_lx = lx;
                sum_l2 = l2;
                changed = true;
            }
        }
        if (!changed) break;
    }
    for (size_t i = 0; i < 16; i++) code[i] = (uint8_t)(l[i] + 4);
    return sum_l2 > 0 ? sum_lx / sum_l2 : 0;
}

/* Six bits of sixteen scales in twelve bytes: low halves of two per byte, eight apart; then the high bits, four
 * groups apart. */
static void pack_scales_3(const uint8_t *l, uint8_t *y) {
    for (size_t g = 0; g < 8; g++) y[g] = (uint8_t)((l[g] & 15) | (l[g + 8] & 15) << 4);
    for (size_t g = 0; g < 4; g++)
        y[8 + g] = (uint8_t)(l[g] >> 4 | l[g + 4] >> 4 << 2 | l[g + 8] >> 4 << 4 | l[g + 12] >> 4 << 6);
}

/* l: scales + 32. code: of the first step. */
static void finish_q3_k(const k_chunk *c, size_t s, float d, const uint8_t *l, uint8_t *code, uint8_t *y) {
    const float *x = c->x + s * FH_SUPER;
    d = fh_store_f16(y + 108, d);
    pack_scales_3(l, y + 96);
    for (size_t g = 0; g < 16; g++) {
        const float dg = d * (float)((int)l[g] - 32);
        if (dg != 0) c->fits->divide_codes(x + 16 * g, 16, 0, dg, 4, 7, code + 16 * g);
    }
    memset(y, 0, 32);
    for (size_t g = 0; g < 8; g++)
        for (size_t i = 0; i < 32; i++) y[i] = (uint8_t)(y[i] | code[32 * g + i] >> 2 << g);
    pack_quarters(code, y + 32);
}

static void plain_q3_k(const k_chunk *c, size_t s, uint8_t *y) {
    uint8_t code[FH_SUPER], l[16];
    float scale[16], size;
    for (size_t g = 0; g < 16; g++) scale[g] = fit_q3_group(c->x + s * FH_SUPER + 16 * g, code + 16 * g);
    const float max = largest_scale(scale, 16, &size), id = max != 0 ? -32.0f / max : 0;
    /* the reference leaves scale bytes at 0 where all numbers are: that is -32, of nothing */
    for (size_t g = 0; g < 16; g++)
        l[g] = max != 0 ? (uint8_t)(fh_clamp_int((int8_t)fh_round_near(id * scale[g]), -32, 31) + 32) : 0;
    finish_q3_k(c, s, max != 0 ? 1 / id : 0, l, code, y);
}

static void weighted_q3_k(k_chunk *c, uint8_t *y) {
    float d[FH_CHUNK_SUPERS], grid[FH_CHUNK_SUPERS];
    uint8_t code[FH_SUPER], l[16];
    spread_energy(c, 16, 2);
    c->fits->symmetric(&(fh_symmetric){.in = fit_in(c, 16, FH_FIT_IMPORTANCE),
                                       .half = 4,
                                       .scale = c->scale,
                                       .grid_scale = c->grid_scale,
                                       .sum_weight = c->sum});
    c->fits->symmetric(
        &(fh_symmetric){.in = {.x = c->scale, .weight = c->sum, .n_group = c->n, .group = 16, .kind = FH_FIT_GIVEN},
                        .half = 32,
                        .scale = d,
                        .grid_scale = grid});
    for (size_t s = 0; s < c->n; s++) {
        const float *x = c->x + s * FH_SUPER;
        fh_symmetric_codes(c->scale + 16 * s, 16, grid[s], 32, l);
        for (size_t g = 0; g < 16; g++) fh_symmetric_codes(x + 16 * g, 16, c->grid_scale[16 * s + g], 4, code + 16 * g);
        finish_q3_k(c, s, d[s], l, code, y + 110 * s);
    }
}

void fh_quantize_row_q3_k(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    k_chunk c = {.fits = fits};
    for (size_t at = 0; at < n; at += FH_CHUNK, y += (size_t)FH_CHUNK_SUPERS * 110) {
        c.x = x + at;
        c.weight = weight ? weight + at : NULL;
        c.n = FH_MIN(n - at, (size_t)FH_CHUNK) / FH_SUPER;
        if (weight) weighted_q3_k(&c, y);
        else each_super(&c, y, 110, plain_q3_k);
    }
}
