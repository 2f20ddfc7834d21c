/* infer/scheduler_turn.c - one batch: whose tokens it holds, and what its rows lead to.
 * SPDX-License-Identifier: Apache-2.0
 * First everybody who generates gets a token (and its guesses), then prompts get pieces of what is left, those first
 * that would start first. A session computes id[n_state ..) of its choice; the row of the last one is sampled.
 * Guesses: their rows are taken one by one, as long as the token that was sampled is the one that was guessed; after
 * the step the session goes back behind the last token that counts. Where going back would cost (a window's page that
 * is given up, a rotation that changes) nothing is guessed.
 * A step that fails is repeated choice by choice, so that only the one at fault ends. */
#include "base/clock.h"
#include "base/num.h"
#include "infer/scheduler_part.h"

/* ---- telling ---- */
static fh_finish finish_of(const fh_choice *c, fh_generate_end end) {
    switch (end) {
    case FH_GENERATE_END_TOKEN: return FH_FINISH_STOP;
    case FH_GENERATE_STOP: return FH_FINISH_STOP_STRING;
    case FH_GENERATE_LENGTH: return FH_FINISH_LENGTH;
    case FH_GENERATE_CONTEXT: return FH_FINISH_CONTEXT;
    case FH_GENERATE_GOING:
    case FH_GENERATE_CANCELLED:
    case FH_GENERATE_FAILED: break;
    }
    return c->memory_ended ? FH_FINISH_CONTEXT : FH_FINISH_CANCELLED;
}

static fh_status add_chances(fh_scheduler *s, const fh_request *r, const fh_generate_event *ev, fh_event *e,
                             fh_err *err) {
    double ln;
    size_t n = 0;
    if (!r->want_logprob && r->n_logprob == 0) return FH_OK;
    FH_TRY(fh_sampler_logprobs(ev->logits, ev->n_logit, e->token, &ln, s->top, r->n_logprob, &n, err));
    for (size_t i = 0; i < n; i++) s->chance[i] = (fh_token_chance){s->top[i].id, (float)s->top[i].value};
    e->chance.ln = (float)ln;
    e->top = s->chance;
    e->n_top = (uint32_t)n;
    return FH_OK;
}

static fh_status on_event(void *ctx, const fh_generate_event *ev, fh_err *err) {
    fh_choice *c = ctx;
    fh_ticket *t = c->ticket;
    fh_event e = {.kind = FH_EVENT_END, .choice = c->index, .index = ev->index, .text = ev->text};
    if (ev->has_token) {
        FH_REQUIRE(c->n_id < c->cap_id);
        c->id[c->n_id++] = ev->pick.token;
        if (!t->first_ns) t->first_ns = fh_clock_ns();
        t->n_new++;
        t->s->sum.new_tokens++;
        e.kind = FH_EVENT_TOKEN;
        e.token = ev->pick.token;
        e.chance.token = e.token;
        FH_TRY(add_chances(t->s, &t->r, ev, &e, err));
    } else {
        c->done = true;
        c->finish = e.finish = t->finish = finish_of(c, ev->end);
        if (ev->end == FH_GENERATE_STOP) e.stop = t->r.stop[ev->stop];
    }
    fh_ticket_tell(t, &e);
    return FH_OK;
}

fh_status fh_choice_generation(fh_choice *c, fh_err *err) {
    const fh_request *r = &c->ticket->r;
    uint32_t have = fh_session_n_token(c->session);
    const fh_generate_options o = {.sampler = c->sampler,
                                   .scratch = c->ticket->s->scratch,
                                   .n_most = r->most,
                                   .end = r->end,
                                   .n_end = r->n_end,
                                   .ignore_end = r->ignore_end,
                                   .tokenizer = r->tokenizer,
                                   .skip_special = !r->keep_special,
                                   .stop = r->stop,
                                   .n_stop = r->n_stop,
                                   .constraint = r->grammar_waits ? NULL : c->constraint,
                                   .fn = on_event,
                                   .ctx = c};
    FH_TRY(fh_generation_new(&c->generation, c->session, &o, err));
    return fh_generation_begin(c->generation, c->id + have, c->n_id - have, err);
}

/* There is no memory for another token: what the answer holds back comes with its end. */
static void end_for_memory(fh_choice *c) {
    const volatile int stop = 1;
    fh_err err = {0};
    c->memory_ended = true;
    fh_status st = FH_OK;
    if (c->ticket->n_new > 0) st = fh_generate_run(&c->generation, 1, &stop, &err);
    else st = fh_fail(&err, FH_ERR_MEMORY, "no memory is left for the state of a first token");
    if (st != FH_OK) fh_ticket_fail(c->ticket, &err);
}

