/* tests/unit/test_gguf_hostile.c - GGUF files made to harm: named attacks, thousands of mutants.
 * SPDX-License-Identifier: Apache-2.0
 * T01..T12 are the cases of the security sheet, as far as they concern this parser. */
#include <sys/mman.h>

#include "base/clock.h"
#include "base/fault.h"
#include "format/gguf.h"
#include "gguf_maker.h"
#include "gguf_walk.h"
#include "malformed/gguf_cases.h"
#include "test.h"

#define LIMIT (256u << 20)
#define FREE_BYTES (16u << 20)

/* Sanitizers and coverage slow the program down; the bars are those of the plain build. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define SLOW 10
#else
#define SLOW 1
#endif

static void refused_at(int line, fh_bytes file, fh_status status, uint64_t offset, const char *words) {
    fh_err err = {0};
    fh_gguf *g = NULL;
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_mem_reset_peak();
    fh_status s = fh_gguf_open(&g, file, &err);
    uint64_t peak = fh_mem_get_stats().peak_bytes - live;
    if (s != status || err.status != status || g)
        fh_test_fail(__FILE__, line, "%s instead of %s: %s", fh_status_name(s), fh_status_name(status), err.message);
    if (err.offset != offset)
        fh_test_fail(__FILE__, line, "at byte %llu instead of %llu: %s", (unsigned long long)err.offset,
                     (unsigned long long)offset, err.message);
    if (!strstr(err.message, words)) fh_test_fail(__FILE__, line, "'%s' does not say '%s'", err.message, words);
    if (peak > 2 * file.len + FREE_BYTES)
        fh_test_fail(__FILE__, line, "%llu bytes of memory", (unsigned long long)peak);
}
#define REFUSED(b, status, offset, words) refused_at(__LINE__, make_bytes(b), status, offset, words)

static fh_gguf *open_ok(const fh_buf *b) {
    fh_err err = {0};
    fh_gguf *g = NULL;
    CHECK_OK(fh_buf_check(b, &err), err);
    CHECK_OK(fh_gguf_open(&g, make_bytes(b), &err), err);
    return g;
}

static const uint64_t hostile[] = {0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX};

TEST(gguf_hostile, t01_counts) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (size_t i = 0; i < FH_COUNT(hostile); i++) {
        make_start(&b, hostile[i], 0);
        REFUSED(&b, FH_ERR_FORMAT, 8, "tensor count");
        make_start(&b, 0, hostile[i]);
        REFUSED(&b, FH_ERR_FORMAT, 16, "key count");
        make_start(&b, hostile[i], hostile[i]);
        REFUSED(&b, FH_ERR_FORMAT, 8, "tensor count");
    }
    /* counts that the bytes could hold, but do not: refused at the entry that is missing */
    make_start(&b, 0, 2);
    make_key(&b, "k", 0);
    fh_buf_add_byte(&b, 1);
    fh_buf_fill(&b, 0, 40);
    REFUSED(&b, FH_ERR_FORMAT, 24 + 14, "key: empty");
    make_start(&b, 0, 0);
    fh_buf_fill(&b, 0, 2);
    memset(b.ptr + 8, 0, 16);
    b.ptr[8] = 1;
    REFUSED(&b, FH_ERR_FORMAT, 8, "tensor count 1");
    fh_buf_release(&b);
}

TEST(gguf_hostile, t01_lengths) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (size_t i = 0; i < FH_COUNT(hostile); i++) {
        make_start(&b, 0, 1);
        fh_buf_add_u64le(&b, hostile[i]);
        fh_buf_fill(&b, 'k', 100);
        REFUSED(&b, FH_ERR_FORMAT, 24, "key 0");
        make_start(&b, 0, 1);
        make_key(&b, "k", 8);
        fh_buf_add_u64le(&b, hostile[i]);
        fh_buf_fill(&b, 'v', 100);
        REFUSED(&b, FH_ERR_FORMAT, 37, "key 'k': a string of");
        make_start(&b, 0, 1);
        make_array(&b, "k", 8, 3);
        make_str(&b, "a");
        fh_buf_add_u64le(&b, hostile[i]);
        fh_buf_fill(&b, 'v', 100);
        REFUSED(&b, FH_ERR_FORMAT, 58, "key 'k': a string of");
        make_start(&b, 1, 0);
        fh_buf_add_u64le(&b, hostile[i]);
        fh_buf_fill(&b, 't', 100);
        REFUSED(&b, FH_ERR_FORMAT, 24, "tensor name 0");
        for (uint32_t elem = 0; elem <= 12; elem++) {
            make_start(&b, 0, 1);
            make_array(&b, "k", elem, hostile[i]);
            fh_buf_fill(&b, 0, 100);
            REFUSED(&b, FH_ERR_FORMAT, 41, "only 100 bytes follow");
        }
    }
    fh_buf_release(&b);
}

