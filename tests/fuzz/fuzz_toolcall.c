/* tests/fuzz/fuzz_toolcall.c - libFuzzer target for text/reply: markup, options and text from the input.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: no text makes it fail, every call that begins ends, pieces read as the whole does, and without
 * calls or reasoning to be read nothing but layout is lost. */
#include "base/num.h"
#include "reply_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},\"list\":{\"type\":\"array\"}}}}},{\"name\":"
    "\"ping\"}]";

static size_t cut_as_told(void *user, size_t left) {
    uint32_t *state = user;
    *state = *state * 1664525u + 1013904223u;
    size_t n = 1 + (*state >> 24) % 16;
    return FH_MIN(n, left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4) return 0;
    const fh_markup *m = fh_markup_known(data[0] % fh_markup_n_known());
    fh_json *tools = NULL;
    fh_err err = {0};
    uint32_t state = data[3];
    FH_REQUIRE(fh_json_parse(&tools, fh_str_of(tools_text), NULL, &err) == FH_OK);
    fh_reply_options opt = {.tools = data[1] & 1 ? fh_json_root(tools) : NULL,
                            .start = (fh_markup_start)(data[1] / 2 % 3),
                            .no_calls = (data[1] & 0xE0) == 0xE0,
                            .max_args = data[2] & 1 ? data[2] : 0,
                            .max_call = data[2] & 2 ? 2 : 0};
    fh_str text = {(const char *)data + 4, size - 4};
    reply_text whole, cut;
    FH_REQUIRE(reply_text_read(&whole, m, &opt, text, NULL, NULL, &err) == FH_OK);
    FH_REQUIRE(reply_text_read(&cut, m, &opt, text, cut_as_told, &state, &err) == FH_OK);
    FH_REQUIRE(whole.n_call == whole.n_end && cut.n_call == cut.n_end);
    FH_REQUIRE(fh_str_eq(fh_buf_str(&whole.out), fh_buf_str(&cut.out)));
    if (fh_utf8_valid(text)) FH_REQUIRE(!whole.half && !cut.half);
    fh_buf_release(&whole.out);
    fh_buf_release(&cut.out);
    fh_json_free(tools);
    return 0;
}
