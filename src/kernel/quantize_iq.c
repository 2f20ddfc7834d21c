/* kernel/quantize_iq.c - rows of the types whose codes are words of a codebook with signs: IQ2_* and IQ3_*.
 * SPDX-License-Identifier: Apache-2.0
 * A group of 16 or 32 numbers is made positive, its signs kept aside (in some types the number of minus signs must be
 * even: then the least important number is turned). A number is scale * (2 l + 1), l its level; eight or four levels
 * must be a word of the book. For each of several scales the levels are rounded, what is no word is replaced by the
 * nearest word, and the scale with the smallest error wins; then the words are chosen once more for the fitted scale.
 * Weights are importance times sqrt(mean square + x x).
 * One difference from the reference is wanted: where a group of IQ3_S is all zeros, the reference writes the groups
 * behind it one place too early, so that they decode to other numbers. Here they stand in their place. */
#include "kernel/iq_tables.h"
#include "kernel/quantize_grid.h"

enum { MAX_GROUP = 32, MAX_WORDS = 8 };

typedef enum iq_redo {
    REDO_ALWAYS,   /* choose all words again */
    REDO_OFF_GRID, /* only those that were replaced */
    REDO_IF_ANY    /* all, if any was replaced or nothing was found */
} iq_redo;

typedef struct iq_form {
    fh_grid_id grid;
    int group, top, half_trials;
    float trial_step, least, energy; /* groups below `least` are zero; factor of the mean square */
    bool even_signs;
    iq_redo redo;
    fh_fit_weight plain; /* without weights */
} iq_form;

static const iq_form iq2_xxs = {FH_GRID_IQ2_XXS, 32, 2, 6, 0.1f, 1e-15f, 1, true, REDO_ALWAYS, FH_FIT_SQUARE};
static const iq_form iq2_xs = {FH_GRID_IQ2_XS, 16, 2, 9, 0.1f, 1e-15f, 1, true, REDO_OFF_GRID, FH_FIT_SQUARE};
static const iq_form iq2_s = {FH_GRID_IQ2_S, 16, 2, 9, 0.1f, 1e-8f, 2, false, REDO_OFF_GRID, FH_FIT_ENERGY};
static const iq_form iq3_xxs = {FH_GRID_IQ3_XXS, 32, 7, 15, 0.2f, 1e-8f, 2, true, REDO_OFF_GRID, FH_FIT_SQUARE};
static const iq_form iq3_s = {FH_GRID_IQ3_S, 32, 7, 9, 0.2f, 0, 2, false, REDO_IF_ANY, FH_FIT_SQUARE};

/* What becomes of a group. */
typedef struct iq_group {
    float scale;
    uint16_t word[MAX_WORDS];
    uint8_t sign[4]; /* of each eight numbers; a bit set is a minus */
} iq_group;

typedef struct iq_work {
    const fh_fits *fits;
    const iq_form *form;
    const fh_grid *grid;
    size_t n, n_word, n_trial;
    float x[MAX_GROUP], weight[MAX_GROUP], root[MAX_GROUP];
    float id[FH_TRIALS], level[MAX_GROUP * FH_TRIALS];
    int32_t point[MAX_WORDS * FH_TRIALS];
    bool off_grid[FH_TRIALS][MAX_WORDS];
} iq_work;

static void set_weights(iq_work *w, const float *x, const float *importance, float energy) {
    for (size_t i = 0; i < w->n; i++) {
        if (importance) w->weight[i] = importance[i] * sqrtf(energy + x[i] * x[i]);
        else if (w->form->plain == FH_FIT_ENERGY) w->weight[i] = 0.25f * energy + x[i] * x[i];
        else w->weight[i] = x[i] * x[i];
        w->root[i] = sqrtf(w->weight[i]);
    }
}

/* Sizes and signs of eight numbers. */
static uint8_t split_signs(const iq_work *w, const float *x, size_t at, float *size) {
    unsigned signs = 0;
    for (size_t i = 0; i < 8; i++) {
        const bool minus = !(x[at + i] >= 0);
        size[at + i] = minus ? -x[at + i] : x[at + i];
        signs |= (unsigned)minus << i;
    }
    if (w->form->even_signs && __builtin_parity(signs)) {
        size_t least = 0;
        float cost = w->weight[at] * x[at] * x[at];
        for (size_t i = 1; i < 8; i++) {
            const float c = w->weight[at + i] * x[at + i] * x[at + i];
            if (c < cost) {
                cost = c;
                least = i;
            }
        }
        size[at + least] = -size[at + least];
        signs ^= 1u << least;
    }
    return (uint8_t)(w->form->even_signs ? signs & 127 : signs);
}

