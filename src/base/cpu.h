/* base/cpu.h - which instructions this machine really executes.
 * SPDX-License-Identifier: Apache-2.0
 * Flags announce, a guarded probe decides: a feature is *proven* when its representative instructions ran
 * and their arithmetic was right. Some virtual machines announce AMX, permit it, and trap on the first tile
 * load, so nothing may go by flags alone. Detection runs once, on first use, from any thread. While it runs
 * (about a millisecond) SIGILL, SIGSEGV and SIGBUS have its handler; faults of other threads are passed on. */
#ifndef FH_BASE_CPU_H
#define FH_BASE_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

typedef enum fh_cpu_feature {
#define FH_CPU_ROW(id, name, level, needs) FH_CPU_##id,
#include "base/cpu.def"
#undef FH_CPU_ROW
    FH_CPU_COUNT
} fh_cpu_feature;

typedef enum fh_cpu_level {
#define FH_CPU_LEVEL_ROW(id, name, arch, features) FH_CPU_LEVEL_##id,
#include "base/cpu.def"
#undef FH_CPU_LEVEL_ROW
    FH_CPU_LEVEL_COUNT
} fh_cpu_level;

/* Proven here, and not lowered away. */
bool fh_cpu_has(fh_cpu_feature f);
/* Everything that the objects of this level (x86_avx2_*.c, ...) were compiled for. REF is always true. */
bool fh_cpu_has_level(fh_cpu_level l);
fh_cpu_level fh_cpu_best_level(void); /* the highest that fh_cpu_has_level() grants */

/* Before lowering: what the processor and the operating system say, and what the probe found. */
bool fh_cpu_announced(fh_cpu_feature f);
bool fh_cpu_proven(fh_cpu_feature f);
/* Why a feature is not proven: "the first tile load traps with SIGILL". "" when it is. Static storage. */
const char *fh_cpu_why_not(fh_cpu_feature f);
uint64_t fh_cpu_probe_ns(void); /* how long detection took */

/* Use nothing above this level. Call it before threads start and before kernels are chosen: it changes
 * the answers from now on, not choices made before. FH_ERR_USAGE for a name that is none here. */
FH_MUST_USE fh_status fh_cpu_limit(fh_str level, fh_err *err);

const char *fh_cpu_name(fh_cpu_feature f);     /* "avx512-vnni" */
const char *fh_cpu_level_name(fh_cpu_level l); /* "vnni" */
bool fh_cpu_level_is_here(fh_cpu_level l);     /* belongs to this architecture */

#endif
