/* text/jinja_eval.c - expressions: a node and a frame give a value.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Every node costs a step; how deep evaluation may nest is counted, whatever nests it: brackets,
 * macros in arguments of macros, recursive loops. */
#include "base/num.h"
#include "text/jinja_part.h"

/* Evaluated arguments, on the C stack while they are few. */
typedef struct arg_room {
    fh_jval pos[5];
    fh_jkw kw[3];
} arg_room;

static bool take_line(fh_jrun *r, const fh_jnode *n) {
    r->line = n->line;
    return true;
}

/* ---- arguments ---- */

static bool spread(fh_jrun *r, const fh_jnode *n, fh_jval *pos, uint32_t n_pos, fh_jargs *out) {
    fh_jlist *more;
    fh_jval v;
    if (!fh_jinja_eval(r, n, &v) || !fh_jinja_to_list(r, v, &more)) return false;
    fh_jval *all = fh_jinja_alloc(r, (size_t)n_pos + more->n, sizeof *all);
    if (!all) return false;
    if (n_pos) memcpy(all, pos, n_pos * sizeof *all);
    if (more->n) memcpy(all + n_pos, more->item, more->n * sizeof *all);
    out->pos = all;
    out->n_pos = n_pos + more->n;
    return true;
}

static bool spread_names(fh_jrun *r, const fh_jnode *n, fh_jkw *kw, uint32_t n_kw, fh_jargs *out) {
    fh_jval v;
    if (!fh_jinja_eval(r, n, &v)) return false;
    if (v.kind != FH_J_DICT) return fh_jinja_fail(r, "argument after ** must be a mapping, not %s", fh_jinja_type(v));
    const fh_jdict *d = v.u.dict;
    fh_jkw *all = fh_jinja_alloc(r, (size_t)n_kw + d->n + 1, sizeof *all); /* one more for caller */
    if (!all) return false;
    if (n_kw) memcpy(all, kw, n_kw * sizeof *all);
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->item[i].key.kind != FH_J_STR) return fh_jinja_fail(r, "keywords must be strings");
        fh_str name = fh_jval_text(d->item[i].key);
        for (uint32_t k = 0; k < n_kw; k++)
            if (fh_str_eq(all[k].name, name))
                return fh_jinja_fail(r, "got multiple values for '%.*s'", FH_STR_ARG(name));
        all[n_kw + i] = (fh_jkw){name, d->item[i].value};
    }
    out->kw = all;
    out->n_kw = n_kw + d->n;
    return fh_jinja_pay(r, d->n);
}

static bool eval_args(fh_jrun *r, const fh_jcall *c, const fh_jval *caller, arg_room *room, fh_jargs *out) {
    *out = (fh_jargs){room->pos, room->kw, 0, 0};
    uint32_t n_kw = 0;
    fh_jkw *kw = room->kw;
    if (c) {
        fh_jval *pos = room->pos;
        if (c->n_pos > FH_COUNT(room->pos) && !(pos = fh_jinja_alloc(r, c->n_pos, sizeof *pos))) return false;
        if (c->n_kw + 1 > FH_COUNT(room->kw) && !(kw = fh_jinja_alloc(r, (size_t)c->n_kw + 1, sizeof *kw)))
            return false;
        for (uint32_t i = 0; i < c->n_pos; i++)
            if (!fh_jinja_eval(r, c->pos[i], &pos[i])) return false;
        out->pos = pos;
        out->n_pos = c->n_pos;
        if (c->star && !spread(r, c->star, pos, c->n_pos, out)) return false;
        for (; n_kw < c->n_kw; n_kw++) {
            kw[n_kw].name = c->kw_name[n_kw];
            if (!fh_jinja_eval(r, c->kw[n_kw], &kw[n_kw].value)) return false;
        }
        out->kw = kw;
        out->n_kw = n_kw;
        if (c->star2 && !spread_names(r, c->star2, kw, n_kw, out)) return false;
    }
    if (!caller) return true;
    fh_jkw *all = fh_jinja_alloc(r, (size_t)out->n_kw + 1, sizeof *all);
    if (!all) return false;
    if (out->n_kw) memcpy(all, out->kw, out->n_kw * sizeof *all);
    all[out->n_kw++] = (fh_jkw){FH_STR("caller"), *caller};
    out->kw = all;
    return true;
}

/* ---- calls, filters, tests ---- */

bool fh_jinja_call(fh_jrun *r, fh_jval f, const fh_jargs *a, fh_jval *out) {
    switch ((fh_jkind)f.kind) {
    case FH_J_FUNC: return fh_jinja_func_call(r, f.aux, a, out);
    case FH_J_METHOD: return fh_jinja_method_call(r, f.u.method, a, out);
    case FH_J_MACRO: return fh_jinja_macro_call(r, f.u.macro, a, out);
    case FH_J_LOOP: return fh_jinja_loop_call(r, f.u.loop, a, out);
    case FH_J_JOINER:
        *out = f.u.cycler->used ? f.u.cycler->sep : FH_JVAL_LIT("");
        f.u.cycler->used = true;
        return fh_jinja_bind(r, a, "joiner", "", 0, NULL, 0);
    case FH_J_UNDEF: return fh_jinja_fail_undef(r, f);
    default: return fh_jinja_fail(r, "'%s' object is not callable", fh_jinja_type(f));
    }
}

