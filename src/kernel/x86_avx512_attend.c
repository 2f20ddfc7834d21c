/* kernel/x86_avx512_attend.c - attention in f32 with AVX-512.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. */
#define FH_ATTEND_TILE fh_attend_avx512
#define FH_ATTEND_TILE_NAME "avx512 tile"
#define FH_ATTEND_FEW_TILE fh_attend_few_avx512
#define FH_ATTEND_FEW_NAME "avx512 rows"
#define FH_ATTEND_LEVEL FH_CPU_LEVEL_AVX512
#include "kernel/attend_body.h"
