/* text/charsmap.h - the precompiled normalizer of SentencePiece: a double-array trie from texts to their replacements.
 * SPDX-License-Identifier: Apache-2.0
 * Borrows the blob (vocab.h checks its outline). Contents are hostile: every step stays inside the array, and what
 * points outside of it matches nothing. */
#ifndef FH_TEXT_CHARSMAP_H
#define FH_TEXT_CHARSMAP_H

#include "base/str.h"

typedef struct fh_charsmap {
    fh_bytes trie;  /* 32-bit units */
    fh_bytes texts; /* each ends in NUL */
} fh_charsmap;

/* The longest rule that text has at `at`: bytes it covers, or 0. */
size_t fh_charsmap_longest(const fh_charsmap *m, fh_str text, size_t at, fh_str *out);
/* The shortest rule at the start of chunk, whatever is behind it: what Hugging Face's library applies to a whole
 * grapheme. */
bool fh_charsmap_shortest(const fh_charsmap *m, fh_str chunk, fh_str *out);

#endif
