/* tests/unit/test_gguf.c - reading GGUF: versions, values, tensors, lookup, split names.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"
#include "base/json.h"
#include "format/gguf.h"
#include "gguf_maker.h"
#include "test.h"

#define LIMIT (1u << 20)

static fh_gguf *open_ok(const fh_buf *b) {
    fh_err err = {0};
    fh_gguf *g = NULL;
    CHECK_OK(fh_buf_check(b, &err), err);
    CHECK_OK(fh_gguf_open(&g, make_bytes(b), &err), err);
    return g;
}

/* Refused with this status, at this byte, with these words in the message; *out is untouched. */
static void refused_at(int line, fh_bytes file, fh_status status, uint64_t offset, const char *words) {
    fh_err err = {0};
    fh_gguf *g = NULL;
    fh_status s = fh_gguf_open(&g, file, &err);
    if (s != status || err.status != status || g)
        fh_test_fail(__FILE__, line, "%s instead of %s: %s", fh_status_name(s), fh_status_name(status), err.message);
    if (err.offset != offset)
        fh_test_fail(__FILE__, line, "at byte %llu instead of %llu: %s", (unsigned long long)err.offset,
                     (unsigned long long)offset, err.message);
    if (!strstr(err.message, words)) fh_test_fail(__FILE__, line, "'%s' does not say '%s'", err.message, words);
}
#define REFUSED(b, status, offset, words) refused_at(__LINE__, make_bytes(b), status, offset, words)

TEST(gguf, versions) {
    static const struct {
        uint32_t version;
        fh_status status;
        const char *words;
    } row[] = {
        {0, FH_ERR_UNSUPPORTED, "version 0"},
        {1, FH_ERR_UNSUPPORTED, "version 1"},
        {2, FH_OK, NULL},
        {3, FH_OK, NULL},
        {4, FH_ERR_UNSUPPORTED, "version 4"},
        {UINT32_MAX, FH_ERR_UNSUPPORTED, "version 4294967295"},
        {0x02000000, FH_ERR_UNSUPPORTED, "big-endian"},
        {0x03000000, FH_ERR_UNSUPPORTED, "version 3 the other way round: a big-endian file"},
    };
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (size_t i = 0; i < FH_COUNT(row); i++) {
        make_start(&b, 0, 0);
        memcpy(b.ptr + 4, &row[i].version, 4);
        if (row[i].status == FH_OK) {
            fh_gguf *g = open_ok(&b);
            CHECK_U64(fh_gguf_version(g), row[i].version);
            fh_gguf_close(g);
        } else {
            REFUSED(&b, row[i].status, 4, row[i].words);
        }
    }
    fh_buf_release(&b);
}

TEST(gguf, says_what_it_is_instead) {
    static const struct {
        fh_str bytes;
        const char *words;
    } row[] = {
        {{"", 0}, "it is empty"},
        {{"GGU", 3}, "does not start with 'GGUF'"},
        {{"GGUG\3\0\0\0", 8}, "does not start with 'GGUF'"},
        {{"\10\0\0\0\0\0\0\0{\"a\":1} ", 16}, "safetensors"},
        {{"PK\3\4\0\0\0\0\0\0\0\0", 12}, "ZIP"},
        {{"\x80\x02}q\0(X", 7}, "pickle"},
        {{"version https://git-lfs.github.com/spec/v1\noid sha256:", 54}, "Git LFS"},
        {{"\n <!DOCTYPE HTML>\n<html>", 24}, "HTML"},
        {{"<HTML><head>", 12}, "HTML"},
        {{"<?xml version=\"1.0\"?><Error>", 28}, "XML"},
        {{"{\"error\": \"not found\"}", 22}, "JSON"},
        {{"tjgg\3\0\0\0", 8}, "before GGUF"},
        {{"\377\0\0\0\0\0\0\0{\"a\":1} ", 16}, "does not start with 'GGUF'"},
        {{" \t\r\n", 4}, "does not start with 'GGUF'"},
        {{"\0\0\0\0\0\0\0\0\0\0\0\0", 12}, "zeros"},
        {{"\x1f\x8b\x08\0\0", 5}, "gzip"},
    };
    for (size_t i = 0; i < FH_COUNT(row); i++)
        refused_at(__LINE__, fh_bytes_of(row[i].bytes), FH_ERR_FORMAT, 0, row[i].words);
}

