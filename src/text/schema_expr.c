/* text/schema_expr.c - expressions: each set of values named once, its shape made once.
 * SPDX-License-Identifier: Apache-2.0
 * Recursion in a schema ends here: an expression is a number, a conjunction is a sorted set of numbers, and there are
 * finitely many. A shape that needs itself to be made (a $ref to itself, with nothing read in between) is refused. */
#include "base/num.h"
#include "text/schema_part.h"

static fh_expr intern(fh_swork *s, const uint32_t *seq, uint32_t n) {
    uint32_t e = fh_intern_add(&s->expr, &s->w, seq, n);
    if (s->expr.n > FH_GRAMMAR_RULES) s->w.spent = true;
    return e == FH_AUTO_DEAD ? FH_EXPR_FALSE : e; /* after a failure nothing is used any more */
}

static uint32_t kind_of(const fh_swork *s, fh_expr e) {
    uint32_t n;
    const uint32_t *seq = fh_intern_seq(&s->expr, e, &n);
    return n ? seq[0] : e;
}

fh_expr fh_expr_constant(fh_swork *s, const fh_json_node *value) {
    const uint32_t seq[2] = {FH_EXPR_CONSTANT, (uint32_t)(value - s->root)};
    return intern(s, seq, 2);
}

fh_expr fh_expr_schema(fh_swork *s, const fh_json_node *schema) {
    const uint32_t seq[2] = {FH_EXPR_SCHEMA, (uint32_t)(schema - s->root)};
    if (schema->kind == FH_JSON_TRUE || (schema->kind == FH_JSON_OBJECT && schema->n_child == 0)) return FH_EXPR_TRUE;
    if (schema->kind == FH_JSON_FALSE) return FH_EXPR_FALSE;
    return intern(s, seq, 2);
}

fh_expr fh_expr_not(fh_swork *s, fh_expr e) {
    uint32_t n;
    if (e <= FH_EXPR_FALSE) return e == FH_EXPR_TRUE ? FH_EXPR_FALSE : FH_EXPR_TRUE;
    const uint32_t *of = fh_intern_seq(&s->expr, e, &n);
    if (of[0] == FH_EXPR_NOT) return of[1];
    const uint32_t seq[2] = {FH_EXPR_NOT, e};
    return intern(s, seq, 2);
}

/* The parts of a conjunction, or the expression itself. */
static const uint32_t *parts(const fh_swork *s, const fh_expr *e, uint32_t *n) {
    const uint32_t *seq = fh_intern_seq(&s->expr, *e, n);
    if (*n && seq[0] == FH_EXPR_AND) {
        --*n;
        return seq + 1;
    }
    *n = 1;
    return e;
}

fh_expr fh_expr_and(fh_swork *s, fh_expr a, fh_expr b) {
    uint32_t na, nb, i = 0, j = 0, k = 1;
    if (a == FH_EXPR_FALSE || b == FH_EXPR_FALSE) return FH_EXPR_FALSE;
    if (a == FH_EXPR_TRUE || a == b) return b;
    if (b == FH_EXPR_TRUE) return a;
    const uint32_t *pa = parts(s, &a, &na), *pb = parts(s, &b, &nb);
    uint32_t *seq = fh_work_alloc(&s->w, (size_t)na + nb + 1, sizeof *seq);
    if (!seq) return FH_EXPR_FALSE;
    seq[0] = FH_EXPR_AND;
    while (i < na || j < nb) {
        uint32_t x = i < na ? pa[i] : UINT32_MAX, y = j < nb ? pb[j] : UINT32_MAX;
        seq[k++] = FH_MIN(x, y);
        i += x <= y;
        j += y <= x;
    }
    if (k == 2) return seq[1];
    return intern(s, seq, k);
}

/* ---- shapes ---- */
static bool make_room(fh_swork *s, fh_expr e) {
    const fh_shape **shape = fh_work_grow(&s->w, s->shape, &s->cap_shape, (uint64_t)e + 1, sizeof *shape);
    uint8_t *busy = fh_work_grow(&s->w, s->busy, &s->cap_busy, (uint64_t)e + 1, 1);
    if (!shape || !busy) return false;
    s->shape = shape;
    s->busy = busy;
    return true;
}

/* A place in the schema to blame for an expression. */
static const fh_json_node *place_of(const fh_swork *s, fh_expr e) {
    for (;;) {
        uint32_t n, kind = kind_of(s, e), arg = fh_intern_seq(&s->expr, e, &n)[n > 1];
        if (kind == FH_EXPR_SCHEMA || kind == FH_EXPR_CONSTANT) return s->root + arg;
        if (n < 2) return s->at;
        e = arg;
    }
}

static fh_status make_not(fh_swork *s, fh_expr inner, const fh_shape **out) {
    const fh_shape *a;
    FH_TRY(fh_expr_shape(s, inner, &a));
    fh_status st = fh_shape_not(s, a, out);
    if (st != FH_ERR_UNSUPPORTED) return st;
    return fh_schema_refuse(s, st, place_of(s, inner), NULL, "this has no exact complement");
}

