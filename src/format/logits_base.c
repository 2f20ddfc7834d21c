/* format/logits_base.c - see logits_base.h. Owns nothing.
 * SPDX-License-Identifier: Apache-2.0 */
#include "format/logits_base.h"

#include <math.h>

#include "base/cursor.h"
#include "base/num.h"

static const char MAGIC[8] = {'_', 'l', 'o', 'g', 'i', 't', 's', '_'};

enum { HEAD = 20, ROW_HEAD = 8 };

static size_t row_bytes(uint32_t n_vocab) { return ROW_HEAD + 2 * ((size_t)n_vocab + n_vocab % 2); }

static fh_status read_head(fh_logits_base *b, fh_err *err) {
    fh_cursor c = fh_cursor_of(b->file);
    const fh_bytes magic = fh_cursor_take(&c, sizeof MAGIC);
    if (c.failed || memcmp(magic.ptr, MAGIC, sizeof MAGIC) != 0)
        return fh_fail_at(err, FH_ERR_FORMAT, 0, "no file of log-probabilities: it does not begin with '_logits_'");
    b->n_ctx = fh_cursor_u32(&c);
    b->n_vocab = fh_cursor_u32(&c);
    b->n_chunk = fh_cursor_u32(&c);
    if (c.failed) return fh_fail_at(err, FH_ERR_FORMAT, c.pos, "the file ends within its header");
    if (b->n_ctx < 4 || b->n_ctx > FH_LOGITS_BASE_CONTEXT)
        return fh_fail_at(err, FH_ERR_FORMAT, 8, "chunks of %u tokens, possible are 4 to %u", b->n_ctx,
                          FH_LOGITS_BASE_CONTEXT);
    if (b->n_vocab < 2 || b->n_vocab > FH_LOGITS_BASE_VOCABULARY)
        return fh_fail_at(err, FH_ERR_FORMAT, 12, "a vocabulary of %u tokens, possible are 2 to %u", b->n_vocab,
                          FH_LOGITS_BASE_VOCABULARY);
    if (b->n_chunk == 0) return fh_fail_at(err, FH_ERR_FORMAT, 16, "no chunk in it");
    return FH_OK;
}

/* n_ctx < 2^20 + 1, n_vocab < 2^24 + 1 and n_chunk < 2^32: a chunk fits 64 bits, their sum is checked. */
static fh_status check_size(fh_logits_base *b, fh_err *err) {
    uint64_t chunk, all = 0;
    b->n_row = b->n_ctx - 1 - b->n_ctx / 2;
    b->row_bytes = row_bytes(b->n_vocab);
    chunk = 4 * (uint64_t)b->n_ctx + (uint64_t)b->n_row * b->row_bytes;
    if (!fh_mul_u64(chunk, b->n_chunk, &all) || !fh_add_u64(all, HEAD, &all) || all != b->file.len)
        return fh_fail_at(err, FH_ERR_FORMAT, 16,
                          "%u chunks of %u tokens and a vocabulary of %u do not make a file of %zu bytes%s", b->n_chunk,
                          b->n_ctx, b->n_vocab, b->file.len,
                          all > b->file.len ? ": it was cut short, or never finished" : "");
    b->rows_at = HEAD + 4 * (size_t)b->n_chunk * b->n_ctx;
    return FH_OK;
}

fh_status fh_logits_base_read(fh_logits_base *out, fh_bytes file, fh_err *err) {
    fh_logits_base b = {.file = file};
    FH_TRY(read_head(&b, err));
    FH_TRY(check_size(&b, err));
    for (uint64_t i = 0; i < (uint64_t)b.n_chunk * b.n_ctx; i++)
        if (fh_logits_base_token(&b, i) >= b.n_vocab)
            return fh_fail_at(err, FH_ERR_FORMAT, HEAD + 4 * i, "token '%u' is not in the vocabulary of %u",
                              fh_logits_base_token(&b, i), b.n_vocab);
    *out = b;
    return FH_OK;
}

uint32_t fh_logits_base_token(const fh_logits_base *b, uint64_t i) {
    return fh_load_u32(b->file.ptr + HEAD + 4 * (size_t)i);
}

fh_status fh_logits_base_get(const fh_logits_base *b, uint32_t chunk, uint32_t row, fh_logits_base_row *out,
                             fh_err *err) {
    FH_REQUIRE(chunk < b->n_chunk && row < b->n_row);
    const size_t at = b->rows_at + ((size_t)chunk * b->n_row + row) * b->row_bytes;
    const uint8_t *p = b->file.ptr + at;
    const fh_logits_base_row r = {fh_load_f32(p), fh_load_f32(p + 4), p + ROW_HEAD};
    const float best = r.scale * 65535.0f + r.least;
    if (!isfinite(r.scale) || !isfinite(r.least) || r.scale < 0 || !(best < 0.01f))
        return fh_fail_at(err, FH_ERR_FORMAT, at, "log-probabilities that step by %g from %g are none", (double)r.scale,
                          (double)r.least);
    *out = r;
    return FH_OK;
}

/* ---- writing ---- */

fh_status fh_logits_base_begin(fh_writer *w, uint32_t n_ctx, uint32_t n_vocab, uint32_t n_chunk, const uint32_t *token,
                               fh_err *err) {
    const uint32_t head[3] = {n_ctx, n_vocab, n_chunk};
    if (n_ctx < 4 || n_ctx > FH_LOGITS_BASE_CONTEXT || n_vocab < 2 || n_vocab > FH_LOGITS_BASE_VOCABULARY)
        return fh_fail(err, FH_ERR_LIMIT, "chunks of %u tokens from a vocabulary of %u do not fit the file's form",
                       n_ctx, n_vocab);
    FH_TRY(fh_writer_add(w, MAGIC, sizeof MAGIC, err));
    FH_TRY(fh_writer_add(w, head, sizeof head, err));
    return fh_writer_add(w, token, sizeof *token * n_chunk * n_ctx, err);
}

fh_status fh_logits_base_put(fh_writer *w, const fh_logits_base_row *row, uint32_t n_vocab, fh_err *err) {
    const float head[2] = {row->scale, row->least};
    const uint8_t none[2] = {0, 0};
    FH_TRY(fh_writer_add(w, head, sizeof head, err));
    FH_TRY(fh_writer_add(w, row->codes, 2 * (size_t)n_vocab, err));
    return n_vocab % 2 ? fh_writer_add(w, none, sizeof none, err) : FH_OK;
}
