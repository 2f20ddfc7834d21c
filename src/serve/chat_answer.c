/* serve/chat_answer.c - tokens to answers: what a scheduler's events say, kept and told to the API.
 * SPDX-License-Identifier: Apache-2.0
 * Runs on the scheduler's thread. A grammar that waits for the end of the reasoning is put in force where that ends. */
#include "base/num.h"
#include "serve/chat.h"

static fh_consume tell(fh_ask *a, const fh_say *s) {
    fh_consume c = a->say(a, s);
    if (c > a->next) a->next = c;
    return c;
}

/* ---- what text/reply makes of the text ---- */

static fh_status add_text(fh_said *s, bool reasoning, fh_str text, fh_err *err) {
    fh_buf *b = reasoning ? &s->reasoning : &s->text;
    if (!text.len) return FH_OK;
    fh_buf_add_str(b, text);
    FH_TRY(fh_buf_check(b, err));
    tell(s->ask, &(fh_say){.kind = reasoning ? FH_SAY_REASONING : FH_SAY_TEXT, .choice = s->index, .text = text});
    return FH_OK;
}

static fh_status begin_call(fh_said *s, const fh_reply_event *ev, fh_err *err) {
    char id[64];
    fh_said_call *list = fh_realloc(s->call, s->n_call + 1u, sizeof *list);
    if (!list) return fh_fail_memory(err, sizeof *list);
    s->call = list;
    fh_said_call *c = &list[s->n_call];
    *c = (fh_said_call){.name = fh_strdup(ev->name)};
    (void)snprintf(id, sizeof id, "call_%.16s%02x%04x", s->ask->id, s->index & 255u, s->n_call & 65535u);
    c->id = fh_strdup(ev->id.len ? ev->id : fh_str_of(id));
    fh_buf_init(&c->arguments, FH_ASK_TEXT_MOST);
    uint32_t k = s->n_call++;
    if (!c->name || !c->id) return fh_fail_memory(err, ev->name.len);
    tell(s->ask,
         &(fh_say){
             .kind = FH_SAY_CALL, .choice = s->index, .call = k, .name = fh_str_of(c->name), .id = fh_str_of(c->id)});
    return FH_OK;
}

static fh_status on_reply(void *user, const fh_reply_event *ev, fh_err *err) {
    fh_said *s = user;
    if (ev->kind == FH_REPLY_TEXT || ev->kind == FH_REPLY_REASONING)
        return add_text(s, ev->kind == FH_REPLY_REASONING, ev->text, err);
    if (ev->kind == FH_REPLY_CALL) {
        s->skip_call = !s->ask->parallel && s->n_call > 0; /* one call was asked for */
        return s->skip_call ? FH_OK : begin_call(s, ev, err);
    }
    if (s->skip_call || s->n_call == 0) return FH_OK;
    uint32_t k = s->n_call - 1;
    if (ev->kind == FH_REPLY_ARGUMENTS) {
        fh_buf_add_str(&s->call[k].arguments, ev->text);
        FH_TRY(fh_buf_check(&s->call[k].arguments, err));
        tell(s->ask, &(fh_say){.kind = FH_SAY_ARGUMENTS, .choice = s->index, .call = k, .text = ev->text});
        return FH_OK;
    }
    tell(s->ask, &(fh_say){.kind = FH_SAY_CALL_END, .choice = s->index, .call = k});
    return FH_OK;
}

/* ---- where the format begins ---- */

static void look_at_gate(fh_said *s, fh_str text) {
    fh_ask *a = s->ask;
    if (s->gate || !a->grammar) return;
    const fh_markup *m = &a->r->markup.markup;
    fh_buf_add_str(&s->before, text);
    s->gate = fh_markup_answer_begins(m, a->start, fh_buf_str(&s->before));
    if (s->gate) fh_ticket_constrain(a->ticket, s->index);
}

/* ---- choices ---- */

