/* kernel/product_ref.c - products in plain C: what every machine has, and the oracle of the fast ones.
 * SPDX-License-Identifier: Apache-2.0
 * The same fused operations in the same order as the fast ones, by fmaf, so the same bits; slow where the C library
 * has to emulate it. Units are expanded without a bias. */
#include <math.h>

#include "kernel/convert.h"

#define EXPAND_NAME fh_ref_expand
#define EXPAND_BIAS 0
#define EXPAND_BYTES 16
#define EXPAND_F16(src, dst) expand_f16(src, dst)
#define EXPAND_LOOKUP(table, v) expand_lookup(table, v)

static void expand_f16(const uint8_t *src, float *dst) {
    for (size_t i = 0; i < 16; i++) dst[i] = fh_widen_f16((uint16_t)(src[2 * i] | src[2 * i + 1] << 8));
}

typedef float expand_floats __attribute__((vector_size(16)));
static expand_floats expand_u8(const uint8_t *p) {
    return (expand_floats){(float)p[0], (float)p[1], (float)p[2], (float)p[3]};
}
static expand_floats expand_i8(const uint8_t *p) {
    return (expand_floats){(float)(int8_t)p[0], (float)(int8_t)p[1], (float)(int8_t)p[2], (float)(int8_t)p[3]};
}
typedef uint32_t expand_words __attribute__((vector_size(16)));
static expand_words expand_u32(const uint8_t *p) { return (expand_words){p[0], p[1], p[2], p[3]}; }
#define EXPAND_U32(p) expand_u32(p)
#define EXPAND_U8(p) expand_u8(p)
#define EXPAND_I8(p) expand_i8(p)

typedef uint8_t expand_bytes __attribute__((vector_size(16)));
static expand_bytes expand_lookup(const uint8_t *table, expand_bytes v) {
    for (int i = 0; i < 16; i++) v[i] = table[v[i]];
    return v;
}
#include "kernel/product_expand_body.h"

static float one_sum(const fh_dot_i8 *a, const fh_i8_block *x, size_t half, size_t row, size_t b, size_t from,
                     size_t n) {
    int32_t sum = 0;
    for (size_t k = from; k < from + n; k++) {
        const uint8_t c = a->code[half][b * FH_BLOCK_CODES + k / 4 * FH_QUAD_BYTES + row * 4 + k % 4];
        sum += (int32_t)(int8_t)c * x->q[k];
    }
    return (float)sum * x->scale;
}

void fh_ref_dot_i8(const fh_dot_i8 *a) {
    const size_t parts = FH_BLOCK / a->block;
    for (size_t i = 0; i < a->n; i++) {
        const fh_i8_block *x = (const fh_i8_block *)a->x[i] + a->first_block;
        for (size_t row = 0; row < a->n_half * FH_HALF; row++) {
            const size_t h = row / FH_HALF, r = row % FH_HALF;
            float *acc = a->acc + i * FH_PRODUCT_PANEL + row;
            for (size_t b = 0; b < a->n_block; b++) {
                for (size_t p = 0; p < parts; p++) {
                    const size_t at = (b * parts + p) * FH_HALF + r;
                    const float sum = parts == 1 ? x[b].sum : x[b].sum_half[p];
                    *acc = fmaf(one_sum(a, x + b, h, r, b, p * a->block, a->block), a->scale[h][at], *acc);
                    if (a->has_min) *acc = fmaf(-a->min[h][at], sum, *acc);
                }
            }
        }
    }
}

void fh_ref_form_i8(const float *x, size_t n_block, fh_i8_block *dst) {
    for (size_t b = 0; b < n_block; b++, x += FH_BLOCK, dst++) {
        uint32_t most = 0;
        int32_t sum[2] = {0};
        for (size_t k = 0; k < FH_BLOCK; k++) most = FH_MAX(most, fh_f32_bits(x[k]) & 0x7fffffffu);
        const float scale = fh_i8_scale(most), inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
        for (size_t k = 0; k < FH_BLOCK; k++) {
            dst->q[k] = (int8_t)(uint8_t)fh_f32_bits(x[k] * inverse + FH_ROUND); /* the low bits are the number */
            sum[k / 16] += dst->q[k];
        }
        fh_i8_finish(dst, scale, sum[0], sum[1]);
    }
}

typedef float rows_v __attribute__((vector_size(16), aligned(1), may_alias));
static rows_v rows_fma(rows_v a, rows_v b, rows_v c) {
    for (int i = 0; i < 4; i++) c[i] = fmaf(a[i], b[i], c[i]);
    return c;
}
static rows_v rows_wide(const uint8_t *p, bool is_f16) {
    rows_v v = {0};
    for (int i = 0; i < 4; i++) {
        const uint16_t h = (uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
        v[i] = is_f16 ? fh_widen_f16(h) : fh_widen_bf16(h);
    }
    return v;
}
#define ROWS_NAME fh_ref_dot_rows
#define ROWS_V rows_v
#define ROWS_LANES 4
#define ROWS_R 1
#define ROWS_I 1
#define ROWS_ZERO ((rows_v){0})
#define ROWS_F32(p) (*(const rows_v *)(const void *)(p))
#define ROWS_F16(p) rows_wide(p, true)
#define ROWS_BF16(p) rows_wide(p, false)
#define ROWS_STORE(p, x) (*(rows_v *)(void *)(p) = (x))
#define ROWS_FMA(a, b, c) rows_fma(a, b, c)
#define ROWS_AHEAD(p) (void)(p)
#include "kernel/product_rows_body.h"
