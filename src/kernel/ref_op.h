/* kernel/ref_op.h - the slow truth of every op: one row, one head, one block of keys at a time.
 * SPDX-License-Identifier: Apache-2.0
 * Plain parameters, no allocation, no failure: whoever calls has checked the shapes (graph/plan_check.c). Sums run in
 * one fixed order, functions come from kernel/ref_math.h: the same bits on every machine. y may be x in all that take
 * both. */
#ifndef FH_KERNEL_REF_OP_H
#define FH_KERNEL_REF_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/kinds.h"

/* x normalized, times w, plus b (either may be NULL). */
void fh_ref_norm(fh_norm_kind kind, float eps, const float *x, const float *w, const float *b, float *y, size_t n);

/* silu x s(x), s(x) = 1 / (1 + e^-x); gelu_tanh x s(2 sqrt(2/pi) (x + 0.044715 x^3)); gelu_erf
 * x (1 + erf(x / sqrt 2)) / 2; softplus log(1 + e^x), x itself above 20. */
void fh_ref_map(fh_map_kind kind, float c, const float *x, float *y, size_t n);

/* y = f(g) u; limit > 0 cuts g to at most limit and u to [-limit, limit] first. one_gate: g is a single number. */
void fh_ref_glu(fh_map_kind kind, float c, float limit, const float *g, bool one_gate, const float *u, float *y,
                size_t n);

/* Pairs (2i, 2i + 1) or (i, i + n_pair) of x turned by angles whose cosines and sines are given. tmp: [2 n_pair], for
 * SPLIT only. */
void fh_ref_rope(fh_rope_layout layout, bool inverse, const float *cos, const float *sin, float *x, size_t n_pair,
                 float *tmp);
/* The angle is the f32 product of position and frequency; its cosine and sine are rounded before magnitude. */
void fh_ref_rope_angles(uint32_t pos, const float *freq, float magnitude, size_t n_pair, float *cos, float *sin);

/* y = a softplus(x + b); b may be NULL */
void fh_ref_decay(const float *a, const float *b, const float *x, float *y, size_t n);

float fh_ref_exp(float x);

/* ---- attention ---- */
#define FH_REF_KEYS 64 /* rows of a block; blocks start at multiples of it */

/* What one head of one token has seen so far. */
typedef struct fh_ref_softmax {
    double sum;
    float max;
    bool any;
} fh_ref_softmax;

/* score [n]: q . k of the block's rows, used up. bias: added to the scores, or NULL. v: rows ld apart. acc: [v_width],
 * zero at first. */
void fh_ref_attend_block(fh_ref_softmax *s, float scale, float softcap, float *score, const float *bias, const float *v,
                         size_t ld, size_t n, float *acc, size_t v_width);
/* out = acc / sum; zeros where nothing was seen. sink: NULL, or a score whose value is zero. */
void fh_ref_attend_end(fh_ref_softmax *s, const float *sink, const float *acc, float *out, size_t v_width);

/* The bucket of the key at q + relative. */
uint32_t fh_ref_bucket(int64_t relative, bool bidirectional, uint32_t n_bucket, uint32_t max_distance);

/* First and last row that the query at q sees, of `rows` that there are; false: none. */
bool fh_ref_mask_range(fh_mask_kind mask, uint32_t window, uint64_t q, uint64_t rows, uint64_t *first, uint64_t *last);

/* ---- experts ---- */
typedef struct fh_ref_route_rule {
    fh_gate_kind gate;
    fh_group_rule group_rule;
    uint32_t n_expert, k, n_group, n_group_used;
    bool renorm;
    float scale;
} fh_ref_route_rule;
/* Ties go to the lower number. bias: for the choice only, or NULL. tmp: [2 n_expert + n_group]. */
void fh_ref_route(const fh_ref_route_rule *r, const float *x, const float *bias, float *tmp, int32_t *id,
                  float *weight);

#endif
