/* library/crate_unpack.c - a signed archive into the library, or only proven.
 * SPDX-License-Identifier: Apache-2.0
 * Read from front to back, once. The archive is hostile until its signature fits a trusted key, and held to its list
 * after that as well: a key says who packed, not that the disk in between was sound. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/folder.h"
#include "base/num.h"
#include "library/crate_part.h"
#include "library/lock.h"

#define PIECE ((size_t)1 << 20)

typedef struct unpacking {
    const fh_crate_unpack_options *o;
    fh_crate *c;
    fh_store *s;
    fh_bytes in; /* the whole archive, mapped */
    size_t at;
    uint64_t done;
} unpacking;

/* ---- heads ---- */

static bool octal(const uint8_t *p, size_t n, uint64_t *out) {
    uint64_t v = 0;
    size_t i = 0;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) v = v << 3 | (uint64_t)(p[i] - '0');
    if (i == 0) return false;
    for (; i < n; i++)
        if (p[i] != '\0' && p[i] != ' ') return false;
    *out = v;
    return true;
}

bool fh_tar_read(const uint8_t in[FH_TAR_BLOCK], char name[100], uint64_t *bytes) {
    uint64_t want, sum = 0, size = 0;
    if (memchr(in, '\0', 100) == NULL || in[0] == '\0' || (in[156] != '0' && in[156] != '\0') || in[345] != '\0')
        return false;
    for (size_t i = 0; i < FH_TAR_BLOCK; i++) sum += i >= 148 && i < 156 ? ' ' : in[i];
    if (!octal(in + 148, 8, &want) || want != sum) return false;
    if (in[124] == 0x80) {
        for (int i = 125; i < 128; i++)
            if (in[i]) return false;
        for (int i = 128; i < 136; i++) size = size << 8 | in[i];
    } else if (!octal(in + 124, 12, &size)) {
        return false;
    }
    memcpy(name, in, 100);
    *bytes = size;
    return true;
}

static fh_status broken(const unpacking *u, const char *what, fh_err *err) {
    return fh_fail_at(err, FH_ERR_FORMAT, u->at, "this is no bundle of freehold, or it is broken: %s", what);
}

/* The next file, which must have this name. */
static fh_status next(unpacking *u, const char *want, uint64_t most, fh_bytes *out, fh_err *err) {
    char name[100];
    uint64_t bytes, padded;
    if (u->in.len - u->at < FH_TAR_BLOCK || !fh_tar_read(u->in.ptr + u->at, name, &bytes))
        return broken(u, "no file's head where one must be", err);
    if (strcmp(name, want) != 0) return broken(u, "another file than its list says", err);
    if (bytes > most || !fh_align_up(bytes, FH_TAR_BLOCK, &padded) || padded > u->in.len - u->at - FH_TAR_BLOCK)
        return broken(u, "a file that is larger than it may be, or cut off", err);
    *out = fh_bytes_part(u->in, u->at + FH_TAR_BLOCK, (size_t)bytes);
    u->at += FH_TAR_BLOCK + (size_t)padded;
    return FH_OK;
}

/* ---- the list and its signature ---- */

static bool from_hex(const fh_json_node *n, uint8_t *out, size_t bytes) {
    fh_str s;
    if (!fh_json_to_str(n, &s) || s.len != 2 * bytes) return false;
    for (size_t i = 0; i < s.len; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *at = memchr(digits, s.ptr[i], 16);
        if (!at) return false;
        unsigned v = (unsigned)(at - digits);
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | v : v << 4);
    }
    return true;
}

static fh_status check_signature(unpacking *u, fh_bytes list, fh_bytes text, fh_err *err) {
    uint8_t sig[FH_SIGN_BYTES];
    fh_json *doc = NULL;
    fh_str algorithm;
    FH_TRY(fh_json_parse(&doc, fh_str_of_bytes(text), NULL, err));
    const fh_json_node *root = fh_json_root(doc);
    bool ok = fh_json_to_str(fh_json_get(root, "algorithm"), &algorithm) && fh_str_is(algorithm, "ed25519") &&
              from_hex(fh_json_get(root, "public_key"), u->c->key, sizeof u->c->key) &&
              from_hex(fh_json_get(root, "signature"), sig, sizeof sig);
    fh_json_free(doc);
    if (!ok) return broken(u, "its signature is none of Ed25519", err);
    FH_TRY(fh_sign_check(u->c->key, list, sig, err));
    return u->o->trust(u->o->trust_ctx, u->c->key, err);
}

