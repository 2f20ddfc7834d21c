/* text/schema_keyword.c - one schema object's shape: its keywords one by one, intersected.
 * SPDX-License-Identifier: Apache-2.0
 * The table below is the whole list of keywords that may occur. One that is not in it is refused: a misspelt "requred"
 * must not silently loosen what a model may write. */
#include "base/num.h"
#include "text/schema_part.h"

typedef enum { USED, NOTE, REFUSED } use;
static const struct keyword {
    const char *name;
    use use;
    const char *why;
} keywords[] = {
    {"type", USED, NULL},
    {"enum", USED, NULL},
    {"const", USED, NULL},
    {"nullable", USED, NULL},
    {"$ref", USED, NULL},
    {"allOf", USED, NULL},
    {"anyOf", USED, NULL},
    {"oneOf", USED, NULL},
    {"not", USED, NULL},
    {"if", USED, NULL},
    {"then", USED, NULL},
    {"else", USED, NULL},
    {"minimum", USED, NULL},
    {"maximum", USED, NULL},
    {"exclusiveMinimum", USED, NULL},
    {"exclusiveMaximum", USED, NULL},
    {"multipleOf", USED, NULL},
    {"minLength", USED, NULL},
    {"maxLength", USED, NULL},
    {"pattern", USED, NULL},
    {"format", USED, NULL},
    {"properties", USED, NULL},
    {"required", USED, NULL},
    {"additionalProperties", USED, NULL},
    {"patternProperties", USED, NULL},
    {"propertyNames", USED, NULL},
    {"minProperties", USED, NULL},
    {"maxProperties", USED, NULL},
    {"dependentRequired", USED, NULL},
    {"dependentSchemas", USED, NULL},
    {"unevaluatedProperties", USED, NULL},
    {"unevaluatedItems", USED, NULL},
    {"items", USED, NULL},
    {"prefixItems", USED, NULL},
    {"minItems", USED, NULL},
    {"maxItems", USED, NULL},
    {"uniqueItems", USED, NULL},
    {"contains", USED, NULL},
    {"minContains", USED, NULL},
    {"maxContains", USED, NULL},
    {"$schema", NOTE, NULL},
    {"$comment", NOTE, NULL},
    {"$defs", NOTE, NULL},
    {"definitions", NOTE, NULL},
    {"$anchor", NOTE, NULL},
    {"$id", NOTE, NULL},
    {"$vocabulary", NOTE, NULL},
    {"title", NOTE, NULL},
    {"description", NOTE, NULL},
    {"default", NOTE, NULL},
    {"example", NOTE, NULL},
    {"examples", NOTE, NULL},
    {"deprecated", NOTE, NULL},
    {"readOnly", NOTE, NULL},
    {"writeOnly", NOTE, NULL},
    {"contentEncoding", NOTE, NULL},
    {"contentMediaType", NOTE, NULL},
    {"contentSchema", NOTE, NULL},
    {"propertyOrdering", NOTE, NULL},
    {"$dynamicRef", REFUSED, "dynamic references are not supported"},
    {"$dynamicAnchor", REFUSED, "dynamic references are not supported"},
    {"$recursiveRef", REFUSED, "dynamic references are not supported"},
    {"additionalItems", REFUSED, "older drafts only: write prefixItems and items"},
    {"dependencies", REFUSED, "older drafts only: write dependentRequired or dependentSchemas"},
};

static fh_status check_keywords(fh_swork *s, const fh_json_node *n) {
    for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c)) {
        const struct keyword *k = NULL;
        if (fh_str_starts(c->key, "x-")) continue;
        for (size_t i = 0; i < FH_COUNT(keywords) && !k; i++)
            if (fh_str_is(c->key, keywords[i].name)) k = &keywords[i];
        if (!k) return fh_schema_refuse(s, FH_ERR_UNSUPPORTED, c, NULL, "a keyword that is not known");
        if (k->use == REFUSED) return fh_schema_refuse(s, FH_ERR_UNSUPPORTED, c, NULL, k->why);
        if (fh_str_is(c->key, "$schema") && !fh_str_starts(c->text, "https://json-schema.org/draft") &&
            !fh_str_starts(c->text, "http://json-schema.org/draft") &&
            !fh_str_is(c->text, "http://json-schema.org/schema#"))
            return fh_schema_refuse(s, FH_ERR_UNSUPPORTED, c, NULL, "a dialect that is not known");
        if (n != s->root && fh_str_is(c->key, "$id"))
            return fh_schema_refuse(s, FH_ERR_UNSUPPORTED, c, NULL,
                                    "an id inside the schema changes what references mean");
    }
    return FH_OK;
}

