/* kernel/x86_avx2_product.c - products with AVX2, FMA and F16C, for CPUs without VNNI.
 * SPDX-License-Identifier: Apache-2.0
 * Pairs of products of bytes are summed in 16 bits, saturating: codes have no bias here, so that no pair passes
 * 2 * 128 * 127. The multiply wants one factor unsigned: it takes |code|, and the input the code's sign. */
#include <immintrin.h>

#define I8_NAME fh_avx2_dot_i8
#define I8_INT __m256i
#define I8_FLOAT __m256
#define I8_LANES 8
#define I8_VECTORS 2
#define I8_INPUTS 2
#define I8_BIASED 0
#define I8_SET(x) _mm256_set1_epi32(x)
#define I8_AHEAD(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#define I8_SETF(x) _mm256_set1_ps(x)
#define I8_LOAD(p) _mm256_load_si256((const __m256i *)(const void *)(p))
#define I8_LOADF(p) _mm256_load_ps(p)
#define I8_STOREF(p, x) _mm256_store_ps(p, x)
#define I8_FLOAT_OF(x) _mm256_castsi256_ps(x)
#define I8_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define I8_FNMA(a, b, c) _mm256_fnmadd_ps(a, b, c)
#define I8_PAIR(w, x) _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
#define I8_ADD16(a, b) _mm256_add_epi16(a, b)
#define I8_ADD32(a, b) _mm256_add_epi32(a, b)
#define I8_FOLD(x) _mm256_madd_epi16(x, _mm256_set1_epi16(1))
#include "kernel/product_i8_body.h"

#define EXPAND_NAME fh_avx2_expand
#define EXPAND_BIAS 0
#include "kernel/x86_avx2_product.h"
#include "kernel/product_expand_body.h"

static inline __m256 load_bf16(const uint8_t *p) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), 16));
}

#define ROWS_NAME fh_avx2_dot_rows
#define ROWS_V __m256
#define ROWS_LANES 8
#define ROWS_R 2
#define ROWS_I 2
#define ROWS_ZERO _mm256_setzero_ps()
#define ROWS_F32(p) _mm256_loadu_ps((const float *)(const void *)(p))
#define ROWS_F16(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define ROWS_BF16(p) load_bf16(p)
#define ROWS_STORE(p, x) _mm256_storeu_ps(p, x)
#define ROWS_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define ROWS_AHEAD(p) _mm_prefetch((const char *)(p) + 1024, _MM_HINT_T0)
#include "kernel/product_rows_body.h"

/* Largest absolute value by its bits, so that a NaN is larger than all numbers and comes out as one. */
static inline uint32_t largest(const float *x) {
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    __m256i m = _mm256_setzero_si256();
    for (size_t i = 0; i < FH_BLOCK; i += 8) {
        const __m256i v = _mm256_castps_si256(_mm256_loadu_ps(x + i));
        m = _mm256_max_epu32(m, _mm256_and_si256(v, mask));
    }
    __m128i s = _mm_max_epu32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    s = _mm_max_epu32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_max_epu32(s, _mm_shuffle_epi32(s, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(s);
}

void fh_avx2_form_i8(const float *x, size_t n_block, fh_i8_block *dst) {
    const __m256 magic = _mm256_set1_ps(FH_ROUND);
    const __m256i last = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7), one8 = _mm256_set1_epi8(1);
    for (size_t b = 0; b < n_block; b++, x += FH_BLOCK, dst++) {
        const float scale = fh_i8_scale(largest(x));
        const __m256 inverse = _mm256_set1_ps(scale == 0.0f ? 0.0f : 1.0f / scale);
        __m256i q[4];
        for (size_t i = 0; i < 4; i++) {
            const __m256 v = _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse), magic);
            q[i] = _mm256_sub_epi32(_mm256_castps_si256(v), _mm256_castps_si256(magic));
        }
        const __m256i lo = _mm256_packs_epi32(q[0], q[1]), hi = _mm256_packs_epi32(q[2], q[3]);
        const __m256i all = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(lo, hi), last);
        const __m256i fours = _mm256_madd_epi16(_mm256_maddubs_epi16(one8, all), _mm256_set1_epi16(1));
        __m128i low = _mm256_castsi256_si128(fours), high = _mm256_extracti128_si256(fours, 1);
        low = _mm_hadd_epi32(low, high);
        low = _mm_hadd_epi32(low, low);
        _mm256_storeu_si256((__m256i *)(void *)dst->q, all);
        fh_i8_finish(dst, scale, _mm_cvtsi128_si32(low), _mm_extract_epi32(low, 1));
    }
}
