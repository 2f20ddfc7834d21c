/* kernel/decode_k.c - the k-quants: 256 numbers in 8 or 16 groups, whose scales are small integers
 * times one or two f16.
 * SPDX-License-Identifier: Apache-2.0
 * Invariant: the group's scale d * sc and offset dmin * m are rounded before they meet a code: y =
 * dl * q - ml. */
#include "kernel/convert.h"
#include "kernel/decode_table.h"

static inline float load_f16(const uint8_t *p) { return fh_widen_f16(fh_load_u16(p)); }

/* 16 groups of 16: scales[16] (scale low, offset high half), qs[64], d, dmin.
 * Of each 32 bytes of qs, bits 0-1 are the first 32 numbers, bits 2-3 the next, and so on. */
void fh_decode_q2_k(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 84, dst += 256) {
        const float d = load_f16(src + 80), dmin = load_f16(src + 82);
        for (unsigned g = 0; g < 16; g++) {
            const float dl = d * (float)(src[g] & 15), ml = dmin * (float)(src[g] >> 4);
            const uint8_t *restrict q = src + 16 + 32 * (g / 8) + 16 * (g % 2);
            const unsigned shift = g / 2 % 4 * 2;
            float *restrict y = dst + 16 * g;
            for (size_t j = 0; j < 16; j++) y[j] = dl * (float)((q[j] >> shift) & 3) - ml;
        }
    }
}

/* hmask[32] (bit g/2 is the third bit of group g; set means "do not subtract 4"), qs[64] as in
 * Q2_K, scales[12]: 16 of 6 bits, low four in the halves of 8 bytes, high two in the quarters of 4;
 * d. */
void fh_decode_q3_k(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 110, dst += 256) {
        const float d = load_f16(src + 108);
        const uint8_t *s = src + 96;
        for (unsigned g = 0; g < 16; g++) {
            const int low = (s[g % 8] >> (g / 8 * 4)) & 15;
            const int high = (s[8 + g % 4] >> (g / 4 * 2)) & 3;
            const float dl = d * (float)((low | high << 4) - 32);
            const uint8_t *restrict q = src + 32 + 32 * (g / 8) + 16 * (g % 2);
            const uint8_t *restrict h = src + 16 * (g % 2);
            const unsigned shift = g / 2 % 4 * 2, bit = g / 2;
            float *restrict y = dst + 16 * g;
            for (size_t j = 0; j < 16; j++) y[j] = dl * (float)(((q[j] >> shift) & 3) + ((h[j] >> bit) & 1) * 4 - 4);
        }
    }
}

/* Eight scales and eight offsets of 6 bits in 12 bytes: groups 0-3 in the low six bits of bytes 0-3
 * and 4-7; of groups 4-7 the low four bits share bytes 8-11 and the high two sit on top of the
 * first eight bytes. */
static inline void unpack_scales(const uint8_t *restrict s, uint8_t *restrict scale, uint8_t *restrict offset) {
    for (size_t g = 0; g < 4; g++) {
        scale[g] = s[g] & 63;
        offset[g] = s[g + 4] & 63;
        scale[g + 4] = (uint8_t)((s[g + 8] & 15) | (s[g] >> 6) << 4);
        offset[g + 4] = (uint8_t)((s[g + 8] >> 4) | (s[g + 4] >> 6) << 4);
    }
}

/* d, dmin, scales[12], qs[128]: of each 32 bytes the low halves are one group of 32, the high
 * halves the next. */
void fh_decode_q4_k(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 144, dst += 256) {
        const float d = load_f16(src), dmin = load_f16(src + 2);
        uint8_t scale[8], offset[8];
        unpack_scales(src + 4, scale, offset);
        for (size_t c = 0; c < 4; c++) {
            const uint8_t *restrict q = src + 16 + 32 * c;
            float *restrict y = dst + 64 * c;
            const float d1 = d * (float)scale[2 * c], m1 = dmin * (float)offset[2 * c];
            const float d2 = d * (float)scale[2 * c + 1], m2 = dmin * (float)offset[2 * c + 1];
            for (size_t j = 0; j < 32; j++) {
                y[j] = d1 * (float)(q[j] & 15) - m1;
                y[j + 32] = d2 * (float)(q[j] >> 4) - m2;
            }
        }
    }
}

/* As Q4_K with qh[32] before qs: bit g of byte j is the fifth bit of number j of group g. */
void fh_decode_q5_k(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 176, dst += 256) {
        const float d = load_f16(src), dmin = load_f16(src + 2);
        uint8_t scale[8], offset[8];
        unpack_scales(src + 4, scale, offset);
        for (size_t c = 0; c < 4; c++) {
            const uint8_t *restrict h = src + 16, *restrict q = src + 48 + 32 * c;
            float *restrict y = dst + 64 * c;
            const float d1 = d * (float)scale[2 * c], m1 = dmin * (float)offset[2 * c];
            const float d2 = d * (float)scale[2 * c + 1], m2 = dmin * (float)offset[2 * c + 1];
            for (size_t j = 0; j < 32; j++) {
                const int bits = h[j] >> (2 * c);
                y[j] = d1 * (float)((q[j] & 15) | (bits & 1) << 4) - m1;
                y[j + 32] = d2 * (float)((q[j] >> 4) | (bits & 2) << 3) - m2;
            }
        }
    }
}

/* ql[128], qh[64], signed scales[16], d. Half a block: numbers 0-31 and 32-63 have their low four
 * bits in the low halves of ql[0..31] and ql[32..63], numbers 64-95 and 96-127 in the high halves;
 * qh holds two bits of each. */
void fh_decode_q6_k(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 210, dst += 256) {
        const float d = load_f16(src + 208);
        for (unsigned g = 0; g < 16; g++) {
            const unsigned run = g / 2 % 4; /* of 32 numbers, in this half */
            const float dl = d * (float)(int8_t)src[192 + g];
            const uint8_t *restrict l = src + 64 * (g / 8) + 32 * (run % 2) + 16 * (g % 2);
            const uint8_t *restrict h = src + 128 + 32 * (g / 8) + 16 * (g % 2);
            const unsigned low = run / 2 * 4, high = run * 2;
            float *restrict y = dst + 16 * g;
            for (size_t j = 0; j < 16; j++)
                y[j] = dl * (float)((((l[j] >> low) & 15) | ((h[j] >> high) & 3) << 4) - 32);
        }
    }
}

/* f32 scale, 256 signed bytes, and sums of 16 that only products need. */
void fh_decode_q8_k(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 292, dst += 256) {
        const float d = fh_load_f32(src);
        const uint8_t *restrict q = src + 4;
        for (size_t j = 0; j < 256; j++) dst[j] = d * (float)(int8_t)q[j];
    }
}
