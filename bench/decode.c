/* bench/decode.c - how fast each element type becomes f32, as a share of what memory delivers: bench-decode COMMIT
 * SPDX-License-Identifier: Apache-2.0
 * One thread, a buffer of random blocks larger than the second-level cache, best of several passes, next to the read
 * ceiling of one thread measured in the same run. CSV to standard output, a row per type. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "evaluate/ceilings.h"
#include "kernel/decode.h"

enum { N_VALUE = 768 * 1365, PASSES = 9 }; /* a whole number of blocks of every type, about a million */

static void fill_random(uint8_t *p, size_t n) {
    fh_rng r;
    fh_rng_init(&r, 1, 1);
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)fh_rng_u32(&r);
}

static double best_seconds(fh_dtype t, const uint8_t *src, float *dst) {
    double best = 1e9;
    for (int pass = 0; pass < PASSES; pass++) {
        uint64_t start = fh_clock_ns();
        fh_decode(t, src, dst, N_VALUE);
        double seconds = (double)(fh_clock_ns() - start) * 1e-9;
        if (seconds < best) best = seconds;
    }
    return best;
}

int main(int argc, char **argv) {
    const size_t n = N_VALUE;
    const char *commit = argc > 1 ? argv[1] : "unknown";
    fh_err err = {0};
    fh_machine machine;
    fh_ceilings ceilings;
    fh_pool *pool = NULL;
    uint8_t *src = fh_alloc(n, 8);
    float *dst = fh_alloc(n, sizeof *dst);
    char text[1200];
    fh_status st = src && dst ? FH_OK : fh_fail_memory(&err, n * 12);
    if (st == FH_OK) st = fh_pool_new(&pool, &(fh_pool_options){.n_worker = 1}, &err);
    fh_machine_read(&machine);
    if (st == FH_OK) st = fh_ceilings_measure(&ceilings, pool, &machine, NULL, &err);
    if (st == FH_OK) {
        double read = ceilings.kind[FH_PEAK_READ].one;
        fill_random(src, n * 8);
        printf("commit,cpu,threads,type,bits,gvalues_per_s,gb_per_s_f32_out,read_ceiling_gb_per_s,traffic_share_of_"
               "ceiling\n");
        for (int t = 0; t < FH_DTYPE_COUNT; t++) {
            if (!fh_can_decode((fh_dtype)t)) continue;
            double s = best_seconds((fh_dtype)t, src, dst), in = fh_dtype_bits((fh_dtype)t) / 8;
            printf("%s,\"%s\",1,%s,%.4f,%.3f,%.2f,%.2f,%.3f\n", commit, machine.cpu.model, fh_dtype_name((fh_dtype)t),
                   in * 8, (double)n / s * 1e-9, (double)n * 4 / s * 1e-9, read * 1e-9,
                   (double)n * (in + 4) / s / read);
        }
    } else {
        fprintf(stderr, "bench-decode: %s\n", fh_err_text(&err, text, sizeof text));
    }
    fh_pool_free(pool);
    fh_free(src);
    fh_free(dst);
    return fh_status_exit(st);
}
