/* kernel/ref_decode.c - fh_ref_decode: one element of any type; the plain types are here.
 * SPDX-License-Identifier: Apache-2.0
 * The oracle for the fast decoders: fields are taken apart and put together by arithmetic, with
 * ldexp. NaN of the floats below 32 bits: sign kept, payload at the top of the f32's, quiet bit set
 * (what F16C does); BF16 is the upper half of an f32 and keeps every bit. Refuses what fh_decode
 * refuses. */
#include "kernel/ref_decode.h"

#include <math.h>

#include "base/cursor.h"
#include "kernel/decode.h"

static float of_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* Sign, exponent, mantissa; no NaN and no infinity. Exact, as f32 holds every value of these
 * types. */
float fh_ref_small(unsigned code, int exp_bits, int mant_bits, int bias) {
    const unsigned mant = code & ((1u << mant_bits) - 1);
    const unsigned exp = (code >> mant_bits) & ((1u << exp_bits) - 1);
    const bool minus = (code >> (mant_bits + exp_bits)) & 1;
    double v;
    if (exp == 0) v = ldexp(mant, 1 - bias - mant_bits);
    else v = ldexp(mant + (1u << mant_bits), (int)exp - bias - mant_bits);
    return (float)(minus ? -v : v);
}

/* The same for the kinds whose highest exponent means infinity and NaN. */
static float ieee(unsigned code, int exp_bits, int mant_bits, int bias) {
    const unsigned mant = code & ((1u << mant_bits) - 1);
    const unsigned top = (1u << exp_bits) - 1, exp = (code >> mant_bits) & top;
    const uint32_t sign = (code >> (mant_bits + exp_bits)) & 1 ? 0x80000000u : 0;
    if (exp != top) return fh_ref_small(code, exp_bits, mant_bits, bias);
    if (mant == 0) return of_bits(sign | 0x7f800000u);
    return of_bits(sign | 0x7fc00000u | mant << (23 - mant_bits));
}

float fh_ref_f16(const uint8_t *p) { return ieee(fh_load_u16(p), 5, 10, 15); }

static float ref_f32(const uint8_t *p, size_t j) {
    (void)j;
    return fh_load_f32(p);
}
static float ref_f16(const uint8_t *p, size_t j) {
    (void)j;
    return fh_ref_f16(p);
}
static float ref_f64(const uint8_t *p, size_t j) {
    (void)j;
    return (float)fh_load_f64(p);
}

static float ref_bf16(const uint8_t *p, size_t j) {
    (void)j;
    return of_bits((uint32_t)fh_load_u16(p) * 65536u);
}

static float ref_f8_e4m3(const uint8_t *p, size_t j) {
    (void)j;
    if ((*p & 0x7f) == 0x7f) return of_bits(*p == 0xff ? 0xfff00000u : 0x7ff00000u);
    return fh_ref_small(*p, 4, 3, 7);
}

static float ref_f8_e5m2(const uint8_t *p, size_t j) {
    (void)j;
    return ieee(*p, 5, 2, 15);
}

static float ref_f8_e8m0(const uint8_t *p, size_t j) {
    (void)j;
    return *p == 255 ? of_bits(0x7fc00000u) : (float)ldexp(1.0, *p - 127);
}

static float ref_f8_e4m3fnuz(const uint8_t *p, size_t j) {
    (void)j;
    return *p == 0x80 ? of_bits(0x7fc00000u) : fh_ref_small(*p, 4, 3, 8);
}

static float ref_f8_e5m2fnuz(const uint8_t *p, size_t j) {
    (void)j;
    return *p == 0x80 ? of_bits(0x7fc00000u) : fh_ref_small(*p, 5, 2, 16);
}

/* Bit i of the block is bit i % 8 of byte i / 8; a number takes `bits` of them, lowest first. */
static unsigned take_bits(const uint8_t *p, size_t first, unsigned bits) {
    unsigned v = 0;
    for (unsigned i = 0; i < bits; i++) v |= (((unsigned)p[(first + i) / 8] >> ((first + i) % 8)) & 1u) << i;
    return v;
}

static float ref_f6_e2m3(const uint8_t *p, size_t j) { return fh_ref_small(take_bits(p, 6 * j, 6), 2, 3, 1); }

static float ref_f6_e3m2(const uint8_t *p, size_t j) { return fh_ref_small(take_bits(p, 6 * j, 6), 3, 2, 3); }

static float ref_f4(const uint8_t *p, size_t j) { return fh_ref_small(take_bits(p, 4 * j, 4), 2, 1, 1); }

static float ref_i8(const uint8_t *p, size_t j) {
    (void)j;
    return (float)(*p < 128 ? *p : *p - 256);
}

