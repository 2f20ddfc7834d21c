/* kernel/fast_op_vec_avx2.h - the vocabulary of fast_op_vec.h in AVX2, FMA and F16C: eight lanes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_KERNEL_FAST_OP_VEC_AVX2_H
#define FH_KERNEL_FAST_OP_VEC_AVX2_H

#if defined(__AVX2__) && defined(FH_INLINE)

#include <immintrin.h>

typedef __m256 fh_vec;
#define FH_VEC 8
#define FH_VEC_PANEL 2

FH_INLINE fh_vec fh_vec_set(float x) { return _mm256_set1_ps(x); }
FH_INLINE fh_vec fh_vec_load(const float *p) { return _mm256_loadu_ps(p); }
FH_INLINE fh_vec fh_vec_load_bytes(const uint8_t *p) { return _mm256_loadu_ps((const float *)(const void *)p); }
FH_INLINE void fh_vec_store(float *p, fh_vec v) { _mm256_storeu_ps(p, v); }
FH_INLINE fh_vec fh_vec_add(fh_vec a, fh_vec b) { return _mm256_add_ps(a, b); }
FH_INLINE fh_vec fh_vec_sub(fh_vec a, fh_vec b) { return _mm256_sub_ps(a, b); }
FH_INLINE fh_vec fh_vec_mul(fh_vec a, fh_vec b) { return _mm256_mul_ps(a, b); }
FH_INLINE fh_vec fh_vec_div(fh_vec a, fh_vec b) { return _mm256_div_ps(a, b); }
FH_INLINE fh_vec fh_vec_max(fh_vec a, fh_vec b) { return _mm256_max_ps(a, b); }
FH_INLINE fh_vec fh_vec_min(fh_vec a, fh_vec b) { return _mm256_min_ps(a, b); }
FH_INLINE fh_vec fh_vec_fma(fh_vec a, fh_vec b, fh_vec c) { return _mm256_fmadd_ps(a, b, c); }
FH_INLINE fh_vec fh_vec_round(fh_vec x) { return _mm256_round_ps(x, 8); }
FH_INLINE float fh_vec_sum(fh_vec v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
FH_INLINE float fh_vec_highest(fh_vec v) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* p * 2^n where x is not below `least`, else 0. n is between -126 and 128 there: half of it twice. */
FH_INLINE fh_vec fh_vec_scale_above(fh_vec p, fh_vec n, fh_vec x, float least) {
    const __m256i e = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(e, 1), bias = _mm256_set1_epi32(127);
    const __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(e, half), bias), 23);
    const __m256 r = _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
    return _mm256_and_ps(_mm256_cmp_ps(x, _mm256_set1_ps(least), _CMP_NLT_UQ), r);
}
/* x < limit ? a : b, where the comparison is false for NaN */
FH_INLINE fh_vec fh_vec_pick_below(fh_vec x, float limit, fh_vec a, fh_vec b) {
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_set1_ps(limit), _CMP_LT_OQ));
}
/* Lane i keeps its number where from <= at + i < to, else it is `other`. */
FH_INLINE fh_vec fh_vec_keep(fh_vec v, int at, int from, int to, float other) {
    const __m256i lane = _mm256_add_epi32(_mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0), _mm256_set1_epi32(at));
    const __m256i in = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(from), lane),
                                           _mm256_cmpgt_epi32(_mm256_set1_epi32(to), lane));
    return _mm256_blendv_ps(_mm256_set1_ps(other), v, _mm256_castsi256_ps(in));
}

FH_INLINE fh_vec fh_vec_load_f16(const uint8_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
FH_INLINE fh_vec fh_vec_load_bf16(const uint8_t *p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
FH_INLINE fh_vec fh_vec_load_i8(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
FH_INLINE fh_vec fh_vec_set_f16(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _mm256_set1_ps(_cvtsh_ss(h));
}
FH_INLINE void fh_vec_store_f16(uint8_t *p, fh_vec v) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
FH_INLINE void fh_vec_store_bf16(uint8_t *p, fh_vec v) { /* nearest even; NaN stays one */
    const __m256i u = _mm256_castps_si256(v), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i round = _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    const __m256i nan = _mm256_or_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(0x40));
    const __m256i r = _mm256_blendv_epi8(round, nan, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(packed));
}

/* The nearest bf16 of a positive number, as f32. */
FH_INLINE fh_vec fh_vec_cut_bf16(fh_vec v) {
    const __m256i u = _mm256_add_epi32(_mm256_castps_si256(v), _mm256_set1_epi32(0x8000));
    return _mm256_castsi256_ps(_mm256_and_si256(u, _mm256_set1_epi32(-65536)));
}

/* Neighbours: each of four numbers twice; swapped; even lanes negated. */
FH_INLINE fh_vec fh_vec_twice(const float *p) {
    const __m256i each = _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0);
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), each);
}
FH_INLINE fh_vec fh_vec_swap(fh_vec v) { return _mm256_permute_ps(v, 0xb1); }
FH_INLINE fh_vec fh_vec_minus_even(fh_vec v) {
    return _mm256_xor_ps(v, _mm256_castsi256_ps(_mm256_set1_epi64x(0x80000000)));
}
FH_INLINE fh_vec fh_vec_root(fh_vec v) { return _mm256_sqrt_ps(v); }

/* Rows become columns: lane j of r[i] goes to lane i of r[j]. */
FH_INLINE void fh_vec_transpose(fh_vec r[8]) {
    __m256 u[8], t[8];
    FH_UNROLL
    for (int i = 0; i < 8; i += 2) {
        u[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        u[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    FH_UNROLL
    for (int i = 0; i < 8; i += 4) {
        FH_UNROLL
        for (int j = 0; j < 2; j++) {
            t[i + 2 * j] = _mm256_shuffle_ps(u[i + j], u[i + j + 2], 0x44);
            t[i + 2 * j + 1] = _mm256_shuffle_ps(u[i + j], u[i + j + 2], 0xee);
        }
    }
    FH_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

/* Lane i of the result is the sum of r[i]. */
FH_INLINE fh_vec fh_vec_sums(const fh_vec r[8]) {
    const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(r[0], r[1]), _mm256_hadd_ps(r[2], r[3]));
    const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(r[4], r[5]), _mm256_hadd_ps(r[6], r[7]));
    return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

/* Lane i of the result is the greatest of r[i]. */
FH_INLINE fh_vec fh_vec_tops(const fh_vec r[8]) {
    __m256 a[4], b[2];
    FH_UNROLL
    for (int i = 0; i < 4; i++) {
        a[i] = _mm256_max_ps(_mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]), _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]));
    }
    FH_UNROLL
    for (int i = 0; i < 2; i++) {
        b[i] = _mm256_max_ps(_mm256_shuffle_ps(a[2 * i], a[2 * i + 1], 0x44),
                             _mm256_shuffle_ps(a[2 * i], a[2 * i + 1], 0xee));
    }
    return _mm256_max_ps(_mm256_permute2f128_ps(b[0], b[1], 0x20), _mm256_permute2f128_ps(b[0], b[1], 0x31));
}

#endif
#endif
