/* tests/unit/test_decode.c - plain element types to f32: every code, tails, alignment, every CPU's
 * variant.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/cpu.h"
#include "base/cursor.h"
#include "base/rng.h"
#include "kernel/decode.h"
#include "kernel/decode_table.h"
#include "test.h"

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

/* The variants that this machine can run: portable, then with what the CPU brings. */
static int n_variant(void) {
#if defined(__x86_64__)
    return fh_cpu_has_level(FH_CPU_LEVEL_AVX2) ? 2 : 1;
#else
    return 1;
#endif
}

static void fill_variant(int v, fh_decode_table t) {
    fh_decode_fill_base(t);
#if defined(__x86_64__)
    if (v > 0) fh_decode_fill_f16c(t);
#else
    (void)v;
#endif
}

/* Bit for bit, NaN included: plain types promise it. */
static void check_same(fh_dtype t, const uint8_t *src, size_t n) {
    static float got[65536];
    const size_t elems = fh_dtype_get_info(t)->block_elems;
    FH_REQUIRE(n <= FH_COUNT(got) && n % elems == 0);
    for (int v = 0; v <= n_variant(); v++) {
        if (v < n_variant()) {
            fh_decode_table table;
            fill_variant(v, table);
            table[t](src, got, n / elems);
        } else {
            fh_decode(t, src, got, n);
        }
        for (size_t i = 0; i < n; i++) {
            const uint32_t g = bits_of(got[i]), w = bits_of(fh_ref_decode(t, src, i));
            if (g != w)
                fh_test_fail(__FILE__, __LINE__, "%s variant %d element %zu: %08x, expected %08x", fh_dtype_name(t), v,
                             i, g, w);
        }
    }
}

static void check_value(fh_dtype t, unsigned code, double want) {
    uint8_t src[8] = {(uint8_t)code, (uint8_t)(code >> 8), (uint8_t)(code >> 16), (uint8_t)(code >> 24)};
    const float got = fh_ref_decode(t, src, 0);
    if (!((double)got == want && !signbit(got) == !signbit(want)))
        fh_test_fail(__FILE__, __LINE__, "%s code %x is %g, expected %g", fh_dtype_name(t), code, (double)got, want);
}

TEST(decode, sixteen_bit_floats_all_codes) {
    static uint8_t src[2 * 65536];
    for (size_t i = 0; i < 65536; i++) src[2 * i] = (uint8_t)i, src[2 * i + 1] = (uint8_t)(i >> 8);
    check_same(FH_DTYPE_F16, src, 65536);
    check_same(FH_DTYPE_BF16, src, 65536);
    check_same(FH_DTYPE_I16, src, 65536);
    check_same(FH_DTYPE_U16, src, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        CHECK(bits_of(fh_f16_to_f32((uint16_t)i)) == bits_of(fh_ref_decode(FH_DTYPE_F16, src, i)));
        CHECK(bits_of(fh_bf16_to_f32((uint16_t)i)) == i << 16);
    }
}

TEST(decode, eight_bit_types_all_codes) {
    static const fh_dtype types[] = {FH_DTYPE_F8_E4M3,     FH_DTYPE_F8_E5M2,     FH_DTYPE_F8_E8M0,
                                     FH_DTYPE_F8_E4M3FNUZ, FH_DTYPE_F8_E5M2FNUZ, FH_DTYPE_I8,
                                     FH_DTYPE_U8,          FH_DTYPE_BOOL,        FH_DTYPE_F4};
    uint8_t src[256];
    for (size_t i = 0; i < 256; i++) src[i] = (uint8_t)i;
    for (size_t k = 0; k < FH_COUNT(types); k++)
        check_same(types[k], src, 256 * fh_dtype_get_info(types[k])->block_elems);
    for (unsigned i = 0; i < 256; i++) {
        const uint8_t b = (uint8_t)i;
        CHECK(bits_of(fh_e4m3_to_f32(b)) == bits_of(fh_ref_decode(FH_DTYPE_F8_E4M3, src, i)));
        CHECK(bits_of(fh_e5m2_to_f32(b)) == bits_of(fh_ref_decode(FH_DTYPE_F8_E5M2, src, i)));
        CHECK(bits_of(fh_e8m0_to_f32(b)) == bits_of(fh_ref_decode(FH_DTYPE_F8_E8M0, src, i)));
    }
}

