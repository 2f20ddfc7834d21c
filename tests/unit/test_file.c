/* tests/unit/test_file.c - mapping, reading, listing and atomic writing, with faults at every call.
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/num.h"
#include "test.h"

static const char *tmp_path(const char *name) {
    static char path[4][256];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", fh_test_tmp(), name);
    return p;
}

static void put_file(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

static size_t count_files(void) {
    fh_arena a;
    fh_names names;
    fh_err err;
    fh_arena_init(&a, 1 << 20);
    CHECK_OK(fh_dir_list(fh_test_tmp(), &a, &names, &err), err);
    size_t n = names.n;
    fh_arena_release(&a);
    return n;
}

TEST(file, map_reads_and_names_what_is_wrong) {
    fh_map *m;
    fh_err err;
    put_file(tmp_path("a"), "hello", 5);
    put_file(tmp_path("empty"), "", 0);
    CHECK_OK(fh_map_open(&m, tmp_path("a"), &err), err);
    bool same = fh_str_is(fh_str_of_bytes(fh_map_bytes(m)), "hello");
    fh_map_close(m);
    CHECK(same);
    CHECK_OK(fh_map_open(&m, tmp_path("empty"), &err), err);
    size_t len = fh_map_bytes(m).len;
    fh_map_close(m);
    CHECK_U64(len, 0);
    CHECK_STATUS(fh_map_open(&m, tmp_path("none"), &err), FH_ERR_NOT_FOUND);
    CHECK(strstr(err.path, "/none"));
    CHECK_STATUS(fh_map_open(&m, fh_test_tmp(), &err), FH_ERR_UNSUPPORTED);
    CHECK(mkfifo(tmp_path("pipe"), 0600) == 0);
    CHECK_STATUS(fh_map_open(&m, tmp_path("pipe"), &err), FH_ERR_UNSUPPORTED); /* and does not hang */
}

typedef struct reader {
    fh_bytes bytes;
    uint64_t sum;
} reader;
static void *read_all(void *p) {
    reader *r = p;
    for (size_t i = 0; i < r->bytes.len; i += 64) r->sum += ((const volatile uint8_t *)r->bytes.ptr)[i];
    return NULL;
}

/* T15: another program truncates a file that is in use. */
TEST(file, t15_truncated_map_survives) {
    enum { SIZE = 1 << 20 };
    static uint8_t data[SIZE];
    fh_map *m, *other;
    fh_err err;
    memset(data, 1, sizeof data);
    put_file(tmp_path("live"), data, SIZE);
    put_file(tmp_path("other"), data, SIZE);
    CHECK_OK(fh_map_open(&m, tmp_path("live"), &err), err);
    CHECK_OK(fh_map_open(&other, tmp_path("other"), &err), err);
    CHECK_OK(fh_map_check(m, &err), err);
    CHECK(truncate(tmp_path("live"), 8192) == 0);
    reader r[2] = {{fh_map_bytes(m), 0}, {fh_map_bytes(m), 0}}, untouched = {fh_map_bytes(other), 0};
    pthread_t t;
    CHECK(pthread_create(&t, NULL, read_all, &r[0]) == 0);
    read_all(&r[1]);
    pthread_join(t, NULL);
    read_all(&untouched);
    fh_status lost = fh_map_check(m, &err), fine = fh_map_check(other, NULL);
    fh_map_close(m);
    fh_map_close(other);
    CHECK_U64(r[0].sum, 8192 / 64);
    CHECK_U64(r[1].sum, 8192 / 64);
    CHECK_U64(untouched.sum, SIZE / 64);
    CHECK_STATUS(lost, FH_ERR_CORRUPT);
    CHECK(strstr(err.path, "/live"));
    CHECK_STATUS(fine, FH_OK);
}

TEST(file, read_is_bounded) {
    fh_buf b;
    fh_err err;
    put_file(tmp_path("a"), "0123456789", 10);
    fh_buf_init(&b, 10);
    CHECK_OK(fh_file_read(tmp_path("a"), &b, &err), err);
    bool same = fh_str_is(fh_buf_str(&b), "0123456789");
    fh_buf_release(&b);
    CHECK(same);
    fh_buf_init(&b, 9);
    fh_status st = fh_file_read(tmp_path("a"), &b, &err);
    fh_buf_release(&b);
    CHECK_STATUS(st, FH_ERR_LIMIT);
    CHECK_STATUS(fh_file_read(tmp_path("none"), &b, &err), FH_ERR_NOT_FOUND);
    CHECK_STATUS(fh_file_read(fh_test_tmp(), &b, &err), FH_ERR_UNSUPPORTED);
    fh_buf_init(&b, 10);
    fh_fault_arm(FH_FAULT_READ, 1, false);
    st = fh_file_read(tmp_path("a"), &b, &err);
    fh_buf_release(&b);
    CHECK_STATUS(st, FH_ERR_IO);
}

TEST(file, paths) {
    char out[FH_PATH_MAX];
    fh_err err;
    CHECK_OK(fh_path_join(out, "/a/", FH_STR("b"), &err), err);
    CHECK_STR(fh_str_of(out), "/a/b");
    CHECK_OK(fh_path_join(out, out, FH_STR("c"), &err), err);
    CHECK_STR(fh_str_of(out), "/a/b/c");
    CHECK_STR(fh_path_base(fh_str_of(out)), "c");
    CHECK(fh_path_is_plain_name(FH_STR("model.safetensors")) && !fh_path_is_plain_name(FH_STR("..")));
    CHECK(!fh_path_is_plain_name(FH_STR("a/b")) && !fh_path_is_plain_name(FH_STR("")));
    CHECK(!fh_path_is_plain_name(FH_STR("a\0b")));
}

