/* text/jinja_parse_expr.c - expressions of the template language.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: nodes go to the template's arena. Refuses what nests deeper than FH_J_MAX_EXPR_DEPTH, counted over
 * the tree and not only over brackets, so that evaluation knows how deep it can get.
 * Loosest to tightest: if-else, or, and, not, comparisons and in, + -, ~, * / // %, **, signs, then . [] () and
 * behind those filters and tests, which bind to the signed operand. */
#include "text/jinja_part.h"

static fh_status parse_or(fh_jparser *p, fh_jnode **out);
static fh_status parse_unary(fh_jparser *p, bool with_filters, fh_jnode **out);

/* child is now part of n. */
static fh_status hold(fh_jparser *p, fh_jnode *n, const fh_jnode *child) {
    if (child && child->depth >= n->depth) n->depth = (uint16_t)(child->depth + 1);
    if (n->depth > FH_J_MAX_EXPR_DEPTH) return fh_jinja_syntax(p, n->line, "an expression is nested too deeply");
    return FH_OK;
}

static fh_status binary(fh_jparser *p, fh_jop op, int sub, fh_jnode *a, fh_jnode *b, fh_jnode **out) {
    fh_jnode *n;
    FH_TRY(fh_jinja_node(p, op, a->line, &n));
    n->sub = (uint8_t)sub;
    n->a = a;
    n->b = b;
    FH_TRY(hold(p, n, a));
    FH_TRY(hold(p, n, b));
    *out = n;
    return FH_OK;
}

static fh_status push(fh_jparser *p, fh_jnode *n, fh_jnode *child) {
    FH_TRY(hold(p, n, child));
    return fh_jinja_push(p, &n->list, child);
}

fh_status fh_jinja_expr(fh_jparser *p, bool with_cond, fh_jnode **out) {
    if (++p->nest > FH_J_MAX_EXPR_DEPTH) return fh_jinja_syntax(p, p->tok.line, "an expression is nested too deeply");
    FH_TRY(parse_or(p, out));
    while (with_cond && fh_jinja_at_name(p, "if")) {
        fh_jnode *n;
        FH_TRY(fh_jinja_node(p, FH_J_COND, (*out)->line, &n));
        FH_TRY(fh_jinja_advance(p));
        n->a = *out;
        FH_TRY(parse_or(p, &n->b));
        if (fh_jinja_at_name(p, "else")) {
            FH_TRY(fh_jinja_advance(p));
            FH_TRY(fh_jinja_expr(p, true, &n->c));
        }
        FH_TRY(hold(p, n, n->a));
        FH_TRY(hold(p, n, n->b));
        FH_TRY(hold(p, n, n->c));
        *out = n;
    }
    p->nest--;
    return FH_OK;
}

/* ---- binary operators ---- */

static fh_status parse_pow(fh_jparser *p, fh_jnode **out) {
    FH_TRY(parse_unary(p, true, out));
    while (fh_jinja_at_op(p, FH_J_OP2('*', '*'))) {
        fh_jnode *right;
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(parse_unary(p, true, &right));
        FH_TRY(binary(p, FH_J_ARITH, 'p', *out, right, out));
    }
    return FH_OK;
}

static fh_status parse_product(fh_jparser *p, fh_jnode **out) {
    FH_TRY(parse_pow(p, out));
    for (;;) {
        int op = p->tok.kind == FH_J_T_OP ? p->tok.op : 0;
        if (op == FH_J_OP2('/', '/')) op = 'd';
        else if (op != '*' && op != '/' && op != '%') return FH_OK;
        fh_jnode *right;
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(parse_pow(p, &right));
        FH_TRY(binary(p, FH_J_ARITH, op, *out, right, out));
    }
}

static fh_status parse_concat(fh_jparser *p, fh_jnode **out) {
    fh_jnode *n = NULL, *next;
    FH_TRY(parse_product(p, out));
    while (fh_jinja_at_op(p, '~')) {
        if (!n) {
            FH_TRY(fh_jinja_node(p, FH_J_CONCAT, (*out)->line, &n));
            FH_TRY(push(p, n, *out));
        }
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(parse_product(p, &next));
        FH_TRY(push(p, n, next));
        *out = n;
    }
    return FH_OK;
}

