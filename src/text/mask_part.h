/* text/mask_part.h - the inside of masks: the tree of tokens, and what is cached about places.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TEXT_MASK_PART_H
#define FH_TEXT_MASK_PART_H

#include "text/grammar_class.h"
#include "text/grammar_part.h"
#include "text/mask.h"

/* A tree of byte strings in pre-order. Node 0 is the root. Items that end at a node: from its item_at to the next
 * node's; items at or below it: to that of the node behind its subtree. */
typedef struct fh_mnode {
    uint32_t span; /* nodes of the subtree, itself included */
    uint32_t held; /* classes (grammar_class.h) of its byte and all below it */
    uint32_t item_at;
    uint8_t byte;
} fh_mnode;
typedef struct fh_mtree {
    fh_mnode *node; /* [n_node + 1] */
    uint32_t *item; /* [n_item] sorted by their bytes */
    uint32_t n_node, n_item, depth;
} fh_mtree;

typedef struct fh_mtail {
    fh_str text;
    uint32_t item;
} fh_mtail;
/* Sorts the tails. false without memory. */
bool fh_mtree_build(fh_mtree *t, fh_mtail *tail, uint32_t n);
void fh_mtree_release(fh_mtree *t);
size_t fh_mtree_bytes(const fh_mtree *t);

/* Tokens that leave a place in state q after `length` code points; what they have left is in the tree. */
typedef struct fh_mexit {
    uint32_t q;
    fh_mtree tree;
    uint32_t *id, *length; /* [tree.n_item] in the order of the tree's items */
} fh_mexit;

#define FH_MASK_LENGTHS 33
/* What a place inside a string, key or rule allows. */
typedef struct fh_mplace {
    const void *of;           /* automaton; NULL: any string */
    uint32_t rule, q, sub;    /* rule: FH_NONE for strings and keys */
    bool key;                 /* a key: the state in which it ends matters */
    const uint32_t *distance; /* of a string with a longest length: then `need` is made */
    bool unusable;            /* too many ways out: look at all tokens instead */
    uint32_t *bits;           /* [words] the tokens that stay inside, or */
    uint32_t *id, n_id;       /* a list, where they are few */
    fh_mexit *exit;
    uint32_t n_exit;
    /* Of a rule: nodes of the vocabulary's tree in front of which it may be left, each with the state it is left in. */
    uint32_t *leave_node, n_leave;
    uint16_t *leave_of; /* [n_leave] into leave_q; FH_MASK_BEHIND: behind one byte, of a class in leave_first */
    uint32_t *leave_q, *leave_first, n_leave_q; /* those states; classes of bytes that all lead there */
    /* Any string only: tokens that stay and have at most that many code points, and those with more than all that. */
    uint32_t *by_length; /* [FH_MASK_LENGTHS][words] */
    uint32_t *long_id, *long_length, n_long;
    uint32_t most_length;
    /* With distance: the tokens that stay and what they need to the nearest end, largest first. */
    uint32_t *need_id, *need, n_need;
    size_t bytes;
    struct fh_mplace *next; /* in its hash bucket */
} fh_mplace;

struct fh_mask_vocab {
    fh_mtree tree;
    fh_str *piece; /* [n] into text */
    char *text;
    /* A mask for each class: the tokens whose first byte is in it; those that have it behind the first byte. What is no
     * text is in all of the latter. */
    uint32_t *first, *behind; /* [32][words] */
    uint32_t n, words;
    uint32_t *end, n_end;         /* ids of end tokens */
    uint32_t *special, n_special; /* ids that may touch two keys of one object, see mask.c */
    fh_mplace any;                /* inside any string, between code points */
    size_t bytes;
};

#define FH_MASK_SEEN 64
#define FH_MASK_BUCKETS 1024
typedef struct fh_mseen {
    fh_gthread t[4]; /* [n] the position, 0 = free */
    uint32_t n;
    uint64_t matcher, used;
    uint32_t *bits; /* [words] */
} fh_mseen;

typedef struct fh_mlevel {
    uint32_t at, n, n_frame, end, loop;
} fh_mlevel;

/* Positions under rules as states of an automaton that is made as it is used: a set of threads, where each byte leads,
 * and the masks of some. Frames are those of a matcher of its own. */
typedef struct fh_mset {
    uint32_t at, n; /* in pool */
    uint32_t loop;  /* classes that one of the threads takes without end */
    uint32_t slot;  /* of its mask, plus 1 */
    uint32_t *next; /* [256] 0 not known, 1 dead, else the set plus 2; NULL as long as nothing is known */
} fh_mset;
#define FH_MASK_SLOTS 128u
#define FH_MASK_LOOPS 16u
typedef struct fh_mrule {
    fh_matcher *m;
    fh_gthread *pool;
    fh_mset *set;
    uint32_t *table; /* set, plus 1 */
    uint32_t n_pool, cap_pool, n_set, cap_set, cap_table;
    size_t bytes;
    struct {
        uint32_t set, *bits;
    } slot[FH_MASK_SLOTS];
    uint32_t next_slot;
    struct {
        uint32_t first, behind, *bits;
    } loop[FH_MASK_LOOPS]; /* all tokens that begin with one of these classes and go on with nothing but those */
    uint32_t next_loop;
    uint32_t *state, *path, *part; /* [depth + 2] on the way down the tree */
    uint32_t *q_set, *q_have; /* [FH_MASK_LEAVES] by state in which a rule is left: what follows; what is in the mask */
} fh_mrule;
#define FH_MASK_LEAVES 512u
#define FH_MASK_BEHIND 0x8000u

struct fh_mask {
    const fh_mask_vocab *v;
    const fh_grammar *g;
    fh_mplace *bucket[FH_MASK_BUCKETS];
    fh_mseen seen[FH_MASK_SEEN];
    uint32_t *out;     /* [words] */
    fh_mlevel *level;  /* [depth + 2] */
    fh_gthread *local; /* [depth + 2] */
    uint32_t *end;     /* [depth + 2] */
    fh_mtail *tail;    /* exits while a place is made */
    uint32_t *tail_q, *tail_id, *tail_length, n_tail, cap_tail;
    uint64_t budget;
    fh_mrule rule;
    fh_mask_stats stats;
};

static inline void fh_bit_set(uint32_t *bits, uint32_t i) { bits[i >> 5] |= UINT32_C(1) << (i & 31); }
static inline void fh_bit_clear(uint32_t *bits, uint32_t i) { bits[i >> 5] &= ~(UINT32_C(1) << (i & 31)); }

/* mask_place.c: made with scratch of k (which needs v only). *out is owned by the caller's cache. */
FH_MUST_USE bool fh_mplace_make(fh_mask *k, fh_mplace *p);
void fh_mplace_release(fh_mplace *p);
FH_MUST_USE bool fh_mask_place(fh_mask *k, fh_mplace want, const fh_mplace **out); /* made if it is not there yet */

/* mask_rule.c: grammars of rules. Fails with k->rule.m->status, or for lack of memory. */
FH_MUST_USE bool fh_mrule_place(fh_mask *k, fh_mplace *p);
FH_MUST_USE bool fh_mrule_compute(fh_mask *k, const fh_matcher *m);
void fh_mrule_release(fh_mrule *r);

#endif
