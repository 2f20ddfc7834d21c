/* text/markup_value.c - values that a model wrote in some other notation, made JSON.
 * SPDX-License-Identifier: Apache-2.0
 * What is JSON already stays byte for byte. Nesting is bounded by FH_MARKUP_NEST. Refuses nothing that a model may
 * write: what is no value of the wanted kind becomes a string, and the caller is told. */
#include "text/markup_part.h"

/* ---- what a schema lets in ---- */
unsigned fh_kind_of_type(fh_str s) {
    static const struct {
        const char *name;
        unsigned kind;
    } types[] = {{"string", FH_KIND_STRING}, {"number", FH_KIND_NUMBER}, {"integer", FH_KIND_NUMBER},
                 {"boolean", FH_KIND_BOOL},  {"null", FH_KIND_NULL},     {"array", FH_KIND_ARRAY},
                 {"object", FH_KIND_OBJECT}};
    for (size_t i = 0; i < FH_COUNT(types); i++) {
        if (fh_str_is(s, types[i].name)) return types[i].kind;
    }
    return FH_KIND_ANY;
}

static unsigned kind_of_node(const fh_json_node *v) {
    switch (v->kind) {
    case FH_JSON_STRING: return FH_KIND_STRING;
    case FH_JSON_NUMBER: return FH_KIND_NUMBER;
    case FH_JSON_TRUE:
    case FH_JSON_FALSE: return FH_KIND_BOOL;
    case FH_JSON_NULL: return FH_KIND_NULL;
    case FH_JSON_ARRAY: return FH_KIND_ARRAY;
    case FH_JSON_OBJECT: return FH_KIND_OBJECT;
    default: return FH_KIND_ANY;
    }
}

/* "#/$defs/x" in the same document; only plain names, as the tools of today write them. */
static const fh_json_node *follow(const fh_json_node *root, fh_str ref) {
    if (!fh_str_starts(ref, "#/")) return NULL;
    ref = fh_str_drop(ref, 2);
    while (root && ref.len > 0) {
        size_t at = ref.len;
        (void)fh_str_find(ref, '/', &at);
        root = fh_json_get_str(root, fh_str_first(ref, at));
        ref = fh_str_drop(ref, at + 1);
    }
    return root;
}

static unsigned kinds_at(const fh_json_node *s, const fh_json_node *root, int depth, int *budget) {
    if (!fh_json_is(s, FH_JSON_OBJECT) || depth == 0 || --*budget < 0) return FH_KIND_ANY;
    unsigned kinds = FH_KIND_ANY;
    const fh_json_node *v = fh_json_get(s, "type");
    fh_str text;
    if (fh_json_to_str(v, &text)) kinds = fh_kind_of_type(text);
    if (fh_json_is(v, FH_JSON_ARRAY)) {
        kinds = 0;
        for (const fh_json_node *c = fh_json_first(v); c; c = fh_json_after(v, c)) {
            if (fh_json_to_str(c, &text)) kinds |= fh_kind_of_type(text);
        }
    }
    if ((v = fh_json_get(s, "const"))) kinds &= kind_of_node(v);
    if (fh_json_is((v = fh_json_get(s, "enum")), FH_JSON_ARRAY)) {
        unsigned any = 0;
        for (const fh_json_node *c = fh_json_first(v); c; c = fh_json_after(v, c)) any |= kind_of_node(c);
        kinds &= any;
    }
    static const char *const unions[] = {"anyOf", "oneOf"};
    for (size_t i = 0; i < FH_COUNT(unions); i++) {
        if (!fh_json_is((v = fh_json_get(s, unions[i])), FH_JSON_ARRAY)) continue;
        unsigned any = 0;
        for (const fh_json_node *c = fh_json_first(v); c; c = fh_json_after(v, c))
            any |= kinds_at(c, root, depth - 1, budget);
        kinds &= any;
    }
    if (fh_json_is((v = fh_json_get(s, "allOf")), FH_JSON_ARRAY)) {
        for (const fh_json_node *c = fh_json_first(v); c; c = fh_json_after(v, c))
            kinds &= kinds_at(c, root, depth - 1, budget);
    }
    if (fh_json_to_str(fh_json_get(s, "$ref"), &text)) kinds &= kinds_at(follow(root, text), root, depth - 1, budget);
    bool nullable;
    if (fh_json_to_bool(fh_json_get(s, "nullable"), &nullable) && nullable) kinds |= FH_KIND_NULL;
    return kinds ? kinds : FH_KIND_ANY;
}

