/* serve/router.c - what every request passes: Host, Origin, route, key, scope, limits; then its handler.
 * SPDX-License-Identifier: Apache-2.0
 * All of that happens when the head is there: who may not ask does not get to send a body. */
#include "serve/router.h"

#include <arpa/inet.h>
#include <strings.h>

#include "base/clock.h"
#include "base/num.h"
#include "serve/app_part.h"

static const fh_route routes[] = {
#define FH_ROUTE_ROW(method, path, scope, dialect, fn) {method, path, FH_SCOPE_##scope, FH_DIALECT_##dialect, fn},
#include "serve/routes.def"
#undef FH_ROUTE_ROW
};

const fh_route *fh_route_table(size_t *n) {
    *n = FH_COUNT(routes);
    return routes;
}

/* ---- the table ---- */

static bool match_path(const char *pattern, fh_str path, fh_str hole[FH_CALL_HOLES]) {
    size_t n = 0;
    hole[0] = hole[1] = (fh_str){"", 0};
    while (*pattern) {
        if (strcmp(pattern, "{*}") == 0) {
            hole[n] = path;
            return path.len > 0;
        }
        if (pattern[0] == '{' && pattern[1] == '}') {
            size_t len = 0;
            while (len < path.len && path.ptr[len] != '/') len++;
            if (len == 0 || n == FH_CALL_HOLES) return false;
            hole[n++] = fh_str_first(path, len);
            path = fh_str_drop(path, len);
            pattern += 2;
            continue;
        }
        if (path.len == 0 || *path.ptr != *pattern) return false;
        path = fh_str_drop(path, 1);
        pattern++;
    }
    return path.len == 0;
}

fh_route_match fh_route_find(const fh_route *table, size_t n, fh_str method, fh_str path) {
    fh_route_match m = {.route = NULL};
    fh_str hole[FH_CALL_HOLES], wanted = fh_str_is(method, "HEAD") ? FH_STR("GET") : method;
    if (path.len > 1 && fh_str_ends(path, "/")) path.len--;
    for (size_t i = 0; i < n; i++) {
        if (!match_path(table[i].path, path, hole)) continue;
        m.path_known = true;
        if (!fh_str_is(wanted, table[i].method) && !fh_str_is(method, table[i].method)) continue;
        m.route = &table[i];
        memcpy(m.hole, hole, sizeof hole);
        return m;
    }
    return m;
}

/* ---- Host and Origin ---- */

/* "name:port", "[::1]:port" to the name alone. */
static fh_str without_port(fh_str host) {
    size_t at;
    if (fh_str_starts(host, "[")) {
        if (!fh_str_find(host, ']', &at)) return (fh_str){"", 0};
        return (fh_str){host.ptr + 1, at - 1};
    }
    if (fh_str_find(host, ':', &at)) host.len = at;
    return host;
}

static bool same_name(fh_str a, fh_str b) { return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0; }

static bool is_address(fh_str s) {
    char text[64];
    uint8_t bytes[16];
    return fh_str_copy(text, sizeof text, s) &&
           (inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1);
}

bool fh_app_is_loopback_host(const char *host) {
    return strncmp(host, "unix:", 5) == 0 || strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0;
}

/* A page of another site can make a browser send requests here, but not under a name of ours. Addresses are no names
 * that such a page could have pointed at us; beyond loopback any of this machine's may be the one. */
static bool host_is_ours(const fh_app *a, const fh_app_hot *hot, fh_str host) {
    char text[64];
    bool beyond = false;
    fh_str name = without_port(host);
    if (name.len == 0) return false;
    for (size_t i = 0; i < a->n_listen; i++) {
        if (same_name(name, fh_str_of(a->listens[i].host))) return true;
        beyond = beyond || !fh_app_is_loopback_host(a->listens[i].host);
    }
    for (size_t i = 0; i < hot->n_host; i++)
        if (same_name(name, hot->host[i])) return true;
    if (fh_str_is(name, "localhost") || fh_str_is(name, "Localhost")) return true;
    if (!is_address(name) || !fh_str_copy(text, sizeof text, name)) return false;
    return beyond || fh_app_is_loopback_host(text);
}

