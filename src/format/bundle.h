/* format/bundle.h - a model's files, opened in place: GGUF (one file or a split set) or safetensors (one file or a
 * SPDX-License-Identifier: Apache-2.0
 * Hugging Face folder). One kind of thing for everything behind it: stored tensors, logical weights, metadata.
 * Owns: the mappings, the directories, the side files. Immutable once open; threads may share it.
 * Everything is checked in fh_bundle_open: format, split and shard sets complete and consistent, layouts. */
#ifndef FH_FORMAT_BUNDLE_H
#define FH_FORMAT_BUNDLE_H

#include "format/gguf.h"
#include "format/hf_config.h"
#include "format/packed.h"
#include "format/safetensors.h"

typedef enum fh_form { FH_FORM_GGUF, FH_FORM_SAFETENSORS } fh_form;

typedef struct fh_bundle fh_bundle;

/* path: a .gguf (any part of a split set names the set), a .safetensors, its index, or a Hugging Face folder.
 * Kinds are decided by content, not by the name's ending. */
FH_MUST_USE fh_status fh_bundle_open(fh_bundle **out, const char *path, fh_err *err);
/* The model built into the binary: a GGUF in memory. */
FH_MUST_USE fh_status fh_bundle_open_static(fh_bundle **out, fh_bytes gguf, const char *name, fh_err *err);
void fh_bundle_close(fh_bundle *b); /* NULL is fine */

fh_form fh_bundle_form(const fh_bundle *b);
const char *fh_bundle_path(const fh_bundle *b);   /* as opened */
const char *fh_bundle_folder(const fh_bundle *b); /* where side files are, or NULL */
size_t fh_bundle_n_part(const fh_bundle *b);      /* files with tensors */
const char *fh_bundle_part_path(const fh_bundle *b, size_t i);
fh_bytes fh_bundle_part_data(const fh_bundle *b, size_t i); /* the whole file */

size_t fh_bundle_n_tensor(const fh_bundle *b);
const fh_tensor *fh_bundle_get_tensor(const fh_bundle *b, size_t i);
const fh_weights *fh_bundle_weights(const fh_bundle *b);
const fh_weight *fh_bundle_find_weight(const fh_bundle *b, fh_str name); /* NULL if absent */

const fh_gguf *fh_bundle_gguf(const fh_bundle *b, size_t part); /* NULL for safetensors; part 0 has the metadata */
const fh_st *fh_bundle_st(const fh_bundle *b, size_t part);     /* NULL for GGUF */
const fh_hf_config *fh_bundle_hf_config(const fh_bundle *b);    /* of config.json, or NULL */
const fh_json_node *fh_bundle_config(const fh_bundle *b);       /* its root, or NULL */

/* A file beside the model ("tokenizer.json"), read whole into out, which is initialized here with the limit and is
 * the caller's to release on success. FH_ERR_NOT_FOUND when it is not there. */
FH_MUST_USE fh_status fh_bundle_read_side(const fh_bundle *b, const char *name, size_t limit, fh_buf *out, fh_err *err);

/* These bytes of a part will not be read soon: their pages may go (they come back from the file when they are). */
void fh_bundle_drop(const fh_bundle *b, fh_bytes bytes);

/* After reading data that matters: did any file shrink under us? */
FH_MUST_USE fh_status fh_bundle_check(const fh_bundle *b, fh_err *err);

#endif
