/* evaluate/chunks.h - a text as chunks of tokens, and the chunks through a model.
 * SPDX-License-Identifier: Apache-2.0
 * What `freehold perplexity` and `freehold imatrix` share, cut as llama.cpp's tools cut it, so that numbers compare:
 * the whole text becomes tokens at once, special tokens around it; chunk i is tokens [i * step, i * step + n_ctx); what
 * is left over is dropped. Where the model's texts begin with a token of their own (BOS), it stands in the place of
 * every chunk's first. Chunks know nothing of each other: each is a session. */
#ifndef FH_EVALUATE_CHUNKS_H
#define FH_EVALUATE_CHUNKS_H

#include "format/logits_base.h"
#include "infer/engine.h"
#include "text/tokenizer.h"

#define FH_CHUNKS_DEFAULT 512u /* tokens */

typedef struct fh_chunks {
    fh_ids ids;              /* the text's */
    uint32_t n_ctx, step, n; /* of a chunk; from one to the next; chunks */
    uint32_t bos;            /* FH_VOCAB_NO_ID: none */
} fh_chunks;

typedef struct fh_chunks_options {
    uint32_t n_ctx;     /* 4 at least */
    uint32_t stride;    /* step; 0: n_ctx */
    uint32_t skip;      /* chunks left out at the front */
    uint64_t most;      /* chunks at most; 0: all */
    bool parse_special; /* special tokens that are spelled in the text become themselves */
} fh_chunks_options;

/* One line end at the end of the text is dropped. FH_ERR_USAGE: fewer tokens than two chunks have. */
FH_MUST_USE fh_status fh_chunks_read(fh_chunks *out, const fh_tokenizer *t, fh_str text, const fh_chunks_options *opt,
                                     fh_err *err);
/* The chunks that a file of log-probabilities is about; most: as above. */
FH_MUST_USE fh_status fh_chunks_of_base(fh_chunks *out, const fh_logits_base *base, const fh_tokenizer *t,
                                        uint64_t most, fh_err *err);
void fh_chunks_release(fh_chunks *c); /* {0} is fine */

/* Rows come in the order of their positions within a chunk; chunks that are computed together may alternate. at: the
 * position in the chunk. A row is gone after the call. */
typedef fh_status fh_chunks_row_fn(void *ctx, uint32_t chunk, uint32_t at, const float *row, fh_err *err);
/* Chunks [0, n) are through. */
typedef fh_status fh_chunks_done_fn(void *ctx, uint32_t n, fh_err *err);

typedef struct fh_chunks_run_options {
    fh_export what;
    uint32_t from, to; /* which rows of a chunk are handed out: [from, to) */
    bool whole; /* the last layer is computed for all tokens, too: else what these rows do not need is left out */
    uint32_t together; /* chunks at a time; 0: as many as fill a batch */
    uint32_t batch;    /* of the engine's options */
    const fh_adapter_set *adapters;
    fh_chunks_row_fn *row;   /* or NULL */
    fh_chunks_done_fn *done; /* or NULL */
    void *ctx;
    const volatile int *stop; /* as in fh_engine_step */
} fh_chunks_run_options;
FH_MUST_USE fh_status fh_chunks_run(const fh_chunks *c, fh_engine *e, const fh_chunks_run_options *opt, fh_err *err);

#endif
