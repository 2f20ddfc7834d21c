/* forge/imatrix_file.c - importance matrices from and to files: GGUF, and the older .dat.
 * SPDX-License-Identifier: Apache-2.0
 * .dat: i32 entries; for each i32 length, name, i32 calls, i32 values, f32 values[]; then, if there, i32 chunks,
 * i32 length, dataset. Its values are mean * calls.
 * Refuses: tensors that are not F32, sums without counts, counts that do not divide the values, names twice. */
#include <math.h>

#include "base/cursor.h"
#include "base/num.h"
#include "forge/imatrix_part.h"
#include "format/gguf.h"

#define SUMS ".in_sum2"
#define COUNTS ".counts"

/* ---- GGUF ---- */

/* Tensor data lie at any alignment: floats are copied before they are used. */
static fh_status copy_floats(const fh_tensor *t, fh_arena *scratch, float **out, uint64_t *n, fh_err *err) {
    if (t->dtype != FH_DTYPE_F32)
        return fh_fail_at(err, FH_ERR_FORMAT, t->file_offset, "'%.*s' is %s, not F32", FH_STR_ARG(t->name),
                          fh_dtype_name(t->dtype));
    *n = t->data.len / 4;
    *out = fh_arena_alloc(scratch, (size_t)*n, 4);
    if (!*out) return fh_arena_fail(scratch, err);
    memcpy(*out, t->data.ptr, t->data.len);
    return FH_OK;
}

static fh_status read_entry(fh_imatrix *m, const fh_gguf *g, const fh_tensor *sums, fh_err *err) {
    char counts_name[600];
    const fh_str name = fh_str_first(sums->name, sums->name.len - strlen(SUMS));
    float *sum, *count;
    uint64_t n_value, n_mat;
    fh_arena scratch;
    snprintf(counts_name, sizeof counts_name, "%.*s" COUNTS, (int)FH_MIN(name.len, (size_t)512), name.ptr);
    const fh_tensor *counts = fh_gguf_find_tensor(g, fh_str_of(counts_name));
    if (!counts)
        return fh_fail_at(err, FH_ERR_FORMAT, sums->file_offset, "'%.*s' has no counts", FH_STR_ARG(sums->name));
    fh_arena_init(&scratch, FH_IMATRIX_MEMORY);
    fh_status st = copy_floats(sums, &scratch, &sum, &n_value, err);
    if (st == FH_OK) st = copy_floats(counts, &scratch, &count, &n_mat, err);
    if (st == FH_OK) {
        for (uint64_t i = 0; i < n_mat; i++) count[i] = roundf(count[i]);
        st = fh_imatrix_add(m, name, n_value, n_mat, sum, count, err);
    }
    fh_arena_release(&scratch);
    return st;
}

fh_status fh_imatrix_read_gguf(fh_imatrix *m, fh_bytes file, fh_err *err) {
    fh_gguf *g;
    uint64_t v;
    fh_str s;
    FH_TRY(fh_gguf_open(&g, file, err));
    fh_status st = FH_OK;
    if (fh_gguf_to_u64(fh_gguf_find(g, "imatrix.chunk_count"), &v) && v <= UINT32_MAX) m->n_chunk = (uint32_t)v;
    if (fh_gguf_to_u64(fh_gguf_find(g, "imatrix.chunk_size"), &v) && v <= UINT32_MAX) m->chunk_size = (uint32_t)v;
    else st = fh_fail(err, FH_ERR_FORMAT, "no importance matrix: the key 'imatrix.chunk_size' is missing");
    const fh_gguf_kv *sets = fh_gguf_find(g, "imatrix.datasets");
    for (size_t at = 0; st == FH_OK && sets && fh_gguf_next_str(sets, &at, &s);) st = fh_imatrix_add_dataset(m, s, err);
    for (size_t i = 0; i < fh_gguf_n_tensor(g) && st == FH_OK; i++) {
        const fh_tensor *t = fh_gguf_get_tensor(g, i);
        if (fh_str_ends(t->name, SUMS)) st = read_entry(m, g, t, err);
    }
    fh_gguf_close(g);
    return st;
}

