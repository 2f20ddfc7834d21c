/* tests/unit/test_markup_grammar.c - grammars of calls, for every markup of the table: what fits is taken, names and
 * arguments that do not are refused where they go wrong.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/json.h"
#include "base/num.h"
#include "test.h"
#include "text/markup_grammar.h"
#include "text/mask.h"
#include "text/reply.h"

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"city\":{\"type\":\"string\",\"maxLength\":12},\"days\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":30},"
    "\"unit\":{\"enum\":[\"C\",\"F\"]}},\"required\":[\"city\"],\"additionalProperties\":false}}},{\"type\":"
    "\"function\",\"function\":{\"name\":\"ping\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]";

/* One call's arguments; a field that is NULL is not there. days and unit are as they are written. */
typedef struct call_text {
    const char *name, *city, *days, *unit;
} call_text;

static bool has(const char *z) { return z && *z; }

static void put_json(fh_buf *b, const call_text *c) {
    const char *comma = "";
    fh_buf_add_byte(b, '{');
    if (c->city) fh_buf_printf(b, "\"city\": \"%s\"", c->city);
    if (c->city) comma = ", ";
    if (c->days) fh_buf_printf(b, "%s\"days\": %s", comma, c->days);
    if (c->days) comma = ", ";
    if (c->unit) fh_buf_printf(b, "%s\"unit\": \"%s\"", comma, c->unit);
    fh_buf_add_byte(b, '}');
}

static void put_param(fh_buf *b, const fh_markup *m, const char *key, const char *value, bool text) {
    if (!value) return;
    size_t n = strlen(m->param);
    while (n && (m->param[n - 1] == '\n' || m->param[n - 1] == ' ')) n--;
    for (size_t i = 0; i < n; i++) {
        if (m->param[i] != '%') fh_buf_add_byte(b, (uint8_t)m->param[i]);
        else if (m->param[++i] == 'k') fh_buf_add_z(b, key);
        else if (m->param[i] == 'v') fh_buf_add_z(b, value);
        else if (m->param[i] == 't' && m->flags & FH_MARKUP_TYPE_NAMES) fh_buf_add_z(b, text ? "string" : "number");
        else if (m->param[i] == 't') fh_buf_add_z(b, text ? "true" : "false");
    }
}

static void put_python(fh_buf *b, const call_text *c) {
    const char *comma = "";
    if (c->city) fh_buf_printf(b, "city=\"%s\"", c->city);
    if (c->city) comma = ", ";
    if (c->days) fh_buf_printf(b, "%sdays=%s", comma, c->days);
    if (c->days) comma = ", ";
    if (c->unit) fh_buf_printf(b, "%sunit=\"%s\"", comma, c->unit);
}

static void put_quoted(fh_buf *b, const fh_markup *m, const call_text *c) {
    const char *comma = "";
    fh_buf_add_byte(b, '{');
    if (c->city) fh_buf_printf(b, "city:%s%s%s", m->quote, c->city, m->quote);
    if (c->city) comma = ",";
    if (c->days) fh_buf_printf(b, "%sdays:%s", comma, c->days);
    if (c->days) comma = ",";
    if (c->unit) fh_buf_printf(b, "%sunit:%s%s%s", comma, m->quote, c->unit, m->quote);
    fh_buf_add_byte(b, '}');
}

static void put_object(fh_buf *b, const fh_markup *m, const call_text *c) {
    if (m->flags & FH_MARKUP_NAME_KEY) {
        fh_buf_printf(b, "{\"%s\": ", c->name);
    } else {
        fh_buf_printf(b, "{\"%s\": \"%s\", \"%s\": ", m->key_name, c->name, m->key_args);
    }
    put_json(b, c);
    fh_buf_add_byte(b, '}');
}

