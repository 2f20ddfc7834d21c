/* text/jinja_attr.c - x.name, x[key], x[a:b:c], and the global functions.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. An attribute is a method first and an element second, a subscript the other way round, as in Jinja.
 * Refuses names that begin with two underscores and whatever would change a list or a dict: such an attribute is an
 * undefined value that fails when it is used. */
#include "base/num.h"
#include "text/jinja_lib.h"

static bool give(fh_jval v, fh_jval *out) {
    *out = v;
    return true;
}

static bool unsafe(fh_jrun *r, fh_jval of, fh_str name, fh_jval *out) {
    fh_jval s;
    if (!fh_jinja_printf(r, &s, "access to attribute '%.*s' of '%s' object is unsafe.", FH_STR_ARG(name),
                         fh_jinja_type(of)))
        return false;
    *out = s;
    out->kind = FH_J_UNDEF;
    out->flag = 0;
    out->aux = FH_J_UNSAFE;
    return true;
}

/* What Python calls an attribute. */
static bool own_attr(fh_jrun *r, fh_jval of, fh_str name, bool *found, fh_jval *out) {
    *found = true;
    if (of.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, of);
    if (of.kind == FH_J_NAMESPACE) {
        fh_jval *v = fh_jinja_dict_str(r, of.u.dict, name);
        *found = v != NULL;
        return v ? give(*v, out) : r->status == FH_OK;
    }
    int row = fh_jinja_method_find(of, name);
    if (row == -2 || fh_str_starts(name, "__")) return unsafe(r, of, name, out);
    if (row >= 0) {
        fh_jmethod *m = fh_jinja_alloc(r, 1, sizeof *m);
        if (!m) return false;
        m->self = of;
        m->id = (uint16_t)row;
        return give((fh_jval){.kind = FH_J_METHOD, .u.method = m}, out);
    }
    switch ((fh_jkind)of.kind) {
    case FH_J_FUNC:
        if (of.aux != fh_jinja_func_find(FH_STR("dict")) || !fh_str_is(name, "fromkeys")) break;
        fh_jdict *d = fh_jinja_dict(r, 0);
        return d && own_attr(r, fh_jval_dict(d), name, found, out);
    case FH_J_LOOP: return fh_jinja_loop_attr(r, of, name, found, out);
    case FH_J_MACRO: return fh_jinja_macro_attr(r, of.u.macro, name, found, out);
    case FH_J_CYCLER:
        if (fh_str_is(name, "current")) return give(of.u.cycler->items->item[of.u.cycler->at], out);
        break;
    case FH_J_RANGE:
        if (fh_str_is(name, "start")) return give(fh_jval_int(of.u.range->start), out);
        if (fh_str_is(name, "stop")) return give(fh_jval_int(of.u.range->stop), out);
        if (fh_str_is(name, "step")) return give(fh_jval_int(of.u.range->step), out);
        break;
    case FH_J_TUPLE:
        if (of.aux && fh_str_is(name, "grouper")) return give(of.u.list->item[0], out);
        if (of.aux && fh_str_is(name, "list")) return give(of.u.list->item[1], out);
        break;
    case FH_J_BOOL:
    case FH_J_INT:
        if (fh_str_is(name, "real") || fh_str_is(name, "numerator")) return give(fh_jval_int(of.u.i), out);
        if (fh_str_is(name, "imag")) return give(fh_jval_int(0), out);
        if (fh_str_is(name, "denominator")) return give(fh_jval_int(1), out);
        break;
    case FH_J_FLOAT:
        if (fh_str_is(name, "real")) return give(of, out);
        if (fh_str_is(name, "imag")) return give(fh_jval_float(0), out);
        break;
    default: break;
    }
    *found = false;
    return true;
}

/* What Python gives for of[key]; nothing found is no failure. */
static bool own_item(fh_jrun *r, fh_jval of, fh_jval key, bool *found, fh_jval *out) {
    fh_jval *v;
    int64_t i = 0, n;
    *found = false;
    if (of.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, of);
    if (of.kind == FH_J_DICT) {
        if (key.kind == FH_J_LIST || key.kind == FH_J_DICT || key.kind == FH_J_VIEW) return true;
        if (!fh_jinja_dict_find(r, of.u.dict, key, &v)) return false;
        *found = v != NULL;
        return v ? give(*v, out) : true;
    }
    bool indexed = fh_jval_is_seq(of) || of.kind == FH_J_STR || of.kind == FH_J_RANGE;
    if (!indexed || !fh_jval_is_int(key)) return true;
    if (of.kind == FH_J_STR && !(of.flag & FH_J_ASCII) && fh_jinja_ascii(of)) of.flag |= FH_J_ASCII;
    if (!fh_jinja_length(r, of, &n)) return false;
    i = key.u.i < 0 ? key.u.i + n : key.u.i;
    if (i < 0 || i >= n) return true;
    *found = true;
    if (fh_jval_is_seq(of)) return give(of.u.list->item[i], out);
    if (of.kind == FH_J_RANGE) return give(fh_jval_int(of.u.range->start + of.u.range->step * i), out);
    size_t at = fh_jinja_byte_at(of, (size_t)i), len;
    (void)fh_jinja_decode(of.u.s + at, of.len - at, &len);
    return give(fh_jinja_cut(of, at, at + len), out);
}

