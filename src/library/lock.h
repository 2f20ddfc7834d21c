/* library/lock.h - a file that pins models by digest: what a team agrees to run.
 * SPDX-License-Identifier: Apache-2.0
 * JSON: {"freehold_lock": 1, "models": [{name, source, revision, entry, id, files: [{path, role, bytes, sha256}]}]}.
 * A lock comes from elsewhere: names and paths are held to the library's rules, and each id to its files. */
#ifndef FH_LIBRARY_LOCK_H
#define FH_LIBRARY_LOCK_H

#include "base/json.h"
#include "library/store.h"

void fh_lock_write(fh_buf *out, const fh_store_model *m, size_t n);
/* One model as an object, as it stands in a lock. */
void fh_lock_write_model(fh_json_writer *w, const fh_store_model *m);
/* Texts live in the arena. */
FH_MUST_USE fh_status fh_lock_read(fh_str text, fh_arena *arena, fh_store_model **out, size_t *n, fh_err *err);
FH_MUST_USE fh_status fh_lock_read_model(const fh_json_node *node, fh_arena *arena, fh_store_model *out, fh_err *err);
/* What pull takes to get exactly this revision: "hf.co/owner/repo@commit:Q4_K_M", "host/name@sha256:...". False where
 * the source is nothing that can be pulled. */
bool fh_lock_pinned(const fh_store_model *m, char *out, size_t size);
/* All its blobs are here with their sizes. */
bool fh_lock_is_here(const fh_store *s, const fh_store_model *m);

#endif
