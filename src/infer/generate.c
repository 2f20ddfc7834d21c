/* infer/generate.c - the loop above the engine: sample, tell, append.
 * SPDX-License-Identifier: Apache-2.0
 * Owns a generation: its detokenizer, stop strings, a copy of the list of tokens that end it.
 * Invariant: pending[0 .. n_pending) are the tokens behind the session's first `start`; how many of them the session
 * has already is told by its count alone, so that a step which failed in the middle can be repeated. */
#include "infer/generate.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"

#define MOST_TEXT ((size_t)1 << 20) /* of one token */

struct fh_generation {
    fh_session *session;
    fh_generate_options o;
    uint32_t *end;   /* [n_end] */
    uint32_t *force; /* [n_force] tokens that come next, from at_force on */
    uint32_t n_force, at_force;
    fh_stop *stop;
    fh_detok *detok;
    fh_buf piece, text; /* of one token: as it was made, and as far as it is clear */
    const uint32_t *pending;
    uint32_t n_pending, start, token; /* token: what pending points to, after the prompt */
    fh_generate_end state;
    fh_generation_stats stats;
    uint64_t began_ns, first_ns;
};

/* ---- making ---- */
fh_status fh_generation_new(fh_generation **out, fh_session *s, const fh_generate_options *opt, fh_err *err) {
    fh_generation *g = fh_alloc_zero(1, sizeof *g);
    if (!g) return fh_fail_memory(err, sizeof *g);
    g->session = s;
    g->o = *opt;
    g->state = FH_GENERATE_CANCELLED;
    fh_buf_init(&g->piece, MOST_TEXT);
    fh_buf_init(&g->text, MOST_TEXT);
    fh_status st = FH_OK;
    if (opt->n_stop && !opt->tokenizer)
        st = fh_fail(err, FH_ERR_USAGE, "stop strings need text, and there is no tokenizer");
    if (st == FH_OK) st = fh_stop_new(&g->stop, opt->stop, opt->n_stop, err);
    g->end = fh_alloc(opt->n_end, sizeof *g->end);
    if (st == FH_OK && !g->end) st = fh_fail_memory(err, opt->n_end * sizeof *g->end);
    if (st == FH_OK && opt->n_end) memcpy(g->end, opt->end, opt->n_end * sizeof *g->end);
    if (st == FH_OK && opt->tokenizer) st = fh_detok_new(&g->detok, opt->tokenizer, opt->skip_special, err);
    if (st == FH_OK) *out = g;
    else fh_generation_free(g);
    return st;
}

void fh_generation_free(fh_generation *g) {
    if (!g) return;
    fh_detok_free(g->detok);
    fh_stop_free(g->stop);
    fh_buf_release(&g->piece);
    fh_buf_release(&g->text);
    fh_free(g->end);
    fh_free(g->force);
    fh_free(g);
}

fh_status fh_generation_begin(fh_generation *g, const uint32_t *prompt, uint32_t n, fh_err *err) {
    uint32_t have = fh_session_n_token(g->session), limit = fh_session_limit(g->session);
    if (n == 0) return fh_fail(err, FH_ERR_USAGE, "an answer needs at least one token to begin behind");
    if (n > limit || have > limit - n)
        return fh_fail(err, FH_ERR_LIMIT, "a prompt of %u tokens does not fit: the session has %u of at most %u", n,
                       have, limit);
    fh_buf_clear(&g->piece);
    if (g->detok) FH_TRY(fh_detok_finish(g->detok, &g->piece, err)); /* what an earlier answer left */
    fh_stop_clear(g->stop);
    g->pending = prompt;
    g->n_pending = n;
    g->n_force = g->at_force = 0;
    g->start = have;
    g->state = FH_GENERATE_GOING;
    g->stats = (fh_generation_stats){.n_prompt = n};
    g->began_ns = fh_clock_ns();
    return FH_OK;
}

void fh_generation_constrain(fh_generation *g, fh_constraint *c) { g->o.constraint = c; }