TEST(gguf_hostile, t02_types) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (uint32_t type = 13; type < 256; type++) {
        make_start(&b, 0, 1);
        make_key(&b, "k", type);
        fh_buf_fill(&b, 0, 64);
        REFUSED(&b, FH_ERR_FORMAT, 33, "value type");
        make_start(&b, 0, 1);
        make_array(&b, "k", type, 0);
        REFUSED(&b, FH_ERR_FORMAT, 37, "element type");
        make_start(&b, 0, 1); /* within an array that holds nothing else */
        make_array(&b, "k", 9, 1);
        fh_buf_add_u32le(&b, type);
        fh_buf_add_u64le(&b, 0);
        REFUSED(&b, FH_ERR_FORMAT, 49, "element type");
    }
    for (uint32_t type = 0; type < 512; type++) {
        fh_dtype known;
        fh_gguf *g = NULL;
        fh_err err = {0};
        make_start(&b, 1, 0);
        make_tensor1(&b, "weight", 256, type, 0);
        make_padding(&b, 32);
        fh_buf_fill(&b, 0, 2048);
        fh_status s = fh_gguf_open(&g, make_bytes(&b), &err);
        if (fh_dtype_from_gguf(type, &known)) {
            CHECK_STATUS(s, FH_OK);
            CHECK(fh_gguf_get_tensor(g, 0)->dtype == known);
            fh_gguf_close(g);
        } else {
            CHECK_STATUS(s, FH_ERR_UNSUPPORTED);
            CHECK_U64(err.offset, 24 + 8 + 6 + 4 + 8);
            CHECK(strstr(err.message, "tensor 'weight': type") != NULL);
            CHECK(strstr(err.message, fh_dtype_gguf_refusal(type)) != NULL);
        }
    }
    fh_buf_release(&b);
}

TEST(gguf_hostile, t03_products) {
    static const struct {
        uint32_t n_dim, type;
        uint64_t ne[4];
        const char *words;
        uint64_t offset; /* of the field, counted from the number of dimensions */
    } row[] = {
        {2, 0, {UINT64_C(1) << 33, UINT64_C(1) << 33}, "does not fit", 0},
        {2, 0, {UINT64_C(1) << 62, 4}, "does not fit", 0},
        {2, 24, {UINT64_C(1) << 63, 2}, "does not fit", 0},
        {4, 24, {65536, 65536, 65536, 65536}, "does not fit", 0},
        {1, 0, {UINT64_C(1) << 62}, "does not fit", 0},
        {1, 28, {UINT64_C(1) << 61}, "does not fit", 0},
        {1, 0, {UINT64_MAX}, "does not fit", 0},
        {1, 24, {UINT64_MAX}, "reach beyond the end", 4 + 8 + 4},
        {2, 24, {UINT64_MAX, 1}, "reach beyond the end", 4 + 16 + 4},
        {1, 24, {1000}, "reach beyond the end", 4 + 8 + 4},
        {1, 0, {0}, "is zero", 0},
        {3, 0, {4, 0, 4}, "is zero", 0},
        {2, 0, {UINT64_C(1) << 63, 0}, "is zero", 0},
        {1, 8, {33}, "whole number of Q8_0 blocks", 0},
        {2, 12, {128, 2}, "whole number of Q4_K blocks", 0},
    };
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (size_t i = 0; i < FH_COUNT(row); i++) {
        make_start(&b, 1, 0);
        make_tensor(&b, "t", row[i].n_dim, row[i].ne, row[i].type, 0);
        make_padding(&b, 32);
        fh_buf_fill(&b, 0, 512);
        REFUSED(&b, FH_ERR_FORMAT, 33 + row[i].offset, row[i].words);
    }
    /* n * size of an array just past 64 bits */
    make_start(&b, 0, 1);
    make_array(&b, "k", 10, (UINT64_C(1) << 61) + 1);
    fh_buf_fill(&b, 0, 64);
    REFUSED(&b, FH_ERR_FORMAT, 41, "only 64 bytes follow");
    fh_buf_release(&b);
}

