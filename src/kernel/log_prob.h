/* kernel/log_prob.h - rows of logits as log-probabilities, and how far two models' rows lie apart.
 * SPDX-License-Identifier: Apache-2.0
 * Sums are f64 in one fixed order with the same exp on every machine (ref_math.h), so equal rows give equal bits.
 *
 * Packed: 16 bits a token, as other programs keep a reference model's rows: ln p = scale * code + least. What is more
 * than 16 below the best token counts as 16 below; so the error of a packed ln p is at most 16 / 65535 / 2. */
#ifndef FH_KERNEL_LOG_PROB_H
#define FH_KERNEL_LOG_PROB_H

#include <stddef.h>
#include <stdint.h>

#define FH_LOG_PROB_DEPTH 16.0f /* how far below the best a packed token can be, and what counts in a divergence */

/* ln p(i) = x[i] - top - log_sum. A row with a number that is not finite has a log_sum that is not. */
typedef struct fh_log_norm {
    float top;
    uint32_t best; /* the first token of that logit */
    double log_sum;
} fh_log_norm;
fh_log_norm fh_log_prob_norm(const float *x, size_t n);
static inline double fh_log_prob_at(const fh_log_norm *norm, float x) {
    return (double)x - (double)norm->top - norm->log_sum;
}

/* The divergence of q from p, sum of e^(ln p) (ln p - ln q), over all tokens. */
double fh_log_prob_between(const float *p, const fh_log_norm *norm_p, const float *q, const fh_log_norm *norm_q,
                           size_t n);

/* codes: n u16, little-endian, at any alignment. */
typedef struct fh_log_packed {
    float scale, least;
    const uint8_t *codes;
} fh_log_packed;
/* out: [2 n] bytes, which the result points to. */
fh_log_packed fh_log_prob_pack(const float *x, size_t n, const fh_log_norm *norm, uint8_t *out);
float fh_log_prob_unpack(const fh_log_packed *p, size_t i);
/* The base's divergence from the row: sum of p ln(p / q), over tokens within 16 of certainty in the base. best: the
 * base's first best token. */
double fh_log_prob_divergence(const fh_log_packed *base, const float *x, size_t n, const fh_log_norm *norm,
                              uint32_t *best);

#endif
