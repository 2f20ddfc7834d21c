/* forge/convert_data.c - the numbers of each tensor: read as the plan sees them, written as the target wants them.
 * SPDX-License-Identifier: Apache-2.0
 * One matrix in memory at the most, in f32, and only where rows become columns; else a few rows at a time.
 * Numbers that the plan changes on reading (norms stored less one, decays as logarithms) are changed back so that
 * reading gives the same bits again. */
#include <math.h>

#include "forge/convert_part.h"
#include "kernel/decode.h"
#include "kernel/matrix_decode.h"
#include "kernel/weight_decode.h"

#define CHUNK_BYTES ((size_t)1 << 20)

/* ---- vectors ---- */

static float decay_of(double x) { return (float)-exp(x); }

/* A number whose exponential is -target: of bf16 where one is, else of f32, else of f64. */
static double log_of(float target) {
    double x = log(-(double)target);
    if (target == 0) return -200;
    if (!isfinite(target)) return 200;
    float b = fh_bf16_to_f32(fh_f32_to_bf16((float)x)), up = (float)x, down = (float)x;
    if (decay_of((double)b) == target) return (double)b;
    for (int i = 0; i < 8; i++) {
        if (decay_of((double)up) == target) return (double)up;
        if (decay_of((double)down) == target) return (double)down;
        up = nextafterf(up, INFINITY);
        down = nextafterf(down, -INFINITY);
    }
    return x;
}

static double in_target(const fh_convert_job *j, fh_slot slot, float v) {
    if (j->to_gguf) return (double)v;
    if (j->spec->family->norm_plus_one && fh_slot_is_norm(slot)) {
        float w = v - 1.0f;
        return 1.0f + w == v ? (double)w : (double)v - 1.0;
    }
    return slot == FH_SLOT_DELTA_DECAY ? log_of(v) : (double)v;
}

bool fh_convert_numbers(const fh_convert_job *j, const fh_convert_tensor *c, double *out) {
    const fh_bound *at = &j->bind.vector_of[c->vector[0]];
    const fh_vector *a = &j->tables->vector[c->vector[0]];
    const fh_vector *b = c->vector[1] == FH_CONVERT_NO_ID ? NULL : &j->tables->vector[c->vector[1]];
    uint64_t width = at->slot == FH_SLOT_DELTA_CONV ? j->spec->delta.taps : 1;
    uint64_t half = b ? fh_shape_cols(&c->t.shape) / 2 : 0;
    bool f32 = true;
    for (uint64_t i = 0; i < a->n; i++) {
        uint64_t from = i;
        if (c->moved) from = fh_form_row(j->spec, at->slot, at->layer, j->to_gguf, i / width) * width + i % width;
        double v = in_target(j, at->slot, a->v[from]);
        if (b) {
            uint64_t row = i / half * 2 * half, k = i % half;
            out[row + (c->interleaved ? 2 * k : k)] = v;
            out[row + (c->interleaved ? 2 * k + 1 : half + k)] = (double)b->v[i];
        } else {
            out[i] = v;
        }
        f32 = f32 && (double)(float)v == v;
    }
    return f32;
}

/* ---- writing ---- */

static fh_status put(fh_convert_job *j, const void *bytes, size_t n, fh_writer *w, fh_err *err) {
    FH_TRY(fh_writer_add(w, bytes, n, err));
    j->done += n;
    if (j->opt->progress) j->opt->progress(j->opt->ctx, j->done, j->total);
    return FH_OK;
}

static fh_status put_floats(fh_convert_job *j, fh_dtype t, const float *v, uint64_t n, uint8_t *buf, fh_writer *w,
                            fh_err *err) {
    uint64_t bytes = 0;
    if (!fh_dtype_bytes(t, n, &bytes)) return fh_fail(err, FH_ERR_LIMIT, "a row is too long");
    fh_encode(t, v, buf, (size_t)n);
    return put(j, buf, (size_t)bytes, w, err);
}

