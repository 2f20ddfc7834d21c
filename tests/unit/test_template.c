/* tests/unit/test_template.c - budgets, error messages, conversations, arguments and lack of memory.
 * SPDX-License-Identifier: Apache-2.0
 * What the language means is tested in test_jinja_language.c. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/num.h"
#include "test.h"
#include "text/template.h"

static const fh_template_now now = {2026, 3, 9, 7, 5, 2};

static fh_template *compile(const char *source) {
    fh_template *t = NULL;
    fh_err err = {0};
    CHECK_OK(fh_template_compile(&t, fh_str_of(source), &err), err);
    return t;
}

static fh_status render(const char *source, const fh_template_budget *budget, fh_buf *out, fh_err *err) {
    fh_template *t = NULL;
    fh_status s = fh_template_compile(&t, fh_str_of(source), err);
    if (s == FH_OK) s = fh_template_render(t, NULL, 0, &now, budget, out, err);
    fh_template_free(t);
    return s;
}

/* ---- messages ---- */

static void fails(int line, const char *source, fh_status want, const char *part) {
    fh_err err = {0};
    fh_buf out;
    size_t at;
    fh_buf_init(&out, 1u << 20);
    fh_status s = render(source, NULL, &out, &err);
    if (s != want || !memmem(err.message, strlen(err.message), part, strlen(part)))
        fh_test_fail(__FILE__, line, "'%.60s' gives %s '%s', expected %s with '%s'", source, fh_status_name(s),
                     err.message, fh_status_name(want), part);
    CHECK(out.len == 0 && out.status == FH_OK);
    CHECK(!fh_str_find(fh_str_of(err.message), '\n', &at));
    fh_buf_release(&out);
}
#define FAILS(source, status, part) fails(__LINE__, source, status, part)

TEST(template, errors_name_line_and_cause) {
    FAILS("a\n{{ x.y }}", FH_ERR_FORMAT, "line 2: 'x' is undefined");
    FAILS("{% if 1 %}\n\n{{ 'a' + 1 }}{% endif %}", FH_ERR_FORMAT,
          "line 3: can only concatenate str (not \"int\") to str");
    FAILS("{% macro m() %}\n{{ 1 / 0 }}{% endmacro %}\n{{ m() }}", FH_ERR_FORMAT, "line 2: division by zero");
    FAILS("x\n{{ raise_exception('no\nway') }}", FH_ERR_FORMAT, "line 2: the template refuses: no");
    FAILS("\n\n{% if %}", FH_ERR_FORMAT, "line 3");
    FAILS("\n{% foo %}", FH_ERR_FORMAT, "line 2: unknown tag 'foo'");
    FAILS("\n{% if 1 %}", FH_ERR_FORMAT, "'elif' is missing");
    FAILS("{{ 1|nosuch }}", FH_ERR_FORMAT, "no filter is named 'nosuch'");
    FAILS("{% include 'x' %}", FH_ERR_UNSUPPORTED, "'include' is refused");
    FAILS("\xff", FH_ERR_FORMAT, "UTF-8");
    FAILS("{{ {}.items.x }}{{ {'a': 1}.b.c }}", FH_ERR_FORMAT, "'dict object' has no attribute 'b'");
    FAILS("{{ 9223372036854775807 + 1 }}", FH_ERR_FORMAT, "64 bits");
}

TEST(template, sandbox_forbids_changing_and_reaching) {
    FAILS("{{ [].append(1) }}", FH_ERR_DENIED, "access to attribute 'append' of 'list' object is unsafe");
    FAILS("{{ {}.update({}) }}", FH_ERR_DENIED, "'update'");
    FAILS("{{ ''.__class__.mro() }}", FH_ERR_DENIED, "'__class__'");
    FAILS("{{ ''['__class__']['x'] }}", FH_ERR_DENIED, "'__class__'");
    FAILS("{{ '{0.__class__.x}'.format('') }}", FH_ERR_DENIED, "'__class__'");
    FAILS("{% set ns = namespace() %}{% set ns._x = 1 %}", FH_ERR_DENIED, "'_x'");
    FAILS("{{ [1]|random }}", FH_ERR_UNSUPPORTED, "random");
    FAILS("{{ '1'|from_json }}", FH_ERR_FORMAT, "from_json");
    FAILS("{{ ['1']|map('!from_json')|list }}", FH_ERR_FORMAT, "!from_json");
}

/* ---- budgets ---- */

static char *nested(const char *open, const char *middle, const char *close, size_t n) {
    size_t a = strlen(open), b = strlen(middle), c = strlen(close);
    char *z = fh_alloc((a + c) * n + b + 16, 1);
    CHECK(z);
    size_t k = 0;
    for (size_t i = 0; i < n; i++, k += a) memcpy(z + k, open, a);
    memcpy(z + k, middle, b);
    k += b;
    for (size_t i = 0; i < n; i++, k += c) memcpy(z + k, close, c);
    z[k] = '\0';
    return z;
}

