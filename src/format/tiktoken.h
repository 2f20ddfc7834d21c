/* format/tiktoken.h - tiktoken rank files: a line per token, its bytes in base64, a space, its
 * rank.
 * SPDX-License-Identifier: Apache-2.0
 * Owns all it hands out. Ranks are ids and merge order at once (FH_VOCAB_BPE_RANKS); pieces are raw
 * bytes.
 * The format has no special tokens: who knows them hands them in, with their ids. */
#ifndef FH_FORMAT_TIKTOKEN_H
#define FH_FORMAT_TIKTOKEN_H

#include "format/vocab.h"

typedef struct fh_tiktoken_special {
    fh_str text;
    uint32_t id, flags; /* FH_ADDED_* */
} fh_tiktoken_special;

/* special: [n_special], copied; may be NULL. */
FH_MUST_USE fh_status fh_tiktoken_parse(fh_vocab **out, fh_str text, const fh_tiktoken_special *special,
                                        size_t n_special, fh_err *err); /* fh_vocab_free */

#endif
