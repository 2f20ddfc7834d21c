/* tests/unit/test_markup.c - text/markup: the table, what is read off templates, pieces for grammars, published
 * templates' renderings read back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "json_tree.h"
#include "reader_loop.h"
#include "reply_text.h"
#include "text/template.h"

/* ---- the table ---- */
TEST(markup, rows_hang_together) {
    for (size_t i = 0; i < fh_markup_n_known(); i++) {
        const fh_markup *m = fh_markup_known(i);
        fh_reply *r = NULL;
        fh_err err = {0};
        CHECK(m->name && m->name[0]);
        CHECK_OK(fh_reply_new(&r, m, NULL, reply_text_event, NULL, &err), err);
        fh_reply_free(r);
        bool json = m->call && strstr(m->call, "%j") && !(m->flags & FH_MARKUP_NAME_KEY);
        CHECK(json == (m->key_name && m->key_args));
        CHECK((m->call && strstr(m->call, "%p")) == (m->param != NULL));
        CHECK((m->think_open != NULL) == (m->think_close != NULL));
        CHECK(!m->section_close || m->section_open);
        CHECK(fh_str_is(fh_str_of(m->name), fh_markup_find(fh_str_of(m->name))->name));
    }
    CHECK(!fh_markup_find(FH_STR("no such markup")));
    CHECK_STR(fh_str_of(fh_markup_detect(FH_STR("{{ messages }}"))->name), "plain");
}

TEST(markup, replies_begin_where_the_prompt_ends) {
    const fh_markup *m = fh_markup_find(FH_STR("hermes")), *h = fh_markup_find(FH_STR("harmony"));
    CHECK(fh_markup_start_after(m, FH_STR("assistant\n<think>\n")) == FH_START_REASONING);
    CHECK(fh_markup_start_after(m, FH_STR("assistant\n<think>\n\n</think>\n\n")) == FH_START_TEXT);
    CHECK(fh_markup_start_after(m, FH_STR("")) == FH_START_TEXT);
    CHECK(fh_markup_start_after(h, FH_STR("<|start|>assistant")) == FH_START_HEADER);
}

TEST(markup, answers_begin_behind_reasoning_and_headers) {
    const fh_markup *m = fh_markup_find(FH_STR("hermes")), *h = fh_markup_find(FH_STR("harmony"));
    CHECK(fh_markup_answer_begins(m, FH_START_TEXT, FH_STR("")));
    CHECK(!fh_markup_answer_begins(m, FH_START_REASONING, FH_STR("hm </thin")));
    CHECK(fh_markup_answer_begins(m, FH_START_REASONING, FH_STR("hm </think>")));
    CHECK(fh_markup_answer_begins(m, FH_START_REASONING, FH_STR("hm </think>\n\n")));
    CHECK(!fh_markup_answer_begins(m, FH_START_REASONING, FH_STR("hm </think> Yes")));
    CHECK(!fh_markup_answer_begins(h, FH_START_HEADER, FH_STR("<|channel|>analysis<|message|>")));
    CHECK(!fh_markup_answer_begins(h, FH_START_HEADER, FH_STR("<|channel|>final")));
    CHECK(
        fh_markup_answer_begins(h, FH_START_HEADER, FH_STR("hm<|end|><|start|>assistant<|channel|>final<|message|>")));
    /* as templates show it: with the line ends that follow */
    const fh_markup wide = {.name = "wide", .think_open = "<t>\n", .think_close = "\n</t>\n\n"};
    CHECK(fh_markup_answer_begins(&wide, FH_START_REASONING, FH_STR("hm\n</t>\n\n")));
    const fh_markup none = {.name = "none"};
    CHECK(fh_markup_answer_begins(&none, FH_START_REASONING, FH_STR("")));
}

/* ---- read off templates of our own ---- */
#define TURN "{% for m in messages %}<|im_start|>{{ m.role }}\n"
#define THINK "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content }}"
#define END_TURN "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
#define EACH "{% for c in m.tool_calls %}{% set f = c.function %}"

typedef struct template_case {
    const char *source, *call, *param, *section_open, *section_close;
} template_case;

