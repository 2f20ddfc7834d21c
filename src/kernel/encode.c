/* kernel/encode.c - f32 to the plain types and to Q8_0.
 * SPDX-License-Identifier: Apache-2.0
 * Rounding: nearest even (F16, BF16, E4M3, E5M2); E4M3 does not saturate but gives NaN above 464,
 * as PyTorch's cast does; E5M2 and F16 overflow to infinity; F32 is a copy. Q8_0: d = amax / 127 in
 * f32, codes round(x * (1/d)) half away from zero, d then rounded to f16. The codes come from the
 * unrounded d, as in the reference. A code that is no number from -128 to 127 becomes 0: only where
 * an input is not finite or 1/d overflows, and there the reference's cast is undefined. */
#include <math.h>

#include "kernel/convert.h"
#include "kernel/decode.h"

enum { STEP = 16 };

static inline void store_u8(uint8_t *p, uint8_t v) { *p = v; }
static inline void store_u16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }

#define ENCODE_EACH(name, bytes, store, narrow) \
    static void encode_##name(const float *restrict src, uint8_t *restrict dst, size_t n) { \
        size_t i = 0; \
        for (; i + STEP <= n; i += STEP) \
            for (size_t j = i; j < i + STEP; j++) store(dst + j * (bytes), narrow(src[j])); \
        for (; i < n; i++) store(dst + i * (bytes), narrow(src[i])); \
    }

ENCODE_EACH(f16, 2, store_u16, fh_narrow_f16)
ENCODE_EACH(bf16, 2, store_u16, fh_narrow_bf16)
ENCODE_EACH(f8_e4m3, 1, store_u8, fh_narrow_e4m3)
ENCODE_EACH(f8_e5m2, 1, store_u8, fh_narrow_e5m2)

static void encode_f32(const float *restrict src, uint8_t *restrict dst, size_t n) {
    if (n) memcpy(dst, src, n * 4);
}

static uint8_t code_q8(float x) {
    const float r = roundf(x);
    return r >= -128.0f && r <= 127.0f ? (uint8_t)(int8_t)r : 0;
}

static void encode_q8_0(const float *restrict src, uint8_t *restrict dst, size_t n) {
    for (size_t b = 0; b < n / 32; b++, src += 32, dst += 34) {
        float amax = 0.0f;
        for (size_t j = 0; j < 32; j++) {
            const float a = fabsf(src[j]);
            amax = amax > a ? amax : a; /* a NaN comes in, and goes out with the next number */
        }
        const float d = amax / 127.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
        store_u16(dst, fh_narrow_f16(d));
        for (size_t j = 0; j < 32; j++) dst[2 + j] = code_q8(src[j] * id);
    }
}

typedef void encode_fn(const float *restrict src, uint8_t *restrict dst, size_t n);

static encode_fn *const encoder[FH_DTYPE_COUNT] = {
    [FH_DTYPE_F32] = encode_f32,         [FH_DTYPE_F16] = encode_f16,         [FH_DTYPE_BF16] = encode_bf16,
    [FH_DTYPE_F8_E4M3] = encode_f8_e4m3, [FH_DTYPE_F8_E5M2] = encode_f8_e5m2, [FH_DTYPE_Q8_0] = encode_q8_0,
};

bool fh_can_encode(fh_dtype t) { return (unsigned)t < FH_DTYPE_COUNT && encoder[t]; }

void fh_encode(fh_dtype t, const float *src, uint8_t *dst, size_t n) {
    FH_REQUIRE(fh_can_encode(t));
    FH_REQUIRE(n % fh_dtype_get_info(t)->block_elems == 0);
    encoder[t](src, dst, n);
}
