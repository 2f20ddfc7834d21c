/* cli/chat_message.c - the conversation: messages, the prompt they become, and the file that keeps them.
 * SPDX-License-Identifier: Apache-2.0
 * A saved chat is JSON: {"freehold": 1, "model", "system", "parameters", "messages"}, with messages as chat APIs have
 * them. What a file says is checked before anything of the present conversation goes. */
#include <math.h>

#include "base/clock.h"
#include "base/json_member.h"
#include "base/num.h"
#include "cli/chat.h"

/* A person waits for one prompt and can stop the program; the server's limit is 100 ms. */
#define TIME_MS 10000

static void drop(fh_chat_message *m) {
    fh_free(m->content);
    fh_free(m->reasoning);
}

void fh_chat_cut(fh_chat *c, size_t n) {
    while (c->n_message > n) drop(&c->message[--c->n_message]);
}

static fh_status grow(fh_chat *c, fh_err *err) {
    if (c->n_message < c->cap_message) return FH_OK;
    if (c->n_message >= FH_CHAT_MESSAGES_MOST)
        return fh_fail(err, FH_ERR_LIMIT, "a conversation of more than %u messages", FH_CHAT_MESSAGES_MOST);
    size_t cap = c->cap_message ? c->cap_message * 2 : 16;
    fh_chat_message *p = fh_realloc(c->message, cap, sizeof *p);
    if (!p) return fh_fail_memory(err, cap * sizeof *p);
    c->message = p;
    c->cap_message = cap;
    return FH_OK;
}

fh_status fh_chat_add(fh_chat *c, const char *role, fh_str content, fh_str reasoning, fh_err *err) {
    FH_TRY(grow(c, err));
    fh_chat_message m = {.role = role, .n_content = content.len, .n_reasoning = reasoning.len};
    m.content = fh_strdup(content);
    if (reasoning.len) m.reasoning = fh_strdup(reasoning);
    if (!m.content || (reasoning.len && !m.reasoning)) {
        drop(&m);
        return fh_fail_memory(err, content.len + reasoning.len);
    }
    c->message[c->n_message++] = m;
    return FH_OK;
}

