/* text/jinja_filter_seq.c - filters over sequences: map, select, sort, group, batch.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. map, select and their kin give generators, as in Jinja: they run when someone goes through them, and
 * once. Sorting is stable and n log n whatever the order; every comparison is paid for. */
#include "base/num.h"
#include "text/jinja_filter_part.h"

#define MISSING ((fh_jval){.kind = FH_J_MISSING})

static bool give(fh_jval v, fh_jval *out) {
    *out = v;
    return true;
}

/* Jinja takes an absent attribute and None for the same. */
static void drop_none(fh_jval *v) {
    if (v->kind == FH_J_NONE) *v = MISSING;
}

/* ---- attributes of elements ---- */

static bool all_digits(fh_str s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
    return s.len > 0;
}

bool fh_jinja_attr_path(fh_jrun *r, fh_jval item, fh_jval path, fh_jval fallback, fh_jval *out) {
    *out = item;
    if (path.kind == FH_J_MISSING) return true;
    if (path.kind != FH_J_STR) return fh_jinja_getitem(r, item, path, out);
    fh_str rest = fh_jval_text(path);
    for (bool more = true; more;) {
        size_t dot;
        more = fh_str_find(rest, '.', &dot);
        fh_str part = more ? fh_str_first(rest, dot) : rest;
        fh_jval key = fh_jval_str(part), next;
        rest = fh_str_drop(rest, part.len + 1);
        if (all_digits(part) && !fh_jinja_parse_int(part, 10, &key)) return fh_jinja_fail(r, "an index is too large");
        if (!fh_jinja_pay(r, 1) || !fh_jinja_getitem(r, *out, key, &next)) return false;
        *out = next.kind == FH_J_UNDEF && fallback.kind != FH_J_MISSING && fallback.kind != FH_J_NONE ? fallback : next;
    }
    return true;
}

static bool fold_case(fh_jrun *r, bool case_sensitive, fh_jval *v) {
    return case_sensitive || v->kind != FH_J_STR || fh_jinja_case(r, *v, FH_J_LOWER, v);
}

/* What an element is sorted by; several attributes, "a,b", give a list. */
static bool sort_key(fh_jrun *r, fh_jval item, fh_jval attr, fh_jval fallback, bool several, bool case_sensitive,
                     fh_jval *out) {
    size_t comma;
    if (!several || attr.kind != FH_J_STR || !fh_str_find(fh_jval_text(attr), ',', &comma))
        return fh_jinja_attr_path(r, item, attr, fallback, out) && fold_case(r, case_sensitive, out);
    fh_jlist *l = fh_jinja_list(r, 2);
    fh_str rest = fh_jval_text(attr);
    if (!l) return false;
    for (bool more = true; more;) {
        fh_jval v;
        more = fh_str_find(rest, ',', &comma);
        fh_str part = more ? fh_str_first(rest, comma) : rest;
        rest = fh_str_drop(rest, part.len + 1);
        if (!fh_jinja_attr_path(r, item, fh_jval_str(part), fallback, &v) || !fold_case(r, case_sensitive, &v))
            return false;
        if (!fh_jinja_list_add(r, l, v)) return false;
    }
    return give(fh_jval_list(l), out);
}

static bool keys_of(fh_jrun *r, const fh_jlist *items, fh_jval attr, fh_jval fallback, bool several,
                    bool case_sensitive, fh_jlist **out) {
    fh_jlist *keys = *out = fh_jinja_list(r, items->n);
    if (!keys) return false;
    for (uint32_t i = 0; i < items->n; i++, keys->n++)
        if (!fh_jinja_pay(r, 1) ||
            !sort_key(r, items->item[i], attr, fallback, several, case_sensitive, &keys->item[i]))
            return false;
    return true;
}

/* ---- sorting ---- */

static bool less(fh_jrun *r, fh_jval a, fh_jval b, bool reverse, bool *out) {
    return fh_jinja_pay(r, 1) &&
           (reverse ? fh_jinja_order(r, FH_J_LT, b, a, out) : fh_jinja_order(r, FH_J_LT, a, b, out));
}

bool fh_jinja_sort(fh_jrun *r, fh_jlist *items, const fh_jlist *keys, bool reverse) {
    uint32_t n = items->n;
    uint32_t *a = fh_jinja_alloc(r, n, sizeof *a), *b = fh_jinja_alloc(r, n, sizeof *b);
    fh_jval *sorted = fh_jinja_alloc(r, n, sizeof *sorted);
    if (!a || !b || !sorted) return false;
    for (uint32_t i = 0; i < n; i++) a[i] = i;
    for (uint32_t width = 1; width < n; width *= 2) {
        for (uint32_t from = 0; from < n; from += 2 * width) {
            uint32_t middle = FH_MIN(from + width, n), end = FH_MIN(middle + width, n), i = from, k = middle;
            for (uint32_t to = from; to < end; to++) {
                bool right = i == middle;
                if (!right && k < end && !less(r, keys->item[a[k]], keys->item[a[i]], reverse, &right)) return false;
                b[to] = right ? a[k++] : a[i++];
            }
        }
        uint32_t *swap = a;
        a = b;
        b = swap;
    }
    for (uint32_t i = 0; i < n; i++) sorted[i] = items->item[a[i]];
    items->item = sorted;
    return true;
}

