/* infer/scheduler_part.h - the insides of the scheduler. Private to src/infer.
 * SPDX-License-Identifier: Apache-2.0
 * scheduler.c: the queue, tickets, and all that other threads call. scheduler_loop.c: the thread. scheduler_start.c:
 * who starts, and what memory it is promised. scheduler_turn.c: one batch.
 * Fields are of the scheduler's thread unless they stand under "with the lock". */
#ifndef FH_INFER_SCHEDULER_PART_H
#define FH_INFER_SCHEDULER_PART_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "infer/draft.h"
#include "infer/generate.h"
#include "infer/infer_part.h"
#include "infer/scheduler.h"

#define FH_OPEN_ENDED_STEP 256u /* tokens that a request without `most` is promised at a time */

/* Somebody who is served. */
typedef struct fh_owner {
    struct fh_owner *next;
    uint64_t id;
    double served; /* tokens, halved every minute; as of stamp_ns */
    double ahead;  /* tokens that its running requests may still take */
    uint64_t stamp_ns;
    uint32_t n_ticket; /* that point here */
} fh_owner;

/* One answer. id[0 .. n_id) is prompt and answer; the session holds a beginning of it, the last one excepted. */
typedef struct fh_choice {
    fh_ticket *ticket;
    uint32_t index;
    fh_session *session; /* NULL: not made yet, or ended */
    fh_sampler *sampler;
    fh_constraint *constraint;
    fh_generation *generation;
    fh_draft *draft;
    uint32_t *id;
    uint32_t n_id, cap_id;
    uint32_t assured; /* tokens whose state has a place in memory */
    bool done;
    fh_finish finish;
    bool fed;            /* has computed something of its own since it started or was parked */
    uint64_t adopted_at; /* batches by then */
    bool memory_ended;
    /* within a turn */
    uint32_t guess[FH_DRAFT_MOST], n_guess, n_right;
    uint32_t n_before; /* tokens of the session before it */
    bool halted;       /* takes no more rows */
} fh_choice;

struct fh_ticket {
    fh_scheduler *s;
    fh_ticket *next; /* in the queue, or among those that run */
    fh_arena arena;  /* copies that r points to */
    fh_request r;
    uint64_t number; /* in order of submission, from 1 */
    uint64_t submit_ns;
    /* with the lock */
    uint32_t refs; /* the consumer's and the scheduler's */
    bool resumed, detached, closed;
    /* set by anybody, read by the scheduler's thread */
    atomic_bool cancel, paused;
    /* the scheduler's thread */
    fh_owner *owner;
    fh_choice *choice; /* [r.n_choice] from when it starts */
    bool forked;       /* all choices have sessions */
    bool parked;       /* gave its memory up */
    bool failed, told_start;
    double ahead;
    uint64_t start_ns, first_ns;
    uint32_t n_cached, n_new;
    fh_finish finish;
    fh_err why;
};

typedef struct fh_job {
    struct fh_job *next;
    fh_exclusive_fn *fn;
    void *ctx;
    fh_err err;
    fh_status status;
    bool done;
} fh_job;

typedef struct fh_ticket_list {
    fh_ticket *first, *last;
    uint32_t n;
} fh_ticket_list;

