/* kernel/decode.h - element types to f32 and back. Kernels are the only place where arithmetic happens.
 * SPDX-License-Identifier: Apache-2.0
 * fh_decode is fast (whole blocks, per-CPU variants where they pay); fh_ref_decode is the slow truth, one element
 * at a time, straight from the format's definition. Both give the same bits as the reference implementation on
 * every machine: no contraction, no fast math. Input may lie at any alignment. */
#ifndef FH_KERNEL_DECODE_H
#define FH_KERNEL_DECODE_H

#include "tensor/dtype.h"

/* false for types that have no f32 reading (C64) */
bool fh_can_decode(fh_dtype t);
/* n elements, a whole number of blocks, from src to dst. t must be decodable. */
void fh_decode(fh_dtype t, const uint8_t *src, float *dst, size_t n);
/* Element i of the tensor that starts at src. The oracle: tests hold fh_decode against it. */
float fh_ref_decode(fh_dtype t, const uint8_t *src, size_t i);

/* Encoders: F32, F16, BF16, F8_E4M3, F8_E5M2, Q8_0. Round as the reference does (nearest even; Q8_0 half away
 * from zero). n is a whole number of blocks. */
bool fh_can_encode(fh_dtype t);
void fh_encode(fh_dtype t, const float *src, uint8_t *dst, size_t n);

/* Single conversions that others need. */
float fh_f16_to_f32(uint16_t h);
uint16_t fh_f32_to_f16(float f);
float fh_bf16_to_f32(uint16_t h);
uint16_t fh_f32_to_bf16(float f);
float fh_e4m3_to_f32(uint8_t b);
float fh_e5m2_to_f32(uint8_t b);
float fh_e8m0_to_f32(uint8_t b); /* 2^(b-127); 255 is NaN */

#endif
