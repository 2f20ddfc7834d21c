/* kernel/weight_decode.c - logical weights to f32, element by element.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Every f32 operation stands on a line of its own, in the order that tensor/weight.h fixes; the
 * build forbids contraction, so every machine gives the same bits. Indices that come out of mapped data (group
 * maps) are kept in range here as well: another program may have changed the file since it was checked. */
#include "kernel/weight_decode.h"

#include "base/cursor.h"
#include "kernel/decode.h"

static const float e2m1[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                               -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
/* AWQ: which nibble of a word holds the row that is this number of its eight. */
static const uint8_t awq_place[8] = {0, 4, 1, 5, 2, 6, 3, 7};

static uint32_t word_at(const fh_tensor *t, uint64_t i) { return fh_load_u32(t->data.ptr + 4 * i); }
static uint32_t low_bits(uint32_t v, uint32_t bits) { return v & ((1u << bits) - 1u); }

/* Code number i of a bit stream whose words lie `stride` apart, starting at word `first`. */
static uint32_t stream_code(const fh_tensor *t, uint64_t first, uint64_t stride, uint64_t i, uint32_t bits) {
    uint64_t bit = i * bits;
    uint32_t shift = (uint32_t)(bit % 32);
    uint32_t v = word_at(t, first + bit / 32 * stride) >> shift;
    if (shift + bits > 32) v |= word_at(t, first + (bit / 32 + 1) * stride) << (32 - shift);
    return low_bits(v, bits);
}

/* The same where each word holds whole codes only. */
static uint32_t word_code(const fh_tensor *t, uint64_t first, uint64_t stride, uint64_t i, uint32_t bits) {
    uint64_t per_word = 32 / bits;
    uint32_t v = word_at(t, first + i / per_word * stride);
    return low_bits(v >> (uint32_t)(i % per_word * bits), bits);
}

static uint64_t stream_words(uint64_t n, uint32_t bits) { return fh_ceil_div(n * bits, 32); }

uint32_t fh_weight_code(const fh_weight *w, uint64_t row, uint64_t col) {
    uint64_t cols = fh_weight_cols(w), rows = fh_weight_rows(w), at = row * cols + col;
    switch (w->packing) {
    case FH_PACK_I32_IN: return stream_code(w->codes, row * stream_words(cols, w->bits), 1, col, w->bits);
    case FH_PACK_I32_IN_WORDS: return word_code(w->codes, row * fh_ceil_div(cols, 32u / w->bits), 1, col, w->bits);
    case FH_PACK_I32_OUT: return stream_code(w->codes, row, rows, col, w->bits);
    case FH_PACK_AWQ: return low_bits(word_at(w->codes, col * (rows / 8) + row / 8) >> (4u * awq_place[row % 8]), 4);
    case FH_PACK_NIBBLE: return low_bits((uint32_t)w->codes->data.ptr[at / 2] >> (at % 2 ? 4 : 0), 4);
    case FH_PACK_NIBBLE_HIGH: return low_bits((uint32_t)w->codes->data.ptr[at / 2] >> (at % 2 ? 0 : 4), 4);
    case FH_PACK_NONE: break;
    }
    FH_BUG("a plain weight has no packed codes");
}

static uint64_t groups_along_in(const fh_weight *w) { return fh_ceil_div(fh_weight_cols(w), w->group_cols); }

static uint64_t col_group(const fh_weight *w, uint64_t col) {
    if (!w->group_index) return col / w->group_cols;
    uint32_t g = word_at(w->group_index, col);
    return g < groups_along_in(w) ? g : 0;
}

/* Where the scale (and an unpacked zero) of an element stands in its tensor. */
static uint64_t scale_place(const fh_weight *w, uint64_t row, uint64_t col) {
    if (w->flat_group) return (row * fh_weight_cols(w) + col) / w->flat_group;
    uint64_t rows = fh_weight_rows(w), down = fh_ceil_div(rows, w->group_rows);
    uint64_t r = row % rows / w->group_rows, c = col_group(w, col);
    if (w->scale_transposed) return c * down + r;
    uint64_t matrix = w->scale_shared ? 0 : row / rows;
    return (matrix * down + r) * groups_along_in(w) + c;
}

float fh_weight_zero(const fh_weight *w, uint64_t row, uint64_t col) {
    uint64_t rows = fh_weight_rows(w), r = row % FH_MAX(rows, 1u), groups, matrix;
    uint32_t z;
    switch (w->zero_kind) {
    case FH_ZERO_NONE: return 0.0f;
    case FH_ZERO_CONST: return (float)w->zero_const;
    case FH_ZERO_I32_OUT:
        z = stream_code(w->zero, col_group(w, col) * stream_words(rows, w->bits), 1, r, w->bits);
        return (float)low_bits(z + (uint32_t)w->zero_const, w->bits);
    case FH_ZERO_AWQ:
        z = word_at(w->zero, col_group(w, col) * (rows / 8) + r / 8) >> (4u * awq_place[r % 8]);
        return (float)low_bits(z, 4) + (float)w->zero_const;
    case FH_ZERO_I32_ROWS:
    case FH_ZERO_I32_ROWS_WORDS:
        groups = groups_along_in(w);
        matrix = row / rows;
        if (w->zero_kind == FH_ZERO_I32_ROWS)
            z = stream_code(w->zero, matrix * stream_words(rows, w->bits) * groups + col_group(w, col), groups, r,
                            w->bits);
        else
            z = word_code(w->zero, matrix * fh_ceil_div(rows, 32u / w->bits) * groups + col_group(w, col), groups, r,
                          w->bits);
        return (float)z + (float)w->zero_const;
    case FH_ZERO_TENSOR:
        return fh_ref_decode(w->zero->dtype, w->zero->data.ptr, (size_t)scale_place(w, row, col)) +
               (float)w->zero_const;
    }
    FH_BUG("unknown kind of zero point");
}

/* One for the whole weight or one per matrix. */
static float global_of(const fh_weight *w, uint64_t row) {
    uint64_t one = w->global->data.len == 4 ? 0 : row / fh_weight_rows(w);
    return fh_load_f32(w->global->data.ptr + 4 * one);
}

float fh_weight_scale(const fh_weight *w, uint64_t row, uint64_t col) {
    if (!w->scale) return w->global ? global_of(w, row) : 1.0f;
    size_t at = (size_t)scale_place(w, row, col);
    if (w->scale_table) { /* two levels: table entry times the outer scale, plus the offset */
        float s = fh_load_f32(w->scale_table->data.ptr + 4 * (size_t)w->scale->data.ptr[at]);
        s = s * fh_load_f32(w->scale_absmax->data.ptr + 4 * (at / w->scale_absmax_group));
        s = s + w->scale_offset;
        return s;
    }
    float s = w->scale_is_e8m0 ? fh_e8m0_to_f32(w->scale->data.ptr[at])
                               : fh_ref_decode(w->scale->dtype, w->scale->data.ptr, at);
    if (w->global) {
        float g = global_of(w, row);
        if (w->global_divides) s = s / g;
        else s = s * g;
    }
    return s;
}

static float code_value(const fh_weight *w, uint64_t row, uint64_t col) {
    if (w->packing == FH_PACK_NONE)
        return fh_ref_decode(w->codes->dtype, w->codes->data.ptr, (size_t)(row * fh_weight_cols(w) + col));
    uint32_t code = fh_weight_code(w, row, col);
    if (w->codebook == FH_CODEBOOK_E2M1) return e2m1[code];
    if (w->codebook == FH_CODEBOOK_TABLE) return w->table[code];
    return (float)code;
}

/* NVFP4 in a GGUF with the tensor's own scale beside it: scale and global first, as the packed form has it. */
static float nvfp4_value(const fh_weight *w, uint64_t row, uint64_t col) {
    uint64_t at = row * fh_weight_cols(w) + col;
    float d = fh_e4m3_to_f32(w->codes->data.ptr[at / 64 * 36 + at % 64 / 16] & 127);
    float v = code_value(w, row, col); /* code times d: exact, and so is its quotient by d */
    if (d == 0.0f || d != d) return v * global_of(w, row);
    float s = d * global_of(w, row);
    return v / d * s;
}

static float value_at(const fh_weight *w, uint64_t row, uint64_t col) {
    if (w->global && !w->scale && w->codes->dtype == FH_DTYPE_NVFP4) return nvfp4_value(w, row, col);
    float v = code_value(w, row, col);
    if (w->zero_kind != FH_ZERO_NONE) v = v - fh_weight_zero(w, row, col);
    if (w->scale || w->global) v = v * fh_weight_scale(w, row, col);
    if (w->factor != 0.0f) v = v * w->factor;
    return v;
}

static bool is_plain(const fh_weight *w) {
    return w->packing == FH_PACK_NONE && !w->scale && !w->global && w->factor == 0.0f;
}

void fh_weight_decode(const fh_weight *w, uint64_t row, uint64_t n_row, float *dst) {
    uint64_t cols = fh_weight_cols(w), bytes, skip;
    if (n_row == 0 || cols == 0) return;
    if (is_plain(w) && fh_dtype_bytes(w->codes->dtype, cols, &bytes) &&
        fh_dtype_bytes(w->codes->dtype, row * cols, &skip)) {
        fh_decode(w->codes->dtype, w->codes->data.ptr + skip, dst, (size_t)(n_row * cols));
        return;
    }
    for (uint64_t r = 0; r < n_row; r++)
        for (uint64_t c = 0; c < cols; c++) dst[r * cols + c] = value_at(w, row + r, c);
}

bool fh_weight_can_decode(const fh_weight *w) { return w->packing != FH_PACK_NONE || fh_can_decode(w->codes->dtype); }
