/* text/markup_pieces.c - a markup and a set of tools as literals and holes, for a grammar that constrains calls.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the list. Refuses lists beyond 2^16 pieces and tools without names. What it lists, text/reply.h reads back. */
#include "text/markup_part.h"

#define MAX_PIECES 65536u

typedef struct maker {
    fh_pieces *out;
    const fh_markup *m;
    fh_pattern call, param;
    fh_status status;
} maker;

static void put(maker *k, fh_piece_kind kind, fh_str text, const fh_json_node *schema) {
    fh_pieces *p = k->out;
    if (k->status != FH_OK) return;
    if (p->n == MAX_PIECES) {
        k->status = FH_ERR_LIMIT;
        return;
    }
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        fh_piece *list = fh_arena_alloc(&p->arena, cap, sizeof *list);
        if (!list) {
            k->status = p->arena.status;
            return;
        }
        if (p->n > 0) memcpy(list, p->list, p->n * sizeof *list);
        p->list = list;
        p->cap = cap;
    }
    fh_str copy = {NULL, 0};
    if (text.len > 0 && !fh_arena_copy(&p->arena, text, &copy)) {
        k->status = p->arena.status;
        return;
    }
    p->list[p->n++] = (fh_piece){.kind = kind, .text = copy, .schema = schema};
}

static void mark(maker *k, fh_piece_kind kind) { put(k, kind, (fh_str){NULL, 0}, NULL); }
static void literal(maker *k, fh_str s) {
    if (s.len > 0) put(k, FH_PIECE_LITERAL, s, NULL);
}
static void literal_z(maker *k, const char *z) { literal(k, fh_str_of(z ? z : "")); }

/* As a JSON string. */
static void quoted(maker *k, const char *before, fh_str name, const char *behind) {
    fh_buf b;
    fh_buf_init(&b, 4096 + 6 * name.len);
    fh_buf_add_z(&b, before);
    fh_buf_add_byte(&b, '"');
    fh_json_escape(&b, name);
    fh_buf_add_byte(&b, '"');
    fh_buf_add_z(&b, behind);
    if (fh_buf_check(&b, NULL) == FH_OK) literal(k, fh_buf_str(&b));
    else k->status = b.status;
    fh_buf_release(&b);
}

static void put_call_object(maker *k, fh_str name, const fh_json_node *schema) {
    if (k->m->flags & FH_MARKUP_NAME_KEY) {
        quoted(k, "{", name, ": ");
    } else {
        quoted(k, "{", fh_str_of(k->m->key_name ? k->m->key_name : "name"), ": ");
        quoted(k, "", name, ", ");
        quoted(k, "", fh_str_of(k->m->key_args ? k->m->key_args : "arguments"), ": ");
    }
    put(k, FH_PIECE_SCHEMA, (fh_str){NULL, 0}, schema);
    literal_z(k, "}");
}

static bool is_required(const fh_json_node *schema, fh_str key) {
    const fh_json_node *list = fh_json_get(schema, "required");
    if (!fh_json_is(list, FH_JSON_ARRAY)) return false;
    for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c)) {
        fh_str s;
        if (fh_json_to_str(c, &s) && fh_str_eq(s, key)) return true;
    }
    return false;
}

/* What must not stand inside the value: the literal behind it. */
static fh_str behind_value(const fh_pattern *p, size_t i) {
    for (size_t n = i + 1; n < p->n; n++) {
        if (p->part[n].hole == FH_HOLE_NONE) return p->part[n].literal;
    }
    return (fh_str){NULL, 0};
}

static const char *type_word(const fh_markup *m, unsigned kinds) {
    static const char *const names[] = {"string", "number", "boolean", "null", "array", "object"};
    if (!(m->flags & FH_MARKUP_TYPE_NAMES)) return kinds == FH_KIND_STRING ? "true" : "false";
    for (size_t i = 0; i < FH_COUNT(names); i++) {
        if (kinds == 1u << i) return names[i];
    }
    return "object";
}

/* As many as the model was taught; text/reply.h reads any white space. */
static void put_lines(maker *k, const fh_pattern_part *part) {
    for (uint8_t i = 0; i < part->n_line; i++) literal_z(k, "\n");
}

