/* tensor/dtype.h - element types: sizes and names, from dtype.def. No arithmetic on elements.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TENSOR_DTYPE_H
#define FH_TENSOR_DTYPE_H

#include "base/num.h"
#include "base/str.h"

typedef enum fh_dtype {
#define FH_DTYPE_ROW(id, name, cls, elems, bytes, gguf, st) FH_DTYPE_##id,
#include "tensor/dtype.def"
#undef FH_DTYPE_ROW
    FH_DTYPE_COUNT
} fh_dtype;

typedef enum fh_dtype_class {
    FH_DTYPE_CLASS_FLOAT,
    FH_DTYPE_CLASS_INT,
    FH_DTYPE_CLASS_BITS,
    FH_DTYPE_CLASS_BLOCK
} fh_dtype_class;

typedef struct fh_dtype_info {
    const char *name;
    fh_dtype_class cls;
    uint32_t block_elems, block_bytes;
    int gguf_id;         /* -1: GGUF has no such type */
    const char *st_name; /* NULL: safetensors has no such type */
} fh_dtype_info;

const fh_dtype_info *fh_dtype_get_info(fh_dtype t); /* t < FH_DTYPE_COUNT */
const char *fh_dtype_name(fh_dtype t);
/* false when the id or name is unknown. */
bool fh_dtype_from_gguf(uint32_t id, fh_dtype *out);
bool fh_dtype_from_safetensors(fh_str name, fh_dtype *out);
bool fh_dtype_from_name(fh_str name, fh_dtype *out); /* any letter case: what users type */
/* Why an id that fh_dtype_from_gguf does not know is refused: "removed from the format", a fork's type, unknown. */
const char *fh_dtype_gguf_refusal(uint32_t id);
/* Bytes that n_elem elements take; false when they are no whole number of blocks or the size does not fit. */
FH_MUST_USE bool fh_dtype_bytes(fh_dtype t, uint64_t n_elem, uint64_t *bytes);
double fh_dtype_bits(fh_dtype t); /* per element, scales included */

#endif
