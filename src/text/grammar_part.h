/* text/grammar_part.h - the inside of grammars and matchers, for grammar_*.c, schema*.c and mask*.c only.
 * SPDX-License-Identifier: Apache-2.0
 * A matcher's position is a small set of *threads*. A thread is where one reading of the text stands: a phase with a
 * few numbers, above a stack of *frames* (open objects and arrays, or rules to return to). Frames never change and
 * equal frames are one frame (hash-consed), so stacks share their tails, copies are cheap and comparing is comparing
 * numbers. Frames are only ever added; going back cuts them off at the end. */
#ifndef FH_TEXT_GRAMMAR_PART_H
#define FH_TEXT_GRAMMAR_PART_H

#include "text/grammar.h"
#include "text/grammar_auto.h"

#define FH_NONE UINT32_MAX
#define FH_ENDLESS UINT32_MAX /* as a maximum */
#define FH_GRAMMAR_RULES 100000u
#define FH_GRAMMAR_THREADS 512u
#define FH_GRAMMAR_BYTES ((size_t)64 << 20)
#define FH_RULE_DEPTH 1024u /* calls of rules that are open at once */

/* ---- a compiled grammar ---- */
enum { FH_WORD_NULL = 1, FH_WORD_TRUE = 2, FH_WORD_FALSE = 4 };

/* A set of strings: the words of an automaton (then least is 0) of at most `most` code points, or, without one, all
 * texts of least..most. Counting beside an automaton keeps it small: a format and a maxLength need no product. */
typedef struct fh_gstr {
    const fh_auto *a;
    uint32_t least, most;
    const uint32_t *distance; /* [a->n_state] to the nearest match; set where there are both a and most */
} fh_gstr;

/* A value: any of what is in it. */
typedef struct fh_gnode {
    uint32_t words;                  /* FH_WORD_ bits */
    const fh_auto *num;              /* texts of numbers, or NULL */
    const fh_gstr *str;              /* or NULL */
    uint32_t arr, n_arr, obj, n_obj; /* from .. in the grammar's tables */
} fh_gnode;

typedef struct fh_garr {
    const uint32_t *prefix;  /* [n_prefix] nodes */
    uint32_t n_prefix, rest; /* rest: node of the elements behind the prefix, FH_NONE when most = n_prefix */
    uint32_t least, most;
} fh_garr;

/* Names as a tree over code points. Names are sorted, so a place in the tree is a range of them. */
typedef struct fh_gtrie {
    uint32_t child, n_child; /* into edge */
    uint32_t lo, hi;         /* names below this place */
    uint32_t name;           /* that ends right here, or FH_NONE */
    uint32_t n_other;        /* names below that fh_gobj.key would accept too */
} fh_gtrie;
typedef struct fh_gedge {
    uint32_t cp, to;
} fh_gedge;

enum { FH_KEYS_CLOSED, FH_KEYS_ANY, FH_KEYS_AUTO };
typedef struct fh_gobj {
    const fh_str *name;                 /* [n_name] ascending; those that may not occur are here too */
    const uint32_t *value;              /* [n_name] node, FH_NONE: may not occur */
    const uint64_t *allowed, *required; /* [n_word] bits */
    const fh_gtrie *trie;               /* [n_trie], 0 is the root */
    const fh_gedge *edge;
    const fh_auto *key;          /* AUTO: keys that are no name; its labels choose among other_value */
    const uint64_t *key_count;   /* [key->n_state], UINT64_MAX = endless */
    const uint32_t *other_value; /* [n_other] by label - 1 */
    uint32_t n_name, n_word, n_level, n_trie, n_other;
    uint32_t other; /* FH_KEYS_ */
    uint32_t least, most;
} fh_gobj;

typedef struct fh_grule {
    fh_rule_auto r;
    fh_str name;
    uint8_t first[32], follow[32]; /* bit per byte: may begin it; may come right behind it */
    const uint8_t (*leave)[32];    /* [n_state] bytes that may come when it is left there, by a call or at its end */
    uint8_t *tail;                 /* [n_state] bit 0: nothing but the end is left here */
} fh_grule;

