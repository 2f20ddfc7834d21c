/* text/regex.c - reading regular expressions into pieces of an automaton.
 * SPDX-License-Identifier: Apache-2.0
 * A pattern is a stranger's: nesting and counts have ceilings, the automaton's size has the work's. Refused rather than
 * misread: whatever ECMA-262 and the other dialects disagree on. */
#include "text/regex.h"

#include "base/num.h"
#include "text/unicode.h"

typedef struct reader {
    fh_nfa *n;
    fh_str in;
    size_t at;
    int depth;
    fh_err *err;
} reader;

static fh_status refuse(reader *r, size_t at, const char *why) {
    return fh_fail_at(r->err, FH_ERR_UNSUPPORTED, at, "regular expression '%.*s': %s", FH_STR_ARG(r->in), why);
}
static fh_status wrong(reader *r, size_t at, const char *why) {
    return fh_fail_at(r->err, FH_ERR_FORMAT, at, "regular expression '%.*s': %s", FH_STR_ARG(r->in), why);
}
static bool more(const reader *r) { return r->at < r->in.len; }
static char look(const reader *r) { return more(r) ? r->in.ptr[r->at] : '\0'; }
static bool take(reader *r, char c) {
    if (!more(r) || r->in.ptr[r->at] != c) return false;
    r->at++;
    return true;
}
static bool ahead(const reader *r, const char *z) { return fh_str_starts(fh_str_drop(r->in, r->at), z); }

static uint32_t take_cp(reader *r) {
    uint8_t b = (uint8_t)r->in.ptr[r->at++];
    int tail = b < 0x80 ? 0 : b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
    uint32_t cp = tail == 0 ? b : b & (0x3Fu >> tail);
    for (; tail > 0 && more(r); tail--) cp = cp << 6 | ((uint8_t)r->in.ptr[r->at++] & 0x3Fu);
    return cp;
}

/* ---- sets ---- */
static void add_ranges(fh_cps *s, fh_work *w, const uint32_t (*r)[2], size_t n) {
    for (size_t i = 0; i < n; i++) fh_cps_add(s, w, r[i][0], r[i][1]);
}

