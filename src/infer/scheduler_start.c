/* infer/scheduler_start.c - who starts next, what memory it is promised, and who gives his up.
 * SPDX-License-Identifier: Apache-2.0
 * Invariant: what sessions hold, and what those that run may still come to hold, is at most state_most. It is counted
 * anew from the sessions' own tables each time, so that shared pages, freed windows and ends that came early count as
 * they are.
 * A parked request keeps its tokens and its sampler; its state is computed again, or comes from the prefix cache. */
#include <math.h>

#include "base/clock.h"
#include "base/num.h"
#include "infer/scheduler_part.h"

#define MOST_OWNERS 4096u
#define HALF_LIFE_NS 60e9

/* ---- memory ---- */
/* Bytes of state that a sequence takes until it has `to` tokens, beyond what s holds (NULL: nothing); shared: tokens
 * whose full pages it has from somebody. */
static uint64_t growth(const fh_engine *e, const fh_session *s, uint32_t to, uint32_t shared) {
    uint32_t page = e->layout.page, row = s ? s->n_row : shared;
    uint64_t sum = e->recurrent && !(s && s->slot) ? e->pages.bytes[FH_SLOT_GROUP] : 0;
    for (uint32_t g = 0; g < e->n_group; g++) {
        if (e->role[g] != FH_ROLE_STEP) continue;
        uint64_t end = fh_ceil_div(to, page), first = s ? s->first[g] : 0, held = s ? s->n_block - s->first[g] : 0;
        uint64_t n = end > first ? end - first : 0;
        if (e->window[g]) {
            uint64_t rows = (uint64_t)e->window[g] - 1 + FH_MIN(e->batch_most, to > row ? to - row : 0);
            n = FH_MIN(n, fh_ceil_div(rows, page) + 1);
        } else if (!s) {
            held = shared / page;
        }
        sum += (n > held ? n - held : 0) * e->layout.page_bytes[g];
    }
    return sum;
}

/* Its last page, where somebody else holds it too: the first to write copies it. */
static uint64_t shared_page(const fh_session *s) {
    const fh_engine *e = s->engine;
    uint64_t sum = 0;
    if (s->n_row % e->layout.page != 0)
        for (uint32_t g = 0; g < e->n_group; g++)
            if (e->role[g] == FH_ROLE_STEP && fh_page_of(s->page[g][s->n_block - 1])->refs > 1)
                sum += e->layout.page_bytes[g];
    return sum + (s->slot && fh_page_of(s->slot)->refs > 1 ? e->pages.bytes[FH_SLOT_GROUP] : 0);
}

static uint64_t encoder_bytes(const fh_engine *e, uint32_t n_input, fh_group_role role) {
    uint64_t sum = 0;
    for (uint32_t g = 0; g < e->n_group; g++)
        if (e->role[g] == role) sum += fh_ceil_div(n_input, e->layout.page) * e->layout.page_bytes[g];
    return sum;
}

uint32_t fh_scheduler_most_tokens(const fh_scheduler *s, const fh_request *r, bool first) {
    uint64_t n = (uint64_t)r->n_prompt + (r->most ? r->most : FH_OPEN_ENDED_STEP) - 1;
    if (r->most == 0 && !first) n = UINT32_MAX;
    return (uint32_t)FH_MIN(n, s->context);
}

static uint64_t need_when_empty(const fh_scheduler *s, const fh_request *r, uint32_t to) {
    const fh_engine *e = s->engine;
    uint64_t step = growth(e, NULL, to, 0) + (r->n_choice - 1) * growth(e, NULL, to, r->n_prompt - 1);
    return encoder_bytes(e, r->n_encoder, FH_ROLE_CROSS) +
           FH_MAX(encoder_bytes(e, r->n_encoder, FH_ROLE_ENCODER), step);
}

uint64_t fh_scheduler_need_alone(const fh_scheduler *s, const fh_request *r) {
    return need_when_empty(s, r, r->most ? fh_scheduler_most_tokens(s, r, true) : r->n_prompt);
}

