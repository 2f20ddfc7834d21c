/* forge/stamp.h - a few keys more in a GGUF that is there already.
 * SPDX-License-Identifier: Apache-2.0
 * Everything else stays as it is: other keys in their order, tensors byte for byte. The new file is written beside the
 * old one and takes its name when it is whole, so there is no moment without a good file; whoever has the old one open
 * keeps it. Of a split set the first file is stamped, which is the one with the metadata. */
#ifndef FH_FORGE_STAMP_H
#define FH_FORGE_STAMP_H

#include "format/bundle.h"

typedef struct fh_stamp {
    const char *key;
    enum { FH_STAMP_TEXT, FH_STAMP_WHOLE, FH_STAMP_NUMBER } kind;
    fh_str text;
    uint64_t whole;
    double number;
} fh_stamp;

/* Keys that begin with one of the prefixes go; then come these. FH_ERR_UNSUPPORTED: no GGUF, or not in a file. */
FH_MUST_USE fh_status fh_stamp_write(const fh_bundle *b, const char *const *prefix, size_t n_prefix, const fh_stamp *v,
                                     size_t n, fh_err *err);

#endif
