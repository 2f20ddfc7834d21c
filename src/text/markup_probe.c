/* text/markup_probe.c - what a template's markup is, found by rendering conversations whose words are known.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the probe: conversations, renderings, and the check that what was found reads the probe back. Trusts nothing
 * that was not read back: then the table's row stands. Channels are not looked for: the row has them. */
#include "text/markup_derive.h"
#include "text/reply.h"

#define USER "{\"role\":\"user\",\"content\":\"" PROBE_USER "\"}"
#define ARGS_1 "{\"" PROBE_KEY_1 "\":\"" PROBE_VALUE_1 "\",\"" PROBE_KEY_2 "\":" PROBE_VALUE_2 "}"
#define ARGS_2 "{\"" PROBE_KEY_3 "\":\"" PROBE_VALUE_3 "\"}"
#define TEXT_1 "\"{\\\"" PROBE_KEY_1 "\\\": \\\"" PROBE_VALUE_1 "\\\", \\\"" PROBE_KEY_2 "\\\": " PROBE_VALUE_2 "}\""
#define TEXT_2 "\"{\\\"" PROBE_KEY_3 "\\\": \\\"" PROBE_VALUE_3 "\\\"}\""
#define CALL(id, name, args) \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"arguments\":" args "}}"
#define CALLS(list) "[" USER ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" list "]}]"
#define TOOL(name, properties) \
    "{\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"description\":\"d\",\"parameters\":{\"type\":" \
    "\"object\",\"properties\":{" properties "},\"required\":[]}}}"
#define STRING(key) "\"" key "\":{\"type\":\"string\",\"description\":\"d\"}"

enum { TALK_USER, TALK_TEXT, TALK_THOUGHT, TALK_ONE, TALK_TWO, TALK_ONE_TEXT, TALK_TWO_TEXT, TALKS };
static const char *const talks[TALKS] = {
    "[" USER "]",
    "[" USER ",{\"role\":\"assistant\",\"content\":\"" PROBE_TEXT "\"}]",
    "[" USER ",{\"role\":\"assistant\",\"content\":\"" PROBE_TEXT "\",\"reasoning_content\":\"" PROBE_THOUGHT
    "\",\"reasoning\":\"" PROBE_THOUGHT "\"}]",
    CALLS(CALL(PROBE_ID_1, PROBE_NAME_1, ARGS_1)),
    CALLS(CALL(PROBE_ID_1, PROBE_NAME_1, ARGS_1) "," CALL(PROBE_ID_2, PROBE_NAME_2, ARGS_2)),
    CALLS(CALL(PROBE_ID_1, PROBE_NAME_1, TEXT_1)),
    CALLS(CALL(PROBE_ID_1, PROBE_NAME_1, TEXT_1) "," CALL(PROBE_ID_2, PROBE_NAME_2, TEXT_2)),
};
static const char tools_text[] =
    "[" TOOL(PROBE_NAME_1,
             STRING(PROBE_KEY_1) ",\"" PROBE_KEY_2
                                 "\":{\"type\":\"integer\",\"description\":\"d\"}") "," TOOL(PROBE_NAME_2,
                                                                                             STRING(PROBE_KEY_3)) "]";

typedef struct probe {
    const fh_template *t;
    fh_str bos, eos;
    fh_json *talk[TALKS], *tools;
    fh_buf prompt, reply; /* of the last rendering */
    size_t from;          /* where the reply begins in it */
    fh_err *err;
} probe;

/* A template may refuse a conversation: then *shown is false. */
static fh_status render(probe *p, int talk, bool tools, bool generate, fh_buf *out, bool *shown) {
    fh_template_now now = {2026, 1, 2, 3, 4, 5};
    fh_template_arg more[] = {{.name = FH_STR("enable_thinking"), .truth = true},
                              {.name = FH_STR("thinking"), .truth = true}};
    fh_template_chat chat = {.messages = fh_json_root(p->talk[talk]),
                             .tools = tools ? fh_json_root(p->tools) : NULL,
                             .bos_token = p->bos,
                             .eos_token = p->eos,
                             .add_generation_prompt = generate,
                             .more = more,
                             .n_more = FH_COUNT(more),
                             .now = &now};
    fh_err why = {0};
    fh_buf_clear(out);
    fh_status s = fh_template_render_chat(p->t, &chat, out, &why);
    *shown = s == FH_OK;
    return s == FH_ERR_MEMORY ? fh_fail_memory(p->err, 0) : FH_OK;
}

/* The reply in a conversation: what the whole has beyond the prompt. Where a prompt says more than the whole does (an
 * opened thought), the reply begins with the tag in which they part. */