static fh_status take_extra(unpacking *u, const fh_json_node *n, fh_crate_extra *x, fh_err *err) {
    fh_str name, hex;
    if (!fh_json_to_str(fh_json_get(n, "name"), &name) || !fh_path_is_plain_name(name) || !fh_store_path_ok(name) ||
        !fh_json_to_u64(fh_json_get(n, "bytes"), &x->bytes) || x->bytes > FH_CRATE_MOST_EXTRA ||
        !fh_json_to_str(fh_json_get(n, "sha256"), &hex) || !fh_sha256_is_hex(hex))
        return broken(u, "an extra without a plain name, a size or a digest", err);
    (void)fh_str_copy(x->digest, sizeof x->digest, hex);
    return fh_arena_copy(&u->c->arena, name, &x->name) ? FH_OK : fh_arena_fail(&u->c->arena, err);
}

static fh_status read_list(unpacking *u, fh_bytes list, fh_err *err) {
    fh_json *doc = NULL;
    uint64_t version = 0;
    FH_TRY(fh_json_parse(&doc, fh_str_of_bytes(list), NULL, err));
    const fh_json_node *root = fh_json_root(doc), *extra = fh_json_get(root, "extra");
    fh_status st = FH_OK;
    if (!fh_json_to_u64(fh_json_get(root, "freehold_bundle"), &version) || version != 1 || !fh_json_get(root, "model"))
        st = broken(u, "its list is of no version that this freehold reads", err);
    if (st == FH_OK) st = fh_lock_read_model(fh_json_get(root, "model"), &u->c->arena, &u->c->model, err);
    if (st == FH_OK && (!fh_json_is(extra, FH_JSON_ARRAY) || extra->n_child > 1000))
        st = broken(u, "its list of extras", err);
    if (st == FH_OK) u->c->extra = fh_arena_alloc(&u->c->arena, extra->n_child, sizeof *u->c->extra);
    if (st == FH_OK && !u->c->extra) st = fh_arena_fail(&u->c->arena, err);
    for (const fh_json_node *x = fh_json_first(extra); st == FH_OK && x; x = fh_json_after(extra, x))
        st = take_extra(u, x, &u->c->extra[u->c->n_extra++], err);
    fh_json_free(doc);
    return st;
}

/* ---- blobs ---- */

static fh_status prove(unpacking *u, fh_bytes data, const char *digest, fh_str what, fh_err *err) {
    char hex[FH_SHA256_HEX];
    fh_sha256 *sha = NULL;
    FH_TRY(fh_sha256_new(&sha, err));
    fh_status st = FH_OK;
    for (size_t at = 0; st == FH_OK && at < data.len; at += PIECE) {
        size_t n = FH_MIN(PIECE, data.len - at);
        st = fh_sha256_add(sha, data.ptr + at, n, err);
        u->done += n;
        if (u->o->progress) u->o->progress(u->o->ctx, u->done, u->c->model.bytes);
    }
    if (st == FH_OK) st = fh_sha256_finish(sha, hex, err);
    fh_sha256_free(sha);
    if (st == FH_OK && strcmp(hex, digest) != 0)
        st = fh_fail(err, FH_ERR_CORRUPT, "'%.*s' is not what was signed: the bundle was changed or damaged",
                     FH_STR_ARG(what));
    return st;
}

static fh_status write_to(const char *path, fh_bytes data, fh_err *err) {
    fh_writer *w = NULL;
    FH_TRY(fh_writer_open(&w, path, err));
    fh_status st = FH_OK;
    for (size_t at = 0; st == FH_OK && at < data.len; at += PIECE)
        st = fh_writer_add(w, data.ptr + at, FH_MIN(PIECE, data.len - at), err);
    if (st == FH_OK) return fh_writer_commit(w, err);
    fh_writer_abort(w);
    return st;
}

static bool seen_before(const fh_store_model *m, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (strcmp(m->file[k].digest, m->file[i].digest) == 0) return true;
    return false;
}

