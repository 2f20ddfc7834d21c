/* format/packed_bnb.c - bitsandbytes NF4 and FP4: flat nibbles, a table of 16, one scale per block, often nested.
 * SPDX-License-Identifier: Apache-2.0
 * The shape stands in JSON inside a tensor of bytes (quant_state); codes may lie in a tensor of any dtype, which
 * is then only their container. Nested: the scales are codes of 8 bits through a table of 256, times one F32 per
 * 256 of them, plus an offset. (LLM.int8 is in packed_scaled.c.) */
#include "format/packed_part.h"

#include <inttypes.h>

#include "base/cursor.h"
#include "base/num.h"

typedef struct state {
    fh_shape shape;
    uint64_t block, nested_block;
    double offset;
} state;

static fh_status bad(const fh_packed_site *s, const char *what) {
    return fh_packed_fail(s, FH_ERR_FORMAT, "its quant_state has no sensible '%s'", what);
}

static fh_status read_state(const fh_packed_site *s, const fh_json_node *root, bool nested, state *out) {
    state st = {.nested_block = 1};
    const fh_json_node *shape = fh_json_get(root, "shape");
    uint64_t n;
    if (!fh_json_is(shape, FH_JSON_ARRAY) || shape->n_child == 0 || shape->n_child > FH_MAX_DIMS)
        return bad(s, "shape");
    for (const fh_json_node *d = fh_json_first(shape); d; d = fh_json_after(shape, d)) {
        uint64_t *dim = &st.shape.dim[st.shape.n_dim++];
        if (!fh_json_to_u64(d, dim) || *dim == 0) return bad(s, "shape");
    }
    if (!fh_shape_count(&st.shape, &n)) return bad(s, "shape");
    if (!fh_json_to_u64(fh_json_get(root, "blocksize"), &st.block) || st.block == 0) return bad(s, "blocksize");
    if (nested) {
        if (!fh_json_to_u64(fh_json_get(root, "nested_blocksize"), &st.nested_block) || st.nested_block == 0)
            return bad(s, "nested_blocksize");
        if (!fh_json_to_f64(fh_json_get(root, "nested_offset"), &st.offset) || !(st.offset > -3e38 && st.offset < 3e38))
            return bad(s, "nested_offset");
    }
    *out = st;
    return FH_OK;
}

static fh_status parse_state(const fh_packed_site *s, const fh_tensor *t, bool nested, state *out) {
    fh_json *doc = NULL;
    fh_err why = {0};
    if (t->dtype != FH_DTYPE_U8) return bad(s, "text");
    if (fh_json_parse(&doc, fh_str_of_bytes(t->data), NULL, &why) != FH_OK)
        return fh_packed_fail(s, why.status, "its quant_state: %s", why.message);
    fh_status st = read_state(s, fh_json_root(doc), nested, out);
    fh_json_free(doc);
    return st;
}

static bool is_list(const fh_tensor *t, fh_dtype dtype, uint64_t n) {
    uint64_t have;
    return t && t->dtype == dtype && fh_shape_count(&t->shape, &have) && have == n;
}

static fh_status set_table(fh_packed_site *s, const fh_tensor *map) {
    if (!is_list(map, FH_DTYPE_F32, 16)) return fh_packed_fail(s, FH_ERR_FORMAT, "its quant_map is not 16 F32");
    float *table = fh_arena_alloc(s->p->arena, 16, sizeof *table);
    if (!table) return fh_arena_fail(s->p->arena, s->p->err);
    memcpy(table, map->data.ptr, 16 * sizeof *table); /* the file's bytes may lie at any alignment */
    s->w.table = table;
    s->w.codebook = FH_CODEBOOK_TABLE;
    s->w.packing = FH_PACK_NIBBLE_HIGH;
    s->w.bits = 4;
    return FH_OK;
}

static fh_status set_scales(fh_packed_site *s, const fh_tensor *absmax, const fh_tensor *outer, const fh_tensor *table,
                            const state *st, uint64_t n) {
    uint64_t blocks = fh_ceil_div(n, st->block);
    if (!is_list(absmax, outer ? FH_DTYPE_U8 : FH_DTYPE_F32, blocks))
        return fh_packed_fail(s, FH_ERR_FORMAT, "its absmax is not %" PRIu64 " of %s", blocks, outer ? "U8" : "F32");
    s->w.scale = absmax;
    s->w.flat_group = st->block;
    s->w.group_rows = s->w.group_cols = 1;
    if (!outer) return FH_OK;
    if (!is_list(table, FH_DTYPE_F32, 256) || !is_list(outer, FH_DTYPE_F32, fh_ceil_div(blocks, st->nested_block)))
        return fh_packed_fail(s, FH_ERR_FORMAT, "its nested scales do not fit %" PRIu64 " blocks", blocks);
    s->w.scale_table = table;
    s->w.scale_absmax = outer;
    s->w.scale_absmax_group = st->nested_block;
    s->w.scale_offset = (float)st->offset;
    return FH_OK;
}

fh_status fh_packed_bind_bnb(fh_packed_site *s) {
    fh_str name = s->codes->name;
    state st = {.nested_block = 1};
    uint64_t n = 0;
    if (s->p->config.method != FH_PACKED_BNB || !fh_packed_has(s, name, ".absmax")) return FH_OK;
    const fh_tensor *absmax = fh_packed_part(s, name, ".absmax"), *map = fh_packed_part(s, name, ".quant_map");
    const fh_tensor *outer = fh_packed_part(s, name, ".nested_absmax"),
                    *table = fh_packed_part(s, name, ".nested_quant_map");
    const fh_tensor *nf4 = fh_packed_part(s, name, ".quant_state.bitsandbytes__nf4");
    const fh_tensor *fp4 = fh_packed_part(s, name, ".quant_state.bitsandbytes__fp4");
    if (!nf4 == !fp4) return fh_packed_fail(s, FH_ERR_FORMAT, "it has no quant_state, or two");
    if (!outer != !table) return fh_packed_fail(s, FH_ERR_FORMAT, "its nested scales are there in part");
    FH_TRY(parse_state(s, nf4 ? nf4 : fp4, outer != NULL, &st));
    s->w.shape = st.shape;
    if (!fh_shape_count(&st.shape, &n) || fh_ceil_div(n, 2) > s->codes->data.len ||
        s->codes->data.len - fh_ceil_div(n, 2) >= 8) /* a container of wider elements may be padded */
        return fh_packed_fail(s, FH_ERR_FORMAT, "%zu bytes of codes are not %" PRIu64 " of 4 bits", s->codes->data.len,
                              n);
    FH_TRY(set_table(s, map));
    FH_TRY(set_scales(s, absmax, outer, table, &st, n));
    return fh_packed_add(s, "bitsandbytes %s blocks of %" PRIu64 "%s", nf4 ? "NF4" : "FP4", st.block,
                         outer ? " nested" : "");
}
