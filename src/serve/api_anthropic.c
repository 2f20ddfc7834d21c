/* serve/api_anthropic.c - POST /v1/messages and /v1/messages/count_tokens: requests.
 * SPDX-License-Identifier: Apache-2.0
 * A message is a list of blocks: results of tools become messages of their own, before the text that stands beside
 * them; thinking is handed back to templates that want it. */
#include "serve/api_anthropic_part.h"

#include "base/num.h"
#include "serve/router.h"

/* ---- messages ---- */

static void put_call(fh_json_writer *w, fh_in *in, const fh_json_node *block) {
    fh_str s;
    const fh_json_node *input = fh_json_get(block, "input");
    fh_json_put_object(w);
    if (fh_json_to_str(fh_json_get(block, "id"), &s)) fh_put_str(w, "id", s);
    fh_put_z(w, "type", "function");
    fh_put_object(w, "function");
    if (fh_json_to_str(fh_json_get(block, "name"), &s)) fh_put_str(w, "name", s);
    else fh_in_fail(in, "messages", "a tool_use block has no name");
    fh_json_put_key(w, "arguments");
    if (fh_json_is(input, FH_JSON_OBJECT)) fh_json_put_tree(w, input);
    else fh_put_args(w, FH_STR("{}"));
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void put_result(fh_json_writer *w, fh_in *in, const fh_json_node *block) {
    fh_buf text;
    fh_str id;
    bool is_error = false;
    const fh_json_node *content = fh_json_get(block, "content");
    fh_buf_init(&text, FH_ASK_TEXT_MOST);
    (void)fh_json_to_bool(fh_json_get(block, "is_error"), &is_error);
    if (is_error) fh_buf_add_z(&text, "Error: ");
    if (content) (void)fh_ask_text_of(in, "messages", content, &text);
    fh_json_put_object(w);
    fh_put_z(w, "role", "tool");
    if (fh_json_to_str(fh_json_get(block, "tool_use_id"), &id)) fh_put_str(w, "tool_call_id", id);
    fh_put_str(w, "content", fh_buf_str(&text));
    fh_json_put_end(w);
    fh_buf_release(&text);
}

typedef struct blocks {
    fh_buf text, thinking;
    size_t n_call, n_result;
} blocks;

static bool is_type(const fh_json_node *block, const char *type) {
    fh_str s;
    return fh_json_to_str(fh_json_get(block, "type"), &s) && fh_str_is(s, type);
}

/* Text and thinking of a message; calls and results are only counted. */
static void gather(blocks *b, fh_in *in, const fh_json_node *content) {
    fh_str s;
    if (fh_json_to_str(content, &s)) {
        fh_buf_add_str(&b->text, s);
        return;
    }
    if (!fh_json_is(content, FH_JSON_ARRAY)) {
        fh_in_fail(in, "messages", "a message's content must be a string or an array of blocks");
        return;
    }
    for (const fh_json_node *k = fh_json_first(content); k; k = fh_json_after(content, k)) {
        if (is_type(k, "text") && fh_json_to_str(fh_json_get(k, "text"), &s)) {
            fh_buf_add_str(&b->text, s);
        } else if (is_type(k, "thinking") && fh_json_to_str(fh_json_get(k, "thinking"), &s)) {
            fh_buf_add_str(&b->thinking, s);
        } else if (is_type(k, "tool_use")) {
            b->n_call++;
        } else if (is_type(k, "tool_result")) {
            b->n_result++;
        } else if (!is_type(k, "redacted_thinking")) {
            if (!fh_json_to_str(fh_json_get(k, "type"), &s)) s = FH_STR("");
            fh_in_fail_as(in, 400, "unsupported_content", "messages",
                          "'messages' holds a block of type '%.*s': only text, tool_use, tool_result and thinking are "
                          "understood so far, no images or documents",
                          FH_STR_ARG(s));
        }
    }
}

static void put_message(fh_json_writer *w, fh_in *in, const fh_json_node *m) {
    fh_str role = {"", 0};
    const fh_json_node *content = fh_json_get(m, "content");
    blocks b = {.n_call = 0};
    fh_buf_init(&b.text, FH_ASK_TEXT_MOST);
    fh_buf_init(&b.thinking, FH_ASK_TEXT_MOST);
    (void)fh_json_to_str(fh_json_get(m, "role"), &role);
    if (!fh_str_is(role, "user") && !fh_str_is(role, "assistant") && !fh_str_is(role, "system"))
        fh_in_fail(in, "messages", "a message's role is '%.*s': it must be user or assistant", FH_STR_ARG(role));
    gather(&b, in, content);
    for (const fh_json_node *k = b.n_result ? fh_json_first(content) : NULL; k; k = fh_json_after(content, k))
        if (is_type(k, "tool_result")) put_result(w, in, k);
    if (!b.n_result || b.text.len || b.n_call) {
        fh_json_put_object(w);
        fh_put_str(w, "role", role);
        fh_put_str(w, "content", fh_buf_str(&b.text));
        if (b.thinking.len) fh_put_str(w, "reasoning_content", fh_buf_str(&b.thinking));
        if (b.n_call) fh_put_array(w, "tool_calls");
        for (const fh_json_node *k = b.n_call ? fh_json_first(content) : NULL; k; k = fh_json_after(content, k))
            if (is_type(k, "tool_use")) put_call(w, in, k);
        if (b.n_call) fh_json_put_end(w);
        fh_json_put_end(w);
    }
    fh_buf_release(&b.text);
    fh_buf_release(&b.thinking);
}

static void read_messages(fh_ask *a, fh_in *in) {
    fh_json_writer w;
    fh_str role;
    uint32_t most = fh_app_caps(a->call->app)->n_message;
    const fh_json_node *system = fh_in_get(in, "system"), *list = fh_in_array(in, "messages");
    if (in->failed) return;
    if (!list || list->n_child == 0 || list->n_child > most) {
        fh_in_fail(in, "messages", "'messages' must be an array of 1 to %u messages", most);
        return;
    }
    fh_json_writer_init(&w, &a->messages, false);
    fh_json_put_array(&w);
    if (system) {
        fh_buf text;
        fh_buf_init(&text, FH_ASK_TEXT_MOST);
        (void)fh_ask_text_of(in, "system", system, &text);
        fh_json_put_object(&w);
        fh_put_z(&w, "role", "system");
        fh_put_str(&w, "content", fh_buf_str(&text));
        fh_json_put_end(&w);
        fh_buf_release(&text);
    }
    const fh_json_node *last = NULL;
    for (const fh_json_node *m = fh_json_first(list); m && !in->failed; m = fh_json_after(list, m)) {
        put_message(&w, in, m);
        last = m;
    }
    fh_json_put_end(&w);
    a->continue_last = fh_json_to_str(fh_json_get(last, "role"), &role) && fh_str_is(role, "assistant");
}

/* ---- tools ---- */

static void put_tool(fh_ask *a, fh_in *in, fh_json_writer *w, const fh_json_node *t) {
    fh_str s, type;
    if (fh_json_to_str(fh_json_get(t, "type"), &type) && !fh_str_is(type, "custom")) {
        char text[80];
        (void)snprintf(text, sizeof text, "tools.%.*s", (int)FH_MIN(type.len, 60u), type.ptr);
        fh_call_warn_unknown(a->call, fh_str_of(text)); /* tools that their servers would run */
        return;
    }
    fh_json_put_object(w);
    fh_put_z(w, "type", "function");
    fh_put_object(w, "function");
    if (fh_json_to_str(fh_json_get(t, "name"), &s) && s.len && s.len <= 128) fh_put_str(w, "name", s);
    else fh_in_fail(in, "tools", "a tool in 'tools' has no name of 1 to 128 bytes");
    if (fh_json_to_str(fh_json_get(t, "description"), &s)) fh_put_str(w, "description", s);
    const fh_json_node *schema = fh_json_get(t, "input_schema");
    fh_json_put_key(w, "parameters");
    if (fh_json_is(schema, FH_JSON_OBJECT)) fh_json_put_tree(w, schema);
    else fh_put_args(w, FH_STR("{\"type\":\"object\",\"properties\":{}}"));
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void read_tools(fh_ask *a, fh_in *in) {
    fh_json_writer w;
    const fh_json_node *list = fh_in_array(in, "tools");
    uint32_t most = fh_app_caps(a->call->app)->n_tool;
    if (!list || list->n_child == 0) return;
    if (list->n_child > most) {
        fh_in_fail(in, "tools", "'tools' has %u entries, at most %u", list->n_child, most);
        return;
    }
    fh_json_writer_init(&w, &a->tools, false);
    fh_json_put_array(&w);
    for (const fh_json_node *t = fh_json_first(list); t && !in->failed; t = fh_json_after(list, t))
        put_tool(a, in, &w, t);
    fh_json_put_end(&w);
}

static void read_choice(fh_ask *a, fh_in *in) {
    const fh_json_node *c = fh_in_object(in, "tool_choice");
    fh_str name;
    bool single = false;
    if (!c) return;
    if (is_type(c, "none")) a->tool_choice = FH_CALL_NONE;
    else if (is_type(c, "any")) a->tool_choice = FH_CALL_REQUIRED;
    else if (is_type(c, "tool") && fh_json_to_str(fh_json_get(c, "name"), &name))
        fh_ask_choose_tool(a, in, "tool_choice", name);
    else if (!is_type(c, "auto"))
        fh_in_fail(in, "tool_choice", "the type of 'tool_choice' must be auto, any, tool or none");
    if (a->tool_choice == FH_CALL_REQUIRED && a->tools.len <= 2)
        fh_in_fail(in, "tool_choice", "'tool_choice' is any, but there are no tools");
    if (fh_json_to_bool(fh_json_get(c, "disable_parallel_tool_use"), &single)) a->parallel = !single;
}

/* ---- the rest ---- */

static void read_output(fh_ask *a, fh_in *in) {
    const fh_json_node *thinking = fh_in_object(in, "thinking"), *out = fh_in_object(in, "output_config");
    const fh_json_node *format = fh_json_get(out, "format");
    fh_str effort;
    if (!format) format = fh_in_object(in, "output_format");
    else fh_in_ignore(in, "output_format");
    if (thinking) {
        fh_in budget;
        a->think = is_type(thinking, "disabled") ? FH_ASK_THINK_NO : FH_ASK_THINK_YES;
        fh_in_init(&budget, thinking);
        if (a->think == FH_ASK_THINK_YES) fh_ask_read_budget(a, &budget);
        if (budget.failed) fh_in_fail(in, "thinking.budget_tokens", "%s", budget.message);
    }
    if (a->think != FH_ASK_THINK_NO && fh_json_to_str(fh_json_get(out, "effort"), &effort)) {
        a->think = FH_ASK_THINK_LEVEL;
        a->level = fh_str_is(effort, "low")      ? FH_STR("low")
                   : fh_str_is(effort, "medium") ? FH_STR("medium")
                                                 : FH_STR("high");
    }
    if (format && is_type(format, "json_schema"))
        fh_ask_read_schema(a, in, "output_config.format", fh_json_get(format, "schema"));
    else if (format) fh_in_fail(in, "output_config.format", "the format's type must be json_schema");
}

static void read_request(fh_ask *a, fh_in *in, bool counting) {
    uint64_t n;
    static const char *const idle[] = {"metadata",  "service_tier",       "anthropic_version", "betas",
                                       "container", "context_management", "cache_control",     "inference_geo"};
    (void)fh_in_str(in, "model", &a->model);
    (void)fh_in_bool(in, "stream", &a->stream);
    read_messages(a, in);
    read_tools(a, in);
    read_choice(a, in);
    read_output(a, in);
    fh_ask_read_stop(a, in, "stop_sequences");
    if (fh_in_u64(in, "max_tokens", 1, INT32_MAX, &n)) {
        a->most = (uint32_t)n;
        a->most_set = true;
    } else if (!counting) {
        fh_in_fail(in, "max_tokens", "'max_tokens' is needed");
    }
    fh_ask_read_sampling(a, in);
    for (size_t i = 0; i < FH_COUNT(idle); i++) fh_in_ignore(in, idle[i]);
}

void fh_anthropic_messages(fh_call *c) {
    fh_in in;
    fh_ask *a = fh_ask_new(c);
    if (!a) return;
    fh_in_init(&in, fh_json_root(a->body));
    read_request(a, &in, false);
    if (!in.failed && !fh_anthropic_attach(a)) fh_in_fail_as(&in, 503, NULL, NULL, "out of memory");
    fh_ask_go(a, &in);
}

static void count(fh_ask *a, fh_str prompt, const fh_ids *ids) {
    fh_buf b;
    fh_json_writer w;
    (void)prompt;
    fh_buf_init(&b, 256);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    fh_put_u64(&w, "input_tokens", ids->len);
    fh_json_put_end(&w);
    fh_put_reply(a->call, &b);
}

void fh_anthropic_count(fh_call *c) {
    fh_in in;
    fh_ask *a = fh_ask_new(c);
    if (!a) return;
    fh_in_init(&in, fh_json_root(a->body));
    read_request(a, &in, true);
    if (fh_in_answer(&in, c)) fh_ask_free(a);
    else fh_ask_render(a, count);
}
