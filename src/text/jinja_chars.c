/* text/jinja_chars.c - code points: UTF-8, the properties and cases that Python's str methods see.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Python's Unicode is that of the version templates are written for (3.11: Unicode 14). Text is valid
 * UTF-8 by the time it gets here (templates and JSON are checked); should it not be, a broken byte counts as one
 * character and nothing is read behind the end. */
#include "base/num.h"
#include "text/jinja_lib.h"
#include "text/unicode.h"

uint32_t fh_jinja_decode(const char *p, size_t left, size_t *n) {
    const uint8_t *b = (const uint8_t *)p;
    uint32_t c = b[0];
    size_t len = c < 0x80 ? 1 : c < 0xC2 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 1;
    *n = 1;
    if (len == 1 || len > left) return c < 0x80 ? c : 0xFFFD;
    uint32_t cp = c & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((b[i] & 0xC0) != 0x80) return 0xFFFD;
        cp = cp << 6 | (b[i] & 0x3F);
    }
    *n = len;
    return cp;
}

size_t fh_jinja_encode(uint32_t cp, char out[4]) {
    if (cp < 0x80) return out[0] = (char)cp, 1;
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

static unsigned ascii_props(uint32_t c) {
    unsigned p = c >= 0x20 && c < 0x7F ? FH_J_PRINTABLE : 0;
    if (c >= 'a' && c <= 'z') return p | FH_J_ALPHA | FH_J_IS_LOWER | FH_J_WORD;
    if (c >= 'A' && c <= 'Z') return p | FH_J_ALPHA | FH_J_IS_UPPER | FH_J_WORD;
    if (c >= '0' && c <= '9') return p | FH_J_DECIMAL | FH_J_DIGIT | FH_J_NUMERIC | FH_J_WORD;
    if (c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31)) return p | FH_J_SPACE;
    return c == '_' ? p | FH_J_WORD : p;
}

unsigned fh_jinja_props(uint32_t cp) {
    if (cp < 0x80) return ascii_props(cp);
    const fh_unicode_facts f = fh_unicode_facts_at(cp, FH_UNICODE_14);
    unsigned p = f.cat < FH_UCAT_ZS ? FH_J_PRINTABLE : 0;
    if (fh_ucat_is_letter(f.cat)) p |= FH_J_ALPHA | FH_J_WORD;
    if (f.cat == FH_UCAT_ND) p |= FH_J_DECIMAL;
    if (f.digit) p |= FH_J_DIGIT;
    if (f.numeric) p |= FH_J_NUMERIC | FH_J_WORD;
    if (f.white) p |= FH_J_SPACE;
    if (f.upper) p |= FH_J_IS_UPPER;
    if (f.lower) p |= FH_J_IS_LOWER;
    return f.cat == FH_UCAT_LT ? p | FH_J_IS_TITLE : p;
}

static size_t map_case(uint32_t cp, fh_jcase how, uint32_t out[3]) {
    switch (how) {
    case FH_J_UPPER: return fh_unicode_upper(cp, out);
    case FH_J_TITLE: return fh_unicode_title(cp, out);
    case FH_J_FOLD: break;
    default: return fh_unicode_lower(cp, out);
    }
    size_t k = fh_unicode_fold_full(cp, out);
    if (k == 0) out[0] = fh_unicode_fold_simple(cp);
    return k ? k : 1;
}

/* To what is newer there is no way, nor from it. */
size_t fh_jinja_map_case(uint32_t cp, fh_jcase how, uint32_t out[3]) {
    size_t k = fh_unicode_is_there(cp, FH_UNICODE_14) ? map_case(cp, how, out) : 0;
    if (k > 1 || (k == 1 && fh_unicode_is_there(out[0], FH_UNICODE_14))) return k;
    out[0] = cp;
    return 1;
}

/* ---- changing the case of a text ---- */

#define SIGMA 0x3A3u
#define CASED (FH_J_IS_UPPER | FH_J_IS_LOWER | FH_J_IS_TITLE)

/* A capital sigma at a word's end becomes another small letter than elsewhere. */
static bool ends_word(fh_str s, size_t at, size_t behind) {
    size_t n, before = at;
    if (at == 0) return false;
    do before--;
    while (before > 0 && ((unsigned char)s.ptr[before] & 0xC0) == 0x80);
    if (!(fh_jinja_props(fh_jinja_decode(s.ptr + before, at - before, &n)) & CASED)) return false;
    return behind >= s.len || !(fh_jinja_props(fh_jinja_decode(s.ptr + behind, s.len - behind, &n)) & CASED);
}

static fh_jcase case_here(fh_jcase how, uint32_t cp, bool first, bool in_word) {
    switch (how) {
    case FH_J_TITLE: return in_word ? FH_J_LOWER : FH_J_TITLE;
    case FH_J_CAPITALIZE: return first ? FH_J_TITLE : FH_J_LOWER;
    case FH_J_SWAP: return fh_jinja_props(cp) & FH_J_IS_UPPER ? FH_J_LOWER : FH_J_UPPER;
    default: return how;
    }
}

bool fh_jinja_case(fh_jrun *r, fh_jval v, fh_jcase how, fh_jval *out) {
    fh_str s = fh_jval_text(v);
    /* a code point of two bytes can become three of two */
    size_t room = fh_jinja_ascii(v) ? s.len : s.len * 3, n = 0;
    bool in_word = false;
    char *to = fh_jinja_alloc_text(r, room);
    if (!to || !fh_jinja_pay(r, s.len >> 5)) return false;
    for (size_t at = 0, len; at < s.len; at += len) {
        uint32_t cp = fh_jinja_decode(s.ptr + at, s.len - at, &len), mapped[3];
        fh_jcase here = case_here(how, cp, at == 0, in_word);
        size_t k = fh_jinja_map_case(cp, here, mapped);
        if (cp == SIGMA && here == FH_J_LOWER && ends_word(s, at, at + len)) mapped[0] = 0x3C2;
        if (how == FH_J_TITLE) in_word = fh_jinja_props(cp) & CASED;
        for (size_t i = 0; i < k; i++) {
            char four[4];
            size_t bytes = fh_jinja_encode(mapped[i], four);
            if (bytes > room - n) return fh_jinja_fail(r, "a text grows too much when its case changes");
            memcpy(to + n, four, bytes);
            n += bytes;
        }
    }
    fh_jinja_trim_text(r, to, room, n);
    *out = fh_jval_str((fh_str){to, n});
    out->flag = v.flag & (FH_J_SAFE | FH_J_ASCII);
    return true;
}
