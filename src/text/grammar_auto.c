/* text/grammar_auto.c - deterministic automata over code points: built, combined, measured.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: all memory is the caller's fh_work. Refuses to exceed its bytes or its steps.
 * Invariants: (1) what is returned is trimmed: every state reaches a match; (2) range_lo starts at 0 and ascends;
 * (3) a state's row is complete, FH_AUTO_DEAD where there is no way on. */
#include "text/grammar_auto_part.h"

#include "base/num.h"
#include "text/grammar_class.h"

#define JOIN_CELLS 65536u
#define JOIN_ROUNDS 8

void fh_work_init(fh_work *w) {
    fh_arena_init(&w->arena, FH_WORK_BYTES);
    w->left = FH_WORK_STEPS;
    w->spent = false;
}

void fh_work_release(fh_work *w) { fh_arena_release(&w->arena); }

bool fh_work_spend(fh_work *w, uint64_t steps) {
    if (steps > w->left) w->spent = true;
    if (fh_work_failed(w)) return false;
    w->left -= steps;
    return true;
}

void *fh_work_alloc(fh_work *w, size_t n, size_t size) {
    return fh_work_failed(w) ? NULL : fh_arena_alloc(&w->arena, n, size);
}

void *fh_work_grow(fh_work *w, void *p, uint32_t *cap, uint64_t need, size_t size) {
    if (p && need <= *cap) return p;
    uint64_t n = FH_MAX(need, (uint64_t)*cap * 2);
    if (n < 8) n = 8;
    if (n > UINT32_MAX / 2) w->spent = true;
    void *q = fh_work_alloc(w, n, size);
    if (!q) return NULL;
    if (p && *cap) memcpy(q, p, (size_t)*cap * size);
    *cap = (uint32_t)n;
    return q;
}

bool fh_work_failed(const fh_work *w) { return w->spent || w->arena.status != FH_OK; }

fh_status fh_work_check(const fh_work *w, const char *what, fh_err *err) {
    if (w->spent) return fh_fail(err, FH_ERR_LIMIT, "%s: too large or too intricate to compile", what);
    if (w->arena.status == FH_ERR_LIMIT)
        return fh_fail(err, FH_ERR_LIMIT, "%s: compiling it would take more than %zu MiB", what, FH_WORK_BYTES >> 20);
    return w->arena.status == FH_OK ? FH_OK : fh_arena_fail(&w->arena, err);
}

/* ---- interned sequences ---- */
static uint64_t hash_seq(const uint32_t *seq, uint32_t n) {
    uint64_t h = n * UINT64_C(0x9E3779B97F4A7C15);
    for (uint32_t i = 0; i < n; i++) {
        h = (h ^ seq[i]) * UINT64_C(0xFF51AFD7ED558CCD);
        h ^= h >> 32;
    }
    return h;
}

static bool rehash(fh_intern *t, fh_work *w) {
    uint32_t cap = t->cap_table ? t->cap_table * 2 : 64;
    uint32_t *table = fh_work_alloc(w, cap, sizeof *table);
    if (!table) return false;
    for (uint32_t i = 0; i < t->n; i++) {
        uint64_t h = hash_seq(t->pool + t->at[i], t->at[i + 1] - t->at[i]);
        while (table[h & (cap - 1)]) h++;
        table[h & (cap - 1)] = i + 1;
    }
    t->table = table;
    t->cap_table = cap;
    return true;
}

uint32_t fh_intern_add(fh_intern *t, fh_work *w, const uint32_t *seq, uint32_t n) {
    if (!fh_work_spend(w, 1 + n / 8)) return FH_AUTO_DEAD;
    if (t->n * 2 >= t->cap_table && !rehash(t, w)) return FH_AUTO_DEAD;
    uint64_t h = hash_seq(seq, n);
    for (uint32_t i; (i = t->table[h & (t->cap_table - 1)]) != 0; h++) {
        uint32_t at = t->at[i - 1];
        if (t->at[i] - at == n && (n == 0 || memcmp(t->pool + at, seq, n * sizeof *seq) == 0)) return i - 1;
    }
    uint32_t *pool = fh_work_grow(w, t->pool, &t->cap_pool, (uint64_t)t->n_pool + n, sizeof *pool);
    if (!pool) return FH_AUTO_DEAD;
    t->pool = pool;
    uint32_t *at = fh_work_grow(w, t->at, &t->cap_at, (uint64_t)t->n + 2, sizeof *at);
    if (!at) return FH_AUTO_DEAD;
    t->at = at;
    if (n) memcpy(pool + t->n_pool, seq, n * sizeof *seq);
    at[t->n] = t->n_pool;
    t->n_pool += n;
    at[++t->n] = t->n_pool;
    t->table[h & (t->cap_table - 1)] = t->n;
    return t->n - 1;
}

