/* kernel/x86_avx2_peak.c - peak loops with AVX2 and FMA.
 * SPDX-License-Identifier: Apache-2.0
 * Without VNNI an int8 product is three instructions (multiply pairs, add pairs, accumulate). */
#include <immintrin.h>

#include "kernel/peak_part.h"

static inline __attribute__((always_inline)) uint64_t read_all(const void *p, size_t n_bytes, bool ahead) {
    const __m256i *at = p, *end = at + n_bytes / sizeof *at;
    __m256i x0 = _mm256_setzero_si256(), x1 = x0, x2 = x0, x3 = x0;
    for (; at < end; at += 8) {
        for (int i = 0; ahead && i < 256; i += 64) _mm_prefetch((const char *)at + FH_PEAK_READ_AHEAD + i, _MM_HINT_T0);
        x0 = _mm256_xor_si256(x0, _mm256_loadu_si256(at));
        x1 = _mm256_xor_si256(x1, _mm256_loadu_si256(at + 1));
        x2 = _mm256_xor_si256(x2, _mm256_loadu_si256(at + 2));
        x3 = _mm256_xor_si256(x3, _mm256_loadu_si256(at + 3));
        x0 = _mm256_xor_si256(x0, _mm256_loadu_si256(at + 4));
        x1 = _mm256_xor_si256(x1, _mm256_loadu_si256(at + 5));
        x2 = _mm256_xor_si256(x2, _mm256_loadu_si256(at + 6));
        x3 = _mm256_xor_si256(x3, _mm256_loadu_si256(at + 7));
    }
    uint64_t w[4];
    x0 = _mm256_xor_si256(_mm256_xor_si256(x0, x1), _mm256_xor_si256(x2, x3));
    _mm256_storeu_si256((__m256i *)(void *)w, x0);
    return w[0] ^ w[1] ^ w[2] ^ w[3];
}

uint64_t fh_peak_read_avx2(const void *p, size_t n_bytes) { return read_all(p, n_bytes, false); }
uint64_t fh_peak_read_ahead_avx2(const void *p, size_t n_bytes) { return read_all(p, n_bytes, true); }

void fh_peak_f32_avx2(fh_peak_block *x, uint64_t n_iter) {
    __m256 a = _mm256_loadu_ps((const float *)(const void *)x->a);
    __m256 b = _mm256_loadu_ps((const float *)(const void *)x->b);
#define LOAD(k) __m256 c##k = _mm256_loadu_ps(x->sum.f + 8 * (k));
#define STEP(k) c##k = _mm256_fmadd_ps(a, b, c##k);
#define STORE(k) _mm256_storeu_ps(x->sum.f + 8 * (k), c##k);
    FH_PEAK_EACH_12(LOAD)
    for (uint64_t i = 0; i < n_iter; i++) {
        FH_PEAK_OPAQUE_V(a);
        FH_PEAK_EACH_12(STEP)
    }
    FH_PEAK_EACH_12(STORE)
#undef LOAD
#undef STEP
#undef STORE
}

void fh_peak_int8_avx2(fh_peak_block *x, uint64_t n_iter) {
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)x->a);
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)x->b);
    const __m256i one = _mm256_set1_epi16(1);
#define LOAD(k) __m256i c##k = _mm256_loadu_si256((const __m256i *)(const void *)(x->sum.i + 8 * (k)));
#define STEP(k) \
    FH_PEAK_OPAQUE_V(a); \
    c##k = _mm256_add_epi32(c##k, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), one));
#define STORE(k) _mm256_storeu_si256((__m256i *)(void *)(x->sum.i + 8 * (k)), c##k);
    FH_PEAK_EACH_12(LOAD)
    for (uint64_t i = 0; i < n_iter; i++) {
        FH_PEAK_EACH_12(STEP)
    }
    FH_PEAK_EACH_12(STORE)
#undef LOAD
#undef STEP
#undef STORE
}
