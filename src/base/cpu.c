/* base/cpu.c - owns the facts about this processor: announced, proven, lowered.
 * SPDX-License-Identifier: Apache-2.0
 * Invariants: (1) facts are written once, under pthread_once, and only read afterwards; (2) a feature is
 * proven only if it was announced, its probe ran here and gave the right numbers; (3) a limit only hides. */
#include "base/cpu.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/cpu_probe.h"

typedef enum cpu_arch { ARCH_ANY, ARCH_X86, ARCH_ARM } cpu_arch;

#if defined(__x86_64__)
static const cpu_arch HERE = ARCH_X86;
#elif defined(__aarch64__)
static const cpu_arch HERE = ARCH_ARM;
#else
static const cpu_arch HERE = ARCH_ANY;
#endif

typedef struct cpu_feature_row {
    const char *name;
    fh_cpu_level level;
    fh_cpu_feature needs; /* FH_CPU_COUNT: nothing */
} cpu_feature_row;

static const cpu_feature_row FEATURE[FH_CPU_COUNT] = {
#define FH_CPU_ROW(id, name, level, needs) {name, FH_CPU_LEVEL_##level, FH_CPU_##needs},
#include "base/cpu.def"
#undef FH_CPU_ROW
};

/* Sets of features by level, so that a row can build on another: L(AVX2) | F(AVXVNNI). */
#define F(id) FH_CPU_BIT(FH_CPU_##id)
#define L(id) SET_##id
#define FH_CPU_LEVEL_ROW(id, name, arch, features) SET_##id = (features),
enum {
#include "base/cpu.def"
};
#undef FH_CPU_LEVEL_ROW

typedef struct cpu_level_row {
    const char *name;
    cpu_arch arch;
    uint32_t features;
} cpu_level_row;

static const cpu_level_row LEVEL[FH_CPU_LEVEL_COUNT] = {
#define FH_CPU_LEVEL_ROW(id, name, arch, features) {name, ARCH_##arch, SET_##id},
#include "base/cpu.def"
#undef FH_CPU_LEVEL_ROW
};
#undef F
#undef L

static pthread_once_t once = PTHREAD_ONCE_INIT;
static fh_cpu_facts facts;
static _Atomic int limit = FH_CPU_LEVEL_COUNT;

static void prove(fh_cpu_feature f) {
    fh_cpu_feature needs = FEATURE[f].needs;
    if (needs != FH_CPU_COUNT && !(facts.proven & FH_CPU_BIT(needs))) {
        fh_cpu_probe_say(&facts, f, "it needs %s, which is not proven", FEATURE[needs].name);
        return;
    }
    int sig = 0;
    if (fh_cpu_probe_guarded(fh_cpu_arch_find(f), &sig)) {
        facts.proven |= FH_CPU_BIT(f);
    } else if (sig != 0) {
        fh_cpu_probe_say(&facts, f, "its instructions trap with %s", fh_cpu_probe_signal(sig));
    } else {
        fh_cpu_probe_say(&facts, f, "its instructions run but give wrong numbers");
    }
}

static void detect(void) {
    uint64_t start = fh_clock_ns();
    fh_cpu_arch_announce(&facts);
    for (int i = 0; i < FH_CPU_COUNT; i++) {
        fh_cpu_feature f = (fh_cpu_feature)i;
        if (!(facts.announced & FH_CPU_BIT(f))) {
            if (facts.why[f][0] == 0) {
                bool foreign = !fh_cpu_level_is_here(FEATURE[f].level);
                fh_cpu_probe_say(&facts, f,
                                 foreign ? "it belongs to another kind of processor"
                                         : "the processor does not announce it");
            }
        } else if (fh_cpu_arch_find(f) != NULL) {
            prove(f);
        }
    }
    fh_cpu_arch_children(&facts);
    for (int i = 0; i < FH_CPU_COUNT; i++) {
        if (facts.proven & FH_CPU_BIT(i)) facts.why[i][0] = 0;
    }
    facts.probe_ns = fh_clock_ns() - start;
}

static const fh_cpu_facts *know(void) {
    pthread_once(&once, detect);
    return &facts;
}

static bool has_all(uint32_t set) { return (know()->proven & set) == set; }

bool fh_cpu_has(fh_cpu_feature f) {
    if ((unsigned)f >= FH_CPU_COUNT) return false;
    if ((int)FEATURE[f].level > atomic_load_explicit(&limit, memory_order_relaxed)) return false;
    return has_all(FH_CPU_BIT(f));
}

bool fh_cpu_has_level(fh_cpu_level l) {
    if (!fh_cpu_level_is_here(l)) return false;
    if ((int)l > atomic_load_explicit(&limit, memory_order_relaxed)) return false;
    return has_all(LEVEL[l].features);
}

fh_cpu_level fh_cpu_best_level(void) {
    for (int l = FH_CPU_LEVEL_COUNT - 1; l > 0; l--) {
        if (fh_cpu_has_level((fh_cpu_level)l)) return (fh_cpu_level)l;
    }
    return FH_CPU_LEVEL_REF;
}

bool fh_cpu_announced(fh_cpu_feature f) {
    return (unsigned)f < FH_CPU_COUNT && (know()->announced & FH_CPU_BIT(f)) != 0;
}

bool fh_cpu_proven(fh_cpu_feature f) { return (unsigned)f < FH_CPU_COUNT && has_all(FH_CPU_BIT(f)); }

const char *fh_cpu_why_not(fh_cpu_feature f) { return (unsigned)f < FH_CPU_COUNT ? know()->why[f] : ""; }

uint64_t fh_cpu_probe_ns(void) { return know()->probe_ns; }

/* "ref, avx2, ..." of this architecture, for a message. */
static void list_levels(char *out, size_t size) {
    size_t at = 0;
    out[0] = 0;
    for (int l = 0; l < FH_CPU_LEVEL_COUNT; l++) {
        if (!fh_cpu_level_is_here((fh_cpu_level)l)) continue;
        int n = snprintf(out + at, size - at, "%s%s", at ? ", " : "", LEVEL[l].name);
        if (n < 0 || (size_t)n >= size - at) return;
        at += (size_t)n;
    }
}

fh_status fh_cpu_limit(fh_str level, fh_err *err) {
    for (int l = 0; l < FH_CPU_LEVEL_COUNT; l++) {
        if (!fh_cpu_level_is_here((fh_cpu_level)l) || !fh_str_is(level, LEVEL[l].name)) continue;
        atomic_store_explicit(&limit, l, memory_order_relaxed);
        return FH_OK;
    }
    char names[128];
    list_levels(names, sizeof names);
    return fh_fail(err, FH_ERR_USAGE, "set the CPU level, '%.*s', it is none of %s", FH_STR_ARG(level), names);
}

const char *fh_cpu_name(fh_cpu_feature f) { return (unsigned)f < FH_CPU_COUNT ? FEATURE[f].name : ""; }

const char *fh_cpu_level_name(fh_cpu_level l) { return (unsigned)l < FH_CPU_LEVEL_COUNT ? LEVEL[l].name : ""; }

bool fh_cpu_level_is_here(fh_cpu_level l) {
    if ((unsigned)l >= FH_CPU_LEVEL_COUNT) return false;
    return LEVEL[l].arch == ARCH_ANY || LEVEL[l].arch == HERE;
}
