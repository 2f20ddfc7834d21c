/* text/jinja_method.c - the methods of str, list, tuple, dict, range and cycler that templates may call.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. The table is the whole reach of a template into its values: what is not in it is no attribute.
 * Refuses whatever would change a list or a dict (rows marked forbidden), and whatever makes bytes. */
#include "base/num.h"
#include "text/jinja_lib.h"

#define ON(kind) (1u << (kind))

typedef bool method_fn(fh_jrun *r, fh_jval self, int sub, const fh_jargs *a, fh_jval *out);

static bool give(fh_jval v, fh_jval *out) {
    *out = v;
    return true;
}

/* A text argument. */
static bool want_text(fh_jrun *r, fh_jval v, const char *what, fh_str *out) {
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (v.kind != FH_J_STR) return fh_jinja_fail(r, "%s() argument must be str, not %s", what, fh_jinja_type(v));
    *out = fh_jval_text(v);
    return true;
}

/* ---- case, classes ---- */

static bool m_case(fh_jrun *r, fh_jval s, int how, const fh_jargs *a, fh_jval *out) {
    return fh_jinja_bind(r, a, "method", "", 0, NULL, 0) && fh_jinja_case(r, s, (fh_jcase)how, out);
}

/* isupper, islower: some cased letter, none of the other case. istitle: capitals exactly where words start. */
static bool is_cased(fh_jval s, int want) {
    bool any = false, in_word = false;
    for (size_t at = 0, n; at < s.len; at += n) {
        unsigned p = fh_jinja_props(fh_jinja_decode(s.u.s + at, s.len - at, &n));
        unsigned cased = p & (FH_J_IS_UPPER | FH_J_IS_LOWER | FH_J_IS_TITLE);
        if (want != FH_J_IS_TITLE) {
            if (cased & ~(unsigned)want) return false;
            any = any || cased;
            continue;
        }
        if (cased & (FH_J_IS_UPPER | FH_J_IS_TITLE)) {
            if (in_word) return false;
            any = true;
        } else if (cased && !in_word) {
            return false;
        }
        in_word = cased != 0;
    }
    return any;
}

enum { IS_ASCII = 4096, IS_IDENTIFIER = 8192 };

bool fh_jinja_is_class(fh_jval s, int want) {
    if (want == FH_J_IS_UPPER || want == FH_J_IS_LOWER || want == FH_J_IS_TITLE) return is_cased(s, want);
    if (want == IS_ASCII) return fh_jinja_ascii(s);
    if (s.len == 0) return want == FH_J_PRINTABLE;
    for (size_t at = 0, n; at < s.len; at += n) {
        uint32_t cp = fh_jinja_decode(s.u.s + at, s.len - at, &n);
        unsigned p = fh_jinja_props(cp);
        bool ok = (p & (unsigned)want) != 0;
        if (want == IS_IDENTIFIER) ok = at == 0 ? p & FH_J_ALPHA || cp == '_' : (p & FH_J_WORD) != 0;
        if (!ok) return false;
    }
    return true;
}

static bool m_is(fh_jrun *r, fh_jval s, int want, const fh_jargs *a, fh_jval *out) {
    if (!fh_jinja_bind(r, a, "method", "", 0, NULL, 0) || !fh_jinja_pay(r, s.len >> 5)) return false;
    return give(fh_jval_bool(fh_jinja_is_class(s, want)), out);
}

/* ---- cutting ---- */

enum { LEFT = 1, RIGHT = 2 };

static bool m_strip(fh_jrun *r, fh_jval s, int sides, const fh_jargs *a, fh_jval *out) {
    fh_jval chars;
    fh_str text;
    if (!fh_jinja_bind(r, a, "strip", "chars", 0, &chars, 1)) return false;
    bool given = chars.kind != FH_J_MISSING && chars.kind != FH_J_NONE;
    if (given && !want_text(r, chars, "strip", &text)) return false;
    *out = fh_jinja_strip(s, given ? &chars : NULL, sides & LEFT, sides & RIGHT);
    return fh_jinja_pay_bytes(r, s.len - out->len);
}

