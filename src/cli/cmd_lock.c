/* cli/cmd_lock.c - freehold lock, sync: a team's models, pinned by digest, and a machine made equal to them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "cli/pull_part.h"
#include "library/lock.h"

#define MOST_LOCK ((size_t)64 << 20)
#define MOST_MODELS 64
#define LOCK_FILE "freehold.lock"

static fh_status write_file(const char *path, const fh_buf *text, fh_err *err) {
    fh_writer *w = NULL;
    FH_TRY(fh_buf_check(text, err));
    FH_TRY(fh_writer_open(&w, path, err));
    fh_status st = fh_writer_add(w, text->ptr, text->len, err);
    if (st == FH_OK) return fh_writer_commit(w, err);
    fh_writer_abort(w);
    return st;
}

static fh_status choose(fh_store *s, const char *const *named, fh_arena *a, fh_store_model **m, size_t *n,
                        fh_err *err) {
    bool found = false;
    if (!s) return fh_fail(err, FH_ERR_NOT_FOUND, "the library is empty; there is nothing to pin");
    if (!named[0]) return fh_store_list(s, a, m, n, err);
    *m = fh_arena_alloc(a, MOST_MODELS, sizeof **m);
    if (!*m) return fh_arena_fail(a, err);
    for (size_t i = 0; named[i]; i++) {
        FH_TRY(fh_store_find(s, fh_str_of(named[i]), a, &(*m)[(*n)++], &found, err));
        if (!found) return fh_fail(err, FH_ERR_NOT_FOUND, "no model '%s' in the library", named[i]);
    }
    return FH_OK;
}

int fh_cmd_lock(fh_cli *cli) {
    const char *named[MOST_MODELS + 1] = {NULL}, *path = LOCK_FILE;
    fh_err err = {.status = FH_OK};
    fh_store *s = NULL;
    fh_store_model *m = NULL;
    size_t n = 0;
    fh_arena arena;
    fh_buf text;
    const fh_option options[] = {{"-o", FH_OPTION_TEXT, &path, "FILE", "where to (default: " LOCK_FILE ")"}};
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), named, MOST_MODELS);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_arena_init(&arena, (size_t)256 << 20);
    fh_buf_init(&text, MOST_LOCK);
    fh_status st = fh_store_open(&s, FH_STORE_AS_IS, &err);
    if (st == FH_OK) st = choose(s, named, &arena, &m, &n, &err);
    if (st == FH_OK) {
        fh_lock_write(&text, m, n);
        st = write_file(path, &text, &err);
    }
    if (st == FH_OK && cli->json) rc = fh_cli_print(cli, &text);
    else if (st == FH_OK) fprintf(cli->out, "%s  pins %zu model%s\n", path, n, n == 1 ? "" : "s");
    else rc = fh_cli_fail(cli, &err);
    fh_store_close(s);
    fh_buf_release(&text);
    fh_arena_release(&arena);
    return rc;
}

/* ---- sync ---- */

typedef struct sync_run {
    fh_puller p;
    fh_arena arena;
    fh_store_model *want; /* [n_want] */
    size_t n_want, n_fetched, n_renamed, n_right, n_extra, n_removed;
    bool prune, check;
} sync_run;

static fh_status read_lock(sync_run *x, const char *path, fh_err *err) {
    fh_buf text;
    fh_buf_init(&text, MOST_LOCK);
    fh_status st = fh_file_read(path, &text, err);
    if (st == FH_OK) st = fh_lock_read(fh_buf_str(&text), &x->arena, &x->want, &x->n_want, err);
    if (st != FH_OK) fh_err_set_path(err, path);
    fh_buf_release(&text);
    return st;
}

/* Without the network where it can be: the right model, or its blobs under another name. */
static fh_status from_here(sync_run *x, fh_store_model *want, bool *done, fh_err *err) {
    fh_store *s = NULL;
    fh_store_model now;
    bool found = false;
    FH_TRY(fh_store_open(&s, x->check ? FH_STORE_AS_IS : FH_STORE_MAKE, err));
    fh_status st = s && !x->check ? fh_store_lock(s, false, err) : FH_OK;
    if (st == FH_OK && s) st = fh_store_find(s, want->name, &x->arena, &now, &found, err);
    *done = s && found && fh_str_eq(now.name, want->name) && strcmp(now.id, want->id) == 0 && fh_lock_is_here(s, want);
    x->n_right += *done;
    if (st == FH_OK && !*done && !x->check && fh_lock_is_here(s, want)) {
        st = fh_store_put(s, want, true, err);
        *done = st == FH_OK;
        x->n_renamed += *done;
    }
    fh_store_close(s);
    return st;
}

