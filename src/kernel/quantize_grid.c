/* kernel/quantize_grid.c - the neighbours of every point, found by counting distances.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: the six grids, for the life of the program (3 MB in all). Squared distances are small integers, so words are
 * put in order by counting, not by comparing; all six take about a tenth of a second.
 * Threads: one builds, the others wait; a failed building can be tried again. */
#include "kernel/quantize_grid.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "kernel/iq_tables.h"

enum { MAX_DISTANCE = 4 * 7 * 7 + 1, PAD = 16 };

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

static fh_grid grid[FH_GRID_COUNT];
static _Atomic bool ready[FH_GRID_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

size_t fh_grid_point_of_word(const fh_grid *g, uint16_t word) {
    size_t p = 0;
    for (int i = g->dim - 1; i >= 0; i--) p = p * (size_t)g->base + (size_t)fh_grid_level(g, word, i);
    return p;
}

/* Distances from one point to the whole book, and up to which they count. */
typedef struct around {
    uint8_t distance[2048];
    unsigned limit;
    size_t n; /* words within the limit */
} around;

static void look_around(const fh_grid *g, size_t point, int n_distance, const uint8_t *level, around *a) {
    uint8_t at[8];
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

static void index_book(fh_grid *g, uint8_t *level) {
    for (size_t p = 0; p < g->n_point; p++) g->index[p] = -1;
    for (size_t w = 0; w < g->n_book; w++) {
        g->index[fh_grid_point_of_word(g, g->book[w])] = (int16_t)w;
        for (int i = 0; i < g->dim; i++) level[(size_t)i * g->n_book + w] = (uint8_t)fh_grid_level(g, g->book[w], i);
    }
}

static fh_status build(fh_grid *out, const grid_form *f, fh_err *err) {
    const bool ternary = f->dim == 8;
    fh_grid g = {.book = f->book,
                 .n_book = f->n_book,
                 .dim = f->dim,
                 .base = ternary ? 3 : 8,
                 .bits = ternary ? 2 : 3,
                 .n_point = ternary ? 6561 : 4096};
    fh_status st = FH_OK;
    around *a = fh_alloc(1, sizeof *a);
    uint8_t *level = fh_alloc((size_t)g.dim, g.n_book);
    g.index = fh_alloc(g.n_point, sizeof *g.index);
    g.start = fh_alloc(g.n_point + 1, sizeof *g.start);
    g.count = fh_alloc_zero(g.n_point, sizeof *g.count);
    if (!a || !level || !g.index || !g.start || !g.count) {
        st = fh_fail_memory(err, g.n_point * sizeof *g.start);
        goto out;
    }
    index_book(&g, level);
    for (size_t p = 0; p < g.n_point; p++) {
        g.start[p] = (uint32_t)g.n_near;
        if (g.index[p] >= 0) continue;
        look_around(&g, p, f->n_distance, level, a);
        g.count[p] = (uint16_t)a->n;
        g.n_near += (a->n + PAD - 1) / PAD * PAD;
    }
    g.start[g.n_point] = (uint32_t)g.n_near;
    g.near = fh_alloc(g.n_near, sizeof *g.near);
    if (!g.near) {
        st = fh_fail_memory(err, g.n_near * sizeof *g.near);
        goto out;
    }
    for (size_t p = 0; p < g.n_point; p++) {
        if (g.index[p] >= 0) continue;
        look_around(&g, p, f->n_distance, level, a);
        list_words(&g, a, g.near + g.start[p]);
    }
    *out = g;
out:
    fh_free(a);
    fh_free(level);
    if (st != FH_OK) {
        fh_free(g.index);
        fh_free(g.start);
        fh_free(g.count);
    }
    return st;
}

fh_status fh_grid_prepare(fh_grid_id id, fh_err *err) {
    fh_status st = FH_OK;
    if (atomic_load_explicit(&ready[id], memory_order_acquire)) return FH_OK;
    pthread_mutex_lock(&lock);
    if (!atomic_load_explicit(&ready[id], memory_order_relaxed)) {
        st = build(&grid[id], &form[id], err);
        if (st == FH_OK) atomic_store_explicit(&ready[id], true, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return st;
}

const fh_grid *fh_grid_get(fh_grid_id id) {
    FH_REQUIRE(atomic_load_explicit(&ready[id], memory_order_acquire));
    return &grid[id];
}
