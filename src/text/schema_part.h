/* text/schema_part.h - the inside of the schema compiler, for schema*.c only.
 * SPDX-License-Identifier: Apache-2.0
 * An *expression* names a set of values without saying what they look like: a place in the schema, a constant, a
 * negation or a conjunction of expressions; each exists once, as a number. A *shape* says what they look like, one
 * level deep: the members of arrays and objects are expressions again. Shapes are made when needed and kept, so
 * recursion ends. */
#ifndef FH_TEXT_SCHEMA_PART_H
#define FH_TEXT_SCHEMA_PART_H

#include "base/json.h"
#include "text/grammar_part.h"

#define FH_SCHEMA_DEPTH 256
#define FH_SCHEMA_WAYS 64u /* alternatives of one value that are arrays, or objects */

typedef uint32_t fh_expr;
enum { FH_EXPR_TRUE, FH_EXPR_FALSE };                                    /* the first two */
enum { FH_EXPR_CONSTANT = 2, FH_EXPR_SCHEMA, FH_EXPR_NOT, FH_EXPR_AND }; /* first number of the others' sequences */

typedef struct fh_sarr {
    const fh_expr *prefix; /* [n_prefix] */
    uint32_t n_prefix;
    fh_expr rest;
    uint32_t least, most;
} fh_sarr;

typedef struct fh_sname {
    fh_str name;
    fh_expr e;
} fh_sname;
typedef struct fh_spattern {
    const fh_auto *a;
    fh_expr e;
} fh_spattern;
/* What one schema object says about members: those named, those that match, and (only when neither) the rest. */
typedef struct fh_sgroup {
    const struct fh_sgroup *next;
    const fh_sname *name; /* [n_name] sorted */
    const fh_spattern *pattern;
    uint32_t n_name, n_pattern;
    fh_expr rest;
} fh_sgroup;

typedef struct fh_sobj {
    const fh_sgroup *group; /* all of them apply */
    const fh_str *required; /* [n_required] sorted, each once */
    const fh_gstr *keys;    /* what keys must be, NULL: anything */
    uint32_t n_required, least, most;
} fh_sobj;

enum { FH_NUM_NONE, FH_NUM_ANY, FH_NUM_AUTO };
typedef struct fh_shape {
    uint32_t words; /* FH_WORD_ */
    uint32_t num_kind;
    const fh_auto *num;
    bool has_str;
    fh_gstr str;
    const fh_sarr *arr; /* any of them */
    const fh_sobj *obj;
    uint32_t n_arr, n_obj;
} fh_shape;

typedef struct fh_scached {
    fh_str text;
    const fh_auto *a;
    uint32_t kind;
} fh_scached;

typedef struct fh_swork {
    fh_work w;
    const fh_json_node *root;
    fh_intern expr;
    const fh_shape **shape; /* [cap_shape] by expression, NULL while unknown */
    uint8_t *busy;          /* [cap_shape] is being made */
    uint32_t cap_shape, cap_busy;
    int depth;
    const fh_auto *plain, *integer; /* numbers without exponent; those that are whole */
    fh_scached *cached;             /* automata of patterns and formats */
    uint32_t n_cached, cap_cached;
    const fh_json_node *at; /* what a failure without a place is blamed on */
    fh_err *err;
} fh_swork;

/* ---- failing ---- */
/* "schema: /a/b: why"; the pointer is that of n's member `key`, or of n where key is NULL. */
fh_status fh_schema_refuse(fh_swork *s, fh_status status, const fh_json_node *n, const char *key, const char *why);
fh_status fh_schema_check(fh_swork *s); /* the work's failure, blamed on s->at */

/* ---- schema_expr.c ---- */
fh_expr fh_expr_constant(fh_swork *s, const fh_json_node *value);
fh_expr fh_expr_schema(fh_swork *s, const fh_json_node *schema);
fh_expr fh_expr_not(fh_swork *s, fh_expr e);
fh_expr fh_expr_and(fh_swork *s, fh_expr a, fh_expr b);
FH_MUST_USE fh_status fh_expr_shape(fh_swork *s, fh_expr e, const fh_shape **out);
/* True when it is certain that no value is in it; never fails, may say false for want of effort. */
bool fh_shape_is_empty(fh_swork *s, const fh_shape *a, int effort);
fh_expr fh_sobj_member(fh_swork *s, const fh_sobj *o, fh_str name);

/* ---- schema_shape.c ---- */
extern const fh_shape fh_shape_true, fh_shape_false;
FH_MUST_USE fh_status fh_shape_and(fh_swork *s, const fh_shape *a, const fh_shape *b, const fh_shape **out);
FH_MUST_USE fh_status fh_shape_or(fh_swork *s, const fh_shape *a, const fh_shape *b, const fh_shape **out);
/* FH_ERR_UNSUPPORTED, with nothing said, when the complement has no exact form. */
FH_MUST_USE fh_status fh_shape_not(fh_swork *s, const fh_shape *a, const fh_shape **out);
const fh_auto *fh_gstr_auto(fh_swork *s, const fh_gstr *str);
bool fh_gstr_has(const fh_gstr *s, fh_str utf8);

/* ---- schema_number.c ---- */
typedef enum fh_bound { FH_AT_LEAST, FH_MORE_THAN, FH_AT_MOST, FH_LESS_THAN } fh_bound;
const fh_auto *fh_number_plain(fh_swork *s); /* every number, no exponent */
const fh_auto *fh_number_integer(fh_swork *s);
/* number: as written in JSON. NULL with a reason when it has too many digits, or on failure of the work. */
const fh_auto *fh_number_bound(fh_swork *s, fh_bound b, fh_str number, const char **why);
const fh_auto *fh_number_multiple(fh_swork *s, fh_str number, const char **why);
const fh_auto *fh_number_values(fh_swork *s, const fh_str *number, uint32_t n, const char **why);

/* ---- schema_format.c ---- */
FH_MUST_USE fh_status fh_schema_pattern(fh_swork *s, const fh_json_node *n, fh_str pattern, const fh_auto **out);
/* *out = NULL where the format is not known. */
FH_MUST_USE fh_status fh_schema_format(fh_swork *s, const fh_json_node *n, fh_str name, const fh_auto **out);

/* ---- schema_keyword.c, schema_object.c: the shape of one schema object ---- */
FH_MUST_USE fh_status fh_schema_shape(fh_swork *s, const fh_json_node *schema, const fh_shape **out);
FH_MUST_USE fh_status fh_constant_shape(fh_swork *s, const fh_json_node *value, const fh_shape **out);
/* a &= what the keywords about objects (arrays) in this schema say. */
FH_MUST_USE fh_status fh_schema_objects(fh_swork *s, const fh_json_node *schema, const fh_shape **a);
FH_MUST_USE fh_status fh_schema_arrays(fh_swork *s, const fh_json_node *schema, const fh_shape **a);
FH_MUST_USE fh_status fh_schema_resolve(fh_swork *s, const fh_json_node *schema, const fh_json_node **target);
FH_MUST_USE fh_status fh_schema_count(fh_swork *s, const fh_json_node *schema, const char *key, uint32_t none,
                                      uint32_t *out);

/* ---- schema_emit.c ---- */
FH_MUST_USE fh_status fh_schema_emit(fh_swork *s, fh_expr root, fh_grammar *g);

#endif
