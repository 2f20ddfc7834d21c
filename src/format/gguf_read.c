/* format/gguf_read.c - opens a GGUF file: bytes to a checked directory.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses: what is no GGUF (and says what it looks like), version 1, big-endian files, anything
 * that lies outside the bytes, names that stand twice, tensors that overlap.
 * Counts in the header are never believed: each section is walked once to prove that its entries
 * are there, and only then is memory taken, in all at most 2 x the file + 16 MiB. The second walk
 * checks everything again, so a file that changes in between is no danger.
 * Tensor data is never touched: opening costs what the header costs. Threads may share the result.
 */
#include "format/gguf_part.h"

#define COUNTS_AT 8                               /* of tensors, then of keys */
#define LEAST_KEY_BYTES (8 + 1 + 4 + 1)           /* length, one byte, type, one byte */
#define LEAST_TENSOR_BYTES (8 + 1 + 4 + 4 + 8)    /* length, one byte, no dimensions, type, offset */
#define DIRECTORY_FREE ((16u << 20) - (1u << 16)) /* 64 KiB for what the allocator rounds up */

struct fh_gguf {
    fh_bytes file;
    uint32_t version, alignment;
    uint64_t data_offset;
    uint64_t used, ceiling; /* bytes of memory */
    size_t n_kv, n_tensor;
    fh_gguf_kv *kv;    /* [n_kv], in file order */
    fh_tensor *tensor; /* [n_tensor], in file order */
    fh_gguf_names keys, names;
};

/* ---- what else it could be ---- */

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool starts_nocase(fh_str s, const char *prefix) {
    size_t n = strlen(prefix);
    if (s.len < n) return false;
    for (size_t i = 0; i < n; i++)
        if (lower(s.ptr[i]) != lower(prefix[i])) return false;
    return true;
}

static const char *looks_like(fh_bytes file) {
    static const struct {
        const char *magic, *what;
    } known[] = {
        {"PK\x03\x04", "a ZIP archive (a PyTorch .bin or .pt file is one)"},
        {"\x80\x02", "a Python pickle (an old PyTorch .bin file)"},
        {"version https://git-lfs", "a Git LFS pointer; the file itself was not downloaded"},
        {"<!doctype html", "an HTML page; the download went wrong"},
        {"<html", "an HTML page; the download went wrong"},
        {"<?xml", "an XML page; the download went wrong"},
        {"lmgg", "a GGML file, the format before GGUF"},
        {"fmgg", "a GGMF file, a format before GGUF"},
        {"tjgg", "a GGJT file, a format before GGUF"},
        {"algg", "a GGLA adapter, a format before GGUF"},
        {"\x1f\x8b", "gzip data"},
        {"\x28\xb5\x2f\xfd", "Zstandard data"},
        {"{", "a JSON text"},
    };
    fh_str s = fh_str_of_bytes(file);
    if (file.len >= 9 && file.ptr[8] == '{' && fh_load_u64(file.ptr) <= file.len - 8) return "a safetensors file";
    while (s.len && (*s.ptr == ' ' || *s.ptr == '\n' || *s.ptr == '\r' || *s.ptr == '\t')) s = fh_str_drop(s, 1);
    for (size_t i = 0; i < FH_COUNT(known); i++)
        if (starts_nocase(s, known[i].magic)) return known[i].what;
    if (file.len >= 4 && fh_load_u32(file.ptr) == 0) return "zeros; the download was not finished";
    return NULL;
}

