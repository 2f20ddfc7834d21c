/* library/lock.c - SPDX-License-Identifier: Apache-2.0 */
#include "library/lock.h"

#include <stdio.h>

#include "base/json_member.h"
#include "base/num.h"

#define VERSION 1

/* ---- writing ---- */

void fh_lock_write_model(fh_json_writer *w, const fh_store_model *m) {
    fh_json_put_object(w);
    fh_put_str(w, "name", m->name);
    fh_put_str(w, "source", m->source);
    fh_put_str(w, "revision", m->revision);
    fh_put_str(w, "entry", m->entry);
    fh_put_str(w, "id", fh_str_of(m->id));
    fh_json_put_key(w, "files");
    fh_json_put_array(w);
    for (size_t i = 0; i < m->n_file; i++) {
        fh_json_put_object(w);
        fh_put_str(w, "path", m->file[i].path);
        fh_put_str(w, "role", m->file[i].role);
        fh_put_u64(w, "bytes", m->file[i].bytes);
        fh_put_str(w, "sha256", fh_str_of(m->file[i].digest));
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
}

void fh_lock_write(fh_buf *out, const fh_store_model *m, size_t n) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_put_u64(&w, "freehold_lock", VERSION);
    fh_json_put_key(&w, "models");
    fh_json_put_array(&w);
    for (size_t i = 0; i < n; i++) fh_lock_write_model(&w, &m[i]);
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

/* ---- reading ---- */

static fh_status take(const fh_json_node *obj, const char *key, fh_arena *a, fh_str *out, fh_err *err) {
    fh_str s;
    if (!fh_json_to_str(fh_json_get(obj, key), &s))
        return fh_fail_at(err, FH_ERR_FORMAT, obj->offset, "'%s' is missing, or is no text", key);
    return fh_arena_copy(a, s, out) ? FH_OK : fh_arena_fail(a, err);
}

static fh_status take_hex(const fh_json_node *obj, const char *key, char out[FH_SHA256_HEX], fh_err *err) {
    fh_str s;
    if (!fh_json_to_str(fh_json_get(obj, key), &s) || !fh_sha256_is_hex(s))
        return fh_fail_at(err, FH_ERR_FORMAT, obj->offset, "'%s' is not 64 hex digits", key);
    (void)fh_str_copy(out, FH_SHA256_HEX, s);
    return FH_OK;
}

static fh_status take_file(const fh_json_node *n, fh_arena *a, fh_store_file *f, fh_err *err) {
    FH_TRY(take(n, "path", a, &f->path, err));
    FH_TRY(take(n, "role", a, &f->role, err));
    FH_TRY(take_hex(n, "sha256", f->digest, err));
    if (!fh_json_to_u64(fh_json_get(n, "bytes"), &f->bytes))
        return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "'bytes' is missing, or is no whole number");
    if (!fh_store_path_ok(f->path)) return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "a path that cannot be kept");
    return FH_OK;
}

fh_status fh_lock_read_model(const fh_json_node *node, fh_arena *arena, fh_store_model *out, fh_err *err) {
    char id[FH_SHA256_HEX];
    fh_store_model m = {.bytes = 0};
    const fh_json_node *files = fh_json_get(node, "files");
    FH_TRY(take(node, "name", arena, &m.name, err));
    FH_TRY(take(node, "source", arena, &m.source, err));
    FH_TRY(take(node, "revision", arena, &m.revision, err));
    FH_TRY(take(node, "entry", arena, &m.entry, err));
    FH_TRY(take_hex(node, "id", id, err));
    if (!fh_store_name_ok(m.name)) return fh_fail_at(err, FH_ERR_FORMAT, node->offset, "a name that no model can have");
    if (m.entry.len && !fh_store_path_ok(m.entry))
        return fh_fail_at(err, FH_ERR_FORMAT, node->offset, "an entry that is no path");
    if (!fh_json_is(files, FH_JSON_ARRAY) || files->n_child > FH_STORE_MOST_FILES)
        return fh_fail_at(err, FH_ERR_FORMAT, node->offset, "'files' is missing, or is no list of a possible length");
    m.file = fh_arena_alloc(arena, files->n_child, sizeof *m.file);
    if (!m.file) return fh_arena_fail(arena, err);
    for (const fh_json_node *f = fh_json_first(files); f; f = fh_json_after(files, f))
        FH_TRY(take_file(f, arena, &m.file[m.n_file++], err));
    FH_TRY(fh_store_model_id(&m, err));
    if (strcmp(id, m.id) != 0)
        return fh_fail_at(err, FH_ERR_CORRUPT, node->offset, "the id of '%.*s' is not that of its files",
                          FH_STR_ARG(m.name));
    *out = m;
    return FH_OK;
}

