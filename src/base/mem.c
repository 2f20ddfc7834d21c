/* base/mem.c - heap and arenas.
 * SPDX-License-Identifier: Apache-2.0
 * The only file that calls malloc. Test builds count bytes by malloc_usable_size, so counting needs no header
 * in front of a block and the sanitizers see the real pointers. */
#include "base/mem.h"

#include <sys/mman.h>

#include "base/fault.h"
#include "base/num.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "freehold reads its files in place: little-endian machines only"
#endif
_Static_assert(sizeof(size_t) == 8, "freehold maps files larger than 4 GiB: 64-bit machines only");

#ifdef FH_TEST_BUILD
#include <malloc.h>
#include <stdatomic.h>

static _Atomic uint64_t live_bytes, peak_bytes, live_blocks;
static _Thread_local uint64_t calls; /* of this thread: others may allocate while one checks that it does not */

static void *count_in(void *p) {
    if (!p) return NULL;
    uint64_t now = atomic_fetch_add(&live_bytes, malloc_usable_size(p)) + malloc_usable_size(p);
    uint64_t peak = atomic_load(&peak_bytes);
    while (now > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, now)) {
    }
    atomic_fetch_add(&live_blocks, 1);
    return p;
}

static void count_out(void *p) {
    if (!p) return;
    atomic_fetch_sub(&live_bytes, malloc_usable_size(p));
    atomic_fetch_sub(&live_blocks, 1);
}

static bool refused(void) {
    calls++;
    return FH_FAULT(FH_FAULT_ALLOC);
}

fh_mem_stats fh_mem_get_stats(void) { return (fh_mem_stats){live_bytes, peak_bytes, live_blocks, calls}; }
void fh_mem_reset_peak(void) { atomic_store(&peak_bytes, atomic_load(&live_bytes)); }
#else
static void *count_in(void *p) { return p; }
static void count_out(void *p) { (void)p; }
static bool refused(void) { return false; }
fh_mem_stats fh_mem_get_stats(void) { return (fh_mem_stats){0, 0, 0, 0}; }
void fh_mem_reset_peak(void) {}
#endif

static bool product(size_t n, size_t size, size_t *bytes) {
    if (!fh_mul_size(n, size, bytes)) return false;
    if (*bytes == 0) *bytes = 1;
    return true;
}

void *fh_alloc(size_t n, size_t size) {
    size_t bytes;
    if (refused() || !product(n, size, &bytes)) return NULL;
    return count_in(malloc(bytes));
}

void *fh_alloc_zero(size_t n, size_t size) {
    size_t bytes;
    if (refused() || !product(n, size, &bytes)) return NULL;
    return count_in(calloc(1, bytes));
}

/* Without huge pages a stream of weights spends a third of its time on looking up addresses in a virtual machine. */
void *fh_alloc_wide(size_t n, size_t size) {
    const size_t line = 64, page = 4096, huge = (size_t)2 << 20;
    size_t bytes;
    void *p = NULL;
    if (refused() || !product(n, size, &bytes)) return NULL;
    const bool wide = bytes >= 2 * huge;
    if (posix_memalign(&p, wide ? huge : line, bytes) != 0) return NULL;
    if (wide) (void)madvise(p, bytes / page * page, MADV_HUGEPAGE);
    return count_in(p);
}

void *fh_realloc(void *p, size_t n, size_t size) {
    size_t bytes;
    if (refused() || !product(n, size, &bytes)) return NULL;
    count_out(p);
    void *q = realloc(p, bytes);
    if (!q) {
        count_in(p); /* still the caller's */
        return NULL;
    }
    return count_in(q);
}

void fh_free(void *p) {
    count_out(p);
    free(p);
}

char *fh_strdup(fh_str s) {
    size_t n;
    if (!fh_add_size(s.len, 1, &n)) return NULL;
    char *z = fh_alloc(n, 1);
    if (!z) return NULL;
    if (s.len) memcpy(z, s.ptr, s.len);
    z[s.len] = '\0';
    return z;
}

/* ---- arenas ---- */
#define CHUNK_FIRST 4096u
#define CHUNK_MOST (1u << 20)

struct fh_arena_chunk {
    struct fh_arena_chunk *next;
    size_t size, used; /* of data */
    _Alignas(16) uint8_t data[];
};

void fh_arena_init(fh_arena *a, size_t ceiling) {
    *a = (fh_arena){.chunks = NULL, .used = 0, .ceiling = ceiling, .status = FH_OK};
}

void fh_arena_release(fh_arena *a) {
    for (struct fh_arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        fh_free(c);
    }
    fh_arena_init(a, a->ceiling);
}

/* Chunks double, so that n small pieces cost O(log n) allocations; a big piece gets a chunk of its own size. */
static struct fh_arena_chunk *grow(fh_arena *a, size_t bytes) {
    size_t size = a->chunks ? FH_MIN(a->chunks->size * 2, CHUNK_MOST) : CHUNK_FIRST;
    size = FH_MAX(size, bytes);
    struct fh_arena_chunk *c = fh_alloc(1, sizeof *c + size);
    if (!c) return NULL;
    *c = (struct fh_arena_chunk){.next = a->chunks, .size = size, .used = 0};
    a->chunks = c;
    return c;
}

void *fh_arena_alloc(fh_arena *a, size_t n, size_t size) {
    size_t bytes, total;
    if (a->status != FH_OK) return NULL;
    if (!product(n, size, &bytes) || bytes > SIZE_MAX - 64 || !fh_add_size(a->used, bytes, &total) ||
        total > a->ceiling) {
        a->status = FH_ERR_LIMIT;
        return NULL;
    }
    bytes = (bytes + 15) & ~(size_t)15;
    struct fh_arena_chunk *c = a->chunks;
    if (!c || c->size - c->used < bytes) c = grow(a, bytes);
    if (!c) {
        a->status = FH_ERR_MEMORY;
        return NULL;
    }
    void *p = c->data + c->used;
    c->used += bytes;
    a->used += bytes;
    return memset(p, 0, bytes);
}

bool fh_arena_copy(fh_arena *a, fh_str s, fh_str *out) {
    size_t n;
    char *z = fh_add_size(s.len, 1, &n) ? fh_arena_alloc(a, n, 1) : NULL;
    if (!z) return false;
    if (s.len) memcpy(z, s.ptr, s.len);
    *out = (fh_str){z, s.len};
    return true;
}

fh_status fh_arena_fail(const fh_arena *a, fh_err *err) {
    if (a->status == FH_ERR_LIMIT)
        return fh_fail(err, FH_ERR_LIMIT, "needs more than the %zu bytes allowed for it", a->ceiling);
    return fh_fail(err, FH_ERR_MEMORY, "out of memory after %zu bytes", a->used);
}
