/* evaluate/perplexity.h - how well a model foretells a text, and how far another model's answers are from its own.
 * SPDX-License-Identifier: Apache-2.0
 * As llama.cpp's tool measures it, so that numbers compare. Of every chunk (chunks.h) the tokens of the second half are
 * foretold from what stands before them in the chunk; with a stride, the last `stride` tokens. PPL is e to the mean of
 * -ln p; errors are those of a mean of independent numbers.
 * Against a base (format/logits_base.h) each row gives, too: the base's Kullback-Leibler divergence from the model, in
 * nats; what the model thinks likelier about the token that came, p - p(base); whether both have the same favourite. */
#ifndef FH_EVALUATE_PERPLEXITY_H
#define FH_EVALUATE_PERPLEXITY_H

#include "evaluate/chunks.h"

typedef struct fh_estimate {
    double value, error; /* one standard error; 0 of ten numbers or fewer */
} fh_estimate;

/* Percentiles that are told, from the largest; between two numbers they are interpolated. */
#define FH_SPREAD_ROWS \
    FH_SPREAD_ROW(max, 1.0) \
    FH_SPREAD_ROW(p99_9, 0.999) \
    FH_SPREAD_ROW(p99, 0.99) \
    FH_SPREAD_ROW(p95, 0.95) \
    FH_SPREAD_ROW(p90, 0.9) \
    FH_SPREAD_ROW(p75, 0.75) \
    FH_SPREAD_ROW(median, 0.5) \
    FH_SPREAD_ROW(p25, 0.25) \
    FH_SPREAD_ROW(p10, 0.1) \
    FH_SPREAD_ROW(p05, 0.05) \
    FH_SPREAD_ROW(p01, 0.01) \
    FH_SPREAD_ROW(p00_1, 0.001) \
    FH_SPREAD_ROW(min, 0.0)

typedef struct fh_spread {
    fh_estimate mean;
#define FH_SPREAD_ROW(name, part) double name;
    FH_SPREAD_ROWS
#undef FH_SPREAD_ROW
} fh_spread;

typedef struct fh_perplexity {
    uint32_t n_ctx, n_chunk; /* as far as it went */
    uint64_t n_row;          /* tokens that were foretold */
    fh_estimate ppl;
    /* against a base */
    bool compared;
    fh_estimate base;      /* its PPL */
    fh_estimate log_ratio; /* ln(PPL / PPL(base)): errors of the two are told apart by how they go together */
    fh_estimate ratio, difference;
    double correlation; /* of the two -ln p, row by row */
    fh_spread kld, dp;  /* dp: p - p(base) of the tokens that came */
    fh_estimate dp_rms, same_best;
} fh_perplexity;

typedef struct fh_perplexity_options {
    const char *save;           /* write this base, or NULL */
    const fh_logits_base *base; /* compare with it, or NULL; then the chunks are its own */
    uint32_t stride;            /* as the chunks'; 0: none */
    bool whole;                 /* see fh_chunks_run_options */
    uint32_t together;          /* likewise */
    int threads;                /* 0: one per CPU */
    uint32_t batch;             /* of the engine's options */
    const fh_adapter_set *adapters;
    /* After each chunk, in order: what is known by then, percentiles excepted. May be NULL. */
    fh_status (*chunk)(void *ctx, const fh_perplexity *so_far, fh_err *err);
    void *ctx;
    const volatile int *stop;
} fh_perplexity_options;

/* FH_ERR_UNSUPPORTED: a model without logits, or a base over another vocabulary. FH_ERR_CORRUPT: logits that are no
 * numbers. The base is written beside its place and appears whole. */
FH_MUST_USE fh_status fh_perplexity_measure(fh_perplexity *out, const fh_chunks *c, fh_engine *e,
                                            const fh_perplexity_options *opt, fh_err *err);

#endif
