/* text/jinja_filter_text.c - filters that lay text out: indent, truncate, wrap, title, encode for URLs and HTML.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: text is built behind what the run has written and cut off again. wordwrap follows Python's textwrap
 * for words, blanks and hyphens between letters; its rarer rules (em dashes, quotes) are not followed. */
#include "base/num.h"
#include "text/jinja_filter_part.h"

static bool give(fh_jval v, fh_jval *out) {
    *out = v;
    return true;
}

static bool want_text(fh_jrun *r, fh_jval v, const char *what) {
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    return v.kind == FH_J_STR || fh_jinja_fail(r, "%s: a text is wanted, not %s", what, fh_jinja_type(v));
}

bool fh_jinja_f_center(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg;
    int64_t width = 80;
    return fh_jinja_bind(r, a, "center", "width", 0, &arg, 1) && fh_jinja_arg_int(r, arg, "width", &width) &&
           fh_jinja_soft_str(r, v, &v) && fh_jinja_pad(r, v, width, FH_STR(" "), '^', out);
}

bool fh_jinja_f_filesize(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    static const char letters[] = "kMGTPEZY";
    fh_jval arg;
    double n = 0;
    if (!fh_jinja_bind(r, a, "filesizeformat", "binary", 0, &arg, 1)) return false;
    if (fh_jval_is_number(v)) n = fh_jval_to_double(v);
    else if (v.kind != FH_J_STR || !fh_jinja_parse_float(fh_jval_text(v), &n))
        return fh_jinja_fail(r, "filesizeformat: a number is wanted, not %s", fh_jinja_type(v));
    bool binary = fh_jinja_truth(arg);
    double base = binary ? 1024 : 1000, unit = base * base;
    if (n == 1) return give(FH_JVAL_LIT("1 Byte"), out);
    if (n < base) return fh_jinja_printf(r, out, "%.0f Bytes", n < 0 ? n : (double)(int64_t)n);
    size_t i = 0;
    for (; i < 7 && n >= unit; i++) unit *= base;
    return fh_jinja_printf(r, out, "%.1f %c%sB", base * n / unit, binary && i == 0 ? 'K' : letters[i],
                           binary ? "i" : "");
}

bool fh_jinja_f_indent(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[3], indent = FH_JVAL_LIT("    "), text;
    fh_jlist *lines;
    if (!fh_jinja_bind(r, a, "indent", "width first blank", 0, arg, 3) || !want_text(r, v, "indent")) return false;
    if (arg[0].kind == FH_J_STR) indent = arg[0];
    else if (arg[0].kind != FH_J_MISSING) {
        int64_t width = 0;
        if (!fh_jinja_arg_int(r, arg[0], "width", &width) || !fh_jinja_repeat(r, FH_JVAL_LIT(" "), width, &indent))
            return false;
    }
    bool blank = fh_jinja_truth(arg[2]);
    size_t from = r->out.len;
    if (!fh_jinja_concat(r, v, FH_JVAL_LIT("\n"), &text) || !fh_jinja_split_lines(r, text, false, &lines)) return false;
    for (uint32_t i = 0; i < lines->n; i++) {
        if (i) fh_buf_add_byte(&r->out, '\n');
        bool pad = i ? blank || lines->item[i].len : fh_jinja_truth(arg[1]);
        if (pad && !fh_jinja_add_str(r, &r->out, indent)) return false;
        if (!fh_jinja_pay(r, 1) || !fh_jinja_add_str(r, &r->out, lines->item[i])) return false;
    }
    if (!fh_jinja_take(r, from, out)) return false;
    out->flag |= v.flag & FH_J_SAFE;
    return true;
}

/* ---- tags and entities ---- */

static void drop_between(char *s, size_t *n, const char *begin, const char *end) {
    fh_str b = fh_str_of(begin), e = fh_str_of(end);
    size_t from = 0, to, kept = 0, at = 0;
    while (fh_jinja_find((fh_str){s, *n}, b, at, &from) && fh_jinja_find((fh_str){s, *n}, e, from, &to)) {
        memmove(s + kept, s + at, from - at);
        kept += from - at;
        at = to + e.len;
    }
    memmove(s + kept, s + at, *n - at);
    *n = kept + *n - at;
}

