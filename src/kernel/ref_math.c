/* kernel/ref_math.c - functions with branches or long series: erf, log, sine and cosine.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Only +, -, *, / on doubles, each on its own: the bits do not depend on compiler or machine. */
#include "kernel/ref_math.h"

#include <stdbool.h>

/* erfc(x) = exp(-x^2) R(u) for 0 <= x <= 6, u = (1 / (1 + x / 2) - 5/8) / (3/8): R is smooth there, and these are the
 * first 15 Chebyshev terms of it, written as powers (error 5e-13). */
static const double ERFC[15] = {
    0.378537416929175844,      0.422187583606518513,    0.169407590962752103,    0.0329934297368944802,
    -0.00167024458014228176,   -0.00166536716797645384, 0.000133585695594982055, 0.000100555259157001017,
    -0.0000227058857475096549, -4.30383194561785326e-6, 2.85075310906863749e-6,  -2.39462863138659567e-7,
    -2.14065659147149651e-7,   5.79604026042604539e-8,  4.09112683140732496e-9,
};

double fh_math_erf(double x) {
    double a = x < 0 ? -x : x, r;
    if (a < 0.5) { /* the series: relative accuracy near 0 */
        double q = a * a, term = a, sum = a;
        for (int n = 1; n < 12; n++) {
            term = term * -q / n;
            sum = sum + term / (2 * n + 1);
        }
        r = sum * 1.1283791670955125739;
    } else if (a < 6) {
        double u = (1.0 / (1.0 + a * 0.5) - 0.625) / 0.375, p = ERFC[14];
        for (int i = 13; i >= 0; i--) p = p * u + ERFC[i];
        r = 1.0 - fh_math_exp(-a * a) * p;
    } else {
        r = a != a ? a : 1.0;
    }
    return x < 0 ? -r : r;
}

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh((m - 1) / (m + 1)). */
double fh_math_log(double x) {
    uint64_t bits;
    double m;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52) - 1023;
    bits = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x3ff0000000000000);
    memcpy(&m, &bits, sizeof m);
    if (m > 1.41421356237309515) {
        m = m * 0.5;
        e++;
    }
    double s = (m - 1.0) / (m + 1.0), q = s * s, p = 0;
    for (int n = 21; n >= 1; n -= 2) p = p * q + 1.0 / n;
    return 2.0 * s * p + e * 0.69314718055994530942;
}

double fh_math_log1p(double x) {
    if (x < 1e-4) return x * (1.0 - x * (0.5 - x * (1.0 / 3.0)));
    return fh_math_log(1.0 + x);
}

/* |r| <= pi / 4 */
static double sin_of(double r) {
    double q = r * r, p = -1.0 / 1307674368000.0;
    p = p * q + 1.0 / 6227020800.0;
    p = p * q - 1.0 / 39916800.0;
    p = p * q + 1.0 / 362880.0;
    p = p * q - 1.0 / 5040.0;
    p = p * q + 1.0 / 120.0;
    p = p * q - 1.0 / 6.0;
    return r + r * q * p;
}

static double cos_of(double r) {
    double q = r * r, p = 1.0 / 20922789888000.0;
    p = p * q - 1.0 / 87178291200.0;
    p = p * q + 1.0 / 479001600.0;
    p = p * q - 1.0 / 3628800.0;
    p = p * q + 1.0 / 40320.0;
    p = p * q - 1.0 / 720.0;
    p = p * q + 1.0 / 24.0;
    p = p * q - 0.5;
    return 1.0 + q * p;
}

void fh_math_sin_cos(double x, double *sin, double *cos) {
    const double magic = 0x1.8p52;
    double n = (x * 0.63661977236758134308 + magic) - magic; /* nearest multiple of pi / 2 */
    /* pi / 2 in three pieces; the first two have 30 bits, so n times them is exact below 2^23 turns */
    double r = x - n * 0x1.921fb54000000p0;
    r = r - n * 0x1.10b4611800000p-30;
    r = r - n * 0x1.313198a2e0370p-61;
    double s = sin_of(r), c = cos_of(r);
    int64_t k = (int64_t)n & 3;
    bool swap = (k & 1) != 0;
    double a = swap ? c : s, b = swap ? s : c;
    *sin = (k & 2) != 0 ? -a : a;
    *cos = k == 1 || k == 2 ? -b : b;
}
