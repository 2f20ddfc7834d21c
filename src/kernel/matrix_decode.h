/* kernel/matrix_decode.h - rows of a product's matrix (tensor/matrix.h) to f32.
 * SPDX-License-Identifier: Apache-2.0
 * Plain types go through fh_decode, everything else through fh_weight_decode, the slow truth. */
#ifndef FH_KERNEL_MATRIX_DECODE_H
#define FH_KERNEL_MATRIX_DECODE_H

#include "tensor/matrix.h"

/* Product rows [r, r + n) of matrix m; dst [n, in]. Not transposed. */
void fh_matrix_decode_rows(const fh_matrix *x, uint32_t m, uint64_t r, uint64_t n, float *dst);
/* The same without a copy, where the rows are stored as aligned f32, one after another; else NULL. */
const float *fh_matrix_f32_rows(const fh_matrix *x, uint32_t m, uint64_t r);
/* Transposed: elements [r, r + n) of stored row k, which is column k of the product; dst [n]. row: a buffer of
 * fh_matrix_row_floats. */
void fh_matrix_decode_col(const fh_matrix *x, uint32_t m, uint64_t k, uint64_t r, uint64_t n, float *row, float *dst);
uint64_t fh_matrix_row_floats(const fh_matrix *x); /* of the widest stored row */

#endif
