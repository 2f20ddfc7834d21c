/* text/unigram.h - the unigram language model: of all ways to cut a text into pieces, the one with the highest sum of
 * scores.
 * SPDX-License-Identifier: Apache-2.0
 * Borrows the vocabulary; immutable, shared by threads. Which of two nearly equal paths wins depends on rounding, so
 * sums are kept as the original keeps them: in float (SentencePiece) or in double (Hugging Face's library).
 * Invariant (T23): control pieces are never found in text unless the caller allows it. */
#ifndef FH_TEXT_UNIGRAM_H
#define FH_TEXT_UNIGRAM_H

#include "format/vocab.h"
#include "text/ids.h"
#include "text/own_piece.h"

typedef struct fh_unigram fh_unigram;

typedef struct fh_unigram_options {
    bool float_sums;
    bool byte_fallback;
    bool all_pieces;  /* control pieces, too, are looked for where the caller allows them; not so in SentencePiece */
    uint32_t own_end; /* text/own_piece.h */
} fh_unigram_options;

typedef struct fh_unigram_node {
    double score;
    uint32_t start, id; /* of the best piece that ends here; start UINT32_MAX: none does */
} fh_unigram_node;

/* Memory of one caller. All zero is a valid start. */
typedef struct fh_unigram_scratch {
    fh_unigram_node *node; /* [cap] */
    size_t cap;
} fh_unigram_scratch;

FH_MUST_USE fh_status fh_unigram_new(fh_unigram **out, const fh_vocab *v, const fh_unigram_options *opt, fh_err *err);
void fh_unigram_free(fh_unigram *m); /* NULL is fine */
/* text: valid UTF-8. control: control tokens may come out. FH_ERR_FORMAT where a character has no piece and the
 * vocabulary no unknown token. */
FH_MUST_USE fh_status fh_unigram_encode(const fh_unigram *m, fh_unigram_scratch *s, fh_str text, bool control,
                                        fh_ids *out, fh_err *err);
void fh_unigram_scratch_release(fh_unigram_scratch *s);

#endif
