/* forge/quantize.c - carries a quantization out: rows through all cores, into a new file.
 * SPDX-License-Identifier: Apache-2.0
 * Rows are handed out in small portions; the caller writes one slab of output while the others fill the next. Rows
 * that have to be computed first (safetensors) come through a slab of input.
 * Refuses: numbers that are not finite, in what is read and in the scales that are written. */
#include <stdatomic.h>

#include "base/num.h"
#include "forge/quantize_part.h"
#include "kernel/decode.h"
#include "kernel/quantize.h"

#define SLAB_BYTES ((size_t)8 << 20)
#define PORTION ((size_t)32768) /* numbers that a thread takes at a time */
#define MAX_ROW ((uint64_t)1 << 26)

typedef struct quantize_job {
    const fh_quantize_plan *plan;
    const fh_quantize_options *opt;
    fh_feed *feed;
    fh_pool *pool;
    fh_str salt;
    size_t first; /* of the plan's items in the file being written */
    uint64_t done;
    float **scratch;          /* [workers] */
    uint8_t *slab[2], *input; /* input: rows that were computed, SLAB_BYTES or one row */
    float *weight;            /* of the tensor at hand: [matrices * columns], or NULL */
} quantize_job;

/* A run of rows of one tensor, shared by all threads. */
typedef struct quantize_run {
    const quantize_job *job;
    const fh_quantize_tensor *item;
    uint64_t first, n; /* rows */
    uint64_t cols, rows_per_matrix, from_row_bytes, to_row_bytes, portion;
    uint64_t per_slab; /* rows */
    const uint8_t *in; /* row `first` */
    uint8_t *out;
    fh_writer *writer; /* for what the caller writes meanwhile */
    const uint8_t *ready;
    size_t n_ready;
    uint64_t ready_from; /* bytes that it was made of */
    unsigned turn;       /* which slab is next */
    fh_status write_status;
    fh_err write_err;
    _Atomic uint64_t next, bad_in, bad_out; /* bad: the first such row */
} quantize_run;

static bool is_finite(const float *x, size_t n) {
    uint32_t worst = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, 4);
        u &= 0x7fffffffu;
        worst = worst > u ? worst : u;
    }
    return worst < 0x7f800000u;
}

static void note_bad(_Atomic uint64_t *at, uint64_t row) {
    uint64_t old = atomic_load(at);
    while (row < old && !atomic_compare_exchange_weak(at, &old, row)) continue;
}

/* Rows that share a matrix, so that they share weights. */
static void quantize_rows(quantize_run *r, float *x, uint64_t row, uint64_t n) {
    const fh_quantize_tensor *item = r->item;
    const fh_tensor *t = item->from;
    const fh_dtype_info *to = fh_dtype_get_info(item->type);
    const float *weight = r->job->weight ? r->job->weight + row / r->rows_per_matrix * r->cols : NULL;
    uint8_t *out = r->out + (row - r->first) * r->to_row_bytes;
    fh_decode(t->dtype, r->in + (row - r->first) * r->from_row_bytes, x, (size_t)(n * r->cols));
    if (!is_finite(x, (size_t)(n * r->cols))) note_bad(&r->bad_in, row);
    fh_quantize(item->type, x, out, (size_t)n, (size_t)r->cols, item->weighted ? weight : NULL);
    if (!fh_quantize_is_valid(item->type, out, (size_t)(n * r->cols / to->block_elems))) note_bad(&r->bad_out, row);
}

static void quantize_worker(void *ctx, int worker, int n_worker) {
    quantize_run *r = ctx;
    (void)n_worker;
    if (worker == 0 && r->n_ready) r->write_status = fh_writer_add(r->writer, r->ready, r->n_ready, &r->write_err);
    for (;;) {
        uint64_t at = atomic_fetch_add(&r->next, r->portion);
        if (at >= r->n) return;
        const uint64_t end = r->first + FH_MIN(at + r->portion, r->n);
        for (uint64_t row = r->first + at; row < end;) {
            const uint64_t border = (row / r->rows_per_matrix + 1) * r->rows_per_matrix, stop = FH_MIN(end, border);
            quantize_rows(r, r->job->scratch[worker], row, stop - row);
            row = stop;
        }
    }
}

