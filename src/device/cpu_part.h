/* device/cpu_part.h - the inner side of the CPU executor: what its files share.
 * SPDX-License-Identifier: Apache-2.0
 * cpu.c owns the memory and walks the ops; cpu_product.c, cpu_attend.c, cpu_row.c and cpu_state.c carry them out.
 * Every fh_cpu_run_* is called by all workers at once and does this worker's share; shares never overlap, and which
 * worker has which share cannot be seen in the results. Shapes were checked with the plan. */
#ifndef FH_DEVICE_CPU_PART_H
#define FH_DEVICE_CPU_PART_H

#include "device/exec.h"
#include "kernel/product.h"
#include "kernel/ref_op.h"
#include "kernel/ref_op_dot.h"

enum {
    FH_CPU_ENTRIES = 512,   /* rows of a product that share one pass over the weights */
    FH_CPU_PAIRS = 64,      /* tokens times heads that share decoded keys */
    FH_CPU_COLUMNS = 128,   /* of a transposed product at a time, */
    FH_CPU_ACROSS = 16,     /* for so many rows of input */
    FH_CPU_PIECE = 512,     /* columns of an elementwise op that are one unit of work */
    FH_CPU_CONV_PIECE = 16, /* channels at a time */
    FH_CPU_SMALL_TEAM = 4   /* workers */
};

/* One row of a product: where it comes from and goes to, and what its sequence adds. */
typedef struct fh_cpu_entry {
    const float *x;
    float *y;
    const float *bias;         /* or NULL */
    const float *plus;         /* a sum's other row, or NULL */
    const fh_adapted *adapted; /* or NULL */
} fh_cpu_entry;

/* A worker's own scratch. */
typedef struct fh_cpu_worker {
    int index, n;
    fh_cpu_entry *entry;     /* [FH_CPU_ENTRIES] */
    const float **x;         /* [FH_CPU_ENTRIES], also of keys */
    float *dot;              /* [FH_CPU_ENTRIES] */
    float *weights;          /* [weight_floats]: decoded rows */
    float *row;              /* a whole stored row, where a transposed or turned product needs one; columns */
    float *tile;             /* transposed: [FH_CPU_ACROSS, 16, FH_CPU_COLUMNS] */
    float *keys, *values;    /* [FH_REF_KEYS, k_width], [FH_REF_KEYS, v_width] */
    float *acc;              /* [FH_CPU_PAIRS, v_width] */
    fh_ref_softmax *softmax; /* [FH_CPU_PAIRS] */
    float *route;            /* [2 n_expert + n_group] */

    /* fast mode */
    float **y;                      /* [FH_CPU_ENTRIES] */
    void *product;                  /* a product's own scratch */
    float *gates;                   /* [gate_floats] */
    float *delta;                   /* [delta_floats] */
    fh_view form_of;                /* what the executor's form holds; value FH_NO_VALUE: nothing */
    fh_product_form form, form_now; /* of it; of the product under way */
} fh_cpu_worker;

typedef struct fh_cpu_sizes {
    uint64_t weight_floats, row_floats, tile_floats, key_floats, value_floats, acc_floats, route_floats;
    uint64_t pack_floats, low_floats, angle_floats, bucket_count;
    uint64_t form_bytes, product_bytes, gate_floats, delta_floats;
} fh_cpu_sizes;

typedef void fh_cpu_run_fn(fh_exec *x, const fh_op *o, fh_cpu_worker *w);
typedef struct fh_cpu_step fh_cpu_step; /* device/cpu_schedule.h */

struct fh_exec {
    const fh_plan *plan;
    fh_state_layout layout;
    fh_pool *pool;
    fh_extent ceiling;
    uint64_t bytes; /* of everything below that depends on the ceilings */

    uint64_t *offset; /* [n_value] in bytes */
    uint8_t *block;   /* what was allocated; everything lies in it */
    uint8_t *scratch; /* values */
    float *pack;      /* inputs of products whose views have gaps or are turned */
    float *low;       /* A x of adapters */
    uint64_t low_floats;
    const struct fh_prepared *prepared; /* fast mode, or NULL */
    uint8_t *form;                      /* inputs of products as these want them */
    bool careful;                       /* products keep f32 inputs rather than take bf16 */
    float **angle;                      /* [n_rope]: cosines [tokens, pairs], then sines */
    uint32_t **bucket;                  /* [n_op]: of distances -max to max, or NULL */
    fh_cpu_worker *worker;
    fh_cpu_step *step;  /* [n_step] */
    atomic_uint *claim; /* [n_op]: pieces of a product that were taken in this step */
    uint32_t n_step;

    uint32_t export_op[FH_EXPORT_COUNT], state_op; /* ops that are needed: a count */
    bool profile;
    uint64_t *ns;
    fh_exec_watch_fn *watch; /* or NULL */
    void *watch_ctx;

    /* the step */
    const fh_batch *batch;
    fh_extent extent;
    uint32_t n_run; /* ops to run; after the step, ops that were run */
    bool adapted;   /* some sequence has adapters */
};

