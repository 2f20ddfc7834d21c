/* kernel/x86_f16c_decode.c - F16, BF16, E4M3 and E5M2 to f32, eight at a time.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. Same bits as the portable decoders: VCVTPH2PS is
 * exact and makes NaN quiet as kernel/convert.h does; BF16 is a shift; the F8 types go through F16.
 * The last 1 to 7 numbers go through a small buffer, so that nothing beyond the tensor is read or
 * written. */
#include <immintrin.h>

#include "kernel/decode_table.h"

static __m128i load8x1(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return _mm_cvtsi64_si128((int64_t)v);
}

static __m128i load8x2(const uint8_t *p) {
    __m128i v;
    memcpy(&v, p, sizeof v);
    return v;
}

static __m256 widen_f16(const uint8_t *p) { return _mm256_cvtph_ps(load8x2(p)); }

static __m256 widen_bf16(const uint8_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load8x2(p)), 16));
}

static __m256 widen_e5m2(const uint8_t *p) {
    return _mm256_cvtph_ps(_mm_unpacklo_epi8(_mm_setzero_si128(), load8x1(p)));
}

/* Exponent and mantissa moved to an F16's places give the value times 2^-8 (the biases are 7 and
 * 15), subnormal or not. All ones would come out as 480; there the NaN is put in its place. */
static __m256 widen_e4m3(const uint8_t *p) {
    const __m256i w = _mm256_cvtepi8_epi32(load8x1(p));
    const __m256i em = _mm256_and_si256(w, _mm256_set1_epi32(0x7f));
    const __m256i nan = _mm256_cmpeq_epi32(em, _mm256_set1_epi32(0x7f));
    const __m128i h = _mm_and_si128(_mm_slli_epi16(_mm_cvtepu8_epi16(load8x1(p)), 7), _mm_set1_epi16(0x3f80));
    const __m256 magnitude = _mm256_mul_ps(_mm256_cvtph_ps(h), _mm256_set1_ps(256.0f));
    const __m256i sign = _mm256_and_si256(w, _mm256_set1_epi32(INT32_MIN));
    const __m256i bits = _mm256_blendv_epi8(_mm256_castps_si256(magnitude), _mm256_set1_epi32(0x7ff00000), nan);
    return _mm256_castsi256_ps(_mm256_or_si256(bits, sign));
}

/* One decoder: `bytes` an element, `widen` makes eight floats of what lies at an address. */
#define DECODE_EIGHTS(name, bytes, widen) \
    static void name(const uint8_t *restrict src, float *restrict dst, size_t n) { \
        size_t i = 0; \
        for (; i + 16 <= n; i += 16) { \
            const __m256 a = widen(src + i * (bytes)), b = widen(src + (i + 8) * (bytes)); \
            _mm256_storeu_ps(dst + i, a); \
            _mm256_storeu_ps(dst + i + 8, b); \
        } \
        while (i < n) { \
            const size_t k = FH_MIN(n - i, (size_t)8); \
            uint8_t in[8 * (bytes)] = {0}; \
            float out[8]; \
            memcpy(in, src + i * (bytes), k * (bytes)); \
            _mm256_storeu_ps(out, widen(in)); \
            memcpy(dst + i, out, 4 * k); \
            i += k; \
        } \
    }

DECODE_EIGHTS(decode_f16, 2, widen_f16)
DECODE_EIGHTS(decode_bf16, 2, widen_bf16)
DECODE_EIGHTS(decode_f8_e4m3, 1, widen_e4m3)
DECODE_EIGHTS(decode_f8_e5m2, 1, widen_e5m2)

void fh_decode_fill_f16c(fh_decode_table t) {
    t[FH_DTYPE_F16] = decode_f16;
    t[FH_DTYPE_BF16] = decode_bf16;
    t[FH_DTYPE_F8_E4M3] = decode_f8_e4m3;
    t[FH_DTYPE_F8_E5M2] = decode_f8_e5m2;
}