/* The patterns of a row filled in by hand: `text/markup.h` says what each hole is. */
static void put_call(fh_buf *b, const fh_markup *m, const call_text *c) {
    size_t n = strlen(m->call);
    const char *at = has(m->head_make) ? strstr(m->head_make, "%n") : NULL;
    if (at) fh_buf_printf(b, "%.*s%s%s", (int)(at - m->head_make), m->head_make, c->name, at + 2);
    if (at && has(m->section_open)) fh_buf_add_z(b, m->section_open);
    while (n && (m->call[n - 1] == '\n' || m->call[n - 1] == ' ')) n--;
    for (size_t i = 0; i < n; i++) {
        if (m->call[i] != '%') {
            fh_buf_add_byte(b, (uint8_t)m->call[i]);
            continue;
        }
        switch (m->call[++i]) {
        case 'n': fh_buf_add_z(b, c->name); break;
        case 'i': fh_buf_add_z(b, "a1B2c3D4e"); break;
        case 'I': fh_buf_printf(b, "functions.%s:0", c->name); break;
        case 'x': fh_buf_add_z(b, "1"); break;
        case 'a': put_json(b, c); break;
        case 'j': put_object(b, m, c); break;
        case 'y': put_python(b, c); break;
        case 'g': put_quoted(b, m, c); break;
        default:
            put_param(b, m, "city", c->city, true);
            put_param(b, m, "days", c->days, false);
            put_param(b, m, "unit", c->unit, true);
            break;
        }
    }
    if (at && has(m->section_close)) fh_buf_add_z(b, m->section_close);
}

static void put_reply(fh_buf *b, const fh_markup *m, const call_text *c, size_t n) {
    bool headed = has(m->head_make), list = m->flags & FH_MARKUP_LISTED, square = has(m->bare) && m->bare[0] == '[';
    if (!headed && !has(m->bare) && has(m->section_open)) fh_buf_add_z(b, m->section_open);
    if (!headed && square) fh_buf_add_byte(b, '[');
    if (list) fh_buf_add_byte(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i) fh_buf_add_z(b, list ? ", " : m->separator ? m->separator : "");
        put_call(b, m, &c[i]);
    }
    if (list) fh_buf_add_byte(b, ']');
    if (!headed && !has(m->bare) && has(m->section_close)) fh_buf_add_z(b, m->section_close);
    if (!headed && square) fh_buf_add_byte(b, ']');
}

static bool takes(const fh_grammar *g, fh_str text) {
    fh_matcher *m = NULL;
    fh_err err = {0};
    bool ok = false;
    CHECK_OK(fh_matcher_new(&m, g, &err), err);
    CHECK_OK(fh_matcher_accept(m, text, &ok, &err), err);
    ok = ok && fh_matcher_can_end(m);
    fh_matcher_free(m);
    return ok;
}

static fh_grammar *compile(const fh_markup *m, const fh_json *tools, fh_call_choice choice, bool parallel) {
    fh_grammar *g = NULL;
    fh_err err = {0};
    fh_call_rule rule = {.tools = fh_json_root(tools), .choice = choice, .parallel = parallel, .name = FH_STR("look")};
    fh_status st = fh_grammar_from_calls(&g, m, &rule, NULL, &err);
    if (st != FH_OK) fh_test_fail(__FILE__, __LINE__, "%s: %s", m->name, err.message);
    return g;
}

static void check_call(const fh_markup *m, const fh_grammar *g, call_text c, bool want, const char *before) {
    fh_buf b;
    fh_buf_init(&b, 1 << 16);
    fh_buf_add_z(&b, before);
    put_reply(&b, m, &c, 1);
    if (takes(g, fh_buf_str(&b)) != want)
        fh_test_fail(__FILE__, __LINE__, "%s: %s '%.*s'", m->name, want ? "refuses" : "takes", (int)b.len,
                     (const char *)b.ptr);
    fh_buf_release(&b);
}

static bool has_calls(const fh_markup *m) { return has(m->call); }