/* 0: fine; 1: an allowed page of another site; -1: refused. */
static int judge_origin(const fh_app_hot *hot, const fh_exchange *x, fh_str host) {
    fh_str origin, site;
    if (fh_exchange_header(x, "origin", &origin)) {
        for (size_t i = 0; i < hot->n_origin; i++)
            if (fh_str_eq(origin, hot->origin[i])) return 1;
        fh_str rest = fh_str_starts(origin, "http://")    ? fh_str_drop(origin, 7)
                      : fh_str_starts(origin, "https://") ? fh_str_drop(origin, 8)
                                                          : (fh_str){"", 0};
        return rest.len && same_name(rest, host) ? 0 : -1;
    }
    if (fh_exchange_header(x, "sec-fetch-site", &site) &&
        (fh_str_is(site, "cross-site") || fh_str_is(site, "same-site")))
        return fh_str_is(fh_exchange_method(x), "GET") || fh_str_is(fh_exchange_method(x), "HEAD") ? 0 : -1;
    return 0;
}

static bool pass_host(fh_call *c, const fh_app_hot *hot) {
    fh_str host = {"", 0}, origin;
    if (fh_exchange_tag(c->x) == FH_LISTEN_ADMIN) return true;
    (void)fh_exchange_header(c->x, "host", &host);
    if (!host_is_ours(c->app, hot, host)) {
        fh_metrics_add(c->app->metrics, FH_METRIC_REFUSED, NULL, NULL, "host", 1);
        fh_call_fail(c, 403, "host_not_allowed", NULL,
                     "this server is not known as '%.*s'; the setting allow_host names what it may be called",
                     FH_STR_ARG(host));
        return false;
    }
    int verdict = judge_origin(hot, c->x, host);
    if (verdict < 0) {
        fh_metrics_add(c->app->metrics, FH_METRIC_REFUSED, NULL, NULL, "origin", 1);
        fh_call_fail(c, 403, "origin_not_allowed", NULL,
                     "pages of other sites may not use this server; the setting allow_origin names those that may");
        return false;
    }
    if (verdict > 0 && fh_exchange_header(c->x, "origin", &origin)) {
        fh_exchange_set_header(c->x, "Access-Control-Allow-Origin", origin);
        fh_exchange_set_header(c->x, "Vary", FH_STR("Origin"));
        if (fh_str_is(fh_exchange_method(c->x), "OPTIONS")) {
            fh_exchange_set_header(c->x, "Access-Control-Allow-Methods", FH_STR("GET, POST, DELETE, HEAD"));
            fh_exchange_set_header(c->x, "Access-Control-Allow-Headers",
                                   FH_STR("authorization, content-type, x-api-key, anthropic-version, anthropic-beta"));
            fh_exchange_set_header(c->x, "Access-Control-Max-Age", FH_STR("600"));
        }
    }
    return true;
}

/* ---- key, scope, limits ---- */

static fh_str key_text(const fh_exchange *x) {
    fh_str v = {"", 0};
    if (fh_exchange_header(x, "authorization", &v)) {
        if (v.len > 7 && strncasecmp(v.ptr, "bearer ", 7) == 0) {
            v = fh_str_drop(v, 7);
            while (v.len && v.ptr[0] == ' ') v = fh_str_drop(v, 1);
            return v;
        }
        return v.len ? v : (fh_str){"", 0};
    }
    if (!fh_exchange_header(x, "x-api-key", &v)) v = (fh_str){"", 0};
    return v;
}

