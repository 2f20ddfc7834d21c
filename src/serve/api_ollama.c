/* serve/api_ollama.c - POST /api/generate and /api/chat: requests in Ollama's form.
 * SPDX-License-Identifier: Apache-2.0
 * Streaming is the default. A request without a prompt loads the model, or with keep_alive 0 lets it go. */
#include "base/num.h"
#include "serve/api_ollama_answer.h"
#include "serve/api_ollama_part.h"
#include "serve/router.h"

bool fh_ollama_read_model(fh_in *in, fh_str *out) {
    fh_str ignored;
    bool found = fh_in_str(in, "model", out), old = fh_in_str(in, "name", found ? &ignored : out);
    if (!found && !old) fh_in_fail(in, "model", "'model' is needed");
    return found || old;
}

static bool duration_ms(fh_str s, double *out) {
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"us", 1e-3}, {"ns", 1e-6}, {"h", 36e5}, {"m", 6e4}, {"s", 1e3}};
    double total = 0, sign = 1;
    if (s.len && s.ptr[0] == '-') sign = -1, s = fh_str_drop(s, 1);
    if (!s.len) return false;
    while (s.len) {
        size_t n = 0, k = 0;
        double v;
        while (n < s.len && ((s.ptr[n] >= '0' && s.ptr[n] <= '9') || s.ptr[n] == '.')) n++;
        if (!fh_json_text_f64(fh_str_first(s, n), &v)) return false;
        s = fh_str_drop(s, n);
        for (k = 0; k < FH_COUNT(units) && !fh_str_starts(s, units[k].name); k++) continue;
        if (k == FH_COUNT(units) && s.len) return false;
        total += v * (s.len ? units[k].ms : 1e3);
        s = s.len ? fh_str_drop(s, strlen(units[k].name)) : s;
    }
    *out = sign * total;
    return true;
}

int64_t fh_ollama_read_keep(fh_in *in) {
    const fh_json_node *n = fh_in_get(in, "keep_alive");
    fh_str s;
    double ms = 0;
    if (!n) return FH_KEEP_DEFAULT;
    bool ok = fh_json_to_str(n, &s) ? duration_ms(s, &ms) : fh_json_to_f64(n, &ms);
    if (ok && fh_json_is(n, FH_JSON_NUMBER)) ms *= 1e3;
    if (!ok || !(ms < 1e15 && ms > -1e15))
        fh_in_fail(in, "keep_alive", "'keep_alive' must be seconds, or a text as 5m");
    return ok ? ms < 0 ? -1 : (int64_t)ms : FH_KEEP_DEFAULT;
}

void fh_ollama_read_options(fh_ask *a, fh_in *in) {
    static const char *const idle[] = {
        "num_ctx",   "num_keep",          "num_batch",     "num_gpu",  "main_gpu", "use_mmap",   "num_thread",
        "tfs_z",     "penalize_newline",  "numa",          "low_vram", "f16_kv",   "logits_all", "vocab_only",
        "use_mlock", "draft_num_predict", "embedding_only"};
    fh_in opt;
    const fh_json_node *o = fh_in_object(in, "options");
    a->ollama_defaults = true;
    fh_in_init(&opt, o);
    fh_ask_read_most(a, &opt, "num_predict");
    fh_ask_read_sampling(a, &opt);
    fh_ask_read_stop(a, &opt, "stop");
    const fh_json_node *lora = fh_in_array(in, "lora"); /* beside the options or among them */
    if (lora) a->lora = lora;
    for (size_t i = 0; i < FH_COUNT(idle); i++) fh_in_ignore(&opt, idle[i]);
    if (opt.failed) fh_in_fail_as(in, opt.status, opt.code, opt.param, "%s", opt.message);
    else (void)fh_in_answer(&opt, a->call);
}

static void read_think(fh_ask *a, fh_in *in) {
    const fh_json_node *n = fh_in_get(in, "think");
    bool yes;
    fh_ask_read_budget(a, in);
    if (!n) return;
    if (fh_json_to_bool(n, &yes)) a->think = yes ? FH_ASK_THINK_YES : FH_ASK_THINK_NO;
    else if (fh_json_to_str(n, &a->level) && a->level.len) {
        a->think = FH_ASK_THINK_LEVEL;
        if (fh_str_is(a->level, "max")) a->level = FH_STR("high");
    } else fh_in_fail(in, "think", "'think' must be true, false, low, medium, high or max");
}

