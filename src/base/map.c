/* base/map.c - read-only file mappings that survive truncation.
 * SPDX-License-Identifier: Apache-2.0
 * When another program shortens a mapped file, touching a lost page raises SIGBUS. Our handler looks the address
 * up in a table of live mappings, puts zero pages over the rest of that mapping, marks it, and returns: the read
 * goes on with zeros and fh_map_check() tells. Addresses that are not ours go to the handler that was there before.
 * The table has a fixed size and is only written under a lock with release stores, so the handler, which may run
 * at any moment on any thread, reads it without locks. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/num.h"

#define MAX_MAPS 1024 /* a model of 300 shards, several times over */

struct fh_map {
    fh_bytes bytes;
    char *path;
    int slot; /* in the table; -1 = static or empty */
};

static struct slot {
    _Atomic uintptr_t start, end; /* 0, 0 = free */
    _Atomic bool lost;
} slots[MAX_MAPS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction before;
static uintptr_t page_size;

static void on_sigbus(int sig, siginfo_t *info, void *context) {
    uintptr_t at = (uintptr_t)info->si_addr;
    int saved = errno;
    for (int i = 0; i < MAX_MAPS; i++) {
        uintptr_t start = atomic_load(&slots[i].start), end = atomic_load(&slots[i].end);
        if (at < start || at >= end) continue;
        uintptr_t page = at & ~(page_size - 1);
        atomic_store(&slots[i].lost, true);
        /* the bare system call: safe in a handler, and no sanitizer takes it for a write to what others read */
        long p = syscall(SYS_mmap, page, end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        errno = saved;
        if (p == (long)page) return;
        break;
    }
    errno = saved;
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(sig, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(sig);
    } else {
        signal(sig, SIG_DFL); /* the fault comes again and ends the process as it should */
    }
}

static void install(void) {
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct sigaction act = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigemptyset(&act.sa_mask);
    sigaction(SIGBUS, &act, &before);
}

static int take_slot(uintptr_t start, uintptr_t end) {
    int found = -1;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_MAPS && found < 0; i++)
        if (atomic_load(&slots[i].end) == 0) found = i;
    if (found >= 0) {
        atomic_store(&slots[found].lost, false);
        atomic_store(&slots[found].start, start);
        atomic_store(&slots[found].end, end); /* from here on the handler sees it */
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void give_slot(int i) {
    pthread_mutex_lock(&lock);
    atomic_store(&slots[i].end, 0);
    atomic_store(&slots[i].start, 0);
    pthread_mutex_unlock(&lock);
}

static fh_map *new_map(const char *path, fh_err *err) {
    fh_map *m = fh_alloc_zero(1, sizeof *m);
    char *copy = fh_strdup(fh_str_of(path));
    if (!m || !copy) {
        fh_free(m);
        fh_free(copy);
        fh_fail_memory(err, sizeof *m);
        return NULL;
    }
    m->path = copy;
    m->slot = -1;
    return m;
}

static fh_status map_fd(fh_map *m, int fd, fh_err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return fh_fail_errno(err, "look at", m->path);
    if (!S_ISREG(st.st_mode)) return fh_fail(err, FH_ERR_UNSUPPORTED, "not a regular file");
    if (st.st_size == 0) {
        m->bytes = (fh_bytes){(const uint8_t *)"", 0};
        return FH_OK;
    }
    size_t size = (size_t)st.st_size;
    void *p = FH_FAULT(FH_FAULT_MMAP) ? MAP_FAILED : mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return fh_fail_errno(err, "map", m->path);
    uintptr_t start = (uintptr_t)p;
    m->slot = take_slot(start, (start + size + page_size - 1) & ~(page_size - 1));
    if (m->slot < 0) {
        munmap(p, size);
        return fh_fail(err, FH_ERR_LIMIT, "more than %d files open at once", MAX_MAPS);
    }
    m->bytes = (fh_bytes){p, size};
    return FH_OK;
}

fh_status fh_map_open(fh_map **out, const char *path, fh_err *err) {
    pthread_once(&once, install);
    fh_map *m = new_map(path, err);
    if (!m) return FH_ERR_MEMORY;
    /* O_NONBLOCK: a named pipe must not make us wait for its writer */
    int fd = FH_FAULT(FH_FAULT_OPEN) ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    fh_status status = fd < 0 ? fh_fail_errno(err, "open", path) : map_fd(m, fd, err);
    if (fd >= 0) close(fd);
    if (status != FH_OK) {
        fh_err_set_path(err, path);
        fh_map_close(m);
        return status;
    }
    *out = m;
    return FH_OK;
}

fh_status fh_map_static(fh_map **out, fh_bytes bytes, const char *name, fh_err *err) {
    fh_map *m = new_map(name, err);
    if (!m) return FH_ERR_MEMORY;
    m->bytes = bytes;
    *out = m;
    return FH_OK;
}

void fh_map_close(fh_map *m) {
    if (!m) return;
    if (m->slot >= 0) {
        /* leave the table first: once unmapped, the addresses may belong to somebody else */
        size_t len = m->bytes.len;
        uintptr_t start = atomic_load(&slots[m->slot].start);
        give_slot(m->slot);
        munmap((void *)start, len);
    }
    fh_free(m->path);
    fh_free(m);
}

fh_bytes fh_map_bytes(const fh_map *m) { return m->bytes; }
const char *fh_map_path(const fh_map *m) { return m->path; }

fh_status fh_map_check(const fh_map *m, fh_err *err) {
    if (m->slot < 0 || !atomic_load(&slots[m->slot].lost)) return FH_OK;
    fh_status status = fh_fail(err, FH_ERR_CORRUPT, "the file was shortened while it was in use");
    fh_err_set_path(err, m->path);
    return status;
}

void fh_map_advise(const fh_map *m, size_t offset, size_t len, fh_map_hint hint) {
    static const int advice[] = {[FH_MAP_SEQUENTIAL] = MADV_SEQUENTIAL,
                                 [FH_MAP_RANDOM] = MADV_RANDOM,
                                 [FH_MAP_WILLNEED] = MADV_WILLNEED,
                                 [FH_MAP_DROP] = MADV_DONTNEED};
    if (m->slot < 0 || offset >= m->bytes.len) return;
    len = FH_MIN(len, m->bytes.len - offset);
    uintptr_t from = (uintptr_t)(m->bytes.ptr + offset), to = from + len;
    from &= ~(page_size - 1);
    (void)madvise((void *)from, to - from, advice[hint]);
}
