/* text/ids.c - SPDX-License-Identifier: Apache-2.0 */
#include "text/ids.h"

#include "base/num.h"

void fh_ids_init(fh_ids *v, size_t limit) { *v = (fh_ids){.limit = limit}; }

void fh_ids_release(fh_ids *v) {
    fh_free(v->ptr);
    *v = (fh_ids){.limit = v->limit};
}

void fh_ids_clear(fh_ids *v) {
    v->len = 0;
    v->status = FH_OK;
}

bool fh_ids_room(fh_ids *v, size_t n) {
    if (v->status != FH_OK) return false;
    if (n <= v->cap - v->len) return true;
    if (n > v->limit - v->len) {
        v->status = FH_ERR_LIMIT;
        return false;
    }
    size_t cap = FH_MIN(FH_MAX(v->cap + v->cap / 2 + 64, v->len + n), v->limit);
    void *p = fh_realloc(v->ptr, cap, sizeof *v->ptr);
    if (!p) {
        v->status = FH_ERR_MEMORY;
        return false;
    }
    v->ptr = p;
    v->cap = cap;
    return true;
}

fh_status fh_ids_check(const fh_ids *v, fh_err *err) {
    if (v->status == FH_OK) return FH_OK;
    if (v->status == FH_ERR_LIMIT) return fh_fail(err, FH_ERR_LIMIT, "more than %zu tokens", v->limit);
    return fh_fail_memory(err, (v->len + 1) * sizeof *v->ptr);
}