static bool refuse_key(fh_call *c, fh_auth_verdict v, uint32_t retry_ms) {
    static const char *const why[] = {
        [FH_AUTH_NO_KEY] =
            "a key is needed: Authorization: Bearer KEY, or x-api-key: KEY (`freehold key create` makes one)",
        [FH_AUTH_WRONG] = "this key is not known here",
        [FH_AUTH_EXPIRED] = "this key has expired",
        [FH_AUTH_REVOKED] = "this key was revoked",
        [FH_AUTH_WAIT] = "too many wrong keys came from this address"};
    static const char *const words[] = {[FH_AUTH_NO_KEY] = "no key",
                                        [FH_AUTH_WRONG] = "wrong key",
                                        [FH_AUTH_EXPIRED] = "expired key",
                                        [FH_AUTH_REVOKED] = "revoked key",
                                        [FH_AUTH_WAIT] = "backoff"};
    fh_metrics_add(c->app->metrics, FH_METRIC_REFUSED, NULL, NULL, words[v], 1);
    if (v != FH_AUTH_NO_KEY && v != FH_AUTH_WAIT) fh_app_audit(c->app, "auth.refused", words[v], c->part->peer);
    if (v == FH_AUTH_WAIT) {
        fh_call_fail_busy(c, false, retry_ms, why[v]);
    } else {
        fh_exchange_set_header(c->x, "WWW-Authenticate", FH_STR("Bearer"));
        fh_call_fail(c, 401, "invalid_api_key", NULL, "%s", why[v]);
    }
    return false;
}

static bool identify(fh_call *c, const fh_app_hot *hot) {
    fh_app *a = c->app;
    fh_identity *who = &c->part->who;
    uint32_t retry_ms = 0;
    if (fh_exchange_tag(c->x) == FH_LISTEN_ADMIN) {
        fh_auth_local(who, "admin-socket", FH_STR("unix"));
        who->scopes |= FH_KEY_ADMIN;
        return true;
    }
    bool open = !hot->require_key && fh_exchange_is_loopback(c->x) && (!a->auth || !fh_auth_has_keys(a->auth));
    if (open) {
        fh_auth_local(who, "local", fh_exchange_peer(c->x));
        return true;
    }
    if (!a->auth) return refuse_key(c, FH_AUTH_NO_KEY, 0);
    fh_auth_verdict v = fh_auth_check(a->auth, key_text(c->x), fh_exchange_peer(c->x), fh_clock_ns(), who, &retry_ms);
    return v == FH_AUTH_OK ? true : refuse_key(c, v, retry_ms);
}

static bool pass_scope(fh_call *c) {
    static const uint32_t needs[] = {[FH_SCOPE_PUBLIC] = 0,
                                     [FH_SCOPE_INFER] = FH_KEY_INFER,
                                     [FH_SCOPE_ADMIN] = FH_KEY_ADMIN,
                                     [FH_SCOPE_PULL] = FH_KEY_PULL};
    uint32_t scopes = c->part->who.scopes;
    c->most = scopes & FH_KEY_ADMIN ? FH_SCOPE_ADMIN : scopes & FH_KEY_PULL ? FH_SCOPE_PULL : FH_SCOPE_INFER;
    if ((needs[c->route->scope] & scopes) == needs[c->route->scope]) return true;
    fh_metrics_add(c->app->metrics, FH_METRIC_REFUSED, NULL, c->key_id, "scope", 1);
    if (c->route->scope == FH_SCOPE_ADMIN && strcmp(c->key_id, "local") == 0)
        fh_call_fail(c, 401, "invalid_api_key", NULL,
                     "this is answered on the admin socket, or to a key made with `freehold key create --scope admin`");
    else fh_call_fail(c, 403, "scope_missing", NULL, "this key may not do that");
    return false;
}

static bool pass_limits(fh_call *c) {
    uint32_t retry_ms = 0;
    if (c->app->draining) {
        fh_call_fail_busy(c, true, 5000, "the server is about to stop");
        return false;
    }
    const char *why = c->app->auth ? fh_auth_admit(c->app->auth, &c->part->who, fh_clock_ns(), &retry_ms) : NULL;
    c->part->admitted = !why;
    if (!why) return true;
    fh_metrics_add(c->app->metrics, FH_METRIC_REFUSED, NULL, c->key_id, "limit", 1);
    fh_call_fail_busy(c, false, retry_ms ? retry_ms : 3600000, why);
    return false;
}

/* ---- a call ---- */

static void release_call(void *thing) {
    fh_call *c = thing;
    c->part->status = fh_exchange_status(c->x);
    c->part->bytes = fh_exchange_bytes(c->x);
    fh_app_defer(c->app, fh_app_account, c);
}