static void put_param(maker *k, fh_str key, const fh_json_node *schema, const fh_json_node *root) {
    unsigned kinds = fh_schema_kinds(schema, root);
    bool text = kinds == FH_KIND_STRING;
    for (size_t i = 0; i < k->param.n; i++) {
        const fh_pattern_part *part = &k->param.part[i];
        put_lines(k, part);
        switch (part->hole) {
        case FH_HOLE_NONE: literal(k, part->literal); break;
        case FH_HOLE_KEY: literal(k, key); break;
        case FH_HOLE_TYPE: literal_z(k, type_word(k->m, kinds)); break;
        default: put(k, text ? FH_PIECE_STRING : FH_PIECE_SCHEMA, behind_value(&k->param, i), schema); break;
        }
    }
}

static void put_params(maker *k, const fh_json_node *schema) {
    const fh_json_node *all = fh_json_get(schema, "properties");
    if (!fh_json_is(all, FH_JSON_OBJECT)) return;
    for (const fh_json_node *c = fh_json_first(all); c; c = fh_json_after(all, c)) {
        bool must = is_required(schema, c->key);
        if (!must) mark(k, FH_PIECE_MAYBE);
        put_param(k, c->key, c, schema);
        if (!must) mark(k, FH_PIECE_CLOSE);
    }
}

static void put_keyword(maker *k, fh_str key, const fh_json_node *schema) {
    literal(k, key);
    literal_z(k, "=");
    put(k, FH_PIECE_PYTHON, (fh_str){NULL, 0}, schema);
}

/* The optional ones from c on, each with a comma before it. */
static void put_optional(maker *k, const fh_json_node *all, const fh_json_node *c, const fh_json_node *schema) {
    for (; c; c = fh_json_after(all, c)) {
        if (is_required(schema, c->key)) continue;
        mark(k, FH_PIECE_MAYBE);
        literal_z(k, ", ");
        put_keyword(k, c->key, c);
        mark(k, FH_PIECE_CLOSE);
    }
}

/* Required keywords first, then the others; where none is required, whichever comes first has no comma. */
static void put_python(maker *k, const fh_json_node *schema) {
    const fh_json_node *all = fh_json_get(schema, "properties");
    bool any = false;
    if (!fh_json_is(all, FH_JSON_OBJECT) || all->n_child == 0) return;
    for (const fh_json_node *c = fh_json_first(all); c; c = fh_json_after(all, c)) {
        if (!is_required(schema, c->key)) continue;
        if (any) literal_z(k, ", ");
        put_keyword(k, c->key, c);
        any = true;
    }
    if (any) {
        put_optional(k, all, fh_json_first(all), schema);
        return;
    }
    mark(k, FH_PIECE_MAYBE);
    mark(k, FH_PIECE_ANY);
    for (const fh_json_node *c = fh_json_first(all); c && k->status == FH_OK; c = fh_json_after(all, c)) {
        if (c != fh_json_first(all)) mark(k, FH_PIECE_OR);
        put_keyword(k, c->key, c);
        put_optional(k, all, fh_json_after(all, c), schema);
    }
    mark(k, FH_PIECE_CLOSE);
    mark(k, FH_PIECE_CLOSE);
}

static void put_parts(maker *k, const fh_pattern *p, fh_str name, const fh_json_node *schema) {
    for (size_t i = 0; i < p->n; i++) {
        const fh_pattern_part *part = &p->part[i];
        if (i > 0) put_lines(k, part);
        switch (part->hole) {
        case FH_HOLE_NONE: literal(k, part->literal); break;
        case FH_HOLE_NAME: literal(k, name); break;
        case FH_HOLE_ID: mark(k, FH_PIECE_ID); break;
        case FH_HOLE_NUMBER: mark(k, FH_PIECE_NUMBER); break;
        case FH_HOLE_ID_NAME:
            literal_z(k, k->m->name_prefix);
            literal(k, name);
            literal_z(k, ":");
            mark(k, FH_PIECE_NUMBER);
            break;
        case FH_HOLE_ARGS: put(k, FH_PIECE_SCHEMA, (fh_str){NULL, 0}, schema); break;
        case FH_HOLE_CALL: put_call_object(k, name, schema); break;
        case FH_HOLE_PYTHON: put_python(k, schema); break;
        case FH_HOLE_QUOTED: put(k, FH_PIECE_QUOTED, fh_str_of(k->m->quote ? k->m->quote : ""), schema); break;
        default: put_params(k, schema); break;
        }
    }
}

static void put_header(maker *k, fh_str name) {
    const char *make = k->m->head_make, *at = make ? strstr(make, "%n") : NULL;
    if (!at) return;
    literal(k, (fh_str){make, (size_t)(at - make)});
    literal(k, name);
    literal_z(k, at + 2);
}

