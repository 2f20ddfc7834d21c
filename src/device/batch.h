/* device/batch.h - what one step works on: tokens of many sequences, where their state lies, their adapters.
 * SPDX-License-Identifier: Apache-2.0
 * Borrowed by the executor for one step; src/infer makes it. Ragged from the start: the tokens of a sequence stand
 * together and in order, sequences follow one another, each sequence is at its own place.
 *
 * Paged state: a page holds `page` rows (tokens) of every state of its group. Row r of a sequence lies in page
 * r / page of its table. Within a page, keys of a state are [heads][page][k_width] from k_at, values likewise from
 * v_at: one head's keys are contiguous. Recurrent states lie in one f32 slot per sequence. */
#ifndef FH_DEVICE_BATCH_H
#define FH_DEVICE_BATCH_H

#include "graph/plan.h"

#define FH_MAX_GROUPS 8

/* Where a paged state lies inside a page of its group; RECURRENT: k_at is the offset in floats inside the slot. */
typedef struct fh_state_place {
    fh_dtype k_type, v_type;
    uint64_t k_at, v_at;       /* bytes */
    uint64_t k_bytes, v_bytes; /* of one row of one head */
} fh_state_place;

typedef struct fh_state_layout {
    uint32_t page;               /* rows in a page, a power of two */
    const fh_state_place *place; /* [n_state] of the plan */
    uint64_t page_bytes[FH_MAX_GROUPS];
    uint64_t slot_floats; /* recurrent state of one sequence */
} fh_state_layout;

/* Keys and values in `type`, or in what it falls back to where its block does not divide a row (said in fell_back).
 * place: [n_state], filled. Pages are multiples of 64 bytes. */
FH_MUST_USE fh_status fh_state_layout_make(const fh_plan *tables, uint32_t page, fh_dtype type, fh_state_place *place,
                                           fh_state_layout *out, bool *fell_back, fh_err *err);

/* ---- adapters ---- */
/* y += row_scale .* (W x) - (W x) where row_scale is set, and += scale * row_scale .* (B (A x) + bias). */
typedef struct fh_lora {
    const float *a, *b;     /* a [n_mat][r, in], b [n_mat][out, r] of the product's own rows */
    const float *row_scale; /* [n_mat][out] or NULL (DoRA) */
    const float *bias;      /* [out] or NULL */
    uint32_t r;
    float scale;
} fh_lora;

/* What adapters do to one matrix. */
typedef struct fh_adapted {
    const fh_lora *lora;
    uint32_t n_lora;
    const fh_matrix *instead; /* a saved module: this in place of the model's, or NULL */
} fh_adapted;

/* Adapters of one sequence, together. Immutable; made by src/model. */
typedef struct fh_adapter_set {
    uint64_t serial;            /* no two sets of a process have the same, one after another neither; not 0 */
    const fh_adapted *matrix;   /* [n_matrix] */
    const float *const *vector; /* [n_vector]: in place of the model's, or NULL */
} fh_adapter_set;

/* ---- the batch ---- */
typedef struct fh_batch_seq {
    uint32_t first, n;                   /* its tokens in the batch */
    uint32_t past;                       /* rows of state before them: token first + i is row past + i */
    uint32_t length;                     /* of the whole sequence, this batch included */
    uint32_t encoder_rows;               /* rows of CROSS states */
    uint8_t *const *page[FH_MAX_GROUPS]; /* by group; entries behind a window may be NULL */
    float *slot;                         /* recurrent state, or NULL */
    const fh_adapter_set *adapters;      /* or NULL */
} fh_batch_seq;

typedef struct fh_batch {
    uint32_t n_token, n_row, n_seq;
    const uint32_t *token;  /* [n_token] ids */
    const uint32_t *pos;    /* [n_token] positions (for rotation and position tables) */
    const uint32_t *seq_of; /* [n_token] */
    const uint32_t *row;    /* [n_row]: numbers of the tokens whose results are wanted, ascending */
    const fh_batch_seq *seq;
} fh_batch;

#endif