bool fh_jinja_getattr(fh_jrun *r, fh_jval of, fh_jval name, fh_jval *out) {
    bool found;
    if (!own_attr(r, of, fh_jval_text(name), &found, out)) return false;
    if (found) return true;
    if (!own_item(r, of, name, &found, out)) return false;
    return found || fh_jinja_undef_attr(r, of, name, out);
}

bool fh_jinja_getitem(fh_jrun *r, fh_jval of, fh_jval key, fh_jval *out) {
    bool found;
    if (!own_item(r, of, key, &found, out)) return false;
    if (!found && key.kind == FH_J_STR && !own_attr(r, of, fh_jval_text(key), &found, out)) return false;
    return found || fh_jinja_undef_attr(r, of, key, out);
}

/* ---- slices ---- */

static bool slice_part(fh_jrun *r, fh_jval v, int64_t *out, bool *given) {
    *given = v.kind != FH_J_MISSING && v.kind != FH_J_NONE;
    if (*given && !fh_jval_is_int(v))
        return fh_jinja_fail(r, "slice indices must be integers or None, not %s", fh_jinja_type(v));
    if (*given) *out = v.u.i;
    return true;
}

/* Python's rules for what start:stop:step means in n elements; *count elements follow from *start. */
static bool slice_range(fh_jrun *r, const fh_jval part[3], int64_t n, int64_t *start, int64_t *step, int64_t *count) {
    int64_t stop = 0;
    bool has_start, has_stop, has_step;
    *start = 0;
    *step = 1;
    if (!slice_part(r, part[0], start, &has_start) || !slice_part(r, part[1], &stop, &has_stop) ||
        !slice_part(r, part[2], step, &has_step))
        return false;
    if (*step == 0) return fh_jinja_fail(r, "slice step cannot be zero");
    bool back = *step < 0;
    int64_t low = back ? -1 : 0, high = back ? n - 1 : n;
    int64_t *bound[2] = {start, &stop};
    for (int i = 0; i < 2; i++) {
        int64_t v = *bound[i];
        if (!(i ? has_stop : has_start)) {
            *bound[i] = (i == 0) == back ? high : low;
            continue;
        }
        if (v < 0) v = v < -n ? low : FH_MAX(v + n, low);
        *bound[i] = FH_MIN(v, high);
    }
    *count = 0;
    if (!back && *start < stop) *count = (stop - *start - 1) / *step + 1;
    if (back && stop < *start) *count = *step == INT64_MIN ? 1 : (*start - stop - 1) / -*step + 1;
    return true;
}

static bool slice_text(fh_jrun *r, fh_jval s, int64_t start, int64_t step, int64_t count, fh_jval *out) {
    if (step == 1 || count == 0) {
        size_t from = fh_jinja_byte_at(s, (size_t)start);
        fh_jval rest = fh_jinja_cut(s, from, s.len);
        return give(fh_jinja_cut(rest, 0, fh_jinja_byte_at(rest, (size_t)count)), out);
    }
    fh_jlist *chars;
    size_t n = 0;
    char *to = fh_jinja_alloc_text(r, s.len);
    if (!to || !fh_jinja_to_list(r, (fh_jval){.kind = FH_J_STR, .len = s.len, .u.s = s.u.s}, &chars)) return false;
    for (int64_t i = 0; i < count; i++) {
        fh_jval c = chars->item[start + i * step];
        memcpy(to + n, c.u.s, c.len);
        n += c.len;
    }
    return give(fh_jval_str((fh_str){to, n}), out);
}

