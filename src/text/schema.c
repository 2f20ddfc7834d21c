/* text/schema.c - the door to the schema compiler: references, failures with their JSON pointer, and the whole way.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: nothing beyond the call; the grammar is the caller's. */
#include "text/schema.h"

#include "text/schema_part.h"

/* ---- failing ---- */
static void add_step(fh_buf *b, fh_str step) {
    fh_buf_add_byte(b, '/');
    for (size_t i = 0; i < step.len; i++) {
        if (step.ptr[i] == '~') fh_buf_add_z(b, "~0");
        else if (step.ptr[i] == '/') fh_buf_add_z(b, "~1");
        else fh_buf_add_byte(b, (uint8_t)step.ptr[i]);
    }
}

/* From the root down: each step goes into the child whose subtree holds the node. */
static void add_pointer(fh_buf *b, const fh_json_node *root, const fh_json_node *n) {
    const fh_json_node *at = root;
    while (at != n) {
        uint32_t i = 0;
        const fh_json_node *c = fh_json_first(at);
        while (c && !(c <= n && n < c + c->span)) {
            c = fh_json_after(at, c);
            i++;
        }
        if (!c) return;
        if (at->kind == FH_JSON_OBJECT) add_step(b, c->key);
        else fh_buf_printf(b, "/%u", i);
        at = c;
    }
}

fh_status fh_schema_refuse(fh_swork *s, fh_status status, const fh_json_node *n, const char *key, const char *why) {
    fh_buf b;
    if (!s->err) return status;
    fh_buf_init(&b, 400);
    add_pointer(&b, s->root, n);
    if (key) add_step(&b, fh_str_of(key));
    fh_status st = fh_fail_at(s->err, status, n->offset, "schema: '%.*s': %s", b.status == FH_OK ? (int)b.len : 0,
                              b.len ? (const char *)b.ptr : "", why);
    fh_buf_release(&b);
    return st;
}

fh_status fh_schema_check(fh_swork *s) {
    if (!fh_work_failed(&s->w)) return FH_OK;
    return fh_work_check(&s->w, "schema", s->err);
}

/* ---- references ---- */
static bool unhex(char c, uint32_t *v) {
    char low = (char)(c | 0x20);
    if (c >= '0' && c <= '9') *v = *v << 4 | (uint32_t)(c - '0');
    else if (low >= 'a' && low <= 'f') *v = *v << 4 | (uint32_t)(low - 'a' + 10);
    else return false;
    return true;
}

/* One step of a pointer, without its percent and tilde escapes, into out. */
static bool decode_step(fh_str raw, char *out, size_t *n) {
    *n = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        uint32_t v = 0;
        if (c == '%') {
            if (i + 2 >= raw.len || !unhex(raw.ptr[i + 1], &v) || !unhex(raw.ptr[i + 2], &v)) return false;
            c = (char)(uint8_t)v;
            i += 2;
        }
        out[(*n)++] = c;
    }
    size_t k = 0;
    for (size_t i = 0; i < *n; i++, k++) {
        if (out[i] == '~' && (i + 1 == *n || (out[i + 1] != '0' && out[i + 1] != '1'))) return false;
        out[k] = out[i] != '~' ? out[i] : out[++i] == '0' ? '~' : '/';
    }
    *n = k;
    return true;
}

static const fh_json_node *child_at(const fh_json_node *n, fh_str step) {
    uint64_t i;
    const fh_json_node *c;
    if (n->kind == FH_JSON_OBJECT) return fh_json_get_str(n, step);
    if (n->kind != FH_JSON_ARRAY || !fh_str_u64(step, &i)) return NULL;
    for (c = fh_json_first(n); c && i > 0; i--) c = fh_json_after(n, c);
    return c;
}

static const fh_json_node *follow(fh_swork *s, fh_str pointer) {
    const fh_json_node *at = s->root;
    char *step = fh_work_alloc(&s->w, pointer.len + 1, 1);
    while (step && at && pointer.len) {
        size_t end = 1, n;
        while (end < pointer.len && pointer.ptr[end] != '/') end++;
        if (!decode_step((fh_str){pointer.ptr + 1, end - 1}, step, &n)) return NULL;
        at = child_at(at, (fh_str){step, n});
        pointer = fh_str_drop(pointer, end);
    }
    return step ? at : NULL;
}