TEST(template, deep_nesting_is_refused) {
    static const char *const shapes[][3] = {{"{{", "1", "}}"},   {"(", "1", ")"}, {"[", "1", "]"},
                                            {"{1:", "1", "}"},   {"-", "1", ""},  {"not ", "1", ""},
                                            {"1+", "1", ""},     {"", "a", ".b"}, {"", "a", "[0]"},
                                            {"", "a", "|upper"}, {"", "a", "()"}, {"a if b else ", "1", ""}};
    for (size_t i = 0; i < FH_COUNT(shapes); i++) {
        char *inner = nested(shapes[i][0], shapes[i][1], shapes[i][2], 20000), *z = nested("{{ ", inner, " }}", 1);
        fh_template *t = NULL;
        CHECK(fh_template_compile(&t, fh_str_of(z), NULL) != FH_OK);
        fh_free(inner);
        fh_free(z);
    }
    char *z = nested("{% if 1 %}", "x", "{% endif %}", 20000);
    fh_template *t = NULL;
    CHECK_STATUS(fh_template_compile(&t, fh_str_of(z), NULL), FH_ERR_FORMAT);
    fh_free(z);
}

TEST(template, hostile_templates_end_inside_their_budgets) {
    static const struct {
        const char *source, *part;
    } cases[] = {
        {"{{ range(10**9) }}", "100000"},
        {"{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}", "steps"},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "64 deep"},
        {"{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(50) }}", "steps"},
        {"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "64 deep"},
        {"{{ 'x' * 10**9 }}", "steps"},
        {"{{ 'x' * (80 * 2**20) }}", "memory"},
        {"{{ 'x' * 10**18 }}", "too long"},
        {"{{ [1] * 10**9 }}", "too long"},
        {"{{ ('x' * 1000000).replace('x', 'y' * 100000) }}", "too long"},
        {"{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "memory"},
        {"{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}", "deeply"},
        {"{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x|tojson }}",
         "deeply"},
        {"{% set n = namespace(x=[1]) %}{% for i in range(9999) %}{% set n.x = n.x|map('string') %}{% endfor %}"
         "{{ n.x|list }}",
         "deeply"},
        {"{{ '%1000000000d' % 1 }}", "width"},
        {"{{ [1]|tojson(indent=10**9) }}", "wide"},
        {"{{ ['a' * 1000] * 100000 }}", "output"},
    };
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        fh_err err = {0};
        fh_buf out;
        const fh_template_budget budget = {.time_ms = 20000}; /* so that the other budgets are seen to end it */
        uint64_t start = fh_clock_ns();
        fh_buf_init(&out, (size_t)1 << 30);
        fh_status s = render(cases[i].source, &budget, &out, &err);
        if (s != FH_ERR_LIMIT && s != FH_ERR_FORMAT)
            fh_test_fail(__FILE__, __LINE__, "'%s' gives %s", cases[i].source, fh_status_name(s));
        if (!memmem(err.message, strlen(err.message), cases[i].part, strlen(cases[i].part)) ||
            strncmp(err.message, "template line 1: ", 17) != 0)
            fh_test_fail(__FILE__, __LINE__, "'%s' says '%s', expected '%s'", cases[i].source, err.message,
                         cases[i].part);
        CHECK(out.len == 0);
        CHECK(fh_clock_ns() - start < 15000000000u);
        fh_buf_release(&out);
    }
}

TEST(template, time_ends_what_steps_do_not) {
    const fh_template_budget budget = {.time_ms = 20, .steps = UINT64_MAX};
    fh_err err = {0};
    fh_buf out;
    fh_buf_init(&out, 1u << 20);
    uint64_t start = fh_clock_ns();
    CHECK_STATUS(
        render("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", &budget, &out, &err),
        FH_ERR_TIMEOUT);
    CHECK(fh_clock_ns() - start < 5000000000u);
}

TEST(template, budgets_can_be_set) {
    fh_err err = {0};
    fh_buf out;
    fh_buf_init(&out, 1u << 20);
    const fh_template_budget few_steps = {.steps = 10}, little_output = {.output_bytes = 10}, shallow = {.depth = 3},
                             little_memory = {.memory_bytes = 20000};
    CHECK_STATUS(render("{% for i in range(9) %}{{ i }}{% endfor %}", &few_steps, &out, &err), FH_ERR_LIMIT);
    CHECK_STATUS(render("12345678901", &little_output, &out, &err), FH_ERR_LIMIT);
    CHECK_OK(render("1234567890", &little_output, &out, &err), err);
    CHECK_STR(fh_buf_str(&out), "1234567890");
    const char *calls = "{% macro a(n) %}{% if n %}{{ a(n - 1) }}{% else %}x{% endif %}{% endmacro %}";
    char source[200];
    snprintf(source, sizeof source, "%s{{ a(2) }}", calls);
    CHECK_OK(render(source, &shallow, &out, &err), err);
    snprintf(source, sizeof source, "%s{{ a(3) }}", calls);
    CHECK_STATUS(render(source, &shallow, &out, &err), FH_ERR_LIMIT);
    CHECK_STATUS(render("{{ 'x' * 15000 }}{{ 'x' * 15000 }}", &little_memory, &out, &err), FH_ERR_LIMIT);
    fh_buf_release(&out);
}

