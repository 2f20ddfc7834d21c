/* tests/unit/test_scheduler_queue.c - who starts when, who is refused, and how requests end before they are through.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "unit/test_scheduler_part.h"

typedef struct place {
    tiny *model;
    fh_engine *engine;
    fh_scheduler *scheduler;
    uint32_t prompt[64];
} place;

static place open_place(const char *layers, const fh_scheduler_options *o, uint64_t memory) {
    fh_err err = {0};
    place p = {.model = tiny_new(&(tiny_options){.layers = layers, .window = 20, .context = 200, .seed = 3})};
    p.engine = tiny_engine(
        p.model, &(fh_engine_options){.threads = 1, .page = 16, .batch = 64, .exact = true, .memory_most = memory});
    CHECK_OK(fh_scheduler_new(&p.scheduler, p.engine, o, &err), err);
    for (uint32_t i = 0; i < FH_COUNT(p.prompt); i++) p.prompt[i] = (i * 11 + 1) % TINY_VOCAB;
    return p;
}

static void close_place(place *p) {
    fh_scheduler_free(p->scheduler);
    CHECK_U64(fh_engine_get_usage(p->engine).page_bytes_live, 0);
    CHECK_U64(fh_engine_get_usage(p->engine).slot_bytes, 0);
    fh_engine_free(p->engine);
    tiny_free(p->model);
}

/* ---- holding the scheduler while requests come in ---- */
typedef struct holder {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    pthread_t thread;
    fh_scheduler *s;
    bool held, let_go;
    fh_status status;
} holder;

static fh_status hold(void *ctx, fh_engine *e, fh_err *err) {
    holder *k = ctx;
    (void)e, (void)err;
    pthread_mutex_lock(&k->lock);
    k->held = true;
    pthread_cond_broadcast(&k->moved);
    while (!k->let_go) pthread_cond_wait(&k->moved, &k->lock);
    pthread_mutex_unlock(&k->lock);
    return FH_OK;
}

static void *hold_main(void *ctx) {
    holder *k = ctx;
    fh_err err;
    k->status = fh_scheduler_run(k->s, hold, k, &err);
    return NULL;
}

static void holder_take(holder *k, fh_scheduler *s) {
    *k = (holder){.s = s};
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->moved, NULL);
    CHECK(pthread_create(&k->thread, NULL, hold_main, k) == 0);
    pthread_mutex_lock(&k->lock);
    while (!k->held) pthread_cond_wait(&k->moved, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

static void holder_let_go(holder *k) {
    pthread_mutex_lock(&k->lock);
    k->let_go = true;
    pthread_cond_broadcast(&k->moved);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->moved);
    CHECK(k->status == FH_OK);
}

static heard *new_heard(size_t n) {
    heard *h = fh_alloc_zero(n, sizeof *h);
    CHECK(h != NULL);
    return h;
}

TEST(scheduler_queue, a_full_queue_refuses_and_says_when_to_come_back) {
    place p = open_place("F", &(fh_scheduler_options){.waiting_most = 4}, 0);
    heard *h = new_heard(6);
    holder k;
    fh_err err = {0};
    holder_take(&k, p.scheduler);
    for (uint32_t i = 0; i < 4; i++) {
        fh_request r = heard_request(&h[i], p.prompt, 5, 4);
        heard_submit(&h[i], p.scheduler, &r);
    }
    fh_request r = heard_request(&h[4], p.prompt, 5, 4);
    uint32_t retry = 0;
    fh_ticket *t = NULL;
    CHECK_STATUS(fh_scheduler_submit(p.scheduler, &r, &t, &retry, &err), FH_ERR_LIMIT);
    CHECK(t == NULL && retry >= 1000);
    CHECK_U64(fh_scheduler_get_load(p.scheduler).waiting, 4);
    CHECK_U64(fh_scheduler_get_load(p.scheduler).refused, 1);
    holder_let_go(&k);
    for (uint32_t i = 0; i < 4; i++) heard_wait(&h[i]);
    heard_submit(&h[4], p.scheduler, &r);
    heard_wait(&h[4]);
    for (uint32_t i = 0; i < 5; i++) {
        CHECK(h[i].n_done == 1 && h[i].choice[0].n == 4 && h[i].finish == FH_FINISH_LENGTH && h[i].wrong == 0);
        fh_ticket_free(h[i].ticket);
    }
    fh_free(h);
    close_place(&p);
}

