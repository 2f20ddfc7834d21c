/* kernel/x86_amx_attend.c - attention by bf16 pairs with AMX tiles, over state of 16 bits or fewer.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. Tiles are configured for a block and released after it: they belong to
 * the thread. Refuses f32 state, whose users want its bits. */
#define FH_PAIRS_ROWS 16
#include "kernel/attend_pairs.h"

/* What LDTILECFG reads: 64 bytes. Tiles 0 to 3 are sums and 4, 5 queries or weights: m rows; 6, 7 keys or values. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;
_Static_assert(sizeof(tile_config) == 64, "what LDTILECFG reads");

static void set_rows(pack *p, int m) {
    tile_config c = {.palette = 1};
    if (p->rows == m) return;
    p->rows = m;
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = 64;
        c.rows[i] = i < 6 ? (uint8_t)m : 16;
    }
    _tile_loadconfig(&c);
}

enum { KEY_STRIDE = FH_ATTEND_KEYS * 4, PAIR_ROWS = 16 };

/* Four sums at a time, one after the other: a product takes 16 cycles to issue and 52 to finish. Tile numbers are part
 * of the instruction, so they are written out. */
#define FOUR(a, b, next, stride) \
    _tile_loadd(6, (b), stride); \
    _tile_dpbf16ps(0, a, 6); \
    _tile_loadd(7, (b) + (next), stride); \
    _tile_dpbf16ps(1, a, 7); \
    _tile_loadd(6, (b) + 2 * (next), stride); \
    _tile_dpbf16ps(2, a, 6); \
    _tile_loadd(7, (b) + 3 * (next), stride); \
    _tile_dpbf16ps(3, a, 7);

static void pairs_scores(pack *p, uint32_t q, int m, float *score) {
    const size_t stride = (size_t)p->k_width * 2;
    set_rows(p, m);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t c = 0; c < p->k_width; c += 32) {
        const uint32_t *k = p->k + c / 2 * FH_ATTEND_KEYS;
        _tile_loadd(4, p->q + (size_t)q * p->k_width + c, stride);
        _tile_loadd(5, p->q_low + (size_t)q * p->k_width + c, stride);
        FOUR(4, k, 16, KEY_STRIDE)
        FOUR(5, k, 16, KEY_STRIDE)
        if (!p->split) continue;
        const uint32_t *low = p->k_low + c / 2 * FH_ATTEND_KEYS;
        FOUR(4, low, 16, KEY_STRIDE)
    }
    _tile_stored(0, score, KEY_STRIDE);
    _tile_stored(1, score + 16, KEY_STRIDE);
    _tile_stored(2, score + 32, KEY_STRIDE);
    _tile_stored(3, score + 48, KEY_STRIDE);
}

/* Columns [c, c + 64) of the values into the sums. */
static void four_columns(const pack *p, size_t c, float *acc, size_t ld) {
    const size_t stride = (size_t)p->v_width * 4, half = (size_t)PAIR_ROWS * p->v_width;
    const uint32_t *v = p->v + c;
    _tile_loadd(0, acc + c, ld * 4);
    _tile_loadd(1, acc + c + 16, ld * 4);
    _tile_loadd(2, acc + c + 32, ld * 4);
    _tile_loadd(3, acc + c + 48, ld * 4);
    FOUR(4, v, 16, stride)
    FOUR(5, v + half, 16, stride)
    if (p->split) {
        const uint32_t *low = p->v_low + c;
        FOUR(4, low, 16, stride)
        FOUR(5, low + half, 16, stride)
    }
    _tile_stored(0, acc + c, ld * 4);
    _tile_stored(1, acc + c + 16, ld * 4);
    _tile_stored(2, acc + c + 32, ld * 4);
    _tile_stored(3, acc + c + 48, ld * 4);
}

static void sixteen_columns(const pack *p, size_t c, float *acc, size_t ld) {
    const size_t stride = (size_t)p->v_width * 4, half = (size_t)PAIR_ROWS * p->v_width;
    _tile_loadd(0, acc + c, ld * 4);
    _tile_loadd(6, p->v + c, stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, p->v + half + c, stride);
    _tile_dpbf16ps(0, 5, 7);
    if (p->split) {
        _tile_loadd(6, p->v_low + c, stride);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, p->v_low + half + c, stride);
        _tile_dpbf16ps(0, 5, 7);
    }
    _tile_stored(0, acc + c, ld * 4);
}

/* Two tiles of weights hold all keys of a block. */
static void pairs_values(pack *p, int m, float *acc, size_t ld) {
    size_t c = 0;
    set_rows(p, m);
    _tile_loadd(4, p->weight, FH_ATTEND_KEYS * 2);
    _tile_loadd(5, p->weight + 32, FH_ATTEND_KEYS * 2);
    for (; c + 64 <= p->v_width; c += 64) four_columns(p, c, acc, ld);
    for (; c < p->v_width; c += 16) sixteen_columns(p, c, acc, ld);
}

static void blocks(fh_attend_tile *t, const fh_attend_block *b) {
    pairs_blocks(t, b);
    _tile_release();
}

static bool fits(const fh_attend_shape *s) { return s->k_type != FH_DTYPE_F32 && s->v_type != FH_DTYPE_F32; }

const fh_attend_kernel fh_attend_amx = {.name = "amx-bf16 tile",
                                        .level = FH_CPU_LEVEL_AMX,
                                        .fits = fits,
                                        .room = pairs_room,
                                        .begin = pairs_begin,
                                        .block = blocks};
