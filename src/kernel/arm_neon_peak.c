/* kernel/arm_neon_peak.c - peak loops with the NEON that every AArch64 processor has.
 * SPDX-License-Identifier: Apache-2.0
 * int8 without dot products: two widening multiplies, then pairwise sums, then the accumulation. */
#include <arm_neon.h>

#include "kernel/peak_part.h"

static inline __attribute__((always_inline)) uint64_t read_all(const void *p, size_t n_bytes, bool ahead) {
    const uint8_t *at = p, *end = at + n_bytes;
    uint8x16_t x0 = vdupq_n_u8(0), x1 = x0, x2 = x0, x3 = x0;
    for (; at < end; at += 128) {
        for (int i = 0; ahead && i < 128; i += 64) __builtin_prefetch(at + FH_PEAK_READ_AHEAD + i);
        x0 = veorq_u8(x0, vld1q_u8(at));
        x1 = veorq_u8(x1, vld1q_u8(at + 16));
        x2 = veorq_u8(x2, vld1q_u8(at + 32));
        x3 = veorq_u8(x3, vld1q_u8(at + 48));
        x0 = veorq_u8(x0, vld1q_u8(at + 64));
        x1 = veorq_u8(x1, vld1q_u8(at + 80));
        x2 = veorq_u8(x2, vld1q_u8(at + 96));
        x3 = veorq_u8(x3, vld1q_u8(at + 112));
    }
    uint64x2_t w = vreinterpretq_u64_u8(veorq_u8(veorq_u8(x0, x1), veorq_u8(x2, x3)));
    return vgetq_lane_u64(w, 0) ^ vgetq_lane_u64(w, 1);
}

uint64_t fh_peak_read_neon(const void *p, size_t n_bytes) { return read_all(p, n_bytes, false); }
uint64_t fh_peak_read_ahead_neon(const void *p, size_t n_bytes) { return read_all(p, n_bytes, true); }

void fh_peak_f32_neon(fh_peak_block *x, uint64_t n_iter) {
    float32x4_t a = vld1q_f32((const float *)(const void *)x->a);
    float32x4_t b = vld1q_f32((const float *)(const void *)x->b);
#define LOAD(k) float32x4_t c##k = vld1q_f32(x->sum.f + 4 * (k));
#define STEP(k) c##k = vfmaq_f32(c##k, a, b);
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

/* [4] sums of four products each */
static inline int32x4_t dot_four(int8x16_t a, int8x16_t b) {
    int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    int32x4_t high = vpaddlq_s16(vmull_high_s8(a, b));
    return vpaddq_s32(low, high);
}

void fh_peak_int8_neon(fh_peak_block *x, uint64_t n_iter) {
    int8x16_t a = vld1q_s8((const int8_t *)x->a), b = vld1q_s8((const int8_t *)x->b);
#define LOAD(k) int32x4_t c##k = vld1q_s32(x->sum.i + 4 * (k));
#define STEP(k) \
    FH_PEAK_OPAQUE_W(a); \
    c##k = vaddq_s32(c##k, dot_four(a, b));
#define STORE(k) vst1q_s32(x->sum.i + 4 * (k), c##k);
    FH_PEAK_EACH_12(LOAD)
    for (uint64_t i = 0; i < n_iter; i++) {
        FH_PEAK_EACH_12(STEP)
    }
    FH_PEAK_EACH_12(STORE)
#undef LOAD
#undef STEP
#undef STORE
}
