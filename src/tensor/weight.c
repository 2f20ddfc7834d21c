/* tensor/weight.c - logical weights: their extents and what they take on disk.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing; binding and checking weights is the work of the formats. */
#include "tensor/weight.h"

uint64_t fh_weight_stored_bytes(const fh_weight *w) {
    const fh_tensor *part[] = {w->codes, w->scale, w->group_index, w->zero, w->global, w->scale_table, w->scale_absmax};
    uint64_t sum = w->part_bytes;
    for (size_t i = 0; i < FH_COUNT(part); i++)
        if (part[i]) sum += part[i]->data.len; /* mapped bytes: their sum fits the address space */
    return sum;
}

uint64_t fh_weight_cols(const fh_weight *w) { return fh_shape_cols(&w->shape); }

uint64_t fh_weight_rows(const fh_weight *w) { return w->shape.n_dim >= 2 ? w->shape.dim[w->shape.n_dim - 2] : 1; }

uint64_t fh_weight_matrices(const fh_weight *w) {
    uint64_t n = 1;
    for (uint32_t i = 0; i + 2 < w->shape.n_dim; i++) n *= w->shape.dim[i]; /* checked with the shape */
    return n;
}
