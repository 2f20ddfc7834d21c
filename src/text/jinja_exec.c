/* text/jinja_exec.c - statements: output, branches, assignments, macros.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: frames and captured text live in the run's arena. Loops are in jinja_loop.c.
 * Invariant: whoever captures output cuts it off again, also when a loop is left through the capture. */
#include "base/num.h"
#include "text/jinja_exec_part.h"

struct fh_jmacro {
    const fh_jfunc *f;
    fh_jframe *frame; /* where it was defined */
};

/* ---- scopes and assignments ---- */

void fh_jinja_enter(fh_jrun *r, const fh_jscope *s) {
    fh_jval *slot = r->frame->slot;
    for (uint32_t i = 0; i < s->n_init; i++) {
        const fh_jinit *init = &s->init[i];
        const fh_jframe *f = r->frame;
        switch (init->how) {
        case FH_J_LOAD_CTX: slot[init->slot] = r->ctx[init->from]; break;
        case FH_J_LOAD_COPY:
            for (uint16_t h = init->hops; h > 0; h--) f = f->outer;
            slot[init->slot] = f->slot[init->from];
            break;
        default: slot[init->slot] = (fh_jval){.kind = FH_J_MISSING}; break;
        }
    }
}

static bool assign_attr(fh_jrun *r, const fh_jnode *n, fh_jval v) {
    fh_jval ns;
    r->line = n->line;
    if (!fh_jinja_eval(r, n->a, &ns)) return false;
    if (ns.kind != FH_J_NAMESPACE) return fh_jinja_fail(r, "cannot assign attribute on non-namespace object");
    if (n->text.len && n->text.ptr[0] == '_')
        return fh_jinja_fail_status(r, FH_ERR_DENIED, "a namespace cannot hold '%.*s': the name begins with '_'",
                                    FH_STR_ARG(n->text));
    return fh_jinja_dict_put(r, ns.u.dict, fh_jval_str(n->text), v);
}

bool fh_jinja_assign(fh_jrun *r, const fh_jnode *target, fh_jval v) {
    if (target->op == FH_J_NAME) {
        r->frame->slot[target->slot] = v;
        if (target->export_ >= 0) r->ctx[target->export_] = v;
        return true;
    }
    if (target->op == FH_J_NS_ATTR) return assign_attr(r, target, v);
    fh_jlist *l;
    r->line = target->line;
    if (v.kind == FH_J_UNDEF) v = fh_jval_tuple(&(fh_jlist){.n = 0});
    if (!fh_jinja_to_list(r, v, &l)) return false;
    if (l->n < target->list.n)
        return fh_jinja_fail(r, "not enough values to unpack (expected %u, got %u)", target->list.n, l->n);
    if (l->n > target->list.n) return fh_jinja_fail(r, "too many values to unpack (expected %u)", target->list.n);
    for (uint32_t i = 0; i < l->n; i++)
        if (!fh_jinja_assign(r, target->list.item[i], l->item[i])) return false;
    return true;
}

/* ---- macros ---- */

bool fh_jinja_new_frame(fh_jrun *r, fh_jframe *outer, uint32_t n_slot, fh_jframe **out) {
    fh_jframe *f = fh_jinja_alloc(r, 1, sizeof *f);
    if (!f) return false;
    f->outer = outer;
    f->slot = fh_jinja_alloc(r, n_slot, sizeof *f->slot);
    *out = f;
    return f->slot != NULL;
}

bool fh_jinja_deeper(fh_jrun *r) {
    if (r->depth++ < r->max_depth) return true;
    return fh_jinja_fail_status(r, FH_ERR_LIMIT, "macros and loops call each other more than %u deep", r->max_depth);
}

static bool make_macro(fh_jrun *r, const fh_jfunc *f, fh_jval *out) {
    fh_jmacro *m = fh_jinja_alloc(r, 1, sizeof *m);
    if (!m) return false;
    m->f = f;
    m->frame = r->frame;
    *out = (fh_jval){.kind = FH_J_MACRO, .u.macro = m};
    return true;
}

fh_str fh_jinja_macro_name(const fh_jmacro *m) { return m->f->name; }