static const template_case templates[] = {
    {TURN THINK EACH
     "\n<tool_call>\n{\"name\": \"{{ f.name }}\", \"arguments\": {{ f.arguments | tojson }}}\n</tool_call>"
     "{% endfor %}" END_TURN,
     "<tool_call>%j</tool_call>", "", "", ""},
    {TURN THINK EACH
     "<call>{{ f.name }}{% for k, v in f.arguments.items() %}<k>{{ k }}</k>\n<v>{{ v }}</v>\n{% endfor %}"
     "</call>{% endfor %}" END_TURN,
     "<call>%n%p</call>", "<k>%k</k><v>%v</v>", "", ""},
    {TURN THINK
     "{% if m.tool_calls %}<sec>" EACH
     "<go name=\"{{ f.name }}\">{% for k, v in f.arguments.items() %}<p n=\"{{ k }}\" text=\"{{ 'true' if v is "
     "string else 'false' }}\">{{ v }}</p>{% endfor %}</go>{% endfor %}</sec>{% endif %}" END_TURN,
     "<goname=\"%n\">%p</go>", "<pn=\"%k\"text=\"%t\">%v</p>", "<sec>", "</sec>"},
    {TURN THINK
     "{% if m.tool_calls %}[S]" EACH
     "[B]functions.{{ f.name }}:{{ loop.index0 }}[A]{{ f.arguments | tojson }}[E]{% endfor %}[Z]{% endif %}" END_TURN,
     "[B]%I[A]%a[E]", "", "[S]", "[Z]"},
    {TURN THINK
     "{% if m.tool_calls %}<S>[" EACH
     "{{ ', ' if not loop.first }}{{ f.name }}({% for k, v in f.arguments.items() %}{{ ', ' if not loop.first }}"
     "{{ k }}={{ v | tojson }}{% endfor %}){% endfor %}]<Z>{% endif %}" END_TURN,
     "%n(%y)", "", "<S>[", "]<Z>"},
    {TURN THINK
     "{% if m.tool_calls %}<L>[" EACH
     "{{ ', ' if not loop.first }}{\"tool\": \"{{ f.name }}\", \"with\": {{ f.arguments | tojson }}}{% endfor %}]</L>"
     "{% endif %}" END_TURN,
     "%j", "", "<L>", "</L>"},
};

static bool same(const char *got, const char *want) {
    for (got = got ? got : "", want = want ? want : "";; got++, want++) {
        while (*got == ' ' || *got == '\n') got++;
        if (*got != *want) return false;
        if (*got == '\0') return true;
    }
}

TEST(markup, templates_tell_their_markup) {
    for (size_t i = 0; i < FH_COUNT(templates); i++) {
        const template_case *c = &templates[i];
        fh_template *t = NULL;
        fh_markup_found f;
        fh_err err = {0};
        CHECK_OK(fh_template_compile(&t, fh_str_of(c->source), &err), err);
        CHECK_OK(fh_markup_probe(&f, t, FH_STR("<s>"), FH_STR("</s>"), &err), err);
        if (!f.calls || !f.reasoning || !same(f.markup.call, c->call) || !same(f.markup.param, c->param) ||
            !same(f.markup.section_open, c->section_open) || !same(f.markup.section_close, c->section_close))
            fh_test_fail(__FILE__, __LINE__,
                         "template %zu: calls %d reasoning %d, call '%s', param '%s', section '%s' '%s'", i, f.calls,
                         f.reasoning, f.markup.call, f.markup.param, f.markup.section_open, f.markup.section_close);
        CHECK(same(f.markup.think_open, "<think>") && same(f.markup.think_close, "</think>"));
        fh_markup_found_release(&f);
        fh_template_free(t);
    }
}

TEST(markup, a_template_without_calls_gives_its_row) {
    fh_template *t = NULL;
    fh_markup_found f;
    fh_err err = {0};
    CHECK_OK(
        fh_template_compile(&t, FH_STR("{% for m in messages %}{{ m.content }}{% endfor %}{# <tool_call> #}"), &err),
        err);
    CHECK_OK(fh_markup_probe(&f, t, FH_STR(""), FH_STR(""), &err), err);
    CHECK(!f.calls && !f.reasoning && f.differs[0] == '\0');
    CHECK_STR(fh_str_of(f.markup.name), "hermes");
    fh_markup_found_release(&f);
    fh_template_free(t);
}

static fh_status probe_text(fh_str text, fh_err *err) {
    fh_template *t = NULL;
    fh_markup_found f;
    FH_TRY(fh_template_compile(&t, text, err));
    fh_status s = fh_markup_probe(&f, t, FH_STR("<s>"), FH_STR("</s>"), err);
    if (s == FH_OK) fh_markup_found_release(&f);
    fh_template_free(t);
    return s;
}

