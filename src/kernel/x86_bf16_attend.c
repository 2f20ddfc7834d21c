/* kernel/x86_bf16_attend.c - attention by bf16 pairs with AVX-512 BF16, over state that is bf16.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. Refuses state with more than eight bits: with the further products that
 * it needs, plain f32 is as fast. */
#define FH_PAIRS_ROWS 6
#include "kernel/attend_pairs.h"

enum { PANEL = 4 };

/* One pair of a row, for all lanes. */
FH_INLINE __m512bh spread(const uint16_t *row, size_t pair) {
    int32_t x;
    memcpy(&x, row + 2 * pair, sizeof x);
    return (__m512bh)_mm512_set1_epi32(x);
}

/* c[i] (+)= (a[i] + low[i]) B over `depth` pairs, for m rows and `vecs` vectors of columns; low: NULL, or as a. */
FH_INLINE void product_part(int m, int vecs, const uint16_t *a, const uint16_t *low, size_t lda, const uint32_t *b,
                            size_t ldb, size_t depth, float *c, size_t ldc, bool add) {
    __m512 s[FH_PAIRS_ROWS][PANEL];
    FH_UNROLL
    for (int i = 0; i < m; i++) {
        FH_UNROLL
        for (int j = 0; j < vecs; j++)
            s[i][j] = add ? _mm512_loadu_ps(c + (size_t)i * ldc + 16 * j) : _mm512_setzero_ps();
    }
    for (size_t k = 0; k < depth; k++, b += ldb) {
        __m512bh row[PANEL];
        FH_UNROLL
        for (int j = 0; j < vecs; j++) row[j] = (__m512bh)_mm512_loadu_si512(b + 16 * j);
        FH_UNROLL
        for (int i = 0; i < m; i++) {
            const __m512bh x = spread(a + (size_t)i * lda, k);
            FH_UNROLL
            for (int j = 0; j < vecs; j++) s[i][j] = _mm512_dpbf16_ps(s[i][j], x, row[j]);
            if (low == NULL) continue;
            const __m512bh y = spread(low + (size_t)i * lda, k);
            FH_UNROLL
            for (int j = 0; j < vecs; j++) s[i][j] = _mm512_dpbf16_ps(s[i][j], y, row[j]);
        }
    }
    FH_UNROLL
    for (int i = 0; i < m; i++) {
        FH_UNROLL
        for (int j = 0; j < vecs; j++) _mm512_storeu_ps(c + (size_t)i * ldc + 16 * j, s[i][j]);
    }
}

FH_INLINE void scores_of(int m, const pack *p, uint32_t q, float *score) {
    const size_t at = (size_t)q * p->k_width;
    product_part(m, PANEL, p->q + at, p->q_low + at, p->k_width, p->k, FH_ATTEND_KEYS, p->k_width / 2, score,
                 FH_ATTEND_KEYS, false);
}

FH_INLINE void values_of(int m, const pack *p, float *acc, size_t ld) {
    size_t c = 0;
    for (; c + 16 * PANEL <= p->v_width; c += 16 * PANEL) {
        product_part(m, PANEL, p->weight, NULL, FH_ATTEND_KEYS, p->v + c, p->v_width, FH_ATTEND_KEYS / 2, acc + c, ld,
                     true);
    }
    for (; c < p->v_width; c += 16) {
        product_part(m, 1, p->weight, NULL, FH_ATTEND_KEYS, p->v + c, p->v_width, FH_ATTEND_KEYS / 2, acc + c, ld,
                     true);
    }
}

static void pairs_scores(pack *p, uint32_t q, int m, float *score) {
    switch (m) {
    case 1: scores_of(1, p, q, score); break;
    case 2: scores_of(2, p, q, score); break;
    case 3: scores_of(3, p, q, score); break;
    case 4: scores_of(4, p, q, score); break;
    case 5: scores_of(5, p, q, score); break;
    default: scores_of(6, p, q, score); break;
    }
}

static void pairs_values(pack *p, int m, float *acc, size_t ld) {
    switch (m) {
    case 1: values_of(1, p, acc, ld); break;
    case 2: values_of(2, p, acc, ld); break;
    case 3: values_of(3, p, acc, ld); break;
    case 4: values_of(4, p, acc, ld); break;
    case 5: values_of(5, p, acc, ld); break;
    default: values_of(6, p, acc, ld); break;
    }
}

static bool fits(const fh_attend_shape *s) { return s->k_type == FH_DTYPE_BF16 && s->v_type == FH_DTYPE_BF16; }

const fh_attend_kernel fh_attend_bf16 = {.name = "avx512-bf16 tile",
                                         .level = FH_CPU_LEVEL_BF16,
                                         .fits = fits,
                                         .room = pairs_room,
                                         .begin = pairs_begin,
                                         .block = pairs_blocks};
