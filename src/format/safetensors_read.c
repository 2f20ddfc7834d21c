/* format/safetensors_read.c - opening a safetensors file: header to tensor table, every rule of the format.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the tensor table, the order by name, and decoded copies of names that hold escapes; other names and all
 * data are views into the file. Refuses what safetensors.h lists. The header is read twice by the pull reader:
 * once to count (which checks all of the JSON before anything is allocated), once to fill, so the table has
 * exactly the size it needs. Invariant: while the header is read, offsets in errors count from the '{'; they
 * are moved by 8 once, at the end. */
#include <inttypes.h>

#include "base/cursor.h"
#include "base/mem.h"
#include "base/num.h"
#include "format/order.h"
#include "format/safetensors.h"

#define LENGTH_BYTES 8u
#define META_KEY "__metadata__"

typedef struct meta {
    fh_str key, value;
} meta;

struct fh_st {
    fh_arena arena;
    fh_tensor *tensor; /* [n_tensor], in the order of the header */
    uint32_t *by_name; /* [n_tensor] */
    meta *item;        /* [n_meta] */
    size_t n_tensor, n_meta;
    uint64_t data_offset;
};

/* What only the opening needs. */
typedef struct reading {
    fh_st *s;
    fh_bytes file;
    fh_json_reader json;
    uint32_t *key_at;  /* [n_tensor] where each entry's name stands in the header */
    uint32_t *scratch; /* [n_tensor] for sorting */
    uint32_t *order;   /* [n_tensor] by place in the data */
    uint64_t meta_at;  /* where __metadata__ stands */
    fh_err *err;
} reading;

/* ---- what the file is, when it is something else ---- */
static bool starts(fh_bytes f, const char *what, size_t n) { return f.len >= n && memcmp(f.ptr, what, n) == 0; }

static bool is_html(fh_bytes f) {
    static const char *const open[] = {"<!doctype html", "<html"};
    for (size_t k = 0; k < FH_COUNT(open); k++) {
        size_t n = strlen(open[k]), i = 0;
        while (i < n && i < f.len) {
            uint8_t c = f.ptr[i];
            if (c >= 'A' && c <= 'Z') c = (uint8_t)(c + 32);
            if (c != (uint8_t)open[k][i]) break;
            i++;
        }
        if (i == n) return true;
    }
    return false;
}

static const char *guess(fh_bytes f) {
    if (starts(f, "GGUF", 4)) return "this is a GGUF file";
    if (starts(f, "PK\003\004", 4))
        return "this is a ZIP archive, most likely a PyTorch pickle (.bin, .pt): convert it to safetensors";
    if (f.len >= 2 && f.ptr[0] == 0x80 && f.ptr[1] >= 2 && f.ptr[1] <= 5)
        return "this is a Python pickle, which can run code when read: convert it to safetensors";
    if (starts(f, "version https://git-lfs", 23))
        return "this is a Git LFS pointer and not the file itself: fetch it with 'git lfs pull' or download it";
    if (is_html(f)) return "this is a web page: the download went wrong";
    if (starts(f, "\211HDF", 4)) return "this is an HDF5 file";
    if (starts(f, "\223NUMPY", 6)) return "this is a NumPy array";
    if (starts(f, "{", 1)) return "this is JSON text, perhaps the index of a sharded checkpoint";
    return NULL;
}

static fh_status not_one(fh_bytes f, uint64_t at, fh_err *err, const char *why) {
    const char *is = guess(f);
    return fh_fail_at(err, FH_ERR_FORMAT, at, "no safetensors file: %s", is ? is : why);
}

static fh_status check_length(fh_bytes file, uint64_t *header, fh_err *err) {
    char why[160];
    if (file.len < LENGTH_BYTES)
        return not_one(file, file.len, err, "it ends before the 8 bytes that give the header's length");
    uint64_t n = fh_load_u64(file.ptr);
    if (n > FH_ST_MAX_HEADER) {
        snprintf(why, sizeof why, "header length is %" PRIu64 ", more than the limit of %u", n, FH_ST_MAX_HEADER);
        return not_one(file, 0, err, why);
    }
    if (n > file.len - LENGTH_BYTES) {
        snprintf(why, sizeof why, "header length is %" PRIu64 ", but only %zu bytes follow", n,
                 file.len - LENGTH_BYTES);
        return not_one(file, 0, err, why);
    }
    if (n == 0) return not_one(file, 0, err, "header length is 0");
    if (file.ptr[LENGTH_BYTES] != '{') return not_one(file, LENGTH_BYTES, err, "the header does not start with '{'");
    *header = n;
    return FH_OK;
}

