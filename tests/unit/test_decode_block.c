/* tests/unit/test_decode_block.c - quantized blocks to f32: every value of every field.
 * SPDX-License-Identifier: Apache-2.0
 * A NaN from a block has no bits to compare: its sign depends on how a compiler orders the
 * operands. All other results are held bit for bit. */
#include <math.h>

#include "base/rng.h"
#include "kernel/decode.h"
#include "kernel/decode_table.h"
#include "test.h"

enum { MAX_BYTES = 292, MAX_ELEMS = 256 };

/* Where the f16 scales lie: high bytes of up to two of them (Q8_K: of the f32; IQ1_M: d's top
 * bits), -1 for none. hash: FNV-1a over what ggml 0.20.2 (libggml-base, x86-64) makes of 64 blocks
 * of xorshift bytes whose scales had bit 6 of the high byte cleared, so that none is NaN or
 * infinite. 0: ggml does not decode the type. */
static const struct {
    fh_dtype t;
    int scale[2];
    uint64_t hash;
} blocks[] = {
    {FH_DTYPE_Q8_1, {1, -1}, 0},
    {FH_DTYPE_Q4_0, {1, -1}, 0x9e09a5616d9782e6},
    {FH_DTYPE_Q4_1, {1, 3}, 0x8d0026df2c1eaa21},
    {FH_DTYPE_Q5_0, {1, -1}, 0x0226a41f6292a3d6},
    {FH_DTYPE_Q5_1, {1, 3}, 0x160c201fbeffecda},
    {FH_DTYPE_Q8_0, {1, -1}, 0xe81fdd7b877faa98},
    {FH_DTYPE_Q2_K, {81, 83}, 0xf8f9fcbe7501fa0b},
    {FH_DTYPE_Q3_K, {109, -1}, 0xbec124a205c43724},
    {FH_DTYPE_Q4_K, {1, 3}, 0x3b9ca302406bb92b},
    {FH_DTYPE_Q5_K, {1, 3}, 0x49e674b4c3d69d69},
    {FH_DTYPE_Q6_K, {209, -1}, 0x57d168120a0d0fc6},
    {FH_DTYPE_Q8_K, {3, -1}, 0x796967a57c2669dc},
    {FH_DTYPE_IQ2_XXS, {1, -1}, 0xa68f8561954eb340},
    {FH_DTYPE_IQ2_XS, {1, -1}, 0x2ff09c70ff8dfe71},
    {FH_DTYPE_IQ3_XXS, {1, -1}, 0x2e6f26167530d934},
    {FH_DTYPE_IQ1_S, {1, -1}, 0x9ab23d15753392d9},
    {FH_DTYPE_IQ4_NL, {1, -1}, 0x0a19416cf535c7c8},
    {FH_DTYPE_IQ3_S, {1, -1}, 0x93ccbb7adc7f2c70},
    {FH_DTYPE_IQ2_S, {1, -1}, 0x6417c871926bd730},
    {FH_DTYPE_IQ4_XS, {1, -1}, 0x43d81061123313d6},
    {FH_DTYPE_IQ1_M, {55, -1}, 0x5a19f45ebb78edb3},
    {FH_DTYPE_TQ1_0, {53, -1}, 0xe4d1b9d12b30f28d},
    {FH_DTYPE_TQ2_0, {65, -1}, 0xbb21173c8b561204},
    {FH_DTYPE_MXFP4, {-1, -1}, 0xe94b9e41e7319772},
    {FH_DTYPE_NVFP4, {-1, -1}, 0xb7639761c5c07754},
    {FH_DTYPE_Q1_0, {1, -1}, 0x79a059dc6130d103},
    {FH_DTYPE_Q2_0, {1, -1}, 0x0b897e84c823bcc7},
};

static bool same(float a, float b) { return memcmp(&a, &b, 4) == 0 || (isnan(a) && isnan(b)); }

static void check_block(fh_dtype t, const uint8_t *src, size_t n_block) {
    static float got[256 * MAX_ELEMS];
    const size_t elems = fh_dtype_get_info(t)->block_elems;
    fh_decode(t, src, got, n_block * elems);
    for (size_t i = 0; i < n_block * elems; i++) {
        const float want = fh_ref_decode(t, src, i);
        if (!same(got[i], want))
            fh_test_fail(__FILE__, __LINE__, "%s element %zu: %a, expected %a", fh_dtype_name(t), i, (double)got[i],
                         (double)want);
    }
}

TEST(decode_block, every_block_type_is_listed) {
    size_t n = 0;
    for (int t = 0; t < FH_DTYPE_COUNT; t++) n += fh_dtype_get_info((fh_dtype)t)->cls == FH_DTYPE_CLASS_BLOCK;
    CHECK_U64(n, FH_COUNT(blocks));
}

/* In 256 blocks the byte at each place takes all 256 values, at every place at once: block v holds
 * v * odd + c. Rounds differ in odd and c, so that neighbouring fields meet in many
 * combinations. */
TEST(decode_block, all_values_of_all_bytes) {
    static uint8_t src[256 * MAX_BYTES];
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 3);
    for (size_t k = 0; k < FH_COUNT(blocks); k++) {
        const size_t bytes = fh_dtype_get_info(blocks[k].t)->block_bytes;
        for (int round = 0; round < 6; round++) {
            for (size_t at = 0; at < bytes; at++) {
                const uint32_t u = fh_rng_u32(&r), odd = u | 1, c = u >> 16;
                const bool is_scale = (int)at == blocks[k].scale[0] || (int)at == blocks[k].scale[1];
                for (uint32_t v = 0; v < 256; v++) {
                    uint8_t b = (uint8_t)(v * odd + c);
                    if (is_scale && round % 2) b &= 0xbf; /* every other round without NaN */
                    src[v * bytes + at] = b;
                }
            }
            check_block(blocks[k].t, src, 256);
        }
    }
}

