/* kernel/attend.c - which attention kernel this CPU takes, and what is done once per query.
 * SPDX-License-Identifier: Apache-2.0
 * Threads: the choice reads the CPU's levels only. Refuses nothing; NULL where no kernel is proven. */
#include "kernel/attend.h"

#include "base/num.h"
#include "kernel/ref_math.h"

/* The better ones last. */
static const fh_attend_kernel *const KERNEL[] = {
#if defined(__x86_64__)
    &fh_attend_avx2, &fh_attend_few_avx2, &fh_attend_avx512, &fh_attend_few_avx512, &fh_attend_bf16, &fh_attend_amx,
#elif defined(__aarch64__)
    &fh_attend_neon,
    &fh_attend_few_neon,
#else
    NULL,
#endif
};

const fh_attend_kernel *const *fh_attend_list(size_t *n) {
    *n = KERNEL[0] != NULL ? FH_COUNT(KERNEL) : 0;
    return KERNEL;
}

const fh_attend_kernel *fh_attend_choose(const fh_attend_shape *s, bool few, bool careful) {
    const fh_attend_kernel *best = NULL;
    for (size_t i = 0; i < FH_COUNT(KERNEL); i++) {
        const fh_attend_kernel *k = KERNEL[i];
        if (k == NULL || k->few != few || (careful && !k->exact)) continue;
        if (fh_cpu_has_level(k->level) && k->fits(s)) best = k;
    }
    return best;
}

/* 2^x for a difference of maxima: 0 where one of them has seen nothing. */
static float power(float x) { return x < -126.0f ? 0.0f : (float)fh_math_exp((double)x * 0.69314718055994531); }

void fh_attend_merge(float *max, float *sum, float *acc, float from_max, const float *from_sum, const float *from_acc,
                     size_t v_width) {
    const float top = from_max > *max ? from_max : *max;
    const float a = power(*max - top), b = power(from_max - top);
    for (size_t i = 0; i < FH_ATTEND_LANES; i++) sum[i] = a * sum[i] + b * from_sum[i];
    for (size_t i = 0; i < v_width; i++) acc[i] = a * acc[i] + b * from_acc[i];
    *max = top;
}

void fh_attend_finish(float max, const float *sum, const float *acc, const float *sink, float *out, size_t v_width) {
    double all = 0, shrink = 1;
    for (size_t i = 0; i < FH_ATTEND_LANES; i++) all = all + (double)sum[i];
    if (all == 0) {
        for (size_t i = 0; i < v_width; i++) out[i] = 0;
        return;
    }
    if (sink != NULL) {
        const double s = (double)*sink * 1.4426950408889634, top = s > (double)max ? s : (double)max;
        shrink = fh_math_exp(((double)max - top) * 0.69314718055994531);
        all = all * shrink + fh_math_exp((s - top) * 0.69314718055994531);
    }
    const float inv = (float)(shrink / all);
    for (size_t i = 0; i < v_width; i++) out[i] = acc[i] * inv;
}
