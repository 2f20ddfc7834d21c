/* tests/unit/test_encode.c - f32 to F16, BF16, F8 and Q8_0.
 * SPDX-License-Identifier: Apache-2.0
 * The rounding oracle is a search in the list of all values that a type has, made here from its
 * definition. */
#include <math.h>

#include "base/rng.h"
#include "kernel/decode.h"
#include "test.h"

/* A float format: all its non-negative finite values, in order of their codes. */
typedef struct format {
    fh_dtype t;
    int exp_bits, mant_bits, bias;
    uint32_t n_finite; /* codes 0 .. n_finite - 1 are finite */
    uint32_t overflow; /* code for what rounds past the largest: infinity or NaN */
    size_t bytes;
} format;

static const format formats[] = {
    {FH_DTYPE_F16, 5, 10, 15, 0x7c00, 0x7c00, 2},
    {FH_DTYPE_BF16, 8, 7, 127, 0x7f80, 0x7f80, 2},
    {FH_DTYPE_F8_E4M3, 4, 3, 7, 0x7f, 0x7f, 1},
    {FH_DTYPE_F8_E5M2, 5, 2, 15, 0x7c, 0x7c, 1},
};

static double value_of(const format *f, uint32_t code) {
    const uint32_t mant = code & ((1u << f->mant_bits) - 1), exp = code >> f->mant_bits;
    if (exp == 0) return ldexp(mant, 1 - f->bias - f->mant_bits);
    return ldexp(mant + (1u << f->mant_bits), (int)exp - f->bias - f->mant_bits);
}

/* The code nearest to x, ties to the even code; one step past the largest stands for overflow. */
static uint32_t nearest(const format *f, float x) {
    const double a = fabs((double)x);
    uint32_t lo = 0, hi = f->n_finite; /* value_of(lo) <= a; the code n_finite is one step past */
    while (hi - lo > 1) {
        const uint32_t mid = (lo + hi) / 2;
        if (value_of(f, mid) <= a) lo = mid;
        else hi = mid;
    }
    const double below = a - value_of(f, lo), above = value_of(f, hi) - a;
    uint32_t code = below < above || (below == above && lo % 2 == 0) ? lo : hi;
    if (code >= f->n_finite) code = f->overflow;
    return code | (signbit(x) ? 1u << (f->exp_bits + f->mant_bits) : 0);
}

static uint32_t encode_one(const format *f, float x) {
    uint8_t out[2] = {0, 0};
    fh_encode(f->t, &x, out, 1);
    return out[0] | (uint32_t)out[1] << 8;
}

static void check_one(const format *f, float x) {
    const uint32_t got = encode_one(f, x), want = nearest(f, x);
    if (got != want)
        fh_test_fail(__FILE__, __LINE__, "%s of %a is %x, expected %x", fh_dtype_name(f->t), (double)x, got, want);
}

TEST(encode, gives_back_every_value) {
    for (size_t k = 0; k < FH_COUNT(formats); k++) {
        const format *f = &formats[k];
        const uint32_t sign = 1u << (f->exp_bits + f->mant_bits);
        for (uint32_t code = 0; code < 2 * sign; code++) {
            const uint8_t src[2] = {(uint8_t)code, (uint8_t)(code >> 8)};
            const float x = fh_ref_decode(f->t, src, 0);
            const uint32_t back = encode_one(f, x);
            if (isnan(x)) {
                const uint8_t nan[2] = {(uint8_t)back, (uint8_t)(back >> 8)};
                CHECK(isnan(fh_ref_decode(f->t, nan, 0)) && (back & sign) == (code & sign));
            } else {
                CHECK_U64(back, code);
            }
        }
    }
}

/* Halfway between each two neighbours, and the floats on both sides of that. */
TEST(encode, rounds_ties_to_even) {
    for (size_t k = 0; k < FH_COUNT(formats); k++) {
        const format *f = &formats[k];
        for (uint32_t code = 0; code < f->n_finite; code++) {
            const float tie = (float)((value_of(f, code) + value_of(f, code + 1)) / 2);
            const float next[3] = {nextafterf(tie, 0), tie, nextafterf(tie, INFINITY)};
            for (int i = 0; i < 3; i++) {
                if (isinf(next[i])) continue;
                check_one(f, next[i]);
                check_one(f, -next[i]);
            }
        }
    }
}

TEST(encode, rounds_like_a_search) {
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 5);
    for (size_t k = 0; k < FH_COUNT(formats); k++) {
        for (int i = 0; i < 100000; i++) {
            const uint32_t u = fh_rng_u32(&r);
            float x;
            memcpy(&x, &u, 4);
            if (i % 2) x = (float)((fh_rng_f64(&r) - 0.5) * ldexp(1, (int)(u % 40) - 22));
            if (isfinite(x)) check_one(&formats[k], x);
        }
    }
}

TEST(encode, overflow_and_nan) {
    static const uint32_t quiet[] = {0x7fc00000u, 0xffc12345u, 0x7f800001u, 0xff800001u, 0x7fffffffu};
    CHECK_U64(encode_one(&formats[0], 65519.996f), 0x7bff);
    CHECK_U64(encode_one(&formats[0], 65520.0f), 0x7c00);
    CHECK_U64(encode_one(&formats[1], 0x1.fffffep127f), 0x7f80);
    CHECK_U64(encode_one(&formats[2], 464.0f), 0x7e);
    CHECK_U64(encode_one(&formats[2], 464.00003f), 0x7f); /* no saturation */
    CHECK_U64(encode_one(&formats[2], -INFINITY), 0xff);
    CHECK_U64(encode_one(&formats[3], 61439.996f), 0x7b);
    CHECK_U64(encode_one(&formats[3], 61440.0f), 0x7c);
    CHECK_U64(encode_one(&formats[3], -INFINITY), 0xfc);
    for (size_t i = 0; i < FH_COUNT(quiet); i++) {
        float x;
        memcpy(&x, &quiet[i], 4);
        const uint32_t sign = quiet[i] >> 31 << 15;
        /* sign and the top of the payload stay, the quiet bit is set: what VCVTPS2PH does */
        CHECK_U64(fh_f32_to_f16(x), sign | 0x7e00u | ((quiet[i] >> 13) & 0x3ff));
        CHECK_U64(fh_f32_to_bf16(x), (quiet[i] >> 16) | 0x40u);
        CHECK_U64(encode_one(&formats[2], x), (sign >> 8) | 0x7fu);
        CHECK_U64(encode_one(&formats[3], x), (sign >> 8) | 0x7fu);
    }
}

