/* format/order.h - sorted views: indices put in order, so that names are found without a hash.
 * SPDX-License-Identifier: Apache-2.0
 * A sorted index needs 4 bytes per name, finds in O(log n) whatever names a hostile file picks, and shows twins
 * next to each other. Owns nothing. */
#ifndef FH_FORMAT_ORDER_H
#define FH_FORMAT_ORDER_H

#include "base/str.h"

typedef int fh_order_cmp(const void *ctx, uint32_t a, uint32_t b);
typedef int fh_order_probe(const void *ctx, uint32_t item, const void *key); /* sign of item - key */

/* Stable, O(n log n) in the worst case, O(n) when in order already; scratch holds n indices. */
void fh_order_sort(uint32_t *idx, uint32_t *scratch, size_t n, fh_order_cmp *cmp, const void *ctx);
/* Position in idx of an item equal to key; false if there is none. */
bool fh_order_find(const uint32_t *idx, size_t n, fh_order_probe *probe, const void *ctx, const void *key, size_t *at);

#endif