struct fh_grammar {
    fh_arena arena;
    fh_grammar_kind kind;
    uint32_t max_space;
    uint32_t root; /* node, or rule */
    uint32_t n_node, n_arr, n_obj, n_rule;
    fh_gnode *node;
    fh_garr *arr;
    fh_gobj *obj;
    fh_grule *rule;
    fh_gstr any_string;
    fh_grammar **part; /* [n_part] owned: what nodes of a grammar of calls point into */
    uint32_t n_part;
    uint64_t n_state;
};

FH_MUST_USE fh_grammar *fh_grammar_new(fh_grammar_kind kind);            /* NULL without memory */
void fh_grammar_set_space(fh_grammar *g, const fh_grammar_options *opt); /* NULL: the defaults */
/* One rule without calls. */
FH_MUST_USE fh_status fh_grammar_from_auto(fh_grammar **out, fh_grammar_kind kind, const fh_auto *a, fh_work *w,
                                           fh_err *err);
/* Fills first, follow, leave and tail once all rules are there. */
FH_MUST_USE fh_status fh_grammar_link_rules(fh_grammar *g, fh_work *w, fh_err *err);
/* Sorted names, their values and the rest of o are set: makes the tree, the bits and the counts. */
FH_MUST_USE fh_status fh_gobj_finish(fh_gobj *o, const bool *required, fh_arena *to, fh_work *w, fh_err *err);

/* ---- bytes to code points ---- */
typedef enum fh_gread { FH_GREAD_BAD, FH_GREAD_PART, FH_GREAD_CP, FH_GREAD_QUOTE } fh_gread;
typedef struct fh_gcps {
    uint32_t cp, lo[2], hi[2];
} fh_gcps; /* lo > hi: none */
/* *sub is 0 between code points. PART: what the code point can still become stands in lo..hi. */
fh_gread fh_gread_utf8(uint32_t *sub, uint8_t b, fh_gcps *out);
fh_gread fh_gread_string(uint32_t *sub, uint8_t b, fh_gcps *out);            /* inside a JSON string */
static inline bool fh_gread_in_utf8(uint32_t sub) { return (sub & 7) == 1; } /* in a code point from U+0080 */
bool fh_gread_live(const fh_auto *a, uint32_t q, const fh_gcps *c);

/* ---- a matcher ---- */
enum { FH_FRAME_RULE = 1, FH_FRAME_OBJ, FH_FRAME_ARR, FH_FRAME_TEXT, FH_FRAME_KEYS, FH_FRAME_SEEN, FH_FRAME_SEEN_NODE };
/* RULE: a rule, b state to go on in. OBJ: a object, b seen set, c keys that are no names. ARR: a array, b elements.
 * TEXT: a code point, b length. KEYS: a text, b how many. SEEN: 64 bits in a, b. SEEN_NODE: four parts. */
typedef struct fh_frame {
    uint32_t parent, a, b, c;
    uint32_t kind_depth; /* kind + depth * 8 */
} fh_frame;

enum {
    FH_AT_RULE,      /* node: rule, q: state, sub */
    FH_AT_VALUE,     /* node; space: bytes of white space so far */
    FH_AT_STRING,    /* node, q, sub, count */
    FH_AT_NUMBER,    /* node, q */
    FH_AT_WORD,      /* node: index in words, q: letters read */
    FH_AT_OBJ_START, /* behind {  */
    FH_AT_OBJ_AFTER, /* behind a member's value */
    FH_AT_OBJ_COMMA,
    FH_AT_KEY,   /* node: place in the tree or FH_NONE, q: state of the key automaton, sub, count: text;
                        space: 1 when only required names may follow */
    FH_AT_COLON, /* node: the value that follows */
    FH_AT_ARR_START,
    FH_AT_ARR_AFTER,
    FH_AT_END
};
typedef struct fh_gthread {
    uint32_t frame, node, q, sub, count;
    uint16_t phase, space;
} fh_gthread;

