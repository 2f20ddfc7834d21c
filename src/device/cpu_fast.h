/* device/cpu_fast.h - the ops of the CPU's fast mode: as fh_cpu_run_*, but the bits depend on the CPU's level.
 * SPDX-License-Identifier: Apache-2.0
 * They never depend on the number of workers. Where a level has nothing better they do what exact mode does. */
#ifndef FH_DEVICE_CPU_FAST_H
#define FH_DEVICE_CPU_FAST_H

#include "device/cpu_part.h"

fh_cpu_run_fn fh_cpu_fast_attend; /* cpu_fast_attend.c */
fh_cpu_run_fn fh_cpu_fast_norm, fh_cpu_fast_rope, fh_cpu_fast_add, fh_cpu_fast_map, fh_cpu_fast_glu, fh_cpu_fast_store,
    fh_cpu_fast_conv; /* cpu_fast_row.c */

#endif
