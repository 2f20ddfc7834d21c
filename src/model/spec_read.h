/* model/spec_read.h - the part of a spec that all families share. Private to src/model.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_MODEL_SPEC_READ_H
#define FH_MODEL_SPEC_READ_H

#include "model/family.h"

/* The family that reads this model, or NULL; meta and arch filled either way. */
const fh_family *fh_family_find(const fh_bundle *b, fh_meta *meta, fh_str *arch);
/* Common keys, then the family's hook, then checks: numbers in range, heads divide, windows set. */
FH_MUST_USE fh_status fh_spec_read(fh_spec *out, const fh_family *f, const fh_meta *m, fh_str arch, const fh_bundle *b,
                                   fh_arena *arena, fh_err *err);

#endif