static fh_status make_and(fh_swork *s, fh_expr e, const fh_shape **out) {
    const fh_shape *all = &fh_shape_true, *one;
    uint32_t n;
    for (uint32_t i = 1;; i++) {
        const uint32_t *seq = fh_intern_seq(&s->expr, e, &n); /* making shapes moves the sequences */
        if (i == n) break;
        FH_TRY(fh_expr_shape(s, seq[i], &one));
        FH_TRY(fh_shape_and(s, all, one, &all));
    }
    *out = all;
    return FH_OK;
}

static fh_status make_shape(fh_swork *s, fh_expr e, const fh_shape **out) {
    uint32_t n, arg = fh_intern_seq(&s->expr, e, &n)[1];
    const fh_json_node *before = s->at;
    fh_status st;
    switch (kind_of(s, e)) {
    case FH_EXPR_CONSTANT: return fh_constant_shape(s, s->root + arg, out);
    case FH_EXPR_SCHEMA:
        s->at = s->root + arg;
        st = fh_schema_shape(s, s->root + arg, out);
        s->at = before;
        return st;
    case FH_EXPR_NOT: return make_not(s, arg, out);
    default: return make_and(s, e, out);
    }
}

fh_status fh_expr_shape(fh_swork *s, fh_expr e, const fh_shape **out) {
    if (e <= FH_EXPR_FALSE) {
        *out = e == FH_EXPR_TRUE ? &fh_shape_true : &fh_shape_false;
        return FH_OK;
    }
    if (!fh_work_spend(&s->w, 1) || !make_room(s, e)) return fh_schema_check(s);
    if (s->shape[e]) {
        *out = s->shape[e];
        return FH_OK;
    }
    if (s->busy[e])
        return fh_schema_refuse(s, FH_ERR_FORMAT, s->at, NULL, "a schema that refers to itself without end");
    if (s->depth >= FH_SCHEMA_DEPTH) return fh_schema_refuse(s, FH_ERR_LIMIT, s->at, NULL, "schemas nested too deep");
    s->busy[e] = 1;
    s->depth++;
    fh_status st = make_shape(s, e, out);
    s->depth--;
    s->busy[e] = 0;
    if (st == FH_OK) st = fh_schema_check(s);
    if (st == FH_OK) s->shape[e] = *out;
    return st;
}

/* ---- certain emptiness ---- */
static bool expr_is_empty(fh_swork *s, fh_expr e, int effort) {
    const fh_shape *a;
    fh_err *err = s->err;
    if (e <= FH_EXPR_FALSE) return e == FH_EXPR_FALSE;
    if (effort <= 0) return false;
    s->err = NULL; /* a trial: what cannot be made now is taken for not empty */
    fh_status st = fh_expr_shape(s, e, &a);
    s->err = err;
    return st == FH_OK && fh_shape_is_empty(s, a, effort - 1);
}

static const fh_sname *find_name(const fh_sgroup *g, fh_str name) {
    uint32_t lo = 0, hi = g->n_name;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = fh_str_cmp(g->name[mid].name, name);
        if (c == 0) return &g->name[mid];
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

fh_expr fh_sobj_member(fh_swork *s, const fh_sobj *o, fh_str name) {
    fh_expr e = FH_EXPR_TRUE;
    if (o->keys && !fh_gstr_has(o->keys, name)) return FH_EXPR_FALSE;
    for (const fh_sgroup *g = o->group; g; g = g->next) {
        const fh_sname *n = find_name(g, name);
        bool any = n != NULL;
        if (n) e = fh_expr_and(s, e, n->e);
        for (uint32_t i = 0; i < g->n_pattern; i++) {
            if (!fh_auto_matches(g->pattern[i].a, name)) continue;
            e = fh_expr_and(s, e, g->pattern[i].e);
            any = true;
        }
        if (!any) e = fh_expr_and(s, e, g->rest);
    }
    return e;
}

static bool arr_is_empty(fh_swork *s, const fh_sarr *a, int effort) {
    if (a->least > a->most) return true;
    for (uint32_t i = 0; i < a->least && i <= a->n_prefix; i++)
        if (expr_is_empty(s, i < a->n_prefix ? a->prefix[i] : a->rest, effort)) return true;
    return false;
}

static bool obj_is_empty(fh_swork *s, const fh_sobj *o, int effort) {
    if (o->least > o->most || o->n_required > o->most) return true;
    for (uint32_t i = 0; i < o->n_required; i++)
        if (expr_is_empty(s, fh_sobj_member(s, o, o->required[i]), effort)) return true;
    return false;
}

bool fh_shape_is_empty(fh_swork *s, const fh_shape *a, int effort) {
    if (a->words || a->num_kind != FH_NUM_NONE || a->has_str || !fh_work_spend(&s->w, 1)) return false;
    for (uint32_t i = 0; i < a->n_arr; i++)
        if (!arr_is_empty(s, &a->arr[i], effort)) return false;
    for (uint32_t i = 0; i < a->n_obj; i++)
        if (!obj_is_empty(s, &a->obj[i], effort)) return false;
    return true;
}
