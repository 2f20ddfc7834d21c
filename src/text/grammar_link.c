/* text/grammar_link.c - from rules as they were read to automata that call each other.
 * SPDX-License-Identifier: Apache-2.0
 * Rules that do not call themselves are copied into their callers while that stays small: fewer calls at run time, and
 * larger stretches of text whose masks can be cached. Refused: rules without a definition, left recursion, a root that
 * can never end. Invariant: no walk here recurses. */
#include "base/num.h"
#include "text/grammar_gbnf_part.h"

#define INLINE_MOST 1000u   /* states of a rule that is copied */
#define INLINE_TOTAL 20000u /* states of the grammar, beyond which nothing is */

typedef struct linker {
    fh_rule_source *s;
    fh_work *w;
    bool *callable, *nullable, *recursive;
    uint32_t *map, *round, now; /* [FH_NFA_STATES] for walks over states */
    uint32_t *stack;
    uint32_t *hit, cap_hit;         /* calls to be replaced */
    uint32_t *set_of, *set_round;   /* [n_set] a set's number in the piece at hand */
    uint32_t *rule_of, *rule_round; /* [n_rule] the same for rules */
} linker;

static uint32_t start_walk(linker *l, uint32_t from) {
    l->now++;
    l->round[from] = l->now;
    l->stack[0] = from;
    return 1;
}
static void visit(linker *l, uint32_t *top, uint32_t to) {
    if (l->round[to] == l->now) return;
    l->round[to] = l->now;
    l->stack[(*top)++] = to;
}

/* Can rule r reach its end, over edges that `through` lets pass? */
static bool reaches_end(linker *l, uint32_t r, bool reading, const bool *through) {
    const fh_nfa *n = &l->s->n;
    fh_frag f = l->s->rule[r].f;
    for (uint32_t top = start_walk(l, f.in); top > 0;) {
        uint32_t q = l->stack[--top];
        if (q == f.out) return true;
        for (uint32_t e = n->first[q]; e; e = n->edge[e - 1].link) {
            const fh_nfa_edge *g = &n->edge[e - 1];
            bool go = g->kind == FH_NFA_EPS || (g->kind == FH_NFA_CPS && reading && n->set[g->arg].n > 0) ||
                      (g->kind == FH_NFA_CALL && through[g->arg]);
            if (go) visit(l, &top, g->to);
        }
    }
    return false;
}

/* The rules that can end at all, or end without reading: least fixed point. */
static bool find_ending(linker *l, bool *which, bool reading) {
    uint32_t n = l->s->n_rule;
    for (bool changed = true, down = true; changed; down = !down) {
        changed = false;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t r = down ? n - 1 - i : i; /* either way round is soon done, whichever way rules are ordered */
            if (which[r]) continue;
            if (!fh_work_spend(l->w, 8)) return false;
            which[r] = reaches_end(l, r, reading, which);
            changed |= which[r];
        }
        if (!fh_work_spend(l->w, l->s->n.n_state / 4)) return false;
    }
    return true;
}

/* The rules that r calls: all, or only those before anything was read. */
static uint32_t list_calls(linker *l, uint32_t r, bool left_only, uint32_t *out) {
    const fh_nfa *n = &l->s->n;
    uint32_t count = 0;
    for (uint32_t top = start_walk(l, l->s->rule[r].f.in); top > 0;) {
        uint32_t q = l->stack[--top];
        for (uint32_t e = n->first[q]; e; e = n->edge[e - 1].link) {
            const fh_nfa_edge *g = &n->edge[e - 1];
            if (g->kind == FH_NFA_CALL && l->callable[g->arg]) {
                if (out) out[count] = g->arg;
                count++;
            }
            if (!left_only || g->kind == FH_NFA_EPS || (g->kind == FH_NFA_CALL && l->nullable[g->arg]))
                visit(l, &top, g->to);
        }
    }
    return count;
}

