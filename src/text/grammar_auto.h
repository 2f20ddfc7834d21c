/* text/grammar_auto.h - finite automata over code points: what strings, numbers, keys and rules are made of.
 * SPDX-License-Identifier: Apache-2.0
 * An fh_auto is immutable, deterministic and trimmed: from every state a match can still be reached, so a
 * reader that is not dead can always be finished. Code points are grouped into classes; surrogates belong to
 * none that leads anywhere. An fh_nfa is what regular expressions and grammar rules are read into.
 * Everything lives in an fh_work: an arena with a ceiling and a count of steps with a ceiling. Failure is
 * sticky there: a function that cannot go on returns NULL, and fh_work_check says why once at the end. */
#ifndef FH_TEXT_GRAMMAR_AUTO_H
#define FH_TEXT_GRAMMAR_AUTO_H

#include "base/mem.h"

#define FH_CP_MAX 0x10FFFFu
#define FH_AUTO_DEAD UINT32_MAX
#define FH_WORK_BYTES ((size_t)48 << 20)
#define FH_WORK_STEPS 2500000u /* 25 to 50 ms; what a step is, each loop decides for itself */

typedef struct fh_work {
    fh_arena arena;
    uint64_t left; /* steps */
    bool spent;    /* ran out of steps */
} fh_work;

void fh_work_init(fh_work *w);
void fh_work_release(fh_work *w);
bool fh_work_spend(fh_work *w, uint64_t steps); /* false once they are used up */
FH_MUST_USE void *fh_work_alloc(fh_work *w, size_t n, size_t size);
/* Room for `need` elements: the same memory, or a copy twice as large. NULL on failure (the old stays). */
FH_MUST_USE void *fh_work_grow(fh_work *w, void *p, uint32_t *cap, uint64_t need, size_t size);
bool fh_work_failed(const fh_work *w);
FH_MUST_USE fh_status fh_work_check(const fh_work *w, const char *what, fh_err *err);

/* Sequences of numbers, each stored once and known by its place in the order of arrival. */
typedef struct fh_intern {
    uint32_t *pool, *at, *table; /* pool[at[i]] .. pool[at[i + 1]] is sequence i */
    uint32_t n, n_pool, cap_pool, cap_at, cap_table;
} fh_intern;
/* The place of a sequence, added if it is new; FH_AUTO_DEAD on failure. */
uint32_t fh_intern_add(fh_intern *t, fh_work *w, const uint32_t *seq, uint32_t n);
static inline const uint32_t *fh_intern_seq(const fh_intern *t, uint32_t i, uint32_t *n) {
    *n = t->at[i + 1] - t->at[i];
    return t->pool + t->at[i];
}

typedef struct fh_auto {
    uint32_t n_state, n_class, n_range;
    uint32_t start;              /* FH_AUTO_DEAD: matches nothing */
    const uint32_t *range_lo;    /* [n_range] ascending from 0: range i ends where i + 1 begins */
    const uint16_t *range_class; /* [n_range] */
    const uint32_t *next;        /* [n_state][n_class] */
    const uint16_t *label;       /* [n_state] 0 = no match here */
    const uint32_t *loop; /* [n_state] classes (grammar_class.h) any text of which can be read there; only in copies */
    uint16_t ascii[128];
} fh_auto;

uint32_t fh_auto_class(const fh_auto *a, uint32_t cp);
static inline uint32_t fh_auto_step(const fh_auto *a, uint32_t q, uint32_t cp) {
    uint32_t c = cp < 128 ? a->ascii[cp] : fh_auto_class(a, cp);
    return a->next[(size_t)q * a->n_class + c];
}
/* Does any code point of lo..hi lead on from q? */
bool fh_auto_live(const fh_auto *a, uint32_t q, uint32_t lo, uint32_t hi);
bool fh_auto_matches(const fh_auto *a, fh_str utf8); /* the whole of it */
static inline bool fh_auto_is_empty(const fh_auto *a) { return a->start == FH_AUTO_DEAD; }

typedef enum fh_auto_op { FH_AUTO_AND, FH_AUTO_OR, FH_AUTO_MINUS, FH_AUTO_PAIR } fh_auto_op;
/* Results have label 1, except PAIR: a's words, labelled by the place of (label in a, label in b) in `pairs`, plus
 * 1. */
