/* format/tekken.h - tekken.json of Mistral: byte-level ranks behind a block of special tokens.
 * SPDX-License-Identifier: Apache-2.0
 * Owns all it hands out. A token's id is its rank plus the number of special ids (1000 in all
 * published files); ranks beyond the default vocabulary size are in the file but not in use, and
 * are left out, as in the reference.
 * Special ids that the file does not name are "<SPECIAL_n>"; files without a list (v3) have the
 * list of that version. vocab.pre is the pattern. */
#ifndef FH_FORMAT_TEKKEN_H
#define FH_FORMAT_TEKKEN_H

#include "base/json.h"
#include "format/vocab.h"

FH_MUST_USE fh_status fh_tekken_parse(fh_vocab **out, fh_str text, fh_err *err); /* fh_vocab_free */

#endif
