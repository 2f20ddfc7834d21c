/* serve/http_tls.c - TLS for a listener, by libssl under libevent.
 * SPDX-License-Identifier: Apache-2.0
 * TLS 1.3; 1.2 only where it is asked for. No session tickets are kept across restarts, nothing is renegotiated, no
 * compression. Certificates of clients are not asked for: keys say who they are. */
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "serve/http_part.h"

static fh_status refused(fh_err *err, const char *what, const char *path) {
    char why[160];
    ERR_error_string_n(ERR_get_error(), why, sizeof why);
    ERR_clear_error();
    fh_status s = fh_fail(err, FH_ERR_FORMAT, "cannot use this %s: %s", what, why);
    fh_err_set_path(err, path);
    return s;
}

fh_status fh_tls_context(SSL_CTX **out, const char *key, const char *certificate, bool tls12, fh_err *err) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) return fh_fail_memory(err, 0);
    fh_status s = FH_OK;
    SSL_CTX_set_min_proto_version(ctx, tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1) s = refused(err, "certificate", certificate);
    else if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) s = refused(err, "private key", key);
    else if (SSL_CTX_check_private_key(ctx) != 1) s = refused(err, "key with this certificate", key);
    if (s == FH_OK) *out = ctx;
    else SSL_CTX_free(ctx);
    return s;
}

void fh_tls_context_free(SSL_CTX *ctx) { SSL_CTX_free(ctx); }

struct bufferevent *fh_tls_bufferevent(struct event_base *base, int fd, SSL_CTX *ctx) {
    SSL *ssl = SSL_new(ctx);
    if (!ssl) return NULL;
    struct bufferevent *bev = bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                                             BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (!bev) SSL_free(ssl);
    else bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}
