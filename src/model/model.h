/* model/model.h - a model bound and compiled: its family's spec, tables of matrices and vectors, plans.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the opened bundle and everything decoded from it. Immutable once loaded; threads may share it.
 * Loading binds every tensor that the family's blocks name, checks its extents, and refuses what is missing. Tensors
 * that nothing uses are listed in its notes, unless the family says that they may be left (vision towers). */
#ifndef FH_MODEL_MODEL_H
#define FH_MODEL_MODEL_H

#include "format/bundle.h"
#include "graph/plan.h"
#include "model/spec.h"

typedef struct fh_model fh_model;

typedef enum fh_model_plan_kind {
    FH_PLAN_STEP,   /* decoders: tokens to logits; encoders: tokens to hidden rows (and a score) */
    FH_PLAN_ENCODE, /* encoder-decoder: the input to CROSS states */
    FH_PLAN_COUNT
} fh_model_plan_kind;

/* Takes the bundle, on failure too. FH_ERR_UNSUPPORTED names an architecture that no family reads. */
FH_MUST_USE fh_status fh_model_load(fh_model **out, fh_bundle *bundle, fh_err *err);
void fh_model_free(fh_model *m); /* NULL is fine */

const fh_spec *fh_model_spec(const fh_model *m);
const fh_bundle *fh_model_bundle(const fh_model *m);
const fh_plan *fh_model_plan(const fh_model *m, fh_model_plan_kind kind); /* NULL where there is none */
size_t fh_model_n_note(const fh_model *m);                                /* one line each, for people */
const char *fh_model_note(const fh_model *m, size_t i);

#endif
