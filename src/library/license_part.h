/* library/license_part.h - between gathering (license_gather.c), reading texts (license_doc.c) and judging.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_LIBRARY_LICENSE_PART_H
#define FH_LIBRARY_LICENSE_PART_H

#include "library/license.h"

/* Reads a licence file into out, whose file, path and is_policy are set: its row, its clauses, their places. */
FH_MUST_USE fh_status fh_license_doc_read(fh_license_doc *out, fh_arena *arena, fh_err *err);
/* Appends formatted text, unless the list has it; lists and texts live in the arena. */
FH_MUST_USE fh_status fh_license_list_add(fh_license_list *list, fh_arena *arena, fh_err *err, const char *fmt, ...)
    FH_PRINTF(4, 5);

#endif
