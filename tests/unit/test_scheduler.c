/* tests/unit/test_scheduler.c - answers in company are the answers alone; choices, ends, texts, drafts, encoders.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "infer/generate.h"
#include "unit/test_scheduler_part.h"

#define MOST_REQUESTS 24u

static fh_tokenizer *make_tokenizer(void) {
    fh_err err = {0};
    fh_buf b;
    fh_tokenizer *t = NULL;
    fh_buf_init(&b, 4096);
    fh_buf_add_z(&b, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    for (uint32_t i = 5; i < TINY_VOCAB; i++)
        fh_buf_printf(&b, "%s%c%c\n", i % 3 ? "" : "##", 'a' + i % 7, 'p' + i % 8);
    CHECK_OK(fh_tokenizer_from_wordlist(&t, fh_buf_str(&b), NULL, &err), err);
    fh_buf_release(&b);
    return t;
}

/* ---- alone: an engine and a generation of their own ---- */
typedef struct alone {
    heard_choice *out;
    const fh_request *r;
} alone;

static fh_status hear_alone(void *ctx, const fh_generate_event *ev, fh_err *err) {
    alone *a = ctx;
    heard_choice *c = a->out;
    CHECK(c->len + ev->text.len <= sizeof c->text && c->n < HEARD_TOKENS);
    if (ev->text.len) memcpy(c->text + c->len, ev->text.ptr, ev->text.len);
    c->len += ev->text.len;
    if (ev->has_token) {
        double ln;
        FH_TRY(fh_sampler_logprobs(ev->logits, ev->n_logit, ev->pick.token, &ln, NULL, 0, NULL, err));
        c->ln[c->n] = (float)ln;
        c->token[c->n++] = ev->pick.token;
        return FH_OK;
    }
    static const fh_finish finish[] = {[FH_GENERATE_END_TOKEN] = FH_FINISH_STOP,
                                       [FH_GENERATE_STOP] = FH_FINISH_STOP_STRING,
                                       [FH_GENERATE_LENGTH] = FH_FINISH_LENGTH,
                                       [FH_GENERATE_CONTEXT] = FH_FINISH_CONTEXT};
    c->n_end++;
    c->finish = finish[ev->end];
    return FH_OK;
}

static void answer_alone(const tiny *model, const fh_request *r, uint32_t choice, heard_choice *out) {
    fh_err err = {0};
    fh_engine *e = tiny_engine(model, &(fh_engine_options){.threads = 1, .page = 16, .batch = 300, .exact = true});
    fh_session *s = NULL;
    fh_sampler *sampler = NULL;
    fh_sampler_scratch *scratch = NULL;
    fh_generation *g = NULL;
    fh_sampler_config k = {
        .step = r->chain->ptr, .n_step = r->chain->len, .seed = r->seed, .choice = choice, .n_context = 1000};
    memset(out, 0, sizeof *out);
    alone a = {out, r};
    CHECK_OK(fh_sampler_new(&sampler, &k, &err), err);
    for (uint32_t i = 0; i < r->n_prompt; i++) fh_sampler_accept(sampler, r->prompt[i]);
    CHECK_OK(fh_sampler_scratch_new(&scratch, TINY_VOCAB, &err), err);
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
    if (r->n_encoder) CHECK_OK(fh_session_encode(s, r->encoder, r->n_encoder, &err), err);
    fh_generate_options o = {.sampler = sampler,
                             .scratch = scratch,
                             .n_most = r->most,
                             .end = r->end,
                             .n_end = r->n_end,
                             .tokenizer = r->tokenizer,
                             .skip_special = !r->keep_special,
                             .stop = r->stop,
                             .n_stop = r->n_stop,
                             .fn = hear_alone,
                             .ctx = &a};
    CHECK_OK(fh_generation_new(&g, s, &o, &err), err);
    CHECK_OK(fh_generation_begin(g, r->prompt, r->n_prompt, &err), err);
    CHECK_OK(fh_generate_run(&g, 1, NULL, &err), err);
    fh_generation_free(g);
    fh_session_free(s);
    fh_sampler_free(sampler);
    fh_sampler_scratch_free(scratch);
    fh_engine_free(e);
}

