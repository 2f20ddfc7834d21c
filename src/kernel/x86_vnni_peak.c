/* kernel/x86_vnni_peak.c - the int8 peak loop with VNNI on 512-bit registers.
 * SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#include "kernel/peak_part.h"

void fh_peak_int8_vnni(fh_peak_block *x, uint64_t n_iter) {
    __m512i a = _mm512_loadu_si512(x->a), b = _mm512_loadu_si512(x->b);
#define LOAD(k) __m512i c##k = _mm512_loadu_si512(x->sum.i + 16 * (k));
#define STEP(k) c##k = _mm512_dpbusd_epi32(c##k, a, b);
#define STORE(k) _mm512_storeu_si512(x->sum.i + 16 * (k), c##k);
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
