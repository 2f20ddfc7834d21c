/* tests/reader_loop.h - what every reader of foreign bytes must survive: each allocation failing,
 * the text cut at each byte, each byte changed; and the memory it may take meanwhile.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TESTS_READER_LOOP_H
#define FH_TESTS_READER_LOOP_H

#include <string.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "test.h"

/* Reads the text, looks at all of the result, frees it. */
typedef fh_status reader_fn(fh_str text, fh_err *err);

/* Every allocation fails in turn, once and for good: a clean status, nothing leaks. The text must be good. */
static inline void fail_every_allocation(reader_fn *read, fh_str text, uint64_t at_least) {
    fh_err err = {0};
    CHECK_OK(read(text, &err), err);
    for (int forever = 0; forever < 2; forever++) {
        uint64_t blocks = fh_mem_get_stats().live_blocks, failures = 0;
        fh_status s = FH_ERR_MEMORY;
        for (uint64_t n = 1; s != FH_OK && n < 10000; n++) {
            fh_fault_arm(FH_FAULT_ALLOC, n, forever != 0);
            s = read(text, &err);
            fh_fault_disarm();
            if (s != FH_OK) {
                CHECK_STATUS(s, FH_ERR_MEMORY);
                failures++;
            }
            CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
        }
        CHECK_STATUS(s, FH_OK);
        if (failures < at_least)
            fh_test_fail(__FILE__, __LINE__, "only %llu allocations were seen", (unsigned long long)failures);
    }
}

/* Memory at its peak stays under twice the text plus 16 MiB, whatever the text says. */
static inline fh_status read_within_bound(reader_fn *read, fh_str text, fh_err *err) {
    uint64_t blocks = fh_mem_get_stats().live_blocks;
    fh_mem_reset_peak();
    uint64_t before = fh_mem_get_stats().live_bytes;
    fh_status s = read(text, err);
    uint64_t peak = fh_mem_get_stats().peak_bytes - before;
    CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
    if (peak > 2 * (uint64_t)text.len + (16u << 20))
        fh_test_fail(__FILE__, __LINE__, "%llu bytes of memory for %zu bytes of text", (unsigned long long)peak,
                     text.len);
    return s;
}

/* The text cut at every `step` bytes never reads, unless only white space is lost; it is copied to
 * memory of exactly that size so that a sanitizer sees a read behind the end. may_read: prefixes
 * can be whole files of their own. */
static inline void cut_everywhere(reader_fn *read, fh_str text, size_t step, bool may_read) {
    size_t end = text.len;
    while (end > 0 && (text.ptr[end - 1] == '\n' || text.ptr[end - 1] == ' ')) end--;
    for (size_t n = 0; n < end; n += step) {
        fh_err err = {0};
        char *copy = fh_alloc(n, 1);
        CHECK(copy);
        memcpy(copy, text.ptr, n);
        fh_status s = read_within_bound(read, (fh_str){copy, n}, &err);
        fh_free(copy);
        if (s == FH_OK && !may_read) fh_test_fail(__FILE__, __LINE__, "reads although cut at byte %zu", n);
        if (s != FH_OK) CHECK(err.message[0] != '\0' && (err.offset <= n || err.offset == FH_NO_OFFSET));
    }
}

/* Every `step`-th byte takes six values: any status, no crash, within the bound. */
static inline void change_everywhere(reader_fn *read, fh_str text, size_t step) {
    static const unsigned char values[] = {0x00, 0x01, 0x7F, 0x80, 0xFF};
    char *copy = fh_alloc(text.len, 1);
    CHECK(copy);
    memcpy(copy, text.ptr, text.len);
    for (size_t at = 0; at < text.len; at += step) {
        for (size_t v = 0; v < 6; v++) {
            fh_err err = {0};
            copy[at] = (char)(v < 5 ? values[v] : (unsigned char)~(unsigned char)text.ptr[at]);
            fh_status s = read_within_bound(read, (fh_str){copy, text.len}, &err);
            if (s != FH_OK) CHECK(err.message[0] != '\0');
        }
        copy[at] = text.ptr[at];
    }
    fh_free(copy);
}

typedef struct wrong_case {
    const char *text; /* an @ stands before the byte that the error is to name, and is taken out; none: no byte */
    fh_status status;
    const char *message; /* a part of it */
} wrong_case;

static inline void check_wrong(reader_fn *read, const wrong_case *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        fh_err err = {0};
        fh_str all = fh_str_of(list[i].text);
        size_t at = all.len;
        bool marked = fh_str_find(all, '@', &at);
        char *text = fh_alloc(all.len + 1, 1);
        CHECK(text);
        memcpy(text, all.ptr, at);
        if (marked) memcpy(text + at, all.ptr + at + 1, all.len - at - 1);
        fh_str cut = {text, all.len - marked};
        fh_status s = read_within_bound(read, cut, &err);
        fh_free(text);
        uint64_t want = marked ? at : FH_NO_OFFSET;
        if (s != list[i].status || !strstr(err.message, list[i].message))
            fh_test_fail(__FILE__, __LINE__, "%s: %s '%s', expected %s '%s'", list[i].text, fh_status_name(s),
                         s == FH_OK ? "" : err.message, fh_status_name(list[i].status), list[i].message);
        if (err.offset != want)
            fh_test_fail(__FILE__, __LINE__, "%s: byte %llu, expected %llu", list[i].text,
                         (unsigned long long)err.offset, (unsigned long long)want);
    }
}

/* dir/a/b into a buffer that the caller releases; false when there is no such file. */
static inline bool load_file(fh_buf *out, const char *dir, const char *name) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_buf_init(out, 64u << 20);
    CHECK_OK(fh_path_join(path, dir, fh_str_of(name), &err), err);
    if (fh_file_get_kind(path) != FH_FILE_REGULAR) return false;
    CHECK_OK(fh_file_read(path, out, &err), err);
    return true;
}

#endif