/* ---- reading ---- */
static uint32_t range_of(const fh_auto *a, uint32_t cp) {
    uint32_t lo = 0, hi = a->n_range;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (a->range_lo[mid] <= cp) lo = mid;
        else hi = mid;
    }
    return lo;
}

uint32_t fh_auto_class(const fh_auto *a, uint32_t cp) { return a->range_class[range_of(a, cp)]; }

bool fh_auto_live(const fh_auto *a, uint32_t q, uint32_t lo, uint32_t hi) {
    const uint32_t *row = a->next + (size_t)q * a->n_class;
    if (lo > hi) return false;
    for (uint32_t r = range_of(a, lo); r < a->n_range && a->range_lo[r] <= hi; r++)
        if (row[a->range_class[r]] != FH_AUTO_DEAD) return true;
    return false;
}

/* One code point of text that is known to be UTF-8. */
static uint32_t take_cp(fh_str s, size_t *at) {
    uint8_t b = (uint8_t)s.ptr[(*at)++];
    int more = b < 0x80 ? 0 : b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
    uint32_t cp = more == 0 ? b : b & (0x3Fu >> more);
    for (; more > 0 && *at < s.len; more--) cp = cp << 6 | ((uint8_t)s.ptr[(*at)++] & 0x3Fu);
    return cp;
}

bool fh_auto_matches(const fh_auto *a, fh_str utf8) {
    uint32_t q = a->start;
    for (size_t at = 0; at < utf8.len && q != FH_AUTO_DEAD;) q = fh_auto_step(a, q, take_cp(utf8, &at));
    return q != FH_AUTO_DEAD && a->label[q] != 0;
}

/* ---- building ---- */
static void fill_ascii(fh_auto *a) {
    for (uint32_t cp = 0, r = 0; cp < 128; cp++) {
        while (r + 1 < a->n_range && a->range_lo[r + 1] <= cp) r++;
        a->ascii[cp] = a->range_class[r];
    }
}

bool fh_draft_state(fh_draft *d, uint16_t label) {
    uint64_t row = (uint64_t)d->n_state * d->n_class;
    if (!fh_work_spend(d->w, 1 + d->n_class / 4)) return false;
    uint32_t *next = fh_work_grow(d->w, d->next, &d->cap_next, row + d->n_class, sizeof *next);
    if (!next) return false;
    d->next = next;
    uint16_t *lab = fh_work_grow(d->w, d->label, &d->cap_label, (uint64_t)d->n_state + 1, sizeof *lab);
    if (!lab) return false;
    d->label = lab;
    for (uint32_t c = 0; c < d->n_class; c++) next[row + c] = FH_AUTO_DEAD;
    lab[d->n_state++] = label;
    return true;
}

static const fh_auto *nothing(fh_work *w) {
    fh_auto *a = fh_work_alloc(w, 1, sizeof *a);
    uint32_t *lo = fh_work_alloc(w, 1, sizeof *lo);
    uint16_t *cls = fh_work_alloc(w, 1, sizeof *cls);
    if (!a || !lo || !cls) return NULL;
    *a = (fh_auto){.n_class = 1, .n_range = 1, .start = FH_AUTO_DEAD, .range_lo = lo, .range_class = cls};
    return a;
}

