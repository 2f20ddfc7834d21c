/* text/jinja_lex.c - the tokens of a template.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: decoded strings go to the template's arena, the rest are views into the normalized source.
 * Refuses: text that is no UTF-8, brackets that do not match, tags and comments that do not end.
 * Whitespace is settled here and nowhere else: {%- and -%}, {%+ and +%}, the newline behind a block tag
 * (trim_blocks), blanks between a line's start and a block tag (lstrip_blocks), one newline at the very end. */
#include "text/jinja_part.h"

enum { MODE_DATA, MODE_VARIABLE, MODE_BLOCK };

static fh_status fail(const fh_jlexer *l, uint32_t line, const char *what) {
    return fh_fail(l->err, FH_ERR_FORMAT, "template line %u: %s", line, what);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Bytes of the whitespace character at p, or 0. */
static size_t space_at(const char *p, size_t left) {
    unsigned char c = (unsigned char)p[0];
    size_t n = 1;
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31) ? 1 : 0;
    return fh_jinja_props(fh_jinja_decode(p, left, &n)) & FH_J_SPACE ? n : 0;
}

static size_t skip_space(const fh_jlexer *l, size_t at) {
    for (size_t n; at < l->in.len && (n = space_at(l->in.ptr + at, l->in.len - at)) > 0;) at += n;
    return at;
}

static bool looking_at(const fh_jlexer *l, size_t at, const char *z) {
    size_t n = strlen(z);
    return l->in.len - at >= n && memcmp(l->in.ptr + at, z, n) == 0;
}

static void move_to(fh_jlexer *l, size_t to) {
    for (size_t i = l->at; i < to; i++) l->line += l->in.ptr[i] == '\n';
    l->line_start = to > l->at && l->in.ptr[to - 1] == '\n';
    l->at = to;
}

fh_status fh_jinja_lex_init(fh_jlexer *l, fh_arena *arena, fh_str source, fh_err *err) {
    *l = (fh_jlexer){.line = 1, .line_start = true, .arena = arena, .err = err};
    if (source.len > FH_J_MAX_SOURCE)
        return fh_fail(err, FH_ERR_LIMIT, "template: %zu bytes are more than the limit of %zu", source.len,
                       FH_J_MAX_SOURCE);
    if (!fh_utf8_valid(source)) return fh_fail(err, FH_ERR_FORMAT, "template: the text is not UTF-8");
    char *to = fh_arena_alloc(arena, source.len + 1, 1);
    if (!to) return fh_arena_fail(arena, err);
    size_t n = 0;
    for (size_t i = 0; i < source.len; i++) {
        char c = source.ptr[i];
        if (c == '\r') {
            c = '\n';
            if (i + 1 < source.len && source.ptr[i + 1] == '\n') i++;
        }
        to[n++] = c;
    }
    if (n > 0 && to[n - 1] == '\n') n--;
    l->in = (fh_str){to, n};
    return FH_OK;
}

/* ---- text between tags ---- */

static size_t find_tag(const fh_jlexer *l) {
    for (size_t at = l->at; at < l->in.len;) {
        const char *p = memchr(l->in.ptr + at, '{', l->in.len - at);
        if (!p) break;
        at = (size_t)(p - l->in.ptr);
        if (at + 1 < l->in.len && (p[1] == '%' || p[1] == '{' || p[1] == '#')) return at;
        at++;
    }
    return l->in.len;
}

/* Text from l->at to the tag at `tag`, without what the tag's sign or lstrip_blocks takes from its end. */
static fh_str data_before(const fh_jlexer *l, size_t tag, char sign, bool variable) {
    fh_str s = {l->in.ptr + l->at, tag - l->at};
    if (sign == '-') {
        return fh_jval_text(fh_jinja_strip(fh_jval_str(s), NULL, false, true));
    }
    if (sign == '+' || variable) return s;
    size_t from = s.len;
    while (from > 0 && s.ptr[from - 1] != '\n') from--;
    if (from == 0 && !l->line_start) return s;
    for (size_t at = from; at < s.len;) {
        size_t n = space_at(s.ptr + at, s.len - at);
        if (!n) return s;
        at += n;
    }
    s.len = from;
    return s;
}

