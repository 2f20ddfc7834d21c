/* kernel/decode_table.h - how decoders are found (private to src/kernel, and to tests that hold
 * variants apart).
 * SPDX-License-Identifier: Apache-2.0
 * A decoder turns n_block whole blocks at src (any alignment) into f32 at dst; the two do not
 * overlap. The table is filled once: the portable ones first, then what the CPU does better, in
 * ascending order. */
#ifndef FH_KERNEL_DECODE_TABLE_H
#define FH_KERNEL_DECODE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

typedef void fh_decode_fn(const uint8_t *restrict src, float *restrict dst, size_t n_block);
typedef fh_decode_fn *fh_decode_table[FH_DTYPE_COUNT]; /* NULL where a type has no f32 reading */

void fh_decode_fill_base(fh_decode_table t);
void fh_decode_fill_f16c(fh_decode_table t); /* x86 with AVX2 and F16C */

fh_decode_fn fh_decode_f32, fh_decode_f16, fh_decode_bf16, fh_decode_f64, fh_decode_f8_e4m3, fh_decode_f8_e5m2,
    fh_decode_f8_e8m0, fh_decode_f8_e4m3fnuz, fh_decode_f8_e5m2fnuz, fh_decode_f6_e2m3, fh_decode_f6_e3m2, fh_decode_f4,
    fh_decode_i8, fh_decode_i16, fh_decode_i32, fh_decode_i64, fh_decode_u8, fh_decode_u16, fh_decode_u32,
    fh_decode_u64, fh_decode_bool;
fh_decode_fn fh_decode_q4_0, fh_decode_q4_1, fh_decode_q5_0, fh_decode_q5_1, fh_decode_q8_0, fh_decode_q8_1,
    fh_decode_q1_0, fh_decode_q2_0, fh_decode_tq1_0, fh_decode_tq2_0, fh_decode_mxfp4, fh_decode_nvfp4,
    fh_decode_iq4_nl, fh_decode_iq4_xs;
fh_decode_fn fh_decode_q2_k, fh_decode_q3_k, fh_decode_q4_k, fh_decode_q5_k, fh_decode_q6_k, fh_decode_q8_k;
fh_decode_fn fh_decode_iq1_s, fh_decode_iq1_m, fh_decode_iq2_xxs, fh_decode_iq2_xs, fh_decode_iq2_s, fh_decode_iq3_xxs,
    fh_decode_iq3_s;

#endif
