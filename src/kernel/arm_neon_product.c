/* kernel/arm_neon_product.c - products with NEON, which every 64-bit ARM has.
 * SPDX-License-Identifier: Apache-2.0
 * Codes have no bias: bytes are signed on both sides. Two products of bytes fit 16 bits (128 * 127 * 2 = 32512), so
 * pairs are summed before they are widened. */
#include <arm_neon.h>

#include "kernel/product_part.h"

/* Four rows' quads times one input's quad: two sums for each row, low half of the rows in a, high half in b. */
static inline void quad(int32x4_t *a, int32x4_t *b, int8x16_t w, int8x8_t x) {
    *a = vpadalq_s16(*a, vmull_s8(vget_low_s8(w), x));
    *b = vpadalq_s16(*b, vmull_s8(vget_high_s8(w), x));
}

/* Rows 4 v to 4 v + 3 of a half, one input. */
static float32x4_t part(const fh_dot_i8 *d, const fh_i8_block *x, size_t half, size_t v, float32x4_t acc) {
    const size_t parts = FH_BLOCK / d->block, quads = d->block / 4;
    for (size_t b = 0; b < d->n_block; b++, x++) {
        const int8_t *w = (const int8_t *)d->code[half] + b * FH_BLOCK_CODES + 16 * v;
        for (size_t p = 0; p < parts; p++) {
            const size_t at = (b * parts + p) * FH_HALF + 4 * v;
            int32x4_t lo = vdupq_n_s32(0), hi = vdupq_n_s32(0);
            for (size_t g = p * quads; g < (p + 1) * quads; g++) {
                int32_t q;
                memcpy(&q, x->q + 4 * g, 4);
                quad(&lo, &hi, vld1q_s8(w + g * FH_QUAD_BYTES), vreinterpret_s8_s32(vdup_n_s32(q)));
            }
            const float32x4_t sum = vmulq_n_f32(vcvtq_f32_s32(vpaddq_s32(lo, hi)), x->scale);
            acc = vfmaq_f32(acc, sum, vld1q_f32(d->scale[half] + at));
            if (d->has_min) {
                acc = vfmsq_n_f32(acc, vld1q_f32(d->min[half] + at), parts == 1 ? x->sum : x->sum_half[p]);
            }
        }
    }
    return acc;
}

void fh_neon_dot_i8(const fh_dot_i8 *d) {
    for (size_t i = 0; i < d->n; i++) {
        const fh_i8_block *x = (const fh_i8_block *)d->x[i] + d->first_block;
        for (size_t h = 0; h < d->n_half; h++) {
            for (size_t v = 0; v < 4; v++) {
                float *acc = d->acc + i * FH_PRODUCT_PANEL + h * FH_HALF + 4 * v;
                vst1q_f32(acc, part(d, x, h, v, vld1q_f32(acc)));
            }
        }
    }
}

#define EXPAND_NAME fh_neon_expand
#define EXPAND_BIAS 0
#define EXPAND_BYTES 16
#define EXPAND_F16(src, dst) expand_f16(src, dst)
#define EXPAND_LOOKUP(table, v) ((expand_v)vqtbl1q_u8(vld1q_u8(table), (uint8x16_t)(v)))
#define EXPAND_U32(p) expand_u32(p)
#define EXPAND_U8(p) vcvtq_f32_u32(expand_u32(p))
#define EXPAND_I8(p) vcvtq_f32_s32(expand_s32(p))

static inline void expand_f16(const uint8_t *src, float *dst) {
    for (size_t i = 0; i < 16; i += 4) {
        vst1q_f32(dst + i, vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(src + 2 * i))));
    }
}

static inline uint32x4_t expand_u32(const uint8_t *p) {
    uint32_t four;
    memcpy(&four, p, 4);
    return vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)))));
}

static inline int32x4_t expand_s32(const uint8_t *p) {
    uint32_t four;
    memcpy(&four, p, 4);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)))));
}
#include "kernel/product_expand_body.h"

#define ROWS_NAME fh_neon_dot_rows
#define ROWS_V float32x4_t
#define ROWS_LANES 4
#define ROWS_R 2
#define ROWS_I 2
#define ROWS_ZERO vdupq_n_f32(0)
#define ROWS_F32(p) vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)(p)))
#define ROWS_F16(p) vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)))
#define ROWS_BF16(p) vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16))
#define ROWS_STORE(p, x) vst1q_f32(p, x)
#define ROWS_FMA(a, b, c) vfmaq_f32(c, a, b)
#define ROWS_AHEAD(p) __builtin_prefetch((p) + 1024)
#include "kernel/product_rows_body.h"
