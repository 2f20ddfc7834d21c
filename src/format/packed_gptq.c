/* format/packed_gptq.c - GPTQ (v1, v2; 2, 3, 4, 8 bits) and AWQ (gemm, 4 bits): qweight, qzeros, scales, g_idx.
 * SPDX-License-Identifier: Apache-2.0
 * Both are stored transposed: groups and columns of the input come first. The bits are read off the shape of
 * qzeros and must be what config.json says, except where it announces overrides per module. The map g_idx is
 * believed over desc_act: it is what the writer's own decoder follows. */
#include "format/packed_part.h"

#include <inttypes.h>

#include "base/num.h"

typedef struct parts {
    const fh_tensor *zeros, *scales, *map;
    uint64_t out, groups;
} parts;

static fh_status get_parts(fh_packed_site *s, parts *q) {
    q->zeros = fh_packed_part(s, s->base, ".qzeros");
    q->scales = fh_packed_part(s, s->base, ".scales");
    q->map = fh_packed_part(s, s->base, ".g_idx");
    if (!q->scales || !q->zeros)
        return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s.%s' is missing", FH_STR_ARG(s->base),
                              q->scales ? "qzeros" : "scales");
    if (s->codes->dtype != FH_DTYPE_I32 || q->zeros->dtype != FH_DTYPE_I32 || s->codes->shape.n_dim != 2 ||
        q->zeros->shape.n_dim != 2 || q->scales->shape.n_dim != 2 || !fh_packed_is_float(q->scales->dtype))
        return fh_packed_fail(
            s, FH_ERR_UNSUPPORTED,
            "qweight and qzeros are not I32 matrices with a matrix of float scales: a packing that is not read");
    q->groups = q->scales->shape.dim[0];
    q->out = q->scales->shape.dim[1];
    if (q->groups == 0 || q->out == 0 || q->zeros->shape.dim[0] != q->groups)
        return fh_packed_fail(s, FH_ERR_FORMAT, "its scales and zero points do not have the same groups");
    return FH_OK;
}

/* How many columns share a scale; config.json's word where it has one, and the shapes must agree. */
static fh_status set_groups(fh_packed_site *s, const parts *q, uint64_t in) {
    const fh_packed_config *c = &s->p->config;
    uint64_t group = c->group < 0 ? in : (uint64_t)c->group;
    if (in == 0) return fh_packed_fail(s, FH_ERR_FORMAT, "a packed weight without elements");
    if (fh_ceil_div(in, group) != q->groups) {
        if (!c->gptq_dynamic || in % q->groups != 0)
            return fh_packed_fail(s, FH_ERR_FORMAT,
                                  "%" PRIu64 " columns in %" PRIu64 " groups are not groups of %" PRIu64
                                  ", as config.json says",
                                  in, q->groups, group);
        group = in / q->groups;
    }
    s->w.shape = (fh_shape){2, {q->out, in}};
    s->w.codebook = FH_CODEBOOK_UINT;
    s->w.scale = q->scales;
    s->w.scale_transposed = true;
    s->w.group_rows = 1;
    s->w.group_cols = FH_MIN(group, in);
    s->w.zero = q->zeros;
    return FH_OK;
}

static bool stream_fits(uint64_t n, uint32_t bits, uint64_t words) {
    return n <= UINT64_MAX / 8 && words == fh_ceil_div(n * bits, 32);
}

static fh_status find_bits(const fh_packed_site *s, const parts *q, uint32_t *bits) {
    static const uint32_t known[] = {2, 3, 4, 8};
    const fh_packed_config *c = &s->p->config;
    uint32_t found = 0, n = 0;
    for (size_t k = 0; k < FH_COUNT(known); k++) {
        if (!stream_fits(q->out, known[k], q->zeros->shape.dim[1])) continue;
        if (known[k] == c->bits) {
            *bits = known[k];
            return FH_OK;
        }
        found = known[k];
        n++;
    }
    if (c->bits != 2 && c->bits != 3 && c->bits != 4 && c->bits != 8)
        return fh_packed_fail(s, FH_ERR_UNSUPPORTED, "GPTQ with %" PRIu64 " bits is a packing that is not read",
                              c->bits);
    if (n != 1 || !c->gptq_dynamic)
        return fh_packed_fail(s, FH_ERR_FORMAT,
                              "%" PRIu64 " words of zero points for %" PRIu64 " rows are not %" PRIu64
                              " bits, as config.json says",
                              q->zeros->shape.dim[1], q->out, c->bits);
    *bits = found;
    return FH_OK;
}

