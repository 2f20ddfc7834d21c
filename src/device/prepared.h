/* device/prepared.h - a model's matrices made ready for fast products; shared by all executors of the model.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the packed forms and a thread that makes them while steps already run from the file: the first token does not
 * wait. A packed matrix keeps its codes in the file's bits, so packed forms take little more than the file did; the
 * file's own pages are given back as soon as nothing reads them.
 * Results do not depend on how far packing has come (kernel/product.h). */
#ifndef FH_DEVICE_PREPARED_H
#define FH_DEVICE_PREPARED_H

#include "graph/plan.h"
#include "kernel/product.h"

typedef struct fh_prepared fh_prepared;

typedef struct fh_prepared_options {
    bool in_place; /* pack nothing: read the file for good */
    /* Called on the packing thread when the bytes of a weight are not read any more (to drop its pages), or NULL. */
    void (*done_with)(void *ctx, fh_bytes bytes);
    void *ctx;
} fh_prepared_options;

/* tables: any plan of the model. Packing begins at once. */
FH_MUST_USE fh_status fh_prepared_new(fh_prepared **out, const fh_plan *tables, const fh_prepared_options *opt,
                                      fh_err *err);
void fh_prepared_free(fh_prepared *p); /* stops packing; NULL is fine */
const fh_product *fh_prepared_get(const fh_prepared *p, uint32_t matrix);
size_t fh_prepared_scratch_bytes(const fh_prepared *p); /* the most that any product needs of a worker */
void fh_prepared_wait(const fh_prepared *p);            /* until packing is over: for benchmarks and tests */

#endif
