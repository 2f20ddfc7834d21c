/* text/jinja_filter.c - the table of filters, how arguments find their names, and the plain filters.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Refuses unknown arguments and `random` (a prompt must come out the same twice).
 * A row more is a filter more: nothing else lists them. */
#include <math.h>

#include "base/num.h"
#include "text/jinja_filter_part.h"

/* ---- arguments ---- */

static bool next_name(const char **names, fh_str *out) {
    const char *p = *names;
    while (*p == ' ') p++;
    const char *from = p;
    while (*p && *p != ' ') p++;
    *names = p;
    *out = (fh_str){from, (size_t)(p - from)};
    return p > from;
}

bool fh_jinja_bind(fh_jrun *r, const fh_jargs *a, const char *what, const char *names, uint32_t n_required,
                   fh_jval *out, uint32_t n_out) {
    fh_str name;
    uint32_t used = 0, i = 0;
    if (a->n_pos > n_out)
        return fh_jinja_fail(r, "%s() takes at most %u argument%s (%u given)", what, n_out, n_out == 1 ? "" : "s",
                             a->n_pos);
    for (const char *p = names; i < n_out && next_name(&p, &name); i++) {
        out[i] = i < a->n_pos ? a->pos[i] : (fh_jval){.kind = FH_J_MISSING};
        for (uint32_t k = 0; k < a->n_kw; k++) {
            if (!fh_str_eq(a->kw[k].name, name)) continue;
            if (i < a->n_pos) return fh_jinja_fail(r, "%s() got two values for '%.*s'", what, FH_STR_ARG(name));
            out[i] = a->kw[k].value;
            used++;
        }
        if (i < n_required && out[i].kind == FH_J_MISSING)
            return fh_jinja_fail(r, "%s() misses the argument '%.*s'", what, FH_STR_ARG(name));
    }
    if (used == a->n_kw) return true;
    for (uint32_t k = 0; k < a->n_kw; k++) {
        bool known = false;
        for (const char *p = names; next_name(&p, &name);) known = known || fh_str_eq(a->kw[k].name, name);
        if (!known) return fh_jinja_fail(r, "%s() got an unexpected argument '%.*s'", what, FH_STR_ARG(a->kw[k].name));
    }
    return true;
}

bool fh_jinja_arg_int(fh_jrun *r, fh_jval v, const char *what, int64_t *out) {
    if (v.kind == FH_J_MISSING) return true;
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (!fh_jval_is_int(v)) return fh_jinja_fail(r, "%s must be an integer, not %s", what, fh_jinja_type(v));
    *out = v.u.i;
    return true;
}

static bool give(fh_jval v, fh_jval *out) {
    *out = v;
    return true;
}

#define NO_ARGS(name) \
    if (!fh_jinja_bind(r, a, name, "", 0, NULL, 0)) return false

bool fh_jinja_soft_str(fh_jrun *r, fh_jval v, fh_jval *out) {
    return v.kind == FH_J_STR ? give(v, out) : fh_jinja_str(r, v, out);
}

/* ---- plain filters ---- */

static bool f_abs(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    NO_ARGS("abs");
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (v.kind == FH_J_FLOAT) return give(fh_jval_float(fabs(v.u.f)), out);
    if (!fh_jval_is_int(v)) return fh_jinja_fail(r, "bad operand type for abs(): '%s'", fh_jinja_type(v));
    return v.u.i < 0 ? fh_jinja_negate(r, v, true, out) : give(fh_jval_int(v.u.i), out);
}

static bool f_attr(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval name;
    if (!fh_jinja_bind(r, a, "attr", "name", 1, &name, 1)) return false;
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (name.kind != FH_J_STR) return fh_jinja_fail(r, "attr: the name must be a text");
    /* attributes only, never elements */
    if (v.kind == FH_J_DICT && fh_jinja_method_find(v, fh_jval_text(name)) == -1)
        return fh_jinja_undef_attr(r, v, name, out);
    return fh_jinja_getattr(r, v, name, out);
}

