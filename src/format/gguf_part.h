/* format/gguf_part.h - what the gguf_*.c files share; nobody else includes it.
 * SPDX-License-Identifier: Apache-2.0
 * One set of rules for keys, values and tensors, so that this program never writes a file that it
 * would refuse; and the index from names to positions. Owns nothing. */
#ifndef FH_FORMAT_GGUF_PART_H
#define FH_FORMAT_GGUF_PART_H

#include "base/cursor.h"
#include "format/gguf.h"

#define FH_GGUF_MAX_KEY 65535u       /* the format's own limit */
#define FH_GGUF_MAX_TENSOR_NAME 512u /* ggml stops at 63; a cap keeps messages and indexes sane */
#define FH_GGUF_MAX_DEPTH 4u         /* arrays within arrays */
#define FH_GGUF_MAX_DIMS 4u
#define FH_GGUF_MAX_ENTRIES ((1u << 24) - 1) /* keys, and tensors: positions take 24 bits */
#define FH_GGUF_ALIGNMENT_KEY "general.alignment"
#define FH_GGUF_ALIGNMENT_DEFAULT 32u

static inline bool fh_gguf_alignment_ok(uint32_t a) { return fh_is_pow2(a) && a >= 8 && a <= 65536; }

/* ---- rules; `at` is the byte to name in the error, or FH_NO_OFFSET ---- */
/* kind is "key" or "tensor name": not empty, not longer than max, UTF-8 without NUL. */
FH_MUST_USE fh_status fh_gguf_check_name(const char *kind, fh_str name, size_t max, uint64_t at, fh_err *err);
/* Moves c behind a value of kv's type (elem and n: an array), which are within their enum. Offsets
 * in errors are positions of c; `at` is where n or the value is. */
FH_MUST_USE fh_status fh_gguf_skip_value(fh_cursor *c, const fh_gguf_kv *kv, size_t at, fh_err *err);
/* Element type, which is known then, and count: what an array starts with. */
FH_MUST_USE fh_status fh_gguf_read_array(fh_cursor *c, fh_str key, fh_gguf_type *elem, uint64_t *n, fh_err *err);
/* At most 4 dimensions, none of them zero, rows of whole blocks, a size that fits; gives it. */
FH_MUST_USE fh_status fh_gguf_check_shape(fh_str name, fh_dtype dtype, const fh_shape *shape, uint64_t at,
                                          uint64_t *bytes, fh_err *err);
size_t fh_gguf_type_bytes(fh_gguf_type t); /* 0 for strings and arrays */

/* ---- names: an open hash table over an array of structs whose first member is the fh_str ----
 * The hash is keyed by what no file can know, so a file cannot be made to collide. */
typedef struct fh_gguf_names {
    uint32_t *slot; /* [n_slot] position + 1 and 8 bits of hash; 0 = free. At most 3/4 full */
    size_t n_slot;  /* a power of two, or 0 */
    uint32_t key[2];
} fh_gguf_names;

size_t fh_gguf_names_slots(size_t n); /* slots that n names need */
/* Takes over an array of n_slot zeroed slots. */
void fh_gguf_names_init(fh_gguf_names *x, uint32_t *slot, size_t n_slot);
bool fh_gguf_names_find(const fh_gguf_names *x, const void *items, size_t stride, fh_str name, size_t *at);
/* Enters item i, unless its name stands already: then false, *first says where. */
bool fh_gguf_names_add(fh_gguf_names *x, const void *items, size_t stride, size_t i, size_t *first);

#endif
