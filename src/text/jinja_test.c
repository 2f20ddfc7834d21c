/* text/jinja_test.c - the table of tests: what may follow `is`, and what select() and its kin take.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. */
#include "base/num.h"
#include "text/jinja_lib.h"

typedef bool test_fn(fh_jrun *r, fh_jval v, const fh_jval *arg, int sub, bool *out);

static bool give(bool b, bool *out) {
    *out = b;
    return true;
}

enum {
    DEFINED,
    UNDEFINED,
    NONE,
    BOOLEAN,
    FALSE,
    TRUE,
    INTEGER,
    FLOAT,
    NUMBER,
    STRING,
    MAPPING,
    SEQUENCE,
    ITERABLE,
    CALLABLE,
    ESCAPED
};

static bool t_kind(fh_jrun *r, fh_jval v, const fh_jval *arg, int sub, bool *out) {
    (void)r;
    (void)arg;
    fh_jkind k = (fh_jkind)v.kind;
    switch (sub) {
    case DEFINED: return give(k != FH_J_UNDEF, out);
    case UNDEFINED: return give(k == FH_J_UNDEF, out);
    case NONE: return give(k == FH_J_NONE, out);
    case BOOLEAN: return give(k == FH_J_BOOL, out);
    case FALSE: return give(k == FH_J_BOOL && !v.u.i, out);
    case TRUE: return give(k == FH_J_BOOL && v.u.i, out);
    case INTEGER: return give(k == FH_J_INT || k == FH_J_BIG, out);
    case FLOAT: return give(k == FH_J_FLOAT, out);
    case NUMBER: return give(fh_jval_is_number(v) || k == FH_J_BIG, out);
    case STRING: return give(k == FH_J_STR, out);
    case MAPPING: return give(k == FH_J_DICT, out);
    /* an undefined value has a length and elements, as far as Python can tell without asking for one */
    case SEQUENCE: return give(fh_jinja_has_length(v) && k != FH_J_VIEW && k != FH_J_LOOP, out);
    case ITERABLE: return give(fh_jinja_iterable(v), out);
    case CALLABLE:
        return give(k == FH_J_MACRO || k == FH_J_METHOD || k == FH_J_FUNC || k == FH_J_LOOP || k == FH_J_JOINER ||
                        k == FH_J_UNDEF,
                    out);
    default: return give(k == FH_J_STR && v.flag & FH_J_SAFE, out);
    }
}

static bool t_divisible(fh_jrun *r, fh_jval v, const fh_jval *arg, int sub, bool *out) {
    fh_jval rest;
    fh_jval by = sub ? fh_jval_int(2) : arg[0];
    if (!fh_jinja_arith(r, '%', v, by, &rest)) return false;
    return fh_jinja_equal(r, rest, fh_jval_int(sub == 1), out);
}

static bool t_case(fh_jrun *r, fh_jval v, const fh_jval *arg, int sub, bool *out) {
    (void)arg;
    if (!fh_jinja_str(r, v, &v) || !fh_jinja_pay(r, v.len >> 5)) return false;
    return give(fh_jinja_is_class(v, sub), out);
}

static bool t_equal(fh_jrun *r, fh_jval v, const fh_jval *arg, int negate, bool *out) {
    if (!fh_jinja_equal(r, v, arg[0], out)) return false;
    return give(*out != (negate != 0), out);
}

static bool t_order(fh_jrun *r, fh_jval v, const fh_jval *arg, int op, bool *out) {
    return fh_jinja_order(r, (fh_jorder)op, v, arg[0], out);
}

static bool t_in(fh_jrun *r, fh_jval v, const fh_jval *arg, int sub, bool *out) {
    (void)sub;
    return fh_jinja_contains(r, arg[0], v, out);
}

static bool t_same(fh_jrun *r, fh_jval v, const fh_jval *arg, int sub, bool *out) {
    (void)sub;
    if (v.kind != arg[0].kind) return give(false, out);
    if (v.kind <= FH_J_STR) return fh_jinja_equal(r, v, arg[0], out);
    return give(v.u.s == arg[0].u.s, out);
}

static bool t_named(fh_jrun *r, fh_jval v, const fh_jval *arg, int filter, bool *out) {
    (void)r;
    (void)arg;
    fh_str name = v.kind == FH_J_STR ? fh_jval_text(v) : FH_STR("");
    return give((filter ? fh_jinja_filter_find(name) : fh_jinja_test_find(name)) >= 0, out);
}

static const struct {
    const char *name;
    test_fn *call;
    int sub, n_arg;
} tests[] = {
    {"defined", t_kind, DEFINED, 0},
    {"undefined", t_kind, UNDEFINED, 0},
    {"none", t_kind, NONE, 0},
    {"boolean", t_kind, BOOLEAN, 0},
    {"false", t_kind, FALSE, 0},
    {"true", t_kind, TRUE, 0},
    {"integer", t_kind, INTEGER, 0},
    {"float", t_kind, FLOAT, 0},
    {"number", t_kind, NUMBER, 0},
    {"string", t_kind, STRING, 0},
    {"mapping", t_kind, MAPPING, 0},
    {"sequence", t_kind, SEQUENCE, 0},
    {"iterable", t_kind, ITERABLE, 0},
    {"callable", t_kind, CALLABLE, 0},
    {"escaped", t_kind, ESCAPED, 0},
    {"divisibleby", t_divisible, 0, 1},
    {"odd", t_divisible, 1, 0},
    {"even", t_divisible, 2, 0},
    {"lower", t_case, FH_J_IS_LOWER, 0},
    {"upper", t_case, FH_J_IS_UPPER, 0},
    {"==", t_equal, 0, 1},
    {"eq", t_equal, 0, 1},
    {"equalto", t_equal, 0, 1},
    {"!=", t_equal, 1, 1},
    {"ne", t_equal, 1, 1},
    {">", t_order, FH_J_GT, 1},
    {"gt", t_order, FH_J_GT, 1},
    {"greaterthan", t_order, FH_J_GT, 1},
    {">=", t_order, FH_J_GE, 1},
    {"ge", t_order, FH_J_GE, 1},
    {"<", t_order, FH_J_LT, 1},
    {"lt", t_order, FH_J_LT, 1},
    {"lessthan", t_order, FH_J_LT, 1},
    {"<=", t_order, FH_J_LE, 1},
    {"le", t_order, FH_J_LE, 1},
    {"in", t_in, 0, 1},
    {"sameas", t_same, 0, 1},
    {"filter", t_named, 1, 0},
    {"test", t_named, 0, 0},
};

int fh_jinja_test_find(fh_str name) {
    for (size_t i = 0; i < FH_COUNT(tests); i++)
        if (fh_str_is(name, tests[i].name)) return (int)i;
    return -1;
}

bool fh_jinja_test_call(fh_jrun *r, int row, fh_jval v, const fh_jargs *a, bool *out) {
    fh_jval arg[1] = {{.kind = FH_J_MISSING}};
    uint32_t n = (uint32_t)tests[row].n_arg;
    if (!fh_jinja_bind(r, a, tests[row].name, n ? "other" : "", n, arg, n)) return false;
    return tests[row].call(r, v, arg, tests[row].sub, out);
}
