/* kernel/x86_avx512_peak.c - peak loops with AVX-512 F, BW, DQ and VL.
 * SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#include "kernel/peak_part.h"

static inline __attribute__((always_inline)) uint64_t read_all(const void *p, size_t n_bytes, bool ahead) {
    const uint8_t *at = p, *end = at + n_bytes;
    __m512i x0 = _mm512_setzero_si512(), x1 = x0, x2 = x0, x3 = x0;
    for (; at < end; at += 512) {
        for (int i = 0; ahead && i < 512; i += 64) _mm_prefetch((const char *)at + FH_PEAK_READ_AHEAD + i, _MM_HINT_T0);
        x0 = _mm512_xor_si512(x0, _mm512_loadu_si512(at));
        x1 = _mm512_xor_si512(x1, _mm512_loadu_si512(at + 64));
        x2 = _mm512_xor_si512(x2, _mm512_loadu_si512(at + 128));
        x3 = _mm512_xor_si512(x3, _mm512_loadu_si512(at + 192));
        x0 = _mm512_xor_si512(x0, _mm512_loadu_si512(at + 256));
        x1 = _mm512_xor_si512(x1, _mm512_loadu_si512(at + 320));
        x2 = _mm512_xor_si512(x2, _mm512_loadu_si512(at + 384));
        x3 = _mm512_xor_si512(x3, _mm512_loadu_si512(at + 448));
    }
    uint64_t w[8], all = 0;
    x0 = _mm512_xor_si512(_mm512_xor_si512(x0, x1), _mm512_xor_si512(x2, x3));
    _mm512_storeu_si512(w, x0);
    for (int i = 0; i < 8; i++) all ^= w[i];
    return all;
}

uint64_t fh_peak_read_avx512(const void *p, size_t n_bytes) { return read_all(p, n_bytes, false); }
uint64_t fh_peak_read_ahead_avx512(const void *p, size_t n_bytes) { return read_all(p, n_bytes, true); }

void fh_peak_f32_avx512(fh_peak_block *x, uint64_t n_iter) {
    __m512 a = _mm512_loadu_ps(x->a), b = _mm512_loadu_ps(x->b);
#define LOAD(k) __m512 c##k = _mm512_loadu_ps(x->sum.f + 16 * (k));
#define STEP(k) c##k = _mm512_fmadd_ps(a, b, c##k);
#define STORE(k) _mm512_storeu_ps(x->sum.f + 16 * (k), c##k);
    FH_PEAK_EACH_24(LOAD)
    for (uint64_t i = 0; i < n_iter; i++) {
        FH_PEAK_OPAQUE_V(a);
        FH_PEAK_EACH_24(STEP)
    }
    FH_PEAK_EACH_24(STORE)
#undef LOAD
#undef STEP
#undef STORE
}

void fh_peak_int8_avx512(fh_peak_block *x, uint64_t n_iter) {
    __m512i a = _mm512_loadu_si512(x->a), b = _mm512_loadu_si512(x->b);
    const __m512i one = _mm512_set1_epi16(1);
#define LOAD(k) __m512i c##k = _mm512_loadu_si512(x->sum.i + 16 * (k));
#define STEP(k) \
    FH_PEAK_OPAQUE_V(a); \
    c##k = _mm512_add_epi32(c##k, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), one));
#define STORE(k) _mm512_storeu_si512(x->sum.i + 16 * (k), c##k);
    FH_PEAK_EACH_16(LOAD)
    for (uint64_t i = 0; i < n_iter; i++) {
        FH_PEAK_EACH_16(STEP)
    }
    FH_PEAK_EACH_16(STORE)
#undef LOAD
#undef STEP
#undef STORE
}
