/* serve/core.c - what the server says of itself: health, metrics, status; models in and out by hand.
 * SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "base/json_member.h"
#include "base/num.h"
#include "serve/app_part.h"

#define MOST_TEXT ((size_t)64 << 20)

static void reply(fh_call *c, int status, const char *type, fh_buf *text) {
    if (fh_buf_check(text, NULL) == FH_OK) fh_exchange_reply(c->x, status, type, fh_buf_str(text));
    else fh_call_fail(c, 503, NULL, NULL, "out of memory");
    fh_buf_release(text);
}

/* What probes of Ollama's clients look for. */
void fh_core_root(fh_call *c) {
    fh_exchange_reply(c->x, 200, "text/plain; charset=utf-8", FH_STR("Ollama is running"));
}

void fh_core_health(fh_call *c) { fh_exchange_reply(c->x, 200, "application/json", FH_STR("{\"status\":\"ok\"}")); }

void fh_core_ready(fh_call *c) {
    fh_fleet_entry e;
    bool ready = !c->app->draining;
    for (size_t i = 0; ready && fh_fleet_get(c->app->fleet, i, &e); i++) ready = !e.pinned || e.loaded;
    if (ready) fh_exchange_reply(c->x, 200, "application/json", FH_STR("{\"status\":\"ready\"}"));
    else
        fh_call_fail(c, 503, NULL, NULL, "%s",
                     c->app->draining ? "the server is about to stop" : "models are being loaded");
}

/* ---- metrics ---- */

static void gather_model(fh_metrics *m, const fh_fleet_entry *e) {
    const fh_scheduler_load *l = &e->load;
    fh_metrics_set(m, FH_METRIC_MODEL_BYTES, e->name, NULL, NULL, e->loaded ? (double)e->bytes : 0);
    if (!e->loaded) return;
    fh_metrics_set(m, FH_METRIC_RUNNING, e->name, NULL, NULL, l->running);
    fh_metrics_set(m, FH_METRIC_WAITING, e->name, NULL, NULL, l->waiting);
    fh_metrics_set(m, FH_METRIC_PAUSED, e->name, NULL, NULL, l->paused);
    fh_metrics_set(m, FH_METRIC_BATCHES, e->name, NULL, NULL, (double)l->batches);
    fh_metrics_set(m, FH_METRIC_BATCH_TOKENS, e->name, NULL, NULL, (double)l->batch_tokens);
    fh_metrics_set(m, FH_METRIC_DRAFTED, e->name, NULL, NULL, (double)l->drafted_tokens);
    fh_metrics_set(m, FH_METRIC_ACCEPTED, e->name, NULL, NULL, (double)l->accepted_tokens);
    fh_metrics_set(m, FH_METRIC_STATE_LIVE, e->name, NULL, NULL, (double)l->memory.page_bytes_live);
    fh_metrics_set(m, FH_METRIC_STATE_CACHED, e->name, NULL, NULL, (double)l->memory.page_bytes_cached);
}

static void gather(fh_app *a) {
    fh_http_stats st = fh_http_get_stats(a->http);
    fh_metrics *m = a->metrics;
    fh_fleet_entry e;
    for (size_t i = 0; fh_fleet_get(a->fleet, i, &e); i++) gather_model(m, &e);
    fh_metrics_set(m, FH_METRIC_CONNECTIONS, NULL, NULL, NULL, st.connections);
    fh_metrics_set(m, FH_METRIC_CONN_TOTAL, NULL, NULL, NULL, (double)st.accepted);
    fh_metrics_set(m, FH_METRIC_CONN_ENDED, NULL, NULL, "full", (double)st.refused_full);
    fh_metrics_set(m, FH_METRIC_CONN_ENDED, NULL, NULL, "address", (double)st.refused_address);
    fh_metrics_set(m, FH_METRIC_CONN_ENDED, NULL, NULL, "malformed", (double)st.malformed);
    fh_metrics_set(m, FH_METRIC_CONN_ENDED, NULL, NULL, "slow", (double)st.timed_out);
    fh_metrics_set(m, FH_METRIC_CONN_ENDED, NULL, NULL, "stalled", (double)st.stalled);
    fh_metrics_set(m, FH_METRIC_BYTES, NULL, NULL, "in", (double)st.bytes_in);
    fh_metrics_set(m, FH_METRIC_BYTES, NULL, NULL, "out", (double)st.bytes_out);
}

