/* kernel/x86_avx2_product.h - what expanding units needs of AVX2 and F16C (for kernel/product_expand_body.h).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_KERNEL_X86_AVX2_PRODUCT_H
#define FH_KERNEL_X86_AVX2_PRODUCT_H

#if defined(__AVX2__)
#include <immintrin.h>
#include <stdint.h>

#define EXPAND_BYTES 32
#define EXPAND_F16(src, dst) expand_f16(src, dst)
#define LOAD64(p) _mm_loadl_epi64((const __m128i *)(const void *)(p))
#define EXPAND_U8(p) _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(LOAD64(p)))
#define EXPAND_I8(p) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(LOAD64(p)))
#define EXPAND_U32(p) _mm256_cvtepu8_epi32(LOAD64(p))
#define EXPAND_LOOKUP(table, v) \
    ((expand_v)_mm256_shuffle_epi8( \
        _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)(table))), (__m256i)(v)))

static inline void expand_f16(const uint8_t *src, float *dst) {
    _mm256_storeu_ps(dst, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)src)));
    _mm256_storeu_ps(dst + 8, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(src + 16))));
}

#endif

#endif
