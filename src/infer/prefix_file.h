/* infer/prefix_file.h - the prefix cache of an engine in a file, so that it outlives the engine.
 * SPDX-License-Identifier: Apache-2.0
 * A file holds blocks of tokens with the pages of their state, newest first as far as they fit the ceiling, under the
 * salts of their sessions. It is for one model in one form: `key` (a digest of the weights), the layout of pages, types
 * of keys and values, exact or not. Another one's is refused, and so is one with a single wrong bit. What is taken in
 * is cached, not held: it goes when memory is needed, in the order in which it would have gone before. Sessions with
 * adapters or an encoder's input are left out.
 * The file holds what users wrote, as tokens: it belongs where only its owner reads. */
#ifndef FH_INFER_PREFIX_FILE_H
#define FH_INFER_PREFIX_FILE_H

#include "infer/engine.h"

/* With nobody else at the engine; what its sessions hold alone is left out. Nothing to keep: no file is written,
 * *n_token is 0. The file appears whole or not at all, also after a crash. stop (or NULL) is asked between records:
 * FH_ERR_CANCELLED, and what was there before stays. */
typedef bool fh_prefix_stop_fn(void *ctx);
FH_MUST_USE fh_status fh_prefix_file_write(fh_engine *e, const char *path, fh_str key, uint64_t most,
                                           fh_prefix_stop_fn *stop, void *ctx, uint64_t *n_token, fh_err *err);
/* FH_ERR_NOT_FOUND: no file. FH_ERR_FORMAT: of another model, form or version. FH_ERR_CORRUPT: damaged. Then, and
 * whatever fails, the engine is as it was, or has a part of it. */
FH_MUST_USE fh_status fh_prefix_file_read(fh_engine *e, const char *path, fh_str key, uint64_t *n_token, fh_err *err);

#endif