struct fh_scheduler {
    fh_engine *engine;
    fh_scheduler_options opt; /* no zeros that stand for something else */
    uint32_t context, n_logit;
    uint64_t state_most; /* bytes that may be promised; UINT64_MAX: no ceiling */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* the thread: there is something to do */
    pthread_cond_t told; /* others: a call of fn ended, something closed, a job is done */
    /* with the lock */
    uint32_t refs; /* tickets, and the owner of the scheduler */
    fh_ticket_list waiting;
    fh_job *jobs, **jobs_end;
    const fh_ticket *telling;
    bool stopping, draining, gone, changed;
    uint64_t n_submitted, n_closed, run_ns; /* run_ns: of a request from start to end, a moving average */
    fh_scheduler_load load;
    /* the scheduler's thread */
    fh_ticket_list running; /* with those that are paused or parked, in order of their start */
    fh_owner *owners;
    uint32_t n_owner;
    fh_sampler_scratch *scratch;
    fh_candidate top[FH_REQUEST_LOGPROBS_MOST];
    fh_token_chance chance[FH_REQUEST_LOGPROBS_MOST];
    bool room_changed; /* something was given back since a start failed */
    uint64_t blocked;  /* number of the ticket that could not start */
    bool careful;      /* the last step failed: one choice a step, so that the one at fault is found */
    /* the turn */
    fh_work *work; /* [cap_turn] */
    fh_choice **turn;
    fh_choice **feed; /* [cap_turn] those that may compute a piece of their prompt */
    uint32_t n_turn, cap_turn;
    fh_scheduler_load sum; /* counters of the thread, copied into load */
};

static inline bool fh_ticket_is_active(const fh_ticket *t) { return !t->paused && !t->parked; }
static inline uint32_t fh_choice_state(const fh_choice *c) { return c->session ? fh_session_n_token(c->session) : 0; }

void fh_ticket_list_add(fh_ticket_list *l, fh_ticket *t);
void fh_ticket_list_remove(fh_ticket_list *l, fh_ticket *t);

/* ---- scheduler.c ---- */
/* Calls fn, unless the consumer is gone; the counts and times of e are filled in. */
void fh_ticket_tell(fh_ticket *t, fh_event *e);
/* The ticket is in no list any more, and has nothing of the engine: the last event, then it is the consumer's alone. */
void fh_ticket_close(fh_ticket *t);
void fh_ticket_fail(fh_ticket *t, const fh_err *why);
/* One that ran: what it has of the engine goes, then its last event. */
void fh_ticket_end(fh_ticket *t);

/* ---- scheduler_loop.c ---- */
void *fh_scheduler_main(void *s);
void fh_scheduler_publish(fh_scheduler *s); /* the thread's figures to all; with the lock */

/* ---- scheduler_start.c ---- */
/* The most that a request's state takes when nothing of it is there: whether it can ever fit. */
uint64_t fh_scheduler_need_alone(const fh_scheduler *s, const fh_request *r);
/* Tokens that the session of one choice may come to hold; first: what is promised at its start. */
uint32_t fh_scheduler_most_tokens(const fh_scheduler *s, const fh_request *r, bool first);
uint64_t fh_scheduler_promised(const fh_scheduler *s);
/* Starts, or sets going again, all that can. Called without the lock. */
void fh_scheduler_start(fh_scheduler *s);
/* Frees all that the ticket has of the engine. */
void fh_ticket_strip(fh_ticket *t);
void fh_choice_strip(fh_choice *c);
void fh_ticket_park(fh_ticket *t);
/* Gives up the promises of others until the choice may hold n tokens; false: not now, or its ticket was parked. */
bool fh_choice_assure(fh_choice *c, uint32_t n);
/* Takes over what the prefix cache has, of tokens [0, n). */
FH_MUST_USE fh_status fh_choice_adopt(fh_choice *c, uint32_t n, fh_err *err);
/* The other choices, once the first has the prompt but its last token. */
FH_MUST_USE fh_status fh_ticket_fork(fh_ticket *t, fh_err *err);
/* Should a go on before b? */
bool fh_ticket_goes_first(fh_ticket *a, fh_ticket *b);
void fh_owner_charge(fh_ticket *t, uint32_t n_token);
void fh_owner_leave(fh_ticket *t);

/* ---- scheduler_turn.c ---- */
/* One batch, and what follows from it. False: nobody had anything to compute. */
bool fh_scheduler_turn(fh_scheduler *s);
FH_MUST_USE fh_status fh_choice_generation(fh_choice *c, fh_err *err);

#endif
