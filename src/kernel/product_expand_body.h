/* kernel/product_expand_body.h - units of packed codes to bytes and f32 scales, compiled once per instruction set.
 * SPDX-License-Identifier: Apache-2.0
 * The includer defines EXPAND_NAME, EXPAND_BYTES (of a vector register), EXPAND_BIAS (0 or 128) and
 *   EXPAND_F16(src, dst)               16 f16 to f32
 *   EXPAND_U8(p) EXPAND_I8(p) EXPAND_U32(p)   bytes to a register of f32, or of integers
 *   EXPAND_LOOKUP(table, v)            bytes of v, all under 16, through table[16]
 * What a unit holds is told beside each kind in product_pack.c; g is a quad of columns, 64 bytes of 16 rows. */
#if defined(EXPAND_NAME) /* nothing without an includer */
#include "base/cursor.h"
#include "kernel/product_part.h"

#ifndef EXPAND_AHEAD
#define EXPAND_AHEAD 3072 /* bytes; measured: 2 to 4 KB are alike, more is slower */
#endif
typedef uint8_t expand_v __attribute__((vector_size(EXPAND_BYTES), aligned(EXPAND_BYTES), may_alias));
#if defined(__clang__)
#define EXPAND_UNROLL _Pragma("unroll")
#else
#define EXPAND_UNROLL _Pragma("GCC unroll 8")
#endif
#define EACH(v) for (size_t v = 0; v < FH_QUAD_BYTES; v += EXPAND_BYTES)
#define AT(p) (*(const expand_v *)(const void *)(p))
/* What comes next of the stream is fetched while this is expanded, evenly. */
#define TAKE(p) (__builtin_prefetch((p) + EXPAND_AHEAD), AT(p))
#define PUT(to, value) (*(expand_v *)(void *)(to) = (value) + (uint8_t)(add))
#define QUAD FH_QUAD_BYTES

/* ---- codes; `add` turns the format's zero into the bias ---- */
static inline void half_bytes(const uint8_t *src, size_t n_block, uint8_t *code, int add) {
    for (size_t b = 0; b < n_block; b++, src += 4 * QUAD, code += 8 * QUAD) {
        for (size_t g = 0; g < 4; g++) {
            EACH(v) {
                const expand_v q = TAKE(src + g * QUAD + v);
                PUT(code + g * QUAD + v, q & 15);
                PUT(code + (g + 4) * QUAD + v, q >> 4);
            }
        }
    }
}

static inline void half_levels(const uint8_t *src, size_t n_quad, size_t apart, uint8_t *code, const uint8_t *table) {
    const int add = 0;
    for (size_t b = 0; b < n_quad; b += apart, code += apart * QUAD) {
        for (size_t g = 0; g < apart; g++, src += QUAD, code += QUAD) {
            EACH(v) {
                const expand_v q = TAKE(src + v);
                PUT(code + v, EXPAND_LOOKUP(table, q & 15));
                PUT(code + apart * QUAD + v, EXPAND_LOOKUP(table, q >> 4));
            }
        }
    }
}

static inline void five_bits(const uint8_t *src, size_t n_block, uint8_t *code, int add) {
    for (size_t b = 0; b < n_block; b++, src += 5 * QUAD, code += 8 * QUAD) {
        EACH(v) {
            const expand_v h = TAKE(src + v);
            EXPAND_UNROLL for (unsigned g = 0; g < 4; g++) {
                const expand_v q = TAKE(src + (g + 1) * QUAD + v);
                PUT(code + g * QUAD + v, (q & 15) | ((h >> g) & 1) << 4);
                PUT(code + (g + 4) * QUAD + v, q >> 4 | ((h >> (g + 4)) & 1) << 4);
            }
        }
    }
}

static inline void all_bytes(const uint8_t *src, size_t n_block, uint8_t *code, int add) {
    for (size_t i = 0; i < n_block * FH_BLOCK_CODES; i += EXPAND_BYTES) PUT(code + i, TAKE(src + i));
}

