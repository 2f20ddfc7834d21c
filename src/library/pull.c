/* library/pull.c - SPDX-License-Identifier: Apache-2.0 */
#include "library/pull.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "library/hub.h"

#define SPARE_BYTES ((uint64_t)64 << 20) /* left on the disk for the table of names and for others */
#define HASH_PIECE ((size_t)1 << 20)

typedef struct pull {
    const fh_pull_options *o;
    fh_pull_result *r;
    fh_store *store;
    fh_fetch *fetch;
    fh_hub_listing list;
    fh_hub_name *name;
    bool *wanted; /* [list.n] to be fetched */
    bool *same;   /* [list.n] as an earlier one of the same content */
} pull;

/* ---- what is here ---- */

static fh_status hash_blob(char hex[FH_SHA256_HEX], pull *p, const char *path, uint64_t done, uint64_t total,
                           fh_err *err) {
    fh_map *m = NULL;
    fh_sha256 *sha = NULL;
    FH_TRY(fh_map_open(&m, path, err));
    fh_bytes data = fh_map_bytes(m);
    fh_status st = fh_sha256_new(&sha, err);
    fh_map_advise(m, 0, data.len, FH_MAP_SEQUENTIAL);
    for (size_t at = 0; st == FH_OK && at < data.len; at += HASH_PIECE) {
        st = fh_sha256_add(sha, data.ptr + at, FH_MIN(HASH_PIECE, data.len - at), err);
        if (p->o->check) p->o->check(p->o->fetch.watch.ctx, done + at, total);
    }
    if (st == FH_OK) st = fh_sha256_finish(sha, hex, err);
    if (st == FH_OK) st = fh_map_check(m, err);
    fh_sha256_free(sha);
    fh_map_close(m);
    return st;
}

/* A file that is listed with git's name only: the model that the name stands for may have it. */
static fh_status know_by_git(pull *p, const fh_store_model *before, fh_hub_file *f, fh_err *err) {
    char path[FH_PATH_MAX], hex[FH_GIT_HEX];
    fh_buf text;
    fh_git_blob *git = NULL;
    for (size_t i = 0; before && i < before->n_file; i++) {
        const fh_store_file *old = &before->file[i];
        if (!fh_str_eq(old->path, f->file.path) || old->bytes != f->file.bytes) continue;
        FH_TRY(fh_store_blob_path(p->store, old->digest, path, err));
        fh_buf_init(&text, (size_t)f->file.bytes + 1);
        fh_status st = fh_file_read(path, &text, NULL);
        if (st == FH_OK) st = fh_git_blob_new(&git, f->file.bytes, err);
        if (st == FH_OK) st = fh_git_blob_add(git, text.ptr, text.len, err);
        if (st == FH_OK) st = fh_git_blob_finish(git, hex, err);
        if (st == FH_OK && strcmp(hex, f->git) == 0) memcpy(f->file.digest, old->digest, sizeof old->digest);
        fh_git_blob_free(git);
        fh_buf_release(&text);
        return FH_OK; /* what cannot be read is fetched */
    }
    return FH_OK;
}

static bool is_here(const pull *p, const fh_hub_file *f, char path[FH_PATH_MAX]) {
    uint64_t bytes = 0;
    return f->file.digest[0] && fh_store_blob_path(p->store, f->file.digest, path, NULL) == FH_OK &&
           fh_file_get_kind(path) == FH_FILE_REGULAR && fh_file_get_size(path, &bytes, NULL) == FH_OK &&
           bytes == f->file.bytes;
}

/* Proves what is here; what is not what its name says is removed, to be fetched again. */
static fh_status prove(pull *p, const fh_hub_file *f, const char *path, uint64_t total, bool *good, fh_err *err) {
    char hex[FH_SHA256_HEX];
    fh_status st = f->file.bytes ? hash_blob(hex, p, path, p->r->bytes_here, total, err)
                                 : fh_sha256_of((fh_bytes){NULL, 0}, hex, err);
    if (st != FH_OK && st != FH_ERR_CORRUPT && st != FH_ERR_IO) return st;
    *good = st == FH_OK && strcmp(hex, f->file.digest) == 0;
    if (*good) return FH_OK;
    p->r->n_mended++;
    return p->o->dry_run || unlink(path) == 0 ? FH_OK : fh_fail_errno(err, "remove", path);
}

static bool same_content(const fh_hub_file *a, const fh_hub_file *b) {
    if (a->file.digest[0] || b->file.digest[0]) return strcmp(a->file.digest, b->file.digest) == 0;
    return strcmp(a->git, b->git) == 0;
}

