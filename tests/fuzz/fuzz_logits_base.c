/* tests/fuzz/fuzz_logits_base.c - libFuzzer target for files of log-probabilities.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: a refusal names a byte of the file, every token and row of an opened file lies inside it, and
 * nothing is allocated. */
#include "base/cursor.h"
#include "base/mem.h"
#include "format/logits_base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that every byte handed out is really read */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_logits_base b;
    fh_err err = {0};
    const uint64_t calls = fh_mem_get_stats().calls;
    const fh_status st = fh_logits_base_read(&b, (fh_bytes){data, size}, &err);
    if (st != FH_OK) {
        FH_REQUIRE(st == FH_ERR_FORMAT && err.message[0] && err.offset <= size);
        return 0;
    }
    for (uint64_t i = 0; i < (uint64_t)b.n_chunk * b.n_ctx; i++) FH_REQUIRE(fh_logits_base_token(&b, i) < b.n_vocab);
    for (uint32_t c = 0; c < b.n_chunk; c++)
        for (uint32_t r = 0; r < b.n_row; r++) {
            fh_logits_base_row row;
            if (fh_logits_base_get(&b, c, r, &row, &err) != FH_OK) continue;
            FH_REQUIRE(row.scale >= 0 && row.least < 0.02f);
            for (uint32_t i = 0; i < b.n_vocab; i++) sink += fh_load_u16(row.codes + 2 * i);
        }
    FH_REQUIRE(fh_mem_get_stats().calls == calls);
    return 0;
}
