/* kernel/peak.h - loops that do nothing but one instruction, to measure what this machine can do at most.
 * SPDX-License-Identifier: Apache-2.0
 * Each loop has a result that plain C can check: n_acc accumulators, all adding the same product again and
 * again. Only loops whose level is granted (base/cpu.h) may be called. */
#ifndef FH_KERNEL_PEAK_H
#define FH_KERNEL_PEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

typedef enum fh_peak_kind { FH_PEAK_READ, FH_PEAK_F32, FH_PEAK_BF16, FH_PEAK_INT8, FH_PEAK_KINDS } fh_peak_kind;

#define FH_PEAK_OPERAND_BYTES 1024
#define FH_PEAK_MAX_SUMS 2048

/* One worker's operands and accumulators. Elements of a and b are f32, bf16 or int8 by kind; of int8 some
 * loops take a as unsigned, and pairs of products must stay within 16 bits. */
typedef struct fh_peak_block {
    uint8_t a[FH_PEAK_OPERAND_BYTES], b[FH_PEAK_OPERAND_BYTES];
    union {
        float f[FH_PEAK_MAX_SUMS];
        int32_t i[FH_PEAK_MAX_SUMS];
    } sum; /* [n_acc, n_sum]: what to begin with; afterwards the result */
} fh_peak_block;

/* sum[acc] += n_iter * product(a, b) */
typedef void fh_peak_compute_fn(fh_peak_block *x, uint64_t n_iter);
/* The exclusive or of all 64-bit words; n_bytes is a multiple of FH_PEAK_READ_STEP, p is aligned to 64. */
typedef uint64_t fh_peak_read_fn(const void *p, size_t n_bytes);
#define FH_PEAK_READ_STEP 1024

typedef struct fh_peak {
    const char *name; /* level and instruction: "avx512 vfmadd231ps" */
    fh_peak_kind kind;
    fh_cpu_level level;
    fh_peak_read_fn *read;       /* FH_PEAK_READ */
    fh_peak_compute_fn *compute; /* the others */
    /* One product. rows = 0: [cols] sums, each a dot product of its own `dot` elements of a and b.
     * Else a: [rows, dot], sums: [rows, cols], and b holds element (k, col) at
     * (k / group * cols + col) * group + k % group. */
    int n_acc, rows, cols, dot, group;
} fh_peak;

const fh_peak *fh_peak_table(size_t *n);
/* Multiplications and additions in one iteration. */
uint64_t fh_peak_ops(const fh_peak *p);

#endif
