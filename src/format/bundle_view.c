/* format/bundle_view.c - reading an open bundle.
 * SPDX-License-Identifier: Apache-2.0 */
#include "format/bundle_part.h"

fh_form fh_bundle_form(const fh_bundle *b) { return b->form; }
const char *fh_bundle_path(const fh_bundle *b) { return b->path; }
const char *fh_bundle_folder(const fh_bundle *b) { return b->folder; }
size_t fh_bundle_n_part(const fh_bundle *b) { return b->n_part; }
const char *fh_bundle_part_path(const fh_bundle *b, size_t i) { return fh_map_path(b->part[i].map); }
void fh_bundle_drop(const fh_bundle *b, fh_bytes bytes) {
    for (size_t i = 0; i < b->n_part; i++) {
        fh_bytes part = fh_map_bytes(b->part[i].map);
        if (bytes.ptr < part.ptr || bytes.ptr >= part.ptr + part.len) continue;
        fh_map_advise(b->part[i].map, (size_t)(bytes.ptr - part.ptr), bytes.len, FH_MAP_DROP);
    }
}

fh_bytes fh_bundle_part_data(const fh_bundle *b, size_t i) { return fh_map_bytes(b->part[i].map); }
size_t fh_bundle_n_tensor(const fh_bundle *b) { return b->n_tensor; }
const fh_tensor *fh_bundle_get_tensor(const fh_bundle *b, size_t i) { return &b->tensor[i]; }
const fh_weights *fh_bundle_weights(const fh_bundle *b) { return &b->weights; }
const fh_gguf *fh_bundle_gguf(const fh_bundle *b, size_t part) { return b->part[part].gguf; }
const fh_st *fh_bundle_st(const fh_bundle *b, size_t part) { return b->part[part].st; }
const fh_hf_config *fh_bundle_hf_config(const fh_bundle *b) { return b->config; }
const fh_json_node *fh_bundle_config(const fh_bundle *b) { return b->config ? fh_hf_config_root(b->config) : NULL; }

/* Linear: for tests and single questions. The binder of a family walks the list once. */
const fh_weight *fh_bundle_find_weight(const fh_bundle *b, fh_str name) {
    for (size_t i = 0; i < b->weights.n; i++)
        if (fh_str_eq(b->weights.item[i].name, name)) return &b->weights.item[i];
    return NULL;
}

fh_status fh_bundle_check(const fh_bundle *b, fh_err *err) {
    for (size_t i = 0; i < b->n_part; i++) FH_TRY(fh_map_check(b->part[i].map, err));
    return FH_OK;
}