fh_status fh_schema_count(fh_swork *s, const fh_json_node *schema, const char *key, uint32_t none, uint32_t *out) {
    const fh_json_node *n = fh_json_get(schema, key);
    uint64_t v = none;
    if (n && !fh_json_to_u64(n, &v))
        return fh_schema_refuse(s, FH_ERR_FORMAT, n, NULL, "must be a whole number from 0");
    if (v > 1000000000 && none != FH_ENDLESS) return fh_schema_refuse(s, FH_ERR_LIMIT, n, NULL, "too large");
    *out = v > 1000000000 ? FH_ENDLESS : (uint32_t)v;
    return FH_OK;
}

static fh_status narrow(fh_swork *s, const fh_shape **a, fh_shape with) {
    fh_shape *b = fh_work_alloc(&s->w, 1, sizeof *b);
    if (!b) return fh_schema_check(s);
    *b = with;
    return fh_shape_and(s, *a, b, a);
}

/* ---- type, constants ---- */
static fh_status one_type(fh_swork *s, const fh_json_node *n, fh_shape *out) {
    static const char *const words[] = {"null", "boolean", "string", "number", "integer", "array", "object"};
    size_t i = 0;
    while (i < FH_COUNT(words) && !fh_str_is(n->text, words[i])) i++;
    if (n->kind != FH_JSON_STRING || i == FH_COUNT(words))
        return fh_schema_refuse(s, FH_ERR_FORMAT, n, NULL, "no type of JSON Schema");
    switch (i) {
    case 0: out->words |= FH_WORD_NULL; break;
    case 1: out->words |= FH_WORD_TRUE | FH_WORD_FALSE; break;
    case 2:
        out->has_str = true;
        out->str = fh_shape_true.str;
        break;
    case 3: out->num_kind = FH_NUM_ANY; break;
    case 4:
        if (out->num_kind == FH_NUM_ANY) break;
        out->num_kind = FH_NUM_AUTO;
        if (!(out->num = fh_number_integer(s))) return fh_schema_check(s);
        break;
    case 5:
        out->arr = fh_shape_true.arr;
        out->n_arr = 1;
        break;
    default: out->obj = fh_shape_true.obj; out->n_obj = 1;
    }
    return FH_OK;
}

static fh_status type_shape(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    const fh_json_node *type = fh_json_get(schema, "type"), *nullable = fh_json_get(schema, "nullable");
    fh_shape with = {0};
    bool null_too = false;
    if (nullable && !fh_json_to_bool(nullable, &null_too))
        return fh_schema_refuse(s, FH_ERR_FORMAT, nullable, NULL, "must be true or false");
    if (!type) return FH_OK;
    if (type->kind == FH_JSON_ARRAY) {
        for (const fh_json_node *c = fh_json_first(type); c; c = fh_json_after(type, c)) FH_TRY(one_type(s, c, &with));
    } else {
        FH_TRY(one_type(s, type, &with));
    }
    if (null_too) with.words |= FH_WORD_NULL;
    return narrow(s, a, with);
}

static fh_status constant_array(fh_swork *s, const fh_json_node *v, fh_sarr *out) {
    fh_expr *prefix = fh_work_alloc(&s->w, v->n_child, sizeof *prefix);
    uint32_t i = 0;
    if (!prefix) return fh_schema_check(s);
    for (const fh_json_node *c = fh_json_first(v); c; c = fh_json_after(v, c)) prefix[i++] = fh_expr_constant(s, c);
    *out = (fh_sarr){prefix, v->n_child, FH_EXPR_FALSE, v->n_child, v->n_child};
    return FH_OK;
}

static int by_name(const void *a, const void *b) {
    return fh_str_cmp(((const fh_sname *)a)->name, ((const fh_sname *)b)->name);
}

