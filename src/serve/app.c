/* serve/app.c - the app: workers, settings, accounts of what was asked; and the server as a whole.
 * SPDX-License-Identifier: Apache-2.0
 * A call's account (log line, metrics, audit, limits) is made on a worker after its last holder let go: by then the
 * tokens are counted even where the client left early. */
#include <arpa/inet.h>
#include <openssl/rand.h>
#include <poll.h>

#include "base/clock.h"
#include "base/num.h"
#include "serve/app_part.h"

static _Thread_local bool on_worker;
/* ---- workers ---- */

void fh_app_defer(fh_app *a, void (*fn)(void *ctx), void *ctx) {
    fh_job *j = fh_alloc(1, sizeof *j);
    if (!j) {
        fn(ctx); /* late is better than never; here is better than lost */
        return;
    }
    *j = (fh_job){fn, ctx, NULL};
    pthread_mutex_lock(&a->lock);
    if (a->job_last) a->job_last->next = j;
    else a->job_first = j;
    a->job_last = j;
    pthread_cond_signal(&a->more);
    pthread_mutex_unlock(&a->lock);
}

/* With the lock held. */
static fh_job *take_job(fh_app *a) {
    fh_job *j = a->job_first;
    if (!j) return NULL;
    a->job_first = j->next;
    if (!a->job_first) a->job_last = NULL;
    return j;
}

static void *work(void *ctx) {
    fh_app *a = ctx;
    on_worker = true;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        fh_job *j = take_job(a);
        if (!j && a->quit) break;
        if (!j) {
            pthread_cond_wait(&a->more, &a->lock);
            continue;
        }
        a->n_busy++;
        pthread_mutex_unlock(&a->lock);
        j->fn(j->ctx);
        fh_free(j);
        pthread_mutex_lock(&a->lock);
        a->n_busy--;
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static void run_left_jobs(fh_app *a) {
    for (;;) {
        pthread_mutex_lock(&a->lock);
        fh_job *j = take_job(a);
        pthread_mutex_unlock(&a->lock);
        if (!j) return;
        j->fn(j->ctx);
        fh_free(j);
    }
}

/* ---- looks ---- */

fh_fleet *fh_app_fleet(fh_app *a) { return a->fleet; }
bool fh_app_is_draining(const fh_app *a) { return a->draining; }

bool fh_app_needs_key(fh_app *a) { return (a->auth && fh_auth_has_keys(a->auth)) || atomic_load(&a->hot)->require_key; }

const fh_caps *fh_app_caps(const fh_app *ca) {
    fh_app *a = (fh_app *)(uintptr_t)ca;
    return &atomic_load(&a->hot)->caps;
}

void *fh_app_thing(fh_app *a, const char *name) {
    void *thing = NULL;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->n_thing && !thing; i++)
        if (strcmp(a->things[i].name, name) == 0) thing = a->things[i].thing;
    pthread_mutex_unlock(&a->lock);
    return thing;
}

void fh_app_set_thing(fh_app *a, const char *name, void *thing, void (*free_fn)(void *thing)) {
    pthread_mutex_lock(&a->lock);
    FH_REQUIRE(a->n_thing < FH_THINGS_MOST);
    a->things[a->n_thing].name = name;
    a->things[a->n_thing].thing = thing;
    a->things[a->n_thing++].free = free_fn;
    pthread_mutex_unlock(&a->lock);
}

/* What could not be recorded is counted (/status shows it) and logged; the request goes on. */
static void record(fh_app *a, const char *event, const fh_log_field *f, size_t n) {
    fh_err err = {.status = FH_OK};
    if (fh_audit_add(a->audit, event, f, n, &err) != FH_OK)
        fh_log(FH_LOG_ERROR, "audit.failed", FH_LOG_S("why", fh_str_of(err.message)));
}

void fh_app_audit(fh_app *a, const char *event, const char *name, const char *value) {
    const fh_app_hot *hot = atomic_load(&a->hot);
    if (!a->audit || !hot->audit_admin) return;
    const fh_log_field f[] = {FH_LOG_S("what", fh_str_of(name)), FH_LOG_S("detail", fh_str_of(value))};
    record(a, event, f, 2);
}

/* ---- models for calls ---- */

