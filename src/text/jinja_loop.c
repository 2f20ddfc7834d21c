/* text/jinja_loop.c - for loops and the `loop` variable.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: a loop's state lives in the run's arena, for a template may keep it.
 * A loop's condition is asked element by element, also for those that loop.last looks ahead to, and loop.length takes
 * all the rest first: the order in which a template's own side effects happen is the reference's. */
#include "base/num.h"
#include "text/jinja_exec_part.h"

struct fh_jloop {
    const fh_jnode *node;
    fh_jframe *frame; /* the body's */
    fh_jval source;
    fh_jiter it;
    fh_jlist *rest; /* once the length was asked for, where it was not known */
    uint32_t rest_at;
    int64_t index0, length;         /* -1: not started; not known */
    fh_jval before, current, after; /* MISSING: none */
    uint32_t depth0;
    fh_jlist *last_changed;
};

/* The next element that meets the condition. */
static int pull(fh_jrun *r, fh_jloop *l, fh_jval *out) {
    fh_jval pass;
    const fh_jnode *n = l->node;
    if (l->rest) {
        if (l->rest_at == l->rest->n) return 0;
        *out = l->rest->item[l->rest_at++];
        return 1;
    }
    for (;;) {
        int more = fh_jinja_next(r, &l->it, out);
        if (more <= 0 || !n->c) return more;
        fh_jframe *back = r->frame;
        r->frame = l->frame;
        fh_jinja_enter(r, n->scope3);
        bool ok = fh_jinja_assign(r, n->scope3->target, *out) && fh_jinja_eval(r, n->c, &pass);
        r->frame = back;
        if (!ok) return -1;
        if (fh_jinja_truth(pass)) return 1;
    }
}

static int step(fh_jrun *r, fh_jloop *l) {
    fh_jval v = l->after;
    if (v.kind == FH_J_MISSING) {
        int more = pull(r, l, &v);
        if (more <= 0) return more;
    }
    l->after.kind = FH_J_MISSING;
    l->index0++;
    l->before = l->current;
    l->current = v;
    return 1;
}

static bool peek(fh_jrun *r, fh_jloop *l, bool *there) {
    if (l->after.kind == FH_J_MISSING) {
        int more = pull(r, l, &l->after);
        if (more < 0) return false;
        if (more == 0) l->after.kind = FH_J_MISSING;
    }
    *there = l->after.kind != FH_J_MISSING;
    return true;
}

static bool length_of(fh_jrun *r, fh_jloop *l, int64_t *out) {
    if (l->length < 0 && !l->node->c && fh_jinja_has_length(l->source)) {
        if (!fh_jinja_length(r, l->source, &l->length)) return false;
    }
    if (l->length < 0) {
        fh_jlist *rest = fh_jinja_list(r, 0);
        fh_jval v;
        int more;
        if (!rest) return false;
        while ((more = pull(r, l, &v)) > 0)
            if (!fh_jinja_pay(r, 1) || !fh_jinja_list_add(r, rest, v)) return false;
        if (more < 0) return false;
        l->rest = rest;
        l->rest_at = 0;
        l->length = rest->n + l->index0 + 1 + (l->after.kind != FH_J_MISSING);
    }
    *out = l->length;
    return true;
}

bool fh_jinja_loop_attr(fh_jrun *r, fh_jval loop, fh_str name, bool *found, fh_jval *out) {
    fh_jloop *l = loop.u.loop;
    int64_t n = 0;
    bool there;
    *found = true;
    if (fh_str_is(name, "index")) return *out = fh_jval_int(l->index0 + 1), true;
    if (fh_str_is(name, "index0")) return *out = fh_jval_int(l->index0), true;
    if (fh_str_is(name, "first")) return *out = fh_jval_bool(l->index0 == 0), true;
    if (fh_str_is(name, "depth")) return *out = fh_jval_int((int64_t)l->depth0 + 1), true;
    if (fh_str_is(name, "depth0")) return *out = fh_jval_int(l->depth0), true;
    if (fh_str_is(name, "last")) {
        if (!peek(r, l, &there)) return false;
        return *out = fh_jval_bool(!there), true;
    }
    if (fh_str_is(name, "previtem")) {
        *out = l->index0 > 0 ? l->before : fh_jval_hint(FH_STR("there is no previous item"));
        return true;
    }
    if (fh_str_is(name, "nextitem")) {
        if (!peek(r, l, &there)) return false;
        return *out = there ? l->after : fh_jval_hint(FH_STR("there is no next item")), true;
    }
    bool is_length = fh_str_is(name, "length"), rev = fh_str_is(name, "revindex"), rev0 = fh_str_is(name, "revindex0");
    if (is_length || rev || rev0) {
        if (!length_of(r, l, &n)) return false;
        return *out = fh_jval_int(is_length ? n : rev ? n - l->index0 : n - l->index0 - 1), true;
    }
    *found = false;
    return true;
}

