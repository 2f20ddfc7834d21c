/* infer/embed.h - texts to vectors, pairs to scores: pooled rows of short-lived sessions.
 * SPDX-License-Identifier: Apache-2.0
 * Inputs are token lists as the model's tokenizer makes them, special tokens included. Many are computed together, and
 * the vector of an input does not depend on its neighbours (bit-identical in exact mode). An input that is longer than
 * the model's context is refused, not cut. */
#ifndef FH_INFER_EMBED_H
#define FH_INFER_EMBED_H

#include "infer/engine.h"

typedef struct fh_embed_input {
    const uint32_t *token;
    uint32_t n; /* at least 1 */
} fh_embed_input;

typedef struct fh_embed_options {
    fh_pooling pooling; /* MEAN, CLS or LAST */
    bool normalize;     /* to length 1, after the cut */
    uint32_t width;     /* the first so many numbers (Matryoshka); 0: all */
    const fh_adapter_set *adapters;
    uint64_t salt;
    const volatile int *stop; /* as in fh_engine_step, or NULL */
} fh_embed_options;

/* out: [n][width of the options, or of a hidden row]; undefined after a failure. */
FH_MUST_USE fh_status fh_embed_texts(fh_engine *e, const fh_embed_input *input, uint32_t n, const fh_embed_options *opt,
                                     float *out, fh_err *err);
/* Rerankers and classifiers: what the model's head says of each input, unscaled. Models that see whole sequences are
 * asked at the first token, others at the last. pooling, normalize and width do not count.
 * out: [n][width of FH_EXPORT_SCORE] */
FH_MUST_USE fh_status fh_embed_scores(fh_engine *e, const fh_embed_input *input, uint32_t n,
                                      const fh_embed_options *opt, float *out, fh_err *err);

#endif
