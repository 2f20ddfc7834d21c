/* kernel/fast_tile.h - small matrix products in registers, written once for all vectors of fast_op_vec.h.
 * SPDX-License-Identifier: Apache-2.0
 * Up to FH_TILE_ROWS rows times a matrix whose columns are the lanes; and rows turned so that they are such columns.
 * A number is summed over the depth in order, one rounding a term, whatever rows and columns go with it. For objects of
 * one instruction set, as fast_op_vec.h. Refuses nothing: shapes are the caller's. */
#ifndef FH_KERNEL_FAST_TILE_H
#define FH_KERNEL_FAST_TILE_H

#include "kernel/fast_op_vec.h"

#ifdef FH_VEC

enum { FH_TILE_ROWS = 6 };

/* c[i] (+)= a[i] B for m rows and `vecs` vectors of columns, where B is [depth, ldb]. */
FH_INLINE void fh_tile_part(int m, int vecs, const float *const *a, const float *b, size_t ldb, size_t depth,
                            float *const *c, bool add) {
    fh_vec s[FH_TILE_ROWS][FH_VEC_PANEL];
    FH_UNROLL
    for (int i = 0; i < m; i++) {
        FH_UNROLL
        for (int j = 0; j < vecs; j++) s[i][j] = add ? fh_vec_load(c[i] + j * FH_VEC) : fh_vec_set(0);
    }
    for (size_t k = 0; k < depth; k++, b += ldb) {
        fh_vec row[FH_VEC_PANEL];
        FH_UNROLL
        for (int j = 0; j < vecs; j++) row[j] = fh_vec_load(b + j * FH_VEC);
        FH_UNROLL
        for (int i = 0; i < m; i++) {
            const fh_vec x = fh_vec_set(a[i][k]);
            FH_UNROLL
            for (int j = 0; j < vecs; j++) s[i][j] = fh_vec_fma(x, row[j], s[i][j]);
        }
    }
    FH_UNROLL
    for (int i = 0; i < m; i++) {
        FH_UNROLL
        for (int j = 0; j < vecs; j++) fh_vec_store(c[i] + j * FH_VEC, s[i][j]);
    }
}

FH_INLINE void fh_tile_rows(int m, const float *const *a, const float *b, size_t ldb, size_t depth, float *const *c,
                            size_t vecs, bool add) {
    size_t j = 0;
    float *at[FH_TILE_ROWS];
    for (; j + FH_VEC_PANEL <= vecs; j += FH_VEC_PANEL) {
        for (int i = 0; i < m; i++) at[i] = c[i] + j * FH_VEC;
        fh_tile_part(m, FH_VEC_PANEL, a, b + j * FH_VEC, ldb, depth, at, add);
    }
    for (; j < vecs; j++) {
        for (int i = 0; i < m; i++) at[i] = c[i] + j * FH_VEC;
        fh_tile_part(m, 1, a, b + j * FH_VEC, ldb, depth, at, add);
    }
}

static inline void fh_tile_product(int m, const float *const *a, const float *b, size_t ldb, size_t depth,
                                   float *const *c, size_t vecs, bool add) {
    switch (m) {
    case 1: fh_tile_rows(1, a, b, ldb, depth, c, vecs, add); break;
    case 2: fh_tile_rows(2, a, b, ldb, depth, c, vecs, add); break;
    case 3: fh_tile_rows(3, a, b, ldb, depth, c, vecs, add); break;
    case 4: fh_tile_rows(4, a, b, ldb, depth, c, vecs, add); break;
    case 5: fh_tile_rows(5, a, b, ldb, depth, c, vecs, add); break;
    default: fh_tile_rows(6, a, b, ldb, depth, c, vecs, add); break;
    }
}

/* Column c alone. */
FH_INLINE float fh_tile_one(fh_dtype t, const uint8_t *row, size_t c) {
    uint16_t h;
    float f;
    switch (t) {
    case FH_DTYPE_F16: memcpy(&h, row + 2 * c, sizeof h); return fh_widen_f16(h);
    case FH_DTYPE_BF16: memcpy(&h, row + 2 * c, sizeof h); return fh_widen_bf16(h);
    case FH_DTYPE_Q8_0:
        row += c / 32 * 34;
        memcpy(&h, row, sizeof h);
        return (float)(int8_t)row[2 + c % 32] * fh_widen_f16(h);
    default: memcpy(&f, row + 4 * c, sizeof f); return f;
    }
}

/* dst [width, ld]: n stored rows k become columns; columns n to ld, whole vectors, are 0. */
FH_INLINE void fh_tile_turn(fh_dtype t, const uint8_t *const *k, uint32_t n, uint32_t width, float *dst, uint32_t ld) {
    for (uint32_t first = 0; first < ld; first += FH_VEC) {
        uint32_t c = 0;
        for (; c + FH_VEC <= width; c += FH_VEC) {
            fh_vec r[FH_VEC];
            if (first + FH_VEC <= n) {
                FH_UNROLL
                for (uint32_t i = 0; i < FH_VEC; i++) r[i] = fh_vec_load_as(t, k[first + i], c);
            } else {
                FH_UNROLL
                for (uint32_t i = 0; i < FH_VEC; i++) {
                    r[i] = first + i < n ? fh_vec_load_as(t, k[first + i], c) : fh_vec_set(0);
                }
            }
            fh_vec_transpose(r);
            FH_UNROLL
            for (uint32_t i = 0; i < FH_VEC; i++) fh_vec_store(dst + (size_t)(c + i) * ld + first, r[i]);
        }
        for (; c < width; c++) {
            for (uint32_t i = 0; i < FH_VEC; i++) {
                dst[(size_t)c * ld + first + i] = first + i < n ? fh_tile_one(t, k[first + i], c) : 0.0f;
            }
        }
    }
}

#endif
#endif
