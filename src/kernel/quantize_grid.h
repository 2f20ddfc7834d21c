/* kernel/quantize_grid.h - where a vector of levels lies in a codebook, and what is near it (private to src/kernel).
 * SPDX-License-Identifier: Apache-2.0
 * A point is a vector of 8 levels 0 .. 2 or of 4 levels 0 .. 7, numbered sum level[i] * base^i. Books hold a small
 * part of all points. For each other point its neighbours are listed: those words of the book that are at one of the
 * n smallest distances that occur, nearest first, then in the book's order. Built when first asked for. */
#ifndef FH_KERNEL_QUANTIZE_GRID_H
#define FH_KERNEL_QUANTIZE_GRID_H

#include "kernel/quantize_part.h"

typedef enum fh_grid_id {
    FH_GRID_IQ2_XXS,
    FH_GRID_IQ2_XS,
    FH_GRID_IQ2_S,
    FH_GRID_IQ1,
    FH_GRID_IQ3_XXS,
    FH_GRID_IQ3_S,
    FH_GRID_COUNT
} fh_grid_id;

typedef struct fh_grid {
    const uint16_t *book; /* [n_book] */
    size_t n_book, n_point, n_near;
    int dim, base, bits;
    const int16_t *index;  /* [n_point] in the book, or -1 */
    const uint32_t *start; /* [n_point + 1] of a point's neighbours in near; lists are padded to multiples of 16 */
    const uint16_t *count; /* [n_point] */
    const uint16_t *near;  /* words */
} fh_grid;

const fh_grid *fh_grid_get(fh_grid_id id); /* any thread; the first call takes up to a tenth of a second */

static inline int fh_grid_level(const fh_grid *g, uint16_t word, int i) {
    return word >> (i * g->bits) & ((1 << g->bits) - 1);
}
size_t fh_grid_point_of_word(const fh_grid *g, uint16_t word);

#endif
