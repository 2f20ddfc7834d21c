/* kernel/ref_decode_block.c - number j of a legacy, ternary, 4-bit float or k-quant block.
 * SPDX-License-Identifier: Apache-2.0
 * Each function says where the fields of number j lie and does the format's float operations in the
 * format's order, one at a time. Blocks are described at the fast decoders; offsets here are
 * derived from j alone. */
#include <math.h>

#include "base/cursor.h"
#include "kernel/ref_decode.h"

/* Low halves of n/2 bytes are the first n/2 numbers, high halves the rest. */
static int half_byte(const uint8_t *q, size_t j, size_t n) { return j < n / 2 ? q[j] % 16 : q[j - n / 2] / 16; }

static int bit_of(const uint8_t *p, size_t j) { return (p[j / 8] >> (j % 8)) & 1; }

static int signed_byte(uint8_t b) { return b < 128 ? b : b - 256; }

float fh_ref_q4_0(const uint8_t *p, size_t j) {
    const float d = fh_ref_f16(p);
    return (float)(half_byte(p + 2, j, 32) - 8) * d;
}

float fh_ref_q4_1(const uint8_t *p, size_t j) {
    const float product = (float)half_byte(p + 4, j, 32) * fh_ref_f16(p);
    return product + fh_ref_f16(p + 2);
}

float fh_ref_q5_0(const uint8_t *p, size_t j) {
    const int q = half_byte(p + 6, j, 32) + 16 * bit_of(p + 2, j);
    return (float)(q - 16) * fh_ref_f16(p);
}

float fh_ref_q5_1(const uint8_t *p, size_t j) {
    const int q = half_byte(p + 8, j, 32) + 16 * bit_of(p + 4, j);
    const float product = (float)q * fh_ref_f16(p);
    return product + fh_ref_f16(p + 2);
}

float fh_ref_q8_0(const uint8_t *p, size_t j) { return (float)signed_byte(p[2 + j]) * fh_ref_f16(p); }

float fh_ref_q8_1(const uint8_t *p, size_t j) { return (float)signed_byte(p[4 + j]) * fh_ref_f16(p); }

float fh_ref_q8_k(const uint8_t *p, size_t j) { return fh_load_f32(p) * (float)signed_byte(p[4 + j]); }

float fh_ref_q1_0(const uint8_t *p, size_t j) {
    const float d = fh_ref_f16(p);
    return bit_of(p + 2, j) ? d : -d;
}

float fh_ref_q2_0(const uint8_t *p, size_t j) {
    const int q = bit_of(p + 2, 2 * j) + 2 * bit_of(p + 2, 2 * j + 1);
    return (float)(q - 1) * fh_ref_f16(p);
}

/* The byte stands for byte / 256 in base 3, whose digits after the point are the numbers plus
 * one. */
float fh_ref_tq1_0(const uint8_t *p, size_t j) {
    size_t byte, digit;
    if (j < 160) {
        byte = j % 32, digit = j / 32;
    } else if (j < 240) {
        byte = 32 + (j - 160) % 16, digit = (j - 160) / 16;
    } else {
        byte = 48 + (j - 240) % 4, digit = (j - 240) / 4;
    }
    unsigned rest = p[byte];
    for (size_t i = 0; i < digit; i++) rest = rest * 3 % 256;
    const int q = (int)(rest * 3 / 256);
    return (float)(q - 1) * fh_ref_f16(p + 52);
}

float fh_ref_tq2_0(const uint8_t *p, size_t j) {
    const int q = (p[j / 128 * 32 + j % 32] >> (j / 32 % 4 * 2)) & 3;
    return (float)(q - 1) * fh_ref_f16(p + 64);
}

/* E2M1 times two, as a whole number: the sign of zero is lost. */
static int e2m1_twice(int code) {
    const int magnitude = (int)(2.0f * fh_ref_small((unsigned)code % 8, 2, 1, 1));
    return code < 8 ? magnitude : -magnitude;
}

