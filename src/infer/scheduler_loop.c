/* infer/scheduler_loop.c - the scheduler's thread: what ends, what others want done, who starts, the next batch.
 * SPDX-License-Identifier: Apache-2.0
 * Sleeps when nobody can go on, until something changes or a deadline comes. Work that wants the engine to itself is
 * done between batches, one piece before each. */
#include "base/clock.h"
#include "base/num.h"
#include "infer/scheduler_part.h"

/* ---- ends ---- */
void fh_ticket_end(fh_ticket *t) {
    fh_ticket_list_remove(&t->s->running, t);
    fh_ticket_strip(t);
    fh_owner_leave(t);
    fh_ticket_close(t);
}

static void tell_cancelled(fh_ticket *t) {
    t->finish = FH_FINISH_CANCELLED;
    for (uint32_t i = 0; i < t->r.n_choice; i++) {
        if (t->choice && t->choice[i].done) continue;
        fh_ticket_tell(t, &(fh_event){.kind = FH_EVENT_END, .choice = i, .finish = FH_FINISH_CANCELLED});
    }
}

/* Why it ends before it is through; false: it goes on. *cancelled: that is no failure. */
static bool must_end(const fh_ticket *t, bool stopping, bool draining, uint64_t now, bool *cancelled, fh_err *why) {
    *cancelled = t->cancel || stopping;
    if (*cancelled) return true;
    /* one that came after `now` was read has just begun to wait */
    if (t->r.deadline_ns && now > t->submit_ns && now - t->submit_ns >= t->r.deadline_ns) {
        fh_fail(why, FH_ERR_TIMEOUT, "the request was not through after %llu ms",
                (unsigned long long)(t->r.deadline_ns / 1000000));
        return true;
    }
    if (draining && !t->choice) {
        fh_fail(why, FH_ERR_CANCELLED, "the request had not started: shutting down");
        return true;
    }
    return false;
}

static void end_waiting(fh_scheduler *s, uint64_t now) {
    fh_ticket_list ended = {0};
    pthread_mutex_lock(&s->lock);
    for (fh_ticket *t = s->waiting.first, *next; t; t = next) {
        fh_err why = {0};
        bool cancelled;
        next = t->next;
        if (!must_end(t, s->stopping, s->draining, now, &cancelled, &why)) continue;
        fh_ticket_list_remove(&s->waiting, t);
        fh_ticket_list_add(&ended, t);
        if (!cancelled) fh_ticket_fail(t, &why);
    }
    s->load.waiting = s->waiting.n;
    pthread_mutex_unlock(&s->lock);
    for (fh_ticket *t = ended.first, *next; t; t = next) {
        next = t->next;
        if (!t->failed) tell_cancelled(t);
        fh_owner_leave(t);
        fh_ticket_close(t);
    }
}

static void end_running(fh_scheduler *s, bool stopping, uint64_t now) {
    for (fh_ticket *t = s->running.first, *next; t; t = next) {
        fh_err why = {0};
        bool cancelled;
        next = t->next;
        if (!must_end(t, stopping, false, now, &cancelled, &why)) continue;
        if (cancelled) tell_cancelled(t);
        else fh_ticket_fail(t, &why);
        fh_ticket_end(t);
    }
}

/* ---- the thread ---- */
static uint64_t next_deadline(const fh_scheduler *s) {
    uint64_t first = UINT64_MAX;
    for (int i = 0; i < 2; i++)
        for (const fh_ticket *t = i ? s->running.first : s->waiting.first; t; t = t->next)
            if (t->r.deadline_ns) first = FH_MIN(first, t->submit_ns + t->r.deadline_ns);
    return first;
}

/* With the lock: until something changed. */
static void sleep_on(fh_scheduler *s) {
    uint64_t until = next_deadline(s);
    if (until == UINT64_MAX) {
        pthread_cond_wait(&s->wake, &s->lock);
        return;
    }
    struct timespec at = {.tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u)};
    pthread_cond_timedwait(&s->wake, &s->lock, &at);
}

void fh_scheduler_publish(fh_scheduler *s) {
    fh_scheduler_load *l = &s->load, *n = &s->sum;
    l->running = l->paused = l->choices = 0;
    for (const fh_ticket *t = s->running.first; t; t = t->next) {
        if (t->paused) l->paused++;
        else l->running++;
        for (uint32_t i = 0; !t->paused && i < t->r.n_choice; i++) l->choices += !t->choice[i].done;
    }
    l->prompt_tokens = n->prompt_tokens;
    l->cached_tokens = n->cached_tokens;
    l->new_tokens = n->new_tokens;
    l->batches = n->batches;
    l->batch_tokens = n->batch_tokens;
    l->drafted_tokens = n->drafted_tokens;
    l->accepted_tokens = n->accepted_tokens;
    l->parked = n->parked;
    l->step_ns = n->step_ns;
    l->state_promised = fh_scheduler_promised(s);
    l->memory = fh_engine_get_usage(s->engine);
}

/* With the lock. */
static fh_job *take_job(fh_scheduler *s) {
    fh_job *job = s->jobs;
    if (!job) return NULL;
    s->jobs = job->next;
    if (!s->jobs) s->jobs_end = &s->jobs;
    return job;
}

static void do_job(fh_scheduler *s, fh_job *job, bool stopping) {
    if (stopping) job->status = fh_fail(&job->err, FH_ERR_CANCELLED, "shutting down");
    else job->status = job->fn(job->ctx, s->engine, &job->err);
    s->room_changed = true;
    pthread_mutex_lock(&s->lock);
    job->done = true;
    pthread_cond_broadcast(&s->told);
    pthread_mutex_unlock(&s->lock);
}

void *fh_scheduler_main(void *arg) {
    fh_scheduler *s = arg;
    s->room_changed = true;
    for (bool busy = true;;) {
        pthread_mutex_lock(&s->lock);
        fh_scheduler_publish(s);
        if (!busy && !s->changed && !s->jobs && !s->stopping) sleep_on(s);
        s->changed = false;
        fh_job *job = take_job(s);
        bool stopping = s->stopping, last = stopping && !job && s->waiting.n == 0;
        s->gone = last && s->running.n == 0;
        bool gone = s->gone;
        pthread_mutex_unlock(&s->lock);
        if (gone) return NULL;
        if (job) do_job(s, job, stopping);
        uint64_t now = fh_clock_ns();
        end_waiting(s, now);
        end_running(s, stopping, now);
        if (stopping) continue;
        fh_scheduler_start(s);
        busy = fh_scheduler_turn(s);
    }
}