/* ---- first pass: how many ---- */
static fh_status count_entries(reading *r, fh_str header) {
    fh_json_event ev;
    fh_status st;
    fh_json_reader_init(&r->json, header);
    st = fh_json_expect(&r->json, FH_JSON_OBJECT, &ev, "header", r->err);
    bool meta_seen = false;
    while (st == FH_OK) {
        st = fh_json_next(&r->json, &ev, r->err);
        if (st != FH_OK || ev.kind == FH_JSON_OBJECT_END) break;
        if (!fh_str_is(ev.text, META_KEY)) {
            r->s->n_tensor++;
            st = fh_json_skip(&r->json, &ev, r->err);
            continue;
        }
        if (meta_seen) {
            st = fh_fail_at(r->err, FH_ERR_FORMAT, ev.offset, "'%s' stands twice", META_KEY);
            break;
        }
        meta_seen = true;
        r->meta_at = ev.offset;
        st = fh_json_expect(&r->json, FH_JSON_OBJECT, &ev, META_KEY, r->err);
        while (st == FH_OK) {
            st = fh_json_next(&r->json, &ev, r->err);
            if (st != FH_OK || ev.kind == FH_JSON_OBJECT_END) break;
            r->s->n_meta++;
            st = fh_json_skip(&r->json, &ev, r->err);
        }
    }
    if (st == FH_OK) st = fh_json_next(&r->json, &ev, r->err); /* nothing but space may follow */
    return st;
}

/* ---- second pass: fill ---- */

/* Text that lies in the file is borrowed, decoded text is copied. */
static fh_status keep(reading *r, fh_str text, fh_str *out) {
    uintptr_t p = (uintptr_t)text.ptr, lo = (uintptr_t)r->file.ptr;
    if (text.len == 0) {
        *out = FH_STR("");
    } else if (p >= lo && p - lo <= r->file.len) {
        *out = text;
    } else if (!fh_arena_copy(&r->s->arena, text, out)) {
        return fh_arena_fail(&r->s->arena, r->err);
    }
    return FH_OK;
}

static fh_status read_meta(reading *r) {
    fh_json_event ev;
    FH_TRY(fh_json_expect(&r->json, FH_JSON_OBJECT, &ev, META_KEY, r->err));
    for (size_t i = 0;; i++) {
        FH_TRY(fh_json_next(&r->json, &ev, r->err));
        if (ev.kind == FH_JSON_OBJECT_END) return FH_OK;
        if (i >= r->s->n_meta) return fh_fail(r->err, FH_ERR_CORRUPT, "the header changed while it was read");
        FH_TRY(keep(r, ev.text, &r->s->item[i].key));
        FH_TRY(fh_json_next(&r->json, &ev, r->err));
        if (ev.kind != FH_JSON_STRING)
            return fh_fail_at(r->err, FH_ERR_FORMAT, ev.offset, "metadata '%.*s' is no text",
                              FH_STR_ARG(r->s->item[i].key));
        FH_TRY(keep(r, ev.text, &r->s->item[i].value));
    }
}

/* Digits only: 1.0 and 1e3 are numbers in JSON, but no dimension. */
static fh_status read_size(reading *r, const fh_json_event *ev, const char *field, fh_str name, uint64_t *out) {
    if (ev->kind != FH_JSON_NUMBER || !fh_str_u64(ev->text, out))
        return fh_fail_at(r->err, FH_ERR_FORMAT, ev->offset, "%s of tensor '%.*s' is no size", field, FH_STR_ARG(name));
    return FH_OK;
}

static fh_status read_shape(reading *r, fh_tensor *t) {
    fh_json_event ev;
    FH_TRY(fh_json_expect(&r->json, FH_JSON_ARRAY, &ev, "shape", r->err));
    for (;;) {
        FH_TRY(fh_json_next(&r->json, &ev, r->err));
        if (ev.kind == FH_JSON_ARRAY_END) return FH_OK;
        if (t->shape.n_dim == FH_MAX_DIMS)
            return fh_fail_at(r->err, FH_ERR_FORMAT, ev.offset, "tensor '%.*s' has more than %d dimensions",
                              FH_STR_ARG(t->name), FH_MAX_DIMS);
        FH_TRY(read_size(r, &ev, "shape", t->name, &t->shape.dim[t->shape.n_dim]));
        t->shape.n_dim++;
    }
}