bool fh_jinja_sorted_dict(fh_jrun *r, const fh_jdict *in, const fh_jdict **out) {
    fh_jlist *keys = fh_jinja_list(r, in->n);
    fh_jdict *sorted = fh_jinja_dict(r, in->n);
    if (!keys || !sorted) return false;
    for (uint32_t i = 0; i < in->n; i++) keys->item[keys->n++] = in->item[i].key;
    if (!fh_jinja_sort(r, keys, keys, false)) return false;
    for (uint32_t i = 0; i < in->n; i++) {
        fh_jval *v;
        if (!fh_jinja_dict_find(r, in, keys->item[i], &v)) return false;
        if (!v || !fh_jinja_dict_put(r, sorted, keys->item[i], *v)) return false;
    }
    *out = sorted;
    return true;
}

static bool copy_list(fh_jrun *r, fh_jval v, fh_jlist **out) {
    fh_jlist *l, *copy;
    if (!fh_jinja_to_list(r, v, &l)) return false;
    copy = *out = fh_jinja_list(r, l->n);
    if (!copy) return false;
    if (l->n) memcpy(copy->item, l->item, l->n * sizeof *l->item);
    copy->n = l->n;
    return true;
}

bool fh_jinja_f_sort(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[3];
    fh_jlist *l, *keys;
    if (!fh_jinja_bind(r, a, "sort", "reverse case_sensitive attribute", 0, arg, 3) || !copy_list(r, v, &l))
        return false;
    drop_none(&arg[2]);
    return keys_of(r, l, arg[2], MISSING, true, fh_jinja_truth(arg[1]), &keys) &&
           fh_jinja_sort(r, l, keys, fh_jinja_truth(arg[0])) && give(fh_jval_list(l), out);
}

bool fh_jinja_f_dictsort(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[3];
    fh_jlist *pairs, *keys;
    if (!fh_jinja_bind(r, a, "dictsort", "case_sensitive by reverse", 0, arg, 3)) return false;
    bool by_value = fh_jval_is_str(arg[1], "value");
    if (!by_value && arg[1].kind != FH_J_MISSING && !fh_jval_is_str(arg[1], "key"))
        return fh_jinja_fail(r, "dictsort: by must be \"key\" or \"value\"");
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (v.kind != FH_J_DICT) return fh_jinja_fail(r, "'%s' object has no attribute 'items'", fh_jinja_type(v));
    fh_jval items = {.kind = FH_J_VIEW, .aux = FH_J_ITEMS, .u.dict = v.u.dict};
    return copy_list(r, items, &pairs) &&
           keys_of(r, pairs, fh_jval_int(by_value), MISSING, false, fh_jinja_truth(arg[0]), &keys) &&
           fh_jinja_sort(r, pairs, keys, fh_jinja_truth(arg[2])) && give(fh_jval_list(pairs), out);
}

static bool extreme(fh_jrun *r, fh_jval v, const fh_jargs *a, bool max, fh_jval *out) {
    fh_jval arg[2], best_key = MISSING;
    fh_jlist *l, *keys;
    if (!fh_jinja_bind(r, a, max ? "max" : "min", "case_sensitive attribute", 0, arg, 2)) return false;
    drop_none(&arg[1]);
    if (!fh_jinja_to_list(r, v, &l) || !keys_of(r, l, arg[1], MISSING, false, fh_jinja_truth(arg[0]), &keys))
        return false;
    if (l->n == 0) return give(fh_jval_hint(FH_STR("No aggregated item, sequence was empty.")), out);
    for (uint32_t i = 0; i < l->n; i++) {
        bool better = i == 0;
        if (i && !less(r, keys->item[i], best_key, max, &better)) return false;
        if (!better) continue;
        best_key = keys->item[i];
        *out = l->item[i];
    }
    return true;
}

bool fh_jinja_f_max(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) { return extreme(r, v, a, true, out); }
bool fh_jinja_f_min(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) { return extreme(r, v, a, false, out); }

