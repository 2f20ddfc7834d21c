/* base/clock.c - SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

static uint64_t read_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
uint64_t fh_clock_ns(void) { return read_ns(CLOCK_MONOTONIC); }
uint64_t fh_clock_unix_ms(void) { return read_ns(CLOCK_REALTIME) / 1000000u; }
uint64_t fh_clock_cpu_ns(void) { return read_ns(CLOCK_THREAD_CPUTIME_ID); }