/* The word of the book nearest to the numbers of word k at this scale, among the neighbours of a point. */
static uint16_t nearest_word(const iq_work *w, size_t point, size_t k, float scale) {
    const fh_grid *g = w->grid;
    const size_t at = k * (size_t)g->dim;
    const uint16_t *near = g->near + g->start[point];
    return near[w->fits->nearest(&(fh_nearest){.word = near,
                                               .n = g->count[point],
                                               .dim = g->dim,
                                               .bits = g->bits,
                                               .a = 2,
                                               .b = 1,
                                               .scale = scale,
                                               .x = w->x + at,
                                               .weight = w->root + at})];
}

/* Levels of all trials, as words of the book. */
static void try_all(iq_work *w, float range) {
    const iq_form *f = w->form;
    const fh_grid *g = w->grid;
    w->n_trial = 2 * (size_t)f->half_trials + 1;
    for (size_t t = 0; t < FH_TRIALS; t++) w->id[t] = 0;
    for (size_t t = 0; t < w->n_trial; t++)
        w->id[t] = ((float)(2 * f->top + 1) + (float)((int)t - f->half_trials) * f->trial_step) / range;
    w->fits->trials(&(fh_trials){.x = w->x,
                                 .id = w->id,
                                 .n = w->n,
                                 .n_trial = w->n_trial,
                                 .top = f->top,
                                 .dim = g->dim,
                                 .base = g->base,
                                 .level = w->level,
                                 .point = w->point});
    for (size_t k = 0; k < w->n_word; k++) {
        for (size_t t = 0; t < w->n_trial; t++) {
            const size_t p = (size_t)w->point[k * FH_TRIALS + t];
            w->off_grid[t][k] = g->index[p] < 0;
            if (g->index[p] >= 0) continue;
            const uint16_t word = nearest_word(w, p, k, 1 / w->id[t]);
            for (int i = 0; i < g->dim; i++)
                w->level[(k * (size_t)g->dim + (size_t)i) * FH_TRIALS + t] = (float)fh_grid_level(g, word, i);
        }
    }
}

static uint16_t word_of_trial(const iq_work *w, size_t t, size_t k) {
    const fh_grid *g = w->grid;
    unsigned word = 0;
    for (int i = 0; i < g->dim; i++)
        word |= (unsigned)w->level[(k * (size_t)g->dim + (size_t)i) * FH_TRIALS + t] << (i * g->bits);
    return (uint16_t)word;
}

/* Word k chosen anew for the scale. */
static uint16_t rounded_word(const iq_work *w, size_t k, float scale) {
    const fh_grid *g = w->grid;
    const float id = 1 / scale;
    size_t point = 0, place = 1;
    for (size_t i = 0; i < (size_t)g->dim; i++, place *= (size_t)g->base)
        point += place *
                 (size_t)fh_clamp_int(fh_round_near(0.5f * (id * w->x[k * (size_t)g->dim + i] - 1)), 0, w->form->top);
    return g->index[point] >= 0 ? g->book[g->index[point]] : nearest_word(w, point, k, scale);
}

static void refit_scale(const iq_work *w, iq_group *out) {
    const fh_grid *g = w->grid;
    float sum_qx = 0, sum_q2 = 0;
    for (size_t i = 0; i < w->n; i++) {
        const float q = (float)(2 * fh_grid_level(g, out->word[i / (size_t)g->dim], (int)(i % (size_t)g->dim)) + 1);
        sum_qx += w->weight[i] * w->x[i] * q;
        sum_q2 += w->weight[i] * q * q;
    }
    if (sum_q2 > 0) out->scale = sum_qx / sum_q2;
}

