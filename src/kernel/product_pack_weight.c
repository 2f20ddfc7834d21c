/* kernel/product_pack_weight.c - panels of packed weights: integers with scales and zeros of groups, and E2M1.
 * SPDX-License-Identifier: Apache-2.0
 * Zeros become mins (scale times zero), so that one kind serves every way of storing them. Codes of less than 4 bits
 * take 4 here. What has no kind is decoded each time: maps of columns, flat groups, tables, groups that are no
 * multiple of 32, weights whose rows lie in flat bytes at odd places. */
#include "base/cursor.h"
#include "kernel/product_part.h"
#include "kernel/weight_decode.h"

/* AWQ: which nibble of a word holds the row that is this number of its eight. */
static const uint8_t awq_place[8] = {0, 4, 1, 5, 2, 6, 3, 7};

/* Codes [col, col + 8) of a row, the first in the low four bits. */
static uint32_t eight_codes(const fh_weight *w, uint64_t row, uint64_t col) {
    const uint64_t rows = fh_weight_rows(w), cols = fh_weight_cols(w);
    const uint8_t *p = w->codes->data.ptr;
    uint32_t x = 0;
    if (w->bits == 4 && w->packing == FH_PACK_I32_IN) return fh_load_u32(p + 4 * (row * (cols / 8) + col / 8));
    if (w->bits == 4 && w->packing == FH_PACK_I32_OUT) return fh_load_u32(p + 4 * (col / 8 * rows + row));
    if (w->packing == FH_PACK_NIBBLE) return fh_load_u32(p + (row * cols + col) / 2);
    if (w->packing == FH_PACK_AWQ) {
        for (uint32_t i = 0; i < 8; i++) {
            const uint32_t word = fh_load_u32(p + 4 * ((col + i) * (rows / 8) + row / 8));
            x |= ((word >> (4 * awq_place[row % 8])) & 15) << (4 * i);
        }
        return x;
    }
    for (uint32_t i = 0; i < 8; i++) x |= fh_weight_code(w, row, col + i) << (4 * i);
    return x;
}