/* ---- who is in ---- */
/* A choice computes up to here before something else happens to it: a row is sampled, or it is forked. */
static uint32_t goal(const fh_choice *c) { return c->ticket->forked ? c->n_id : c->ticket->r.n_prompt - 1; }
static bool is_ready(const fh_choice *c) { return c->session && !c->done && fh_ticket_is_active(c->ticket); }
static bool generates(const fh_choice *c) { return c->ticket->forked && c->n_id - fh_choice_state(c) == 1; }

/* Room in the list of ids for what a turn may bring. */
static fh_status reserve_ids(fh_choice *c, fh_err *err) {
    uint32_t need = c->n_id + FH_DRAFT_MOST + 2;
    if (need <= c->cap_id) return FH_OK;
    uint32_t cap = FH_MAX(need, c->cap_id + c->cap_id / 2);
    uint32_t *wide = fh_realloc(c->id, cap, sizeof *wide);
    if (!wide) return fh_fail_memory(err, cap * sizeof *wide);
    c->id = wide;
    c->cap_id = cap;
    return FH_OK;
}

/* Everybody gets what he needs before the batch is made: other choices, ids, memory. Somebody may be parked here. */
static bool prepare(fh_scheduler *s) {
    bool any = false;
    for (fh_ticket *t = s->running.first; t; t = t->next) {
        fh_err err = {0};
        fh_status st = FH_OK;
        if (!fh_ticket_is_active(t) || t->failed) continue;
        if (!t->forked && fh_choice_state(&t->choice[0]) >= t->r.n_prompt - 1) st = fh_ticket_fork(t, &err);
        for (uint32_t i = 0; st == FH_OK && i < t->r.n_choice; i++) {
            fh_choice *c = &t->choice[i];
            if (!is_ready(c)) continue;
            any = true;
            st = reserve_ids(c, &err);
            if (st == FH_OK && !fh_choice_assure(c, c->n_id) && !t->parked) end_for_memory(c);
        }
        if (st != FH_OK) fh_ticket_fail(t, &err);
    }
    return any;
}

/* ---- guesses ---- */
/* Which rotations are long at that length. */
static uint64_t regime_of(const fh_engine *e, uint32_t length) {
    uint64_t r = 0;
    for (uint32_t i = 0; i < e->src.step->n_rope; i++)
        if (e->src.step->rope[i].long_freq && length > e->src.step->rope[i].long_from) r |= 1ull << i;
    return r;
}

/* Can a session of n tokens grow by so many and go back to any of them for nothing? */
static bool is_free(const fh_engine *e, uint32_t n, uint32_t more) {
    for (uint32_t g = 0; g < e->n_group; g++) {
        uint32_t w = e->window[g], page = e->layout.page;
        if (e->role[g] != FH_ROLE_STEP || w == 0 || n + more < w) continue;
        uint32_t first = n < w ? 0 : (n - w + 1) / page;
        if (first != (n + more - w + 1) / page) return false;
    }
    return regime_of(e, n) == regime_of(e, n + more);
}

static uint32_t guess(fh_choice *c, uint32_t room, uint32_t company) {
    fh_ticket *t = c->ticket;
    c->n_guess = c->n_right = 0;
    if (!c->draft || t->s->careful || !fh_draft_pays(c->draft, company)) return 0;
    if (t->r.most) room = FH_MIN(room, t->r.most - FH_MIN(t->r.most, c->n_id - t->r.n_prompt + 1));
    room = FH_MIN(room, c->assured - FH_MIN(c->assured, c->n_id));
    room = FH_MIN(room, fh_session_limit(c->session) - FH_MIN(fh_session_limit(c->session), c->n_id + 1));
    uint32_t n = fh_draft_guess(c->draft, c->id, c->n_id, room, c->guess);
    while (n > 0 && !is_free(t->s->engine, c->n_id, n)) n--;
    for (uint32_t i = 0; i < n; i++) c->id[c->n_id + i] = c->guess[i];
    c->n_guess = n;
    return n;
}

