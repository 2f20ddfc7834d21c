/* serve/router.h - one table of routes, and what every request passes before its handler sees it.
 * SPDX-License-Identifier: Apache-2.0
 * The table is made of the *_routes.def files: core_routes.def and one for each API, which that API's files own.
 * Nothing is reachable that has no row; every row but the PUBLIC ones needs a key, where keys exist. */
#ifndef FH_SERVE_ROUTER_H
#define FH_SERVE_ROUTER_H

#include "serve/app.h"

const fh_route *fh_route_table(size_t *n);

typedef struct fh_route_match {
    const fh_route *route; /* NULL: none */
    bool path_known;       /* a row has this path, with another method */
    fh_str hole[FH_CALL_HOLES];
} fh_route_match;
fh_route_match fh_route_find(const fh_route *table, size_t n, fh_str method, fh_str path);

#define FH_ROUTE_ROW(method, path, scope, dialect, fn) void fn(fh_call *c);
#include "serve/routes.def"
#undef FH_ROUTE_ROW

#endif