bool fh_jinja_slice(fh_jrun *r, fh_jval of, const fh_jval part[3], fh_jval *out) {
    int64_t n, start, step, count = 0;
    if (of.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, of);
    if (of.kind == FH_J_DICT) return fh_jinja_fail(r, "unhashable type: 'slice'");
    if (!fh_jval_is_seq(of) && of.kind != FH_J_STR && of.kind != FH_J_RANGE)
        return fh_jinja_fail(r, "'%s' object is not subscriptable", fh_jinja_type(of));
    if (of.kind == FH_J_STR && !(of.flag & FH_J_ASCII) && fh_jinja_ascii(of)) of.flag |= FH_J_ASCII;
    if (!fh_jinja_length(r, of, &n) || !slice_range(r, part, n, &start, &step, &count)) return false;
    if (of.kind == FH_J_STR) return fh_jinja_pay_bytes(r, of.len) && slice_text(r, of, start, step, count, out);
    if (of.kind == FH_J_RANGE) {
        fh_jrange *g = fh_jinja_alloc(r, 1, sizeof *g);
        if (!g) return false;
        const fh_jrange *o = of.u.range;
        g->start = o->start + start * o->step;
        if (__builtin_mul_overflow(o->step, step, &g->step) || __builtin_mul_overflow(g->step, count, &g->stop) ||
            __builtin_add_overflow(g->start, g->stop, &g->stop))
            return fh_jinja_fail(r, "a range is too large");
        g->n = count;
        return give((fh_jval){.kind = FH_J_RANGE, .u.range = g}, out);
    }
    fh_jlist *l = fh_jinja_alloc(r, 1, sizeof *l);
    if (!l) return false;
    *out = of;
    out->aux = 0;
    out->u.list = l;
    if (step == 1) { /* lists do not change: a part of one can share its elements */
        l->item = count ? of.u.list->item + start : NULL;
        l->n = l->cap = (uint32_t)count;
        return true;
    }
    l->item = fh_jinja_alloc(r, (size_t)count, sizeof *l->item);
    if (!l->item || !fh_jinja_pay(r, (uint64_t)count >> 4)) return false;
    for (int64_t i = 0; i < count; i++) l->item[i] = of.u.list->item[start + i * step];
    l->n = l->cap = (uint32_t)count;
    return true;
}

/* ---- global functions ---- */

static bool g_range(fh_jrun *r, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[3];
    int64_t at[3] = {0, 0, 1};
    if (!fh_jinja_bind(r, a, "range", "start stop step", 1, arg, 3)) return false;
    for (int i = 0; i < 3; i++)
        if (!fh_jinja_arg_int(r, arg[i], "range() argument", &at[i])) return false;
    if (arg[1].kind == FH_J_MISSING) {
        at[1] = at[0];
        at[0] = 0;
    }
    if (at[2] == 0) return fh_jinja_fail(r, "range() arg 3 must not be zero");
    fh_jrange *g = fh_jinja_alloc(r, 1, sizeof *g);
    if (!g) return false;
    uint64_t span = 0, step = at[2] > 0 ? (uint64_t)at[2] : 0 - (uint64_t)at[2];
    if (at[2] > 0 && at[1] > at[0]) span = (uint64_t)at[1] - (uint64_t)at[0];
    if (at[2] < 0 && at[1] < at[0]) span = (uint64_t)at[0] - (uint64_t)at[1];
    uint64_t n = span ? (span - 1) / step + 1 : 0;
    if (n > 100000) return fh_jinja_fail_status(r, FH_ERR_LIMIT, "a range of more than 100000 numbers");
    *g = (fh_jrange){at[0], at[1], at[2], (int64_t)n};
    return give((fh_jval){.kind = FH_J_RANGE, .u.range = g}, out);
}

/* dict(mapping or pairs, name=value, ...) */
static bool fill_dict(fh_jrun *r, const fh_jargs *a, const char *what, fh_jdict **out) {
    fh_jdict *d = *out = fh_jinja_dict(r, 0);
    fh_jval item;
    fh_jiter it;
    int more = 1;
    if (!d) return false;
    if (a->n_pos > 1) return fh_jinja_fail(r, "%s expected at most 1 argument, got %u", what, a->n_pos);
    if (a->n_pos && a->pos[0].kind == FH_J_DICT) {
        for (uint32_t i = 0; i < a->pos[0].u.dict->n; i++)
            if (!fh_jinja_dict_put(r, d, a->pos[0].u.dict->item[i].key, a->pos[0].u.dict->item[i].value)) return false;
    } else if (a->n_pos) {
        if (!fh_jinja_iter(r, a->pos[0], &it)) return false;
        while ((more = fh_jinja_next(r, &it, &item)) > 0) {
            fh_jlist *l;
            if (!fh_jinja_pay(r, 1) || !fh_jinja_to_list(r, item, &l)) return false;
            if (l->n != 2) return fh_jinja_fail(r, "%s: an element has length %u; 2 is required", what, l->n);
            if (!fh_jinja_dict_put(r, d, l->item[0], l->item[1])) return false;
        }
        if (more < 0) return false;
    }
    for (uint32_t i = 0; i < a->n_kw; i++)
        if (!fh_jinja_dict_put(r, d, fh_jval_str(a->kw[i].name), a->kw[i].value)) return false;
    return true;
}

