/* text/jinja_part.h - a template between its source and its run: tokens, tree, functions.
 * SPDX-License-Identifier: Apache-2.0
 * Private to src/text/jinja_*.c and template.c. The tree lives in the template's arena and is immutable after
 * fh_jinja_resolve. Names are numbered (fh_template.name), variables are slots of the function they belong to. */
#ifndef FH_TEXT_JINJA_PART_H
#define FH_TEXT_JINJA_PART_H

#include "text/jinja_lib.h"

/* Brackets, operators and blocks inside each other. Python's own compiler, which the reference goes through, ends
 * at 200 brackets and 100 blocks. */
#define FH_J_MAX_EXPR_DEPTH 200
#define FH_J_MAX_BLOCK_DEPTH 90
#define FH_J_MAX_SOURCE ((size_t)1 << 20) /* published templates have up to 30 KiB */

/* ---- tokens (jinja_lex.c) ---- */
typedef enum fh_jtoken_kind {
    FH_J_T_END,
    FH_J_T_DATA,
    FH_J_T_VAR_BEGIN,
    FH_J_T_VAR_END,
    FH_J_T_BLOCK_BEGIN,
    FH_J_T_BLOCK_END,
    FH_J_T_NAME,
    FH_J_T_STRING,
    FH_J_T_INT,
    FH_J_T_FLOAT,
    FH_J_T_OP /* op: the character, or two packed by FH_J_OP2 */
} fh_jtoken_kind;
#define FH_J_OP2(a, b) ((int)(a) << 8 | (int)(b))

typedef struct fh_jtoken {
    fh_jtoken_kind kind;
    uint32_t line;
    int op;
    fh_str text;   /* name, data, decoded string */
    fh_jval value; /* INT, FLOAT */
} fh_jtoken;

typedef struct fh_jlexer {
    fh_str in; /* newlines are \n, none at the end */
    size_t at;
    uint32_t line;
    uint8_t mode; /* data, variable or block */
    bool line_start;
    uint32_t n_open;
    char open[FH_J_MAX_EXPR_DEPTH];
    fh_arena *arena;
    fh_err *err;
} fh_jlexer;

FH_MUST_USE fh_status fh_jinja_lex_init(fh_jlexer *l, fh_arena *arena, fh_str source, fh_err *err);
FH_MUST_USE fh_status fh_jinja_lex(fh_jlexer *l, fh_jtoken *out);

/* ---- tree ---- */
typedef enum fh_jop {
    /* expressions */
    FH_J_CONST,     /* value */
    FH_J_NAME,      /* text; resolved: hops, slot */
    FH_J_MAKE_LIST, /* list */
    FH_J_MAKE_TUPLE,
    FH_J_MAKE_DICT, /* list: key, value, key, value */
    FH_J_ATTR,      /* a . text */
    FH_J_ITEM,      /* a [ b ] */
    FH_J_CUT,       /* a [ list[0] : list[1] : list[2] ], each may be NULL */
    FH_J_CALL,      /* a ( args ) */
    FH_J_FILTER,    /* a | row ( args ); a NULL: the text of the block around it */
    FH_J_TEST,      /* a is row ( args ) */
    FH_J_ARITH,     /* a sub b */
    FH_J_AND,
    FH_J_OR,
    FH_J_NOT,     /* a */
    FH_J_NEGATE,  /* sub a */
    FH_J_CONCAT,  /* list */
    FH_J_COMPARE, /* a, then list[i] with cmp[i] */
    FH_J_COND,    /* a if b else c; c may be NULL */
    /* statements */
    FH_J_DATA,         /* value */
    FH_J_PRINT,        /* a */
    FH_J_IF,           /* a: test, body, else_ */
    FH_J_FOR,          /* a: over, b: target, c: test or NULL, body, else_ */
    FH_J_SET,          /* b = a */
    FH_J_SET_BLOCK,    /* b = body | a */
    FH_J_WITH,         /* list: target, value, ...; body */
    FH_J_SCOPE,        /* body */
    FH_J_FILTER_BLOCK, /* body | a */
    FH_J_MACRO_DEF,    /* func; b: the name assigned to */
    FH_J_CALL_BLOCK,   /* a: the call, func: its body */
    FH_J_BLOCK,        /* func */
    FH_J_BREAK,
    FH_J_CONTINUE,
    FH_J_NS_ATTR /* target: a (a name) . text */
} fh_jop;

typedef enum fh_jcmp {
    FH_J_CMP_EQ,
    FH_J_CMP_NE,
    FH_J_CMP_LT,
    FH_J_CMP_LE,
    FH_J_CMP_GT,
    FH_J_CMP_GE,
    FH_J_CMP_IN,
    FH_J_CMP_NOT_IN
} fh_jcmp;

typedef struct fh_jnode fh_jnode;
typedef struct fh_jfunc fh_jfunc;
typedef struct fh_jscope fh_jscope;

typedef struct fh_jnodes {
    fh_jnode **item;
    uint32_t n, cap;
} fh_jnodes;

typedef struct fh_jcall {
    fh_jnode **pos;
    fh_jnode **kw;
    fh_str *kw_name;
    uint32_t n_pos, n_kw;
    fh_jnode *star, *star2; /* *args, **kwargs */
} fh_jcall;

