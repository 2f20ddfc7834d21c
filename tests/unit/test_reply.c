/* tests/unit/test_reply.c - text/reply: every markup, cut at every place, broken, cut short, and within its ceilings.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/num.h"
#include "base/rng.h"
#include "reader_loop.h"
#include "reply_text.h"

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},\"deep\":{\"$ref\":\"#/$defs/d\"},"
    "\"any\":{\"anyOf\":[{\"type\":\"number\"},{\"type\":\"null\"}]},\"pick\":{\"enum\":[\"1\",\"2\"]},\"list\":{"
    "\"type\":\"array\",\"items\":{\"type\":"
    "\"string\"}}},\"$defs\":{\"d\":{\"type\":\"boolean\"}},\"required\":[\"city\"]}}},"
    "{\"name\":\"ping\",\"parameters\":{\"type\":\"object\"}}]";

typedef struct reply_case {
    const char *markup;
    fh_markup_start start;
    const char *text, *want;
} reply_case;

static const reply_case cases[] = {
    /* JSON between tags */
    {"hermes", 0, "Hi.\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"city\": \"Ü\"}}\n</tool_call>",
     "T(Hi.)C0(look){\"city\": \"Ü\"}E(0)"},
    {"hermes", 0,
     "<think>\nhm\n</think>\n\n<tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call>\n<tool_call>\n"
     "{\"arguments\": {\"days\" : 2 }, \"name\": \"look\"}\n</tool_call>\n",
     "R(hm)C0(ping){}E(0)C1(look){\"days\" : 2 }E(0)"},
    {"hermes", FH_START_REASONING, "so\n</think>\n\nyes", "R(so)T(yes)"},
    {"hermes", FH_START_REASONING, "<think>so", "R(so)"},
    {"hermes", 0, "a <tool_call> is a tag", "T(a <tool_call> is a tag)"},
    {"hermes", 0, "a <tool_cal", "T(a <tool_cal)"},
    {"hermes", 0, "x <tool_call>\n{\"name\": \"lo", "T(x <tool_call>\n{\"name\": \"lo)"},
    {"hermes", 0, "<tool_call>{\"name\":\"look\",\"arguments\":{\"city\":\"Ul", "C0(look){\"city\":\"UlE(2)"},
    {"hermes", 0, "<tool_call>{\"name\":\"look\",\"arguments\":\"{\\\"city\\\":\\\"Ulm\\\"}\"}</tool_call>",
     "C0(look){\"city\":\"Ulm\"}E(0)"},
    {"hermes", 0, "<tool_call>{\"name\":\"look\",\"arguments\":{\"city\":\"Ulm\"}</tool_call>. Done",
     "C0(look){\"city\":\"Ulm\"}E(4)T(. Done)"},
    {"hermes", 0, "<tool_call>{\"name\":\"nope\",\"arguments\":{}}</tool_call>", "C0(nope){}E(1)"},
    {"hermes", 0, "<tool_call>{\"name\":\"ping\"}</tool_call>ok\n", "C0(ping){}E(0)T(ok\n)"},
    {"hermes", 0, "<tool_call><tool_call>{\"name\":\"ping\"}</tool_call>", "T(<tool_call>)C0(ping){}E(0)"},
    {"hermes", 0, "<tool_call>{\"id\":1,\"function\":{\"name\":\"ping\",\"arguments\":{}}}</tool_call>",
     "C0(ping){}E(0)"},
    {"hermes", 0, "two\n\n<|im_end|>\n", "T(two)"},
    {"hermes", 0, "say <|im_end|> twice", "T(say <|im_end|> twice)"},
    {"mistral-list", 0,
     "[TOOL_CALLS][{\"name\": \"ping\", \"arguments\": {}, \"id\": \"a1\"}, {\"name\": \"look\", "
     "\"arguments\": {\"days\": 1}, \"id\": \"b2\"}]",
     "C0(ping){}E(0)C1(look){\"days\": 1}E(0)"},
    {"mistral-list", 0, "[TOOL_CALLS][{\"id\":\"a1\",\"name\":\"ping\",\"arguments\":{}}]", "C0(ping#a1){}E(0)"},
    {"mistral-args", 0, "On it.[TOOL_CALLS]look[ARGS]{\"days\": 2}[TOOL_CALLS]ping[ARGS]{}",
     "T(On it.)C0(look){\"days\": 2}E(0)C1(ping){}E(0)"},
    {"mistral-args", FH_START_REASONING, "hm[/THINK]ok", "R(hm)T(ok)"},
    {"mistral-id", 0, "[TOOL_CALLS]ping[CALL_ID]a1[ARGS]{}", "C0(ping#a1){}E(0)"},
    {"apertus", 0, "<|tools_prefix|>[{\"look\": {\"days\": 1}}, {\"ping\": {}}]<|tools_suffix|>",
     "C0(look){\"days\": 1}E(0)C1(ping){}E(0)"},
    {"cohere", 0,
     "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"ping\", \"parameters\": {}}\n]"
     "<|END_ACTION|>",
     "C0(ping#0){}E(0)"},
    {"cohere", FH_START_REASONING, "hm<|END_THINKING|><|START_RESPONSE|>yes<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
     "R(hm)T(yes)"},
    {"minimax-m1", 0,
     "<tool_calls>\n{\"name\":\"ping\",\"arguments\":{}}\n{\"name\":\"ping\",\"arguments\":{}}\n"
     "</tool_calls>",
     "C0(ping){}E(0)C1(ping){}E(0)"},
    /* tags around keys and values */
    {"qwen-xml", 0,
     "<tool_call>\n<function=look>\n<parameter=city>\nNew\nUlm \"x\"\n</parameter>\n<parameter=days>\n2\n"
     "</parameter>\n<parameter=deep>\nTrue\n</parameter>\n<parameter=any>\nnull\n</parameter>\n"
     "<parameter=list>\n['a', 'b']\n</parameter>\n</function>\n</tool_call>",
     "C0(look){\"city\": \"New\\nUlm \\\"x\\\"\", \"days\": 2, \"deep\": true, \"any\": null, \"list\": "
     "[\"a\",\"b\"]}E(0)"},
    {"qwen-xml", 0,
     "<tool_call>\n<function=look>\n<parameter=city>\n12\n</parameter>\n<parameter=days>\nfew\n"
     "</parameter>\n</function>\n</tool_call>",
     "C0(look){\"city\": \"12\", \"days\": \"few\"}E(16)"},
    {"qwen-xml", 0, "<tool_call>\n<function=ping>\n</function>\n</tool_call>", "C0(ping){}E(0)"},
    {"qwen-xml", 0, "<tool_call>\n<function=look>\n<parameter=city>\nUl", "C0(look){\"city\": \"UlE(2)"},
    {"glm", 0,
     "</think>Hi<tool_call>look\n<arg_key>city</arg_key>\n<arg_value>Ulm</arg_value>\n<arg_key>days</arg_key>\n"
     "<arg_value>2</arg_value>\n</tool_call><tool_call>ping</tool_call>",
     "T(Hi)C0(look){\"city\": \"Ulm\", \"days\": 2}E(0)C1(ping){}E(0)"},
    {"dsml-3", 0,
     "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"look\">\n<｜DSML｜parameter name=\"city\" "
     "string=\"true\">7</｜DSML｜parameter>\n<｜DSML｜parameter name=\"x\" string=\"false\">[1, 2]"
     "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
     "C0(look){\"city\": \"7\", \"x\": [1, 2]}E(0)"},
    {"minimax-m3", 0,
     "]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"look\">]<]minimax[>[<city>Ulm]<]minimax[>["
     "</city>]<]minimax[>[<list>]<]minimax[>[<item>a]<]minimax[>[</item>]<]minimax[>[<item>1]<]minimax[>["
     "</item>]<]minimax[>[</list>]<]minimax[>[<o>]<]minimax[>[<u>true]<]minimax[>[</u>]<]minimax[>[</o>"
     "]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
     "C0(look){\"city\": \"Ulm\", \"list\": [\"a\",\"1\"], \"o\": {\"u\":true}}E(0)"},
    {"kimi-k3", FH_START_REASONING,
     "hm<|close|>think<|sep|><|open|>response<|sep|>Hi<|close|>response<|sep|><|open|>tools<|sep|><|open|>call "
     "tool=\"look\" "
     "index=\"1\"<|sep|><|open|>argument key=\"days\" "
     "type=\"number\"<|sep|>2<|close|>argument<|sep|><|close|>call<|sep|>"
     "<|close|>tools<|sep|><|close|>message<|sep|><|end_of_msg|>",
     "R(hm)T(Hi)C0(look){\"days\": 2}E(0)"},
    /* marks of their own */
    {"kimi-k2", FH_START_REASONING,
     "hm<|tool_calls_section_begin|><|tool_call_begin|>functions.look:3"
     "<|tool_call_argument_begin|>{\"days\":1}<|tool_call_end|><|tool_calls_section_end|>",
     "R(hm)C0(look#functions.look:3){\"days\":1}E(0)"},
    {"deepseek-3", 0,
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>ping\n```json\n{}\n```"
     "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n{\"days\": 1}\n```"
     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     "C0(ping){}E(0)C1(look){\"days\": 1}E(0)"},
    {"deepseek-3.1", 0,
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>ping<｜tool▁sep｜>{}<｜tool▁call▁end｜>what"
     "<｜tool▁calls▁end｜>",
     "C0(ping){}E(0)T(what)"},
    {"gemma-4", 0,
     "<|tool_call>call:look{city:<|\"|>a \"b\"<|\"|>,days:2,list:[<|\"|>x<|\"|>,<|\"|>y<|\"|>],o:{u:true}}"
     "<tool_call|>",
     "C0(look){\"city\": \"a \\\"b\\\"\", \"days\": 2, \"list\": [\"x\", \"y\"], \"o\": {\"u\": true}}E(0)"},
    {"gemma-4", 0, "<|channel>thought\nhm<channel|>ok<turn|>", "R(hm)T(ok)"},
    {"solar", 0,
     "<|think|>hm<|end|><|begin|>assistant<|tool_calls|><|tool_call:begin|>a1<|tool_call:name|>ping"
     "<|tool_call:args|>{}<|tool_call:end|><|calls|>",
     "R(hm)C0(ping#a1){}E(0)"},
    /* channels */
    {"harmony", FH_START_HEADER,
     "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary "
     "to=functions.look <|constrain|>json<|message|>{\"days\":1}<|call|>",
     "R(hm)C0(look){\"days\":1}E(0)"},
    {"harmony", FH_START_HEADER, " to=functions.ping<|channel|>commentary json<|message|>{}<|call|>", "C0(ping){}E(0)"},
    {"harmony", FH_START_HEADER, "<|channel|>final<|message|>yes<|return|>", "T(yes)"},
    {"harmony", FH_START_HEADER, "plain words", "T(plain words)"},
    {"atem", FH_START_HEADER,
     " to=self<|message|>hm<|eom|><|start|>assistant to=look<|message|><atem:function_calls>\n"
     "<atem:invoke name=\"look\">\n<atem:parameter name=\"days\">2</atem:parameter>\n"
     "</atem:invoke>\n</atem:function_calls><|eot|>",
     "R(hm)C0(look){\"days\": 2}E(0)"},
    {"functionary-3.2", FH_START_HEADER, "all\nHi\n>>>look\n{\"days\":1}", "T(Hi)C0(look){\"days\":1}E(0)"},
    /* Python */
    {"lfm-2", 0,
     "Hi<|tool_call_start|>[look(city='O\\'H', days=2, list=['a', \"b\"], deep=True), ping()]<|tool_call_end|>",
     "T(Hi)C0(look){\"city\": \"O'H\", \"days\": 2, \"list\": [\"a\",\"b\"], \"deep\": true}E(0)C1(ping){}E(0)"},
    {"llama-4", 0, "[look(city=\"Ulm\"), ping()]", "C0(look){\"city\": \"Ulm\"}E(0)C1(ping){}E(0)"},
    {"llama-4", 0, "[look at this](link)", "T([look at this](link))"},
    {"llama-4", 0, "[nope(a=1)]", "T([nope(a=1)])"},
    /* a call is the whole reply */
    {"llama-3", 0, "{\"name\": \"look\", \"parameters\": {\"city\": \"Ulm\"}}", "C0(look){\"city\": \"Ulm\"}E(0)"},
    {"llama-3", 0, "<|python_tag|>{\"name\": \"ping\", \"parameters\": {}}<|eom_id|>", "C0(ping){}E(0)"},
    {"llama-3", 0, "{\"name\": \"look\", \"age\": 3}", "T({\"name\": \"look\", \"age\": 3})"},
    {"llama-3", 0, "{\"name\": \"Bob\", \"parameters\": {}}", "T({\"name\": \"Bob\", \"parameters\": {}})"},
    {"llama-3", 0, "Use {\"name\": \"look\"}", "T(Use {\"name\": \"look\"})"},
    /* no calls */
    {"plain", 0, "<think>a</think>b", "R(a)T(b)"},
    {"plain", 0, "a <think>b", "T(a )R(b)"},
    {"plain", 0, "a </think> b  ", "T(a </think> b  )"},
    {"plain", 0, "Grüße, 你好 😀", "T(Grüße, 你好 😀)"},
    {"plain", FH_START_REASONING, "Grüße </think>你", "R(Grüße)T(你)"},
    {"hermes", 0, "<tool_call>{\"na<tool_call>{\"name\":\"ping\"}</tool_call>", "T(<tool_call>{\"na)C0(ping){}E(0)"},
    {"glm", 0, "<tool_call>look<arg_key>pick</arg_key><arg_value>1</arg_value></tool_call>",
     "C0(look){\"pick\": \"1\"}E(0)"},
    {"plain", 0, "", ""},
};

