/* tests/unit/test_session_generate.c - answers: when they end, what text they give, alone and together.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/mem.h"
#include "base/num.h"
#include "infer/generate.h"
#include "test.h"
#include "unit/test_session_part.h"

#define N 40u /* tokens of an answer */

typedef struct told {
    uint32_t token[256], n, n_last;
    char text[8192];
    size_t len;
    fh_generate_end end;
    uint32_t stop;
    volatile int *cancel;
    uint32_t cancel_at;
} told;

static fh_status listen(void *ctx, const fh_generate_event *ev, fh_err *err) {
    told *t = ctx;
    (void)err;
    CHECK(t->n_last == 0 && t->len + ev->text.len < sizeof t->text && t->n < 256);
    CHECK(fh_utf8_valid(ev->text));
    if (ev->text.len) memcpy(t->text + t->len, ev->text.ptr, ev->text.len);
    t->len += ev->text.len;
    if (ev->has_token) {
        CHECK(ev->index == t->n && ev->end == FH_GENERATE_GOING && ev->n_logit == TINY_VOCAB);
        for (uint32_t i = 0; i < TINY_VOCAB; i++) CHECK(ev->logits[i] <= ev->logits[ev->pick.token]);
        t->token[t->n++] = ev->pick.token;
        if (t->cancel && t->n == t->cancel_at) *t->cancel = 1;
        return FH_OK;
    }
    t->n_last++;
    t->end = ev->end;
    t->stop = ev->stop;
    return FH_OK;
}

/* As listen, but a constraint decides: the largest logit need not win. */
static fh_status listen_constrained(void *ctx, const fh_generate_event *ev, fh_err *err) {
    told *t = ctx;
    (void)err;
    if (ev->text.len) memcpy(t->text + t->len, ev->text.ptr, ev->text.len);
    t->len += ev->text.len;
    if (ev->has_token) t->token[t->n++] = ev->pick.token;
    else t->end = ev->end;
    return FH_OK;
}

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

typedef struct bench {
    tiny *model;
    fh_engine *engine;
    fh_tokenizer *tokenizer;
    fh_sampler *sampler;
    fh_sampler_scratch *scratch;
    uint32_t prompt[30], want[N]; /* the greedy answer, step by step */
} bench;

static uint32_t argmax(const float *x) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < TINY_VOCAB; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static fh_sampler *greedy(void) {
    fh_err err = {0};
    fh_sampler *s = NULL;
    fh_sampler_step step = {.kind = FH_STEP_TEMPERATURE, .arg = {0}};
    fh_sampler_config c = {.step = &step, .n_step = 1, .n_context = 100};
    CHECK_OK(fh_sampler_new(&s, &c, &err), err);
    return s;
}

static bench open_bench(void) {
    fh_err err = {0};
    bench b = {.model = tiny_new(&(tiny_options){.layers = "FS", .window = 20, .context = 200, .seed = 31})};
    b.engine = tiny_engine(b.model, &(fh_engine_options){.threads = 1, .page = 16, .exact = true});
    b.tokenizer = make_tokenizer();
    b.sampler = greedy();
    CHECK_OK(fh_sampler_scratch_new(&b.scratch, TINY_VOCAB, &err), err);
    fh_session *s;
    tiny_rows rows = {0};
    for (uint32_t i = 0; i < 30; i++) b.prompt[i] = i * 7 % TINY_VOCAB;
    CHECK_OK(fh_session_new(&s, b.engine, 0, NULL, 0, &err), err);
    CHECK_OK(tiny_append(s, b.prompt, 30, FH_WANT_LAST, &rows, &err), err);
    for (uint32_t i = 0; i < N; i++) {
        b.want[i] = argmax(rows.at + (size_t)i * TINY_VOCAB);
        CHECK_OK(tiny_append(s, &b.want[i], 1, FH_WANT_LAST, &rows, &err), err);
    }
    tiny_rows_release(&rows);
    fh_session_free(s);
    return b;
}

static void close_bench(bench *b) {
    fh_sampler_scratch_free(b->scratch);
    fh_sampler_free(b->sampler);
    fh_tokenizer_free(b->tokenizer);
    fh_engine_free(b->engine);
    tiny_free(b->model);
}

static fh_generate_options options(const bench *b, told *t) {
    return (fh_generate_options){
        .sampler = b->sampler, .scratch = b->scratch, .n_most = N, .tokenizer = b->tokenizer, .fn = listen, .ctx = t};
}

