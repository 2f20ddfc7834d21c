/* format/adapter_part.h - what adapter.c and its two forms share; for no other file.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_FORMAT_ADAPTER_PART_H
#define FH_FORMAT_ADAPTER_PART_H

#include "base/json.h"
#include "format/adapter.h"
#include "format/gguf.h"
#include "format/safetensors.h"

typedef enum fh_adapter_role {
    FH_ADAPTER_A,
    FH_ADAPTER_B,
    FH_ADAPTER_EMBEDDING_A,
    FH_ADAPTER_EMBEDDING_B,
    FH_ADAPTER_MAGNITUDE,
    FH_ADAPTER_B_BIAS,
    FH_ADAPTER_SAVED,
    FH_ADAPTER_ROLES
} fh_adapter_role;

/* One stored tensor and what it is to which module. */
typedef struct fh_adapter_entry {
    fh_str module;
    fh_adapter_role role;
    const fh_tensor *tensor;
} fh_adapter_entry;

struct fh_adapter {
    fh_adapter_info info;
    fh_arena arena; /* pairs, saved, text */
    fh_map *map;
    fh_st *st;
    fh_gguf *gguf;
    fh_json *config;
    fh_adapter_pair *pair;   /* [n_pair] sorted by module */
    fh_adapter_saved *saved; /* [n_saved] sorted by name */
    size_t n_pair, n_saved;
};

/* Reads the folder or file and fills info; entries [n] by fh_alloc, the caller frees them. */
FH_MUST_USE fh_status fh_adapter_read_peft(fh_adapter *a, const char *folder, fh_adapter_entry **out, size_t *n,
                                           fh_err *err);
FH_MUST_USE fh_status fh_adapter_read_gguf(fh_adapter *a, const char *path, fh_adapter_entry **out, size_t *n,
                                           fh_err *err);
/* Rank, alpha and scale that the adapter's config gives a module; r = 0: any. */
FH_MUST_USE fh_status fh_adapter_scale_peft(const fh_adapter *a, fh_str module, uint64_t *r, double *alpha,
                                            fh_err *err);

#endif
