/* text/postprocess.h - what stands around the text: special tokens in front, behind and between two texts.
 * SPDX-License-Identifier: Apache-2.0
 * One template for a text alone and one for a pair. Filled while a tokenizer is built, immutable from then on. */
#ifndef FH_TEXT_POSTPROCESS_H
#define FH_TEXT_POSTPROCESS_H

#include "base/json.h"
#include "format/vocab.h"
#include "text/ids.h"

#define FH_POSTPROCESS_MOST 64u /* items of a template */

typedef struct fh_post_item {
    enum { FH_POST_A, FH_POST_B, FH_POST_TOKEN } kind;
    uint32_t id, type_id;
} fh_post_item;

typedef struct fh_postprocess {
    fh_post_item single[FH_POSTPROCESS_MOST], pair[FH_POSTPROCESS_MOST];
    uint32_t n_single, n_pair; /* 0: the texts alone */
} fh_postprocess;

/* From the tree of tokenizer.json's "post_processor" (NULL: none). */
FH_MUST_USE fh_status fh_postprocess_build(fh_postprocess *out, const fh_json_node *root, const fh_vocab *v,
                                           fh_arena *arena, fh_err *err);
/* bos before and eos behind each text; FH_VOCAB_NO_ID: neither. */
void fh_postprocess_set(fh_postprocess *out, uint32_t bos, uint32_t eos);
/* cls A sep, and cls A sep B sep with the second half of type 1. */
void fh_postprocess_set_bert(fh_postprocess *out, uint32_t cls, uint32_t sep);
/* As BERT's for one text; cls A sep sep B sep for two, all of type 0. */
void fh_postprocess_set_roberta(fh_postprocess *out, uint32_t cls, uint32_t sep);
/* Tokens that come before and behind a single text. */
void fh_postprocess_put_before(const fh_postprocess *p, fh_ids *out);
void fh_postprocess_put_behind(const fh_postprocess *p, fh_ids *out);

#endif