static fh_status parse_sum(fh_jparser *p, fh_jnode **out) {
    FH_TRY(parse_concat(p, out));
    while (fh_jinja_at_op(p, '+') || fh_jinja_at_op(p, '-')) {
        fh_jnode *right;
        int op = p->tok.op;
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(parse_concat(p, &right));
        FH_TRY(binary(p, FH_J_ARITH, op, *out, right, out));
    }
    return FH_OK;
}

/* The comparison at the current token, or -1. */
static fh_status comparison(fh_jparser *p, int *cmp) {
    fh_jtoken ahead;
    *cmp = -1;
    if (p->tok.kind == FH_J_T_OP) {
        switch (p->tok.op) {
        case FH_J_OP2('=', '='): *cmp = FH_J_CMP_EQ; break;
        case FH_J_OP2('!', '='): *cmp = FH_J_CMP_NE; break;
        case FH_J_OP2('>', '='): *cmp = FH_J_CMP_GE; break;
        case FH_J_OP2('<', '='): *cmp = FH_J_CMP_LE; break;
        case '>': *cmp = FH_J_CMP_GT; break;
        case '<': *cmp = FH_J_CMP_LT; break;
        default: return FH_OK;
        }
    } else if (fh_jinja_at_name(p, "in")) {
        *cmp = FH_J_CMP_IN;
    } else if (fh_jinja_at_name(p, "not")) {
        FH_TRY(fh_jinja_peek(p, &ahead));
        if (ahead.kind != FH_J_T_NAME || !fh_str_is(ahead.text, "in")) return FH_OK;
        FH_TRY(fh_jinja_advance(p));
        *cmp = FH_J_CMP_NOT_IN;
    } else {
        return FH_OK;
    }
    return fh_jinja_advance(p);
}

static fh_status parse_compare(fh_jparser *p, fh_jnode **out) {
    fh_jnode *n = NULL, *next;
    uint8_t cmps[FH_J_MAX_EXPR_DEPTH];
    int cmp;
    FH_TRY(parse_sum(p, out));
    for (;;) {
        FH_TRY(comparison(p, &cmp));
        if (cmp < 0) break;
        if (!n) {
            FH_TRY(fh_jinja_node(p, FH_J_COMPARE, (*out)->line, &n));
            n->a = *out;
            FH_TRY(hold(p, n, n->a));
            *out = n;
        }
        if (n->list.n == sizeof cmps) return fh_jinja_syntax(p, n->line, "a comparison has too many parts");
        cmps[n->list.n] = (uint8_t)cmp;
        FH_TRY(parse_sum(p, &next));
        FH_TRY(push(p, n, next));
    }
    if (n) {
        n->cmp = fh_arena_alloc(p->arena, n->list.n, 1);
        if (!n->cmp) return fh_arena_fail(p->arena, p->err);
        memcpy(n->cmp, cmps, n->list.n);
    }
    return FH_OK;
}

static fh_status parse_not(fh_jparser *p, fh_jnode **out) {
    uint32_t n_not = 0, line = p->tok.line;
    while (fh_jinja_at_name(p, "not")) {
        if (++n_not > FH_J_MAX_EXPR_DEPTH) return fh_jinja_syntax(p, line, "an expression is nested too deeply");
        FH_TRY(fh_jinja_advance(p));
    }
    FH_TRY(parse_compare(p, out));
    for (; n_not; n_not--) {
        fh_jnode *n;
        FH_TRY(fh_jinja_node(p, FH_J_NOT, line, &n));
        n->a = *out;
        FH_TRY(hold(p, n, n->a));
        *out = n;
    }
    return FH_OK;
}

static fh_status parse_and(fh_jparser *p, fh_jnode **out) {
    FH_TRY(parse_not(p, out));
    while (fh_jinja_at_name(p, "and")) {
        fh_jnode *right;
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(parse_not(p, &right));
        FH_TRY(binary(p, FH_J_AND, 0, *out, right, out));
    }
    return FH_OK;
}

static fh_status parse_or(fh_jparser *p, fh_jnode **out) {
    FH_TRY(parse_and(p, out));
    while (fh_jinja_at_name(p, "or")) {
        fh_jnode *right;
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(parse_and(p, &right));
        FH_TRY(binary(p, FH_J_OR, 0, *out, right, out));
    }
    return FH_OK;
}

/* ---- what follows an operand ---- */

/* Room for one more in an array that doubles. */
static fh_status grow(fh_jparser *p, void **array, uint32_t n, size_t size) {
    if (n != 0 && (n < 4 || (n & (n - 1)) != 0)) return FH_OK;
    void *more = fh_arena_alloc(p->arena, n ? (size_t)n * 2 : 4, size);
    if (!more) return fh_arena_fail(p->arena, p->err);
    if (n) memcpy(more, *array, n * size);
    *array = more;
    return FH_OK;
}