static void read_common(fh_ask *a, fh_in *in) {
    const fh_json_node *format;
    fh_str s;
    uint64_t n;
    (void)fh_ollama_read_model(in, &a->model);
    a->keep_ms = fh_ollama_read_keep(in);
    a->stream = true;
    (void)fh_in_bool(in, "stream", &a->stream);
    read_think(a, in);
    if ((format = fh_in_get(in, "format"))) {
        if (fh_json_to_str(format, &s)) {
            if (fh_str_is(s, "json")) a->format = FH_FORMAT_JSON;
            else if (s.len) fh_in_fail(in, "format", "'format' must be json or a JSON Schema");
        } else fh_ask_read_schema(a, in, "format", format);
    }
    fh_ollama_read_options(a, in);
    (void)fh_in_bool(in, "logprobs", &a->want_chance);
    if (fh_in_u64(in, "top_logprobs", 0, fh_app_caps(a->call->app)->n_top, &n)) a->n_logprob = (uint32_t)n;
    if (a->n_logprob) a->want_chance = true;
    fh_in_ignore(in, "truncate"); /* nothing is ever cut */
    fh_in_ignore(in, "shift");
}

static void refuse_images(fh_in *in, const fh_json_node *images) {
    if (images && images->n_child)
        fh_in_fail_as(in, 400, "unsupported_content", "images", "images are not understood so far, only text");
}

/* ---- generate ---- */

static void put_text(fh_json_writer *w, const char *role, fh_str content) {
    fh_json_put_object(w);
    fh_put_z(w, "role", role);
    fh_put_str(w, "content", content);
    fh_json_put_end(w);
}

static void read_context(fh_ask *a, fh_in *in) {
    const fh_json_node *list = fh_in_array(in, "context");
    uint64_t id;
    for (const fh_json_node *n = fh_json_first(list); n; n = fh_json_after(list, n)) {
        if (fh_json_to_u64(n, &id) && id < UINT32_MAX) fh_ids_add(&a->ids, (uint32_t)id);
        else fh_in_fail(in, "context", "'context' must be token ids");
    }
}

static void read_generate(fh_ask *a, fh_in *in) {
    fh_str system = {"", 0}, template = {"", 0};
    bool raw = false;
    fh_json_writer w;
    read_common(a, in);
    (void)fh_in_str(in, "prompt", &a->prompt);
    (void)fh_in_str(in, "system", &system);
    (void)fh_in_str(in, "template", &template);
    (void)fh_in_bool(in, "raw", &raw);
    refuse_images(in, fh_in_array(in, "images"));
    if (template.len) fh_in_fail(in, "template", "templates come with the model; none can be given with a request");
    read_context(a, in);
    if (fh_in_str(in, "suffix", &a->suffix) && a->suffix.len) {
        a->kind = FH_ASK_TEXT;
        a->infill = true;
        a->prefix = a->prompt;
        a->prompt = FH_STR("");
        return;
    }
    if (raw) {
        a->kind = FH_ASK_TEXT;
        return;
    }
    fh_json_writer_init(&w, &a->messages, false);
    fh_json_put_array(&w);
    if (system.len) put_text(&w, "system", system);
    put_text(&w, "user", a->prompt);
    fh_json_put_end(&w);
}

static void run(fh_ask *a, fh_in *in, bool empty, bool chat) {
    fh_call *c = a->call;
    if (!in->failed && !fh_ollama_attach(a, chat)) fh_in_fail_as(in, 503, NULL, NULL, "out of memory");
    if (fh_in_answer(in, c)) {
        fh_ask_free(a);
    } else if (empty) {
        fh_ollama_load(c, a->model, a->keep_ms, chat);
        fh_ask_free(a);
    } else {
        fh_ask_run(a);
    }
}

