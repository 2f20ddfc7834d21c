/* library/crate.h - a model packed for machines without a network: a tar file whose list is signed.
 * SPDX-License-Identifier: Apache-2.0
 *   freehold-bundle.json   {"freehold_bundle": 1, "model": {as in a lock}, "extra": [{name, bytes, sha256}]}
 *   freehold-bundle.sig    {"algorithm": "ed25519", "public_key": hex, "signature": hex}, over the list's bytes
 *   blobs/sha256-<hex>     each content once, in the order of the list
 * tar and sha256sum can look into it. Reading: the signature first, by a key that the reader trusts; then each blob
 * against the list while it is copied. An archive in any other order or with anything else in it is refused. Nothing
 * gets its final name before its digest was right; the model's name comes last. */
#ifndef FH_LIBRARY_CRATE_H
#define FH_LIBRARY_CRATE_H

#include "base/json.h"
#include "base/sign.h"
#include "library/store.h"

typedef struct fh_crate_extra {
    fh_str name; /* "passport.json", "eval.json" */
    char digest[FH_SHA256_HEX];
    uint64_t bytes;
    fh_str text; /* when packing: the content */
} fh_crate_extra;

typedef void fh_crate_progress(void *ctx, uint64_t done, uint64_t total);

typedef struct fh_crate_pack_options {
    const fh_signer *signer;
    fh_crate_extra *extra; /* [n_extra]; digests are filled here */
    size_t n_extra;
    fh_crate_progress *progress; /* or NULL */
    void *ctx;
} fh_crate_pack_options;

/* Every blob is proven while it is copied: a damaged library makes no archive. */
FH_MUST_USE fh_status fh_crate_pack(const char *path, fh_store *s, const fh_store_model *m,
                                    const fh_crate_pack_options *o, fh_err *err);

typedef struct fh_crate_unpack_options {
    /* Says whether this signer is trusted; a refusal is its error. Called before anything else is read. */
    fh_status (*trust)(void *ctx, const uint8_t key[FH_SIGN_KEY_BYTES], fh_err *err);
    void *trust_ctx;
    const char *as;           /* name in the library, or NULL: as packed */
    const char *extra_folder; /* where extras go; NULL: they are proven and left */
    bool check;               /* prove everything, keep nothing */
    fh_crate_progress *progress;
    void *ctx;
} fh_crate_unpack_options;

typedef struct fh_crate {
    fh_arena arena;
    fh_store_model model;
    fh_crate_extra *extra; /* [n_extra] */
    size_t n_extra;
    uint8_t key[FH_SIGN_KEY_BYTES];
} fh_crate;

/* s may be NULL with check. */
FH_MUST_USE fh_status fh_crate_unpack(fh_crate *out, const char *path, fh_store *s, const fh_crate_unpack_options *o,
                                      fh_err *err);
void fh_crate_release(fh_crate *c);

#endif