static uint64_t best_ms(fh_bytes file, fh_status want) {
    uint64_t best = UINT64_MAX;
    for (int k = 0; k < 3; k++) { /* other work on the machine must not fail the test */
        fh_gguf *g = NULL;
        fh_err err = {0};
        uint64_t start = fh_clock_cpu_ns();
        fh_status s = fh_gguf_open(&g, file, &err);
        uint64_t ms = (fh_clock_cpu_ns() - start) / 1000000;
        fh_gguf_close(g);
        CHECK_STATUS(s, want);
        best = FH_MIN(best, ms);
    }
    return best;
}

TEST(gguf_hostile, t04_million_tokens) {
    const uint32_t n = 1000000;
    fh_buf b;
    fh_str s;
    char token[32];
    size_t at = 0;
    fh_buf_init(&b, LIMIT);
    make_start(&b, 0, 2);
    make_array(&b, "tokenizer.ggml.tokens", 8, n);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(token, sizeof token, "token%u", i);
        make_str(&b, token);
    }
    make_array(&b, "tokenizer.ggml.scores", 6, n);
    fh_buf_fill(&b, 0, 4 * (size_t)n);
    fh_gguf *g = open_ok(&b);
    const fh_gguf_kv *kv = fh_gguf_find(g, "tokenizer.ggml.tokens");
    for (uint32_t i = 0; i < n; i++) {
        snprintf(token, sizeof token, "token%u", i);
        CHECK(fh_gguf_next_str(kv, &at, &s) && fh_str_is(s, token));
    }
    CHECK(!fh_gguf_next_str(kv, &at, &s));
    fh_gguf_close(g);
    uint64_t ms = best_ms(make_bytes(&b), FH_OK);
    if (ms >= 100 * SLOW) fh_test_fail(__FILE__, __LINE__, "%llu ms", (unsigned long long)ms);
    fh_buf_release(&b);
}

/* A file in memory of which only the first pages exist; a touch of the others ends the program. */
static fh_bytes huge_file(const fh_buf *head, size_t size, int protection) {
    const size_t first = 65536;
    CHECK(head->len <= first);
    uint8_t *p = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(p != MAP_FAILED);
    CHECK(mprotect(p, first, PROT_READ | PROT_WRITE) == 0);
    memcpy(p, head->ptr, head->len);
    return (fh_bytes){p, size};
}

static void drop_file(fh_bytes file) { munmap((void *)(uintptr_t)file.ptr, file.len); }

TEST(gguf_hostile, t05_token_of_2_gib) {
    const uint64_t len = UINT64_C(1) << 31;
    fh_buf b;
    fh_str s;
    size_t at = 0;
    fh_err err = {0};
    fh_gguf *g = NULL;
    fh_buf_init(&b, LIMIT);
    make_start(&b, 0, 1);
    make_array(&b, "tokens", 8, 1);
    fh_buf_add_u64le(&b, len);
    fh_bytes file = huge_file(&b, b.len + len, PROT_NONE);
    CHECK_OK(fh_gguf_open(&g, file, &err), err);
    CHECK(fh_gguf_next_str(fh_gguf_find(g, "tokens"), &at, &s));
    CHECK_U64(s.len, len);
    CHECK_U64(at, len + 8);
    CHECK(!fh_gguf_next_str(fh_gguf_find(g, "tokens"), &at, &s));
    fh_gguf_close(g);
    file.len--;
    refused_at(__LINE__, file, FH_ERR_FORMAT, b.len - 8, "a string of 2147483648 bytes");
    file.len++;
    drop_file(file);
    fh_buf_release(&b);
}

