/* kernel/weight_decode.h - logical weights (tensor/weight.h) to f32: the slow truth that fast kernels are held to.
 * SPDX-License-Identifier: Apache-2.0
 * One element at a time, straight from the definition of the layout; plain weights go through fh_decode. */
#ifndef FH_KERNEL_WEIGHT_DECODE_H
#define FH_KERNEL_WEIGHT_DECODE_H

#include "tensor/weight.h"

/* Rows [row, row + n_row) of the weight, row-major, counted through all matrices; dst holds n_row * cols floats.
 * A scalar has one row of one.
 * The weight was checked when it was bound (format/packed.h): nothing can fail here. */
void fh_weight_decode(const fh_weight *w, uint64_t row, uint64_t n_row, float *dst);
bool fh_weight_can_decode(const fh_weight *w);

/* The parts of one value, for repackers and converters; row counts through all matrices.
 * fh_weight_code: the stored bits of a packed code. fh_weight_zero: what is subtracted from it.
 * fh_weight_scale: what it is multiplied with, global scale included, factor not. */
uint32_t fh_weight_code(const fh_weight *w, uint64_t row, uint64_t col);
float fh_weight_zero(const fh_weight *w, uint64_t row, uint64_t col);
float fh_weight_scale(const fh_weight *w, uint64_t row, uint64_t col);

#endif