/* One answer in a session of its own. */
static told answer(const bench *b, const fh_generate_options *o, uint32_t limit, const volatile int *stop, told *t) {
    fh_err err = {0};
    fh_session *s;
    fh_generation *g = NULL;
    CHECK_OK(fh_session_new(&s, b->engine, limit, NULL, 0, &err), err);
    CHECK_OK(fh_generation_new(&g, s, o, &err), err);
    CHECK_OK(fh_generation_begin(g, b->prompt, 30, &err), err);
    CHECK_OK(fh_generate_run(&g, 1, stop, &err), err);
    CHECK(fh_generation_end(g) == t->end && fh_generation_get_stats(g).n_token == t->n);
    fh_generation_free(g);
    fh_session_free(s);
    return *t;
}

static void decode(const bench *b, const uint32_t *token, uint32_t n, fh_buf *out) {
    fh_err err = {0};
    fh_buf_init(out, 8192);
    CHECK_OK(fh_tokenizer_decode(b->tokenizer, token, n, false, out, &err), err);
}

TEST(session_generate, greedy_answers_are_the_argmax_and_their_text) {
    bench b = open_bench();
    told t = {0};
    fh_generate_options o = options(&b, &t);
    answer(&b, &o, 0, NULL, &t);
    CHECK(t.n == N && t.end == FH_GENERATE_LENGTH && memcmp(t.token, b.want, sizeof b.want) == 0);
    fh_buf text;
    decode(&b, b.want, N, &text);
    CHECK(text.len == t.len && memcmp(text.ptr, t.text, t.len) == 0);
    /* a session of 40 tokens holds 30 and 10; the token after them is still told */
    t = (told){0};
    answer(&b, &o, 40, NULL, &t);
    CHECK(t.n == 11 && t.end == FH_GENERATE_CONTEXT && memcmp(t.token, b.want, 11 * sizeof *t.token) == 0);
    o.tokenizer = NULL;
    t = (told){0};
    answer(&b, &o, 0, NULL, &t);
    CHECK(t.n == N && t.len == 0);
    fh_buf_release(&text);
    close_bench(&b);
}

TEST(session_generate, ends_at_tokens_and_stop_strings) {
    bench b = open_bench();
    told t = {0};
    fh_generate_options o = options(&b, &t);
    uint32_t first = 0; /* where the token that stands at 20 stands first */
    while (b.want[first] != b.want[20]) first++;
    o.end = &b.want[20];
    o.n_end = 1;
    answer(&b, &o, 0, NULL, &t);
    CHECK(t.end == FH_GENERATE_END_TOKEN && t.n == first + 1);
    fh_buf text, part;
    decode(&b, b.want, first, &part);
    CHECK(part.len == t.len && memcmp(part.ptr, t.text, t.len) == 0); /* the end has no text */
    o.ignore_end = true;
    t = (told){0};
    answer(&b, &o, 0, NULL, &t);
    CHECK(t.end == FH_GENERATE_LENGTH && t.n == N);
    decode(&b, b.want, N, &text);
    for (size_t at = 0; at + 9 < text.len; at += 5) { /* any nine bytes of the answer */
        fh_str stop[2] = {FH_STR("nowhere"), {(const char *)text.ptr + at, 9}};
        size_t where = 0;
        while (memcmp(text.ptr + where, stop[1].ptr, 9) != 0) where++;
        o.stop = stop;
        o.n_stop = 2;
        t = (told){0};
        answer(&b, &o, 0, NULL, &t);
        CHECK(t.end == FH_GENERATE_STOP && t.stop == 1);
        CHECK(t.len == where && memcmp(t.text, text.ptr, where) == 0);
    }
    fh_buf_release(&text);
    fh_buf_release(&part);
    close_bench(&b);
}