/* ---- the batch ---- */
static void add_work(fh_scheduler *s, fh_choice *c, uint32_t n) {
    uint32_t at = fh_choice_state(c);
    bool sampled = c->ticket->forked && at + n >= c->n_id;
    c->n_before = at;
    c->halted = false;
    s->turn[s->n_turn] = c;
    s->work[s->n_turn++] = (fh_work){.session = c->session,
                                     .token = c->id + at,
                                     .n = n,
                                     .want = !sampled     ? FH_WANT_NONE
                                             : c->n_guess ? FH_WANT_ALL
                                                          : FH_WANT_LAST};
}

/* A piece has to reach past the length at which rotations change, or all would be computed again there. */
static uint32_t least_piece(const fh_engine *e, uint32_t at, uint32_t end) {
    uint32_t least = e->whole ? end - at : 1;
    for (uint32_t i = 0; i < e->src.step->n_rope; i++) {
        const fh_rope *r = &e->src.step->rope[i];
        if (r->long_freq && end > r->long_from && at <= r->long_from) least = FH_MAX(least, r->long_from + 1 - at);
    }
    return FH_MIN(least, end - at);
}

/* Tokens of full pages with which both begin. */
static uint32_t n_common(const fh_choice *a, const fh_choice *b, uint32_t page) {
    const fh_request *x = &a->ticket->r, *y = &b->ticket->r;
    uint32_t n = FH_MIN(goal(a), goal(b)), i = 0;
    if (x->salt != y->salt || x->adapters != y->adapters || x->n_encoder || y->n_encoder) return 0;
    while (i < n && a->id[i] == b->id[i]) i++;
    return FH_MIN(i, b->n_id - 1) / page * page;
}

/* Since it started somebody may have computed more of what it begins with. */
static void adopt_again(fh_scheduler *s, fh_choice *c, uint32_t have) {
    fh_err err = {0};
    fh_status st = fh_session_rewind(c->session, 0, &err);
    if (st == FH_OK) st = fh_choice_adopt(c, FH_MIN(goal(c), c->n_id - 1), &err);
    if (st != FH_OK) fh_ticket_fail(c->ticket, &err);
    uint32_t now = fh_choice_state(c);
    if (c->ticket->n_new > 0 || c->index > 0 || now <= have) return;
    s->sum.cached_tokens += now - have;
    c->ticket->n_cached += now - have;
}

/* Does somebody compute what this one begins with? Takes it over where it is there already. */
static bool follows(fh_scheduler *s, fh_choice *c, uint32_t n_feed) {
    fh_engine *e = s->engine;
    uint32_t page = e->layout.page, have = fh_choice_state(c);
    if (c->fed || !e->prefix) return false;
    for (uint32_t i = 0; i < n_feed; i++) {
        fh_choice *lead = s->feed[i];
        if (lead == c) break;
        uint32_t n = n_common(lead, c, page);
        if (n > have && fh_choice_state(lead) < n) return true;
    }
    if (c->adopted_at != s->sum.batches) adopt_again(s, c, have);
    c->fed = true;
    return false;
}

static void gather_generating(fh_scheduler *s, uint32_t *room) {
    uint32_t left = 0;
    for (fh_ticket *t = s->running.first; t; t = t->next)
        for (uint32_t i = 0; !t->failed && i < t->r.n_choice; i++) left += is_ready(&t->choice[i]);
    for (fh_ticket *t = s->running.first; t; t = t->next) {
        for (uint32_t i = 0; !t->failed && i < t->r.n_choice; i++) {
            fh_choice *c = &t->choice[i];
            if (!is_ready(c) || !generates(c) || s->n_turn == s->cap_turn || *room == 0) continue;
            /* Guesses take no place from others. */
            uint32_t spare = *room > left ? (*room - left) / FH_MAX(left, 1u) : 0;
            uint32_t n = 1 + guess(c, spare, left);
            add_work(s, c, n);
            *room -= n;
        }
    }
}

static void gather_feeding(fh_scheduler *s, uint32_t room) {
    uint32_t n = 0;
    for (fh_ticket *t = s->running.first; t; t = t->next) {
        for (uint32_t i = 0; !t->failed && i < t->r.n_choice && n < s->cap_turn; i++) {
            fh_choice *c = &t->choice[i];
            if (!is_ready(c) || (t->forked && generates(c)) || (!t->forked && i > 0)) continue;
            uint32_t at = n++;
            for (; at > 0 && fh_ticket_goes_first(t, s->feed[at - 1]->ticket); at--) s->feed[at] = s->feed[at - 1];
            s->feed[at] = c;
        }
    }
    for (uint32_t i = 0; i < n && room > 0 && s->n_turn < s->cap_turn; i++) {
        fh_choice *c = s->feed[i];
        if (follows(s, c, n) || c->ticket->failed) continue;
        uint32_t at = fh_choice_state(c), end = goal(c), piece = FH_MIN(room, end - at);
        piece = FH_MAX(piece, least_piece(s->engine, at, end));
        c->n_guess = c->n_right = 0;
        add_work(s, c, piece);
        room -= FH_MIN(room, piece);
    }
}

