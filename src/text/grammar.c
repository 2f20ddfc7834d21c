/* text/grammar.c - what all kinds of grammar share, and the small kinds: one expression, a choice, JSON mode.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: a grammar's arena, in which everything of it lies. */
#include "text/grammar.h"

#include "base/num.h"
#include "text/grammar_part.h"
#include "text/regex.h"

#define MAX_CHOICE 100000u

fh_grammar *fh_grammar_new(fh_grammar_kind kind) {
    fh_grammar *g = fh_alloc_zero(1, sizeof *g);
    if (!g) return NULL;
    fh_arena_init(&g->arena, FH_GRAMMAR_BYTES - FH_WORK_BYTES);
    g->kind = kind;
    g->any_string = (fh_gstr){NULL, 0, FH_ENDLESS, NULL};
    return g;
}

void fh_grammar_free(fh_grammar *g) {
    if (!g) return;
    for (uint32_t i = 0; i < g->n_part; i++) fh_grammar_free(g->part[i]);
    fh_arena_release(&g->arena);
    fh_free(g);
}

fh_status fh_grammar_from_auto(fh_grammar **out, fh_grammar_kind kind, const fh_auto *a, fh_work *w, fh_err *err) {
    if (fh_auto_is_empty(a)) return fh_fail(err, FH_ERR_FORMAT, "grammar: no text at all matches");
    fh_grammar *g = fh_grammar_new(kind);
    if (!g) return fh_fail_memory(err, sizeof *g);
    g->n_rule = 1;
    g->rule = fh_arena_alloc(&g->arena, 1, sizeof *g->rule);
    const fh_auto *own = fh_auto_copy(&g->arena, a);
    uint32_t *call_at = fh_arena_alloc(&g->arena, (size_t)a->n_state + 1, sizeof *call_at);
    fh_status st = FH_OK;
    if (!g->rule || !own || !call_at) st = fh_arena_fail(&g->arena, err);
    if (st == FH_OK) {
        g->rule[0].r = (fh_rule_auto){own, call_at, NULL};
        g->rule[0].name = FH_STR("text");
        st = fh_grammar_link_rules(g, w, err);
    }
    if (st == FH_OK) *out = g;
    else fh_grammar_free(g);
    return st;
}

fh_status fh_grammar_from_regex(fh_grammar **out, fh_str pattern, fh_err *err) {
    fh_work w;
    const fh_auto *a = NULL;
    fh_work_init(&w);
    fh_status st = fh_regex_compile(&w, pattern, true, &a, err);
    if (st == FH_OK) st = fh_grammar_from_auto(out, FH_GRAMMAR_REGEX, a, &w, err);
    fh_work_release(&w);
    return st;
}

fh_status fh_grammar_from_choice(fh_grammar **out, const fh_str *choice, size_t n, fh_err *err) {
    fh_work w;
    if (n == 0) return fh_fail(err, FH_ERR_USAGE, "choice: nothing to choose from");
    if (n > MAX_CHOICE) return fh_fail(err, FH_ERR_LIMIT, "choice: %zu texts, at most %u", n, MAX_CHOICE);
    for (size_t i = 0; i < n; i++)
        if (!fh_utf8_valid(choice[i])) return fh_fail(err, FH_ERR_FORMAT, "choice: text %zu is not UTF-8", i);
    fh_work_init(&w);
    const fh_auto *a = fh_auto_words(&w, choice, (uint32_t)n);
    fh_status st = a ? fh_grammar_from_auto(out, FH_GRAMMAR_CHOICE, a, &w, err) : fh_work_check(&w, "choice", err);
    fh_work_release(&w);
    return st;
}

/* Two values: anything, and an object with anything in it. */
static fh_status fill_json(fh_grammar *g, fh_work *w, fh_err *err) {
    const fh_auto *num = NULL;
    FH_TRY(fh_regex_compile(w, FH_STR("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?"), true, &num, err));
    uint32_t *value = fh_arena_alloc(&g->arena, 1, sizeof *value);
    g->node = fh_arena_alloc(&g->arena, 2, sizeof *g->node);
    g->arr = fh_arena_alloc(&g->arena, 1, sizeof *g->arr);
    g->obj = fh_arena_alloc(&g->arena, 1, sizeof *g->obj);
    num = fh_auto_copy(&g->arena, num);
    if (!value || !g->node || !g->arr || !g->obj || !num) return fh_arena_fail(&g->arena, err);
    g->n_node = 2;
    g->n_arr = g->n_obj = 1;
    g->root = 1;
    g->node[0] = (fh_gnode){.words = 7, .num = num, .str = &g->any_string, .n_arr = 1, .n_obj = 1};
    g->node[1] = (fh_gnode){.n_obj = 1};
    g->arr[0] = (fh_garr){.rest = 0, .most = FH_ENDLESS};
    g->obj[0] = (fh_gobj){.other = FH_KEYS_ANY, .n_other = 1, .other_value = value, .most = FH_ENDLESS};
    g->n_state = num->n_state;
    return fh_gobj_finish(&g->obj[0], NULL, &g->arena, w, err);
}

