/* text/piece_cache.c - SPDX-License-Identifier: Apache-2.0 */
#include "text/piece_cache.h"

/* 4 MiB, of which a short text touches little; twice as much gains a tenth where the same 10 MB come again. */
#define N_PAIR 65536u
#define LINE 64u

#define FIRST(n) ((n) >= 8 ? UINT64_MAX : ((uint64_t)1 << (8 * (n) % 64)) - 1) /* bytes of 8 */
#define FIRST_OF_16(n) \
    { FIRST(n), FIRST((n) > 8 ? (n)-8 : 0) }

const fh_piece_key128 fh_piece_mask[FH_PIECE_CACHE_BYTES + 1] = {
    FIRST_OF_16(0),  FIRST_OF_16(1),  FIRST_OF_16(2),  FIRST_OF_16(3),  FIRST_OF_16(4),  FIRST_OF_16(5),
    FIRST_OF_16(6),  FIRST_OF_16(7),  FIRST_OF_16(8),  FIRST_OF_16(9),  FIRST_OF_16(10), FIRST_OF_16(11),
    FIRST_OF_16(12), FIRST_OF_16(13), FIRST_OF_16(14), FIRST_OF_16(15),
};

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
