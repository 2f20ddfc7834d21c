/* infer/prefix_file.c - the prefix tree to bytes and back.
 * SPDX-License-Identifier: Apache-2.0
 * Little-endian: "FHPREFIX", version, page, number of records, 0; 64 hex digits of the form; records; 64 hex digits of
 * SHA-256 over all before. A record: parent (number of an earlier record, or NO_PARENT: a root), mask of groups,
 * tokens [page] (of a root its fh_prefix_root), then a page of each group in the mask.
 * The reader believes nothing before the digest fits, and checks structure all the same. */
#include "infer/prefix_file.h"

#include "base/cursor.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/num.h"
#include "infer/infer_part.h"

#define MAGIC "FHPREFIX"
#define VERSION 1u
#define NO_PARENT UINT32_MAX
#define HEX (FH_SHA256_HEX - 1)
#define HEAD_BYTES (8 + 4 * 4 + HEX)
#define RECORDS_MOST (1u << 24)

/* ---- what the pages mean ---- */

/* All that two engines must have in common to read one another's pages. */
static fh_status form_of(const fh_engine *e, fh_str key, char hex[FH_SHA256_HEX], fh_err *err) {
    fh_sha256 *h = NULL;
    uint64_t facts[6 + 3 * FH_PAGE_GROUPS] = {VERSION,    e->opt.exact, e->layout.page,
                                              e->n_group, e->recurrent, e->src.step->n_state};
    for (uint32_t g = 0; g < FH_PAGE_GROUPS; g++) {
        facts[6 + 3 * g] = e->pages.bytes[g];
        facts[7 + 3 * g] = g < e->n_group ? (uint64_t)e->role[g] : 0;
        facts[8 + 3 * g] = g < e->n_group ? e->window[g] : 0;
    }
    FH_TRY(fh_sha256_new(&h, err));
    fh_status s = fh_sha256_add(h, key.ptr, key.len, err);
    if (s == FH_OK) s = fh_sha256_add(h, facts, sizeof facts, err);
    for (uint32_t i = 0; s == FH_OK && i < e->src.step->n_state; i++) {
        const fh_state_place *p = &e->place[i];
        const uint64_t place[] = {p->k_type, p->v_type, p->k_at, p->v_at, p->k_bytes, p->v_bytes};
        s = fh_sha256_add(h, place, sizeof place, err);
    }
    if (s == FH_OK) s = fh_sha256_finish(h, hex, err);
    fh_sha256_free(h);
    return s;
}

static fh_prefix_root root_in(const uint32_t *token) {
    fh_prefix_root root;
    memcpy(&root, token, sizeof root);
    return root;
}

static bool may_keep(const fh_prefix_node *n) {
    while (n->parent) n = n->parent;
    fh_prefix_root root = root_in(n->token);
    return root.adapters == 0 && root.encoding == 0;
}

/* ---- choosing ---- */

typedef struct choice {
    const fh_engine *e;
    const fh_prefix_node **node; /* [n] parents first */
    uint32_t *slot;              /* [cap_slot] hash table of numbers, from 1 */
    uint64_t cap_slot, bytes, most;
    uint32_t n, cap;
} choice;

static uint64_t slot_of(const choice *c, const fh_prefix_node *n) {
    uint64_t at = ((uint64_t)(uintptr_t)n >> 4) * 0x9E3779B97F4A7C15u >> 20;
    while (c->slot[at & (c->cap_slot - 1)] && c->node[c->slot[at & (c->cap_slot - 1)] - 1] != n) at++;
    return at & (c->cap_slot - 1);
}

static uint32_t number_of(const choice *c, const fh_prefix_node *n) { return n ? c->slot[slot_of(c, n)] : 0; }

static uint64_t bytes_of(const choice *c, const fh_prefix_node *n) {
    uint64_t sum = 8 + 4 * (uint64_t)c->e->layout.page;
    for (uint32_t g = 0; g < FH_PAGE_GROUPS; g++) sum += n->page[g] ? c->e->pages.bytes[g] : 0;
    return sum;
}

/* A node, and what it stands on; false when that is too much. */
static bool choose(choice *c, const fh_prefix_node *n) {
    uint64_t more = 0;
    uint32_t n_more = 0;
    for (const fh_prefix_node *x = n; x && !number_of(c, x); x = x->parent) {
        more += bytes_of(c, x);
        n_more++;
    }
    if (n_more == 0) return true;
    if (more > c->most - c->bytes || n_more > c->cap - c->n) return false;
    c->bytes += more;
    c->n += n_more;
    const fh_prefix_node *x = n;
    for (uint32_t i = c->n; n_more--; x = x->parent) {
        c->node[--i] = x;
        c->slot[slot_of(c, x)] = i + 1;
    }
    return true;
}

