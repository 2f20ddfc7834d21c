/* kernel/x86_avx512_product.c - what all levels with 512-bit registers share: units, rows, and forms of inputs.
 * SPDX-License-Identifier: Apache-2.0
 * bf16 panels are cut off, not rounded, after weights were made larger by GROW: that is the mean of what rounding adds,
 * and leaves numbers alone that bf16 holds exactly. It costs nothing, and the error is 0.31 units of the last place
 * instead of 0.29. */
#include <immintrin.h>

#define EXPAND_NAME fh_avx512_expand
#define EXPAND_BIAS 128
#define EXPAND_BYTES 64
#define EXPAND_F16(src, dst) \
    _mm512_storeu_ps(dst, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(src))))
#define LOAD128(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define EXPAND_U8(p) _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(LOAD128(p)))
#define EXPAND_I8(p) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(LOAD128(p)))
#define EXPAND_U32(p) _mm512_cvtepu8_epi32(LOAD128(p))
#define EXPAND_LOOKUP(table, v) ((expand_v)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(LOAD128(table)), (__m512i)(v)))
#include "kernel/product_expand_body.h"

#define LOAD16(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define ROWS_NAME fh_avx512_dot_rows
#define ROWS_V __m512
#define ROWS_LANES 16
#define ROWS_R 4
#define ROWS_I 4
#define ROWS_ZERO _mm512_setzero_ps()
#define ROWS_F32(p) _mm512_loadu_ps(p)
#define ROWS_F16(p) _mm512_cvtph_ps(LOAD16(p))
#define ROWS_BF16(p) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(LOAD16(p)), 16))
#define ROWS_STORE(p, x) _mm512_storeu_ps(p, x)
#define ROWS_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define ROWS_AHEAD(p) _mm_prefetch((const char *)(p) + 1024, _MM_HINT_T0)
#include "kernel/product_rows_body.h"

/* The sum of sixteen signed bytes. */
static inline int32_t sum_of(__m128i q) {
    const __m128i s = _mm_sad_epu8(_mm_xor_si128(q, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return _mm_cvtsi128_si32(s) + _mm_extract_epi16(s, 4) - 16 * 128;
}

void fh_avx512_form_i8(const float *x, size_t n_block, fh_i8_block *dst) {
    const __m512 magic = _mm512_set1_ps(FH_ROUND);
    const __m512i mask = _mm512_set1_epi32(0x7fffffff);
    for (size_t b = 0; b < n_block; b++, x += FH_BLOCK, dst++) {
        const __m512 x0 = _mm512_loadu_ps(x), x1 = _mm512_loadu_ps(x + 16);
        const __m512i a0 = _mm512_and_si512(_mm512_castps_si512(x0), mask);
        const __m512i a1 = _mm512_and_si512(_mm512_castps_si512(x1), mask);
        const float scale = fh_i8_scale(_mm512_reduce_max_epu32(_mm512_max_epu32(a0, a1)));
        const __m512 inverse = _mm512_set1_ps(scale == 0.0f ? 0.0f : 1.0f / scale);
        const __m512i q0 = _mm512_sub_epi32(_mm512_castps_si512(_mm512_add_ps(_mm512_mul_ps(x0, inverse), magic)),
                                            _mm512_castps_si512(magic));
        const __m512i q1 = _mm512_sub_epi32(_mm512_castps_si512(_mm512_add_ps(_mm512_mul_ps(x1, inverse), magic)),
                                            _mm512_castps_si512(magic));
        const __m128i low = _mm512_cvtepi32_epi8(q0), high = _mm512_cvtepi32_epi8(q1);
        _mm_storeu_si128((__m128i *)(void *)dst->q, low);
        _mm_storeu_si128((__m128i *)(void *)(dst->q + 16), high);
        fh_i8_finish(dst, scale, sum_of(low), sum_of(high));
    }
}

/* To the nearest, ties to even; NaN stays one. */
static inline __m512i round_bf16(__m512 f) {
    const __m512i u = _mm512_castps_si512(f);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i r = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    return _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(f, f, _CMP_UNORD_Q), u, _mm512_set1_epi32(0x00400000));
}

void fh_avx512_form_bf16(const float *x, size_t n, uint16_t *dst) {
    for (size_t k = 0; k < n; k += FH_BLOCK, dst += FH_BLOCK) {
        for (size_t j = 0; j < 2; j++) {
            const size_t at = k + 16 * j, left = at < n ? n - at : 0;
            const __mmask16 have = (__mmask16)(left >= 16 ? 0xffffu : (1u << left) - 1);
            const __m512i r = round_bf16(_mm512_maskz_loadu_ps(have, x + (left ? at : 0)));
            _mm256_storeu_si256((__m256i *)(void *)(dst + 16 * j), _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16)));
        }
    }
}

