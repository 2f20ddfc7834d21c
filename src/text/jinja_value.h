/* text/jinja_value.h - values of the template language, and the state of one run.
 * SPDX-License-Identifier: Apache-2.0
 * Private to src/text/jinja_*.c and template.c. Everything a run makes lives in its arena and goes with it.
 * Values are immutable but for namespaces, iterators and loop state. Strings are views: cutting them up copies
 * nothing. Functions that can fail return false after fh_jinja_fail has recorded why; outputs are then unset. */
#ifndef FH_TEXT_JINJA_VALUE_H
#define FH_TEXT_JINJA_VALUE_H

#include "base/json.h"
#include "text/template.h"

typedef enum fh_jkind {
    FH_J_MISSING, /* no value at all: an empty slot, an argument left out */
    FH_J_UNDEF,
    FH_J_NONE,
    FH_J_BOOL,
    FH_J_INT,
    FH_J_BIG, /* an integer beyond 64 bits, as text: it can be printed and compared for equality, no more */
    FH_J_FLOAT,
    FH_J_STR,
    FH_J_LIST,
    FH_J_TUPLE,
    FH_J_DICT,
    FH_J_VIEW, /* keys(), values(), items() of a dict: aux is fh_jview */
    FH_J_RANGE,
    FH_J_NAMESPACE,
    FH_J_GEN, /* an iterator that runs once */
    FH_J_MACRO,
    FH_J_LOOP,
    FH_J_METHOD, /* a method bound to its object */
    FH_J_FUNC,   /* a global function */
    FH_J_CYCLER,
    FH_J_JOINER
} fh_jkind;

typedef enum fh_jview { FH_J_KEYS, FH_J_VALUES, FH_J_ITEMS } fh_jview;

/* Why a value is undefined: aux of FH_J_UNDEF. */
typedef enum fh_jundef {
    FH_J_NO_NAME, /* s = the name */
    FH_J_NO_ATTR, /* s = the attribute, of an object whose kind is in flag */
    FH_J_NO_ITEM, /* s = the element's text, likewise */
    FH_J_HINT,    /* s = the whole sentence */
    FH_J_UNSAFE   /* s = the whole sentence; a breach of the sandbox */
} fh_jundef;

enum { FH_J_SAFE = 1, FH_J_ASCII = 2, FH_J_WIDE = 4 }; /* flag of FH_J_STR: marked safe; known to be (not) ASCII */

typedef struct fh_jlist fh_jlist;
typedef struct fh_jdict fh_jdict;
typedef struct fh_jrange fh_jrange;
typedef struct fh_jgen fh_jgen;
typedef struct fh_jmacro fh_jmacro;
typedef struct fh_jloop fh_jloop;
typedef struct fh_jmethod fh_jmethod;
typedef struct fh_jcycler fh_jcycler;

typedef struct fh_jval {
    uint8_t kind; /* fh_jkind */
    uint8_t flag;
    uint16_t aux;
    uint32_t len; /* bytes of a text */
    union {
        int64_t i; /* also of a truth value: 0 or 1 */
        double f;
        const char *s; /* [len] UTF-8 */
        fh_jlist *list;
        fh_jdict *dict; /* also views and namespaces */
        fh_jrange *range;
        fh_jgen *gen;
        fh_jmacro *macro;
        fh_jloop *loop;
        fh_jmethod *method;
        fh_jcycler *cycler;
    } u;
} fh_jval;

struct fh_jlist {
    fh_jval *item; /* [n] */
    uint32_t n, cap;
};

typedef struct fh_jpair {
    fh_jval key, value;
} fh_jpair;

struct fh_jdict {
    fh_jpair *item; /* [n] in order of insertion */
    uint32_t n, cap;
    uint32_t *slot;  /* [n_slot] position + 1, or NULL while the dict is small */
    uint32_t n_slot; /* a power of two */
};

struct fh_jrange {
    int64_t start, stop, step, n;
};

struct fh_jmethod {
    fh_jval self;
    uint16_t id; /* row of the method table */
};

struct fh_jcycler {
    fh_jlist *items;
    uint32_t at;
    bool used; /* joiner */
    fh_jval sep;
};

/* Going through anything that can be gone through. */
typedef struct fh_jiter {
    fh_jval over;
    const fh_jval *item; /* lists */
    uint32_t at, n;      /* position; bytes for strings */
} fh_jiter;

/* Evaluated arguments of a call. */
typedef struct fh_jkw {
    fh_str name;
    fh_jval value;
} fh_jkw;