static void gather(fh_scheduler *s) {
    uint32_t room = s->engine->batch_most;
    s->n_turn = 0;
    gather_generating(s, &room);
    if (s->n_turn > 0) room = FH_MIN(room, s->opt.prompt_piece);
    gather_feeding(s, room);
    /* Who found no place comes first next time. */
    fh_ticket *first = s->running.first;
    if (s->n_turn == s->cap_turn && first && first->next) {
        fh_ticket_list_remove(&s->running, first);
        fh_ticket_list_add(&s->running, first);
    }
}

/* ---- rows ---- */
typedef struct rows {
    fh_scheduler *s;
    uint32_t first; /* work of the step in that of the turn */
} rows;

/* Never fails: what goes wrong with one choice is no reason to stop the others. */
static fh_status take_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    const rows *x = ctx;
    fh_choice *c = x->s->turn[x->first + work];
    fh_ticket *t = c->ticket;
    fh_err why = {0};
    (void)err;
    uint32_t behind = c->n_before + index + 1; /* tokens of the session that the row follows */
    if (c->done || c->halted || t->failed || behind < c->n_id) return FH_OK;
    if (c->n_guess && index > 0) {
        c->halted = behind != c->n_id || c->id[c->n_id - 1] != c->guess[index - 1] || t->paused || t->cancel;
        if (c->halted) return FH_OK;
        c->n_right++;
    }
    if (fh_generation_take(c->generation, row, x->s->n_logit, &why) != FH_OK) fh_ticket_fail(t, &why);
    return FH_OK;
}

static void settle(fh_scheduler *s, fh_choice *c) {
    uint32_t now = fh_choice_state(c), keep = goal(c) == c->n_id ? c->n_id - 1 : now;
    uint32_t computed = now - FH_MIN(now, c->n_before);
    fh_err err = {0};
    s->sum.batch_tokens += computed;
    s->sum.drafted_tokens += c->n_guess;
    s->sum.accepted_tokens += c->n_right;
    fh_owner_charge(c->ticket, computed);
    if (computed) c->fed = true;
    if (c->draft && c->n_guess) fh_draft_learn(c->draft, c->n_guess, c->n_right);
    c->n_guess = 0;
    if (c->done || c->ticket->failed) return;
    if (now > keep && fh_session_rewind(c->session, keep, &err) != FH_OK) fh_ticket_fail(c->ticket, &err);
}

static fh_status step(fh_scheduler *s, uint32_t first, uint32_t n, fh_err *err) {
    rows x = {.s = s, .first = first};
    uint64_t start = fh_clock_ns();
    fh_status st = fh_engine_step(s->engine, s->work + first, n, FH_EXPORT_LOGITS, take_row, &x, NULL, err);
    s->sum.step_ns += fh_clock_ns() - start;
    s->sum.batches++;
    for (uint32_t i = first; i < first + n; i++) settle(s, s->turn[i]);
    return st;
}

static void run(fh_scheduler *s) {
    fh_err err = {0};
    bool careful = s->careful || s->n_turn == 1;
    s->careful = false;
    if (!careful) {
        s->careful = step(s, 0, s->n_turn, &err) != FH_OK;
        return;
    }
    for (uint32_t i = 0; i < s->n_turn; i++)
        if (!s->turn[i]->ticket->failed && step(s, i, 1, &err) != FH_OK) fh_ticket_fail(s->turn[i]->ticket, &err);
}

/* ---- after it ---- */
static void end_some(fh_scheduler *s) {
    for (fh_ticket *t = s->running.first, *next; t; t = next) {
        bool all = true;
        next = t->next;
        for (uint32_t i = 0; i < t->r.n_choice; i++) {
            fh_choice *c = &t->choice[i];
            if (c->done && c->session) fh_choice_strip(c);
            all = all && c->done;
        }
        if (all || t->failed) fh_ticket_end(t);
    }
}

bool fh_scheduler_turn(fh_scheduler *s) {
    bool any = prepare(s);
    gather(s);
    if (s->n_turn) run(s);
    end_some(s);
    return any;
}
