/* serve/chat.c - the life of an ask: made by a handler, run, ended by the scheduler or by the client's leaving.
 * SPDX-License-Identifier: Apache-2.0
 * Two hold it: the run, until the scheduler lets go of everything that was lent to it, and the exchange's closing,
 * which may come on the server's thread at any time and only cancels. The lock guards the ticket between them; it is
 * held while submitting, so that events find the ticket. */
#include "serve/chat.h"

#include <sys/random.h>

#include "base/clock.h"
#include "base/num.h"
#include "serve/json_put.h"
#include "text/markup_grammar.h"
#include "text/schema.h"

#define ARENA_MOST ((size_t)16 << 20)
#define SPACE_MOST 21u /* a line break and some columns: weak models like to go on with blanks */
#define DEADLINE_NS ((uint64_t)6 * 3600 * 1000000000u)

/* ---- making and freeing ---- */

static void make_id(char id[25]) {
    uint8_t raw[12] = {0};
    (void)!getrandom(raw, sizeof raw, 0);
    for (size_t i = 0; i < sizeof raw; i++) (void)snprintf(id + 2 * i, 3, "%02x", raw[i]);
}

fh_ask *fh_ask_new(fh_call *c) {
    fh_json *body = fh_in_body(c);
    if (!body) return NULL;
    fh_ask *a = fh_alloc_zero(1, sizeof *a);
    if (!a) {
        fh_json_free(body);
        fh_call_fail(c, 503, NULL, NULL, "out of memory");
        return NULL;
    }
    a->call = c;
    a->body = body;
    a->keep_ms = FH_KEEP_DEFAULT;
    a->parallel = true;
    a->n_choice = 1;
    a->start_ns = fh_clock_ns();
    a->unix_s = fh_clock_unix_ms() / 1000;
    make_id(a->id);
    fh_arena_init(&a->arena, ARENA_MOST);
    fh_buf_init(&a->messages, FH_ASK_TEXT_MOST);
    fh_buf_init(&a->tools, FH_ASK_TEXT_MOST);
    fh_ids_init(&a->ids, FH_ASK_TEXT_MOST);
    fh_ids_init(&a->tokens, FH_ASK_TEXT_MOST);
    fh_ids_init(&a->think_end, FH_ASK_TEXT_MOST);
    pthread_mutex_init(&a->lock, NULL);
    atomic_init(&a->refs, 1);
    return a;
}

static void free_voice(void *api) {
    fh_voice *v = api;
    if (v->release) v->release(v);
    fh_stream_release(&v->stream);
    fh_buf_release(&v->b);
    fh_free(v);
}

void *fh_ask_attach(fh_ask *a, size_t bytes, fh_stream_kind kind, fh_say_fn *say, void (*release)(void *api)) {
    fh_voice *v = fh_alloc_zero(1, bytes);
    if (!v) return NULL;
    fh_buf_init(&v->b, FH_REPLY_MOST);
    fh_stream_init(&v->stream, a->call->x, kind);
    v->release = release;
    a->api = v;
    a->free_api = free_voice;
    a->say = say;
    return v;
}

fh_ask *fh_ask_open(fh_call *c, fh_in *in, size_t bytes, fh_say_fn *say, void (*release)(void *api)) {
    fh_ask *a = fh_ask_new(c);
    if (!a) return NULL;
    if (!fh_ask_attach(a, bytes, FH_STREAM_EVENTS, say, release)) {
        fh_ask_free(a);
        fh_call_fail(c, 503, NULL, NULL, "out of memory");
        return NULL;
    }
    fh_in_init(in, fh_json_root(a->body));
    return a;
}

void fh_ask_go(fh_ask *a, fh_in *in) {
    if (fh_in_answer(in, a->call)) fh_ask_free(a);
    else fh_ask_run(a);
}