/* The eight nibbles of a word, a byte each. */
static uint64_t spread(uint32_t v) {
    uint64_t x = ((uint64_t)v | (uint64_t)v << 16) & 0x0000ffff0000ffffu;
    x = (x | x << 8) & 0x00ff00ff00ff00ffu;
    return (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
}

/* `run` columns: those of the first half in low halves of bytes, of the second in high ones. run: 16 or 32. */
static void nibble_run(const fh_weight *w, uint64_t row, uint64_t col, size_t run, size_t r, uint8_t *codes) {
    for (size_t k = 0; k < run / 2; k += 8) {
        const uint64_t both = spread(eight_codes(w, row, col + k)) | spread(eight_codes(w, row, col + run / 2 + k))
                                                                         << 4;
        const uint32_t first = (uint32_t)both, second = (uint32_t)(both >> 32);
        memcpy(codes + k / 4 * FH_QUAD_BYTES + 4 * r, &first, 4);
        memcpy(codes + (k / 4 + 1) * FH_QUAD_BYTES + 4 * r, &second, 4);
    }
}

static float factor_of(const fh_weight *w, uint64_t row, uint64_t col) {
    const float s = fh_weight_scale(w, row, col);
    return w->factor != 0.0f ? s * w->factor : s;
}

static void put_f32(uint8_t *to, float f) { memcpy(to, &f, 4); }

typedef const uint64_t rows_of[FH_HALF];

static void pack_w4(const fh_panel_kind *k, size_t group, const fh_weight *w, rows_of row, uint64_t col, size_t n_block,
                    uint8_t *unit) {
    uint8_t *codes = unit + fh_unit_codes_at(k, n_block);
    for (size_t r = 0; r < FH_HALF; r++) {
        for (size_t g = 0; g < n_block * FH_BLOCK / group; g++) {
            const float s = factor_of(w, row[r], col + g * group);
            put_f32(unit + g * 128 + 4 * r, s);
            put_f32(unit + g * 128 + 64 + 4 * r, s * fh_weight_zero(w, row[r], col + g * group));
        }
        for (size_t b = 0; b < n_block; b++) {
            nibble_run(w, row[r], col + b * FH_BLOCK, FH_BLOCK, r, codes + b * 4 * FH_QUAD_BYTES);
        }
    }
}

static void pack_w8(const fh_panel_kind *k, size_t group, const fh_weight *w, rows_of row, uint64_t col, size_t n_block,
                    uint8_t *unit) {
    uint8_t *codes = unit + fh_unit_codes_at(k, n_block);
    const bool plain = w->packing == FH_PACK_NONE;
    const float middle = plain ? 0.0f : 128.0f;
    for (size_t r = 0; r < FH_HALF; r++) {
        for (size_t g = 0; g < n_block * FH_BLOCK / group; g++) {
            const float s = factor_of(w, row[r], col + g * group);
            put_f32(unit + g * 128 + 4 * r, s);
            put_f32(unit + g * 128 + 64 + 4 * r, s * (fh_weight_zero(w, row[r], col + g * group) - middle));
        }
        for (size_t c = 0; c < n_block * FH_BLOCK; c++) {
            const uint64_t at = row[r] * fh_weight_cols(w) + col + c;
            codes[c / 4 * FH_QUAD_BYTES + 4 * r + c % 4] =
                plain ? w->codes->data.ptr[at] : (uint8_t)(fh_weight_code(w, row[r], col + c) ^ 128u);
        }
    }
}

static void pack_s4(const fh_panel_kind *k, bool bf16, const fh_weight *w, rows_of row, uint64_t col, size_t n_block,
                    uint8_t *unit) {
    uint8_t *codes = unit + fh_unit_codes_at(k, n_block);
    for (size_t r = 0; r < FH_HALF; r++) {
        for (size_t b = 0; b < n_block; b++) {
            const float s = factor_of(w, row[r], col + b * FH_BLOCK);
            uint8_t bits[4];
            put_f32(bits, s);
            if (bf16) memcpy(unit + b * 32 + 2 * r, bits + 2, 2); /* exact: the scale is one */
            else memcpy(unit + b * 64 + 4 * r, bits, 4);
            nibble_run(w, row[r], col + b * FH_BLOCK, FH_BLOCK, r, codes + b * 4 * FH_QUAD_BYTES);
        }
    }
}

static void pack_mxfp4(const fh_panel_kind *k, const fh_weight *w, rows_of row, uint64_t col, size_t n_block,
                       uint8_t *unit) {
    uint8_t *codes = unit + fh_unit_codes_at(k, n_block);
    for (size_t r = 0; r < FH_HALF; r++) {
        for (size_t b = 0; b < n_block; b++) {
            uint8_t bits[4];
            put_f32(bits, fh_weight_scale(w, row[r], col + b * FH_BLOCK)); /* 2^(e - 127), subnormal for e = 0 */
            const uint32_t u = fh_load_u32(bits);
            unit[b * 16 + r] = (uint8_t)(u >> 23);
            nibble_run(w, row[r], col + b * FH_BLOCK, FH_BLOCK, r, codes + b * 4 * FH_QUAD_BYTES);
        }
    }
}

/* The factor of a row: what its scales are multiplied with. The scale's own byte is kept. */
static void pack_e2m1(const fh_panel_kind *k, const fh_weight *w, rows_of row, uint64_t col, size_t n_block,
                      uint8_t *unit) {
    uint8_t *codes = unit + fh_unit_codes_at(k, n_block);
    const uint64_t groups = fh_weight_cols(w) / 16;
    for (size_t r = 0; r < FH_HALF; r++) {
        float global = 1.0f;
        if (w->global != NULL) {
            const uint64_t one = w->global->data.len == 4 ? 0 : row[r] / fh_weight_rows(w);
            const float f = fh_load_f32(w->global->data.ptr + 4 * one);
            global = w->global_divides ? 1.0f / f : f;
        }
        if (w->factor != 0.0f) global = global * w->factor;
        put_f32(unit + 4 * r, global);
        for (size_t g = 0; g < n_block * 2; g++) {
            const uint64_t number = w->scale_shared ? row[r] % fh_weight_rows(w) : row[r];
            unit[64 + g * 16 + r] = w->scale->data.ptr[number * groups + col / 16 + g];
            nibble_run(w, row[r], col + g * 16, 16, r, codes + g * 2 * FH_QUAD_BYTES);
        }
    }
}

enum { W4_32, W4_64, W4_128, S4_32, S4_32_BF16, W8_32, W8_128, E2M1_16, E2M1_32, N_KIND };
static const fh_panel_kind KIND[N_KIND];
#define FN(id, call, ...) \
    static void fn_##id(const fh_weight *w, rows_of row, uint64_t col, size_t n_block, uint8_t *unit) { \
        call(&KIND[id], __VA_ARGS__, row, col, n_block, unit); \
    }
