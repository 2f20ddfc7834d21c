/* text/split_part.h - how a pattern is represented between its text and its engine; for split*.c only.
 * SPDX-License-Identifier: Apache-2.0
 * text -> tree over interned sets of code points (split_syntax.c, split_class.c, split_set.c)
 *      -> alphabet: each code point's symbol, one of at most 256 that the sets can tell apart (split_alphabet.c)
 *      -> scanner operations where the tree has a shape with a closed form (split_known.c, run by split_scan.c),
 *         else a PCRE2 program over symbols (split_pcre.c).
 * So classes, case and dialect are settled here, on our own tables, whichever engine runs. */
#ifndef FH_TEXT_SPLIT_PART_H
#define FH_TEXT_SPLIT_PART_H

#include "base/num.h"
#include "text/split.h"
#include "text/unicode.h"

#define SPLIT_PATTERN_MAX ((size_t)64 << 10)
#define SPLIT_ARENA_MAX ((size_t)64 << 20)
#define SPLIT_SETS_MAX 512u
#define SPLIT_DEPTH_MAX 64u
#define SPLIT_REPEAT_MAX 1000u
#define SPLIT_MANY UINT32_MAX /* no upper bound */

typedef struct split_set { /* ascending, disjoint, not touching, inclusive */
    uint32_t (*r)[2];
    size_t n;
} split_set;

typedef enum split_kind {
    SPLIT_EMPTY,
    SPLIT_SET,    /* one code point out of a set */
    SPLIT_CAT,    /* kids one after the other */
    SPLIT_ALT,    /* the first kid that lets the whole match */
    SPLIT_REPEAT, /* kid, min to max times */
    SPLIT_ATOMIC,
    SPLIT_LOOK,
    SPLIT_TEXT_BEGIN,
    SPLIT_TEXT_END,
    SPLIT_TEXT_END_NL, /* end, or before a newline that ends the text */
    SPLIT_LINE_BEGIN,
    SPLIT_LINE_END,
    SPLIT_WORD_EDGE,
    SPLIT_WORD_INSIDE
} split_kind;

typedef enum split_greed { SPLIT_GREEDY, SPLIT_LAZY, SPLIT_POSSESSIVE } split_greed;

typedef struct split_node {
    split_kind kind;
    bool behind, negative; /* LOOK */
    bool literal;          /* SET: written as one character, whatever case folding made of it */
    split_greed greed;     /* REPEAT */
    uint32_t min, max;     /* REPEAT */
    unsigned set;          /* SET */
    struct split_node *kid, *next;
} split_node;

/* What lives while a pattern is compiled. */
typedef struct split_work {
    fh_arena arena;
    fh_split_dialect dialect;
    fh_str text;
    split_set set[SPLIT_SETS_MAX];
    unsigned n_set;
    bool alone;             /* the class being read stands outside brackets */
    unsigned word, newline; /* sets of \w and \n, interned only where an anchor needs them */
    fh_err *err;
} split_work;

/* ---- sets (arena memory; *out is untouched on failure) ---- */
fh_status split_set_range(split_work *w, uint32_t lo, uint32_t hi, split_set *out);
fh_status split_set_union(split_work *w, split_set a, split_set b, split_set *out);
fh_status split_set_both(split_work *w, split_set a, split_set b, split_set *out);
fh_status split_set_not(split_work *w, split_set a, split_set *out);
fh_status split_set_fold(split_work *w, split_set a, split_set *out); /* closed under simple case folding */
bool split_set_has(split_set s, uint32_t cp);
bool split_set_meets(split_set a, split_set b);
bool split_set_inside(split_set a, split_set b); /* a within b */
fh_status split_set_intern(split_work *w, split_set s, unsigned *index);

/* ---- names and brackets ---- */
typedef enum split_name { SPLIT_DIGIT, SPLIT_HEX, SPLIT_WHITE, SPLIT_WORD } split_name;
fh_status split_class_named(split_work *w, split_name name, split_set *out);
/* \p{...} or [:...:] by name. found false: unknown */
fh_status split_class_property(split_work *w, fh_str name, bool posix, bool *found, split_set *out);
/* text[*at] is '['; leaves *at behind the ']' */
fh_status split_class_bracket(split_work *w, size_t *at, bool fold, unsigned depth, split_set *out);
/* text[*at] is the backslash; if it is \d \p{} and the like, found is true and *at stands behind it. */
fh_status split_class_escape(split_work *w, size_t *at, bool fold, bool *found, split_set *out);
/* text[*at] is the backslash of an escape for one code point. */
fh_status split_class_char(split_work *w, size_t *at, uint32_t *cp);
fh_status split_refuse(split_work *w, size_t at, const char *what);

