/* kernel/quantize_iq1.c - rows of IQ1_S and IQ1_M: -1, 0, 1, all moved by an eighth up or down.
 * SPDX-License-Identifier: Apache-2.0
 * Three values leave two borders in the sorted group: all pairs of borders and both directions are tried, by sums over
 * the sorted numbers, so that the choice is the best there is. Eight levels must be a word of the book; where they are
 * not, the nearest word is taken and the scale fitted again. IQ1_S has groups of 32 with one direction, IQ1_M groups
 * of 16 with one for each half. Equal numbers keep their order when sorted. */
#include "kernel/quantize_grid.h"

enum { MAX_GROUP = 32 };

static const float value[2][3] = {{-0.875f, 0.125f, 1.125f}, {-1.125f, -0.125f, 0.875f}}; /* up, down */

/* A group in ascending order. */
typedef struct sorted {
    uint8_t at[MAX_GROUP];
    size_t n;
} sorted;

static void sort_group(sorted *s, const float *x, size_t n) {
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        size_t j = i;
        for (; j > 0 && x[s->at[j - 1]] > x[i]; j--) s->at[j] = s->at[j - 1];
        s->at[j] = (uint8_t)i;
    }
}

/* Levels 0 1 2 of the group; a negative scale turns everything round: direction d becomes turn - d. */
static void cut_levels(fh_cut *c, const sorted *s, int turn, uint8_t *level) {
    for (size_t j = 0; j < s->n; j++) level[s->at[j]] = (uint8_t)((int)j < c->i1 ? 0 : (int)j < c->i2 ? 1 : 2);
    if (!(c->scale < 0)) return;
    for (size_t j = 0; j < s->n; j++) level[j] = (uint8_t)(2 - level[j]);
    c->scale = -c->scale;
    c->direction = turn - c->direction;
}

/* Words of the book for the levels; is every one the book's own? */
static bool choose_words(const fh_fits *fits, const fh_grid *g, const float *x, const float *weight, size_t n,
                         const uint8_t *level, float scale, const int *down, uint16_t *word) {
    bool all = true;
    for (size_t k = 0; k < n / 8; k++) {
        size_t point = 0;
        for (size_t i = 8; i-- > 0;) point = 3 * point + level[8 * k + i];
        if (g->index[point] >= 0) {
            word[k] = g->book[g->index[point]];
            continue;
        }
        const uint16_t *near = g->near + g->start[point];
        all = false;
        word[k] = near[fits->nearest(&(fh_nearest){.word = near,
                                                   .n = g->count[point],
                                                   .dim = 8,
                                                   .bits = 2,
                                                   .a = 1,
                                                   .b = value[down[k]][0],
                                                   .scale = scale,
                                                   .x = x + 8 * k,
                                                   .weight = weight + 8 * k})];
    }
    return all;
}

/* Adds a word's part to the sums for a scale; times is a factor of its values. */
static void add_word(const fh_grid *g, uint16_t word, int down, float times, const float *x, const float *weight,
                     float *sum_qx, float *sum_q2) {
    for (int i = 0; i < 8; i++) {
        const float w = weight[i], q = value[down][fh_grid_level(g, word, i)] * times;
        *sum_qx += w * q * x[i];
        *sum_q2 += w * q * q;
    }
}

static float refit(const fh_grid *g, const uint16_t *word, size_t n, const int *down, const float *x,
                   const float *weight, float scale) {
    float sum_qx = 0, sum_q2 = 0;
    for (size_t k = 0; k < n / 8; k++) add_word(g, word[k], down[k], 1, x + 8 * k, weight + 8 * k, &sum_qx, &sum_q2);
    return sum_qx > 0 && sum_q2 > 0 ? sum_qx / sum_q2 : scale;
}

static float largest_size(const float *x, size_t n) {
    float max = fabsf(x[0]);
    for (size_t i = 1; i < n; i++) max = max > fabsf(x[i]) ? max : fabsf(x[i]);
    return max;
}

