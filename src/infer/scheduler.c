/* infer/scheduler.c - requests and their tickets: taken in, told about, given back.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the queue and everything that other threads may call. What a request says is checked and copied before it is
 * queued, so that wrong use is known to who asked, at once.
 * A ticket has two holders, its consumer and the scheduler; the last one frees it. The scheduler's memory outlives its
 * thread as long as there are tickets. No lock is held while fn runs. */
#include "infer/scheduler.h"

#include <errno.h>

#include "base/clock.h"
#include "base/num.h"
#include "infer/scheduler_part.h"
#include "infer/stop.h"

#define MOST_COPY ((size_t)256 << 20) /* of one request */
#define RETRY_LEAST_MS 1000u
#define RETRY_MOST_MS 600000u

/* ---- lists ---- */
void fh_ticket_list_add(fh_ticket_list *l, fh_ticket *t) {
    t->next = NULL;
    if (l->last) l->last->next = t;
    else l->first = t;
    l->last = t;
    l->n++;
}

void fh_ticket_list_remove(fh_ticket_list *l, fh_ticket *t) {
    fh_ticket **at = &l->first, *before = NULL;
    while (*at != t) before = *at, at = &(*at)->next;
    *at = t->next;
    if (l->last == t) l->last = before;
    t->next = NULL;
    l->n--;
}

/* ---- making ---- */
static void release_memory(fh_scheduler *s) {
    for (fh_owner *o = s->owners, *next; o; o = next) {
        next = o->next;
        fh_free(o);
    }
    fh_sampler_scratch_free(s->scratch);
    fh_free(s->work);
    fh_free(s->turn);
    fh_free(s->feed);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->told);
    fh_free(s);
}

static fh_status make_locks(fh_scheduler *s, fh_err *err) {
    pthread_condattr_t monotonic;
    int rc = pthread_condattr_init(&monotonic);
    if (rc == 0) rc = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    if (rc == 0) rc = pthread_mutex_init(&s->lock, NULL);
    if (rc == 0) rc = pthread_cond_init(&s->wake, &monotonic);
    if (rc == 0) rc = pthread_cond_init(&s->told, &monotonic);
    if (rc == 0) pthread_condattr_destroy(&monotonic);
    if (rc == 0) return FH_OK;
    errno = rc;
    return fh_fail_errno(err, "make the scheduler's locks", NULL);
}

static fh_status resolve(fh_scheduler *s, fh_err *err) {
    const fh_engine *e = s->engine;
    fh_scheduler_options *o = &s->opt;
    if (o->running_most == 0) o->running_most = 16;
    if (o->waiting_most == 0) o->waiting_most = 256;
    if (o->prompt_piece == 0) o->prompt_piece = e->batch_most / 4;
    o->prompt_piece = FH_MAX(o->prompt_piece, e->layout.page);
    if (o->draft_most > FH_DRAFT_MOST)
        return fh_fail(err, FH_ERR_USAGE, "drafts of %u tokens, at most %u", o->draft_most, FH_DRAFT_MOST);
    if (e->recurrent || e->whole) o->draft_most = 0; /* going back would compute again what was there */
    s->n_logit = fh_engine_width(e, FH_EXPORT_LOGITS);
    s->context = e->src.n_context ? e->src.n_context : UINT32_MAX;
    if (e->whole) s->context = FH_MIN(s->context, e->batch_most);
    s->state_most = UINT64_MAX;
    if (e->opt.memory_most == 0) return FH_OK;
    /* A page that is copied before it is written is there twice for a moment; one at a time. */
    uint64_t slack = e->recurrent && e->prefix ? e->pages.bytes[FH_SLOT_GROUP] : 0;
    for (uint32_t g = 0; o->draft_most && g < e->n_group; g++)
        if (e->role[g] == FH_ROLE_STEP) slack = FH_MAX(slack, e->layout.page_bytes[g]);
    s->state_most = e->opt.memory_most - FH_MIN(slack, e->opt.memory_most);
    return FH_OK;
}