static fh_status render_reply(probe *p, int talk, bool tools, bool *shown) {
    bool prompt;
    FH_TRY(render(p, TALK_USER, tools, true, &p->prompt, &prompt));
    FH_TRY(render(p, talk, tools, false, &p->reply, shown));
    if (!prompt || !*shown) {
        *shown = false;
        return FH_OK;
    }
    fh_str a = fh_buf_str(&p->prompt), b = fh_buf_str(&p->reply);
    size_t n = 0, back;
    while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n]) n++;
    for (back = n; n < a.len && back > 0 && n - back < 64 && !strchr(">]\n", b.ptr[back - 1]);) back--;
    p->from = n < a.len && n - back < 64 ? back : n;
    return FH_OK;
}

/* ---- reading back ---- */
typedef struct seen {
    fh_buf text, thought, calls;
} seen;

static fh_status on_event(void *user, const fh_reply_event *ev, fh_err *err) {
    seen *s = user;
    fh_buf *b = ev->kind == FH_REPLY_TEXT ? &s->text : ev->kind == FH_REPLY_REASONING ? &s->thought : &s->calls;
    if (ev->kind == FH_REPLY_CALL) {
        fh_buf_add_byte(b, '(');
        fh_buf_add_str(b, ev->name);
        fh_buf_add_byte(b, ')');
    }
    if (ev->kind == FH_REPLY_CALL_END && ev->problems) fh_buf_add_z(b, "!");
    fh_buf_add_str(b, ev->text);
    return fh_buf_check(b, err);
}

static fh_status read_back(const fh_markup *m, fh_str prompt, fh_str text, seen *s, fh_err *err) {
    fh_reply *r = NULL;
    fh_reply_options opt = {.start = fh_markup_start_after(m, prompt)};
    fh_buf_init(&s->text, (size_t)1 << 20);
    fh_buf_init(&s->thought, (size_t)1 << 20);
    fh_buf_init(&s->calls, (size_t)1 << 20);
    fh_err why = {0};
    fh_status st = fh_reply_new(&r, m, &opt, on_event, s, &why);
    if (st == FH_OK) st = fh_reply_feed(r, text, &why);
    if (st == FH_OK) st = fh_reply_finish(r, NULL, NULL, &why);
    fh_reply_free(r);
    return st == FH_ERR_MEMORY ? fh_fail_memory(err, 0) : FH_OK;
}

static void release_seen(seen *s) {
    fh_buf_release(&s->text);
    fh_buf_release(&s->thought);
    fh_buf_release(&s->calls);
}

/* The calls of the probe, whatever white space stands in their arguments. */
static bool same_calls(fh_str got, bool two) {
    static const char one[] = "(" PROBE_NAME_1 ")" ARGS_1,
                      both[] = "(" PROBE_NAME_1 ")" ARGS_1 "(" PROBE_NAME_2 ")" ARGS_2;
    const char *want = two ? both : one;
    for (size_t i = 0; i < got.len; i++) {
        if (fh_is_space(got.ptr[i])) continue;
        if (*want++ != got.ptr[i]) return false;
    }
    return *want == '\0';
}

static fh_status check_calls(probe *p, const fh_markup *m, fh_str prompt, fh_str text, bool two, bool *ok) {
    seen s;
    fh_status st = read_back(m, prompt, text, &s, p->err);
    *ok = st == FH_OK && same_calls(fh_buf_str(&s.calls), two);
    release_seen(&s);
    return st;
}

/* ---- reasoning ---- */
/* What opens, when this closes: </x> and <x>, and the like. */
static bool mirror(fh_buf *out, fh_str close) {
    static const char *const pairs[][2] = {{"</", "<"},      {"[/", "["},      {"|close|", "|open|"},
                                           {"END", "START"}, {"end", "begin"}, {"suffix", "prefix"}};
    for (size_t i = 0; i < FH_COUNT(pairs); i++) {
        size_t at, n = strlen(pairs[i][0]);
        if (!fh_markup_part_at(close, pairs[i][0], &at)) continue;
        fh_buf_clear(out);
        fh_buf_add_str(out, fh_str_first(close, at));
        fh_buf_add_z(out, pairs[i][1]);
        fh_buf_add_str(out, fh_str_drop(close, at + n));
        return true;
    }
    return false;
}

static fh_str without_drops(fh_str s, const fh_markup *row) {
    for (bool again = true; again;) {
        again = false;
        s = fh_trim(s);
        for (size_t i = 0; i < FH_MARKUP_LIST; i++) {
            if (!fh_given(row->drop[i]) || !fh_str_ends(s, row->drop[i])) continue;
            s = fh_str_first(s, s.len - strlen(row->drop[i]));
            again = true;
        }
    }
    return s;
}

