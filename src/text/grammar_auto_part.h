/* text/grammar_auto_part.h - an automaton under construction: what grammar_auto.c and grammar_nfa.c share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TEXT_GRAMMAR_AUTO_PART_H
#define FH_TEXT_GRAMMAR_AUTO_PART_H

#include "text/grammar_auto.h"

typedef struct fh_draft {
    fh_work *w;
    uint32_t n_state, n_class, n_range, cap_next, cap_label;
    uint32_t *range_lo, *next;
    uint16_t *range_class, *label;
} fh_draft;

bool fh_draft_ranges(fh_draft *d, uint32_t n);    /* room for n, all of class 0 */
bool fh_draft_state(fh_draft *d, uint16_t label); /* its row is all dead */
/* Removes what leads to no match and gives the rest its final form; the draft is used up. State 0 is the start. */
const fh_auto *fh_draft_finish(fh_draft *d);

#endif