static float ref_i16(const uint8_t *p, size_t j) {
    (void)j;
    return (float)(int16_t)fh_load_u16(p);
}
static float ref_i32(const uint8_t *p, size_t j) {
    (void)j;
    return (float)(int32_t)fh_load_u32(p);
}
static float ref_i64(const uint8_t *p, size_t j) {
    (void)j;
    return (float)(int64_t)fh_load_u64(p);
}
static float ref_u8(const uint8_t *p, size_t j) {
    (void)j;
    return (float)*p;
}
static float ref_u16(const uint8_t *p, size_t j) {
    (void)j;
    return (float)fh_load_u16(p);
}
static float ref_u32(const uint8_t *p, size_t j) {
    (void)j;
    return (float)fh_load_u32(p);
}
static float ref_u64(const uint8_t *p, size_t j) {
    (void)j;
    return (float)fh_load_u64(p);
}
static float ref_bool(const uint8_t *p, size_t j) {
    (void)j;
    return *p != 0 ? 1.0f : 0.0f;
}

static fh_ref_fn *const ref_of[FH_DTYPE_COUNT] = {
    [FH_DTYPE_F32] = ref_f32,
    [FH_DTYPE_F16] = ref_f16,
    [FH_DTYPE_BF16] = ref_bf16,
    [FH_DTYPE_F64] = ref_f64,
    [FH_DTYPE_F8_E4M3] = ref_f8_e4m3,
    [FH_DTYPE_F8_E5M2] = ref_f8_e5m2,
    [FH_DTYPE_F8_E8M0] = ref_f8_e8m0,
    [FH_DTYPE_F8_E4M3FNUZ] = ref_f8_e4m3fnuz,
    [FH_DTYPE_F8_E5M2FNUZ] = ref_f8_e5m2fnuz,
    [FH_DTYPE_F6_E2M3] = ref_f6_e2m3,
    [FH_DTYPE_F6_E3M2] = ref_f6_e3m2,
    [FH_DTYPE_F4] = ref_f4,
    [FH_DTYPE_I8] = ref_i8,
    [FH_DTYPE_I16] = ref_i16,
    [FH_DTYPE_I32] = ref_i32,
    [FH_DTYPE_I64] = ref_i64,
    [FH_DTYPE_U8] = ref_u8,
    [FH_DTYPE_U16] = ref_u16,
    [FH_DTYPE_U32] = ref_u32,
    [FH_DTYPE_U64] = ref_u64,
    [FH_DTYPE_BOOL] = ref_bool,
    [FH_DTYPE_Q4_0] = fh_ref_q4_0,
    [FH_DTYPE_Q4_1] = fh_ref_q4_1,
    [FH_DTYPE_Q5_0] = fh_ref_q5_0,
    [FH_DTYPE_Q5_1] = fh_ref_q5_1,
    [FH_DTYPE_Q8_0] = fh_ref_q8_0,
    [FH_DTYPE_Q8_1] = fh_ref_q8_1,
    [FH_DTYPE_Q2_K] = fh_ref_q2_k,
    [FH_DTYPE_Q3_K] = fh_ref_q3_k,
    [FH_DTYPE_Q4_K] = fh_ref_q4_k,
    [FH_DTYPE_Q5_K] = fh_ref_q5_k,
    [FH_DTYPE_Q6_K] = fh_ref_q6_k,
    [FH_DTYPE_Q8_K] = fh_ref_q8_k,
    [FH_DTYPE_IQ1_S] = fh_ref_iq1_s,
    [FH_DTYPE_IQ1_M] = fh_ref_iq1_m,
    [FH_DTYPE_IQ2_XXS] = fh_ref_iq2_xxs,
    [FH_DTYPE_IQ2_XS] = fh_ref_iq2_xs,
    [FH_DTYPE_IQ2_S] = fh_ref_iq2_s,
    [FH_DTYPE_IQ3_XXS] = fh_ref_iq3_xxs,
    [FH_DTYPE_IQ3_S] = fh_ref_iq3_s,
    [FH_DTYPE_IQ4_NL] = fh_ref_iq4_nl,
    [FH_DTYPE_IQ4_XS] = fh_ref_iq4_xs,
    [FH_DTYPE_TQ1_0] = fh_ref_tq1_0,
    [FH_DTYPE_TQ2_0] = fh_ref_tq2_0,
    [FH_DTYPE_MXFP4] = fh_ref_mxfp4,
    [FH_DTYPE_NVFP4] = fh_ref_nvfp4,
    [FH_DTYPE_Q1_0] = fh_ref_q1_0,
    [FH_DTYPE_Q2_0] = fh_ref_q2_0,
};

float fh_ref_decode(fh_dtype t, const uint8_t *src, size_t i) {
    FH_REQUIRE(fh_can_decode(t));
    const fh_dtype_info *d = fh_dtype_get_info(t);
    return ref_of[t](src + i / d->block_elems * d->block_bytes, i % d->block_elems);
}
