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

enum { SOFTMAX_VECS = FH_ATTEND_KEYS / FH_VEC };

/* What a group of queries has in common. */
typedef struct softmax_rule {
    float unit;  /* scores times this are in units of log2 e */
    bool masked; /* some query does not see all FH_ATTEND_KEYS keys */
} softmax_rule;

/* The greatest of each lane of a row of scores; what the query does not see is -infinity then. */
FH_INLINE fh_vec row_top(const fh_attend_block *b, softmax_rule rule, uint32_t q, float *score) {
    fh_vec x[SOFTMAX_VECS], top = fh_vec_set(-__builtin_inff());
    FH_UNROLL
    for (int i = 0; i < SOFTMAX_VECS; i++) x[i] = fh_vec_load(score + i * FH_VEC);
    if (rule.masked) {
        const int from = b->from != NULL ? b->from[q] : 0, to = b->to != NULL ? b->to[q] : (int)b->n;
        FH_UNROLL
        for (int i = 0; i < SOFTMAX_VECS; i++) {
            x[i] = fh_vec_keep(x[i], i * FH_VEC, from, to, -__builtin_inff());
            fh_vec_store(score + i * FH_VEC, x[i]);
        }
    }
    FH_UNROLL
    for (int i = 0; i < SOFTMAX_VECS; i++) top = fh_vec_max(top, x[i]);
    return top;
}

/* Scores become weights; returns their sum by lanes. Rough ones are bf16 already when they are added, so that a weight
 * that stands alone is 1. */
FH_INLINE fh_vec row_weights(bool rough, float unit, float max, float *score) {
    const fh_vec factor = fh_vec_set(unit), less = fh_vec_set(-max);
    fh_vec sum = fh_vec_set(0);
    FH_UNROLL
    for (int i = 0; i < SOFTMAX_VECS; i++) {
        fh_vec x = fh_vec_exp2(fh_vec_fma(fh_vec_load(score + i * FH_VEC), factor, less), rough);
        if (rough) x = fh_vec_cut_bf16(x);
        fh_vec_store(score + i * FH_VEC, x);
        sum = fh_vec_add(sum, x);
    }
    return sum;
}

FH_INLINE void scale_row(float *x, float by, size_t n) {
    for (size_t c = 0; c < n; c += FH_VEC) fh_vec_store(x + c, fh_vec_mul(fh_vec_set(by), fh_vec_load(x + c)));
}

/* Scores [m, FH_ATTEND_KEYS] of the queries from q on become weights, which are also added to their sums; those of
 * keys that a query does not see become 0. What was summed before is scaled. rough: the weights are
 * bf16. */
FH_INLINE void softmax_rows(bool rough, fh_attend_tile *t, const fh_attend_block *b, uint32_t q, int m, float *score) {
    const fh_attend_shape *s = t->shape;
    const size_t ld = fh_attend_ld(s->v_width);
    const bool plain = !(s->softcap > 0) && b->bias == NULL && s->scale > 0;
    const softmax_rule rule = {plain ? s->scale * 0x1.715476p+0f : 1.0f, b->from != NULL || b->n < FH_ATTEND_KEYS};
    for (int i = 0; !plain && i < m; i++) {
        bend_scores(s, score + (size_t)i * FH_ATTEND_KEYS,
                    b->bias != NULL ? b->bias + ((size_t)q + (size_t)i) * FH_ATTEND_KEYS : NULL);
    }
    for (int first = 0; first < m; first += FH_VEC) {
        const int n = m - first < FH_VEC ? m - first : FH_VEC;
        float old[FH_VEC], max[FH_VEC], shrink[FH_VEC];
        fh_vec top[FH_VEC];
        for (int i = 0; i < FH_VEC; i++) {
            const int r = first + (i < n ? i : n - 1);
            top[i] = row_top(b, rule, q + (uint32_t)r, score + (size_t)r * FH_ATTEND_KEYS);
            old[i] = t->max[q + (uint32_t)r];
        }
        const fh_vec before = fh_vec_load(old);
        const fh_vec now = fh_vec_max(fh_vec_mul(fh_vec_tops(top), fh_vec_set(rule.unit)), before);
        fh_vec_store(max, now);
        fh_vec_store(shrink, fh_vec_exp2(fh_vec_sub(before, now), false));
        for (int i = 0; i < n; i++) {
            const uint32_t r = q + (uint32_t)(first + i);
            float *total = t->sum + (size_t)r * FH_ATTEND_LANES;
            const fh_vec sum = row_weights(rough, rule.unit, max[i], score + (size_t)(first + i) * FH_ATTEND_KEYS);
            if (shrink[i] < 1.0f) {
                t->max[r] = max[i];
                scale_row(t->acc + r * ld, shrink[i], ld);
                scale_row(total, shrink[i], FH_ATTEND_LANES);
            }
            fh_vec_store(total, fh_vec_add(sum, fh_vec_load(total)));
        }
    }
}

#endif
#endif
