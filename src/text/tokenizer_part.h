/* text/tokenizer_part.h - the insides of a tokenizer, shared by its builders.
 * SPDX-License-Identifier: Apache-2.0
 * A builder calls new, sets the vocabulary and the parts, then finish; on any failure free. */
#ifndef FH_TEXT_TOKENIZER_PART_H
#define FH_TEXT_TOKENIZER_PART_H

#include "format/tokenizer_json.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/detokenize.h"
#include "text/normalizer.h"
#include "text/postprocess.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/unigram.h"
#include "text/wordpiece.h"

#define FH_TOKENIZER_NOTES 8u

struct fh_tokenizer {
    fh_arena arena;
    fh_vocab *own_vocab; /* one of these two owns the vocabulary */
    fh_tokenizer_json *own_json;
    const fh_vocab *vocab;
    fh_added_set raw, normalized;       /* looked for before and after normalization */
    fh_str *alias;                      /* [n_alias] texts of added tokens that normalization changes */
    uint32_t n_alias, *alias_index;     /* [n_id] 1 + index, 0 = none; NULL while there is no alias */
    uint32_t special[FH_SPECIAL_COUNT]; /* of the vocabulary, and what the config names */
    fh_piece_trie user_defined;         /* SentencePiece */
    fh_normalizer norm;
    fh_pretokenizer pre;
    fh_bpe *bpe; /* one of these, or none: whole words only */
    fh_unigram *unigram;
    fh_wordpiece *wordpiece;
    fh_postprocess post;
    fh_decoder decoder;
    uint32_t own_end;  /* for whole words only: text/own_piece.h */
    bool keeps_pieces; /* pieces are parts of the normalized text, so they outlive the call that hands them over */
    bool any_bytes;    /* no part needs valid UTF-8 */
    uint8_t *eog;      /* [(n_id + 7) / 8] */
    fh_str note[FH_TOKENIZER_NOTES];
    uint32_t n_note;
};

FH_MUST_USE fh_status fh_tokenizer_new(fh_tokenizer **out, fh_err *err);
/* Takes the vocabulary. */
void fh_tokenizer_set_vocab(fh_tokenizer *t, fh_vocab *v);
/* Special ids that a config names and the files do not. */
void fh_tokenizer_set_config(fh_tokenizer *t, const fh_tokenizer_config *config);
/* Formatted; more than there is room for are dropped. */
FH_MUST_USE fh_status fh_tokenizer_add_note(fh_tokenizer *t, fh_err *err, const char *fmt, ...) FH_PRINTF(3, 4);
/* Splits by each of the patterns, one after the other, keeping matches apart. */
FH_MUST_USE fh_status fh_tokenizer_add_splits(fh_tokenizer *t, const char *const *pattern, fh_err *err);
FH_MUST_USE fh_status fh_tokenizer_add_split(fh_tokenizer *t, fh_str pattern, fh_err *err);
/* Added tokens to look for: all of the vocabulary, or special ones only. */
FH_MUST_USE fh_status fh_tokenizer_set_added(fh_tokenizer *t, bool only_special, fh_err *err);
/* The steps that SentencePiece text goes through, and back. */
FH_MUST_USE fh_status fh_tokenizer_set_sentencepiece(fh_tokenizer *t, bool keep_user_defined, fh_err *err);
FH_MUST_USE fh_status fh_tokenizer_finish(fh_tokenizer *t, fh_err *err);
fh_str fh_tokenizer_token_text(const fh_tokenizer *t, uint32_t id); /* as decoding sees it */

#endif
