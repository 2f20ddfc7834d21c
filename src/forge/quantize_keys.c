/* forge/quantize_keys.c - metadata of a quantized file, and what makes one run of quantize the same as another.
 * SPDX-License-Identifier: Apache-2.0
 * Order: all keys of the source but those of splitting and those that are replaced; general.quantization_version,
 * general.file_type; keys set by hand; quantize.imatrix.* where an importance matrix was used; the number of layers
 * where some were left out. A list with one element for each layer loses the elements of layers that go. */
#include <stdio.h>
#include <sys/stat.h>

#include "base/cursor.h"
#include "base/num.h"
#include "forge/quantize_part.h"

#define MAX_TEXT 127 /* bytes of a name in quantize.imatrix.* */
#define SALT_MOST ((size_t)1 << 24)

typedef struct keys {
    const fh_quantize_plan *plan;
    const fh_quantize_options *opt;
    const fh_gguf *from;
    fh_str arch;
    char layers[256]; /* the key with the number of layers */
    uint64_t n_layer; /* of the source */
} keys;

static bool is_set(const keys *k, fh_str key) {
    for (size_t i = 0; i < k->opt->n_set; i++)
        if (fh_str_eq(k->opt->set[i].key, key)) return true;
    return false;
}

static bool is_replaced(const keys *k, fh_str key) {
    const fh_imatrix *m = k->opt->imatrix;
    if (fh_str_is(key, "split.no") || fh_str_is(key, "split.count") || fh_str_is(key, "split.tensors.count"))
        return true;
    if (fh_str_is(key, "general.quantization_version")) return true;
    if (fh_str_is(key, "general.file_type")) return true;
    if (k->opt->n_prune > 0 && fh_str_is(key, k->layers)) return true;
    if (is_set(k, key)) return true;
    return m && (fh_str_is(key, "quantize.imatrix.file") || fh_str_is(key, "quantize.imatrix.dataset") ||
                 fh_str_is(key, "quantize.imatrix.entries_count") ||
                 (fh_str_is(key, "quantize.imatrix.chunks_count") && fh_imatrix_n_chunk(m) > 0));
}

static bool is_pruned(const keys *k, uint64_t layer) {
    for (size_t i = 0; i < k->opt->n_prune; i++)
        if (k->opt->prune[i] == layer) return true;
    return false;
}

/* One element for each layer? */
static bool is_per_layer(const keys *k, const fh_gguf_kv *kv) {
    return k->opt->n_prune > 0 && kv->type == FH_GGUF_ARRAY && kv->n == k->n_layer && kv->elem != FH_GGUF_STR &&
           kv->elem != FH_GGUF_ARRAY && kv->key.len > k->arch.len &&
           fh_str_eq(fh_str_first(kv->key, k->arch.len), k->arch);
}

static fh_status add_left(const keys *k, fh_gguf_build *g, const fh_gguf_kv *kv, fh_err *err) {
    const size_t one = kv->payload.len / (size_t)kv->n;
    fh_gguf_kv left = *kv;
    fh_buf bytes;
    fh_buf_init(&bytes, kv->payload.len);
    left.n = 0;
    for (uint64_t i = 0; i < kv->n; i++) {
        if (is_pruned(k, i)) continue;
        fh_buf_add(&bytes, kv->payload.ptr + i * one, one);
        left.n++;
    }
    left.payload = (fh_bytes){bytes.ptr, bytes.len};
    fh_status st = fh_buf_check(&bytes, err);
    if (st == FH_OK) st = fh_gguf_build_add_kv(g, &left, err);
    fh_buf_release(&bytes);
    return st;
}

static fh_status add_imatrix_keys(const keys *k, fh_gguf_build *g, fh_err *err) {
    const fh_imatrix *m = k->opt->imatrix;
    if (!m) return FH_OK;
    FH_TRY(fh_gguf_build_add_str(g, "quantize.imatrix.file", fh_str_first(fh_str_of(k->opt->imatrix_path), MAX_TEXT),
                                 err));
    if (fh_imatrix_n_dataset(m) > 0)
        FH_TRY(fh_gguf_build_add_str(g, "quantize.imatrix.dataset", fh_str_first(fh_imatrix_dataset(m, 0), MAX_TEXT),
                                     err));
    FH_TRY(fh_gguf_build_add_u32(g, "quantize.imatrix.entries_count", (uint32_t)fh_imatrix_n_entry(m), err));
    if (fh_imatrix_n_chunk(m) == 0) return FH_OK;
    return fh_gguf_build_add_u32(g, "quantize.imatrix.chunks_count", fh_imatrix_n_chunk(m), err);
}