static void put_messages(const fh_chat *c, fh_json_writer *w, const char *system) {
    fh_json_put_array(w);
    if (system) {
        fh_json_put_object(w);
        fh_put_str(w, "role", FH_STR("system"));
        fh_put_str(w, "content", fh_str_of(system));
        fh_json_put_end(w);
    }
    for (size_t i = 0; i < c->n_message; i++) {
        const fh_chat_message *m = &c->message[i];
        fh_json_put_object(w);
        fh_put_str(w, "role", fh_str_of(m->role));
        fh_put_str(w, "content", (fh_str){m->content, m->n_content});
        if (m->reasoning) fh_put_str(w, "reasoning_content", (fh_str){m->reasoning, m->n_reasoning});
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

/* ---- the prompt ---- */

/* What templates call the switch; those that a template does not look at change nothing. */
static size_t think_args(const fh_chat *c, fh_template_arg *arg) {
    const fh_chat_settings *s = c->set;
    if (s->think == FH_THINK_DEFAULT) return 0;
    bool yes = s->think != FH_THINK_NO;
    size_t n = 0;
    arg[n++] = (fh_template_arg){.name = FH_STR("enable_thinking"), .truth = yes};
    arg[n++] = (fh_template_arg){.name = FH_STR("thinking"), .truth = yes};
    if (s->think == FH_THINK_LEVEL)
        arg[n++] = (fh_template_arg){.name = FH_STR("reasoning_effort"), .text = fh_str_of(s->level)};
    return n;
}

static fh_status render_template(const fh_chat *c, const fh_json_node *messages, fh_buf *out, fh_err *err) {
    fh_template_now now;
    fh_template_arg more[3];
    const fh_template_budget budget = {.time_ms = TIME_MS};
    uint32_t bos = fh_tokenizer_special(c->tokenizer, FH_SPECIAL_BOS);
    uint32_t eos = fh_tokenizer_special(c->tokenizer, FH_SPECIAL_EOS);
    const fh_vocab *v = fh_tokenizer_vocab(c->tokenizer);
    fh_template_now_local((int64_t)(fh_clock_unix_ms() / 1000), &now);
    fh_template_chat chat = {
        .messages = messages, .add_generation_prompt = true, .more = more, .now = &now, .budget = &budget};
    chat.n_more = think_args(c, more);
    if (bos != FH_VOCAB_NO_ID) chat.bos_token = fh_vocab_piece(v, bos);
    if (eos != FH_VOCAB_NO_ID) chat.eos_token = fh_vocab_piece(v, eos);
    return fh_template_render_chat(c->template, &chat, out, err);
}

fh_status fh_chat_render(const fh_chat *c, fh_buf *out, fh_err *err) {
    if (!c->template) {
        if (c->set->system) {
            fh_buf_add_z(out, c->set->system);
            fh_buf_add_z(out, "\n\n");
        }
        const fh_chat_message *last = &c->message[c->n_message - 1];
        fh_buf_add(out, last->content, last->n_content);
        return fh_buf_check(out, err);
    }
    fh_buf text;
    fh_json_writer w;
    fh_json *doc = NULL;
    fh_buf_init(&text, FH_CHAT_TEXT_MOST);
    fh_json_writer_init(&w, &text, false);
    put_messages(c, &w, c->set->system);
    fh_status s = fh_buf_check(&text, err);
    if (s == FH_OK) s = fh_json_parse(&doc, fh_buf_str(&text), NULL, err);
    if (s == FH_OK) s = render_template(c, fh_json_root(doc), out, err);
    fh_json_free(doc);
    fh_buf_release(&text);
    return s;
}

/* Does it spell special tokens? */
static fh_status is_hostile(const fh_chat *c, fh_str s, bool *out, fh_err *err) {
    const fh_encode_options opt = {.parse_special = true};
    fh_ids ids;
    fh_ids_init(&ids, FH_CHAT_TEXT_MOST);
    *out = false;
    fh_status st = fh_tokenizer_encode(c->tokenizer, c->scratch, s, &opt, &ids, err);
    for (size_t i = 0; st == FH_OK && i < ids.len; i++)
        *out = *out || fh_tokenizer_is_control(c->tokenizer, ids.ptr[i]);
    fh_ids_release(&ids);
    return st;
}

static fh_str trimmed(fh_str s) {
    while (s.len && strchr(" \n\r\t", s.ptr[0])) s = fh_str_drop(s, 1);
    while (s.len && strchr(" \n\r\t", s.ptr[s.len - 1])) s.len--;
    return s;
}

static bool find_text(fh_str in, size_t from, fh_str what, size_t *at) {
    const char *p = from <= in.len ? memmem(in.ptr + from, in.len - from, what.ptr, what.len) : NULL;
    if (p) *at = (size_t)(p - in.ptr);
    return p != NULL;
}

/* Appends prompt[*at, end) as the template wrote it, then a message as plain text. */
static fh_status encode_around(const fh_chat *c, fh_str prompt, size_t *at, fh_str content, fh_ids *out, fh_err *err) {
    const fh_encode_options own = {.parse_special = true}, plain = {.parse_special = false};
    size_t end;
    bool hostile;
    content = trimmed(content);
    FH_TRY(is_hostile(c, content, &hostile, err));
    if (!hostile) return FH_OK;
    if (!find_text(prompt, *at, content, &end))
        return fh_fail(err, FH_ERR_UNSUPPORTED,
                       "a message spells special tokens, and the template changes it so that they could not be told "
                       "from the template's own");
    FH_TRY(fh_tokenizer_encode(c->tokenizer, c->scratch, (fh_str){prompt.ptr + *at, end - *at}, &own, out, err));
    FH_TRY(fh_tokenizer_encode(c->tokenizer, c->scratch, content, &plain, out, err));
    *at = end + content.len;
    return FH_OK;
}

fh_status fh_chat_prompt(const fh_chat *c, fh_buf *text, fh_ids *out, fh_err *err) {
    /* A template writes special tokens itself, first and last ones included. */
    const fh_encode_options opt = {.add_special = !c->template, .parse_special = c->template != NULL};
    size_t at = 0;
    FH_TRY(fh_chat_render(c, text, err));
    fh_str prompt = fh_buf_str(text);
    if (c->template && c->set->system) FH_TRY(encode_around(c, prompt, &at, fh_str_of(c->set->system), out, err));
    for (size_t i = 0; c->template && i < c->n_message; i++) {
        const fh_chat_message *m = &c->message[i];
        FH_TRY(encode_around(c, prompt, &at, (fh_str){m->content, m->n_content}, out, err));
    }
    return fh_tokenizer_encode(c->tokenizer, c->scratch, fh_str_drop(prompt, at), &opt, out, err);
}

/* ---- the file ---- */

void fh_chat_write(const fh_chat *c, fh_buf *out) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_json_put_key(&w, "freehold");
    fh_json_put_u64(&w, 1);
    fh_put_str(&w, "model", fh_str_of(c->x.at.name));
    if (c->set->system) fh_put_str(&w, "system", fh_str_of(c->set->system));
    fh_json_put_key(&w, "parameters");
    fh_json_put_object(&w);
    for (int i = 0; i < FH_SAMPLING_COUNT; i++) {
        if (isnan(c->set->sampling.value[i])) continue;
        fh_json_put_key(&w, fh_sampling_name((fh_sampling_field)i));
        fh_json_put_f64(&w, c->set->sampling.value[i]);
    }
    fh_json_put_end(&w);
    fh_json_put_key(&w, "messages");
    put_messages(c, &w, NULL);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

static const char *role_of(const fh_json_node *m) {
    static const char *const roles[] = {"user", "assistant", "system", "tool"};
    fh_str role;
    if (!fh_json_to_str(fh_json_get(m, "role"), &role)) return NULL;
    for (size_t i = 0; i < FH_COUNT(roles); i++)
        if (fh_str_is(role, roles[i])) return roles[i];
    return NULL;
}

static fh_status read_messages(fh_chat *c, const fh_json_node *list, fh_err *err) {
    for (const fh_json_node *m = fh_json_first(list); m; m = fh_json_after(list, m)) {
        fh_str content, reasoning = {NULL, 0};
        const char *role = role_of(m);
        if (!role || !fh_json_to_str(fh_json_get(m, "content"), &content))
            return fh_fail(err, FH_ERR_FORMAT, "a message has no role and content that are understood");
        (void)fh_json_to_str(fh_json_get(m, "reasoning_content"), &reasoning);
        FH_TRY(fh_chat_add(c, role, content, reasoning, err));
    }
    return FH_OK;
}

static fh_status read_chat(fh_chat *c, const fh_json_node *root, fh_err *err) {
    const fh_json_node *list = fh_json_get(root, "messages"), *params = fh_json_get(root, "parameters");
    fh_sampling_field f;
    fh_str system;
    size_t before = c->n_message;
    char *copy = NULL;
    if (!fh_json_is(list, FH_JSON_ARRAY)) return fh_fail(err, FH_ERR_FORMAT, "the file is no saved chat");
    bool has_system = fh_json_to_str(fh_json_get(root, "system"), &system);
    if (has_system && !(copy = fh_strdup(system))) return fh_fail_memory(err, system.len);
    fh_status s = read_messages(c, list, err);
    if (s != FH_OK) {
        fh_chat_cut(c, before);
        fh_free(copy);
        return s;
    }
    for (size_t i = 0; i < before; i++) drop(&c->message[i]);
    c->n_message -= before;
    memmove(c->message, c->message + before, c->n_message * sizeof *c->message);
    fh_free(c->set->system);
    c->set->system = copy;
    for (const fh_json_node *p = fh_json_first(params); p; p = fh_json_after(params, p))
        if (fh_sampling_find(p->key, &f)) (void)fh_json_to_f64(p, &c->set->sampling.value[f]);
    return FH_OK;
}

fh_status fh_chat_read(fh_chat *c, fh_str json, fh_err *err) {
    fh_json *doc = NULL;
    FH_TRY(fh_json_parse(&doc, json, NULL, err));
    fh_status s = read_chat(c, fh_json_root(doc), err);
    fh_json_free(doc);
    return s;
}
