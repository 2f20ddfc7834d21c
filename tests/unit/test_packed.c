/* tests/unit/test_packed.c - published quantized layouts, value by value, and what is refused.
 * SPDX-License-Identifier: Apache-2.0
 * Every layout is packed by tests/packed_maker.h and decoded by the code under test; values must agree to the
 * bit. test_packed_golden.c compares whole checkpoints with the reference implementations. */
#include "packed_maker.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/num.h"
#include "kernel/weight_decode.h"

static float scale_of(const store *s, size_t tensor, size_t i) {
    return fh_ref_decode(s->t[tensor].dtype, s->t[tensor].data.ptr, i);
}

static void same_value(int line, const fh_weight *w, size_t at, float got, float want) {
    if (memcmp(&got, &want, 4) != 0 && !(got != got && want != want))
        fh_test_fail(__FILE__, line, "'%.*s' (%s) value %zu is %.9g, expected %.9g", FH_STR_ARG(w->name), w->layout, at,
                     (double)got, (double)want);
}

/* All values of a weight, and the same row by row. */
static float *decode_all(const fh_weight *w, fh_arena *a) {
    uint64_t rows = fh_weight_rows(w) * fh_weight_matrices(w), cols = fh_weight_cols(w);
    float *v = fh_arena_alloc(a, (size_t)(rows * cols), 4), *one = fh_arena_alloc(a, (size_t)cols, 4);
    CHECK(v && one);
    CHECK(fh_weight_can_decode(w));
    fh_weight_decode(w, 0, rows, v);
    for (uint64_t r = 0; r < rows; r++) {
        fh_weight_decode(w, r, 1, one);
        CHECK(memcmp(one, v + r * cols, (size_t)cols * 4) == 0);
    }
    return v;
}

static void check_shape(const fh_weight *w, const uint64_t dim[4]) {
    for (uint32_t k = 0; k < w->shape.n_dim; k++) CHECK_U64(w->shape.dim[k], dim[k]);
    CHECK(w->shape.n_dim == 4 || dim[w->shape.n_dim] == 0);
}

static void check_bytes(const store *s, const fh_weight *w, size_t from, size_t to) {
    uint64_t sum = 0;
    for (size_t i = from; i < to; i++) sum += s->t[i].data.len;
    CHECK_U64(fh_weight_stored_bytes(w), sum);
}

/* ---- FP8 ---- */
#define FP8(block) "{\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":" block "}}"

TEST(packed, fp8_blocks) {
    static const fh_dtype scales[] = {FH_DTYPE_F32, FH_DTYPE_BF16, FH_DTYPE_F8_E8M0};
    for (size_t k = 0; k < FH_COUNT(scales) * 2; k++) {
        store s;
        store_init(&s);
        fh_dtype code = k % 2 ? FH_DTYPE_F8_E5M2 : FH_DTYPE_F8_E4M3, scale = scales[k / 2];
        fill_bytes(&s, store_add(&s, "m.weight", code, DIMS(7, 11)), 77);
        fill_scales(&s, store_add(&s, k == 4 ? "m.scale" : "m.weight_scale_inv", scale, DIMS(3, 3)), scale, 9);
        store_add(&s, "m.input_scale", FH_DTYPE_F32, DIMS(1));
        store_bind(&s, FP8("[3,5]"));
        CHECK_U64(s.w.n, 2); /* the activation's scale is a weight of its own */
        const fh_weight *w = store_find(&s, "m.weight");
        CHECK(fh_str_is(fh_str_of(w->layout), "FP8 blocks 3x5"));
        check_bytes(&s, w, 0, 2);
        float *v = decode_all(w, &s.arena);
        for (size_t i = 0; i < 77; i++)
            same_value(__LINE__, w, i, v[i], scale_of(&s, 0, i) * scale_of(&s, 1, i / 11 / 3 * 3 + i % 11 / 5));
        store_free(&s);
    }
}

TEST(packed, fp8_other_extents) {
    /* scale shape, and which scale row and column an element of [4, 6] uses */
    static const struct {
        uint64_t dim[4];
        size_t rows, cols, across;
    } c[] = {{{0}, 4, 6, 1}, {{1}, 4, 6, 1}, {{1, 1}, 4, 6, 1}, {{4, 1}, 1, 6, 1}, {{4}, 1, 6, 1}, {{1, 6}, 4, 1, 6}};
    static const char *const names[] = {"m.weight_scale", "m.weight_scale_inv", "m.qscale_weight", "m.scale"};
    static const char *const configs[] = {
        "{}",
        "{\"quantization_config\":{\"quant_method\":\"fbgemm_fp8\"}}",
        FP8("null"),
        "{\"quantization\":{\"qformat_weight\":\"fp8_e4m3\",\"qscheme_act\":\"TENSOR\"}}",
        "{\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"FP8\"}}",
        "{\"quantization\":{\"quant_algo\":\"FP8\"},\"producer\":{\"name\":\"modelopt\"}}"};
    for (size_t i = 0; i < FH_COUNT(c) * FH_COUNT(names) * FH_COUNT(configs); i++) {
        store s;
        store_init(&s);
        size_t k = i % FH_COUNT(c), n = c[k].across * (4 / c[k].rows);
        fill_bytes(&s, store_add(&s, "m.weight", FH_DTYPE_F8_E4M3, DIMS(4, 6)), 24);
        fill_scales(&s, store_add(&s, names[i / FH_COUNT(c) % FH_COUNT(names)], FH_DTYPE_F32, c[k].dim), FH_DTYPE_F32,
                    n);
        store_bind(&s, configs[i / FH_COUNT(c) / FH_COUNT(names)]);
        CHECK_U64(s.w.n, 1);
        float *v = decode_all(&s.w.item[0], &s.arena);
        for (size_t e = 0; e < 24; e++)
            same_value(__LINE__, &s.w.item[0], e, v[e],
                       scale_of(&s, 0, e) * scale_of(&s, 1, e / 6 / c[k].rows * c[k].across + e % 6 / c[k].cols));
        store_free(&s);
    }
}

TEST(packed, fp8_experts) {
    store s;
    store_init(&s);
    fill_bytes(&s, store_add(&s, "x.gate_up_proj", FH_DTYPE_F8_E4M3, DIMS(2, 4, 6)), 48);
    fill_scales(&s, store_add(&s, "x.gate_up_proj_scale_inv", FH_DTYPE_F32, DIMS(2, 2, 2)), FH_DTYPE_F32, 8);
    fill_bytes(&s, store_add(&s, "x.down_proj", FH_DTYPE_F8_E4M3, DIMS(2, 4, 6)), 48);
    fill_scales(&s, store_add(&s, "x.down_proj_scale_inv", FH_DTYPE_F32, DIMS(2, 2, 2)), FH_DTYPE_F32, 8);
    store_bind(&s, FP8("[2,4]"));
    CHECK_U64(s.w.n, 2);
    for (size_t k = 0; k < 2; k++) {
        float *v = decode_all(&s.w.item[k], &s.arena);
        for (size_t e = 0; e < 48; e++)
            same_value(__LINE__, &s.w.item[k], e, v[e],
                       scale_of(&s, 2 * k, e) * scale_of(&s, 2 * k + 1, e / 24 * 4 + e % 24 / 6 / 2 * 2 + e % 6 / 4));
    }
    store_free(&s);
    /* per expert and column; one per expert */
    for (int k = 0; k < 2; k++) {
        store_init(&s);
        fill_bytes(&s, store_add(&s, "e.down_proj", FH_DTYPE_F8_E4M3, DIMS(3, 2, 4)), 24);
        fill_scales(&s, store_add(&s, "e.down_proj_scale", FH_DTYPE_F32, k ? DIMS(3, 1, 1) : DIMS(3, 1, 4)),
                    FH_DTYPE_F32, k ? 3 : 12);
        store_bind(&s, "{\"quantization_config\":{\"quant_method\":\"fbgemm_fp8\"}}");
        float *v = decode_all(&s.w.item[0], &s.arena);
        for (size_t e = 0; e < 24; e++)
            same_value(__LINE__, &s.w.item[0], e, v[e],
                       scale_of(&s, 0, e) * scale_of(&s, 1, k ? e / 8 : e / 8 * 4 + e % 4));
        store_free(&s);
    }
}

