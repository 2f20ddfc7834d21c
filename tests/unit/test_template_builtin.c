/* tests/unit/test_template_builtin.c - our own templates against golden prompts and the publishers' encoders.
 * SPDX-License-Identifier: Apache-2.0
 * Mistral: texts of mistral-common 1.13.1 (encode_chat_completion(...).text of tokenizers v1, v2, v3, v3 tekken and v7,
 * the marks for blanks and newlines written out). DeepSeek, Phi-3, Gemma: the whole golden data, where it is. */
#include "base/file.h"
#include "base/num.h"
#include "test.h"
#include "text/template_builtin.h"

static fh_json *json(fh_str text) {
    fh_json *doc = NULL;
    fh_err err = {0};
    CHECK_OK(fh_json_parse(&doc, text, NULL, &err), err);
    return doc;
}

static void render(const char *name, const fh_template_chat *chat, fh_buf *out) {
    fh_template *t = NULL;
    fh_err err = {0};
    const fh_template_builtin *b = fh_template_builtin_find(fh_str_of(name));
    CHECK(b);
    CHECK_OK(fh_template_builtin_compile(&t, b, &err), err);
    fh_buf_clear(out);
    fh_status s = fh_template_render_chat(t, chat, out, &err);
    fh_template_free(t);
    if (s != FH_OK) fh_test_fail(__FILE__, __LINE__, "%s: %s", name, err.message);
}

static void gives(int line, const char *name, const char *messages, const char *tools, const char *want) {
    fh_json *m = json(fh_str_of(messages)), *t = tools ? json(fh_str_of(tools)) : NULL;
    fh_buf out;
    const fh_template_chat chat = {.messages = fh_json_root(m),
                                   .tools = t ? fh_json_root(t) : NULL,
                                   .bos_token = FH_STR("<s>"),
                                   .eos_token = FH_STR("</s>"),
                                   .add_generation_prompt = true};
    fh_buf_init(&out, 1u << 20);
    render(name, &chat, &out);
    if (!fh_str_is(fh_buf_str(&out), want))
        fh_test_fail(__FILE__, line, "%s gives '%.*s', expected '%s'", name, FH_STR_ARG(fh_buf_str(&out)), want);
    fh_buf_release(&out);
    fh_json_free(m);
    fh_json_free(t);
}
#define GIVES(...) gives(__LINE__, __VA_ARGS__)

#define SYSTEM "{\"role\": \"system\", \"content\": \"S\"}, "
#define USER(t) "{\"role\": \"user\", \"content\": \"" t "\"}"
#define MODEL(t) "{\"role\": \"assistant\", \"content\": \"" t "\"}"

TEST(template_builtin, all_compile) {
    fh_err err = {0};
    for (size_t i = 0; i < fh_template_n_builtin(); i++) {
        fh_template *t = NULL;
        CHECK_OK(fh_template_builtin_compile(&t, fh_template_builtin_at(i), &err), err);
        CHECK(fh_template_uses(t, FH_STR("messages")));
        fh_template_free(t);
    }
    CHECK(!fh_template_builtin_at(fh_template_n_builtin()) && !fh_template_builtin_find(FH_STR("nope")));
}

TEST(template_builtin, mistral_turns) {
    const char *talk = "[" SYSTEM USER("a") ", " MODEL("b") ", " USER("c") "]";
    GIVES("mistral-v1", talk, NULL, "<s> [INST] S\n\na [/INST] b</s> [INST] c [/INST]");
    GIVES("mistral-v2", talk, NULL, "<s>[INST] a[/INST] b</s>[INST] S\n\nc[/INST]");
    GIVES("mistral-v3", talk, NULL, "<s>[INST] a[/INST] b</s>[INST] S\n\nc[/INST]");
    GIVES("mistral-v3-tekken", talk, NULL, "<s>[INST]a[/INST]b</s>[INST]S\n\nc[/INST]");
    GIVES("mistral-v7", talk, NULL, "<s>[SYSTEM_PROMPT] S[/SYSTEM_PROMPT][INST] a[/INST] b</s>[INST] c[/INST]");
}