static fh_status look_what_is_here(pull *p, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_store_model before = {.bytes = 0};
    bool found = false;
    uint64_t total = 0;
    fh_str name = p->r->model.name;
    if (p->store) FH_TRY(fh_store_find(p->store, name, &p->r->arena, &before, &found, err));
    found = found && fh_str_eq(before.name, name);
    for (size_t i = 0; i < p->list.n; i++) {
        fh_hub_file *f = &p->list.file[i];
        if (p->store && !f->file.digest[0]) FH_TRY(know_by_git(p, found ? &before : NULL, f, err));
        if (p->store && is_here(p, f, path) && !fh_add_u64(total, f->file.bytes, &total))
            return fh_fail(err, FH_ERR_LIMIT, "sizes beyond all bounds");
    }
    for (size_t i = 0; i < p->list.n; i++) {
        const fh_hub_file *f = &p->list.file[i];
        for (size_t k = 0; k < i && !p->same[i]; k++) p->same[i] = same_content(f, &p->list.file[k]);
        if (p->same[i]) continue;
        bool good = false;
        if (p->store && is_here(p, f, path)) FH_TRY(prove(p, f, path, total, &good, err));
        p->wanted[i] = !good;
        uint64_t *sum = good ? &p->r->bytes_here : &p->r->bytes_fetched;
        p->r->n_here += good;
        if (!fh_add_u64(*sum, f->file.bytes, sum) || *sum > (uint64_t)1 << 52)
            return fh_fail(err, FH_ERR_LIMIT, "the listing's sizes are beyond all bounds");
    }
    return FH_OK;
}

/* ---- space ---- */

static const char *key_of(const fh_hub_file *f) { return f->file.digest[0] ? f->file.digest : f->git; }

static fh_status part_path(const pull *p, const fh_hub_file *f, char out[FH_PATH_MAX], fh_err *err) {
    char key[100];
    snprintf(key, sizeof key, "%s-%s", f->file.digest[0] ? "sha256" : "git", key_of(f));
    return fh_store_partial_path(p->store, key, out, err);
}

static fh_status check_space(const pull *p, fh_err *err) {
    uint64_t space, need = p->r->bytes_fetched;
    char path[FH_PATH_MAX];
    struct stat st;
    FH_TRY(fh_store_space(p->store, &space, err));
    for (size_t i = 0; i < p->list.n; i++) {
        if (!p->wanted[i]) continue;
        FH_TRY(part_path(p, &p->list.file[i], path, err));
        /* what an earlier try has taken from the disk already */
        if (stat(path, &st) == 0)
            need -= FH_MIN(need, FH_MIN((uint64_t)st.st_blocks * 512, p->list.file[i].file.bytes));
    }
    if (need == 0 || (need <= space && space - need >= SPARE_BYTES)) return FH_OK;
    return fh_fail(err, FH_ERR_SPACE, "%llu MB are needed and %llu MB are free where the library is, '%.300s'",
                   (unsigned long long)((need + SPARE_BYTES) >> 20), (unsigned long long)(space >> 20),
                   fh_store_folder(p->store));
}

/* ---- bytes ---- */

static fh_status fetch_wanted(pull *p, fh_err *err) {
    char path[FH_PATH_MAX], blobs[FH_PATH_MAX];
    size_t n = 0, k = 0;
    for (size_t i = 0; i < p->list.n; i++) n += p->wanted[i];
    if (n == 0) return FH_OK;
    FH_TRY(fh_path_join(blobs, fh_store_folder(p->store), FH_STR("blobs"), err));
    fh_fetch_file *file = fh_arena_alloc(&p->r->arena, n, sizeof *file);
    if (!file) return fh_arena_fail(&p->r->arena, err);
    for (size_t i = 0; i < p->list.n; i++) {
        const fh_hub_file *f = &p->list.file[i];
        fh_str part;
        if (!p->wanted[i]) continue;
        FH_TRY(part_path(p, f, path, err));
        if (!fh_arena_copy(&p->r->arena, fh_str_of(path), &part)) return fh_arena_fail(&p->r->arena, err);
        fh_fetch_file *x = &file[k++];
        x->from = (fh_fetch_request){.url = f->url.ptr, .bearer = p->list.bearer[0] ? p->list.bearer : NULL};
        x->label = f->file.path.ptr;
        x->bytes = f->file.bytes;
        memcpy(x->sha256, f->file.digest, sizeof x->sha256);
        if (!x->sha256[0]) memcpy(x->git, f->git, sizeof x->git);
        x->part = part.ptr;
        x->folder = blobs;
    }
    FH_TRY(fh_fetch_files(p->fetch, file, n, err));
    for (size_t i = 0, j = 0; i < p->list.n; i++)
        if (p->wanted[i]) memcpy(p->list.file[i].file.digest, file[j++].sha256, FH_SHA256_HEX);
    for (size_t i = 0; i < p->list.n; i++)
        for (size_t j = 0; p->same[i] && j < i; j++)
            if (strcmp(p->list.file[i].git, p->list.file[j].git) == 0 && !p->list.file[i].file.digest[0])
                memcpy(p->list.file[i].file.digest, p->list.file[j].file.digest, FH_SHA256_HEX);
    return FH_OK;
}

