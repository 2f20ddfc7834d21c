/* infer/pages.c - the store of state pages.
 * SPDX-License-Identifier: Apache-2.0
 * Owns every page. Invariants: (1) a page without holder is remembered and in the list of cached ones, all others are
 * not in it; (2) live + cached never exceeds `most`; (3) cached never exceeds cache_most.
 * Running out is tried again without each cached page before it is an error: memory that only caches is no reason to
 * fail. */
#include "infer/pages.h"

#include "base/mem.h"
#include "base/num.h"

void fh_pages_init(fh_pages *p, const uint64_t bytes[FH_PAGE_GROUPS], uint64_t most, uint64_t cache_most) {
    *p = (fh_pages){.most = most, .cache_most = cache_most};
    for (int g = 0; g < FH_PAGE_GROUPS; g++) p->bytes[g] = bytes[g];
}

void fh_pages_release(fh_pages *p) {
    fh_pages_drop_cached(p);
    FH_REQUIRE(p->live[0] == 0 && p->live[1] == 0);
}

static uint64_t total(const fh_pages *p) { return p->live[0] + p->live[1] + p->cached[0] + p->cached[1]; }
static int kind_of(uint32_t group) { return group == FH_SLOT_GROUP; }

static void add_live(fh_pages *p, uint32_t group) {
    p->live[kind_of(group)] += p->bytes[group];
    p->peak = FH_MAX(p->peak, p->live[0] + p->live[1]);
}

static void unlink_page(fh_pages *p, fh_page *x) {
    if (x->older) x->older->newer = x->newer;
    else p->oldest = x->newer;
    if (x->newer) x->newer->older = x->older;
    else p->newest = x->older;
    x->older = x->newer = NULL;
}

/* The oldest page without holder goes; false when there is none. */
static bool drop_oldest(fh_pages *p) {
    fh_page *x = p->oldest;
    if (!x) return false;
    unlink_page(p, x);
    p->cached[kind_of(x->group)] -= p->bytes[x->group];
    if (x->group == FH_SLOT_GROUP) p->remembered_slots -= p->bytes[x->group];
    if (p->forget) p->forget(p->forget_ctx, x->node, x->group);
    fh_free(x->block);
    return true;
}

void fh_pages_drop_cached(fh_pages *p) {
    while (drop_oldest(p)) {
    }
}

/* The heap aligns to 16; rows want 64, so that a vector never lies across two lines of the cache. */
static uint8_t *new_block(fh_pages *p, uint32_t group) {
    size_t bytes;
    if (!fh_add_size((size_t)p->bytes[group], FH_PAGE_HEADER + 48, &bytes)) return NULL;
    uint8_t *block = fh_alloc(1, bytes);
    if (!block) return NULL;
    uint8_t *page = block + FH_PAGE_HEADER + (64 - ((uintptr_t)block & 63)) % 64;
    *fh_page_of(page) = (fh_page){.block = block, .refs = 1, .group = group};
    return page;
}

fh_status fh_pages_take(fh_pages *p, uint32_t group, bool zero, uint8_t **out, fh_err *err) {
    uint64_t need = p->bytes[group];
    FH_REQUIRE(need > 0);
    while (p->most && (need > p->most || total(p) > p->most - need)) {
        if (drop_oldest(p)) continue;
        return fh_fail(err, FH_ERR_MEMORY,
                       "state of %llu bytes does not fit: %llu of the %llu bytes allowed for it are in use",
                       (unsigned long long)need, (unsigned long long)total(p), (unsigned long long)p->most);
    }
    uint8_t *page = new_block(p, group);
    while (!page && drop_oldest(p)) page = new_block(p, group);
    if (!page) return fh_fail_memory(err, (size_t)need);
    if (zero) memset(page, 0, (size_t)need);
    add_live(p, group);
    *out = page;
    return FH_OK;
}

void fh_pages_ref(fh_pages *p, uint8_t *page) {
    fh_page *x = fh_page_of(page);
    if (x->refs++ > 0) return;
    unlink_page(p, x);
    p->cached[kind_of(x->group)] -= p->bytes[x->group];
    add_live(p, x->group);
}

void fh_pages_unref(fh_pages *p, uint8_t *page) {
    if (!page) return;
    fh_page *x = fh_page_of(page);
    FH_REQUIRE(x->refs > 0);
    if (--x->refs > 0) return;
    p->live[kind_of(x->group)] -= p->bytes[x->group];
    if (!x->node) {
        fh_free(x->block);
        return;
    }
    p->cached[kind_of(x->group)] += p->bytes[x->group];
    x->older = p->newest;
    x->newer = NULL;
    if (p->newest) p->newest->newer = x;
    else p->oldest = x;
    p->newest = x;
    while (p->cached[0] + p->cached[1] > p->cache_most && drop_oldest(p)) {
    }
}

fh_status fh_pages_own(fh_pages *p, uint8_t **page, fh_err *err) {
    fh_page *x = fh_page_of(*page);
    if (x->refs == 1 && !x->node) return FH_OK;
    uint8_t *copy;
    FH_TRY(fh_pages_take(p, x->group, false, &copy, err));
    memcpy(copy, *page, (size_t)p->bytes[x->group]);
    fh_pages_unref(p, *page);
    *page = copy;
    return FH_OK;
}

void fh_pages_remember(fh_pages *p, uint8_t *page, fh_prefix_node *node) {
    fh_page *x = fh_page_of(page);
    FH_REQUIRE(!x->node && x->refs > 0);
    x->node = node;
    if (x->group == FH_SLOT_GROUP) p->remembered_slots += p->bytes[x->group];
}
