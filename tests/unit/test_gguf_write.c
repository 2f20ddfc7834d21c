/* tests/unit/test_gguf_write.c - writing GGUF: bytes, round trips, refusals, faults.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "format/gguf.h"
#include "gguf_maker.h"
#include "test.h"

#define LIMIT (64u << 20)

static const char *path_of(char out[FH_PATH_MAX], const char *name) {
    fh_err err = {0};
    CHECK_OK(fh_path_join(out, fh_test_tmp(), fh_str_of(name), &err), err);
    return out;
}

static fh_gguf_build *new_build(void) {
    fh_gguf_build *b = NULL;
    fh_err err = {0};
    CHECK_OK(fh_gguf_build_new(&b, &err), err);
    return b;
}

static void read_back(fh_buf *out, const char *path) {
    fh_err err = {0};
    fh_buf_clear(out);
    CHECK_OK(fh_file_read(path, out, &err), err);
}

static fh_tensor tensor_of(const char *name, fh_dtype dtype, uint64_t rows, uint64_t cols, fh_bytes data) {
    fh_tensor t = {.name = fh_str_of(name), .dtype = dtype, .shape = {2, {rows, cols}}, .data = data};
    return t;
}

/* The expected file is put together by hand, byte by byte. */
TEST(gguf_write, bytes) {
    static const uint8_t data[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const fh_str words[2] = {{"ab", 2}, {"", 0}};
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_buf want, got;
    float f = 0.5f;
    fh_buf_init(&want, LIMIT);
    fh_buf_init(&got, LIMIT);
    fh_gguf_build *b = new_build();
    CHECK_OK(fh_gguf_build_add_str(b, "general.architecture", FH_STR("llama"), &err), err);
    fh_tensor t = tensor_of("w", FH_DTYPE_I8, 3, 4, (fh_bytes){data, 12});
    CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
    CHECK_OK(fh_gguf_build_add_u32(b, "x.u32", 7, &err), err);
    CHECK_OK(fh_gguf_build_add_u64(b, "x.u64", UINT64_MAX, &err), err);
    CHECK_OK(fh_gguf_build_add_f32(b, "x.f32", f, &err), err);
    CHECK_OK(fh_gguf_build_add_bool(b, "x.bool", true, &err), err);
    CHECK_OK(fh_gguf_build_add_strs(b, "x.strs", words, 2, &err), err);
    CHECK_OK(fh_gguf_build_add_strs(b, "x.none", NULL, 0, &err), err);
    t = tensor_of("v", FH_DTYPE_F32, 1, 1, (fh_bytes){data, 4});
    CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
    CHECK_OK(fh_gguf_write(b, path_of(path, "a.gguf"), NULL, NULL, &err), err);
    fh_gguf_build_free(b);

    make_start(&want, 2, 7);
    make_key(&want, "general.architecture", 8);
    make_str(&want, "llama");
    make_key(&want, "x.u32", 4);
    fh_buf_add_u32le(&want, 7);
    make_key(&want, "x.u64", 10);
    fh_buf_add_u64le(&want, UINT64_MAX);
    make_key(&want, "x.f32", 6);
    fh_buf_add(&want, &f, 4);
    make_key(&want, "x.bool", 7);
    fh_buf_add_byte(&want, 1);
    make_array(&want, "x.strs", 8, 2);
    make_str(&want, "ab");
    make_str(&want, "");
    make_array(&want, "x.none", 8, 0);
    make_tensor(&want, "w", 2, (const uint64_t[]){4, 3}, 24, 0);
    make_tensor(&want, "v", 2, (const uint64_t[]){1, 1}, 0, 32);
    make_padding(&want, 32);
    fh_buf_add(&want, data, 12);
    make_padding(&want, 32);
    fh_buf_add(&want, data, 4);
    make_padding(&want, 32); /* the last one is padded too */
    read_back(&got, path);
    CHECK_U64(got.len, want.len);
    CHECK(memcmp(got.ptr, want.ptr, want.len) == 0);
    fh_buf_release(&want);
    fh_buf_release(&got);
}

TEST(gguf_write, alignment) {
    static const uint8_t data[100] = {9};
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_map *map = NULL;
    fh_gguf *g = NULL;
    for (int late = 0; late < 2; late++) { /* before the tensors or after them: the same offsets */
        fh_gguf_build *b = new_build();
        fh_tensor t = tensor_of("a", FH_DTYPE_I8, 1, 100, (fh_bytes){data, 100});
        if (!late) CHECK_OK(fh_gguf_build_add_u32(b, "general.alignment", 1024, &err), err);
        CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
        t.name = FH_STR("b");
        CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
        if (late) CHECK_OK(fh_gguf_build_add_u32(b, "general.alignment", 1024, &err), err);
        CHECK_OK(fh_gguf_write(b, path_of(path, "a.gguf"), NULL, NULL, &err), err);
        fh_gguf_build_free(b);
        CHECK_OK(fh_map_open(&map, path, &err), err);
        CHECK_OK(fh_gguf_open(&g, fh_map_bytes(map), &err), err);
        CHECK_U64(fh_map_bytes(map).len, 3 * 1024);
        CHECK_U64(fh_gguf_data_offset(g), 1024);
        CHECK_U64(fh_gguf_get_tensor(g, 1)->file_offset, 2048);
        fh_gguf_close(g);
        fh_map_close(map);
    }
}

TEST(gguf_write, refuses_keys) {
    static const uint8_t raw[16] = {2};
    static const fh_gguf_kv bad[] = {
        {{"", 0}, FH_GGUF_U8, FH_GGUF_U8, 1, {raw, 1}, 0},
        {{"a\0b", 3}, FH_GGUF_U8, FH_GGUF_U8, 1, {raw, 1}, 0},
        {{"\xff", 1}, FH_GGUF_U8, FH_GGUF_U8, 1, {raw, 1}, 0},
        {{"k", 1}, FH_GGUF_U32, FH_GGUF_U8, 1, {raw, 3}, 0},
        {{"k", 1}, FH_GGUF_U32, FH_GGUF_U8, 1, {raw, 5}, 0},
        {{"k", 1}, FH_GGUF_BOOL, FH_GGUF_U8, 1, {raw, 1}, 0},
        {{"k", 1}, FH_GGUF_TYPE_COUNT, FH_GGUF_U8, 1, {raw, 1}, 0},
        {{"k", 1}, FH_GGUF_ARRAY, FH_GGUF_TYPE_COUNT, 1, {raw, 1}, 0},
        {{"k", 1}, FH_GGUF_ARRAY, FH_GGUF_U16, 3, {raw, 5}, 0},
        {{"k", 1}, FH_GGUF_ARRAY, FH_GGUF_U16, 3, {raw, 7}, 0},
        {{"k", 1}, FH_GGUF_ARRAY, FH_GGUF_STR, 1, {raw, 9}, 0},
        {{"k", 1}, FH_GGUF_ARRAY, FH_GGUF_STR, UINT64_MAX, {raw, 10}, 0},
        {{"k", 1}, FH_GGUF_ARRAY, FH_GGUF_U64, (UINT64_C(1) << 61) + 1, {raw, 8}, 0},
        {{"general.alignment", 17}, FH_GGUF_U64, FH_GGUF_U8, 1, {raw, 8}, 0},
        {{"general.alignment", 17}, FH_GGUF_U32, FH_GGUF_U8, 1, {raw, 4}, 0},
    };
    fh_gguf_build *b = new_build();
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        fh_err err = {0};
        if (fh_gguf_build_add_kv(b, &bad[i], &err) == FH_OK) fh_test_fail(__FILE__, __LINE__, "row %zu is taken", i);
        CHECK(err.status != FH_OK && err.message[0] && err.offset == FH_NO_OFFSET);
    }
    fh_err err = {0};
    CHECK_OK(fh_gguf_build_add_u32(b, "k", 1, &err), err);
    CHECK_STATUS(fh_gguf_build_add_u32(b, "k", 1, &err), FH_ERR_EXISTS);
    CHECK_STATUS(fh_gguf_build_add_str(b, "k", FH_STR("v"), &err), FH_ERR_EXISTS);
    CHECK_OK(fh_gguf_build_add_u32(b, "general.alignment", 64, &err), err);
    CHECK_STATUS(fh_gguf_build_add_u32(b, "general.alignment", 128, &err), FH_ERR_EXISTS);
    fh_gguf_build_free(b);
    fh_gguf_build_free(NULL);
}