fh_status fh_generation_force(fh_generation *g, const uint32_t *token, uint32_t n, fh_err *err) {
    uint32_t *wide = fh_realloc(g->force, (size_t)g->n_force + n + 1, sizeof *wide);
    if (!wide) return fh_fail_memory(err, ((size_t)g->n_force + n + 1) * sizeof *wide);
    g->force = wide;
    if (n) memcpy(wide + g->n_force, token, n * sizeof *wide);
    g->n_force += n;
    return FH_OK;
}

fh_generate_end fh_generation_end(const fh_generation *g) { return g->state; }

fh_generation_stats fh_generation_get_stats(const fh_generation *g) {
    fh_generation_stats st = g->stats;
    st.n_adopted = fh_session_n_adopted(g->session);
    return st;
}

/* ---- text ---- */
/* Text of a token, or what is left of it when there are no more tokens, as far as it is clear: g->text. */
static fh_status make_text(fh_generation *g, bool last, uint32_t token, fh_err *err) {
    fh_buf_clear(&g->piece);
    fh_buf_clear(&g->text);
    if (!g->detok) return FH_OK;
    FH_TRY(last ? fh_detok_finish(g->detok, &g->piece, err) : fh_detok_push(g->detok, token, &g->piece, err));
    FH_TRY(fh_buf_check(&g->piece, err));
    return fh_stop_feed(g->stop, fh_buf_str(&g->piece), &g->text, err);
}

static bool is_stopped(const fh_generation *g) { return fh_stop_found(g->stop) != FH_STOP_NONE; }

/* ---- events ---- */
static fh_status tell(fh_generation *g, const fh_generate_event *ev, fh_err *err) {
    return g->o.fn ? g->o.fn(g->o.ctx, ev, err) : FH_OK;
}

static fh_status finish(fh_generation *g, fh_generate_end end, fh_err *err) {
    g->state = FH_GENERATE_FAILED;
    fh_buf_clear(&g->text);
    if (end != FH_GENERATE_STOP) FH_TRY(make_text(g, true, 0, err));
    if (is_stopped(g)) end = FH_GENERATE_STOP; /* what was held back can complete one */
    else FH_TRY(fh_stop_finish(g->stop, &g->text, err));
    fh_generate_event ev = {.index = g->stats.n_token, .text = fh_buf_str(&g->text), .end = end};
    if (end == FH_GENERATE_STOP) ev.stop = (uint32_t)fh_stop_found(g->stop);
    FH_TRY(tell(g, &ev, err));
    g->state = end;
    return FH_OK;
}

static bool is_end(const fh_generation *g, uint32_t token) {
    for (size_t i = 0; i < g->o.n_end && (!g->o.ignore_end || g->o.constraint); i++)
        if (g->end[i] == token) return true;
    return false;
}

/* ---- a token ---- */
/* *ended: the grammar's text is complete, and there is no token that says so. */
static fh_status pick(fh_generation *g, const float *logits, size_t n, fh_pick *out, bool *ended, fh_err *err) {
    const uint32_t *allowed = NULL;
    size_t n_mask;
    fh_constraint *c = g->o.constraint;
    *ended = false;
    if (!c) return fh_sampler_pick(g->o.sampler, g->o.scratch, logits, n, NULL, out, err);
    FH_TRY(fh_constraint_allowed(c, &allowed, &n_mask, err));
    fh_err why = {0}; /* rows of the head beyond the vocabulary are no tokens */
    fh_status st = fh_sampler_pick(g->o.sampler, g->o.scratch, logits, FH_MIN(n, n_mask), allowed, out, &why);
    *ended = st == FH_ERR_NOT_FOUND && fh_constraint_can_end(c);
    if (*ended) return FH_OK;
    if (st != FH_OK && err) *err = why;
    return st;
}

