/* infer/draft.h - guesses at the next tokens of a sequence: what followed the last time its last tokens stood there.
 * SPDX-License-Identifier: Apache-2.0
 * Costs no model and no arithmetic; pays where answers repeat their prompt (code, tables, quotations). How many are
 * guessed follows how many turned out right: after failures it pauses, ever longer. Guesses decide nothing: who uses
 * them verifies each. One thread at a time. */
#ifndef FH_INFER_DRAFT_H
#define FH_INFER_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define FH_DRAFT_MOST 16u
#define FH_DRAFT_GRAM 3u /* tokens that must agree */

typedef struct fh_draft fh_draft;
FH_MUST_USE fh_status fh_draft_new(fh_draft **out, uint32_t most, fh_err *err); /* most: up to FH_DRAFT_MOST */
void fh_draft_free(fh_draft *d);                                                /* NULL is fine */
/* Reads what was appended since the last call (tokens may only be appended) and guesses what comes behind token[n]: at
 * most `room` tokens to out, how many is returned. FH_ERR_MEMORY is no failure here: then nothing is guessed. */
uint32_t fh_draft_guess(fh_draft *d, const uint32_t *token, uint32_t n, uint32_t room, uint32_t out[FH_DRAFT_MOST]);
/* Is a guess for this sequence worth its row, when `company` sequences generate in the same step, it included? What was
 * right of its last guesses decides, and after a while without any it may try again. Once a token. */
bool fh_draft_pays(fh_draft *d, uint32_t company);
void fh_draft_learn(fh_draft *d, uint32_t n_guessed, uint32_t n_right);

#endif
