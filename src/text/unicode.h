/* text/unicode.h - what a code point is: generated tables of the Unicode Character Database, and normal forms.
 * SPDX-License-Identifier: Apache-2.0
 * Classes are the original ones (general category, script, White_Space), not approximations: tokenizers are defined by
 * them. Normal forms come from utf8proc. Nothing here allocates but fh_unicode_normalize. */
#ifndef FH_TEXT_UNICODE_H
#define FH_TEXT_UNICODE_H

#include "base/buf.h"

typedef enum fh_ucat { /* general categories, two letters each; CN = unassigned */
                       FH_UCAT_LU,
                       FH_UCAT_LL,
                       FH_UCAT_LT,
                       FH_UCAT_LM,
                       FH_UCAT_LO,
                       FH_UCAT_MN,
                       FH_UCAT_MC,
                       FH_UCAT_ME,
                       FH_UCAT_ND,
                       FH_UCAT_NL,
                       FH_UCAT_NO,
                       FH_UCAT_PC,
                       FH_UCAT_PD,
                       FH_UCAT_PS,
                       FH_UCAT_PE,
                       FH_UCAT_PI,
                       FH_UCAT_PF,
                       FH_UCAT_PO,
                       FH_UCAT_SM,
                       FH_UCAT_SC,
                       FH_UCAT_SK,
                       FH_UCAT_SO,
                       FH_UCAT_ZS,
                       FH_UCAT_ZL,
                       FH_UCAT_ZP,
                       FH_UCAT_CC,
                       FH_UCAT_CF,
                       FH_UCAT_CS,
                       FH_UCAT_CO,
                       FH_UCAT_CN,
                       FH_UCAT_COUNT
} fh_ucat;

/* Decodes one code point at s.ptr[at]; bytes that are no UTF-8 give U+FFFD and length 1. *len is 0 at the end. */
uint32_t fh_utf8_next(fh_str s, size_t at, size_t *len);
size_t fh_utf8_put(uint32_t cp, char out[4]); /* bytes written */

fh_ucat fh_unicode_cat(uint32_t cp);
bool fh_unicode_is_white(uint32_t cp); /* White_Space */
bool fh_unicode_is_han(uint32_t cp);   /* script Han */
/* The same as others froze it in older versions: what is newer is unassigned to them. Compared over all code points:
 * P, M, Cc, Cf and Co of 8, M of 9, everything of 14 (tests/unit/test_unicode.c). */
typedef enum fh_unicode_age { FH_UNICODE_8, FH_UNICODE_9, FH_UNICODE_14, FH_UNICODE_NOW } fh_unicode_age;
fh_ucat fh_unicode_cat_at(uint32_t cp, fh_unicode_age age);
bool fh_unicode_is_there(uint32_t cp, fh_unicode_age age); /* not newer */
typedef struct fh_unicode_facts {
    fh_ucat cat;
    bool white, upper, lower, digit, numeric; /* upper, lower: the binary properties; digit: a decimal or other digit */
} fh_unicode_facts;
fh_unicode_facts fh_unicode_facts_at(uint32_t cp, fh_unicode_age age);
static inline bool fh_ucat_is_letter(fh_ucat c) { return c <= FH_UCAT_LO; }
static inline bool fh_ucat_is_mark(fh_ucat c) { return c >= FH_UCAT_MN && c <= FH_UCAT_ME; }
static inline bool fh_ucat_is_number(fh_ucat c) { return c >= FH_UCAT_ND && c <= FH_UCAT_NO; }
static inline bool fh_ucat_is_punct(fh_ucat c) { return c >= FH_UCAT_PC && c <= FH_UCAT_PO; }
static inline bool fh_ucat_is_symbol(fh_ucat c) { return c >= FH_UCAT_SM && c <= FH_UCAT_SO; }

/* Full mappings (may give up to three code points), as Python's str.lower, upper and title without context. */
size_t fh_unicode_lower(uint32_t cp, uint32_t out[3]);
size_t fh_unicode_upper(uint32_t cp, uint32_t out[3]);
size_t fh_unicode_title(uint32_t cp, uint32_t out[3]);
uint32_t fh_unicode_fold_simple(uint32_t cp); /* simple case folding, for (?i) */
/* Full case folding where it is longer than one code point: its length and code points, else 0. */
size_t fh_unicode_fold_full(uint32_t cp, uint32_t out[3]);
/* Walks all code points that simple folding changes: the first one behind *cp (start with 0), false at the end. */
bool fh_unicode_fold_next(uint32_t *cp, uint32_t *folded);

/* Sets as ascending, disjoint, inclusive ranges. Each returns how many ranges there are and writes the first max. */
#define FH_UCAT_BIT(cat) (1u << (cat))
size_t fh_unicode_ranges(fh_ucat first, fh_ucat last, uint32_t (*out)[2], size_t max);
size_t fh_unicode_mask_ranges(uint32_t cats, uint32_t (*out)[2], size_t max); /* cats: FH_UCAT_BIT of each */
size_t fh_unicode_white_ranges(uint32_t (*out)[2], size_t max);               /* White_Space */
size_t fh_unicode_alpha_ranges(uint32_t (*out)[2], size_t max);               /* Alphabetic */
/* A script by its name or short name ("Han", "hani"), or Uppercase, Lowercase, Alphabetic; letter case, '_', '-' and
 * blanks do not count. 0: unknown. */
size_t fh_unicode_named_ranges(fh_str name, uint32_t (*out)[2], size_t max);
/* The categories behind a name as in \p{name}: "L", "Lu", "Letter", "Uppercase_Letter", "LC". 0: unknown. */
uint32_t fh_unicode_cats_of(fh_str name);
const char *fh_unicode_version(void); /* "16.0.0" */

typedef enum fh_normal_form { FH_NFC, FH_NFD, FH_NFKC, FH_NFKD } fh_normal_form;
/* Appends the normal form of s (valid UTF-8) to out. Plain ASCII is copied at once. As in Hugging Face tokenizers, what
 * Unicode got after 9.0 stays as it is. */
FH_MUST_USE fh_status fh_unicode_normalize(fh_buf *out, fh_str s, fh_normal_form form, fh_err *err);

#endif