/* More entries than positions can say, in a file large enough to hold them. */
TEST(gguf_hostile, t01_entries) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    make_start(&b, 0, 1u << 24);
    fh_bytes file = huge_file(&b, (size_t)300 << 20, PROT_NONE);
    refused_at(__LINE__, file, FH_ERR_LIMIT, 16, "the limit is 16777215");
    drop_file(file);
    fh_buf_release(&b);
}

TEST(gguf_hostile, t06_alignment) {
    static const uint32_t bad[] = {0, 1, 2, 3, 4, 7, 12, 31, 33, 65535, 131072, 0x7fffffff, 0x80000000, UINT32_MAX};
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        make_start(&b, 0, 1);
        make_key(&b, "general.alignment", 4);
        fh_buf_add_u32le(&b, bad[i]);
        REFUSED(&b, FH_ERR_FORMAT, 24 + 8 + 17 + 4, "no power of two from 8 to 65536");
    }
    for (uint32_t type = 0; type <= 12; type++) {
        if (type == 4 || type == 9) continue;
        make_start(&b, 0, 1);
        make_key(&b, "general.alignment", type);
        fh_buf_add_u64le(&b, type == 8 || type == 7 ? 0 : 32);
        REFUSED(&b, FH_ERR_FORMAT, 24 + 8 + 17 + 4, "not u32");
    }
    make_start(&b, 0, 1);
    make_array(&b, "general.alignment", 4, 1);
    fh_buf_add_u32le(&b, 32);
    REFUSED(&b, FH_ERR_FORMAT, 24 + 8 + 17 + 4, "not u32");
    fh_buf_release(&b);
}

TEST(gguf_hostile, t06_dimensions) {
    static const uint64_t ne[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    static const uint32_t bad[] = {5, 8, 9, 255, 0x7fffffff, 0x80000000, UINT32_MAX};
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        make_start(&b, 1, 0);
        make_tensor(&b, "t", 8, ne, 0, 0);
        memcpy(b.ptr + 33, &bad[i], 4);
        fh_buf_fill(&b, 0, 256);
        REFUSED(&b, FH_ERR_FORMAT, 33, "dimensions, the format has at most 4");
    }
    fh_buf_release(&b);
}

/* T09: tokens are bytes; whatever they spell arrives as it is and means nothing here. */
TEST(gguf_hostile, t09_vocabulary) {
    static const fh_str token[] = {
        {"<0x-1>", 6},
        {"<0xFFFFFFFF>", 12},
        {"", 0},
        {"\0", 1},
        {"\xc0\x80", 2},
        {"\xed\xa0\x80", 3},
        {"%s%n%1000000d", 13},
        {"<|im_start|>", 12},
        {"\xff\xfe\xfd", 3},
        {"<0x-1>", 6},
    };
    fh_buf b;
    fh_str s;
    size_t at = 0;
    fh_buf_init(&b, LIMIT);
    make_start(&b, 0, 1);
    make_array(&b, "tokenizer.ggml.tokens", 8, FH_COUNT(token));
    for (size_t i = 0; i < FH_COUNT(token); i++) {
        fh_buf_add_u64le(&b, token[i].len);
        fh_buf_add_str(&b, token[i]);
    }
    fh_gguf *g = open_ok(&b);
    for (size_t i = 0; i < FH_COUNT(token); i++) {
        CHECK(fh_gguf_next_str(fh_gguf_get_kv(g, 0), &at, &s));
        CHECK(fh_str_eq(s, token[i]));
    }
    fh_gguf_close(g);
    fh_buf_release(&b);
}

static void make_two_tensors(fh_buf *b, uint64_t first, uint64_t second) {
    make_start(b, 2, 0);
    make_tensor1(b, "a", 16, 0, first);   /* 64 bytes */
    make_tensor1(b, "b", 40, 24, second); /* 40 bytes */
    make_padding(b, 32);
}