/* ---- what lies where ---- */
static inline float *fh_cpu_value(const fh_exec *x, uint32_t value) {
    return (float *)(void *)(x->scratch + x->offset[value]);
}
/* First column of row i of a view. */
static inline float *fh_cpu_row(const fh_exec *x, const fh_view *v, uint64_t i) {
    return fh_cpu_value(x, v->value) + i * x->plan->value[v->value].width + v->col;
}
static inline int32_t *fh_cpu_ints(const fh_exec *x, const fh_view *v) {
    return (int32_t *)(void *)(x->scratch + x->offset[v->value]);
}
static inline uint64_t fh_cpu_rows(const fh_exec *x, const fh_view *v) {
    return fh_value_rows(&x->plan->value[v->value], &x->extent);
}
/* The sequence that row i of a value belongs to; NULL for values that belong to none. */
const fh_batch_seq *fh_cpu_seq_of(const fh_exec *x, uint32_t value, uint64_t i);
/* The op's vector k for that sequence, or NULL. */
const float *fh_cpu_vector(const fh_exec *x, const fh_op *o, int k, const fh_batch_seq *seq);
/* What the sequence's adapters do to the op's matrix, or NULL. */
const fh_adapted *fh_cpu_adapted(const fh_exec *x, const fh_op *o, const fh_batch_seq *seq);
static inline const fh_matrix *fh_cpu_matrix(const fh_exec *x, const fh_op *o, const fh_adapted *a) {
    return a != NULL && a->instead != NULL ? a->instead : &x->plan->matrix[o->matrix];
}

/* A worker's part of n units. */
static inline void fh_cpu_share(const fh_cpu_worker *w, uint64_t n, uint64_t *from, uint64_t *to) {
    *from = n * (uint64_t)w->index / (uint64_t)w->n;
    *to = n * ((uint64_t)w->index + 1) / (uint64_t)w->n;
}

/* Whether rows are shared out whole: a small team leaves a single row to one worker rather than meet for it. */
static inline bool fh_cpu_whole_rows(const fh_cpu_worker *w, uint64_t rows) {
    return rows >= (uint64_t)w->n || w->n <= FH_CPU_SMALL_TEAM;
}
/* A worker's part of rows of `per` units each. Row i is the same worker's in every op over as many rows, if rows are
 * shared out whole: such ops need not wait for each other (device/cpu_schedule.h). */
static inline void fh_cpu_share_rows(const fh_cpu_worker *w, uint64_t rows, uint64_t per, uint64_t *from,
                                     uint64_t *to) {
    if (!fh_cpu_whole_rows(w, rows)) {
        fh_cpu_share(w, rows * per, from, to);
        return;
    }
    fh_cpu_share(w, rows, from, to);
    *from *= per;
    *to *= per;
}

/* ---- element by element: a piece of a head is a unit ---- */
typedef struct fh_cpu_unit {
    uint64_t row, head, col;
    size_t n;
} fh_cpu_unit;
static inline void fh_cpu_share_units(const fh_exec *x, const fh_view *v, const fh_cpu_worker *w, uint64_t *from,
                                      uint64_t *to) {
    fh_cpu_share_rows(w, fh_cpu_rows(x, v), v->heads * fh_ceil_div(v->width, FH_CPU_PIECE), from, to);
}
static inline fh_cpu_unit fh_cpu_unit_at(const fh_view *v, uint64_t u) {
    const uint64_t pieces = fh_ceil_div(v->width, FH_CPU_PIECE);
    fh_cpu_unit r = {u / pieces / v->heads, u / pieces % v->heads, u % pieces * FH_CPU_PIECE, 0};
    r.n = (size_t)FH_MIN((uint64_t)FH_CPU_PIECE, v->width - r.col);
    return r;
}
static inline float *fh_cpu_place(const fh_exec *x, const fh_view *v, const fh_cpu_unit *u) {
    return fh_cpu_row(x, v, u->row) + u->head * v->stride + u->col;
}
/* All operands with the heads of the one that has gaps, if one does. */
void fh_cpu_align_views(fh_view *v, int n);

fh_cpu_run_fn fh_cpu_run_product;                                  /* cpu_product.c */
fh_cpu_run_fn fh_cpu_run_attend;                                   /* cpu_attend.c */
fh_cpu_run_fn fh_cpu_run_store, fh_cpu_run_conv, fh_cpu_run_delta; /* cpu_state.c */
fh_cpu_run_fn fh_cpu_run_embed, fh_cpu_run_rows, fh_cpu_run_norm, fh_cpu_run_add, fh_cpu_run_map, fh_cpu_run_glu,
    fh_cpu_run_rope, fh_cpu_run_route, fh_cpu_run_group, fh_cpu_run_combine, fh_cpu_run_decay; /* cpu_row.c */
void fh_cpu_fill_angles(fh_exec *x, const fh_cpu_worker *w);

/* What the files above need; all are called once, when the executor is made. */
void fh_cpu_size_products(const fh_plan *p, const fh_extent *ceiling, bool exact, fh_cpu_sizes *s);
void fh_cpu_size_attend(const fh_plan *p, fh_cpu_sizes *s);
/* In which bytes a page keeps row r of one head; NULL: the page is gone. */
const uint8_t *fh_cpu_state_row(const fh_exec *x, const fh_batch_seq *seq, uint32_t state, uint32_t head, uint64_t r,
                                bool values);

#endif
