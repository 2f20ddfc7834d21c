/* kernel/fast_op.c - which loops of kernel/fast_op.h this CPU takes.
 * SPDX-License-Identifier: Apache-2.0
 * Threads: it only reads the CPU's levels. */
#include "kernel/fast_op.h"

#include "base/num.h"

/* The better ones last. */
static const fh_fast_ops *const OPS[] = {
#if defined(__x86_64__)
    &fh_fast_ops_avx2,
    &fh_fast_ops_avx512,
#elif defined(__aarch64__)
    &fh_fast_ops_neon,
#else
    NULL,
#endif
};

const fh_fast_ops *const *fh_fast_ops_list(size_t *n) {
    *n = OPS[0] != NULL ? FH_COUNT(OPS) : 0;
    return OPS;
}

const fh_fast_ops *fh_fast_ops_best(void) {
    const fh_fast_ops *best = NULL;
    for (size_t i = 0; i < FH_COUNT(OPS); i++) {
        if (OPS[i] != NULL && fh_cpu_has_level(OPS[i]->level)) best = OPS[i];
    }
    return best;
}
