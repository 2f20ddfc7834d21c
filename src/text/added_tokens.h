/* text/added_tokens.h - tokens that are cut out of the text before the model sees it.
 * SPDX-License-Identifier: Apache-2.0
 * A set is immutable and may be shared; an iterator belongs to its caller. The leftmost match counts, and of those that
 * start together the longest. A special token that may not be matched, or one that must be a word of its own and is
 * not, still covers its text: nothing else is looked for inside of it, as in the reference.
 * Refuses texts over FH_ADDED_MAX_BYTES: matching costs that much per byte at worst. */
#ifndef FH_TEXT_ADDED_TOKENS_H
#define FH_TEXT_ADDED_TOKENS_H

#include "format/vocab.h"
#include "text/piece_trie.h"

#define FH_ADDED_MAX_BYTES 1024u

typedef struct fh_added_text {
    fh_str text;
    uint32_t id, flags; /* FH_ADDED_* */
} fh_added_text;

typedef struct fh_added_set {
    fh_piece_trie trie;   /* text -> index */
    fh_vocab_added *item; /* [n] */
    uint32_t n;
} fh_added_set;

FH_MUST_USE fh_status fh_added_build(fh_added_set *out, const fh_added_text *text, uint32_t n, fh_err *err);
void fh_added_release(fh_added_set *s); /* all zero is fine */

typedef struct fh_added_iter {
    const fh_added_set *set;
    fh_str text;
    bool parse_special;
    size_t pos, done; /* where to look on; up to where text was handed out */
    size_t token_end;
    uint32_t token; /* found, but text before it was handed out first */
} fh_added_iter;

fh_added_iter fh_added_begin(const fh_added_set *s, fh_str text, bool parse_special);
/* The next stretch: a token, or text with *id FH_VOCAB_NO_ID. False at the end. Stretches of text are never empty. */
bool fh_added_next(fh_added_iter *it, fh_str *part, uint32_t *id);

#endif
