/* infer/rerank.c - see rerank.h. Owns nothing between calls.
 * SPDX-License-Identifier: Apache-2.0 */
#include "infer/rerank.h"

#include "kernel/ref_math.h"

#define TEXT_MOST ((size_t)64 << 20)
#define IDS_MOST ((size_t)1 << 25)
#define MAX_LABELS 2

/* ---- what kind ---- */

static fh_status one_token(const fh_tokenizer *t, fh_tokenizer_scratch *scratch, const char *word, uint32_t *out,
                           fh_err *err) {
    const fh_encode_options opt = {.add_special = false};
    fh_ids ids;
    fh_ids_init(&ids, 64);
    fh_status s = fh_tokenizer_encode(t, scratch, fh_str_of(word), &opt, &ids, err);
    if (s == FH_OK && ids.len == 1) *out = ids.ptr[0];
    else if (s == FH_OK)
        s = fh_fail(err, FH_ERR_UNSUPPORTED,
                    "the model has no head that scores, and no token '%s' to ask it for: it is no reranker", word);
    fh_ids_release(&ids);
    return s;
}

static uint64_t count_segments(const fh_bundle *b) {
    const fh_weights *w = fh_bundle_weights(b);
    for (size_t i = 0; i < w->n; i++)
        if (fh_str_ends(w->item[i].name, "token_type_embeddings.weight") ||
            fh_str_is(w->item[i].name, "token_types.weight"))
            return fh_weight_rows(&w->item[i]);
    return 0;
}

fh_status fh_reranker_init(fh_reranker *out, const fh_model *m, const fh_tokenizer *t, fh_tokenizer_scratch *scratch,
                           fh_err *err) {
    fh_reranker r = {.tokenizer = t,
                     .head = fh_model_plan(m, FH_PLAN_STEP)->exported[FH_EXPORT_SCORE] != FH_NO_VALUE,
                     .in_words = fh_model_spec(m)->topology == FH_TOPOLOGY_DECODER,
                     .n_segment = count_segments(fh_model_bundle(m))};
    if (!r.head && !r.in_words)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "the model has no head that scores: it is no reranker");
    if (!r.head) {
        FH_TRY(one_token(t, scratch, "yes", &r.yes, err));
        FH_TRY(one_token(t, scratch, "no", &r.no, err));
    }
    *out = r;
    return FH_OK;
}

/* ---- asking ---- */

static fh_status add_text(const fh_reranker *r, fh_tokenizer_scratch *scratch, fh_str s, bool special, fh_ids *out,
                          fh_err *err) {
    const fh_encode_options opt = {.parse_special = special};
    return fh_tokenizer_encode(r->tokenizer, scratch, s, &opt, out, err);
}

/* The publisher's words around question and text. */
static fh_status ask_in_words(const fh_reranker *r, fh_tokenizer_scratch *scratch, const fh_rerank_question *q,
                              fh_str text, fh_ids *out, fh_err *err) {
    static const char before[] =
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        "provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
    static const char after[] = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
    fh_buf body;
    fh_buf_init(&body, TEXT_MOST);
    fh_buf_add_z(&body, "<Instruct>: ");
    fh_buf_add_str(&body, q->instruction);
    fh_buf_add_z(&body, "\n<Query>: ");
    fh_buf_add_str(&body, q->query);
    fh_buf_add_z(&body, "\n<Document>: ");
    fh_buf_add_str(&body, text);
    fh_status s = fh_buf_check(&body, err);
    if (s == FH_OK) s = add_text(r, scratch, FH_STR(before), true, out, err);
    if (s == FH_OK) s = add_text(r, scratch, fh_buf_str(&body), false, out, err);
    if (s == FH_OK) s = add_text(r, scratch, FH_STR(after), true, out, err);
    fh_buf_release(&body);
    return s;
}

static fh_status ask_as_pair(const fh_reranker *r, fh_tokenizer_scratch *scratch, fh_str query, fh_str text,
                             fh_ids *out, fh_err *err) {
    const fh_encode_options opt = {.add_special = true};
    bool second = false;
    fh_ids type;
    fh_ids_init(&type, IDS_MOST);
    fh_status s = fh_tokenizer_encode_pair(r->tokenizer, scratch, query, text, &opt, out, &type, err);
    for (size_t i = 0; i < type.len; i++) second |= type.ptr[i] != 0;
    fh_ids_release(&type);
    if (s == FH_OK && second && r->n_segment > 1)
        s = fh_fail(err, FH_ERR_UNSUPPORTED,
                    "this model reads question and text with different rows of its table of segments, which is not "
                    "supported");
    return s;
}

fh_status fh_reranker_ask(const fh_reranker *r, fh_tokenizer_scratch *scratch, const fh_rerank_question *q, fh_str text,
                          fh_ids *out, fh_err *err) {
    return r->in_words ? ask_in_words(r, scratch, q, text, out, err)
                       : ask_as_pair(r, scratch, q->query, text, out, err);
}

/* ---- judging ---- */

typedef struct yes_no {
    uint32_t yes, no;
    double logit;
} yes_no;

static fh_status take_yes_no(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    yes_no *k = ctx;
    (void)work, (void)index, (void)err;
    k->logit = (double)row[k->yes] - (double)row[k->no];
    return FH_OK;
}

static fh_status judge_by_logits(const fh_reranker *r, fh_engine *e, const fh_embed_input *input, uint32_t limit,
                                 const fh_embed_options *opt, double *logit, fh_err *err) {
    fh_session *s = NULL;
    yes_no k = {.yes = r->yes, .no = r->no};
    FH_TRY(fh_session_new(&s, e, limit, opt->adapters, opt->salt, err));
    fh_work work = {.session = s, .token = input->token, .n = input->n, .want = FH_WANT_LAST};
    fh_status st = fh_engine_step(e, &work, 1, FH_EXPORT_LOGITS, take_yes_no, &k, opt->stop, err);
    fh_session_free(s);
    if (st == FH_OK) *logit = k.logit;
    return st;
}

static fh_status judge_by_head(const fh_reranker *r, fh_engine *e, const fh_embed_input *input,
                               const fh_embed_options *opt, double *logit, fh_err *err) {
    float score[MAX_LABELS];
    uint32_t n = fh_engine_width(e, FH_EXPORT_SCORE);
    if (n > MAX_LABELS)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "the model tells %u labels apart: it is no reranker", n);
    FH_TRY(fh_embed_scores(e, input, 1, opt, score, err));
    /* two rows are yes and no where the model is asked in words, no and yes where it is a classifier */
    *logit = n == 1        ? (double)score[0]
             : r->in_words ? (double)score[0] - (double)score[1]
                           : (double)score[1] - (double)score[0];
    return FH_OK;
}

fh_status fh_reranker_judge(const fh_reranker *r, fh_engine *e, const fh_embed_input *input, uint32_t limit,
                            const fh_embed_options *opt, double *logit, double *score, fh_err *err) {
    double v = 0;
    FH_TRY(r->head ? judge_by_head(r, e, input, opt, &v, err) : judge_by_logits(r, e, input, limit, opt, &v, err));
    *logit = v;
    *score = fh_math_sigmoid(v);
    return FH_OK;
}
