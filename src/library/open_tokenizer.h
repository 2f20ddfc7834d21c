/* library/open_tokenizer.h - from what a user may name to a tokenizer.
 * SPDX-License-Identifier: Apache-2.0
 * A model (library/locate.h), its folder, or a tokenizer's own file; kinds are told apart by content: GGUF,
 * tokenizer.json, tekken.json, a SentencePiece model, tiktoken ranks, a word list. A folder's tokenizer.json counts
 * before its older forms, and tokenizer_config.json is read beside whatever is found. */
#ifndef FH_LIBRARY_OPEN_TOKENIZER_H
#define FH_LIBRARY_OPEN_TOKENIZER_H

#include "text/tokenizer.h"

/* model may be NULL or "" for the built-in one. pattern: how text is cut, for files that do not say (tiktoken) or to
 * override what they say (tekken); empty otherwise, and FH_ERR_USAGE with any other kind. */
FH_MUST_USE fh_status fh_tokenizer_open(fh_tokenizer **out, const char *model, fh_str pattern, fh_err *err);

#endif
