/* format/safetensors_write.c - writing a safetensors file: header first, then each tensor's bytes, streamed.
 * SPDX-License-Identifier: Apache-2.0
 * Owns copies of names and metadata; data is the caller's. Refuses what the reader would refuse: names that
 * stand twice, dtypes the format does not have, sizes that do not fit the shape, headers over the limit, and a
 * source that writes more or fewer bytes than its tensor has.
 * Invariant: what is written, read and written again by this program is byte for byte the same. */
#include <inttypes.h>

#include "base/mem.h"
#include "base/num.h"
#include "format/order.h"
#include "format/safetensors.h"

#define TEXT_CEILING ((size_t)FH_ST_MAX_HEADER)

typedef struct entry {
    fh_str key, value;
} entry;

struct fh_st_build {
    fh_arena arena; /* names, keys, values */
    fh_tensor *tensor;
    entry *meta;
    size_t n_tensor, cap_tensor, n_meta, cap_meta;
};

fh_status fh_st_build_new(fh_st_build **out, fh_err *err) {
    fh_st_build *b = fh_alloc_zero(1, sizeof *b);
    if (!b) return fh_fail_memory(err, sizeof *b);
    fh_arena_init(&b->arena, 2 * TEXT_CEILING); /* pieces are rounded up to 16 bytes */
    *out = b;
    return FH_OK;
}

void fh_st_build_free(fh_st_build *b) {
    if (!b) return;
    fh_arena_release(&b->arena);
    fh_free(b->tensor);
    fh_free(b->meta);
    fh_free(b);
}

/* Room for one more element of `size` bytes. */
static fh_status grow(void **array, size_t *cap, size_t n, size_t size, fh_err *err) {
    if (n < *cap) return FH_OK;
    size_t more = n < 16 ? 32 : n * 2;
    void *p = fh_realloc(*array, more, size);
    if (!p) return fh_fail_memory(err, more * size);
    *array = p;
    *cap = more;
    return FH_OK;
}

fh_status fh_st_build_add_meta(fh_st_build *b, fh_str key, fh_str value, fh_err *err) {
    entry e;
    if (!fh_utf8_valid(key) || !fh_utf8_valid(value))
        return fh_fail(err, FH_ERR_FORMAT, "metadata '%.*s' is no UTF-8", FH_STR_ARG(key));
    void *array = b->meta;
    FH_TRY(grow(&array, &b->cap_meta, b->n_meta, sizeof *b->meta, err));
    b->meta = array;
    if (!fh_arena_copy(&b->arena, key, &e.key) || !fh_arena_copy(&b->arena, value, &e.value))
        return fh_arena_fail(&b->arena, err);
    b->meta[b->n_meta++] = e;
    return FH_OK;
}

/* The bytes a tensor takes, or why it cannot be written. */
static fh_status check_tensor(const fh_tensor *t, uint64_t *bytes, fh_err *err) {
    uint64_t count;
    char shape[FH_MAX_DIMS * 22 + 2];
    if (!fh_utf8_valid(t->name))
        return fh_fail(err, FH_ERR_FORMAT, "tensor name '%.*s' is no UTF-8", FH_STR_ARG(t->name));
    if (fh_str_is(t->name, "__metadata__"))
        return fh_fail(err, FH_ERR_FORMAT, "a tensor cannot be called '__metadata__' in safetensors");
    if (!fh_dtype_get_info(t->dtype)->st_name)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "tensor '%.*s' is %s, which safetensors cannot hold",
                       FH_STR_ARG(t->name), fh_dtype_name(t->dtype));
    if (t->shape.n_dim > FH_MAX_DIMS || !fh_shape_count(&t->shape, &count) || !fh_dtype_bytes(t->dtype, count, bytes))
        return fh_fail(err, FH_ERR_FORMAT, "tensor '%.*s': %s %s is no whole number of bytes that fits",
                       FH_STR_ARG(t->name), fh_dtype_name(t->dtype), fh_shape_text(&t->shape, shape, sizeof shape));
    if (t->data.ptr && t->data.len != *bytes)
        return fh_fail(err, FH_ERR_FORMAT, "tensor '%.*s': %s %s takes %" PRIu64 " bytes, %zu were given",
                       FH_STR_ARG(t->name), fh_dtype_name(t->dtype), fh_shape_text(&t->shape, shape, sizeof shape),
                       *bytes, t->data.len);
    return FH_OK;
}