fh_status fh_ask_make_said(fh_ask *a, fh_err *err) {
    bool calls = a->tool_choice == FH_CALL_REQUIRED || a->tool_choice == FH_CALL_NAMED;
    a->said = fh_alloc_zero(a->n_choice, sizeof *a->said);
    if (!a->said) return fh_fail_memory(err, a->n_choice * sizeof *a->said);
    for (uint32_t i = 0; i < a->n_choice; i++) {
        fh_said *s = &a->said[i];
        s->ask = a;
        s->index = i;
        fh_buf_init(&s->text, FH_ASK_TEXT_MOST);
        fh_buf_init(&s->reasoning, FH_ASK_TEXT_MOST);
        fh_buf_init(&s->before, FH_ASK_TEXT_MOST);
        fh_ids_init(&s->tokens, FH_ASK_TEXT_MOST);
        s->gate = a->start == FH_START_TEXT || (a->start == FH_START_HEADER && calls);
        if (a->kind != FH_ASK_CHAT || !a->r->has_markup || a->no_template) continue;
        const fh_reply_options opt = {.tools = a->tools_doc ? fh_json_root(a->tools_doc) : NULL,
                                      .start = a->start,
                                      .no_calls = a->no_calls,
                                      .one_piece = a->format != FH_FORMAT_FREE && !a->r->markup.markup.head_open[0]};
        FH_TRY(fh_reply_new(&s->reply, &a->r->markup.markup, &opt, on_reply, s, err));
    }
    return FH_OK;
}

static bool is_end(const fh_ask *a, uint32_t token) {
    for (size_t i = 0; i < a->r->end_ids.len; i++)
        if (a->r->end_ids.ptr[i] == token) return !a->ignore_end;
    return false;
}

static fh_status keep_chances(fh_ask *a, fh_said *s, const fh_event *e, fh_err *err) {
    size_t at = s->tokens.len - 1, k = a->n_logprob;
    if (!a->want_chance && !k) return FH_OK;
    if (at >= s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        fh_token_chance *own = fh_realloc(s->own, cap, sizeof *own), *top;
        if (!own) return fh_fail_memory(err, cap * sizeof *own);
        s->own = own;
        top = fh_realloc(s->top, cap * FH_MAX(k, 1u), sizeof *top);
        if (!top) return fh_fail_memory(err, cap * k * sizeof *top);
        s->top = top;
        s->cap = cap;
    }
    s->own[at] = e->chance;
    s->own[at].token = e->token;
    for (size_t i = 0; i < k; i++)
        s->top[at * k + i] = i < e->n_top ? e->top[i] : (fh_token_chance){.token = FH_VOCAB_NO_ID};
    return FH_OK;
}

static fh_status take_text(fh_ask *a, fh_said *s, fh_str text, fh_err *err) {
    (void)a;
    if (!text.len) return FH_OK;
    look_at_gate(s, text);
    return s->reply ? fh_reply_feed(s->reply, text, err) : add_text(s, false, text, err);
}

/* A budget that is spent: the model goes on behind the end of its reasoning. */
static fh_status end_reasoning(fh_ask *a, fh_said *s, fh_err *err) {
    if (!a->think_most_set || s->cut || s->n_reasoning < a->think_most || !s->reply) return FH_OK;
    if (!fh_reply_in_reasoning(s->reply) || a->think_end.len == 0) return FH_OK;
    s->cut = true;
    return fh_ticket_force(a->ticket, s->index, a->think_end.ptr, (uint32_t)a->think_end.len, err);
}

static fh_status take_token(fh_ask *a, const fh_event *e, fh_err *err) {
    fh_said *s = &a->said[e->choice];
    fh_call_note_tokens(a->call, 1);
    if (!is_end(a, e->token)) {
        fh_ids_add(&s->tokens, e->token);
        FH_TRY(fh_ids_check(&s->tokens, err));
        FH_TRY(keep_chances(a, s, e, err));
        tell(a, &(fh_say){.kind = FH_SAY_TOKEN, .choice = e->choice, .token = e->token, .event = e});
    }
    if (s->reply && fh_reply_in_reasoning(s->reply)) s->n_reasoning++;
    FH_TRY(take_text(a, s, e->text, err));
    return end_reasoning(a, s, err);
}

