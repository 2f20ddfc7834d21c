/* tests/unit/test_store.c - names of hubs, paths from outside, and the library with faults at every call.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/num.h"
#include "library/crate.h"
#include "library/hub.h"
#include "library/lock.h"
#include "test.h"

/* ---- names ---- */

TEST(hub, names) {
    static const struct {
        const char *typed, *base, *repo, *revision, *variant, *name;
    } rows[] = {
        {"org/x", "https://huggingface.co", "org/x", "main", "", "org/x"},
        {"hf.co/org/x:Q4_K_M", "https://huggingface.co", "org/x", "main", "Q4_K_M", "org/x:Q4_K_M"},
        {"org/x:Q8_0@v1", "https://huggingface.co", "org/x", "v1", "Q8_0", "org/x@v1:Q8_0"},
        {"org/x@v1:Q8_0", "https://huggingface.co", "org/x", "v1", "Q8_0", "org/x@v1:Q8_0"},
        {"https://huggingface.co/org/x/blob/main/a/b.gguf?download=true", "https://huggingface.co", "org/x", "main",
         "a/b.gguf", "org/x:a/b.gguf"},
        {"llama3.2", "https://registry.ollama.ai", "library/llama3.2", "latest", "", "llama3.2:latest"},
        {"llama3.2:1b", "https://registry.ollama.ai", "library/llama3.2", "1b", "", "llama3.2:1b"},
        {"ollama.com/me/x", "https://registry.ollama.ai", "me/x", "latest", "", "registry.ollama.ai/me/x:latest"},
        {"registry.ollama.ai/library/x:1b", "https://registry.ollama.ai", "library/x", "1b", "", "x:1b"},
        {"localhost:5000/a/b:c", "http://localhost:5000", "a/b", "c", "", "localhost:5000/a/b:c"},
        {"docker.io/ai/smollm2", "https://registry-1.docker.io", "ai/smollm2", "latest", "",
         "registry-1.docker.io/ai/smollm2:latest"},
    };
    fh_hub_name n;
    fh_err err;
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        CHECK_OK(fh_hub_parse(&n, rows[i].typed, NULL, &err), err);
        CHECK_STR(fh_str_of(n.base), rows[i].base);
        CHECK_STR(fh_str_of(n.repo), rows[i].repo);
        CHECK_STR(fh_str_of(n.revision), rows[i].revision);
        CHECK_STR(fh_str_of(n.variant), rows[i].variant);
        CHECK_STR(fh_str_of(n.name), rows[i].name);
    }
}

/* What a lock asks for is what the hub's names understand. */
TEST(hub, pinned) {
    static const struct {
        const char *source, *revision, *pinned;
    } rows[] = {
        {"hf.co/org/x:Q4", "abc", "hf.co/org/x@abc:Q4"},
        {"hf.co/org/x@v1:Q4", "abc", "hf.co/org/x@abc:Q4"},
        {"localhost:5000/a/b:c", "sha256:12", "localhost:5000/a/b@sha256:12"},
        {"registry.ollama.ai/library/x:1b", "sha256:12", "registry.ollama.ai/library/x@sha256:12"},
        {"bundle", "", NULL},
    };
    char out[600];
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        fh_store_model m = {.source = fh_str_of(rows[i].source), .revision = fh_str_of(rows[i].revision)};
        CHECK(fh_lock_pinned(&m, out, sizeof out) == (rows[i].pinned != NULL));
        if (rows[i].pinned) CHECK_STR(fh_str_of(out), rows[i].pinned);
    }
}

TEST(store, paths_from_outside) {
    static const char *const good[] = {"a", "a/b.json", ".gitattributes", "1_Pooling/config.json", "\xc3\xa9.json"};
    static const char *const bad[] = {
        "", "/a", "a/", "a//b", "../a", "a/..", ".", "a/./b", "a\nb", "a\\b", "a/b/c/d/e/f/g/h/i", "\xff", "a\x7f"};
    for (size_t i = 0; i < FH_COUNT(good); i++) CHECK(fh_store_path_ok(fh_str_of(good[i])));
    for (size_t i = 0; i < FH_COUNT(bad); i++) CHECK(!fh_store_path_ok(fh_str_of(bad[i])));
    CHECK(!fh_store_path_ok(FH_STR("a\0b")) && !fh_store_name_ok(FH_STR("a b")) && !fh_store_name_ok(FH_STR("-a")));
}

/* ---- the library, with faults ---- */

static void put_blob(const fh_store *s, const char *text, char digest[FH_SHA256_HEX]) {
    char path[FH_PATH_MAX];
    fh_writer *w = NULL;
    fh_err err;
    CHECK_OK(fh_sha256_of(fh_bytes_of(fh_str_of(text)), digest, &err), err);
    CHECK_OK(fh_store_blob_path(s, digest, path, &err), err);
    CHECK_OK(fh_writer_open(&w, path, &err), err);
    CHECK_OK(fh_writer_add(w, text, strlen(text), &err), err);
    CHECK_OK(fh_writer_commit(w, &err), err);
}

static fh_status trust_all(void *ctx, const uint8_t key[FH_SIGN_KEY_BYTES], fh_err *err) {
    (void)ctx, (void)key, (void)err;
    return FH_OK;
}

typedef struct life {
    char key[FH_PATH_MAX], crate[FH_PATH_MAX];
    fh_store_file file[2];
} life;

