/* kernel/product_i8_body.h - codes times int8 inputs, compiled once per instruction set of x86.
 * SPDX-License-Identifier: Apache-2.0
 * The includer defines I8_NAME, the vectors I8_INT and I8_FLOAT of I8_LANES, operations on them, I8_BIASED, and how
 * much fits the registers: I8_VECTORS of rows times I8_INPUTS. Without I8_DOT there is I8_PAIR, pairs of products in 16
 * bits, I8_ADD16, I8_FOLD to 32 bits and I8_ADD32.
 * Every element goes its own way through the blocks in order,
 * so how inputs and rows are tiled cannot be seen in a result:
 *   acc = scale * (input scale * sum) + acc, two fused operations, then acc = acc - min * (input sum), one
 * `begin` may be the round bits alone, where codes have no bias. */
#if defined(I8_NAME) /* nothing without an includer */
#include "kernel/product_part.h"

#if defined(__clang__)
#define I8_UNROLL _Pragma("unroll")
#else
#define I8_UNROLL _Pragma("GCC unroll 16")
#endif
#define I8_FENCE __asm__ volatile("" : : : "memory")
#define I8_INLINE static inline __attribute__((always_inline))

typedef struct i8_part { /* of one half, or of both where a register holds 16 rows */
    const uint8_t *code[I8_VECTORS];
    const float *scale[I8_VECTORS], *min[I8_VECTORS];
    float *acc;
    size_t acc_step; /* between the vectors */
} i8_part;

#if defined(I8_PAIR)
/* Sums of pairs in 16 bits, as many of them as fit: 8 * 2 * 16 * 127 = 32512, or 4 * 2 * 32 * 127. */
I8_INLINE void i8_pairs(const i8_part *p, const fh_i8_block *const *x, I8_INT (*sum)[I8_INPUTS], size_t b,
                        const size_t n_vec, const size_t n_in, const size_t quads, const size_t h, const size_t fit) {
    const size_t run = fit < quads ? fit : quads;
    I8_UNROLL for (size_t g0 = 0; g0 < quads; g0 += run) {
        I8_INT pairs[I8_VECTORS][I8_INPUTS];
        I8_UNROLL for (size_t g = g0; g < g0 + run; g++) {
            const size_t from = b * FH_BLOCK_CODES + (4 * h + g) * FH_QUAD_BYTES;
            I8_INT w[I8_VECTORS];
            I8_UNROLL for (size_t v = 0; v < n_vec; v++) w[v] = I8_LOAD(p->code[v] + from);
            I8_UNROLL for (size_t i = 0; i < n_in; i++) {
                int32_t q;
                memcpy(&q, x[i][b].q + 16 * h + 4 * g, 4);
                const I8_INT in = I8_SET(q);
                I8_UNROLL for (size_t v = 0; v < n_vec; v++) {
                    const I8_INT more = I8_PAIR(w[v], in);
                    pairs[v][i] = g == g0 ? more : I8_ADD16(pairs[v][i], more);
                }
            }
        }
        I8_UNROLL for (size_t i = 0; i < n_in; i++) {
            I8_UNROLL for (size_t v = 0; v < n_vec; v++) {
                sum[v][i] = I8_ADD32(g0 == 0 ? I8_SET(FH_ROUND_BITS) : sum[v][i], I8_FOLD(pairs[v][i]));
            }
        }
    }
}
#endif

/* The four quads of 16 columns (or eight of 32), then their scale. */
I8_INLINE void i8_block(const fh_dot_i8 *a, const i8_part *p, const fh_i8_block *const *x, I8_FLOAT (*acc)[I8_INPUTS],
                        size_t b, const size_t n_vec, const size_t n_in, const bool halves, const size_t h,
                        const size_t fit) {
    const size_t quads = halves ? 4 : 8, at = halves ? 2 * b + h : b;
    I8_INT sum[I8_VECTORS][I8_INPUTS];
#if defined(I8_PAIR)
    i8_pairs(p, x, sum, b, n_vec, n_in, quads, h, fit);
#else
    (void)fit;
    I8_UNROLL for (size_t i = 0; i < n_in; i++) {
        I8_UNROLL for (size_t v = 0; v < n_vec; v++) {
            sum[v][i] = I8_BIASED ? I8_SET(halves ? x[i][b].begin_half[h] : x[i][b].begin) : I8_SET(FH_ROUND_BITS);
        }
    }
    I8_UNROLL for (size_t g = 0; g < quads; g++) {
        const size_t from = b * FH_BLOCK_CODES + (4 * h + g) * FH_QUAD_BYTES;
        I8_INT w[I8_VECTORS];
        I8_UNROLL for (size_t v = 0; v < n_vec; v++) w[v] = I8_LOAD(p->code[v] + from);
        I8_UNROLL for (size_t i = 0; i < n_in; i++) {
            int32_t q;
            memcpy(&q, x[i][b].q + 16 * h + 4 * g, 4);
            const I8_INT in = I8_SET(q);
            I8_UNROLL for (size_t v = 0; v < n_vec; v++) sum[v][i] = I8_DOT(sum[v][i], w[v], in);
        }
    }
#endif
    I8_UNROLL for (size_t i = 0; i < n_in; i++) {
        const I8_FLOAT s = I8_SETF(x[i][b].scale), t = I8_SETF(x[i][b].shift);
        I8_UNROLL for (size_t v = 0; v < n_vec; v++) {
            acc[v][i] = I8_FMA(I8_FMA(I8_FLOAT_OF(sum[v][i]), s, t), I8_LOADF(p->scale[v] + 16 * at), acc[v][i]);
        }
        if (a->has_min) {
            const I8_FLOAT m = I8_SETF(halves ? x[i][b].sum_half[h] : x[i][b].sum);
            I8_UNROLL for (size_t v = 0; v < n_vec; v++) {
                acc[v][i] = I8_FNMA(I8_LOADF(p->min[v] + 16 * at), m, acc[v][i]);
            }
        }
    }
}

