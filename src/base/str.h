/* base/str.h - borrowed text and bytes: pointer and length, never a promise of a final NUL.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. What they point to must outlive them; every header that hands one out says whose it is. */
#ifndef FH_BASE_STR_H
#define FH_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct fh_str {
    const char *ptr; /* [len] bytes, UTF-8 where it was checked, may hold NUL */
    size_t len;
} fh_str;

typedef struct fh_bytes {
    const uint8_t *ptr; /* [len] */
    size_t len;
} fh_bytes;

#define FH_STR(literal) ((fh_str){(literal), sizeof(literal) - 1})
/* For printf: "%.*s". Lengths are cut at 200 so that a hostile name cannot flood a message. */
#define FH_STR_ARG(s) (int)((s).len < 200 ? (s).len : 200), (s).ptr

static inline fh_str fh_str_of(const char *z) { return (fh_str){z, z ? strlen(z) : 0}; }
static inline fh_bytes fh_bytes_of(fh_str s) { return (fh_bytes){(const uint8_t *)s.ptr, s.len}; }
static inline fh_str fh_str_of_bytes(fh_bytes b) { return (fh_str){(const char *)b.ptr, b.len}; }
static inline bool fh_str_eq(fh_str a, fh_str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool fh_str_is(fh_str a, const char *z) { return fh_str_eq(a, fh_str_of(z)); }
static inline bool fh_str_starts(fh_str s, const char *prefix) {
    size_t n = strlen(prefix);
    return s.len >= n && memcmp(s.ptr, prefix, n) == 0;
}
static inline bool fh_str_ends(fh_str s, const char *suffix) {
    size_t n = strlen(suffix);
    return s.len >= n && memcmp(s.ptr + s.len - n, suffix, n) == 0;
}
static inline fh_str fh_str_drop(fh_str s, size_t n) {
    return n < s.len ? (fh_str){s.ptr + n, s.len - n} : (fh_str){s.ptr ? s.ptr + s.len : NULL, 0};
}
static inline fh_str fh_str_first(fh_str s, size_t n) { return (fh_str){s.ptr, n < s.len ? n : s.len}; }
/* Sub-range of bytes; the caller has checked that it lies inside. */
static inline fh_bytes fh_bytes_part(fh_bytes b, size_t at, size_t len) { return (fh_bytes){b.ptr + at, len}; }

/* What a hex digit stands for; -1 where it is none. */
static inline int fh_hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int fh_str_cmp(fh_str a, fh_str b);             /* byte order, shorter first on a tie */
bool fh_str_find(fh_str s, char c, size_t *at); /* first c */
bool fh_str_holds(fh_str s, const char *part);  /* also the empty part */
bool fh_str_u64(fh_str s, uint64_t *out);       /* decimal digits only, whole string, fits */
bool fh_utf8_valid(fh_str s);                   /* strict: no surrogates, no overlong forms */
/* Copies into a caller's array with a final NUL; false if it does not fit or s holds a NUL. */
bool fh_str_copy(char *out, size_t size, fh_str s);

#endif