/* The best of the trials. scale: what stands if none is better than nothing. */
static void choose(iq_work *w, float scale, iq_group *out) {
    float sum_qx[FH_TRIALS], sum_q2[FH_TRIALS], best = 0;
    size_t win = FH_TRIALS;
    w->fits->trial_sums(&(fh_trial_sums){.x = w->x,
                                         .weight = w->weight,
                                         .level = w->level,
                                         .n = w->n,
                                         .n_trial = w->n_trial,
                                         .sum_qx = sum_qx,
                                         .sum_q2 = sum_q2});
    for (size_t t = 0; t < w->n_trial; t++) {
        if (!(sum_q2[t] > 0 && sum_qx[t] * sum_qx[t] > best * sum_q2[t])) continue;
        scale = sum_qx[t] / sum_q2[t];
        best = scale * sum_qx[t];
        win = t;
    }
    out->scale = scale;
    bool any = w->form->redo == REDO_ALWAYS || (win == FH_TRIALS && w->form->redo == REDO_IF_ANY);
    for (size_t k = 0; k < w->n_word; k++) {
        out->word[k] = win < FH_TRIALS ? word_of_trial(w, win, k) : 0;
        any = any || (win < FH_TRIALS && w->off_grid[win][k]);
    }
    if (!any || !(scale > 0)) return;
    for (size_t k = 0; k < w->n_word; k++)
        if (w->form->redo != REDO_OFF_GRID || w->off_grid[win][k]) out->word[k] = rounded_word(w, k, scale);
    refit_scale(w, out);
}

static void fit_group(iq_work *w, const float *x, const float *importance, float energy, iq_group *out) {
    const iq_form *f = w->form;
    *out = (iq_group){.scale = 0};
    set_weights(w, x, importance, energy);
    uint8_t sign[4] = {0};
    for (size_t k = 0; k < w->n / 8; k++) sign[k] = split_signs(w, x, 8 * k, w->x);
    float max = w->x[0];
    for (size_t i = 1; i < w->n; i++) max = max > w->x[i] ? max : w->x[i];
    if (f->least > 0 ? !(max >= f->least) : !(max > 0)) {
        /* types that keep the signs of nothing are those whose scales of nothing stay 0 */
        return;
    }
    float scale = max / (float)(2 * f->top + 1), range = max;
    if (f->redo == REDO_ALWAYS) {
        uint8_t code[MAX_GROUP];
        scale = fh_fit_positive(w->n, f->top + 2, w->x, w->weight, code);
        range = scale * (float)(f->top + 1);
        if (!(range > 0)) return;
    }
    try_all(w, range);
    choose(w, scale, out);
    const uint8_t flip = f->even_signs ? 127 : 255;
    for (size_t k = 0; k < w->n / 8; k++) out->sign[k] = out->scale < 0 ? (uint8_t)(~sign[k] & flip) : sign[k];
    if (out->scale < 0) out->scale = -out->scale;
}

/* All groups of a super-block; their largest scale. */
static float fit_super(iq_work *w, const float *x, const float *importance, iq_group *out) {
    float energy, max = 0;
    fh_block_energy(x, 1, FH_SUPER, &energy);
    energy = w->form->energy * energy / FH_SUPER;
    for (size_t g = 0; g < FH_SUPER / w->n; g++) {
        fit_group(w, x + g * w->n, importance ? importance + g * w->n : NULL, energy, &out[g]);
        max = max > out[g].scale ? max : out[g].scale;
    }
    return max;
}

static void start(iq_work *w, const fh_fits *fits, const iq_form *form) {
    w->fits = fits;
    w->form = form;
    w->grid = fh_grid_get(form->grid);
    w->n = (size_t)form->group;
    w->n_word = w->n / (size_t)w->grid->dim;
}

static size_t index_of(const iq_work *w, uint16_t word) {
    const int i = w->grid->index[fh_grid_point_of_word(w->grid, word)];
    return i >= 0 ? (size_t)i : 0;
}

/* Scales are (2 l + 1) d with l of 4 bits; d so that the largest is 31 d. */
static unsigned scale_code(float id, float scale) {
    return (unsigned)fh_clamp_int(fh_round_near(0.5f * (id * scale - 1)), 0, 15);
}

static void super_iq2_xxs(iq_work *w, const float *x, const float *importance, uint8_t *y) {
    iq_group g[8];
    const float max = fit_super(w, x, importance, g), d = max / 31, id = 1 / d;
    memset(y, 0, 66);
    if (!(max > 0)) return;
    fh_store_f16(y, d);
    for (size_t k = 0; k < 8; k++) {
        uint32_t top = scale_code(id, g[k].scale) << 28;
        for (size_t i = 0; i < 4; i++) {
            if (g[k].scale > 0) y[2 + 8 * k + i] = (uint8_t)index_of(w, g[k].word[i]);
            top |= (uint32_t)g[k].sign[i] << (7 * i);
        }
        fh_store_u32(y + 2 + 8 * k + 4, top);
    }
}