/* {% raw %}: the byte behind it, or 0 when the tag at `at` (behind its sign) is another. */
static size_t raw_begin(const fh_jlexer *l, size_t at) {
    at = skip_space(l, at);
    if (!looking_at(l, at, "raw")) return 0;
    at = skip_space(l, at + 3);
    if (looking_at(l, at, "-%}")) return skip_space(l, at + 3);
    return looking_at(l, at, "%}") ? at + 2 : 0;
}

static size_t behind_block_end(const fh_jlexer *l, size_t at) {
    if (looking_at(l, at, "+%}")) return at + 3;
    if (looking_at(l, at, "-%}")) return skip_space(l, at + 3);
    if (!looking_at(l, at, "%}")) return 0;
    at += 2;
    return at < l->in.len && l->in.ptr[at] == '\n' ? at + 1 : at;
}

static fh_status lex_raw(fh_jlexer *l, fh_jtoken *out) {
    uint32_t line = l->line;
    *out = (fh_jtoken){.kind = FH_J_T_DATA, .line = line};
    if (l->at == l->in.len) return FH_OK; /* nothing behind it: the reference does not mind */
    for (size_t at = l->at; at + 1 < l->in.len; at++) {
        if (!looking_at(l, at, "{%")) continue;
        size_t k = at + 2;
        char sign = k < l->in.len && (l->in.ptr[k] == '-' || l->in.ptr[k] == '+') ? l->in.ptr[k] : '\0';
        k = skip_space(l, sign ? k + 1 : k);
        if (!looking_at(l, k, "endraw")) continue;
        size_t end = behind_block_end(l, skip_space(l, k + 6));
        if (!end) continue;
        *out = (fh_jtoken){.kind = FH_J_T_DATA, .line = line, .text = data_before(l, at, sign, false)};
        move_to(l, end);
        return FH_OK;
    }
    return fail(l, line, "a raw block does not end");
}

static fh_status skip_comment(fh_jlexer *l) {
    size_t from = l->at + 2;
    if (from < l->in.len && (l->in.ptr[from] == '-' || l->in.ptr[from] == '+')) from++;
    for (size_t at = from; at + 1 < l->in.len; at++) {
        if (l->in.ptr[at] != '#' || l->in.ptr[at + 1] != '}') continue;
        char sign = at > from ? l->in.ptr[at - 1] : '\0';
        size_t end = at + 2;
        if (sign == '-') end = skip_space(l, end);
        else if (sign != '+' && end < l->in.len && l->in.ptr[end] == '\n') end++;
        move_to(l, end);
        return FH_OK;
    }
    if (from == l->in.len) { /* nothing behind it: the reference does not mind */
        move_to(l, from);
        return FH_OK;
    }
    return fail(l, l->line, "a comment does not end");
}