void fh_ollama_generate(fh_call *c) {
    fh_in in;
    fh_ask *a = fh_ask_new(c);
    if (!a) return;
    fh_in_init(&in, fh_json_root(a->body));
    read_generate(a, &in);
    run(a, &in, !a->prompt.len && !a->infill, false);
}

/* ---- chat ---- */

static void put_calls(fh_json_writer *w, fh_in *in, const fh_json_node *calls) {
    fh_put_array(w, "tool_calls");
    for (const fh_json_node *c = fh_json_first(calls); c; c = fh_json_after(calls, c)) {
        const fh_json_node *f = fh_json_get(c, "function"), *arguments = fh_json_get(f, "arguments");
        fh_str id, name, text;
        fh_json_put_object(w);
        if (fh_json_to_str(fh_json_get(c, "id"), &id)) fh_put_str(w, "id", id);
        fh_put_z(w, "type", "function");
        fh_put_object(w, "function");
        if (fh_json_to_str(fh_json_get(f, "name"), &name)) fh_put_str(w, "name", name);
        else fh_in_fail(in, "messages", "a tool call in 'messages' has no function name");
        fh_json_put_key(w, "arguments");
        if (fh_json_is(arguments, FH_JSON_OBJECT)) fh_json_put_tree(w, arguments);
        else fh_put_args(w, fh_json_to_str(arguments, &text) ? text : FH_STR("{}"));
        fh_json_put_end(w);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void put_message(fh_json_writer *w, fh_in *in, const fh_json_node *m) {
    static const char *const roles[] = {"user", "assistant", "system", "tool"};
    fh_str role = {"", 0}, content = {"", 0}, s;
    size_t k = 0;
    const fh_json_node *calls = fh_json_get(m, "tool_calls");
    (void)fh_json_to_str(fh_json_get(m, "role"), &role);
    while (k < FH_COUNT(roles) && !fh_str_is(role, roles[k])) k++;
    if (k == FH_COUNT(roles))
        fh_in_fail(in, "messages", "a message's role is '%.*s': it must be system, user, assistant or tool",
                   FH_STR_ARG(role));
    const fh_json_node *c = fh_json_get(m, "content");
    if (c && !fh_json_is(c, FH_JSON_NULL) && !fh_json_to_str(c, &content))
        fh_in_fail(in, "messages", "a message's content must be a string");
    refuse_images(in, fh_json_get(m, "images"));
    fh_json_put_object(w);
    fh_put_str(w, "role", role);
    fh_put_str(w, "content", content);
    if (fh_json_to_str(fh_json_get(m, "thinking"), &s) && s.len) fh_put_str(w, "reasoning_content", s);
    if (calls && calls->n_child) put_calls(w, in, calls);
    if (fh_json_to_str(fh_json_get(m, "tool_name"), &s) || fh_json_to_str(fh_json_get(m, "name"), &s))
        fh_put_str(w, "name", s);
    if (fh_json_to_str(fh_json_get(m, "tool_call_id"), &s)) fh_put_str(w, "tool_call_id", s);
    fh_json_put_end(w);
}

void fh_ollama_chat(fh_call *c) {
    fh_in in;
    fh_json_writer w;
    fh_ask *a = fh_ask_new(c);
    if (!a) return;
    fh_in_init(&in, fh_json_root(a->body));
    read_common(a, &in);
    const fh_json_node *list = fh_in_array(&in, "messages"), *last = NULL;
    uint32_t most = fh_app_caps(c->app)->n_message;
    if (list && list->n_child > most)
        fh_in_fail(&in, "messages", "'messages' has %u messages, at most %u", list->n_child, most);
    fh_json_writer_init(&w, &a->messages, false);
    fh_json_put_array(&w);
    for (const fh_json_node *m = in.failed ? NULL : fh_json_first(list); m; m = fh_json_after(list, m)) {
        put_message(&w, &in, m);
        last = m;
    }
    fh_json_put_end(&w);
    fh_str role;
    a->continue_last = fh_json_to_str(fh_json_get(last, "role"), &role) && fh_str_is(role, "assistant");
    fh_ask_read_tools(a, &in, fh_in_array(&in, "tools"));
    run(a, &in, !list || list->n_child == 0, true);
}
