/* text/jinja_parse.c - statements of the template language: a tree out of tokens.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: nodes go to the template's arena. Refuses include, import, from and extends (a template is one
 * file), unknown tags, and blocks deeper than FH_J_MAX_BLOCK_DEPTH. Messages name the line. */
#include "text/jinja_part.h"

#include <stdarg.h>

static fh_status parse_until(fh_jparser *p, const char *const *ends, fh_jnodes *body, fh_str *end);

/* ---- shared with the expressions ---- */

fh_status fh_jinja_syntax(fh_jparser *p, uint32_t line, const char *fmt, ...) {
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return fh_fail(p->err, FH_ERR_FORMAT, "template line %u: %s", line, text);
}

fh_status fh_jinja_advance(fh_jparser *p) {
    if (p->has_ahead) {
        p->has_ahead = false;
        p->tok = p->ahead;
        return FH_OK;
    }
    return fh_jinja_lex(&p->lex, &p->tok);
}

fh_status fh_jinja_peek(fh_jparser *p, fh_jtoken *out) {
    if (!p->has_ahead) {
        FH_TRY(fh_jinja_lex(&p->lex, &p->ahead));
        p->has_ahead = true;
    }
    *out = p->ahead;
    return FH_OK;
}

bool fh_jinja_at_name(const fh_jparser *p, const char *name) {
    return p->tok.kind == FH_J_T_NAME && fh_str_is(p->tok.text, name);
}

bool fh_jinja_at_op(const fh_jparser *p, int op) { return p->tok.kind == FH_J_T_OP && p->tok.op == op; }

static void token_text(const fh_jtoken *t, char *out, size_t size) {
    switch (t->kind) {
    case FH_J_T_END: snprintf(out, size, "the end of the template"); return;
    case FH_J_T_BLOCK_END: snprintf(out, size, "the end of the tag"); return;
    case FH_J_T_VAR_END: snprintf(out, size, "'}}'"); return;
    case FH_J_T_NAME: snprintf(out, size, "'%.*s'", FH_STR_ARG(t->text)); return;
    case FH_J_T_STRING: snprintf(out, size, "a string"); return;
    case FH_J_T_INT:
    case FH_J_T_FLOAT: snprintf(out, size, "a number"); return;
    case FH_J_T_OP:
        if (t->op > 255) snprintf(out, size, "'%c%c'", t->op >> 8, t->op & 255);
        else snprintf(out, size, "'%c'", t->op);
        return;
    default: snprintf(out, size, "text"); return;
    }
}

static fh_status unexpected(fh_jparser *p, const char *wanted) {
    char got[240];
    token_text(&p->tok, got, sizeof got);
    return fh_jinja_syntax(p, p->tok.line, "%s is wanted, not %s", wanted, got);
}

fh_status fh_jinja_expect_op(fh_jparser *p, int op) {
    char wanted[8];
    if (fh_jinja_at_op(p, op)) return fh_jinja_advance(p);
    snprintf(wanted, sizeof wanted, "'%c'", op);
    return unexpected(p, wanted);
}

fh_status fh_jinja_expect_name(fh_jparser *p, fh_str *out) {
    if (p->tok.kind != FH_J_T_NAME) return unexpected(p, "a name");
    *out = p->tok.text;
    return fh_jinja_advance(p);
}

fh_status fh_jinja_node(fh_jparser *p, fh_jop op, uint32_t line, fh_jnode **out) {
    fh_jnode *n = fh_arena_alloc(p->arena, 1, sizeof *n);
    if (!n) return fh_arena_fail(p->arena, p->err);
    n->op = (uint8_t)op;
    n->line = line;
    n->depth = 1;
    n->slot = n->export_ = -1;
    *out = n;
    return FH_OK;
}