static fh_status pack_and_unpack(const life *l, fh_store *s, const fh_store_model *m, fh_err *err) {
    fh_signer *signer = NULL;
    fh_crate c;
    fh_crate_extra extra = {.name = FH_STR("eval.json"), .text = FH_STR("{}")};
    const fh_crate_unpack_options u = {.trust = trust_all, .as = "unpacked"};
    FH_TRY(fh_signer_open(&signer, l->key, err));
    const fh_crate_pack_options o = {.signer = signer, .extra = &extra, .n_extra = 1};
    fh_status st = fh_crate_pack(l->crate, s, m, &o, err);
    fh_signer_free(signer);
    if (st == FH_OK) st = fh_crate_unpack(&c, l->crate, s, &u, err);
    if (st == FH_OK) fh_crate_release(&c);
    return st;
}

/* All that a library does in its life. */
static fh_status live(const life *l, fh_store *s, fh_arena *a, fh_err *err) {
    fh_store_file file[2] = {l->file[0], l->file[1]};
    fh_store_model m = {.name = FH_STR("org/x:Q4"),
                        .source = FH_STR("hf.co/org/x:Q4"),
                        .revision = FH_STR("r1"),
                        .entry = FH_STR("a.gguf"),
                        .file = file,
                        .n_file = 1},
                   found, *list;
    fh_store_swept swept;
    bool is = false;
    size_t n;
    FH_TRY(fh_store_lock(s, true, err));
    FH_TRY(fh_store_put(s, &m, true, err));
    m.n_file = 2;
    FH_TRY(fh_store_put(s, &m, true, err));
    FH_TRY(fh_store_find(s, FH_STR("hf.co/org/x"), a, &found, &is, err));
    FH_REQUIRE(is && found.n_file == 2 && found.has_before);
    FH_TRY(fh_store_rollback(s, found.name, err));
    FH_TRY(fh_store_copy(s, &found, FH_STR("mine"), err));
    FH_TRY(fh_store_list(s, a, &list, &n, err));
    FH_REQUIRE(n >= 2);
    FH_TRY(pack_and_unpack(l, s, &found, err));
    FH_TRY(fh_store_remove(s, FH_STR("unpacked"), err));
    FH_TRY(fh_store_remove(s, FH_STR("mine"), err));
    return fh_store_sweep(s, true, false, false, &swept, err);
}

static fh_status live_once(const life *l, fh_err *err) {
    fh_store *s = NULL;
    fh_arena a;
    fh_arena_init(&a, 64u << 20);
    fh_status st = fh_store_open_in(&s, fh_test_tmp(), FH_STORE_MAKE, err);
    if (st == FH_OK) st = live(l, s, &a, err);
    fh_arena_release(&a);
    fh_store_close(s);
    return st;
}

/* Whatever failed: every blob is what its name says, and every name has all its files. */
static void check_library(void) {
    fh_store *s = NULL;
    fh_store_model *m = NULL;
    fh_arena a;
    fh_err err;
    size_t n = 0;
    uint64_t bytes;
    char path[FH_PATH_MAX];
    fh_arena_init(&a, 64u << 20);
    CHECK_OK(fh_store_open_in(&s, fh_test_tmp(), FH_STORE_AS_IS, &err), err);
    if (s) CHECK_OK(fh_store_list(s, &a, &m, &n, &err), err);
    for (size_t i = 0; i < n; i++) {
        CHECK(fh_lock_is_here(s, &m[i]));
        for (size_t k = 0; k < m[i].n_file; k++) {
            CHECK_OK(fh_store_model_path(s, &m[i], m[i].file[k].path, path, &err), err);
            CHECK_OK(fh_file_get_size(path, &bytes, &err), err);
            CHECK_U64(bytes, m[i].file[k].bytes);
        }
    }
    fh_store_close(s);
    fh_arena_release(&a);
}

static void prepare(life *l) {
    fh_store *s = NULL;
    fh_err err;
    CHECK_OK(fh_store_open_in(&s, fh_test_tmp(), FH_STORE_MAKE, &err), err);
    l->file[0] = (fh_store_file){.path = FH_STR("a.gguf"), .role = FH_STR("model"), .bytes = 5};
    l->file[1] = (fh_store_file){.path = FH_STR("1_P/config.json"), .role = FH_STR(""), .bytes = 2};
    put_blob(s, "hello", l->file[0].digest);
    put_blob(s, "{}", l->file[1].digest);
    fh_store_close(s);
}

TEST(store, survives_every_fault) {
    static const fh_fault_kind kinds[] = {FH_FAULT_ALLOC, FH_FAULT_OPEN,   FH_FAULT_READ, FH_FAULT_WRITE,
                                          FH_FAULT_FSYNC, FH_FAULT_RENAME, FH_FAULT_MMAP};
    life l;
    fh_err err;
    CHECK_OK(fh_path_join(l.key, fh_test_tmp(), FH_STR("key.pem"), &err), err);
    CHECK_OK(fh_path_join(l.crate, fh_test_tmp(), FH_STR("crate.tar"), &err), err);
    CHECK_OK(fh_signer_make(l.key, &err), err);
    CHECK_STATUS(fh_signer_make(l.key, &err), FH_ERR_EXISTS);
    prepare(&l);
    CHECK_OK(live_once(&l, &err), err);
    for (size_t k = 0; k < FH_COUNT(kinds); k++) {
        for (uint64_t nth = 1;; nth++) {
            prepare(&l);
            fh_fault_arm(kinds[k], nth, nth % 2 == 0);
            fh_status st = live_once(&l, &err);
            bool hit = fh_fault_calls(kinds[k]) >= nth;
            fh_fault_disarm();
            check_library();
            if (!hit) {
                CHECK_OK(st, err);
                break;
            }
            if (st != FH_OK) CHECK(err.message[0]);
        }
    }
}
