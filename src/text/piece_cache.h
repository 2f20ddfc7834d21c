/* text/piece_cache.h - what short pieces turned into last time: natural text repeats its words.
 * SPDX-License-Identifier: Apache-2.0
 * Fixed size, one owner, no locks. A piece has two places in one cache line; what was used last stays. A hostile text
 * can only make it useless, never wrong: the whole piece is compared. */
#ifndef FH_TEXT_PIECE_CACHE_H
#define FH_TEXT_PIECE_CACHE_H

#include "base/cursor.h"
#include "text/ids.h"

#define FH_PIECE_CACHE_BYTES 15u /* longest piece kept: 98 % of pieces in mixed text */
#define FH_PIECE_CACHE_IDS 4u    /* and most tokens */

/* A piece as two numbers: its bytes, zeros, and its length in the last byte. */
typedef struct fh_piece_key128 {
    uint64_t lo, hi;
} fh_piece_key128;

typedef struct fh_piece_slot {
    fh_piece_key128 key; /* hi: length in bits 56..59, tokens in 60..63; 0 = free */
    uint32_t id[FH_PIECE_CACHE_IDS];
} fh_piece_slot;

typedef struct fh_piece_cache {
    fh_piece_slot *slot; /* [2 * n_pair] */
    void *block;         /* what holds them, with room to start at a cache line */
    uint64_t mask;       /* n_pair - 1 */
} fh_piece_cache;

FH_MUST_USE fh_status fh_piece_cache_init(fh_piece_cache *c, fh_err *err);
void fh_piece_cache_release(fh_piece_cache *c);

static inline bool fh_piece_cache_fits(fh_str piece) { return piece.len - 1 < FH_PIECE_CACHE_BYTES; }

/* Of a piece that fits; reads no byte outside of it. */
static inline fh_piece_key128 fh_piece_key_of(fh_str piece) {
    const uint8_t *p = (const uint8_t *)piece.ptr;
    size_t n = piece.len;
    fh_piece_key128 k = {0, (uint64_t)n << 56};
    if (n > 8) {
        k.lo = fh_load_u64(p);
        k.hi |= fh_load_u64(p + n - 8) >> (8 * (16 - n)); /* the bytes behind the eighth */
    } else if (n == 8) {
        k.lo = fh_load_u64(p);
    } else if (n >= 4) {
        k.lo = (uint64_t)fh_load_u32(p) | (uint64_t)fh_load_u32(p + n - 4) << (8 * (n - 4));
    } else {
        k.lo = (uint64_t)p[0] | (uint64_t)p[n / 2] << (8 * (n / 2)) | (uint64_t)p[n - 1] << (8 * (n - 1));
    }
    return k;
}

/* The same without a branch on the length, which cannot be foreseen: 16 bytes at the piece must be readable. */
extern const fh_piece_key128 fh_piece_mask[FH_PIECE_CACHE_BYTES + 1];
static inline fh_piece_key128 fh_piece_key_in_text(fh_str piece) {
    const uint8_t *p = (const uint8_t *)piece.ptr;
    const fh_piece_key128 *mask = &fh_piece_mask[piece.len];
    return (fh_piece_key128){fh_load_u64(p) & mask->lo, (fh_load_u64(p + 8) & mask->hi) | (uint64_t)piece.len << 56};
}

static inline fh_piece_slot *fh_piece_cache_place(const fh_piece_cache *c, fh_piece_key128 k) {
    uint64_t h = (k.lo ^ k.hi * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
    return &c->slot[2 * ((h ^ h >> 32) & c->mask)];
}

#define FH_PIECE_KEY_MASK (((uint64_t)1 << 60) - 1)
static inline uint32_t fh_piece_slot_ids(const fh_piece_slot *s) { return (uint32_t)(s->key.hi >> 60); }
static inline bool fh_piece_slot_is(const fh_piece_slot *s, fh_piece_key128 k) {
    return ((s->key.lo ^ k.lo) | ((s->key.hi & FH_PIECE_KEY_MASK) ^ k.hi)) == 0;
}

/* place: of the key. The slot that has it, or NULL; which of the two it is costs no branch. */
static inline const fh_piece_slot *fh_piece_cache_find(const fh_piece_slot *place, fh_piece_key128 k) {
    const fh_piece_slot *s = place + (fh_piece_slot_is(place, k) ? 0 : 1);
    return fh_piece_slot_is(s, k) ? s : NULL;
}

static inline void fh_piece_cache_put(fh_piece_slot *place, fh_piece_key128 k, const uint32_t *id, size_t n) {
    if (n > FH_PIECE_CACHE_IDS) return;
    place[1] = place[0];
    place->key = (fh_piece_key128){k.lo, k.hi | (uint64_t)n << 60};
    for (size_t i = 0; i < n; i++) place->id[i] = id[i];
}

#endif
