/* text/template.c - compiling a template, and rendering it with arguments or with a conversation.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: compiled templates, and one arena per render that is gone when the render is.
 * What a conversation looks like to a template (aliases of reasoning fields, the tag that marks where the last
 * message ends) follows transformers' render_jinja_template. */
#include "text/template.h"

#include "base/clock.h"
#include "base/num.h"
#include "text/jinja_part.h"

#define DEFAULT_STEPS ((uint64_t)1000000)
#define DEFAULT_DEPTH 64
#define DEFAULT_TIME_MS 100
#define DEFAULT_OUTPUT ((size_t)1 << 20)
#define MAX_FIRST_ROOM ((size_t)16 << 10)
#define DEFAULT_MEMORY ((size_t)64 << 20)
/* A tree takes about 40 bytes for each byte of dense template text, with slots and scopes. */
#define COMPILE_BASE ((size_t)1 << 20)
#define COMPILE_PER_BYTE 256

fh_status fh_jinja_compile(fh_template **out, fh_str source, bool own, fh_err *err) {
    fh_template *t = fh_alloc_zero(1, sizeof *t);
    if (!t) return fh_fail_memory(err, sizeof *t);
    size_t ceiling = COMPILE_BASE + FH_MIN(source.len, FH_J_MAX_SOURCE) * COMPILE_PER_BYTE;
    fh_arena_init(&t->arena, ceiling);
    fh_status s = FH_OK;
    if (source.len > FH_J_MAX_SOURCE)
        s = fh_fail(err, FH_ERR_LIMIT, "template: %zu bytes are more than the limit of %zu", source.len,
                    FH_J_MAX_SOURCE);
    if (s == FH_OK && !fh_arena_copy(&t->arena, source, &t->source)) s = fh_arena_fail(&t->arena, err);
    if (s == FH_OK) s = fh_jinja_parse(t, own, err);
    if (s == FH_OK) s = fh_jinja_resolve(t, err);
    if (s == FH_OK) *out = t;
    else fh_template_free(t);
    return s;
}

fh_status fh_template_compile(fh_template **out, fh_str source, fh_err *err) {
    return fh_jinja_compile(out, source, false, err);
}

void fh_template_free(fh_template *t) {
    if (!t) return;
    fh_arena_release(&t->arena);
    fh_free(t);
}

size_t fh_template_n_variable(const fh_template *t) { return t->n_variable; }
fh_str fh_template_variable(const fh_template *t, size_t i) { return t->name[t->variable[i]].text; }
fh_str fh_template_source(const fh_template *t) { return t->source; }

bool fh_template_uses(const fh_template *t, fh_str name) {
    for (size_t i = 0; i < t->n_variable; i++)
        if (fh_str_eq(fh_template_variable(t, i), name)) return true;
    return false;
}

/* ---- one render ---- */

static fh_status start(fh_jrun *r, const fh_template *t, size_t arg_bytes, const fh_template_now *now,
                       const fh_template_budget *budget, fh_buf *out, fh_err *err) {
    fh_template_budget b = budget ? *budget : (fh_template_budget){0};
    size_t input = t->source.len + arg_bytes, more;
    *r = (fh_jrun){.t = t, .now = now, .err = err};
    if (!b.steps) b.steps = DEFAULT_STEPS;
    if (!b.depth) b.depth = DEFAULT_DEPTH;
    if (!b.time_ms) b.time_ms = DEFAULT_TIME_MS;
    if (!b.output_bytes) b.output_bytes = fh_mul_size(input, 4, &more) ? more + DEFAULT_OUTPUT : SIZE_MAX;
    if (!b.memory_bytes) b.memory_bytes = fh_mul_size(input, 16, &more) ? more + DEFAULT_MEMORY : SIZE_MAX;
    r->max_steps = b.steps;
    r->max_depth = b.depth;
    r->time_ms = b.time_ms;
    if (b.time_ms != UINT32_MAX) r->deadline_ns = fh_clock_ns() + (uint64_t)b.time_ms * 1000000u;
    fh_arena_init(&r->arena, b.memory_bytes);
    fh_buf_init(&r->out, b.output_bytes);
    if (out->len == 0 && out->status == FH_OK && out->cap <= b.output_bytes) { /* the memory of the prompt before */
        r->out.ptr = out->ptr;
        r->out.cap = out->cap;
        out->ptr = NULL;
        out->cap = 0;
    }
    /* Room for a usual prompt at once: growing from nothing took a tenth of the time. */
    if (fh_buf_extend(&r->out, FH_MIN(FH_MIN(input / 2, MAX_FIRST_ROOM), b.output_bytes))) r->out.len = 0;
    r->ctx = fh_jinja_alloc(r, t->n_name, sizeof *r->ctx);
    if (!r->ctx) return r->status;
    for (uint32_t i = 0; i < t->n_name; i++)
        if (t->name[i].global >= 0) r->ctx[i] = (fh_jval){.kind = FH_J_FUNC, .aux = (uint16_t)t->name[i].global};
    return FH_OK;
}

static fh_status why(const fh_jrun *r) {
    FH_REQUIRE(r->status != FH_OK); /* whoever fails says why */
    return r->status;
}

