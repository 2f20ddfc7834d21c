/* serve/json_in.c - members of a request's object.
 * SPDX-License-Identifier: Apache-2.0 */
#include "serve/json_in.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/num.h"

void fh_in_init(fh_in *in, const fh_json_node *obj) {
    in->obj = obj;
    in->n_asked = 0;
    in->failed = false;
    in->status = 400;
    in->code = NULL;
    in->param[0] = in->message[0] = '\0';
}

void fh_in_ignore(fh_in *in, const char *name) {
    FH_REQUIRE(in->n_asked < FH_IN_NAMES_MOST);
    in->asked[in->n_asked++] = name;
}

static void fail(fh_in *in, int status, const char *code, const char *param, const char *fmt, va_list args) {
    if (in->failed) return;
    in->failed = true;
    in->status = status;
    in->code = code;
    (void)snprintf(in->param, sizeof in->param, "%s", param ? param : "");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)vsnprintf(in->message, sizeof in->message, fmt, args);
#pragma GCC diagnostic pop
}

void fh_in_fail(fh_in *in, const char *param, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fail(in, 400, NULL, param, fmt, args);
    va_end(args);
}

void fh_in_fail_as(fh_in *in, int status, const char *code, const char *param, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fail(in, status, code, param, fmt, args);
    va_end(args);
}

void fh_in_fail_err(fh_in *in, const char *param, const fh_err *err) {
    int status = fh_status_http(err->status);
    if (err->status == FH_ERR_FORMAT || err->status == FH_ERR_UNSUPPORTED) status = 400;
    fh_in_fail_as(in, status, NULL, param, "%s", err->message);
}

const fh_json_node *fh_in_get(fh_in *in, const char *name) {
    fh_in_ignore(in, name);
    if (in->failed) return NULL;
    const fh_json_node *n = fh_json_get(in->obj, name);
    return fh_json_is(n, FH_JSON_NULL) ? NULL : n;
}

bool fh_in_str(fh_in *in, const char *name, fh_str *out) {
    const fh_json_node *n = fh_in_get(in, name);
    if (!n) return false;
    if (fh_json_to_str(n, out)) return true;
    fh_in_fail(in, name, "'%s' must be a string", name);
    return false;
}

bool fh_in_bool(fh_in *in, const char *name, bool *out) {
    const fh_json_node *n = fh_in_get(in, name);
    if (!n) return false;
    if (fh_json_to_bool(n, out)) return true;
    fh_in_fail(in, name, "'%s' must be true or false", name);
    return false;
}

bool fh_in_u64(fh_in *in, const char *name, uint64_t least, uint64_t most, uint64_t *out) {
    const fh_json_node *n = fh_in_get(in, name);
    uint64_t v;
    if (!n) return false;
    if (fh_json_to_u64(n, &v) && v >= least && v <= most) return *out = v, true;
    fh_in_fail(in, name, "'%s' must be a whole number from %llu to %llu", name, (unsigned long long)least,
               (unsigned long long)most);
    return false;
}

bool fh_in_i64(fh_in *in, const char *name, int64_t least, int64_t most, int64_t *out) {
    const fh_json_node *n = fh_in_get(in, name);
    int64_t v;
    if (!n) return false;
    if (fh_json_to_i64(n, &v) && v >= least && v <= most) return *out = v, true;
    fh_in_fail(in, name, "'%s' must be a whole number from %lld to %lld", name, (long long)least, (long long)most);
    return false;
}

bool fh_in_f64(fh_in *in, const char *name, double least, double most, double *out) {
    const fh_json_node *n = fh_in_get(in, name);
    double v;
    if (!n) return false;
    if (fh_json_to_f64(n, &v) && v >= least && v <= most) return *out = v, true;
    fh_in_fail(in, name, "'%s' must be a number from %g to %g", name, least, most);
    return false;
}

static const fh_json_node *of_kind(fh_in *in, const char *name, fh_json_kind kind, const char *what) {
    const fh_json_node *n = fh_in_get(in, name);
    if (!n || fh_json_is(n, kind)) return n;
    fh_in_fail(in, name, "'%s' must be %s", name, what);
    return NULL;
}

const fh_json_node *fh_in_array(fh_in *in, const char *name) { return of_kind(in, name, FH_JSON_ARRAY, "an array"); }
const fh_json_node *fh_in_object(fh_in *in, const char *name) { return of_kind(in, name, FH_JSON_OBJECT, "an object"); }

static bool was_asked(const fh_in *in, fh_str key) {
    for (size_t i = 0; i < in->n_asked; i++)
        if (fh_str_is(key, in->asked[i])) return true;
    return false;
}

bool fh_in_answer(fh_in *in, fh_call *c) {
    if (in->failed) {
        fh_call_fail(c, in->status, in->code, in->param[0] ? in->param : NULL, "%s", in->message);
        return true;
    }
    for (const fh_json_node *n = fh_json_first(in->obj); n; n = fh_json_after(in->obj, n))
        if (!was_asked(in, n->key)) fh_call_warn_unknown(c, n->key);
    return false;
}

/* A page of another site can make a browser send these three without being asked whether it may. */
static bool is_simple_type(fh_str type) {
    static const char *const simple[] = {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"};
    for (size_t i = 0; i < FH_COUNT(simple); i++)
        if (fh_str_starts(type, simple[i])) return true;
    return false;
}

static fh_json *body_of(fh_call *c, bool list) {
    fh_err err = {0};
    fh_json *doc = NULL;
    fh_str type, origin, body = fh_exchange_body(c->x);
    if (fh_exchange_header(c->x, "Content-Type", &type) && is_simple_type(type) &&
        fh_exchange_header(c->x, "Origin", &origin)) {
        fh_call_fail(c, 415, NULL, NULL, "the body's Content-Type must be application/json");
        return NULL;
    }
    const fh_json_options opt = {.allow_duplicate_keys = true};
    if (fh_json_parse(&doc, body, &opt, &err) != FH_OK) {
        fh_call_fail(c, err.status == FH_ERR_MEMORY ? 503 : 400, "invalid_json", NULL, "the body is no JSON: %s",
                     err.message);
        return NULL;
    }
    if (fh_json_is(fh_json_root(doc), list ? FH_JSON_ARRAY : FH_JSON_OBJECT)) return doc;
    fh_call_fail(c, 400, "invalid_json", NULL, "the body must be a JSON %s", list ? "array" : "object");
    fh_json_free(doc);
    return NULL;
}

fh_json *fh_in_body(fh_call *c) { return body_of(c, false); }
fh_json *fh_in_list_body(fh_call *c) { return body_of(c, true); }
