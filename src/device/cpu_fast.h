/* device/cpu_fast.h - the ops of the CPU's fast mode: as fh_cpu_run_*, but the bits depend on the CPU's level.
 * SPDX-License-Identifier: Apache-2.0
 * They never depend on the number of workers. Where a level has nothing better they do what exact mode does. */
#ifndef FH_DEVICE_CPU_FAST_H
#define FH_DEVICE_CPU_FAST_H

#include "device/cpu_part.h"

fh_cpu_run_fn fh_cpu_fast_product, fh_cpu_fast_form, fh_cpu_fast_sum; /* cpu_fast_product.c */
fh_cpu_run_fn fh_cpu_fast_gate_up;                                    /* cpu_fast_gate.c */
fh_cpu_run_fn fh_cpu_fast_attend;                                     /* cpu_fast_attend.c */
fh_cpu_run_fn fh_cpu_fast_norm, fh_cpu_fast_rope, fh_cpu_fast_add, fh_cpu_fast_map, fh_cpu_fast_glu, fh_cpu_fast_store,
    fh_cpu_fast_conv;            /* cpu_fast_row.c */
fh_cpu_run_fn fh_cpu_fast_delta; /* cpu_fast_delta.c */

/* What a form holds is out of date when its value was written: called by every worker after every op. */
void fh_cpu_form_note(fh_cpu_worker *w, const fh_op *o);
void fh_cpu_size_forms(const fh_plan *p, const fh_extent *ceiling, fh_cpu_sizes *s);
void fh_cpu_size_gates(fh_cpu_sizes *s);
void fh_cpu_size_delta(const fh_plan *p, fh_cpu_sizes *s);

#endif