/* Calls of all rules as one table; at[r] .. at[r + 1]. */
static bool call_graph(linker *l, bool left_only, uint32_t **at, uint32_t **to) {
    uint32_t n = l->s->n_rule, total = 0;
    *at = fh_work_alloc(l->w, (size_t)n + 1, sizeof **at);
    if (!*at) return false;
    for (uint32_t r = 0; r < n; r++) {
        (*at)[r] = total;
        total += list_calls(l, r, left_only, NULL);
    }
    (*at)[n] = total;
    *to = fh_work_alloc(l->w, (size_t)total + 1, sizeof **to);
    if (!*to) return false;
    for (uint32_t r = 0; r < n; r++) (void)list_calls(l, r, left_only, *to + (*at)[r]);
    return fh_work_spend(l->w, total);
}

/* Removes rules that call none of those left, over and over. What stays lies on a cycle or calls one; `order` gets
 * the removed ones, callees first. Returns how many were removed. */
static uint32_t peel(linker *l, const uint32_t *at, const uint32_t *to, uint32_t *order, bool *left) {
    uint32_t n = l->s->n_rule, done = 0;
    uint32_t *open = fh_work_alloc(l->w, n, sizeof *open), *head = fh_work_alloc(l->w, n, sizeof *head);
    uint32_t *link = fh_work_alloc(l->w, (size_t)at[n] + 1, sizeof *link),
             *from = fh_work_alloc(l->w, (size_t)at[n] + 1, sizeof *from);
    if (!open || !head || !link || !from) return 0;
    for (uint32_t r = 0; r < n; r++) {
        left[r] = true;
        open[r] = at[r + 1] - at[r];
        for (uint32_t i = at[r]; i < at[r + 1]; i++) {
            from[i] = r;
            link[i] = head[to[i]];
            head[to[i]] = i + 1;
        }
    }
    for (uint32_t r = 0; r < n; r++)
        if (open[r] == 0) order[done++] = r;
    for (uint32_t i = 0; i < done; i++) {
        left[order[i]] = false;
        for (uint32_t e = head[order[i]]; e; e = link[e - 1])
            if (--open[from[e - 1]] == 0) order[done++] = from[e - 1];
    }
    return done;
}

/* Among the rules left over by peeling, one that really lies on a cycle: walking on must come back. */
static uint32_t on_cycle(linker *l, const uint32_t *at, const uint32_t *to, const bool *left, uint32_t r) {
    for (uint32_t steps = 0; steps < l->s->n_rule; steps++)
        for (uint32_t i = at[r]; i < at[r + 1]; i++)
            if (left[to[i]]) {
                r = to[i];
                break;
            }
    return r;
}

static fh_status check_rules(linker *l, fh_err *err) {
    fh_rule_source *s = l->s;
    uint32_t *at, *to, *order = fh_work_alloc(l->w, (size_t)s->n_rule, sizeof *order);
    for (uint32_t r = 0; r < s->n_rule; r++)
        if (!s->rule[r].defined)
            return fh_fail(err, FH_ERR_FORMAT, "grammar: line %u: rule '%.*s' is used but not defined", s->rule[r].line,
                           FH_STR_ARG(s->rule[r].name));
    if (!order || !find_ending(l, l->callable, true) || !find_ending(l, l->nullable, false))
        return fh_work_check(l->w, "grammar", err);
    if (!l->callable[s->root])
        return fh_fail(err, FH_ERR_FORMAT, "grammar: rule 'root' can never end: no text matches");
    if (!call_graph(l, true, &at, &to)) return fh_work_check(l->w, "grammar", err);
    uint32_t done = peel(l, at, to, order, l->recursive);
    FH_TRY(fh_work_check(l->w, "grammar", err));
    for (uint32_t r = 0; r < s->n_rule && done < s->n_rule; r++) {
        if (!l->recursive[r]) continue;
        const fh_source_rule *bad = &s->rule[on_cycle(l, at, to, l->recursive, r)];
        return fh_fail(err, FH_ERR_FORMAT,
                       "grammar: line %u: rule '%.*s' is left-recursive: it calls itself before reading anything",
                       bad->line, FH_STR_ARG(bad->name));
    }
    return FH_OK;
}

