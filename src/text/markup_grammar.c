/* text/markup_grammar.c - pieces of calls as one grammar: literals and text as automata, arguments by their schemas.
 * SPDX-License-Identifier: Apache-2.0
 * Each tool's schema is compiled once, with the ceilings of a schema of its own; all nodes then stand in one table that
 * rules call into. Refused: tools whose arguments can be no object; parameters outside of JSON whose schema says
 * more than which there are (alternatives, counts, names that are required but not described). */
#include "text/markup_grammar.h"

#include "base/num.h"
#include "text/markup_grammar_part.h"
#include "text/schema.h"

void fh_call_maker_fail(fh_call_maker *k, fh_status status, const char *why) {
    if (k->status == FH_OK) k->status = fh_fail(k->err, status, "a grammar for calls: %s", why);
}

/* ---- texts ---- */
static uint32_t next_cp(fh_str s, size_t *at) {
    uint32_t sub = 0;
    fh_gcps c = {.cp = 0xFFFD};
    while (*at < s.len) {
        fh_gread r = fh_gread_utf8(&sub, (uint8_t)s.ptr[(*at)++], &c);
        if (r == FH_GREAD_CP || r == FH_GREAD_BAD) break;
    }
    return c.cp;
}

static fh_frag literal_in(fh_nfa *n, fh_str text) {
    fh_frag f = fh_nfa_empty(n);
    for (size_t at = 0; at < text.len;) f = fh_nfa_join(n, f, fh_nfa_cp(n, next_cp(text, &at)));
    return f;
}

fh_frag fh_call_literal(fh_call_maker *k, fh_str text) {
    if (!fh_utf8_valid(text)) fh_call_maker_fail(k, FH_ERR_FORMAT, "a text that is not UTF-8");
    return literal_in(&k->s.n, text);
}

fh_frag fh_call_maybe(fh_call_maker *k, fh_frag f) {
    fh_nfa *n = &k->s.n;
    fh_frag all = {fh_nfa_state(n), fh_nfa_state(n)};
    fh_nfa_edge_add(n, all.in, FH_NFA_EPS, 0, f.in);
    fh_nfa_edge_add(n, f.out, FH_NFA_EPS, 0, all.out);
    fh_nfa_edge_add(n, all.in, FH_NFA_EPS, 0, all.out);
    return all;
}

/* One of these characters: pairs of a first and a last. */
static fh_frag one_of(fh_call_maker *k, fh_nfa *n, const char *ranges) {
    fh_cps set = {0};
    for (; ranges[0]; ranges += 2) fh_cps_add(&set, &k->w, (uint8_t)ranges[0], (uint8_t)ranges[1]);
    return fh_nfa_cps(n, &set);
}

fh_frag fh_call_auto(fh_call_maker *k, const fh_auto *a) {
    fh_nfa *n = &k->s.n;
    fh_frag all = {fh_nfa_state(n), fh_nfa_state(n)};
    if (!a || fh_auto_is_empty(a)) return all; /* no way through */
    uint32_t base = n->n_state;
    uint32_t *set = fh_work_alloc(&k->w, a->n_class, sizeof *set);
    if (!set || !fh_work_spend(&k->w, (uint64_t)a->n_state * a->n_class / 4 + 1)) return all;
    for (uint32_t c = 0; c < a->n_class; c++) {
        fh_cps cps = {0};
        for (uint32_t r = 0; r < a->n_range; r++)
            if (a->range_class[r] == c)
                fh_cps_add(&cps, &k->w, a->range_lo[r], r + 1 < a->n_range ? a->range_lo[r + 1] - 1 : FH_CP_MAX);
        fh_cps_tidy(&cps);
        set[c] = fh_nfa_set(n, &cps);
    }
    for (uint32_t q = 0; q < a->n_state; q++) (void)fh_nfa_state(n);
    for (uint32_t q = 0; q < a->n_state && !fh_work_failed(&k->w); q++) {
        for (uint32_t c = 0; c < a->n_class; c++) {
            uint32_t to = a->next[(size_t)q * a->n_class + c];
            if (to != FH_AUTO_DEAD) fh_nfa_edge_add(n, base + q, FH_NFA_CPS, set[c], base + to);
        }
        if (a->label[q]) fh_nfa_edge_add(n, base + q, FH_NFA_EPS, 0, all.out);
    }
    fh_nfa_edge_add(n, all.in, FH_NFA_EPS, 0, base + a->start);
    return all;
}

