/* library/license_text.c - the table of licences, and the normalized text that finds a row in it.
 * SPDX-License-Identifier: Apache-2.0
 * Normalized: a byte order mark dropped, runs of blanks (and no-break spaces) one blank, none at the ends, curly
 * quotes straight, (c) for the sign. Nothing that a lawyer would read is changed: one altered word is another text.
 * The owner form also leaves out, for licences whose text does not name an owner (MIT, Apache): titles of MIT before
 * anything else, and lines that only say whose copyright it is. A line that could be a condition is no such line.
 * tools/gen_license_hashes.py does the same; its digests are the table's. */
#include <ctype.h>

#include "base/num.h"
#include "library/license.h"

static const fh_license_row rows[] = {
#define FH_LICENSE_ROW(id, ...) {__VA_ARGS__},
#include "library/license.def"
#undef FH_LICENSE_ROW
};

enum {
#define FH_LICENSE_ROW(id, ...) ROW_##id,
#include "library/license.def"
#undef FH_LICENSE_ROW
};

static const fh_license_place places[] = {
#define FH_LICENSE_ROW(id, ...)
#define FH_LICENSE_CLAUSE_ROW(id, role, at, len, sha) {&rows[ROW_##id], FH_LICENSE_##role, at, len, sha},
#include "library/license.def"
#undef FH_LICENSE_CLAUSE_ROW
#undef FH_LICENSE_ROW
};

const fh_license_row *fh_license_rows(size_t *n) {
    *n = FH_COUNT(rows);
    return rows;
}
const fh_license_place *fh_license_places(size_t *n) {
    *n = FH_COUNT(places);
    return places;
}

const fh_license_row *fh_license_find(const char *sha256, fh_license_form form) {
    for (size_t i = 0; i < FH_COUNT(rows); i++)
        if (rows[i].form == form && strcmp(rows[i].sha256, sha256) == 0) return &rows[i];
    return NULL;
}

static bool same_nocase(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (tolower((unsigned char)a[i]) != tolower((unsigned char)b[i])) return false;
    return true;
}

bool fh_license_row_has_tag(const fh_license_row *row, fh_str tag) {
    size_t n = strlen(row->tags);
    if (!tag.len || memchr(tag.ptr, ' ', tag.len)) return false;
    for (size_t i = 0; i + tag.len + 2 <= n; i++)
        if (row->tags[i] == ' ' && row->tags[i + 1 + tag.len] == ' ' &&
            same_nocase(row->tags + i + 1, tag.ptr, tag.len))
            return true;
    return false;
}

bool fh_license_tag_permissive(fh_str tag) {
    bool any = false;
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        if (!fh_license_row_has_tag(&rows[i], tag)) continue;
        if (!rows[i].permissive || rows[i].gate) return false;
        any = true;
    }
    return any;
}

/* ---- lines that the owner form leaves out ---- */
static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static fh_str trim(fh_str s) {
    while (s.len && is_blank(s.ptr[0])) s = fh_str_drop(s, 1);
    while (s.len && is_blank(s.ptr[s.len - 1])) s.len--;
    return s;
}

static bool holds_nocase(fh_str s, const char *part) {
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= s.len; i++)
        if (same_nocase(s.ptr + i, part, n)) return true;
    return false;
}

static bool holds_word(fh_str s, const char *word) {
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= s.len; i++) {
        if (!same_nocase(s.ptr + i, word, n)) continue;
        bool starts = i == 0 || !isalpha((unsigned char)s.ptr[i - 1]);
        bool ends = i + n == s.len || !isalpha((unsigned char)s.ptr[i + n]);
        if (starts && ends) return true;
    }
    return false;
}

static bool is_owner_line(fh_str line) {
    static const char *const words[] = {"use", "used",   "uses",   "not", "only", "must", "shall",
                                        "may", "except", "unless", "fee", "no",   "if",   "will"};
    static const char *const stems[] = {"licens", "licenc",    "permi",   "prohib", "commerc", "requir", "restrict",
                                        "provid", "condition", "subject", "grant",  "royalt",  "without"};
    fh_str s = trim(line);
    if (!fh_str_starts(s, "Copyright ") || s.len > 120) return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x80 && !isalnum(c) && (c == 0 || !strchr(" .,&'()<>[]{}@:/-+_\"", c))) return false;
    }
    for (size_t i = 0; i < FH_COUNT(words); i++)
        if (holds_word(s, words[i])) return false;
    for (size_t i = 0; i < FH_COUNT(stems); i++)
        if (holds_nocase(s, stems[i])) return false;
    return true;
}

static bool is_title(fh_str line) {
    fh_str s = trim(line);
    return fh_str_is(s, "MIT License") || fh_str_is(s, "The MIT License (MIT)") || fh_str_is(s, "The MIT License");
}

/* ---- the text ---- */
typedef struct fold {
    const char *from, *to;
} fold;
static const fold folds[] = {{"\xC2\xA0", " "},     {"\xE2\x80\x9C", "\""}, {"\xE2\x80\x9D", "\""},
                             {"\xE2\x80\x98", "'"}, {"\xE2\x80\x99", "'"},  {"\xC2\xA9", "(c)"}};

typedef struct normalizer {
    fh_buf *out, *from;
    size_t start; /* out's length before */
    bool blank;   /* one is due before the next byte */
    uint32_t blank_at;
} normalizer;

static void put(normalizer *n, char c, size_t at) {
    if (is_blank(c)) {
        if (!n->blank) n->blank_at = (uint32_t)at;
        n->blank = true;
        return;
    }
    if (n->blank && n->out->len > n->start) {
        fh_buf_add_byte(n->out, ' ');
        if (n->from) fh_buf_add_u32le(n->from, n->blank_at);
    }
    n->blank = false;
    fh_buf_add_byte(n->out, (uint8_t)c);
    if (n->from) fh_buf_add_u32le(n->from, (uint32_t)at);
}

static void put_line(normalizer *n, fh_str text, size_t at, size_t end) {
    while (at < end) {
        const fold *f = NULL;
        for (size_t i = 0; i < FH_COUNT(folds) && !f && (unsigned char)text.ptr[at] >= 0x80; i++)
            if (fh_str_starts(fh_str_drop(text, at), folds[i].from)) f = &folds[i];
        if (!f) {
            put(n, text.ptr[at], at);
            at++;
            continue;
        }
        for (const char *c = f->to; *c; c++) put(n, *c, at);
        at += strlen(f->from);
    }
}

bool fh_license_normalize(fh_buf *out, fh_buf *from, fh_str text, fh_license_form form) {
    normalizer n = {out, from, out->len, false, 0};
    if (text.len > UINT32_MAX || !fh_utf8_valid(text)) return false;
    bool any = false; /* a line that was kept and is not blank */
    for (size_t at = fh_str_starts(text, "\xEF\xBB\xBF") ? 3 : 0; at < text.len;) {
        size_t end;
        if (!fh_str_find(fh_str_drop(text, at), '\n', &end)) end = text.len - at - 1;
        end += at + 1;
        fh_str line = {text.ptr + at, end - at};
        if (form == FH_LICENSE_FORM_OWNER && (is_owner_line(line) || (!any && is_title(line)))) {
            put(&n, ' ', at);
        } else {
            put_line(&n, text, at, end);
            any = any || trim(line).len;
        }
        at = end;
    }
    return true;
}
