/* forge/imatrix.h - importance matrices: how large the inputs of each weight's columns were, over some text.
 * SPDX-License-Identifier: Apache-2.0
 * An entry holds, for each matrix (expert) of a weight and each column, the sum of squared inputs, and for each matrix
 * how many inputs were summed. Two forms of file: GGUF (tensors NAME.in_sum2 and NAME.counts) and the older .dat, where
 * sums were divided by the count and multiplied with the number of chunks; it knows one count per entry, no matrices.
 * Input is hostile: names, counts and sizes are checked, every number must be finite and no sum negative. */
#ifndef FH_FORGE_IMATRIX_H
#define FH_FORGE_IMATRIX_H

#include "base/file.h"

#define FH_IMATRIX_CHUNK 512u /* tokens, where nobody says */

typedef struct fh_imatrix_entry {
    fh_str name;        /* of the weight */
    uint64_t n_value;   /* n_mat * columns; the older form cannot tell them apart and has n_mat 1 */
    uint64_t n_mat;     /* at least 1 */
    float *sum, *count; /* [n_value], [n_mat] */
} fh_imatrix_entry;

typedef struct fh_imatrix fh_imatrix;

FH_MUST_USE fh_status fh_imatrix_new(fh_imatrix **out, uint32_t chunk_size, fh_err *err);
/* Either form, told apart by its first bytes. */
FH_MUST_USE fh_status fh_imatrix_open(fh_imatrix **out, const char *path, fh_err *err);
void fh_imatrix_free(fh_imatrix *m); /* NULL is fine */

size_t fh_imatrix_n_entry(const fh_imatrix *m);
const fh_imatrix_entry *fh_imatrix_get(const fh_imatrix *m, size_t i); /* by name, in byte order */
const fh_imatrix_entry *fh_imatrix_find(const fh_imatrix *m, fh_str name);
bool fh_imatrix_is_legacy(const fh_imatrix *m);
uint32_t fh_imatrix_n_chunk(const fh_imatrix *m), fh_imatrix_chunk_size(const fh_imatrix *m);
size_t fh_imatrix_n_dataset(const fh_imatrix *m);
fh_str fh_imatrix_dataset(const fh_imatrix *m, size_t i);

/* Sums and counts of one weight, added to what is there. Shapes must agree, but for the number of matrices where one
 * side has one count for all of them: it then counts for each. */
FH_MUST_USE fh_status fh_imatrix_add(fh_imatrix *m, fh_str name, uint64_t n_value, uint64_t n_mat, const float *sum,
                                     const float *count, fh_err *err);
FH_MUST_USE fh_status fh_imatrix_add_dataset(fh_imatrix *m, fh_str name, fh_err *err);
void fh_imatrix_add_chunks(fh_imatrix *m, uint32_t n);
/* Everything of another one. One of the older form does not say how many inputs it saw: its calls count for chunks of
 * m's chunk size (or 512). m itself is of the newer form: made by fh_imatrix_new. */
FH_MUST_USE fh_status fh_imatrix_merge(fh_imatrix *m, const fh_imatrix *from, fh_err *err);
/* Keeps (or drops) the entries whose name contains one of the parts. */
void fh_imatrix_filter(fh_imatrix *m, const char *const *part, size_t n, bool keep);

/* What quantizers take, [n_value]: sum / count; 1 for a matrix that saw no input. */
void fh_imatrix_weights(const fh_imatrix *m, const fh_imatrix_entry *e, float *out);

FH_MUST_USE fh_status fh_imatrix_write(const fh_imatrix *m, const char *path, fh_err *err);     /* GGUF */
FH_MUST_USE fh_status fh_imatrix_write_dat(const fh_imatrix *m, const char *path, fh_err *err); /* the older form */

#endif
