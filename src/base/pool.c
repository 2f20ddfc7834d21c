/* base/pool.c - owns a team of threads that run one function together and meet at barriers.
 * SPDX-License-Identifier: Apache-2.0
 * Waiting is on 32-bit words that change: spin with pause, then futex sleep. Invariants: (1) a sleeper counts
 * itself before it sleeps and the kernel compares the word again, a changer stores first and looks for
 * sleepers after, all sequentially consistent, so no wake-up is lost; (2) fn and ctx are written before
 * `epoch` and read after it; (3) no worker touches a job after its decrement of `pending`.
 * Workers 1..n-1 are pinned. Worker 0 is the caller: its mask stays as it was, since threads that it starts
 * later would inherit it; it is only moved off the CPU of a worker, if it stands on one. */
#include "base/pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/machine.h"
#include "base/mem.h"
#include "base/num.h"

enum { POOL_MAX_WORKERS = 1024, POOL_SPIN_US = 20, POOL_STACK_BYTES = 2 << 20, POOL_TEAM_NS = 2000000 };

/* A word that others change, with those asleep on it. A cache line of its own on either side. */
typedef struct pool_word {
    _Atomic uint32_t value;
    _Atomic uint32_t sleepers;
    char apart[120];
} pool_word;

typedef struct pool_worker {
    struct fh_pool *pool;
    pthread_t thread;
    int index;
    int cpu; /* -1: not pinned */
} pool_worker;

struct fh_pool {
    char before[64];
    pool_word epoch;   /* counts jobs; a change is a job, or the end */
    pool_word pending; /* workers that still run the job */
    pool_word arrived; /* at the barrier (no sleepers) */
    pool_word round;   /* counts barriers */
    fh_pool_fn *fn;
    void *ctx;
    uint64_t spin_ns;
    int n_worker, n_started;
    bool pinned;
    atomic_bool stop, busy;
    pool_worker *worker;             /* [n_worker]; 0 is the caller */
    bool taken[FH_MACHINE_MAX_CPUS]; /* CPUs that have a pinned worker */
};

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* yield is no delay on current cores, isb is a short one */
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void wake(pool_word *w) {
    if (atomic_load(&w->sleepers) != 0) futex_wake_all(&w->value);
}

/* Returns once w differs from `seen`; may return early, so callers look again. */
static void wait_change(pool_word *w, uint32_t seen, uint64_t spin_ns) {
    if (spin_ns != 0) {
        uint64_t end = fh_clock_ns() + spin_ns;
        do {
            for (int i = 0; i < 16; i++) {
                if (atomic_load_explicit(&w->value, memory_order_acquire) != seen) return;
                relax();
            }
        } while (fh_clock_ns() < end);
    }
    atomic_fetch_add(&w->sleepers, 1);
    if (atomic_load(&w->value) == seen) futex_wait(&w->value, seen);
    atomic_fetch_sub(&w->sleepers, 1);
}

/* The same among workers of one job, who will come soon: waking a sleeper takes a virtual machine longer than most of
 * what is waited for. Whoever else wants this CPU gets it by sched_yield. */
static void wait_for_team(pool_word *w, uint32_t seen, uint64_t spin_ns) {
    if (spin_ns != 0) {
        const uint64_t start = fh_clock_ns();
        for (uint64_t now = start; now - start < POOL_TEAM_NS; now = fh_clock_ns()) {
            for (int i = 0; i < 16; i++) {
                if (atomic_load_explicit(&w->value, memory_order_acquire) != seen) return;
                relax();
            }
            if (now - start >= spin_ns) sched_yield();
        }
    }
    wait_change(w, seen, 0);
}

static void *worker_main(void *arg) {
    pool_worker *self = arg;
    fh_pool *p = self->pool;
    uint32_t seen = 0;
    for (;;) {
        uint32_t now;
        while ((now = atomic_load(&p->epoch.value)) == seen) wait_change(&p->epoch, seen, p->spin_ns);
        seen = now;
        if (atomic_load(&p->stop)) return NULL;
        p->fn(p->ctx, self->index, p->n_worker);
        if (atomic_fetch_sub(&p->pending.value, 1) == 1) wake(&p->pending);
    }
}

static void pin(pthread_t thread, int cpu) {
    cpu_set_t set[FH_MACHINE_MAX_CPUS / CPU_SETSIZE];
    CPU_ZERO_S(sizeof set, set);
    CPU_SET_S((size_t)cpu, sizeof set, set);
    /* Best effort: the CPU may have gone offline; an unpinned worker is only slower. */
    (void)pthread_setaffinity_np(thread, sizeof set, set);
}

static int start_worker(pool_worker *w) {
    pthread_attr_t attr;
    if (FH_FAULT(FH_FAULT_ALLOC)) return EAGAIN; /* a thread is a stack of memory, too */
    int rc = pthread_attr_init(&attr);
    if (rc != 0) return rc;
    (void)pthread_attr_setstacksize(&attr, POOL_STACK_BYTES);
    rc = pthread_create(&w->thread, &attr, worker_main, w);
    pthread_attr_destroy(&attr);
    if (rc != 0) return rc;
    char name[16];
    snprintf(name, sizeof name, "fh-pool-%d", w->index % 10000);
    (void)pthread_setname_np(w->thread, name);
    if (w->cpu >= 0) pin(w->thread, w->cpu);
    return 0;
}

/* Workers inherit a mask in which everything but a thread's own faults is blocked: signals to the process
 * stay with the threads of the program. SIGBUS must reach them, mapped files rely on it. */
