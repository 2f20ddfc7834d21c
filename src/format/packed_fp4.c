/* format/packed_fp4.c - 4-bit floats two to a byte under names of their own: compressed-tensors and gpt-oss.
 * SPDX-License-Identifier: Apache-2.0
 * NVFP4: E4M3 scales per 16 and one F32 over them, which compressed-tensors stores as its reciprocal.
 * MXFP4: E8M0 scales per 32. Group sizes are part of the formats, so the shapes must show exactly them. */
#include "format/packed_part.h"

#include "base/num.h"

fh_status fh_packed_nibbles(fh_packed_site *s) {
    fh_shape *sh = &s->w.shape;
    if (sh->n_dim < 2) return fh_packed_fail(s, FH_ERR_FORMAT, "4-bit codes of a weight that is no matrix");
    /* F4 says its shape in codes, bytes say it in pairs. */
    if (s->codes->dtype != FH_DTYPE_F4 && !fh_mul_u64(sh->dim[sh->n_dim - 1], 2, &sh->dim[sh->n_dim - 1]))
        return fh_packed_fail(s, FH_ERR_FORMAT, "its size does not fit");
    s->w.packing = FH_PACK_NIBBLE;
    s->w.codebook = FH_CODEBOOK_E2M1;
    s->w.bits = 4;
    return FH_OK;
}

static fh_status set_groups(fh_packed_site *s, const fh_tensor *scale, uint64_t group) {
    bool shared;
    if (!fh_packed_fits(&s->w, scale, 1, group, &shared) || fh_weight_cols(&s->w) % group)
        return fh_packed_fail(s, FH_ERR_FORMAT, "scales '%.*s' are not one for each %llu columns",
                              FH_STR_ARG(scale->name), (unsigned long long)group);
    s->w.scale = scale;
    s->w.group_rows = 1;
    s->w.group_cols = group;
    s->w.scale_shared = shared;
    return FH_OK;
}

fh_status fh_packed_bind_fp4(fh_packed_site *s) {
    if (s->codes->dtype != FH_DTYPE_U8) return FH_OK;
    const fh_tensor *scale = fh_packed_part(s, s->base, "_scale");
    const fh_tensor *global = fh_packed_part(s, s->base, "_global_scale");
    if (!scale) return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s_scale' is missing", FH_STR_ARG(s->base));
    FH_TRY(fh_packed_name(s, s->base, ""));
    FH_TRY(fh_packed_nibbles(s));
    if (scale->dtype == FH_DTYPE_F8_E4M3) {
        FH_TRY(set_groups(s, scale, 16));
        if (!global) return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s_global_scale' is missing", FH_STR_ARG(s->base));
        FH_TRY(fh_packed_set_global(s, global, true));
        return fh_packed_add(s, "NVFP4");
    }
    if (scale->dtype != FH_DTYPE_U8 && scale->dtype != FH_DTYPE_F8_E8M0)
        return fh_packed_fail(s, FH_ERR_UNSUPPORTED, "4-bit floats with scales of %s", fh_dtype_name(scale->dtype));
    if (global) return fh_packed_fail(s, FH_ERR_FORMAT, "MXFP4 with a global scale");
    FH_TRY(set_groups(s, scale, 32));
    s->w.scale_is_e8m0 = scale->dtype == FH_DTYPE_U8;
    return fh_packed_add(s, "MXFP4");
}

/* gpt-oss: X_blocks U8 [E, out, in/32, 16] and X_scales U8 [E, out, in/32] are X [E, out, in]. */
fh_status fh_packed_bind_blocks(fh_packed_site *s) {
    const fh_shape *b = &s->codes->shape;
    uint64_t in;
    if (s->codes->dtype != FH_DTYPE_U8) return FH_OK;
    const fh_tensor *scale = fh_packed_part(s, s->base, "_scales");
    if (!scale) return FH_OK; /* an orphan if its name says so, else no business of this layout */
    if (b->n_dim < 3 || b->dim[b->n_dim - 1] != 16 || scale->dtype != FH_DTYPE_U8 || scale->shape.n_dim + 1 != b->n_dim)
        return fh_packed_fail(s, FH_ERR_FORMAT,
                              "blocks and scales are not U8 [.., out, in/32, 16] and [.., out, in/32]");
    FH_TRY(fh_packed_name(s, s->base, ""));
    s->w.shape.n_dim = b->n_dim - 1;
    if (!fh_mul_u64(b->dim[b->n_dim - 2], 16, &in)) return fh_packed_fail(s, FH_ERR_FORMAT, "its size does not fit");
    s->w.shape.dim[b->n_dim - 2] = in; /* bytes: two codes each */
    s->w.shape.dim[b->n_dim - 1] = 0;
    FH_TRY(fh_packed_nibbles(s));
    FH_TRY(set_groups(s, scale, 32));
    s->w.scale_is_e8m0 = true;
    return fh_packed_add(s, "MXFP4");
}
