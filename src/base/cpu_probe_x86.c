/* base/cpu_probe_x86.c - what an x86-64 processor announces, and the instructions that prove it.
 * SPDX-License-Identifier: Apache-2.0
 * The file itself is baseline x86-64: each probe is compiled for its own feature and runs under the guard.
 * Every probe compares all lanes with the same arithmetic in plain C on small whole numbers, so equality is
 * exact. Intel SDM volume 1 chapter 13 (XCR0) and volume 2 CPUID leaves 1, 7.0, 7.1. */
#include "base/cpu_probe.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define TARGET(features) __attribute__((target(features), noinline))
/* The compiler must not compute a probe's result by itself. */
#define OPAQUE(p) __asm__ volatile("" : : "r"(p) : "memory")

/* ---- what is announced ---- */

enum { XCR0_AVX = 0x6, XCR0_AVX512 = 0xe6, XCR0_TILES = 0x60000 };

typedef struct x86_flag {
    fh_cpu_feature feature;
    uint8_t word; /* index into the CPUID words read below */
    uint8_t bit;
    uint32_t xcr0; /* state that the operating system must save */
} x86_flag;

enum { LEAF1_ECX, LEAF7_EBX, LEAF7_ECX, LEAF7_EDX, LEAF71_EAX, LEAF_WORDS };

static const x86_flag FLAGS[] = {
    {FH_CPU_SSE42, LEAF1_ECX, 20, 0},
    {FH_CPU_AVX, LEAF1_ECX, 28, XCR0_AVX},
    {FH_CPU_F16C, LEAF1_ECX, 29, XCR0_AVX},
    {FH_CPU_FMA, LEAF1_ECX, 12, XCR0_AVX},
    {FH_CPU_AVX2, LEAF7_EBX, 5, XCR0_AVX},
    {FH_CPU_AVXVNNI, LEAF71_EAX, 4, XCR0_AVX},
    {FH_CPU_AVX512F, LEAF7_EBX, 16, XCR0_AVX512},
    {FH_CPU_AVX512BW, LEAF7_EBX, 30, XCR0_AVX512},
    {FH_CPU_AVX512DQ, LEAF7_EBX, 17, XCR0_AVX512},
    {FH_CPU_AVX512VL, LEAF7_EBX, 31, XCR0_AVX512},
    {FH_CPU_AVX512VNNI, LEAF7_ECX, 11, XCR0_AVX512},
    {FH_CPU_AVX512VBMI, LEAF7_ECX, 1, XCR0_AVX512},
    {FH_CPU_AVX512BF16, LEAF71_EAX, 5, XCR0_AVX512},
    {FH_CPU_AVX512FP16, LEAF7_EDX, 23, XCR0_AVX512},
    {FH_CPU_AMX_TILE, LEAF7_EDX, 24, XCR0_TILES},
    {FH_CPU_AMX_INT8, LEAF7_EDX, 25, XCR0_TILES},
    {FH_CPU_AMX_BF16, LEAF7_EDX, 22, XCR0_TILES},
};

static uint64_t read_xcr0(uint32_t leaf1_ecx) {
    if (!(leaf1_ecx & (UINT32_C(1) << 27))) return 0; /* OSXSAVE */
    uint32_t lo = 0, hi = 0;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

void fh_cpu_arch_announce(fh_cpu_facts *facts) {
    uint32_t word[LEAF_WORDS] = {0}, a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d)) word[LEAF1_ECX] = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        uint32_t subleaves = a;
        word[LEAF7_EBX] = b;
        word[LEAF7_ECX] = c;
        word[LEAF7_EDX] = d;
        if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) word[LEAF71_EAX] = a;
    }
    uint64_t xcr0 = read_xcr0(word[LEAF1_ECX]);
    for (size_t i = 0; i < sizeof FLAGS / sizeof FLAGS[0]; i++) {
        const x86_flag *f = &FLAGS[i];
        if (!(word[f->word] >> f->bit & 1)) continue;
        if ((xcr0 & f->xcr0) == f->xcr0) {
            facts->announced |= FH_CPU_BIT(f->feature);
        } else {
            fh_cpu_probe_say(facts, f->feature, "the processor has it, but the operating system does not enable it");
        }
    }
}

/* ---- what is proven here ---- */

