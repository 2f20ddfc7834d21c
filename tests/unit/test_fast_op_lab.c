/* tests/unit/test_fast_op_lab.c - runs a small plan twice: exact, and by the fast ops; see test_fast_op_lab.h.
 * SPDX-License-Identifier: Apache-2.0
 * The executor itself runs the exact step; then all ops are walked again on the same batch, and recurrent state is put
 * back before. */
#include "test_fast_op_lab.h"

#include <math.h>

#include "device/cpu_fast.h"

static fh_cpu_run_fn *const FAST[FH_OP_COUNT] = {
    [FH_OP_EMBED] = fh_cpu_run_embed,
    [FH_OP_ROWS] = fh_cpu_run_rows,
    [FH_OP_MATMUL] = fh_cpu_run_product,
    [FH_OP_MATMUL_HEADS] = fh_cpu_run_product,
    [FH_OP_MATMUL_EXPERTS] = fh_cpu_run_product,
    [FH_OP_NORM] = fh_cpu_fast_norm,
    [FH_OP_ADD] = fh_cpu_fast_add,
    [FH_OP_MAP] = fh_cpu_fast_map,
    [FH_OP_GLU] = fh_cpu_fast_glu,
    [FH_OP_ROPE] = fh_cpu_fast_rope,
    [FH_OP_STORE] = fh_cpu_fast_store,
    [FH_OP_ATTEND] = fh_cpu_fast_attend,
    [FH_OP_ROUTE] = fh_cpu_run_route,
    [FH_OP_GROUP] = fh_cpu_run_group,
    [FH_OP_COMBINE] = fh_cpu_run_combine,
    [FH_OP_CONV] = fh_cpu_fast_conv,
    [FH_OP_DECAY] = fh_cpu_run_decay,
    [FH_OP_DELTA] = fh_cpu_fast_delta,
};

/* What is run both ways. */
typedef struct twice {
    const lab *l;
    lab_rows exact, fast;
} twice;

static void walk(void *ctx, int worker, int n_worker) {
    fh_exec *x = ctx;
    (void)n_worker;
    for (uint32_t i = 0; i < x->n_run; i++) {
        FAST[x->plan->op[i].kind](x, &x->plan->op[i], &x->worker[worker]);
        fh_pool_barrier(x->pool);
    }
}

static void both_steps(void *ctx, fh_exec *x, const fh_batch *b) {
    twice *t = ctx;
    const size_t n = t->l->slot_floats;
    float *kept = fh_alloc((n + 1) * b->n_seq, sizeof *kept);
    CHECK(kept != NULL);
    for (uint32_t s = 0; s < b->n_seq; s++) memcpy(kept + s * n, b->seq[s].slot, n * sizeof *kept);
    lab_exact_step(&t->exact, x, b);
    for (uint32_t s = 0; s < b->n_seq; s++) memcpy(b->seq[s].slot, kept + s * n, n * sizeof *kept);
    fh_pool_run(x->pool, walk, x);
    lab_keep_rows(&t->fast, x, b);
    fh_free(kept);
}

fast_pair lab_run_fast(lab *l, const lab_way *way) {
    twice t = {.l = l, .exact = lab_rows_new(l), .fast = lab_rows_new(l)};
    lab_steps(l, way, both_steps, &t);
    return (fast_pair){.exact = t.exact.v, .fast = t.fast.v, .n = t.exact.n};
}

void fast_pair_release(fast_pair *p) {
    fh_free(p->exact);
    fh_free(p->fast);
}

double fast_pair_error(const fast_pair *p) {
    double error = 0, all = 0;
    for (size_t i = 0; i < p->n; i++) {
        const double d = (double)p->fast[i] - (double)p->exact[i];
        error += d * d;
        all += (double)p->exact[i] * (double)p->exact[i];
    }
    return all > 0 ? sqrt(error / all) : sqrt(error);
}
