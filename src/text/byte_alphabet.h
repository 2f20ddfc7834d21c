/* text/byte_alphabet.h - the alphabet of byte-level tokenizers: one printable character for every byte.
 * SPDX-License-Identifier: Apache-2.0
 * Bytes that print in Latin-1 stand for themselves, the other 68 for U+0100 onwards in order. */
#ifndef FH_TEXT_BYTE_ALPHABET_H
#define FH_TEXT_BYTE_ALPHABET_H

#include "base/buf.h"

/* U+0021 to U+0143 */
uint32_t fh_byte_alphabet_char(uint8_t byte);
bool fh_byte_alphabet_byte(uint32_t cp, uint8_t *byte); /* false: not in the alphabet */
/* Each byte of s as its character, in UTF-8. */
void fh_byte_alphabet_add(fh_buf *out, fh_str s);
/* The bytes that piece stands for, at most piece.len of them; false if any character is not in the alphabet. */
bool fh_byte_alphabet_decode(fh_str piece, uint8_t *out, size_t *len);

#endif
