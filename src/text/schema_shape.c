/* text/schema_shape.c - and, or, not on shapes.
 * SPDX-License-Identifier: Apache-2.0
 * Everything here is exact. A complement that would have to say "some member is otherwise" has no such form and is
 * reported as FH_ERR_UNSUPPORTED for the caller to refuse. Alternatives that are arrays or objects are bounded. */
#include "base/num.h"
#include "text/schema_part.h"

static const fh_sarr any_array = {NULL, 0, FH_EXPR_TRUE, 0, FH_ENDLESS};
static const fh_sobj any_object = {NULL, NULL, NULL, 0, 0, FH_ENDLESS};
const fh_shape fh_shape_true = {.words = 7,
                                .num_kind = FH_NUM_ANY,
                                .has_str = true,
                                .str = {NULL, 0, FH_ENDLESS, NULL},
                                .arr = &any_array,
                                .obj = &any_object,
                                .n_arr = 1,
                                .n_obj = 1};
const fh_shape fh_shape_false = {.words = 0};

static bool is_any_array(const fh_sarr *a) {
    return a->n_prefix == 0 && a->rest == FH_EXPR_TRUE && a->least == 0 && a->most == FH_ENDLESS;
}
static bool is_any_object(const fh_sobj *o) {
    return !o->group && !o->keys && o->n_required == 0 && o->least == 0 && o->most == FH_ENDLESS;
}

/* ---- strings ---- */
static bool is_all(const fh_gstr *s) { return !s->a && s->least == 0 && s->most == FH_ENDLESS; }

const fh_auto *fh_gstr_auto(fh_swork *s, const fh_gstr *str) {
    if (str->a && str->most == FH_ENDLESS) return str->a;
    if (str->a) return fh_auto_combine(&s->w, str->a, fh_auto_lengths(&s->w, 0, str->most), FH_AUTO_AND, NULL);
    return is_all(str) ? fh_auto_any(&s->w) : fh_auto_lengths(&s->w, str->least, str->most);
}

bool fh_gstr_has(const fh_gstr *s, fh_str utf8) {
    if (s->a && !fh_auto_matches(s->a, utf8)) return false;
    uint64_t n = 0;
    for (size_t i = 0; i < utf8.len; i++) n += ((uint8_t)utf8.ptr[i] & 0xC0) != 0x80;
    return n >= s->least && n <= s->most;
}

static bool str_combine(fh_swork *s, const fh_gstr *a, const fh_gstr *b, fh_auto_op op, fh_shape *out) {
    const fh_auto *r = fh_auto_combine(&s->w, fh_gstr_auto(s, a), fh_gstr_auto(s, b), op, NULL);
    if (!r) return false;
    out->has_str = !fh_auto_is_empty(r);
    out->str = (fh_gstr){out->has_str ? r : NULL, 0, FH_ENDLESS, NULL};
    return true;
}

/* Texts of x's automaton (or all) within both bounds. What is too short is taken out of the automaton, what is too long
 * is left to counting. */
static bool str_bound(fh_swork *s, const fh_auto *a, uint32_t least, uint32_t most, fh_shape *out) {
    out->has_str = least <= most;
    out->str = (fh_gstr){NULL, least, most, NULL};
    if (!a || !out->has_str) return true;
    uint32_t *d = fh_auto_distance(&s->w, a);
    if (d && !fh_auto_is_empty(a) && d[a->start] < least) {
        a = fh_auto_combine(&s->w, a, fh_auto_lengths(&s->w, least, FH_ENDLESS), FH_AUTO_AND, NULL);
        d = a ? fh_auto_distance(&s->w, a) : NULL;
    }
    if (!d) return false;
    out->has_str = !fh_auto_is_empty(a) && d[a->start] <= most;
    out->str = (fh_gstr){out->has_str ? a : NULL, 0, most, NULL};
    return true;
}

static bool str_and(fh_swork *s, const fh_shape *a, const fh_shape *b, fh_shape *out) {
    const fh_gstr *x = &a->str, *y = &b->str;
    if (!a->has_str || !b->has_str) return true;
    if (is_all(x) || is_all(y)) {
        out->has_str = true;
        out->str = is_all(x) ? *y : *x;
        return true;
    }
    const fh_auto *both = x->a ? x->a : y->a;
    if (x->a && y->a && x->a != y->a) {
        both = fh_auto_combine(&s->w, x->a, y->a, FH_AUTO_AND, NULL);
        if (!both) return false;
    }
    uint32_t least = FH_MAX(x->least, y->least), most = FH_MIN(x->most, y->most);
    if (least == 0 && most == FH_ENDLESS) {
        out->has_str = !fh_auto_is_empty(both);
        out->str = (fh_gstr){out->has_str ? both : NULL, 0, FH_ENDLESS, NULL};
        return true;
    }
    return str_bound(s, both, least, most, out);
}