static void free_said(fh_said *s) {
    fh_buf_release(&s->text);
    fh_buf_release(&s->reasoning);
    fh_buf_release(&s->before);
    for (uint32_t i = 0; i < s->n_call; i++) {
        fh_free(s->call[i].name);
        fh_free(s->call[i].id);
        fh_buf_release(&s->call[i].arguments);
    }
    fh_free(s->call);
    fh_ids_release(&s->tokens);
    fh_free(s->own);
    fh_free(s->top);
    fh_reply_free(s->reply);
}

static void free_answers(fh_ask *a) {
    for (uint32_t i = 0; a->said && i < a->n_choice; i++) free_said(&a->said[i]);
    fh_free(a->said);
    a->said = NULL;
}

void fh_ask_free(fh_ask *a) {
    if (!a) return;
    if (a->free_api) a->free_api(a->api);
    free_answers(a);
    fh_grammar_free(a->grammar);
    fh_sampler_steps_release(&a->chain);
    fh_json_free(a->tools_doc);
    fh_json_free(a->body);
    fh_buf_release(&a->messages);
    fh_buf_release(&a->tools);
    fh_ids_release(&a->ids);
    fh_ids_release(&a->tokens);
    fh_ids_release(&a->think_end);
    fh_arena_release(&a->arena);
    pthread_mutex_destroy(&a->lock);
    fh_free(a);
}

static void unref(fh_ask *a) {
    if (atomic_fetch_sub(&a->refs, 1) == 1) fh_ask_free(a);
}

static void resubmit(void *ctx);

void fh_ask_again(fh_ask *a) { a->again = true; }

/* The run is over: what was lent goes back. The exchange is let go last, since the call ends with it. */
static void retire(void *ctx) {
    fh_ask *a = ctx;
    fh_exchange *x = a->call->x;
    if (a->again) {
        a->again = false;
        fh_app_defer(a->call->app, resubmit, a);
        return;
    }
    if (a->r) fh_app_release(a->call->app, a->r);
    a->r = NULL;
    unref(a);
    fh_exchange_release(x);
}

/* ---- the client's leaving, and its coming back to read ---- */

static void on_closed(void *ctx) {
    fh_ask *a = ctx;
    pthread_mutex_lock(&a->lock);
    a->gone = true;
    if (a->ticket) fh_ticket_cancel(a->ticket);
    pthread_mutex_unlock(&a->lock);
    unref(a);
}

static void on_room(void *ctx) {
    fh_ask *a = ctx;
    pthread_mutex_lock(&a->lock);
    if (a->ticket) fh_ticket_resume(a->ticket);
    pthread_mutex_unlock(&a->lock);
}

/* ---- what was used ---- */

static fh_str digest_of(const fh_ask *a) {
    fh_fleet_entry e;
    return fh_fleet_find(fh_app_fleet(a->call->app), fh_str_of(a->r->name), &e) ? fh_str_of(e.digest) : FH_STR("");
}

void fh_ask_set_headers(fh_ask *a) {
    char text[64];
    fh_exchange *x = a->call->x;
    fh_str digest = digest_of(a);
    if (digest.len) fh_exchange_set_header(x, "X-Freehold-Weights", digest);
    if (a->r->facts.quantization.len) fh_exchange_set_header(x, "X-Freehold-Quantization", a->r->facts.quantization);
    if (a->r->facts.template_sha256[0])
        fh_exchange_set_header(x, "X-Freehold-Template", fh_str_of(a->r->facts.template_sha256));
    if (a->adapted[0]) fh_exchange_set_header(x, "X-Freehold-Adapters", fh_str_of(a->adapted));
    (void)snprintf(text, sizeof text, "prompt=%u, cached=%u, limit=%u, truncated=0", a->n_prompt, a->n_cached,
                   a->r->n_context);
    fh_exchange_set_header(x, "X-Freehold-Context", fh_str_of(text));
}

static void put_str(fh_json_writer *w, const char *key, fh_str s) {
    fh_json_put_key(w, key);
    if (s.len) fh_json_put_str(w, s);
    else fh_json_put_null(w);
}

