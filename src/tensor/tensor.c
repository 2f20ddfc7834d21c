/* tensor/tensor.c - shapes: counting elements and writing them down.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses: shapes whose dimensions multiply past 64 bits. Invariant: a shape that fh_shape_count
 * accepts has no partial product that wraps, in any order of its dimensions, so rows and cols need
 * no check of their own. */
#include "tensor/tensor.h"

#include <inttypes.h>

bool fh_shape_count(const fh_shape *s, uint64_t *out) {
    uint64_t n = 1;
    bool empty = false;
    for (uint32_t i = 0; i < s->n_dim; i++) {
        /* Zeros are left out of the product: [2^40, 2^40, 0] has no elements, but its rows do not
         * fit. */
        if (s->dim[i] == 0) empty = true;
        else if (!fh_mul_u64(n, s->dim[i], &n)) return false;
    }
    *out = empty ? 0 : n;
    return true;
}

bool fh_shape_eq(const fh_shape *a, const fh_shape *b) {
    if (a->n_dim != b->n_dim) return false;
    for (uint32_t i = 0; i < a->n_dim; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

uint64_t fh_shape_cols(const fh_shape *s) { return s->n_dim ? s->dim[s->n_dim - 1] : 1; }

uint64_t fh_shape_rows(const fh_shape *s) {
    uint64_t n = 1;
    for (uint32_t i = 0; i + 1 < s->n_dim; i++) n *= s->dim[i];
    return n;
}

const char *fh_shape_text(const fh_shape *s, char *out, size_t size) {
    size_t at = 0;
    for (uint32_t i = 0; i <= s->n_dim && at < size; i++) {
        int n;
        if (i == s->n_dim) n = snprintf(out + at, size - at, s->n_dim ? "]" : "[]");
        else n = snprintf(out + at, size - at, "%s%" PRIu64, i ? ", " : "[", s->dim[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    return out;
}
