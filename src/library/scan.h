/* library/scan.h - one pass over every value of a model: digests, and numbers that are none.
 * SPDX-License-Identifier: Apache-2.0
 * Decodes each logical weight to f32 (kernel/weight_decode.h) piece by piece on all threads: memory is a few hundred
 * KiB per thread, whatever the model's size. */
#ifndef FH_LIBRARY_SCAN_H
#define FH_LIBRARY_SCAN_H

#include "base/hash.h"
#include "base/pool.h"
#include "format/bundle.h"

typedef struct fh_scan {
    char sha256[FH_SHA256_HEX]; /* of the decoded little-endian f32 values, row-major; "" when not asked for */
    uint64_t n_value;
    uint64_t n_bad;     /* NaN or infinite */
    uint64_t first_bad; /* index of the first of them */
    bool decoded;       /* false: the type has no f32 reading (complex numbers) */
} fh_scan;

/* done / total in stored bytes; called on the calling thread only. */
typedef void fh_scan_progress(void *ctx, uint64_t done, uint64_t total);

/* out: one per weight of the bundle, in their order. */
FH_MUST_USE fh_status fh_scan_weights(fh_scan *out, const fh_bundle *b, bool digests, fh_pool *pool,
                                      fh_scan_progress *progress, void *ctx, fh_err *err);

#endif
