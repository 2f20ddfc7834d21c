/* kernel/quantize.h - f32 rows to every block type that files are written in.
 * SPDX-License-Identifier: Apache-2.0
 * The bytes are those of the reference implementation, so every sum has its order and every rounding its place; the
 * fast variants do the same operations on several groups side by side, hence the same bits on every machine.
 * Rows are quantized one by one: what a row becomes depends on nothing but the row and the weights.
 * Numbers that are not finite give some bytes, never a crash; whoever writes files looks at the scales afterwards
 * (fh_quantize_is_valid). */
#ifndef FH_KERNEL_QUANTIZE_H
#define FH_KERNEL_QUANTIZE_H

#include "base/cpu.h"
#include "tensor/dtype.h"

/* F32, F16, BF16, Q8_0 and the block types below 8 bits. */
bool fh_can_quantize(fh_dtype t);
/* IQ1_S, IQ2_XXS, IQ2_XS: there is no way to make them without importance weights. */
bool fh_quantize_needs_weights(fh_dtype t);

/* n_row rows of n_col numbers, n_col a whole number of blocks, to dst. weight: importance of each column, [n_col], or
 * NULL. The first row of an IQ type builds its tables: a tenth of a second. */
void fh_quantize(fh_dtype t, const float *src, uint8_t *dst, size_t n_row, size_t n_col, const float *weight);
/* The same with the loops of one CPU level, for tests: false where this build or machine does not have them. */
bool fh_quantize_at(fh_cpu_level level, fh_dtype t, const float *src, uint8_t *dst, size_t n_row, size_t n_col,
                    const float *weight);

/* Are the scales of n_block blocks finite numbers (and codes of plain types)? */
bool fh_quantize_is_valid(fh_dtype t, const uint8_t *data, size_t n_block);

#endif