static fh_status read_magic(fh_cursor *c, fh_gguf *g, fh_err *err) {
    if (c->in.len == 0) return fh_fail_at(err, FH_ERR_FORMAT, 0, "not a GGUF file: it is empty");
    fh_bytes magic = fh_cursor_take(c, 4);
    if (c->failed || !fh_str_is(fh_str_of_bytes(magic), "GGUF")) {
        const char *what = looks_like(c->in);
        if (what) return fh_fail_at(err, FH_ERR_FORMAT, 0, "not a GGUF file: this looks like %s", what);
        return fh_fail_at(err, FH_ERR_FORMAT, 0, "not a GGUF file: it does not start with 'GGUF'");
    }
    size_t at = c->pos;
    uint32_t v = fh_cursor_u32(c);
    if (c->failed) return fh_fail_at(err, FH_ERR_FORMAT, at, "the file ends inside its version");
    if (v != 0 && (v & 0xffff) == 0)
        return fh_fail_at(err, FH_ERR_UNSUPPORTED, at,
                          "version %u the other way round: a big-endian file, for other machines",
                          __builtin_bswap32(v));
    if (v == 1)
        return fh_fail_at(err, FH_ERR_UNSUPPORTED, at, "version 1 of GGUF is no longer read; convert the model anew");
    if (v != 2 && v != 3) return fh_fail_at(err, FH_ERR_UNSUPPORTED, at, "version %u of GGUF is unknown", v);
    g->version = v;
    return FH_OK;
}

/* A count that the bytes left cannot hold is refused before anything is walked. */
static fh_status read_count(fh_cursor *c, const char *what, size_t least, size_t *out, fh_err *err) {
    size_t at = c->pos;
    uint64_t n = fh_cursor_u64(c);
    if (c->failed) return fh_fail_at(err, FH_ERR_FORMAT, at, "the file ends inside its %s count", what);
    if (n > fh_cursor_left(c) / least)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "%s count %llu: the %zu bytes that follow cannot hold them", what,
                          (unsigned long long)n, fh_cursor_left(c));
    if (n > FH_GGUF_MAX_ENTRIES)
        return fh_fail_at(err, FH_ERR_LIMIT, at, "%s count %llu: the limit is %u", what, (unsigned long long)n,
                          FH_GGUF_MAX_ENTRIES);
    *out = (size_t)n;
    return FH_OK;
}

/* ---- memory ---- */

static fh_status take(fh_gguf *g, size_t n, size_t size, void **out, fh_err *err) {
    uint64_t bytes, used;
    if (!fh_mul_u64(n, size, &bytes) || !fh_add_u64(g->used, bytes, &used) || used > g->ceiling)
        return fh_fail_at(err, FH_ERR_LIMIT, COUNTS_AT,
                          "more keys and tensors than a file of %zu bytes may have: the directory "
                          "would take more than %llu bytes of memory",
                          g->file.len, (unsigned long long)g->ceiling);
    void *p = fh_alloc_zero(n, size);
    if (!p) return fh_fail_memory(err, (size_t)bytes);
    g->used = used;
    *out = p;
    return FH_OK;
}

static fh_status take_names(fh_gguf *g, fh_gguf_names *x, size_t n, fh_err *err) {
    void *slot;
    size_t n_slot = fh_gguf_names_slots(n);
    FH_TRY(take(g, n_slot, sizeof(uint32_t), &slot, err));
    fh_gguf_names_init(x, slot, n_slot);
    return FH_OK;
}

/* ---- keys ---- */

static fh_status read_name(fh_cursor *c, const char *kind, size_t max, size_t i, fh_str *out, fh_err *err) {
    size_t at = c->pos;
    uint64_t len = fh_cursor_u64(c);
    if (c->failed) return fh_fail_at(err, FH_ERR_FORMAT, at, "%s %zu: the file ends inside its length", kind, i);
    if (len > fh_cursor_left(c))
        return fh_fail_at(err, FH_ERR_FORMAT, at, "%s %zu: %llu bytes long, but only %zu bytes follow", kind, i,
                          (unsigned long long)len, fh_cursor_left(c));
    fh_str name = fh_str_of_bytes(fh_cursor_take(c, len));
    FH_TRY(fh_gguf_check_name(kind, name, max, at, err));
    *out = name;
    return FH_OK;
}

static fh_status read_kv(fh_cursor *c, size_t i, fh_gguf_kv *out, fh_err *err) {
    fh_gguf_kv kv = {.n = 1};
    FH_TRY(read_name(c, "key", FH_GGUF_MAX_KEY, i, &kv.key, err));
    size_t at = c->pos;
    uint32_t type = fh_cursor_u32(c);
    if (c->failed)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "key '%.*s': the file ends inside its type", FH_STR_ARG(kv.key));
    if (type >= FH_GGUF_TYPE_COUNT)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "key '%.*s': value type %u is unknown", FH_STR_ARG(kv.key), type);
    kv.type = (fh_gguf_type)type;
    kv.offset = c->pos;
    bool array = kv.type == FH_GGUF_ARRAY;
    if (array) FH_TRY(fh_gguf_read_array(c, kv.key, &kv.elem, &kv.n, err));
    size_t start = c->pos + (kv.type == FH_GGUF_STR ? 8 : 0);
    FH_TRY(fh_gguf_skip_value(c, &kv, array ? c->pos - 8 : c->pos, err));
    kv.payload = fh_bytes_part(c->in, start, c->pos - start);
    *out = kv;
    return FH_OK;
}