static fh_status write_vector(fh_convert_job *j, const fh_convert_tensor *c, fh_writer *w, fh_err *err) {
    uint64_t n = 0;
    fh_status s = FH_OK;
    if (!fh_shape_count(&c->t.shape, &n)) return fh_fail(err, FH_ERR_LIMIT, "too many numbers");
    double *v = fh_alloc((size_t)n, sizeof *v);
    float *f = fh_alloc((size_t)n, sizeof *f);
    uint8_t *buf = fh_alloc((size_t)n, 8);
    if (!v || !f || !buf) s = fh_fail_memory(err, (size_t)n * 8);
    if (s == FH_OK) {
        bool exact = fh_convert_numbers(j, c, v);
        for (uint64_t i = 0; i < n; i++) f[i] = (float)v[i];
        s = exact || c->t.dtype != FH_DTYPE_F64 ? put_floats(j, c->t.dtype, f, n, buf, w, err)
                                                : put(j, v, (size_t)n * sizeof *v, w, err);
    }
    fh_free(v);
    fh_free(f);
    fh_free(buf);
    return s;
}

/* ---- matrices ---- */

typedef struct rows_out {
    fh_convert_job *j;
    const fh_convert_tensor *c;
    const fh_bound *at;
    fh_writer *w;
    float *row; /* one row of the target, or of the source */
    uint8_t *buf;
} rows_out;

/* Rows of the source's matrix m, whichever way it lies: all of them, [out][in]. */
static void whole(const fh_matrix *x, uint32_t m, float *row, float *out) {
    if (!x->transposed) {
        fh_matrix_decode_rows(x, m, 0, x->out, out);
        return;
    }
    float *column = row + fh_matrix_row_floats(x);
    for (uint64_t i = 0; i < x->in; i++) {
        fh_matrix_decode_col(x, m, i, 0, x->out, row, column);
        for (uint64_t o = 0; o < x->out; o++) out[o * x->in + i] = column[o];
    }
}

static uint64_t source_row(const rows_out *o, uint64_t r) {
    return o->c->moved ? fh_form_row(o->j->spec, o->at->slot, o->at->layer, o->j->to_gguf, r) : r;
}

/* Straight rows, in the target's order of columns. */
static fh_status straight(rows_out *o, const fh_matrix *x, uint32_t m, fh_err *err) {
    float *sorted = o->row + x->in;
    for (uint64_t r = 0; r < o->c->pad; r++) {
        memset(o->row, 0, x->in * sizeof *o->row);
        FH_TRY(put_floats(o->j, o->c->t.dtype, o->row, x->in, o->buf, o->w, err));
    }
    for (uint64_t r = o->c->skip; r < x->out; r++) {
        const float *row = o->row;
        fh_matrix_decode_rows(x, m, source_row(o, r), 1, o->row);
        if (o->c->moved) {
            for (uint64_t i = 0; i < x->in; i++)
                sorted[i] = o->row[fh_form_col(o->j->spec, o->at->slot, o->j->to_gguf, i)];
            row = sorted;
        }
        FH_TRY(put_floats(o->j, o->c->t.dtype, row, x->in, o->buf, o->w, err));
    }
    return FH_OK;
}

/* Row r of the joined matrix: of the first or the second. */
static const float *joined_row(const fh_convert_tensor *c, const float *a, const float *b, uint64_t r, uint64_t out,
                               uint64_t in) {
    if (!b) return a + r * in;
    if (c->interleaved) return (r % 2 ? b : a) + r / 2 * in;
    return r < out ? a + r * in : b + (r - out) * in;
}

