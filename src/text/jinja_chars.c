/* text/jinja_chars.c - code points: UTF-8, the properties and cases that Python's str methods see.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Text is valid UTF-8 by the time it gets here (templates and JSON are checked); should it not be,
 * a broken byte counts as one character and nothing is read behind the end. */
#include "base/num.h"
#include "text/jinja_lib.h"

/* first..last in steps; each maps to itself plus distance */
typedef struct case_run {
    uint32_t first, last;
    uint32_t step;
    int32_t distance;
} case_run;
/* up to three code points, the rest 0 */
typedef struct case_special {
    uint32_t cp, to[3];
} case_special;

#include "text/jinja_char_table.h"

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
    size_t lo = 0, hi = FH_COUNT(prop_run);
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (prop_run[mid].cp <= cp) lo = mid;
        else hi = mid;
    }
    unsigned p = prop_run[lo].props;
    if (p & (FH_J_ALPHA | FH_J_NUMERIC)) p |= FH_J_WORD;
    return p;
}

static size_t map_in(uint32_t cp, const case_run *run, size_t n_run, const case_special *special, size_t n_special,
                     uint32_t out[3]) {
    size_t lo = 0, hi = n_run;
    out[0] = cp;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (run[mid].last < cp) lo = mid + 1;
        else hi = mid;
    }
    if (lo < n_run && run[lo].first <= cp && (cp - run[lo].first) % run[lo].step == 0) {
        out[0] = (uint32_t)((int32_t)cp + run[lo].distance);
        return 1;
    }
    for (size_t i = 0; i < n_special && special[i].cp <= cp; i++) {
        if (special[i].cp != cp) continue;
        memcpy(out, special[i].to, sizeof special[i].to);
        return out[2] ? 3 : out[1] ? 2 : 1;
    }
    return 1;
}

#define MAP(kind) map_in(cp, kind##_run, FH_COUNT(kind##_run), kind##_special, FH_COUNT(kind##_special), out)

size_t fh_jinja_map_case(uint32_t cp, fh_jcase how, uint32_t out[3]) {
    bool up = how == FH_J_UPPER || how == FH_J_TITLE;
    if (cp < 0x80) {
        out[0] = up ? (cp >= 'a' && cp <= 'z' ? cp - 32 : cp) : (cp >= 'A' && cp <= 'Z' ? cp + 32 : cp);
        return 1;
    }
    switch (how) {
    case FH_J_UPPER: return MAP(upper);
    case FH_J_TITLE: return MAP(title);
    case FH_J_FOLD: return MAP(fold);
    default: return MAP(lower);
    }
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