static uint64_t need(const fh_ticket *t) {
    const fh_engine *e = t->s->engine;
    uint64_t sum = 0;
    if (t->parked || !t->choice) return 0;
    for (uint32_t i = 0; i < t->r.n_choice; i++) {
        const fh_choice *c = &t->choice[i];
        if (c->session) sum += growth(e, c->session, c->assured, 0) + (i ? shared_page(c->session) : 0);
    }
    if (!t->forked) sum += (t->r.n_choice - 1) * growth(e, NULL, t->choice[0].assured, t->r.n_prompt - 1);
    return sum;
}

uint64_t fh_scheduler_promised(const fh_scheduler *s) {
    uint64_t sum = s->engine->pages.live[0] + s->engine->pages.live[1];
    for (const fh_ticket *t = s->running.first; t; t = t->next) sum += need(t);
    return sum;
}

static bool fits(const fh_scheduler *s, uint64_t more) {
    if (s->state_most == UINT64_MAX) return true;
    uint64_t sum = fh_scheduler_promised(s);
    return sum <= s->state_most && more <= s->state_most - sum;
}

/* ---- owners ---- */
static double served(fh_owner *o) {
    uint64_t now = fh_clock_ns();
    if (now > o->stamp_ns) {
        o->served *= exp2(-(double)(now - o->stamp_ns) / HALF_LIFE_NS);
        o->stamp_ns = now;
    }
    return o->served + o->ahead;
}

static void forget_owner(fh_scheduler *s) {
    fh_owner **least = NULL;
    for (fh_owner **at = &s->owners; *at; at = &(*at)->next)
        if ((*at)->n_ticket == 0 && (!least || served(*at) < served(*least))) least = at;
    if (!least) return;
    fh_owner *o = *least;
    *least = o->next;
    s->n_owner--;
    fh_free(o);
}

/* Without memory for it a request has no owner, and counts as one that was never served. */
static void find_owner(fh_scheduler *s, fh_ticket *t) {
    fh_owner *o = s->owners;
    while (o && o->id != t->r.owner) o = o->next;
    if (!o) {
        if (s->n_owner >= MOST_OWNERS) forget_owner(s);
        o = fh_alloc_zero(1, sizeof *o);
        if (!o) return;
        *o = (fh_owner){.id = t->r.owner, .next = s->owners, .stamp_ns = fh_clock_ns()};
        s->owners = o;
        s->n_owner++;
    }
    o->n_ticket++;
    t->owner = o;
}

void fh_owner_charge(fh_ticket *t, uint32_t n_token) {
    if (!t->owner) return;
    served(t->owner);
    double known = FH_MIN((double)n_token, t->ahead);
    t->ahead -= known;
    t->owner->ahead -= known;
    t->owner->served += n_token;
}

void fh_owner_leave(fh_ticket *t) {
    if (!t->owner) return;
    t->owner->ahead -= t->ahead;
    t->owner->n_ticket--;
    t->owner = NULL;
}

static void expect(fh_ticket *t, uint64_t n_token) {
    if (!t->owner) return;
    t->ahead = (double)n_token;
    t->owner->ahead += t->ahead;
}

/* ---- giving up ---- */
void fh_choice_strip(fh_choice *c) {
    fh_generation_free(c->generation);
    fh_session_free(c->session);
    fh_constraint_free(c->constraint);
    fh_sampler_free(c->sampler);
    fh_draft_free(c->draft);
    fh_free(c->id);
    c->generation = NULL;
    c->session = NULL;
    c->constraint = NULL;
    c->sampler = NULL;
    c->draft = NULL;
    c->id = NULL;
    if (c->ticket) c->ticket->s->room_changed = true;
}

void fh_ticket_strip(fh_ticket *t) {
    for (uint32_t i = 0; t->choice && i < t->r.n_choice; i++) fh_choice_strip(&t->choice[i]);
    fh_free(t->choice);
    t->choice = NULL;
    t->forked = false;
}

