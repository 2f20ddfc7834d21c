/* device/cpu_fast_gate.c - gate, up and their GLU as one step of the CPU's fast mode.
 * SPDX-License-Identifier: Apache-2.0
 * A few panels of the gate go into the worker's own scratch; the same panels of up find them there, while they are in
 * its second-level cache, and only what comes out of the GLU goes to memory. The same bits as the three ops give.
 * Where sequences have adapters, or the two matrices want their input in different forms, the ops run one by one. */
#include "device/cpu_fast.h"
#include "device/cpu_fast_product.h"
#include "device/prepared.h"
#include "kernel/fast_op.h"

enum { PANELS = 8 }; /* at a time: a megabyte for FH_CPU_ENTRIES inputs would not stay near */

typedef struct pair {
    fh_cpu_product gate; /* the first member: rows are shared out by it */
    fh_cpu_product up;
    const fh_op *glu;
} pair;

typedef struct piece {
    const pair *q;
    fh_cpu_worker *w;
    const fh_fast_ops *ops;
    const float *bias[2]; /* of the matrix's first row, or NULL */
    uint64_t p0, n;       /* the first panel in w->gates; inputs */
} piece;

void fh_cpu_size_gates(fh_cpu_sizes *s) { s->gate_floats = (uint64_t)PANELS * FH_CPU_ENTRIES * FH_PRODUCT_PANEL; }

static float *gates_at(const piece *c, uint64_t r, uint64_t i) {
    return c->w->gates + ((r / FH_PRODUCT_PANEL - c->p0) * c->n + i) * FH_PRODUCT_PANEL;
}

static void add_bias(const float *bias, uint64_t r, size_t n_row, size_t n, float *v) {
    for (size_t j = 0; bias != NULL && j < n; j++) {
        for (size_t k = 0; k < n_row; k++) v[j * FH_PRODUCT_PANEL + k] = v[j * FH_PRODUCT_PANEL + k] + bias[r + k];
    }
}

static void keep_gates(void *ctx, uint64_t r, size_t n_row, uint64_t i, size_t n, const float *value) {
    const piece *c = ctx;
    float *to = gates_at(c, r, i);
    memcpy(to, value, n * FH_PRODUCT_PANEL * sizeof *to);
    add_bias(c->bias[0], r, n_row, n, to);
}

static void finish(void *ctx, uint64_t r, size_t n_row, uint64_t i, size_t n, const float *value) {
    const piece *c = ctx;
    const fh_map_args *a = &c->q->glu->u.map;
    float *g = gates_at(c, r, i), up[FH_PRODUCT_PANEL];
    const bool whole = n_row == FH_PRODUCT_PANEL && c->bias[1] == NULL && c->ops != NULL;
    if (whole) c->ops->glu(a->kind, a->c, a->limit, g, false, value, g, n * FH_PRODUCT_PANEL);
    for (size_t j = 0; j < n; j++) {
        const float *v = value + j * FH_PRODUCT_PANEL;
        float *y = c->w->entry[i + j].y + r, *from = g + j * FH_PRODUCT_PANEL;
        if (whole) {
            memcpy(y, from, FH_PRODUCT_PANEL * sizeof *y);
            continue;
        }
        memcpy(up, v, n_row * sizeof *up);
        add_bias(c->bias[1], r, n_row, 1, up);
        if (c->ops != NULL) c->ops->glu(a->kind, a->c, a->limit, from, false, up, y, n_row);
        else fh_ref_glu(a->kind, a->c, a->limit, from, false, up, y, n_row);
    }
}

static void run_panels(fh_exec *x, const pair *q, uint32_t mat, uint64_t r0, uint64_t r1, size_t n, fh_cpu_worker *w) {
    const fh_cpu_product *side[2] = {&q->gate, &q->up};
    piece c = {.q = q, .w = w, .ops = fh_fast_ops_best(), .n = n};
    for (int k = 0; k < 2; k++) {
        const float *bias = fh_cpu_vector(x, side[k]->o, 0, NULL);
        c.bias[k] = bias != NULL ? bias + (q->gate.start != NULL ? mat * q->gate.m->out : 0) : NULL;
    }
    const uint64_t end = fh_ceil_div(r1, FH_PRODUCT_PANEL);
    for (c.p0 = r0 / FH_PRODUCT_PANEL; c.p0 < end; c.p0 += PANELS) {
        for (int k = 0; k < 2; k++) {
            const fh_product_args a = {.mat = mat,
                                       .p0 = c.p0,
                                       .p1 = FH_MIN(c.p0 + PANELS, end),
                                       .form = w->form_now,
                                       .n = n,
                                       .x = (const void *const *)w->x,
                                       .done = k == 0 ? keep_gates : finish,
                                       .ctx = &c};
            fh_product_run(fh_prepared_get(x->prepared, side[k]->o->matrix), &a, w->product);
        }
    }
}

static void run_rows(fh_exec *x, const fh_cpu_product *p, uint32_t mat, uint64_t r0, uint64_t r1, fh_cpu_worker *w) {
    const pair *q = (const pair *)(const void *)p;
    const uint64_t n = fh_cpu_product_items(p, mat);
    size_t have = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t item = fh_cpu_product_item(p, mat, i);
        w->x[have] = fh_cpu_fast_input(x, p, w, item, mat);
        w->entry[have++].y = fh_cpu_row(x, &q->glu->out[0], item);
        if (have < FH_CPU_ENTRIES && i + 1 < n) continue;
        run_panels(x, q, mat, r0, r1, have, w);
        have = 0;
    }
}

static void one_by_one(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    for (int k = 0; k < 2; k++) {
        fh_cpu_fast_product(x, o + k, w);
        fh_pool_barrier(x->pool);
    }
    fh_cpu_fast_glu(x, o + 2, w);
}

void fh_cpu_fast_gate_up(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const bool swapped = o[2].in[0].value != o[0].out[0].value;
    pair q = {.glu = o + 2};
    if (!fh_cpu_product_begin(x, o + (swapped ? 1 : 0), &q.gate, w)) return;
    if (!fh_cpu_product_begin(x, o + (swapped ? 0 : 1), &q.up, w)) return;
    const fh_product_form form = fh_cpu_fast_form_of(x, &q.gate);
    if (x->adapted || form != fh_cpu_fast_form_of(x, &q.up)) {
        one_by_one(x, o, w);
        return;
    }
    fh_cpu_product_show(x, &q.gate, w);
    fh_cpu_product_show(x, &q.up, w);
    fh_cpu_fast_need_form(x, &q.gate, form, w);
    fh_cpu_product_share(x, &q.gate, FH_PRODUCT_PANEL, run_rows, w);
}