TEST(gguf_hostile, t11_data_outside_the_file) {
    const size_t entry = 8 + 1 + 4 + 8 + 4, second = 24 + entry + 8 + entry;
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (size_t i = 0; i < FH_COUNT(hostile); i++) {
        make_two_tensors(&b, 0, hostile[i] & ~UINT64_C(31));
        fh_buf_fill(&b, 1, 128);
        REFUSED(&b, FH_ERR_FORMAT, second, "lies beyond the data section");
    }
    make_two_tensors(&b, 0, 65);
    fh_buf_fill(&b, 1, 128);
    REFUSED(&b, FH_ERR_FORMAT, second, "no multiple of 32");
    /* every length too short for the data is refused, the first that is long enough opens */
    make_two_tensors(&b, 0, 64);
    size_t header = b.len;
    fh_buf_fill(&b, 1, 104);
    fh_gguf_close(open_ok(&b));
    for (size_t len = header; len < header + 104; len++) {
        b.len = len;
        fh_err err = {0};
        fh_gguf *g = NULL;
        CHECK_STATUS(fh_gguf_open(&g, make_bytes(&b), &err), FH_ERR_FORMAT);
        CHECK(err.offset != FH_NO_OFFSET && strstr(err.message, "tensor '") != NULL);
    }
    b.len = header - 1;
    REFUSED(&b, FH_ERR_FORMAT, second, "reach beyond the end of the file");
    fh_buf_release(&b);
}

TEST(gguf_hostile, overlap) {
    static const struct {
        uint64_t a, b;
        bool ok;
    } row[] = {{0, 64, true},   {64, 0, true},  {0, 0, false},  {0, 32, false}, {32, 0, false},
               {64, 64, false}, {0, 128, true}, {128, 0, true}, {64, 32, false}};
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (size_t i = 0; i < FH_COUNT(row); i++) {
        make_two_tensors(&b, row[i].a, row[i].b);
        uint64_t later = FH_MAX(row[i].a, row[i].b);
        size_t data = b.len;
        fh_buf_fill(&b, 1, 256);
        if (row[i].ok) fh_gguf_close(open_ok(&b));
        else REFUSED(&b, FH_ERR_FORMAT, data + later, "its data overlaps that of '");
    }
    fh_buf_release(&b);
}

TEST(gguf_hostile, twice) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    make_start(&b, 0, 3);
    for (int i = 0; i < 3; i++) {
        make_key(&b, i == 1 ? "other" : "same", 0);
        fh_buf_add_byte(&b, 1);
    }
    REFUSED(&b, FH_ERR_FORMAT, 24 + 17 + 18, "key 'same': stands twice, as number 0 and 2");
    make_start(&b, 2, 0);
    make_tensor1(&b, "t", 8, 24, 0);
    make_tensor1(&b, "t", 8, 24, 32);
    make_padding(&b, 32);
    fh_buf_fill(&b, 0, 64);
    REFUSED(&b, FH_ERR_FORMAT, 24 + 33, "tensor 't': stands twice");
    fh_buf_release(&b);
}

TEST(gguf_hostile, names) {
    static const struct {
        fh_str name;
        const char *words;
    } row[] = {
        {{"", 0}, "empty"},
        {{"a\0b", 3}, "NUL"},
        {{"\xff", 1}, "not UTF-8"},
        {{"\xed\xa0\x80", 3}, "not UTF-8"},
        {{"\xc0\xaf", 2}, "not UTF-8"},
    };
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (size_t i = 0; i < FH_COUNT(row); i++) {
        for (int tensor = 0; tensor < 2; tensor++) {
            make_start(&b, tensor ? 1 : 0, tensor ? 0 : 1);
            fh_buf_add_u64le(&b, row[i].name.len);
            fh_buf_add_str(&b, row[i].name);
            fh_buf_fill(&b, 0, 64);
            REFUSED(&b, FH_ERR_FORMAT, 24, row[i].words);
        }
    }
    static const struct {
        bool tensor;
        size_t len;
        bool ok;
    } sizes[] = {{true, 512, true}, {true, 513, false}, {false, 65535, true}, {false, 65536, false}};
    for (size_t i = 0; i < FH_COUNT(sizes); i++) {
        make_start(&b, sizes[i].tensor, !sizes[i].tensor);
        fh_buf_add_u64le(&b, sizes[i].len);
        fh_buf_fill(&b, 'n', sizes[i].len);
        fh_buf_fill(&b, 0, 4 + 4 + 8); /* a u8 key; or no dimensions, f32, offset 0 */
        make_padding(&b, 32);
        fh_buf_fill(&b, 0, 64);
        if (sizes[i].ok) fh_gguf_close(open_ok(&b));
        else REFUSED(&b, FH_ERR_FORMAT, 24, "the limit is");
    }
    fh_buf_release(&b);
}

