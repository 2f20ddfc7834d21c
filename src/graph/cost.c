/* graph/cost.c - what an op moves and computes: the rules that fit, the profiler and the roofline report share.
 * SPDX-License-Identifier: Apache-2.0
 * Bytes as stored, each read or written once; a multiplication and an addition are two operations. Experts: as many
 * as the tokens' choices can touch. State rows are priced as f16, the default type; recurrent state is f32, read and
 * written. */
#include "graph/plan.h"

static uint64_t rows_of(const fh_plan *p, const fh_view *v, const fh_extent *e) {
    return v->value == FH_NO_VALUE ? 0 : fh_value_rows(&p->value[v->value], e);
}

static uint64_t view_bytes(const fh_plan *p, const fh_view *v, const fh_extent *e) {
    if (v->value == FH_NO_VALUE) return 0;
    return rows_of(p, v, e) * v->heads * v->width * sizeof(float);
}

/* Bytes of n rows of the matrices' weights, by their share of the weights that they lie in. */
static uint64_t matrix_bytes(const fh_matrix *m, uint64_t n_mat) {
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < n_mat && i < m->n_mat; i++) {
        const fh_weight *w = fh_matrix_weight(m, (uint32_t)i);
        double rows = (double)fh_weight_rows(w) * (double)fh_weight_matrices(w);
        double all = rows * (double)fh_weight_cols(w);
        double share = all > 0 ? (double)m->out * (double)m->in / all : 0;
        bytes += (uint64_t)((double)fh_weight_stored_bytes(w) * share + 0.5);
    }
    return bytes;
}

static uint64_t seen_rows(const fh_plan *p, const fh_op *o, uint64_t keys) {
    const fh_attend_args *a = &o->u.attend;
    bool windowed = a->mask == FH_MASK_SLIDING || a->mask == FH_MASK_CHUNKED || a->mask == FH_MASK_SYMMETRIC;
    uint64_t own = p->state[o->state].kind == FH_STATE_CROSS ? 0 : 1;
    uint64_t n = keys + own;
    return windowed && a->window < n ? a->window : n;
}

static uint64_t state_row_bytes(const fh_state *s) {
    uint64_t columns = s->kind == FH_STATE_LATENT ? s->k_width : (uint64_t)s->k_width + s->v_width;
    return s->heads * columns * 2;
}

static void cost_product(const fh_plan *p, const fh_op *o, const fh_extent *e, fh_op_cost *c) {
    const fh_matrix *m = &p->matrix[o->matrix];
    uint64_t rows = rows_of(p, &o->out[0], e), n_mat = m->n_mat;
    if (o->kind == FH_OP_MATMUL_EXPERTS && rows < n_mat) n_mat = rows;
    c->weight_bytes += matrix_bytes(m, n_mat);
    c->flops = 2 * rows * m->out * m->in * (o->kind == FH_OP_MATMUL_HEADS ? m->n_mat : 1);
}

static void cost_attend(const fh_plan *p, const fh_op *o, const fh_extent *e, uint64_t keys, fh_op_cost *c) {
    const fh_state *s = &p->state[o->state];
    uint64_t tokens = e->size[FH_DIM_TOKENS], seen = seen_rows(p, o, keys);
    uint64_t heads = (uint64_t)o->in[0].heads * o->in[0].width / s->k_width;
    c->state_bytes = tokens * seen * state_row_bytes(s);
    c->flops = 2 * tokens * seen * heads * ((uint64_t)s->k_width + s->v_width);
}

fh_op_cost fh_plan_cost(const fh_plan *p, uint32_t op, const fh_extent *e, uint64_t keys) {
    const fh_op *o = &p->op[op];
    fh_op_cost c = {0, 0, 0, 0};
    for (int i = 0; i < FH_OP_MAX_IN; i++) c.value_bytes += view_bytes(p, &o->in[i], e);
    for (int i = 0; i < FH_OP_MAX_OUT; i++) c.value_bytes += view_bytes(p, &o->out[i], e);
    for (int i = 0; i < FH_OP_MAX_VEC; i++) {
        if (o->vec[i] != FH_NO_ID) c.weight_bytes += p->vector[o->vec[i]].n * sizeof(float);
    }
    uint64_t tokens = e->size[FH_DIM_TOKENS];
    uint64_t n = view_bytes(p, &o->out[0], e) / sizeof(float);
    switch (o->kind) {
    case FH_OP_EMBED: {
        const fh_matrix *m = &p->matrix[o->matrix];
        double share = (double)tokens / (double)m->out;
        c.weight_bytes += (uint64_t)((double)matrix_bytes(m, 1) * (share < 1 ? share : 1));
        c.flops = n;
        break;
    }
    case FH_OP_MATMUL:
    case FH_OP_MATMUL_HEADS:
    case FH_OP_MATMUL_EXPERTS: cost_product(p, o, e, &c); break;
    case FH_OP_ATTEND: cost_attend(p, o, e, keys, &c); break;
    case FH_OP_STORE: c.state_bytes = tokens * state_row_bytes(&p->state[o->state]); break;
    case FH_OP_CONV:
        c.state_bytes = 2 * p->state[o->state].size * sizeof(float);
        c.flops = 2 * n * o->u.conv.taps;
        break;
    case FH_OP_DELTA:
        c.state_bytes = 2 * p->state[o->state].size * sizeof(float);
        c.flops = 7 * tokens * p->state[o->state].size;
        break;
    case FH_OP_COMBINE: c.flops = 2 * view_bytes(p, &o->in[0], e) / sizeof(float); break;
    case FH_OP_NORM: c.flops = 4 * n; break;
    case FH_OP_ADD: c.flops = 2 * n; break;
    case FH_OP_MAP:
    case FH_OP_GLU:
    case FH_OP_DECAY: c.flops = 8 * n; break;
    case FH_OP_ROPE: c.flops = 3 * n; break;
    case FH_OP_ROUTE: c.flops = 8 * view_bytes(p, &o->in[0], e) / sizeof(float); break;
    case FH_OP_ROWS:
    case FH_OP_GROUP:
    case FH_OP_COUNT: break;
    }
    return c;
}
