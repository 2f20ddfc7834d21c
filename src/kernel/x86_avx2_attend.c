/* kernel/x86_avx2_attend.c - attention in f32 with AVX2 and FMA.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. */
#define FH_ATTEND_TILE fh_attend_avx2
#define FH_ATTEND_TILE_NAME "avx2 tile"
#define FH_ATTEND_FEW_TILE fh_attend_few_avx2
#define FH_ATTEND_FEW_NAME "avx2 rows"
#define FH_ATTEND_LEVEL FH_CPU_LEVEL_AVX2
#include "kernel/attend_body.h"