/* Marks the states from which a match can be reached: backwards along reversed edges, each looked at once. */
static bool mark_alive(const fh_draft *d, uint8_t *alive) {
    uint32_t n = d->n_state, k = d->n_class, top = 0;
    uint64_t cells = (uint64_t)n * k;
    uint32_t *head = fh_work_alloc(d->w, n, sizeof *head);
    uint32_t *link = fh_work_alloc(d->w, cells, sizeof *link);
    uint32_t *stack = fh_work_alloc(d->w, n, sizeof *stack);
    if (!head || !link || !stack || !fh_work_spend(d->w, cells / 4)) return false;
    for (uint32_t i = 0; i < cells; i++) {
        uint32_t to = d->next[i];
        if (to == FH_AUTO_DEAD) continue;
        link[i] = head[to];
        head[to] = i + 1;
    }
    for (uint32_t q = 0; q < n; q++) {
        if (!d->label[q]) continue;
        alive[q] = 1;
        stack[top++] = q;
    }
    while (top) {
        for (uint32_t i = head[stack[--top]]; i; i = link[i - 1]) {
            uint32_t from = (i - 1) / k;
            if (alive[from]) continue;
            alive[from] = 1;
            stack[top++] = from;
        }
    }
    return true;
}

/* One round of joining states with the same label and the same row; true when there were any. to[q]: the state that
 * q is now, never a later one. */
static bool join_round(fh_draft *d, uint32_t *table, uint32_t cap, uint32_t *to) {
    uint32_t n = 0, k = d->n_class;
    bool any = false;
    memset(table, 0, cap * sizeof *table);
    for (uint32_t q = 0; q < d->n_state; q++) {
        const uint32_t *row = d->next + (size_t)q * k;
        uint64_t h = hash_seq(row, k) ^ d->label[q];
        for (uint32_t i; (i = table[h & (cap - 1)]) != 0; h++)
            if (d->label[i - 1] == d->label[q] && memcmp(d->next + (size_t)(i - 1) * k, row, k * sizeof *row) == 0)
                break;
        uint32_t *slot = &table[h & (cap - 1)];
        any |= *slot != 0;
        if (!*slot) { /* states move down over those that are gone */
            if (n != q) memcpy(d->next + (size_t)n * k, row, k * sizeof *row);
            d->label[n] = d->label[q];
            *slot = ++n;
        }
        to[q] = *slot - 1;
    }
    if (!any) return false;
    d->n_state = n;
    for (size_t i = 0; i < (size_t)n * k; i++)
        if (d->next[i] != FH_AUTO_DEAD) d->next[i] = to[d->next[i]];
    return true;
}

/* Fewer states that mean the same: fewer places whose masks are to be found. A few rounds, where that is cheap; a state
 * that is left over does no harm. */
static bool join_alike(fh_draft *d) {
    uint32_t cap = 16;
    if ((uint64_t)d->n_state * d->n_class > JOIN_CELLS) return true;
    while (cap < 2 * d->n_state) cap *= 2;
    uint32_t *table = fh_work_alloc(d->w, cap, sizeof *table), *to = fh_work_alloc(d->w, d->n_state, sizeof *to);
    if (!table || !to) return false;
    for (int round = 0; round < JOIN_ROUNDS; round++) {
        if (!fh_work_spend(d->w, (uint64_t)d->n_state * d->n_class / 16)) return false;
        if (!join_round(d, table, cap, to)) break;
    }
    return true;
}

/* Removes what leads nowhere and gives the rest its final form. State 0 is the start. */
const fh_auto *fh_draft_finish(fh_draft *d) {
    if (fh_work_failed(d->w)) return NULL;
    uint8_t *alive = fh_work_alloc(d->w, d->n_state, 1);
    uint32_t *name = fh_work_alloc(d->w, d->n_state, sizeof *name);
    if (!alive || !name || !mark_alive(d, alive)) return NULL;
    if (!d->n_state || !alive[0]) return nothing(d->w);
    uint32_t n = 0, k = d->n_class;
    for (uint32_t q = 0; q < d->n_state; q++) name[q] = alive[q] ? n++ : FH_AUTO_DEAD;
    for (uint32_t q = 0; q < d->n_state; q++) {
        if (!alive[q]) continue;
        for (uint32_t c = 0; c < k; c++) {
            uint32_t to = d->next[(size_t)q * k + c];
            d->next[(size_t)name[q] * k + c] = to == FH_AUTO_DEAD ? to : name[to];
        }
        d->label[name[q]] = d->label[q];
    }
    d->n_state = n;
    fh_auto *a = fh_work_alloc(d->w, 1, sizeof *a);
    if (!a || !join_alike(d)) return NULL;
    *a = (fh_auto){.n_state = d->n_state,
                   .n_class = k,
                   .n_range = d->n_range,
                   .start = 0,
                   .range_lo = d->range_lo,
                   .range_class = d->range_class,
                   .next = d->next,
                   .label = d->label};
    fill_ascii(a);
    return a;
}

