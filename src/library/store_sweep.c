/* library/store_sweep.c - what no name needs any more goes: blobs, folders of links, downloads that were given up.
 * SPDX-License-Identifier: Apache-2.0
 * Asks the table of names about each thing that lies in the folders, never the other way round: what was half made
 * by a process that died is found too. Wants the lock alone, so nothing is on its way meanwhile. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/folder.h"
#include "library/store_part.h"

#define MOST_NAMES ((size_t)256 << 20)

typedef struct sweep {
    fh_store *s;
    fh_store_swept *out;
    bool partial, dry;
} sweep;

static fh_status sweep_blob(sweep *w, const char *path, fh_str name, fh_err *err) {
    bool used = false;
    uint64_t bytes = 0;
    fh_str hex = fh_str_drop(name, 7);
    if (fh_str_starts(name, "sha256-") && fh_sha256_is_hex(hex))
        FH_TRY(fh_store_db_has(w->s, "SELECT 1 FROM file WHERE digest = ?1", hex, &used, err));
    if (used) return FH_OK;
    FH_TRY(fh_file_get_size(path, &bytes, err));
    w->out->n_blob++;
    w->out->bytes += bytes;
    return w->dry || unlink(path) == 0 ? FH_OK : fh_fail_errno(err, "remove", path);
}

static fh_status sweep_model(sweep *w, const char *path, fh_str name, fh_err *err) {
    bool used = false;
    FH_TRY(fh_store_db_has(w->s, "SELECT 1 FROM model WHERE id = ?1", name, &used, err));
    if (used) return FH_OK;
    w->out->n_model++;
    return w->dry ? FH_OK : fh_folder_remove(path, err);
}

/* A download that was cut off is worth keeping, until somebody says otherwise. */
static fh_status sweep_partial(sweep *w, const char *path, fh_str name, fh_err *err) {
    struct stat st;
    if (!w->partial || stat(path, &st) != 0) return FH_OK;
    w->out->n_partial += fh_str_ends(name, ".part");
    w->out->bytes += (uint64_t)st.st_blocks * 512;
    return w->dry || unlink(path) == 0 ? FH_OK : fh_fail_errno(err, "remove", path);
}

static fh_status sweep_folder(sweep *w, const char *folder, fh_status (*one)(sweep *, const char *, fh_str, fh_err *),
                              fh_err *err) {
    char path[FH_PATH_MAX];
    fh_arena arena;
    fh_names names;
    fh_arena_init(&arena, MOST_NAMES);
    fh_status st = fh_dir_list(folder, &arena, &names, err);
    for (size_t i = 0; st == FH_OK && i < names.n; i++) {
        st = fh_path_join(path, folder, names.item[i], err);
        if (st == FH_OK) st = one(w, path, names.item[i], err);
    }
    fh_arena_release(&arena);
    return st;
}

fh_status fh_store_sweep(fh_store *s, bool partial, bool before, bool dry, fh_store_swept *out, fh_err *err) {
    static const char forget[] = "DELETE FROM before; DELETE FROM model WHERE id NOT IN (SELECT model FROM name)";
    fh_store_swept swept = {0};
    sweep w = {s, &swept, partial, dry};
    FH_TRY(fh_store_db_run(s, "BEGIN IMMEDIATE", err));
    fh_status st = before ? fh_store_db_run(s, forget, err) : FH_OK;
    if (st == FH_OK && !dry) st = fh_store_db_run(s, "COMMIT; BEGIN IMMEDIATE", err);
    if (st == FH_OK) st = sweep_folder(&w, s->models, sweep_model, err);
    if (st == FH_OK) st = sweep_folder(&w, s->blobs, sweep_blob, err);
    if (st == FH_OK) st = sweep_folder(&w, s->partial, sweep_partial, err);
    fh_status ended = fh_store_db_run(s, "ROLLBACK", st == FH_OK ? err : NULL);
    if (st == FH_OK) st = ended;
    if (st == FH_OK) *out = swept;
    return st;
}