TEST(session_generate, together_as_alone_and_on_after_a_stop) {
    bench b = open_bench();
    fh_err err = {0};
    told t[3] = {{.n = 0}};
    fh_session *s[3];
    fh_generation *g[3];
    fh_sampler *sampler[3];
    CHECK_OK(fh_session_new(&s[0], b.engine, 0, NULL, 3, &err), err);
    fh_work w = {s[0], b.prompt, 29, FH_WANT_NONE};
    CHECK_OK(fh_engine_step(b.engine, &w, 1, FH_EXPORT_LOGITS, NULL, NULL, NULL, &err), err);
    volatile int cancel = 0;
    for (int i = 0; i < 3; i++) {
        if (i) CHECK_OK(fh_session_fork(&s[i], s[0], &err), err);
        sampler[i] = greedy();
        fh_generate_options o = options(&b, &t[i]);
        o.sampler = sampler[i];
        o.n_most = N - (uint32_t)i * 5;
        CHECK_OK(fh_generation_new(&g[i], s[i], &o, &err), err);
        CHECK_OK(fh_generation_begin(g[i], b.prompt + 29, 1, &err), err);
    }
    t[1].cancel = &cancel;
    t[1].cancel_at = 10;
    CHECK_OK(fh_generate_run(g, 3, &cancel, &err), err);
    for (int i = 0; i < 3; i++) {
        CHECK(t[i].end == FH_GENERATE_CANCELLED && t[i].n == 10);
        /* on from where it was: the last token was told, but is not in the session */
        CHECK_U64(fh_session_n_token(s[i]), 39);
        t[i] = (told){.n = 0};
        CHECK_OK(fh_generation_begin(g[i], &b.want[9], 1, &err), err);
    }
    CHECK_OK(fh_generate_run(g, 3, NULL, &err), err);
    for (int i = 0; i < 3; i++) {
        uint32_t n = FH_MIN(N - (uint32_t)i * 5, N - 10);
        CHECK(t[i].n >= n && memcmp(t[i].token, b.want + 10, n * sizeof *b.want) == 0);
        fh_generation_free(g[i]);
        fh_session_free(s[i]);
        fh_sampler_free(sampler[i]);
    }
    close_bench(&b);
}

TEST(session_generate, a_constraint_is_kept) {
    bench b = open_bench();
    fh_err err = {0};
    told t = {0};
    fh_generate_options o = options(&b, &t);
    fh_constrain_vocab *v = NULL;
    fh_constraint *c = NULL;
    fh_grammar *grammar = NULL;
    uint32_t sep = 3;
    CHECK_OK(fh_constrain_vocab_new(&v, b.tokenizer, &sep, 1, &err), err);
    size_t n;
    const fh_str *piece = fh_constrain_vocab_pieces(v, &n);
    CHECK(n == TINY_VOCAB && piece[7].len > 0);
    fh_str choice[2] = {piece[7], piece[11]}; /* one token each, that begins a word */
    CHECK_OK(fh_grammar_from_choice(&grammar, choice, 2, &err), err);
    CHECK_OK(fh_constraint_new(&c, v, grammar, &err), err);
    o.constraint = c;
    o.end = &sep;
    o.n_end = 1;
    o.ignore_end = true;
    o.fn = listen_constrained;
    answer(&b, &o, 0, NULL, &t);
    CHECK(t.end == FH_GENERATE_END_TOKEN && t.token[t.n - 1] == sep && t.n >= 2);
    char said[64];
    size_t len = 0;
    for (uint32_t i = 0; i + 1 < t.n; i++) {
        CHECK(len + piece[t.token[i]].len < sizeof said);
        memcpy(said + len, piece[t.token[i]].ptr, piece[t.token[i]].len);
        len += piece[t.token[i]].len;
    }
    CHECK(fh_str_eq((fh_str){said, len}, choice[0]) || fh_str_eq((fh_str){said, len}, choice[1]));
    fh_constraint_free(c);
    fh_grammar_free(grammar);
    fh_constrain_vocab_free(v);
    close_bench(&b);
}

TEST(session_generate, every_allocation_may_fail) {
    bench b = open_bench();
    uint64_t before = fh_mem_get_stats().live_blocks;
    fh_str stop = FH_STR("nowhere");
    bool done = false;
    for (uint64_t nth = 1; !done; nth++) {
        fh_err err = {0};
        told t = {0};
        fh_generate_options o = options(&b, &t);
        o.n_stop = 1;
        o.stop = &stop;
        fh_session *s = NULL;
        fh_generation *g = NULL;
        fh_fault_arm(FH_FAULT_ALLOC, nth, false);
        fh_status st = fh_session_new(&s, b.engine, 0, NULL, nth + 9, &err);
        if (st == FH_OK) st = fh_generation_new(&g, s, &o, &err);
        if (st == FH_OK) st = fh_generation_begin(g, b.prompt, 30, &err);
        if (st == FH_OK) {
            st = fh_generate_run(&g, 1, NULL, &err);
            if (st != FH_OK && fh_generation_end(g) == FH_GENERATE_GOING) st = fh_generate_run(&g, 1, NULL, &err);
            if (st == FH_OK) CHECK(t.n == N && memcmp(t.token, b.want, sizeof b.want) == 0);
        }
        done = fh_fault_calls(FH_FAULT_ALLOC) < nth;
        fh_fault_disarm();
        CHECK(st == FH_OK || st == FH_ERR_MEMORY);
        fh_generation_free(g);
        fh_session_free(s);
    }
    fh_engine_free(b.engine);
    b.engine = NULL;
    CHECK(fh_mem_get_stats().live_blocks < before);
    close_bench(&b);
}