static fh_status read_range(reading *r, const fh_tensor *t, uint64_t range[2]) {
    fh_json_event ev;
    FH_TRY(fh_json_expect(&r->json, FH_JSON_ARRAY, &ev, "data_offsets", r->err));
    uint64_t at = ev.offset;
    for (int k = 0; k < 2; k++) {
        FH_TRY(fh_json_next(&r->json, &ev, r->err));
        FH_TRY(read_size(r, &ev, "data_offsets", t->name, &range[k]));
    }
    FH_TRY(fh_json_expect(&r->json, FH_JSON_ARRAY_END, &ev, "data_offsets", r->err));
    uint64_t data = r->file.len - r->s->data_offset;
    if (range[0] > range[1] || range[1] > data)
        return fh_fail_at(r->err, FH_ERR_FORMAT, at,
                          "data_offsets [%" PRIu64 ", %" PRIu64 "] of tensor '%.*s' leave the %" PRIu64
                          " bytes of data",
                          range[0], range[1], FH_STR_ARG(t->name), data);
    return FH_OK;
}

static fh_status read_dtype(reading *r, fh_tensor *t) {
    fh_json_event ev;
    FH_TRY(fh_json_expect(&r->json, FH_JSON_STRING, &ev, "dtype", r->err));
    if (!fh_dtype_from_safetensors(ev.text, &t->dtype))
        return fh_fail_at(r->err, FH_ERR_FORMAT, ev.offset, "tensor '%.*s' has the unknown dtype '%.*s'",
                          FH_STR_ARG(t->name), FH_STR_ARG(ev.text));
    return FH_OK;
}

static fh_status check_size(reading *r, const fh_tensor *t, const uint64_t range[2], uint64_t at) {
    char shape[FH_MAX_DIMS * 22 + 2];
    uint64_t count, bytes;
    if (!fh_shape_count(&t->shape, &count) || !fh_dtype_bytes(t->dtype, count, &bytes))
        return fh_fail_at(r->err, FH_ERR_FORMAT, at, "tensor '%.*s': %s %s is no whole number of bytes that fits",
                          FH_STR_ARG(t->name), fh_dtype_name(t->dtype), fh_shape_text(&t->shape, shape, sizeof shape));
    if (bytes != range[1] - range[0])
        return fh_fail_at(r->err, FH_ERR_FORMAT, at,
                          "tensor '%.*s': %s %s takes %" PRIu64 " bytes, data_offsets give it %" PRIu64,
                          FH_STR_ARG(t->name), fh_dtype_name(t->dtype), fh_shape_text(&t->shape, shape, sizeof shape),
                          bytes, range[1] - range[0]);
    return FH_OK;
}

/* {"dtype": ..., "shape": [...], "data_offsets": [a, b]}: each exactly once, in any order, nothing else. */
static fh_status read_entry(reading *r, fh_tensor *t, uint64_t at) {
    static const char *const member[] = {"dtype", "shape", "data_offsets"};
    bool seen[3] = {false, false, false};
    uint64_t range[2] = {0, 0};
    fh_json_event ev;
    FH_TRY(fh_json_next(&r->json, &ev, r->err));
    if (ev.kind != FH_JSON_OBJECT)
        return fh_fail_at(r->err, FH_ERR_FORMAT, ev.offset, "entry of tensor '%.*s' is no object", FH_STR_ARG(t->name));
    for (;;) {
        FH_TRY(fh_json_next(&r->json, &ev, r->err));
        if (ev.kind == FH_JSON_OBJECT_END) break;
        size_t k = 0;
        while (k < 3 && !fh_str_is(ev.text, member[k])) k++;
        if (k == 3)
            return fh_fail_at(r->err, FH_ERR_FORMAT, ev.offset, "tensor '%.*s' has the unknown member '%.*s'",
                              FH_STR_ARG(t->name), FH_STR_ARG(ev.text));
        if (seen[k])
            return fh_fail_at(r->err, FH_ERR_FORMAT, ev.offset, "tensor '%.*s' has '%s' twice", FH_STR_ARG(t->name),
                              member[k]);
        seen[k] = true;
        FH_TRY(k == 0 ? read_dtype(r, t) : k == 1 ? read_shape(r, t) : read_range(r, t, range));
    }
    for (size_t k = 0; k < 3; k++)
        if (!seen[k])
            return fh_fail_at(r->err, FH_ERR_FORMAT, at, "tensor '%.*s' has no '%s'", FH_STR_ARG(t->name), member[k]);
    FH_TRY(check_size(r, t, range, at));
    t->file_offset = r->s->data_offset + range[0];
    t->data = fh_bytes_part(r->file, (size_t)t->file_offset, (size_t)(range[1] - range[0]));
    return FH_OK;
}