/* One piece of text, or the start of a tag. *again: nothing came of it, look on. */
static fh_status lex_data(fh_jlexer *l, fh_jtoken *out, bool *again) {
    size_t tag = find_tag(l);
    *again = false;
    *out = (fh_jtoken){.kind = FH_J_T_END, .line = l->line};
    if (tag == l->in.len) {
        if (l->at == tag) return FH_OK;
        *out = (fh_jtoken){.kind = FH_J_T_DATA, .line = l->line, .text = {l->in.ptr + l->at, tag - l->at}};
        move_to(l, tag);
        return FH_OK;
    }
    char kind = l->in.ptr[tag + 1], sign = tag + 2 < l->in.len ? l->in.ptr[tag + 2] : '\0';
    if (sign != '-' && sign != '+') sign = '\0';
    if (tag > l->at) {
        fh_str s = data_before(l, tag, sign, kind == '{');
        *out = (fh_jtoken){.kind = FH_J_T_DATA, .line = l->line, .text = s};
        move_to(l, tag);
        if (s.len) return FH_OK;
    }
    if (kind == '#') {
        *again = true;
        return skip_comment(l);
    }
    size_t behind = tag + (sign ? 3 : 2), raw = kind == '%' ? raw_begin(l, behind) : 0;
    if (raw) {
        move_to(l, raw);
        FH_TRY(lex_raw(l, out));
        *again = out->text.len == 0;
        return FH_OK;
    }
    move_to(l, behind);
    l->mode = kind == '{' ? MODE_VARIABLE : MODE_BLOCK;
    *out = (fh_jtoken){.kind = kind == '{' ? FH_J_T_VAR_BEGIN : FH_J_T_BLOCK_BEGIN, .line = l->line};
    return FH_OK;
}

/* ---- inside tags ---- */

static size_t run_digits(const fh_jlexer *l, size_t at, int base) {
    size_t start = at;
    for (; at < l->in.len; at++) {
        char c = l->in.ptr[at];
        if (c == '_' && at > start && at + 1 < l->in.len) c = l->in.ptr[at + 1];
        bool ok = base == 16 ? is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f') : c >= '0' && c < '0' + base;
        if (!ok) break;
    }
    return at;
}

/* Copies the digits without '_' and converts them. */
static fh_status number_value(fh_jlexer *l, fh_jtoken *out, fh_str digits, int base) {
    char *z = fh_arena_alloc(l->arena, digits.len + 1, 1);
    size_t n = 0;
    if (!z) return fh_arena_fail(l->arena, l->err);
    for (size_t i = 0; i < digits.len; i++)
        if (digits.ptr[i] != '_') z[n++] = digits.ptr[i];
    if (out->kind == FH_J_T_FLOAT) {
        double d;
        if (!fh_jinja_parse_float((fh_str){z, n}, &d)) return fail(l, out->line, "a number cannot be read");
        out->value = fh_jval_float(d);
        return FH_OK;
    }
    if (!fh_jinja_parse_int((fh_str){z, n}, base, &out->value)) return fail(l, out->line, "a number cannot be read");
    return FH_OK;
}

static fh_status lex_number(fh_jlexer *l, fh_jtoken *out) {
    const char *p = l->in.ptr;
    size_t at = l->at, end = run_digits(l, at, 10), n = l->in.len;
    bool after_dot = at > 0 && p[at - 1] == '.';
    if (!after_dot) {
        size_t e = end;
        bool is_float = false;
        if (e + 1 < n && p[e] == '.' && is_digit(p[e + 1])) {
            e = run_digits(l, e + 1, 10);
            is_float = true;
        }
        if (e < n && (p[e] | 32) == 'e') {
            size_t k = e + 1;
            if (k < n && (p[k] == '+' || p[k] == '-')) k++;
            if (k < n && is_digit(p[k])) {
                e = run_digits(l, k, 10);
                is_float = true;
            }
        }
        if (is_float) {
            *out = (fh_jtoken){.kind = FH_J_T_FLOAT, .line = l->line};
            l->at = e;
            return number_value(l, out, (fh_str){p + at, e - at}, 10);
        }
    }
    int base = 10;
    size_t from = at;
    if (p[at] == '0') {
        char x = at + 1 < n ? (char)(p[at + 1] | 32) : '\0';
        base = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 10;
        from = base == 10 ? at : at + 2;
        if (base != 10 && from < n && p[from] == '_') from++;
        end = run_digits(l, from, base);
        if (base != 10 && end == from) base = 10, from = at, end = at + 1;
        if (base == 10) /* 0123 is 0, then 123 */
            for (end = at + 1; end < n && (p[end] == '0' || (p[end] == '_' && end + 1 < n && p[end + 1] == '0'));)
                end++;
    }
    *out = (fh_jtoken){.kind = FH_J_T_INT, .line = l->line};
    l->at = end;
    return number_value(l, out, (fh_str){p + from, end - from}, base);
}

