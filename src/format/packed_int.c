/* format/packed_int.c - compressed-tensors' pack-quantized: integers of 1 to 8 bits in I32 words along in.
 * SPDX-License-Identifier: Apache-2.0
 * weight_shape says how many codes of the last word count. Older writers put 32/bits whole codes in a word, newer
 * ones a stream that crosses words; the number of words tells them apart, and where it cannot, the weight is
 * refused. Codes are stored plus 2^(bits-1), packed zero points too, so their difference needs no offset. */
#include "format/packed_part.h"

#include <inttypes.h>

#include "base/cursor.h"
#include "base/num.h"

#define MAX_BITS 8u

/* The words that n codes take: as a stream, and whole codes per word. */
static uint64_t words(uint64_t n, uint32_t bits, bool whole) {
    return whole ? fh_ceil_div(n, 32u / bits) : n / 32 * bits + fh_ceil_div(n % 32 * bits, 32);
}

static bool has_words(uint64_t n, uint32_t bits, uint64_t stored) {
    return stored == words(n, bits, false) || stored == words(n, bits, true);
}

/* Reads weight_shape; the packed tensor gives every dimension but the last. */
static fh_status read_shape(fh_packed_site *s, const fh_tensor *t) {
    fh_shape *sh = &s->w.shape;
    size_t each = t->dtype == FH_DTYPE_I64 ? 8 : 4;
    if ((t->dtype != FH_DTYPE_I64 && t->dtype != FH_DTYPE_I32) || t->shape.n_dim != 1 || t->shape.dim[0] != sh->n_dim)
        return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s' is not one integer for each dimension", FH_STR_ARG(t->name));
    for (uint32_t k = 0; k < sh->n_dim; k++) {
        uint64_t v = each == 8 ? fh_load_u64(t->data.ptr + 8 * k) : fh_load_u32(t->data.ptr + 4 * k);
        bool last = k + 1 == sh->n_dim;
        /* A word holds at most 32 codes, which also bounds the product. */
        if (last ? v == 0 || v > INT32_MAX || v > sh->dim[k] * 32 : v != sh->dim[k])
            return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s' says %" PRIu64 " where the codes have %" PRIu64 "%s",
                                  FH_STR_ARG(t->name), v, sh->dim[k], last ? " words" : "");
        if (last) sh->dim[k] = v;
    }
    return FH_OK;
}

/* Codes per row without weight_shape: only where no word can be filled in part. */
static fh_status guess_shape(fh_packed_site *s, uint32_t bits) {
    uint64_t *in = &s->w.shape.dim[s->w.shape.n_dim - 1];
    if (32 % bits != 0 || !fh_mul_u64(*in, 32 / bits, in))
        return fh_packed_fail(s, FH_ERR_FORMAT, "its weight_shape is missing");
    return FH_OK;
}

static fh_status try_scheme(fh_packed_site *s, const fh_packed_scheme *k, const fh_tensor *scale, uint64_t stored,
                            bool *found) {
    bool shared;
    uint64_t C = fh_weight_cols(&s->w), rows = k->rows ? k->rows : fh_weight_rows(&s->w), cols = k->cols ? k->cols : C;
    if (k->is_float || k->bits > MAX_BITS || !has_words(C, k->bits, stored)) return FH_OK;
    if (!fh_packed_fits(&s->w, scale, k->rows, k->cols, &shared)) return FH_OK;
    if (*found && (s->w.bits != k->bits || s->w.group_rows != rows || s->w.group_cols != cols))
        return fh_packed_fail(s, FH_ERR_FORMAT, "two groups of config.json fit it and mean different things");
    *found = true;
    s->w.bits = (uint8_t)k->bits;
    s->w.scale = scale;
    s->w.group_rows = rows;
    s->w.group_cols = cols;
    s->w.scale_shared = shared;
    return FH_OK;
}

/* bits and groups: what config.json allows and the shapes show. */
static fh_status choose(fh_packed_site *s, const fh_tensor *scale, uint64_t stored) {
    const fh_packed_config *c = &s->p->config;
    bool found = false;
    char a[FH_MAX_DIMS * 22 + 2];
    for (size_t i = 0; i < c->n_scheme; i++) FH_TRY(try_scheme(s, &c->scheme[i], scale, stored, &found));
    if (!found)
        return fh_packed_fail(s, FH_ERR_FORMAT,
                              "no group of integers in config.json fits %" PRIu64 " columns in %" PRIu64
                              " words with scales %s",
                              fh_weight_cols(&s->w), stored, fh_shape_text(&scale->shape, a, sizeof a));
    uint64_t C = fh_weight_cols(&s->w);
    bool stream = stored == words(C, s->w.bits, false), whole = stored == words(C, s->w.bits, true);
    if (stream && whole && 32 % s->w.bits != 0 && C > 32u / s->w.bits)
        return fh_packed_fail(s, FH_ERR_FORMAT, "%d-bit codes, of which nothing says whether they cross words",
                              s->w.bits);
    s->w.packing = stream ? FH_PACK_I32_IN : FH_PACK_I32_IN_WORDS;
    s->w.codebook = FH_CODEBOOK_UINT;
    return FH_OK;
}

