/* format/packed_scaled.c - codes that keep their own dtype, with scales beside them: FP8, MXFP8, INT8, LLM.int8.
 * SPDX-License-Identifier: Apache-2.0
 * Also the rules by which scales are matched to a weight, for all layouts. The extents of one scale come from
 * config.json where it names them; otherwise only shapes that leave one reading are taken. */
#include "format/packed_part.h"

#include <inttypes.h>

#include "base/cursor.h"
#include "base/num.h"

#define DEFAULT_BLOCK 128u /* what the fp8 method means when weight_block_size is left out */
#define MX_GROUP 32u

bool fh_packed_is_float(fh_dtype t) { return t == FH_DTYPE_F32 || t == FH_DTYPE_F16 || t == FH_DTYPE_BF16; }

static bool is_fp8(fh_dtype t) {
    return t == FH_DTYPE_F8_E4M3 || t == FH_DTYPE_F8_E5M2 || t == FH_DTYPE_F8_E4M3FNUZ || t == FH_DTYPE_F8_E5M2FNUZ;
}

/* ---- matching scales to weights ---- */

/* The dimensions before the last two are the same in both. */
static bool same_matrices(const fh_weight *w, const fh_tensor *t) {
    if (w->shape.n_dim < 2 || t->shape.n_dim != w->shape.n_dim) return false;
    for (uint32_t i = 0; i + 2 < t->shape.n_dim; i++)
        if (t->shape.dim[i] != w->shape.dim[i]) return false;
    return true;
}

static uint64_t count_of(const fh_tensor *t) {
    uint64_t n = 0;
    return fh_shape_count(&t->shape, &n) ? n : 0;
}

bool fh_packed_fits(const fh_weight *w, const fh_tensor *t, uint64_t rows, uint64_t cols, bool *shared) {
    uint64_t R = fh_weight_rows(w), C = fh_weight_cols(w), M = fh_weight_matrices(w);
    uint64_t down = rows ? fh_ceil_div(R, rows) : 1, across = cols ? fh_ceil_div(C, cols) : 1;
    const fh_shape *s = &t->shape;
    *shared = false;
    if (R == 0 || C == 0 || M == 0) return count_of(t) == 0 || count_of(t) == 1;
    if (same_matrices(w, t) && s->dim[s->n_dim - 2] == down && s->dim[s->n_dim - 1] == across) return true;
    if (down == 1 && across == 1) { /* one for all: [], [1], [1, 1]; one per matrix: [E], [E, 1] */
        *shared = count_of(t) == 1;
        return *shared || (s->n_dim > 0 && s->dim[0] == M && count_of(t) == M);
    }
    if (M == 1 && across == 1 && s->n_dim == 1) return s->dim[0] == down; /* [out] */
    /* [down, 1, across, 1], as one writer puts blocks */
    return M == 1 && s->n_dim == 4 && s->dim[0] == down && s->dim[1] == 1 && s->dim[2] == across && s->dim[3] == 1;
}

static void set_extents(fh_packed_site *s, uint64_t rows, uint64_t cols, bool shared) {
    s->w.group_rows = rows ? rows : FH_MAX(fh_weight_rows(&s->w), 1u);
    s->w.group_cols = cols ? cols : FH_MAX(fh_weight_cols(&s->w), 1u);
    s->w.scale_shared = shared;
}

static fh_status no_fit(const fh_packed_site *s, const fh_tensor *scale) {
    char a[FH_MAX_DIMS * 22 + 2], b[FH_MAX_DIMS * 22 + 2];
    return fh_packed_fail(
        s, FH_ERR_FORMAT, "scales '%.*s' %s do not fit a weight of %s in any way that config.json allows",
        FH_STR_ARG(scale->name), fh_shape_text(&scale->shape, a, sizeof a), fh_shape_text(&s->w.shape, b, sizeof b));
}