static fh_json *read_tools(void) {
    fh_json *doc = NULL;
    fh_err err = {0};
    CHECK_OK(fh_json_parse(&doc, fh_str_of(tools_text), NULL, &err), err);
    return doc;
}

static size_t cut_one(void *user, size_t left) {
    (void)user;
    (void)left;
    return 1;
}

static size_t cut_random(void *user, size_t left) {
    size_t n = 1 + (size_t)fh_rng_below(user, 12);
    return n < left ? n : left;
}

static void check_read(const reply_case *c, const fh_json_node *tools, reply_text_cut *cut, void *user) {
    reply_text t;
    fh_err err = {0};
    fh_reply_options opt = {.tools = tools, .start = c->start};
    const fh_markup *m = fh_markup_find(fh_str_of(c->markup));
    CHECK(m);
    CHECK_OK(reply_text_read(&t, m, &opt, fh_str_of(c->text), cut, user, &err), err);
    fh_str got = fh_buf_str(&t.out);
    bool ok = fh_str_is(got, c->want) && !t.half && t.n_call == t.n_end;
    char copy[700] = "";
    (void)fh_str_copy(copy, sizeof copy, got);
    fh_buf_release(&t.out);
    if (!ok)
        fh_test_fail(__FILE__, __LINE__, "%s: %s\n  gives    %s\n  expected %s", c->markup, c->text, copy, c->want);
}

