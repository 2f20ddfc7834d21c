/* base/pool.h - a team of threads for short parallel work.
 * SPDX-License-Identifier: Apache-2.0
 * Workers are pinned to the CPUs this process may use, spin briefly for the next job and then sleep (futex),
 * so that back-to-back ops cost little and an idle program costs nothing. The caller is worker 0.
 * One fh_pool_run at a time; inside it, every worker runs fn once and may meet the others at a barrier. */
#ifndef FH_BASE_POOL_H
#define FH_BASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct fh_pool fh_pool;
typedef void fh_pool_fn(void *ctx, int worker, int n_worker);

typedef struct fh_pool_options {
    int n_worker; /* 0 = one per CPU that this process may use */
    bool no_pin;
    uint32_t spin_us; /* before sleeping; 0 = the default of 20. Inside a job they then yield for 2 ms. */
} fh_pool_options;

FH_MUST_USE fh_status fh_pool_new(fh_pool **out, const fh_pool_options *opt, fh_err *err);
void fh_pool_free(fh_pool *p); /* NULL is fine */
int fh_pool_size(const fh_pool *p);
void fh_pool_run(fh_pool *p, fh_pool_fn *fn, void *ctx);
void fh_pool_barrier(fh_pool *p); /* only inside fn; all workers must come */

#endif
