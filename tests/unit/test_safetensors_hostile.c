/* tests/unit/test_safetensors_hostile.c - safetensors files made to harm: named attacks, thousands of mutants.
 * SPDX-License-Identifier: Apache-2.0
 * T11, T12 and T14 are the cases of the security sheet, as far as they concern this parser. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/num.h"
#include "format/safetensors.h"
#include "malformed/st_cases.h"
#include "st_maker.h"
#include "test.h"

#define LIMIT (256u << 20)
#define FREE_BYTES (16u << 20)

/* Sanitizers and coverage slow the program down; the bars are those of the plain build. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define SLOW 10
#else
#define SLOW 1
#endif

/* offset: FH_NO_OFFSET - 1 = any, but one must be given. */
#define ANYWHERE (FH_NO_OFFSET - 1)

static void refused_at(int line, fh_bytes file, uint64_t offset, const char *words) {
    fh_err err = {0};
    fh_st *s = NULL;
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_mem_reset_peak();
    fh_status st = fh_st_open(&s, file, &err);
    uint64_t peak = fh_mem_get_stats().peak_bytes - live;
    if (st != FH_ERR_FORMAT || err.status != st || s)
        fh_test_fail(__FILE__, line, "%s instead of ERR_FORMAT: %s", fh_status_name(st), err.message);
    if (offset == ANYWHERE ? err.offset > file.len : err.offset != offset)
        fh_test_fail(__FILE__, line, "at byte %llu instead of %llu: %s", (unsigned long long)err.offset,
                     (unsigned long long)offset, err.message);
    if (!strstr(err.message, words)) fh_test_fail(__FILE__, line, "'%s' does not say '%s'", err.message, words);
    if (peak > 2 * file.len + FREE_BYTES)
        fh_test_fail(__FILE__, line, "%llu bytes of memory", (unsigned long long)peak);
}
#define REFUSED(header, data, offset, words) refused_at(__LINE__, make_st(&b, header, data), offset, words)
#define REFUSED_RAW(text, offset, words) \
    refused_at(__LINE__, (fh_bytes){(const uint8_t *)(text), sizeof(text) - 1}, offset, words)

TEST(safetensors_hostile, other_files) {
    REFUSED_RAW("", 0, "ends before");
    REFUSED_RAW("abc", 3, "ends before");
    REFUSED_RAW("GGUF\3\0\0\0\0\0\0\0", 0, "GGUF");
    REFUSED_RAW("PK\3\4\0\0\0\0\0\0\0\0", 0, "PyTorch pickle");
    REFUSED_RAW("\x80\2}q\0(X\0\0\0\0", 0, "pickle");
    REFUSED_RAW("version https://git-lfs.github.com/spec/v1\noid", 0, "Git LFS pointer");
    REFUSED_RAW("<!DOCTYPE html><html>", 0, "web page");
    REFUSED_RAW("<HTML><body>", 0, "web page");
    REFUSED_RAW("{\"weight_map\":{}}", 0, "JSON text");
    REFUSED_RAW("\211HDF\r\n\032\n1234", 0, "HDF5");
    REFUSED_RAW("\2\0\0\0\0\0\0\0[]", 8, "does not start with '{'");
    REFUSED_RAW("\3\0\0\0\0\0\0\0 {}", 8, "does not start with '{'");
    REFUSED_RAW("\0\0\0\0\0\0\0\0{}", 0, "length is 0");
    REFUSED_RAW("\3\0\0\0\0\0\0\0{}", 0, "only 2 bytes follow");
    REFUSED_RAW("\1\341\365\5\0\0\0\0{}", 0, "more than the limit");
}

#define U8(name, shape, range) "\"" name "\":{\"dtype\":\"U8\",\"shape\":" shape ",\"data_offsets\":" range "}"

