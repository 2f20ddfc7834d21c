/* tests/unit/test_cpu.c - base/cpu: facts that agree with each other, and a guard that survives what it runs.
 * SPDX-License-Identifier: Apache-2.0
 * The announced set is compared with what the kernel prints in /proc/cpuinfo. A machine whose tiles trap is made by
 * a system-call filter: the permission is "granted" without being given, so the first tile load faults. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/cpu_probe.h"
#include "base/num.h"
#include "test.h"

static fh_cpu_level top_level(void) {
    fh_cpu_level top = FH_CPU_LEVEL_REF;
    for (int l = 0; l < FH_CPU_LEVEL_COUNT; l++) {
        if (fh_cpu_level_is_here((fh_cpu_level)l)) top = (fh_cpu_level)l;
    }
    return top;
}

TEST(cpu, facts_agree) {
    for (int i = 0; i < FH_CPU_COUNT; i++) {
        fh_cpu_feature f = (fh_cpu_feature)i;
        CHECK(!fh_cpu_proven(f) || fh_cpu_announced(f));
        CHECK((fh_cpu_why_not(f)[0] == 0) == fh_cpu_proven(f));
        CHECK(fh_cpu_has(f) == fh_cpu_proven(f)); /* nothing is lowered */
        CHECK(fh_cpu_name(f)[0] != 0);
    }
    CHECK(fh_cpu_has_level(FH_CPU_LEVEL_REF));
    CHECK(fh_cpu_has_level(fh_cpu_best_level()));
    CHECK(!fh_cpu_has((fh_cpu_feature)FH_CPU_COUNT));
    if (fh_cpu_has_level(FH_CPU_LEVEL_AVX512)) {
        CHECK(fh_cpu_has(FH_CPU_AVX2) && fh_cpu_has(FH_CPU_FMA) && fh_cpu_has(FH_CPU_AVX512BW));
        CHECK(fh_cpu_has_level(FH_CPU_LEVEL_AVX2));
    }
    if (fh_cpu_has_level(FH_CPU_LEVEL_AMX)) CHECK(fh_cpu_has(FH_CPU_AMX_TILE));
    CHECK(fh_cpu_probe_ns() > 0);
#if defined(__x86_64__)
    CHECK(!fh_cpu_has_level(FH_CPU_LEVEL_NEON) && !fh_cpu_announced(FH_CPU_SVE));
#elif defined(__aarch64__)
    CHECK(fh_cpu_has(FH_CPU_NEON) && !fh_cpu_announced(FH_CPU_AVX));
#endif
}

/* What the kernel lists is announced. (Not the other way round: old kernels lack names for new features.) */
TEST(cpu, agrees_with_the_kernel) {
    static const struct {
        fh_cpu_feature feature;
        const char *flag;
    } NAMES[] = {
        {FH_CPU_SSE42, " sse4_2 "},
        {FH_CPU_AVX, " avx "},
        {FH_CPU_F16C, " f16c "},
        {FH_CPU_FMA, " fma "},
        {FH_CPU_AVX2, " avx2 "},
        {FH_CPU_AVXVNNI, " avx_vnni "},
        {FH_CPU_AVX512F, " avx512f "},
        {FH_CPU_AVX512BW, " avx512bw "},
        {FH_CPU_AVX512DQ, " avx512dq "},
        {FH_CPU_AVX512VL, " avx512vl "},
        {FH_CPU_AVX512VNNI, " avx512_vnni "},
        {FH_CPU_AVX512VBMI, " avx512vbmi "},
        {FH_CPU_AVX512BF16, " avx512_bf16 "},
        {FH_CPU_AVX512FP16, " avx512_fp16 "},
        {FH_CPU_AMX_TILE, " amx_tile "},
        {FH_CPU_AMX_INT8, " amx_int8 "},
        {FH_CPU_AMX_BF16, " amx_bf16 "},
        {FH_CPU_NEON, " asimd "},
        {FH_CPU_DOTPROD, " asimddp "},
        {FH_CPU_I8MM, " i8mm "},
        {FH_CPU_ARM_BF16, " bf16 "},
        {FH_CPU_SVE, " sve "},
    };
    char text[8192] = "";
    int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    text[n > 0 ? n : 0] = 0;
    char *flags = strstr(text, "\nflags");
    if (flags == NULL) flags = strstr(text, "\nFeatures");
    if (flags == NULL) fh_test_skip("this kernel lists no processor flags");
    char *end = strchr(flags + 1, '\n');
    if (end != NULL) *end = ' ';
#if defined(__aarch64__)
    /* An emulator of programs shows the flags of its host. */
    if (strstr(flags, " sse2 ") != NULL) fh_test_skip("/proc/cpuinfo is about another processor");
#endif
    for (size_t i = 0; i < FH_COUNT(NAMES); i++) {
        if (strstr(flags, NAMES[i].flag) == NULL) continue;
        if (!fh_cpu_announced(NAMES[i].feature)) {
            fh_test_fail(__FILE__, __LINE__, "the kernel lists%sand we do not", NAMES[i].flag);
        }
    }
}