fh_status fh_grammar_from_json(fh_grammar **out, const fh_grammar_options *opt, fh_err *err) {
    fh_grammar *g = fh_grammar_new(FH_GRAMMAR_JSON);
    fh_work w;
    if (!g) return fh_fail_memory(err, sizeof *g);
    fh_grammar_set_space(g, opt);
    fh_work_init(&w);
    fh_status st = fill_json(g, &w, err);
    fh_work_release(&w);
    if (st == FH_OK) *out = g;
    else fh_grammar_free(g);
    return st;
}

void fh_grammar_set_space(fh_grammar *g, const fh_grammar_options *opt) {
    g->max_space = opt && opt->max_space ? FH_MIN(opt->max_space, 60000u) : FH_GRAMMAR_SPACE;
    if (opt && opt->compact) g->max_space = 0;
}

/* ---- saying what it is ---- */
static const char *const kind_names[] = {"gbnf", "regex", "choice", "json", "schema", "calls"};

fh_grammar_facts fh_grammar_get_facts(const fh_grammar *g) {
    return (fh_grammar_facts){.kind = g->kind,
                              .name = kind_names[g->kind],
                              .n_state = g->n_state,
                              .n_rule = (uint64_t)g->n_rule + g->n_node + g->n_arr + g->n_obj,
                              .bytes = g->arena.used};
}

static void describe_node(const fh_grammar *g, uint32_t i, fh_buf *out) {
    const fh_gnode *n = &g->node[i];
    fh_buf_printf(out, "value %u:", i);
    for (int k = 0; k < 3; k++)
        if (n->words >> k & 1) fh_buf_printf(out, " %s", k == 0 ? "null" : k == 1 ? "true" : "false");
    if (n->num) fh_buf_printf(out, " number (%u states)", n->num->n_state);
    if (n->str) {
        fh_buf_add_z(out, " string");
        if (n->str->a) fh_buf_printf(out, " (%u states)", n->str->a->n_state);
        if (n->str->least) fh_buf_printf(out, " from %u", n->str->least);
        if (n->str->most != FH_ENDLESS) fh_buf_printf(out, " to %u", n->str->most);
    }
    for (uint32_t k = 0; k < n->n_arr; k++) {
        const fh_garr *a = &g->arr[n->arr + k];
        fh_buf_printf(out, " array[%u..", a->least);
        if (a->most != FH_ENDLESS) fh_buf_printf(out, "%u", a->most);
        fh_buf_add_z(out, "](");
        for (uint32_t p = 0; p < a->n_prefix; p++) fh_buf_printf(out, "%u, ", a->prefix[p]);
        if (a->rest != FH_NONE) fh_buf_printf(out, "%u...", a->rest);
        fh_buf_add_byte(out, ')');
    }
    for (uint32_t k = 0; k < n->n_obj; k++) fh_buf_printf(out, " object %u", n->obj + k);
    fh_buf_add_byte(out, '\n');
}

static void describe_object(const fh_grammar *g, uint32_t i, fh_buf *out) {
    const fh_gobj *o = &g->obj[i];
    fh_buf_printf(out, "object %u:", i);
    for (uint32_t k = 0; k < o->n_name; k++) {
        fh_buf_printf(out, "%s \"%.*s\"", k ? "," : "", FH_STR_ARG(o->name[k]));
        if (o->value[k] == FH_NONE) fh_buf_add_z(out, " never");
        else fh_buf_printf(out, "%s: %u", o->required[k / 64] >> (k & 63) & 1 ? "" : "?", o->value[k]);
    }
    if (o->n_name && o->other != FH_KEYS_CLOSED) fh_buf_add_z(out, ", ");
    for (uint32_t k = 0; k < o->n_other && o->other != FH_KEYS_CLOSED; k++)
        fh_buf_printf(out, "%s%s: %u", k ? ", " : " ", o->other == FH_KEYS_ANY ? "other keys" : "matching keys",
                      o->other_value[k]);
    if (o->least) fh_buf_printf(out, "; at least %u", o->least);
    if (o->most != FH_ENDLESS) fh_buf_printf(out, "; at most %u", o->most);
    fh_buf_add_byte(out, '\n');
}

void fh_grammar_describe(const fh_grammar *g, fh_buf *out) {
    for (uint32_t i = 0; i < g->n_rule; i++)
        fh_buf_printf(out, "rule %u %.*s: %u states, %u calls\n", i, FH_STR_ARG(g->rule[i].name),
                      g->rule[i].r.a->n_state, g->rule[i].r.call_at[g->rule[i].r.a->n_state]);
    if (g->n_node) fh_buf_printf(out, "root: value %u\n", g->root);
    for (uint32_t i = 0; i < g->n_node; i++) describe_node(g, i, out);
    for (uint32_t i = 0; i < g->n_obj; i++) describe_object(g, i, out);
}
