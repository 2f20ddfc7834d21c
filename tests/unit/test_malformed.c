/* tests/unit/test_malformed.c - thousands of damaged files through the whole way: open, bind, gather the facts (T12).
 * SPDX-License-Identifier: Apache-2.0
 * Seeds are the small files of the fuzz corpora; tests/malformed makes the damage. Every case must end within a second,
 * within twice the file's size and 16 MiB of memory, with an answer or with an error that says something and where. */
#include "base/clock.h"
#include "base/num.h"
#include "library/facts.h"
#include "malformed/gguf_cases.h"
#include "malformed/st_cases.h"
#include "test.h"

enum { CASES_AT_LEAST = 5000, SEED_BYTES = 4096, CASES_PER_SEED = 2500 };

typedef struct tally {
    size_t cases, refused, with_offset;
    uint64_t slowest_ns;
    char slowest[160];
} tally;

typedef struct damage {
    const char *folder; /* of seeds, under tests/fuzz/corpus */
    size_t (*count)(fh_bytes seed);
    void (*make)(fh_bytes seed, size_t i, fh_buf *out, char *what, size_t size);
    bool on_disk;
} damage;

static fh_status open_case(fh_bundle **b, const damage *d, fh_bytes file, fh_err *err) {
    char path[256];
    if (!d->on_disk) return fh_bundle_open_static(b, file, "case", err);
    snprintf(path, sizeof path, "%s/case.safetensors", fh_test_tmp());
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(file.ptr, 1, file.len, f) != file.len || fclose(f) != 0) FH_BUG("cannot write the case");
    return fh_bundle_open(b, path, err);
}

static void run_case(tally *t, const damage *d, fh_bytes file, const char *what) {
    fh_err err = {0};
    fh_bundle *b = NULL;
    fh_facts facts;
    fh_location at;
    memset(&at, 0, sizeof at);
    fh_mem_reset_peak();
    uint64_t before = fh_mem_get_stats().live_bytes, start = fh_clock_cpu_ns();
    fh_status st = open_case(&b, d, file, &err);
    if (st == FH_OK) {
        st = fh_facts_gather(&facts, b, &at, &err);
        if (st == FH_OK) fh_facts_release(&facts);
    }
    fh_bundle_close(b);
    uint64_t ns = fh_clock_cpu_ns() - start, used = fh_mem_get_stats().peak_bytes - before;
    t->cases++;
    if (ns > t->slowest_ns) {
        t->slowest_ns = ns;
        snprintf(t->slowest, sizeof t->slowest, "%s", what);
    }
    if (ns > 1000000000u) fh_test_fail(__FILE__, __LINE__, "%s: %llu ms", what, (unsigned long long)ns / 1000000);
    if (used > 2 * file.len + (16u << 20))
        fh_test_fail(__FILE__, __LINE__, "%s: %llu bytes of memory for a file of %zu", what, (unsigned long long)used,
                     file.len);
    if (st == FH_OK) return;
    t->refused++;
    t->with_offset += err.offset != FH_NO_OFFSET;
    if (!err.message[0] || !err.path[0]) fh_test_fail(__FILE__, __LINE__, "%s: an error without words or path", what);
    if (err.offset != FH_NO_OFFSET && err.offset > file.len)
        fh_test_fail(__FILE__, __LINE__, "%s: an offset behind the end: %s", what, err.message);
}

static void run_seed(tally *t, const damage *d, fh_bytes seed, fh_buf *file) {
    char what[160];
    size_t n = d->count(seed), step = fh_ceil_div(n, CASES_PER_SEED);
    for (size_t i = 0; i < n; i += step) {
        fh_buf_clear(file);
        d->make(seed, i, file, what, sizeof what);
        run_case(t, d, (fh_bytes){file->ptr, file->len}, what);
    }
}

static void run_folder(const damage *d) {
    tally t = {0};
    fh_err err;
    fh_arena arena;
    fh_names names;
    fh_buf seed, file;
    fh_arena_init(&arena, 1u << 20);
    fh_buf_init(&seed, 1u << 20);
    fh_buf_init(&file, 1u << 20);
    CHECK_OK(fh_dir_list(d->folder, &arena, &names, &err), err);
    for (size_t i = 0; i < names.n; i++) {
        char path[FH_PATH_MAX];
        fh_buf_clear(&seed);
        CHECK_OK(fh_path_join(path, d->folder, names.item[i], &err), err);
        CHECK_OK(fh_file_read(path, &seed, &err), err);
        if (seed.len <= SEED_BYTES) run_seed(&t, d, (fh_bytes){seed.ptr, seed.len}, &file);
    }
    fh_buf_release(&file);
    fh_buf_release(&seed);
    fh_arena_release(&arena);
    printf("%s: %zu damaged files, %zu refused, %zu of them by byte; slowest %.2f ms (%s)\n", d->folder, t.cases,
           t.refused, t.with_offset, (double)t.slowest_ns * 1e-6, t.slowest);
    CHECK(t.cases >= CASES_AT_LEAST);
    CHECK(t.refused > t.cases / 4); /* damage that nobody notices would prove nothing */
}

TEST(malformed, t12_gguf) {
    run_folder(&(damage){"tests/fuzz/corpus/gguf", fh_gguf_malformed_count, fh_gguf_malformed_make, false});
}

TEST(malformed, t12_safetensors) {
    run_folder(&(damage){"tests/fuzz/corpus/safetensors", fh_st_malformed_count, fh_st_malformed_make, true});
}