static fh_status one_argument(fh_jparser *p, fh_jcall *c, fh_jnode **value) {
    fh_jtoken ahead = {.kind = FH_J_T_END};
    static const char bad[] = "the arguments of a call are in no valid order";
    uint32_t line = p->tok.line;
    if (fh_jinja_at_op(p, '*') || fh_jinja_at_op(p, FH_J_OP2('*', '*'))) {
        bool twice = !fh_jinja_at_op(p, '*');
        if (c->star2 || (!twice && c->star)) return fh_jinja_syntax(p, line, bad);
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(fh_jinja_expr(p, true, value));
        *(twice ? &c->star2 : &c->star) = *value;
        return FH_OK;
    }
    if (p->tok.kind == FH_J_T_NAME) FH_TRY(fh_jinja_peek(p, &ahead));
    if (ahead.kind == FH_J_T_OP && ahead.op == '=') {
        void *names = c->kw_name, *nodes = c->kw;
        if (c->star2) return fh_jinja_syntax(p, line, bad);
        FH_TRY(grow(p, &names, c->n_kw, sizeof *c->kw_name));
        FH_TRY(grow(p, &nodes, c->n_kw, sizeof *c->kw));
        c->kw_name = names;
        c->kw = nodes;
        c->kw_name[c->n_kw] = p->tok.text;
        for (uint32_t i = 0; i < c->n_kw; i++)
            if (fh_str_eq(c->kw_name[i], p->tok.text))
                return fh_jinja_syntax(p, line, "the argument '%.*s' is given twice", FH_STR_ARG(p->tok.text));
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(fh_jinja_expr(p, true, value));
        c->kw[c->n_kw++] = *value;
        return FH_OK;
    }
    if (c->star || c->star2 || c->n_kw) return fh_jinja_syntax(p, line, bad);
    void *nodes = c->pos;
    FH_TRY(grow(p, &nodes, c->n_pos, sizeof *c->pos));
    c->pos = nodes;
    FH_TRY(fh_jinja_expr(p, true, value));
    c->pos[c->n_pos++] = *value;
    return FH_OK;
}

static fh_status parse_arguments(fh_jparser *p, fh_jnode *n) {
    fh_jcall *c = n->args = fh_arena_alloc(p->arena, 1, sizeof *c);
    if (!c) return fh_arena_fail(p->arena, p->err);
    FH_TRY(fh_jinja_expect_op(p, '('));
    for (bool more = false; !fh_jinja_at_op(p, ')'); more = true) {
        fh_jnode *value;
        if (more) {
            FH_TRY(fh_jinja_expect_op(p, ','));
            if (fh_jinja_at_op(p, ')')) break;
        }
        FH_TRY(one_argument(p, c, &value));
        FH_TRY(hold(p, n, value));
    }
    return fh_jinja_expect_op(p, ')');
}

static fh_status parse_call(fh_jparser *p, fh_jnode **out) {
    fh_jnode *n;
    FH_TRY(fh_jinja_node(p, FH_J_CALL, p->tok.line, &n));
    n->a = *out;
    FH_TRY(hold(p, n, n->a));
    FH_TRY(parse_arguments(p, n));
    *out = n;
    return FH_OK;
}

/* One part of what stands in [ ]: an expression or a slice. */
static fh_status parse_subscribed(fh_jparser *p, fh_jnode *n, fh_jnode **index) {
    fh_jnode *part[3] = {NULL, NULL, NULL};
    size_t i = 0;
    *index = NULL;
    if (!fh_jinja_at_op(p, ':')) {
        FH_TRY(fh_jinja_expr(p, true, &part[0]));
        if (!fh_jinja_at_op(p, ':')) {
            *index = part[0];
            return FH_OK;
        }
    }
    while (i < 2 && fh_jinja_at_op(p, ':')) {
        FH_TRY(fh_jinja_advance(p));
        i++;
        if (!fh_jinja_at_op(p, ':') && !fh_jinja_at_op(p, ']') && !fh_jinja_at_op(p, ','))
            FH_TRY(fh_jinja_expr(p, true, &part[i]));
    }
    n->op = FH_J_CUT;
    for (i = 0; i < 3; i++) FH_TRY(push(p, n, part[i]));
    return FH_OK;
}

