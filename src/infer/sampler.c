/* infer/sampler.c - samplers: their memory, the run of a chain, the draw.
 * SPDX-License-Identifier: Apache-2.0
 * Everything is allocated when a sampler or a scratch is made; picking and accepting allocate nothing. A pick works on
 * a copy of the generator and of mu and writes them back when it succeeded. */
#include "infer/sampler.h"

#include <float.h>
#include <math.h>

#include "base/num.h"
#include "infer/sampler_part.h"

#define LN2 0.6931471805599453

/* ---- memory ---- */

static bool is_off(const fh_sampler_step *t) {
    const double *a = t->arg;
    switch (t->kind) {
    case FH_STEP_LOGIT_BIAS: return a[1] >= 0 && a[1] <= 0;
    case FH_STEP_PENALTIES: return (a[1] >= 1 && a[1] <= 1 && a[2] >= 0 && a[2] <= 0 && a[3] >= 0 && a[3] <= 0);
    case FH_STEP_DRY: return (a[0] >= 0 && a[0] <= 0) || a[1] < 1;
    case FH_STEP_TOP_N_SIGMA:
    case FH_STEP_TOP_K:
    case FH_STEP_MIN_P: return a[0] <= 0;
    case FH_STEP_TYPICAL_P:
    case FH_STEP_TOP_P: return a[0] >= 1;
    case FH_STEP_XTC: return a[0] <= 0 || a[1] > 0.5;
    case FH_STEP_TEMPERATURE: return a[0] >= 1 && a[0] <= 1;
    case FH_STEP_DYNATEMP:
    case FH_STEP_MIROSTAT:
    case FH_STEP_KINDS: break;
    }
    return false;
}

/* tokens that a step looks back at */
static double window(const fh_sampler_step *t, size_t n_context) {
    double n = t->kind == FH_STEP_PENALTIES ? t->arg[0] : t->kind == FH_STEP_DRY ? t->arg[3] : 0;
    return n < 0 ? (double)n_context : n;
}

static fh_status copy_steps(fh_sampler *s, const fh_sampler_config *c, fh_err *err) {
    double most = 0;
    fh_sampler_steps checked = {0};
    fh_status st = FH_OK;
    for (size_t i = 0; st == FH_OK && i < c->n_step; i++) {
        if (is_off(&c->step[i])) continue;
        st = fh_sampler_steps_add(&checked, &c->step[i], err);
        most = FH_MAX(most, window(&c->step[i], c->n_context));
    }
    s->step = checked.ptr;
    s->n_step = checked.len;
    if (st != FH_OK) return st;
    if (most > (double)FH_SAMPLER_HISTORY_MOST)
        return fh_fail(err, FH_ERR_LIMIT, "a sampler looks back at no more than %zu tokens", FH_SAMPLER_HISTORY_MOST);
    s->n_ring = (size_t)most;
    return FH_OK;
}

static fh_status copy_breakers(fh_sampler *s, const fh_str *b, size_t n, fh_err *err) {
    size_t bytes = 0;
    if (n > FH_SAMPLER_BREAKERS_MOST)
        return fh_fail(err, FH_ERR_LIMIT, "dry: more than %d sequence breakers", FH_SAMPLER_BREAKERS_MOST);
    for (size_t i = 0; i < n; i++) {
        if (b[i].len == 0) return fh_fail(err, FH_ERR_USAGE, "dry: sequence breaker %zu is empty", i);
        if (b[i].len > FH_SAMPLER_BREAKER_BYTES)
            return fh_fail(err, FH_ERR_LIMIT, "dry: sequence breaker %zu is longer than %d bytes", i,
                           FH_SAMPLER_BREAKER_BYTES);
        bytes += b[i].len;
    }
    s->breaker = fh_alloc(n, sizeof *s->breaker);
    s->breaker_text = fh_alloc(bytes, 1);
    if (!s->breaker || !s->breaker_text) return fh_fail_memory(err, bytes + n * sizeof *s->breaker);
    bytes = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(s->breaker_text + bytes, b[i].ptr, b[i].len);
        s->breaker[i] = (fh_str){s->breaker_text + bytes, b[i].len};
        bytes += b[i].len;
    }
    s->n_breaker = n;
    return FH_OK;
}