#define CT(format, weights) \
    "{\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"" format \
    "\",\"config_groups\":{\"g\":" \
    "{\"targets\":[\"Linear\"],\"weights\":{" weights "}}}}}"

TEST(packed, fp8_compressed_tensors) {
    static const struct {
        const char *config;
        uint64_t dim[4];
        fh_dtype scale;
        size_t rows, cols;
    } c[] = {
        {CT("float-quantized", "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"channel\""),
         {4, 1},
         FH_DTYPE_BF16,
         1,
         64},
        {CT("float-quantized", "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"tensor\""), {1}, FH_DTYPE_F32, 4, 64},
        {CT("float-quantized", "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"block\",\"block_structure\":[3,40]"),
         {2, 2},
         FH_DTYPE_F32,
         3,
         40},
        {CT("naive-quantized", "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"block\",\"block_structure\":\"3x40\""),
         {2, 2},
         FH_DTYPE_F32,
         3,
         40},
        {CT("float-quantized", "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"group\",\"group_size\":16"),
         {4, 4},
         FH_DTYPE_F16,
         1,
         16},
        {CT("mxfp8-quantized", "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"group\",\"group_size\":32"),
         {4, 2},
         FH_DTYPE_U8,
         1,
         32},
        {"{\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"MXFP8\"}}",
         {4, 2},
         FH_DTYPE_U8,
         1,
         32},
        {"{\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"FP8_PB_WO\"}}",
         {1, 1, 1, 1},
         FH_DTYPE_F32,
         128,
         128}};
    for (size_t k = 0; k < FH_COUNT(c); k++) {
        store s;
        store_init(&s);
        size_t across = (size_t)fh_ceil_div(64, c[k].cols), n = (size_t)fh_ceil_div(4, c[k].rows) * across;
        fill_bytes(&s, store_add(&s, "m.weight", FH_DTYPE_F8_E4M3, DIMS(4, 64)), 256);
        fill_scales(&s, store_add(&s, "m.weight_scale", c[k].scale, c[k].dim), c[k].scale, n);
        store_bind(&s, c[k].config);
        CHECK_U64(s.w.n, 1);
        float *v = decode_all(&s.w.item[0], &s.arena);
        for (size_t e = 0; e < 256; e++) {
            size_t at = e / 64 / c[k].rows * across + e % 64 / c[k].cols;
            float scale = c[k].scale == FH_DTYPE_U8 ? fh_e8m0_to_f32(s.t[1].data.ptr[at]) : scale_of(&s, 1, at);
            same_value(__LINE__, &s.w.item[0], e, v[e], scale_of(&s, 0, e) * scale);
        }
        store_free(&s);
    }
}

/* ---- integers ---- */
TEST(packed, int8) {
    static const struct {
        const char *config;
        uint64_t dim[4];
        size_t rows, cols;
    } c[] = {{CT("int-quantized", "\"num_bits\":8,\"type\":\"int\",\"strategy\":\"channel\""), {5, 1}, 1, 12},
             {CT("int-quantized", "\"num_bits\":8,\"type\":\"int\",\"strategy\":\"tensor\",\"symmetric\":false"),
              {1},
              5,
              12},
             {CT("int-quantized",
                 "\"num_bits\":8,\"type\":\"int\",\"strategy\":\"group\",\"group_size\":4,\"symmetric\":false"),
              {5, 3},
              1,
              4}};
    for (size_t k = 0; k < FH_COUNT(c); k++) {
        store s;
        store_init(&s);
        size_t across = 12 / c[k].cols, n = 5 / c[k].rows * across;
        fill_bytes(&s, store_add(&s, "m.weight", FH_DTYPE_I8, DIMS(5, 12)), 60);
        fill_scales(&s, store_add(&s, "m.weight_scale", FH_DTYPE_BF16, c[k].dim), FH_DTYPE_BF16, n);
        if (k) fill_bytes(&s, store_add(&s, "m.weight_zero_point", FH_DTYPE_I8, c[k].dim), n);
        store_bind(&s, c[k].config);
        CHECK_U64(s.w.n, 1);
        float *v = decode_all(&s.w.item[0], &s.arena);
        for (size_t e = 0; e < 60; e++) {
            size_t g = e / 12 / c[k].rows * across + e % 12 / c[k].cols;
            float q = scale_of(&s, 0, e) - (k ? scale_of(&s, 2, g) : 0.0f);
            same_value(__LINE__, &s.w.item[0], e, v[e], q * scale_of(&s, 1, g));
        }
        store_free(&s);
    }
}

/* Codes of any width: [R, C] with the layout's own word rule, zero points along the rows, a map of columns. */
typedef struct int_case {
    unsigned bits;
    bool words, asymmetric, map, no_shape;
    size_t R, C, group;
} int_case;

static size_t bit_of(const int_case *c, size_t i) {
    size_t per_word = 32 / c->bits;
    return c->words ? i / per_word * 32 + i % per_word * c->bits : i * c->bits;
}
static size_t words_of(const int_case *c, size_t n) {
    return c->words ? (size_t)fh_ceil_div(n, 32 / c->bits) : (size_t)fh_ceil_div(n * c->bits, 32);
}

