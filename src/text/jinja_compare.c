/* text/jinja_compare.c - truth, equality, order, membership and hashes of values, as Python has them.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Refuses what Python refuses: an order between texts and numbers, lists as keys.
 * Depth is bounded by FH_J_MAX_DATA_DEPTH, work is paid for in steps. */
#include "text/jinja_lib.h"

#include <math.h>

#include "base/num.h"

const char *fh_jinja_type(fh_jval v) {
    static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
    switch ((fh_jkind)v.kind) {
    case FH_J_MISSING: return "missing";
    case FH_J_UNDEF: return "Undefined";
    case FH_J_NONE: return "NoneType";
    case FH_J_BOOL: return "bool";
    case FH_J_INT:
    case FH_J_BIG: return "int";
    case FH_J_FLOAT: return "float";
    case FH_J_STR: return "str";
    case FH_J_LIST: return "list";
    case FH_J_TUPLE: return "tuple";
    case FH_J_DICT: return "dict";
    case FH_J_VIEW: return views[v.aux <= FH_J_ITEMS ? v.aux : 0];
    case FH_J_RANGE: return "range";
    case FH_J_NAMESPACE: return "Namespace";
    case FH_J_GEN: return "generator";
    case FH_J_MACRO: return "Macro";
    case FH_J_LOOP: return "LoopContext";
    case FH_J_METHOD: return "builtin_function_or_method";
    case FH_J_FUNC: return "function";
    case FH_J_CYCLER: return "Cycler";
    case FH_J_JOINER: return "Joiner";
    }
    return "object";
}

bool fh_jinja_truth(fh_jval v) {
    switch ((fh_jkind)v.kind) {
    case FH_J_MISSING:
    case FH_J_UNDEF:
    case FH_J_NONE: return false;
    case FH_J_BOOL:
    case FH_J_INT: return v.u.i != 0;
    case FH_J_FLOAT: return v.u.f != 0;
    case FH_J_STR: return v.len != 0;
    case FH_J_LIST:
    case FH_J_TUPLE: return v.u.list->n != 0;
    case FH_J_DICT:
    case FH_J_VIEW: return v.u.dict->n != 0;
    case FH_J_RANGE: return v.u.range->n != 0;
    default: return true;
    }
}

bool fh_jinja_has_length(fh_jval v) {
    switch ((fh_jkind)v.kind) {
    case FH_J_UNDEF:
    case FH_J_STR:
    case FH_J_LIST:
    case FH_J_TUPLE:
    case FH_J_DICT:
    case FH_J_VIEW:
    case FH_J_LOOP:
    case FH_J_RANGE: return true;
    default: return false;
    }
}

bool fh_jinja_length(fh_jrun *r, fh_jval v, int64_t *out) {
    bool found;
    fh_jval n;
    switch ((fh_jkind)v.kind) {
    case FH_J_UNDEF: *out = 0; return true;
    case FH_J_STR: *out = (int64_t)fh_jinja_count(v); return fh_jinja_pay_bytes(r, v.len);
    case FH_J_LIST:
    case FH_J_TUPLE: *out = v.u.list->n; return true;
    case FH_J_DICT:
    case FH_J_VIEW: *out = v.u.dict->n; return true;
    case FH_J_RANGE: *out = v.u.range->n; return true;
    case FH_J_LOOP:
        if (!fh_jinja_loop_attr(r, v, FH_STR("length"), &found, &n)) return false;
        *out = n.u.i;
        return true;
    default: return fh_jinja_fail(r, "object of type '%s' has no len()", fh_jinja_type(v));
    }
}

bool fh_jinja_iterable(fh_jval v) {
    switch ((fh_jkind)v.kind) {
    case FH_J_UNDEF:
    case FH_J_STR:
    case FH_J_LIST:
    case FH_J_TUPLE:
    case FH_J_DICT:
    case FH_J_VIEW:
    case FH_J_RANGE:
    case FH_J_LOOP:
    case FH_J_GEN: return true;
    default: return false;
    }
}

/* ---- equality ---- */

static bool deeper(fh_jrun *r) {
    if (++r->nest <= FH_J_MAX_NEST) return true;
    return fh_jinja_fail_status(r, FH_ERR_LIMIT, "values are nested too deeply");
}

static bool lists_equal(fh_jrun *r, const fh_jlist *a, const fh_jlist *b, bool *out) {
    *out = a->n == b->n;
    if (a == b) return true;
    for (uint32_t i = 0; *out && i < a->n; i++)
        if (!fh_jinja_equal(r, a->item[i], b->item[i], out)) return false;
    return true;
}

