/* tests/unit/test_scheduler_memory.c - memory that ends: ceilings are kept, nobody starves, nothing is lost.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/mem.h"
#include "base/num.h"
#include "unit/test_scheduler_part.h"

static const tiny_options full = {.layers = "FF", .context = 1400, .seed = 15};
static const tiny_options mixed = {.layers = "FSL", .window = 40, .context = 400, .seed = 16};
static const tiny_options recurrent = {.layers = "RF", .context = 400, .seed = 17};
static const tiny_options coder = {.layers = "FX", .encoder = "N", .context = 150, .seed = 18};

static fh_engine_options engine_options(uint64_t memory, bool no_cache) {
    return (fh_engine_options){.threads = 1,
                               .page = 16,
                               .batch = 64,
                               .snapshot = 64,
                               .exact = true,
                               .memory_most = memory,
                               .no_prefix_cache = no_cache};
}

static uint64_t foretell(const tiny *model, uint32_t n, uint32_t n_input) {
    fh_engine_options o = engine_options(0, false);
    fh_engine *e = tiny_engine(model, &o);
    uint64_t state = fh_engine_foretell(e, n, n_input).state;
    fh_engine_free(e);
    return state;
}

#define MOST 16u
typedef struct squeeze {
    uint32_t n, n_prompt, most, n_choice, shared;
    double rooms; /* memory, in requests of that size */
    bool no_cache, draft, may_refuse, pauses;
    uint64_t parked_least;
} squeeze;

/* The same requests with all the memory in the world, then with little: the same answers, and the ceiling holds. */
static void check_squeeze(const tiny_options *options, const squeeze *q) {
    fh_err err = {0};
    tiny *model = tiny_new(options);
    uint32_t n_input = options->encoder ? 30 : 0;
    uint64_t one = foretell(model, q->most ? q->n_prompt + q->most - 1 : options->context, n_input);
    heard *h = fh_alloc_zero(2 * MOST, sizeof *h);
    uint32_t(*prompt)[256] = fh_alloc_zero(MOST, sizeof *prompt);
    CHECK(h && prompt && q->n <= MOST);
    for (uint32_t pass = 0; pass < 2; pass++) {
        uint64_t memory = pass ? (uint64_t)((double)one * q->rooms) : 0;
        fh_engine_options eo = engine_options(memory, q->no_cache);
        fh_engine *e = tiny_engine(model, &eo);
        fh_scheduler *s = NULL;
        CHECK_OK(fh_scheduler_new(&s, e, &(fh_scheduler_options){.draft_most = q->draft ? 5 : 0}, &err), err);
        heard *at = h + pass * MOST;
        for (uint32_t i = 0; i < q->n; i++) {
            for (uint32_t j = 0; j < q->n_prompt; j++)
                prompt[i][j] = (j < q->shared ? j * 3 : j * (i + 5) + i) % TINY_VOCAB;
            fh_request r = heard_request(&at[i], prompt[i], q->n_prompt, q->most);
            r.n_choice = q->n_choice;
            r.owner = i % 3;
            static const uint32_t input[30] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
            if (n_input) r.encoder = input, r.n_encoder = n_input;
            at[i].plan.pause_every = q->pauses && pass && i % 2 ? 17 : 0;
            heard_submit(&at[i], s, &r);
        }
        for (uint32_t i = 0; i < q->n; i++) {
            heard_wait(&at[i]);
            if (at[i].n_failed) fh_test_fail(__FILE__, __LINE__, "request %u: %s", i, at[i].err.message);
            CHECK(at[i].wrong == 0);
            fh_ticket_free(at[i].ticket);
        }
        fh_scheduler_load load = fh_scheduler_get_load(s);
        CHECK_U64(load.finished, q->n);
        if (pass && load.parked < q->parked_least)
            fh_test_fail(__FILE__, __LINE__, "layers %s, %.1f rooms: nobody gave way", options->layers, q->rooms);
        if (pass && q->parked_least == 0 && !q->pauses) CHECK_U64(load.parked, 0);
        fh_scheduler_free(s);
        fh_engine_usage u = fh_engine_get_usage(e);
        CHECK(u.page_bytes_live == 0 && u.slot_bytes == 0 && (!pass || u.state_peak <= memory));
        fh_engine_free(e);
    }
    for (uint32_t i = 0; i < q->n; i++) {
        for (uint32_t j = 0; j < FH_MAX(q->n_choice, 1u); j++) {
            const char *what = heard_difference(&h[MOST + i].choice[j], &h[i].choice[j]);
            if (what) fh_test_fail(__FILE__, __LINE__, "request %u, choice %u: %s", i, j, what);
        }
    }
    fh_free(h);
    fh_free(prompt);
    tiny_free(model);
}