/* Texts that hold `part` somewhere. */
static const fh_auto *holding(fh_call_maker *k, fh_frag part, fh_nfa *n) {
    fh_cps all = {0};
    fh_cps_add(&all, &k->w, 0, FH_CP_MAX);
    uint32_t first = n->n_state;
    fh_frag before = fh_nfa_repeat(n, fh_nfa_cps(n, &all), first, 0, UINT32_MAX);
    first = n->n_state;
    fh_frag behind = fh_nfa_repeat(n, fh_nfa_cps(n, &all), first, 0, UINT32_MAX);
    return fh_nfa_determine(n, fh_nfa_join(n, fh_nfa_join(n, before, part), behind));
}

const fh_auto *fh_call_text(fh_call_maker *k, const fh_gstr *s, fh_str avoid, bool strict) {
    fh_nfa n;
    const fh_auto *a = s && s->a ? s->a : fh_auto_any(&k->w);
    if (s && (s->least || s->most != FH_ENDLESS) && a)
        a = fh_auto_combine(&k->w, a, fh_auto_lengths(&k->w, s->least, s->most), FH_AUTO_AND, NULL);
    if (avoid.len && a) {
        fh_nfa_init(&n, &k->w);
        a = fh_auto_combine(&k->w, a, holding(k, literal_in(&n, avoid), &n), FH_AUTO_MINUS, NULL);
    }
    if (strict && a) {
        fh_nfa_init(&n, &k->w);
        fh_frag bad = fh_nfa_either(&n, fh_nfa_cp(&n, 0), one_of(k, &n, "\x01\x1F\"\"\\\\\x7F\x7F"));
        a = fh_auto_combine(&k->w, a, holding(k, bad, &n), FH_AUTO_MINUS, NULL);
    }
    return a;
}

/* ---- tools ---- */
/* The part whose schema holds this node; compiled when it is first met. */
static uint32_t find_part(fh_call_maker *k, const fh_json_node *at) {
    const fh_json_node *schema = at && at == k->rule->answer ? at : NULL;
    for (const fh_json_node *t = fh_json_first(k->rule->tools); at && t; t = fh_json_after(k->rule->tools, t)) {
        const fh_json_node *p = fh_json_get(fh_tool_function(t), "parameters");
        if (p && p <= at && at < p + p->span) schema = p;
    }
    for (uint32_t i = 0; i < k->n_part; i++)
        if (k->part[i].schema == schema) return i;
    fh_call_part *part = fh_work_grow(&k->w, k->part, &k->cap_part, (uint64_t)k->n_part + 1, sizeof *part);
    if (!part) return 0;
    k->part = part;
    part += k->n_part;
    *part = (fh_call_part){.schema = schema, .node_at = k->n_node, .arr_at = k->n_arr, .obj_at = k->n_obj};
    fh_status st = schema ? fh_grammar_from_schema(&part->g, schema, k->opt, k->err)
                          : fh_grammar_from_json(&part->g, k->opt, k->err);
    if (st != FH_OK) {
        k->status = st;
        return 0;
    }
    k->n_node += part->g->n_node + 1;
    k->n_arr += part->g->n_arr;
    k->n_obj += part->g->n_obj;
    if (part->g->node[part->g->root].n_obj == 0 && !(schema && schema == k->rule->answer))
        fh_call_maker_fail(k, FH_ERR_UNSUPPORTED, "a tool's parameters can be no object");
    return k->n_part++;
}

/* Parameters written one by one hold what the schema says only if it says no more than which there are. */
static bool is_plain(const fh_call_part *p, const fh_gobj **out) {
    const fh_gnode *root = &p->g->node[p->g->root];
    const fh_json_node *listed = fh_json_get(p->schema, "properties");
    const fh_gobj *o = *out = &p->g->obj[root->obj];
    uint32_t must = 0, may = 0;
    for (uint32_t i = 0; i < o->n_name; i++) {
        bool required = o->required[i / 64] >> (i & 63) & 1;
        must += required;
        may += o->value[i] != FH_NONE;
        if (required && !fh_json_get_str(listed, o->name[i])) return false;
    }
    return root->n_obj == 1 && o->least <= must && o->most >= may;
}