static bool dicts_equal(fh_jrun *r, const fh_jdict *a, const fh_jdict *b, bool *out) {
    *out = a->n == b->n;
    if (a == b) return true;
    for (uint32_t i = 0; *out && i < a->n; i++) {
        fh_jval *other;
        if (!fh_jinja_dict_find(r, b, a->item[i].key, &other)) return false;
        *out = other != NULL;
        if (other && !fh_jinja_equal(r, a->item[i].value, *other, out)) return false;
    }
    return true;
}

static bool ranges_equal(const fh_jrange *a, const fh_jrange *b) {
    if (a->n != b->n) return false;
    return a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step));
}

/* An integer and a double: exactly, without rounding the integer. */
static int compare_mixed(int64_t i, double f) {
    if (isnan(f)) return 2;
    if (f >= 9223372036854775808.0) return -1;
    if (f < -9223372036854775808.0) return 1;
    int64_t whole = (int64_t)f;
    if (i != whole) return i < whole ? -1 : 1;
    double rest = f - (double)whole;
    return rest > 0 ? -1 : rest < 0 ? 1 : 0;
}

/* -1, 0, 1; 2: not comparable (NaN) */
static int compare_numbers(fh_jval a, fh_jval b) {
    if (a.kind != FH_J_FLOAT && b.kind != FH_J_FLOAT) return a.u.i < b.u.i ? -1 : a.u.i > b.u.i;
    if (a.kind == FH_J_FLOAT && b.kind == FH_J_FLOAT)
        return isnan(a.u.f) || isnan(b.u.f) ? 2 : a.u.f < b.u.f ? -1 : a.u.f > b.u.f;
    if (a.kind != FH_J_FLOAT) return compare_mixed(a.u.i, b.u.f);
    int c = compare_mixed(b.u.i, a.u.f);
    return c == 2 ? 2 : -c;
}

bool fh_jinja_equal(fh_jrun *r, fh_jval a, fh_jval b, bool *out) {
    *out = false;
    if (fh_jval_is_number(a) && fh_jval_is_number(b)) {
        *out = compare_numbers(a, b) == 0;
        return true;
    }
    if (a.kind != b.kind) {
        if (a.kind == FH_J_VIEW || b.kind == FH_J_VIEW) return true;
        return true;
    }
    if (!fh_jinja_pay(r, 1)) return false;
    bool ok = true;
    switch ((fh_jkind)a.kind) {
    case FH_J_MISSING:
    case FH_J_UNDEF:
    case FH_J_NONE: *out = true; return true;
    case FH_J_BIG:
    case FH_J_STR:
        *out = a.len == b.len && memcmp(a.u.s, b.u.s, a.len) == 0;
        return fh_jinja_pay_bytes(r, *out ? a.len : 0);
    case FH_J_LIST:
    case FH_J_TUPLE:
        ok = deeper(r) && lists_equal(r, a.u.list, b.u.list, out);
        r->nest--;
        return ok;
    case FH_J_NAMESPACE: *out = a.u.dict == b.u.dict; return true;
    case FH_J_DICT:
        ok = deeper(r) && dicts_equal(r, a.u.dict, b.u.dict, out);
        r->nest--;
        return ok;
    case FH_J_VIEW: *out = a.aux == b.aux && a.u.dict == b.u.dict; return true;
    case FH_J_RANGE: *out = ranges_equal(a.u.range, b.u.range); return true;
    default: *out = a.u.s == b.u.s; return true;
    }
}

/* ---- order ---- */

/* c: below, at or above 0 */
static bool holds(fh_jorder op, int c) {
    switch (op) {
    case FH_J_LT: return c < 0;
    case FH_J_LE: return c <= 0;
    case FH_J_GT: return c > 0;
    case FH_J_GE: return c >= 0;
    }
    return false;
}

static bool order_lists(fh_jrun *r, fh_jorder op, const fh_jlist *a, const fh_jlist *b, bool *out) {
    uint32_t n = FH_MIN(a->n, b->n);
    for (uint32_t i = 0; i < n; i++) {
        bool same;
        if (!fh_jinja_equal(r, a->item[i], b->item[i], &same)) return false;
        if (!same) return fh_jinja_order(r, op, a->item[i], b->item[i], out);
    }
    *out = holds(op, a->n < b->n ? -1 : a->n > b->n);
    return true;
}

