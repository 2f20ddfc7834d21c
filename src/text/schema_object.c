/* text/schema_object.c - the keywords about objects and arrays, and what unevaluated* makes of the others.
 * SPDX-License-Identifier: Apache-2.0
 * Members are taken as expressions only: nothing here looks inside them, so recursive schemas are no special case. */
#include "base/num.h"
#include "text/schema_part.h"

static fh_status need(fh_swork *s, const fh_json_node *n, fh_json_kind kind, const char *what) {
    return !n || n->kind == kind ? FH_OK : fh_schema_refuse(s, FH_ERR_FORMAT, n, NULL, what);
}

static fh_status narrow(fh_swork *s, const fh_shape **a, const fh_sarr *arr, const fh_sobj *obj, uint32_t n_obj) {
    fh_shape *b = fh_work_alloc(&s->w, 1, sizeof *b);
    if (!b) return fh_schema_check(s);
    *b = fh_shape_true;
    if (arr) b->arr = arr;
    if (obj) {
        b->obj = obj;
        b->n_obj = n_obj;
    }
    return fh_shape_and(s, *a, b, a);
}

/* ---- arrays ---- */
static fh_status trivial_arrays(fh_swork *s, const fh_json_node *schema, const fh_sarr *arr) {
    const fh_json_node *unique = fh_json_get(schema, "uniqueItems");
    bool on = false;
    if (unique && !fh_json_to_bool(unique, &on))
        return fh_schema_refuse(s, FH_ERR_FORMAT, unique, NULL, "must be true or false");
    if (on && arr->most > 1)
        return fh_schema_refuse(s, FH_ERR_UNSUPPORTED, unique, NULL,
                                "that elements differ cannot be checked while they are written");
    return FH_OK;
}

/* contains: only where every element, or none, counts. */
static fh_status contains(fh_swork *s, const fh_json_node *schema, fh_sarr *arr) {
    const fh_json_node *n = fh_json_get(schema, "contains");
    uint32_t least, most;
    if (!n) return FH_OK;
    FH_TRY(fh_schema_count(s, schema, "minContains", 1, &least));
    FH_TRY(fh_schema_count(s, schema, "maxContains", FH_ENDLESS, &most));
    if (least == 0 && most == FH_ENDLESS) return FH_OK;
    if (fh_expr_schema(s, n) != FH_EXPR_TRUE)
        return fh_schema_refuse(s, FH_ERR_UNSUPPORTED, n, NULL, "counting matching elements is not supported");
    arr->least = FH_MAX(arr->least, least);
    arr->most = FH_MIN(arr->most, most);
    return FH_OK;
}

/* What $ref and allOf beside an unevaluated* keyword say about members. */
typedef struct gathered {
    uint32_t n_prefix;
    bool all_items, all_members;
    fh_sname *name;
    fh_spattern *pattern;
    uint32_t n_name, n_pattern, cap_name, cap_pattern;
} gathered;

