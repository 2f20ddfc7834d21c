/* kernel/x86_vnni_product.c - codes times int8 inputs with VNNI on 512-bit registers: 32 rows by six inputs.
 * SPDX-License-Identifier: Apache-2.0
 * Twelve sums, twelve results, two registers of codes and one of inputs leave a few to spare. */
#include <immintrin.h>

#define I8_NAME fh_vnni_dot_i8
#define I8_INT __m512i
#define I8_FLOAT __m512
#define I8_LANES 16
#define I8_VECTORS 2
#define I8_INPUTS 6
#define I8_BIASED 1
#define I8_SET(x) _mm512_set1_epi32(x)
#define I8_AHEAD(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#define I8_SETF(x) _mm512_set1_ps(x)
#define I8_LOAD(p) _mm512_load_si512(p)
#define I8_LOADF(p) _mm512_load_ps(p)
#define I8_STOREF(p, x) _mm512_store_ps(p, x)
#define I8_FLOAT_OF(x) _mm512_castsi512_ps(x)
#define I8_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define I8_FNMA(a, b, c) _mm512_fnmadd_ps(a, b, c)
#define I8_DOT(sum, w, x) _mm512_dpbusd_epi32(sum, w, x)
#include "kernel/product_i8_body.h"