TEST(cpu, limit_hides_and_gives_back) {
    fh_err err = {0};
    fh_cpu_level top = top_level();
    CHECK_STATUS(fh_cpu_limit(FH_STR("no-such-level"), &err), FH_ERR_USAGE);
    CHECK(strstr(err.message, "no-such-level") != NULL && strstr(err.message, "ref, ") != NULL);
    CHECK(strstr(err.message, fh_cpu_level_name(top)) != NULL);
    fh_status status = fh_cpu_limit(FH_STR("ref"), &err);
    fh_cpu_level best = fh_cpu_best_level();
    bool any = false, proven = false;
    for (int i = 0; i < FH_CPU_COUNT; i++) {
        any = any || fh_cpu_has((fh_cpu_feature)i);
        proven = proven || fh_cpu_proven((fh_cpu_feature)i);
    }
    fh_status back = fh_cpu_limit(fh_str_of(fh_cpu_level_name(top)), &err);
    CHECK_OK(status, err);
    CHECK_OK(back, err);
    CHECK(best == FH_CPU_LEVEL_REF && !any);
    for (int i = 0; i < FH_CPU_COUNT; i++) {
        CHECK(fh_cpu_has((fh_cpu_feature)i) == fh_cpu_proven((fh_cpu_feature)i));
    }
    if (!proven) fh_test_skip("this machine has nothing above the reference level");
#if defined(__x86_64__)
    CHECK_OK(fh_cpu_limit(FH_STR("avx2"), &err), err);
    bool avx2 = fh_cpu_has(FH_CPU_AVX2), wide = fh_cpu_has(FH_CPU_AVX512F) || fh_cpu_has(FH_CPU_AVXVNNI);
    CHECK_OK(fh_cpu_limit(fh_str_of(fh_cpu_level_name(top)), &err), err);
    CHECK(avx2 == fh_cpu_proven(FH_CPU_AVX2) && !wide);
    CHECK_STATUS(fh_cpu_limit(FH_STR("neon"), &err), FH_ERR_USAGE);
#endif
}

/* ---- the guard ---- */

static void run_illegal(void) {
#if defined(__x86_64__)
    __asm__ volatile("ud2");
#elif defined(__aarch64__)
    __asm__ volatile(".inst 0x00000000");
#else
    raise(SIGILL);
#endif
}

static void *volatile nowhere;
static const volatile uint8_t *volatile lost_page;

static bool probe_good(void) { return true; }
static bool probe_wrong(void) { return false; }
static bool probe_illegal(void) {
    run_illegal();
    return true;
}
__attribute__((no_sanitize("undefined", "address", "thread"))) static bool probe_nowhere(void) {
    return *(volatile uint8_t *)nowhere == 1;
}
__attribute__((no_sanitize("undefined", "address", "thread"))) static bool probe_lost(void) { return *lost_page == 1; }

static void check_probe(fh_cpu_probe_fn *fn, bool want, int want_sig) {
    int sig = -1;
    bool ok = fh_cpu_probe_guarded(fn, &sig);
    CHECK(ok == want);
    CHECK_U64(sig, want_sig);
}

