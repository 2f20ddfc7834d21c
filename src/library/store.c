/* library/store.c - the library's folders, its lock, and the links that make a model's folder.
 * SPDX-License-Identifier: Apache-2.0
 * A folder of links is made beside its place and renamed into it, so that one with its final name is complete. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/folder.h"
#include "base/num.h"
#include "library/store_part.h"

#define MOST_PARTS 8
#define MOST_PATH 512
#define MOST_NAME 400

/* ---- names and paths from outside ---- */

static bool is_printable(fh_str s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c == 0x7f || c == '\\') return false;
    }
    return fh_utf8_valid(s);
}

bool fh_store_path_ok(fh_str path) {
    size_t at, n = 0;
    if (path.len == 0 || path.len > MOST_PATH || !is_printable(path)) return false;
    for (fh_str rest = path;; rest = fh_str_drop(rest, at + 1)) {
        bool more = fh_str_find(rest, '/', &at);
        if (!fh_path_is_plain_name(more ? fh_str_first(rest, at) : rest) || ++n > MOST_PARTS) return false;
        if (!more) return true;
    }
}

bool fh_store_name_ok(fh_str name) {
    if (name.len > MOST_NAME || !fh_store_path_ok(name) || fh_str_starts(name, "-")) return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] == ' ' || name.ptr[i] == '%') return false;
    return true;
}

/* ---- folders ---- */

static fh_status find_folder(char out[FH_PATH_MAX], fh_err *err) {
    return fh_folder_own(out, ".local/share/freehold/library", "library", err);
}

bool fh_store_holds(const char *path, char folder[FH_PATH_MAX]) {
    if (find_folder(folder, NULL) != FH_OK || !fh_str_starts(fh_str_of(path), folder)) return false;
    return path[strlen(folder)] == '/';
}

fh_status fh_store_open_in(fh_store **out, const char *folder, fh_store_mode mode, fh_err *err) {
    char db[FH_PATH_MAX];
    FH_TRY(fh_path_join(db, folder, FH_STR("library.db"), err));
    if (mode == FH_STORE_AS_IS && fh_file_get_kind(db) != FH_FILE_REGULAR) {
        *out = NULL;
        return FH_OK;
    }
    fh_store *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    s->lock = -1;
    s->mode = mode;
    (void)fh_str_copy(s->folder, sizeof s->folder, fh_str_of(folder)); /* it fitted with a name behind it */
    fh_status st = fh_path_join(s->blobs, folder, FH_STR("blobs"), err);
    if (st == FH_OK) st = fh_path_join(s->partial, folder, FH_STR("partial"), err);
    if (st == FH_OK) st = fh_path_join(s->models, folder, FH_STR("models"), err);
    if (mode == FH_STORE_MAKE) {
        if (st == FH_OK) st = fh_folder_make(s->blobs, err);
        if (st == FH_OK) st = fh_folder_make(s->partial, err);
        if (st == FH_OK) st = fh_folder_make(s->models, err);
    }
    if (st == FH_OK) st = fh_store_db_open(s, err);
    if (st == FH_OK) *out = s;
    else fh_store_close(s);
    return st;
}

fh_status fh_store_open(fh_store **out, fh_store_mode mode, fh_err *err) {
    char folder[FH_PATH_MAX];
    fh_status st = find_folder(folder, mode == FH_STORE_MAKE ? err : NULL);
    if (st == FH_OK) return fh_store_open_in(out, folder, mode, err);
    if (mode == FH_STORE_MAKE) return st;
    *out = NULL; /* a process without a home has no library */
    return FH_OK;
}

void fh_store_close(fh_store *s) {
    if (!s) return;
    sqlite3_close(s->db);
    if (s->lock >= 0) close(s->lock);
    fh_free(s);
}

const char *fh_store_folder(const fh_store *s) { return s->folder; }