/* Small whole numbers that differ by lane: 0..15 and -8..7. */
static uint8_t small_u8(int i) { return (uint8_t)((i * 7 + 3) & 15); }
static int8_t small_s8(int i) { return (int8_t)(((i * 5 + 1) & 15) - 8); }

TARGET("sse4.2") static bool probe_sse42(void) {
    static const char text[] = "123456789";
    OPAQUE(text);
    uint32_t crc = UINT32_MAX;
    for (int i = 0; i < 9; i++) crc = _mm_crc32_u8(crc, (uint8_t)text[i]);
    return ~crc == 0xE3069283; /* the published check value of CRC-32C */
}

TARGET("avx") static bool probe_avx(void) {
    float a[8], b[8], r[8];
    for (int i = 0; i < 8; i++) {
        a[i] = (float)small_u8(i);
        b[i] = (float)small_s8(i);
    }
    OPAQUE(a);
    OPAQUE(b);
    __m256 x = _mm256_loadu_ps(a), y = _mm256_loadu_ps(b);
    _mm256_storeu_ps(r, _mm256_add_ps(_mm256_mul_ps(x, y), x));
    OPAQUE(r);
    _mm256_zeroupper();
    for (int i = 0; i < 8; i++) {
        if (r[i] != (float)(small_u8(i) * small_s8(i) + small_u8(i))) return false;
    }
    return true;
}

TARGET("avx,f16c") static bool probe_f16c(void) {
    float value[8] = {1.0f, -2.5f, 65504.0f, 0x1p-24f, 0.0f, -0.0f, 0x1p-14f, 2048.0f};
    static const uint16_t want[8] = {0x3c00, 0xc100, 0x7bff, 0x0001, 0, 0x8000, 0x0400, 0x6800};
    uint16_t half[8];
    float back[8];
    OPAQUE(value);
    __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(value), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128((__m128i *)(void *)half, h);
    _mm256_storeu_ps(back, _mm256_cvtph_ps(h));
    OPAQUE(half);
    _mm256_zeroupper();
    return memcmp(half, want, sizeof want) == 0 && memcmp(back, value, sizeof value) == 0;
}

TARGET("avx,fma") static bool probe_fma(void) {
    /* (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24 when fused and 0 when rounded in between. */
    float a[8], c[8], r[8];
    for (int i = 0; i < 8; i++) {
        a[i] = (1.0f + 0x1p-12f) * (float)(1 << i);
        c[i] = -(1.0f + 0x1p-11f) * (float)(1 << (2 * i));
    }
    OPAQUE(a);
    OPAQUE(c);
    __m256 x = _mm256_loadu_ps(a);
    _mm256_storeu_ps(r, _mm256_fmadd_ps(x, x, _mm256_loadu_ps(c)));
    OPAQUE(r);
    _mm256_zeroupper();
    for (int i = 0; i < 8; i++) {
        if (r[i] != 0x1p-24f * (float)(1 << (2 * i))) return false;
    }
    return true;
}

/* Bytes for the products of groups: [64] unsigned and signed. */
typedef struct probe_bytes {
    uint8_t u[64];
    int8_t s[64];
} probe_bytes;

static void fill_bytes(probe_bytes *p) {
    for (int i = 0; i < 64; i++) {
        p->u[i] = small_u8(i);
        p->s[i] = small_s8(i);
    }
    OPAQUE(p);
}

/* r[i] is base + the dot product of the i-th group of `group` bytes */
static bool dots_right(const int32_t *r, int n, int group, int32_t base) {
    for (int i = 0; i < n; i++) {
        int32_t want = base;
        for (int k = i * group; k < (i + 1) * group; k++) want += small_u8(k) * small_s8(k);
        if (r[i] != want) return false;
    }
    return true;
}

TARGET("avx2") static bool probe_avx2(void) {
    probe_bytes in;
    int32_t r[8], turned[8];
    fill_bytes(&in);
    __m256i u = _mm256_loadu_si256((const __m256i *)(const void *)in.u);
    __m256i s = _mm256_loadu_si256((const __m256i *)(const void *)in.s);
    __m256i pairs = _mm256_maddubs_epi16(u, s);
    __m256i dot = _mm256_add_epi32(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)), _mm256_set1_epi32(100));
    __m256i order = _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    _mm256_storeu_si256((__m256i *)(void *)r, dot);
    _mm256_storeu_si256((__m256i *)(void *)turned, _mm256_permutevar8x32_epi32(dot, order));
    OPAQUE(r);
    OPAQUE(turned);
    _mm256_zeroupper();
    for (int i = 0; i < 8; i++) {
        if (turned[i] != r[7 - i]) return false;
    }
    return dots_right(r, 8, 4, 100);
}