TEST(cpu, guard_survives_faults) {
    check_probe(probe_good, true, 0);
    check_probe(probe_wrong, false, 0);
    for (int i = 0; i < 3; i++) {
        check_probe(probe_illegal, false, SIGILL);
        check_probe(probe_nowhere, false, SIGSEGV);
    }
    check_probe(probe_good, true, 0);
}

TEST(cpu, guard_survives_a_lost_page) {
    char path[512];
    snprintf(path, sizeof path, "%s/lost", fh_test_tmp());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    int grown = ftruncate(fd, 4096);
    void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    int cut = ftruncate(fd, 0);
    close(fd);
    CHECK(grown == 0 && cut == 0 && page != MAP_FAILED);
    lost_page = page;
    int sig = 0;
    bool ok = fh_cpu_probe_guarded(probe_lost, &sig);
    munmap(page, 4096);
    CHECK(!ok);
    CHECK_U64(sig, SIGBUS);
}

static void never(int sig) {
    (void)sig;
    _exit(99);
}

TEST(cpu, guard_gives_handlers_and_mask_back) {
    struct sigaction mine = {.sa_handler = never, .sa_flags = SA_RESTART}, before, after;
    sigset_t blocked, old, now;
    sigemptyset(&mine.sa_mask);
    sigaddset(&mine.sa_mask, SIGUSR2);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGILL);
    sigaction(SIGILL, &mine, &before);
    pthread_sigmask(SIG_BLOCK, &blocked, &old);
    int sig = 0;
    bool ok = fh_cpu_probe_guarded(probe_illegal, &sig);
    pthread_sigmask(SIG_SETMASK, &old, &now);
    sigaction(SIGILL, &before, &after);
    CHECK(!ok && sig == SIGILL);
    CHECK(sigismember(&now, SIGILL) == 1);
    CHECK(after.sa_handler == never && (after.sa_flags & SA_RESTART) != 0);
    CHECK(sigismember(&after.sa_mask, SIGUSR2) == 1 && sigismember(&after.sa_mask, SIGUSR1) == 0);
}

/* Another thread faults while a probe runs: its own handler must get that, and the probe must go on. */
static sigjmp_buf other_jump;
static _Atomic int other_state; /* 1: the probe runs, 2: the other thread's fault was handled */

static void on_other(int sig) {
    (void)sig;
    siglongjmp(other_jump, 1);
}

static bool probe_waits(void) {
    atomic_store(&other_state, 1);
    while (atomic_load(&other_state) != 2) usleep(100);
    return true;
}

static void *other_thread(void *arg) {
    while (atomic_load(&other_state) != 1) usleep(100);
    if (sigsetjmp(other_jump, 1) == 0) run_illegal();
    atomic_store(&other_state, 2);
    return arg;
}

TEST(cpu, guard_passes_on_faults_of_others) {
    struct sigaction mine = {.sa_handler = on_other}, before;
    sigemptyset(&mine.sa_mask);
    atomic_store(&other_state, 0);
    sigaction(SIGILL, &mine, &before);
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, other_thread, NULL);
    int sig = 0;
    bool ok = rc == 0 && fh_cpu_probe_guarded(probe_waits, &sig);
    if (rc == 0) pthread_join(thread, NULL);
    sigaction(SIGILL, &before, NULL);
    CHECK(rc == 0 && ok && sig == 0);
}

/* ---- children ---- */

static void child_good(fh_cpu_child *c) {
    c->stage = 7;
    c->proven = 5;
}
static void child_illegal(fh_cpu_child *c) {
    c->stage = 3;
    c->proven = 5;
    run_illegal();
    c->stage = 4;
}
static void child_killed(fh_cpu_child *c) {
    c->stage = 2;
    kill(getpid(), SIGKILL);
    c->stage = 4;
}

static void check_child(fh_cpu_child_fn *fn, int want_stage, int want_sig, uint32_t want_proven) {
    fh_cpu_child c = {0};
    int sig = -1;
    int code = fh_cpu_probe_forked(fn, &c, &sig);
    CHECK_U64(code, 0);
    CHECK_U64(sig, want_sig);
    CHECK_U64(c.stage, want_stage);
    CHECK_U64(c.proven, want_proven);
}

