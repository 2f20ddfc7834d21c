/* serve/api_openai_responses.c - POST /v1/responses: requests, and the answers that are kept.
 * SPDX-License-Identifier: Apache-2.0
 * Kept answers live in memory: at most KEPT_MOST of them and KEPT_BYTES in all, oldest out first, each for the owner
 * that made it. store: false keeps nothing. */
#include "serve/api_openai_responses.h"

#include "base/num.h"
#include "serve/router.h"

#define KEPT_MOST 1024u
#define KEPT_BYTES ((size_t)64 << 20)

typedef struct kept {
    char id[48];
    uint64_t owner;
    char *response, *input, *turn; /* JSON */
    size_t bytes;
    struct kept *next;
} kept;

typedef struct shelf {
    kept *first; /* newest */
    size_t n, bytes;
} shelf;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void free_kept(kept *k) {
    fh_free(k->response);
    fh_free(k->input);
    fh_free(k->turn);
    fh_free(k);
}

static void free_shelf(void *thing) {
    shelf *s = thing;
    while (s->first) {
        kept *k = s->first;
        s->first = k->next;
        free_kept(k);
    }
    fh_free(s);
}

static shelf *shelf_of(fh_app *app) {
    shelf *s = fh_app_thing(app, "responses");
    if (!s && (s = fh_alloc_zero(1, sizeof *s))) fh_app_set_thing(app, "responses", s, free_shelf);
    return s;
}

static void drop_oldest(shelf *s) {
    kept **at = &s->first;
    while (*at && (*at)->next) at = &(*at)->next;
    kept *k = *at;
    if (!k) return;
    *at = NULL;
    s->n--;
    s->bytes -= k->bytes;
    free_kept(k);
}

static kept **find(shelf *s, fh_str id, uint64_t owner) {
    kept **at = &s->first;
    while (*at && !(fh_str_is(id, (*at)->id) && (*at)->owner == owner)) at = &(*at)->next;
    return at;
}