void fh_ask_put_provenance(const fh_ask *a, fh_json_writer *w) {
    fh_json_put_object(w);
    put_str(w, "weights", digest_of(a));
    put_str(w, "quantization", a->r->facts.quantization);
    put_str(w, "adapters", fh_str_of(a->adapted));
    put_str(w, "template", fh_str_of(a->r->facts.template_sha256));
    fh_put_u64(w, "context_used", (uint64_t)a->n_prompt + a->n_new);
    fh_put_u64(w, "context_limit", a->r->n_context);
    fh_put_u64(w, "cached_tokens", a->n_cached);
    fh_put_u64(w, "truncated_tokens", 0);
    fh_json_put_end(w);
}

/* ---- submitting ---- */

static fh_status parse_tools(fh_ask *a, fh_err *err) {
    if (!a->tools.len) return FH_OK;
    FH_TRY(fh_json_parse(&a->tools_doc, fh_buf_str(&a->tools), NULL, err));
    if (fh_json_root(a->tools_doc)->n_child == 0) {
        fh_buf_clear(&a->tools);
        fh_json_free(a->tools_doc);
        a->tools_doc = NULL;
    }
    return FH_OK;
}

static fh_status choices_grammar(fh_ask *a, fh_err *err) {
    fh_str list[256];
    size_t n = 0;
    for (const fh_json_node *c = fh_json_first(a->format_node); c; c = fh_json_after(a->format_node, c)) {
        if (n == FH_COUNT(list)) return fh_fail(err, FH_ERR_USAGE, "more than %zu choices", FH_COUNT(list));
        if (!fh_json_to_str(c, &list[n++])) return fh_fail(err, FH_ERR_USAGE, "choices must be strings");
    }
    return fh_grammar_from_choice(&a->grammar, list, n, err);
}

/* A call that is required leaves no room for an answer, and a format is about answers only. Both where calls are free:
 * the reply is calls or an answer that holds to the format. Where a markup has channels the format begins with the
 * answer's channel, and calls, in channels of their own, are free as they are without a format. */
static fh_status make_grammar(fh_ask *a, fh_err *err) {
    const fh_grammar_options json = {.max_space = SPACE_MOST};
    bool calls = a->tools_doc && (a->tool_choice == FH_CALL_REQUIRED || a->tool_choice == FH_CALL_NAMED);
    a->no_calls = !a->tools_doc || a->tool_choice == FH_CALL_NONE;
    if (!a->tools_doc && (a->tool_choice == FH_CALL_REQUIRED || a->tool_choice == FH_CALL_NAMED))
        return fh_fail(err, FH_ERR_USAGE, "a tool call is required, but there are no tools");
    if (a->tools_doc && !a->no_calls && !a->r->has_markup)
        return fh_fail(err, FH_ERR_USAGE, "'%s' has no chat template, so it can be offered no tools", a->r->name);
    bool either = a->format != FH_FORMAT_FREE && !a->no_calls && !a->r->markup.markup.head_open[0];
    if (either && a->format != FH_FORMAT_JSON && a->format != FH_FORMAT_SCHEMA)
        return fh_fail(err, FH_ERR_USAGE,
                       "tools go together with a JSON format only; ask with tool_choice none or required");
    if (calls || either) {
        const fh_call_rule rule = {.tools = fh_json_root(a->tools_doc),
                                   .choice = a->tool_choice,
                                   .name = a->tool_name,
                                   .parallel = a->parallel,
                                   .answer = a->format == FH_FORMAT_SCHEMA ? a->format_node : NULL,
                                   .answer_object = a->format == FH_FORMAT_JSON};
        return fh_grammar_from_calls(&a->grammar, &a->r->markup.markup, &rule, &json, err);
    }
    switch (a->format) {
    case FH_FORMAT_FREE: return FH_OK;
    case FH_FORMAT_JSON: return fh_grammar_from_json(&a->grammar, &json, err);
    case FH_FORMAT_SCHEMA: return fh_grammar_from_schema(&a->grammar, a->format_node, &json, err);
    case FH_FORMAT_GBNF: return fh_grammar_from_gbnf(&a->grammar, a->format_text, err);
    case FH_FORMAT_REGEX: return fh_grammar_from_regex(&a->grammar, a->format_text, err);
    case FH_FORMAT_CHOICE: return choices_grammar(a, err);
    }
    return FH_OK;
}

