/* kernel/x86_avx2_fast_delta.c - the loops of fast_delta.h with the vectors of AVX2.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. */
#define FH_FAST_DELTA fh_fast_delta_avx2
#define FH_FAST_NAME "avx2"
#define FH_FAST_LEVEL FH_CPU_LEVEL_AVX2
#include "kernel/fast_delta_body.h"