/* The same stands before an answer without reasoning: then it is the turn's beginning. */
static fh_status is_header(probe *p, const char *open, bool *yes) {
    bool shown;
    size_t at;
    FH_TRY(render(p, TALK_TEXT, false, false, &p->prompt, &shown));
    fh_str all = fh_buf_str(&p->prompt);
    *yes = shown && fh_markup_part_at(all, PROBE_TEXT, &at) && fh_str_ends(fh_trim(fh_str_first(all, at)), open);
    return FH_OK;
}

static fh_status find_reasoning(probe *p, fh_markup_found *f) {
    bool shown, ok = false;
    size_t at, text;
    FH_TRY(render_reply(p, TALK_THOUGHT, false, &shown));
    fh_str all = fh_buf_str(&p->reply);
    if (!shown || !fh_markup_part_at(all, PROBE_THOUGHT, &at) || !fh_markup_part_at(all, PROBE_TEXT, &text) ||
        text < at)
        return FH_OK;
    size_t from = at + strlen(PROBE_THOUGHT);
    fh_str close = without_drops(fh_str_first(fh_str_drop(all, from), text - from), f->row);
    fh_str head = fh_trim(fh_str_first(all, at)), open = {NULL, 0};
    fh_buf guess;
    fh_buf_init(&guess, 4096);
    if (close.len > 0 && mirror(&guess, close) && guess.len > 0 && guess.len <= head.len &&
        memcmp(head.ptr + head.len - guess.len, guess.ptr, guess.len) == 0)
        open = fh_str_drop(head, head.len - guess.len);
    for (size_t i = head.len; open.len == 0 && i-- > 0 && head.len - i < 64;) {
        if (head.ptr[i] == '<' || head.ptr[i] == '[') open = fh_str_drop(head, i);
    }
    fh_markup m = f->markup;
    m.think_open = fh_markup_copy(&f->arena, open);
    m.think_close = fh_markup_copy(&f->arena, close);
    fh_status s = guess.status == FH_ERR_MEMORY ? fh_fail_memory(p->err, guess.len) : FH_OK;
    if (s == FH_OK && f->arena.status != FH_OK) s = fh_arena_fail(&f->arena, p->err);
    fh_buf_release(&guess);
    if (s != FH_OK || !m.think_open || !m.think_close || open.len == 0 || close.len == 0) return s;
    bool header;
    FH_TRY(is_header(p, m.think_open, &header));
    if (header) m.think_open = f->row->think_open;
    if (!fh_given(m.think_open)) return FH_OK;
    seen got;
    s = read_back(&m, fh_str_first(all, p->from), fh_str_drop(all, p->from), &got, p->err);
    ok = s == FH_OK && fh_str_is(fh_trim(fh_buf_str(&got.thought)), PROBE_THOUGHT) &&
         fh_str_holds(fh_buf_str(&got.text), PROBE_TEXT) && !fh_str_holds(fh_buf_str(&got.text), m.think_close);
    release_seen(&got);
    if (ok) f->markup = m;
    f->reasoning = ok;
    return s;
}

/* ---- calls ---- */
/* Past an empty thought and frames, which stand before a call without saying anything. */
static fh_str past_frames(fh_str s, const fh_markup *m) {
    for (bool again = true; again;) {
        again = false;
        fh_str t = fh_trim(s);
        const char *skip[FH_MARKUP_LIST + 2] = {m->think_open, m->think_close};
        for (size_t i = 0; i < FH_MARKUP_LIST; i++) skip[i + 2] = m->drop[i];
        for (size_t i = 0; i < FH_COUNT(skip) && !again; i++) {
            fh_str z = fh_trim(fh_str_of(skip[i] ? skip[i] : ""));
            if (z.len == 0 || t.len < z.len || memcmp(t.ptr, z.ptr, z.len) != 0) continue;
            s = fh_str_drop(t, z.len);
            again = true;
        }
    }
    return s;
}