static fh_status read_alignment(fh_gguf *g, fh_err *err) {
    const fh_gguf_kv *kv = fh_gguf_find(g, FH_GGUF_ALIGNMENT_KEY);
    if (kv && kv->type != FH_GGUF_U32)
        return fh_fail_at(err, FH_ERR_FORMAT, kv->offset, "key '%s': its type is %s, not u32", FH_GGUF_ALIGNMENT_KEY,
                          fh_gguf_type_name(kv->type));
    uint32_t a = kv ? fh_load_u32(kv->payload.ptr) : FH_GGUF_ALIGNMENT_DEFAULT;
    if (!fh_gguf_alignment_ok(a))
        return fh_fail_at(err, FH_ERR_FORMAT, kv ? kv->offset : 0, "key '%s': %u is no power of two from 8 to 65536",
                          FH_GGUF_ALIGNMENT_KEY, a);
    g->alignment = a;
    return FH_OK;
}

static fh_status read_keys(fh_cursor *c, fh_gguf *g, size_t n, fh_err *err) {
    fh_cursor walk = *c;
    fh_gguf_kv kv;
    void *p;
    for (size_t i = 0; i < n; i++) FH_TRY(read_kv(&walk, i, &kv, err));
    FH_TRY(take(g, n, sizeof *g->kv, &p, err));
    g->kv = p;
    FH_TRY(take_names(g, &g->keys, n, err));
    for (size_t i = 0, first; i < n; i++) {
        size_t at = c->pos;
        FH_TRY(read_kv(c, i, &kv, err));
        g->kv[i] = kv;
        if (!fh_gguf_names_add(&g->keys, g->kv, sizeof *g->kv, i, &first))
            return fh_fail_at(err, FH_ERR_FORMAT, at, "key '%.*s': stands twice, as number %zu and %zu",
                              FH_STR_ARG(kv.key), first, i);
        g->n_kv = i + 1;
    }
    return read_alignment(g, err);
}

/* ---- tensors ---- */

static fh_status read_shape(fh_cursor *c, fh_str name, fh_shape *out, fh_err *err) {
    size_t at = c->pos;
    fh_shape shape = {.n_dim = fh_cursor_u32(c)};
    if (!c->failed && shape.n_dim > FH_GGUF_MAX_DIMS)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "tensor '%.*s': %u dimensions, the format has at most %u",
                          FH_STR_ARG(name), shape.n_dim, FH_GGUF_MAX_DIMS);
    for (uint32_t i = shape.n_dim; i-- > 0;) shape.dim[i] = fh_cursor_u64(c); /* innermost comes first */
    if (c->failed)
        return fh_fail_at(err, FH_ERR_FORMAT, c->pos, "tensor '%.*s': the file ends inside its dimensions",
                          FH_STR_ARG(name));
    *out = shape;
    return FH_OK;
}

