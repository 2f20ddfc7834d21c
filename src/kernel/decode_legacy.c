/* kernel/decode_legacy.c - blocks of 32 to 128 numbers with one or a few scales, and the ternary
 * types.
 * SPDX-License-Identifier: Apache-2.0
 * Invariant: the order of float operations is the format's (q * d + m, and so on); where a code has
 * few values the products are made first and looked up, which gives the same bits. "j" runs over
 * bytes, low halves first: in blocks of 32 the low half of byte j is number j and the high half is
 * number j + 16. */
#include "kernel/convert.h"
#include "kernel/decode_table.h"

static inline float load_f16(const uint8_t *p) { return fh_widen_f16(fh_load_u16(p)); }

void fh_decode_q4_0(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 18, dst += 32) {
        const float d = load_f16(src);
        const uint8_t *restrict q = src + 2;
        for (size_t j = 0; j < 16; j++) {
            dst[j] = (float)((q[j] & 15) - 8) * d;
            dst[j + 16] = (float)((q[j] >> 4) - 8) * d;
        }
    }
}

void fh_decode_q4_1(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 20, dst += 32) {
        const float d = load_f16(src), m = load_f16(src + 2);
        const uint8_t *restrict q = src + 4;
        for (size_t j = 0; j < 16; j++) {
            dst[j] = (float)(q[j] & 15) * d + m;
            dst[j + 16] = (float)(q[j] >> 4) * d + m;
        }
    }
}

/* The fifth bits of a block: bit j of a 32-bit word belongs to number j. 16 in each of out[]. */
static inline void spread_fifth(const uint8_t *restrict qh, uint8_t *restrict out) {
    for (size_t i = 0; i < 4; i++) {
        /* The product puts copies of the byte at each of eight places; the mask keeps bit k at
         * place k. */
        uint64_t x = (qh[i] * 0x0101010101010101u) & 0x8040201008040201u;
        x = (x + 0x7f7f7f7f7f7f7f7fu) & 0x8080808080808080u;
        x >>= 3;
        memcpy(out + 8 * i, &x, 8);
    }
}

void fh_decode_q5_0(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 22, dst += 32) {
        const float d = load_f16(src);
        const uint8_t *restrict q = src + 6;
        uint8_t hi[32];
        spread_fifth(src + 2, hi);
        for (size_t j = 0; j < 16; j++) {
            dst[j] = (float)(((q[j] & 15) | hi[j]) - 16) * d;
            dst[j + 16] = (float)(((q[j] >> 4) | hi[j + 16]) - 16) * d;
        }
    }
}

void fh_decode_q5_1(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 24, dst += 32) {
        const float d = load_f16(src), m = load_f16(src + 2);
        const uint8_t *restrict q = src + 8;
        uint8_t hi[32];
        spread_fifth(src + 4, hi);
        for (size_t j = 0; j < 16; j++) {
            dst[j] = (float)((q[j] & 15) | hi[j]) * d + m;
            dst[j + 16] = (float)((q[j] >> 4) | hi[j + 16]) * d + m;
        }
    }
}

static inline void scale_i8(const uint8_t *restrict q, float d, float *restrict dst) {
    for (size_t j = 0; j < 32; j++) dst[j] = (float)(int8_t)q[j] * d;
}

void fh_decode_q8_0(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 34, dst += 32) scale_i8(src + 2, load_f16(src), dst);
}

/* Two f16 before the codes: the scale, and scale times sum of codes, which only products need. */
void fh_decode_q8_1(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 36, dst += 32) scale_i8(src + 4, load_f16(src), dst);
}

void fh_decode_q1_0(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 18, dst += 128) {
        const float d = load_f16(src), value[2] = {-d, d};
        for (size_t i = 0; i < 16; i++) {
            const unsigned q = src[2 + i];
            for (size_t k = 0; k < 8; k++) dst[8 * i + k] = value[(q >> k) & 1];
        }
    }
}

