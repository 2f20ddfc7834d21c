/* infer/rerank.h - which text answers a question: how rerankers are asked, and what their numbers say.
 * SPDX-License-Identifier: Apache-2.0
 * Two kinds of model: classifiers that read question and text as a pair, whose head's number goes through a sigmoid (or
 * a softmax where there are two), and rerankers of the Qwen3 kind, which are asked in words for "yes" or "no": the
 * probability of "yes" against "no" is the score. A model that is neither, or that reads question and text with
 * different rows of its table of segments, is refused with FH_ERR_UNSUPPORTED. */
#ifndef FH_INFER_RERANK_H
#define FH_INFER_RERANK_H

#include "infer/embed.h"
#include "text/tokenizer.h"

/* What counts as an answer where nobody says otherwise: the publisher's words. */
#define FH_RERANK_INSTRUCTION "Given a web search query, retrieve relevant passages that answer the query"

typedef struct fh_reranker {
    const fh_tokenizer *tokenizer; /* borrowed */
    bool head;                     /* a classifier's head was bound; else the logits of yes and no count */
    bool in_words;                 /* asked in words; else question and text are one pair */
    uint32_t yes, no;
    uint64_t n_segment; /* rows of the table of segments */
} fh_reranker;

FH_MUST_USE fh_status fh_reranker_init(fh_reranker *out, const fh_model *m, const fh_tokenizer *t,
                                       fh_tokenizer_scratch *scratch, fh_err *err);

typedef struct fh_rerank_question {
    fh_str query, instruction; /* the instruction is for models that are asked in words */
} fh_rerank_question;
/* Appends the tokens that ask for this text. Question and text are plain: what they spell is no special token. */
FH_MUST_USE fh_status fh_reranker_ask(const fh_reranker *r, fh_tokenizer_scratch *scratch, const fh_rerank_question *q,
                                      fh_str text, fh_ids *out, fh_err *err);
/* What the model says to these tokens, and that as a probability. limit: tokens of a session, 0: the model's. */
FH_MUST_USE fh_status fh_reranker_judge(const fh_reranker *r, fh_engine *e, const fh_embed_input *input, uint32_t limit,
                                        const fh_embed_options *opt, double *logit, double *score, fh_err *err);

#endif