static int hex_value(fh_str s, size_t at, size_t n, uint32_t *out) {
    uint32_t v = 0;
    if (s.len - at < n) return 0;
    for (size_t i = 0; i < n; i++) {
        const int digit = fh_hex_value(s.ptr[at + i]);
        if (digit < 0) return 0;
        v = v * 16 + (uint32_t)digit;
    }
    *out = v;
    return 1;
}

/* The escape behind a backslash at raw[*at], to out; gives the bytes written, or 0 with *bad. */
static size_t decode_escape(fh_str raw, size_t *at, char *out, bool *bad) {
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    size_t i = *at, n;
    char c = raw.ptr[i];
    const char *known = c ? strchr(from, c) : NULL;
    uint32_t cp = 0, low;
    *at = i + 1;
    if (known) return out[0] = to[known - from], 1;
    if (c == '\n') return 0;
    if (c >= '0' && c <= '7') {
        for (n = 0; n < 3 && i + n < raw.len && raw.ptr[i + n] >= '0' && raw.ptr[i + n] <= '7'; n++)
            cp = cp * 8 + (uint32_t)(raw.ptr[i + n] - '0');
        *at = i + n;
        return fh_jinja_encode(cp, out);
    }
    n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (n) {
        *bad = !hex_value(raw, i + 1, n, &cp) || cp > 0x10FFFF;
        *at = i + 1 + n;
        if (!*bad && cp >= 0xD800 && cp < 0xDC00 && *at + 6 <= raw.len && raw.ptr[*at] == '\\' &&
            raw.ptr[*at + 1] == 'u' && hex_value(raw, *at + 2, 4, &low) && low >= 0xDC00 && low < 0xE000) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
            *at += 6;
        }
        *bad = *bad || (cp >= 0xD800 && cp < 0xE000);
        return *bad ? 0 : fh_jinja_encode(cp, out);
    }
    if (c == 'N') return *bad = true, 0;
    out[0] = '\\';
    if ((unsigned char)c < 0x80) return out[1] = c, 2;
    /* As the reference's detour over ASCII has it: the character's own escape loses its backslash. */
    cp = fh_jinja_decode(raw.ptr + i, raw.len - i, &n);
    *at = i + n;
    return 1 + (size_t)snprintf(out + 1, 10, cp < 0x100 ? "x%02x" : cp < 0x10000 ? "u%04x" : "U%08x", cp);
}

static fh_status lex_string(fh_jlexer *l, fh_jtoken *out) {
    char quote = l->in.ptr[l->at];
    size_t from = l->at + 1, at = from;
    bool escaped = false, bad = false;
    for (; at < l->in.len && l->in.ptr[at] != quote; at++)
        if (l->in.ptr[at] == '\\') escaped = true, at++;
    if (at >= l->in.len) return fail(l, l->line, "a string does not end");
    fh_str raw = {l->in.ptr + from, at - from};
    *out = (fh_jtoken){.kind = FH_J_T_STRING, .line = l->line, .text = raw};
    move_to(l, at + 1);
    if (!escaped) return FH_OK;
    /* longest growth: a backslash and two bytes of UTF-8 become 4 or 6 characters */
    char *to = fh_arena_alloc(l->arena, raw.len * 3 + 16, 1);
    if (!to) return fh_arena_fail(l->arena, l->err);
    size_t n = 0;
    for (size_t i = 0; i < raw.len;) {
        if (raw.ptr[i] != '\\') {
            to[n++] = raw.ptr[i++];
            continue;
        }
        i++;
        n += decode_escape(raw, &i, to + n, &bad);
        if (bad) return fail(l, out->line, "a string holds an escape that is not understood");
    }
    out->text = (fh_str){to, n};
    return FH_OK;
}