typedef struct model_use {
    fh_call *c;
    fh_fleet_use_fn *fn;
    void *ctx;
    fh_resident *r;
    fh_err err;
} model_use;

static void hand_over(void *ctx) {
    model_use *u = ctx;
    fh_call *c = u->c;
    u->fn(u->ctx, u->r, u->r ? NULL : &u->err);
    fh_free(u);
    fh_exchange_release(c->x);
}

static void on_resident(void *ctx, fh_resident *r, const fh_err *err) {
    model_use *u = ctx;
    u->r = r;
    if (err) u->err = *err;
    if (on_worker) hand_over(u);
    else fh_app_defer(u->c->app, hand_over, u);
}

/* Without a model: fn has to know, or what waits behind ctx would wait for ever. */
static void refuse_use(fh_call *c, fh_fleet_use_fn *fn, void *ctx, const fh_err *err) {
    fh_exchange_hold(c->x);
    fn(ctx, NULL, err);
    fh_exchange_release(c->x);
}

void fh_app_use(fh_call *c, fh_str model, int64_t keep_alive_ms, fh_fleet_use_fn *fn, void *ctx) {
    fh_err err = {.status = FH_OK};
    fh_fleet_entry e;
    if (!fh_fleet_find(c->app->fleet, model, &e)) {
        fh_call_fail(c, 404, "model_not_found", "model", "the model '%.*s' is not served here", FH_STR_ARG(model));
        (void)fh_fail(&err, FH_ERR_NOT_FOUND, "the model is not served here"); /* the first answer counts */
        refuse_use(c, fn, ctx, &err);
        return;
    }
    snprintf(c->used.model, sizeof c->used.model, "%s", e.name);
    model_use *u = fh_alloc_zero(1, sizeof *u);
    if (!u) {
        (void)fh_fail_memory(&err, sizeof *u);
        refuse_use(c, fn, ctx, &err);
        return;
    }
    *u = (model_use){.c = c, .fn = fn, .ctx = ctx};
    fh_exchange_hold(c->x);
    fh_fleet_use(c->app->fleet, fh_str_of(e.name), keep_alive_ms, on_resident, u);
}

void fh_app_release(fh_app *a, fh_resident *r) { fh_resident_release(a->fleet, r); }

/* ---- what a call says about itself ---- */

bool fh_call_on_closed(fh_call *c, void (*fn)(void *ctx), void *ctx) { return fh_exchange_on_closed(c->x, fn, ctx); }

void fh_call_note_tokens(fh_call *c, uint32_t n) {
    struct fh_call_part *p = c->part;
    fh_metrics *m = c->app->metrics;
    uint64_t now = fh_clock_ns();
    if (!p->first_ns) {
        p->first_ns = p->last_ns = now;
        fh_metrics_observe(m, FH_METRIC_FIRST, c->used.model, c->key_id, (double)(now - p->arrived_ns) * 1e-9);
        return;
    }
    double each = n ? (double)(now - p->last_ns) * 1e-9 / n : 0;
    for (uint32_t i = 0; i < n; i++) fh_metrics_observe(m, FH_METRIC_BETWEEN, c->used.model, c->key_id, each);
    if (n) p->last_ns = now;
}

void fh_call_warn_unknown(fh_call *c, fh_str name) {
    fh_buf *b = &c->part->warned;
    if (b->len + name.len + 4 > 1000) return;
    if (b->len) fh_buf_add_z(b, ", ");
    for (size_t i = 0; i < name.len && i < 64; i++) {
        char ch = name.ptr[i];
        fh_buf_add_byte(b, ch > 0x20 && ch < 0x7f && ch != ',' ? (uint8_t)ch : '?');
    }
    fh_exchange_set_header(c->x, "X-Ignored-Fields", fh_buf_str(b));
}