static fh_status add_entry(fh_gguf_build *b, const fh_imatrix_entry *e, fh_err *err) {
    char name[600];
    const uint64_t n = e->n_value / e->n_mat;
    snprintf(name, sizeof name, "%.*s" SUMS, (int)FH_MIN(e->name.len, (size_t)500), e->name.ptr);
    fh_tensor t = {.name = fh_str_of(name),
                   .dtype = FH_DTYPE_F32,
                   .shape = {.n_dim = 2, .dim = {e->n_mat, n}},
                   .data = {(const uint8_t *)e->sum, (size_t)e->n_value * 4}};
    FH_TRY(fh_gguf_build_add_tensor(b, &t, err));
    snprintf(name, sizeof name, "%.*s" COUNTS, (int)FH_MIN(e->name.len, (size_t)500), e->name.ptr);
    t.name = fh_str_of(name);
    t.shape.dim[1] = 1;
    t.data = (fh_bytes){(const uint8_t *)e->count, (size_t)e->n_mat * 4};
    return fh_gguf_build_add_tensor(b, &t, err);
}

fh_status fh_imatrix_write(const fh_imatrix *m, const char *path, fh_err *err) {
    fh_gguf_build *b;
    FH_TRY(fh_gguf_build_new(&b, err));
    fh_status st = fh_gguf_build_add_str(b, "general.type", FH_STR("imatrix"), err);
    if (st == FH_OK) st = fh_gguf_build_add_strs(b, "imatrix.datasets", m->dataset, m->n_dataset, err);
    if (st == FH_OK) st = fh_gguf_build_add_u32(b, "imatrix.chunk_count", m->n_chunk, err);
    if (st == FH_OK) st = fh_gguf_build_add_u32(b, "imatrix.chunk_size", m->chunk_size, err);
    for (size_t i = 0; i < m->n_entry && st == FH_OK; i++) st = add_entry(b, &m->entry[i], err);
    if (st == FH_OK) st = fh_gguf_write(b, path, NULL, NULL, err);
    fh_gguf_build_free(b);
    return st;
}

/* ---- .dat ---- */

static fh_status cut_short(const fh_cursor *c, fh_err *err) {
    return fh_fail_at(err, FH_ERR_FORMAT, c->pos,
                      "neither GGUF nor an importance matrix of the older form: it ends "
                      "within a field, or a length is not possible");
}

static fh_status read_dat_entry(fh_imatrix *m, fh_cursor *c, fh_err *err) {
    const uint32_t len = fh_cursor_u32(c);
    const size_t name_at = c->pos;
    const fh_bytes name = fh_cursor_take(c, len);
    const uint32_t calls = fh_cursor_u32(c), n = fh_cursor_u32(c);
    const fh_bytes data = fh_cursor_take(c, (uint64_t)n * 4);
    if (c->failed || n == 0) return cut_short(c, err);
    if (len == 0 || len > 512 || memchr(name.ptr, 0, len) || !fh_utf8_valid(fh_str_of_bytes(name)))
        return fh_fail_at(err, FH_ERR_FORMAT, name_at, "a weight's name of %u bytes that is none", len);
    bool found = fh_imatrix_find(m, fh_str_of_bytes(name)) != NULL;
    if (found) return fh_fail_at(err, FH_ERR_FORMAT, name_at, "'%.*s' stands twice", FH_STR_ARG(fh_str_of_bytes(name)));
    float *sum = fh_alloc(n, sizeof *sum);
    if (!sum) return fh_fail_memory(err, (size_t)n * 4);
    memcpy(sum, data.ptr, data.len);
    const float count = calls <= INT32_MAX ? (float)calls : 0;
    fh_status st = fh_imatrix_add(m, fh_str_of_bytes(name), n, 1, sum, &count, err);
    fh_free(sum);
    return st;
}

