/* text/grammar_nfa.c - pieces of nondeterministic automata, and how they become deterministic.
 * SPDX-License-Identifier: Apache-2.0
 * Pieces are copied, not shared, so a repetition costs its size: FH_NFA_STATES bounds it. The subset construction
 * spends the work's steps; an expression whose automaton would be exponential ends in the work's failure, never in a
 * long wait. Text anchors are resolved here: BEGIN holds only before the first code point, END only where a match
 * ends. */
#include "base/num.h"
#include "text/grammar_auto_part.h"

/* ---- sets of code points ---- */
void fh_cps_add(fh_cps *s, fh_work *w, uint32_t lo, uint32_t hi) {
    uint32_t(*r)[2] = fh_work_grow(w, s->r, &s->cap, (uint64_t)s->n + 1, sizeof *r);
    if (!r || lo > hi) return;
    s->r = r;
    r[s->n][0] = lo;
    r[s->n++][1] = hi;
}

static int by_lo(const void *a, const void *b) {
    const uint32_t *x = a, *y = b;
    return x[0] != y[0] ? (x[0] < y[0] ? -1 : 1) : x[1] < y[1] ? -1 : x[1] > y[1];
}

void fh_cps_tidy(fh_cps *s) {
    uint32_t n = 0;
    if (s->n) qsort(s->r, s->n, sizeof *s->r, by_lo);
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t lo = s->r[i][0], hi = s->r[i][1];
        /* A range that spans the surrogates keeps them; fh_nfa_determine cuts them out of every class. */
        if (n && lo <= s->r[n - 1][1] + 1) s->r[n - 1][1] = FH_MAX(s->r[n - 1][1], hi);
        else {
            s->r[n][0] = lo;
            s->r[n++][1] = hi;
        }
    }
    s->n = n;
}

void fh_cps_invert(fh_cps *s, fh_work *w) {
    fh_cps out = {0};
    uint32_t at = 0;
    fh_cps_tidy(s);
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->r[i][0] > at) fh_cps_add(&out, w, at, s->r[i][0] - 1);
        at = s->r[i][1] + 1;
    }
    if (at <= FH_CP_MAX) fh_cps_add(&out, w, at, FH_CP_MAX);
    *s = out;
}

bool fh_cps_same(const fh_cps *a, const fh_cps *b) {
    return a->n == b->n && (a->n == 0 || memcmp(a->r, b->r, a->n * sizeof *a->r) == 0);
}

/* ---- states and edges ---- */
void fh_nfa_init(fh_nfa *n, fh_work *w) {
    *n = (fh_nfa){.work = w};
    (void)fh_nfa_state(n); /* state 0 takes what is built after a failure */
}

uint32_t fh_nfa_state(fh_nfa *n) {
    if (n->n_state >= FH_NFA_STATES) n->work->spent = true;
    uint32_t *first = fh_work_grow(n->work, n->first, &n->cap_state, (uint64_t)n->n_state + 1, sizeof *first);
    if (!first || fh_work_failed(n->work)) return 0;
    n->first = first;
    first[n->n_state] = 0;
    return n->n_state++;
}

void fh_nfa_edge_add(fh_nfa *n, uint32_t from, fh_nfa_kind kind, uint32_t arg, uint32_t to) {
    fh_nfa_edge *edge = fh_work_grow(n->work, n->edge, &n->cap_edge, (uint64_t)n->n_edge + 1, sizeof *edge);
    if (!edge || fh_work_failed(n->work)) return;
    n->edge = edge;
    edge[n->n_edge] = (fh_nfa_edge){(uint32_t)kind, arg, to, n->first[from]};
    n->first[from] = ++n->n_edge;
}

uint32_t fh_nfa_set(fh_nfa *n, fh_cps *tidy) {
    uint32_t back = n->n_set > 64 ? n->n_set - 64 : 0; /* recent ones: a repetition repeats itself nearby */
    for (uint32_t i = n->n_set; i-- > back;)
        if (fh_cps_same(&n->set[i], tidy)) return i;
    fh_cps *set = fh_work_grow(n->work, n->set, &n->cap_set, (uint64_t)n->n_set + 1, sizeof *set);
    if (!set) return 0;
    n->set = set;
    set[n->n_set] = *tidy;
    return n->n_set++;
}