static void set_weights(float *w, const float *x, const float *importance, float energy, size_t n) {
    for (size_t i = 0; i < n; i++) w[i] = importance ? importance[i] * sqrtf(energy + x[i] * x[i]) : x[i] * x[i];
}

/* Scales are (2 l + 1) d with l of 3 bits. */
static unsigned scale_code(float id, float scale) {
    return (unsigned)fh_clamp_int(fh_round_near(0.5f * (id * scale - 1)), 0, 7);
}

/* ---- IQ1_S ---- */

static void best_cut_32(const fh_fits *fits, const sorted *s, const float *x, const float *weight, fh_cut *best) {
    fh_cuts f = {.n = 32, .n_half = 1, .value = value};
    for (size_t j = 0; j < 32; j++) {
        f.sum_wx[0][j + 1] = f.sum_wx[0][j] + weight[s->at[j]] * x[s->at[j]];
        f.sum_w[0][j + 1] = f.sum_w[0][j] + weight[s->at[j]];
    }
    fits->cuts(&f, best);
}

/* One group of 32: index bytes, the high bits of the indices; its scale and direction. */
static float group_iq1_s(const fh_fits *fits, const fh_grid *g, const float *x, const float *importance, float energy,
                         uint8_t *q, unsigned *high, int *direction) {
    float weight[MAX_GROUP];
    uint8_t level[MAX_GROUP];
    uint16_t word[4];
    sorted s;
    fh_cut c = {.score = -3.4028234664e38f, .i1 = -1};
    *high = 0;
    *direction = 0;
    set_weights(weight, x, importance, energy, 32);
    const float max = largest_size(x, 32);
    if (!(max >= 1e-12f)) return 0;
    sort_group(&s, x, 32);
    best_cut_32(fits, &s, x, weight, &c);
    if (c.i1 < 0) return 0;
    cut_levels(&c, &s, 1, level);
    const int down[4] = {c.direction, c.direction, c.direction, c.direction};
    if (!choose_words(fits, g, x, weight, 32, level, c.scale, down, word))
        c.scale = refit(g, word, 32, down, x, weight, c.scale);
    for (size_t k = 0; k < 4; k++) {
        const unsigned index = (unsigned)g->index[fh_grid_point_of_word(g, word[k])];
        q[k] = (uint8_t)index;
        *high |= index >> 8 << (3 * k);
    }
    *direction = c.direction;
    return c.scale;
}

void fh_quantize_row_iq1_s(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *importance) {
    const fh_grid *g = fh_grid_get(FH_GRID_IQ1);
    for (size_t at = 0; at < n; at += FH_SUPER, y += 50) {
        float energy, scale[8], max = 0;
        unsigned high[8];
        int direction[8];
        fh_block_energy(x + at, 1, FH_SUPER, &energy);
        energy = 2 * energy / FH_SUPER;
        memset(y, 0, 50);
        for (size_t k = 0; k < 8; k++) {
            const size_t from = at + 32 * k;
            scale[k] =
                group_iq1_s(fits, g, x + from, importance + from, energy, y + 2 + 4 * k, &high[k], &direction[k]);
            max = max > scale[k] ? max : scale[k];
        }
        const float d = max / 15, id = 1 / d;
        if (max > 0) fh_store_f16(y, d * 1.125f);
        for (size_t k = 0; k < 8; k++) {
            if (max > 0) high[k] |= scale_code(id, scale[k]) << 12 | (unsigned)direction[k] << 15;
            fh_store_u16(y + 34 + 2 * k, (uint16_t)high[k]);
        }
    }
}

/* ---- IQ1_M ---- */

/* Sums over the sorted numbers, kept apart for the two halves of the group. */
static void best_cut_16(const fh_fits *fits, const sorted *s, const float *x, const float *weight, fh_cut *best) {
    fh_cuts f = {.n = 16, .n_half = 2, .value = value};
    for (size_t j = 0; j < 16; j++) {
        const size_t i = s->at[j], h = i / 8;
        f.sum_wx[h][j + 1] = f.sum_wx[h][j] + weight[i] * x[i];
        f.sum_w[h][j + 1] = f.sum_w[h][j] + weight[i];
        f.sum_wx[1 - h][j + 1] = f.sum_wx[1 - h][j];
        f.sum_w[1 - h][j + 1] = f.sum_w[1 - h][j];
    }
    fits->cuts(&f, best);
}

