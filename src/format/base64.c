/* format/base64.c - strict base64.
 * SPDX-License-Identifier: Apache-2.0 */
#include "format/base64.h"

static int digit(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool fh_base64_decode(fh_str text, uint8_t *out, size_t *len) {
    const uint8_t *in = (const uint8_t *)text.ptr;
    size_t n = 0;
    if (text.len % 4 != 0) return false;
    for (size_t i = 0; i < text.len; i += 4) {
        bool last = i + 4 == text.len;
        int pad = last && in[i + 3] == '=' ? (in[i + 2] == '=' ? 2 : 1) : 0;
        int a = digit(in[i]), b = digit(in[i + 1]);
        int c = pad > 1 ? 0 : digit(in[i + 2]), d = pad > 0 ? 0 : digit(in[i + 3]);
        if (a < 0 || b < 0 || c < 0 || d < 0) return false;
        if ((pad == 2 && (b & 15)) || (pad == 1 && (c & 3))) return false;
        out[n++] = (uint8_t)(a << 2 | b >> 4);
        if (pad < 2) out[n++] = (uint8_t)((b & 15) << 4 | c >> 2);
        if (pad < 1) out[n++] = (uint8_t)((c & 3) << 6 | d);
    }
    *len = n;
    return true;
}
