/* format/bundle_part.h - the inside of fh_bundle, for bundle.c and bundle_view.c alone.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_FORMAT_BUNDLE_PART_H
#define FH_FORMAT_BUNDLE_PART_H

#include "format/bundle.h"

typedef struct fh_bundle_part {
    fh_map *map;
    fh_gguf *gguf; /* one of the two */
    fh_st *st;
} fh_bundle_part;

struct fh_bundle {
    fh_form form;
    char *path, *folder; /* folder: NULL for the built-in model */
    fh_bundle_part *part;
    size_t n_part;
    fh_tensor *tensor;            /* [n_tensor], copies with .part set */
    const fh_tensor **tensor_ptr; /* [n_tensor] */
    size_t n_tensor;
    fh_arena arena; /* of the weights */
    fh_weights weights;
    fh_hf_config *config;
};

#endif