TEST(decode, six_bit_types_all_codes_in_all_places) {
    uint8_t src[64 * 4 * 3];
    for (uint32_t q = 0; q < 64; q++) {
        for (uint32_t place = 0; place < 4; place++) {
            const uint32_t w = (q << (6 * place)) | (0x2a5a5au & ~(63u << (6 * place)));
            uint8_t *p = src + 3 * (4 * q + place);
            p[0] = (uint8_t)w, p[1] = (uint8_t)(w >> 8), p[2] = (uint8_t)(w >> 16);
        }
    }
    check_same(FH_DTYPE_F6_E2M3, src, 1024);
    check_same(FH_DTYPE_F6_E3M2, src, 1024);
}

/* Numbers from the definitions of the types: largest, smallest, one, specials. */
TEST(decode, known_values) {
    check_value(FH_DTYPE_F16, 0x3c00, 1.0);
    check_value(FH_DTYPE_F16, 0xfbff, -65504.0);
    check_value(FH_DTYPE_F16, 0x0001, 0x1p-24);
    check_value(FH_DTYPE_F16, 0x03ff, 0x1p-14 - 0x1p-24);
    check_value(FH_DTYPE_F16, 0x8000, -0.0);
    check_value(FH_DTYPE_F16, 0x7c00, (double)INFINITY);
    check_value(FH_DTYPE_BF16, 0x3f81, 1.0078125);
    check_value(FH_DTYPE_BF16, 0x0001, 0x1p-133);
    check_value(FH_DTYPE_F8_E4M3, 0x7e, 448.0);
    check_value(FH_DTYPE_F8_E4M3, 0x81, -0x1p-9);
    check_value(FH_DTYPE_F8_E4M3, 0x38, 1.0);
    check_value(FH_DTYPE_F8_E5M2, 0x7b, 57344.0);
    check_value(FH_DTYPE_F8_E5M2, 0x01, 0x1p-16);
    check_value(FH_DTYPE_F8_E5M2, 0xfc, -(double)INFINITY);
    check_value(FH_DTYPE_F8_E4M3FNUZ, 0x7f, 240.0);
    check_value(FH_DTYPE_F8_E4M3FNUZ, 0x01, 0x1p-10);
    check_value(FH_DTYPE_F8_E4M3FNUZ, 0x40, 1.0);
    check_value(FH_DTYPE_F8_E5M2FNUZ, 0x7f, 57344.0);
    check_value(FH_DTYPE_F8_E5M2FNUZ, 0x81, -0x1p-17);
    check_value(FH_DTYPE_F8_E8M0, 0, 0x1p-127);
    check_value(FH_DTYPE_F8_E8M0, 127, 1.0);
    check_value(FH_DTYPE_F8_E8M0, 254, 0x1p127);
    check_value(FH_DTYPE_F6_E2M3, 31, 7.5);
    check_value(FH_DTYPE_F6_E2M3, 33, -0.125);
    check_value(FH_DTYPE_F6_E3M2, 31, 28.0);
    check_value(FH_DTYPE_F6_E3M2, 1, 0.0625);
    check_value(FH_DTYPE_F4, 0x07, 6.0);
    check_value(FH_DTYPE_F4, 0x09, -0.5);
    check_value(FH_DTYPE_BOOL, 2, 1.0);
    check_value(FH_DTYPE_I8, 0x80, -128.0);
    check_value(FH_DTYPE_I16, 0xffff, -1.0);
    check_value(FH_DTYPE_U32, 0xffffffff, 0x1p32);
    CHECK(isnan(fh_e4m3_to_f32(0x7f)) && isnan(fh_e4m3_to_f32(0xff)) && isnan(fh_e8m0_to_f32(255)));
    const uint8_t fnuz_nan = 0x80;
    CHECK(isnan(fh_ref_decode(FH_DTYPE_F8_E4M3FNUZ, &fnuz_nan, 0)));
    CHECK(isnan(fh_ref_decode(FH_DTYPE_F8_E5M2FNUZ, &fnuz_nan, 0)));
    /* a signalling NaN comes out quiet, as from VCVTPH2PS; one of BF16 is left alone */
    CHECK_U64(bits_of(fh_f16_to_f32(0xfc01)), 0xffc02000u);
    CHECK_U64(bits_of(fh_bf16_to_f32(0x7f81)), 0x7f810000u);
}

