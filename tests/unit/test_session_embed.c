/* tests/unit/test_session_embed.c - vectors: pooled rows against the rows themselves.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "infer/embed.h"
#include "kernel/pool_rows.h"
#include "test.h"
#include "unit/test_session_part.h"

#define INPUTS 90u

static void check_pooling(const char *layers, fh_pooling pooling, bool normalize, uint32_t width) {
    fh_err err = {0};
    fh_rng rng;
    fh_rng_init(&rng, 3, (uint64_t)pooling);
    tiny *t = tiny_new(&(tiny_options){.layers = layers, .window = 9, .context = 80, .seed = 4});
    fh_engine *e = tiny_engine(t, &(fh_engine_options){.threads = 2, .batch = 96, .page = 16, .exact = true});
    uint32_t n = fh_engine_width(e, FH_EXPORT_HIDDEN), k = width ? width : n;
    static uint32_t token[INPUTS][80];
    fh_embed_input in[INPUTS];
    for (uint32_t i = 0; i < INPUTS; i++) {
        in[i] = (fh_embed_input){token[i], 1 + (uint32_t)fh_rng_below(&rng, 80)};
        for (uint32_t j = 0; j < in[i].n; j++) token[i][j] = (uint32_t)fh_rng_below(&rng, TINY_VOCAB);
    }
    float *out = fh_alloc((size_t)INPUTS * k, sizeof *out);
    CHECK(out != NULL);
    fh_embed_options o = {.pooling = pooling, .normalize = normalize, .width = width};
    CHECK_OK(fh_embed_texts(e, in, INPUTS, &o, out, &err), err);
    for (uint32_t i = 0; i < INPUTS; i += 7) {
        fh_session *s;
        tiny_rows rows = {.width = n};
        CHECK_OK(fh_session_new(&s, e, 0, NULL, 1, &err), err);
        fh_work w = {s, in[i].token, in[i].n, FH_WANT_ALL};
        CHECK_OK(fh_engine_step(e, &w, 1, FH_EXPORT_HIDDEN, tiny_keep_row, &rows, NULL, &err), err);
        double want[256], length = 0;
        for (uint32_t c = 0; c < k; c++) {
            want[c] = 0;
            for (uint32_t r = 0; r < rows.n; r++) want[c] += (double)rows.at[(size_t)r * n + c];
            if (pooling == FH_POOLING_MEAN) want[c] /= rows.n;
            if (pooling == FH_POOLING_CLS) want[c] = (double)rows.at[c];
            if (pooling == FH_POOLING_LAST) want[c] = (double)rows.at[(size_t)(rows.n - 1) * n + c];
            length += want[c] * want[c];
        }
        for (uint32_t c = 0; c < k; c++) {
            double x = normalize ? want[c] / sqrt(length) : want[c];
            CHECK(fabs((double)out[(size_t)i * k + c] - x) <= 1e-7 * (1 + fabs(x)));
        }
        tiny_rows_release(&rows);
        fh_session_free(s);
    }
    CHECK_U64(fh_engine_get_usage(e).page_bytes_live, 0);
    fh_free(out);
    fh_engine_free(e);
    tiny_free(t);
}

TEST(session_embed, vectors_are_pooled_rows) {
    static const char *const kinds[] = {"N", "FS", "NS"};
    for (size_t i = 0; i < FH_COUNT(kinds); i++) {
        check_pooling(kinds[i], FH_POOLING_MEAN, false, 0);
        check_pooling(kinds[i], FH_POOLING_MEAN, true, 12);
        check_pooling(kinds[i], FH_POOLING_CLS, true, 0);
        check_pooling(kinds[i], FH_POOLING_LAST, false, 5);
    }
}

TEST(session_embed, refusals) {
    fh_err err = {0};
    tiny *t = tiny_new(&(tiny_options){.layers = "N", .context = 20, .seed = 4});
    fh_engine *e = tiny_engine(t, &(fh_engine_options){.threads = 1, .exact = true});
    uint32_t token[600] = {0};
    float out[64];
    fh_embed_options o = {.pooling = FH_POOLING_MEAN};
    CHECK_STATUS(fh_embed_texts(e, &(fh_embed_input){token, 21}, 1, &o, out, &err), FH_ERR_LIMIT);
    CHECK_STATUS(fh_embed_texts(e, &(fh_embed_input){token, 0}, 1, &o, out, &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_embed_scores(e, &(fh_embed_input){token, 1}, 1, &o, out, &err), FH_ERR_UNSUPPORTED);
    o.width = 1000;
    CHECK_STATUS(fh_embed_texts(e, &(fh_embed_input){token, 3}, 1, &o, out, &err), FH_ERR_USAGE);
    o = (fh_embed_options){.pooling = FH_POOLING_RANK};
    CHECK_STATUS(fh_embed_texts(e, &(fh_embed_input){token, 3}, 1, &o, out, &err), FH_ERR_USAGE);
    fh_engine_free(e);
    tiny_free(t);
}

TEST(session_embed, zeros_stay_zeros) {
    float v[3] = {0, 0, 0}, w[2] = {3, 4};
    fh_pool_normalize(v, 3);
    CHECK(v[0] == 0 && v[1] == 0 && v[2] == 0);
    fh_pool_normalize(w, 2);
    CHECK(w[0] == 0.6f && w[1] == 0.8f);
}
