/* text/piece_trie.c - building the trie: keys in byte order, then one level after the other.
 * SPDX-License-Identifier: Apache-2.0
 * Linear in the bytes of all keys after sorting. Refuses more than FH_PIECE_TRIE_MAX_NODE nodes. */
#include "text/piece_trie.h"

#include "base/num.h"
#include "format/order.h"

/* The keys whose texts go through a node: order[lo .. hi) */
typedef struct range {
    uint32_t lo, hi;
} range;

typedef struct building {
    const fh_piece_key *key;
    uint32_t *order; /* [n] indices of keys, by text */
    range *range;    /* [cap] of the nodes */
    uint32_t *first, *value;
    uint8_t *label;
    uint32_t n_node, cap;
    fh_err *err;
} building;

static int by_text(const void *ctx, uint32_t a, uint32_t b) {
    const fh_piece_key *key = ctx;
    return fh_str_cmp(key[a].text, key[b].text);
}

static fh_status grow(building *b) {
    uint32_t cap = b->cap ? b->cap * 2 : 1024;
    if (cap > FH_PIECE_TRIE_MAX_NODE)
        return fh_fail(b->err, FH_ERR_LIMIT, "tokenizer: the pieces need more than %u trie nodes",
                       FH_PIECE_TRIE_MAX_NODE);
    void *p = fh_realloc(b->range, cap, sizeof *b->range);
    if (p) b->range = p;
    if (p && (p = fh_realloc(b->first, cap + 1, sizeof *b->first)) != NULL) b->first = p;
    if (p && (p = fh_realloc(b->value, cap, sizeof *b->value)) != NULL) b->value = p;
    if (p && (p = fh_realloc(b->label, cap, 1)) != NULL) b->label = p;
    if (!p) return fh_fail_memory(b->err, (size_t)cap * 17);
    b->cap = cap;
    return FH_OK;
}

static fh_status add_node(building *b, uint8_t label, range r) {
    if (b->n_node == b->cap) FH_TRY(grow(b));
    b->label[b->n_node] = label;
    b->value[b->n_node] = FH_PIECE_TRIE_NONE;
    b->range[b->n_node] = r;
    b->n_node++;
    return FH_OK;
}

/* The children of a node whose texts share their first depth bytes. */
static fh_status expand(building *b, uint32_t node, size_t depth) {
    range r = b->range[node];
    b->first[node] = b->n_node;
    for (uint32_t i = r.lo; i < r.hi;) {
        const fh_piece_key *k = &b->key[b->order[i]];
        if (k->text.len == depth) {
            b->value[node] = k->value; /* sorting is stable: the last one stays */
            i++;
            continue;
        }
        char c = k->text.ptr[depth];
        uint32_t end = i + 1;
        while (end < r.hi && b->key[b->order[end]].text.ptr[depth] == c) end++;
        FH_TRY(add_node(b, (uint8_t)c, (range){i, end}));
        i = end;
    }
    return FH_OK;
}

static fh_status build(building *b, size_t n) {
    uint32_t *scratch = fh_alloc(n, sizeof *scratch), used = 0;
    b->order = fh_alloc(n, sizeof *b->order);
    if (!b->order || !scratch) {
        fh_free(scratch);
        return fh_fail_memory(b->err, n * sizeof *scratch);
    }
    for (size_t i = 0; i < n; i++)
        if (b->key[i].text.len > 0) b->order[used++] = (uint32_t)i;
    fh_order_sort(b->order, scratch, used, by_text, b->key);
    fh_free(scratch);
    FH_TRY(add_node(b, 0, (range){0, used}));
    uint32_t level_end = 1;
    size_t depth = 0;
    for (uint32_t node = 0; node < b->n_node; node++) {
        if (node == level_end) {
            level_end = b->n_node;
            depth++;
        }
        FH_TRY(expand(b, node, depth));
    }
    b->first[b->n_node] = b->n_node;
    return FH_OK;
}

fh_status fh_piece_trie_build(fh_piece_trie *out, const fh_piece_key *key, size_t n, fh_err *err) {
    building b = {.key = key, .err = err};
    if (n >= UINT32_MAX) return fh_fail(err, FH_ERR_LIMIT, "tokenizer: too many pieces");
    fh_status s = build(&b, n);
    fh_free(b.order);
    fh_free(b.range);
    if (s != FH_OK) {
        fh_free(b.first);
        fh_free(b.value);
        fh_free(b.label);
        return s;
    }
    *out = (fh_piece_trie){.n_node = b.n_node, .first = b.first, .value = b.value, .label = b.label};
    for (uint32_t i = b.first[0]; i < b.first[1]; i++) out->root[b.label[i]] = i;
    return FH_OK;
}

void fh_piece_trie_release(fh_piece_trie *t) {
    fh_free(t->first);
    fh_free(t->value);
    fh_free(t->label);
    memset(t, 0, sizeof *t);
}
