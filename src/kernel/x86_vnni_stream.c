/* kernel/x86_vnni_stream.c - int8 products of a few inputs, straight from packed units, with VNNI on 512-bit registers.
 * SPDX-License-Identifier: Apache-2.0
 * With few inputs the weights come at the speed of memory, and writing them out expanded would cost more than using
 * them: each quad of codes is made in a register, meets all inputs and is forgotten. Codes stay as they are stored;
 * what the format takes from them (or what makes signed ones unsigned) goes into the number that a sum begins with, so
 * the integers are those of the expanded way, and what follows is done in its order: the same bits.
 * What a unit holds is told beside each kind in product_pack.c. */
#include <immintrin.h>

#include "kernel/product_part.h"

enum { AHEAD = 3072 }; /* bytes of the stream that are fetched before they are needed */

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INLINE __m512i bytes_of(int v) { return _mm512_set1_epi8((char)v); }
INLINE __m512i load(const uint8_t *src, size_t quad) { return _mm512_load_si512(src + quad * FH_QUAD_BYTES); }
INLINE __m512i low(__m512i q) { return _mm512_and_si512(q, bytes_of(15)); }
INLINE __m512i high(__m512i q) { return _mm512_and_si512(_mm512_srli_epi16(q, 4), bytes_of(15)); }
/* Bits `mask` of every byte, moved down by `by` (up, where that is negative), added to what has none there. They stay
 * in their byte, so that it does not matter that whole words are turned. */
INLINE __m512i with_bits(__m512i to, __m512i from, int by, int mask) {
    const __m512i moved = _mm512_rorv_epi32(from, _mm512_set1_epi32(by & 31));
    return _mm512_ternarylogic_epi32(to, moved, bytes_of(mask), 0xF8); /* to | (moved & mask) */
}
INLINE __m512 f16s(const uint8_t *src) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)src));
}
INLINE __m512 u8s(const uint8_t *src) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)src)));
}
INLINE __m512 i8s(const uint8_t *src) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)src)));
}

/* A unit under way: where its codes lie, and what its scales have in common. */
typedef struct unit {
    const uint8_t *at, *codes;
    __m512 d, m;
} unit;

/* Quad g of block `group + b`, as unsigned bytes. Groups are known when it runs; b, of which a kind says how many a
 * group has, and g when it is compiled. */
typedef __m512i quad_fn(const unit *u, size_t group, size_t b, size_t g);
/* Scale number k of the unit. */
typedef __m512 scale_fn(const unit *u, size_t k);

/* ---- codes ---- */
INLINE __m512i half_bytes(const unit *u, size_t group, size_t b, size_t g) {
    const __m512i q = load(u->codes, 4 * (group + b) + g % 4);
    return g < 4 ? low(q) : high(q);
}
INLINE __m512i five_bits(const unit *u, size_t group, size_t b, size_t g) {
    const __m512i q = load(u->codes, 5 * (group + b) + 1 + g % 4);
    return with_bits(g < 4 ? low(q) : high(q), load(u->codes, 5 * (group + b)), (int)g - 4, 16);
}
INLINE __m512i signed_bytes(const unit *u, size_t group, size_t b, size_t g) {
    return _mm512_xor_si512(load(u->codes, 8 * (group + b) + g), bytes_of(-128));
}
INLINE __m512i k_four(const unit *u, size_t group, size_t b, size_t g) {
    const __m512i q = load(u->codes, group * 4 + g);
    return b == 0 ? low(q) : high(q);
}
INLINE __m512i k_five(const unit *u, size_t group, size_t b, size_t g) {
    const __m512i q = load(u->codes, 8 + group * 4 + g);
    return with_bits(b == 0 ? low(q) : high(q), load(u->codes, g), (int)(group + b) - 4, 16);
}
INLINE __m512i k_six(const unit *u, size_t group, size_t b, size_t g) {
    const __m512i q = load(u->codes, group * 4 + b % 2 * 8 + g);
    return with_bits(b < 2 ? low(q) : high(q), load(u->codes, 32 + 2 * group + g), 2 * (int)b - 4, 48);
}

/* ---- scales ---- */
INLINE __m512 f16_scale(const unit *u, size_t k) { return f16s(u->at + 32 * k); }
INLINE __m512 pair_scale(const unit *u, size_t k) { return f16s(u->at + 64 * k); }
INLINE __m512 pair_min(const unit *u, size_t k) {
    return _mm512_xor_ps(f16s(u->at + 64 * k + 32), _mm512_set1_ps(-0.0f));
}
INLINE __m512 k_scale(const unit *u, size_t k) { return _mm512_mul_ps(u->d, u8s(u->at + 64 + 32 * k)); }
INLINE __m512 k_min(const unit *u, size_t k) { return _mm512_mul_ps(u->m, u8s(u->at + 80 + 32 * k)); }
INLINE __m512 i8_scale(const unit *u, size_t k) { return _mm512_mul_ps(u->d, i8s(u->at + 32 + 16 * k)); }

/* ---- the walk ---- */
/* What sums begin with: the round bits, less `less` times the sum of the input's codes; begin has 128 times. */
INLINE __m512i begin_of(const fh_i8_block *x, bool halves, size_t h, int less) {
    const int32_t begin = halves ? x->begin_half[h] : x->begin;
    if (less == 0) return _mm512_set1_epi32(FH_ROUND_BITS);
    if (less == 128) return _mm512_set1_epi32(begin);
    return _mm512_set1_epi32(FH_ROUND_BITS + (begin - FH_ROUND_BITS) / (128 / less));
}

