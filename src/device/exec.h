/* device/exec.h - executors of plans. This one: the CPU.
 * SPDX-License-Identifier: Apache-2.0
 * Made once per plan and set of ceilings: all scratch is allocated then, nothing afterwards (test builds check that a
 * step allocates nothing). All workers walk the list of ops together, one barrier after each.
 * Exact mode: f32 activations, every sum in one fixed order that depends on neither the number of threads, nor how a
 * batch was split, nor the page size; no fused multiply-add: the same bits on every machine.
 * Not for threads to share; state and adapters come with the batch. */
#ifndef FH_DEVICE_EXEC_H
#define FH_DEVICE_EXEC_H

#include "base/pool.h"
#include "device/batch.h"
#include "device/prepared.h"

typedef struct fh_exec fh_exec;

typedef struct fh_exec_options {
    fh_pool *pool; /* borrowed; one step at a time */
    fh_extent ceiling;
    const fh_prepared *prepared; /* borrowed; makes it fast. NULL: exact mode */
    bool keep_values;            /* every value keeps its memory until the next step: for tracing */
} fh_exec_options;

FH_MUST_USE fh_status fh_exec_new(fh_exec **out, const fh_plan *plan, const fh_state_layout *layout,
                                  const fh_exec_options *opt, fh_err *err);
void fh_exec_free(fh_exec *x);            /* NULL is fine */
uint64_t fh_exec_bytes(const fh_exec *x); /* scratch */
/* Fast mode keeps f32 inputs in this plan where it would take bf16 in others (int8 stays): rounding could choose
 * another expert, or stay in a memory. */
bool fh_cpu_is_careful(const fh_plan *plan);
/* The form in which a product takes n inputs in fast mode. */
fh_product_form fh_cpu_form_wanted(const fh_product *q, uint64_t n, bool careful);

/* Runs the plan's ops up to the last one that `want` (bits 1 << FH_EXPORT_*) needs; 0 wants nothing but state. The
 * batch must keep to the ceilings (else FH_ERR_USAGE) and token ids to the vocabulary (FH_ERR_USAGE, naming it). */
FH_MUST_USE fh_status fh_exec_run(fh_exec *x, const fh_batch *batch, unsigned want, fh_err *err);

/* Looks at what products are given. All workers call it at once, each with its own columns [from, to) of every row, and
 * the rows of a matrix in order: who sums by column needs no lock, and the sum does not depend on the number of
 * workers. op: of the plan; mat: the expert or head. Row `row` is gone after the call. */
typedef void fh_exec_watch_fn(void *ctx, uint32_t op, uint32_t mat, const float *row, uint64_t from, uint64_t to);
/* Until the next call; fn NULL: nobody looks, which costs a comparison per product. Between steps only. */
void fh_exec_watch(fh_exec *x, fh_exec_watch_fn *fn, void *ctx);

/* After a step: rows of a value. Valid until the next step; a value whose memory was given away is NULL. */
const float *fh_exec_value(const fh_exec *x, uint32_t value);
const float *fh_exec_export(const fh_exec *x, fh_export what);

/* Time per op of the steps since the last reset; ns: [n_op]. Costs two clock reads per op when on. */
void fh_exec_profile(fh_exec *x, bool on);
const uint64_t *fh_exec_ns(const fh_exec *x);

#endif
