/* base/json_read.c - the pull reader: checked JSON text to events, RFC 8259 and nothing else.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: the scratch buffer (strings with escapes; at most the length of the text). Borrows the
 * text.
 * Refuses: what the grammar does not have, bytes that are no UTF-8, lone surrogates, a byte order
 * mark, nesting beyond FH_JSON_MAX_DEPTH.
 * Invariants: (1) no recursion: one bit per open container is the whole stack; (2) a failing call
 * leaves position and state alone, so that it fails again; (3) time is linear in the text. */
#include <stdio.h>

#include "base/cursor.h"
#include "base/json_part.h"
#include "base/num.h"

enum {
    VALUE, /* a value is due: at the start and behind a key */
    FIRST, /* behind [ or {: the first element or key, or the end */
    AFTER, /* behind a value in a container: a comma, or the end */
    OVER   /* behind the outermost value */
};

void fh_json_reader_init(fh_json_reader *r, fh_str text) {
    memset(r, 0, sizeof *r);
    r->in = text.ptr ? text : FH_STR("");
    fh_buf_init(&r->scratch, text.len);
}

void fh_json_reader_release(fh_json_reader *r) { fh_buf_release(&r->scratch); }

/* ---- messages ---- */

typedef struct found {
    char text[32];
} found;

static found found_at(const fh_json_reader *r, size_t at) {
    found f;
    unsigned c = at < r->in.len ? (uint8_t)r->in.ptr[at] : 0;
    if (at >= r->in.len) snprintf(f.text, sizeof f.text, "the end of the text");
    else if (c == '\'') snprintf(f.text, sizeof f.text, "a single quote");
    else if (c == '\n' || c == '\r') snprintf(f.text, sizeof f.text, "a line break");
    else if (c > 0x20 && c < 0x7F) snprintf(f.text, sizeof f.text, "'%c'", (char)c);
    else snprintf(f.text, sizeof f.text, "byte 0x%02X", c);
    return f;
}

static fh_status expected(const fh_json_reader *r, size_t at, const char *what, fh_err *err) {
    found f = found_at(r, at);
    return fh_fail_at(err, FH_ERR_FORMAT, at, "JSON: expected %s, found %s", what, f.text);
}

/* ---- bytes ---- */

static const uint8_t *bytes_of(const fh_json_reader *r) { return (const uint8_t *)r->in.ptr; }

static bool is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

static inline size_t skip_space(const uint8_t *in, size_t at, size_t len) {
    while (at < len && is_space(in[at])) {
        at++;
        while (len - at >= 8 && fh_load_u64(in + at) == 0x2020202020202020u) at += 8;
    }
    return at;
}

/* First byte from at on that is not plain inside a string: quote, backslash, control or non-ASCII.
 * Eight bytes a step. A borrow can only flag bytes above a true hit, so the lowest flag is always
 * true. */
static inline size_t skip_plain(const uint8_t *in, size_t at, size_t len) {
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    while (len - at >= 8) {
        uint64_t x = fh_load_u64(in + at);
        uint64_t quote = x ^ (ones * '"'), back = x ^ (ones * '\\');
        uint64_t hit = ((x - ones * 0x20) | (quote - ones) | (back - ones) | x) & high;
        if (hit) return at + (size_t)(__builtin_ctzll(hit) >> 3);
        at += 8;
    }
    while (at < len && in[at] >= 0x20 && in[at] < 0x80 && in[at] != '"' && in[at] != '\\') at++;
    return at;
}