/* Without `lora` the name decides: an adapter's, or the model's with the factors that were set for it. */
static fh_status read_lora(const fh_ask *a, float scale[FH_ADAPTERS_MOST], fh_err *err) {
    if (a->lora) return fh_lora_read(a->lora, fh_str_of(a->r->name), a->n_adapter, scale, err);
    if (a->adapter) scale[a->adapter - 1] = 1;
    else fh_fleet_scales(fh_app_fleet(a->call->app), fh_str_of(a->r->name), scale);
    return FH_OK;
}

static fh_status find_adapters(fh_ask *a, fh_err *err) {
    float scale[FH_ADAPTERS_MOST] = {0};
    size_t n = 0;
    FH_TRY(read_lora(a, scale, err));
    for (uint32_t i = 0; i < FH_ADAPTERS_MOST && n < sizeof a->adapted; i++)
        if (scale[i] < 0 || scale[i] > 0)
            n += (size_t)snprintf(a->adapted + n, sizeof a->adapted - n, "%s%u=%g", n ? ", " : "", i, (double)scale[i]);
    fh_status s = fh_resident_adapt(a->r, scale, &a->adapters, err);
    if (s != FH_OK && s != FH_ERR_MEMORY && err) err->status = FH_ERR_USAGE;
    return s;
}

static fh_status prepare(fh_ask *a, fh_err *err) {
    fh_buf text;
    if (a->r->result != FH_EXPORT_LOGITS)
        return fh_fail(err, FH_ERR_USAGE, "'%s' is no model that writes text: ask it for embeddings or ranks",
                       a->r->name);
    FH_TRY(find_adapters(a, err));
    FH_TRY(parse_tools(a, err));
    fh_status s = make_grammar(a, err);
    if (s == FH_ERR_UNSUPPORTED || s == FH_ERR_FORMAT || s == FH_ERR_LIMIT || s == FH_ERR_NOT_FOUND)
        if (err) err->status = FH_ERR_USAGE; /* what was asked for cannot be held: never weakened */
    if (s != FH_OK) return s;
    fh_buf_init(&text, 2 * FH_ASK_TEXT_MOST);
    s = fh_ask_make_prompt(a, &text, err);
    fh_buf_release(&text);
    if (s == FH_OK) s = fh_ask_make_chain(a, err);
    if (s == FH_OK) s = fh_ask_make_said(a, err);
    if (s == FH_OK && a->n_prompt == 0) s = fh_fail(err, FH_ERR_USAGE, "the prompt holds no token");
    return s;
}

static bool too_long(fh_ask *a) {
    const fh_resident *r = a->r;
    uint64_t most = a->most_set ? a->most : 0;
    if (a->n_prompt < r->n_context && a->n_prompt + most <= r->n_context) return false;
    if (a->n_prompt < r->n_context) {
        a->most = r->n_context - a->n_prompt; /* finish says so: length */
        return false;
    }
    fh_call_fail(a->call, 400, "context_length_exceeded", NULL,
                 "the prompt has %u tokens, the context of '%s' is %u: nothing was cut", a->n_prompt, r->name,
                 r->n_context);
    return true;
}