/* A copy of all that is reachable inside a piece. */
static fh_frag copy_piece(linker *l, fh_frag f) {
    fh_nfa *n = &l->s->n;
    uint32_t top = start_walk(l, f.in), base = n->n_edge;
    l->map[f.in] = fh_nfa_state(n);
    while (top > 0) {
        uint32_t q = l->stack[--top];
        for (uint32_t e = n->first[q]; e; e = n->edge[e - 1].link) {
            fh_nfa_edge g = n->edge[e - 1];
            if (e - 1 >= base) continue;
            if (l->round[g.to] != l->now) l->map[g.to] = fh_nfa_state(n);
            visit(l, &top, g.to);
            fh_nfa_edge_add(n, l->map[q], (fh_nfa_kind)g.kind, g.arg, l->map[g.to]);
        }
    }
    if (l->round[f.out] != l->now) l->map[f.out] = fh_nfa_state(n); /* cannot be reached: a rule that never ends */
    return (fh_frag){l->map[f.in], l->map[f.out]};
}

static uint32_t piece_states(linker *l, fh_frag f) {
    const fh_nfa *n = &l->s->n;
    uint32_t count = 0;
    for (uint32_t top = start_walk(l, f.in); top > 0; count++) {
        uint32_t q = l->stack[--top];
        for (uint32_t e = n->first[q]; e; e = n->edge[e - 1].link) visit(l, &top, n->edge[e - 1].to);
    }
    return count;
}

/* Replaces the calls in rule r of rules that are small and not recursive. Their own calls were replaced before. */
static bool inline_calls(linker *l, uint32_t r, const uint32_t *size) {
    fh_nfa *n = &l->s->n;
    uint32_t count = 0;
    for (uint32_t top = start_walk(l, l->s->rule[r].f.in); top > 0;) {
        uint32_t q = l->stack[--top];
        for (uint32_t e = n->first[q]; e; e = n->edge[e - 1].link) {
            const fh_nfa_edge *g = &n->edge[e - 1];
            visit(l, &top, g->to);
            if (g->kind != FH_NFA_CALL || l->recursive[g->arg] || l->s->rule[g->arg].outside ||
                size[g->arg] > INLINE_MOST)
                continue;
            uint32_t *hit = fh_work_grow(l->w, l->hit, &l->cap_hit, (uint64_t)count + 1, sizeof *hit);
            if (!hit) return false;
            l->hit = hit;
            hit[count++] = e - 1;
        }
    }
    for (uint32_t i = 0; i < count && n->n_state < INLINE_TOTAL; i++) {
        fh_nfa_edge g = n->edge[l->hit[i]];
        fh_frag f = copy_piece(l, l->s->rule[g.arg].f);
        fh_nfa_edge_add(n, f.out, FH_NFA_EPS, 0, g.to);
        n->edge[l->hit[i]] = (fh_nfa_edge){FH_NFA_EPS, 0, f.in, g.link};
        if (!fh_work_spend(l->w, size[g.arg])) return false;
    }
    return !fh_work_failed(l->w);
}

static bool inline_rules(linker *l) {
    uint32_t n = l->s->n_rule, *at, *to;
    uint32_t *order = fh_work_alloc(l->w, n, sizeof *order), *size = fh_work_alloc(l->w, n, sizeof *size);
    if (!order || !size || !call_graph(l, false, &at, &to)) return false;
    uint32_t done = peel(l, at, to, order, l->recursive);
    for (uint32_t i = 0; i < done; i++) { /* callees first */
        if (at[order[i]] != at[order[i] + 1] && !inline_calls(l, order[i], size)) return false;
        size[order[i]] = piece_states(l, l->s->rule[order[i]].f);
        if (!fh_work_spend(l->w, size[order[i]])) return false;
    }
    for (uint32_t r = 0; r < n; r++)
        if (l->recursive[r] && !inline_calls(l, r, size)) return false;
    return !fh_work_failed(l->w);
}

