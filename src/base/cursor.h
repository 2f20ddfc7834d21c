/* base/cursor.h - reading little-endian fields from untrusted bytes.
 * SPDX-License-Identifier: Apache-2.0
 * Never reads past the end: the first field that does not fit makes the cursor fail, for good; reads then
 * give 0, and `pos` stays at the start of that field so that the error can name the byte. */
#ifndef FH_BASE_CURSOR_H
#define FH_BASE_CURSOR_H

#include <string.h>

#include "base/str.h"

typedef struct fh_cursor {
    fh_bytes in;
    size_t pos;
    bool failed;
} fh_cursor;

static inline fh_cursor fh_cursor_of(fh_bytes in) { return (fh_cursor){in, 0, false}; }
static inline size_t fh_cursor_left(const fh_cursor *c) { return c->failed ? 0 : c->in.len - c->pos; }
/* n bytes, or an empty range and failure. */
static inline fh_bytes fh_cursor_take(fh_cursor *c, uint64_t n) {
    if (c->failed || n > c->in.len - c->pos) {
        c->failed = true;
        return (fh_bytes){NULL, 0};
    }
    fh_bytes b = {c->in.ptr + c->pos, (size_t)n};
    c->pos += (size_t)n;
    return b;
}

/* Loads at any alignment. Hosts are little-endian (asserted in cursor users' build: base/mem.c). */
static inline uint16_t fh_load_u16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static inline uint32_t fh_load_u32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t fh_load_u64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
static inline float fh_load_f32(const uint8_t *p) {
    float v;
    memcpy(&v, p, 4);
    return v;
}
static inline double fh_load_f64(const uint8_t *p) {
    double v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint8_t fh_cursor_u8(fh_cursor *c) {
    fh_bytes b = fh_cursor_take(c, 1);
    return b.ptr ? b.ptr[0] : 0;
}
static inline uint16_t fh_cursor_u16(fh_cursor *c) {
    fh_bytes b = fh_cursor_take(c, 2);
    return b.ptr ? fh_load_u16(b.ptr) : 0;
}
static inline uint32_t fh_cursor_u32(fh_cursor *c) {
    fh_bytes b = fh_cursor_take(c, 4);
    return b.ptr ? fh_load_u32(b.ptr) : 0;
}
static inline uint64_t fh_cursor_u64(fh_cursor *c) {
    fh_bytes b = fh_cursor_take(c, 8);
    return b.ptr ? fh_load_u64(b.ptr) : 0;
}

#endif