/* Anchors inside what is data and no schema are none. */
static bool is_data(fh_str key) {
    return fh_str_is(key, "enum") || fh_str_is(key, "const") || fh_str_is(key, "default") || fh_str_is(key, "examples");
}

static const fh_json_node *find_anchor(fh_swork *s, fh_str name) {
    fh_str is;
    const fh_json_node *n = s->root, *end = n + n->span;
    if (!fh_work_spend(&s->w, s->root->span / 4)) return NULL;
    while (n < end) {
        if (n->kind == FH_JSON_OBJECT && fh_json_to_str(fh_json_get(n, "$anchor"), &is) && fh_str_eq(is, name))
            return n;
        n += is_data(n->key) ? n->span : 1;
    }
    return NULL;
}

fh_status fh_schema_resolve(fh_swork *s, const fh_json_node *schema, const fh_json_node **target) {
    const fh_json_node *ref = fh_json_get(schema, "$ref"), *to;
    fh_str text, id;
    if (!fh_json_to_str(ref, &text)) return fh_schema_refuse(s, FH_ERR_FORMAT, ref, NULL, "must be a string");
    if (fh_json_to_str(fh_json_get(s->root, "$id"), &id)) {
        if (id.len && id.ptr[id.len - 1] == '#') id.len--;
        if (id.len && text.len >= id.len && memcmp(text.ptr, id.ptr, id.len) == 0 &&
            (text.len == id.len || text.ptr[id.len] == '#'))
            text = fh_str_drop(text, id.len);
    }
    if (text.len && text.ptr[0] != '#')
        return fh_schema_refuse(s, FH_ERR_UNSUPPORTED, ref, NULL, "a reference to another document");
    text = fh_str_drop(text, 1);
    to = !text.len || text.ptr[0] == '/' ? follow(s, text) : find_anchor(s, text);
    FH_TRY(fh_schema_check(s));
    if (!to) return fh_schema_refuse(s, FH_ERR_FORMAT, ref, NULL, "this reference leads nowhere");
    if (to->kind != FH_JSON_OBJECT && to->kind != FH_JSON_TRUE && to->kind != FH_JSON_FALSE)
        return fh_schema_refuse(s, FH_ERR_FORMAT, ref, NULL, "this reference leads to no schema");
    *target = to;
    return FH_OK;
}

/* ---- the whole way ---- */
static fh_status compile(fh_swork *s, fh_grammar *g) {
    const uint32_t always[2] = {FH_EXPR_TRUE, FH_EXPR_FALSE};
    if (s->root->kind != FH_JSON_OBJECT && s->root->kind != FH_JSON_TRUE && s->root->kind != FH_JSON_FALSE)
        return fh_schema_refuse(s, FH_ERR_FORMAT, s->root, NULL, "a schema must be an object, true or false");
    (void)fh_intern_add(&s->expr, &s->w, &always[0], 1);
    (void)fh_intern_add(&s->expr, &s->w, &always[1], 1);
    FH_TRY(fh_schema_check(s));
    return fh_schema_emit(s, fh_expr_schema(s, s->root), g);
}

fh_status fh_grammar_from_schema(fh_grammar **out, const fh_json_node *schema, const fh_grammar_options *opt,
                                 fh_err *err) {
    fh_swork *s = fh_alloc_zero(1, sizeof *s);
    fh_err own = {0};
    if (!s) return fh_fail_memory(err, sizeof *s);
    fh_work_init(&s->w);
    s->root = s->at = schema;
    s->err = err ? err : &own;
    fh_grammar *g = fh_grammar_new(FH_GRAMMAR_SCHEMA);
    fh_status st = g ? FH_OK : fh_fail_memory(err, sizeof *g);
    if (g) {
        fh_grammar_set_space(g, opt);
        st = compile(s, g);
    }
    if (st == FH_OK) *out = g;
    else fh_grammar_free(g);
    fh_work_release(&s->w);
    fh_free(s);
    return st;
}