bool fh_jinja_macro_attr(fh_jrun *r, fh_jmacro *m, fh_str name, bool *found, fh_jval *out) {
    *found = true;
    if (fh_str_is(name, "name")) *out = m->f->name.ptr ? fh_jval_str(m->f->name) : fh_jval_none();
    else if (fh_str_is(name, "caller")) *out = fh_jval_bool(m->f->caller_slot >= 0);
    else if (fh_str_is(name, "catch_kwargs")) *out = fh_jval_bool(m->f->kwargs_slot >= 0);
    else if (fh_str_is(name, "catch_varargs")) *out = fh_jval_bool(m->f->varargs_slot >= 0);
    else if (fh_str_is(name, "arguments")) {
        fh_jlist *l = fh_jinja_list(r, m->f->n_param);
        if (!l) return false;
        for (uint32_t i = 0; i < m->f->n_param; i++) l->item[l->n++] = fh_jval_str(m->f->param[i]);
        *out = fh_jval_tuple(l);
    } else {
        *found = false;
    }
    return true;
}

static bool rest_of_args(fh_jrun *r, const fh_jargs *a, uint32_t from, fh_jval *out) {
    fh_jlist *l = fh_jinja_list(r, a->n_pos > from ? a->n_pos - from : 0);
    if (!l) return false;
    for (uint32_t i = from; i < a->n_pos; i++) l->item[l->n++] = a->pos[i];
    *out = fh_jval_tuple(l);
    return true;
}

/* Named arguments that are no parameters: into kwargs, or one too many. */
static bool spare_names(fh_jrun *r, const fh_jfunc *f, const fh_jargs *a, fh_jval *slot) {
    fh_jdict *d = f->kwargs_slot >= 0 ? fh_jinja_dict(r, 0) : NULL;
    if (f->kwargs_slot >= 0 && !d) return false;
    for (uint32_t i = 0; i < a->n_kw; i++) {
        fh_str name = a->kw[i].name;
        bool taken = f->caller_slot >= 0 && fh_str_is(name, "caller");
        for (uint32_t k = a->n_pos; k < f->n_param; k++) taken = taken || fh_str_eq(f->param[k], name);
        if (taken) continue;
        if (!d)
            return fh_jinja_fail(r, "macro '%.*s' takes no keyword argument '%.*s'", FH_STR_ARG(f->name),
                                 FH_STR_ARG(name));
        if (!fh_jinja_dict_put(r, d, fh_jval_str(name), a->kw[i].value)) return false;
    }
    if (d) slot[f->kwargs_slot] = fh_jval_dict(d);
    return true;
}

static bool fill_params(fh_jrun *r, const fh_jfunc *f, const fh_jargs *a) {
    fh_jval *slot = r->frame->slot;
    for (uint32_t i = 0; i < f->n_param; i++) {
        fh_jval v = i < a->n_pos ? a->pos[i] : (fh_jval){.kind = FH_J_MISSING};
        for (uint32_t k = 0; i >= a->n_pos && k < a->n_kw; k++)
            if (fh_str_eq(a->kw[k].name, f->param[i])) v = a->kw[k].value;
        slot[f->param_slot[i]] = v;
    }
    if (f->caller_slot >= 0) {
        fh_jval *c = &slot[f->caller_slot];
        *c = (fh_jval){.kind = FH_J_UNDEF, .aux = FH_J_HINT, .len = 17, .u.s = "No caller defined"};
        for (uint32_t k = 0; k < a->n_kw; k++)
            if (fh_str_is(a->kw[k].name, "caller")) *c = a->kw[k].value;
    }
    if (!spare_names(r, f, a, slot)) return false;
    if (f->varargs_slot >= 0) {
        if (!rest_of_args(r, a, f->n_param, &slot[f->varargs_slot])) return false;
    } else if (a->n_pos > f->n_param) {
        return fh_jinja_fail(r, "macro '%.*s' takes not more than %u argument(s)", FH_STR_ARG(f->name), f->n_param);
    }
    fh_jinja_enter(r, f->scope);
    for (uint32_t i = 0; i < f->n_param; i++) {
        fh_jval *v = &slot[f->param_slot[i]], given;
        if (v->kind != FH_J_MISSING) continue;
        if (f->fallback[i]) {
            if (!fh_jinja_eval(r, f->fallback[i], &given)) return false;
            *v = given;
        } else if (fh_jinja_printf(r, v, "parameter '%.*s' was not provided", FH_STR_ARG(f->param[i]))) {
            *v = (fh_jval){.kind = FH_J_UNDEF, .aux = FH_J_HINT, .len = v->len, .u.s = v->u.s};
        } else {
            return false;
        }
    }
    return true;
}

