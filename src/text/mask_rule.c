/* text/mask_rule.c - masks under rules that call each other: what stays in one rule, and what follows it.
 * SPDX-License-Identifier: Apache-2.0
 * A place in a rule is walked once over all tokens with nothing but the rule's automaton: tokens that stay inside are
 * allowed whatever stands around, and nodes of the tree in front of which the rule may be left are noted. From there on
 * sets of threads are the states of an automaton made on the way: what a byte does to a set is asked of the matcher
 * once. Frames are kept by a matcher of our own, so all this stays good for every text under the grammar.
 * Bounded: what was made is dropped, before a mask, once it has grown beyond a ceiling. */
#include "base/num.h"
#include "text/mask_part.h"

#define UNKNOWN 0u
#define DEAD 1u
#define MAX_FRAMES (1u << 18)
#define MAX_BYTES ((size_t)48 << 20)
#define HARD_BYTES ((size_t)256 << 20) /* within one mask */
#define LETTERS UINT32_C(3)            /* worth a mask of all tokens of these classes */

/* ---- sets ---- */
static void *grow(fh_mrule *r, void *p, uint32_t *cap, uint64_t need, size_t size) {
    if (need <= *cap) return p;
    uint64_t n = FH_MAX(FH_MAX(need, (uint64_t)*cap * 2), 64u);
    if (n > UINT32_MAX / 2 || r->bytes + n * size > HARD_BYTES) {
        r->m->status = FH_ERR_LIMIT;
        return NULL;
    }
    void *q = fh_realloc(p, n, size);
    if (!q) return NULL;
    r->bytes += (n - *cap) * size;
    *cap = (uint32_t)n;
    return q;
}

static uint64_t hash_threads(const fh_gthread *t, uint32_t n) {
    uint64_t h = n;
    for (uint32_t i = 0; i < n; i++) {
        h = (h ^ ((uint64_t)t[i].frame << 32 | t[i].node)) * UINT64_C(0x9E3779B97F4A7C15);
        h = (h ^ (h >> 29) ^ ((uint64_t)t[i].q << 32 | t[i].sub)) * UINT64_C(0xBF58476D1CE4E5B9);
        h ^= (h >> 32) + t[i].phase;
    }
    return h;
}

static bool more_table(fh_mrule *r) {
    uint32_t cap = r->cap_table ? r->cap_table * 2 : 256;
    uint32_t *table = fh_alloc_zero(cap, sizeof *table);
    if (!table) return false;
    fh_free(r->table);
    r->table = table;
    r->cap_table = cap;
    for (uint32_t i = 0; i < r->n_set; i++) {
        uint64_t h = hash_threads(r->pool + r->set[i].at, r->set[i].n);
        while (table[h & (cap - 1)]) h++;
        table[h & (cap - 1)] = i + 1;
    }
    return true;
}

/* Classes that a thread in the set takes without end: the one that takes most. */
static uint32_t set_loop(const fh_grammar *g, const fh_gthread *t, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (t[i].phase != FH_AT_RULE || t[i].sub) continue;
        uint32_t loop = g->rule[t[i].node].r.a->loop[t[i].q];
        if (__builtin_popcount(loop) > __builtin_popcount(best)) best = loop;
    }
    return best;
}

/* The set of the threads that were pushed to the matcher since `first`, which are taken off. DEAD for none, UNKNOWN on
 * failure, else the set plus 2. */
static uint32_t take_set(fh_mrule *r, uint32_t first) {
    fh_matcher *m = r->m;
    const fh_gthread *t = m->t + first;
    uint32_t n = m->n_t - first;
    m->n_t = first;
    if (m->status != FH_OK) return UNKNOWN;
    if (n == 0) return DEAD;
    if (r->n_set * 2 >= r->cap_table && !more_table(r)) return UNKNOWN;
    uint64_t h = hash_threads(t, n);
    for (uint32_t i; (i = r->table[h & (r->cap_table - 1)]) != 0; h++)
        if (r->set[i - 1].n == n && memcmp(r->pool + r->set[i - 1].at, t, n * sizeof *t) == 0) return i + 1;
    fh_gthread *pool = grow(r, r->pool, &r->cap_pool, (uint64_t)r->n_pool + n, sizeof *pool);
    if (!pool) return UNKNOWN;
    r->pool = pool;
    fh_mset *set = grow(r, r->set, &r->cap_set, (uint64_t)r->n_set + 1, sizeof *set);
    if (!set) return UNKNOWN;
    r->set = set;
    memcpy(pool + r->n_pool, t, n * sizeof *t);
    set[r->n_set] = (fh_mset){.at = r->n_pool, .n = n, .loop = set_loop(m->g, t, n)};
    r->n_pool += n;
    r->table[h & (r->cap_table - 1)] = ++r->n_set;
    return r->n_set + 1;
}