TEST(scheduler_queue, wrong_use_is_refused_at_once) {
    place p = open_place("F", NULL, 0);
    heard *h = new_heard(1);
    fh_err err = {0};
    fh_ticket *t = NULL;
    uint32_t retry = 7, wrong[] = {TINY_VOCAB}, long_prompt[201] = {0};
    fh_request ok = heard_request(h, p.prompt, 5, 4), r = ok;
    r.n_prompt = 0;
    CHECK_STATUS(fh_scheduler_submit(p.scheduler, &r, &t, &retry, &err), FH_ERR_USAGE);
    r = heard_request(h, wrong, 1, 4);
    CHECK_STATUS(fh_scheduler_submit(p.scheduler, &r, &t, &retry, &err), FH_ERR_USAGE);
    r = heard_request(h, long_prompt, 201, 1);
    CHECK_STATUS(fh_scheduler_submit(p.scheduler, &r, &t, &retry, &err), FH_ERR_LIMIT);
    CHECK(retry == 0);
    r = ok;
    r.encoder = p.prompt;
    r.n_encoder = 3;
    CHECK_STATUS(fh_scheduler_submit(p.scheduler, &r, &t, &retry, &err), FH_ERR_USAGE);
    r = ok;
    fh_str stop = FH_STR("x");
    r.stop = &stop;
    r.n_stop = 1;
    CHECK_STATUS(fh_scheduler_submit(p.scheduler, &r, &t, &retry, &err), FH_ERR_USAGE);
    r = ok;
    r.n_choice = 1000;
    CHECK_STATUS(fh_scheduler_submit(p.scheduler, &r, &t, &retry, &err), FH_ERR_LIMIT);
    r = ok;
    r.n_logprob = 1000;
    CHECK_STATUS(fh_scheduler_submit(p.scheduler, &r, &t, &retry, &err), FH_ERR_LIMIT);
    r = heard_request(h, long_prompt, 200, 10); /* one token follows a full context */
    heard_submit(h, p.scheduler, &r);
    heard_wait(h);
    CHECK(h->n_done == 1 && h->choice[0].n == 1 && h->finish == FH_FINISH_CONTEXT && t == NULL);
    fh_ticket_free(h->ticket);
    fh_free(h);
    close_place(&p);
}

TEST(scheduler_queue, priority_then_age) {
    place p = open_place("F", &(fh_scheduler_options){.running_most = 1}, 0);
    heard *h = new_heard(6);
    holder k;
    static const int priority[] = {0, 0, 1, -1, 2, 1};
    static const uint32_t want[] = {4, 2, 5, 0, 1, 3};
    holder_take(&k, p.scheduler);
    for (uint32_t i = 0; i < 6; i++) {
        fh_request r = heard_request(&h[i], p.prompt, 5, 4);
        r.priority = priority[i];
        heard_submit(&h[i], p.scheduler, &r);
    }
    holder_let_go(&k);
    for (uint32_t i = 0; i < 6; i++) heard_wait(&h[i]);
    for (uint32_t i = 0; i + 1 < 6; i++) CHECK(h[want[i]].start_order < h[want[i + 1]].start_order);
    for (uint32_t i = 0; i < 6; i++) fh_ticket_free(h[i].ticket);
    fh_free(h);
    close_place(&p);
}

/* ---- fairness ---- */
#define OWNERS 5u
#define EACH 24u
typedef struct counted {
    heard heard;
    struct market *market;
    uint32_t owner;
} counted;

typedef struct market {
    uint64_t tokens[OWNERS], total, stop_at; /* counted until then */
} market;

static fh_consume count_event(void *ctx, const fh_event *e) {
    counted *c = ctx;
    if (e->kind == FH_EVENT_TOKEN && c->market->total < c->market->stop_at) {
        c->market->tokens[c->owner]++;
        c->market->total++;
    }
    return heard_event(&c->heard, e);
}

