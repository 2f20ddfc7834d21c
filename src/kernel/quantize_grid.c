/* kernel/quantize_grid.c - the neighbours of every point, found by counting distances.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: the six grids, 2 MB of static storage that costs nothing until used. Squared distances are small integers, so
 * words are put in order by counting, not by comparing; all six take about a quarter of a second.
 * Threads: one builds, the others wait. */
#include "kernel/quantize_grid.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/num.h"
#include "kernel/iq_tables.h"

enum { MAX_DISTANCE = 4 * 7 * 7 + 1, PAD = 16, MAX_BOOK = 2048, MAX_POINTS = 6561 };

typedef struct grid_form {
    const uint16_t *book;
    size_t n_book;
    int dim, n_distance; /* so many distances make a neighbourhood */
} grid_form;

static const grid_form form[FH_GRID_COUNT] = {
    [FH_GRID_IQ2_XXS] = {fh_iq2_xxs_book, 256, 8, 2}, [FH_GRID_IQ2_XS] = {fh_iq2_xs_book, 512, 8, 2},
    [FH_GRID_IQ2_S] = {fh_iq2_s_book, 1024, 8, 1},    [FH_GRID_IQ1] = {fh_iq1_book, 2048, 8, 3},
    [FH_GRID_IQ3_XXS] = {fh_iq3_xxs_book, 256, 4, 2}, [FH_GRID_IQ3_S] = {fh_iq3_s_book, 512, 4, 3},
};

static _Atomic bool ready[FH_GRID_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Exactly as much as the lists take. */
static struct grid_store {
    fh_grid grid;
    int16_t index[MAX_POINTS];
    uint32_t start[MAX_POINTS + 1];
    uint16_t count[MAX_POINTS];
} store[FH_GRID_COUNT];
static uint16_t near_iq2_xxs[161136], near_iq2_xs[230560], near_iq2_s[100576], near_iq1[362352], near_iq3_xxs[62432],
    near_iq3_s[59296];

static const struct {
    uint16_t *word;
    size_t n;
} near[FH_GRID_COUNT] = {
    [FH_GRID_IQ2_XXS] = {near_iq2_xxs, FH_COUNT(near_iq2_xxs)}, [FH_GRID_IQ2_XS] = {near_iq2_xs, FH_COUNT(near_iq2_xs)},
    [FH_GRID_IQ2_S] = {near_iq2_s, FH_COUNT(near_iq2_s)},       [FH_GRID_IQ1] = {near_iq1, FH_COUNT(near_iq1)},
    [FH_GRID_IQ3_XXS] = {near_iq3_xxs, FH_COUNT(near_iq3_xxs)}, [FH_GRID_IQ3_S] = {near_iq3_s, FH_COUNT(near_iq3_s)},
};

size_t fh_grid_point_of_word(const fh_grid *g, uint16_t word) {
    size_t p = 0;
    for (int i = g->dim - 1; i >= 0; i--) p = p * (size_t)g->base + (size_t)fh_grid_level(g, word, i);
    return p;
}

/* Distances from one point to the whole book, and up to which they count. */
typedef struct around {
    uint8_t distance[MAX_BOOK];
    unsigned limit;
    size_t n; /* words within the limit */
} around;

static void look_around(const fh_grid *g, size_t point, int n_distance, const uint8_t *level, around *a) {
    uint8_t at[8] = {0};
    uint16_t n_at[MAX_DISTANCE] = {0};
    for (int i = 0; i < g->dim; i++, point /= (size_t)g->base) at[i] = (uint8_t)(point % (size_t)g->base);
    memset(a->distance, 0, g->n_book);
    for (int i = 0; i < g->dim; i++) {
        const uint8_t *l = level + (size_t)i * g->n_book;
        for (size_t w = 0; w < g->n_book; w++) {
            const int d = l[w] - at[i];
            a->distance[w] = (uint8_t)(a->distance[w] + d * d);
        }
    }
    for (size_t w = 0; w < g->n_book; w++) n_at[a->distance[w]]++;
    a->limit = 0;
    a->n = 0;
    for (unsigned d = 0; d < MAX_DISTANCE && n_distance > 0; d++) {
        if (!n_at[d]) continue;
        a->limit = d;
        a->n += n_at[d];
        n_distance--;
    }
}

/* Nearest first, each distance in the order of the book; the last word is repeated up to the padding. */
static void list_words(const fh_grid *g, const around *a, uint16_t *out) {
    size_t n = 0;
    for (unsigned d = 0; d <= a->limit; d++)
        for (size_t w = 0; w < g->n_book; w++)
            if (a->distance[w] == d) out[n++] = g->book[w];
    for (; n % PAD; n++) out[n] = out[n - 1];
}

static void index_book(const fh_grid *g, int16_t *index, uint8_t *level) {
    for (size_t p = 0; p < g->n_point; p++) index[p] = -1;
    for (size_t w = 0; w < g->n_book; w++) {
        index[fh_grid_point_of_word(g, g->book[w])] = (int16_t)w;
        for (int i = 0; i < g->dim; i++) level[(size_t)i * g->n_book + w] = (uint8_t)fh_grid_level(g, g->book[w], i);
    }
}

static void build(fh_grid_id id) {
    static uint8_t level[8 * MAX_BOOK];
    static around a;
    const grid_form *f = &form[id];
    struct grid_store *s = &store[id];
    const bool ternary = f->dim == 8;
    s->grid = (fh_grid){.book = f->book,
                        .n_book = f->n_book,
                        .dim = f->dim,
                        .base = ternary ? 3 : 8,
                        .bits = ternary ? 2 : 3,
                        .n_point = ternary ? 6561 : 4096,
                        .index = s->index,
                        .start = s->start,
                        .count = s->count,
                        .near = near[id].word};
    fh_grid *g = &s->grid;
    index_book(g, s->index, level);
    for (size_t p = 0; p < g->n_point; p++) {
        s->start[p] = (uint32_t)g->n_near;
        if (s->index[p] >= 0) continue;
        look_around(g, p, f->n_distance, level, &a);
        s->count[p] = (uint16_t)a.n;
        FH_REQUIRE(g->n_near + (a.n + PAD - 1) / PAD * PAD <= near[id].n);
        list_words(g, &a, near[id].word + g->n_near);
        g->n_near += (a.n + PAD - 1) / PAD * PAD;
    }
    s->start[g->n_point] = (uint32_t)g->n_near;
    FH_REQUIRE(g->n_near == near[id].n);
}

const fh_grid *fh_grid_get(fh_grid_id id) {
    if (!atomic_load_explicit(&ready[id], memory_order_acquire)) {
        pthread_mutex_lock(&lock);
        if (!atomic_load_explicit(&ready[id], memory_order_relaxed)) build(id);
        atomic_store_explicit(&ready[id], true, memory_order_release);
        pthread_mutex_unlock(&lock);
    }
    return &store[id].grid;
}