bool fh_jinja_order(fh_jrun *r, fh_jorder op, fh_jval a, fh_jval b, bool *out) {
    static const char *const sign[] = {"<", "<=", ">", ">="};
    if (fh_jval_is_number(a) && fh_jval_is_number(b)) {
        int c = compare_numbers(a, b);
        *out = c != 2 && holds(op, c);
        return true;
    }
    if (!fh_jinja_pay(r, 1)) return false;
    if (a.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, a);
    if (b.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, b);
    if (a.kind == FH_J_STR && b.kind == FH_J_STR) {
        /* the order of UTF-8 bytes is that of code points */
        *out = holds(op, fh_str_cmp(fh_jval_text(a), fh_jval_text(b)));
        return fh_jinja_pay_bytes(r, FH_MIN(a.len, b.len));
    }
    if (fh_jval_is_seq(a) && a.kind == b.kind) {
        bool ok = deeper(r) && order_lists(r, op, a.u.list, b.u.list, out);
        r->nest--;
        return ok;
    }
    return fh_jinja_fail(r, "'%s' not supported between instances of '%s' and '%s'", sign[op], fh_jinja_type(a),
                         fh_jinja_type(b));
}

/* ---- membership ---- */

static bool in_any(fh_jrun *r, fh_jval seq, fh_jval what, bool *out) {
    fh_jiter it;
    fh_jval v;
    int more;
    *out = false;
    if (!fh_jinja_iter(r, seq, &it)) return false;
    while (!*out && (more = fh_jinja_next(r, &it, &v)) != 0)
        if (more < 0 || !fh_jinja_pay(r, 1) || !fh_jinja_equal(r, what, v, out)) return false;
    return true;
}

bool fh_jinja_contains(fh_jrun *r, fh_jval seq, fh_jval what, bool *out) {
    fh_jval *found;
    size_t at;
    switch ((fh_jkind)seq.kind) {
    case FH_J_STR:
        if (what.kind == FH_J_UNDEF)
            return fh_jinja_fail(r, "'in <string>' requires string as left operand, not Undefined");
        if (what.kind != FH_J_STR)
            return fh_jinja_fail(r, "'in <string>' requires string as left operand, not %s", fh_jinja_type(what));
        *out = fh_jinja_find(fh_jval_text(seq), fh_jval_text(what), 0, &at);
        return fh_jinja_pay_bytes(r, seq.len);
    case FH_J_VIEW:
        if (seq.aux != FH_J_KEYS) return in_any(r, seq, what, out);
        break;
    case FH_J_DICT: break;
    default:
        if (!fh_jinja_iterable(seq))
            return fh_jinja_fail(r, "argument of type '%s' is not iterable", fh_jinja_type(seq));
        return in_any(r, seq, what, out);
    }
    if (!fh_jinja_dict_find(r, seq.u.dict, what, &found)) return false;
    *out = found != NULL;
    return true;
}

/* ---- hashes ---- */

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

static uint64_t hash_bytes(const char *p, size_t n) {
    uint64_t h = n, v;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&v, p, 8);
        h = mix(h, v);
    }
    v = 0;
    if (n) memcpy(&v, p, n);
    return mix(h, v);
}

bool fh_jinja_hash(fh_jrun *r, fh_jval v, uint64_t *out) {
    uint64_t h = 7, one;
    switch ((fh_jkind)v.kind) {
    case FH_J_BIG:
    case FH_J_STR: *out = hash_bytes(v.u.s, v.len); return fh_jinja_pay_bytes(r, v.len);
    case FH_J_BOOL:
    case FH_J_INT: *out = mix(1, (uint64_t)v.u.i); return true;
    case FH_J_FLOAT:
        /* equal numbers hash alike */
        if (v.u.f >= -9e18 && v.u.f <= 9e18 && v.u.f == (double)(int64_t)v.u.f)
            return fh_jinja_hash(r, fh_jval_int((int64_t)v.u.f), out);
        memcpy(&h, &v.u.f, sizeof h);
        *out = mix(2, h);
        return true;
    case FH_J_MISSING:
    case FH_J_NONE:
    case FH_J_UNDEF: *out = mix(3, v.kind); return true;
    case FH_J_TUPLE:
        if (!deeper(r)) return false;
        for (uint32_t i = 0; i < v.u.list->n; i++) {
            if (!fh_jinja_pay(r, 1) || !fh_jinja_hash(r, v.u.list->item[i], &one)) return false;
            h = mix(h, one);
        }
        r->nest--;
        *out = h;
        return true;
    case FH_J_LIST:
    case FH_J_DICT:
    case FH_J_VIEW: return fh_jinja_fail(r, "unhashable type: '%s'", fh_jinja_type(v));
    default: *out = mix(4, (uint64_t)(uintptr_t)v.u.s); return true;
    }
}
