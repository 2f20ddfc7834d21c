/* format/gguf_write.c - builds a GGUF file (version 3) and writes it atomically.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: copies of keys, values and tensor names. Borrows: tensor data, until fh_gguf_write returns.
 * Refuses: what the reader would refuse, by the same rules, when it is added; and a source that
 * does not give exactly a tensor's bytes.
 * Invariants: (1) keys and tensors keep the order in which they were added; (2) padding is zero:
 * the header and each tensor, the last one too, end at a multiple of the alignment, as peers write
 * it; (3) offsets follow from shapes alone, so the header is written before any data is asked for.
 */
#include "base/hash.h"
#include "format/gguf_part.h"

#define WRITE_VERSION 3u
#define METADATA_CEILING ((size_t)1 << 30) /* the largest vocabularies take 20 MiB */
#define FIRST_ROOM 16u

/* A growing array of items with their index of names. */
typedef struct list {
    void *item; /* [n], room for cap */
    size_t n, cap, stride;
    fh_gguf_names names;
} list;

struct fh_gguf_build {
    list kv, tensor; /* fh_gguf_kv, fh_tensor (data may be NULL) */
    uint32_t alignment;
    fh_arena text; /* keys, values, names */
};

fh_status fh_gguf_build_new(fh_gguf_build **out, fh_err *err) {
    fh_gguf_build *b = fh_alloc_zero(1, sizeof *b);
    if (!b) return fh_fail_memory(err, sizeof *b);
    b->kv.stride = sizeof(fh_gguf_kv);
    b->tensor.stride = sizeof(fh_tensor);
    b->alignment = FH_GGUF_ALIGNMENT_DEFAULT;
    fh_arena_init(&b->text, METADATA_CEILING);
    *out = b;
    return FH_OK;
}

static void list_release(list *l) {
    fh_free(l->item);
    fh_free(l->names.slot);
}

void fh_gguf_build_free(fh_gguf_build *b) {
    if (!b) return;
    list_release(&b->kv);
    list_release(&b->tensor);
    fh_arena_release(&b->text);
    fh_free(b);
}

static const fh_gguf_kv *kv_at(const fh_gguf_build *b, size_t i) { return (const fh_gguf_kv *)b->kv.item + i; }
static const fh_tensor *tensor_at(const fh_gguf_build *b, size_t i) { return (const fh_tensor *)b->tensor.item + i; }

/* Room for one more item and its name. */
static fh_status list_reserve(list *l, fh_err *err) {
    if (l->n < l->cap) return FH_OK;
    size_t cap = FH_MIN(l->cap ? l->cap * 2 : FIRST_ROOM, FH_GGUF_MAX_ENTRIES), first;
    size_t n_slot = fh_gguf_names_slots(cap);
    if (l->n == cap) return fh_fail(err, FH_ERR_LIMIT, "more than %u keys or tensors in one file", FH_GGUF_MAX_ENTRIES);
    uint32_t *slot = fh_alloc_zero(n_slot, sizeof *slot);
    void *item = slot ? fh_realloc(l->item, cap, l->stride) : NULL;
    if (!item) {
        fh_free(slot);
        return fh_fail_memory(err, cap * l->stride);
    }
    fh_free(l->names.slot);
    l->item = item;
    l->cap = cap;
    fh_gguf_names_init(&l->names, slot, n_slot);
    for (size_t i = 0; i < l->n; i++)
        if (!fh_gguf_names_add(&l->names, l->item, l->stride, i, &first)) FH_BUG("a name stands twice");
    return FH_OK;
}

/* The caller has reserved room and found no such name. */
static void list_add(list *l, const void *item) {
    size_t first;
    memcpy((char *)l->item + l->n * l->stride, item, l->stride);
    if (!fh_gguf_names_add(&l->names, l->item, l->stride, l->n, &first)) FH_BUG("a name stands twice");
    l->n++;
}

/* ---- keys ---- */

/* The payload is exactly what the type says; FH_NO_OFFSET, as positions in it are no positions in a
 * file. */
