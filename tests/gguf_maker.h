/* tests/gguf_maker.h - GGUF bytes by hand, right or wrong: tests of the reader without the writer.
 * SPDX-License-Identifier: Apache-2.0
 * The buffer is sticky on failure; a case that runs out of memory fails when it opens the bytes. */
#ifndef FH_TESTS_GGUF_MAKER_H
#define FH_TESTS_GGUF_MAKER_H

#include "base/buf.h"

static inline void make_start(fh_buf *b, uint64_t n_tensor, uint64_t n_kv) {
    fh_buf_clear(b);
    fh_buf_add(b, "GGUF", 4);
    fh_buf_add_u32le(b, 3);
    fh_buf_add_u64le(b, n_tensor);
    fh_buf_add_u64le(b, n_kv);
}

static inline void make_str(fh_buf *b, const char *z) {
    fh_buf_add_u64le(b, strlen(z));
    fh_buf_add_z(b, z);
}

/* The value itself is for the caller to append. */
static inline void make_key(fh_buf *b, const char *key, uint32_t type) {
    make_str(b, key);
    fh_buf_add_u32le(b, type);
}

static inline void make_array(fh_buf *b, const char *key, uint32_t elem, uint64_t n) {
    make_key(b, key, 9);
    fh_buf_add_u32le(b, elem);
    fh_buf_add_u64le(b, n);
}

/* ne as in the file: innermost first. */
static inline void make_tensor(fh_buf *b, const char *name, uint32_t n_dim, const uint64_t *ne, uint32_t type,
                               uint64_t offset) {
    make_str(b, name);
    fh_buf_add_u32le(b, n_dim);
    for (uint32_t i = 0; i < n_dim; i++) fh_buf_add_u64le(b, ne[i]);
    fh_buf_add_u32le(b, type);
    fh_buf_add_u64le(b, offset);
}

static inline void make_tensor1(fh_buf *b, const char *name, uint64_t ne, uint32_t type, uint64_t offset) {
    make_tensor(b, name, 1, &ne, type, offset);
}

static inline void make_padding(fh_buf *b, size_t alignment) {
    while (b->len % alignment != 0) fh_buf_add_byte(b, 0);
}

static inline fh_bytes make_bytes(const fh_buf *b) { return (fh_bytes){b->ptr, b->len}; }

#endif