static fh_status parse_subscript(fh_jparser *p, fh_jnode **out) {
    fh_jnode *n, *index = NULL, *tuple = NULL;
    FH_TRY(fh_jinja_node(p, FH_J_ITEM, p->tok.line, &n));
    n->a = *out;
    *out = n;
    FH_TRY(hold(p, n, n->a));
    if (fh_jinja_at_op(p, '.')) {
        FH_TRY(fh_jinja_advance(p));
        if (p->tok.kind == FH_J_T_NAME) {
            n->op = FH_J_ATTR;
            n->value = fh_jval_str(p->tok.text);
            n->text = p->tok.text;
            /* sub: elements of dicts can be looked up at once, no method is called that */
            n->sub = !fh_jinja_method_named(n->text) && !fh_str_starts(n->text, "__");
            return fh_jinja_advance(p);
        }
        if (p->tok.kind != FH_J_T_INT) return fh_jinja_syntax(p, n->line, "a name or a number is wanted behind '.'");
        FH_TRY(fh_jinja_node(p, FH_J_CONST, n->line, &n->b));
        n->b->value = p->tok.value;
        return fh_jinja_advance(p);
    }
    FH_TRY(fh_jinja_advance(p));
    while (!fh_jinja_at_op(p, ']')) {
        if (index || n->op == FH_J_CUT) {
            if (n->op == FH_J_CUT) return fh_jinja_syntax(p, n->line, "slices in more than one dimension");
            FH_TRY(fh_jinja_expect_op(p, ','));
            if (!tuple) {
                FH_TRY(fh_jinja_node(p, FH_J_MAKE_TUPLE, n->line, &tuple));
                FH_TRY(push(p, tuple, index));
            }
        }
        FH_TRY(parse_subscribed(p, n, &index));
        if (tuple && n->op == FH_J_CUT) return fh_jinja_syntax(p, n->line, "slices in more than one dimension");
        if (tuple) FH_TRY(push(p, tuple, index));
    }
    if (!index && n->op != FH_J_CUT) FH_TRY(fh_jinja_node(p, FH_J_MAKE_TUPLE, n->line, &index));
    n->b = tuple ? tuple : index;
    FH_TRY(hold(p, n, n->b));
    return fh_jinja_advance(p);
}

static fh_status parse_postfix(fh_jparser *p, fh_jnode **out) {
    for (;;) {
        if (fh_jinja_at_op(p, '.') || fh_jinja_at_op(p, '[')) FH_TRY(parse_subscript(p, out));
        else if (fh_jinja_at_op(p, '(')) FH_TRY(parse_call(p, out));
        else return FH_OK;
    }
}

/* name or name.name */
static fh_status dotted_name(fh_jparser *p, fh_str *out) {
    FH_TRY(fh_jinja_expect_name(p, out));
    while (fh_jinja_at_op(p, '.')) {
        fh_str part;
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(fh_jinja_expect_name(p, &part));
        out->len = (size_t)(part.ptr + part.len - out->ptr);
    }
    return FH_OK;
}

fh_status fh_jinja_filters(fh_jparser *p, fh_jnode *on, bool inline_start, fh_jnode **out) {
    *out = on;
    while (inline_start || fh_jinja_at_op(p, '|')) {
        fh_jnode *n;
        if (!inline_start) FH_TRY(fh_jinja_advance(p));
        inline_start = false;
        FH_TRY(fh_jinja_node(p, FH_J_FILTER, p->tok.line, &n));
        FH_TRY(dotted_name(p, &n->text));
        n->slot = fh_jinja_filter_find(n->text);
        if (n->slot < 0 && p->own && fh_str_is(n->text, "from_json"))
            n->slot = fh_jinja_filter_find(FH_STR("!from_json")); /* not part of the reference's language */
        n->a = *out;
        FH_TRY(hold(p, n, n->a));
        if (fh_jinja_at_op(p, '(')) FH_TRY(parse_arguments(p, n));
        *out = n;
    }
    return FH_OK;
}

/* May the current token start the argument of a test without brackets? */
static bool starts_argument(const fh_jparser *p) {
    switch (p->tok.kind) {
    case FH_J_T_NAME: return !fh_jinja_at_name(p, "else") && !fh_jinja_at_name(p, "or") && !fh_jinja_at_name(p, "and");
    case FH_J_T_STRING:
    case FH_J_T_INT:
    case FH_J_T_FLOAT: return true;
    default: return fh_jinja_at_op(p, '[') || fh_jinja_at_op(p, '{');
    }
}