static bool m_split(fh_jrun *r, fh_jval s, int side, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[2];
    fh_jlist *l;
    fh_str sep;
    int64_t limit = -1;
    if (!fh_jinja_bind(r, a, "split", "sep maxsplit", 0, arg, 2)) return false;
    if (!fh_jinja_arg_int(r, arg[1], "maxsplit", &limit)) return false;
    if (arg[0].kind == FH_J_MISSING || arg[0].kind == FH_J_NONE) {
        if (!fh_jinja_split_words(r, s, limit, side == RIGHT, &l)) return false;
    } else if (!want_text(r, arg[0], "split", &sep) || !fh_jinja_split_at(r, s, sep, limit, side == RIGHT, &l)) {
        return false;
    }
    return give(fh_jval_list(l), out);
}

static bool m_splitlines(fh_jrun *r, fh_jval s, int sub, const fh_jargs *a, fh_jval *out) {
    fh_jval keep;
    fh_jlist *l;
    (void)sub;
    if (!fh_jinja_bind(r, a, "splitlines", "keepends", 0, &keep, 1)) return false;
    return fh_jinja_split_lines(r, s, fh_jinja_truth(keep), &l) && give(fh_jval_list(l), out);
}

static bool m_partition(fh_jrun *r, fh_jval s, int side, const fh_jargs *a, fh_jval *out) {
    fh_jval arg, none = FH_JVAL_LIT("");
    fh_str sep;
    fh_jlist *parts, *l = fh_jinja_list(r, 3);
    if (!l || !fh_jinja_bind(r, a, "partition", "sep", 1, &arg, 1) || !want_text(r, arg, "partition", &sep))
        return false;
    if (!fh_jinja_split_at(r, s, sep, 1, side == RIGHT, &parts)) return false;
    l->n = 3;
    none.flag = arg.flag = s.flag & FH_J_SAFE;
    l->item[0] = l->item[1] = l->item[2] = none;
    if (parts->n == 1) {
        l->item[side == RIGHT ? 2 : 0] = s;
    } else {
        l->item[0] = parts->item[0];
        l->item[1] = arg;
        l->item[2] = parts->item[1];
    }
    return give(fh_jval_tuple(l), out);
}

static bool m_remove(fh_jrun *r, fh_jval s, int side, const fh_jargs *a, fh_jval *out) {
    fh_jval arg;
    fh_str t = {NULL, 0};
    if (!fh_jinja_bind(r, a, "removeprefix", "text", 1, &arg, 1) || !want_text(r, arg, "removeprefix", &t))
        return false;
    *out = s;
    if (t.len > s.len || memcmp(side == LEFT ? s.u.s : s.u.s + s.len - t.len, t.ptr, t.len) != 0) return true;
    *out = side == LEFT ? fh_jinja_cut(s, t.len, s.len) : fh_jinja_cut(s, 0, s.len - t.len);
    return true;
}

/* ---- finding ---- */

/* start and end, in code points, as the bytes they stand for. False: the range is empty because of them. */
static bool byte_range(fh_jrun *r, fh_jval s, const fh_jval *from_to, size_t *from, size_t *to, bool *inside) {
    int64_t n = (int64_t)fh_jinja_count(s), at[2] = {0, n};
    for (int i = 0; i < 2; i++) {
        if (from_to[i].kind == FH_J_MISSING || from_to[i].kind == FH_J_NONE) continue;
        if (!fh_jinja_arg_int(r, from_to[i], "index", &at[i])) return false;
        if (at[i] < 0) at[i] = FH_MAX(at[i] + n, (int64_t)0);
    }
    *inside = at[0] <= n && at[0] <= FH_MIN(at[1], n);
    *from = fh_jinja_byte_at(s, (size_t)FH_MIN(at[0], n));
    *to = fh_jinja_byte_at(s, (size_t)FH_MIN(at[1], n));
    return true;
}

enum { FIND = 0, INDEX = 4 };

