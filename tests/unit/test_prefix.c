/* tests/unit/test_prefix.c - the tree of known prefixes against a list of texts.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/prefix.h"
#include "test.h"

#define PAGE 16u
#define DEPTH 4u
static const uint64_t sizes[FH_PAGE_GROUPS] = {64, 128};

/* Blocks of which there are few kinds, so that texts begin alike. */
static void make_block(uint32_t kind, uint32_t *token) {
    for (uint32_t i = 0; i < PAGE; i++) token[i] = kind * 1000 + i;
    token[PAGE - 1] = kind % 2; /* some differ at the end only */
    if (kind > 1) memset(token, 0, (PAGE - 1) * sizeof *token), token[PAGE - 1] = kind;
}

static fh_prefix_node *walk(const fh_prefix *p, const fh_prefix_root *root, const uint32_t kind[DEPTH], uint32_t n) {
    fh_prefix_node *x = fh_prefix_find_root(p, root);
    uint32_t token[PAGE];
    for (uint32_t i = 0; x && i < n; i++) {
        make_block(kind[i], token);
        x = fh_prefix_find(p, x, token);
    }
    return x;
}

TEST(prefix, finds_what_was_entered_and_nothing_else) {
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 5);
    uint64_t before = fh_mem_get_stats().live_blocks;
    fh_pages pages;
    fh_prefix *p = NULL;
    fh_err err = {0};
    fh_pages_init(&pages, sizes, 0, 64 * 300); /* no room for all */
    CHECK_OK(fh_prefix_new(&p, PAGE, &pages, &err), err);
    for (uint32_t k = 0; k < 3000 * fh_test_times(); k++) {
        fh_prefix_root root = {.salt = fh_rng_below(&rng, 3), .regime = fh_rng_below(&rng, 2)};
        uint32_t kind[DEPTH], n = 1 + (uint32_t)fh_rng_below(&rng, DEPTH), token[PAGE];
        for (uint32_t i = 0; i < DEPTH; i++) kind[i] = (uint32_t)fh_rng_below(&rng, 5);
        fh_prefix_node *at = fh_prefix_enter_root(p, &root);
        CHECK(at && at->depth == 0);
        for (uint32_t i = 0; i < n; i++) {
            make_block(kind[i], token);
            fh_prefix_node *next = fh_prefix_enter(p, at, token);
            CHECK(next && next->parent == at && next->depth == i + 1);
            CHECK(memcmp(next->token, token, sizeof token) == 0);
            if (!next->page[0]) {
                uint8_t *page;
                CHECK_OK(fh_pages_take(&pages, 0, false, &page, &err), err);
                /* the page says which text it is of */
                memcpy(page, &root, sizeof root);
                memcpy(page + 32, kind, sizeof kind);
                CHECK(fh_prefix_put(p, next, 0, page));
                CHECK(!fh_prefix_put(p, next, 0, page));
                fh_pages_unref(&pages, page);
            }
            fh_prefix_unref(p, at);
            at = next;
        }
        CHECK(walk(p, &root, kind, n) == at);
        fh_prefix_unref(p, at);
        /* any other text: what is found is of that text */
        for (uint32_t i = 0; i < DEPTH; i++) kind[i] = (uint32_t)fh_rng_below(&rng, 5);
        root.salt = fh_rng_below(&rng, 3);
        for (uint32_t d = 1; d <= DEPTH; d++) {
            at = walk(p, &root, kind, d);
            if (!at || !at->page[0]) continue;
            CHECK(memcmp(at->page[0], &root, sizeof root) == 0);
            CHECK(memcmp(at->page[0] + 32, kind, d * sizeof *kind) == 0);
        }
    }
    fh_pages_release(&pages);
    CHECK_U64(fh_prefix_n_node(p), 0);
    fh_prefix_free(p);
    CHECK_U64(fh_mem_get_stats().live_blocks, before);
}

TEST(prefix, nodes_go_with_their_last_page) {
    fh_pages pages;
    fh_prefix *p = NULL;
    fh_err err = {0};
    fh_pages_init(&pages, sizes, 0, 1 << 20);
    CHECK_OK(fh_prefix_new(&p, PAGE, &pages, &err), err);
    fh_prefix_root root = {.salt = 1};
    fh_prefix_node *at = fh_prefix_enter_root(p, &root);
    uint8_t *page = NULL;
    for (uint32_t i = 0; i < 1000; i++) { /* deep, and past the first table */
        uint32_t token[PAGE] = {i};
        fh_prefix_node *next = fh_prefix_enter(p, at, token);
        CHECK(next != NULL);
        fh_prefix_unref(p, at);
        at = next;
    }
    CHECK_U64(fh_prefix_n_node(p), 1001);
    CHECK_OK(fh_pages_take(&pages, 1, false, &page, &err), err);
    CHECK(fh_prefix_put(p, at, 1, page));
    fh_prefix_unref(p, at);
    CHECK_U64(fh_prefix_n_node(p), 1001);
    fh_pages_unref(&pages, page);
    CHECK_U64(fh_prefix_n_node(p), 1001);
    fh_pages_drop_cached(&pages);
    CHECK_U64(fh_prefix_n_node(p), 0);
    fh_prefix_free(p);
    fh_pages_release(&pages);
}

TEST(prefix, without_memory_nothing_is_entered) {
    fh_pages pages;
    fh_prefix *p = NULL;
    fh_pages_init(&pages, sizes, 0, 1 << 20);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        fh_fault_arm(FH_FAULT_ALLOC, nth, false);
        fh_status st = fh_prefix_new(&p, PAGE, &pages, NULL);
        fh_fault_disarm();
        CHECK_STATUS(st, FH_ERR_MEMORY);
    }
    CHECK_STATUS(fh_prefix_new(&p, PAGE, &pages, NULL), FH_OK);
    fh_prefix_root root = {0};
    fh_fault_arm(FH_FAULT_ALLOC, 1, false);
    fh_prefix_node *at = fh_prefix_enter_root(p, &root);
    fh_fault_disarm();
    CHECK(!at && fh_prefix_n_node(p) == 0);
    fh_prefix_free(p);
    fh_pages_release(&pages);
}