/* The entity at s[at], to out[4]: bytes of the entity, or 0. */
static size_t entity_at(fh_str s, size_t at, char out[4], size_t *n) {
    static const struct {
        const char *name;
        uint32_t cp;
    } named[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}, {"&nbsp;", 0xA0}};
    fh_str rest = fh_str_drop(s, at);
    for (size_t i = 0; i < FH_COUNT(named); i++)
        if (fh_str_starts(rest, named[i].name)) {
            *n = fh_jinja_encode(named[i].cp, out);
            return strlen(named[i].name);
        }
    size_t end;
    fh_jval v;
    if (!fh_str_starts(rest, "&#") || !fh_str_find(fh_str_first(rest, 12), ';', &end)) return 0;
    bool hex = end > 3 && (rest.ptr[2] | 32) == 'x';
    fh_str digits = {rest.ptr + (hex ? 3 : 2), end - (hex ? 3u : 2u)};
    if (!fh_jinja_parse_int(digits, hex ? 16 : 10, &v) || v.kind != FH_J_INT || v.u.i <= 0 || v.u.i > 0x10FFFF ||
        (v.u.i >= 0xD800 && v.u.i < 0xE000))
        return 0;
    *n = fh_jinja_encode((uint32_t)v.u.i, out);
    return end + 1;
}

bool fh_jinja_f_striptags(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jlist *words;
    if (!fh_jinja_bind(r, a, "striptags", "", 0, NULL, 0) || !fh_jinja_str(r, v, &v)) return false;
    size_t n = v.len, from = r->out.len;
    char *s = fh_jinja_alloc_text(r, n), four[4];
    if (!s || !fh_jinja_pay(r, n >> 3)) return false;
    memcpy(s, v.u.s, n);
    drop_between(s, &n, "<!--", "-->");
    drop_between(s, &n, "<", ">");
    if (!fh_jinja_split_words(r, fh_jval_str((fh_str){s, n}), -1, false, &words)) return false;
    for (uint32_t i = 0; i < words->n; i++) {
        fh_str w = fh_jval_text(words->item[i]);
        if (i) fh_buf_add_byte(&r->out, ' ');
        for (size_t at = 0, len, k = 0; at < w.len; at += len) {
            len = w.ptr[at] == '&' ? entity_at(w, at, four, &k) : 0;
            if (len) fh_buf_add(&r->out, four, k);
            else fh_buf_add(&r->out, w.ptr + at, len = 1);
        }
    }
    return fh_jinja_take(r, from, out);
}

bool fh_jinja_f_xmlattr(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg, key, value;
    size_t from = r->out.len;
    if (!fh_jinja_bind(r, a, "xmlattr", "autospace", 0, &arg, 1)) return false;
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (v.kind != FH_J_DICT) return fh_jinja_fail(r, "'%s' object has no attribute 'items'", fh_jinja_type(v));
    bool space = arg.kind == FH_J_MISSING || fh_jinja_truth(arg);
    for (uint32_t i = 0, n = 0; i < v.u.dict->n; i++) {
        const fh_jpair *p = &v.u.dict->item[i];
        if (p->value.kind == FH_J_NONE || p->value.kind == FH_J_UNDEF) continue;
        if (p->key.kind != FH_J_STR) return fh_jinja_fail(r, "expected string or bytes-like object");
        for (uint32_t k = 0; k < p->key.len; k++)
            if (strchr(" \t\n\r\f\v/>=", p->key.u.s[k]))
                return fh_jinja_fail(r, "invalid character in an attribute's name");
        if (!fh_jinja_escape(r, p->key, &key) || !fh_jinja_escape(r, p->value, &value)) return false;
        if (n++ || space) fh_buf_add_byte(&r->out, ' ');
        fh_buf_add_str(&r->out, fh_jval_text(key));
        fh_buf_add_z(&r->out, "=\"");
        fh_buf_add_str(&r->out, fh_jval_text(value));
        fh_buf_add_byte(&r->out, '"');
    }
    return fh_jinja_take(r, from, out);
}

/* ---- words ---- */

/* Jinja's own: the first letter behind blanks, '-' and opening brackets large, the rest small. */
bool fh_jinja_f_title(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval piece, done = FH_JVAL_LIT("");
    size_t from = r->out.len, at = 0, n;
    (void)done;
    if (!fh_jinja_bind(r, a, "title", "", 0, NULL, 0) || !fh_jinja_soft_str(r, v, &v)) return false;
    while (at < v.len) {
        size_t start = at, head = 0;
        for (; at < v.len; at += n) {
            uint32_t cp = fh_jinja_decode(v.u.s + at, v.len - at, &n);
            if (cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || fh_jinja_props(cp) & FH_J_SPACE) break;
            if (!head) head = n;
        }
        if (head) {
            if (!fh_jinja_case(r, fh_jinja_cut(v, start, start + head), FH_J_UPPER, &piece) ||
                !fh_jinja_add_str(r, &r->out, piece))
                return false;
            if (!fh_jinja_case(r, fh_jinja_cut(v, start + head, at), FH_J_LOWER, &piece) ||
                !fh_jinja_add_str(r, &r->out, piece))
                return false;
        }
        if (at < v.len) {
            fh_buf_add(&r->out, v.u.s + at, n);
            at += n;
        }
        if (!fh_jinja_pay(r, 1)) return false;
    }
    return fh_jinja_take(r, from, out);
}

