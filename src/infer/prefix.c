/* infer/prefix.c - the tree of known prefixes, in one hash table.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the nodes; pages belong to the store, which says through forget_page when one goes. Failing to grow the table
 * only makes its chains longer. The hash is SipHash-2-4 (Aumasson, Bernstein 2012) under a random key: which tokens
 * collide cannot be known from outside. Its values decide nothing but the order within a bucket. */
#include "infer/prefix.h"

#include <sys/random.h>

#include "base/mem.h"
#include "base/num.h"

#define FIRST_BUCKETS 256u

struct fh_prefix {
    fh_pages *pages;
    uint32_t page;
    uint64_t key[2];
    fh_prefix_node **bucket; /* [n_bucket], a power of two */
    uint64_t n_bucket, n_node;
};

/* ---- hash ---- */
static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void sip_rounds(uint64_t v[4], int n) {
    for (int i = 0; i < n; i++) {
        v[0] += v[1], v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1], v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

static void sip_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
}

static uint64_t hash_block(const fh_prefix *p, const fh_prefix_node *parent, const uint32_t *token) {
    uint64_t v[4] = {p->key[0] ^ 0x736f6d6570736575u, p->key[1] ^ 0x646f72616e646f6du, p->key[0] ^ 0x6c7967656e657261u,
                     p->key[1] ^ 0x7465646279746573u};
    sip_word(v, (uint64_t)(uintptr_t)parent);
    for (uint32_t i = 0; i + 1 < p->page; i += 2) sip_word(v, token[i] | (uint64_t)token[i + 1] << 32);
    sip_word(v, (uint64_t)(p->page * 4u + 8u) << 56);
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- nodes ---- */
static fh_prefix_node **bucket_of(const fh_prefix *p, uint64_t hash) { return &p->bucket[hash & (p->n_bucket - 1)]; }

/* No longer needed: it goes, and its parents as far as nothing else needs them. */
static void prune(fh_prefix *p, fh_prefix_node *n) {
    while (n && n->refs == 0 && n->n_child == 0) {
        for (int g = 0; g < FH_PAGE_GROUPS; g++)
            if (n->page[g]) return;
        fh_prefix_node **at = bucket_of(p, n->hash), *parent = n->parent;
        while (*at != n) at = &(*at)->next;
        *at = n->next;
        p->n_node--;
        if (parent) parent->n_child--;
        fh_free(n);
        n = parent;
    }
}

static void forget_page(void *ctx, fh_prefix_node *n, uint32_t group) {
    n->page[group] = NULL;
    prune(ctx, n);
}

static fh_prefix_node *find(const fh_prefix *p, const fh_prefix_node *parent, const uint32_t *token, uint64_t hash) {
    for (fh_prefix_node *n = *bucket_of(p, hash); n; n = n->next)
        if (n->hash == hash && n->parent == parent && memcmp(n->token, token, p->page * sizeof *token) == 0) return n;
    return NULL;
}

static void grow(fh_prefix *p) {
    fh_prefix_node **wide = p->n_bucket < (1u << 28) ? fh_alloc_zero((size_t)p->n_bucket * 2, sizeof *wide) : NULL;
    if (!wide) return;
    fh_prefix_node **old = p->bucket;
    uint64_t n_old = p->n_bucket;
    p->bucket = wide;
    p->n_bucket *= 2;
    for (uint64_t i = 0; i < n_old; i++) {
        for (fh_prefix_node *n = old[i], *next; n; n = next) {
            next = n->next;
            fh_prefix_node **at = bucket_of(p, n->hash);
            n->next = *at;
            *at = n;
        }
    }
    fh_free(old);
}

static fh_prefix_node *enter(fh_prefix *p, fh_prefix_node *parent, const uint32_t *token) {
    uint64_t hash = hash_block(p, parent, token);
    fh_prefix_node *n = find(p, parent, token, hash);
    if (!n) {
        if (p->n_node >= p->n_bucket) grow(p);
        n = fh_alloc_zero(1, sizeof *n + p->page * sizeof *token);
        if (!n) return NULL;
        memcpy(n->token, token, p->page * sizeof *token);
        n->hash = hash;
        n->parent = parent;
        if (parent) {
            n->depth = parent->depth + 1;
            parent->n_child++;
        }
        fh_prefix_node **at = bucket_of(p, hash);
        n->next = *at;
        *at = n;
        p->n_node++;
    }
    n->refs++;
    return n;
}

#define MOST_PAGE 64u
static void root_words(const fh_prefix_root *root, uint32_t word[MOST_PAGE]) {
    memset(word, 0, MOST_PAGE * sizeof *word);
    _Static_assert(sizeof *root <= 16 * sizeof *word, "a root fits the smallest block");
    memcpy(word, root, sizeof *root);
}

/* ---- the interface ---- */
fh_status fh_prefix_new(fh_prefix **out, uint32_t page, fh_pages *pages, fh_err *err) {
    FH_REQUIRE(page >= 16 && page <= MOST_PAGE && page % 2 == 0);
    fh_prefix *p = fh_alloc_zero(1, sizeof *p);
    fh_prefix_node **bucket = fh_alloc_zero(FIRST_BUCKETS, sizeof *bucket);
    if (!p || !bucket) {
        fh_free(p);
        fh_free(bucket);
        return fh_fail_memory(err, FIRST_BUCKETS * sizeof *bucket);
    }
    *p = (fh_prefix){.pages = pages, .page = page, .bucket = bucket, .n_bucket = FIRST_BUCKETS};
    /* Where the kernel gives nothing, addresses are what an outsider knows least. */
    if (getrandom(p->key, sizeof p->key, GRND_NONBLOCK) != (ssize_t)sizeof p->key) {
        p->key[0] = (uint64_t)(uintptr_t)p;
        p->key[1] = (uint64_t)(uintptr_t)&p;
    }
    pages->forget = forget_page;
    pages->forget_ctx = p;
    *out = p;
    return FH_OK;
}

void fh_prefix_free(fh_prefix *p) {
    if (!p) return;
    FH_REQUIRE(p->n_node == 0);
    p->pages->forget = NULL;
    fh_free(p->bucket);
    fh_free(p);
}

fh_prefix_node *fh_prefix_find_root(const fh_prefix *p, const fh_prefix_root *root) {
    uint32_t word[MOST_PAGE];
    root_words(root, word);
    return fh_prefix_find(p, NULL, word);
}

fh_prefix_node *fh_prefix_find(const fh_prefix *p, const fh_prefix_node *parent, const uint32_t *token) {
    return find(p, parent, token, hash_block(p, parent, token));
}

fh_prefix_node *fh_prefix_enter_root(fh_prefix *p, const fh_prefix_root *root) {
    uint32_t word[MOST_PAGE];
    root_words(root, word);
    return enter(p, NULL, word);
}

fh_prefix_node *fh_prefix_enter(fh_prefix *p, fh_prefix_node *parent, const uint32_t *token) {
    return enter(p, parent, token);
}

void fh_prefix_ref(fh_prefix_node *n) { n->refs++; }

void fh_prefix_unref(fh_prefix *p, fh_prefix_node *n) {
    if (!n) return;
    FH_REQUIRE(n->refs > 0);
    n->refs--;
    prune(p, n);
}

bool fh_prefix_put(fh_prefix *p, fh_prefix_node *n, uint32_t group, uint8_t *page) {
    if (n->page[group]) return false;
    fh_pages_remember(p->pages, page, n);
    n->page[group] = page;
    return true;
}

uint64_t fh_prefix_n_node(const fh_prefix *p) { return p->n_node; }