TEST(template_builtin, mistral_tools) {
    const char *tools = "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"description\": \"d \u00e9\", "
                        "\"parameters\": {\"type\": \"object\"}}}]";
    const char *talk = "[" SYSTEM USER(
        "a") ", {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": "
             "\"abcdefghi\", \"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": "
             "\"{\\\"x\\\": \\\"\u00e9\\\"}\"}}]}, {\"role\": \"tool\", \"tool_call_id\": \"abcdefghi\", "
             "\"content\": \"res\"}, " MODEL("done") ", " USER("more") "]";
#define TOOLS \
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"description\": \"d \u00e9\", " \
    "\"parameters\": {\"type\": \"object\"}}}][/AVAILABLE_TOOLS]"
#define CALL "[{\"name\": \"f\", \"arguments\": {\"x\": \"\u00e9\"}, \"id\": \"abcdefghi\"}]</s>"
    GIVES("mistral-v2", talk, tools, "<s>[INST] a[/INST] done</s>[AVAILABLE_TOOLS] " TOOLS "[INST] S\n\nmore[/INST]");
    GIVES("mistral-v3", talk, tools,
          "<s>[INST] a[/INST][TOOL_CALLS] " CALL "[TOOL_RESULTS] {\"content\": \"res\", \"call_id\": \"abcdefghi\"}"
          "[/TOOL_RESULTS] done</s>[AVAILABLE_TOOLS] " TOOLS "[INST] S\n\nmore[/INST]");
    GIVES("mistral-v3-tekken", talk, tools,
          "<s>[INST]a[/INST][TOOL_CALLS]" CALL "[TOOL_RESULTS]{\"content\": \"res\", \"call_id\": \"abcdefghi\"}"
          "[/TOOL_RESULTS]done</s>[AVAILABLE_TOOLS]" TOOLS "[INST]S\n\nmore[/INST]");
    GIVES("mistral-v7", talk, tools,
          "<s>[SYSTEM_PROMPT] S[/SYSTEM_PROMPT][INST] a[/INST][TOOL_CALLS] " CALL "[TOOL_RESULTS] abcdefghi"
          "[TOOL_CONTENT] res[/TOOL_RESULTS] done</s>[AVAILABLE_TOOLS] " TOOLS "[INST] more[/INST]");
}

