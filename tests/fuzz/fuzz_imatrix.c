/* tests/fuzz/fuzz_imatrix.c - libFuzzer target for importance matrices, both forms of file.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: what was read keeps the promises of imatrix.h, can be merged and shown; memory stays within
 * its bound and nothing leaks. */
#include <math.h>

#include "forge/imatrix_part.h"
#include "forge/imatrix_stats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const fh_imatrix *m) {
    for (size_t i = 0; i < fh_imatrix_n_entry(m); i++) {
        const fh_imatrix_entry *e = fh_imatrix_get(m, i);
        FH_REQUIRE(e->n_mat > 0 && e->n_value > 0 && e->n_value % e->n_mat == 0 && fh_imatrix_find(m, e->name) == e);
        if (i > 0) FH_REQUIRE(fh_str_cmp(fh_imatrix_get(m, i - 1)->name, e->name) < 0);
        for (uint64_t k = 0; k < e->n_value; k++) FH_REQUIRE(e->sum[k] >= 0 && isfinite(e->sum[k]));
        for (uint64_t k = 0; k < e->n_mat; k++) FH_REQUIRE(e->count[k] >= 0 && isfinite(e->count[k]));
    }
}

static void use(const fh_imatrix *m) {
    fh_err err = {0};
    fh_imatrix *both;
    fh_imatrix_stats *s = NULL;
    size_t n = 0;
    if (fh_imatrix_new(&both, 512, &err) != FH_OK) return;
    if (fh_imatrix_merge(both, m, &err) == FH_OK && fh_imatrix_merge(both, m, &err) == FH_OK) walk(both);
    if (fh_imatrix_stats_of(m, &s, &n, &err) == FH_OK) FH_REQUIRE(n <= fh_imatrix_n_entry(m));
    fh_free(s);
    fh_imatrix_free(both);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const fh_bytes file = {data, size};
    const uint64_t live = fh_mem_get_stats().live_bytes;
    fh_err err = {0};
    fh_imatrix *m;
    FH_REQUIRE(fh_imatrix_new(&m, 0, &err) == FH_OK);
    fh_mem_reset_peak();
    const bool gguf = size >= 4 && memcmp(data, "GGUF", 4) == 0;
    const fh_status st = gguf ? fh_imatrix_read_gguf(m, file, &err) : fh_imatrix_read_dat(m, file, &err);
    FH_REQUIRE(fh_mem_get_stats().peak_bytes - live <= 8 * (uint64_t)size + (16u << 20));
    if (st == FH_OK) {
        walk(m);
        use(m);
    } else {
        FH_REQUIRE(err.status == st && err.message[0]);
    }
    fh_imatrix_free(m);
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    return 0;
}
