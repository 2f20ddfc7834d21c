/* text/jinja_string.c - texts as sequences of code points: cutting, finding, splitting, stripping, joining.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. What comes out is a view into what went in wherever that is possible; work is paid for by the byte.
 * Most texts are ASCII, where a code point is a byte: a view remembers when that is known. */
#include "base/num.h"
#include "text/jinja_lib.h"

bool fh_jinja_ascii(fh_jval s) {
    if (s.flag & FH_J_ASCII) return true;
    if (s.flag & FH_J_WIDE) return false;
    size_t i = 0;
    for (uint64_t w; i + 8 <= s.len; i += 8) {
        memcpy(&w, s.u.s + i, 8);
        if (w & 0x8080808080808080u) return false;
    }
    for (; i < s.len; i++)
        if ((unsigned char)s.u.s[i] >= 0x80) return false;
    return true;
}

static size_t count_bytes(const char *p, size_t n) {
    size_t c = 0;
    for (size_t i = 0; i < n; i++) c += ((unsigned char)p[i] & 0xC0) != 0x80;
    return c;
}

size_t fh_jinja_count(fh_jval s) { return s.flag & FH_J_ASCII ? s.len : count_bytes(s.u.s, s.len); }
size_t fh_jinja_cp_at(fh_jval s, size_t byte) { return s.flag & FH_J_ASCII ? byte : count_bytes(s.u.s, byte); }

size_t fh_jinja_byte_at(fh_jval s, size_t cp) {
    if (s.flag & FH_J_ASCII) return FH_MIN(cp, (size_t)s.len);
    size_t at = 0;
    for (; at < s.len; at++) {
        if (((unsigned char)s.u.s[at] & 0xC0) == 0x80) continue;
        if (cp-- == 0) break;
    }
    return at;
}

fh_jval fh_jinja_cut(fh_jval s, size_t from, size_t to) {
    fh_jval v = fh_jval_str((fh_str){s.u.s + from, to - from});
    v.flag = s.flag & (FH_J_ASCII | FH_J_SAFE);
    return v;
}

bool fh_jinja_find(fh_str in, fh_str what, size_t from, size_t *at) {
    if (from > in.len || what.len > in.len - from) return false;
    if (what.len == 0) {
        *at = from;
        return true;
    }
    const char *p = memmem(in.ptr + from, in.len - from, what.ptr, what.len);
    if (p) *at = (size_t)(p - in.ptr);
    return p != NULL;
}

bool fh_jinja_repeat(fh_jrun *r, fh_jval s, int64_t n, fh_jval *out) {
    uint64_t bytes;
    if (n <= 0 || s.len == 0) {
        *out = FH_JVAL_LIT("");
        return true;
    }
    if (!fh_mul_u64((uint64_t)n, s.len, &bytes) || bytes > UINT32_MAX / 2)
        return fh_jinja_fail_status(r, FH_ERR_LIMIT, "a text repeated %lld times is too long", (long long)n);
    char *to = fh_jinja_alloc_text(r, (size_t)bytes);
    if (!to) return false;
    for (int64_t i = 0; i < n; i++) memcpy(to + (size_t)i * s.len, s.u.s, s.len);
    *out = fh_jval_str((fh_str){to, (size_t)bytes});
    out->flag = s.flag;
    return true;
}

/* ---- stripping ---- */

static bool in_set(const fh_jval *chars, const char *p, size_t n) {
    size_t at;
    if (!chars) {
        unsigned char c = (unsigned char)p[0];
        if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31);
        return fh_jinja_props(fh_jinja_decode(p, n, &at)) & FH_J_SPACE;
    }
    if (n == 1) return chars->len && memchr(chars->u.s, p[0], chars->len) != NULL;
    return fh_jinja_find(fh_jval_text(*chars), (fh_str){p, n}, 0, &at);
}

