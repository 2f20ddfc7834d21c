/* kernel/ref_decode.h - number j of one block, straight from each format's definition (private to
 * src/kernel).
 * SPDX-License-Identifier: Apache-2.0
 * Slow on purpose, and shares only the codebooks with the fast decoders. */
#ifndef FH_KERNEL_REF_DECODE_H
#define FH_KERNEL_REF_DECODE_H

#include <stddef.h>
#include <stdint.h>

typedef float fh_ref_fn(const uint8_t *block, size_t j);

/* A float given by its fields, by arithmetic: no bit tricks. */
float fh_ref_f16(const uint8_t *p);
float fh_ref_small(unsigned code, int exp_bits, int mant_bits, int bias);

fh_ref_fn fh_ref_q4_0, fh_ref_q4_1, fh_ref_q5_0, fh_ref_q5_1, fh_ref_q8_0, fh_ref_q8_1, fh_ref_q1_0, fh_ref_q2_0,
    fh_ref_tq1_0, fh_ref_tq2_0, fh_ref_mxfp4, fh_ref_nvfp4, fh_ref_iq4_nl, fh_ref_iq4_xs;
fh_ref_fn fh_ref_q2_k, fh_ref_q3_k, fh_ref_q4_k, fh_ref_q5_k, fh_ref_q6_k, fh_ref_q8_k;
fh_ref_fn fh_ref_iq1_s, fh_ref_iq1_m, fh_ref_iq2_xxs, fh_ref_iq2_xs, fh_ref_iq2_s, fh_ref_iq3_xxs, fh_ref_iq3_s;

#endif