static fh_status alloc_history(fh_sampler *s, fh_err *err) {
    s->ring = fh_alloc_zero(s->n_ring, sizeof *s->ring);
    s->z = fh_alloc_zero(s->n_ring, sizeof *s->z);
    if (!s->ring || !s->z) return fh_fail_memory(err, s->n_ring * 2 * sizeof *s->ring);
    return FH_OK;
}

fh_status fh_sampler_new(fh_sampler **out, const fh_sampler_config *c, fh_err *err) {
    fh_sampler *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    s->n_context = c->n_context;
    s->piece = c->piece;
    s->n_piece = c->piece ? c->n_piece : 0;
    s->seed = c->seed;
    s->choice = c->choice;
    fh_status st = copy_steps(s, c, err);
    if (st == FH_OK) st = copy_breakers(s, c->breaker, c->n_breaker, err);
    if (st == FH_OK) st = alloc_history(s, err);
    if (st != FH_OK) {
        fh_sampler_free(s);
        return st;
    }
    fh_sampler_clear(s);
    *out = s;
    return FH_OK;
}

void fh_sampler_free(fh_sampler *s) {
    if (!s) return;
    fh_free(s->step);
    fh_free(s->breaker);
    fh_free(s->breaker_text);
    fh_free(s->ring);
    fh_free(s->z);
    fh_free(s);
}

fh_status fh_sampler_clone(fh_sampler **out, const fh_sampler *s, fh_err *err) {
    fh_sampler_config c = {.step = s->step,
                           .n_step = s->n_step,
                           .seed = s->seed,
                           .choice = s->choice,
                           .n_context = s->n_context,
                           .breaker = s->breaker,
                           .n_breaker = s->n_breaker,
                           .piece = s->piece,
                           .n_piece = s->n_piece};
    FH_TRY(fh_sampler_new(out, &c, err));
    fh_sampler_copy(*out, s);
    return FH_OK;
}

void fh_sampler_copy(fh_sampler *s, const fh_sampler *src) {
    FH_REQUIRE(s->n_ring == src->n_ring && s->n_step == src->n_step);
    if (s == src) return;
    memcpy(s->ring, src->ring, s->n_ring * sizeof *s->ring);
    s->seen = src->seen;
    s->rng = src->rng;
    s->mu = src->mu;
    s->seed = src->seed;
    s->choice = src->choice;
}

void fh_sampler_seed(fh_sampler *s, uint64_t seed, uint64_t choice) {
    s->seed = seed;
    s->choice = choice;
    fh_rng_init(&s->rng, seed, choice);
}

void fh_sampler_clear(fh_sampler *s) {
    s->seen = 0;
    s->mu = 0;
    for (size_t i = 0; i < s->n_step; i++)
        if (s->step[i].kind == FH_STEP_MIROSTAT) s->mu = 2 * s->step[i].arg[0];
    fh_sampler_seed(s, s->seed, s->choice);
}

void fh_sampler_accept(fh_sampler *s, uint32_t token) {
    if (s->n_ring == 0) return;
    s->ring[s->seen++ % s->n_ring] = token;
}

double fh_sampler_mu(const fh_sampler *s) { return s->mu; }

fh_status fh_sampler_scratch_new(fh_sampler_scratch **out, size_t n_vocab, fh_err *err) {
    fh_sampler_scratch *x = fh_alloc_zero(1, sizeof *x);
    if (!x) return fh_fail_memory(err, sizeof *x);
    x->n_vocab = n_vocab;
    x->work = fh_alloc(n_vocab, sizeof *x->work);
    x->mark = fh_alloc_zero(n_vocab, sizeof *x->mark);
    x->list = fh_alloc(n_vocab, sizeof *x->list);
    if (!x->work || !x->mark || !x->list || n_vocab > INT32_MAX) {
        fh_sampler_scratch_free(x);
        return fh_fail(err, FH_ERR_MEMORY, "no memory to sample from %zu tokens", n_vocab);
    }
    *out = x;
    return FH_OK;
}

