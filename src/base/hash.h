/* base/hash.h - SHA-256, and the name that git gives to content; from libcrypto, which uses the CPU's instructions.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_BASE_HASH_H
#define FH_BASE_HASH_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

#define FH_SHA256_BYTES 32
#define FH_SHA256_HEX 65 /* with the final NUL */

typedef struct fh_sha256 fh_sha256;
FH_MUST_USE fh_status fh_sha256_new(fh_sha256 **out, fh_err *err);
void fh_sha256_free(fh_sha256 *h); /* NULL is fine */
FH_MUST_USE fh_status fh_sha256_add(fh_sha256 *h, const void *data, size_t n, fh_err *err);
/* Writes the digest as lower-case hex and makes h ready for the next message. */
FH_MUST_USE fh_status fh_sha256_finish(fh_sha256 *h, char hex[FH_SHA256_HEX], fh_err *err);
FH_MUST_USE fh_status fh_sha256_of(fh_bytes data, char hex[FH_SHA256_HEX], fh_err *err);

bool fh_sha256_is_hex(fh_str s); /* 64 lower-case hex digits */

/* SHA-1 of "blob SIZE\0" and the content: how a git repository lists a file. It tells content apart; it does not
 * prove that nobody forged it. */
#define FH_GIT_HEX 41
typedef struct fh_git_blob fh_git_blob;
FH_MUST_USE fh_status fh_git_blob_new(fh_git_blob **out, uint64_t bytes, fh_err *err);
void fh_git_blob_free(fh_git_blob *h); /* NULL is fine */
FH_MUST_USE fh_status fh_git_blob_add(fh_git_blob *h, const void *data, size_t n, fh_err *err);
FH_MUST_USE fh_status fh_git_blob_finish(fh_git_blob *h, char hex[FH_GIT_HEX], fh_err *err);

#endif