static void fill_request(fh_ask *a, fh_request *q, const uint32_t *first) {
    static const fh_str breaker[] = {{"\n", 1}, {":", 1}, {"\"", 1}, {"*", 1}};
    const fh_resident *r = a->r;
    bool calls = a->tool_choice == FH_CALL_REQUIRED || a->tool_choice == FH_CALL_NAMED;
    *q = (fh_request){.prompt = a->tokens.ptr,
                      .n_prompt = a->n_prompt,
                      .n_choice = a->n_choice,
                      .most = a->most,
                      .n_logprob = a->n_logprob,
                      .want_logprob = a->want_chance,
                      .ignore_end = a->ignore_end,
                      .keep_special = a->kind == FH_ASK_CHAT && r->has_markup && !a->no_template,
                      .chain = &a->chain,
                      .seed = a->seed,
                      .stop = a->stop,
                      .n_stop = a->n_stop,
                      .end = r->end_ids.ptr,
                      .n_end = (uint32_t)r->end_ids.len,
                      .grammar = a->grammar,
                      .tokenizer = r->tokenizer,
                      .adapters = a->adapters,
                      .salt = a->call->salt,
                      .owner = a->call->owner,
                      .priority = a->call->priority,
                      .deadline_ns = DEADLINE_NS,
                      .fn = fh_ask_on_event,
                      .release = retire,
                      .ctx = a};
    if (a->set && r->vocab) q->breaker = breaker, q->n_breaker = FH_COUNT(breaker);
    if (a->grammar || q->n_breaker) q->vocab = r->vocab;
    q->grammar_waits = a->grammar && (a->start == FH_START_REASONING || (a->start == FH_START_HEADER && !calls));
    if (!q->most && r->n_context < fh_model_spec(r->model)->n_context) q->most = r->n_context - a->n_prompt;
    if (!fh_model_plan(r->model, FH_PLAN_ENCODE)) return;
    q->encoder = q->prompt;
    q->n_encoder = q->n_prompt;
    q->prompt = first;
    q->n_prompt = 1;
}

static void submit(fh_ask *a) {
    fh_request q;
    fh_err err = {0};
    uint32_t retry = 0, first = fh_model_spec(a->r->model)->decoder_start;
    if (!a->has_seed && getrandom(&a->seed, sizeof a->seed, 0) < 0) a->seed = fh_clock_ns();
    fill_request(a, &q, &first);
    if (!fh_exchange_has_begun(a->call->x)) fh_exchange_on_room(a->call->x, on_room, a);
    pthread_mutex_lock(&a->lock);
    fh_status s = a->gone ? fh_fail(&err, FH_ERR_CANCELLED, "the client is gone")
                          : fh_scheduler_submit(a->r->scheduler, &q, &a->ticket, &retry, &err);
    bool gone = a->gone;
    pthread_mutex_unlock(&a->lock);
    if (s == FH_OK) return;
    if (fh_exchange_has_begun(a->call->x)) a->say(a, &(fh_say){.kind = FH_SAY_FAILED, .err = &err});
    else if (s == FH_ERR_LIMIT && retry) fh_call_fail_busy(a->call, false, retry, err.message);
    else if (s == FH_ERR_CANCELLED && !gone) fh_call_fail_busy(a->call, true, 5000, err.message);
    else fh_call_fail_err(a->call, &err);
    retire(a);
}

/* The next prompt of a request that has several. */
static void resubmit(void *ctx) {
    fh_ask *a = ctx;
    fh_buf text;
    fh_err err = {0};
    free_answers(a);
    fh_ids_clear(&a->tokens);
    a->before_prompt += a->n_prompt;
    a->before_cached += a->n_cached;
    a->before_new += a->n_new;
    a->n_ended = 0;
    fh_buf_init(&text, 2 * FH_ASK_TEXT_MOST);
    fh_status s = fh_ask_make_prompt(a, &text, &err);
    fh_buf_release(&text);
    if (s == FH_OK) s = fh_ask_make_said(a, &err);
    if (s == FH_OK && a->n_prompt == 0) s = fh_fail(&err, FH_ERR_USAGE, "a prompt holds no token");
    if (s == FH_OK && a->n_prompt >= a->r->n_context)
        s = fh_fail(&err, FH_ERR_USAGE, "a prompt has %u tokens, the context of '%s' is %u: nothing was cut",
                    a->n_prompt, a->r->name, a->r->n_context);
    if (s == FH_OK) {
        submit(a);
        return;
    }
    if (fh_exchange_has_begun(a->call->x)) a->say(a, &(fh_say){.kind = FH_SAY_FAILED, .err = &err});
    else fh_call_fail_err(a->call, &err);
    retire(a);
}

