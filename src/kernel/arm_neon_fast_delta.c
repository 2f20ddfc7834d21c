/* kernel/arm_neon_fast_delta.c - the loops of fast_delta.h with the vectors of NEON.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. */
#define FH_FAST_DELTA fh_fast_delta_neon
#define FH_FAST_NAME "neon"
#define FH_FAST_LEVEL FH_CPU_LEVEL_NEON
#include "kernel/fast_delta_body.h"
