/* text/markup_grammar_value.c - values of a compiled schema in the notations that markups write: JSON, Python, {key:v}.
 * SPDX-License-Identifier: Apache-2.0
 * JSON is the grammar's own table of nodes. The others are rules, one a node, so recursion ends. They spell strings
 * without escapes and members in the order of their names: a part of what the schema allows, never more.
 * Refused: counts of members or elements that rules cannot hold. */
#include "text/markup_grammar_part.h"

#define MAX_CHAIN 256u /* elements that are counted one by one */

static fh_frag call(fh_call_maker *k, uint32_t rule) {
    fh_frag f = {fh_nfa_state(&k->s.n), fh_nfa_state(&k->s.n)};
    fh_nfa_edge_add(&k->s.n, f.in, FH_NFA_CALL, rule, f.out);
    return f;
}

static void link(fh_call_maker *k, uint32_t from, uint32_t to) { fh_nfa_edge_add(&k->s.n, from, FH_NFA_EPS, 0, to); }

static void between(fh_call_maker *k, uint32_t from, fh_frag f, uint32_t to) {
    link(k, from, f.in);
    link(k, f.out, to);
}

static fh_frag text_value(fh_call_maker *k, const fh_gstr *s, fh_notation how) {
    fh_str mark = how == FH_NOTATION_QUOTED ? fh_str_of(k->m->quote ? k->m->quote : "\"") : FH_STR("\"");
    fh_frag text = fh_call_auto(k, fh_call_text(k, s, mark, how == FH_NOTATION_PYTHON));
    fh_frag f = fh_nfa_join(&k->s.n, fh_call_literal(k, mark), text);
    return fh_nfa_join(&k->s.n, f, fh_call_literal(k, mark));
}

static fh_frag key_text(fh_call_maker *k, fh_str key, fh_notation how) {
    bool bare = key.len > 0 && how == FH_NOTATION_QUOTED;
    fh_buf b;
    for (size_t i = 0; i < key.len; i++) bare = bare && !strchr(" :,{}[]<>\"|\\\n\t\r", key.ptr[i]) && key.ptr[i];
    fh_buf_init(&b, 6 * key.len + 64);
    const char *mark = bare ? "" : how == FH_NOTATION_QUOTED && fh_given(k->m->quote) ? k->m->quote : "\"";
    fh_buf_add_z(&b, mark);
    if (how == FH_NOTATION_QUOTED) fh_buf_add_str(&b, key);
    else fh_json_escape(&b, key);
    fh_buf_add_z(&b, mark);
    fh_buf_add_z(&b, how == FH_NOTATION_QUOTED ? ":" : ": ");
    fh_frag f = fh_nfa_empty(&k->s.n);
    if (fh_buf_check(&b, NULL) == FH_OK) f = fh_call_literal(k, fh_buf_str(&b));
    else fh_call_maker_fail(k, FH_ERR_MEMORY, "out of memory");
    fh_buf_release(&b);
    return f;
}

static fh_str comma(fh_notation how) { return how == FH_NOTATION_QUOTED ? FH_STR(",") : FH_STR(", "); }

static fh_frag array_value(fh_call_maker *k, uint32_t part, const fh_garr *a, fh_notation how) {
    fh_nfa *n = &k->s.n;
    fh_frag all = {fh_nfa_state(n), fh_nfa_state(n)};
    uint32_t close = fh_nfa_state(n), at = fh_nfa_state(n);
    uint32_t top = a->most != FH_ENDLESS ? a->most : FH_MAX(FH_MAX(a->least, a->n_prefix), 1u);
    between(k, all.in, fh_call_literal(k, FH_STR("[")), at);
    between(k, close, fh_call_literal(k, FH_STR("]")), all.out);
    if (a->most == FH_ENDLESS && a->rest == FH_NONE) top = a->n_prefix;
    if (top > MAX_CHAIN)
        fh_call_maker_fail(k, FH_ERR_UNSUPPORTED, "an array is counted further than this notation can");
    for (uint32_t i = 0; i <= top && k->status == FH_OK; i++) {
        uint32_t node = i < a->n_prefix ? a->prefix[i] : a->rest, next;
        if (i >= a->least) link(k, at, close);
        bool more = i < top ? node != FH_NONE : a->most == FH_ENDLESS && a->rest != FH_NONE;
        if (!more) break;
        next = i < top ? fh_nfa_state(n) : at;
        fh_frag one = fh_call_value(k, part, i < top ? node : a->rest, how);
        if (i > 0) one = fh_nfa_join(n, fh_call_literal(k, comma(how)), one);
        between(k, at, one, next);
        at = next;
    }
    return all;
}

/* Keys that are no names: only where there are no names. One that comes twice counts once, so a count of them is not
 * for this notation. */
static void free_members(fh_call_maker *k, uint32_t part, const fh_gobj *o, fh_notation how, uint32_t at,
                         uint32_t close) {
    static const fh_gstr any = {NULL, 0, FH_ENDLESS, NULL};
    const fh_gstr keys = o->other == FH_KEYS_AUTO ? (fh_gstr){o->key, 0, FH_ENDLESS, NULL} : any;
    fh_nfa *n = &k->s.n;
    if (o->other == FH_KEYS_CLOSED || o->n_name > 0 || o->n_other != 1 || o->most == 0) return;
    fh_frag key = text_value(k, &keys, how);
    key = fh_nfa_join(n, key, fh_call_literal(k, how == FH_NOTATION_QUOTED ? FH_STR(":") : FH_STR(": ")));
    fh_frag one = fh_nfa_join(n, key, fh_call_value(k, part, o->other_value[0], how));
    between(k, at, one, close);
    if (o->most == FH_ENDLESS) between(k, one.out, fh_call_literal(k, comma(how)), one.in);
}