fh_frag fh_nfa_empty(fh_nfa *n) {
    uint32_t s = fh_nfa_state(n);
    return (fh_frag){s, s};
}

fh_frag fh_nfa_cps(fh_nfa *n, fh_cps *set) {
    fh_frag f = {fh_nfa_state(n), fh_nfa_state(n)};
    fh_cps_tidy(set);
    fh_nfa_edge_add(n, f.in, FH_NFA_CPS, fh_nfa_set(n, set), f.out);
    return f;
}

fh_frag fh_nfa_cp(fh_nfa *n, uint32_t cp) {
    fh_cps one = {0};
    fh_cps_add(&one, n->work, cp, cp);
    return fh_nfa_cps(n, &one);
}

fh_frag fh_nfa_join(fh_nfa *n, fh_frag a, fh_frag b) {
    fh_nfa_edge_add(n, a.out, FH_NFA_EPS, 0, b.in);
    return (fh_frag){a.in, b.out};
}

fh_frag fh_nfa_either(fh_nfa *n, fh_frag a, fh_frag b) {
    fh_frag f = {fh_nfa_state(n), fh_nfa_state(n)};
    fh_nfa_edge_add(n, f.in, FH_NFA_EPS, 0, a.in);
    fh_nfa_edge_add(n, f.in, FH_NFA_EPS, 0, b.in);
    fh_nfa_edge_add(n, a.out, FH_NFA_EPS, 0, f.out);
    fh_nfa_edge_add(n, b.out, FH_NFA_EPS, 0, f.out);
    return f;
}

fh_frag fh_nfa_copy(fh_nfa *n, fh_frag f, uint32_t first, uint32_t end) {
    uint32_t base = n->n_state, *chain = NULL, cap = 0;
    if (!fh_work_spend(n->work, end - first)) return f;
    for (uint32_t s = first; s < end; s++)
        if (!fh_nfa_state(n)) return f;
    for (uint32_t s = first; s < end; s++) {
        uint32_t k = 0; /* edges in the order they were added, so that copies are alike */
        for (uint32_t e = n->first[s]; e; e = n->edge[e - 1].link) {
            chain = fh_work_grow(n->work, chain, &cap, (uint64_t)k + 1, sizeof *chain);
            if (!chain) return f;
            chain[k++] = e - 1;
        }
        while (k-- > 0) {
            fh_nfa_edge e = n->edge[chain[k]];
            fh_nfa_edge_add(n, base + (s - first), (fh_nfa_kind)e.kind, e.arg, base + (e.to - first));
        }
    }
    return (fh_frag){base + (f.in - first), base + (f.out - first)};
}

/* f as often as wanted, without end: through one state in the middle. */
static fh_frag star(fh_nfa *n, fh_frag f) {
    fh_frag s = fh_nfa_empty(n);
    fh_nfa_edge_add(n, s.in, FH_NFA_EPS, 0, f.in);
    fh_nfa_edge_add(n, f.out, FH_NFA_EPS, 0, s.in);
    return s;
}

fh_frag fh_nfa_repeat(fh_nfa *n, fh_frag f, uint32_t first, uint32_t least, uint32_t most) {
    uint32_t end = n->n_state, copies = most == UINT32_MAX ? least + 1 : most;
    fh_frag all = fh_nfa_empty(n);
    if (copies > FH_NFA_STATES) n->work->spent = true;
    if (most == 0 || fh_work_failed(n->work)) return all;
    uint32_t out = fh_nfa_state(n), at = all.in;
    /* The last use takes f itself, so that f is whole while it is copied. */
    for (uint32_t i = 1; i <= copies && !fh_work_failed(n->work); i++) {
        fh_frag one = i < copies ? fh_nfa_copy(n, f, first, end) : f;
        if (i == copies && most == UINT32_MAX) one = star(n, f);
        else if (i > least) fh_nfa_edge_add(n, at, FH_NFA_EPS, 0, out);
        fh_nfa_edge_add(n, at, FH_NFA_EPS, 0, one.in);
        at = one.out;
    }
    fh_nfa_edge_add(n, at, FH_NFA_EPS, 0, out);
    return (fh_frag){all.in, out};
}

