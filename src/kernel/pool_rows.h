/* kernel/pool_rows.h - one vector out of many rows.
 * SPDX-License-Identifier: Apache-2.0
 * Sums are kept in f64 and taken in the order of the rows, so how rows came in batches does not show. */
#ifndef FH_KERNEL_POOL_ROWS_H
#define FH_KERNEL_POOL_ROWS_H

#include <stddef.h>
#include <stdint.h>

/* sum += row, both [n] */
void fh_pool_add_row(double *sum, const float *row, size_t n);
/* sum += row * row, both [n]; the product is exact */
void fh_pool_add_squares(double *sum, const float *row, size_t n);
/* out = sum / n_row, rounded once; n_row > 0 */
void fh_pool_mean(const double *sum, uint64_t n_row, float *out, size_t n);
/* v / max(|v|, 1e-12) */
void fh_pool_normalize(float *v, size_t n);

#endif
