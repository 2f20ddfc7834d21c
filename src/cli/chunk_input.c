/* cli/chunk_input.c - see chunk_input.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli/chunk_input.h"

#include "base/num.h"
#include "cli/text_part.h"
#include "library/open_tokenizer.h"

#define BATCH 512u
#define RESULT_BYTES ((uint64_t)256 << 20) /* of logits in one step */

fh_status fh_chunk_options_settle(fh_model_options *o, const fh_chunk_input *in, fh_err *err) {
    if (o->ctx == 0) o->ctx = FH_CHUNKS_DEFAULT;
    if (o->batch == 0) o->batch = BATCH;
    o->no_prefix_cache = true;
    if (o->ctx > FH_LOGITS_BASE_CONTEXT || in->stride > FH_LOGITS_BASE_CONTEXT)
        return fh_fail(err, FH_ERR_USAGE, "%s %llu is too long: chunks have at most %u tokens",
                       in->stride > FH_LOGITS_BASE_CONTEXT ? "--ppl-stride" : "--ctx",
                       (unsigned long long)FH_MAX(in->stride, o->ctx), FH_LOGITS_BASE_CONTEXT);
    if (in->skip > UINT32_MAX)
        return fh_fail(err, FH_ERR_USAGE, "--from-chunk %llu: no text has so many", (unsigned long long)in->skip);
    return FH_OK;
}

static fh_status read_text(fh_chunks *out, fh_chunk_input *in, const fh_tokenizer *t, const fh_model_options *o,
                           fh_err *err) {
    const fh_chunks_options opt = {.n_ctx = (uint32_t)o->ctx,
                                   .stride = (uint32_t)in->stride,
                                   .skip = (uint32_t)in->skip,
                                   .most = in->most,
                                   .parse_special = in->parse_special};
    fh_buf text;
    fh_buf_init(&text, FH_CLI_TEXT_MOST);
    fh_status st = strcmp(in->file, "-") == 0 ? fh_cli_read_all(&text, err) : fh_file_read(in->file, &text, err);
    if (st == FH_OK) st = fh_sha256_of((fh_bytes){text.ptr, text.len}, in->sha256, err);
    if (st == FH_OK) st = fh_chunks_read(out, t, fh_buf_str(&text), &opt, err);
    fh_buf_release(&text);
    return st;
}

fh_status fh_chunk_input_read(fh_chunks *out, fh_chunk_input *in, const fh_cli *cli, const char *model,
                              const fh_model_options *o, const fh_logits_base *base, fh_err *err) {
    fh_tokenizer *t = NULL;
    if (!base && !in->file) return fh_fail(err, FH_ERR_USAGE, "-f FILE is missing: the text to measure with");
    FH_TRY(fh_tokenizer_open(&t, model, (fh_str){NULL, 0}, err));
    fh_cli_say_notes(cli, t);
    const fh_status st = base ? fh_chunks_of_base(out, base, t, in->most, err) : read_text(out, in, t, o, err);
    fh_tokenizer_free(t);
    return st;
}

fh_status fh_chunk_start(fh_opened *x, const fh_model_options *o, fh_err *err) {
    const uint64_t row = sizeof(float) * (uint64_t)FH_MAX(fh_model_spec(x->model)->n_vocab, 1u);
    const uint64_t rows = FH_MIN(FH_MAX(RESULT_BYTES / row, 16u), o->batch);
    return fh_opened_start(x, o, (uint32_t)rows, false, err);
}

void fh_put_estimate(fh_json_writer *w, const char *key, fh_estimate e) {
    fh_json_put_key(w, key);
    fh_json_put_object(w);
    fh_json_put_key(w, "value");
    fh_json_put_f64(w, e.value);
    fh_json_put_key(w, "error");
    fh_json_put_f64(w, e.error);
    fh_json_put_end(w);
}
