/* infer/session_state.c - the rows of state that a session holds: making room, giving back, cutting, adopting.
 * SPDX-License-Identifier: Apache-2.0
 * Invariants between steps: (1) every block of [first[g], n_block) of a group has its page, the others are NULL;
 * (2) n_block = ceil(n_row / page); (3) a page that others hold or the cache remembers is never written;
 * (4) a slot is the recurrent state after exactly n_row rows; (5) `node` stands for the first n_listed blocks.
 * Only fh_session_reserve and fh_session_prepare can fail. Remembering is a cache: when memory for a node is missing it
 * is tried again at the next chance. */
#include "base/mem.h"
#include "base/num.h"
#include "infer/infer_part.h"

static uint32_t blocks_of(const fh_engine *e, uint32_t rows) { return (uint32_t)fh_ceil_div(rows, e->layout.page); }

/* The first row that a group needs so that row n can be computed. */
static uint32_t first_needed(const fh_engine *e, uint32_t g, uint32_t n) {
    uint32_t w = e->window[g];
    return w == 0 || n < w ? 0 : n - w + 1;
}

/* ---- room ---- */
static fh_status grow_tables(fh_session *s, uint32_t n_block, fh_err *err) {
    const fh_engine *e = s->engine;
    for (uint32_t g = 0; g < e->n_group; g++) {
        if (e->role[g] != FH_ROLE_STEP) continue;
        uint8_t **wide = fh_realloc(s->page[g], n_block, sizeof *wide);
        if (!wide) return fh_fail_memory(err, n_block * sizeof *wide);
        s->page[g] = wide;
    }
    s->cap_block = n_block;
    return FH_OK;
}

fh_status fh_session_reserve(fh_session *s, uint32_t n, fh_err *err) {
    if (n > s->cap_token) {
        uint32_t cap = s->cap_token > UINT32_MAX / 2 ? UINT32_MAX : s->cap_token * 2;
        cap = FH_MAX(FH_MIN(FH_MAX(cap, 64u), s->limit), n);
        uint32_t *wide = fh_realloc(s->token, cap, sizeof *wide);
        if (!wide) return fh_fail_memory(err, cap * sizeof *wide);
        s->token = wide;
        s->cap_token = cap;
    }
    uint32_t need = blocks_of(s->engine, n), most = blocks_of(s->engine, s->cap_token);
    return need > s->cap_block ? grow_tables(s, most, err) : FH_OK;
}

fh_status fh_session_prepare(fh_session *s, uint32_t n, fh_err *err) {
    fh_engine *e = s->engine;
    uint32_t first = s->n_row / e->layout.page, end = blocks_of(e, s->n_row + n);
    FH_REQUIRE(end <= s->cap_block);
    for (uint32_t b = s->n_block; b < end; b++)
        for (uint32_t g = 0; g < e->n_group; g++)
            if (e->role[g] == FH_ROLE_STEP) s->page[g][b] = NULL;
    s->n_block = FH_MAX(s->n_block, end);
    for (uint32_t g = 0; g < e->n_group; g++) {
        if (e->role[g] != FH_ROLE_STEP) continue;
        for (uint32_t b = first; b < end; b++) {
            uint8_t **at = &s->page[g][b];
            FH_TRY(*at ? fh_pages_own(&e->pages, at, err) : fh_pages_take(&e->pages, g, false, at, err));
        }
    }
    if (!e->recurrent) return FH_OK;
    return s->slot ? fh_pages_own(&e->pages, &s->slot, err)
                   : fh_pages_take(&e->pages, FH_SLOT_GROUP, true, &s->slot, err);
}

/* ---- giving back ---- */
static void drop_block(fh_session *s, uint32_t g, uint32_t b) {
    fh_pages_unref(&s->engine->pages, s->page[g][b]);
    s->page[g][b] = NULL;
}

void fh_session_trim(fh_session *s) {
    const fh_engine *e = s->engine;
    uint32_t keep = blocks_of(e, s->n_row);
    for (; s->n_block > keep; s->n_block--)
        for (uint32_t g = 0; g < e->n_group; g++)
            if (e->role[g] == FH_ROLE_STEP) drop_block(s, g, s->n_block - 1);
    for (uint32_t g = 0; g < e->n_group; g++) s->first[g] = FH_MIN(s->first[g], keep);
    if (s->n_row == 0) {
        fh_pages_unref(&s->engine->pages, s->slot);
        s->slot = NULL;
    }
}

