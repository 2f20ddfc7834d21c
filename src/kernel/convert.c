/* kernel/convert.c - conversions of single numbers for callers outside this folder.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing; the arithmetic and its rules for NaN are in kernel/convert.h. */
#include "kernel/convert.h"

#include "kernel/decode.h"

float fh_f16_to_f32(uint16_t h) { return fh_widen_f16(h); }
float fh_bf16_to_f32(uint16_t h) { return fh_widen_bf16(h); }
float fh_e4m3_to_f32(uint8_t b) { return fh_widen_e4m3(b); }
float fh_e5m2_to_f32(uint8_t b) { return fh_widen_e5m2(b); }
float fh_e8m0_to_f32(uint8_t b) { return fh_widen_e8m0(b); }
uint16_t fh_f32_to_f16(float f) { return fh_narrow_f16(f); }
uint16_t fh_f32_to_bf16(float f) { return fh_narrow_bf16(f); }
