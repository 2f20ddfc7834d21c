/* kernel/arm_neon_fast_op.c - the loops of fast_op.h with the vectors of NEON.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. */
#define FH_FAST_OPS fh_fast_ops_neon
#define FH_FAST_NAME "neon"
#define FH_FAST_LEVEL FH_CPU_LEVEL_NEON
#include "kernel/fast_op_body.h"
