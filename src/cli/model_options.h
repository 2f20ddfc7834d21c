/* cli/model_options.h - what the commands that compute with a model share: their options, and the model opened by them.
 * SPDX-License-Identifier: Apache-2.0
 * An opened model is: where it was found, its plans (model/), and an engine with this machine's threads (infer/). */
#ifndef FH_CLI_MODEL_OPTIONS_H
#define FH_CLI_MODEL_OPTIONS_H

#include "cli/cli.h"
#include "infer/engine.h"
#include "library/builtin.h"
#include "model/adapt.h"
#include "text/ids.h"

typedef struct fh_model_options {
    uint64_t threads, ctx, page, batch;
    const char *kv_type, *cpu_level;
    bool exact, no_prefix_cache; /* the latter is the command's to set: its sessions have nothing in common */
    fh_cli_list adapters;        /* DIR[:scale] */
} fh_model_options;

/* Rows for a command's table; o is an fh_model_options. */
#define FH_MODEL_OPTION_ROWS(o) \
    {"--threads", FH_OPTION_U64, &(o).threads, "N", "threads (default: one per CPU that this process may use)"}, \
        {"--ctx", FH_OPTION_U64, &(o).ctx, "N", "tokens of context at most (default: what the model was made for)"}, \
        {"--kv-type", FH_OPTION_TEXT, &(o).kv_type, "TYPE", \
         "keys and values as f32, f16, bf16 or q8_0 (default: f16; f32 with --exact)"}, \
        {"--page", FH_OPTION_U64, &(o).page, "N", "tokens in a page of state: 16, 32 or 64 (default: 32)"}, \
        {"--batch", FH_OPTION_U64, &(o).batch, "N", "tokens computed at once, at most (default: 512)"}, \
        {"--cpu-level", FH_OPTION_TEXT, &(o).cpu_level, "LEVEL", \
         "use no instructions above this level: ref, avx2, ... (default: all that `freehold doctor` proves)"}, \
        {"--exact", FH_OPTION_FLAG, &(o).exact, NULL, \
         "32-bit arithmetic in one fixed order: the same bits on every machine (default: no)"}, \
    { \
        "--adapter", FH_OPTION_LIST, &(o).adapters, "DIR[:SCALE]", \
            "a LoRA adapter, PEFT folder or GGUF; may be repeated (default: none)" \
    }

typedef struct fh_opened {
    const fh_cli *cli;
    fh_location at;
    fh_model *model;
    fh_engine *engine;    /* NULL until fh_opened_start */
    fh_adapter **adapter; /* [n_adapter] */
    size_t n_adapter;
    fh_adaption *adaption; /* NULL: no adapters */
    uint64_t load_ns;
} fh_opened;

/* Binds and compiles; says on err what a user should know about the model. First of all --cpu-level: kernels are chosen
 * when they are first used. */
FH_MUST_USE fh_status fh_opened_load(fh_opened *out, const fh_cli *cli, const char *model, const fh_model_options *o,
                                     fh_err *err);
/* Threads and scratch. rows: results per step at most, 0: as many as tokens. keep: every intermediate value stays. */
FH_MUST_USE fh_status fh_opened_start(fh_opened *x, const fh_model_options *o, uint32_t rows, bool keep, fh_err *err);
void fh_opened_close(fh_opened *x); /* {0} is fine */
/* A session with the options' context and adapters. */
FH_MUST_USE fh_status fh_opened_session(fh_session **out, const fh_opened *x, const fh_model_options *o, fh_err *err);

/* The engine's options as the user set them; rows and keep_values are the caller's. */
FH_MUST_USE fh_status fh_model_options_engine(fh_engine_options *out, const fh_model_options *o, fh_err *err);

const fh_adapter_set *fh_opened_adapters(const fh_opened *x); /* or NULL */

/* "1 2 3", commas allowed; appended. what names the option in the message. */
FH_MUST_USE fh_status fh_cli_parse_ids(fh_ids *out, const char *text, const char *what, fh_err *err);

#endif
