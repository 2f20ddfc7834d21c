/* kernel/arm_neon_attend.c - attention in f32 with NEON.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. */
#define FH_ATTEND_TILE fh_attend_neon
#define FH_ATTEND_TILE_NAME "neon tile"
#define FH_ATTEND_FEW_TILE fh_attend_few_neon
#define FH_ATTEND_FEW_NAME "neon rows"
#define FH_ATTEND_LEVEL FH_CPU_LEVEL_NEON
#include "kernel/attend_body.h"