/* On the first walk data_offset is still 0: only the second one proves that the data is there. */
static fh_status read_tensor(fh_cursor *c, const fh_gguf *g, size_t i, fh_tensor *out, fh_err *err) {
    fh_tensor t = {.part = 0};
    uint64_t bytes, start, end;
    FH_TRY(read_name(c, "tensor name", FH_GGUF_MAX_TENSOR_NAME, i, &t.name, err));
    size_t shape_at = c->pos;
    FH_TRY(read_shape(c, t.name, &t.shape, err));
    size_t type_at = c->pos;
    uint32_t type = fh_cursor_u32(c);
    size_t offset_at = c->pos;
    uint64_t offset = fh_cursor_u64(c);
    if (c->failed)
        return fh_fail_at(err, FH_ERR_FORMAT, c->pos, "tensor '%.*s': the file ends inside its entry",
                          FH_STR_ARG(t.name));
    if (!fh_dtype_from_gguf(type, &t.dtype))
        return fh_fail_at(err, FH_ERR_UNSUPPORTED, type_at, "tensor '%.*s': type %u: %s", FH_STR_ARG(t.name), type,
                          fh_dtype_gguf_refusal(type));
    FH_TRY(fh_gguf_check_shape(t.name, t.dtype, &t.shape, shape_at, &bytes, err));
    if (offset % g->alignment != 0)
        return fh_fail_at(err, FH_ERR_FORMAT, offset_at, "tensor '%.*s': offset %llu is no multiple of %u",
                          FH_STR_ARG(t.name), (unsigned long long)offset, g->alignment);
    if (!fh_add_u64(g->data_offset, offset, &start) || start >= g->file.len)
        return fh_fail_at(err, FH_ERR_FORMAT, offset_at, "tensor '%.*s': offset %llu lies beyond the data section",
                          FH_STR_ARG(t.name), (unsigned long long)offset);
    if (!fh_add_u64(start, bytes, &end) || end > g->file.len)
        return fh_fail_at(err, FH_ERR_FORMAT, offset_at,
                          "tensor '%.*s': %llu bytes at offset %llu reach beyond the end "
                          "of the file",
                          FH_STR_ARG(t.name), (unsigned long long)bytes, (unsigned long long)offset);
    t.file_offset = start;
    t.data = fh_bytes_part(g->file, (size_t)start, (size_t)bytes);
    *out = t;
    return FH_OK;
}

static fh_status find_data(fh_gguf *g, size_t end, size_t n_tensor, fh_err *err) {
    uint64_t at;
    bool inside = fh_align_up(end, g->alignment, &at) && at <= g->file.len;
    if (!inside && n_tensor > 0) return fh_fail_at(err, FH_ERR_FORMAT, end, "the file ends before its data section");
    g->data_offset = inside ? at : g->file.len; /* no tensors: writers may leave the padding out */
    return FH_OK;
}

static fh_status read_tensors(fh_cursor *c, fh_gguf *g, size_t n, fh_err *err) {
    fh_cursor walk = *c;
    fh_tensor t;
    void *p;
    for (size_t i = 0; i < n; i++) FH_TRY(read_tensor(&walk, g, i, &t, err));
    FH_TRY(find_data(g, walk.pos, n, err));
    FH_TRY(take(g, n, sizeof *g->tensor, &p, err));
    g->tensor = p;
    FH_TRY(take_names(g, &g->names, n, err));
    for (size_t i = 0, first; i < n; i++) {
        size_t at = c->pos;
        FH_TRY(read_tensor(c, g, i, &t, err));
        g->tensor[i] = t;
        if (!fh_gguf_names_add(&g->names, g->tensor, sizeof *g->tensor, i, &first))
            return fh_fail_at(err, FH_ERR_FORMAT, at, "tensor '%.*s': stands twice, as number %zu and %zu",
                              FH_STR_ARG(t.name), first, i);
        g->n_tensor = i + 1;
    }
    return FH_OK;
}

/* ---- overlap ---- */

typedef struct span {
    uint64_t start, end;
} span;

/* Heap sort: in place, n log n whatever the file says. */
static void sift(span *s, size_t i, size_t n) {
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && s[child + 1].start > s[child].start) child++;
        if (s[i].start >= s[child].start) return;
        span t = s[i];
        s[i] = s[child];
        s[child] = t;
    }
}

static void sort_spans(span *s, size_t n) {
    for (size_t i = n / 2; i-- > 0;) sift(s, i, n);
    for (size_t end = n; end > 1; end--) {
        span t = s[0];
        s[0] = s[end - 1];
        s[end - 1] = t;
        sift(s, 0, end - 1);
    }
}

static span span_of(const fh_tensor *t) { return (span){t->file_offset, t->file_offset + t->data.len}; }

/* The last tensor, in file order, that starts there, other than the one at `except`. */
static size_t tensor_at(const fh_gguf *g, uint64_t start, size_t except) {
    for (size_t i = g->n_tensor; i-- > 0;)
        if (i != except && g->tensor[i].file_offset == start) return i;
    return 0;
}