bool fh_jinja_f_truncate(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[4], end = FH_JVAL_LIT("...");
    int64_t length = 255, leeway = 5, n;
    if (!fh_jinja_bind(r, a, "truncate", "length killwords end leeway", 0, arg, 4)) return false;
    if (arg[3].kind == FH_J_NONE) arg[3].kind = FH_J_MISSING;
    if (!fh_jinja_arg_int(r, arg[0], "length", &length) || !fh_jinja_arg_int(r, arg[3], "leeway", &leeway))
        return false;
    if (arg[2].kind != FH_J_MISSING) end = arg[2];
    if (!want_text(r, end, "truncate")) return false;
    int64_t n_end = (int64_t)fh_jinja_count(end);
    if (length < n_end || leeway < 0)
        return fh_jinja_fail(r, "truncate: the length must be at least %lld", (long long)n_end);
    if (!fh_jinja_length(r, v, &n)) return false;
    if (n <= length || n - length <= leeway) return give(v, out); /* lists too */
    if (!want_text(r, v, "truncate")) return false;
    fh_jval cut = fh_jinja_cut(v, 0, fh_jinja_byte_at(v, (size_t)(length - n_end)));
    if (!fh_jinja_truth(arg[1])) {
        size_t at = cut.len;
        while (at > 0 && cut.u.s[at - 1] != ' ') at--;
        if (at > 0) cut = fh_jinja_cut(cut, 0, at - 1);
    }
    return fh_jinja_concat(r, cut, end, out);
}

bool fh_jinja_f_wordcount(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    int64_t words = 0;
    bool in = false;
    if (!fh_jinja_bind(r, a, "wordcount", "", 0, NULL, 0) || !fh_jinja_soft_str(r, v, &v)) return false;
    for (size_t at = 0, n; at < v.len; at += n) {
        bool word = fh_jinja_props(fh_jinja_decode(v.u.s + at, v.len - at, &n)) & FH_J_WORD;
        words += word && !in;
        in = word;
    }
    return fh_jinja_pay(r, v.len >> 4) && give(fh_jval_int(words), out);
}

typedef struct wrap {
    fh_jrun *r;
    fh_str newline;
    int64_t width, column;
    bool break_long, any; /* any: a line of this text is written already */
    fh_jval pending;      /* blanks that belong between what is written and the next word */
} wrap;

static void wrap_newline(wrap *w) {
    fh_buf_add_str(&w->r->out, w->newline);
    w->column = 0;
    w->pending.len = 0;
}

/* One piece that does not break by itself. */
static bool wrap_piece(wrap *w, fh_jval s) {
    int64_t n = (int64_t)fh_jinja_count(s), gap = (int64_t)fh_jinja_count(w->pending);
    if (w->column > 0 && w->column + gap + n > w->width) {
        if (!(w->break_long && n > w->width && w->width - w->column - gap > 0)) wrap_newline(w);
    }
    if (w->pending.len) {
        fh_buf_add(&w->r->out, w->pending.u.s, w->pending.len);
        w->column += (int64_t)fh_jinja_count(w->pending);
        w->pending.len = 0;
    }
    while (w->break_long && w->column + n > w->width) {
        int64_t room = w->width - w->column;
        size_t at = fh_jinja_byte_at(s, (size_t)FH_MAX(room, (int64_t)1));
        fh_buf_add(&w->r->out, s.u.s, at);
        s = fh_jinja_cut(s, at, s.len);
        n = (int64_t)fh_jinja_count(s);
        if (!fh_jinja_pay(w->r, 1)) return false;
        if (n) wrap_newline(w);
        else return true;
    }
    fh_buf_add(&w->r->out, s.u.s, s.len);
    w->column += n;
    return fh_jinja_pay(w->r, 1);
}

static bool is_letter(fh_jval s, size_t at) {
    size_t n;
    return at < s.len && fh_jinja_props(fh_jinja_decode(s.u.s + at, s.len - at, &n)) & FH_J_ALPHA;
}

