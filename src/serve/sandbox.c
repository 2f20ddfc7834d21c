/* serve/sandbox.c - Landlock and seccomp, by the kernel's own interface, and the proof that they hold.
 * SPDX-License-Identifier: Apache-2.0
 * Landlock binds files: what may be read, what may be written. seccomp answers EPERM to calls that a server has no use
 * for once it listens: programs, tracing, mounts, modules, keys, namespaces, new sockets and outgoing connections. A
 * filter cannot look behind pointers, so clone3 is answered ENOSYS (the C library then uses clone, whose flags can be
 * seen), and clone only makes threads. */
#include "serve/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/num.h"
#include "base/str.h"

/* Rights by the ABI that brought them; headers may be older than the kernel. */
#define FS_EXECUTE (1ull << 0)
#define FS_WRITE_FILE (1ull << 1)
#define FS_READ_FILE (1ull << 2)
#define FS_READ_DIR (1ull << 3)
#define FS_ABI1 ((1ull << 13) - 1)
#define FS_REFER (1ull << 13)    /* ABI 2 */
#define FS_TRUNCATE (1ull << 14) /* ABI 3 */
#define NET_BIND (1ull << 0)     /* ABI 4 */
#define NET_CONNECT (1ull << 1)

typedef struct ruleset {
    uint64_t fs, net;
} ruleset;

typedef struct path_rule {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed)) path_rule;

static long landlock_create(const ruleset *r, size_t size, uint32_t flags) {
#ifdef __NR_landlock_create_ruleset
    return syscall(__NR_landlock_create_ruleset, r, size, flags);
#else
    (void)r, (void)size, (void)flags;
    errno = ENOSYS;
    return -1;
#endif
}

static long landlock_add(int set, const path_rule *r) {
#ifdef __NR_landlock_add_rule
    return syscall(__NR_landlock_add_rule, set, 1, r, 0);
#else
    (void)set, (void)r;
    errno = ENOSYS;
    return -1;
#endif
}

static long landlock_enter(int set) {
#ifdef __NR_landlock_restrict_self
    return syscall(__NR_landlock_restrict_self, set, 0);
#else
    (void)set;
    errno = ENOSYS;
    return -1;
#endif
}

/* ---- files ---- */

static fh_status allow(int set, const char *path, uint64_t rights, fh_err *err) {
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT || errno == EACCES ? FH_OK : fh_fail_errno(err, "open", path);
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)) rights &= FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE;
    const path_rule r = {rights, fd};
    fh_status s = landlock_add(set, &r) == 0 ? FH_OK : fh_fail_errno(err, "allow", path);
    close(fd);
    return s;
}

static fh_status enter_landlock(fh_sandbox_state *st, const fh_sandbox_options *o, fh_err *err) {
    long abi = landlock_create(NULL, 0, 1);
    if (abi < 1) return FH_OK;
    st->landlock_abi = (int)abi;
    uint64_t all = FS_ABI1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0);
    const ruleset r = {all, abi >= 4 ? NET_BIND | NET_CONNECT : 0};
    long set = landlock_create(&r, abi >= 4 ? sizeof r : sizeof r.fs, 0);
    if (set < 0) return fh_fail_errno(err, "make Landlock rules", NULL);
    fh_status s = FH_OK;
    for (size_t i = 0; i < o->n_read && s == FH_OK; i++)
        s = allow((int)set, o->read[i], FS_READ_FILE | FS_READ_DIR, err);
    for (size_t i = 0; i < o->n_write && s == FH_OK; i++) s = allow((int)set, o->write[i], all & ~FS_EXECUTE, err);
    if (s == FH_OK && landlock_enter((int)set) != 0) s = fh_fail_errno(err, "enter Landlock", NULL);
    close((int)set);
    if (s != FH_OK) return s;
    st->files = true;
    st->network = abi >= 4;
    return FH_OK;
}

/* ---- calls ---- */

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef THIS_ARCH
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)
#define DENY(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(call), 0, 1), ANSWER(REFUSE)

static const struct sock_filter filter[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0),
    ANSWER(SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
#ifdef __x86_64__
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1), /* the x32 numbers of the same calls */
    ANSWER(REFUSE),
    DENY(__NR_fork),
    DENY(__NR_vfork),
    DENY(__NR_create_module),
    DENY(__NR_iopl),
    DENY(__NR_ioperm),
    DENY(__NR_modify_ldt),
    DENY(__NR_uselib),