TEST(gguf_write, refuses_tensors) {
    static const uint8_t raw[64];
    static const struct {
        fh_tensor t;
        fh_status status;
    } bad[] = {
        {{.name = {"", 0}, .dtype = FH_DTYPE_I8, .shape = {1, {4}}}, FH_ERR_FORMAT},
        {{.name = {"\xc3(", 2}, .dtype = FH_DTYPE_I8, .shape = {1, {4}}}, FH_ERR_FORMAT},
        {{.name = {"t", 1}, .dtype = FH_DTYPE_I8, .shape = {5, {1, 1, 1, 1, 1}}}, FH_ERR_FORMAT},
        {{.name = {"t", 1}, .dtype = FH_DTYPE_I8, .shape = {2, {4, 0}}}, FH_ERR_FORMAT},
        {{.name = {"t", 1}, .dtype = FH_DTYPE_Q4_K, .shape = {2, {2, 128}}}, FH_ERR_FORMAT},
        {{.name = {"t", 1}, .dtype = FH_DTYPE_F32, .shape = {2, {UINT64_C(1) << 62, 4}}}, FH_ERR_FORMAT},
        {{.name = {"t", 1}, .dtype = FH_DTYPE_F8_E4M3, .shape = {1, {4}}}, FH_ERR_UNSUPPORTED},
        {{.name = {"t", 1}, .dtype = FH_DTYPE_BOOL, .shape = {1, {4}}}, FH_ERR_UNSUPPORTED},
        {{.name = {"t", 1}, .dtype = FH_DTYPE_F32, .shape = {1, {4}}, .data = {raw, 15}}, FH_ERR_USAGE},
        {{.name = {"t", 1}, .dtype = FH_DTYPE_F32, .shape = {1, {4}}, .data = {raw, 17}}, FH_ERR_USAGE},
    };
    fh_gguf_build *b = new_build();
    fh_err err = {0};
    for (size_t i = 0; i < FH_COUNT(bad); i++)
        CHECK_STATUS(fh_gguf_build_add_tensor(b, &bad[i].t, &err), bad[i].status);
    fh_tensor t = tensor_of("t", FH_DTYPE_F32, 2, 2, (fh_bytes){raw, 16});
    CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
    CHECK_STATUS(fh_gguf_build_add_tensor(b, &t, &err), FH_ERR_EXISTS);
    fh_gguf_build_free(b);
}

