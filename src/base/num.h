/* base/num.h - arithmetic on numbers that a file or a peer supplied.
 * SPDX-License-Identifier: Apache-2.0
 * Each function returns true and sets *out when the result fits, false (and *out untouched) otherwise. */
#ifndef FH_BASE_NUM_H
#define FH_BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define FH_NUM_CHECKED(name, type, builtin) \
    FH_MUST_USE static inline bool name(type a, type b, type *out) { \
        type r; \
        if (builtin(a, b, &r)) return false; \
        *out = r; \
        return true; \
    }
FH_NUM_CHECKED(fh_add_u64, uint64_t, __builtin_add_overflow)
FH_NUM_CHECKED(fh_mul_u64, uint64_t, __builtin_mul_overflow)
FH_NUM_CHECKED(fh_sub_u64, uint64_t, __builtin_sub_overflow)
FH_NUM_CHECKED(fh_add_size, size_t, __builtin_add_overflow)
FH_NUM_CHECKED(fh_mul_size, size_t, __builtin_mul_overflow)
#undef FH_NUM_CHECKED

static inline bool fh_is_pow2(uint64_t x) { return x != 0 && (x & (x - 1)) == 0; }
/* Round x up to a multiple of align, a power of two. */
FH_MUST_USE static inline bool fh_align_up(uint64_t x, uint64_t align, uint64_t *out) {
    uint64_t y;
    if (!fh_add_u64(x, align - 1, &y)) return false;
    *out = y & ~(align - 1);
    return true;
}
static inline uint64_t fh_ceil_div(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }
#define FH_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FH_MAX(a, b) ((a) > (b) ? (a) : (b))
#define FH_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