TEST(markup, probing_survives_every_failing_allocation) {
    fail_every_allocation(probe_text, fh_str_of(templates[0].source), 20);
    fail_every_allocation(probe_text, fh_str_of(templates[2].source), 20);
}

/* ---- pieces ---- */
static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"integer\"}},\"required\":["
    "\"a\"]}}},{\"name\":\"g\"}]";

static void describe(const fh_pieces *p, fh_buf *out) {
    static const char *const names[] = {"",         "~",        "<schema>", "<answer>", "<string>",
                                        "<python>", "<quoted>", "<text>",   "<id>",     "<number>",
                                        "(",        "|",        "(+ ",      "(? ",      ")"};
    for (size_t i = 0; i < p->n; i++) {
        fh_buf_add_z(out, names[p->list[i].kind]);
        if (p->list[i].kind == FH_PIECE_LITERAL) fh_buf_add_str(out, p->list[i].text);
    }
}

static void check_pieces(const char *markup, fh_call_rule rule, const char *want) {
    fh_json *tools = NULL;
    fh_pieces p;
    fh_buf out;
    fh_err err = {0};
    fh_buf_init(&out, 65536);
    CHECK_OK(fh_json_parse(&tools, fh_str_of(tools_text), NULL, &err), err);
    rule.tools = fh_json_root(tools);
    CHECK_OK(fh_markup_pieces(&p, fh_markup_find(fh_str_of(markup)), &rule, &err), err);
    describe(&p, &out);
    CHECK_STR(fh_buf_str(&out), want);
    fh_buf_release(&out);
    fh_pieces_release(&p);
    fh_json_free(tools);
}

TEST(markup, pieces_say_what_a_call_may_be) {
    fh_call_rule one = {.choice = FH_CALL_NAMED, .name = FH_STR("f")}, any = {.choice = FH_CALL_REQUIRED};
    fh_call_rule some = {.choice = FH_CALL_AUTO, .parallel = true};
    check_pieces("hermes", one, "(<tool_call>\n{\"name\": \"f\", \"arguments\": <schema>}\n</tool_call>)");
    check_pieces(
        "hermes", any,
        "(<tool_call>\n{\"name\": \"f\", \"arguments\": <schema>}\n</tool_call>|<tool_call>\n{\"name\": \"g\", "
        "\"arguments\": <schema>}\n</tool_call>)");
    check_pieces("glm", one,
                 "(<tool_call>f\n<arg_key>a</arg_key>\n<arg_value><string></arg_value>(? <arg_key>b</arg_key>\n"
                 "<arg_value><schema></arg_value>)</tool_call>)");
    check_pieces("harmony", one, "(<|channel|>commentary to=functions.f <|constrain|>json<|message|><schema>)");
    check_pieces("lfm-2", one, "<|tool_call_start|>[(f(a=<python>(? , b=<python>)))]<|tool_call_end|>");
    check_pieces("mistral-list", some,
                 "<text>(? [TOOL_CALLS][(+ ({\"name\": \"f\", \"arguments\": <schema>}|{\"name\": \"g\", "
                 "\"arguments\": <schema>}))])");
    check_pieces("kimi-k2", one,
                 "<|tool_calls_section_begin|>(<|tool_call_begin|>functions.f:<number>"
                 "<|tool_call_argument_begin|><schema><|tool_call_end|>)<|tool_calls_section_end|>");
}

TEST(markup, pieces_need_tools) {
    fh_json *tools = NULL;
    fh_pieces p;
    fh_err err = {0};
    CHECK_OK(fh_json_parse(&tools, fh_str_of(tools_text), NULL, &err), err);
    fh_call_rule rule = {.choice = FH_CALL_NONE, .tools = fh_json_root(tools)};
    const fh_markup *m = fh_markup_find(FH_STR("hermes"));
    CHECK_STATUS(fh_markup_pieces(&p, m, &rule, &err), FH_ERR_USAGE);
    rule.choice = FH_CALL_NAMED;
    rule.name = FH_STR("h");
    CHECK_STATUS(fh_markup_pieces(&p, m, &rule, &err), FH_ERR_NOT_FOUND);
    rule.tools = NULL;
    CHECK_STATUS(fh_markup_pieces(&p, m, &rule, &err), FH_ERR_USAGE);
    fh_json_free(tools);
}

/* ---- published templates, as the reference rendered them ---- */
typedef struct golden_case {
    const char *file, *row;
} golden_case;