void fh_sampler_scratch_free(fh_sampler_scratch *x) {
    if (!x) return;
    fh_free(x->work);
    fh_free(x->mark);
    fh_free(x->list);
    fh_free(x);
}

/* ---- the chain ---- */

static fh_status run_on_list(fh_chain_run *r, const fh_sampler_step *t, double mu, fh_err *err) {
    FH_TRY(fh_chain_fill(r, err));
    switch (t->kind) {
    case FH_STEP_TOP_N_SIGMA: fh_chain_top_n_sigma(r, t->arg[0]); break;
    case FH_STEP_TYPICAL_P: fh_chain_typical_p(r, t->arg[0]); break;
    case FH_STEP_TOP_P: fh_chain_top_p(r, t->arg[0]); break;
    case FH_STEP_MIN_P: fh_chain_min_p(r, t->arg[0]); break;
    case FH_STEP_XTC: fh_chain_xtc(r, t->arg[1]); break;
    case FH_STEP_TEMPERATURE: fh_chain_temperature(r, t->arg[0]); break;
    case FH_STEP_DYNATEMP: fh_chain_dynatemp(r, t->arg); break;
    case FH_STEP_MIROSTAT: fh_chain_mirostat(r, mu); break;
    default: FH_BUG("a step that is not done on lists");
    }
    return FH_OK;
}

static fh_status run_step(fh_chain_run *r, const fh_sampler_step *t, fh_rng *rng, double mu, fh_err *err) {
    size_t k = t->arg[0] < (double)r->n_vocab ? (size_t)FH_MAX(t->arg[0], 0.0) : r->n_vocab;
    switch (t->kind) {
    case FH_STEP_LOGIT_BIAS: fh_chain_bias(r, t->arg); return FH_OK;
    case FH_STEP_PENALTIES: fh_chain_penalties(r, t->arg); return FH_OK;
    case FH_STEP_DRY: fh_chain_dry(r, t->arg); return FH_OK;
    case FH_STEP_TOP_K:
        if (r->dense) return fh_chain_fill_top(r, k, err);
        fh_chain_top_k(r, k);
        return FH_OK;
    case FH_STEP_XTC:
        if (fh_rng_f64(rng) >= t->arg[0]) return FH_OK;
        break;
    case FH_STEP_TEMPERATURE:
        if (r->dense && t->arg[0] <= 0) return fh_chain_fill_top(r, 1, err);
        break;
    default: break;
    }
    return run_on_list(r, t, mu, err);
}

static fh_status run_chain(fh_chain_run *r, fh_rng *rng, fh_err *err) {
    const fh_sampler *s = r->s;
    FH_REQUIRE(r->n_vocab <= r->x->n_vocab);
    if (r->n_vocab == 0) return fh_fail(err, FH_ERR_NOT_FOUND, "there is no token to pick: the vocabulary is empty");
    for (size_t i = 0; i < s->n_step; i++) FH_TRY(run_step(r, &s->step[i], rng, s->mu, err));
    FH_TRY(fh_chain_fill(r, err));
    if (r->n > 0) return FH_OK;
    if (r->allowed && r->n_dead == 0)
        return fh_fail(err, FH_ERR_NOT_FOUND, "there is no token to pick: none of %zu is allowed here", r->n_vocab);
    return fh_fail(err, FH_ERR_NOT_FOUND, "there is no token to pick: all logits are minus infinity");
}

