/* text/split_class.c - character classes of a pattern: \p{name}, [:name:], shorthands, brackets with nesting and &&.
 * SPDX-License-Identifier: Apache-2.0
 * Meanings are those of the dialect, from our own tables. Case folding applies to what is written as characters before
 * a '^' negates it; Oniguruma leaves properties as they are, Rust folds them too.
 * Refused: set differences (--, ~~), collating elements, ']' first in a bracket, ranges that end in a class, and what
 * the dialect does not have. */
#include "text/split_part.h"

fh_status split_refuse(split_work *w, size_t at, const char *what) {
    return fh_fail_at(w->err, FH_ERR_UNSUPPORTED, at, "cannot use pattern '%.*s': %s", FH_STR_ARG(w->text), what);
}

typedef size_t ranges_fn(uint32_t (*out)[2], size_t max);

static fh_status set_of(split_work *w, ranges_fn *f, split_set *out) {
    size_t n = f(NULL, 0);
    split_set s = {fh_arena_alloc(&w->arena, n ? n : 1, sizeof s.r[0]), n};
    if (!s.r) return fh_arena_fail(&w->arena, w->err);
    f(s.r, n);
    *out = s;
    return FH_OK;
}

static fh_status set_of_cats(split_work *w, uint32_t cats, split_set *out) {
    size_t n = fh_unicode_mask_ranges(cats, NULL, 0);
    split_set s = {fh_arena_alloc(&w->arena, n ? n : 1, sizeof s.r[0]), n};
    if (!s.r) return fh_arena_fail(&w->arena, w->err);
    fh_unicode_mask_ranges(cats, s.r, n);
    *out = s;
    return FH_OK;
}

static fh_status add_range(split_work *w, split_set *s, uint32_t lo, uint32_t hi) {
    split_set one;
    FH_TRY(split_set_range(w, lo, hi, &one));
    return split_set_union(w, *s, one, s);
}

static fh_status add_cats(split_work *w, split_set *s, uint32_t cats) {
    split_set one;
    FH_TRY(set_of_cats(w, cats, &one));
    return split_set_union(w, *s, one, s);
}

#define B(cat) FH_UCAT_BIT(FH_UCAT_##cat)

fh_status split_class_named(split_work *w, split_name name, split_set *out) {
    split_set s = {NULL, 0};
    switch (name) {
    case SPLIT_DIGIT: return set_of_cats(w, B(ND), out);
    case SPLIT_WHITE: return set_of(w, fh_unicode_white_ranges, out);
    case SPLIT_HEX:
        FH_TRY(add_range(w, &s, '0', '9'));
        FH_TRY(add_range(w, &s, 'A', 'F'));
        FH_TRY(add_range(w, &s, 'a', 'f'));
        break;
    case SPLIT_WORD:
        FH_TRY(set_of(w, fh_unicode_alpha_ranges, &s));
        FH_TRY(add_cats(w, &s, B(MN) | B(MC) | B(ME) | B(ND) | B(PC)));
        if (w->dialect == FH_SPLIT_FANCY) {
            FH_TRY(add_range(w, &s, 0x200c, 0x200d)); /* Join_Control */
        } else if (w->alone) {                        /* Oniguruma's Latin-1 table, which brackets do not use */
            FH_TRY(add_range(w, &s, 0xb2, 0xb3));
            FH_TRY(add_range(w, &s, 0xb9, 0xb9));
            FH_TRY(add_range(w, &s, 0xbc, 0xbe));
        }
        break;
    }
    *out = s;
    return FH_OK;
}

