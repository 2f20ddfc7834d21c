/* text/char_class.c - SPDX-License-Identifier: Apache-2.0 */
#include "text/char_class.h"

#include "base/num.h"
#include "text/char_class_table.h"

static bool in_ranges(const uint32_t (*range)[2], size_t n, uint32_t cp) {
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (cp > range[mid][1]) lo = mid + 1;
        else hi = mid;
    }
    return lo < n && cp >= range[lo][0];
}

/* Alphabetic beyond L, M and Nl: letters in circles and squares. */
static bool is_enclosed_letter(uint32_t cp) {
    return (cp >= 0x24B6 && cp <= 0x24E9) || (cp >= 0x1F130 && cp <= 0x1F149) || (cp >= 0x1F150 && cp <= 0x1F169) ||
           (cp >= 0x1F170 && cp <= 0x1F189);
}

bool fh_is_word_char(uint32_t cp) {
    if (cp < 0x80) return (cp | 32) - 'a' < 26 || cp - '0' < 10 || cp == '_';
    fh_ucat c = fh_unicode_cat(cp);
    if (fh_ucat_is_letter(c) || fh_ucat_is_mark(c)) return true;
    return c == FH_UCAT_ND || c == FH_UCAT_NL || c == FH_UCAT_PC || cp == 0x200C || cp == 0x200D ||
           is_enclosed_letter(cp);
}

bool fh_is_bert_ideograph(uint32_t cp) {
    static const uint32_t range[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                        {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    if (cp < 0x3400) return false;
    for (size_t i = 0; i < FH_COUNT(range); i++)
        if (cp >= range[i][0] && cp <= range[i][1]) return true;
    return false;
}

bool fh_is_bert_punct(uint32_t cp) {
    if (cp < 0x80) return cp > 0x20 && cp < 0x7F && !((cp | 32) - 'a' < 26) && !(cp - '0' < 10);
    return in_ranges(PUNCT, FH_COUNT(PUNCT), cp);
}

bool fh_is_bert_control(uint32_t cp) {
    if (cp == '\t' || cp == '\n' || cp == '\r') return false;
    if (cp < 0x80) return cp < 0x20 || cp == 0x7F;
    return in_ranges(CONTROL, FH_COUNT(CONTROL), cp);
}

bool fh_is_bert_accent(uint32_t cp) { return cp >= 0x300 && in_ranges(NONSPACING, FH_COUNT(NONSPACING), cp); }
bool fh_is_combining_mark(uint32_t cp) { return cp >= 0x300 && in_ranges(COMBINING, FH_COUNT(COMBINING), cp); }