FN(W4_32, pack_w4, 32, w)
FN(W4_64, pack_w4, 64, w)
FN(W4_128, pack_w4, 128, w)
FN(S4_32, pack_s4, false, w)
FN(S4_32_BF16, pack_s4, true, w)
FN(W8_32, pack_w8, 32, w)
FN(W8_128, pack_w8, 128, w)
FN(E2M1_16, pack_e2m1, w)
FN(E2M1_32, pack_mxfp4, w)

/* head, scales of a block, codes of a block, columns of a scale, reach, min */
#define ROW(id, panel, head, scale, code, block, reach, min) \
    [id] = {FH_DTYPE_COUNT, FH_PANEL_##panel, head, scale, code, block, reach, min, NULL, fn_##id}
static const fh_panel_kind KIND[N_KIND] = {
    ROW(W4_32, W4_32, 0, 128, 256, 32, 15, true),          ROW(W4_64, W4_64, 0, 64, 256, 32, 15, true),
    ROW(W4_128, W4_128, 0, 32, 256, 32, 15, true),         ROW(S4_32, S4_32, 0, 64, 256, 32, 8, false),
    ROW(S4_32_BF16, S4_32_BF16, 0, 32, 256, 32, 8, false), ROW(W8_32, W8_32, 0, 128, 512, 32, 128, true),
    ROW(W8_128, W8_128, 0, 32, 512, 32, 128, true),        ROW(E2M1_16, E2M1_16, 64, 32, 256, 16, 12, false),
    ROW(E2M1_32, MXFP4, 0, 16, 256, 32, 12, false),
};

/* Groups of n columns never share a block of the weight's own groups' border. */
static bool groups_of(const fh_weight *w, uint64_t n) {
    const uint64_t cols = fh_weight_cols(w);
    if (cols % n != 0) return false;
    return w->scale == NULL || w->group_cols % n == 0 || w->group_cols >= cols;
}

static const fh_panel_kind *find_e2m1(const fh_weight *w) {
    if (w->zero_kind != FH_ZERO_NONE || w->scale == NULL || w->packing != FH_PACK_NIBBLE) return NULL;
    const bool e8m0 = w->scale_is_e8m0 || w->scale->dtype == FH_DTYPE_F8_E8M0;
    if (e8m0 && groups_of(w, 32) && w->global == NULL && w->factor == 0.0f) return &KIND[E2M1_32];
    if (w->scale->dtype != FH_DTYPE_F8_E4M3 || w->group_cols != 16 || w->group_rows != 1 || w->scale_transposed) {
        return NULL;
    }
    return fh_weight_cols(w) % 64 == 0 ? &KIND[E2M1_16] : NULL;
}

const fh_panel_kind *fh_panel_find_weight(const fh_weight *w) {
    const bool i8 = w->packing == FH_PACK_NONE && w->codebook == FH_CODEBOOK_VALUE && w->codes->dtype == FH_DTYPE_I8;
    if (w->group_index != NULL || w->flat_group != 0 || w->scale_table != NULL || fh_weight_cols(w) % 32 != 0)
        return NULL;
    if (w->codebook == FH_CODEBOOK_E2M1) return find_e2m1(w);
    if (!i8 && (w->codebook != FH_CODEBOOK_UINT || w->packing == FH_PACK_NIBBLE_HIGH)) return NULL;
    if (!groups_of(w, 32)) return NULL;
    if (i8 || w->bits == 8) return groups_of(w, 128) ? &KIND[W8_128] : &KIND[W8_32];
    if (w->bits > 4) return NULL;
    if (groups_of(w, 128)) return &KIND[W4_128];
    if (groups_of(w, 64)) return &KIND[W4_64];
    if (w->bits != 4 || w->zero_kind != FH_ZERO_CONST || w->zero_const != 8) return &KIND[W4_32];
    const bool bf16 = w->scale != NULL && w->scale->dtype == FH_DTYPE_BF16 && w->global == NULL && w->factor == 0.0f;
    return bf16 ? &KIND[S4_32_BF16] : &KIND[S4_32];
}