static void super_iq2_xs(iq_work *w, const float *x, const float *importance, uint8_t *y) {
    iq_group g[16];
    const float max = fit_super(w, x, importance, g), d = max / 31, id = 1 / d;
    memset(y, 0, 74);
    if (!(max > 0)) return;
    fh_store_f16(y, d);
    for (size_t k = 0; k < 16; k++) {
        for (size_t i = 0; i < 2; i++) {
            const size_t index = g[k].scale > 0 ? index_of(w, g[k].word[i]) : 0;
            fh_store_u16(y + 2 + 4 * k + 2 * i, (uint16_t)(index | (unsigned)g[k].sign[i] << 9));
        }
        y[66 + k / 2] = (uint8_t)(y[66 + k / 2] | scale_code(id, g[k].scale) << (4 * (k % 2)));
    }
}

static void super_iq2_s(iq_work *w, const float *x, const float *importance, uint8_t *y) {
    iq_group g[16];
    const float max = fit_super(w, x, importance, g), d = max / 31, id = 1 / d;
    memset(y, 0, 82);
    for (size_t k = 0; k < 32; k++) {
        const iq_group *from = &g[k / 2];
        const size_t index = from->scale > 0 ? index_of(w, from->word[k % 2]) : 0;
        y[2 + k] = (uint8_t)index;
        y[34 + k] = from->sign[k % 2];
        y[66 + k / 4] = (uint8_t)(y[66 + k / 4] | index >> 8 << (2 * (k % 4)));
    }
    if (!(max > 0)) return;
    fh_store_f16(y, d * 0.9875f);
    for (size_t k = 0; k < 16; k++)
        y[74 + k / 2] = (uint8_t)(y[74 + k / 2] | scale_code(id, g[k].scale) << (4 * (k % 2)));
}

static void super_iq3_xxs(iq_work *w, const float *x, const float *importance, uint8_t *y) {
    iq_group g[8];
    const float max = fit_super(w, x, importance, g), d = max / 31, id = 1 / d;
    memset(y, 0, 98);
    if (!(max > 0)) return;
    fh_store_f16(y, d * 1.0125f);
    for (size_t k = 0; k < 8; k++) {
        uint32_t top = scale_code(id, g[k].scale) << 28;
        for (size_t i = 0; i < 8; i++)
            if (g[k].scale > 0) y[2 + 8 * k + i] = (uint8_t)index_of(w, g[k].word[i]);
        for (size_t i = 0; i < 4; i++) top |= (uint32_t)g[k].sign[i] << (7 * i);
        fh_store_u32(y + 66 + 4 * k, top);
    }
}

static void super_iq3_s(iq_work *w, const float *x, const float *importance, uint8_t *y) {
    iq_group g[8];
    const float max = fit_super(w, x, importance, g), d = max / 31, id = 1 / d;
    memset(y, 0, 110);
    for (size_t k = 0; k < 8; k++) {
        for (size_t i = 0; i < 8; i++) {
            const size_t index = g[k].scale > 0 ? index_of(w, g[k].word[i]) : 0;
            y[2 + 8 * k + i] = (uint8_t)index;
            y[66 + k] = (uint8_t)(y[66 + k] | index >> 8 << i);
        }
        memcpy(y + 74 + 4 * k, g[k].sign, 4);
    }
    if (!(max > 0)) return;
    fh_store_f16(y, d * 1.033f);
    for (size_t k = 0; k < 4; k++)
        y[106 + k] = (uint8_t)(scale_code(id, g[2 * k].scale) | scale_code(id, g[2 * k + 1].scale) << 4);
}

typedef void super_fn(iq_work *w, const float *x, const float *importance, uint8_t *y);

static void each(const fh_fits *fits, const iq_form *form, super_fn *fn, size_t bytes, const float *x, uint8_t *y,
                 size_t n, const float *weight) {
    FH_FILLED_LATER iq_work w;
    start(&w, fits, form);
    for (size_t at = 0; at < n; at += FH_SUPER, y += bytes) fn(&w, x + at, weight ? weight + at : NULL, y);
}

void fh_quantize_row_iq2_xxs(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    each(fits, &iq2_xxs, super_iq2_xxs, 66, x, y, n, weight);
}
void fh_quantize_row_iq2_xs(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    each(fits, &iq2_xs, super_iq2_xs, 74, x, y, n, weight);
}
void fh_quantize_row_iq2_s(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    each(fits, &iq2_s, super_iq2_s, 82, x, y, n, weight);
}
void fh_quantize_row_iq3_xxs(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    each(fits, &iq3_xxs, super_iq3_xxs, 98, x, y, n, weight);
}
void fh_quantize_row_iq3_s(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight) {
    each(fits, &iq3_s, super_iq3_s, 110, x, y, n, weight);
}
