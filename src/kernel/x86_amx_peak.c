/* kernel/x86_amx_peak.c - peak loops with AMX tiles: six accumulators, one tile of a, one of b.
 * SPDX-License-Identifier: Apache-2.0
 * Six are enough to hide the latency (a product takes 16 cycles to issue and about 50 to finish). Tiles are
 * configured on entry and released on return: they belong to the thread, and nobody else may rely on them. */
#include <immintrin.h>

#include "kernel/peak_part.h"

enum { ROW_BYTES = 64, TILE_SUMS = 256 };

static void configure(void) {
    /* palette 1: 64 bytes, row lengths from byte 16 (16 bits each), rows from byte 48 */
    uint8_t config[64] = {1};
    for (int i = 0; i < 8; i++) {
        config[16 + 2 * i] = ROW_BYTES;
        config[48 + i] = 16;
    }
    _tile_loadconfig(config);
}

/* Tile numbers are part of the instruction, so they are written out. */
#define PEAK_LOOP(product) \
    configure(); \
    _tile_loadd(6, x->a, ROW_BYTES); \
    _tile_loadd(7, x->b, ROW_BYTES); \
    _tile_loadd(0, x->sum.i, ROW_BYTES); \
    _tile_loadd(1, x->sum.i + TILE_SUMS, ROW_BYTES); \
    _tile_loadd(2, x->sum.i + 2 * TILE_SUMS, ROW_BYTES); \
    _tile_loadd(3, x->sum.i + 3 * TILE_SUMS, ROW_BYTES); \
    _tile_loadd(4, x->sum.i + 4 * TILE_SUMS, ROW_BYTES); \
    _tile_loadd(5, x->sum.i + 5 * TILE_SUMS, ROW_BYTES); \
    for (uint64_t i = 0; i < n_iter; i++) { \
        product(0, 6, 7); \
        product(1, 6, 7); \
        product(2, 6, 7); \
        product(3, 6, 7); \
        product(4, 6, 7); \
        product(5, 6, 7); \
    } \
    _tile_stored(0, x->sum.i, ROW_BYTES); \
    _tile_stored(1, x->sum.i + TILE_SUMS, ROW_BYTES); \
    _tile_stored(2, x->sum.i + 2 * TILE_SUMS, ROW_BYTES); \
    _tile_stored(3, x->sum.i + 3 * TILE_SUMS, ROW_BYTES); \
    _tile_stored(4, x->sum.i + 4 * TILE_SUMS, ROW_BYTES); \
    _tile_stored(5, x->sum.i + 5 * TILE_SUMS, ROW_BYTES); \
    _tile_release();

void fh_peak_int8_amx(fh_peak_block *x, uint64_t n_iter) { PEAK_LOOP(_tile_dpbssd) }

void fh_peak_bf16_amx(fh_peak_block *x, uint64_t n_iter) { PEAK_LOOP(_tile_dpbf16ps) }