size_t fh_jinja_loop_text(fh_jrun *r, fh_jloop *loop, char *out, size_t size) {
    int64_t n = 0;
    (void)length_of(r, loop, &n);
    return (size_t)snprintf(out, size, "<LoopContext %lld/%lld>", (long long)loop->index0 + 1, (long long)n);
}

bool fh_jinja_loop_cycle(fh_jrun *r, fh_jloop *loop, const fh_jargs *a, fh_jval *out) {
    if (a->n_kw || a->n_pos == 0) return fh_jinja_fail(r, "no items for cycling given");
    *out = a->pos[loop->index0 % a->n_pos];
    return true;
}

bool fh_jinja_loop_changed(fh_jrun *r, fh_jloop *loop, const fh_jargs *a, fh_jval *out) {
    bool same = false;
    fh_jlist *now = fh_jinja_list(r, a->n_pos);
    if (!now) return false;
    for (uint32_t i = 0; i < a->n_pos; i++) now->item[now->n++] = a->pos[i];
    if (loop->last_changed && !fh_jinja_equal(r, fh_jval_tuple(loop->last_changed), fh_jval_tuple(now), &same))
        return false;
    if (!same) loop->last_changed = now;
    *out = fh_jval_bool(!same);
    return true;
}

/* ---- running ---- */

static fh_jran run_body(fh_jrun *r, fh_jloop *l, bool *any) {
    const fh_jnode *n = l->node;
    fh_jran ran = FH_J_RAN;
    int more;
    while ((more = step(r, l)) > 0) {
        if (!fh_jinja_pay(r, 1)) return FH_J_FAILED;
        fh_jinja_enter(r, n->scope);
        if (n->scope->loop_slot >= 0) r->frame->slot[n->scope->loop_slot] = (fh_jval){.kind = FH_J_LOOP, .u.loop = l};
        if (!fh_jinja_assign(r, n->b, l->current)) return FH_J_FAILED;
        ran = fh_jinja_exec(r, &n->body);
        if (ran == FH_J_FAILED || ran == FH_J_BROKE) break;
        /* an element that `continue` leaves does not count for `else`, as in the reference */
        *any = *any || ran == FH_J_RAN;
    }
    r->line = n->line;
    return more < 0 || ran == FH_J_FAILED ? FH_J_FAILED : FH_J_RAN;
}

/* Over the elements in the current frame. Loops that nothing refers to live on the C stack. */
static fh_jran run_loop(fh_jrun *r, const fh_jnode *n, fh_jval over, uint32_t depth0) {
    fh_jloop here, *l = &here;
    bool any = false;
    if (n->scope->loop_slot >= 0) {
        l = fh_jinja_alloc(r, 1, sizeof *l);
        if (!l) return FH_J_FAILED;
    }
    *l = (fh_jloop){.node = n, .frame = r->frame, .source = over, .index0 = -1, .length = -1, .depth0 = depth0};
    if (!fh_jinja_iter(r, over, &l->it)) return FH_J_FAILED;
    fh_jran ran = run_body(r, l, &any);
    if (ran != FH_J_RAN || any || !n->scope2) return ran;
    fh_jinja_enter(r, n->scope2);
    return fh_jinja_exec(r, &n->else_);
}

static fh_jran run_recursive(fh_jrun *r, const fh_jnode *n, fh_jframe *outer, fh_jval over, uint32_t depth0) {
    fh_jframe *back = r->frame, *f;
    if (!fh_jinja_deeper(r) || !fh_jinja_new_frame(r, outer, n->func->n_slot, &f)) return FH_J_FAILED;
    r->frame = f;
    fh_jran ran = run_loop(r, n, over, depth0);
    r->frame = back;
    r->depth--;
    return ran;
}

fh_jran fh_jinja_exec_for(fh_jrun *r, const fh_jnode *n) {
    fh_jval over;
    if (!fh_jinja_eval(r, n->a, &over)) return FH_J_FAILED;
    r->line = n->line;
    return n->sub ? run_recursive(r, n, r->frame, over, 0) : run_loop(r, n, over, 0);
}

/* loop(children) */
bool fh_jinja_loop_call(fh_jrun *r, fh_jloop *loop, const fh_jargs *a, fh_jval *out) {
    size_t from = r->out.len;
    if (!loop->node->sub) return fh_jinja_fail(r, "the loop must have the 'recursive' marker to be called recursively");
    if (a->n_pos != 1 || a->n_kw) return fh_jinja_fail(r, "a recursive loop takes exactly one argument");
    return run_recursive(r, loop->node, loop->frame->outer, a->pos[0], loop->depth0 + 1) == FH_J_RAN &&
           fh_jinja_take(r, from, out);
}
