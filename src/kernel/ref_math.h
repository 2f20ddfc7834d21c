/* kernel/ref_math.h - exp and its kin, the same bits on every machine.
 * SPDX-License-Identifier: Apache-2.0
 * The C library's differ by version and CPU; these are a fixed sequence of double operations without contraction.
 * Relative error below 1e-11, so a result rounded to f32 is the nearest one but for about one in ten thousand.
 * The inline ones have no branches: loops over them can be vectorized without changing a bit. */
#ifndef FH_KERNEL_REF_MATH_H
#define FH_KERNEL_REF_MATH_H

#include <stdint.h>
#include <string.h>

/* e^x: x = n ln 2 + r with |r| <= ln 2 / 2; 2^n by its bits, e^r by its series. Past +-700 it stays there, which f32
 * shows as infinity and 0. NaN stays NaN. */
static inline double fh_math_exp(double x) {
    const double magic = 0x1.8p52; /* adding it leaves the nearest whole number in the low bits */
    double y = x < -700.0 ? -700.0 : x;
    y = y > 700.0 ? 700.0 : y;
    double z = y * 0x1.71547652b82fep0 + magic;
    double n = z - magic;
    double r = y - n * 0x1.62e42fefa2000p-1;
    r = r - n * 0x1.9ef35793c7673p-41;
    double p = 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    uint64_t bits;
    double power;
    memcpy(&bits, &z, sizeof bits);
    bits = (bits << 52) + UINT64_C(0x3ff0000000000000);
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static inline double fh_math_sigmoid(double x) { return 1.0 / (1.0 + fh_math_exp(-x)); }

static inline double fh_math_tanh(double x) {
    double q = x * x; /* near 0 the difference below would cancel */
    double small = x * (1.0 + q * (-1.0 / 3.0 + q * (2.0 / 15.0 + q * (-17.0 / 315.0))));
    double large = 1.0 - 2.0 / (fh_math_exp(2.0 * x) + 1.0);
    return q < 0.0025 ? small : large;
}

double fh_math_erf(double x);   /* absolute error below 1e-12 */
double fh_math_log(double x);   /* x > 0 and normal */
double fh_math_log1p(double x); /* x >= 0 */
/* For |x| up to 1e9. */
void fh_math_sin_cos(double x, double *sin, double *cos);

#endif
