/* kernel/fast_delta.h - the gated delta rule of the fast mode: some columns of one head, all tokens of a sequence.
 * SPDX-License-Identifier: Apache-2.0
 * The formula is at graph/plan.h, the slow truth is `delta` of kernel/ref_op_dot.h. f32 with vectors of the CPU's
 * level, in one of two ways. Steps: token by token, S read twice and written once. Chunks: FH_DELTA_CHUNK tokens at a
 * time as matrix products. With G[i] the sum of log decays up to token i of a chunk and S the state before it,
 *     d[i] = beta[i] (v[i] - e^G[i] S^T k[i] - sum over j < i of e^(G[i] - G[j]) (k[i].k[j]) d[j])
 *     out[i] = e^G[i] S^T q[i] + sum over j <= i of e^(G[i] - G[j]) (q[i].k[j]) d[j]
 *     S' = e^G[last] S + sum over j of e^(G[last] - G[j]) k[j] d[j]^T
 * where d is found by forward substitution, row by row: the inverse of its matrix would cost as much again and serve
 * the same columns once. Exponents are differences of sums in f64, and not positive where decays are at most 1: strong
 * decays neither overflow nor cancel.
 *
 * Invariants: (1) a column's bits do not depend on the columns beside it, so not on how columns are shared out; (2)
 * they do depend on the level, on which way is taken, and on where chunks start: the same tokens in other batches agree
 * to rounding (relative RMS below 1e-5 against each other and against exact mode), not to the bit. (3) No token sees
 * what comes after it, but what is no finite number may spoil its column for the few tokens before it, too. */
#ifndef FH_KERNEL_FAST_DELTA_H
#define FH_KERNEL_FAST_DELTA_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

#define FH_DELTA_CHUNK 32 /* tokens */
#define FH_DELTA_PANEL 64 /* columns that go together, at most */
#define FH_DELTA_FEW 6    /* tokens below which steps are faster */

typedef struct fh_delta_work {
    uint32_t n_token, k_width, n_col;
    const float *q, *k;    /* [n_token, k_width], rows q_ld and k_ld apart */
    const float *v;        /* [n_token, n_col], rows v_ld apart */
    const float *g, *beta; /* log decay and rate of a token, g_ld and beta_ld apart */
    float *s;              /* [k_width, n_col], rows s_ld apart: before the first token, then after the last */
    float *out;            /* [n_token, n_col], rows out_ld apart; no part of the others */
    size_t q_ld, k_ld, v_ld, g_ld, beta_ld, s_ld, out_ld;
    float *room; /* [fh_delta_room] floats */
} fh_delta_work;

typedef struct fh_fast_delta {
    const char *name;
    fh_cpu_level level;
    void (*steps)(const fh_delta_work *w);
    void (*chunks)(const fh_delta_work *w);
} fh_fast_delta;

uint64_t fh_delta_room(uint64_t k_width, uint64_t n_col); /* of every level; floats */

const fh_fast_delta *fh_fast_delta_best(void);             /* for this CPU; NULL where there is nothing better */
const fh_fast_delta *const *fh_fast_delta_list(size_t *n); /* all that were compiled */

extern const fh_fast_delta fh_fast_delta_avx2, fh_fast_delta_avx512, fh_fast_delta_neon;

#endif
