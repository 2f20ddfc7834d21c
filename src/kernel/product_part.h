/* kernel/product_part.h - the inner side of products: panels, units, and the kernels of a level.
 * SPDX-License-Identifier: Apache-2.0
 * A panel is FH_PRODUCT_PANEL rows in two halves of FH_HALF. Its columns are cut into units of up to FH_UNIT, whole
 * blocks of FH_BLOCK; a packed panel is [unit][half]. In memory a unit is: the kind's head, then scales block by block,
 * padded to 64 bytes, then codes. Codes are interleaved: 64 bytes hold four columns of each of the 16 rows (a byte of
 * packed codes holds two columns, of which the kind says how far they lie apart). So a vector register, whatever its
 * width, holds whole rows' quads, one multiply-add of bytes sums a quad, and the same 64 bytes are a row of an AMX
 * tile.
 *
 * Whatever the kind, kernels see a unit expanded: code [column / 4][16][4], scale and min [column / block][16], with
 *   weight = scale * (code - bias) - min
 * so that one loop for each level serves every kind. The bias is 128 where codes are unsigned, else 0. */
#ifndef FH_KERNEL_PRODUCT_PART_H
#define FH_KERNEL_PRODUCT_PART_H

#include "kernel/product.h"

enum {
    FH_HALF = 16,
    FH_UNIT = 256,
    FH_BLOCK = 32,
    FH_UNIT_BLOCKS = FH_UNIT / FH_BLOCK,
    FH_QUAD_BYTES = 64,                            /* four columns of a half */
    FH_BLOCK_CODES = FH_BLOCK / 4 * FH_QUAD_BYTES, /* expanded */
    FH_UNIT_MOST = 5120                            /* bytes of the largest unit */
};

/* ---- int8 inputs ---- */
/* 32 numbers x[i] = scale * q[i]. An f32 whose bits are FH_ROUND_BITS + s is FH_ROUND + s for |s| < 2^22: sums of
 * products begin there, and scale * sum comes out of one fused multiply-add, rounded once: scale has two bits to spare,
 * so that shift = -FH_ROUND * scale is exact. begin_* also takes 128 times the sum of q away, for biased codes. */
typedef struct fh_i8_block {
    int8_t q[FH_BLOCK];
    float scale, shift;
    int32_t begin, begin_half[2]; /* of all 32, of 16 each */
    float sum, sum_half[2];       /* scale * sum of q */
} fh_i8_block;
_Static_assert(sizeof(fh_i8_block) == 64, "a block is a cache line");

#define FH_ROUND 12582912.0f /* 1.5 * 2^23 */
#define FH_ROUND_BITS 0x4B400000

/* The scale of a block whose largest absolute value has these bits: a 127th of it, its last two bits rounded up to 0.
 * Infinite and NaN inputs give scales like them, and so their results; what is next to nothing is nothing. */
static inline float fh_i8_scale(uint32_t largest) {
    float f;
    uint32_t u;
    memcpy(&f, &largest, 4);
    if (f < 0x1p-100f) return 0.0f;
    f = f / 127.0f;
    memcpy(&u, &f, 4);
    u = (u + 3) & ~(uint32_t)3;
    memcpy(&f, &u, 4);
    return f;
}

/* The rest of a block once q is there; a, b: sums of its halves. */
static inline void fh_i8_finish(fh_i8_block *to, float scale, int32_t a, int32_t b) {
    to->scale = scale;
    to->shift = -FH_ROUND * scale;
    to->begin_half[0] = FH_ROUND_BITS - 128 * a;
    to->begin_half[1] = FH_ROUND_BITS - 128 * b;
    to->begin = FH_ROUND_BITS - 128 * (a + b);
    to->sum = scale * (float)(a + b);
    to->sum_half[0] = scale * (float)a;
    to->sum_half[1] = scale * (float)b;
}

