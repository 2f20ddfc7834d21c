/* base/hash.c - SHA-256 by libcrypto's EVP interface.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <openssl/evp.h>

#include "base/mem.h"

struct fh_sha256 {
    EVP_MD_CTX *ctx;
};

static fh_status refused(fh_err *err) { return fh_fail(err, FH_ERR_UNSUPPORTED, "libcrypto refused SHA-256"); }

fh_status fh_sha256_new(fh_sha256 **out, fh_err *err) {
    fh_sha256 *h = fh_alloc_zero(1, sizeof *h);
    if (!h) return fh_fail_memory(err, sizeof *h);
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || !EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL)) {
        fh_sha256_free(h);
        return refused(err);
    }
    *out = h;
    return FH_OK;
}

void fh_sha256_free(fh_sha256 *h) {
    if (!h) return;
    EVP_MD_CTX_free(h->ctx);
    fh_free(h);
}

fh_status fh_sha256_add(fh_sha256 *h, const void *data, size_t n, fh_err *err) {
    return EVP_DigestUpdate(h->ctx, data, n) ? FH_OK : refused(err);
}

fh_status fh_sha256_finish(fh_sha256 *h, char hex[FH_SHA256_HEX], fh_err *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!EVP_DigestFinal_ex(h->ctx, digest, &n) || n != FH_SHA256_BYTES ||
        !EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL))
        return refused(err);
    for (unsigned i = 0; i < n; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[2 * n] = '\0';
    return FH_OK;
}

fh_status fh_sha256_of(fh_bytes data, char hex[FH_SHA256_HEX], fh_err *err) {
    fh_sha256 *h = NULL;
    fh_status st = fh_sha256_new(&h, err);
    if (st == FH_OK) st = fh_sha256_add(h, data.ptr, data.len, err);
    if (st == FH_OK) st = fh_sha256_finish(h, hex, err);
    fh_sha256_free(h);
    return st;
}
