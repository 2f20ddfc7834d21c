/* tests/fuzz/fuzz_gguf_vocab.c - libFuzzer target for the vocabulary of a GGUF.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: what was read keeps the promises of vocab.h, a refusal names no byte outside
 * the file, memory stays within its bound and nothing leaks. */
#include "format/gguf_vocab.h"
#include "vocab_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void check(const fh_gguf *g, size_t size) {
    fh_vocab *v = NULL;
    fh_err err = {0};
    fh_str name, text;
    size_t at = 0;
    fh_status s = fh_gguf_vocab_read(&v, g, &err);
    FH_REQUIRE((s == FH_OK) == (v != NULL));
    if (v) sink = walk_vocab(v);
    else FH_REQUIRE(err.status == s && err.message[0] && (err.offset <= size || err.offset == FH_NO_OFFSET));
    fh_vocab_free(v);
    while (fh_gguf_vocab_next_template(g, &at, &name, &text)) sink += walk_text(name) + walk_text(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_gguf *g = NULL;
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_mem_reset_peak();
    if (fh_gguf_open(&g, (fh_bytes){data, size}, NULL) != FH_OK) return 0;
    check(g, size);
    FH_REQUIRE(fh_mem_get_stats().peak_bytes - live <= 2 * (uint64_t)size + (16u << 20));
    fh_gguf_close(g);
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    return 0;
}
