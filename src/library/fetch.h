/* library/fetch.h - documents and files over HTTP(S), by libcurl: retried, resumed, proven by digest.
 * SPDX-License-Identifier: Apache-2.0
 * Nothing is asked that the caller did not name, but where a server redirects to; every URL is told to the watch first.
 * A secret goes to the origin (scheme, host, port) of the URL that it was given for, and over TLS or to this machine
 * itself; a redirect elsewhere never carries it. From https nothing leads back to http.
 * Files: pieces by several connections into a .part, pieces that are on the disk noted in a journal, SHA-256 while they
 * come. After any kill the next call goes on from there. The final name appears when the digest is right.
 * Proxies: http_proxy, https_proxy, all_proxy, no_proxy, as libcurl reads them. One thread. */
#ifndef FH_LIBRARY_FETCH_H
#define FH_LIBRARY_FETCH_H

#include "base/file.h"
#include "base/hash.h"

/* All may be NULL. Called on the caller's thread. */
typedef struct fh_fetch_watch {
    void (*url)(void *ctx, const char *url);                     /* about to be asked */
    void (*retry)(void *ctx, const char *why, uint64_t wait_ms); /* what went wrong, and when it is tried again */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);  /* bytes of the files that are fetched */
    bool (*cancelled)(void *ctx);
    void *ctx;
} fh_fetch_watch;

typedef struct fh_fetch_options {
    unsigned connections; /* 1 to 32; 0 = 4 */
    unsigned retries;     /* in a row without a byte, before giving up; 0 = 8 */
    uint64_t wait_ms;     /* before the first retry, doubled each time up to 30 s; 0 = 250 */
    fh_fetch_watch watch;
} fh_fetch_options;

typedef struct fh_fetch fh_fetch;
FH_MUST_USE fh_status fh_fetch_new(fh_fetch **out, const fh_fetch_options *opt, fh_err *err);
void fh_fetch_free(fh_fetch *f); /* NULL is fine */

#define FH_FETCH_URL 8192

typedef struct fh_fetch_request {
    const char *url;
    const char *accept; /* or NULL */
    const char *bearer; /* or NULL */
} fh_fetch_request;

typedef struct fh_fetch_reply {
    long status;             /* 200, or what the server insisted on: 401, 404 */
    char next[FH_FETCH_URL]; /* Link: <...>; rel="next", absolute, same origin; or "" */
    char challenge[2048];    /* WWW-Authenticate, or "" */
} fh_fetch_reply;

/* Appends the body to out, whose limit bounds it. Busy servers and cut connections are tried again. */
FH_MUST_USE fh_status fh_fetch_document(fh_fetch *f, const fh_fetch_request *r, fh_buf *out, fh_fetch_reply *reply,
                                        fh_err *err);

typedef struct fh_fetch_file {
    fh_fetch_request from;
    const char *label;          /* for messages */
    uint64_t bytes;             /* what the listing says; anything else is an error */
    char sha256[FH_SHA256_HEX]; /* known, or "": filled */
    char git[FH_GIT_HEX];       /* what a git listing says, or "" */
    const char *part;           /* path of the .part; its journal is beside it */
    const char *folder;         /* where sha256-<hex> is to appear */
} fh_fetch_file;

/* All of them, or an error; what has come so far stays as .part. */
FH_MUST_USE fh_status fh_fetch_files(fh_fetch *f, fh_fetch_file *file, size_t n, fh_err *err);

bool fh_fetch_same_origin(const char *a, const char *b);

#endif
