/* kernel/convert.h - conversions of single numbers, inline for the loops of src/kernel.
 * SPDX-License-Identifier: Apache-2.0
 * Callers elsewhere use kernel/decode.h. All are exact or rounded to nearest even, without branches
 * that a compiler could not turn into selects, and without subnormal operands: those cost a hundred
 * cycles each on some CPUs. NaN: sign and the top of the payload are kept and the quiet bit is set,
 * as the hardware does (VCVTPH2PS, VCVTPS2PH, FCVT); BF16 to f32 is the shift that everybody uses
 * and keeps every bit. */
#ifndef FH_KERNEL_CONVERT_H
#define FH_KERNEL_CONVERT_H

#include <string.h>

#include "base/cursor.h"

static inline float fh_f32_of_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline uint32_t fh_f32_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

/* c ? a : b as a mask: gcc turns a conditional with float arithmetic on one side into a branch, and
 * then does not vectorize the loop (f8 types: 2 to 3 against 6 to 10 GB/s, gcc 12). */
static inline uint32_t fh_select(bool c, uint32_t a, uint32_t b) { return b ^ ((a ^ b) & (0u - (uint32_t)c)); }

/* Exponent and mantissa (em, sign removed) of a small float to f32 bits. Subnormals: with the
 * exponent of the smallest normal put in front, m/2^mant gains a leading one, which the subtraction
 * takes away again, exactly. */
static inline uint32_t fh_widen(uint32_t em, int mant, int bias) {
    uint32_t at = em << (23 - mant), base = (uint32_t)(127 - bias) << 23;
    uint32_t one = base + (1u << 23);
    uint32_t sub = fh_f32_bits(fh_f32_of_bits(at + one) - fh_f32_of_bits(one));
    return fh_select(em < (1u << mant), sub, at + base);
}

static inline float fh_widen_f16(uint16_t h) {
    uint32_t em = h & 0x7fffu, r = fh_widen(em, 10, 15);
    r = fh_select(em >= 0x7c00u, 0x7f800000u | (em << 13), r);
    r |= fh_select(em > 0x7c00u, 0x00400000u, 0);
    return fh_f32_of_bits(r | ((uint32_t)(h & 0x8000u) << 16));
}

static inline float fh_widen_bf16(uint16_t h) { return fh_f32_of_bits((uint32_t)h << 16); }

/* E4M3 without infinities ("fn"): all ones is NaN. */
static inline float fh_widen_e4m3(uint8_t b) {
    uint32_t em = b & 0x7fu, r = fh_widen(em, 3, 7);
    r = fh_select(em == 0x7fu, 0x7ff00000u, r);
    return fh_f32_of_bits(r | ((uint32_t)(b & 0x80u) << 24));
}

/* E5M2 is the upper half of an F16. */
static inline float fh_widen_e5m2(uint8_t b) { return fh_widen_f16((uint16_t)(b << 8)); }

/* The FNUZ kinds have no infinities and no negative zero; 0x80 is the one NaN. */
static inline float fh_widen_fnuz(uint8_t b, int mant, int bias) {
    uint32_t r = fh_widen(b & 0x7fu, mant, bias) | ((uint32_t)(b & 0x80u) << 24);
    return fh_f32_of_bits(fh_select(b == 0x80u, 0x7fc00000u, r));
}

/* 2^(b - 127); the lowest is subnormal in f32, 255 is NaN. */
static inline float fh_widen_e8m0(uint8_t b) {
    uint32_t r = fh_select(b == 0, 0x00400000u, (uint32_t)b << 23);
    return fh_f32_of_bits(fh_select(b == 255, 0x7fc00000u, r));
}

/* The scale of an MXFP4 block: half of E8M0, because the block's numbers are doubled; 0 and 1 are
 * subnormal, and 255 is a plain power of two. */
static inline float fh_widen_e8m0_half(uint8_t b) {
    return fh_f32_of_bits(b < 2 ? 0x00200000u << b : ((uint32_t)b - 1) << 23);
}

/* The scale of an NVFP4 sub-block: E4M3 with the sign bit left out of account, halved because the
 * block's numbers are doubled. 0x7f is 0; 0xff is not: the format compares the whole byte. */
static inline float fh_widen_ue4m3_half(uint8_t b) {
    return fh_f32_of_bits(b == 0x7fu ? 0 : fh_widen(b & 0x7fu, 3, 8));
}

/* f32 to a small float with `mant` mantissa bits, given the sign-free bits of the input; no range
 * check. */
static inline uint32_t fh_narrow(uint32_t em, int mant, int bias) {
    uint32_t shift = (uint32_t)(23 - mant), low = (uint32_t)(128 - bias) << 23;
    /* Below the smallest normal: adding a power of two whose last bit is the target's makes the
     * adder round. */
    uint32_t magic = (uint32_t)(128 - bias + 23 - mant) << 23;
    uint32_t sub = fh_f32_bits(fh_f32_of_bits(em) + fh_f32_of_bits(magic)) - magic;
    uint32_t odd = (em >> shift) & 1;
    uint32_t norm = (em - ((uint32_t)(127 - bias) << 23) + (1u << (shift - 1)) - 1 + odd) >> shift;
    return fh_select(em < low, sub, norm);
}

static inline uint16_t fh_narrow_f16(float f) {
    uint32_t u = fh_f32_bits(f), em = u & 0x7fffffffu, r = fh_narrow(em, 10, 15);
    r = fh_select(em >= 0x477ff000u, 0x7c00u, r); /* 65520 and up: halfway to 65536 */
    r = fh_select(em > 0x7f800000u, 0x7e00u | ((em >> 13) & 0x3ffu), r);
    return (uint16_t)(r | ((u >> 16) & 0x8000u));
}

static inline uint16_t fh_narrow_bf16(float f) {
    uint32_t u = fh_f32_bits(f), r = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
    return (uint16_t)fh_select((u & 0x7fffffffu) > 0x7f800000u, (u >> 16) | 0x40u, r);
}

/* Like PyTorch's cast, which does not saturate: what rounds past 448 (above 464) and infinity
 * become NaN. */
static inline uint8_t fh_narrow_e4m3(float f) {
    uint32_t u = fh_f32_bits(f), em = u & 0x7fffffffu, r = fh_narrow(em, 3, 7);
    r = fh_select(em > 0x43e80000u, 0x7fu, r);
    return (uint8_t)(r | ((u >> 24) & 0x80u));
}

/* Overflow (61440 and up) is infinity; any NaN becomes 0x7f with its sign, as in PyTorch. */
static inline uint8_t fh_narrow_e5m2(float f) {
    uint32_t u = fh_f32_bits(f), em = u & 0x7fffffffu, r = fh_narrow(em, 2, 15);
    r = fh_select(em >= 0x47700000u, 0x7cu, r);
    r = fh_select(em > 0x7f800000u, 0x7fu, r);
    return (uint8_t)(r | ((u >> 24) & 0x80u));
}

#endif
