/* kernel/matrix_decode.c - finds the stored rows that a product needs, and widens them.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing; the matrix was checked against its weights (graph/plan_check.c). */
#include "kernel/matrix_decode.h"

#include "kernel/decode.h"
#include "kernel/weight_decode.h"

static bool is_plain(const fh_weight *w) {
    return w->packing == FH_PACK_NONE && w->scale == NULL && w->global == NULL && w->zero_kind == FH_ZERO_NONE &&
           w->factor == 0.0f && fh_can_decode(w->codes->dtype);
}

void fh_matrix_decode_rows(const fh_matrix *x, uint32_t m, uint64_t r, uint64_t n, float *dst) {
    const fh_weight *w = fh_matrix_weight(x, m);
    if (x->step == 1) {
        fh_weight_decode(w, fh_matrix_row(x, m, r), n, dst);
        return;
    }
    for (uint64_t i = 0; i < n; i++) fh_weight_decode(w, fh_matrix_row(x, m, r + i), 1, dst + i * x->in);
}

const float *fh_matrix_f32_rows(const fh_matrix *x, uint32_t m, uint64_t r) {
    const fh_weight *w = fh_matrix_weight(x, m);
    if (x->transposed || x->step != 1 || !is_plain(w) || w->codes->dtype != FH_DTYPE_F32) return NULL;
    const uint8_t *p = w->codes->data.ptr;
    if ((uintptr_t)p % _Alignof(float) != 0) return NULL;
    return (const float *)(const void *)p + fh_matrix_row(x, m, r) * x->in;
}

uint64_t fh_matrix_row_floats(const fh_matrix *x) {
    uint64_t n = 0;
    for (uint32_t m = 0; m < x->n_weight; m++) n = FH_MAX(n, fh_weight_cols(x->weight[m]));
    return n;
}

void fh_matrix_decode_col(const fh_matrix *x, uint32_t m, uint64_t k, uint64_t r, uint64_t n, float *row, float *dst) {
    const fh_weight *w = fh_matrix_weight(x, m);
    uint64_t at = fh_matrix_row(x, m, k), cols = fh_weight_cols(w);
    uint64_t from = x->col + r * x->step, end = x->col + (r + n - 1) * x->step + 1;
    uint64_t start = 0; /* what row[0] is the element of */
    const uint32_t block = is_plain(w) ? fh_dtype_get_info(w->codes->dtype)->block_elems : 0;
    if (block != 0 && cols % block == 0) { /* only the blocks that are needed */
        start = from / block * block;
        uint64_t stop = FH_MIN(fh_ceil_div(end, block) * block, cols);
        const uint8_t *p =
            w->codes->data.ptr + (at * cols + start) / block * fh_dtype_get_info(w->codes->dtype)->block_bytes;
        fh_decode(w->codes->dtype, p, row, (size_t)(stop - start));
    } else {
        fh_weight_decode(w, at, 1, row);
    }
    for (uint64_t i = 0; i < n; i++) dst[i] = row[from + i * x->step - start];
}