/* One call of any tool that the rule lets in. */
static size_t put_any_call(maker *k, const fh_call_rule *rule) {
    size_t n = 0;
    for (const fh_json_node *t = fh_json_first(rule->tools); t; t = fh_json_after(rule->tools, t)) {
        const fh_json_node *f = fh_tool_function(t);
        fh_str name;
        if (!fh_json_to_str(fh_json_get(f, "name"), &name)) continue;
        if (rule->choice == FH_CALL_NAMED && !fh_str_eq(name, rule->name)) continue;
        mark(k, n++ ? FH_PIECE_OR : FH_PIECE_ANY);
        put_header(k, name);
        bool section = fh_given(k->m->head_make) && fh_given(k->m->section_open);
        if (section) literal_z(k, k->m->section_open);
        put_parts(k, &k->call, name, fh_json_get(f, "parameters"));
        if (section) literal_z(k, k->m->section_close);
    }
    if (n > 0) mark(k, FH_PIECE_CLOSE);
    return n;
}

static fh_str opening(const maker *k) {
    const fh_markup *m = k->m;
    if (fh_given(m->head_make)) return fh_str_of(m->head_open[0]);
    if (fh_given(m->section_open)) return fh_str_of(m->section_open);
    return k->call.part[0].literal;
}

static size_t put_section(maker *k, const fh_call_rule *rule) {
    const fh_markup *m = k->m;
    bool list = m->flags & FH_MARKUP_LISTED, headed = fh_given(m->head_make);
    if (!headed && !fh_given(m->bare)) literal_z(k, m->section_open);
    if (!headed && fh_given(m->bare) && m->bare[0] == '[') literal_z(k, "[");
    if (list) literal_z(k, "[");
    bool many = rule->parallel && !(m->flags & FH_MARKUP_SINGLE);
    if (many) put(k, FH_PIECE_MANY, fh_str_of(list ? ", " : m->separator ? m->separator : ""), NULL);
    size_t n = put_any_call(k, rule);
    if (many) mark(k, FH_PIECE_CLOSE);
    if (list) literal_z(k, "]");
    if (!headed && !fh_given(m->bare)) literal_z(k, m->section_close);
    if (!headed && fh_given(m->bare) && m->bare[0] == '[') literal_z(k, "]");
    return n;
}

fh_status fh_markup_pieces(fh_pieces *out, const fh_markup *m, const fh_call_rule *rule, fh_err *err) {
    fh_pieces p = {.list = NULL};
    maker k = {.out = &p, .m = m};
    if (rule->choice == FH_CALL_NONE || !fh_json_is(rule->tools, FH_JSON_ARRAY))
        return fh_fail(err, FH_ERR_USAGE, "a grammar for calls needs tools, and a choice that allows calls");
    if (!fh_pattern_read(&k.call, m->call) || !fh_pattern_read(&k.param, m->param) || k.call.n == 0)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "markup '%s' has no calls", m->name);
    fh_arena_init(&p.arena, (size_t)32 << 20);
    bool held = rule->choice == FH_CALL_AUTO && (rule->answer || rule->answer_object);
    if (held) {
        mark(&k, FH_PIECE_ANY);
    } else if (rule->choice == FH_CALL_AUTO) {
        put(&k, FH_PIECE_TEXT, opening(&k), NULL);
        mark(&k, FH_PIECE_MAYBE);
    }
    size_t n = put_section(&k, rule);
    if (held) {
        mark(&k, FH_PIECE_OR);
        put(&k, FH_PIECE_ANSWER, (fh_str){NULL, 0}, rule->answer);
    }
    if (rule->choice == FH_CALL_AUTO) mark(&k, FH_PIECE_CLOSE);
    if (k.status == FH_OK && n > 0) {
        *out = p;
        return FH_OK;
    }
    fh_arena_release(&p.arena);
    if (k.status == FH_ERR_MEMORY) return fh_fail_memory(err, p.n * sizeof *p.list);
    if (k.status != FH_OK) return fh_fail(err, k.status, "a grammar for calls: more than %u pieces", MAX_PIECES);
    if (rule->choice == FH_CALL_NAMED)
        return fh_fail(err, FH_ERR_NOT_FOUND, "tool '%.*s' is not among the tools", FH_STR_ARG(rule->name));
    return fh_fail(err, FH_ERR_USAGE, "a grammar for calls: no tool has a name");
}

void fh_pieces_release(fh_pieces *p) {
    if (!p) return;
    fh_arena_release(&p->arena);
    *p = (fh_pieces){.list = NULL};
}
