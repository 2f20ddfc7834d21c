/* format/safetensors_index.c - model.safetensors.index.json: which shard holds which tensor.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the names (one pool of text) and two sorted views. Refuses shard names that are paths, tensors named
 * twice, and, given the shards' real contents, tensors that are missing, elsewhere, or in two shards.
 * Memory stays under 2 x the text + 16 MiB. */

#include "base/mem.h"
#include "base/num.h"
#include "format/order.h"
#include "format/safetensors.h"

typedef struct span {
    uint32_t at, len; /* in the pool */
} span;

struct fh_st_index {
    fh_buf pool;       /* decoded text of names and shards */
    span *name;        /* [n] in the order of the file */
    uint32_t *key_at;  /* [n] byte of the name in the JSON text */
    uint32_t *shard;   /* [n] number of the shard */
    uint32_t *by_name; /* [n] */
    span *file;        /* [n_shard] sorted; n while parsing */
    size_t n, n_shard;
};

static fh_str text_of(const fh_st_index *x, span s) {
    return (fh_str){s.len ? (const char *)x->pool.ptr + s.at : "", s.len};
}

static int by_name(const void *ctx, uint32_t a, uint32_t b) {
    const fh_st_index *x = ctx;
    return fh_str_cmp(text_of(x, x->name[a]), text_of(x, x->name[b]));
}

static int by_file(const void *ctx, uint32_t a, uint32_t b) {
    const fh_st_index *x = ctx;
    return fh_str_cmp(text_of(x, x->file[a]), text_of(x, x->file[b]));
}

static int probe(const void *ctx, uint32_t item, const void *key) {
    const fh_st_index *x = ctx;
    return fh_str_cmp(text_of(x, x->name[item]), *(const fh_str *)key);
}

/* Checks the JSON as a whole and counts the members of weight_map. */
static fh_status count(fh_st_index *x, fh_json_reader *r, fh_err *err) {
    fh_json_event ev;
    bool seen = false;
    FH_TRY(fh_json_expect(r, FH_JSON_OBJECT, &ev, "index", err));
    for (;;) {
        FH_TRY(fh_json_next(r, &ev, err));
        if (ev.kind == FH_JSON_OBJECT_END) break;
        if (!fh_str_is(ev.text, "weight_map")) {
            FH_TRY(fh_json_skip(r, &ev, err));
            continue;
        }
        if (seen) return fh_fail_at(err, FH_ERR_FORMAT, ev.offset, "'weight_map' stands twice");
        seen = true;
        FH_TRY(fh_json_expect(r, FH_JSON_OBJECT, &ev, "weight_map", err));
        for (;;) {
            FH_TRY(fh_json_next(r, &ev, err));
            if (ev.kind == FH_JSON_OBJECT_END) break;
            x->n++;
            FH_TRY(fh_json_skip(r, &ev, err));
        }
    }
    FH_TRY(fh_json_next(r, &ev, err)); /* nothing but space may follow */
    if (!seen) return fh_fail(err, FH_ERR_FORMAT, "the index has no 'weight_map'");
    return FH_OK;
}

static fh_status add_text(fh_st_index *x, fh_str text, span *out, fh_err *err) {
    *out = (span){(uint32_t)x->pool.len, (uint32_t)text.len};
    fh_buf_add_str(&x->pool, text);
    return fh_buf_check(&x->pool, err);
}

static fh_status read_map(fh_st_index *x, fh_json_reader *r, fh_err *err) {
    fh_json_event ev;
    for (size_t i = 0;; i++) {
        FH_TRY(fh_json_next(r, &ev, err));
        if (ev.kind == FH_JSON_OBJECT_END && i == x->n) return FH_OK;
        if (i >= x->n || ev.kind != FH_JSON_KEY)
            return fh_fail(err, FH_ERR_CORRUPT, "the index changed while it was read");
        x->key_at[i] = (uint32_t)ev.offset;
        FH_TRY(add_text(x, ev.text, &x->name[i], err));
        fh_str name = text_of(x, x->name[i]);
        FH_TRY(fh_json_next(r, &ev, err));
        if (ev.kind != FH_JSON_STRING || !fh_path_is_plain_name(ev.text))
            return fh_fail_at(err, FH_ERR_FORMAT, ev.offset, "the shard of '%.*s' is no plain file name",
                              FH_STR_ARG(name));
        /* Names mostly come in runs of one shard: its text is kept once per run. */
        if (i > 0 && fh_str_eq(text_of(x, x->file[i - 1]), ev.text)) x->file[i] = x->file[i - 1];
        else FH_TRY(add_text(x, ev.text, &x->file[i], err));
    }
}

