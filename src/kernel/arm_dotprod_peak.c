/* kernel/arm_dotprod_peak.c - the int8 peak loop with the dot-product extension.
 * SPDX-License-Identifier: Apache-2.0 */
#include <arm_neon.h>

#include "kernel/peak_part.h"

void fh_peak_int8_dotprod(fh_peak_block *x, uint64_t n_iter) {
    int8x16_t a = vld1q_s8((const int8_t *)x->a), b = vld1q_s8((const int8_t *)x->b);
#define LOAD(k) int32x4_t c##k = vld1q_s32(x->sum.i + 4 * (k));
#define STEP(k) c##k = vdotq_s32(c##k, a, b);
#define STORE(k) vst1q_s32(x->sum.i + 4 * (k), c##k);
    FH_PEAK_EACH_24(LOAD)
    for (uint64_t i = 0; i < n_iter; i++) {
        FH_PEAK_OPAQUE_W(a);
        FH_PEAK_EACH_24(STEP)
    }
    FH_PEAK_EACH_24(STORE)
#undef LOAD
#undef STEP
#undef STORE
}
