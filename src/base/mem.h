/* base/mem.h - the only door to the heap, and arenas with a ceiling.
 * SPDX-License-Identifier: Apache-2.0
 * Every allocation of the program goes through here, so a test build can count bytes and let the n-th one
 * fail (base/fault.h). Running out is a status, never an exit. Sizes of arrays are checked products. */
#ifndef FH_BASE_MEM_H
#define FH_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* NULL when memory ends (or n * size does not fit); n * size = 0 gives a valid pointer. */
FH_MUST_USE void *fh_alloc(size_t n, size_t size);            /* uninitialized */
FH_MUST_USE void *fh_alloc_zero(size_t n, size_t size);       /* zeroed */
FH_MUST_USE void *fh_realloc(void *p, size_t n, size_t size); /* p stays valid on failure */
void fh_free(void *p);                                        /* NULL is fine */
/* For what is large and read in streams: aligned to 64 bytes, and in huge pages where the system grants them.
 * Uninitialized; freed like all else. */
FH_MUST_USE void *fh_alloc_wide(size_t n, size_t size);
FH_MUST_USE char *fh_strdup(fh_str s); /* adds a final NUL */

/* Counted in test builds (FH_TEST_BUILD); all zero otherwise. calls: of the calling thread. */
typedef struct fh_mem_stats {
    uint64_t live_bytes, peak_bytes, live_blocks, calls;
} fh_mem_stats;
fh_mem_stats fh_mem_get_stats(void);
void fh_mem_reset_peak(void);

/* Arena: many small things with one lifetime. Freed as a whole; never hands out more than its ceiling.
 * Failure is sticky: after a NULL, fh_arena_fail() says why. Not for threads to share. */
typedef struct fh_arena {
    struct fh_arena_chunk *chunks;
    size_t used, ceiling; /* bytes handed out so far, and at most */
    fh_status status;
} fh_arena;

void fh_arena_init(fh_arena *a, size_t ceiling); /* allocates nothing */
void fh_arena_release(fh_arena *a);
FH_MUST_USE void *fh_arena_alloc(fh_arena *a, size_t n, size_t size); /* zeroed, aligned to 16 */
FH_MUST_USE bool fh_arena_copy(fh_arena *a, fh_str s, fh_str *out);   /* adds a final NUL */
fh_status fh_arena_fail(const fh_arena *a, fh_err *err);

#endif
