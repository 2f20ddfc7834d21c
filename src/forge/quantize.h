/* forge/quantize.h - a model file with smaller types out of another.
 * SPDX-License-Identifier: Apache-2.0
 * Reads in place (safetensors: converts on the way), writes beside the target and renames at the end: a file with the
 * final name is whole. Memory is bounded by a few rows per thread and slabs of input and output, whatever the model's
 * size. Same bytes for any number of threads. */
#ifndef FH_FORGE_QUANTIZE_H
#define FH_FORGE_QUANTIZE_H

#include "base/pool.h"
#include "forge/feed.h"
#include "forge/imatrix.h"
#include "forge/mix.h"

/* One tensor's fate. */
typedef struct fh_quantize_tensor {
    const fh_tensor *from;
    fh_str name; /* in the new file: other layers may have gone */
    fh_dtype type;
    bool fell_back, weighted; /* weighted: by an importance matrix */
    bool fixed;               /* no budget may change it: it stays as it is, or somebody named its type */
    uint64_t bytes;           /* of the result */
} fh_quantize_tensor;

typedef struct fh_quantize_plan {
    fh_quantize_tensor *item;                     /* [n], in the order in which they are written */
    size_t n, n_fell_back, n_weighted, n_missing; /* missing: changed, and not in the importance matrix */
    uint64_t n_value, bytes_from, bytes_to;
    uint64_t n_layer;   /* that are left */
    uint32_t file_type; /* general.file_type, or UINT32_MAX: as it was */
    fh_arena names;
} fh_quantize_plan;

typedef struct fh_quantize_options {
    fh_mix_options mix;        /* mix.imatrix is set here */
    const fh_imatrix *imatrix; /* or NULL */
    const char *imatrix_path;  /* as it is to stand in the file */
    bool requantize;           /* allow types that are quantized already */
    bool keep_split;           /* as many files as there were */
    const uint32_t *prune;     /* [n_prune] layers to leave out, ascending, each once */
    size_t n_prune;            /* */
    const fh_gguf_kv *set;     /* [n_set] keys to set; the last of the same name counts */
    size_t n_set;
    double bpw;        /* budget in bits a number, or 0: as the mix says */
    const char *probe; /* with a budget: measure what each role's loss costs, by way of this file; or NULL */
    void (*measured)(void *ctx, uint64_t done, uint64_t total); /* tensors tried for a budget; or NULL */
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* bytes read; or NULL */
    void *progress_ctx;
} fh_quantize_options;

/* What would be done, and every reason not to that can be known beforehand. Data is touched only where there is a
 * budget: then rows are tried in several types (forge/budget.h), on the pool.
 * FH_ERR_UNSUPPORTED: an importance matrix is needed; quantized already; a budget that no mix can keep. */
FH_MUST_USE fh_status fh_quantize_plan_new(fh_quantize_plan **out, fh_feed *f, const fh_quantize_options *opt,
                                           fh_pool *pool, fh_err *err);
void fh_quantize_plan_free(fh_quantize_plan *p);

/* Carries the plan out. to: the new file, or with keep_split the name before "-00001-of-00003.gguf" (".gguf" at its
 * end is dropped). Work that was cut short is gone on with by the same call: the unfinished file lies beside the
 * target, hidden. FH_ERR_FORMAT: a number that is not finite, in the input or after quantizing. */
FH_MUST_USE fh_status fh_quantize_write(const fh_quantize_plan *p, fh_feed *f, const char *to,
                                        const fh_quantize_options *opt, fh_pool *pool, fh_err *err);

#endif
