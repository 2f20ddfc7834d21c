/* format/order.c - sorted views: a bottom-up merge sort of indices and a binary search in them.
 * SPDX-License-Identifier: Apache-2.0
 * Not qsort: the C library's may allocate behind base/mem.c's back, and its order of equals is its own. */
#include "format/order.h"

#include "base/num.h"

static void merge(const uint32_t *from, uint32_t *to, size_t lo, size_t mid, size_t hi, fh_order_cmp *cmp,
                  const void *ctx) {
    size_t a = lo, b = mid;
    for (size_t k = lo; k < hi; k++) {
        bool left = b >= hi || (a < mid && cmp(ctx, from[a], from[b]) <= 0);
        to[k] = left ? from[a++] : from[b++];
    }
}

void fh_order_sort(uint32_t *idx, uint32_t *scratch, size_t n, fh_order_cmp *cmp, const void *ctx) {
    size_t k = 1;
    while (k < n && cmp(ctx, idx[k - 1], idx[k]) <= 0) k++;
    if (k >= n) return; /* files are mostly written in order */
    uint32_t *from = idx, *to = scratch;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width)
            merge(from, to, lo, FH_MIN(lo + width, n), FH_MIN(lo + 2 * width, n), cmp, ctx);
        uint32_t *t = from;
        from = to;
        to = t;
    }
    if (from != idx) memcpy(idx, from, n * sizeof *idx);
}

bool fh_order_find(const uint32_t *idx, size_t n, fh_order_probe *probe, const void *ctx, const void *key, size_t *at) {
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = probe(ctx, idx[mid], key);
        if (c == 0) {
            *at = mid;
            return true;
        }
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return false;
}
