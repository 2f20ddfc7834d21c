/* kernel/quantize.c - which quantizer makes which type, and with the loops of which CPU.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the table. Plain types and Q8_0 go through fh_encode. */
#include "kernel/quantize.h"

#include <pthread.h>

#include "kernel/decode.h"
#include "kernel/quantize_part.h"

typedef struct quantizer {
    fh_quantize_row *row; /* NULL: fh_encode, where that can */
    bool needs_weights;
    uint8_t n_scale, scale_at[4]; /* where f16 scales lie in a block */
} quantizer;

static const quantizer table[FH_DTYPE_COUNT] = {
    [FH_DTYPE_Q8_0] = {.n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_Q4_0] = {.row = fh_quantize_row_q4_0, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_Q4_1] = {.row = fh_quantize_row_q4_1, .n_scale = 2, .scale_at = {0, 2}},
    [FH_DTYPE_Q5_0] = {.row = fh_quantize_row_q5_0, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_Q5_1] = {.row = fh_quantize_row_q5_1, .n_scale = 2, .scale_at = {0, 2}},
    [FH_DTYPE_Q1_0] = {.row = fh_quantize_row_q1_0, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_Q2_0] = {.row = fh_quantize_row_q2_0, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_TQ1_0] = {.row = fh_quantize_row_tq1_0, .n_scale = 1, .scale_at = {52}},
    [FH_DTYPE_TQ2_0] = {.row = fh_quantize_row_tq2_0, .n_scale = 1, .scale_at = {64}},
    [FH_DTYPE_MXFP4] = {.row = fh_quantize_row_mxfp4},
    [FH_DTYPE_NVFP4] = {.row = fh_quantize_row_nvfp4},
    [FH_DTYPE_IQ4_NL] = {.row = fh_quantize_row_iq4_nl, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_IQ4_XS] = {.row = fh_quantize_row_iq4_xs, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_Q2_K] = {.row = fh_quantize_row_q2_k, .n_scale = 2, .scale_at = {80, 82}},
    [FH_DTYPE_Q3_K] = {.row = fh_quantize_row_q3_k, .n_scale = 1, .scale_at = {108}},
    [FH_DTYPE_Q4_K] = {.row = fh_quantize_row_q4_k, .n_scale = 2, .scale_at = {0, 2}},
    [FH_DTYPE_Q5_K] = {.row = fh_quantize_row_q5_k, .n_scale = 2, .scale_at = {0, 2}},
    [FH_DTYPE_Q6_K] = {.row = fh_quantize_row_q6_k, .n_scale = 1, .scale_at = {208}},
    [FH_DTYPE_IQ1_S] = {.row = fh_quantize_row_iq1_s, .needs_weights = true, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_IQ1_M] = {.row = fh_quantize_row_iq1_m},
    [FH_DTYPE_IQ2_XXS] = {.row = fh_quantize_row_iq2_xxs, .needs_weights = true, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_IQ2_XS] = {.row = fh_quantize_row_iq2_xs, .needs_weights = true, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_IQ2_S] = {.row = fh_quantize_row_iq2_s, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_IQ3_XXS] = {.row = fh_quantize_row_iq3_xxs, .n_scale = 1, .scale_at = {0}},
    [FH_DTYPE_IQ3_S] = {.row = fh_quantize_row_iq3_s, .n_scale = 1, .scale_at = {0}},
};

static const fh_fits *best = &fh_fits_base;
static pthread_once_t best_once = PTHREAD_ONCE_INIT;

static void choose(void) {
#if defined(__x86_64__)
    if (fh_cpu_has_level(FH_CPU_LEVEL_AVX2)) best = &fh_fits_avx2;
    if (fh_cpu_has_level(FH_CPU_LEVEL_AVX512)) best = &fh_fits_avx512;
#endif
}

bool fh_can_quantize(fh_dtype t) {
    if ((unsigned)t >= FH_DTYPE_COUNT) return false;
    return table[t].row || t == FH_DTYPE_F32 || t == FH_DTYPE_F16 || t == FH_DTYPE_BF16 || t == FH_DTYPE_Q8_0;
}

bool fh_quantize_needs_weights(fh_dtype t) { return (unsigned)t < FH_DTYPE_COUNT && table[t].needs_weights; }

static void quantize(const fh_fits *fits, fh_dtype t, const float *src, uint8_t *dst, size_t n_row, size_t n_col,
                     const float *weight) {
    const fh_dtype_info *info = fh_dtype_get_info(t);
    const size_t row_bytes = n_col / info->block_elems * info->block_bytes;
    FH_REQUIRE(fh_can_quantize(t));
    FH_REQUIRE(n_col % info->block_elems == 0);
    FH_REQUIRE(weight || !table[t].needs_weights);
    for (size_t r = 0; r < n_row; r++, src += n_col, dst += row_bytes) {
        if (table[t].row) table[t].row(fits, src, dst, n_col, weight);
        else fh_encode(t, src, dst, n_col);
    }
}

void fh_quantize(fh_dtype t, const float *src, uint8_t *dst, size_t n_row, size_t n_col, const float *weight) {
    pthread_once(&best_once, choose);
    quantize(best, t, src, dst, n_row, n_col, weight);
}

bool fh_quantize_at(fh_cpu_level level, fh_dtype t, const float *src, uint8_t *dst, size_t n_row, size_t n_col,
                    const float *weight) {
    const fh_fits *fits = level == FH_CPU_LEVEL_REF ? &fh_fits_base : NULL;
#if defined(__x86_64__)
    if (level == FH_CPU_LEVEL_AVX2 && fh_cpu_has_level(level)) fits = &fh_fits_avx2;
    if (level == FH_CPU_LEVEL_AVX512 && fh_cpu_has_level(level)) fits = &fh_fits_avx512;
#endif
    if (!fits) return false;
    quantize(fits, t, src, dst, n_row, n_col, weight);
    return true;
}

static bool f16_is_finite(uint16_t h) { return (h & 0x7c00u) != 0x7c00u; }

/* IQ1_M keeps the four parts of its scale on top of four words. */
static bool iq1_m_is_valid(const uint8_t *b) {
    unsigned h = 0;
    for (size_t k = 0; k < 4; k++) h |= (unsigned)(fh_load_u16(b + 48 + 2 * k) >> 12) << (4 * k);
    return f16_is_finite((uint16_t)h);
}

bool fh_quantize_is_valid(fh_dtype t, const uint8_t *data, size_t n_block) {
    const fh_dtype_info *info = fh_dtype_get_info(t);
    for (size_t b = 0; b < n_block; b++, data += info->block_bytes) {
        if (t == FH_DTYPE_F32 && (fh_load_u32(data) & 0x7f800000u) == 0x7f800000u) return false;
        if (t == FH_DTYPE_F16 && !f16_is_finite(fh_load_u16(data))) return false;
        if (t == FH_DTYPE_BF16 && (fh_load_u16(data) & 0x7f80u) == 0x7f80u) return false;
        if (t == FH_DTYPE_IQ1_M && !iq1_m_is_valid(data)) return false;
        if (t == FH_DTYPE_MXFP4 && data[0] == 255) return false;
        for (size_t k = 0; k < table[t].n_scale; k++)
            if (!f16_is_finite(fh_load_u16(data + table[t].scale_at[k]))) return false;
    }
    return true;
}