static fh_status take_end(fh_ask *a, const fh_event *e, fh_err *err) {
    fh_said *s = &a->said[e->choice];
    static const fh_why why[] = {[FH_FINISH_STOP] = FH_WHY_STOP,
                                 [FH_FINISH_STOP_STRING] = FH_WHY_STOP_STRING,
                                 [FH_FINISH_LENGTH] = FH_WHY_LENGTH,
                                 [FH_FINISH_CONTEXT] = FH_WHY_LENGTH,
                                 [FH_FINISH_CANCELLED] = FH_WHY_CANCELLED};
    FH_TRY(take_text(a, s, e->text, err));
    if (s->reply) FH_TRY(fh_reply_finish(s->reply, NULL, NULL, err));
    s->why = why[e->finish];
    if (s->why == FH_WHY_STOP_STRING)
        for (uint32_t i = 0; i < a->n_stop; i++)
            if (fh_str_eq(a->stop[i], e->stop)) s->stop = a->stop[i];
    if (s->why == FH_WHY_STOP && s->n_call) s->why = FH_WHY_CALLS;
    s->ended = true;
    a->n_ended++;
    tell(a, &(fh_say){.kind = FH_SAY_END, .choice = e->choice});
    return FH_OK;
}

/* ---- the request ---- */

static void take_numbers(fh_ask *a, const fh_event *e) {
    static const char *const finish[] = {[FH_WHY_STOP] = "stop",
                                         [FH_WHY_STOP_STRING] = "stop",
                                         [FH_WHY_LENGTH] = "length",
                                         [FH_WHY_CALLS] = "tool_calls",
                                         [FH_WHY_CANCELLED] = "cancelled"};
    fh_used *u = &a->call->used;
    a->n_cached = e->n_cached;
    a->n_new = e->n_new;
    a->queued_ns = e->queued_ns;
    a->prompt_ns = e->prompt_ns;
    a->new_ns = e->new_ns;
    u->n_prompt = a->before_prompt + a->n_prompt;
    u->n_cached = a->before_cached + e->n_cached;
    u->n_new = a->before_new + e->n_new;
    u->queued_ns = e->queued_ns;
    u->prompt_ns = e->prompt_ns;
    u->new_ns = e->new_ns;
    if (e->kind == FH_EVENT_DONE) u->finish = a->said[0].ended ? finish[a->said[0].why] : "cancelled";
    if (e->kind == FH_EVENT_FAILED) u->finish = "error";
}

static void fail(fh_ask *a, const fh_err *err) {
    a->over = true;
    if (!fh_exchange_has_begun(a->call->x)) fh_call_fail_err(a->call, err);
    else tell(a, &(fh_say){.kind = FH_SAY_FAILED, .err = err});
}

/* The last event: nothing of ours is asked for again but `retire`. */
static void finish(fh_ask *a, const fh_event *e) {
    static const fh_err cancelled = {.status = FH_ERR_CANCELLED, .message = "the request was cancelled"};
    pthread_mutex_lock(&a->lock);
    fh_ticket *t = a->ticket;
    a->ticket = NULL;
    pthread_mutex_unlock(&a->lock);
    if (!a->over) {
        if (e->kind == FH_EVENT_FAILED) fail(a, e->err);
        else if (a->n_ended < a->n_choice) fail(a, &cancelled);
        else tell(a, &(fh_say){.kind = FH_SAY_DONE});
    }
    fh_ticket_free(t);
}

fh_consume fh_ask_on_event(void *ctx, const fh_event *e) {
    fh_ask *a = ctx;
    fh_err err = {0};
    fh_status s = FH_OK;
    a->next = FH_CONSUME_MORE;
    if (e->kind == FH_EVENT_START) {
        pthread_mutex_lock(&a->lock); /* until submitting is over */
        pthread_mutex_unlock(&a->lock);
    }
    take_numbers(a, e);
    switch (e->kind) {
    case FH_EVENT_START:
        a->begun = true;
        if (!fh_exchange_has_begun(a->call->x)) fh_ask_set_headers(a);
        tell(a, &(fh_say){.kind = FH_SAY_START});
        break;
    case FH_EVENT_TOKEN: s = a->over ? FH_OK : take_token(a, e, &err); break;
    case FH_EVENT_END: s = a->over ? FH_OK : take_end(a, e, &err); break;
    case FH_EVENT_DONE:
    case FH_EVENT_FAILED:
        pthread_mutex_lock(&a->lock);
        pthread_mutex_unlock(&a->lock);
        finish(a, e);
        return FH_CONSUME_MORE;
    }
    if (s != FH_OK) fail(a, &err);
    return a->over ? FH_CONSUME_CANCEL : a->next;
}