static fh_status take_token(fh_generation *g, const float *logits, size_t n_logit, fh_err *err) {
    fh_generate_event ev = {.has_token = true, .index = g->stats.n_token, .logits = logits, .n_logit = n_logit};
    bool ended = false, forced = g->at_force < g->n_force;
    if (forced) ev.pick = (fh_pick){.token = g->force[g->at_force++], .n_candidate = 1, .p = 1};
    else FH_TRY(pick(g, logits, n_logit, &ev.pick, &ended, err));
    if (ended) return finish(g, FH_GENERATE_END_TOKEN, err);
    g->token = ev.pick.token;
    g->pending = &g->token;
    g->n_pending = 1;
    g->start = fh_session_n_token(g->session);
    fh_sampler_accept(g->o.sampler, g->token);
    g->stats.n_token++;
    bool ends = !forced && is_end(g, g->token);
    fh_buf_clear(&g->text);
    if (!ends && !forced && g->o.constraint) FH_TRY(fh_constraint_accept(g->o.constraint, g->token, err));
    if (!ends) FH_TRY(make_text(g, false, g->token, err));
    ev.text = fh_buf_str(&g->text);
    FH_TRY(tell(g, &ev, err));
    if (is_stopped(g)) return finish(g, FH_GENERATE_STOP, err);
    if (ends) return finish(g, FH_GENERATE_END_TOKEN, err);
    if (g->o.n_most && g->stats.n_token >= g->o.n_most) return finish(g, FH_GENERATE_LENGTH, err);
    if (g->start >= fh_session_limit(g->session)) return finish(g, FH_GENERATE_CONTEXT, err);
    return FH_OK;
}

fh_status fh_generation_take(fh_generation *g, const float *logits, size_t n_logit, fh_err *err) {
    uint64_t now = fh_clock_ns();
    if (g->stats.n_token == 0) {
        g->first_ns = now;
        g->stats.prompt_ns = now - g->began_ns;
    }
    g->stats.answer_ns = now - g->first_ns;
    fh_status st = take_token(g, logits, n_logit, err);
    if (st != FH_OK) g->state = FH_GENERATE_FAILED;
    return st;
}

fh_status fh_generation_next(fh_generation *g, fh_work *out, bool *going, fh_err *err) {
    *going = g->state == FH_GENERATE_GOING;
    if (!*going) return FH_OK;
    uint32_t done = fh_session_n_token(g->session) - FH_MIN(g->start, fh_session_n_token(g->session));
    if (done >= g->n_pending) { /* computed, but its row went astray with another's failure */
        done = g->n_pending - 1;
        FH_TRY(fh_session_rewind(g->session, g->start + done, err));
    }
    *out = (fh_work){.session = g->session, .token = g->pending + done, .n = g->n_pending - done, .want = FH_WANT_LAST};
    return FH_OK;
}

/* ---- many ---- */
#define MOST_TOGETHER 64u
typedef struct together {
    fh_generation *of[MOST_TOGETHER];
    size_t n_logit;
} together;

static fh_status take_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    together *t = ctx;
    (void)index;
    return fh_generation_take(t->of[work], row, t->n_logit, err);
}

static fh_status cancel(fh_generation *const *g, uint32_t n, fh_err *err) {
    for (uint32_t i = 0; i < n; i++)
        if (g[i]->state == FH_GENERATE_GOING) FH_TRY(finish(g[i], FH_GENERATE_CANCELLED, err));
    return FH_OK;
}

/* One step of up to MOST_TOGETHER generations from *at on. */
static fh_status step(fh_generation *const *g, uint32_t n, uint32_t *at, bool *any, const volatile int *stop,
                      fh_err *err) {
    fh_work work[MOST_TOGETHER];
    together t = {.n_logit = 0};
    uint32_t n_work = 0;
    for (; *at < n && n_work < MOST_TOGETHER; ++*at) {
        bool going = false;
        FH_TRY(fh_generation_next(g[*at], &work[n_work], &going, err));
        if (going) t.of[n_work++] = g[*at];
    }
    if (n_work == 0) return FH_OK;
    *any = true;
    fh_engine *e = fh_session_engine(work[0].session);
    t.n_logit = fh_engine_width(e, FH_EXPORT_LOGITS);
    return fh_engine_step(e, work, n_work, FH_EXPORT_LOGITS, take_row, &t, stop, err);
}

fh_status fh_generate_run(fh_generation *const *g, uint32_t n, const volatile int *stop, fh_err *err) {
    for (bool any = true; any;) {
        any = false;
        for (uint32_t at = 0; at < n;) {
            fh_err why = {0};
            fh_status st = step(g, n, &at, &any, stop, &why);
            if (st == FH_ERR_CANCELLED && stop && *stop) return cancel(g, n, err);
            if (st != FH_OK && err) *err = why;
            if (st != FH_OK) return st;
        }
    }
    return FH_OK;
}