static inline void k_four(const uint8_t *src, uint8_t *code, int add) {
    for (size_t c = 0; c < 4; c++, src += 8 * QUAD, code += 16 * QUAD) {
        for (size_t i = 0; i < 8 * QUAD; i += EXPAND_BYTES) {
            const expand_v q = TAKE(src + i);
            PUT(code + i, q & 15);
            PUT(code + 8 * QUAD + i, q >> 4);
        }
    }
}

static inline void k_five(const uint8_t *src, uint8_t *code, int add) {
    for (size_t i = 0; i < 8 * QUAD; i += EXPAND_BYTES) {
        const expand_v h = TAKE(src + i);
        const uint8_t *from = src + 8 * QUAD + i;
        EXPAND_UNROLL for (unsigned c = 0; c < 4; c++) {
            const expand_v q = TAKE(from + c * 8 * QUAD), bits = h >> (2 * c);
            PUT(code + c * 16 * QUAD + i, (q & 15) | (bits & 1) << 4);
            PUT(code + (2 * c + 1) * 8 * QUAD + i, q >> 4 | (bits & 2) << 3);
        }
    }
}

static inline void k_six(const uint8_t *src, uint8_t *code, int add) {
    for (size_t half = 0; half < 2; half++, code += 32 * QUAD) {
        const uint8_t *l = src + half * 16 * QUAD, *h = src + (32 + 8 * half) * QUAD;
        for (size_t i = 0; i < 8 * QUAD; i += EXPAND_BYTES) {
            const expand_v a = TAKE(l + i), b = TAKE(l + 8 * QUAD + i), top = TAKE(h + i);
            PUT(code + i, (a & 15) | (top & 3) << 4);
            PUT(code + 8 * QUAD + i, (b & 15) | (top & 12) << 2);
            PUT(code + 16 * QUAD + i, a >> 4 | (top & 48));
            PUT(code + 24 * QUAD + i, b >> 4 | (top & 192) >> 2);
        }
    }
}

static inline void k_three(const uint8_t *src, uint8_t *code, int add) {
    for (size_t i = 0; i < 8 * QUAD; i += EXPAND_BYTES) {
        const expand_v h = TAKE(src + i);
        EXPAND_UNROLL for (unsigned half = 0; half < 2; half++) {
            const expand_v q = TAKE(src + (8 + 8 * half) * QUAD + i);
            EXPAND_UNROLL for (unsigned j = 0; j < 4; j++) {
                PUT(code + (4 * half + j) * 8 * QUAD + i, ((q >> (2 * j)) & 3) | ((h >> (4 * half + j)) & 1) << 2);
            }
        }
    }
}

static inline void k_two(const uint8_t *src, uint8_t *code, int add) {
    for (size_t half = 0; half < 2; half++, src += 8 * QUAD, code += 32 * QUAD) {
        for (size_t i = 0; i < 8 * QUAD; i += EXPAND_BYTES) {
            const expand_v q = TAKE(src + i);
            EXPAND_UNROLL for (unsigned j = 0; j < 4; j++) PUT(code + j * 8 * QUAD + i, (q >> (2 * j)) & 3);
        }
    }
}

/* ---- scales ---- */
static inline void f16_scales(const uint8_t *src, size_t n, float *dst) {
    for (size_t i = 0; i < n; i++) EXPAND_F16(src + 32 * i, dst + 16 * i);
}

typedef float expand_f __attribute__((vector_size(EXPAND_BYTES), aligned(EXPAND_BYTES), may_alias));
enum { EXPAND_LANES = EXPAND_BYTES / 4 };

/* Sixteen bytes, as numbers, times factors. */
static inline void scaled_u8(const float *d, const uint8_t *s, float *dst) {
    for (size_t r = 0; r < FH_HALF; r += EXPAND_LANES) {
        *(expand_f *)(void *)(dst + r) = *(const expand_f *)(const void *)(d + r) * (expand_f)EXPAND_U8(s + r);
    }
}
static inline void scaled_i8(const float *d, const uint8_t *s, float *dst) {
    for (size_t r = 0; r < FH_HALF; r += EXPAND_LANES) {
        *(expand_f *)(void *)(dst + r) = *(const expand_f *)(const void *)(d + r) * (expand_f)EXPAND_I8(s + r);
    }
}
#define FACTORS(name) float name[FH_HALF] __attribute__((aligned(EXPAND_BYTES)))

