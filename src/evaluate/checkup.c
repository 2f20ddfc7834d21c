/* evaluate/checkup.c - owns the judgement on machine facts: what is wrong, what it costs, what to do.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses to guess causes from speed: a low figure is printed, not explained. Every item names the fact it
 * rests on, and an action that a user can take, or says that there is none to take. */
#include "evaluate/checkup.h"

#include <stdarg.h>

#include "base/num.h"

#define GIB (UINT64_C(1) << 30)

static double gib(uint64_t bytes) { return (double)bytes / (double)GIB; }

/* Adds an item; its advice is then filled in by advise(). */
static fh_checkup_item *add(fh_checkup *c, fh_checkup_weight w, const char *id, const char *fmt, ...) FH_PRINTF(4, 5);
static fh_checkup_item *add(fh_checkup *c, fh_checkup_weight w, const char *id, const char *fmt, ...) {
    FH_REQUIRE(c->n < FH_CHECKUP_MAX); /* there are fewer rules than places */
    fh_checkup_item *item = &c->item[c->n++];
    *item = (fh_checkup_item){.weight = w, .id = id};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(item->what, sizeof item->what, fmt, ap);
    va_end(ap);
    return item;
}

static void advise(fh_checkup_item *item, const char *fmt, ...) FH_PRINTF(2, 3);
static void advise(fh_checkup_item *item, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(item->advice, sizeof item->advice, fmt, ap);
    va_end(ap);
}

/* ---- rules; each adds at most two items ---- */

/* Features of one family fail for one reason: one item for AMX, one for all others together. */
static void check_unproven(fh_checkup *c, const fh_checkup_facts *f) {
    const char *amx = NULL, *other = NULL, *other_why = NULL;
    int n_other = 0;
    for (size_t i = 0; i < f->n_unproven; i++) {
        const fh_checkup_unproven *u = &f->unproven[i];
        if (strncmp(u->name, "amx", 3) == 0) {
            if (amx == NULL) amx = u->why;
        } else if (n_other++ == 0) {
            other = u->name;
            other_why = u->why;
        }
    }
    bool virtual = f->machine->cpu.virtual;
    if (amx != NULL) {
        fh_checkup_item *item = add(c, FH_CHECKUP_NOTE, "amx", "AMX is announced but cannot be used: %s", amx);
        if (virtual) {
            advise(item, "freehold does without it; ask whoever runs the host to expose AMX properly or to hide "
                         "it, since programs that trust the flag die here");
        } else {
            advise(item, "freehold does without it; a newer kernel (5.16 or later) and firmware may help");
        }
    }
    if (n_other > 0) {
        fh_checkup_item *item =
            add(c, FH_CHECKUP_SLOW, "cpu-features", "%d announced instruction set%s cannot be used, first %s: %s",
                n_other, n_other == 1 ? "" : "s", other, other_why);
        advise(item, "freehold does without; %s",
               virtual ? "ask whoever runs the host to correct the virtual processor's flags"
                       : "look for a firmware update, or tell us: this should not happen on a real machine");
    }
}

static void check_level(fh_checkup *c, const fh_checkup_facts *f) {
    if (f->level != FH_CPU_LEVEL_REF) return;
    fh_checkup_item *item = add(c, FH_CHECKUP_SLOW, "cpu-level",
                                "no vector instructions are in use: only the plain C reference kernels run");
    if (f->machine->cpu.virtual) {
        advise(item, "give the virtual machine the processor of its host (in QEMU and libvirt: -cpu host, "
                     "host-passthrough)");
    } else {
        advise(item, "a processor with AVX2 (x86, since about 2013) or NEON runs models many times faster");
    }
}

static void check_cpus(fh_checkup *c, const fh_machine_cpus *cpu) {
    if (cpu->quota > 0 && cpu->quota < cpu->allowed) {
        fh_checkup_item *item =
            add(c, FH_CHECKUP_SLOW, "cpu-quota", "a control group grants %.2f CPUs although %d are visible", cpu->quota,
                cpu->allowed);
        advise(item,
               "freehold starts %d thread%s; raise the limit (docker run --cpus, CPUQuota= in systemd, "
               "resources.limits.cpu in Kubernetes) for more",
               cpu->usable, cpu->usable == 1 ? "" : "s");
    }
    if (cpu->allowed < cpu->logical) {
        fh_checkup_item *item =
            add(c, FH_CHECKUP_NOTE, "cpu-affinity", "this process may use %d of %d CPUs", cpu->allowed, cpu->logical);
        advise(item, "if that is not meant, look at taskset, numactl, cpusets and CPUAffinity= in systemd");
    }
}

