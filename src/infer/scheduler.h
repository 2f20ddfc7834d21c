/* infer/scheduler.h - many requests at once on one engine: continuous batching, fairness, admission by memory.
 * SPDX-License-Identifier: Apache-2.0
 * One thread owns the engine. Each turn it makes one batch: a token for every running choice, and pieces of prompts up
 * to the engine's batch. Who starts next: highest priority first, then the owner that was served least (tokens computed
 * for it, halved every minute, and those that its running requests may still take), then the oldest; nobody overtakes a
 * request that waits for memory. A request starts when the state it can grow to (prompt and most new tokens, all
 * choices, less what others hold already) fits what is left of the engine's memory; what can never fit is refused at
 * once. A request without `most` is promised room for its prompt and 256 tokens at a time; when no more can be given,
 * paused requests, then the latest started give theirs up, and go on later where they were. Prompts that begin like one
 * that is being computed wait for it, and take over what they share.
 *
 * Who else runs does not show in an answer: a request draws from random numbers of its own, and in exact mode every
 * sum of the engine has an order of its own, so that tokens and probabilities are bit-identical alone and in company,
 * with prompts cut or whole, adopted or computed, with drafts or without. Outside exact mode this holds as far as the
 * executor's sums do not depend on the batch (device/exec.h promises it for exact mode only).
 * Cancelling takes effect before the next batch. Every submitted request ends with exactly one DONE or FAILED event. */
#ifndef FH_INFER_SCHEDULER_H
#define FH_INFER_SCHEDULER_H

#include "infer/constrain.h"
#include "infer/engine.h"
#include "infer/sampler.h"

typedef struct fh_scheduler fh_scheduler;
typedef struct fh_ticket fh_ticket; /* one request under way */

typedef struct fh_scheduler_options {
    uint32_t running_most; /* choices at once; 0: 16. Those that were paused come on top when they go on */
    uint32_t waiting_most; /* requests in the queue; 0: 256 */
    uint32_t prompt_piece; /* prompt tokens per turn while others generate; 0: a quarter of the engine's batch */
    uint32_t draft_most;   /* tokens guessed from the sequence's own n-grams and verified together; 0: none. At most
                              FH_DRAFT_MOST (infer/draft.h). Recurrent models: none */
} fh_scheduler_options;

typedef enum fh_finish {
    FH_FINISH_STOP,        /* a token that ends answers, or the grammar's text is complete */
    FH_FINISH_STOP_STRING, /* see stop */
    FH_FINISH_LENGTH,      /* as many tokens as were asked for */
    FH_FINISH_CONTEXT,     /* the model's context is full, or the memory for it (where `most` was left open) */
    FH_FINISH_CANCELLED
} fh_finish;

typedef struct fh_token_chance {
    uint32_t token;
    float ln; /* natural logarithm of its probability, before the chain */
} fh_token_chance;

typedef enum fh_event_kind {
    FH_EVENT_START, /* it left the queue. n_cached may still grow until the first token */
    FH_EVENT_TOKEN, /* of one choice: its id, and text that may be shown now (whole characters; may be empty). The
                       token that ends an answer is told too, without text */
    FH_EVENT_END,   /* of one choice: why, with the last of its text. A cancelled one has none */
    FH_EVENT_DONE,  /* of the request, after all choices ended; finish is that of the last one */
    FH_EVENT_FAILED /* of the request: err. Choices that had not ended have no END then */
} fh_event_kind;

typedef struct fh_event {
    fh_event_kind kind;
    fh_ticket *ticket; /* whose it is */
    uint32_t choice;
    uint32_t token;
    uint32_t index;             /* of the token in its answer */
    fh_str text;                /* borrowed for the call */
    fh_token_chance chance;     /* of the token, where want_logprob or n_logprob asked for it */
    const fh_token_chance *top; /* [n_top], most probable first; borrowed for the call */
    uint32_t n_top;
    fh_finish finish;
    fh_str stop;                        /* the string that ended it */
    uint32_t n_prompt, n_cached, n_new; /* n_new: of all choices; all events have these */
    uint64_t queued_ns;                 /* from submission to START */
    uint64_t prompt_ns, new_ns;         /* from START to the first token; from there to now */
    const fh_err *err;
} fh_event;

/* What the consumer wants next. PAUSE: no more batches until fh_ticket_resume (its buffer is full); what the batch
 * under way gives to other choices still comes, and MORE does not undo it. A resume during the call wins. */
typedef enum fh_consume { FH_CONSUME_MORE, FH_CONSUME_PAUSE, FH_CONSUME_CANCEL } fh_consume;
/* Called on the scheduler's thread, perhaps before fh_scheduler_submit returned, never after DONE or FAILED. Must not
 * block, nor call fh_scheduler_run, _drain or _free. */
typedef fh_consume fh_event_fn(void *ctx, const fh_event *e);
/* fn will not be called again, and nothing that the request borrowed is used any more. */
typedef void fh_release_fn(void *ctx);

#define FH_REQUEST_LOGPROBS_MOST 128u
#define FH_REQUEST_CHOICES_MOST 128u

