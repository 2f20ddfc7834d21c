/* tests/unit/test_safetensors.c - reading, writing, indexes of shards.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/json.h"
#include "base/num.h"
#include "format/safetensors.h"
#include "st_maker.h"
#include "test.h"

#define LIMIT (64u << 20)

static fh_st *open_ok(fh_bytes file) {
    fh_err err = {0};
    fh_st *s = NULL;
    CHECK_OK(fh_st_open(&s, file, &err), err);
    return s;
}

static const char small[] = "{\"__metadata__\":{\"format\":\"pt\",\"caf\\u00e9\":\"a\\nb\"},"
                            "\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
                            "\"a\":{\"data_offsets\":[0,4],\"shape\":[],\"dtype\":\"F32\"},"
                            "\"none\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[16,16]},"
                            "\"q\\\"\\u0000\":{\"dtype\":\"F4\",\"shape\":[1,4],\"data_offsets\":[16,18]}}  ";

TEST(safetensors, reads_all) {
    fh_buf b;
    fh_str key, value;
    fh_buf_init(&b, LIMIT);
    fh_st *s = open_ok(make_st(&b, small, 18));
    CHECK_U64(fh_st_n_tensor(s), 4);
    const fh_tensor *t = fh_st_get_tensor(s, 0);
    CHECK_STR(t->name, "b");
    CHECK(t->dtype == FH_DTYPE_F16);
    CHECK(t->shape.n_dim == 2 && t->shape.dim[0] == 2 && t->shape.dim[1] == 3);
    CHECK_U64(t->data.len, 12);
    CHECK_U64(t->data.ptr[0], 4);
    CHECK_U64(t->file_offset, fh_st_data_offset(s) + 4);
    CHECK(fh_st_get_tensor(s, 1)->shape.n_dim == 0);
    CHECK_U64(fh_st_get_tensor(s, 2)->data.len, 0);
    CHECK(fh_str_eq(fh_st_get_tensor(s, 3)->name, (fh_str){"q\"\0", 3}));
    CHECK_U64(fh_st_n_meta(s), 2);
    fh_st_get_meta(s, 1, &key, &value);
    CHECK_STR(key, "caf\xc3\xa9");
    CHECK_STR(value, "a\nb");
    for (size_t i = 0; i < 4; i++) CHECK(fh_st_find_tensor(s, fh_st_get_tensor(s, i)->name) == fh_st_get_tensor(s, i));
    CHECK(!fh_st_find_tensor(s, FH_STR("c")));
    CHECK(!fh_st_find_tensor(s, FH_STR("")));
    fh_st_close(s);
    s = open_ok(make_st(&b, "{}", 0));
    CHECK_U64(fh_st_n_tensor(s), 0);
    CHECK(!fh_st_find_tensor(s, FH_STR("a")));
    fh_st_close(s);
    fh_buf_release(&b);
}

/* ---- writing ---- */
static void write_to(fh_buf *out, const fh_st_build *b, fh_st_source *source, void *ctx) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("out.safetensors"), &err), err);
    CHECK_OK(fh_st_write(b, path, source, ctx, &err), err);
    fh_buf_clear(out);
    CHECK_OK(fh_file_read(path, out, &err), err);
}

/* Everything that a file holds, in its order, into a builder. */
static fh_st_build *copy_of(const fh_st *s) {
    fh_err err = {0};
    fh_st_build *b = NULL;
    CHECK_OK(fh_st_build_new(&b, &err), err);
    for (size_t i = 0; i < fh_st_n_meta(s); i++) {
        fh_str key, value;
        fh_st_get_meta(s, i, &key, &value);
        CHECK_OK(fh_st_build_add_meta(b, key, value, &err), err);
    }
    for (size_t i = 0; i < fh_st_n_tensor(s); i++)
        CHECK_OK(fh_st_build_add_tensor(b, fh_st_get_tensor(s, i), &err), err);
    return b;
}

