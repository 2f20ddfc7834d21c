/* evaluate/bench.c - owns engines and sessions of the runs, and the clock around them.
 * SPDX-License-Identifier: Apache-2.0
 * Invariant: between the two looks at the clock there is what a user waits for and nothing else: no session is made at
 * a depth, no engine, no random numbers. */
#include "evaluate/bench.h"

#include <math.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/rng.h"
#include "library/builtin.h"

#define ENCODER_INPUT 512u /* tokens that a decoder's generation looks at */

struct fh_bench {
    const fh_model *model;
    fh_export what;
    fh_bench_options opt;
    fh_engine *engine; /* NULL until the first case */
    fh_bench_case made_for;
    uint32_t *token; /* random ids */
    uint32_t n_token, n_vocab;
};

/* One case under way. */
typedef struct run_state {
    fh_bench *b;
    const fh_bench_case *c;
    fh_session *base[FH_BENCH_MOST_STREAMS]; /* at their depth; NULL: a fresh session each run */
    fh_session *now[FH_BENCH_MOST_STREAMS];
    float seen; /* so that rows are looked at */
} run_state;

void fh_bench_result_sum_up(fh_bench_result *r) {
    double n = (double)r->n_run, sum_ns = 0, sum_ts = 0, off_ns = 0, off_ts = 0;
    for (uint32_t i = 0; i < r->n_run; i++) {
        sum_ns += (double)r->ns[i];
        sum_ts += r->tokens * 1e9 / (double)FH_MAX(r->ns[i], 1);
    }
    r->avg_ns = n > 0 ? sum_ns / n : 0;
    r->avg_ts = n > 0 ? sum_ts / n : 0;
    for (uint32_t i = 0; i < r->n_run; i++) {
        double d_ns = (double)r->ns[i] - r->avg_ns, d_ts = r->tokens * 1e9 / (double)FH_MAX(r->ns[i], 1) - r->avg_ts;
        off_ns += d_ns * d_ns;
        off_ts += d_ts * d_ts;
    }
    r->stddev_ns = r->n_run > 1 ? sqrt(off_ns / (n - 1)) : 0;
    r->stddev_ts = r->n_run > 1 ? sqrt(off_ts / (n - 1)) : 0;
}

/* ---- engine and tokens ---- */
fh_status fh_bench_new(fh_bench **out, const fh_model *model, fh_export what, const fh_bench_options *opt,
                       fh_err *err) {
    if (opt->runs < 1 || opt->runs > FH_BENCH_MOST_RUNS)
        return fh_fail(err, FH_ERR_USAGE, "%u repetitions, from 1 to %d are possible", opt->runs, FH_BENCH_MOST_RUNS);
    fh_bench *b = fh_alloc_zero(1, sizeof *b);
    if (!b) return fh_fail_memory(err, sizeof *b);
    *b = (fh_bench){.model = model, .what = what, .opt = *opt, .n_vocab = fh_model_spec(model)->n_vocab};
    *out = b;
    return FH_OK;
}

void fh_bench_free(fh_bench *b) {
    if (!b) return;
    fh_engine_free(b->engine);
    fh_free(b->token);
    fh_free(b);
}

static bool has_encoder(const fh_bench *b) { return fh_model_plan(b->model, FH_PLAN_ENCODE) != NULL; }

const char *fh_bench_why_not(const fh_bench *b, const fh_bench_case *c) {
    bool whole = fh_model_plan(b->model, FH_PLAN_STEP)->whole_sequences;
    if (whole && (c->n_gen || c->n_depth)) return "the model sees whole sequences: it generates nothing";
    if (has_encoder(b) && c->n_prompt && c->n_depth) return "the encoder's input is always the first";
    return NULL;
}

static uint32_t batch_of(const fh_bench_case *c) { return FH_MAX(FH_MIN(c->n_batch, c->n_ubatch), c->n_streams); }

static fh_status make_engine(fh_engine **out, const fh_model *model, const fh_bench_case *c,
                             const fh_bench_options *opt, fh_err *err) {
    fh_engine_options e = {.threads = (int)c->n_threads,
                           .kv_type = c->kv_type,
                           .batch = batch_of(c),
                           .rows = FH_MAX(c->n_streams, opt->most_streams),
                           .exact = opt->exact,
                           .no_prefix_cache = true};
    return fh_engine_new(out, model, &e, err);
}

