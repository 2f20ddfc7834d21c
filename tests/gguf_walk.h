/* tests/gguf_walk.h - asks an opened GGUF everything that can be asked: for hostile files.
 * SPDX-License-Identifier: Apache-2.0
 * Aborts (FH_REQUIRE) when a promise of format/gguf.h is broken; reads first and last byte of all
 * data, so that a sanitizer sees a range that is not there. The result keeps reads from being
 * optimized away. */
#ifndef FH_TESTS_GGUF_WALK_H
#define FH_TESTS_GGUF_WALK_H

#include "format/gguf.h"

static inline bool walk_inside(fh_bytes file, const void *p, size_t len) {
    const uint8_t *q = p;
    return len == 0 || (q >= file.ptr && q < file.ptr + file.len && len <= file.len - (size_t)(q - file.ptr));
}

static inline uint64_t walk_kv(const fh_gguf_kv *kv) {
    uint64_t u, n = 0;
    int64_t i;
    double d;
    bool b;
    fh_str s;
    size_t at = 0;
    if (fh_gguf_to_u64(kv, &u)) n += u;
    if (fh_gguf_to_i64(kv, &i)) n += (uint64_t)i;
    if (fh_gguf_to_f64(kv, &d)) n += d > 0;
    if (fh_gguf_to_bool(kv, &b)) n += b;
    if (fh_gguf_to_str(kv, &s)) n += s.len;
    for (uint64_t k = 0; k < kv->n && k < 4096; k++) {
        if (fh_gguf_elem_u64(kv, k, &u)) n += u;
        if (fh_gguf_elem_i64(kv, k, &i)) n += (uint64_t)i;
        if (fh_gguf_elem_f64(kv, k, &d)) n += d > 0;
        if (fh_gguf_elem_bool(kv, k, &b)) n += b;
    }
    FH_REQUIRE(!fh_gguf_elem_u64(kv, kv->n, &u) && !fh_gguf_elem_u64(kv, UINT64_MAX, &u));
    uint64_t strings = 0;
    while (fh_gguf_next_str(kv, &at, &s)) {
        if (s.len) n += (uint64_t)(uint8_t)s.ptr[0] + (uint8_t)s.ptr[s.len - 1];
        strings++;
    }
    if (kv->type == FH_GGUF_ARRAY && kv->elem == FH_GGUF_STR) FH_REQUIRE(strings == kv->n);
    return n;
}

static inline uint64_t walk_gguf(const fh_gguf *g, fh_bytes file) {
    uint64_t n = 0, at = 0;
    char key[300];
    FH_REQUIRE(fh_gguf_data_offset(g) <= file.len);
    for (size_t i = 0; i < fh_gguf_n_kv(g); i++) {
        const fh_gguf_kv *kv = fh_gguf_get_kv(g, i);
        FH_REQUIRE(walk_inside(file, kv->key.ptr, kv->key.len));
        FH_REQUIRE(walk_inside(file, kv->payload.ptr, kv->payload.len));
        FH_REQUIRE(kv->offset < file.len);
        if (fh_str_copy(key, sizeof key, kv->key)) FH_REQUIRE(fh_gguf_find(g, key) == kv);
        n += walk_kv(kv);
    }
    for (size_t i = 0; i < fh_gguf_n_tensor(g); i++) {
        const fh_tensor *t = fh_gguf_get_tensor(g, i);
        uint64_t count, bytes;
        FH_REQUIRE(walk_inside(file, t->data.ptr, t->data.len) && t->data.len > 0);
        FH_REQUIRE(t->data.ptr == file.ptr + t->file_offset && t->file_offset >= fh_gguf_data_offset(g));
        FH_REQUIRE(fh_shape_count(&t->shape, &count) && fh_dtype_bytes(t->dtype, count, &bytes));
        FH_REQUIRE(bytes == t->data.len && t->shape.n_dim <= 4);
        FH_REQUIRE(fh_gguf_find_tensor(g, t->name) == t);
        n += (uint64_t)t->data.ptr[0] + t->data.ptr[t->data.len - 1];
        if (t->file_offset >= at) at = t->file_offset + t->data.len;
    }
    return n + at;
}

#endif