/* Owners come with all they want, one after the other, `length` tokens each; Jain's index over the first half. */
static double fairness(const uint32_t length[OWNERS], uint32_t running_most) {
    place p = open_place("F", &(fh_scheduler_options){.running_most = running_most}, 0);
    counted *c = fh_alloc_zero(OWNERS * EACH * 4, sizeof *c);
    market m = {.total = 0};
    holder k;
    CHECK(c != NULL);
    uint32_t n = 0;
    holder_take(&k, p.scheduler);
    for (uint32_t o = 0; o < OWNERS; o++) {
        for (uint32_t tokens = 0; tokens < EACH * 16; tokens += length[o], n++) {
            c[n].owner = o;
            c[n].market = &m;
            fh_request r = heard_request(&c[n].heard, p.prompt + n % 40, 1, length[o]);
            r.fn = count_event;
            r.owner = 1000 + o;
            heard_submit(&c[n].heard, p.scheduler, &r);
            CHECK(n + 1 < OWNERS * EACH * 4);
        }
    }
    m.stop_at = OWNERS * EACH * 16 / 2;
    holder_let_go(&k);
    for (uint32_t i = 0; i < n; i++) {
        heard_wait(&c[i].heard);
        CHECK(c[i].heard.n_done == 1);
        fh_ticket_free(c[i].heard.ticket);
    }
    double sum = 0, squares = 0;
    for (uint32_t o = 0; o < OWNERS; o++) {
        sum += (double)m.tokens[o];
        squares += (double)m.tokens[o] * (double)m.tokens[o];
    }
    fh_free(c);
    close_place(&p);
    return sum * sum / (OWNERS * squares);
}

TEST(scheduler_queue, owners_are_served_alike) {
    static const uint32_t same[OWNERS] = {16, 16, 16, 16, 16}, different[OWNERS] = {8, 48, 16, 12, 32};
    static const uint32_t running[] = {1, 3, 8};
    for (size_t i = 0; i < FH_COUNT(running); i++) {
        double a = fairness(same, running[i]), b = fairness(different, running[i]);
        if (a < 0.95 || b < 0.95)
            fh_test_fail(__FILE__, __LINE__, "%u at once: Jain's index is %.3f and %.3f", running[i], a, b);
    }
}

/* ---- ends ---- */
TEST(scheduler_queue, cancelling_ends_before_the_next_token) {
    place p = open_place("FS", &(fh_scheduler_options){.running_most = 2}, 0);
    heard *h = new_heard(8);
    fh_request r = heard_request(&h[0], p.prompt, 40, 100);
    h[0].plan.cancel_at = 7; /* from within */
    heard_submit(&h[0], p.scheduler, &r);
    r = heard_request(&h[1], p.prompt, 40, 100);
    r.n_choice = 2;
    heard_submit(&h[1], p.scheduler, &r);
    r = heard_request(&h[2], p.prompt, 40, 0);
    heard_submit(&h[2], p.scheduler, &r); /* waits */
    heard_wait_tokens(&h[1], 6);
    fh_ticket_cancel(h[1].ticket);
    heard_wait(&h[0]);
    heard_wait(&h[1]);
    CHECK(h[0].n_done == 1 && h[0].finish == FH_FINISH_CANCELLED && h[0].choice[0].n == 7);
    CHECK(h[0].choice[0].n_end == 1 && h[0].choice[0].finish == FH_FINISH_CANCELLED);
    CHECK(h[1].n_done == 1 && h[1].choice[0].n_end == 1 && h[1].choice[1].n_end == 1);
    CHECK(h[1].choice[0].n < 100 && h[1].finish == FH_FINISH_CANCELLED);
    heard_wait_tokens(&h[2], 1);
    holder k;
    holder_take(&k, p.scheduler);
    r = heard_request(&h[3], p.prompt, 40, 100);
    heard_submit(&h[3], p.scheduler, &r);
    fh_ticket_cancel(h[3].ticket);
    fh_ticket_cancel(h[2].ticket);
    uint32_t before = h[2].n_token; /* nobody writes while the scheduler is held */
    holder_let_go(&k);
    heard_wait(&h[2]);
    heard_wait(&h[3]);
    CHECK(h[2].n_token == before && h[2].finish == FH_FINISH_CANCELLED);
    CHECK(h[3].n_start == 0 && h[3].n_done == 1 && h[3].finish == FH_FINISH_CANCELLED && h[3].choice[0].n_end == 1);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_U64(h[i].wrong, 0);
        fh_ticket_free(h[i].ticket);
    }
    fh_scheduler_load load = fh_scheduler_get_load(p.scheduler);
    CHECK(load.cancelled == 4 && load.finished == 0 && load.running == 0 && load.waiting == 0);
    fh_free(h);
    close_place(&p);
}