static inline void f16_pairs(const uint8_t *src, size_t n, float *scale, float *min) {
    for (size_t i = 0; i < n; i++) {
        FACTORS(m);
        EXPAND_F16(src + 64 * i, scale + 16 * i);
        EXPAND_F16(src + 64 * i + 32, m);
        for (size_t r = 0; r < FH_HALF; r += EXPAND_LANES) {
            *(expand_f *)(void *)(min + 16 * i + r) = -*(const expand_f *)(const void *)(m + r);
        }
    }
}

/* d times signed bytes */
static inline void i8_scales(const uint8_t *unit, size_t n, float *scale) {
    FACTORS(d);
    EXPAND_F16(unit, d);
    for (size_t i = 0; i < n; i++) {
        __builtin_prefetch(unit + 32 + 16 * i + EXPAND_AHEAD);
        scaled_i8(d, unit + 32 + 16 * i, scale + 16 * i);
    }
}

static inline void k_scales(const uint8_t *unit, float *scale, float *min) {
    FACTORS(d);
    FACTORS(m);
    EXPAND_F16(unit, d);
    EXPAND_F16(unit + 32, m);
    for (size_t i = 0; i < 8; i++) {
        __builtin_prefetch(unit + 64 + 32 * i + EXPAND_AHEAD);
        scaled_u8(d, unit + 64 + 32 * i, scale + 16 * i);
        scaled_u8(m, unit + 80 + 32 * i, min + 16 * i);
    }
}

static inline void k_nibble_scales(const uint8_t *unit, float *scale, float *min) {
    FACTORS(d);
    FACTORS(m);
    uint8_t low[FH_UNIT] __attribute__((aligned(EXPAND_BYTES))), high[FH_UNIT] __attribute__((aligned(EXPAND_BYTES)));
    EXPAND_F16(unit, d);
    EXPAND_F16(unit + 32, m);
    for (size_t i = 0; i < FH_UNIT; i += EXPAND_BYTES) {
        const expand_v s = AT(unit + 64 + i);
        *(expand_v *)(void *)(low + i) = s & 15;
        *(expand_v *)(void *)(high + i) = s >> 4;
    }
    for (size_t i = 0; i < 16; i++) {
        scaled_u8(d, low + 16 * i, scale + 16 * i);
        scaled_u8(m, high + 16 * i, min + 16 * i);
    }
}

typedef uint32_t expand_w __attribute__((vector_size(EXPAND_BYTES), aligned(EXPAND_BYTES), may_alias));
#define CHOOSE(mask, a, b) (((a) & (expand_w)(mask)) | ((b) & ~(expand_w)(mask)))

/* Half of 2^(e - 127), as codes are doubled: subnormal for e < 2. */
static inline void exponent_scales(const uint8_t *src, size_t n_block, float *scale) {
    for (size_t i = 0; i < n_block * FH_HALF; i += EXPAND_LANES) {
        const expand_w e = (expand_w)EXPAND_U32(src + i);
        *(expand_w *)(void *)(scale + i) = CHOOSE(e < 2, ((e & 1) + 1) << 21, (e - 1) << 23);
    }
}

/* Unsigned E4M3, halved. 127 is 0 there, 255 is not. Subnormal ones by a product, as their bits alone would be. */
static inline void e4m3_scales(const uint8_t *src, size_t n, float *scale) {
    for (size_t i = 0; i < n * FH_HALF; i += EXPAND_LANES) {
        const expand_w b = (expand_w)EXPAND_U32(src + i), e = b & 127;
        const expand_f small = __builtin_convertvector(e, expand_f) * 0x1p-10f;
        *(expand_w *)(void *)(scale + i) =
            CHOOSE(e < 8, (expand_w)small, (e << 20) + (119u << 23)) & (expand_w)(b != 127);
    }
}

