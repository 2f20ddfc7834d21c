/* cli/cmd_rerank.c - freehold rerank: which of these texts answers the question.
 * SPDX-License-Identifier: Apache-2.0
 * Two kinds of model: classifiers that read question and text as a pair (their head's number goes through a sigmoid, or
 * a softmax where there are two), and rerankers of the Qwen3 kind, which are asked in words for "yes" or "no": the
 * probability of "yes" against "no" is the score. Texts are arguments, or JSON strings, one a line, on standard
 * input. */
#include <math.h>

#include "base/json.h"
#include "base/num.h"
#include "cli/model_options.h"
#include "cli/text_part.h"
#include "infer/embed.h"
#include "library/open_tokenizer.h"

#define MAX_TEXTS 100000u
#define MAX_ARGUMENTS 4096
#define MAX_LABELS 16
#define INSTRUCTION "Given a web search query, retrieve relevant passages that answer the query"

typedef struct rerank_options {
    const char *query, *instruction;
    uint64_t top;
    fh_model_options model;
} rerank_options;

typedef struct ranked {
    char *text; /* owned */
    size_t index;
    double score, logit;
} ranked;

typedef struct reranking {
    const fh_cli *cli;
    const rerank_options *o;
    fh_opened x;
    fh_tokenizer *tokenizer;
    fh_tokenizer_scratch *scratch;
    bool in_words; /* asked for yes or no */
    bool head;     /* a classifier's head was bound */
    uint32_t yes, no;
    uint64_t n_segment; /* rows of the table of segments */
    fh_ids ids, type;
    ranked *item; /* [n] */
    size_t n, cap;
} reranking;

/* ---- one text ---- */

static fh_status add_text(reranking *z, fh_str s, bool special, fh_err *err) {
    const fh_encode_options opt = {.parse_special = special};
    return fh_tokenizer_encode(z->tokenizer, z->scratch, s, &opt, &z->ids, err);
}

/* The publisher's words around question and text, which are plain text: what they spell is no special token. */
static fh_status ask_in_words(reranking *z, fh_str text, fh_err *err) {
    static const char before[] =
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        "provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
    static const char after[] = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
    fh_buf body;
    fh_buf_init(&body, FH_CLI_TEXT_MOST);
    fh_buf_add_z(&body, "<Instruct>: ");
    fh_buf_add_z(&body, z->o->instruction);
    fh_buf_add_z(&body, "\n<Query>: ");
    fh_buf_add_z(&body, z->o->query);
    fh_buf_add_z(&body, "\n<Document>: ");
    fh_buf_add_str(&body, text);
    fh_status s = fh_buf_check(&body, err);
    if (s == FH_OK) s = add_text(z, fh_str_of(before), true, err);
    if (s == FH_OK) s = add_text(z, fh_buf_str(&body), false, err);
    if (s == FH_OK) s = add_text(z, fh_str_of(after), true, err);
    fh_buf_release(&body);
    return s;
}

static fh_status ask_as_pair(reranking *z, fh_str text, fh_err *err) {
    const fh_encode_options opt = {.add_special = true};
    fh_ids_clear(&z->type);
    FH_TRY(
        fh_tokenizer_encode_pair(z->tokenizer, z->scratch, fh_str_of(z->o->query), text, &opt, &z->ids, &z->type, err));
    for (size_t i = 0; z->n_segment > 1 && i < z->type.len; i++)
        if (z->type.ptr[i] != 0)
            return fh_fail(err, FH_ERR_UNSUPPORTED,
                           "this model reads question and text with different rows of its table of segments, which is "
                           "not supported");
    return FH_OK;
}

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

static fh_status judge_by_logits(reranking *z, double *logit, fh_err *err) {
    fh_session *s = NULL;
    yes_no k = {.yes = z->yes, .no = z->no};
    FH_TRY(fh_opened_session(&s, &z->x, &z->o->model, err));
    fh_work work = {.session = s, .token = z->ids.ptr, .n = (uint32_t)z->ids.len, .want = FH_WANT_LAST};
    fh_status st = fh_engine_step(z->x.engine, &work, 1, FH_EXPORT_LOGITS, take_yes_no, &k, NULL, err);
    fh_session_free(s);
    if (st == FH_OK) *logit = k.logit;
    return st;
}

