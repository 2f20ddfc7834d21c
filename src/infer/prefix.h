/* infer/prefix.h - which pages hold the state of which tokens: a tree of blocks, one node a page of tokens.
 * SPDX-License-Identifier: Apache-2.0
 * A node stands for all tokens from a root up to its end, and knows the pages of its last block, by group, and the
 * snapshot of recurrent state at its end. Nodes are found by a keyed hash of (parent, tokens of the block), and are
 * equal only if the parent is the same and every token is: no two texts can be taken for one another, and hostile
 * tokens cannot make chains. Roots keep apart what must not be shared. A node lives as long as somebody stands on it,
 * it has children, or it has pages. Nodes are not counted as state: page * 4 + 160 bytes each. */
#ifndef FH_INFER_PREFIX_H
#define FH_INFER_PREFIX_H

#include "infer/pages.h"

struct fh_prefix_node {
    struct fh_prefix_node *parent, *next; /* parent NULL: a root; next in the same bucket */
    uint64_t hash;
    uint32_t refs, n_child;
    uint32_t depth;                /* blocks up to its end; roots 0 */
    uint8_t *page[FH_PAGE_GROUPS]; /* NULL: not here, or not any more */
    uint32_t token[];              /* [page] of the last block; of a root its fh_prefix_root */
};

/* Sessions share only under an equal root. */
typedef struct fh_prefix_root {
    uint64_t salt, adapters, regime, encoding; /* adapters: their serial, or 0 */
} fh_prefix_root;

typedef struct fh_prefix fh_prefix;
/* page: tokens in a block, at least 16. Tells `pages` whom to ask before a page goes; borrows it. */
FH_MUST_USE fh_status fh_prefix_new(fh_prefix **out, uint32_t page, fh_pages *pages, fh_err *err);
void fh_prefix_free(fh_prefix *p); /* after the last page went; NULL is fine */

/* NULL where there is none. token: [page]. */
fh_prefix_node *fh_prefix_find_root(const fh_prefix *p, const fh_prefix_root *root);
fh_prefix_node *fh_prefix_find(const fh_prefix *p, const fh_prefix_node *parent, const uint32_t *token);
/* Finds or makes it, and adds a reference; NULL when memory ends. */
fh_prefix_node *fh_prefix_enter_root(fh_prefix *p, const fh_prefix_root *root);
fh_prefix_node *fh_prefix_enter(fh_prefix *p, fh_prefix_node *parent, const uint32_t *token);
void fh_prefix_ref(fh_prefix_node *n);
void fh_prefix_unref(fh_prefix *p, fh_prefix_node *n); /* NULL is fine */
/* The node takes the page in, if it has none of that group; false if it has. */
bool fh_prefix_put(fh_prefix *p, fh_prefix_node *n, uint32_t group, uint8_t *page);
uint64_t fh_prefix_n_node(const fh_prefix *p);

#endif
