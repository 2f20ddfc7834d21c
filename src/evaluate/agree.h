/* evaluate/agree.h - do two ways of computing the same model say the same: fast mode against exact mode.
 * SPDX-License-Identifier: Apache-2.0
 * Of every position: how far the fast distribution lies from the exact one, KLD = sum p (ln p - ln q), p exact, in
 * nats, and whether both put the same token first. A first place that is as good as shared says nothing about
 * arithmetic: only positions whose first two exact logits lie further apart than 2 % of the logits' RMS are asked.
 * Sums are in double. Limits of what counts as the same are here and nowhere else. */
#ifndef FH_EVALUATE_AGREE_H
#define FH_EVALUATE_AGREE_H

#include "infer/engine.h"

#define FH_AGREE_MOST_KLD 1e-3  /* mean over the positions */
#define FH_AGREE_LEAST_TOP 0.99 /* of the positions that are asked */
#define FH_AGREE_APART 0.02     /* of the RMS */

typedef struct fh_agree_position {
    double kld;
    float gap;        /* between the first two exact logits */
    bool same, asked; /* asked: set by fh_agree_settle */
} fh_agree_position;

/* {0} is a valid start. */
typedef struct fh_agree {
    fh_agree_position *at;
    size_t n, cap;
    double error, power; /* sums of (fast - exact)^2 and exact^2 */
    uint64_t n_value;
} fh_agree;

void fh_agree_release(fh_agree *a);
/* One position: n logits of each. FH_ERR_CORRUPT where they are no numbers. */
FH_MUST_USE fh_status fh_agree_add(fh_agree *a, const float *exact, const float *fast, size_t n, fh_err *err);
/* After the last position of a model, whose logits share one RMS. */
void fh_agree_settle(fh_agree *a);
/* The positions of another model, settled, to these. */
FH_MUST_USE fh_status fh_agree_pool(fh_agree *into, const fh_agree *a, fh_err *err);

typedef struct fh_agree_report {
    size_t n, n_asked;
    double mean_kld, kld_999; /* the value that 99.9 % of the positions stay under, between neighbours evenly */
    double top;               /* share of the asked positions with the same first token; 1 where none was asked */
    double nmse;
    bool kept; /* both limits */
} fh_agree_report;
FH_MUST_USE fh_status fh_agree_judge(const fh_agree *a, fh_agree_report *out, fh_err *err);

typedef struct fh_agree_options {
    uint32_t threads; /* 0: all */
    uint32_t batch;   /* tokens per step in both modes; 0: 64 */
    fh_dtype kv_type; /* of the fast mode; the exact one keeps f32 */
    const volatile int *stop;
} fh_agree_options;

/* Runs the tokens through both modes side by side and adds the positions. Encoder-decoders: the tokens go through the
 * encoder, then through the decoder behind the token that starts an answer. FH_ERR_UNSUPPORTED: no logits. */
FH_MUST_USE fh_status fh_agree_run(fh_agree *a, const fh_model *m, const uint32_t *token, uint32_t n,
                                   const fh_agree_options *opt, fh_err *err);

/* What is taken where no tokens are given: the model's own tokens of a built-in text, or (model: where it was opened,
 * without a tokenizer) fixed random ones. n at most; out: [n]. Returns how many. */
FH_MUST_USE fh_status fh_agree_tokens(const fh_model *m, const char *model, uint32_t *out, uint32_t *n, fh_err *err);

#endif
