/* kernel/product_pack.c - the kinds of panels, and how rows of a file are interleaved into their units.
 * SPDX-License-Identifier: Apache-2.0
 * Bytes are moved, hardly ever changed: codes stay in the file's bits, and two codes of a byte stay together. Only
 * what has no whole bytes is unpacked: scales of 6 bits become 8, the single fifth bits of Q5_0 change places.
 * Nothing is refused: rows were checked to be whole blocks. */
#include "base/cursor.h"
#include "kernel/product_part.h"

typedef const uint8_t *const rows_of[FH_HALF];

typedef uint32_t words __attribute__((vector_size(16), aligned(1), may_alias));
#define WORDS(p) (*(const words *)(const void *)(p))
#define PUT(p, v) (*(words *)(void *)(p) = (v))

/* Bytes [at, at + 4 n) of each row as n quads: words turned, four by four. n is a multiple of 4. */
static inline void quads(rows_of row, size_t at, size_t n, uint8_t *dst) {
    for (size_t r = 0; r < FH_HALF; r += 4) {
        for (size_t g = 0; g < n; g += 4) {
            const words a = WORDS(row[r] + at + 4 * g), b = WORDS(row[r + 1] + at + 4 * g);
            const words c = WORDS(row[r + 2] + at + 4 * g), d = WORDS(row[r + 3] + at + 4 * g);
            const words ac = __builtin_shufflevector(a, c, 0, 4, 1, 5), bd = __builtin_shufflevector(b, d, 0, 4, 1, 5);
            const words ca = __builtin_shufflevector(a, c, 2, 6, 3, 7), db = __builtin_shufflevector(b, d, 2, 6, 3, 7);
            uint8_t *to = dst + g * FH_QUAD_BYTES + 4 * r;
            PUT(to, __builtin_shufflevector(ac, bd, 0, 4, 1, 5));
            PUT(to + FH_QUAD_BYTES, __builtin_shufflevector(ac, bd, 2, 6, 3, 7));
            PUT(to + 2 * FH_QUAD_BYTES, __builtin_shufflevector(ca, db, 0, 4, 1, 5));
            PUT(to + 3 * FH_QUAD_BYTES, __builtin_shufflevector(ca, db, 2, 6, 3, 7));
        }
    }
}

static inline void halfwords(rows_of row, size_t at, uint8_t *dst) {
    for (size_t r = 0; r < FH_HALF; r++) memcpy(dst + 2 * r, row[r] + at, 2);
}

static inline void bytes(rows_of row, size_t at, uint8_t *dst) {
    for (size_t r = 0; r < FH_HALF; r++) dst[r] = row[r][at];
}

/* ---- blocks of 32 with one or two f16 ---- */
static inline void pack_simple(rows_of row, size_t n_block, size_t file_bytes, size_t n_scale, size_t n_quad,
                               uint8_t *unit, uint8_t *codes) {
    for (size_t b = 0; b < n_block; b++) {
        for (size_t s = 0; s < n_scale; s++) halfwords(row, b * file_bytes + 2 * s, unit + (b * n_scale + s) * 32);
        quads(row, (b + 1) * file_bytes - 4 * n_quad, n_quad, codes + b * n_quad * FH_QUAD_BYTES);
    }
}

/* Bit i of x is column i: bit c of byte k becomes bit k of ... byte i % 4, bit i / 4, so that a shift by the quad's
 * number finds four of them in place. */
static inline uint32_t spread_bits(uint32_t x) {
    uint32_t y = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t t = (x >> i) & 0x11111111u; /* bit 4 g is column 4 g + i */
        t = (t | t >> 3) & 0x03030303u;
        t = (t | t >> 6) & 0x000f000fu;
        y |= ((t | t >> 12) & 0xffu) << (8 * i);
    }
    return y;
}

