/* tests/unit/test_cpu_schedule.c - the steps that plans of real models become: which ops are joined, and that no two
 * steps without a wait between them can get into each other's way, found by looking at every pair.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "device/cpu_fast.h"
#include "device/cpu_schedule.h"
#include "model/model.h"
#include "test.h"

static const char *const MODELS[] = {"llama-sharded", "qwen35-moe", "deepseek-v3",    "mm-gemma3",
                                     "bert",          "t5",         "qwen3-embedding"};

typedef struct opened {
    fh_model *model;
    fh_pool *pool;
    fh_prepared *prepared;
} opened;

static void open_model(opened *o, const char *name) {
    char path[1024];
    fh_err err = {0};
    fh_bundle *b = NULL;
    snprintf(path, sizeof path, "%s/models/%s", fh_test_golden(), name);
    CHECK_OK(fh_bundle_open(&b, path, &err), err);
    CHECK_OK(fh_model_load(&o->model, b, &err), err);
    CHECK_OK(fh_pool_new(&o->pool, &(fh_pool_options){.n_worker = 2, .no_pin = true}, &err), err);
    const fh_prepared_options in_place = {.in_place = true};
    CHECK_OK(fh_prepared_new(&o->prepared, fh_model_plan(o->model, FH_PLAN_STEP), &in_place, &err), err);
}

static void close_model(opened *o) {
    fh_prepared_free(o->prepared);
    fh_pool_free(o->pool);
    fh_model_free(o->model);
}

static fh_exec *make_exec(const opened *o, const fh_plan *plan, bool fast, bool keep) {
    fh_err err = {0};
    fh_exec *x = NULL;
    const fh_exec_options opt = {
        .pool = o->pool, .ceiling = {{1, 24, 24}}, .prepared = fast ? o->prepared : NULL, .keep_values = keep};
    CHECK_OK(fh_exec_new(&x, plan, NULL, &opt, &err), err);
    return x;
}

/* ---- every pair ---- */
typedef struct range {
    uint64_t from, to;
    uint32_t value;
} range;

static range range_of(const fh_exec *x, uint32_t v) {
    const fh_value *w = &x->plan->value[v];
    return (range){x->offset[v], x->offset[v] + fh_value_rows(w, &x->ceiling) * w->width * 4, v};
}

/* What step s reads and writes; a step that only makes a form reads its input. */
static uint32_t ranges_of(const fh_exec *x, const fh_cpu_step *s, bool writes, range *out) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_op; i++) {
        const fh_op *o = &x->plan->op[s->op + i];
        const int most = writes ? FH_OP_MAX_OUT : s->run == fh_cpu_fast_form ? 1 : FH_OP_MAX_IN;
        if (writes && s->run == fh_cpu_fast_form) continue;
        for (int k = 0; k < most; k++) {
            const uint32_t v = writes ? o->out[k].value : o->in[k].value;
            if (v != FH_NO_VALUE) out[n++] = range_of(x, v);
        }
    }
    return n;
}

static bool is_by_rows(const fh_exec *x, const fh_cpu_step *s) {
    switch (x->plan->op[s->op].kind) {
    case FH_OP_EMBED:
    case FH_OP_NORM:
    case FH_OP_ADD:
    case FH_OP_MAP:
    case FH_OP_GLU:
    case FH_OP_ROPE:
    case FH_OP_STORE:
    case FH_OP_ROUTE:
    case FH_OP_DECAY: return s->n_op == 1;
    default: return s->run == fh_cpu_fast_form;
    }
}

/* 0: nothing in common; 1: whole rows of the same value; 2: more. */
static int conflict(const fh_exec *x, const fh_cpu_step *a, const fh_cpu_step *b) {
    int worst = 0;
    for (int way = 0; way < 3; way++) { /* write after read, read after write, write after write */
        range p[24], q[24];
        const uint32_t n = ranges_of(x, a, way != 0, p), m = ranges_of(x, b, way != 1, q);
        for (uint32_t i = 0; i < n; i++) {
            for (uint32_t k = 0; k < m; k++) {
                if (p[i].from >= q[k].to || q[k].from >= p[i].to) continue;
                const bool rows = p[i].value == q[k].value && is_by_rows(x, a) && is_by_rows(x, b);
                worst = FH_MAX(worst, rows ? 1 : 2);
            }
        }
    }
    const fh_op *o = &x->plan->op[a->op], *later = &x->plan->op[b->op];
    if (o->state != FH_NO_ID && o->state == later->state && a->n_op == 1 && b->n_op == 1) worst = 2;
    return worst;
}

static void check_pairs(const fh_exec *x, const char *name) {
    for (uint32_t i = 0; i < x->n_step; i++) {
        int waited = FH_WAIT_NEVER;
        for (uint32_t k = i + 1; k < x->n_step && waited != FH_WAIT_ALWAYS; k++) {
            waited = FH_MAX(waited, (int)x->step[k].wait);
            const int c = conflict(x, &x->step[i], &x->step[k]);
            if ((c == 2 && waited != FH_WAIT_ALWAYS) || (c == 1 && waited == FH_WAIT_NEVER))
                fh_test_fail(__FILE__, __LINE__, "%s: steps of op %u and op %u do not wait", name, x->step[i].op,
                             x->step[k].op);
        }
    }
}

TEST(cpu_schedule, no_two_steps_get_into_each_others_way) {
    for (size_t m = 0; m < FH_COUNT(MODELS); m++) {
        opened o = {0};
        open_model(&o, MODELS[m]);
        for (int p = 0; p < FH_PLAN_COUNT; p++) {
            const fh_plan *plan = fh_model_plan(o.model, (fh_model_plan_kind)p);
            if (plan == NULL) continue;
            for (int way = 0; way < 3; way++) {
                fh_exec *x = make_exec(&o, plan, way > 0, way == 2);
                check_pairs(x, MODELS[m]);
                uint32_t next = 0;
                for (uint32_t i = 0; i < x->n_step; i++) { /* every op once, in order */
                    if (x->step[i].run == fh_cpu_fast_form) continue;
                    CHECK_U64(x->step[i].op, next);
                    if (way != 1) CHECK_U64(x->step[i].n_op, 1);
                    next += x->step[i].n_op;
                }
                CHECK_U64(next, plan->n_op);
                fh_exec_free(x);
            }
        }
        close_model(&o);
    }
}

TEST(cpu_schedule, a_layer_of_a_plain_decoder) {
    opened o = {0};
    open_model(&o, "llama-sharded");
    const fh_plan *plan = fh_model_plan(o.model, FH_PLAN_STEP);
    fh_exec *x = make_exec(&o, plan, true, false);
    uint32_t sums = 0, gates = 0, waits = 0, layers = 0;
    for (uint32_t i = 0; i < plan->n_op; i++) layers += plan->op[i].kind == FH_OP_ATTEND;
    for (uint32_t i = 0; i < x->n_step; i++) {
        sums += x->step[i].run == fh_cpu_fast_sum;
        gates += x->step[i].run == fh_cpu_fast_gate_up;
        waits += x->step[i].wait == FH_WAIT_ALWAYS;
    }
    CHECK_U64(sums, 2 * layers);
    CHECK_U64(gates, layers);
    CHECK(waits <= 10 * layers + 4); /* of sixteen ops and seven forms a layer */
    fh_exec_free(x);
    close_model(&o);
}