static fh_status constant_object(fh_swork *s, const fh_json_node *v, fh_sobj *out) {
    fh_sgroup *g = fh_work_alloc(&s->w, 1, sizeof *g);
    fh_sname *name = fh_work_alloc(&s->w, v->n_child, sizeof *name);
    fh_str *required = fh_work_alloc(&s->w, v->n_child, sizeof *required);
    uint32_t n = 0;
    if (!g || !name || !required) return fh_schema_check(s);
    for (const fh_json_node *c = fh_json_first(v); c; c = fh_json_after(v, c))
        name[n++] = (fh_sname){c->key, fh_expr_constant(s, c)};
    if (n) qsort(name, n, sizeof *name, by_name);
    for (uint32_t i = 0; i < n; i++) required[i] = name[i].name;
    *g = (fh_sgroup){.name = name, .n_name = n, .rest = FH_EXPR_FALSE};
    *out = (fh_sobj){.group = g, .required = required, .n_required = n, .least = n, .most = n};
    return FH_OK;
}

/* Any of n values that follow each other in the tree. */
static fh_status constants(fh_swork *s, const fh_json_node *parent, const fh_json_node *only, const fh_shape **out) {
    uint32_t n = only ? 1 : parent->n_child, n_str = 0, n_num = 0;
    fh_shape *a = fh_work_alloc(&s->w, 1, sizeof *a);
    fh_str *str = fh_work_alloc(&s->w, n, sizeof *str), *num = fh_work_alloc(&s->w, n, sizeof *num);
    fh_sarr *arr = fh_work_alloc(&s->w, n, sizeof *arr);
    fh_sobj *obj = fh_work_alloc(&s->w, n, sizeof *obj);
    if (!a || !str || !num || !arr || !obj) return fh_schema_check(s);
    for (const fh_json_node *c = only ? only : fh_json_first(parent); c; c = only ? NULL : fh_json_after(parent, c)) {
        switch (c->kind) {
        case FH_JSON_NULL: a->words |= FH_WORD_NULL; break;
        case FH_JSON_TRUE: a->words |= FH_WORD_TRUE; break;
        case FH_JSON_FALSE: a->words |= FH_WORD_FALSE; break;
        case FH_JSON_STRING: str[n_str++] = c->text; break;
        case FH_JSON_NUMBER: num[n_num++] = c->text; break;
        case FH_JSON_ARRAY: FH_TRY(constant_array(s, c, &arr[a->n_arr++])); break;
        default: FH_TRY(constant_object(s, c, &obj[a->n_obj++]));
        }
    }
    if (a->n_arr > FH_SCHEMA_WAYS || a->n_obj > FH_SCHEMA_WAYS)
        return fh_schema_refuse(s, FH_ERR_LIMIT, parent, NULL, "too many arrays or objects to choose from");
    a->arr = arr;
    a->obj = obj;
    if (n_str) {
        a->has_str = true;
        a->str = (fh_gstr){fh_auto_words(&s->w, str, n_str), 0, FH_ENDLESS, NULL};
    }
    if (n_num) {
        const char *why = NULL;
        a->num_kind = FH_NUM_AUTO;
        a->num = fh_number_values(s, num, n_num, &why);
        FH_TRY(fh_schema_check(s));
        if (!a->num) return fh_schema_refuse(s, FH_ERR_LIMIT, only ? only : parent, NULL, why);
    }
    *out = a;
    return fh_schema_check(s);
}

fh_status fh_constant_shape(fh_swork *s, const fh_json_node *value, const fh_shape **out) {
    return constants(s, NULL, value, out);
}

static fh_status constant_keywords(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    const fh_json_node *list = fh_json_get(schema, "enum"), *one = fh_json_get(schema, "const");
    const fh_shape *b;
    if (list) {
        if (list->kind != FH_JSON_ARRAY) return fh_schema_refuse(s, FH_ERR_FORMAT, list, NULL, "must be a list");
        FH_TRY(constants(s, list, NULL, &b));
        FH_TRY(fh_shape_and(s, *a, b, a));
    }
    if (one) {
        FH_TRY(fh_constant_shape(s, one, &b));
        FH_TRY(fh_shape_and(s, *a, b, a));
    }
    return FH_OK;
}

