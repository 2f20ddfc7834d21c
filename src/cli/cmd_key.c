/* cli/cmd_key.c - freehold key: who may use the server, and how much; and the log of what was done.
 * SPDX-License-Identifier: Apache-2.0
 * A running server takes changes over within a second. A key's text is printed once, when it is made. */
#include <sys/stat.h>

#include "base/clock.h"
#include "base/json_member.h"
#include "base/num.h"
#include "cli/cli.h"
#include "serve/audit.h"
#include "serve/config.h"
#include "serve/keys.h"

#include <openssl/crypto.h>

typedef struct key_options {
    const char *scope, *expires, *budget;
    const char *requests, *tokens, *concurrent, *priority;
} key_options;

typedef struct key_work {
    const key_options *o;
    const char *subject; /* name or id */
    fh_key key;          /* what came out */
    char text[FH_KEY_TEXT];
} key_work;

/* ---- reading options ---- */

static fh_status read_count(uint64_t *out, const char *text, const char *what, fh_err *err) {
    if (!text) return FH_OK;
    if (strcmp(text, "none") == 0) *out = 0;
    else if (!fh_str_u64(fh_str_of(text), out))
        return fh_fail(err, FH_ERR_USAGE, "%s wants a whole number or none, not '%.60s'", what, text);
    return FH_OK;
}

static fh_status read_priority(int64_t *out, const char *text, fh_err *err) {
    double v;
    if (!text) return FH_OK;
    if (!fh_cli_number(fh_str_of(text), &v) || v < -100 || v > 100 || v != (double)(int64_t)v)
        return fh_fail(err, FH_ERR_USAGE, "--priority wants a whole number from -100 to 100, not '%.60s'", text);
    *out = (int64_t)v;
    return FH_OK;
}

static fh_status read_expiry(uint64_t *out, const char *text, fh_err *err) {
    int64_t ms;
    if (!text) return FH_OK;
    if (strcmp(text, "never") == 0) {
        *out = 0;
        return FH_OK;
    }
    if (!fh_config_time(fh_str_of(text), &ms) || ms < 0)
        return fh_fail(err, FH_ERR_USAGE, "--expires wants a time such as 90d or 12h, or never; not '%.60s'", text);
    *out = fh_clock_unix_ms() + (uint64_t)ms;
    return FH_OK;
}

static fh_status apply(fh_key *k, const key_options *o, fh_err *err) {
    FH_TRY(read_count(&k->limits.requests_per_minute, o->requests, "--requests-per-minute", err));
    FH_TRY(read_count(&k->limits.tokens_per_minute, o->tokens, "--tokens-per-minute", err));
    FH_TRY(read_count(&k->limits.concurrent, o->concurrent, "--concurrent", err));
    FH_TRY(read_priority(&k->limits.priority, o->priority, err));
    FH_TRY(read_expiry(&k->expires_ms, o->expires, err));
    if (o->budget && strcmp(o->budget, "none") == 0) k->limits.budget = 0;
    else if (o->budget && !fh_key_parse_budget(fh_str_of(o->budget), &k->limits.budget, &k->limits.period))
        return fh_fail(err, FH_ERR_USAGE, "--budget wants tokens, N, N/day or N/month, or none; not '%.60s'",
                       o->budget);
    if (o->scope && !fh_key_parse_scopes(fh_str_of(o->scope), &k->scopes))
        return fh_fail(err, FH_ERR_USAGE, "--scope wants infer, pull, admin or several with commas; not '%.60s'",
                       o->scope);
    return FH_OK;
}

/* ---- changes ---- */

static fh_status create(void *ctx, fh_keys *k, fh_err *err) {
    key_work *w = ctx;
    fh_key like = {.scopes = FH_KEY_INFER}, *made;
    if (!fh_str_copy(like.name, sizeof like.name, fh_str_of(w->subject)))
        return fh_fail(err, FH_ERR_USAGE, "a key's name has %zu bytes at the most", sizeof like.name - 1);
    FH_TRY(apply(&like, w->o, err));
    FH_TRY(fh_keys_create(k, &like, w->text, &made, err));
    w->key = *made;
    return FH_OK;
}

static fh_status revoke_key(void *ctx, fh_keys *k, fh_err *err) {
    key_work *w = ctx;
    fh_key *found;
    FH_TRY(fh_keys_find(k, fh_str_of(w->subject), &found, err));
    if (!found->revoked_ms) found->revoked_ms = fh_clock_unix_ms();
    w->key = *found;
    return FH_OK;
}

static fh_status limit(void *ctx, fh_keys *k, fh_err *err) {
    key_work *w = ctx;
    fh_key *found;
    FH_TRY(fh_keys_find(k, fh_str_of(w->subject), &found, err));
    FH_TRY(apply(found, w->o, err));
    w->key = *found;
    return FH_OK;
}