static bool str_or(fh_swork *s, const fh_shape *a, const fh_shape *b, fh_shape *out) {
    const fh_gstr *x = &a->str, *y = &b->str;
    out->has_str = true;
    if (!a->has_str || !b->has_str || is_all(x) || is_all(y) || (x->a && x->a == y->a && x->most == y->most)) {
        out->has_str = a->has_str || b->has_str;
        out->str = a->has_str && (!b->has_str || is_all(x) || !is_all(y)) ? *x : *y;
        return true;
    }
    bool touch = !x->a && !y->a && x->least <= (y->most == FH_ENDLESS ? y->most : y->most + 1) &&
                 y->least <= (x->most == FH_ENDLESS ? x->most : x->most + 1);
    if (!touch) return str_combine(s, x, y, FH_AUTO_OR, out);
    out->str = (fh_gstr){NULL, FH_MIN(x->least, y->least), FH_MAX(x->most, y->most), NULL};
    return true;
}

static bool str_not(fh_swork *s, const fh_shape *a, fh_shape *out) {
    const fh_gstr *x = &a->str;
    out->has_str = true;
    out->str = (fh_gstr){NULL, 0, FH_ENDLESS, NULL};
    if (!a->has_str) return true;
    out->has_str = false;
    if (is_all(x)) return true;
    if (!x->a && x->least == 0) {
        out->has_str = true;
        out->str.least = x->most + 1;
        return true;
    }
    if (!x->a && x->most == FH_ENDLESS) {
        out->has_str = true;
        out->str.most = x->least - 1;
        return true;
    }
    return str_combine(s, &out->str, x, FH_AUTO_MINUS, out);
}

/* ---- numbers ---- */
static bool num_combine(fh_swork *s, const fh_auto *a, const fh_auto *b, fh_auto_op op, fh_shape *out) {
    out->num = a == b && op != FH_AUTO_MINUS ? a : fh_auto_combine(&s->w, a, b, op, NULL);
    if (!out->num) return false;
    out->num_kind = fh_auto_is_empty(out->num) ? FH_NUM_NONE : FH_NUM_AUTO;
    return true;
}

static bool num_and(fh_swork *s, const fh_shape *a, const fh_shape *b, fh_shape *out) {
    if (a->num_kind == FH_NUM_AUTO && b->num_kind == FH_NUM_AUTO)
        return num_combine(s, a->num, b->num, FH_AUTO_AND, out);
    const fh_shape *less = a->num_kind == FH_NUM_ANY || b->num_kind == FH_NUM_NONE ? b : a;
    out->num_kind = less->num_kind;
    out->num = less->num;
    return true;
}

static bool num_or(fh_swork *s, const fh_shape *a, const fh_shape *b, fh_shape *out) {
    if (a->num_kind == FH_NUM_AUTO && b->num_kind == FH_NUM_AUTO)
        return num_combine(s, a->num, b->num, FH_AUTO_OR, out);
    const fh_shape *more = a->num_kind == FH_NUM_ANY || b->num_kind == FH_NUM_NONE ? a : b;
    out->num_kind = more->num_kind;
    out->num = more->num;
    return true;
}

/* ---- arrays ---- */
static bool arr_and(fh_swork *s, const fh_sarr *a, const fh_sarr *b, fh_sarr *out) {
    uint32_t n = FH_MAX(a->n_prefix, b->n_prefix);
    fh_expr *prefix = fh_work_alloc(&s->w, n, sizeof *prefix);
    if (!prefix) return false;
    for (uint32_t i = 0; i < n; i++)
        prefix[i] = fh_expr_and(s, i < a->n_prefix ? a->prefix[i] : a->rest, i < b->n_prefix ? b->prefix[i] : b->rest);
    *out = (fh_sarr){prefix, n, fh_expr_and(s, a->rest, b->rest), FH_MAX(a->least, b->least), FH_MIN(a->most, b->most)};
    return true;
}