static bool engine_fits(const fh_bench *b, const fh_bench_case *c) {
    const fh_bench_case *m = &b->made_for;
    bool rows = FH_MAX(m->n_streams, b->opt.most_streams) >= c->n_streams;
    return b->engine && rows && m->n_threads == c->n_threads && m->kv_type == c->kv_type && batch_of(m) == batch_of(c);
}

static fh_status prepare_engine(fh_bench *b, const fh_bench_case *c, fh_err *err) {
    if (engine_fits(b, c)) return FH_OK;
    fh_engine_free(b->engine);
    b->engine = NULL;
    FH_TRY(make_engine(&b->engine, b->model, c, &b->opt, err));
    b->made_for = *c;
    fh_engine_wait_packed(b->engine);
    return FH_OK;
}

/* The same for every run and machine. */
static fh_status prepare_tokens(fh_bench *b, uint64_t n, fh_err *err) {
    if (n > UINT32_MAX)
        return fh_fail(err, FH_ERR_LIMIT, "a case of %llu tokens is too long: at most %u fit one sequence",
                       (unsigned long long)n, UINT32_MAX);
    if (n <= b->n_token) return FH_OK;
    uint32_t *token = fh_realloc(b->token, n, sizeof *token);
    if (!token) return fh_fail_memory(err, n * sizeof *token);
    fh_rng r;
    fh_rng_init(&r, 512, 128);
    for (uint64_t i = 0; i < n; i++) token[i] = b->n_vocab ? (uint32_t)fh_rng_below(&r, b->n_vocab) : 0;
    b->token = token;
    b->n_token = (uint32_t)n;
    return FH_OK;
}

/* ---- sessions ---- */
static fh_status look(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    run_state *r = ctx;
    (void)work, (void)index, (void)err;
    r->seen += row[0];
    return FH_OK;
}

static uint32_t encoder_input(const fh_bench *b, const fh_bench_case *c) {
    uint32_t most = fh_model_spec(b->model)->n_context, n = c->n_prompt ? c->n_prompt : ENCODER_INPUT;
    return !c->n_prompt && most && most < n ? most : n;
}

/* So many tokens at once into one session, in calls of n_batch. */
static fh_status feed(run_state *r, fh_session *s, const uint32_t *token, uint32_t n, fh_want want, fh_err *err) {
    bool whole = fh_model_plan(r->b->model, FH_PLAN_STEP)->whole_sequences;
    uint32_t call = whole ? n : r->c->n_batch;
    for (uint32_t at = 0; at < n; at += FH_MIN(call, n - at)) {
        fh_work work = {.session = s, .token = token + at, .n = FH_MIN(call, n - at), .want = want};
        FH_TRY(fh_engine_step(r->b->engine, &work, 1, r->b->what, look, r, r->b->opt.stop, err));
    }
    return FH_OK;
}

static fh_status open_session(fh_session **out, run_state *r, fh_err *err) {
    const fh_bench_case *c = r->c;
    uint32_t n = c->n_prompt + c->n_gen + c->n_depth;
    return fh_session_new(out, r->b->engine, n, NULL, 0, err);
}

/* Sequences at their depth, each with tokens (and so pages) of its own. */
static fh_status make_bases(run_state *r, fh_err *err) {
    const fh_bench_case *c = r->c;
    bool encode = has_encoder(r->b) && !c->n_prompt;
    if (c->n_depth == 0 && !encode) return FH_OK;
    for (uint32_t i = 0; i < c->n_streams; i++) {
        FH_TRY(open_session(&r->base[i], r, err));
        if (encode) FH_TRY(fh_session_encode(r->base[i], r->b->token + i, encoder_input(r->b, c), err));
        FH_TRY(feed(r, r->base[i], r->b->token + i, c->n_depth, FH_WANT_NONE, err));
    }
    return FH_OK;
}

static void close_all(fh_session **s) {
    for (uint32_t i = 0; i < FH_BENCH_MOST_STREAMS; i++) {
        fh_session_free(s[i]);
        s[i] = NULL;
    }
}