TEST(scheduler_queue, deadlines) {
    place p = open_place("F", &(fh_scheduler_options){.running_most = 1}, 0);
    heard *h = new_heard(3);
    h[0].plan.pause_every = 3; /* it stands still, in nobody's way */
    fh_request r = heard_request(&h[0], p.prompt, 5, 100);
    r.deadline_ns = 60000000;
    fh_ticket *stalled = NULL;
    fh_err err = {0};
    CHECK_OK(fh_scheduler_submit(p.scheduler, &r, &stalled, NULL, &err), err);
    heard_wait_tokens(&h[0], 3);
    r = heard_request(&h[1], p.prompt, 5, 150);
    heard_submit(&h[1], p.scheduler, &r);
    heard_wait(&h[1]);
    CHECK(h[1].n_done == 1 && h[1].choice[0].n == 150);
    holder k;
    holder_take(&k, p.scheduler);
    r = heard_request(&h[2], p.prompt, 5, 10);
    r.deadline_ns = 1; /* over while it waits */
    heard_submit(&h[2], p.scheduler, &r);
    holder_let_go(&k);
    heard_wait(&h[2]);
    CHECK(h[2].n_failed == 1 && h[2].err.status == FH_ERR_TIMEOUT && h[2].n_start == 0);
    heard_wait(&h[0]);
    CHECK(h[0].n_failed == 1 && h[0].err.status == FH_ERR_TIMEOUT && h[0].choice[0].n == 3);
    fh_ticket_free(stalled);
    for (uint32_t i = 1; i < 3; i++) fh_ticket_free(h[i].ticket);
    fh_free(h);
    close_place(&p);
}

TEST(scheduler_queue, draining_lets_those_that_run_end) {
    place p = open_place("F", &(fh_scheduler_options){.running_most = 2}, 0);
    heard *h = new_heard(5);
    fh_err err = {0};
    for (uint32_t i = 0; i < 4; i++) {
        h[i].plan.pause_every = i < 2 ? 3 : 0;
        fh_request r = heard_request(&h[i], p.prompt, 5, 10);
        r.n_choice = 2;
        if (i < 2) r.n_choice = 1;
        fh_ticket *t = NULL;
        CHECK_OK(fh_scheduler_submit(p.scheduler, &r, &t, NULL, &err), err);
        if (i < 2) heard_wait_tokens(&h[i], 3);
        if (i >= 2) h[i].plan.pause_every = 0;
        h[i].ticket = t;
        if (i == 2) heard_wait(&h[2]);
    }
    CHECK(!fh_scheduler_drain(p.scheduler, 20)); /* two stand still */
    fh_ticket *t = NULL;
    fh_request r = heard_request(&h[4], p.prompt, 5, 10);
    CHECK_STATUS(fh_scheduler_submit(p.scheduler, &r, &t, NULL, &err), FH_ERR_CANCELLED);
    for (uint32_t i = 0; i < 2; i++) {
        h[i].plan.pause_every = 0;
        fh_ticket_resume(h[i].ticket);
    }
    CHECK(fh_scheduler_drain(p.scheduler, 20000));
    for (uint32_t i = 0; i < 3; i++) CHECK(h[i].n_done == 1 && h[i].choice[0].n == 10);
    CHECK(h[3].n_done + h[3].n_failed == 1);
    for (uint32_t i = 0; i < 4; i++) fh_ticket_free(h[i].ticket);
    fh_free(h);
    close_place(&p);
}

