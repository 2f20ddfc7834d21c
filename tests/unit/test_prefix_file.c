/* tests/unit/test_prefix_file.c - kept prompts: adopted by another engine bit for bit, refused when anything differs.
 * SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/rng.h"
#include "infer/prefix_file.h"
#include "test.h"
#include "unit/test_session_part.h"

#define N 170u
#define HEAD 88u /* where records begin */

typedef struct bench {
    tiny *t;
    uint32_t token[N];
    char path[512];
} bench;

static const fh_engine_options exact = {.threads = 2, .page = 16, .batch = 64, .snapshot = 32, .exact = true};

static void open_bench(bench *b, const char *layers) {
    fh_rng rng;
    b->t = tiny_new(&(tiny_options){.layers = layers, .window = 40, .context = 1000, .seed = 7});
    fh_rng_init(&rng, 5, 3);
    for (uint32_t i = 0; i < N; i++) b->token[i] = (uint32_t)fh_rng_below(&rng, TINY_VOCAB);
    (void)snprintf(b->path, sizeof b->path, "%s/kept-%s", fh_test_tmp(), layers);
}

/* A text with this salt through an engine: tokens that it adopted; its last row must be that of a fresh run. */
static uint32_t run(const bench *b, fh_engine *e, uint32_t n, uint64_t salt) {
    fh_err err = {0};
    fh_session *s;
    tiny_rows rows = {0};
    float want[TINY_VOCAB];
    CHECK_OK(fh_session_new(&s, e, 0, NULL, salt, &err), err);
    CHECK_OK(tiny_append(s, b->token, n, FH_WANT_LAST, &rows, &err), err);
    tiny_fresh(b->t, NULL, 0, b->token, n, want);
    CHECK(memcmp(rows.at, want, sizeof want) == 0);
    uint32_t adopted = fh_session_n_adopted(s);
    tiny_rows_release(&rows);
    fh_session_free(s);
    return adopted;
}

static uint64_t keep(const bench *b, uint64_t most) {
    fh_err err = {0};
    uint64_t n = 0;
    fh_engine *e = tiny_engine(b->t, &exact);
    (void)run(b, e, 165, 1);
    CHECK_OK(fh_prefix_file_write(e, b->path, FH_STR("key"), most, NULL, NULL, &n, &err), err);
    CHECK_U64(run(b, e, N, 1), 160); /* writing changed nothing */
    fh_engine_free(e);
    return n;
}

TEST(prefix_file, another_engine_adopts_what_one_has_kept) {
    static const char *const kinds[] = {"F", "FS", "R", "FR", "L"};
    for (size_t k = 0; k < FH_COUNT(kinds); k++) {
        bench b;
        fh_err err = {0};
        uint64_t n = 0;
        open_bench(&b, kinds[k]);
        CHECK_U64(keep(&b, UINT64_MAX), 160);
        fh_engine *e = tiny_engine(b.t, &exact);
        CHECK_OK(fh_prefix_file_read(e, b.path, FH_STR("key"), &n, &err), err);
        CHECK_U64(n, 160);
        CHECK_U64(fh_engine_get_usage(e).page_bytes_live, 0);
        CHECK_U64(run(&b, e, N, 2), 0); /* somebody else's */
        CHECK_U64(run(&b, e, N, 1), 160);
        CHECK_OK(fh_prefix_file_read(e, b.path, FH_STR("key"), &n, &err), err); /* once more: it is all there */
        CHECK_U64(run(&b, e, N, 1), 160);
        fh_engine_free(e);
        tiny_free(b.t);
    }
}

TEST(prefix_file, the_ceiling_holds) {
    bench b;
    fh_err err = {0};
    uint64_t n, size, last = 0;
    open_bench(&b, "F");
    (void)keep(&b, UINT64_MAX);
    CHECK_OK(fh_file_get_size(b.path, &size, &err), err);
    for (uint64_t most = 0; most <= size; most += size / 7) {
        uint64_t now = 0;
        (void)unlink(b.path);
        n = keep(&b, most);
        CHECK(n >= last && n % 16 == 0);
        CHECK(n == 0 || fh_file_get_size(b.path, &now, &err) == FH_OK);
        CHECK(now <= most);
        last = n;
        fh_engine *e = tiny_engine(b.t, &exact);
        CHECK_STATUS(fh_prefix_file_read(e, b.path, FH_STR("key"), &n, &err), now ? FH_OK : FH_ERR_NOT_FOUND);
        CHECK_U64(run(&b, e, N, 1), n);
        fh_engine_free(e);
    }
    tiny_free(b.t);
}

