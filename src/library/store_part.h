/* library/store_part.h - what the store_*.c files share.
 * SPDX-License-Identifier: Apache-2.0
 * store.c: folders, locks, links. store_db.c: the SQLite file. store_sweep.c: what is removed. */
#ifndef FH_LIBRARY_STORE_PART_H
#define FH_LIBRARY_STORE_PART_H

#include <sqlite3.h>

#include "library/store.h"

struct fh_store {
    sqlite3 *db;
    int lock; /* descriptor, or -1 */
    fh_store_mode mode;
    char folder[FH_PATH_MAX], blobs[FH_PATH_MAX], partial[FH_PATH_MAX], models[FH_PATH_MAX];
};

FH_MUST_USE fh_status fh_store_db_open(fh_store *s, fh_err *err);
FH_MUST_USE fh_status fh_store_db_fail(fh_store *s, const char *what, fh_err *err);
FH_MUST_USE fh_status fh_store_db_run(fh_store *s, const char *sql, fh_err *err);
/* values: text, or NULL for the end; bound to ?1, ?2 ... */
FH_MUST_USE fh_status fh_store_db_do(fh_store *s, const char *sql, const fh_str *value, size_t n, fh_err *err);
FH_MUST_USE fh_status fh_store_db_put(fh_store *s, const fh_store_model *m, bool keep_before, fh_err *err);
/* Is there a row? sql has one value. */
FH_MUST_USE fh_status fh_store_db_has(fh_store *s, const char *sql, fh_str value, bool *has, fh_err *err);

#endif