TARGET("avx2,avxvnni") static bool probe_avxvnni(void) {
    probe_bytes in;
    int32_t r[8];
    fill_bytes(&in);
    __m256i u = _mm256_loadu_si256((const __m256i *)(const void *)in.u);
    __m256i s = _mm256_loadu_si256((const __m256i *)(const void *)in.s);
    __m256i dot = _mm256_dpbusd_avx_epi32(_mm256_set1_epi32(100), u, s);
    _mm256_storeu_si256((__m256i *)(void *)r, dot);
    OPAQUE(r);
    _mm256_zeroupper();
    return dots_right(r, 8, 4, 100);
}

TARGET("avx512f") static bool probe_avx512f(void) {
    float a[16], b[16], r[16];
    for (int i = 0; i < 16; i++) {
        a[i] = (float)small_u8(i);
        b[i] = (float)small_s8(i);
    }
    OPAQUE(a);
    OPAQUE(b);
    __m512 x = _mm512_loadu_ps(a), y = _mm512_loadu_ps(b);
    /* odd lanes multiply and add, even lanes keep x */
    _mm512_storeu_ps(r, _mm512_mask_fmadd_ps(x, (__mmask16)0xaaaa, y, y));
    OPAQUE(r);
    _mm256_zeroupper();
    for (int i = 0; i < 16; i++) {
        int want = i & 1 ? small_u8(i) * small_s8(i) + small_s8(i) : small_u8(i);
        if (r[i] != (float)want) return false;
    }
    return true;
}

TARGET("avx512f,avx512bw") static bool probe_avx512bw(void) {
    probe_bytes in;
    int32_t r[16];
    int8_t added[64];
    fill_bytes(&in);
    __m512i u = _mm512_loadu_si512(in.u), s = _mm512_loadu_si512(in.s);
    __m512i pairs = _mm512_maddubs_epi16(u, s);
    _mm512_storeu_si512(r, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
    _mm512_storeu_si512(added, _mm512_maskz_add_epi8(0x5555555555555555, u, s));
    OPAQUE(r);
    OPAQUE(added);
    _mm256_zeroupper();
    for (int i = 0; i < 64; i++) {
        if (added[i] != (i & 1 ? 0 : small_u8(i) + small_s8(i))) return false;
    }
    return dots_right(r, 16, 4, 0);
}

TARGET("avx512f,avx512dq") static bool probe_avx512dq(void) {
    int64_t a[8], b[8], r[8];
    double f[8];
    for (int i = 0; i < 8; i++) {
        a[i] = INT64_C(3000000019) * (i + 1);
        b[i] = small_s8(i);
    }
    OPAQUE(a);
    OPAQUE(b);
    __m512i product = _mm512_mullo_epi64(_mm512_loadu_si512(a), _mm512_loadu_si512(b));
    _mm512_storeu_si512(r, product);
    _mm512_storeu_pd(f, _mm512_cvtepi64_pd(product));
    OPAQUE(r);
    OPAQUE(f);
    _mm256_zeroupper();
    for (int i = 0; i < 8; i++) {
        int64_t want = INT64_C(3000000019) * (i + 1) * small_s8(i);
        if (r[i] != want || f[i] != (double)want) return false;
    }
    return true;
}

TARGET("avx512f,avx512vl") static bool probe_avx512vl(void) {
    int32_t a[8], r[8];
    for (int i = 0; i < 8; i++) a[i] = small_s8(i);
    OPAQUE(a);
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)a);
    __m256i sum = _mm256_mask_add_epi32(x, (__mmask8)0x0f, x, _mm256_set1_epi32(1000));
    _mm256_storeu_si256((__m256i *)(void *)r, sum);
    OPAQUE(r);
    _mm256_zeroupper();
    for (int i = 0; i < 8; i++) {
        if (r[i] != small_s8(i) + (i < 4 ? 1000 : 0)) return false;
    }
    return true;
}

