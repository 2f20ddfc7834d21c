/* format/gguf_vocab.h - the tokenizer.ggml.* keys of a GGUF as a vocabulary, and the chat templates
 * beside them.
 * SPDX-License-Identifier: Apache-2.0
 * The vocabulary owns all it hands out; templates are views into the file.
 * Pieces are as the converter wrote them: byte-level models ("gpt2") in the byte alphabet of GPT-2,
 * "llama", "t5" and "gemma4" with U+2581 for spaces, "bert" with U+2581 before pieces that start a
 * word and nothing before the others.
 * Array lengths must agree, types are range-checked, byte tokens must be "<0x00>" to "<0xFF>",
 * merges must name tokens.
 * A special id that no token has is left out and counted (published files have such), as the peers
 * do. */
#ifndef FH_FORMAT_GGUF_VOCAB_H
#define FH_FORMAT_GGUF_VOCAB_H

#include "format/gguf.h"
#include "format/vocab.h"

/* FH_ERR_NOT_FOUND when the file has no vocabulary, FH_ERR_UNSUPPORTED for a tokenizer.ggml.model not named above. */
FH_MUST_USE fh_status fh_gguf_vocab_read(fh_vocab **out, const fh_gguf *g, fh_err *err); /* fh_vocab_free */

/* Chat templates in file order, from *at = 0; tokenizer.chat_template has the name "default",
 * tokenizer.chat_template.x the name "x". False at the end. */
bool fh_gguf_vocab_next_template(const fh_gguf *g, size_t *at, fh_str *name, fh_str *text);

#endif
