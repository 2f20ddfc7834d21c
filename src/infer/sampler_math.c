/* infer/sampler_math.c - log and sums of exp whose bits do not depend on the machine's C library; heaps of candidates.
 * SPDX-License-Identifier: Apache-2.0
 * Only additions, multiplications and divisions of IEEE doubles, which are correctly rounded everywhere; the build
 * forbids contraction to fused operations. Series are long enough for a double. */
#include <float.h>
#include <math.h>

#include "infer/sampler_part.h"

_Static_assert(FLT_EVAL_METHOD == 0, "doubles are computed as doubles");

double fh_sampler_log(double x) {
    uint64_t bits;
    int64_t e = 0;
    if (!(x > 0)) return -HUGE_VAL;
    if (x > DBL_MAX) return HUGE_VAL;
    if (x < DBL_MIN) x *= 0x1p54, e = -54;
    memcpy(&bits, &x, sizeof bits);
    e += (int64_t)(bits >> 52) - 1023;
    bits = (bits & (((uint64_t)1 << 52) - 1)) | (uint64_t)1023 << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) m *= 0.5, e++;
    /* ln m = 2 (f + f^3 / 3 + f^5 / 5 + ...), |f| <= 0.1716 */
    double f = (m - 1) / (m + 1), s = f * f, tail = 0;
    for (int i = 23; i >= 3; i -= 2) tail = tail * s + 1.0 / i;
    double k = (double)e;
    return k * FH_LN2_HIGH + (k * FH_LN2_LOW + 2 * (f + f * s * tail));
}

/* Four sums side by side: so many additions are under way at once, and their order is the same everywhere. */
double fh_sampler_sum_exp(const float *row, size_t n, double max) {
    double sum[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; k++) sum[k] += fh_sampler_exp((double)row[i + k] - max);
    for (; i < n; i++) sum[0] += fh_sampler_exp((double)row[i] - max);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* ---- heaps ---- */

static inline bool is_better(const fh_candidate *a, const fh_candidate *b) {
    return a->value > b->value || (a->value >= b->value && a->id < b->id);
}

static inline bool comes_first(fh_heap h, const fh_candidate *a, const fh_candidate *b) {
    if (h.root == FH_HEAP_BEST) return is_better(a, b);
    if (h.root == FH_HEAP_WORST) return is_better(b, a);
    double da = fabs(a->value - h.centre), db = fabs(b->value - h.centre);
    return da < db || (da <= db && is_better(a, b));
}

void fh_heap_sink(fh_heap h, fh_candidate *v, size_t n, size_t i) {
    fh_candidate x = v[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && comes_first(h, &v[child + 1], &v[child])) child++;
        if (!comes_first(h, &v[child], &x)) break;
        v[i] = v[child];
        i = child;
    }
    v[i] = x;
}

void fh_heap_make(fh_heap h, fh_candidate *v, size_t n) {
    for (size_t i = n / 2; i-- > 0;) fh_heap_sink(h, v, n, i);
}

void fh_heap_pop(fh_heap h, fh_candidate *v, size_t n) {
    fh_candidate first = v[0];
    v[0] = v[n - 1];
    fh_heap_sink(h, v, n - 1, 0);
    v[n - 1] = first;
}