static fh_status gather(fh_swork *s, const fh_json_node *n, const char *key, gathered *g, int depth) {
    static const char *const branching[] = {"anyOf", "oneOf", "if", "dependentSchemas", "contains"};
    const fh_json_node *c, *list;
    if (n->kind != FH_JSON_OBJECT) return FH_OK;
    if (depth > 64) return fh_schema_refuse(s, FH_ERR_LIMIT, n, NULL, "references nested too deep");
    for (size_t i = 0; i < FH_COUNT(branching); i++)
        if (fh_json_get(n, branching[i]))
            return fh_schema_refuse(s, FH_ERR_UNSUPPORTED, s->at, key,
                                    "what this means depends on which alternatives hold");
    if ((list = fh_json_get(n, "prefixItems")) != NULL) g->n_prefix = FH_MAX(g->n_prefix, list->n_child);
    g->all_items |= fh_json_get(n, "items") != NULL || (depth > 0 && fh_json_get(n, "unevaluatedItems") != NULL);
    g->all_members |= fh_json_get(n, "additionalProperties") != NULL ||
                      (depth > 0 && fh_json_get(n, "unevaluatedProperties") != NULL);
    list = fh_json_get(n, "properties");
    for (c = fh_json_first(list); c; c = fh_json_after(list, c)) {
        fh_sname *name = fh_work_grow(&s->w, g->name, &g->cap_name, (uint64_t)g->n_name + 1, sizeof *name);
        if (!name) return fh_schema_check(s);
        g->name = name;
        name[g->n_name++] = (fh_sname){c->key, FH_EXPR_TRUE};
    }
    list = fh_json_get(n, "patternProperties");
    for (c = fh_json_first(list); c; c = fh_json_after(list, c)) {
        fh_spattern *p = fh_work_grow(&s->w, g->pattern, &g->cap_pattern, (uint64_t)g->n_pattern + 1, sizeof *p);
        if (!p) return fh_schema_check(s);
        g->pattern = p;
        p[g->n_pattern].e = FH_EXPR_TRUE;
        FH_TRY(fh_schema_pattern(s, c, c->key, &p[g->n_pattern++].a));
    }
    list = fh_json_get(n, "allOf");
    for (c = fh_json_first(list); c; c = fh_json_after(list, c)) FH_TRY(gather(s, c, key, g, depth + 1));
    if (!fh_json_get(n, "$ref")) return FH_OK;
    FH_TRY(fh_schema_resolve(s, n, &c));
    return gather(s, c, key, g, depth + 1);
}

static fh_status unevaluated_items(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    const fh_json_node *n = fh_json_get(schema, "unevaluatedItems");
    gathered g = {0};
    if (!n || fh_expr_schema(s, n) == FH_EXPR_TRUE) return FH_OK;
    FH_TRY(gather(s, schema, "unevaluatedItems", &g, 0));
    if (g.all_items) return FH_OK;
    fh_sarr *arr = fh_work_alloc(&s->w, 1, sizeof *arr);
    fh_expr *prefix = fh_work_alloc(&s->w, g.n_prefix, sizeof *prefix); /* zero: true */
    if (!arr || !prefix) return fh_schema_check(s);
    *arr = (fh_sarr){prefix, g.n_prefix, fh_expr_schema(s, n), 0, FH_ENDLESS};
    return narrow(s, a, arr, NULL, 0);
}

fh_status fh_schema_arrays(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    const fh_json_node *items = fh_json_get(schema, "items"), *list = fh_json_get(schema, "prefixItems");
    fh_sarr *arr = fh_work_alloc(&s->w, 1, sizeof *arr);
    if (!arr) return fh_schema_check(s);
    *arr = (fh_sarr){.rest = FH_EXPR_TRUE};
    FH_TRY(need(s, list, FH_JSON_ARRAY, "must be a list of schemas"));
    if (items && items->kind == FH_JSON_ARRAY)
        return fh_schema_refuse(s, FH_ERR_UNSUPPORTED, items, NULL, "a list of schemas is called prefixItems");
    if (items) arr->rest = fh_expr_schema(s, items);
    if (list) {
        fh_expr *prefix = fh_work_alloc(&s->w, list->n_child, sizeof *prefix);
        if (!prefix) return fh_schema_check(s);
        for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c))
            prefix[arr->n_prefix++] = fh_expr_schema(s, c);
        arr->prefix = prefix;
    }
    FH_TRY(fh_schema_count(s, schema, "minItems", 0, &arr->least));
    FH_TRY(fh_schema_count(s, schema, "maxItems", FH_ENDLESS, &arr->most));
    FH_TRY(contains(s, schema, arr));
    FH_TRY(trivial_arrays(s, schema, arr));
    if (items || list || arr->least || arr->most != FH_ENDLESS) FH_TRY(narrow(s, a, arr, NULL, 0));
    return unevaluated_items(s, schema, a);
}

/* ---- objects ---- */
static int by_name(const void *a, const void *b) {
    return fh_str_cmp(((const fh_sname *)a)->name, ((const fh_sname *)b)->name);
}
static int by_text(const void *a, const void *b) { return fh_str_cmp(*(const fh_str *)a, *(const fh_str *)b); }

