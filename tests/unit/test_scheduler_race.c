/* tests/unit/test_scheduler_race.c - many threads at one scheduler: submit, cancel, resume, free, run, at random.
 * SPDX-License-Identifier: Apache-2.0
 * What is checked: every request ends once or is freed, nothing stays behind, what went through is right. */
#include <sched.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "unit/test_scheduler_part.h"

#define THREADS 4u
#define AT_ONCE 12u
#define LENGTH 12u

typedef struct crowd {
    fh_scheduler *s;
    const heard_choice *want; /* of prompts 0..3 */
    uint32_t id, n_request;
    heard h[AT_ONCE];
    bool used[AT_ONCE];
    uint64_t n_through, n_refused, n_wrong;
} crowd;

static const uint32_t prompts[4][24] = {{1, 2, 3, 4}, {1, 2, 3, 9, 9}, {50, 2, 7}, {8, 8, 8, 8, 8, 8}};

static fh_status look(void *ctx, fh_engine *e, fh_err *err) {
    (void)err;
    *(uint64_t *)ctx += fh_engine_get_usage(e).page_bytes_live > 0;
    return FH_OK;
}

static void submit(crowd *c, fh_rng *rng, uint32_t i) {
    heard *h = &c->h[i];
    fh_err err = {0};
    memset(h, 0, sizeof *h);
    uint32_t which = (uint32_t)fh_rng_below(rng, 4), retry;
    if (fh_rng_below(rng, 5) == 0) h->plan.cancel_at = 1 + (uint32_t)fh_rng_below(rng, LENGTH);
    fh_request r = heard_request(h, prompts[which], 24, LENGTH);
    r.n_choice = 1 + (uint32_t)fh_rng_below(rng, 2);
    r.owner = c->id;
    r.priority = (int)fh_rng_below(rng, 2);
    r.salt = which; /* to know it again */
    if (fh_rng_below(rng, 8) == 0) r.deadline_ns = fh_rng_below(rng, 3000000);
    fh_ticket *t = NULL;
    fh_status st = fh_scheduler_submit(c->s, &r, &t, &retry, &err);
    if (st == FH_OK) c->used[i] = true;
    else if (st == FH_ERR_LIMIT && retry > 0) c->n_refused++;
    else c->n_wrong++;
    h->ticket = t;
    h->tag = which;
}

static void check_through(crowd *c, const heard *h) {
    if (h->wrong || h->n_done + h->n_failed != 1) c->n_wrong++;
    if (h->n_failed && h->err.status != FH_ERR_TIMEOUT) c->n_wrong++;
    if (h->n_done && h->finish != FH_FINISH_CANCELLED) {
        c->n_through++;
        if (memcmp(h->choice[0].token, c->want[h->tag].token, LENGTH * sizeof(uint32_t)) != 0) c->n_wrong++;
    }
}

static void *race_main(void *ctx) {
    crowd *c = ctx;
    fh_rng rng;
    uint64_t looked = 0;
    fh_rng_init(&rng, fh_test_seed(), 100 + c->id);
    for (uint32_t n = 0; n < c->n_request;) {
        uint32_t i = (uint32_t)fh_rng_below(&rng, AT_ONCE);
        heard *h = &c->h[i];
        fh_err err;
        if (!c->used[i]) {
            submit(c, &rng, i);
            n += c->used[i];
            continue;
        }
        switch (fh_rng_below(&rng, 8)) {
        case 0: fh_ticket_cancel(h->ticket); break;
        case 1: fh_ticket_resume(h->ticket); break;
        case 2:
            heard_wait(h);
            check_through(c, h);
            fh_ticket_free(h->ticket);
            c->used[i] = false;
            break;
        case 3: /* without a word; h is ours again when it returns */
            fh_ticket_free(h->ticket);
            c->used[i] = false;
            break;
        case 4:
            if (fh_rng_below(&rng, 4) == 0 && fh_scheduler_run(c->s, look, &looked, &err) != FH_OK) c->n_wrong++;
            break;
        case 5: (void)fh_scheduler_get_load(c->s); break;
        default: sched_yield(); break;
        }
    }
    for (uint32_t i = 0; i < AT_ONCE; i++)
        if (c->used[i]) fh_ticket_free(c->h[i].ticket);
    return NULL;
}

static void race(const char *layers, uint32_t n_request, uint64_t memory_tokens, bool draft) {
    fh_err err = {0};
    tiny *model = tiny_new(&(tiny_options){.layers = layers, .window = 20, .context = 100, .seed = 44});
    fh_engine_options eo = {.threads = 1, .page = 16, .batch = 64, .exact = true};
    fh_engine *e = tiny_engine(model, &eo);
    if (memory_tokens) {
        eo.memory_most = fh_engine_foretell(e, (uint32_t)memory_tokens, 0).state;
        fh_engine_free(e);
        e = tiny_engine(model, &eo);
    }
    fh_scheduler *s = NULL;
    CHECK_OK(
        fh_scheduler_new(
            &s, e, &(fh_scheduler_options){.running_most = 5, .waiting_most = 20, .draft_most = draft ? 3 : 0}, &err),
        err);
    heard *first = fh_alloc_zero(1, sizeof *first);
    heard_choice *want = fh_alloc_zero(4, sizeof *want);
    crowd *c = fh_alloc_zero(THREADS, sizeof *c);
    CHECK(first && want && c);
    for (uint32_t i = 0; i < 4; i++) {
        memset(first, 0, sizeof *first);
        fh_request r = heard_request(first, prompts[i], 24, LENGTH);
        heard_submit(first, s, &r);
        heard_wait(first);
        want[i] = first->choice[0];
        fh_ticket_free(first->ticket);
    }
    pthread_t thread[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        c[i] = (crowd){.s = s, .want = want, .id = i, .n_request = n_request / THREADS};
        CHECK(pthread_create(&thread[i], NULL, race_main, &c[i]) == 0);
    }
    uint64_t through = 0, wrong = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        through += c[i].n_through;
        wrong += c[i].n_wrong;
    }
    CHECK_U64(wrong, 0);
    CHECK(through > 0);
    CHECK(fh_scheduler_drain(s, 60000));
    fh_scheduler_load load = fh_scheduler_get_load(s);
    CHECK_U64(load.requests, n_request + 4);
    CHECK_U64(load.finished + load.cancelled + load.failed, n_request + 4);
    CHECK(load.running == 0 && load.waiting == 0 && load.choices == 0);
    CHECK(load.memory.page_bytes_live == 0 && load.memory.slot_bytes == 0);
    if (memory_tokens) CHECK(load.memory.state_peak <= eo.memory_most);
    fh_scheduler_free(s);
    fh_engine_free(e);
    fh_free(first);
    fh_free(want);
    fh_free(c);
    tiny_free(model);
}

TEST(scheduler_race, ten_thousand_random_ends) { race("F", 10000 * (uint32_t)fh_test_times(), 0, false); }
TEST(scheduler_race, with_little_memory) { race("FS", 1000, 120, true); }
TEST(scheduler_race, with_recurrent_state) { race("RF", 1000, 160, false); }
