/* library/crate_pack.c - a model of the library into a signed archive.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/json_member.h"
#include "base/num.h"
#include "library/crate_part.h"
#include "library/lock.h"

#define PIECE ((size_t)1 << 20)

void fh_tar_head(uint8_t out[FH_TAR_BLOCK], const char *name, uint64_t bytes) {
    unsigned sum = 0;
    char *p = (char *)out;
    memset(out, 0, FH_TAR_BLOCK);
    snprintf(p, 100, "%s", name);
    snprintf(p + 100, 8, "%07o", 0644u);
    snprintf(p + 108, 8, "%07o", 0u);
    snprintf(p + 116, 8, "%07o", 0u);
    if (bytes < (uint64_t)1 << 33) {
        snprintf(p + 124, 12, "%011llo", (unsigned long long)bytes);
    } else {
        out[124] = 0x80;
        for (int i = 0; i < 8; i++) out[135 - i] = (uint8_t)(bytes >> (8 * i));
    }
    snprintf(p + 136, 12, "%011o", 0u);
    memset(p + 148, ' ', 8);
    p[156] = '0';
    memcpy(p + 257, "ustar\00000", 8);
    for (size_t i = 0; i < FH_TAR_BLOCK; i++) sum += out[i];
    snprintf(p + 148, 8, "%06o", sum);
    p[155] = ' ';
}

typedef struct packing {
    fh_writer *w;
    const fh_crate_pack_options *o;
    uint64_t done, total;
} packing;

static fh_status pad(packing *p, uint64_t bytes, fh_err *err) {
    static const uint8_t zero[FH_TAR_BLOCK];
    size_t n = (size_t)((FH_TAR_BLOCK - bytes % FH_TAR_BLOCK) % FH_TAR_BLOCK);
    return fh_writer_add(p->w, zero, n, err);
}

static fh_status add_text(packing *p, const char *name, fh_str text, fh_err *err) {
    uint8_t head[FH_TAR_BLOCK];
    fh_tar_head(head, name, text.len);
    FH_TRY(fh_writer_add(p->w, head, sizeof head, err));
    FH_TRY(fh_writer_add(p->w, text.ptr, text.len, err));
    return pad(p, text.len, err);
}

static fh_status copy_map(packing *p, fh_bytes data, fh_sha256 *sha, fh_err *err) {
    for (size_t at = 0; at < data.len; at += PIECE) {
        size_t n = FH_MIN(PIECE, data.len - at);
        FH_TRY(fh_sha256_add(sha, data.ptr + at, n, err));
        FH_TRY(fh_writer_add(p->w, data.ptr + at, n, err));
        p->done += n;
        if (p->o->progress) p->o->progress(p->o->ctx, p->done, p->total);
    }
    return FH_OK;
}

static fh_status add_blob(packing *p, const fh_store *s, const fh_store_file *f, fh_err *err) {
    uint8_t head[FH_TAR_BLOCK];
    char path[FH_PATH_MAX], name[100], hex[FH_SHA256_HEX];
    fh_map *m = NULL;
    fh_sha256 *sha = NULL;
    snprintf(name, sizeof name, "blobs/sha256-%s", f->digest);
    fh_tar_head(head, name, f->bytes);
    FH_TRY(fh_writer_add(p->w, head, sizeof head, err));
    if (f->bytes == 0) return FH_OK;
    FH_TRY(fh_store_blob_path(s, f->digest, path, err));
    FH_TRY(fh_map_open(&m, path, err));
    fh_status st = fh_sha256_new(&sha, err);
    if (st == FH_OK) st = copy_map(p, fh_map_bytes(m), sha, err);
    if (st == FH_OK) st = fh_sha256_finish(sha, hex, err);
    if (st == FH_OK) st = fh_map_check(m, err);
    if (st == FH_OK && (strcmp(hex, f->digest) != 0 || fh_map_bytes(m).len != f->bytes))
        st = fh_fail(err, FH_ERR_CORRUPT, "'%.*s' is damaged in the library; pull it again to mend it",
                     FH_STR_ARG(f->path));
    fh_sha256_free(sha);
    fh_map_close(m);
    return st == FH_OK ? pad(p, f->bytes, err) : st;
}

static void write_list(fh_buf *out, const fh_store_model *m, const fh_crate_pack_options *o) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_put_u64(&w, "freehold_bundle", 1);
    fh_json_put_key(&w, "model");
    fh_lock_write_model(&w, m);
    fh_json_put_key(&w, "extra");
    fh_json_put_array(&w);
    for (size_t i = 0; i < o->n_extra; i++) {
        fh_json_put_object(&w);
        fh_put_str(&w, "name", o->extra[i].name);
        fh_put_u64(&w, "bytes", o->extra[i].bytes);
        fh_put_z(&w, "sha256", o->extra[i].digest);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

static void put_hex(fh_json_writer *w, const char *key, const uint8_t *p, size_t n) {
    char hex[2 * FH_SIGN_BYTES + 1];
    for (size_t i = 0; i < n; i++) snprintf(hex + 2 * i, 3, "%02x", p[i]);
    fh_put_z(w, key, hex);
}

static fh_status write_signature(fh_buf *out, fh_str list, const fh_signer *signer, fh_err *err) {
    uint8_t key[FH_SIGN_KEY_BYTES], sig[FH_SIGN_BYTES];
    fh_json_writer w;
    FH_TRY(fh_signer_public(signer, key, err));
    FH_TRY(fh_signer_sign(signer, fh_bytes_of(list), sig, err));
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_put_z(&w, "algorithm", "ed25519");
    put_hex(&w, "public_key", key, sizeof key);
    put_hex(&w, "signature", sig, sizeof sig);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
    return fh_buf_check(out, err);
}

static bool seen_before(const fh_store_model *m, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (strcmp(m->file[k].digest, m->file[i].digest) == 0) return true;
    return false;
}

static fh_status add_all(packing *p, fh_store *s, const fh_store_model *m, fh_buf *list, fh_buf *sig, fh_err *err) {
    static const uint8_t end[2 * FH_TAR_BLOCK];
    char name[100];
    write_list(list, m, p->o);
    FH_TRY(fh_buf_check(list, err));
    FH_TRY(write_signature(sig, fh_buf_str(list), p->o->signer, err));
    FH_TRY(add_text(p, FH_CRATE_LIST, fh_buf_str(list), err));
    FH_TRY(add_text(p, FH_CRATE_SIG, fh_buf_str(sig), err));
    for (size_t i = 0; i < m->n_file; i++)
        if (!seen_before(m, i)) FH_TRY(add_blob(p, s, &m->file[i], err));
    for (size_t i = 0; i < p->o->n_extra; i++) {
        snprintf(name, sizeof name, "blobs/sha256-%s", p->o->extra[i].digest);
        FH_TRY(add_text(p, name, p->o->extra[i].text, err));
    }
    return fh_writer_add(p->w, end, sizeof end, err);
}

fh_status fh_crate_pack(const char *path, fh_store *s, const fh_store_model *m, const fh_crate_pack_options *o,
                        fh_err *err) {
    fh_buf list, sig;
    packing p = {.o = o, .total = m->bytes};
    for (size_t i = 0; i < o->n_extra; i++) {
        fh_crate_extra *x = &o->extra[i];
        x->bytes = x->text.len;
        if (!fh_path_is_plain_name(x->name) || !fh_store_path_ok(x->name) || x->bytes > FH_CRATE_MOST_EXTRA)
            return fh_fail(err, FH_ERR_USAGE, "'%.*s' cannot be packed beside a model: its name or size",
                           FH_STR_ARG(x->name));
        FH_TRY(fh_sha256_of(fh_bytes_of(x->text), x->digest, err));
    }
    fh_buf_init(&list, FH_CRATE_MOST_LIST);
    fh_buf_init(&sig, 1 << 16);
    fh_status st = fh_writer_open(&p.w, path, err);
    if (st == FH_OK) st = add_all(&p, s, m, &list, &sig, err);
    if (st == FH_OK) st = fh_writer_commit(p.w, err);
    else fh_writer_abort(p.w);
    fh_buf_release(&list);
    fh_buf_release(&sig);
    return st;
}