/* ---- objects ---- */
static const fh_str *merge_required(fh_swork *s, const fh_sobj *a, const fh_sobj *b, uint32_t *n) {
    fh_str *out = fh_work_alloc(&s->w, (size_t)a->n_required + b->n_required, sizeof *out);
    uint32_t i = 0, j = 0, k = 0;
    while (out && (i < a->n_required || j < b->n_required)) {
        int c = i == a->n_required ? 1 : j == b->n_required ? -1 : fh_str_cmp(a->required[i], b->required[j]);
        out[k++] = c <= 0 ? a->required[i] : b->required[j];
        i += c <= 0;
        j += c >= 0;
    }
    *n = k;
    return out;
}

static const fh_sgroup *join_groups(fh_swork *s, const fh_sgroup *a, const fh_sgroup *b) {
    uint32_t n = 0;
    if (!a || a == b) return b;
    if (!b) return a;
    for (const fh_sgroup *g = a; g; g = g->next) n++;
    fh_sgroup *copy = fh_work_alloc(&s->w, n, sizeof *copy);
    for (uint32_t i = 0; copy && i < n; i++, a = a->next) {
        copy[i] = *a;
        copy[i].next = i + 1 < n ? &copy[i + 1] : b;
    }
    return copy;
}

static bool obj_and(fh_swork *s, const fh_sobj *a, const fh_sobj *b, fh_sobj *out) {
    *out = (fh_sobj){.least = FH_MAX(a->least, b->least), .most = FH_MIN(a->most, b->most)};
    out->required = merge_required(s, a, b, &out->n_required);
    out->group = join_groups(s, a->group, b->group);
    out->keys = a->keys ? a->keys : b->keys;
    if (a->keys && b->keys && a->keys != b->keys) {
        fh_shape x = {.has_str = true, .str = *a->keys}, y = {.has_str = true, .str = *b->keys}, r = {0};
        fh_gstr *keys = fh_work_alloc(&s->w, 1, sizeof *keys);
        if (!keys || !str_and(s, &x, &y, &r)) return false;
        *keys = r.has_str ? r.str : (fh_gstr){NULL, 1, 0, NULL};
        out->keys = keys;
    }
    return !fh_work_failed(&s->w);
}

/* ---- alternatives ---- */
static fh_status too_many(fh_swork *s) {
    return fh_schema_refuse(s, FH_ERR_LIMIT, s->at, NULL, "too many alternatives for one value");
}

static fh_status and_arrays(fh_swork *s, const fh_shape *a, const fh_shape *b, fh_shape *out) {
    if (a->n_arr == 1 && is_any_array(a->arr)) {
        out->arr = b->arr;
        out->n_arr = b->n_arr;
        return FH_OK;
    }
    if (a->n_arr == 0 || b->n_arr == 0 || (b->n_arr == 1 && is_any_array(b->arr))) {
        out->arr = a->arr;
        out->n_arr = b->n_arr ? a->n_arr : 0;
        return FH_OK;
    }
    if (a->n_arr * b->n_arr > FH_SCHEMA_WAYS * 4) return too_many(s);
    fh_sarr *r = fh_work_alloc(&s->w, (size_t)a->n_arr * b->n_arr, sizeof *r);
    if (!r) return fh_schema_check(s);
    for (uint32_t i = 0; i < a->n_arr; i++)
        for (uint32_t j = 0; j < b->n_arr; j++) {
            if (!arr_and(s, &a->arr[i], &b->arr[j], &r[out->n_arr])) return fh_schema_check(s);
            if (r[out->n_arr].least <= r[out->n_arr].most) out->n_arr++;
        }
    out->arr = r;
    return out->n_arr > FH_SCHEMA_WAYS ? too_many(s) : FH_OK;
}

static fh_status and_objects(fh_swork *s, const fh_shape *a, const fh_shape *b, fh_shape *out) {
    if (a->n_obj == 1 && is_any_object(a->obj)) {
        out->obj = b->obj;
        out->n_obj = b->n_obj;
        return FH_OK;
    }
    if (a->n_obj == 0 || b->n_obj == 0 || (b->n_obj == 1 && is_any_object(b->obj))) {
        out->obj = a->obj;
        out->n_obj = b->n_obj ? a->n_obj : 0;
        return FH_OK;
    }
    if (a->n_obj * b->n_obj > FH_SCHEMA_WAYS * 4) return too_many(s);
    fh_sobj *r = fh_work_alloc(&s->w, (size_t)a->n_obj * b->n_obj, sizeof *r);
    if (!r) return fh_schema_check(s);
    for (uint32_t i = 0; i < a->n_obj; i++)
        for (uint32_t j = 0; j < b->n_obj; j++) {
            if (!obj_and(s, &a->obj[i], &b->obj[j], &r[out->n_obj])) return fh_schema_check(s);
            fh_shape one = {.obj = &r[out->n_obj], .n_obj = 1};
            if (!fh_shape_is_empty(s, &one, 1)) out->n_obj++;
        }
    out->obj = r;
    return out->n_obj > FH_SCHEMA_WAYS ? too_many(s) : FH_OK;
}