typedef struct m_super {
    float scale[16];
    uint16_t word[32];
    int direction[16];
} m_super;

/* One group of 16: its words, scale and directions. */
static void group_iq1_m(const fh_fits *fits, const fh_grid *g, const float *x, const float *weight, m_super *m,
                        size_t k) {
    uint16_t *word = m->word + 2 * k;
    uint8_t level[16];
    sorted s;
    fh_cut c = {.score = -3.4028234664e38f, .i1 = -1};
    word[0] = word[1] = g->book[0];
    m->scale[k] = 0;
    m->direction[k] = 0;
    const float max = largest_size(x, 16);
    if (!(max >= 1e-7f)) return;
    sort_group(&s, x, 16);
    best_cut_16(fits, &s, x, weight, &c);
    if (c.i1 < 0) return;
    cut_levels(&c, &s, 3, level);
    const int down[2] = {c.direction / 2, c.direction % 2};
    if (!choose_words(fits, g, x, weight, 16, level, c.scale, down, word))
        c.scale = refit(g, word, 16, down, x, weight, c.scale);
    m->scale[k] = c.scale;
    m->direction[k] = c.direction;
}

static void super_iq1_m(const fh_fits *fits, const fh_grid *g, const float *x, const float *importance, uint8_t *y) {
    m_super m = {.direction = {0}};
    float weight[FH_SUPER];
    float energy, max = 0, sum_qx = 0, sum_q2 = 0;
    unsigned scales[4] = {0};
    fh_block_energy(x, 1, FH_SUPER, &energy);
    set_weights(weight, x, importance, 2 * energy / FH_SUPER, FH_SUPER);
    memset(y, 0, 56);
    for (size_t k = 0; k < 16; k++) {
        group_iq1_m(fits, g, x + 16 * k, weight + 16 * k, &m, k);
        max = max > m.scale[k] ? max : m.scale[k];
    }
    for (size_t w = 0; w < 32; w++) {
        const unsigned index = (unsigned)g->index[fh_grid_point_of_word(g, m.word[w])];
        y[w] = (uint8_t)index;
        y[32 + w / 2] = (uint8_t)(y[32 + w / 2] | index >> 8 << (4 * (w % 2)));
    }
    if (!(max > 0)) return;
    float d = max / 15;
    const float id = 1 / d;
    for (size_t k = 0; k < 16; k++) {
        const unsigned l = scale_code(id, m.scale[k]);
        const int down[2] = {m.direction[k] / 2, m.direction[k] % 2};
        scales[k / 4] |= l << (3 * (k % 4));
        y[32 + k] = (uint8_t)(y[32 + k] | (unsigned)down[0] << 3 | (unsigned)down[1] << 7);
        for (size_t h = 0; h < 2; h++)
            add_word(g, m.word[2 * k + h], down[h], (float)(2 * l + 1), x + 16 * k + 8 * h, weight + 16 * k + 8 * h,
                     &sum_qx, &sum_q2);
    }
    if (sum_q2 > 0) d = sum_qx / sum_q2;
    const unsigned f16 = fh_narrow_f16(d * 1.1125f);
    for (size_t k = 0; k < 4; k++) fh_store_u16(y + 48 + 2 * k, (uint16_t)(scales[k] | (f16 >> (4 * k) & 15) << 12));
}

void fh_quantize_row_iq1_m(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *importance) {
    const fh_grid *g = fh_grid_get(FH_GRID_IQ1);
    for (size_t at = 0; at < n; at += FH_SUPER, y += 56)
        super_iq1_m(fits, g, x + at, importance ? importance + at : NULL, y);
}
