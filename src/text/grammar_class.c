/* text/grammar_class.c - which class a byte or a range of code points is in.
 * SPDX-License-Identifier: Apache-2.0
 * Classes are cut where grammars cut: letters behind f, digits, each sign that ends strings, names and comments. */
#include "text/grammar_class.h"

#include "text/grammar_part.h"

/* 0 a-f, 1 g-z, 2 A-F, 3 G-Z, 4 digits, 5 _, 6 space, 7 to 9 line feed, tab, carriage return, 10 other controls,
 * 11 to 18 " \ ' - . , * /, 19 : and ;, 20 <, 21 >, 22 =, 23 to 25 brackets, 26 `, 27 other signs. */
const uint8_t fh_class_ascii[128] = {
    /* clang-format off */
    10, 10, 10, 10, 10, 10, 10, 10, 10,  8,  7, 10, 10,  9, 10, 10, /* 00 */
    10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, /* 10 */
    6, 27, 11, 27, 27, 27, 27, 13, 23, 23, 17, 27, 16, 14, 15, 18, /* 20 */
    4,  4,  4,  4,  4,  4,  4,  4,  4,  4, 19, 19, 20, 22, 21, 27, /* 30 */
    27,  2,  2,  2,  2,  2,  2,  3,  3,  3,  3,  3,  3,  3,  3,  3, /* 40 */
    3,  3,  3,  3,  3,  3,  3,  3,  3,  3,  3, 24, 12, 24, 27,  5, /* 50 */
    26,  0,  0,  0,  0,  0,  0,  1,  1,  1,  1,  1,  1,  1,  1,  1, /* 60 */
    1,  1,  1,  1,  1,  1,  1,  1,  1,  1,  1, 25, 27, 25, 27, 10, /* 70 */
    /* clang-format on */
};

uint32_t fh_class_of_range(uint32_t first, uint32_t last) {
    uint32_t set = 0;
    for (uint32_t b = first; b < 0x80 && b <= last; b++) set |= fh_class_of_ascii((uint8_t)b);
    if (first < 0x80) first = 0x80;
    if (last < first) return set;
    if (first < 0xC0) set |= FH_CLASS_C2;
    if (first < 0x3000 && last >= 0x2000) set |= FH_CLASS_E2;
    if (last >= 0xC0 && (first < 0x2000 || last >= 0x3000)) set |= FH_CLASS_WIDE;
    return set;
}

uint32_t fh_class_of_next(uint32_t *sub, uint32_t *within, uint8_t b) {
    fh_gcps c;
    if (*sub == 0 && b < 0x80) return fh_class_of_ascii(b);
    if (*sub == 0) *within = b == 0xC2 ? FH_CLASS_C2 : b == 0xE2 ? FH_CLASS_E2 : FH_CLASS_WIDE;
    if (fh_gread_utf8(sub, b, &c) != FH_GREAD_BAD) return *within;
    *sub = 0;
    return FH_CLASS_BAD;
}
