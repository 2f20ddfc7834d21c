/* kernel/ref_op_dot.h - the few loops that most of the time goes into: dot products and weighted sums of rows.
 * SPDX-License-Identifier: Apache-2.0
 * Every variant gives the same bits: element i of a dot product is added to partial sum i % 16, in order; the sixteen
 * are added as a tree (8, 4, 2, 1 apart); multiplication and addition are two roundings. So neither the CPU nor how
 * many rows are taken at once can be seen in a result. Rows may lie at any alignment of f32. */
#ifndef FH_KERNEL_REF_OP_DOT_H
#define FH_KERNEL_REF_OP_DOT_H

#include <stddef.h>

typedef struct fh_dot_table {
    /* out[j] = w . x[j], for j < n_x */
    void (*dots)(const float *w, const float *const *x, size_t n_x, size_t n, float *out);
    /* acc = c acc + sum over j of p[j] v[j], in that order; rows of v are ld apart */
    void (*mix)(float c, const float *p, const float *v, size_t ld, size_t n_row, float *acc, size_t n);
    /* y += a x */
    void (*axpy)(float a, const float *x, float *y, size_t n);
    /* One step of the delta rule over n columns of S, whose k_width rows are ld apart: graph/plan.h has the formula. */
    void (*delta)(float *s, size_t ld, size_t k_width, size_t n, const float *q, const float *k, const float *v,
                  float decay, float beta, float *out);
} fh_dot_table;

extern const fh_dot_table fh_dot_base, fh_dot_avx2, fh_dot_avx512; /* the x86 ones only there */

const fh_dot_table *fh_dot_best(void); /* for this CPU; chosen once */

#endif