static fh_call *new_call(fh_app *a, fh_exchange *x) {
    char id[48];
    fh_call *c = fh_alloc_zero(1, sizeof *c);
    struct fh_call_part *p = fh_alloc_zero(1, sizeof *p);
    if (!c || !p) {
        fh_free(c);
        fh_free(p);
        return NULL;
    }
    c->app = a;
    c->x = x;
    c->part = p;
    c->dialect = FH_DIALECT_OPENAI;
    fh_buf_init(&p->warned, 2000);
    p->arrived_ns = fh_exchange_arrived_ns(x);
    p->number = fh_exchange_number(x);
    (void)fh_str_copy(p->method, sizeof p->method, fh_str_first(fh_exchange_method(x), sizeof p->method - 1));
    (void)fh_str_copy(p->path, sizeof p->path, fh_str_first(fh_exchange_path(x), sizeof p->path - 1));
    (void)fh_str_copy(p->peer, sizeof p->peer, fh_exchange_peer(x));
    fh_exchange_attach(x, c, release_call);
    snprintf(id, sizeof id, "req-%s-%llu", a->boot, (unsigned long long)p->number);
    fh_exchange_set_header(x, "X-Request-Id", fh_str_of(id));
    fh_exchange_set_header(x, "X-Content-Type-Options", FH_STR("nosniff"));
    fh_exchange_set_header(x, "Cache-Control", FH_STR("no-store"));
    return c;
}

static void set_who(fh_call *c) {
    const fh_identity *who = &c->part->who;
    memcpy(c->key_id, who->id, sizeof c->key_id);
    memcpy(c->key_name, who->name, sizeof c->key_name);
    c->owner = who->owner;
    c->salt = who->salt;
    c->priority = who->priority;
}

/* Which error would be read by the clients of such a path. */
static fh_dialect dialect_of(fh_str path) {
    if (fh_str_starts(path, "/api/")) return FH_DIALECT_OLLAMA;
    if (fh_str_starts(path, "/v1/messages")) return FH_DIALECT_ANTHROPIC;
    return FH_DIALECT_OPENAI;
}

static bool pass_route(fh_call *c) {
    fh_str method = fh_exchange_method(c->x), path = fh_exchange_path(c->x);
    fh_route_match m = fh_route_find(c->app->table, c->app->n_table, method, path);
    c->dialect = m.route ? m.route->dialect : dialect_of(path);
    c->route = m.route;
    memcpy(c->hole, m.hole, sizeof c->hole);
    if (m.route) return true;
    if (fh_str_is(method, "OPTIONS")) fh_exchange_reply(c->x, 204, NULL, FH_STR(""));
    else if (m.path_known)
        fh_call_fail(c, 405, NULL, NULL, "'%.*s' is not answered to %.*s", FH_STR_ARG(path), FH_STR_ARG(method));
    else fh_call_fail(c, 404, NULL, NULL, "there is nothing at '%.*s'", FH_STR_ARG(path));
    return false;
}

void fh_app_on_head(void *app, fh_exchange *x) {
    fh_app *a = app;
    const fh_app_hot *hot = atomic_load(&a->hot);
    fh_call *c = new_call(a, x);
    if (!c) {
        fh_exchange_reply(x, 503, "text/plain", FH_STR("out of memory\n"));
        return;
    }
    if (!pass_host(c, hot) || !pass_route(c) || c->route->scope == FH_SCOPE_PUBLIC) return;
    if (!identify(c, hot)) return;
    set_who(c);
    if (pass_scope(c)) (void)pass_limits(c);
}

static void run_handler(void *ctx) {
    fh_call *c = ctx;
    if (!fh_exchange_is_gone(c->x)) c->route->fn(c);
    fh_exchange_release(c->x);
}

void fh_app_on_request(void *app, fh_exchange *x) {
    fh_call *c = fh_exchange_thing(x);
    if (!c || !c->route) return;
    if (c->route->scope == FH_SCOPE_PUBLIC) {
        c->route->fn(c);
        return;
    }
    fh_exchange_hold(x);
    fh_app_defer(app, run_handler, c);
}
