/* text/piece_trie.h - which pieces start here: a byte trie over a fixed set of texts.
 * SPDX-License-Identifier: Apache-2.0
 * Nodes are numbered breadth first, so the children of a node are neighbours and cost nine bytes each. Node 0 is the
 * root; as a result it means "no such child". Immutable once built; the texts may go away. */
#ifndef FH_TEXT_PIECE_TRIE_H
#define FH_TEXT_PIECE_TRIE_H

#include "base/mem.h"

#define FH_PIECE_TRIE_NONE UINT32_MAX
#define FH_PIECE_TRIE_MAX_NODE (1u << 25) /* published vocabularies need under two million */

typedef struct fh_piece_key {
    fh_str text;
    uint32_t value; /* not FH_PIECE_TRIE_NONE */
} fh_piece_key;

typedef struct fh_piece_trie {
    uint32_t n_node;
    uint32_t *first;    /* [n_node + 1] number of the first child; the last one's is before first[node + 1] */
    uint32_t *value;    /* [n_node] */
    uint8_t *label;     /* [n_node] byte on the way in */
    uint32_t root[256]; /* child of the root, or 0 */
} fh_piece_trie;

/* Empty texts are left out; of equal texts the last one counts. out is untouched on failure. */
FH_MUST_USE fh_status fh_piece_trie_build(fh_piece_trie *out, const fh_piece_key *key, size_t n, fh_err *err);
void fh_piece_trie_release(fh_piece_trie *t); /* all zero is fine */

static inline uint32_t fh_piece_trie_step(const fh_piece_trie *t, uint32_t node, uint8_t c) {
    if (node == 0) return t->root[c];
    uint32_t lo = t->first[node], hi = t->first[node + 1];
    while (hi - lo > 4) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->label[mid] <= c) lo = mid;
        else hi = mid;
    }
    for (; lo < hi; lo++)
        if (t->label[lo] == c) return lo;
    return 0;
}

/* Length of the longest text that text holds at from, or 0; *value is set when there is one. */
static inline size_t fh_piece_trie_longest(const fh_piece_trie *t, fh_str text, size_t from, uint32_t *value) {
    size_t best = 0;
    uint32_t node = 0;
    if (t->n_node == 0) return 0;
    for (size_t i = from; i < text.len; i++) {
        node = fh_piece_trie_step(t, node, (uint8_t)text.ptr[i]);
        if (node == 0) break;
        if (t->value[node] == FH_PIECE_TRIE_NONE) continue;
        best = i + 1 - from;
        *value = t->value[node];
    }
    return best;
}

#endif