/* One key of each scalar type. */
static void make_scalars(fh_buf *b) {
    float f = 1.5f;
    double d = -2.25;
    make_start(b, 0, 12);
    make_key(b, "k.u8", 0);
    fh_buf_add_byte(b, 200);
    make_key(b, "k.i8", 1);
    fh_buf_add_byte(b, 0x80);
    make_key(b, "k.u16", 2);
    fh_buf_add_u16le(b, 65535);
    make_key(b, "k.i16", 3);
    fh_buf_add_u16le(b, 0x8000);
    make_key(b, "k.u32", 4);
    fh_buf_add_u32le(b, 4000000000u);
    make_key(b, "k.i32", 5);
    fh_buf_add_u32le(b, (uint32_t)-5);
    make_key(b, "k.f32", 6);
    fh_buf_add(b, &f, 4);
    make_key(b, "k.bool", 7);
    fh_buf_add_byte(b, 1);
    make_key(b, "k.str", 8);
    make_str(b, "text");
    make_key(b, "k.u64", 10);
    fh_buf_add_u64le(b, UINT64_MAX);
    make_key(b, "k.i64", 11);
    fh_buf_add_u64le(b, (uint64_t)INT64_MIN);
    make_key(b, "k.f64", 12);
    fh_buf_add(b, &d, 8);
}

TEST(gguf, scalars) {
    fh_buf b;
    uint64_t u;
    int64_t i;
    double d;
    bool t;
    fh_str s;
    fh_buf_init(&b, LIMIT);
    make_scalars(&b);
    fh_gguf *g = open_ok(&b);
    CHECK_U64(fh_gguf_n_kv(g), 12);
    CHECK(fh_gguf_to_u64(fh_gguf_find(g, "k.u8"), &u) && u == 200);
    CHECK(fh_gguf_to_i64(fh_gguf_find(g, "k.i8"), &i) && i == -128);
    CHECK(!fh_gguf_to_u64(fh_gguf_find(g, "k.i8"), &u));
    CHECK(fh_gguf_to_u64(fh_gguf_find(g, "k.u16"), &u) && u == 65535);
    CHECK(fh_gguf_to_i64(fh_gguf_find(g, "k.i16"), &i) && i == -32768);
    CHECK(fh_gguf_to_i64(fh_gguf_find(g, "k.u32"), &i) && i == 4000000000);
    CHECK(fh_gguf_to_i64(fh_gguf_find(g, "k.i32"), &i) && i == -5);
    CHECK(fh_gguf_to_f64(fh_gguf_find(g, "k.i32"), &d) && d == -5);
    CHECK(fh_gguf_to_f64(fh_gguf_find(g, "k.f32"), &d) && d == 1.5);
    CHECK(fh_gguf_to_f64(fh_gguf_find(g, "k.f64"), &d) && d == -2.25);
    CHECK(fh_gguf_to_bool(fh_gguf_find(g, "k.bool"), &t) && t);
    CHECK(fh_gguf_to_str(fh_gguf_find(g, "k.str"), &s));
    CHECK_STR(s, "text");
    CHECK(fh_gguf_to_u64(fh_gguf_find(g, "k.u64"), &u) && u == UINT64_MAX);
    CHECK(!fh_gguf_to_i64(fh_gguf_find(g, "k.u64"), &i));
    CHECK(!fh_gguf_to_f64(fh_gguf_find(g, "k.u64"), &d)); /* an f64 cannot hold it */
    CHECK(fh_gguf_to_i64(fh_gguf_find(g, "k.i64"), &i) && i == INT64_MIN);
    CHECK(!fh_gguf_to_f64(fh_gguf_find(g, "k.i64"), &d));
    CHECK(fh_gguf_find(g, "k.none") == NULL && fh_gguf_find(g, "k.u") == NULL && fh_gguf_find(g, "") == NULL);
    CHECK(!fh_gguf_to_u64(NULL, &u) && !fh_gguf_to_i64(NULL, &i) && !fh_gguf_to_f64(NULL, &d));
    CHECK(!fh_gguf_to_bool(NULL, &t) && !fh_gguf_to_str(NULL, &s) && !fh_gguf_elem_u64(NULL, 0, &u));
    CHECK(fh_gguf_find(g, "k.u8")->offset == 24 + 8 + 4 + 4);
    fh_gguf_close(g);
    fh_buf_release(&b);
}