/* ---- the grammar ---- */
static void *copy_array(fh_arena *to, const void *from, size_t n, size_t size) {
    void *p = fh_arena_alloc(to, n, size);
    if (p && n) memcpy(p, from, n * size);
    return p;
}

static fh_status keep_rule(fh_grammar *g, fh_grule *to, const fh_rule_auto *a, fh_rule_call *call, fh_err *err) {
    to->r.a = fh_auto_copy(&g->arena, a->a);
    to->r.call_at = copy_array(&g->arena, a->call_at, (size_t)a->a->n_state + 1, sizeof *a->call_at);
    to->r.call = call;
    return to->r.a && to->r.call_at && call ? FH_OK : fh_arena_fail(&g->arena, err);
}

/* A piece as an automaton of its own, with its own numbers for states, sets and rules: its cost is then its own size.
 * rules: what its rules are called outside, as a list that grows. */
static bool extract(linker *l, fh_work *w, fh_frag f, fh_nfa *to, fh_frag *out, uint32_t **rules, uint32_t *n_rules) {
    const fh_nfa *n = &l->s->n;
    uint32_t cap = 0, top = start_walk(l, f.in);
    *rules = NULL;
    *n_rules = 0;
    fh_nfa_init(to, w);
    l->map[f.in] = fh_nfa_state(to);
    while (top > 0 && !fh_work_failed(w)) {
        uint32_t q = l->stack[--top];
        for (uint32_t e = n->first[q]; e; e = n->edge[e - 1].link) {
            fh_nfa_edge g = n->edge[e - 1];
            if (l->round[g.to] != l->now) l->map[g.to] = fh_nfa_state(to);
            visit(l, &top, g.to);
            if (g.kind == FH_NFA_CPS && l->set_round[g.arg] != l->now) {
                l->set_round[g.arg] = l->now;
                l->set_of[g.arg] = fh_nfa_set(to, &n->set[g.arg]);
            } else if (g.kind == FH_NFA_CALL && l->rule_round[g.arg] != l->now) {
                uint32_t *list = fh_work_grow(w, *rules, &cap, (uint64_t)*n_rules + 1, sizeof *list);
                if (!list) return false;
                *rules = list;
                list[*n_rules] = g.arg;
                l->rule_round[g.arg] = l->now;
                l->rule_of[g.arg] = (*n_rules)++;
            }
            uint32_t arg = g.kind == FH_NFA_CPS ? l->set_of[g.arg] : g.kind == FH_NFA_CALL ? l->rule_of[g.arg] : 0;
            fh_nfa_edge_add(to, l->map[q], (fh_nfa_kind)g.kind, arg, l->map[g.to]);
        }
    }
    if (l->round[f.out] != l->now) l->map[f.out] = fh_nfa_state(to);
    *out = (fh_frag){l->map[f.in], l->map[f.out]};
    return !fh_work_failed(w);
}

static bool determine_piece(linker *l, fh_work *w, fh_frag f, fh_rule_auto *a, uint32_t **rules) {
    fh_nfa own;
    uint32_t n;
    fh_frag in;
    if (!extract(l, w, f, &own, &in, rules, &n)) return false;
    bool *callable = fh_work_alloc(w, (size_t)n + 1, sizeof *callable);
    for (uint32_t i = 0; callable && i < n; i++) callable[i] = l->callable[(*rules)[i]];
    return callable && fh_nfa_determine_rule(&own, in, callable, a);
}

typedef struct numbering {
    uint32_t *number, *queue, found;
} numbering; /* rule -> its number, plus 1; and back */