static void count_call(fh_call *c, int status) {
    fh_metrics *m = c->app->metrics;
    char text[8];
    const char *model = c->used.model, *key = c->key_id;
    double spent = (double)(fh_clock_ns() - c->part->arrived_ns) * 1e-9;
    snprintf(text, sizeof text, "%d", status);
    fh_metrics_add(m, FH_METRIC_REQUESTS, model, key, text, 1);
    if (!model[0]) return;
    fh_metrics_observe(m, FH_METRIC_REQUEST, model, key, spent);
    fh_metrics_add(m, FH_METRIC_FINISHED, model, key, c->used.finish ? c->used.finish : "none", 1);
    fh_metrics_add(m, FH_METRIC_PROMPT_TOKENS, model, key, NULL, c->used.n_prompt);
    fh_metrics_add(m, FH_METRIC_CACHED_TOKENS, model, key, NULL, c->used.n_cached);
    fh_metrics_add(m, FH_METRIC_NEW_TOKENS, model, key, NULL, c->used.n_new);
    if (c->used.queued_ns) fh_metrics_observe(m, FH_METRIC_QUEUE, model, key, (double)c->used.queued_ns * 1e-9);
    if (c->used.prompt_ns) fh_metrics_observe(m, FH_METRIC_PREFILL, model, key, (double)c->used.prompt_ns * 1e-9);
}

#define CALL_FIELDS(c, p) \
    FH_LOG_U("n", (p)->number), FH_LOG_S("method", fh_str_of((p)->method)), FH_LOG_S("path", fh_str_of((p)->path)), \
        FH_LOG_I("status", (p)->status), FH_LOG_S("key", fh_str_of((c)->key_id)), \
        FH_LOG_S("peer", fh_str_of((p)->peer)), FH_LOG_S("model", fh_str_of((c)->used.model)), \
        FH_LOG_U("prompt", (c)->used.n_prompt), FH_LOG_U("cached", (c)->used.n_cached), \
        FH_LOG_U("new", (c)->used.n_new), FH_LOG_S("finish", fh_str_of((c)->used.finish ? (c)->used.finish : ""))

static void write_account(fh_call *c) {
    struct fh_call_part *p = c->part;
    fh_app *a = c->app;
    bool quiet = c->route && c->route->scope == FH_SCOPE_PUBLIC; /* probes */
    double ms = (double)(fh_clock_ns() - p->arrived_ns) * 1e-6;
    fh_log_level level = quiet ? FH_LOG_DEBUG : FH_LOG_INFO;
    if (fh_log_on(level)) {
        const fh_log_field f[] = {CALL_FIELDS(c, p), FH_LOG_F("ms", ms), FH_LOG_U("bytes", p->bytes)};
        fh_log_write(level, "request", f, FH_COUNT(f));
    }
    /* Who may not ask cannot fill the disk either: refusals are counted, wrong keys recorded by the router. */
    if (a->audit && p->admitted && atomic_load(&a->hot)->audit_requests && !quiet) {
        const fh_log_field f[] = {CALL_FIELDS(c, p)};
        record(a, "request", f, FH_COUNT(f));
    }
}

void fh_app_account(void *call) {
    fh_call *c = call;
    struct fh_call_part *p = c->part;
    count_call(c, p->status);
    if (p->admitted) fh_auth_done(c->app->auth, &p->who, fh_clock_ns(), (uint64_t)c->used.n_prompt + c->used.n_new);
    write_account(c);
    fh_buf_release(&p->warned);
    fh_free(p);
    fh_free(c);
}

/* ---- settings ---- */

static uint32_t small(uint64_t v) { return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v; }

static fh_status copy_list(fh_app_hot *h, const fh_config_value *v, fh_str **out, size_t *n, fh_err *err) {
    *out = fh_arena_alloc(&h->arena, v->n + 1, sizeof(fh_str));
    if (!*out) return fh_arena_fail(&h->arena, err);
    for (size_t i = 0; i < v->n; i++)
        if (!fh_arena_copy(&h->arena, v->item[i], &(*out)[(*n)++])) return fh_arena_fail(&h->arena, err);
    return FH_OK;
}

static void free_hot(fh_app_hot *h) {
    for (fh_app_hot *before; h; h = before) {
        before = h->before;
        fh_arena_release(&h->arena);
        fh_free(h);
    }
}