/* Shapes that speak for themselves: one scale, one per row, one per column of each matrix, MX groups. */
static bool evident(fh_packed_site *s, const fh_tensor *scale) {
    static const struct { uint64_t rows, cols; } shape[] = {{0, 0}, {1, 0}, {0, 1}};
    bool shared;
    if (scale->dtype == FH_DTYPE_F8_E8M0 || scale->dtype == FH_DTYPE_U8) {
        if (!fh_packed_fits(&s->w, scale, 1, MX_GROUP, &shared) || fh_weight_cols(&s->w) % MX_GROUP) return false;
        set_extents(s, 1, MX_GROUP, shared);
        return true;
    }
    for (size_t k = 0; k < FH_COUNT(shape); k++)
        if (fh_packed_fits(&s->w, scale, shape[k].rows, shape[k].cols, &shared)) {
            set_extents(s, shape[k].rows, shape[k].cols, shared);
            return true;
        }
    return false;
}

fh_status fh_packed_set_scale(fh_packed_site *s, const fh_tensor *scale, uint32_t bits, bool is_float,
                              const fh_packed_scheme **scheme) {
    const fh_packed_config *c = &s->p->config;
    const fh_packed_scheme *found = NULL;
    bool shared, any = false;
    s->w.scale = scale;
    for (size_t i = 0; i < c->n_scheme; i++) {
        const fh_packed_scheme *k = &c->scheme[i];
        if (k->bits != bits || k->is_float != is_float) continue;
        any = true;
        if (!fh_packed_fits(&s->w, scale, k->rows, k->cols, &shared)) continue;
        uint64_t rows = s->w.group_rows, cols = s->w.group_cols;
        set_extents(s, k->rows, k->cols, shared);
        if (found && (rows != s->w.group_rows || cols != s->w.group_cols))
            return fh_packed_fail(s, FH_ERR_FORMAT,
                                  "two groups of config.json fit its scales and mean different things");
        found = k;
    }
    if (!found && (any || c->n_scheme) &&
        !(c->method == FH_PACKED_FP8 && count_of(scale) == 1 && scale->shape.n_dim < 2))
        return no_fit(s, scale);
    if (!found && !evident(s, scale)) {
        bool blocks = c->method == FH_PACKED_FP8 && fh_packed_fits(&s->w, scale, DEFAULT_BLOCK, DEFAULT_BLOCK, &shared);
        if (!blocks) return no_fit(s, scale);
        set_extents(s, DEFAULT_BLOCK, DEFAULT_BLOCK, shared);
    }
    if (scheme) *scheme = found;
    return FH_OK;
}

fh_status fh_packed_set_global(fh_packed_site *s, const fh_tensor *global, bool divides) {
    uint64_t n = count_of(global);
    if (global->dtype != FH_DTYPE_F32 || (n != 1 && n != fh_weight_matrices(&s->w)))
        return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s' is not one F32 for the weight or for each of its matrices",
                              FH_STR_ARG(global->name));
    s->w.global = global;
    s->w.global_divides = divides;
    return FH_OK;
}

fh_status fh_packed_set_map(fh_packed_site *s, const fh_tensor *map, uint64_t n_group) {
    uint64_t C = fh_weight_cols(&s->w);
    if (map->shape.n_dim == 1 && map->shape.dim[0] == 0) return FH_OK; /* written empty where there is no order */
    if (map->dtype != FH_DTYPE_I32 || map->shape.n_dim != 1 || map->shape.dim[0] != C)
        return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s' is not one I32 for each of %" PRIu64 " columns",
                              FH_STR_ARG(map->name), C);
    bool in_order = true, unset = true;
    for (uint64_t i = 0; i < C; i++) {
        uint32_t g = fh_load_u32(map->data.ptr + 4 * i);
        if (g != UINT32_MAX) unset = false;
        if (g != i / s->w.group_cols) in_order = false;
        if (g >= n_group && !(g == UINT32_MAX && unset))
            return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s' sends column %" PRIu64 " to group %" PRId32 " of %" PRIu64,
                                  FH_STR_ARG(map->name), i, (int32_t)g, n_group);
        if (!unset && i > 0 && fh_load_u32(map->data.ptr) == UINT32_MAX)
            return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s' is filled in part", FH_STR_ARG(map->name));
    }
    if (!in_order && !unset) s->w.group_index = map; /* all -1: never filled, so in order */
    return FH_OK;
}