/* More names than the first table holds; each is still found to stand already. */
TEST(gguf_write, many) {
    char path[FH_PATH_MAX], name[32];
    fh_err err = {0};
    fh_map *map = NULL;
    fh_gguf *g = NULL;
    uint64_t u;
    fh_gguf_build *b = new_build();
    static const uint8_t data[4] = {1, 2, 3, 4};
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "n%u", i);
        fh_tensor t = {.name = fh_str_of(name), .dtype = FH_DTYPE_F32, .data = {data, 4}};
        CHECK_OK(fh_gguf_build_add_u32(b, name, i, &err), err);
        CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
    }
    for (uint32_t i = 0; i < 3000; i += 7) {
        snprintf(name, sizeof name, "n%u", i);
        CHECK_STATUS(fh_gguf_build_add_u32(b, name, i, &err), FH_ERR_EXISTS);
    }
    CHECK_OK(fh_gguf_write(b, path_of(path, "many.gguf"), NULL, NULL, &err), err);
    fh_gguf_build_free(b);
    CHECK_OK(fh_map_open(&map, path, &err), err);
    CHECK_OK(fh_gguf_open(&g, fh_map_bytes(map), &err), err);
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "n%u", i);
        CHECK(fh_gguf_to_u64(fh_gguf_find(g, name), &u) && u == i);
        CHECK(fh_gguf_find_tensor(g, fh_str_of(name)) == fh_gguf_get_tensor(g, i));
    }
    fh_gguf_close(g);
    fh_map_close(map);
}