static void check_same(const fh_st *x, const fh_st *y) {
    CHECK_U64(fh_st_n_tensor(x), fh_st_n_tensor(y));
    CHECK_U64(fh_st_n_meta(x), fh_st_n_meta(y));
    for (size_t i = 0; i < fh_st_n_tensor(x); i++) {
        const fh_tensor *a = fh_st_get_tensor(x, i), *b = fh_st_get_tensor(y, i);
        CHECK(fh_str_eq(a->name, b->name) && a->dtype == b->dtype && fh_shape_eq(&a->shape, &b->shape));
        CHECK(a->data.len == b->data.len && (a->data.len == 0 || memcmp(a->data.ptr, b->data.ptr, a->data.len) == 0));
    }
    for (size_t i = 0; i < fh_st_n_meta(x); i++) {
        fh_str k, v, k2, v2;
        fh_st_get_meta(x, i, &k, &v);
        fh_st_get_meta(y, i, &k2, &v2);
        CHECK(fh_str_eq(k, k2) && fh_str_eq(v, v2));
    }
}

/* Any file: values survive, and what this writer wrote comes out again byte for byte. */
static void round_trip(fh_bytes file) {
    fh_buf once, twice;
    fh_buf_init(&once, LIMIT);
    fh_buf_init(&twice, LIMIT);
    fh_st *s = open_ok(file);
    fh_st_build *b = copy_of(s);
    write_to(&once, b, NULL, NULL);
    fh_st *t = open_ok((fh_bytes){once.ptr, once.len});
    check_same(s, t);
    CHECK_U64(fh_st_data_offset(t) % 8, 0);
    fh_st_build *c = copy_of(t);
    write_to(&twice, c, NULL, NULL);
    CHECK(once.len == twice.len && memcmp(once.ptr, twice.ptr, once.len) == 0);
    fh_st_build_free(b);
    fh_st_build_free(c);
    fh_st_close(s);
    fh_st_close(t);
    fh_buf_release(&once);
    fh_buf_release(&twice);
}