static fh_status parse_test(fh_jparser *p, fh_jnode **out) {
    fh_jnode *n, *arg;
    uint32_t line = p->tok.line;
    FH_TRY(fh_jinja_advance(p));
    bool negated = fh_jinja_at_name(p, "not");
    if (negated) FH_TRY(fh_jinja_advance(p));
    FH_TRY(fh_jinja_node(p, FH_J_TEST, line, &n));
    FH_TRY(dotted_name(p, &n->text));
    n->slot = fh_jinja_test_find(n->text);
    n->a = *out;
    FH_TRY(hold(p, n, n->a));
    if (fh_jinja_at_op(p, '(')) {
        FH_TRY(parse_arguments(p, n));
    } else if (starts_argument(p)) {
        if (fh_jinja_at_name(p, "is")) return fh_jinja_syntax(p, line, "tests with 'is' cannot be chained");
        n->args = fh_arena_alloc(p->arena, 1, sizeof *n->args);
        fh_jnode **pos = fh_arena_alloc(p->arena, 1, sizeof *pos);
        if (!n->args || !pos) return fh_arena_fail(p->arena, p->err);
        FH_TRY(fh_jinja_primary(p, false, &arg));
        FH_TRY(parse_postfix(p, &arg));
        FH_TRY(hold(p, n, arg));
        pos[0] = arg;
        n->args->pos = pos;
        n->args->n_pos = 1;
    }
    *out = n;
    if (!negated) return FH_OK;
    FH_TRY(fh_jinja_node(p, FH_J_NOT, line, out));
    (*out)->a = n;
    return hold(p, *out, n);
}

static fh_status parse_unary(fh_jparser *p, bool with_filters, fh_jnode **out) {
    if (fh_jinja_at_op(p, '-') || fh_jinja_at_op(p, '+')) {
        fh_jnode *n;
        FH_TRY(fh_jinja_node(p, FH_J_NEGATE, p->tok.line, &n));
        n->sub = (uint8_t)p->tok.op;
        if (++p->nest > FH_J_MAX_EXPR_DEPTH) return fh_jinja_syntax(p, n->line, "an expression is nested too deeply");
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(parse_unary(p, false, &n->a));
        p->nest--;
        FH_TRY(hold(p, n, n->a));
        *out = n;
    } else {
        FH_TRY(fh_jinja_primary(p, false, out));
    }
    FH_TRY(parse_postfix(p, out));
    while (with_filters) {
        if (fh_jinja_at_op(p, '|')) FH_TRY(fh_jinja_filters(p, *out, false, out));
        else if (fh_jinja_at_name(p, "is")) FH_TRY(parse_test(p, out));
        else if (fh_jinja_at_op(p, '(')) FH_TRY(parse_call(p, out));
        else break;
    }
    return FH_OK;
}

/* ---- operands ---- */

static fh_status parse_list(fh_jparser *p, fh_jnode **out) {
    FH_TRY(fh_jinja_node(p, FH_J_MAKE_LIST, p->tok.line, out));
    FH_TRY(fh_jinja_expect_op(p, '['));
    while (!fh_jinja_at_op(p, ']')) {
        fh_jnode *item;
        if ((*out)->list.n) {
            FH_TRY(fh_jinja_expect_op(p, ','));
            if (fh_jinja_at_op(p, ']')) break;
        }
        FH_TRY(fh_jinja_expr(p, true, &item));
        FH_TRY(push(p, *out, item));
    }
    return fh_jinja_expect_op(p, ']');
}

static fh_status parse_dict(fh_jparser *p, fh_jnode **out) {
    FH_TRY(fh_jinja_node(p, FH_J_MAKE_DICT, p->tok.line, out));
    FH_TRY(fh_jinja_expect_op(p, '{'));
    while (!fh_jinja_at_op(p, '}')) {
        fh_jnode *key, *value;
        if ((*out)->list.n) {
            FH_TRY(fh_jinja_expect_op(p, ','));
            if (fh_jinja_at_op(p, '}')) break;
        }
        FH_TRY(fh_jinja_expr(p, true, &key));
        FH_TRY(fh_jinja_expect_op(p, ':'));
        FH_TRY(fh_jinja_expr(p, true, &value));
        FH_TRY(push(p, *out, key));
        FH_TRY(push(p, *out, value));
    }
    return fh_jinja_expect_op(p, '}');
}

