/* kernel/fast_op_vec_avx512.h - the vocabulary of fast_op_vec.h in AVX-512: sixteen lanes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_KERNEL_FAST_OP_VEC_AVX512_H
#define FH_KERNEL_FAST_OP_VEC_AVX512_H

#if defined(__AVX512F__) && defined(FH_INLINE)

#include <immintrin.h>

typedef __m512 fh_vec;
#define FH_VEC 16
#define FH_VEC_PANEL 4 /* vectors of a row of sums: 6 x 4 of them leave room for operands */

FH_INLINE fh_vec fh_vec_set(float x) { return _mm512_set1_ps(x); }
FH_INLINE fh_vec fh_vec_load(const float *p) { return _mm512_loadu_ps(p); }
FH_INLINE fh_vec fh_vec_load_bytes(const uint8_t *p) { return _mm512_loadu_ps(p); }
FH_INLINE void fh_vec_store(float *p, fh_vec v) { _mm512_storeu_ps(p, v); }
FH_INLINE fh_vec fh_vec_add(fh_vec a, fh_vec b) { return _mm512_add_ps(a, b); }
FH_INLINE fh_vec fh_vec_sub(fh_vec a, fh_vec b) { return _mm512_sub_ps(a, b); }
FH_INLINE fh_vec fh_vec_mul(fh_vec a, fh_vec b) { return _mm512_mul_ps(a, b); }
FH_INLINE fh_vec fh_vec_div(fh_vec a, fh_vec b) { return _mm512_div_ps(a, b); }
FH_INLINE fh_vec fh_vec_max(fh_vec a, fh_vec b) { return _mm512_max_ps(a, b); }
FH_INLINE fh_vec fh_vec_min(fh_vec a, fh_vec b) { return _mm512_min_ps(a, b); }
FH_INLINE fh_vec fh_vec_fma(fh_vec a, fh_vec b, fh_vec c) { return _mm512_fmadd_ps(a, b, c); }
FH_INLINE fh_vec fh_vec_round(fh_vec x) { return _mm512_roundscale_ps(x, 8); }
FH_INLINE float fh_vec_sum(fh_vec v) { return _mm512_reduce_add_ps(v); }
FH_INLINE float fh_vec_highest(fh_vec v) { return _mm512_reduce_max_ps(v); }

/* p * 2^n where x is not below `least`, else 0. */
FH_INLINE fh_vec fh_vec_scale_above(fh_vec p, fh_vec n, fh_vec x, float least) {
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(least), _CMP_NLT_UQ), p, n);
}
/* x < limit ? a : b, where the comparison is false for NaN */
FH_INLINE fh_vec fh_vec_pick_below(fh_vec x, float limit, fh_vec a, fh_vec b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_LT_OQ), b, a);
}
/* Lane i keeps its number where from <= at + i < to, else it is `other`. */
FH_INLINE fh_vec fh_vec_keep(fh_vec v, int at, int from, int to, float other) {
    const __m512i lane =
        _mm512_add_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi32(at));
    const __mmask16 in =
        _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(from)) & _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32(to));
    return _mm512_mask_blend_ps(in, _mm512_set1_ps(other), v);
}

FH_INLINE fh_vec fh_vec_load_f16(const uint8_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
FH_INLINE fh_vec fh_vec_load_bf16(const uint8_t *p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
FH_INLINE fh_vec fh_vec_load_i8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
FH_INLINE fh_vec fh_vec_set_f16(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _mm512_set1_ps(_cvtsh_ss(h));
}
FH_INLINE void fh_vec_store_f16(uint8_t *p, fh_vec v) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
FH_INLINE void fh_vec_store_bf16(uint8_t *p, fh_vec v) { /* nearest even; NaN stays one */
    const __m512i u = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i round = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    const __m512i nan = _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
    const __m512i r = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), round, nan);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(r));
}

/* The nearest bf16 of a positive number, as f32. */
FH_INLINE fh_vec fh_vec_cut_bf16(fh_vec v) {
    const __m512i u = _mm512_add_epi32(_mm512_castps_si512(v), _mm512_set1_epi32(0x8000));
    return _mm512_castsi512_ps(_mm512_and_si512(u, _mm512_set1_epi32(-65536)));
}