/* The last of each name, where the last stands. */
static fh_status add_set_keys(const keys *k, fh_gguf_build *g, fh_err *err) {
    for (size_t i = 0; i < k->opt->n_set; i++) {
        bool again = false;
        for (size_t n = i + 1; n < k->opt->n_set; n++) again |= fh_str_eq(k->opt->set[n].key, k->opt->set[i].key);
        if (!again) FH_TRY(fh_gguf_build_add_kv(g, &k->opt->set[i], err));
    }
    return FH_OK;
}

fh_status fh_quantize_put_keys(const fh_quantize_plan *p, const fh_feed *f, fh_gguf_build *g,
                               const fh_quantize_options *opt, fh_err *err) {
    keys k = {.plan = p, .opt = opt, .from = fh_feed_keys(f), .arch = FH_STR("")};
    uint64_t number = p->file_type;
    (void)fh_gguf_to_str(fh_gguf_find(k.from, "general.architecture"), &k.arch);
    snprintf(k.layers, sizeof k.layers, "%.*s.block_count", (int)FH_MIN(k.arch.len, (size_t)200), k.arch.ptr);
    (void)fh_gguf_to_u64(fh_gguf_find(k.from, k.layers), &k.n_layer);
    for (size_t i = 0; i < fh_gguf_n_kv(k.from); i++) {
        const fh_gguf_kv *kv = fh_gguf_get_kv(k.from, i);
        if (is_replaced(&k, kv->key)) continue;
        FH_TRY(is_per_layer(&k, kv) ? add_left(&k, g, kv, err) : fh_gguf_build_add_kv(g, kv, err));
    }
    if (!is_set(&k, FH_STR("general.quantization_version")))
        FH_TRY(fh_gguf_build_add_u32(g, "general.quantization_version", 2, err));
    bool known = p->file_type != UINT32_MAX || fh_gguf_to_u64(fh_gguf_find(k.from, "general.file_type"), &number);
    if (known && number <= UINT32_MAX && !is_set(&k, FH_STR("general.file_type")))
        FH_TRY(fh_gguf_build_add_u32(g, "general.file_type", (uint32_t)number, err));
    FH_TRY(add_set_keys(&k, g, err));
    FH_TRY(add_imatrix_keys(&k, g, err));
    if (opt->n_prune == 0 || is_set(&k, fh_str_of(k.layers))) return FH_OK;
    return fh_gguf_build_add_u32(g, k.layers, (uint32_t)p->n_layer, err);
}

/* ---- what the data depends on ---- */

static fh_status add_file(fh_buf *out, const char *path, fh_err *err) {
    struct stat st;
    if (stat(path, &st) != 0) return FH_OK; /* the model in the binary: the version stands for it */
    fh_buf_printf(out, "%s %llu %llu %lld.%09ld\n", path, (unsigned long long)st.st_ino, (unsigned long long)st.st_size,
                  (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    return fh_buf_check(out, err);
}

fh_status fh_quantize_salt(const fh_quantize_plan *p, const fh_feed *f, const fh_quantize_options *opt, fh_buf *out,
                           fh_err *err) {
    const fh_bundle *b = fh_feed_bundle(f);
    fh_buf_init(out, SALT_MOST);
    fh_buf_printf(out, "freehold %s\n", FH_VERSION);
    for (size_t i = 0; i < fh_bundle_n_part(b); i++) FH_TRY(add_file(out, fh_bundle_part_path(b, i), err));
    if (opt->imatrix) FH_TRY(add_file(out, opt->imatrix_path, err));
    for (size_t i = 0; i < p->n; i++) fh_buf_add_byte(out, p->item[i].weighted ? 'w' : '.');
    for (size_t i = 0; i < p->n; i++) {
        fh_buf_add_str(out, p->item[i].from->name);
        fh_buf_add_byte(out, '\n');
    }
    return fh_buf_check(out, err);
}