fh_jval fh_jinja_strip(fh_jval s, const fh_jval *chars, bool left, bool right) {
    size_t from = 0, to = s.len, n;
    while (left && from < to) {
        (void)fh_jinja_decode(s.u.s + from, to - from, &n);
        if (!in_set(chars, s.u.s + from, n)) break;
        from += n;
    }
    while (right && to > from) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)s.u.s[at] & 0xC0) == 0x80) at--;
        if (!in_set(chars, s.u.s + at, to - at)) break;
        to = at;
    }
    return fh_jinja_cut(s, from, to);
}

/* ---- replacing ---- */

static uint64_t count_of(fh_str in, fh_str what, uint64_t limit) {
    uint64_t n = 0;
    for (size_t at = 0; n < limit && fh_jinja_find(in, what, at, &at); at += what.len) n++;
    return n;
}

/* Before every code point and at the end. */
static bool replace_empty(fh_jrun *r, fh_jval s, fh_str with, uint64_t limit, fh_jval *out) {
    uint64_t n = FH_MIN((uint64_t)count_bytes(s.u.s, s.len) + 1, limit), bytes;
    if (!fh_mul_u64(n, with.len, &bytes) || bytes + s.len > UINT32_MAX / 2)
        return fh_jinja_fail_status(r, FH_ERR_LIMIT, "a text becomes too long by replacing");
    char *to = fh_jinja_alloc_text(r, (size_t)bytes + s.len);
    size_t k = 0;
    if (!to) return false;
    for (size_t at = 0; at <= s.len; at++) {
        bool starts = at == s.len || ((unsigned char)s.u.s[at] & 0xC0) != 0x80;
        if (starts && n > 0) {
            n--;
            if (with.len) memcpy(to + k, with.ptr, with.len);
            k += with.len;
        }
        if (at < s.len) to[k++] = s.u.s[at];
    }
    *out = fh_jval_str((fh_str){to, k});
    return true;
}

bool fh_jinja_replace(fh_jrun *r, fh_jval s, fh_str old, fh_str with, int64_t limit, fh_jval *out) {
    fh_str in = fh_jval_text(s);
    uint64_t most = limit < 0 ? UINT64_MAX : (uint64_t)limit, gone, more;
    if (!fh_jinja_pay_bytes(r, s.len)) return false;
    if (old.len == 0) return replace_empty(r, s, with, most, out);
    uint64_t n = count_of(in, old, most);
    if (n == 0) {
        *out = s;
        return true;
    }
    gone = n * old.len; /* lies inside the text */
    if (!fh_mul_u64(n, with.len, &more) || more > UINT32_MAX / 2 || s.len - gone + more > UINT32_MAX / 2)
        return fh_jinja_fail_status(r, FH_ERR_LIMIT, "a text becomes too long by replacing");
    size_t bytes = (size_t)(s.len - gone + more), k = 0, at = 0, hit;
    char *to = fh_jinja_alloc_text(r, bytes);
    if (!to || !fh_jinja_pay(r, n >> 4)) return false;
    for (; n > 0 && fh_jinja_find(in, old, at, &hit); n--) {
        memcpy(to + k, in.ptr + at, hit - at);
        k += hit - at;
        if (with.len) memcpy(to + k, with.ptr, with.len);
        k += with.len;
        at = hit + old.len;
    }
    memcpy(to + k, in.ptr + at, in.len - at);
    *out = fh_jval_str((fh_str){to, bytes});
    out->flag = s.flag & FH_J_SAFE;
    return true;
}

/* ---- splitting ---- */

static void reverse(fh_jlist *l) {
    for (uint32_t i = 0, k = l->n; i + 1 < k; i++) {
        fh_jval v = l->item[i];
        l->item[i] = l->item[--k];
        l->item[k] = v;
    }
}

static bool add_part(fh_jrun *r, fh_jlist *l, fh_jval s, size_t from, size_t to) {
    return fh_jinja_pay(r, 1) && fh_jinja_list_add(r, l, fh_jinja_cut(s, from, to));
}

