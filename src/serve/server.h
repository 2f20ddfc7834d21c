/* serve/server.h - a server put together: what `freehold serve` and tests make, run, change and end.
 * SPDX-License-Identifier: Apache-2.0
 * Order: fh_app_new, fh_app_listen for each address, (sandbox), fh_app_run; at the end fh_app_drain and fh_app_free. */
#ifndef FH_SERVE_SERVER_H
#define FH_SERVE_SERVER_H

#include "serve/app.h"
#include "serve/config.h"
#include "serve/sandbox.h"

typedef struct fh_app_options {
    const fh_config *config; /* copied as far as it is needed */
    const char *state_dir;   /* NULL: nothing is kept, no keys (tests) */
    const fh_route *table;   /* NULL: fh_route_table */
    size_t n_table;
} fh_app_options;

/* Takes the fleet, on failure too. */
FH_MUST_USE fh_status fh_app_new(fh_app **out, const fh_app_options *opt, fh_fleet *fleet, fh_err *err);
/* FH_ERR_DENIED for an address beyond this machine without a key, or without TLS (unless insecure_plaintext). */
typedef enum fh_listen_tag { FH_LISTEN_MAIN, FH_LISTEN_COMPAT, FH_LISTEN_ADMIN } fh_listen_tag;
FH_MUST_USE fh_status fh_app_listen(fh_app *a, fh_listen_tag tag, const char *host, uint16_t port, uint16_t *got,
                                    fh_err *err);
void fh_app_set_sandbox(fh_app *a, const fh_sandbox_state *s); /* for /status */
FH_MUST_USE fh_status fh_app_run(fh_app *a, fh_err *err);
/* Takes over what is hot; the names of what is not are appended to cold. */
FH_MUST_USE fh_status fh_app_reload(fh_app *a, const fh_config *config, fh_buf *cold, fh_err *err);
void fh_app_on_reload(fh_app *a, void (*fn)(void *ctx), void *ctx); /* POST /admin/reload calls it */
/* Stops listening and waits for what is under way; false: some of it is left. May be called again to wait longer. */
bool fh_app_drain(fh_app *a, uint32_t timeout_ms);
void fh_app_free(fh_app *a); /* with its fleet; NULL is fine */
void fh_app_audit(fh_app *a, const char *event, const char *name, const char *value);
bool fh_app_needs_key(fh_app *a); /* of clients on this machine */
bool fh_app_is_loopback_host(const char *host);

#endif