static bool name_byte(const fh_jlexer *l, size_t at, bool first, size_t *n) {
    char c = l->in.ptr[at];
    *n = 1;
    if ((c | 32) >= 'a' && (c | 32) <= 'z') return true;
    if (c == '_' || (!first && is_digit(c))) return true;
    if ((unsigned char)c < 0x80) return false;
    uint32_t cp = fh_jinja_decode(l->in.ptr + at, l->in.len - at, n);
    return fh_jinja_props(cp) & (first ? FH_J_ALPHA : FH_J_WORD);
}

static fh_status bracket(fh_jlexer *l, char c) {
    char want = c == '(' ? ')' : c == '[' ? ']' : c == '{' ? '}' : '\0';
    if (want) {
        if (l->n_open == FH_J_MAX_EXPR_DEPTH) return fail(l, l->line, "brackets are nested too deeply");
        l->open[l->n_open++] = want;
        return FH_OK;
    }
    if (c != ')' && c != ']' && c != '}') return FH_OK;
    if (l->n_open == 0 || l->open[--l->n_open] != c)
        return fh_fail(l->err, FH_ERR_FORMAT, "template line %u: unexpected '%c'", l->line, c);
    return FH_OK;
}

static fh_status lex_operator(fh_jlexer *l, fh_jtoken *out) {
    static const char two[][3] = {"//", "**", "==", "!=", ">=", "<="};
    *out = (fh_jtoken){.kind = FH_J_T_OP, .line = l->line};
    for (size_t i = 0; i < sizeof two / sizeof two[0]; i++)
        if (looking_at(l, l->at, two[i])) {
            out->op = FH_J_OP2(two[i][0], two[i][1]);
            l->at += 2;
            return FH_OK;
        }
    char c = l->in.ptr[l->at];
    if (c == '\0' || !strchr("+-/*%~[](){}><=.:|,;", c))
        return fh_fail(l->err, FH_ERR_FORMAT, "template line %u: unexpected character '%c'", l->line,
                       (unsigned char)c < 0x80 ? c : '?');
    out->op = c;
    l->at++;
    return bracket(l, c);
}

/* The end of the tag, if it is here: the byte behind it, or 0. */
static size_t tag_end(const fh_jlexer *l) {
    if (l->n_open) return 0;
    if (l->mode == MODE_BLOCK) return behind_block_end(l, l->at);
    if (looking_at(l, l->at, "-}}")) return skip_space(l, l->at + 3);
    return looking_at(l, l->at, "}}") ? l->at + 2 : 0;
}

fh_status fh_jinja_lex(fh_jlexer *l, fh_jtoken *out) {
    for (bool again = true; l->mode == MODE_DATA && again;) {
        FH_TRY(lex_data(l, out, &again));
        if (!again) return FH_OK;
    }
    for (;;) {
        size_t end = tag_end(l), n;
        *out = (fh_jtoken){.kind = FH_J_T_END, .line = l->line};
        if (end) {
            out->kind = l->mode == MODE_BLOCK ? FH_J_T_BLOCK_END : FH_J_T_VAR_END;
            move_to(l, end);
            l->mode = MODE_DATA;
            return FH_OK;
        }
        if (l->at == l->in.len) return FH_OK;
        if (!space_at(l->in.ptr + l->at, l->in.len - l->at)) {
            char c = l->in.ptr[l->at];
            if (is_digit(c)) return lex_number(l, out);
            if (c == '\'' || c == '"') return lex_string(l, out);
            if (!name_byte(l, l->at, true, &n)) return lex_operator(l, out);
            size_t from = l->at;
            do l->at += n;
            while (l->at < l->in.len && name_byte(l, l->at, false, &n));
            out->kind = FH_J_T_NAME;
            out->text = (fh_str){l->in.ptr + from, l->at - from};
            return FH_OK;
        }
        move_to(l, skip_space(l, l->at));
    }
}
