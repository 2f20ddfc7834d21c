/* evaluate/perplexity.c - see perplexity.h.
 * SPDX-License-Identifier: Apache-2.0
 * Owns a small batch of copied rows, which a team of threads scores together, and a few numbers per row of the text.
 * Invariants: (1) numbers of a row stand at its own place, so nothing depends on how work was shared out; (2) sums go
 * over rows in order. */
#include "evaluate/perplexity.h"

#include <math.h>
#include <stdlib.h>

#include "base/num.h"
#include "base/pool.h"
#include "kernel/log_prob.h"

#define ROW_BYTES ((size_t)32 << 20) /* of rows that are scored together */
enum { FEW = 10 };                   /* so few numbers have no error worth telling */

typedef struct sums {
    double nll, nll_sq, base, base_sq, both; /* -ln p */
    double kld, kld_sq, dp, dp_sq, dp_4th;
    uint64_t n, same;
} sums;

typedef struct measuring {
    const fh_chunks *c;
    const fh_perplexity_options *opt;
    uint32_t n_vocab, from, to; /* rows [from, to) of every chunk */
    fh_pool *pool;
    fh_writer *w; /* or NULL */
    /* rows that wait: numbers (chunk * rows of a chunk + row), logits, and what becomes of them */
    uint32_t n_wait, most;
    uint64_t *number;   /* [most] */
    float *logits;      /* [most, n_vocab] */
    uint8_t *codes;     /* [most, 2 n_vocab], when a base is written */
    fh_log_packed *row; /* [most]: written, or read */
    bool *bad;          /* [most] */
    /* of every row of the text */
    double *nll, *base, *kld, *dp; /* the last three against a base only */
    bool *same;
    sums sum;
    uint32_t n_told;
} measuring;

/* ---- one row ---- */

/* The token that the row is about. */
static uint32_t target_of(const measuring *m, uint64_t number) {
    const uint32_t per = m->to - m->from;
    return m->c->ids.ptr[number / per * m->c->step + m->from + number % per + 1];
}

static void score_row(measuring *m, uint32_t i) {
    const float *x = m->logits + (size_t)i * m->n_vocab;
    const uint64_t number = m->number[i];
    const uint32_t target = target_of(m, number);
    const fh_log_norm norm = fh_log_prob_norm(x, m->n_vocab);
    const double nll = -fh_log_prob_at(&norm, x[target]);
    m->nll[number] = nll;
    m->bad[i] = !isfinite(nll);
    if (m->w) m->row[i] = fh_log_prob_pack(x, m->n_vocab, &norm, m->codes + 2 * (size_t)i * m->n_vocab);
    if (!m->opt->base) return;
    uint32_t best;
    const fh_log_packed *base = &m->row[i];
    m->base[number] = -(double)fh_log_prob_unpack(base, target);
    m->kld[number] = fh_log_prob_divergence(base, x, m->n_vocab, &norm, &best);
    m->dp[number] = exp(-nll) - exp(-m->base[number]);
    m->same[number] = best == norm.best;
    m->bad[i] = m->bad[i] || !isfinite(m->kld[number]);
}

static void score_share(void *ctx, int worker, int n_worker) {
    measuring *m = ctx;
    for (uint32_t i = (uint32_t)worker; i < m->n_wait; i += (uint32_t)n_worker) score_row(m, i);
}

/* ---- many rows ---- */

static fh_status find_base_rows(measuring *m, fh_err *err) {
    const uint32_t per = m->to - m->from;
    for (uint32_t i = 0; m->opt->base && i < m->n_wait; i++) {
        fh_logits_base_row r;
        FH_TRY(
            fh_logits_base_get(m->opt->base, (uint32_t)(m->number[i] / per), (uint32_t)(m->number[i] % per), &r, err));
        m->row[i] = (fh_log_packed){r.scale, r.least, r.codes};
    }
    return FH_OK;
}

static fh_status flush(measuring *m, fh_err *err) {
    if (m->n_wait == 0) return FH_OK;
    FH_TRY(find_base_rows(m, err));
    fh_pool_run(m->pool, score_share, m);
    for (uint32_t i = 0; i < m->n_wait; i++) {
        if (m->bad[i])
            return fh_fail(err, FH_ERR_CORRUPT,
                           "the model's answer to token %llu of chunk %llu is no number: its weights may be damaged",
                           (unsigned long long)(m->from + m->number[i] % (m->to - m->from)),
                           (unsigned long long)(m->number[i] / (m->to - m->from) + 1));
        if (!m->w) continue;
        const fh_logits_base_row r = {m->row[i].scale, m->row[i].least, m->row[i].codes};
        FH_TRY(fh_logits_base_put(m->w, &r, m->n_vocab, err));
    }
    m->n_wait = 0;
    return FH_OK;
}