static void on_model(void *ctx, fh_resident *r, const fh_err *why) {
    fh_ask *a = ctx;
    fh_err err = {0};
    a->r = r;
    a->load_ns = fh_clock_ns() - a->start_ns;
    if (!r) {
        fh_call_fail_err(a->call, why);
        retire(a);
        return;
    }
    if (prepare(a, &err) != FH_OK) {
        fh_call_fail_err(a->call, &err);
        retire(a);
        return;
    }
    if (too_long(a)) {
        retire(a);
        return;
    }
    submit(a);
}

static bool is_there(fh_ask *a) {
    fh_fleet_entry e;
    if (fh_fleet_find(fh_app_fleet(a->call->app), a->model, &e)) {
        a->adapter = e.adapter;
        a->n_adapter = e.n_adapter;
        return true;
    }
    fh_call_fail(a->call, 404, "model_not_found", "model", "the model '%.*s' is not served here", FH_STR_ARG(a->model));
    return false;
}

static bool is_whole(fh_ask *a) {
    fh_status s = fh_buf_check(&a->messages, NULL);
    if (s == FH_OK) s = fh_buf_check(&a->tools, NULL);
    if (s == FH_OK) s = fh_ids_check(&a->ids, NULL);
    if (s == FH_OK) s = a->arena.status;
    if (s == FH_OK) return true;
    if (s == FH_ERR_MEMORY) fh_call_fail(a->call, 503, NULL, NULL, "out of memory");
    else fh_call_fail(a->call, 413, NULL, NULL, "the request is too large");
    return false;
}

static bool set_out(fh_ask *a, fh_fleet_use_fn *fn) {
    if (!is_whole(a) || !is_there(a)) {
        fh_ask_free(a);
        return false;
    }
    fh_exchange_hold(a->call->x);
    atomic_fetch_add(&a->refs, 1);
    if (!fh_call_on_closed(a->call, on_closed, a)) {
        a->gone = true;
        unref(a);
    }
    fh_app_use(a->call, a->model, a->keep_ms, fn, a);
    return true;
}

void fh_ask_run(fh_ask *a) { (void)set_out(a, on_model); }

/* ---- rendering alone ---- */

typedef struct render_only {
    fh_ask_prompt_fn *fn;
} render_only;

static void on_model_render(void *ctx, fh_resident *r, const fh_err *why) {
    fh_ask *a = ctx;
    fh_err err = {0};
    fh_buf text;
    render_only *o = a->api;
    a->r = r;
    fh_buf_init(&text, 2 * FH_ASK_TEXT_MOST);
    fh_status s = r ? fh_ask_make_prompt(a, &text, &err) : why->status;
    if (s == FH_OK) o->fn(a, fh_buf_str(&text), &a->tokens);
    else fh_call_fail_err(a->call, r ? &err : why);
    fh_buf_release(&text);
    retire(a);
}

void fh_ask_render(fh_ask *a, fh_ask_prompt_fn *fn) {
    render_only *o = fh_alloc_zero(1, sizeof *o);
    if (!o) {
        fh_call_fail(a->call, 503, NULL, NULL, "out of memory");
        fh_ask_free(a);
        return;
    }
    o->fn = fn;
    a->api = o;
    a->free_api = fh_free;
    (void)set_out(a, on_model_render);
}
