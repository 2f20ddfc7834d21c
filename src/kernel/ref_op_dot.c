/* kernel/ref_op_dot.c - the portable loops of ref_op_dot.h, and the choice for this CPU.
 * SPDX-License-Identifier: Apache-2.0
 * Threads: chosen under pthread_once. Refuses nothing. */
#include "kernel/ref_op_dot_body.h"

#include <pthread.h>

#include "base/cpu.h"

static const fh_dot_table *best = &fh_dot_base;
static pthread_once_t best_once = PTHREAD_ONCE_INIT;

static void choose(void) {
#if defined(__x86_64__)
    if (fh_cpu_has_level(FH_CPU_LEVEL_AVX2)) best = &fh_dot_avx2;
    if (fh_cpu_has_level(FH_CPU_LEVEL_AVX512)) best = &fh_dot_avx512;
#endif
}

const fh_dot_table *fh_dot_best(void) {
    pthread_once(&best_once, choose);
    return best;
}