/* Several choices share their prompt: only with the prefix cache will they do so again. */
static bool can_park(const fh_ticket *t) {
    const fh_engine *e = t->s->engine;
    return !t->parked && t->choice && (t->r.n_choice == 1 || !t->forked || (e->prefix && !e->recurrent));
}

void fh_ticket_park(fh_ticket *t) {
    for (uint32_t i = 0; i < t->r.n_choice; i++) {
        fh_choice *c = &t->choice[i];
        fh_err err;
        /* Going back to nothing never fails. */
        if (c->session && fh_session_rewind(c->session, 0, &err) != FH_OK) FH_BUG("a session that cannot be emptied");
        c->fed = false;
    }
    t->parked = true;
    t->s->room_changed = true;
    t->s->sum.parked++;
}

static bool park_paused(fh_scheduler *s) {
    for (fh_ticket *t = s->running.first; t; t = t->next) {
        if (!t->paused || !can_park(t)) continue;
        fh_ticket_park(t);
        return true;
    }
    return false;
}

/* Whoever has an open end, the lowest priority first, of these who started last. */
static fh_ticket *find_victim(const fh_scheduler *s) {
    fh_ticket *best = NULL;
    for (fh_ticket *t = s->running.first; t; t = t->next) {
        if (!fh_ticket_is_active(t) || t->r.most || !can_park(t)) continue;
        if (!best || t->r.priority < best->r.priority ||
            (t->r.priority == best->r.priority && t->start_ns >= best->start_ns))
            best = t;
    }
    return best;
}

static bool is_alone(const fh_ticket *t) {
    for (const fh_ticket *x = t->s->running.first; x; x = x->next)
        if (x != t && fh_ticket_is_active(x)) return false;
    return true;
}

bool fh_choice_assure(fh_choice *c, uint32_t n) {
    fh_ticket *t = c->ticket;
    fh_scheduler *s = t->s;
    if (n <= c->assured) return true;
    uint32_t before = c->assured, most = fh_scheduler_most_tokens(s, &t->r, false);
    uint32_t wide = (uint32_t)FH_MIN((uint64_t)n + FH_OPEN_ENDED_STEP - 1, most);
    for (;;) {
        c->assured = FH_MAX(wide, n);
        if (fits(s, 0)) return true;
        c->assured = n;
        if (fits(s, 0)) return true;
        c->assured = before;
        if (park_paused(s)) continue;
        fh_ticket *victim = is_alone(t) ? NULL : find_victim(s);
        if (victim) fh_ticket_park(victim);
        if (!victim || victim == t) return false;
    }
}

/* ---- starting ---- */
fh_status fh_choice_adopt(fh_choice *c, uint32_t n, fh_err *err) {
    fh_engine *e = c->ticket->s->engine;
    c->adopted_at = c->ticket->s->sum.batches;
    if (!e->prefix || c->session->encoding || n < e->layout.page) return FH_OK;
    /* A step that is stopped before its first batch has adopted, and computed nothing. */
    const volatile int stop = 1;
    fh_work w = {.session = c->session, .token = c->id, .n = n, .want = FH_WANT_NONE};
    fh_status st = fh_engine_step(e, &w, 1, FH_EXPORT_LOGITS, NULL, NULL, &stop, err);
    return st == FH_ERR_CANCELLED ? FH_OK : st;
}

static fh_status new_sampler(fh_choice *c, fh_err *err) {
    const fh_request *r = &c->ticket->r;
    size_t n_piece = 0;
    const fh_str *piece = r->vocab && r->n_breaker ? fh_constrain_vocab_pieces(r->vocab, &n_piece) : NULL;
    fh_sampler_config k = {.step = r->chain->ptr,
                           .n_step = r->chain->len,
                           .seed = r->seed,
                           .choice = c->index,
                           .n_context = FH_MIN(c->ticket->s->context, (uint32_t)FH_SAMPLER_HISTORY_MOST),
                           .breaker = r->breaker,
                           .n_breaker = r->n_breaker,
                           .piece = piece,
                           .n_piece = n_piece};
    FH_TRY(fh_sampler_new(&c->sampler, &k, err));
    for (uint32_t i = 0; !r->skip_prompt && i < r->n_prompt; i++) fh_sampler_accept(c->sampler, r->prompt[i]);
    return FH_OK;
}

