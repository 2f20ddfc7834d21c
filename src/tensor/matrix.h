/* tensor/matrix.h - a matrix as a product sees it: which rows of which weights. Data only.
 * SPDX-License-Identifier: Apache-2.0
 * Files fuse, stack, interleave and transpose what a model multiplies with. A fh_matrix says where each product row
 * lies, so that nothing is copied: y[out] = M[mat] x[in].
 *   not transposed: row r of matrix m is the stored row  first + m * stride + r * step, whole
 *   transposed:     stored row first + m * stride + k holds column k; its elements col + r * step are the rows r
 * Stored rows count through all matrices of a weight. With one weight per matrix, m * stride is left out.
 * Borrowed from the opened model; immutable. */
#ifndef FH_TENSOR_MATRIX_H
#define FH_TENSOR_MATRIX_H

#include "tensor/weight.h"

typedef struct fh_matrix {
    fh_str name;                    /* of the plan's slot: "layers.3.attn.q" */
    const fh_weight *const *weight; /* [n_weight]: one for all matrices, or one for each */
    uint32_t n_weight, n_mat;       /* n_mat: experts or heads; 1 for a plain product */
    uint64_t out, in;
    uint64_t first, stride, step; /* step >= 1 */
    uint64_t col;                 /* transposed only */
    bool transposed;
} fh_matrix;

/* The weight that holds matrix m, and the stored row of product row r (of column r when transposed) in it. */
static inline const fh_weight *fh_matrix_weight(const fh_matrix *x, uint32_t m) {
    return x->weight[x->n_weight > 1 ? m : 0];
}
static inline uint64_t fh_matrix_row(const fh_matrix *x, uint32_t m, uint64_t r) {
    return x->first + (x->n_weight > 1 ? 0 : m * x->stride) + r * (x->transposed ? 1 : x->step);
}

#endif
