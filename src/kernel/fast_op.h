/* kernel/fast_op.h - what the fast mode does between products, a row at a time; the slow truth is kernel/ref_op.h.
 * SPDX-License-Identifier: Apache-2.0
 * f32 with vectors of the CPU's level: relative errors of about 1e-6, bits that depend on the level, never on where a
 * row was cut. y may be x in all that take both. */
#ifndef FH_KERNEL_FAST_OP_H
#define FH_KERNEL_FAST_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "kernel/kinds.h"
#include "tensor/dtype.h"

typedef struct fh_fast_ops {
    const char *name;
    fh_cpu_level level;
    /* As fh_ref_norm, fh_ref_map, fh_ref_glu, fh_ref_rope. */
    void (*norm)(fh_norm_kind kind, float eps, const float *x, const float *w, const float *b, float *y, size_t n);
    void (*map)(fh_map_kind kind, float c, const float *x, float *y, size_t n);
    void (*glu)(fh_map_kind kind, float c, float limit, const float *g, bool one_gate, const float *u, float *y,
                size_t n);
    /* PAIRS and HALVES only. */
    void (*rope)(fh_rope_layout layout, bool inverse, const float *cos, const float *sin, float *x, size_t n_pair);
    /* y = a + scale b */
    void (*add)(const float *a, float scale, const float *b, float *y, size_t n);
    /* The bits of fh_encode. */
    void (*encode)(fh_dtype t, const float *x, uint8_t *dst, size_t n);
    /* Causal, depthwise, over 16 channels and n_token tokens: weight [taps, 16], seen [taps - 1, 16] the inputs before
     * the first, afterwards those before the next; bias may be NULL; then map. Rows are x_ld and y_ld apart. */
    void (*conv)(uint32_t taps, const float *weight, const float *bias, fh_map_kind map, const float *x, size_t x_ld,
                 float *y, size_t y_ld, size_t n_token, float *seen);
} fh_fast_ops;

#define FH_FAST_CONV_TAPS 8 /* of conv, at most */

const fh_fast_ops *fh_fast_ops_best(void);             /* for this CPU; NULL where there is nothing better */
const fh_fast_ops *const *fh_fast_ops_list(size_t *n); /* all that were compiled */

extern const fh_fast_ops fh_fast_ops_avx2, fh_fast_ops_avx512, fh_fast_ops_neon;

#endif
