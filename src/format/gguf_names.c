/* format/gguf_names.c - from a name to its position, and the check that no name stands twice.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: the caller gives the slots. Linear probing, at most 3/4 full, so that a free slot
 * ends every search. The hash is a chain of Philox blocks, keyed by what no file can know: a file
 * cannot be made so that its names collide. The order of slots differs from run to run, results
 * never do. */
#include "base/clock.h"
#include "base/rng.h"
#include "format/gguf_part.h"

size_t fh_gguf_names_slots(size_t n) {
    size_t slots = 8;
    while (slots / 4 * 3 < n) slots *= 2;
    return slots;
}

void fh_gguf_names_init(fh_gguf_names *x, uint32_t *slot, size_t n_slot) {
    FH_REQUIRE(fh_is_pow2(n_slot));
    uint64_t now = fh_clock_ns(), where = (uint64_t)(uintptr_t)slot; /* where: address randomisation */
    x->slot = slot;
    x->n_slot = n_slot;
    x->key[0] = (uint32_t)now ^ (uint32_t)(where >> 4);
    x->key[1] = (uint32_t)(now >> 32) ^ (uint32_t)(where >> 36);
}

static uint64_t hash_of(const fh_gguf_names *x, fh_str name) {
    uint32_t state[4] = {(uint32_t)name.len, 0, 0, 0}, block[4];
    for (size_t at = 0; at < name.len; at += sizeof block) {
        size_t n = FH_MIN(name.len - at, sizeof block);
        memset(block, 0, sizeof block);
        memcpy(block, name.ptr + at, n);
        for (int k = 0; k < 4; k++) block[k] ^= state[k];
        fh_philox(block, x->key, state);
    }
    return (uint64_t)state[0] << 32 | state[1];
}

static fh_str name_at(const void *items, size_t stride, size_t i) {
    fh_str name;
    memcpy(&name, (const char *)items + i * stride, sizeof name);
    return name;
}

#define POSITION 0xffffffu /* of a slot; the other bits are the top of the hash */

/* The slot that holds the name, or the free one where it belongs; *tag is what else goes into it.
 * The hash bits spare most looks at names, each a cache miss: they halve the time for 10^6 keys. */
static size_t find_slot(const fh_gguf_names *x, const void *items, size_t stride, fh_str name, uint32_t *tag) {
    uint64_t hash = hash_of(x, name);
    size_t mask = x->n_slot - 1, s = (size_t)hash & mask;
    *tag = (uint32_t)(hash >> 32) & ~POSITION;
    for (uint32_t v; (v = x->slot[s]) != 0; s = (s + 1) & mask)
        if ((v & ~POSITION) == *tag && fh_str_eq(name_at(items, stride, (v & POSITION) - 1), name)) break;
    return s;
}

bool fh_gguf_names_find(const fh_gguf_names *x, const void *items, size_t stride, fh_str name, size_t *at) {
    uint32_t tag;
    if (x->n_slot == 0) return false;
    size_t s = find_slot(x, items, stride, name, &tag);
    if (x->slot[s] == 0) return false;
    *at = (x->slot[s] & POSITION) - 1;
    return true;
}

bool fh_gguf_names_add(fh_gguf_names *x, const void *items, size_t stride, size_t i, size_t *first) {
    uint32_t tag;
    FH_REQUIRE(i < FH_GGUF_MAX_ENTRIES && x->n_slot > 0);
    size_t s = find_slot(x, items, stride, name_at(items, stride, i), &tag);
    if (x->slot[s] != 0) {
        *first = (x->slot[s] & POSITION) - 1;
        return false;
    }
    x->slot[s] = tag | ((uint32_t)i + 1);
    return true;
}
