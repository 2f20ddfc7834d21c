/* tests/fuzz/fuzz_listing.c - libFuzzer target for what hubs and other people's files say about models: a page of
 * Hugging Face's tree, an OCI manifest, a lock, the head of a bundle.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: what is taken has paths that stay in their folder, real digests, and no pickle; a refusal has a
 * message; memory stays within its bound and nothing leaks. */
#include "base/num.h"
#include "library/crate_part.h"
#include "library/hub_part.h"
#include "library/lock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_listing(const fh_hub_listing *l) {
    for (size_t i = 0; i < l->n; i++) {
        const fh_hub_file *f = &l->file[i];
        FH_REQUIRE(fh_store_path_ok(f->file.path) && !fh_hub_is_pickle(f->file.path));
        FH_REQUIRE(fh_sha256_is_hex(fh_str_of(f->file.digest)) || strlen(f->git) == 40);
        FH_REQUIRE(f->url.len && f->url.ptr[f->url.len] == '\0');
    }
    FH_REQUIRE(!l->entry.len || fh_store_path_ok(l->entry));
}

static fh_status read_hub(fh_str text, int kind, fh_err *err) {
    static const fh_hub_name name = {.base = "https://x", .repo = "a/b", .revision = "main", .name = "a/b"};
    fh_hub_listing l = {.revision = FH_STR("c")};
    fh_arena_init(&l.arena, FH_HUB_MOST_ARENA);
    fh_status st = kind < 2 ? fh_hub_hf_take(&l, text, &name, kind == 1, err) : fh_hub_oci_take(&l, text, &name, err);
    if (st == FH_OK) check_listing(&l);
    fh_hub_listing_release(&l);
    return st;
}

static fh_status read_lock(fh_str text, fh_err *err) {
    fh_arena a;
    fh_store_model *m;
    size_t n = 0;
    fh_arena_init(&a, 64u << 20);
    fh_status st = fh_lock_read(text, &a, &m, &n, err);
    for (size_t i = 0; st == FH_OK && i < n; i++) FH_REQUIRE(fh_store_name_ok(m[i].name) && m[i].n_file > 0);
    fh_arena_release(&a);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char name[100];
    uint64_t bytes;
    fh_str text = {(const char *)data, size};
    for (int kind = 0; kind < 4; kind++) {
        fh_err err = {.status = FH_OK};
        uint64_t live = fh_mem_get_stats().live_bytes;
        fh_mem_reset_peak();
        fh_status st = kind < 3 ? read_hub(text, kind, &err) : read_lock(text, &err);
        FH_REQUIRE(fh_mem_get_stats().peak_bytes - live <= 64 * (uint64_t)size + (16u << 20));
        FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
        if (st != FH_OK) FH_REQUIRE(err.status == st && err.message[0]);
    }
    if (size >= FH_TAR_BLOCK && fh_tar_read(data, name, &bytes)) FH_REQUIRE(strlen(name) < 100);
    return 0;
}