fh_status fh_st_build_add_tensor(fh_st_build *b, const fh_tensor *t, fh_err *err) {
    uint64_t bytes;
    fh_tensor own = *t;
    FH_TRY(check_tensor(t, &bytes, err));
    if (b->n_tensor >= UINT32_MAX / 2) return fh_fail(err, FH_ERR_LIMIT, "too many tensors for one file");
    void *array = b->tensor;
    FH_TRY(grow(&array, &b->cap_tensor, b->n_tensor, sizeof *b->tensor, err));
    b->tensor = array;
    if (!fh_arena_copy(&b->arena, t->name, &own.name)) return fh_arena_fail(&b->arena, err);
    b->tensor[b->n_tensor++] = own;
    return FH_OK;
}

/* ---- order ---- */

/* The reference writer's rank of element types, narrow to wide; it writes wide ones first. */
static int rank_of(fh_dtype t) {
    static const fh_dtype rank[] = {
        FH_DTYPE_BOOL,    FH_DTYPE_F4,      FH_DTYPE_F6_E2M3, FH_DTYPE_F6_E3M2,     FH_DTYPE_U8,          FH_DTYPE_I8,
        FH_DTYPE_F8_E5M2, FH_DTYPE_F8_E4M3, FH_DTYPE_F8_E8M0, FH_DTYPE_F8_E4M3FNUZ, FH_DTYPE_F8_E5M2FNUZ, FH_DTYPE_I16,
        FH_DTYPE_U16,     FH_DTYPE_F16,     FH_DTYPE_BF16,    FH_DTYPE_I32,         FH_DTYPE_U32,         FH_DTYPE_F32,
        FH_DTYPE_C64,     FH_DTYPE_F64,     FH_DTYPE_I64,     FH_DTYPE_U64};
    for (size_t i = 0; i < FH_COUNT(rank); i++)
        if (rank[i] == t) return (int)i;
    return -1;
}

static int by_name(const void *ctx, uint32_t a, uint32_t b) {
    const fh_tensor *t = ctx;
    return fh_str_cmp(t[a].name, t[b].name);
}

static int by_width(const void *ctx, uint32_t a, uint32_t b) {
    const fh_tensor *t = ctx;
    int x = rank_of(t[a].dtype), y = rank_of(t[b].dtype);
    return x != y ? y - x : fh_str_cmp(t[a].name, t[b].name);
}

static int by_key(const void *ctx, uint32_t a, uint32_t b) {
    const entry *e = ctx;
    return fh_str_cmp(e[a].key, e[b].key);
}

/* idx and scratch in one allocation of 2 n, sorted; the caller frees it. */
static fh_status sorted(uint32_t **out, size_t n, fh_order_cmp *cmp, const void *ctx, fh_err *err) {
    uint32_t *idx = fh_alloc(n, 2 * sizeof *idx);
    if (!idx) return fh_fail_memory(err, n * 2 * sizeof *idx);
    for (size_t i = 0; i < n; i++) idx[i] = (uint32_t)i;
    fh_order_sort(idx, idx + n, n, cmp, ctx);
    *out = idx;
    return FH_OK;
}

fh_status fh_st_build_sort(fh_st_build *b, fh_err *err) {
    uint32_t *idx = NULL;
    if (b->n_tensor == 0) return FH_OK;
    fh_tensor *t = fh_alloc(b->cap_tensor, sizeof *t);
    if (!t) return fh_fail_memory(err, b->cap_tensor * sizeof *t);
    fh_status st = sorted(&idx, b->n_tensor, by_width, b->tensor, err);
    if (st != FH_OK) {
        fh_free(t);
        return st;
    }
    for (size_t i = 0; i < b->n_tensor; i++) t[i] = b->tensor[idx[i]];
    fh_free(idx);
    fh_free(b->tensor);
    b->tensor = t;
    return FH_OK;
}

static fh_status check_unique(const fh_st_build *b, fh_err *err) {
    uint32_t *name = NULL, *key = NULL;
    fh_status st = sorted(&name, b->n_tensor, by_name, b->tensor, err);
    if (st == FH_OK) st = sorted(&key, b->n_meta, by_key, b->meta, err);
    for (size_t i = 1; st == FH_OK && i < b->n_tensor; i++)
        if (by_name(b->tensor, name[i - 1], name[i]) == 0)
            st = fh_fail(err, FH_ERR_EXISTS, "tensor name '%.*s' stands twice", FH_STR_ARG(b->tensor[name[i]].name));
    for (size_t i = 1; st == FH_OK && i < b->n_meta; i++)
        if (by_key(b->meta, key[i - 1], key[i]) == 0)
            st = fh_fail(err, FH_ERR_EXISTS, "metadata key '%.*s' stands twice", FH_STR_ARG(b->meta[key[i]].key));
    fh_free(name);
    fh_free(key);
    return st;
}