/* Asks the matcher where a byte leads, and remembers it. */
static uint32_t find_move(fh_mask *k, uint32_t s, uint8_t b) {
    fh_mrule *r = &k->rule;
    fh_matcher *m = r->m;
    uint32_t first = m->n_t, n = r->set[s].n;
    if (k->budget < n) m->status = FH_ERR_LIMIT;
    if (m->status != FH_OK) return UNKNOWN;
    k->budget -= n;
    if (!r->set[s].next) {
        if (r->bytes + 1024 > HARD_BYTES) m->status = FH_ERR_LIMIT;
        r->set[s].next = fh_alloc_zero(256, sizeof *r->set[s].next);
        if (!r->set[s].next || m->status != FH_OK) return UNKNOWN;
        r->bytes += 1024;
    }
    for (uint32_t i = 0; i < n; i++) fh_matcher_push(m, r->pool[r->set[s].at + i]);
    uint32_t to = m->n_t;
    if (m->status != FH_OK || !fh_matcher_step(m, first, n, b)) return UNKNOWN;
    to = take_set(r, to);
    m->n_t = first;
    if (to != UNKNOWN) r->set[s].next[b] = to;
    return to;
}

static inline uint32_t move(fh_mask *k, uint32_t s, uint8_t b) {
    const uint32_t *next = k->rule.set[s].next;
    return next && next[b] ? next[b] : find_move(k, s, b);
}

static void drop_sets(fh_mrule *r) {
    for (uint32_t i = 0; i < r->n_set; i++) fh_free(r->set[i].next);
    for (uint32_t i = 0; i < FH_MASK_SLOTS; i++) fh_free(r->slot[i].bits);
    fh_free(r->pool);
    fh_free(r->set);
    fh_free(r->table);
    r->pool = NULL;
    r->set = NULL;
    r->table = NULL;
    memset(r->slot, 0, sizeof r->slot);
    r->n_pool = r->cap_pool = r->n_set = r->cap_set = r->cap_table = r->next_slot = 0;
    r->bytes = 0;
}

void fh_mrule_release(fh_mrule *r) {
    drop_sets(r);
    for (uint32_t i = 0; i < FH_MASK_LOOPS; i++) fh_free(r->loop[i].bits);
    fh_free(r->state);
    fh_free(r->path);
    fh_free(r->part);
    fh_free(r->q_set);
    fh_free(r->q_have);
    fh_matcher_free(r->m);
    *r = (fh_mrule){.m = NULL};
}

/* ---- places ---- */
static void set_items(const fh_mtree *t, uint32_t node, uint32_t end, uint32_t *bits) {
    for (uint32_t j = t->node[node].item_at; j < t->node[end].item_at; j++) fh_bit_set(bits, t->item[j]);
}

/* a |= b; two words at a time. */
static void add_words(uint32_t *a, const uint32_t *b, uint32_t n) {
    uint32_t i = 0;
    for (; i + 2 <= n; i += 2) {
        uint64_t x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        x |= y;
        memcpy(a + i, &x, sizeof x);
    }
    if (i < n) a[i] |= b[i];
}