/* Compared as bytes: there is no padding. */
static inline bool fh_gthread_same(const fh_gthread *x, const fh_gthread *y) {
    uint64_t a[3], b[3];
    memcpy(a, x, sizeof a);
    memcpy(b, y, sizeof b);
    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2])) == 0;
}
_Static_assert(sizeof(fh_gthread) == 24, "threads are compared as bytes");

typedef struct fh_gmark {
    uint32_t at, n, n_frame;
} fh_gmark; /* a position to return to */

struct fh_matcher {
    const fh_grammar *g;
    fh_frame *frame; /* [n_frame], 0 is no frame */
    uint32_t *table; /* hash table of frames, index, 0 = free */
    fh_gthread *t;   /* [n_t] sets of threads, one behind the other; the present one is at .. at + n */
    fh_gmark *mark;  /* [n_mark] earlier positions */
    uint32_t n_frame, cap_frame, cap_table, n_t, cap_t, n_mark, cap_mark;
    uint32_t at, n;
    uint64_t id;      /* changes when frames that positions stood on are cut: same id, same meaning of numbers */
    fh_status status; /* of the step in progress: memory or a ceiling */
};

static inline uint32_t fh_frame_kind(const fh_frame *f) { return f->kind_depth & 7; }
static inline uint32_t fh_frame_depth(const fh_matcher *m, uint32_t f) { return m->frame[f].kind_depth >> 3; }
uint32_t fh_matcher_frame(fh_matcher *m, uint32_t kind, fh_frame f); /* depth in f.kind_depth; 0 on failure */
void fh_matcher_cut_frames(fh_matcher *m, uint32_t n_frame);
void fh_matcher_push(fh_matcher *m, fh_gthread t); /* to the set that begins at m->n_t when the step began */
/* Threads t[at..at + n) read one byte; the new set is appended at m->t[m->n_t]. false on failure (m->status). */
bool fh_matcher_step(fh_matcher *m, uint32_t at, uint32_t n, uint8_t b);
bool fh_matcher_set_ends(const fh_matcher *m, uint32_t at, uint32_t n); /* could the text end here? */
fh_status fh_matcher_fail(const fh_matcher *m, fh_err *err);

/* grammar_json.c, grammar_key.c, grammar_rule.c: one thread reads one byte and pushes what it becomes */
void fh_gjson_step(fh_matcher *m, const fh_gthread *t, uint8_t b);
void fh_gjson_after_value(fh_matcher *m, uint32_t frame); /* pushes what follows a finished value */
void fh_grule_step(fh_matcher *m, const fh_gthread *t, uint8_t b);
void fh_grule_enter(fh_matcher *m, uint32_t rule, uint32_t q, uint32_t frame); /* pushes all that may be read there */
void fh_grule_return(fh_matcher *m, uint32_t frame); /* pushes all that may be read behind a call that is done */
void fh_grule_leave(fh_matcher *m, const fh_gthread *t, uint32_t q); /* what may be read by calling or returning at q */

/* Strings: STAY, CLOSE (the quote was read) or DEAD. t->q, sub and count move. */
typedef enum fh_gmove { FH_GMOVE_DEAD, FH_GMOVE_STAY, FH_GMOVE_CLOSE } fh_gmove;
fh_gmove fh_gstr_step(const fh_gstr *s, fh_gthread *t, uint8_t b);
/* Code points to the nearest match from q, where the next one is one of c. */
uint32_t fh_gstr_part_need(const fh_auto *a, const uint32_t *distance, uint32_t q, const fh_gcps *c);
fh_gmove fh_gkey_step(fh_matcher *m, fh_gthread *t, uint8_t b);
/* After CLOSE: pushes the colon's thread, with the key noted in the object's frame. */
void fh_gkey_close(fh_matcher *m, const fh_gthread *t);
bool fh_gobj_can_close(const fh_matcher *m, uint32_t frame);
bool fh_gobj_start_key(const fh_matcher *m, uint32_t frame, fh_gthread *out); /* false when no key may follow */
/* Could a key, begun like this, still become a name, or one that the object has seen? */
bool fh_gkey_is_bound(const fh_matcher *m, const fh_gthread *t);

#endif