static bool g_dict(fh_jrun *r, const fh_jargs *a, fh_jval *out) {
    fh_jdict *d;
    return fill_dict(r, a, "dict", &d) && give(fh_jval_dict(d), out);
}

static bool g_namespace(fh_jrun *r, const fh_jargs *a, fh_jval *out) {
    fh_jdict *d;
    if (!fill_dict(r, a, "namespace", &d)) return false;
    for (uint32_t i = 0; i < d->n; i++)
        if (d->item[i].key.kind == FH_J_STR && d->item[i].key.len && d->item[i].key.u.s[0] == '_')
            return fh_jinja_fail_status(r, FH_ERR_DENIED, "a namespace cannot hold '%.*s': the name begins with '_'",
                                        FH_STR_ARG(fh_jval_text(d->item[i].key)));
    return give((fh_jval){.kind = FH_J_NAMESPACE, .u.dict = d}, out);
}

static bool g_cycler(fh_jrun *r, const fh_jargs *a, fh_jval *out) {
    fh_jcycler *c = fh_jinja_alloc(r, 1, sizeof *c);
    if (!c) return false;
    if (a->n_pos == 0 || a->n_kw) return fh_jinja_fail(r, "cycler: at least one item has to be provided");
    c->items = fh_jinja_list(r, a->n_pos);
    if (!c->items) return false;
    for (uint32_t i = 0; i < a->n_pos; i++) c->items->item[c->items->n++] = a->pos[i];
    return give((fh_jval){.kind = FH_J_CYCLER, .u.cycler = c}, out);
}

static bool g_joiner(fh_jrun *r, const fh_jargs *a, fh_jval *out) {
    fh_jval sep;
    fh_jcycler *c = fh_jinja_alloc(r, 1, sizeof *c);
    if (!c || !fh_jinja_bind(r, a, "joiner", "sep", 0, &sep, 1)) return false;
    c->sep = sep.kind == FH_J_MISSING ? FH_JVAL_LIT(", ") : sep;
    return give((fh_jval){.kind = FH_J_JOINER, .u.cycler = c}, out);
}

static bool g_raise(fh_jrun *r, const fh_jargs *a, fh_jval *out) {
    fh_jval message;
    (void)out;
    if (!fh_jinja_bind(r, a, "raise_exception", "message", 1, &message, 1) || !fh_jinja_str(r, message, &message))
        return false;
    return fh_jinja_fail(r, "the template refuses: %.*s", FH_STR_ARG(fh_jval_text(message)));
}

static bool g_now(fh_jrun *r, const fh_jargs *a, fh_jval *out) {
    fh_jval format;
    if (!fh_jinja_bind(r, a, "strftime_now", "format", 1, &format, 1)) return false;
    if (format.kind != FH_J_STR) return fh_jinja_fail(r, "strftime_now: the format must be a text");
    return fh_jinja_strftime(r, fh_jval_text(format), out);
}

static bool g_lipsum(fh_jrun *r, const fh_jargs *a, fh_jval *out) {
    (void)a;
    (void)out;
    return fh_jinja_fail_status(r, FH_ERR_UNSUPPORTED, "lipsum is refused: a prompt must come out the same twice");
}

static const struct {
    const char *name;
    bool (*call)(fh_jrun *r, const fh_jargs *a, fh_jval *out);
} funcs[] = {
    {"range", g_range},      {"dict", g_dict},     {"namespace", g_namespace},
    {"cycler", g_cycler},    {"joiner", g_joiner}, {"raise_exception", g_raise},
    {"strftime_now", g_now}, {"lipsum", g_lipsum},
};

int fh_jinja_func_find(fh_str name) {
    for (size_t i = 0; i < FH_COUNT(funcs); i++)
        if (fh_str_is(name, funcs[i].name)) return (int)i;
    return -1;
}

bool fh_jinja_func_call(fh_jrun *r, int row, const fh_jargs *a, fh_jval *out) { return funcs[row].call(r, a, out); }
