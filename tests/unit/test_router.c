/* tests/unit/test_router.c - what requests pass on their way to a handler: Host, Origin, keys, limits, forms
 * of errors; the app's workers and accounts.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>

#include "base/json.h"
#include "base/num.h"
#include "http_peer.h"
#include "serve/audit.h"
#include "serve/keys.h"
#include "serve/router.h"
#include "serve/server.h"

static _Atomic int handled;

static void answer(fh_call *c) {
    char text[256];
    handled++;
    int n = snprintf(text, sizeof text, "%s|%.*s|%.*s|%s", c->route->path, FH_STR_ARG(c->hole[0]),
                     FH_STR_ARG(c->hole[1]), c->key_id);
    c->used.n_prompt = 10;
    c->used.n_new = 5;
    c->used.finish = "stop";
    fh_call_warn_unknown(c, FH_STR("foo"));
    fh_call_warn_unknown(c, FH_STR("bar,\r\n"));
    fh_exchange_reply(c->x, 200, "text/plain", (fh_str){text, (size_t)n});
}
static void fail(fh_call *c) { fh_call_fail(c, 429, "c", "p", "no \"%s\"", "way"); }
static void use(void *ctx, fh_resident *r, const fh_err *err) {
    fh_call *c = ctx;
    CHECK(!r && err);
    fh_call_fail_err(c, err);
}
static void ask_model(fh_call *c) { fh_app_use(c, FH_STR("none"), 0, use, c); }

static const fh_route table[] = {
    {"GET", "/health", FH_SCOPE_PUBLIC, FH_DIALECT_LLAMA, answer},
    {"POST", "/v1/chat/completions", FH_SCOPE_INFER, FH_DIALECT_OPENAI, answer},
    {"GET", "/v1/models/{*}", FH_SCOPE_INFER, FH_DIALECT_OPENAI, answer},
    {"GET", "/v1/responses/{}/input_items", FH_SCOPE_INFER, FH_DIALECT_OPENAI, answer},
    {"GET", "/v1/responses/{}", FH_SCOPE_INFER, FH_DIALECT_OPENAI, answer},
    {"GET", "/x/{}/{}", FH_SCOPE_INFER, FH_DIALECT_OPENAI, answer},
    {"GET", "/status", FH_SCOPE_ADMIN, FH_DIALECT_LLAMA, answer},
    {"POST", "/fail/openai", FH_SCOPE_INFER, FH_DIALECT_OPENAI, fail},
    {"POST", "/fail/anthropic", FH_SCOPE_INFER, FH_DIALECT_ANTHROPIC, fail},
    {"POST", "/fail/ollama", FH_SCOPE_INFER, FH_DIALECT_OLLAMA, fail},
    {"POST", "/fail/llama", FH_SCOPE_INFER, FH_DIALECT_LLAMA, fail},
    {"POST", "/model", FH_SCOPE_INFER, FH_DIALECT_OPENAI, ask_model},
};

TEST(router, table) {
    fh_route_match m = fh_route_find(table, FH_COUNT(table), FH_STR("GET"), FH_STR("/v1/models/org/name:tag"));
    CHECK(m.route == &table[2]);
    CHECK_STR(m.hole[0], "org/name:tag");
    m = fh_route_find(table, FH_COUNT(table), FH_STR("GET"), FH_STR("/v1/responses/r1/input_items"));
    CHECK(m.route == &table[3]);
    CHECK_STR(m.hole[0], "r1");
    m = fh_route_find(table, FH_COUNT(table), FH_STR("HEAD"), FH_STR("/x/a/b/"));
    CHECK(m.route == &table[5]);
    CHECK_STR(m.hole[1], "b");
    m = fh_route_find(table, FH_COUNT(table), FH_STR("GET"), FH_STR("/v1/models/"));
    CHECK(!m.route && !m.path_known);
    m = fh_route_find(table, FH_COUNT(table), FH_STR("DELETE"), FH_STR("/health"));
    CHECK(!m.route && m.path_known);
    CHECK(!fh_route_find(table, FH_COUNT(table), FH_STR("GET"), FH_STR("/healthy")).path_known);
    CHECK(!fh_route_find(table, FH_COUNT(table), FH_STR("GET"), FH_STR("/x//b")).path_known);
}

/* No route of the real table is open but those that say only that the server is there. */
TEST(router, public_routes) {
    static const char *const open[] = {"/", "/health", "/v1/health", "/healthz", "/readyz", "/api/version"};
    size_t n;
    const fh_route *t = fh_route_table(&n);
    CHECK(n >= 10);
    for (size_t i = 0; i < n; i++) {
        bool known = t[i].scope != FH_SCOPE_PUBLIC;
        for (size_t k = 0; k < FH_COUNT(open); k++) known = known || strcmp(open[k], t[i].path) == 0;
        if (!known) fh_test_fail(__FILE__, __LINE__, "'%s' is open to everyone", t[i].path);
        for (size_t k = 0; k < i; k++)
            if (strcmp(t[i].path, t[k].path) == 0 && strcmp(t[i].method, t[k].method) == 0)
                fh_test_fail(__FILE__, __LINE__, "two rows for %s %s", t[i].method, t[i].path);
    }
}

