/* kernel/x86_avx512_quantize.c - the searches of quantize_part.h with the registers that AVX-512 has.
 * SPDX-License-Identifier: Apache-2.0
 * Called only where the CPU level was proven. The same source, so the same bits. */
#define FH_FITS fh_fits_avx512
#define FH_LANES 16
#include "kernel/quantize_fit_body.h"