/* T07: the edges of every integer type arrive whole, one beyond is refused. */
TEST(gguf, t07_integer_edges) {
    static const struct {
        uint32_t type;
        uint64_t bits;
        bool as_u64, as_i64, as_f64;
    } row[] = {
        {0, 0xff, true, true, true},
        {1, 0x7f, true, true, true},
        {1, 0xff, false, true, true},
        {2, 0xffff, true, true, true},
        {3, 0x7fff, true, true, true},
        {3, 0xffff, false, true, true},
        {4, UINT32_MAX, true, true, true},
        {5, INT32_MAX, true, true, true},
        {5, 0x80000000, false, true, true},
        {10, INT64_MAX, true, true, false},
        {10, UINT64_C(1) << 63, true, false, false},
        {11, INT64_MAX, true, true, false},
        {11, UINT64_C(1) << 63, false, true, false},
        {10, UINT64_C(1) << 53, true, true, true},
        {10, (UINT64_C(1) << 53) + 1, true, true, false},
        {11, (uint64_t)-1, false, true, true},
    };
    static const size_t width[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (size_t k = 0; k < FH_COUNT(row); k++) {
        uint64_t u = 77;
        int64_t i = 77;
        double d = 77;
        make_start(&b, 0, 1);
        make_key(&b, "key", row[k].type);
        fh_buf_add(&b, &row[k].bits, width[row[k].type]);
        fh_gguf *g = open_ok(&b);
        const fh_gguf_kv *kv = fh_gguf_get_kv(g, 0);
        CHECK(fh_gguf_to_u64(kv, &u) == row[k].as_u64);
        CHECK(fh_gguf_to_i64(kv, &i) == row[k].as_i64);
        CHECK(fh_gguf_to_f64(kv, &d) == row[k].as_f64);
        CHECK(row[k].as_u64 ? u == row[k].bits : u == 77);
        if (row[k].as_u64 && row[k].as_i64) CHECK((uint64_t)i == u);
        if (!row[k].as_i64) CHECK(i == 77);
        if (row[k].as_f64) CHECK(row[k].as_u64 ? d == (double)u : d == (double)i);
        fh_gguf_close(g);
    }
    fh_buf_release(&b);
}

/* T08: a key of each of the 13 types, asked as each kind: only the right kind answers. */
TEST(gguf, t08_type_confusion) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (int array = 0; array < 2; array++) {
        for (uint32_t type = 0; type <= 12; type++) {
            if (type == 9) continue;
            uint64_t u;
            int64_t i;
            double d;
            bool t;
            fh_str s;
            size_t at = 0;
            make_start(&b, 0, 1);
            if (array) make_array(&b, "key", type, 1);
            else make_key(&b, "key", type);
            if (type == 8) fh_buf_add_u64le(&b, 0);
            else fh_buf_fill(&b, 0, 8); /* enough for each; what is left over is padding */
            fh_gguf *g = open_ok(&b);
            const fh_gguf_kv *kv = fh_gguf_get_kv(g, 0);
            bool integer = type <= 5 || type == 10 || type == 11, real = type == 6 || type == 12;
            CHECK(kv->type == (fh_gguf_type)(array ? 9 : type));
            CHECK(fh_gguf_to_u64(kv, &u) == (!array && integer));
            CHECK(fh_gguf_to_i64(kv, &i) == (!array && integer));
            CHECK(fh_gguf_to_f64(kv, &d) == (!array && (integer || real)));
            CHECK(fh_gguf_to_bool(kv, &t) == (!array && type == 7));
            CHECK(fh_gguf_to_str(kv, &s) == (!array && type == 8));
            CHECK(fh_gguf_elem_u64(kv, 0, &u) == (array && integer));
            CHECK(fh_gguf_elem_i64(kv, 0, &i) == (array && integer));
            CHECK(fh_gguf_elem_f64(kv, 0, &d) == (array && (integer || real)));
            CHECK(fh_gguf_elem_bool(kv, 0, &t) == (array && type == 7));
            CHECK(fh_gguf_next_str(kv, &at, &s) == (array && type == 8));
            CHECK(!fh_gguf_elem_u64(kv, 1, &u) && !fh_gguf_elem_f64(kv, 1, &d) && !fh_gguf_elem_bool(kv, 1, &t));
            fh_gguf_close(g);
        }
    }
    fh_buf_release(&b);
}

