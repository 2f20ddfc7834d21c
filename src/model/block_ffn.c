/* model/block_ffn.c - feed-forward: one, gated or not; or many experts of which a router chooses some.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/compile.h"

static fh_view dense(fh_compile *c, fh_view x, const fh_slot slot[3], const fh_slot bias[3], uint32_t ff,
                     const char *name) {
    fh_view up = fh_emit_matmul(c, slot[1], bias[1], x, ff);
    if (fh_has(c, slot[0])) {
        fh_view gate = fh_emit_matmul(c, slot[0], bias[0], x, ff);
        up = fh_emit_glu(c, gate, up, c->spec->act, name);
    } else {
        fh_emit_map(c, up, c->spec->act, 0);
    }
    return fh_emit_matmul(c, slot[2], bias[2], up, c->spec->n_embd);
}

fh_view fh_block_ffn(fh_compile *c, fh_view x) {
    static const fh_slot slot[3] = {FH_SLOT_FFN_GATE, FH_SLOT_FFN_UP, FH_SLOT_FFN_DOWN};
    static const fh_slot bias[3] = {FH_SLOT_FFN_GATE_BIAS, FH_SLOT_FFN_UP_BIAS, FH_SLOT_FFN_DOWN_BIAS};
    return dense(c, x, slot, bias, c->layer->ff, "ffn.act");
}

/* ---- experts ---- */

typedef struct routing {
    fh_view weights, start, order;
} routing;

static routing route(fh_compile *c, fh_view x) {
    const fh_moe_spec *e = &c->spec->moe;
    fh_view logits = fh_emit_matmul(c, FH_SLOT_MOE_ROUTER, FH_SLOT_MOE_ROUTER_BIAS, x, e->n_expert);
    uint32_t bias =
        fh_bind_vector(c->bind, c->stack, FH_SLOT_MOE_CHOICE_BIAS, c->il, e->n_expert, FH_VECTOR_PLAIN, true);
    fh_view chosen = fh_plan_int_value(c->plan, FH_DIM_TOKENS, 1, e->n_used, "layers.%d.moe.chosen", (int)c->il);
    routing r = {.weights = fh_emit_value(c, 1, e->n_used, "moe.weights")};
    r.start = fh_plan_int_value(c->plan, FH_DIM_ONE, 1, e->n_expert + 1, "layers.%d.moe.start", (int)c->il);
    r.order = fh_plan_int_value(c->plan, FH_DIM_TOKENS, e->n_used, 1, "layers.%d.moe.order", (int)c->il);
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_ROUTE, c->il);
    if (op) {
        op->in[0] = logits;
        op->out[0] = chosen;
        op->out[1] = r.weights;
        op->vec[0] = bias;
        op->u.route = (fh_route_args){.gate = e->gate,
                                      .group_rule = e->group_rule,
                                      .n_expert = e->n_expert,
                                      .k = e->n_used,
                                      .n_group = e->n_group,
                                      .n_group_used = e->n_group_used,
                                      .renorm = e->renorm,
                                      .scale = e->scale};
    }
    op = fh_plan_add_op(c->plan, FH_OP_GROUP, c->il);
    if (op) {
        op->in[0] = chosen;
        op->out[0] = r.start;
        op->out[1] = r.order;
    }
    return r;
}

static fh_view experts(fh_compile *c, fh_slot slot, fh_slot bias, fh_view x, const routing *r, uint32_t in,
                       uint32_t out, const char *name) {
    const fh_moe_spec *e = &c->spec->moe;
    fh_view y = fh_emit_value(c, e->n_used, out, name);
    uint32_t m = fh_bind_matrix(c->bind, c->stack, slot, c->il, out, in, e->n_expert, false);
    uint32_t b = fh_bind_vector(c->bind, c->stack, bias, c->il, (uint64_t)e->n_expert * out, FH_VECTOR_PLAIN, true);
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_MATMUL_EXPERTS, c->il);
    if (!op) return y;
    op->in[0] = x;
    op->in[1] = r->start;
    op->in[2] = r->order;
    op->out[0] = y;
    op->matrix = m;
    op->vec[0] = b;
    return y;
}

/* Experts that every token goes through: one feed-forward, perhaps weighed by a gate of its own. */
static fh_view shared(fh_compile *c, fh_view x) {
    static const fh_slot slot[3] = {FH_SLOT_SHARED_GATE, FH_SLOT_SHARED_UP, FH_SLOT_SHARED_DOWN};
    static const fh_slot none[3] = {FH_SLOT_COUNT, FH_SLOT_COUNT, FH_SLOT_COUNT};
    const fh_moe_spec *e = &c->spec->moe;
    fh_view y = dense(c, x, slot, none, e->shared_ff ? e->shared_ff : e->n_shared * e->expert_ff, "shared.act");
    if (!fh_has(c, FH_SLOT_SHARED_SCORE)) return y;
    return fh_emit_glu(c, fh_emit_matmul(c, FH_SLOT_SHARED_SCORE, FH_SLOT_COUNT, x, 1), y, FH_MAP_SIGMOID, NULL);
}

fh_view fh_block_moe(fh_compile *c, fh_view x) {
    const fh_moe_spec *e = &c->spec->moe;
    uint32_t n = c->spec->n_embd;
    routing r = route(c, x);
    fh_view gate = experts(c, FH_SLOT_MOE_GATE, FH_SLOT_MOE_GATE_BIAS, x, &r, n, e->expert_ff, "moe.gate");
    fh_view up = experts(c, FH_SLOT_MOE_UP, FH_SLOT_MOE_UP_BIAS, x, &r, n, e->expert_ff, "moe.up");
    up = fh_emit_glu(c, gate, up, c->spec->act, NULL);
    fh_view down = experts(c, FH_SLOT_MOE_DOWN, FH_SLOT_MOE_DOWN_BIAS, up, &r, e->expert_ff, n, "moe.down");
    fh_view y = fh_emit_value(c, 1, n, "moe.sum");
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_COMBINE, c->il);
    if (op) {
        op->in[0] = down;
        op->in[1] = r.weights;
        op->out[0] = y;
    }
    if (!fh_has(c, FH_SLOT_SHARED_UP)) return y;
    return fh_emit_add(c, y, shared(c, x), "moe.all");
}