/* Ranges: cuts at each given bound, one class per stretch unless told otherwise. */
bool fh_draft_ranges(fh_draft *d, uint32_t n) {
    d->range_lo = fh_work_alloc(d->w, n, sizeof *d->range_lo);
    d->range_class = fh_work_alloc(d->w, n, sizeof *d->range_class);
    d->n_range = n;
    return d->range_lo && d->range_class;
}

/* Everything but surrogates is class 1. */
static bool draft_plain(fh_draft *d) {
    if (!fh_draft_ranges(d, 3)) return false;
    d->range_lo[1] = 0xD800;
    d->range_lo[2] = 0xE000;
    d->range_class[0] = d->range_class[2] = 1;
    d->n_class = 2;
    return true;
}

const fh_auto *fh_auto_any(fh_work *w) {
    fh_draft d = {.w = w};
    if (!draft_plain(&d) || !fh_draft_state(&d, 1)) return NULL;
    d.next[1] = 0;
    return fh_draft_finish(&d);
}

const fh_auto *fh_auto_lengths(fh_work *w, uint32_t least, uint32_t most) {
    fh_draft d = {.w = w};
    if (most < least) return nothing(w);
    uint32_t last = most == UINT32_MAX ? least : most;
    if (!fh_work_spend(w, last) || !draft_plain(&d)) return NULL;
    for (uint32_t i = 0; i <= last; i++) {
        if (!fh_draft_state(&d, i >= least)) return NULL;
        d.next[(size_t)i * 2 + 1] = i < last ? i + 1 : most == UINT32_MAX ? i : FH_AUTO_DEAD;
    }
    return fh_draft_finish(&d);
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The classes of a set of words: one per code point that occurs, 0 for the rest. */
static bool word_classes(fh_draft *d, const fh_str *words, uint32_t n) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++) total += words[i].len;
    uint32_t *cps = fh_work_alloc(d->w, total + 1, sizeof *cps), n_cp = 0, n_one = 0, r = 1;
    if (!cps || !fh_work_spend(d->w, total + n)) return false;
    for (uint32_t i = 0; i < n; i++)
        for (size_t at = 0; at < words[i].len;) cps[n_cp++] = take_cp(words[i], &at);
    qsort(cps, n_cp, sizeof *cps, by_number);
    for (uint32_t i = 0; i < n_cp; i++)
        if (i == 0 || cps[i] != cps[i - 1]) cps[n_one++] = cps[i];
    if (n_one > 60000) d->w->spent = true;
    if (!fh_draft_ranges(d, 2 * n_one + 1)) return false;
    for (uint32_t i = 0; i < n_one; i++) {
        if (d->range_lo[r - 1] == cps[i]) r--; /* the one before ends right here */
        d->range_lo[r] = cps[i];
        d->range_class[r++] = (uint16_t)(i + 1);
        if (cps[i] < FH_CP_MAX) d->range_lo[r++] = cps[i] + 1;
    }
    d->n_range = r;
    d->n_class = n_one + 1;
    return true;
}

const fh_auto *fh_auto_words(fh_work *w, const fh_str *words, uint32_t n) {
    fh_draft d = {.w = w};
    if (!word_classes(&d, words, n) || !fh_draft_state(&d, 0)) return NULL;
    fh_auto view = {.n_range = d.n_range, .range_lo = d.range_lo, .range_class = d.range_class};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t q = 0;
        for (size_t at = 0; at < words[i].len;) {
            uint32_t c = fh_auto_class(&view, take_cp(words[i], &at));
            size_t cell = (size_t)q * d.n_class + c;
            q = d.next[cell];
            if (q != FH_AUTO_DEAD) continue;
            q = d.n_state;
            if (!fh_draft_state(&d, 0)) return NULL;
            d.next[cell] = q;
        }
        d.label[q] = 1;
    }
    return fh_draft_finish(&d);
}

