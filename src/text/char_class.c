/* text/char_class.c - SPDX-License-Identifier: Apache-2.0 */
#include "text/char_class.h"

#include "base/num.h"

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
    return fh_ucat_is_punct(fh_unicode_cat_at(cp, FH_UNICODE_8));
}

bool fh_is_bert_control(uint32_t cp) {
    if (cp == '\t' || cp == '\n' || cp == '\r') return false;
    if (cp < 0x80) return cp < 0x20 || cp == 0x7F;
    fh_ucat c = fh_unicode_cat_at(cp, FH_UNICODE_8);
    return c == FH_UCAT_CC || c == FH_UCAT_CF || c == FH_UCAT_CO;
}

bool fh_is_bert_accent(uint32_t cp) { return cp >= 0x300 && fh_unicode_cat_at(cp, FH_UNICODE_8) == FH_UCAT_MN; }
bool fh_is_combining_mark(uint32_t cp) { return cp >= 0x300 && fh_ucat_is_mark(fh_unicode_cat_at(cp, FH_UNICODE_9)); }
