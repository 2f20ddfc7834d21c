/* kernel/x86_bf16_product.c - bf16 panels times bf16 inputs with AVX-512 BF16: 32 rows by six inputs.
 * SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#include "kernel/product_part.h"

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif
enum { INPUTS = 6 };

static inline __attribute__((always_inline)) void tile(const fh_dot_bf16 *a, size_t from, const size_t n,
                                                       const size_t n_half) {
    __m512 acc[2][INPUTS];
    const uint16_t *x[INPUTS], *w0 = a->w[0], *w1 = a->w[n_half - 1];
    UNROLL for (size_t i = 0; i < n; i++) {
        x[i] = a->x + (from + i) * a->stride;
        UNROLL for (size_t h = 0; h < n_half; h++) {
            acc[h][i] = _mm512_load_ps(a->acc + (from + i) * FH_PRODUCT_PANEL + h * FH_HALF);
        }
    }
    for (size_t k = 0; k < a->n_col; k += 2) {
        const __m512bh v0 = (__m512bh)(_mm512_load_si512(w0 + k * FH_HALF));
        const __m512bh v1 = (__m512bh)(_mm512_load_si512(w1 + k * FH_HALF));
        UNROLL for (size_t i = 0; i < n; i++) {
            int32_t pair;
            memcpy(&pair, x[i] + k, 4);
            const __m512bh in = (__m512bh)(_mm512_set1_epi32(pair));
            acc[0][i] = _mm512_dpbf16_ps(acc[0][i], v0, in);
            if (n_half > 1) acc[1][i] = _mm512_dpbf16_ps(acc[1][i], v1, in);
        }
    }
    UNROLL for (size_t i = 0; i < n; i++) {
        UNROLL for (size_t h = 0; h < n_half; h++) {
            _mm512_store_ps(a->acc + (from + i) * FH_PRODUCT_PANEL + h * FH_HALF, acc[h][i]);
        }
    }
}

#define CASE(n) \
    case n: \
        if (a->n_half == 2) tile(a, from, n, 2); \
        else tile(a, from, n, 1); \
        break
void fh_bf16_dot_bf16(const fh_dot_bf16 *a) {
    const size_t n_tile = (a->n + INPUTS - 1) / INPUTS;
    size_t from = 0;
    for (size_t t = 0; t < n_tile; t++) {
        const size_t n = (a->n - from + n_tile - t - 1) / (n_tile - t);
        switch (n) {
            CASE(6);
            CASE(5);
            CASE(4);
            CASE(3);
            CASE(2);
            CASE(1);
        default: FH_BUG("a tile of inputs");
        }
        from += n;
    }
}