static fh_status write_one(const char *path, size_t n, fh_err *err) {
    fh_writer *w;
    uint8_t piece[1000];
    memset(piece, 'x', sizeof piece);
    FH_TRY(fh_writer_open(&w, path, err));
    for (size_t done = 0; done < n; done += sizeof piece) {
        fh_status st = fh_writer_add(w, piece, sizeof piece, err);
        if (st != FH_OK) {
            fh_writer_abort(w);
            return st;
        }
    }
    return fh_writer_commit(w, err);
}

TEST(writer, replaces_whole_or_not_at_all) {
    static const fh_fault_kind kinds[] = {FH_FAULT_ALLOC, FH_FAULT_OPEN, FH_FAULT_WRITE, FH_FAULT_FSYNC,
                                          FH_FAULT_RENAME};
    const char *path = tmp_path("out");
    put_file(path, "old", 3);
    for (size_t k = 0; k < FH_COUNT(kinds); k++) {
        for (uint64_t nth = 1;; nth++) {
            fh_err err;
            uint64_t size;
            fh_fault_arm(kinds[k], nth, nth % 2 == 0);
            fh_status st = write_one(path, 200000, &err);
            bool hit = fh_fault_calls(kinds[k]) >= nth;
            fh_fault_disarm();
            CHECK_OK(fh_file_get_size(path, &size, &err), err);
            CHECK_U64(count_files(), 1); /* no temporary left behind */
            if (!hit) {
                CHECK_STATUS(st, FH_OK);
                CHECK_U64(size, 200000);
                put_file(path, "old", 3);
                break;
            }
            CHECK(st != FH_OK);
            /* the folder's fsync comes after the rename: there the new file is whole */
            CHECK(size == 3 || (size == 200000 && kinds[k] == FH_FAULT_FSYNC && nth > 1));
            put_file(path, "old", 3);
        }
    }
}

/* n bytes that depend on their place. */
static void add_bytes(fh_writer *w, size_t from, size_t n) {
    fh_err err;
    uint8_t b[1000];
    for (size_t i = from; i < from + n;) {
        size_t k = 0;
        for (; k < sizeof b && i < from + n; k++, i++) b[k] = (uint8_t)(i * 7 + i / 251);
        CHECK_OK(fh_writer_add(w, b, k, &err), err);
    }
}

TEST(writer, goes_on_where_it_was) {
    static const char a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const char *path = tmp_path("long");
    const size_t before = count_files();
    fh_writer *w, *other;
    fh_err err;
    fh_buf got;
    CHECK_OK(fh_writer_open_resumable(&w, path, a, &err), err);
    CHECK_STATUS(fh_writer_open_resumable(&other, path, a, &err), FH_ERR_EXISTS);
    add_bytes(w, 0, 100000);
    usleep(300000);
    CHECK_OK(fh_writer_checkpoint(w, &err), err);
    add_bytes(w, 100000, 5000); /* not promised */
    fh_writer_suspend(w);
    CHECK(fh_file_get_kind(path) == FH_FILE_NONE);
    CHECK_OK(fh_writer_open_resumable(&w, path, a, &err), err);
    CHECK_U64(fh_writer_kept(w), 100000);
    fh_writer_skip(w, 90000);
    add_bytes(w, 90000, 40000); /* partly there */
    CHECK_OK(fh_writer_commit(w, &err), err);
    fh_buf_init(&got, 1 << 20);
    CHECK_OK(fh_file_read(path, &got, &err), err);
    CHECK_U64(got.len, 130000);
    for (size_t i = 0; i < got.len; i++)
        if (got.ptr[i] != (uint8_t)(i * 7 + i / 251)) fh_test_fail(__FILE__, __LINE__, "byte %zu", i);
    fh_buf_release(&got);
    CHECK_U64(count_files(), before + 1);
    /* other work under the same name starts over; giving up leaves nothing */
    CHECK_OK(fh_writer_open_resumable(&w, path, a, &err), err);
    add_bytes(w, 0, 1000);
    usleep(300000);
    CHECK_OK(fh_writer_checkpoint(w, &err), err);
    fh_writer_suspend(w);
    CHECK_OK(fh_writer_open_resumable(&w, path, b, &err), err);
    CHECK_U64(fh_writer_kept(w), 0);
    fh_writer_abort(w);
    CHECK_U64(count_files(), before + 1);
}

static fh_status add_up(void *ctx, const void *data, size_t n, fh_err *err) {
    (void)data;
    *(size_t *)ctx += n;
    return *(size_t *)ctx > 100 ? fh_fail(err, FH_ERR_LIMIT, "enough") : FH_OK;
}

TEST(writer, into_a_function) {
    size_t sum = 0;
    fh_writer *w;
    fh_err err;
    CHECK_OK(fh_writer_open_sink(&w, add_up, &sum, &err), err);
    CHECK_OK(fh_writer_add(w, "hello", 5, &err), err);
    CHECK_U64(fh_writer_offset(w), 5);
    CHECK_OK(fh_writer_commit(w, &err), err);
    CHECK_U64(sum, 5);
    CHECK_OK(fh_writer_open_sink(&w, add_up, &sum, &err), err);
    CHECK_STATUS(fh_writer_add(w,
                               tmp_path("a name that is long enough, with the folder in front of it, to be more than "
                                        "the function above wants to have"),
                               120, &err),
                 FH_ERR_LIMIT);
    fh_writer_abort(w);
}
