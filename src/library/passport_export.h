/* library/passport_export.h - handing a model on: its weights with everything that its terms want beside them.
 * SPDX-License-Identifier: Apache-2.0
 * Refused where the verdict forbids. Files are written whole or not at all; a folder that holds anything is left
 * alone. Text that a licence wants shown is written to NOTICE in its own words. */
#ifndef FH_LIBRARY_PASSPORT_EXPORT_H
#define FH_LIBRARY_PASSPORT_EXPORT_H

#include "library/passport.h"

typedef void fh_export_progress(void *ctx, uint64_t done, uint64_t total);

typedef struct fh_export_options {
    const fh_passport *passport;
    bool accept_unknown; /* also where the verdict is unknown */
    uint64_t now;
    fh_export_progress *progress; /* bytes of weights; or NULL */
    void *progress_ctx;
} fh_export_options;

typedef struct fh_export_result {
    fh_arena arena;
    fh_str *file; /* [n] names that were written */
    size_t n;
    uint64_t bytes;
} fh_export_result;

/* FH_ERR_DENIED: the terms do not let you. */
FH_MUST_USE fh_status fh_passport_export(fh_export_result *out, const char *model, const char *folder,
                                         const fh_export_options *opt, fh_err *err);
void fh_export_result_release(fh_export_result *r);

#endif
