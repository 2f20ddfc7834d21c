/* cli/chunk_input.h - what `freehold perplexity` and `freehold imatrix` share: a text from a file as chunks of tokens,
 * options for that, and the running estimate.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_CLI_CHUNK_INPUT_H
#define FH_CLI_CHUNK_INPUT_H

#include "base/hash.h"
#include "base/json.h"
#include "cli/model_options.h"
#include "evaluate/perplexity.h"

typedef struct fh_chunk_input {
    const char *file;
    uint64_t most, skip, stride;
    bool parse_special;
    char sha256[FH_SHA256_HEX]; /* of the text, once it was read */
} fh_chunk_input;

/* Rows for a command's table; i is an fh_chunk_input, o an fh_model_options. */
#define FH_CHUNK_INPUT_ROWS(i, o) \
    {"-f", FH_OPTION_TEXT, &(i).file, "FILE", "the text; - is standard input (needed)"}, \
        {"--file", FH_OPTION_TEXT, &(i).file, "FILE", "the same"}, \
        {"-c", FH_OPTION_U64, &(o).ctx, "N", "tokens in a chunk; the same as --ctx, and its default here: 512"}, \
        {"--chunks", FH_OPTION_U64, &(i).most, "N", "chunks at most (default: all)"}, { \
        "--from-chunk", FH_OPTION_U64, &(i).skip, "N", "leave out so many at the front (default: 0)" \
    }

/* Settles the options that depend on what is to be measured: chunks of 512 tokens where nothing else was said, batches,
 * no prefix cache. */
FH_MUST_USE fh_status fh_chunk_options_settle(fh_model_options *o, const fh_chunk_input *in, fh_err *err);
/* The text's chunks, or those of base (which may be NULL). The tokenizer is the model's. */
FH_MUST_USE fh_status fh_chunk_input_read(fh_chunks *out, fh_chunk_input *in, const fh_cli *cli, const char *model,
                                          const fh_model_options *o, const fh_logits_base *base, fh_err *err);
/* fh_opened_start with room for as many results as one step is worth. */
FH_MUST_USE fh_status fh_chunk_start(fh_opened *x, const fh_model_options *o, fh_err *err);

/* {"value": v, "error": e} */
void fh_put_estimate(fh_json_writer *w, const char *key, fh_estimate e);

#endif