TEST(reply, markups_read_as_meant) {
    fh_json *tools = read_tools();
    for (size_t i = 0; i < FH_COUNT(cases); i++) check_read(&cases[i], fh_json_root(tools), NULL, NULL);
    fh_json_free(tools);
}

TEST(reply, cuts_make_no_difference) {
    fh_json *tools = read_tools();
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 4);
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        check_read(&cases[i], fh_json_root(tools), cut_one, NULL);
        for (int k = 0; k < 50; k++) check_read(&cases[i], fh_json_root(tools), cut_random, &rng);
    }
    fh_json_free(tools);
}

/* Pieces of markup in random order: whole and in pieces give the same, and every call ends. */
TEST(reply, nonsense_cut_anywhere_reads_the_same) {
    fh_json *tools = read_tools();
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 5);
    for (int round = 0; round < 4000; round++) {
        char text[2048];
        size_t n = 0;
        const reply_case *c = &cases[fh_rng_below(&rng, FH_COUNT(cases))];
        const fh_markup *m = fh_markup_find(fh_str_of(c->markup));
        while (n < 1000 && fh_rng_below(&rng, 8) != 0) {
            const reply_case *from = fh_rng_below(&rng, 3) ? c : &cases[fh_rng_below(&rng, FH_COUNT(cases))];
            size_t len = strlen(from->text);
            if (len == 0) continue;
            size_t at = (size_t)fh_rng_below(&rng, len), part = (size_t)fh_rng_below(&rng, len - at + 1);
            memcpy(text + n, from->text + at, part);
            n += part;
        }
        fh_reply_options opt = {.tools = fh_rng_below(&rng, 2) ? fh_json_root(tools) : NULL,
                                .start = (fh_markup_start)fh_rng_below(&rng, 3),
                                .max_args = fh_rng_below(&rng, 3) ? 0 : 1 + (size_t)fh_rng_below(&rng, 64),
                                .max_call = (uint32_t)fh_rng_below(&rng, 3)};
        reply_text whole, cut;
        fh_err err = {0};
        CHECK_OK(reply_text_read(&whole, m, &opt, (fh_str){text, n}, NULL, NULL, &err), err);
        CHECK_OK(reply_text_read(&cut, m, &opt, (fh_str){text, n}, cut_random, &rng, &err), err);
        CHECK_U64(whole.n_call, whole.n_end);
        bool same = fh_str_eq(fh_buf_str(&whole.out), fh_buf_str(&cut.out));
        if (!same)
            fh_test_fail(__FILE__, __LINE__, "%s: %.*s\n  whole %.*s\n  cut   %.*s", c->markup, (int)n, text,
                         (int)whole.out.len, (char *)whole.out.ptr, (int)cut.out.len, (char *)cut.out.ptr);
        fh_buf_release(&whole.out);
        fh_buf_release(&cut.out);
    }
    fh_json_free(tools);
}