unsigned fh_schema_kinds(const fh_json_node *schema, const fh_json_node *root) {
    int budget = 256; /* schemas come from callers: their unions may multiply */
    return kinds_at(schema, root, 8, &budget);
}

const fh_json_node *fh_tool_function(const fh_json_node *tool) {
    const fh_json_node *f = fh_json_get(tool, "function");
    return fh_json_is(f, FH_JSON_OBJECT) ? f : tool;
}

const fh_json_node *fh_tool_find(const fh_json_node *tools, fh_str name) {
    if (!fh_json_is(tools, FH_JSON_ARRAY)) return NULL;
    for (const fh_json_node *t = fh_json_first(tools); t; t = fh_json_after(tools, t)) {
        const fh_json_node *f = fh_tool_function(t);
        fh_str s;
        if (fh_json_to_str(fh_json_get(f, "name"), &s) && fh_str_eq(s, name)) return f;
    }
    return NULL;
}

/* ---- JSON text ---- */
fh_status fh_json_text_kind(fh_str text, unsigned *kind) {
    fh_json_reader r;
    fh_json_event ev;
    unsigned k = 0;
    fh_json_reader_init(&r, text);
    fh_status s = fh_json_next(&r, &ev, NULL);
    if (s == FH_OK) {
        switch (ev.kind) {
        case FH_JSON_OBJECT: k = FH_KIND_OBJECT; break;
        case FH_JSON_ARRAY: k = FH_KIND_ARRAY; break;
        case FH_JSON_STRING: k = FH_KIND_STRING; break;
        case FH_JSON_NUMBER: k = FH_KIND_NUMBER; break;
        case FH_JSON_TRUE:
        case FH_JSON_FALSE: k = FH_KIND_BOOL; break;
        case FH_JSON_NULL: k = FH_KIND_NULL; break;
        default: k = 0; break;
        }
        s = fh_json_skip(&r, &ev, NULL);
    }
    if (s == FH_OK) s = fh_json_expect(&r, FH_JSON_END, &ev, "value", NULL);
    fh_json_reader_release(&r);
    if (s == FH_ERR_MEMORY) return s;
    *kind = s == FH_OK ? k : 0;
    return FH_OK;
}

void fh_json_escape(fh_buf *out, fh_str text) {
    size_t done = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        fh_buf_add(out, text.ptr + done, i - done);
        done = i + 1;
        switch (c) {
        case '"': fh_buf_add_z(out, "\\\""); break;
        case '\\': fh_buf_add_z(out, "\\\\"); break;
        case '\n': fh_buf_add_z(out, "\\n"); break;
        case '\r': fh_buf_add_z(out, "\\r"); break;
        case '\t': fh_buf_add_z(out, "\\t"); break;
        default: fh_buf_printf(out, "\\u%04x", c); break;
        }
    }
    if (text.len > done) fh_buf_add(out, text.ptr + done, text.len - done);
}

static void put_string(fh_buf *out, fh_str text) {
    fh_buf_add_byte(out, '"');
    fh_json_escape(out, text);
    fh_buf_add_byte(out, '"');
}

/* ---- Python literals ---- */
typedef struct python {
    const char *p, *end;
    fh_buf *out;
    int depth;
} python;

static void skip_space(python *y) {
    while (y->p < y->end && fh_is_space(*y->p)) y->p++;
}

static bool python_value(python *y);

/* \xNN, \uNNNN and \UNNNNNNNN as JSON's \uNNNN; a pair above U+FFFF. */
static bool python_hex(python *y, int digits) {
    uint32_t cp = 0;
    if (y->end - y->p < digits) return false;
    for (int i = 0; i < digits; i++) {
        int d = fh_hex_value(*y->p++);
        if (d < 0) return false;
        cp = cp * 16 + (uint32_t)d;
    }
    if (cp > 0x10FFFF) return false;
    if (cp >= 0x10000) {
        fh_buf_printf(y->out, "\\u%04x\\u%04x", 0xD800 + ((cp - 0x10000) >> 10), 0xDC00 + ((cp - 0x10000) & 0x3FF));
    } else {
        fh_buf_printf(y->out, "\\u%04x", cp);
    }
    return true;
}

static bool python_escape(python *y) {
    static const char from[] = "ntr\\'\"bf0a", to[] = "\n\t\r\\'\"\b\f\0\a";
    if (y->p >= y->end) return false;
    char c = *y->p++;
    if (c == '\n') return true;
    if (c == 'x') return python_hex(y, 2);
    if (c == 'u') return python_hex(y, 4);
    if (c == 'U') return python_hex(y, 8);
    const char *at = c ? strchr(from, c) : NULL;
    char plain[2] = {'\\', c};
    if (at) fh_json_escape(y->out, (fh_str){&to[at - from], 1});
    else fh_json_escape(y->out, (fh_str){plain, 2});
    return true;
}