fh_status fh_jinja_push(fh_jparser *p, fh_jnodes *to, fh_jnode *n) {
    if (to->n == to->cap) {
        uint32_t cap = to->cap ? to->cap * 2 : 4;
        fh_jnode **item = fh_arena_alloc(p->arena, cap, sizeof *item);
        if (!item) return fh_arena_fail(p->arena, p->err);
        if (to->n) memcpy(item, to->item, to->n * sizeof *item);
        to->item = item;
        to->cap = cap;
    }
    to->item[to->n++] = n;
    return FH_OK;
}

/* ---- pieces of statements ---- */

static fh_status skip_name(fh_jparser *p, const char *name) {
    char wanted[40];
    if (fh_jinja_at_name(p, name)) return fh_jinja_advance(p);
    snprintf(wanted, sizeof wanted, "'%s'", name);
    return unexpected(p, wanted);
}

static bool skip_if(fh_jparser *p, const char *name, fh_status *s) {
    if (!fh_jinja_at_name(p, name)) return false;
    *s = fh_jinja_advance(p);
    return true;
}

/* Marks what a value will be stored to, and refuses what cannot be. */
static fh_status mark_target(fh_jparser *p, fh_jnode *n) {
    if (n->op == FH_J_NAME) {
        n->sub = 1;
        return FH_OK;
    }
    if (n->op == FH_J_NS_ATTR) return FH_OK;
    if (n->op != FH_J_MAKE_TUPLE) return fh_jinja_syntax(p, n->line, "this cannot be assigned to");
    for (uint32_t i = 0; i < n->list.n; i++) FH_TRY(mark_target(p, n->list.item[i]));
    return FH_OK;
}

static fh_status name_target(fh_jparser *p, fh_jnode **out) {
    FH_TRY(fh_jinja_node(p, FH_J_NAME, p->tok.line, out));
    (*out)->sub = 1;
    FH_TRY(fh_jinja_expect_name(p, &(*out)->text));
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < 6; i++)
        if (fh_str_is((*out)->text, constants[i]))
            return fh_jinja_syntax(p, (*out)->line, "'%s' cannot be assigned to", constants[i]);
    return FH_OK;
}

/* Behind a tag's head: its end, and the statements up to one of the ends (the name is taken, not its tag's end). */
static fh_status parse_body(fh_jparser *p, const char *const *ends, fh_jnodes *body, fh_str *end) {
    if (fh_jinja_at_op(p, ':')) FH_TRY(fh_jinja_advance(p));
    if (p->tok.kind != FH_J_T_BLOCK_END) return unexpected(p, "the end of the tag");
    FH_TRY(fh_jinja_advance(p));
    return parse_until(p, ends, body, end);
}

#define ENDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static fh_status parse_if(fh_jparser *p, fh_jnode *n) {
    fh_str end;
    FH_TRY(fh_jinja_tuple(p, false, false, false, false, NULL, &n->a));
    FH_TRY(parse_body(p, ENDS("elif", "else", "endif"), &n->body, &end));
    /* list: the elif branches */
    while (fh_str_is(end, "elif")) {
        fh_jnode *e = NULL;
        FH_TRY(fh_jinja_node(p, FH_J_IF, p->tok.line, &e));
        FH_TRY(fh_jinja_tuple(p, false, false, false, false, NULL, &e->a));
        FH_TRY(parse_body(p, ENDS("elif", "else", "endif"), &e->body, &end));
        FH_TRY(fh_jinja_push(p, &n->list, e));
    }
    if (fh_str_is(end, "else")) FH_TRY(parse_body(p, ENDS("endif"), &n->else_, &end));
    return FH_OK;
}

static fh_status parse_for(fh_jparser *p, fh_jnode *n) {
    fh_str end;
    fh_status s = FH_OK;
    FH_TRY(fh_jinja_tuple(p, true, true, false, false, "in", &n->b));
    FH_TRY(mark_target(p, n->b));
    FH_TRY(skip_name(p, "in"));
    FH_TRY(fh_jinja_tuple(p, false, false, false, false, "recursive", &n->a));
    if (skip_if(p, "if", &s)) {
        FH_TRY(s);
        FH_TRY(fh_jinja_expr(p, true, &n->c));
    }
    n->sub = skip_if(p, "recursive", &s);
    FH_TRY(s);
    FH_TRY(parse_body(p, ENDS("endfor", "else"), &n->body, &end));
    if (fh_str_is(end, "else")) FH_TRY(parse_body(p, ENDS("endfor"), &n->else_, &end));
    return FH_OK;
}