/* ---- becoming deterministic ---- */
typedef struct subset {
    fh_nfa *n;
    fh_draft d;
    fh_intern seen;
    uint32_t *reach, n_reach; /* states that belong to the piece */
    uint8_t *flag, *used;     /* [n_state]; [n_set] the piece has such an edge */
    uint32_t *mark, round;    /* [n_state] when a closure last saw the state */
    uint32_t *stack, *members, n_member;
    uint32_t visited;                 /* states that the closure at hand looked at */
    uint32_t *class_lead, n_cp_class; /* a code point of each class */
    uint32_t *set_at, *set_class;     /* [n_set + 1] into the classes of each set */
    uint32_t *head, *touched;         /* [n_class] moves of one state by column: the first, plus 1; columns in use */
    uint32_t *move_to, *move_link, n_move, cap_to, cap_link;
    uint32_t *rule_of, *rules, n_rule; /* rule -> its column, plus 1; column -> rule */
} subset;

enum { REACHED = 1, ENDS = 2, ENDS_AT_START = 4, HOLDS = 8 };

static void find_reach(subset *s, uint32_t in) {
    s->reach[s->n_reach++] = in;
    s->flag[in] |= REACHED;
    for (uint32_t i = 0; i < s->n_reach; i++) {
        for (uint32_t e = s->n->first[s->reach[i]]; e; e = s->n->edge[e - 1].link) {
            const fh_nfa_edge *g = &s->n->edge[e - 1];
            if (g->kind == FH_NFA_CPS || g->kind == FH_NFA_CALL) s->flag[s->reach[i]] |= HOLDS;
            if (s->flag[g->to] & REACHED) continue;
            s->flag[g->to] |= REACHED;
            s->reach[s->n_reach++] = g->to;
        }
    }
}

/* Which states can end the match without another code point: backwards over edges that consume nothing. */
static bool find_ends(subset *s, uint32_t out, uint8_t which, bool begin) {
    fh_nfa *n = s->n;
    uint32_t *head = fh_work_alloc(n->work, n->n_state, sizeof *head);
    uint32_t *link = fh_work_alloc(n->work, n->n_edge, sizeof *link),
             *from = fh_work_alloc(n->work, n->n_edge, sizeof *from);
    uint32_t top = 0;
    if (!head || !link || !from || !(s->flag[out] & REACHED)) return !fh_work_failed(n->work);
    for (uint32_t i = 0; i < s->n_reach; i++) {
        for (uint32_t e = n->first[s->reach[i]]; e; e = n->edge[e - 1].link) {
            const fh_nfa_edge *g = &n->edge[e - 1];
            if (g->kind != FH_NFA_EPS && g->kind != FH_NFA_END && !(begin && g->kind == FH_NFA_BEGIN)) continue;
            from[e - 1] = s->reach[i];
            link[e - 1] = head[g->to];
            head[g->to] = e;
        }
    }
    s->flag[out] |= which;
    s->stack[top++] = out;
    while (top) {
        for (uint32_t e = head[s->stack[--top]]; e; e = link[e - 1]) {
            if (s->flag[from[e - 1]] & which) continue;
            s->flag[from[e - 1]] |= which;
            s->stack[top++] = from[e - 1];
        }
    }
    return true;
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Cuts the code points where any set begins or ends, then splits classes set by set. Class 0 leads nowhere. */
static bool find_classes(subset *s) {
    fh_nfa *n = s->n;
    fh_work *w = n->work;
    uint8_t *used = s->used = fh_work_alloc(w, (size_t)n->n_set + 1, 1);
    uint32_t n_cut = 3, k = 0;
    if (!used) return false;
    for (uint32_t i = 0; i < s->n_reach; i++)
        for (uint32_t e = n->first[s->reach[i]]; e; e = n->edge[e - 1].link)
            if (n->edge[e - 1].kind == FH_NFA_CPS && !used[n->edge[e - 1].arg]) {
                used[n->edge[e - 1].arg] = 1;
                n_cut += 2 * n->set[n->edge[e - 1].arg].n;
            }
    uint32_t *cut = fh_work_alloc(w, n_cut, sizeof *cut);
    if (!cut || !fh_work_spend(w, n_cut) || !fh_draft_ranges(&s->d, n_cut)) return false;
    cut[k++] = 0;
    cut[k++] = 0xD800;
    cut[k++] = 0xE000;
    for (uint32_t i = 0; i < n->n_set; i++)
        for (uint32_t r = 0; used[i] && r < n->set[i].n; r++) {
            cut[k++] = n->set[i].r[r][0];
            if (n->set[i].r[r][1] < FH_CP_MAX) cut[k++] = n->set[i].r[r][1] + 1;
        }
    qsort(cut, k, sizeof *cut, by_number);
    s->d.n_range = 0;
    for (uint32_t i = 0; i < k; i++)
        if (i == 0 || cut[i] != cut[i - 1]) s->d.range_lo[s->d.n_range++] = cut[i];
    return true;
}

static bool in_set(const fh_cps *c, uint32_t cp) {
    uint32_t lo = 0, hi = c->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (c->r[mid][1] < cp) lo = mid + 1;
        else hi = mid;
    }
    return lo < c->n && c->r[lo][0] <= cp;
}

