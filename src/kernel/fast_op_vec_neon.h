/* kernel/fast_op_vec_neon.h - the vocabulary of fast_op_vec.h in NEON of 64-bit ARM: four lanes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_KERNEL_FAST_OP_VEC_NEON_H
#define FH_KERNEL_FAST_OP_VEC_NEON_H

#if defined(__aarch64__) && defined(FH_INLINE)

#include <arm_neon.h>

typedef float32x4_t fh_vec;
#define FH_VEC 4
#define FH_VEC_PANEL 4

FH_INLINE fh_vec fh_vec_set(float x) { return vdupq_n_f32(x); }
FH_INLINE fh_vec fh_vec_load(const float *p) { return vld1q_f32(p); }
FH_INLINE fh_vec fh_vec_load_bytes(const uint8_t *p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }
FH_INLINE void fh_vec_store(float *p, fh_vec v) { vst1q_f32(p, v); }
FH_INLINE fh_vec fh_vec_add(fh_vec a, fh_vec b) { return vaddq_f32(a, b); }
FH_INLINE fh_vec fh_vec_sub(fh_vec a, fh_vec b) { return vsubq_f32(a, b); }
FH_INLINE fh_vec fh_vec_mul(fh_vec a, fh_vec b) { return vmulq_f32(a, b); }
FH_INLINE fh_vec fh_vec_div(fh_vec a, fh_vec b) { return vdivq_f32(a, b); }
FH_INLINE fh_vec fh_vec_max(fh_vec a, fh_vec b) { return vmaxq_f32(a, b); }
FH_INLINE fh_vec fh_vec_min(fh_vec a, fh_vec b) { return vminq_f32(a, b); }
FH_INLINE fh_vec fh_vec_fma(fh_vec a, fh_vec b, fh_vec c) { return vfmaq_f32(c, a, b); }
FH_INLINE fh_vec fh_vec_round(fh_vec x) { return vrndnq_f32(x); }
FH_INLINE float fh_vec_sum(fh_vec v) { return vaddvq_f32(v); }
FH_INLINE float fh_vec_highest(fh_vec v) { return vmaxvq_f32(v); }

/* p * 2^n where x is not below `least`, else 0. n is between -126 and 128 there: half of it twice. */
FH_INLINE fh_vec fh_vec_scale_above(fh_vec p, fh_vec n, fh_vec x, float least) {
    const int32x4_t e = vcvtq_s32_f32(n), half = vshrq_n_s32(e, 1), bias = vdupq_n_s32(127);
    const int32x4_t a = vshlq_n_s32(vaddq_s32(half, bias), 23);
    const int32x4_t b = vshlq_n_s32(vaddq_s32(vsubq_s32(e, half), bias), 23);
    const fh_vec r = vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(a)), vreinterpretq_f32_s32(b));
    const uint32x4_t below = vcltq_f32(x, vdupq_n_f32(least));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(r), below));
}
/* x < limit ? a : b, where the comparison is false for NaN */
FH_INLINE fh_vec fh_vec_pick_below(fh_vec x, float limit, fh_vec a, fh_vec b) {
    return vbslq_f32(vcltq_f32(x, vdupq_n_f32(limit)), a, b);
}
/* Lane i keeps its number where from <= at + i < to, else it is `other`. */
FH_INLINE fh_vec fh_vec_keep(fh_vec v, int at, int from, int to, float other) {
    const int32_t first[4] = {0, 1, 2, 3};
    const int32x4_t lane = vaddq_s32(vld1q_s32(first), vdupq_n_s32(at));
    const uint32x4_t in = vandq_u32(vcgeq_s32(lane, vdupq_n_s32(from)), vcltq_s32(lane, vdupq_n_s32(to)));
    return vbslq_f32(in, v, vdupq_n_f32(other));
}

FH_INLINE fh_vec fh_vec_load_f16(const uint8_t *p) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))); }
FH_INLINE fh_vec fh_vec_load_bf16(const uint8_t *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}
FH_INLINE fh_vec fh_vec_load_i8(const uint8_t *p) {
    uint32_t four;
    memcpy(&four, p, sizeof four);
    const int16x8_t wide = vmovl_s8(vcreate_s8(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}
FH_INLINE fh_vec fh_vec_set_f16(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h)));
}
FH_INLINE void fh_vec_store_f16(uint8_t *p, fh_vec v) { vst1_u8(p, vreinterpret_u8_f16(vcvt_f16_f32(v))); }
FH_INLINE void fh_vec_store_bf16(uint8_t *p, fh_vec v) { /* nearest even; NaN stays one */
    const uint32x4_t u = vreinterpretq_u32_f32(v), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    const uint32x4_t round = vshrq_n_u32(vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
    const uint32x4_t nan = vorrq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(0x40));
    vst1_u8(p, vreinterpret_u8_u16(vmovn_u32(vbslq_u32(vceqq_f32(v, v), round, nan))));
}

/* The nearest bf16 of a positive number, as f32. */
FH_INLINE fh_vec fh_vec_cut_bf16(fh_vec v) {
    const uint32x4_t u = vaddq_u32(vreinterpretq_u32_f32(v), vdupq_n_u32(0x8000));
    return vreinterpretq_f32_u32(vandq_u32(u, vdupq_n_u32(0xffff0000u)));
}

/* Neighbours: each of two numbers twice; swapped; even lanes negated. */
FH_INLINE fh_vec fh_vec_twice(const float *p) {
    const float32x2_t two = vld1_f32(p);
    return vcombine_f32(vdup_lane_f32(two, 0), vdup_lane_f32(two, 1));
}
FH_INLINE fh_vec fh_vec_swap(fh_vec v) { return vrev64q_f32(v); }
FH_INLINE fh_vec fh_vec_minus_even(fh_vec v) {
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v), vreinterpretq_u32_u64(vdupq_n_u64(0x80000000))));
}
FH_INLINE fh_vec fh_vec_root(fh_vec v) { return vsqrtq_f32(v); }

/* Rows become columns: lane j of r[i] goes to lane i of r[j]. */
FH_INLINE void fh_vec_transpose(fh_vec r[4]) {
    const float32x4_t a = vtrn1q_f32(r[0], r[1]), b = vtrn2q_f32(r[0], r[1]);
    const float32x4_t c = vtrn1q_f32(r[2], r[3]), d = vtrn2q_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c));
    r[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
    r[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c));
    r[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
}

/* Lane i of the result is the sum of r[i]. */
FH_INLINE fh_vec fh_vec_sums(const fh_vec r[4]) { return vpaddq_f32(vpaddq_f32(r[0], r[1]), vpaddq_f32(r[2], r[3])); }

/* Lane i of the result is the greatest of r[i]. */
FH_INLINE fh_vec fh_vec_tops(const fh_vec r[4]) { return vpmaxq_f32(vpmaxq_f32(r[0], r[1]), vpmaxq_f32(r[2], r[3])); }

#endif
#endif