/* ---- the model ---- */

static fh_status describe(pull *p, fh_err *err) {
    fh_store_model *m = &p->r->model;
    fh_arena *a = &p->r->arena;
    m->n_file = p->list.n;
    m->file = fh_arena_alloc(a, p->list.n, sizeof *m->file);
    if (!m->file) return fh_arena_fail(a, err);
    const char *source = p->o->source ? p->o->source : p->name->source;
    if (!fh_arena_copy(a, fh_str_of(source), &m->source) || !fh_arena_copy(a, p->list.revision, &m->revision) ||
        !fh_arena_copy(a, p->list.entry, &m->entry))
        return fh_arena_fail(a, err);
    m->bytes = 0;
    for (size_t i = 0; i < p->list.n; i++) {
        m->file[i] = p->list.file[i].file;
        if (!fh_arena_copy(a, p->list.file[i].file.path, &m->file[i].path)) return fh_arena_fail(a, err);
        if (!fh_add_u64(m->bytes, m->file[i].bytes, &m->bytes))
            return fh_fail(err, FH_ERR_LIMIT, "sizes beyond all bounds");
    }
    return FH_OK;
}

static fh_status keep(pull *p, fh_err *err) {
    fh_store_model before = {.bytes = 0};
    bool found = false;
    FH_TRY(fh_store_model_id(&p->r->model, err));
    if (p->o->want_id && strcmp(p->o->want_id, p->r->model.id) != 0)
        return fh_fail(
            err, FH_ERR_CORRUPT,
            "'%.200s' is not the model that the lock names: %.16s... came, %.16s... is wanted; it got no name",
            p->name->source, p->r->model.id, p->o->want_id);
    FH_TRY(fh_store_find(p->store, p->r->model.name, &p->r->arena, &before, &found, err));
    p->r->unchanged = found && fh_str_eq(before.name, p->r->model.name) && strcmp(before.id, p->r->model.id) == 0;
    FH_TRY(fh_store_put(p->store, &p->r->model, p->o->keep_before, err));
    return fh_store_model_path(p->store, &p->r->model, (fh_str){NULL, 0}, p->r->folder, err);
}

static fh_status run(pull *p, const char *model, fh_err *err) {
    fh_pull_result *r = p->r;
    FH_TRY(fh_hub_parse(p->name, model, p->o->endpoint, err));
    const char *as = p->o->as ? p->o->as : p->name->name;
    if (!fh_store_name_ok(fh_str_of(as))) return fh_fail(err, FH_ERR_USAGE, "'%.200s' is no name for a model", as);
    if (!fh_arena_copy(&r->arena, fh_str_of(as), &r->model.name)) return fh_arena_fail(&r->arena, err);
    FH_TRY(fh_store_open(&p->store, p->o->dry_run ? FH_STORE_AS_IS : FH_STORE_MAKE, err));
    if (!p->o->dry_run) FH_TRY(fh_store_lock(p->store, false, err));
    FH_TRY(fh_fetch_new(&p->fetch, &p->o->fetch, err));
    FH_TRY(fh_hub_list(&p->list, p->fetch, p->name, p->o->all, err));
    p->wanted = fh_arena_alloc(&r->arena, p->list.n, sizeof *p->wanted);
    p->same = fh_arena_alloc(&r->arena, p->list.n, sizeof *p->same);
    if (!p->wanted || !p->same) return fh_arena_fail(&r->arena, err);
    FH_TRY(look_what_is_here(p, err));
    if (!p->o->dry_run) FH_TRY(check_space(p, err));
    if (!p->o->dry_run) FH_TRY(fetch_wanted(p, err));
    FH_TRY(describe(p, err));
    return p->o->dry_run ? FH_OK : keep(p, err);
}

fh_status fh_pull(fh_pull_result *out, const char *model, const fh_pull_options *o, fh_err *err) {
    fh_pull_result r = {.n_here = 0};
    fh_arena_init(&r.arena, (size_t)256 << 20);
    pull p = {.o = o, .r = &r, .name = fh_alloc_zero(1, sizeof *p.name)};
    fh_arena_init(&p.list.arena, 0);
    fh_status st = p.name ? run(&p, model, err) : fh_fail_memory(err, sizeof *p.name);
    fh_hub_listing_release(&p.list);
    fh_fetch_free(p.fetch);
    fh_store_close(p.store);
    fh_free(p.name);
    if (st == FH_OK) *out = r;
    else fh_pull_result_release(&r);
    return st;
}

void fh_pull_result_release(fh_pull_result *r) { fh_arena_release(&r->arena); }