/* The names that are neither categories nor scripts. */
static fh_status special_property(split_work *w, fh_str name, bool posix, bool *found, split_set *out) {
    split_set s = {NULL, 0};
    *found = true;
    if (fh_str_is(name, "any")) return split_set_range(w, 0, 0x10ffff, out);
    if (fh_str_is(name, "ascii")) return split_set_range(w, 0, 127, out);
    if (fh_str_is(name, "alpha") || fh_str_is(name, "alphabetic")) return set_of(w, fh_unicode_alpha_ranges, out);
    if (fh_str_is(name, "digit")) return split_class_named(w, SPLIT_DIGIT, out);
    if (fh_str_is(name, "space") || fh_str_is(name, "whitespace")) return split_class_named(w, SPLIT_WHITE, out);
    if (fh_str_is(name, "word")) return split_class_named(w, SPLIT_WORD, out);
    if (fh_str_is(name, "xdigit")) return split_class_named(w, SPLIT_HEX, out);
    if (fh_str_is(name, "cntrl")) return set_of_cats(w, B(CC), out);
    if (fh_str_is(name, "assigned")) return set_of_cats(w, ~B(CN) & ((1u << FH_UCAT_COUNT) - 1), out);
    if (fh_str_is(name, "alnum")) {
        FH_TRY(set_of(w, fh_unicode_alpha_ranges, &s));
        FH_TRY(add_cats(w, &s, B(ND)));
    } else if (fh_str_is(name, "blank")) {
        FH_TRY(set_of_cats(w, B(ZS), &s));
        FH_TRY(add_range(w, &s, '\t', '\t'));
    } else if (fh_str_is(name, "punct")) {
        /* Oniguruma: [:punct:] has the symbols too, \p{Punct} has not */
        FH_TRY(set_of_cats(w, fh_unicode_cats_of(FH_STR("P")), &s));
        if (posix) FH_TRY(add_cats(w, &s, fh_unicode_cats_of(FH_STR("S"))));
    } else {
        *found = false;
        return FH_OK;
    }
    *out = s;
    return FH_OK;
}

fh_status split_class_property(split_work *w, fh_str name, bool posix, bool *found, split_set *out) {
    char plain[48];
    size_t n = 0;
    *found = false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '_' || c == '-' || c == ' ') continue;
        if (n + 1 >= sizeof plain) return FH_OK;
        plain[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    fh_str p = {plain, n};
    if (w->dialect == FH_SPLIT_FANCY) {
        static const char *const before[] = {"script=", "sc=", "generalcategory=", "gc=", "is"};
        for (size_t i = 0; i < FH_COUNT(before); i++)
            if (fh_str_starts(p, before[i]) && p.len > strlen(before[i])) {
                p = fh_str_drop(p, strlen(before[i]));
                break;
            }
    }
    uint32_t cats = posix ? 0 : fh_unicode_cats_of(p);
    if (cats) {
        *found = true;
        return set_of_cats(w, cats, out);
    }
    FH_TRY(special_property(w, p, posix, found, out));
    if (*found) return FH_OK;
    if (posix && !fh_str_is(p, "upper") && !fh_str_is(p, "lower")) return FH_OK;
    size_t k = fh_unicode_named_ranges(p, NULL, 0);
    if (k == 0) return FH_OK;
    split_set s = {fh_arena_alloc(&w->arena, k, sizeof s.r[0]), k};
    if (!s.r) return fh_arena_fail(&w->arena, w->err);
    fh_unicode_named_ranges(p, s.r, k);
    *found = true;
    *out = s;
    /* ranges of a table may touch where another property changes: a union with nothing merges them */
    return split_set_union(w, s, (split_set){NULL, 0}, out);
}

static char at_char(const split_work *w, size_t at) { return at < w->text.len ? w->text.ptr[at] : 0; }

/* \p{Name}, \P{Name}, \p{^Name}; \pL for Rust */
static fh_status property_escape(split_work *w, size_t *at, bool fold, split_set *out) {
    size_t i = *at + 2, begin = i;
    bool negative = at_char(w, *at + 1) == 'P', found;
    fh_str name;
    if (at_char(w, i) == '{') {
        begin = ++i;
        if (at_char(w, i) == '^') {
            negative = !negative;
            begin = ++i;
        }
        while (i < w->text.len && w->text.ptr[i] != '}') i++;
        if (i >= w->text.len) return split_refuse(w, *at, "a property name without its '}'");
        name = (fh_str){w->text.ptr + begin, i - begin};
        i++;
    } else {
        if (w->dialect != FH_SPLIT_FANCY || i >= w->text.len) return split_refuse(w, *at, "\\p without '{'");
        name = (fh_str){w->text.ptr + begin, 1};
        i++;
    }
    split_set s = {NULL, 0};
    FH_TRY(split_class_property(w, name, false, &found, &s));
    if (!found) {
        char what[96];
        snprintf(what, sizeof what, "the property '%.*s' is not known here", (int)FH_MIN(name.len, (size_t)40),
                 name.ptr);
        return split_refuse(w, *at, what);
    }
    if (fold && w->dialect == FH_SPLIT_FANCY) FH_TRY(split_set_fold(w, s, &s));
    if (negative) FH_TRY(split_set_not(w, s, &s));
    *at = i;
    *out = s;
    return FH_OK;
}

