/* text/piece_cache.c - SPDX-License-Identifier: Apache-2.0 */
#include "text/piece_cache.h"

#define N_PAIR \
    65536u /* 4 MiB, of which a short text touches little; twice as much gained nothing on 10 MB of mixed text */
#define LINE 64u

_Static_assert(2 * sizeof(fh_piece_slot) == LINE, "both places of a piece are in one cache line");

fh_status fh_piece_cache_init(fh_piece_cache *c, fh_err *err) {
    c->block = fh_alloc_zero((size_t)N_PAIR + 1, LINE);
    if (!c->block) return fh_fail_memory(err, ((size_t)N_PAIR + 1) * LINE);
    uintptr_t at = (uintptr_t)c->block, up = (LINE - at % LINE) % LINE;
    c->slot = (fh_piece_slot *)((uint8_t *)c->block + up);
    c->mask = N_PAIR - 1;
    return FH_OK;
}

void fh_piece_cache_release(fh_piece_cache *c) {
    fh_free(c->block);
    *c = (fh_piece_cache){0};
}