static fh_status loaded(rows_out *o, const fh_matrix *x, uint32_t m, float *a, fh_err *err) {
    const fh_convert_tensor *c = o->c;
    const fh_matrix *y = c->matrix[1] == FH_CONVERT_NO_ID ? NULL : &o->j->tables->matrix[c->matrix[1]];
    float *b = y ? a + x->out * x->in : NULL;
    whole(x, m, o->row, a);
    if (y) whole(y, m, o->row, b);
    if (c->stacked) { /* keys: the first's columns are rows; values: the second's rows */
        for (uint64_t i = 0; i < x->in; i++) {
            for (uint64_t r = 0; r < x->out; r++) o->row[r] = a[r * x->in + i];
            FH_TRY(put_floats(o->j, c->t.dtype, o->row, x->out, o->buf, o->w, err));
        }
        for (uint64_t r = 0; r < y->out; r++)
            FH_TRY(put_floats(o->j, c->t.dtype, b + r * y->in, y->in, o->buf, o->w, err));
        return FH_OK;
    }
    uint64_t rows = y ? 2 * x->out : x->out;
    for (uint64_t r = 0; !c->turned && r < rows; r++)
        FH_TRY(put_floats(o->j, c->t.dtype, joined_row(c, a, b, r, x->out, x->in), x->in, o->buf, o->w, err));
    for (uint64_t i = 0; c->turned && i < x->in; i++) {
        for (uint64_t r = 0; r < rows; r++) o->row[r] = joined_row(c, a, b, r, x->out, x->in)[i];
        FH_TRY(put_floats(o->j, c->t.dtype, o->row, rows, o->buf, o->w, err));
    }
    return FH_OK;
}

/* ---- packed 4-bit floats, code by code ---- */

/* How many columns a block covers: its scales are the source's own. */
static uint32_t block_cols(fh_dtype t) { return t == FH_DTYPE_MXFP4 ? 32 : 64; }

fh_dtype fh_convert_block_type(const fh_matrix *m) {
    fh_dtype best = FH_DTYPE_F32;
    if (m->transposed) return best;
    for (uint32_t i = 0; i < m->n_weight; i++) {
        const fh_weight *w = m->weight[i];
        bool e8m0 = w->scale && (w->scale_is_e8m0 || w->scale->dtype == FH_DTYPE_F8_E8M0);
        bool e4m3 = w->scale && w->scale->dtype == FH_DTYPE_F8_E4M3 && w->global && !w->global_divides &&
                    w->global->dtype == FH_DTYPE_F32 && (w->global->data.len == 4 || m->n_weight == 1);
        bool codes = w->codebook == FH_CODEBOOK_E2M1 && w->packing == FH_PACK_NIBBLE && w->group_rows == 1 &&
                     w->zero_kind == FH_ZERO_NONE && !w->group_index && !w->scale_transposed && w->factor == 0;
        fh_dtype t = !codes                                           ? FH_DTYPE_F32
                     : e8m0 && !w->global && w->group_cols == 32      ? FH_DTYPE_MXFP4
                     : e4m3 && w->group_cols == 16 && m->in % 64 == 0 ? FH_DTYPE_NVFP4
                                                                      : FH_DTYPE_F32;
        if (t == FH_DTYPE_F32 || (i && t != best)) return FH_DTYPE_F32;
        best = t;
    }
    return m->in % block_cols(best) == 0 ? best : FH_DTYPE_F32;
}

/* The stored byte of the scale of a group. */
static uint8_t scale_byte(const fh_weight *w, uint64_t row, uint64_t group) {
    uint64_t per_row = fh_weight_cols(w) / w->group_cols;
    return w->scale->data.ptr[(w->scale_shared ? row % fh_weight_rows(w) : row) * per_row + group];
}

static void pack_mxfp4(const fh_weight *w, uint64_t row, uint64_t block, uint8_t *out) {
    out[0] = scale_byte(w, row, block);
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t low = fh_weight_code(w, row, block * 32 + i), high = fh_weight_code(w, row, block * 32 + 16 + i);
        out[1 + i] = (uint8_t)(low | high << 4);
    }
}

static void pack_nvfp4(const fh_weight *w, uint64_t row, uint64_t block, uint8_t *out) {
    for (uint32_t s = 0; s < 4; s++) {
        out[s] = scale_byte(w, row, block * 4 + s);
        for (uint32_t i = 0; i < 8; i++) {
            uint64_t at = block * 64 + s * 16 + i;
            uint32_t low = fh_weight_code(w, row, at), high = fh_weight_code(w, row, at + 8);
            out[4 + 8 * s + i] = (uint8_t)(low | high << 4);
        }
    }
}