static fh_status make_hot(fh_app_hot **out, const fh_config *c, fh_err *err) {
    fh_app_hot *h = fh_alloc_zero(1, sizeof *h);
    if (!h) return fh_fail_memory(err, sizeof *h);
    fh_arena_init(&h->arena, (size_t)1 << 20);
    h->caps = (fh_caps){.n_choice = small(fh_config_number(c, FH_CONFIG_max_choices)),
                        .n_stop = small(fh_config_number(c, FH_CONFIG_max_stop)),
                        .stop_bytes = 256,
                        .n_logit_bias = small(fh_config_number(c, FH_CONFIG_max_logit_bias)),
                        .n_top = small(fh_config_number(c, FH_CONFIG_max_logprobs)),
                        .n_input = small(fh_config_number(c, FH_CONFIG_max_inputs)),
                        .schema_bytes = small(fh_config_number(c, FH_CONFIG_max_schema)),
                        .n_tool = small(fh_config_number(c, FH_CONFIG_max_tools)),
                        .n_message = small(fh_config_number(c, FH_CONFIG_max_messages)),
                        .kwargs_bytes = 64u << 10};
    h->require_key = fh_config_flag(c, FH_CONFIG_require_key);
    h->audit_requests = strcmp(fh_config_text(c, FH_CONFIG_audit), "requests") == 0;
    h->audit_admin = strcmp(fh_config_text(c, FH_CONFIG_audit), "none") != 0;
    h->drain_ms = fh_config_ms(c, FH_CONFIG_drain);
    fh_status s = copy_list(h, &c->value[FH_CONFIG_allow_host], &h->host, &h->n_host, err);
    if (s == FH_OK) s = copy_list(h, &c->value[FH_CONFIG_allow_origin], &h->origin, &h->n_origin, err);
    if (s == FH_OK) *out = h;
    else free_hot(h);
    return s;
}

static void set_log(const fh_config *c) {
    static const char *const names[] = {"debug", "info", "warn", "error", "off"};
    fh_log_level level = FH_LOG_INFO;
    for (size_t i = 0; i < FH_COUNT(names); i++)
        if (strcmp(fh_config_text(c, FH_CONFIG_log), names[i]) == 0) level = (fh_log_level)i;
    fh_log_config(level, fh_config_flag(c, FH_CONFIG_log_json), 2);
}

fh_status fh_app_reload(fh_app *a, const fh_config *config, fh_buf *cold, fh_err *err) {
    fh_app_hot *h;
    FH_TRY(make_hot(&h, config, err));
    fh_config_cold_changes(&a->config, config, cold);
    h->before = atomic_load(&a->hot);
    atomic_store(&a->hot, h);
    set_log(config);
    if (a->auth) FH_TRY(fh_auth_refresh(a->auth, true, err));
    FH_TRY(fh_http_reload_tls(a->http, err));
    fh_app_audit(a, "config.reload", "settings", cold->len ? "some need a restart" : "taken over");
    return FH_OK;
}

void fh_app_on_reload(fh_app *a, void (*fn)(void *ctx), void *ctx) {
    a->reload_fn = fn;
    a->reload_ctx = ctx;
}

/* ---- life ---- */

static fh_status open_state(fh_app *a, const char *dir, fh_err *err) {
    if (!fh_str_copy(a->state_dir, sizeof a->state_dir, fh_str_of(dir)))
        return fh_fail(err, FH_ERR_LIMIT, "the path of the state folder is too long");
    FH_TRY(fh_auth_new(&a->auth, dir, err));
    if (strcmp(fh_config_text(&a->config, FH_CONFIG_audit), "none") == 0) return FH_OK;
    return fh_audit_open(&a->audit, dir, err);
}

static fh_status make_http(fh_app *a, fh_err *err) {
    const fh_config *c = &a->config;
    const fh_http_options o = {.body_most = (size_t)fh_config_number(c, FH_CONFIG_body),
                               .buffer_most = (size_t)fh_config_number(c, FH_CONFIG_buffer),
                               .connections_most = small(fh_config_number(c, FH_CONFIG_connections)),
                               .per_address_most = small(fh_config_number(c, FH_CONFIG_per_address)),
                               .head_ms = small((uint64_t)fh_config_ms(c, FH_CONFIG_head_timeout)),
                               .idle_ms = small((uint64_t)fh_config_ms(c, FH_CONFIG_idle_timeout)),
                               .stall_ms = small((uint64_t)fh_config_ms(c, FH_CONFIG_stall_timeout)),
                               .head = fh_app_on_head,
                               .handler = fh_app_on_request,
                               .tick = fh_app_tick,
                               .ctx = a};
    return fh_http_new(&a->http, &o, err);
}