static inline void pack_fifth(rows_of row, size_t n_block, size_t file_bytes, size_t n_scale, uint8_t *unit,
                              uint8_t *codes) {
    for (size_t b = 0; b < n_block; b++) {
        uint8_t *to = codes + b * 5 * FH_QUAD_BYTES;
        for (size_t s = 0; s < n_scale; s++) halfwords(row, b * file_bytes + 2 * s, unit + (b * n_scale + s) * 32);
        for (size_t r = 0; r < FH_HALF; r++) {
            const uint32_t bits = spread_bits(fh_load_u32(row[r] + b * file_bytes + 2 * n_scale));
            memcpy(to + 4 * r, &bits, 4);
        }
        quads(row, (b + 1) * file_bytes - 16, 4, to + FH_QUAD_BYTES);
    }
}

static const fh_panel_kind KIND[FH_PANEL_NVFP4 + 1];
#define CODES(id) (unit + fh_unit_codes_at(&KIND[FH_PANEL_##id], n_block))

static void pack_q4_0(rows_of row, size_t n_block, uint8_t *unit) {
    pack_simple(row, n_block, 18, 1, 4, unit, CODES(Q4_0));
}
static void pack_q4_1(rows_of row, size_t n_block, uint8_t *unit) {
    pack_simple(row, n_block, 20, 2, 4, unit, CODES(Q4_1));
}
static void pack_q8_0(rows_of row, size_t n_block, uint8_t *unit) {
    pack_simple(row, n_block, 34, 1, 8, unit, CODES(Q8_0));
}
static void pack_q5_0(rows_of row, size_t n_block, uint8_t *unit) {
    pack_fifth(row, n_block, 22, 1, unit, CODES(Q5_0));
}
static void pack_q5_1(rows_of row, size_t n_block, uint8_t *unit) {
    pack_fifth(row, n_block, 24, 2, unit, CODES(Q5_1));
}

/* ---- blocks of 256 ---- */
/* Eight scales and eight mins of 6 bits in 12 bytes: the layout is told in decode_k.c. */
static void k_scales(rows_of row, size_t at, uint8_t *dst) {
    for (size_t r = 0; r < FH_HALF; r++) {
        const uint8_t *s = row[r] + at;
        for (size_t g = 0; g < 4; g++) {
            dst[32 * g + r] = s[g] & 63;
            dst[32 * g + 16 + r] = s[g + 4] & 63;
            dst[32 * (g + 4) + r] = (uint8_t)((s[g + 8] & 15) | (s[g] >> 6) << 4);
            dst[32 * (g + 4) + 16 + r] = (uint8_t)((s[g + 8] >> 4) | (s[g + 4] >> 6) << 4);
        }
    }
}

static void pack_q4_k(rows_of row, size_t n_block, uint8_t *unit) {
    halfwords(row, 0, unit);
    halfwords(row, 2, unit + 32);
    k_scales(row, 4, unit + 64);
    quads(row, 16, 32, CODES(Q4_K));
}

static void pack_q5_k(rows_of row, size_t n_block, uint8_t *unit) {
    halfwords(row, 0, unit);
    halfwords(row, 2, unit + 32);
    k_scales(row, 4, unit + 64);
    quads(row, 16, 40, CODES(Q5_K)); /* fifth bits, then nibbles */
}

static void pack_q6_k(rows_of row, size_t n_block, uint8_t *unit) {
    halfwords(row, 208, unit);
    for (size_t g = 0; g < 16; g++) bytes(row, 192 + g, unit + 32 + 16 * g);
    quads(row, 0, 48, CODES(Q6_K)); /* low four bits, then two high ones */
}

static void pack_q3_k(rows_of row, size_t n_block, uint8_t *unit) {
    halfwords(row, 108, unit);
    for (size_t r = 0; r < FH_HALF; r++) {
        const uint8_t *s = row[r] + 96;
        for (size_t g = 0; g < 16; g++) {
            const int low = (s[g % 8] >> (g / 8 * 4)) & 15, high = (s[8 + g % 4] >> (g / 4 * 2)) & 3;
            unit[32 + 16 * g + r] = (uint8_t)((low | high << 4) - 32);
        }
    }
    quads(row, 0, 24, CODES(Q3_K)); /* third bits, then pairs */
}

