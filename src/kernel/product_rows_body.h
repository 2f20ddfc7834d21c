/* kernel/product_rows_body.h - stored rows times f32 inputs, compiled once per instruction set.
 * SPDX-License-Identifier: Apache-2.0
 * The includer defines ROWS_NAME, the vector ROWS_V of ROWS_LANES floats, loads of F32, F16 and BF16, and the tile
 * ROWS_R rows by ROWS_I inputs. Element k of a product is added to partial sum k % 16, fused, in order; the sixteen are
 * added as a tree (8, 4, 2, 1 apart). Neither the tile nor the width of a register can be seen in a result. */
#if defined(ROWS_NAME) /* nothing without an includer */
#include <math.h>

#include "kernel/convert.h"
#include "kernel/product_part.h"

#if defined(__clang__)
#define ROWS_UNROLL _Pragma("unroll")
#else
#define ROWS_UNROLL _Pragma("GCC unroll 16")
#endif
#define ROWS_INLINE static inline __attribute__((always_inline))
enum { ROWS_PARTS = 16, ROWS_VECTORS = ROWS_PARTS / ROWS_LANES };

ROWS_INLINE ROWS_V rows_load(const fh_dtype t, const uint8_t *row, size_t k) {
    if (t == FH_DTYPE_F32) return ROWS_F32(row + 4 * k);
    return t == FH_DTYPE_F16 ? ROWS_F16(row + 2 * k) : ROWS_BF16(row + 2 * k);
}

ROWS_INLINE float rows_one(const fh_dtype t, const uint8_t *row, size_t k) {
    if (t == FH_DTYPE_F32) return fh_load_f32(row + 4 * k);
    const uint16_t h = fh_load_u16(row + 2 * k);
    return t == FH_DTYPE_F16 ? fh_widen_f16(h) : fh_widen_bf16(h);
}

ROWS_INLINE float rows_finish(const fh_dtype t, float *s, const uint8_t *row, const float *x, size_t k, size_t n) {
    for (size_t j = 0; k + j < n; j++) s[j] = fmaf(rows_one(t, row, k + j), x[k + j], s[j]);
    for (size_t d = ROWS_PARTS / 2; d > 0; d /= 2) {
        for (size_t j = 0; j < d; j++) s[j] = s[j] + s[j + d];
    }
    return s[0];
}

ROWS_INLINE void rows_tile(const fh_dot_rows *a, size_t r0, size_t i0, const size_t n_r, const size_t n_i,
                           const fh_dtype t) {
    ROWS_V sum[ROWS_R][ROWS_I][ROWS_VECTORS];
    const uint8_t *row[ROWS_R];
    const float *x[ROWS_I];
    size_t k = 0;
    ROWS_UNROLL for (size_t r = 0; r < n_r; r++) {
        row[r] = a->row[r0 + r];
        ROWS_UNROLL for (size_t i = 0; i < n_i; i++) {
            ROWS_UNROLL for (size_t v = 0; v < ROWS_VECTORS; v++) sum[r][i][v] = ROWS_ZERO;
        }
    }
    ROWS_UNROLL for (size_t i = 0; i < n_i; i++) x[i] = a->x[i0 + i];
    for (; k + ROWS_PARTS <= a->n_col; k += ROWS_PARTS) {
        ROWS_UNROLL for (size_t v = 0; v < ROWS_VECTORS; v++) {
            const size_t at = k + v * ROWS_LANES;
            ROWS_V w[ROWS_R];
            ROWS_UNROLL for (size_t r = 0; r < n_r; r++) {
                w[r] = rows_load(t, row[r], at);
                ROWS_AHEAD(row[r] + (t == FH_DTYPE_F32 ? 4 : 2) * at);
            }
            ROWS_UNROLL for (size_t i = 0; i < n_i; i++) {
                const ROWS_V in = ROWS_F32(x[i] + at);
                ROWS_UNROLL for (size_t r = 0; r < n_r; r++) sum[r][i][v] = ROWS_FMA(w[r], in, sum[r][i][v]);
            }
        }
    }
    ROWS_UNROLL for (size_t r = 0; r < n_r; r++) {
        ROWS_UNROLL for (size_t i = 0; i < n_i; i++) {
            float s[ROWS_PARTS];
            ROWS_UNROLL for (size_t v = 0; v < ROWS_VECTORS; v++) ROWS_STORE(s + v * ROWS_LANES, sum[r][i][v]);
            a->acc[(i0 + i) * FH_PRODUCT_PANEL + r0 + r] = rows_finish(t, s, row[r], x[i], k, a->n_col);
        }
    }
}

ROWS_INLINE void rows_all(const fh_dot_rows *a, const fh_dtype t) {
    size_t i = 0;
    for (; i + ROWS_I <= a->n; i += ROWS_I) {
        size_t r = 0;
        for (; r + ROWS_R <= a->n_row; r += ROWS_R) rows_tile(a, r, i, ROWS_R, ROWS_I, t);
        for (; r < a->n_row; r++) rows_tile(a, r, i, 1, ROWS_I, t);
    }
    for (; i < a->n; i++) {
        size_t r = 0;
        for (; r + ROWS_R <= a->n_row; r += ROWS_R) rows_tile(a, r, i, ROWS_R, 1, t);
        for (; r < a->n_row; r++) rows_tile(a, r, i, 1, 1, t);
    }
}

void ROWS_NAME(const fh_dot_rows *a) {
    if (a->dtype == FH_DTYPE_F32) rows_all(a, FH_DTYPE_F32);
    else if (a->dtype == FH_DTYPE_F16) rows_all(a, FH_DTYPE_F16);
    else rows_all(a, FH_DTYPE_BF16);
}

#endif