/* x.method(...) needs no bound method. */
__attribute__((noinline)) bool fh_jinja_eval_call(fh_jrun *r, const fh_jnode *n, const fh_jval *caller, fh_jval *out) {
    arg_room room;
    fh_jargs a;
    fh_jval f;
    fh_jmethod m;
    if (n->a->op == FH_J_ATTR) {
        if (!fh_jinja_eval(r, n->a->a, &m.self) || !take_line(r, n->a)) return false;
        int row = m.self.kind == FH_J_NAMESPACE || n->a->sub ? -1 : fh_jinja_method_find(m.self, n->a->text);
        if (row >= 0) {
            m.id = (uint16_t)row;
            return eval_args(r, n->args, caller, &room, &a) && take_line(r, n) && fh_jinja_method_call(r, &m, &a, out);
        }
        if (!fh_jinja_getattr(r, m.self, n->a->value, &f)) return false;
    } else if (!fh_jinja_eval(r, n->a, &f)) {
        return false;
    }
    return eval_args(r, n->args, caller, &room, &a) && take_line(r, n) && fh_jinja_call(r, f, &a, out);
}

__attribute__((noinline)) static bool eval_filter(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    arg_room room;
    fh_jargs a;
    fh_jval v = r->captured;
    if (n->a && !fh_jinja_eval(r, n->a, &v)) return false;
    if (!eval_args(r, n->args, NULL, &room, &a)) return false;
    r->line = n->line;
    if (n->slot < 0) return fh_jinja_fail(r, "No filter named '%.*s' found.", FH_STR_ARG(n->text));
    return fh_jinja_filter_call(r, n->slot, v, &a, out);
}

__attribute__((noinline)) static bool eval_test(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    arg_room room;
    fh_jargs a;
    fh_jval v;
    bool yes;
    if (!fh_jinja_eval(r, n->a, &v) || !eval_args(r, n->args, NULL, &room, &a)) return false;
    r->line = n->line;
    if (n->slot < 0) return fh_jinja_fail(r, "No test named '%.*s' found.", FH_STR_ARG(n->text));
    if (!fh_jinja_test_call(r, n->slot, v, &a, &yes)) return false;
    *out = fh_jval_bool(yes);
    return true;
}

/* ---- the rest ---- */

static bool eval_name(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    const fh_jframe *f = r->frame;
    for (uint16_t i = n->hops; i > 0; i--) f = f->outer;
    *out = f->slot[n->slot];
    if (out->kind == FH_J_MISSING)
        *out = (fh_jval){.kind = FH_J_UNDEF, .aux = FH_J_NO_NAME, .len = (uint32_t)n->text.len, .u.s = n->text.ptr};
    return true;
}

static bool eval_list(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    fh_jlist *l = fh_jinja_list(r, n->list.n);
    if (!l) return false;
    for (uint32_t i = 0; i < n->list.n; i++)
        if (!fh_jinja_eval(r, n->list.item[i], &l->item[i])) return false;
    l->n = n->list.n;
    *out = n->op == FH_J_MAKE_LIST ? fh_jval_list(l) : fh_jval_tuple(l);
    return true;
}

static bool eval_dict(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    fh_jdict *d = fh_jinja_dict(r, n->list.n / 2);
    fh_jval key, value;
    if (!d) return false;
    for (uint32_t i = 0; i < n->list.n; i += 2)
        if (!fh_jinja_eval(r, n->list.item[i], &key) || !fh_jinja_eval(r, n->list.item[i + 1], &value) ||
            !fh_jinja_dict_put(r, d, key, value))
            return false;
    *out = fh_jval_dict(d);
    return true;
}

static bool eval_cut(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    fh_jval of, part[3];
    if (!fh_jinja_eval(r, n->a, &of)) return false;
    for (int i = 0; i < 3; i++) {
        part[i] = (fh_jval){.kind = FH_J_MISSING};
        if (n->list.item[i] && !fh_jinja_eval(r, n->list.item[i], &part[i])) return false;
    }
    return take_line(r, n) && fh_jinja_slice(r, of, part, out);
}

static bool eval_concat(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    fh_jval all, v;
    if (!fh_jinja_eval(r, n->list.item[0], &all) || !fh_jinja_str(r, all, &all)) return false;
    for (uint32_t i = 1; i < n->list.n; i++)
        if (!fh_jinja_eval(r, n->list.item[i], &v) || !fh_jinja_str(r, v, &v) || !fh_jinja_concat(r, all, v, &all))
            return false;
    *out = all;
    return true;
}

