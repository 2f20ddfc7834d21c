/* text/grammar_match.c - matchers: positions, the frames they stand on, and going back.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: all memory of a matcher. Borrows: its grammar.
 * Invariants: (1) frames are added only, equal frames are one; (2) the hash table is filled in the order of the frames
 * and emptied in the reverse order, so linear probing needs no tombstones; (3) t[at .. at + n) is the present set and
 * the last thing in t; earlier sets lie before it, in the order of `mark`. */
#include <stdatomic.h>

#include "base/num.h"
#include "text/grammar_part.h"

#define MAX_FRAMES (1u << 24)
#define MAX_STACKED (1u << 24)

static bool grow(fh_matcher *m, void **p, uint32_t *cap, uint64_t need, uint32_t most, size_t size) {
    if (need <= *cap) return true;
    uint64_t n = FH_MAX(need, (uint64_t)*cap * 2);
    if (n > most) n = most;
    void *q = need > most ? NULL : fh_realloc(*p, n, size);
    if (!q) {
        m->status = need > most ? FH_ERR_LIMIT : FH_ERR_MEMORY;
        return false;
    }
    *p = q;
    *cap = (uint32_t)n;
    return true;
}

/* ---- frames ---- */
static uint64_t hash_frame(const fh_frame *f) {
    uint64_t h = (uint64_t)f->parent << 32 | f->a;
    h = (h ^ (h >> 31)) * UINT64_C(0x9E3779B97F4A7C15) ^ ((uint64_t)f->b << 32 | f->c);
    h = (h ^ (h >> 29)) * UINT64_C(0xBF58476D1CE4E5B9) ^ f->kind_depth;
    h *= UINT64_C(0x94D049BB133111EB);
    return h ^ (h >> 32);
}

static void enter(fh_matcher *m, uint32_t i) {
    uint64_t h = hash_frame(&m->frame[i]);
    while (m->table[h & (m->cap_table - 1)]) h++;
    m->table[h & (m->cap_table - 1)] = i;
}

static bool grow_table(fh_matcher *m) {
    uint32_t cap = m->cap_table ? m->cap_table * 2 : 256;
    uint32_t *table = fh_alloc_zero(cap, sizeof *table);
    if (!table) {
        m->status = FH_ERR_MEMORY;
        return false;
    }
    fh_free(m->table);
    m->table = table;
    m->cap_table = cap;
    for (uint32_t i = 1; i < m->n_frame; i++) enter(m, i);
    return true;
}

static bool same_frame(const fh_frame *x, const fh_frame *y) {
    return x->parent == y->parent && x->a == y->a && x->b == y->b && x->c == y->c && x->kind_depth == y->kind_depth;
}

uint32_t fh_matcher_frame(fh_matcher *m, uint32_t kind, fh_frame f) {
    f.kind_depth = f.kind_depth << 3 | kind;
    if (m->status != FH_OK) return 0;
    if (m->n_frame * 2 >= m->cap_table && !grow_table(m)) return 0;
    uint64_t h = hash_frame(&f);
    for (uint32_t i; (i = m->table[h & (m->cap_table - 1)]) != 0; h++)
        if (same_frame(&m->frame[i], &f)) return i;
    void *p = m->frame;
    if (!grow(m, &p, &m->cap_frame, (uint64_t)m->n_frame + 1, MAX_FRAMES, sizeof *m->frame)) return 0;
    m->frame = p;
    m->frame[m->n_frame] = f;
    m->table[h & (m->cap_table - 1)] = m->n_frame;
    return m->n_frame++;
}

void fh_matcher_cut_frames(fh_matcher *m, uint32_t n_frame) {
    while (m->n_frame > n_frame) {
        uint32_t i = --m->n_frame;
        uint64_t h = hash_frame(&m->frame[i]);
        while (m->table[h & (m->cap_table - 1)] != i) h++;
        m->table[h & (m->cap_table - 1)] = 0;
    }
}