static fh_status record(const char *dir, const char *event, const fh_key *k, fh_err *err) {
    fh_audit *a = NULL;
    const fh_log_field f[] = {FH_LOG_S("key", fh_str_of(k->id)), FH_LOG_S("name", fh_str_of(k->name)),
                              FH_LOG_U("scopes", k->scopes)};
    FH_TRY(fh_audit_open(&a, dir, err));
    fh_status s = fh_audit_add(a, event, f, FH_COUNT(f), err);
    fh_audit_close(a);
    return s;
}

/* ---- lists ---- */

static const char *state_of(const fh_key *k, uint64_t now) {
    return k->revoked_ms ? "revoked" : k->expires_ms && k->expires_ms <= now ? "expired" : "valid";
}

static void put_key(fh_json_writer *w, const fh_key *k, const char *text) {
    char scopes[64];
    fh_key_print_scopes(k->scopes, scopes, sizeof scopes);
    fh_json_put_object(w);
    fh_put_z(w, "id", k->id);
    fh_put_z(w, "name", k->name);
    if (text) fh_put_z(w, "key", text);
    fh_put_z(w, "scopes", scopes);
    fh_put_z(w, "state", state_of(k, fh_clock_unix_ms()));
    fh_put_u64(w, "created_ms", k->created_ms);
    fh_put_u64(w, "expires_ms", k->expires_ms);
    fh_put_u64(w, "requests_per_minute", k->limits.requests_per_minute);
    fh_put_u64(w, "tokens_per_minute", k->limits.tokens_per_minute);
    fh_put_u64(w, "concurrent", k->limits.concurrent);
    fh_put_u64(w, "budget", k->limits.budget);
    fh_put_z(w, "budget_per", fh_key_period_name(k->limits.period));
    fh_json_put_key(w, "priority");
    fh_json_put_i64(w, k->limits.priority);
    fh_json_put_end(w);
}

static void put_line(fh_buf *out, const fh_key *k, uint64_t now) {
    char scopes[64], expires[32] = "never", limits[160];
    time_t t = (time_t)(k->expires_ms / 1000);
    struct tm tm;
    fh_key_print_scopes(k->scopes, scopes, sizeof scopes);
    if (k->expires_ms && gmtime_r(&t, &tm)) (void)strftime(expires, sizeof expires, "%Y-%m-%d %H:%M", &tm);
    const fh_key_limits *l = &k->limits;
    int n = 0;
    limits[0] = '\0';
    if (l->requests_per_minute)
        n += snprintf(limits + n, 40, "%llu req/min ", (unsigned long long)l->requests_per_minute);
    if (l->tokens_per_minute) n += snprintf(limits + n, 40, "%llu tok/min ", (unsigned long long)l->tokens_per_minute);
    if (l->concurrent) n += snprintf(limits + n, 36, "%llu at once ", (unsigned long long)l->concurrent);
    if (l->budget)
        (void)snprintf(limits + n, 40, "%llu tok/%s", (unsigned long long)l->budget, fh_key_period_name(l->period));
    fh_buf_printf(out, "%-9s ", k->id);
    fh_cli_add_safe(out, fh_str_of(k->name));
    for (size_t i = strlen(k->name); i < 20; i++) fh_buf_add_byte(out, ' ');
    fh_buf_printf(out, " %-8s %-12s %-17s %s\n", state_of(k, now), scopes, expires, limits[0] ? limits : "no limits");
}

static int list(fh_cli *cli, const char *dir, fh_err *err) {
    fh_keys keys;
    fh_buf out;
    if (fh_keys_read(&keys, dir, err) != FH_OK) return fh_cli_fail(cli, err);
    fh_buf_init(&out, (size_t)64 << 20);
    if (cli->json) {
        fh_json_writer w;
        fh_json_writer_init(&w, &out, true);
        fh_json_put_array(&w);
        for (size_t i = 0; i < keys.n; i++) put_key(&w, &keys.item[i], NULL);
        fh_json_put_end(&w);
        fh_buf_add_byte(&out, '\n');
    } else if (keys.n) {
        fh_buf_printf(&out, "%-9s %-20s %-8s %-12s %-17s %s\n", "ID", "NAME", "STATE", "SCOPES", "EXPIRES (UTC)",
                      "LIMITS");
        for (size_t i = 0; i < keys.n; i++) put_line(&out, &keys.item[i], fh_clock_unix_ms());
    } else {
        fprintf(cli->err, "freehold: there are no keys: only this machine can use the server\n");
    }
    int rc = fh_cli_print(cli, &out);
    fh_buf_release(&out);
    fh_keys_release(&keys);
    return rc;
}

