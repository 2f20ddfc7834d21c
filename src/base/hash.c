/* base/hash.c - SHA-256 and git's SHA-1 by libcrypto's EVP interface.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <openssl/evp.h>
#include <stdio.h>

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

static void put_hex(char *hex, const unsigned char *digest, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[2 * n] = '\0';
}

fh_status fh_sha256_finish(fh_sha256 *h, char hex[FH_SHA256_HEX], fh_err *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!EVP_DigestFinal_ex(h->ctx, digest, &n) || n != FH_SHA256_BYTES ||
        !EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL))
        return refused(err);
    put_hex(hex, digest, n);
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

bool fh_sha256_is_hex(fh_str s) {
    if (s.len != 2 * FH_SHA256_BYTES) return false;
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f'))) return false;
    return true;
}

/* ---- git ---- */

struct fh_git_blob {
    EVP_MD_CTX *ctx;
};

static fh_status no_sha1(fh_err *err) { return fh_fail(err, FH_ERR_UNSUPPORTED, "libcrypto refused SHA-1"); }

fh_status fh_git_blob_new(fh_git_blob **out, uint64_t bytes, fh_err *err) {
    char head[40];
    fh_git_blob *h = fh_alloc_zero(1, sizeof *h);
    if (!h) return fh_fail_memory(err, sizeof *h);
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)bytes);
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || !EVP_DigestInit_ex(h->ctx, EVP_sha1(), NULL) || !EVP_DigestUpdate(h->ctx, head, (size_t)n + 1)) {
        fh_git_blob_free(h);
        return no_sha1(err);
    }
    *out = h;
    return FH_OK;
}

void fh_git_blob_free(fh_git_blob *h) {
    if (!h) return;
    EVP_MD_CTX_free(h->ctx);
    fh_free(h);
}

fh_status fh_git_blob_add(fh_git_blob *h, const void *data, size_t n, fh_err *err) {
    return EVP_DigestUpdate(h->ctx, data, n) ? FH_OK : no_sha1(err);
}

fh_status fh_git_blob_finish(fh_git_blob *h, char hex[FH_GIT_HEX], fh_err *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!EVP_DigestFinal_ex(h->ctx, digest, &n) || 2 * n + 1 != FH_GIT_HEX) return no_sha1(err);
    put_hex(hex, digest, n);
    return FH_OK;
}