/* Neighbours: each of eight numbers twice; swapped; even lanes negated. */
FH_INLINE fh_vec fh_vec_twice(const float *p) {
    const __m512i each = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_ps(each, _mm512_castps256_ps512(_mm256_loadu_ps(p)));
}
FH_INLINE fh_vec fh_vec_swap(fh_vec v) { return _mm512_permute_ps(v, 0xb1); }
FH_INLINE fh_vec fh_vec_minus_even(fh_vec v) {
    return _mm512_xor_ps(v, _mm512_castsi512_ps(_mm512_set1_epi64(0x80000000)));
}
FH_INLINE fh_vec fh_vec_root(fh_vec v) { return _mm512_sqrt_ps(v); }

/* Rows become columns: lane j of r[i] goes to lane i of r[j]. */
FH_INLINE void fh_vec_transpose(fh_vec r[16]) {
    __m512d t[16];
    __m512 u[16];
    FH_UNROLL
    for (int i = 0; i < 16; i += 2) {
        u[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        u[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    FH_UNROLL
    for (int i = 0; i < 16; i += 4) {
        FH_UNROLL
        for (int j = 0; j < 2; j++) {
            const __m512d a = _mm512_castps_pd(u[i + j]), b = _mm512_castps_pd(u[i + j + 2]);
            t[i + 2 * j] = _mm512_unpacklo_pd(a, b);
            t[i + 2 * j + 1] = _mm512_unpackhi_pd(a, b);
        }
    }
    FH_UNROLL
    for (int i = 0; i < 4; i++) { /* t[4 g + i]: columns i, i + 4, i + 8, i + 12 of rows 4 g to 4 g + 3 */
        const __m512d a = _mm512_shuffle_f64x2(t[i], t[i + 4], 0x88), b = _mm512_shuffle_f64x2(t[i], t[i + 4], 0xdd);
        const __m512d c = _mm512_shuffle_f64x2(t[i + 8], t[i + 12], 0x88),
                      d = _mm512_shuffle_f64x2(t[i + 8], t[i + 12], 0xdd);
        r[i] = _mm512_castpd_ps(_mm512_shuffle_f64x2(a, c, 0x88));
        r[i + 8] = _mm512_castpd_ps(_mm512_shuffle_f64x2(a, c, 0xdd));
        r[i + 4] = _mm512_castpd_ps(_mm512_shuffle_f64x2(b, d, 0x88));
        r[i + 12] = _mm512_castpd_ps(_mm512_shuffle_f64x2(b, d, 0xdd));
    }
}

/* Lane i of the result: all lanes of r[i] together, by `join`. */
#define FH_VEC_JOIN(name, join) \
    FH_INLINE fh_vec name(const fh_vec r[16]) { \
        __m512 a[8], b[4]; \
        FH_UNROLL \
        for (int i = 0; i < 8; i++) { /* within 128 bits: x0 y0 x1 y1 of pairs of vectors */ \
            a[i] = join(_mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]), _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1])); \
        } \
        FH_UNROLL \
        for (int i = 0; i < 4; i++) { \
            const __m512d x = _mm512_castps_pd(a[2 * i]), y = _mm512_castps_pd(a[2 * i + 1]); \
            b[i] = join(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y))); \
        } \
        const __m512 c = join(_mm512_shuffle_f32x4(b[0], b[1], 0x88), _mm512_shuffle_f32x4(b[0], b[1], 0xdd)); \
        const __m512 d = join(_mm512_shuffle_f32x4(b[2], b[3], 0x88), _mm512_shuffle_f32x4(b[2], b[3], 0xdd)); \
        return join(_mm512_shuffle_f32x4(c, d, 0x88), _mm512_shuffle_f32x4(c, d, 0xdd)); \
    }
FH_VEC_JOIN(fh_vec_sums, _mm512_add_ps)
FH_VEC_JOIN(fh_vec_tops, _mm512_max_ps)
#undef FH_VEC_JOIN

#endif
#endif