TEST(prefix_file, the_oldest_stay_the_oldest) {
    static const char *const kinds[] = {"F", "FS", "FR"};
    for (size_t k = 0; k < FH_COUNT(kinds); k++) {
        bench b;
        fh_err err = {0};
        uint64_t n, size;
        open_bench(&b, kinds[k]);
        fh_engine *e = tiny_engine(b.t, &exact);
        for (uint64_t salt = 1; salt <= 3; salt++) (void)run(&b, e, 165, salt);
        (void)run(&b, e, N, 1); /* the first is now the newest */
        CHECK_OK(fh_prefix_file_write(e, b.path, FH_STR("key"), UINT64_MAX, NULL, NULL, &n, &err), err);
        CHECK_U64(n, 480);
        fh_engine_free(e);
        e = tiny_engine(b.t, &exact);
        CHECK_OK(fh_prefix_file_read(e, b.path, FH_STR("key"), &n, &err), err);
        CHECK_OK(fh_file_get_size(b.path, &size, &err), err);
        CHECK_OK(fh_prefix_file_write(e, b.path, FH_STR("key"), size - size / 4, NULL, NULL, &n, &err), err);
        fh_engine_free(e);
        e = tiny_engine(b.t, &exact);
        CHECK_OK(fh_prefix_file_read(e, b.path, FH_STR("key"), &n, &err), err);
        CHECK_U64(run(&b, e, 165, 1), 160);
        CHECK_U64(run(&b, e, 165, 3), 160);
        CHECK(run(&b, e, 165, 2) < 160);
        fh_engine_free(e);
        tiny_free(b.t);
    }
}

static bool third_time(void *ctx) { return ++*(int *)ctx == 3; }

TEST(prefix_file, a_stopped_write_leaves_what_was_there) {
    bench b;
    fh_err err = {0};
    uint64_t n, size, after;
    int calls = 0;
    open_bench(&b, "F");
    (void)keep(&b, UINT64_MAX);
    CHECK_OK(fh_file_get_size(b.path, &size, &err), err);
    fh_engine *e = tiny_engine(b.t, &exact);
    (void)run(&b, e, 100, 1);
    fh_status s = fh_prefix_file_write(e, b.path, FH_STR("key"), UINT64_MAX, third_time, &calls, &n, &err);
    CHECK_STATUS(s, FH_ERR_CANCELLED);
    CHECK_OK(fh_file_get_size(b.path, &after, &err), err);
    CHECK_U64(after, size);
    CHECK_U64(n, 0);
    CHECK_OK(fh_prefix_file_read(e, b.path, FH_STR("key"), &n, &err), err);
    CHECK_U64(n, 160);
    fh_engine_free(e);
    tiny_free(b.t);
}

TEST(prefix_file, another_model_or_form_is_refused) {
    bench b;
    fh_err err = {0};
    uint64_t n = 0;
    fh_engine_options other = exact;
    open_bench(&b, "F");
    (void)keep(&b, UINT64_MAX);
    fh_engine *e = tiny_engine(b.t, &exact);
    CHECK_STATUS(fh_prefix_file_read(e, b.path, FH_STR("other"), &n, &err), FH_ERR_FORMAT);
    fh_engine_free(e);
    other.kv_type = FH_DTYPE_F16;
    e = tiny_engine(b.t, &other);
    CHECK_STATUS(fh_prefix_file_read(e, b.path, FH_STR("key"), &n, &err), FH_ERR_FORMAT);
    fh_engine_free(e);
    other = exact;
    other.page = 32;
    e = tiny_engine(b.t, &other);
    CHECK_STATUS(fh_prefix_file_read(e, b.path, FH_STR("key"), &n, &err), FH_ERR_FORMAT);
    CHECK_U64(n, 0);
    fh_engine_free(e);
    tiny_free(b.t);
}

/* ---- damage ---- */

static fh_status read_changed(const bench *b, fh_buf *data, bool sign) {
    char digest[FH_SHA256_HEX];
    fh_err err = {0};
    fh_writer *w;
    uint64_t n;
    if (sign) {
        CHECK_OK(fh_sha256_of((fh_bytes){data->ptr, data->len - 64}, digest, &err), err);
        memcpy(data->ptr + data->len - 64, digest, 64);
    }
    CHECK_OK(fh_writer_open(&w, b->path, &err), err);
    CHECK_OK(fh_writer_add(w, data->ptr, data->len, &err), err);
    CHECK_OK(fh_writer_commit(w, &err), err);
    fh_engine *e = tiny_engine(b->t, &exact);
    fh_status s = fh_prefix_file_read(e, b->path, FH_STR("key"), &n, &err);
    CHECK_U64(fh_engine_get_usage(e).page_bytes_live, 0);
    fh_engine_free(e);
    return s;
}

