/* tests/st_maker.h - safetensors bytes by hand, right or wrong: tests of the reader without the writer.
 * SPDX-License-Identifier: Apache-2.0
 * The buffer is sticky on failure; a case that runs out of memory fails when it opens the bytes. */
#ifndef FH_TESTS_ST_MAKER_H
#define FH_TESTS_ST_MAKER_H

#include "base/buf.h"

/* Length, header as given, n bytes of data that count up. */
static inline fh_bytes make_st(fh_buf *b, const char *header, size_t n_data) {
    fh_buf_clear(b);
    fh_buf_add_u64le(b, strlen(header));
    fh_buf_add_z(b, header);
    for (size_t i = 0; i < n_data; i++) fh_buf_add_byte(b, (uint8_t)i);
    return (fh_bytes){b->ptr, b->len};
}

#endif