static bool find_last(fh_str in, fh_str what, size_t end, size_t *at) {
    for (size_t i = end; i >= what.len; i--)
        if (memcmp(in.ptr + i - what.len, what.ptr, what.len) == 0) {
            *at = i - what.len;
            return true;
        }
    return false;
}

bool fh_jinja_split_at(fh_jrun *r, fh_jval s, fh_str sep, int64_t limit, bool right, fh_jlist **out) {
    fh_str in = fh_jval_text(s);
    fh_jlist *l = *out = fh_jinja_list(r, 0);
    size_t from = 0, end = s.len, at;
    if (!l || !fh_jinja_pay_bytes(r, s.len)) return false;
    if (sep.len == 0) return fh_jinja_fail(r, "empty separator");
    if (right && limit >= 0) {
        for (; limit > 0 && find_last(in, sep, end, &at); limit--) {
            if (!add_part(r, l, s, at + sep.len, end)) return false;
            end = at;
        }
        if (!add_part(r, l, s, 0, end)) return false;
        reverse(l);
        return true;
    }
    for (; limit != 0 && fh_jinja_find(in, sep, from, &at); limit--) {
        if (!add_part(r, l, s, from, at)) return false;
        from = at + sep.len;
    }
    return add_part(r, l, s, from, s.len);
}

static size_t space_at(fh_str s, size_t at) {
    size_t n;
    (void)fh_jinja_decode(s.ptr + at, s.len - at, &n);
    return in_set(NULL, s.ptr + at, n) ? n : 0;
}

static size_t space_before(fh_str s, size_t end) {
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)s.ptr[at] & 0xC0) == 0x80) at--;
    return in_set(NULL, s.ptr + at, end - at) ? end - at : 0;
}

static size_t cp_before(fh_str s, size_t end) {
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)s.ptr[at] & 0xC0) == 0x80) at--;
    return end - at;
}

static bool split_words_right(fh_jrun *r, fh_jval s, int64_t limit, fh_jlist *l) {
    fh_str in = fh_jval_text(s);
    size_t end = s.len, n;
    for (;;) {
        while (end > 0 && (n = space_before(in, end)) > 0) end -= n;
        if (end == 0) break;
        if (limit == 0) {
            if (!add_part(r, l, s, 0, end)) return false;
            break;
        }
        size_t at = end;
        while (at > 0 && !space_before(in, at)) at -= cp_before(in, at);
        if (!add_part(r, l, s, at, end)) return false;
        end = at;
        limit--;
    }
    reverse(l);
    return true;
}

bool fh_jinja_split_words(fh_jrun *r, fh_jval s, int64_t limit, bool right, fh_jlist **out) {
    fh_str in = fh_jval_text(s);
    fh_jlist *l = *out = fh_jinja_list(r, 0);
    if (!l || !fh_jinja_pay_bytes(r, s.len * 4ull)) return false;
    if (right && limit >= 0) return split_words_right(r, s, limit, l);
    for (size_t at = 0, n;;) {
        while (at < in.len && (n = space_at(in, at)) > 0) at += n;
        if (at == in.len) return true;
        if (limit == 0) return add_part(r, l, s, at, in.len);
        size_t from = at;
        while (at < in.len && !space_at(in, at)) {
            (void)fh_jinja_decode(in.ptr + at, in.len - at, &n);
            at += n;
        }
        if (!add_part(r, l, s, from, at)) return false;
        limit--;
    }
}

/* Bytes of the line end at p, or 0. */
static size_t line_end(const char *p, size_t left) {
    unsigned char c = (unsigned char)p[0];
    if (c == '\r') return left > 1 && p[1] == '\n' ? 2 : 1;
    if (c == '\n' || c == '\v' || c == '\f' || (c >= 0x1C && c <= 0x1E)) return 1;
    if (c == 0xC2 && left > 1 && (unsigned char)p[1] == 0x85) return 2;
    if (c == 0xE2 && left > 2 && (unsigned char)p[1] == 0x80 && ((unsigned char)p[2] | 1) == 0xA9) return 3;
    return 0;
}

