/* base/sign.c - SPDX-License-Identifier: Apache-2.0 */
#include "base/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"

#define MOST_PEM ((size_t)64 << 10)

struct fh_signer {
    EVP_PKEY *key;
};

static fh_status refused(fh_err *err) { return fh_fail(err, FH_ERR_UNSUPPORTED, "libcrypto refused Ed25519"); }

/* No question for a password is ever asked. */
static int no_password(char *buf, int size, int rwflag, void *ctx) {
    (void)buf, (void)size, (void)rwflag, (void)ctx;
    return -1;
}

static fh_status read_pem(EVP_PKEY **out, const char *path, bool may_be_public, fh_err *err) {
    fh_buf text;
    EVP_PKEY *key = NULL;
    fh_buf_init(&text, MOST_PEM);
    fh_status st = fh_file_read(path, &text, err);
    for (int i = 0; st == FH_OK && !key && i < (may_be_public ? 2 : 1); i++) {
        BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
        if (bio && i == 0) key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
        if (bio && i == 1) key = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
        BIO_free(bio);
    }
    if (text.ptr) OPENSSL_cleanse(text.ptr, text.len);
    fh_buf_release(&text);
    if (st != FH_OK) return st;
    if (key && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519) {
        *out = key;
        return FH_OK;
    }
    EVP_PKEY_free(key);
    fh_fail(err, FH_ERR_FORMAT, "no Ed25519 %skey in PEM without a password", may_be_public ? "" : "private ");
    fh_err_set_path(err, path);
    return FH_ERR_FORMAT;
}

fh_status fh_signer_open(fh_signer **out, const char *path, fh_err *err) {
    fh_signer *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    fh_status st = read_pem(&s->key, path, false, err);
    if (st == FH_OK) *out = s;
    else fh_free(s);
    return st;
}

void fh_signer_free(fh_signer *s) {
    if (!s) return;
    EVP_PKEY_free(s->key);
    fh_free(s);
}

static fh_status write_new(const char *path, const char *text, size_t n, fh_err *err) {
    int fd = FH_FAULT(FH_FAULT_OPEN) ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return fh_fail_errno(err, "create", path);
    fh_status st = FH_OK;
    if ((FH_FAULT(FH_FAULT_WRITE) ? -1 : write(fd, text, n)) != (ssize_t)n) st = fh_fail_errno(err, "write", path);
    if (st == FH_OK && (FH_FAULT(FH_FAULT_FSYNC) ? -1 : fsync(fd)) != 0) st = fh_fail_errno(err, "sync", path);
    close(fd);
    if (st != FH_OK) unlink(path);
    return st;
}

fh_status fh_signer_make(const char *path, fh_err *err) {
    char *text = NULL;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *bio = BIO_new(BIO_s_mem());
    fh_status st =
        key && bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 ? FH_OK : refused(err);
    long n = st == FH_OK ? BIO_get_mem_data(bio, &text) : 0;
    if (st == FH_OK) st = write_new(path, text, (size_t)n, err);
    if (text) OPENSSL_cleanse(text, (size_t)n);
    BIO_free(bio);
    EVP_PKEY_free(key);
    return st;
}

static fh_status public_of(EVP_PKEY *key, uint8_t out[FH_SIGN_KEY_BYTES], fh_err *err) {
    size_t n = FH_SIGN_KEY_BYTES;
    return EVP_PKEY_get_raw_public_key(key, out, &n) == 1 && n == FH_SIGN_KEY_BYTES ? FH_OK : refused(err);
}

fh_status fh_signer_public(const fh_signer *s, uint8_t key[FH_SIGN_KEY_BYTES], fh_err *err) {
    return public_of(s->key, key, err);
}

fh_status fh_signer_sign(const fh_signer *s, fh_bytes data, uint8_t sig[FH_SIGN_BYTES], fh_err *err) {
    size_t n = FH_SIGN_BYTES;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, s->key) == 1 &&
              EVP_DigestSign(ctx, sig, &n, data.ptr, data.len) == 1 && n == FH_SIGN_BYTES;
    EVP_MD_CTX_free(ctx);
    return ok ? FH_OK : refused(err);
}

fh_status fh_sign_read_public(const char *path, uint8_t key[FH_SIGN_KEY_BYTES], fh_err *err) {
    EVP_PKEY *pkey = NULL;
    FH_TRY(read_pem(&pkey, path, true, err));
    fh_status st = public_of(pkey, key, err);
    EVP_PKEY_free(pkey);
    return st;
}

fh_status fh_sign_check(const uint8_t key[FH_SIGN_KEY_BYTES], fh_bytes data, const uint8_t sig[FH_SIGN_BYTES],
                        fh_err *err) {
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, FH_SIGN_KEY_BYTES);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    fh_status st = pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 ? FH_OK : refused(err);
    if (st == FH_OK && EVP_DigestVerify(ctx, sig, FH_SIGN_BYTES, data.ptr, data.len) != 1)
        st = fh_fail(err, FH_ERR_CORRUPT, "the signature does not fit: what was signed is not what is here");
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return st;
}

fh_status fh_sign_fingerprint(const uint8_t key[FH_SIGN_KEY_BYTES], char hex[FH_SHA256_HEX], fh_err *err) {
    return fh_sha256_of((fh_bytes){key, FH_SIGN_KEY_BYTES}, hex, err);
}