typedef struct fh_jargs {
    const fh_jval *pos;
    const fh_jkw *kw;
    uint32_t n_pos, n_kw;
} fh_jargs;

typedef enum fh_jgen_kind {
    FH_J_GEN_LIST,   /* over a list */
    FH_J_GEN_MAP,    /* a filter or an attribute of each */
    FH_J_GEN_SELECT, /* those that pass a test */
    FH_J_GEN_UNIQUE,
    FH_J_GEN_BATCH,
    FH_J_GEN_SLICE,
    FH_J_GEN_ITEMS,
    FH_J_GEN_REVERSED
} fh_jgen_kind;

struct fh_jgen {
    fh_jgen_kind kind;
    bool started, negate, by_attr;
    int row; /* filter or test, -1: none */
    fh_jval source;
    fh_jiter iter; /* once started */
    fh_jval attr, fallback;
    fh_jargs args;
    fh_jlist *list; /* what was computed at once */
};

/* One activation of the template, a macro, a call block or a recursive loop. */
typedef struct fh_jframe {
    struct fh_jframe *outer; /* of the function around it in the source */
    fh_jval *slot;
} fh_jframe;

typedef struct fh_jrun {
    const fh_template *t;
    fh_arena arena;
    char *text_at, *text_end; /* room for strings */
    uint8_t *obj_at, *obj_end;
    size_t text_chunk, obj_chunk;

    uint64_t steps, check_at, max_steps;
    uint64_t deadline_ns; /* 0 = none */
    uint32_t time_ms;
    uint32_t depth, max_depth;
    uint32_t nest; /* C calls inside each other */

    fh_buf out;
    fh_jval *ctx; /* [n_name] what a name means to the whole template */
    fh_jframe *frame;
    fh_jval captured; /* what the filter of a block works on */
    uint32_t line;
    const struct fh_jseen *printing; /* containers around the value that is being printed */
    bool sort_keys;                  /* dicts are printed in the order of their keys (pprint) */
    const fh_template_now *now;

    fh_status status;
    fh_err *err;
} fh_jrun;

/* Deep data, not deep calls: lists in lists. */
#define FH_J_MAX_DATA_DEPTH 400
/* eval and exec inside each other; a frame is about 300 bytes. */
#define FH_J_MAX_NEST 1500

/* ---- failing and paying ---- */
bool fh_jinja_fail(fh_jrun *r, const char *fmt, ...) FH_PRINTF(2, 3); /* always false */
bool fh_jinja_fail_status(fh_jrun *r, fh_status s, const char *fmt, ...) FH_PRINTF(3, 4);
bool fh_jinja_fail_undef(fh_jrun *r, fh_jval v); /* what an undefined value says when it is used */
bool fh_jinja_check(fh_jrun *r);                 /* budgets of steps and time */
static inline bool fh_jinja_pay(fh_jrun *r, uint64_t steps) {
    r->steps += steps;
    return r->steps < r->check_at || fh_jinja_check(r);
}
static inline bool fh_jinja_pay_bytes(fh_jrun *r, size_t bytes) { return fh_jinja_pay(r, bytes >> 8); }

/* ---- making (jinja_value.c) ---- */
void *fh_jinja_alloc(fh_jrun *r, size_t n, size_t size); /* NULL after failing */
char *fh_jinja_alloc_text(fh_jrun *r, size_t n);
void fh_jinja_trim_text(fh_jrun *r, const char *text, size_t given, size_t used); /* gives the rest back */

