/* base/cpu_probe_arm.c - what an AArch64 processor announces, and the instructions that prove it.
 * SPDX-License-Identifier: Apache-2.0
 * Announced: the kernel's AT_HWCAP words. The probes are assembly, so that the file stays baseline ARMv8-A;
 * each compares its result with the same arithmetic in plain C on small whole numbers. */
#include "base/cpu_probe.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <sys/auxv.h>

static const struct {
    fh_cpu_feature feature;
    bool second; /* AT_HWCAP2 */
    uint8_t bit;
} FLAGS[] = {
    {FH_CPU_NEON, false, 1},     {FH_CPU_DOTPROD, false, 20}, {FH_CPU_I8MM, true, 13},
    {FH_CPU_ARM_BF16, true, 14}, {FH_CPU_SVE, false, 22},
};

void fh_cpu_arch_announce(fh_cpu_facts *facts) {
    unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    for (size_t i = 0; i < sizeof FLAGS / sizeof FLAGS[0]; i++) {
        unsigned long word = FLAGS[i].second ? second : first;
        if (word >> FLAGS[i].bit & 1) facts->announced |= FH_CPU_BIT(FLAGS[i].feature);
    }
}

/* acc += x * y by one instruction on v0, v1, v2, given by its code: assemblers differ in which of these they
 * take without an -march that would hold for the whole file. */
#define ACCUMULATE(code, acc, x, y) \
    __asm__ volatile("mov v0.16b, %0.16b\n\t" \
                     "mov v1.16b, %1.16b\n\t" \
                     "mov v2.16b, %2.16b\n\t" \
                     ".inst " code "\n\t" \
                     "mov %0.16b, v0.16b" \
                     : "+w"(acc) \
                     : "w"(x), "w"(y) \
                     : "v0", "v1", "v2")

static int value_a(int i) { return ((i * 7 + 3) & 15) - 6; }
static int value_b(int i) { return ((i * 5 + 1) & 15) - 8; }

static void fill(int8_t a[16], int8_t b[16]) {
    for (int i = 0; i < 16; i++) {
        a[i] = (int8_t)value_a(i);
        b[i] = (int8_t)value_b(i);
    }
    __asm__ volatile("" : : "r"(a), "r"(b) : "memory");
}

static bool probe_neon(void) {
    int8_t a[16], b[16];
    int16_t r[8];
    fill(a, b);
    int16x8_t product;
    __asm__ volatile("smull %0.8h, %1.8b, %2.8b" : "=w"(product) : "w"(vld1q_s8(a)), "w"(vld1q_s8(b)));
    vst1q_s16(r, product);
    for (int i = 0; i < 8; i++) {
        if (r[i] != value_a(i) * value_b(i)) return false;
    }
    return true;
}

static bool probe_dotprod(void) {
    int8_t a[16], b[16];
    int32_t r[4];
    fill(a, b);
    int32x4_t sum = vdupq_n_s32(100);
    ACCUMULATE("0x4e829420", sum, vld1q_s8(a), vld1q_s8(b)); /* sdot v0.4s, v1.16b, v2.16b */
    vst1q_s32(r, sum);
    for (int i = 0; i < 4; i++) {
        int want = 100;
        for (int k = 4 * i; k < 4 * i + 4; k++) want += value_a(k) * value_b(k);
        if (r[i] != want) return false;
    }
    return true;
}

/* 2x8 times the transpose of 2x8 gives 2x2 */
static bool probe_i8mm(void) {
    int8_t a[16], b[16];
    int32_t r[4];
    fill(a, b);
    int32x4_t sum = vdupq_n_s32(-7);
    ACCUMULATE("0x4e82a420", sum, vld1q_s8(a), vld1q_s8(b)); /* smmla v0.4s, v1.16b, v2.16b */
    vst1q_s32(r, sum);
    for (int i = 0; i < 4; i++) {
        int want = -7;
        for (int k = 0; k < 8; k++) want += value_a(i / 2 * 8 + k) * value_b(i % 2 * 8 + k);
        if (r[i] != want) return false;
    }
    return true;
}

static uint16_t bf16_of(int v) {
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static bool probe_bf16(void) {
    uint16_t a[8], b[8];
    float r[4];
    for (int i = 0; i < 8; i++) {
        a[i] = bf16_of(value_a(i));
        b[i] = bf16_of(value_b(i));
    }
    __asm__ volatile("" : : "r"(a), "r"(b) : "memory");
    float32x4_t dot = vdupq_n_f32(0), product = vdupq_n_f32(0);
    uint16x8_t x = vld1q_u16(a), y = vld1q_u16(b);
    ACCUMULATE("0x6e42fc20", dot, x, y);     /* bfdot v0.4s, v1.8h, v2.8h */
    ACCUMULATE("0x6e42ec20", product, x, y); /* bfmmla v0.4s, v1.8h, v2.8h */
    vst1q_f32(r, dot);
    for (int i = 0; i < 4; i++) {
        int want = value_a(2 * i) * value_b(2 * i) + value_a(2 * i + 1) * value_b(2 * i + 1);
        if (r[i] != (float)want) return false;
    }
    vst1q_f32(r, product);
    for (int i = 0; i < 4; i++) {
        int want = 0;
        for (int k = 0; k < 4; k++) want += value_a(i / 2 * 4 + k) * value_b(i % 2 * 4 + k);
        if (r[i] != (float)want) return false;
    }
    return true;
}

static bool probe_sve(void) {
    uint64_t bytes = 0;
    int64_t sum = -1;
    __asm__ volatile(".arch_extension sve\n\t"
                     "rdvl %0, #1\n\t"
                     "ptrue p0.d\n\t"
                     "index z0.d, #0, #3\n\t"
                     "uaddv d0, p0, z0.d\n\t"
                     "fmov %1, d0\n\t"
                     ".arch_extension nosve"
                     : "=r"(bytes), "=r"(sum)
                     :
                     : "v0", "memory");
    if (bytes < 16 || bytes > 256 || bytes % 16 != 0) return false;
    int64_t lanes = (int64_t)(bytes / 8);
    return sum == 3 * lanes * (lanes - 1) / 2;
}

fh_cpu_probe_fn *fh_cpu_arch_find(fh_cpu_feature f) {
    switch ((int)f) {
    case FH_CPU_NEON: return probe_neon;
    case FH_CPU_DOTPROD: return probe_dotprod;
    case FH_CPU_I8MM: return probe_i8mm;
    case FH_CPU_ARM_BF16: return probe_bf16;
    case FH_CPU_SVE: return probe_sve;
    default: return NULL;
    }
}

void fh_cpu_arch_children(fh_cpu_facts *facts) { (void)facts; }
#endif
