/* kernel/x86_avxvnni_product.c - codes times int8 inputs with VNNI on 256-bit registers, and codes for it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#define I8_NAME fh_avxvnni_dot_i8
#define I8_INT __m256i
#define I8_FLOAT __m256
#define I8_LANES 8
#define I8_VECTORS 2
#define I8_INPUTS 3
#define I8_BIASED 1
#define I8_SET(x) _mm256_set1_epi32(x)
#define I8_AHEAD(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#define I8_SETF(x) _mm256_set1_ps(x)
#define I8_LOAD(p) _mm256_load_si256((const __m256i *)(const void *)(p))
#define I8_LOADF(p) _mm256_load_ps(p)
#define I8_STOREF(p, x) _mm256_store_ps(p, x)
#define I8_FLOAT_OF(x) _mm256_castsi256_ps(x)
#define I8_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define I8_FNMA(a, b, c) _mm256_fnmadd_ps(a, b, c)
#define I8_DOT(sum, w, x) _mm256_dpbusd_avx_epi32(sum, w, x)
#include "kernel/product_i8_body.h"

#define EXPAND_NAME fh_avxvnni_expand
#define EXPAND_BIAS 128
#include "kernel/x86_avx2_product.h"
#include "kernel/product_expand_body.h"
