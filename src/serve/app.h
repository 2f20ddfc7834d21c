/* serve/app.h - what all handlers share, and a request on its way through the server.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The way of a request: http parses it; the router finds its row (router.h, *_routes.def), checks Host, Origin, key,
 * scope and limits, and hands an fh_call to the row's handler. Handlers of PUBLIC rows run on the server's thread and
 * must be instant. All others run on one of a few worker threads: they may parse, render, compile and tokenize there,
 * but wait for nothing (no model, no answer, no client). Events of the scheduler come on its own thread; answers may be
 * written from any thread, one thread at a time.
 *
 * A call lives as long as its exchange: who answers later holds c->x (fh_exchange_hold) and releases it when done.
 * Handlers answer through c->x, or by fh_call_fail in the dialect of the row's API. What they measured
 * goes into c->used before the answer ends; log, metrics, audit and budgets take it from there. */
#ifndef FH_SERVE_APP_H
#define FH_SERVE_APP_H

#include "serve/fleet.h"
#include "serve/http.h"

typedef struct fh_app fh_app;
typedef struct fh_call fh_call;

typedef enum fh_scope { FH_SCOPE_PUBLIC, FH_SCOPE_INFER, FH_SCOPE_ADMIN, FH_SCOPE_PULL } fh_scope;
/* Whose clients speak to a row: decides how errors look, nothing else. */
typedef enum fh_dialect { FH_DIALECT_OPENAI, FH_DIALECT_ANTHROPIC, FH_DIALECT_OLLAMA, FH_DIALECT_LLAMA } fh_dialect;

typedef void fh_route_fn(fh_call *c);

typedef struct fh_route {
    const char *method; /* "GET" rows answer HEAD, too */
    const char *path;   /* "/v1/models/{*}": the rest of the path; "/v1/responses/{}/cancel": one piece of it */
    fh_scope scope;
    fh_dialect dialect;
    fh_route_fn *fn;
} fh_route;

/* What a request took; filled by whoever computed it. Texts are static. */
typedef struct fh_used {
    char model[128];
    uint32_t n_prompt, n_cached, n_new;
    uint64_t queued_ns, prompt_ns, new_ns;
    const char *finish; /* "stop", "length", "tool_calls", "cancelled", "error", or NULL */
} fh_used;

#define FH_CALL_HOLES 2
struct fh_call {
    fh_app *app;
    fh_exchange *x;
    const fh_route *route;
    fh_dialect dialect;
    fh_str hole[FH_CALL_HOLES]; /* what the path's {} matched; "" where there is none */
    char key_id[16];            /* "" without a key, "local" where none is needed */
    char key_name[64];
    fh_scope most;  /* what the key may do at the most */
    uint64_t owner; /* for fh_request.owner: fairness between keys, else addresses */
    uint64_t salt;  /* for fh_request.salt: prefixes are shared within a tenant only */
    int priority;   /* for fh_request.priority */
    fh_used used;
    struct fh_call_part *part; /* the router's own */
};

/* ---- the parts ---- */
fh_fleet *fh_app_fleet(fh_app *a);
/* Runs fn on a worker thread, soon, in order of coming. */
void fh_app_defer(fh_app *a, void (*fn)(void *ctx), void *ctx);
/* As fh_fleet_use, but fn always runs on a worker thread (this is called on one), and by then the call counts for this
 * model. Whatever fails, fn is told: also for a name that is not there. The exchange is held until fn returns. */
void fh_app_use(fh_call *c, fh_str model, int64_t keep_alive_ms, fh_fleet_use_fn *fn, void *ctx);
void fh_app_release(fh_app *a, fh_resident *r);
/* Ceilings that requests are checked against (security: each has its own over-limit answer). */
typedef struct fh_caps {
    uint32_t n_choice, n_stop, stop_bytes, n_logit_bias, n_top, n_input, schema_bytes, n_tool, n_message, kwargs_bytes;
} fh_caps;
const fh_caps *fh_app_caps(const fh_app *a);
bool fh_app_is_draining(const fh_app *a);
/* State of this server for small things that outlive a request; freed by the app. name is static. */
void *fh_app_thing(fh_app *a, const char *name);
void fh_app_set_thing(fh_app *a, const char *name, void *thing, void (*free)(void *thing));

/* ---- a call ---- */
/* {"error": ...} in the row's dialect. code and param (may be NULL) appear where the dialect has room for them. */
FH_PRINTF(5, 6) void fh_call_fail(fh_call *c, int status, const char *code, const char *param, const char *fmt, ...);
/* A status of ours as HTTP; err's message goes to the client, its path does not. */
void fh_call_fail_err(fh_call *c, const fh_err *err);
/* 429 with Retry-After (503 where the server is full as a whole). */
void fh_call_fail_busy(fh_call *c, bool whole, uint32_t retry_after_ms, const char *why);
/* The error's JSON alone, for a stream that has begun; appended to out. */
void fh_call_error_json(const fh_call *c, int status, const char *code, const char *param, fh_str message, fh_buf *out);
/* Called once, on the server's thread, when the client is gone or has its whole answer. False: that was before, fn will
 * not be called. */
bool fh_call_on_closed(fh_call *c, void (*fn)(void *ctx), void *ctx);
/* n tokens of an answer came just now (0: the answer's first text): for time to first token and between tokens. */
void fh_call_note_tokens(fh_call *c, uint32_t n);
/* Names of members that were not understood, for the warning header; before the answer begins. */
void fh_call_warn_unknown(fh_call *c, fh_str name);

#endif