fh_status fh_shape_and(fh_swork *s, const fh_shape *a, const fh_shape *b, const fh_shape **out) {
    if (a == &fh_shape_true || b == &fh_shape_false || a == b) {
        *out = b;
        return FH_OK;
    }
    if (b == &fh_shape_true || a == &fh_shape_false) {
        *out = a;
        return FH_OK;
    }
    fh_shape *r = fh_work_alloc(&s->w, 1, sizeof *r);
    if (!r) return fh_schema_check(s);
    r->words = a->words & b->words;
    if (!num_and(s, a, b, r) || !str_and(s, a, b, r)) return fh_schema_check(s);
    FH_TRY(and_arrays(s, a, b, r));
    FH_TRY(and_objects(s, a, b, r));
    *out = r;
    return FH_OK;
}

fh_status fh_shape_or(fh_swork *s, const fh_shape *a, const fh_shape *b, const fh_shape **out) {
    if (a == &fh_shape_false || b == &fh_shape_true || a == b) {
        *out = b;
        return FH_OK;
    }
    if (b == &fh_shape_false || a == &fh_shape_true) {
        *out = a;
        return FH_OK;
    }
    fh_shape *r = fh_work_alloc(&s->w, 1, sizeof *r);
    fh_sarr *arr = fh_work_alloc(&s->w, (size_t)a->n_arr + b->n_arr, sizeof *arr);
    fh_sobj *obj = fh_work_alloc(&s->w, (size_t)a->n_obj + b->n_obj, sizeof *obj);
    if (!r || !arr || !obj) return fh_schema_check(s);
    r->words = a->words | b->words;
    if (!num_or(s, a, b, r) || !str_or(s, a, b, r)) return fh_schema_check(s);
    for (uint32_t i = 0; i < a->n_arr; i++) arr[r->n_arr++] = a->arr[i];
    for (uint32_t i = 0; i < b->n_arr; i++) arr[r->n_arr++] = b->arr[i];
    for (uint32_t i = 0; i < a->n_obj; i++) obj[r->n_obj++] = a->obj[i];
    for (uint32_t i = 0; i < b->n_obj; i++) obj[r->n_obj++] = b->obj[i];
    for (uint32_t i = 0; i < r->n_arr; i++)
        if (is_any_array(&arr[i])) {
            arr[0] = any_array;
            r->n_arr = 1;
        }
    for (uint32_t i = 0; i < r->n_obj; i++)
        if (is_any_object(&obj[i])) {
            obj[0] = any_object;
            r->n_obj = 1;
        }
    r->arr = arr;
    r->obj = obj;
    *out = r;
    return r->n_arr > FH_SCHEMA_WAYS || r->n_obj > FH_SCHEMA_WAYS ? too_many(s) : FH_OK;
}

/* ---- complements ---- */

/* The arrays that one description leaves out: too short, too long, or wrong at a place of the prefix. */
static fh_status arr_not(fh_swork *s, const fh_sarr *a, fh_shape *out) {
    uint32_t n = 0;
    fh_sarr *r = fh_work_alloc(&s->w, (size_t)a->n_prefix + 3, sizeof *r);
    if (!r) return fh_schema_check(s);
    if (a->rest != FH_EXPR_TRUE && a->most > a->n_prefix) {
        if (a->rest != FH_EXPR_FALSE) return FH_ERR_UNSUPPORTED;
        r[n++] = (fh_sarr){NULL, 0, FH_EXPR_TRUE, a->n_prefix + 1, FH_ENDLESS};
    }
    if (a->least > 0) r[n++] = (fh_sarr){NULL, 0, FH_EXPR_TRUE, 0, a->least - 1};
    if (a->most != FH_ENDLESS) r[n++] = (fh_sarr){NULL, 0, FH_EXPR_TRUE, a->most + 1, FH_ENDLESS};
    for (uint32_t i = 0; i < a->n_prefix; i++) {
        if (a->prefix[i] == FH_EXPR_TRUE) continue;
        fh_expr *prefix = fh_work_alloc(&s->w, (size_t)i + 1, sizeof *prefix);
        if (!prefix) return fh_schema_check(s);
        for (uint32_t k = 0; k < i; k++) prefix[k] = FH_EXPR_TRUE;
        prefix[i] = fh_expr_not(s, a->prefix[i]);
        r[n++] = (fh_sarr){prefix, i + 1, FH_EXPR_TRUE, i + 1, FH_ENDLESS};
    }
    out->arr = r;
    out->n_arr = n;
    return FH_OK;
}

