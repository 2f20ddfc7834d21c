/* tests/fuzz/fuzz_sentencepiece.c - libFuzzer target for SentencePiece models.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: what was read keeps the promises of vocab.h, a refusal names no byte outside
 * the file, memory stays within its bound and nothing leaks. */
#include "format/sentencepiece.h"
#include "vocab_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_vocab *v = NULL;
    fh_err err = {0};
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_mem_reset_peak();
    fh_status s = fh_sentencepiece_parse(&v, (fh_bytes){data, size}, &err);
    FH_REQUIRE(fh_mem_get_stats().peak_bytes - live <= 2 * (uint64_t)size + (16u << 20));
    FH_REQUIRE((s == FH_OK) == (v != NULL));
    if (v) {
        sink = walk_vocab(v);
        FH_REQUIRE(v->n_id == v->n_token && v->score && v->special[FH_SPECIAL_UNK] != FH_VOCAB_NO_ID);
    } else {
        FH_REQUIRE(err.status == s && err.message[0]);
        FH_REQUIRE(err.offset <= size || err.offset == FH_NO_OFFSET);
    }
    fh_vocab_free(v);
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    return 0;
}