TEST(reply, calls_can_be_left_as_text) {
    static const reply_case c = {"hermes", 0, "<think>a</think>x <tool_call>{\"name\":\"ping\"}</tool_call>", ""};
    reply_text t;
    fh_err err = {0};
    fh_reply_options opt = {.no_calls = true};
    CHECK_OK(reply_text_read(&t, fh_markup_find(FH_STR("hermes")), &opt, fh_str_of(c.text), cut_one, NULL, &err), err);
    CHECK_STR(fh_buf_str(&t.out), "R(a)T(x <tool_call>{\"name\":\"ping\"}</tool_call>)");
    fh_buf_release(&t.out);
}

/* An answer with a format may spell what it likes, at any cut; reasoning and calls before it are what they are. */
TEST(reply, an_answer_of_one_piece) {
    static const char *const text[][2] = {
        {"<think>a</think>{\"x\": \"<tool_call><think>\"}", "R(a)T({\"x\": \"<tool_call><think>\"})"},
        {"{\"x\": \"</think>\"}", "T({\"x\": \"</think>\"})"},
        {"<tool_call>{\"name\":\"ping\",\"arguments\":{}}</tool_call>", "C0(ping){}E(0)"}};
    for (size_t i = 0; i < FH_COUNT(text); i++) {
        for (int whole = 0; whole < 2; whole++) {
            reply_text t;
            fh_err err = {0};
            fh_reply_options opt = {.one_piece = true};
            CHECK_OK(reply_text_read(&t, fh_markup_find(FH_STR("hermes")), &opt, fh_str_of(text[i][0]),
                                     whole ? NULL : cut_one, NULL, &err),
                     err);
            CHECK_STR(fh_buf_str(&t.out), text[i][1]);
            fh_buf_release(&t.out);
        }
    }
}

