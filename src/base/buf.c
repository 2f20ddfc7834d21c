/* base/buf.c - the growing byte buffer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdio.h>

#include "base/num.h"

void fh_buf_init(fh_buf *b, size_t limit) {
    *b = (fh_buf){.ptr = NULL, .len = 0, .cap = 0, .limit = limit, .status = FH_OK};
}

void fh_buf_release(fh_buf *b) {
    fh_free(b->ptr);
    fh_buf_init(b, b->limit);
}

void fh_buf_clear(fh_buf *b) {
    b->len = 0;
    b->status = FH_OK;
}

/* Room for n more bytes and a final NUL that fh_buf_take adds. */
static bool reserve(fh_buf *b, size_t n) {
    size_t need, with_nul;
    if (b->status != FH_OK) return false;
    if (!fh_add_size(b->len, n, &need) || need > b->limit || !fh_add_size(need, 1, &with_nul)) {
        b->status = FH_ERR_LIMIT;
        return false;
    }
    if (with_nul <= b->cap) return true;
    size_t cap = FH_MAX(b->cap + b->cap / 2, (size_t)64);
    cap = FH_MAX(cap, with_nul);
    uint8_t *p = fh_realloc(b->ptr, cap, 1);
    if (!p) {
        b->status = FH_ERR_MEMORY;
        return false;
    }
    b->ptr = p;
    b->cap = cap;
    return true;
}

uint8_t *fh_buf_extend(fh_buf *b, size_t n) {
    if (!reserve(b, n)) return NULL;
    uint8_t *p = b->ptr + b->len;
    b->len += n;
    return p;
}

void fh_buf_add(fh_buf *b, const void *data, size_t n) {
    uint8_t *p = fh_buf_extend(b, n);
    if (p && n) memcpy(p, data, n);
}

void fh_buf_add_str(fh_buf *b, fh_str s) { fh_buf_add(b, s.ptr, s.len); }
void fh_buf_add_z(fh_buf *b, const char *z) { fh_buf_add(b, z, strlen(z)); }
void fh_buf_add_byte(fh_buf *b, uint8_t c) { fh_buf_add(b, &c, 1); }
void fh_buf_add_u16le(fh_buf *b, uint16_t v) { fh_buf_add(b, &v, sizeof v); }
void fh_buf_add_u32le(fh_buf *b, uint32_t v) { fh_buf_add(b, &v, sizeof v); }
void fh_buf_add_u64le(fh_buf *b, uint64_t v) { fh_buf_add(b, &v, sizeof v); }

void fh_buf_fill(fh_buf *b, uint8_t c, size_t n) {
    uint8_t *p = fh_buf_extend(b, n);
    if (p) memset(p, c, n);
}

void fh_buf_printf(fh_buf *b, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n >= 0 && reserve(b, (size_t)n)) {
        vsnprintf((char *)b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

fh_status fh_buf_check(const fh_buf *b, fh_err *err) {
    if (b->status == FH_OK) return FH_OK;
    if (b->status == FH_ERR_MEMORY) return fh_fail_memory(err, b->cap);
    return fh_fail(err, b->status, "more than the %zu bytes allowed here", b->limit);
}

char *fh_buf_take(fh_buf *b, size_t *len) {
    if (!reserve(b, 0)) return NULL;
    b->ptr[b->len] = '\0';
    char *z = (char *)b->ptr;
    if (len) *len = b->len;
    fh_buf_init(b, b->limit);
    return z;
}