typedef struct lab {
    fh_app *app;
    uint16_t port;
    char out[8192];
} lab;

static void start_with(lab *l, const char *settings, const char *state, const fh_route *routes, size_t n_route) {
    fh_err err = {.status = FH_OK};
    fh_config c;
    fh_fleet *fleet = NULL;
    const fh_fleet_options fo = {.memory_most = 1 << 30};
    handled = 0;
    CHECK_OK(fh_config_init(&c, &err), err);
    CHECK_OK(fh_config_parse(&c, FH_STR("log = off\n"), &err), err);
    for (const char *at = settings; *at;) { /* key = value; ... */
        size_t n = strcspn(at, ";");
        fh_str line = {at, n}, value;
        size_t eq = 0;
        CHECK(fh_str_find(line, '=', &eq));
        value = fh_str_drop(line, eq + 1);
        CHECK_OK(fh_config_set(&c, fh_str_first(line, eq), value, 2, &err), err);
        at += n + (at[n] != '\0');
    }
    CHECK_OK(fh_fleet_new(&fleet, &fo, NULL, NULL, &err), err);
    const fh_app_options o = {.config = &c, .state_dir = state, .table = routes, .n_table = n_route};
    CHECK_OK(fh_app_new(&l->app, &o, fleet, &err), err);
    CHECK_OK(fh_app_listen(l->app, FH_LISTEN_MAIN, "127.0.0.1", 0, &l->port, &err), err);
    CHECK_OK(fh_app_run(l->app, &err), err);
    fh_config_release(&c);
}

static void start(lab *l, const char *settings, const char *state) {
    start_with(l, settings, state, table, FH_COUNT(table));
}

/* The status of one request: method and path, then header lines, then a body. */
static int ask(lab *l, const char *line, const char *headers) {
    char text[2048];
    int status = 0;
    snprintf(text, sizeof text, "%s HTTP/1.1\r\n%sConnection: close\r\nContent-Length: 0\r\n\r\n", line, headers);
    CHECK(peer_ask(l->port, text, l->out, sizeof l->out, NULL) > 0);
    for (const char *c = l->out + 9; *c >= '0' && *c <= '9'; c++) status = status * 10 + (*c - '0');
    return status;
}

#define HOST "Host: localhost:1\r\n"

TEST(router, host_and_origin) {
    lab l;
    start(&l, "allow_host=box.lan;allow_origin=https://chat.example", NULL);
    CHECK_U64(ask(&l, "GET /health", HOST), 200);
    CHECK_U64(ask(&l, "GET /health", "Host: 127.0.0.1:99\r\n"), 200);
    CHECK_U64(ask(&l, "GET /health", "Host: [::1]:99\r\n"), 200);
    CHECK_U64(ask(&l, "GET /health", "Host: BOX.lan\r\n"), 200);
    CHECK_U64(ask(&l, "GET /health", "Host: evil.example\r\n"), 403);
    CHECK_U64(ask(&l, "GET /health", "Host: localhost.evil.example\r\n"), 403);
    CHECK_U64(ask(&l, "GET /health", "Host: 10.0.0.1\r\n"), 403);
    CHECK_U64(ask(&l, "GET /health", "Host: \r\n"), 403);
    CHECK_U64(ask(&l, "GET http://evil.example/health", HOST), 403);
    CHECK(!strstr(l.out, "Access-Control"));
    CHECK_U64(ask(&l, "GET /health", HOST "Origin: https://evil.example\r\n"), 403);
    CHECK_U64(ask(&l, "GET /health", HOST "Origin: null\r\n"), 403);
    CHECK(!strstr(l.out, "Access-Control"));
    CHECK_U64(ask(&l, "GET /health", HOST "Origin: http://localhost:1\r\n"), 200);
    CHECK(!strstr(l.out, "Access-Control"));
    CHECK_U64(ask(&l, "GET /health", HOST "Origin: https://chat.example\r\n"), 200);
    CHECK(strstr(l.out, "Access-Control-Allow-Origin: https://chat.example\r\n") && !strstr(l.out, "Credentials"));
    CHECK_U64(ask(&l, "OPTIONS /v1/chat/completions", HOST "Origin: https://chat.example\r\n"), 204);
    CHECK(strstr(l.out, "Access-Control-Allow-Methods"));
    CHECK_U64(ask(&l, "OPTIONS /v1/chat/completions", HOST "Origin: https://evil.example\r\n"), 403);
    CHECK_U64(ask(&l, "POST /v1/chat/completions", HOST "Sec-Fetch-Site: cross-site\r\n"), 403);
    CHECK_U64(ask(&l, "POST /v1/chat/completions", HOST "Sec-Fetch-Site: none\r\n"), 200);
    fh_app_free(l.app);
}

