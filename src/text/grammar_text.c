/* text/grammar_text.c - bytes to code points, one byte at a time: UTF-8, and the inside of JSON strings.
 * SPDX-License-Identifier: Apache-2.0
 * Strict: overlong forms, surrogates in UTF-8, lone surrogates in escapes and bare control characters are BAD at the
 * first byte that makes them certain. While a code point is incomplete the reader says what it can still become, so
 * that its user can refuse a beginning that has no allowed end. */
#include "text/grammar_part.h"

/* sub: the mode in 3 bits, digits or bytes done in 3, what they said in the rest. */
enum { PLAIN, UTF8, /* 1: known to fh_gread_in_utf8 */ ESCAPE, HEX, PAIR_SLASH, PAIR_U, LOW };
static uint32_t pack(uint32_t mode, uint32_t n, uint32_t data) { return mode | n << 3 | data << 6; }

static void one_range(fh_gcps *out, uint32_t lo, uint32_t hi) {
    out->lo[0] = lo;
    out->hi[0] = hi;
    out->lo[1] = 1;
    out->hi[1] = 0;
}

static fh_gread got(uint32_t *sub, fh_gcps *out, uint32_t cp) {
    *sub = 0;
    out->cp = cp;
    return FH_GREAD_CP;
}

static fh_gread lead_byte(uint32_t *sub, uint8_t b, fh_gcps *out) {
    uint32_t n = b >= 0xF0 ? 3 : b >= 0xE0 ? 2 : 1, data = b & (0x3Fu >> n);
    if (b < 0xC2 || b > 0xF4) return FH_GREAD_BAD;
    uint32_t lo = data << (6 * n), hi = lo | ((1u << (6 * n)) - 1);
    if (b == 0xE0) lo = 0x800;
    if (b == 0xED) hi = 0xD7FF;
    if (b == 0xF0) lo = 0x10000;
    if (b == 0xF4) hi = FH_CP_MAX;
    one_range(out, lo, hi);
    *sub = pack(UTF8, n, data);
    return FH_GREAD_PART;
}

static fh_gread next_byte(uint32_t *sub, uint8_t b, fh_gcps *out) {
    uint32_t n = (*sub >> 3 & 7) - 1, old = *sub >> 6, data = old << 6 | (b & 0x3Fu);
    if ((b & 0xC0) != 0x80) return FH_GREAD_BAD;
    if (n == 2 && (data < 0x10 || data > 0x10F)) return FH_GREAD_BAD;
    if (n == 1 && old < 0x10 && (data < 0x20 || (data >= 0x360 && data < 0x380))) return FH_GREAD_BAD;
    if (n == 0) return got(sub, out, data);
    one_range(out, data << (6 * n), (data << (6 * n)) | ((1u << (6 * n)) - 1));
    *sub = pack(UTF8, n, data);
    return FH_GREAD_PART;
}

fh_gread fh_gread_utf8(uint32_t *sub, uint8_t b, fh_gcps *out) {
    if (*sub) return next_byte(sub, b, out);
    return b < 0x80 ? got(sub, out, b) : lead_byte(sub, b, out);
}

static uint32_t hex_value(uint8_t b) {
    if (b >= '0' && b <= '9') return b - (uint32_t)'0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - (uint32_t)'a' + 10 : 16;
}

/* The code points whose \u escape begins with these n digits: themselves, or all behind a high surrogate. */
static fh_gread hex_part(uint32_t *sub, uint32_t n, uint32_t data, fh_gcps *out) {
    uint32_t lo = data << (4 * (4 - n)), hi = lo | ((1u << (4 * (4 - n))) - 1);
    uint32_t first = lo > 0xD800 ? lo : 0xD800, last = hi < 0xDBFF ? hi : 0xDBFF;
    if (lo >= 0xDC00 && hi <= 0xDFFF) return FH_GREAD_BAD;
    one_range(out, lo, hi); /* surrogates inside belong to no class that leads on */
    if (lo >= 0xD800 && hi <= 0xDFFF) one_range(out, 1, 0);
    if (first <= last) {
        out->lo[1] = 0x10000 + ((first - 0xD800) << 10);
        out->hi[1] = 0x10000 + ((last - 0xD800) << 10) + 0x3FF;
    }
    *sub = pack(HEX, n, data);
    return FH_GREAD_PART;
}

static fh_gread hex_digit(uint32_t *sub, uint8_t b, fh_gcps *out) {
    uint32_t n = (*sub >> 3 & 7) + 1, v = hex_value(b), data = *sub >> 6 << 4 | v;
    if (v == 16) return FH_GREAD_BAD;
    if (n < 4) return hex_part(sub, n, data, out);
    if (data >= 0xDC00 && data < 0xE000) return FH_GREAD_BAD;
    if (data < 0xD800 || data > 0xDFFF) return got(sub, out, data);
    one_range(out, 0x10000 + ((data - 0xD800) << 10), 0x10000 + ((data - 0xD800) << 10) + 0x3FF);
    *sub = pack(PAIR_SLASH, 0, data - 0xD800);
    return FH_GREAD_PART;
}

