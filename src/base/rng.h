/* base/rng.h - counter-based random numbers (Philox 4x32-10): the same stream on every machine.
 * SPDX-License-Identifier: Apache-2.0
 * A generator is a value: copy it to fork, save its 40 bytes to resume. stream separates uses of one seed. */
#ifndef FH_BASE_RNG_H
#define FH_BASE_RNG_H

#include <stdint.h>

typedef struct fh_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t out[4];
    uint32_t left; /* of out, not yet handed out */
} fh_rng;

void fh_rng_init(fh_rng *r, uint64_t seed, uint64_t stream);
uint32_t fh_rng_u32(fh_rng *r);
uint64_t fh_rng_u64(fh_rng *r);
double fh_rng_f64(fh_rng *r);                 /* [0, 1), 53 bits */
uint64_t fh_rng_below(fh_rng *r, uint64_t n); /* [0, n) without bias; n > 0 */
/* The raw block function, for streams addressed by position. */
void fh_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