fh_status fh_store_lock(fh_store *s, bool alone, fh_err *err) {
    char path[FH_PATH_MAX];
    FH_TRY(fh_path_join(path, s->folder, FH_STR("lock"), err));
    if (s->lock < 0) s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock < 0) return fh_fail_errno(err, "open", path);
    if (flock(s->lock, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return FH_OK;
    if (errno != EWOULDBLOCK) return fh_fail_errno(err, "lock", path);
    return fh_fail(err, FH_ERR_EXISTS,
                   alone ? "another freehold is adding a model right now; try again when it is done"
                         : "another freehold is removing models right now; try again when it is done");
}

fh_status fh_store_blob_path(const fh_store *s, const char *digest, char out[FH_PATH_MAX], fh_err *err) {
    char name[80];
    FH_REQUIRE(fh_sha256_is_hex(fh_str_of(digest)));
    int n = snprintf(name, sizeof name, "sha256-%s", digest);
    return fh_path_join(out, s->blobs, (fh_str){name, (size_t)n}, err);
}

fh_status fh_store_partial_path(const fh_store *s, const char *key, char out[FH_PATH_MAX], fh_err *err) {
    char name[100];
    int n = snprintf(name, sizeof name, "%.80s.part", key);
    return fh_path_join(out, s->partial, (fh_str){name, (size_t)n}, err);
}

fh_status fh_store_model_path(const fh_store *s, const fh_store_model *m, fh_str file, char out[FH_PATH_MAX],
                              fh_err *err) {
    char folder[FH_PATH_MAX];
    FH_TRY(fh_path_join(folder, s->models, fh_str_of(m->id), err));
    if (file.len) return fh_path_join(out, folder, file, err);
    memcpy(out, folder, sizeof folder);
    return FH_OK;
}

fh_status fh_store_space(const fh_store *s, uint64_t *bytes, fh_err *err) {
    struct statvfs v;
    uint64_t n;
    if (statvfs(s->blobs, &v) != 0) return fh_fail_errno(err, "look at the disk of", s->blobs);
    if (!fh_mul_u64((uint64_t)v.f_bavail, (uint64_t)v.f_frsize, &n)) n = UINT64_MAX;
    *bytes = n;
    return FH_OK;
}

/* ---- a model's id and its folder ---- */

static int by_path(const void *a, const void *b) {
    return fh_str_cmp(((const fh_store_file *)a)->path, ((const fh_store_file *)b)->path);
}

static fh_status bad_file(const fh_store_file *f, const char *why, fh_err *err) {
    return fh_fail(err, FH_ERR_FORMAT, "the file '%.*s' of this model %s", FH_STR_ARG(f->path), why);
}

/* Sorted, no path twice, no file where a folder is. */
static fh_status check_files(fh_store_model *m, fh_err *err) {
    if (m->n_file == 0 || m->n_file > FH_STORE_MOST_FILES)
        return fh_fail(err, FH_ERR_LIMIT, "a model of %zu files; 1 to %d are kept", m->n_file, FH_STORE_MOST_FILES);
    qsort(m->file, m->n_file, sizeof *m->file, by_path);
    m->bytes = 0;
    for (size_t i = 0; i < m->n_file; i++) {
        const fh_store_file *f = &m->file[i];
        if (!fh_store_path_ok(f->path)) return bad_file(f, "has no path that can be kept", err);
        if (!fh_sha256_is_hex(fh_str_of(f->digest))) return bad_file(f, "has no SHA-256", err);
        if (!fh_add_u64(m->bytes, f->bytes, &m->bytes)) return bad_file(f, "is impossibly large", err);
        if (i && fh_str_eq(m->file[i - 1].path, f->path)) return bad_file(f, "is listed twice", err);
    }
    return FH_OK;
}

fh_status fh_store_model_id(fh_store_model *m, fh_err *err) {
    fh_sha256 *sha = NULL;
    char line[160];
    FH_TRY(check_files(m, err));
    FH_TRY(fh_sha256_new(&sha, err));
    fh_status st = FH_OK;
    for (size_t i = 0; st == FH_OK && i < m->n_file; i++) {
        const fh_store_file *f = &m->file[i];
        int n = snprintf(line, sizeof line, "%s %llu ", f->digest, (unsigned long long)f->bytes);
        st = fh_sha256_add(sha, line, (size_t)n, err);
        if (st == FH_OK) st = fh_sha256_add(sha, f->path.ptr, f->path.len, err);
        if (st == FH_OK) st = fh_sha256_add(sha, "\n", 1, err);
    }
    if (st == FH_OK) st = fh_sha256_finish(sha, m->id, err);
    fh_sha256_free(sha);
    return st;
}

static fh_status link_file(const fh_store *s, const char *folder, const fh_store_file *f, fh_err *err) {
    char path[FH_PATH_MAX], above[FH_PATH_MAX], blob[FH_PATH_MAX], to[256];
    size_t n = 0, depth = 0;
    uint64_t bytes;
    fh_str base = fh_path_base(f->path);
    FH_TRY(fh_store_blob_path(s, f->digest, blob, err));
    FH_TRY(fh_file_get_size(blob, &bytes, err));
    if (bytes != f->bytes) return bad_file(f, "is not here with its size", err);
    FH_TRY(fh_path_join(path, folder, f->path, err));
    FH_TRY(fh_path_join(above, folder, fh_str_first(f->path, f->path.len - base.len), err));
    FH_TRY(fh_folder_make(above, err));
    for (size_t i = 0; i < f->path.len; i++) depth += f->path.ptr[i] == '/';
    for (size_t i = 0; i < depth + 2; i++) n += (size_t)snprintf(to + n, sizeof to - n, "../");
    snprintf(to + n, sizeof to - n, "blobs/sha256-%s", f->digest);
    return symlink(to, path) == 0 ? FH_OK : fh_fail_errno(err, "link", path);
}

static fh_status make_links(const fh_store *s, const fh_store_model *m, fh_err *err) {
    char folder[FH_PATH_MAX], beside[FH_PATH_MAX], name[100];
    FH_TRY(fh_store_model_path(s, m, (fh_str){NULL, 0}, folder, err));
    int n = snprintf(name, sizeof name, ".%.16s.%ld", m->id, (long)getpid());
    FH_TRY(fh_path_join(beside, s->models, (fh_str){name, (size_t)n}, err));
    FH_TRY(fh_folder_remove(beside, err));
    FH_TRY(fh_folder_make(beside, err));
    fh_status st = FH_OK;
    for (size_t i = 0; st == FH_OK && i < m->n_file; i++) st = link_file(s, beside, &m->file[i], err);
    if (st == FH_OK && rename(beside, folder) != 0) {
        /* equal ids are equal links: one that is there will do */
        if (errno != ENOTEMPTY && errno != EEXIST) st = fh_fail_errno(err, "rename the finished folder to", folder);
    }
    if (fh_file_get_kind(beside) != FH_FILE_NONE) {
        fh_status gone = fh_folder_remove(beside, st == FH_OK ? err : NULL);
        if (st == FH_OK) st = gone;
    }
    return st;
}

fh_status fh_store_put(fh_store *s, fh_store_model *m, bool keep_before, fh_err *err) {
    if (!fh_store_name_ok(m->name))
        return fh_fail(err, FH_ERR_USAGE, "'%.*s' is no name for a model", FH_STR_ARG(m->name));
    FH_TRY(fh_store_model_id(m, err));
    FH_TRY(make_links(s, m, err));
    return fh_store_db_put(s, m, keep_before, err);
}

fh_status fh_store_copy(fh_store *s, const fh_store_model *m, fh_str to, fh_err *err) {
    fh_store_model copy = *m;
    copy.name = to;
    return fh_store_put(s, &copy, false, err);
}
