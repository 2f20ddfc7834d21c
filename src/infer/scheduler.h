/* infer/scheduler.h - many requests at once on one engine: continuous batching, fairness, admission by memory.
 * SPDX-License-Identifier: Apache-2.0
 * One thread owns the engine. Each turn it makes one batch: a token for every running choice, and pieces of prompts up
 * to the engine's batch. Who starts next: highest priority first, then the owner that was served least (tokens, halved
 * every minute), then the oldest. A request starts when its whole state (prompt and most new tokens, for all choices,
 * less what the prefix cache holds for it) fits what is left of the engine's memory; what can never fit is refused at
 * once. A full queue refuses with FH_ERR_LIMIT and an estimate of when to come back.
 * Greedy results do not depend on who else runs; with `deterministic` no result does (every request runs alone in its
 * batches' sums: exact mode).
 * Cancelling takes effect before the next batch. Every submitted request ends with exactly one DONE or FAILED event. */
#ifndef FH_INFER_SCHEDULER_H
#define FH_INFER_SCHEDULER_H

#include "infer/engine.h"
#include "infer/sampler.h"
#include "text/mask.h"
#include "text/tokenizer.h"

typedef struct fh_scheduler fh_scheduler;
typedef struct fh_ticket fh_ticket; /* one request under way */

typedef struct fh_scheduler_options {
    uint32_t running_most; /* choices at once; 0: 16 */
    uint32_t waiting_most; /* requests in the queue; 0: 256 */
    uint32_t prompt_piece; /* prompt tokens per turn while others generate; 0: a quarter of the engine's batch */
    uint32_t draft_most;   /* tokens guessed from the sequence's own n-grams and verified together; 0: none */
} fh_scheduler_options;

typedef enum fh_finish { FH_FINISH_STOP, FH_FINISH_STOP_STRING, FH_FINISH_LENGTH, FH_FINISH_CANCELLED } fh_finish;

typedef struct fh_token_chance {
    uint32_t token;
    float ln; /* natural logarithm of its probability, before the chain */
} fh_token_chance;

typedef enum fh_event_kind {
    FH_EVENT_START, /* it left the queue; prompt and cached tokens are known */
    FH_EVENT_TOKEN, /* of one choice: its id, and text that may be shown now (whole characters; may be empty) */
    FH_EVENT_END,   /* of one choice: why, with the last of its text */
    FH_EVENT_DONE,  /* of the request, after all choices ended */
    FH_EVENT_FAILED /* of the request: err */
} fh_event_kind;

typedef struct fh_event {
    fh_event_kind kind;
    uint32_t choice;
    uint32_t token;
    fh_str text; /* borrowed for the call */
    fh_token_chance chance;
    const fh_token_chance *top; /* [n_top], most probable first */
    uint32_t n_top;
    fh_finish finish;
    fh_str stop; /* the string that ended it */
    uint32_t n_prompt, n_cached, n_new; /* n_new: of all choices */
    uint64_t queued_ns, prompt_ns, new_ns;
    const fh_err *err;
} fh_event;

/* What the consumer wants next. PAUSE: no more tokens until fh_ticket_resume (its buffer is full). */
typedef enum fh_consume { FH_CONSUME_MORE, FH_CONSUME_PAUSE, FH_CONSUME_CANCEL } fh_consume;
/* Called on the scheduler's thread, never after DONE or FAILED. Must not block. */
typedef fh_consume fh_event_fn(void *ctx, const fh_event *e);

typedef struct fh_request {
    const uint32_t *prompt; /* copied */
    uint32_t n_prompt;
    const uint32_t *encoder; /* encoder-decoder models: the input; prompt then starts the answer */
    uint32_t n_encoder;
    uint32_t n_choice;   /* 0: 1 */
    uint32_t most;       /* new tokens per choice; 0: as many as the context has room for */
    uint32_t n_logprob;  /* most probable tokens to report with each token; 0: none. want_logprob: the token's own */
    bool want_logprob, ignore_end, keep_special; /* keep_special: control tokens appear in text */
    const fh_sampler_steps *chain;               /* copied */
    uint64_t seed;
    const fh_str *stop; /* [n_stop], copied */
    uint32_t n_stop;
    const uint32_t *end; /* [n_end] tokens that end an answer, copied */
    uint32_t n_end;
    const fh_mask_vocab *mask_vocab; /* with grammar: see text/mask.h; borrowed until the end */
    const fh_grammar *grammar;       /* NULL: free */
    const fh_tokenizer *tokenizer;   /* borrowed until the end */
    const fh_adapter_set *adapters;
    uint64_t salt;  /* prefixes are shared with equal ones only */
    uint64_t owner; /* for fairness */
    int priority;   /* higher first */
    uint64_t deadline_ns; /* from submission, waiting included; 0: none */
    fh_event_fn *fn;
    void *ctx;
} fh_request;

FH_MUST_USE fh_status fh_scheduler_new(fh_scheduler **out, fh_engine *engine, const fh_scheduler_options *opt,
                                       fh_err *err); /* the engine stays the caller's, but nobody else may use it */
void fh_scheduler_free(fh_scheduler *s);             /* cancels what is left and joins the thread */

/* FH_ERR_LIMIT: the queue is full (retry_after_ms is set), or it can never fit. out is valid until fh_ticket_free. */
FH_MUST_USE fh_status fh_scheduler_submit(fh_scheduler *s, const fh_request *r, fh_ticket **out,
                                          uint32_t *retry_after_ms, fh_err *err);
void fh_ticket_cancel(fh_ticket *t); /* any thread; the last event still comes */
void fh_ticket_resume(fh_ticket *t);
void fh_ticket_free(fh_ticket *t); /* cancels; after it returns fn is not called again */

/* Runs fn on the scheduler's thread between two batches, with the engine to itself; waits for it. */
typedef fh_status fh_exclusive_fn(void *ctx, fh_engine *e, fh_err *err);
FH_MUST_USE fh_status fh_scheduler_run(fh_scheduler *s, fh_exclusive_fn *fn, void *ctx, fh_err *err);

/* For metrics and /slots; cheap, any thread. */
typedef struct fh_scheduler_load {
    uint32_t running, waiting, paused;
    uint64_t requests, finished, cancelled, failed, refused;
    uint64_t prompt_tokens, cached_tokens, new_tokens, batches, batch_tokens;
    uint64_t drafted_tokens, accepted_tokens;
    fh_engine_usage memory;
} fh_scheduler_load;
fh_scheduler_load fh_scheduler_get_load(const fh_scheduler *s);
/* Stop starting new requests and wait for those that run, at most timeout_ms; true when all ended. */
bool fh_scheduler_drain(fh_scheduler *s, uint32_t timeout_ms);

#endif
