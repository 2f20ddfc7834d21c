/* tests/unit/test_rerank.c - rerankers: which models are some, how they are asked, what is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "infer/rerank.h"
#include "library/open_tokenizer.h"
#include "test.h"

typedef struct lab {
    fh_bundle *b;
    fh_model *m;
    fh_engine *e;
    fh_tokenizer *t;
    fh_tokenizer_scratch *scratch;
    fh_ids ids;
} lab;

static void open_lab(lab *x, const char *model) {
    char path[512];
    fh_err err;
    *x = (lab){0};
    snprintf(path, sizeof path, "%s/models/%s", fh_test_golden(), model);
    const fh_engine_options how = {.threads = 1, .kv_type = FH_DTYPE_F32, .exact = true};
    CHECK_OK(fh_bundle_open(&x->b, path, &err), err);
    CHECK_OK(fh_model_load(&x->m, x->b, &err), err);
    CHECK_OK(fh_engine_new(&x->e, x->m, &how, &err), err);
    CHECK_OK(fh_tokenizer_open(&x->t, path, (fh_str){NULL, 0}, &err), err);
    CHECK_OK(fh_tokenizer_scratch_new(&x->scratch, x->t, &err), err);
    fh_ids_init(&x->ids, 4096);
}

static void close_lab(lab *x) {
    fh_ids_release(&x->ids);
    fh_tokenizer_scratch_free(x->scratch);
    fh_tokenizer_free(x->t);
    fh_engine_free(x->e);
    fh_model_free(x->m);
}

static const fh_rerank_question question = {FH_STR("what is this"), FH_STR(FH_RERANK_INSTRUCTION)};

/* The head's number is the logit, and its sigmoid the score. */
TEST(rerank, classifier) {
    lab x;
    fh_err err;
    fh_reranker r;
    double logit, score;
    float head;
    open_lab(&x, "bge-reranker");
    CHECK_OK(fh_reranker_init(&r, x.m, x.t, x.scratch, &err), err);
    CHECK(r.head && !r.in_words);
    CHECK_OK(fh_reranker_ask(&r, x.scratch, &question, FH_STR("a cat"), &x.ids, &err), err);
    const fh_embed_input in = {x.ids.ptr, (uint32_t)x.ids.len};
    const fh_embed_options opt = {.width = 0};
    CHECK_OK(fh_reranker_judge(&r, x.e, &in, 0, &opt, &logit, &score, &err), err);
    CHECK_OK(fh_embed_scores(x.e, &in, 1, &opt, &head, &err), err);
    CHECK(logit == (double)head && fabs(score - 1 / (1 + exp(-logit))) < 1e-11);
    close_lab(&x);
}

/* Asked in words: what a text spells stays plain. */
TEST(rerank, in_words) {
    const fh_encode_options own = {.parse_special = true};
    const fh_str text = FH_STR("a [CLS] b");
    lab x;
    fh_err err;
    open_lab(&x, "bert");
    const fh_reranker r = {.tokenizer = x.t, .in_words = true};
    CHECK_OK(fh_tokenizer_encode(x.t, x.scratch, text, &own, &x.ids, &err), err);
    const size_t n = x.ids.len;
    const uint32_t special = x.ids.ptr[1];
    CHECK(n == 3);
    fh_ids_clear(&x.ids);
    CHECK_OK(fh_reranker_ask(&r, x.scratch, &question, text, &x.ids, &err), err);
    CHECK(x.ids.len > 50);
    for (size_t i = 0; i < x.ids.len; i++) CHECK(x.ids.ptr[i] != special);
    close_lab(&x);
}

TEST(rerank, refusals) {
    lab x;
    fh_err err;
    fh_reranker r;
    open_lab(&x, "bert");
    CHECK(fh_reranker_init(&r, x.m, x.t, x.scratch, &err) == FH_ERR_UNSUPPORTED && strstr(err.message, "no reranker"));
    /* its tokenizer tells question and text apart: fine for a model that does not look */
    r = (fh_reranker){.tokenizer = x.t, .head = true, .n_segment = 1};
    CHECK_OK(fh_reranker_ask(&r, x.scratch, &question, FH_STR("a cat"), &x.ids, &err), err);
    r.n_segment = 2;
    CHECK(fh_reranker_ask(&r, x.scratch, &question, FH_STR("a cat"), &x.ids, &err) == FH_ERR_UNSUPPORTED);
    CHECK(strstr(err.message, "segments") != NULL);
    close_lab(&x);
}
