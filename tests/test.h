/* tests/test.h - the project's own small test runner.
 * SPDX-License-Identifier: Apache-2.0
 * A test file defines TEST(module, name) { ... } cases; they register themselves, so nothing is listed twice.
 * A failed check ends its case; a skip is counted and printed with its reason, never taken for a pass.
 * Run: fh-test [--list] [--data DIR] [--seed N] [--times N] [MODULE | MODULE.NAME ...] */
#ifndef FH_TESTS_TEST_H
#define FH_TESTS_TEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"

typedef struct fh_test {
    const char *module, *name;
    void (*run)(void);
    bool needs_golden; /* belongs to the tier above: runs only where the whole golden data is */
    struct fh_test *next;
} fh_test;

void fh_test_register(fh_test *t);
/* Reports and leaves the case (longjmp): a case that owns files names them under fh_test_tmp(). */
_Noreturn void fh_test_fail(const char *file, int line, const char *fmt, ...) FH_PRINTF(3, 4);
_Noreturn void fh_test_skip(const char *reason);
const char *fh_test_tmp(void);    /* an empty folder, removed after the case */
const char *fh_test_golden(void); /* tests/golden: always there */
const char *fh_test_shared(void); /* the whole golden data; never NULL within TEST_GOLDEN */
uint64_t fh_test_seed(void);
size_t fh_test_times(void); /* how often as long random tests should run; 1 */

#define FH_TEST_CASE(module_, name_, needs_) \
    static void test_##module_##_##name_(void); \
    __attribute__((constructor)) static void register_##module_##_##name_(void) { \
        static fh_test t = {#module_, #name_, test_##module_##_##name_, needs_, NULL}; \
        fh_test_register(&t); \
    } \
    static void test_##module_##_##name_(void)
#define TEST(module_, name_) FH_TEST_CASE(module_, name_, false)
#define TEST_GOLDEN(module_, name_) FH_TEST_CASE(module_, name_, true)

#define CHECK(cond) \
    do { \
        if (!(cond)) fh_test_fail(__FILE__, __LINE__, "expected %s", #cond); \
    } while (0)
#define CHECK_U64(got, want) \
    do { \
        uint64_t g_ = (uint64_t)(got), w_ = (uint64_t)(want); \
        if (g_ != w_) \
            fh_test_fail(__FILE__, __LINE__, "%s is %llu, expected %llu", #got, (unsigned long long)g_, \
                         (unsigned long long)w_); \
    } while (0)
#define CHECK_STR(got, want) \
    do { \
        fh_str g_ = (got); \
        if (!fh_str_is(g_, (want))) \
            fh_test_fail(__FILE__, __LINE__, "%s is '%.*s', expected '%s'", #got, FH_STR_ARG(g_), (want)); \
    } while (0)
/* expr gives FH_OK; err is the fh_err that was handed to it */
#define CHECK_OK(expr, err) \
    do { \
        if ((expr) != FH_OK) { \
            char t_[1200]; \
            fh_test_fail(__FILE__, __LINE__, "%s: %s", #expr, fh_err_text(&(err), t_, sizeof t_)); \
        } \
    } while (0)
#define CHECK_STATUS(expr, want) \
    do { \
        fh_status s_ = (expr); \
        if (s_ != (want)) \
            fh_test_fail(__FILE__, __LINE__, "%s gives %s, expected %s", #expr, fh_status_name(s_), \
                         fh_status_name(want)); \
    } while (0)

#endif