TEST(decode, wide_types) {
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 1);
    uint8_t src[8 * 512];
    for (size_t i = 0; i < sizeof src; i += 4) {
        const uint32_t u = fh_rng_u32(&r);
        memcpy(src + i, &u, 4);
    }
    static const uint64_t edge[] = {0,
                                    1,
                                    UINT64_MAX,
                                    UINT64_C(1) << 63,
                                    16777217,
                                    33554433,
                                    33554434,
                                    UINT64_C(0x7fffffffffffffff),
                                    UINT64_C(0x8000008000000001),
                                    UINT64_C(0x7ff0000000000001)};
    memcpy(src, edge, sizeof edge);
    static const fh_dtype types[] = {FH_DTYPE_F32, FH_DTYPE_F64, FH_DTYPE_I32,
                                     FH_DTYPE_U32, FH_DTYPE_I64, FH_DTYPE_U64};
    for (size_t k = 0; k < FH_COUNT(types); k++) check_same(types[k], src, 512);
    CHECK(fh_ref_decode(FH_DTYPE_U64, src, 2) == 0x1p64f);
    CHECK(fh_ref_decode(FH_DTYPE_I64, src, 2) == -1.0f);
    CHECK(fh_ref_decode(FH_DTYPE_I64, src, 4) == 16777216.0f); /* ties to even */
}

/* Every count up to 40 blocks, at odd addresses: right values, and nothing written beside them. */
TEST(decode, tails_and_alignment) {
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 2);
    uint8_t src[8 * 48 + 1];
    for (size_t i = 0; i < sizeof src; i++) src[i] = (uint8_t)fh_rng_u32(&r);
    for (int t = 0; t < FH_DTYPE_COUNT; t++) {
        const fh_dtype_info *d = fh_dtype_get_info((fh_dtype)t);
        if (d->cls == FH_DTYPE_CLASS_BLOCK || !fh_can_decode((fh_dtype)t)) continue;
        for (int v = 0; v < n_variant(); v++) {
            fh_decode_table table;
            fill_variant(v, table);
            for (size_t n = 0; n <= 40; n++) {
                float out[4 * 40 + 2];
                memset(out, 0x5a, sizeof out);
                table[t](src + 1, out + 1, n);
                for (size_t i = 0; i < n * d->block_elems; i++)
                    CHECK(bits_of(out[1 + i]) == bits_of(fh_ref_decode((fh_dtype)t, src + 1, i)));
                CHECK(bits_of(out[0]) == 0x5a5a5a5au);
                CHECK(bits_of(out[1 + n * d->block_elems]) == 0x5a5a5a5au);
            }
        }
    }
}

TEST(decode, every_type_but_one_has_a_reading) {
    for (int v = 0; v < n_variant(); v++) {
        fh_decode_table table;
        fill_variant(v, table);
        for (int t = 0; t < FH_DTYPE_COUNT; t++) {
            CHECK((table[t] != NULL) == fh_can_decode((fh_dtype)t));
            CHECK(fh_can_decode((fh_dtype)t) == (t != FH_DTYPE_C64));
        }
    }
    CHECK(!fh_can_decode(FH_DTYPE_COUNT));
}
