/* evaluate/roofline.h - what a run must move and compute by its plan, and how fast this machine could do that at most.
 * SPDX-License-Identifier: Apache-2.0
 * Counts come from graph/plan.h's prices, ceilings from evaluate/ceilings.h; nothing is measured here. They are least
 * counts: each weight that a batch touches is read once for all its tokens, each sequence's state once for all its
 * queries, values between ops stay in caches. A run cannot be faster than both ceilings allow; how near it comes is the
 * share that a report prints. */
#ifndef FH_EVALUATE_ROOFLINE_H
#define FH_EVALUATE_ROOFLINE_H

#include "evaluate/ceilings.h"
#include "graph/plan.h"

/* One batch: tokens of n_seq sequences, each with so many, behind `past` others. */
typedef struct fh_roofline_batch {
    uint64_t n_seq, n_token; /* n_token: all sequences together, a multiple of n_seq */
    uint64_t n_row;          /* whose results are wanted */
    uint64_t past;           /* rows of state before them */
    uint64_t encoder_rows;   /* of CROSS states */
    fh_dtype kv_type;
    bool exact; /* all arithmetic in f32; else what fast products choose */
} fh_roofline_batch;

/* Sums over batches; {0} is a valid start. */
typedef struct fh_roofline_work {
    double weight_bytes, state_bytes;
    double ops[FH_PEAK_KINDS]; /* multiplications and additions by the arithmetic that does them; READ stays 0 */
} fh_roofline_work;

void fh_roofline_add(fh_roofline_work *w, const fh_plan *p, const fh_roofline_batch *b);
double fh_roofline_bytes(const fh_roofline_work *w);
double fh_roofline_ops(const fh_roofline_work *w);

typedef struct fh_roofline {
    double read_s, compute_s; /* at the ceilings */
    double seconds;           /* the longer of the two: no run takes less */
    bool by_memory;
    double ops_per_s; /* the ceiling of this mix of operations */
} fh_roofline;

/* Where the machine has no instruction for a kind of operation, they count as f32. */
fh_roofline fh_roofline_of(const fh_roofline_work *w, const fh_ceilings *c);

/* The ceilings of so many threads, for rooflines: reads over 1 GiB (or an eighth of what is left of the memory), by the
 * better of plain loops and such that read ahead. Takes one to two seconds. */
FH_MUST_USE fh_status fh_roofline_measure(fh_ceilings *out, uint32_t threads, fh_err *err);

#endif
