/* forge/feed.h - a model's keys and tensors as a GGUF file has them, whichever kind of file they come from.
 * SPDX-License-Identifier: Apache-2.0
 * GGUF: the tensors lie in the file and are read in place. Safetensors: what `convert` would write, computed tensor by
 * tensor when it is asked for, so that nothing goes through an intermediate file. Owns the model. Reading is for one
 * thread at a time. */
#ifndef FH_FORGE_FEED_H
#define FH_FORGE_FEED_H

#include "forge/convert.h"

typedef struct fh_feed fh_feed;

typedef struct fh_feed_options {
    bool keep_blocks;                          /* safetensors: 4-bit floats stay as blocks where GGUF has the same */
    bool no_tokenizer;                         /* safetensors: leave it out */
    void (*note)(void *ctx, const char *text); /* one line for people; may be NULL */
    void *ctx;
} fh_feed_options;

/* Takes the bundle, on failure too. opt may be NULL. */
FH_MUST_USE fh_status fh_feed_open(fh_feed **out, fh_bundle *b, const fh_feed_options *opt, fh_err *err);
void fh_feed_close(fh_feed *f); /* NULL is fine */

const fh_bundle *fh_feed_bundle(const fh_feed *f);
const fh_gguf *fh_feed_keys(const fh_feed *f); /* metadata; its tensors are of no interest */
size_t fh_feed_n_tensor(const fh_feed *f);
/* data.len is the number of bytes; data.ptr is NULL where they have to be read. */
const fh_tensor *fh_feed_get_tensor(const fh_feed *f, size_t i);
/* All bytes of one of its tensors, in order, in pieces of whole rows. */
FH_MUST_USE fh_status fh_feed_read(fh_feed *f, const fh_tensor *t, fh_sink *sink, void *ctx, fh_err *err);

#endif
