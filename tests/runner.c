/* tests/runner.c - runs the registered cases; see test.h.
 * SPDX-License-Identifier: Apache-2.0
 * Prints a line per failed or skipped case and a closing line "N passed, N failed, N skipped".
 * Every case starts with no fault armed and an empty temporary folder; memory that a passed case leaves behind
 * counts as a failure of that case. */
#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "test.h"

static fh_test *all;
static jmp_buf leave;
static enum { PASSED, FAILED, SKIPPED } outcome;
static char reason[1600], tmp_dir[64];
static const char *shared_dir, *golden_dir = "tests/golden";
static uint64_t seed = 1;
static size_t times = 1;

void fh_test_register(fh_test *t) {
    fh_test **at = &all;
    while (*at) at = &(*at)->next;
    *at = t;
}

_Noreturn void fh_test_fail(const char *file, int line, const char *fmt, ...) {
    char what[1400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    snprintf(reason, sizeof reason, "%s:%d: %s", file, line, what);
    outcome = FAILED;
    longjmp(leave, 1);
}

_Noreturn void fh_test_skip(const char *why) {
    snprintf(reason, sizeof reason, "%s", why);
    outcome = SKIPPED;
    longjmp(leave, 1);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

const char *fh_test_tmp(void) {
    if (!tmp_dir[0]) {
        snprintf(tmp_dir, sizeof tmp_dir, "/tmp/fh-test-XXXXXX");
        if (!mkdtemp(tmp_dir)) fh_test_fail(__FILE__, __LINE__, "no temporary folder");
    }
    return tmp_dir;
}
const char *fh_test_golden(void) { return golden_dir; }
const char *fh_test_shared(void) { return shared_dir; }
uint64_t fh_test_seed(void) { return seed; }
size_t fh_test_times(void) { return times; }

static void run_one(fh_test *t) {
    uint64_t blocks = fh_mem_get_stats().live_blocks;
    fh_fault_disarm();
    outcome = PASSED;
    if (setjmp(leave) == 0) t->run();
    fh_fault_disarm();
    if (tmp_dir[0]) nftw(tmp_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    tmp_dir[0] = '\0';
    uint64_t after = fh_mem_get_stats().live_blocks;
    if (outcome == PASSED && after != blocks) {
        outcome = FAILED;
        snprintf(reason, sizeof reason, "leaves %lld blocks of memory behind", (long long)(after - blocks));
    }
}

/* A case is chosen by "module", "module.name", or when nothing is asked for. */
static bool chosen(const fh_test *t, int n, char **names) {
    char full[128];
    snprintf(full, sizeof full, "%s.%s", t->module, t->name);
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], t->module) == 0 || strcmp(names[i], full) == 0) return true;
    return n == 0;
}

int main(int argc, char **argv) {
    bool list = false, verbose = false;
    int first = 1;
    for (; first < argc && argv[first][0] == '-'; first++) {
        const char *a = argv[first];
        if (strcmp(a, "--list") == 0) list = true;
        else if (strcmp(a, "-v") == 0) verbose = true;
        else if (strcmp(a, "--data") == 0 && first + 1 < argc) shared_dir = argv[++first];
        else if (strcmp(a, "--golden") == 0 && first + 1 < argc) golden_dir = argv[++first];
        else if (strcmp(a, "--times") == 0 && first + 1 < argc) times = strtoull(argv[++first], NULL, 0);
        else if (strcmp(a, "--seed") == 0 && first + 1 < argc) seed = strtoull(argv[++first], NULL, 0);
        else {
            fprintf(stderr,
                    "usage: fh-test [--list] [-v] [--data DIR] [--golden DIR] [--seed N] [--times N] [CASE...]\n");
            return 2;
        }
    }
    if (shared_dir && access(shared_dir, R_OK) != 0) shared_dir = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int count[3] = {0, 0, 0}, not_here = 0;
    for (fh_test *t = all; t; t = t->next) {
        if (!chosen(t, argc - first, argv + first)) continue;
        if (t->needs_golden && !shared_dir && !list) {
            not_here++;
            continue;
        }
        if (list) {
            printf("%s.%s\n", t->module, t->name);
            continue;
        }
        run_one(t);
        count[outcome]++;
        if (outcome == FAILED) printf("FAIL %s.%s: %s\n", t->module, t->name, reason);
        if (outcome == SKIPPED) printf("skip %s.%s: %s\n", t->module, t->name, reason);
        if (outcome == PASSED && verbose) printf("ok   %s.%s\n", t->module, t->name);
    }
    if (list) return 0;
    if (not_here) printf("%d more cases need the whole golden data (--data DIR)\n", not_here);
    printf("%d passed, %d failed, %d skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
    return count[FAILED] || !count[PASSED];
}
