/* tests/unit/test_scheduler_part.c - the consumer of the scheduler's tests.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit/test_scheduler_part.h"

#include "base/mem.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static uint64_t order;

static bool over(const heard *h) { return h->n_done + h->n_failed > 0; }

static void hear_token(heard *h, const fh_event *e) {
    heard_choice *c = &h->choice[e->choice];
    if (e->choice >= HEARD_CHOICES || c->n_end || c->n == HEARD_TOKENS || e->index != c->n) {
        h->wrong++;
        return;
    }
    c->ln[c->n] = e->chance.ln;
    c->top[c->n] = e->n_top ? e->top[0].token : 0;
    c->token[c->n++] = e->token;
    h->n_token++;
}

static void hear_text(heard *h, const fh_event *e) {
    heard_choice *c = &h->choice[e->choice];
    if (!fh_utf8_valid(e->text) || c->len + e->text.len > sizeof c->text) h->wrong++;
    else if (e->text.len) memcpy(c->text + c->len, e->text.ptr, e->text.len), c->len += e->text.len;
}

fh_consume heard_event(void *ctx, const fh_event *e) {
    heard *h = ctx;
    fh_consume next = FH_CONSUME_MORE;
    pthread_mutex_lock(&lock);
    if (over(h)) h->wrong++;
    h->order = ++order;
    h->n_prompt = e->n_prompt;
    h->n_cached = e->n_cached;
    h->n_new = e->n_new;
    h->queued_ns = e->queued_ns;
    h->prompt_ns = e->prompt_ns;
    h->new_ns = e->new_ns;
    switch (e->kind) {
    case FH_EVENT_START:
        h->n_start++;
        h->start_order = order;
        if (h->n_start != 1 || h->n_token) h->wrong++;
        break;
    case FH_EVENT_TOKEN:
        hear_token(h, e);
        hear_text(h, e);
        if (h->n_start != 1) h->wrong++;
        if (h->plan.pause_every && h->n_token % h->plan.pause_every == 0) next = FH_CONSUME_PAUSE;
        if (h->plan.cancel_at && h->n_token >= h->plan.cancel_at) next = FH_CONSUME_CANCEL;
        if (next == FH_CONSUME_PAUSE) h->paused = true;
        break;
    case FH_EVENT_END:
        hear_text(h, e);
        if (++h->choice[e->choice].n_end != 1) h->wrong++;
        h->choice[e->choice].finish = e->finish;
        if (!fh_str_copy(h->choice[e->choice].stop, sizeof h->choice[e->choice].stop, e->stop)) h->wrong++;
        break;
    case FH_EVENT_DONE:
        h->n_done++;
        h->finish = e->finish;
        break;
    case FH_EVENT_FAILED:
        h->n_failed++;
        h->err = *e->err;
        break;
    }
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
    return next;
}

void heard_release(void *ctx) {
    heard *h = ctx;
    pthread_mutex_lock(&lock);
    h->n_release++;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static void wait_for(heard *h, uint32_t n_token) {
    pthread_mutex_lock(&lock);
    while (!over(h) && h->n_token < n_token) {
        if (h->paused && h->ticket) {
            h->paused = false;
            fh_ticket *t = h->ticket;
            pthread_mutex_unlock(&lock);
            fh_ticket_resume(t);
            pthread_mutex_lock(&lock);
            continue;
        }
        pthread_cond_wait(&moved, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void heard_wait(heard *h) { wait_for(h, UINT32_MAX); }
void heard_wait_tokens(heard *h, uint32_t n) { wait_for(h, n); }

bool heard_is_over(heard *h) {
    pthread_mutex_lock(&lock);
    bool yes = over(h);
    pthread_mutex_unlock(&lock);
    return yes;
}

fh_request heard_request(heard *h, const uint32_t *prompt, uint32_t n, uint32_t most) {
    static fh_sampler_step step = {.kind = FH_STEP_TEMPERATURE, .arg = {0}};
    static const fh_sampler_steps greedy = {&step, 1, 1};
    return (fh_request){.prompt = prompt,
                        .n_prompt = n,
                        .most = most,
                        .chain = &greedy,
                        .want_logprob = true,
                        .fn = heard_event,
                        .ctx = h};
}

void heard_submit(heard *h, fh_scheduler *s, const fh_request *r) {
    fh_err err = {0};
    fh_ticket *t = NULL;
    uint32_t retry;
    CHECK_OK(fh_scheduler_submit(s, r, &t, &retry, &err), err);
    pthread_mutex_lock(&lock);
    h->ticket = t;
    pthread_mutex_unlock(&lock);
}

const char *heard_difference(const heard_choice *got, const heard_choice *want) {
    static char what[200];
    for (uint32_t i = 0; i < got->n && i < want->n; i++) {
        if (got->token[i] == want->token[i] && memcmp(&got->ln[i], &want->ln[i], sizeof got->ln[i]) == 0) continue;
        snprintf(what, sizeof what, "token %u of %u is %u (%.9g), expected %u (%.9g)", i, want->n, got->token[i],
                 (double)got->ln[i], want->token[i], (double)want->ln[i]);
        return what;
    }
    snprintf(what, sizeof what, "%u tokens, %zu bytes, finish %d, %u ends; expected %u, %zu, %d, %u", got->n, got->len,
             (int)got->finish, got->n_end, want->n, want->len, (int)want->finish, want->n_end);
    if (got->n != want->n || got->len != want->len || got->finish != want->finish || got->n_end != want->n_end)
        return what;
    return memcmp(got->text, want->text, got->len) == 0 ? NULL : "the text differs";
}