static fh_status parse_set(fh_jparser *p, fh_jnode *n) {
    fh_str end;
    FH_TRY(fh_jinja_tuple(p, true, true, false, true, NULL, &n->b));
    FH_TRY(mark_target(p, n->b));
    if (fh_jinja_at_op(p, '=')) {
        FH_TRY(fh_jinja_advance(p));
        return fh_jinja_tuple(p, false, true, false, false, NULL, &n->a);
    }
    n->op = FH_J_SET_BLOCK;
    FH_TRY(fh_jinja_filters(p, NULL, false, &n->a));
    return parse_body(p, ENDS("endset"), &n->body, &end);
}

/* ( a, b=1 ) of a macro or a call block; names become parameters of the function. */
static fh_status parse_signature(fh_jparser *p, fh_jfunc *f) {
    fh_jnodes names = {0}, defaults = {0};
    FH_TRY(fh_jinja_expect_op(p, '('));
    while (!fh_jinja_at_op(p, ')')) {
        fh_jnode *name, *value = NULL;
        if (names.n) FH_TRY(fh_jinja_expect_op(p, ','));
        FH_TRY(name_target(p, &name));
        for (uint32_t i = 0; i < names.n; i++)
            if (fh_str_eq(names.item[i]->text, name->text))
                return fh_jinja_syntax(p, name->line, "the parameter '%.*s' occurs twice", FH_STR_ARG(name->text));
        if (fh_jinja_at_op(p, '=')) {
            FH_TRY(fh_jinja_advance(p));
            FH_TRY(fh_jinja_expr(p, true, &value));
        } else if (defaults.n && defaults.item[defaults.n - 1]) {
            return fh_jinja_syntax(p, name->line, "a parameter without a default follows one that has one");
        }
        FH_TRY(fh_jinja_push(p, &names, name));
        FH_TRY(fh_jinja_push(p, &defaults, value));
    }
    f->n_param = names.n;
    f->param = fh_arena_alloc(p->arena, names.n, sizeof *f->param);
    f->param_slot = fh_arena_alloc(p->arena, names.n, sizeof *f->param_slot);
    if (!f->param || !f->param_slot) return fh_arena_fail(p->arena, p->err);
    for (uint32_t i = 0; i < names.n; i++) {
        f->param[i] = names.item[i]->text;
        if (fh_str_is(f->param[i], "caller")) f->explicit_caller = true;
    }
    f->fallback = defaults.item;
    return fh_jinja_expect_op(p, ')');
}

static fh_status new_func(fh_jparser *p, fh_jnode *n, fh_str name) {
    fh_jfunc *f = n->func = fh_arena_alloc(p->arena, 1, sizeof *f);
    if (!f) return fh_arena_fail(p->arena, p->err);
    f->name = name;
    f->line = n->line;
    f->caller_slot = f->kwargs_slot = f->varargs_slot = -1;
    return FH_OK;
}

static fh_status parse_macro(fh_jparser *p, fh_jnode *n) {
    fh_str end;
    FH_TRY(name_target(p, &n->b));
    FH_TRY(new_func(p, n, n->b->text));
    FH_TRY(parse_signature(p, n->func));
    return parse_body(p, ENDS("endmacro"), &n->func->body, &end);
}

static fh_status parse_call_block(fh_jparser *p, fh_jnode *n) {
    fh_str end;
    FH_TRY(new_func(p, n, (fh_str){NULL, 0}));
    if (fh_jinja_at_op(p, '(')) FH_TRY(parse_signature(p, n->func));
    FH_TRY(fh_jinja_expr(p, true, &n->a));
    if (n->a->op != FH_J_CALL) return fh_jinja_syntax(p, n->line, "a call is wanted in the call tag");
    return parse_body(p, ENDS("endcall"), &n->func->body, &end);
}