/* The node of a schema that a piece names: the root as an object, or one of its properties. FH_NONE: nothing at all. */
static uint32_t find_node(fh_call_maker *k, uint32_t part, const fh_json_node *at) {
    const fh_call_part *p = &k->part[part];
    const fh_gobj *o;
    if (!p->schema || at == p->schema) return p->g->n_node;
    if (!is_plain(p, &o)) {
        fh_call_maker_fail(k, FH_ERR_UNSUPPORTED, "a tool's schema says more than parameters can");
        return FH_NONE;
    }
    for (uint32_t i = 0; i < o->n_name; i++)
        if (fh_str_eq(o->name[i], at->key)) return o->value[i];
    return FH_NONE;
}

static fh_frag no_way(fh_call_maker *k) { return (fh_frag){fh_nfa_state(&k->s.n), fh_nfa_state(&k->s.n)}; }

static fh_frag value(fh_call_maker *k, const fh_piece *p) {
    static const fh_gstr any = {NULL, 0, FH_ENDLESS, NULL};
    uint32_t part = find_part(k, p->schema);
    uint32_t node = k->status == FH_OK && !fh_work_failed(&k->w) ? find_node(k, part, p->schema) : FH_NONE;
    if (node == FH_NONE) return no_way(k);
    if (p->kind == FH_PIECE_ANSWER && p->schema) node = k->part[part].g->root;
    if (p->kind == FH_PIECE_STRING) {
        const fh_gnode *v = node < k->part[part].g->n_node ? &k->part[part].g->node[node] : NULL;
        const fh_gstr *s = v ? v->str : &any;
        return s ? fh_call_auto(k, fh_call_text(k, s, p->text, false)) : no_way(k);
    }
    fh_notation how = p->kind == FH_PIECE_PYTHON   ? FH_NOTATION_PYTHON
                      : p->kind == FH_PIECE_QUOTED ? FH_NOTATION_QUOTED
                                                   : FH_NOTATION_JSON;
    return fh_call_value(k, part, node, how);
}

/* ---- pieces ---- */
static fh_frag sequence(fh_call_maker *k, const fh_pieces *p, size_t *at);

static fh_frag group(fh_call_maker *k, const fh_pieces *p, size_t *at) {
    const fh_piece *open = &p->list[(*at)++];
    fh_nfa *n = &k->s.n;
    fh_frag f = sequence(k, p, at);
    while (*at < p->n && p->list[*at].kind == FH_PIECE_OR) {
        ++*at;
        fh_frag other = sequence(k, p, at);
        f = fh_nfa_either(n, f, other);
    }
    ++*at; /* CLOSE */
    if (open->kind == FH_PIECE_MAYBE) return fh_call_maybe(k, f);
    if (open->kind != FH_PIECE_MANY) return f;
    fh_frag again = fh_call_literal(k, open->text), all = {fh_nfa_state(n), fh_nfa_state(n)};
    fh_nfa_edge_add(n, all.in, FH_NFA_EPS, 0, f.in);
    fh_nfa_edge_add(n, f.out, FH_NFA_EPS, 0, all.out);
    fh_nfa_edge_add(n, f.out, FH_NFA_EPS, 0, again.in);
    fh_nfa_edge_add(n, again.out, FH_NFA_EPS, 0, f.in);
    return all;
}

static fh_frag item(fh_call_maker *k, const fh_pieces *p, size_t *at) {
    fh_nfa *n = &k->s.n;
    const fh_piece *one = &p->list[*at];
    uint32_t first = n->n_state;
    switch (one->kind) {
    case FH_PIECE_ANY:
    case FH_PIECE_MANY:
    case FH_PIECE_MAYBE: return group(k, p, at);
    default: break;
    }
    ++*at;
    switch (one->kind) {
    case FH_PIECE_LITERAL: return fh_call_literal(k, one->text);
    case FH_PIECE_SPACE: return fh_nfa_repeat(n, one_of(k, n, "  \t\n\r\r"), first, 0, FH_GRAMMAR_SPACE);
    case FH_PIECE_TEXT: return fh_call_auto(k, fh_call_text(k, NULL, one->text, false));
    case FH_PIECE_ID: return fh_nfa_repeat(n, one_of(k, n, "azAZ09__--"), first, 1, 64);
    case FH_PIECE_NUMBER: return fh_nfa_repeat(n, one_of(k, n, "09"), first, 1, 9);
    default: return value(k, one);
    }
}

static fh_frag sequence(fh_call_maker *k, const fh_pieces *p, size_t *at) {
    fh_frag f = fh_nfa_empty(&k->s.n);
    while (*at < p->n && k->status == FH_OK && p->list[*at].kind != FH_PIECE_OR &&
           p->list[*at].kind != FH_PIECE_CLOSE) {
        fh_frag one = item(k, p, at);
        f = fh_nfa_join(&k->s.n, f, one);
    }
    return f;
}