static void pack_q2_k(rows_of row, size_t n_block, uint8_t *unit) {
    halfwords(row, 80, unit);
    halfwords(row, 82, unit + 32);
    for (size_t g = 0; g < 16; g++) bytes(row, g, unit + 64 + 16 * g);
    quads(row, 16, 16, CODES(Q2_K));
}

static void pack_iq4_nl(rows_of row, size_t n_block, uint8_t *unit) {
    pack_simple(row, n_block, 18, 1, 4, unit, CODES(IQ4_NL));
}

static void pack_iq4_xs(rows_of row, size_t n_block, uint8_t *unit) {
    halfwords(row, 0, unit);
    for (size_t r = 0; r < FH_HALF; r++) {
        const uint8_t *s = row[r];
        const unsigned high = fh_load_u16(s + 2);
        for (unsigned g = 0; g < 8; g++) {
            const unsigned low = ((unsigned)s[4 + g / 2] >> (4 * (g % 2))) & 15;
            unit[32 + 16 * g + r] = (uint8_t)((low | ((high >> (2 * g)) & 3) << 4) - 32u);
        }
    }
    quads(row, 8, 32, CODES(IQ4_XS));
}

static void pack_mxfp4(rows_of row, size_t n_block, uint8_t *unit) {
    for (size_t b = 0; b < n_block; b++) {
        bytes(row, 17 * b, unit + 16 * b);
        quads(row, 17 * b + 1, 4, CODES(MXFP4) + b * 4 * FH_QUAD_BYTES);
    }
}

/* Two blocks of 32 each 36 bytes: four scales, then 8 bytes for each 16. */
static void pack_nvfp4(rows_of row, size_t n_block, uint8_t *unit) {
    for (size_t b = 0; b < n_block; b += 2) {
        for (size_t s = 0; s < 4; s++) bytes(row, 18 * b + s, unit + 32 * b + 16 * s);
        quads(row, 18 * b + 4, 8, CODES(NVFP4) + b * 4 * FH_QUAD_BYTES);
    }
}

/* head, scales of a block, codes of a block, columns of a scale, reach, min */
#define ROW(id, head, scale, code, block, reach, min, fn) \
    [FH_PANEL_##id] = {FH_DTYPE_##id, FH_PANEL_##id, head, scale, code, block, reach, min, fn, NULL}
static const fh_panel_kind KIND[FH_PANEL_NVFP4 + 1] = {
    ROW(Q4_0, 0, 32, 256, 32, 8, false, pack_q4_0),       ROW(Q4_1, 0, 64, 256, 32, 15, true, pack_q4_1),
    ROW(Q5_0, 0, 32, 320, 32, 16, false, pack_q5_0),      ROW(Q5_1, 0, 64, 320, 32, 31, true, pack_q5_1),
    ROW(Q8_0, 0, 32, 512, 32, 128, false, pack_q8_0),     ROW(Q2_K, 64, 32, 128, 16, 3, true, pack_q2_k),
    ROW(Q3_K, 32, 32, 192, 16, 4, false, pack_q3_k),      ROW(Q4_K, 64, 32, 256, 32, 15, true, pack_q4_k),
    ROW(Q5_K, 64, 32, 320, 32, 31, true, pack_q5_k),      ROW(Q6_K, 32, 32, 384, 16, 32, false, pack_q6_k),
    ROW(IQ4_NL, 0, 32, 256, 32, 127, false, pack_iq4_nl), ROW(IQ4_XS, 32, 16, 256, 32, 127, false, pack_iq4_xs),
    ROW(MXFP4, 0, 16, 256, 32, 12, false, pack_mxfp4),    ROW(NVFP4, 0, 32, 256, 16, 12, false, pack_nvfp4),
};

const fh_panel_kind *fh_panel_find(fh_dtype t) {
    for (size_t i = 0; i < FH_COUNT(KIND); i++) {
        if (KIND[i].dtype == t) return &KIND[i];
    }
    return NULL;
}
