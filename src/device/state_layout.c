/* device/state_layout.c - where the rows of every state lie inside a page, and what a page weighs.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses pages that are no power of two and types that cannot be written. Invariant: every part starts at a
 * multiple of 64 bytes, so a page is a multiple of 64 bytes too. */
#include "device/batch.h"

enum { ALIGN = 64, MAX_PAGE = 1 << 16 };

/* The type that rows of this width are kept in. */
static fh_dtype row_type(fh_dtype type, uint32_t width, bool *fell_back) {
    if (width % fh_dtype_get_info(type)->block_elems == 0) return type;
    *fell_back = true;
    return FH_DTYPE_F16;
}

static bool is_state_type(fh_dtype t) {
    return t == FH_DTYPE_F32 || t == FH_DTYPE_F16 || t == FH_DTYPE_BF16 || t == FH_DTYPE_Q8_0;
}

/* A part of heads * page rows behind what the page holds so far. */
static bool add_part(uint64_t *used, uint64_t heads, uint64_t page, fh_dtype type, uint32_t width, uint64_t *at,
                     uint64_t *row_bytes) {
    uint64_t n, start;
    if (!fh_dtype_bytes(type, width, row_bytes) || !fh_mul_u64(*row_bytes, heads, &n) || !fh_mul_u64(n, page, &n) ||
        !fh_align_up(n, ALIGN, &n)) {
        return false;
    }
    start = *used;
    if (!fh_add_u64(start, n, used)) return false;
    *at = start;
    return true;
}

static bool place_state(const fh_state *s, uint32_t page, fh_dtype type, fh_state_layout *lay, fh_state_place *out,
                        bool *fell_back) {
    *out = (fh_state_place){.k_type = FH_DTYPE_F32, .v_type = FH_DTYPE_F32};
    if (s->kind == FH_STATE_RECURRENT) {
        out->k_at = lay->slot_floats;
        uint64_t n;
        return fh_align_up(s->size, ALIGN / sizeof(float), &n) && fh_add_u64(lay->slot_floats, n, &lay->slot_floats);
    }
    uint64_t *used = &lay->page_bytes[s->group];
    out->k_type = out->v_type = row_type(type, s->k_width, fell_back);
    if (!add_part(used, s->heads, page, out->k_type, s->k_width, &out->k_at, &out->k_bytes)) return false;
    if (s->kind == FH_STATE_LATENT) {
        out->v_at = out->k_at; /* the first columns of the same row */
        out->v_bytes = 0;
        return true;
    }
    out->v_type = row_type(type, s->v_width, fell_back);
    return add_part(used, s->heads, page, out->v_type, s->v_width, &out->v_at, &out->v_bytes);
}

fh_status fh_state_layout_make(const fh_plan *tables, uint32_t page, fh_dtype type, fh_state_place *place,
                               fh_state_layout *out, bool *fell_back, fh_err *err) {
    fh_state_layout lay = {.page = page, .place = place};
    bool fell = false;
    if (!fh_is_pow2(page) || page > MAX_PAGE) {
        return fh_fail(err, FH_ERR_USAGE, "lay out the state, '%u' rows a page, it is no power of two up to %d", page,
                       MAX_PAGE);
    }
    if (!is_state_type(type)) {
        return fh_fail(err, FH_ERR_USAGE, "lay out the state in '%s', it is none of f32, f16, bf16, q8_0",
                       fh_dtype_name(type));
    }
    for (uint32_t i = 0; i < tables->n_state; i++) {
        const fh_state *s = &tables->state[i];
        if (s->kind != FH_STATE_RECURRENT && (s->group >= tables->n_group || s->group >= FH_MAX_GROUPS)) {
            return fh_fail(err, FH_ERR_LIMIT, "lay out state '%.*s', its group %u is past the %d that there may be",
                           FH_STR_ARG(s->name), s->group, FH_MAX_GROUPS);
        }
        if (!place_state(s, page, type, &lay, &place[i], &fell)) {
            return fh_fail(err, FH_ERR_LIMIT, "lay out state '%.*s', it fits no memory", FH_STR_ARG(s->name));
        }
    }
    *out = lay;
    *fell_back = fell;
    return FH_OK;
}
