/* kernel/decode_iq.c - the i-quants: 256 numbers as signed vectors out of a codebook.
 * SPDX-License-Identifier: Apache-2.0
 * Each block is done in two passes: codes as signed bytes, eight at a time in a 64-bit word, then
 * scales times codes. (One pass of eight numbers each stalls on reading bytes back as vectors, and
 * runs at a third.) Invariants: (1) scales are made in the format's order, d * (0.5 + s) * 0.25;
 * (2) a sign goes into the code, which gives the same bits as a factor of -1 afterwards. IQ4_NL and
 * IQ4_XS have no codebook: see decode_legacy.c. */
#include "kernel/convert.h"
#include "kernel/decode_table.h"
#include "kernel/iq_tables.h"

enum { BLOCK = 256 };

static inline float load_f16(const uint8_t *p) { return fh_widen_f16(fh_load_u16(p)); }

/* Eight levels of 1 to 127, one per byte; those whose bit in signs is set become negative. */
static inline uint64_t negate(uint64_t levels, unsigned signs) {
    const uint64_t ones = 0x0101010101010101u;
    /* A copy of signs in each byte; the mask leaves bit k in byte k; adding 127 moves it to the
     * top. */
    const uint64_t bit = (signs * ones) & 0x8040201008040201u;
    const uint64_t minus = ((bit + 0x7f7f7f7f7f7f7f7fu) >> 7) & ones;
    return (levels ^ (minus * 255)) + minus;
}

static inline void put8(uint8_t *code, uint64_t eight) { memcpy(code, &eight, 8); }

/* Sixteen groups of 16 codes. */
static inline void scale16(const uint8_t *restrict code, const float *restrict scale, float *restrict dst) {
    for (size_t g = 0; g < 16; g++) {
        const float s = scale[g];
        for (size_t j = 0; j < 16; j++) dst[16 * g + j] = s * (float)(int8_t)code[16 * g + j];
    }
}

/* Eight groups of 32. */
static inline void scale32(const uint8_t *restrict code, const float *restrict scale, float *restrict dst) {
    for (size_t g = 0; g < 8; g++) {
        const float s = scale[g];
        for (size_t j = 0; j < 32; j++) dst[32 * g + j] = s * (float)(int8_t)code[32 * g + j];
    }
}

/* d, then for each 32 numbers: four indices of 8 bits; four times 7 signs and a 4-bit scale on
 * top. */
void fh_decode_iq2_xxs(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 66, dst += 256) {
        const float d = load_f16(src);
        uint8_t code[BLOCK];
        float scale[8];
        for (size_t g = 0; g < 8; g++) {
            const uint8_t *q = src + 2 + 8 * g;
            const uint32_t top = fh_load_u32(q + 4);
            scale[g] = d * (0.5f + (float)(top >> 28)) * 0.25f;
            for (size_t k = 0; k < 4; k++)
                put8(code + 32 * g + 8 * k,
                     negate(fh_iq2_levels(fh_iq2_xxs_book[q[k]]), fh_iq_signs((top >> (7 * k)) & 127)));
        }
        scale32(code, scale, dst);
    }
}

/* d, 32 words of 9 bits index and 7 bits signs, then a 4-bit scale for each 16 numbers. */
void fh_decode_iq2_xs(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 74, dst += 256) {
        const float d = load_f16(src);
        uint8_t code[BLOCK];
        float scale[16];
        for (size_t g = 0; g < 16; g++) {
            const unsigned s = ((unsigned)src[66 + g / 2] >> (g % 2 * 4)) & 15u;
            scale[g] = d * (0.5f + (float)s) * 0.25f;
            for (size_t k = 2 * g; k < 2 * g + 2; k++) {
                const unsigned q = fh_load_u16(src + 2 + 2 * k);
                put8(code + 8 * k, negate(fh_iq2_levels(fh_iq2_xs_book[q & 511]), fh_iq_signs(q >> 9)));
            }
        }
        scale16(code, scale, dst);
    }
}

/* d, low 8 bits of 32 indices, 32 bytes of signs, high 2 bits of the indices, scales as in
 * IQ2_XS. */
void fh_decode_iq2_s(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 82, dst += 256) {
        const float d = load_f16(src);
        uint8_t code[BLOCK];
        float scale[16];
        for (size_t g = 0; g < 16; g++) {
            const unsigned s = ((unsigned)src[74 + g / 2] >> (g % 2 * 4)) & 15u;
            scale[g] = d * (0.5f + (float)s) * 0.25f;
            for (size_t k = 2 * g; k < 2 * g + 2; k++) {
                const unsigned high = ((unsigned)src[66 + k / 4] >> (k % 4 * 2)) & 3u;
                const uint16_t word = fh_iq2_s_book[src[2 + k] | high << 8];
                put8(code + 8 * k, negate(fh_iq2_levels(word), src[34 + k]));
            }
        }
        scale16(code, scale, dst);
    }
}