TEST(markup_grammar, every_markup_takes_what_fits_and_nothing_else) {
    fh_json *tools = NULL;
    fh_err err = {0};
    int rows = 0;
    CHECK_OK(fh_json_parse(&tools, fh_str_of(tools_text), NULL, &err), err);
    for (size_t i = 0; i < fh_markup_n_known(); i++) {
        const fh_markup *m = fh_markup_known(i);
        if (!has_calls(m)) continue;
        fh_grammar *g = compile(m, tools, FH_CALL_REQUIRED, false);
        check_call(m, g, (call_text){"look", "Z\xC3\xBCrich", NULL, NULL}, true, "");
        check_call(m, g, (call_text){"look", "Ulm", "7", "C"}, true, "");
        check_call(m, g, (call_text){"look", "Ulm", "30", NULL}, true, "");
        check_call(m, g, (call_text){"ping", NULL, NULL, NULL}, true, "");
        check_call(m, g, (call_text){"lock", "Ulm", NULL, NULL}, false, "");         /* no such tool */
        check_call(m, g, (call_text){"look", NULL, "7", NULL}, false, "");           /* required */
        check_call(m, g, (call_text){"look", "Ulm", "31", NULL}, false, "");         /* too large */
        check_call(m, g, (call_text){"look", "Ulm", "\"7\"", NULL}, false, "");      /* no integer */
        check_call(m, g, (call_text){"look", "Ulm", "7", "K"}, false, "");           /* not among the values */
        check_call(m, g, (call_text){"look", "Llanfairpwllg", "7", "C"}, false, ""); /* 13 letters */
        check_call(m, g, (call_text){"look", "Ulm", "7", "C"}, false, "Well: ");
        CHECK(!takes(g, FH_STR("Ulm")) && !takes(g, FH_STR("")));
        fh_grammar_free(g);
        rows++;
    }
    CHECK(rows > 40);
    fh_json_free(tools);
}

TEST(markup_grammar, text_or_calls) {
    fh_json *tools = NULL;
    fh_err err = {0};
    CHECK_OK(fh_json_parse(&tools, fh_str_of(tools_text), NULL, &err), err);
    for (size_t i = 0; i < fh_markup_n_known(); i++) {
        const fh_markup *m = fh_markup_known(i);
        if (!has_calls(m)) continue;
        fh_grammar *g = compile(m, tools, FH_CALL_AUTO, true);
        CHECK(takes(g, FH_STR("")) && takes(g, FH_STR("No call at all, in M\xC3\xBCnchen")));
        check_call(m, g, (call_text){"look", "Ulm", "7", "C"}, true, "");
        check_call(m, g, (call_text){"look", "Ulm", "7", "C"}, true, "Let me see. ");
        /* Bare calls are text as well; one that is opened must be right. */
        if (!has(m->bare) && !has(m->head_make)) check_call(m, g, (call_text){"lock", "Ulm", "7", "C"}, false, "So. ");
        const call_text two[] = {{"look", "Ulm", NULL, "F"}, {"ping", NULL, NULL, NULL}};
        fh_buf b;
        fh_buf_init(&b, 1 << 16);
        put_reply(&b, m, two, 2);
        bool single = m->flags & FH_MARKUP_SINGLE;
        if (!single && !takes(g, fh_buf_str(&b)))
            fh_test_fail(__FILE__, __LINE__, "%s: refuses '%.*s'", m->name, (int)b.len, (const char *)b.ptr);
        fh_buf_release(&b);
        fh_grammar_free(g);
    }
    fh_json_free(tools);
}

/* With a format for the answer: calls, or an answer that holds to it; never both, nothing else. */
TEST(markup_grammar, calls_or_an_answer_with_a_format) {
    fh_json *tools = NULL, *schema = NULL;
    fh_err err = {0};
    CHECK_OK(fh_json_parse(&tools, fh_str_of(tools_text), NULL, &err), err);
    CHECK_OK(fh_json_parse(&schema, FH_STR("{\"enum\":[\"<tool_call>\",12,{\"a\":1}]}"), NULL, &err), err);
    for (size_t i = 0; i < fh_markup_n_known(); i++) {
        const fh_markup *m = fh_markup_known(i);
        if (!has_calls(m)) continue;
        fh_call_rule rule = {
            .tools = fh_json_root(tools), .choice = FH_CALL_AUTO, .answer = fh_json_root(schema), .parallel = true};
        fh_grammar *g = NULL;
        CHECK_OK(fh_grammar_from_calls(&g, m, &rule, NULL, &err), err);
        CHECK(takes(g, FH_STR("12")) && takes(g, FH_STR("\n\"<tool_call>\"")) && takes(g, FH_STR("{\"a\": 1}")));
        CHECK(!takes(g, FH_STR("13")) && !takes(g, FH_STR("")) && !takes(g, FH_STR("Well")));
        CHECK(!takes(g, FH_STR("{\"a\": 2}")) && !takes(g, FH_STR("{\"b\": 1}")) && !takes(g, FH_STR("12 13")));
        check_call(m, g, (call_text){"look", "Ulm", "7", "C"}, true, "");
        check_call(m, g, (call_text){"lock", "Ulm", "7", "C"}, false, "");
        check_call(m, g, (call_text){"look", "Ulm", "7", "C"}, false, "Let me see. ");
        check_call(m, g, (call_text){"look", "Ulm", "7", "C"}, false, "12");
        fh_grammar_free(g);
        rule.answer = NULL;
        rule.answer_object = true;
        CHECK_OK(fh_grammar_from_calls(&g, m, &rule, NULL, &err), err);
        CHECK(takes(g, FH_STR("{\"b\": [1, {}]}")) && takes(g, FH_STR("{}")));
        CHECK(!takes(g, FH_STR("12")) && !takes(g, FH_STR("[]")) && !takes(g, FH_STR("")));
        check_call(m, g, (call_text){"look", "Ulm", "7", "C"}, true, "");
        fh_grammar_free(g);
    }
    fh_json_free(schema);
    fh_json_free(tools);
}

