/* tests/unit/test_scheduler_answer.c - what a request can ask of an answer: stop strings, grammars, probabilities.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/num.h"
#include "unit/test_scheduler_part.h"

typedef struct place {
    tiny *model;
    fh_engine *engine;
    fh_scheduler *s;
    fh_tokenizer *tokenizer;
    fh_constrain_vocab *vocab;
    uint32_t prompt[20];
    heard h;
} place;

static place *open_place(void) {
    fh_err err = {0};
    fh_buf b;
    place *p = fh_alloc_zero(1, sizeof *p);
    CHECK(p != NULL);
    fh_buf_init(&b, 4096);
    fh_buf_add_z(&b, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    for (uint32_t i = 5; i < TINY_VOCAB; i++)
        fh_buf_printf(&b, "%s%c%c\n", i % 3 ? "" : "##", 'a' + i % 7, 'p' + i % 8);
    CHECK_OK(fh_tokenizer_from_wordlist(&p->tokenizer, fh_buf_str(&b), NULL, &err), err);
    fh_buf_release(&b);
    CHECK_OK(fh_constrain_vocab_new(&p->vocab, p->tokenizer, NULL, 0, &err), err);
    p->model = tiny_new(&(tiny_options){.layers = "FF", .context = 200, .seed = 12});
    p->engine = tiny_engine(p->model, &(fh_engine_options){.threads = 1, .page = 16, .exact = true});
    CHECK_OK(fh_scheduler_new(&p->s, p->engine, &(fh_scheduler_options){.draft_most = 4}, &err), err);
    for (uint32_t i = 0; i < 20; i++) p->prompt[i] = 5 + i * 7 % 40;
    return p;
}

static void close_place(place *p) {
    fh_scheduler_free(p->s);
    fh_engine_free(p->engine);
    tiny_free(p->model);
    fh_constrain_vocab_free(p->vocab);
    fh_tokenizer_free(p->tokenizer);
    fh_free(p);
}

static void ask(place *p, const fh_request *r) {
    heard_submit(&p->h, p->s, r);
    heard_wait(&p->h);
    if (p->h.n_failed) fh_test_fail(__FILE__, __LINE__, "%s", p->h.err.message);
    CHECK(p->h.n_done == 1 && p->h.wrong == 0);
    fh_ticket_free(p->h.ticket);
}

TEST(scheduler_answer, stop_strings_end_it) {
    place *p = open_place();
    fh_request r = heard_request(&p->h, p->prompt, 20, 60);
    r.tokenizer = p->tokenizer;
    ask(p, &r);
    char whole[4096];
    size_t len = p->h.choice[0].len;
    memcpy(whole, p->h.choice[0].text, len);
    CHECK(len > 60);
    for (size_t at = 3; at + 8 < len; at += 9) { /* any five bytes of the answer end it where they stand first */
        fh_str stop[] = {FH_STR("nowhere"), {whole + at, 5}};
        size_t where = 0;
        while (memcmp(whole + where, stop[1].ptr, 5) != 0) where++;
        memset(&p->h, 0, sizeof p->h);
        r.stop = stop;
        r.n_stop = 2;
        ask(p, &r);
        const heard_choice *c = &p->h.choice[0];
        CHECK(c->finish == FH_FINISH_STOP_STRING && c->len == where && memcmp(c->text, whole, where) == 0);
        CHECK(fh_str_eq(fh_str_of(c->stop), stop[1]));
    }
    close_place(p);
}

/* From its third token on the grammar holds. */
static fh_consume constrain_later(void *ctx, const fh_event *e) {
    place *p = ctx;
    if (e->kind == FH_EVENT_TOKEN && e->index == 2) fh_ticket_constrain(e->ticket, e->choice);
    return heard_event(&p->h, e);
}