/* Those for whom a turn has no place come in the next one. */
static fh_status new_turn(fh_scheduler *s, fh_err *err) {
    s->cap_turn = FH_MIN(s->opt.running_most, s->engine->seq_most);
    s->work = fh_alloc(s->cap_turn, sizeof *s->work);
    s->turn = fh_alloc(s->cap_turn, sizeof *s->turn);
    s->feed = fh_alloc(s->cap_turn, sizeof *s->feed);
    if (!s->work || !s->turn || !s->feed) return fh_fail_memory(err, s->cap_turn * sizeof *s->work);
    return FH_OK;
}

fh_status fh_scheduler_new(fh_scheduler **out, fh_engine *engine, const fh_scheduler_options *opt, fh_err *err) {
    fh_scheduler *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    s->engine = engine;
    if (opt) s->opt = *opt;
    s->refs = 1;
    s->jobs_end = &s->jobs;
    fh_status st = make_locks(s, err);
    if (st != FH_OK) {
        fh_free(s);
        return st;
    }
    st = resolve(s, err);
    if (st == FH_OK) st = new_turn(s, err);
    if (st == FH_OK) st = fh_sampler_scratch_new(&s->scratch, s->n_logit, err);
    if (st == FH_OK) {
        s->load.state_most = s->state_most == UINT64_MAX ? 0 : s->state_most;
        s->load.memory = fh_engine_get_usage(engine);
        errno = pthread_create(&s->thread, NULL, fh_scheduler_main, s);
        if (errno) st = fh_fail_errno(err, "start the scheduler's thread", NULL);
    }
    if (st == FH_OK) *out = s;
    else release_memory(s);
    return st;
}

/* With the lock, which it gives up. */
static void unref_scheduler(fh_scheduler *s) {
    bool last = --s->refs == 0;
    pthread_mutex_unlock(&s->lock);
    if (last) release_memory(s);
}

static void wake(fh_scheduler *s) {
    s->changed = true;
    pthread_cond_signal(&s->wake);
}

void fh_scheduler_free(fh_scheduler *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->lock);
    unref_scheduler(s);
}

/* ---- taking in ---- */
static fh_status check_tokens(const fh_scheduler *s, const fh_request *r, fh_err *err) {
    if (r->n_prompt == 0) return fh_fail(err, FH_ERR_USAGE, "the prompt holds no token");
    if (r->n_prompt > s->context)
        return fh_fail(err, FH_ERR_LIMIT, "the prompt has %u tokens, the context %u: nothing was cut", r->n_prompt,
                       s->context);
    FH_TRY(fh_engine_check_tokens(s->engine, r->prompt, r->n_prompt, err));
    bool encodes = s->engine->src.encode != NULL;
    if (encodes != (r->n_encoder > 0))
        return fh_fail(err, FH_ERR_USAGE,
                       encodes ? "the model reads an input before it answers, and there is none"
                               : "an input for the encoder, and the model has no encoder");
    if (encodes && r->n_encoder > s->engine->encode_most)
        return fh_fail(err, FH_ERR_LIMIT, "an input of %u tokens is longer than the encoder's %u", r->n_encoder,
                       s->engine->encode_most);
    return fh_engine_check_tokens(s->engine, r->encoder, r->n_encoder, err);
}

static fh_status check(const fh_scheduler *s, fh_request *r, fh_err *err) {
    FH_REQUIRE(r->fn);
    if (s->n_logit == 0)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "the model gives no probabilities of tokens: it cannot answer");
    if (r->n_choice == 0) r->n_choice = 1;
    if (r->n_choice > FH_REQUEST_CHOICES_MOST)
        return fh_fail(err, FH_ERR_LIMIT, "%u answers to one prompt, at most %u", r->n_choice, FH_REQUEST_CHOICES_MOST);
    if (r->n_logprob > FH_REQUEST_LOGPROBS_MOST)
        return fh_fail(err, FH_ERR_LIMIT, "the %u most probable tokens, at most %u", r->n_logprob,
                       FH_REQUEST_LOGPROBS_MOST);
    if (r->grammar && !r->vocab) return fh_fail(err, FH_ERR_USAGE, "a grammar needs the vocabulary it is about");
    if (r->n_stop && !r->tokenizer) return fh_fail(err, FH_ERR_USAGE, "stop strings need a tokenizer");
    FH_TRY(check_tokens(s, r, err));
    fh_stop *stop = NULL;
    FH_TRY(fh_stop_new(&stop, r->stop, r->n_stop, err));
    fh_stop_free(stop);
    uint64_t need = fh_scheduler_need_alone(s, r);
    if (need > s->state_most)
        return fh_fail(err, FH_ERR_LIMIT, "%u tokens for %u answers take %llu bytes of state, and %llu are allowed",
                       fh_scheduler_most_tokens(s, r, true), r->n_choice, (unsigned long long)need,
                       (unsigned long long)s->state_most);
    return FH_OK;
}

