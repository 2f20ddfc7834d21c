/* forge/stamp.c - see stamp.h. Owns the directory of the file in the making.
 * SPDX-License-Identifier: Apache-2.0 */
#include "forge/stamp.h"

static bool goes(fh_str key, const char *const *prefix, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (fh_str_starts(key, prefix[i])) return true;
    return false;
}

static fh_status add(fh_gguf_build *to, const fh_stamp *v, fh_err *err) {
    const fh_gguf_kv number = {.key = fh_str_of(v->key),
                               .type = FH_GGUF_F64,
                               .n = 1,
                               .payload = {(const uint8_t *)&v->number, sizeof v->number}};
    switch (v->kind) {
    case FH_STAMP_TEXT: return fh_gguf_build_add_str(to, v->key, v->text, err);
    case FH_STAMP_WHOLE: return fh_gguf_build_add_u64(to, v->key, v->whole, err);
    case FH_STAMP_NUMBER: return fh_gguf_build_add_kv(to, &number, err);
    }
    return FH_OK;
}

static fh_status fill(fh_gguf_build *to, const fh_gguf *from, const char *const *prefix, size_t n_prefix,
                      const fh_stamp *v, size_t n, fh_err *err) {
    for (size_t i = 0; i < fh_gguf_n_kv(from); i++) {
        const fh_gguf_kv *kv = fh_gguf_get_kv(from, i);
        if (!goes(kv->key, prefix, n_prefix)) FH_TRY(fh_gguf_build_add_kv(to, kv, err));
    }
    for (size_t i = 0; i < n; i++) FH_TRY(add(to, &v[i], err));
    for (size_t i = 0; i < fh_gguf_n_tensor(from); i++)
        FH_TRY(fh_gguf_build_add_tensor(to, fh_gguf_get_tensor(from, i), err));
    return FH_OK;
}

fh_status fh_stamp_write(const fh_bundle *b, const char *const *prefix, size_t n_prefix, const fh_stamp *v, size_t n,
                         fh_err *err) {
    const fh_gguf *from = fh_bundle_gguf(b, 0);
    const char *path = fh_bundle_part_path(b, 0);
    fh_gguf_build *to;
    if (!from || fh_file_get_kind(path) != FH_FILE_REGULAR)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "write into '%.300s': only a GGUF file has room for keys",
                       fh_bundle_path(b));
    FH_TRY(fh_gguf_build_new(&to, err));
    fh_status st = fill(to, from, prefix, n_prefix, v, n, err);
    if (st == FH_OK) st = fh_bundle_check(b, err);
    if (st == FH_OK) st = fh_gguf_write(to, path, NULL, NULL, err);
    fh_gguf_build_free(to);
    return st;
}
