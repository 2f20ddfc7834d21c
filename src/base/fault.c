/* base/fault.c - the counters behind FH_FAULT(). Empty in shipped builds.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"

#include <errno.h>

#ifdef FH_TEST_BUILD
#include <stdatomic.h>

static struct {
    _Atomic uint64_t calls, nth;
    _Atomic bool forever;
} armed[FH_FAULT_KINDS];

static const struct {
    const char *name;
    int error;
} kinds[FH_FAULT_KINDS] = {
    [FH_FAULT_ALLOC] = {"alloc", ENOMEM}, [FH_FAULT_READ] = {"read", EIO},    [FH_FAULT_WRITE] = {"write", ENOSPC},
    [FH_FAULT_FSYNC] = {"fsync", EIO},    [FH_FAULT_MMAP] = {"mmap", ENOMEM}, [FH_FAULT_RENAME] = {"rename", EIO},
    [FH_FAULT_OPEN] = {"open", EMFILE},
};

bool fh_fault_hit(fh_fault_kind kind) {
    uint64_t n = atomic_fetch_add(&armed[kind].calls, 1) + 1;
    uint64_t nth = atomic_load(&armed[kind].nth);
    if (nth == 0 || (n != nth && !(n > nth && atomic_load(&armed[kind].forever)))) return false;
    errno = kinds[kind].error;
    return true;
}

void fh_fault_arm(fh_fault_kind kind, uint64_t nth, bool forever) {
    atomic_store(&armed[kind].nth, nth);
    atomic_store(&armed[kind].forever, forever);
    atomic_store(&armed[kind].calls, 0);
}

void fh_fault_disarm(void) {
    for (int k = 0; k < FH_FAULT_KINDS; k++) fh_fault_arm((fh_fault_kind)k, 0, false);
}

uint64_t fh_fault_calls(fh_fault_kind kind) { return atomic_load(&armed[kind].calls); }

bool fh_fault_parse(fh_str spec) {
    size_t colon;
    if (!fh_str_find(spec, ':', &colon)) return false;
    fh_str name = fh_str_first(spec, colon), number = fh_str_drop(spec, colon + 1);
    bool forever = fh_str_ends(number, "+");
    if (forever) number.len--;
    uint64_t nth;
    if (!fh_str_u64(number, &nth)) return false;
    for (int k = 0; k < FH_FAULT_KINDS; k++) {
        if (!fh_str_is(name, kinds[k].name)) continue;
        fh_fault_arm((fh_fault_kind)k, nth, forever);
        return true;
    }
    return false;
}
#endif
