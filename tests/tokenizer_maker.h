/* tests/tokenizer_maker.h - small tokenizers for tests, and texts to try them on.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TESTS_TOKENIZER_MAKER_H
#define FH_TESTS_TOKENIZER_MAKER_H

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "test.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

typedef struct token_case {
    fh_tokenizer *t;
    fh_tokenizer_scratch *s;
    fh_ids ids;
    fh_buf text;
} token_case;

static inline void token_case_open(token_case *c, fh_tokenizer *t) {
    fh_err err = {0};
    *c = (token_case){.t = t};
    fh_ids_init(&c->ids, 1u << 24);
    fh_buf_init(&c->text, 1u << 28);
    CHECK_OK(fh_tokenizer_scratch_new(&c->s, t, &err), err);
}

static inline void token_case_close(token_case *c) {
    fh_ids_release(&c->ids);
    fh_buf_release(&c->text);
    fh_tokenizer_scratch_free(c->s);
    fh_tokenizer_free(c->t);
}

static inline void encode_into(token_case *c, fh_str text, bool add, bool parse) {
    fh_err err = {0};
    fh_encode_options opt = {.add_special = add, .parse_special = parse};
    fh_ids_clear(&c->ids);
    CHECK_OK(fh_tokenizer_encode(c->t, c->s, text, &opt, &c->ids, &err), err);
}

static inline fh_str decode_all(token_case *c) {
    fh_err err = {0};
    fh_buf_clear(&c->text);
    CHECK_OK(fh_tokenizer_decode(c->t, c->ids.ptr, c->ids.len, false, &c->text, &err), err);
    fh_str s = fh_buf_str(&c->text);
    return s.ptr ? s : FH_STR("");
}

/* want: ids, ended by UINT32_MAX */
static inline void check_ids(const fh_ids *got, const uint32_t *want, const char *what) {
    size_t n = 0;
    while (want[n] != UINT32_MAX) n++;
    bool same = got->len == n && (n == 0 || memcmp(got->ptr, want, n * sizeof *want) == 0);
    if (!same)
        fh_test_fail(__FILE__, __LINE__, "%s: %zu ids (first %u), expected %zu (first %u)", what, got->len,
                     got->len ? got->ptr[0] : 0, n, n ? want[0] : 0);
}
#define IDS(...) ((const uint32_t[]){__VA_ARGS__, UINT32_MAX})

static inline fh_tokenizer *make_json(const char *json) {
    fh_tokenizer *t = NULL;
    fh_err err = {0};
    CHECK_OK(fh_tokenizer_from_json(&t, fh_str_of(json), NULL, &err), err);
    return t;
}

/* Random valid UTF-8: words, spaces, signs of many scripts, single characters from anywhere. */
static inline void random_text(fh_rng *r, fh_buf *out, size_t parts) {
    static const char *const part[] = {"the ",
                                       " a",
                                       "don't",
                                       "WE'LL",
                                       "  ",
                                       "\n\n",
                                       "\t",
                                       "1234",
                                       "3.14",
                                       "...",
                                       "=>",
                                       "\xC3\xA9",
                                       "e\xCC\x81",
                                       "\xE4\xBB\x8A\xE5\xA4\xA9",
                                       "\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD",
                                       "\xE2\x80\x8B",
                                       "\xE2\x96\x81",
                                       "<|bos|>",
                                       "</s>",
                                       "<0x0A>",
                                       "\r\n",
                                       "\xC2\xA0"};
    fh_buf_clear(out);
    for (size_t i = 0; i < parts; i++) {
        if (fh_rng_below(r, 4) > 0) {
            fh_buf_add_z(out, part[fh_rng_below(r, sizeof part / sizeof part[0])]);
            continue;
        }
        char c[4];
        uint32_t cp = (uint32_t)fh_rng_below(r, fh_rng_below(r, 2) ? 0x110000 : 0x500);
        if (cp >= 0xD800 && cp < 0xE000) cp = 'x';
        fh_buf_add(out, c, fh_utf8_put(cp, c));
    }
}

#endif