static const golden_case golden[] = {
    {"Apertus-8B-Instruct", "apertus"},
    {"Bielik-11B-v3.0-Instruct", "hermes"},
    {"ByteDance-Seed-OSS", "seed"},
    {"Cohere2MoE", "cohere"},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "cohere"},
    {"GLM-4.6", "glm"},
    {"GLM-4.7-Flash", "glm"},
    {"GigaChat3-10B-A1.8B", "gigachat-3"},
    {"GigaChat3.1-10B-A1.8B", "gigachat-3.1"},
    {"Kimi-K3", "kimi-k3"},
    {"LFM2.5-8B-A1B", "lfm-2"},
    {"MiMo-VL", "hermes"},
    {"MiniMax-M1", "minimax-m1"},
    {"MiniMax-M2", "minimax-m2"},
    {"MiniMax-M3", "minimax-m3"},
    {"Mistral-Small-3.2-24B-Instruct-2506", "mistral-id"},
    {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "qwen-xml"},
    {"NVIDIA-Nemotron-Nano-v2", "nemotron-2"},
    {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "hermes"},
    {"Qwen-QwQ-32B", "hermes"},
    {"Qwen-Qwen2.5-7B-Instruct", "hermes"},
    {"Qwen-Qwen3-0.6B", "hermes"},
    {"Qwen3-Coder", "qwen-xml"},
    {"Qwen3.5-4B", "qwen-xml"},
    {"Reka-Edge", "hermes"},
    {"Spark2.5", "glm"},
    {"StepFun3.5-Flash", "qwen-xml"},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek-3"},
    {"deepseek-ai-DeepSeek-V3.1", "deepseek-3.1"},
    {"deepseek-ai-DeepSeek-V3.2", "dsml-3"},
    {"deepseek-ai-DeepSeek-V4", "dsml-4"},
    {"google-gemma-4-31B-it", "gemma-4"},
    {"ibm-granite-granite-4.0", "hermes"},
    {"inclusionai-ling-3.0-flash", "glm"},
    {"meetkai-functionary-medium-v3.1", "function-tag"},
    {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral-args"},
    {"mistralai-Mistral-Nemo-Instruct-2407", "mistral-list"},
    {"moonshotai-Kimi-K2", "kimi-k2"},
    {"muse-glimmer", "atem"},
    {"openai-gpt-oss-120b", "harmony"},
    {"openbmb-MiniCPM5-1B", "minicpm-5"},
    {"poolside-Laguna-S-2.1", "glm"},
    {"poolside-Laguna-XS.2", "glm"},
    {"tencent-Hy3", "hunyuan-3"},
    {"unsloth-Apriel-1.5", "apriel-1.6"},
    {"unsloth-mistral-Devstral-Small-2507", "mistral-args"},
    {"upstage-Solar-Open-100B", "solar"},
};

typedef struct call_check {
    const fh_json_node *calls; /* of the message */
    const fh_json_node *now;   /* the one that is being read */
    fh_buf args;
    uint32_t n;
    bool wrong;
} call_check;

static fh_status on_call(void *user, const fh_reply_event *ev, fh_err *err) {
    call_check *c = user;
    (void)err;
    if (ev->kind == FH_REPLY_CALL) {
        c->now = c->n++ == 0 ? fh_json_first(c->calls) : fh_json_after(c->calls, c->now);
        fh_str name;
        c->wrong |= !c->now || !fh_json_to_str(fh_json_get(fh_json_get(c->now, "function"), "name"), &name) ||
                    !fh_str_eq(name, ev->name);
        fh_buf_clear(&c->args);
    }
    if (ev->kind == FH_REPLY_ARGUMENTS) fh_buf_add_str(&c->args, ev->text);
    if (ev->kind == FH_REPLY_CALL_END) {
        fh_json *doc = NULL;
        const fh_json_node *want = fh_json_get(fh_json_get(c->now, "function"), "arguments");
        c->wrong |= ev->problems != 0 || fh_json_parse(&doc, fh_buf_str(&c->args), NULL, NULL) != FH_OK;
        if (doc) {
            fh_str key;
            uint32_t n = 0;
            const fh_json_node *got = fh_json_root(doc);
            for (const fh_json_node *m = fh_json_first(want); m; m = fh_json_after(want, m), n++) {
                key = m->key;
                const fh_json_node *g = fh_json_get_str(got, key);
                c->wrong |= !g || !json_same_tree(m, g);
            }
            c->wrong |= got->n_child != n;
        }
        fh_json_free(doc);
    }
    return FH_OK;
}

