/* text/charsmap.c - walking the double array.
 * SPDX-License-Identifier: Apache-2.0
 * A unit: bits 0..7 and 31 label, bit 8 "a rule ends here", bit 9 scale of the offset, bits 10..30 offset. The unit at
 * the offset of one that ends a rule holds the position of the replacement. */
#include "text/charsmap.h"

#include "base/cursor.h"

static bool unit_at(const fh_charsmap *m, size_t i, uint32_t *unit) {
    if (i >= m->trie.len / 4) return false;
    *unit = fh_load_u32(m->trie.ptr + 4 * i);
    return true;
}

static size_t offset_of(uint32_t unit) { return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6); }

static bool text_at(const fh_charsmap *m, uint32_t at, fh_str *out) {
    if (at >= m->texts.len) return false;
    const uint8_t *p = m->texts.ptr + at, *end = memchr(p, 0, m->texts.len - at);
    if (!end) return false;
    *out = (fh_str){(const char *)p, (size_t)(end - p)};
    return true;
}

static size_t find(const fh_charsmap *m, fh_str text, size_t at, bool shortest, fh_str *out) {
    uint32_t unit, value;
    size_t best = 0;
    if (!unit_at(m, 0, &unit)) return 0;
    size_t pos = offset_of(unit);
    for (size_t i = at; i < text.len; i++) {
        uint8_t c = (uint8_t)text.ptr[i];
        if (c == 0) break;
        pos ^= c;
        if (!unit_at(m, pos, &unit) || (unit & 0x800000FFu) != c) break;
        pos ^= offset_of(unit);
        if (!(unit >> 8 & 1)) continue;
        if (!unit_at(m, pos, &value) || !text_at(m, value & 0x7FFFFFFFu, out)) break;
        best = i + 1 - at;
        if (shortest) break;
    }
    return best;
}

size_t fh_charsmap_longest(const fh_charsmap *m, fh_str text, size_t at, fh_str *out) {
    return find(m, text, at, false, out);
}

bool fh_charsmap_shortest(const fh_charsmap *m, fh_str chunk, fh_str *out) { return find(m, chunk, 0, true, out) > 0; }