static fh_status packed(rows_out *o, const fh_matrix *x, uint32_t m, fh_err *err) {
    uint64_t cols = block_cols(o->c->block), n = x->in / cols;
    size_t size = fh_dtype_get_info(o->c->block)->block_bytes;
    const fh_weight *w = fh_matrix_weight(x, m);
    for (uint64_t r = 0; r < x->out; r++) {
        uint64_t row = fh_matrix_row(x, m, source_row(o, r));
        for (uint64_t b = 0; b < n; b++) {
            if (o->c->block == FH_DTYPE_MXFP4) pack_mxfp4(w, row, b, o->buf + b * size);
            else pack_nvfp4(w, row, b, o->buf + b * size);
        }
        FH_TRY(put(o->j, o->buf, (size_t)n * size, o->w, err));
    }
    return FH_OK;
}

static fh_status write_matrix(fh_convert_job *j, const fh_convert_tensor *c, fh_writer *w, fh_err *err) {
    const fh_matrix *x = &j->tables->matrix[c->matrix[0]];
    const fh_matrix *y = c->matrix[1] == FH_CONVERT_NO_ID ? NULL : &j->tables->matrix[c->matrix[1]];
    bool load = c->block == FH_DTYPE_F32 && (x->transposed || c->turned || y);
    size_t wide = (size_t)(fh_matrix_row_floats(x) + x->in + x->out), all = load ? (size_t)(x->out * x->in) : 0;
    if (y) wide += (size_t)(fh_matrix_row_floats(y) + y->in + y->out), all += load ? (size_t)(y->out * y->in) : 0;
    rows_out o = {.j = j, .c = c, .at = &j->bind.matrix_of[c->matrix[0]], .w = w};
    float *a = fh_alloc(all ? all : 1, sizeof *a);
    o.row = fh_alloc(2 * wide, sizeof *o.row);
    o.buf = fh_alloc(2 * wide, 8);
    fh_status s = a && o.row && o.buf ? FH_OK : fh_fail_memory(err, (2 * wide * 3 + all) * sizeof *a);
    for (uint32_t m = c->mat; s == FH_OK && m < c->mat + c->n_mat; m++)
        s = c->block != FH_DTYPE_F32 ? packed(&o, x, m, err)
            : load                   ? loaded(&o, x, m, a, err)
                                     : straight(&o, x, m, err);
    fh_free(a);
    fh_free(o.row);
    fh_free(o.buf);
    return s;
}

fh_status fh_convert_write(fh_convert_job *j, const fh_convert_tensor *c, fh_writer *w, fh_err *err) {
    uint64_t n = 0;
    if (c->list) {
        if (!fh_shape_count(&c->t.shape, &n)) return fh_fail(err, FH_ERR_LIMIT, "too many numbers");
        return put(j, c->list, (size_t)n * sizeof *c->list, w, err);
    }
    return c->vector[0] != FH_CONVERT_NO_ID ? write_vector(j, c, w, err) : write_matrix(j, c, w, err);
}

fh_status fh_convert_exact_type(const fh_convert_job *j, uint32_t id, fh_dtype *out, fh_err *err) {
    const fh_matrix *x = &j->tables->matrix[id];
    size_t most = (size_t)FH_MAX(x->in, x->out);
    float *row = fh_alloc(most + fh_matrix_row_floats(x), sizeof *row);
    bool bf16 = true, f16 = true;
    if (!row) return fh_fail_memory(err, most * sizeof *row);
    for (uint32_t m = 0; m < x->n_mat && (bf16 || f16); m++)
        for (uint64_t r = 0; r < (x->transposed ? x->in : x->out) && (bf16 || f16); r++) {
            uint64_t n = x->transposed ? x->out : x->in;
            if (x->transposed) fh_matrix_decode_col(x, m, r, 0, n, row + most, row);
            else fh_matrix_decode_rows(x, m, r, 1, row);
            for (uint64_t i = 0; i < n; i++) {
                bf16 = bf16 && fh_bf16_to_f32(fh_f32_to_bf16(row[i])) == row[i];
                f16 = f16 && fh_f16_to_f32(fh_f32_to_f16(row[i])) == row[i];
            }
        }
    fh_free(row);
    *out = bf16 ? FH_DTYPE_BF16 : f16 ? FH_DTYPE_F16 : FH_DTYPE_F32;
    return FH_OK;
}
