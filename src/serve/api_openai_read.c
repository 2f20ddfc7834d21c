/* serve/api_openai_read.c - requests of OpenAI's API in our words.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "serve/api_openai_part.h"

void fh_openai_read_common(fh_ask *a, fh_in *in) {
    const fh_caps *caps = fh_app_caps(a->call->app);
    uint64_t n;
    fh_json_node const *o;
    (void)fh_in_str(in, "model", &a->model);
    (void)fh_in_bool(in, "stream", &a->stream);
    if (fh_in_u64(in, "n", 1, FH_MIN(caps->n_choice, FH_ASK_CHOICES_MOST), &n)) a->n_choice = (uint32_t)n;
    fh_ask_read_sampling(a, in);
    fh_ask_read_stop(a, in, "stop");
    fh_ask_read_bias(a, in, "logit_bias");
    (void)fh_in_bool(in, "ignore_eos", &a->ignore_end);
    a->samplers = fh_in_get(in, "samplers");
    if (fh_in_str(in, "grammar", &a->format_text) && a->format_text.len) a->format = FH_FORMAT_GBNF;
    if (fh_in_str(in, "guided_regex", &a->format_text)) a->format = FH_FORMAT_REGEX;
    if ((o = fh_in_get(in, "guided_json"))) fh_ask_read_schema(a, in, "guided_json", o);
    if ((o = fh_in_array(in, "guided_choice"))) a->format = FH_FORMAT_CHOICE, a->format_node = o;
    if (a->format_text.len > caps->schema_bytes)
        fh_in_fail(in, "grammar", "'grammar' has more than %u bytes", caps->schema_bytes);
    static const char *const idle[] = {"user",
                                       "metadata",
                                       "store",
                                       "service_tier",
                                       "cache_prompt",
                                       "id_slot",
                                       "prompt_cache_key",
                                       "safety_identifier",
                                       "stream_options",
                                       "return_progress",
                                       "timings_per_token"};
    for (size_t i = 0; i < FH_COUNT(idle); i++) fh_in_ignore(in, idle[i]);
}

bool fh_openai_wants_usage(const fh_ask *a) {
    bool wants = false;
    const fh_json_node *o = fh_json_get(fh_json_root(a->body), "stream_options");
    (void)fh_json_to_bool(fh_json_get(o, "include_usage"), &wants);
    return wants;
}

/* ---- messages ---- */

static void read_calls(fh_in *in, fh_json_writer *w, const fh_json_node *calls) {
    fh_json_put_key(w, "tool_calls");
    fh_json_put_array(w);
    for (const fh_json_node *c = fh_json_first(calls); c; c = fh_json_after(calls, c)) {
        const fh_json_node *f = fh_json_get(c, "function");
        fh_str id = {"", 0}, name = {"", 0}, arguments = {"", 0};
        (void)fh_json_to_str(fh_json_get(c, "id"), &id);
        (void)fh_json_to_str(fh_json_get(f, "arguments"), &arguments);
        if (!fh_json_to_str(fh_json_get(f, "name"), &name))
            fh_in_fail(in, "messages", "a tool call in 'messages' has no function name");
        fh_ask_put_call(w, id, name, arguments);
    }
    fh_json_put_end(w);
}

static const char *role_of(fh_in *in, const fh_json_node *m) {
    static const char *const roles[][2] = {{"user", "user"},           {"assistant", "assistant"}, {"system", "system"},
                                           {"tool", "tool"},           {"developer", "system"},    {"function", "tool"},
                                           {"latest_reminder", "user"}};
    fh_str role = {"", 0};
    if (!fh_json_is(m, FH_JSON_OBJECT)) {
        fh_in_fail(in, "messages", "'messages' must be an array of objects");
        return "user";
    }
    (void)fh_json_to_str(fh_json_get(m, "role"), &role);
    for (size_t i = 0; i < FH_COUNT(roles); i++)
        if (fh_str_is(role, roles[i][0])) return roles[i][1];
    fh_in_fail(in, "messages", "a message's role is '%.*s': it must be system, developer, user, assistant or tool",
               FH_STR_ARG(role));
    return "user";
}

static void read_message(fh_in *in, fh_json_writer *w, const fh_json_node *m) {
    const char *role = role_of(in, m);
    const fh_json_node *content = fh_json_get(m, "content"), *calls = fh_json_get(m, "tool_calls");
    fh_str s;
    fh_buf text;
    fh_buf_init(&text, FH_ASK_TEXT_MOST);
    fh_json_put_object(w);
    fh_put_z(w, "role", role);
    bool empty = !content || fh_json_is(content, FH_JSON_NULL);
    if (empty && strcmp(role, "assistant") != 0) fh_in_fail(in, "messages", "a message of '%s' has no content", role);
    if (!empty) (void)fh_ask_text_of(in, "messages", content, &text);
    if (fh_buf_check(&text, NULL) != FH_OK) fh_in_fail(in, "messages", "a message is too large");
    fh_put_str(w, "content", fh_buf_str(&text));
    fh_buf_release(&text);
    if (fh_json_to_str(fh_json_get(m, "reasoning_content"), &s) || fh_json_to_str(fh_json_get(m, "reasoning"), &s))
        fh_put_str(w, "reasoning_content", s);
    if (fh_json_is(calls, FH_JSON_ARRAY) && calls->n_child) read_calls(in, w, calls);
    if (fh_json_to_str(fh_json_get(m, "tool_call_id"), &s)) fh_put_str(w, "tool_call_id", s);
    if (fh_json_to_str(fh_json_get(m, "name"), &s)) fh_put_str(w, "name", s);
    fh_json_put_end(w);
}

