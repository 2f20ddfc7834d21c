/* evaluate/api_selftest_part.h - the insides of the API selftest: one request, and one judgement.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_EVALUATE_API_SELFTEST_PART_H
#define FH_EVALUATE_API_SELFTEST_PART_H

#include "base/json.h"
#include "evaluate/api_selftest.h"

#define FH_API_ANSWER_MOST ((size_t)64 << 20)
#define FH_API_KEPT_MOST 200

enum {
    FH_API_MAY = 1 /* a server may refuse it for what its model is: 4xx and 501 count as absent */
};

/* ---- api_selftest_http.c ---- */
typedef struct fh_api_http fh_api_http;
FH_MUST_USE fh_status fh_api_http_new(fh_api_http **out, const fh_api_options *opt, fh_err *err);
void fh_api_http_free(fh_api_http *h); /* NULL is fine */

typedef struct fh_api_reply {
    int status;
    char type[128]; /* content type */
    fh_buf body;    /* the caller's to release */
    uint64_t ns;
} fh_api_reply;
/* headers: "Name: value" lines, or "". A failure is about the connection; any answer at all is none. */
FH_MUST_USE fh_status fh_api_http_ask(fh_api_http *h, const char *method, const char *path, const char *headers,
                                      fh_str body, fh_api_reply *out, fh_err *err);

/* ---- api_selftest_judge.c ---- */
/* Writes a verdict; kept: what the check "keep" puts by for later cases, [FH_API_KEPT_MOST]. Fails for lack of memory,
 * or for a case that is written wrongly. */
FH_MUST_USE fh_status fh_api_judge(const fh_api_case *c, const fh_api_reply *a, char *kept, fh_api_result *out,
                                   fh_err *err);

#endif
