/* cli/chat_answer.c - one answer: prompt to tokens, tokens to text, text to answer and reasoning.
 * SPDX-License-Identifier: Apache-2.0
 * What the session holds already is kept as far as the prompt repeats it. Nothing is cut: a prompt that does not fit
 * is refused, an answer that reaches the end of the context stops there and says so. */
#include "base/clock.h"
#include "base/num.h"
#include "cli/chat.h"

/* What one answer needs besides the chat. */
typedef struct answer {
    fh_chat *c;
    const fh_chat_sink *sink;
    fh_sampler *sampler;
    fh_grammar *grammar;
    fh_constraint *constraint;
    fh_generation *generation;
    fh_reply *reply;           /* NULL: all text is answer */
    bool gate;                 /* the format holds from here on */
    fh_buf before;             /* what was written until then */
    fh_buf content, reasoning; /* of the answer so far */
    fh_markup_start start;
} answer;

/* ---- text ---- */

static fh_status show(answer *a, bool reasoning, fh_str text, fh_err *err) {
    fh_buf_add_str(reasoning ? &a->reasoning : &a->content, text);
    FH_TRY(fh_buf_check(reasoning ? &a->reasoning : &a->content, err));
    return a->sink->text ? a->sink->text(a->sink->ctx, reasoning, text, err) : FH_OK;
}

static fh_status on_reply(void *user, const fh_reply_event *ev, fh_err *err) {
    answer *a = user;
    if (ev->kind == FH_REPLY_TEXT) return show(a, false, ev->text, err);
    if (ev->kind == FH_REPLY_REASONING) return show(a, true, ev->text, err);
    return FH_OK;
}

/* Reasoning and headers come before the text whose format was asked for. */
static void look_at_gate(answer *a, fh_str text) {
    const fh_markup *m = &a->c->markup.markup;
    if (a->gate || !a->constraint) return;
    fh_buf_add_str(&a->before, text);
    a->gate = fh_markup_answer_begins(m, a->start, fh_buf_str(&a->before));
    if (a->gate) fh_generation_constrain(a->generation, a->constraint);
}

static bool is_end(const fh_chat *c, uint32_t id) {
    for (size_t i = 0; i < c->end_ids.len; i++)
        if (c->end_ids.ptr[i] == id) return true;
    return false;
}

static fh_status on_event(void *ctx, const fh_generate_event *ev, fh_err *err) {
    answer *a = ctx;
    bool said = ev->has_token && (a->c->set->ignore_eos || !is_end(a->c, ev->pick.token));
    if (said && a->sink->id) FH_TRY(a->sink->id(a->sink->ctx, ev->pick.token, err));
    if (ev->text.len == 0) return FH_OK;
    look_at_gate(a, ev->text);
    return a->reply ? fh_reply_feed(a->reply, ev->text, err) : show(a, false, ev->text, err);
}

/* ---- making ---- */

static void init(answer *a, fh_chat *c, const fh_chat_sink *sink) {
    *a = (answer){.c = c, .sink = sink, .gate = true};
    fh_buf_init(&a->before, FH_CHAT_TEXT_MOST);
    fh_buf_init(&a->content, FH_CHAT_TEXT_MOST);
    fh_buf_init(&a->reasoning, FH_CHAT_TEXT_MOST);
    c->timing = (fh_chat_timing){.load_ns = c->x.load_ns};
}

static void release(answer *a) {
    fh_reply_free(a->reply);
    fh_generation_free(a->generation);
    fh_constraint_free(a->constraint);
    fh_grammar_free(a->grammar);
    fh_sampler_free(a->sampler);
    fh_buf_release(&a->before);
    fh_buf_release(&a->content);
    fh_buf_release(&a->reasoning);
}

static fh_status make_sampler(answer *a, const uint32_t *prompt, size_t n, fh_err *err) {
    fh_chat *c = a->c;
    fh_sampling sampling = c->set->sampling;
    const fh_str *piece = NULL;
    size_t n_piece = 0;
    if (!sampling.has_seed) sampling.seed += c->n_message; /* another answer, other numbers */
    if (c->tokenizer && (sampling.chain || sampling.value[FH_SAMPLING_DRY] > 0)) {
        FH_TRY(fh_chat_make_pieces(c, err));
        piece = fh_constrain_vocab_pieces(c->pieces, &n_piece);
    }
    FH_TRY(fh_sampling_make(&a->sampler, &sampling, &c->gen, fh_session_limit(c->session), piece, n_piece, err));
    for (size_t i = 0; i < n; i++) fh_sampler_accept(a->sampler, prompt[i]);
    return FH_OK;
}

static fh_status make_constraint(answer *a, fh_err *err) {
    fh_chat *c = a->c;
    if (!c->set->format) return FH_OK;
    FH_TRY(fh_chat_make_pieces(c, err));
    FH_TRY(fh_chat_make_grammar(&a->grammar, fh_str_of(c->set->format), err));
    return fh_constraint_new(&a->constraint, c->pieces, a->grammar, err);
}

