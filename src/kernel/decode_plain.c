/* kernel/decode_plain.c - plain numbers to f32: floats of 4 to 64 bits, integers, booleans.
 * SPDX-License-Identifier: Apache-2.0
 * Integers and F64 are rounded to nearest even by the conversion itself; all the others are exact.
 * Loops run in steps of a constant so that compilers vectorize them at the level that ships. */
#include "kernel/convert.h"
#include "kernel/decode_table.h"

enum { STEP = 16 };

void fh_decode_f32(const uint8_t *restrict src, float *restrict dst, size_t n) {
    if (n) memcpy(dst, src, n * 4);
}

/* One decoder: `bytes` an element, `value` an expression of p, the address of the element. */
#define DECODE_EACH(name, bytes, value) \
    void fh_decode_##name(const uint8_t *restrict src, float *restrict dst, size_t n) { \
        size_t i = 0; \
        for (; i + STEP <= n; i += STEP) { \
            const uint8_t *restrict at = src + i * (bytes); \
            for (size_t j = 0; j < STEP; j++) { \
                const uint8_t *p = at + j * (bytes); \
                dst[i + j] = (value); \
            } \
        } \
        for (; i < n; i++) { \
            const uint8_t *p = src + i * (bytes); \
            dst[i] = (value); \
        } \
    }

DECODE_EACH(f16, 2, fh_widen_f16(fh_load_u16(p)))
DECODE_EACH(bf16, 2, fh_widen_bf16(fh_load_u16(p)))
DECODE_EACH(f64, 8, (float)fh_load_f64(p))
DECODE_EACH(f8_e4m3, 1, fh_widen_e4m3(*p))
DECODE_EACH(f8_e5m2, 1, fh_widen_e5m2(*p))
DECODE_EACH(f8_e8m0, 1, fh_widen_e8m0(*p))
DECODE_EACH(f8_e4m3fnuz, 1, fh_widen_fnuz(*p, 3, 8))
DECODE_EACH(f8_e5m2fnuz, 1, fh_widen_fnuz(*p, 2, 16))
DECODE_EACH(i8, 1, (float)(int8_t)*p)
DECODE_EACH(i16, 2, (float)(int16_t)fh_load_u16(p))
DECODE_EACH(i32, 4, (float)(int32_t)fh_load_u32(p))
DECODE_EACH(i64, 8, (float)(int64_t)fh_load_u64(p))
DECODE_EACH(u8, 1, (float)*p)
DECODE_EACH(u16, 2, (float)fh_load_u16(p))
DECODE_EACH(u32, 4, (float)fh_load_u32(p))
DECODE_EACH(u64, 8, (float)fh_load_u64(p))
DECODE_EACH(bool, 1, *p ? 1.0f : 0.0f)

/* Four 6-bit numbers in three bytes, first in the lowest bits. */
static void decode_f6(const uint8_t *restrict src, float *restrict dst, size_t n, int mant, int bias) {
    for (size_t b = 0; b < n; b++, src += 3, dst += 4) {
        uint32_t w = (uint32_t)src[0] | (uint32_t)src[1] << 8 | (uint32_t)src[2] << 16;
        for (int j = 0; j < 4; j++) {
            uint32_t q = (w >> (6 * j)) & 63;
            dst[j] = fh_f32_of_bits(fh_widen(q & 31, mant, bias) | (q & 32) << 26);
        }
    }
}

void fh_decode_f6_e2m3(const uint8_t *restrict src, float *restrict dst, size_t n) { decode_f6(src, dst, n, 3, 1); }

void fh_decode_f6_e3m2(const uint8_t *restrict src, float *restrict dst, size_t n) { decode_f6(src, dst, n, 2, 3); }

/* Two E2M1 numbers in a byte, first in the low half. */
void fh_decode_f4(const uint8_t *restrict src, float *restrict dst, size_t n) {
    static const float value[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
    for (size_t b = 0; b < n; b++) {
        dst[2 * b] = value[src[b] & 15];
        dst[2 * b + 1] = value[src[b] >> 4];
    }
}