TEST(gguf_hostile, bools) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (unsigned v = 2; v < 256; v++) {
        make_start(&b, 0, 1);
        make_key(&b, "k", 7);
        fh_buf_add_byte(&b, (uint8_t)v);
        REFUSED(&b, FH_ERR_FORMAT, 37, "neither 0 nor 1");
        make_start(&b, 0, 1);
        make_array(&b, "k", 7, 3);
        fh_buf_add(&b, "\0\1", 2);
        fh_buf_add_byte(&b, (uint8_t)v);
        REFUSED(&b, FH_ERR_FORMAT, 51, "neither 0 nor 1");
    }
    fh_buf_release(&b);
}

/* Names in messages are cut and cleaned: a file cannot speak to the terminal. */
TEST(gguf_hostile, messages) {
    fh_err err = {0};
    fh_gguf *g = NULL;
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    make_start(&b, 0, 1);
    fh_buf_add_u64le(&b, 60007);
    fh_buf_add_z(&b, "\x1b[2Jabc");
    fh_buf_fill(&b, 'n', 60000);
    fh_buf_add_u32le(&b, 99);
    CHECK_STATUS(fh_gguf_open(&g, make_bytes(&b), &err), FH_ERR_FORMAT);
    CHECK(strlen(err.message) < 300 && strstr(err.message, "value type 99") != NULL);
    for (const char *p = err.message; *p; p++) CHECK((unsigned char)*p >= 0x20);
    CHECK_STATUS(fh_gguf_open(&g, make_bytes(&b), NULL), FH_ERR_FORMAT);
    fh_buf_release(&b);
}

static void make_many_keys(fh_buf *b, uint32_t n) {
    char key[32];
    make_start(b, 0, n);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(key, sizeof key, "the.keys.%09u", i);
        make_key(b, key, 4);
        fh_buf_add_u32le(b, i);
    }
}

TEST(gguf_hostile, t12_million_keys) {
    const uint32_t n = 1000000;
    fh_buf b;
    uint64_t u;
    fh_buf_init(&b, LIMIT);
    make_many_keys(&b, n);
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_mem_reset_peak();
    fh_gguf *g = open_ok(&b);
    CHECK(fh_mem_get_stats().peak_bytes - live <= 2 * b.len + FREE_BYTES);
    CHECK(fh_gguf_to_u64(fh_gguf_find(g, "the.keys.000777777"), &u) && u == 777777);
    CHECK(fh_gguf_find(g, "the.keys.001000000") == NULL);
    fh_gguf_close(g);
    uint64_t ms = best_ms(make_bytes(&b), FH_OK);
    if (ms >= 1000 * SLOW) fh_test_fail(__FILE__, __LINE__, "%llu ms", (unsigned long long)ms);
    /* the last one is the first again */
    memcpy(b.ptr + b.len - 4 - 4 - 18, "the.keys.000000000", 18);
    REFUSED(&b, FH_ERR_FORMAT, b.len - 34, "stands twice, as number 0 and 999999");
    fh_buf_release(&b);
}

/* Entries as small as the format allows: their directory would take four times the file. */
TEST(gguf_hostile, t12_directory_limit) {
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    const uint32_t n = 1000000;
    make_start(&b, 0, n);
    for (uint32_t i = 0; i < n; i++) {
        fh_buf_add_u64le(&b, 4);
        for (int k = 0; k < 4; k++) fh_buf_add_byte(&b, (uint8_t)('0' + (i >> (6 * k)) % 64));
        fh_buf_add_u32le(&b, 0);
        fh_buf_add_byte(&b, 0);
    }
    REFUSED(&b, FH_ERR_LIMIT, 8, "the directory would take more than");
    fh_buf_release(&b);
}

