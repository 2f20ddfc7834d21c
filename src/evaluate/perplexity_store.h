/* evaluate/perplexity_store.h - a measurement in the measured model's own file, and read back from there.
 * SPDX-License-Identifier: Apache-2.0
 * So that a quantized file says itself what it lost. Texts that were read are borrowed from the file, and anybody's
 * claim, like all metadata. */
#ifndef FH_EVALUATE_PERPLEXITY_STORE_H
#define FH_EVALUATE_PERPLEXITY_STORE_H

#include "evaluate/perplexity.h"
#include "format/bundle.h"

/* What a measurement was made with. */
typedef struct fh_perplexity_origin {
    fh_str by;          /* "freehold 0.1.0" */
    fh_str text;        /* the text's name, without its folder; with a base: that file's */
    fh_str text_sha256; /* lower-case hex */
    fh_str base;        /* or empty */
    uint32_t stride;
} fh_perplexity_origin;

typedef struct fh_perplexity_stored {
#define FH_STORED_TEXT fh_str
#define FH_STORED_WHOLE uint64_t
#define FH_STORED_NUMBER double
#define FH_STORED_ROW(kind, field, key) FH_STORED_##kind field;
#include "evaluate/perplexity_stored.def"
#undef FH_STORED_ROW
#undef FH_STORED_TEXT
#undef FH_STORED_WHOLE
#undef FH_STORED_NUMBER
} fh_perplexity_stored;

/* Replaces what an earlier measurement left: see forge/stamp.h. */
FH_MUST_USE fh_status fh_perplexity_store(const fh_bundle *b, const fh_perplexity *p, const fh_perplexity_origin *from,
                                          fh_err *err);
/* False where there is none. Fields that the file lacks are 0 or empty; numbers are finite. */
bool fh_perplexity_read_stored(const fh_gguf *g, fh_perplexity_stored *out);

#endif