/* All tokens that begin with a byte of `first` and go on with nothing but `behind`; NULL without memory. */
static const uint32_t *loop_bits(fh_mask *k, uint32_t first, uint32_t behind) {
    fh_mrule *r = &k->rule;
    uint32_t words = k->v->words;
    for (uint32_t i = 0; i < FH_MASK_LOOPS; i++)
        if (r->loop[i].bits && r->loop[i].first == first && r->loop[i].behind == behind) return r->loop[i].bits;
    uint32_t i = r->next_loop++ % FH_MASK_LOOPS, *bits = r->loop[i].bits;
    uint32_t *bad = fh_alloc_zero(words, sizeof *bad);
    if (bad && !bits) bits = r->loop[i].bits = fh_alloc(words, sizeof *bits);
    if (!bad || !bits) {
        fh_free(bad);
        return NULL;
    }
    memset(bits, 0, (size_t)words * sizeof *bits);
    r->loop[i].first = first;
    r->loop[i].behind = behind;
    for (uint32_t c = 0; c < 32; c++) {
        const uint32_t *is = k->v->first + (size_t)words * c, *has = k->v->behind + (size_t)words * c;
        if (first >> c & 1) add_words(bits, is, words);
        if (!(behind >> c & 1)) add_words(bad, has, words);
    }
    for (uint32_t w = 0; w < words; w++) bits[w] &= ~bad[w];
    fh_free(bad);
    return bits;
}

typedef struct placing {
    fh_mask *k;
    fh_mplace *p;
    uint32_t *bits, cap_node;
    uint32_t to[32]; /* by the class of a first byte: where all such bytes lead, or FH_AUTO_DEAD */
    uint32_t
        behind[32]; /* by the class of a first byte: what may follow it without end, and is in bits already; or 0 */
} placing;

/* What state q takes: for each class of first bytes that lead to one state, what that state takes without end. */
static bool set_loops(placing *w, const fh_auto *a, uint32_t q) {
    uint32_t *to = w->to, done = 0;
    for (uint32_t c = 0; c < 32; c++) {
        to[c] = FH_NONE - 1;
        w->behind[c] = c >= 28 && a->loop[q] >> c & 1 ? a->loop[q] : 0;
    }
    for (uint32_t b = 0; b < 0x80; b++) {
        uint32_t c = (uint32_t)__builtin_ctz(fh_class_of_ascii((uint8_t)b)), next = fh_auto_step(a, q, b);
        to[c] = to[c] == FH_NONE - 1 || to[c] == next ? next : FH_AUTO_DEAD;
    }
    for (uint32_t c = 0; c < 28; c++)
        if (to[c] < a->n_state) w->behind[c] = a->loop[to[c]];
    for (uint32_t c = 0; c < 32; c++) {
        uint32_t first = 0;
        if (!(w->behind[c] & LETTERS)) w->behind[c] = 0;
        for (uint32_t i = c; i < 32; i++)
            if (w->behind[i] == w->behind[c]) first |= 1u << i;
        if (!w->behind[c] || done >> c & 1) continue;
        done |= first;
        const uint32_t *from = loop_bits(w->k, first, w->behind[c]);
        if (!from) return false;
        add_words(w->bits, from, w->k->v->words);
    }
    return true;
}

static inline uint32_t class_of(uint8_t b) {
    return b < 0x80 ? fh_class_of_ascii(b) : b == 0xC2 ? FH_CLASS_C2 : b == 0xE2 ? FH_CLASS_E2 : FH_CLASS_WIDE;
}

static bool add_leave(placing *w, uint32_t node, uint32_t q, uint32_t before) {
    fh_mplace *p = w->p;
    uint32_t i = 0;
    while (i < p->n_leave_q && p->leave_q[i] != q) i++;
    if (i == FH_MASK_LEAVES) {
        p->unusable = true;
        return true;
    }
    if (!p->leave_q) p->leave_q = fh_alloc_zero(FH_MASK_LEAVES, sizeof *p->leave_q);
    if (!p->leave_first) p->leave_first = fh_alloc_zero(FH_MASK_LEAVES, sizeof *p->leave_first);
    if (!p->leave_q || !p->leave_first) return false;
    if (i == p->n_leave_q) {
        p->leave_q[p->n_leave_q++] = q;
        for (uint32_t c = 0; c < 28; c++)
            if (w->to[c] == q) p->leave_first[i] |= 1u << c;
    }
    if (p->n_leave == w->cap_node) {
        uint32_t cap = w->cap_node ? w->cap_node * 2 : 256;
        uint32_t *list = fh_realloc(p->leave_node, cap, sizeof *list);
        if (!list) return false;
        p->leave_node = list;
        uint16_t *of = fh_realloc(p->leave_of, cap, sizeof *of);
        if (!of) return false;
        p->leave_of = of;
        w->cap_node = cap;
    }
    p->leave_node[p->n_leave] = node;
    p->leave_of[p->n_leave++] = (uint16_t)(i | (p->leave_first[i] & before ? FH_MASK_BEHIND : 0));
    return true;
}