void fh_decode_q2_0(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 18, dst += 64) {
        const float d = load_f16(src);
        const float value[4] = {-1.0f * d, 0.0f * d, d, 2.0f * d};
        for (size_t i = 0; i < 16; i++) {
            const unsigned q = src[2 + i];
            dst[4 * i] = value[q & 3];
            dst[4 * i + 1] = value[(q >> 2) & 3];
            dst[4 * i + 2] = value[(q >> 4) & 3];
            dst[4 * i + 3] = value[q >> 6];
        }
    }
}

/* A byte holds five digits of base 3 as a fraction of 256: multiply by 3^k (mod 256), and the next
 * digit is what times 3 carries past 256. `width` bytes give `digits` runs of `width` numbers. */
static inline void decode_trits(const uint8_t *restrict q, size_t width, size_t digits, float d, float *restrict dst) {
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (size_t k = 0; k < digits; k++) {
        for (size_t j = 0; j < width; j++) {
            uint8_t rest = (uint8_t)(q[j] * power[k]);
            dst[k * width + j] = (float)(((rest * 3) >> 8) - 1) * d;
        }
    }
}

void fh_decode_tq1_0(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 54, dst += 256) {
        const float d = load_f16(src + 52);
        decode_trits(src, 32, 5, d, dst);
        decode_trits(src + 32, 16, 5, d, dst + 160);
        decode_trits(src + 48, 4, 4, d, dst + 240);
    }
}

void fh_decode_tq2_0(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 66, dst += 256) {
        const float d = load_f16(src + 64);
        for (size_t half = 0; half < 2; half++) {
            const uint8_t *restrict q = src + 32 * half;
            for (unsigned k = 0; k < 4; k++) {
                float *restrict y = dst + 128 * half + 32 * k;
                for (size_t j = 0; j < 32; j++) y[j] = (float)(((q[j] >> (2 * k)) & 3) - 1) * d;
            }
        }
    }
}

/* E2M1 doubled, so that it is whole; minus zero is plain zero here. */
static const float e2m1_twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* The non-linear levels of IQ4_NL and IQ4_XS. */
static const float iq4_level[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* 32 numbers of 4 bits, each one of 16 levels times d. */
static inline void decode_levels(const uint8_t *restrict q, const float *restrict level, float d, float *restrict dst) {
    float value[16];
    for (size_t k = 0; k < 16; k++) value[k] = level[k] * d;
    for (size_t j = 0; j < 16; j++) {
        dst[j] = value[q[j] & 15];
        dst[j + 16] = value[q[j] >> 4];
    }
}

void fh_decode_mxfp4(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 17, dst += 32)
        decode_levels(src + 1, e2m1_twice, fh_widen_e8m0_half(src[0]), dst);
}

/* Four scales, then 8 bytes for each 16 numbers. The scale of the whole tensor is a tensor of its
 * own. */
void fh_decode_nvfp4(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 36, dst += 64) {
        for (size_t s = 0; s < 4; s++) {
            const float d = fh_widen_ue4m3_half(src[s]);
            const uint8_t *restrict q = src + 4 + 8 * s;
            float *restrict y = dst + 16 * s;
            for (size_t j = 0; j < 8; j++) {
                y[j] = e2m1_twice[q[j] & 15] * d;
                y[j + 8] = e2m1_twice[q[j] >> 4] * d;
            }
        }
    }
}

void fh_decode_iq4_nl(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 18, dst += 32) decode_levels(src + 2, iq4_level, load_f16(src), dst);
}

/* d, the high two bits of eight scales in 16 bits, their low four bits, then 16 bytes for each 32
 * numbers. */
void fh_decode_iq4_xs(const uint8_t *restrict src, float *restrict dst, size_t n) {
    for (size_t b = 0; b < n; b++, src += 136, dst += 256) {
        const float d = load_f16(src);
        const unsigned high = fh_load_u16(src + 2);
        for (unsigned i = 0; i < 8; i++) {
            int scale = (src[4 + i / 2] >> (4 * (i % 2))) & 15;
            scale |= (int)((high >> (2 * i)) & 3) << 4;
            decode_levels(src + 8 + 16 * i, iq4_level, d * (float)(scale - 32), dst + 32 * i);
        }
    }
}