/* The prompt, without copying it where out holds nothing yet. */
static void hand_over(fh_jrun *r, fh_buf *out) {
    if (out->len || out->status != FH_OK || r->out.len > out->limit) {
        fh_buf_add(out, r->out.ptr, r->out.len);
        return;
    }
    size_t limit = out->limit;
    fh_buf_release(out);
    *out = r->out;
    out->limit = limit;
    fh_buf_init(&r->out, 0);
}

static void finish(fh_jrun *r) {
    fh_buf_release(&r->out);
    fh_arena_release(&r->arena);
}

/* The value that a name has when the template starts; NULL where the template never asks for it. */
static fh_jval *asked(fh_jrun *r, fh_str name) {
    for (uint32_t i = 0; i < r->t->n_name; i++)
        if (fh_str_eq(r->t->name[i].text, name)) return &r->ctx[i];
    return NULL;
}

static bool set_node(fh_jrun *r, fh_str name, const fh_json_node *n) {
    fh_jval *v = asked(r, name);
    if (!v) return true;
    if (!n) {
        *v = fh_jval_none();
        return true;
    }
    return fh_jinja_from_json(r, n, v);
}

static bool set_args(fh_jrun *r, const fh_template_arg *args, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (args[i].node) {
            if (!set_node(r, args[i].name, args[i].node)) return false;
            continue;
        }
        fh_jval *v = asked(r, args[i].name);
        if (v) *v = args[i].text.ptr ? fh_jval_str(args[i].text) : fh_jval_bool(args[i].truth);
    }
    return true;
}

static size_t bytes_of(const fh_template_arg *args, size_t n) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += args[i].name.len + args[i].text.len + fh_jinja_json_bytes(args[i].node);
    return sum;
}

fh_status fh_template_render(const fh_template *t, const fh_template_arg *args, size_t n_arg,
                             const fh_template_now *now, const fh_template_budget *budget, fh_buf *out, fh_err *err) {
    fh_jrun r;
    fh_status s = start(&r, t, bytes_of(args, n_arg), now, budget, out, err);
    if (s == FH_OK && (!set_args(&r, args, n_arg) || !fh_jinja_run(&r))) s = why(&r);
    if (s == FH_OK) {
        hand_over(&r, out);
        s = fh_buf_check(out, err);
    }
    finish(&r);
    return s;
}

/* ---- a conversation ---- */

static const char *const reasoning_fields[] = {"reasoning_content", "thinking", "reasoning"};

static const fh_jval *given(fh_jrun *r, const fh_jdict *message, const char *field) {
    const fh_jval *v = fh_jinja_dict_str(r, message, fh_str_of(field));
    return v && v->kind != FH_J_NONE ? v : NULL;
}

/* Reasoning is read under one name and written under another: every message has both. */
static bool alias_reasoning(fh_jrun *r, fh_jval *message) {
    const fh_jval *found = NULL;
    for (size_t i = 0; i < 3 && !found; i++) found = given(r, message->u.dict, reasoning_fields[i]);
    if (!found) return true;
    fh_jval reasoning = *found;
    const fh_jdict *from = message->u.dict;
    fh_jdict *d = fh_jinja_dict(r, from->n + 2);
    if (!d || !fh_jinja_dict_put(r, d, FH_JVAL_LIT("thinking"), reasoning)) return false;
    for (uint32_t i = 0; i < from->n; i++)
        if (!fh_jinja_dict_put(r, d, from->item[i].key, from->item[i].value)) return false;
    if (!fh_jinja_dict_put(r, d, FH_JVAL_LIT("reasoning_content"), reasoning)) return false;
    *message = fh_jval_dict(d);
    return true;
}

#define TAG "CONTINUE_FINAL_MESSAGE_TAG " /* the blank shows whether the template strips */

static bool append_tag(fh_jrun *r, fh_jval *v) {
    if (v->kind != FH_J_STR) return fh_jinja_fail(r, "the text of the last message to be continued is no text");
    return fh_jinja_concat(r, *v, FH_JVAL_LIT(TAG), v);
}

/* Marks the end of the text to continue. *text: that text, unmarked. */
static bool mark_last(fh_jrun *r, const char *field, fh_jlist *messages, fh_jval *text) {
    bool is_reasoning = false, in_template = false;
    size_t at;
    if (messages->n == 0) return fh_jinja_fail(r, "there is no message to be continued");
    fh_jdict *last = messages->item[messages->n - 1].u.dict;
    const fh_jval *v = given(r, last, field);
    if (!v) return fh_jinja_fail(r, "the last message has no '%s' to be continued", field);
    *text = *v;
    for (size_t i = 0; i < 3; i++) is_reasoning = is_reasoning || strcmp(field, reasoning_fields[i]) == 0;
    for (size_t i = 0; i < (is_reasoning ? 3u : 1u); i++) {
        const char *name = is_reasoning ? reasoning_fields[i] : field;
        fh_jval *copy = fh_jinja_dict_str(r, last, fh_str_of(name));
        bool same = false;
        if (!copy || !fh_jinja_equal(r, *copy, *text, &same)) {
            if (r->status != FH_OK) return false;
            continue;
        }
        if (!same) continue;
        in_template = in_template || fh_jinja_find(r->t->source, fh_str_of(name), 0, &at);
        if (text->kind != FH_J_LIST && !append_tag(r, copy)) return false;
    }
    if (!in_template) return fh_jinja_fail(r, "the template does not look at '%s', which is to be continued", field);
    if (text->kind != FH_J_LIST) return true;
    for (uint32_t i = text->u.list->n; i > 0; i--) {
        fh_jval part = text->u.list->item[i - 1];
        fh_jval *t = part.kind == FH_J_DICT ? fh_jinja_dict_str(r, part.u.dict, FH_STR("text")) : NULL;
        if (!t) continue;
        *text = *t;
        return append_tag(r, t);
    }
    return fh_jinja_fail(r, "the last message has no text to be continued");
}