/* The last block first: when memory is needed, the ends of texts go before their beginnings. */
void fh_session_forget(fh_session *s) {
    s->n_row = 0;
    s->n_adopted = 0;
    fh_session_trim(s);
    fh_prefix_unref(s->engine->prefix, s->node);
    s->node = NULL;
    s->n_listed = 0;
}

void fh_encoding_unref(fh_engine *e, fh_encoding *x) {
    if (!x || --x->refs > 0) return;
    for (uint32_t g = 0; g < e->n_group; g++) {
        for (uint32_t b = 0; x->page[g] && b < x->n_block; b++) fh_pages_unref(&e->pages, x->page[g][b]);
        fh_free(x->page[g]);
    }
    fh_free(x);
}

/* ---- remembering ---- */
static fh_prefix_root root_of(const fh_session *s) {
    return (fh_prefix_root){.salt = s->salt,
                            .adapters = s->adapters ? s->adapters->serial : 0,
                            .regime = s->regime,
                            .encoding = s->encoding ? s->encoding->id : 0};
}

/* Where somebody was faster the two pages hold the same rows: one of them is enough. */
static void list_block(fh_session *s, fh_prefix_node *node, uint32_t b) {
    fh_engine *e = s->engine;
    for (uint32_t g = 0; g < e->n_group; g++) {
        uint8_t **at = e->role[g] == FH_ROLE_STEP ? &s->page[g][b] : NULL;
        if (!at || !*at || *at == node->page[g] || fh_prefix_put(e->prefix, node, g, *at)) continue;
        fh_pages_ref(&e->pages, node->page[g]);
        fh_pages_unref(&e->pages, *at);
        *at = node->page[g];
    }
}

static void list_blocks(fh_session *s) {
    fh_engine *e = s->engine;
    uint32_t page = e->layout.page;
    if (s->n_row < page) return;
    if (!s->node) {
        fh_prefix_root root = root_of(s);
        s->node = fh_prefix_enter_root(e->prefix, &root);
    }
    for (; s->node && s->n_listed < s->n_row / page; s->n_listed++) {
        fh_prefix_node *next = fh_prefix_enter(e->prefix, s->node, s->token + (size_t)s->n_listed * page);
        if (!next) return;
        list_block(s, next, s->n_listed);
        fh_prefix_unref(e->prefix, s->node);
        s->node = next;
    }
    bool due = s->n_row % e->opt.snapshot == 0 || s->n_row == s->border;
    if (!e->recurrent || !due || !s->node || s->n_listed != s->n_row / page) return;
    if (s->slot != s->node->page[FH_SLOT_GROUP] && !fh_prefix_put(e->prefix, s->node, FH_SLOT_GROUP, s->slot)) {
        fh_pages_ref(&e->pages, s->node->page[FH_SLOT_GROUP]);
        fh_pages_unref(&e->pages, s->slot);
        s->slot = s->node->page[FH_SLOT_GROUP];
    }
}

void fh_session_settle(fh_session *s) {
    const fh_engine *e = s->engine;
    if (e->whole) { /* the next token changes every row */
        fh_session_forget(s);
        return;
    }
    if (e->prefix) list_blocks(s);
    for (uint32_t g = 0; g < e->n_group; g++) {
        if (e->role[g] != FH_ROLE_STEP) continue;
        uint32_t keep = FH_MIN(first_needed(e, g, s->n_row) / e->layout.page, s->n_block);
        for (; s->first[g] < keep; s->first[g]++) drop_block(s, g, s->first[g]);
    }
}

/* ---- going back ---- */
static void step_back(fh_session *s, uint32_t n_listed) {
    for (; s->n_listed > n_listed; s->n_listed--) {
        fh_prefix_node *parent = s->node->parent;
        fh_prefix_ref(parent);
        fh_prefix_unref(s->engine->prefix, s->node);
        s->node = parent;
    }
}

