/* library/builtin.h - the model inside the binary (models/builtin.S puts it there).
 * SPDX-License-Identifier: Apache-2.0
 * A GGUF that lives as long as the program. Until the default model exists it is a tiny one that the build makes,
 * recognisable by its key "freehold.placeholder". */
#ifndef FH_LIBRARY_BUILTIN_H
#define FH_LIBRARY_BUILTIN_H

#include "format/bundle.h"
#include "library/locate.h"

fh_bytes fh_builtin_model(void);
bool fh_builtin_is_placeholder(const fh_bundle *b);
/* Opens what fh_locate found, the built-in model included. */
FH_MUST_USE fh_status fh_location_open(fh_bundle **out, const fh_location *at, fh_err *err);

#endif
