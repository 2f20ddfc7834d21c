/* cli/cmd_serve.c - freehold serve: from flags and a file to a server, and its end.
 * SPDX-License-Identifier: Apache-2.0
 * One thread waits for signals: SIGTERM and SIGINT end gracefully (a second one at once), SIGHUP reads the settings
 * again. Everything that needs the file system or new sockets happens before the sandbox; models are read inside it. */
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/json.h"
#include "base/log.h"
#include "base/num.h"
#include "cli/cli.h"
#include "infer/draft.h"
#include "library/store.h"
#include "serve/server.h"

#define MODELS_MOST 256
#define PATHS_MOST 1024

typedef struct serving {
    fh_cli *cli;
    fh_config config;
    bool has_config;
    const char *file;       /* --config, or NULL */
    char path[FH_PATH_MAX]; /* of the settings */
    char state[FH_PATH_MAX], admin[FH_PATH_MAX + 32];
    const char *text[FH_CONFIG_COUNT];
    fh_cli_list list[FH_CONFIG_COUNT];
    const char *model[MODELS_MOST];
    fh_fleet *fleet;
    fh_app *app;
    uint16_t port, compat_port;
    char host[128], base[192];
    const char *paths[PATHS_MOST]; /* that may be read */
    size_t n_path;
    fh_arena arena;
    fh_sandbox_state sandbox;
    _Atomic bool failed;
    fh_err why;
} serving;

/* ---- settings ---- */

static fh_option *make_options(serving *s, size_t *n) {
    const fh_config_row *rows = fh_config_table();
    fh_option *o = fh_arena_alloc(&s->arena, FH_CONFIG_COUNT + 1, sizeof *o);
    if (!o) return NULL;
    o[0] = (fh_option){"--config", FH_OPTION_TEXT, &s->file, "FILE",
                       "settings, one `key = value` a line (default: ~/.config/freehold/config, if it is there)"};
    for (int k = 0; k < FH_CONFIG_COUNT; k++) {
        static const char *const args[] = {
            [FH_CONFIG_TEXT] = "TEXT",   [FH_CONFIG_FLAG] = "[=yes|no]", [FH_CONFIG_COUNT_] = "N",
            [FH_CONFIG_BYTES] = "BYTES", [FH_CONFIG_TIME] = "TIME",      [FH_CONFIG_LIST] = "TEXT"};
        fh_buf name, help;
        fh_str kept[2];
        bool list = rows[k].kind == FH_CONFIG_LIST, flag = rows[k].kind == FH_CONFIG_FLAG;
        fh_buf_init(&name, 128);
        fh_buf_init(&help, 1024);
        fh_buf_printf(&name, "--%s", rows[k].key);
        for (size_t i = 2; i < name.len; i++)
            if (name.ptr[i] == '_') name.ptr[i] = '-';
        fh_buf_printf(&help, "%s", rows[k].help);
        fh_buf_printf(&help, rows[k].value[0] ? " (default: %s)" : " (default: none)", rows[k].value);
        bool ok = fh_buf_check(&name, NULL) == FH_OK && fh_buf_check(&help, NULL) == FH_OK &&
                  fh_arena_copy(&s->arena, fh_buf_str(&name), &kept[0]) &&
                  fh_arena_copy(&s->arena, fh_buf_str(&help), &kept[1]);
        fh_buf_release(&name);
        fh_buf_release(&help);
        if (!ok) return NULL;
        o[k + 1] = (fh_option){.name = kept[0].ptr,
                               .kind = list   ? FH_OPTION_LIST
                                       : flag ? FH_OPTION_MAYBE
                                              : FH_OPTION_TEXT,
                               .out = list ? (void *)&s->list[k] : (void *)&s->text[k],
                               .arg = args[rows[k].kind],
                               .help = kept[1].ptr};
    }
    *n = FH_CONFIG_COUNT + 1;
    return o;
}

