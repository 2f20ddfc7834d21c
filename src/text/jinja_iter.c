/* text/jinja_iter.c - going through lists, dicts, texts, ranges and generators.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. A generator runs once, one element at a time where that can be seen (map and select), and is empty
 * afterwards, as in Python. Refuses to go through what Python cannot. */
#include "base/num.h"
#include "text/jinja_lib.h"

bool fh_jinja_iter(fh_jrun *r, fh_jval v, fh_jiter *it) {
    *it = (fh_jiter){.over = v};
    switch ((fh_jkind)v.kind) {
    case FH_J_UNDEF: return true;
    case FH_J_STR: it->n = v.len; return true;
    case FH_J_LIST:
    case FH_J_TUPLE:
        it->item = v.u.list->item;
        it->n = v.u.list->n;
        return true;
    case FH_J_DICT:
    case FH_J_VIEW: it->n = v.u.dict->n; return true;
    case FH_J_RANGE: it->n = (uint32_t)v.u.range->n; return true; /* at most 100000 */
    case FH_J_GEN: return true;
    default: return fh_jinja_fail(r, "'%s' object is not iterable", fh_jinja_type(v));
    }
}

/* What map and select look at: 1 = it is part of the result. */
static int gen_one(fh_jrun *r, fh_jgen *g, fh_jval item, fh_jval *out) {
    fh_jval v = item;
    bool pass;
    if (g->by_attr && !fh_jinja_attr_path(r, item, g->attr, g->fallback, &v)) return -1;
    if (g->kind == FH_J_GEN_MAP) {
        *out = v;
        return g->row < 0 || fh_jinja_filter_call(r, g->row, v, &g->args, out) ? 1 : -1;
    }
    pass = fh_jinja_truth(v);
    if (g->row >= 0 && !fh_jinja_test_call(r, g->row, v, &g->args, &pass)) return -1;
    *out = item;
    return pass != g->negate;
}

static bool gen_start(fh_jrun *r, fh_jgen *g) {
    g->started = true;
    if (g->kind == FH_J_GEN_MAP || g->kind == FH_J_GEN_SELECT) {
        /* an empty or false source is not even looked at */
        if (!fh_jinja_truth(g->source)) g->source = (fh_jval){.kind = FH_J_UNDEF};
        return fh_jinja_iter(r, g->source, &g->iter);
    }
    if (g->kind != FH_J_GEN_LIST && !fh_jinja_gen_fill(r, g)) return false;
    return fh_jinja_iter(r, fh_jval_list(g->list), &g->iter);
}

static int gen_next(fh_jrun *r, fh_jgen *g, fh_jval *out) {
    fh_jval item;
    if (r->nest > FH_J_MAX_NEST) {
        fh_jinja_fail_status(r, FH_ERR_LIMIT, "generators are nested too deeply");
        return -1;
    }
    if (!g->started && !gen_start(r, g)) return -1;
    for (;;) {
        r->nest++;
        int more = fh_jinja_next(r, &g->iter, &item);
        r->nest--;
        if (more <= 0) return more;
        if (g->kind != FH_J_GEN_MAP && g->kind != FH_J_GEN_SELECT) {
            *out = item;
            return 1;
        }
        if (!fh_jinja_pay(r, 1)) return -1;
        more = gen_one(r, g, item, out);
        if (more) return more;
    }
}

int fh_jinja_next(fh_jrun *r, fh_jiter *it, fh_jval *out) {
    fh_jval v = it->over;
    if (v.kind == FH_J_GEN) return gen_next(r, v.u.gen, out);
    if (it->at >= it->n) return 0;
    switch ((fh_jkind)v.kind) {
    case FH_J_STR: {
        size_t n;
        (void)fh_jinja_decode(v.u.s + it->at, it->n - it->at, &n);
        *out = fh_jinja_cut(v, it->at, it->at + n);
        out->flag &= (uint8_t)~FH_J_SAFE;
        it->at += (uint32_t)n;
        return 1;
    }
    case FH_J_LIST:
    case FH_J_TUPLE: *out = it->item[it->at++]; return 1;
    case FH_J_RANGE: *out = fh_jval_int(v.u.range->start + v.u.range->step * (int64_t)it->at++); return 1;
    default: break;
    }
    const fh_jpair *p = &v.u.dict->item[it->at++];
    if (v.kind == FH_J_DICT || v.aux == FH_J_KEYS) *out = p->key;
    else if (v.aux == FH_J_VALUES) *out = p->value;
    else return fh_jinja_pair(r, p->key, p->value, out) ? 1 : -1;
    return 1;
}

bool fh_jinja_to_list(fh_jrun *r, fh_jval v, fh_jlist **out) {
    fh_jiter it;
    fh_jval item;
    int more;
    if (fh_jval_is_seq(v)) {
        *out = v.u.list;
        return true;
    }
    if (!fh_jinja_iter(r, v, &it)) return false;
    fh_jlist *l = fh_jinja_list(r, v.kind == FH_J_STR ? 0 : it.n);
    if (!l) return false;
    while ((more = fh_jinja_next(r, &it, &item)) > 0)
        if (!fh_jinja_pay(r, 1) || !fh_jinja_list_add(r, l, item)) return false;
    *out = l;
    return more == 0;
}

bool fh_jinja_gen(fh_jrun *r, fh_jgen_kind kind, fh_jval source, fh_jgen **gen, fh_jval *out) {
    fh_jgen *g = fh_jinja_alloc(r, 1, sizeof *g);
    if (!g) return false;
    g->kind = kind;
    g->source = source;
    g->row = -1;
    *gen = g;
    *out = (fh_jval){.kind = FH_J_GEN, .u.gen = g};
    return true;
}
