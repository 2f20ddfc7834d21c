/* evaluate/checkup.h - what is wrong with this machine for running models, in words a user can act on.
 * SPDX-License-Identifier: Apache-2.0
 * Judges facts that others gathered; measures and prints nothing. */
#ifndef FH_EVALUATE_CHECKUP_H
#define FH_EVALUATE_CHECKUP_H

#include "base/cpu.h"
#include "base/machine.h"
#include "evaluate/ceilings.h"

/* A feature that is announced and could not be proven. */
typedef struct fh_checkup_unproven {
    const char *name, *why;
} fh_checkup_unproven;

typedef struct fh_checkup_facts {
    const fh_machine *machine;
    const fh_machine_gpus *gpus; /* NULL: nobody looked */
    const fh_ceilings *ceilings; /* NULL: not measured */
    fh_cpu_level level;          /* the best that is granted */
    fh_checkup_unproven unproven[FH_CPU_COUNT];
    size_t n_unproven;
} fh_checkup_facts;

/* NOTE: nothing to do unless it surprises you. SLOW: costs speed. WRONG: something will not work. */
typedef enum fh_checkup_weight { FH_CHECKUP_NOTE, FH_CHECKUP_SLOW, FH_CHECKUP_WRONG } fh_checkup_weight;

typedef struct fh_checkup_item {
    fh_checkup_weight weight;
    const char *id; /* "huge-pages": stable, for --json */
    char what[320], advice[320];
} fh_checkup_item;

#define FH_CHECKUP_MAX 24
typedef struct fh_checkup {
    fh_checkup_item item[FH_CHECKUP_MAX];
    size_t n;
} fh_checkup;

/* Fills level and unproven from base/cpu.h; the pointers are the caller's to set. */
void fh_checkup_read_cpu(fh_checkup_facts *facts);
void fh_checkup_find(fh_checkup *out, const fh_checkup_facts *facts);
const char *fh_checkup_weight_name(fh_checkup_weight w); /* "note" */

#endif
