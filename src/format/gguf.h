/* format/gguf.h - one GGUF file, versions 2 and 3, read in place.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: the directory (keys, tensors). Borrows: the bytes, which must outlive it.
 * Input is hostile: every count, length, offset and type is checked in fh_gguf_open, nowhere later.
 * Invariants: (1) every key, string and array lies inside the bytes; (2) every tensor lies inside
 * the data section at an aligned offset and no two overlap; (3) no key and no tensor name stands
 * twice; (4) no dimension is zero. Holes between tensors and bytes behind the last one are allowed.
 * Memory stays under 2 x the file + 16 MiB whatever the counts in the header say. Opening costs
 * what the header costs; tensor data is not touched. Immutable once open: threads may share it. */
#ifndef FH_FORMAT_GGUF_H
#define FH_FORMAT_GGUF_H

#include "base/buf.h"
#include "base/file.h"
#include "tensor/tensor.h"

typedef enum fh_gguf_type {
    FH_GGUF_U8,
    FH_GGUF_I8,
    FH_GGUF_U16,
    FH_GGUF_I16,
    FH_GGUF_U32,
    FH_GGUF_I32,
    FH_GGUF_F32,
    FH_GGUF_BOOL,
    FH_GGUF_STR,
    FH_GGUF_ARRAY,
    FH_GGUF_U64,
    FH_GGUF_I64,
    FH_GGUF_F64,
    FH_GGUF_TYPE_COUNT
} fh_gguf_type;

typedef struct fh_gguf_kv {
    fh_str key;
    fh_gguf_type type;
    fh_gguf_type elem; /* of an array */
    uint64_t n;        /* elements of an array, 1 otherwise */
    fh_bytes payload;  /* as in the file; for a string its text; for an array its elements */
    uint64_t offset;   /* in the file: of its length (string), element type (array), else payload */
} fh_gguf_kv;

typedef struct fh_gguf fh_gguf;

/* FH_ERR_FORMAT: malformed, or no GGUF at all (the message says what it looks like).
 * FH_ERR_UNSUPPORTED: version 1, big-endian, element types that were removed or are unknown.
 * FH_ERR_LIMIT: arrays nested deeper than 4, or a directory that would take more memory than
 * allowed. Offsets are bytes of the file. Keys and tensor names are UTF-8 without NUL, of at most
 * 65535 and 512 bytes; strings are any bytes. */
FH_MUST_USE fh_status fh_gguf_open(fh_gguf **out, fh_bytes file, fh_err *err);
void fh_gguf_close(fh_gguf *g); /* NULL is fine */

uint32_t fh_gguf_version(const fh_gguf *g);
uint32_t fh_gguf_alignment(const fh_gguf *g);
/* Where the data section starts; the end of the file when there are no tensors and no padding. */
uint64_t fh_gguf_data_offset(const fh_gguf *g);

size_t fh_gguf_n_kv(const fh_gguf *g);
const fh_gguf_kv *fh_gguf_get_kv(const fh_gguf *g, size_t i);      /* in file order */
const fh_gguf_kv *fh_gguf_find(const fh_gguf *g, const char *key); /* NULL if absent */
size_t fh_gguf_n_tensor(const fh_gguf *g);
const fh_tensor *fh_gguf_get_tensor(const fh_gguf *g, size_t i);     /* in file order */
const fh_tensor *fh_gguf_find_tensor(const fh_gguf *g, fh_str name); /* NULL if absent */

/* Scalars, NULL-tolerant: false when the key is absent, of another kind, or does not fit. Any
 * integer type answers for an integer; a bool is not an integer; f64 also takes f32, and integers
 * up to 2^53. */
bool fh_gguf_to_u64(const fh_gguf_kv *kv, uint64_t *out);
bool fh_gguf_to_i64(const fh_gguf_kv *kv, int64_t *out);
bool fh_gguf_to_f64(const fh_gguf_kv *kv, double *out);
bool fh_gguf_to_bool(const fh_gguf_kv *kv, bool *out);
bool fh_gguf_to_str(const fh_gguf_kv *kv, fh_str *out);
/* Element i of an array of numbers or bools. */
bool fh_gguf_elem_u64(const fh_gguf_kv *kv, uint64_t i, uint64_t *out);
bool fh_gguf_elem_i64(const fh_gguf_kv *kv, uint64_t i, int64_t *out);
bool fh_gguf_elem_f64(const fh_gguf_kv *kv, uint64_t i, double *out);
bool fh_gguf_elem_bool(const fh_gguf_kv *kv, uint64_t i, bool *out);
/* Strings of an array, in order: start with *at = 0; false at the end or when it is no array of
 * strings. Arrays of arrays have no access of their own: payload is their elements, each a u32
 * type, a u64 count and the data, checked. */
