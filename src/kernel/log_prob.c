/* kernel/log_prob.c - see log_prob.h. Owns nothing.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernel/log_prob.h"

#include <math.h>

#include "base/cursor.h"
#include "kernel/ref_math.h"

enum { LANES = 16, CODES = 65535 };

static double sum_of(const double *lane) {
    double sum = 0;
    for (int j = 0; j < LANES; j++) sum += lane[j];
    return sum;
}

fh_log_norm fh_log_prob_norm(const float *x, size_t n) {
    fh_log_norm r = {.top = x[0]};
    double lane[LANES] = {0};
    for (size_t i = 1; i < n; i++)
        if (x[i] > r.top) {
            r.top = x[i];
            r.best = (uint32_t)i;
        }
    for (size_t i = 0; i < n; i += LANES) {
        const size_t m = n - i < LANES ? n - i : LANES;
        for (size_t j = 0; j < m; j++) lane[j] += fh_math_exp((double)x[i + j] - (double)r.top);
    }
    const double sum = sum_of(lane);
    r.log_sum = sum >= 1 && sum < 1e300 ? fh_math_log(sum) : (double)NAN;
    return r;
}

double fh_log_prob_between(const float *p, const fh_log_norm *norm_p, const float *q, const fh_log_norm *norm_q,
                           size_t n) {
    double lane[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES) {
        const size_t m = n - i < LANES ? n - i : LANES;
        for (size_t j = 0; j < m; j++) {
            const double ln_p = fh_log_prob_at(norm_p, p[i + j]);
            lane[j] += fh_math_exp(ln_p) * (ln_p - fh_log_prob_at(norm_q, q[i + j]));
        }
    }
    return sum_of(lane);
}

fh_log_packed fh_log_prob_pack(const float *x, size_t n, const fh_log_norm *norm, uint8_t *out) {
    float low = x[0];
    for (size_t i = 1; i < n; i++) low = x[i] < low ? x[i] : low;
    if (low < norm->top - FH_LOG_PROB_DEPTH) low = norm->top - FH_LOG_PROB_DEPTH;
    const float log_sum = (float)norm->log_sum;
    fh_log_packed p = {(norm->top - low) / (float)CODES, low - norm->top - log_sum, out};
    const float inverse = p.scale > 0 ? 1 / p.scale : 0;
    for (size_t i = 0; i < n; i++) {
        /* adding it leaves the nearest whole number, halves to even, in the low bits */
        const float magic = 0x1.8p23f, steps = x[i] > low ? inverse * (x[i] - low) + magic : magic;
        const uint16_t code = (uint16_t)(steps - magic > (float)CODES ? (float)CODES : steps - magic);
        memcpy(out + 2 * i, &code, sizeof code);
    }
    return p;
}

float fh_log_prob_unpack(const fh_log_packed *p, size_t i) {
    return p->scale * (float)fh_load_u16(p->codes + 2 * i) + p->least;
}

double fh_log_prob_divergence(const fh_log_packed *base, const float *x, size_t n, const fh_log_norm *norm,
                              uint32_t *best) {
    double lane[LANES] = {0};
    uint16_t top = fh_load_u16(base->codes);
    *best = 0;
    for (size_t i = 0; i < n; i += LANES) {
        const size_t m = n - i < LANES ? n - i : LANES;
        for (size_t j = 0; j < m; j++) {
            const uint16_t code = fh_load_u16(base->codes + 2 * (i + j));
            const double p = (double)fh_log_prob_unpack(base, i + j);
            const double term = fh_math_exp(p) * (p - fh_log_prob_at(norm, x[i + j]));
            lane[j] += p > -(double)FH_LOG_PROB_DEPTH ? term : 0;
            if (code > top) {
                top = code;
                *best = (uint32_t)(i + j);
            }
        }
    }
    return sum_of(lane);
}
