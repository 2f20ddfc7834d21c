/* serve/app_part.h - the insides of the app: shared by app.c, router.c and core.c.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_SERVE_APP_PART_H
#define FH_SERVE_APP_PART_H

#include <pthread.h>
#include <stdatomic.h>

#include "serve/audit.h"
#include "serve/auth.h"
#include "serve/metrics.h"
#include "serve/router.h"
#include "serve/server.h"

#define FH_WORKERS_MOST 64
#define FH_THINGS_MOST 16
#define FH_LISTENS_MOST 8

typedef struct fh_job {
    void (*fn)(void *);
    void *ctx;
    struct fh_job *next;
} fh_job;

/* Settings that a reload changes; replaced whole, the old ones stay until the end (reloads are rare). */
typedef struct fh_app_hot {
    fh_caps caps;
    fh_str *host, *origin; /* [n_host], [n_origin] */
    size_t n_host, n_origin;
    bool require_key, audit_requests, audit_admin;
    int64_t drain_ms;
    fh_arena arena;
    struct fh_app_hot *before;
} fh_app_hot;

struct fh_app {
    fh_config config; /* as started, with hot changes */
    bool has_config;
    fh_fleet *fleet;
    fh_http *http;
    fh_auth *auth;   /* NULL without a state folder */
    fh_audit *audit; /* NULL: none */
    fh_metrics *metrics;
    const fh_route *table;
    size_t n_table;
    _Atomic(fh_app_hot *) hot;
    _Atomic bool draining;
    bool deterministic, tls;
    char state_dir[FH_PATH_MAX], boot[17];
    uint64_t started_ms, saved_ns;
    fh_sandbox_state sandbox;
    struct {
        fh_listen_tag tag;
        char host[128];
        uint16_t port;
    } listens[FH_LISTENS_MOST];
    size_t n_listen;
    void (*reload_fn)(void *), *reload_ctx;

    pthread_mutex_t lock; /* jobs and things */
    pthread_cond_t more, less;
    fh_job *job_first, *job_last;
    uint32_t n_worker, n_busy;
    pthread_t worker[FH_WORKERS_MOST];
    bool quit;
    struct {
        const char *name;
        void *thing;
        void (*free)(void *);
    } things[FH_THINGS_MOST];
    size_t n_thing;
};

struct fh_call_part {
    fh_identity who;
    bool admitted;
    char method[12], path[160], peer[64];
    uint64_t arrived_ns, number;
    uint64_t first_ns, last_ns;
    int status; /* when it was over */
    uint64_t bytes;
    fh_buf warned; /* names for the warning header */
};

/* router.c: what http calls. */
void fh_app_on_head(void *app, fh_exchange *x);
void fh_app_on_request(void *app, fh_exchange *x);
/* app.c */
void fh_app_account(void *call); /* on a worker: log, metrics, audit, limits; frees the call */
void fh_app_tick(void *app);
/* core.c */
void fh_core_write_status(fh_app *a, fh_buf *out);

#endif
