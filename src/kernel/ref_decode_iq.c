/* kernel/ref_decode_iq.c - number j of an i-quant block.
 * SPDX-License-Identifier: Apache-2.0
 * The codebooks are read one level at a time; what a level stands for is a list here, not the
 * arithmetic that the fast decoders use. Signs: bit set means minus; where seven bits are stored
 * the eighth is their parity. */
#include "base/cursor.h"
#include "kernel/iq_tables.h"
#include "kernel/ref_decode.h"

static int iq2_level(uint16_t word, size_t k) {
    static const int level[4] = {8, 25, 43, 0};
    return level[(word >> (2 * k)) & 3];
}

static float sign_of(unsigned eight, size_t k) { return (eight >> k) & 1 ? -1.0f : 1.0f; }

static float sign_of_seven(unsigned seven, size_t k) {
    unsigned ones = 0;
    for (unsigned i = 0; i < 7; i++) ones += (seven >> i) & 1;
    return sign_of(seven + (ones % 2) * 128, k);
}

static unsigned half(const uint8_t *p, size_t i) { return ((unsigned)p[i / 2] >> (i % 2 * 4)) & 15u; }

/* The scale of the types with 4-bit scales counted in halves: d * (s + 1/2) * step. */
static float scale_by_halves(const uint8_t *d, unsigned s, float step) {
    const float plus_half = 0.5f + (float)s, product = fh_ref_f16(d) * plus_half;
    return product * step;
}

static float signed_level(float db, int level, float sign) {
    const float magnitude = db * (float)level;
    return magnitude * sign;
}

float fh_ref_iq2_xxs(const uint8_t *p, size_t j) {
    const uint8_t *group = p + 2 + j / 32 * 8;
    const size_t k = j % 32 / 8;
    const uint32_t top = fh_load_u32(group + 4);
    const float db = scale_by_halves(p, top >> 28, 0.25f);
    return signed_level(db, iq2_level(fh_iq2_xxs_book[group[k]], j % 8), sign_of_seven((top >> (7 * k)) & 127, j % 8));
}

float fh_ref_iq2_xs(const uint8_t *p, size_t j) {
    const unsigned q = fh_load_u16(p + 2 + j / 8 * 2);
    const float db = scale_by_halves(p, half(p + 66, j / 16), 0.25f);
    return signed_level(db, iq2_level(fh_iq2_xs_book[q % 512], j % 8), sign_of_seven(q / 512, j % 8));
}

float fh_ref_iq2_s(const uint8_t *p, size_t j) {
    const size_t k = j / 8;
    const unsigned high = ((unsigned)p[66 + k / 4] >> (k % 4 * 2)) & 3u;
    const float db = scale_by_halves(p, half(p + 74, j / 16), 0.25f);
    return signed_level(db, iq2_level(fh_iq2_s_book[p[2 + k] + 256 * high], j % 8), sign_of(p[34 + k], j % 8));
}

float fh_ref_iq3_xxs(const uint8_t *p, size_t j) {
    static const int level[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    const uint32_t top = fh_load_u32(p + 66 + j / 32 * 4);
    const float db = scale_by_halves(p, top >> 28, 0.5f);
    const uint16_t word = fh_iq3_xxs_book[p[2 + j / 4]];
    return signed_level(db, level[(word >> (j % 4 * 3)) & 7], sign_of_seven((top >> (j % 32 / 8 * 7)) & 127, j % 8));
}

float fh_ref_iq3_s(const uint8_t *p, size_t j) {
    const size_t k = j / 4;
    const unsigned ninth = ((unsigned)p[66 + k / 8] >> (k % 8)) & 1u;
    const float db = fh_ref_f16(p) * (float)(1 + 2 * half(p + 106, j / 32));
    const uint16_t word = fh_iq3_s_book[p[2 + k] + 256 * ninth];
    return signed_level(db, 1 + 2 * ((word >> (j % 4 * 3)) & 7), sign_of(p[74 + j / 8], j % 8));
}

static float iq1_value(unsigned index, size_t k, bool minus, float dl) {
    const int level = ((fh_iq1_book[index] >> (2 * k)) & 3) - 1;
    return dl * ((float)level + (minus ? -0.125f : 0.125f));
}

float fh_ref_iq1_s(const uint8_t *p, size_t j) {
    const unsigned word = fh_load_u16(p + 34 + j / 32 * 2);
    const unsigned high = (word >> (j % 32 / 8 * 3)) & 7;
    const float dl = fh_ref_f16(p) * (float)(2 * (word / 4096 % 8) + 1);
    return iq1_value(p[2 + j / 8] + 256 * high, j % 8, word >= 32768, dl);
}

float fh_ref_iq1_m(const uint8_t *p, size_t j) {
    uint8_t d[2];
    d[0] = (uint8_t)(p[49] / 16 + p[51] / 16 * 16);
    d[1] = (uint8_t)(p[53] / 16 + p[55] / 16 * 16);
    const unsigned scales = fh_load_u16(p + 48 + j / 64 * 2);
    const float dl = fh_ref_f16(d) * (float)(2 * ((scales >> (j % 64 / 16 * 3)) & 7) + 1);
    const unsigned top = half(p + 32, j / 8);
    return iq1_value(p[j / 8] + 256 * (top % 8), j % 8, top >= 8, dl);
}
