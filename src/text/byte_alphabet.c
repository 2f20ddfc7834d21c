/* text/byte_alphabet.c - SPDX-License-Identifier: Apache-2.0 */
#include "text/byte_alphabet.h"

static bool stands_for_itself(unsigned b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
}

/* Others in order: 00..20, 7F..A0, AD */
uint32_t fh_byte_alphabet_char(uint8_t byte) {
    if (stands_for_itself(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    return byte == 0xAD ? 0x143u : 0x121u + (byte - 0x7Fu);
}

bool fh_byte_alphabet_byte(uint32_t cp, uint8_t *byte) {
    if (cp < 0x100) {
        *byte = (uint8_t)cp;
        return stands_for_itself(cp);
    }
    if (cp > 0x143) return false;
    *byte = (uint8_t)(cp == 0x143 ? 0xAD : cp <= 0x120 ? cp - 0x100 : cp - 0x121 + 0x7F);
    return true;
}

void fh_byte_alphabet_add(fh_buf *out, fh_str s) {
    uint8_t *p = fh_buf_extend(out, 2 * s.len);
    size_t n = 0;
    if (!p) return;
    for (size_t i = 0; i < s.len; i++) {
        uint32_t cp = fh_byte_alphabet_char((uint8_t)s.ptr[i]);
        if (cp < 0x80) {
            p[n++] = (uint8_t)cp;
        } else {
            p[n++] = (uint8_t)(0xC0 | cp >> 6);
            p[n++] = (uint8_t)(0x80 | (cp & 0x3F));
        }
    }
    out->len -= 2 * s.len - n;
}

bool fh_byte_alphabet_decode(fh_str piece, uint8_t *out, size_t *len) {
    size_t n = 0;
    for (size_t i = 0; i < piece.len; n++) {
        uint32_t c = (uint8_t)piece.ptr[i++];
        if (c >= 0x80) {
            if (c < 0xC2 || c > 0xDF || i == piece.len || ((uint8_t)piece.ptr[i] & 0xC0) != 0x80) return false;
            c = (c & 0x1F) << 6 | ((uint8_t)piece.ptr[i++] & 0x3F);
        }
        if (!fh_byte_alphabet_byte(c, &out[n])) return false;
    }
    *len = n;
    return true;
}
