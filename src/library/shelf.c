/* library/shelf.c - SPDX-License-Identifier: Apache-2.0
 * Walks: the library's table; Ollama's manifests/HOST/SPACE/MODEL/TAG; Hugging Face's models--ORG--NAME with their
 * snapshots; LM Studio's PUBLISHER/REPO. */
#include "library/shelf.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/num.h"
#include "library/locate_part.h"

#define MOST_MANIFEST ((size_t)4 << 20)
#define MOST_DEPTH 8

typedef struct walk {
    fh_shelf *shelf;
    fh_buf rows;
} walk;

static fh_status copy(walk *w, fh_str s, fh_str *out, fh_err *err) {
    return fh_arena_copy(&w->shelf->arena, s, out) ? FH_OK : fh_arena_fail(&w->shelf->arena, err);
}

static fh_status add(walk *w, fh_source source, fh_str name, fh_str path, fh_str id, fh_shelf_item like, fh_err *err) {
    like.source = source;
    FH_TRY(copy(w, name, &like.name, err));
    FH_TRY(copy(w, path, &like.path, err));
    FH_TRY(copy(w, id, &like.id, err));
    FH_TRY(copy(w, like.pulled_from, &like.pulled_from, err));
    fh_buf_add(&w->rows, &like, sizeof like);
    return fh_buf_check(&w->rows, err);
}

static uint64_t changed_ms(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_mtim.tv_sec * 1000 + (uint64_t)st.st_mtim.tv_nsec / 1000000 : 0;
}

/* Calls for each name in a folder; none where there is no folder. */
typedef fh_status each(walk *w, const char *path, fh_str name, fh_err *err);
static fh_status each_in(walk *w, const char *folder, each *fn, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_names names;
    if (fh_file_get_kind(folder) != FH_FILE_DIR) return FH_OK;
    if (fh_dir_list(folder, &w->shelf->arena, &names, NULL) != FH_OK) { /* not ours to read */
        w->shelf->n_broken++;
        return FH_OK;
    }
    for (size_t i = 0; i < names.n; i++) {
        if (names.item[i].ptr[0] == '.' || fh_path_join(path, folder, names.item[i], NULL) != FH_OK) continue;
        FH_TRY(fn(w, path, names.item[i], err));
    }
    return FH_OK;
}

/* ---- the library ---- */

static fh_status walk_library(walk *w, fh_err *err) {
    fh_store *s = NULL;
    fh_store_model *m;
    size_t n = 0;
    char path[FH_PATH_MAX];
    FH_TRY(fh_store_open(&s, FH_STORE_AS_IS, err));
    if (!s) return FH_OK;
    fh_status st = fh_store_list(s, &w->shelf->arena, &m, &n, err);
    for (size_t i = 0; st == FH_OK && i < n; i++) {
        fh_shelf_item x = {.bytes = m[i].bytes, .changed_ms = m[i].named_ms, .pulled_from = m[i].source};
        st = fh_store_model_path(s, &m[i], m[i].entry, path, err);
        if (st == FH_OK) st = add(w, FH_SOURCE_LIBRARY, m[i].name, fh_str_of(path), fh_str_of(m[i].id), x, err);
    }
    fh_store_close(s);
    return st;
}

/* ---- Ollama ---- */

static bool manifest_bytes(const fh_json_node *root, uint64_t *bytes) {
    const fh_json_node *layers = fh_json_get(root, "layers");
    uint64_t one;
    *bytes = 0;
    for (const fh_json_node *l = fh_json_first(layers); l; l = fh_json_after(layers, l))
        if (!fh_json_to_u64(fh_json_get(l, "size"), &one) || !fh_add_u64(*bytes, one, bytes)) return false;
    return fh_json_is(layers, FH_JSON_ARRAY);
}

