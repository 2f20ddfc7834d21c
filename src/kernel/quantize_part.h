/* kernel/quantize_part.h - what the quantizers share (private to src/kernel).
 * SPDX-License-Identifier: Apache-2.0
 * The expensive part of every good quantizer is a search for the scale of a small group of numbers (16 or 32). The
 * searches have long chains of sums whose order decides the bits, so one group cannot be vectorized; but groups do not
 * depend on each other. A search therefore takes many groups at once, one per vector lane. It is compiled once per
 * instruction set (quantize_fit_body.h); everything else is portable and compiled once. */
#ifndef FH_KERNEL_QUANTIZE_PART_H
#define FH_KERNEL_QUANTIZE_PART_H

#include <math.h>
#include <string.h>

#include "kernel/convert.h"
#include "kernel/quantize.h"

/* Builds that zero all locals would spend a tenth of the time on arrays that are about to be filled. */
#define FH_FILLED_LATER __attribute__((uninitialized))

enum { FH_SUPER = 256, FH_CHUNK_SUPERS = 8, FH_CHUNK = FH_SUPER * FH_CHUNK_SUPERS, FH_CHUNK_GROUPS = FH_CHUNK / 16 };

/* How much an error counts, for each number x of a group. */
typedef enum fh_fit_weight {
    FH_FIT_ABS,        /* |x| */
    FH_FIT_RMS_ABS,    /* rms of the group + |x| */
    FH_FIT_SQUARE,     /* x x */
    FH_FIT_GIVEN,      /* weight */
    FH_FIT_IMPORTANCE, /* weight sqrt(energy + x x) */
    FH_FIT_ENERGY      /* energy / 4 + x x */
} fh_fit_weight;

/* n_group groups of `group` numbers, one after the other. */
typedef struct fh_fit_in {
    const float *x, *weight; /* [n_group * group]; weight NULL where the kind does not ask for it */
    const float *energy;     /* [n_group]; for IMPORTANCE and ENERGY */
    size_t n_group;
    int group; /* 16 or 32 */
    fh_fit_weight kind;
} fh_fit_in;

/* x ~ scale * code + low, codes 0 .. top, low <= 0: start from the extremes, then try steps + 1 grids of
 * top + first + k * step codes between them, each improved by least squares. */
typedef struct fh_affine {
    fh_fit_in in;
    int top, steps;
    float first, step;
    bool absolute;              /* compare sums of |error|, not of squares */
    float *scale, *depth;       /* [n_group] depth = -low */
    float *grid_scale, *grid_0; /* [n_group] code = round(grid_scale * (x - grid_0)) on the winning grid */
    float *sum_weight;          /* [n_group], or NULL */
} fh_affine;

/* x ~ scale * code, codes -half .. half - 1; grids of half + k / 10 codes up to the number of largest size, k -9 .. 9.
 * grid_scale 0: all numbers are zero; such groups have the code byte 0, all others code + half. */
typedef struct fh_symmetric {
    fh_fit_in in;
    int half;
    float *scale, *grid_scale, *sum_weight; /* [n_group]; sum_weight may be NULL */
} fh_symmetric;

/* x ~ scale * one of the 16 values of IQ4_NL. */
typedef struct fh_nonlinear {
    fh_fit_in in;
    float *scale; /* [n_group] */
} fh_nonlinear;

/* The trials of one group for a codebook: grid t has the levels l = round((id[t] * x - 1) / 2), 0 .. top, which stand
 * for 2 l + 1. Trials lie side by side: level[i * FH_TRIALS + t]. */
enum { FH_TRIALS = 32 };
typedef struct fh_trials {
    const float *x; /* [n] */
    const float *id;
    size_t n, n_trial; /* n 16 or 32 */
    int top, dim, base;
    float *level;   /* [n][FH_TRIALS] */
    int32_t *point; /* [n / dim][FH_TRIALS]: sum of level * base^k */
} fh_trials;

/* Sums over a group for all trials: sum_qx = sum w x q, sum_q2 = sum w q q, q = 2 l + 1. */
typedef struct fh_trial_sums {
    const float *x, *weight, *level;
    size_t n, n_trial;
    float *sum_qx, *sum_q2; /* [FH_TRIALS] */
} fh_trial_sums;

/* Which of n codebook words (bits per level; a level l stands for a l + b) is the nearest to x: the first of those with
 * the smallest sum of weight (scale q - x)^2. */