TEST(safetensors_hostile, t11_offsets_against_the_file) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    REFUSED("{" U8("a", "[4]", "[0,5]") "}", 4, 8 + 46, "leave the 4 bytes");
    REFUSED("{" U8("a", "[4]", "[1,5]") "}", 4, 8 + 46, "leave the 4 bytes");
    REFUSED("{" U8("a", "[4]", "[4,0]") "}", 4, 8 + 46, "leave the 4 bytes");
    REFUSED("{" U8("a", "[4]", "[0,18446744073709551615]") "}", 4, 8 + 46, "leave the 4 bytes");
    REFUSED("{" U8("a", "[4]", "[18446744073709551615,3]") "}", 4, 8 + 46, "leave the 4 bytes");
    REFUSED("{" U8("a", "[4]", "[0,18446744073709551616]") "}", 4, 8 + 49, "no size");
    REFUSED("{" U8("a", "[4]", "[-4,0]") "}", 4, 8 + 47, "no size");
    REFUSED("{" U8("a", "[4]", "[0,4]") "}", 3, 8 + 46, "leave the 3 bytes");
    REFUSED("{" U8("a", "[4]", "[0,4]") "}", 5, ANYWHERE, "1 bytes behind the last tensor");
    REFUSED("{}", 1, ANYWHERE, "1 bytes behind the last tensor");
    REFUSED("{" U8("a", "[4]", "[0]") "}", 4, 8 + 48, "no size");
    REFUSED("{" U8("a", "[4]", "[0,4,4]") "}", 4, ANYWHERE, "data_offsets");
    fh_buf_release(&b);
}

TEST(safetensors_hostile, t12_memory_of_the_directory) {
    /* The most tensors that a header of 1 MiB can name, then 40 MiB: refused or read, within the promise. */
    static const size_t sizes[] = {1u << 20, 40u << 20};
    for (size_t k = 0; k < FH_COUNT(sizes); k++) {
        fh_buf b;
        fh_err err = {0};
        fh_st *s = NULL;
        fh_buf_init(&b, LIMIT);
        fh_buf_add_u64le(&b, 0);
        for (unsigned i = 0; b.len < sizes[k]; i++)
            fh_buf_printf(&b, "%s\"%x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "{", i);
        fh_buf_add_byte(&b, '}');
        CHECK_OK(fh_buf_check(&b, &err), err);
        uint64_t n = b.len - 8, live = fh_mem_get_stats().live_bytes;
        memcpy(b.ptr, &n, 8);
        fh_mem_reset_peak();
        fh_status st = fh_st_open(&s, (fh_bytes){b.ptr, b.len}, &err);
        CHECK(st == (k ? FH_ERR_LIMIT : FH_OK));
        CHECK(fh_mem_get_stats().peak_bytes - live <= 2 * b.len + FREE_BYTES);
        fh_st_close(s);
        fh_buf_release(&b);
    }
}

/* Escapes cost a decoding buffer and a copy. */
TEST(safetensors_hostile, t12_memory_of_text) {
    fh_buf b;
    fh_err err = {0};
    fh_st *s = NULL;
    fh_buf_init(&b, LIMIT);
    fh_buf_add_u64le(&b, 0);
    fh_buf_add_z(&b, "{\"__metadata__\":{\"k\":\"\\n");
    fh_buf_fill(&b, 'x', 20u << 20);
    fh_buf_add_z(&b, "\"}}");
    uint64_t n = b.len - 8, live = fh_mem_get_stats().live_bytes;
    CHECK_OK(fh_buf_check(&b, &err), err);
    memcpy(b.ptr, &n, 8);
    fh_mem_reset_peak();
    CHECK_OK(fh_st_open(&s, (fh_bytes){b.ptr, b.len}, &err), err);
    CHECK(fh_mem_get_stats().peak_bytes - live <= 2 * b.len + FREE_BYTES);
    fh_st_close(s);
    fh_buf_release(&b);
}

TEST(safetensors_hostile, t14_duplicate_key) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    REFUSED("{" U8("a", "[1]", "[0,1]") "," U8("a", "[1]", "[0,1]") "}", 1, 8 + 53, "'a' stands twice");
    REFUSED("{" U8("a", "[1]", "[0,1]") "," U8("a", "[1]", "[1,2]") "}", 2, 8 + 53, "'a' stands twice");
    REFUSED("{" U8("a", "[1]", "[0,1]") "," U8("b", "[1]", "[1,2]") "," U8("\\u0061", "[0]", "[2,2]") "}", 2, ANYWHERE,
            "'a' stands twice");
    REFUSED("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, 8 + 1, "'a' stands twice");
    REFUSED("{\"__metadata__\":{},\"__metadata__\":{}}", 0, 8 + 19, "stands twice");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, 8 + 19,
            "'dtype' twice");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ANYWHERE,
            "'shape' twice");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"data_offsets\":[0,1]}}", 1, ANYWHERE,
            "'data_offsets' twice");
    fh_buf_release(&b);
}

