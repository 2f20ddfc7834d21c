/* bench/quantize.c - how fast each type is made, by CPU level: CSV on stdout.
 * SPDX-License-Identifier: Apache-2.0
 * Usage: bench-quantize [TYPE ...]. One thread, rows of 4096 normal numbers, best of three runs in CPU time (what other
 * programs take does not count). weights: with importance weights or without. */
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "kernel/quantize.h"

enum { COLS = 4096, ROWS = 64, RUNS = 3 };

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void measure(fh_dtype t, const float *x, const float *weight, uint8_t *y) {
    for (unsigned l = 0; l < FH_CPU_LEVEL_COUNT; l++) {
        double best = 1e9;
        bool here = true;
        for (int r = 0; r < RUNS && here; r++) {
            const double start = cpu_seconds();
            here = fh_quantize_at((fh_cpu_level)l, t, x, y, ROWS, COLS, weight);
            const double s = cpu_seconds() - start;
            best = s < best ? s : best;
        }
        if (here)
            printf("%s,%s,%s,%.1f\n", fh_dtype_name(t), weight ? "yes" : "no", fh_cpu_level_name((fh_cpu_level)l),
                   (double)COLS * ROWS / best * 1e-6);
    }
}

int main(int argc, char **argv) {
    float *x = fh_alloc((size_t)COLS * (ROWS + 1), sizeof *x), *weight = x + (size_t)COLS * ROWS;
    uint8_t *y = fh_alloc((size_t)COLS * ROWS, 4);
    fh_rng r;
    if (!x || !y) return 1;
    fh_rng_init(&r, 1, 0);
    for (size_t i = 0; i < (size_t)COLS * ROWS; i++) {
        double sum = 0;
        for (int k = 0; k < 12; k++) sum += fh_rng_f64(&r);
        x[i] = (float)((sum - 6) * 0.02);
    }
    for (size_t i = 0; i < COLS; i++) weight[i] = (float)(0.1 + fh_rng_f64(&r));
    printf("type,weights,level,million_numbers_per_s\n");
    for (unsigned t = 0; t < FH_DTYPE_COUNT; t++) {
        bool wanted = argc < 2;
        fh_dtype named;
        for (int a = 1; a < argc; a++)
            wanted = wanted || (fh_dtype_from_name(fh_str_of(argv[a]), &named) && named == (fh_dtype)t);
        if (!wanted || !fh_can_quantize((fh_dtype)t)) continue;
        fh_quantize((fh_dtype)t, x, y, 1, COLS, weight); /* builds tables */
        if (!fh_quantize_needs_weights((fh_dtype)t)) measure((fh_dtype)t, x, NULL, y);
        measure((fh_dtype)t, x, weight, y);
    }
    fh_free(x);
    fh_free(y);
    return 0;
}
