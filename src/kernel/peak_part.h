/* kernel/peak_part.h - what the peak loops of all instruction sets share.
 * SPDX-License-Identifier: Apache-2.0
 * Accumulators are named variables, made by macros: an array indexed by a loop would live in memory in builds
 * that do not unroll, and then the loop would measure the stack. */
#ifndef FH_KERNEL_PEAK_PART_H
#define FH_KERNEL_PEAK_PART_H

#include "kernel/peak.h"

#define FH_PEAK_EACH_12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define FH_PEAK_EACH_16(X) FH_PEAK_EACH_12(X) X(12) X(13) X(14) X(15)
#define FH_PEAK_EACH_24(X) FH_PEAK_EACH_16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)

/* The compiler must take a register as new, so that it can neither hoist nor merge equal products. The first
 * is for x86 vectors, the second for AArch64. */
#define FH_PEAK_OPAQUE_V(x) __asm__ volatile("" : "+v"(x))
#define FH_PEAK_OPAQUE_W(x) __asm__ volatile("" : "+w"(x))

/* Loops that read ahead ask for the line that lies so far behind the one they read: what products do with weights. */
#define FH_PEAK_READ_AHEAD 4096

fh_peak_read_fn fh_peak_read_avx2, fh_peak_read_avx512, fh_peak_read_neon;
fh_peak_read_fn fh_peak_read_ahead_avx2, fh_peak_read_ahead_avx512, fh_peak_read_ahead_neon;
fh_peak_compute_fn fh_peak_f32_avx2, fh_peak_f32_avx512, fh_peak_f32_neon;
fh_peak_compute_fn fh_peak_int8_avx2, fh_peak_int8_avxvnni, fh_peak_int8_avx512, fh_peak_int8_vnni;
fh_peak_compute_fn fh_peak_int8_amx, fh_peak_int8_neon, fh_peak_int8_dotprod, fh_peak_int8_i8mm;
fh_peak_compute_fn fh_peak_bf16_avx512, fh_peak_bf16_amx, fh_peak_bf16_i8mm;

#endif
