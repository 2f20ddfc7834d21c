/* text/bpe.h - byte pair encoding of one piece of text, whatever says which pair comes first: a list of merges, the
 * rank of the result (tiktoken), its score (SentencePiece).
 * SPDX-License-Identifier: Apache-2.0
 * The model borrows the vocabulary, is immutable and may be shared by threads; the scratch belongs to one of them.
 * Of all pairs the one with the best rank is joined, the leftmost of equals, until none is left.
 * Invariant (T23): no control token comes out unless the caller allows it. Merges may pass through one, as in the
 * reference; where it would be the
 * result, it falls apart into its halves. A control token that is a single character is exempt: there is no other way
 * to write that character. */
#ifndef FH_TEXT_BPE_H
#define FH_TEXT_BPE_H

#include "format/vocab.h"
#include "text/ids.h"
#include "text/own_piece.h"
#include "text/piece_cache.h"
#include "text/piece_trie.h"

#define FH_BPE_ROW 64u /* most pieces encoded together: memory for one comes while others are worked on */

typedef struct fh_bpe fh_bpe;

typedef struct fh_bpe_options {
    bool bytes;         /* a symbol is a byte; pieces are raw bytes or the byte alphabet */
    bool ignore_merges; /* a piece that is a token is taken whole */
    bool byte_fallback, fuse_unk;
    uint32_t own_end;                  /* text/own_piece.h */
    const fh_piece_trie *user_defined; /* texts to their ids: such a symbol is found first and never merged; or NULL */
} fh_bpe_options;

/* A piece, as the cache knows it. */
typedef struct fh_bpe_known {
    fh_piece_key128 key;
    fh_piece_slot *place; /* NULL: too long for the cache */
} fh_bpe_known;

/* Memory of one caller, reused from piece to piece. All zero is a valid start. */
typedef struct fh_bpe_scratch {
    uint32_t *id, *rank, *value, *prev, *next; /* [cap] */
    size_t cap;
    uint64_t *heap; /* [cap_heap] rank above, position below */
    size_t n_heap, cap_heap;
    uint64_t *parts; /* [n_hidden] of the model: left and right half of tokens that may not come out */
    fh_buf text;
    bool control; /* of the call */
    bool depends; /* what came out depends on it */
    fh_piece_cache cache;
    fh_bpe_known row[FH_BPE_ROW];
} fh_bpe_scratch;

FH_MUST_USE fh_status fh_bpe_new(fh_bpe **out, const fh_vocab *v, const fh_bpe_options *opt, fh_err *err);
void fh_bpe_free(fh_bpe *m); /* NULL is fine */
/* piece: valid UTF-8 unless symbols are bytes. control: control tokens may come out. Appends; failures of out stay in
 * out. */
FH_MUST_USE fh_status fh_bpe_encode(const fh_bpe *m, fh_bpe_scratch *s, fh_str piece, bool control, fh_ids *out,
                                    fh_err *err);
/* The same for a row of pieces, so that memory for later ones is on its way while earlier ones are encoded. They lie in
 * one text, which ends at end. Only where symbols are bytes, and after start. */
bool fh_bpe_can_look(const fh_bpe *m);
FH_MUST_USE fh_status fh_bpe_start(const fh_bpe *m, fh_bpe_scratch *s, bool control, fh_err *err);
FH_MUST_USE fh_status fh_bpe_encode_row(const fh_bpe *m, fh_bpe_scratch *s, const fh_str *piece, size_t n,
                                        const char *end, fh_ids *out, fh_err *err);
void fh_bpe_scratch_release(fh_bpe_scratch *s);

#endif
