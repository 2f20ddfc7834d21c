/* model/rope.h - from what a file says about rotation to one angle per pair. Private to src/model.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_MODEL_ROPE_H
#define FH_MODEL_ROPE_H

#include "model/family.h"

/* Fills s->rope: [0] of all or full layers, [1] of sliding ones where the file gives them their own. head: columns of
 * a head, of which a share may turn. */
FH_MUST_USE fh_status fh_rope_read(fh_spec *s, const fh_meta *m, const fh_bundle *b, uint32_t head, fh_arena *arena,
                                   fh_err *err);
/* Frequencies and magnitude, in the arena. FH_ERR_UNSUPPORTED for a kind of scaling that is not known. */
FH_MUST_USE fh_status fh_rope_make(const fh_rope_spec *r, fh_rope_layout layout, fh_arena *arena, fh_rope *out,
                                   fh_err *err);
/* Llama 3's scaling as what the frequency of pair i is divided by, rounded as GGUF keeps it; 1 for other kinds. */
float fh_rope_divisor(const fh_rope_spec *r, uint32_t i);

#endif
