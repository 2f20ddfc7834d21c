/* library/shelf.h - every model on this machine that has a name: the library's, and those that other programs keep.
 * SPDX-License-Identifier: Apache-2.0
 * Other programs' stores are read in place and never changed. Each name listed here is one that fh_locate finds. A
 * store with something broken in it is listed as far as it goes; what is broken is left out and counted. */
#ifndef FH_LIBRARY_SHELF_H
#define FH_LIBRARY_SHELF_H

#include "library/locate.h"
#include "library/store.h"

typedef struct fh_shelf_item {
    fh_source source;
    fh_str name, path;
    fh_str id; /* 64 hex digits, a commit, or "" */
    fh_str pulled_from;
    uint64_t bytes, changed_ms;
} fh_shelf_item;

typedef struct fh_shelf {
    fh_arena arena;
    fh_shelf_item *item; /* [n], by source and name */
    size_t n, n_broken;
} fh_shelf;

FH_MUST_USE fh_status fh_shelf_read(fh_shelf *out, fh_err *err);
void fh_shelf_release(fh_shelf *s);

#endif