static fh_status read_all(fh_st_index *x, fh_json_reader *r, fh_err *err) {
    fh_json_event ev;
    FH_TRY(fh_json_expect(r, FH_JSON_OBJECT, &ev, "index", err));
    for (;;) {
        FH_TRY(fh_json_next(r, &ev, err));
        if (ev.kind == FH_JSON_OBJECT_END) return FH_OK;
        if (!fh_str_is(ev.text, "weight_map")) {
            FH_TRY(fh_json_skip(r, &ev, err));
            continue;
        }
        FH_TRY(fh_json_expect(r, FH_JSON_OBJECT, &ev, "weight_map", err));
        FH_TRY(read_map(x, r, err));
    }
}

/* Gives each distinct file a number in sorted order and forgets the repetitions. */
static fh_status number_shards(fh_st_index *x, uint32_t *scratch, fh_err *err) {
    uint32_t *order = x->by_name; /* not in use yet */
    for (size_t i = 0; i < x->n; i++) order[i] = (uint32_t)i;
    fh_order_sort(order, scratch, x->n, by_file, x);
    span *file = fh_alloc(x->n, sizeof *file);
    if (!file) return fh_fail_memory(err, x->n * sizeof *file);
    for (size_t i = 0; i < x->n; i++) {
        if (i == 0 || by_file(x, order[i - 1], order[i]) != 0) file[x->n_shard++] = x->file[order[i]];
        x->shard[order[i]] = (uint32_t)(x->n_shard - 1);
    }
    fh_free(x->file);
    x->file = file;
    return FH_OK;
}

static fh_status sort_names(fh_st_index *x, uint32_t *scratch, fh_err *err) {
    for (size_t i = 0; i < x->n; i++) x->by_name[i] = (uint32_t)i;
    fh_order_sort(x->by_name, scratch, x->n, by_name, x);
    for (size_t i = 1; i < x->n; i++)
        if (by_name(x, x->by_name[i - 1], x->by_name[i]) == 0)
            return fh_fail_at(err, FH_ERR_FORMAT, x->key_at[x->by_name[i]], "tensor '%.*s' stands twice in the index",
                              FH_STR_ARG(text_of(x, x->name[x->by_name[i]])));
    return FH_OK;
}

static fh_status make_room(fh_st_index *x, fh_str json, uint32_t **scratch, fh_err *err) {
    size_t each = 3 * sizeof(span) + 4 * sizeof(uint32_t);
    size_t most = json.len + json.len / 2 + (12u << 20), room = 0;
    if (json.len > UINT32_MAX || !fh_mul_size(x->n, each, &room) || room > most)
        return fh_fail(err, FH_ERR_LIMIT, "an index of %zu bytes and %zu tensors is more than is allowed", json.len,
                       x->n);
    fh_buf_init(&x->pool, json.len);
    x->name = fh_alloc(x->n, sizeof *x->name);
    x->file = fh_alloc(x->n, sizeof *x->file);
    x->key_at = fh_alloc(x->n, sizeof *x->key_at);
    x->shard = fh_alloc(x->n, sizeof *x->shard);
    x->by_name = fh_alloc(x->n, sizeof *x->by_name);
    *scratch = fh_alloc(x->n, sizeof **scratch);
    if (!x->name || !x->file || !x->key_at || !x->shard || !x->by_name || !*scratch) return fh_fail_memory(err, room);
    return FH_OK;
}

