/* kernel/iq_tables.h - codebooks of the i-quant formats (private to src/kernel).
 * SPDX-License-Identifier: Apache-2.0
 * A word holds level numbers, first value in the lowest bits; the level functions below turn a
 * whole word into one value per byte without a table, so that 9 KB of books stay in the
 * first-level cache.
 *   fh_iq2_*_book  8 values of 2 bits: levels 0 1 2 stand for 8 25 43
 *   fh_iq1_book    8 values of 2 bits: levels 0 1 2 stand for -1 0 1 (IQ1_S and IQ1_M)
 *   fh_iq3_xxs     4 values of 3 bits: 4 12 20 28 36 44 52 62
 *   fh_iq3_s       4 values of 3 bits: 1 3 5 7 9 11 13 15 */
#ifndef FH_KERNEL_IQ_TABLES_H
#define FH_KERNEL_IQ_TABLES_H

#include <stdint.h>

extern const uint16_t fh_iq2_xxs_book[256];
extern const uint16_t fh_iq2_xs_book[512];
extern const uint16_t fh_iq2_s_book[1024];
extern const uint16_t fh_iq1_book[2048];
extern const uint16_t fh_iq3_xxs_book[256];
extern const uint16_t fh_iq3_s_book[512];

/* Signs come seven to a group of eight; the eighth makes the number of minus signs even. Bit set =
 * minus. */
static inline unsigned fh_iq_signs(unsigned seven) { return seven | ((unsigned)__builtin_parity(seven) << 7); }

/* The eight 2-bit levels of w, one per byte. */
static inline uint64_t fh_iq_spread2(uint16_t w) {
    uint64_t x = ((uint64_t)w | ((uint64_t)w << 24)) & 0x000000ff000000ffu;
    x = (x | (x << 12)) & 0x000f000f000f000fu;
    return (x | (x << 6)) & 0x0303030303030303u;
}

/* 8 + 17 l, and one more for level 2: no byte carries into the next. */
static inline uint64_t fh_iq2_levels(uint16_t w) {
    uint64_t l = fh_iq_spread2(w);
    return 0x0808080808080808u + 17 * l + ((l >> 1) & 0x0101010101010101u);
}

/* The four 3-bit levels of w, one per byte. */
static inline uint32_t fh_iq_spread3(uint16_t w) {
    uint32_t x = (w & 0x003fu) | ((w & 0x0fc0u) << 10);
    return (x & 0x00070007u) | ((x & 0x00380038u) << 5);
}

/* 4 + 8 l, and two more for level 7. */
static inline uint32_t fh_iq3_xxs_levels(uint16_t w) {
    uint32_t l = fh_iq_spread3(w);
    return 0x04040404u + 8 * l + 2 * (l & (l >> 1) & (l >> 2) & 0x01010101u);
}

static inline uint32_t fh_iq3_s_levels(uint16_t w) { return 0x01010101u + 2 * fh_iq_spread3(w); }

#endif