static fh_status choose_all(choice *c, fh_err *err) {
    c->cap = (uint32_t)FH_MIN(fh_prefix_n_node(c->e->prefix), RECORDS_MOST);
    for (c->cap_slot = 64; c->cap_slot < 2 * (uint64_t)c->cap; c->cap_slot *= 2) {
    }
    c->node = fh_alloc_zero((size_t)c->cap + 1, sizeof *c->node);
    c->slot = fh_alloc_zero((size_t)c->cap_slot, sizeof *c->slot);
    if (!c->node || !c->slot) return fh_fail_memory(err, (size_t)c->cap_slot * sizeof *c->slot);
    for (const fh_page *p = c->e->pages.newest; p; p = p->older)
        if (p->node && may_keep(p->node) && !choose(c, p->node)) break;
    return FH_OK;
}

/* ---- writing ---- */

typedef struct sink {
    fh_writer *w;
    fh_sha256 *h;
    fh_prefix_stop_fn *stop;
    void *ctx;
} sink;

static fh_status put(sink *k, const void *data, size_t n, fh_err *err) {
    FH_TRY(fh_sha256_add(k->h, data, n, err));
    return fh_writer_add(k->w, data, n, err);
}

static fh_status put_all(sink *k, const choice *c, const char form[FH_SHA256_HEX], fh_err *err) {
    const uint32_t head[] = {VERSION, c->e->layout.page, c->n, 0};
    char digest[FH_SHA256_HEX];
    FH_TRY(put(k, MAGIC, 8, err));
    FH_TRY(put(k, head, sizeof head, err));
    FH_TRY(put(k, form, HEX, err));
    for (uint32_t i = 0; i < c->n; i++) {
        const fh_prefix_node *n = c->node[i];
        if (k->stop && k->stop(k->ctx)) return fh_fail(err, FH_ERR_CANCELLED, "stopped");
        uint32_t record[2] = {number_of(c, n->parent) - 1, 0}; /* 0 - 1 is NO_PARENT */
        for (uint32_t g = 0; g < FH_PAGE_GROUPS; g++) record[1] |= (n->page[g] ? 1u : 0u) << g;
        FH_TRY(put(k, record, sizeof record, err));
        FH_TRY(put(k, n->token, c->e->layout.page * sizeof *n->token, err));
        for (uint32_t g = 0; g < FH_PAGE_GROUPS; g++)
            if (n->page[g]) FH_TRY(put(k, n->page[g], (size_t)c->e->pages.bytes[g], err));
    }
    FH_TRY(fh_sha256_finish(k->h, digest, err));
    return fh_writer_add(k->w, digest, HEX, err);
}

fh_status fh_prefix_file_write(fh_engine *e, const char *path, fh_str key, uint64_t most, fh_prefix_stop_fn *stop,
                               void *ctx, uint64_t *n_token, fh_err *err) {
    choice c = {.e = e, .bytes = HEAD_BYTES + HEX, .most = most};
    sink k = {.stop = stop, .ctx = ctx};
    char form[FH_SHA256_HEX];
    *n_token = 0;
    if (!e->prefix || most <= c.bytes) return FH_OK;
    fh_status s = form_of(e, key, form, err);
    if (s == FH_OK) s = choose_all(&c, err);
    if (s == FH_OK && c.n > 0) {
        s = fh_sha256_new(&k.h, err);
        if (s == FH_OK) s = fh_writer_open(&k.w, path, err);
        if (s == FH_OK) s = put_all(&k, &c, form, err);
        if (s == FH_OK) {
            s = fh_writer_commit(k.w, err);
            k.w = NULL;
        }
        for (uint32_t i = 0; s == FH_OK && i < c.n; i++) *n_token += c.node[i]->parent ? e->layout.page : 0;
    }
    fh_writer_abort(k.w);
    fh_sha256_free(k.h);
    fh_free(c.node);
    fh_free(c.slot);
    return s;
}

/* ---- reading ---- */

static fh_status damaged(fh_err *err, const char *path, const char *why) {
    return fh_fail(err, FH_ERR_CORRUPT, "the kept prompts in '%.200s' are damaged: %s", path, why);
}

static fh_status check_digest(fh_bytes all, const char *path, fh_err *err) {
    char digest[FH_SHA256_HEX];
    if (all.len < HEAD_BYTES + HEX) return damaged(err, path, "the file is too short");
    FH_TRY(fh_sha256_of(fh_bytes_part(all, 0, all.len - HEX), digest, err));
    return memcmp(digest, all.ptr + all.len - HEX, HEX) == 0 ? FH_OK : damaged(err, path, "its digest does not fit");
}

/* A block's page into the cache, as long as there is room that nobody uses. */
static fh_status take_page(fh_engine *e, fh_prefix_node *n, uint32_t group, const uint8_t *from, fh_err *err) {
    uint8_t *page;
    uint64_t size = e->pages.bytes[group], held = e->pages.cached[0] + e->pages.cached[1];
    if (n->page[group] || size > e->pages.cache_most || held > e->pages.cache_most - size) return FH_OK;
    FH_TRY(fh_pages_take(&e->pages, group, false, &page, err));
    memcpy(page, from, (size_t)size);
    (void)fh_prefix_put(e->prefix, n, group, page);
    fh_pages_unref(&e->pages, page);
    return FH_OK;
}