/* ---- a run ---- */
static fh_status generate(run_state *r, uint32_t n_gen, fh_err *err) {
    fh_work work[FH_BENCH_MOST_STREAMS];
    const fh_bench_case *c = r->c;
    for (uint32_t step = 0; step < n_gen; step++) {
        for (uint32_t i = 0; i < c->n_streams; i++)
            work[i] = (fh_work){.session = r->now[i], .token = r->b->token + step + i, .n = 1, .want = FH_WANT_LAST};
        FH_TRY(fh_engine_step(r->b->engine, work, c->n_streams, r->b->what, look, r, r->b->opt.stop, err));
    }
    return FH_OK;
}

static fh_status run_timed(run_state *r, uint32_t n_prompt, uint32_t n_gen, uint64_t *ns, fh_err *err) {
    const uint32_t *token = r->b->token;
    uint64_t start = fh_clock_ns();
    if (n_prompt && has_encoder(r->b)) FH_TRY(fh_session_encode(r->now[0], token, n_prompt, err));
    else FH_TRY(feed(r, r->now[0], token, n_prompt, FH_WANT_LAST, err));
    FH_TRY(generate(r, n_gen, err));
    *ns = fh_clock_ns() - start;
    return FH_OK;
}

static fh_status run_once(run_state *r, uint32_t n_prompt, uint32_t n_gen, uint64_t *ns, fh_err *err) {
    fh_status st = FH_OK;
    for (uint32_t i = 0; st == FH_OK && i < r->c->n_streams; i++)
        st = r->base[i] ? fh_session_fork(&r->now[i], r->base[i], err) : open_session(&r->now[i], r, err);
    if (st == FH_OK) st = run_timed(r, n_prompt, n_gen, ns, err);
    close_all(r->now);
    if (st == FH_OK && r->b->opt.ran) r->b->opt.ran(r->b->opt.ctx);
    return st;
}

static fh_status run_all(run_state *r, fh_bench_result *out, fh_err *err) {
    const fh_bench_case *c = r->c;
    uint64_t unused;
    FH_TRY(make_bases(r, err));
    if (!r->b->opt.no_warmup) FH_TRY(run_once(r, c->n_prompt, FH_MIN(c->n_gen, 1), &unused, err));
    for (out->n_run = 0; out->n_run < r->b->opt.runs; out->n_run++)
        FH_TRY(run_once(r, c->n_prompt, c->n_gen, &out->ns[out->n_run], err));
    return FH_OK;
}

/* ---- what a run must do ---- */
static void count_prompt(const fh_bench *b, const fh_bench_case *c, fh_bench_result *out,
                         const fh_roofline_batch *like) {
    const fh_plan *step = fh_model_plan(b->model, FH_PLAN_STEP), *encode = fh_model_plan(b->model, FH_PLAN_ENCODE);
    fh_roofline_batch x = *like;
    bool whole = step->whole_sequences || encode;
    uint32_t most = whole ? c->n_prompt : FH_MIN(c->n_batch, c->n_ubatch);
    for (uint32_t at = 0; at < c->n_prompt; at += (uint32_t)x.n_token) {
        uint32_t call = whole ? c->n_prompt : c->n_batch - at % c->n_batch; /* to the end of this call */
        x.n_token = FH_MIN(FH_MIN(most, call), c->n_prompt - at);
        x.n_row = !encode && (x.n_token == call || at + x.n_token == c->n_prompt);
        x.past = c->n_depth + at;
        x.encoder_rows = encode ? c->n_prompt : 0;
        if (encode) x.past = 0;
        fh_roofline_add(&out->work, encode ? encode : step, &x);
        out->n_step++;
    }
}

/* The middle step stands for all: what they read grows evenly. */
static void count_generation(const fh_bench *b, const fh_bench_case *c, fh_bench_result *out,
                             const fh_roofline_batch *like) {
    fh_roofline_work one = {0};
    fh_roofline_batch x = *like;
    if (c->n_gen == 0) return;
    x.n_seq = x.n_token = x.n_row = c->n_streams;
    x.past = c->n_depth + (has_encoder(b) ? 0 : c->n_prompt) + (c->n_gen - 1) / 2;
    x.encoder_rows = has_encoder(b) ? encoder_input(b, c) : 0;
    fh_roofline_add(&one, fh_model_plan(b->model, FH_PLAN_STEP), &x);
    out->n_step += c->n_gen;
    out->work.weight_bytes += one.weight_bytes * c->n_gen;
    out->work.state_bytes += one.state_bytes * c->n_gen;
    for (int k = 0; k < FH_PEAK_KINDS; k++) out->work.ops[k] += one.ops[k] * c->n_gen;
}