static fh_status name_list(fh_swork *s, const fh_json_node *list, const fh_str **out, uint32_t *n) {
    FH_TRY(need(s, list, FH_JSON_ARRAY, "must be a list of names"));
    fh_str *name = fh_work_alloc(&s->w, list->n_child, sizeof *name);
    uint32_t k = 0, one = 0;
    if (!name) return fh_schema_check(s);
    for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c)) {
        if (c->kind != FH_JSON_STRING) return fh_schema_refuse(s, FH_ERR_FORMAT, list, NULL, "must be a list of names");
        name[k++] = c->text;
    }
    if (k) qsort(name, k, sizeof *name, by_text);
    for (uint32_t i = 0; i < k; i++)
        if (i == 0 || !fh_str_eq(name[i], name[i - 1])) name[one++] = name[i];
    *out = name;
    *n = one;
    return FH_OK;
}

static fh_status member_group(fh_swork *s, const fh_json_node *schema, fh_sobj *o) {
    const fh_json_node *props = fh_json_get(schema, "properties"), *pats = fh_json_get(schema, "patternProperties");
    const fh_json_node *rest = fh_json_get(schema, "additionalProperties"), *c;
    if (!props && !pats && !rest) return FH_OK;
    FH_TRY(need(s, props, FH_JSON_OBJECT, "must be an object of schemas"));
    FH_TRY(need(s, pats, FH_JSON_OBJECT, "must be an object of schemas"));
    fh_sgroup *g = fh_work_alloc(&s->w, 1, sizeof *g);
    fh_sname *name = fh_work_alloc(&s->w, props ? props->n_child : 0, sizeof *name);
    fh_spattern *pattern = fh_work_alloc(&s->w, pats ? pats->n_child : 0, sizeof *pattern);
    if (!g || !name || !pattern) return fh_schema_check(s);
    for (c = fh_json_first(props); c; c = fh_json_after(props, c))
        name[g->n_name++] = (fh_sname){c->key, fh_expr_schema(s, c)};
    if (g->n_name) qsort(name, g->n_name, sizeof *name, by_name);
    for (c = fh_json_first(pats); c; c = fh_json_after(pats, c)) {
        pattern[g->n_pattern].e = fh_expr_schema(s, c);
        FH_TRY(fh_schema_pattern(s, c, c->key, &pattern[g->n_pattern++].a));
    }
    g->name = name;
    g->pattern = pattern;
    g->rest = rest ? fh_expr_schema(s, rest) : FH_EXPR_TRUE;
    o->group = g;
    return FH_OK;
}

static fh_status key_names(fh_swork *s, const fh_json_node *schema, fh_sobj *o) {
    const fh_json_node *n = fh_json_get(schema, "propertyNames");
    const fh_shape *a;
    if (!n) return FH_OK;
    FH_TRY(fh_expr_shape(s, fh_expr_schema(s, n), &a));
    fh_gstr *keys = fh_work_alloc(&s->w, 1, sizeof *keys);
    if (!keys) return fh_schema_check(s);
    *keys = a->has_str ? a->str : (fh_gstr){NULL, 1, 0, NULL};
    if (!keys->a && keys->least == 0 && keys->most == FH_ENDLESS) return FH_OK;
    o->keys = keys;
    return FH_OK;
}

/* The two objects of a dependency: those without the name, and those in which what depends on it holds. */
static fh_status dependency(fh_swork *s, fh_str name, fh_sobj out[2]) {
    fh_sgroup *g = fh_work_alloc(&s->w, 1, sizeof *g);
    fh_sname *n = fh_work_alloc(&s->w, 1, sizeof *n);
    if (!g || !n) return fh_schema_check(s);
    *n = (fh_sname){name, FH_EXPR_FALSE};
    *g = (fh_sgroup){.name = n, .n_name = 1, .rest = FH_EXPR_TRUE};
    out[0] = (fh_sobj){.group = g, .most = FH_ENDLESS};
    out[1] = (fh_sobj){.most = FH_ENDLESS};
    return FH_OK;
}