TEST(scheduler_memory, what_is_promised_fits) {
    check_squeeze(&full, &(squeeze){.n = 8, .n_prompt = 70, .most = 40, .rooms = 1});
    check_squeeze(&full, &(squeeze){.n = 8, .n_prompt = 70, .most = 40, .rooms = 2.6, .draft = true});
    check_squeeze(&full, &(squeeze){.n = 8, .n_prompt = 200, .shared = 180, .most = 40, .rooms = 2.1});
    check_squeeze(&full, &(squeeze){.n = 8, .n_prompt = 70, .most = 40, .rooms = 1.5, .no_cache = true});
    check_squeeze(&full, &(squeeze){.n = 4, .n_prompt = 70, .most = 40, .n_choice = 3, .rooms = 2.4});
    check_squeeze(&mixed, &(squeeze){.n = 8, .n_prompt = 70, .most = 40, .rooms = 2.3});
    check_squeeze(&mixed, &(squeeze){.n = 4, .n_prompt = 70, .most = 40, .n_choice = 3, .rooms = 4});
    check_squeeze(&recurrent, &(squeeze){.n = 8, .n_prompt = 70, .most = 40, .rooms = 2.7});
    check_squeeze(&recurrent, &(squeeze){.n = 4, .n_prompt = 70, .most = 40, .n_choice = 3, .rooms = 4.5});
    check_squeeze(&coder, &(squeeze){.n = 6, .n_prompt = 20, .most = 40, .rooms = 2.2});
}

TEST(scheduler_memory, open_ends_take_turns) {
    check_squeeze(&full, &(squeeze){.n = 4, .n_prompt = 50, .rooms = 1.7, .parked_least = 1});
    check_squeeze(&full, &(squeeze){.n = 3, .n_prompt = 50, .rooms = 1.3, .parked_least = 1, .no_cache = true});
    check_squeeze(&full, &(squeeze){.n = 2, .n_prompt = 50, .n_choice = 2, .rooms = 1.6, .parked_least = 1});
    check_squeeze(&recurrent, &(squeeze){.n = 3, .n_prompt = 50, .rooms = 1.95, .parked_least = 1});
    check_squeeze(&mixed, &(squeeze){.n = 3, .n_prompt = 50, .rooms = 1.9, .parked_least = 1});
}

TEST(scheduler_memory, those_who_stand_still_make_room) {
    check_squeeze(&full, &(squeeze){.n = 8, .n_prompt = 70, .most = 60, .rooms = 1.2, .pauses = true});
    check_squeeze(&recurrent, &(squeeze){.n = 6, .n_prompt = 70, .most = 60, .rooms = 1.9, .pauses = true});
    check_squeeze(&full, &(squeeze){.n = 4, .n_prompt = 70, .most = 60, .n_choice = 2, .rooms = 2.2, .pauses = true});
    fh_err err = {0};
    tiny *model = tiny_new(&full);
    fh_engine_options eo = engine_options(foretell(model, 200, 0), false);
    fh_engine *e = tiny_engine(model, &eo);
    fh_scheduler *s = NULL;
    CHECK_OK(fh_scheduler_new(&s, e, NULL, &err), err);
    heard *h = fh_alloc_zero(2, sizeof *h);
    CHECK(h != NULL);
    uint32_t prompt[100] = {1, 2, 3};
    fh_request r = heard_request(&h[0], prompt, 100, 101);
    h[0].plan.pause_every = 5;
    fh_ticket *t = NULL;
    CHECK_OK(fh_scheduler_submit(s, &r, &t, NULL, &err), err);
    heard_wait_tokens(&h[0], 5);
    prompt[0] = 7;
    r = heard_request(&h[1], prompt, 100, 101); /* takes all there is */
    heard_submit(&h[1], s, &r);
    heard_wait(&h[1]);
    CHECK(h[1].n_done == 1 && h[1].choice[0].n == 101);
    h[0].ticket = t;
    heard_wait(&h[0]);
    CHECK(h[0].n_done == 1 && h[0].choice[0].n == 101 && h[0].wrong == 0);
    for (uint32_t i = 0; i < 2; i++) fh_ticket_free(h[i].ticket);
    CHECK_U64(fh_scheduler_get_load(s).parked, 1);
    fh_scheduler_free(s);
    fh_engine_free(e);
    fh_free(h);
    tiny_free(model);
}

