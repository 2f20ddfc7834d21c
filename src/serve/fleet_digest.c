/* serve/fleet_digest.c - which bytes a model is: SHA-256 of its file, remembered in digests.json of the state folder.
 * SPDX-License-Identifier: Apache-2.0
 * One file: the digest that sha256sum gives. Several: that of their digests' text, one a line, in order. A remembered
 * digest counts while size, time and inode of the file are what they were. */
#include <sys/stat.h>

#include "base/json.h"
#include "base/num.h"
#include "serve/fleet_part.h"

#define PIECE ((size_t)4 << 20)
#define MOST_FILE ((size_t)8 << 20)

static fh_status digest_part(fh_sha256 *h, fh_bytes data, const bool *stop, char out[FH_SHA256_HEX], fh_err *err) {
    for (size_t at = 0; at < data.len; at += PIECE) {
        if (__atomic_load_n(stop, __ATOMIC_RELAXED)) return fh_fail(err, FH_ERR_CANCELLED, "stopped");
        FH_TRY(fh_sha256_add(h, data.ptr + at, FH_MIN(PIECE, data.len - at), err));
    }
    return fh_sha256_finish(h, out, err);
}

fh_status fh_fleet_digest(char out[FH_SHA256_HEX], const fh_bundle *b, const bool *stop, fh_err *err) {
    char one[FH_SHA256_HEX];
    fh_sha256 *h = NULL;
    fh_buf all;
    size_t n = fh_bundle_n_part(b);
    fh_buf_init(&all, (size_t)1 << 20);
    fh_status s = fh_sha256_new(&h, err);
    for (size_t i = 0; i < n && s == FH_OK; i++) {
        s = digest_part(h, fh_bundle_part_data(b, i), stop, one, err);
        fh_buf_printf(&all, "%s\n", one);
    }
    if (s == FH_OK) s = fh_buf_check(&all, err);
    if (s == FH_OK && n > 1) s = fh_sha256_of((fh_bytes){all.ptr, all.len}, one, err);
    if (s == FH_OK) memcpy(out, one, FH_SHA256_HEX);
    fh_buf_release(&all);
    fh_sha256_free(h);
    return s;
}

static bool stamp_of(const char *path, char out[96]) {
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return false;
    snprintf(out, 96, "%llu %llu %lld.%09ld", (unsigned long long)st.st_ino, (unsigned long long)st.st_size,
             (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    return true;
}

/* NULL: there is none, or it is broken (then it is written anew). */
static fh_json *read_file(const char *state_dir, char path[FH_PATH_MAX]) {
    fh_json *doc = NULL;
    fh_buf text;
    if (fh_path_join(path, state_dir, FH_STR("digests.json"), NULL) != FH_OK) return NULL;
    fh_buf_init(&text, MOST_FILE);
    fh_status s = fh_file_read(path, &text, NULL);
    if (s == FH_OK) s = fh_json_parse(&doc, fh_buf_str(&text), NULL, NULL);
    fh_buf_release(&text);
    return s == FH_OK ? doc : NULL;
}

bool fh_fleet_recall_digest(const char *state_dir, const char *path, char out[FH_SHA256_HEX]) {
    char file[FH_PATH_MAX], stamp[96];
    fh_str was, digest;
    if (!stamp_of(path, stamp)) return false;
    fh_json *doc = read_file(state_dir, file);
    const fh_json_node *n = doc ? fh_json_get(fh_json_root(doc), path) : NULL;
    bool ok = fh_json_to_str(fh_json_get(n, "stamp"), &was) && fh_str_is(was, stamp) &&
              fh_json_to_str(fh_json_get(n, "sha256"), &digest) && digest.len == FH_SHA256_HEX - 1 &&
              fh_str_copy(out, FH_SHA256_HEX, digest);
    fh_json_free(doc);
    return ok;
}

static void put_digest(fh_json_writer *w, const char *stamp, const char *digest) {
    fh_json_put_object(w);
    fh_json_put_key(w, "stamp");
    fh_json_put_z(w, stamp);
    fh_json_put_key(w, "sha256");
    fh_json_put_z(w, digest);
    fh_json_put_end(w);
}

/* Best effort: what could not be kept is computed again. */
void fh_fleet_keep_digest(const char *state_dir, const char *path, const char *digest) {
    char file[FH_PATH_MAX], stamp[96];
    fh_json_writer w;
    fh_writer *to = NULL;
    fh_buf text;
    if (!stamp_of(path, stamp)) return;
    fh_json *doc = read_file(state_dir, file);
    const fh_json_node *root = doc ? fh_json_root(doc) : NULL;
    fh_buf_init(&text, MOST_FILE);
    fh_json_writer_init(&w, &text, true);
    fh_json_put_object(&w);
    for (const fh_json_node *n = fh_json_first(root); n; n = fh_json_after(root, n)) {
        if (fh_str_is(n->key, path)) continue;
        fh_json_put_key_str(&w, n->key);
        fh_json_put_tree(&w, n);
    }
    fh_json_put_key(&w, path);
    put_digest(&w, stamp, digest);
    fh_json_put_end(&w);
    if (fh_buf_check(&text, NULL) == FH_OK && fh_writer_open(&to, file, NULL) == FH_OK) {
        if (fh_writer_add(to, text.ptr, text.len, NULL) != FH_OK) fh_writer_abort(to);
        else if (fh_writer_commit(to, NULL) != FH_OK) to = NULL; /* nothing to undo: the old file stands */
    }
    fh_buf_release(&text);
    fh_json_free(doc);
}
