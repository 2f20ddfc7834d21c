/* kernel/decode.c - fh_decode: the table of block decoders, filled once for the CPU at hand.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses: types without an f32 reading, and element counts that are no whole number of blocks
 * (both are bugs of the caller; files were checked when they were opened). Invariant: every decoder
 * that may stand in a row gives the same bits, except that a NaN out of a block type (its scale was
 * NaN or infinite) has whatever sign and payload the compiler's order of operands leaves. Threads:
 * filled under pthread_once, then only read. */
#include "kernel/decode.h"

#include <pthread.h>

#include "base/cpu.h"
#include "kernel/decode_table.h"

void fh_decode_fill_base(fh_decode_table t) {
    static const fh_decode_table base = {
        [FH_DTYPE_F32] = fh_decode_f32,
        [FH_DTYPE_F16] = fh_decode_f16,
        [FH_DTYPE_BF16] = fh_decode_bf16,
        [FH_DTYPE_F64] = fh_decode_f64,
        [FH_DTYPE_F8_E4M3] = fh_decode_f8_e4m3,
        [FH_DTYPE_F8_E5M2] = fh_decode_f8_e5m2,
        [FH_DTYPE_F8_E8M0] = fh_decode_f8_e8m0,
        [FH_DTYPE_F8_E4M3FNUZ] = fh_decode_f8_e4m3fnuz,
        [FH_DTYPE_F8_E5M2FNUZ] = fh_decode_f8_e5m2fnuz,
        [FH_DTYPE_F6_E2M3] = fh_decode_f6_e2m3,
        [FH_DTYPE_F6_E3M2] = fh_decode_f6_e3m2,
        [FH_DTYPE_F4] = fh_decode_f4,
        [FH_DTYPE_I8] = fh_decode_i8,
        [FH_DTYPE_I16] = fh_decode_i16,
        [FH_DTYPE_I32] = fh_decode_i32,
        [FH_DTYPE_I64] = fh_decode_i64,
        [FH_DTYPE_U8] = fh_decode_u8,
        [FH_DTYPE_U16] = fh_decode_u16,
        [FH_DTYPE_U32] = fh_decode_u32,
        [FH_DTYPE_U64] = fh_decode_u64,
        [FH_DTYPE_BOOL] = fh_decode_bool,
        [FH_DTYPE_Q4_0] = fh_decode_q4_0,
        [FH_DTYPE_Q4_1] = fh_decode_q4_1,
        [FH_DTYPE_Q5_0] = fh_decode_q5_0,
        [FH_DTYPE_Q5_1] = fh_decode_q5_1,
        [FH_DTYPE_Q8_0] = fh_decode_q8_0,
        [FH_DTYPE_Q8_1] = fh_decode_q8_1,
        [FH_DTYPE_Q2_K] = fh_decode_q2_k,
        [FH_DTYPE_Q3_K] = fh_decode_q3_k,
        [FH_DTYPE_Q4_K] = fh_decode_q4_k,
        [FH_DTYPE_Q5_K] = fh_decode_q5_k,
        [FH_DTYPE_Q6_K] = fh_decode_q6_k,
        [FH_DTYPE_Q8_K] = fh_decode_q8_k,
        [FH_DTYPE_IQ1_S] = fh_decode_iq1_s,
        [FH_DTYPE_IQ1_M] = fh_decode_iq1_m,
        [FH_DTYPE_IQ2_XXS] = fh_decode_iq2_xxs,
        [FH_DTYPE_IQ2_XS] = fh_decode_iq2_xs,
        [FH_DTYPE_IQ2_S] = fh_decode_iq2_s,
        [FH_DTYPE_IQ3_XXS] = fh_decode_iq3_xxs,
        [FH_DTYPE_IQ3_S] = fh_decode_iq3_s,
        [FH_DTYPE_IQ4_NL] = fh_decode_iq4_nl,
        [FH_DTYPE_IQ4_XS] = fh_decode_iq4_xs,
        [FH_DTYPE_TQ1_0] = fh_decode_tq1_0,
        [FH_DTYPE_TQ2_0] = fh_decode_tq2_0,
        [FH_DTYPE_MXFP4] = fh_decode_mxfp4,
        [FH_DTYPE_NVFP4] = fh_decode_nvfp4,
        [FH_DTYPE_Q1_0] = fh_decode_q1_0,
        [FH_DTYPE_Q2_0] = fh_decode_q2_0,
    };
    memcpy(t, base, sizeof base);
}

static fh_decode_table table;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void) {
    fh_decode_fill_base(table);
#if defined(__x86_64__)
    if (fh_cpu_has_level(FH_CPU_LEVEL_AVX2)) fh_decode_fill_f16c(table);
#endif
}

bool fh_can_decode(fh_dtype t) { return (unsigned)t < FH_DTYPE_COUNT && t != FH_DTYPE_C64; }

void fh_decode(fh_dtype t, const uint8_t *src, float *dst, size_t n) {
    FH_REQUIRE(fh_can_decode(t));
    pthread_once(&table_once, fill_table);
    size_t elems = fh_dtype_get_info(t)->block_elems;
    FH_REQUIRE(n % elems == 0);
    table[t](src, dst, n / elems);
}
