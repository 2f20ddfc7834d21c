/* device/cpu_schedule.h - the steps in which the CPU walks a plan, and where its workers must wait for each other.
 * SPDX-License-Identifier: Apache-2.0
 * Made once with the executor, from the plan and the places of its values; the plan itself stays unfused. Exact mode
 * and tracing walk op by op; fast mode joins a product with the sum that takes its result, and gate, up and their GLU,
 * so that what lies between them never goes to memory.
 * Invariant: of two steps without a wait between them, either they touch nothing in common that one of them writes,
 * or what they have in common is rows that both leave to the same worker (fh_cpu_share_rows). */
#ifndef FH_DEVICE_CPU_SCHEDULE_H
#define FH_DEVICE_CPU_SCHEDULE_H

#include "device/cpu_part.h"

typedef enum fh_cpu_wait {
    FH_WAIT_NEVER,
    FH_WAIT_UNLESS_ROWS, /* what it needs was left to the same worker, if rows were shared out whole */
    FH_WAIT_ALWAYS
} fh_cpu_wait;

struct fh_cpu_step {
    fh_cpu_run_fn *run; /* gets the first op; those that it is joined with stand behind it in the plan */
    uint32_t op, n_op;
    uint32_t rows_of; /* a value whose rows it goes by, if it goes by rows */
    uint8_t wait;     /* fh_cpu_wait, before it */
};

/* The steps of x->plan, at most 2 n_op, by op kind from two tables; fast NULL: exact mode. Returns how many. */
uint32_t fh_cpu_schedule(const fh_exec *x, fh_cpu_run_fn *const *exact, fh_cpu_run_fn *const *fast, bool fuse,
                         fh_cpu_step *out);

#endif