static fh_status check_run(const quantize_run *r, fh_err *err) {
    const fh_tensor *t = r->item->from;
    if (r->write_status != FH_OK) {
        if (err) *err = r->write_err;
        return r->write_status;
    }
    const uint64_t in = atomic_load(&r->bad_in), out = atomic_load(&r->bad_out);
    if (in != UINT64_MAX)
        return fh_fail_at(err, FH_ERR_FORMAT, t->file_offset + in * r->from_row_bytes,
                          "'%.*s', rows from %llu on: a number is not finite", FH_STR_ARG(t->name),
                          (unsigned long long)in);
    if (out != UINT64_MAX)
        return fh_fail_at(err, FH_ERR_FORMAT, t->file_offset + out * r->from_row_bytes,
                          "'%.*s', rows from %llu on: numbers too large for the scales of %s", FH_STR_ARG(t->name),
                          (unsigned long long)out, fh_dtype_name(r->item->type));
    return FH_OK;
}

static void report(quantize_job *j, uint64_t bytes) {
    j->done += bytes;
    if (j->opt->progress) j->opt->progress(j->opt->progress_ctx, j->done, j->plan->bytes_from);
}

/* n rows from `first` on, at in; the slab before is written meanwhile. */
static fh_status run_rows(quantize_job *j, quantize_run *r, const uint8_t *in, uint64_t n, fh_err *err) {
    r->in = in;
    r->n = n;
    r->out = j->slab[r->turn++ % 2];
    atomic_store(&r->next, 0);
    atomic_store(&r->bad_in, UINT64_MAX);
    atomic_store(&r->bad_out, UINT64_MAX);
    fh_pool_run(j->pool, quantize_worker, r);
    FH_TRY(check_run(r, err));
    report(j, r->ready_from);
    r->ready = r->out;
    r->n_ready = (size_t)(n * r->to_row_bytes);
    r->ready_from = n * r->from_row_bytes;
    r->first += n;
    return FH_OK;
}

/* Rows on their way from the feed: gathered until there are enough. */
typedef struct intake {
    quantize_job *j;
    quantize_run *r;
    size_t n, room; /* bytes in j->input */
    fh_status (*use)(struct intake *in, fh_err *err);
} intake;

static fh_status take_bytes(void *ctx, const void *data, size_t n, fh_err *err) {
    intake *in = ctx;
    const uint8_t *p = data;
    while (n > 0) {
        const size_t some = FH_MIN(n, in->room - in->n);
        memcpy(in->j->input + in->n, p, some);
        in->n += some;
        p += some;
        n -= some;
        if (in->n < in->room) continue;
        FH_TRY(in->use(in, err));
        in->n = 0;
    }
    return FH_OK;
}

static fh_status take_all(intake *in, const fh_tensor *t, fh_err *err) {
    FH_TRY(fh_feed_read(in->j->feed, t, take_bytes, in, err));
    return in->n > 0 ? in->use(in, err) : FH_OK;
}

static fh_status use_rows(intake *in, fh_err *err) {
    return run_rows(in->j, in->r, in->j->input, in->n / in->r->from_row_bytes, err);
}

static fh_status convert_tensor(quantize_job *j, const fh_quantize_tensor *item, fh_writer *w, fh_err *err) {
    const fh_tensor *t = item->from;
    const fh_dtype_info *from = fh_dtype_get_info(t->dtype), *to = fh_dtype_get_info(item->type);
    const uint64_t cols = fh_shape_cols(&t->shape), rows = fh_shape_rows(&t->shape);
    quantize_run r = {.job = j,
                      .item = item,
                      .cols = cols,
                      .rows_per_matrix = t->shape.n_dim >= 2 ? t->shape.dim[t->shape.n_dim - 2] : 1,
                      .from_row_bytes = cols / from->block_elems * from->block_bytes,
                      .to_row_bytes = cols / to->block_elems * to->block_bytes,
                      .portion = FH_MAX(PORTION / cols, (uint64_t)1),
                      .writer = w};
    r.per_slab = FH_MAX(SLAB_BYTES / r.to_row_bytes, (uint64_t)1);
    if (t->data.ptr) {
        for (uint64_t row = 0; row < rows; row += r.per_slab)
            FH_TRY(run_rows(j, &r, t->data.ptr + row * r.from_row_bytes, FH_MIN(r.per_slab, rows - row), err));
    } else {
        const uint64_t fit = FH_MAX(SLAB_BYTES / r.from_row_bytes, (uint64_t)1);
        intake in = {.j = j, .r = &r, .use = use_rows};
        in.room = (size_t)(FH_MIN(r.per_slab, fit) * r.from_row_bytes);
        FH_TRY(take_all(&in, t, err));
    }
    FH_TRY(fh_writer_add(w, r.ready, r.n_ready, err));
    report(j, r.ready_from);
    return FH_OK;
}