/* ---- kernels ---- */
/* n inputs times the first `half` * 16 rows of a panel's part: acc[i * FH_PRODUCT_PANEL + row] += .. */
typedef struct fh_dot_i8 {
    const uint8_t *code[2];
    const float *scale[2], *min[2]; /* by halves */
    const void *const *x;           /* [n] */
    uint64_t first_block;           /* of each input */
    size_t n, n_block, n_half;
    uint32_t block; /* columns of one scale: 16 or 32 */
    uint32_t reach; /* no code is further from the bias */
    bool has_min;
    float *acc;
} fh_dot_i8;

typedef struct fh_dot_bf16 {
    const uint16_t *w[2]; /* by halves: [columns / 2][16][2] */
    const uint16_t *x;    /* inputs are `stride` elements apart */
    size_t stride;
    size_t n, n_col, n_half; /* n_col: a multiple of 32 */
    float *acc;
} fh_dot_bf16;

/* Rows as they are stored, times f32 inputs. acc[i * FH_PRODUCT_PANEL + row] = .., rows n_row <= FH_PRODUCT_PANEL. */
typedef struct fh_dot_rows {
    fh_dtype dtype; /* F32, F16, BF16 */
    const uint8_t *const *row;
    const float *const *x;
    size_t n, n_row, n_col;
    float *acc;
} fh_dot_rows;

typedef void fh_expand_fn(const uint8_t *unit, size_t n_block, uint8_t *code, float *scale, float *min);

/* Every kind of panel; plain tensors' are named by their element type. */
typedef enum fh_panel_id {
    FH_PANEL_Q4_0,
    FH_PANEL_Q4_1,
    FH_PANEL_Q5_0,
    FH_PANEL_Q5_1,
    FH_PANEL_Q8_0,
    FH_PANEL_Q2_K,
    FH_PANEL_Q3_K,
    FH_PANEL_Q4_K,
    FH_PANEL_Q5_K,
    FH_PANEL_Q6_K,
    FH_PANEL_IQ4_NL,
    FH_PANEL_IQ4_XS,
    FH_PANEL_MXFP4,
    FH_PANEL_NVFP4,
    /* Packed weights (tensor/weight.h), by the columns of a group: codes of up to 4 bits with scale and min in f32, of
     * 4 bits less 8 with a scale in f32 or bf16, of 8 bits; E2M1 by 16 with E4M3 scales and a factor for each row. */
    FH_PANEL_W4_32,
    FH_PANEL_W4_64,
    FH_PANEL_W4_128,
    FH_PANEL_S4_32,
    FH_PANEL_S4_32_BF16,
    FH_PANEL_W8_32,
    FH_PANEL_W8_128,
    FH_PANEL_E2M1_16,
    FH_PANEL_COUNT
} fh_panel_id;

typedef struct fh_panel_kind {
    fh_dtype dtype;
    fh_panel_id id;
    uint16_t head_bytes, scale_bytes, code_bytes; /* of a unit; of a block of 32 */
    uint8_t block;                                /* columns of one scale */
    uint8_t reach;
    bool has_min;
    /* 16 rows at the same column, n_block blocks of 32 from there, to one unit */
    void (*pack)(const uint8_t *const row[FH_HALF], size_t n_block, uint8_t *unit);
    /* the same of a packed weight, whose rows are numbers */
    void (*pack_weight)(const fh_weight *w, const uint64_t row[FH_HALF], uint64_t col, size_t n_block, uint8_t *unit);
} fh_panel_kind;

const fh_panel_kind *fh_panel_find(fh_dtype t);                /* of plain tensors; NULL: none */
const fh_panel_kind *fh_panel_find_weight(const fh_weight *w); /* of packed weights; NULL: none */

static inline size_t fh_unit_codes_at(const fh_panel_kind *k, size_t n_block) {
    return (k->head_bytes + n_block * k->scale_bytes + 63) / 64 * 64;
}
static inline size_t fh_unit_bytes(const fh_panel_kind *k, size_t n_block) {
    return fh_unit_codes_at(k, n_block) + n_block * k->code_bytes;
}

