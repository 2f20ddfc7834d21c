/* tests/unit/test_pool.c - base/pool: every worker runs every job once, barriers hold, idle costs nothing.
 * SPDX-License-Identifier: Apache-2.0
 * Shared data is written without atomics on purpose: under TSan the pool's own ordering is on trial. */
#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/pool.h"
#include "test.h"

enum { MAX_WORKERS = 16, PHASES = 200 };

typedef struct work {
    fh_pool *pool;
    uint64_t count[MAX_WORKERS][8]; /* [worker]; a line each */
    uint64_t phase_of[MAX_WORKERS];
    uint64_t wrong[MAX_WORKERS];
    int seen_n;
} work;

static fh_pool *start(int n) {
    fh_pool *p = NULL;
    fh_err err = {0};
    fh_pool_options opt = {.n_worker = n};
    CHECK_OK(fh_pool_new(&p, &opt, &err), err);
    CHECK_U64(fh_pool_size(p), n);
    return p;
}

static void count_one(void *ctx, int worker, int n_worker) {
    work *w = ctx;
    w->count[worker][0]++;
    if (worker == 0) w->seen_n = n_worker;
}

static void check_runs(int n, uint64_t runs) {
    fh_pool *p = start(n);
    work w = {.pool = p};
    for (uint64_t i = 0; i < runs; i++) fh_pool_run(p, count_one, &w);
    fh_pool_free(p);
    CHECK_U64(w.seen_n, n);
    for (int i = 0; i < MAX_WORKERS; i++) CHECK_U64(w.count[i][0], i < n ? runs : 0);
}

TEST(pool, every_worker_runs_every_job_once) {
    check_runs(1, 1000);
    check_runs(2, 3000);
    check_runs(3, 1000);
}

TEST(pool, more_workers_than_cpus) { check_runs(MAX_WORKERS, 300); }

/* A sum over a shared array, split by worker, again and again with other contents. */
typedef struct sum_job {
    const uint32_t *value;
    size_t n;
    uint64_t part[MAX_WORKERS];
} sum_job;

static void add_part(void *ctx, int worker, int n_worker) {
    sum_job *j = ctx;
    size_t from = j->n * (size_t)worker / (size_t)n_worker, to = j->n * (size_t)(worker + 1) / (size_t)n_worker;
    uint64_t sum = 0;
    for (size_t i = from; i < to; i++) sum += j->value[i];
    j->part[worker] = sum;
}

TEST(pool, sums) {
    static uint32_t value[10007];
    for (int n = 1; n <= 5; n++) {
        fh_pool *p = start(n);
        bool right = true;
        for (uint32_t round = 0; round < 200; round++) {
            uint64_t want = 0, got = 0;
            for (size_t i = 0; i < FH_COUNT(value); i++) {
                value[i] = (uint32_t)i * 2654435761u + round;
                want += value[i];
            }
            sum_job j = {.value = value, .n = FH_COUNT(value)};
            fh_pool_run(p, add_part, &j);
            for (int i = 0; i < n; i++) got += j.part[i];
            right = right && got == want;
        }
        fh_pool_free(p);
        CHECK(right);
    }
}

/* After each barrier all others must have written this phase, and nobody the one after the next. */
static void walk_phases(void *ctx, int worker, int n_worker) {
    work *w = ctx;
    for (uint64_t phase = 1; phase <= PHASES; phase++) {
        w->phase_of[worker] = phase;
        fh_pool_barrier(w->pool);
        for (int i = 0; i < n_worker; i++) w->wrong[worker] += w->phase_of[i] != phase;
        fh_pool_barrier(w->pool);
    }
}

TEST(pool, barriers_hold) {
    static const int SIZES[] = {1, 2, 4, 9};
    for (size_t k = 0; k < FH_COUNT(SIZES); k++) {
        fh_pool *p = start(SIZES[k]);
        work w = {.pool = p};
        fh_pool_run(p, walk_phases, &w);
        fh_pool_run(p, walk_phases, &w); /* the barrier is as new afterwards */
        fh_pool_free(p);
        for (int i = 0; i < SIZES[k]; i++) {
            CHECK_U64(w.phase_of[i], PHASES);
            CHECK_U64(w.wrong[i], 0);
        }
    }
}

/* One worker is late by more than the spin: the others must have slept, and must wake. */
static void late_worker(void *ctx, int worker, int n_worker) {
    work *w = ctx;
    struct timespec nap = {0, 3000000};
    if (worker == n_worker - 1) nanosleep(&nap, NULL);
    w->phase_of[worker] = 1;
    fh_pool_barrier(w->pool);
    for (int i = 0; i < n_worker; i++) w->wrong[worker] += w->phase_of[i] != 1;
    if (worker == n_worker - 1) nanosleep(&nap, NULL);
    w->count[worker][0]++;
}