TEST(safetensors_hostile, t14_holes_and_overlaps) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    REFUSED("{" U8("a", "[1]", "[0,1]") "," U8("b", "[1]", "[2,3]") "}", 3, 8 + 53, "leaving a hole");
    REFUSED("{" U8("a", "[1]", "[1,2]") "}", 2, 8 + 1, "leaving a hole");
    REFUSED("{" U8("a", "[2]", "[0,2]") "," U8("b", "[2]", "[1,3]") "}", 3, 8 + 53, "inside another");
    REFUSED("{" U8("a", "[2]", "[0,2]") "," U8("b", "[2]", "[0,2]") "}", 2, ANYWHERE, "inside another");
    REFUSED("{" U8("a", "[4]", "[0,4]") "," U8("b", "[1]", "[1,2]") "}", 4, ANYWHERE, "inside another");
    fh_buf_release(&b);
}

TEST(safetensors_hostile, t14_zero_size_aliasing) {
    fh_buf b;
    fh_err err = {0};
    fh_st *s = NULL;
    fh_buf_init(&b, LIMIT);
    /* Tensors without bytes may stand at any seam, in any number, but not within another or beyond the end. */
    CHECK_OK(fh_st_open(&s,
                        make_st(&b,
                                "{" U8("x", "[0]", "[0,0]") "," U8("y", "[0,9]", "[0,0]") "," U8(
                                    "a", "[2]", "[0,2]") "," U8("z", "[0]", "[2,2]") "}",
                                2),
                        &err),
             err);
    fh_st_close(s);
    REFUSED("{" U8("x", "[0]", "[1,1]") "," U8("a", "[2]", "[0,2]") "}", 2, ANYWHERE, "inside another");
    REFUSED("{" U8("x", "[0]", "[3,3]") "," U8("a", "[2]", "[0,2]") "}", 2, ANYWHERE, "leave the 2 bytes");
    REFUSED("{" U8("x", "[0]", "[0,2]") "}", 2, 8 + 1, "takes 0 bytes");
    fh_buf_release(&b);
}

TEST(safetensors_hostile, t14_product_overflow) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    REFUSED("{" U8("a", "[4294967296,4294967296]", "[0,0]") "}", 0, 8 + 1, "that fits");
    REFUSED("{" U8("a", "[4294967296,4294967296,0]", "[0,0]") "}", 0, 8 + 1, "that fits");
    REFUSED("{" U8("a", "[0,4294967296,4294967296]", "[0,0]") "}", 0, 8 + 1, "that fits");
    REFUSED("{" U8("a", "[18446744073709551615,2]", "[0,0]") "}", 0, 8 + 1, "that fits");
    REFUSED("{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0, 8 + 1,
            "that fits");
    REFUSED("{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, 8 + 1, "whole number of bytes");
    REFUSED("{\"a\":{\"dtype\":\"F6_E3M2\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1, 8 + 1, "whole number of bytes");
    REFUSED("{" U8("a", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, ANYWHERE, "more than 8 dimensions");
    fh_buf_release(&b);
}

TEST(safetensors_hostile, entries) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    REFUSED("{\"a\":[\"U8\",[1],[0,1]]}", 1, 8 + 5, "no object");
    REFUSED("{\"a\":null}", 0, 8 + 5, "no object");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 0, 8 + 1, "no 'data_offsets'");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, 8 + 1, "no 'shape'");
    REFUSED("{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, 8 + 1, "no 'dtype'");
    REFUSED("{\"a\":{\"dtype\":\"u8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, 8 + 14, "unknown dtype 'u8'");
    REFUSED("{\"a\":{\"dtype\":\"Q4_0\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, 8 + 14, "unknown dtype");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, ANYWHERE,
            "unknown member 'x'");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]}}", 1, ANYWHERE, "no size");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"shape\":[1e0],\"data_offsets\":[0,1]}}", 1, ANYWHERE, "no size");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"shape\":[[1]],\"data_offsets\":[0,1]}}", 1, ANYWHERE, "no size");
    REFUSED("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1, 8 + 1, "takes 2 bytes");
    REFUSED("{\"__metadata__\":null}", 0, ANYWHERE, "__metadata__");
    REFUSED("{\"__metadata__\":{\"a\":1}}", 0, ANYWHERE, "'a' is no text");
    REFUSED("{\"a\xff\":{}}", 0, 8 + 3, "JSON");
    REFUSED("{\"a\":{\"dtype\":\"U8\"", 0, ANYWHERE, "JSON");
    REFUSED("{} {}", 0, 8 + 3, "JSON");
    fh_buf_release(&b);
}