/* What a kind is, all known when it is compiled. */
typedef struct kind {
    quad_fn *quad;
    scale_fn *scale, *min; /* min NULL: none */
    size_t group;          /* blocks */
    bool halves;           /* scales are of 16 columns */
    int less;              /* a number's code is so much above it */
} kind;

INLINE void block_of(const unit *u, size_t group, size_t at, size_t h, const fh_i8_block *const *x, __m512 *acc,
                     const size_t n, const kind k) {
    const size_t b = group + at, from = k.halves ? 4 * h : 0, to = k.halves ? from + 4 : 8;
    const size_t number = k.halves ? 2 * b + h : b;
    __m512i sum[FH_STREAM_INPUTS];
    UNROLL for (size_t i = 0; i < n; i++) sum[i] = begin_of(&x[i][b], k.halves, h, k.less);
    UNROLL for (size_t g = from; g < to; g++) {
        const __m512i w = k.quad(u, group, at, g);
        UNROLL for (size_t i = 0; i < n; i++) {
            int32_t q;
            memcpy(&q, x[i][b].q + 4 * g, 4);
            sum[i] = _mm512_dpbusd_epi32(sum[i], w, _mm512_set1_epi32(q));
        }
    }
    const __m512 s = k.scale(u, number), m = k.min != NULL ? k.min(u, number) : s;
    UNROLL for (size_t i = 0; i < n; i++) {
        const fh_i8_block *in = &x[i][b];
        const __m512 y =
            _mm512_fmadd_ps(_mm512_castsi512_ps(sum[i]), _mm512_set1_ps(in->scale), _mm512_set1_ps(in->shift));
        acc[i] = _mm512_fmadd_ps(y, s, acc[i]);
        if (k.min != NULL) acc[i] = _mm512_fnmadd_ps(m, _mm512_set1_ps(k.halves ? in->sum_half[h] : in->sum), acc[i]);
    }
}

INLINE void walk(const unit *u, size_t n_block, size_t bytes, const fh_i8_block *const *x, float *acc, const size_t n,
                 const kind k) {
    const size_t share = bytes / n_block;
    __m512 sum[FH_STREAM_INPUTS];
    UNROLL for (size_t i = 0; i < n; i++) sum[i] = _mm512_load_ps(acc + i * FH_PRODUCT_PANEL);
    for (size_t group = 0; group < n_block; group += k.group) {
        for (size_t p = 0; p < k.group * share; p += 64)
            _mm_prefetch((const char *)(u->at + group * share + p + AHEAD), _MM_HINT_T0);
        UNROLL for (size_t b = 0; b < k.group; b++) {
            block_of(u, group, b, 0, x, sum, n, k);
            if (k.halves) block_of(u, group, b, 1, x, sum, n, k);
        }
    }
    UNROLL for (size_t i = 0; i < n; i++) _mm512_store_ps(acc + i * FH_PRODUCT_PANEL, sum[i]);
}

/* Other numbers of inputs go in two parts: the unit is near then. */
#define KIND(name, codes_at, d_at, m_at, ...) \
    static void name(const uint8_t *at, size_t n_block, size_t bytes, const fh_i8_block *const *x, size_t n, \
                     float *acc) { \
        const unit u = {at, at + (codes_at), f16s(at + (d_at)), f16s(at + (m_at))}; \
        const kind k = {__VA_ARGS__}; \
        for (size_t part; n > 0; n -= part, x += part, acc += part * FH_PRODUCT_PANEL) { \
            part = n == 8 || n <= 4 ? n : 4; \
            switch (part) { \
            case 1: walk(&u, n_block, bytes, x, acc, 1, k); break; \
            case 2: walk(&u, n_block, bytes, x, acc, 2, k); break; \
            case 3: walk(&u, n_block, bytes, x, acc, 3, k); break; \
            case 4: walk(&u, n_block, bytes, x, acc, 4, k); break; \
            default: walk(&u, n_block, bytes, x, acc, 8, k); break; \
            } \
        } \
    }
#define PADDED(per_block) ((n_block * (per_block) + 63) / 64 * 64)
KIND(q4_0, PADDED(32), 0, 0, half_bytes, f16_scale, NULL, 1, false, 8)
KIND(q4_1, n_block * 64, 0, 0, half_bytes, pair_scale, pair_min, 1, false, 0)
KIND(q5_0, PADDED(32), 0, 0, five_bits, f16_scale, NULL, 1, false, 16)
KIND(q5_1, n_block * 64, 0, 0, five_bits, pair_scale, pair_min, 1, false, 0)
KIND(q8_0, PADDED(32), 0, 0, signed_bytes, f16_scale, NULL, 1, false, 128)
KIND(q4_k, 320, 0, 32, k_four, k_scale, k_min, 2, false, 0)
KIND(q5_k, 320, 0, 32, k_five, k_scale, k_min, 2, false, 0)
KIND(q6_k, 320, 0, 0, k_six, i8_scale, NULL, 4, true, 32)

fh_stream_fn *const fh_vnni_stream[FH_PANEL_COUNT] = {
    [FH_PANEL_Q4_0] = q4_0, [FH_PANEL_Q4_1] = q4_1, [FH_PANEL_Q5_0] = q5_0, [FH_PANEL_Q5_1] = q5_1,
    [FH_PANEL_Q8_0] = q8_0, [FH_PANEL_Q4_K] = q4_k, [FH_PANEL_Q5_K] = q5_k, [FH_PANEL_Q6_K] = q6_k};
