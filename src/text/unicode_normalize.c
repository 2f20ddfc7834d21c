/* text/unicode_normalize.c - normal forms, by utf8proc.
 * SPDX-License-Identifier: Apache-2.0
 * The library's own buffers come from malloc, so only its parts that allocate nothing are used; the array of code
 * points is ours. Long texts go through in parts that end before an ASCII character, which no form ever joins with what
 * stands before it or moves across it: so memory does not follow the text.
 * Code points that the tables call late are copied: see tools/gen_unicode.py.
 * Refuses what is no UTF-8 and single runs over 64 MiB without such a place. */
#include "text/unicode.h"

#include <utf8proc.h>

#include "base/num.h"
#include "text/unicode_part.h"

#define PART_BYTES 8192u
#define RUN_MAX ((size_t)64 << 20)

static utf8proc_option_t options_of(fh_normal_form form) {
    unsigned o = (unsigned)UTF8PROC_STABLE;
    o |= (unsigned)(form == FH_NFC || form == FH_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
    if (form == FH_NFKC || form == FH_NFKD) o |= (unsigned)UTF8PROC_COMPAT;
    return (utf8proc_option_t)o;
}

/* One part: decompose, put in canonical order, compose, write. */
static fh_status normalize_part(fh_buf *out, fh_str s, utf8proc_option_t options, fh_err *err) {
    utf8proc_int32_t on_stack[512], *cp = on_stack, *heap = NULL;
    fh_status st = FH_OK;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)s.ptr;
    utf8proc_ssize_t n =
        utf8proc_decompose(bytes, (utf8proc_ssize_t)s.len, cp, (utf8proc_ssize_t)FH_COUNT(on_stack), options);
    if (n > (utf8proc_ssize_t)FH_COUNT(on_stack)) {
        heap = fh_alloc((size_t)n + 1, sizeof heap[0]); /* utf8proc_reencode adds a NUL, but is not used here */
        if (!heap) return fh_fail_memory(err, (size_t)n * sizeof heap[0]);
        cp = heap;
        n = utf8proc_decompose(bytes, (utf8proc_ssize_t)s.len, cp, n, options);
    }
    if (n >= 0) n = utf8proc_normalize_utf32(cp, n, options);
    if (n < 0) {
        st = fh_fail(err, FH_ERR_FORMAT, "cannot normalize text: %s", utf8proc_errmsg(n));
        goto out;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        char b[4];
        fh_buf_add(out, b, fh_utf8_put((uint32_t)cp[i], b));
    }
out:
    fh_free(heap);
    return st;
}

/* The length of the next part: up to a late code point, or an ASCII character if it grows long; *late is the length of
 * the late one behind it, which is copied. */
static size_t part_length(fh_str s, size_t *late) {
    *late = 0;
    for (size_t i = 0, len; i < s.len; i += len) {
        uint32_t cp = fh_utf8_next(s, i, &len);
        if (cp < 0x80) {
            if (i >= PART_BYTES) return i;
        } else if (fh_unicode_prop(cp) & FH_UPROP_LATE) {
            *late = len;
            return i;
        }
    }
    return s.len;
}

fh_status fh_unicode_normalize(fh_buf *out, fh_str s, fh_normal_form form, fh_err *err) {
    size_t ascii = 0;
    while (ascii < s.len && (signed char)s.ptr[ascii] >= 0) ascii++;
    if (ascii == s.len) {
        fh_buf_add_str(out, s);
        return fh_buf_check(out, err);
    }
    if (!fh_utf8_valid(s)) return fh_fail(err, FH_ERR_FORMAT, "cannot normalize text: it is no UTF-8");
    size_t before = out->len, plain = ascii ? ascii - 1 : 0; /* a mark may join the last ASCII character */
    utf8proc_option_t options = options_of(form);
    fh_status st = FH_OK;
    fh_buf_add_str(out, fh_str_first(s, plain));
    s = fh_str_drop(s, plain);
    while (s.len && st == FH_OK && out->status == FH_OK) {
        size_t late, n = part_length(s, &late);
        if (n > RUN_MAX) {
            st = fh_fail(err, FH_ERR_LIMIT, "cannot normalize text: %zu bytes without a place to cut", n);
            break;
        }
        if (n) st = normalize_part(out, fh_str_first(s, n), options, err);
        fh_buf_add(out, s.ptr + n, late);
        s = fh_str_drop(s, n + late);
    }
    if (st == FH_OK) st = fh_buf_check(out, err);
    if (st != FH_OK && out->status == FH_OK) out->len = before;
    return st;
}