static bool f_case(fh_jrun *r, fh_jval v, fh_jcase how, const fh_jargs *a, const char *name, fh_jval *out) {
    NO_ARGS(name);
    return fh_jinja_soft_str(r, v, &v) && fh_jinja_case(r, v, how, out);
}

static bool f_capitalize(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return f_case(r, v, FH_J_CAPITALIZE, a, "capitalize", out);
}
static bool f_lower(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return f_case(r, v, FH_J_LOWER, a, "lower", out);
}
static bool f_upper(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return f_case(r, v, FH_J_UPPER, a, "upper", out);
}

static bool f_default(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[2];
    if (!fh_jinja_bind(r, a, "default", "default_value boolean", 0, arg, 2)) return false;
    if (v.kind != FH_J_UNDEF && !(fh_jinja_truth(arg[1]) && !fh_jinja_truth(v))) return give(v, out);
    return give(arg[0].kind == FH_J_MISSING ? FH_JVAL_LIT("") : arg[0], out);
}

static bool f_escape(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    NO_ARGS("escape");
    return fh_jinja_escape(r, v, out);
}

static bool f_forceescape(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    NO_ARGS("forceescape");
    v.flag = v.kind == FH_J_STR ? v.flag & FH_J_ASCII : v.flag;
    return fh_jinja_escape(r, v, out);
}

static bool f_first(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jiter it;
    NO_ARGS("first");
    if (!fh_jinja_iter(r, v, &it)) return false;
    int more = fh_jinja_next(r, &it, out);
    if (more == 0) *out = fh_jval_hint(FH_STR("No first item, sequence was empty."));
    return more >= 0;
}

static bool f_last(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jlist *l;
    NO_ARGS("last");
    if (v.kind == FH_J_GEN || !fh_jinja_iterable(v))
        return fh_jinja_fail(r, "'%s' object is not reversible", fh_jinja_type(v));
    if (v.kind == FH_J_STR && v.len) return fh_jinja_getitem(r, v, fh_jval_int(-1), out);
    if (!fh_jinja_to_list(r, v, &l)) return false;
    return give(l->n ? l->item[l->n - 1] : fh_jval_hint(FH_STR("No last item, sequence was empty.")), out);
}

static bool f_float(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval fallback;
    double d;
    if (!fh_jinja_bind(r, a, "float", "default", 0, &fallback, 1)) return false;
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (fh_jval_is_number(v)) return give(fh_jval_float(fh_jval_to_double(v)), out);
    if ((v.kind == FH_J_STR || v.kind == FH_J_BIG) && fh_jinja_parse_float(fh_jval_text(v), &d))
        return give(fh_jval_float(d), out);
    return give(fallback.kind == FH_J_MISSING ? fh_jval_float(0) : fallback, out);
}

static bool f_int(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[2];
    int64_t base = 10;
    double d;
    if (!fh_jinja_bind(r, a, "int", "default base", 0, arg, 2)) return false;
    if (!fh_jinja_arg_int(r, arg[1], "base", &base)) return false;
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (v.kind == FH_J_INT || v.kind == FH_J_BIG) return give(v, out);
    if (v.kind == FH_J_BOOL) return give(fh_jval_int(v.u.i), out);
    if (v.kind == FH_J_STR &&
        fh_jinja_parse_int(fh_jval_text(v), (int)FH_MIN(FH_MAX(base, (int64_t)0), (int64_t)99), out))
        return true;
    bool is_float = v.kind == FH_J_FLOAT;
    if (is_float) d = v.u.f;
    if ((is_float || (v.kind == FH_J_STR && fh_jinja_parse_float(fh_jval_text(v), &d))) && isfinite(d))
        return fh_jinja_float_to_int(r, d, out);
    return give(arg[0].kind == FH_J_MISSING ? fh_jval_int(0) : arg[0], out);
}