/* ---- the layouts ---- */

/* The one tensor of scales that the codes have, by whatever name; NULL without one. */
static fh_status find_scale(fh_packed_site *s, const fh_tensor **out, fh_str *module) {
    static const char *const beside[] = {"_scale_inv", "_scale"}, *const inside[] = {".scale", ".qscale_weight",
                                                                                     ".SCB"};
    const fh_tensor *found = NULL;
    fh_str name = s->codes->name;
    bool whole = fh_str_ends(name, ".weight");
    *module = whole ? fh_str_first(name, name.len - 7) : name;
    for (size_t k = 0; k < FH_COUNT(beside) + FH_COUNT(inside); k++) {
        const fh_tensor *t = NULL;
        if (k < FH_COUNT(beside)) t = fh_packed_part(s, name, beside[k]);
        else if (whole) t = fh_packed_part(s, *module, inside[k - FH_COUNT(beside)]);
        if (t && found)
            return fh_packed_fail(s, FH_ERR_FORMAT, "it has the scales '%.*s' and '%.*s'", FH_STR_ARG(found->name),
                                  FH_STR_ARG(t->name));
        if (t) found = t;
    }
    *out = found;
    return FH_OK;
}

static void group_text(const fh_packed_site *s, char *out, size_t size) {
    const fh_weight *w = &s->w;
    bool all_rows = w->group_rows >= fh_weight_rows(w), all_cols = w->group_cols >= fh_weight_cols(w);
    if (w->group_rows == 1 && all_cols) snprintf(out, size, "channels");
    else if (w->group_rows == 1) snprintf(out, size, "groups of %" PRIu64, w->group_cols);
    else if (w->group_cols == 1 && all_rows) snprintf(out, size, "columns");
    else if (all_rows && all_cols && w->scale->shape.n_dim < 2) snprintf(out, size, "tensor");
    else snprintf(out, size, "blocks %" PRIu64 "x%" PRIu64, w->group_rows, w->group_cols);
}

static fh_status bind_fp8(fh_packed_site *s, const fh_tensor *scale) {
    char text[64];
    if (!fh_packed_is_float(scale->dtype) && scale->dtype != FH_DTYPE_F8_E8M0 && scale->dtype != FH_DTYPE_U8)
        return fh_packed_fail(s, FH_ERR_FORMAT, "scales of %s", fh_dtype_name(scale->dtype));
    s->w.scale_is_e8m0 = scale->dtype == FH_DTYPE_U8;
    FH_TRY(fh_packed_set_scale(s, scale, 8, true, NULL));
    /* Some writers keep the zero points of a symmetric format: they must say nothing. */
    const fh_tensor *zero = fh_packed_part(s, s->codes->name, "_zero_point");
    for (size_t i = 0; zero && i < zero->data.len; i++)
        if (zero->data.ptr[i] != 0) return fh_packed_fail(s, FH_ERR_UNSUPPORTED, "FP8 with zero points");
    group_text(s, text, sizeof text);
    return fh_packed_add(s, "FP8 %s", text);
}

/* LLM.int8: one F32 per row, and values are code * SCB / 127, which its writer computes with the reciprocal. */
static fh_status bind_llm_int8(fh_packed_site *s, const fh_tensor *scb, fh_str module) {
    bool shared;
    const fh_tensor *form = fh_packed_part(s, module, ".weight_format");
    if (scb->dtype != FH_DTYPE_F32 || s->w.shape.n_dim != 2 || !fh_packed_fits(&s->w, scb, 1, 0, &shared))
        return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s' is not one F32 for each row", FH_STR_ARG(scb->name));
    for (size_t i = 0; form && i < form->data.len; i++)
        if (form->data.ptr[i] != 0)
            return fh_packed_fail(s, FH_ERR_UNSUPPORTED, "an LLM.int8 weight in another order than row by row");
    s->w.scale = scb;
    set_extents(s, 1, 0, false);
    s->w.factor = 7.874015718698502e-3f;
    return fh_packed_add(s, "LLM.int8 channels");
}

