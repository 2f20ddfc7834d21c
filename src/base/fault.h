/* base/fault.h - fault injection: in test builds (FH_TEST_BUILD) the n-th call of a kind can be made to fail.
 * SPDX-License-Identifier: Apache-2.0
 * Kinds: alloc, read, write, fsync, mmap, rename, open. Once, or that one and all after it.
 * In other builds FH_FAULT() is the constant false and costs nothing. Thread-safe counters. */
#ifndef FH_BASE_FAULT_H
#define FH_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef enum fh_fault_kind {
    FH_FAULT_ALLOC,
    FH_FAULT_READ,
    FH_FAULT_WRITE,
    FH_FAULT_FSYNC,
    FH_FAULT_MMAP,
    FH_FAULT_RENAME,
    FH_FAULT_OPEN,
    FH_FAULT_KINDS
} fh_fault_kind;

#ifdef FH_TEST_BUILD
bool fh_fault_hit(fh_fault_kind kind); /* sets errno when it says true */
#define FH_FAULT(kind) fh_fault_hit(kind)
/* nth counts from 1; 0 = never. Resets the counter of that kind. */
void fh_fault_arm(fh_fault_kind kind, uint64_t nth, bool forever);
void fh_fault_disarm(void);                  /* all kinds, counters to 0 */
uint64_t fh_fault_calls(fh_fault_kind kind); /* calls seen since armed or disarmed */
bool fh_fault_parse(fh_str spec);            /* "alloc:12", "read:3+" (+ = forever); arms it */
#else
#define FH_FAULT(kind) false
#endif

#endif