fh_status fh_lock_read(fh_str text, fh_arena *arena, fh_store_model **out, size_t *n, fh_err *err) {
    fh_json *doc = NULL;
    uint64_t version = 0;
    size_t count = 0;
    fh_store_model *m = NULL;
    FH_TRY(fh_json_parse(&doc, text, NULL, err));
    const fh_json_node *root = fh_json_root(doc), *models = fh_json_get(root, "models");
    fh_status st = FH_OK;
    if (!fh_json_to_u64(fh_json_get(root, "freehold_lock"), &version) || !fh_json_is(models, FH_JSON_ARRAY))
        st = fh_fail(err, FH_ERR_FORMAT, "this is no lock file of freehold");
    if (st == FH_OK && version != VERSION)
        st = fh_fail(err, FH_ERR_UNSUPPORTED, "a lock file of version %llu; this freehold reads %d",
                     (unsigned long long)version, VERSION);
    if (st == FH_OK) m = fh_arena_alloc(arena, models->n_child, sizeof *m);
    if (st == FH_OK && !m) st = fh_arena_fail(arena, err);
    for (const fh_json_node *x = fh_json_first(models); st == FH_OK && x; x = fh_json_after(models, x))
        st = fh_lock_read_model(x, arena, &m[count++], err);
    fh_json_free(doc);
    if (st != FH_OK) return st;
    *out = m;
    *n = count;
    return FH_OK;
}

/* ---- use ---- */

bool fh_lock_pinned(const fh_store_model *m, char *out, size_t size) {
    size_t at, colon;
    fh_str s = m->source;
    if (fh_str_starts(s, "hf.co/")) {
        fh_str variant = {NULL, 0};
        if (fh_str_find(s, ':', &colon)) {
            variant = fh_str_drop(s, colon);
            s.len = colon;
        }
        if (fh_str_find(s, '@', &at)) s.len = at;
        int n = snprintf(out, size, "%.*s@%.*s%.*s", FH_STR_ARG(s), FH_STR_ARG(m->revision), FH_STR_ARG(variant));
        return (size_t)n < size;
    }
    if (!fh_str_starts(m->revision, "sha256:") || !fh_str_find(s, '/', &at)) return false;
    if (fh_str_find(s, '@', &colon)) s.len = colon;
    for (size_t i = s.len; i > at; i--) /* the tag, but not the host's port */
        if (s.ptr[i - 1] == ':') s.len = i - 1;
    int n = snprintf(out, size, "%.*s@%.*s", FH_STR_ARG(s), FH_STR_ARG(m->revision));
    return (size_t)n < size;
}

bool fh_lock_is_here(const fh_store *s, const fh_store_model *m) {
    char path[FH_PATH_MAX];
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->n_file; i++)
        if (fh_store_blob_path(s, m->file[i].digest, path, NULL) != FH_OK ||
            fh_file_get_kind(path) != FH_FILE_REGULAR || fh_file_get_size(path, &bytes, NULL) != FH_OK ||
            bytes != m->file[i].bytes)
            return false;
    return true;
}
