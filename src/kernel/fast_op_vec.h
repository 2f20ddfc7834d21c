/* kernel/fast_op_vec.h - one vocabulary for the vectors of AVX2, AVX-512 and NEON, for loops that are written once.
 * SPDX-License-Identifier: Apache-2.0
 * Included only by objects of one instruction set (x86_avx2_*.c and their kin): what is here is what their flags
 * permit. fh_vec has FH_VEC lanes of f32. Multiply-add is one rounding. Functions of e^x are good to a few units in
 * the last place of f32, which is what the fast mode asks for. */
#ifndef FH_KERNEL_FAST_OP_VEC_H
#define FH_KERNEL_FAST_OP_VEC_H

#include <stdbool.h>
#include <stddef.h>

#include "kernel/convert.h"
#include "tensor/dtype.h"

#if defined(__clang__)
#define FH_UNROLL _Pragma("unroll")
#else
#define FH_UNROLL _Pragma("GCC unroll 16")
#endif
#define FH_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include "kernel/fast_op_vec_avx512.h"
#elif defined(__AVX2__)
#include "kernel/fast_op_vec_avx2.h"
#elif defined(__aarch64__)
#include "kernel/fast_op_vec_neon.h"
#endif

#ifdef FH_VEC

/* 2^r for |r| <= 1/2: relative error 5e-9, or 1e-4 where the result is rounded to eight bits anyway. */
FH_INLINE fh_vec fh_vec_exp2_part(fh_vec r, bool rough) {
    if (rough) {
        fh_vec p = fh_vec_fma(fh_vec_set(0x1.c96d5ep-5f), r, fh_vec_set(0x1.f0ecf8p-3f));
        p = fh_vec_fma(p, r, fh_vec_set(0x1.62e2d2p-1f));
        return fh_vec_fma(p, r, fh_vec_set(0x1.fff61cp-1f));
    }
    fh_vec p = fh_vec_fma(fh_vec_set(0x1.441389p-13f), r, fh_vec_set(0x1.5f0890p-10f));
    p = fh_vec_fma(p, r, fh_vec_set(0x1.3b2a53p-7f));
    p = fh_vec_fma(p, r, fh_vec_set(0x1.c6af6dp-5f));
    p = fh_vec_fma(p, r, fh_vec_set(0x1.ebfbe0p-3f));
    p = fh_vec_fma(p, r, fh_vec_set(0x1.62e430p-1f));
    return fh_vec_fma(p, r, fh_vec_set(1.0f));
}

/* 2^x; 0 below -126, so that no subnormal comes out; NaN stays NaN. x is at most 127. */
FH_INLINE fh_vec fh_vec_exp2(fh_vec x, bool rough) {
    const fh_vec n = fh_vec_round(x);
    return fh_vec_scale_above(fh_vec_exp2_part(fh_vec_sub(x, n), rough), n, x, -126.0f);
}

/* e^x by two pieces of ln 2, for |x| up to 87; beyond that it stays there. */
FH_INLINE fh_vec fh_vec_exp(fh_vec x) {
    x = fh_vec_min(fh_vec_set(88.0f), fh_vec_max(fh_vec_set(-87.0f), x)); /* in this order NaN stays */
    const fh_vec n = fh_vec_round(fh_vec_mul(x, fh_vec_set(0x1.715476p+0f)));
    fh_vec r = fh_vec_fma(n, fh_vec_set(-0x1.62e400p-1f), x);
    r = fh_vec_fma(n, fh_vec_set(-0x1.7f7d1cp-20f), r);
    const fh_vec p = fh_vec_exp2_part(fh_vec_mul(r, fh_vec_set(0x1.715476p+0f)), false);
    return fh_vec_scale_above(p, n, n, -126.0f);
}

FH_INLINE fh_vec fh_vec_sigmoid(fh_vec x) {
    const fh_vec one = fh_vec_set(1.0f);
    return fh_vec_div(one, fh_vec_add(one, fh_vec_exp(fh_vec_sub(fh_vec_set(0.0f), x))));
}

/* Near 0 by its series: the difference below would cancel. */
FH_INLINE fh_vec fh_vec_tanh(fh_vec x) {
    const fh_vec q = fh_vec_mul(x, x), one = fh_vec_set(1.0f);
    fh_vec s = fh_vec_fma(fh_vec_set(-17.0f / 315.0f), q, fh_vec_set(2.0f / 15.0f));
    s = fh_vec_fma(s, q, fh_vec_set(-1.0f / 3.0f));
    s = fh_vec_fma(fh_vec_mul(s, q), x, x);
    const fh_vec e = fh_vec_exp(fh_vec_add(x, x));
    const fh_vec l = fh_vec_sub(one, fh_vec_div(fh_vec_set(2.0f), fh_vec_add(e, one)));
    return fh_vec_pick_below(q, 0.04f, s, l);
}

/* (1 + erf(x / sqrt 2)) / 2 to 1e-7, by the rational approximation of Hastings (Abramowitz and Stegun 7.1.26). */
FH_INLINE fh_vec fh_vec_normal_below(fh_vec x) {
    const fh_vec one = fh_vec_set(1.0f), minus = fh_vec_sub(fh_vec_set(0.0f), x);
    const fh_vec z = fh_vec_mul(fh_vec_max(x, minus), fh_vec_set(0.70710678f));
    const fh_vec t = fh_vec_div(one, fh_vec_fma(fh_vec_set(0.3275911f), z, one));
    fh_vec p = fh_vec_fma(fh_vec_set(1.061405429f), t, fh_vec_set(-1.453152027f));
    p = fh_vec_fma(p, t, fh_vec_set(1.421413741f));
    p = fh_vec_fma(p, t, fh_vec_set(-0.284496736f));
    p = fh_vec_fma(p, t, fh_vec_set(0.254829592f));
    const fh_vec e = fh_vec_exp(fh_vec_sub(fh_vec_set(0.0f), fh_vec_mul(z, z)));
    const fh_vec tail = fh_vec_mul(fh_vec_set(0.5f), fh_vec_mul(fh_vec_mul(p, t), e));
    return fh_vec_pick_below(x, 0.0f, tail, fh_vec_sub(one, tail));
}

/* n < FH_VEC numbers, then zeros. */
FH_INLINE fh_vec fh_vec_load_part(const float *x, size_t n) {
    float part[FH_VEC] = {0};
    memcpy(part, x, n * sizeof *x);
    return fh_vec_load(part);
}

FH_INLINE void fh_vec_store_part(float *y, fh_vec v, size_t n) {
    float part[FH_VEC];
    fh_vec_store(part, v);
    memcpy(y, part, n * sizeof *y);
}

/* Columns [c, c + FH_VEC) of a stored row as f32; c is a multiple of FH_VEC. Known types only, known when compiled. */
FH_INLINE fh_vec fh_vec_load_as(fh_dtype t, const uint8_t *row, size_t c) {
    switch (t) {
    case FH_DTYPE_F16: return fh_vec_load_f16(row + 2 * c);
    case FH_DTYPE_BF16: return fh_vec_load_bf16(row + 2 * c);
    case FH_DTYPE_Q8_0: {
        const uint8_t *block = row + c / 32 * 34; /* a scale and 32 numbers */
        return fh_vec_mul(fh_vec_load_i8(block + 2 + c % 32), fh_vec_set_f16(block));
    }
    default: return fh_vec_load_bytes(row + 4 * c);
    }
}

#endif
#endif