/* The reference's prompt from the question on holds the calls of the answer; reads them. -1: the case has none. */
static int read_golden(const fh_json_node *c, const fh_markup *m, const char *question, const char *result) {
    fh_str text;
    const fh_json_node *msgs = fh_json_get(c, "messages"), *tools = fh_json_get(c, "tools");
    if (!fh_json_to_str(fh_json_get(c, "expected"), &text)) return -1;
    const fh_json_node *answer = fh_json_after(msgs, fh_json_first(msgs));
    call_check check = {.calls = fh_json_get(answer, "tool_calls")};
    const char *from = NULL;
    for (const char *p = text.ptr; (p = memmem(p, text.len - (size_t)(p - text.ptr), question, strlen(question))); p++)
        from = p;
    if (!from || !check.calls) return -1;
    text = fh_str_drop(text, (size_t)(from - text.ptr) + strlen(question));
    const char *to = memmem(text.ptr, text.len, result, strlen(result));
    if (to) text.len = (size_t)(to - text.ptr);
    fh_reply *r = NULL;
    fh_err err = {0};
    fh_reply_options opt = {.tools = tools};
    fh_buf_init(&check.args, 65536);
    CHECK_OK(fh_reply_new(&r, m, &opt, on_call, &check, &err), err);
    CHECK_OK(fh_reply_feed(r, text, &err), err);
    CHECK_OK(fh_reply_finish(r, NULL, NULL, &err), err);
    fh_reply_free(r);
    fh_buf_release(&check.args);
    return !check.wrong && check.n > 0;
}

TEST_GOLDEN(markup, renderings_of_published_templates_read_back) {
    const char *dir = fh_test_shared();
    int read = 0;
    for (size_t i = 0; i < FH_COUNT(golden); i++) {
        char name[300];
        fh_buf file;
        fh_err err = {0};
        fh_json *doc = NULL;
        const fh_markup *m = fh_markup_find(fh_str_of(golden[i].row));
        CHECK(m);
        (void)snprintf(name, sizeof name, "templates/%s.json", golden[i].file);
        CHECK(load_file(&file, dir, name));
        CHECK_OK(fh_json_parse(&doc, fh_buf_str(&file), NULL, &err), err);
        const fh_json_node *list = fh_json_get(fh_json_root(doc), "cases");
        for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c)) {
            fh_str kind;
            CHECK(fh_json_to_str(fh_json_get(c, "name"), &kind));
            bool one = fh_str_is(kind, "tool-call"), two = fh_str_is(kind, "parallel"),
                 last = fh_str_is(kind, "reason-then-call");
            if (!one && !two && !last) continue;
            int ok = read_golden(c, m, one ? "Weather?" : two ? "Both" : "Go", one ? "21.5" : two ? "ok 1" : "x<");
            if (ok == 0)
                fh_test_fail(__FILE__, __LINE__, "%s as %s: %.*s does not read back", golden[i].file, golden[i].row,
                             FH_STR_ARG(kind));
            read += ok > 0;
        }
        fh_json_free(doc);
        fh_buf_release(&file);
    }
    CHECK(read > 250);
}

/* What ends reasoning in the model's place ends it for whoever reads the reply. */
TEST(markup, think_end_is_read_as_one) {
    int rows = 0;
    for (size_t i = 0; i < fh_markup_n_known(); i++) {
        const fh_markup *m = fh_markup_known(i);
        fh_buf end, text;
        reply_text t;
        fh_err err = {0};
        fh_buf_init(&end, 1024);
        fh_buf_init(&text, 4096);
        fh_markup_put_think_end(m, &end);
        bool channel = !m->think_open || !m->think_open[0];
        if (end.len) {
            if (channel)
                fh_buf_printf(&text, "%s%s%s%s", m->head_open[0], m->head_open[1] ? m->head_open[1] : " ",
                              m->head_think, m->head_close);
            else fh_buf_add_z(&text, m->think_open);
            fh_buf_add_z(&text, "why");
            fh_buf_add_str(&text, fh_buf_str(&end));
            fh_buf_add_z(&text, "so");
            CHECK_OK(reply_text_read(&t, m, NULL, fh_buf_str(&text), NULL, NULL, &err), err);
            CHECK_STR(fh_buf_str(&t.out), "R(why)T(so)");
            fh_buf_release(&t.out);
            rows++;
        }
        fh_buf_release(&text);
        fh_buf_release(&end);
    }
    CHECK(rows > 20);
}