static fh_status take_tag(walk *w, const char *path, fh_str name, fh_err *err) {
    char id[FH_SHA256_HEX];
    fh_location at = {.name = ""};
    fh_buf text;
    fh_json *doc = NULL;
    fh_shelf_item x = {.changed_ms = changed_ms(path)};
    (void)name;
    if (fh_file_get_kind(path) != FH_FILE_REGULAR) return FH_OK;
    fh_buf_init(&text, MOST_MANIFEST);
    bool ok = fh_locate_ollama_manifest(&at, path, NULL) == FH_OK && fh_file_get_kind(at.path) == FH_FILE_REGULAR &&
              fh_file_read(path, &text, NULL) == FH_OK && fh_json_parse(&doc, fh_buf_str(&text), NULL, NULL) == FH_OK &&
              manifest_bytes(fh_json_root(doc), &x.bytes) &&
              fh_sha256_of(fh_bytes_of(fh_buf_str(&text)), id, NULL) == FH_OK;
    fh_json_free(doc);
    fh_buf_release(&text);
    if (!ok) {
        w->shelf->n_broken++;
        return FH_OK;
    }
    /* HOST/SPACE/MODEL/TAG, without what is usual */
    fh_str s = fh_str_of(path), part[4];
    for (int i = 3; i >= 0; i--) {
        part[i] = fh_path_base(s);
        s.len -= part[i].len + 1;
    }
    char shown[800];
    bool usual = fh_str_is(part[0], "registry.ollama.ai"), library = usual && fh_str_is(part[1], "library");
    int n = snprintf(shown, sizeof shown, "%.*s%s%.*s%s%.*s:%.*s", usual ? 0 : (int)part[0].len, part[0].ptr,
                     usual ? "" : "/", library ? 0 : (int)part[1].len, part[1].ptr, library ? "" : "/",
                     FH_STR_ARG(part[2]), FH_STR_ARG(part[3]));
    return add(w, FH_SOURCE_OLLAMA, (fh_str){shown, FH_MIN((size_t)n, sizeof shown - 1)}, fh_str_of(at.path),
               fh_str_of(id), x, err);
}

static fh_status enter_model(walk *w, const char *path, fh_str name, fh_err *err) {
    (void)name;
    return each_in(w, path, take_tag, err);
}
static fh_status enter_space(walk *w, const char *path, fh_str name, fh_err *err) {
    (void)name;
    return each_in(w, path, enter_model, err);
}
static fh_status enter_host(walk *w, const char *path, fh_str name, fh_err *err) {
    (void)name;
    return each_in(w, path, enter_space, err);
}

static fh_status walk_ollama(walk *w, fh_err *err) {
    char root[FH_PATH_MAX], manifests[FH_PATH_MAX];
    for (size_t i = 0; i < 2; i++)
        if (fh_locate_ollama_root(root, i) && fh_path_join(manifests, root, FH_STR("manifests"), NULL) == FH_OK)
            FH_TRY(each_in(w, manifests, enter_host, err));
    return FH_OK;
}

/* ---- folders of files: Hugging Face's snapshots, LM Studio ---- */

typedef struct content {
    uint64_t bytes;
    bool safetensors;
    fh_str gguf[64]; /* [n_gguf] first parts only; their names */
    uint64_t gguf_bytes[64];
    size_t n_gguf;
} content;

static bool is_later_part(fh_str name) {
    return memmem(name.ptr, name.len, "-of-", 4) && !memmem(name.ptr, name.len, "-00001-of-", 10);
}

static void look_into(walk *w, const char *folder, content *c, int depth) {
    fh_names names;
    char path[FH_PATH_MAX];
    uint64_t bytes;
    if (depth == MOST_DEPTH || fh_dir_list(folder, &w->shelf->arena, &names, NULL) != FH_OK) return;
    for (size_t i = 0; i < names.n; i++) {
        fh_str name = names.item[i];
        if (fh_path_join(path, folder, name, NULL) != FH_OK) continue;
        if (fh_file_get_kind(path) == FH_FILE_DIR) look_into(w, path, c, depth + 1);
        if (fh_file_get_kind(path) != FH_FILE_REGULAR || fh_file_get_size(path, &bytes, NULL) != FH_OK) continue;
        if (!fh_add_u64(c->bytes, bytes, &c->bytes)) c->bytes = UINT64_MAX;
        c->safetensors |= depth == 0 && fh_str_ends(name, ".safetensors");
        if (depth > 0 || !fh_str_ends(name, ".gguf") || fh_str_starts(name, "mmproj") || c->n_gguf == FH_COUNT(c->gguf))
            continue;
        if (is_later_part(name)) { /* belongs to the one before */
            if (c->n_gguf) c->gguf_bytes[c->n_gguf - 1] += bytes;
            continue;
        }
        c->gguf_bytes[c->n_gguf] = bytes;
        c->gguf[c->n_gguf++] = name;
    }
}

