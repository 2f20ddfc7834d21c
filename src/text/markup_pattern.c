/* text/markup_pattern.c - the small language of call and param patterns, taken apart into literals and holes.
 * SPDX-License-Identifier: Apache-2.0
 * Newlines cut literals: between two parts any white space or none may stand. Refuses unknown holes. */
#include "text/markup_part.h"

static bool hole_of(char c, fh_hole *out) {
    static const char letters[] = "niIxajpygktv";
    static const fh_hole holes[] = {FH_HOLE_NAME,   FH_HOLE_ID,   FH_HOLE_ID_NAME, FH_HOLE_NUMBER,
                                    FH_HOLE_ARGS,   FH_HOLE_CALL, FH_HOLE_PARAMS,  FH_HOLE_PYTHON,
                                    FH_HOLE_QUOTED, FH_HOLE_KEY,  FH_HOLE_TYPE,    FH_HOLE_VALUE};
    const char *at = c ? strchr(letters, c) : NULL;
    if (!at) return false;
    *out = holes[at - letters];
    return true;
}

static bool add_part(fh_pattern *p, fh_hole hole, fh_str literal, bool line) {
    if (p->n == FH_PATTERN_MAX) return false;
    p->part[p->n++] = (fh_pattern_part){.hole = hole, .literal = literal, .line_before = line};
    return true;
}

bool fh_pattern_read(fh_pattern *out, const char *text) {
    const char *z = text ? text : "";
    fh_pattern p = {.n = 0};
    bool line = false;
    uint8_t n_line = 0;
    while (*z) {
        if (*z == '\n' || (*z == ' ' && (p.n == 0 || line))) {
            if (p.n > 0) p.part[p.n - 1].line_after = true;
            line = true;
            if (*z == '\n' && n_line < UINT8_MAX) n_line++;
            z++;
            continue;
        }
        if (*z == '%' && z[1] != '%') {
            fh_hole hole;
            if (!hole_of(z[1], &hole) || !add_part(&p, hole, (fh_str){NULL, 0}, line)) return false;
            z += 2;
        } else {
            size_t n = *z == '%' ? 1 : strcspn(z, "\n%");
            if (!add_part(&p, FH_HOLE_NONE, (fh_str){z, n}, line)) return false;
            z += *z == '%' ? 2 : n;
        }
        p.part[p.n - 1].n_line = n_line;
        line = false;
        n_line = 0;
    }
    *out = p;
    return true;
}
