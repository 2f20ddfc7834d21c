/* cli/cmd_rerank.c - freehold rerank: which of these texts answers the question.
 * SPDX-License-Identifier: Apache-2.0
 * Texts are arguments, or JSON strings, one a line, on standard input. */
#include "base/json.h"
#include "base/num.h"
#include "cli/model_options.h"
#include "cli/text_part.h"
#include "infer/rerank.h"
#include "library/open_tokenizer.h"

#define MAX_TEXTS 100000u
#define MAX_ARGUMENTS 4096

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
    fh_reranker reranker;
    fh_ids ids;
    ranked *item; /* [n] */
    size_t n, cap;
} reranking;

/* ---- one text ---- */

static fh_status judge(reranking *z, ranked *r, fh_err *err) {
    const fh_rerank_question q = {fh_str_of(z->o->query), fh_str_of(z->o->instruction)};
    fh_ids_clear(&z->ids);
    FH_TRY(fh_reranker_ask(&z->reranker, z->scratch, &q, fh_str_of(r->text), &z->ids, err));
    const fh_embed_input input = {.token = z->ids.ptr, .n = (uint32_t)z->ids.len};
    const fh_embed_options opt = {.adapters = fh_opened_adapters(&z->x)};
    return fh_reranker_judge(&z->reranker, z->x.engine, &input, (uint32_t)z->o->model.ctx, &opt, &r->logit, &r->score,
                             err);
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

static fh_status start(reranking *z, const char *model, fh_err *err) {
    if (!z->o->query) return fh_fail(err, FH_ERR_USAGE, "--query is missing");
    FH_TRY(fh_opened_load(&z->x, z->cli, model, &z->o->model, err));
    FH_TRY(fh_tokenizer_open(&z->tokenizer, model, (fh_str){NULL, 0}, err));
    fh_cli_say_notes(z->cli, z->tokenizer);
    FH_TRY(fh_tokenizer_scratch_new(&z->scratch, z->tokenizer, err));
    FH_TRY(fh_reranker_init(&z->reranker, z->x.model, z->tokenizer, z->scratch, err));
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
    rerank_options o = {.instruction = FH_RERANK_INSTRUCTION};
    const char *word[MAX_ARGUMENTS + 1] = {NULL};
    const fh_option options[] = {
        {"--query", FH_OPTION_TEXT, &o.query, "TEXT", "the question (needed)"},
        {"--instruction", FH_OPTION_TEXT, &o.instruction, "TEXT",
         "what counts as an answer, for models that are asked in words (default: \"" FH_RERANK_INSTRUCTION "\")"},
        {"--top", FH_OPTION_U64, &o.top, "N", "only the best N (default: all)"},
        FH_MODEL_OPTION_ROWS(o.model),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), word, MAX_ARGUMENTS);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    reranking z = {.cli = cli, .o = &o};
    fh_buf out;
    fh_ids_init(&z.ids, FH_CLI_TEXT_MOST);
    fh_buf_init(&out, SIZE_MAX / 2);
    fh_status s = start(&z, word[0], &err);
    if (s == FH_OK) s = run(&z, cli, word[0] ? word + 1 : word, &out, &err);
    rc = s == FH_OK ? fh_cli_print(cli, &out) : fh_cli_fail(cli, &err);
    fh_buf_release(&out);
    for (size_t i = 0; i < z.n; i++) fh_free(z.item[i].text);
    fh_free(z.item);
    fh_ids_release(&z.ids);
    fh_tokenizer_scratch_free(z.scratch);
    fh_tokenizer_free(z.tokenizer);
    fh_opened_close(&z.x);
    return rc;
}
