/* serve/json_in.h - members of a request's object, read by name, type and range.
 * SPDX-License-Identifier: Apache-2.0
 * Failure is sticky: the first wrong member is kept with its name and what was wrong, later reads give nothing. Names
 * that were never asked for are the request's unknown members. null counts as absent. Borrows the tree. */
#ifndef FH_SERVE_JSON_IN_H
#define FH_SERVE_JSON_IN_H

#include "serve/app.h"

#define FH_IN_NAMES_MOST 128

typedef struct fh_in {
    const fh_json_node *obj; /* NULL: nothing is there */
    const char *asked[FH_IN_NAMES_MOST];
    size_t n_asked;
    bool failed;
    int status;        /* HTTP */
    const char *code;  /* or NULL */
    char param[128];   /* of the member that was wrong */
    char message[400]; /* why */
} fh_in;

void fh_in_init(fh_in *in, const fh_json_node *obj);
/* NULL: absent, or the object failed before. */
const fh_json_node *fh_in_get(fh_in *in, const char *name);
/* False: absent or wrong; *out stays. */
bool fh_in_str(fh_in *in, const char *name, fh_str *out);
bool fh_in_bool(fh_in *in, const char *name, bool *out);
bool fh_in_u64(fh_in *in, const char *name, uint64_t least, uint64_t most, uint64_t *out);
bool fh_in_i64(fh_in *in, const char *name, int64_t least, int64_t most, int64_t *out);
bool fh_in_f64(fh_in *in, const char *name, double least, double most, double *out);
const fh_json_node *fh_in_array(fh_in *in, const char *name);
const fh_json_node *fh_in_object(fh_in *in, const char *name);
/* Understood elsewhere, or of no consequence here. */
void fh_in_ignore(fh_in *in, const char *name);
FH_PRINTF(3, 4) void fh_in_fail(fh_in *in, const char *param, const char *fmt, ...);
FH_PRINTF(5, 6) void fh_in_fail_as(fh_in *in, int status, const char *code, const char *param, const char *fmt, ...);
/* A failure of ours while reading param: its HTTP status and message; malformed becomes 400. */
void fh_in_fail_err(fh_in *in, const char *param, const fh_err *err);
/* Answers the call with the failure; false when there is none. Else names the members that nobody asked for. */
bool fh_in_answer(fh_in *in, fh_call *c);

/* The request's body as a JSON object; answers and gives NULL where it is none. Content types that web pages may send
 * without asking are refused. */
fh_json *fh_in_body(fh_call *c);
fh_json *fh_in_list_body(fh_call *c); /* as an array */

#endif