TEST(gguf, arrays) {
    fh_buf b;
    uint64_t u;
    int64_t i;
    bool t;
    fh_str s;
    size_t at = 0;
    fh_buf_init(&b, LIMIT);
    make_start(&b, 0, 4);
    make_array(&b, "a.i16", 3, 3);
    for (int k = -1; k <= 1; k++) fh_buf_add_u16le(&b, (uint16_t)k);
    make_array(&b, "a.bool", 7, 2);
    fh_buf_add(&b, "\0\1", 2);
    make_array(&b, "a.str", 8, 3);
    make_str(&b, "one");
    make_str(&b, "");
    fh_buf_add_u64le(&b, 4);
    fh_buf_add(&b, "\xff\0\x80z", 4); /* token bytes need not be UTF-8 */
    make_array(&b, "a.empty", 8, 0);
    fh_gguf *g = open_ok(&b);
    const fh_gguf_kv *kv = fh_gguf_find(g, "a.i16");
    CHECK(kv->n == 3 && kv->elem == FH_GGUF_I16 && kv->payload.len == 6);
    CHECK(fh_gguf_elem_i64(kv, 0, &i) && i == -1);
    CHECK(!fh_gguf_elem_u64(kv, 0, &u));
    CHECK(fh_gguf_elem_u64(kv, 2, &u) && u == 1);
    CHECK(!fh_gguf_elem_u64(kv, 3, &u) && !fh_gguf_elem_u64(kv, UINT64_MAX, &u));
    kv = fh_gguf_find(g, "a.bool");
    CHECK(fh_gguf_elem_bool(kv, 0, &t) && !t);
    CHECK(fh_gguf_elem_bool(kv, 1, &t) && t);
    kv = fh_gguf_find(g, "a.str");
    CHECK(fh_gguf_next_str(kv, &at, &s) && fh_str_is(s, "one"));
    CHECK(fh_gguf_next_str(kv, &at, &s) && s.len == 0);
    CHECK(fh_gguf_next_str(kv, &at, &s) && s.len == 4 && memcmp(s.ptr, "\xff\0\x80z", 4) == 0);
    CHECK(!fh_gguf_next_str(kv, &at, &s));
    at = 0;
    CHECK(!fh_gguf_next_str(fh_gguf_find(g, "a.empty"), &at, &s));
    CHECK(!fh_gguf_next_str(fh_gguf_find(g, "a.bool"), &at, &s));
    fh_gguf_close(g);
    fh_buf_release(&b);
}

/* Values that the caller put together, or a file that changed under us: access stays inside
 * payload. */
