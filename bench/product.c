/* bench/product.c - how fast products are, as shares of what the machine delivers: bench-product COMMIT [LEVEL [TYPE]]
 * SPDX-License-Identifier: Apache-2.0
 * All workers of a pool on one matrix at a time, packed (or from the file for types that stay there), with inputs
 * made beforehand. For few inputs the matrices are far larger together than the caches, so that bytes come from memory.
 * CSV, a row for each type and number of inputs: bytes of the file per second against the read ceiling, operations
 * against the int8 or bf16 ceiling, both measured in the same run. */
#include <stdio.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "evaluate/ceilings.h"
#include "kernel/product.h"

enum { IN = 2048, OUT = 8192, PASSES = 15, MOST = 512 };

typedef struct job {
    fh_product *p;
    uint32_t n_mat;
    fh_product_form form;
    size_t n;
    const void **x;
    float **y;
    uint8_t **scratch;
    fh_pool *pool;
} job;

static void work(void *ctx, int worker, int n_worker) {
    const job *j = ctx;
    const uint64_t panels = fh_product_panels(j->p);
    for (uint32_t m = 0; m < j->n_mat; m++) {
        const fh_product_args a = {.mat = m,
                                   .p0 = panels * (uint64_t)worker / (uint64_t)n_worker,
                                   .p1 = panels * ((uint64_t)worker + 1) / (uint64_t)n_worker,
                                   .form = j->form,
                                   .n = j->n,
                                   .x = j->x,
                                   .y = j->y};
        fh_product_run(j->p, &a, j->scratch[worker]);
        fh_pool_barrier(j->pool);
    }
}

/* Codes of any kind; scales that are numbers, or the reading of NaN would be timed. */
static void fill(uint8_t *p, size_t n, fh_dtype t) {
    const fh_dtype_info *d = fh_dtype_get_info(t);
    fh_rng r;
    fh_rng_init(&r, 1, 1);
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t u = fh_rng_u64(&r);
        if (d->block_elems == 1) u = (u & 0x807f807f807f807fu) | 0x3f003f003f003f00u;
        memcpy(p + i, &u, 8);
    }
    for (size_t i = 0; d->block_elems > 1 && i + d->block_bytes <= n; i += d->block_bytes) {
        const uint16_t scale = 0x2000;
        memcpy(p + i, &scale, 2), memcpy(p + i + 2, &scale, 2);
        memcpy(p + i + d->block_bytes - 2, &scale, 2), memcpy(p + i + d->block_bytes - 4, &scale, 2);
        if (t == FH_DTYPE_MXFP4) p[i] = 120;
        if (t == FH_DTYPE_NVFP4) memset(p + i, 60, 4);
    }
}

/* In huge pages where the system grants them, as the engine's own memory is. Lives as long as the run. */
static void *aligned(size_t n) {
    const size_t page = (size_t)2 << 20;
    uint8_t *p = fh_alloc(n + 2 * page, 1);
    if (p == NULL) exit(1);
    p += page - (uintptr_t)p % page;
    (void)madvise(p, (n + page - 1) / page * page, MADV_HUGEPAGE);
    return p;
}

static double best_seconds(job *j) {
    double best = 1e9;
    for (int pass = 0; pass < PASSES; pass++) {
        const uint64_t start = fh_clock_ns();
        fh_pool_run(j->pool, work, j);
        const double s = (double)(fh_clock_ns() - start) * 1e-9;
        if (s < best) best = s;
    }
    return best;
}