/* ---- sources ---- */

typedef struct feed {
    size_t bytes, calls;
    fh_status fail;
} feed;

static fh_status give(void *ctx, size_t i, const fh_tensor *t, fh_writer *w, fh_err *err) {
    feed *f = ctx;
    f->calls++;
    if (f->fail != FH_OK) return fh_fail(err, f->fail, "tensor '%.*s': the source broke", FH_STR_ARG(t->name));
    for (size_t k = 0; k < f->bytes; k++) {
        uint8_t v = (uint8_t)(i * 16 + k);
        FH_TRY(fh_writer_add(w, &v, 1, err));
    }
    return FH_OK;
}

static size_t files_in_tmp(void) {
    fh_arena arena;
    fh_names names;
    fh_err err = {0};
    fh_arena_init(&arena, LIMIT);
    CHECK_OK(fh_dir_list(fh_test_tmp(), &arena, &names, &err), err);
    size_t n = names.n;
    fh_arena_release(&arena);
    return n;
}

TEST(gguf_write, sources) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_buf got;
    fh_gguf *g = NULL;
    fh_buf_init(&got, LIMIT);
    path_of(path, "s.gguf");
    fh_gguf_build *b = new_build();
    fh_tensor t = tensor_of("a", FH_DTYPE_I8, 1, 8, (fh_bytes){NULL, 0});
    CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
    t.name = FH_STR("b");
    CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
    static const size_t wrong[] = {0, 7, 9, 32, 100000};
    for (size_t i = 0; i < FH_COUNT(wrong); i++) {
        feed f = {.bytes = wrong[i]};
        CHECK_STATUS(fh_gguf_write(b, path, give, &f, &err), FH_ERR_USAGE);
        CHECK_U64(f.calls, 1);
        CHECK(strstr(err.message, "tensor 'a'") != NULL);
    }
    feed broken = {.fail = FH_ERR_CANCELLED};
    CHECK_STATUS(fh_gguf_write(b, path, give, &broken, &err), FH_ERR_CANCELLED);
    CHECK_STATUS(fh_gguf_write(b, path, NULL, NULL, &err), FH_ERR_USAGE); /* no data and no source */
    CHECK_U64(files_in_tmp(), 0);
    feed right = {.bytes = 8};
    CHECK_OK(fh_gguf_write(b, path, give, &right, &err), err);
    CHECK_U64(right.calls, 2);
    fh_gguf_build_free(b);
    read_back(&got, path);
    CHECK_OK(fh_gguf_open(&g, make_bytes(&got), &err), err);
    CHECK_U64(fh_gguf_get_tensor(g, 1)->data.ptr[3], 19);
    fh_gguf_close(g);
    fh_buf_release(&got);
}

TEST(gguf_write, larger_than_64_bits) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_gguf_build *b = new_build();
    feed never = {.bytes = 0};
    fh_tensor t = tensor_of("a", FH_DTYPE_I8, 2, UINT64_C(1) << 62, (fh_bytes){NULL, 0});
    CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
    t.name = FH_STR("b");
    CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
    CHECK_STATUS(fh_gguf_write(b, path_of(path, "big.gguf"), give, &never, &err), FH_ERR_LIMIT);
    CHECK(never.calls == 0 && files_in_tmp() == 0);
    fh_gguf_build_free(b);
}

/* ---- round trips ---- */

static void rebuild(const fh_gguf *g, const char *path) {
    fh_err err = {0};
    fh_gguf_build *b = new_build();
    for (size_t i = 0; i < fh_gguf_n_kv(g); i++) CHECK_OK(fh_gguf_build_add_kv(b, fh_gguf_get_kv(g, i), &err), err);
    for (size_t i = 0; i < fh_gguf_n_tensor(g); i++)
        CHECK_OK(fh_gguf_build_add_tensor(b, fh_gguf_get_tensor(g, i), &err), err);
    CHECK_OK(fh_gguf_write(b, path, NULL, NULL, &err), err);
    fh_gguf_build_free(b);
}