static fh_status read_entries(reading *r, fh_str header) {
    fh_json_event ev;
    size_t i = 0;
    fh_json_reader_release(&r->json);
    fh_json_reader_init(&r->json, header);
    FH_TRY(fh_json_expect(&r->json, FH_JSON_OBJECT, &ev, "header", r->err));
    for (;;) {
        FH_TRY(fh_json_next(&r->json, &ev, r->err));
        if (ev.kind == FH_JSON_OBJECT_END) break;
        if (fh_str_is(ev.text, META_KEY)) {
            FH_TRY(read_meta(r));
            continue;
        }
        if (i >= r->s->n_tensor) return fh_fail(r->err, FH_ERR_CORRUPT, "the header changed while it was read");
        r->key_at[i] = (uint32_t)ev.offset;
        FH_TRY(keep(r, ev.text, &r->s->tensor[i].name));
        FH_TRY(read_entry(r, &r->s->tensor[i], ev.offset));
        i++;
    }
    if (i != r->s->n_tensor) return fh_fail(r->err, FH_ERR_CORRUPT, "the header changed while it was read");
    return FH_OK;
}

/* ---- rules over all entries ---- */
static int by_name(const void *ctx, uint32_t a, uint32_t b) {
    const fh_tensor *t = ctx;
    return fh_str_cmp(t[a].name, t[b].name);
}

static int by_place(const void *ctx, uint32_t a, uint32_t b) {
    const fh_tensor *x = (const fh_tensor *)ctx + a, *y = (const fh_tensor *)ctx + b;
    if (x->file_offset != y->file_offset) return x->file_offset < y->file_offset ? -1 : 1;
    return x->data.len < y->data.len ? -1 : x->data.len > y->data.len;
}

static int by_key(const void *ctx, uint32_t a, uint32_t b) {
    const meta *m = ctx;
    return fh_str_cmp(m[a].key, m[b].key);
}

static void number(uint32_t *idx, size_t n) {
    for (size_t i = 0; i < n; i++) idx[i] = (uint32_t)i;
}

/* Sorted by offset, ranges meet end to begin and fill the data. A tensor without bytes may lie at any seam. */
static fh_status check_tiling(reading *r) {
    const fh_st *s = r->s;
    uint32_t *order = r->order;
    uint64_t at = s->data_offset;
    number(order, s->n_tensor);
    fh_order_sort(order, r->scratch, s->n_tensor, by_place, s->tensor);
    for (size_t i = 0; i < s->n_tensor; i++) {
        const fh_tensor *t = &s->tensor[order[i]];
        if (t->file_offset != at)
            return fh_fail_at(r->err, FH_ERR_FORMAT, r->key_at[order[i]],
                              "tensor '%.*s' begins at %" PRIu64 " of the data, %s %" PRIu64, FH_STR_ARG(t->name),
                              t->file_offset - s->data_offset,
                              t->file_offset < at ? "inside another that ends at" : "leaving a hole from",
                              at - s->data_offset);
        at += t->data.len;
    }
    if (at != r->file.len)
        return fh_fail_at(r->err, FH_ERR_FORMAT, at - LENGTH_BYTES, "%" PRIu64 " bytes behind the last tensor",
                          r->file.len - at);
    return FH_OK;
}

static fh_status check_names(reading *r) {
    const fh_st *s = r->s;
    number(s->by_name, s->n_tensor);
    fh_order_sort(s->by_name, r->scratch, s->n_tensor, by_name, s->tensor);
    for (size_t i = 1; i < s->n_tensor; i++) {
        uint32_t b = s->by_name[i]; /* the sort is stable: b is the later of two twins */
        if (fh_str_eq(s->tensor[s->by_name[i - 1]].name, s->tensor[b].name))
            return fh_fail_at(r->err, FH_ERR_FORMAT, r->key_at[b], "tensor name '%.*s' stands twice",
                              FH_STR_ARG(s->tensor[b].name));
    }
    return FH_OK;
}