#define FH_STREAM_INPUTS 8
/* A unit of `bytes` times n inputs from its first block on: acc[i * FH_PRODUCT_PANEL + row] += .., sixteen rows. */
typedef void fh_stream_fn(const uint8_t *unit, size_t n_block, size_t bytes, const fh_i8_block *const *x, size_t n,
                          float *acc);

typedef struct fh_product_table {
    fh_expand_fn *const *expand; /* [FH_PANEL_COUNT], for dot_i8 */
    fh_stream_fn *const *stream; /* [FH_PANEL_COUNT]: the same for few inputs, without expanding; or NULL, also in it */
    void (*dot_i8)(const fh_dot_i8 *a);
    void (*dot_rows)(const fh_dot_rows *a);
    void (*form_i8)(const float *x, size_t n_block, fh_i8_block *dst);
    void (*form_bf16)(const float *x, size_t n, uint16_t *dst); /* zeros to the next multiple of 32 */
    /* where bf16 inputs are taken, else NULL */
    void (*dot_bf16)(const fh_dot_bf16 *a);
    fh_expand_fn *const *expand_biased; /* for widen */
    void (*widen)(const uint8_t *code, const float *scale, const float *min, size_t n_block, size_t block,
                  uint16_t *dst);
    /* 16 rows of F32, F16 or BF16 to [columns / 2][16][2], zeros from n to n_col */
    void (*lay_bf16)(fh_dtype t, const uint8_t *const *row, size_t n, size_t n_col, uint16_t *dst);
    uint32_t bf16_from_codes, bf16_from_plain; /* how many inputs make bf16 the faster form */
} fh_product_table;

/* What each object offers; product.c makes the tables. */
void fh_ref_dot_i8(const fh_dot_i8 *a);
void fh_ref_dot_rows(const fh_dot_rows *a);
void fh_ref_form_i8(const float *x, size_t n_block, fh_i8_block *dst);
extern fh_expand_fn *const fh_ref_expand[FH_PANEL_COUNT];
#if defined(__x86_64__)
void fh_avx2_dot_i8(const fh_dot_i8 *a);
void fh_avx2_dot_rows(const fh_dot_rows *a);
void fh_avx2_form_i8(const float *x, size_t n_block, fh_i8_block *dst);
extern fh_expand_fn *const fh_avx2_expand[FH_PANEL_COUNT];
void fh_avxvnni_dot_i8(const fh_dot_i8 *a);
extern fh_expand_fn *const fh_avxvnni_expand[FH_PANEL_COUNT];
void fh_avx512_dot_rows(const fh_dot_rows *a);
void fh_avx512_form_i8(const float *x, size_t n_block, fh_i8_block *dst);
void fh_avx512_form_bf16(const float *x, size_t n, uint16_t *dst);
void fh_avx512_widen(const uint8_t *code, const float *scale, const float *min, size_t n_block, size_t block,
                     uint16_t *dst);
void fh_avx512_lay_bf16(fh_dtype t, const uint8_t *const *row, size_t n, size_t n_col, uint16_t *dst);
extern fh_expand_fn *const fh_avx512_expand[FH_PANEL_COUNT];
void fh_vnni_dot_i8(const fh_dot_i8 *a);
extern fh_stream_fn *const fh_vnni_stream[FH_PANEL_COUNT];
void fh_bf16_dot_bf16(const fh_dot_bf16 *a);
void fh_amx_dot_bf16(const fh_dot_bf16 *a);
#endif
#if defined(__aarch64__)
void fh_neon_dot_i8(const fh_dot_i8 *a);
void fh_neon_dot_rows(const fh_dot_rows *a);
extern fh_expand_fn *const fh_neon_expand[FH_PANEL_COUNT];
void fh_dotprod_dot_i8(const fh_dot_i8 *a);
#endif

#endif
