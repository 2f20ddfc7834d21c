/* serve/chat_write.c - tokens and their probabilities, as all APIs write them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "serve/chat.h"
#include "serve/json_put.h"

static fh_status bytes_of(const fh_ask *a, uint32_t token, fh_buf *out) {
    fh_buf_init(out, 1u << 16);
    return fh_tokenizer_token_bytes(a->r->tokenizer, token, out, NULL);
}

void fh_ask_put_token(const fh_ask *a, fh_json_writer *w, uint32_t token) {
    fh_buf b;
    bool ok = bytes_of(a, token, &b) == FH_OK;
    fh_json_put_str(w, ok ? fh_buf_str(&b) : FH_STR(""));
    fh_buf_release(&b);
}

static void put_chance(const fh_ask *a, fh_json_writer *w, const fh_token_chance *c) {
    fh_buf b;
    bool ok = bytes_of(a, c->token, &b) == FH_OK;
    fh_json_put_key(w, "token");
    fh_json_put_str(w, ok ? fh_buf_str(&b) : FH_STR(""));
    fh_put_u64(w, "id", c->token);
    fh_json_put_key(w, "logprob");
    fh_json_put_f64(w, (double)c->ln < -9999.0 ? -9999.0 : (double)c->ln);
    fh_json_put_key(w, "bytes");
    fh_json_put_array(w);
    for (size_t i = 0; ok && i < b.len; i++) fh_json_put_u64(w, b.ptr[i]);
    fh_json_put_end(w);
    fh_buf_release(&b);
}

void fh_ask_put_chances(const fh_ask *a, fh_json_writer *w, const fh_said *s, size_t from, size_t to) {
    fh_json_put_array(w);
    for (size_t i = from; i < to; i++) {
        fh_json_put_object(w);
        put_chance(a, w, &s->own[i]);
        fh_put_array(w, "top_logprobs");
        for (size_t k = 0; k < a->n_logprob; k++) {
            const fh_token_chance *c = &s->top[i * a->n_logprob + k];
            if (c->token == FH_VOCAB_NO_ID) break;
            fh_json_put_object(w);
            put_chance(a, w, c);
            fh_json_put_end(w);
        }
        fh_json_put_end(w);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}