static fh_status parse_filter_block(fh_jparser *p, fh_jnode *n) {
    fh_str end;
    FH_TRY(fh_jinja_filters(p, NULL, true, &n->a));
    return parse_body(p, ENDS("endfilter"), &n->body, &end);
}

static fh_status parse_with(fh_jparser *p, fh_jnode *n) {
    fh_str end;
    while (p->tok.kind != FH_J_T_BLOCK_END) {
        fh_jnode *target, *value;
        if (n->list.n) FH_TRY(fh_jinja_expect_op(p, ','));
        FH_TRY(fh_jinja_tuple(p, true, true, false, false, NULL, &target));
        FH_TRY(mark_target(p, target));
        FH_TRY(fh_jinja_expect_op(p, '='));
        FH_TRY(fh_jinja_expr(p, true, &value));
        FH_TRY(fh_jinja_push(p, &n->list, target));
        FH_TRY(fh_jinja_push(p, &n->list, value));
    }
    return parse_body(p, ENDS("endwith"), &n->body, &end);
}

static fh_status parse_block(fh_jparser *p, fh_jnode *n) {
    fh_str end;
    fh_status s = FH_OK;
    FH_TRY(fh_jinja_expect_name(p, &n->text));
    FH_TRY(new_func(p, n, n->text));
    n->sub = skip_if(p, "scoped", &s);
    FH_TRY(s);
    if (skip_if(p, "required", &s)) FH_TRY(s);
    FH_TRY(parse_body(p, ENDS("endblock"), &n->func->body, &end));
    if (p->tok.kind == FH_J_T_NAME && fh_str_eq(p->tok.text, n->text)) return fh_jinja_advance(p);
    return FH_OK;
}

/* {% print a, b %}: as many prints, in a scope-less group. */
static fh_status parse_print(fh_jparser *p, fh_jnode *n) {
    while (p->tok.kind != FH_J_T_BLOCK_END) {
        fh_jnode *one = NULL;
        if (n->body.n) FH_TRY(fh_jinja_expect_op(p, ','));
        FH_TRY(fh_jinja_node(p, FH_J_PRINT, p->tok.line, &one));
        FH_TRY(fh_jinja_expr(p, true, &one->a));
        FH_TRY(fh_jinja_push(p, &n->body, one));
    }
    return FH_OK;
}

/* generation is a call block in the reference: a function of its own, printed where it stands. */
static fh_status parse_generation(fh_jparser *p, fh_jnode *n) {
    fh_str end;
    FH_TRY(new_func(p, n, (fh_str){NULL, 0}));
    return parse_body(p, ENDS("endgeneration"), &n->func->body, &end);
}

static fh_status parse_autoescape(fh_jparser *p, fh_jnode *n) {
    fh_str end;
    fh_jnode *on;
    FH_TRY(fh_jinja_expr(p, true, &on));
    if (on->op != FH_J_CONST || fh_jinja_truth(on->value))
        return fh_jinja_syntax(p, n->line, "autoescape can only be false");
    return parse_body(p, ENDS("endautoescape"), &n->body, &end);
}

static fh_status parse_loop_control(fh_jparser *p, fh_jnode *n) {
    (void)p;
    (void)n;
    return FH_OK;
}