/* ---- kinds ---- */
#define KIND(name) static void name(const uint8_t *unit, size_t n_block, uint8_t *code, float *scale, float *min)
#define IGNORE_MIN (void)min

KIND(q4_0) {
    IGNORE_MIN;
    f16_scales(unit, n_block, scale);
    half_bytes(unit + (n_block * 32 + 63) / 64 * 64, n_block, code, EXPAND_BIAS - 8);
}
KIND(q4_1) {
    f16_pairs(unit, n_block, scale, min);
    half_bytes(unit + n_block * 64, n_block, code, EXPAND_BIAS);
}
KIND(q5_0) {
    IGNORE_MIN;
    f16_scales(unit, n_block, scale);
    five_bits(unit + (n_block * 32 + 63) / 64 * 64, n_block, code, EXPAND_BIAS - 16);
}
KIND(q5_1) {
    f16_pairs(unit, n_block, scale, min);
    five_bits(unit + n_block * 64, n_block, code, EXPAND_BIAS);
}
KIND(q8_0) {
    IGNORE_MIN;
    f16_scales(unit, n_block, scale);
    all_bytes(unit + (n_block * 32 + 63) / 64 * 64, n_block, code, EXPAND_BIAS);
}
KIND(q2_k) {
    (void)n_block;
    k_nibble_scales(unit, scale, min);
    k_two(unit + 320, code, EXPAND_BIAS);
}
KIND(q3_k) {
    (void)n_block, IGNORE_MIN;
    i8_scales(unit, 16, scale);
    k_three(unit + 320, code, EXPAND_BIAS - 4);
}
KIND(q4_k) {
    (void)n_block;
    k_scales(unit, scale, min);
    k_four(unit + 320, code, EXPAND_BIAS);
}
KIND(q5_k) {
    (void)n_block;
    k_scales(unit, scale, min);
    k_five(unit + 320, code, EXPAND_BIAS);
}
KIND(q6_k) {
    (void)n_block, IGNORE_MIN;
    i8_scales(unit, 16, scale);
    k_six(unit + 320, code, EXPAND_BIAS - 32);
}

#define LEVEL(x) (uint8_t)(EXPAND_BIAS + (x))
static const uint8_t NL[16] __attribute__((aligned(16))) = {
    LEVEL(-127), LEVEL(-104), LEVEL(-83), LEVEL(-65), LEVEL(-49), LEVEL(-35), LEVEL(-22), LEVEL(-10),
    LEVEL(1),    LEVEL(13),   LEVEL(25),  LEVEL(38),  LEVEL(53),  LEVEL(69),  LEVEL(89),  LEVEL(113)};
static const uint8_t E2M1[16] __attribute__((aligned(16))) = {
    LEVEL(0), LEVEL(1),  LEVEL(2),  LEVEL(3),  LEVEL(4),  LEVEL(6),  LEVEL(8),  LEVEL(12),
    LEVEL(0), LEVEL(-1), LEVEL(-2), LEVEL(-3), LEVEL(-4), LEVEL(-6), LEVEL(-8), LEVEL(-12)};

KIND(iq4_nl) {
    IGNORE_MIN;
    f16_scales(unit, n_block, scale);
    half_levels(unit + (n_block * 32 + 63) / 64 * 64, n_block * 4, 4, code, NL);
}
KIND(iq4_xs) {
    IGNORE_MIN;
    i8_scales(unit, 8, scale);
    half_levels(unit + 192, n_block * 4, 4, code, NL);
}
KIND(mxfp4) {
    IGNORE_MIN;
    exponent_scales(unit, n_block, scale);
    half_levels(unit + (n_block * 16 + 63) / 64 * 64, n_block * 4, 4, code, E2M1);
}
KIND(nvfp4) {
    IGNORE_MIN;
    e4m3_scales(unit, n_block * 2, scale);
    half_levels(unit + (n_block * 32 + 63) / 64 * 64, n_block * 4, 2, code, E2M1);
}

