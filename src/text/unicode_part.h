/* text/unicode_part.h - the shapes of the generated tables; for unicode*.c only.
 * SPDX-License-Identifier: Apache-2.0
 * A record is the general category (low 5 bits), White_Space, script Han, late (newer than the Unicode that normal
 * forms are made by, and something to it), Uppercase, Lowercase, digit and numeric value, the age (fh_unicode_age) and
 * whether an older version said something else (fh_unicode_past). There are few different ones. */
#ifndef FH_TEXT_UNICODE_PART_H
#define FH_TEXT_UNICODE_PART_H

#include <stddef.h>
#include <stdint.h>

#define FH_UPROP_CAT 0x1fu
#define FH_UPROP_WHITE 0x20u
#define FH_UPROP_HAN 0x40u
#define FH_UPROP_LATE 0x80u
#define FH_UPROP_UPPER 0x100u
#define FH_UPROP_LOWER 0x200u
#define FH_UPROP_DIGIT 0x400u
#define FH_UPROP_NUMERIC 0x800u
#define FH_UPROP_AGE(p) ((p) >> 12 & 3u)
#define FH_UPROP_CHANGED 0x4000u

typedef struct fh_unicode_set_row { /* a script or binary property: name in lower case without '_' */
    const char *name;
    uint16_t at, n; /* of fh_unicode_set_range */
} fh_unicode_set_row;

typedef struct fh_unicode_case_row { /* every step-th code point from first to last maps to itself plus distance */
    uint32_t first, last, step;
    int32_t distance;
} fh_unicode_case_row;

typedef struct fh_unicode_full_row { /* a mapping to more than one code point, 0 behind the last */
    uint32_t cp, to[3];
} fh_unicode_full_row;

typedef struct fh_unicode_past_row { /* from first to last, in versions up to `until` */
    uint32_t first, last;
    uint16_t until, record;
} fh_unicode_past_row;

extern const char fh_unicode_version_text[];
extern const uint16_t fh_unicode_record[];
extern const uint8_t fh_unicode_stage0[];  /* [cp >> 13] */
extern const uint16_t fh_unicode_stage1[]; /* [stage0 * 64 + (cp >> 7 & 63)] */
extern const uint8_t fh_unicode_stage2[];  /* [stage1 * 128 + (cp & 127)] -> number of the record */
extern const uint32_t fh_unicode_run[];    /* first code point << 8 | number of the record, up to the next one's */
extern const size_t fh_unicode_n_run;
extern const fh_unicode_past_row fh_unicode_past[];
extern const size_t fh_unicode_n_past;
extern const uint32_t fh_unicode_set_range[][2]; /* inclusive, ascending within a set */
extern const fh_unicode_set_row fh_unicode_set[];
extern const size_t fh_unicode_n_set;
extern const fh_unicode_case_row fh_unicode_lower_run[], fh_unicode_upper_run[], fh_unicode_fold_run[];
extern const fh_unicode_case_row fh_unicode_title_run[]; /* where it is another than upper */
extern const size_t fh_unicode_n_lower_run, fh_unicode_n_upper_run, fh_unicode_n_fold_run, fh_unicode_n_title_run;
extern const fh_unicode_full_row fh_unicode_lower_full_row[], fh_unicode_upper_full_row[], fh_unicode_fold_full_row[];
extern const fh_unicode_full_row fh_unicode_title_full_row[];
extern const size_t fh_unicode_n_lower_full, fh_unicode_n_upper_full, fh_unicode_n_fold_full, fh_unicode_n_title_full;

static inline uint32_t fh_unicode_prop(uint32_t cp) {
    if (cp > 0x10ffff) return 3u << 12 | 29; /* unassigned */
    uint32_t block = fh_unicode_stage1[fh_unicode_stage0[cp >> 13] * 64u + (cp >> 7 & 63)];
    return fh_unicode_record[fh_unicode_stage2[block * 128u + (cp & 127)]];
}

#endif