static const struct {
    const char *tag;
    fh_jop op;
    fh_status (*parse)(fh_jparser *p, fh_jnode *n);
} tags[] = {
    {"if", FH_J_IF, parse_if},
    {"for", FH_J_FOR, parse_for},
    {"set", FH_J_SET, parse_set},
    {"macro", FH_J_MACRO_DEF, parse_macro},
    {"call", FH_J_CALL_BLOCK, parse_call_block},
    {"filter", FH_J_FILTER_BLOCK, parse_filter_block},
    {"with", FH_J_WITH, parse_with},
    {"block", FH_J_BLOCK, parse_block},
    {"print", FH_J_SCOPE, parse_print},
    {"generation", FH_J_CALL_BLOCK, parse_generation},
    {"autoescape", FH_J_SCOPE, parse_autoescape},
    {"break", FH_J_BREAK, parse_loop_control},
    {"continue", FH_J_CONTINUE, parse_loop_control},
};

static fh_status parse_statement(fh_jparser *p, fh_jnode **out) {
    fh_str tag = p->tok.text;
    uint32_t line = p->tok.line;
    if (p->tok.kind != FH_J_T_NAME) return unexpected(p, "the name of a tag");
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (!fh_str_is(tag, tags[i].tag)) continue;
        FH_TRY(fh_jinja_node(p, tags[i].op, line, out));
        FH_TRY(fh_jinja_advance(p));
        return tags[i].parse(p, *out);
    }
    if (fh_str_is(tag, "include") || fh_str_is(tag, "import") || fh_str_is(tag, "from") || fh_str_is(tag, "extends"))
        return fh_fail(p->err, FH_ERR_UNSUPPORTED, "template line %u: '%.*s' is refused: a template is one file", line,
                       FH_STR_ARG(tag));
    return fh_jinja_syntax(p, line, "unknown tag '%.*s'", FH_STR_ARG(tag));
}

static bool is_end(const fh_jparser *p, const char *const *ends) {
    for (size_t i = 0; ends && ends[i]; i++)
        if (fh_jinja_at_name(p, ends[i])) return true;
    return false;
}

/* Statements up to one of the ends, whose name is taken; or to the end of the template where ends is NULL. */
static fh_status parse_until(fh_jparser *p, const char *const *ends, fh_jnodes *body, fh_str *end) {
    uint32_t line = p->tok.line;
    fh_jnode *n = NULL;
    if (++p->n_block > FH_J_MAX_BLOCK_DEPTH) return fh_jinja_syntax(p, line, "blocks are nested too deeply");
    for (;;) {
        fh_jtoken t = p->tok;
        if (t.kind == FH_J_T_END) break;
        FH_TRY(fh_jinja_advance(p));
        if (t.kind == FH_J_T_DATA) {
            FH_TRY(fh_jinja_node(p, FH_J_DATA, t.line, &n));
            n->value = fh_jval_str(t.text);
            FH_TRY(fh_jinja_push(p, body, n));
        } else if (t.kind == FH_J_T_VAR_BEGIN) {
            FH_TRY(fh_jinja_node(p, FH_J_PRINT, t.line, &n));
            FH_TRY(fh_jinja_tuple(p, false, true, false, false, NULL, &n->a));
            if (p->tok.kind != FH_J_T_VAR_END) return unexpected(p, "'}}'");
            FH_TRY(fh_jinja_push(p, body, n));
            FH_TRY(fh_jinja_advance(p));
        } else {
            if (is_end(p, ends)) {
                p->n_block--;
                return fh_jinja_expect_name(p, end);
            }
            FH_TRY(parse_statement(p, &n));
            if (p->tok.kind != FH_J_T_BLOCK_END) return unexpected(p, "the end of the tag");
            FH_TRY(fh_jinja_push(p, body, n));
            FH_TRY(fh_jinja_advance(p));
        }
    }
    p->n_block--;
    if (ends) return fh_jinja_syntax(p, line, "this block does not end: '%s' is missing", ends[0]);
    return FH_OK;
}

fh_status fh_jinja_parse(fh_template *t, bool own, fh_err *err) {
    fh_jparser p = {.arena = &t->arena, .own = own, .err = err};
    fh_str end;
    FH_TRY(fh_jinja_lex_init(&p.lex, &t->arena, t->source, err));
    FH_TRY(fh_jinja_advance(&p));
    return parse_until(&p, NULL, &t->body, &end);
}