static bool python_string(python *y) {
    char quote = *y->p++;
    bool thrice = y->end - y->p >= 2 && y->p[0] == quote && y->p[1] == quote;
    if (thrice) y->p += 2;
    fh_buf_add_byte(y->out, '"');
    while (y->p < y->end) {
        char c = *y->p++;
        if (c == '\\') {
            if (!python_escape(y)) return false;
        } else if (c == quote && (!thrice || (y->end - y->p >= 2 && y->p[0] == quote && y->p[1] == quote))) {
            if (thrice) y->p += 2;
            fh_buf_add_byte(y->out, '"');
            return true;
        } else {
            fh_json_escape(y->out, (fh_str){&c, 1});
        }
    }
    return false;
}

static bool python_word(python *y) {
    static const struct {
        const char *python, *json;
    } words[] = {{"True", "true"}, {"False", "false"}, {"None", "null"},
                 {"true", "true"}, {"false", "false"}, {"null", "null"}};
    const char *from = y->p;
    while (y->p < y->end && !fh_is_space(*y->p) && !strchr(",:()[]{}\"'", *y->p)) y->p++;
    fh_str s = {from, (size_t)(y->p - from)};
    for (size_t i = 0; i < FH_COUNT(words); i++) {
        if (!fh_str_is(s, words[i].python)) continue;
        fh_buf_add_z(y->out, words[i].json);
        return true;
    }
    if (s.len > 0 && s.ptr[0] == '+') s = fh_str_drop(s, 1);
    /* A number of JSON: a pull reader over digits needs no memory. */
    unsigned kind = 0;
    if (s.len == 0 || fh_json_text_kind(s, &kind) != FH_OK || kind != FH_KIND_NUMBER) return false;
    fh_buf_add_str(y->out, s);
    return true;
}

static bool python_list(python *y, char close) {
    fh_buf_add_byte(y->out, '[');
    for (bool any = false;; any = true) {
        skip_space(y);
        if (y->p < y->end && *y->p == close) break;
        if (any) fh_buf_add_byte(y->out, ',');
        if (!python_value(y)) return false;
        skip_space(y);
        if (y->p < y->end && *y->p == ',') y->p++;
        else if (y->p >= y->end || *y->p != close) return false;
    }
    y->p++;
    fh_buf_add_byte(y->out, ']');
    return true;
}

static bool python_dict(python *y) {
    fh_buf_add_byte(y->out, '{');
    for (bool any = false;; any = true) {
        skip_space(y);
        if (y->p < y->end && *y->p == '}') break;
        if (any) fh_buf_add_byte(y->out, ',');
        if (y->p >= y->end || (*y->p != '"' && *y->p != '\'') || !python_string(y)) return false;
        skip_space(y);
        if (y->p >= y->end || *y->p++ != ':') return false;
        fh_buf_add_byte(y->out, ':');
        if (!python_value(y)) return false;
        skip_space(y);
        if (y->p < y->end && *y->p == ',') y->p++;
        else if (y->p >= y->end || *y->p != '}') return false;
    }
    y->p++;
    fh_buf_add_byte(y->out, '}');
    return true;
}

static bool python_value(python *y) {
    bool ok;
    skip_space(y);
    if (y->p >= y->end || y->depth == FH_MARKUP_NEST) return false;
    y->depth++;
    switch (*y->p) {
    case '"':
    case '\'': ok = python_string(y); break;
    case '[':
        y->p++;
        ok = python_list(y, ']');
        break;
    case '(':
        y->p++;
        ok = python_list(y, ')');
        break;
    case '{':
        y->p++;
        ok = python_dict(y);
        break;
    default: ok = python_word(y); break;
    }
    y->depth--;
    return ok;
}

bool fh_python_to_json(fh_buf *out, fh_str text) {
    size_t before = out->len;
    python y = {.p = text.ptr, .end = text.ptr + text.len, .out = out};
    bool ok = text.len > 0 && python_value(&y);
    if (ok) skip_space(&y);
    if (ok && y.p == y.end) return true;
    out->len = before;
    return false;
}