static void run_int(const int_case *c) {
    store s;
    char config[512];
    uint32_t code[64 * 64], zero[64 * 64];
    store_init(&s);
    size_t W = words_of(c, c->C), G = (size_t)fh_ceil_div(c->C, c->group), Z = words_of(c, c->R);
    uint8_t *p = store_add(&s, "m.weight_packed", FH_DTYPE_I32, DIMS(c->R, W));
    for (size_t i = 0; i < c->R * c->C; i++) {
        code[i] = store_random(&s) % (1u << c->bits);
        put_bits(p, i / c->C * W, 1, bit_of(c, i % c->C), c->bits, code[i]);
    }
    fill_scales(&s, store_add(&s, "m.weight_scale", FH_DTYPE_F16, DIMS(c->R, G)), FH_DTYPE_F16, c->R * G);
    if (!c->no_shape) {
        uint64_t shape[2] = {c->R, c->C};
        memcpy(store_add(&s, "m.weight_shape", FH_DTYPE_I64, DIMS(2)), shape, 16);
    }
    for (size_t i = 0; i < c->R * G; i++)
        zero[i] = c->asymmetric ? store_random(&s) % (1u << c->bits) : 1u << (c->bits - 1);
    if (c->asymmetric) {
        uint8_t *z = store_add(&s, "m.weight_zero_point", FH_DTYPE_I32, DIMS(Z, G));
        for (size_t i = 0; i < c->R * G; i++) put_bits(z, i % G, G, bit_of(c, i / G), c->bits, zero[i]);
    }
    int32_t map[160];
    for (size_t i = 0; i < c->C; i++) map[i] = (int32_t)(c->map ? (i * 5 + 3) % c->C / c->group : i / c->group);
    if (c->map) memcpy(store_add(&s, "m.weight_g_idx", FH_DTYPE_I32, DIMS(c->C)), map, c->C * 4);
    snprintf(config, sizeof config,
             CT("pack-quantized",
                "\"num_bits\":%u,\"type\":\"int\",\"strategy\":\"%s\",\"group_size\":%zu,\"symmetric\":%s"),
             c->bits, c->group < c->C ? "group" : "channel", c->group, c->asymmetric ? "false" : "true");
    store_bind(&s, config);
    CHECK_U64(s.w.n, 1);
    const fh_weight *w = store_find(&s, "m.weight");
    check_shape(w, DIMS(c->R, c->C));
    check_bytes(&s, w, 0, s.n);
    CHECK((w->group_index != NULL) == c->map);
    float *v = decode_all(w, &s.arena);
    for (size_t i = 0; i < c->R * c->C; i++) {
        size_t g = i / c->C * G + (size_t)map[i % c->C];
        CHECK_U64(fh_weight_code(w, i / c->C, i % c->C), code[i]);
        same_value(__LINE__, w, i, v[i], ((float)code[i] - (float)zero[g]) * scale_of(&s, 1, g));
    }
    store_free(&s);
}

TEST(packed, integers_of_every_width) {
    for (unsigned bits = 1; bits <= 8; bits++)
        for (unsigned k = 0; k < 8; k++) {
            int_case c = {.bits = bits,
                          .words = k & 1,
                          .asymmetric = (k & 2) != 0,
                          .map = (k & 4) != 0,
                          .R = 13,
                          .C = 160,
                          .group = k & 1 ? 20 : 160};
            if (c.map && c.group == c.C) c.group = 32;
            run_int(&c);
        }
    run_int(&(int_case){.bits = 4, .R = 3, .C = 5, .group = 5}); /* most of the last word is padding */
    run_int(&(int_case){.bits = 8, .asymmetric = true, .R = 5, .C = 7, .group = 3});
    run_int(&(int_case){.bits = 4, .no_shape = true, .R = 3, .C = 16, .group = 8});
}

/* A map of -1 only was never filled in; empty is the same. */
TEST(packed, integers_with_an_unused_map) {
    store s;
    store_init(&s);
    store_add(&s, "m.weight_packed", FH_DTYPE_I32, DIMS(2, 1));
    fill_scales(&s, store_add(&s, "m.weight_scale", FH_DTYPE_F16, DIMS(2, 2)), FH_DTYPE_F16, 4);
    memset(store_add(&s, "m.weight_g_idx", FH_DTYPE_I32, DIMS(8)), 0xff, 32);
    store_bind(&s, CT("pack-quantized", "\"num_bits\":4,\"type\":\"int\",\"strategy\":\"group\",\"group_size\":4"));
    CHECK(s.w.n == 1 && !s.w.item[0].group_index);
    store_free(&s);
}

/* ---- GPTQ and AWQ ---- */
typedef struct gptq_case {
    unsigned bits;
    size_t in, out, group; /* group = in: -1 */
    bool v2, map, no_map_tensor;
} gptq_case;

/* 3 bits as the layout is described: ten codes, two bits of the 11th; its last bit, ten codes, one bit of the
 * 22nd; its last two bits, ten codes. */
static void put_three(uint8_t *words, size_t first, size_t stride, size_t i, uint32_t v) {
    size_t block = i / 32 * 3, k = i % 32;
    for (unsigned bit = 0; bit < 3; bit++) {
        size_t word, at;
        if (k < 10) word = 0, at = 3 * k + bit;
        else if (k == 10) word = bit < 2 ? 0 : 1, at = bit < 2 ? 30 + bit : 0;
        else if (k < 21) word = 1, at = 1 + 3 * (k - 11) + bit;
        else if (k == 21) word = bit < 1 ? 1 : 2, at = bit < 1 ? 31 : bit - 1;
        else word = 2, at = 2 + 3 * (k - 22) + bit;
        put_bits(words, first + (block + word) * stride, 0, at, 1, v >> bit & 1);
    }
}

static void run_gptq(const gptq_case *c) {
    store s;
    char config[256];
    static uint32_t code[64 * 64], zero[64 * 64];
    int32_t map[64];
    store_init(&s);
    size_t W = (size_t)fh_ceil_div(c->in * c->bits, 32), G = (size_t)fh_ceil_div(c->in, c->group);
    size_t Z = (size_t)fh_ceil_div(c->out * c->bits, 32);
    uint8_t *q = store_add(&s, "m.qweight", FH_DTYPE_I32, DIMS(W, c->out));
    uint8_t *z = store_add(&s, "m.qzeros", FH_DTYPE_I32, DIMS(G, Z));
    for (size_t i = 0; i < c->in * c->out; i++) { /* [in, out] */
        code[i] = store_random(&s) % (1u << c->bits);
        if (c->bits == 3) put_three(q, i % c->out, c->out, i / c->out, code[i]);
        else put_bits(q, i % c->out, c->out, i / c->out * c->bits, c->bits, code[i]);
    }
    for (size_t i = 0; i < G * c->out; i++) { /* [groups, out] */
        zero[i] = store_random(&s) % (1u << c->bits);
        uint32_t stored = (zero[i] - (c->v2 ? 0u : 1u)) & ((1u << c->bits) - 1); /* v1 keeps one less */
        if (c->bits == 3) put_three(z, i / c->out * Z, 1, i % c->out, stored);
        else put_bits(z, i / c->out * Z, 1, i % c->out * c->bits, c->bits, stored);
    }
    fill_scales(&s, store_add(&s, "m.scales", FH_DTYPE_F16, DIMS(G, c->out)), FH_DTYPE_F16, G * c->out);
    for (size_t i = 0; i < c->in; i++) map[i] = (int32_t)(c->map ? (i * 7 + 2) % c->in / c->group : i / c->group);
    if (!c->no_map_tensor) memcpy(store_add(&s, "m.g_idx", FH_DTYPE_I32, DIMS(c->in)), map, c->in * 4);
    store_add(&s, "m.bias", FH_DTYPE_F16, DIMS(c->out));
    snprintf(config, sizeof config,
             "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":%u,\"group_size\":%d,\"desc_act\":%s%s}}",
             c->bits, c->group == c->in ? -1 : (int)c->group, c->map ? "true" : "false",
             c->v2 ? ",\"checkpoint_format\":\"gptq_v2\"" : "");
    store_bind(&s, config);
    CHECK_U64(s.w.n, 2);
    const fh_weight *w = store_find(&s, "m.weight");
    check_shape(w, DIMS(c->out, c->in));
    check_bytes(&s, w, 0, s.n - 1);
    CHECK((w->group_index != NULL) == c->map);
    float *v = decode_all(w, &s.arena);
    for (size_t i = 0; i < c->in * c->out; i++) {
        size_t row = i / c->in, col = i % c->in, g = (size_t)map[col] * c->out + row;
        same_value(__LINE__, w, i, v[i], ((float)code[col * c->out + row] - (float)zero[g]) * scale_of(&s, 2, g));
    }
    store_free(&s);
}