/* ---- writing ---- */
static void put_entry(fh_json_writer *w, const fh_tensor *t, uint64_t begin, uint64_t end) {
    fh_json_put_key_str(w, t->name);
    fh_json_put_object(w);
    fh_json_put_key(w, "dtype");
    fh_json_put_z(w, fh_dtype_get_info(t->dtype)->st_name);
    fh_json_put_key(w, "shape");
    fh_json_put_array(w);
    for (uint32_t k = 0; k < t->shape.n_dim; k++) fh_json_put_u64(w, t->shape.dim[k]);
    fh_json_put_end(w);
    fh_json_put_key(w, "data_offsets");
    fh_json_put_array(w);
    fh_json_put_u64(w, begin);
    fh_json_put_u64(w, end);
    fh_json_put_end(w);
    fh_json_put_end(w);
}

/* The 8 bytes of length and the header, padded so that the data starts at a multiple of 8. */
static fh_status make_header(const fh_st_build *b, fh_buf *out, fh_err *err) {
    uint64_t at = 0;
    fh_json_writer w;
    fh_buf_add_u64le(out, 0);
    fh_json_writer_init(&w, out, false);
    fh_json_put_object(&w);
    if (b->n_meta) {
        fh_json_put_key(&w, "__metadata__");
        fh_json_put_object(&w);
        for (size_t i = 0; i < b->n_meta; i++) {
            fh_json_put_key_str(&w, b->meta[i].key);
            fh_json_put_str(&w, b->meta[i].value);
        }
        fh_json_put_end(&w);
    }
    for (size_t i = 0; i < b->n_tensor; i++) {
        uint64_t bytes = 0, end;
        FH_TRY(check_tensor(&b->tensor[i], &bytes, err));
        if (!fh_add_u64(at, bytes, &end))
            return fh_fail(err, FH_ERR_LIMIT, "the tensors take more than 64 bits can say");
        put_entry(&w, &b->tensor[i], at, end);
        at = end;
    }
    fh_json_put_end(&w);
    fh_buf_fill(out, ' ', (8 - out->len % 8) % 8);
    FH_TRY(fh_buf_check(out, err));
    uint64_t n = out->len - 8;
    memcpy(out->ptr, &n, 8);
    return FH_OK;
}

static fh_status put_data(const fh_st_build *b, fh_writer *w, fh_st_source *source, void *ctx, fh_err *err) {
    for (size_t i = 0; i < b->n_tensor; i++) {
        const fh_tensor *t = &b->tensor[i];
        uint64_t bytes = 0, from = fh_writer_offset(w);
        FH_TRY(check_tensor(t, &bytes, err));
        if (source) FH_TRY(source(ctx, i, t, w, err));
        else if (bytes && !t->data.ptr)
            return fh_fail(err, FH_ERR_USAGE, "tensor '%.*s' has no data", FH_STR_ARG(t->name));
        else if (bytes) FH_TRY(fh_writer_add(w, t->data.ptr, t->data.len, err));
        if (fh_writer_offset(w) - from != bytes)
            return fh_fail(err, FH_ERR_CORRUPT, "tensor '%.*s' takes %" PRIu64 " bytes, its source wrote %" PRIu64,
                           FH_STR_ARG(t->name), bytes, fh_writer_offset(w) - from);
    }
    return FH_OK;
}

fh_status fh_st_write(const fh_st_build *b, const char *path, fh_st_source *source, void *ctx, fh_err *err) {
    fh_writer *w = NULL;
    fh_buf header;
    fh_buf_init(&header, TEXT_CEILING + 8);
    fh_status st = check_unique(b, err);
    if (st == FH_OK) st = make_header(b, &header, err);
    if (st == FH_OK) st = fh_writer_open(&w, path, err);
    if (st == FH_OK) st = fh_writer_add(w, header.ptr, header.len, err);
    if (st == FH_OK) st = put_data(b, w, source, ctx, err);
    if (st == FH_OK) {
        st = fh_writer_commit(w, err);
        w = NULL;
    }
    fh_writer_abort(w);
    fh_buf_release(&header);
    return st;
}
