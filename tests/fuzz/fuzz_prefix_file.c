/* tests/fuzz/fuzz_prefix_file.c - kept prompts with hostile records.
 * SPDX-License-Identifier: Apache-2.0
 * Input: the number of records (4 bytes), then records; head, form and digest are made to fit, or no input would come
 * past them. The first byte's highest bit leaves the digest wrong. Whatever comes, no page stays held, and the engine
 * still answers. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "infer/infer_part.h"
#include "infer/prefix_file.h"

#define HEAD 88u
#define COUNT_AT 16u
#define KEY FH_STR("key")

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static fh_engine *engine;
static uint8_t head[HEAD];
static char path[64];
static int file;

static void compute(uint32_t n) {
    uint32_t token[64];
    fh_session *s = NULL;
    for (uint32_t i = 0; i < n; i++) token[i] = i % 7 + 3;
    FH_REQUIRE(fh_session_new(&s, engine, 0, NULL, 1, NULL) == FH_OK);
    const fh_work work = {.session = s, .token = token, .n = n, .want = FH_WANT_NONE};
    FH_REQUIRE(fh_engine_step(engine, &work, 1, FH_EXPORT_LOGITS, NULL, NULL, NULL, NULL) == FH_OK);
    fh_session_free(s);
}

/* A head that fits the engine is the one of a file that it wrote. */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    const fh_engine_options o = {.threads = 1, .page = 16, .batch = 64, .exact = true, .kv_type = FH_DTYPE_F16};
    char made[] = "/tmp/fuzz-prefix-XXXXXX";
    fh_bundle *b = NULL;
    fh_model *m = NULL;
    uint64_t n;
    (void)argc;
    (void)argv;
    FH_REQUIRE(fh_bundle_open(&b, "tests/golden/models/llama-sharded", NULL) == FH_OK);
    FH_REQUIRE(fh_model_load(&m, b, NULL) == FH_OK);
    FH_REQUIRE(fh_engine_new(&engine, m, &o, NULL) == FH_OK);
    compute(48);
    int fd = mkstemp(made);
    FH_REQUIRE(fd >= 0 && fh_prefix_file_write(engine, made, KEY, UINT64_MAX, NULL, NULL, &n, NULL) == FH_OK && n > 0);
    close(fd);
    FILE *f = fopen(made, "rb");
    FH_REQUIRE(f && fread(head, 1, HEAD, f) == HEAD);
    fclose(f);
    unlink(made);
    file = memfd_create("prompts", MFD_CLOEXEC);
    FH_REQUIRE(file >= 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return 0;
}

static void put(const void *data, size_t n, off_t at) { FH_REQUIRE(pwrite(file, data, n, at) == (ssize_t)n); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char digest[FH_SHA256_HEX];
    uint64_t n;
    fh_sha256 *h = NULL;
    if (size < 5) return 0;
    uint8_t top[HEAD];
    memcpy(top, head, HEAD);
    memcpy(top + COUNT_AT, data + 1, 4);
    FH_REQUIRE(fh_sha256_new(&h, NULL) == FH_OK && fh_sha256_add(h, top, HEAD, NULL) == FH_OK);
    FH_REQUIRE(fh_sha256_add(h, data + 5, size - 5, NULL) == FH_OK && fh_sha256_finish(h, digest, NULL) == FH_OK);
    fh_sha256_free(h);
    digest[0] ^= (char)(data[0] >> 7);
    FH_REQUIRE(ftruncate(file, (off_t)(HEAD + size - 5 + 64)) == 0);
    put(top, HEAD, 0);
    put(data + 5, size - 5, HEAD);
    put(digest, 64, (off_t)(HEAD + size - 5));
    fh_err err = {0};
    fh_status s = fh_prefix_file_read(engine, path, KEY, &n, &err);
    FH_REQUIRE(s == FH_OK || err.message[0]);
    FH_REQUIRE(!(data[0] >> 7) || s == FH_ERR_CORRUPT);
    FH_REQUIRE(fh_engine_get_usage(engine).page_bytes_live == 0);
    compute(33);
    fh_pages_drop_cached(&engine->pages);
    FH_REQUIRE(fh_prefix_n_node(engine->prefix) == 0);
    return 0;
}
