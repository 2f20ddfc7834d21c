/* cli/cmd_logits.c - freehold logits: what the network answers, before anything is chosen.
 * SPDX-License-Identifier: Apache-2.0
 * stdout carries raw little-endian f32 rows and nothing else: decoders one row of logits per token (encoder-decoders:
 * per decoder token), encoders and embedders one hidden row per token, rerankers the score. What a model is there for
 * is decided in library/model_text.c. With --json: a JSON array a row. */
#include <unistd.h>

#include "base/json.h"
#include "base/num.h"
#include "cli/model_options.h"
#include "library/model_text.h"

#define MAX_TOKENS ((size_t)1 << 24)
#define ROWS 64 /* computed per step; how many does not show in them */
#define MAX_ROW ((size_t)1 << 28)

typedef struct logits_options {
    const char *tokens, *decoder_tokens;
    fh_model_options model;
} logits_options;

typedef struct row_writer {
    const fh_cli *cli;
    uint32_t width;
    fh_buf line;
} row_writer;

static fh_status put_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    row_writer *w = ctx;
    (void)work, (void)index;
    if (!w->cli->json) {
        if (fwrite(row, sizeof *row, w->width, w->cli->out) == w->width) return FH_OK;
        return fh_fail_errno(err, "write", "standard output");
    }
    fh_json_writer j;
    fh_buf_clear(&w->line);
    fh_json_writer_init(&j, &w->line, false);
    fh_json_put_array(&j);
    for (uint32_t i = 0; i < w->width; i++) fh_json_put_f64(&j, (double)row[i]);
    fh_json_put_end(&j);
    fh_buf_add_byte(&w->line, '\n');
    FH_TRY(fh_buf_check(&w->line, err));
    fwrite(w->line.ptr, 1, w->line.len, w->cli->out);
    return FH_OK;
}

/* A score is one row's: of the first token where every token sees all others, else of the last. */
static fh_want rows_wanted(const fh_opened *x, fh_export what) {
    if (what != FH_EXPORT_SCORE) return FH_WANT_ALL;
    return fh_model_spec(x->model)->topology == FH_TOPOLOGY_ENCODER ? FH_WANT_FIRST : FH_WANT_LAST;
}

static fh_status compute(const fh_opened *x, const logits_options *o, const fh_ids *tokens, const fh_ids *decoder,
                         row_writer *w, fh_err *err) {
    fh_session *s = NULL;
    const fh_ids *in = tokens;
    fh_export what = fh_model_purpose(x->model);
    w->width = fh_engine_width(x->engine, what);
    FH_TRY(fh_opened_session(&s, x, &o->model, err));
    fh_status st = FH_OK;
    if (fh_model_plan(x->model, FH_PLAN_ENCODE)) {
        in = decoder;
        st = fh_session_encode(s, tokens->ptr, (uint32_t)tokens->len, err);
    }
    fh_work work = {.session = s, .token = in->ptr, .n = (uint32_t)in->len, .want = rows_wanted(x, what)};
    if (st == FH_OK) st = fh_engine_step(x->engine, &work, 1, what, put_row, w, NULL, err);
    fh_session_free(s);
    return st;
}

static fh_status read_tokens(const fh_opened *x, const logits_options *o, fh_ids *tokens, fh_ids *decoder,
                             fh_err *err) {
    bool both = fh_model_plan(x->model, FH_PLAN_ENCODE) != NULL;
    if (!o->tokens) return fh_fail(err, FH_ERR_USAGE, "--tokens is missing: ids, such as --tokens \"1 2 3\"");
    FH_TRY(fh_cli_parse_ids(tokens, o->tokens, "--tokens", err));
    if (tokens->len == 0) return fh_fail(err, FH_ERR_USAGE, "--tokens holds no token");
    if (!both && o->decoder_tokens)
        return fh_fail(err, FH_ERR_USAGE, "--decoder-tokens is for models with an encoder and a decoder");
    if (both && o->decoder_tokens) return fh_cli_parse_ids(decoder, o->decoder_tokens, "--decoder-tokens", err);
    if (both) fh_ids_add(decoder, fh_model_spec(x->model)->decoder_start);
    return fh_ids_check(decoder, err);
}

int fh_cmd_logits(fh_cli *cli) {
    logits_options o = {0};
    const char *model = NULL;
    const fh_option options[] = {
        {"--tokens", FH_OPTION_TEXT, &o.tokens, "IDS", "\"1 2 3\": the text, or the encoder's input (needed)"},
        {"--decoder-tokens", FH_OPTION_TEXT, &o.decoder_tokens, "IDS",
         "the decoder's text so far (default: the token that starts an answer)"},
        FH_MODEL_OPTION_ROWS(o.model),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    fh_opened x = {0};
    fh_ids tokens, decoder;
    row_writer w = {.cli = cli};
    fh_ids_init(&tokens, MAX_TOKENS);
    fh_ids_init(&decoder, MAX_TOKENS);
    fh_buf_init(&w.line, MAX_ROW);
    fh_status s = FH_OK;
    if (!cli->json && isatty(fileno(cli->out)))
        s = fh_fail(&err, FH_ERR_USAGE, "raw numbers are not for a terminal: redirect them, or ask for --json");
    if (s == FH_OK) s = fh_opened_load(&x, cli, model, &o.model, &err);
    if (s == FH_OK) s = read_tokens(&x, &o, &tokens, &decoder, &err);
    if (s == FH_OK) s = fh_opened_start(&x, &o.model, ROWS, false, &err);
    if (s == FH_OK) s = compute(&x, &o, &tokens, &decoder, &w, &err);
    fh_buf_release(&w.line);
    fh_ids_release(&decoder);
    fh_ids_release(&tokens);
    fh_opened_close(&x);
    return s == FH_OK ? 0 : fh_cli_fail(cli, &err);
}
