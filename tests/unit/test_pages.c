/* tests/unit/test_pages.c - the store of state pages against a list that does the same slowly.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/pages.h"
#include "test.h"

#define MOST 64
static const uint64_t sizes[FH_PAGE_GROUPS] = {128, 1024, [FH_SLOT_GROUP] = 640};

/* What the cache remembers: the test's nodes are only numbers. */
typedef struct memory {
    uint8_t *page[MOST];
    uint32_t forgot[MOST], n_forgot;
} memory;

static fh_prefix_node *node_of(uint32_t i) { return (fh_prefix_node *)(uintptr_t)(i + 1); }

static void forget(void *ctx, fh_prefix_node *node, uint32_t group) {
    memory *m = ctx;
    uint32_t i = (uint32_t)((uintptr_t)node - 1);
    CHECK(m->page[i] && fh_page_of(m->page[i])->group == group);
    m->page[i] = NULL;
    m->forgot[m->n_forgot++ % MOST] = i;
}

TEST(pages, sums_references_and_contents_hold) {
    static const uint32_t groups[] = {0, 1, FH_SLOT_GROUP};
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 1);
    uint64_t before = fh_mem_get_stats().live_blocks;
    for (size_t round = 0; round < 20 * fh_test_times(); round++) {
        fh_pages p;
        memory m = {0};
        uint64_t most = round % 2 ? 12000 : 0, cache = round % 3 ? 6000 : 1000000;
        fh_pages_init(&p, sizes, most, cache);
        p.forget = forget;
        p.forget_ctx = &m;
        uint8_t *held[MOST] = {0}, mark[MOST] = {0};
        for (uint32_t k = 0; k < 2000; k++) {
            uint32_t i = (uint32_t)fh_rng_below(&rng, MOST), j = (uint32_t)fh_rng_below(&rng, MOST);
            uint32_t group = groups[fh_rng_below(&rng, 3)];
            switch (fh_rng_below(&rng, 4)) {
            case 0: /* a new one */
                if (held[i] || fh_pages_take(&p, group, true, &held[i], NULL) != FH_OK) break;
                CHECK_U64((uintptr_t)held[i] % 64, 0);
                CHECK(held[i][0] == 0 && held[i][sizes[group] - 1] == 0);
                mark[i] = (uint8_t)(1 + fh_rng_below(&rng, 255));
                memset(held[i], mark[i], sizes[group]);
                break;
            case 1: /* shared, or adopted from the cache */
                if (held[i]) break;
                held[i] = held[j] ? held[j] : m.page[j];
                mark[i] = held[i] ? held[i][0] : 0;
                if (held[i]) fh_pages_ref(&p, held[i]);
                break;
            case 2: /* remembered, or given back */
                if (!held[i]) break;
                if (!m.page[i] && !fh_page_of(held[i])->node) {
                    m.page[i] = held[i];
                    fh_pages_remember(&p, held[i], node_of(i));
                }
                fh_pages_unref(&p, held[i]);
                held[i] = NULL;
                break;
            default: /* written */
                if (!held[i] || fh_pages_own(&p, &held[i], NULL) != FH_OK) break;
                CHECK(fh_page_of(held[i])->refs == 1 && !fh_page_of(held[i])->node && held[i][0] == mark[i]);
                mark[i] = (uint8_t)(1 + fh_rng_below(&rng, 255));
                memset(held[i], mark[i], sizes[fh_page_of(held[i])->group]);
            }
            uint64_t live[2] = {0}, cached[2] = {0}, slots = 0;
            for (uint32_t a = 0; a < MOST; a++) {
                bool seen = false;
                if (held[a]) CHECK(held[a][0] == mark[a]);
                for (uint32_t b = 0; held[a] && b < a; b++) seen = seen || held[b] == held[a];
                if (held[a] && !seen)
                    live[fh_page_of(held[a])->group == FH_SLOT_GROUP] += sizes[fh_page_of(held[a])->group];
                if (!m.page[a]) continue;
                uint32_t g = fh_page_of(m.page[a])->group;
                CHECK(fh_page_of(m.page[a])->node == node_of(a));
                if (fh_page_of(m.page[a])->refs == 0) cached[g == FH_SLOT_GROUP] += sizes[g];
                if (g == FH_SLOT_GROUP) slots += sizes[g];
            }
            CHECK(live[0] == p.live[0] && live[1] == p.live[1] && slots == p.remembered_slots);
            CHECK(cached[0] == p.cached[0] && cached[1] == p.cached[1] && cached[0] + cached[1] <= cache);
            CHECK(!most || live[0] + live[1] + cached[0] + cached[1] <= most);
            CHECK(p.peak >= live[0] + live[1]);
        }
        for (uint32_t i = 0; i < MOST; i++) fh_pages_unref(&p, held[i]);
        fh_pages_release(&p);
        CHECK_U64(fh_mem_get_stats().live_blocks, before);
    }
}

TEST(pages, the_oldest_goes_first_and_memory_that_only_caches_is_no_reason_to_fail) {
    fh_pages p;
    memory m = {0};
    fh_err err = {0};
    fh_pages_init(&p, sizes, 0, 1000000);
    p.forget = forget;
    p.forget_ctx = &m;
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_OK(fh_pages_take(&p, 0, false, &m.page[i], &err), err);
        fh_pages_remember(&p, m.page[i], node_of(i));
    }
    static const uint32_t order[] = {2, 0, 3, 1};
    for (uint32_t i = 0; i < 4; i++) fh_pages_unref(&p, m.page[order[i]]);
    fh_pages_ref(&p, m.page[0]); /* used again: the newest now */
    fh_pages_unref(&p, m.page[0]);
    uint8_t *page = NULL;
    fh_fault_arm(FH_FAULT_ALLOC, 1, false);
    fh_status st = fh_pages_take(&p, 1, false, &page, &err);
    fh_fault_disarm();
    CHECK_OK(st, err);
    CHECK(m.n_forgot == 1 && m.forgot[0] == 2);
    fh_fault_arm(FH_FAULT_ALLOC, 1, true);
    uint8_t *none = NULL;
    st = fh_pages_take(&p, 1, false, &none, &err);
    fh_fault_disarm();
    CHECK_STATUS(st, FH_ERR_MEMORY);
    CHECK(!none && m.n_forgot == 4 && m.forgot[1] == 3 && m.forgot[2] == 1 && m.forgot[3] == 0);
    fh_pages_unref(&p, page);
    fh_pages_release(&p);
}

TEST(pages, a_page_larger_than_the_ceiling_is_refused) {
    fh_pages p;
    uint8_t *page = NULL;
    fh_pages_init(&p, sizes, 1023, 1000);
    CHECK_STATUS(fh_pages_take(&p, 1, false, &page, NULL), FH_ERR_MEMORY);
    CHECK(page == NULL);
    fh_pages_release(&p);
}
