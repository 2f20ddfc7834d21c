/* format/base64.h - strict base64 (RFC 4648, standard alphabet, with padding), as tokenizer files
 * carry bytes.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses spaces, missing padding and non-zero bits behind the last byte: each byte string has one
 * spelling. */
#ifndef FH_FORMAT_BASE64_H
#define FH_FORMAT_BASE64_H

#include "base/str.h"

/* Bytes that text of this length can decode to, at most. */
static inline size_t fh_base64_room(size_t text_len) { return text_len / 4 * 3; }
/* Writes at most fh_base64_room(text.len) bytes; false (and *len untouched) when text is no base64. */
bool fh_base64_decode(fh_str text, uint8_t *out, size_t *len);

#endif