I8_INLINE void i8_tile(const fh_dot_i8 *a, const i8_part *p, size_t from, const size_t n_vec, const size_t n_in,
                       const bool halves, const size_t fit) {
    I8_FLOAT acc[I8_VECTORS][I8_INPUTS];
    const fh_i8_block *x[I8_INPUTS];
    I8_UNROLL for (size_t i = 0; i < n_in; i++) {
        x[i] = (const fh_i8_block *)a->x[from + i] + a->first_block;
        I8_UNROLL for (size_t v = 0; v < n_vec; v++) {
            acc[v][i] = I8_LOADF(p->acc + (from + i) * FH_PRODUCT_PANEL + v * p->acc_step);
        }
    }
    /* Inputs of the next tile are fetched meanwhile, if they lie at the distance of the first. */
    const size_t last = from + n_in < a->n ? from + n_in : from;
    const ptrdiff_t skip = (const fh_i8_block *)a->x[last] - (const fh_i8_block *)a->x[from];
    for (size_t b = 0; b < a->n_block; b++) {
        I8_UNROLL for (size_t i = 0; i < n_in; i++) I8_AHEAD(&x[i][b] + skip);
        i8_block(a, p, x, acc, b, n_vec, n_in, halves, 0, fit);
        if (halves) {
            I8_FENCE; /* or loads of the second half are moved up until registers run out */
            i8_block(a, p, x, acc, b, n_vec, n_in, halves, 1, fit);
        }
    }
    I8_UNROLL for (size_t i = 0; i < n_in; i++) {
        I8_UNROLL for (size_t v = 0; v < n_vec; v++) {
            I8_STOREF(p->acc + (from + i) * FH_PRODUCT_PANEL + v * p->acc_step, acc[v][i]);
        }
    }
}

#define I8_CASE(n) \
    case n: \
        if (halves) i8_tile(a, p, from, n_vec, n, true, fit); \
        else i8_tile(a, p, from, n_vec, n, false, fit); \
        break
I8_INLINE void i8_tiles(const fh_dot_i8 *a, const i8_part *p, const size_t n_vec, const size_t fit) {
    const bool halves = a->block == 16;
    const size_t n_tile = (a->n + I8_INPUTS - 1) / I8_INPUTS;
    size_t from = 0;
    for (size_t t = 0; t < n_tile; t++) { /* of nearly equal size */
        const size_t n = (a->n - from + n_tile - t - 1) / (n_tile - t);
        switch (n) {
#if I8_INPUTS >= 6
            I8_CASE(6);
            I8_CASE(5);
#endif
#if I8_INPUTS >= 4
            I8_CASE(4);
#endif
#if I8_INPUTS >= 3
            I8_CASE(3);
#endif
            I8_CASE(2);
            I8_CASE(1);
        default: FH_BUG("a tile of inputs");
        }
        from += n;
    }
}
#undef I8_CASE

void I8_NAME(const fh_dot_i8 *a) {
#if I8_LANES == 16
    const i8_part p = {.code = {a->code[0], a->code[1]},
                       .scale = {a->scale[0], a->scale[1]},
                       .min = {a->min[0], a->min[1]},
                       .acc = a->acc,
                       .acc_step = FH_HALF};
    if (a->n_half == 2) i8_tiles(a, &p, 2, 1);
    else i8_tiles(a, &p, 1, 1);
#else
    for (size_t h = 0; h < a->n_half; h++) {
        i8_part p = {.acc = a->acc + h * FH_HALF, .acc_step = I8_LANES};
        for (size_t v = 0; v < I8_VECTORS; v++) {
            p.code[v] = a->code[h] + v * I8_LANES * 4;
            p.scale[v] = a->scale[h] + v * I8_LANES;
            p.min[v] = a->min[h] + v * I8_LANES;
        }
#if defined(I8_PAIR)
        if (a->reach <= 16) i8_tiles(a, &p, I8_VECTORS, 8);
        else if (a->reach <= 32) i8_tiles(a, &p, I8_VECTORS, 4);
        else i8_tiles(a, &p, I8_VECTORS, 1);
#else
        i8_tiles(a, &p, I8_VECTORS, 1);
#endif
    }
#endif
}

#endif