static bool f_format(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval args;
    if (a->n_pos && a->n_kw) return fh_jinja_fail(r, "format: positional and named arguments at once");
    if (!fh_jinja_soft_str(r, v, &v)) return false;
    if (a->n_kw) {
        fh_jdict *d = fh_jinja_dict(r, a->n_kw);
        if (!d) return false;
        for (uint32_t i = 0; i < a->n_kw; i++)
            if (!fh_jinja_dict_put(r, d, fh_jval_str(a->kw[i].name), a->kw[i].value)) return false;
        args = fh_jval_dict(d);
    } else {
        fh_jlist *l = fh_jinja_list(r, a->n_pos);
        if (!l) return false;
        for (uint32_t i = 0; i < a->n_pos; i++) l->item[l->n++] = a->pos[i];
        args = fh_jval_tuple(l);
    }
    return fh_jinja_percent(r, v, args, out);
}

static bool f_items(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jgen *g;
    NO_ARGS("items");
    return fh_jinja_gen(r, FH_J_GEN_ITEMS, v, &g, out);
}

static bool f_join(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[2], sep = FH_JVAL_LIT(""), none = {.kind = FH_J_MISSING};
    fh_jlist *l;
    if (!fh_jinja_bind(r, a, "join", "d attribute", 0, arg, 2)) return false;
    if (arg[0].kind != FH_J_MISSING && !fh_jinja_str(r, arg[0], &sep)) return false;
    if (!fh_jinja_to_list(r, v, &l)) return false; /* before writing: a generator may write too */
    size_t from = r->out.len;
    for (uint32_t i = 0; i < l->n; i++) {
        fh_jval item = l->item[i];
        if (arg[1].kind != FH_J_NONE && !fh_jinja_attr_path(r, item, arg[1], none, &item)) return false;
        if (i && !fh_jinja_add_str(r, &r->out, sep)) return false;
        if (!fh_jinja_pay(r, 1) || !fh_jinja_add_str(r, &r->out, item)) return false;
    }
    return fh_jinja_take(r, from, out);
}

static bool f_length(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    int64_t n;
    NO_ARGS("length");
    return fh_jinja_length(r, v, &n) && give(fh_jval_int(n), out);
}

static bool f_list(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jlist *l;
    NO_ARGS("list");
    return fh_jinja_to_list(r, v, &l) && give(fh_jval_list(l), out);
}

static bool f_pprint(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    NO_ARGS("pprint");
    r->sort_keys = true;
    bool ok = fh_jinja_repr(r, v, out);
    r->sort_keys = false;
    return ok;
}

static bool f_random(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    (void)v;
    (void)a;
    (void)out;
    return fh_jinja_fail_status(r, FH_ERR_UNSUPPORTED,
                                "the filter 'random' is refused: a prompt must come out the same twice");
}

static bool f_replace(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[3], old, with;
    int64_t limit = -1;
    if (!fh_jinja_bind(r, a, "replace", "old new count", 2, arg, 3)) return false;
    if (arg[2].kind != FH_J_NONE && !fh_jinja_arg_int(r, arg[2], "count", &limit)) return false;
    if (!fh_jinja_str(r, v, &v) || !fh_jinja_str(r, arg[0], &old) || !fh_jinja_str(r, arg[1], &with)) return false;
    return fh_jinja_replace(r, v, fh_jval_text(old), fh_jval_text(with), limit, out);
}