/* All that an answer needs but its session. */
static fh_status dress(fh_choice *c, fh_err *err) {
    const fh_ticket *t = c->ticket;
    const fh_request *r = &t->r;
    c->cap_id = r->n_prompt + FH_DRAFT_MOST + 64;
    c->id = fh_alloc(c->cap_id, sizeof *c->id);
    if (!c->id) return fh_fail_memory(err, c->cap_id * sizeof *c->id);
    memcpy(c->id, r->prompt, r->n_prompt * sizeof *c->id);
    c->n_id = r->n_prompt;
    c->assured = fh_scheduler_most_tokens(t->s, r, true);
    FH_TRY(new_sampler(c, err));
    if (r->grammar) FH_TRY(fh_constraint_new(&c->constraint, r->vocab, r->grammar, err));
    return t->s->opt.draft_most ? fh_draft_new(&c->draft, t->s->opt.draft_most, err) : FH_OK;
}

static bool make_room(fh_scheduler *s, const fh_ticket *t) {
    while (!fits(s, need(t)))
        if (!park_paused(s)) return false;
    return true;
}

/* *room: false when it must wait. */
static fh_status begin(fh_ticket *t, bool *room, fh_err *err) {
    fh_scheduler *s = t->s;
    const fh_request *r = &t->r;
    bool alone = s->running.n == 0;
    t->choice = fh_alloc_zero(r->n_choice, sizeof *t->choice);
    if (!t->choice) return fh_fail_memory(err, r->n_choice * sizeof *t->choice);
    for (uint32_t i = 0; i < r->n_choice; i++) t->choice[i] = (fh_choice){.ticket = t, .index = i};
    fh_choice *c = &t->choice[0];
    FH_TRY(dress(c, err));
    FH_TRY(fh_session_new(&c->session, s->engine, 0, r->adapters, r->salt, err));
    if (r->n_encoder) {
        uint64_t all = need_when_empty(s, r, c->assured);
        while (!fits(s, all))
            if (!park_paused(s)) return *room = false, FH_OK;
        FH_TRY(fh_session_encode(c->session, r->encoder, r->n_encoder, err));
    }
    FH_TRY(fh_choice_adopt(c, r->n_prompt - 1, err));
    *room = make_room(s, t);
    if (!*room && r->most == 0 && alone) { /* less than a whole portion will do to begin with */
        c->assured = FH_MIN(r->n_prompt, s->context);
        *room = make_room(s, t);
    }
    if (!*room && alone)
        return fh_fail(err, FH_ERR_MEMORY, "%u tokens do not fit the memory that is left for state", c->assured);
    if (!*room) return FH_OK;
    t->n_cached = fh_session_n_adopted(c->session);
    FH_TRY(fh_choice_generation(c, err));
    t->forked = r->n_choice == 1;
    expect(t, (uint64_t)r->n_prompt - t->n_cached + (uint64_t)r->n_choice * (c->assured - (r->n_prompt - 1)));
    return FH_OK;
}

fh_status fh_ticket_fork(fh_ticket *t, fh_err *err) {
    for (uint32_t i = 1; i < t->r.n_choice; i++) {
        fh_choice *c = &t->choice[i];
        FH_TRY(dress(c, err));
        c->assured = t->choice[0].assured;
        FH_TRY(fh_session_fork(&c->session, t->choice[0].session, err));
        FH_TRY(fh_choice_generation(c, err));
    }
    t->forked = true;
    return FH_OK;
}

bool fh_ticket_goes_first(fh_ticket *a, fh_ticket *b) {
    if (a->r.priority != b->r.priority) return a->r.priority > b->r.priority;
    if (a->owner != b->owner) {
        double x = a->owner ? served(a->owner) : 0, y = b->owner ? served(b->owner) : 0;
        if (x < y || y < x) return x < y;
    }
    return a->number < b->number;
}

