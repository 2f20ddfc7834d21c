/* cli/cmd_upgrade.c - freehold upgrade, rollback: newer models under the same names, and back again.
 * SPDX-License-Identifier: Apache-2.0
 * The old model stays in the library until `freehold gc --before`. */
#include "base/json_member.h"
#include "base/num.h"
#include "cli/pull_part.h"

#define MOST_MODELS 64

typedef struct upgrade {
    fh_puller p;
    fh_arena arena;
    fh_json_writer w;
    fh_buf out;
} upgrade;

static void say(upgrade *u, const fh_pull_result *r) {
    char n[32];
    if (u->p.cli->json) {
        fh_json_put_object(&u->w);
        fh_put_str(&u->w, "name", r->model.name);
        fh_put_bool(&u->w, "changed", !r->unchanged);
        fh_put_z(&u->w, "id", r->model.id);
        fh_put_str(&u->w, "revision", r->model.revision);
        fh_json_put_end(&u->w);
    } else if (r->unchanged) {
        fh_buf_printf(&u->out, "%.*s  is what it was\n", FH_STR_ARG(r->model.name));
    } else {
        fh_buf_printf(&u->out, "%.*s  upgraded, %s fetched; `freehold rollback %.*s` goes back\n",
                      FH_STR_ARG(r->model.name), fh_cli_bytes(r->bytes_fetched, n, sizeof n),
                      FH_STR_ARG(r->model.name));
    }
}

static fh_status upgrade_one(upgrade *u, const fh_store_model *m, fh_err *err) {
    fh_pull_result r;
    if (fh_str_is(m->source, "bundle")) {
        fprintf(u->p.cli->err, "freehold: '%.*s' came from a bundle; there is nowhere to look for a newer one\n",
                FH_STR_ARG(m->name));
        return FH_OK;
    }
    u->p.as = m->name.ptr;
    FH_TRY(fh_puller_run(&u->p, &r, m->source.ptr, err));
    say(u, &r);
    fh_pull_result_release(&r);
    return FH_OK;
}

/* Those that were named, else all. The table is closed before anything is fetched. */
static fh_status choose(upgrade *u, const char *const *named, fh_store_model **out, size_t *n, fh_err *err) {
    fh_store *s = NULL;
    bool found = true;
    fh_status st = fh_store_open(&s, FH_STORE_AS_IS, err);
    *n = 0;
    if (st == FH_OK && s && !named[0]) st = fh_store_list(s, &u->arena, out, n, err);
    if (st == FH_OK && named[0] && !s) st = fh_fail(err, FH_ERR_NOT_FOUND, "the library is empty");
    if (st == FH_OK && named[0]) *out = fh_arena_alloc(&u->arena, MOST_MODELS, sizeof **out);
    for (size_t i = 0; st == FH_OK && named[i]; i++) {
        st = fh_store_find(s, fh_str_of(named[i]), &u->arena, &(*out)[(*n)++], &found, err);
        if (st == FH_OK && !found) st = fh_fail(err, FH_ERR_NOT_FOUND, "no model '%s' in the library", named[i]);
    }
    fh_store_close(s);
    return st;
}

int fh_cmd_upgrade(fh_cli *cli) {
    const char *named[MOST_MODELS + 1] = {NULL};
    fh_err err = {.status = FH_OK};
    fh_store_model *m = NULL;
    size_t n = 0;
    upgrade u = {.p = {.cli = cli, .keep_before = true}};
    const fh_option options[] = {FH_PULLER_OPTIONS(&u.p)};
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), named, MOST_MODELS);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_arena_init(&u.arena, (size_t)256 << 20);
    fh_buf_init(&u.out, (size_t)1 << 24);
    fh_json_writer_init(&u.w, &u.out, true);
    if (cli->json) fh_json_put_array(&u.w);
    fh_status st = choose(&u, named, &m, &n, &err);
    for (size_t i = 0; st == FH_OK && i < n; i++) st = upgrade_one(&u, &m[i], &err);
    if (cli->json) fh_json_put_end(&u.w);
    if (cli->json) fh_buf_add_byte(&u.out, '\n');
    rc = fh_cli_print(cli, &u.out);
    if (st != FH_OK) rc = fh_cli_fail(cli, &err);
    fh_buf_release(&u.out);
    fh_arena_release(&u.arena);
    return rc;
}

int fh_cmd_rollback(fh_cli *cli) {
    const char *name = NULL;
    fh_err err = {.status = FH_OK};
    fh_store *s = NULL;
    fh_store_model m;
    fh_arena arena;
    bool found = false;
    int rc = fh_cli_parse(cli, NULL, 0, &name, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_arena_init(&arena, (size_t)256 << 20);
    fh_status st = name ? fh_store_open(&s, FH_STORE_AS_IS, &err) : fh_fail(&err, FH_ERR_USAGE, "which model?");
    if (st == FH_OK && s) st = fh_store_lock(s, false, &err);
    if (st == FH_OK && s) st = fh_store_find(s, fh_str_of(name), &arena, &m, &found, &err);
    if (st == FH_OK && !found) st = fh_fail(&err, FH_ERR_NOT_FOUND, "no model '%s' in the library", name);
    if (st == FH_OK) st = fh_store_rollback(s, m.name, &err);
    if (st == FH_OK) st = fh_store_find(s, m.name, &arena, &m, &found, &err);
    fh_store_close(s);
    if (st == FH_OK && cli->json) fprintf(cli->out, "{\"id\": \"%s\"}\n", m.id);
    else if (st == FH_OK)
        fprintf(cli->out, "%.*s  stands for %.12s again (%.*s)\n", FH_STR_ARG(m.name), m.id, FH_STR_ARG(m.revision));
    fh_arena_release(&arena);
    return st == FH_OK ? 0 : fh_cli_fail(cli, &err);
}