/* ---- many ---- */
typedef struct crowd {
    uint32_t n, shared; /* tokens that all prompts begin with */
    uint32_t n_choice;
    bool sampled, text, draft, repeat;
    bool loops; /* its answers are known to repeat themselves: drafts must be right now and then */
    uint32_t pause_every;
    fh_engine_options engine;
    fh_scheduler_options scheduler;
} crowd;

static void fill_prompt(fh_rng *rng, const crowd *k, uint32_t i, uint32_t *prompt, uint32_t *n) {
    *n = k->shared + 1 + (uint32_t)fh_rng_below(rng, i % 3 == 0 ? 100 : 20);
    for (uint32_t j = 0; j < *n; j++) {
        uint32_t x = (uint32_t)fh_rng_below(rng, TINY_VOCAB);
        prompt[j] = j < k->shared ? (j * 7 + 3) % TINY_VOCAB : k->repeat ? j % 5 + i : x;
    }
}

static void check_crowd(const tiny_options *model_options, const crowd *k) {
    fh_err err = {0};
    tiny *model = tiny_new(model_options);
    fh_tokenizer *tokenizer = make_tokenizer();
    fh_engine_options eo = k->engine;
    eo.threads = 2;
    eo.page = 16;
    eo.exact = true;
    fh_engine *e = tiny_engine(model, &eo);
    fh_scheduler_options so = k->scheduler;
    so.draft_most = k->draft ? 6 : 0;
    fh_scheduler *s = NULL;
    CHECK_OK(fh_scheduler_new(&s, e, &so, &err), err);
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 77);
    heard *h = fh_alloc_zero(MOST_REQUESTS, sizeof *h);
    heard_choice *want = fh_alloc_zero(1, sizeof *want);
    fh_request *r = fh_alloc_zero(MOST_REQUESTS, sizeof *r);
    uint32_t(*prompt)[400] = fh_alloc_zero(MOST_REQUESTS, sizeof *prompt);
    CHECK(h && want && r && prompt && k->n <= MOST_REQUESTS);
    fh_sampler_step step[] = {{.kind = FH_STEP_PENALTIES, .arg = {20, 1.2, 0.1, 0}},
                              {.kind = FH_STEP_TOP_K, .arg = {30}},
                              {.kind = FH_STEP_TEMPERATURE, .arg = {1.5}}};
    fh_sampler_steps chain = {step, 3, 3};
    static const uint32_t input[] = {5, 9, 2, 40, 33, 12, 7, 30, 3, 3, 3, 3, 41, 20, 21, 22, 23, 24, 25, 26};
    uint32_t end[2] = {11, 40};
    for (uint32_t i = 0; i < k->n; i++) {
        uint32_t n;
        fill_prompt(&rng, k, i, prompt[i], &n);
        r[i] = heard_request(&h[i], prompt[i], n, 5 + (uint32_t)fh_rng_below(&rng, k->repeat ? 150 : 40));
        if (k->sampled) r[i].chain = &chain;
        r[i].seed = i * 5;
        r[i].n_choice = k->n_choice;
        r[i].tokenizer = k->text ? tokenizer : NULL;
        r[i].end = end;
        r[i].n_end = i % 2 ? 2 : 0;
        r[i].owner = i % 3;
        if (model_options->encoder) r[i].encoder = input, r[i].n_encoder = 1 + i % 20;
        h[i].plan.pause_every = i % 2 ? k->pause_every : 0;
        heard_submit(&h[i], s, &r[i]);
    }
    for (uint32_t i = 0; i < k->n; i++) {
        heard_wait(&h[i]);
        if (h[i].n_failed) fh_test_fail(__FILE__, __LINE__, "request %u: %s", i, h[i].err.message);
        CHECK(h[i].n_done == 1 && h[i].wrong == 0 && h[i].n_start == 1 && h[i].n_prompt == r[i].n_prompt);
        uint32_t sum = 0;
        for (uint32_t j = 0; j < FH_MAX(k->n_choice, 1u); j++) {
            answer_alone(model, &r[i], j, want);
            const char *what = heard_difference(&h[i].choice[j], want);
            if (what) fh_test_fail(__FILE__, __LINE__, "request %u, choice %u: %s", i, j, what);
            sum += want->n;
        }
        CHECK_U64(h[i].n_new, sum);
        fh_ticket_free(h[i].ticket);
    }
    fh_scheduler_load load = fh_scheduler_get_load(s);
    CHECK(load.requests == k->n && load.finished == k->n && load.failed == 0 && load.refused == 0);
    if (k->draft) CHECK(load.accepted_tokens <= load.drafted_tokens);
    if (k->loops) CHECK(load.accepted_tokens > 0);
    if (k->shared >= 32 && !eo.no_prefix_cache && !model_options->encoder) CHECK(load.cached_tokens > 0);
    fh_scheduler_free(s);
    CHECK_U64(fh_engine_get_usage(e).page_bytes_live, 0);
    fh_engine_free(e);
    fh_free(h);
    fh_free(want);
    fh_free(r);
    fh_free(prompt);
    fh_tokenizer_free(tokenizer);
    tiny_free(model);
}