static int show_log(fh_cli *cli, const char *dir, fh_err *err) {
    fh_audit_check c;
    if (fh_audit_verify(&c, dir, err) != FH_OK) return fh_cli_fail(cli, err);
    if (cli->json)
        fprintf(cli->out, "{\"lines\":%llu,\"torn\":%llu,\"first_bad\":%llu,\"last\":\"%s\"}\n",
                (unsigned long long)c.n_line, (unsigned long long)c.n_torn, (unsigned long long)c.first_bad, c.last);
    else if (c.first_bad)
        fprintf(cli->out, "audit.log was changed: line %llu does not follow from those before it\n",
                (unsigned long long)c.first_bad);
    else
        fprintf(cli->out, "audit.log: %llu lines, each following from the one before it (%llu torn)\nlast: %s\n",
                (unsigned long long)c.n_line, (unsigned long long)c.n_torn, c.last);
    return c.first_bad ? 1 : 0;
}

/* ---- the command ---- */

static int print_one(fh_cli *cli, const key_work *w, bool made) {
    fh_json_writer jw;
    fh_buf out;
    fh_buf_init(&out, (size_t)1 << 20);
    if (cli->json) {
        fh_json_writer_init(&jw, &out, true);
        put_key(&jw, &w->key, made ? w->text : NULL);
        fh_buf_add_byte(&out, '\n');
    } else if (made) {
        fh_buf_printf(&out, "%s\n", w->text);
        fprintf(cli->err, "freehold: this is key %s; keep its text, it is not stored and will not be shown again\n",
                w->key.id);
    } else {
        put_line(&out, &w->key, fh_clock_unix_ms());
    }
    int rc = fh_cli_print(cli, &out);
    if (out.ptr) OPENSSL_cleanse(out.ptr, out.cap);
    fh_buf_release(&out);
    return rc;
}

static int change(fh_cli *cli, const char *dir, const char *verb, key_work *w, fh_err *err) {
    static const struct {
        const char *verb, *event;
        fh_keys_change *fn;
    } verbs[] = {{"create", "key.create", create}, {"revoke", "key.revoke", revoke_key}, {"limit", "key.limit", limit}};
    for (size_t i = 0; i < FH_COUNT(verbs); i++) {
        if (strcmp(verb, verbs[i].verb) != 0) continue;
        fh_status s = fh_keys_update(dir, verbs[i].fn, w, err);
        if (s == FH_OK) s = record(dir, verbs[i].event, &w->key, err);
        int rc = s == FH_OK ? print_one(cli, w, verbs[i].fn == create) : fh_cli_fail(cli, err);
        OPENSSL_cleanse(w->text, sizeof w->text);
        return rc;
    }
    fprintf(cli->err, "freehold key: create, list, revoke, limit or log; not '%s'\n", verb);
    return fh_status_exit(FH_ERR_USAGE);
}

int fh_cmd_key(fh_cli *cli) {
    char dir[FH_PATH_MAX];
    fh_err err = {.status = FH_OK};
    key_options o = {.scope = NULL};
    const char *pos[2] = {NULL, NULL};
    const fh_option options[] = {
        {"--scope", FH_OPTION_TEXT, &o.scope, "LIST", "infer, pull, admin (default: infer)"},
        {"--expires", FH_OPTION_TEXT, &o.expires, "TIME", "how long it is good: 90d, 12h (default: never)"},
        {"--requests-per-minute", FH_OPTION_TEXT, &o.requests, "N", "requests (default: no limit)"},
        {"--tokens-per-minute", FH_OPTION_TEXT, &o.tokens, "N", "tokens, of prompts and answers (default: no limit)"},
        {"--concurrent", FH_OPTION_TEXT, &o.concurrent, "N", "requests at once (default: no limit)"},
        {"--budget", FH_OPTION_TEXT, &o.budget, "N[/day|/month]", "tokens in all (default: no limit)"},
        {"--priority", FH_OPTION_TEXT, &o.priority, "N", "-100 to 100, higher goes first (default: 0)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), pos, 2);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    (void)umask(077); /* keys are for their owner alone */
    const char *verb = pos[0] ? pos[0] : "list";
    key_work w = {.o = &o, .subject = pos[1]};
    if (fh_config_state_dir(dir, true, &err) != FH_OK) return fh_cli_fail(cli, &err);
    if (strcmp(verb, "list") == 0 && !pos[1]) return list(cli, dir, &err);
    if (strcmp(verb, "log") == 0 && !pos[1]) return show_log(cli, dir, &err);
    if (!w.subject && strcmp(verb, "create") == 0) w.subject = "key";
    if (!w.subject) {
        fprintf(cli->err, "freehold key %s: which key? `freehold key list` shows them\n", verb);
        return fh_status_exit(FH_ERR_USAGE);
    }
    return change(cli, dir, verb, &w, &err);
}