/* ---- thousands of mutants ---- */
static const char *const seeds[] = {
    "{\"__metadata__\":{\"format\":\"pt\",\"b\":\"c\\n\"},\"model.w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_"
    "offsets\":[0,24]},"
    "\"model.b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[24,30]},"
    "\"e\":{\"dtype\":\"F64\",\"shape\":[0,4],\"data_offsets\":[30,30]},"
    "\"s\":{\"dtype\":\"F4\",\"shape\":[2,2],\"data_offsets\":[30,32]}}  ",
    "{\"a\":{\"dtype\":\"I8\",\"shape\":[32],\"data_offsets\":[0,32]}}",
    "{\"x.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,4],\"data_offsets\":[0,8]},"
    "\"x.weight_scale_inv\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[8,12]},"
    "\"y.qweight\":{\"shape\":[1,2],\"dtype\":\"I32\",\"data_offsets\":[12,20]},"
    "\"y.scales\":{\"data_offsets\":[20,24],\"dtype\":\"F16\",\"shape\":[1,2]},"
    "\"z\\u00e9\":{\"dtype\":\"U64\",\"shape\":[1],\"data_offsets\":[24,32]}}"};

TEST(safetensors_hostile, corpus) {
    size_t total = 0, accepted = 0;
    for (size_t k = 0; k < FH_COUNT(seeds); k++) {
        fh_buf seed, b;
        char what[128];
        fh_buf_init(&seed, LIMIT);
        fh_buf_init(&b, LIMIT);
        fh_bytes s = make_st(&seed, seeds[k], 32);
        size_t n = fh_st_malformed_count(s);
        for (size_t i = 0; i < n; i++) {
            fh_err err = {0};
            fh_st *st = NULL;
            fh_st_malformed_make(s, i, &b, what, sizeof what);
            CHECK_OK(fh_buf_check(&b, &err), err);
            /* a block of exactly the file's size, so that reading past the end shows */
            uint8_t *exact = fh_alloc(b.len, 1);
            CHECK(exact != NULL);
            if (b.len) memcpy(exact, b.ptr, b.len);
            fh_mem_reset_peak();
            uint64_t live = fh_mem_get_stats().live_bytes, t0 = fh_clock_ns();
            fh_status r = fh_st_open(&st, (fh_bytes){exact, b.len}, &err);
            uint64_t ns = fh_clock_ns() - t0, peak = fh_mem_get_stats().peak_bytes - live;
            unsigned sum = 0;
            for (size_t t = 0; r == FH_OK && t < fh_st_n_tensor(st); t++) {
                const fh_tensor *x = fh_st_get_tensor(st, t);
                for (size_t j = 0; j < x->data.len; j++) sum += x->data.ptr[j];
            }
            bool told = r == FH_OK || (err.message[0] && err.status == r && err.offset <= b.len && !st && sum == 0);
            fh_st_close(st);
            bool kept = fh_mem_get_stats().live_bytes == live;
            fh_free(exact);
            accepted += r == FH_OK;
            if (!told || !kept || ns > SLOW * UINT64_C(1000000000) || peak > 2 * b.len + FREE_BYTES)
                fh_test_fail(__FILE__, __LINE__, "seed %zu, %s: %s '%s' at %llu, %llu ns, %llu bytes", k, what,
                             fh_status_name(r), err.message, (unsigned long long)err.offset, (unsigned long long)ns,
                             (unsigned long long)peak);
        }
        total += n;
        fh_buf_release(&seed);
        fh_buf_release(&b);
    }
    CHECK(total > 5000 && accepted > 0 && accepted < total / 10);
}

TEST(safetensors_hostile, lack_of_memory) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    fh_bytes file = make_st(&b, seeds[0], 32);
    for (uint64_t n = 1;; n++) {
        fh_err err = {0};
        fh_st *s = NULL;
        uint64_t blocks = fh_mem_get_stats().live_blocks;
        fh_fault_arm(FH_FAULT_ALLOC, n, false);
        fh_status st = fh_st_open(&s, file, &err);
        bool hit = fh_fault_calls(FH_FAULT_ALLOC) >= n;
        fh_fault_disarm();
        fh_st_close(s);
        CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
        CHECK(st == (hit ? FH_ERR_MEMORY : FH_OK));
        if (!hit) break;
        CHECK(n < 100);
    }
    fh_buf_release(&b);
}