/* Adding to a text piece by piece must not cost its square. */
TEST(template, growing_a_text_is_linear) {
    fh_err err = {0};
    fh_buf out;
    fh_buf_init(&out, 1u << 24);
    const fh_template_budget budget = {.memory_bytes = (size_t)16 << 20, .time_ms = UINT32_MAX};
    CHECK_OK(render("{% set p = 'x' * 1000 %}{% set n = namespace(t='') %}{% for i in range(2000) %}"
                    "{% set n.t = n.t + p %}{% endfor %}{{ n.t|length }}",
                    &budget, &out, &err),
             err);
    CHECK_STR(fh_buf_str(&out), "2000000");
    fh_buf_release(&out);
}

/* ---- conversations ---- */

static fh_json *json(const char *text) {
    fh_json *doc = NULL;
    fh_err err = {0};
    CHECK_OK(fh_json_parse(&doc, fh_str_of(text), NULL, &err), err);
    return doc;
}

static void chat_gives(int line, const char *source, const char *messages, fh_template_chat chat, const char *want) {
    fh_template *t = compile(source);
    fh_json *doc = json(messages);
    fh_err err = {0};
    fh_buf out;
    fh_buf_init(&out, 1u << 20);
    chat.messages = fh_json_root(doc);
    chat.now = &now;
    fh_status s = fh_template_render_chat(t, &chat, &out, &err);
    if (want ? s != FH_OK || !fh_str_is(fh_buf_str(&out), want) : s == FH_OK)
        fh_test_fail(__FILE__, line, "gives '%.*s' (%s), expected '%s'", FH_STR_ARG(fh_buf_str(&out)),
                     s == FH_OK ? "" : err.message, want ? want : "an error");
    fh_buf_release(&out);
    fh_json_free(doc);
    fh_template_free(t);
}
#define CHAT(source, messages, want, ...) chat_gives(__LINE__, source, messages, (fh_template_chat){__VA_ARGS__}, want)

static const char echo[] = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
                           "{% if add_generation_prompt %}<assistant>{% endif %}";

TEST(template, conversation_arguments) {
    fh_json *kwargs = json("{\"x\": [1, 2.0, null, true, 18446744073709551616], \"eos_token\": \"E\"}");
    const char *m = "[{\"role\": \"user\", \"content\": \"hi\"}]";
    CHAT(echo, m, "<user>hi</><assistant>", .add_generation_prompt = true);
    CHAT(echo, m, "<user>hi</>", .add_generation_prompt = false);
    CHAT("{{ tools }}{{ documents }}{{ bos_token }}{{ eos_token is defined }}", m, "NoneNoneFalse", .tools = NULL);
    CHAT("{{ bos_token }}{{ eos_token }}{{ x }}", m, "BE[1, 2.0, None, True, 18446744073709551616]",
         .bos_token = FH_STR("B"), .eos_token = FH_STR("e"), .kwargs = fh_json_root(kwargs));
    CHAT("{{ strftime_now('%d.%m.%Y %H:%M') }}", m, "09.03.2026 07:05", .tools = NULL);
    CHAT(echo, "{}", NULL, .tools = NULL);
    CHAT(echo, "[1]", NULL, .tools = NULL);
    fh_json_free(kwargs);
}

TEST(template, reasoning_goes_by_both_names) {
    const char *t = "{{ messages[0]|tojson }}";
    CHAT(t, "[{\"content\": \"a\", \"reasoning\": \"r\"}]",
         "{\"thinking\": \"r\", \"content\": \"a\", \"reasoning\": \"r\", \"reasoning_content\": \"r\"}",
         .tools = NULL);
    CHAT(t, "[{\"content\": \"a\", \"reasoning_content\": null, \"thinking\": \"t\"}]",
         "{\"thinking\": \"t\", \"content\": \"a\", \"reasoning_content\": \"t\"}", .tools = NULL);
    CHAT(t, "[{\"content\": \"a\"}]", "{\"content\": \"a\"}", .tools = NULL);
    CHAT(t, "[{\"content\": \"a\", \"thinking\": \"t\"}]", "{\"content\": \"a\", \"thinking\": \"t\"}",
         .keep_reasoning_names = true);
}

