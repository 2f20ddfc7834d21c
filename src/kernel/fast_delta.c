/* kernel/fast_delta.c - which loops of kernel/fast_delta.h this CPU takes, and the room they need.
 * SPDX-License-Identifier: Apache-2.0
 * Threads: it only reads the CPU's levels. */
#include "kernel/fast_delta.h"

#include "base/num.h"

/* The better ones last. */
static const fh_fast_delta *const DELTA[] = {
#if defined(__x86_64__)
    &fh_fast_delta_avx2,
    &fh_fast_delta_avx512,
#elif defined(__aarch64__)
    &fh_fast_delta_neon,
#else
    NULL,
#endif
};

const fh_fast_delta *const *fh_fast_delta_list(size_t *n) {
    *n = DELTA[0] != NULL ? FH_COUNT(DELTA) : 0;
    return DELTA;
}

const fh_fast_delta *fh_fast_delta_best(void) {
    const fh_fast_delta *best = NULL;
    for (size_t i = 0; i < FH_COUNT(DELTA); i++) {
        if (DELTA[i] != NULL && fh_cpu_has_level(DELTA[i]->level)) best = DELTA[i];
    }
    return best;
}

uint64_t fh_delta_room(uint64_t k_width, uint64_t n_col) {
    const uint64_t columns = fh_ceil_div(n_col, FH_DELTA_PANEL) * FH_DELTA_PANEL;
    return k_width * (columns + 3 * FH_DELTA_CHUNK) + 2 * FH_DELTA_CHUNK * (FH_DELTA_CHUNK + FH_DELTA_PANEL);
}
