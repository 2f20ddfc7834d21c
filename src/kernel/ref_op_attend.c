/* kernel/ref_op_attend.c - attention of one head over blocks of keys, and which keys a query sees.
 * SPDX-License-Identifier: Apache-2.0
 * The softmax runs along: a block with a higher maximum scales what was summed before. Invariant: blocks start at
 * multiples of FH_REF_KEYS counted from the sequence's first row, so the order of all sums depends on the query's
 * place alone, not on pages or batches. */
#include "kernel/ref_op.h"

#include "kernel/ref_math.h"
#include "kernel/ref_op_dot.h"

static void score_block(float scale, float softcap, float *score, const float *bias, size_t n) {
    for (size_t i = 0; i < n; i++) score[i] = score[i] * scale;
    if (softcap > 0) {
        for (size_t i = 0; i < n; i++) score[i] = softcap * (float)fh_math_tanh((double)(score[i] / softcap));
    }
    if (bias != NULL) {
        for (size_t i = 0; i < n; i++) score[i] = score[i] + bias[i];
    }
}

void fh_ref_attend_block(fh_ref_softmax *s, float scale, float softcap, float *score, const float *bias, const float *v,
                         size_t ld, size_t n, float *acc, size_t v_width) {
    if (n == 0) return;
    score_block(scale, softcap, score, bias, n);
    float max = s->any ? s->max : score[0];
    for (size_t i = 0; i < n; i++) max = score[i] > max ? score[i] : max;
    const double shrink = s->any ? fh_math_exp((double)(s->max - max)) : 0.0;
    for (size_t i = 0; i < n; i++) score[i] = (float)fh_math_exp((double)(score[i] - max));
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum = sum + (double)score[i];
    s->sum = s->sum * shrink + sum;
    s->max = max;
    s->any = true;
    fh_dot_best()->mix((float)shrink, score, v, ld, n, acc, v_width);
}

void fh_ref_attend_end(fh_ref_softmax *s, const float *sink, const float *acc, float *out, size_t v_width) {
    double sum = s->sum, shrink = 1.0;
    if (!s->any) {
        for (size_t i = 0; i < v_width; i++) out[i] = 0;
        return;
    }
    if (sink != NULL) {
        const float max = *sink > s->max ? *sink : s->max;
        shrink = fh_math_exp((double)(s->max - max));
        sum = sum * shrink + fh_math_exp((double)(*sink - max));
    }
    const float inv = (float)(shrink / sum);
    for (size_t i = 0; i < v_width; i++) out[i] = acc[i] * inv;
}

/* Small distances have a bucket each, larger ones share them by their logarithm, in f32 as the reference does: at a
 * border the rounding decides. */
uint32_t fh_ref_bucket(int64_t relative, bool bidirectional, uint32_t n_bucket, uint32_t max_distance) {
    uint32_t n = n_bucket, first = 0;
    uint64_t distance;
    if (bidirectional) {
        n /= 2;
        if (relative > 0) first = n;
        distance = (uint64_t)(relative < 0 ? -relative : relative);
    } else {
        distance = relative < 0 ? (uint64_t)-relative : 0;
    }
    const uint32_t exact = n / 2;
    if (distance < exact) return first + (uint32_t)distance;
    const float far = (float)fh_math_log((double)((float)distance / (float)exact));
    const float all = (float)fh_math_log((double)max_distance / (double)exact);
    const float place = far / all * (float)(n - exact);
    const uint64_t bucket = exact + (place < (float)n ? (uint64_t)place : n);
    return first + (uint32_t)(bucket < n ? bucket : n - 1);
}

bool fh_ref_mask_range(fh_mask_kind mask, uint32_t window, uint64_t q, uint64_t rows, uint64_t *first, uint64_t *last) {
    uint64_t lo = 0, hi = rows == 0 ? 0 : rows - 1;
    switch (mask) {
    case FH_MASK_CAUSAL: hi = q < hi ? q : hi; break;
    case FH_MASK_SLIDING:
        hi = q < hi ? q : hi;
        lo = q >= window ? q - window + 1 : 0;
        break;
    case FH_MASK_SYMMETRIC:
        lo = q > window / 2 ? q - window / 2 : 0;
        hi = q + window / 2 < hi ? q + window / 2 : hi;
        break;
    case FH_MASK_CHUNKED:
        hi = q < hi ? q : hi;
        lo = q / window * window;
        break;
    case FH_MASK_NONE: break;
    }
    if (rows == 0 || lo > hi) return false;
    *first = lo;
    *last = hi;
    return true;
}
