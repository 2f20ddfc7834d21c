/* base/rng.c - Philox 4x32 with ten rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
 * 1, 2, 3", 2011). Integer arithmetic only, so every machine gives the same stream.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"

#include <string.h>

void fh_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c[4], k0 = key[0], k1 = key[1];
    memcpy(c, counter, sizeof c);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)c[0] * 0xD2511F53u, b = (uint64_t)c[2] * 0xCD9E8D57u;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[0] = n0, c[1] = (uint32_t)b, c[2] = n2, c[3] = (uint32_t)a;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

void fh_rng_init(fh_rng *r, uint64_t seed, uint64_t stream) {
    *r = (fh_rng){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                  .counter = {0, 0, (uint32_t)stream, (uint32_t)(stream >> 32)}};
}

uint32_t fh_rng_u32(fh_rng *r) {
    if (r->left == 0) {
        fh_philox(r->counter, r->key, r->out);
        r->left = 4;
        if (++r->counter[0] == 0) r->counter[1]++;
    }
    return r->out[4 - r->left--];
}

uint64_t fh_rng_u64(fh_rng *r) {
    uint64_t low = fh_rng_u32(r);
    return low | (uint64_t)fh_rng_u32(r) << 32;
}

double fh_rng_f64(fh_rng *r) { return (double)(fh_rng_u64(r) >> 11) * 0x1p-53; }

uint64_t fh_rng_below(fh_rng *r, uint64_t n) {
    uint64_t low = (0 - n) % n; /* 2^64 mod n: draws below it would favour small results */
    for (;;) {
        uint64_t x = fh_rng_u64(r);
        if (x >= low) return x % n;
    }
}
