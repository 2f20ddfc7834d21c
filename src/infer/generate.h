/* infer/generate.h - answers: a session, a sampler, and when to stop; told token by token.
 * SPDX-License-Identifier: Apache-2.0
 * A generation appends its prompt, samples, appends what was sampled, and so on. Several run in the same steps.
 * Text never comes in halves of characters, and what could still become a stop string waits until it is clear.
 * The last token of an answer is sampled but not appended to the session: nothing needs its state yet. Several answers
 * to one prompt: append all of it but its last token, fork, begin each with that token. One thread at a time. */
#ifndef FH_INFER_GENERATE_H
#define FH_INFER_GENERATE_H

#include "infer/constrain.h"
#include "infer/engine.h"
#include "infer/sampler.h"
#include "infer/stop.h"

typedef enum fh_generate_end {
    FH_GENERATE_GOING,
    FH_GENERATE_END_TOKEN, /* the model ended it */
    FH_GENERATE_STOP,      /* a stop string; it and what follows is left out */
    FH_GENERATE_LENGTH,    /* as many tokens as were asked for */
    FH_GENERATE_CONTEXT,   /* the session is full */
    FH_GENERATE_CANCELLED,
    FH_GENERATE_FAILED
} fh_generate_end;

/* First one event for each token, the ending one included, then one without a token that says why it ended. */
typedef struct fh_generate_event {
    bool has_token;
    fh_pick pick;        /* token, and its probability after the chain */
    uint32_t index;      /* of the token in the answer */
    const float *logits; /* [n_logit] it was picked from; gone after the call */
    size_t n_logit;
    fh_str text; /* that became clear with it, whole characters; often empty; gone after the call */
    fh_generate_end end;
    uint32_t stop; /* STOP: which string */
} fh_generate_event;
/* A failure ends the generation, and fh_generate_run with that status. */
typedef fh_status fh_generate_fn(void *ctx, const fh_generate_event *ev, fh_err *err);

/* All borrowed until the generation is freed, except the lists, which are copied. */
typedef struct fh_generate_options {
    fh_sampler *sampler; /* its own; what the prompt should count for was accepted by the caller */
    fh_sampler_scratch *scratch;
    uint32_t n_most;     /* tokens; 0: until something else ends it */
    const uint32_t *end; /* [n_end] tokens that end an answer */
    size_t n_end;
    bool ignore_end;               /* they are tokens as others are */
    const fh_tokenizer *tokenizer; /* NULL: no text */
    bool skip_special;             /* special tokens have no text */
    const fh_str *stop;            /* [n_stop], see infer/stop.h */
    size_t n_stop;
    fh_constraint *constraint; /* only what it allows; NULL: anything */
    fh_generate_fn *fn;
    void *ctx;
} fh_generate_options;

typedef struct fh_generation fh_generation;
FH_MUST_USE fh_status fh_generation_new(fh_generation **out, fh_session *s, const fh_generate_options *opt,
                                        fh_err *err);
void fh_generation_free(fh_generation *g); /* NULL is fine; the session stays */
/* Begins an answer behind these tokens (at least one, borrowed until the first token comes). Also after an earlier
 * answer. FH_ERR_LIMIT when they do not fit the session. */
FH_MUST_USE fh_status fh_generation_begin(fh_generation *g, const uint32_t *prompt, uint32_t n, fh_err *err);
/* From the next token on only what it allows; also within an event (a grammar that begins behind the reasoning). */
void fh_generation_constrain(fh_generation *g, fh_constraint *c);
/* The next tokens are these, whatever the model says, and no grammar is asked about them; they count as others do. Also
 * within an event. Copied; a second list stands behind the first. */
FH_MUST_USE fh_status fh_generation_force(fh_generation *g, const uint32_t *token, uint32_t n, fh_err *err);
fh_generate_end fh_generation_end(const fh_generation *g);

typedef struct fh_generation_stats {
    uint32_t n_prompt, n_token; /* tokens of the prompt that were to be computed; of the answer */
    uint32_t n_adopted;         /* of the session: what the prefix cache gave */
    uint64_t prompt_ns, answer_ns;
} fh_generation_stats;
fh_generation_stats fh_generation_get_stats(const fh_generation *g);

/* Steps until all have ended. stop (or NULL) ends those that go on as CANCELLED, and that is no failure. After a
 * failure those that have not ended can go on with another call. */
FH_MUST_USE fh_status fh_generate_run(fh_generation *const *g, uint32_t n, const volatile int *stop, fh_err *err);

/* For who makes batches himself: what the generation wants computed next (false: it has ended), and what came. */
FH_MUST_USE fh_status fh_generation_next(fh_generation *g, fh_work *out, bool *going, fh_err *err);
FH_MUST_USE fh_status fh_generation_take(fh_generation *g, const float *logits, size_t n_logit, fh_err *err);

#endif