static fh_status copy_blocks(quantize_job *j, const fh_tensor *t, const uint8_t *p, size_t n, uint64_t at, fh_writer *w,
                             fh_err *err) {
    if (!fh_quantize_is_valid(t->dtype, p, n / fh_dtype_get_info(t->dtype)->block_bytes))
        return fh_fail_at(err, FH_ERR_FORMAT, t->file_offset + at, "'%.*s': a number is not finite",
                          FH_STR_ARG(t->name));
    FH_TRY(fh_writer_add(w, p, n, err));
    report(j, n);
    return FH_OK;
}

static fh_status use_copy(intake *in, fh_err *err) {
    quantize_run *r = in->r;
    FH_TRY(copy_blocks(in->j, r->item->from, in->j->input, in->n, r->first, r->writer, err));
    r->first += in->n;
    return FH_OK;
}

static fh_status copy_tensor(quantize_job *j, const fh_quantize_tensor *item, fh_writer *w, fh_err *err) {
    const fh_tensor *t = item->from;
    const uint32_t block = fh_dtype_get_info(t->dtype)->block_bytes;
    const size_t piece = SLAB_BYTES / block * block;
    if (!t->data.ptr) {
        quantize_run r = {.job = j, .item = item, .writer = w};
        intake in = {.j = j, .r = &r, .room = piece, .use = use_copy};
        return take_all(&in, t, err);
    }
    for (size_t at = 0; at < t->data.len; at += piece)
        FH_TRY(copy_blocks(j, t, t->data.ptr + at, FH_MIN(t->data.len - at, piece), at, w, err));
    return FH_OK;
}

static fh_status load_weights(quantize_job *j, const fh_quantize_tensor *item, fh_err *err) {
    fh_free(j->weight);
    j->weight = NULL;
    if (!item->weighted) return FH_OK;
    const fh_imatrix_entry *e = fh_imatrix_find(j->opt->imatrix, item->from->name);
    j->weight = fh_alloc((size_t)e->n_value, sizeof *j->weight);
    if (!j->weight) return fh_fail_memory(err, (size_t)e->n_value * sizeof *j->weight);
    fh_imatrix_weights(j->opt->imatrix, e, j->weight);
    return FH_OK;
}

static fh_status put_tensor(void *ctx, size_t i, const fh_tensor *t, fh_writer *w, fh_err *err) {
    quantize_job *j = ctx;
    const fh_quantize_tensor *item = &j->plan->item[j->first + i];
    (void)t;
    fh_status st = FH_OK;
    j->done = 0; /* tensors of an earlier process were not asked for */
    for (const fh_quantize_tensor *k = j->plan->item; k < item; k++) j->done += k->from->data.len;
    if (item->type == item->from->dtype) st = copy_tensor(j, item, w, err);
    else {
        st = load_weights(j, item, err);
        if (st == FH_OK) st = convert_tensor(j, item, w, err);
    }
    const fh_bundle *b = fh_feed_bundle(j->feed);
    if (st == FH_ERR_FORMAT)
        fh_err_set_path(err, item->from->data.ptr ? fh_bundle_part_path(b, item->from->part) : fh_bundle_path(b));
    return st;
}

/* ---- files ---- */

static fh_status add_split_keys(fh_gguf_build *g, uint16_t no, uint16_t count, int32_t n_tensor, fh_err *err) {
    uint8_t bytes[2][2], tensors[4];
    memcpy(bytes[0], &no, 2);
    memcpy(bytes[1], &count, 2);
    memcpy(tensors, &n_tensor, 4);
    const fh_gguf_kv kv[3] = {
        {.key = FH_STR("split.no"), .type = FH_GGUF_U16, .n = 1, .payload = {bytes[0], 2}},
        {.key = FH_STR("split.count"), .type = FH_GGUF_U16, .n = 1, .payload = {bytes[1], 2}},
        {.key = FH_STR("split.tensors.count"), .type = FH_GGUF_I32, .n = 1, .payload = {tensors, 4}}};
    for (size_t i = 0; i < 3; i++) FH_TRY(fh_gguf_build_add_kv(g, &kv[i], err));
    return FH_OK;
}

