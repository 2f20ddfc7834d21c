/* infer/engine_step.c - a step: the work of several sessions, cut into batches, computed, handed out.
 * SPDX-License-Identifier: Apache-2.0
 * Everything that can be refused is refused before anything changes; lists and tables have room for the whole step from
 * then on, so that between batches only pages can be missing. A batch counts when the executor is through with it:
 * then the sessions move on, then rows are handed out. What a failed batch wrote lies behind n_row and is given back;
 * recurrent state, which is written in place, is dropped and computed again.
 * How work is cut does not show in the results (device/exec.h), only in time. */
#include "base/num.h"
#include "infer/infer_part.h"

/* ---- what is asked ---- */
static uint64_t regime_of(const fh_engine *e, uint32_t length) {
    const fh_plan *p = e->src.step;
    uint64_t r = 0;
    for (uint32_t i = 0; i < p->n_rope; i++)
        if (p->rope[i].long_freq && length > p->rope[i].long_from) r |= 1ull << i;
    return r;
}

static void note_wanted(fh_session *s, fh_want want) {
    s->want_first = s->want_end = s->target;
    if (s->base == s->target) return;
    if (want == FH_WANT_LAST) s->want_first = s->target - 1;
    if (want == FH_WANT_ALL || want == FH_WANT_FIRST) s->want_first = s->base;
    if (want == FH_WANT_FIRST) s->want_end = s->base + 1;
}

static fh_status check_work(fh_engine *e, const fh_work *w, fh_err *err) {
    fh_session *s = w->session;
    FH_REQUIRE(s->engine == e);
    if (s->mark == e->n_step) return fh_fail(err, FH_ERR_USAGE, "a session stands twice in one step");
    s->mark = e->n_step;
    if (e->src.encode && !s->encoding)
        return fh_fail(err, FH_ERR_USAGE, "the session has no input yet: its encoder must run first");
    if (w->n > s->limit || s->n_token > s->limit - w->n)
        return fh_fail(err, FH_ERR_LIMIT, "%u tokens more do not fit: the session has %u of at most %u", w->n,
                       s->n_token, s->limit);
    FH_TRY(fh_engine_check_tokens(e, w->token, w->n, err));
    FH_TRY(fh_session_reserve(s, s->n_token + w->n, err));
    s->base = s->n_token;
    s->target = s->n_token + w->n;
    note_wanted(s, w->want);
    return FH_OK;
}

static fh_status check(fh_engine *e, const fh_work *work, uint32_t n_work, fh_export what, fh_row_fn *fn, fh_err *err) {
    e->n_step++;
    for (uint32_t i = 0; i < n_work; i++) {
        if (work[i].want != FH_WANT_NONE && (what >= FH_EXPORT_COUNT || e->src.step->exported[what] == FH_NO_VALUE))
            return fh_fail(err, FH_ERR_UNSUPPORTED, "the model does not give the results that are asked for");
        FH_REQUIRE(fn || work[i].want == FH_WANT_NONE);
        FH_TRY(check_work(e, &work[i], err));
    }
    return FH_OK;
}

/* Nothing here fails. */
static void begin(fh_engine *e, const fh_work *w) {
    fh_session *s = w->session;
    if (w->n) memcpy(s->token + s->base, w->token, w->n * sizeof *s->token);
    uint64_t regime = regime_of(e, s->target);
    if (regime != s->regime) fh_session_forget(s);
    s->regime = regime;
    if (s->n_row < s->base || s->base == 0) fh_session_adopt(s, s->want_first, s->n_row);
    s->n_token = FH_MAX(s->n_token, s->n_row);
    s->at = e->whole && w->n == 0 ? s->target : s->n_row;
    /* So that who comes with the same prompt, or with a longer one, computes less than a page of it. */
    bool prompt = s->target - s->at >= e->layout.page;
    s->border = prompt ? (s->target - 1) / e->layout.page * e->layout.page : 0;
    e->recomputed += s->base - FH_MIN(s->at, s->base);
}

/* ---- batches ---- */
uint32_t fh_engine_portion(const fh_engine *e, uint32_t at, uint32_t n, uint32_t room, uint32_t border) {
    n = FH_MIN(n, room);
    /* Ends at page borders, so that a sliding group never lies across one page more than it must. */
    uint32_t end = (uint32_t)(((uint64_t)at + e->batch_most) / e->layout.page * e->layout.page);
    if (e->slides && !e->whole && end > at) n = FH_MIN(n, end - at);
    if (!e->recurrent || !e->prefix) return n;
    if (border > at) n = FH_MIN(n, border - at);
    n = FH_MIN(n, e->opt.snapshot - at % e->opt.snapshot);
    return n;
}

/* How many of the session's next tokens go into a batch with that much room; 0: none, the batch is full. */
static uint32_t take(const fh_engine *e, const fh_session *s, uint32_t tokens, uint32_t rows) {
    uint32_t left = s->target - s->at;
    if (e->whole) return left <= tokens && s->want_end - s->want_first <= rows ? left : 0;
    uint32_t n = fh_engine_portion(e, s->at, left, tokens, s->border);
    uint32_t first = FH_MAX(s->want_first, s->at), end = FH_MIN(s->want_end, s->at + n);
    return end > first && end - first > rows ? first + rows - s->at : n;
}