static bool split_classes(subset *s) {
    fh_draft *d = &s->d;
    if (!find_classes(s)) return false;
    fh_work *w = s->n->work;
    uint32_t *cls = fh_work_alloc(w, d->n_range, sizeof *cls), n = 1;
    if (!cls) return false;
    for (uint32_t i = 0; i < s->n->n_set; i++) {
        fh_intern split = {0};
        uint32_t zero[2] = {0, 0};
        if (!s->used[i]) continue;
        if (!fh_work_spend(w, d->n_range) || fh_intern_add(&split, w, zero, 2) == FH_AUTO_DEAD) return false;
        for (uint32_t r = 0; r < d->n_range; r++) {
            bool surrogate = d->range_lo[r] >= 0xD800 && d->range_lo[r] < 0xE000;
            uint32_t key[2] = {cls[r], !surrogate && in_set(&s->n->set[i], d->range_lo[r])};
            if ((cls[r] = fh_intern_add(&split, w, key, 2)) == FH_AUTO_DEAD) return false;
        }
        n = split.n;
    }
    if (n > UINT16_MAX) w->spent = true;
    s->class_lead = fh_work_alloc(w, n, sizeof *s->class_lead);
    if (!s->class_lead) return false;
    for (uint32_t r = d->n_range; r-- > 0;) {
        d->range_class[r] = (uint16_t)cls[r];
        s->class_lead[cls[r]] = d->range_lo[r];
    }
    s->n_cp_class = n;
    return true;
}

static void closure_start(subset *s) {
    s->round++;
    s->n_member = s->visited = 0;
}

/* Adds a state and all it reaches for free; keeps those that matter. */
static void closure_add(subset *s, uint32_t q, bool at_start) {
    uint32_t top = 0;
    if (s->mark[q] == s->round) return;
    s->mark[q] = s->round;
    s->stack[top++] = q;
    while (top) {
        uint32_t p = s->stack[--top];
        s->visited++;
        if (s->flag[p] & (HOLDS | ENDS)) s->members[s->n_member++] = p;
        for (uint32_t e = s->n->first[p]; e; e = s->n->edge[e - 1].link) {
            const fh_nfa_edge *g = &s->n->edge[e - 1];
            if (g->kind != FH_NFA_EPS && !(at_start && g->kind == FH_NFA_BEGIN)) continue;
            if (s->mark[g->to] == s->round) continue;
            s->mark[g->to] = s->round;
            s->stack[top++] = g->to;
        }
    }
}

/* The deterministic state of what was collected; `first` gives the start a name of its own, since only there BEGIN
 * held. */
