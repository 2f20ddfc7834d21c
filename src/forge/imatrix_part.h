/* forge/imatrix_part.h - inside an importance matrix (private to forge/imatrix*.c).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_FORGE_IMATRIX_PART_H
#define FH_FORGE_IMATRIX_PART_H

#include "forge/imatrix.h"

#define FH_IMATRIX_MEMORY ((size_t)1 << 33) /* 61 layers of 256 experts with 7168 columns take 1 GiB */
#define FH_IMATRIX_ENTRIES ((size_t)1 << 16)
#define FH_IMATRIX_DATASETS ((size_t)4096)

struct fh_imatrix {
    fh_arena arena;          /* names and numbers */
    fh_imatrix_entry *entry; /* [n_entry], by name */
    size_t n_entry, cap_entry;
    fh_str *dataset; /* [n_dataset] */
    size_t n_dataset, cap_dataset;
    uint32_t n_chunk, chunk_size;
    bool legacy;
};

fh_status fh_imatrix_read_gguf(fh_imatrix *m, fh_bytes file, fh_err *err);
fh_status fh_imatrix_read_dat(fh_imatrix *m, fh_bytes file, fh_err *err);

#endif