static bool m_find(fh_jrun *r, fh_jval s, int sub, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[3];
    fh_str what;
    size_t from, to, at = 0;
    bool inside, found = false;
    if (!fh_jinja_bind(r, a, "find", "sub start end", 1, arg, 3) || !want_text(r, arg[0], "find", &what)) return false;
    if (!byte_range(r, s, arg + 1, &from, &to, &inside) || !fh_jinja_pay_bytes(r, s.len)) return false;
    if (inside && sub & RIGHT) {
        if (!fh_jinja_pay(r, (to - from) >> 5)) return false;
        for (size_t i = to; !found && i >= from + what.len; i--) {
            at = i - what.len;
            found = what.len == 0 || memcmp(s.u.s + at, what.ptr, what.len) == 0;
        }
    } else if (inside) {
        found = fh_jinja_find((fh_str){s.u.s, to}, what, from, &at);
    }
    if (!found && sub & INDEX) return fh_jinja_fail(r, "substring not found");
    return give(fh_jval_int(found ? (int64_t)fh_jinja_cp_at(s, at) : -1), out);
}

static bool m_count(fh_jrun *r, fh_jval s, int sub, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[3];
    fh_str what;
    size_t from, to;
    bool inside;
    int64_t n = 0;
    (void)sub;
    if (!fh_jinja_bind(r, a, "count", "sub start end", 1, arg, 3) || !want_text(r, arg[0], "count", &what))
        return false;
    if (!byte_range(r, s, arg + 1, &from, &to, &inside) || !fh_jinja_pay(r, s.len >> 6)) return false;
    if (inside && what.len == 0) n = (int64_t)fh_jinja_count(fh_jinja_cut(s, from, to)) + 1;
    else if (inside)
        for (fh_str in = {s.u.s, to}; fh_jinja_find(in, what, from, &from); from += what.len) n++;
    return give(fh_jval_int(n), out);
}

static bool matches(fh_str s, fh_str t, int side) {
    return t.len <= s.len && memcmp(side == LEFT ? s.ptr : s.ptr + s.len - t.len, t.ptr, t.len) == 0;
}

static bool m_starts(fh_jrun *r, fh_jval s, int side, const fh_jargs *a, fh_jval *out) {
    const char *name = side == LEFT ? "startswith" : "endswith";
    fh_jval arg[3];
    size_t from, to;
    bool inside, yes = false;
    if (!fh_jinja_bind(r, a, name, "prefix start end", 1, arg, 3)) return false;
    if (!byte_range(r, s, arg + 1, &from, &to, &inside)) return false;
    fh_str in = {s.u.s + from, inside ? to - from : 0};
    if (arg[0].kind == FH_J_STR) return give(fh_jval_bool(inside && matches(in, fh_jval_text(arg[0]), side)), out);
    if (arg[0].kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, arg[0]);
    if (arg[0].kind != FH_J_TUPLE)
        return fh_jinja_fail(r, "%s first arg must be str or a tuple of str, not %s", name, fh_jinja_type(arg[0]));
    for (uint32_t i = 0; i < arg[0].u.list->n; i++) {
        fh_str t = {NULL, 0};
        if (!want_text(r, arg[0].u.list->item[i], name, &t)) return false;
        yes = yes || (inside && matches(in, t, side));
    }
    return give(fh_jval_bool(yes), out);
}

/* ---- making new text ---- */

static bool m_replace(fh_jrun *r, fh_jval s, int sub, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[3];
    fh_str old, with;
    int64_t limit = -1;
    (void)sub;
    if (!fh_jinja_bind(r, a, "replace", "old new count", 2, arg, 3)) return false;
    if (!want_text(r, arg[0], "replace", &old) || !fh_jinja_arg_int(r, arg[2], "count", &limit)) return false;
    if (s.flag & FH_J_SAFE && !fh_jinja_escape(r, arg[1], &arg[1])) return false;
    return want_text(r, arg[1], "replace", &with) && fh_jinja_replace(r, s, old, with, limit, out);
}

static bool m_join(fh_jrun *r, fh_jval s, int sub, const fh_jargs *a, fh_jval *out) {
    fh_jval arg, item;
    fh_jiter it;
    size_t from = r->out.len;
    int more, n = 0;
    (void)sub;
    if (!fh_jinja_bind(r, a, "join", "iterable", 1, &arg, 1) || !fh_jinja_iter(r, arg, &it)) return false;
    /* a generator may write while it is asked: collect first */
    fh_jlist *l;
    if (!fh_jinja_to_list(r, arg, &l) || !fh_jinja_iter(r, fh_jval_list(l), &it)) return false;
    while ((more = fh_jinja_next(r, &it, &item)) > 0) {
        if (item.kind == FH_J_UNDEF || item.kind != FH_J_STR)
            return fh_jinja_fail(r, "sequence item %d: expected str instance, %s found", n, fh_jinja_type(item));
        if (n++ && !fh_jinja_add_str(r, &r->out, s)) return false;
        if (!fh_jinja_pay(r, 1) || !fh_jinja_add_str(r, &r->out, item)) return false;
    }
    return fh_jinja_take(r, from, out);
}