bool fh_jinja_split_lines(fh_jrun *r, fh_jval s, bool keep, fh_jlist **out) {
    fh_jlist *l = *out = fh_jinja_list(r, 0);
    size_t from = 0, at = 0, n;
    if (!l || !fh_jinja_pay_bytes(r, s.len * 4ull)) return false;
    while (at < s.len) {
        n = line_end(s.u.s + at, s.len - at);
        if (n) {
            if (!add_part(r, l, s, from, keep ? at + n : at)) return false;
            from = at + n;
        }
        at += n ? n : 1;
    }
    return from == s.len || add_part(r, l, s, from, s.len);
}

/* ---- for HTML ---- */

/* All five lie between " and >. */
static inline bool is_special(char c) {
    unsigned at = (unsigned)(unsigned char)c - '"';
    return at < 32 && UINT32_C(0x14000031) >> at & 1;
}

bool fh_jinja_escape(fh_jrun *r, fh_jval v, fh_jval *out) {
    fh_jval s;
    if (v.kind == FH_J_STR && v.flag & FH_J_SAFE) {
        *out = v;
        return true;
    }
    if (!fh_jinja_str(r, v, &s)) return false;
    size_t room = s.len, n = 0, from = 0;
    for (size_t i = 0; i < s.len; i++) room += is_special(s.u.s[i]) ? 4 : 0;
    if (room == s.len) { /* most texts */
        *out = s;
        out->flag = FH_J_SAFE;
        return true;
    }
    char *to = fh_jinja_alloc_text(r, room);
    if (!to) return false;
    for (size_t i = 0; i < s.len; i++) {
        fh_str name;
        switch (s.u.s[i]) {
        case '&': name = FH_STR("&amp;"); break;
        case '<': name = FH_STR("&lt;"); break;
        case '>': name = FH_STR("&gt;"); break;
        case '\'': name = FH_STR("&#39;"); break;
        case '"': name = FH_STR("&#34;"); break;
        default: continue;
        }
        memcpy(to + n, s.u.s + from, i - from);
        n += i - from;
        memcpy(to + n, name.ptr, name.len);
        n += name.len;
        from = i + 1;
    }
    memcpy(to + n, s.u.s + from, s.len - from);
    n += s.len - from;
    fh_jinja_trim_text(r, to, room, n);
    *out = fh_jval_str((fh_str){to, n});
    out->flag = FH_J_SAFE;
    return true;
}

bool fh_jinja_pad(fh_jrun *r, fh_jval s, int64_t width, fh_str fill, int where, fh_jval *out) {
    int64_t have = (int64_t)fh_jinja_count(s), missing = width - have;
    if (missing <= 0) {
        *out = s;
        return true;
    }
    if (width > UINT32_MAX / 8)
        return fh_jinja_fail_status(r, FH_ERR_LIMIT, "a text padded to %lld is too long", (long long)width);
    /* str.center gives the odd blank to the left where the width is odd too */
    int64_t left = where == '>' ? missing : where == '<' ? 0 : missing / 2 + (missing & width & 1);
    size_t bytes = (size_t)missing * fill.len + s.len, k = 0;
    char *to = fh_jinja_alloc_text(r, bytes);
    if (!to) return false;
    for (int64_t i = 0; i < left; i++, k += fill.len) memcpy(to + k, fill.ptr, fill.len);
    memcpy(to + k, s.u.s, s.len);
    k += s.len;
    for (int64_t i = left; i < missing; i++, k += fill.len) memcpy(to + k, fill.ptr, fill.len);
    *out = fh_jval_str((fh_str){to, bytes});
    return true;
}
