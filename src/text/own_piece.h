/* text/own_piece.h - which pieces of a vocabulary belong to the model, and which are only in the list of added tokens.
 * SPDX-License-Identifier: Apache-2.0
 * Models find their own pieces only: an added token that was not cut out of the text (because it had to be a word of
 * its
 * own, say) is not found by them either. tokenizer.json stores added texts behind the model's, so a place in the text
 * tells them apart; a piece of both lists that is the last of the model's own counts as added, which makes no
 * difference
 * unless it is refused as a match. */
#ifndef FH_TEXT_OWN_PIECE_H
#define FH_TEXT_OWN_PIECE_H

#include "format/vocab.h"

#define FH_OWN_ALL UINT32_MAX /* for files that make no difference between the two */

/* Where the texts of the model's own pieces end. */
static inline uint32_t fh_own_end(const fh_vocab *v) {
    uint32_t end = 0;
    for (uint32_t id = 0; id < v->n_id; id++) {
        bool added = v->type[id] == FH_TOKEN_CONTROL || v->type[id] == FH_TOKEN_USER_DEFINED;
        if (!added && v->type[id] != FH_TOKEN_NONE && v->span[id].at >= end) end = v->span[id].at + 1;
    }
    return end;
}

static inline bool fh_is_own(const fh_vocab *v, uint32_t id, uint32_t end) {
    bool added = v->type[id] == FH_TOKEN_CONTROL || v->type[id] == FH_TOKEN_USER_DEFINED;
    return !added || v->span[id].at < end;
}

#endif
