/* text/tokenizer.h - text to tokens and back, as the model's authors did it.
 * SPDX-License-Identifier: Apache-2.0
 * A tokenizer is built once from any of the published forms, immutable from then on, and may be shared by threads; each
 * thread brings a scratch, which keeps memory and a cache of words between calls. Opening files is the business of
 * library/open_tokenizer.h.
 *
 * Promise (T23): without parse_special no text gives a control token, whatever it spells. The one exception is written
 * into a vocabulary itself: a control token that is a single character, for which there is no other token.
 * Input that is no UTF-8 is taken byte by byte where tokens are bytes; elsewhere each wrong byte counts as U+FFFD. */
#ifndef FH_TEXT_TOKENIZER_H
#define FH_TEXT_TOKENIZER_H

#include "format/gguf.h"
#include "format/tokenizer_config.h"
#include "text/ids.h"

typedef struct fh_tokenizer fh_tokenizer;
typedef struct fh_tokenizer_scratch fh_tokenizer_scratch;

/* ---- building ---- all texts may go away afterwards; config may be NULL */
FH_MUST_USE fh_status fh_tokenizer_from_json(fh_tokenizer **out, fh_str tokenizer_json,
                                             const fh_tokenizer_config *config, fh_err *err);
FH_MUST_USE fh_status fh_tokenizer_from_gguf(fh_tokenizer **out, const fh_gguf *g, fh_err *err);
FH_MUST_USE fh_status fh_tokenizer_from_sentencepiece(fh_tokenizer **out, fh_bytes model,
                                                      const fh_tokenizer_config *config, fh_err *err);
/* pattern: how text is cut; empty: from the config's class or the number of ranks, which is noted. */
FH_MUST_USE fh_status fh_tokenizer_from_tiktoken(fh_tokenizer **out, fh_str ranks, fh_str pattern,
                                                 const fh_tokenizer_config *config, fh_err *err);
/* pattern: instead of the file's own, when not empty. */
FH_MUST_USE fh_status fh_tokenizer_from_tekken(fh_tokenizer **out, fh_str tekken_json, fh_str pattern, fh_err *err);
/* vocab.txt of BERT: a piece a line, the id is the line. */
FH_MUST_USE fh_status fh_tokenizer_from_wordlist(fh_tokenizer **out, fh_str vocab_txt,
                                                 const fh_tokenizer_config *config, fh_err *err);
void fh_tokenizer_free(fh_tokenizer *t); /* NULL is fine */

/* ---- what it is ---- */
const fh_vocab *fh_tokenizer_vocab(const fh_tokenizer *t);
/* Things a user should know: a guess that was made, a setting that is not honoured. False at the end. */
bool fh_tokenizer_note(const fh_tokenizer *t, size_t i, fh_str *out);
/* FH_VOCAB_NO_ID where there is none. */
uint32_t fh_tokenizer_special(const fh_tokenizer *t, fh_vocab_special which);
bool fh_tokenizer_is_control(const fh_tokenizer *t, uint32_t id);
/* Ends a turn or a text: eos, eot, eom, and tokens of the names that published models use for it. */
bool fh_tokenizer_is_eog(const fh_tokenizer *t, uint32_t id);
/* The bytes that one token adds in the middle of a text, appended to out; nothing for an id that is no token. */
FH_MUST_USE fh_status fh_tokenizer_token_bytes(const fh_tokenizer *t, uint32_t id, fh_buf *out, fh_err *err);

/* ---- text to tokens ---- */
typedef struct fh_encode_options {
    bool add_special;   /* tokens that the model expects around a text */
    bool parse_special; /* special tokens that are spelled in the text become themselves */
} fh_encode_options;

FH_MUST_USE fh_status fh_tokenizer_scratch_new(fh_tokenizer_scratch **out, const fh_tokenizer *t, fh_err *err);
void fh_tokenizer_scratch_free(fh_tokenizer_scratch *s); /* NULL is fine */
/* Appends to out. */
FH_MUST_USE fh_status fh_tokenizer_encode(const fh_tokenizer *t, fh_tokenizer_scratch *s, fh_str text,
                                          const fh_encode_options *opt, fh_ids *out, fh_err *err);
/* Two texts as one input (rerankers). type: segment of each token, or NULL; appended as to out. */
FH_MUST_USE fh_status fh_tokenizer_encode_pair(const fh_tokenizer *t, fh_tokenizer_scratch *s, fh_str a, fh_str b,
                                               const fh_encode_options *opt, fh_ids *out, fh_ids *type, fh_err *err);

/* ---- tokens to text ---- */
/* Ids that are no token are left out. skip_special: special tokens, too. Appends UTF-8. */
FH_MUST_USE fh_status fh_tokenizer_decode(const fh_tokenizer *t, const uint32_t *id, size_t n, bool skip_special,
                                          fh_buf *out, fh_err *err);
/* The same, token by token: never half a character, and all pushes together are what fh_tokenizer_decode gives. */
typedef struct fh_detok fh_detok;
FH_MUST_USE fh_status fh_detok_new(fh_detok **out, const fh_tokenizer *t, bool skip_special, fh_err *err);
void fh_detok_free(fh_detok *d); /* NULL is fine */
FH_MUST_USE fh_status fh_detok_push(fh_detok *d, uint32_t id, fh_buf *out, fh_err *err);
/* What was held back; the stream can start over. */
FH_MUST_USE fh_status fh_detok_finish(fh_detok *d, fh_buf *out, fh_err *err);

#endif