TEST(safetensors, round_trip_small) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    round_trip(make_st(&b, "{}", 0));
    round_trip(make_st(&b, "{\"w\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3));
    fh_buf_release(&b);
}

/* Data lies in the order of the header after writing, whatever it was before. */
TEST(safetensors, round_trip_reorders_data) {
    fh_buf b, out;
    fh_buf_init(&b, LIMIT);
    fh_buf_init(&out, LIMIT);
    fh_st *s = open_ok(make_st(&b, small, 18));
    fh_st_build *build = copy_of(s);
    write_to(&out, build, NULL, NULL);
    fh_st *t = open_ok((fh_bytes){out.ptr, out.len});
    check_same(s, t);
    CHECK_U64(fh_st_get_tensor(t, 0)->file_offset, fh_st_data_offset(t));
    fh_st_build_free(build);
    fh_st_close(s);
    fh_st_close(t);
    fh_buf_release(&b);
    fh_buf_release(&out);
}

/* Files that the Python library wrote: every value survives; headers come out as it writes them. */
static void round_trip_file(const char *folder, const char *name) {
    char path[FH_PATH_MAX];
    fh_buf file, out;
    fh_err err = {0};
    fh_buf_init(&file, LIMIT);
    fh_buf_init(&out, LIMIT);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK_OK(fh_file_read(path, &file, &err), err);
    fh_bytes bytes = {file.ptr, file.len};
    round_trip(bytes);
    fh_st *s = open_ok(bytes);
    fh_st_build *b = copy_of(s);
    CHECK_OK(fh_st_build_sort(b, &err), err); /* the reference writer's own order: nothing moves */
    write_to(&out, b, NULL, NULL);
    CHECK(out.len == file.len && memcmp(out.ptr, file.ptr, out.len) == 0);
    fh_st_build_free(b);
    fh_st_close(s);
    fh_buf_release(&file);
    fh_buf_release(&out);
}

TEST(safetensors, round_trip_of_reference_files) {
    static const char *const name[] = {"checkpoints/fp8-block-edges/model.safetensors",
                                       "checkpoints/gpt-oss-mxfp4/model.safetensors",
                                       "checkpoints/gptq-4bit-actorder/model.safetensors"};
    for (size_t i = 0; i < FH_COUNT(name); i++) round_trip_file(fh_test_golden(), name[i]);
}

TEST_GOLDEN(safetensors, round_trip_of_all_reference_files) {
    static const char *const name[] = {
        "checkpoints/deepseek-v4-fp8-fp4/model.safetensors", "checkpoints/awq-4bit/model.safetensors",
        "checkpoints/nvfp4-modelopt/model.safetensors", "train/dora-llama2/adapter-end/adapter_model.safetensors",
        "train/full-pythia/weights-end.safetensors"};
    for (size_t i = 0; i < FH_COUNT(name); i++) round_trip_file(fh_test_shared(), name[i]);
}

static fh_tensor tensor(const char *name, fh_dtype dtype, uint64_t n, const uint8_t *data) {
    fh_tensor t = {.name = fh_str_of(name), .dtype = dtype, .shape = {1, {n}}};
    uint64_t bytes = 0;
    CHECK(fh_dtype_bytes(dtype, n, &bytes));
    t.data = (fh_bytes){data, (size_t)bytes};
    return t;
}

TEST(safetensors, build_sorts_as_the_reference) {
    static const uint8_t zero[64];
    static const struct {
        const char *name;
        fh_dtype dtype;
    } in[] = {{"z8", FH_DTYPE_U8},   {"b32", FH_DTYPE_F32}, {"i64", FH_DTYPE_I64},    {"a16", FH_DTYPE_F16},
              {"a32", FH_DTYPE_F32}, {"bf", FH_DTYPE_BF16}, {"f8", FH_DTYPE_F8_E4M3}, {"i32", FH_DTYPE_I32}};
    static const char *const want[] = {"i64", "a32", "b32", "i32", "bf", "a16", "f8", "z8"};
    fh_buf out;
    fh_err err = {0};
    fh_st_build *b = NULL;
    fh_buf_init(&out, LIMIT);
    CHECK_OK(fh_st_build_new(&b, &err), err);
    for (size_t i = 0; i < FH_COUNT(in); i++) {
        fh_tensor t = tensor(in[i].name, in[i].dtype, 2, zero);
        CHECK_OK(fh_st_build_add_tensor(b, &t, &err), err);
    }
    CHECK_OK(fh_st_build_sort(b, &err), err);
    write_to(&out, b, NULL, NULL);
    fh_st *s = open_ok((fh_bytes){out.ptr, out.len});
    for (size_t i = 0; i < FH_COUNT(want); i++) CHECK_STR(fh_st_get_tensor(s, i)->name, want[i]);
    fh_st_close(s);
    fh_st_build_free(b);
    fh_buf_release(&out);
}

static fh_status stream(void *ctx, size_t i, const fh_tensor *t, fh_writer *w, fh_err *err) {
    size_t n = *(size_t *)ctx;
    (void)t;
    for (size_t k = 0; k < n; k++) {
        uint8_t c = (uint8_t)(i * 16 + k);
        FH_TRY(fh_writer_add(w, &c, 1, err));
    }
    return FH_OK;
}

TEST(safetensors, writes_from_a_source) {
    fh_buf out;
    fh_err err = {0};
    fh_st_build *b = NULL;
    size_t n = 4;
    char path[FH_PATH_MAX];
    fh_buf_init(&out, LIMIT);
    CHECK_OK(fh_st_build_new(&b, &err), err);
    for (size_t i = 0; i < 2; i++) {
        fh_tensor t = tensor(i ? "b" : "a", FH_DTYPE_U8, 4, NULL);
        t.data = (fh_bytes){NULL, 0};
        CHECK_OK(fh_st_build_add_tensor(b, &t, &err), err);
    }
    write_to(&out, b, stream, &n);
    fh_st *s = open_ok((fh_bytes){out.ptr, out.len});
    CHECK_U64(fh_st_get_tensor(s, 1)->data.ptr[3], 19);
    fh_st_close(s);
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("short"), &err), err);
    n = 3; /* a source that writes less than its tensor: no file */
    CHECK_STATUS(fh_st_write(b, path, stream, &n, &err), FH_ERR_CORRUPT);
    CHECK(fh_file_get_kind(path) == FH_FILE_NONE);
    CHECK_STATUS(fh_st_write(b, path, NULL, NULL, &err), FH_ERR_USAGE);
    CHECK(fh_file_get_kind(path) == FH_FILE_NONE);
    fh_st_build_free(b);
    fh_buf_release(&out);
}