/* With the lock. */
static fh_ticket *find_next(fh_scheduler *s) {
    fh_ticket *best = NULL;
    for (fh_ticket *t = s->waiting.first; t; t = t->next) {
        if (!t->owner) find_owner(s, t);
        if (!best || fh_ticket_goes_first(t, best)) best = t;
    }
    return best;
}

static uint32_t count_choices(const fh_scheduler *s) {
    uint32_t n = 0;
    for (const fh_ticket *t = s->running.first; t; t = t->next)
        for (uint32_t i = 0; fh_ticket_is_active(t) && i < t->r.n_choice; i++) n += !t->choice[i].done;
    return n;
}

static bool has_place(const fh_scheduler *s, const fh_ticket *t) {
    uint32_t n = count_choices(s);
    return n == 0 || (n < s->opt.running_most && t->r.n_choice <= s->opt.running_most - n);
}

/* A parked request takes its state again, or what is left of it; false: there is no room yet. */
static bool unpark(fh_ticket *t) {
    fh_scheduler *s = t->s;
    fh_err err = {0};
    fh_status st = FH_OK;
    t->parked = false;
    for (uint32_t i = 0; st == FH_OK && i < t->r.n_choice; i++) {
        fh_choice *c = &t->choice[i];
        if (!c->session) continue;
        if (t->r.most == 0)
            c->assured =
                (uint32_t)FH_MIN((uint64_t)c->n_id + FH_OPEN_ENDED_STEP - 1, fh_scheduler_most_tokens(s, &t->r, false));
        st = fh_choice_adopt(c, c->n_id - 1, &err);
    }
    if (st != FH_OK) {
        fh_ticket_fail(t, &err);
        return true;
    }
    bool room = fits(s, 0);
    while (!room && park_paused(s)) room = fits(s, 0);
    if (!room && is_alone(t)) { /* what it had it can have again */
        for (uint32_t i = 0; i < t->r.n_choice; i++)
            t->choice[i].assured = FH_MIN(t->choice[i].assured, t->choice[i].n_id);
        room = true;
    }
    if (room) return true;
    fh_ticket_park(t);
    s->sum.parked--;
    return false;
}

/* False: one of them waits for room, and nobody may overtake it. */
static bool unpark_all(fh_scheduler *s) {
    for (fh_ticket *t = s->running.first; t; t = t->next) {
        if (!t->parked || t->paused || t->cancel) continue;
        if (s->blocked == t->number && !s->room_changed) return false;
        if (!has_place(s, t)) return false;
        s->room_changed = false;
        s->blocked = t->number;
        if (!unpark(t)) {
            s->room_changed = false;
            return false;
        }
        s->blocked = 0;
    }
    return true;
}

void fh_scheduler_start(fh_scheduler *s) {
    if (!unpark_all(s)) return;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        fh_ticket *t = find_next(s);
        pthread_mutex_unlock(&s->lock);
        if (!t || !has_place(s, t) || (s->blocked == t->number && !s->room_changed)) return;
        fh_err err = {0};
        bool room = true;
        s->room_changed = false;
        fh_status st = begin(t, &room, &err);
        if (st != FH_OK) fh_ticket_fail(t, &err);
        if (st != FH_OK || !room) fh_ticket_strip(t);
        s->blocked = room ? 0 : t->number;
        if (!room) {
            s->room_changed = false;
            return;
        }
        pthread_mutex_lock(&s->lock);
        fh_ticket_list_remove(&s->waiting, t);
        s->load.waiting = s->waiting.n;
        if (st == FH_OK) fh_ticket_list_add(&s->running, t);
        pthread_mutex_unlock(&s->lock);
        if (st != FH_OK) {
            fh_owner_leave(t);
            fh_ticket_close(t);
            continue;
        }
        t->start_ns = fh_clock_ns();
        s->sum.prompt_tokens += t->r.n_prompt;
        s->sum.cached_tokens += t->n_cached;
        fh_ticket_tell(t, &(fh_event){.kind = FH_EVENT_START});
    }
}
