/* kernel/x86_bf16_peak.c - the bf16 peak loop with AVX-512 BF16.
 * SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#include "kernel/peak_part.h"

void fh_peak_bf16_avx512(fh_peak_block *x, uint64_t n_iter) {
    __m512bh a, b;
    memcpy(&a, x->a, sizeof a);
    memcpy(&b, x->b, sizeof b);
#define LOAD(k) __m512 c##k = _mm512_loadu_ps(x->sum.f + 16 * (k));
#define STEP(k) c##k = _mm512_dpbf16_ps(c##k, a, b);
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