/* What a schema cannot say is refused here, too. */
TEST(markup_grammar, a_format_beside_tools_is_never_weakened) {
    fh_json *tools = NULL, *schema = NULL;
    fh_grammar *g = NULL;
    fh_err err = {0};
    CHECK_OK(fh_json_parse(&tools, fh_str_of(tools_text), NULL, &err), err);
    CHECK_OK(fh_json_parse(&schema, FH_STR("{\"type\":\"array\",\"uniqueItems\":true}"), NULL, &err), err);
    fh_call_rule rule = {.tools = fh_json_root(tools), .choice = FH_CALL_AUTO, .answer = fh_json_root(schema)};
    CHECK_STATUS(fh_grammar_from_calls(&g, fh_markup_find(FH_STR("hermes")), &rule, NULL, &err), FH_ERR_UNSUPPORTED);
    CHECK(g == NULL);
    fh_json_free(schema);
    fh_json_free(tools);
}

TEST(markup_grammar, one_tool_and_members_in_any_order) {
    fh_json *tools = NULL;
    fh_err err = {0};
    const fh_markup *m = fh_markup_find(FH_STR("hermes"));
    CHECK_OK(fh_json_parse(&tools, fh_str_of(tools_text), NULL, &err), err);
    fh_grammar *g = compile(m, tools, FH_CALL_NAMED, false);
    check_call(m, g, (call_text){"look", "Ulm", NULL, NULL}, true, "");
    check_call(m, g, (call_text){"ping", NULL, NULL, NULL}, false, "");
    CHECK(takes(g, FH_STR("<tool_call>\n{\"name\": \"look\", \"arguments\": {\"unit\":\"F\", \"city\" : \"\\u00fcb\"}}"
                          "\n</tool_call>")));
    CHECK(!takes(g, FH_STR("<tool_call>\n{\"name\": \"look\", \"arguments\": {\"city\":\"a\", \"city\":\"b\"}}"
                           "\n</tool_call>")));
    CHECK(fh_grammar_get_facts(g).kind == FH_GRAMMAR_CALLS);
    fh_grammar_free(g);
    fh_json_free(tools);
}

