/* library/model_text.h - what a model's files say about its use for text: what it is there for, its chat template, the
 * tokens that end an answer, the publisher's numbers.
 * SPDX-License-Identifier: Apache-2.0
 * One answer for commands and server alike. Nothing is printed: what was chosen is handed out, and who asked says
 * it. */
#ifndef FH_LIBRARY_MODEL_TEXT_H
#define FH_LIBRARY_MODEL_TEXT_H

#include "format/generation_config.h"
#include "infer/sampler.h"
#include "library/facts.h"
#include "model/model.h"
#include "text/template_builtin.h"
#include "text/tokenizer.h"

/* LOGITS: it writes text; HIDDEN: it embeds; SCORE: it ranks. By the first that holds:
 *   1. a classifier head was bound                                         scores
 *   2. no table of logits, or the network looks both ways (encoders)       hidden rows
 *   3. config.json names its class: ...ForCausalLM and the like            logits
 *      ...and a class without a head (Qwen3Model, Gemma3TextModel)         hidden rows
 *   4. a GGUF says how to pool                                             hidden rows
 *   5. a GGUF whose name holds "embedding": files of embedders that were
 *      converted before there was a key for it differ in nothing else      hidden rows
 *   6. anything else                                                       logits */
fh_export fh_model_purpose(const fh_model *m);

/* generation_config.json beside the model; all unset where there is none. */
FH_MUST_USE fh_status fh_model_generation_config(fh_generation_config *out, const fh_model *m, fh_err *err);

/* The publisher's numbers in place of p's, where there are any. */
void fh_model_sampling(fh_sampler_params *p, const fh_generation_config *gen);

/* Everything that any of the files calls an end, appended. t may be NULL. */
FH_MUST_USE fh_status fh_model_end_ids(fh_ids *out, const fh_model *m, const fh_tokenizer *t,
                                       const fh_generation_config *gen, fh_err *err);

typedef struct fh_template_choice {
    fh_template *template;              /* the caller's; NULL: neither its own nor one that is known to fit */
    const fh_template_builtin *builtin; /* NULL: the model's own */
    const char *why;                    /* what decided for the built-in one, in words for the user */
} fh_template_choice;

/* The model's own template, else the built-in one that fits what is known of it. */
FH_MUST_USE fh_status fh_template_choose(fh_template_choice *out, const fh_facts *facts,
                                         bool (*has_token)(void *ctx, fh_str text), void *ctx, fh_err *err);
/* The same with a tokenizer's vocabulary. */
FH_MUST_USE fh_status fh_template_choose_with(fh_template_choice *out, const fh_facts *facts, const fh_tokenizer *t,
                                              fh_err *err);
/* What the tokenizer calls that, or "". Borrowed. */
fh_str fh_tokenizer_special_text(const fh_tokenizer *t, fh_vocab_special which);

#endif
