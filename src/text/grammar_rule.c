/* text/grammar_rule.c - one byte under rules that call each other, and what can begin and follow a rule.
 * SPDX-License-Identifier: Apache-2.0
 * A thread reads code points in one rule's automaton. Calls push a frame to return to; a call whose return leaves
 * nothing to do is replaced by a jump, so lists written as right recursion need no depth.
 * Invariant: no rule calls itself before it has read something (refused when rules are compiled), so entering ends. */
#include "text/grammar_part.h"

/* Adds a thread to those since `first`, unless it is there. */
static void push_once(fh_matcher *m, uint32_t first, fh_gthread t) {
    for (uint32_t i = first; i < m->n_t; i++)
        if (fh_gthread_same(&m->t[i], &t)) return;
    if (m->n_t - first > 4 * FH_GRAMMAR_THREADS) m->status = FH_ERR_LIMIT;
    fh_matcher_push(m, t);
}

static void push_return(fh_matcher *m, uint32_t first, uint32_t frame) {
    if (!frame) {
        push_once(m, first, (fh_gthread){.phase = FH_AT_END});
        return;
    }
    const fh_frame *f = &m->frame[frame];
    push_once(m, first, (fh_gthread){.frame = f->parent, .node = f->a, .q = f->b, .phase = FH_AT_RULE});
}

/* What is reached from a state without reading: the rules it calls, and the caller when it may end. */
static void leave(fh_matcher *m, uint32_t first, fh_gthread t) {
    const fh_grule *r = &m->g->rule[t.node];
    for (uint32_t i = r->r.call_at[t.q]; i < r->r.call_at[t.q + 1]; i++) {
        fh_rule_call c = r->r.call[i];
        uint32_t frame = t.frame, depth = frame ? fh_frame_depth(m, frame) + 1 : 1;
        if (!(r->tail[c.back] & 1)) {
            if (depth > FH_RULE_DEPTH) continue;
            fh_frame f = {.parent = t.frame, .a = t.node, .b = c.back, .kind_depth = depth};
            frame = fh_matcher_frame(m, FH_FRAME_RULE, f);
        }
        bool value = c.rule & FH_CALL_NODE;
        uint16_t phase = value ? FH_AT_VALUE : FH_AT_RULE;
        push_once(m, first, (fh_gthread){.frame = frame, .node = c.rule & ~FH_CALL_NODE, .phase = phase});
    }
    if (r->r.a->label[t.q]) push_return(m, first, t.frame);
}

/* Threads since `first` are the work list; the work done at each is to add more. */
static void spread(fh_matcher *m, uint32_t first, uint32_t from) {
    for (uint32_t i = from; i < m->n_t && m->status == FH_OK; i++)
        if (m->t[i].phase == FH_AT_RULE) leave(m, first, m->t[i]);
}

void fh_grule_enter(fh_matcher *m, uint32_t rule, uint32_t q, uint32_t frame) {
    uint32_t first = m->n_t;
    push_once(m, first, (fh_gthread){.frame = frame, .node = rule, .q = q, .phase = FH_AT_RULE});
    spread(m, first, first);
}

void fh_grule_return(fh_matcher *m, uint32_t frame) {
    uint32_t first = m->n_t;
    push_return(m, first, frame);
    spread(m, first, first);
}

void fh_grule_leave(fh_matcher *m, const fh_gthread *t, uint32_t q) {
    uint32_t first = m->n_t;
    fh_gthread at = *t;
    at.q = q;
    at.sub = 0;
    leave(m, first, at);
    spread(m, first, first);
}

void fh_grule_step(fh_matcher *m, const fh_gthread *t, uint8_t b) {
    const fh_auto *a = m->g->rule[t->node].r.a;
    fh_gthread in = *t;
    fh_gcps c = {.cp = b};
    fh_gread r = t->sub == 0 && b < 0x80 ? FH_GREAD_CP : fh_gread_utf8(&in.sub, b, &c);
    if (r == FH_GREAD_CP) {
        uint32_t q = fh_auto_step(a, t->q, c.cp);
        if (q != FH_AUTO_DEAD) fh_grule_enter(m, t->node, q, t->frame);
    } else if (r == FH_GREAD_PART && fh_gread_live(a, t->q, &c)) {
        fh_matcher_push(m, in);
    }
}

/* ---- linking ---- */
typedef struct state_facts {
    uint8_t first[32];
    bool can_end;
} state_facts;