static fh_status check_meta(reading *r) {
    const fh_st *s = r->s;
    if (s->n_meta < 2) return FH_OK;
    uint32_t *idx = fh_alloc(s->n_meta, 2 * sizeof *idx);
    if (!idx) return fh_fail_memory(r->err, s->n_meta * 2 * sizeof *idx);
    number(idx, s->n_meta);
    fh_order_sort(idx, idx + s->n_meta, s->n_meta, by_key, s->item);
    fh_status st = FH_OK;
    for (size_t i = 1; st == FH_OK && i < s->n_meta; i++)
        if (fh_str_eq(s->item[idx[i - 1]].key, s->item[idx[i]].key))
            st = fh_fail_at(r->err, FH_ERR_FORMAT, r->meta_at, "metadata key '%.*s' stands twice",
                            FH_STR_ARG(s->item[idx[i]].key));
    fh_free(idx);
    return st;
}

/* The tables, within the promise of the header: 2 x the file + 16 MiB, of which the reader's own text buffer
 * may take up to one more copy of a string. */
static fh_status make_room(reading *r) {
    fh_st *s = r->s;
    size_t each = sizeof *s->tensor + 4 * sizeof(uint32_t), tables = s->n_tensor * each + s->n_meta * sizeof(meta);
    size_t most = r->file.len + r->file.len / 2 + (12u << 20);
    if (tables > most)
        return fh_fail_at(r->err, FH_ERR_LIMIT, 0,
                          "a header with %zu tensors needs more than the memory allowed for it", s->n_tensor);
    fh_arena_init(&s->arena, most);
    s->tensor = fh_arena_alloc(&s->arena, s->n_tensor, sizeof *s->tensor);
    s->by_name = fh_arena_alloc(&s->arena, s->n_tensor, sizeof *s->by_name);
    s->item = fh_arena_alloc(&s->arena, s->n_meta, sizeof *s->item);
    if (!s->tensor || !s->by_name || !s->item) return fh_arena_fail(&s->arena, r->err);
    r->key_at = fh_alloc(s->n_tensor, 3 * sizeof *r->key_at);
    if (!r->key_at) return fh_fail_memory(r->err, s->n_tensor * 3 * sizeof *r->key_at);
    r->scratch = r->key_at + s->n_tensor;
    r->order = r->scratch + s->n_tensor;
    return FH_OK;
}

static fh_status read_header(reading *r, fh_str header) {
    FH_TRY(count_entries(r, header));
    FH_TRY(make_room(r));
    FH_TRY(read_entries(r, header));
    FH_TRY(check_meta(r));
    FH_TRY(check_names(r)); /* before the ranges: twins overlap, and their name says more */
    return check_tiling(r);
}

fh_status fh_st_open(fh_st **out, fh_bytes file, fh_err *err) {
    uint64_t header = 0;
    FH_TRY(check_length(file, &header, err));
    fh_st *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    fh_err local = {0};
    reading r = {.s = s, .file = file, .err = err ? err : &local};
    fh_arena_init(&s->arena, 0);
    s->data_offset = LENGTH_BYTES + header;
    fh_status st = read_header(&r, fh_str_of_bytes(fh_bytes_part(file, LENGTH_BYTES, (size_t)header)));
    if (st != FH_OK) fh_err_shift(r.err, LENGTH_BYTES);
    fh_json_reader_release(&r.json);
    fh_free(r.key_at);
    if (st != FH_OK) {
        fh_st_close(s);
        return st;
    }
    *out = s;
    return FH_OK;
}

void fh_st_close(fh_st *s) {
    if (!s) return;
    fh_arena_release(&s->arena);
    fh_free(s);
}

size_t fh_st_n_tensor(const fh_st *s) { return s->n_tensor; }
const fh_tensor *fh_st_get_tensor(const fh_st *s, size_t i) {
    FH_REQUIRE(i < s->n_tensor);
    return &s->tensor[i];
}

static int probe(const void *ctx, uint32_t item, const void *key) {
    return fh_str_cmp(((const fh_tensor *)ctx)[item].name, *(const fh_str *)key);
}

const fh_tensor *fh_st_find_tensor(const fh_st *s, fh_str name) {
    size_t at;
    return fh_order_find(s->by_name, s->n_tensor, probe, s->tensor, &name, &at) ? &s->tensor[s->by_name[at]] : NULL;
}

size_t fh_st_n_meta(const fh_st *s) { return s->n_meta; }
void fh_st_get_meta(const fh_st *s, size_t i, fh_str *key, fh_str *value) {
    FH_REQUIRE(i < s->n_meta);
    *key = s->item[i].key;
    *value = s->item[i].value;
}
uint64_t fh_st_data_offset(const fh_st *s) { return s->data_offset; }
