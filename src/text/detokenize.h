/* text/detokenize.h - from tokens back to text, as they come.
 * SPDX-License-Identifier: Apache-2.0
 * A decoder is a row of steps, filled while a tokenizer is built, immutable from then on. A stream runs it over one
 * sequence of tokens and hands out whole characters only; the text of a whole sequence is that of a stream, so the two
 * never differ. One difference from Hugging Face's library follows from that: in a run of byte tokens that is no UTF-8
 * as a whole, characters that are whole stay (there, the whole run turns into U+FFFD); SentencePiece does it as here.
 * */
#ifndef FH_TEXT_DETOKENIZE_H
#define FH_TEXT_DETOKENIZE_H

#include "base/json.h"
#include "format/vocab.h"
#include "text/split.h"

#define FH_DECODER_STEPS 16u

typedef enum fh_decoder_kind {
    FH_DECODER_BYTE_LEVEL,    /* the byte alphabet back to bytes; the result is one text */
    FH_DECODER_RAW_BYTES,     /* pieces are bytes; the result is one text */
    FH_DECODER_BYTE_FALLBACK, /* "<0x0A>" */
    FH_DECODER_METASPACE,     /* ch to spaces, but none at the start when prefix */
    FH_DECODER_WORDPIECE,     /* text: continuing prefix; cleanup */
    FH_DECODER_MARKED_WORDS,  /* U+2581 starts a word (GGUF of BERT); cleanup */
    FH_DECODER_FUSE,
    FH_DECODER_REPLACE,       /* pattern -> text */
    FH_DECODER_STRIP,         /* ch, start, stop */
    FH_DECODER_BPE,           /* text: end of a word, becomes a space */
    FH_DECODER_SENTENCEPIECE, /* prefix, squeeze; text: surface of the unknown token */
    FH_DECODER_JOIN_SPACE     /* tokenizer.json without a decoder: spaces between tokens */
} fh_decoder_kind;

typedef struct fh_decoder_step {
    fh_decoder_kind kind;
    fh_split *pattern;
    fh_str text;
    uint32_t ch, start, stop;
    bool prefix, squeeze, cleanup;
    bool fused; /* what comes in are parts of one text */
} fh_decoder_step;

typedef struct fh_decoder {
    fh_decoder_step *step; /* [n] */
    uint32_t n;
} fh_decoder;

/* From the tree of tokenizer.json's "decoder" (NULL: JOIN_SPACE). */
FH_MUST_USE fh_status fh_decoder_build(fh_decoder *out, const fh_json_node *root, fh_arena *arena, fh_err *err);
FH_MUST_USE fh_status fh_decoder_add(fh_decoder *d, const fh_decoder_step *step,
                                     fh_err *err); /* takes the pattern, also on failure */
void fh_decoder_release(fh_decoder *d);

typedef struct fh_decoder_state {
    fh_buf held;    /* bytes that wait for what comes */
    uint64_t count; /* tokens or bytes seen */
    bool done, seen;
} fh_decoder_state;

/* A stream's memory, one per sequence. */
typedef struct fh_decoder_run {
    const fh_decoder *d;
    fh_decoder_state state[FH_DECODER_STEPS];
    fh_buf work[FH_DECODER_STEPS];
} fh_decoder_run;

/* A token as it goes into the first step. */
typedef struct fh_decoder_token {
    fh_str text;
    fh_token_type type;
} fh_decoder_token;

void fh_decoder_start(fh_decoder_run *r, const fh_decoder *d);
void fh_decoder_stop(fh_decoder_run *r);
/* Appends the text that is certain now. */
FH_MUST_USE fh_status fh_decoder_push(fh_decoder_run *r, fh_decoder_token token, fh_buf *out, fh_err *err);
/* Appends what was held back; the run can start over after it. */
FH_MUST_USE fh_status fh_decoder_finish(fh_decoder_run *r, fh_buf *out, fh_err *err);

#endif