/* ---- tree ---- */
fh_status split_parse(split_work *w, split_node **out);
/* The least and the greatest number of code points that it takes; SPLIT_MANY: no bound */
void split_width(const split_node *n, uint32_t *min, uint32_t *max);

/* ---- alphabet ---- */
typedef struct split_alphabet {
    uint16_t *stage1; /* [0x110000 >> 7] block */
    uint8_t *stage2;  /* [n_block * 128] symbol */
    uint8_t ascii[128];
    unsigned n_symbol;
} split_alphabet;
/* in[symbol * n_set + set]: whether the symbol's code points are in that set; arena memory. */
fh_status split_alphabet_make(split_work *w, split_alphabet *out, bool **in);
void split_alphabet_release(split_alphabet *a);
static inline uint8_t split_symbol(const split_alphabet *a, uint32_t cp) {
    return cp < 128 ? a->ascii[cp] : a->stage2[a->stage1[cp >> 7] * 128u + (cp & 127)];
}

/* ---- scanner ---- */
#define SPLIT_OPS_MAX 40u
#define SPLIT_RUNS_MAX 5u
#define SPLIT_WORDS_MAX 48u

typedef struct split_run { /* one set, min to max times, as many as there are */
    uint64_t set;          /* bit of the set */
    uint32_t min, max;
    bool eight;        /* the set's ASCII is one range, once fold is or'ed in: eight bytes are tested at a time */
    uint64_t fold;     /* in each byte; 0x20 for the letters of both cases */
    uint64_t from, to; /* in each byte: what sets its top bit when added, at or above the range, and above it */
} split_run;

typedef enum split_op_kind {
    SPLIT_OP_RUNS,  /* runs one after the other, never giving back */
    SPLIT_OP_WORDS, /* the first of some fixed sequences */
    SPLIT_OP_CASED, /* run[0]* run[1]+ where the sets may meet: the first gives back */
    SPLIT_OP_LAST,  /* run[0]* then one of run[1], a subset: up to its last one */
    SPLIT_OP_AHEAD, /* run[0] not followed by not_before: gives back one at most */
    SPLIT_OP_END    /* run[0] at the end of the text, or of a line */
} split_op_kind;

typedef struct split_op {
    split_op_kind kind;
    uint64_t first;  /* sets that a match begins with */
    uint64_t prefix; /* optional code point in front; tried with, then without. 0: none */
    uint64_t body;   /* sets that what follows the prefix begins with */
    split_run run[SPLIT_RUNS_MAX];
    unsigned n_run;
    unsigned word_at, n_word; /* WORDS: the sequences; others: optional ones at the end */
    uint64_t word_first;      /* sets that these sequences begin with */
    uint64_t not_before;      /* AHEAD */
    uint64_t newline;         /* END of a line: the set that is "\n"; 0: end of the text only */
} split_op;

typedef struct split_scan {
    uint64_t ascii[128];     /* sets that a code point is in, one bit each */
    uint64_t of_symbol[256]; /* the same for a symbol */
    uint64_t ascii_ops[128]; /* operations that can begin with it, one bit each */
    uint64_t symbol_ops[256];
    split_op op[SPLIT_OPS_MAX];
    unsigned n_op;
    struct {
        uint64_t set[4];
        unsigned n;
    } word[SPLIT_WORDS_MAX];
    unsigned n_word;
} split_scan;

struct fh_split {
    split_alphabet alphabet;
    split_scan *scan; /* NULL: program */
    struct split_program *program;
    char *literal; /* a plain string instead of both */
    size_t literal_len;
    bool cut;
};

/* known false: no shape that we have a closed form for. */
fh_status split_scan_make(split_work *w, const split_node *tree, const split_alphabet *a, const bool *in,
                          split_scan **out, bool *known);
bool split_scan_next(const split_scan *s, const split_alphabet *a, fh_str text, size_t from, size_t *start,
                     size_t *end);
/* As fh_split_cut. */
size_t split_scan_cut(const split_scan *s, const split_alphabet *a, fh_str text, size_t *at, fh_str *piece, size_t max);

/* ---- PCRE2 ---- */
fh_status split_program_new(split_work *w, const split_node *tree, const split_alphabet *a, const bool *in,
                            struct split_program **out);
void split_program_free(struct split_program *p);
fh_status split_program_next(const struct split_program *p, const split_alphabet *a, fh_str text, size_t from,
                             bool *found, size_t *start, size_t *end, fh_err *err);

#endif
