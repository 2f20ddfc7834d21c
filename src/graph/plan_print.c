/* graph/plan_print.c - names of ops and kinds, and one op as a line for people.
 * SPDX-License-Identifier: Apache-2.0
 * Reads a checked plan; writes nothing but text. */
#include "graph/plan.h"

static const char *const OP_NAME[FH_OP_COUNT] = {
#define FH_OP_ROW(id, name, in, out, parts) [FH_OP_##id] = name,
#include "graph/op.def"
#undef FH_OP_ROW
};

static const char *const MAP_NAME[FH_MAP_COUNT] = {
    [FH_MAP_NONE] = "none",       [FH_MAP_SILU] = "silu",         [FH_MAP_GELU_TANH] = "gelu_tanh",
    [FH_MAP_GELU_ERF] = "gelu",   [FH_MAP_RELU] = "relu",         [FH_MAP_SIGMOID] = "sigmoid",
    [FH_MAP_TANH] = "tanh",       [FH_MAP_SOFTPLUS] = "softplus", [FH_MAP_SCALE] = "scale",
    [FH_MAP_SOFTCAP] = "softcap", [FH_MAP_CLAMP] = "clamp",       [FH_MAP_OAI_SWIGLU] = "oai_swiglu",
};

const char *fh_op_name(fh_op_kind k) { return k < FH_OP_COUNT ? OP_NAME[k] : "?"; }
const char *fh_map_name(fh_map_kind k) { return k < FH_MAP_COUNT ? MAP_NAME[k] : "?"; }

const char *fh_state_kind_name(fh_state_kind k) {
    switch (k) {
    case FH_STATE_KV: return "kv";
    case FH_STATE_LATENT: return "latent";
    case FH_STATE_CROSS: return "cross";
    case FH_STATE_RECURRENT: return "recurrent";
    default: return "?";
    }
}

const char *fh_mask_name(fh_mask_kind k) {
    switch (k) {
    case FH_MASK_CAUSAL: return "causal";
    case FH_MASK_SLIDING: return "sliding";
    case FH_MASK_SYMMETRIC: return "symmetric";
    case FH_MASK_CHUNKED: return "chunked";
    case FH_MASK_NONE: return "no mask";
    default: return "?";
    }
}

static void print_view(const fh_plan *p, fh_view v, fh_buf *out) {
    const fh_value *x = &p->value[v.value];
    fh_buf_add_str(out, x->name);
    if (v.heads == 1 && v.col == 0 && v.width == x->width) return;
    if (v.col == 0 && v.stride == v.width && (uint64_t)v.heads * v.width == x->width) {
        fh_buf_printf(out, " [%u x %u]", v.heads, v.width);
    } else if (v.heads == 1) {
        fh_buf_printf(out, " [%u at %u]", v.width, v.col);
    } else {
        fh_buf_printf(out, " [%u x %u at %u step %u]", v.heads, v.width, v.col, v.stride);
    }
}

/* ", " between things, but not before the first. */
static void next(fh_buf *out, bool *first) {
    if (!*first) fh_buf_add_z(out, ", ");
    *first = false;
}

static void print_map(fh_map_kind kind, float c, float limit, fh_buf *out) {
    fh_buf_printf(out, ", %s", fh_map_name(kind));
    if (c != 0) fh_buf_printf(out, " %g", (double)c);
    if (limit > 0) fh_buf_printf(out, ", limit %g", (double)limit);
}

static void print_attend(const fh_attend_args *a, fh_buf *out) {
    fh_buf_printf(out, ", %s", fh_mask_name(a->mask));
    if (a->mask == FH_MASK_SLIDING || a->mask == FH_MASK_SYMMETRIC || a->mask == FH_MASK_CHUNKED) {
        fh_buf_printf(out, " %u", a->window);
    }
    fh_buf_printf(out, ", scale %g", (double)a->scale);
    if (a->softcap != 0) fh_buf_printf(out, ", softcap %g", (double)a->softcap);
    if (a->buckets != 0) {
        fh_buf_printf(out, ", %u buckets to %u%s", a->buckets, a->max_distance, a->bidirectional ? " both ways" : "");
    }
}

