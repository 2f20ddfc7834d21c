/* kernel/x86_amx_product.c - bf16 panels times bf16 inputs with AMX tiles: 32 inputs by 32 rows.
 * SPDX-License-Identifier: Apache-2.0
 * Tiles 0 to 3 are results (inputs down, rows across), 4 and 5 inputs as they lie, 6 and 7 the halves of a panel.
 * They are configured on entry and released on return: they belong to the thread, and nobody else may rely on them. */
#include <immintrin.h>

#include "kernel/product_part.h"

enum { TILE = 16, STEP = 32 };

/* rows: how many inputs the first and the second sixteen have. */
static void configure(size_t first, size_t second) {
    /* palette 1: 64 bytes a row, row lengths from byte 16 (16 bits each), rows from byte 48 */
    uint8_t config[64] = {1};
    for (int i = 0; i < 8; i++) {
        config[16 + 2 * i] = 64;
        config[48 + i] = TILE;
    }
    config[48] = config[49] = config[52] = (uint8_t)first;
    config[50] = config[51] = config[53] = (uint8_t)second;
    /* Without this gcc 12 may drop the bytes past the eighth: its intrinsic names only a pointer's worth of memory. */
    __asm__ volatile("" : : "r"(config) : "memory");
    _tile_loadconfig(config);
}

static void two_by_two(const fh_dot_bf16 *a, size_t i) {
    const size_t acc_bytes = FH_PRODUCT_PANEL * sizeof(float), x_bytes = a->stride * sizeof *a->x;
    const uint16_t *x0 = a->x + i * a->stride, *x1 = x0 + TILE * a->stride, *w0 = a->w[0], *w1 = a->w[1];
    float *acc0 = a->acc + i * FH_PRODUCT_PANEL, *acc1 = acc0 + TILE * FH_PRODUCT_PANEL;
    _tile_loadd(0, acc0, acc_bytes);
    _tile_loadd(1, acc0 + TILE, acc_bytes);
    _tile_loadd(2, acc1, acc_bytes);
    _tile_loadd(3, acc1 + TILE, acc_bytes);
    for (size_t k = 0; k < a->n_col; k += STEP) {
        _tile_loadd(6, w0 + k * TILE, 64);
        _tile_loadd(4, x0 + k, x_bytes);
        _tile_loadd(7, w1 + k * TILE, 64);
        _tile_loadd(5, x1 + k, x_bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, acc0, acc_bytes);
    _tile_stored(1, acc0 + TILE, acc_bytes);
    _tile_stored(2, acc1, acc_bytes);
    _tile_stored(3, acc1 + TILE, acc_bytes);
}

/* Up to sixteen inputs, one half or both. */
static void one_by_two(const fh_dot_bf16 *a, size_t i) {
    const size_t acc_bytes = FH_PRODUCT_PANEL * sizeof(float), x_bytes = a->stride * sizeof *a->x;
    const uint16_t *x0 = a->x + i * a->stride;
    float *acc0 = a->acc + i * FH_PRODUCT_PANEL;
    _tile_loadd(0, acc0, acc_bytes);
    if (a->n_half == 2) _tile_loadd(1, acc0 + TILE, acc_bytes);
    for (size_t k = 0; k < a->n_col; k += STEP) {
        _tile_loadd(4, x0 + k, x_bytes);
        _tile_loadd(6, a->w[0] + k * TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (a->n_half == 2) {
            _tile_loadd(7, a->w[1] + k * TILE, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
    }
    _tile_stored(0, acc0, acc_bytes);
    if (a->n_half == 2) _tile_stored(1, acc0 + TILE, acc_bytes);
}

void fh_amx_dot_bf16(const fh_dot_bf16 *a) {
    size_t i = 0;
    configure(TILE, TILE);
    if (a->n_half == 2) {
        for (; i + 2 * TILE <= a->n; i += 2 * TILE) two_by_two(a, i);
    }
    for (; i + TILE <= a->n; i += TILE) one_by_two(a, i);
    if (i < a->n) {
        configure(a->n - i, TILE);
        one_by_two(a, i);
    }
    _tile_release();
}