/* Safetensors are one model; each GGUF is one. */
static fh_status add_folder(walk *w, fh_source source, fh_str name, const char *folder, fh_str id, fh_err *err) {
    char path[FH_PATH_MAX], shown[1024];
    content c = {.bytes = 0};
    look_into(w, folder, &c, 0);
    fh_shelf_item x = {.changed_ms = changed_ms(folder), .bytes = c.bytes};
    if (c.safetensors) return add(w, source, name, fh_str_of(folder), id, x, err);
    for (size_t i = 0; i < c.n_gguf; i++) {
        FH_TRY(fh_path_join(path, folder, c.gguf[i], err));
        int n = snprintf(shown, sizeof shown, "%.*s:%.*s", FH_STR_ARG(name), FH_STR_ARG(c.gguf[i]));
        x.bytes = c.gguf_bytes[i];
        x.changed_ms = changed_ms(path);
        FH_TRY(add(w, source, (fh_str){shown, FH_MIN((size_t)n, sizeof shown - 1)}, fh_str_of(path), id, x, err));
    }
    return FH_OK;
}

static fh_status take_repo(walk *w, const char *path, fh_str name, fh_err *err) {
    char shown[600];
    size_t at;
    fh_location l = {.name = ""};
    bool found = false;
    fh_str rest = fh_str_drop(name, 8), org = rest;
    if (!fh_str_starts(name, "models--") || fh_locate_hf_cache(&l, fh_str_of(path), &found, NULL) != FH_OK || !found)
        return FH_OK;
    for (at = 0; at + 2 <= rest.len && memcmp(rest.ptr + at, "--", 2) != 0;) at++;
    org.len = FH_MIN(at, rest.len);
    fh_str repo = fh_str_drop(rest, org.len + 2);
    int n = repo.len ? snprintf(shown, sizeof shown, "%.*s/%.*s", FH_STR_ARG(org), FH_STR_ARG(repo))
                     : snprintf(shown, sizeof shown, "%.*s", FH_STR_ARG(org));
    return add_folder(w, FH_SOURCE_HF_CACHE, (fh_str){shown, (size_t)n}, l.path, fh_path_base(fh_str_of(l.path)), err);
}

static fh_status take_lm_repo(walk *w, const char *path, fh_str name, fh_err *err) {
    char shown[600];
    fh_str above = fh_str_of(path);
    above.len -= name.len + 1;
    int n = snprintf(shown, sizeof shown, "%.*s/%.*s", FH_STR_ARG(fh_path_base(above)), FH_STR_ARG(name));
    return fh_file_get_kind(path) == FH_FILE_DIR
               ? add_folder(w, FH_SOURCE_LM_STUDIO, (fh_str){shown, (size_t)n}, path, (fh_str){"", 0}, err)
               : FH_OK;
}

static fh_status enter_publisher(walk *w, const char *path, fh_str name, fh_err *err) {
    (void)name;
    return each_in(w, path, take_lm_repo, err);
}

static int by_source(const void *a, const void *b) {
    const fh_shelf_item *x = a, *y = b;
    if (x->source != y->source) return x->source < y->source ? -1 : 1;
    return fh_str_cmp(x->name, y->name);
}

fh_status fh_shelf_read(fh_shelf *out, fh_err *err) {
    fh_shelf s = {.n = 0};
    walk w = {.shelf = &s};
    char root[FH_PATH_MAX];
    fh_arena_init(&s.arena, (size_t)256 << 20);
    fh_buf_init(&w.rows, (size_t)64 << 20);
    fh_status st = walk_library(&w, err);
    if (st == FH_OK) st = walk_ollama(&w, err);
    if (st == FH_OK && fh_locate_hf_root(root)) st = each_in(&w, root, take_repo, err);
    for (size_t i = 0; st == FH_OK && i < 2; i++)
        if (fh_locate_lm_studio_root(root, i)) st = each_in(&w, root, enter_publisher, err);
    s.n = w.rows.len / sizeof *s.item;
    s.item = st == FH_OK ? fh_arena_alloc(&s.arena, s.n, sizeof *s.item) : NULL;
    if (st == FH_OK && !s.item) st = fh_arena_fail(&s.arena, err);
    if (st == FH_OK && s.n) {
        memcpy(s.item, w.rows.ptr, w.rows.len);
        qsort(s.item, s.n, sizeof *s.item, by_source);
    }
    fh_buf_release(&w.rows);
    if (st == FH_OK) *out = s;
    else fh_arena_release(&s.arena);
    return st;
}

void fh_shelf_release(fh_shelf *s) { fh_arena_release(&s->arena); }