fh_status fh_bench_run(fh_bench *b, const fh_bench_case *c, fh_bench_result *out, fh_err *err) {
    const char *why_not = fh_bench_why_not(b, c);
    FH_REQUIRE(c->n_streams >= 1 && c->n_streams <= FH_BENCH_MOST_STREAMS && c->n_batch && c->n_ubatch);
    FH_REQUIRE(c->n_streams == 1 || c->n_prompt == 0);
    if (why_not) return fh_fail(err, FH_ERR_UNSUPPORTED, "%s", why_not);
    uint64_t n = (uint64_t)FH_MAX(c->n_depth, FH_MAX(encoder_input(b, c), c->n_gen)) + c->n_streams;
    FH_TRY(prepare_tokens(b, n, err));
    FH_TRY(prepare_engine(b, c, err));
    run_state r = {.b = b, .c = c};
    *out = (fh_bench_result){.tokens = c->n_prompt + (double)c->n_gen * c->n_streams};
    const fh_roofline_batch like = {.n_seq = 1, .kv_type = c->kv_type, .exact = b->opt.exact};
    count_prompt(b, c, out, &like);
    count_generation(b, c, out, &like);
    fh_status st = run_all(&r, out, err);
    out->usage = fh_engine_get_usage(b->engine);
    close_all(r.base);
    if (st == FH_OK) fh_bench_result_sum_up(out);
    return st;
}

/* ---- first token ---- */
static fh_status first_step(fh_engine *e, fh_export what, fh_err *err) {
    const fh_model *m = fh_engine_model(e);
    fh_session *s = NULL;
    run_state r = {0};
    uint32_t token = 0;
    fh_status st = fh_session_new(&s, e, 1, NULL, 0, err);
    if (st == FH_OK && fh_model_plan(m, FH_PLAN_ENCODE)) {
        st = fh_session_encode(s, &token, 1, err);
        token = fh_model_spec(m)->decoder_start;
    }
    fh_work work = {.session = s, .token = &token, .n = 1, .want = FH_WANT_LAST};
    if (st == FH_OK) st = fh_engine_step(e, &work, 1, what, look, &r, NULL, err);
    fh_session_free(s);
    return st;
}

static fh_status open_and_step(const fh_location *at, fh_export what, const fh_bench_case *c,
                               const fh_bench_options *opt, uint64_t *ns, fh_err *err) {
    fh_bundle *bundle = NULL;
    fh_model *model = NULL;
    fh_engine *engine = NULL;
    uint64_t start = fh_clock_ns();
    fh_status st = fh_location_open(&bundle, at, err);
    if (st == FH_OK) st = fh_model_load(&model, bundle, err);
    if (st == FH_OK) st = make_engine(&engine, model, c, opt, err);
    if (st == FH_OK) st = first_step(engine, what, err);
    *ns = fh_clock_ns() - start;
    fh_engine_free(engine);
    fh_model_free(model);
    return st;
}

fh_status fh_bench_first_token(const fh_location *at, fh_export what, const fh_bench_case *c,
                               const fh_bench_options *opt, fh_bench_result *out, fh_err *err) {
    uint64_t unused;
    FH_REQUIRE(opt->runs >= 1 && opt->runs <= FH_BENCH_MOST_RUNS);
    *out = (fh_bench_result){.tokens = 1};
    FH_TRY(open_and_step(at, what, c, opt, &unused, err));
    if (opt->ran) opt->ran(opt->ctx);
    for (; out->n_run < opt->runs; out->n_run++) {
        if (opt->stop && *opt->stop) return fh_fail(err, FH_ERR_CANCELLED, "stopped");
        FH_TRY(open_and_step(at, what, c, opt, &out->ns[out->n_run], err));
        if (opt->ran) opt->ran(opt->ctx);
    }
    fh_bench_result_sum_up(out);
    return FH_OK;
}