static fh_status check_overlap(fh_gguf *g, fh_err *err) {
    size_t n = g->n_tensor, i = 1;
    while (i < n && span_of(&g->tensor[i - 1]).end <= g->tensor[i].file_offset) i++;
    if (i >= n) return FH_OK; /* in order of their data, as nearly all files are */
    void *p;
    FH_TRY(take(g, n, sizeof(span), &p, err));
    span *s = p;
    for (i = 0; i < n; i++) s[i] = span_of(&g->tensor[i]);
    sort_spans(s, n);
    for (i = 1; i < n && s[i - 1].end <= s[i].start;) i++;
    fh_status status = FH_OK;
    if (i < n) {
        size_t b = tensor_at(g, s[i].start, SIZE_MAX), a = tensor_at(g, s[i - 1].start, b);
        status = fh_fail_at(err, FH_ERR_FORMAT, s[i].start, "tensor '%.*s': its data overlaps that of '%.*s'",
                            FH_STR_ARG(g->tensor[b].name), FH_STR_ARG(g->tensor[a].name));
    }
    fh_free(p);
    g->used -= n * sizeof(span);
    return status;
}

/* ---- the whole ---- */

static fh_status read_all(fh_gguf *g, fh_err *err) {
    fh_cursor c = fh_cursor_of(g->file);
    size_t n_tensor, n_kv;
    FH_TRY(read_magic(&c, g, err));
    FH_TRY(read_count(&c, "tensor", LEAST_TENSOR_BYTES, &n_tensor, err));
    FH_TRY(read_count(&c, "key", LEAST_KEY_BYTES, &n_kv, err));
    FH_TRY(read_keys(&c, g, n_kv, err));
    FH_TRY(read_tensors(&c, g, n_tensor, err));
    return check_overlap(g, err);
}

fh_status fh_gguf_open(fh_gguf **out, fh_bytes file, fh_err *err) {
    fh_gguf *g = fh_alloc_zero(1, sizeof *g);
    if (!g) return fh_fail_memory(err, sizeof *g);
    g->file = file;
    g->used = sizeof *g;
    if (!fh_mul_u64(file.len, 2, &g->ceiling) || !fh_add_u64(g->ceiling, DIRECTORY_FREE, &g->ceiling))
        g->ceiling = UINT64_MAX;
    fh_status status = read_all(g, err);
    if (status != FH_OK) {
        fh_gguf_close(g);
        return status;
    }
    *out = g;
    return FH_OK;
}

void fh_gguf_close(fh_gguf *g) {
    if (!g) return;
    fh_free(g->kv);
    fh_free(g->tensor);
    fh_free(g->keys.slot);
    fh_free(g->names.slot);
    fh_free(g);
}

uint32_t fh_gguf_version(const fh_gguf *g) { return g->version; }
uint32_t fh_gguf_alignment(const fh_gguf *g) { return g->alignment; }
uint64_t fh_gguf_data_offset(const fh_gguf *g) { return g->data_offset; }
size_t fh_gguf_n_kv(const fh_gguf *g) { return g->n_kv; }
size_t fh_gguf_n_tensor(const fh_gguf *g) { return g->n_tensor; }

const fh_gguf_kv *fh_gguf_get_kv(const fh_gguf *g, size_t i) {
    FH_REQUIRE(i < g->n_kv);
    return &g->kv[i];
}

const fh_tensor *fh_gguf_get_tensor(const fh_gguf *g, size_t i) {
    FH_REQUIRE(i < g->n_tensor);
    return &g->tensor[i];
}

const fh_gguf_kv *fh_gguf_find(const fh_gguf *g, const char *key) {
    size_t at;
    return fh_gguf_names_find(&g->keys, g->kv, sizeof *g->kv, fh_str_of(key), &at) ? &g->kv[at] : NULL;
}

const fh_tensor *fh_gguf_find_tensor(const fh_gguf *g, fh_str name) {
    size_t at;
    return fh_gguf_names_find(&g->names, g->tensor, sizeof *g->tensor, name, &at) ? &g->tensor[at] : NULL;
}
