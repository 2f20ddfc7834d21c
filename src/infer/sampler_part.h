/* infer/sampler_part.h - what the sampler's files share: candidates while a chain runs, heaps of them, exp and log.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_INFER_SAMPLER_PART_H
#define FH_INFER_SAMPLER_PART_H

#include "infer/sampler.h"

struct fh_sampler {
    fh_sampler_step *step; /* [n_step] */
    size_t n_step;
    fh_str *breaker; /* [n_breaker], texts in breaker_text */
    char *breaker_text;
    size_t n_breaker;
    const fh_str *piece; /* [n_piece], borrowed */
    size_t n_piece;
    size_t n_context;
    uint64_t seed, choice;
    uint32_t *z; /* [n_ring] for dry; NULL without that step */
    size_t n_ring;
    /* state */
    uint32_t *ring; /* [n_ring], the token before last at (seen - 2) % n_ring */
    uint64_t seen;
    fh_rng rng;
    double mu;
};

struct fh_sampler_scratch {
    size_t n_vocab;
    float *work;        /* [n_vocab] logits with bias and penalties */
    uint32_t *mark;     /* [n_vocab] zero between uses */
    fh_candidate *list; /* [n_vocab] */
};

/* One run of a chain. Dense: the row itself (or x->work, once something was changed) under the mask; this lasts until
 * the first step that cuts or scales. Then a list; candidates of logit -inf are not in it but counted, since dynatemp
 * asks how many there are. */
typedef struct fh_chain_run {
    const fh_sampler *s; /* what was accepted, and breakers */
    fh_sampler_scratch *x;
    const float *row; /* [n_vocab] */
    const uint32_t *allowed;
    size_t n_vocab;
    bool dense;
    size_t n, n_dead; /* list length; candidates of -inf */
    bool sorted;      /* by value, then id */
    bool cut_by_sigma;
} fh_chain_run;

#define FH_CHAIN_VALUE_MOST 1e300 /* so that differences of values are finite */

/* the i-th last token, 0 = the last; i < fh_sampler_n_last(s, last_n) */
static inline uint32_t fh_sampler_last(const fh_sampler *s, size_t i) { return s->ring[(s->seen - 1 - i) % s->n_ring]; }
size_t fh_sampler_n_last(const fh_sampler *s, double last_n);

/* The dense form becomes a list of all candidates, or of the k largest. FH_ERR_CORRUPT on NaN and +inf. */
FH_MUST_USE fh_status fh_chain_fill(fh_chain_run *r, fh_err *err);
FH_MUST_USE fh_status fh_chain_fill_top(fh_chain_run *r, size_t k, fh_err *err);

/* steps that change the logits of few tokens */
void fh_chain_bias(fh_chain_run *r, const double *arg);
void fh_chain_penalties(fh_chain_run *r, const double *arg);
void fh_chain_dry(fh_chain_run *r, const double *arg);
/* steps over a list */
void fh_chain_top_k(fh_chain_run *r, size_t k);
void fh_chain_top_p(fh_chain_run *r, double p);
void fh_chain_min_p(fh_chain_run *r, double p);
void fh_chain_typical_p(fh_chain_run *r, double p);
void fh_chain_top_n_sigma(fh_chain_run *r, double n);
void fh_chain_xtc(fh_chain_run *r, double threshold);
void fh_chain_temperature(fh_chain_run *r, double t);
void fh_chain_dynatemp(fh_chain_run *r, const double *arg);
void fh_chain_mirostat(fh_chain_run *r, double mu);

/* Largest value, and the sum of exp(value - largest) in list order; n > 0. */
double fh_chain_max(const fh_chain_run *r);
double fh_chain_sum(const fh_chain_run *r, double max);

/* Heaps whose root is the first of an order: the best (larger value, then lower id), the worst, or the nearest to a
 * value. */
typedef enum fh_heap_root { FH_HEAP_BEST, FH_HEAP_WORST, FH_HEAP_NEAREST } fh_heap_root;
typedef struct fh_heap {
    fh_heap_root root;
    double centre;
} fh_heap;
void fh_heap_make(fh_heap h, fh_candidate *v, size_t n);
void fh_heap_sink(fh_heap h, fh_candidate *v, size_t n, size_t i); /* v[i] to its place */
/* The root goes behind the heap, whose length is n - 1 then. */
void fh_heap_pop(fh_heap h, fh_candidate *v, size_t n);

/* ---- exp and log: the same bits everywhere, within 2 units in the last place ---- */

#define FH_LN2_HIGH 0x1.62e42fee00000p-1 /* 21 zero bits at the end: k * FH_LN2_HIGH is exact for |k| < 2^21 */
#define FH_LN2_LOW 0x1.a39ef35793c76p-33
#define FH_EXP_ROUNDER 0x1.8p52 /* adding it leaves an integer in the low bits of the mantissa */

/* -708 <= x <= 709 */
static inline double fh_exp_normal(double x) {
    double shifted = x * 1.4426950408889634 + FH_EXP_ROUNDER;
    double k = shifted - FH_EXP_ROUNDER;
    double r = (x - k * FH_LN2_HIGH) - k * FH_LN2_LOW; /* |r| <= 0.3466: 0.3466^14 / 14! = 4e-18 */
    double p = 1.0 / 6227020800.0;
    uint64_t bits;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 52) + ((uint64_t)1023 << 52); /* 2^k */
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* 0 below -708; x at most 709 */
static inline double fh_sampler_exp(double x) {
    double e = fh_exp_normal(x > -708 ? x : -708);
    return x > -708 ? e : 0;
}
double fh_sampler_log(double x); /* -HUGE_VAL at 0 and below */
/* sum of exp(row[i] - max) */
double fh_sampler_sum_exp(const float *row, size_t n, double max);

#endif