static void print_route(const fh_route_args *a, fh_buf *out) {
    static const char *const GATE[] = {"softmax", "softmax of chosen", "sigmoid"};
    fh_buf_printf(out, ", %u of %u, %s", a->k, a->n_expert, a->gate <= FH_GATE_SIGMOID ? GATE[a->gate] : "?");
    if (a->group_rule != FH_GROUP_NONE) {
        fh_buf_printf(out, ", %u of %u groups by %s", a->n_group_used, a->n_group,
                      a->group_rule == FH_GROUP_MAX ? "best" : "best two");
    }
    if (a->renorm) fh_buf_add_z(out, ", sum 1");
    if (a->scale != 1) fh_buf_printf(out, ", scale %g", (double)a->scale);
}

static void print_args(const fh_plan *p, const fh_op *o, fh_buf *out) {
    static const char *const NORM[] = {"rms", "layer", "l2"}, *const LAYOUT[] = {"pairs", "halves", "split"};
    switch (o->kind) {
    case FH_OP_EMBED:
        if (o->u.embed.from == FH_EMBED_POSITION) fh_buf_add_z(out, ", by position");
        if (o->u.embed.from == FH_EMBED_ROW_0) fh_buf_add_z(out, ", row 0");
        if (o->u.embed.offset != 0) fh_buf_printf(out, ", offset %u", o->u.embed.offset);
        if (o->u.embed.scale != 1) fh_buf_printf(out, ", scale %g", (double)o->u.embed.scale);
        if (o->u.embed.add) fh_buf_add_z(out, ", added");
        break;
    case FH_OP_MATMUL:
        if (o->u.matmul.turn != 0) fh_buf_printf(out, ", summed by %u heads in turn", o->u.matmul.turn);
        break;
    case FH_OP_NORM:
        fh_buf_printf(out, ", %s, eps %g", o->u.norm.kind <= FH_NORM_L2 ? NORM[o->u.norm.kind] : "?",
                      (double)o->u.norm.eps);
        break;
    case FH_OP_ADD:
        if (o->u.add.scale != 1) fh_buf_printf(out, ", scale %g", (double)o->u.add.scale);
        break;
    case FH_OP_MAP:
    case FH_OP_GLU: print_map(o->u.map.kind, o->u.map.c, o->u.map.limit, out); break;
    case FH_OP_ROPE:
        fh_buf_printf(out, ", rope %u (%s, %u)%s", o->u.rope.rope, LAYOUT[p->rope[o->u.rope.rope].layout],
                      p->rope[o->u.rope.rope].n_rot, o->u.rope.inverse ? ", inverse" : "");
        break;
    case FH_OP_ATTEND: print_attend(&o->u.attend, out); break;
    case FH_OP_ROUTE: print_route(&o->u.route, out); break;
    case FH_OP_CONV:
        fh_buf_printf(out, ", %u taps", o->u.conv.taps);
        if (o->u.conv.map != FH_MAP_NONE) print_map(o->u.conv.map, 0, 0, out);
        break;
    case FH_OP_DELTA:
        if (o->u.delta.map == FH_HEADS_TILED) fh_buf_add_z(out, ", tiled heads");
        break;
    default: break;
    }
}

fh_status fh_plan_print_op(const fh_plan *p, uint32_t op, fh_buf *out) {
    const fh_op *o = &p->op[op];
    bool first = true;
    fh_buf_printf(out, "%s ", fh_op_name(o->kind));
    for (int i = 0; i < FH_OP_MAX_OUT; i++) {
        if (o->out[i].value == FH_NO_VALUE) continue;
        next(out, &first);
        print_view(p, o->out[i], out);
    }
    bool has_out = !first;
    if (has_out) fh_buf_add_z(out, " = ");
    first = true;
    if (o->matrix != FH_NO_ID) {
        next(out, &first);
        fh_buf_add_str(out, p->matrix[o->matrix].name);
    }
    for (int i = 0; i < FH_OP_MAX_IN; i++) {
        if (o->in[i].value == FH_NO_VALUE) continue;
        next(out, &first);
        print_view(p, o->in[i], out);
    }
    for (int i = 0; i < FH_OP_MAX_VEC; i++) {
        if (o->vec[i] == FH_NO_ID) continue;
        next(out, &first);
        fh_buf_add_str(out, p->vector[o->vec[i]].name);
    }
    if (o->state != FH_NO_ID) {
        next(out, &first);
        fh_buf_add_str(out, p->state[o->state].name);
    }
    print_args(p, o, out);
    return fh_buf_check(out, NULL);
}