static void block_signals(sigset_t *old) {
    static const int OPEN[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < FH_COUNT(OPEN); i++) sigdelset(&set, OPEN[i]);
    pthread_sigmask(SIG_SETMASK, &set, old);
}

static void assign_cpus(fh_pool *p, bool no_pin) {
    int cpu[FH_MACHINE_MAX_CPUS];
    int n = fh_machine_list_cpus(cpu, FH_MACHINE_MAX_CPUS);
    /* More workers than CPUs: pinning would only keep the scheduler from sharing them out. */
    p->pinned = !no_pin && p->n_worker > 1 && p->n_worker <= n;
    for (int i = 0; i < p->n_worker; i++) {
        p->worker[i] = (pool_worker){.pool = p, .index = i, .cpu = -1};
        if (!p->pinned || i == 0) continue;
        p->worker[i].cpu = cpu[i];
        p->taken[cpu[i]] = true;
    }
    if (p->n_worker > n) p->spin_ns = 0; /* a spinner would hold the CPU that another worker needs */
}

static fh_status start_all(fh_pool *p, fh_err *err) {
    sigset_t old;
    int rc = 0;
    block_signals(&old);
    for (p->n_started = 1; p->n_started < p->n_worker; p->n_started++) {
        rc = start_worker(&p->worker[p->n_started]);
        if (rc != 0) break;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0) return FH_OK;
    return fh_fail(err, rc == EAGAIN || rc == ENOMEM ? FH_ERR_MEMORY : FH_ERR_LIMIT,
                   "start thread %d of %d, the system refuses: %s", p->n_started, p->n_worker, strerror(rc));
}

fh_status fh_pool_new(fh_pool **out, const fh_pool_options *opt, fh_err *err) {
    fh_pool_options o = opt ? *opt : (fh_pool_options){0};
    if (o.n_worker < 0 || o.n_worker > POOL_MAX_WORKERS) {
        return fh_fail(err, FH_ERR_USAGE, "start a thread pool, '%d' threads, it is not 0 to %d", o.n_worker,
                       POOL_MAX_WORKERS);
    }
    int n = o.n_worker != 0 ? o.n_worker : FH_MIN(fh_machine_usable_cpus(), POOL_MAX_WORKERS);
    fh_pool *p = fh_alloc_zero(1, sizeof *p);
    if (p == NULL) return fh_fail_memory(err, sizeof *p);
    p->n_worker = n;
    p->spin_ns = (uint64_t)(o.spin_us ? o.spin_us : POOL_SPIN_US) * 1000;
    fh_status status = FH_OK;
    p->worker = fh_alloc_zero((size_t)n, sizeof *p->worker);
    if (p->worker == NULL) {
        status = fh_fail_memory(err, (size_t)n * sizeof *p->worker);
        goto out;
    }
    assign_cpus(p, o.no_pin);
    status = start_all(p, err);
out:
    if (status == FH_OK) {
        *out = p;
    } else {
        fh_pool_free(p);
    }
    return status;
}

void fh_pool_free(fh_pool *p) {
    if (p == NULL) return;
    FH_REQUIRE(!atomic_load(&p->busy));
    atomic_store(&p->stop, true);
    atomic_fetch_add(&p->epoch.value, 1);
    futex_wake_all(&p->epoch.value);
    for (int i = 1; i < p->n_started; i++) pthread_join(p->worker[i].thread, NULL);
    fh_free(p->worker);
    fh_free(p);
}

int fh_pool_size(const fh_pool *p) { return p->n_worker; }

/* The caller onto a CPU that no worker is pinned to, with its own mask given back at once. */
static void step_aside(const fh_pool *p) {
    int here = sched_getcpu();
    if (here < 0 || here >= FH_MACHINE_MAX_CPUS || !p->taken[here]) return;
    cpu_set_t old[FH_MACHINE_MAX_CPUS / CPU_SETSIZE], free_set[FH_COUNT(old)];
    if (sched_getaffinity(0, sizeof old, old) != 0) return;
    memcpy(free_set, old, sizeof old);
    for (int i = 0; i < FH_MACHINE_MAX_CPUS; i++) {
        if (p->taken[i]) CPU_CLR_S((size_t)i, sizeof free_set, free_set);
    }
    if (CPU_COUNT_S(sizeof free_set, free_set) == 0) return;
    if (sched_setaffinity(0, sizeof free_set, free_set) == 0) {
        (void)sched_setaffinity(0, sizeof old, old);
    }
}

void fh_pool_run(fh_pool *p, fh_pool_fn *fn, void *ctx) {
    bool was_busy = atomic_exchange(&p->busy, true);
    FH_REQUIRE(!was_busy);
    if (p->n_worker > 1) {
        if (p->pinned) step_aside(p);
        p->fn = fn;
        p->ctx = ctx;
        atomic_store(&p->pending.value, (uint32_t)(p->n_worker - 1));
        atomic_fetch_add(&p->epoch.value, 1);
        wake(&p->epoch);
    }
    fn(ctx, 0, p->n_worker);
    uint32_t left;
    while ((left = atomic_load(&p->pending.value)) != 0) wait_for_team(&p->pending, left, p->spin_ns);
    atomic_store(&p->busy, false);
}

void fh_pool_barrier(fh_pool *p) {
    if (p->n_worker == 1) return;
    uint32_t round = atomic_load(&p->round.value);
    if (atomic_fetch_add(&p->arrived.value, 1) + 1 == (uint32_t)p->n_worker) {
        atomic_store(&p->arrived.value, 0);
        atomic_fetch_add(&p->round.value, 1);
        wake(&p->round);
        return;
    }
    while (atomic_load(&p->round.value) == round) wait_for_team(&p->round, round, p->spin_ns);
}
