/* base/machine_part.h - what the files machine*.c share, and nobody else includes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_BASE_MACHINE_PART_H
#define FH_BASE_MACHINE_PART_H

#include "base/err.h"
#include "base/machine.h"

/* The file's first size - 1 bytes with a NUL behind them; 0 and "" when it cannot be read. */
size_t fh_machine_read_text(char *out, size_t size, const char *fmt, ...) FH_PRINTF(3, 4);
/* The decimal number that a text begins with, after blanks. */
bool fh_machine_first_u64(const char *text, uint64_t *out);

/* The tightest limits of this process's control groups. */
typedef struct fh_machine_group {
    uint64_t memory_limit, memory_left; /* limit 0 = none */
    double cpu_quota;                   /* CPUs; 0 = none */
} fh_machine_group;
void fh_machine_read_group(fh_machine_group *out);

void fh_machine_read_topology(fh_machine_cpus *out); /* all but model, virtual, quota and usable */

#endif
