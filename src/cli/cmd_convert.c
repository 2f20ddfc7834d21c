/* cli/cmd_convert.c - freehold convert: safetensors folder to GGUF, GGUF to safetensors folder.
 * SPDX-License-Identifier: Apache-2.0
 * The source decides the direction; --to only confirms it. */
#include "base/num.h"
#include "cli/cli.h"
#include "forge/convert.h"
#include "library/builtin.h"

typedef struct convert_args {
    const char *to, *type;
    bool no_tokenizer;
} convert_args;

typedef struct convert_ui {
    fh_cli *cli;
    fh_progress progress;
    bool started;
} convert_ui;

static void show_progress(void *ctx, uint64_t done, uint64_t total) {
    convert_ui *ui = ctx;
    if (!ui->started) fh_progress_start(&ui->progress, ui->cli, "convert", total);
    ui->started = true;
    fh_progress_at(&ui->progress, done);
}

static void show_note(void *ctx, const char *text) { fh_cli_note(((const convert_ui *)ctx)->cli, text); }

static fh_status read_type(const char *text, fh_convert_type *out, fh_err *err) {
    static const char *const names[] = {"keep", "f32", "f16", "bf16"};
    for (size_t i = 0; text && i < FH_COUNT(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (fh_convert_type)i;
            return FH_OK;
        }
    return text ? fh_fail(err, FH_ERR_USAGE, "--type '%s': give keep, f32, f16 or bf16", text) : FH_OK;
}

static fh_status check_target(const convert_args *a, const fh_bundle *b, fh_err *err) {
    bool gguf = fh_bundle_form(b) == FH_FORM_GGUF;
    if (!a->to) return FH_OK;
    if (strcmp(a->to, "gguf") != 0 && strcmp(a->to, "safetensors") != 0)
        return fh_fail(err, FH_ERR_USAGE, "--to '%s': give gguf or safetensors", a->to);
    if ((strcmp(a->to, "gguf") == 0) != gguf) return FH_OK;
    return fh_fail(err, FH_ERR_USAGE, "the model is %s already", gguf ? "GGUF" : "safetensors");
}

static fh_status convert(fh_cli *cli, const char *in, const char *out, const convert_args *a, fh_err *err) {
    fh_location at;
    fh_bundle *b = NULL;
    fh_model *m = NULL;
    convert_ui ui = {.cli = cli};
    fh_convert_options opt = {
        .no_tokenizer = a->no_tokenizer, .progress = show_progress, .note = show_note, .ctx = &ui};
    FH_TRY(read_type(a->type, &opt.type, err));
    FH_TRY(fh_locate(&at, in, err));
    FH_TRY(fh_location_open(&b, &at, err));
    fh_status s = check_target(a, b, err);
    if (s != FH_OK) {
        fh_bundle_close(b);
        return s;
    }
    FH_TRY(fh_model_load(&m, b, err));
    s = fh_convert(m, out, &opt, err);
    if (ui.started) fh_progress_end(&ui.progress);
    fh_model_free(m);
    return s;
}

int fh_cmd_convert(fh_cli *cli); /* its row in commands.def says the same */
int fh_cmd_convert(fh_cli *cli) {
    convert_args a = {0};
    const char *path[2] = {NULL, NULL};
    const fh_option options[] = {
        {"--to", FH_OPTION_TEXT, &a.to, "FORM", "gguf or safetensors (default: the one that IN is not)"},
        {"--type", FH_OPTION_TEXT, &a.type, "TYPE", "of matrices: keep, f32, f16, bf16 (default: keep)"},
        {"--no-tokenizer", FH_OPTION_FLAG, &a.no_tokenizer, NULL, "leave the tokenizer out (default: convert it, too)"},
    };
    fh_err err = {0};
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), path, 2);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    if (!path[0] || !path[1]) {
        fh_fail(&err, FH_ERR_USAGE, "give a model and where to write it");
        return fh_cli_fail(cli, &err);
    }
    return convert(cli, path[0], path[1], &a, &err) == FH_OK ? 0 : fh_cli_fail(cli, &err);
}