TEST(safetensors, build_refuses) {
    static const uint8_t data[64];
    fh_err err = {0};
    fh_st_build *b = NULL;
    char path[FH_PATH_MAX];
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("twice"), &err), err);
    CHECK_OK(fh_st_build_new(&b, &err), err);
    fh_tensor t = tensor("a", FH_DTYPE_F32, 2, data);
    CHECK_OK(fh_st_build_add_tensor(b, &t, &err), err);
    fh_tensor bad = t;
    bad.name = (fh_str){"\xff", 1};
    CHECK_STATUS(fh_st_build_add_tensor(b, &bad, &err), FH_ERR_FORMAT);
    bad = t;
    bad.name = FH_STR("__metadata__");
    CHECK_STATUS(fh_st_build_add_tensor(b, &bad, &err), FH_ERR_FORMAT);
    bad = t;
    bad.data.len = 7;
    CHECK_STATUS(fh_st_build_add_tensor(b, &bad, &err), FH_ERR_FORMAT);
    bad = tensor("q", FH_DTYPE_Q4_0, 32, data);
    CHECK_STATUS(fh_st_build_add_tensor(b, &bad, &err), FH_ERR_UNSUPPORTED);
    CHECK_STATUS(fh_st_build_add_meta(b, FH_STR("k"), (fh_str){"\xc0", 1}, &err), FH_ERR_FORMAT);
    CHECK_OK(fh_st_build_add_tensor(b, &t, &err), err);
    CHECK_STATUS(fh_st_write(b, path, NULL, NULL, &err), FH_ERR_EXISTS);
    CHECK(fh_file_get_kind(path) == FH_FILE_NONE);
    fh_st_build_free(b);
    CHECK_OK(fh_st_build_new(&b, &err), err);
    CHECK_OK(fh_st_build_add_meta(b, FH_STR("k"), FH_STR("1"), &err), err);
    CHECK_OK(fh_st_build_add_meta(b, FH_STR("k"), FH_STR("2"), &err), err);
    CHECK_STATUS(fh_st_write(b, path, NULL, NULL, &err), FH_ERR_EXISTS);
    fh_st_build_free(b);
}

TEST(safetensors, many_tensors_out_of_order) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    enum { N = 3000 };
    fh_buf_add_u64le(&b, 0);
    fh_buf_add_byte(&b, '{');
    for (unsigned i = 0; i < N; i++) { /* names and places in two different scrambled orders */
        unsigned name = i * 1009 % N, place = i * 2003 % N;
        fh_buf_printf(&b, "%s\"t%u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%u,%u]}", i ? "," : "", name,
                      place, place + 1);
    }
    fh_buf_add_byte(&b, '}');
    uint64_t n = b.len - 8;
    memcpy(b.ptr, &n, 8);
    for (unsigned i = 0; i < N; i++) fh_buf_add_byte(&b, (uint8_t)(i % 251));
    fh_st *s = open_ok((fh_bytes){b.ptr, b.len});
    CHECK_U64(fh_st_n_tensor(s), N);
    for (unsigned i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%u", i * 1009 % N);
        const fh_tensor *t = fh_st_find_tensor(s, fh_str_of(name));
        CHECK(t == fh_st_get_tensor(s, i));
        CHECK_U64(t->data.ptr[0], i * 2003 % N % 251);
    }
    fh_st_close(s);
    fh_buf_release(&b);
}

/* ---- indexes ---- */
static const char index_text[] =
    "{\"metadata\":{\"total_size\":12,\"x\":[1,{\"weight_map\":2}]},"
    "\"weight_map\":{\"c\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\",\"b\\u00e9\":\"m-1.safetensors\"}}";