TEST(template, continues_the_last_message) {
    const char *m = "[{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"so far \"}]";
    CHAT(echo, m, "<user>q</><assistant>so far ", .continue_final_message = true);
    CHAT("{% for m in messages %}<{{ m.content|trim }}>{% endfor %}", m, "<q><so far", .continue_final_message = true);
    CHAT("{{ messages[0].content }}", m, NULL, .continue_final_message = true);
    CHAT("{{ messages|length }}", m, NULL, .continue_final_message = true);
    CHAT("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}|{% endfor %}",
         "[{\"content\": [{\"text\": \"a\"}, {\"text\": \"b\"}, {\"image\": 1}]}]", "ab",
         .continue_final_message = true);
    CHAT(echo, "[{\"role\": \"user\"}]", NULL, .continue_final_message = true);
    CHAT(echo, "[]", NULL, .continue_final_message = true);
}

TEST(template, lists_its_variables) {
    fh_template *t = compile("{% set own = 1 %}{{ own }}{% for m in messages %}{{ m.x if enable_thinking }}{% endfor %}"
                             "{% macro f(a) %}{{ a }}{{ deep }}{% endmacro %}{{ range(2) }}{{ namespace() }}");
    CHECK(fh_template_uses(t, FH_STR("messages")) && fh_template_uses(t, FH_STR("enable_thinking")));
    CHECK(fh_template_uses(t, FH_STR("deep")));
    CHECK(!fh_template_uses(t, FH_STR("own")) && !fh_template_uses(t, FH_STR("range")) &&
          !fh_template_uses(t, FH_STR("a")));
    CHECK_U64(fh_template_n_variable(t), 3);
    fh_template_free(t);
}

TEST(template, moments) {
    fh_template_now t;
    CHECK(fh_template_now_parse(FH_STR("2024-02-29T23:59:58"), &t) && t.day == 29 && t.second == 58);
    CHECK(fh_template_now_parse(FH_STR("2024-02-29 01:02"), &t) && t.hour == 1 && t.second == 0);
    CHECK(fh_template_now_parse(FH_STR("2024-12-31"), &t) && t.month == 12);
    CHECK(fh_template_now_parse(FH_STR("2024-12-31T00:00:00.123456"), &t));
    CHECK(!fh_template_now_parse(FH_STR("2023-02-29"), &t));
    CHECK(!fh_template_now_parse(FH_STR("2023-13-01"), &t));
    CHECK(!fh_template_now_parse(FH_STR("2023-01-01T24:00:00"), &t));
    CHECK(!fh_template_now_parse(FH_STR("2023-01-01T10"), &t));
    CHECK(!fh_template_now_parse(FH_STR("2023-01-01x"), &t));
    CHECK(!fh_template_now_parse(FH_STR(""), &t));
}

/* ---- lack of memory ---- */

TEST(template, every_allocation_may_fail) {
    if (!fh_mem_get_stats().calls) fh_test_skip("no allocation counters in this build");
    const char *source = "{% macro m(x) %}{{ x|tojson(indent=1) }}{% endmacro %}{% for k, v in d|dictsort %}{{ m(v) }}"
                         "{{ '%s' % k }}{{ loop.index }}{% endfor %}{{ (l * 50)|join(',') }}{{ 'x' * 20000 }}";
    fh_json *doc = json("{\"d\": {\"b\": [1], \"a\": {\"c\": \"\\u00e9\"}}, \"l\": [\"q\", 2]}");
    const fh_json_node *root = fh_json_root(doc);
    const fh_template_arg args[] = {{.name = FH_STR("d"), .node = fh_json_get(root, "d")},
                                    {.name = FH_STR("l"), .node = fh_json_get(root, "l")}};
    uint64_t blocks = fh_mem_get_stats().live_blocks;
    fh_status s = FH_ERR_MEMORY;
    for (uint64_t n = 1; s != FH_OK; n++) {
        fh_template *t = NULL;
        fh_err err = {0};
        fh_buf out;
        CHECK(n < 1000);
        fh_buf_init(&out, 1u << 20);
        fh_fault_arm(FH_FAULT_ALLOC, n, false);
        s = fh_template_compile(&t, fh_str_of(source), &err);
        if (s == FH_OK) s = fh_template_render(t, args, 2, &now, NULL, &out, &err);
        bool hit = fh_fault_calls(FH_FAULT_ALLOC) >= n;
        fh_fault_disarm();
        if (hit) CHECK_STATUS(s, FH_ERR_MEMORY);
        if (s != FH_OK) CHECK(err.message[0] && out.len == 0);
        fh_template_free(t);
        fh_buf_release(&out);
        CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
    }
    fh_json_free(doc);
}
