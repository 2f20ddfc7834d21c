/* library/verify.h - is every byte of a model where it should be?
 * SPDX-License-Identifier: Apache-2.0
 * Three questions: (1) structure: answered by opening it; (2) checksums, where some are recorded: a blob named by its
 * digest (Ollama's store, Hugging Face's cache), NAME.sha256, or SHA256SUMS beside it; (3) numbers: every value decodes
 * to a finite number. What has no recorded checksum is said to have none. */
#ifndef FH_LIBRARY_VERIFY_H
#define FH_LIBRARY_VERIFY_H

#include "library/scan.h"

typedef struct fh_verify_file {
    const char *path;
    uint64_t bytes;
    char expected[FH_SHA256_HEX], actual[FH_SHA256_HEX]; /* "" when nothing is recorded */
    const char *recorded_in;                             /* "its name", "SHA256SUMS", "NAME.sha256"; NULL */
} fh_verify_file;

typedef struct fh_verify {
    fh_arena arena;
    fh_verify_file *file; /* [n_file] */
    size_t n_file;
    fh_scan *scan; /* [n_scan], in the order of the bundle's weights */
    size_t n_scan;
    uint64_t n_value, n_bad, n_wrong_file; /* n_wrong_file: checksums that differ */
} fh_verify;

/* An answer of "no" is FH_OK with n_bad or n_wrong_file set; only not being able to look is a failure. */
FH_MUST_USE fh_status fh_verify_bundle(fh_verify *out, const fh_bundle *b, fh_pool *pool, fh_scan_progress *progress,
                                       void *ctx, fh_err *err);
void fh_verify_release(fh_verify *v);

#endif
