/* forge/sensitivity.c - see sensitivity.h.
 * SPDX-License-Identifier: Apache-2.0
 * Runs in exact mode, so that the same machine or another, few threads or many, measure the same numbers. */
#include "forge/sensitivity.h"

#include <unistd.h>

#include "base/num.h"
#include "base/rng.h"
#include "infer/engine.h"
#include "kernel/log_prob.h"

#define N_TOKEN 64u
#define SEED 20260101u
#define NO_ROLE FH_ROLE_COUNT

/* Rows of the untouched model, or what another one's are away from them. */
typedef struct answers {
    float *row;  /* [N_TOKEN][width] */
    double cost; /* sum over rows */
    uint32_t width;
    bool logits, compare;
} answers;

static double divergence(const float *want, const float *got, uint32_t n) {
    const fh_log_norm p = fh_log_prob_norm(want, n), q = fh_log_prob_norm(got, n);
    return fh_log_prob_between(want, &p, got, &q, n);
}

static double distance(const float *want, const float *got, uint32_t n) {
    double away = 0, all = 0;
    for (uint32_t i = 0; i < n; i++) {
        const double d = (double)want[i] - (double)got[i];
        away += d * d;
        all += (double)want[i] * (double)want[i];
    }
    return all > 0 ? away / all : 0;
}

static fh_status take_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    answers *a = ctx;
    float *mine = a->row + (size_t)index * a->width;
    (void)work, (void)err;
    if (!a->compare) memcpy(mine, row, a->width * sizeof *row);
    else a->cost += a->logits ? divergence(mine, row, a->width) : distance(mine, row, a->width);
    return FH_OK;
}

static fh_status run_engine(fh_engine *e, const fh_spec *spec, answers *a, fh_err *err) {
    const fh_export what = fh_engine_width(e, FH_EXPORT_LOGITS) ? FH_EXPORT_LOGITS : FH_EXPORT_HIDDEN;
    uint32_t token[N_TOKEN];
    fh_rng r;
    fh_session *s = NULL;
    fh_rng_init(&r, SEED, 0);
    for (uint32_t i = 0; i < N_TOKEN; i++) token[i] = (uint32_t)(fh_rng_f64(&r) * (double)spec->n_vocab);
    a->logits = what == FH_EXPORT_LOGITS;
    a->width = fh_engine_width(e, what);
    if (!a->row) a->row = fh_alloc((size_t)N_TOKEN * a->width, sizeof *a->row);
    if (!a->row) return fh_fail_memory(err, (size_t)N_TOKEN * a->width * sizeof *a->row);
    FH_TRY(fh_session_new(&s, e, N_TOKEN, NULL, 0, err));
    const fh_work work = {.session = s, .token = token, .n = N_TOKEN, .want = FH_WANT_ALL};
    const fh_status st = fh_engine_step(e, &work, 1, what, take_row, a, NULL, err);
    fh_session_free(s);
    return st;
}

static fh_status run_file(const char *path, answers *a, fh_pool *pool, fh_err *err) {
    fh_bundle *b = NULL;
    fh_model *m = NULL;
    fh_engine *e = NULL;
    const fh_engine_options how = {
        .threads = fh_pool_size(pool), .kv_type = FH_DTYPE_F32, .batch = N_TOKEN, .exact = true};
    FH_TRY(fh_bundle_open(&b, path, err));
    FH_TRY(fh_model_load(&m, b, err));
    fh_status st = FH_OK;
    if (fh_model_plan(m, FH_PLAN_ENCODE))
        st = fh_fail(err, FH_ERR_UNSUPPORTED, "sensitivity is not measured for models with an encoder and a decoder");
    if (st == FH_OK) st = fh_engine_new(&e, m, &how, err);
    if (st == FH_OK) st = run_engine(e, fh_model_spec(m), a, err);
    fh_engine_free(e);
    fh_model_free(m);
    return st;
}

/* The file in which one role is coarse and everything else as it was; run, and gone. */
static fh_status probe_role(fh_role role, fh_quantize_plan *p, const fh_quantize_plan *of, fh_feed *f,
                            const fh_quantize_options *opt, const char *path, answers *a, fh_pool *pool, fh_err *err) {
    fh_quantize_options how = *opt;
    how.keep_split = false;
    how.progress = NULL;
    for (size_t i = 0; i < p->n; i++) {
        p->item[i] = of->item[i];
        p->item[i].type = of->item[i].from->dtype;
        if (of->item[i].fixed || fh_mix_role(of->item[i].name) != role) continue;
        p->item[i].type = FH_SENSITIVITY_TYPE;
        FH_TRY(fh_mix_fit(of->item[i].from, &p->item[i].type, &p->item[i].fell_back, err));
    }
    fh_status st = fh_quantize_write(p, f, path, &how, pool, err);
    if (st != FH_OK) return st;
    st = run_file(path, a, pool, err);
    unlink(path);
    return st;
}

fh_status fh_sensitivity_measure(double cost[FH_ROLE_COUNT], const fh_quantize_plan *p, fh_feed *f,
                                 const fh_quantize_options *opt, const char *probe, fh_pool *pool, fh_err *err) {
    answers a = {.compare = false};
    fh_quantize_plan one = *p;
    bool there[FH_ROLE_COUNT] = {false};
    one.item = fh_alloc(p->n, sizeof *one.item);
    if (!one.item) return fh_fail_memory(err, p->n * sizeof *one.item);
    for (size_t i = 0; i < p->n; i++) there[fh_mix_role(p->item[i].name)] |= !p->item[i].fixed;
    fh_status st = probe_role(NO_ROLE, &one, p, f, opt, probe, &a, pool, err);
    a.compare = true;
    for (int r = 0; r < FH_ROLE_COUNT && st == FH_OK; r++) {
        a.cost = cost[r] = 0;
        if (there[r]) st = probe_role((fh_role)r, &one, p, f, opt, probe, &a, pool, err);
        cost[r] = a.cost / N_TOKEN;
        if (opt->measured) opt->measured(opt->progress_ctx, (uint64_t)r + 1, FH_ROLE_COUNT);
    }
    fh_free(a.row);
    fh_free(one.item);
    return st;
}
