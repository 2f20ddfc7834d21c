/* kernel/attend_softmax.h - the softmax of one query over one block of scores, for all vectors of fast_op_vec.h.
 * SPDX-License-Identifier: Apache-2.0
 * Included by attend_body.h and the objects of products in bf16. The running maximum only grows; what was summed
 * under the old one is scaled when it does. */
#ifndef FH_KERNEL_ATTEND_SOFTMAX_H
#define FH_KERNEL_ATTEND_SOFTMAX_H

#include "kernel/attend.h"
#include "kernel/fast_op_vec.h"

#ifdef FH_VEC

/* What the scores get before the softmax where that is more than a factor; then they are in units of log2 e. */
static void bend_scores(const fh_attend_shape *s, float *score, const float *bias) {
    const fh_vec scale = fh_vec_set(s->scale), cap = fh_vec_set(s->softcap), log2e = fh_vec_set(0x1.715476p+0f);
    for (size_t c = 0; c < FH_ATTEND_KEYS; c += FH_VEC) {
        fh_vec x = fh_vec_mul(fh_vec_load(score + c), scale);
        if (s->softcap > 0) x = fh_vec_mul(cap, fh_vec_tanh(fh_vec_div(x, cap)));
        if (bias != NULL) x = fh_vec_add(x, fh_vec_load(bias + c));
        fh_vec_store(score + c, fh_vec_mul(x, log2e));
    }
}

/* Scores [FH_ATTEND_KEYS] of query q become weights, which are also added to its sum; those of keys that it does not
 * see become 0. What was summed before is scaled. rough: the weights are rounded to bf16 next. */
FH_INLINE void softmax_row_as(bool rough, fh_attend_tile *t, const fh_attend_block *b, uint32_t q, float *score,
                              float *acc, size_t ld) {
    enum { VECS = FH_ATTEND_KEYS / FH_VEC };
    const fh_attend_shape *s = t->shape;
    const int from = b->from != NULL ? b->from[q] : 0, to = b->to != NULL ? b->to[q] : (int)b->n;
    const bool plain = !(s->softcap > 0) && b->bias == NULL && s->scale > 0;
    const float unit = plain ? s->scale * 0x1.715476p+0f : 1.0f;
    fh_vec x[VECS], top = fh_vec_set(-__builtin_inff());
    if (!plain) bend_scores(s, score, b->bias != NULL ? b->bias + (size_t)q * FH_ATTEND_KEYS : NULL);
    FH_UNROLL
    for (int i = 0; i < VECS; i++) x[i] = fh_vec_load(score + i * FH_VEC);
    if (from > 0 || to < FH_ATTEND_KEYS) {
        FH_UNROLL
        for (int i = 0; i < VECS; i++) x[i] = fh_vec_keep(x[i], i * FH_VEC, from, to, -__builtin_inff());
    }
    FH_UNROLL
    for (int i = 0; i < VECS; i++) top = fh_vec_max(top, x[i]);
    const float old = t->max[q], here = fh_vec_highest(top) * unit;
    const fh_vec max = fh_vec_set(here > old ? here : old), factor = fh_vec_set(unit);
    fh_vec sum = fh_vec_set(0);
    FH_UNROLL
    for (int i = 0; i < VECS; i++) {
        x[i] = fh_vec_exp2(fh_vec_fma(x[i], factor, fh_vec_sub(fh_vec_set(0), max)), rough);
        fh_vec_store(score + i * FH_VEC, x[i]);
        sum = fh_vec_add(sum, x[i]);
    }
    float *total = t->sum + (size_t)q * FH_ATTEND_LANES;
    if (here > old) {
        t->max[q] = here;
        const fh_vec shrink = fh_vec_exp2(fh_vec_set(old - here), false);
        for (size_t c = 0; c < ld; c += FH_VEC) fh_vec_store(acc + c, fh_vec_mul(shrink, fh_vec_load(acc + c)));
        for (size_t c = 0; c < FH_ATTEND_LANES; c += FH_VEC) {
            fh_vec_store(total + c, fh_vec_mul(shrink, fh_vec_load(total + c)));
        }
    }
    fh_vec_store(total, fh_vec_add(sum, fh_vec_load(total)));
}

static void softmax_row(fh_attend_tile *t, const fh_attend_block *b, uint32_t q, float *score, float *acc, size_t ld) {
    softmax_row_as(false, t, b, q, score, acc, ld);
}

#endif
#endif