static bool m_pad(fh_jrun *r, fh_jval s, int where, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[2];
    int64_t width = 0;
    fh_str fill = FH_STR(" ");
    if (!fh_jinja_bind(r, a, "center", "width fillchar", 1, arg, 2)) return false;
    if (!fh_jinja_arg_int(r, arg[0], "width", &width)) return false;
    if (arg[1].kind != FH_J_MISSING && !want_text(r, arg[1], "center", &fill)) return false;
    if (fh_jinja_count(fh_jval_str(fill)) != 1)
        return fh_jinja_fail(r, "the fill character must be exactly one character long");
    return fh_jinja_pad(r, s, width, fill, where, out);
}

static bool m_zfill(fh_jrun *r, fh_jval s, int sub, const fh_jargs *a, fh_jval *out) {
    fh_jval arg, rest = s;
    int64_t width = 0;
    (void)sub;
    if (!fh_jinja_bind(r, a, "zfill", "width", 1, &arg, 1) || !fh_jinja_arg_int(r, arg, "width", &width)) return false;
    bool sign = s.len && (s.u.s[0] == '-' || s.u.s[0] == '+');
    if (sign) rest = fh_jinja_cut(s, 1, s.len);
    if (!fh_jinja_pad(r, rest, sign ? width - 1 : width, FH_STR("0"), '>', &rest)) return false;
    return sign ? fh_jinja_concat(r, fh_jinja_cut(s, 0, 1), rest, out) : give(rest, out);
}

static bool m_expandtabs(fh_jrun *r, fh_jval s, int sub, const fh_jargs *a, fh_jval *out) {
    fh_jval arg;
    int64_t size = 8, column = 0;
    size_t from = r->out.len;
    (void)sub;
    if (!fh_jinja_bind(r, a, "expandtabs", "tabsize", 0, &arg, 1) || !fh_jinja_arg_int(r, arg, "tabsize", &size))
        return false;
    if (size > 1000) return fh_jinja_fail(r, "expandtabs: %lld is too wide", (long long)size);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.u.s[i];
        if (c == '\t') {
            int64_t n = size > 0 ? size - column % size : 0;
            fh_buf_fill(&r->out, ' ', (size_t)n);
            column += n;
            continue;
        }
        fh_buf_add_byte(&r->out, (uint8_t)c);
        if (((unsigned char)c & 0xC0) != 0x80) column++;
        if (c == '\n' || c == '\r') column = 0;
    }
    return fh_jinja_pay(r, s.len >> 4) && fh_jinja_take(r, from, out);
}

static bool m_format(fh_jrun *r, fh_jval s, int sub, const fh_jargs *a, fh_jval *out) {
    (void)sub;
    return fh_jinja_format(r, s, a, out);
}

/* ---- lists, tuples, ranges ---- */

static bool m_seq_count(fh_jrun *r, fh_jval v, int sub, const fh_jargs *a, fh_jval *out) {
    fh_jval what, item;
    fh_jiter it;
    int64_t n = 0, at = 0;
    int more;
    if (!fh_jinja_bind(r, a, sub == INDEX ? "index" : "count", "value", 1, &what, 1)) return false;
    if (!fh_jinja_iter(r, v, &it)) return false;
    for (; (more = fh_jinja_next(r, &it, &item)) > 0; at++) {
        bool same;
        if (!fh_jinja_pay(r, 1) || !fh_jinja_equal(r, item, what, &same)) return false;
        if (same && sub == INDEX) return give(fh_jval_int(at), out);
        n += same;
    }
    if (more == 0 && sub == INDEX) return fh_jinja_fail(r, "the value is not in the %s", fh_jinja_type(v));
    return more == 0 && give(fh_jval_int(n), out);
}

/* Values do not change: a copy is the thing itself. */
static bool m_copy(fh_jrun *r, fh_jval v, int sub, const fh_jargs *a, fh_jval *out) {
    (void)sub;
    return fh_jinja_bind(r, a, "copy", "", 0, NULL, 0) && give(v, out);
}