static bool wrap_word(wrap *w, fh_jval s, bool hyphens) {
    size_t from = 0;
    for (size_t i = 1; hyphens && i + 1 < s.len; i++) {
        if (s.u.s[i] != '-' || !is_letter(s, i + 1)) continue;
        size_t before = i - 1;
        while (before > 0 && ((unsigned char)s.u.s[before] & 0xC0) == 0x80) before--;
        if (!is_letter(s, before) || i - from < 2) continue;
        if (!wrap_piece(w, fh_jinja_cut(s, from, i + 1))) return false;
        from = i + 1;
    }
    return wrap_piece(w, fh_jinja_cut(s, from, s.len));
}

static bool wrap_line(wrap *w, fh_jval s, bool hyphens) {
    size_t at = 0;
    w->column = 0;
    w->pending = fh_jinja_cut(s, 0, 0);
    while (at < s.len) {
        size_t from = at;
        while (at < s.len && strchr("\t\n\v\f\r ", s.u.s[at]) && s.u.s[at]) at++;
        /* blanks at the very start stay, those at a line's start after a break do not */
        if (w->column > 0 || from == 0) w->pending = fh_jinja_cut(s, from, at);
        from = at;
        while (at < s.len && !(strchr("\t\n\v\f\r ", s.u.s[at]) && s.u.s[at])) at++;
        if (at > from && !wrap_word(w, fh_jinja_cut(s, from, at), hyphens)) return false;
    }
    return true;
}

bool fh_jinja_f_wordwrap(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jval arg[4];
    fh_jlist *lines;
    wrap w = {.r = r, .newline = FH_STR("\n"), .width = 79};
    if (!fh_jinja_bind(r, a, "wordwrap", "width break_long_words wrapstring break_on_hyphens", 0, arg, 4)) return false;
    if (!want_text(r, v, "wordwrap") || !fh_jinja_arg_int(r, arg[0], "width", &w.width)) return false;
    if (w.width <= 0) return fh_jinja_fail(r, "invalid width %lld (must be > 0)", (long long)w.width);
    w.break_long = arg[1].kind == FH_J_MISSING || fh_jinja_truth(arg[1]);
    if (arg[2].kind == FH_J_STR) w.newline = fh_jval_text(arg[2]);
    bool hyphens = arg[3].kind == FH_J_MISSING || fh_jinja_truth(arg[3]);
    size_t from = r->out.len;
    if (!fh_jinja_split_lines(r, v, false, &lines)) return false;
    for (uint32_t i = 0; i < lines->n; i++) {
        if (i) fh_buf_add_str(&r->out, w.newline);
        if (!wrap_line(&w, lines->item[i], hyphens)) return false;
    }
    return fh_jinja_take(r, from, out);
}

/* ---- URLs ---- */

static bool add_quoted(fh_jrun *r, fh_jval v, bool query) {
    fh_jval s;
    if (!fh_jinja_str(r, v, &s)) return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.u.s[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                     c == '.' || c == '-' || c == '~' || (c == '/' && !query);
        if (plain) fh_buf_add_byte(&r->out, c);
        else if (c == ' ' && query) fh_buf_add_byte(&r->out, '+');
        else fh_buf_printf(&r->out, "%%%02X", c);
    }
    return fh_jinja_pay(r, s.len >> 3);
}

bool fh_jinja_f_urlencode(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out) {
    fh_jlist *pairs;
    size_t from = r->out.len;
    if (!fh_jinja_bind(r, a, "urlencode", "", 0, NULL, 0)) return false;
    if (v.kind == FH_J_STR || !fh_jinja_iterable(v)) return add_quoted(r, v, false) && fh_jinja_take(r, from, out);
    if (v.kind == FH_J_DICT) v = (fh_jval){.kind = FH_J_VIEW, .aux = FH_J_ITEMS, .u.dict = v.u.dict};
    if (!fh_jinja_to_list(r, v, &pairs)) return false;
    from = r->out.len;
    for (uint32_t i = 0; i < pairs->n; i++) {
        fh_jval p = pairs->item[i];
        if (!fh_jval_is_seq(p) || p.u.list->n != 2) return fh_jinja_fail(r, "urlencode: pairs are wanted");
        if (i) fh_buf_add_byte(&r->out, '&');
        if (!add_quoted(r, p.u.list->item[0], true)) return false;
        fh_buf_add_byte(&r->out, '=');
        if (!add_quoted(r, p.u.list->item[1], true)) return false;
    }
    return fh_jinja_take(r, from, out);
}
