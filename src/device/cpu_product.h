/* device/cpu_product.h - one product under way: what the slow and the fast way to carry it out share.
 * SPDX-License-Identifier: Apache-2.0
 * An item is one row of the result; experts have lists of items, heads one matrix each. */
#ifndef FH_DEVICE_CPU_PRODUCT_H
#define FH_DEVICE_CPU_PRODUCT_H

#include "device/cpu_part.h"

typedef struct fh_cpu_product {
    const fh_op *o;
    const fh_matrix *m; /* the model's */
    fh_view in, out;
    uint64_t n_item;             /* rows of out */
    const float *packed;         /* in without gaps, its heads as they are summed; NULL where they lie so */
    uint32_t turn;               /* how: fh_matmul_args, or 0 */
    const int32_t *start, *list; /* experts: their items; else NULL */
    uint32_t per_input;          /* experts: items that share a row of in */
    const fh_op *sum;            /* fast mode: the sum that takes the result, or NULL */
    bool heads;
} fh_cpu_product;

/* All workers; false when there is nothing to do. Inputs with gaps are copied together here, and in exact mode
 * those that are turned. */
bool fh_cpu_product_begin(fh_exec *x, const fh_op *o, fh_cpu_product *out, fh_cpu_worker *w);
const float *fh_cpu_product_x(const fh_exec *x, const fh_cpu_product *p, uint64_t item, uint32_t mat);
float *fh_cpu_product_y(const fh_exec *x, const fh_cpu_product *p, uint64_t item, uint32_t mat);
/* Element r of a result, from W x: bias and row scales of adapters. */
float fh_cpu_product_finish(const fh_cpu_product *p, const fh_cpu_entry *e, uint32_t mat, uint64_t r, float wx);
/* Rows [r0, r1) of matrix mat for the items whose adapters have another matrix in its place. */
void fh_cpu_product_instead(fh_exec *x, const fh_cpu_product *p, uint32_t mat, uint64_t r0, uint64_t r1,
                            fh_cpu_worker *w);
typedef void fh_cpu_rows_fn(fh_exec *x, const fh_cpu_product *p, uint32_t mat, uint64_t r0, uint64_t r1,
                            fh_cpu_worker *w);
/* This worker's blocks of rows of every matrix that has items. */
void fh_cpu_product_share(fh_exec *x, const fh_cpu_product *p, uint64_t block, fh_cpu_rows_fn *fn, fh_cpu_worker *w);
/* B (A x) of the sequences' adapters on top; all workers, has barriers of its own. */
void fh_cpu_product_adapters(fh_exec *x, const fh_cpu_product *p, fh_cpu_worker *w);

/* Is its input copied together first: gaps, or in exact mode heads that are turned? */
static inline bool fh_cpu_product_packs(const fh_op *o, bool exact) {
    if (o->kind == FH_OP_MATMUL_HEADS) return false;
    return !fh_view_is_dense(o->in[0]) || (exact && o->kind == FH_OP_MATMUL && o->u.matmul.turn != 0);
}

/* To who looks (fh_exec_watch_fn): each worker has columns of all rows. Once a product, when its inputs are whole. */
void fh_cpu_product_show_inputs(const fh_exec *x, const fh_cpu_product *p, const fh_cpu_worker *w);
static inline void fh_cpu_product_show(const fh_exec *x, const fh_cpu_product *p, const fh_cpu_worker *w) {
    if (x->watch != NULL) fh_cpu_product_show_inputs(x, p, w);
}

/* Where element r of a result lies behind its item's first. */
static inline size_t fh_cpu_product_column(const fh_cpu_product *p, uint64_t r) {
    if (p->heads || p->out.heads == 1) return (size_t)r;
    return (size_t)(r / p->out.width * p->out.stride + r % p->out.width);
}
static inline uint64_t fh_cpu_product_items(const fh_cpu_product *p, uint32_t mat) {
    return p->start != NULL ? (uint64_t)(p->start[mat + 1] - p->start[mat]) : p->n_item;
}
static inline uint64_t fh_cpu_product_item(const fh_cpu_product *p, uint32_t mat, uint64_t i) {
    return p->start != NULL ? (uint64_t)p->list[(uint64_t)p->start[mat] + i] : i;
}

#endif