/* Version 2, holes, odd order, no final padding: all values survive; written again, no byte
 * changes. */
TEST(gguf_write, round_trip_of_a_foreign_file) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_buf first, second, third;
    fh_gguf *g = NULL, *h = NULL;
    fh_buf_init(&first, LIMIT);
    fh_buf_init(&second, LIMIT);
    fh_buf_init(&third, LIMIT);
    make_start(&first, 2, 2);
    first.ptr[4] = 2;
    make_array(&first, "nested", 9, 1);
    fh_buf_add_u32le(&first, 8);
    fh_buf_add_u64le(&first, 1);
    make_str(&first, "deep");
    make_key(&first, "text", 8);
    fh_buf_add_u64le(&first, 3);
    fh_buf_add(&first, "\xff\0x", 3);
    make_tensor1(&first, "late", 5, 24, 96);
    make_tensor1(&first, "early", 5, 24, 0);
    make_padding(&first, 32);
    fh_buf_add_z(&first, "early");
    make_padding(&first, 32);
    fh_buf_fill(&first, 0xee, 64);
    fh_buf_add_z(&first, "later");
    CHECK_OK(fh_gguf_open(&g, make_bytes(&first), &err), err);
    path_of(path, "r.gguf");
    rebuild(g, path);
    read_back(&second, path);
    CHECK_OK(fh_gguf_open(&h, make_bytes(&second), &err), err);
    CHECK_U64(fh_gguf_version(h), 3);
    CHECK_U64(fh_gguf_n_kv(h), 2);
    for (size_t i = 0; i < 2; i++) {
        const fh_gguf_kv *a = fh_gguf_get_kv(g, i), *b = fh_gguf_get_kv(h, i);
        const fh_tensor *s = fh_gguf_get_tensor(g, i), *t = fh_gguf_get_tensor(h, i);
        CHECK(fh_str_eq(a->key, b->key) && a->type == b->type && a->elem == b->elem && a->n == b->n);
        CHECK(fh_str_eq(fh_str_of_bytes(a->payload), fh_str_of_bytes(b->payload)));
        CHECK(fh_str_eq(s->name, t->name) && s->dtype == t->dtype && fh_shape_eq(&s->shape, &t->shape));
        CHECK(fh_str_eq(fh_str_of_bytes(s->data), fh_str_of_bytes(t->data)));
    }
    rebuild(h, path_of(path, "again.gguf"));
    read_back(&third, path);
    CHECK(fh_str_eq(fh_buf_str(&second), fh_buf_str(&third)));
    fh_gguf_close(g);
    fh_gguf_close(h);
    fh_buf_release(&first);
    fh_buf_release(&second);
    fh_buf_release(&third);
}

/* Files that the peer's converter and quantizer wrote come out byte for byte. */
static size_t round_trip_folder(const char *folder) {
    char dir[FH_PATH_MAX], path[FH_PATH_MAX], copy[FH_PATH_MAX];
    fh_err err = {0};
    fh_arena arena;
    fh_names names;
    fh_buf got;
    size_t n = 0;
    fh_arena_init(&arena, LIMIT);
    fh_buf_init(&got, LIMIT);
    path_of(copy, "copy.gguf");
    CHECK_OK(fh_path_join(dir, fh_test_shared(), fh_str_of(folder), &err), err);
    CHECK_OK(fh_dir_list(dir, &arena, &names, &err), err);
    for (size_t i = 0; i < names.n; i++) {
        fh_map *map = NULL;
        fh_gguf *g = NULL;
        if (!fh_str_ends(names.item[i], ".gguf")) continue;
        CHECK_OK(fh_path_join(path, dir, names.item[i], &err), err);
        CHECK_OK(fh_map_open(&map, path, &err), err);
        CHECK_OK(fh_gguf_open(&g, fh_map_bytes(map), &err), err);
        rebuild(g, copy);
        read_back(&got, copy);
        if (!fh_str_eq(fh_buf_str(&got), fh_str_of_bytes(fh_map_bytes(map))))
            fh_test_fail(__FILE__, __LINE__, "%s comes out different", path);
        fh_gguf_close(g);
        fh_map_close(map);
        n++;
    }
    fh_buf_release(&got);
    fh_arena_release(&arena);
    return n;
}

