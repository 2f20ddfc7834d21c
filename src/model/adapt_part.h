/* model/adapt_part.h - what the two files of adapt.h share: the adapter at work and the tables it fills.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_MODEL_ADAPT_PART_H
#define FH_MODEL_ADAPT_PART_H

#include "model/adapt.h"
#include "model/model_part.h"
#include "model/slot_name.h"

/* One adapter's operand at one matrix while it is filled. */
typedef struct fh_operand {
    fh_lora *lora;
    float *a, *b, *row_scale;
} fh_operand;

typedef struct fh_adapt {
    fh_arena *arena;
    fh_binder *bind;
    const fh_spec *spec;
    const fh_plan *tables;
    const fh_adapter *adapter; /* the one being added: number `use` */
    size_t use, n_use;
    bool gguf; /* its form */
    float scale;
    uint32_t r_most;
    fh_adapted *matrix;   /* [n_matrix] */
    const float **vector; /* [n_vector] */
    fh_lora **lora;       /* [n_matrix] the lists of `matrix`, to be filled */
    fh_operand **room;    /* [n_matrix] of the adapter that last added to the list */
    size_t *last;         /* [n_matrix] 1 + the adapter that last added to the list */
    bool *looked_up;      /* [n_matrix] read by rows, not multiplied with */
    bool *own_instead;    /* [n_matrix] this adapter replaced it */
} fh_adapt;

/* Where a matrix of the plan lies in the tensor that the adapter's form keeps: row r of matrix m is the tensor's row
 * first + m * stride + r * step; turned round, that is row first + m * stride + i for column i. */
typedef struct fh_cut {
    uint64_t rows, cols; /* of the tensor, for each matrix */
    uint32_t n_mat;
    uint64_t first, stride, step, col;
    bool transposed;
    bool other_form; /* the forms order its rows or columns differently */
    bool alone;      /* the tensor is that of one matrix */
} fh_cut;

/* False where the place is not this matrix. */
bool fh_adapt_cut(const fh_adapt *j, const fh_slot_place *p, uint32_t id, fh_cut *out);
uint64_t fh_cut_row(const fh_adapt *j, uint32_t id, const fh_cut *c, uint32_t m, uint64_t r);

/* adapt_saved.c */
FH_MUST_USE fh_status fh_adapt_put_saved(fh_adapt *j, const fh_adapter_saved *s, fh_err *err);
/* all: [n_mat][out][in], in the arena, in place of a matrix. */
FH_MUST_USE fh_status fh_adapt_put_f32(fh_adapt *j, uint32_t id, const float *all, fh_err *err);

#endif