static fh_status sync_one(sync_run *x, fh_store_model *want, fh_err *err) {
    char pinned[2048];
    bool done = false;
    fh_pull_result r;
    FH_TRY(from_here(x, want, &done, err));
    if (done || x->check) return FH_OK;
    if (!fh_lock_pinned(want, pinned, sizeof pinned))
        return fh_fail(err, FH_ERR_NOT_FOUND, "'%.*s' did not come from the network; unbundle it here first",
                       FH_STR_ARG(want->name));
    x->p.as = want->name.ptr;
    x->p.want_id = want->id;
    x->p.source = want->source.ptr;
    FH_TRY(fh_puller_run(&x->p, &r, pinned, err));
    fh_pull_result_release(&r);
    x->n_fetched++;
    return FH_OK;
}

static bool is_wanted(const sync_run *x, fh_str name) {
    for (size_t i = 0; i < x->n_want; i++)
        if (fh_str_eq(x->want[i].name, name)) return true;
    return false;
}

static fh_status extras(sync_run *x, fh_err *err) {
    fh_store *s = NULL;
    fh_store_model *m = NULL;
    fh_store_swept swept;
    size_t n = 0;
    FH_TRY(fh_store_open(&s, FH_STORE_AS_IS, err));
    if (!s) return FH_OK;
    fh_status st = x->prune ? fh_store_lock(s, true, err) : FH_OK;
    if (st == FH_OK) st = fh_store_list(s, &x->arena, &m, &n, err);
    for (size_t i = 0; st == FH_OK && i < n; i++) {
        if (is_wanted(x, m[i].name)) continue;
        x->n_extra++;
        if (x->prune && !x->check) st = fh_store_remove(s, m[i].name, err);
        x->n_removed += x->prune && !x->check && st == FH_OK;
    }
    if (st == FH_OK && x->n_removed) st = fh_store_sweep(s, false, false, false, &swept, err);
    fh_store_close(s);
    return st;
}

static int report(const fh_cli *cli, const sync_run *x) {
    size_t missing = x->n_want - x->n_right - x->n_renamed - x->n_fetched;
    if (cli->json)
        fprintf(
            cli->out,
            "{\"models\": %zu, \"right\": %zu, \"renamed\": %zu, \"fetched\": %zu, \"missing\": %zu, \"extra\": %zu, "
            "\"removed\": %zu}\n",
            x->n_want, x->n_right, x->n_renamed, x->n_fetched, missing, x->n_extra, x->n_removed);
    else
        fprintf(cli->out,
                "%zu model%s: %zu right, %zu from what was here, %zu fetched, %zu missing; %zu beside the lock%s\n",
                x->n_want, x->n_want == 1 ? "" : "s", x->n_right, x->n_renamed, x->n_fetched, missing, x->n_extra,
                x->n_removed ? ", removed" : "");
    return missing ? 1 : 0;
}

int fh_cmd_sync(fh_cli *cli) {
    const char *path = LOCK_FILE;
    fh_err err = {.status = FH_OK};
    sync_run x = {.p = {.cli = cli, .keep_before = true}};
    const fh_option options[] = {
        {"--lock", FH_OPTION_TEXT, &path, "FILE", "the lock (default: " LOCK_FILE ")"},
        {"--prune", FH_OPTION_FLAG, &x.prune, NULL,
         "names that the lock does not have are removed (default: they stay)"},
        {"--check", FH_OPTION_FLAG, &x.check, NULL,
         "change nothing; exit 1 when something is missing (default: mend it)"},
        FH_PULLER_OPTIONS(&x.p),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), NULL, 0);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_arena_init(&x.arena, (size_t)256 << 20);
    fh_status st = read_lock(&x, path, &err);
    for (size_t i = 0; st == FH_OK && i < x.n_want; i++) st = sync_one(&x, &x.want[i], &err);
    if (st == FH_OK) st = extras(&x, &err);
    rc = st == FH_OK ? report(cli, &x) : fh_cli_fail(cli, &err);
    fh_arena_release(&x.arena);
    return rc;
}