void fh_core_metrics(fh_call *c) {
    fh_buf out;
    fh_buf_init(&out, MOST_TEXT);
    gather(c->app);
    fh_metrics_write(c->app->metrics, &out);
    reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

/* ---- status ---- */

static void put_model(fh_json_writer *w, const fh_fleet_entry *e) {
    fh_json_put_object(w);
    fh_put_z(w, "name", e->name);
    fh_put_z(w, "path", e->path);
    fh_put_z(w, "digest", e->digest);
    fh_put_z(w, "state", e->loaded ? "loaded" : e->loading ? "loading" : "on disk");
    fh_put_u64(w, "file_bytes", e->file_bytes);
    if (e->loading) {
        fh_json_put_key(w, "progress");
        fh_json_put_f64(w, e->progress);
    }
    if (e->loaded) {
        fh_put_u64(w, "bytes", e->bytes);
        fh_put_u64(w, "context", e->n_context);
        fh_put_u64(w, "users", e->users);
        fh_put_u64(w, "expires_unix_ms", e->expires_unix_ms);
        fh_put_u64(w, "running", e->load.running);
        fh_put_u64(w, "waiting", e->load.waiting);
        fh_put_u64(w, "requests", e->load.requests);
        fh_put_u64(w, "prompt_tokens", e->load.prompt_tokens);
        fh_put_u64(w, "cached_tokens", e->load.cached_tokens);
        fh_put_u64(w, "new_tokens", e->load.new_tokens);
    }
    fh_json_put_end(w);
}

static void put_sandbox(fh_json_writer *w, const fh_sandbox_state *s) {
    fh_json_put_key(w, "sandbox");
    fh_json_put_object(w);
    fh_put_bool(w, "on", s->entered);
    fh_put_bool(w, "no_new_privileges", s->no_new_privs);
    fh_put_bool(w, "files", s->files);
    fh_put_bool(w, "network", s->network);
    fh_put_bool(w, "calls", s->calls);
    fh_put_u64(w, "landlock_abi", (uint64_t)s->landlock_abi);
    fh_put_u64(w, "tried", s->tried);
    fh_put_u64(w, "refused", s->refused);
    fh_put_z(w, "missing", s->missing);
    fh_put_z(w, "outgoing_connections", s->calls ? "none possible" : "not prevented by the kernel");
    fh_json_put_end(w);
}

static void put_listens(fh_json_writer *w, const fh_app *a) {
    static const char *const tags[] = {"api", "compat", "admin"};
    fh_json_put_key(w, "listens");
    fh_json_put_array(w);
    for (size_t i = 0; i < a->n_listen; i++) {
        fh_json_put_object(w);
        fh_put_z(w, "for", tags[a->listens[i].tag]);
        fh_put_z(w, "host", a->listens[i].host);
        fh_put_u64(w, "port", a->listens[i].port);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

void fh_core_write_status(fh_app *a, fh_buf *out) {
    fh_http_stats st = fh_http_get_stats(a->http);
    fh_fleet_entry e;
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_put_z(&w, "version", FH_VERSION);
    fh_put_u64(&w, "pid", (uint64_t)getpid());
    fh_put_u64(&w, "started_unix_ms", a->started_ms);
    fh_put_bool(&w, "draining", a->draining);
    fh_put_bool(&w, "deterministic", a->deterministic);
    fh_put_bool(&w, "tls", a->tls);
    fh_put_bool(&w, "keys_needed", fh_app_needs_key(a));
    put_listens(&w, a);
    fh_put_u64(&w, "connections", st.connections);
    fh_put_u64(&w, "requests", st.requests);
    fh_put_u64(&w, "under_way", fh_http_n_exchange(a->http));
    fh_put_u64(&w, "model_bytes", fh_fleet_bytes(a->fleet));
    fh_put_u64(&w, "audit_failures", a->audit ? fh_audit_failures(a->audit) : 0);
    put_sandbox(&w, &a->sandbox);
    fh_json_put_key(&w, "models");
    fh_json_put_array(&w);
    for (size_t i = 0; fh_fleet_get(a->fleet, i, &e); i++) put_model(&w, &e);
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

void fh_core_status(fh_call *c) {
    fh_buf out;
    fh_buf_init(&out, MOST_TEXT);
    fh_core_write_status(c->app, &out);
    reply(c, 200, "application/json", &out);
}

/* ---- by hand ---- */

/* {"model": NAME}; the document is the caller's. NULL: it was answered. */
static fh_json *read_model(fh_call *c, fh_str *name) {
    fh_err err = {.status = FH_OK};
    fh_json *doc = NULL;
    if (fh_json_parse(&doc, fh_exchange_body(c->x), NULL, &err) != FH_OK) {
        fh_call_fail(c, 400, NULL, NULL, "the body is no JSON: %s", err.message);
        return NULL;
    }
    if (fh_json_to_str(fh_json_get(fh_json_root(doc), "model"), name)) return doc;
    fh_call_fail(c, 400, NULL, "model", "{\"model\": NAME} is wanted");
    fh_json_free(doc);
    return NULL;
}

static void on_loaded(void *ctx, fh_resident *r, const fh_err *err) {
    fh_call *c = ctx;
    if (!r) {
        fh_call_fail_err(c, err);
        return;
    }
    fh_app_release(c->app, r);
    fh_exchange_reply(c->x, 200, "application/json", FH_STR("{\"status\":\"loaded\"}\n"));
}

void fh_core_load(fh_call *c) {
    fh_str name;
    fh_json *doc = read_model(c, &name);
    if (!doc) return;
    fh_app_use(c, name, FH_KEEP_DEFAULT, on_loaded, c);
    fh_json_free(doc);
}

void fh_core_unload(fh_call *c) {
    fh_str name;
    fh_err err = {.status = FH_OK};
    fh_json *doc = read_model(c, &name);
    if (!doc) return;
    if (fh_fleet_unload(c->app->fleet, name, &err) != FH_OK) fh_call_fail_err(c, &err);
    else fh_exchange_reply(c->x, 200, "application/json", FH_STR("{\"status\":\"unloaded when unused\"}\n"));
    fh_json_free(doc);
}

void fh_core_reload(fh_call *c) {
    if (c->app->reload_fn) c->app->reload_fn(c->app->reload_ctx);
    fh_exchange_reply(c->x, 202, "application/json", FH_STR("{\"status\":\"reading the settings again\"}\n"));
}
