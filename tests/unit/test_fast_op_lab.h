/* tests/unit/test_fast_op_lab.h - the small plans of test_exec_lab.h, in exact mode and in the ops of the fast mode.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TESTS_UNIT_TEST_FAST_OP_LAB_H
#define FH_TESTS_UNIT_TEST_FAST_OP_LAB_H

#include "test_exec_lab.h"

/* What a plan exports by token: through fh_exec_run, and through the fast ops. The caller frees both. page_rows: the
 * pages behind are poisoned (NaN) as in the other lab. */
typedef struct fast_pair {
    float *exact, *fast;
    size_t n;
} fast_pair;

fast_pair lab_run_fast(lab *l, const lab_way *way);
void fast_pair_release(fast_pair *p);
/* Root of the mean square of the difference over that of the exact ones. */
double fast_pair_error(const fast_pair *p);
#define CHECK_FAST(pair, most) \
    do { \
        double e_ = fast_pair_error(&(pair)); \
        if (!(e_ <= (most))) \
            fh_test_fail(__FILE__, __LINE__, "relative error %g is more than %g", e_, (double)(most)); \
    } while (0)

#endif