/* Written among what is on its way, so that the blobs' folder holds nothing that is not whole. */
static fh_status keep_blob(unpacking *u, const fh_store_file *f, const char *blob, fh_bytes data, fh_err *err) {
    char key[100], part[FH_PATH_MAX];
    snprintf(key, sizeof key, "unpack-%s", f->digest);
    FH_TRY(fh_store_partial_path(u->s, key, part, err));
    FH_TRY(write_to(part, data, err));
    int fd = open(part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return fh_fail_errno(err, "open", part);
    fh_status st = fchmod(fd, 0444) == 0 ? fh_file_publish(fd, part, blob, err) : fh_fail_errno(err, "protect", part);
    close(fd);
    return st;
}

static fh_status take_blob(unpacking *u, const fh_store_file *f, fh_err *err) {
    char name[100], path[FH_PATH_MAX];
    fh_bytes data;
    snprintf(name, sizeof name, "blobs/sha256-%s", f->digest);
    FH_TRY(next(u, name, f->bytes, &data, err));
    if (data.len != f->bytes) return broken(u, "a file of another size than its list says", err);
    FH_TRY(prove(u, data, f->digest, f->path, err));
    if (u->o->check) return FH_OK;
    FH_TRY(fh_store_blob_path(u->s, f->digest, path, err));
    return keep_blob(u, f, path, data, err);
}

static fh_status take_extra_blob(unpacking *u, const fh_crate_extra *x, fh_err *err) {
    char name[100], path[FH_PATH_MAX];
    fh_bytes data;
    snprintf(name, sizeof name, "blobs/sha256-%s", x->digest);
    FH_TRY(next(u, name, x->bytes, &data, err));
    if (data.len != x->bytes) return broken(u, "a file of another size than its list says", err);
    FH_TRY(prove(u, data, x->digest, x->name, err));
    if (u->o->check || !u->o->extra_folder) return FH_OK;
    FH_TRY(fh_path_join(path, u->o->extra_folder, x->name, err));
    return write_to(path, data, err);
}

static fh_status check_end(unpacking *u, fh_err *err) {
    for (size_t i = u->at; i < u->in.len; i++)
        if (u->in.ptr[i]) return broken(u, "more in it than its list says", err);
    return FH_OK;
}

static fh_status check_space(const unpacking *u, fh_err *err) {
    uint64_t space;
    FH_TRY(fh_store_space(u->s, &space, err));
    if (u->c->model.bytes <= space && space - u->c->model.bytes >= (uint64_t)64 << 20) return FH_OK;
    return fh_fail(err, FH_ERR_SPACE, "%llu MB are needed and %llu MB are free where the library is",
                   (unsigned long long)(u->c->model.bytes >> 20) + 64, (unsigned long long)(space >> 20));
}

static fh_status unpack(unpacking *u, fh_err *err) {
    fh_bytes list, sig;
    fh_store_model *m = &u->c->model;
    FH_TRY(next(u, FH_CRATE_LIST, FH_CRATE_MOST_LIST, &list, err));
    FH_TRY(next(u, FH_CRATE_SIG, 1 << 16, &sig, err));
    FH_TRY(check_signature(u, list, sig, err));
    FH_TRY(read_list(u, list, err));
    if (u->o->as && !fh_arena_copy(&u->c->arena, fh_str_of(u->o->as), &m->name))
        return fh_arena_fail(&u->c->arena, err);
    if (!u->o->check) FH_TRY(check_space(u, err));
    if (!u->o->check && u->o->extra_folder) FH_TRY(fh_folder_make(u->o->extra_folder, err));
    for (size_t i = 0; i < m->n_file; i++)
        if (!seen_before(m, i)) FH_TRY(take_blob(u, &m->file[i], err));
    for (size_t i = 0; i < u->c->n_extra; i++) FH_TRY(take_extra_blob(u, &u->c->extra[i], err));
    return check_end(u, err);
}

fh_status fh_crate_unpack(fh_crate *out, const char *path, fh_store *s, const fh_crate_unpack_options *o, fh_err *err) {
    fh_crate c = {.n_extra = 0};
    unpacking u = {.o = o, .c = &c, .s = s};
    fh_map *m = NULL;
    FH_TRY(fh_map_open(&m, path, err));
    fh_arena_init(&c.arena, (size_t)256 << 20);
    u.in = fh_map_bytes(m);
    fh_status st = unpack(&u, err);
    if (st == FH_OK) st = fh_map_check(m, err);
    if (st == FH_OK && !o->check) st = fh_store_put(s, &c.model, true, err);
    if (st != FH_OK) fh_err_set_path(err, path);
    fh_map_close(m);
    if (st == FH_OK) *out = c;
    else fh_crate_release(&c);
    return st;
}

void fh_crate_release(fh_crate *c) { fh_arena_release(&c->arena); }