static fh_status judge_by_head(reranking *z, double *logit, fh_err *err) {
    float score[MAX_LABELS];
    uint32_t n = fh_engine_width(z->x.engine, FH_EXPORT_SCORE);
    const fh_embed_input input = {.token = z->ids.ptr, .n = (uint32_t)z->ids.len};
    const fh_embed_options opt = {.adapters = fh_opened_adapters(&z->x)};
    if (n > 2) return fh_fail(err, FH_ERR_UNSUPPORTED, "the model tells %u labels apart: it is no reranker", n);
    FH_TRY(fh_embed_scores(z->x.engine, &input, 1, &opt, score, err));
    /* two rows are yes and no where the model is asked in words, no and yes where it is a classifier */
    *logit = n == 1        ? (double)score[0]
             : z->in_words ? (double)score[0] - (double)score[1]
                           : (double)score[1] - (double)score[0];
    return FH_OK;
}

static fh_status judge(reranking *z, ranked *r, fh_err *err) {
    fh_str text = fh_str_of(r->text);
    fh_ids_clear(&z->ids);
    FH_TRY(z->in_words ? ask_in_words(z, text, err) : ask_as_pair(z, text, err));
    FH_TRY(z->head ? judge_by_head(z, &r->logit, err) : judge_by_logits(z, &r->logit, err));
    r->score = 1 / (1 + exp(-r->logit));
    return FH_OK;
}

/* ---- texts ---- */

static fh_status add(reranking *z, fh_str text, fh_err *err) {
    if (z->n == MAX_TEXTS) return fh_fail(err, FH_ERR_LIMIT, "more than %u texts", MAX_TEXTS);
    if (z->n == z->cap) {
        size_t cap = z->cap ? z->cap * 2 : 64;
        ranked *p = fh_realloc(z->item, cap, sizeof *p);
        if (!p) return fh_fail_memory(err, cap * sizeof *p);
        z->item = p;
        z->cap = cap;
    }
    ranked r = {.index = z->n, .text = fh_strdup(text)};
    if (!r.text) return fh_fail_memory(err, text.len);
    z->item[z->n++] = r;
    return FH_OK;
}

static fh_status add_line(void *ctx, fh_str line, fh_buf *out, fh_err *err) {
    fh_json *doc = NULL;
    fh_str text;
    (void)out;
    FH_TRY(fh_json_parse(&doc, line, NULL, err));
    fh_status s = fh_json_to_str(fh_json_root(doc), &text) ? add(ctx, text, err)
                                                           : fh_fail(err, FH_ERR_FORMAT, "the line is no JSON string");
    fh_json_free(doc);
    return s;
}

