/* model/compile.h - what blocks are written with: emitting ops for one layer after another. Private to src/model.
 * SPDX-License-Identifier: Apache-2.0
 * A block turns a view of normed rows into a view of its output. It asks the binder for its slots and adds ops; whether
 * a bias, a norm, a gate is there follows from the tensors. No block asks which family it serves. */
#ifndef FH_MODEL_COMPILE_H
#define FH_MODEL_COMPILE_H

#include "model/bind.h"

typedef struct fh_compile {
    fh_binder *bind;
    const fh_spec *spec;
    fh_plan_builder *plan;
    fh_stack stack;
    fh_dim dim;                   /* of the stream: TOKENS, and ROWS behind the last layer */
    int32_t il;                   /* -1 outside layers */
    const fh_layer *layer;        /* of il */
    uint32_t rope[FH_SPEC_ROPES]; /* numbers in the plan, FH_NO_ID until used */
} fh_compile;

/* ---- emitters (compile.c); names are slots' names ---- */
bool fh_has(const fh_compile *c, fh_slot slot);
fh_view fh_emit_value(fh_compile *c, uint32_t per, uint32_t width, const char *name);
/* y = W x (+ bias, where its slot has a tensor; FH_SLOT_COUNT: never). x may be a view of a value. */
fh_view fh_emit_matmul(fh_compile *c, fh_slot slot, fh_slot bias, fh_view x, uint32_t out);
/* The same without a bias; turn: the order of its sums (fh_matmul_args). */
fh_view fh_emit_turned(fh_compile *c, fh_slot slot, fh_view heads, uint32_t out, uint32_t turn);
/* Norm by the spec's kind with weight (and bias) of these slots into a new value; x itself where the slot is empty. */
fh_view fh_emit_norm(fh_compile *c, fh_slot weight, fh_slot bias, fh_view x);
/* In place over heads: RMS with the slot's weight, of one head or of all together, as its size says. */
void fh_emit_head_norm(fh_compile *c, fh_slot weight, fh_view heads);
void fh_emit_rope(fh_compile *c, fh_view heads, uint32_t rope);
/* a + b in a new value. */
fh_view fh_emit_add(fh_compile *c, fh_view a, fh_view b, const char *name);
void fh_emit_map(fh_compile *c, fh_view x, fh_map_kind kind, float k); /* in place */
/* f(gate) * up, in a new value of up's width (or in place of up). */
fh_view fh_emit_glu(fh_compile *c, fh_view gate, fh_view up, fh_map_kind kind, const char *name);

/* ---- blocks ---- */
fh_view fh_block_attention(fh_compile *c, fh_view x);
fh_view fh_block_cross(fh_compile *c, fh_view x);          /* reads what fh_block_cross_store wrote */
void fh_block_cross_store(fh_compile *c, fh_view encoded); /* for layer c->il of the decoder */
fh_view fh_block_latent(fh_compile *c, fh_view x);
fh_view fh_block_delta(fh_compile *c, fh_view x);
fh_view fh_block_ffn(fh_compile *c, fh_view x);
fh_view fh_block_moe(fh_compile *c, fh_view x);

/* All plans of a model. plans: [FH_PLAN_COUNT] of model.h; have: which there are. */
FH_MUST_USE fh_status fh_compile_model(fh_binder *b, fh_plan *plans, bool *have, fh_err *err);

#endif