/* text: events carry it. skip_special: without what is markup to nobody. */
static fh_status make_generation(answer *a, bool text, bool skip_special, fh_err *err) {
    fh_chat *c = a->c;
    fh_str stop[FH_STOP_MOST];
    size_t n = text ? c->set->stop.n : 0;
    if (n > FH_STOP_MOST) return fh_fail(err, FH_ERR_USAGE, "more than %d stop texts", FH_STOP_MOST);
    for (size_t i = 0; i < n; i++) stop[i] = fh_str_of(c->set->stop.item[i]);
    if (text) FH_TRY(make_constraint(a, err));
    const fh_generate_options opt = {.sampler = a->sampler,
                                     .scratch = c->pick,
                                     .n_most = (uint32_t)FH_MIN(c->set->n, UINT32_MAX),
                                     .end = c->end_ids.ptr,
                                     .n_end = c->end_ids.len,
                                     .ignore_end = c->set->ignore_eos,
                                     .tokenizer = text ? c->tokenizer : NULL,
                                     .skip_special = skip_special,
                                     .stop = stop,
                                     .n_stop = n,
                                     .constraint = a->gate ? a->constraint : NULL,
                                     .fn = on_event,
                                     .ctx = a};
    return fh_generation_new(&a->generation, c->session, &opt, err);
}

/* ---- running ---- */

/* A new session that has read the input; the answer begins with the decoder's first token. */
static fh_status encode_input(fh_chat *c, const uint32_t *in, size_t n, fh_err *err) {
    fh_session *s = NULL;
    uint64_t start = fh_clock_ns();
    FH_TRY(fh_opened_session(&s, &c->x, &c->set->model, err));
    fh_status st = fh_session_encode(s, in, (uint32_t)n, err);
    if (st != FH_OK) {
        fh_session_free(s);
        return st;
    }
    fh_session_free(c->session);
    c->session = s;
    c->timing.prompt_ns = fh_clock_ns() - start;
    return FH_OK;
}

/* Keeps of the session what the prompt repeats, which is never all of it: the last token's row is wanted. */
static fh_status place_session(fh_chat *c, const uint32_t *in, size_t n, fh_err *err) {
    fh_session *s = c->session;
    uint32_t limit = fh_session_limit(s);
    if (n > limit)
        return fh_fail(err, FH_ERR_LIMIT,
                       "the prompt has %zu tokens, the context %u: nothing was cut; use a larger --ctx, or say less", n,
                       limit);
    uint32_t same = fh_session_n_common(s, in, (uint32_t)n);
    if (same == n) same--;
    c->timing.n_adopted = same;
    return fh_session_rewind(s, same, err);
}

static fh_status run(answer *a, const uint32_t *in, size_t n, bool text, bool skip_special, fh_err *err) {
    fh_chat *c = a->c;
    uint32_t first = fh_model_spec(c->x.model)->decoder_start;
    bool encodes = fh_model_plan(c->x.model, FH_PLAN_ENCODE) != NULL;
    c->timing.n_prompt = (uint32_t)n;
    if (n == 0) return fh_fail(err, FH_ERR_USAGE, "the prompt holds no token");
    if (c->set->n == 0) return c->end = FH_GENERATE_LENGTH, FH_OK;
    FH_TRY(encodes ? encode_input(c, in, n, err) : place_session(c, in, n, err));
    if (encodes) in = &first, n = 1;
    FH_TRY(make_sampler(a, in, n, err));
    FH_TRY(make_generation(a, text, skip_special, err));
    uint32_t from = fh_session_n_token(c->session);
    FH_TRY(fh_generation_begin(a->generation, in + from, (uint32_t)n - from, err));
    fh_status s = fh_generate_run(&a->generation, 1, c->stop, err);
    fh_generation_stats st = fh_generation_get_stats(a->generation);
    c->end = fh_generation_end(a->generation);
    c->timing.prompt_ns += st.prompt_ns;
    c->timing.answer_ns = st.answer_ns;
    c->timing.n_answer = st.n_token;
    c->timing.n_adopted = FH_MAX(c->timing.n_adopted, st.n_adopted);
    if (s == FH_OK && a->reply) s = fh_reply_finish(a->reply, NULL, NULL, err);
    return s;
}

fh_status fh_chat_continue(fh_chat *c, const uint32_t *token, size_t n, const fh_chat_sink *sink, fh_err *err) {
    answer a;
    init(&a, c, sink);
    fh_status s = run(&a, token, n, sink->text != NULL, true, err);
    release(&a);
    return s;
}

static fh_status prompt_tokens(answer *a, fh_ids *out, fh_err *err) {
    fh_buf prompt;
    fh_buf_init(&prompt, FH_CHAT_TEXT_MOST);
    fh_status s = fh_chat_prompt(a->c, &prompt, out, err);
    if (s == FH_OK && a->c->has_markup) a->start = fh_markup_start_after(&a->c->markup.markup, fh_buf_str(&prompt));
    fh_buf_release(&prompt);
    return s;
}

fh_status fh_chat_answer(fh_chat *c, const fh_chat_sink *sink, fh_err *err) {
    answer a;
    fh_ids ids;
    init(&a, c, sink);
    fh_ids_init(&ids, FH_CHAT_TEXT_MOST);
    fh_status s = prompt_tokens(&a, &ids, err);
    a.gate = a.start == FH_START_TEXT;
    const fh_reply_options reply = {.start = a.start, .no_calls = true};
    if (s == FH_OK && c->has_markup) s = fh_reply_new(&a.reply, &c->markup.markup, &reply, on_reply, &a, err);
    if (s == FH_OK) s = run(&a, ids.ptr, ids.len, true, !c->template, err);
    if (s == FH_OK) s = fh_chat_add(c, "assistant", fh_buf_str(&a.content), fh_buf_str(&a.reasoning), err);
    fh_ids_release(&ids);
    release(&a);
    return s;
}
