/* format/logits_base.h - a reference model's log-probabilities over a text, in a file that llama.cpp has, too.
 * SPDX-License-Identifier: Apache-2.0
 * "_logits_", u32 tokens in a chunk, u32 vocabulary, u32 chunks; the chunks' tokens, u32 each; then the rows of every
 * chunk's second half but for its last token, in order: f32 scale, f32 least, a u16 per token of the vocabulary, and
 * another one where their number is odd (kernel/log_prob.h says what they mean). All little-endian.
 * Input is hostile: sizes must be exactly what the header says and tokens in the vocabulary, which is checked at once;
 * the head of a row is checked when it is asked for, since reading 37 GB twice is no check anybody waits for. */
#ifndef FH_FORMAT_LOGITS_BASE_H
#define FH_FORMAT_LOGITS_BASE_H

#include "base/file.h"

#define FH_LOGITS_BASE_CONTEXT (1u << 20)    /* tokens in a chunk at most; 4 at least */
#define FH_LOGITS_BASE_VOCABULARY (1u << 24) /* 2 at least */

typedef struct fh_logits_base {
    uint32_t n_ctx, n_vocab, n_chunk;
    uint32_t n_row;   /* of a chunk: n_ctx - 1 - n_ctx / 2 */
    size_t row_bytes; /* of one */
    size_t rows_at;   /* where the first stands */
    fh_bytes file;    /* borrowed */
} fh_logits_base;

/* The row of position n_ctx / 2 + row of a chunk, which speaks of the token after it. */
typedef struct fh_logits_base_row {
    float scale, least;   /* finite, scale not negative, no ln p above 0 but for rounding */
    const uint8_t *codes; /* [n_vocab] u16 */
} fh_logits_base_row;

FH_MUST_USE fh_status fh_logits_base_read(fh_logits_base *out, fh_bytes file, fh_err *err);
uint32_t fh_logits_base_token(const fh_logits_base *b, uint64_t i); /* i < n_chunk * n_ctx */
FH_MUST_USE fh_status fh_logits_base_get(const fh_logits_base *b, uint32_t chunk, uint32_t row, fh_logits_base_row *out,
                                         fh_err *err);

/* The same file in the making; token: [n_chunk * n_ctx]. The rows follow in order, n_chunk * n_row of them. */
FH_MUST_USE fh_status fh_logits_base_begin(fh_writer *w, uint32_t n_ctx, uint32_t n_vocab, uint32_t n_chunk,
                                           const uint32_t *token, fh_err *err);
FH_MUST_USE fh_status fh_logits_base_put(fh_writer *w, const fh_logits_base_row *row, uint32_t n_vocab, fh_err *err);

#endif