static void type_rows(const char *commit, const char *cpu, fh_dtype t, fh_cpu_level level, uint32_t n_mat,
                      fh_pool *pool, const fh_ceilings *c, bool packed) {
    uint64_t bytes;
    if (!fh_dtype_bytes(t, (uint64_t)n_mat * OUT * IN, &bytes)) return;
    uint8_t *data = aligned(bytes);
    fill(data, bytes, t);
    const fh_tensor tensor = {.dtype = t, .data = {data, bytes}, .shape = {3, {n_mat, OUT, IN}}};
    const fh_weight weight = {.codes = &tensor, .shape = tensor.shape}, *list[1] = {&weight};
    const fh_matrix matrix = {
        .weight = list, .n_weight = 1, .n_mat = n_mat, .out = OUT, .in = IN, .stride = OUT, .step = 1};
    fh_product p;
    fh_product_init(&p, &matrix, level);
    double pack_s = 0;
    if (packed && fh_product_pack_bytes(&p) > 0) {
        fh_panel_state *state = fh_alloc_zero(fh_product_all_panels(&p), 1);
        if (state == NULL) exit(1);
        fh_product_set_packed(&p, aligned(fh_product_pack_bytes(&p)), state);
        const uint64_t start = fh_clock_ns();
        while (fh_product_pack(&p, 64)) {
        }
        pack_s = (double)(fh_clock_ns() - start) * 1e-9;
    }
    static const size_t some[] = {1, 2, 4, 8, 16, 64, MOST};
    static const void *x[MOST];
    static float *y[MOST];
    static uint8_t *scratch[256];
    float *in = aligned(IN * sizeof(float)), *result = aligned((size_t)MOST * OUT * sizeof(float));
    uint8_t *form = aligned((size_t)MOST * IN * 4);
    fh_rng r;
    fh_rng_init(&r, 2, 2);
    for (int w = 0; w < fh_pool_size(pool); w++) scratch[w] = aligned(fh_product_scratch_bytes(&p));
    for (size_t k = 0; k < FH_COUNT(some); k++) {
        const size_t n = some[k];
        job j = {&p, n > 16 ? 1 : n_mat, fh_product_wants(&p, n), n, x, y, scratch, pool};
        const size_t step = fh_product_form_bytes(j.form, IN);
        uint64_t form_ns = 0;
        for (size_t i = 0; i < n; i++) {
            for (size_t c0 = 0; c0 < IN; c0++) in[c0] = (float)(fh_rng_f64(&r) * 2 - 1);
            const uint64_t start = fh_clock_ns();
            if (j.form == FH_FORM_F32) memcpy(form + i * step, in, step);
            else fh_product_form_make(&p, j.form, in, IN, form + i * step);
            form_ns += fh_clock_ns() - start;
            x[i] = form + i * step;
            y[i] = result + i * OUT;
        }
        const double s = best_seconds(&j) / j.n_mat, ops = 2.0 * (double)n * OUT * IN;
        const double file = (double)bytes / n_mat;
        const fh_ceiling *peak = &c->kind[j.form == FH_FORM_I8     ? FH_PEAK_INT8
                                          : j.form == FH_FORM_BF16 ? FH_PEAK_BF16
                                                                   : FH_PEAK_F32];
        printf("%s,\"%s\",%d,%s,%s,%s,%zu,%s,%.2f,%.3f,%.1f,%.3f,%.2f,%.0f\n", commit, cpu, fh_pool_size(pool),
               fh_cpu_level_name(level), fh_dtype_name(t), pack_s > 0 ? "packed" : "file", n,
               j.form == FH_FORM_I8     ? "int8"
               : j.form == FH_FORM_BF16 ? "bf16"
                                        : "f32",
               file / s * 1e-9, file / s / c->kind[FH_PEAK_READ].all, ops / s * 1e-9, ops / s / peak->all,
               pack_s > 0 ? (double)bytes / pack_s * 1e-9 : 0, (double)form_ns / (double)n);
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    const char *commit = argc > 1 ? argv[1] : "unknown";
    fh_err err = {0};
    fh_machine machine;
    fh_ceilings ceilings;
    fh_pool *pool = NULL;
    char text[1200];
    static const fh_dtype types[] = {FH_DTYPE_Q4_K,  FH_DTYPE_Q6_K,  FH_DTYPE_Q8_0, FH_DTYPE_Q4_0,   FH_DTYPE_Q5_K,
                                     FH_DTYPE_BF16,  FH_DTYPE_F16,   FH_DTYPE_F32,  FH_DTYPE_Q2_K,   FH_DTYPE_Q3_K,
                                     FH_DTYPE_Q4_1,  FH_DTYPE_Q5_0,  FH_DTYPE_Q5_1, FH_DTYPE_IQ4_NL, FH_DTYPE_IQ4_XS,
                                     FH_DTYPE_MXFP4, FH_DTYPE_NVFP4, FH_DTYPE_IQ3_S};
    fh_status st = FH_OK;
    if (argc > 2) st = fh_cpu_limit(fh_str_of(argv[2]), &err); /* before ceilings, so that they are this level's */
    if (st == FH_OK) st = fh_pool_new(&pool, &(fh_pool_options){.n_worker = 0}, &err);
    fh_machine_read(&machine);
    if (st == FH_OK) st = fh_ceilings_measure(&ceilings, pool, &machine, NULL, &err);
    if (st == FH_OK) {
        printf("commit,cpu,threads,level,type,from,inputs,form,gb_per_s,share_of_read,gop_per_s,share_of_peak,"
               "pack_gb_per_s_per_thread,ns_per_input_form\n");
        for (size_t k = 0; k < FH_COUNT(types); k++) {
            const char *name = fh_dtype_name(types[k]);
            if (argc > 3 && !fh_str_is(fh_str_of(argv[3]), name)) continue;
            type_rows(commit, machine.cpu.model, types[k], fh_cpu_best_level(), 24, pool, &ceilings, argc < 5);
        }
    } else {
        fprintf(stderr, "bench-product: %s\n", fh_err_text(&err, text, sizeof text));
    }
    fh_pool_free(pool);
    return fh_status_exit(st);
}
