/* model/block_attention.c - attention over keys and values: projections, norms of heads, rotation, state, output.
 * SPDX-License-Identifier: Apache-2.0
 * Self and cross attention. Fused projections, biases, head norms, sinks, distance biases and output gates are there
 * when their tensors (or the spec) are. */
#include "model/compile.h"

typedef struct qkv {
    fh_view q, k, v, gate;
} qkv;

static fh_view project(fh_compile *c, fh_slot slot, fh_slot bias, fh_view x, uint32_t heads, uint32_t width) {
    return fh_view_heads(fh_emit_matmul(c, slot, bias, x, heads * width), heads, width, width);
}

static qkv project_all(fh_compile *c, fh_view x) {
    const fh_layer *l = c->layer;
    qkv r = {.gate = {.value = FH_NO_VALUE}};
    if (fh_has(c, FH_SLOT_ATTN_QKV)) {
        uint32_t nq = l->n_head * l->k_width, nk = l->n_kv_head * l->k_width, nv = l->n_kv_head * l->v_width;
        fh_view all = fh_emit_matmul(c, FH_SLOT_ATTN_QKV, FH_SLOT_ATTN_QKV_BIAS, x, nq + nk + nv);
        r.q = fh_view_heads(fh_view_cols(all, 0, nq), l->n_head, l->k_width, l->k_width);
        r.k = fh_view_heads(fh_view_cols(all, nq, nk), l->n_kv_head, l->k_width, l->k_width);
        r.v = fh_view_heads(fh_view_cols(all, nq + nk, nv), l->n_kv_head, l->v_width, l->v_width);
        return r;
    }
    uint32_t q_width = c->spec->q_gate_packed ? 2 * l->k_width : l->k_width;
    r.q = project(c, FH_SLOT_ATTN_Q, FH_SLOT_ATTN_Q_BIAS, x, l->n_head, q_width);
    if (c->spec->q_gate_packed) {
        r.gate = fh_view_cols(r.q, l->k_width, l->k_width);
        r.q = fh_view_cols(r.q, 0, l->k_width);
    }
    r.k = project(c, FH_SLOT_ATTN_K, FH_SLOT_ATTN_K_BIAS, x, l->n_kv_head, l->k_width);
    r.v = project(c, FH_SLOT_ATTN_V, FH_SLOT_ATTN_V_BIAS, x, l->n_kv_head, l->v_width);
    return r;
}

static void store(fh_compile *c, fh_view k, fh_view v, uint32_t state) {
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_STORE, c->il);
    if (!op) return;
    op->in[0] = k;
    op->in[1] = v;
    op->state = state;
}

static fh_view attend(fh_compile *c, fh_view q, uint32_t state, bool cross) {
    const fh_layer *l = c->layer;
    fh_view y = fh_emit_value(c, 1, l->n_head * l->v_width, cross ? "cross.mixed" : "attn.mixed");
    fh_view heads = fh_view_heads(y, l->n_head, l->v_width, l->v_width);
    uint32_t sinks = FH_NO_ID, bias = FH_NO_ID, buckets = c->spec->rel_buckets;
    if (!cross) {
        sinks = fh_bind_vector(c->bind, c->stack, FH_SLOT_ATTN_SINKS, c->il, l->n_head, FH_VECTOR_PLAIN, true);
        if (buckets)
            bias = fh_bind_vector(c->bind, c->stack, FH_SLOT_ATTN_REL_BIAS, c->il, (uint64_t)buckets * l->n_head,
                                  FH_VECTOR_PLAIN, false);
    }
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_ATTEND, c->il);
    if (!op) return y;
    op->in[0] = q;
    op->out[0] = heads;
    op->state = state;
    op->vec[0] = sinks;
    op->vec[1] = bias;
    op->u.attend = (fh_attend_args){.mask = cross ? FH_MASK_NONE : l->mask,
                                    .window = cross ? 0 : l->window,
                                    .scale = l->score_scale,
                                    .softcap = c->spec->score_softcap,
                                    .buckets = bias == FH_NO_ID ? 0 : buckets,
                                    .max_distance = c->spec->rel_distance,
                                    .bidirectional = c->stack == FH_STACK_ENCODER};
    return y;
}

fh_view fh_block_attention(fh_compile *c, fh_view x) {
    const fh_layer *l = c->layer;
    qkv r = project_all(c, x);
    fh_emit_head_norm(c, FH_SLOT_ATTN_Q_NORM, r.q);
    fh_emit_head_norm(c, FH_SLOT_ATTN_K_NORM, r.k);
    fh_emit_rope(c, r.q, l->rope);
    fh_emit_rope(c, r.k, l->rope);
    fh_state kv = {.kind = FH_STATE_KV,
                   .layer = (uint32_t)c->il,
                   .heads = l->n_kv_head,
                   .k_width = l->k_width,
                   .v_width = l->v_width};
    uint32_t window = l->mask == FH_MASK_SLIDING ? l->window : 0;
    uint32_t state = fh_bind_state(c->bind, kv, window, c->stack == FH_STACK_ENCODER, "kv");
    store(c, r.k, r.v, state);
    fh_view y = attend(c, r.q, state, false);
    if (r.gate.value != FH_NO_VALUE) {
        fh_view heads = fh_view_heads(y, l->n_head, l->v_width, l->v_width);
        fh_emit_glu(c, r.gate, heads, FH_MAP_SIGMOID, NULL);
    }
    return fh_emit_matmul(c, FH_SLOT_ATTN_O, FH_SLOT_ATTN_O_BIAS, y, c->spec->n_embd);
}

/* ---- cross attention: the same state, written by one plan and read by the other ---- */

static uint32_t cross_state(fh_compile *c) {
    const fh_layer *l = c->layer;
    for (uint32_t i = 0; i < c->bind->n_state; i++)
        if (c->bind->state[i].kind == FH_STATE_CROSS && c->bind->state[i].layer == (uint32_t)c->il) return i;
    fh_state kv = {.kind = FH_STATE_CROSS,
                   .layer = (uint32_t)c->il,
                   .heads = l->n_kv_head,
                   .k_width = l->k_width,
                   .v_width = l->v_width};
    return fh_bind_state(c->bind, kv, 0, true, "cross");
}

void fh_block_cross_store(fh_compile *c, fh_view encoded) {
    const fh_layer *l = c->layer;
    fh_view k = project(c, FH_SLOT_CROSS_K, FH_SLOT_COUNT, encoded, l->n_kv_head, l->k_width);
    fh_view v = project(c, FH_SLOT_CROSS_V, FH_SLOT_COUNT, encoded, l->n_kv_head, l->v_width);
    store(c, k, v, cross_state(c));
}

fh_view fh_block_cross(fh_compile *c, fh_view x) {
    fh_view q = project(c, FH_SLOT_CROSS_Q, FH_SLOT_COUNT, x, c->layer->n_head, c->layer->k_width);
    return fh_emit_matmul(c, FH_SLOT_CROSS_O, FH_SLOT_COUNT, attend(c, q, cross_state(c), true), c->spec->n_embd);
}
