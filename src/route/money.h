/* route/money.h - decimal numbers without floating point: billionths in 64 bits, and cents.
 * SPDX-License-Identifier: Apache-2.0
 * A fixed number counts billionths (1.74 USD = 1740000000) and reaches to about 18.4 billion. Products and quotients
 * are exact in 128 bits and rounded once, half up; functions return false when the result does not fit (out
 * untouched). Rounding half up keeps order, which is what keeps costs monotone. */
#ifndef FH_ROUTE_MONEY_H
#define FH_ROUTE_MONEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define FH_FIXED_ONE UINT64_C(1000000000)

/* A JSON number, times 10^shift, to billionths; digits beyond are rounded half up. False: negative (but -0), not a
 * number, out of range. shift: -30 .. 30. */
FH_MUST_USE bool fh_fixed_parse(fh_str number, int shift, uint64_t *out);
/* a * b / divisor of any integers, half up; divisor > 0. */
FH_MUST_USE bool fh_round_ratio(uint64_t a, uint64_t b, uint64_t divisor, uint64_t *out);
FH_MUST_USE static inline bool fh_fixed_mul(uint64_t a, uint64_t b, uint64_t *out) {
    return fh_round_ratio(a, b, FH_FIXED_ONE, out);
}
/* Billionths of a dollar to cents, half up. */
uint64_t fh_cents_of(uint64_t fixed);

/* Text that needs no memory: fh_cents_text(x).z. Grouped: "20,000.00"; plain is what JSON takes. Fixed numbers show all
 * the digits that count and no more: "1.74", "730", "0.000000001". */
typedef struct fh_money_text {
    char z[40];
} fh_money_text;
fh_money_text fh_whole_text(uint64_t n); /* "1,005,747,126" */
fh_money_text fh_whole_plain(uint64_t n);
fh_money_text fh_cents_text(uint64_t cents);
fh_money_text fh_cents_plain(uint64_t cents);
fh_money_text fh_fixed_text(uint64_t fixed);
fh_money_text fh_fixed_plain(uint64_t fixed);

#endif