static void check_memory(fh_checkup *c, const fh_machine_memory *m) {
    if (m->group_limit_bytes != 0) {
        fh_checkup_item *item = add(c, FH_CHECKUP_NOTE, "memory-limit",
                                    "a control group limits memory to %.1f GiB although the machine has %.1f GiB",
                                    gib(m->group_limit_bytes), gib(m->total_bytes));
        advise(item, "models that need more are stopped by the kernel; raise the limit (docker run --memory, "
                     "MemoryMax= in systemd, resources.limits.memory in Kubernetes)");
    }
    if (m->total_bytes != 0 && (m->usable_bytes < 2 * GIB || m->usable_bytes < m->total_bytes / 10)) {
        fh_checkup_item *item =
            add(c, FH_CHECKUP_SLOW, "memory-low", "only %.1f GiB of memory can be used now", gib(m->usable_bytes));
        advise(item, "close other programs, or choose a model file smaller than that: a larger one is read from "
                     "disk again for every token");
    }
    uint64_t reserved = 0;
    if (fh_mul_u64(m->huge_page_bytes, m->huge_free, &reserved) && reserved > m->total_bytes / 10) {
        fh_checkup_item *item = add(c, FH_CHECKUP_NOTE, "huge-pages-reserved",
                                    "%.1f GiB are set aside as huge pages that nobody uses", gib(reserved));
        advise(item, "freehold does not use reserved pages; sudo sysctl vm.nr_hugepages=0 gives them back");
    }
    if (m->thp == FH_THP_NEVER) {
        fh_checkup_item *item = add(c, FH_CHECKUP_SLOW, "huge-pages",
                                    "transparent huge pages are 'never': large weights cost more address lookups");
        advise(item, "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
    }
}

static void check_sandbox(fh_checkup *c, const fh_machine_sandbox *s) {
    if (s->landlock_abi == 0) {
        fh_checkup_item *item = add(c, FH_CHECKUP_NOTE, "landlock",
                                    "the kernel offers no Landlock, which would confine a server to its folders");
        advise(item, "use Linux 5.13 or later with landlock in the lsm= list; a container may also hide it");
    }
    if (!s->seccomp_filters) {
        fh_checkup_item *item =
            add(c, FH_CHECKUP_NOTE, "seccomp", "system-call filters (seccomp) are not available here");
        advise(item, "use a kernel built with CONFIG_SECCOMP_FILTER; a server cannot drop system calls without");
    }
}

static void check_gpus(fh_checkup *c, const fh_machine_gpus *g) {
    if (g == NULL || g->n > 0 || g->problem[0] == 0) return;
    if (g->nvidia_cards > 0) {
        fh_checkup_item *item =
            add(c, FH_CHECKUP_WRONG, "gpu", "an NVIDIA GPU is there but cannot be used: %s", g->problem);
        advise(item, g->driver_loads
                         ? "check that nvidia-smi works; in a container, start it with access to the GPU "
                           "(docker run --gpus all)"
                         : "install the NVIDIA driver (Debian: nvidia-driver, from the non-free components)");
    } else {
        fh_checkup_item *item =
            add(c, FH_CHECKUP_NOTE, "gpu", "the NVIDIA driver library is installed, but %s", g->problem);
        advise(item, "nothing to do if this machine has no GPU; else check that nvidia-smi works");
    }
}

static void check_ceilings(fh_checkup *c, const fh_ceilings *e) {
    if (e == NULL || !e->read_near_cache) return;
    fh_checkup_item *item = add(c, FH_CHECKUP_NOTE, "read-from-cache",
                                "the memory read figure comes from %.2f GiB, less than twice the caches, and may be "
                                "too high",
                                gib(e->read_bytes));
    advise(item, "little memory is free, or the machine hands it out slowly; run freehold doctor again for a better "
                 "figure");
}

void fh_checkup_read_cpu(fh_checkup_facts *facts) {
    facts->level = fh_cpu_best_level();
    facts->n_unproven = 0;
    for (int i = 0; i < FH_CPU_COUNT; i++) {
        fh_cpu_feature f = (fh_cpu_feature)i;
        if (!fh_cpu_announced(f) || fh_cpu_proven(f)) continue;
        facts->unproven[facts->n_unproven++] = (fh_checkup_unproven){fh_cpu_name(f), fh_cpu_why_not(f)};
    }
}

void fh_checkup_find(fh_checkup *out, const fh_checkup_facts *facts) {
    out->n = 0;
    check_gpus(out, facts->gpus);
    check_level(out, facts);
    check_unproven(out, facts);
    check_cpus(out, &facts->machine->cpu);
    check_memory(out, &facts->machine->memory);
    check_sandbox(out, &facts->machine->sandbox);
    check_ceilings(out, facts->ceilings);
}

const char *fh_checkup_weight_name(fh_checkup_weight w) {
    static const char *const NAME[] = {"note", "slow", "wrong"};
    return (unsigned)w < FH_COUNT(NAME) ? NAME[w] : "";
}