fh_status fh_st_index_parse(fh_st_index **out, fh_str json, fh_err *err) {
    uint32_t *scratch = NULL;
    fh_json_reader r;
    fh_st_index *x = fh_alloc_zero(1, sizeof *x);
    if (!x) return fh_fail_memory(err, sizeof *x);
    fh_json_reader_init(&r, json);
    fh_status st = count(x, &r, err);
    fh_json_reader_release(&r);
    if (st == FH_OK) st = make_room(x, json, &scratch, err);
    fh_json_reader_init(&r, json);
    if (st == FH_OK) st = read_all(x, &r, err);
    fh_json_reader_release(&r);
    if (st == FH_OK) st = number_shards(x, scratch, err);
    if (st == FH_OK) st = sort_names(x, scratch, err);
    fh_free(scratch);
    if (st != FH_OK) {
        fh_st_index_free(x);
        return st;
    }
    *out = x;
    return FH_OK;
}

void fh_st_index_free(fh_st_index *x) {
    if (!x) return;
    fh_buf_release(&x->pool);
    fh_free(x->name);
    fh_free(x->key_at);
    fh_free(x->shard);
    fh_free(x->by_name);
    fh_free(x->file);
    fh_free(x);
}

size_t fh_st_index_n_shard(const fh_st_index *x) { return x->n_shard; }
fh_str fh_st_index_get_shard(const fh_st_index *x, size_t i) {
    FH_REQUIRE(i < x->n_shard);
    return text_of(x, x->file[i]);
}
size_t fh_st_index_n_tensor(const fh_st_index *x) { return x->n; }

bool fh_st_index_find(const fh_st_index *x, fh_str tensor, size_t *shard) {
    size_t at;
    if (!fh_order_find(x->by_name, x->n, probe, x, &tensor, &at)) return false;
    *shard = x->shard[x->by_name[at]];
    return true;
}

/* ---- against the shards' real contents ---- */
static int by_tensor(const void *ctx, uint32_t a, uint32_t b) {
    const fh_tensor *const *t = ctx;
    return fh_str_cmp(t[a]->name, t[b]->name);
}

static fh_str shard_name(const fh_st_index *x, uint32_t part) {
    return part < x->n_shard ? text_of(x, x->file[part]) : FH_STR("another file");
}

/* Both lists are sorted: one walk over the two. */
static fh_status compare(const fh_st_index *x, const fh_tensor *const *all, const uint32_t *order, size_t n,
                         fh_err *err) {
    size_t i = 0, k = 0;
    while (k < x->n) {
        fh_str want = text_of(x, x->name[x->by_name[k]]);
        fh_str file = text_of(x, x->file[x->shard[x->by_name[k]]]);
        int c = i < n ? fh_str_cmp(all[order[i]]->name, want) : 1;
        if (c > 0)
            return fh_fail(err, FH_ERR_FORMAT, "tensor '%.*s' is not in shard '%.*s', where the index has it",
                           FH_STR_ARG(want), FH_STR_ARG(file));
        if (c == 0 && all[order[i]]->part != x->shard[x->by_name[k]])
            return fh_fail(err, FH_ERR_FORMAT, "tensor '%.*s' is in shard '%.*s', the index has it in '%.*s'",
                           FH_STR_ARG(want), FH_STR_ARG(shard_name(x, all[order[i]]->part)), FH_STR_ARG(file));
        i++;
        if (c == 0) k++;
    }
    return FH_OK;
}

fh_status fh_st_index_check(const fh_st_index *x, const fh_tensor *const *all, size_t n, fh_err *err) {
    if (n > UINT32_MAX) return fh_fail(err, FH_ERR_LIMIT, "%zu tensors are more than is allowed", n);
    uint32_t *order = fh_alloc(n, 2 * sizeof *order);
    if (!order) return fh_fail_memory(err, n * 2 * sizeof *order);
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    fh_order_sort(order, order + n, n, by_tensor, all);
    fh_status st = FH_OK;
    for (size_t i = 1; st == FH_OK && i < n; i++)
        if (by_tensor(all, order[i - 1], order[i]) == 0)
            st = fh_fail(err, FH_ERR_FORMAT, "tensor '%.*s' stands in shard '%.*s' and in shard '%.*s'",
                         FH_STR_ARG(all[order[i]]->name), FH_STR_ARG(shard_name(x, all[order[i - 1]]->part)),
                         FH_STR_ARG(shard_name(x, all[order[i]]->part)));
    if (st == FH_OK) st = compare(x, all, order, n, err);
    fh_free(order);
    return st;
}