static const tiny_options full = {.layers = "FF", .context = 300, .seed = 5};
static const tiny_options sliding = {.layers = "FSS", .window = 20, .context = 300, .seed = 6};
static const tiny_options latent = {.layers = "L", .context = 300, .seed = 7};
static const tiny_options recurrent = {.layers = "RFR", .context = 300, .seed = 8};
static const tiny_options longer = {.layers = "FF", .context = 300, .long_from = 60, .seed = 9};
static const tiny_options coder = {.layers = "FX", .encoder = "N", .context = 150, .seed = 10};

TEST(scheduler, many_are_as_alone) {
    check_crowd(&full, &(crowd){.n = 12, .sampled = true, .text = true, .engine = {.batch = 64}});
    check_crowd(&sliding, &(crowd){.n = 12, .engine = {.batch = 48}});
    check_crowd(&latent, &(crowd){.n = 6, .shared = 50, .engine = {.batch = 64}});
    check_crowd(&recurrent, &(crowd){.n = 12, .sampled = true, .engine = {.batch = 64, .snapshot = 32}});
    check_crowd(&longer, &(crowd){.n = 10, .engine = {.batch = 40}});
}

TEST(scheduler, shared_beginnings_are_taken_over) {
    check_crowd(&full, &(crowd){.n = 16, .shared = 150, .engine = {.batch = 64}});
    check_crowd(&sliding, &(crowd){.n = 10, .shared = 90, .engine = {.batch = 64}});
    check_crowd(&recurrent, &(crowd){.n = 10, .shared = 90, .engine = {.batch = 64, .snapshot = 32}});
    check_crowd(&longer, &(crowd){.n = 10, .shared = 70, .engine = {.batch = 48}});
}

TEST(scheduler, choices_share_a_prompt) {
    check_crowd(&full, &(crowd){.n = 6, .n_choice = 4, .sampled = true, .text = true, .engine = {.batch = 64}});
    check_crowd(&sliding, &(crowd){.n = 5, .n_choice = 3, .sampled = true, .engine = {.batch = 64}});
    check_crowd(&recurrent, &(crowd){.n = 5, .n_choice = 3, .sampled = true, .engine = {.batch = 64}});
}

TEST(scheduler, drafts_change_nothing) {
    check_crowd(&full, &(crowd){.n = 8, .draft = true, .repeat = true, .loops = true, .engine = {.batch = 64}});
    check_crowd(
        &full,
        &(crowd){.n = 8, .draft = true, .repeat = true, .sampled = true, .n_choice = 2, .engine = {.batch = 64}});
    check_crowd(&sliding,
                &(crowd){.n = 8, .draft = true, .repeat = true, .engine = {.batch = 64, .no_prefix_cache = true}});
    check_crowd(&longer, &(crowd){.n = 8, .draft = true, .repeat = true, .engine = {.batch = 64}});
    check_crowd(&recurrent, &(crowd){.n = 4, .draft = true, .engine = {.batch = 64}});
}

TEST(scheduler, inputs_are_encoded) {
    check_crowd(&coder, &(crowd){.n = 8, .engine = {.batch = 64}});
    check_crowd(&coder, &(crowd){.n = 4, .n_choice = 3, .sampled = true, .engine = {.batch = 64}});
}

TEST(scheduler, pauses_change_nothing) {
    check_crowd(&full, &(crowd){.n = 12, .pause_every = 3, .text = true, .engine = {.batch = 64}});
    check_crowd(
        &full,
        &(crowd){.n = 6, .n_choice = 2, .pause_every = 5, .draft = true, .repeat = true, .engine = {.batch = 64}});
}