static uint32_t closure_name(subset *s, bool first) {
    if (s->n_member) qsort(s->members, s->n_member, sizeof *s->members, by_number);
    uint32_t n = s->n_member;
    if (first) s->members[n++] = FH_AUTO_DEAD;
    return fh_intern_add(&s->seen, s->n->work, s->members, n);
}

/* Which classes each set holds. */
static bool list_classes(subset *s) {
    fh_nfa *n = s->n;
    uint32_t total = 0, cap = 0;
    s->set_at = fh_work_alloc(n->work, (size_t)n->n_set + 1, sizeof *s->set_at);
    if (!s->set_at) return false;
    for (uint32_t i = 0; i < n->n_set; i++) {
        s->set_at[i] = total;
        if (!s->used[i]) continue;
        uint32_t *list = fh_work_grow(n->work, s->set_class, &cap, (uint64_t)total + s->n_cp_class, sizeof *list);
        if (!list || !fh_work_spend(n->work, s->n_cp_class / 2)) return false;
        s->set_class = list;
        for (uint32_t c = 1; c < s->n_cp_class; c++)
            if (in_set(&n->set[i], s->class_lead[c])) list[total++] = c;
    }
    s->set_at[n->n_set] = total;
    return true;
}

static bool add_move(subset *s, uint32_t column, uint32_t to, uint32_t *n_touched) {
    fh_work *w = s->n->work;
    uint32_t *list = fh_work_grow(w, s->move_to, &s->cap_to, (uint64_t)s->n_move + 1, sizeof *list);
    uint32_t *link = fh_work_grow(w, s->move_link, &s->cap_link, (uint64_t)s->n_move + 1, sizeof *link);
    if (!list || !link) return false;
    s->move_to = list;
    s->move_link = link;
    if (!s->head[column]) s->touched[(*n_touched)++] = column;
    list[s->n_move] = to;
    link[s->n_move++] = s->head[column];
    s->head[column] = s->n_move;
    return true;
}

/* All moves of one deterministic state, sorted into its columns: code point classes, then calls. */
static bool move_all(subset *s, uint32_t q) {
    uint32_t n, n_touched = 0;
    const uint32_t *m = fh_intern_seq(&s->seen, q, &n);
    s->n_move = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (m[i] == FH_AUTO_DEAD) continue;
        for (uint32_t e = s->n->first[m[i]]; e; e = s->n->edge[e - 1].link) {
            const fh_nfa_edge *g = &s->n->edge[e - 1];
            if (g->kind == FH_NFA_CALL && s->rule_of[g->arg] &&
                !add_move(s, s->n_cp_class + s->rule_of[g->arg] - 1, g->to, &n_touched))
                return false;
            for (uint32_t c = s->set_at[g->arg]; g->kind == FH_NFA_CPS && c < s->set_at[g->arg + 1]; c++)
                if (!add_move(s, s->set_class[c], g->to, &n_touched)) return false;
        }
    }
    if (!fh_work_spend(s->n->work, 1 + n / 2 + s->n_move / 2)) return false;
    for (uint32_t i = 0; i < n_touched; i++) {
        uint32_t column = s->touched[i], k = s->head[column];
        s->head[column] = 0;
        closure_start(s);
        for (; k; k = s->move_link[k - 1]) closure_add(s, s->move_to[k - 1], false);
        if (!fh_work_spend(s->n->work, 1 + s->visited + s->n_member / 4)) return false;
        if (!s->n_member) continue;
        uint32_t to = closure_name(s, false);
        if (to == FH_AUTO_DEAD) return false;
        s->d.next[(size_t)q * s->d.n_class + column] = to;
    }
    return true;
}