static fh_status bind_gptq(fh_packed_site *s, const parts *q) {
    const fh_packed_config *c = &s->p->config;
    uint32_t bits = 0;
    uint64_t rows = s->codes->shape.dim[0], in = 0;
    if (s->codes->shape.dim[1] != q->out)
        return fh_packed_fail(s, FH_ERR_FORMAT, "qweight has %" PRIu64 " rows of the weight, scales have %" PRIu64,
                              s->codes->shape.dim[1], q->out);
    FH_TRY(find_bits(s, q, &bits));
    /* The map gives the number of columns where the last word is not full; words alone give it else. */
    if (q->map && q->map->shape.n_dim == 1 && q->map->shape.dim[0]) in = q->map->shape.dim[0];
    else if (rows * 32 / 32 == rows && rows * 32 % bits == 0) in = rows * 32 / bits;
    if (in == 0 || !stream_fits(in, bits, rows))
        return fh_packed_fail(s, FH_ERR_FORMAT, "%" PRIu64 " words are no whole number of %u-bit columns", rows, bits);
    FH_TRY(set_groups(s, q, in));
    s->w.packing = FH_PACK_I32_OUT;
    s->w.bits = (uint8_t)bits;
    s->w.zero_kind = FH_ZERO_I32_OUT;
    s->w.zero_const = c->gptq_v2 ? 0 : 1;
    if (q->map) FH_TRY(fh_packed_set_map(s, q->map, q->groups));
    char group[32] = "";
    if (s->w.group_cols < in) snprintf(group, sizeof group, " g%" PRIu64, s->w.group_cols);
    return fh_packed_add(s, "GPTQ int%u%s%s%s", bits, group, c->gptq_v2 ? " v2" : "",
                         s->w.group_index ? " act-order" : "");
}

static fh_status bind_awq(fh_packed_site *s, const parts *q) {
    uint64_t in = s->codes->shape.dim[0], words = s->codes->shape.dim[1];
    if (s->p->config.bits != 4)
        return fh_packed_fail(s, FH_ERR_UNSUPPORTED, "AWQ with %" PRIu64 " bits is a packing that is not read",
                              s->p->config.bits);
    if (q->out % 8 != 0 || words != q->out / 8 || q->zeros->shape.dim[1] != words)
        return fh_packed_fail(s, FH_ERR_FORMAT,
                              "%" PRIu64 " words a row for %" PRIu64 " outputs are not AWQ's gemm packing", words,
                              q->out);
    if (q->map) return fh_packed_fail(s, FH_ERR_FORMAT, "AWQ with a group map");
    FH_TRY(set_groups(s, q, in));
    s->w.packing = FH_PACK_AWQ;
    s->w.bits = 4;
    s->w.zero_kind = FH_ZERO_AWQ;
    char group[32] = "";
    if (s->w.group_cols < in) snprintf(group, sizeof group, " g%" PRIu64, s->w.group_cols);
    return fh_packed_add(s, "AWQ int4%s", group);
}

fh_status fh_packed_bind_qweight(fh_packed_site *s) {
    parts q;
    fh_packed_method m = s->p->config.method;
    if (m != FH_PACKED_GPTQ && m != FH_PACKED_AWQ)
        return fh_packed_fail(s, FH_ERR_FORMAT, "it is packed as GPTQ or AWQ, config.json says '%.*s'",
                              FH_STR_ARG(s->p->config.method_text));
    FH_TRY(get_parts(s, &q));
    FH_TRY(fh_packed_name(s, s->base, ".weight"));
    return m == FH_PACKED_GPTQ ? bind_gptq(s, &q) : bind_awq(s, &q);
}