TEST(packed, gptq) {
    static const unsigned bits[] = {2, 3, 4, 8};
    for (size_t b = 0; b < FH_COUNT(bits); b++)
        for (unsigned k = 0; k < 8; k++)
            run_gptq(&(gptq_case){.bits = bits[b],
                                  .in = 64,
                                  .out = 32,
                                  .group = k & 4 ? 64 : 16,
                                  .v2 = k & 1,
                                  .map = (k & 2) != 0 && !(k & 4),
                                  .no_map_tensor = (k & 6) == 4});
    run_gptq(&(gptq_case){.bits = 4, .in = 40, .out = 8, .group = 32}); /* the last group is not full */
}

TEST(packed, awq) {
    static const unsigned order[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    store s;
    static uint32_t code[32 * 16], zero[4 * 16];
    enum { IN = 32, OUT = 16, GROUP = 8, GROUPS = 4 };
    store_init(&s);
    uint8_t *q = store_add(&s, "m.qweight", FH_DTYPE_I32, DIMS(IN, OUT / 8));
    uint8_t *z = store_add(&s, "m.qzeros", FH_DTYPE_I32, DIMS(GROUPS, OUT / 8));
    for (size_t i = 0; i < IN * (OUT / 8) * 8; i++) { /* nibble i % 8 of word i / 8 holds output order[i % 8] of it */
        size_t in = i / OUT, out = i % OUT / 8 * 8 + order[i % 8];
        code[in * OUT + out] = store_random(&s) % 16;
        put_bits(q, i / 8, 1, i % 8 * 4, 4, code[in * OUT + out]);
    }
    for (size_t i = 0; i < GROUPS * OUT; i++) {
        size_t g = i / OUT, out = i % OUT / 8 * 8 + order[i % 8];
        zero[g * OUT + out] = store_random(&s) % 16;
        put_bits(z, i / 8, 1, i % 8 * 4, 4, zero[g * OUT + out]);
    }
    fill_scales(&s, store_add(&s, "m.scales", FH_DTYPE_F16, DIMS(GROUPS, OUT)), FH_DTYPE_F16, GROUPS * OUT);
    store_bind(&s,
               "{\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":8,\"version\":\"GEMM\"}}");
    CHECK_U64(s.w.n, 1);
    const fh_weight *w = store_find(&s, "m.weight");
    check_shape(w, DIMS(OUT, IN));
    float *v = decode_all(w, &s.arena);
    for (size_t i = 0; i < IN * OUT; i++) {
        size_t row = i / IN, col = i % IN, g = col / GROUP * OUT + row;
        same_value(__LINE__, w, i, v[i], ((float)code[col * OUT + row] - (float)zero[g]) * scale_of(&s, 2, g));
    }
    store_free(&s);
}

/* ---- 4-bit floats ---- */
static float e2m1(uint32_t code) {
    uint32_t e = code >> 1 & 3, m = code & 1;
    float v = e == 0 ? (float)m * 0.5f : (1.0f + 0.5f * (float)m) * (float)(1u << (e - 1));
    return code & 8 ? -v : v;
}

static uint32_t nibble(const uint8_t *p, size_t i) { return (uint32_t)(p[i / 2] >> (i % 2 * 4)) & 15u; }

#define MODELOPT(algo) "{\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"" algo "\"}}"

TEST(packed, nvfp4) {
    for (int k = 0; k < 4; k++) { /* ModelOpt or compressed-tensors; a matrix, or experts with a scale each */
        store s;
        bool ct = k & 1, experts = k & 2;
        store_init(&s);
        size_t E = experts ? 3 : 1, n = E * 4 * 32;
        const uint64_t *code = experts ? DIMS(3, 4, 16) : DIMS(4, 16), *scale = experts ? DIMS(3, 4, 2) : DIMS(4, 2);
        fill_bytes(&s, store_add(&s, ct ? "m.weight_packed" : "m.weight", FH_DTYPE_U8, code), n / 2);
        fill_scales(&s, store_add(&s, "m.weight_scale", FH_DTYPE_F8_E4M3, scale), FH_DTYPE_F8_E4M3, n / 16);
        uint8_t *g =
            store_add(&s, ct ? "m.weight_global_scale" : "m.weight_scale_2", FH_DTYPE_F32, DIMS(experts ? 3 : 0));
        for (size_t i = 0; i < E; i++) {
            float f = (ct ? 9000.123f : 1.0e-4f) * (float)(i + 1);
            memcpy(g + 4 * i, &f, 4);
        }
        store_add(&s, "m.input_scale", FH_DTYPE_F32, DIMS(0));
        store_bind(&s,
                   ct ? CT("nvfp4-pack-quantized", "\"num_bits\":4,\"type\":\"float\",\"strategy\":\"tensor_group\","
                                                   "\"group_size\":16")
                      : MODELOPT("NVFP4"));
        CHECK_U64(s.w.n, 2);
        const fh_weight *w = store_find(&s, "m.weight");
        check_bytes(&s, w, 0, 3);
        CHECK_U64(fh_weight_cols(w), 32);
        float *v = decode_all(w, &s.arena);
        for (size_t i = 0; i < n; i++) {
            float outer = scale_of(&s, 2, experts ? i / 128 : 0), inner = scale_of(&s, 1, i / 16);
            float both = ct ? inner / outer : inner * outer;
            same_value(__LINE__, w, i, v[i], e2m1(nibble(s.t[0].data.ptr, i)) * both);
        }
        store_free(&s);
    }
}

TEST(packed, mxfp4) {
    static const struct {
        const char *codes, *scales, *name, *config;
        fh_dtype code, scale;
        uint64_t cdim[4], sdim[4];
    } c[] = {{"m.weight_packed",
              "m.weight_scale",
              "m.weight",
              CT("mxfp4-pack-quantized", "\"num_bits\":4,\"type\":\"float\",\"strategy\":\"group\",\"group_size\":32"),
              FH_DTYPE_U8,
              FH_DTYPE_U8,
              {3, 32},
              {3, 2}},
             {"m.weight", "m.weight_scale", "m.weight", MODELOPT("MXFP4"), FH_DTYPE_U8, FH_DTYPE_U8, {3, 32}, {3, 2}},
             {"m.weight", "m.scale", "m.weight", FP8("[128,128]"), FH_DTYPE_I8, FH_DTYPE_F8_E8M0, {3, 32}, {3, 2}},
             {"m.weight", "m.scale", "m.weight", FP8("[128,128]"), FH_DTYPE_F4, FH_DTYPE_F8_E8M0, {3, 64}, {3, 2}},
             {"e.down_proj_blocks",
              "e.down_proj_scales",
              "e.down_proj",
              "{\"quantization_config\":{\"quant_method\":\"mxfp4\",\"modules_to_not_convert\":[]}}",
              FH_DTYPE_U8,
              FH_DTYPE_U8,
              {3, 1, 2, 16},
              {3, 1, 2}}};
    for (size_t k = 0; k < FH_COUNT(c); k++) {
        store s;
        store_init(&s);
        fill_bytes(&s, store_add(&s, c[k].codes, c[k].code, c[k].cdim), 96);
        uint8_t *e = store_add(&s, c[k].scales, c[k].scale, c[k].sdim);
        for (size_t i = 0; i < 6; i++) e[i] = (uint8_t)(i == 5 ? 0 : 100 + 9 * i); /* 2^-127 is a value, too */
        store_bind(&s, c[k].config);
        CHECK_U64(s.w.n, 1);
        const fh_weight *w = store_find(&s, c[k].name);
        CHECK_U64(fh_weight_cols(w), 64);
        float *v = decode_all(w, &s.arena);
        for (size_t i = 0; i < 192; i++)
            same_value(__LINE__, w, i, v[i], e2m1(nibble(s.t[0].data.ptr, i)) * fh_e8m0_to_f32(e[i / 32]));
        store_free(&s);
    }
}

/* ---- bitsandbytes ---- */
static void put_text(store *s, const char *name, const char *text) {
    memcpy(store_add(s, name, FH_DTYPE_U8, DIMS(strlen(text))), text, strlen(text));
}

#define BNB "{\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}}"

TEST(packed, bitsandbytes_4bit) {
    for (int k = 0; k < 4; k++) { /* nested or not; bytes or another dtype as the container */
        store s;
        bool nested = k & 1;
        enum { R = 5, C = 13, N = R * C, BLOCK = 16, BLOCKS = 5, OUTER = 3 }; /* blocks cross rows, the last is short */
        store_init(&s);
        if (k & 2) fill_bytes(&s, store_add(&s, "m.weight", FH_DTYPE_BF16, DIMS(17, 1)), 34);
        else fill_bytes(&s, store_add(&s, "m.weight", FH_DTYPE_U8, DIMS(33, 1)), 33);
        uint8_t *absmax = store_add(&s, "m.weight.absmax", nested ? FH_DTYPE_U8 : FH_DTYPE_F32, DIMS(BLOCKS));
        if (nested) fill_bytes(&s, absmax, BLOCKS);
        else fill_scales(&s, absmax, FH_DTYPE_F32, BLOCKS);
        fill_scales(&s, store_add(&s, "m.weight.quant_map", FH_DTYPE_F32, DIMS(16)), FH_DTYPE_F32, 16);
        put_text(&s, k & 2 ? "m.weight.quant_state.bitsandbytes__fp4" : "m.weight.quant_state.bitsandbytes__nf4",
                 nested ? "{\"quant_type\":\"nf4\",\"blocksize\":16,\"dtype\":\"bfloat16\",\"shape\":[5,13],"
                          "\"nested_blocksize\":2,\"nested_dtype\":\"float32\",\"nested_offset\":0.0371}"
                        : "{\"quant_type\":\"nf4\",\"blocksize\":16,\"dtype\":\"bfloat16\",\"shape\":[5,13]}");
        if (nested) {
            fill_scales(&s, store_add(&s, "m.weight.nested_absmax", FH_DTYPE_F32, DIMS(OUTER)), FH_DTYPE_F32, OUTER);
            fill_scales(&s, store_add(&s, "m.weight.nested_quant_map", FH_DTYPE_F32, DIMS(256)), FH_DTYPE_F32, 256);
        }
        store_bind(&s, BNB);
        CHECK_U64(s.w.n, 1);
        const fh_weight *w = store_find(&s, "m.weight");
        check_shape(w, DIMS(R, C));
        check_bytes(&s, w, 0, s.n);
        float *v = decode_all(w, &s.arena);
        for (size_t i = 0; i < N; i++) {
            uint32_t code =
                (uint32_t)(s.t[0].data.ptr[i / 2] >> (i % 2 ? 0 : 4)) & 15u; /* the first in the high half */
            float scale = nested ? scale_of(&s, 5, absmax[i / BLOCK]) * scale_of(&s, 4, i / BLOCK / 2)
                                 : scale_of(&s, 1, i / BLOCK);
            if (nested) scale = scale + 0.0371f;
            same_value(__LINE__, w, i, v[i], scale_of(&s, 2, code) * scale);
        }
        store_free(&s);
    }
}

TEST(packed, llm_int8) {
    store s;
    store_init(&s);
    fill_bytes(&s, store_add(&s, "m.weight", FH_DTYPE_I8, DIMS(3, 4)), 12);
    fill_scales(&s, store_add(&s, "m.SCB", FH_DTYPE_F32, DIMS(3)), FH_DTYPE_F32, 3);
    store_add(&s, "m.weight_format", FH_DTYPE_U8, DIMS(1));
    store_bind(&s, BNB);
    CHECK_U64(s.w.n, 1);
    check_bytes(&s, &s.w.item[0], 0, 3);
    float *v = decode_all(&s.w.item[0], &s.arena);
    for (size_t i = 0; i < 12; i++) {
        float want = scale_of(&s, 0, i) * scale_of(&s, 1, i / 4);
        want = want * (1.0f / 127.0f);
        same_value(__LINE__, &s.w.item[0], i, v[i], want);
    }
    store_free(&s);
}

/* ---- all of a checkpoint ---- */
TEST(packed, order_and_leftovers) {
    store s;
    store_init(&s);
    store_add(&s, "a.weight_scale_inv", FH_DTYPE_F32, DIMS(1, 1));
    store_add(&s, "norm.weight", FH_DTYPE_BF16, DIMS(4));
    store_add(&s, "b.weight", FH_DTYPE_F8_E4M3, DIMS(2, 2));
    store_add(&s, "a.weight", FH_DTYPE_F8_E4M3, DIMS(2, 2));
    store_add(&s, "k_scale", FH_DTYPE_F32, DIMS(1));
    store_add(&s, "b.weight_scale_inv", FH_DTYPE_F32, DIMS(1, 1));
    store_add(&s, "raw.fp8", FH_DTYPE_F8_E4M3, DIMS(2)); /* without scales: what its dtype says */
    static const char *const want[] = {"a.weight", "norm.weight", "b.weight", "k_scale", "raw.fp8"};
    store_bind(&s, FP8("[128,128]"));
    CHECK_U64(s.w.n, FH_COUNT(want));
    for (size_t i = 0; i < FH_COUNT(want); i++) CHECK_STR(s.w.item[i].name, want[i]);
    CHECK_STR(fh_str_of(s.w.item[1].layout), "");
    store_bind(&s, NULL); /* no config: every tensor is what it is */
    CHECK_U64(s.w.n, s.n);
    for (size_t i = 0; i < s.n; i++) CHECK(fh_str_eq(s.w.item[i].name, s.t[i].name));
    store_free(&s);
}

TEST(packed, plain_values) {
    store s;
    store_init(&s);
    fill_scales(&s, store_add(&s, "a", FH_DTYPE_F16, DIMS(3, 5)), FH_DTYPE_F16, 15);
    fill_scales(&s, store_add(&s, "scalar", FH_DTYPE_F32, DIMS(0)), FH_DTYPE_F32, 1);
    store_add(&s, "c", FH_DTYPE_C64, DIMS(2));
    store_bind(&s, NULL);
    float *v = decode_all(&s.w.item[0], &s.arena);
    for (size_t i = 0; i < 15; i++) same_value(__LINE__, &s.w.item[0], i, v[i], scale_of(&s, 0, i));
    v = decode_all(&s.w.item[1], &s.arena);
    same_value(__LINE__, &s.w.item[1], 0, v[0], scale_of(&s, 1, 0));
    CHECK(!fh_weight_can_decode(&s.w.item[2]));
    store_free(&s);
}

TEST(packed, config_places) {
    static const char *const ok[] = {
        "{\"text_config\":{\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[2,2]}}}",
        "{\"compression_config\":{\"config_groups\":{\"g\":{\"weights\":{\"num_bits\":8,\"type\":\"float\","
        "\"strategy\":\"block\","
        "\"block_structure\":[2,2]}}}}}",
        ("{\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[2,2]},"
         "\"text_config\":{\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[2,2]}}}")};
    for (size_t i = 0; i < FH_COUNT(ok); i++) {
        store s;
        store_init(&s);
        store_add(&s, "m.weight", FH_DTYPE_F8_E4M3, DIMS(4, 4));
        store_add(&s, "m.weight_scale_inv", FH_DTYPE_F32, DIMS(2, 2));
        store_bind(&s, ok[i]);
        CHECK(s.w.n == 1 && s.w.item[0].group_cols == 2);
        store_free(&s);
    }
}

/* ---- refused ---- */
typedef struct bad_tensor {
    const char *name;
    fh_dtype dtype;
    uint64_t dim[4];
} bad_tensor;

#define GPTQ4 "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":16}}"
#define AWQ4 "{\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":16}}"
#define INT4 CT("pack-quantized", "\"num_bits\":4,\"type\":\"int\",\"strategy\":\"group\",\"group_size\":8")

static const struct bad {
    const char *config;
    fh_status status;
    const char *words;
    bad_tensor t[6];
} bad[] = {
    {"{\"quantization_config\":{\"quant_method\":\"aqlm\"}}", FH_ERR_UNSUPPORTED, "'aqlm'", {{0}}},
    {"{\"quantization_config\":{\"quant_method\":\"hqq\"}}", FH_ERR_UNSUPPORTED, "'hqq'", {{0}}},
    {"{\"quantization_config\":{\"quant_method\":\"torchao\"}}", FH_ERR_UNSUPPORTED, "'torchao'", {{0}}},
    {"{\"quantization_config\":{}}", FH_ERR_FORMAT, "quant_method", {{0}}},
    {"{\"quantization\":{\"group_size\":64,\"bits\":4}}", FH_ERR_UNSUPPORTED, "'mlx'", {{0}}},
    {"{\"quantization_config\":{\"quant_method\":\"fp8\"},\"text_config\":{\"quantization_config\":{\"quant_method\":"
     "\"awq\"}}}",
     FH_ERR_FORMAT,
     "text_config",
     {{0}}},
    {"{\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"gemv\"}}",
     FH_ERR_UNSUPPORTED,
     "'gemv'",
     {{0}}},
    {"{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":64,\"checkpoint_format\":"
     "\"marlin\"}}",
     FH_ERR_UNSUPPORTED,
     "'marlin'",
     {{0}}},
    {"{\"quantization_config\":{\"quant_method\":\"gptq\",\"group_size\":64}}", FH_ERR_FORMAT, "bits", {{0}}},
    {"{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":0}}",
     FH_ERR_FORMAT,
     "group_size",
     {{0}}},
    {"{\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"marlin-24\"}}",
     FH_ERR_UNSUPPORTED,
     "'marlin-24'",
     {{0}}},
    {"{\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"sparsity_config\":{\"format\":\"sparse-"
     "bitmask\"}}}",
     FH_ERR_UNSUPPORTED,
     "sparse",
     {{0}}},
    {"{\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"transform_config\":{\"config_groups\":{\"u\":"
     "{}}}}}",
     FH_ERR_UNSUPPORTED,
     "rotates",
     {{0}}},
    {MODELOPT("W4A8_AWQ"), FH_ERR_UNSUPPORTED, "'W4A8_AWQ'", {{0}}},
    {CT("pack-quantized", "\"num_bits\":4,\"type\":\"int\",\"strategy\":\"group\""),
     FH_ERR_FORMAT,
     "group_size",
     {{0}}},
    /* parts without their partners */
    {FP8("[128,128]"), FH_ERR_FORMAT, "'m.weight_scale_inv' is a part", {{"m.weight_scale_inv", FH_DTYPE_F32, {1, 1}}}},
    {FP8("[128,128]"),
     FH_ERR_FORMAT,
     "'m.weight_scale_inv' is a part",
     {{"m.weight", FH_DTYPE_BF16, {2, 2}}, {"m.weight_scale_inv", FH_DTYPE_F32, {1, 1}}}},
    {GPTQ4, FH_ERR_FORMAT, "'m.scales' is missing", {{"m.qweight", FH_DTYPE_I32, {2, 8}}}},
    {GPTQ4,
     FH_ERR_FORMAT,
     "'m.qzeros' is missing",
     {{"m.qweight", FH_DTYPE_I32, {2, 8}}, {"m.scales", FH_DTYPE_F16, {1, 8}}}},
    {GPTQ4, FH_ERR_FORMAT, "'m.qzeros' is a part", {{"m.qzeros", FH_DTYPE_I32, {1, 1}}}},
    {INT4, FH_ERR_FORMAT, "'m.weight_scale' is missing", {{"m.weight_packed", FH_DTYPE_I32, {2, 1}}}},
    {INT4, FH_ERR_FORMAT, "'m.weight_shape' is a part", {{"m.weight_shape", FH_DTYPE_I64, {2}}}},
    {MODELOPT("NVFP4"),
     FH_ERR_FORMAT,
     "second scale",
     {{"m.weight", FH_DTYPE_U8, {2, 8}}, {"m.weight_scale", FH_DTYPE_F8_E4M3, {2, 1}}}},
    {BNB, FH_ERR_FORMAT, "quant_state", {{"m.weight", FH_DTYPE_U8, {8, 1}}, {"m.weight.absmax", FH_DTYPE_F32, {1}}}},
    {MODELOPT("NVFP4"), FH_ERR_UNSUPPORTED, "scales its input", {{"m.pre_quant_scale", FH_DTYPE_BF16, {8}}}},
    /* shapes and dtypes that do not fit */
    {FP8("[128,128]"),
     FH_ERR_FORMAT,
     "do not fit",
     {{"m.weight", FH_DTYPE_F8_E4M3, {256, 128}}, {"m.weight_scale_inv", FH_DTYPE_F32, {1, 1}}}},
    {FP8("[128,128]"),
     FH_ERR_FORMAT,
     "do not fit",
     {{"m.weight", FH_DTYPE_F8_E4M3, {256, 128}}, {"m.weight_scale_inv", FH_DTYPE_F32, {256, 1}}}},
    {FP8("[128,128]"),
     FH_ERR_FORMAT,
     "has the scales",
     {{"m.weight", FH_DTYPE_F8_E4M3, {2, 2}},
      {"m.weight_scale_inv", FH_DTYPE_F32, {1, 1}},
      {"m.scale", FH_DTYPE_F32, {1, 1}}}},
    {FP8("[128,128]"),
     FH_ERR_FORMAT,
     "scales of I32",
     {{"m.weight", FH_DTYPE_F8_E4M3, {2, 2}}, {"m.weight_scale_inv", FH_DTYPE_I32, {1, 1}}}},
    {FP8("[0,128]"), FH_ERR_FORMAT, "weight_block_size", {{0}}},
    {CT("float-quantized", "\"num_bits\":8,\"type\":\"float\",\"strategy\":\"channel\""),
     FH_ERR_FORMAT,
     "do not fit",
     {{"m.weight", FH_DTYPE_F8_E4M3, {4, 2}}, {"m.weight_scale", FH_DTYPE_F32, {1}}}},
    {CT("int-quantized", "\"num_bits\":8,\"type\":\"int\",\"strategy\":\"channel\",\"symmetric\":false"),
     FH_ERR_FORMAT,
     "no zero points",
     {{"m.weight", FH_DTYPE_I8, {4, 2}}, {"m.weight_scale", FH_DTYPE_F32, {4, 1}}}},
    {"{}",
     FH_ERR_FORMAT,
     "do not fit",
     {{"m.weight", FH_DTYPE_F8_E4M3, {4, 4}}, {"m.weight_scale_inv", FH_DTYPE_F32, {2, 2}}}},
    {"{}",
     FH_ERR_FORMAT,
     "GPTQ or AWQ",
     {{"m.qweight", FH_DTYPE_I32, {2, 8}}, {"m.qzeros", FH_DTYPE_I32, {1, 1}}, {"m.scales", FH_DTYPE_F16, {1, 8}}}},
    {FP8("[128,128]"),
     FH_ERR_FORMAT,
     "config.json says 'fp8'",
     {{"m.qweight", FH_DTYPE_I32, {2, 8}}, {"m.qzeros", FH_DTYPE_I32, {1, 1}}, {"m.scales", FH_DTYPE_F16, {1, 8}}}},
    {GPTQ4,
     FH_ERR_FORMAT,
     "groups of 16",
     {{"m.qweight", FH_DTYPE_I32, {8, 8}}, {"m.qzeros", FH_DTYPE_I32, {2, 1}}, {"m.scales", FH_DTYPE_F16, {2, 8}}}},
    {GPTQ4,
     FH_ERR_FORMAT,
     "are not 4 bits",
     {{"m.qweight", FH_DTYPE_I32, {2, 8}}, {"m.qzeros", FH_DTYPE_I32, {1, 2}}, {"m.scales", FH_DTYPE_F16, {1, 8}}}},
    {GPTQ4,
     FH_ERR_FORMAT,
     "scales have 16",
     {{"m.qweight", FH_DTYPE_I32, {2, 8}}, {"m.qzeros", FH_DTYPE_I32, {1, 2}}, {"m.scales", FH_DTYPE_F16, {1, 16}}}},
    {GPTQ4,
     FH_ERR_FORMAT,
     "'m.g_idx'",
     {{"m.qweight", FH_DTYPE_I32, {2, 8}},
      {"m.qzeros", FH_DTYPE_I32, {1, 1}},
      {"m.scales", FH_DTYPE_F16, {1, 8}},
      {"m.g_idx", FH_DTYPE_I64, {16}}}},
    {GPTQ4,
     FH_ERR_FORMAT,
     "'m.weight' is there as well",
     {{"m.qweight", FH_DTYPE_I32, {2, 8}},
      {"m.qzeros", FH_DTYPE_I32, {1, 1}},
      {"m.scales", FH_DTYPE_F16, {1, 8}},
      {"m.weight", FH_DTYPE_F16, {8, 16}}}},
    {AWQ4,
     FH_ERR_FORMAT,
     "gemm packing",
     {{"m.qweight", FH_DTYPE_I32, {2, 8}}, {"m.qzeros", FH_DTYPE_I32, {1, 1}}, {"m.scales", FH_DTYPE_F16, {1, 8}}}},
    {AWQ4,
     FH_ERR_UNSUPPORTED,
     "packing that is not read",
     {{"m.qweight", FH_DTYPE_I16, {2, 8}}, {"m.qzeros", FH_DTYPE_I32, {1, 1}}, {"m.scales", FH_DTYPE_F16, {1, 8}}}},
    {INT4,
     FH_ERR_FORMAT,
     "no group of integers",
     {{"m.weight_packed", FH_DTYPE_I32, {2, 2}}, {"m.weight_scale", FH_DTYPE_F16, {2, 1}}}},
    {INT4,
     FH_ERR_FORMAT,
     "'m.weight_shape'",
     {{"m.weight_packed", FH_DTYPE_I32, {2, 1}},
      {"m.weight_scale", FH_DTYPE_F16, {2, 1}},
      {"m.weight_shape", FH_DTYPE_I64, {2}}}},
    {INT4,
     FH_ERR_FORMAT,
     "zero points",
     {{"m.weight_packed", FH_DTYPE_I32, {2, 1}},
      {"m.weight_scale", FH_DTYPE_F16, {2, 1}},
      {"m.weight_zero_point", FH_DTYPE_I32, {2, 1}}}},
    {INT4,
     FH_ERR_FORMAT,
     "'m.weight' is there as well",
     {{"m.weight_packed", FH_DTYPE_I32, {2, 1}},
      {"m.weight_scale", FH_DTYPE_F16, {2, 1}},
      {"m.weight", FH_DTYPE_F16, {2, 8}}}},
    {"{}",
     FH_ERR_FORMAT,
     "does not say",
     {{"m.weight_packed", FH_DTYPE_I32, {2, 1}}, {"m.weight_scale", FH_DTYPE_F16, {2, 1}}}},
    {MODELOPT("NVFP4"),
     FH_ERR_FORMAT,
     "do not fit",
     {{"m.weight", FH_DTYPE_U8, {2, 8}},
      {"m.weight_scale", FH_DTYPE_F8_E4M3, {2, 2}},
      {"m.weight_scale_2", FH_DTYPE_F32, {0}}}},
    {MODELOPT("NVFP4"),
     FH_ERR_FORMAT,
     "not one F32",
     {{"m.weight", FH_DTYPE_U8, {2, 8}},
      {"m.weight_scale", FH_DTYPE_F8_E4M3, {2, 1}},
      {"m.weight_scale_2", FH_DTYPE_F16, {0}}}},
    {"{}",
     FH_ERR_FORMAT,
     "not one for each 32",
     {{"e.gate_up_proj_blocks", FH_DTYPE_U8, {2, 4, 2, 16}}, {"e.gate_up_proj_scales", FH_DTYPE_U8, {2, 4, 1}}}},
    {"{}", FH_ERR_FORMAT, "'e.gate_up_proj_blocks' is a part", {{"e.gate_up_proj_blocks", FH_DTYPE_U8, {2, 4, 2, 16}}}},
    {"{}",
     FH_ERR_UNSUPPORTED,
     "bytes with scales of BF16",
     {{"m.weight", FH_DTYPE_U8, {2, 8}}, {"m.weight_scale", FH_DTYPE_BF16, {2, 1}}}},
    {BNB, FH_ERR_FORMAT, "one F32 for each row", {{"m.weight", FH_DTYPE_I8, {4, 2}}, {"m.SCB", FH_DTYPE_F32, {2}}}},
    {"{}", FH_ERR_FORMAT, "stands twice", {{"a", FH_DTYPE_F32, {1}}, {"a", FH_DTYPE_F32, {1}}}}};

