/* forge/feed.c - see feed.h. A safetensors model is opened as a conversion that is never written as a whole: its keys
 * SPDX-License-Identifier: Apache-2.0
 * become a GGUF without tensors in memory, its tensors a list that is computed on demand.
 * Invariant: what is fed is byte for byte what convert would have put into a file. */
#include "forge/feed.h"

#include "forge/convert_part.h"

#define KEYS_MOST ((size_t)1 << 30)
#define PIECE_BYTES ((size_t)1 << 20)

struct fh_feed {
    fh_bundle *bundle; /* GGUF; else the model has it */
    fh_model *model;
    fh_convert_options convert;
    fh_convert_job job;
    bool begun;
    fh_tensor *tensor; /* [job.n_tensor] */
    fh_buf keys;
    fh_gguf *gguf; /* of keys */
};

void fh_feed_close(fh_feed *f) {
    if (!f) return;
    fh_gguf_close(f->gguf);
    fh_buf_release(&f->keys);
    fh_free(f->tensor);
    if (f->begun) fh_convert_end(&f->job);
    fh_model_free(f->model);
    fh_bundle_close(f->bundle);
    fh_free(f);
}

static fh_status add_to_buf(void *ctx, const void *data, size_t n, fh_err *err) {
    fh_buf *b = ctx;
    fh_buf_add(b, data, n);
    return fh_buf_check(b, err);
}

static fh_status make_keys(fh_feed *f, fh_err *err) {
    fh_gguf_build *b = NULL;
    fh_writer *w = NULL;
    FH_TRY(fh_gguf_build_new(&b, err));
    fh_status st = fh_convert_put_keys(&f->job, b, err);
    if (st == FH_OK && !f->convert.no_tokenizer) st = fh_convert_vocab_to_gguf(&f->job, b, err);
    if (st == FH_OK) st = fh_writer_open_sink(&w, add_to_buf, &f->keys, err);
    if (st == FH_OK) st = fh_gguf_write_to(b, w, NULL, NULL, err);
    if (st == FH_OK) st = fh_gguf_open(&f->gguf, (fh_bytes){f->keys.ptr, f->keys.len}, err);
    fh_writer_abort(w);
    fh_gguf_build_free(b);
    return st;
}

static fh_status list_tensors(fh_feed *f, fh_err *err) {
    const uint32_t n = f->job.n_tensor;
    f->tensor = fh_alloc(n, sizeof *f->tensor);
    if (!f->tensor) return fh_fail_memory(err, n * sizeof *f->tensor);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t count, bytes;
        f->tensor[i] = f->job.tensor[i].t;
        if (!fh_shape_count(&f->tensor[i].shape, &count) || !fh_dtype_bytes(f->tensor[i].dtype, count, &bytes) ||
            bytes > SIZE_MAX)
            return fh_fail(err, FH_ERR_LIMIT, "'%.*s' is too large", FH_STR_ARG(f->tensor[i].name));
        f->tensor[i].data = (fh_bytes){NULL, (size_t)bytes};
    }
    return FH_OK;
}

static fh_status open_model(fh_feed *f, fh_err *err) {
    fh_bundle *b = f->bundle;
    f->bundle = NULL; /* loading takes it */
    FH_TRY(fh_model_load(&f->model, b, err));
    f->begun = true;
    FH_TRY(fh_convert_begin(&f->job, f->model, &f->convert, err));
    FH_TRY(list_tensors(f, err));
    return make_keys(f, err);
}

fh_status fh_feed_open(fh_feed **out, fh_bundle *b, const fh_feed_options *opt, fh_err *err) {
    fh_feed *f = fh_alloc_zero(1, sizeof *f);
    if (!f) {
        fh_bundle_close(b);
        return fh_fail_memory(err, sizeof *f);
    }
    f->bundle = b;
    fh_buf_init(&f->keys, KEYS_MOST);
    f->convert = (fh_convert_options){.type = opt && opt->keep_blocks ? FH_CONVERT_KEEP : FH_CONVERT_PLAIN,
                                      .no_tokenizer = opt && opt->no_tokenizer,
                                      .note = opt ? opt->note : NULL,
                                      .ctx = opt ? opt->ctx : NULL};
    const fh_status st = fh_bundle_form(b) == FH_FORM_GGUF ? FH_OK : open_model(f, err);
    if (st != FH_OK) {
        fh_feed_close(f);
        return st;
    }
    *out = f;
    return FH_OK;
}

const fh_bundle *fh_feed_bundle(const fh_feed *f) { return f->model ? fh_model_bundle(f->model) : f->bundle; }
const fh_gguf *fh_feed_keys(const fh_feed *f) { return f->model ? f->gguf : fh_bundle_gguf(f->bundle, 0); }
size_t fh_feed_n_tensor(const fh_feed *f) { return f->model ? f->job.n_tensor : fh_bundle_n_tensor(f->bundle); }

const fh_tensor *fh_feed_get_tensor(const fh_feed *f, size_t i) {
    return f->model ? &f->tensor[i] : fh_bundle_get_tensor(f->bundle, i);
}

fh_status fh_feed_read(fh_feed *f, const fh_tensor *t, fh_sink *sink, void *ctx, fh_err *err) {
    if (t->data.ptr) {
        const uint64_t cols = fh_shape_cols(&t->shape);
        const fh_dtype_info *info = fh_dtype_get_info(t->dtype);
        const size_t row = (size_t)(cols / info->block_elems * info->block_bytes);
        const size_t piece = row >= PIECE_BYTES ? row : PIECE_BYTES / row * row;
        for (size_t at = 0; at < t->data.len; at += piece)
            FH_TRY(sink(ctx, t->data.ptr + at, FH_MIN(piece, t->data.len - at), err));
        return FH_OK;
    }
    fh_writer *w;
    FH_TRY(fh_writer_open_sink(&w, sink, ctx, err));
    const fh_status st = fh_convert_write(&f->job, &f->job.tensor[t - f->tensor], w, err);
    fh_writer_abort(w);
    return st;
}