/* Where one tag begins with another, the longer one counts, and is waited for. */
TEST(reply, the_longer_tag_wins) {
    static const fh_markup m = {.name = "own", .think_open = "<a>", .think_close = "</a>", .drop = {"<a>b"}};
    static const struct { const char *text, *want; } list[] = {{"<a>b x", "T(x)"}, {"<a>c", "R(c)"}, {"<a>", ""}};
    for (size_t i = 0; i < FH_COUNT(list); i++) {
        for (int one = 0; one < 2; one++) {
            reply_text t;
            fh_err err = {0};
            CHECK_OK(reply_text_read(&t, &m, NULL, fh_str_of(list[i].text), one ? cut_one : NULL, NULL, &err), err);
            CHECK_STR(fh_buf_str(&t.out), list[i].want);
            fh_buf_release(&t.out);
        }
    }
}

TEST(reply, ceilings_end_calls_and_lose_nothing) {
    reply_text t;
    fh_err err = {0};
    fh_reply_options opt = {.max_args = 10, .max_call = 1};
    const fh_markup *m = fh_markup_find(FH_STR("hermes"));
    fh_str text = FH_STR("<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"0123456789\"}}</tool_call>");
    CHECK_OK(reply_text_read(&t, m, &opt, text, cut_one, NULL, &err), err);
    CHECK_STR(fh_buf_str(&t.out), "C0(f){\"a\":\"0123E(40)T(456789\"}})");
    fh_buf_release(&t.out);
    opt.max_args = 0;
    text = FH_STR("<tool_call>{\"name\":\"f\"}</tool_call><tool_call>{\"name\":\"g\"}</tool_call>");
    CHECK_OK(reply_text_read(&t, m, &opt, text, NULL, NULL, &err), err);
    CHECK_STR(fh_buf_str(&t.out), "C0(f){}E(0)T(<tool_call>{\"name\":\"g\"}</tool_call>)");
    fh_buf_release(&t.out);
}