TEST(scheduler_queue, freeing_cancels_and_tickets_outlive_it) {
    place p = open_place("F", &(fh_scheduler_options){.running_most = 2}, 0);
    heard *h = new_heard(6);
    for (uint32_t i = 0; i < 6; i++) {
        fh_request r = heard_request(&h[i], p.prompt, 30, 150);
        r.release = i % 2 ? heard_release : NULL;
        heard_submit(&h[i], p.scheduler, &r);
    }
    heard_wait_tokens(&h[0], 4);
    fh_ticket_free(h[1].ticket); /* told nothing any more */
    uint32_t told = h[1].n_token, ends = h[1].n_done;
    fh_ticket_free(NULL);
    fh_scheduler_free(p.scheduler);
    p.scheduler = NULL;
    CHECK(h[1].n_token == told && h[1].n_done == ends && h[1].n_release == 1);
    for (uint32_t i = 0; i < 6; i++) {
        if (i == 1) continue;
        CHECK(h[i].n_done == 1 && h[i].wrong == 0 && h[i].n_release == i % 2);
        fh_ticket_cancel(h[i].ticket);
        fh_ticket_resume(h[i].ticket);
        fh_ticket_free(h[i].ticket);
    }
    fh_free(h);
    close_place(&p);
}

/* ---- the engine to oneself ---- */
typedef struct own_use {
    const uint32_t *prompt;
    uint64_t n_row;
    uint32_t times;
} own_use;

static fh_status count_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    own_use *u = ctx;
    (void)work, (void)index, (void)row, (void)err;
    u->n_row++;
    return FH_OK;
}

static fh_status use_engine(void *ctx, fh_engine *e, fh_err *err) {
    own_use *u = ctx;
    fh_session *s = NULL;
    if (++u->times % 3 == 0) return fh_fail(err, FH_ERR_DENIED, "the third time");
    FH_TRY(fh_session_new(&s, e, 0, NULL, 5, err));
    fh_work w = {s, u->prompt, 20, FH_WANT_ALL};
    fh_status st = fh_engine_step(e, &w, 1, FH_EXPORT_HIDDEN, count_row, u, NULL, err);
    fh_session_free(s);
    return st;
}

TEST(scheduler_queue, exclusive_use_comes_between_batches) {
    place p = open_place("F", NULL, 0);
    heard *h = new_heard(3);
    fh_err err = {0};
    own_use u = {.prompt = p.prompt};
    for (uint32_t i = 0; i < 3; i++) {
        fh_request r = heard_request(&h[i], p.prompt + i, 30, 150);
        heard_submit(&h[i], p.scheduler, &r);
    }
    for (uint32_t i = 1; i <= 9; i++) {
        fh_status st = fh_scheduler_run(p.scheduler, use_engine, &u, &err);
        CHECK_STATUS(st, i % 3 ? FH_OK : FH_ERR_DENIED);
        if (i % 3 == 0) CHECK_STR(fh_str_of(err.message), "the third time");
    }
    CHECK_U64(u.n_row, 6 * 20);
    for (uint32_t i = 0; i < 3; i++) {
        heard_wait(&h[i]);
        CHECK(h[i].choice[0].n == 150 && h[i].wrong == 0);
        fh_ticket_free(h[i].ticket);
    }
    fh_free(h);
    close_place(&p);
}

TEST(scheduler_queue, too_long_drafts_are_refused) {
    fh_err err = {0};
    fh_scheduler *s = NULL;
    tiny *model = tiny_new(&(tiny_options){.layers = "F", .context = 50, .seed = 3});
    fh_engine *e = tiny_engine(model, &(fh_engine_options){.threads = 1, .exact = true});
    CHECK_STATUS(fh_scheduler_new(&s, e, &(fh_scheduler_options){.draft_most = 1000}, &err), FH_ERR_USAGE);
    CHECK(s == NULL);
    fh_engine_free(e);
    tiny_free(model);
}
