/* kernel/x86_avx2_quantize.c - the searches of quantize_part.h with the registers that AVX2 has.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. The same source, so the same bits. */
#define FH_FITS fh_fits_avx2
#define FH_LANES 8
#include "kernel/quantize_fit_body.h"
