/* tests/fuzz/fuzz_tokenize.c - any tokenizer.json with any text: build, encode, decode, stream.
 * SPDX-License-Identifier: Apache-2.0
 * Input: a tokenizer.json, a zero byte, a text. What was encoded must decode without failing, and streaming must give
 * what decoding at once gives. */
#include <stddef.h>
#include <stdlib.h>

#include "text/tokenizer.h"

static void run(const fh_tokenizer *t, fh_tokenizer_scratch *s, fh_str text, fh_ids *ids, fh_buf *whole,
                fh_buf *parts) {
    for (int mode = 0; mode < 4; mode++) {
        const fh_encode_options opt = {.add_special = mode & 1, .parse_special = mode & 2};
        fh_detok *d;
        fh_ids_clear(ids);
        fh_buf_clear(whole);
        fh_buf_clear(parts);
        if (fh_tokenizer_encode(t, s, text, &opt, ids, NULL) != FH_OK || fh_ids_check(ids, NULL) != FH_OK) continue;
        if (fh_tokenizer_decode(t, ids->ptr, ids->len, mode == 3, whole, NULL) != FH_OK) continue;
        if (fh_detok_new(&d, t, mode == 3, NULL) != FH_OK) continue;
        bool ok = true;
        for (size_t i = 0; i < ids->len && ok; i++) ok = fh_detok_push(d, ids->ptr[i], parts, NULL) == FH_OK;
        ok = ok && fh_detok_finish(d, parts, NULL) == FH_OK;
        if (ok && fh_buf_check(whole, NULL) == FH_OK && fh_buf_check(parts, NULL) == FH_OK &&
            !fh_str_eq(fh_buf_str(whole), fh_buf_str(parts)))
            abort();
        fh_detok_free(d);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_str in = fh_str_of_bytes((fh_bytes){data, size});
    size_t at;
    fh_tokenizer *t = NULL;
    fh_tokenizer_scratch *s = NULL;
    fh_ids ids;
    fh_buf whole, parts;
    if (!fh_str_find(in, '\0', &at)) return 0;
    if (fh_tokenizer_from_json(&t, fh_str_first(in, at), NULL, NULL) != FH_OK) return 0;
    fh_ids_init(&ids, 1 << 20);
    fh_buf_init(&whole, 1 << 22);
    fh_buf_init(&parts, 1 << 22);
    if (fh_tokenizer_scratch_new(&s, t, NULL) == FH_OK) run(t, s, fh_str_drop(in, at + 1), &ids, &whole, &parts);
    fh_buf_release(&parts);
    fh_buf_release(&whole);
    fh_ids_release(&ids);
    fh_tokenizer_scratch_free(s);
    fh_tokenizer_free(t);
    return 0;
}