typedef struct fh_request {
    const uint32_t *prompt; /* copied */
    uint32_t n_prompt;
    const uint32_t *encoder; /* encoder-decoder models: the input, copied; prompt then starts the answer */
    uint32_t n_encoder;
    uint32_t n_choice;  /* 0: 1 */
    uint32_t most;      /* new tokens per choice; 0: as many as context and memory have room for */
    uint32_t n_logprob; /* most probable tokens to report with each token; 0: none. want_logprob: the token's own */
    bool want_logprob;
    bool ignore_end;               /* tokens that end answers are tokens as others are */
    bool keep_special;             /* control tokens appear in text */
    bool skip_prompt;              /* penalties and dry look at the answer only */
    bool grammar_waits;            /* the grammar holds from where fn calls fh_ticket_constrain: behind the reasoning */
    const fh_sampler_steps *chain; /* copied; NULL or empty: no step at all, the model's own probabilities */
    uint64_t seed;
    const fh_str *breaker; /* [n_breaker] for dry, copied; found in text where vocab is set, too */
    uint32_t n_breaker;
    const fh_str *stop; /* [n_stop], copied; needs tokenizer */
    uint32_t n_stop;
    const uint32_t *end; /* [n_end] tokens that end an answer, copied */
    uint32_t n_end;
    /* Borrowed until `release`, or without it until fh_ticket_free returned. */
    const fh_constrain_vocab *vocab; /* with grammar or breaker */
    const fh_grammar *grammar;       /* NULL: free */
    const fh_tokenizer *tokenizer;   /* NULL: no text */
    const fh_adapter_set *adapters;
    uint64_t salt;        /* prefixes are shared with equal ones only */
    uint64_t owner;       /* for fairness */
    int priority;         /* higher first */
    uint64_t deadline_ns; /* from submission, waiting included; then FAILED with FH_ERR_TIMEOUT; 0: none */
    fh_event_fn *fn;
    fh_release_fn *release; /* called once, on the scheduler's thread, whatever happens after a submission; or NULL */
    void *ctx;
} fh_request;

/* The engine stays the caller's, but until fh_scheduler_free nobody else may use it. */
FH_MUST_USE fh_status fh_scheduler_new(fh_scheduler **out, fh_engine *engine, const fh_scheduler_options *opt,
                                       fh_err *err);
/* Cancels what is left, with the events that belong to it, and joins the thread. Tickets stay until they are freed. */
void fh_scheduler_free(fh_scheduler *s); /* NULL is fine */

/* Any thread. *out is valid until fh_ticket_free. FH_ERR_LIMIT: the queue is full (*retry_after_ms is an estimate of
 * when half of it has started), or it can never fit (*retry_after_ms is 0); FH_ERR_CANCELLED: no new requests are
 * taken; FH_ERR_USAGE. retry_after_ms may be NULL. */
FH_MUST_USE fh_status fh_scheduler_submit(fh_scheduler *s, const fh_request *r, fh_ticket **out,
                                          uint32_t *retry_after_ms, fh_err *err);
void fh_ticket_cancel(fh_ticket *t); /* any thread; the last events still come */
void fh_ticket_resume(fh_ticket *t); /* any thread */
/* Only within fn, for the event's choice: from its next token on the grammar holds. */
void fh_ticket_constrain(fh_ticket *t, uint32_t choice);
/* Only within fn, for the event's choice: its next tokens are these, whatever the model says. They are told and counted
 * as others are; a grammar that is in force is not asked about them. Copied. */
FH_MUST_USE fh_status fh_ticket_force(fh_ticket *t, uint32_t choice, const uint32_t *token, uint32_t n, fh_err *err);
/* Any thread; cancels; after it returned fn is not called again. Waits for a call of fn under way, and where the
 * request has no `release` until nothing borrowed is used any more (at most one batch). Within fn: only in the last
 * event. NULL is fine. */
void fh_ticket_free(fh_ticket *t);

/* Runs fn on the scheduler's thread between two batches, with the engine to itself; waits for it, and returns what it
 * returned. Sessions that it makes must be gone when it returns. FH_ERR_CANCELLED: the scheduler is being freed. */
typedef fh_status fh_exclusive_fn(void *ctx, fh_engine *e, fh_err *err);
FH_MUST_USE fh_status fh_scheduler_run(fh_scheduler *s, fh_exclusive_fn *fn, void *ctx, fh_err *err);

/* For metrics and /slots; cheap, any thread; as of the last turn. */
typedef struct fh_scheduler_load {
    uint32_t running, waiting, paused;                       /* requests; paused ones are not counted as running */
    uint32_t choices;                                        /* of those running */
    uint64_t requests, finished, cancelled, failed, refused; /* since the start; requests: taken in */
    uint64_t prompt_tokens, cached_tokens, new_tokens;       /* of requests; prompts include what was cached */
    uint64_t batches, batch_tokens;                          /* steps of the engine, tokens in them */
    uint64_t drafted_tokens, accepted_tokens;
    uint64_t parked;         /* times that a request gave up its memory for a while */
    uint64_t step_ns;        /* time in steps */
    uint64_t state_most;     /* bytes that may be promised; 0: no ceiling */
    uint64_t state_promised; /* bytes held, and those that running requests may still take */
    fh_engine_usage memory;
} fh_scheduler_load;
fh_scheduler_load fh_scheduler_get_load(const fh_scheduler *s);
/* From here on nothing new is taken in, and what waits fails with FH_ERR_CANCELLED; waits for those that run, at most
 * timeout_ms; true when all ended. */
bool fh_scheduler_drain(fh_scheduler *s, uint32_t timeout_ms);

#endif