/* The items first .. first + n as a file of their own. */
static fh_status write_part(quantize_job *j, size_t n, uint16_t no, uint16_t count, const char *path, fh_err *err) {
    fh_gguf_build *g;
    FH_TRY(fh_gguf_build_new(&g, err));
    fh_status st = no == 0 ? fh_quantize_put_keys(j->plan, j->feed, g, j->opt, err) : FH_OK;
    if (st == FH_OK && count > 1) st = add_split_keys(g, no, count, (int32_t)j->plan->n, err);
    for (size_t i = 0; i < n && st == FH_OK; i++) {
        const fh_quantize_tensor *item = &j->plan->item[j->first + i];
        fh_tensor t = *item->from;
        t.name = item->name;
        t.dtype = item->type;
        t.data = (fh_bytes){NULL, 0};
        for (; t.shape.n_dim > 1 && t.shape.dim[0] == 1; t.shape.n_dim--)
            memmove(t.shape.dim, t.shape.dim + 1, (t.shape.n_dim - 1) * sizeof t.shape.dim[0]);
        st = fh_gguf_build_add_tensor(g, &t, err);
    }
    if (st == FH_OK) st = fh_gguf_write_resumable(g, path, j->salt, put_tensor, j, err);
    fh_gguf_build_free(g);
    return st;
}

static fh_status write_parts(quantize_job *j, const char *to, fh_err *err) {
    const fh_quantize_plan *p = j->plan;
    const size_t count = fh_bundle_n_part(fh_feed_bundle(j->feed));
    fh_str prefix = fh_str_of(to);
    if (!j->opt->keep_split || count < 2) return write_part(j, p->n, 0, 1, to, err);
    if (count > UINT16_MAX) return fh_fail(err, FH_ERR_LIMIT, "more than %u parts", UINT16_MAX);
    if (fh_str_ends(prefix, ".gguf")) prefix = fh_str_first(prefix, prefix.len - 5);
    for (size_t part = 0; part < count; part++) {
        char path[FH_PATH_MAX];
        const fh_gguf_split s = {.count = (uint32_t)count, .prefix = prefix};
        size_t n = 0;
        while (j->first + n < p->n && p->item[j->first + n].from->part == part) n++;
        FH_TRY(fh_gguf_split_path(path, &s, (uint32_t)part + 1, err));
        FH_TRY(write_part(j, n, (uint16_t)part, (uint16_t)count, path, err));
        j->first += n;
    }
    return FH_OK;
}

/* Scratch for the longest rows that there are. */
static fh_status reserve(quantize_job *j, fh_err *err) {
    size_t numbers = PORTION, slab = SLAB_BYTES, input = 0;
    const size_t n = (size_t)fh_pool_size(j->pool);
    for (size_t i = 0; i < j->plan->n; i++) {
        const fh_quantize_tensor *item = &j->plan->item[i];
        const uint64_t cols = fh_shape_cols(&item->from->shape);
        const fh_dtype_info *to = fh_dtype_get_info(item->type);
        if (!item->from->data.ptr) input = FH_MAX(input, SLAB_BYTES);
        if (item->type == item->from->dtype) continue;
        if (cols > MAX_ROW)
            return fh_fail(err, FH_ERR_LIMIT, "'%.*s' has rows of %llu numbers", FH_STR_ARG(item->from->name),
                           (unsigned long long)cols);
        numbers = FH_MAX(numbers, (size_t)cols);
        slab = FH_MAX(slab, (size_t)(cols / to->block_elems * to->block_bytes));
        if (!item->from->data.ptr) input = FH_MAX(input, (size_t)cols * sizeof(double));
    }
    j->scratch = fh_alloc_zero(n, sizeof *j->scratch);
    if (!j->scratch) return fh_fail_memory(err, n * sizeof *j->scratch);
    for (size_t i = 0; i < n; i++)
        if (!(j->scratch[i] = fh_alloc(numbers, sizeof(float)))) return fh_fail_memory(err, numbers * sizeof(float));
    for (size_t i = 0; i < 2; i++)
        if (!(j->slab[i] = fh_alloc(slab, 1))) return fh_fail_memory(err, slab);
    if (input && !(j->input = fh_alloc(input, 1))) return fh_fail_memory(err, input);
    return FH_OK;
}

fh_status fh_quantize_write(const fh_quantize_plan *p, fh_feed *f, const char *to, const fh_quantize_options *opt,
                            fh_pool *pool, fh_err *err) {
    quantize_job j = {.plan = p, .opt = opt, .feed = f, .pool = pool};
    fh_buf salt;
    fh_status st = fh_quantize_salt(p, f, opt, &salt, err);
    j.salt = fh_buf_str(&salt);
    if (st == FH_OK) st = reserve(&j, err);
    if (st == FH_OK) st = write_parts(&j, to, err);
    if (st == FH_OK) st = fh_bundle_check(fh_feed_bundle(f), err);
    for (int i = 0; j.scratch && i < fh_pool_size(pool); i++) fh_free(j.scratch[i]);
    fh_free(j.scratch);
    for (size_t i = 0; i < 2; i++) fh_free(j.slab[i]);
    fh_free(j.input);
    fh_free(j.weight);
    fh_buf_release(&salt);
    return st;
}
