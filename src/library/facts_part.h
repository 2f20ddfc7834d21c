/* library/facts_part.h - the two sources of facts, for facts.c alone.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_LIBRARY_FACTS_PART_H
#define FH_LIBRARY_FACTS_PART_H

#include "library/facts.h"

FH_MUST_USE fh_status fh_facts_from_gguf(fh_facts *f, const fh_bundle *b, fh_err *err);
FH_MUST_USE fh_status fh_facts_from_hf(fh_facts *f, const fh_bundle *b, fh_err *err);

#endif