const fh_auto *fh_auto_explore(fh_work *w, const fh_auto_machine *m, const uint32_t *start) {
    fh_draft d = {.w = w};
    fh_intern seen = {0};
    uint32_t n_char = (uint32_t)strlen(m->alphabet), state[8], n, to;
    fh_str letters[16] = {{NULL, 0}};
    FH_REQUIRE(m->width <= 8 && n_char <= 16);
    for (uint32_t i = 0; i < n_char; i++) letters[i] = (fh_str){m->alphabet + i, 1};
    if (!word_classes(&d, letters, n_char)) return NULL;
    fh_auto view = {.n_range = d.n_range, .range_lo = d.range_lo, .range_class = d.range_class};
    fill_ascii(&view);
    if (fh_intern_add(&seen, w, start, m->width) == FH_AUTO_DEAD) return NULL;
    for (uint32_t q = 0; q < seen.n; q++) {
        memcpy(state, fh_intern_seq(&seen, q, &n), m->width * sizeof *state);
        if (!fh_draft_state(&d, m->accept(m->ctx, state))) return NULL;
        for (uint32_t i = 0; i < n_char; i++) {
            memcpy(state, fh_intern_seq(&seen, q, &n), m->width * sizeof *state);
            if (!m->step(m->ctx, state, m->alphabet[i])) continue;
            if ((to = fh_intern_add(&seen, w, state, m->width)) == FH_AUTO_DEAD) return NULL;
            d.next[(size_t)q * d.n_class + view.ascii[(uint8_t)m->alphabet[i]]] = to;
        }
    }
    return fh_draft_finish(&d);
}

/* ---- combining ---- */

/* Refines both class maps into one; of[c] is the pair of classes behind class c. */
static bool merge_classes(fh_draft *d, const fh_auto *a, const fh_auto *b, fh_intern *of) {
    if (!fh_draft_ranges(d, a->n_range + b->n_range)) return false;
    uint32_t i = 0, j = 0, n = 0, lo = 0;
    while (lo != UINT32_MAX) {
        uint32_t pair[2] = {a->range_class[i], b->range_class[j]};
        uint32_t c = fh_intern_add(of, d->w, pair, 2);
        if (c == FH_AUTO_DEAD) return false;
        if (c > UINT16_MAX) d->w->spent = true;
        d->range_lo[n] = lo;
        d->range_class[n++] = (uint16_t)c;
        uint32_t ea = i + 1 < a->n_range ? a->range_lo[i + 1] : UINT32_MAX;
        uint32_t eb = j + 1 < b->n_range ? b->range_lo[j + 1] : UINT32_MAX;
        lo = FH_MIN(ea, eb);
        if (ea == lo) i++;
        if (eb == lo) j++;
    }
    d->n_range = n;
    d->n_class = of->n;
    return !fh_work_failed(d->w);
}

static uint16_t pair_label(fh_draft *d, uint32_t la, uint32_t lb, fh_auto_op op, fh_intern *pairs) {
    switch (op) {
    case FH_AUTO_AND: return la && lb;
    case FH_AUTO_OR: return la || lb;
    case FH_AUTO_MINUS: return la && !lb;
    case FH_AUTO_PAIR: break;
    }
    if (!la) return 0;
    uint32_t pair[2] = {la, lb}, i = fh_intern_add(pairs, d->w, pair, 2);
    if (i >= UINT16_MAX - 1) d->w->spent = true;
    return (uint16_t)(i + 1);
}

typedef struct product {
    const fh_auto *a, *b;
    fh_auto_op op;
    fh_intern seen;          /* pairs of states */
    const uint32_t *classes; /* pair of classes by class */
} product;

/* One state's row. Classes that lead to the same pair are the rule: the last few pairs are kept at hand. */
static bool product_row(product *m, fh_draft *d, uint32_t s, uint32_t p, uint32_t q) {
    uint32_t known[8][3], used = 0;
    for (uint32_t c = 0; c < d->n_class; c++) {
        const uint32_t *cls = m->classes + 2 * (size_t)c;
        uint32_t to[2] = {p == FH_AUTO_DEAD ? p : m->a->next[(size_t)p * m->a->n_class + cls[0]],
                          q == FH_AUTO_DEAD ? q : m->b->next[(size_t)q * m->b->n_class + cls[1]]};
        if (to[0] == FH_AUTO_DEAD && (m->op != FH_AUTO_OR || to[1] == FH_AUTO_DEAD)) continue;
        if (m->op == FH_AUTO_AND && to[1] == FH_AUTO_DEAD) continue;
        uint32_t k = 0;
        while (k < FH_MIN(used, 8u) && (known[k][0] != to[0] || known[k][1] != to[1])) k++;
        if (k == FH_MIN(used, 8u)) {
            k = used++ & 7;
            known[k][0] = to[0];
            known[k][1] = to[1];
            known[k][2] = fh_intern_add(&m->seen, d->w, to, 2);
            if (known[k][2] == FH_AUTO_DEAD) return false;
        }
        d->next[(size_t)s * d->n_class + c] = known[k][2];
    }
    return true;
}