static inline fh_jval fh_jval_none(void) { return (fh_jval){.kind = FH_J_NONE}; }
static inline fh_jval fh_jval_bool(bool b) { return (fh_jval){.kind = FH_J_BOOL, .u.i = b ? 1 : 0}; }
static inline fh_jval fh_jval_int(int64_t i) { return (fh_jval){.kind = FH_J_INT, .u.i = i}; }
static inline fh_jval fh_jval_float(double f) { return (fh_jval){.kind = FH_J_FLOAT, .u.f = f}; }
static inline fh_jval fh_jval_str(fh_str s) {
    return (fh_jval){.kind = FH_J_STR, .len = (uint32_t)s.len, .u.s = s.ptr ? s.ptr : ""};
}
#define FH_JVAL_LIT(literal) fh_jval_str(FH_STR(literal))
static inline fh_jval fh_jval_list(fh_jlist *l) { return (fh_jval){.kind = FH_J_LIST, .u.list = l}; }
static inline fh_jval fh_jval_tuple(fh_jlist *l) { return (fh_jval){.kind = FH_J_TUPLE, .u.list = l}; }
static inline fh_jval fh_jval_dict(fh_jdict *d) { return (fh_jval){.kind = FH_J_DICT, .u.dict = d}; }
static inline fh_jval fh_jval_hint(fh_str s) {
    return (fh_jval){.kind = FH_J_UNDEF, .aux = FH_J_HINT, .len = (uint32_t)s.len, .u.s = s.ptr};
}
static inline fh_str fh_jval_text(fh_jval v) { return (fh_str){v.u.s, v.len}; }
static inline bool fh_jval_is_str(fh_jval v, const char *z) {
    return v.kind == FH_J_STR && fh_str_is(fh_jval_text(v), z);
}
static inline bool fh_jval_is_int(fh_jval v) { return v.kind == FH_J_INT || v.kind == FH_J_BOOL; }
static inline bool fh_jval_is_number(fh_jval v) { return fh_jval_is_int(v) || v.kind == FH_J_FLOAT; }
static inline bool fh_jval_is_seq(fh_jval v) { return v.kind == FH_J_LIST || v.kind == FH_J_TUPLE; }
static inline double fh_jval_to_double(fh_jval v) { return v.kind == FH_J_FLOAT ? v.u.f : (double)v.u.i; }

bool fh_jinja_text(fh_jrun *r, fh_str s, fh_jval *out);                               /* a copy */
bool fh_jinja_printf(fh_jrun *r, fh_jval *out, const char *fmt, ...) FH_PRINTF(3, 4); /* up to 1 KiB */
fh_jlist *fh_jinja_list(fh_jrun *r, uint32_t cap);
bool fh_jinja_list_add(fh_jrun *r, fh_jlist *l, fh_jval v);
bool fh_jinja_pair(fh_jrun *r, fh_jval a, fh_jval b, fh_jval *out); /* a tuple of two */
fh_jdict *fh_jinja_dict(fh_jrun *r, uint32_t cap);
bool fh_jinja_dict_put(fh_jrun *r, fh_jdict *d, fh_jval key, fh_jval value);
bool fh_jinja_dict_find(fh_jrun *r, const fh_jdict *d, fh_jval key, fh_jval **out); /* NULL if absent */
fh_jval *fh_jinja_dict_str(fh_jrun *r, const fh_jdict *d, fh_str key);              /* NULL if absent */
bool fh_jinja_from_json(fh_jrun *r, const fh_json_node *n, fh_jval *out);
bool fh_jinja_undef_attr(fh_jrun *r, fh_jval of, fh_jval name, fh_jval *out);
size_t fh_jinja_json_bytes(const fh_json_node *n); /* text in it */

/* ---- asking (jinja_compare.c) ---- */
bool fh_jinja_truth(fh_jval v);
bool fh_jinja_equal(fh_jrun *r, fh_jval a, fh_jval b, bool *out);
typedef enum fh_jorder { FH_J_LT, FH_J_LE, FH_J_GT, FH_J_GE } fh_jorder;
bool fh_jinja_order(fh_jrun *r, fh_jorder op, fh_jval a, fh_jval b, bool *out);
bool fh_jinja_contains(fh_jrun *r, fh_jval seq, fh_jval what, bool *out);
bool fh_jinja_length(fh_jrun *r, fh_jval v, int64_t *out); /* len(): fails where there is none */
bool fh_jinja_has_length(fh_jval v);
bool fh_jinja_hash(fh_jrun *r, fh_jval v, uint64_t *out); /* fails for what cannot be a key */
bool fh_jinja_iterable(fh_jval v);
const char *fh_jinja_type(fh_jval v); /* "str", "list": Python's names, which messages use */

/* ---- going through (jinja_iter.c) ---- */
bool fh_jinja_iter(fh_jrun *r, fh_jval v, fh_jiter *it);
int fh_jinja_next(fh_jrun *r, fh_jiter *it, fh_jval *out);    /* 1 = one more, 0 = the end, -1 = failed */
bool fh_jinja_to_list(fh_jrun *r, fh_jval v, fh_jlist **out); /* a list of it; may be v's own */
/* item.a.b of "a.b", numbers being elements; MISSING leaves the item; fallback stands in for undefined values. */
bool fh_jinja_attr_path(fh_jrun *r, fh_jval item, fh_jval path, fh_jval fallback, fh_jval *out);
bool fh_jinja_gen_fill(fh_jrun *r, fh_jgen *g); /* the list of a generator that is computed at once */
bool fh_jinja_gen(fh_jrun *r, fh_jgen_kind kind, fh_jval source, fh_jgen **gen, fh_jval *out);

#endif