static fh_status add_piece(fh_engine *e, fh_batch *b, uint32_t work, fh_session *s, uint32_t n, fh_err *err) {
    FH_TRY(fh_session_prepare(s, n, err));
    fh_piece *piece = &e->piece[b->n_seq];
    *piece = (fh_piece){.session = s, .work = work, .n = n, .first_row = b->n_row};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t pos = s->at + i, t = b->n_token + i;
        e->token[t] = s->token[pos];
        e->pos[t] = pos;
        e->seq_of[t] = b->n_seq;
        if (pos >= s->want_first && pos < s->want_end) e->row[b->n_row++] = t;
    }
    piece->n_row = b->n_row - piece->first_row;
    fh_batch_seq *q = &e->seq[b->n_seq];
    *q = (fh_batch_seq){.first = b->n_token,
                        .n = n,
                        .past = s->at,
                        .length = s->target,
                        .encoder_rows = s->encoding ? s->encoding->n_row : 0,
                        .slot = (float *)(void *)s->slot,
                        .adapters = s->adapters};
    for (uint32_t g = 0; g < e->n_group; g++)
        q->page[g] = e->role[g] == FH_ROLE_CROSS && s->encoding ? s->encoding->page[g] : s->page[g];
    b->n_token += n;
    b->n_seq++;
    return FH_OK;
}

static fh_status fill(fh_engine *e, fh_batch *b, const fh_work *work, uint32_t n_work, uint32_t *from, fh_err *err) {
    while (*from < n_work && work[*from].session->at == work[*from].session->target) ++*from;
    for (uint32_t i = *from; i < n_work && b->n_seq < e->seq_most; i++) {
        fh_session *s = work[i].session;
        if (s->at == s->target) continue;
        uint32_t n = take(e, s, e->batch_most - b->n_token, e->rows_most - b->n_row);
        if (n == 0) break;
        FH_TRY(add_piece(e, b, i, s, n, err));
    }
    return FH_OK;
}

/* The sessions are where they were before the batch. */
static void undo(const fh_engine *e, const fh_batch *b, const fh_work *work, uint32_t n_work, bool ran) {
    for (uint32_t i = 0; ran && e->recurrent && i < b->n_seq; i++) fh_session_forget(e->piece[i].session);
    for (uint32_t i = 0; i < n_work; i++) fh_session_trim(work[i].session);
}

static void commit(fh_engine *e, const fh_batch *b) {
    for (uint32_t i = 0; i < b->n_seq; i++) {
        fh_session *s = e->piece[i].session;
        s->at += e->piece[i].n;
        s->n_row = s->at;
        s->n_token = FH_MAX(s->n_token, s->at);
        fh_session_settle(s);
    }
}

static fh_status hand_out(fh_engine *e, const fh_batch *b, fh_export what, fh_row_fn *fn, void *ctx, fh_err *err) {
    if (b->n_row == 0) return FH_OK;
    const fh_value *v = &e->src.step->value[e->src.step->exported[what]];
    const float *rows = fh_exec_export(e->exec[FH_PLAN_STEP], what);
    FH_REQUIRE(rows && v->dim != FH_DIM_ONE);
    for (uint32_t i = 0; i < b->n_seq; i++) {
        const fh_piece *p = &e->piece[i];
        for (uint32_t r = p->first_row; r < p->first_row + p->n_row; r++) {
            size_t at = v->dim == FH_DIM_ROWS ? r : e->row[r];
            FH_TRY(fn(ctx, p->work, e->pos[e->row[r]] - p->session->base, rows + at * v->per * v->width, err));
        }
    }
    return FH_OK;
}

fh_status fh_engine_step(fh_engine *e, const fh_work *work, uint32_t n_work, fh_export what, fh_row_fn *fn, void *ctx,
                         const volatile int *stop, fh_err *err) {
    FH_TRY(check(e, work, n_work, what, fn, err));
    for (uint32_t i = 0; i < n_work; i++) begin(e, &work[i]);
    for (uint32_t from = 0;;) {
        fh_batch b = {.token = e->token, .pos = e->pos, .seq_of = e->seq_of, .row = e->row, .seq = e->seq};
        fh_status st = stop && *stop ? fh_fail(err, FH_ERR_CANCELLED, "stopped") : FH_OK;
        if (st != FH_OK) return st;
        st = fill(e, &b, work, n_work, &from, err);
        if (st == FH_OK && b.n_seq == 0) return FH_OK;
        bool ran = st == FH_OK;
        if (st == FH_OK) st = fh_exec_run(e->exec[FH_PLAN_STEP], &b, b.n_row ? 1u << what : 0, err);
        if (st != FH_OK) {
            undo(e, &b, work, n_work, ran);
            return st;
        }
        commit(e, &b);
        FH_TRY(hand_out(e, &b, what, fn, ctx, err));
    }
}