TEST(router, errors) {
    lab l;
    start(&l, "", NULL);
    CHECK_U64(ask(&l, "POST /fail/openai", HOST), 429);
    CHECK(strstr(
        l.out,
        "{\"error\":{\"message\":\"no \\\"way\\\"\",\"type\":\"rate_limit_error\",\"param\":\"p\",\"code\":\"c\"}}"));
    CHECK_U64(ask(&l, "POST /fail/anthropic", HOST), 429);
    CHECK(
        strstr(l.out, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"no \\\"way\\\"\"}}"));
    CHECK_U64(ask(&l, "POST /fail/ollama", HOST), 429);
    CHECK(strstr(l.out, "\r\n\r\n{\"error\":\"no \\\"way\\\"\"}"));
    CHECK_U64(ask(&l, "POST /fail/llama", HOST), 429);
    CHECK(strstr(l.out, "{\"error\":{\"code\":429,\"message\":\"no \\\"way\\\"\",\"type\":\"rate_limit_error\"}}"));
    CHECK_U64(ask(&l, "GET /nothing", HOST), 404);
    CHECK_U64(ask(&l, "GET /api/nothing", HOST), 404);
    CHECK(strstr(l.out, "\r\n\r\n{\"error\":\"there is nothing at '/api/nothing'\"}"));
    CHECK_U64(ask(&l, "DELETE /health", HOST), 405);
    CHECK_U64(ask(&l, "POST /model", HOST), 404);
    CHECK(strstr(l.out, "\"param\":\"model\",\"code\":\"model_not_found\""));
    CHECK_U64(ask(&l, "GET /status", HOST), 401); /* no key makes nobody an administrator */
    CHECK_U64(ask(&l, "GET /v1/models/a%2Fb", HOST), 200);
    CHECK(strstr(l.out, "\r\n\r\n/v1/models/{*}|a/b||local"));
    CHECK(strstr(l.out, "X-Ignored-Fields: foo, bar???\r\n") && strstr(l.out, "X-Request-Id: req-"));
    fh_app_free(l.app);
}

typedef struct made {
    fh_key like;
    char text[FH_KEY_TEXT];
} made;

static fh_status make(void *ctx, fh_keys *k, fh_err *err) {
    made *m = ctx;
    fh_key *out;
    return fh_keys_create(k, &m->like, m->text, &out, err);
}

static const char *create(made *m, fh_key like) {
    fh_err err = {.status = FH_OK};
    m->like = like;
    CHECK_OK(fh_keys_update(fh_test_tmp(), make, m, &err), err);
    return m->text;
}

/* Every row with no key, a wrong one, and one without its scope (T33). */
TEST(router, every_route_asks_for_a_key) {
    lab l;
    made user;
    char line[256];
    size_t n, n_asked = 0;
    const fh_route *t = fh_route_table(&n);
    create(&user, (fh_key){.name = "user", .scopes = FH_KEY_INFER});
    start_with(&l, "", fh_test_tmp(), NULL, 0);
    for (size_t i = 0; i < n; i++) {
        if (t[i].scope == FH_SCOPE_PUBLIC) continue;
        snprintf(line, sizeof line, "%s %s", t[i].method, t[i].path);
        for (char *c = line; *c; c++)
            if (*c == '{' || *c == '}' || *c == '*') *c = 'x';
        if (ask(&l, line, HOST) != 401) fh_test_fail(__FILE__, __LINE__, "%s without a key: %.60s", line, l.out);
        n_asked++;
    }
    CHECK(n_asked > 40);
    CHECK_U64(ask(&l, "POST /v1/completions", HOST "Authorization: Bearer fh-no-such-key\r\n"), 401);
    fh_app_free(l.app);
}

