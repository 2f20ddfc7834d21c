/* cli/cmd_embed.c - freehold embed: texts to vectors, as the model's own files want it.
 * SPDX-License-Identifier: Apache-2.0
 * A JSON array a text on stdout. Texts are arguments, or standard input as one, or with --batch JSON strings, one a
 * line. */
#include "base/json.h"
#include "base/num.h"
#include "infer/embed_recipe.h"
#include "cli/model_options.h"
#include "cli/text_part.h"
#include "infer/embed.h"
#include "library/open_tokenizer.h"

#define MAX_TEXTS 4096
#define ROWS \
    32 /* results per step of models that see only what was before; logits of more would be memory for nothing */

typedef struct embed_options {
    const char *tokens, *pooling, *prompt;
    uint64_t dimensions;
    bool batch, plain, whole;
    fh_model_options model;
} embed_options;

typedef struct embedding {
    const fh_cli *cli;
    const embed_options *o;
    fh_opened x;
    fh_embed_recipe recipe;
    fh_str prompt;
    fh_tokenizer *tokenizer;
    fh_tokenizer_scratch *scratch;
    fh_ids ids, body;
    fh_buf text; /* prompt and input */
    float *v;    /* room for the widest layer */
    uint32_t row, width;
    uint64_t n_text;
} embedding;

/* ---- tokens ---- */

/* The model's files bound the length: the text is cut, what stands around it stays. Said aloud. */
static fh_status cut(embedding *z, fh_str text, fh_err *err) {
    const fh_encode_options bare = {.add_special = false};
    size_t most = z->recipe.most_tokens, n = z->ids.len, head = 0;
    if (most == 0 || n <= most) return FH_OK;
    if (z->o->whole) return fh_fail(err, FH_ERR_LIMIT, "the text has %zu tokens; the model's files take %zu", n, most);
    fh_ids_clear(&z->body);
    FH_TRY(fh_tokenizer_encode(z->tokenizer, z->scratch, text, &bare, &z->body, err));
    size_t body = z->body.len, around = n - FH_MIN(n, body);
    while (head < around && memcmp(z->ids.ptr + head, z->body.ptr, body * sizeof *z->ids.ptr) != 0) head++;
    if (around >= most) return fh_fail(err, FH_ERR_LIMIT, "the model's files leave no room for a text");
    size_t keep = most - around, tail = around - head;
    memmove(z->ids.ptr + head + keep, z->ids.ptr + n - tail, tail * sizeof *z->ids.ptr);
    z->ids.len = most;
    fprintf(
        z->cli->err,
        "freehold embed: text %llu has %zu tokens and was cut to %zu, as the model's sentence_bert_config.json says "
        "(--whole refuses instead)\n",
        (unsigned long long)z->n_text, n, most);
    return FH_OK;
}

static fh_status tokens_of(embedding *z, fh_str text, fh_err *err) {
    const fh_encode_options opt = {.add_special = true};
    fh_buf_clear(&z->text);
    fh_buf_add_str(&z->text, z->prompt);
    fh_buf_add_str(&z->text, text);
    FH_TRY(fh_buf_check(&z->text, err));
    fh_ids_clear(&z->ids);
    FH_TRY(fh_tokenizer_encode(z->tokenizer, z->scratch, fh_buf_str(&z->text), &opt, &z->ids, err));
    return cut(z, fh_buf_str(&z->text), err);
}

/* ---- vectors ---- */

static fh_status put_vector(embedding *z, fh_buf *out, fh_err *err) {
    const fh_embed_input input = {.token = z->ids.ptr, .n = (uint32_t)z->ids.len};
    const fh_embed_options opt = {.pooling = z->recipe.pooling, .adapters = fh_opened_adapters(&z->x)};
    fh_json_writer w;
    FH_TRY(fh_embed_texts(z->x.engine, &input, 1, &opt, z->v, err));
    FH_TRY(fh_embed_recipe_finish(&z->recipe, z->v, z->row, z->width, err));
    fh_json_writer_init(&w, out, false);
    fh_json_put_array(&w);
    for (uint32_t i = 0; i < z->width; i++) fh_json_put_f64(&w, (double)z->v[i]);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
    return FH_OK;
}

static fh_status embed_text(embedding *z, fh_str text, fh_buf *out, fh_err *err) {
    z->n_text++;
    FH_TRY(tokens_of(z, text, err));
    return put_vector(z, out, err);
}

static fh_status embed_line(void *ctx, fh_str line, fh_buf *out, fh_err *err) {
    embedding *z = ctx;
    fh_json *doc = NULL;
    fh_str text;
    FH_TRY(fh_json_parse(&doc, line, NULL, err));
    fh_status s = fh_json_to_str(fh_json_root(doc), &text) ? embed_text(z, text, out, err)
                                                           : fh_fail(err, FH_ERR_FORMAT, "the line is no JSON string");
    fh_json_free(doc);
    return s;
}

static fh_status embed_all(embedding *z, fh_cli *cli, const char *const *text, fh_buf *out, fh_err *err) {
    fh_buf in;
    if (z->o->tokens) {
        FH_TRY(fh_cli_parse_ids(&z->ids, z->o->tokens, "--tokens", err));
        return put_vector(z, out, err);
    }
    if (z->o->batch) return fh_cli_each_line(cli, embed_line, z, err);
    for (size_t i = 0; text[i]; i++) FH_TRY(embed_text(z, fh_str_of(text[i]), out, err));
    if (text[0]) return FH_OK;
    fh_buf_init(&in, FH_CLI_TEXT_MOST);
    fh_status s = fh_cli_read_all(&in, err);
    while (s == FH_OK && in.len && in.ptr[in.len - 1] == '\n') in.len--;
    if (s == FH_OK) s = embed_text(z, fh_buf_str(&in), out, err);
    fh_buf_release(&in);
    return s;
}