/* The file, then the command line. */
static fh_status read_settings(const serving *s, fh_config *out, fh_err *err) {
    const fh_config_row *rows = fh_config_table();
    FH_TRY(fh_config_init(out, err));
    fh_status st = FH_OK;
    if (s->file || fh_file_get_kind(s->path) != FH_FILE_NONE) st = fh_config_read(out, s->path, err);
    for (int k = 0; k < FH_CONFIG_COUNT && st == FH_OK; k++) {
        const char *v = s->text[k];
        bool flag = rows[k].kind == FH_CONFIG_FLAG;
        if (v) st = fh_config_set(out, fh_str_of(rows[k].key), fh_str_of(flag && !v[0] ? "yes" : v), 2, err);
        for (size_t i = 0; i < s->list[k].n && st == FH_OK; i++)
            st = fh_config_set(out, fh_str_of(rows[k].key), fh_str_of(s->list[k].item[i]), 2, err);
    }
    for (size_t i = 0; i < MODELS_MOST && s->model[i] && st == FH_OK; i++)
        st = fh_config_set(out, FH_STR("model"), fh_str_of(s->model[i]), 2, err);
    if (st != FH_OK) fh_config_release(out);
    return st;
}

static fh_status find_files(serving *s, fh_err *err) {
    if (s->file) {
        if (!fh_str_copy(s->path, sizeof s->path, fh_str_of(s->file)))
            return fh_fail(err, FH_ERR_LIMIT, "the path after --config is too long");
    } else {
        FH_TRY(fh_config_default_path(s->path, err));
    }
    return fh_config_state_dir(s->state, true, err);
}

/* ---- models ---- */

static void on_event(void *ctx, const char *event, const char *name, const fh_err *err) {
    serving *s = ctx;
    if (err) fh_log(FH_LOG_ERROR, event, FH_LOG_S("model", fh_str_of(name)), FH_LOG_S("why", fh_str_of(err->message)));
    else fh_log(FH_LOG_INFO, event, FH_LOG_S("model", fh_str_of(name)));
    if (s->app) fh_app_audit(s->app, event, name, err ? fh_status_text(err->status) : "");
    if (err && !s->failed) {
        s->why = *err;
        s->failed = true;
    }
}

/* NAME=MODEL, unless there is a file of that whole name. */
static fh_status add_model(serving *s, fh_str text, fh_err *err) {
    fh_str name;
    size_t eq;
    if (fh_file_get_kind(text.ptr) != FH_FILE_NONE || !fh_str_find(text, '=', &eq))
        return fh_fleet_add(s->fleet, NULL, text.ptr, true, err);
    if (!fh_arena_copy(&s->arena, fh_str_first(text, eq), &name)) return fh_arena_fail(&s->arena, err);
    return fh_fleet_add(s->fleet, name.ptr, text.ptr + eq + 1, true, err);
}

static fh_status add_models(serving *s, fh_err *err) {
    const fh_config_value *models = &s->config.value[FH_CONFIG_model], *alias = &s->config.value[FH_CONFIG_alias];
    const char *folder = fh_config_text(&s->config, FH_CONFIG_models);
    for (size_t i = 0; i < models->n; i++) FH_TRY(add_model(s, models->item[i], err));
    if (folder[0]) FH_TRY(fh_fleet_add_folder(s->fleet, folder, err));
    if (fh_fleet_n(s->fleet) == 0) FH_TRY(fh_fleet_add(s->fleet, NULL, NULL, true, err));
    for (size_t i = 0; i < alias->n; i++) {
        fh_str name;
        size_t eq;
        if (!fh_str_find(alias->item[i], '=', &eq))
            return fh_fail(err, FH_ERR_USAGE, "an alias is ALIAS=NAME, not '%.*s'", FH_STR_ARG(alias->item[i]));
        if (!fh_arena_copy(&s->arena, fh_str_first(alias->item[i], eq), &name)) return fh_arena_fail(&s->arena, err);
        FH_TRY(fh_fleet_alias(s->fleet, name.ptr, alias->item[i].ptr + eq + 1, err));
    }
    return FH_OK;
}