const fh_auto *fh_auto_combine(fh_work *w, const fh_auto *a, const fh_auto *b, fh_auto_op op, fh_intern *pairs) {
    fh_draft d = {.w = w};
    fh_intern of = {0};
    if (!a || !b || !merge_classes(&d, a, b, &of)) return NULL;
    product m = {a, b, op, {0}, of.pool};
    uint32_t start[2] = {a->start, b->start}, n;
    if (fh_intern_add(&m.seen, w, start, 2) == FH_AUTO_DEAD) return NULL;
    for (uint32_t s = 0; s < m.seen.n; s++) {
        uint32_t p = fh_intern_seq(&m.seen, s, &n)[0], q = fh_intern_seq(&m.seen, s, &n)[1];
        uint32_t la = p == FH_AUTO_DEAD ? 0 : a->label[p], lb = q == FH_AUTO_DEAD ? 0 : b->label[q];
        if (!fh_work_spend(w, 4) || !fh_draft_state(&d, pair_label(&d, la, lb, op, pairs))) return NULL;
        if (!product_row(&m, &d, s, p, q)) return NULL;
    }
    return fh_draft_finish(&d);
}

const fh_auto *fh_auto_relabel(fh_work *w, const fh_auto *a, const uint16_t *label) {
    fh_draft d = {.w = w, .n_class = a->n_class};
    if (!fh_draft_ranges(&d, a->n_range)) return NULL;
    memcpy(d.range_lo, a->range_lo, a->n_range * sizeof *d.range_lo);
    memcpy(d.range_class, a->range_class, a->n_range * sizeof *d.range_class);
    for (uint32_t q = 0; q < a->n_state; q++) {
        if (!fh_draft_state(&d, label[a->label[q]])) return NULL;
        memcpy(d.next + (size_t)q * a->n_class, a->next + (size_t)q * a->n_class, a->n_class * sizeof *d.next);
    }
    return fh_draft_finish(&d);
}

static void *copy_array(fh_arena *to, const void *from, size_t n, size_t size) {
    void *p = fh_arena_alloc(to, n, size);
    if (p && n) memcpy(p, from, n * size);
    return p;
}

/* Classes all of whose characters lead from q to `to`: those in no class that leads elsewhere. */
static uint32_t classes_to(const fh_auto *a, const uint32_t *held, uint32_t q, uint32_t to) {
    uint32_t other = FH_CLASS_BAD;
    for (uint32_t c = 0; c < a->n_class; c++)
        if (a->next[(size_t)q * a->n_class + c] != to) other |= held[c];
    return ~other;
}

/* Characters that a state takes without end: those that lead back to it, or to where the letter a leads and from there
 * back to there. */
static const uint32_t *find_loops(fh_arena *to, const fh_auto *a) {
    uint32_t *loop = fh_arena_alloc(to, a->n_state, sizeof *loop), *own = fh_alloc_zero(a->n_state, sizeof *own);
    uint32_t *held = fh_alloc_zero(a->n_class, sizeof *held);
    bool ok = held && own && loop;
    for (uint32_t r = 0; ok && r < a->n_range; r++) {
        uint32_t last = r + 1 < a->n_range ? a->range_lo[r + 1] - 1 : FH_CP_MAX;
        bool surrogates = a->range_lo[r] >= 0xD800 && last < 0xE000;
        if (!surrogates) held[a->range_class[r]] |= fh_class_of_range(a->range_lo[r], last);
    }
    for (uint32_t q = 0; ok && q < a->n_state; q++) own[q] = classes_to(a, held, q, q);
    for (uint32_t q = 0; ok && q < a->n_state; q++) {
        uint32_t by_letter = fh_auto_step(a, q, 'a');
        loop[q] = own[q];
        if (by_letter == FH_AUTO_DEAD || by_letter == q) continue;
        uint32_t there = classes_to(a, held, q, by_letter) & own[by_letter];
        if (__builtin_popcount(there) > __builtin_popcount(own[q])) loop[q] = there;
    }
    fh_free(own);
    fh_free(held);
    return ok ? loop : NULL;
}