/* Value of each hex digit plus one, so that 0 is none. */
static const uint8_t hex_value[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
    ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

/* Four hex digits at p, or -1. */
static int hex4(const uint8_t *p) {
    int a = hex_value[p[0]], b = hex_value[p[1]], c = hex_value[p[2]], d = hex_value[p[3]];
    if (!a || !b || !c || !d) return -1;
    return (a - 1) << 12 | (b - 1) << 8 | (c - 1) << 4 | (d - 1);
}

/* ---- strings ---- */

/* What a backslash and this letter stand for; 0: no escape. */
static const uint8_t escape_value[256] = {
    ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t',
};

static fh_status unterminated(const fh_json_reader *r, size_t from, fh_err *err) {
    return fh_fail_at(err, FH_ERR_FORMAT, r->in.len, "JSON: the text ends inside the string that starts at byte %zu",
                      from);
}

/* Checks the escape whose backslash is at *at and moves behind it; from: the opening quote. */
static fh_status check_escape(const fh_json_reader *r, size_t from, size_t *at, fh_err *err) {
    const uint8_t *in = bytes_of(r);
    size_t i = *at, left = r->in.len - i;
    if (left < 2) return unterminated(r, from, err);
    if (in[i + 1] != 'u') {
        if (!escape_value[in[i + 1]]) {
            found f = found_at(r, i + 1);
            return fh_fail_at(err, FH_ERR_FORMAT, i, "JSON: a backslash before %s is no escape", f.text);
        }
        *at = i + 2;
        return FH_OK;
    }
    int v = left >= 6 ? hex4(in + i + 2) : -1;
    if (v < 0) {
        size_t k = 2;
        while (k < left && hex_value[in[i + k]]) k++;
        return expected(r, i + k, "four hex digits behind '\\u'", err);
    }
    *at = i + 6;
    if (v < 0xD800 || v > 0xDFFF) return FH_OK;
    int low = v < 0xDC00 && left >= 12 && in[i + 6] == '\\' && in[i + 7] == 'u' ? hex4(in + i + 8) : -1;
    if (low < 0xDC00 || low > 0xDFFF) {
        *at = i;
        return fh_fail_at(err, FH_ERR_FORMAT, i, "JSON: '\\u%04X' is half of a surrogate pair and stands alone",
                          (unsigned)v);
    }
    *at = i + 12;
    return FH_OK;
}

/* Checks the string whose opening quote is at from; *end is its closing quote. */
static fh_status check_string(const fh_json_reader *r, size_t from, size_t *end, bool *escaped, fh_err *err) {
    const uint8_t *in = bytes_of(r);
    size_t len = r->in.len, at = from + 1;
    *escaped = false;
    for (;;) {
        at = skip_plain(in, at, len);
        if (at == len) return unterminated(r, from, err);
        if (in[at] == '"') {
            *end = at;
            return FH_OK;
        }
        if (in[at] == '\\') {
            *escaped = true;
            FH_TRY(check_escape(r, from, &at, err));
        } else if (in[at] < 0x20) {
            return fh_fail_at(err, FH_ERR_FORMAT, at,
                              "JSON: control character 0x%02X inside a string; it is written "
                              "'\\u%04X'",
                              (unsigned)in[at], (unsigned)in[at]);
        }
        while (at < len && in[at] >= 0x80) {
            bool ok;
            size_t n = fh_json_utf8(in + at, len - at, &ok);
            if (!ok)
                return fh_fail_at(err, FH_ERR_FORMAT, at, "JSON: byte 0x%02X inside a string starts no valid UTF-8",
                                  (unsigned)in[at]);
            at += n;
        }
    }
}

static size_t put_utf8(char *out, unsigned c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* Decodes the escape at p[0..left); *used bytes of text. Gives the bytes written, never more than
 * *used. */
static size_t put_escape(const uint8_t *p, size_t left, char *out, size_t *used) {
    uint8_t plain = left >= 2 ? escape_value[p[1]] : 0;
    int v = left >= 6 && p[1] == 'u' ? hex4(p + 2) : -1;
    if (plain || v < 0) {
        /* Checked text has no third case; changed text must only stay within bounds. */
        out[0] = plain ? (char)plain : '?';
        *used = plain ? 2 : 1;
        return 1;
    }
    *used = 6;
    if (v >= 0xD800 && v <= 0xDBFF && left >= 12) {
        int low = hex4(p + 8);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *used = 12;
            v = 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    return put_utf8(out, (unsigned)v);
}

size_t fh_json_decode(fh_str raw, char *out) {
    const uint8_t *p = fh_bytes_of(raw).ptr;
    size_t at = 0, n = 0;
    while (at < raw.len) {
        if (p[at] != '\\') { /* runs between escapes are short: a copying call costs more */
            out[n++] = (char)p[at++];
            continue;
        }
        size_t used;
        n += put_escape(p + at, raw.len - at, out + n, &used);
        at += used;
    }
    return n;
}

/* ---- tokens ---- */

static bool in_object(const fh_json_reader *r) {
    unsigned top = (unsigned)r->depth - 1;
    return r->depth > 0 && (r->is_object[top / 8] >> top % 8 & 1);
}

/* Success: everything before `end` is consumed. */
static fh_status emit(fh_json_reader *r, fh_json_event *ev, fh_json_kind kind, size_t from, fh_str text, size_t end) {
    *ev = (fh_json_event){kind, text, from};
    r->pos = end;
    if (kind == FH_JSON_OBJECT || kind == FH_JSON_ARRAY) r->state = FIRST;
    else if (kind == FH_JSON_KEY) r->state = VALUE;
    else r->state = r->depth > 0 ? AFTER : OVER;
    return FH_OK;
}

static fh_status open_container(fh_json_reader *r, size_t at, fh_json_event *ev, fh_err *err) {
    if (r->depth == FH_JSON_MAX_DEPTH)
        return fh_fail_at(err, FH_ERR_LIMIT, at, "JSON: nested deeper than %d", FH_JSON_MAX_DEPTH);
    bool object = r->in.ptr[at] == '{';
    unsigned top = (unsigned)r->depth++;
    uint8_t bit = (uint8_t)(1u << top % 8);
    if (object) r->is_object[top / 8] |= bit;
    else r->is_object[top / 8] &= (uint8_t)~bit;
    return emit(r, ev, object ? FH_JSON_OBJECT : FH_JSON_ARRAY, at, (fh_str){NULL, 0}, at + 1);
}

static fh_status close_container(fh_json_reader *r, size_t at, bool object, fh_json_event *ev) {
    r->depth--;
    return emit(r, ev, object ? FH_JSON_OBJECT_END : FH_JSON_ARRAY_END, at, (fh_str){NULL, 0}, at + 1);
}

static fh_status read_key(fh_json_reader *r, size_t at, fh_json_event *ev, bool *escaped, fh_err *err) {
    const uint8_t *in = bytes_of(r);
    size_t end;
    if (at == r->in.len || in[at] != '"')
        return expected(r, at, r->state == FIRST ? "a key or '}'" : "a key behind ','", err);
    FH_TRY(check_string(r, at, &end, escaped, err));
    fh_str text = {r->in.ptr + at + 1, end - at - 1};
    size_t colon = skip_space(in, end + 1, r->in.len);
    if (colon == r->in.len || in[colon] != ':') {
        found f = found_at(r, colon);
        return fh_fail_at(err, FH_ERR_FORMAT, colon, "JSON: expected ':' behind the key '%.*s', found %s",
                          FH_STR_ARG(text), f.text);
    }
    return emit(r, ev, FH_JSON_KEY, at, text, colon + 1);
}

/* End of the plain integer at `at`; `at` itself when it is any other number, or none. */
static size_t plain_integer(const uint8_t *in, size_t at, size_t len) {
    size_t i = at;
    while (i < len && in[i] >= '0' && in[i] <= '9') i++;
    bool other = i < len && (in[i] == '.' || in[i] == 'e' || in[i] == 'E');
    return other || (in[at] == '0' && i - at > 1) ? at : i;
}

static fh_status read_number(fh_json_reader *r, size_t at, fh_json_event *ev, fh_err *err) {
    size_t end = plain_integer(bytes_of(r), at, r->in.len);
    if (end > at) return emit(r, ev, FH_JSON_NUMBER, at, (fh_str){r->in.ptr + at, end - at}, end);
    fh_json_number n;
    const char *what = NULL;
    size_t wrong = 0, len = fh_json_number_scan(fh_str_drop(r->in, at), &n, &what, &wrong);
    if (len == 0) return expected(r, at + wrong, what, err);
    return emit(r, ev, FH_JSON_NUMBER, at, (fh_str){r->in.ptr + at, len}, at + len);
}

static fh_status read_word(fh_json_reader *r, size_t at, const char *word, fh_json_kind kind, fh_json_event *ev,
                           fh_err *err) {
    size_t n = strlen(word);
    for (size_t i = 0; i < n; i++) {
        if (at + i < r->in.len && r->in.ptr[at + i] == word[i]) continue;
        found f = found_at(r, at + i);
        return fh_fail_at(err, FH_ERR_FORMAT, at + i, "JSON: expected '%s', found %s behind '%.*s'", word, f.text,
                          (int)i, word);
    }
    fh_str text = {NULL, 0};
    if (kind == FH_JSON_NUMBER) text = (fh_str){r->in.ptr + at, n};
    return emit(r, ev, kind, at, text, at + n);
}

/* Everything that starts no value of the RFC; rarely reached, so it may look twice. */
static fh_status read_other(fh_json_reader *r, size_t at, fh_json_event *ev, fh_err *err) {
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    fh_str rest = fh_str_drop(r->in, at);
    for (size_t i = 0; i < FH_COUNT(words); i++) {
        if (!fh_str_starts(rest, words[i])) continue;
        if (r->allow_nonfinite) return read_word(r, at, words[i], FH_JSON_NUMBER, ev, err);
        return fh_fail_at(err, FH_ERR_FORMAT, at, "JSON: %s is no JSON number", words[i]);
    }
    if (fh_str_starts(rest, "-")) return read_number(r, at, ev, err);
    if (at == 0 && fh_str_starts(rest, "\xEF\xBB\xBF"))
        return fh_fail_at(err, FH_ERR_FORMAT, 0, "JSON: the text starts with a byte order mark, which is not allowed");
    if (r->state == VALUE) return expected(r, at, "a value", err);
    return expected(r, at, r->state == FIRST ? "a value or ']'" : "a value behind ','", err);
}

static fh_status read_value(fh_json_reader *r, size_t at, fh_json_event *ev, bool *escaped, fh_err *err) {
    uint8_t c = at < r->in.len ? bytes_of(r)[at] : 0;
    if (c == '"') {
        size_t end;
        FH_TRY(check_string(r, at, &end, escaped, err));
        fh_str text = {r->in.ptr + at + 1, end - at - 1};
        return emit(r, ev, FH_JSON_STRING, at, text, end + 1);
    }
    if (c == '{' || c == '[') return open_container(r, at, ev, err);
    if (c >= '0' && c <= '9') return read_number(r, at, ev, err);
    if (c == '-' && (at + 1 == r->in.len || r->in.ptr[at + 1] != 'I')) return read_number(r, at, ev, err);
    if (c == 't') return read_word(r, at, "true", FH_JSON_TRUE, ev, err);
    if (c == 'f') return read_word(r, at, "false", FH_JSON_FALSE, ev, err);
    if (c == 'n') return read_word(r, at, "null", FH_JSON_NULL, ev, err);
    return read_other(r, at, ev, err);
}

static fh_status next(fh_json_reader *r, fh_json_event *ev, bool *escaped, fh_err *err) {
    const uint8_t *in = bytes_of(r);
    size_t len = r->in.len, at = skip_space(in, r->pos, len);
    bool object = in_object(r);
    *escaped = false;
    if (r->state == OVER) {
        if (at < len) return expected(r, at, "the end of the text", err);
        return emit(r, ev, FH_JSON_END, at, (fh_str){NULL, 0}, at);
    }
    if (r->state == VALUE) return read_value(r, at, ev, escaped, err);
    if (at < len && in[at] == (object ? '}' : ']')) return close_container(r, at, object, ev);
    if (r->state == AFTER) {
        if (at == len || in[at] != ',') return expected(r, at, object ? "',' or '}'" : "',' or ']'", err);
        at = skip_space(in, at + 1, len);
    }
    return object ? read_key(r, at, ev, escaped, err) : read_value(r, at, ev, escaped, err);
}

fh_status fh_json_next_raw(fh_json_reader *r, fh_json_event *ev, bool *escaped, fh_err *err) {
    return next(r, ev, escaped, err);
}

fh_status fh_json_next(fh_json_reader *r, fh_json_event *ev, fh_err *err) {
    fh_json_event e;
    bool escaped;
    size_t pos = r->pos;
    uint8_t state = r->state;
    FH_TRY(next(r, &e, &escaped, err));
    if (escaped) {
        fh_buf_clear(&r->scratch);
        uint8_t *room = fh_buf_extend(&r->scratch, e.text.len);
        if (!room) {
            r->pos = pos;
            r->state = state;
            return fh_buf_check(&r->scratch, err);
        }
        size_t n = fh_json_decode(e.text, (char *)room);
        e.text = (fh_str){(const char *)room, n};
    }
    *ev = e;
    return FH_OK;
}

/* ---- on top ---- */

fh_status fh_json_skip(fh_json_reader *r, const fh_json_event *ev, fh_err *err) {
    fh_json_event e = {FH_JSON_END, {NULL, 0}, 0};
    bool escaped;
    int until = r->depth;
    if (ev->kind == FH_JSON_OBJECT || ev->kind == FH_JSON_ARRAY) until--;
    else if (ev->kind != FH_JSON_KEY) return FH_OK;
    do {
        FH_TRY(next(r, &e, &escaped, err));
    } while (r->depth > until);
    return FH_OK;
}

static const char *kind_name(fh_json_kind kind) {
    switch (kind) {
    case FH_JSON_END: return "the end of the text";
    case FH_JSON_OBJECT: return "an object";
    case FH_JSON_OBJECT_END: return "the end of the object";
    case FH_JSON_ARRAY: return "an array";
    case FH_JSON_ARRAY_END: return "the end of the array";
    case FH_JSON_KEY: return "a key";
    case FH_JSON_STRING: return "a string";
    case FH_JSON_NUMBER: return "a number";
    case FH_JSON_TRUE: return "true";
    case FH_JSON_FALSE: return "false";
    case FH_JSON_NULL: return "null";
    }
    return "nothing";
}

fh_status fh_json_expect(fh_json_reader *r, fh_json_kind kind, fh_json_event *ev, const char *what, fh_err *err) {
    fh_json_event e;
    FH_TRY(fh_json_next(r, &e, err));
    if (e.kind != kind)
        return fh_fail_at(err, FH_ERR_FORMAT, e.offset, "JSON: '%s' should be %s, found %s", what, kind_name(kind),
                          kind_name(e.kind));
    *ev = e;
    return FH_OK;
}