static bool copy_texts(fh_arena *a, const fh_str **list, uint32_t n) {
    const fh_str *from = *list;
    fh_str *to = fh_arena_alloc(a, n, sizeof *to);
    for (uint32_t i = 0; to && i < n; i++)
        if (!fh_arena_copy(a, from[i], &to[i])) to = NULL;
    *list = to;
    return to != NULL;
}

static bool copy_ids(fh_arena *a, const uint32_t **list, uint32_t n) {
    uint32_t *to = fh_arena_alloc(a, n, sizeof *to);
    if (to && n) memcpy(to, *list, n * sizeof *to);
    *list = to;
    return to != NULL;
}

static bool copy_chain(fh_arena *a, const fh_sampler_steps **chain) {
    fh_sampler_steps *to = fh_arena_alloc(a, 1, sizeof *to);
    if (!to) return false;
    size_t n = *chain ? (*chain)->len : 0;
    to->ptr = fh_arena_alloc(a, n, sizeof *to->ptr);
    if (!to->ptr) return false;
    if (n) memcpy(to->ptr, (*chain)->ptr, n * sizeof *to->ptr);
    to->len = to->cap = n;
    *chain = to;
    return true;
}

/* A sampler that is made and thrown away says what is wrong with chain and breakers. */
static fh_status check_sampler(const fh_request *r, uint32_t context, fh_err *err) {
    fh_sampler *sampler = NULL;
    fh_sampler_config c = {.step = r->chain->ptr,
                           .n_step = r->chain->len,
                           .n_context = FH_MIN(context, (uint32_t)FH_SAMPLER_HISTORY_MOST),
                           .breaker = r->breaker,
                           .n_breaker = r->n_breaker};
    FH_TRY(fh_sampler_new(&sampler, &c, err));
    fh_sampler_free(sampler);
    return FH_OK;
}

static fh_status new_ticket(fh_ticket **out, fh_scheduler *s, const fh_request *r, fh_err *err) {
    fh_ticket *t = fh_alloc_zero(1, sizeof *t);
    if (!t) return fh_fail_memory(err, sizeof *t);
    *t = (fh_ticket){.s = s, .r = *r, .refs = 2};
    fh_arena_init(&t->arena, MOST_COPY);
    fh_request *c = &t->r;
    bool ok = copy_ids(&t->arena, &c->prompt, c->n_prompt) && copy_ids(&t->arena, &c->encoder, c->n_encoder) &&
              copy_ids(&t->arena, &c->end, c->n_end) && copy_texts(&t->arena, &c->stop, c->n_stop) &&
              copy_texts(&t->arena, &c->breaker, c->n_breaker) && copy_chain(&t->arena, &c->chain);
    fh_status st = ok ? check_sampler(c, s->context, err) : fh_arena_fail(&t->arena, err);
    if (st == FH_OK) {
        *out = t;
        return FH_OK;
    }
    fh_arena_release(&t->arena);
    fh_free(t);
    return st;
}

/* Until half of those that wait have started. With the lock. */
static uint32_t retry_after(const fh_scheduler *s) {
    uint64_t half = s->waiting.n / 2 + 1, at_once = FH_MAX(s->load.running, 1u);
    double ms = (double)half * (double)s->run_ns / (double)at_once / 1e6;
    return ms < RETRY_LEAST_MS ? RETRY_LEAST_MS : ms > RETRY_MOST_MS ? RETRY_MOST_MS : (uint32_t)ms;
}