static void load(const bench *b, fh_buf *out) {
    fh_err err = {0};
    fh_buf_init(out, (size_t)16 << 20);
    CHECK_OK(fh_file_read(b->path, out, &err), err);
}

TEST(prefix_file, a_wrong_bit_or_a_missing_end_is_damage) {
    bench b;
    fh_buf all;
    open_bench(&b, "FS");
    (void)keep(&b, UINT64_MAX);
    load(&b, &all);
    size_t whole = all.len;
    for (size_t at = 0; at < whole; at += whole / 40 + (at < 400 ? 0 : 1)) {
        all.ptr[at] ^= 4;
        CHECK_STATUS(read_changed(&b, &all, false), FH_ERR_CORRUPT);
        all.ptr[at] ^= 4;
    }
    for (size_t len = 0; len < whole; len += whole / 20 + 1) {
        all.len = len;
        CHECK_STATUS(read_changed(&b, &all, false), FH_ERR_CORRUPT);
    }
    fh_buf_release(&all);
    tiny_free(b.t);
}

/* Somebody who can write the file can make its digest fit, and still gets no further than the structure lets him. */
TEST(prefix_file, what_is_signed_is_checked_all_the_same) {
    static const struct {
        size_t at;
        uint32_t value;
    } change[] = {{0, 0},                   /* magic */
                  {8, 2},                   /* version */
                  {12, 17},                 /* page */
                  {16, 0},                  /* fewer records */
                  {16, 1000},               /* more */
                  {16, UINT32_MAX},         /* far too many */
                  {20, 1},                  /* must be 0 */
                  {HEAD, 0},                /* a root whose parent is itself */
                  {HEAD + 4, 1},            /* a root with pages */
                  {HEAD + 8 + 8, 1},        /* a root with adapters */
                  {HEAD + 72, 1},           /* a parent that is the record itself */
                  {HEAD + 72, 77},          /* a parent behind it */
                  {HEAD + 76, 2},           /* a page of a group that is not there */
                  {HEAD + 76, 1u << 9},     /* nor can be */
                  {HEAD + 80, TINY_VOCAB}}; /* a token that is not */
    bench b;
    fh_buf all;
    open_bench(&b, "F");
    (void)keep(&b, UINT64_MAX);
    load(&b, &all);
    CHECK_STATUS(read_changed(&b, &all, true), FH_OK);
    for (size_t i = 0; i < FH_COUNT(change); i++) {
        uint8_t was[4];
        memcpy(was, all.ptr + change[i].at, 4);
        memcpy(all.ptr + change[i].at, &change[i].value, 4);
        fh_status s = read_changed(&b, &all, true);
        if (s != FH_ERR_CORRUPT && s != FH_ERR_FORMAT)
            fh_test_fail(__FILE__, __LINE__, "change %zu is taken: %s", i, fh_status_text(s));
        memcpy(all.ptr + change[i].at, was, 4);
    }
    fh_buf_release(&all);
    tiny_free(b.t);
}

TEST(prefix_file, memory) {
    bench b;
    fh_err err = {0};
    uint64_t n;
    open_bench(&b, "FR");
    (void)keep(&b, UINT64_MAX);
    for (int phase = 0; phase < 2; phase++) {
        fh_engine *e = tiny_engine(b.t, &exact);
        if (phase) (void)run(&b, e, 165, 1);
        bool done = false;
        for (uint64_t k = 1; !done && k < 500; k++) {
            fh_fault_arm(FH_FAULT_ALLOC, k, false);
            fh_status s = phase ? fh_prefix_file_write(e, b.path, FH_STR("key"), UINT64_MAX, NULL, NULL, &n, &err)
                                : fh_prefix_file_read(e, b.path, FH_STR("key"), &n, &err);
            done = fh_fault_calls(FH_FAULT_ALLOC) < k;
            fh_fault_disarm();
            CHECK(s == FH_OK || s == FH_ERR_MEMORY);
            CHECK(!done || s == FH_OK);
        }
        CHECK(done);
        CHECK_U64(run(&b, e, N, 1), 160);
        fh_engine_free(e);
    }
    tiny_free(b.t);
}