static void make_many_tensors(fh_buf *b, uint32_t n, bool backwards) {
    char name[32];
    make_start(b, n, 0);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "blk.%u.weight", i);
        make_tensor1(b, name, 8, 0, 32 * (uint64_t)(backwards ? n - 1 - i : i));
    }
    make_padding(b, 32);
    fh_buf_fill(b, 0, 32 * (size_t)n);
}

TEST(gguf_hostile, t12_many_tensors) {
    const uint32_t n = 200000;
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    for (int backwards = 0; backwards < 2; backwards++) {
        make_many_tensors(&b, n, backwards);
        uint64_t ms = best_ms(make_bytes(&b), FH_OK);
        if (ms >= 1000 * SLOW) fh_test_fail(__FILE__, __LINE__, "%llu ms", (unsigned long long)ms);
        fh_gguf *g = open_ok(&b);
        const fh_tensor *t = fh_gguf_find_tensor(g, FH_STR("blk.4711.weight"));
        CHECK(t && t->file_offset == fh_gguf_data_offset(g) + 32 * (uint64_t)(backwards ? n - 1 - 4711 : 4711));
        fh_gguf_close(g);
    }
    fh_buf_release(&b);
}

/* Opening reads the header only: the data pages of this 2 GiB file cannot even be read. */
TEST(gguf_hostile, data_is_not_touched) {
    const size_t size = (size_t)2 << 30;
    fh_buf b;
    fh_buf_init(&b, LIMIT);
    make_start(&b, 2, 0);
    make_tensor1(&b, "a", (size >> 3) - 65536, 0, 0);
    make_tensor1(&b, "b", 1024, 0, size - (1u << 20));
    fh_bytes file = huge_file(&b, size, PROT_NONE);
    uint64_t ms = best_ms(file, FH_OK);
    if (ms >= 50) fh_test_fail(__FILE__, __LINE__, "%llu ms", (unsigned long long)ms);
    drop_file(file);
    fh_buf_release(&b);
}

/* ---- mutants of a small file ---- */

/* Every value type, arrays of them, three tensors; written by our own writer and read back. */
static void make_seed(fh_buf *out) {
    static const float weights[64] = {1, 2, 3};
    static const uint8_t blocks[68] = {1};
    static const fh_str words[3] = {{"alpha", 5}, {"", 0}, {"<0x00>", 6}};
    static const uint8_t raw[16] = {1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t width[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    char path[FH_PATH_MAX], key[32];
    fh_err err = {0};
    fh_gguf_build *build = NULL;
    CHECK_OK(fh_gguf_build_new(&build, &err), err);
    CHECK_OK(fh_gguf_build_add_str(build, "general.architecture", FH_STR("llama"), &err), err);
    CHECK_OK(fh_gguf_build_add_u32(build, "general.alignment", 32, &err), err);
    for (unsigned t = 0; t < 13; t++) {
        if (width[t] == 0) continue;
        snprintf(key, sizeof key, "s.%s", fh_gguf_type_name((fh_gguf_type)t));
        fh_gguf_kv kv = {fh_str_of(key), (fh_gguf_type)t, FH_GGUF_U8, 1, {raw, width[t]}, 0};
        CHECK_OK(fh_gguf_build_add_kv(build, &kv, &err), err);
        key[0] = 'a';
        kv = (fh_gguf_kv){fh_str_of(key), FH_GGUF_ARRAY, (fh_gguf_type)t, 2, {raw, 2u * width[t]}, 0};
        CHECK_OK(fh_gguf_build_add_kv(build, &kv, &err), err);
    }
    CHECK_OK(fh_gguf_build_add_strs(build, "tokenizer.ggml.tokens", words, 3, &err), err);
    static const uint8_t nested[] = {0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 9, 8, 0, 0,  0,
                                     1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'x'};
    fh_gguf_kv kv = {FH_STR("nested"), FH_GGUF_ARRAY, FH_GGUF_ARRAY, 2, {nested, sizeof nested}, 0};
    CHECK_OK(fh_gguf_build_add_kv(build, &kv, &err), err);
    fh_tensor t = {.name = FH_STR("token_embd.weight"),
                   .dtype = FH_DTYPE_F32,
                   .shape = {2, {4, 16}},
                   .data = {(const uint8_t *)weights, sizeof weights}};
    CHECK_OK(fh_gguf_build_add_tensor(build, &t, &err), err);
    t = (fh_tensor){.name = FH_STR("output.weight"),
                    .dtype = FH_DTYPE_Q8_0,
                    .shape = {2, {2, 32}},
                    .data = {blocks, sizeof blocks}};
    CHECK_OK(fh_gguf_build_add_tensor(build, &t, &err), err);
    t = (fh_tensor){.name = FH_STR("scale"), .dtype = FH_DTYPE_F32, .data = {blocks, 4}};
    CHECK_OK(fh_gguf_build_add_tensor(build, &t, &err), err);
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("seed.gguf"), &err), err);
    CHECK_OK(fh_gguf_write(build, path, NULL, NULL, &err), err);
    CHECK_OK(fh_file_read(path, out, &err), err);
    fh_gguf_build_free(build);
}