static const uint32_t digits[][2] = {{'0', '9'}};
static const uint32_t words[][2] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const uint32_t spaces[][2] = {{9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                                     {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                     {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
static const uint32_t line_ends[][2] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

static void add_set(fh_cps *to, fh_cps *from, bool inverted, fh_work *w) {
    if (inverted) fh_cps_invert(from, w);
    for (uint32_t i = 0; i < from->n; i++) fh_cps_add(to, w, from->r[i][0], from->r[i][1]);
}

/* The letter of \d \D \w \W \s \S: adds the set. */
static bool shorthand(reader *r, char c, fh_cps *out) {
    fh_cps s = {0};
    fh_work *w = r->n->work;
    switch (c | 0x20) {
    case 'd': add_ranges(&s, w, digits, FH_COUNT(digits)); break;
    case 'w': add_ranges(&s, w, words, FH_COUNT(words)); break;
    case 's': add_ranges(&s, w, spaces, FH_COUNT(spaces)); break;
    default: return false;
    }
    add_set(out, &s, c < 'a', w);
    return true;
}

static fh_status property(reader *r, bool inverted, size_t at, fh_cps *out) {
    fh_cps s = {0};
    size_t close;
    fh_str rest = fh_str_drop(r->in, r->at);
    if (!take(r, '{') || !fh_str_find(rest, '}', &close)) return wrong(r, at, "\\p needs a name in braces");
    fh_str name = {rest.ptr + 1, close - 1};
    r->at += close;
    if (!fh_regex_property(name, &s, r->n->work)) return refuse(r, at, "this \\p property is not known here");
    add_set(out, &s, inverted, r->n->work);
    return FH_OK;
}

static bool hex_digits(reader *r, int n, uint32_t *out) {
    uint32_t v = 0;
    for (int i = 0; i < n; i++) {
        const int digit = fh_hex_value(look(r));
        if (digit < 0) return false;
        v = v * 16 + (uint32_t)digit;
        r->at++;
    }
    *out = v;
    return true;
}

static fh_status unicode_escape(reader *r, size_t at, uint32_t *cp) {
    uint32_t v = 0, low;
    if (take(r, '{')) {
        uint32_t d;
        int n = 0;
        while (hex_digits(r, 1, &d) && n++ < 8 && v <= FH_CP_MAX) v = v << 4 | d;
        if (n == 0 || v > FH_CP_MAX || !take(r, '}')) return wrong(r, at, "bad \\u{...} escape");
    } else if (!hex_digits(r, 4, &v)) {
        return wrong(r, at, "\\u needs four hex digits");
    }
    if (v >= 0xD800 && v < 0xDC00 && ahead(r, "\\u")) {
        r->at += 2;
        if (!hex_digits(r, 4, &low) || low < 0xDC00 || low > 0xDFFF) return wrong(r, at, "half a surrogate pair");
        v = 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
    }
    if (v >= 0xD800 && v < 0xE000) return wrong(r, at, "half a surrogate pair");
    *cp = v;
    return FH_OK;
}

/* After the backslash: a set, or one code point (then *one is true). */
static fh_status escape(reader *r, bool in_class, fh_cps *set, bool *one, uint32_t *cp) {
    static const char from[] = "tnrfv", to[] = "\t\n\r\f\v";
    size_t at = r->at - 1;
    *one = false;
    if (!more(r)) return wrong(r, at, "ends in a backslash");
    char c = look(r);
    const char *simple = c ? strchr(from, c) : NULL;
    if ((uint8_t)c >= 0x80) return refuse(r, at, "an escape of this character means nothing");
    r->at++;
    if (shorthand(r, c, set)) return FH_OK;
    if (c == 'p' || c == 'P') return property(r, c == 'P', at, set);
    *one = true;
    if (simple) {
        *cp = (uint8_t)to[simple - from];
        return FH_OK;
    }
    switch (c) {
    case 'b':
        if (in_class) {
            *cp = 8;
            return FH_OK;
        }
        return refuse(r, at, "word boundaries are not supported");
    case 'B': return refuse(r, at, "word boundaries are not supported");
    case 'x': return hex_digits(r, 2, cp) ? FH_OK : wrong(r, at, "\\x needs two hex digits");
    case 'u': return unicode_escape(r, at, cp);
    case 'c':
        c = look(r);
        if ((c | 0x20) < 'a' || (c | 0x20) > 'z') return wrong(r, at, "\\c needs a letter");
        r->at++;
        *cp = (uint32_t)c & 31;
        return FH_OK;
    case '0':
        if (look(r) >= '0' && look(r) <= '9') return refuse(r, at, "octal escapes are not supported");
        *cp = 0;
        return FH_OK;
    default: break;
    }
    if (c >= '1' && c <= '9') return refuse(r, at, "backreferences are not supported");
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
        return refuse(r, at,
                      c == 'k' ? "backreferences are not supported" : "an escape of this letter is not supported");
    *cp = (uint8_t)c;
    return FH_OK;
}

static fh_status class_item(reader *r, fh_cps *set, bool *one, uint32_t *cp) {
    *one = true;
    if (take(r, '\\')) return escape(r, true, set, one, cp);
    *cp = take_cp(r);
    return FH_OK;
}

/* After the opening bracket. */
static fh_status class(reader *r, fh_frag *out) {
    fh_cps set = {0};
    size_t open = r->at - 1;
    bool inverted = take(r, '^'), one, high;
    uint32_t lo, hi;
    if (look(r) == ']') return refuse(r, open, "an empty class means different things in different dialects");
    while (more(r) && look(r) != ']') {
        size_t at = r->at;
        FH_TRY(class_item(r, &set, &one, &lo));
        if (look(r) != '-' || r->at + 1 >= r->in.len || r->in.ptr[r->at + 1] == ']') {
            if (one) fh_cps_add(&set, r->n->work, lo, lo);
            continue;
        }
        r->at++;
        FH_TRY(class_item(r, &set, &high, &hi));
        if (!one || !high) return wrong(r, at, "a set cannot be the end of a range");
        if (lo > hi) return wrong(r, at, "a range runs backwards");
        fh_cps_add(&set, r->n->work, lo, hi);
    }
    if (!take(r, ']')) return wrong(r, open, "a class is not closed");
    if (inverted) fh_cps_invert(&set, r->n->work);
    *out = fh_nfa_cps(r->n, &set);
    return FH_OK;
}

/* ---- structure ---- */
static fh_status alternatives(reader *r, fh_frag *out);

static fh_status group(reader *r, fh_frag *out) {
    size_t open = r->at - 1;
    if (take(r, '?')) {
        if (ahead(r, "=") || ahead(r, "!") || ahead(r, "<=") || ahead(r, "<!"))
            return refuse(r, open, "lookaround is not supported");
        if (take(r, '<')) {
            while (more(r) && look(r) != '>') r->at++;
            if (!take(r, '>')) return wrong(r, open, "a group's name is not closed");
        } else if (!take(r, ':')) {
            return refuse(r, open, "this kind of group is not supported");
        }
    }
    if (++r->depth > FH_REGEX_DEPTH)
        return fh_fail_at(r->err, FH_ERR_LIMIT, open, "regular expression: groups nested deeper than %d",
                          FH_REGEX_DEPTH);
    FH_TRY(alternatives(r, out));
    r->depth--;
    return take(r, ')') ? FH_OK : wrong(r, open, "a group is not closed");
}

static fh_frag anchor(reader *r, fh_nfa_kind kind) {
    fh_frag f = {fh_nfa_state(r->n), fh_nfa_state(r->n)};
    fh_nfa_edge_add(r->n, f.in, kind, 0, f.out);
    return f;
}

static fh_status atom(reader *r, fh_frag *out, bool *can_repeat) {
    fh_cps set = {0};
    bool one;
    uint32_t cp;
    *can_repeat = true;
    switch (look(r)) {
    case '(': r->at++; return group(r, out);
    case '[': r->at++; return class(r, out);
    case '^':
    case '$':
        *can_repeat = false;
        *out = anchor(r, r->in.ptr[r->at++] == '^' ? FH_NFA_BEGIN : FH_NFA_END);
        return FH_OK;
    case '.':
        r->at++;
        add_ranges(&set, r->n->work, line_ends, FH_COUNT(line_ends));
        fh_cps_invert(&set, r->n->work);
        *out = fh_nfa_cps(r->n, &set);
        return FH_OK;
    case '*':
    case '+':
    case '?': return wrong(r, r->at, "nothing here to repeat");
    case '\\':
        r->at++;
        FH_TRY(escape(r, false, &set, &one, &cp));
        *out = one ? fh_nfa_cp(r->n, cp) : fh_nfa_cps(r->n, &set);
        return FH_OK;
    default: *out = fh_nfa_cp(r->n, take_cp(r)); return FH_OK;
    }
}

static bool number(reader *r, uint32_t *out) {
    uint32_t v = 0;
    size_t at = r->at;
    for (; look(r) >= '0' && look(r) <= '9'; r->at++)
        v = FH_MIN(v * 10 + (uint32_t)(look(r) - '0'), FH_REGEX_REPEAT + 1);
    *out = v;
    return r->at > at;
}

/* A quantifier, if one stands here; a brace that is none is itself. */
static fh_status quantifier(reader *r, bool *any, uint32_t *least, uint32_t *most) {
    size_t at = r->at;
    *any = true;
    *least = 0;
    *most = UINT32_MAX;
    if (take(r, '+')) {
        *least = 1;
    } else if (take(r, '?')) {
        *most = 1;
    } else if (take(r, '{')) {
        if (look(r) == ',') return refuse(r, at, "{,n} means different things in different dialects");
        bool ok = number(r, least);
        if (ok && !take(r, ',')) *most = *least;
        else if (ok && look(r) != '}') ok = number(r, most);
        if (!ok || !take(r, '}')) {
            r->at = at;
            *any = false;
            return FH_OK;
        }
        if (*least > FH_REGEX_REPEAT || (*most > FH_REGEX_REPEAT && *most != UINT32_MAX))
            return fh_fail_at(r->err, FH_ERR_LIMIT, at, "regular expression: a count above %u", FH_REGEX_REPEAT);
        if (*least > *most) return wrong(r, at, "a count runs backwards");
    } else if (!take(r, '*')) {
        *any = false;
        return FH_OK;
    }
    if (take(r, '+')) return refuse(r, at, "possessive repetition is not supported");
    (void)take(r, '?'); /* lazy: the same texts */
    return FH_OK;
}

static fh_status sequence(reader *r, fh_frag *out) {
    fh_frag all = fh_nfa_empty(r->n), f = all;
    while (more(r) && look(r) != '|' && look(r) != ')') {
        uint32_t first = r->n->n_state, least, most;
        size_t at = r->at;
        bool can, any;
        FH_TRY(atom(r, &f, &can));
        at = r->at;
        FH_TRY(quantifier(r, &any, &least, &most));
        if (any && !can) return refuse(r, at, "an anchor cannot be repeated");
        if (any) f = fh_nfa_repeat(r->n, f, first, least, most);
        all = fh_nfa_join(r->n, all, f);
        if (fh_work_failed(r->n->work)) return fh_work_check(r->n->work, "regular expression", r->err);
    }
    *out = all;
    return FH_OK;
}

static fh_status alternatives(reader *r, fh_frag *out) {
    fh_frag all, f;
    FH_TRY(sequence(r, &all));
    while (take(r, '|')) {
        FH_TRY(sequence(r, &f));
        all = fh_nfa_either(r->n, all, f);
    }
    *out = all;
    return FH_OK;
}

fh_status fh_regex_read(fh_nfa *n, fh_str pattern, fh_frag *out, fh_err *err) {
    reader r = {.n = n, .in = pattern, .err = err};
    fh_frag f;
    if (!fh_utf8_valid(pattern)) return fh_fail(err, FH_ERR_FORMAT, "regular expression: not UTF-8");
    FH_TRY(alternatives(&r, &f));
    if (more(&r)) return wrong(&r, r.at, "a ) that closes nothing");
    FH_TRY(fh_work_check(n->work, "regular expression", err));
    *out = f;
    return FH_OK;
}

/* Any text at all, before or after what is searched. */
static fh_frag anything(fh_nfa *n) {
    fh_cps all = {0};
    uint32_t first = n->n_state;
    fh_cps_add(&all, n->work, 0, FH_CP_MAX);
    return fh_nfa_repeat(n, fh_nfa_cps(n, &all), first, 0, UINT32_MAX);
}

fh_status fh_regex_compile(fh_work *w, fh_str pattern, bool whole, const fh_auto **out, fh_err *err) {
    fh_nfa n;
    fh_frag f;
    fh_nfa_init(&n, w);
    FH_TRY(fh_work_check(w, "regular expression", err));
    FH_TRY(fh_regex_read(&n, pattern, &f, err));
    if (!whole) f = fh_nfa_join(&n, anything(&n), fh_nfa_join(&n, f, anything(&n)));
    const fh_auto *a = fh_nfa_determine(&n, f);
    if (!a) return fh_work_check(w, "regular expression", err);
    *out = a;
    return FH_OK;
}

typedef size_t ranges_fn(const void *what, uint32_t (*out)[2], size_t max);

static size_t cat_ranges(const void *what, uint32_t (*out)[2], size_t max) {
    return fh_unicode_mask_ranges(*(const uint32_t *)what, out, max);
}
static size_t named_ranges(const void *what, uint32_t (*out)[2], size_t max) {
    return fh_unicode_named_ranges(*(const fh_str *)what, out, max);
}
static size_t white_ranges(const void *what, uint32_t (*out)[2], size_t max) {
    (void)what;
    return fh_unicode_white_ranges(out, max);
}

static bool add_table(fh_cps *out, fh_work *w, ranges_fn *fn, const void *what) {
    size_t n = fn(what, NULL, 0);
    uint32_t(*r)[2] = fh_work_alloc(w, n, sizeof *r);
    if (n == 0) return false;
    if (!r || !fh_work_spend(w, n)) return true; /* the work has failed, not the name */
    n = fn(what, r, n);
    for (size_t i = 0; i < n; i++) fh_cps_add(out, w, r[i][0], r[i][1]);
    return true;
}

static bool take_prefix(fh_str *s, const char *prefix) {
    if (!fh_str_starts(*s, prefix)) return false;
    *s = fh_str_drop(*s, strlen(prefix));
    return true;
}

bool fh_regex_property(fh_str name, fh_cps *out, fh_work *w) {
    /* Value aliases of General_Category that are words of their own. */
    static const char *const alias[][2] = {{"digit", "Nd"}, {"punct", "P"}, {"cntrl", "Cc"}};
    bool category = take_prefix(&name, "General_Category=") || take_prefix(&name, "gc=");
    bool script = !category && (take_prefix(&name, "Script=") || take_prefix(&name, "sc="));
    for (size_t i = 0; i < FH_COUNT(alias) && !script; i++)
        if (fh_str_is(name, alias[i][0])) name = fh_str_of(alias[i][1]);
    uint32_t cats = script ? 0 : fh_unicode_cats_of(name);
    if (cats) return add_table(out, w, cat_ranges, &cats);
    if (category) return false;
    if (!script && fh_str_is(name, "Any")) fh_cps_add(out, w, 0, FH_CP_MAX);
    else if (!script && fh_str_is(name, "ASCII")) fh_cps_add(out, w, 0, 127);
    else if (!script && (fh_str_is(name, "White_Space") || fh_str_is(name, "space")))
        return add_table(out, w, white_ranges, NULL);
    else return add_table(out, w, named_ranges, &name);
    return true;
}