TEST_GOLDEN(gguf_write, round_trip_of_published_files) {
    CHECK(round_trip_folder("gguf") >= 80);
    CHECK(round_trip_folder("types") >= 30);
}

/* ---- faults ---- */

static fh_status build_and_write(const char *path, fh_err *err) {
    static const uint8_t data[200000] = {1, 2, 3};
    static const fh_str words[3] = {{"one", 3}, {"two", 3}, {"three", 5}};
    fh_gguf_build *b = NULL;
    fh_tensor t = tensor_of("t", FH_DTYPE_I8, 2, 100000, (fh_bytes){data, 200000});
    fh_status s = fh_gguf_build_new(&b, err);
    if (s == FH_OK) s = fh_gguf_build_add_str(b, "general.architecture", FH_STR("llama"), err);
    if (s == FH_OK) s = fh_gguf_build_add_strs(b, "words", words, 3, err);
    for (uint32_t i = 0; i < 20 && s == FH_OK; i++) { /* makes the tables grow */
        char name[16];
        snprintf(name, sizeof name, "k%u", i);
        s = fh_gguf_build_add_u32(b, name, i, err);
    }
    if (s == FH_OK) s = fh_gguf_build_add_tensor(b, &t, err);
    if (s == FH_OK) s = fh_gguf_write(b, path, NULL, NULL, err);
    fh_gguf_build_free(b);
    return s;
}

static void put_old(const char *path) {
    fh_writer *w = NULL;
    fh_err err = {0};
    CHECK_OK(fh_writer_open(&w, path, &err), err);
    CHECK_OK(fh_writer_add(w, "old", 3, &err), err);
    CHECK_OK(fh_writer_commit(w, &err), err);
}

/* Fails the n-th call of a kind until none fails any more; gives how many runs failed. */
static size_t run_faults(fh_fault_kind kind, bool forever, const char *path, const fh_buf *whole) {
    fh_buf now;
    size_t failed = 0;
    fh_buf_init(&now, LIMIT);
    for (uint64_t n = 1;; n++) {
        fh_err err = {0};
        put_old(path);
        uint64_t blocks = fh_mem_get_stats().live_blocks;
        fh_fault_arm(kind, n, forever);
        fh_status s = build_and_write(path, &err);
        uint64_t calls = fh_fault_calls(kind);
        fh_fault_disarm();
        CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
        CHECK_U64(files_in_tmp(), 1); /* no temporary is left */
        read_back(&now, path);
        bool is_new = fh_str_eq(fh_buf_str(&now), fh_buf_str(whole));
        if (s == FH_OK) {
            CHECK(calls < n && is_new);
            break;
        }
        CHECK(err.status == s && err.message[0]);
        /* only the folder's own sync comes after the rename; then the new file is there, whole */
        if (!(kind == FH_FAULT_FSYNC && is_new)) CHECK(fh_str_is(fh_buf_str(&now), "old"));
        failed++;
    }
    fh_buf_release(&now);
    return failed;
}

TEST(gguf_write, faults) {
    static const struct {
        fh_fault_kind kind;
        size_t at_least; /* places where it can happen */
    } row[] = {{FH_FAULT_ALLOC, 8}, {FH_FAULT_WRITE, 2}, {FH_FAULT_FSYNC, 1}, {FH_FAULT_RENAME, 1}, {FH_FAULT_OPEN, 1}};
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_buf whole;
    fh_buf_init(&whole, LIMIT);
    path_of(path, "target.gguf");
    CHECK_OK(build_and_write(path, &err), err);
    read_back(&whole, path);
    for (size_t i = 0; i < FH_COUNT(row); i++)
        for (int forever = 0; forever < 2; forever++)
            CHECK(run_faults(row[i].kind, forever, path, &whole) >= row[i].at_least);
    fh_buf_release(&whole);
}