/* More keys, empty values, commas, and names than any ceiling: never an error, and nothing beyond the ceiling. */
TEST(reply, floods_end_at_the_ceiling) {
    static const struct {
        const char *markup, *head, *part;
    } floods[] = {{"qwen-xml", "<tool_call>\n<function=f>\n", "<parameter=k>\n\n</parameter>\n"},
                  {"glm", "<tool_call>f\n", "<arg_key>\x01\x01k</arg_key><arg_value>\x01\x01\x01</arg_value>"},
                  {"gemma-4", "<|tool_call>call:f{k:[", ","},
                  {"gemma-4", "<|tool_call>call:f{", "k:<|\"|>\x01\x01<|\"|>,"},
                  {"lfm-2", "<|tool_call_start|>[f(", "k='\x01',"},
                  {"hermes", "<tool_call>{", "\"kkkkkkkkkkkkkkkkkkkkkkkkkkkk\":1,"},
                  {"hermes", "<tool_call>{\"", "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"},
                  {"hermes", "<tool_call>", "            \n       "},
                  {"hermes", "<tool_call>{\"arguments\":{", "\"a\":\"\\n\","}};
    for (size_t i = 0; i < FH_COUNT(floods); i++) {
        fh_buf text;
        reply_text t;
        fh_err err = {0};
        fh_reply_options opt = {.max_args = 3000};
        fh_buf_init(&text, (size_t)2 << 20);
        fh_buf_add_z(&text, floods[i].head);
        while (text.len < 600000) fh_buf_add_z(&text, floods[i].part);
        CHECK_OK(
            reply_text_read(&t, fh_markup_find(fh_str_of(floods[i].markup)), &opt, fh_buf_str(&text), NULL, NULL, &err),
            err);
        CHECK(t.n_call == t.n_end && t.out.len > 300000);
        fh_buf_release(&t.out);
        fh_buf_release(&text);
    }
}

/* One byte at a time, openings that come to nothing: the time per byte stays the same. */
TEST(reply, long_nonsense_takes_linear_work) {
    static const char *const parts[] = {"<tool_call>{\"arguments\":\"", "<tool_call>", "\n\n\n\n", "{\"name\":\"",
                                        "<|im_end|>"};
    for (size_t p = 0; p < FH_COUNT(parts); p++) {
        fh_buf text;
        reply_text t;
        fh_err err = {0};
        fh_buf_init(&text, (size_t)1 << 20);
        while (text.len < 200000) fh_buf_add_z(&text, parts[p]);
        CHECK_OK(reply_text_read(&t, fh_markup_find(FH_STR("hermes")), NULL, fh_buf_str(&text), cut_one, NULL, &err),
                 err);
        CHECK(t.out.len >= text.len - 128);
        fh_buf_release(&t.out);
        fh_buf_release(&text);
    }
}

static fh_status read_case_text(fh_str text, fh_err *err) {
    reply_text t;
    fh_json *tools = NULL;
    FH_TRY(fh_json_parse(&tools, fh_str_of(tools_text), NULL, err));
    fh_reply_options opt = {.tools = fh_json_root(tools)};
    static const char *const names[] = {"hermes", "qwen-xml", "gemma-4", "lfm-2", "minimax-m3"};
    fh_status s = FH_OK;
    for (size_t i = 0; i < FH_COUNT(names) && s == FH_OK; i++) {
        s = reply_text_read(&t, fh_markup_find(fh_str_of(names[i])), &opt, text, cut_random, &(fh_rng){.left = 0}, err);
        fh_buf_release(&t.out);
    }
    fh_json_free(tools);
    return s;
}

TEST(reply, every_allocation_may_fail) {
    for (size_t i = 0; i < FH_COUNT(cases); i += 7) fail_every_allocation(read_case_text, fh_str_of(cases[i].text), 3);
    fail_every_allocation(read_case_text, fh_str_of(cases[25].text), 3);
}
