/* base/cpu_probe.c - owns the guard under which untrusted instructions run, in this process or in a child.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses to swallow what is not its own: a fault of another thread, or a signal that somebody sent, goes to
 * the handler that was there before. Invariants: (1) one probe at a time; (2) handlers and the signal mask
 * are the caller's again when a probe returns; (3) a child leaves no core file and runs at most 2 seconds. */
#include "base/cpu_probe.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/num.h"

static const int FAULTS[] = {SIGILL, SIGSEGV, SIGBUS};

static pthread_mutex_t guard_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction guard_old[FH_COUNT(FAULTS)];
static sigjmp_buf guard_jump;
static _Atomic long guard_thread; /* 0: no probe runs */
static volatile sig_atomic_t guard_signal;

/* A fault that is not ours: as if our handler had never been there. */
static void pass_on(int sig, siginfo_t *info, void *context) {
    for (size_t i = 0; i < FH_COUNT(FAULTS); i++) {
        if (FAULTS[i] != sig) continue;
        const struct sigaction *old = &guard_old[i];
        if (old->sa_flags & SA_SIGINFO) {
            old->sa_sigaction(sig, info, context);
        } else if (old->sa_handler == SIG_IGN && info->si_code <= 0) {
            return;
        } else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
            old->sa_handler(sig);
        } else {
            /* A fault comes again when the instruction is retried; a sent signal must be sent again. */
            sigaction(sig, old, NULL);
            if (info->si_code <= 0) raise(sig);
        }
        return;
    }
}

static void on_fault(int sig, siginfo_t *info, void *context) {
    long self = syscall(SYS_gettid);
    if (info->si_code > 0 && self == atomic_load(&guard_thread)) {
        guard_signal = sig;
        siglongjmp(guard_jump, 1);
    }
    pass_on(sig, info, context);
}

static bool run_caught(fh_cpu_probe_fn *fn) {
    if (sigsetjmp(guard_jump, 1) != 0) return false;
    return fn();
}

bool fh_cpu_probe_guarded(fh_cpu_probe_fn *fn, int *sig) {
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&act.sa_mask);
    sigset_t faults, mask;
    sigemptyset(&faults);

    pthread_mutex_lock(&guard_lock);
    guard_signal = 0;
    atomic_store(&guard_thread, syscall(SYS_gettid));
    for (size_t i = 0; i < FH_COUNT(FAULTS); i++) {
        sigaddset(&faults, FAULTS[i]);
        sigaction(FAULTS[i], &act, &guard_old[i]);
    }
    /* A blocked fault would kill the process instead of reaching the handler. */
    pthread_sigmask(SIG_UNBLOCK, &faults, &mask);
    bool ok = run_caught(fn);
    for (size_t i = 0; i < FH_COUNT(FAULTS); i++) sigaction(FAULTS[i], &guard_old[i], NULL);
    atomic_store(&guard_thread, 0);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    *sig = (int)guard_signal;
    pthread_mutex_unlock(&guard_lock);
    return ok && *sig == 0;
}

static fh_cpu_child *child_page; /* in the child only */

static void on_child_fault(int sig) {
    child_page->caught = sig;
    _exit(1);
}

static _Noreturn void run_child(fh_cpu_child_fn *fn, fh_cpu_child *page) {
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    child_page = page;
    struct sigaction act = {.sa_handler = on_child_fault};
    sigset_t open;
    sigemptyset(&act.sa_mask);
    sigemptyset(&open);
    for (size_t i = 0; i < FH_COUNT(FAULTS); i++) {
        sigaction(FAULTS[i], &act, NULL);
        sigaddset(&open, FAULTS[i]);
    }
    act.sa_handler = SIG_DFL;
    sigaction(SIGALRM, &act, NULL);
    sigaddset(&open, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &open, NULL);
    alarm(2);
    fn(page);
    page->finished = 1;
    _exit(0);
}

int fh_cpu_probe_forked(fh_cpu_child_fn *fn, fh_cpu_child *out, int *sig) {
    void *page = mmap(NULL, sizeof *out, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return errno;
    fh_cpu_child *shared = page;
    pid_t pid = fork();
    if (pid < 0) {
        int code = errno;
        munmap(page, sizeof *out);
        return code;
    }
    if (pid == 0) run_child(fn, shared);
    int status = 0;
    pid_t got;
    do {
        got = waitpid(pid, &status, 0);
    } while (got < 0 && errno == EINTR);
    /* Where the host program ignores SIGCHLD there is no status; the page still tells what happened. */
    *sig = got == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (*sig == 0 && !shared->finished) *sig = shared->caught ? shared->caught : SIGKILL;
    out->stage = shared->stage;
    out->code = shared->code;
    out->proven = shared->finished ? shared->proven : 0;
    out->finished = shared->finished;
    out->caught = shared->caught;
    munmap(page, sizeof *out);
    return 0;
}

void fh_cpu_probe_say(fh_cpu_facts *facts, fh_cpu_feature f, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(facts->why[f], sizeof facts->why[f], fmt, ap);
    va_end(ap);
}

const char *fh_cpu_probe_signal(int sig) {
    switch (sig) {
    case SIGILL: return "SIGILL";
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGALRM: return "SIGALRM (it hangs)";
    case SIGKILL: return "SIGKILL";
    case SIGSYS: return "SIGSYS";
    default: return "a signal";
    }
}

#if !defined(__x86_64__) && !defined(__aarch64__)
/* Elsewhere the reference kernels are all there is. */
void fh_cpu_arch_announce(fh_cpu_facts *facts) { facts->announced = 0; }
fh_cpu_probe_fn *fh_cpu_arch_find(fh_cpu_feature f) {
    (void)f;
    return NULL;
}
void fh_cpu_arch_children(fh_cpu_facts *facts) { (void)facts; }
#endif