/* ---- dicts ---- */

static bool m_view(fh_jrun *r, fh_jval v, int which, const fh_jargs *a, fh_jval *out) {
    if (!fh_jinja_bind(r, a, "items", "", 0, NULL, 0)) return false;
    *out = (fh_jval){.kind = FH_J_VIEW, .aux = (uint16_t)which, .u.dict = v.u.dict};
    return true;
}

static bool m_get(fh_jrun *r, fh_jval v, int sub, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[2], *found;
    (void)sub;
    if (!fh_jinja_bind(r, a, "get", "key default", 1, arg, 2)) return false;
    if (!fh_jinja_dict_find(r, v.u.dict, arg[0], &found)) return false;
    return give(found ? *found : arg[1].kind == FH_J_MISSING ? fh_jval_none() : arg[1], out);
}

static bool m_fromkeys(fh_jrun *r, fh_jval v, int sub, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[2], key;
    fh_jiter it;
    int more;
    (void)v;
    (void)sub;
    if (!fh_jinja_bind(r, a, "fromkeys", "iterable value", 1, arg, 2) || !fh_jinja_iter(r, arg[0], &it)) return false;
    fh_jdict *d = fh_jinja_dict(r, 0);
    if (!d) return false;
    if (arg[1].kind == FH_J_MISSING) arg[1] = fh_jval_none();
    while ((more = fh_jinja_next(r, &it, &key)) > 0)
        if (!fh_jinja_pay(r, 1) || !fh_jinja_dict_put(r, d, key, arg[1])) return false;
    return more == 0 && give(fh_jval_dict(d), out);
}

/* ---- cyclers, loops, floats ---- */

static bool m_cycler(fh_jrun *r, fh_jval v, int next, const fh_jargs *a, fh_jval *out) {
    fh_jcycler *c = v.u.cycler;
    if (!fh_jinja_bind(r, a, "cycler", "", 0, NULL, 0)) return false;
    *out = next ? c->items->item[c->at] : fh_jval_none();
    c->at = next ? (c->at + 1) % c->items->n : 0;
    return true;
}

static bool m_cycle(fh_jrun *r, fh_jval v, int sub, const fh_jargs *a, fh_jval *out) {
    (void)sub;
    return fh_jinja_loop_cycle(r, v.u.loop, a, out);
}

static bool m_changed(fh_jrun *r, fh_jval v, int sub, const fh_jargs *a, fh_jval *out) {
    (void)sub;
    return fh_jinja_loop_changed(r, v.u.loop, a, out);
}

static bool m_is_integer(fh_jrun *r, fh_jval v, int sub, const fh_jargs *a, fh_jval *out) {
    (void)sub;
    if (!fh_jinja_bind(r, a, "is_integer", "", 0, NULL, 0)) return false;
    return give(fh_jval_bool(v.u.f >= -9e18 && v.u.f <= 9e18 ? v.u.f == (double)(int64_t)v.u.f : v.u.f - v.u.f == 0),
                out);
}

/* ---- the table ---- */

#define STR ON(FH_J_STR)
#define SEQ (ON(FH_J_LIST) | ON(FH_J_TUPLE))
#define LST ON(FH_J_LIST)
#define DCT ON(FH_J_DICT)