/* NAME=PATH or MODEL:NAME=PATH; names of models may hold colons themselves. */
static fh_status add_adapters(serving *s, fh_err *err) {
    const fh_config_value *v = &s->config.value[FH_CONFIG_adapter];
    for (size_t i = 0; i < v->n; i++) {
        size_t eq, colon;
        if (!fh_str_find(v->item[i], '=', &eq))
            return fh_fail(err, FH_ERR_USAGE, "an adapter is NAME=PATH or MODEL:NAME=PATH, not '%.*s'",
                           FH_STR_ARG(v->item[i]));
        for (colon = eq; colon > 0 && v->item[i].ptr[colon] != ':';) colon--;
        bool named = v->item[i].ptr[colon] == ':';
        fh_str base = fh_str_first(v->item[i], named ? colon : 0);
        fh_str name = fh_str_drop(fh_str_first(v->item[i], eq), named ? colon + 1 : 0);
        FH_TRY(fh_fleet_add_adapter(s->fleet, base, name, v->item[i].ptr + eq + 1, err));
    }
    return FH_OK;
}

static uint32_t small(uint64_t v) { return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v; }

static fh_status make_fleet(serving *s, fh_err *err) {
    const fh_config *c = &s->config;
    fh_fleet_options o = {.ctx = small(fh_config_number(c, FH_CONFIG_ctx)),
                          .parallel = small(fh_config_number(c, FH_CONFIG_parallel)),
                          .queue = small(fh_config_number(c, FH_CONFIG_queue)),
                          .draft = small(fh_config_number(c, FH_CONFIG_draft_most)),
                          .threads = (int)FH_MIN(fh_config_number(c, FH_CONFIG_threads), 1024u),
                          .exact = fh_config_flag(c, FH_CONFIG_deterministic),
                          .memory_most = fh_config_number(c, FH_CONFIG_memory),
                          .prompt_cache = fh_config_number(c, FH_CONFIG_prompt_cache),
                          .keep_alive_ms = fh_config_ms(c, FH_CONFIG_keep_alive),
                          .state_dir = s->state};
    const char *kv_type = fh_config_text(c, FH_CONFIG_kv_type);
    if (!fh_engine_kv_type(fh_str_of(kv_type), &o.kv_type))
        return fh_fail(err, FH_ERR_USAGE, "kv_type '%.60s' is unknown; there are " FH_KV_TYPES, kv_type);
    if (o.draft > FH_DRAFT_MOST)
        return fh_fail(err, FH_ERR_USAGE, "draft_most is %u at the most, not %u", FH_DRAFT_MOST, o.draft);
    if (fh_config_flag(c, FH_CONFIG_no_draft)) o.draft = 0;
    FH_TRY(fh_fleet_new(&s->fleet, &o, on_event, s, err));
    FH_TRY(add_models(s, err));
    return add_adapters(s, err);
}

/* ---- sandbox ---- */

static fh_status allow_path(serving *s, fh_str path, fh_err *err) {
    fh_str kept;
    if (path.len == 0 || s->n_path == PATHS_MOST) return FH_OK;
    if (!fh_arena_copy(&s->arena, path, &kept)) return fh_arena_fail(&s->arena, err);
    s->paths[s->n_path++] = kept.ptr;
    return FH_OK;
}

/* The folder of a file, where it lies and where its links lead; in a cache of Hugging Face the whole entry,
 * in the library all of it: its folders of links lead to blobs. */
static fh_status allow_folder_of(serving *s, const char *path, fh_err *err) {
    char real[FH_PATH_MAX], library[FH_PATH_MAX];
    const char *each[] = {path, realpath(path, real) ? real : NULL};
    if (fh_store_holds(path, library)) return allow_path(s, fh_str_of(library), err);
    for (size_t i = 0; i < 2; i++) {
        if (!each[i]) continue;
        fh_str p = fh_str_of(each[i]);
        const char *entry = strstr(each[i], "/snapshots/");
        if (entry) p.len = (size_t)(entry - each[i]);
        else if (fh_file_get_kind(each[i]) != FH_FILE_DIR) p.len -= fh_path_base(p).len;
        FH_TRY(allow_path(s, p.len ? p : FH_STR("."), err));
    }
    return FH_OK;
}

