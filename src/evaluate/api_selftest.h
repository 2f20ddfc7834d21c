/* evaluate/api_selftest.h - does a server speak the APIs that clients rely on: transcripts replayed, answers judged.
 * SPDX-License-Identifier: Apache-2.0
 * A case (api_selftest.def) is one request as a client sends it, and what its answer must be: shapes, the order of
 * events, and content where a grammar or a schema forces it, so that any model will do. Works against any server. A
 * route that is not there is *absent*, which is no failure; one that is there and answers otherwise is. Requests go to
 * the given address and nowhere else; redirects are not followed. */
#ifndef FH_EVALUATE_API_SELFTEST_H
#define FH_EVALUATE_API_SELFTEST_H

#include "base/buf.h"
#include "base/err.h"

typedef enum fh_api_verdict { FH_API_PASS, FH_API_FAIL, FH_API_ABSENT } fh_api_verdict;

typedef struct fh_api_case {
    const char *area, *name; /* "OpenAI chat", "stream with usage" */
    uint32_t flags;
    const char *method, *path, *headers, *body; /* $MODEL, $EMBED, $RANK, $KEPT are filled in */
    const char *checks;                         /* one a line, see api_selftest_judge.c */
} fh_api_case;

typedef struct fh_api_options {
    const char *url;                  /* http(s)://host:port, with or without a path such as /v1 */
    const char *key;                  /* "" or NULL: none */
    const char *only;                 /* a part of "area: name", or NULL */
    const char *model, *embed, *rank; /* NULL: model is the first that the server lists, the others are as model */
    uint32_t timeout_ms;              /* of one request; 0: 120 000 */
} fh_api_options;

typedef struct fh_api_result {
    const fh_api_case *of;
    fh_api_verdict verdict;
    int status;    /* of HTTP; 0: no answer */
    uint64_t ns;   /* from asking to the answer's last byte */
    char why[320]; /* of a failure: what was expected, and what came */
} fh_api_result;

/* Called after each case; false ends the run. */
typedef bool fh_api_result_fn(void *ctx, const fh_api_result *r);
/* model: what was asked, at most size - 1 bytes. FH_ERR_IO when nobody answers at all. */
FH_MUST_USE fh_status fh_api_selftest(const fh_api_options *opt, fh_api_result_fn *fn, void *ctx, char *model,
                                      size_t size, fh_err *err);

#endif
