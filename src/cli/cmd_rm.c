/* cli/cmd_rm.c - freehold rm, cp, gc: names of the library, and the space behind them.
 * SPDX-License-Identifier: Apache-2.0
 * Only the library is ever changed: a model that another program keeps is left to that program. */
#include "base/json.h"
#include "base/num.h"
#include "cli/cli.h"
#include "library/locate.h"
#include "library/store.h"

#define MOST_MODELS 64

static void say_swept(const fh_cli *cli, const fh_store_swept *w, bool dry) {
    char n[32];
    if (cli->json) {
        fprintf(cli->out, "{\"blobs\": %llu, \"models\": %llu, \"partial\": %llu, \"bytes\": %llu, \"dry_run\": %s}\n",
                (unsigned long long)w->n_blob, (unsigned long long)w->n_model, (unsigned long long)w->n_partial,
                (unsigned long long)w->bytes, dry ? "true" : "false");
        return;
    }
    fprintf(cli->out, "%s %s (%llu blobs, %llu models, %llu downloads that were given up)\n",
            fh_cli_bytes(w->bytes, n, sizeof n), dry ? "could be given back" : "given back",
            (unsigned long long)w->n_blob, (unsigned long long)w->n_model, (unsigned long long)w->n_partial);
}

/* The library's entry, or why there is none. */
static fh_status find(fh_store *s, const char *model, fh_arena *a, fh_store_model *m, fh_err *err) {
    fh_location at;
    bool found = false;
    if (s) FH_TRY(fh_store_find(s, fh_str_of(model), a, m, &found, err));
    if (found) return FH_OK;
    if (fh_locate(&at, model, NULL) == FH_OK && at.source != FH_SOURCE_PATH)
        return fh_fail(err, FH_ERR_DENIED, "'%s' is kept by another program (%s), whose files are never changed here",
                       model, fh_source_name(at.source));
    return fh_fail(err, FH_ERR_NOT_FOUND, "no model '%s' in the library; `freehold list` shows what is here", model);
}

static fh_status remove_all(const char **model, fh_store_swept *swept, fh_err *err) {
    fh_store *s = NULL;
    fh_store_model m;
    fh_arena arena;
    fh_arena_init(&arena, (size_t)256 << 20);
    fh_status st = fh_store_open(&s, FH_STORE_AS_IS, err);
    if (st == FH_OK && s) st = fh_store_lock(s, true, err);
    /* all are looked up before the first goes */
    for (size_t i = 0; st == FH_OK && model[i]; i++) st = find(s, model[i], &arena, &m, err);
    for (size_t i = 0; st == FH_OK && model[i]; i++) {
        st = find(s, model[i], &arena, &m, err);
        if (st == FH_OK) st = fh_store_remove(s, m.name, err);
    }
    if (st == FH_OK) st = fh_store_sweep(s, false, false, false, swept, err);
    fh_arena_release(&arena);
    fh_store_close(s);
    return st;
}

int fh_cmd_rm(fh_cli *cli) {
    const char *model[MOST_MODELS + 1] = {NULL};
    fh_err err = {.status = FH_OK};
    fh_store_swept swept = {0};
    int rc = fh_cli_parse(cli, NULL, 0, model, MOST_MODELS);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_status st = model[0] ? remove_all(model, &swept, &err)
                            : fh_fail(&err, FH_ERR_USAGE, "which model? `freehold list` shows what is here");
    if (st != FH_OK) return fh_cli_fail(cli, &err);
    say_swept(cli, &swept, false);
    return 0;
}

int fh_cmd_cp(fh_cli *cli) {
    const char *name[2] = {NULL, NULL};
    fh_err err = {.status = FH_OK};
    fh_store *s = NULL;
    fh_store_model m;
    fh_arena arena;
    int rc = fh_cli_parse(cli, NULL, 0, name, 2);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_arena_init(&arena, (size_t)256 << 20);
    fh_status st = name[1] ? fh_store_open(&s, FH_STORE_AS_IS, &err)
                           : fh_fail(&err, FH_ERR_USAGE, "which model, and which new name?");
    if (st == FH_OK && s) st = fh_store_lock(s, false, &err);
    if (st == FH_OK) st = find(s, name[0], &arena, &m, &err);
    if (st == FH_OK) st = fh_store_copy(s, &m, fh_str_of(name[1]), &err);
    fh_arena_release(&arena);
    fh_store_close(s);
    return st == FH_OK ? 0 : fh_cli_fail(cli, &err);
}

int fh_cmd_gc(fh_cli *cli) {
    bool dry = false, before = false, keep_partial = false;
    fh_err err = {.status = FH_OK};
    fh_store *s = NULL;
    fh_store_swept swept = {0};
    const fh_option options[] = {
        {"--dry-run", FH_OPTION_FLAG, &dry, NULL, "only count (default: remove)"},
        {"--before", FH_OPTION_FLAG, &before, NULL,
         "also what names stood for before an upgrade; rollback then has nothing (default: keep)"},
        {"--keep-partial", FH_OPTION_FLAG, &keep_partial, NULL, "downloads that were cut off stay (default: they go)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), NULL, 0);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_status st = fh_store_open(&s, FH_STORE_AS_IS, &err);
    if (st == FH_OK && s) st = fh_store_lock(s, true, &err);
    if (st == FH_OK && s) st = fh_store_sweep(s, !keep_partial, before, dry, &swept, &err);
    fh_store_close(s);
    if (st != FH_OK) return fh_cli_fail(cli, &err);
    say_swept(cli, &swept, dry);
    return 0;
}