/* Bits of two f32 to a pair of bf16, cut off. */
static inline __m512i pair_of(__m512 even, __m512 odd) {
    return _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32(_mm512_castps_si512(even), 16),
                                   _mm512_castps_si512(odd));
}

#define GROW (1.0f + 0x1.62p-9f)

/* A byte u laid into the top of a mantissa is 1 + u / 256: multiplied by 256 scale and less the rest in one go. */
void fh_avx512_widen(const uint8_t *code, const float *scale, const float *min, size_t n_block, size_t block,
                     uint16_t *dst) {
    const __m512i field = _mm512_set1_epi32(0x007f8000), one = _mm512_set1_epi32(0x3f800000);
    const size_t quads = block / 4, n_scale = n_block * FH_BLOCK / block;
    for (size_t s = 0; s < n_scale; s++) {
        const __m512 grown = _mm512_mul_ps(_mm512_load_ps(scale + 16 * s), _mm512_set1_ps(GROW));
        const __m512 a = _mm512_mul_ps(grown, _mm512_set1_ps(256.0f));
        __m512 b = _mm512_mul_ps(grown, _mm512_set1_ps(384.0f));
        if (min != NULL) b = _mm512_fmadd_ps(_mm512_load_ps(min + 16 * s), _mm512_set1_ps(GROW), b);
        for (size_t g = 0; g < quads; g++, code += FH_QUAD_BYTES, dst += 4 * FH_HALF) {
            const __m512i q = _mm512_load_si512(code);
/* field and one, in one instruction: (x & field) | one */
#define VALUE(x) _mm512_fmsub_ps(_mm512_castsi512_ps(_mm512_ternarylogic_epi32(x, field, one, 0xEA)), a, b)
            const __m512 v0 = VALUE(_mm512_slli_epi32(q, 15)), v1 = VALUE(_mm512_slli_epi32(q, 7));
            const __m512 v2 = VALUE(_mm512_srli_epi32(q, 1)), v3 = VALUE(_mm512_srli_epi32(q, 9));
#undef VALUE
            _mm512_store_si512(dst, pair_of(v0, v1));
            _mm512_store_si512(dst + 2 * FH_HALF, pair_of(v2, v3));
        }
    }
}

/* Sixteen registers of sixteen words each, turned. */
static inline void turn(__m512i *r) {
    __m512i t[16];
    ROWS_UNROLL for (size_t i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    ROWS_UNROLL for (size_t i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    ROWS_UNROLL for (size_t i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    ROWS_UNROLL for (size_t i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

/* 32 columns of one row as bf16, from column k. */
static inline __m512i row_bf16(fh_dtype t, const uint8_t *row, size_t k, size_t n) {
    const size_t left = n - k;
    const __mmask32 have = left >= 32 ? 0xffffffff : ((__mmask32)1 << left) - 1;
    const __mmask16 low = (__mmask16)have, high = (__mmask16)(have >> 16);
    __m512 a, b;
    if (t == FH_DTYPE_BF16) return _mm512_maskz_loadu_epi16(have, row + 2 * k);
    if (t == FH_DTYPE_F32) {
        a = _mm512_maskz_loadu_ps(low, row + 4 * k);
        b = _mm512_maskz_loadu_ps(high, row + 4 * (left > 16 ? k + 16 : k));
    } else {
        const __m512i h = _mm512_maskz_loadu_epi16(have, row + 2 * k);
        a = _mm512_cvtph_ps(_mm512_castsi512_si256(h));
        b = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(h, 1));
    }
    const __m256i first = _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_bf16(a), 16));
    return _mm512_inserti64x4(_mm512_castsi256_si512(first),
                              _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_bf16(b), 16)), 1);
}

void fh_avx512_lay_bf16(fh_dtype t, const uint8_t *const *row, size_t n, size_t n_col, uint16_t *dst) {
    __m512i r[16];
    for (size_t k = 0; k < n_col; k += FH_BLOCK, dst += FH_BLOCK * FH_HALF) {
        ROWS_UNROLL for (size_t i = 0; i < 16; i++) r[i] = row_bf16(t, row[i], k, n);
        turn(r);
        ROWS_UNROLL for (size_t i = 0; i < 16; i++) _mm512_store_si512(dst + 2 * FH_HALF * i, r[i]);
    }
}