TARGET("avx512f,avx512vnni") static bool probe_avx512vnni(void) {
    probe_bytes in;
    int32_t r[16];
    fill_bytes(&in);
    __m512i u = _mm512_loadu_si512(in.u), s = _mm512_loadu_si512(in.s);
    _mm512_storeu_si512(r, _mm512_dpbusd_epi32(_mm512_set1_epi32(-7), u, s));
    OPAQUE(r);
    _mm256_zeroupper();
    return dots_right(r, 16, 4, -7);
}

TARGET("avx512f,avx512vbmi") static bool probe_avx512vbmi(void) {
    uint8_t order[64], value[64], r[64];
    for (int i = 0; i < 64; i++) {
        order[i] = (uint8_t)((i * 29 + 5) & 63);
        value[i] = (uint8_t)(i * 3 + 1);
    }
    OPAQUE(order);
    OPAQUE(value);
    __m512i turned = _mm512_permutexvar_epi8(_mm512_loadu_si512(order), _mm512_loadu_si512(value));
    _mm512_storeu_si512(r, turned);
    OPAQUE(r);
    _mm256_zeroupper();
    for (int i = 0; i < 64; i++) {
        if (r[i] != (uint8_t)(((i * 29 + 5) & 63) * 3 + 1)) return false;
    }
    return true;
}

/* Exact for whole numbers below 256: the upper half of the f32. */
static uint16_t bf16_of(int v) {
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)(bits >> 16);
}

TARGET("avx512f,avx512bf16") static bool probe_avx512bf16(void) {
    uint16_t a[32], b[32];
    float r[16];
    for (int i = 0; i < 32; i++) {
        a[i] = bf16_of(small_u8(i));
        b[i] = bf16_of(small_s8(i));
    }
    OPAQUE(a);
    OPAQUE(b);
    __m512bh x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    _mm512_storeu_ps(r, _mm512_dpbf16_ps(_mm512_set1_ps(100.0f), x, y));
    OPAQUE(r);
    _mm256_zeroupper();
    for (int i = 0; i < 16; i++) {
        int want = 100 + small_u8(2 * i) * small_s8(2 * i) + small_u8(2 * i + 1) * small_s8(2 * i + 1);
        if (r[i] != (float)want) return false;
    }
    return true;
}

TARGET("avx512f,avx512bw") static bool probe_avx512fp16(void) {
    static const uint16_t one_to_eight[8] = {0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700, 0x4800};
    uint16_t a[32], r[32];
    for (int i = 0; i < 32; i++) a[i] = one_to_eight[i & 3];
    OPAQUE(a);
    /* Assembly: clang 14 declares the intrinsics only where the whole file has the feature. */
    __m512i x = _mm512_loadu_si512(a);
    __asm__ volatile("vaddph %0, %0, %0" : "+v"(x)); /* 2 4 6 8 */
    _mm512_storeu_si512(r, x);
    OPAQUE(r);
    _mm256_zeroupper();
    for (int i = 0; i < 32; i++) {
        if (r[i] != one_to_eight[2 * (i & 3) + 1]) return false;
    }
    return true;
}

fh_cpu_probe_fn *fh_cpu_arch_find(fh_cpu_feature f) {
    switch ((int)f) {
    case FH_CPU_SSE42: return probe_sse42;
    case FH_CPU_AVX: return probe_avx;
    case FH_CPU_F16C: return probe_f16c;
    case FH_CPU_FMA: return probe_fma;
    case FH_CPU_AVX2: return probe_avx2;
    case FH_CPU_AVXVNNI: return probe_avxvnni;
    case FH_CPU_AVX512F: return probe_avx512f;
    case FH_CPU_AVX512BW: return probe_avx512bw;
    case FH_CPU_AVX512DQ: return probe_avx512dq;
    case FH_CPU_AVX512VL: return probe_avx512vl;
    case FH_CPU_AVX512VNNI: return probe_avx512vnni;
    case FH_CPU_AVX512VBMI: return probe_avx512vbmi;
    case FH_CPU_AVX512BF16: return probe_avx512bf16;
    case FH_CPU_AVX512FP16: return probe_avx512fp16;
    default: return NULL;
    }
}
#endif
