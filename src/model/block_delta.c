/* model/block_delta.c - the gated delta rule: a matrix of memory per head instead of a growing cache.
 * SPDX-License-Identifier: Apache-2.0
 * One projection holds queries, keys and values; a short causal convolution runs over all of it; queries and keys are
 * normalized; the memory decays, is corrected and read; the output is normed per head and gated. */
#include "model/compile.h"

#include <math.h>

#define L2_EPS 1e-6f

static void normalize(fh_compile *c, fh_view heads, float scale) {
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_NORM, c->il);
    if (op) {
        op->in[0] = op->out[0] = heads;
        op->u.norm = (fh_norm_args){.kind = FH_NORM_L2, .eps = L2_EPS};
    }
    if (scale != 1) fh_emit_map(c, heads, FH_MAP_SCALE, scale);
}

static fh_view convolve(fh_compile *c, fh_view x, uint32_t channels) {
    uint32_t taps = c->spec->delta.taps;
    fh_view y = fh_emit_value(c, 1, channels, "delta.mixed");
    uint32_t kernel =
        fh_bind_vector(c->bind, c->stack, FH_SLOT_DELTA_CONV, c->il, (uint64_t)channels * taps, FH_VECTOR_PLAIN, false);
    fh_state tail = {.kind = FH_STATE_RECURRENT, .layer = (uint32_t)c->il, .size = (uint64_t)(taps - 1) * channels};
    uint32_t state = fh_bind_state(c->bind, tail, 0, false, "conv");
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_CONV, c->il);
    if (!op) return y;
    op->in[0] = x;
    op->out[0] = y;
    op->vec[0] = kernel;
    op->state = state;
    op->u.conv = (fh_conv_args){.taps = taps, .map = FH_MAP_SILU};
    return y;
}

/* Log decay per value head: -exp(A) softplus(a + dt). */
static fh_view decay(fh_compile *c, fh_view x) {
    uint32_t n = c->spec->delta.v_heads;
    fh_view a = fh_emit_matmul(c, FH_SLOT_DELTA_A, FH_SLOT_COUNT, x, n);
    fh_vector_form form = c->spec->gguf ? FH_VECTOR_PLAIN : FH_VECTOR_NEG_EXP; /* GGUF stores -exp(A) */
    uint32_t rate = fh_bind_vector(c->bind, c->stack, FH_SLOT_DELTA_DECAY, c->il, n, form, false);
    uint32_t dt = fh_bind_vector(c->bind, c->stack, FH_SLOT_DELTA_DT_BIAS, c->il, n, FH_VECTOR_PLAIN, false);
    fh_view g = fh_emit_value(c, 1, n, "delta.log_decay");
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_DECAY, c->il);
    if (!op) return g;
    op->in[0] = a;
    op->out[0] = g;
    op->vec[0] = rate;
    op->vec[1] = dt;
    return g;
}

fh_view fh_block_delta(fh_compile *c, fh_view x) {
    const fh_delta_spec *d = &c->spec->delta;
    uint32_t nk = d->k_heads * d->k_width, nv = d->v_heads * d->v_width;
    fh_view all = convolve(c, fh_emit_matmul(c, FH_SLOT_DELTA_QKV, FH_SLOT_COUNT, x, 2 * nk + nv), 2 * nk + nv);
    fh_view q = fh_view_heads(fh_view_cols(all, 0, nk), d->k_heads, d->k_width, d->k_width);
    fh_view k = fh_view_heads(fh_view_cols(all, nk, nk), d->k_heads, d->k_width, d->k_width);
    fh_view v = fh_view_heads(fh_view_cols(all, 2 * nk, nv), d->v_heads, d->v_width, d->v_width);
    normalize(c, q, (float)(1 / sqrt(d->k_width)));
    normalize(c, k, 1);
    fh_view g = decay(c, x);
    fh_view beta = fh_emit_matmul(c, FH_SLOT_DELTA_B, FH_SLOT_COUNT, x, d->v_heads);
    fh_emit_map(c, beta, FH_MAP_SIGMOID, 0);
    fh_state memory = {.kind = FH_STATE_RECURRENT,
                       .layer = (uint32_t)c->il,
                       .heads = d->v_heads,
                       .k_width = d->k_width,
                       .v_width = d->v_width,
                       .size = (uint64_t)d->v_heads * d->k_width * d->v_width};
    uint32_t state = fh_bind_state(c->bind, memory, 0, false, "memory");
    fh_view y = fh_emit_value(c, 1, nv, "delta.read"), heads = fh_view_heads(y, d->v_heads, d->v_width, d->v_width);
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_DELTA, c->il);
    if (op) {
        op->in[0] = q;
        op->in[1] = k;
        op->in[2] = v;
        op->in[3] = fh_view_heads(g, d->v_heads, 1, 1);
        op->in[4] = fh_view_heads(beta, d->v_heads, 1, 1);
        op->out[0] = heads;
        op->state = state;
        op->u.delta = (fh_delta_args){.map = d->map};
    }
    uint32_t w = fh_bind_vector(c->bind, c->stack, FH_SLOT_DELTA_NORM, c->il, d->v_width, FH_VECTOR_PLAIN, false);
    op = fh_plan_add_op(c->plan, FH_OP_NORM, c->il);
    if (op) {
        op->in[0] = op->out[0] = heads;
        op->vec[0] = w;
        op->u.norm = (fh_norm_args){.kind = FH_NORM_RMS, .eps = c->spec->norm_eps};
    }
    fh_view z = fh_emit_matmul(c, FH_SLOT_DELTA_Z, FH_SLOT_COUNT, x, nv);
    fh_emit_glu(c, z, y, FH_MAP_SILU, NULL);
    /* sums as where heads are grouped */
    return fh_emit_turned(c, FH_SLOT_DELTA_O, heads, c->spec->n_embd, d->map == FH_HEADS_TILED ? d->k_heads : 0);
}