static bool compare(fh_jrun *r, fh_jcmp cmp, fh_jval a, fh_jval b, bool *out) {
    switch (cmp) {
    case FH_J_CMP_EQ: return fh_jinja_equal(r, a, b, out);
    case FH_J_CMP_NE:
        if (!fh_jinja_equal(r, a, b, out)) return false;
        *out = !*out;
        return true;
    case FH_J_CMP_LT: return fh_jinja_order(r, FH_J_LT, a, b, out);
    case FH_J_CMP_LE: return fh_jinja_order(r, FH_J_LE, a, b, out);
    case FH_J_CMP_GT: return fh_jinja_order(r, FH_J_GT, a, b, out);
    case FH_J_CMP_GE: return fh_jinja_order(r, FH_J_GE, a, b, out);
    case FH_J_CMP_IN: return fh_jinja_contains(r, b, a, out);
    case FH_J_CMP_NOT_IN:
        if (!fh_jinja_contains(r, b, a, out)) return false;
        *out = !*out;
        return true;
    }
    return false;
}

static bool eval_compare(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    fh_jval a, b;
    bool yes = true;
    if (!fh_jinja_eval(r, n->a, &a)) return false;
    for (uint32_t i = 0; yes && i < n->list.n; i++) {
        if (!fh_jinja_eval(r, n->list.item[i], &b) || !take_line(r, n) || !compare(r, (fh_jcmp)n->cmp[i], a, b, &yes))
            return false;
        a = b;
    }
    *out = fh_jval_bool(yes);
    return true;
}

static bool eval_cond(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    fh_jval test;
    if (!fh_jinja_eval(r, n->b, &test)) return false;
    if (fh_jinja_truth(test)) return fh_jinja_eval(r, n->a, out);
    if (n->c) return fh_jinja_eval(r, n->c, out);
    *out = fh_jval_hint(FH_STR("the inline if-expression evaluated to false and no else section was defined"));
    return true;
}

static bool eval_pair(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    fh_jval a, b;
    if (!fh_jinja_eval(r, n->a, &a) || !fh_jinja_eval(r, n->b, &b)) return false;
    r->line = n->line;
    return n->op == FH_J_ITEM ? fh_jinja_getitem(r, a, b, out) : fh_jinja_arith(r, n->sub, a, b, out);
}

static bool eval_attr(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    fh_jval v, *found;
    if (!fh_jinja_eval(r, n->a, &v)) return false;
    r->line = n->line;
    if (v.kind != FH_J_DICT || !n->sub) return fh_jinja_getattr(r, v, n->value, out);
    if (!fh_jinja_dict_find(r, v.u.dict, n->value, &found)) return false;
    if (!found) return fh_jinja_undef_attr(r, v, n->value, out);
    *out = *found;
    return true;
}

static bool eval_op(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    fh_jval v;
    switch ((fh_jop)n->op) {
    case FH_J_CONST: *out = n->value; return true;
    case FH_J_NAME: return eval_name(r, n, out);
    case FH_J_MAKE_LIST:
    case FH_J_MAKE_TUPLE: return eval_list(r, n, out);
    case FH_J_MAKE_DICT: return eval_dict(r, n, out);
    case FH_J_ATTR: return eval_attr(r, n, out);
    case FH_J_ITEM:
    case FH_J_ARITH: return eval_pair(r, n, out);
    case FH_J_CUT: return eval_cut(r, n, out);
    case FH_J_CALL: return fh_jinja_eval_call(r, n, NULL, out);
    case FH_J_FILTER: return eval_filter(r, n, out);
    case FH_J_TEST: return eval_test(r, n, out);
    case FH_J_AND:
    case FH_J_OR:
        if (!fh_jinja_eval(r, n->a, out)) return false;
        return fh_jinja_truth(*out) == (n->op == FH_J_OR) || fh_jinja_eval(r, n->b, out);
    case FH_J_NOT:
        if (!fh_jinja_eval(r, n->a, &v)) return false;
        *out = fh_jval_bool(!fh_jinja_truth(v));
        return true;
    case FH_J_NEGATE: return fh_jinja_eval(r, n->a, &v) && take_line(r, n) && fh_jinja_negate(r, v, n->sub == '-', out);
    case FH_J_CONCAT: return eval_concat(r, n, out);
    case FH_J_COMPARE: return eval_compare(r, n, out);
    case FH_J_COND: return eval_cond(r, n, out);
    default: FH_BUG("a statement where an expression belongs");
    }
}

bool fh_jinja_eval(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    if (++r->steps >= r->check_at) {
        r->line = n->line;
        if (!fh_jinja_check(r)) return false;
    }
    if (n->op == FH_J_CONST) {
        *out = n->value;
        return true;
    }
    if (n->op == FH_J_NAME) return eval_name(r, n, out);
    if (++r->nest > FH_J_MAX_NEST) {
        r->line = n->line;
        return fh_jinja_fail_status(r, FH_ERR_LIMIT, "calls and expressions are nested too deeply");
    }
    bool ok = eval_op(r, n, out);
    r->nest--;
    return ok;
}