/* Makes one rule with memory that is given back at once, within what the whole may use. */
static fh_status make_rule(linker *l, numbering *b, fh_grammar *g, const fh_source_rule *src, fh_grule *out,
                           fh_err *err) {
    fh_work w;
    fh_rule_auto a;
    uint32_t *rules;
    fh_status st = FH_OK;
    fh_work_init(&w);
    w.left = l->w->left;
    w.arena.ceiling -= FH_MIN(w.arena.ceiling, l->w->arena.used);
    if (determine_piece(l, &w, src->f, &a, &rules)) {
        uint32_t n_call = a.call_at[a.a->n_state];
        fh_rule_call *call = copy_array(&g->arena, a.call, n_call, sizeof *call);
        for (uint32_t k = 0; call && k < n_call; k++) {
            uint32_t to = rules[call[k].rule];
            if (l->s->rule[to].outside) {
                call[k].rule = FH_CALL_NODE | l->s->rule[to].node;
                continue;
            }
            if (!b->number[to]) {
                b->queue[b->found++] = to;
                b->number[to] = b->found;
            }
            call[k].rule = b->number[to] - 1;
        }
        st = keep_rule(g, out, &a, call, err);
        if (st == FH_OK && !fh_arena_copy(&g->arena, src->name, &out->name)) st = fh_arena_fail(&g->arena, err);
    } else {
        st = fh_work_check(&w, "grammar", err);
    }
    l->w->left = w.left;
    fh_work_release(&w);
    return st;
}

/* Rules are numbered in the order in which calls find them; the root is 0. */
static fh_status make_rules(linker *l, fh_grammar *g, fh_err *err) {
    uint32_t n = l->s->n_rule;
    numbering b = {fh_work_alloc(l->w, n, sizeof *b.number), fh_work_alloc(l->w, n, sizeof *b.queue), 0};
    fh_grule *rule = fh_work_alloc(l->w, n, sizeof *rule);
    if (!b.number || !b.queue || !rule) return fh_work_check(l->w, "grammar", err);
    b.queue[b.found++] = l->s->root;
    b.number[l->s->root] = 1;
    for (uint32_t i = 0; i < b.found; i++) FH_TRY(make_rule(l, &b, g, &l->s->rule[b.queue[i]], &rule[i], err));
    g->n_rule = b.found;
    g->rule = copy_array(&g->arena, rule, b.found, sizeof *rule);
    return g->rule ? fh_grammar_link_rules(g, l->w, err) : fh_arena_fail(&g->arena, err);
}

fh_status fh_grammar_from_rules(fh_grammar **out, fh_rule_source *s, fh_err *err) {
    linker l = {.s = s, .w = s->n.work};
    l.callable = fh_work_alloc(l.w, s->n_rule, 1);
    l.nullable = fh_work_alloc(l.w, s->n_rule, 1);
    l.recursive = fh_work_alloc(l.w, s->n_rule, 1);
    l.map = fh_work_alloc(l.w, FH_NFA_STATES + 1, sizeof *l.map);
    l.round = fh_work_alloc(l.w, FH_NFA_STATES + 1, sizeof *l.round);
    l.stack = fh_work_alloc(l.w, FH_NFA_STATES + 1, sizeof *l.stack);
    l.set_of = fh_work_alloc(l.w, (size_t)s->n.n_set + 1, sizeof *l.set_of);
    l.set_round = fh_work_alloc(l.w, (size_t)s->n.n_set + 1, sizeof *l.set_round);
    l.rule_of = fh_work_alloc(l.w, s->n_rule, sizeof *l.rule_of);
    l.rule_round = fh_work_alloc(l.w, s->n_rule, sizeof *l.rule_round);
    if (fh_work_failed(l.w)) return fh_work_check(l.w, "grammar", err);
    FH_TRY(check_rules(&l, err));
    if (!inline_rules(&l)) return fh_work_check(l.w, "grammar", err);
    fh_grammar *g = fh_grammar_new(FH_GRAMMAR_GBNF);
    if (!g) return fh_fail_memory(err, sizeof *g);
    fh_status st = make_rules(&l, g, err);
    if (st == FH_OK) *out = g;
    else fh_grammar_free(g);
    return st;
}