static fh_status bind_int8(fh_packed_site *s, const fh_tensor *scale) {
    char text[64];
    const fh_packed_scheme *scheme = NULL;
    if (!fh_packed_is_float(scale->dtype))
        return fh_packed_fail(s, FH_ERR_FORMAT, "INT8 with scales of %s", fh_dtype_name(scale->dtype));
    FH_TRY(fh_packed_set_scale(s, scale, 8, false, &scheme));
    const fh_tensor *zero = fh_packed_part(s, s->codes->name, "_zero_point");
    if (zero) {
        if (zero->dtype != FH_DTYPE_I8 || !fh_shape_eq(&zero->shape, &scale->shape))
            return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s' is not I8 in the shape of the scales",
                                  FH_STR_ARG(zero->name));
        s->w.zero_kind = FH_ZERO_TENSOR;
        s->w.zero = zero;
    } else if (scheme && !scheme->symmetric) {
        return fh_packed_fail(s, FH_ERR_FORMAT, "it has no zero points, but config.json says it is not symmetric");
    }
    group_text(s, text, sizeof text);
    return fh_packed_add(s, "INT8 %s%s", text, zero ? " asymmetric" : "");
}

/* One scale of E8M0 per 32 codes and two codes per byte: 4-bit floats, as DeepSeek V4 stores its experts. */
static fh_status bind_fp4_bytes(fh_packed_site *s, const fh_tensor *scale) {
    bool shared;
    FH_TRY(fh_packed_nibbles(s));
    if (!fh_packed_fits(&s->w, scale, 1, MX_GROUP, &shared) || fh_weight_cols(&s->w) % MX_GROUP)
        return no_fit(s, scale);
    s->w.scale = scale;
    s->w.scale_is_e8m0 = scale->dtype == FH_DTYPE_U8;
    set_extents(s, 1, MX_GROUP, shared);
    return fh_packed_add(s, "MXFP4");
}

/* ModelOpt: bytes with E4M3 scales per 16 and a second scale over them. */
static fh_status bind_nvfp4(fh_packed_site *s, const fh_tensor *scale) {
    bool shared;
    const fh_tensor *global = fh_packed_part(s, s->codes->name, "_scale_2");
    FH_TRY(fh_packed_nibbles(s));
    if (!global)
        return fh_packed_fail(s, FH_ERR_FORMAT, "NVFP4 without its second scale '%.*s_scale_2'",
                              FH_STR_ARG(s->codes->name));
    if (!fh_packed_fits(&s->w, scale, 1, 16, &shared) || fh_weight_cols(&s->w) % 16) return no_fit(s, scale);
    s->w.scale = scale;
    set_extents(s, 1, 16, shared);
    FH_TRY(fh_packed_set_global(s, global, false));
    return fh_packed_add(s, "NVFP4");
}

fh_status fh_packed_bind_scaled(fh_packed_site *s) {
    const fh_tensor *scale = NULL;
    fh_str module;
    fh_dtype t = s->codes->dtype;
    if (!is_fp8(t) && t != FH_DTYPE_I8 && t != FH_DTYPE_U8 && t != FH_DTYPE_F4) return FH_OK;
    FH_TRY(find_scale(s, &scale, &module));
    if (!scale) return FH_OK;
    if (is_fp8(t)) return bind_fp8(s, scale);
    if (t == FH_DTYPE_I8 && fh_str_ends(scale->name, ".SCB")) return bind_llm_int8(s, scale, module);
    if (scale->dtype == FH_DTYPE_F8_E8M0 || (t != FH_DTYPE_I8 && scale->dtype == FH_DTYPE_U8))
        return bind_fp4_bytes(s, scale);
    if (t == FH_DTYPE_I8) return bind_int8(s, scale);
    if (scale->dtype == FH_DTYPE_F8_E4M3) return bind_nvfp4(s, scale);
    return fh_packed_fail(s, FH_ERR_UNSUPPORTED, "bytes with scales of %s are a layout that is not read",
                          fh_dtype_name(scale->dtype));
}
