/* tests/fuzz/fuzz_gguf.c - libFuzzer target for format/gguf.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: a refusal names a byte of the file, memory stays under its ceiling,
 * everything that the header promises about an opened file holds, and the writer's rules take what
 * the reader took. */
#include "gguf_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that every byte handed out is really read */

static void check_rebuild(const fh_gguf *g) {
    fh_gguf_build *b = NULL;
    fh_err err = {0};
    FH_REQUIRE(fh_gguf_build_new(&b, &err) == FH_OK);
    for (size_t i = 0; i < fh_gguf_n_kv(g); i++)
        FH_REQUIRE(fh_gguf_build_add_kv(b, fh_gguf_get_kv(g, i), &err) == FH_OK);
    for (size_t i = 0; i < fh_gguf_n_tensor(g); i++)
        FH_REQUIRE(fh_gguf_build_add_tensor(b, fh_gguf_get_tensor(g, i), &err) == FH_OK);
    if (fh_gguf_n_kv(g) > 0) FH_REQUIRE(fh_gguf_build_add_kv(b, fh_gguf_get_kv(g, 0), &err) == FH_ERR_EXISTS);
    fh_gguf_build_free(b);
}

static void check_split(fh_str name) {
    fh_gguf_split s;
    char out[FH_PATH_MAX];
    fh_err err = {0};
    if (fh_gguf_split_parse(name, &s) && fh_gguf_split_path(out, &s, s.no, &err) == FH_OK)
        FH_REQUIRE(fh_str_is(name, out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_bytes file = {data, size};
    fh_gguf *g = NULL;
    fh_err err = {0};
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_mem_reset_peak();
    fh_status status = fh_gguf_open(&g, file, &err);
    FH_REQUIRE(fh_mem_get_stats().peak_bytes - live <= 2 * (uint64_t)size + (16u << 20));
    if (status == FH_OK) {
        sink = walk_gguf(g, file);
        check_rebuild(g);
        fh_gguf_close(g);
    } else {
        FH_REQUIRE(!g && err.status == status && err.message[0] && err.offset <= size);
    }
    check_split(fh_str_of_bytes(file));
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    return 0;
}
