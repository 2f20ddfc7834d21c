/* tests/fuzz/fuzz_tokenize.c - libFuzzer target for tokenizers: a hostile tokenizer.json, and a hostile text for it.
 * SPDX-License-Identifier: Apache-2.0
 * Input: the file, a zero byte, the text. Beyond not crashing: no control token comes out of text (but for the single
 * characters that the vocabulary itself declares so, and the unknown token), decoding token by token gives whole
 * characters and what decoding all gives, and nothing leaks. */
#include "text/tokenizer.h"
#include "text/unicode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_exempt(const fh_tokenizer *t, uint32_t id) {
    size_t len;
    fh_str p = fh_vocab_piece(fh_tokenizer_vocab(t), id);
    fh_utf8_next(p, 0, &len);
    return len == p.len || id == fh_tokenizer_special(t, FH_SPECIAL_UNK);
}

static void check_decoding(const fh_tokenizer *t, const fh_ids *ids) {
    fh_detok *d = NULL;
    fh_buf all, parts;
    fh_buf_init(&all, 1u << 26);
    fh_buf_init(&parts, 1u << 26);
    fh_status s = fh_tokenizer_decode(t, ids->ptr, ids->len, false, &all, NULL);
    if (s == FH_OK && fh_detok_new(&d, t, false, NULL) == FH_OK) {
        for (size_t i = 0; s == FH_OK && i < ids->len; i++) s = fh_detok_push(d, ids->ptr[i], &parts, NULL);
        if (s == FH_OK) s = fh_detok_finish(d, &parts, NULL);
        FH_REQUIRE(s == FH_OK && fh_str_eq(fh_buf_str(&all), fh_buf_str(&parts)));
        fh_detok_free(d);
    }
    fh_buf_release(&all);
    fh_buf_release(&parts);
}

static void use(const fh_tokenizer *t, fh_str text) {
    fh_tokenizer_scratch *s = NULL;
    fh_ids ids;
    fh_ids_init(&ids, 1u << 22);
    FH_REQUIRE(fh_tokenizer_scratch_new(&s, t, NULL) == FH_OK);
    for (int parse = 0; parse < 2; parse++) {
        fh_encode_options opt = {.add_special = parse != 0, .parse_special = parse != 0};
        fh_err err = {0};
        fh_ids_clear(&ids);
        if (fh_tokenizer_encode(t, s, text, &opt, &ids, &err) != FH_OK) {
            FH_REQUIRE(err.message[0] && ids.len == 0);
            continue;
        }
        for (size_t i = 0; i < ids.len; i++) {
            FH_REQUIRE(ids.ptr[i] < fh_tokenizer_vocab(t)->n_id);
            if (!parse && fh_tokenizer_is_control(t, ids.ptr[i])) FH_REQUIRE(is_exempt(t, ids.ptr[i]));
        }
        check_decoding(t, &ids);
    }
    fh_ids_release(&ids);
    fh_tokenizer_scratch_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_str all = {(const char *)data, size}, file = all, text = FH_STR("");
    size_t zero;
    fh_tokenizer *t = NULL;
    fh_err err = {0};
    uint64_t live = fh_mem_get_stats().live_bytes;
    if (fh_str_find(all, '\0', &zero)) {
        file = fh_str_first(all, zero);
        text = fh_str_drop(all, zero + 1);
    }
    fh_status s = fh_tokenizer_from_json(&t, file, NULL, &err);
    FH_REQUIRE((s == FH_OK) == (t != NULL) && (s == FH_OK || err.message[0]));
    if (t) use(t, text);
    fh_tokenizer_free(t);
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    return 0;
}