TEST(packed, refuses) {
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        store s;
        fh_err err = {0};
        store_init(&s);
        for (size_t k = 0; k < 6 && bad[i].t[k].name; k++)
            store_add(&s, bad[i].t[k].name, bad[i].t[k].dtype, bad[i].t[k].dim);
        fh_status st = store_try(&s, bad[i].config, &err);
        if (st != bad[i].status || !strstr(err.message, bad[i].words))
            fh_test_fail(__FILE__, __LINE__, "case %zu: %s '%s', expected %s '%s'", i, fh_status_name(st), err.message,
                         fh_status_name(bad[i].status), bad[i].words);
        CHECK(s.w.n == 0 && !s.w.item);
        store_free(&s);
    }
}

TEST(packed, refuses_a_map_out_of_range) {
    for (int k = 0; k < 2; k++) {
        store s;
        fh_err err = {0};
        store_init(&s);
        store_add(&s, "m.qweight", FH_DTYPE_I32, DIMS(4, 8));
        store_add(&s, "m.qzeros", FH_DTYPE_I32, DIMS(2, 1));
        store_add(&s, "m.scales", FH_DTYPE_F16, DIMS(2, 8));
        int32_t map[32] = {0};
        map[7] = k ? -1 : 2;
        memcpy(store_add(&s, "m.g_idx", FH_DTYPE_I32, DIMS(32)), map, sizeof map);
        CHECK_STATUS(store_try(&s, GPTQ4, &err), FH_ERR_FORMAT);
        CHECK(strstr(err.message, "column 7"));
        store_free(&s);
    }
}