bool fh_jinja_macro_call(fh_jrun *r, fh_jmacro *m, const fh_jargs *a, fh_jval *out) {
    fh_jframe *back = r->frame, *f;
    size_t from = r->out.len;
    if (!fh_jinja_deeper(r) || !fh_jinja_new_frame(r, m->frame, m->f->n_slot, &f)) return false;
    r->frame = f;
    bool ok = fill_params(r, m->f, a) && fh_jinja_exec(r, &m->f->body) == FH_J_RAN && fh_jinja_take(r, from, out);
    r->frame = back;
    r->depth--;
    return ok;
}

/* ---- statements ---- */

static fh_jran done(bool ok) { return ok ? FH_J_RAN : FH_J_FAILED; }

/* Sums and joins of texts are written piece by piece instead of being put together first. What stands behind `from` in
 * the output is then the value (*written); otherwise it is *v. */
static bool write_or_eval(fh_jrun *r, const fh_jnode *n, fh_jval *v, bool *written);

static bool write_sum(fh_jrun *r, const fh_jnode *n, fh_jval *v, bool *written) {
    size_t from = r->out.len;
    fh_jval left, right;
    bool there;
    if (!write_or_eval(r, n->a, &left, &there) || !fh_jinja_eval(r, n->b, &right)) return false;
    bool plain = right.kind == FH_J_STR && !(right.flag & FH_J_SAFE);
    *written = plain && (there || (left.kind == FH_J_STR && !(left.flag & FH_J_SAFE)));
    if (*written) return (there || fh_jinja_add_str(r, &r->out, left)) && fh_jinja_add_str(r, &r->out, right);
    if (there && !fh_jinja_take(r, from, &left)) return false;
    r->line = n->line;
    return fh_jinja_arith(r, '+', left, right, v);
}

static bool write_or_eval(fh_jrun *r, const fh_jnode *n, fh_jval *v, bool *written) {
    bool sum = n->op == FH_J_ARITH && n->sub == '+';
    *written = false;
    if (!sum && n->op != FH_J_CONCAT) return fh_jinja_eval(r, n, v);
    if (!fh_jinja_pay(r, 1)) return false;
    if (r->nest >= FH_J_MAX_NEST) return fh_jinja_eval(r, n, v); /* which refuses */
    r->nest++;
    bool ok = true;
    if (sum) ok = write_sum(r, n, v, written);
    else
        for (uint32_t i = 0; ok && i < n->list.n; i++)
            ok = fh_jinja_eval(r, n->list.item[i], v) && fh_jinja_add_str(r, &r->out, *v);
    r->nest--;
    *written = *written || !sum;
    return ok;
}

static bool print(fh_jrun *r, const fh_jnode *n) {
    fh_jval v;
    bool written;
    if (!write_or_eval(r, n, &v, &written)) return false;
    r->line = n->line;
    return written || fh_jinja_add_str(r, &r->out, v);
}

static fh_jran exec_if(fh_jrun *r, const fh_jnode *n) {
    fh_jval v;
    if (!fh_jinja_eval(r, n->a, &v)) return FH_J_FAILED;
    if (fh_jinja_truth(v)) return fh_jinja_exec(r, &n->body);
    for (uint32_t i = 0; i < n->list.n; i++) {
        if (!fh_jinja_eval(r, n->list.item[i]->a, &v)) return FH_J_FAILED;
        if (fh_jinja_truth(v)) return fh_jinja_exec(r, &n->list.item[i]->body);
    }
    return fh_jinja_exec(r, &n->else_);
}

static bool exec_set(fh_jrun *r, const fh_jnode *n) {
    fh_jval v;
    return fh_jinja_eval(r, n->a, &v) && fh_jinja_assign(r, n->b, v);
}

/* The body's text, through the filter if there is one. */
static fh_jran capture(fh_jrun *r, const fh_jnode *n, fh_jval *out) {
    size_t from = r->out.len;
    fh_jinja_enter(r, n->scope);
    fh_jran ran = fh_jinja_exec(r, &n->body);
    if (ran != FH_J_RAN) {
        r->out.len = FH_MIN(from, r->out.len);
        return ran;
    }
    if (!fh_jinja_take(r, from, &r->captured)) return FH_J_FAILED;
    *out = r->captured;
    return done(!n->a || fh_jinja_eval(r, n->a, out));
}