fh_status fh_imatrix_read_dat(fh_imatrix *m, fh_bytes file, fh_err *err) {
    fh_cursor c = fh_cursor_of(file);
    const uint32_t n = fh_cursor_u32(&c);
    if (c.failed || n == 0 || n > FH_IMATRIX_ENTRIES) {
        c.pos = 0;
        return cut_short(&c, err);
    }
    m->legacy = true;
    for (uint32_t i = 0; i < n; i++) FH_TRY(read_dat_entry(m, &c, err));
    if (fh_cursor_left(&c) == 0) return FH_OK;
    const uint32_t chunks = fh_cursor_u32(&c), len = fh_cursor_u32(&c);
    const fh_bytes set = fh_cursor_take(&c, len);
    if (c.failed) return cut_short(&c, err);
    m->n_chunk = chunks <= INT32_MAX ? chunks : 0;
    return len ? fh_imatrix_add_dataset(m, fh_str_of_bytes(set), err) : FH_OK;
}

static fh_status put_u32(fh_writer *w, uint64_t v, fh_err *err) {
    uint8_t b[4];
    if (v > INT32_MAX) return fh_fail(err, FH_ERR_LIMIT, "%llu does not fit the older form", (unsigned long long)v);
    const uint32_t u = (uint32_t)v;
    memcpy(b, &u, 4);
    return fh_writer_add(w, b, 4, err);
}

static fh_status put_dat_entry(fh_writer *w, const fh_imatrix *m, const fh_imatrix_entry *e, fh_err *err) {
    const uint64_t chunk = FH_MAX(m->chunk_size, 1u), n = e->n_value / e->n_mat;
    float most = 0;
    for (uint64_t j = 0; j < e->n_mat; j++) most = FH_MAX(most, e->count[j]);
    const uint64_t calls = ((uint64_t)most + chunk - 1) / chunk;
    FH_TRY(put_u32(w, e->name.len, err));
    FH_TRY(fh_writer_add(w, e->name.ptr, e->name.len, err));
    FH_TRY(put_u32(w, calls, err));
    FH_TRY(put_u32(w, e->n_value, err));
    for (uint64_t i = 0; i < e->n_value; i++) {
        const float count = e->count[i / n];
        float v = count > 0 ? e->sum[i] / count * (float)calls : (float)calls; /* 1 where nothing was seen */
        if (m->legacy) v = e->sum[i];
        FH_TRY(fh_writer_add(w, &v, 4, err));
    }
    return FH_OK;
}

static bool saw_nothing(const fh_imatrix *m, const fh_imatrix_entry *e) {
    for (uint64_t j = 0; j < e->n_mat; j++)
        if (e->count[j] > 0 || m->legacy) return false;
    return true;
}

fh_status fh_imatrix_write_dat(const fh_imatrix *m, const char *path, fh_err *err) {
    fh_writer *w;
    uint64_t n = 0;
    const fh_str set = m->n_dataset ? m->dataset[m->n_dataset - 1] : (fh_str){"", 0};
    for (size_t i = 0; i < m->n_entry; i++) n += !saw_nothing(m, &m->entry[i]);
    FH_TRY(fh_writer_open(&w, path, err));
    fh_status st = put_u32(w, n, err);
    for (size_t i = 0; i < m->n_entry && st == FH_OK; i++)
        if (!saw_nothing(m, &m->entry[i])) st = put_dat_entry(w, m, &m->entry[i], err);
    if (st == FH_OK) st = put_u32(w, m->n_chunk, err);
    if (st == FH_OK) st = put_u32(w, set.len, err);
    if (st == FH_OK) st = fh_writer_add(w, set.ptr, set.len, err);
    if (st != FH_OK) {
        fh_writer_abort(w);
        return st;
    }
    return fh_writer_commit(w, err);
}
