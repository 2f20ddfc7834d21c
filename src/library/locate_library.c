/* library/locate_library.c - a name in freehold's own library to the files it stands for.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "library/locate_part.h"
#include "library/store.h"

static fh_status take(fh_location *out, const fh_store *s, const fh_store_model *m, fh_err *err) {
    FH_TRY(fh_store_model_path(s, m, m->entry, out->path, err));
    for (size_t i = 0; i < m->n_file; i++) {
        const fh_store_file *f = &m->file[i];
        char *to = NULL;
        if (fh_str_is(f->role, "license")) to = out->license_path;
        if (fh_str_is(f->role, "template")) to = out->template_path;
        if (fh_str_is(f->role, "adapter")) to = out->adapter_path;
        if (to && !to[0]) FH_TRY(fh_store_model_path(s, m, f->path, to, err));
    }
    snprintf(out->name, sizeof out->name, "%.*s", FH_STR_ARG(m->name));
    out->source = FH_SOURCE_LIBRARY;
    return FH_OK;
}

fh_status fh_locate_library(fh_location *out, fh_str model, bool *found, fh_err *err) {
    fh_store *s = NULL;
    fh_store_model m;
    fh_arena arena;
    FH_TRY(fh_store_open(&s, FH_STORE_AS_IS, err));
    if (!s) return FH_OK;
    fh_arena_init(&arena, 64u << 20);
    fh_status st = fh_store_find(s, model, &arena, &m, found, err);
    if (st == FH_OK && *found) st = take(out, s, &m, err);
    fh_arena_release(&arena);
    fh_store_close(s);
    return st;
}
