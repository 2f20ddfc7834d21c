/* evaluate/roofline.c - the prices of a plan's ops, put together as the executor runs them.
 * SPDX-License-Identifier: Apache-2.0
 * graph/cost.c prices an op for a batch. Three things differ here, each towards the least that any executor must do:
 * keys are read once for all queries of a sequence; recurrent state is read and written by each sequence; and of
 * experts, those count that so many random choices meet on average, E (1 - (1 - k/E)^n), not the most they could. */
#include "evaluate/roofline.h"

#include <math.h>

#include "base/num.h"
#include "device/exec.h"
#include "kernel/product.h"

#define GIB (UINT64_C(1) << 30)

static fh_peak_kind kind_of_form(fh_product_form f) {
    return f == FH_FORM_I8 ? FH_PEAK_INT8 : f == FH_FORM_BF16 ? FH_PEAK_BF16 : FH_PEAK_F32;
}

/* The arithmetic that this op is done in. Attention counts as bf16, the faster of what its kernels use. */
static fh_peak_kind arithmetic(const fh_plan *p, const fh_op *o, const fh_roofline_batch *b, bool careful) {
    if (b->exact) return FH_PEAK_F32;
    if (o->kind == FH_OP_ATTEND) return careful ? FH_PEAK_F32 : FH_PEAK_BF16;
    if (!fh_op_is_product(o->kind)) return FH_PEAK_F32;
    fh_product product;
    fh_product_init(&product, &p->matrix[o->matrix], fh_cpu_best_level());
    uint64_t n = p->value[o->out[0].value].dim == FH_DIM_ROWS ? b->n_row : b->n_token;
    return kind_of_form(fh_cpu_form_wanted(&product, FH_MAX(n, 1), careful));
}

/* Of n_mat experts, how many do `rows` choices of n_token tokens touch on average, as a share of the most. */
static double touched(uint64_t n_mat, uint64_t rows, uint64_t n_token) {
    double all = (double)n_mat, k = (double)rows / (double)FH_MAX(n_token, 1), most = (double)FH_MIN(rows, n_mat);
    if (k >= all || most <= 0) return 1;
    return all * (1 - pow(1 - k / all, (double)n_token)) / most;
}

/* Rows of keys and values are priced as f16. */
static double state_factor(fh_dtype t) {
    uint64_t bytes = 64;
    (void)!fh_dtype_bytes(t, 32, &bytes);
    return (double)bytes / 64;
}

static double state_bytes(const fh_plan *p, uint32_t i, const fh_roofline_batch *b, const fh_op_cost *whole) {
    const fh_op *o = &p->op[i];
    uint64_t own = b->n_token / b->n_seq;
    const fh_extent one_each = {.size = {1, b->n_seq, b->n_seq}};
    switch (o->kind) {
    case FH_OP_ATTEND: {
        bool cross = p->state[o->state].kind == FH_STATE_CROSS;
        /* the last query of each sequence: it sees the most */
        uint64_t before = cross ? b->encoder_rows : b->past + own - 1;
        return state_factor(b->kv_type) * (double)fh_plan_cost(p, i, &one_each, before).state_bytes;
    }
    case FH_OP_STORE: return state_factor(b->kv_type) * (double)whole->state_bytes;
    default: return (double)b->n_seq * (double)whole->state_bytes; /* recurrent, in f32 */
    }
}

void fh_roofline_add(fh_roofline_work *w, const fh_plan *p, const fh_roofline_batch *b) {
    FH_REQUIRE(b->n_seq > 0 && b->n_token >= b->n_seq);
    const fh_extent e = {.size = {1, b->n_token, b->n_row}};
    const bool careful = fh_cpu_is_careful(p);
    for (uint32_t i = 0; i < p->n_op; i++) {
        const fh_op *o = &p->op[i];
        uint32_t out = o->out[0].value;
        if (b->n_row == 0 && out != FH_NO_VALUE && p->value[out].dim == FH_DIM_ROWS) continue;
        bool cross = o->kind == FH_OP_ATTEND && p->state[o->state].kind == FH_STATE_CROSS;
        /* what a token sees on average: those before its sequence's batch, and half of that */
        uint64_t keys = cross ? b->encoder_rows : b->past + (b->n_token / b->n_seq - 1) / 2;
        fh_op_cost c = fh_plan_cost(p, i, &e, keys);
        double share = 1;
        if (o->kind == FH_OP_MATMUL_EXPERTS) {
            uint64_t rows = fh_value_rows(&p->value[out], &e);
            share = touched(p->matrix[o->matrix].n_mat, rows, b->n_token);
        }
        w->weight_bytes += share * (double)c.weight_bytes;
        if (c.state_bytes) w->state_bytes += state_bytes(p, i, b, &c);
        w->ops[arithmetic(p, o, b, careful)] += (double)c.flops;
    }
}

double fh_roofline_bytes(const fh_roofline_work *w) { return w->weight_bytes + w->state_bytes; }

double fh_roofline_ops(const fh_roofline_work *w) {
    double sum = 0;
    for (int k = 0; k < FH_PEAK_KINDS; k++) sum += w->ops[k];
    return sum;
}

fh_roofline fh_roofline_of(const fh_roofline_work *w, const fh_ceilings *c) {
    fh_roofline r = {0};
    double read = c->kind[FH_PEAK_READ].all, f32 = c->kind[FH_PEAK_F32].all;
    if (read > 0) r.read_s = fh_roofline_bytes(w) / read;
    for (int k = FH_PEAK_F32; k < FH_PEAK_KINDS; k++) {
        double peak = FH_MAX(c->kind[k].all, f32); /* nobody uses an instruction that is slower than f32 */
        if (peak > 0) r.compute_s += w->ops[k] / peak;
    }
    r.by_memory = r.read_s >= r.compute_s;
    r.seconds = FH_MAX(r.read_s, r.compute_s);
    r.ops_per_s = r.compute_s > 0 ? fh_roofline_ops(w) / r.compute_s : 0;
    return r;
}

fh_status fh_roofline_measure(fh_ceilings *out, uint32_t threads, fh_err *err) {
    fh_machine m;
    fh_pool *pool = NULL;
    const fh_pool_options p = {.n_worker = (int)threads};
    fh_machine_read(&m);
    uint64_t spare = m.memory.usable_bytes ? m.memory.usable_bytes / 8 : UINT64_MAX;
    const fh_ceilings_options o = {
        .read_bytes = FH_MAX(FH_MIN(GIB, spare), GIB / 128), .compute_ms = 40, .read_ms = 800, .touch_ms = 3000};
    FH_TRY(fh_pool_new(&pool, &p, err));
    fh_status st = fh_ceilings_measure(out, pool, &m, &o, err);
    fh_pool_free(pool);
    return st;
}
