/* evaluate/ceilings.h - what this machine can do at most, measured: the denominators of every speed claim.
 * SPDX-License-Identifier: Apache-2.0
 * Bytes read from memory, and f32, bf16 and int8 operations, per second, on one core and on all workers of a
 * pool. Every loop of the kind that is granted here runs; the best of several passes of the best loop counts. */
#ifndef FH_EVALUATE_CEILINGS_H
#define FH_EVALUATE_CEILINGS_H

#include "base/err.h"
#include "base/machine.h"
#include "base/pool.h"
#include "kernel/peak.h"

typedef struct fh_ceiling {
    double one, all;             /* bytes or operations per second; 0 = no instruction for it here */
    const char *one_by, *all_by; /* the loop that reached it; "" where there is none */
} fh_ceiling;

typedef struct fh_ceilings {
    int n_worker;
    fh_ceiling kind[FH_PEAK_KINDS];
    uint64_t read_bytes;  /* the buffer that was read */
    bool read_near_cache; /* it is under twice the L3 caches: the figure may be too high */
    uint64_t took_ns;
} fh_ceilings;

typedef struct fh_ceilings_options {
    uint64_t read_bytes; /* 0 = 256 MiB or 4 x L3, at most 4 GiB and 1/8 of the usable memory */
    uint32_t compute_ms; /* per loop and number of workers; 0 = 18 */
    uint32_t read_ms;    /* per number of workers, all loops together; 0 = 160 */
    uint32_t touch_ms;   /* for making the buffer, cut short after this; 0 = 600 */
} fh_ceilings_options;

FH_MUST_USE fh_status fh_ceilings_measure(fh_ceilings *out, fh_pool *pool, const fh_machine *m,
                                          const fh_ceilings_options *opt, fh_err *err);

const char *fh_ceilings_kind_name(fh_peak_kind k); /* "read", "f32", "bf16", "int8" */

#endif