/* All 65,536 values of each f16 scale, subnormal, infinite and NaN ones too, against random
 * codes. */
TEST(decode_block, all_f16_scales) {
    uint8_t src[MAX_BYTES];
    float got[MAX_ELEMS];
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 4);
    for (size_t k = 0; k < FH_COUNT(blocks); k++) {
        const fh_dtype t = blocks[k].t;
        const fh_dtype_info *d = fh_dtype_get_info(t);
        if (blocks[k].scale[0] < 0 || t == FH_DTYPE_Q8_K) continue;
        for (uint32_t h = 0; h < 65536; h++) {
            if (h % 64 == 0)
                for (size_t i = 0; i < d->block_bytes; i++) src[i] = (uint8_t)fh_rng_u32(&r);
            for (int s = 0; s < 2; s++) {
                const int at = blocks[k].scale[s];
                const uint32_t value = s ? (h * 40503u + 7) & 0xffff : h;
                if (at < 0) continue;
                if (t == FH_DTYPE_IQ1_M) { /* four bits on top of each of four words */
                    for (int w = 0; w < 4; w++) {
                        uint8_t *top = &src[49 + 2 * w];
                        *top = (uint8_t)((*top & 15) | ((value >> (4 * w)) & 15) << 4);
                    }
                } else {
                    src[at - 1] = (uint8_t)value;
                    src[at] = (uint8_t)(value >> 8);
                }
            }
            fh_decode(t, src, got, d->block_elems);
            for (size_t i = h % 7; i < d->block_elems; i += 61) {
                const float want = fh_ref_decode(t, src, i);
                if (!same(got[i], want))
                    fh_test_fail(__FILE__, __LINE__, "%s scale %04x element %zu: %a, expected %a", d->name, h, i,
                                 (double)got[i], (double)want);
            }
        }
    }
}

static void xorshift_bytes(uint8_t *out, size_t n) {
    uint64_t s = 88172645463325252u;
    for (size_t i = 0; i < n; i += 8) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        memcpy(out + i, &s, n - i < 8 ? n - i : 8);
    }
}

TEST(decode_block, same_bits_as_the_reference_implementation) {
    enum { N = 64 };
    static uint8_t src[N * MAX_BYTES];
    static float got[N * MAX_ELEMS];
    for (size_t k = 0; k < FH_COUNT(blocks); k++) {
        const fh_dtype_info *d = fh_dtype_get_info(blocks[k].t);
        if (!blocks[k].hash) continue;
        xorshift_bytes(src, (size_t)N * d->block_bytes);
        for (size_t b = 0; b < N; b++)
            for (int s = 0; s < 2; s++)
                if (blocks[k].scale[s] >= 0) src[b * d->block_bytes + (size_t)blocks[k].scale[s]] &= 0xbf;
        fh_decode(blocks[k].t, src, got, N * (size_t)d->block_elems);
        uint64_t h = 1469598103934665603u;
        for (size_t i = 0; i < N * (size_t)d->block_elems; i++) {
            uint8_t le[4];
            memcpy(le, &got[i], 4);
            for (int b = 0; b < 4; b++) h = (h ^ le[b]) * 1099511628211u;
        }
        if (h != blocks[k].hash)
            fh_test_fail(__FILE__, __LINE__, "%s: %016llx, expected %016llx", d->name, (unsigned long long)h,
                         (unsigned long long)blocks[k].hash);
    }
}

/* The places where the 4-bit float blocks depart from their scale formats. */
TEST(decode_block, scales_of_four_bit_floats) {
    uint8_t mx[17] = {0, 0x72}, nv[36] = {0, 0x7f, 0xff, 0x80, 0x72};
    memset(nv + 4, 0x72, 32);
    CHECK(fh_ref_decode(FH_DTYPE_MXFP4, mx, 0) == 0x1p-127f);    /* code 2: 1 times 2^-127 */
    CHECK(fh_ref_decode(FH_DTYPE_MXFP4, mx, 16) == 0x1.8p-125f); /* code 7: 6 times 2^-127 */
    mx[0] = 1;
    CHECK(fh_ref_decode(FH_DTYPE_MXFP4, mx, 0) == 0x1p-126f);
    mx[0] = 255; /* not NaN */
    CHECK(fh_ref_decode(FH_DTYPE_MXFP4, mx, 0) == INFINITY);
    mx[0] = 127, mx[1] = 0x98;
    CHECK(fh_ref_decode(FH_DTYPE_MXFP4, mx, 0) == 0.0f);
    CHECK(!signbit(fh_ref_decode(FH_DTYPE_MXFP4, mx, 0)));
    CHECK(fh_ref_decode(FH_DTYPE_MXFP4, mx, 16) == -0.5f);
    CHECK(fh_ref_decode(FH_DTYPE_NVFP4, nv, 0) == 0.0f);
    CHECK(fh_ref_decode(FH_DTYPE_NVFP4, nv, 16) == 0.0f);        /* 0x7f means 0 */
    CHECK(fh_ref_decode(FH_DTYPE_NVFP4, nv, 32) == 480.0f);      /* 0xff does not: 480 times 1 */
    CHECK(fh_ref_decode(FH_DTYPE_NVFP4, nv, 32 + 8) == 2880.0f); /* times 6 */
    CHECK(fh_ref_decode(FH_DTYPE_NVFP4, nv, 48) == 0.0f);
}