/* ---- the command ---- */

static fh_status set_pooling(embedding *z, fh_err *err) {
    static const struct {
        const char *name;
        fh_pooling pooling;
    } kinds[] = {{"mean", FH_POOLING_MEAN}, {"cls", FH_POOLING_CLS}, {"last", FH_POOLING_LAST}};
    if (!z->o->pooling) return FH_OK;
    for (size_t i = 0; i < FH_COUNT(kinds); i++) {
        if (strcmp(z->o->pooling, kinds[i].name) != 0) continue;
        z->recipe.pooling = kinds[i].pooling;
        return FH_OK;
    }
    return fh_fail(err, FH_ERR_USAGE, "--pooling is mean, cls or last, not '%.60s'", z->o->pooling);
}

static fh_status set_width(embedding *z, fh_err *err) {
    uint32_t room;
    z->row = fh_engine_width(z->x.engine, FH_EXPORT_HIDDEN);
    z->width = fh_embed_recipe_width(&z->recipe, z->row);
    if (z->width == 0) return fh_fail(err, FH_ERR_FORMAT, "the model's dense layers do not fit its rows");
    room = FH_MAX(z->row, z->width);
    for (uint32_t i = 0; i < z->recipe.n_dense; i++) room = FH_MAX(room, z->recipe.dense[i].out);
    if (z->o->dimensions > z->width)
        return fh_fail(err, FH_ERR_USAGE, "--dimensions %llu: the model's vectors have %u",
                       (unsigned long long)z->o->dimensions, z->width);
    if (z->o->dimensions) z->width = (uint32_t)z->o->dimensions;
    z->v = fh_alloc(room, sizeof *z->v);
    return z->v ? FH_OK : fh_fail_memory(err, room * sizeof *z->v);
}

static fh_status start(embedding *z, const char *model, fh_err *err) {
    const embed_options *o = z->o;
    FH_TRY(fh_opened_load(&z->x, z->cli, model, &o->model, err));
    if (fh_model_plan(z->x.model, FH_PLAN_ENCODE))
        return fh_fail(err, FH_ERR_UNSUPPORTED, "'%.200s' has an encoder and a decoder, and no vector for a text",
                       z->x.at.name);
    FH_TRY(fh_embed_recipe_read(&z->recipe, z->x.model, err));
    FH_TRY(set_pooling(z, err));
    if (o->plain) z->recipe.normalize = false;
    FH_TRY(fh_embed_recipe_prompt(&z->recipe, o->prompt, &z->prompt, err));
    if (!o->tokens) {
        FH_TRY(fh_tokenizer_open(&z->tokenizer, model, (fh_str){NULL, 0}, err));
        fh_cli_say_notes(z->cli, z->tokenizer);
        FH_TRY(fh_tokenizer_scratch_new(&z->scratch, z->tokenizer, err));
    }
    FH_TRY(fh_opened_start(&z->x, &o->model, ROWS, false, err));
    return set_width(z, err);
}

static void finish(embedding *z) {
    fh_free(z->v);
    fh_buf_release(&z->text);
    fh_ids_release(&z->body);
    fh_ids_release(&z->ids);
    fh_tokenizer_scratch_free(z->scratch);
    fh_tokenizer_free(z->tokenizer);
    fh_embed_recipe_release(&z->recipe);
    fh_opened_close(&z->x);
}

int fh_cmd_embed(fh_cli *cli) {
    embed_options o = {0};
    const char *word[MAX_TEXTS + 1] = {NULL};
    const fh_option options[] = {
        {"--batch", FH_OPTION_FLAG, &o.batch, NULL, "a JSON string a line in, an array a line out (default: one text)"},
        {"--tokens", FH_OPTION_TEXT, &o.tokens, "IDS", "\"1 2 3\" in place of text (default: text)"},
        {"--pooling", FH_OPTION_TEXT, &o.pooling, "mean|cls|last", "(default: as the model's files say)"},
        {"--dimensions", FH_OPTION_U64, &o.dimensions, "N", "the first N numbers, for models made so (default: all)"},
        {"--prompt", FH_OPTION_TEXT, &o.prompt, "NAME",
         "one of the prompts in the model's files, such as query (default: the files' default)"},
        {"--no-normalize", FH_OPTION_FLAG, &o.plain, NULL, "vectors of any length (default: as the model's files say)"},
        {"--whole", FH_OPTION_FLAG, &o.whole, NULL,
         "refuse texts that the model's files would have cut (default: cut them, and say so)"},
        FH_MODEL_OPTION_ROWS(o.model),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), word, MAX_TEXTS);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    embedding z = {.cli = cli, .o = &o};
    fh_buf out;
    fh_ids_init(&z.ids, FH_CLI_TEXT_MOST);
    fh_ids_init(&z.body, FH_CLI_TEXT_MOST);
    fh_buf_init(&z.text, FH_CLI_TEXT_MOST);
    fh_buf_init(&out, SIZE_MAX / 2);
    fh_status s = start(&z, word[0], &err);
    if (s == FH_OK) s = embed_all(&z, cli, word[0] ? word + 1 : word, &out, &err);
    rc = s == FH_OK ? fh_cli_print(cli, &out) : fh_cli_fail(cli, &err);
    fh_buf_release(&out);
    finish(&z);
    return rc;
}