TEST(cpu, child_may_die) {
    check_child(child_good, 7, 0, 5);
    check_child(child_illegal, 3, SIGILL, 0);
    check_child(child_killed, 2, SIGKILL, 0);
}

TEST(cpu, child_works_where_sigchld_is_ignored) {
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGCHLD, &ignore, &before);
    fh_cpu_child good = {0}, bad = {0};
    int good_sig = -1, bad_sig = -1;
    int a = fh_cpu_probe_forked(child_good, &good, &good_sig);
    int b = fh_cpu_probe_forked(child_illegal, &bad, &bad_sig);
    sigaction(SIGCHLD, &before, NULL);
    CHECK(a == 0 && b == 0);
    CHECK(good_sig == 0 && good.proven == 5);
    CHECK(bad_sig == SIGILL && bad.proven == 0 && bad.stage == 3);
}

/* From now on the system call answers `code` (0: success without doing anything). Cannot be undone. */
static bool filter_call(int number, int second, int code) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)second, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((uint32_t)code & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = FH_COUNT(rules), .filter = rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

enum { IN_CHILD_RIGHT = 0, IN_CHILD_WRONG = 1, IN_CHILD_NO_FILTER = 77 };

static int wait_for(pid_t pid) {
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(cpu, no_child_can_be_started) {
#ifdef SYS_clone3
    const int second = SYS_clone3;
#else
    const int second = SYS_clone;
#endif
    pid_t pid = fork();
    if (pid == 0) {
        fh_cpu_child c = {0};
        int sig = 0;
        if (!filter_call(SYS_clone, second, EAGAIN)) _exit(IN_CHILD_NO_FILTER);
        int code = fh_cpu_probe_forked(child_good, &c, &sig);
        _exit(code == EAGAIN && c.proven == 0 ? IN_CHILD_RIGHT : IN_CHILD_WRONG);
    }
    int got = wait_for(pid);
    if (got == IN_CHILD_NO_FILTER) fh_test_skip("system-call filters cannot be installed here");
    CHECK_U64(got, IN_CHILD_RIGHT);
}

#if defined(__x86_64__)
enum { ARCH_REQUEST_PERMISSION = 0x1023 }; /* the only use of arch_prctl after start-up */

/* Run by the case below in a process whose tiles trap; by itself it only looks for a contradiction. */
TEST(cpu, tiles_are_not_taken_on_trust) {
    bool filtered = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2;
    if (!fh_cpu_announced(FH_CPU_AMX_TILE)) {
        CHECK(!fh_cpu_proven(FH_CPU_AMX_TILE));
    } else if (filtered) {
        CHECK(!fh_cpu_proven(FH_CPU_AMX_TILE) && !fh_cpu_proven(FH_CPU_AMX_INT8));
        CHECK(strstr(fh_cpu_why_not(FH_CPU_AMX_TILE), "traps with SIG") != NULL);
        CHECK(!fh_cpu_has_level(FH_CPU_LEVEL_AMX));
    } else if (!fh_cpu_proven(FH_CPU_AMX_TILE)) {
        CHECK(fh_cpu_why_not(FH_CPU_AMX_TILE)[0] != 0 && !fh_cpu_has_level(FH_CPU_LEVEL_AMX));
    }
}

TEST(cpu, a_machine_whose_tiles_trap_is_survived) {
    pid_t pid = fork();
    if (pid == 0) {
        char self[] = "/proc/self/exe", name[] = "cpu.tiles_are_not_taken_on_trust";
        char *args[] = {self, name, NULL};
        /* A sanitizer's own start-up also uses arch_prctl to read its base: answered by the real call there. */
        struct sock_filter rules[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH_REQUEST_PERMISSION, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {.len = FH_COUNT(rules), .filter = rules};
        int out = open("/dev/null", O_WRONLY);
        if (out >= 0) dup2(out, 1);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
            _exit(IN_CHILD_NO_FILTER);
        }
        execv(self, args);
        _exit(126);
    }
    int got = wait_for(pid);
    if (got == IN_CHILD_NO_FILTER) fh_test_skip("system-call filters cannot be installed here");
    CHECK_U64(got, 0);
}
#endif