static fh_status check_value(const fh_gguf_kv *kv, fh_err *err) {
    fh_cursor c = fh_cursor_of(kv->payload);
    if ((unsigned)kv->type >= FH_GGUF_TYPE_COUNT)
        return fh_fail(err, FH_ERR_USAGE, "key '%.*s': value type %u is unknown", FH_STR_ARG(kv->key),
                       (unsigned)kv->type);
    if (kv->type == FH_GGUF_STR) return FH_OK;
    if (kv->type == FH_GGUF_ARRAY && (unsigned)kv->elem >= FH_GGUF_TYPE_COUNT)
        return fh_fail(err, FH_ERR_USAGE, "key '%.*s': element type %u is unknown", FH_STR_ARG(kv->key),
                       (unsigned)kv->elem);
    fh_status status = fh_gguf_skip_value(&c, kv, 0, err);
    if (status != FH_OK) {
        if (err) err->offset = FH_NO_OFFSET;
        return status;
    }
    if (fh_cursor_left(&c) != 0)
        return fh_fail(err, FH_ERR_USAGE, "key '%.*s': %zu bytes behind its value", FH_STR_ARG(kv->key),
                       fh_cursor_left(&c));
    return FH_OK;
}

static fh_status check_alignment(const fh_gguf_kv *kv, uint32_t *out, fh_err *err) {
    uint32_t a = kv->type == FH_GGUF_U32 ? fh_load_u32(kv->payload.ptr) : 0;
    if (!fh_gguf_alignment_ok(a))
        return fh_fail(err, FH_ERR_USAGE, "key '%s': it is a u32, a power of two from 8 to 65536",
                       FH_GGUF_ALIGNMENT_KEY);
    *out = a;
    return FH_OK;
}

fh_status fh_gguf_build_add_kv(fh_gguf_build *b, const fh_gguf_kv *kv, fh_err *err) {
    size_t at;
    uint32_t alignment = b->alignment;
    FH_TRY(fh_gguf_check_name("key", kv->key, FH_GGUF_MAX_KEY, FH_NO_OFFSET, err));
    FH_TRY(check_value(kv, err));
    if (fh_str_is(kv->key, FH_GGUF_ALIGNMENT_KEY)) FH_TRY(check_alignment(kv, &alignment, err));
    if (fh_gguf_names_find(&b->kv.names, b->kv.item, b->kv.stride, kv->key, &at))
        return fh_fail(err, FH_ERR_EXISTS, "key '%.*s': stands already", FH_STR_ARG(kv->key));
    FH_TRY(list_reserve(&b->kv, err));
    fh_gguf_kv copy = {.type = kv->type, .n = 1};
    fh_str value;
    if (!fh_arena_copy(&b->text, kv->key, &copy.key) || !fh_arena_copy(&b->text, fh_str_of_bytes(kv->payload), &value))
        return fh_arena_fail(&b->text, err);
    copy.payload = fh_bytes_of(value);
    if (kv->type == FH_GGUF_ARRAY) {
        copy.elem = kv->elem;
        copy.n = kv->n;
    }
    list_add(&b->kv, &copy);
    b->alignment = alignment;
    return FH_OK;
}

static fh_status add_scalar(fh_gguf_build *b, const char *key, fh_gguf_type type, const void *v, fh_err *err) {
    fh_gguf_kv kv = {.key = fh_str_of(key), .type = type, .n = 1, .payload = {v, fh_gguf_type_bytes(type)}};
    return fh_gguf_build_add_kv(b, &kv, err);
}

fh_status fh_gguf_build_add_u32(fh_gguf_build *b, const char *key, uint32_t v, fh_err *err) {
    return add_scalar(b, key, FH_GGUF_U32, &v, err);
}
fh_status fh_gguf_build_add_u64(fh_gguf_build *b, const char *key, uint64_t v, fh_err *err) {
    return add_scalar(b, key, FH_GGUF_U64, &v, err);
}
fh_status fh_gguf_build_add_f32(fh_gguf_build *b, const char *key, float v, fh_err *err) {
    return add_scalar(b, key, FH_GGUF_F32, &v, err);
}
fh_status fh_gguf_build_add_bool(fh_gguf_build *b, const char *key, bool v, fh_err *err) {
    uint8_t byte = v ? 1 : 0;
    return add_scalar(b, key, FH_GGUF_BOOL, &byte, err);
}

fh_status fh_gguf_build_add_str(fh_gguf_build *b, const char *key, fh_str v, fh_err *err) {
    fh_gguf_kv kv = {.key = fh_str_of(key), .type = FH_GGUF_STR, .n = 1, .payload = fh_bytes_of(v)};
    return fh_gguf_build_add_kv(b, &kv, err);
}

fh_status fh_gguf_build_add_strs(fh_gguf_build *b, const char *key, const fh_str *v, size_t n, fh_err *err) {
    fh_buf payload;
    fh_buf_init(&payload, METADATA_CEILING);
    for (size_t i = 0; i < n; i++) {
        fh_buf_add_u64le(&payload, v[i].len);
        fh_buf_add_str(&payload, v[i]);
    }
    fh_status status = fh_buf_check(&payload, err);
    if (status == FH_OK) {
        fh_gguf_kv kv = {.key = fh_str_of(key),
                         .type = FH_GGUF_ARRAY,
                         .elem = FH_GGUF_STR,
                         .n = n,
                         .payload = {payload.ptr, payload.len}};
        status = fh_gguf_build_add_kv(b, &kv, err);
    }
    fh_buf_release(&payload);
    return status;
}

