/* kernel/x86_avx512_dot.c - the loops of ref_op_dot.h with the registers that AVX-512 has.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. The same source, so the same bits. */
#define FH_DOT_NAME fh_dot_avx512
#define FH_DOT_X 4
#include "kernel/ref_op_dot_body.h"