/* Values inside values, in the notations that are not JSON. */
TEST(markup_grammar, notations) {
    static const char nested[] =
        "[{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"items\":{"
        "\"$ref\":\"#/$defs/p\"},\"maxItems\":2},\"o\":{\"type\":\"object\"},\"x\":{\"type\":[\"number\",\"null\","
        "\"boolean\"]}},\"required\":[\"l\"],\"$defs\":{\"p\":{\"type\":\"object\",\"properties\":{\"y\":{\"type\":"
        "\"integer\"},\"next\":{\"$ref\":\"#/$defs/p\"}},\"required\":[\"y\"],\"additionalProperties\":false}}}}]";
    static const struct {
        const char *markup, *text;
        bool want;
    } cases[] = {
        {"lfm-2", "f(l=[{\"next\": {\"y\": 2}, \"y\": 1}, {\"y\": -3}], x=None)", true},
        {"lfm-2", "f(l=[], o={\"k\": [1, 2.5, \"z\"], \"m\": {}})", true},
        {"lfm-2", "f(l=[], x=True)", true},
        {"lfm-2", "f(l=[{\"y\": 1}, {\"y\": 1}, {\"y\": 1}])", false},
        {"lfm-2", "f(l=[{\"y\": 1.5}])", false},
        {"lfm-2", "f(l=[{\"z\": 1}])", false},
        {"lfm-2", "f(l=[], x=\"no\")", false},
        {"lfm-2", "f(l=[], o=[])", false},
        {"gemma-4", "call:f{l:[{next:{y:2},y:1}],o:{<|\"|>k<|\"|>:<|\"|>a \"b\"<|\"|>},x:null}", true},
        {"gemma-4", "call:f{l:[]}", true},
        {"gemma-4", "call:f{l:[],x:<|\"|>no<|\"|>}", false},
        {"gemma-4", "call:f{l:[1]}", false},
    };
    fh_json *tools = NULL;
    fh_err err = {0};
    CHECK_OK(fh_json_parse(&tools, fh_str_of(nested), NULL, &err), err);
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        const fh_markup *m = fh_markup_find(fh_str_of(cases[i].markup));
        fh_grammar *g = compile(m, tools, FH_CALL_REQUIRED, false);
        fh_buf b;
        bool gemma = m->quote != NULL;
        fh_buf_init(&b, 4096);
        fh_buf_printf(&b, "%s%s%s", gemma ? "<|tool_call>" : m->section_open, cases[i].text,
                      gemma ? "<tool_call|>" : m->section_close);
        if (takes(g, fh_buf_str(&b)) != cases[i].want)
            fh_test_fail(__FILE__, __LINE__, "%s: %d for '%s'", m->name, !cases[i].want, cases[i].text);
        fh_buf_release(&b);
        fh_grammar_free(g);
    }
    fh_json_free(tools);
}

/* Schemas that say more than parameters of their own can are refused, not weakened. */
TEST(markup_grammar, refusals) {
    static const char *const bad[] = {
        "[{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{"
        "\"type\":\"string\"}},\"minProperties\":1}}]",
        "[{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
        "\"required\":[\"a\",\"z\"]}}]",
        "[{\"name\":\"f\",\"parameters\":{\"type\":\"string\"}}]",
    };
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        fh_json *tools = NULL;
        fh_grammar *g = NULL;
        fh_err err = {0};
        CHECK_OK(fh_json_parse(&tools, fh_str_of(bad[i]), NULL, &err), err);
        fh_call_rule rule = {.tools = fh_json_root(tools), .choice = FH_CALL_REQUIRED};
        fh_status st = fh_grammar_from_calls(&g, fh_markup_find(FH_STR("glm")), &rule, NULL, &err);
        if (i < 2) CHECK_STATUS(st, FH_ERR_UNSUPPORTED);
        else CHECK(st == FH_OK || st == FH_ERR_UNSUPPORTED); /* glm has no place for anything but parameters */
        fh_grammar_free(g);
        g = NULL;
        st = fh_grammar_from_calls(&g, fh_markup_find(FH_STR("hermes")), &rule, NULL, &err);
        CHECK_STATUS(st, i < 2 ? FH_OK : FH_ERR_UNSUPPORTED);
        fh_grammar_free(g);
        fh_json_free(tools);
    }
}

TEST(markup_grammar, memory) {
    fh_json *tools = NULL;
    fh_err err = {0};
    fh_status st = FH_ERR_MEMORY;
    CHECK_OK(fh_json_parse(&tools, fh_str_of(tools_text), NULL, &err), err);
    for (uint64_t nth = 1; st != FH_OK; nth++) {
        fh_grammar *g = NULL;
        fh_call_rule rule = {.tools = fh_json_root(tools), .choice = FH_CALL_AUTO};
        fh_fault_arm(FH_FAULT_ALLOC, nth, false);
        st = fh_grammar_from_calls(&g, fh_markup_find(FH_STR("gemma-4")), &rule, NULL, NULL);
        fh_fault_disarm();
        fh_grammar_free(g);
        CHECK(st == FH_OK || st == FH_ERR_MEMORY);
        CHECK(nth < 10000);
    }
    fh_json_free(tools);
}
