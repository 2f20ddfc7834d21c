/* base/machine.c - owns the reading of machine facts from /proc, /sys and system calls.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses to guess: a fact that cannot be read stays 0 or "". What those files say is still foreign text, so
 * every read is cut at a fixed size and every number is checked. Heap is not used. */
#include "base/machine.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/machine_part.h"
#include "base/num.h"
#include "base/str.h"

size_t fh_machine_read_text(char *out, size_t size, const char *fmt, ...) {
    char path[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    out[0] = 0;
    if (n < 0 || (size_t)n >= sizeof path) return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return 0;
    size_t len = 0;
    while (len < size - 1) {
        ssize_t got = read(fd, out + len, size - 1 - len);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        len += (size_t)got;
    }
    close(fd);
    out[len] = 0;
    return len;
}

bool fh_machine_first_u64(const char *text, uint64_t *out) {
    while (*text == ' ' || *text == '\t') text++;
    size_t n = 0;
    while (isdigit((unsigned char)text[n])) n++;
    return n > 0 && fh_str_u64((fh_str){text, n}, out);
}

/* The value of "name<blanks>:<blanks>value" in a text of such lines; NULL if it has none. */
static const char *field(const char *text, const char *name) {
    size_t n = strlen(name);
    for (const char *line = text; line != NULL && *line != 0;) {
        if (strncmp(line, name, n) == 0) {
            const char *at = line + n;
            while (*at == ' ' || *at == '\t') at++;
            if (*at == ':') {
                at++;
                while (*at == ' ' || *at == '\t') at++;
                return at;
            }
        }
        line = strchr(line, '\n');
        if (line != NULL) line++;
    }
    return NULL;
}

static void copy_line(char *out, size_t size, const char *from) {
    size_t n = 0;
    while (from[n] != 0 && from[n] != '\n' && n < size - 1) {
        out[n] = from[n] >= ' ' && from[n] != 127 ? from[n] : ' ';
        n++;
    }
    while (n > 0 && out[n - 1] == ' ') n--;
    out[n] = 0;
}

/* ---- memory ---- */

static uint64_t meminfo(const char *text, const char *name) {
    const char *at = field(text, name);
    uint64_t v = 0;
    if (at == NULL || !fh_machine_first_u64(at, &v)) return 0;
    return strstr(at, "kB") != NULL && v < UINT64_MAX / 1024 ? v * 1024 : v;
}

static uint64_t meminfo_count(const char *text, const char *name) {
    const char *at = field(text, name);
    uint64_t v = 0;
    return at != NULL && fh_machine_first_u64(at, &v) ? v : 0;
}

static fh_machine_thp read_thp(void) {
    char text[128];
    fh_machine_read_text(text, sizeof text, "/sys/kernel/mm/transparent_hugepage/enabled");
    if (strstr(text, "[always]")) return FH_THP_ALWAYS;
    if (strstr(text, "[madvise]")) return FH_THP_MADVISE;
    return strstr(text, "[never]") ? FH_THP_NEVER : FH_THP_UNKNOWN;
}

static void read_memory(fh_machine_memory *m) {
    char text[8192];
    fh_machine_read_text(text, sizeof text, "/proc/meminfo");
    m->total_bytes = meminfo(text, "MemTotal");
    m->available_bytes = meminfo(text, "MemAvailable");
    m->swap_bytes = meminfo(text, "SwapTotal");
    m->huge_page_bytes = meminfo(text, "Hugepagesize");
    m->huge_total = meminfo_count(text, "HugePages_Total");
    m->huge_free = meminfo_count(text, "HugePages_Free");
    m->thp = read_thp();
    m->usable_bytes = m->available_bytes;

    fh_machine_group g;
    fh_machine_read_group(&g);
    if (g.memory_limit != 0 && g.memory_limit < m->total_bytes) {
        m->group_limit_bytes = g.memory_limit;
        m->usable_bytes = FH_MIN(m->usable_bytes, g.memory_left);
    }
    struct rlimit r;
    if (getrlimit(RLIMIT_MEMLOCK, &r) == 0) {
        m->locked_limit_bytes = r.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)r.rlim_cur;
    }
}

/* ---- sandbox ---- */

static void read_sandbox(fh_machine_sandbox *s) {
#ifdef SYS_landlock_create_ruleset
    long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1u /* ask for the version */);
    s->landlock_abi = abi > 0 ? (int)abi : 0;
#endif
    uint32_t action = SECCOMP_RET_ERRNO;
    s->seccomp_filters = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
    char text[4096];
    fh_machine_read_text(text, sizeof text, "/proc/self/status");
    const char *at = field(text, "Seccomp");
    uint64_t mode = 0;
    s->seccomp_mode = at != NULL && fh_machine_first_u64(at, &mode) && mode < 3 ? (int)mode : -1;
    s->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

/* ---- names ---- */

static void read_names(fh_machine *m) {
    struct utsname u;
    if (uname(&u) == 0) {
        snprintf(m->kernel, sizeof m->kernel, "%.40s %.80s", u.sysname, u.release);
        snprintf(m->arch, sizeof m->arch, "%.31s", u.machine);
    }
    char text[4096];
    fh_machine_read_text(text, sizeof text, "/etc/os-release");
    for (const char *line = text; line != NULL && *line != 0;) {
        if (strncmp(line, "PRETTY_NAME=", 12) == 0) {
            const char *at = line + 12;
            if (*at == '"') at++;
            copy_line(m->system, sizeof m->system, at);
            size_t n = strlen(m->system);
            if (n > 0 && m->system[n - 1] == '"') m->system[n - 1] = 0;
            break;
        }
        line = strchr(line, '\n');
        if (line != NULL) line++;
    }
}

static void read_model(fh_machine_cpus *c) {
    char text[4096];
    fh_machine_read_text(text, sizeof text, "/proc/cpuinfo");
    const char *name = field(text, "model name");
    if (name != NULL) {
        copy_line(c->model, sizeof c->model, name);
    } else {
        const char *maker = field(text, "CPU implementer"), *part = field(text, "CPU part");
        if (maker != NULL && part != NULL) {
            char a[16], b[16];
            copy_line(a, sizeof a, maker);
            copy_line(b, sizeof b, part);
            snprintf(c->model, sizeof c->model, "ARM implementer %s part %s", a, b);
        }
    }
    const char *flags = field(text, "flags");
    char line[3072] = "";
    if (flags != NULL) copy_line(line, sizeof line, flags);
    c->virtual = strstr(line, " hypervisor") != NULL;
}

void fh_machine_read(fh_machine *out) {
    memset(out, 0, sizeof *out);
    read_names(out);
    read_model(&out->cpu);
    fh_machine_read_topology(&out->cpu);
    fh_machine_group g;
    fh_machine_read_group(&g);
    out->cpu.quota = g.cpu_quota;
    out->cpu.usable = fh_machine_usable_cpus();
    read_memory(&out->memory);
    read_sandbox(&out->sandbox);
}
