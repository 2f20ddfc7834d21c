/* kernel/attend.h - fast attention of some queries over blocks of keys that lie in state.
 * SPDX-License-Identifier: Apache-2.0
 * A tile is queries that go together over the same keys: tokens, and heads that share a key head. Its caller gives it
 * memory, hands over one block of keys after the other and reads out what was summed. The slow truth is
 * kernel/ref_op.h. What a query gets depends on its own blocks and on the kernel, not on its neighbours in the tile.
 * Scores are kept in units of log2 e, so that 2^x takes the place of e^x. */
#ifndef FH_KERNEL_ATTEND_H
#define FH_KERNEL_ATTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "tensor/dtype.h"

#define FH_ATTEND_KEYS 64     /* of a block, at most */
#define FH_ATTEND_LANES 16    /* a query's sum is kept in so many parts */
#define FH_ATTEND_FEW 8       /* queries at most, for kernels that take keys as rows */
#define FH_ATTEND_NONE -1e30f /* the maximum of a query that has seen nothing */

typedef struct fh_attend_shape {
    uint32_t k_width, v_width;
    fh_dtype k_type, v_type; /* F32, F16, BF16, Q8_0 */
    float scale, softcap;    /* as fh_attend_args */
} fh_attend_shape;

typedef struct fh_attend_tile {
    const fh_attend_shape *shape;
    uint32_t n;            /* queries */
    const float *const *q; /* [n] rows of k_width */
    float *max;            /* [n] */
    float *sum;            /* [n, FH_ATTEND_LANES] */
    float *acc;            /* [n, ld], ld = fh_attend_ld(v_width) */
    void *room;            /* the kernel's own, aligned to 64 */
} fh_attend_tile;

typedef struct fh_attend_block {
    uint32_t n;                                   /* keys */
    const uint8_t *const *k, *const *v;           /* [n] stored rows */
    const uint8_t *const *next_k, *const *next_v; /* [FH_ATTEND_KEYS] rows that come next, or NULL: to be fetched */
    const uint8_t *from, *to;                     /* [tile n]: which of them a query sees; NULL: all */
    const float *bias;                            /* [tile n, FH_ATTEND_KEYS], or NULL */
} fh_attend_block;

typedef struct fh_attend_kernel {
    const char *name;
    fh_cpu_level level;
    bool few;   /* at most FH_ATTEND_FEW queries; widths are multiples of 32 */
    bool exact; /* products in f32; else in bf16 pairs */
    bool (*fits)(const fh_attend_shape *s);
    size_t (*room)(const fh_attend_shape *s, uint32_t n); /* bytes */
    void (*begin)(fh_attend_tile *t);                     /* nothing seen yet */
    void (*block)(fh_attend_tile *t, const fh_attend_block *b);
} fh_attend_kernel;

/* The best that this CPU has for the shape; few: for that few queries; careful: products in f32. NULL: none. */
const fh_attend_kernel *fh_attend_choose(const fh_attend_shape *s, bool few, bool careful);
/* All that were compiled, for tests and benchmarks. */
const fh_attend_kernel *const *fh_attend_list(size_t *n);

static inline size_t fh_attend_ld(uint32_t v_width) { return ((size_t)v_width + 15) & ~(size_t)15; }

/* What query i saw elsewhere (from), added to what it saw here. */
void fh_attend_merge(float *max, float *sum, float *acc, float from_max, const float *from_sum, const float *from_acc,
                     size_t v_width);
/* out = acc / sum; zeros where nothing was seen. sink: NULL, or a score whose value is zero. */
void fh_attend_finish(float max, const float *sum, const float *acc, const float *sink, float *out, size_t v_width);

extern const fh_attend_kernel fh_attend_avx2, fh_attend_few_avx2, fh_attend_avx512, fh_attend_few_avx512,
    fh_attend_bf16, fh_attend_amx, fh_attend_neon, fh_attend_few_neon;

#endif