fh_status fh_scheduler_submit(fh_scheduler *s, const fh_request *r, fh_ticket **out, uint32_t *retry_after_ms,
                              fh_err *err) {
    fh_request checked = *r;
    fh_ticket *t = NULL;
    uint32_t retry = 0;
    fh_status st = check(s, &checked, err);
    if (st == FH_OK) st = new_ticket(&t, s, &checked, err);
    pthread_mutex_lock(&s->lock);
    if (st == FH_OK && (s->draining || s->stopping))
        st = fh_fail(err, FH_ERR_CANCELLED, "no new requests are taken: shutting down");
    if (st == FH_OK && s->waiting.n >= s->opt.waiting_most) {
        retry = retry_after(s);
        st = fh_fail(err, FH_ERR_LIMIT, "the queue is full: %u requests wait", s->waiting.n);
    }
    if (st == FH_OK) {
        t->number = ++s->n_submitted;
        t->submit_ns = fh_clock_ns();
        s->refs++;
        s->load.requests++;
        *out = t;
        fh_ticket_list_add(&s->waiting, t);
        s->load.waiting = s->waiting.n;
        wake(s);
    } else {
        s->load.refused++;
    }
    pthread_mutex_unlock(&s->lock);
    if (st != FH_OK && t) {
        fh_arena_release(&t->arena);
        fh_free(t);
    }
    if (st != FH_OK && retry_after_ms) *retry_after_ms = retry;
    return st;
}

/* ---- telling ---- */
static void fill_in(fh_ticket *t, fh_event *e) {
    e->ticket = t;
    uint64_t now = fh_clock_ns();
    e->n_prompt = t->r.n_prompt;
    e->n_cached = t->n_cached;
    e->n_new = t->n_new;
    e->queued_ns = (t->start_ns ? t->start_ns : now) - t->submit_ns;
    if (t->start_ns) e->prompt_ns = (t->first_ns ? t->first_ns : now) - t->start_ns;
    if (t->first_ns) e->new_ns = now - t->first_ns;
}

void fh_ticket_tell(fh_ticket *t, fh_event *e) {
    fh_scheduler *s = t->s;
    fill_in(t, e);
    pthread_mutex_lock(&s->lock);
    bool gone = t->detached;
    t->resumed = false;
    if (!gone) s->telling = t;
    pthread_mutex_unlock(&s->lock);
    if (gone) return;
    fh_consume next = t->r.fn(t->r.ctx, e);
    pthread_mutex_lock(&s->lock);
    s->telling = NULL;
    if (next == FH_CONSUME_PAUSE && !t->resumed) t->paused = true;
    if (next == FH_CONSUME_CANCEL) t->cancel = true;
    pthread_cond_broadcast(&s->told);
    pthread_mutex_unlock(&s->lock);
}

void fh_ticket_fail(fh_ticket *t, const fh_err *why) {
    if (t->failed) return;
    t->failed = true;
    t->why = *why;
}

/* With the lock, which it gives up. */
static void unref_ticket(fh_ticket *t) {
    fh_scheduler *s = t->s;
    if (--t->refs > 0) {
        pthread_mutex_unlock(&s->lock);
        return;
    }
    fh_arena_release(&t->arena);
    fh_free(t);
    unref_scheduler(s);
}

static void count_end(fh_scheduler *s, const fh_ticket *t, uint64_t now) {
    if (t->failed) s->load.failed++;
    else if (t->finish == FH_FINISH_CANCELLED) s->load.cancelled++;
    else s->load.finished++;
    if (!t->start_ns) return;
    uint64_t ran = now - t->start_ns;
    s->run_ns = s->run_ns ? s->run_ns - s->run_ns / 8 + ran / 8 : ran;
}