/* Packed along the rows like the codes, or one byte per group as it is. */
static fh_status set_zero(fh_packed_site *s, const fh_tensor *zero) {
    const fh_weight *w = &s->w;
    const fh_shape *z = &zero->shape;
    bool whole = w->packing == FH_PACK_I32_IN_WORDS;
    uint32_t n = w->shape.n_dim;
    if (zero->dtype == FH_DTYPE_I8 && fh_shape_eq(z, &w->scale->shape)) {
        s->w.zero_kind = FH_ZERO_TENSOR;
        s->w.zero_const = 1 << (w->bits - 1);
    } else {
        bool fits = zero->dtype == FH_DTYPE_I32 && z->n_dim == n && w->group_rows == 1 && !w->scale_shared &&
                    z->dim[n - 2] == words(fh_weight_rows(w), w->bits, whole) &&
                    z->dim[n - 1] == fh_ceil_div(fh_weight_cols(w), w->group_cols);
        for (uint32_t k = 0; fits && k + 2 < n; k++) fits = z->dim[k] == w->shape.dim[k];
        if (!fits)
            return fh_packed_fail(s, FH_ERR_FORMAT, "zero points '%.*s' do not fit the weight", FH_STR_ARG(zero->name));
        s->w.zero_kind = whole ? FH_ZERO_I32_ROWS_WORDS : FH_ZERO_I32_ROWS;
    }
    s->w.zero = zero;
    return FH_OK;
}

/* A weight that config.json calls asymmetric must have zero points, one that it calls symmetric may. */
static fh_status check_symmetry(fh_packed_site *s) {
    const fh_packed_config *c = &s->p->config;
    bool symmetric = false;
    for (size_t i = 0; i < c->n_scheme; i++)
        if (!c->scheme[i].is_float && c->scheme[i].bits == s->w.bits && c->scheme[i].symmetric) symmetric = true;
    if (!symmetric)
        return fh_packed_fail(s, FH_ERR_FORMAT, "it has no zero points, but config.json says it is not symmetric");
    s->w.zero_kind = FH_ZERO_CONST;
    s->w.zero_const = 1 << (s->w.bits - 1);
    return FH_OK;
}

fh_status fh_packed_bind_words(fh_packed_site *s) {
    uint64_t stored = fh_shape_cols(&s->codes->shape);
    if (s->codes->dtype != FH_DTYPE_I32) return FH_OK;
    if (s->codes->shape.n_dim < 2) return fh_packed_fail(s, FH_ERR_FORMAT, "packed codes that are no matrix");
    const fh_tensor *scale = fh_packed_part(s, s->base, "_scale"), *shape = fh_packed_part(s, s->base, "_shape");
    const fh_tensor *zero = fh_packed_part(s, s->base, "_zero_point"), *map = fh_packed_part(s, s->base, "_g_idx");
    if (!scale) return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s_scale' is missing", FH_STR_ARG(s->base));
    if (!fh_packed_is_float(scale->dtype))
        return fh_packed_fail(s, FH_ERR_FORMAT, "integers with scales of %s", fh_dtype_name(scale->dtype));
    if (s->p->config.n_scheme == 0)
        return fh_packed_fail(s, FH_ERR_FORMAT, "config.json does not say how it is quantized");
    FH_TRY(fh_packed_name(s, s->base, ""));
    if (shape) FH_TRY(read_shape(s, shape));
    else FH_TRY(guess_shape(s, s->p->config.scheme[0].bits));
    if (fh_weight_rows(&s->w) == 0 || fh_weight_matrices(&s->w) == 0)
        return fh_packed_fail(s, FH_ERR_FORMAT, "a packed weight without elements");
    FH_TRY(choose(s, scale, stored));
    if (zero) FH_TRY(set_zero(s, zero));
    else FH_TRY(check_symmetry(s));
    if (map) FH_TRY(fh_packed_set_map(s, map, fh_ceil_div(fh_weight_cols(&s->w), s->w.group_cols)));
    char group[32] = "";
    if (s->w.group_cols < fh_weight_cols(&s->w)) snprintf(group, sizeof group, " g%" PRIu64, s->w.group_cols);
    return fh_packed_add(s, "int%d%s%s%s", s->w.bits, group, zero ? " asymmetric" : "",
                         s->w.group_index ? " act-order" : "");
}
