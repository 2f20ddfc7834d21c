/* model/model_part.h - the inside of a model, for the files of src/model.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_MODEL_MODEL_PART_H
#define FH_MODEL_MODEL_PART_H

#include "model/bind.h"
#include "model/model.h"

struct fh_model {
    fh_bundle *bundle;
    fh_arena arena;
    fh_spec spec;
    fh_binder bind; /* its tables are the plans'; what each number is: matrix_of, vector_of */
    fh_plan plan[FH_PLAN_COUNT];
    bool have[FH_PLAN_COUNT];
    const char *note[16];
    size_t n_note;
};

FH_MUST_USE fh_status fh_model_note_unused(fh_model *m, fh_err *err);

#endif