/* The turn with what was answered. */
static void add_answer(fh_ask *a, fh_json_writer *w) {
    const fh_responses *p = a->api;
    const fh_said *s = &a->said[0];
    fh_json *doc = NULL;
    fh_json_put_array(w);
    if (fh_json_parse(&doc, fh_buf_str(&p->turn), NULL, NULL) == FH_OK) {
        const fh_json_node *list = fh_json_root(doc);
        for (const fh_json_node *m = fh_json_first(list); m; m = fh_json_after(list, m)) fh_json_put_tree(w, m);
    }
    fh_json_free(doc);
    fh_json_put_object(w);
    fh_put_z(w, "role", "assistant");
    fh_put_str(w, "content", fh_buf_str(&s->text));
    if (s->reasoning.len) fh_put_str(w, "reasoning_content", fh_buf_str(&s->reasoning));
    if (s->n_call) {
        fh_put_array(w, "tool_calls");
        for (uint32_t i = 0; i < s->n_call; i++)
            fh_ask_put_call(w, fh_str_of(s->call[i].id), fh_str_of(s->call[i].name), fh_buf_str(&s->call[i].arguments));
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
}

void fh_responses_keep(fh_ask *a) {
    fh_responses *p = a->api;
    fh_buf response, turn;
    fh_json_writer w;
    kept *k = fh_alloc_zero(1, sizeof *k);
    if (!k) return;
    fh_buf_init(&response, KEPT_BYTES);
    fh_buf_init(&turn, KEPT_BYTES);
    fh_json_writer_init(&w, &response, false);
    fh_responses_put(a, &w, a->said[0].why == FH_WHY_LENGTH ? "incomplete" : "completed");
    fh_json_writer_init(&w, &turn, false);
    add_answer(a, &w);
    k->bytes = response.len + turn.len + p->input.len;
    (void)snprintf(k->id, sizeof k->id, "resp_%s00", a->id);
    k->owner = a->call->owner;
    k->response = fh_buf_take(&response, NULL);
    k->turn = fh_buf_take(&turn, NULL);
    k->input = fh_strdup(fh_buf_str(&p->input));
    pthread_mutex_lock(&lock);
    shelf *s = shelf_of(a->call->app);
    if (!s || !k->response || !k->turn || !k->input || k->bytes > KEPT_BYTES) {
        free_kept(k);
    } else {
        k->next = s->first;
        s->first = k;
        s->n++;
        s->bytes += k->bytes;
        while (s->first && (s->n > KEPT_MOST || s->bytes > KEPT_BYTES)) drop_oldest(s);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- the input ---- */

static bool is_type(const fh_json_node *n, const char *type) {
    fh_str s;
    return fh_json_to_str(fh_json_get(n, "type"), &s) && fh_str_is(s, type);
}

static const fh_json_node *put_calls(fh_json_writer *w, fh_in *in, const fh_json_node *list, const fh_json_node *c) {
    const fh_json_node *last = c;
    fh_put_array(w, "tool_calls");
    for (; c && is_type(c, "function_call"); c = fh_json_after(list, c)) {
        fh_str id = {"", 0}, name = {"", 0}, arguments = {"", 0};
        (void)fh_json_to_str(fh_json_get(c, "call_id"), &id);
        (void)fh_json_to_str(fh_json_get(c, "arguments"), &arguments);
        if (!fh_json_to_str(fh_json_get(c, "name"), &name)) fh_in_fail(in, "input", "a function_call has no name");
        fh_ask_put_call(w, id, name, arguments);
        last = c;
    }
    fh_json_put_end(w);
    return last;
}

static void put_content(fh_json_writer *w, fh_in *in, const fh_json_node *content) {
    fh_buf text;
    fh_buf_init(&text, FH_ASK_TEXT_MOST);
    if (content) (void)fh_ask_text_of(in, "input", content, &text);
    fh_put_str(w, "content", fh_buf_str(&text));
    fh_buf_release(&text);
}

/* One message of the item and of the calls behind it; gives the last item taken. */
static const fh_json_node *put_item(fh_json_writer *w, fh_in *in, const fh_json_node *list, const fh_json_node *i,
                                    fh_buf *reasoning) {
    fh_str role = {"assistant", 9}, id;
    bool call = is_type(i, "function_call");
    fh_json_put_object(w);
    if (is_type(i, "function_call_output")) {
        fh_put_z(w, "role", "tool");
        if (fh_json_to_str(fh_json_get(i, "call_id"), &id)) fh_put_str(w, "tool_call_id", id);
        put_content(w, in, fh_json_get(i, "output"));
        fh_json_put_end(w);
        return i;
    }
    if (!call) (void)fh_json_to_str(fh_json_get(i, "role"), &role);
    if (fh_str_is(role, "developer")) role = FH_STR("system");
    if (!fh_str_is(role, "user") && !fh_str_is(role, "assistant") && !fh_str_is(role, "system"))
        fh_in_fail(in, "input", "an item's role is '%.*s'", FH_STR_ARG(role));
    fh_put_str(w, "role", role);
    if (call) fh_put_z(w, "content", "");
    else put_content(w, in, fh_json_get(i, "content"));
    if (fh_str_is(role, "assistant")) {
        if (reasoning->len) fh_put_str(w, "reasoning_content", fh_buf_str(reasoning));
        fh_buf_clear(reasoning);
        const fh_json_node *next = call ? i : fh_json_after(list, i);
        if (next && is_type(next, "function_call")) i = put_calls(w, in, list, next);
    }
    fh_json_put_end(w);
    return i;
}

static void read_items(fh_ask *a, fh_in *in, fh_json_writer *w, const fh_json_node *list) {
    fh_buf reasoning;
    fh_str s;
    fh_buf_init(&reasoning, FH_ASK_TEXT_MOST);
    for (const fh_json_node *i = fh_json_first(list); i && !in->failed; i = fh_json_after(list, i)) {
        if (is_type(i, "reasoning")) {
            const fh_json_node *parts = fh_json_get(i, "content");
            for (const fh_json_node *k = fh_json_first(parts); k; k = fh_json_after(parts, k))
                if (fh_json_to_str(fh_json_get(k, "text"), &s)) fh_buf_add_str(&reasoning, s);
        } else if (is_type(i, "message") || is_type(i, "function_call") || is_type(i, "function_call_output") ||
                   !fh_json_get(i, "type")) {
            i = put_item(w, in, list, i, &reasoning);
        } else {
            char text[80];
            if (!fh_json_to_str(fh_json_get(i, "type"), &s)) s = FH_STR("?");
            (void)snprintf(text, sizeof text, "input.%.*s", (int)FH_MIN(s.len, 60u), s.ptr);
            fh_call_warn_unknown(a->call, fh_str_of(text));
        }
    }
    fh_buf_release(&reasoning);
}

static void put_previous(fh_ask *a, fh_in *in, fh_json_writer *w) {
    fh_responses *p = a->api;
    fh_json *doc = NULL;
    pthread_mutex_lock(&lock);
    shelf *s = shelf_of(a->call->app);
    kept *k = s ? *find(s, p->previous, a->call->owner) : NULL;
    if (k && fh_json_parse(&doc, fh_str_of(k->turn), NULL, NULL) == FH_OK) {
        const fh_json_node *list = fh_json_root(doc);
        for (const fh_json_node *m = fh_json_first(list); m; m = fh_json_after(list, m)) fh_json_put_tree(w, m);
    }
    pthread_mutex_unlock(&lock);
    if (!doc)
        fh_in_fail_as(in, 404, "previous_response_not_found", "previous_response_id", "there is no response '%.*s'",
                      FH_STR_ARG(p->previous));
    fh_json_free(doc);
}

static void read_input(fh_ask *a, fh_in *in) {
    fh_responses *p = a->api;
    fh_json_writer w;
    fh_str text;
    const fh_json_node *input = fh_in_get(in, "input");
    fh_json_writer_init(&w, &p->input, false);
    if (input) fh_json_put_tree(&w, input);
    fh_json_writer_init(&w, &p->turn, false);
    fh_json_put_array(&w);
    if (p->previous.len) put_previous(a, in, &w);
    if (fh_json_to_str(input, &text)) {
        fh_json_put_object(&w);
        fh_put_z(&w, "role", "user");
        fh_put_str(&w, "content", text);
        fh_json_put_end(&w);
    } else if (fh_json_is(input, FH_JSON_ARRAY) && input->n_child <= fh_app_caps(a->call->app)->n_message) {
        read_items(a, in, &w, input);
    } else {
        fh_in_fail(in, "input", "'input' must be a text or an array of items");
    }
    fh_json_put_end(&w);
}

/* Instructions first, then the turn. */
static void put_messages(fh_ask *a, fh_in *in) {
    fh_responses *p = a->api;
    fh_json_writer w;
    fh_json *doc = NULL;
    if (in->failed) return;
    if (fh_json_parse(&doc, fh_buf_str(&p->turn), NULL, NULL) != FH_OK) {
        fh_in_fail_as(in, 413, NULL, "input", "'input' is too large");
        return;
    }
    const fh_json_node *list = fh_json_root(doc);
    fh_json_writer_init(&w, &a->messages, false);
    fh_json_put_array(&w);
    if (p->instructions.len) {
        fh_json_put_object(&w);
        fh_put_z(&w, "role", "system");
        fh_put_str(&w, "content", p->instructions);
        fh_json_put_end(&w);
    }
    for (const fh_json_node *m = fh_json_first(list); m; m = fh_json_after(list, m)) fh_json_put_tree(&w, m);
    fh_json_put_end(&w);
    fh_json_free(doc);
}

static void read_request(fh_ask *a, fh_in *in) {
    static const char *const idle[] = {"include",          "user",
                                       "prompt_cache_key", "safety_identifier",
                                       "truncation",       "service_tier",
                                       "client_metadata",  "stream_options",
                                       "top_logprobs",     "prompt_cache_retention",
                                       "max_tool_calls"};
    fh_responses *p = a->api;
    bool background = false;
    (void)fh_in_str(in, "model", &a->model);
    (void)fh_in_bool(in, "stream", &a->stream);
    p->store = true;
    (void)fh_in_bool(in, "store", &p->store);
    (void)fh_in_str(in, "instructions", &p->instructions);
    (void)fh_in_str(in, "previous_response_id", &p->previous);
    if (fh_in_bool(in, "background", &background) && background)
        fh_in_fail(in, "background", "'background' is not supported: ask with stream");
    p->metadata = fh_in_object(in, "metadata");
    read_input(a, in);
    put_messages(a, in);
    p->tools = fh_in_array(in, "tools");
    fh_ask_read_tools(a, in, p->tools);
    p->tool_choice = fh_json_get(fh_json_root(a->body), "tool_choice");
    fh_openai_read_choice(a, in);
    p->text = fh_in_object(in, "text");
    fh_openai_read_format(a, in, "text.format", fh_json_get(p->text, "format"));
    const fh_json_node *effort = fh_json_get(fh_in_object(in, "reasoning"), "effort");
    if (effort && !fh_json_is(effort, FH_JSON_NULL)) fh_openai_read_effort(a, in, "reasoning.effort", effort);
    fh_ask_read_budget(a, in);
    fh_ask_read_most(a, in, "max_output_tokens");
    fh_ask_read_sampling(a, in);
    for (size_t i = 0; i < FH_COUNT(idle); i++) fh_in_ignore(in, idle[i]);
}

static void release(void *api) {
    fh_responses *p = api;
    fh_buf_release(&p->input);
    fh_buf_release(&p->turn);
    fh_free(p->item);
}

static fh_ask *new_ask(fh_call *c, fh_in *in) {
    fh_ask *a = fh_ask_open(c, in, sizeof(fh_responses), fh_responses_say, release);
    if (!a) return NULL;
    fh_responses *p = a->api;
    fh_buf_init(&p->input, FH_ASK_TEXT_MOST);
    fh_buf_init(&p->turn, FH_ASK_TEXT_MOST);
    read_request(a, in);
    return a;
}

void fh_openai_responses(fh_call *c) {
    fh_in in;
    fh_ask *a = new_ask(c, &in);
    if (!a) return;
    fh_ask_go(a, &in);
}

/* ---- kept answers ---- */

/* JSON of a kept answer, copied; {NULL, 0}: has answered 404. */
static char *copy_kept(fh_call *c, bool input) {
    pthread_mutex_lock(&lock);
    shelf *s = shelf_of(c->app);
    kept *k = s ? *find(s, c->hole[0], c->owner) : NULL;
    char *text = k ? fh_strdup(fh_str_of(input ? k->input : k->response)) : NULL;
    pthread_mutex_unlock(&lock);
    if (!text) fh_call_fail(c, 404, NULL, NULL, "there is no response '%.*s'", FH_STR_ARG(c->hole[0]));
    return text;
}

void fh_openai_response(fh_call *c) {
    char *text = copy_kept(c, false);
    if (text) fh_exchange_reply(c->x, 200, "application/json", fh_str_of(text));
    fh_free(text);
}

void fh_openai_response_input(fh_call *c) {
    fh_buf b;
    fh_json_writer w;
    fh_json *doc = NULL;
    char *text = copy_kept(c, true);
    if (!text) return;
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    fh_put_z(&w, "object", "list");
    fh_json_put_key(&w, "data");
    if (fh_json_parse(&doc, fh_str_of(text), NULL, NULL) == FH_OK && fh_json_is(fh_json_root(doc), FH_JSON_ARRAY)) {
        fh_json_put_tree(&w, fh_json_root(doc));
    } else {
        fh_str said = {"", 0};
        (void)fh_json_to_str(doc ? fh_json_root(doc) : NULL, &said);
        fh_json_put_array(&w);
        fh_json_put_object(&w);
        fh_put_z(&w, "type", "message");
        fh_put_z(&w, "role", "user");
        fh_put_str(&w, "content", said);
        fh_json_put_end(&w);
        fh_json_put_end(&w);
    }
    fh_put_bool(&w, "has_more", false);
    fh_json_put_end(&w);
    fh_json_free(doc);
    fh_free(text);
    fh_put_reply(c, &b);
}

void fh_openai_response_delete(fh_call *c) {
    char *text = copy_kept(c, false);
    if (!text) return;
    fh_free(text);
    pthread_mutex_lock(&lock);
    shelf *s = shelf_of(c->app);
    kept **at = s ? find(s, c->hole[0], c->owner) : NULL, *k = at ? *at : NULL;
    if (k) {
        *at = k->next;
        s->n--;
        s->bytes -= k->bytes;
        free_kept(k);
    }
    pthread_mutex_unlock(&lock);
    fh_exchange_reply(c->x, 200, "application/json", FH_STR("{\"object\":\"response\",\"deleted\":true}"));
}

void fh_openai_response_cancel(fh_call *c) {
    char *text = copy_kept(c, false);
    if (!text) return;
    fh_free(text);
    fh_call_fail(c, 400, NULL, NULL, "only responses in the background can be cancelled; this one is over");
}