/* Where a byte leads from state q, a code point being read as `sub` says: the same two in one, or FH_AUTO_DEAD. */
static inline uint64_t step(const fh_auto *a, uint32_t q, uint32_t sub, uint8_t b) {
    fh_gcps c = {.cp = b};
    if (sub || b >= 0x80) {
        fh_gread r = fh_gread_utf8(&sub, b, &c);
        if (r == FH_GREAD_PART) return fh_gread_live(a, q, &c) ? (uint64_t)sub << 32 | q : FH_AUTO_DEAD;
        if (r != FH_GREAD_CP) return FH_AUTO_DEAD;
    }
    return fh_auto_step(a, q, c.cp);
}

/* Walks all tokens with the rule's automaton. */
static bool walk_place(placing *w) {
    fh_mask *k = w->k;
    const fh_mtree *tree = &k->v->tree;
    const fh_grule *rule = &k->g->rule[w->p->rule];
    const fh_auto *a = rule->r.a;
    uint32_t depth = 0, have = 0, before = 0, *end = k->end, *path = k->rule.path, *state = k->rule.state;
    uint32_t *part = k->rule.part, n_node = tree->n_node, steps = 0;
    const uint32_t *loop = a->loop;
    const fh_mnode *node = tree->node;
    state[0] = w->p->q;
    part[0] = w->p->sub;
    end[0] = n_node;
    path[0] = 0;
    for (uint32_t i = 1; i < n_node;) {
        while (i >= end[depth]) depth--;
        uint32_t q = state[depth], next = i + node[i].span;
        uint8_t b = node[i].byte;
        steps++;
        if (depth == 0) {
            before = class_of(b);
            have = w->behind[__builtin_ctz(before)];
        }
        if (!part[depth] && !(node[i].held & ~loop[q])) {
            if ((path[depth] | node[i].held) & ~have) set_items(tree, i, next, w->bits);
            i = next;
            continue;
        }
        if (depth > 0 && !part[depth] && rule->leave[q][b >> 3] >> (b & 7) & 1) {
            if (!add_leave(w, i, q, depth == 1 ? before : 0)) return false;
            if (w->p->unusable) return true;
        }
        uint64_t to = step(a, q, part[depth], b);
        if (to == FH_AUTO_DEAD) {
            i = next;
            continue;
        }
        set_items(tree, i, i + 1, w->bits);
        path[depth + 1] = depth == 0 ? 0 : path[depth] | (b < 0x80 ? fh_class_of_ascii(b) : FH_CLASS_BAD);
        state[++depth] = (uint32_t)to;
        part[depth] = (uint32_t)(to >> 32);
        end[depth] = next;
        i++;
    }
    k->stats.steps += steps;
    return true;
}

static uint32_t count_bits(uint32_t x) { /* the baseline has no instruction for it */
    x -= x >> 1 & 0x55555555u;
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    return ((x + (x >> 4)) & 0x0F0F0F0Fu) * 0x01010101u >> 24;
}