/* ---- tensors ---- */

fh_status fh_gguf_build_add_tensor(fh_gguf_build *b, const fh_tensor *t, fh_err *err) {
    size_t at;
    uint64_t bytes;
    FH_TRY(fh_gguf_check_name("tensor name", t->name, FH_GGUF_MAX_TENSOR_NAME, FH_NO_OFFSET, err));
    if (fh_dtype_get_info(t->dtype)->gguf_id < 0)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "tensor '%.*s': GGUF has no type for %s", FH_STR_ARG(t->name),
                       fh_dtype_name(t->dtype));
    FH_TRY(fh_gguf_check_shape(t->name, t->dtype, &t->shape, FH_NO_OFFSET, &bytes, err));
    if (t->data.ptr && t->data.len != bytes)
        return fh_fail(err, FH_ERR_USAGE, "tensor '%.*s': %zu bytes of data, its shape needs %llu", FH_STR_ARG(t->name),
                       t->data.len, (unsigned long long)bytes);
    if (fh_gguf_names_find(&b->tensor.names, b->tensor.item, b->tensor.stride, t->name, &at))
        return fh_fail(err, FH_ERR_EXISTS, "tensor '%.*s': stands already", FH_STR_ARG(t->name));
    FH_TRY(list_reserve(&b->tensor, err));
    fh_tensor copy = *t;
    if (!fh_arena_copy(&b->text, t->name, &copy.name)) return fh_arena_fail(&b->text, err);
    list_add(&b->tensor, &copy);
    return FH_OK;
}

/* ---- writing ---- */

static fh_status put_u32(fh_writer *w, uint32_t v, fh_err *err) { return fh_writer_add(w, &v, sizeof v, err); }
static fh_status put_u64(fh_writer *w, uint64_t v, fh_err *err) { return fh_writer_add(w, &v, sizeof v, err); }

static fh_status put_str(fh_writer *w, fh_str s, fh_err *err) {
    FH_TRY(put_u64(w, s.len, err));
    return fh_writer_add(w, s.ptr, s.len, err);
}

static fh_status put_padding(fh_writer *w, uint32_t alignment, fh_err *err) {
    static const uint8_t zero[256];
    uint64_t left = (alignment - fh_writer_offset(w) % alignment) % alignment;
    for (uint64_t n; left > 0; left -= n) {
        n = FH_MIN(left, sizeof zero);
        FH_TRY(fh_writer_add(w, zero, (size_t)n, err));
    }
    return FH_OK;
}

static fh_status put_kv(fh_writer *w, const fh_gguf_kv *kv, fh_err *err) {
    FH_TRY(put_str(w, kv->key, err));
    FH_TRY(put_u32(w, (uint32_t)kv->type, err));
    if (kv->type == FH_GGUF_STR) FH_TRY(put_u64(w, kv->payload.len, err));
    if (kv->type == FH_GGUF_ARRAY) {
        FH_TRY(put_u32(w, (uint32_t)kv->elem, err));
        FH_TRY(put_u64(w, kv->n, err));
    }
    return fh_writer_add(w, kv->payload.ptr, kv->payload.len, err);
}

static fh_status tensor_bytes(const fh_tensor *t, uint64_t *bytes, fh_err *err) {
    return fh_gguf_check_shape(t->name, t->dtype, &t->shape, FH_NO_OFFSET, bytes, err);
}

/* Writes the tensor's entry and moves *offset to where the next tensor's data goes. */
static fh_status put_entry(fh_writer *w, const fh_tensor *t, uint32_t alignment, uint64_t *offset, fh_err *err) {
    uint64_t bytes, end;
    FH_TRY(tensor_bytes(t, &bytes, err));
    if (!fh_add_u64(*offset, bytes, &end) || !fh_align_up(end, alignment, &end))
        return fh_fail(err, FH_ERR_LIMIT, "tensor '%.*s': the file would be larger than 64 bits can say",
                       FH_STR_ARG(t->name));
    FH_TRY(put_str(w, t->name, err));
    FH_TRY(put_u32(w, t->shape.n_dim, err));
    for (uint32_t i = t->shape.n_dim; i-- > 0;) FH_TRY(put_u64(w, t->shape.dim[i], err)); /* innermost first */
    FH_TRY(put_u32(w, (uint32_t)fh_dtype_get_info(t->dtype)->gguf_id, err));
    FH_TRY(put_u64(w, *offset, err));
    *offset = end;
    return FH_OK;
}

