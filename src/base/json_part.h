/* base/json_part.h - what the json_*.c files share; nobody else includes it.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Texts may be mapped files that change underneath: whatever the bytes say by then,
 * nothing here reads past the length or writes more than it was given room for. */
#ifndef FH_BASE_JSON_PART_H
#define FH_BASE_JSON_PART_H

#include "base/json.h"

/* As fh_json_next, but keys and strings stay as written between their quotes (checked; *escaped: to
 * be decoded). Needs no memory. */
FH_MUST_USE fh_status fh_json_next_raw(fh_json_reader *r, fh_json_event *ev, bool *escaped, fh_err *err);
/* Decodes text that fh_json_next_raw has checked. out has room for raw.len bytes, which always
 * suffices. */
size_t fh_json_decode(fh_str raw, char *out);

typedef struct fh_json_number {
    fh_str whole, fraction; /* digits before and behind the point */
    int64_t exponent;       /* clamped to +-FH_JSON_EXPONENT_MAX */
    bool negative;
} fh_json_number;

/* No text is long enough for its digits to make up for an exponent this large. */
#define FH_JSON_EXPONENT_MAX ((int64_t)1 << 59)

/* The number that the text starts with: its length; or 0, and *expected is missing at byte *at. */
size_t fh_json_number_scan(fh_str text, fh_json_number *n, const char **expected, size_t *at);

#define FH_JSON_NUMBER_MAX 40
/* Shortest text that reads back as v, which is finite; gives its length, no final NUL. */
size_t fh_json_number_text(double v, char out[FH_JSON_NUMBER_MAX]);

/* Length of the UTF-8 sequence at p[0..left), left > 0. *ok false: it is broken, and the length is
 * that of the part that one U+FFFD stands for. */
static inline size_t fh_json_utf8(const uint8_t *p, size_t left, bool *ok) {
    uint8_t c = p[0], lo = 0x80, hi = 0xBF;
    *ok = c < 0x80;
    if (c < 0xC2 || c > 0xF4) return 1;
    size_t n = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (c == 0xE0) lo = 0xA0; /* below: overlong */
    if (c == 0xED) hi = 0x9F; /* above: surrogates */
    if (c == 0xF0) lo = 0x90; /* below: overlong */
    if (c == 0xF4) hi = 0x8F; /* above: past U+10FFFF */
    for (size_t i = 1; i < n; i++) {
        if (i == left || p[i] < lo || p[i] > hi) return i;
        lo = 0x80;
        hi = 0xBF;
    }
    *ok = true;
    return n;
}

#endif