TEST(pool, sleepers_wake) {
    fh_pool *p = start(3);
    for (int round = 0; round < 5; round++) {
        work w = {.pool = p};
        fh_pool_run(p, late_worker, &w);
        for (int i = 0; i < 3; i++) {
            CHECK_U64(w.wrong[i], 0);
            CHECK_U64(w.count[i][0], 1);
        }
    }
    fh_pool_free(p);
}

static uint64_t cpu_ns(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000000000u +
           ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000u;
}

static uint64_t idle_ns(int n_worker) {
    fh_pool *p = start(n_worker);
    work w = {.pool = p};
    uint64_t least = UINT64_MAX;
    for (int round = 0; round < 3; round++) {
        fh_pool_run(p, count_one, &w);
        struct timespec settle = {0, 2000000}, gap = {0, 50000000};
        nanosleep(&settle, NULL);
        uint64_t before = cpu_ns();
        nanosleep(&gap, NULL);
        least = FH_MIN(least, cpu_ns() - before);
    }
    fh_pool_free(p);
    return least;
}

TEST(pool, idle_costs_nothing) {
    /* One worker a CPU spins before it sleeps; with more, none does. A spinner that stayed would use 50 ms. */
    int cpus = (int)FH_MIN(sysconf(_SC_NPROCESSORS_ONLN), MAX_WORKERS);
    uint64_t fitting = idle_ns(cpus), crowded = idle_ns(MAX_WORKERS);
    if (fitting > 5000000 || crowded > 5000000) {
        fh_test_fail(__FILE__, __LINE__, "%.2f and %.2f ms of CPU in an idle gap of 50 ms", (double)fitting * 1e-6,
                     (double)crowded * 1e-6);
    }
}

TEST(pool, start_and_stop) {
    for (int i = 0; i < 50; i++) {
        fh_pool *p = start(1 + i % 5);
        if (i % 2) {
            work w = {.pool = p};
            fh_pool_run(p, count_one, &w);
        }
        fh_pool_free(p);
    }
    fh_pool_free(NULL);
}

TEST(pool, default_size_is_the_usable_cpus) {
    cpu_set_t set;
    fh_pool *p = NULL;
    fh_err err = {0};
    if (sched_getaffinity(0, sizeof set, &set) != 0) fh_test_skip("more CPUs than a cpu_set_t holds");
    CHECK_OK(fh_pool_new(&p, NULL, &err), err);
    int n = fh_pool_size(p);
    fh_pool_free(p);
    CHECK(n >= 1 && n <= CPU_COUNT(&set));
}

TEST(pool, callers_mask_is_left_alone) {
    cpu_set_t before, after;
    if (sched_getaffinity(0, sizeof before, &before) != 0) fh_test_skip("more CPUs than a cpu_set_t holds");
    fh_pool *p = start(FH_MIN(CPU_COUNT(&before), MAX_WORKERS));
    work w = {.pool = p};
    for (int i = 0; i < 100; i++) {
        fh_pool_run(p, count_one, &w);
        if (i % 10 == 0) usleep(100);
    }
    fh_pool_free(p);
    CHECK(sched_getaffinity(0, sizeof after, &after) == 0);
    CHECK(CPU_EQUAL(&before, &after));
}

TEST(pool, wrong_sizes_are_refused) {
    fh_pool *p = NULL;
    fh_err err = {0};
    fh_pool_options few = {.n_worker = -1}, many = {.n_worker = 1000000};
    CHECK_STATUS(fh_pool_new(&p, &few, &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_pool_new(&p, &many, &err), FH_ERR_USAGE);
    CHECK(p == NULL);
}

/* Each allocation and each thread in turn cannot be had; what was started by then goes away again. */
TEST(pool, start_fails_midway) {
    fh_pool_options opt = {.n_worker = 4};
    uint64_t nth = 1;
    for (;; nth++) {
        fh_pool *p = NULL;
        fh_err err = {0};
        fh_fault_arm(FH_FAULT_ALLOC, nth, false);
        fh_status status = fh_pool_new(&p, &opt, &err);
        fh_fault_disarm();
        fh_pool_free(p);
        if (status == FH_OK) break;
        CHECK_STATUS(status, FH_ERR_MEMORY);
        CHECK(p == NULL && err.message[0] != 0);
        CHECK(nth < 100);
    }
    CHECK(nth > 4); /* two blocks and three threads */
}
