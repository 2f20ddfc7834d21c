/* infer/constrain.h - a grammar over a tokenizer's tokens: which may come next in one answer.
 * SPDX-License-Identifier: Apache-2.0
 * The vocabulary's part is made once per tokenizer and read by any number of threads; a constraint belongs to one
 * answer. Tokens that end an answer are allowed where the text may end, other control tokens never. */
#ifndef FH_INFER_CONSTRAIN_H
#define FH_INFER_CONSTRAIN_H

#include "text/grammar.h"
#include "text/tokenizer.h"

typedef struct fh_constrain_vocab fh_constrain_vocab;
/* end: [n_end] tokens that end an answer beside those of which the tokenizer says so. The tokenizer may go away. */
FH_MUST_USE fh_status fh_constrain_vocab_new(fh_constrain_vocab **out, const fh_tokenizer *t, const uint32_t *end,
                                             size_t n_end, fh_err *err);
void fh_constrain_vocab_free(fh_constrain_vocab *v); /* NULL is fine; its constraints must be gone */
/* The bytes of every token in the middle of a text; what samplers want for their breakers. Borrowed. */
const fh_str *fh_constrain_vocab_pieces(const fh_constrain_vocab *v, size_t *n);

typedef struct fh_constraint fh_constraint;
FH_MUST_USE fh_status fh_constraint_new(fh_constraint **out, const fh_constrain_vocab *v, const fh_grammar *g,
                                        fh_err *err); /* borrows both */
void fh_constraint_free(fh_constraint *c);            /* NULL is fine */
/* Bit id & 31 of word id >> 5 for n tokens; stays until the next call. */
FH_MUST_USE fh_status fh_constraint_allowed(fh_constraint *c, const uint32_t **bits, size_t *n, fh_err *err);
/* The token was taken. FH_ERR_USAGE where it was not allowed. */
FH_MUST_USE fh_status fh_constraint_accept(fh_constraint *c, uint32_t token, fh_err *err);
bool fh_constraint_can_end(const fh_constraint *c);

#endif
