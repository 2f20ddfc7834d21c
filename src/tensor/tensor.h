/* tensor/tensor.h - shapes and stored tensors: views into mapped files.
 * SPDX-License-Identifier: Apache-2.0
 * Dimensions are outermost first, as PyTorch writes them; GGUF's order is turned round where GGUF is read.
 * A view owns nothing; whoever opened the file keeps the bytes alive. */
#ifndef FH_TENSOR_TENSOR_H
#define FH_TENSOR_TENSOR_H

#include "tensor/dtype.h"

#define FH_MAX_DIMS 8

typedef struct fh_shape {
    uint32_t n_dim; /* 0 = a scalar */
    uint64_t dim[FH_MAX_DIMS];
} fh_shape;

/* Product of the dimensions (1 for a scalar); false when it does not fit. */
FH_MUST_USE bool fh_shape_count(const fh_shape *s, uint64_t *out);
bool fh_shape_eq(const fh_shape *a, const fh_shape *b);
/* Elements of the innermost dimension (1 for a scalar), and how many such rows there are. */
uint64_t fh_shape_cols(const fh_shape *s);
uint64_t fh_shape_rows(const fh_shape *s); /* the count was checked when the tensor was opened */
/* "[4096, 128]" into out; returns out. */
const char *fh_shape_text(const fh_shape *s, char *out, size_t size);

typedef struct fh_tensor {
    fh_str name;
    fh_dtype dtype;
    fh_shape shape;
    fh_bytes data;        /* exactly the tensor's bytes; any alignment */
    uint64_t file_offset; /* of data within its file */
    uint32_t part;        /* which file of a split or sharded set */
} fh_tensor;

#endif
