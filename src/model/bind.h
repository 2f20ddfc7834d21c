/* model/bind.h - tensors to the places of a model: names resolved, extents checked, tables filled.
 * SPDX-License-Identifier: Apache-2.0
 * Private to src/model. Blocks ask for a slot when they emit the op that reads it; what nobody asked for is unused.
 * Failure is sticky: ids stay valid to pass on, the binder's status tells. */
#ifndef FH_MODEL_BIND_H
#define FH_MODEL_BIND_H

#include "model/family.h"

/* What a number in the plan's tables is, for adapters and converters. */
typedef struct fh_bound {
    fh_slot slot;
    fh_stack stack;
    int32_t layer; /* -1 outside layers */
} fh_bound;

typedef struct fh_binder {
    const fh_bundle *bundle;
    const fh_spec *spec;
    fh_str prefix; /* of safetensors names */
    fh_arena *arena;
    bool *used; /* by number of weight */
    fh_matrix *matrix;
    fh_bound *matrix_of;
    fh_vector *vector;
    fh_bound *vector_of;
    fh_state *state;
    fh_state_group group[8];
    uint32_t n_matrix, n_vector, n_state, n_group, room_matrix, room_vector, room_state;
    fh_status status;
    fh_err *err;
} fh_binder;

/* Finds the prefix under which the table of tokens stands. */
FH_MUST_USE fh_status fh_bind_begin(fh_binder *b, const fh_bundle *bundle, const fh_spec *spec, fh_arena *arena,
                                    fh_err *err);

/* Is there a tensor for this slot? */
bool fh_bind_has(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer);
/* n_mat matrices [out, in]. FH_NO_ID where absent, which is an error unless maybe. */
uint32_t fh_bind_matrix(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, uint64_t out, uint64_t in,
                        uint32_t n_mat, bool maybe);
/* As a matrix, of which product rows are stored rows first + m * stride + r (or columns, transposed): pieces of fused
 * weights. whole_rows: what the stored matrix has. */
typedef struct fh_piece {
    uint64_t whole_rows, first, stride, col;
    bool transposed;
} fh_piece;
uint32_t fh_bind_piece(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, uint64_t out, uint64_t in,
                       uint32_t n_mat, const fh_piece *piece);
/* Rows of the only matrix in a slot, or 0: for extents that only the tensor knows (vocabulary, labels, positions). */
uint64_t fh_bind_rows(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer);

typedef enum fh_vector_form { FH_VECTOR_PLAIN, FH_VECTOR_PLUS_ONE, FH_VECTOR_NEG_EXP } fh_vector_form;
uint32_t fh_bind_vector(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, uint64_t n, fh_vector_form form,
                        bool maybe);
/* A number of elements that only the tensor knows; 0 when absent. */
uint64_t fh_bind_count(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer);

uint32_t fh_bind_state(fh_binder *b, fh_state state, uint32_t window, bool of_encoder, const char *what);

/* The name of a slot in the plan: "layers.3.attn.q". */
fh_str fh_bind_name(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer);
/* Does a tensor name match one of the family's patterns of what may be left? */
bool fh_bind_may_be_left(const fh_binder *b, fh_str name);
/* The file's own name of the tensor behind a slot ("model.layers.3.self_attn.q_proj.weight"); "" when absent. expert:
 * for names with "%e". */
fh_str fh_bind_file_name(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, uint32_t expert);

#endif