/* Three bits in 11 to 20 columns fill two words either way: nothing says which. */
TEST(packed, refuses_ambiguous_words) {
    store s;
    fh_err err = {0};
    uint64_t shape[2] = {2, 15};
    store_init(&s);
    store_add(&s, "m.weight_packed", FH_DTYPE_I32, DIMS(2, 2));
    store_add(&s, "m.weight_scale", FH_DTYPE_F16, DIMS(2, 1));
    memcpy(store_add(&s, "m.weight_shape", FH_DTYPE_I64, DIMS(2)), shape, 16);
    CHECK_STATUS(store_try(&s, CT("pack-quantized", "\"num_bits\":3,\"type\":\"int\",\"strategy\":\"channel\""), &err),
                 FH_ERR_FORMAT);
    CHECK(strstr(err.message, "cross words"));
    store_free(&s);
}

TEST(packed, lack_of_memory) {
    static const struct {
        const char *config;
        bad_tensor t[4];
    } c[] = {
        {FP8("[128,128]"),
         {{"m.weight", FH_DTYPE_F8_E4M3, {2, 2}},
          {"m.weight_scale_inv", FH_DTYPE_F32, {1, 1}},
          {"n", FH_DTYPE_F32, {1}}}},
        {GPTQ4,
         {{"m.qweight", FH_DTYPE_I32, {2, 8}}, {"m.qzeros", FH_DTYPE_I32, {1, 1}}, {"m.scales", FH_DTYPE_F16, {1, 8}}}},
        {INT4, {{"m.weight_packed", FH_DTYPE_I32, {2, 1}}, {"m.weight_scale", FH_DTYPE_F16, {2, 1}}}}};
    for (size_t i = 0; i < FH_COUNT(c); i++) {
        store s;
        fh_err err = {0};
        store_init(&s);
        for (size_t k = 0; k < 4 && c[i].t[k].name; k++) store_add(&s, c[i].t[k].name, c[i].t[k].dtype, c[i].t[k].dim);
        store_bind(&s, c[i].config);
        for (uint64_t n = 1;; n++) {
            fh_arena own; /* of its own, so that its growth can fail too */
            fh_weights w = {NULL, 0};
            uint64_t blocks = fh_mem_get_stats().live_blocks;
            fh_arena_init(&own, 1u << 20);
            fh_fault_arm(FH_FAULT_ALLOC, n, false);
            fh_status st = fh_packed_bind(&w, &own, s.ptr, s.n, fh_json_root(s.config), &err);
            bool hit = fh_fault_calls(FH_FAULT_ALLOC) >= n;
            fh_fault_disarm();
            fh_arena_release(&own);
            CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
            CHECK(st == (hit ? FH_ERR_MEMORY : FH_OK));
            if (!hit) break;
        }
        store_free(&s);
    }
}

