/* kernel/x86_avx512_fast_delta.c - the loops of fast_delta.h with the vectors of AVX-512.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. */
#define FH_FAST_DELTA fh_fast_delta_avx512
#define FH_FAST_NAME "avx512"
#define FH_FAST_LEVEL FH_CPU_LEVEL_AVX512
#include "kernel/fast_delta_body.h"
