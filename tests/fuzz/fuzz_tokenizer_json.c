/* tests/fuzz/fuzz_tokenizer_json.c - libFuzzer target for the tokenizer files that are text:
 * tokenizer.json, tekken.json and tiktoken ranks, all three on each input.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: what was read keeps the promises of vocab.h, a text that reads is
 * well-formed JSON, a refusal has a message and names no byte outside the text, memory stays within
 * its bound and nothing leaks. */
#include "format/tekken.h"
#include "format/tiktoken.h"
#include "format/tokenizer_json.h"
#include "vocab_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that every byte handed out is really read */

static uint64_t walk_tree(const fh_json_node *n) {
    uint64_t sum = 0;
    for (uint32_t i = 0; n && i < n->span; i++) sum += walk_text(n[i].key) + walk_text(n[i].text);
    return sum;
}

static fh_status read_hf(fh_str text, fh_err *err) {
    fh_tokenizer_json *t = NULL;
    fh_status s = fh_tokenizer_json_parse(&t, text, err);
    FH_REQUIRE((s == FH_OK) == (t != NULL));
    if (!t) return s;
    sink = walk_vocab(fh_tokenizer_json_vocab(t));
    for (int p = 0; p < FH_TOKENIZER_PART_COUNT; p++)
        sink += walk_tree(fh_tokenizer_json_part(t, (fh_tokenizer_part)p));
    fh_tokenizer_json_free(t);
    return s;
}

static fh_status read_tekken(fh_str text, fh_err *err) {
    fh_vocab *v = NULL;
    fh_status s = fh_tekken_parse(&v, text, err);
    FH_REQUIRE((s == FH_OK) == (v != NULL));
    if (v) sink = walk_vocab(v);
    fh_vocab_free(v);
    return s;
}

static fh_status read_tiktoken(fh_str text, fh_err *err) {
    static const fh_tiktoken_special special = {{"<end>", 5}, 70000, FH_ADDED_SPECIAL};
    fh_vocab *v = NULL;
    fh_status s = fh_tiktoken_parse(&v, text, &special, 1, err);
    FH_REQUIRE((s == FH_OK) == (v != NULL));
    if (v) sink = walk_vocab(v);
    fh_vocab_free(v);
    return s;
}

static fh_status well_formed(fh_str text) {
    fh_json_reader r;
    fh_json_event ev;
    fh_json_reader_init(&r, text);
    fh_status s = fh_json_next(&r, &ev, NULL);
    if (s == FH_OK) s = fh_json_skip(&r, &ev, NULL);
    if (s == FH_OK) s = fh_json_expect(&r, FH_JSON_END, &ev, "text", NULL);
    fh_json_reader_release(&r);
    return s;
}

static fh_status check(fh_status (*read)(fh_str, fh_err *), fh_str text) {
    fh_err err = {0};
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_mem_reset_peak();
    fh_status s = read(text, &err);
    FH_REQUIRE(fh_mem_get_stats().peak_bytes - live <= 2 * (uint64_t)text.len + (16u << 20));
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    if (s != FH_OK) FH_REQUIRE(err.status == s && err.message[0]);
    if (s != FH_OK) FH_REQUIRE(err.offset <= text.len || err.offset == FH_NO_OFFSET);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_str text = {(const char *)data, size};
    if (check(read_hf, text) == FH_OK) FH_REQUIRE(well_formed(text) == FH_OK);
    if (check(read_tekken, text) == FH_OK) FH_REQUIRE(well_formed(text) == FH_OK);
    check(read_tiktoken, text);
    return 0;
}
