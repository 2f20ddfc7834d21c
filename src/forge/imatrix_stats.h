/* forge/imatrix_stats.h - what an importance matrix says about a model's layers, in a few numbers a weight.
 * SPDX-License-Identifier: Apache-2.0
 * Of the mean squared inputs (columns of matrices that saw nothing are left out), as llama.cpp's tool defines them. */
#ifndef FH_FORGE_IMATRIX_STATS_H
#define FH_FORGE_IMATRIX_STATS_H

#include "forge/imatrix.h"

typedef struct fh_imatrix_stats {
    const fh_imatrix_entry *entry; /* borrowed */
    int32_t layer;                 /* of "blk.N."; -1: none */
    fh_str tensor;                 /* the name between the layer and ".weight" */
    uint64_t n;                    /* columns that were seen */
    double sum, min, max, mean, deviation;
    double active;   /* share above 1e-5 */
    double entropy;  /* bits, of the columns' shares in the sum; */
    double even;     /* and divided by the most that it could be */
    double outliers; /* share more than one deviation above the mean */
    double likeness; /* cosine with the same tensor of the layer before; 0 where there is none */
} fh_imatrix_stats;

/* One for each entry that saw anything, by tensor and then by falling sum. The caller frees *out. */
FH_MUST_USE fh_status fh_imatrix_stats_of(const fh_imatrix *m, fh_imatrix_stats **out, size_t *n, fh_err *err);

/* Of a layer's entries: means of their sums, outliers and likenesses, weighted by their columns. */
typedef struct fh_imatrix_layer_stats {
    int32_t layer;
    double sum, outliers, likeness;
} fh_imatrix_layer_stats;
/* The least layer above `after` (-1 to begin with); false when there is none. */
bool fh_imatrix_stats_next_layer(const fh_imatrix_stats *all, size_t n, int32_t after, fh_imatrix_layer_stats *out);

#endif