#endif
    DENY(__NR_execve),
    DENY(__NR_execveat),
    DENY(__NR_ptrace),
    DENY(__NR_process_vm_readv),
    DENY(__NR_process_vm_writev),
    DENY(__NR_bpf),
    DENY(__NR_perf_event_open),
    DENY(__NR_userfaultfd),
    DENY(__NR_mount),
    DENY(__NR_umount2),
    DENY(__NR_pivot_root),
    DENY(__NR_chroot),
    DENY(__NR_setns),
    DENY(__NR_unshare),
    DENY(__NR_init_module),
    DENY(__NR_finit_module),
    DENY(__NR_delete_module),
    DENY(__NR_kexec_load),
    DENY(__NR_reboot),
    DENY(__NR_swapon),
    DENY(__NR_swapoff),
    DENY(__NR_add_key),
    DENY(__NR_request_key),
    DENY(__NR_keyctl),
    DENY(__NR_acct),
    DENY(__NR_quotactl),
    DENY(__NR_sethostname),
    DENY(__NR_setdomainname),
    DENY(__NR_settimeofday),
    DENY(__NR_clock_settime),
    DENY(__NR_open_by_handle_at),
    DENY(__NR_personality),
    DENY(__NR_io_uring_setup),
    DENY(__NR_socket),
    DENY(__NR_connect),
    DENY(__NR_bind),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone3, 0, 1),
    ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 3),
    LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
    ANSWER(REFUSE),
    ANSWER(SECCOMP_RET_ALLOW),
};

static fh_status enter_seccomp(fh_sandbox_state *st, fh_err *err) {
    const struct sock_fprog prog = {.len = (unsigned short)FH_COUNT(filter),
                                    .filter = (struct sock_filter *)(uintptr_t)filter};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) != 0)
        return errno == EINVAL || errno == ENOSYS ? FH_OK : fh_fail_errno(err, "enter seccomp", NULL);
    st->calls = true;
    return FH_OK;
}
#else
static fh_status enter_seccomp(fh_sandbox_state *st, fh_err *err) {
    (void)st, (void)err;
    return FH_OK;
}
#endif

/* ---- the proof ---- */

static void tally(fh_sandbox_state *st, bool refused) {
    st->tried++;
    st->refused += refused;
}

static bool is_refused(long rc) { return rc < 0 && (errno == EPERM || errno == EACCES); }

static void try_calls(fh_sandbox_state *st) {
    char *const none[] = {NULL};
    tally(st, is_refused(syscall(__NR_execve, "/bin/true", none, none)));
    tally(st, is_refused(syscall(__NR_ptrace, 0, 0, 0, 0))); /* PTRACE_TRACEME */
    tally(st, is_refused(syscall(__NR_unshare, CLONE_NEWNS)));
    tally(st, is_refused(syscall(__NR_mount, "none", "/", "tmpfs", 0, NULL)));
    tally(st, is_refused(syscall(__NR_bpf, 0, NULL, 0)));
    tally(st, is_refused(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    tally(st, is_refused(syscall(__NR_connect, -1, NULL, 0)));
    long pid = syscall(__NR_clone, 17 /* SIGCHLD: a fork */, 0, 0, 0, 0);
    if (pid == 0) syscall(__NR_exit_group, 0); /* it was not refused: the child goes, the parent reports */
    tally(st, is_refused(pid));
}

static void try_files(fh_sandbox_state *st, const fh_sandbox_options *o) {
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool root_is_allowed = false;
    for (size_t i = 0; i < o->n_read; i++) root_is_allowed = root_is_allowed || strcmp(o->read[i], "/") == 0;
    for (size_t i = 0; i < o->n_write; i++) root_is_allowed = root_is_allowed || strcmp(o->write[i], "/") == 0;
    if (!root_is_allowed) tally(st, is_refused(fd));
    if (fd >= 0) close(fd);
    for (size_t i = 0; i < o->n_write; i++) { /* and what is allowed still works */
        int own = open(o->write[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        tally(st, own >= 0);
        if (own >= 0) close(own);
    }
}

fh_status fh_sandbox_enter(fh_sandbox_state *out, const fh_sandbox_options *opt, fh_err *err) {
    fh_sandbox_state st = {.entered = true};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fh_fail_errno(err, "give up new privileges", NULL);
    st.no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* prompts and keys do not end in a core file */
    FH_TRY(enter_landlock(&st, opt, err));
    FH_TRY(enter_seccomp(&st, err));
    if (st.calls) try_calls(&st);
    if (st.files) try_files(&st, opt);
    snprintf(st.missing, sizeof st.missing, "%s%s%s",
             st.files ? "" : "this kernel has no Landlock: files are not bound. ",
             st.calls ? "" : "this kernel has no seccomp filters: calls are not bound. ",
             st.files && !st.network && !st.calls ? "TCP is not bound." : "");
    if (st.refused != st.tried)
        return fh_fail(err, FH_ERR_DENIED, "the sandbox does not hold: %u of %u trials were let pass",
                       st.tried - st.refused, st.tried);
    *out = st;
    return FH_OK;
}