void fh_ticket_close(fh_ticket *t) {
    fh_scheduler *s = t->s;
    fh_event e = {
        .kind = t->failed ? FH_EVENT_FAILED : FH_EVENT_DONE, .finish = t->finish, .err = t->failed ? &t->why : NULL};
    fh_release_fn *release = t->r.release;
    void *ctx = t->r.ctx;
    pthread_mutex_lock(&s->lock);
    count_end(s, t, fh_clock_ns());
    fh_scheduler_publish(s);
    pthread_mutex_unlock(&s->lock);
    fh_ticket_tell(t, &e);
    if (release) release(ctx);
    pthread_mutex_lock(&s->lock);
    t->closed = true;
    s->n_closed++;
    pthread_cond_broadcast(&s->told);
    unref_ticket(t);
}

/* ---- tickets ---- */
void fh_ticket_cancel(fh_ticket *t) {
    pthread_mutex_lock(&t->s->lock);
    t->cancel = true;
    wake(t->s);
    pthread_mutex_unlock(&t->s->lock);
}

void fh_ticket_resume(fh_ticket *t) {
    pthread_mutex_lock(&t->s->lock);
    t->resumed = true;
    t->paused = false;
    wake(t->s);
    pthread_mutex_unlock(&t->s->lock);
}

void fh_ticket_constrain(fh_ticket *t, uint32_t choice) {
    FH_REQUIRE(t->choice && choice < t->r.n_choice);
    fh_choice *c = &t->choice[choice];
    if (c->generation && c->constraint) fh_generation_constrain(c->generation, c->constraint);
}

fh_status fh_ticket_force(fh_ticket *t, uint32_t choice, const uint32_t *token, uint32_t n, fh_err *err) {
    FH_REQUIRE(t->choice && choice < t->r.n_choice);
    fh_choice *c = &t->choice[choice];
    return c->generation && !c->done ? fh_generation_force(c->generation, token, n, err) : FH_OK;
}

void fh_ticket_free(fh_ticket *t) {
    if (!t) return;
    fh_scheduler *s = t->s;
    pthread_mutex_lock(&s->lock);
    t->detached = true;
    t->cancel = true;
    if (!t->closed) wake(s);
    bool own = !s->gone && pthread_equal(s->thread, pthread_self());
    while (!own && (s->telling == t || (!t->r.release && !t->closed))) pthread_cond_wait(&s->told, &s->lock);
    unref_ticket(t);
}

/* ---- others ---- */
fh_status fh_scheduler_run(fh_scheduler *s, fh_exclusive_fn *fn, void *ctx, fh_err *err) {
    fh_job job = {.fn = fn, .ctx = ctx};
    pthread_mutex_lock(&s->lock);
    FH_REQUIRE(!pthread_equal(s->thread, pthread_self()));
    *s->jobs_end = &job;
    /* It stays here until it is done. */
    /* cppcheck-suppress autoVariables */
    s->jobs_end = &job.next;
    wake(s);
    while (!job.done) pthread_cond_wait(&s->told, &s->lock);
    pthread_mutex_unlock(&s->lock);
    if (job.status != FH_OK && err) *err = job.err;
    return job.status;
}

fh_scheduler_load fh_scheduler_get_load(const fh_scheduler *s) {
    union { /* the lock is no part of what the scheduler says of itself */
        const fh_scheduler *read;
        fh_scheduler *lock;
    } x = {.read = s};
    pthread_mutex_lock(&x.lock->lock);
    fh_scheduler_load load = s->load;
    pthread_mutex_unlock(&x.lock->lock);
    return load;
}

bool fh_scheduler_drain(fh_scheduler *s, uint32_t timeout_ms) {
    uint64_t until = fh_clock_ns() + timeout_ms * 1000000ull;
    struct timespec at = {.tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u)};
    pthread_mutex_lock(&s->lock);
    s->draining = true;
    wake(s);
    int rc = 0;
    while (rc == 0 && s->n_closed < s->n_submitted) rc = pthread_cond_timedwait(&s->told, &s->lock, &at);
    bool all = s->n_closed == s->n_submitted;
    pthread_mutex_unlock(&s->lock);
    return all;
}