/* ---- threads ---- */
void fh_matcher_push(fh_matcher *m, fh_gthread t) {
    void *p = m->t;
    if (m->status != FH_OK || !grow(m, &p, &m->cap_t, (uint64_t)m->n_t + 1, MAX_STACKED, sizeof *m->t)) return;
    m->t = p;
    m->t[m->n_t++] = t;
}

/* Leaves each thread of the set once. */
static void drop_doubles(fh_matcher *m, uint32_t first) {
    uint32_t n = first;
    for (uint32_t i = first; i < m->n_t; i++) {
        uint32_t j = first;
        while (j < n && !fh_gthread_same(&m->t[j], &m->t[i])) j++;
        if (j == n) m->t[n++] = m->t[i];
        if (n - first > FH_GRAMMAR_THREADS) m->status = FH_ERR_LIMIT;
        if (m->status != FH_OK) return;
    }
    m->n_t = n;
}

bool fh_matcher_step(fh_matcher *m, uint32_t at, uint32_t n, uint8_t b) {
    uint32_t first = m->n_t;
    for (uint32_t i = 0; i < n; i++) {
        fh_gthread t = m->t[at + i]; /* a copy: pushing moves the array */
        if (t.phase == FH_AT_RULE) fh_grule_step(m, &t, b);
        else fh_gjson_step(m, &t, b);
    }
    if (m->n_t - first > 1 && m->status == FH_OK) drop_doubles(m, first);
    return m->status == FH_OK;
}

/* Behind a value: may all the rules that it stands in end at once? */
static bool frame_ends(const fh_matcher *m, uint32_t frame) {
    for (; frame; frame = m->frame[frame].parent) {
        const fh_frame *f = &m->frame[frame];
        if (fh_frame_kind(f) != FH_FRAME_RULE || !m->g->rule[f->a].r.a->label[f->b]) return false;
    }
    return true;
}

bool fh_matcher_set_ends(const fh_matcher *m, uint32_t at, uint32_t n) {
    for (uint32_t i = at; i < at + n; i++) {
        const fh_gthread *t = &m->t[i];
        if (t->phase == FH_AT_END) return true;
        if (t->phase == FH_AT_NUMBER && m->g->node[t->node].num->label[t->q] && frame_ends(m, t->frame)) return true;
    }
    return false;
}

fh_status fh_matcher_fail(const fh_matcher *m, fh_err *err) {
    if (m->status == FH_ERR_MEMORY) return fh_fail_memory(err, 0);
    return fh_fail(err, m->status, "grammar: the text can be read in too many ways, or is too deep or too long");
}