static fh_status copy_config(fh_app *a, const fh_config *from, fh_err *err) {
    FH_TRY(fh_config_init(&a->config, err));
    a->has_config = true;
    for (int k = 0; k < FH_CONFIG_COUNT; k++) {
        const fh_config_value *v = &from->value[k];
        fh_config_value *to = &a->config.value[k];
        fh_str key = fh_str_of(fh_config_table()[k].key);
        if (v->from == 0) continue;
        for (size_t i = 0; i < v->n; i++) FH_TRY(fh_config_set(&a->config, key, v->item[i], v->from, err));
        if (!fh_arena_copy(&a->config.arena, v->text, &to->text)) return fh_arena_fail(&a->config.arena, err);
        to->number = v->number;
        to->ms = v->ms;
        to->from = v->from;
    }
    return FH_OK;
}

fh_status fh_app_new(fh_app **out, const fh_app_options *opt, fh_fleet *fleet, fh_err *err) {
    uint8_t boot[8];
    fh_app_hot *hot = NULL;
    fh_app *a = fh_alloc_zero(1, sizeof *a);
    if (!a) {
        fh_fleet_free(fleet);
        return fh_fail_memory(err, sizeof *a);
    }
    a->fleet = fleet;
    a->started_ms = fh_clock_unix_ms();
    a->table = opt->table;
    a->n_table = opt->n_table;
    if (!a->table) a->table = fh_route_table(&a->n_table);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->more, NULL);
    fh_status s = copy_config(a, opt->config, err);
    if (s == FH_OK && RAND_bytes(boot, sizeof boot) != 1)
        s = fh_fail(err, FH_ERR_UNSUPPORTED, "libcrypto has no random numbers");
    for (size_t i = 0; i < sizeof boot && s == FH_OK; i++) snprintf(a->boot + 2 * i, 3, "%02x", boot[i]);
    if (s == FH_OK) s = make_hot(&hot, &a->config, err);
    if (s == FH_OK) atomic_store(&a->hot, hot);
    if (s == FH_OK) s = fh_metrics_new(&a->metrics, err);
    if (s == FH_OK && opt->state_dir) s = open_state(a, opt->state_dir, err);
    if (s == FH_OK) s = make_http(a, err);
    if (s == FH_OK) {
        set_log(&a->config);
        a->deterministic = fh_config_flag(&a->config, FH_CONFIG_deterministic);
        *out = a;
    } else {
        fh_app_free(a);
    }
    return s;
}

static fh_status check_host(fh_app *a, const char *host, bool tls, fh_err *err) {
    uint8_t bytes[16];
    if (fh_app_is_loopback_host(host)) return FH_OK;
    if (inet_pton(AF_INET, host, bytes) != 1 && inet_pton(AF_INET6, host, bytes) != 1)
        return fh_fail(err, FH_ERR_USAGE, "a host is an IP address, localhost or unix:/path, not '%.200s'", host);
    if (!a->auth || !fh_auth_has_keys(a->auth))
        return fh_fail(err, FH_ERR_DENIED,
                       "'%.100s' can be reached from other machines, and there is no key yet: make one with "
                       "`freehold key create` first",
                       host);
    if (!tls && !fh_config_flag(&a->config, FH_CONFIG_insecure_plaintext))
        return fh_fail(err, FH_ERR_DENIED,
                       "'%.100s' can be reached from other machines, and keys would travel in the open: give --tls-key "
                       "and --tls-certificate, or --insecure-plaintext where something else encrypts",
                       host);
    return FH_OK;
}

fh_status fh_app_listen(fh_app *a, fh_listen_tag tag, const char *host, uint16_t port, uint16_t *got, fh_err *err) {
    const char *key = fh_config_text(&a->config, FH_CONFIG_tls_key);
    const char *certificate = fh_config_text(&a->config, FH_CONFIG_tls_certificate);
    bool unix_socket = strncmp(host, "unix:", 5) == 0;
    fh_http_listener l = {
        .host = host, .port = port, .tag = (int)tag, .tls12 = fh_config_flag(&a->config, FH_CONFIG_tls12)};
    if (!unix_socket && key[0]) l.tls_key = key;
    if (!unix_socket && certificate[0]) l.tls_certificate = certificate;
    if (a->n_listen == FH_LISTENS_MOST) return fh_fail(err, FH_ERR_LIMIT, "too many addresses to listen on");
    FH_TRY(check_host(a, host, l.tls_key != NULL, err));
    FH_TRY(fh_http_listen(a->http, &l, &port, err));
    a->listens[a->n_listen].tag = tag;
    a->listens[a->n_listen].port = port;
    snprintf(a->listens[a->n_listen].host, sizeof a->listens[0].host, "%s", host);
    a->n_listen++;
    a->tls = a->tls || l.tls_key;
    if (got) *got = port;
    return FH_OK;
}