/* As many tensors as the largest published checkpoints, in an order that scatters the parts. */
TEST(packed, many_tensors) {
    enum { N = 100000 };
    fh_arena a;
    fh_err err = {0};
    fh_json *doc = NULL;
    fh_weights w = {NULL, 0};
    static const uint8_t data[16];
    fh_arena_init(&a, (size_t)1 << 30);
    fh_tensor *t = fh_arena_alloc(&a, N, sizeof *t);
    const fh_tensor **ptr = fh_arena_alloc(&a, N, sizeof *ptr);
    CHECK(t && ptr);
    for (unsigned i = 0; i < N; i++) {
        char name[96];
        unsigned k = i * 7919u % N; /* 7919 is prime: every number once */
        snprintf(name, sizeof name, "model.layers.%u.mlp.experts.%u.gate_proj.weight%s", k / 2 / 256, k / 2 % 256,
                 k % 2 ? "_scale_inv" : "");
        t[i] =
            (fh_tensor){.dtype = k % 2 ? FH_DTYPE_F32 : FH_DTYPE_F8_E4M3, .shape = {2, {k % 2 ? 1 : 4, k % 2 ? 1 : 4}}};
        t[i].data = (fh_bytes){data, k % 2 ? 4 : 16};
        CHECK(fh_arena_copy(&a, fh_str_of(name), &t[i].name));
        ptr[i] = &t[i];
    }
    CHECK_OK(fh_json_parse(&doc, FH_STR(FP8("[128,128]")), NULL, &err), err);
    uint64_t t0 = fh_clock_ns();
    CHECK_OK(fh_packed_bind(&w, &a, ptr, N, fh_json_root(doc), &err), err);
    uint64_t ms = (fh_clock_ns() - t0) / 1000000;
    CHECK_U64(w.n, N / 2);
    CHECK(ms < 5000); /* 0.1 s in a plain build; a quadratic look-up takes minutes */
    fh_json_free(doc);
    fh_arena_release(&a);
}