/* Strings that stand next to each other are one. */
static fh_status parse_string(fh_jparser *p, fh_jnode *n) {
    fh_str s = p->tok.text;
    FH_TRY(fh_jinja_advance(p));
    while (p->tok.kind == FH_J_T_STRING) {
        char *to = fh_arena_alloc(p->arena, s.len + p->tok.text.len + 1, 1);
        if (!to) return fh_arena_fail(p->arena, p->err);
        if (s.len) memcpy(to, s.ptr, s.len);
        if (p->tok.text.len) memcpy(to + s.len, p->tok.text.ptr, p->tok.text.len);
        s = (fh_str){to, s.len + p->tok.text.len};
        FH_TRY(fh_jinja_advance(p));
    }
    n->value = fh_jval_str(s);
    return FH_OK;
}

static fh_status parse_name(fh_jparser *p, bool with_namespace, fh_jnode **out) {
    fh_jnode *n = *out;
    fh_str s = p->tok.text;
    FH_TRY(fh_jinja_advance(p));
    n->op = FH_J_CONST;
    if (fh_str_is(s, "true") || fh_str_is(s, "True")) n->value = fh_jval_bool(true);
    else if (fh_str_is(s, "false") || fh_str_is(s, "False")) n->value = fh_jval_bool(false);
    else if (fh_str_is(s, "none") || fh_str_is(s, "None")) n->value = fh_jval_none();
    else {
        n->op = FH_J_NAME;
        n->text = s;
        if (with_namespace && fh_jinja_at_op(p, '.')) {
            fh_jnode *target;
            FH_TRY(fh_jinja_advance(p));
            FH_TRY(fh_jinja_node(p, FH_J_NS_ATTR, n->line, &target));
            target->a = n;
            FH_TRY(fh_jinja_expect_name(p, &target->text));
            *out = target;
        }
    }
    return FH_OK;
}

fh_status fh_jinja_primary(fh_jparser *p, bool with_namespace, fh_jnode **out) {
    FH_TRY(fh_jinja_node(p, FH_J_CONST, p->tok.line, out));
    switch (p->tok.kind) {
    case FH_J_T_NAME: return parse_name(p, with_namespace, out);
    case FH_J_T_STRING: return parse_string(p, *out);
    case FH_J_T_INT:
    case FH_J_T_FLOAT: (*out)->value = p->tok.value; return fh_jinja_advance(p);
    default: break;
    }
    if (fh_jinja_at_op(p, '(')) {
        FH_TRY(fh_jinja_advance(p));
        FH_TRY(fh_jinja_tuple(p, false, true, true, false, NULL, out));
        return fh_jinja_expect_op(p, ')');
    }
    if (fh_jinja_at_op(p, '[')) return parse_list(p, out);
    if (fh_jinja_at_op(p, '{')) return parse_dict(p, out);
    return fh_jinja_syntax(p, p->tok.line, "an expression is wanted here");
}

static bool tuple_ends(const fh_jparser *p, const char *until) {
    return p->tok.kind == FH_J_T_VAR_END || p->tok.kind == FH_J_T_BLOCK_END || fh_jinja_at_op(p, ')') ||
           (until && fh_jinja_at_name(p, until));
}

fh_status fh_jinja_tuple(fh_jparser *p, bool simple, bool with_cond, bool in_brackets, bool with_namespace,
                         const char *until, fh_jnode **out) {
    fh_jnode *tuple = NULL, *one = NULL;
    uint32_t line = p->tok.line;
    for (;;) {
        if (one) FH_TRY(fh_jinja_expect_op(p, ','));
        if (tuple_ends(p, until)) break;
        if (simple) FH_TRY(fh_jinja_primary(p, with_namespace, &one));
        else FH_TRY(fh_jinja_expr(p, with_cond, &one));
        if (!tuple && fh_jinja_at_op(p, ',')) FH_TRY(fh_jinja_node(p, FH_J_MAKE_TUPLE, line, &tuple));
        if (tuple) FH_TRY(push(p, tuple, one));
        if (!fh_jinja_at_op(p, ',')) break;
    }
    if (!tuple && one) {
        *out = one;
        return FH_OK;
    }
    if (!tuple) {
        if (!in_brackets) return fh_jinja_syntax(p, line, "an expression is wanted here");
        FH_TRY(fh_jinja_node(p, FH_J_MAKE_TUPLE, line, &tuple));
    }
    *out = tuple;
    return FH_OK;
}
