/* text/grammar_class.h - bytes of UTF-8 text in 32 coarse classes, one bit each.
 * SPDX-License-Identifier: Apache-2.0
 * A set of classes says of a subtree of tokens which bytes are in it, and of an automaton's state which texts can be
 * read there. Where the second holds the first, all those tokens are taken without looking at any. */
#ifndef FH_TEXT_GRAMMAR_CLASS_H
#define FH_TEXT_GRAMMAR_CLASS_H

#include <stdint.h>

#define FH_CLASS_QUOTE (UINT32_C(1) << 11)
#define FH_CLASS_BACKSLASH (UINT32_C(1) << 12)
/* Line ends, tabs, other controls. */
#define FH_CLASS_CONTROL (UINT32_C(15) << 7)
/* Code points from U+0080, by their first byte: C2, E2, any other. */
#define FH_CLASS_C2 (UINT32_C(1) << 28)
#define FH_CLASS_E2 (UINT32_C(1) << 29)
#define FH_CLASS_WIDE (UINT32_C(1) << 30)
#define FH_CLASS_BAD (UINT32_C(1) << 31) /* no UTF-8: in no state's set */
/* What may stand in a JSON string as it is. */
#define FH_CLASS_STRING (~(FH_CLASS_QUOTE | FH_CLASS_BACKSLASH | FH_CLASS_CONTROL | FH_CLASS_BAD))

extern const uint8_t fh_class_ascii[128];                                                              /* bit number */
static inline uint32_t fh_class_of_ascii(uint8_t b) { return UINT32_C(1) << fh_class_ascii[b & 127]; } /* b < 0x80 */
uint32_t fh_class_of_range(uint32_t first, uint32_t last); /* all classes that code points of a range are in */
/* The next byte of a text; *sub as for fh_gread_utf8, 0 at its start. */
uint32_t fh_class_of_next(uint32_t *sub, uint32_t *within, uint8_t b);

#endif
