/* library/pull.h - freehold pull: a published model into the library.
 * SPDX-License-Identifier: Apache-2.0
 * Listing first, then space, then bytes; the name is written when everything is there and proven. What is in the
 * library already is proven again rather than believed, and mended. Safe to kill anywhere; the next call goes on. */
#ifndef FH_LIBRARY_PULL_H
#define FH_LIBRARY_PULL_H

#include "library/fetch.h"
#include "library/store.h"

typedef struct fh_pull_options {
    const char *endpoint; /* or NULL: the usual address of the hub */
    const char *as;       /* name in the library, or NULL: as pulled */
    const char *want_id;  /* or NULL: the model must come out as this one, or nothing gets a name */
    const char *source;   /* what is noted as its source, or NULL: what was asked for */
    bool all;             /* every file of a repository that is not pickle */
    bool dry_run;         /* only say what would be fetched */
    bool keep_before;     /* what the name stood for stays, for rollback */
    fh_fetch_options fetch;
    void (*check)(void *ctx, uint64_t done, uint64_t total); /* bytes of what was here, proven again; may be NULL */
} fh_pull_options;

typedef struct fh_pull_result {
    fh_arena arena;
    fh_store_model model; /* with dry_run: digests may be missing, id is "" */
    uint64_t n_here, n_mended;
    uint64_t bytes_here, bytes_fetched; /* proven in the library; fetched now, or (dry_run) to fetch */
    bool unchanged;                     /* the name stood for just this before */
    char folder[FH_PATH_MAX];           /* of the model in the library; "" with dry_run */
} fh_pull_result;

FH_MUST_USE fh_status fh_pull(fh_pull_result *out, const char *model, const fh_pull_options *o, fh_err *err);
void fh_pull_result_release(fh_pull_result *r);

#endif