/* ---- numbers and strings ---- */
static fh_status numbers(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    static const struct {
        const char *key;
        fh_bound b;
    } bounds[] = {{"minimum", FH_AT_LEAST},
                  {"exclusiveMinimum", FH_MORE_THAN},
                  {"maximum", FH_AT_MOST},
                  {"exclusiveMaximum", FH_LESS_THAN}};
    for (size_t i = 0; i <= FH_COUNT(bounds); i++) {
        bool multiple = i == FH_COUNT(bounds);
        const fh_json_node *n = fh_json_get(schema, multiple ? "multipleOf" : bounds[i].key);
        const char *why = NULL;
        fh_shape with = fh_shape_true;
        if (!n) continue;
        if (n->kind != FH_JSON_NUMBER) return fh_schema_refuse(s, FH_ERR_FORMAT, n, NULL, "must be a number");
        with.num_kind = FH_NUM_AUTO;
        with.num = multiple ? fh_number_multiple(s, n->text, &why) : fh_number_bound(s, bounds[i].b, n->text, &why);
        FH_TRY(fh_schema_check(s));
        if (!with.num) return fh_schema_refuse(s, FH_ERR_UNSUPPORTED, n, NULL, why);
        if (fh_auto_is_empty(with.num)) with.num_kind = FH_NUM_NONE;
        FH_TRY(narrow(s, a, with));
    }
    return FH_OK;
}

static fh_status strings(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    const fh_json_node *pattern = fh_json_get(schema, "pattern"), *format = fh_json_get(schema, "format");
    fh_shape with = fh_shape_true;
    FH_TRY(fh_schema_count(s, schema, "minLength", 0, &with.str.least));
    FH_TRY(fh_schema_count(s, schema, "maxLength", FH_ENDLESS, &with.str.most));
    if (with.str.least || with.str.most != FH_ENDLESS) {
        with.has_str = with.str.least <= with.str.most;
        FH_TRY(narrow(s, a, with));
    }
    with = fh_shape_true;
    if (pattern) {
        if (pattern->kind != FH_JSON_STRING)
            return fh_schema_refuse(s, FH_ERR_FORMAT, pattern, NULL, "must be a string");
        FH_TRY(fh_schema_pattern(s, pattern, pattern->text, &with.str.a));
        with.has_str = !fh_auto_is_empty(with.str.a);
        FH_TRY(narrow(s, a, with));
    }
    if (format) {
        if (format->kind != FH_JSON_STRING) return fh_schema_refuse(s, FH_ERR_FORMAT, format, NULL, "must be a string");
        with = fh_shape_true;
        FH_TRY(fh_schema_format(s, format, format->text, &with.str.a));
        if (!with.str.a)
            return fh_schema_refuse(
                s, FH_ERR_UNSUPPORTED, format, NULL,
                "a format that is not known; known are date, time, date-time, duration, uuid, email, "
                "hostname, ipv4, ipv6, uri and json-pointer");
        FH_TRY(narrow(s, a, with));
    }
    return FH_OK;
}

/* ---- applicators ---- */
static fh_status sub_shape(fh_swork *s, const fh_json_node *n, const fh_shape **out) {
    return fh_expr_shape(s, fh_expr_schema(s, n), out);
}

static fh_status need_list(fh_swork *s, const fh_json_node *n) {
    if (n->kind == FH_JSON_ARRAY && n->n_child) return FH_OK;
    return fh_schema_refuse(s, FH_ERR_FORMAT, n, NULL, "must be a list of schemas, not empty");
}

static fh_status all_any_of(fh_swork *s, const fh_json_node *n, bool all, const fh_shape **a) {
    const fh_shape *sum = all ? &fh_shape_true : &fh_shape_false, *one;
    if (!n) return FH_OK;
    FH_TRY(need_list(s, n));
    for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c)) {
        FH_TRY(sub_shape(s, c, &one));
        FH_TRY(all ? fh_shape_and(s, sum, one, &sum) : fh_shape_or(s, sum, one, &sum));
    }
    return fh_shape_and(s, *a, sum, a);
}

static fh_status complement(fh_swork *s, const fh_json_node *n, const fh_shape *a, const char *why,
                            const fh_shape **out) {
    fh_status st = fh_shape_not(s, a, out);
    return st == FH_ERR_UNSUPPORTED ? fh_schema_refuse(s, st, n, NULL, why) : st;
}