static fh_status enter_sandbox(serving *s, fh_err *err) {
    static const char *const always[] = {
        "/etc/localtime", "/usr/share/zoneinfo", "/proc/self",     "/proc/meminfo", "/proc/cpuinfo",
        "/proc/stat",     "/sys/devices/system", "/sys/fs/cgroup", "/dev/null",     "/dev/urandom"};
    const char *write[] = {s->state};
    fh_fleet_entry e;
    (void)fh_cpu_best_level(); /* the probe forks: now, not later */
    for (size_t i = 0; i < FH_COUNT(always); i++) FH_TRY(allow_path(s, fh_str_of(always[i]), err));
    for (size_t i = 0; fh_fleet_get(s->fleet, i, &e); i++)
        if (e.path[0]) FH_TRY(allow_folder_of(s, e.path, err));
    if (fh_config_text(&s->config, FH_CONFIG_models)[0])
        FH_TRY(allow_folder_of(s, fh_config_text(&s->config, FH_CONFIG_models), err));
    FH_TRY(allow_folder_of(s, s->path, err));
    if (fh_config_text(&s->config, FH_CONFIG_tls_key)[0]) {
        FH_TRY(allow_folder_of(s, fh_config_text(&s->config, FH_CONFIG_tls_key), err));
        FH_TRY(allow_folder_of(s, fh_config_text(&s->config, FH_CONFIG_tls_certificate), err));
    }
    const fh_sandbox_options o = {s->paths, write, s->n_path, 1};
    FH_TRY(fh_sandbox_enter(&s->sandbox, &o, err));
    if (s->sandbox.missing[0]) fprintf(s->cli->err, "freehold: note: %s\n", s->sandbox.missing);
    return FH_OK;
}

/* ---- addresses ---- */

static fh_status listen_all(serving *s, fh_err *err) {
    const fh_config *c = &s->config;
    const char *host = fh_config_text(c, FH_CONFIG_host), *compat = fh_config_text(c, FH_CONFIG_compat);
    const char *admin = fh_config_text(c, FH_CONFIG_admin_socket);
    uint64_t port = fh_config_number(c, FH_CONFIG_port);
    if (port > 65535)
        return fh_fail(err, FH_ERR_USAGE, "a port is 65535 at the most, not %llu", (unsigned long long)port);
    FH_TRY(fh_app_listen(s->app, FH_LISTEN_MAIN, host, (uint16_t)port, &s->port, err));
    if (compat[0] && strcmp(compat, "ollama") != 0)
        return fh_fail(err, FH_ERR_USAGE, "compat knows 'ollama', not '%.60s'", compat);
    if (compat[0]) FH_TRY(fh_app_listen(s->app, FH_LISTEN_COMPAT, host, 11434, &s->compat_port, err));
    if (strcmp(admin, "none") == 0) return FH_OK;
    if (admin[0]) snprintf(s->admin, sizeof s->admin, "unix:%s", admin);
    else snprintf(s->admin, sizeof s->admin, "unix:%s/admin.sock", s->state);
    return fh_app_listen(s->app, FH_LISTEN_ADMIN, s->admin, 0, NULL, err);
}

/* What a client on this machine would write; "0.0.0.0" is no address to connect to. */
static void make_base(serving *s) {
    const char *host = fh_config_text(&s->config, FH_CONFIG_host);
    bool tls = fh_config_text(&s->config, FH_CONFIG_tls_key)[0] != '\0';
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0) host = "127.0.0.1";
    snprintf(s->host, sizeof s->host, strchr(host, ':') ? "[%s]" : "%s", host);
    snprintf(s->base, sizeof s->base, "%s://%s:%u", tls ? "https" : "http", s->host, s->port);
}