void fh_app_set_sandbox(fh_app *a, const fh_sandbox_state *s) { a->sandbox = *s; }

fh_status fh_app_run(fh_app *a, fh_err *err) {
    uint32_t n = FH_MAX(FH_MIN(small(fh_config_number(&a->config, FH_CONFIG_workers)), (uint32_t)FH_WORKERS_MOST), 1u);
    FH_TRY(fh_fleet_start(a->fleet, err));
    for (; a->n_worker < n; a->n_worker++)
        if (pthread_create(&a->worker[a->n_worker], NULL, work, a) != 0)
            return fh_fail(err, FH_ERR_MEMORY, "cannot start a worker thread");
    FH_TRY(fh_http_run(a->http, err));
    fh_app_audit(a, "server.start", "version", FH_VERSION);
    return FH_OK;
}

static void save(void *ctx) {
    fh_app *a = ctx;
    fh_err err = {.status = FH_OK};
    if (fh_auth_save(a->auth, &err) == FH_OK) err.status = fh_auth_refresh(a->auth, true, &err);
    if (err.status != FH_OK) fh_log(FH_LOG_ERROR, "state", FH_LOG_S("why", fh_str_of(err.message)));
}

void fh_app_tick(void *app) {
    fh_app *a = app;
    uint64_t now = fh_clock_ns();
    if (!a->auth || now - a->saved_ns < 10000000000u) return;
    a->saved_ns = now;
    fh_app_defer(a, save, a);
}

bool fh_app_drain(fh_app *a, uint32_t timeout_ms) {
    uint64_t end = fh_clock_ns() + (uint64_t)timeout_ms * 1000000u;
    atomic_store(&a->draining, true);
    fh_http_stop_listening(a->http);
    while (fh_http_n_exchange(a->http) && fh_clock_ns() < end) (void)poll(NULL, 0, 10);
    return fh_http_n_exchange(a->http) == 0;
}

/* Clients are gone, so answers end by themselves; models are let go by workers and by schedulers' threads. */
static bool await_users(fh_app *a) {
    for (int i = 0; i < 1000; i++) {
        if (!a->fleet || fh_fleet_users(a->fleet) == 0) return true;
        (void)poll(NULL, 0, 10);
    }
    return false;
}

void fh_app_free(fh_app *a) {
    if (!a) return;
    fh_http_free(a->http); /* from here on nothing new comes; what is under way loses its client */
    if (a->fleet) fh_fleet_stop(a->fleet);
    bool idle = await_users(a);
    pthread_mutex_lock(&a->lock);
    a->quit = true;
    pthread_cond_broadcast(&a->more);
    pthread_mutex_unlock(&a->lock);
    for (uint32_t i = 0; i < a->n_worker; i++) pthread_join(a->worker[i], NULL);
    if (idle) fh_fleet_free(a->fleet); /* else a holder would touch what is gone: the process ends anyway */
    run_left_jobs(a);
    for (size_t i = a->n_thing; i-- > 0;)
        if (a->things[i].free) a->things[i].free(a->things[i].thing);
    run_left_jobs(a); /* of threads that were things: the account of their last call */
    if (atomic_load(&a->hot)) fh_app_audit(a, "server.stop", "version", FH_VERSION);
    if (a->auth && atomic_load(&a->hot)) save(a);
    fh_auth_free(a->auth);
    fh_audit_close(a->audit);
    fh_metrics_free(a->metrics);
    free_hot(atomic_load(&a->hot));
    if (a->has_config) fh_config_release(&a->config);
    pthread_cond_destroy(&a->more);
    pthread_mutex_destroy(&a->lock);
    fh_free(a);
}