/* Branch i and no other: where branches overlap, each loses what the others have. */
static fh_status exactly_one(fh_swork *s, const fh_json_node *n, const fh_shape *const *branch, uint32_t count,
                             const fh_shape **sum) {
    for (uint32_t i = 0; i < count; i++) {
        const fh_shape *only = branch[i], *both;
        for (uint32_t k = 0; k < count; k++) {
            if (k == i) continue;
            FH_TRY(fh_shape_and(s, only, branch[k], &both));
            if (fh_shape_is_empty(s, both, 6)) continue;
            FH_TRY(complement(s, n, branch[k], "two branches overlap, and what they share cannot be taken out exactly",
                              &both));
            FH_TRY(fh_shape_and(s, only, both, &only));
        }
        FH_TRY(fh_shape_or(s, *sum, only, sum));
    }
    return FH_OK;
}

static fh_status one_of(fh_swork *s, const fh_json_node *n, const fh_shape **a) {
    const fh_shape **branch, *sum = &fh_shape_false;
    uint32_t count = 0;
    if (!n) return FH_OK;
    FH_TRY(need_list(s, n));
    branch = fh_work_alloc(&s->w, n->n_child, sizeof *branch);
    if (!branch) return fh_schema_check(s);
    /* Each branch is cut to what this schema allows first: then fewer of them overlap. */
    for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c)) {
        FH_TRY(sub_shape(s, c, &branch[count]));
        FH_TRY(fh_shape_and(s, *a, branch[count], &branch[count]));
        count++;
    }
    FH_TRY(exactly_one(s, n, branch, count, &sum));
    *a = sum;
    return FH_OK;
}

static fh_status if_then_else(fh_swork *s, const fh_json_node *schema, const fh_shape **a) {
    const fh_json_node *n_if = fh_json_get(schema, "if"), *n_then = fh_json_get(schema, "then"),
                       *n_else = fh_json_get(schema, "else");
    const fh_shape *c, *yes = &fh_shape_true, *no = &fh_shape_true, *not_c;
    if (!n_if || (!n_then && !n_else)) return FH_OK;
    FH_TRY(sub_shape(s, n_if, &c));
    if (n_then) FH_TRY(sub_shape(s, n_then, &yes));
    if (n_else) FH_TRY(sub_shape(s, n_else, &no));
    FH_TRY(complement(s, n_if, c, "this condition has no exact complement", &not_c));
    FH_TRY(fh_shape_and(s, c, yes, &yes));
    FH_TRY(fh_shape_and(s, not_c, no, &no));
    FH_TRY(fh_shape_or(s, yes, no, &yes));
    return fh_shape_and(s, *a, yes, a);
}

fh_status fh_schema_shape(fh_swork *s, const fh_json_node *schema, const fh_shape **out) {
    const fh_shape *a = &fh_shape_true, *b;
    const fh_json_node *target, *n;
    if (schema->kind != FH_JSON_OBJECT)
        return fh_schema_refuse(s, FH_ERR_FORMAT, schema, NULL, "a schema must be an object, true or false");
    FH_TRY(check_keywords(s, schema));
    FH_TRY(type_shape(s, schema, &a));
    FH_TRY(constant_keywords(s, schema, &a));
    FH_TRY(numbers(s, schema, &a));
    FH_TRY(strings(s, schema, &a));
    FH_TRY(fh_schema_arrays(s, schema, &a));
    FH_TRY(fh_schema_objects(s, schema, &a));
    if (fh_json_get(schema, "$ref")) {
        FH_TRY(fh_schema_resolve(s, schema, &target));
        FH_TRY(sub_shape(s, target, &b));
        FH_TRY(fh_shape_and(s, a, b, &a));
    }
    FH_TRY(all_any_of(s, fh_json_get(schema, "allOf"), true, &a));
    FH_TRY(all_any_of(s, fh_json_get(schema, "anyOf"), false, &a));
    if ((n = fh_json_get(schema, "not")) != NULL) {
        FH_TRY(sub_shape(s, n, &b));
        FH_TRY(complement(s, n, b, "this has no exact complement", &b));
        FH_TRY(fh_shape_and(s, a, b, &a));
    }
    FH_TRY(if_then_else(s, schema, &a));
    FH_TRY(one_of(s, fh_json_get(schema, "oneOf"), &a));
    *out = a;
    return FH_OK;
}