/* ---- life ---- */
static uint64_t new_id(void) {
    static _Atomic uint64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

static void push_start(fh_matcher *m) {
    if (!m->g->n_rule) fh_matcher_push(m, (fh_gthread){.node = m->g->root, .phase = FH_AT_VALUE});
    else fh_grule_enter(m, m->g->root, 0, 0);
    m->at = 0;
    m->n = m->n_t;
}

fh_status fh_matcher_new(fh_matcher **out, const fh_grammar *g, fh_err *err) {
    fh_matcher *m = fh_alloc_zero(1, sizeof *m);
    fh_status st;
    if (!m) return fh_fail_memory(err, sizeof *m);
    m->g = g;
    m->id = new_id();
    m->n_frame = 1;
    m->cap_frame = m->cap_t = 16;
    m->frame = fh_alloc_zero(m->cap_frame, sizeof *m->frame);
    m->t = fh_alloc_zero(m->cap_t, sizeof *m->t);
    if (!m->frame || !m->t) m->status = FH_ERR_MEMORY;
    if (m->status == FH_OK) push_start(m);
    if (m->status == FH_OK) drop_doubles(m, 0);
    m->n = m->n_t;
    if (m->status != FH_OK) {
        st = fh_matcher_fail(m, err);
        fh_matcher_free(m);
        return st;
    }
    *out = m;
    return FH_OK;
}

static void *copy(const void *p, size_t n, size_t cap, size_t size) {
    void *q = fh_alloc(cap, size);
    if (q && n) memcpy(q, p, n * size);
    return q;
}

fh_status fh_matcher_clone(fh_matcher **out, const fh_matcher *m, fh_err *err) {
    fh_matcher *c = fh_alloc(1, sizeof *c);
    if (!c) return fh_fail_memory(err, sizeof *c);
    *c = *m;
    c->id = new_id();
    c->frame = copy(m->frame, m->n_frame, m->cap_frame, sizeof *m->frame);
    c->t = copy(m->t, m->n_t, m->cap_t, sizeof *m->t);
    c->table = m->table ? copy(m->table, m->cap_table, m->cap_table, sizeof *m->table) : NULL;
    c->mark = m->mark ? copy(m->mark, m->n_mark, m->cap_mark, sizeof *m->mark) : NULL;
    if (!c->frame || !c->t || (m->table && !c->table) || (m->mark && !c->mark)) {
        fh_matcher_free(c);
        return fh_fail_memory(err, (size_t)m->cap_frame * sizeof *m->frame);
    }
    *out = c;
    return FH_OK;
}

void fh_matcher_free(fh_matcher *m) {
    if (!m) return;
    fh_free(m->frame);
    fh_free(m->table);
    fh_free(m->t);
    fh_free(m->mark);
    fh_free(m);
}

fh_status fh_matcher_accept(fh_matcher *m, fh_str bytes, bool *ok, fh_err *err) {
    uint32_t base = m->n_t, n_frame = m->n_frame, at = m->at, n = m->n;
    void *p = m->mark;
    FH_REQUIRE(m->status == FH_OK);
    if (!grow(m, &p, &m->cap_mark, (uint64_t)m->n_mark + 1, MAX_STACKED, sizeof *m->mark)) goto failed;
    m->mark = p;
    for (size_t i = 0; i < bytes.len && n > 0; i++) {
        uint32_t before = m->n_t;
        if (!fh_matcher_step(m, at, n, (uint8_t)bytes.ptr[i])) goto failed;
        n = m->n_t - before;
        if (n) memmove(m->t + base, m->t + before, n * sizeof *m->t); /* the set in between is of no use any more */
        at = base;
        m->n_t = base + n;
    }
    if (bytes.len == 0) { /* an accept like any other, so that it can be taken back */
        for (uint32_t i = 0; i < n; i++) fh_matcher_push(m, m->t[m->at + i]);
        if (m->status != FH_OK) goto failed;
    }
    *ok = n > 0;
    if (n == 0) {
        m->n_t = base;
        fh_matcher_cut_frames(m, n_frame);
        return FH_OK;
    }
    m->mark[m->n_mark++] = (fh_gmark){m->at, m->n, n_frame};
    m->at = base;
    m->n = n;
    return FH_OK;
failed:;
    fh_status st = fh_matcher_fail(m, err);
    m->status = FH_OK;
    m->n_t = base;
    fh_matcher_cut_frames(m, n_frame);
    return st;
}

bool fh_matcher_can_end(const fh_matcher *m) { return fh_matcher_set_ends(m, m->at, m->n); }

bool fh_matcher_rollback(fh_matcher *m, size_t n) {
    if (n > m->n_mark) return false;
    if (n == 0) return true;
    m->n_mark -= (uint32_t)n;
    const fh_gmark *k = &m->mark[m->n_mark];
    m->at = k->at;
    m->n = k->n;
    m->n_t = k->at + k->n;
    if (m->n_frame > k->n_frame) m->id = new_id();
    fh_matcher_cut_frames(m, k->n_frame);
    return true;
}

void fh_matcher_forget(fh_matcher *m) {
    memmove(m->t, m->t + m->at, m->n * sizeof *m->t);
    m->at = 0;
    m->n_t = m->n;
    m->n_mark = 0;
}

void fh_matcher_reset(fh_matcher *m) {
    m->n_t = m->n_mark = 0;
    m->id = new_id();
    fh_matcher_cut_frames(m, 1);
    push_start(m); /* what was there once fits again */
    drop_doubles(m, 0);
    m->n = m->n_t;
}