static fh_status take_row(void *ctx, uint32_t chunk, uint32_t at, const float *row, fh_err *err) {
    measuring *m = ctx;
    m->number[m->n_wait] = (uint64_t)chunk * (m->to - m->from) + at - m->from;
    memcpy(m->logits + (size_t)m->n_wait * m->n_vocab, row, m->n_vocab * sizeof *row);
    return ++m->n_wait == m->most ? flush(m, err) : FH_OK;
}

/* ---- numbers out of many ---- */

static fh_estimate mean_of(double sum, double squares, uint64_t n) {
    const double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
    return (fh_estimate){mean, variance > 0 && n > FEW ? sqrt(variance / (double)(n - 1)) : 0};
}

static fh_estimate exp_of(fh_estimate log) { return (fh_estimate){exp(log.value), exp(log.value) * log.error}; }

static double apart(double a, double b, double covariance) {
    const double v = a * a + b * b - 2 * covariance;
    return v > 0 ? sqrt(v) : 0;
}

static void compare(fh_perplexity *p, const sums *s, fh_estimate log_ppl) {
    const double n = (double)s->n;
    const fh_estimate log_base = mean_of(s->base, s->base_sq, s->n);
    const double covariance = s->n > FEW ? (s->both / n - s->nll / n * (s->base / n)) / (n - 1) : 0;
    const double errors = log_ppl.error * log_base.error;
    const fh_estimate squares = mean_of(s->dp_sq, s->dp_4th, s->n);
    p->compared = true;
    p->base = exp_of(log_base);
    p->correlation = errors > 0 ? covariance / errors : 0;
    p->log_ratio.value = log_ppl.value - log_base.value;
    p->log_ratio.error = apart(log_ppl.error, log_base.error, covariance);
    p->ratio = exp_of(p->log_ratio);
    p->difference.value = p->ppl.value - p->base.value;
    p->difference.error = apart(p->ppl.error, p->base.error, p->ppl.value * p->base.value * covariance);
    p->kld.mean = mean_of(s->kld, s->kld_sq, s->n);
    p->dp.mean = mean_of(s->dp, s->dp_sq, s->n);
    p->dp_rms.value = sqrt(squares.value);
    p->dp_rms.error = squares.value > 0 ? 0.5 / p->dp_rms.value * squares.error : 0;
    p->same_best.value = (double)s->same / n;
    p->same_best.error = s->n > 1 ? sqrt(p->same_best.value * (1 - p->same_best.value) / (n - 1)) : 0;
}

static void tell(const measuring *m, uint32_t n_chunk, fh_perplexity *p) {
    const fh_estimate log_ppl = mean_of(m->sum.nll, m->sum.nll_sq, m->sum.n);
    *p = (fh_perplexity){.n_ctx = m->c->n_ctx, .n_chunk = n_chunk, .n_row = m->sum.n, .ppl = exp_of(log_ppl)};
    if (m->opt->base) compare(p, &m->sum, log_ppl);
}

static void add_row(measuring *m, uint64_t i) {
    sums *s = &m->sum;
    const double v = m->nll[i];
    s->n++;
    s->nll += v;
    s->nll_sq += v * v;
    if (!m->opt->base) return;
    const double b = m->base[i], dp2 = m->dp[i] * m->dp[i];
    s->base += b;
    s->base_sq += b * b;
    s->both += v * b;
    s->kld += m->kld[i];
    s->kld_sq += m->kld[i] * m->kld[i];
    s->dp += m->dp[i];
    s->dp_sq += dp2;
    s->dp_4th += dp2 * dp2;
    s->same += m->same[i];
}

static fh_status chunks_done(void *ctx, uint32_t n, fh_err *err) {
    measuring *m = ctx;
    const uint64_t per = m->to - m->from;
    FH_TRY(flush(m, err));
    for (; m->n_told < n; m->n_told++) {
        fh_perplexity so_far;
        for (uint64_t i = m->n_told * per; i < (m->n_told + 1) * per; i++) add_row(m, i);
        tell(m, m->n_told + 1, &so_far);
        if (m->opt->chunk) FH_TRY(m->opt->chunk(m->opt->ctx, &so_far, err));
    }
    return FH_OK;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *v, uint64_t n, double part) {
    const double at = part * (double)(n - 1);
    const uint64_t i = (uint64_t)at;
    const double rest = at - (double)i;
    return (1 - rest) * v[i] + rest * v[FH_MIN(i + 1, n - 1)];
}

