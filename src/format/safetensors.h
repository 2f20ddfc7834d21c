/* format/safetensors.h - one safetensors file, read in place.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: the directory. Borrows: the bytes, which must outlive it.
 * Input is hostile: header length, JSON, dtypes, shapes and offsets are checked in fh_st_open and nowhere later.
 * Invariants: (1) tensors cover the data section exactly: no hole, no overlap, nothing behind; (2) each range has
 * exactly the bytes its dtype and shape need; (3) no name stands twice; (4) __metadata__ maps text to text.
 * Stricter than the reference implementation (0.8) in these points: the header starts with '{'; names, metadata
 * keys and members of an entry are unique and known; entries are objects; at most 8 dimensions; dimensions
 * multiply to 64 bits even where one of them is 0; __metadata__ is an object where it is there. */
#ifndef FH_FORMAT_SAFETENSORS_H
#define FH_FORMAT_SAFETENSORS_H

#include "base/file.h"
#include "base/json.h"
#include "tensor/tensor.h"

#define FH_ST_MAX_HEADER 100000000u /* as the reference implementation */

typedef struct fh_st fh_st;

/* Memory stays under 2 x the file + 16 MiB (FH_ERR_LIMIT). Errors carry the byte offset in the file. */
FH_MUST_USE fh_status fh_st_open(fh_st **out, fh_bytes file, fh_err *err);
void fh_st_close(fh_st *s); /* NULL is fine */
size_t fh_st_n_tensor(const fh_st *s);
const fh_tensor *fh_st_get_tensor(const fh_st *s, size_t i);     /* in the order of the header */
const fh_tensor *fh_st_find_tensor(const fh_st *s, fh_str name); /* NULL if absent */
size_t fh_st_n_meta(const fh_st *s);
void fh_st_get_meta(const fh_st *s, size_t i, fh_str *key, fh_str *value);
uint64_t fh_st_data_offset(const fh_st *s);

/* ---- writing: header keys in the order added, tensors in the order added; header padded with spaces to 8 ----
 * Data lies in that order too. A reader that views tensors in place needs them aligned: add tensors of wide
 * elements first, or let fh_st_build_sort put them in the reference writer's order (widest dtype first, then by
 * name). Names, keys and values are copied. */
typedef struct fh_st_build fh_st_build;
FH_MUST_USE fh_status fh_st_build_new(fh_st_build **out, fh_err *err);
void fh_st_build_free(fh_st_build *b);
FH_MUST_USE fh_status fh_st_build_add_meta(fh_st_build *b, fh_str key, fh_str value, fh_err *err);
FH_MUST_USE fh_status fh_st_build_add_tensor(fh_st_build *b, const fh_tensor *t, fh_err *err); /* data borrowed */
FH_MUST_USE fh_status fh_st_build_sort(fh_st_build *b, fh_err *err);
/* Fills tensor i (in the order they are written) piece by piece into w, exactly its bytes. */
typedef fh_status fh_st_source(void *ctx, size_t i, const fh_tensor *t, fh_writer *w, fh_err *err);
/* NULL source: each tensor's data, which must have been given. Refuses a name or key that stands twice. */
FH_MUST_USE fh_status fh_st_write(const fh_st_build *b, const char *path, fh_st_source *source, void *ctx, fh_err *err);

/* ---- sharded checkpoints: model.safetensors.index.json ---- */
typedef struct fh_st_index fh_st_index;
/* Copies what it keeps: json need not outlive the index. Members other than weight_map are skipped. */
FH_MUST_USE fh_status fh_st_index_parse(fh_st_index **out, fh_str json, fh_err *err);
void fh_st_index_free(fh_st_index *x);
/* Shard file names, each once, sorted: plain names, never a path out of the folder. */
size_t fh_st_index_n_shard(const fh_st_index *x);
fh_str fh_st_index_get_shard(const fh_st_index *x, size_t i);
size_t fh_st_index_n_tensor(const fh_st_index *x);
/* Shard of a tensor, or false if the index does not name it. */
bool fh_st_index_find(const fh_st_index *x, fh_str tensor, size_t *shard);
/* all: the tensors of all shards, fh_tensor.part = shard. Every tensor of the index is in its shard and in no
 * other; no name stands in two shards. A tensor that the index leaves out is accepted once, as the reference
 * loader accepts it: it reads whole shards. */
FH_MUST_USE fh_status fh_st_index_check(const fh_st_index *x, const fh_tensor *const *all, size_t n, fh_err *err);

#endif