/* Few tokens are kept as a list. */
static bool keep_bits(const fh_mask *k, fh_mplace *p, uint32_t *bits) {
    uint32_t n = 0, words = k->v->words;
    p->bytes = sizeof *p + (size_t)p->n_leave * 6 + (p->leave_q ? 2 * FH_MASK_LEAVES * sizeof *p->leave_q : 0);
    for (uint32_t i = 0; i < words; i++) n += count_bits(bits[i]);
    if (n >= words / 2) {
        p->bits = bits;
        p->bytes += (size_t)words * sizeof *bits;
        return true;
    }
    p->id = fh_alloc_zero(n, sizeof *p->id);
    for (uint32_t i = 0; p->id && i < words; i++)
        for (uint32_t left = bits[i]; left; left &= left - 1) p->id[p->n_id++] = i * 32 + (uint32_t)__builtin_ctz(left);
    p->bytes += (size_t)n * sizeof *p->id;
    fh_free(bits);
    return p->id != NULL;
}

bool fh_mrule_place(fh_mask *k, fh_mplace *p) {
    const fh_auto *a = k->g->rule[p->rule].r.a;
    placing w = {.k = k, .p = p, .bits = fh_alloc_zero(k->v->words, sizeof *w.bits)};
    memset(w.to, 0xFF, sizeof w.to);
    bool ok = w.bits && (p->sub || set_loops(&w, a, p->q)) && walk_place(&w);
    if (ok) ok = keep_bits(k, p, w.bits);
    else fh_free(w.bits);
    if (!ok) fh_mplace_release(p);
    return ok;
}

/* ---- what follows ---- */
/* Tokens at or below `top`, which is read in set s. Those with nothing but `have` from there on are in the mask. */
static bool follow(fh_mask *k, uint32_t top, uint32_t s, uint32_t have) {
    const fh_mtree *tree = &k->v->tree;
    uint32_t *state = k->rule.state, *end = k->end, *path = k->rule.path, depth = 0, stop = top + tree->node[top].span;
    state[0] = s;
    end[0] = stop;
    path[0] = 0;
    for (uint32_t i = top; i < stop;) {
        while (i >= end[depth]) depth--;
        uint32_t next = i + tree->node[i].span;
        if (!(tree->node[i].held & ~k->rule.set[state[depth]].loop)) {
            if ((path[depth] | tree->node[i].held) & ~have) set_items(tree, i, next, k->out);
            i = next;
            continue;
        }
        uint32_t to = move(k, state[depth], tree->node[i].byte);
        k->stats.steps++;
        if (to <= DEAD) {
            if (to == UNKNOWN) return false;
            i = next;
            continue;
        }
        set_items(tree, i, i + 1, k->out);
        state[++depth] = to - 2;
        end[depth] = next;
        path[depth] =
            path[depth - 1] | (tree->node[i].byte < 0x80 ? fh_class_of_ascii(tree->node[i].byte) : FH_CLASS_BAD);
        i++;
    }
    return true;
}

static bool all_tokens(fh_mask *k, const fh_gthread *t) {
    const fh_mtree *tree = &k->v->tree;
    uint32_t first = k->rule.m->n_t;
    fh_matcher_push(k->rule.m, *t);
    uint32_t s = take_set(&k->rule, first);
    if (s <= DEAD) return false;
    for (uint32_t i = 1; i < tree->n_node; i += tree->node[i].span)
        if (!follow(k, i, s - 2, 0)) return false;
    return true;
}

static bool one_thread(fh_mask *k, const fh_gthread *t) {
    fh_mrule *r = &k->rule;
    const fh_mplace *p;
    if (t->phase != FH_AT_RULE) return true;
    if (!fh_mask_place(k, (fh_mplace){.rule = t->node, .q = t->q, .sub = t->sub}, &p)) return false;
    if (p->unusable) return all_tokens(k, t);
    if (p->bits) add_words(k->out, p->bits, k->v->words);
    for (uint32_t i = 0; p->id && i < p->n_id; i++) fh_bit_set(k->out, p->id[i]);
    for (uint32_t i = 0; i < p->n_leave_q; i++) {
        uint32_t first = r->m->n_t;
        fh_grule_leave(r->m, t, p->leave_q[i]);
        r->q_set[i] = take_set(r, first);
        if (r->q_set[i] == UNKNOWN) return false;
        r->q_have[i] = 0;
        if (r->q_set[i] == DEAD || !p->leave_first[i]) continue;
        r->q_have[i] = r->set[r->q_set[i] - 2].loop;
        if (!(r->q_have[i] & LETTERS)) r->q_have[i] = 0;
        const uint32_t *bits = r->q_have[i] ? loop_bits(k, p->leave_first[i], r->q_have[i]) : NULL;
        if (r->q_have[i] && !bits) return false;
        if (bits) add_words(k->out, bits, k->v->words);
    }
    for (uint32_t i = 0; i < p->n_leave; i++) {
        uint32_t of = p->leave_of[i] & ~FH_MASK_BEHIND, s = r->q_set[of];
        uint32_t have = p->leave_of[i] & FH_MASK_BEHIND ? r->q_have[of] : 0;
        if (s == DEAD) continue;
        const uint32_t *next = r->set[s - 2].next; /* most end here */
        if (next && next[k->v->tree.node[p->leave_node[i]].byte] == DEAD) continue;
        if (!follow(k, p->leave_node[i], s - 2, have)) return false;
    }
    return true;
}