TEST(template_builtin, plain_families) {
    const char *talk = "[" SYSTEM USER("a") "]";
    GIVES("chatml", talk, NULL,
          "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n");
    GIVES("llama2", talk, NULL, "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST]");
    GIVES(
        "llama3",
        "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \" a\"}, {\"type\": \"image\"}]}]", NULL,
        "<s><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
}

/* ---- the whole golden data ---- */

static fh_json *golden(const char *name) {
    char path[FH_PATH_MAX], file[128];
    fh_buf text;
    fh_err err = {0};
    snprintf(file, sizeof file, "templates/%s.json", name);
    CHECK_OK(fh_path_join(path, fh_test_shared(), fh_str_of(file), &err), err);
    fh_buf_init(&text, (size_t)64 << 20);
    CHECK_OK(fh_file_read(path, &text, &err), err);
    fh_json *doc = json(fh_buf_str(&text));
    fh_buf_release(&text);
    return doc;
}

static bool is_case(const fh_json_node *c, const char *name) {
    fh_str s = {NULL, 0};
    return fh_json_to_str(fh_json_get(c, "name"), &s) && fh_str_is(s, name);
}

/* Cases where the reference gives a prompt. Lists of parts are left out: ours joins their texts, the reference prints
 * the list. plain: only those without system prompt, tools and arguments. */
static void agrees(const char *builtin, const char *name, bool plain) {
    fh_json *doc = golden(name);
    const fh_json_node *root = fh_json_root(doc), *cases = fh_json_get(root, "cases");
    fh_buf out;
    size_t n = 0;
    fh_buf_init(&out, 1u << 20);
    for (const fh_json_node *c = fh_json_first(cases); c; c = fh_json_after(cases, c)) {
        fh_template_chat chat = {.messages = fh_json_get(c, "messages"),
                                 .tools = fh_json_get(c, "tools"),
                                 .kwargs = fh_json_get(c, "kwargs")};
        fh_str want;
        if (!fh_json_to_str(fh_json_get(c, "expected"), &want) || is_case(c, "parts") || is_case(c, "image-part"))
            continue;
        if (fh_json_is(chat.tools, FH_JSON_NULL)) chat.tools = NULL;
        CHECK(fh_json_to_str(fh_json_get(root, "bos_token"), &chat.bos_token));
        CHECK(fh_json_to_str(fh_json_get(root, "eos_token"), &chat.eos_token));
        CHECK(fh_json_to_bool(fh_json_get(c, "add_generation_prompt"), &chat.add_generation_prompt));
        if (plain &&
            (!chat.add_generation_prompt || chat.kwargs->n_child ||
             !(is_case(c, "one") || is_case(c, "multi") || is_case(c, "empty") || is_case(c, "assistant-last"))))
            continue;
        render(builtin, &chat, &out);
        if (!fh_str_eq(fh_buf_str(&out), want))
            fh_test_fail(__FILE__, __LINE__, "%s, %s gives '%.*s', expected '%.*s'", builtin, name,
                         FH_STR_ARG(fh_buf_str(&out)), FH_STR_ARG(want));
        n++;
    }
    CHECK(n >= (plain ? 4u : 30u));
    fh_buf_release(&out);
    fh_json_free(doc);
}

TEST_GOLDEN(template_builtin, golden_deepseek_v4) { agrees("deepseek-v4", "deepseek-ai-DeepSeek-V4", false); }
TEST_GOLDEN(template_builtin, golden_deepseek_v32) { agrees("deepseek-v3.2", "deepseek-ai-DeepSeek-V3.2", false); }
TEST_GOLDEN(template_builtin, golden_phi3) { agrees("phi3", "microsoft-Phi-3.5-mini-instruct", true); }
TEST_GOLDEN(template_builtin, golden_gemma) { agrees("gemma", "google-gemma-2-2b-it", true); }

/* ---- which model gets which ---- */

static bool has_any(void *ctx, fh_str token) {
    for (const char *const *z = ctx; *z; z++)
        if (fh_str_is(token, *z)) return true;
    return false;
}

static const char *pick(const char *architecture, const char *tokenizer, const char *const *tokens) {
    const char *why = NULL, *list[4] = {NULL, NULL, NULL, NULL};
    for (size_t i = 0; i < 3 && tokens[i]; i++) list[i] = tokens[i];
    const fh_template_hint hint = {fh_str_of(architecture), fh_str_of(tokenizer), has_any, (void *)list};
    const fh_template_builtin *b = fh_template_builtin_pick(&hint, &why);
    CHECK(!b || (why && why[0]));
    return b ? b->name : "";
}
#define TOKENS(...) ((const char *const[]){__VA_ARGS__, NULL})

TEST(template_builtin, picks_by_architecture_and_tokens) {
    CHECK_STR(fh_str_of(pick("deepseek4", "", TOKENS(NULL))), "deepseek-v4");
    CHECK_STR(fh_str_of(pick("llama", "", TOKENS("<|im_start|>", "<|im_end|>"))), "chatml");
    CHECK_STR(fh_str_of(pick("llama", "", TOKENS("<|start_header_id|>", "<|eot_id|>"))), "llama3");
    CHECK_STR(fh_str_of(pick("mistral", "tekken.json", TOKENS("[AVAILABLE_TOOLS]", "[TOOL_CALLS]"))),
              "mistral-v3-tekken");
    CHECK_STR(fh_str_of(pick("mistral", "", TOKENS("[AVAILABLE_TOOLS]", "[TOOL_CALLS]"))), "mistral-v3");
    CHECK_STR(fh_str_of(pick("mixtral", "", TOKENS("<s>"))), "mistral-v1");
    CHECK_STR(fh_str_of(pick("llama", "", TOKENS("<s>"))), "");
}
