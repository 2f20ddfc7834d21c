/* base/cpu_probe.h - the inner side of cpu.h: running instructions that may trap, and surviving it.
 * SPDX-License-Identifier: Apache-2.0
 * cpu.c decides; cpu_probe.c guards; cpu_probe_x86.c and cpu_probe_arm.c know the instructions. */
#ifndef FH_BASE_CPU_PROBE_H
#define FH_BASE_CPU_PROBE_H

#include "base/cpu.h"

#define FH_CPU_BIT(f) (UINT32_C(1) << (f))
_Static_assert(FH_CPU_COUNT <= 32, "features fit one word");

typedef struct fh_cpu_facts {
    uint32_t announced, proven;  /* FH_CPU_BIT() sets */
    char why[FH_CPU_COUNT][160]; /* of those not proven */
    uint64_t probe_ns;
} fh_cpu_facts;

/* Executes a feature's representative instructions; true when every result was right. */
typedef bool fh_cpu_probe_fn(void);

/* In this thread, with faults caught. *sig is 0, or the signal that ended the probe (then false). */
bool fh_cpu_probe_guarded(fh_cpu_probe_fn *fn, int *sig);

/* In a child, for instructions that may take the process with them. The child writes how far it came. */
typedef struct fh_cpu_child {
    volatile int32_t stage;   /* of its own counting; kept when it dies */
    volatile int32_t code;    /* an errno, where a stage fails with one */
    volatile uint32_t proven; /* FH_CPU_BIT() sets, valid once finished */
    volatile int32_t finished;
    volatile int32_t caught; /* the signal, if the child could still tell */
} fh_cpu_child;
typedef void fh_cpu_child_fn(fh_cpu_child *c); /* only calls that a signal handler may make */
/* 0 when the child ran (*sig = what killed it, or 0; *out = what it wrote), else the errno of starting it. */
int fh_cpu_probe_forked(fh_cpu_child_fn *fn, fh_cpu_child *out, int *sig);

void fh_cpu_probe_say(fh_cpu_facts *facts, fh_cpu_feature f, const char *fmt, ...) FH_PRINTF(3, 4);
const char *fh_cpu_probe_signal(int sig); /* "SIGILL" */

/* One architecture's file gives these three. announce: the bits, and why[] where the system is at fault.
 * find: NULL where a feature has no probe of its own. children: proves what needs a child. */
void fh_cpu_arch_announce(fh_cpu_facts *facts);
fh_cpu_probe_fn *fh_cpu_arch_find(fh_cpu_feature f);
void fh_cpu_arch_children(fh_cpu_facts *facts);

#endif