float fh_ref_mxfp4(const uint8_t *p, size_t j) {
    const float half_scale = (float)ldexp(1.0, p[0] - 128);
    return (float)e2m1_twice(half_byte(p + 1, j, 32)) * half_scale;
}

float fh_ref_nvfp4(const uint8_t *p, size_t j) {
    const size_t sub = j / 16;
    const uint8_t s = p[sub];
    const float half_scale = s == 0x7f ? 0.0f : 0.5f * fh_ref_small(s % 128, 4, 3, 7);
    return (float)e2m1_twice(half_byte(p + 4 + 8 * sub, j % 16, 16)) * half_scale;
}

static const int iq4_level[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

float fh_ref_iq4_nl(const uint8_t *p, size_t j) { return fh_ref_f16(p) * (float)iq4_level[half_byte(p + 2, j, 32)]; }

float fh_ref_iq4_xs(const uint8_t *p, size_t j) {
    const size_t g = j / 32;
    const int low = (p[4 + g / 2] >> (g % 2 * 4)) & 15, high = (fh_load_u16(p + 2) >> (2 * g)) & 3;
    const float dl = fh_ref_f16(p) * (float)(low + 16 * high - 32);
    return dl * (float)iq4_level[half_byte(p + 8 + 16 * g, j % 32, 32)];
}

/* Two bits of number j where each 32 bytes hold four runs of 32 numbers. */
static int two_bits(const uint8_t *q, size_t j) { return (q[j / 128 * 32 + j % 32] >> (j / 32 % 4 * 2)) & 3; }

float fh_ref_q2_k(const uint8_t *p, size_t j) {
    const uint8_t s = p[j / 16];
    const float dl = fh_ref_f16(p + 80) * (float)(s % 16);
    const float ml = fh_ref_f16(p + 82) * (float)(s / 16);
    const float product = dl * (float)two_bits(p + 16, j);
    return product - ml;
}

float fh_ref_q3_k(const uint8_t *p, size_t j) {
    const size_t g = j / 16;
    const int low = half_byte(p + 96, g, 16), high = (p[104 + g % 4] >> (g / 4 * 2)) & 3;
    const float dl = fh_ref_f16(p + 108) * (float)(low + 16 * high - 32);
    const int third = (p[j % 32] >> (j / 32)) & 1;
    return dl * (float)(two_bits(p + 32, j) - (third ? 0 : 4));
}

/* Scale (which = 0) or offset (which = 1) of group g out of the 12 bytes that Q4_K and Q5_K
 * share. */
static int six_bits(const uint8_t *s, size_t g, size_t which) {
    if (g < 4) return s[g + 4 * which] % 64;
    const int low = which ? s[g + 4] / 16 : s[g + 4] % 16;
    return low + 16 * (s[g - 4 + 4 * which] / 64);
}

static float scaled_code(const uint8_t *p, size_t j, int q) {
    const size_t g = j / 32;
    const float dl = fh_ref_f16(p) * (float)six_bits(p + 4, g, 0);
    const float ml = fh_ref_f16(p + 2) * (float)six_bits(p + 4, g, 1);
    const float product = dl * (float)q;
    return product - ml;
}

float fh_ref_q4_k(const uint8_t *p, size_t j) { return scaled_code(p, j, half_byte(p + 16 + j / 64 * 32, j % 64, 64)); }

float fh_ref_q5_k(const uint8_t *p, size_t j) {
    const int fifth = (p[16 + j % 32] >> (j / 32)) & 1;
    return scaled_code(p, j, half_byte(p + 48 + j / 64 * 32, j % 64, 64) + 16 * fifth);
}

float fh_ref_q6_k(const uint8_t *p, size_t j) {
    const int low = half_byte(p + j / 128 * 64, j % 128, 128), high = two_bits(p + 128, j);
    const float dl = fh_ref_f16(p + 208) * (float)signed_byte(p[192 + j / 16]);
    return dl * (float)(low + 16 * high - 32);
}