typedef struct fh_nearest {
    const uint16_t *word; /* [n], readable up to a multiple of 16 */
    size_t n;
    int dim, bits;
    float a, b, scale;
    const float *x, *weight; /* [dim] */
} fh_nearest;

/* Sorted numbers are cut in three parts, below i1, between, from i2 on, which become -1 0 1 (+ or - an eighth). The
 * best cut has the largest (sum w x q)^2 / sum w q q, the first of equals. With two halves each has a direction. */
enum { FH_CUT_ROOM = 33 + 16 };
typedef struct fh_cuts {
    float sum_wx[2][FH_CUT_ROOM], sum_w[2][FH_CUT_ROOM]; /* [half][n + 1] over the first numbers; any floats behind */
    size_t n, n_half;
    const float (*value)[3]; /* up, down */
} fh_cuts;
typedef struct fh_cut {
    float score, scale;
    int i1, i2, direction; /* 0 up, 1 down; of two halves 2 first + second */
} fh_cut;

typedef struct fh_fits {
    void (*affine)(const fh_affine *f);
    void (*symmetric)(const fh_symmetric *f);
    void (*nonlinear)(const fh_nonlinear *f);
    /* codes of n numbers (a multiple of 16) by the 16 values, for the scale 1 / id */
    void (*nonlinear_codes)(const float *x, size_t n, float id, uint8_t *code);
    void (*trials)(const fh_trials *f);
    void (*trial_sums)(const fh_trial_sums *f);
    size_t (*nearest)(const fh_nearest *f);
    void (*cuts)(const fh_cuts *f, fh_cut *best); /* best: the one to beat */
    /* code[i] = round((x[i] + add) / d), 0 .. top after adding `half` (then -half .. top - half) */
    void (*divide_codes)(const float *x, size_t n, float add, float d, int half, int top, uint8_t *code);
} fh_fits;

extern const fh_fits fh_fits_base, fh_fits_avx2, fh_fits_avx512;

/* One row of n numbers. */
typedef void fh_quantize_row(const fh_fits *fits, const float *x, uint8_t *y, size_t n, const float *weight);

fh_quantize_row fh_quantize_row_q4_0, fh_quantize_row_q4_1, fh_quantize_row_q5_0, fh_quantize_row_q5_1,
    fh_quantize_row_q1_0, fh_quantize_row_q2_0, fh_quantize_row_tq1_0, fh_quantize_row_tq2_0, fh_quantize_row_mxfp4,
    fh_quantize_row_nvfp4, fh_quantize_row_iq4_nl, fh_quantize_row_iq4_xs;
fh_quantize_row fh_quantize_row_q2_k, fh_quantize_row_q3_k, fh_quantize_row_q4_k, fh_quantize_row_q5_k,
    fh_quantize_row_q6_k;
fh_quantize_row fh_quantize_row_iq1_s, fh_quantize_row_iq1_m, fh_quantize_row_iq2_xxs, fh_quantize_row_iq2_xs,
    fh_quantize_row_iq2_s, fh_quantize_row_iq3_xxs, fh_quantize_row_iq3_s;

/* To the nearest integer, ties to even; |x| < 2^22. Beyond that some integer, the same everywhere. */
static inline int fh_round_near(float x) { return (int)(fh_f32_bits(x + 12582912.0f) & 0x007fffffu) - 0x00400000; }
static inline int fh_clamp_int(int v, int lo, int hi) { return v < lo ? lo : v > hi ? hi : v; }
static inline void fh_store_u16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void fh_store_u32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
/* A scale as it will be read back. */
static inline float fh_store_f16(uint8_t *p, float v) {
    const uint16_t h = fh_narrow_f16(v);
    fh_store_u16(p, h);
    return fh_widen_f16(h);
}

/* out[b] = sum of squares of block b, each in the order of its numbers. */
void fh_block_energy(const float *x, size_t n_block, size_t block, float *out);
/* x ~ scale * code with x >= 0, codes 0 .. top, n <= 32: nine grids, then single codes while that helps. */
float fh_fit_positive(size_t n, int top, const float *x, const float *weight, uint8_t *code);
/* Codes of a group on the grid that an affine or symmetric fit found. */
void fh_affine_codes(const float *x, size_t n, float grid_scale, float grid_0, int top, uint8_t *code);
void fh_symmetric_codes(const float *x, size_t n, float grid_scale, int half, uint8_t *code);

#endif