static fh_jran exec_capture(fh_jrun *r, const fh_jnode *n) {
    fh_jval v;
    fh_jran ran = capture(r, n, &v);
    if (ran != FH_J_RAN) return ran;
    return done(n->op == FH_J_SET_BLOCK ? fh_jinja_assign(r, n->b, v) : fh_jinja_add_str(r, &r->out, v));
}

static fh_jran exec_with(fh_jrun *r, const fh_jnode *n) {
    fh_jinja_enter(r, n->scope);
    for (uint32_t i = 0; i < n->list.n; i += 2) {
        fh_jval v;
        if (!fh_jinja_eval(r, n->list.item[i + 1], &v) || !fh_jinja_assign(r, n->list.item[i], v)) return FH_J_FAILED;
    }
    return fh_jinja_exec(r, &n->body);
}

static bool exec_macro(fh_jrun *r, const fh_jnode *n) {
    fh_jval v;
    return make_macro(r, n->func, &v) && fh_jinja_assign(r, n->b, v);
}

static bool exec_call(fh_jrun *r, const fh_jnode *n) {
    fh_jval caller, v;
    fh_jargs none = {0};
    if (!make_macro(r, n->func, &caller)) return false;
    if (n->a ? !fh_jinja_eval_call(r, n->a, &caller, &v) : !fh_jinja_macro_call(r, caller.u.macro, &none, &v))
        return false;
    return fh_jinja_add_str(r, &r->out, v);
}

static bool exec_block(fh_jrun *r, const fh_jnode *n) {
    fh_jframe *back = r->frame, *f;
    if (!fh_jinja_deeper(r) || !fh_jinja_new_frame(r, n->sub ? back : NULL, n->func->n_slot, &f)) return false;
    r->frame = f;
    fh_jinja_enter(r, n->func->scope);
    bool ok = fh_jinja_exec(r, &n->func->body) == FH_J_RAN;
    r->frame = back;
    r->depth--;
    return ok;
}

static fh_jran exec_one(fh_jrun *r, const fh_jnode *n) {
    switch ((fh_jop)n->op) {
    case FH_J_IF: return exec_if(r, n);
    case FH_J_FOR: return fh_jinja_exec_for(r, n);
    case FH_J_SET: return done(exec_set(r, n));
    case FH_J_SET_BLOCK:
    case FH_J_FILTER_BLOCK: return exec_capture(r, n);
    case FH_J_WITH: return exec_with(r, n);
    case FH_J_SCOPE: fh_jinja_enter(r, n->scope); return fh_jinja_exec(r, &n->body);
    case FH_J_MACRO_DEF: return done(exec_macro(r, n));
    case FH_J_CALL_BLOCK: return done(exec_call(r, n));
    case FH_J_BLOCK: return done(exec_block(r, n));
    case FH_J_BREAK: return FH_J_BROKE;
    case FH_J_CONTINUE: return FH_J_CONTINUED;
    default: FH_BUG("an expression where a statement belongs");
    }
}

fh_jran fh_jinja_exec(fh_jrun *r, const fh_jnodes *body) {
    fh_jran ran = FH_J_RAN;
    if (body->n == 0) return ran;
    if (++r->nest > FH_J_MAX_NEST) {
        fh_jinja_fail_status(r, FH_ERR_LIMIT, "calls and blocks are nested too deeply");
        return FH_J_FAILED;
    }
    for (uint32_t i = 0; ran == FH_J_RAN && i < body->n; i++) {
        const fh_jnode *n = body->item[i];
        r->line = n->line;
        if (!fh_jinja_pay(r, 1)) return FH_J_FAILED;
        if (n->op == FH_J_DATA) ran = done(fh_jinja_add_str(r, &r->out, n->value));
        else if (n->op == FH_J_PRINT) ran = done(print(r, n->a));
        else ran = exec_one(r, n);
    }
    r->nest--;
    return ran;
}

bool fh_jinja_run(fh_jrun *r) {
    if (!fh_jinja_new_frame(r, NULL, r->t->n_slot, &r->frame)) return false;
    fh_jinja_enter(r, r->t->scope);
    if (fh_jinja_exec(r, &r->t->body) != FH_J_RAN) return false;
    if (r->out.status != FH_OK)
        return fh_jinja_fail_status(r, r->out.status, "more than the %zu bytes of output allowed", r->out.limit);
    return r->status == FH_OK;
}