TEST(scheduler_memory, what_can_never_fit_is_refused) {
    fh_err err = {0};
    tiny *model = tiny_new(&full);
    uint64_t most = foretell(model, 160, 0);
    fh_engine_options eo = engine_options(most, false);
    fh_engine *e = tiny_engine(model, &eo);
    fh_scheduler *s = NULL;
    CHECK_OK(fh_scheduler_new(&s, e, NULL, &err), err);
    heard *h = fh_alloc_zero(2, sizeof *h);
    CHECK(h != NULL);
    uint32_t prompt[200] = {1, 2, 3}, retry = 9;
    fh_ticket *t = NULL;
    fh_request r = heard_request(&h[0], prompt, 100, 62); /* one token more than there are rows */
    CHECK_STATUS(fh_scheduler_submit(s, &r, &t, &retry, &err), FH_ERR_LIMIT);
    CHECK(retry == 0);
    r = heard_request(&h[0], prompt, 161, 0);
    CHECK_STATUS(fh_scheduler_submit(s, &r, &t, &retry, &err), FH_ERR_LIMIT);
    r = heard_request(&h[0], prompt, 60, 60);
    r.n_choice = 3;
    CHECK_STATUS(fh_scheduler_submit(s, &r, &t, &retry, &err), FH_ERR_LIMIT);
    r = heard_request(&h[0], prompt, 100, 61);
    heard_submit(&h[0], s, &r);
    heard_wait(&h[0]);
    CHECK(h[0].n_done == 1 && h[0].choice[0].n == 61 && h[0].finish == FH_FINISH_LENGTH);
    /* Without an end it goes as far as the memory does: 160 rows, and the token behind them. */
    r = heard_request(&h[1], prompt, 100, 0);
    heard_submit(&h[1], s, &r);
    heard_wait(&h[1]);
    CHECK(h[1].n_done == 1 && h[1].choice[0].n == 61 && h[1].finish == FH_FINISH_CONTEXT && h[1].wrong == 0);
    CHECK(memcmp(h[0].choice[0].token, h[1].choice[0].token, 61 * 4) == 0);
    CHECK(fh_scheduler_get_load(s).memory.state_peak <= most);
    for (uint32_t i = 0; i < 2; i++) fh_ticket_free(h[i].ticket);
    fh_scheduler_free(s);
    fh_engine_free(e);
    fh_free(h);
    tiny_free(model);
}

/* ---- every allocation may fail ---- */
static bool run_with_fault(const tiny *model, const heard *want, uint64_t nth, bool forever) {
    fh_err err = {0};
    fh_engine_options eo = engine_options(0, false);
    fh_engine *e = tiny_engine(model, &eo);
    fh_scheduler *s = NULL;
    heard *h = fh_alloc_zero(3, sizeof *h);
    CHECK(h != NULL);
    uint32_t prompt[60] = {1, 2, 3};
    fh_ticket *t[3] = {NULL};
    fh_fault_arm(FH_FAULT_ALLOC, nth, forever);
    fh_status st = fh_scheduler_new(&s, e, &(fh_scheduler_options){.draft_most = 4}, &err);
    for (uint32_t i = 0; st == FH_OK && i < 3; i++) {
        prompt[40] = i;
        fh_request r = heard_request(&h[i], prompt, 60, 25);
        r.n_choice = 1 + i % 2;
        fh_status one = fh_scheduler_submit(s, &r, &t[i], NULL, &err);
        CHECK(one == FH_OK || one == FH_ERR_MEMORY);
    }
    for (uint32_t i = 0; i < 3; i++) {
        if (!t[i]) continue;
        heard_wait(&h[i]);
        CHECK(h[i].wrong == 0 && (h[i].n_done || h[i].err.status == FH_ERR_MEMORY));
        for (uint32_t j = 0; want && h[i].n_done && j < 1 + i % 2; j++)
            CHECK(heard_difference(&h[i].choice[j], &want[i].choice[j]) == NULL);
        fh_ticket_free(t[i]);
    }
    bool done = fh_fault_calls(FH_FAULT_ALLOC) < nth;
    fh_fault_disarm();
    CHECK(st == FH_OK || st == FH_ERR_MEMORY);
    fh_scheduler_free(s);
    CHECK(fh_engine_get_usage(e).page_bytes_live == 0);
    fh_engine_free(e);
    fh_free(h);
    return done;
}

TEST(scheduler_memory, every_allocation_may_fail) {
    tiny *model = tiny_new(&mixed);
    fh_err err = {0};
    fh_engine_options eo = engine_options(0, false);
    fh_engine *e = tiny_engine(model, &eo);
    fh_scheduler *s = NULL;
    heard *want = fh_alloc_zero(3, sizeof *want);
    CHECK(want != NULL);
    uint32_t prompt[60] = {1, 2, 3};
    CHECK_OK(fh_scheduler_new(&s, e, NULL, &err), err);
    for (uint32_t i = 0; i < 3; i++) {
        prompt[40] = i;
        fh_request r = heard_request(&want[i], prompt, 60, 25);
        r.n_choice = 1 + i % 2;
        heard_submit(&want[i], s, &r);
        heard_wait(&want[i]);
        fh_ticket_free(want[i].ticket);
    }
    fh_scheduler_free(s);
    fh_engine_free(e);
    for (uint64_t nth = 1; !run_with_fault(model, want, nth, false); nth += 1 + nth / 40) {
    }
    for (uint64_t nth = 1; nth < 400; nth += 1 + nth / 10) run_with_fault(model, want, nth, true);
    fh_free(want);
    tiny_free(model);
}
