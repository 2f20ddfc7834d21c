/* forge/quantize_part.h - what the files of quantize.h share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_FORGE_QUANTIZE_PART_H
#define FH_FORGE_QUANTIZE_PART_H

#include "forge/quantize.h"

/* quantize_keys.c: the new file's metadata, in the order in which peers write it. */
FH_MUST_USE fh_status fh_quantize_put_keys(const fh_quantize_plan *p, const fh_feed *f, fh_gguf_build *g,
                                           const fh_quantize_options *opt, fh_err *err);
/* What the data of the new file depends on beside its header, into out: which files of which age, which weights. */
FH_MUST_USE fh_status fh_quantize_salt(const fh_quantize_plan *p, const fh_feed *f, const fh_quantize_options *opt,
                                       fh_buf *out, fh_err *err);

#endif