/* Of a JSON value no more is known than that it has bytes. */
static const state_facts value_facts = {{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                         0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                         0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
                                        false};

static const state_facts *callee_of(const state_facts *f, const uint32_t *at, uint32_t rule) {
    return rule & FH_CALL_NODE ? &value_facts : &f[at[rule]];
}

static void add_bytes(uint8_t *set, uint32_t lo, uint32_t hi) {
    for (uint32_t b = lo; b <= hi; b++) set[b / 8] |= (uint8_t)(1u << (b & 7));
}

static uint32_t lead_of(uint32_t cp) {
    return cp < 0x80 ? cp : cp < 0x800 ? 0xC0 | cp >> 6 : cp < 0x10000 ? 0xE0 | cp >> 12 : 0xF0 | cp >> 18;
}

static void own_first(const fh_auto *a, uint32_t q, uint8_t *set) {
    for (uint32_t r = 0; r < a->n_range; r++) {
        uint32_t hi = r + 1 < a->n_range ? a->range_lo[r + 1] - 1 : FH_CP_MAX;
        if (a->next[(size_t)q * a->n_class + a->range_class[r]] != FH_AUTO_DEAD)
            add_bytes(set, lead_of(a->range_lo[r]), lead_of(hi));
    }
}

static bool merge(uint8_t *to, const uint8_t *from) {
    bool changed = false;
    for (int i = 0; i < 32; i++) {
        changed |= (from[i] & ~to[i]) != 0;
        to[i] |= from[i];
    }
    return changed;
}

/* One round over all states; true when anything changed. at[rule] is where a rule's states begin in f. Rules are gone
 * through both ways in turn: whichever way they are ordered, few rounds do. */
static bool spread_first(const fh_grammar *g, state_facts *f, const uint32_t *at, bool down) {
    bool changed = false;
    for (uint32_t i = 0; i < g->n_rule; i++) {
        uint32_t r = down ? g->n_rule - 1 - i : i;
        const fh_rule_auto *ra = &g->rule[r].r;
        for (uint32_t q = ra->a->n_state; q-- > 0;) {
            state_facts *s = &f[at[r] + q];
            for (uint32_t c = ra->call_at[q]; c < ra->call_at[q + 1]; c++) {
                const state_facts *callee = callee_of(f, at, ra->call[c].rule), *back = &f[at[r] + ra->call[c].back];
                changed |= merge(s->first, callee->first);
                if (!callee->can_end) continue;
                changed |= merge(s->first, back->first);
                changed |= back->can_end && !s->can_end;
                s->can_end |= back->can_end;
            }
        }
    }
    return changed;
}

static bool spread_follow(fh_grammar *g, const state_facts *f, const uint32_t *at, bool down) {
    bool changed = false;
    for (uint32_t k = 0; k < g->n_rule; k++) {
        uint32_t r = down ? g->n_rule - 1 - k : k;
        const fh_rule_auto *ra = &g->rule[r].r;
        for (uint32_t i = 0; i < ra->call_at[ra->a->n_state]; i++) {
            const state_facts *back = &f[at[r] + ra->call[i].back];
            if (ra->call[i].rule & FH_CALL_NODE) continue;
            fh_grule *callee = &g->rule[ra->call[i].rule];
            changed |= merge(callee->follow, back->first);
            if (back->can_end) changed |= merge(callee->follow, g->rule[r].follow);
        }
    }
    return changed;
}

static bool find_leaves(fh_grammar *g, fh_grule *r, const state_facts *f, const uint32_t *at) {
    const fh_rule_auto *ra = &r->r;
    const state_facts *own = f + at[r - g->rule];
    uint8_t(*leave)[32] = fh_arena_alloc(&g->arena, ra->a->n_state, sizeof *leave);
    for (uint32_t q = 0; leave && q < ra->a->n_state; q++) {
        for (uint32_t i = ra->call_at[q]; i < ra->call_at[q + 1]; i++) {
            const state_facts *callee = callee_of(f, at, ra->call[i].rule);
            (void)merge(leave[q], callee->first);
            if (callee->can_end) (void)merge(leave[q], own[ra->call[i].back].first);
        }
        if (own[q].can_end) (void)merge(leave[q], r->follow);
    }
    r->leave = (const uint8_t(*)[32])leave;
    return leave != NULL;
}

static bool find_tails(fh_grammar *g, fh_grule *r) {
    const fh_auto *a = r->r.a;
    r->tail = fh_arena_alloc(&g->arena, a->n_state, 1);
    for (uint32_t q = 0; r->tail && q < a->n_state; q++) {
        bool more = r->r.call_at[q] != r->r.call_at[q + 1] || fh_auto_live(a, q, 0, FH_CP_MAX);
        r->tail[q] = a->label[q] && !more;
    }
    return r->tail != NULL;
}

fh_status fh_grammar_link_rules(fh_grammar *g, fh_work *w, fh_err *err) {
    uint64_t total = 0;
    fh_status st = FH_OK;
    uint32_t *at = fh_alloc_zero((size_t)g->n_rule + 1, sizeof *at);
    for (uint32_t r = 0; at && r < g->n_rule; r++) {
        at[r] = (uint32_t)total;
        total += g->rule[r].r.a->n_state;
    }
    state_facts *f = fh_alloc_zero(total + 1, sizeof *f);
    if (!at || !f) {
        st = fh_fail_memory(err, total * sizeof *f);
        goto out;
    }
    for (uint32_t r = 0; r < g->n_rule; r++) {
        const fh_auto *a = g->rule[r].r.a;
        for (uint32_t q = 0; q < a->n_state; q++) {
            own_first(a, q, f[at[r] + q].first);
            f[at[r] + q].can_end = a->label[q] != 0;
        }
        if (!find_tails(g, &g->rule[r])) {
            st = fh_arena_fail(&g->arena, err);
            goto out;
        }
    }
    bool down = true;
    while (fh_work_spend(w, total) && spread_first(g, f, at, down)) down = !down;
    for (uint32_t r = 0; r < g->n_rule; r++) memcpy(g->rule[r].first, f[at[r]].first, 32);
    while (fh_work_spend(w, total) && spread_follow(g, f, at, down)) down = !down;
    st = fh_work_check(w, "grammar", err);
    for (uint32_t r = 0; r < g->n_rule && st == FH_OK; r++)
        if (!find_leaves(g, &g->rule[r], f, at)) st = fh_arena_fail(&g->arena, err);
    g->n_state = total;
out:
    fh_free(f);
    fh_free(at);
    return st;
}