static void print_json(serving *s) {
    fh_fleet_entry e;
    fh_json_writer w;
    fh_buf out;
    fh_buf_init(&out, (size_t)4 << 20);
    fh_json_writer_init(&w, &out, false);
    fh_json_put_object(&w);
    fh_json_put_key(&w, "url");
    fh_json_put_z(&w, s->base);
    fh_json_put_key(&w, "port");
    fh_json_put_u64(&w, s->port);
    fh_json_put_key(&w, "admin");
    fh_json_put_z(&w, s->admin);
    fh_json_put_key(&w, "models");
    fh_json_put_array(&w);
    for (size_t i = 0; fh_fleet_get(s->fleet, i, &e); i++) fh_json_put_z(&w, e.name);
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(&out, '\n');
    (void)fh_cli_print(s->cli, &out);
    fh_buf_release(&out);
}

/* Each line can be used as it stands. */
static void print_addresses(serving *s) {
    FILE *out = s->cli->out;
    fh_fleet_entry e, first = {.name = "freehold"};
    (void)fh_fleet_get(s->fleet, 0, &first);
    make_base(s);
    if (s->cli->json) {
        print_json(s);
        fflush(out);
        return;
    }
    bool keys = fh_app_needs_key(s->app);
    const char *key = keys ? "YOUR-KEY" : "none";
    fprintf(out, "freehold %s listens on %s\n\n", FH_VERSION, s->base);
    for (size_t i = 0; fh_fleet_get(s->fleet, i, &e) && i < 20; i++)
        fprintf(out, "  %-32s %s\n", e.name, e.loaded ? "in memory" : "loaded when it is asked for");
    if (fh_fleet_n(s->fleet) > 20) fprintf(out, "  and %zu more\n", fh_fleet_n(s->fleet) - 20);
    fprintf(out, "\nPoint your clients at it:\n\n");
    fprintf(out, "  export OPENAI_BASE_URL=%s/v1 OPENAI_API_KEY=%s\n", s->base, key);
    fprintf(out, "  export ANTHROPIC_BASE_URL=%s ANTHROPIC_AUTH_TOKEN=%s\n", s->base, key);
    fprintf(out, "  export OLLAMA_HOST=%s\n", s->base);
    fprintf(out,
            "  curl %s/v1/chat/completions%s%s -H 'Content-Type: application/json' -d '{\"model\":\"%s\","
            "\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n",
            s->base, keys ? " -H 'Authorization: Bearer YOUR-KEY'" : "", s->base[4] == 's' ? " --insecure" : "",
            first.name);
    if (s->compat_port) fprintf(out, "\nOllama's clients also find it at their usual port, %u.\n", s->compat_port);
    if (!keys)
        fprintf(out, "\nOnly this machine can reach it, and needs no key. For others: freehold key create NAME\n");
    fprintf(out, "What it does: freehold ps. Ctrl-C ends it.\n");
    fflush(out);
}

/* ---- running ---- */

static void ask_reload(void *ctx) {
    (void)ctx;
    (void)kill(getpid(), SIGHUP);
}

static void reload(serving *s) {
    fh_err err = {.status = FH_OK};
    fh_config fresh;
    fh_buf cold;
    fh_buf_init(&cold, 4096);
    fh_status st = read_settings(s, &fresh, &err);
    if (st == FH_OK) {
        st = fh_app_reload(s->app, &fresh, &cold, &err);
        fh_config_release(&fresh);
    }
    if (st != FH_OK) fh_log(FH_LOG_ERROR, "config.refused", FH_LOG_S("why", fh_str_of(err.message)));
    else if (cold.len) fh_log(FH_LOG_WARN, "config.reload", FH_LOG_S("needs_restart", fh_buf_str(&cold)));
    else fh_log(FH_LOG_INFO, "config.reload", FH_LOG_S("needs_restart", FH_STR("nothing")));
    fh_buf_release(&cold);
}

static int next_signal(const sigset_t *set, long ms) {
    const struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
    return sigtimedwait(set, NULL, &wait);
}