static fh_status dependent_required(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    const fh_json_node *all = fh_json_get(schema, "dependentRequired");
    FH_TRY(need(s, all, FH_JSON_OBJECT, "must be an object of lists of names"));
    for (const fh_json_node *c = fh_json_first(all); c; c = fh_json_after(all, c)) {
        fh_sobj *way = fh_work_alloc(&s->w, 2, sizeof *way);
        if (!way) return fh_schema_check(s);
        FH_TRY(dependency(s, c->key, way));
        FH_TRY(name_list(s, c, &way[1].required, &way[1].n_required));
        if (way[1].n_required) FH_TRY(narrow(s, a, NULL, way, 2));
    }
    return FH_OK;
}

static fh_status dependent_schemas(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    const fh_json_node *all = fh_json_get(schema, "dependentSchemas");
    FH_TRY(need(s, all, FH_JSON_OBJECT, "must be an object of schemas"));
    for (const fh_json_node *c = fh_json_first(all); c; c = fh_json_after(all, c)) {
        const fh_shape *b;
        fh_sobj *way = fh_work_alloc(&s->w, 2, sizeof *way);
        fh_shape *without = fh_work_alloc(&s->w, 1, sizeof *without), *with = fh_work_alloc(&s->w, 1, sizeof *with);
        if (!way || !without || !with) return fh_schema_check(s);
        FH_TRY(dependency(s, c->key, way));
        *without = fh_shape_true; /* and everything that is no object */
        without->obj = &way[0];
        FH_TRY(fh_expr_shape(s, fh_expr_schema(s, c), &b));
        *with = (fh_shape){.obj = b->obj, .n_obj = b->n_obj};
        FH_TRY(fh_shape_or(s, without, with, &b));
        FH_TRY(fh_shape_and(s, *a, b, a));
    }
    return FH_OK;
}

static fh_status unevaluated_members(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    const fh_json_node *n = fh_json_get(schema, "unevaluatedProperties");
    gathered all = {0};
    if (!n || fh_expr_schema(s, n) == FH_EXPR_TRUE) return FH_OK;
    FH_TRY(gather(s, schema, "unevaluatedProperties", &all, 0));
    if (all.all_members) return FH_OK;
    fh_sobj *o = fh_work_alloc(&s->w, 1, sizeof *o);
    fh_sgroup *g = fh_work_alloc(&s->w, 1, sizeof *g);
    uint32_t one = 0;
    if (!o || !g) return fh_schema_check(s);
    if (all.n_name) qsort(all.name, all.n_name, sizeof *all.name, by_name);
    for (uint32_t i = 0; i < all.n_name; i++)
        if (i == 0 || !fh_str_eq(all.name[i].name, all.name[i - 1].name)) all.name[one++] = all.name[i];
    *g = (fh_sgroup){NULL, all.name, all.pattern, one, all.n_pattern, fh_expr_schema(s, n)};
    *o = (fh_sobj){.group = g, .most = FH_ENDLESS};
    return narrow(s, a, NULL, o, 1);
}

fh_status fh_schema_objects(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    const fh_json_node *required = fh_json_get(schema, "required");
    fh_sobj *o = fh_work_alloc(&s->w, 1, sizeof *o);
    if (!o) return fh_schema_check(s);
    FH_TRY(member_group(s, schema, o));
    FH_TRY(key_names(s, schema, o));
    if (required) FH_TRY(name_list(s, required, &o->required, &o->n_required));
    FH_TRY(fh_schema_count(s, schema, "minProperties", 0, &o->least));
    FH_TRY(fh_schema_count(s, schema, "maxProperties", FH_ENDLESS, &o->most));
    if (o->group || o->keys || o->n_required || o->least || o->most != FH_ENDLESS) FH_TRY(narrow(s, a, NULL, o, 1));
    FH_TRY(dependent_required(s, schema, a));
    FH_TRY(dependent_schemas(s, schema, a));
    return unevaluated_members(s, schema, a);
}