/* ---- one value ---- */
fh_status fh_value_to_json(fh_buf *out, fh_str text, unsigned kinds, bool *wrong, fh_err *err) {
    fh_str bare = fh_trim(text);
    unsigned kind = 0;
    if (kinds != FH_KIND_STRING) {
        FH_TRY(fh_json_text_kind(bare, &kind));
        /* Text in quotes is what it says where the kind is open, quotes and all: strings are written bare. */
        if ((kind & kinds & ~(unsigned)FH_KIND_STRING) ||
            (kind == FH_KIND_STRING && kinds != FH_KIND_ANY && kinds & kind)) {
            fh_buf_add_str(out, bare);
            return fh_buf_check(out, err);
        }
        bool container = bare.len > 0 && (*bare.ptr == '[' || *bare.ptr == '{' || *bare.ptr == '(');
        bool word = fh_str_is(bare, "True") || fh_str_is(bare, "False") || fh_str_is(bare, "None");
        if (kind == 0 && (container || word)) {
            size_t before = out->len;
            unsigned got = 0;
            if (fh_python_to_json(out, bare)) {
                FH_TRY(fh_buf_check(out, err));
                FH_TRY(fh_json_text_kind((fh_str){(const char *)out->ptr + before, out->len - before}, &got));
                if (got & kinds) return FH_OK;
            }
            out->len = before;
        }
    }
    if (!(kinds & FH_KIND_STRING)) *wrong = true;
    put_string(out, text);
    return fh_buf_check(out, err);
}

/* ---- parameters inside parameters ---- */
typedef struct tree {
    fh_str mark; /* what begins a tag, "<" included */
    const fh_json_node *root;
    fh_buf *out;
    bool *wrong;
    fh_err *err;
} tree;

static bool begins(fh_str s, fh_str with) { return s.len >= with.len && memcmp(s.ptr, with.ptr, with.len) == 0; }

/* At <key>: the key, what is inside, and what follows. Counts tags of that name inside each other. */
static bool tree_element(const tree *t, fh_str s, fh_str *key, fh_str *inside, fh_str *rest) {
    if (!begins(s, t->mark)) return false;
    fh_str k = fh_str_drop(s, t->mark.len);
    size_t n;
    if (!fh_str_find(fh_str_first(k, FH_MARKUP_NAME_MAX), '>', &n) || n == 0 || k.ptr[0] == '/') return false;
    fh_str body = fh_str_drop(k, n + 1);
    k.len = n;
    size_t depth = 1;
    for (size_t i = 0; i < body.len;) {
        const char *at = memmem(body.ptr + i, body.len - i, t->mark.ptr, t->mark.len);
        if (!at) return false;
        size_t tag = (size_t)(at - body.ptr);
        i = tag + t->mark.len;
        bool close = i < body.len && body.ptr[i] == '/';
        fh_str name = fh_str_drop(body, i + close);
        if (!(name.len > n && memcmp(name.ptr, k.ptr, n) == 0 && name.ptr[n] == '>')) continue;
        i += close + n + 1;
        depth = close ? depth - 1 : depth + 1;
        if (depth > 0) continue;
        *key = k;
        *inside = fh_str_first(body, tag);
        *rest = fh_str_drop(body, i);
        return true;
    }
    return false;
}

static fh_status tree_value(tree *t, fh_str text, const fh_json_node *schema, int depth) {
    fh_str s = fh_trim(text), key, inside, rest;
    if (depth == 0 || !tree_element(t, s, &key, &inside, &rest)) {
        return fh_value_to_json(t->out, text, fh_schema_kinds(schema, t->root), t->wrong, t->err);
    }
    bool list = fh_str_is(key, "item");
    const fh_json_node *below = fh_json_get(schema, list ? "items" : "properties");
    fh_buf_add_byte(t->out, list ? '[' : '{');
    for (bool any = false; tree_element(t, s, &key, &inside, &rest); any = true) {
        if (any) fh_buf_add_byte(t->out, ',');
        if (!list) {
            put_string(t->out, key);
            fh_buf_add_byte(t->out, ':');
        }
        FH_TRY(tree_value(t, inside, list ? below : fh_json_get_str(below, key), depth - 1));
        s = fh_trim(rest);
    }
    if (s.len > 0) *t->wrong = true;
    fh_buf_add_byte(t->out, list ? ']' : '}');
    return fh_buf_check(t->out, t->err);
}

fh_status fh_tree_to_json(fh_buf *out, fh_str text, fh_str mark, const fh_json_node *schema, const fh_json_node *root,
                          bool *wrong, fh_err *err) {
    tree t = {.mark = mark, .root = root, .out = out, .wrong = wrong, .err = err};
    return tree_value(&t, text, schema, 16);
}