/* False: a model that was named could not be loaded, or a signal came first. */
static bool await_models(serving *s, const sigset_t *set, int *signal_number) {
    for (;;) {
        fh_fleet_entry e;
        bool all = true;
        if (s->failed) return false;
        for (size_t i = 0; all && fh_fleet_get(s->fleet, i, &e); i++) all = !e.pinned || e.loaded;
        if (all) return true;
        int sig = next_signal(set, 50);
        if (sig == SIGTERM || sig == SIGINT) {
            *signal_number = sig;
            return false;
        }
    }
}

/* Requests under way may end; a second signal does not wait for them. */
static bool drain(serving *s, const sigset_t *set) {
    int64_t ms = fh_config_ms(&s->config, FH_CONFIG_drain);
    uint64_t end = fh_clock_ns() + (uint64_t)(ms < 0 ? INT32_MAX : ms) * 1000000u;
    while (!fh_app_drain(s->app, 100)) {
        int sig = next_signal(set, 0);
        if (sig == SIGTERM || sig == SIGINT) return false;
        if (fh_clock_ns() >= end) {
            fh_log(FH_LOG_WARN, "drain.cut", FH_LOG_I("ms", ms));
            return true;
        }
    }
    return true;
}

static int serve_until_told(serving *s, const sigset_t *set) {
    int sig = 0;
    if (await_models(s, set, &sig)) {
        print_addresses(s);
        while (sig != SIGTERM && sig != SIGINT) {
            sig = next_signal(set, 1000);
            if (sig == SIGHUP) reload(s);
        }
    } else if (s->failed) {
        return fh_cli_fail(s->cli, &s->why);
    }
    if (!s->cli->json) fprintf(s->cli->err, "freehold: stopping; requests under way may end (again: now)\n");
    if (!drain(s, set)) {
        fflush(NULL);
        _exit(130); /* threads are in the middle of things: nothing is unwound */
    }
    return 0;
}

static void raise_descriptors(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) return;
    r.rlim_cur = r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r);
}

static fh_status start(serving *s, fh_err *err) {
    FH_TRY(find_files(s, err));
    FH_TRY(read_settings(s, &s->config, err));
    s->has_config = true;
    raise_descriptors();
    (void)umask(077); /* what is kept is for its owner alone */
    fh_status st = make_fleet(s, err);
    const fh_app_options o = {.config = &s->config, .state_dir = s->state};
    if (st == FH_OK) st = fh_app_new(&s->app, &o, s->fleet, err);
    else fh_fleet_free(s->fleet);
    if (st != FH_OK) {
        s->fleet = NULL;
        return st;
    }
    fh_app_on_reload(s->app, ask_reload, s);
    FH_TRY(listen_all(s, err));
    if (fh_config_flag(&s->config, FH_CONFIG_sandbox)) FH_TRY(enter_sandbox(s, err));
    fh_app_set_sandbox(s->app, &s->sandbox);
    return fh_app_run(s->app, err);
}

int fh_cmd_serve(fh_cli *cli) {
    fh_err err = {.status = FH_OK};
    sigset_t set;
    size_t n;
    serving *s = fh_alloc_zero(1, sizeof *s);
    if (!s) {
        (void)fh_fail_memory(&err, sizeof *s);
        return fh_cli_fail(cli, &err);
    }
    s->cli = cli;
    fh_arena_init(&s->arena, (size_t)16 << 20);
    fh_option *o = make_options(s, &n);
    if (!o) (void)fh_fail_memory(&err, FH_CONFIG_COUNT * sizeof *o);
    int rc = o ? fh_cli_parse(cli, o, n, s->model, MODELS_MOST) : fh_cli_fail(cli, &err);
    if (rc == 0) {
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        rc = start(s, &err) == FH_OK ? serve_until_told(s, &set) : fh_cli_fail(cli, &err);
    } else if (rc == FH_CLI_STOP) {
        rc = 0;
    }
    fh_app_free(s->app);
    if (s->has_config) fh_config_release(&s->config);
    fh_arena_release(&s->arena);
    fh_free(s);
    return rc;
}
