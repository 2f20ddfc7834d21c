/* tests/unit/test_scheduler_golden.c - the scheduler on real architectures: in company, and alone by other means.
 * SPDX-License-Identifier: Apache-2.0
 * That an answer is right is what the golden logits are for (tests/golden); here it must be the same. */
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "infer/generate.h"
#include "library/builtin.h"
#include "unit/test_scheduler_part.h"

#define REQUESTS 6u
#define PROMPT 150u
#define LENGTH 24u

typedef struct subject {
    fh_model *model;
    uint32_t prompt[REQUESTS][PROMPT], n_prompt[REQUESTS];
    uint32_t input[40], n_input;
    fh_sampler_step step;
    fh_sampler_steps chain;
} subject;

static void make_prompts(subject *x) {
    fh_rng rng;
    const fh_spec *spec = fh_model_spec(x->model);
    fh_rng_init(&rng, fh_test_seed(), 8);
    x->n_input = spec->topology == FH_TOPOLOGY_ENCODER_DECODER ? 40 : 0;
    for (uint32_t j = 0; j < 40; j++) x->input[j] = (uint32_t)fh_rng_below(&rng, spec->n_vocab);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        x->n_prompt[i] = x->n_input ? 1 + i : i % 2 ? PROMPT : 5 + i;
        for (uint32_t j = 0; j < PROMPT; j++)
            x->prompt[i][j] =
                j < 100 && i % 2 ? (j * 3 + 5) % spec->n_vocab : (uint32_t)fh_rng_below(&rng, spec->n_vocab);
    }
    x->step = (fh_sampler_step){.kind = FH_STEP_TOP_K, .arg = {3}};
    x->chain = (fh_sampler_steps){&x->step, 1, 1};
}

static fh_request request(const subject *x, heard *h, uint32_t i) {
    fh_request r = heard_request(h, x->prompt[i], x->n_prompt[i], LENGTH);
    if (i >= 2) r.chain = &x->chain;
    r.encoder = x->input;
    r.n_encoder = x->n_input;
    r.seed = i;
    r.n_choice = 1 + i % 2;
    return r;
}

static fh_status keep(void *ctx, const fh_generate_event *ev, fh_err *err) {
    heard_choice *c = ctx;
    double ln;
    if (!ev->has_token) return c->finish = FH_FINISH_LENGTH, c->n_end++, FH_OK;
    FH_TRY(fh_sampler_logprobs(ev->logits, ev->n_logit, ev->pick.token, &ln, NULL, 0, NULL, err));
    c->ln[c->n] = (float)ln;
    c->token[c->n++] = ev->pick.token;
    return FH_OK;
}

static void answer_alone(const subject *x, const fh_request *r, uint32_t choice, heard_choice *out) {
    fh_err err = {0};
    fh_engine *e = NULL;
    fh_session *s = NULL;
    fh_sampler *sampler = NULL;
    fh_sampler_scratch *scratch = NULL;
    fh_generation *g = NULL;
    fh_engine_options eo = {.threads = 1, .page = 64, .batch = 512, .exact = true, .no_prefix_cache = true};
    CHECK_OK(fh_engine_new(&e, x->model, &eo, &err), err);
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
    if (r->n_encoder) CHECK_OK(fh_session_encode(s, r->encoder, r->n_encoder, &err), err);
    fh_sampler_config k = {
        .step = r->chain->ptr, .n_step = r->chain->len, .seed = r->seed, .choice = choice, .n_context = 1000};
    CHECK_OK(fh_sampler_new(&sampler, &k, &err), err);
    CHECK_OK(fh_sampler_scratch_new(&scratch, fh_engine_width(e, FH_EXPORT_LOGITS), &err), err);
    memset(out, 0, sizeof *out);
    fh_generate_options o = {.sampler = sampler, .scratch = scratch, .n_most = r->most, .fn = keep, .ctx = out};
    CHECK_OK(fh_generation_new(&g, s, &o, &err), err);
    CHECK_OK(fh_generation_begin(g, r->prompt, r->n_prompt, &err), err);
    CHECK_OK(fh_generate_run(&g, 1, NULL, &err), err);
    fh_generation_free(g);
    fh_session_free(s);
    fh_sampler_free(sampler);
    fh_sampler_scratch_free(scratch);
    fh_engine_free(e);
}

static void check_model(fh_bundle *bundle, const char *name) {
    fh_err err = {0};
    subject *x = fh_alloc_zero(1, sizeof *x);
    heard *h = fh_alloc_zero(REQUESTS, sizeof *h);
    heard_choice *want = fh_alloc_zero(1, sizeof *want);
    CHECK(x && h && want);
    if (fh_model_load(&x->model, bundle, &err) != FH_OK) fh_test_fail(__FILE__, __LINE__, "%s: %s", name, err.message);
    make_prompts(x);
    fh_engine *e = NULL;
    fh_scheduler *s = NULL;
    fh_engine_options eo = {.threads = 2, .page = 16, .batch = 64, .snapshot = 32, .exact = true};
    CHECK_OK(fh_engine_new(&e, x->model, &eo, &err), err);
    CHECK_OK(fh_scheduler_new(&s, e, &(fh_scheduler_options){.prompt_piece = 24, .draft_most = 4}, &err), err);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        fh_request r = request(x, &h[i], i);
        heard_submit(&h[i], s, &r);
    }
    for (uint32_t i = 0; i < REQUESTS; i++) {
        heard_wait(&h[i]);
        if (h[i].n_failed) fh_test_fail(__FILE__, __LINE__, "%s: request %u: %s", name, i, h[i].err.message);
        fh_request r = request(x, &h[i], i);
        for (uint32_t j = 0; j < r.n_choice; j++) {
            answer_alone(x, &r, j, want);
            const char *what = heard_difference(&h[i].choice[j], want);
            if (what) fh_test_fail(__FILE__, __LINE__, "%s: request %u, choice %u: %s", name, i, j, what);
        }
        CHECK_U64(h[i].wrong, 0);
        fh_ticket_free(h[i].ticket);
    }
    fh_scheduler_free(s);
    CHECK_U64(fh_engine_get_usage(e).page_bytes_live, 0);
    fh_engine_free(e);
    fh_model_free(x->model);
    fh_free(x);
    fh_free(h);
    fh_free(want);
}

static void check_file(const char *root, const char *name) {
    fh_err err = {0};
    char path[512];
    fh_bundle *b = NULL;
    snprintf(path, sizeof path, "%s/%s", root, name);
    CHECK_OK(fh_bundle_open(&b, path, &err), err);
    check_model(b, name);
}

TEST(scheduler_golden, the_model_in_the_binary) {
    fh_err err = {0};
    fh_bundle *b = NULL;
    CHECK_OK(fh_bundle_open_static(&b, fh_builtin_model(), "built-in", &err), err);
    check_model(b, "built-in");
}

TEST(scheduler_golden, committed_models) {
    static const char *const names[] = {"types/Q4_K_M.gguf", "gguf/gpt-oss-mxfp4.gguf", "models/mm-gemma3"};
    for (size_t i = 0; i < FH_COUNT(names); i++) check_file(fh_test_golden(), names[i]);
}

TEST_GOLDEN(scheduler_golden, every_shape) {
    static const char *const names[] = {"models/llama3-gqa", "gguf/qwen3-moe.gguf",   "gguf/gemma3.gguf",
                                        "models/gpt-oss",    "gguf/deepseek-v3.gguf", "models/qwen35",
                                        "gguf/t5.gguf"};
    for (size_t i = 0; i < FH_COUNT(names); i++) check_file(fh_test_shared(), names[i]);
}
