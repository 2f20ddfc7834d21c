/* kernel/peak.c - owns the table of peak loops, and those in plain C that every machine has.
 * SPDX-License-Identifier: Apache-2.0
 * Rows stand in ascending order of level. A kind with no row granted (bf16 on most machines) has no peak. */
#include "kernel/peak.h"

#include "base/num.h"
#include "kernel/peak_part.h"

enum { REF_LANES = 16 };

static uint64_t read_ref(const void *p, size_t n_bytes) {
    const uint8_t *at = p;
    uint64_t x[4] = {0};
    for (size_t i = 0; i < n_bytes; i += 32) {
        for (size_t k = 0; k < 4; k++) {
            uint64_t word;
            memcpy(&word, at + i + k * 8, sizeof word);
            x[k] ^= word;
        }
    }
    return x[0] ^ x[1] ^ x[2] ^ x[3];
}

static void f32_ref(fh_peak_block *x, uint64_t n_iter) {
    float a[REF_LANES], b[REF_LANES], sum[REF_LANES];
    memcpy(a, x->a, sizeof a);
    memcpy(b, x->b, sizeof b);
    memcpy(sum, x->sum.f, sizeof sum);
    for (uint64_t i = 0; i < n_iter; i++) {
        __asm__ volatile("" : : "r"(a), "r"(b) : "memory");
        for (int k = 0; k < REF_LANES; k++) sum[k] += a[k] * b[k];
    }
    memcpy(x->sum.f, sum, sizeof sum);
}

static void int8_ref(fh_peak_block *x, uint64_t n_iter) {
    int8_t a[REF_LANES], b[REF_LANES];
    int32_t sum[REF_LANES];
    memcpy(a, x->a, sizeof a);
    memcpy(b, x->b, sizeof b);
    memcpy(sum, x->sum.i, sizeof sum);
    for (uint64_t i = 0; i < n_iter; i++) {
        __asm__ volatile("" : : "r"(a), "r"(b) : "memory");
        for (int k = 0; k < REF_LANES; k++) {
            sum[k] = (int32_t)((uint32_t)sum[k] + (uint32_t)(a[k] * b[k])); /* wraps, as vectors do */
        }
    }
    memcpy(x->sum.i, sum, sizeof sum);
}

#define READ(name, level, fn) \
    { name, FH_PEAK_READ, FH_CPU_LEVEL_##level, fn, NULL, 0, 0, 0, 0, 0 }
#define LANES(name, kind, level, fn, n_acc, cols, dot) \
    { name, FH_PEAK_##kind, FH_CPU_LEVEL_##level, NULL, fn, n_acc, 0, cols, dot, 0 }
#define TILE(name, kind, level, fn, n_acc, rows, cols, dot, group) \
    { name, FH_PEAK_##kind, FH_CPU_LEVEL_##level, NULL, fn, n_acc, rows, cols, dot, group }

static const fh_peak PEAK[] = {
    READ("plain C", REF, read_ref),
    LANES("plain C", F32, REF, f32_ref, 1, REF_LANES, 1),
    LANES("plain C", INT8, REF, int8_ref, 1, REF_LANES, 1),
#if defined(__x86_64__)
    READ("avx2 vpxor", AVX2, fh_peak_read_avx2),
    READ("avx2 vpxor, reading ahead", AVX2, fh_peak_read_ahead_avx2),
    READ("avx512 vpxorq", AVX512, fh_peak_read_avx512),
    READ("avx512 vpxorq, reading ahead", AVX512, fh_peak_read_ahead_avx512),
    LANES("avx2 vfmadd231ps", F32, AVX2, fh_peak_f32_avx2, 12, 8, 1),
    LANES("avx512 vfmadd231ps", F32, AVX512, fh_peak_f32_avx512, 24, 16, 1),
    LANES("avx512 vdpbf16ps", BF16, BF16, fh_peak_bf16_avx512, 24, 16, 2),
    TILE("amx tdpbf16ps", BF16, AMX, fh_peak_bf16_amx, 6, 16, 16, 32, 2),
    LANES("avx2 vpmaddubsw", INT8, AVX2, fh_peak_int8_avx2, 12, 8, 4),
    LANES("avxvnni vpdpbusd", INT8, AVXVNNI, fh_peak_int8_avxvnni, 12, 8, 4),
    LANES("avx512 vpmaddubsw", INT8, AVX512, fh_peak_int8_avx512, 16, 16, 4),
    LANES("avx512 vpdpbusd", INT8, VNNI, fh_peak_int8_vnni, 24, 16, 4),
    TILE("amx tdpbssd", INT8, AMX, fh_peak_int8_amx, 6, 16, 16, 64, 4),
#elif defined(__aarch64__)
    READ("neon eor", NEON, fh_peak_read_neon),
    READ("neon eor, reading ahead", NEON, fh_peak_read_ahead_neon),
    LANES("neon fmla", F32, NEON, fh_peak_f32_neon, 24, 4, 1),
    LANES("neon smull", INT8, NEON, fh_peak_int8_neon, 12, 4, 4),
    LANES("dotprod sdot", INT8, DOTPROD, fh_peak_int8_dotprod, 24, 4, 4),
    TILE("i8mm smmla", INT8, I8MM, fh_peak_int8_i8mm, 24, 2, 2, 8, 8),
    TILE("i8mm bfmmla", BF16, I8MM, fh_peak_bf16_i8mm, 24, 2, 2, 4, 4),
#endif
};

const fh_peak *fh_peak_table(size_t *n) {
    *n = FH_COUNT(PEAK);
    return PEAK;
}

uint64_t fh_peak_ops(const fh_peak *p) {
    int rows = p->rows ? p->rows : 1;
    return (uint64_t)(2 * p->n_acc * rows) * (uint64_t)(p->cols * p->dot);
}
