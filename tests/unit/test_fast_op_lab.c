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
    [FH_OP_DELTA] = fh_cpu_run_delta,
};

typedef struct memory {
    fh_state_place place[LAB_MAX];
    fh_state_layout layout;
    uint8_t **page[LAB_SEQ][FH_MAX_GROUPS];
    uint32_t n_page;
    float *slot[LAB_SEQ], *kept[LAB_SEQ];
} memory;

static void open_memory(lab *l, memory *m, const lab_way *way) {
    fh_err err = {0};
    bool fell;
    memset(m, 0, sizeof *m);
    CHECK_OK(fh_state_layout_make(&l->plan, way->page, way->type, m->place, &m->layout, &fell, &err), err);
    m->n_page = (uint32_t)fh_ceil_div(FH_MAX(l->n_token, l->encoder_rows), way->page);
    for (uint32_t s = 0; s < l->n_seq; s++) {
        for (uint32_t g = 0; g < l->plan.n_group; g++) {
            m->page[s][g] = fh_alloc_zero(m->n_page, sizeof **m->page[s]);
            for (uint32_t p = 0; p < m->n_page; p++) {
                m->page[s][g][p] = fh_alloc(m->layout.page_bytes[g], 1);
                memset(m->page[s][g][p], 0xff, m->layout.page_bytes[g]); /* NaN: nothing unwritten may count */
            }
        }
        m->slot[s] = fh_alloc_zero(m->layout.slot_floats + 1, sizeof(float));
        m->kept[s] = fh_alloc_zero(m->layout.slot_floats + 1, sizeof(float));
    }
}

static void close_memory(const lab *l, memory *m) {
    for (uint32_t s = 0; s < l->n_seq; s++) {
        for (uint32_t g = 0; g < l->plan.n_group; g++) {
            for (uint32_t p = 0; p < m->n_page; p++) fh_free(m->page[s][g][p]);
            fh_free(m->page[s][g]);
        }
        fh_free(m->slot[s]);
        fh_free(m->kept[s]);
    }
}

static void walk(void *ctx, int worker, int n_worker) {
    fh_exec *x = ctx;
    (void)n_worker;
    for (uint32_t i = 0; i < x->n_run; i++) {
        FAST[x->plan->op[i].kind](x, &x->plan->op[i], &x->worker[worker]);
        fh_pool_barrier(x->pool);
    }
}

static void keep_rows(const fh_exec *x, const uint32_t *token, uint32_t n, uint32_t width, float *out) {
    const float *v = fh_exec_export(x, FH_EXPORT_HIDDEN);
    CHECK(v != NULL);
    for (uint32_t i = 0; i < n; i++) memcpy(out + (size_t)token[i] * width, v + (size_t)i * width, width * sizeof *v);
}

/* Up to `chunk` tokens of every sequence from `done` on. Returns how many there were. */
static uint32_t step(lab *l, memory *m, fh_exec *x, uint32_t chunk, uint32_t done, fast_pair *out, uint32_t width) {
    fh_err err = {0};
    fh_batch_seq seq[LAB_SEQ] = {0};
    uint32_t *token = fh_alloc(3 * (size_t)l->n_token, sizeof *token), *pos = token + l->n_token,
             *of = pos + l->n_token;
    uint32_t n = 0, first = 0, n_seq = 0;
    for (uint32_t s = 0; s < l->n_seq; first += l->len[s], s++) {
        if (done >= l->len[s]) continue;
        fh_batch_seq *q = &seq[n_seq];
        *q = (fh_batch_seq){.first = n,
                            .n = FH_MIN(chunk, l->len[s] - done),
                            .past = done,
                            .length = l->len[s],
                            .encoder_rows = l->encoder_rows,
                            .slot = m->slot[s]};
        memcpy(m->kept[s], m->slot[s], m->layout.slot_floats * sizeof(float));
        for (uint32_t g = 0; g < l->plan.n_group; g++) q->page[g] = m->page[s][g];
        for (uint32_t i = 0; i < q->n; i++, n++) {
            token[n] = first + done + i;
            pos[n] = done + i;
            of[n] = n_seq;
        }
        n_seq++;
    }
    if (n > 0) {
        const fh_batch b = {
            .n_token = n, .n_row = 0, .n_seq = n_seq, .token = token, .pos = pos, .seq_of = of, .seq = seq};
        CHECK_OK(fh_exec_run(x, &b, 1u << FH_EXPORT_HIDDEN, &err), err);
        keep_rows(x, token, n, width, out->exact);
        for (uint32_t s = 0; s < l->n_seq; s++) memcpy(m->slot[s], m->kept[s], m->layout.slot_floats * sizeof(float));
        fh_pool_run(x->pool, walk, x);
        keep_rows(x, token, n, width, out->fast);
    }
    fh_free(token);
    return n;
}

fast_pair lab_run_fast(lab *l, const lab_way *way) {
    fh_err err = {0};
    memory m;
    fh_pool *pool = NULL;
    fh_exec *x = NULL;
    const fh_value *e = &l->plan.value[l->plan.exported[FH_EXPORT_HIDDEN]];
    const uint32_t width = e->per * e->width;
    fast_pair out = {.n = (size_t)l->n_token * width};
    out.exact = fh_alloc_zero(out.n, sizeof(float));
    out.fast = fh_alloc_zero(out.n, sizeof(float));
    CHECK(out.exact != NULL && out.fast != NULL);
    CHECK_OK(fh_pool_new(&pool, &(fh_pool_options){.n_worker = way->threads, .no_pin = true}, &err), err);
    open_memory(l, &m, way);
    const fh_exec_options opt = {.pool = pool, .ceiling = {{1, l->n_token, l->n_token}}};
    CHECK_OK(fh_exec_new(&x, &l->plan, &m.layout, &opt, &err), err);
    for (uint32_t done = 0; step(l, &m, x, way->chunk, done, &out, width) > 0; done += way->chunk) {
    }
    fh_exec_free(x);
    close_memory(l, &m);
    fh_pool_free(pool);
    return out;
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
