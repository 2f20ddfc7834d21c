/* base/buf.h - a growing byte buffer with a ceiling set at init.
 * SPDX-License-Identifier: Apache-2.0
 * Failure is sticky: appends after a failure do nothing, one fh_buf_check at the end reports it.
 * Owns its bytes until released or taken. */
#ifndef FH_BASE_BUF_H
#define FH_BASE_BUF_H

#include <stdarg.h>

#include "base/mem.h"

typedef struct fh_buf {
    uint8_t *ptr; /* [len], capacity cap */
    size_t len, cap, limit;
    fh_status status;
} fh_buf;

void fh_buf_init(fh_buf *b, size_t limit); /* allocates nothing */
void fh_buf_release(fh_buf *b);
void fh_buf_clear(fh_buf *b); /* empty again, keeps the memory and clears a failure */
void fh_buf_add(fh_buf *b, const void *data, size_t n);
void fh_buf_add_str(fh_buf *b, fh_str s);
void fh_buf_add_z(fh_buf *b, const char *z);
void fh_buf_add_byte(fh_buf *b, uint8_t c);
void fh_buf_fill(fh_buf *b, uint8_t c, size_t n);
void fh_buf_add_u16le(fh_buf *b, uint16_t v);
void fh_buf_add_u32le(fh_buf *b, uint32_t v);
void fh_buf_add_u64le(fh_buf *b, uint64_t v);
void fh_buf_printf(fh_buf *b, const char *fmt, ...) FH_PRINTF(2, 3);
FH_MUST_USE uint8_t *fh_buf_extend(fh_buf *b, size_t n); /* n more bytes to fill, NULL on failure */
FH_MUST_USE fh_status fh_buf_check(const fh_buf *b, fh_err *err);
static inline fh_str fh_buf_str(const fh_buf *b) { return (fh_str){(const char *)b->ptr, b->len}; }
/* Moves the bytes out, with a NUL behind them; the buffer is empty afterwards. NULL on failure. */
FH_MUST_USE char *fh_buf_take(fh_buf *b, size_t *len);

#endif
