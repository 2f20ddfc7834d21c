/* base/sign.h - Ed25519 signatures, from libcrypto; keys are PEM files as `openssl genpkey -algorithm ed25519` makes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_BASE_SIGN_H
#define FH_BASE_SIGN_H

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"

#define FH_SIGN_KEY_BYTES 32
#define FH_SIGN_BYTES 64

typedef struct fh_signer fh_signer; /* a private key */
FH_MUST_USE fh_status fh_signer_open(fh_signer **out, const char *path, fh_err *err);
void fh_signer_free(fh_signer *s); /* NULL is fine; the key is wiped */
/* A new key for this user alone; FH_ERR_EXISTS when something is at the path. */
FH_MUST_USE fh_status fh_signer_make(const char *path, fh_err *err);
FH_MUST_USE fh_status fh_signer_public(const fh_signer *s, uint8_t key[FH_SIGN_KEY_BYTES], fh_err *err);
FH_MUST_USE fh_status fh_signer_sign(const fh_signer *s, fh_bytes data, uint8_t sig[FH_SIGN_BYTES], fh_err *err);

/* A public key's PEM, or the public half of a private one's. */
FH_MUST_USE fh_status fh_sign_read_public(const char *path, uint8_t key[FH_SIGN_KEY_BYTES], fh_err *err);
/* FH_ERR_CORRUPT when the signature is not this key's over these bytes. */
FH_MUST_USE fh_status fh_sign_check(const uint8_t key[FH_SIGN_KEY_BYTES], fh_bytes data,
                                    const uint8_t sig[FH_SIGN_BYTES], fh_err *err);
/* SHA-256 of the public key, as people compare it. */
FH_MUST_USE fh_status fh_sign_fingerprint(const uint8_t key[FH_SIGN_KEY_BYTES], char hex[FH_SHA256_HEX], fh_err *err);

#endif