/* Tails: counts around the step, at odd addresses, nothing written beside. */
TEST(encode, tails_and_alignment) {
    float src[40];
    for (size_t i = 0; i < FH_COUNT(src); i++) src[i] = (float)i * 0.37f - 5.0f;
    for (size_t k = 0; k < FH_COUNT(formats); k++) {
        const format *f = &formats[k];
        for (size_t n = 0; n <= FH_COUNT(src); n++) {
            uint8_t out[2 * 40 + 2];
            memset(out, 0x5a, sizeof out);
            fh_encode(f->t, src, out + 1, n);
            for (size_t i = 0; i < n; i++) {
                const uint8_t *p = out + 1 + i * f->bytes;
                CHECK_U64(p[0] | (f->bytes == 2 ? (uint32_t)p[1] << 8 : 0), nearest(f, src[i]));
            }
            CHECK(out[0] == 0x5a && out[1 + n * f->bytes] == 0x5a);
        }
    }
}

/* The published hash of what ggml makes of a million normal-like numbers. */
TEST(encode, q8_0_same_bytes_as_the_reference_implementation) {
    enum { ROW = 4096, N = 256 };
    uint64_t s = 88172645463325252u, h = 1469598103934665603u;
    for (int row = 0; row < N; row++) {
        static float x[ROW];
        static uint8_t out[ROW / 32 * 34];
        for (int i = 0; i < ROW; i++) {
            double sum = 0;
            for (int k = 0; k < 12; k++) {
                s ^= s << 13;
                s ^= s >> 7;
                s ^= s << 17;
                sum += (double)(s >> 11) / 0x1p53;
            }
            x[i] = (float)((sum - 6) * 0.02);
        }
        fh_encode(FH_DTYPE_Q8_0, x, out, ROW);
        for (size_t i = 0; i < sizeof out; i++) h = (h ^ out[i]) * 1099511628211u;
    }
    CHECK_U64(h, 0xf2cfc50a7b3dd74cu);
}

TEST(encode, q8_0_rounds_halves_away_from_zero) {
    float x[64] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -2.5f, 0.49999997f, -127.0f};
    uint8_t out[68];
    static const int want[8] = {127, 1, 2, 3, -1, -3, 0, -127};
    fh_encode(FH_DTYPE_Q8_0, x, out, 64);
    CHECK_U64(out[0] | out[1] << 8, 0x3c00);
    for (int i = 0; i < 8; i++) CHECK((int8_t)out[2 + i] == want[i]);
    for (int i = 34; i < 68; i++) CHECK_U64(out[i], 0); /* a block of zeros has scale zero */
}

/* Where 1 / (amax / 127) and 127 / amax, one rounding apart, give different codes; bytes by ggml
 * 0.20.2. */
TEST(encode, q8_0_divides_as_the_reference_does) {
    static const struct {
        float amax, x;
        unsigned d, code;
    } cases[] = {{0x1.ef7c8ep-1f, 0x1.823ed2p-2f, 0x1fce, 50},
                 {0x1.228eaep+0f, 0x1.a98a68p-2f, 0x2093, 47},
                 {0x1.bdd67ap+0f, 0x1.42f818p-3f, 0x2305, 12}};
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        float x[32] = {cases[i].amax, cases[i].x};
        uint8_t out[34];
        fh_encode(FH_DTYPE_Q8_0, x, out, 32);
        CHECK_U64(out[0] | out[1] << 8, cases[i].d);
        CHECK_U64(out[2], 127);
        CHECK_U64(out[3], cases[i].code);
    }
}

TEST(encode, q8_0_survives_what_is_no_number) {
    float x[32] = {NAN, INFINITY, -INFINITY, 1.0f, 0x1p-149f};
    uint8_t out[34];
    fh_encode(FH_DTYPE_Q8_0, x, out, 32);
    for (int i = 0; i < 32; i++) x[i] = 0x1p-149f; /* 1/d is infinite */
    fh_encode(FH_DTYPE_Q8_0, x, out, 32);
    for (int i = 0; i < 34; i++) CHECK_U64(out[i], 0);
}

TEST(encode, f32_is_a_copy) {
    const uint32_t in[3] = {0x7f800001u, 0x80000000u, 0x00000001u};
    float x[3];
    uint8_t out[12];
    memcpy(x, in, sizeof in);
    fh_encode(FH_DTYPE_F32, x, out, 3);
    CHECK(memcmp(out, in, sizeof in) == 0);
}

TEST(encode, knows_what_it_can_do) {
    for (int t = 0; t < FH_DTYPE_COUNT; t++) {
        const bool can = t == FH_DTYPE_F32 || t == FH_DTYPE_F16 || t == FH_DTYPE_BF16 || t == FH_DTYPE_F8_E4M3 ||
                         t == FH_DTYPE_F8_E5M2 || t == FH_DTYPE_Q8_0;
        CHECK(fh_can_encode((fh_dtype)t) == can);
    }
}