bool fh_jinja_f_groupby(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[3];
    fh_jlist *l, *keys, *order, *groups = fh_jinja_list(r, 0), *members = NULL;
    if (!groups || !fh_jinja_bind(r, a, "groupby", "attribute default case_sensitive", 1, arg, 3)) return false;
    bool exact = fh_jinja_truth(arg[2]), same = false;
    if (!copy_list(r, v, &l) || !keys_of(r, l, arg[0], arg[1], false, exact, &keys)) return false;
    order = fh_jinja_list(r, keys->n);
    if (!order) return false;
    for (uint32_t i = 0; i < keys->n; i++) order->item[order->n++] = keys->item[i];
    if (!fh_jinja_sort(r, l, keys, false) || !fh_jinja_sort(r, order, keys, false)) return false;
    for (uint32_t i = 0; i < l->n; i++) {
        fh_jval group, name = order->item[i];
        if (i && !fh_jinja_equal(r, order->item[i - 1], order->item[i], &same)) return false;
        if (!same || i == 0) {
            /* the name as the group's first element spells it */
            if (!exact && !fh_jinja_attr_path(r, l->item[i], arg[0], arg[1], &name)) return false;
            members = fh_jinja_list(r, 4);
            if (!members || !fh_jinja_pair(r, name, fh_jval_list(members), &group)) return false;
            group.aux = 1; /* .grouper and .list */
            if (!fh_jinja_list_add(r, groups, group)) return false;
        }
        if (!fh_jinja_list_add(r, members, l->item[i])) return false;
    }
    return give(fh_jval_list(groups), out);
}

/* ---- generators ---- */

/* Arguments behind the first n, kept for as long as the generator lives. */
static bool keep_args(fh_jrun *r, const fh_jargs *a, uint32_t n, fh_jargs *out) {
    fh_jval *pos = fh_jinja_alloc(r, a->n_pos - n, sizeof *pos);
    fh_jkw *kw = fh_jinja_alloc(r, a->n_kw, sizeof *kw);
    if (!pos || !kw) return false;
    if (a->n_pos > n) memcpy(pos, a->pos + n, (a->n_pos - n) * sizeof *pos);
    if (a->n_kw) memcpy(kw, a->kw, a->n_kw * sizeof *kw);
    *out = (fh_jargs){pos, kw, a->n_pos - n, a->n_kw};
    return true;
}

bool fh_jinja_f_map(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jgen *g;
    if (!fh_jinja_gen(r, FH_J_GEN_MAP, v, &g, out)) return false;
    g->attr = g->fallback = MISSING;
    if (a->n_pos == 0) {
        fh_jval arg[2];
        if (!fh_jinja_bind(r, a, "map", "attribute default", 1, arg, 2)) return false;
        drop_none(&arg[0]);
        g->by_attr = true;
        g->attr = arg[0];
        g->fallback = arg[1];
        return true;
    }
    if (a->pos[0].kind != FH_J_STR) return fh_jinja_fail(r, "map: the name of a filter must be a text");
    g->row = fh_jinja_filter_find(fh_jval_text(a->pos[0]));
    if (g->row < 0 || a->pos[0].u.s[0] == '!')
        return fh_jinja_fail(r, "No filter named '%.*s'.", FH_STR_ARG(fh_jval_text(a->pos[0])));
    return keep_args(r, a, 1, &g->args);
}

static bool select_by(fh_jrun *r, fh_jval v, const fh_jargs *a, bool by_attr, bool negate, fh_jval *out) {
    fh_jgen *g;
    uint32_t at = by_attr ? 1 : 0;
    if (!fh_jinja_gen(r, FH_J_GEN_SELECT, v, &g, out)) return false;
    g->by_attr = by_attr;
    g->negate = negate;
    g->attr = g->fallback = MISSING;
    if (by_attr) {
        if (a->n_pos == 0) return fh_jinja_fail(r, "the name of the attribute is missing");
        g->attr = a->pos[0];
        drop_none(&g->attr);
    }
    if (a->n_pos <= at) return true;
    if (a->pos[at].kind != FH_J_STR) return fh_jinja_fail(r, "the name of a test must be a text");
    g->row = fh_jinja_test_find(fh_jval_text(a->pos[at]));
    if (g->row < 0) return fh_jinja_fail(r, "No test named '%.*s'.", FH_STR_ARG(fh_jval_text(a->pos[at])));
    return keep_args(r, a, at + 1, &g->args);
}

bool fh_jinja_f_select(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return select_by(r, v, a, false, false, out);
}
bool fh_jinja_f_reject(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return select_by(r, v, a, false, true, out);
}
bool fh_jinja_f_selectattr(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return select_by(r, v, a, true, false, out);
}
bool fh_jinja_f_rejectattr(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return select_by(r, v, a, true, true, out);
}

