/* kernel/x86_avxvnni_peak.c - the int8 peak loop with VNNI on 256-bit registers.
 * SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#include "kernel/peak_part.h"

void fh_peak_int8_avxvnni(fh_peak_block *x, uint64_t n_iter) {
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)x->a);
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)x->b);
#define LOAD(k) __m256i c##k = _mm256_loadu_si256((const __m256i *)(const void *)(x->sum.i + 8 * (k)));
#define STEP(k) c##k = _mm256_dpbusd_avx_epi32(c##k, a, b);
#define STORE(k) _mm256_storeu_si256((__m256i *)(void *)(x->sum.i + 8 * (k)), c##k);
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