TEST(gguf, values_that_lie) {
    static const uint8_t raw[20] = {3, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c', 100};
    fh_gguf_kv kv = {FH_STR("k"), FH_GGUF_ARRAY, FH_GGUF_STR, 9, {raw, sizeof raw}, 0};
    uint64_t u;
    fh_str s;
    size_t at = 0;
    CHECK(fh_gguf_next_str(&kv, &at, &s) && fh_str_is(s, "abc"));
    CHECK(!fh_gguf_next_str(&kv, &at, &s)); /* 100 bytes of which one is there */
    CHECK_U64(at, 11);
    kv.payload.len = 15;
    CHECK(!fh_gguf_next_str(&kv, &at, &s));
    kv.elem = FH_GGUF_U32;
    CHECK(fh_gguf_elem_u64(&kv, 2, &u) && !fh_gguf_elem_u64(&kv, 3, &u));
    kv.elem = (fh_gguf_type)77;
    CHECK(!fh_gguf_elem_u64(&kv, 0, &u));
    kv.type = (fh_gguf_type)77;
    CHECK(!fh_gguf_to_u64(&kv, &u) && !fh_gguf_to_str(&kv, &s));
    kv = (fh_gguf_kv){FH_STR("k"), FH_GGUF_U64, FH_GGUF_U8, 1, {raw, 7}, 0};
    CHECK(!fh_gguf_to_u64(&kv, &u) && !fh_gguf_next_str(NULL, &at, &s));
}

static void make_nested(fh_buf *b, unsigned depth) {
    make_start(b, 0, 1);
    make_array(b, "nest", depth > 1 ? 9 : 0, 1);
    for (unsigned k = 2; k <= depth; k++) {
        fh_buf_add_u32le(b, k < depth ? 9 : 0);
        fh_buf_add_u64le(b, 1);
    }
    fh_buf_add_byte(b, 42);
}

TEST(gguf, arrays_in_arrays) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (unsigned depth = 1; depth <= 4; depth++) {
        make_nested(&b, depth);
        fh_gguf *g = open_ok(&b);
        const fh_gguf_kv *kv = fh_gguf_find(g, "nest");
        CHECK_U64(kv->payload.len, 12 * (depth - 1) + 1);
        CHECK_U64(kv->payload.ptr[kv->payload.len - 1], 42);
        fh_gguf_close(g);
    }
    make_nested(&b, 5);
    REFUSED(&b, FH_ERR_LIMIT, 24 + 12 + 4 + 12 + 2 * 12 + 4, "nested deeper than 4");
    make_nested(&b, 4000);
    REFUSED(&b, FH_ERR_LIMIT, 24 + 12 + 4 + 12 + 2 * 12 + 4, "nested deeper than 4");
    fh_buf_release(&b);
}

TEST(gguf, alignment) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (uint32_t a = 8; a <= 65536; a *= 2) {
        make_start(&b, 2, 1);
        make_key(&b, "general.alignment", 4);
        fh_buf_add_u32le(&b, a);
        make_tensor1(&b, "x", 3, 24, 0);
        make_tensor1(&b, "y", 2, 24, a);
        make_padding(&b, a);
        size_t data = b.len;
        fh_buf_add(&b, "xxx", 3);
        make_padding(&b, a);
        fh_buf_add(&b, "yy", 2); /* the last tensor need not be padded */
        fh_gguf *g = open_ok(&b);
        CHECK_U64(fh_gguf_alignment(g), a);
        CHECK_U64(fh_gguf_data_offset(g), data);
        const fh_tensor *y = fh_gguf_find_tensor(g, FH_STR("y"));
        CHECK_U64(y->file_offset, data + a);
        CHECK(y->data.len == 2 && memcmp(y->data.ptr, "yy", 2) == 0);
        CHECK(fh_gguf_find_tensor(g, FH_STR("z")) == NULL);
        fh_gguf_close(g);
    }
    fh_buf_release(&b);
}

TEST(gguf, shapes) {
    static const uint64_t ne[4] = {2, 3, 4, 5};
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    make_start(&b, 3, 0);
    make_tensor(&b, "four", 4, ne, 24, 0);
    make_tensor(&b, "none", 0, ne, 0, 128);
    make_tensor1(&b, "blocks", 64, 8, 192); /* Q8_0, two blocks: a hole of 28 bytes before it */
    make_padding(&b, 32);
    size_t data = b.len;
    fh_buf_fill(&b, 7, 192 + 68 + 100); /* and 100 bytes behind it */
    fh_gguf *g = open_ok(&b);
    const fh_tensor *t = fh_gguf_get_tensor(g, 0);
    CHECK(t->shape.n_dim == 4 && t->shape.dim[0] == 5 && t->shape.dim[1] == 4);
    CHECK(t->shape.dim[2] == 3 && t->shape.dim[3] == 2 && t->data.len == 120);
    t = fh_gguf_get_tensor(g, 1);
    CHECK(t->shape.n_dim == 0 && t->data.len == 4 && t->dtype == FH_DTYPE_F32);
    t = fh_gguf_get_tensor(g, 2);
    CHECK(t->dtype == FH_DTYPE_Q8_0 && t->data.len == 68 && t->file_offset == data + 192);
    CHECK_U64(fh_gguf_n_tensor(g), 3);
    fh_gguf_close(g);
    fh_buf_release(&b);
}