static fh_status put_header(fh_writer *w, const fh_gguf_build *b, fh_err *err) {
    uint64_t offset = 0;
    FH_TRY(fh_writer_add(w, "GGUF", 4, err));
    FH_TRY(put_u32(w, WRITE_VERSION, err));
    FH_TRY(put_u64(w, b->tensor.n, err));
    FH_TRY(put_u64(w, b->kv.n, err));
    for (size_t i = 0; i < b->kv.n; i++) FH_TRY(put_kv(w, kv_at(b, i), err));
    for (size_t i = 0; i < b->tensor.n; i++) FH_TRY(put_entry(w, tensor_at(b, i), b->alignment, &offset, err));
    return put_padding(w, b->alignment, err);
}

static fh_status put_data(fh_writer *w, const fh_gguf_build *b, size_t i, fh_gguf_source *source, void *ctx,
                          fh_err *err) {
    const fh_tensor *t = tensor_at(b, i);
    uint64_t bytes, padded, before = fh_writer_offset(w);
    FH_TRY(tensor_bytes(t, &bytes, err));
    if (!fh_align_up(bytes, b->alignment, &padded))
        return fh_fail(err, FH_ERR_LIMIT, "tensor '%.*s' is too large for a file", FH_STR_ARG(t->name));
    if (fh_writer_kept(w) >= before + padded) {
        fh_writer_skip(w, padded);
        return FH_OK;
    }
    if (source) FH_TRY(source(ctx, i, t, w, err));
    else if (t->data.ptr) FH_TRY(fh_writer_add(w, t->data.ptr, t->data.len, err));
    uint64_t got = fh_writer_offset(w) - before;
    if (got != bytes)
        return fh_fail(err, FH_ERR_USAGE, "tensor '%.*s': %llu bytes of data were given, its shape needs %llu",
                       FH_STR_ARG(t->name), (unsigned long long)got, (unsigned long long)bytes);
    FH_TRY(put_padding(w, b->alignment, err));
    return fh_writer_checkpoint(w, err);
}

fh_status fh_gguf_write_to(const fh_gguf_build *b, fh_writer *w, fh_gguf_source *source, void *ctx, fh_err *err) {
    fh_status status = put_header(w, b, err);
    for (size_t i = 0; i < b->tensor.n && status == FH_OK; i++) status = put_data(w, b, i, source, ctx, err);
    return status;
}

/* ---- work that survives ---- */

static fh_status hash_bytes(void *ctx, const void *data, size_t n, fh_err *err) {
    return fh_sha256_add(ctx, data, n, err);
}

static fh_status identity_of(const fh_gguf_build *b, fh_str salt, char hex[FH_SHA256_HEX], fh_err *err) {
    fh_sha256 *h = NULL;
    fh_writer *w = NULL;
    fh_status status = fh_sha256_new(&h, err);
    if (status == FH_OK) status = fh_sha256_add(h, salt.ptr, salt.len, err);
    if (status == FH_OK) status = fh_writer_open_sink(&w, hash_bytes, h, err);
    if (status == FH_OK) status = put_header(w, b, err);
    if (status == FH_OK) status = fh_sha256_finish(h, hex, err);
    fh_writer_abort(w);
    fh_sha256_free(h);
    return status;
}

fh_status fh_gguf_write_resumable(const fh_gguf_build *b, const char *path, fh_str salt, fh_gguf_source *source,
                                  void *ctx, fh_err *err) {
    char identity[FH_SHA256_HEX];
    fh_writer *w;
    FH_TRY(identity_of(b, salt, identity, err));
    FH_TRY(fh_writer_open_resumable(&w, path, identity, err));
    const fh_status status = fh_gguf_write_to(b, w, source, ctx, err);
    if (status == FH_OK) return fh_writer_commit(w, err);
    if (status == FH_ERR_SPACE || status == FH_ERR_IO) fh_writer_suspend(w);
    else fh_writer_abort(w);
    return status;
}

fh_status fh_gguf_write(const fh_gguf_build *b, const char *path, fh_gguf_source *source, void *ctx, fh_err *err) {
    fh_writer *w;
    FH_TRY(fh_writer_open(&w, path, err));
    const fh_status status = fh_gguf_write_to(b, w, source, ctx, err);
    if (status != FH_OK) {
        fh_writer_abort(w);
        return status;
    }
    return fh_writer_commit(w, err);
}
