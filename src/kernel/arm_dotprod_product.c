/* kernel/arm_dotprod_product.c - codes times int8 inputs with the dot product instructions: 16 rows by two inputs.
 * SPDX-License-Identifier: Apache-2.0
 * A register holds four rows' quads; the input's quad is a lane of one that holds sixteen columns. */
#include <arm_neon.h>

#include "kernel/product_part.h"

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif
#define INLINE static inline __attribute__((always_inline))
enum { INPUTS = 2, VECTORS = FH_HALF / 4 };

/* Four quads, columns [16 c, 16 c + 16) of a block. */
INLINE void quads(int32x4_t (*sum)[INPUTS], const int8_t *w, const int8x16_t *x, const size_t n) {
#define QUAD(g) \
    UNROLL for (size_t v = 0; v < VECTORS; v++) { \
        const int8x16_t code = vld1q_s8(w + (g)*FH_QUAD_BYTES + 16 * v); \
        UNROLL for (size_t i = 0; i < n; i++) sum[v][i] = vdotq_laneq_s32(sum[v][i], code, x[i], g); \
    }
    QUAD(0)
    QUAD(1)
    QUAD(2)
    QUAD(3)
#undef QUAD
}

INLINE void add_up(const fh_dot_i8 *d, float32x4_t (*acc)[INPUTS], int32x4_t (*sum)[INPUTS],
                   const fh_i8_block *const *x, size_t half, size_t at, const int part, const size_t n) {
    UNROLL for (size_t i = 0; i < n; i++) {
        UNROLL for (size_t v = 0; v < VECTORS; v++) {
            const float32x4_t s = vmulq_n_f32(vcvtq_f32_s32(sum[v][i]), x[i]->scale);
            acc[v][i] = vfmaq_f32(acc[v][i], s, vld1q_f32(d->scale[half] + at * FH_HALF + 4 * v));
            if (d->has_min) {
                acc[v][i] = vfmsq_n_f32(acc[v][i], vld1q_f32(d->min[half] + at * FH_HALF + 4 * v),
                                        part < 0 ? x[i]->sum : x[i]->sum_half[part]);
            }
            sum[v][i] = vdupq_n_s32(0);
        }
    }
}

INLINE void tile(const fh_dot_i8 *d, size_t half, size_t from, const size_t n) {
    float32x4_t acc[VECTORS][INPUTS];
    int32x4_t sum[VECTORS][INPUTS];
    const fh_i8_block *x[INPUTS];
    float *to = d->acc + from * FH_PRODUCT_PANEL + half * FH_HALF;
    UNROLL for (size_t i = 0; i < n; i++) {
        x[i] = (const fh_i8_block *)d->x[from + i] + d->first_block;
        UNROLL for (size_t v = 0; v < VECTORS; v++) {
            acc[v][i] = vld1q_f32(to + i * FH_PRODUCT_PANEL + 4 * v);
            sum[v][i] = vdupq_n_s32(0);
        }
    }
    for (size_t b = 0; b < d->n_block; b++) {
        const int8_t *w = (const int8_t *)d->code[half] + b * FH_BLOCK_CODES;
        int8x16_t low[INPUTS], high[INPUTS];
        UNROLL for (size_t i = 0; i < n; i++) low[i] = vld1q_s8(x[i]->q), high[i] = vld1q_s8(x[i]->q + 16);
        quads(sum, w, low, n);
        if (d->block == 16) add_up(d, acc, sum, x, half, 2 * b, 0, n);
        quads(sum, w + 4 * FH_QUAD_BYTES, high, n);
        if (d->block == 16) add_up(d, acc, sum, x, half, 2 * b + 1, 1, n);
        else add_up(d, acc, sum, x, half, b, -1, n);
        UNROLL for (size_t i = 0; i < n; i++) x[i]++;
    }
    UNROLL for (size_t i = 0; i < n; i++) {
        UNROLL for (size_t v = 0; v < VECTORS; v++) vst1q_f32(to + i * FH_PRODUCT_PANEL + 4 * v, acc[v][i]);
    }
}

void fh_dotprod_dot_i8(const fh_dot_i8 *d) {
    for (size_t h = 0; h < d->n_half; h++) {
        size_t i = 0;
        for (; i + 2 <= d->n; i += 2) tile(d, h, i, 2);
        if (i < d->n) tile(d, h, i, 1);
    }
}