TEST(scheduler_answer, grammars_hold_from_the_start_or_later) {
    place *p = open_place();
    fh_err err = {0};
    fh_grammar *grammar = NULL;
    size_t n;
    const fh_str *piece = fh_constrain_vocab_pieces(p->vocab, &n);
    fh_str choice[2] = {piece[7], piece[11]};
    CHECK_OK(fh_grammar_from_choice(&grammar, choice, 2, &err), err);
    fh_request r = heard_request(&p->h, p->prompt, 20, 60);
    r.tokenizer = p->tokenizer;
    r.grammar = grammar;
    fh_ticket *t = NULL;
    CHECK_STATUS(fh_scheduler_submit(p->s, &r, &t, NULL, &err), FH_ERR_USAGE); /* of which tokens? */
    r.vocab = p->vocab;
    r.n_choice = 2;
    ask(p, &r);
    for (uint32_t i = 0; i < 2; i++) {
        const heard_choice *c = &p->h.choice[i];
        char said[64];
        size_t len = 0;
        for (uint32_t j = 0; j < c->n; j++) {
            CHECK(len + piece[c->token[j]].len < sizeof said);
            memcpy(said + len, piece[c->token[j]].ptr, piece[c->token[j]].len);
            len += piece[c->token[j]].len;
        }
        CHECK(fh_str_eq((fh_str){said, len}, choice[0]) || fh_str_eq((fh_str){said, len}, choice[1]));
        CHECK(c->finish == FH_FINISH_STOP);
    }
    memset(&p->h, 0, sizeof p->h);
    r.n_choice = 1;
    r.grammar_waits = true;
    ask(p, &r); /* nobody ever says that it begins */
    CHECK(p->h.choice[0].n == 60);
    uint32_t free_token[3];
    memcpy(free_token, p->h.choice[0].token, sizeof free_token);
    memset(&p->h, 0, sizeof p->h);
    r.fn = constrain_later;
    r.ctx = p;
    heard_submit(&p->h, p->s, &r);
    heard_wait(&p->h);
    const heard_choice *c = &p->h.choice[0];
    CHECK(c->n >= 4 && c->n < 60 && memcmp(c->token, free_token, sizeof free_token) == 0);
    CHECK(fh_str_eq(piece[c->token[3]], choice[0]) || fh_str_eq(piece[c->token[3]], choice[1]));
    CHECK(p->h.wrong == 0 && c->finish == FH_FINISH_STOP);
    fh_ticket_free(p->h.ticket);
    fh_grammar_free(grammar);
    close_place(p);
}

typedef struct chances {
    heard *h;
    uint32_t n_wrong;
} chances;

static fh_consume look_at_chances(void *ctx, const fh_event *e) {
    chances *x = ctx;
    if (e->kind == FH_EVENT_TOKEN) {
        double sum = 0;
        for (uint32_t i = 0; i < e->n_top; i++) {
            float p = 1, term = 1; /* exp by its series: the numbers are small */
            for (int k = 1; k < 60; k++) p += term *= e->top[i].ln / (float)k;
            sum += (double)p;
            if (i && e->top[i].ln > e->top[i - 1].ln) x->n_wrong++;
        }
        /* Greedy, all tokens reported: the first is the one that was picked, together they are certain. */
        if (e->n_top != TINY_VOCAB || e->top[0].token != e->token || e->chance.token != e->token) x->n_wrong++;
        if (e->top[0].ln > e->chance.ln || e->top[0].ln < e->chance.ln) x->n_wrong++;
        if (sum < 0.999 || sum > 1.001) x->n_wrong++;
    }
    return heard_event(x->h, e);
}

TEST(scheduler_answer, probabilities_are_told) {
    place *p = open_place();
    chances x = {.h = &p->h};
    fh_request r = heard_request(&p->h, p->prompt, 20, 30);
    r.n_logprob = TINY_VOCAB;
    r.fn = look_at_chances;
    r.ctx = &x;
    ask(p, &r);
    CHECK(x.n_wrong == 0 && p->h.choice[0].n == 30);
    close_place(p);
}