static bool later(fh_jrun *r, fh_jgen_kind kind, fh_jval v, const fh_jargs *a, const char *what, const char *names,
                  uint32_t n_required, fh_jval *out) {
    fh_jval *arg = fh_jinja_alloc(r, 2, sizeof *arg);
    fh_jgen *g;
    if (!arg || !fh_jinja_bind(r, a, what, names, n_required, arg, 2) || !fh_jinja_gen(r, kind, v, &g, out))
        return false;
    g->args = (fh_jargs){.pos = arg, .n_pos = 2};
    return true;
}

bool fh_jinja_f_batch(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return later(r, FH_J_GEN_BATCH, v, a, "batch", "linecount fill_with", 1, out);
}
bool fh_jinja_f_slice(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return later(r, FH_J_GEN_SLICE, v, a, "slice", "slices fill_with", 1, out);
}
bool fh_jinja_f_unique(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return later(r, FH_J_GEN_UNIQUE, v, a, "unique", "case_sensitive attribute", 0, out);
}

static bool fill_batch(fh_jrun *r, fh_jlist *in, fh_jgen *g) {
    int64_t width = 0;
    fh_jval with = g->args.pos[1];
    fh_jlist *row = NULL;
    if (!fh_jinja_arg_int(r, g->args.pos[0], "linecount", &width)) return false;
    for (uint32_t i = 0; i < in->n; i++) {
        if (!row || row->n == width) {
            row = fh_jinja_list(r, 0);
            if (!row || !fh_jinja_list_add(r, g->list, fh_jval_list(row))) return false;
        }
        if (!fh_jinja_list_add(r, row, in->item[i])) return false;
    }
    if (!row || with.kind == FH_J_MISSING || with.kind == FH_J_NONE) return true;
    while (row->n < width)
        if (!fh_jinja_pay(r, 1) || !fh_jinja_list_add(r, row, with)) return false;
    return true;
}

static bool fill_slice(fh_jrun *r, fh_jlist *in, fh_jgen *g) {
    int64_t n = 0, at = 0;
    fh_jval with = g->args.pos[1];
    if (!fh_jinja_arg_int(r, g->args.pos[0], "slices", &n)) return false;
    if (n == 0) return fh_jinja_fail(r, "integer division or modulo by zero");
    for (int64_t k = 0; k < n; k++) {
        int64_t each = in->n / n + (k < in->n % n);
        fh_jlist *row = fh_jinja_list(r, (uint32_t)each);
        if (!row || !fh_jinja_pay(r, 1) || !fh_jinja_list_add(r, g->list, fh_jval_list(row))) return false;
        for (int64_t i = 0; i < each; i++) row->item[row->n++] = in->item[at++];
        bool fill = with.kind != FH_J_MISSING && with.kind != FH_J_NONE && k >= in->n % n;
        if (fill && !fh_jinja_list_add(r, row, with)) return false;
    }
    return true;
}

static bool fill_unique(fh_jrun *r, fh_jlist *in, fh_jgen *g) {
    fh_jdict *seen = fh_jinja_dict(r, 0);
    fh_jval attr = g->args.pos[1];
    if (!seen) return false;
    drop_none(&attr);
    for (uint32_t i = 0; i < in->n; i++) {
        fh_jval key, *found;
        if (!fh_jinja_pay(r, 1) ||
            !sort_key(r, in->item[i], attr, MISSING, false, fh_jinja_truth(g->args.pos[0]), &key))
            return false;
        if (!fh_jinja_dict_find(r, seen, key, &found)) return false;
        if (found) continue;
        if (!fh_jinja_dict_put(r, seen, key, fh_jval_none()) || !fh_jinja_list_add(r, g->list, in->item[i]))
            return false;
    }
    return true;
}

bool fh_jinja_gen_fill(fh_jrun *r, fh_jgen *g) {
    fh_jlist *in;
    fh_jval v = g->source;
    g->list = fh_jinja_list(r, 0);
    if (!g->list) return false;
    if (g->kind == FH_J_GEN_ITEMS) {
        if (v.kind == FH_J_UNDEF) return true;
        if (v.kind != FH_J_DICT) return fh_jinja_fail(r, "Can only get item pairs from a mapping.");
        v = (fh_jval){.kind = FH_J_VIEW, .aux = FH_J_ITEMS, .u.dict = v.u.dict};
    }
    if (!fh_jinja_to_list(r, v, &in)) return false;
    switch (g->kind) {
    case FH_J_GEN_BATCH: return fill_batch(r, in, g);
    case FH_J_GEN_SLICE: return fill_slice(r, in, g);
    case FH_J_GEN_UNIQUE: return fill_unique(r, in, g);
    case FH_J_GEN_REVERSED:
        for (uint32_t i = in->n; i > 0; i--)
            if (!fh_jinja_list_add(r, g->list, in->item[i - 1])) return false;
        return true;
    default: g->list = in; return true;
    }
}