/* One record: its node stays referenced until all are read. */
static fh_status read_record(fh_engine *e, fh_cursor *c, fh_prefix_node **node, uint32_t i, const char *path,
                             fh_err *err) {
    uint32_t token[64], parent = fh_cursor_u32(c), mask = fh_cursor_u32(c), page = e->layout.page;
    fh_bytes raw = fh_cursor_take(c, page * sizeof *token);
    if (c->failed) return damaged(err, path, "a record is cut off");
    memcpy(token, raw.ptr, raw.len);
    if (parent != NO_PARENT && parent >= i) return damaged(err, path, "a record has no parent before it");
    if (mask >> FH_PAGE_GROUPS || (parent == NO_PARENT && mask))
        return damaged(err, path, "a record has unknown pages");
    if (parent == NO_PARENT) {
        fh_prefix_root root = root_in(token);
        if (root.adapters || root.encoding) return damaged(err, path, "a root that is never kept");
        node[i] = fh_prefix_enter_root(e->prefix, &root);
    } else {
        if (fh_engine_check_tokens(e, token, page, NULL) != FH_OK) return damaged(err, path, "an unknown token");
        node[i] = fh_prefix_enter(e->prefix, node[parent], token);
    }
    if (!node[i]) return fh_fail_memory(err, sizeof **node + raw.len);
    for (uint32_t g = 0; g < FH_PAGE_GROUPS; g++) {
        if (!(mask >> g & 1)) continue;
        if (!e->pages.bytes[g]) return damaged(err, path, "a page of a group that is not there");
        fh_bytes data = fh_cursor_take(c, e->pages.bytes[g]);
        if (c->failed) return damaged(err, path, "a page is cut off");
        FH_TRY(take_page(e, node[i], g, data.ptr, err));
    }
    return FH_OK;
}

/* Records came newest first: the oldest are let go first, so that they stand in the cache as they did. */
static void age(fh_engine *e, fh_prefix_node *const *node, uint32_t n) {
    for (uint32_t i = n; i-- > 0;)
        for (uint32_t g = 0; node[i] && g < FH_PAGE_GROUPS; g++) {
            uint8_t *page = node[i]->page[g];
            if (!page) continue;
            fh_pages_ref(&e->pages, page);
            fh_pages_unref(&e->pages, page);
        }
}

static fh_status read_records(fh_engine *e, fh_cursor *c, uint32_t n, const char *path, uint64_t *n_token,
                              fh_err *err) {
    if ((uint64_t)n * (8 + 4 * (uint64_t)e->layout.page) > fh_cursor_left(c) || n > RECORDS_MOST)
        return damaged(err, path, "more records than it has bytes for");
    fh_prefix_node **node = fh_alloc_zero((size_t)n + 1, sizeof *node);
    if (!node) return fh_fail_memory(err, ((size_t)n + 1) * sizeof *node);
    fh_status s = FH_OK;
    for (uint32_t i = 0; i < n && s == FH_OK; i++) {
        s = read_record(e, c, node, i, path, err);
        if (s == FH_OK && node[i]->parent) *n_token += e->layout.page;
    }
    if (s == FH_OK && fh_cursor_left(c) != 0) s = damaged(err, path, "there is more behind the last record");
    age(e, node, n);
    for (uint32_t i = n; i-- > 0;) fh_prefix_unref(e->prefix, node[i]);
    fh_free(node);
    return s;
}

static fh_status read_bytes(fh_engine *e, fh_bytes all, const char *path, fh_str key, uint64_t *n_token, fh_err *err) {
    char form[FH_SHA256_HEX];
    FH_TRY(check_digest(all, path, err));
    FH_TRY(form_of(e, key, form, err));
    fh_cursor c = fh_cursor_of(fh_bytes_part(all, 0, all.len - HEX));
    fh_bytes magic = fh_cursor_take(&c, 8);
    uint32_t version = fh_cursor_u32(&c), page = fh_cursor_u32(&c), n = fh_cursor_u32(&c), zero = fh_cursor_u32(&c);
    fh_bytes its = fh_cursor_take(&c, HEX);
    if (c.failed || memcmp(magic.ptr, MAGIC, 8) != 0) return damaged(err, path, "it is no file of prompts");
    if (version != VERSION || zero != 0 || page != e->layout.page || memcmp(its.ptr, form, HEX) != 0)
        return fh_fail(err, FH_ERR_FORMAT, "the kept prompts in '%.200s' are of another model, form or version", path);
    return read_records(e, &c, n, path, n_token, err);
}

fh_status fh_prefix_file_read(fh_engine *e, const char *path, fh_str key, uint64_t *n_token, fh_err *err) {
    fh_map *map = NULL;
    *n_token = 0;
    if (!e->prefix) return FH_OK;
    FH_TRY(fh_map_open(&map, path, err));
    fh_map_advise(map, 0, fh_map_bytes(map).len, FH_MAP_SEQUENTIAL);
    fh_status s = read_bytes(e, fh_map_bytes(map), path, key, n_token, err);
    if (s == FH_OK) s = fh_map_check(map, err);
    fh_map_close(map);
    return s;
}