/* d, 64 indices of four numbers each, then for each 32 numbers signs and scale as in IQ2_XXS. */
void fh_decode_iq3_xxs(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 98, dst += 256) {
        const float d = load_f16(src);
        uint8_t code[BLOCK];
        float scale[8];
        for (size_t g = 0; g < 8; g++) {
            const uint8_t *q = src + 2 + 8 * g;
            const uint32_t top = fh_load_u32(src + 66 + 4 * g);
            scale[g] = d * (0.5f + (float)(top >> 28)) * 0.5f;
            for (size_t k = 0; k < 4; k++) {
                const uint64_t low = fh_iq3_xxs_levels(fh_iq3_xxs_book[q[2 * k]]);
                const uint64_t high = fh_iq3_xxs_levels(fh_iq3_xxs_book[q[2 * k + 1]]);
                put8(code + 32 * g + 8 * k, negate(low | high << 32, fh_iq_signs((top >> (7 * k)) & 127)));
            }
        }
        scale32(code, scale, dst);
    }
}

/* d, low 8 bits of 64 indices, their ninth bits, 32 bytes of signs, a 4-bit scale for each 32
 * numbers. */
void fh_decode_iq3_s(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 110, dst += 256) {
        const float d = load_f16(src);
        uint8_t code[BLOCK];
        float scale[8];
        for (size_t g = 0; g < 8; g++) {
            const uint8_t *q = src + 2 + 8 * g;
            const unsigned ninth = src[66 + g];
            const unsigned s = ((unsigned)src[106 + g / 2] >> (g % 2 * 4)) & 15u;
            scale[g] = d * (float)(1 + 2 * s);
            for (size_t k = 0; k < 4; k++) {
                const unsigned lo = (ninth >> (2 * k)) & 1, hi = (ninth >> (2 * k + 1)) & 1;
                const uint64_t low = fh_iq3_s_levels(fh_iq3_s_book[q[2 * k] | lo << 8]);
                const uint64_t high = fh_iq3_s_levels(fh_iq3_s_book[q[2 * k + 1] | hi << 8]);
                put8(code + 32 * g + 8 * k, negate(low | high << 32, src[74 + 4 * g + k]));
            }
        }
        scale32(code, scale, dst);
    }
}

/* Eight levels 0 1 2, which stand for -1 0 1, plus or minus 1/8. The sum is exact, so that the -1
 * may as well be part of the shift. Here one pass is the faster way (6.5 against 4 to 6 GB/s):
 * there are no signs to spread. */
static inline void put8_iq1(unsigned index, bool minus, float dl, float *restrict y) {
    const uint64_t levels = fh_iq_spread2(fh_iq1_book[index]);
    const float shift = minus ? -1.125f : -0.875f;
    uint8_t l[8];
    memcpy(l, &levels, 8);
    for (size_t j = 0; j < 8; j++) y[j] = dl * ((float)l[j] + shift);
}

/* d, low 8 bits of 32 indices, then for each 32 numbers a word: four times 3 high bits, 3-bit
 * scale, sign. */
void fh_decode_iq1_s(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 50, dst += 256) {
        const float d = load_f16(src);
        for (size_t g = 0; g < 8; g++) {
            const unsigned top = fh_load_u16(src + 34 + 2 * g);
            const float dl = d * (float)(2 * ((top >> 12) & 7) + 1);
            for (size_t k = 0; k < 4; k++)
                put8_iq1(src[2 + 4 * g + k] | ((top >> (3 * k)) & 7) << 8, top & 0x8000, dl, dst + 32 * g + 8 * k);
        }
    }
}

/* Low 8 bits of 32 indices; 32 halves of a byte: 3 high bits and the sign; four words of four 3-bit
 * scales, whose top four bits together are the f16 d. A scale serves 16 numbers. */
void fh_decode_iq1_m(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 56, dst += 256) {
        unsigned d_bits = 0;
        for (size_t w = 0; w < 4; w++) d_bits |= (src[49 + 2 * w] >> 4 & 15u) << (4 * w);
        const float d = fh_widen_f16((uint16_t)d_bits);
        for (size_t g = 0; g < 16; g++) {
            const unsigned word = fh_load_u16(src + 48 + 2 * (g / 4));
            const float dl = d * (float)(2 * ((word >> (g % 4 * 3)) & 7) + 1);
            const unsigned top = src[32 + g];
            put8_iq1(src[2 * g] | (top & 7) << 8, top & 8, dl, dst + 16 * g);
            put8_iq1(src[2 * g + 1] | (top >> 4 & 7) << 8, top & 128, dl, dst + 16 * g + 8);
        }
    }
}