bool fh_gguf_next_str(const fh_gguf_kv *kv, size_t *at, fh_str *out);
const char *fh_gguf_type_name(fh_gguf_type t); /* "u32", "str"; "unknown" beyond the enum */

/* ---- writing ----
 * Add keys and tensors, then write: version 3, each tensor padded to the alignment with zeros, the
 * last one too. Keys and tensors come out in the order added, so that a file read and written again
 * is byte-identical when this program wrote it, or a peer that pads likewise. Data is borrowed
 * until fh_gguf_write returns; keys, values and names are copied. */
typedef struct fh_gguf_build fh_gguf_build;
FH_MUST_USE fh_status fh_gguf_build_new(fh_gguf_build **out, fh_err *err);
void fh_gguf_build_free(fh_gguf_build *b);
/* What the reader would refuse is refused here; FH_ERR_EXISTS: the key stands already.
 * general.alignment (u32, power of two) may be added before or after the tensors. n and offset of a
 * scalar are ignored. */
FH_MUST_USE fh_status fh_gguf_build_add_kv(fh_gguf_build *b, const fh_gguf_kv *kv, fh_err *err);
FH_MUST_USE fh_status fh_gguf_build_add_u32(fh_gguf_build *b, const char *key, uint32_t v, fh_err *err);
FH_MUST_USE fh_status fh_gguf_build_add_u64(fh_gguf_build *b, const char *key, uint64_t v, fh_err *err);
FH_MUST_USE fh_status fh_gguf_build_add_f32(fh_gguf_build *b, const char *key, float v, fh_err *err);
FH_MUST_USE fh_status fh_gguf_build_add_bool(fh_gguf_build *b, const char *key, bool v, fh_err *err);
FH_MUST_USE fh_status fh_gguf_build_add_str(fh_gguf_build *b, const char *key, fh_str v, fh_err *err);
FH_MUST_USE fh_status fh_gguf_build_add_strs(fh_gguf_build *b, const char *key, const fh_str *v, size_t n, fh_err *err);
/* Name, dtype and shape; data may be NULL here and streamed by the source given to fh_gguf_write.
 * FH_ERR_UNSUPPORTED: a dtype that GGUF has no type for. */
FH_MUST_USE fh_status fh_gguf_build_add_tensor(fh_gguf_build *b, const fh_tensor *t, fh_err *err);
/* Fills tensor i piece by piece into w: exactly its bytes, anything else fails the write with
 * FH_ERR_USAGE. NULL source = use each tensor's data. On failure the file at path is untouched. */
typedef fh_status fh_gguf_source(void *ctx, size_t i, const fh_tensor *t, fh_writer *w, fh_err *err);
FH_MUST_USE fh_status fh_gguf_write(const fh_gguf_build *b, const char *path, fh_gguf_source *source, void *ctx,
                                    fh_err *err);
/* The same into an open writer, which stays the caller's. */
FH_MUST_USE fh_status fh_gguf_write_to(const fh_gguf_build *b, fh_writer *w, fh_gguf_source *source, void *ctx,
                                       fh_err *err);
/* The same, such that a process that died is gone on with, tensor by tensor, by the next call for this path with the
 * same header and salt: whatever the data depends on. Tensors that are there already are not asked for. A full disk
 * leaves the work there, too. */
FH_MUST_USE fh_status fh_gguf_write_resumable(const fh_gguf_build *b, const char *path, fh_str salt,
                                              fh_gguf_source *source, void *ctx, fh_err *err);

/* ---- split sets: name-00001-of-00003.gguf ---- */
typedef struct fh_gguf_split {
    uint32_t no, count; /* from the name, counting from 1 */
    fh_str prefix;      /* path before "-00001-of-00003.gguf" */
} fh_gguf_split;
bool fh_gguf_split_parse(fh_str path, fh_gguf_split *out);
/* Path of part no (from 1) of the set. */
FH_MUST_USE fh_status fh_gguf_split_path(char out[FH_PATH_MAX], const fh_gguf_split *s, uint32_t no, fh_err *err);

#endif