static void spread(fh_spread *s, double *v, uint64_t n) {
    qsort(v, (size_t)n, sizeof *v, by_size);
#define FH_SPREAD_ROW(name, part) s->name = percentile(v, n, part);
    FH_SPREAD_ROWS
#undef FH_SPREAD_ROW
}

/* ---- all ---- */

static void *room(bool *ok, size_t n, size_t size) {
    void *p = *ok ? fh_alloc(n, size) : NULL;
    *ok = p != NULL;
    return p;
}

static fh_status prepare(measuring *m, fh_err *err) {
    const size_t n = (size_t)m->c->n * (m->to - m->from), v = m->n_vocab;
    bool ok = true;
    m->most = (uint32_t)FH_MIN(FH_MAX(ROW_BYTES / (v * sizeof(float)), 4u), 256u);
    m->number = room(&ok, m->most, sizeof *m->number);
    m->logits = room(&ok, m->most * v, sizeof *m->logits);
    m->row = room(&ok, m->most, sizeof *m->row);
    m->bad = room(&ok, m->most, sizeof *m->bad);
    m->nll = room(&ok, n, sizeof *m->nll);
    if (m->opt->save) m->codes = room(&ok, 2 * m->most, v);
    if (m->opt->base) {
        m->base = room(&ok, n, sizeof *m->base);
        m->kld = room(&ok, n, sizeof *m->kld);
        m->dp = room(&ok, n, sizeof *m->dp);
        m->same = room(&ok, n, sizeof *m->same);
    }
    if (!ok) return fh_fail_memory(err, m->most * v * sizeof(float) + 4 * n * sizeof(double));
    FH_TRY(fh_pool_new(&m->pool, &(fh_pool_options){.n_worker = m->opt->threads}, err));
    if (!m->opt->save) return FH_OK;
    FH_TRY(fh_writer_open(&m->w, m->opt->save, err));
    return fh_logits_base_begin(m->w, m->c->n_ctx, m->n_vocab, m->c->n, m->c->ids.ptr, err);
}

static void release(measuring *m) {
    fh_writer_abort(m->w);
    fh_pool_free(m->pool);
    fh_free(m->number);
    fh_free(m->logits);
    fh_free(m->row);
    fh_free(m->bad);
    fh_free(m->nll);
    fh_free(m->codes);
    fh_free(m->base);
    fh_free(m->kld);
    fh_free(m->dp);
    fh_free(m->same);
}

static fh_status check(const fh_chunks *c, const fh_perplexity_options *opt, uint32_t n_vocab, fh_err *err) {
    if (n_vocab == 0) return fh_fail(err, FH_ERR_UNSUPPORTED, "the model gives no logits: it does not foretell text");
    if (opt->base && opt->base->n_vocab != n_vocab)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "the base is over a vocabulary of %u tokens, the model has %u",
                       opt->base->n_vocab, n_vocab);
    if (opt->stride && (opt->base || opt->save))
        return fh_fail(err, FH_ERR_USAGE, "files of log-probabilities know no stride");
    for (size_t i = 0; i < c->ids.len; i++)
        if (c->ids.ptr[i] >= n_vocab)
            return fh_fail(err, FH_ERR_USAGE, "token '%u' of the text is not among the model's %u", c->ids.ptr[i],
                           n_vocab);
    return FH_OK;
}

fh_status fh_perplexity_measure(fh_perplexity *out, const fh_chunks *c, fh_engine *e, const fh_perplexity_options *opt,
                                fh_err *err) {
    measuring m = {.c = c, .opt = opt, .n_vocab = fh_engine_width(e, FH_EXPORT_LOGITS), .to = c->n_ctx - 1};
    m.from = opt->stride ? c->n_ctx - 1 - opt->stride : c->n_ctx / 2;
    FH_TRY(check(c, opt, m.n_vocab, err));
    fh_status st = prepare(&m, err);
    const fh_chunks_run_options run = {.what = FH_EXPORT_LOGITS,
                                       .from = m.from,
                                       .to = m.to,
                                       .whole = opt->whole,
                                       .together = opt->save ? 1 : opt->together, /* rows are written in order */
                                       .batch = opt->batch,
                                       .adapters = opt->adapters,
                                       .row = take_row,
                                       .done = chunks_done,
                                       .ctx = &m,
                                       .stop = opt->stop};
    if (st == FH_OK) st = fh_chunks_run(c, e, &run, err);
    if (st == FH_OK && m.w) {
        st = fh_writer_commit(m.w, err);
        m.w = NULL;
    }
    if (st == FH_OK) {
        tell(&m, c->n, out);
        if (opt->base) {
            spread(&out->kld, m.kld, m.sum.n);
            spread(&out->dp, m.dp, m.sum.n);
        }
    }
    release(&m);
    return st;
}
