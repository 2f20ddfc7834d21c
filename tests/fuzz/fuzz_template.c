/* tests/fuzz/fuzz_template.c - libFuzzer target for chat templates: any bytes as a template over a fixed conversation.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: a template renders the same twice, a failed render leaves the output untouched, messages
 * name the template, and what came out is valid UTF-8 within the budgets. */
#include "base/num.h"
#include "text/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char values[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"You are \\u00e9\\ud83d\\ude00.\\n\"}, {\"role\": \"user\", "
    "\"content\": [{\"type\": \"text\", \"text\": \" a,b <c> \"}, {\"type\": \"image\"}]}, {\"role\": \"assistant\", "
    "\"content\": null, \"reasoning\": \"hm\", \"tool_calls\": [{\"id\": \"abcdefghi\", \"function\": {\"name\": "
    "\"f\", "
    "\"arguments\": {\"x\": [1, 2.5, true], \"y\": {\"z\": null}}}}]}, {\"role\": \"tool\", \"content\": \"{}\"}], "
    "\"tools\": "
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\"}}}], \"kwargs\": "
    "{\"s\": "
    "\"Hello World\", \"l\": [3, 1, 2], \"d\": {\"b\": 1, \"a\": [2]}, \"n\": -7, \"f\": 0.1, \"big\": "
    "99999999999999999999, "
    "\"t\": true}}";

static const fh_json_node *root(void) {
    static fh_json *doc;
    if (!doc) FH_REQUIRE(fh_json_parse(&doc, fh_str_of(values), NULL, NULL) == FH_OK);
    return fh_json_root(doc);
}

static fh_status render(const fh_template *t, bool resume, fh_buf *out, fh_err *err) {
    static const fh_template_now now = {2026, 3, 9, 7, 5, 2};
    /* no clock: the same input must end the same way */
    static const fh_template_budget budget = {
        .steps = 200000, .output_bytes = (size_t)1 << 20, .memory_bytes = (size_t)8 << 20, .time_ms = UINT32_MAX};
    const fh_template_chat chat = {.messages = fh_json_get(root(), "messages"),
                                   .tools = fh_json_get(root(), "tools"),
                                   .kwargs = fh_json_get(root(), "kwargs"),
                                   .bos_token = FH_STR("<s>"),
                                   .eos_token = FH_STR("</s>"),
                                   .add_generation_prompt = !resume,
                                   .continue_final_message = resume,
                                   .now = &now,
                                   .budget = &budget};
    fh_buf_init(out, (size_t)1 << 21);
    return fh_template_render_chat(t, &chat, out, err);
}

static void check_render(const fh_template *t, bool resume) {
    fh_buf out, again;
    fh_err err = {0}, err2 = {0};
    fh_status s = render(t, resume, &out, &err);
    FH_REQUIRE(render(t, resume, &again, &err2) == s);
    if (s == FH_OK) {
        FH_REQUIRE(fh_str_eq(fh_buf_str(&out), fh_buf_str(&again)));
        FH_REQUIRE(fh_utf8_valid(fh_buf_str(&out)));
    } else {
        FH_REQUIRE(out.len == 0 && strncmp(err.message, "template", 8) == 0);
        FH_REQUIRE(strcmp(err.message, err2.message) == 0);
    }
    fh_buf_release(&out);
    fh_buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_template *t = NULL;
    fh_err err = {0};
    fh_status s = fh_template_compile(&t, (fh_str){(const char *)data, size}, &err);
    if (s != FH_OK) {
        FH_REQUIRE(!t && strncmp(err.message, "template", 8) == 0);
        return 0;
    }
    for (size_t i = 0; i < fh_template_n_variable(t); i++) FH_REQUIRE(fh_template_uses(t, fh_template_variable(t, i)));
    check_render(t, false);
    check_render(t, true);
    fh_template_free(t);
    return 0;
}
