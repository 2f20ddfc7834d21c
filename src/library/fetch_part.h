/* library/fetch_part.h - what the fetch*.c files share.
 * SPDX-License-Identifier: Apache-2.0
 * fetch.c: one request and what its answer means. fetch_file.c: a file on its way: pieces, journal, digests.
 * fetch_many.c: several connections that fill files. */
#ifndef FH_LIBRARY_FETCH_PART_H
#define FH_LIBRARY_FETCH_PART_H

#include <curl/curl.h>

#include "base/rng.h"
#include "library/fetch.h"

#define FH_FETCH_MOST_REDIRECTS 6

struct fh_fetch {
    fh_fetch_options o;
    fh_rng rng; /* for the jitter of waits */
    bool stop;
};

/* What a reply's head said. */
typedef struct fh_fetch_head {
    uint64_t retry_after_ms;
    uint64_t range_start, range_total; /* of Content-Range; UINT64_MAX when there is none */
    char next[FH_FETCH_URL], challenge[2048];
} fh_fetch_head;

/* One request: the handle, where it stands, what came back. */
typedef struct fh_fetch_call {
    CURL *easy;
    struct curl_slist *headers;
    fh_fetch_head head;
    const fh_fetch_request *request;
    char url[FH_FETCH_URL]; /* as redirected so far */
    int n_redirect;
    char curl_text[CURL_ERROR_SIZE];
} fh_fetch_call;

typedef size_t fh_fetch_body(char *data, size_t one, size_t n, void *ctx);

FH_MUST_USE fh_status fh_fetch_call_init(fh_fetch_call *c, fh_err *err);
void fh_fetch_call_release(fh_fetch_call *c);
/* Back to the URL of the request. */
FH_MUST_USE fh_status fh_fetch_call_start(fh_fetch_call *c, const fh_fetch_request *r, fh_err *err);
/* Sets everything for c->url; range "" for all of it. Tells the watch. */
FH_MUST_USE fh_status fh_fetch_call_arm(fh_fetch *f, fh_fetch_call *c, const char *range, fh_fetch_body *body,
                                        void *ctx, fh_err *err);

typedef enum fh_fetch_verdict {
    FH_FETCH_DONE,     /* 200 or 206 */
    FH_FETCH_REDIRECT, /* c->url is the new one */
    FH_FETCH_RETRY,    /* err says why, in case it was the last time */
    FH_FETCH_REFUSED,  /* 4xx: the caller knows what it means; err has the sentence for the others */
    FH_FETCH_FAILED
} fh_fetch_verdict;
/* What became of a transfer that ended with this code. */
fh_fetch_verdict fh_fetch_judge(fh_fetch_call *c, CURLcode code, long *status, fh_err *err);

/* How long to wait before the k-th retry in a row (from 0); tells the watch. */
uint64_t fh_fetch_wait_ms(fh_fetch *f, const fh_fetch_call *c, unsigned k, const fh_err *why);
bool fh_fetch_cancelled(fh_fetch *f, fh_err *err);

/* ---- a file on its way ---- */

typedef enum fh_piece { FH_PIECE_TODO, FH_PIECE_BUSY, FH_PIECE_HERE, FH_PIECE_NOTED } fh_piece;

typedef struct fh_incoming {
    fh_fetch_file *file;
    int fd, journal;
    uint64_t piece_bytes, n_piece, n_here;
    uint8_t *piece; /* [n_piece] fh_piece */
    uint64_t hashed, noted_ns;
    fh_sha256 *sha;
    fh_git_blob *git;
    char *link; /* [FH_FETCH_URL] where a redirect led: asked directly while it works; "" */
    bool whole; /* the server knows no ranges: one connection, from the start */
    bool again; /* a first copy came out wrong */
    bool finished;
    char journal_path[FH_PATH_MAX];
} fh_incoming;

FH_MUST_USE fh_status fh_incoming_open(fh_incoming *x, fh_fetch_file *file, fh_err *err);
void fh_incoming_close(fh_incoming *x);
FH_MUST_USE fh_status fh_incoming_write(fh_incoming *x, uint64_t at, const void *data, size_t n, fh_err *err);
/* Next piece that nobody fetches: its bytes. */
bool fh_incoming_claim(fh_incoming *x, uint64_t *at, uint64_t *end);
void fh_incoming_give_back(fh_incoming *x, uint64_t end);
void fh_incoming_has(fh_incoming *x, uint64_t end); /* the piece that ends there is whole */
/* Hashes what is whole from the start, notes in the journal; once all is here, proves and publishes (finished). Does a
 * bounded amount a call. */
FH_MUST_USE fh_status fh_incoming_settle(fh_incoming *x, fh_err *err);
/* Everything from the start again. */
FH_MUST_USE fh_status fh_incoming_restart(fh_incoming *x, fh_err *err);
uint64_t fh_incoming_bytes(const fh_incoming *x); /* in whole pieces */

#endif