fh_status fh_sampler_pick(fh_sampler *s, fh_sampler_scratch *x, const float *logits, size_t n_vocab,
                          const uint32_t *allowed, fh_pick *out, fh_err *err) {
    fh_chain_run r = {.s = s, .x = x, .row = logits, .allowed = allowed, .n_vocab = n_vocab, .dense = true};
    fh_rng rng = s->rng;
    FH_TRY(run_chain(&r, &rng, err));
    double max = fh_chain_max(&r), all = fh_chain_sum(&r, max), at = fh_rng_f64(&rng) * all, sum = 0, mass = 0;
    size_t picked = 0;
    for (size_t i = 0; i < r.n && sum <= at; i++) {
        double e = fh_sampler_exp(x->list[i].value - max);
        if (e > 0) picked = i, mass = e; /* rounding may leave sum short of all: then the last one */
        sum += e;
    }
    out->token = x->list[picked].id;
    out->n_candidate = r.n;
    out->p = mass / all;
    out->logprob = (x->list[picked].value - max) - fh_sampler_log(all);
    for (size_t i = 0; i < s->n_step; i++)
        if (s->step[i].kind == FH_STEP_MIROSTAT) s->mu -= s->step[i].arg[1] * (-out->logprob / LN2 - s->step[i].arg[0]);
    s->rng = rng;
    return FH_OK;
}

fh_status fh_sampler_probabilities(const fh_sampler *s, fh_sampler_scratch *x, const float *logits, size_t n_vocab,
                                   const uint32_t *allowed, const fh_candidate **out, size_t *n, fh_err *err) {
    fh_chain_run r = {.s = s, .x = x, .row = logits, .allowed = allowed, .n_vocab = n_vocab, .dense = true};
    fh_rng rng = s->rng;
    FH_TRY(run_chain(&r, &rng, err));
    double max = fh_chain_max(&r), all = fh_chain_sum(&r, max);
    for (size_t i = 0; i < r.n; i++) x->list[i].value = fh_sampler_exp(x->list[i].value - max) / all;
    *out = x->list;
    *n = r.n;
    return FH_OK;
}

/* ---- of the model itself ---- */

static fh_status row_max(const float *row, size_t n, double *out, fh_err *err) {
    float max = -HUGE_VALF;
    for (size_t i = 0; i < n; i++) {
        if (row[i] <= max) continue;
        if (!(row[i] <= FLT_MAX))
            return fh_fail(err, FH_ERR_CORRUPT, "the logit of token %zu is %s", i,
                           row[i] > 0 ? "infinite" : "not a number");
        max = row[i];
    }
    if (max < -FLT_MAX)
        return fh_fail(err, FH_ERR_NOT_FOUND, "no token has a probability: all logits are minus infinity");
    *out = (double)max;
    return FH_OK;
}

fh_status fh_sampler_logprobs(const float *logits, size_t n_vocab, uint32_t token, double *of_token, fh_candidate *top,
                              size_t n_top, size_t *n_got, fh_err *err) {
    const fh_heap worst = {FH_HEAP_WORST, 0};
    double max = 0;
    size_t n = 0;
    FH_TRY(row_max(logits, n_vocab, &max, err));
    if (of_token && token >= n_vocab)
        return fh_fail(err, FH_ERR_USAGE, "token %u is not among the %zu of the vocabulary", token, n_vocab);
    double ln_all = max + fh_sampler_log(fh_sampler_sum_exp(logits, n_vocab, max));
    for (size_t i = 0; n_top > 0 && i < n_vocab; i++) {
        fh_candidate c = {(double)logits[i], (uint32_t)i};
        if (n < n_top) {
            top[n++] = c;
            if (n == n_top) fh_heap_make(worst, top, n);
        } else if (c.value > top[0].value) {
            top[0] = c;
            fh_heap_sink(worst, top, n, 0);
        }
    }
    if (n < n_top) fh_heap_make(worst, top, n);
    for (size_t i = n; i > 1; i--) fh_heap_pop(worst, top, i);
    for (size_t i = 0; i < n; i++) top[i].value -= ln_all;
    if (n_got) *n_got = n;
    if (of_token) *of_token = (double)logits[token] - ln_all;
    return FH_OK;
}