TEST(router, keys) {
    lab l;
    made user, admin, few;
    char headers[256], line[256];
    create(&user, (fh_key){.name = "user", .scopes = FH_KEY_INFER});
    create(&admin, (fh_key){.name = "admin", .scopes = FH_KEY_ADMIN});
    create(&few, (fh_key){.name = "few", .scopes = FH_KEY_INFER, .limits = {.budget = 20}});
    start(&l, "", fh_test_tmp());
    for (size_t i = 0; i < FH_COUNT(table); i++) {
        if (table[i].scope == FH_SCOPE_PUBLIC) continue;
        snprintf(line, sizeof line, "%s %s", table[i].method, table[i].path);
        for (char *c = line; *c; c++)
            if (*c == '{' || *c == '}' || *c == '*') *c = 'x';
        CHECK_U64(ask(&l, line, HOST), 401);
    }
    CHECK(strstr(l.out, "WWW-Authenticate: Bearer\r\n"));
    CHECK_U64(handled, 0);
    CHECK_U64(ask(&l, "GET /health", HOST), 200);
    snprintf(headers, sizeof headers, HOST "Authorization: Bearer %s\r\n", user.text);
    CHECK_U64(ask(&l, "POST /v1/chat/completions", headers), 200);
    CHECK_U64(ask(&l, "GET /status", headers), 403);
    snprintf(headers, sizeof headers, HOST "x-api-key: %s\r\n", admin.text);
    CHECK_U64(ask(&l, "GET /status", headers), 200);
    CHECK_U64(ask(&l, "POST /v1/chat/completions", headers), 200);
    snprintf(headers, sizeof headers, HOST "Authorization: bearer  %s\r\n", few.text);
    CHECK_U64(ask(&l, "POST /v1/chat/completions", headers), 200);
    for (int i = 0; i < 100 && ask(&l, "POST /v1/chat/completions", headers) == 200; i++) (void)poll(NULL, 0, 10);
    CHECK_U64(ask(&l, "POST /v1/chat/completions", headers), 429);
    CHECK(strstr(l.out, "Retry-After: 3600\r\n") && strstr(l.out, "the key's budget is spent"));
    for (int i = 0; i < 5; i++)
        CHECK_U64(ask(&l, "POST /v1/chat/completions", HOST "Authorization: Bearer fh-12345678-wrong\r\n"), 401);
    CHECK_U64(ask(&l, "POST /v1/chat/completions", HOST "Authorization: Bearer fh-12345678-wrong\r\n"), 429);
    fh_app_free(l.app);
    /* what was done stands in the log, and no key does */
    fh_audit_check check;
    fh_err err = {.status = FH_OK};
    fh_buf file;
    char path[FH_PATH_MAX];
    CHECK_OK(fh_audit_verify(&check, fh_test_tmp(), &err), err);
    CHECK(check.first_bad == 0 && check.n_line > 8);
    fh_buf_init(&file, 1 << 20);
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("audit.log"), &err), err);
    CHECK_OK(fh_file_read(path, &file, &err), err);
    fh_buf_add_byte(&file, 0);
    CHECK(strstr((const char *)file.ptr, "\"event\":\"auth.refused\",\"what\":\"wrong key\""));
    CHECK(strstr((const char *)file.ptr, "\"path\":\"/v1/chat/completions\",\"status\":200"));
    CHECK(!strstr((const char *)file.ptr, user.text + 12) && !strstr((const char *)file.ptr, "wrong\","));
    fh_buf_release(&file);
}

TEST(router, beyond_this_machine) {
    lab l;
    made m;
    uint16_t port;
    fh_err err = {.status = FH_OK};
    start(&l, "", fh_test_tmp());
    CHECK_STATUS(fh_app_listen(l.app, FH_LISTEN_COMPAT, "0.0.0.0", 0, &port, &err), FH_ERR_DENIED);
    CHECK(strstr(err.message, "freehold key create"));
    fh_app_free(l.app);
    create(&m, (fh_key){.name = "a", .scopes = FH_KEY_INFER});
    start(&l, "", fh_test_tmp());
    CHECK_STATUS(fh_app_listen(l.app, FH_LISTEN_COMPAT, "0.0.0.0", 0, &port, &err), FH_ERR_DENIED);
    CHECK(strstr(err.message, "--insecure-plaintext"));
    fh_app_free(l.app);
}

TEST(router, drains) {
    lab l;
    start(&l, "", NULL);
    CHECK_U64(ask(&l, "POST /v1/chat/completions", HOST), 200);
    CHECK(fh_app_drain(l.app, 2000) && fh_app_is_draining(l.app));
    fh_app_free(l.app);
}