fh_status split_class_escape(split_work *w, size_t *at, bool fold, bool *found, split_set *out) {
    char c = at_char(w, *at + 1);
    split_set s;
    split_name name;
    *found = true;
    switch (c) {
    case 'p':
    case 'P': return property_escape(w, at, fold, out);
    case 'd':
    case 'D': name = SPLIT_DIGIT; break;
    case 'w':
    case 'W': name = SPLIT_WORD; break;
    case 's':
    case 'S': name = SPLIT_WHITE; break;
    case 'h':
    case 'H': name = SPLIT_HEX; break;
    default: *found = false; return FH_OK;
    }
    FH_TRY(split_class_named(w, name, &s));
    if (fold && w->dialect == FH_SPLIT_FANCY) FH_TRY(split_set_fold(w, s, &s));
    if (c < 'a') FH_TRY(split_set_not(w, s, &s));
    *at += 2;
    *out = s;
    return FH_OK;
}

/* min to max hex digits at *at */
static bool hex_number(const split_work *w, size_t *at, unsigned min, unsigned max, uint32_t *cp) {
    uint32_t v = 0;
    unsigned n = 0;
    for (; n < max && fh_hex_value(at_char(w, *at)) >= 0; n++, ++*at)
        v = v << 4 | (uint32_t)fh_hex_value(at_char(w, *at));
    *cp = v;
    return n >= min && v <= 0x10ffff && (v < 0xd800 || v > 0xdfff);
}

static fh_status number_escape(split_work *w, size_t *at, uint32_t *cp) {
    size_t i = *at + 2;
    char c = at_char(w, *at + 1);
    bool good, braces = at_char(w, i) == '{';
    if (c >= '0' && c <= '7') {
        uint32_t v = 0;
        if (w->dialect != FH_SPLIT_ONIGURUMA || c != '0') return split_refuse(w, *at, "a backreference");
        for (i = *at + 1; i < *at + 4 && at_char(w, i) >= '0' && at_char(w, i) <= '7'; i++)
            v = v * 8 + (uint32_t)(at_char(w, i) - '0');
        *cp = v;
        *at = i;
        return v < 128 ? FH_OK : split_refuse(w, *at, "an octal escape above 177");
    }
    if (braces) {
        i++;
        good = hex_number(w, &i, 1, 8, cp) && at_char(w, i++) == '}';
    } else if (c == 'x') {
        good = hex_number(w, &i, w->dialect == FH_SPLIT_FANCY ? 2 : 1, 2, cp);
        if (good && w->dialect == FH_SPLIT_ONIGURUMA && *cp > 127) return split_refuse(w, *at, "a byte above 7f");
    } else {
        good = hex_number(w, &i, c == 'u' ? 4 : 8, c == 'u' ? 4 : 8, cp);
    }
    if (!good) return split_refuse(w, *at, "a hexadecimal escape that names no character");
    *at = i;
    return FH_OK;
}

fh_status split_class_char(split_work *w, size_t *at, uint32_t *cp) {
    static const char from[] = "aefnrtv", to[] = "\a\033\f\n\r\t\v";
    size_t len;
    char c = at_char(w, *at + 1);
    if (*at + 1 >= w->text.len) return split_refuse(w, *at, "a backslash at the end");
    if (c == 'x' || c == 'u' || (c == 'U' && w->dialect == FH_SPLIT_FANCY) || (c >= '0' && c <= '7'))
        return number_escape(w, at, cp);
    const char *p = c ? strchr(from, c) : NULL;
    if (p) {
        *cp = (uint32_t)to[p - from];
        *at += 2;
        return FH_OK;
    }
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        char what[] = "the escape \\?";
        what[sizeof what - 2] = c;
        return split_refuse(w, *at, what);
    }
    *cp = fh_utf8_next(w->text, *at + 1, &len);
    *at += 1 + len;
    return FH_OK;
}

/* [:name:] or [:^name:] at *at; found false: a nested bracket like any other */
static fh_status posix_class(split_work *w, size_t *at, bool *found, split_set *out) {
    size_t i = *at + 2;
    bool negative = at_char(w, i) == '^';
    size_t begin = i + negative;
    for (i = begin; at_char(w, i) >= 'a' && at_char(w, i) <= 'z';) i++;
    *found = i > begin && at_char(w, i) == ':' && at_char(w, i + 1) == ']';
    if (!*found) return split_refuse(w, *at, "'[:' that begins no POSIX class");
    if (w->dialect != FH_SPLIT_ONIGURUMA)
        return split_refuse(w, *at, "a POSIX class, which is ASCII only in this dialect");
    split_set s = {NULL, 0};
    FH_TRY(split_class_property(w, (fh_str){w->text.ptr + begin, i - begin}, true, found, &s));
    if (!*found) return split_refuse(w, *at, "a POSIX class that is not known here");
    if (negative) FH_TRY(split_set_not(w, s, &s));
    *at = i + 2;
    *out = s;
    return FH_OK;
}

