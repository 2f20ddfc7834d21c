/* base/str.c - the few text functions that are no one-liners.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/num.h"

int fh_str_cmp(fh_str a, fh_str b) {
    size_t n = FH_MIN(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c) return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

bool fh_str_find(fh_str s, char c, size_t *at) {
    const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;
    if (!p) return false;
    *at = (size_t)(p - s.ptr);
    return true;
}

bool fh_str_holds(fh_str s, const char *part) {
    size_t n = strlen(part);
    return n == 0 || (s.len >= n && memmem(s.ptr, s.len, part, n) != NULL);
}

bool fh_str_u64(fh_str s, uint64_t *out) {
    uint64_t v = 0;
    if (s.len == 0) return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned d = (unsigned)(unsigned char)s.ptr[i] - '0';
        if (d > 9 || !fh_mul_u64(v, 10, &v) || !fh_add_u64(v, d, &v)) return false;
    }
    *out = v;
    return true;
}

bool fh_utf8_valid(fh_str s) {
    const unsigned char *p = (const unsigned char *)s.ptr;
    for (size_t i = 0; i < s.len;) {
        unsigned c = p[i];
        if (c < 0x80) {
            i++;
            continue;
        }
        size_t n = c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
        if (n == 0 || s.len - i < n) return false;
        for (size_t k = 1; k < n; k++)
            if ((p[i + k] & 0xc0) != 0x80) return false;
        unsigned c1 = p[i + 1];
        /* overlong forms, surrogates, beyond U+10FFFF */
        if ((c == 0xe0 && c1 < 0xa0) || (c == 0xed && c1 > 0x9f)) return false;
        if ((c == 0xf0 && c1 < 0x90) || (c == 0xf4 && c1 > 0x8f)) return false;
        i += n;
    }
    return true;
}

bool fh_str_copy(char *out, size_t size, fh_str s) {
    size_t at;
    if (s.len >= size || fh_str_find(s, '\0', &at)) return false;
    if (s.len) memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    return true;
}
