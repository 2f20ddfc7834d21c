/* base/machine_group.c - owns the reading of control-group limits, versions 1 and 2.
 * SPDX-License-Identifier: Apache-2.0
 * A limit holds for everything below it, so each folder from the process's own up to the mount is asked and
 * the tightest answer counts. In a container the path from /proc/self/cgroup may not exist under the mount:
 * folders that are not there are passed over, the mount itself is always asked. */
#include <stdio.h>
#include <string.h>

#include "base/machine_part.h"
#include "base/num.h"
#include "base/str.h"

typedef void visit_fn(const char *folder, fh_machine_group *g);

static void take_memory(fh_machine_group *g, uint64_t limit, uint64_t used) {
    uint64_t left = used < limit ? limit - used : 0;
    if (g->memory_limit == 0 || limit < g->memory_limit) g->memory_limit = limit;
    if (left < g->memory_left) g->memory_left = left;
}

static void take_quota(fh_machine_group *g, uint64_t quota, uint64_t period) {
    if (quota == 0 || period == 0) return;
    double cpus = (double)quota / (double)period;
    if (g->cpu_quota <= 0 || cpus < g->cpu_quota) g->cpu_quota = cpus;
}

static void visit_memory(const char *folder, const char *limit_name, const char *used_name, const char *cache_name,
                         fh_machine_group *g) {
    char text[64], stat[4096];
    uint64_t limit = 0, used = 0, cache = 0;
    fh_machine_read_text(text, sizeof text, "%s/%s", folder, limit_name);
    /* version 1 writes "no limit" as a number close to 2^63 */
    if (!fh_machine_first_u64(text, &limit) || limit >= UINT64_C(1) << 60) return;
    fh_machine_read_text(text, sizeof text, "%s/%s", folder, used_name);
    if (!fh_machine_first_u64(text, &used)) used = 0;
    /* File pages that the kernel would give back count as used; they are not lost to us. */
    fh_machine_read_text(stat, sizeof stat, "%s/memory.stat", folder);
    const char *at = strstr(stat, cache_name);
    if (at != NULL && fh_machine_first_u64(at + strlen(cache_name), &cache)) {
        used -= FH_MIN(used, cache);
    }
    take_memory(g, limit, used);
}

static void visit_v2(const char *folder, fh_machine_group *g) {
    char text[64];
    uint64_t quota = 0, period = 0;
    visit_memory(folder, "memory.max", "memory.current", "\ninactive_file ", g);
    fh_machine_read_text(text, sizeof text, "%s/cpu.max", folder);
    const char *gap = strchr(text, ' ');
    if (gap != NULL && fh_machine_first_u64(text, &quota) && fh_machine_first_u64(gap, &period)) {
        take_quota(g, quota, period);
    }
}

static void visit_v1_memory(const char *folder, fh_machine_group *g) {
    visit_memory(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "\ntotal_inactive_file ", g);
}

static void visit_v1_cpu(const char *folder, fh_machine_group *g) {
    char text[64];
    uint64_t quota = 0, period = 0;
    fh_machine_read_text(text, sizeof text, "%s/cpu.cfs_quota_us", folder); /* -1 = no limit */
    if (!fh_machine_first_u64(text, &quota)) return;
    fh_machine_read_text(text, sizeof text, "%s/cpu.cfs_period_us", folder);
    if (fh_machine_first_u64(text, &period)) take_quota(g, quota, period);
}

/* mount + path, then each folder above it, down to the mount itself. */
static void walk(const char *mount, fh_str path, visit_fn *visit, fh_machine_group *g) {
    char folder[512];
    size_t base = strlen(mount);
    int n = snprintf(folder, sizeof folder, "%s%.*s", mount, (int)FH_MIN(path.len, 400), path.ptr);
    if (n < 0 || (size_t)n >= sizeof folder) return;
    for (;;) {
        size_t len = strlen(folder);
        while (len > base && folder[len - 1] == '/') folder[--len] = 0;
        visit(folder, g);
        if (len <= base) return;
        char *cut = strrchr(folder, '/');
        if (cut == NULL || (size_t)(cut - folder) < base) return;
        *cut = 0;
    }
}

/* Is `name` one of the comma-separated controllers? */
static bool lists(fh_str controllers, const char *name) {
    size_t at = 0;
    while (fh_str_find(controllers, ',', &at)) {
        if (fh_str_is(fh_str_first(controllers, at), name)) return true;
        controllers = fh_str_drop(controllers, at + 1);
    }
    return fh_str_is(controllers, name);
}

void fh_machine_read_group(fh_machine_group *g) {
    *g = (fh_machine_group){.memory_left = UINT64_MAX};
    char text[4096];
    size_t len = fh_machine_read_text(text, sizeof text, "/proc/self/cgroup");
    fh_str rest = {text, len};
    while (rest.len > 0) {
        /* "4:cpu,cpuacct:/path", or "0::/path" for version 2 */
        size_t end = 0, first = 0, second = 0;
        fh_str line = fh_str_find(rest, '\n', &end) ? fh_str_first(rest, end) : rest;
        rest = fh_str_drop(rest, line.len + 1);
        if (!fh_str_find(line, ':', &first)) continue;
        fh_str tail = fh_str_drop(line, first + 1);
        if (!fh_str_find(tail, ':', &second)) continue;
        fh_str names = fh_str_first(tail, second), path = fh_str_drop(tail, second + 1);
        if (names.len == 0) {
            walk("/sys/fs/cgroup", path, visit_v2, g);
        } else if (lists(names, "memory")) {
            walk("/sys/fs/cgroup/memory", path, visit_v1_memory, g);
        } else if (lists(names, "cpu")) {
            walk("/sys/fs/cgroup/cpu", path, visit_v1_cpu, g);
        }
    }
}