/* The second escape of a pair; data holds the ten bits of the first and those known of this one. */
static fh_gread low_digit(uint32_t *sub, uint8_t b, fh_gcps *out) {
    uint32_t n = (*sub >> 3 & 7) + 1, v = hex_value(b), data = *sub >> 6, left;
    if (v == 16 || (n == 1 && v != 0xD) || (n == 2 && v < 0xC)) return FH_GREAD_BAD;
    if (n == 2) data = data << 2 | (v - 0xC);
    if (n > 2) data = data << 4 | v;
    if (n == 4) return got(sub, out, 0x10000 + data);
    left = n == 1 ? 10 : n == 2 ? 8 : 4;
    one_range(out, 0x10000 + (data << left), 0x10000 + (data << left | ((1u << left) - 1)));
    *sub = pack(LOW, n, data);
    return FH_GREAD_PART;
}

static fh_gread after_backslash(uint32_t *sub, uint8_t b, fh_gcps *out) {
    switch (b) {
    case '"':
    case '\\':
    case '/': return got(sub, out, b);
    case 'b': return got(sub, out, '\b');
    case 'f': return got(sub, out, '\f');
    case 'n': return got(sub, out, '\n');
    case 'r': return got(sub, out, '\r');
    case 't': return got(sub, out, '\t');
    case 'u': return hex_part(sub, 0, 0, out);
    default: return FH_GREAD_BAD;
    }
}

fh_gread fh_gread_string(uint32_t *sub, uint8_t b, fh_gcps *out) {
    uint32_t high = *sub >> 6;
    switch (*sub & 7) {
    case PLAIN:
        if (b == '"') return FH_GREAD_QUOTE;
        if (b < 0x20) return FH_GREAD_BAD;
        if (b != '\\') return b < 0x80 ? got(sub, out, b) : lead_byte(sub, b, out);
        one_range(out, 0, FH_CP_MAX);
        *sub = pack(ESCAPE, 0, 0);
        return FH_GREAD_PART;
    case UTF8: return next_byte(sub, b, out);
    case ESCAPE: return after_backslash(sub, b, out);
    case HEX: return hex_digit(sub, b, out);
    case PAIR_SLASH:
    case PAIR_U:
        if (b != ((*sub & 7) == PAIR_U ? 'u' : '\\')) return FH_GREAD_BAD;
        one_range(out, 0x10000 + (high << 10), 0x10000 + (high << 10) + 0x3FF);
        *sub = pack((*sub & 7) == PAIR_U ? LOW : PAIR_U, 0, high);
        return FH_GREAD_PART;
    default: return low_digit(sub, b, out);
    }
}

bool fh_gread_live(const fh_auto *a, uint32_t q, const fh_gcps *c) {
    return fh_auto_live(a, q, c->lo[0], c->hi[0]) || fh_auto_live(a, q, c->lo[1], c->hi[1]);
}

/* Can a match be reached from q before there are too many code points? */
static bool reaches(const fh_gstr *s, uint32_t q, uint32_t count) {
    return count <= s->most && s->distance[q] <= s->most - count;
}

uint32_t fh_gstr_part_need(const fh_auto *a, const uint32_t *distance, uint32_t q, const fh_gcps *c) {
    uint32_t need = UINT32_MAX;
    for (int k = 0; k < 2; k++) {
        for (uint32_t r = 0; r < a->n_range && a->range_lo[r] <= c->hi[k]; r++) {
            uint32_t end = r + 1 < a->n_range ? a->range_lo[r + 1] - 1 : FH_CP_MAX;
            uint32_t to = a->next[(size_t)q * a->n_class + a->range_class[r]];
            if (c->lo[k] > c->hi[k] || end < c->lo[k] || to == FH_AUTO_DEAD) continue;
            need = distance[to] + 1 < need ? distance[to] + 1 : need;
        }
    }
    return need;
}

fh_gmove fh_gstr_step(const fh_gstr *s, fh_gthread *t, uint8_t b) {
    fh_gcps c;
    fh_gread r = FH_GREAD_CP;
    if (t->sub == 0 && b >= 0x20 && b < 0x80 && b != '"' && b != '\\') c.cp = b;
    else r = fh_gread_string(&t->sub, b, &c);
    if (r == FH_GREAD_BAD) return FH_GMOVE_DEAD;
    if (!s->a) {
        if (r == FH_GREAD_QUOTE) return t->count >= s->least ? FH_GMOVE_CLOSE : FH_GMOVE_DEAD;
        if (t->count >= s->most) return FH_GMOVE_DEAD;
        /* Beyond both bounds the number says nothing more: keep positions few. */
        if (r == FH_GREAD_CP && (t->count < s->least || s->most != FH_ENDLESS)) t->count++;
        return FH_GMOVE_STAY;
    }
    if (r == FH_GREAD_QUOTE) return s->a->label[t->q] ? FH_GMOVE_CLOSE : FH_GMOVE_DEAD;
    if (r == FH_GREAD_PART) {
        bool live = s->distance ? fh_gstr_part_need(s->a, s->distance, t->q, &c) <= s->most - t->count
                                : fh_gread_live(s->a, t->q, &c);
        return live ? FH_GMOVE_STAY : FH_GMOVE_DEAD;
    }
    t->q = fh_auto_step(s->a, t->q, c.cp);
    if (t->q == FH_AUTO_DEAD) return FH_GMOVE_DEAD;
    if (!s->distance) return FH_GMOVE_STAY;
    t->count++;
    return reaches(s, t->q, t->count) ? FH_GMOVE_STAY : FH_GMOVE_DEAD;
}