TEST(gguf, no_tensors) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    make_scalars(&b);
    CHECK(b.len % 32 != 0);
    fh_gguf *g = open_ok(&b); /* a vocabulary: some writers leave the padding out */
    CHECK_U64(fh_gguf_n_tensor(g), 0);
    CHECK_U64(fh_gguf_data_offset(g), b.len);
    CHECK(fh_gguf_find_tensor(g, FH_STR("x")) == NULL);
    fh_gguf_close(g);
    make_padding(&b, 32);
    g = open_ok(&b);
    CHECK_U64(fh_gguf_data_offset(g), b.len);
    fh_gguf_close(g);
    fh_buf_release(&b);
}

TEST(gguf, type_names) {
    static const char *const name[13] = {"u8",   "i8",  "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "str", "array", "u64", "i64", "f64"};
    for (int t = 0; t < 13; t++) CHECK(strcmp(fh_gguf_type_name((fh_gguf_type)t), name[t]) == 0);
    CHECK(strcmp(fh_gguf_type_name((fh_gguf_type)13), "unknown") == 0);
}

TEST(gguf, split_names) {
    static const struct {
        const char *path;
        uint32_t no, count; /* 0: no part of a split set */
        const char *prefix;
    } row[] = {
        {"dir/m-00001-of-00003.gguf", 1, 3, "dir/m"},
        {"a-00003-of-00003.gguf", 3, 3, "a"},
        {"a-00002-of-00003-00001-of-99999.gguf", 1, 99999, "a-00002-of-00003"},
        {"a-00001-of-00001.gguf", 1, 1, "a"},
        {"-00001-of-00003.gguf", 0, 0, NULL},
        {"a-00000-of-00003.gguf", 0, 0, NULL},
        {"a-00004-of-00003.gguf", 0, 0, NULL},
        {"a-00001-of-00000.gguf", 0, 0, NULL},
        {"a-0001-of-00003.gguf", 0, 0, NULL},
        {"a-000001-of-00003.gguf", 0, 0, NULL},
        {"a-00001-of-000003.gguf", 0, 0, NULL},
        {"a-+0001-of-00003.gguf", 0, 0, NULL},
        {"a-00001-of- 0003.gguf", 0, 0, NULL},
        {"a_00001-of-00003.gguf", 0, 0, NULL},
        {"a-00001_of_00003.gguf", 0, 0, NULL},
        {"a-00001-of-00003.GGUF", 0, 0, NULL},
        {"a-00001-of-00003.gguf ", 0, 0, NULL},
        {"a.gguf", 0, 0, NULL},
        {"", 0, 0, NULL},
    };
    char out[FH_PATH_MAX];
    fh_err err = {0};
    for (size_t i = 0; i < FH_COUNT(row); i++) {
        fh_gguf_split s;
        bool ok = fh_gguf_split_parse(fh_str_of(row[i].path), &s);
        if (ok != (row[i].no != 0)) fh_test_fail(__FILE__, __LINE__, "'%s' is taken wrong", row[i].path);
        if (!ok) continue;
        CHECK_U64(s.no, row[i].no);
        CHECK_U64(s.count, row[i].count);
        CHECK_STR(s.prefix, row[i].prefix);
        CHECK_OK(fh_gguf_split_path(out, &s, s.no, &err), err);
        CHECK(strcmp(out, row[i].path) == 0);
    }
    fh_gguf_split s = {.no = 1, .count = 12345, .prefix = FH_STR("p")};
    CHECK_OK(fh_gguf_split_path(out, &s, 12345, &err), err);
    CHECK(strcmp(out, "p-12345-of-12345.gguf") == 0);
    CHECK_STATUS(fh_gguf_split_path(out, &s, 0, &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_gguf_split_path(out, &s, 12346, &err), FH_ERR_USAGE);
    s.count = 100000;
    CHECK_STATUS(fh_gguf_split_path(out, &s, 1, &err), FH_ERR_USAGE);
    static char longest[FH_PATH_MAX];
    memset(longest, 'x', sizeof longest);
    s = (fh_gguf_split){.no = 1, .count = 2, .prefix = {longest, FH_PATH_MAX - 21}};
    CHECK_OK(fh_gguf_split_path(out, &s, 2, &err), err);
    CHECK_U64(strlen(out), FH_PATH_MAX - 1);
    s.prefix.len++;
    CHECK_STATUS(fh_gguf_split_path(out, &s, 2, &err), FH_ERR_LIMIT);
    s.prefix = (fh_str){"a\0b", 3};
    CHECK_STATUS(fh_gguf_split_path(out, &s, 2, &err), FH_ERR_LIMIT);
}

/* The peer's digest of a file: sha256 over name and raw bytes of each tensor, in file order. */
static void check_digest(const char *path, const fh_json_node *want) {
    fh_err err = {0};
    fh_map *map = NULL;
    fh_gguf *g = NULL;
    fh_sha256 *h = NULL;
    char hex[FH_SHA256_HEX];
    fh_str digest;
    uint64_t bytes, of_type[FH_DTYPE_COUNT] = {0};
    CHECK_OK(fh_map_open(&map, path, &err), err);
    CHECK_OK(fh_gguf_open(&g, fh_map_bytes(map), &err), err);
    CHECK(fh_json_to_u64(fh_json_get(want, "bytes"), &bytes) && bytes == fh_map_bytes(map).len);
    CHECK_OK(fh_sha256_new(&h, &err), err);
    for (size_t i = 0; i < fh_gguf_n_tensor(g); i++) {
        const fh_tensor *t = fh_gguf_get_tensor(g, i);
        CHECK_OK(fh_sha256_add(h, t->name.ptr, t->name.len, &err), err);
        CHECK_OK(fh_sha256_add(h, t->data.ptr, t->data.len, &err), err);
        of_type[t->dtype]++;
    }
    CHECK_OK(fh_sha256_finish(h, hex, &err), err);
    CHECK(fh_json_to_str(fh_json_get(want, "tensor_sha256"), &digest));
    CHECK_STR(digest, hex);
    const fh_json_node *types = fh_json_get(want, "types");
    for (const fh_json_node *n = fh_json_first(types); n; n = fh_json_after(types, n)) {
        fh_dtype t;
        uint64_t count;
        CHECK(fh_dtype_from_name(n->key, &t) && fh_json_to_u64(n, &count));
        CHECK_U64(of_type[t], count);
    }
    fh_sha256_free(h);
    fh_gguf_close(g);
    fh_map_close(map);
}

TEST_GOLDEN(gguf, published_types) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_buf text;
    fh_json *doc = NULL;
    fh_buf_init(&text, 64u << 20);
    CHECK_OK(fh_path_join(path, fh_test_shared(), FH_STR("types/quant.json"), &err), err);
    CHECK_OK(fh_file_read(path, &text, &err), err);
    CHECK_OK(fh_json_parse(&doc, fh_buf_str(&text), NULL, &err), err);
    const fh_json_node *files = fh_json_get(fh_json_root(doc), "files");
    size_t n = 0;
    for (const fh_json_node *f = fh_json_first(files); f; f = fh_json_after(files, f), n++) {
        char name[80];
        snprintf(name, sizeof name, "types/%.*s.gguf", FH_STR_ARG(f->key));
        CHECK_OK(fh_path_join(path, fh_test_shared(), fh_str_of(name), &err), err);
        check_digest(path, f);
    }
    CHECK(n >= 30);
    fh_json_free(doc);
    fh_buf_release(&text);
}