/* One member at *at: a class, a nested bracket, a character or a range of them. */
static fh_status member(split_work *w, size_t *at, bool fold, unsigned depth, split_set *out) {
    char c = at_char(w, *at);
    bool found = false;
    size_t len, begin = *at;
    uint32_t lo, hi;
    if (c == '[') {
        if (at_char(w, *at + 1) == ':') return posix_class(w, at, &found, out);
        return split_class_bracket(w, at, fold, depth + 1, out);
    }
    if (c == '\\') FH_TRY(split_class_escape(w, at, fold, &found, out));
    if (found) {
        if (at_char(w, *at) == '-' && at_char(w, *at + 1) != ']') return split_refuse(w, *at, "a '-' behind a class");
        return FH_OK;
    }
    if (c == '\\') {
        FH_TRY(split_class_char(w, at, &lo));
    } else {
        lo = fh_utf8_next(w->text, *at, &len);
        *at += len;
    }
    hi = lo;
    if (at_char(w, *at) == '-' && at_char(w, *at + 1) != ']') {
        ++*at;
        c = at_char(w, *at);
        if (*at >= w->text.len || c == '[' || c == '-')
            return split_refuse(w, begin, "a '-' with no character behind it");
        if (c == '\\') {
            bool set = memchr("pPdDwWsShH", at_char(w, *at + 1), 10) != NULL;
            if (set) return split_refuse(w, begin, "a range that ends in a class");
            FH_TRY(split_class_char(w, at, &hi));
        } else {
            hi = fh_utf8_next(w->text, *at, &len);
            *at += len;
        }
        if (hi < lo) return split_refuse(w, begin, "a range that runs backwards");
    } else if (c == '-' && begin + 1 == *at && at_char(w, *at) != ']' && at_char(w, begin - 1) != '[' &&
               !(at_char(w, begin - 1) == '^' && at_char(w, begin - 2) == '[')) {
        return split_refuse(w, begin, "a '-' in the middle of a bracket");
    }
    uint32_t full[3];
    if (fold && w->dialect == FH_SPLIT_ONIGURUMA) /* [ß] would also take ss */
        for (uint32_t cp = lo; cp <= hi; cp++)
            if (fh_unicode_fold_full(cp, full))
                return split_refuse(w, begin, "a character that case folding makes longer");
    FH_TRY(split_set_range(w, lo, hi, out));
    return fold ? split_set_fold(w, *out, out) : FH_OK;
}

fh_status split_class_bracket(split_work *w, size_t *at, bool fold, unsigned depth, split_set *out) {
    size_t begin = *at;
    bool negative = at_char(w, *at + 1) == '^', first = true, meet = false;
    split_set left = {NULL, 0}, s = {NULL, 0};
    if (depth > SPLIT_DEPTH_MAX) return split_refuse(w, begin, "brackets nested too deep");
    *at += 1u + negative;
    for (;; first = false) {
        if (*at >= w->text.len) return split_refuse(w, begin, "a '[' without its ']'");
        char c = at_char(w, *at);
        if (c == ']') {
            if (first) return split_refuse(w, *at, "a ']' as the first thing in a bracket");
            break;
        }
        if (c == '&' && at_char(w, *at + 1) == '&') {
            if (meet) FH_TRY(split_set_both(w, left, s, &s));
            left = s;
            s = (split_set){NULL, 0};
            meet = true;
            *at += 2;
            continue;
        }
        if (w->dialect == FH_SPLIT_FANCY && (c == '-' || c == '~') && at_char(w, *at + 1) == c)
            return split_refuse(w, *at, "a set difference");
        split_set one = {NULL, 0};
        FH_TRY(member(w, at, fold, depth, &one));
        FH_TRY(split_set_union(w, s, one, &s));
    }
    ++*at;
    if (meet) FH_TRY(split_set_both(w, left, s, &s));
    if (negative) FH_TRY(split_set_not(w, s, &s));
    *out = s;
    return FH_OK;
}