static const struct {
    const char *name;
    uint32_t on;     /* kinds that have it */
    method_fn *call; /* NULL: forbidden, or made of bytes */
    int sub;
} methods[] = {
    {"upper", STR, m_case, FH_J_UPPER},
    {"lower", STR, m_case, FH_J_LOWER},
    {"title", STR, m_case, FH_J_TITLE},
    {"capitalize", STR, m_case, FH_J_CAPITALIZE},
    {"swapcase", STR, m_case, FH_J_SWAP},
    {"casefold", STR, m_case, FH_J_FOLD},
    {"strip", STR, m_strip, LEFT | RIGHT},
    {"lstrip", STR, m_strip, LEFT},
    {"rstrip", STR, m_strip, RIGHT},
    {"split", STR, m_split, LEFT},
    {"rsplit", STR, m_split, RIGHT},
    {"splitlines", STR, m_splitlines, 0},
    {"partition", STR, m_partition, LEFT},
    {"rpartition", STR, m_partition, RIGHT},
    {"removeprefix", STR, m_remove, LEFT},
    {"removesuffix", STR, m_remove, RIGHT},
    {"startswith", STR, m_starts, LEFT},
    {"endswith", STR, m_starts, RIGHT},
    {"find", STR, m_find, FIND | LEFT},
    {"rfind", STR, m_find, FIND | RIGHT},
    {"index", STR, m_find, INDEX | LEFT},
    {"rindex", STR, m_find, INDEX | RIGHT},
    {"count", STR, m_count, 0},
    {"replace", STR, m_replace, 0},
    {"join", STR, m_join, 0},
    {"format", STR, m_format, 0},
    {"center", STR, m_pad, '^'},
    {"ljust", STR, m_pad, '<'},
    {"rjust", STR, m_pad, '>'},
    {"zfill", STR, m_zfill, 0},
    {"expandtabs", STR, m_expandtabs, 0},
    {"isalpha", STR, m_is, FH_J_ALPHA},
    {"isdecimal", STR, m_is, FH_J_DECIMAL},
    {"isdigit", STR, m_is, FH_J_DIGIT},
    {"isnumeric", STR, m_is, FH_J_NUMERIC},
    {"isspace", STR, m_is, FH_J_SPACE},
    {"isalnum", STR, m_is, FH_J_ALPHA | FH_J_DECIMAL | FH_J_DIGIT | FH_J_NUMERIC},
    {"isupper", STR, m_is, FH_J_IS_UPPER},
    {"islower", STR, m_is, FH_J_IS_LOWER},
    {"istitle", STR, m_is, FH_J_IS_TITLE},
    {"isprintable", STR, m_is, FH_J_PRINTABLE},
    {"isascii", STR, m_is, IS_ASCII},
    {"isidentifier", STR, m_is, IS_IDENTIFIER},
    {"encode", STR, NULL, 0},
    {"translate", STR, NULL, 0},
    {"maketrans", STR, NULL, 0},
    {"format_map", STR, NULL, 0},
    {"index", SEQ | ON(FH_J_RANGE), m_seq_count, INDEX},
    {"count", SEQ | ON(FH_J_RANGE), m_seq_count, 0},
    {"copy", LST | DCT, m_copy, 0},
    {"append", LST, NULL, 0},
    {"clear", LST | DCT, NULL, 0},
    {"extend", LST, NULL, 0},
    {"insert", LST, NULL, 0},
    {"pop", LST | DCT, NULL, 0},
    {"remove", LST, NULL, 0},
    {"reverse", LST, NULL, 0},
    {"sort", LST, NULL, 0},
    {"items", DCT, m_view, FH_J_ITEMS},
    {"keys", DCT, m_view, FH_J_KEYS},
    {"values", DCT, m_view, FH_J_VALUES},
    {"get", DCT, m_get, 0},
    {"fromkeys", DCT, m_fromkeys, 0},
    {"popitem", DCT, NULL, 0},
    {"setdefault", DCT, NULL, 0},
    {"update", DCT, NULL, 0},
    {"next", ON(FH_J_CYCLER), m_cycler, 1},
    {"reset", ON(FH_J_CYCLER), m_cycler, 0},
    {"cycle", ON(FH_J_LOOP), m_cycle, 0},
    {"changed", ON(FH_J_LOOP), m_changed, 0},
    {"is_integer", ON(FH_J_FLOAT), m_is_integer, 0},
};

bool fh_jinja_method_named(fh_str name) {
    for (size_t i = 0; i < FH_COUNT(methods); i++)
        if (fh_str_is(name, methods[i].name)) return true;
    return false;
}

int fh_jinja_method_find(fh_jval of, fh_str name) {
    for (size_t i = 0; i < FH_COUNT(methods); i++)
        if (methods[i].on & ON(of.kind) && methods[i].name[0] == (name.len ? name.ptr[0] : '\0') &&
            fh_str_is(name, methods[i].name))
            return methods[i].call ? (int)i : -2;
    return -1;
}

bool fh_jinja_method_call(fh_jrun *r, const fh_jmethod *m, const fh_jargs *a, fh_jval *out) {
    return methods[m->id].call(r, m->self, methods[m->id].sub, a, out);
}
