/* infer/embed.c - runs inputs through sessions in groups and pools what comes.
 * SPDX-License-Identifier: Apache-2.0
 * Owns a group's sessions and, for means, one row of f64 sums per input of the group. A group is as large as fits one
 * batch, so that pages of causal models do not pile up. */
#include "infer/embed.h"

#include "base/mem.h"
#include "base/num.h"
#include "infer/infer_part.h"
#include "kernel/pool_rows.h"

#define MOST_GROUP 64u

typedef struct pooled {
    const fh_embed_input *input;
    uint32_t row_width, width; /* of the model's rows, of an output */
    double *sum;               /* [MOST_GROUP][row_width], or NULL: rows are taken as they are */
    uint64_t n_row[MOST_GROUP];
    float *out;
} pooled;

static fh_status take_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    pooled *p = ctx;
    (void)index, (void)err;
    float *out = p->out + (size_t)work * p->width;
    if (!p->sum) {
        memcpy(out, row, p->width * sizeof *out);
        return FH_OK;
    }
    double *sum = p->sum + (size_t)work * p->row_width;
    if (p->n_row[work] == 0) memset(sum, 0, p->row_width * sizeof *sum);
    fh_pool_add_row(sum, row, p->row_width);
    if (++p->n_row[work] == p->input[work].n) fh_pool_mean(sum, p->n_row[work], out, p->width);
    return FH_OK;
}

static fh_status run_group(fh_engine *e, pooled *p, uint32_t n, fh_export what, fh_want want,
                           const fh_embed_options *opt, fh_err *err) {
    fh_work work[MOST_GROUP] = {{0}};
    fh_status st = FH_OK;
    for (uint32_t i = 0; st == FH_OK && i < n; i++) {
        p->n_row[i] = 0;
        work[i] = (fh_work){.token = p->input[i].token, .n = p->input[i].n, .want = want};
        st = fh_session_new(&work[i].session, e, 0, opt->adapters, opt->salt, err);
    }
    if (st == FH_OK) st = fh_engine_step(e, work, n, what, take_row, p, opt->stop, err);
    for (uint32_t i = 0; i < n; i++) fh_session_free(work[i].session);
    return st;
}

/* As many inputs as one batch takes, but at least one. */
static uint32_t group_size(const fh_engine *e, const fh_embed_input *input, uint32_t n) {
    uint64_t tokens = input[0].n;
    uint32_t k = 1;
    while (k < n && k < MOST_GROUP && tokens + input[k].n <= e->batch_most) tokens += input[k++].n;
    return k;
}

static fh_status check_inputs(const fh_engine *e, const fh_embed_input *input, uint32_t n, fh_err *err) {
    uint32_t most = e->src.n_context ? e->src.n_context : UINT32_MAX;
    if (e->whole) most = FH_MIN(most, e->batch_most);
    for (uint32_t i = 0; i < n; i++) {
        if (input[i].n == 0) return fh_fail(err, FH_ERR_USAGE, "input '%u' has no tokens", i);
        if (input[i].n > most)
            return fh_fail(err, FH_ERR_LIMIT, "input '%u' has %u tokens, the model takes %u", i, input[i].n, most);
    }
    return FH_OK;
}

static fh_status run(fh_engine *e, pooled *p, uint32_t n, fh_export what, fh_want want, const fh_embed_options *opt,
                     fh_err *err) {
    for (uint32_t at = 0, k; at < n; at += k) {
        k = group_size(e, p->input, n - at);
        FH_TRY(run_group(e, p, k, what, want, opt, err));
        p->input += k;
        p->out += (size_t)k * p->width;
    }
    return FH_OK;
}

fh_status fh_embed_texts(fh_engine *e, const fh_embed_input *input, uint32_t n, const fh_embed_options *opt, float *out,
                         fh_err *err) {
    uint32_t row_width = fh_engine_width(e, FH_EXPORT_HIDDEN), width = opt->width ? opt->width : row_width;
    fh_want want = opt->pooling == FH_POOLING_MEAN  ? FH_WANT_ALL
                   : opt->pooling == FH_POOLING_CLS ? FH_WANT_FIRST
                                                    : FH_WANT_LAST;
    if (row_width == 0) return fh_fail(err, FH_ERR_UNSUPPORTED, "the model gives no hidden rows");
    if (want == FH_WANT_LAST && opt->pooling != FH_POOLING_LAST)
        return fh_fail(err, FH_ERR_USAGE, "pooling is neither mean nor cls nor last");
    if (width > row_width)
        return fh_fail(err, FH_ERR_USAGE, "vectors of %u numbers: the model's have %u", width, row_width);
    FH_TRY(check_inputs(e, input, n, err));
    pooled p = {.input = input, .row_width = row_width, .width = width, .out = out};
    if (want == FH_WANT_ALL) {
        p.sum = fh_alloc((size_t)row_width * MOST_GROUP, sizeof *p.sum);
        if (!p.sum) return fh_fail_memory(err, (size_t)row_width * MOST_GROUP * sizeof *p.sum);
    }
    fh_status st = run(e, &p, n, FH_EXPORT_HIDDEN, want, opt, err);
    for (uint32_t i = 0; st == FH_OK && opt->normalize && i < n; i++) fh_pool_normalize(out + (size_t)i * width, width);
    fh_free(p.sum);
    return st;
}

fh_status fh_embed_scores(fh_engine *e, const fh_embed_input *input, uint32_t n, const fh_embed_options *opt,
                          float *out, fh_err *err) {
    uint32_t width = fh_engine_width(e, FH_EXPORT_SCORE);
    if (width == 0) return fh_fail(err, FH_ERR_UNSUPPORTED, "the model gives no scores");
    FH_TRY(check_inputs(e, input, n, err));
    pooled p = {.input = input, .row_width = width, .width = width, .out = out};
    return run(e, &p, n, FH_EXPORT_SCORE, e->whole ? FH_WANT_FIRST : FH_WANT_LAST, opt, err);
}
