/* kernel/arm_i8mm_peak.c - peak loops with the matrix extensions: int8 2x8 by 8x2, bf16 2x4 by 4x2.
 * SPDX-License-Identifier: Apache-2.0 */
#include <arm_neon.h>

#include "kernel/peak_part.h"

void fh_peak_int8_i8mm(fh_peak_block *x, uint64_t n_iter) {
    int8x16_t a = vld1q_s8((const int8_t *)x->a), b = vld1q_s8((const int8_t *)x->b);
#define LOAD(k) int32x4_t c##k = vld1q_s32(x->sum.i + 4 * (k));
#define STEP(k) c##k = vmmlaq_s32(c##k, a, b);
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

void fh_peak_bf16_i8mm(fh_peak_block *x, uint64_t n_iter) {
    bfloat16x8_t a, b;
    memcpy(&a, x->a, sizeof a);
    memcpy(&b, x->b, sizeof b);
#define LOAD(k) float32x4_t c##k = vld1q_f32(x->sum.f + 4 * (k));
#define STEP(k) c##k = vbfmmlaq_f32(c##k, a, b);
#define STORE(k) vst1q_f32(x->sum.f + 4 * (k), c##k);
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