struct fh_jnode {
    uint8_t op;  /* fh_jop */
    uint8_t sub; /* operator; for a name: it is stored to */
    uint32_t line;
    uint16_t depth;  /* nodes below it, one inside the other */
    uint16_t hops;   /* functions outwards to the slot */
    int32_t slot;    /* of a name; row of a filter or test */
    int32_t export_; /* name id that a store at top level also sets, or -1 */
    fh_jval value;
    fh_str text;
    fh_jnode *a, *b, *c;
    fh_jnodes list, body, else_;
    uint8_t *cmp; /* [list.n] fh_jcmp of a comparison */
    fh_jcall *args;
    fh_jfunc *func;
    fh_jscope *scope, *scope2, *scope3; /* body, else, test */
};

/* What happens to the slots of a scope when it is entered. */
typedef enum fh_jload { FH_J_LOAD_PARAM, FH_J_LOAD_CLEAR, FH_J_LOAD_CTX, FH_J_LOAD_COPY } fh_jload;
typedef struct fh_jinit {
    int32_t slot;
    uint16_t how, hops; /* COPY: from a slot so many functions outwards */
    int32_t from;       /* CTX: name id; COPY: slot */
} fh_jinit;

struct fh_jscope {
    fh_jinit *init; /* [n_init] */
    uint32_t n_init;
    int32_t loop_slot; /* of `loop`, or -1 */
    fh_jnode *target;  /* of a loop's test */
};

struct fh_jfunc {
    fh_str name;
    fh_str *param; /* [n_param] */
    int32_t *param_slot;
    fh_jnode **fallback; /* [n_param], NULL where there is none */
    uint32_t n_param, n_slot;
    int32_t caller_slot, kwargs_slot, varargs_slot; /* -1: not used */
    bool explicit_caller;
    fh_jscope *scope;
    fh_jnodes body;
    uint32_t line;
    fh_jnode *loop; /* a recursive loop's node */
};

typedef struct fh_jname {
    fh_str text;
    bool asked; /* some place asks the arguments for it */
    int global; /* row of the function of that name, or -1 */
} fh_jname;

struct fh_template {
    fh_arena arena;
    fh_str source;
    fh_jnodes body;
    fh_jscope *scope;
    uint32_t n_slot; /* of the whole template's own function */
    fh_jname *name;  /* [n_name] everything looked up or set at top level */
    uint32_t n_name, cap_name;
    uint32_t *variable; /* [n_variable] names that arguments may supply */
    uint32_t n_variable;
};

/* ---- parsing (jinja_parse.c, jinja_parse_expr.c) ---- */
typedef struct fh_jparser {
    fh_jlexer lex;
    fh_jtoken tok, ahead;
    bool has_ahead;
    uint32_t n_block, nest;
    bool own; /* a template of ours: filters that the reference lacks may be used */
    fh_arena *arena;
    fh_err *err;
} fh_jparser;

FH_MUST_USE fh_status fh_jinja_parse(fh_template *t, bool own, fh_err *err);
FH_MUST_USE fh_status fh_jinja_compile(fh_template **out, fh_str source, bool own, fh_err *err); /* template.c */
fh_status fh_jinja_syntax(fh_jparser *p, uint32_t line, const char *fmt, ...) FH_PRINTF(3, 4);
FH_MUST_USE fh_status fh_jinja_advance(fh_jparser *p);
FH_MUST_USE fh_status fh_jinja_peek(fh_jparser *p, fh_jtoken *out);
FH_MUST_USE fh_status fh_jinja_expect_op(fh_jparser *p, int op);
FH_MUST_USE fh_status fh_jinja_expect_name(fh_jparser *p, fh_str *out);
bool fh_jinja_at_name(const fh_jparser *p, const char *name);
bool fh_jinja_at_op(const fh_jparser *p, int op);
FH_MUST_USE fh_status fh_jinja_node(fh_jparser *p, fh_jop op, uint32_t line, fh_jnode **out);
FH_MUST_USE fh_status fh_jinja_push(fh_jparser *p, fh_jnodes *to, fh_jnode *n);
FH_MUST_USE fh_status fh_jinja_expr(fh_jparser *p, bool with_cond, fh_jnode **out);
FH_MUST_USE fh_status fh_jinja_primary(fh_jparser *p, bool with_namespace, fh_jnode **out);
/* Expressions with commas between them; until: a name that also ends the list, or NULL. */
FH_MUST_USE fh_status fh_jinja_tuple(fh_jparser *p, bool simple, bool with_cond, bool in_brackets, bool with_namespace,
                                     const char *until, fh_jnode **out);
FH_MUST_USE fh_status fh_jinja_filters(fh_jparser *p, fh_jnode *on, bool inline_start, fh_jnode **out);

/* ---- names to slots (jinja_scope.c) ---- */
FH_MUST_USE fh_status fh_jinja_resolve(fh_template *t, fh_err *err);

/* ---- running (jinja_exec.c) ---- */
bool fh_jinja_eval(fh_jrun *r, const fh_jnode *n, fh_jval *out);
bool fh_jinja_run(fh_jrun *r); /* the whole template, into r->out */
/* A call node; caller: handed over as an argument of that name, or NULL. */
bool fh_jinja_eval_call(fh_jrun *r, const fh_jnode *n, const fh_jval *caller, fh_jval *out);

#endif