static fh_frag object_value(fh_call_maker *k, uint32_t part, const fh_gobj *o, fh_notation how) {
    fh_nfa *n = &k->s.n;
    fh_frag all = {fh_nfa_state(n), fh_nfa_state(n)};
    uint32_t at[2] = {fh_nfa_state(n), fh_nfa_state(n)}, close = fh_nfa_state(n), must = 0, may = 0;
    between(k, all.in, fh_call_literal(k, FH_STR("{")), at[0]);
    between(k, close, fh_call_literal(k, FH_STR("}")), all.out);
    for (uint32_t i = 0; i < o->n_name && k->status == FH_OK; i++) {
        bool required = o->required[i / 64] >> (i & 63) & 1;
        uint32_t next[2] = {fh_nfa_state(n), fh_nfa_state(n)};
        must += required;
        may += o->value[i] != FH_NONE;
        for (int any = 0; any < 2; any++) {
            if (!required) link(k, at[any], next[any]);
            if (o->value[i] == FH_NONE) continue;
            fh_frag one = fh_nfa_join(n, key_text(k, o->name[i], how), fh_call_value(k, part, o->value[i], how));
            if (any) one = fh_nfa_join(n, fh_call_literal(k, comma(how)), one);
            between(k, at[any], one, next[1]);
        }
        at[0] = next[0];
        at[1] = next[1];
    }
    if (o->least > must || o->most < may)
        fh_call_maker_fail(k, FH_ERR_UNSUPPORTED, "a count of members that this notation cannot hold");
    link(k, at[0], close);
    link(k, at[1], close);
    free_members(k, part, o, how, at[0], close);
    return all;
}

static fh_frag node_value(fh_call_maker *k, uint32_t part, const fh_gnode *v, fh_notation how) {
    static const char *const words[2][3] = {{"None", "True", "False"}, {"null", "true", "false"}};
    const fh_grammar *g = k->part[part].g;
    fh_nfa *n = &k->s.n;
    fh_frag all = {fh_nfa_state(n), fh_nfa_state(n)};
    for (uint32_t i = 0; i < 3; i++)
        if (v->words >> i & 1)
            between(k, all.in, fh_call_literal(k, fh_str_of(words[how == FH_NOTATION_QUOTED][i])), all.out);
    if (v->num) between(k, all.in, fh_call_auto(k, v->num), all.out);
    if (v->str) between(k, all.in, text_value(k, v->str, how), all.out);
    for (uint32_t i = 0; i < v->n_arr; i++) between(k, all.in, array_value(k, part, &g->arr[v->arr + i], how), all.out);
    for (uint32_t i = 0; i < v->n_obj; i++)
        between(k, all.in, object_value(k, part, &g->obj[v->obj + i], how), all.out);
    return all;
}

uint32_t fh_call_rule_add(fh_call_maker *k, fh_source_rule rule) {
    fh_rule_source *s = &k->s;
    fh_source_rule *list = fh_work_grow(&k->w, s->rule, &s->cap_rule, (uint64_t)s->n_rule + 1, sizeof *list);
    if (!list) return 0;
    s->rule = list;
    list[s->n_rule] = rule;
    return s->n_rule++;
}

fh_frag fh_call_value(fh_call_maker *k, uint32_t part, uint32_t node, fh_notation how) {
    fh_call_part *p = &k->part[part];
    fh_cps any = {0};
    if (k->status != FH_OK || fh_work_failed(&k->w)) return fh_nfa_empty(&k->s.n);
    if (!p->rule[how]) p->rule[how] = fh_work_alloc(&k->w, (size_t)p->g->n_node + 1, sizeof *p->rule[how]);
    if (!p->rule[how]) return fh_nfa_empty(&k->s.n);
    if (p->rule[how][node]) return call(k, p->rule[how][node] - 1);
    uint32_t rule = fh_call_rule_add(k, (fh_source_rule){.name = FH_STR("value"), .defined = true});
    p->rule[how][node] = rule + 1;
    fh_cps_add(&any, &k->w, 0, FH_CP_MAX);
    fh_frag f = {0, 0};
    if (how == FH_NOTATION_JSON) {
        f = fh_nfa_cps(&k->s.n, &any);
    } else if (++k->depth > FH_GRAMMAR_DEPTH) {
        fh_call_maker_fail(k, FH_ERR_LIMIT, "values are nested too deeply");
    } else {
        fh_gnode v = p->g->node[node < p->g->n_node ? node : p->g->root];
        if (node >= p->g->n_node) v = (fh_gnode){.obj = v.obj, .n_obj = v.n_obj};
        f = node_value(k, part, &v, how);
    }
    if (how != FH_NOTATION_JSON) k->depth--;
    if (k->status != FH_OK || fh_work_failed(&k->w)) return fh_nfa_empty(&k->s.n);
    k->s.rule[rule].f = f;
    k->s.rule[rule].outside = how == FH_NOTATION_JSON;
    k->s.rule[rule].node = k->part[part].node_at + node;
    return call(k, rule);
}