/* The prompt up to where the last message's text ends. */
static bool cut_at_tag(fh_jrun *r, fh_jval text) {
    fh_str all = fh_buf_str(&r->out), tag = {TAG, sizeof TAG - 2};
    size_t at, last = SIZE_MAX;
    fh_jval stripped = fh_jinja_strip(text, NULL, true, true);
    bool there = fh_jinja_find(all, fh_jval_text(stripped), 0, &at);
    for (size_t from = 0; fh_jinja_find(all, tag, from, &at); from = at + 1) last = at;
    r->line = 0;
    if (!there || last == SIZE_MAX)
        return fh_jinja_fail(r, "the last message, which is to be continued, does not occur in the prompt as it is");
    bool kept = last + tag.len < all.len && all.ptr[last + tag.len] == ' ';
    r->out.len = last;
    if (!kept) r->out.len = fh_jinja_strip(fh_jval_str(fh_buf_str(&r->out)), NULL, false, true).len;
    return true;
}

static bool set_messages(fh_jrun *r, const fh_template_chat *c, fh_jval *text) {
    fh_jval v;
    if (!c->messages || !fh_json_is(c->messages, FH_JSON_ARRAY))
        return fh_jinja_fail_status(r, FH_ERR_USAGE, "the messages must be an array");
    if (!fh_jinja_from_json(r, c->messages, &v)) return false;
    for (uint32_t i = 0; i < v.u.list->n; i++) {
        if (v.u.list->item[i].kind != FH_J_DICT)
            return fh_jinja_fail_status(r, FH_ERR_USAGE, "message %u is no object", i + 1);
        if (!c->keep_reasoning_names && !alias_reasoning(r, &v.u.list->item[i])) return false;
    }
    if (c->continue_final_message && !mark_last(r, c->continue_field ? c->continue_field : "content", v.u.list, text))
        return false;
    fh_jval *slot = asked(r, FH_STR("messages"));
    if (slot) *slot = v;
    return true;
}

static bool set_chat(fh_jrun *r, const fh_template_chat *c, fh_jval *text) {
    const struct {
        const char *name;
        fh_str text;
    } tokens[] = {{"bos_token", c->bos_token},
                  {"eos_token", c->eos_token},
                  {"unk_token", c->unk_token},
                  {"pad_token", c->pad_token}};
    for (size_t i = 0; i < FH_COUNT(tokens); i++) {
        fh_jval *v = tokens[i].text.ptr ? asked(r, fh_str_of(tokens[i].name)) : NULL;
        if (v) *v = fh_jval_str(tokens[i].text);
    }
    const fh_template_arg prompt = {.name = FH_STR("add_generation_prompt"), .truth = c->add_generation_prompt};
    if (!set_args(r, &prompt, 1)) return false;
    if (!set_node(r, FH_STR("tools"), c->tools) || !set_node(r, FH_STR("documents"), c->documents)) return false;
    for (const fh_json_node *n = fh_json_first(c->kwargs); n; n = fh_json_after(c->kwargs, n))
        if (!set_node(r, n->key, n)) return false;
    return set_args(r, c->more, c->n_more) && set_messages(r, c, text);
}

fh_status fh_template_render_chat(const fh_template *t, const fh_template_chat *c, fh_buf *out, fh_err *err) {
    fh_jrun r;
    fh_jval text = {.kind = FH_J_MISSING};
    if (c->kwargs && !fh_json_is(c->kwargs, FH_JSON_OBJECT))
        return fh_fail(err, FH_ERR_USAGE, "template: the further arguments must be an object");
    size_t bytes = fh_jinja_json_bytes(c->messages) + fh_jinja_json_bytes(c->tools) +
                   fh_jinja_json_bytes(c->documents) + fh_jinja_json_bytes(c->kwargs) + bytes_of(c->more, c->n_more);
    fh_status s = start(&r, t, bytes, c->now, c->budget, out, err);
    if (s == FH_OK && (!set_chat(&r, c, &text) || !fh_jinja_run(&r))) s = why(&r);
    if (s == FH_OK && c->continue_final_message && !cut_at_tag(&r, text)) s = why(&r);
    if (s == FH_OK) {
        hand_over(&r, out);
        s = fh_buf_check(out, err);
    }
    finish(&r);
    return s;
}
