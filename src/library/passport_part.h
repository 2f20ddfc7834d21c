/* library/passport_part.h - between gathering facts (passport.c), reading cards and judging openness.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_LIBRARY_PASSPORT_PART_H
#define FH_LIBRARY_PASSPORT_PART_H

#include "library/facts.h"
#include "library/passport.h"

/* States a fact; formatted. source: what states it; sha256 of it, or NULL. */
FH_MUST_USE fh_status fh_passport_say(fh_passport *p, fh_passport_key k, fh_passport_by by, const char *source,
                                      const char *sha256, fh_err *err, const char *fmt, ...) FH_PRINTF(7, 8);
void fh_passport_deny(fh_passport *p, fh_passport_key k, const char *source);
/* README.md, and what the folder's file names say. */
FH_MUST_USE fh_status fh_passport_read_folder(fh_passport *p, const char *folder, fh_err *err);
/* Verdicts, layers and the sentence, from the facts. */
FH_MUST_USE fh_status fh_passport_judge(fh_passport *p, fh_err *err);

#endif