static int better(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static void print_text(const reranking *z, size_t n, fh_buf *out) {
    for (size_t i = 0; i < n; i++) {
        fh_buf_printf(out, "%.6f  %zu  ", z->item[i].score, z->item[i].index);
        fh_cli_add_safe(out, fh_str_first(fh_str_of(z->item[i].text), 200));
        fh_buf_add_byte(out, '\n');
    }
}

static void print_json(const reranking *z, size_t n, fh_buf *out) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_array(&w);
    for (size_t i = 0; i < n; i++) {
        fh_json_put_object(&w);
        fh_json_put_key(&w, "index");
        fh_json_put_u64(&w, z->item[i].index);
        fh_json_put_key(&w, "relevance_score");
        fh_json_put_f64(&w, z->item[i].score);
        fh_json_put_key(&w, "logit");
        fh_json_put_f64(&w, z->item[i].logit);
        fh_json_put_key(&w, "document");
        fh_json_put_z(&w, z->item[i].text);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

/* ---- the command ---- */

static fh_status one_token(const reranking *z, const char *word, uint32_t *out, fh_err *err) {
    const fh_encode_options opt = {.add_special = false};
    fh_ids ids;
    fh_ids_init(&ids, 64);
    fh_status s = fh_tokenizer_encode(z->tokenizer, z->scratch, fh_str_of(word), &opt, &ids, err);
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

static fh_status start(reranking *z, const char *model, fh_err *err) {
    if (!z->o->query) return fh_fail(err, FH_ERR_USAGE, "--query is missing");
    FH_TRY(fh_opened_load(&z->x, z->cli, model, &z->o->model, err));
    const fh_plan *p = fh_model_plan(z->x.model, FH_PLAN_STEP);
    z->head = p->exported[FH_EXPORT_SCORE] != FH_NO_VALUE;
    z->n_segment = count_segments(fh_model_bundle(z->x.model));
    z->in_words = fh_model_spec(z->x.model)->topology == FH_TOPOLOGY_DECODER;
    if (!z->head && !z->in_words)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "'%.200s' has no head that scores: it is no reranker", z->x.at.name);
    FH_TRY(fh_tokenizer_open(&z->tokenizer, model, (fh_str){NULL, 0}, err));
    fh_cli_say_notes(z->cli, z->tokenizer);
    FH_TRY(fh_tokenizer_scratch_new(&z->scratch, z->tokenizer, err));
    if (!z->head) {
        FH_TRY(one_token(z, "yes", &z->yes, err));
        FH_TRY(one_token(z, "no", &z->no, err));
    }
    return fh_opened_start(&z->x, &z->o->model, 1, false, err);
}

static fh_status run(reranking *z, fh_cli *cli, const char *const *text, fh_buf *out, fh_err *err) {
    for (size_t i = 0; text[i]; i++) FH_TRY(add(z, fh_str_of(text[i]), err));
    if (!text[0]) FH_TRY(fh_cli_each_line(cli, add_line, z, err));
    if (z->n == 0) return fh_fail(err, FH_ERR_USAGE, "there are no texts to rank");
    for (size_t i = 0; i < z->n; i++) FH_TRY(judge(z, &z->item[i], err));
    qsort(z->item, z->n, sizeof *z->item, better);
    size_t n = z->o->top ? FH_MIN(z->n, (size_t)z->o->top) : z->n;
    if (cli->json) print_json(z, n, out);
    else print_text(z, n, out);
    return FH_OK;
}

int fh_cmd_rerank(fh_cli *cli) {
    rerank_options o = {.instruction = INSTRUCTION};
    const char *word[MAX_ARGUMENTS + 1] = {NULL};
    const fh_option options[] = {
        {"--query", FH_OPTION_TEXT, &o.query, "TEXT", "the question (needed)"},
        {"--instruction", FH_OPTION_TEXT, &o.instruction, "TEXT",
         "what counts as an answer, for models that are asked in words (default: \"" INSTRUCTION "\")"},
        {"--top", FH_OPTION_U64, &o.top, "N", "only the best N (default: all)"},
        FH_MODEL_OPTION_ROWS(o.model),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), word, MAX_ARGUMENTS);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    reranking z = {.cli = cli, .o = &o};
    fh_buf out;
    fh_ids_init(&z.ids, FH_CLI_TEXT_MOST);
    fh_ids_init(&z.type, FH_CLI_TEXT_MOST);
    fh_buf_init(&out, SIZE_MAX / 2);
    fh_status s = start(&z, word[0], &err);
    if (s == FH_OK) s = run(&z, cli, word[0] ? word + 1 : word, &out, &err);
    rc = s == FH_OK ? fh_cli_print(cli, &out) : fh_cli_fail(cli, &err);
    fh_buf_release(&out);
    for (size_t i = 0; i < z.n; i++) fh_free(z.item[i].text);
    fh_free(z.item);
    fh_ids_release(&z.type);
    fh_ids_release(&z.ids);
    fh_tokenizer_scratch_free(z.scratch);
    fh_tokenizer_free(z.tokenizer);
    fh_opened_close(&z.x);
    return rc;
}
