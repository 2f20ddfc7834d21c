/* text/mask.h - which tokens of a vocabulary may come next.
 * SPDX-License-Identifier: Apache-2.0
 * A *mask vocabulary* is a tree of all tokens' bytes, built once, read by any number of threads; 16 bytes for each
 * place in the tree and for each token, plus 97 masks. A *masker* computes masks for one grammar; it belongs to one
 * thread, may serve any number of texts, and keeps what it found: for a place inside a string (or a rule) the tokens
 * that stay inside never depend on what stands around it, and the few that leave it are looked at by what follows. Its
 * caches have a ceiling and are dropped whole when they reach it.
 * Exact: a bit is set if and only if fh_matcher_accept would take the token's bytes. Tokens without bytes and control
 * tokens are never allowed; end tokens are allowed where the text may end. */
#ifndef FH_TEXT_MASK_H
#define FH_TEXT_MASK_H

#include "text/grammar.h"

typedef enum fh_mask_piece_kind { FH_MASK_TEXT, FH_MASK_CONTROL, FH_MASK_END } fh_mask_piece_kind;

typedef struct fh_mask_vocab fh_mask_vocab;
/* piece[id]: the bytes that token id stands for, copied; kind[id]: an fh_mask_piece_kind. */
FH_MUST_USE fh_status fh_mask_vocab_new(fh_mask_vocab **out, const fh_str *piece, const uint8_t *kind, size_t n,
                                        fh_err *err);
void fh_mask_vocab_free(fh_mask_vocab *v);          /* NULL is fine */
size_t fh_mask_vocab_words(const fh_mask_vocab *v); /* uint32_t words of a mask: (n + 31) / 32 */
size_t fh_mask_vocab_bytes(const fh_mask_vocab *v);

typedef struct fh_mask fh_mask;
FH_MUST_USE fh_status fh_mask_new(fh_mask **out, const fh_mask_vocab *v, const fh_grammar *g,
                                  fh_err *err); /* borrows both */
void fh_mask_free(fh_mask *k);
/* Bit id & 31 of word id >> 5: may token id come next? *bits stays until the next call. m is read (scratch memory in it
 * is used, its position does not move) and must be of the same grammar. Fails for lack of memory, or FH_ERR_LIMIT where
 * the grammar is so ambiguous that looking at all tokens would take too long. */
FH_MUST_USE fh_status fh_mask_compute(fh_mask *k, fh_matcher *m, const uint32_t **bits, fh_err *err);

typedef struct fh_mask_stats {
    uint64_t computed, same_position; /* calls; those answered from a position seen before */
    uint64_t places;                  /* cached places inside strings and rules */
    uint64_t steps;                   /* places of the tree looked at */
    size_t bytes;
} fh_mask_stats;
fh_mask_stats fh_mask_get_stats(const fh_mask *k);

#endif
