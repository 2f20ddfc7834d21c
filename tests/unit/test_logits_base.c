/* tests/unit/test_logits_base.c - files of log-probabilities: bytes, round trip, everything that a hostile one may say.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/num.h"
#include "format/logits_base.h"
#include "test.h"

/* Two chunks of five tokens (rows of positions 2 and 3, so two each), a vocabulary of three. */
enum { CTX = 5, VOCAB = 3, CHUNKS = 2, ROWS = 2, ROW_BYTES = 8 + 2 * 4, BYTES = 20 + 4 * 10 + 4 * ROW_BYTES };

static const uint32_t tokens[CTX * CHUNKS] = {0, 1, 2, 0, 1, 2, 2, 1, 1, 0};

static const char *path_of(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", fh_test_tmp(), name);
    return path;
}

static void write_small(const char *path) {
    fh_err err = {0};
    fh_writer *w;
    CHECK_OK(fh_writer_open(&w, path, &err), err);
    CHECK_OK(fh_logits_base_begin(w, CTX, VOCAB, CHUNKS, tokens, &err), err);
    for (int i = 0; i < CHUNKS * ROWS; i++) {
        const uint8_t codes[2 * VOCAB] = {(uint8_t)i, 0, 0xff, 0xff, 0, 1};
        const fh_logits_base_row row = {0.5f / 65535, -0.75f - (float)i, codes};
        CHECK_OK(fh_logits_base_put(w, &row, VOCAB, &err), err);
    }
    CHECK_OK(fh_writer_commit(w, &err), err);
}

static void read_small(fh_buf *file) {
    fh_err err = {0};
    fh_buf_init(file, 1 << 16);
    write_small(path_of("small"));
    CHECK_OK(fh_file_read(path_of("small"), file, &err), err);
    CHECK_U64(file->len, BYTES);
}

TEST(logits_base, round_trip) {
    fh_err err = {0};
    fh_buf file;
    fh_logits_base b;
    fh_logits_base_row row;
    read_small(&file);
    CHECK(memcmp(file.ptr, "_logits_\5\0\0\0\3\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0", 28) == 0);
    CHECK_OK(fh_logits_base_read(&b, (fh_bytes){file.ptr, file.len}, &err), err);
    CHECK(b.n_ctx == CTX && b.n_vocab == VOCAB && b.n_chunk == CHUNKS && b.n_row == ROWS && b.row_bytes == ROW_BYTES);
    for (uint32_t i = 0; i < CTX * CHUNKS; i++) CHECK_U64(fh_logits_base_token(&b, i), tokens[i]);
    for (uint32_t i = 0; i < CHUNKS * ROWS; i++) {
        CHECK_OK(fh_logits_base_get(&b, i / ROWS, i % ROWS, &row, &err), err);
        CHECK(row.scale == 0.5f / 65535 && row.least == -0.75f - (float)i && row.codes[0] == i && row.codes[5] == 1);
    }
    fh_buf_release(&file);
}

static void put_u32(fh_buf *file, size_t at, uint32_t v) { memcpy(file->ptr + at, &v, sizeof v); }

/* Every cut, one byte more, and each count at its extremes: an error that names a byte, never a crash. */
TEST(logits_base, hostile_sizes) {
    static const uint32_t extreme[] = {0, 1, 3, 4, 6, 1u << 20, (1u << 20) + 1, 1u << 24, 1u << 31, UINT32_MAX};
    fh_buf file;
    fh_logits_base b;
    read_small(&file);
    fh_buf_add_byte(&file, 0);
    for (size_t n = 0; n <= file.len; n++) {
        fh_err err = {0};
        const fh_status st = fh_logits_base_read(&b, (fh_bytes){file.ptr, n}, &err);
        CHECK((st == FH_OK) == (n == BYTES));
        if (st != FH_OK) CHECK(st == FH_ERR_FORMAT && err.message[0] && err.offset <= n);
    }
    for (size_t at = 8; at < 20; at += 4)
        for (size_t i = 0; i < FH_COUNT(extreme); i++) {
            fh_err err = {0};
            uint32_t old;
            memcpy(&old, file.ptr + at, 4);
            put_u32(&file, at, extreme[i]);
            const fh_status st = fh_logits_base_read(&b, (fh_bytes){file.ptr, BYTES}, &err);
            CHECK((st == FH_OK) == (extreme[i] == old || (at == 12 && extreme[i] == 4))); /* 4 is 3 and the odd one */
            put_u32(&file, at, old);
        }
    /* the largest sizes, together */
    for (size_t at = 8; at < 20; at += 4) put_u32(&file, at, at == 8 ? 1u << 20 : at == 12 ? 1u << 24 : UINT32_MAX);
    CHECK_STATUS(fh_logits_base_read(&b, (fh_bytes){file.ptr, BYTES}, NULL), FH_ERR_FORMAT);
    fh_buf_release(&file);
}

TEST(logits_base, hostile_contents) {
    static const struct {
        float scale, least;
        bool ok;
    } heads[] = {{0, -1, true},         {1e-4f, -6.56f, true}, {-1e-4f, -1, false},       {NAN, -1, false},
                 {1e-4f, NAN, false},   {INFINITY, -1, false}, {1e-4f, -INFINITY, false}, {1e-4f, -6, false},
                 {3e38f, -3e38f, false}};
    fh_buf file;
    fh_logits_base b;
    fh_logits_base_row row;
    fh_err err = {0};
    read_small(&file);
    put_u32(&file, 20 + 4 * 7, VOCAB);
    CHECK_STATUS(fh_logits_base_read(&b, (fh_bytes){file.ptr, file.len}, &err), FH_ERR_FORMAT);
    CHECK_U64(err.offset, 20 + 4 * 7);
    put_u32(&file, 20 + 4 * 7, 0);
    CHECK_OK(fh_logits_base_read(&b, (fh_bytes){file.ptr, file.len}, &err), err);
    for (size_t i = 0; i < FH_COUNT(heads); i++) {
        memcpy(file.ptr + 60 + ROW_BYTES, &heads[i].scale, 4);
        memcpy(file.ptr + 64 + ROW_BYTES, &heads[i].least, 4);
        err = (fh_err){0};
        CHECK((fh_logits_base_get(&b, 0, 1, &row, &err) == FH_OK) == heads[i].ok);
        if (!heads[i].ok) CHECK_U64(err.offset, 60 + ROW_BYTES);
    }
    memcpy(file.ptr, "_Logits_", 8);
    CHECK_STATUS(fh_logits_base_read(&b, (fh_bytes){file.ptr, file.len}, NULL), FH_ERR_FORMAT);
    fh_buf_release(&file);
}

TEST(logits_base, sizes_that_have_no_file) {
    fh_err err = {0};
    fh_writer *w;
    CHECK_OK(fh_writer_open(&w, path_of("none"), &err), err);
    CHECK_STATUS(fh_logits_base_begin(w, 3, VOCAB, 1, tokens, &err), FH_ERR_LIMIT);
    CHECK_STATUS(fh_logits_base_begin(w, CTX, 1, 1, tokens, &err), FH_ERR_LIMIT);
    CHECK_STATUS(fh_logits_base_begin(w, CTX, (1u << 24) + 1, 1, tokens, &err), FH_ERR_LIMIT);
    CHECK_U64(fh_writer_offset(w), 0);
    fh_writer_abort(w);
}
