/* kernel/weight_decode.h - logical weights (tensor/weight.h) to f32: the slow truth that fast kernels are held to. */
#ifndef FH_KERNEL_WEIGHT_DECODE_H
#define FH_KERNEL_WEIGHT_DECODE_H

#include "tensor/weight.h"

/* Rows [row, row + n_row) of the weight, row-major; dst holds n_row * cols floats. A scalar has one row of one.
 * The weight was checked when it was bound (format/packed.h): nothing can fail here. */
void fh_weight_decode(const fh_weight *w, uint64_t row, uint64_t n_row, float *dst);
bool fh_weight_can_decode(const fh_weight *w);

#endif
