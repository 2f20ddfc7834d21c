/* base/clock.h - monotonic time, for measuring; wall time, for stamping.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_BASE_CLOCK_H
#define FH_BASE_CLOCK_H

#include <stdint.h>

uint64_t fh_clock_ns(void);      /* monotonic */
uint64_t fh_clock_cpu_ns(void);  /* that this thread has computed: for ceilings on work, whatever else runs */
uint64_t fh_clock_unix_ms(void); /* since 1970 */

#endif