static bool f_reverse(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jgen *g;
    NO_ARGS("reverse");
    if (v.kind != FH_J_STR) {
        if (!fh_jinja_iterable(v)) return fh_jinja_fail(r, "reverse: the argument must be iterable");
        if (v.kind == FH_J_GEN) { /* that cannot be gone through backwards: a list of it can */
            fh_jlist *l;
            if (!fh_jinja_to_list(r, v, &l)) return false;
            for (uint32_t i = 0, k = l->n; i + 1 < k; i++) {
                fh_jval swap = l->item[i];
                l->item[i] = l->item[--k];
                l->item[k] = swap;
            }
            return give(fh_jval_list(l), out);
        }
        return fh_jinja_gen(r, FH_J_GEN_REVERSED, v, &g, out);
    }
    char *to = fh_jinja_alloc_text(r, v.len);
    if (!to) return false;
    for (size_t at = 0, n; at < v.len; at += n) {
        (void)fh_jinja_decode(v.u.s + at, v.len - at, &n);
        memcpy(to + v.len - at - n, v.u.s + at, n);
    }
    *out = v;
    out->u.s = to;
    return true;
}

static bool f_round(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[2];
    int64_t digits = 0;
    if (!fh_jinja_bind(r, a, "round", "precision method", 0, arg, 2)) return false;
    if (!fh_jinja_arg_int(r, arg[0], "precision", &digits)) return false;
    bool up = fh_jval_is_str(arg[1], "ceil"), down = fh_jval_is_str(arg[1], "floor");
    if (!up && !down && arg[1].kind != FH_J_MISSING && !fh_jval_is_str(arg[1], "common"))
        return fh_jinja_fail(r, "round: the method must be common, ceil or floor");
    if (!up && !down) return fh_jinja_round(r, v, digits, out);
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (!fh_jval_is_number(v)) return fh_jinja_fail(r, "type %s cannot be rounded", fh_jinja_type(v));
    double unit = pow(10, (double)digits), scaled = fh_jval_to_double(v) * unit;
    return give(fh_jval_float((up ? ceil(scaled) : floor(scaled)) / unit), out);
}

static bool f_safe(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    NO_ARGS("safe");
    if (!fh_jinja_str(r, v, out)) return false;
    out->flag |= FH_J_SAFE;
    return true;
}

static bool f_string(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    NO_ARGS("string");
    return fh_jinja_soft_str(r, v, out);
}

static bool f_sum(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[2], item, none = {.kind = FH_J_MISSING};
    fh_jiter it;
    int more;
    if (!fh_jinja_bind(r, a, "sum", "attribute start", 0, arg, 2) || !fh_jinja_iter(r, v, &it)) return false;
    fh_jval sum = arg[1].kind == FH_J_MISSING ? fh_jval_int(0) : arg[1];
    if (sum.kind == FH_J_STR) return fh_jinja_fail(r, "sum() can't sum strings");
    if (arg[0].kind == FH_J_NONE) arg[0] = none;
    while ((more = fh_jinja_next(r, &it, &item)) > 0)
        if (!fh_jinja_pay(r, 1) || !fh_jinja_attr_path(r, item, arg[0], none, &item) ||
            !fh_jinja_arith(r, '+', sum, item, &sum))
            return false;
    return more == 0 && give(sum, out);
}

static bool f_trim(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval chars;
    if (!fh_jinja_bind(r, a, "trim", "chars", 0, &chars, 1) || !fh_jinja_soft_str(r, v, &v)) return false;
    bool given = chars.kind != FH_J_MISSING && chars.kind != FH_J_NONE;
    if (given && chars.kind != FH_J_STR) return fh_jinja_fail(r, "strip arg must be None or str");
    *out = fh_jinja_strip(v, given ? &chars : NULL, true, true);
    return fh_jinja_pay_bytes(r, v.len - out->len);
}

/* For our own templates: arguments of a tool call that came as text. */
static bool copy_texts(fh_jrun *r, fh_jval *v) {
    if (v->kind == FH_J_STR || v->kind == FH_J_BIG) {
        fh_jkind kind = (fh_jkind)v->kind;
        if (!fh_jinja_text(r, fh_jval_text(*v), v)) return false;
        v->kind = (uint8_t)kind;
    } else if (v->kind == FH_J_LIST) {
        for (uint32_t i = 0; i < v->u.list->n; i++)
            if (!copy_texts(r, &v->u.list->item[i])) return false;
    } else if (v->kind == FH_J_DICT) {
        for (uint32_t i = 0; i < v->u.dict->n; i++)
            if (!copy_texts(r, &v->u.dict->item[i].key) || !copy_texts(r, &v->u.dict->item[i].value)) return false;
    }
    return true;
}

