/* base/machine_cpus.c - owns the facts on CPUs: which exist, which share a core, which we may use, caches.
 * SPDX-License-Identifier: Apache-2.0
 * The affinity mask is read once per process: a thread that was pinned since must not make the machine look
 * smaller to the next pool. */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/machine_part.h"
#include "base/num.h"

#define SYS_CPU "/sys/devices/system/cpu"

typedef struct cpu_mask {
    uint64_t word[FH_MACHINE_MAX_CPUS / 64];
} cpu_mask;

static pthread_once_t mask_once = PTHREAD_ONCE_INIT;
static cpu_mask mask_allowed;
static int mask_count;

static bool in_mask(const cpu_mask *m, int cpu) { return m->word[cpu / 64] >> (cpu % 64) & 1; }

static void read_mask(void) {
    cpu_set_t set[FH_MACHINE_MAX_CPUS / CPU_SETSIZE + (FH_MACHINE_MAX_CPUS % CPU_SETSIZE != 0)];
    CPU_ZERO_S(sizeof set, set);
    if (sched_getaffinity(0, sizeof set, set) == 0) {
        for (int i = 0; i < FH_MACHINE_MAX_CPUS; i++) {
            if (!CPU_ISSET_S((size_t)i, sizeof set, set)) continue;
            mask_allowed.word[i / 64] |= UINT64_C(1) << (i % 64);
            mask_count++;
        }
    }
    if (mask_count == 0) { /* more CPUs than we count, or no such call here: the count at least is known */
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        mask_count = n < 1 ? 1 : (int)FH_MIN(n, FH_MACHINE_MAX_CPUS);
        for (int i = 0; i < mask_count; i++) mask_allowed.word[i / 64] |= UINT64_C(1) << (i % 64);
    }
}

/* The first CPU of a list such as "3,19" or "0-1"; -1 when the file is not there. */
static int first_of_list(int cpu, const char *file) {
    char text[64];
    uint64_t v = 0;
    fh_machine_read_text(text, sizeof text, SYS_CPU "/cpu%d/%s", cpu, file);
    return fh_machine_first_u64(text, &v) && v < FH_MACHINE_MAX_CPUS ? (int)v : -1;
}

static bool leads_its_core(int cpu) {
    int first = first_of_list(cpu, "topology/thread_siblings_list");
    return first < 0 || first == cpu;
}

int fh_machine_list_cpus(int *out, int max) {
    pthread_once(&mask_once, read_mask);
    static const bool PASS[] = {true, false};
    bool leads[FH_MACHINE_MAX_CPUS];
    int n = 0;
    for (int i = 0; i < FH_MACHINE_MAX_CPUS; i++) {
        leads[i] = in_mask(&mask_allowed, i) && leads_its_core(i);
    }
    for (size_t pass = 0; pass < FH_COUNT(PASS); pass++) {
        for (int i = 0; i < FH_MACHINE_MAX_CPUS && n < max; i++) {
            if (in_mask(&mask_allowed, i) && leads[i] == PASS[pass]) out[n++] = i;
        }
    }
    return n;
}

int fh_machine_usable_cpus(void) {
    pthread_once(&mask_once, read_mask);
    fh_machine_group g;
    fh_machine_read_group(&g);
    int n = mask_count;
    if (g.cpu_quota > 0 && g.cpu_quota < n) {
        int whole = (int)g.cpu_quota;
        n = whole + (g.cpu_quota > whole);
    }
    return FH_MAX(n, 1);
}

static uint64_t size_of_text(const char *text) {
    uint64_t v = 0;
    if (!fh_machine_first_u64(text, &v) || v > UINT32_MAX) return 0;
    if (strchr(text, 'K')) return v << 10;
    if (strchr(text, 'M')) return v << 20;
    return v;
}

static void read_caches(fh_machine_cpus *c) {
    for (int i = 0; i < 8; i++) {
        char level[16], type[32], size[32];
        if (!fh_machine_read_text(level, sizeof level, SYS_CPU "/cpu0/cache/index%d/level", i)) break;
        fh_machine_read_text(type, sizeof type, SYS_CPU "/cpu0/cache/index%d/type", i);
        fh_machine_read_text(size, sizeof size, SYS_CPU "/cpu0/cache/index%d/size", i);
        uint64_t bytes = size_of_text(size);
        if (level[0] == '1' && type[0] == 'D') c->l1d_bytes = bytes;
        if (level[0] == '2') c->l2_bytes = bytes;
        if (level[0] == '3') c->l3_bytes = bytes;
    }
#ifdef _SC_LEVEL1_DCACHE_SIZE
    long l1 = sysconf(_SC_LEVEL1_DCACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (c->l1d_bytes == 0 && l1 > 0) c->l1d_bytes = (uint64_t)l1;
    if (c->l2_bytes == 0 && l2 > 0) c->l2_bytes = (uint64_t)l2;
    if (c->l3_bytes == 0 && l3 > 0) c->l3_bytes = (uint64_t)l3;
#endif
}

static int count_numa(void) {
    int n = 0;
    char text[32];
    for (int i = 0; i < 64; i++) {
        n += fh_machine_read_text(text, sizeof text, "/sys/devices/system/node/node%d/cpulist", i) > 0;
    }
    return FH_MAX(n, 1);
}

void fh_machine_read_topology(fh_machine_cpus *c) {
    pthread_once(&mask_once, read_mask);
    long online = sysconf(_SC_NPROCESSORS_ONLN), configured = sysconf(_SC_NPROCESSORS_CONF);
    c->logical = (int)FH_MAX(1, FH_MIN(online, FH_MACHINE_MAX_CPUS));
    c->allowed = mask_count;
    uint64_t packages = 0;
    for (int i = 0; i < FH_MIN(configured, FH_MACHINE_MAX_CPUS); i++) {
        char text[32];
        uint64_t package = 0;
        fh_machine_read_text(text, sizeof text, SYS_CPU "/cpu%d/topology/physical_package_id", i);
        if (!fh_machine_first_u64(text, &package)) continue; /* offline, or unknown */
        packages |= UINT64_C(1) << (package % 64);
        c->physical += leads_its_core(i);
        c->l3_instances += first_of_list(i, "cache/index3/shared_cpu_list") == i;
    }
    c->sockets = FH_MAX(1, __builtin_popcountll(packages));
    if (c->physical == 0) c->physical = c->logical;
    c->numa_nodes = count_numa();
    read_caches(c);
    if (c->l3_bytes > 0 && c->l3_instances == 0) c->l3_instances = 1;
}