/* The remembered page of block b of the session's own text, or NULL. */
static uint8_t *remembered(const fh_session *s, uint32_t g, uint32_t b) {
    const fh_prefix_node *n = s->node;
    if (b >= s->n_listed) return NULL;
    while (n->depth > b + 1) n = n->parent;
    return n->page[g];
}

bool fh_session_cut(fh_session *s, uint32_t n) {
    fh_engine *e = s->engine;
    if (n > 0 && e->recurrent) return false;
    for (int fill = 0; fill < 2 && n > 0; fill++) {
        for (uint32_t g = 0; g < e->n_group; g++) {
            uint32_t need = first_needed(e, g, n) / e->layout.page, end = FH_MIN(s->first[g], blocks_of(e, n));
            if (e->role[g] != FH_ROLE_STEP) continue;
            for (uint32_t b = end; b-- > need;) {
                uint8_t *page = remembered(s, g, b);
                if (!page) return false;
                if (!fill) continue;
                fh_pages_ref(&e->pages, page);
                s->page[g][b] = page;
                s->first[g] = b;
            }
        }
    }
    s->n_row = n;
    s->n_adopted = FH_MIN(s->n_adopted, n);
    step_back(s, FH_MIN(s->n_listed, n / e->layout.page));
    fh_session_trim(s);
    return true;
}

/* Longest chain of known blocks whose end can be gone on from. */
static fh_prefix_node *find_longest(const fh_session *s, uint32_t most) {
    const fh_engine *e = s->engine;
    uint32_t page = e->layout.page, run[FH_MAX_GROUPS] = {0}; /* blocks in a row, up to here, that are there */
    fh_prefix_root root = root_of(s);
    fh_prefix_node *best = NULL, *n = fh_prefix_find_root(e->prefix, &root);
    for (uint32_t d = 0; n && d < most / page; d++) {
        n = fh_prefix_find(e->prefix, n, s->token + (size_t)d * page);
        if (!n) break;
        bool good = !e->recurrent || n->page[FH_SLOT_GROUP];
        for (uint32_t g = 0; g < e->n_group; g++) {
            if (e->role[g] != FH_ROLE_STEP) continue;
            run[g] = n->page[g] ? run[g] + 1 : 0;
            good = good && run[g] >= d + 1 - first_needed(e, g, (d + 1) * page) / page;
        }
        if (good) best = n;
    }
    return best;
}

bool fh_session_adopt(fh_session *s, uint32_t most, uint32_t have) {
    fh_engine *e = s->engine;
    if (!e->prefix) return false;
    uint32_t page = e->layout.page;
    fh_prefix_node *best = find_longest(s, most);
    if (!best || best->depth * page <= have) return false;
    uint32_t n_block = best->depth, n_row = n_block * page, first[FH_MAX_GROUPS] = {0};
    FH_REQUIRE(n_block <= s->cap_block);
    fh_prefix_ref(best);
    for (uint32_t g = 0; g < e->n_group; g++) first[g] = first_needed(e, g, n_row) / page;
    /* Held before the old state goes: that could push them out of the cache. */
    for (fh_prefix_node *n = best; n->depth > 0; n = n->parent)
        for (uint32_t g = 0; g < e->n_group; g++)
            if (e->role[g] == FH_ROLE_STEP && n->depth > first[g]) fh_pages_ref(&e->pages, n->page[g]);
    uint8_t *slot = e->recurrent ? best->page[FH_SLOT_GROUP] : NULL;
    if (slot) fh_pages_ref(&e->pages, slot);
    fh_session_forget(s);
    for (fh_prefix_node *n = best; n->depth > 0; n = n->parent)
        for (uint32_t g = 0; g < e->n_group; g++)
            if (e->role[g] == FH_ROLE_STEP) s->page[g][n->depth - 1] = n->depth > first[g] ? n->page[g] : NULL;
    for (uint32_t g = 0; g < e->n_group; g++) s->first[g] = FH_MIN(first[g], n_block);
    s->slot = slot;
    s->node = best;
    s->n_listed = s->n_block = n_block;
    s->n_row = s->n_adopted = n_row;
    e->prefix_hits++;
    e->prefix_tokens += n_row - FH_MIN(have, n_row);
    return true;
}