/* An object in which `name` is (or, with FALSE, is not) there and is e. */
static bool obj_with(fh_swork *s, const fh_str *name, fh_expr e, fh_sobj *out) {
    fh_sgroup *g = fh_work_alloc(&s->w, 1, sizeof *g);
    fh_sname *n = fh_work_alloc(&s->w, 1, sizeof *n);
    if (!g || !n) return false;
    *n = (fh_sname){*name, e};
    *g = (fh_sgroup){.name = n, .n_name = 1, .rest = FH_EXPR_TRUE};
    *out = (fh_sobj){.group = g, .required = name, .n_required = e != FH_EXPR_FALSE, .most = FH_ENDLESS};
    return true;
}

static fh_status obj_not(fh_swork *s, const fh_sobj *o, fh_shape *out) {
    uint32_t n = 0, total = o->n_required + 2;
    if (o->keys) return FH_ERR_UNSUPPORTED;
    for (const fh_sgroup *g = o->group; g; g = g->next) {
        if (g->n_pattern || g->rest != FH_EXPR_TRUE) return FH_ERR_UNSUPPORTED;
        total += g->n_name;
    }
    fh_sobj *r = fh_work_alloc(&s->w, total, sizeof *r);
    if (!r) return fh_schema_check(s);
    for (uint32_t i = 0; i < o->n_required; i++)
        if (!obj_with(s, &o->required[i], FH_EXPR_FALSE, &r[n++])) return fh_schema_check(s);
    for (const fh_sgroup *g = o->group; g; g = g->next)
        for (uint32_t i = 0; i < g->n_name; i++) {
            if (g->name[i].e == FH_EXPR_TRUE) continue;
            if (!obj_with(s, &g->name[i].name, fh_expr_not(s, g->name[i].e), &r[n++])) return fh_schema_check(s);
        }
    if (o->least > 0) r[n++] = (fh_sobj){.most = o->least - 1};
    if (o->most != FH_ENDLESS) r[n++] = (fh_sobj){.least = o->most + 1, .most = FH_ENDLESS};
    out->obj = r;
    out->n_obj = n;
    return FH_OK;
}

fh_status fh_shape_not(fh_swork *s, const fh_shape *a, const fh_shape **out) {
    fh_shape *r = fh_work_alloc(&s->w, 1, sizeof *r);
    if (!r) return fh_schema_check(s);
    const fh_shape *all = &fh_shape_true; /* conjunction of the complements of each alternative */
    for (uint32_t i = 0; i < a->n_arr; i++) {
        fh_shape one = fh_shape_true;
        FH_TRY(arr_not(s, &a->arr[i], &one));
        fh_shape *keep = fh_work_alloc(&s->w, 1, sizeof *keep);
        if (!keep) return fh_schema_check(s);
        *keep = one;
        FH_TRY(fh_shape_and(s, all, keep, &all));
    }
    for (uint32_t i = 0; i < a->n_obj; i++) {
        fh_shape one = fh_shape_true;
        FH_TRY(obj_not(s, &a->obj[i], &one));
        fh_shape *keep = fh_work_alloc(&s->w, 1, sizeof *keep);
        if (!keep) return fh_schema_check(s);
        *keep = one;
        FH_TRY(fh_shape_and(s, all, keep, &all));
    }
    *r = *all;
    r->words = 7 & ~a->words;
    r->num_kind = a->num_kind == FH_NUM_NONE ? FH_NUM_ANY : FH_NUM_NONE;
    r->num = NULL;
    if (a->num_kind == FH_NUM_AUTO && !num_combine(s, fh_number_plain(s), a->num, FH_AUTO_MINUS, r))
        return fh_schema_check(s);
    if (!str_not(s, a, r)) return fh_schema_check(s);
    *out = r;
    return FH_OK;
}
