/* infer/pages.h - pages of state: counted by reference, copied before they are written, cached when nobody holds them.
 * SPDX-License-Identifier: Apache-2.0
 * A page is one block of memory of its group's size, behind a header of FH_PAGE_HEADER bytes that no sum counts (the
 * heap adds its own). Recurrent state is a page too, of the group FH_SLOT_GROUP: a snapshot is a slot that is
 * remembered. Pages that the prefix cache remembers are never written again; when their last holder lets go they stay,
 * the oldest first to make room. Not for threads to share. */
#ifndef FH_INFER_PAGES_H
#define FH_INFER_PAGES_H

#include "device/batch.h"

#define FH_SLOT_GROUP FH_MAX_GROUPS
#define FH_PAGE_GROUPS (FH_MAX_GROUPS + 1)
#define FH_PAGE_HEADER 64

typedef struct fh_prefix_node fh_prefix_node;

typedef struct fh_page {
    struct fh_page *older, *newer; /* among the pages without holder */
    fh_prefix_node *node;          /* who remembers it, or NULL */
    void *block;                   /* what the heap gave */
    uint32_t refs;                 /* holders: tables of sessions, not the cache */
    uint32_t group;
} fh_page;
_Static_assert(sizeof(fh_page) <= FH_PAGE_HEADER, "the header's place");

/* Told when a remembered page is about to be freed. */
typedef void fh_page_forget_fn(void *ctx, fh_prefix_node *node, uint32_t group);

typedef struct fh_pages {
    uint64_t bytes[FH_PAGE_GROUPS]; /* of one page; 0: the group has none */
    uint64_t most, cache_most;      /* bytes in all, and without holder; 0: no ceiling, and nothing */
    uint64_t live[2], cached[2];    /* bytes with and without holder, of pages [0] and of slots [1] */
    uint64_t remembered_slots;      /* bytes of slots that are snapshots, held or not */
    uint64_t peak;                  /* of live, both kinds, since fh_pages_init or since it was set */
    fh_page *oldest, *newest;
    fh_page_forget_fn *forget;
    void *forget_ctx;
} fh_pages;

void fh_pages_init(fh_pages *p, const uint64_t bytes[FH_PAGE_GROUPS], uint64_t most, uint64_t cache_most);
/* Frees what is cached; nothing may be held any more. */
void fh_pages_release(fh_pages *p);

/* A page with one reference; its contents are arbitrary, or zeros. Gives up cached pages where that makes room. */
FH_MUST_USE fh_status fh_pages_take(fh_pages *p, uint32_t group, bool zero, uint8_t **out, fh_err *err);
void fh_pages_ref(fh_pages *p, uint8_t *page);
void fh_pages_unref(fh_pages *p, uint8_t *page); /* NULL is fine */
/* Makes *page one that may be written: itself, or a copy that takes its place. */
FH_MUST_USE fh_status fh_pages_own(fh_pages *p, uint8_t **page, fh_err *err);
/* The cache remembers it at that node. */
void fh_pages_remember(fh_pages *p, uint8_t *page, fh_prefix_node *node);
void fh_pages_drop_cached(fh_pages *p); /* all pages without holder */

static inline fh_page *fh_page_of(uint8_t *page) { return (fh_page *)(void *)(page - FH_PAGE_HEADER); }

#endif