static fh_status find_calls(probe *p, fh_markup_found *f, bool as_text) {
    fh_buf one, two, tail, prompt;
    bool shown, shown_two = false, ok = false;
    size_t at = 0;
    fh_buf_init(&one, (size_t)4 << 20);
    fh_buf_init(&two, (size_t)4 << 20);
    fh_buf_init(&tail, (size_t)4 << 20);
    fh_buf_init(&prompt, (size_t)4 << 20);
    fh_status s = render_reply(p, TALK_TEXT, true, &shown);
    if (s == FH_OK && shown && fh_markup_part_at(fh_buf_str(&p->reply), PROBE_TEXT, &at))
        fh_buf_add_str(&tail, fh_str_drop(fh_buf_str(&p->reply), at + strlen(PROBE_TEXT)));
    if (s == FH_OK) s = render_reply(p, as_text ? TALK_ONE_TEXT : TALK_ONE, true, &shown);
    if (s != FH_OK || !shown) goto out;
    fh_buf_add_str(&one, fh_str_drop(fh_buf_str(&p->reply), p->from));
    fh_buf_add_str(&prompt, fh_str_first(fh_buf_str(&p->reply), p->from));
    s = render_reply(p, as_text ? TALK_TWO_TEXT : TALK_TWO, true, &shown_two);
    if (s == FH_OK && shown_two) fh_buf_add_str(&two, fh_str_drop(fh_buf_str(&p->reply), p->from));
    if (s == FH_OK && (one.status || two.status || tail.status || prompt.status)) s = fh_fail_memory(p->err, one.len);
    if (s != FH_OK) goto out;
    shown_two = shown_two && fh_str_holds(fh_buf_str(&two), PROBE_NAME_2);
    fh_str t1 = past_frames(fh_buf_str(&one), &f->markup);
    fh_str t2 = shown_two ? past_frames(fh_buf_str(&two), &f->markup) : (fh_str){"", 0};
    fh_markup m = f->markup;
    s = fh_markup_derive(&m, &f->arena, t1, t2, fh_buf_str(&tail), f->row, &ok, p->err);
    if (s == FH_OK && ok) s = check_calls(p, &m, fh_buf_str(&prompt), fh_buf_str(&one), false, &ok);
    if (s == FH_OK && ok && shown_two) s = check_calls(p, &m, fh_buf_str(&prompt), fh_buf_str(&two), true, &ok);
    if (s != FH_OK || !ok) goto out;
    f->markup = m;
    f->calls = true;
out:
    fh_buf_release(&one);
    fh_buf_release(&two);
    fh_buf_release(&tail);
    fh_buf_release(&prompt);
    return s;
}

/* ---- comparing ---- */
static bool same_text(const char *a, const char *b) {
    a = a ? a : "";
    b = b ? b : "";
    for (;; a++, b++) {
        while (fh_is_space(*a)) a++;
        while (fh_is_space(*b)) b++;
        if (*a != *b) return false;
        if (*a == '\0') return true;
    }
}

bool fh_markup_same_calls(const fh_markup *a, const fh_markup *b, const char **field) {
    const struct {
        const char *name, *a, *b;
    } fields[] = {{"call", a->call, b->call},
                  {"param", a->param, b->param},
                  {"section_open", a->section_open, b->section_open},
                  {"section_close", a->section_close, b->section_close},
                  {"key_name", a->key_name, b->key_name},
                  {"key_args", a->key_args, b->key_args},
                  {"quote", a->quote, b->quote}};
    for (size_t i = 0; i < FH_COUNT(fields); i++) {
        if (same_text(fields[i].a, fields[i].b)) continue;
        if (field) *field = fields[i].name;
        return false;
    }
    return true;
}

static void compare(fh_markup_found *f) {
    const char *field = NULL;
    const fh_markup *m = &f->markup, *row = f->row;
    if (f->calls && fh_given(row->call)) (void)fh_markup_same_calls(m, row, &field);
    if (!field && f->reasoning && !same_text(m->think_open, row->think_open)) field = "think_open";
    if (!field && f->reasoning && !same_text(m->think_close, row->think_close)) field = "think_close";
    if (field) (void)fh_str_copy(f->differs, sizeof f->differs, fh_str_of(field));
}

fh_status fh_markup_probe(fh_markup_found *out, const fh_template *t, fh_str bos, fh_str eos, fh_err *err) {
    probe p = {.t = t, .bos = bos, .eos = eos, .err = err};
    fh_markup_found f = {.row = fh_markup_detect(fh_template_source(t))};
    f.markup = *f.row;
    fh_arena_init(&f.arena, (size_t)1 << 20);
    fh_buf_init(&p.prompt, (size_t)4 << 20);
    fh_buf_init(&p.reply, (size_t)4 << 20);
    fh_status s = fh_json_parse(&p.tools, fh_str_of(tools_text), NULL, err);
    for (int i = 0; i < TALKS && s == FH_OK; i++) s = fh_json_parse(&p.talk[i], fh_str_of(talks[i]), NULL, err);
    if (s == FH_OK && !fh_given(f.row->head_close)) {
        s = find_reasoning(&p, &f);
        if (s == FH_OK) s = find_calls(&p, &f, false);
        if (s == FH_OK && !f.calls) s = find_calls(&p, &f, true);
    }
    for (int i = 0; i < TALKS; i++) fh_json_free(p.talk[i]);
    fh_json_free(p.tools);
    fh_buf_release(&p.prompt);
    fh_buf_release(&p.reply);
    if (s != FH_OK) {
        fh_arena_release(&f.arena);
        return s;
    }
    compare(&f);
    *out = f;
    return FH_OK;
}

void fh_markup_found_release(fh_markup_found *f) {
    if (f) fh_arena_release(&f->arena);
}