static bool find_calls(subset *s, const bool *callable) {
    fh_nfa *n = s->n;
    uint32_t top_rule = 0;
    for (uint32_t i = 0; i < n->n_edge; i++)
        if (n->edge[i].kind == FH_NFA_CALL && n->edge[i].arg >= top_rule) top_rule = n->edge[i].arg + 1;
    s->rule_of = fh_work_alloc(n->work, (size_t)top_rule + 1, sizeof *s->rule_of);
    s->rules = fh_work_alloc(n->work, (size_t)top_rule + 1, sizeof *s->rules);
    if (!s->rule_of || !s->rules) return false;
    for (uint32_t i = 0; i < s->n_reach; i++)
        for (uint32_t e = n->first[s->reach[i]]; e; e = n->edge[e - 1].link) {
            uint32_t r = n->edge[e - 1].arg;
            if (n->edge[e - 1].kind != FH_NFA_CALL || !callable || !callable[r] || s->rule_of[r]) continue;
            s->rules[s->n_rule] = r;
            s->rule_of[r] = ++s->n_rule;
        }
    return true;
}

static const fh_auto *determine(subset *s, fh_frag f, const bool *callable) {
    fh_nfa *n = s->n;
    fh_work *w = n->work;
    size_t ns = n->n_state;
    s->d.w = w;
    s->reach = fh_work_alloc(w, ns, sizeof *s->reach);
    s->flag = fh_work_alloc(w, ns, 1);
    s->mark = fh_work_alloc(w, ns, sizeof *s->mark);
    s->stack = fh_work_alloc(w, ns + 1, sizeof *s->stack);
    s->members = fh_work_alloc(w, ns + 1, sizeof *s->members);
    if (!s->reach || !s->flag || !s->mark || !s->stack || !s->members) return NULL;
    find_reach(s, f.in);
    if (!find_ends(s, f.out, ENDS, false) || !find_ends(s, f.out, ENDS_AT_START, true)) return NULL;
    if (!split_classes(s) || !list_classes(s) || !find_calls(s, callable)) return NULL;
    s->d.n_class = s->n_cp_class + s->n_rule;
    s->head = fh_work_alloc(w, s->d.n_class, sizeof *s->head);
    s->touched = fh_work_alloc(w, s->d.n_class, sizeof *s->touched);
    if (!s->head || !s->touched) return NULL;
    closure_start(s);
    closure_add(s, f.in, true);
    if (closure_name(s, true) == FH_AUTO_DEAD) return NULL;
    for (uint32_t q = 0; q < s->seen.n; q++) {
        uint32_t k, ends = 0;
        const uint32_t *m = fh_intern_seq(&s->seen, q, &k);
        if (q == 0) ends = s->flag[f.in] & ENDS_AT_START;
        for (uint32_t i = 0; i < k; i++)
            if (m[i] != FH_AUTO_DEAD) ends |= s->flag[m[i]] & ENDS;
        if (!fh_draft_state(&s->d, ends != 0)) return NULL;
        if (!move_all(s, q)) return NULL;
    }
    return fh_draft_finish(&s->d);
}

const fh_auto *fh_nfa_determine(fh_nfa *n, fh_frag f) {
    subset s = {.n = n};
    return determine(&s, f, NULL);
}

bool fh_nfa_determine_rule(fh_nfa *n, fh_frag f, const bool *callable, fh_rule_auto *out) {
    subset s = {.n = n};
    const fh_auto *a = determine(&s, f, callable);
    uint32_t n_call = 0, *call_at;
    fh_rule_call *call;
    if (!a) return false;
    for (size_t i = 0; i < (size_t)a->n_state * a->n_class; i++)
        if (i % a->n_class >= s.n_cp_class && a->next[i] != FH_AUTO_DEAD) n_call++;
    call_at = fh_work_alloc(n->work, (size_t)a->n_state + 1, sizeof *call_at);
    call = fh_work_alloc(n->work, (size_t)n_call + 1, sizeof *call);
    if (!call_at || !call) return false;
    n_call = 0;
    for (uint32_t q = 0; q < a->n_state; q++) {
        call_at[q] = n_call;
        for (uint32_t c = s.n_cp_class; c < a->n_class; c++) {
            uint32_t to = a->next[(size_t)q * a->n_class + c];
            if (to != FH_AUTO_DEAD) call[n_call++] = (fh_rule_call){s.rules[c - s.n_cp_class], to};
        }
    }
    call_at[a->n_state] = n_call;
    *out = (fh_rule_auto){a, call_at, call};
    return true;
}