/* ---- a position ---- */
/* A thread's frame of another matcher, as one of ours. */
static uint32_t own_frame(fh_mrule *r, const fh_matcher *m, uint32_t frame, uint32_t *chain) {
    uint32_t n = 0, own = 0;
    for (; frame; frame = m->frame[frame].parent) chain[n++] = frame;
    while (n-- > 0) {
        fh_frame f = m->frame[chain[n]];
        uint32_t kind = fh_frame_kind(&f);
        f.kind_depth >>= 3;
        f.parent = own;
        own = fh_matcher_frame(r->m, kind, f);
    }
    return own;
}

static bool start(fh_mask *k) {
    fh_mrule *r = &k->rule;
    if (r->m && (r->bytes > MAX_BYTES || r->m->n_frame > MAX_FRAMES)) {
        drop_sets(r);
        fh_matcher_cut_frames(r->m, 1);
    }
    if (r->m) return true;
    size_t n = (size_t)k->v->tree.depth + 2;
    r->state = fh_alloc_zero(n, sizeof *r->state);
    r->path = fh_alloc_zero(n, sizeof *r->path);
    r->part = fh_alloc_zero(n, sizeof *r->part);
    r->q_set = fh_alloc_zero(FH_MASK_LEAVES, sizeof *r->q_set);
    r->q_have = fh_alloc_zero(FH_MASK_LEAVES, sizeof *r->q_have);
    if (!r->state || !r->path || !r->part || !r->q_set || !r->q_have || fh_matcher_new(&r->m, k->g, NULL) != FH_OK) {
        fh_mrule_release(r);
        return false;
    }
    return true;
}

bool fh_mrule_compute(fh_mask *k, const fh_matcher *m) {
    fh_mrule *r = &k->rule;
    uint32_t words = k->v->words, chain[FH_RULE_DEPTH + 1];
    if (!start(k)) return false;
    uint32_t first = r->m->n_t;
    for (uint32_t i = 0; i < m->n; i++) {
        fh_gthread t = m->t[m->at + i];
        t.frame = own_frame(r, m, t.frame, chain);
        fh_matcher_push(r->m, t);
    }
    uint32_t s = take_set(r, first);
    if (s <= DEAD) return false;
    s -= 2;
    if (r->set[s].slot) {
        memcpy(k->out, r->slot[r->set[s].slot - 1].bits, (size_t)words * sizeof *k->out);
        k->stats.same_position++;
        return true;
    }
    memset(k->out, 0, (size_t)words * sizeof *k->out);
    for (uint32_t i = 0; i < r->set[s].n; i++) {
        const fh_gthread t = r->pool[r->set[s].at + i];
        if (!one_thread(k, &t)) {
            r->m->n_t = first;
            return false;
        }
    }
    uint32_t slot = r->next_slot++ % FH_MASK_SLOTS;
    if (r->slot[slot].bits) r->set[r->slot[slot].set].slot = 0;
    else r->slot[slot].bits = fh_alloc(words, sizeof *k->out);
    if (!r->slot[slot].bits) return true;
    memcpy(r->slot[slot].bits, k->out, (size_t)words * sizeof *k->out);
    r->slot[slot].set = s;
    r->set[s].slot = slot + 1;
    return true;
}
