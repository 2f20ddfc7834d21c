/* text/ids.h - a growing list of token ids with a ceiling; failure is sticky, as in base/buf.h.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TEXT_IDS_H
#define FH_TEXT_IDS_H

#include "base/mem.h"

typedef struct fh_ids {
    uint32_t *ptr; /* [len], capacity cap */
    size_t len, cap, limit;
    fh_status status;
} fh_ids;

void fh_ids_init(fh_ids *v, size_t limit); /* allocates nothing */
void fh_ids_release(fh_ids *v);
void fh_ids_clear(fh_ids *v);          /* empty again, keeps the memory and clears a failure */
bool fh_ids_room(fh_ids *v, size_t n); /* for n more; false and a failure kept otherwise */
FH_MUST_USE fh_status fh_ids_check(const fh_ids *v, fh_err *err);

static inline void fh_ids_add(fh_ids *v, uint32_t id) {
    if (v->len == v->cap && !fh_ids_room(v, 1)) return;
    if (v->status == FH_OK) v->ptr[v->len++] = id;
}
static inline void fh_ids_add_all(fh_ids *v, const uint32_t *id, size_t n) {
    if (n == 0 || (v->cap - v->len < n && !fh_ids_room(v, n)) || v->status != FH_OK) return;
    memcpy(v->ptr + v->len, id, n * sizeof *id);
    v->len += n;
}

#endif
