/* model/adapt.h - opened adapters and a loaded model to the operands that a step takes (device/batch.h).
 * SPDX-License-Identifier: Apache-2.0
 * Nothing is merged into the model: each matrix that an adapter changes gets its pair of small matrices in f32, cut
 * and turned as the plan reads the weight, so that one model serves any number of adapters at once. PEFT and GGUF
 * adapters fit models from either kind of file: names go through the family's tables, rows that the other kind of
 * file keeps in another order are put into the model's.
 * Everything an adapter holds is used, or it is refused with the name of what has no place.
 * Owns its arrays. Borrows the model, and the adapters' files (saved modules are read in place): both must outlive it.
 * Immutable once made; threads and sessions may share it. */
#ifndef FH_MODEL_ADAPT_H
#define FH_MODEL_ADAPT_H

#include "device/batch.h"
#include "format/adapter.h"
#include "model/model.h"

/* An adapter and the user's factor on its effect (1: as trained). Saved modules are replaced whatever the factor. */
typedef struct fh_adapter_use {
    const fh_adapter *adapter;
    float scale;
} fh_adapter_use;

typedef struct fh_adaption fh_adaption;

/* FH_ERR_FORMAT: shapes that do not fit this model. FH_ERR_UNSUPPORTED: a module that this model does not have, or
 * that cannot be adapted; two adapters that replace the same tensor; adapters that wait for invocation tokens.
 * Messages name the module. */
FH_MUST_USE fh_status fh_adaption_new(fh_adaption **out, const fh_model *m, const fh_adapter_use *use, size_t n,
                                      fh_err *err);
void fh_adaption_free(fh_adaption *a); /* after the sessions that use it; NULL is fine */
const fh_adapter_set *fh_adaption_set(const fh_adaption *a);
uint64_t fh_adaption_bytes(const fh_adaption *a); /* decoded matrices and vectors */

#endif