/* ---- one table of nodes ---- */
static bool move_list(fh_arena *to, const uint32_t **list, uint32_t n, uint32_t by) {
    uint32_t *own = fh_arena_alloc(to, (size_t)n + 1, sizeof *own);
    for (uint32_t i = 0; own && i < n; i++) own[i] = (*list)[i] == FH_NONE ? FH_NONE : (*list)[i] + by;
    *list = own;
    return own != NULL;
}

static bool move_part(fh_grammar *g, const fh_call_part *p) {
    const fh_grammar *from = p->g;
    bool ok = true;
    for (uint32_t i = 0; i <= from->n_node; i++) {
        fh_gnode v = from->node[i < from->n_node ? i : from->root];
        if (i == from->n_node) v = (fh_gnode){.obj = v.obj, .n_obj = v.n_obj};
        v.arr += p->arr_at;
        v.obj += p->obj_at;
        g->node[p->node_at + i] = v;
    }
    for (uint32_t i = 0; ok && i < from->n_arr; i++) {
        fh_garr *a = &g->arr[p->arr_at + i];
        *a = from->arr[i];
        if (a->rest != FH_NONE) a->rest += p->node_at;
        ok = move_list(&g->arena, &a->prefix, a->n_prefix, p->node_at);
    }
    for (uint32_t i = 0; ok && i < from->n_obj; i++) {
        fh_gobj *o = &g->obj[p->obj_at + i];
        *o = from->obj[i];
        ok = move_list(&g->arena, &o->value, o->n_name, p->node_at);
        if (ok && o->other != FH_KEYS_CLOSED) ok = move_list(&g->arena, &o->other_value, o->n_other, p->node_at);
    }
    return ok;
}

/* Takes the parts over, also on failure. */
static fh_status take_parts(fh_call_maker *k, fh_grammar *g) {
    bool ok = true;
    g->kind = FH_GRAMMAR_CALLS;
    fh_grammar_set_space(g, k->opt);
    if (k->n_part == 0) return FH_OK;
    g->part = fh_arena_alloc(&g->arena, k->n_part, sizeof *g->part);
    g->node = fh_arena_alloc(&g->arena, k->n_node, sizeof *g->node);
    g->arr = fh_arena_alloc(&g->arena, (size_t)k->n_arr + 1, sizeof *g->arr);
    g->obj = fh_arena_alloc(&g->arena, (size_t)k->n_obj + 1, sizeof *g->obj);
    if (!g->part || !g->node || !g->arr || !g->obj) return fh_arena_fail(&g->arena, k->err);
    for (uint32_t i = 0; i < k->n_part && ok; i++) ok = move_part(g, &k->part[i]);
    if (!ok) return fh_arena_fail(&g->arena, k->err);
    g->n_node = k->n_node;
    g->n_arr = k->n_arr;
    g->n_obj = k->n_obj;
    for (uint32_t i = 0; i < k->n_part; i++) {
        g->n_state += k->part[i].g->n_state;
        g->part[i] = k->part[i].g;
        k->part[i].g = NULL;
    }
    g->n_part = k->n_part;
    return FH_OK;
}

fh_status fh_grammar_from_calls(fh_grammar **out, const fh_markup *m, const fh_call_rule *rule,
                                const fh_grammar_options *opt, fh_err *err) {
    fh_call_maker k = {.m = m, .rule = rule, .opt = opt, .err = err};
    fh_pieces p;
    fh_grammar *g = NULL;
    size_t at = 0;
    FH_TRY(fh_markup_pieces(&p, m, rule, err));
    fh_work_init(&k.w);
    fh_nfa_init(&k.s.n, &k.w);
    k.s.root = fh_call_rule_add(&k, (fh_source_rule){.name = FH_STR("root"), .defined = true});
    fh_frag f = sequence(&k, &p, &at);
    if (k.status == FH_OK) k.status = fh_work_check(&k.w, "a grammar for calls", err);
    if (k.status == FH_OK) {
        k.s.rule[k.s.root].f = f;
        k.status = fh_grammar_from_rules(&g, &k.s, err);
    }
    if (k.status == FH_OK) k.status = take_parts(&k, g);
    if (k.status == FH_OK) *out = g;
    else fh_grammar_free(g);
    for (uint32_t i = 0; i < k.n_part; i++) fh_grammar_free(k.part[i].g);
    fh_work_release(&k.w);
    fh_pieces_release(&p);
    return k.status;
}
