/* forge/quantize.h - a model file with smaller types out of another.
 * SPDX-License-Identifier: Apache-2.0
 * Reads in place, writes beside the target and renames at the end: a file with the final name is whole. Memory is
 * bounded by a few rows per thread and one slab of output, whatever the model's size. Same bytes for any number of
 * threads. */
#ifndef FH_FORGE_QUANTIZE_H
#define FH_FORGE_QUANTIZE_H

#include "base/pool.h"
#include "forge/imatrix.h"
#include "forge/mix.h"
#include "format/bundle.h"

/* One tensor's fate. */
typedef struct fh_quantize_tensor {
    const fh_tensor *from;
    fh_dtype type;
    bool fell_back, weighted; /* weighted: by an importance matrix */
    uint64_t bytes;           /* of the result */
} fh_quantize_tensor;

typedef struct fh_quantize_plan {
    fh_quantize_tensor *item;                     /* [n], in the order in which they are written */
    size_t n, n_fell_back, n_weighted, n_missing; /* missing: changed, and not in the importance matrix */
    uint64_t n_value, bytes_from, bytes_to;
} fh_quantize_plan;

typedef struct fh_quantize_options {
    fh_mix_options mix;                                         /* mix.imatrix is set here */
    const fh_imatrix *imatrix;                                  /* or NULL */
    const char *imatrix_path;                                   /* as it is to stand in the file */
    bool requantize;                                            /* allow types that are quantized already */
    bool keep_split;                                            /* as many files as there were */
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* bytes read; or NULL */
    void *progress_ctx;
} fh_quantize_options;

/* What would be done, and every reason not to that can be known without touching data. b is a GGUF.
 * FH_ERR_UNSUPPORTED: an importance matrix is needed; quantized already. */
FH_MUST_USE fh_status fh_quantize_plan_new(fh_quantize_plan **out, const fh_bundle *b, const fh_quantize_options *opt,
                                           fh_err *err);
void fh_quantize_plan_free(fh_quantize_plan *p);

/* Carries the plan out. to: the new file, or with keep_split the name before "-00001-of-00003.gguf" (".gguf" at its
 * end is dropped). FH_ERR_FORMAT: a number that is not finite, in the input or after quantizing. */
FH_MUST_USE fh_status fh_quantize_write(const fh_quantize_plan *p, const fh_bundle *b, const char *to,
                                        const fh_quantize_options *opt, fh_pool *pool, fh_err *err);

#endif
