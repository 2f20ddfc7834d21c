/* tests/unit/test_session_part.h - tiny models made by hand, for the tests of engines and sessions.
 * SPDX-License-Identifier: Apache-2.0
 * `layers` has a letter for each: F all rows, S sliding, L latent, R recurrent (convolution and delta rule), N looks at
 * all rows of its sequence (an encoder), X looks at the encoder's rows. Weights are random, from the seed. */
#ifndef FH_TESTS_UNIT_TEST_SESSION_PART_H
#define FH_TESTS_UNIT_TEST_SESSION_PART_H

#include "infer/infer_part.h"

#define TINY_VOCAB 53u

typedef struct tiny_options {
    const char *layers, *encoder; /* encoder: layers of the encode plan, or NULL */
    uint32_t window, context;
    uint32_t long_from; /* not 0: rotation changes past that length */
    uint64_t seed;
} tiny_options;

typedef struct tiny tiny;
tiny *tiny_new(const tiny_options *o);
void tiny_free(tiny *t);
fh_engine_source tiny_source(const tiny *t);
fh_engine *tiny_engine(const tiny *t, const fh_engine_options *o);

/* Appends and keeps the rows that come. */
typedef struct tiny_rows {
    float *at; /* [n][width] */
    uint32_t n, cap, width;
    uint32_t work[8192], index[8192];
} tiny_rows;
void tiny_rows_release(tiny_rows *r);
fh_status tiny_keep_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err);
fh_status tiny_append(fh_session *s, const uint32_t *token, uint32_t n, fh_want want, tiny_rows *rows, fh_err *err);
/* The logits of the last of n tokens by an engine of its own that has seen nothing else; float [TINY_VOCAB]. */
void tiny_fresh(const tiny *t, const uint32_t *input, uint32_t n_input, const uint32_t *token, uint32_t n, float *out);

#endif