TEST(gguf_hostile, malformed) {
    fh_buf seed, b;
    char what[160];
    size_t opened = 0;
    fh_buf_init(&seed, LIMIT);
    fh_buf_init(&b, LIMIT);
    make_seed(&seed);
    size_t n = fh_gguf_malformed_count(make_bytes(&seed));
    CHECK(n >= 5000);
    for (size_t i = 0; i < n; i++) {
        fh_gguf *g = NULL;
        fh_err err = {0};
        fh_gguf_malformed_make(make_bytes(&seed), i, &b, what, sizeof what);
        fh_mem_stats before = fh_mem_get_stats();
        fh_mem_reset_peak();
        uint64_t start = fh_clock_cpu_ns();
        fh_status s = fh_gguf_open(&g, make_bytes(&b), &err);
        if (s == FH_OK) {
            walk_gguf(g, make_bytes(&b));
            opened++;
        } else if (g || err.status != s || err.message[0] == '\0' || err.offset > b.len) {
            fh_test_fail(__FILE__, __LINE__, "case %zu (%s): %s", i, what, err.message);
        }
        fh_gguf_close(g);
        uint64_t ms = (fh_clock_cpu_ns() - start) / 1000000;
        fh_mem_stats after = fh_mem_get_stats();
        if (after.live_blocks != before.live_blocks) fh_test_fail(__FILE__, __LINE__, "case %zu (%s): a leak", i, what);
        if (after.peak_bytes - before.live_bytes > 2 * b.len + FREE_BYTES || ms > 1000)
            fh_test_fail(__FILE__, __LINE__, "case %zu (%s): %llu bytes, %llu ms", i, what,
                         (unsigned long long)(after.peak_bytes - before.live_bytes), (unsigned long long)ms);
    }
    CHECK(opened > 0 && opened < n / 2); /* a bit in a value or a name may change; most changes must not pass */
    fh_buf_release(&seed);
    fh_buf_release(&b);
}

TEST(gguf_hostile, out_of_memory) {
    fh_buf seed;
    fh_buf_init(&seed, LIMIT);
    make_seed(&seed);
    for (int forever = 0; forever < 2; forever++) {
        uint64_t n = 1, failed = 0;
        for (;; n++) {
            fh_gguf *g = NULL;
            fh_err err = {0};
            uint64_t blocks = fh_mem_get_stats().live_blocks;
            fh_fault_arm(FH_FAULT_ALLOC, n, forever);
            fh_status s = fh_gguf_open(&g, make_bytes(&seed), &err);
            uint64_t calls = fh_fault_calls(FH_FAULT_ALLOC);
            fh_fault_disarm();
            if (s == FH_OK) {
                CHECK(calls < n);
                fh_gguf_close(g);
                break;
            }
            failed++;
            CHECK_STATUS(s, FH_ERR_MEMORY);
            CHECK(g == NULL && err.status == FH_ERR_MEMORY && err.message[0]);
            CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
        }
        CHECK(failed >= 4);
    }
    fh_buf_release(&seed);
}