TEST(safetensors, index) {
    fh_err err = {0};
    fh_st_index *x = NULL;
    size_t shard = 9;
    CHECK_OK(fh_st_index_parse(&x, fh_str_of(index_text), &err), err);
    CHECK_U64(fh_st_index_n_tensor(x), 3);
    CHECK_U64(fh_st_index_n_shard(x), 2);
    CHECK_STR(fh_st_index_get_shard(x, 0), "m-1.safetensors");
    CHECK_STR(fh_st_index_get_shard(x, 1), "m-2.safetensors");
    CHECK(fh_st_index_find(x, FH_STR("c"), &shard) && shard == 1);
    CHECK(fh_st_index_find(x, FH_STR("b\xc3\xa9"), &shard) && shard == 0);
    CHECK(!fh_st_index_find(x, FH_STR("d"), &shard));

    fh_tensor t[4] = {{.name = FH_STR("a"), .part = 0},
                      {.name = FH_STR("b\xc3\xa9"), .part = 0},
                      {.name = FH_STR("c"), .part = 1},
                      {.name = FH_STR("extra"), .part = 1}};
    const fh_tensor *all[] = {&t[2], &t[0], &t[1], &t[3]};
    CHECK_OK(fh_st_index_check(x, all, 3, &err), err);
    CHECK_OK(fh_st_index_check(x, all, 4, &err), err);               /* the index may leave a tensor out */
    CHECK_STATUS(fh_st_index_check(x, all, 2, &err), FH_ERR_FORMAT); /* b is missing */
    CHECK(strstr(err.message, "'b\xc3\xa9'") && strstr(err.message, "m-1"));
    t[0].part = 1;
    CHECK_STATUS(fh_st_index_check(x, all, 4, &err), FH_ERR_FORMAT); /* a is elsewhere */
    CHECK(strstr(err.message, "'a'") && strstr(err.message, "m-2"));
    t[0].part = 0;
    t[3].name = FH_STR("a"); /* a is in both */
    CHECK_STATUS(fh_st_index_check(x, all, 4, &err), FH_ERR_FORMAT);
    fh_st_index_free(x);
}

TEST(safetensors, index_refuses) {
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"weight_map\":[]}",
                                      "{\"weight_map\":{\"a\":1}}",
                                      "{\"weight_map\":{\"a\":\"../m\"}}",
                                      "{\"weight_map\":{\"a\":\"/m\"}}",
                                      "{\"weight_map\":{\"a\":\"x/m\"}}",
                                      "{\"weight_map\":{\"a\":\"..\"}}",
                                      "{\"weight_map\":{\"a\":\"\"}}",
                                      "{\"weight_map\":{\"a\":\"m\\u0000\"}}",
                                      "{\"weight_map\":{\"a\":\"m\",\"a\":\"n\"}}",
                                      "{\"weight_map\":{\"a\":\"m\"},\"weight_map\":{}}",
                                      "{\"weight_map\":{\"a\":\"m\"}} x",
                                      "{\"weight_map\":{\"a\":\"m\"}",
                                      "{\"weight_map\":{\"a\":null}}"};
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        fh_err err = {0};
        fh_st_index *x = NULL;
        fh_status st = fh_st_index_parse(&x, fh_str_of(bad[i]), &err);
        if (st != FH_ERR_FORMAT || x || !err.message[0])
            fh_test_fail(__FILE__, __LINE__, "index %s gives %s", bad[i], fh_status_name(st));
    }
}

TEST(safetensors, index_survives_lack_of_memory) {
    for (uint64_t n = 1;; n++) {
        fh_err err = {0};
        fh_st_index *x = NULL;
        uint64_t blocks = fh_mem_get_stats().live_blocks;
        fh_fault_arm(FH_FAULT_ALLOC, n, false);
        fh_status st = fh_st_index_parse(&x, fh_str_of(index_text), &err);
        bool hit = fh_fault_calls(FH_FAULT_ALLOC) >= n;
        fh_fault_disarm();
        fh_st_index_free(x);
        CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
        CHECK(st == (hit ? FH_ERR_MEMORY : FH_OK));
        if (!hit) break;
    }
}

TEST(safetensors, writing_survives_faults) {
    static const fh_fault_kind kind[] = {FH_FAULT_ALLOC, FH_FAULT_WRITE, FH_FAULT_FSYNC, FH_FAULT_RENAME,
                                         FH_FAULT_OPEN};
    fh_buf b;
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_buf_init(&b, LIMIT);
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("f"), &err), err);
    fh_st *s = open_ok(make_st(&b, small, 18));
    fh_st_build *build = copy_of(s);
    for (size_t k = 0; k < FH_COUNT(kind); k++)
        for (uint64_t n = 1;; n++) {
            uint64_t blocks = fh_mem_get_stats().live_blocks;
            fh_fault_arm(kind[k], n, false);
            fh_status st = fh_st_write(build, path, NULL, NULL, &err);
            bool hit = fh_fault_calls(kind[k]) >= n;
            fh_fault_disarm();
            CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
            CHECK(hit ? st != FH_OK : st == FH_OK);
            if (!hit) break;
        }
    fh_st_build_free(build);
    fh_st_close(s);
    fh_buf_release(&b);
}
