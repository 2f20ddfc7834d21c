/* device/cpu_fast_delta.c - the gated delta rule in the CPU's fast mode.
 * SPDX-License-Identifier: Apache-2.0
 * A unit is some columns of a head of one sequence, over all its tokens in this step; units go round the workers, so
 * that a long sequence beside short ones is everybody's. Sequences of a few tokens go step by step, longer ones in
 * chunks (kernel/fast_delta.h). Where this CPU has no such loops exact mode's are taken.
 * Invariant: a column's bits do not depend on where heads are cut into units, so not on the number of workers. */
#include "device/cpu_part.h"

#include "device/cpu_fast.h"
#include "kernel/fast_delta.h"

enum {
    LEAST_COLUMNS = 32, /* of a unit that is a piece of a head */
    SHARED_PERCENT = 15 /* of a head's work is the same for all its columns, and done again in each of its units */
};

void fh_cpu_size_delta(const fh_plan *p, fh_cpu_sizes *s) {
    for (uint32_t i = 0; i < p->n_op; i++) {
        const fh_op *o = &p->op[i];
        if (o->kind != FH_OP_DELTA) continue;
        s->delta_floats = FH_MAX(s->delta_floats, fh_delta_room(o->in[0].width, o->in[2].width));
    }
}

/* Columns of a unit: what lets the last worker finish first, where all sequences have as many tokens. */
static uint64_t choose_columns(uint64_t heads, uint64_t v_width, uint64_t n_worker) {
    uint64_t best = v_width, least = UINT64_MAX;
    for (uint64_t n = v_width;; n = fh_ceil_div(n, 2)) {
        const uint64_t units = heads * fh_ceil_div(v_width, n);
        const uint64_t work = fh_ceil_div(units, n_worker) * (100 * n + SHARED_PERCENT * v_width);
        if (work < least) {
            least = work;
            best = n;
        }
        if (n < 2 * LEAST_COLUMNS) return best;
    }
}

void fh_cpu_fast_delta(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_fast_delta *fast = fh_fast_delta_best();
    fh_view v[6] = {o->in[0], o->in[1], o->in[2], o->in[3], o->in[4], o->out[0]};
    const uint32_t keys = v[0].heads, heads = v[2].heads, dk = v[0].width, dv = v[2].width;
    if (fast == NULL || !fh_view_reshape(&v[1], keys, dk) || !fh_view_reshape(&v[3], heads, 1) ||
        !fh_view_reshape(&v[4], heads, 1) || !fh_view_reshape(&v[5], heads, dv)) {
        fh_cpu_run_delta(x, o, w);
        return;
    }
    size_t ld[6];
    uint64_t n_seq = 0;
    for (int i = 0; i < 6; i++) ld[i] = x->plan->value[v[i].value].width;
    for (uint32_t s = 0; s < x->batch->n_seq; s++) n_seq += x->batch->seq[s].n > 0;
    const uint64_t columns = choose_columns(heads * n_seq, dv, (uint64_t)w->n);
    const uint64_t pieces = fh_ceil_div(dv, columns), units = pieces * heads * x->batch->n_seq;
    for (uint64_t u = 0, turn = 0; u < units; u++) {
        const fh_batch_seq *seq = &x->batch->seq[u / pieces / heads];
        if (seq->n == 0 || turn++ % (uint64_t)w->n != (uint64_t)w->index) continue;
        const uint64_t h = u / pieces % heads, col = u % pieces * columns;
        const uint64_t kh = o->u.delta.map == FH_HEADS_GROUPED ? h / (heads / keys) : h % keys;
        const fh_delta_work work = {
            .n_token = seq->n,
            .k_width = dk,
            .n_col = (uint32_t)FH_MIN(columns, dv - col),
            .q = fh_cpu_row(x, &v[0], seq->first) + kh * v[0].stride,
            .k = fh_cpu_row(x, &v[1], seq->first) + kh * v[1].stride,
            .v = fh_cpu_row(x, &v[2], seq->first) + h * v[2].stride + col,
            .g = fh_cpu_row(x, &v[3], seq->first) + h * v[3].stride,
            .beta = fh_cpu_row(x, &v[4], seq->first) + h * v[4].stride,
            .s = seq->slot + x->layout.place[o->state].k_at + h * dk * dv + col,
            .out = fh_cpu_row(x, &v[5], seq->first) + h * v[5].stride + col,
            .q_ld = ld[0],
            .k_ld = ld[1],
            .v_ld = ld[2],
            .g_ld = ld[3],
            .beta_ld = ld[4],
            .s_ld = dv,
            .out_ld = ld[5],
            .room = w->delta,
        };
        (seq->n < FH_DELTA_FEW ? fast->steps : fast->chunks)(&work);
    }
}
