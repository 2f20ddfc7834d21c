/* text/wordpiece.h - WordPiece: the longest piece that starts the word, then the longest that goes on, and so on; a
 * word that cannot be written so is one unknown token.
 * SPDX-License-Identifier: Apache-2.0
 * Borrows the vocabulary; immutable, shared by threads; needs no scratch.
 * Invariant (T23): control pieces are never found in text unless the caller allows it. */
#ifndef FH_TEXT_WORDPIECE_H
#define FH_TEXT_WORDPIECE_H

#include "format/vocab.h"
#include "text/ids.h"
#include "text/own_piece.h"

typedef struct fh_wordpiece fh_wordpiece;

/* marked_starts: pieces that start a word have U+2581 before them, the others nothing (GGUF); otherwise the others
 * have the vocabulary's continuing prefix. own_end: text/own_piece.h. */
FH_MUST_USE fh_status fh_wordpiece_new(fh_wordpiece **out, const fh_vocab *v, bool marked_starts, uint32_t own_end,
                                       fh_err *err);
void fh_wordpiece_free(fh_wordpiece *m); /* NULL is fine */
/* control: control tokens may come out. FH_ERR_FORMAT where the word is unknown and the vocabulary has no unknown
 * token. */
FH_MUST_USE fh_status fh_wordpiece_encode(const fh_wordpiece *m, fh_str word, bool control, fh_ids *out, fh_err *err);

#endif