const fh_auto *fh_auto_copy(fh_arena *to, const fh_auto *a) {
    fh_auto *c = copy_array(to, a, 1, sizeof *a);
    if (!c) return NULL;
    c->range_lo = copy_array(to, a->range_lo, a->n_range, sizeof *a->range_lo);
    c->range_class = copy_array(to, a->range_class, a->n_range, sizeof *a->range_class);
    c->next = copy_array(to, a->next, (size_t)a->n_state * a->n_class, sizeof *a->next);
    c->label = copy_array(to, a->label, a->n_state, sizeof *a->label);
    c->loop = find_loops(to, a);
    return c->range_lo && c->range_class && c->next && c->label && c->loop ? c : NULL;
}

uint32_t *fh_auto_distance(fh_work *w, const fh_auto *a) {
    uint32_t n = a->n_state, k = a->n_class;
    uint32_t *d = fh_work_alloc(w, (size_t)n + 1, sizeof *d);
    if (!d) return NULL;
    for (uint32_t q = 0; q < n; q++) d[q] = a->label[q] ? 0 : UINT32_MAX;
    for (bool moved = true; moved;) { /* ends were found last, as a rule: few rounds */
        moved = false;
        if (!fh_work_spend(w, (uint64_t)n * k / 4)) return NULL;
        for (uint32_t q = n; q-- > 0;) {
            uint32_t best = d[q];
            for (uint32_t c = 0; c < k; c++) {
                uint32_t to = a->next[(size_t)q * k + c];
                if (to != FH_AUTO_DEAD && d[to] != UINT32_MAX && d[to] + 1 < best) best = d[to] + 1;
            }
            moved |= best != d[q];
            d[q] = best;
        }
    }
    return d;
}

/* Classes as wide as they are: how many code points each holds. */
static uint64_t *class_widths(fh_work *w, const fh_auto *a) {
    uint64_t *wide = fh_work_alloc(w, a->n_class, sizeof *wide);
    for (uint32_t r = 0; wide && r < a->n_range; r++) {
        uint32_t end = r + 1 < a->n_range ? a->range_lo[r + 1] : FH_CP_MAX + 1;
        wide[a->range_class[r]] += end - a->range_lo[r];
    }
    return wide;
}

/* Every state lies on a way to a match, so a state that reaches a cycle has endless words. States are settled from the
 * ends backwards; what never settles reaches a cycle. */
uint64_t *fh_auto_count(fh_work *w, const fh_auto *a) {
    uint32_t n = a->n_state, k = a->n_class;
    uint64_t *count = fh_work_alloc(w, (size_t)n + 1, sizeof *count), *wide = class_widths(w, a);
    uint8_t *settled = fh_work_alloc(w, (size_t)n + 1, 1);
    if (!count || !wide || !settled) return NULL;
    for (bool moved = true; moved;) {
        moved = false;
        if (!fh_work_spend(w, (uint64_t)n * k)) return NULL;
        for (uint32_t q = n; q-- > 0;) { /* ends were found last, as a rule */
            if (settled[q]) continue;
            uint64_t sum = a->label[q] != 0;
            bool ready = true;
            for (uint32_t c = 0; c < k && ready; c++) {
                uint32_t to = a->next[(size_t)q * k + c];
                uint64_t more;
                if (to == FH_AUTO_DEAD) continue;
                ready = settled[to];
                if (ready && (!fh_mul_u64(count[to], wide[c], &more) || !fh_add_u64(sum, more, &sum))) sum = UINT64_MAX;
            }
            if (!ready) continue;
            count[q] = sum;
            settled[q] = 1;
            moved = true;
        }
    }
    for (uint32_t q = 0; q < n; q++)
        if (!settled[q]) count[q] = UINT64_MAX;
    return count;
}