void fh_openai_read_messages(fh_ask *a, fh_in *in, const fh_json_node *list) {
    fh_json_writer w;
    uint32_t most = fh_app_caps(a->call->app)->n_message;
    if (in->failed) return;
    if (!list || list->n_child == 0 || list->n_child > most) {
        fh_in_fail(in, "messages", "'messages' must be an array of 1 to %u messages", most);
        return;
    }
    fh_json_writer_init(&w, &a->messages, false);
    fh_json_put_array(&w);
    for (const fh_json_node *m = fh_json_first(list); m && !in->failed; m = fh_json_after(list, m))
        read_message(in, &w, m);
    fh_json_put_end(&w);
}

/* ---- which tool ---- */

void fh_openai_read_choice(fh_ask *a, fh_in *in) {
    const fh_json_node *c = fh_in_get(in, "tool_choice");
    fh_str s, name;
    (void)fh_in_bool(in, "parallel_tool_calls", &a->parallel);
    if (!c) return;
    if (fh_json_to_str(c, &s)) {
        if (fh_str_is(s, "none")) a->tool_choice = FH_CALL_NONE;
        else if (fh_str_is(s, "required") || fh_str_is(s, "any")) a->tool_choice = FH_CALL_REQUIRED;
        else if (!fh_str_is(s, "auto"))
            fh_in_fail(in, "tool_choice", "'tool_choice' must be none, auto, required or a function's name");
        if (a->tool_choice == FH_CALL_REQUIRED && a->tools.len <= 2)
            fh_in_fail(in, "tool_choice", "'tool_choice' is '%.*s', but there are no tools", FH_STR_ARG(s));
        return;
    }
    if (fh_json_to_str(fh_json_get(fh_json_get(c, "function"), "name"), &name) ||
        (fh_json_to_str(fh_json_get(c, "type"), &s) && fh_str_is(s, "function") &&
         fh_json_to_str(fh_json_get(c, "name"), &name)))
        fh_ask_choose_tool(a, in, "tool_choice", name);
    else fh_in_fail(in, "tool_choice", "'tool_choice' must be none, auto, required or {\"type\": \"function\", ...}");
}

/* ---- formats and effort ---- */

void fh_openai_read_format(fh_ask *a, fh_in *in, const char *param, const fh_json_node *format) {
    fh_str type;
    if (!format || in->failed) return;
    if (!fh_json_to_str(fh_json_get(format, "type"), &type)) type = FH_STR("");
    const fh_json_node *inner = fh_json_get(format, "json_schema");
    const fh_json_node *schema = fh_json_get(inner ? inner : format, "schema");
    if (fh_str_is(type, "text")) return;
    if (fh_str_is(type, "json_object") && !schema) a->format = FH_FORMAT_JSON;
    else if (fh_str_is(type, "json_schema") || (fh_str_is(type, "json_object") && schema))
        fh_ask_read_schema(a, in, param, schema);
    else fh_in_fail(in, param, "the type of '%s' must be text, json_object or json_schema", param);
}

#define MINIMAL_MOST \
    256u /* tokens of reasoning; what low and medium are where a template does not say: chat_prompt.c */

void fh_openai_read_effort(fh_ask *a, fh_in *in, const char *param, const fh_json_node *effort) {
    static const char *const levels[] = {"low", "medium", "high", "xhigh", "max"};
    fh_str s;
    if (!effort || in->failed) return;
    if (!fh_json_to_str(effort, &s)) s = FH_STR("");
    if (fh_str_is(s, "none")) a->think = FH_ASK_THINK_NO;
    else if (fh_str_is(s, "minimal")) {
        a->think = FH_ASK_THINK_LEVEL;
        a->level = FH_STR("low");
        a->think_most_set = true;
        a->think_most = MINIMAL_MOST;
    } else {
        for (size_t i = 0; i < FH_COUNT(levels); i++)
            if (fh_str_is(s, levels[i])) {
                a->think = FH_ASK_THINK_LEVEL;
                a->level = fh_str_of(levels[i < 3 ? i : 2]);
                return;
            }
        fh_in_fail(in, param, "'%s' must be none, minimal, low, medium or high", param);
    }
}