static bool f_from_json(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    const fh_json_options opt = {.allow_duplicate_keys = true};
    fh_json *doc = NULL;
    fh_err err = {0};
    NO_ARGS("from_json");
    if (v.kind != FH_J_STR) return fh_jinja_fail(r, "from_json: a text is wanted, not %s", fh_jinja_type(v));
    if (!fh_jinja_pay(r, v.len >> 4)) return false;
    fh_status s = fh_json_parse(&doc, fh_jval_text(v), &opt, &err);
    if (s != FH_OK) return fh_jinja_fail_status(r, s, "from_json: %s", err.message);
    bool ok = fh_jinja_from_json(r, fh_json_root(doc), out) && copy_texts(r, out);
    fh_json_free(doc);
    return ok;
}

static bool f_tojson(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) { return fh_jinja_tojson(r, a, v, out); }

/* ---- the table ---- */

static const struct {
    const char *name;
    fh_jfilter *call;
} filters[] = {
    {"!from_json", f_from_json}, /* '!': no template from outside can name it */
    {"abs", f_abs},
    {"attr", f_attr},
    {"batch", fh_jinja_f_batch},
    {"capitalize", f_capitalize},
    {"center", fh_jinja_f_center},
    {"count", f_length},
    {"d", f_default},
    {"default", f_default},
    {"dictsort", fh_jinja_f_dictsort},
    {"e", f_escape},
    {"escape", f_escape},
    {"filesizeformat", fh_jinja_f_filesize},
    {"first", f_first},
    {"float", f_float},
    {"forceescape", f_forceescape},
    {"format", f_format},
    {"groupby", fh_jinja_f_groupby},
    {"indent", fh_jinja_f_indent},
    {"int", f_int},
    {"items", f_items},
    {"join", f_join},
    {"last", f_last},
    {"length", f_length},
    {"list", f_list},
    {"lower", f_lower},
    {"map", fh_jinja_f_map},
    {"max", fh_jinja_f_max},
    {"min", fh_jinja_f_min},
    {"pprint", f_pprint},
    {"random", f_random},
    {"reject", fh_jinja_f_reject},
    {"rejectattr", fh_jinja_f_rejectattr},
    {"replace", f_replace},
    {"reverse", f_reverse},
    {"round", f_round},
    {"safe", f_safe},
    {"select", fh_jinja_f_select},
    {"selectattr", fh_jinja_f_selectattr},
    {"slice", fh_jinja_f_slice},
    {"sort", fh_jinja_f_sort},
    {"string", f_string},
    {"striptags", fh_jinja_f_striptags},
    {"sum", f_sum},
    {"title", fh_jinja_f_title},
    {"tojson", f_tojson},
    {"trim", f_trim},
    {"truncate", fh_jinja_f_truncate},
    {"unique", fh_jinja_f_unique},
    {"upper", f_upper},
    {"urlencode", fh_jinja_f_urlencode},
    {"wordcount", fh_jinja_f_wordcount},
    {"wordwrap", fh_jinja_f_wordwrap},
    {"xmlattr", fh_jinja_f_xmlattr},
};

int fh_jinja_filter_find(fh_str name) {
    for (size_t i = 0; i < FH_COUNT(filters); i++)
        if (fh_str_is(name, filters[i].name)) return (int)i;
    return -1;
}

bool fh_jinja_filter_call(fh_jrun *r, int row, fh_jval v, const fh_jargs *a, fh_jval *out) {
    return filters[row].call(r, v, a, out);
}