const fh_auto *fh_auto_combine(fh_work *w, const fh_auto *a, const fh_auto *b, fh_auto_op op, fh_intern *pairs);
const fh_auto *fh_auto_any(fh_work *w);                                    /* every text */
const fh_auto *fh_auto_lengths(fh_work *w, uint32_t least, uint32_t most); /* most = UINT32_MAX: no end */
const fh_auto *fh_auto_words(fh_work *w, const fh_str *words, uint32_t n); /* UTF-8, checked by the caller */
/* The same with other labels: label[old]; 0 removes. */
const fh_auto *fh_auto_relabel(fh_work *w, const fh_auto *a, const uint16_t *label);
const fh_auto *fh_auto_copy(fh_arena *to, const fh_auto *a);
/* Code points of the shortest way to a match from each state, [n_state]. */
uint32_t *fh_auto_distance(fh_work *w, const fh_auto *a);
/* How many words begin at each state, [n_state]; UINT64_MAX = endless or too many. */
uint64_t *fh_auto_count(fh_work *w, const fh_auto *a);

/* Builds an automaton from a step function over small states of `width` numbers. Classes are single ASCII bytes of
 * `alphabet`. step returns false when there is no way on; accept tells a match. */
typedef struct fh_auto_machine {
    const char *alphabet;
    uint32_t width; /* at most 8 */
    bool (*step)(const void *ctx, uint32_t *state, char c);
    bool (*accept)(const void *ctx, const uint32_t *state);
    const void *ctx;
} fh_auto_machine;
const fh_auto *fh_auto_explore(fh_work *w, const fh_auto_machine *m, const uint32_t *start);

/* ---- sets of code points ---- */
typedef struct fh_cps {
    uint32_t (*r)[2]; /* [n] lo, hi; sorted and apart after fh_cps_tidy */
    uint32_t n, cap;
} fh_cps;
void fh_cps_add(fh_cps *s, fh_work *w, uint32_t lo, uint32_t hi);
void fh_cps_tidy(fh_cps *s);               /* sorts, joins, drops surrogates */
void fh_cps_invert(fh_cps *s, fh_work *w); /* tidies too */
bool fh_cps_same(const fh_cps *a, const fh_cps *b);

/* ---- nondeterministic, with calls: one table of states for a whole grammar ---- */
typedef enum fh_nfa_kind { FH_NFA_EPS, FH_NFA_CPS, FH_NFA_CALL, FH_NFA_BEGIN, FH_NFA_END } fh_nfa_kind;
typedef struct fh_nfa_edge {
    uint32_t kind, arg, to, link; /* arg: a set, or a rule; link: next edge of the state, plus 1 */
} fh_nfa_edge;
typedef struct fh_nfa {
    fh_work *work;
    uint32_t *first; /* [n_state] edge, plus 1 */
    fh_nfa_edge *edge;
    fh_cps *set;
    uint32_t n_state, n_edge, n_set, cap_state, cap_edge, cap_set;
} fh_nfa;
#define FH_NFA_STATES 400000u

typedef struct fh_frag {
    uint32_t in, out;
} fh_frag; /* a piece with one way in and one way out */

void fh_nfa_init(fh_nfa *n, fh_work *w);
uint32_t fh_nfa_state(fh_nfa *n); /* 0 and a failed work when there are too many */
void fh_nfa_edge_add(fh_nfa *n, uint32_t from, fh_nfa_kind kind, uint32_t arg, uint32_t to);
uint32_t fh_nfa_set(fh_nfa *n, fh_cps *tidy); /* the set's number, stored once */
fh_frag fh_nfa_empty(fh_nfa *n);
fh_frag fh_nfa_cps(fh_nfa *n, fh_cps *set); /* one of them; tidies the set */
fh_frag fh_nfa_cp(fh_nfa *n, uint32_t cp);
fh_frag fh_nfa_join(fh_nfa *n, fh_frag a, fh_frag b);
fh_frag fh_nfa_either(fh_nfa *n, fh_frag a, fh_frag b);
fh_frag fh_nfa_copy(fh_nfa *n, fh_frag f, uint32_t first, uint32_t end); /* f lies in states first..end */
/* f, built as the states first..end, `least` to `most` times; UINT32_MAX = without end. */
fh_frag fh_nfa_repeat(fh_nfa *n, fh_frag f, uint32_t first, uint32_t least, uint32_t most);

/* A deterministic automaton of the states reachable from `in` without calls; `out` is where a match ends. */
#define FH_CALL_NODE 0x80000000u /* in a call's rule: the rest is a node of JSON */
typedef struct fh_rule_call {
    uint32_t rule, back;
} fh_rule_call; /* then go on in state `back` */
typedef struct fh_rule_auto {
    const fh_auto *a;
    const uint32_t *call_at; /* [n_state + 1] into call */
    const fh_rule_call *call;
} fh_rule_auto;
const fh_auto *fh_nfa_determine(fh_nfa *n, fh_frag f);
/* With calls. callable[rule]: its language is not empty. */
bool fh_nfa_determine_rule(fh_nfa *n, fh_frag f, const bool *callable, fh_rule_auto *out);

#endif