/* Scale and min in f32 for each `per` blocks, or a scale alone. */
static inline void f32_pairs(const uint8_t *src, size_t n_block, size_t per, float *scale, float *min) {
    for (size_t b = 0; b < n_block; b++) {
        memcpy(scale + 16 * b, src + b / per * 128, 64);
        memcpy(min + 16 * b, src + b / per * 128 + 64, 64);
    }
}

#define PAIRS_KIND(name, per, codes, bytes) \
    KIND(name) { \
        f32_pairs(unit, n_block, per, scale, min); \
        codes(unit + (n_block * (bytes) + 63) / 64 * 64, n_block, code, EXPAND_BIAS); \
    }
PAIRS_KIND(w4_32, 1, half_bytes, 128)
PAIRS_KIND(w4_64, 2, half_bytes, 64)
PAIRS_KIND(w4_128, 4, half_bytes, 32)
PAIRS_KIND(w8_32, 1, all_bytes, 128)
PAIRS_KIND(w8_128, 4, all_bytes, 32)
#undef PAIRS_KIND

KIND(s4_32) {
    IGNORE_MIN;
    memcpy(scale, unit, n_block * 64);
    half_bytes(unit + n_block * 64, n_block, code, EXPAND_BIAS - 8);
}
KIND(s4_32_bf16) {
    IGNORE_MIN;
    for (size_t i = 0; i < n_block * FH_HALF; i++) {
        const uint32_t bits = (uint32_t)fh_load_u16(unit + 2 * i) << 16;
        memcpy(scale + i, &bits, 4);
    }
    half_bytes(unit + (n_block * 32 + 63) / 64 * 64, n_block, code, EXPAND_BIAS - 8);
}
KIND(e2m1_16) {
    IGNORE_MIN;
    e4m3_scales(unit + 64, n_block * 2, scale);
    for (size_t i = 0; i < n_block * 2; i++) {
        for (size_t r = 0; r < FH_HALF; r += EXPAND_LANES) {
            expand_f *to = (expand_f *)(void *)(scale + 16 * i + r);
            *to = *to * *(const expand_f *)(const void *)(unit + 4 * r);
        }
    }
    half_levels(unit + (64 + n_block * 32 + 63) / 64 * 64, n_block * 4, 2, code, E2M1);
}

fh_expand_fn *const EXPAND_NAME[FH_PANEL_COUNT] = {
    [FH_PANEL_Q4_0] = q4_0,
    [FH_PANEL_Q4_1] = q4_1,
    [FH_PANEL_Q5_0] = q5_0,
    [FH_PANEL_Q5_1] = q5_1,
    [FH_PANEL_Q8_0] = q8_0,
    [FH_PANEL_Q2_K] = q2_k,
    [FH_PANEL_Q3_K] = q3_k,
    [FH_PANEL_Q4_K] = q4_k,
    [FH_PANEL_Q5_K] = q5_k,
    [FH_PANEL_Q6_K] = q6_k,
    [FH_PANEL_IQ4_NL] = iq4_nl,
    [FH_PANEL_IQ4_XS] = iq4_xs,
    [FH_PANEL_MXFP4] = mxfp4,
    [FH_PANEL_NVFP4] = nvfp4,
    [FH_PANEL_W4_32] = w4_32,
    [FH_PANEL_W4_64] = w4_64,
    [FH_PANEL_W4_128] = w4_128,
    [FH_PANEL_S4_32] = s4_32,
    [FH_PANEL_S4_32_BF16] = s4_32_bf16,
    [FH_PANEL_W8_32] = w8_32,
    [FH_PANEL_W8_128] = w8_128,
    [FH_PANEL_E2M1_16] = e2m1_16,
};

#undef EACH
#undef AT
#undef PUT
#undef TAKE
#undef QUAD
#undef KIND
#undef IGNORE_MIN
#undef LEVEL
#undef FACTORS
#undef CHOOSE

#endif
