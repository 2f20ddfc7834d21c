/* tests/unit/test_dtype.c - element types, shapes, what a weight takes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensor/weight.h"
#include "test.h"

/* Sizes as the formats' own libraries report them; written out here so that a slip in dtype.def
 * shows. */
static const struct {
    const char *name;
    int gguf_id;
    uint32_t elems, bytes;
} published[] = {
    {"F32", 0, 1, 4},         {"F16", 1, 1, 2},         {"Q4_0", 2, 32, 18},      {"Q4_1", 3, 32, 20},
    {"Q5_0", 6, 32, 22},      {"Q5_1", 7, 32, 24},      {"Q8_0", 8, 32, 34},      {"Q8_1", 9, 32, 36},
    {"Q2_K", 10, 256, 84},    {"Q3_K", 11, 256, 110},   {"Q4_K", 12, 256, 144},   {"Q5_K", 13, 256, 176},
    {"Q6_K", 14, 256, 210},   {"Q8_K", 15, 256, 292},   {"IQ2_XXS", 16, 256, 66}, {"IQ2_XS", 17, 256, 74},
    {"IQ3_XXS", 18, 256, 98}, {"IQ1_S", 19, 256, 50},   {"IQ4_NL", 20, 32, 18},   {"IQ3_S", 21, 256, 110},
    {"IQ2_S", 22, 256, 82},   {"IQ4_XS", 23, 256, 136}, {"I8", 24, 1, 1},         {"I16", 25, 1, 2},
    {"I32", 26, 1, 4},        {"I64", 27, 1, 8},        {"F64", 28, 1, 8},        {"IQ1_M", 29, 256, 56},
    {"BF16", 30, 1, 2},       {"TQ1_0", 34, 256, 54},   {"TQ2_0", 35, 256, 66},   {"MXFP4", 39, 32, 17},
    {"NVFP4", 40, 64, 36},    {"Q1_0", 41, 128, 18},    {"Q2_0", 42, 64, 18},
};

/* Every name that a safetensors header may hold, with bits per element. */
static const struct {
    const char *name;
    unsigned bits;
} st_names[] = {
    {"BOOL", 8},        {"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},   {"I8", 8},
    {"F8_E5M2", 8},     {"F8_E4M3", 8},     {"F8_E8M0", 8}, {"I16", 16},    {"U16", 16}, {"F16", 16},
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"BF16", 16},   {"I32", 32},    {"U32", 32}, {"F32", 32},
    {"C64", 64},        {"F64", 64},        {"I64", 64},    {"U64", 64},
};

TEST(dtype, gguf_types_are_as_published) {
    for (size_t i = 0; i < FH_COUNT(published); i++) {
        fh_dtype t;
        CHECK(fh_dtype_from_gguf((uint32_t)published[i].gguf_id, &t));
        const fh_dtype_info *d = fh_dtype_get_info(t);
        CHECK_STR(fh_str_of(d->name), published[i].name);
        CHECK_U64(d->block_elems, published[i].elems);
        CHECK_U64(d->block_bytes, published[i].bytes);
        CHECK(d->gguf_id == published[i].gguf_id);
    }
    size_t n = 0;
    for (int t = 0; t < FH_DTYPE_COUNT; t++) n += fh_dtype_get_info((fh_dtype)t)->gguf_id >= 0;
    CHECK_U64(n, FH_COUNT(published));
}

TEST(dtype, safetensors_names_are_as_published) {
    for (size_t i = 0; i < FH_COUNT(st_names); i++) {
        fh_dtype t;
        CHECK(fh_dtype_from_safetensors(fh_str_of(st_names[i].name), &t));
        CHECK(fh_dtype_bits(t) == (double)st_names[i].bits);
        CHECK_STR(fh_str_of(fh_dtype_name(t)), st_names[i].name);
    }
    size_t n = 0;
    for (int t = 0; t < FH_DTYPE_COUNT; t++) n += fh_dtype_get_info((fh_dtype)t)->st_name != NULL;
    CHECK_U64(n, FH_COUNT(st_names));
    fh_dtype t = FH_DTYPE_Q4_K;
    CHECK(!fh_dtype_from_safetensors(FH_STR("f16"), &t)); /* that format knows one letter case */
    CHECK(!fh_dtype_from_safetensors(FH_STR("Q4_0"), &t));
    CHECK(!fh_dtype_from_safetensors((fh_str){"F16 ", 4}, &t));
    CHECK(!fh_dtype_from_safetensors((fh_str){NULL, 0}, &t));
    CHECK(t == FH_DTYPE_Q4_K);
}

TEST(dtype, rows_are_whole) {
    for (int a = 0; a < FH_DTYPE_COUNT; a++) {
        const fh_dtype_info *d = fh_dtype_get_info((fh_dtype)a);
        CHECK(d->name && d->name[0] && d->block_elems && d->block_bytes);
        CHECK((d->cls == FH_DTYPE_CLASS_BLOCK) == (d->st_name == NULL));
        fh_dtype t;
        CHECK(fh_dtype_from_name(fh_str_of(d->name), &t) && (int)t == a); /* so names differ */
        if (d->gguf_id >= 0) CHECK(fh_dtype_from_gguf((uint32_t)d->gguf_id, &t) && (int)t == a);
        if (d->st_name) CHECK(fh_dtype_from_safetensors(fh_str_of(d->st_name), &t) && (int)t == a);
    }
}

TEST(dtype, names_in_any_letter_case) {
    fh_dtype t;
    CHECK(fh_dtype_from_name(FH_STR("q4_k"), &t) && t == FH_DTYPE_Q4_K);
    CHECK(fh_dtype_from_name(FH_STR("bF16"), &t) && t == FH_DTYPE_BF16);
    CHECK(fh_dtype_from_name((fh_str){"Q8_0xyz", 4}, &t) && t == FH_DTYPE_Q8_0);
    CHECK(!fh_dtype_from_name(FH_STR("q4"), &t));
    CHECK(!fh_dtype_from_name(FH_STR(""), &t));
    CHECK(!fh_dtype_from_name((fh_str){NULL, 0}, &t));
}

TEST(dtype, refused_gguf_ids_are_named) {
    static const uint32_t removed[] = {4, 5, 31, 32, 33, 36, 37, 38};
    static const uint32_t forks[] = {133, 137, 141, 144, 145, 146, 152, 153, 155, 156, 157, 158, 202, 340};
    static const uint32_t unknown[] = {43, 100, 400, UINT32_MAX, (uint32_t)INT32_MAX + 1u};
    fh_dtype t;
    for (size_t i = 0; i < FH_COUNT(removed); i++) {
        CHECK(!fh_dtype_from_gguf(removed[i], &t));
        CHECK(strstr(fh_dtype_gguf_refusal(removed[i]), "removed from the format"));
    }
    for (size_t i = 0; i < FH_COUNT(forks); i++) {
        CHECK(!fh_dtype_from_gguf(forks[i], &t));
        CHECK(strstr(fh_dtype_gguf_refusal(forks[i]), "fork"));
    }
    for (size_t i = 0; i < FH_COUNT(unknown); i++) {
        CHECK(!fh_dtype_from_gguf(unknown[i], &t));
        CHECK(strstr(fh_dtype_gguf_refusal(unknown[i]), "unknown"));
    }
    CHECK(strstr(fh_dtype_gguf_refusal(5), "Q4_3"));
    CHECK(strstr(fh_dtype_gguf_refusal(33), "Q4_0_8_8"));
    CHECK(strstr(fh_dtype_gguf_refusal(144), "IQ4_KS"));
}

TEST(dtype, bytes_of_elements) {
    uint64_t n = 99;
    CHECK(fh_dtype_bytes(FH_DTYPE_Q4_K, 512, &n) && n == 288);
    CHECK(fh_dtype_bytes(FH_DTYPE_F6_E2M3, 8, &n) && n == 6);
    CHECK(fh_dtype_bytes(FH_DTYPE_F32, 0, &n) && n == 0);
    n = 99;
    CHECK(!fh_dtype_bytes(FH_DTYPE_Q4_K, 255, &n));
    CHECK(!fh_dtype_bytes(FH_DTYPE_F4, 1, &n));
    CHECK(!fh_dtype_bytes(FH_DTYPE_F16, UINT64_C(1) << 63, &n));
    CHECK(!fh_dtype_bytes(FH_DTYPE_Q8_0, UINT64_MAX - 31, &n));
    CHECK_U64(n, 99);
    CHECK(fh_dtype_bytes(FH_DTYPE_F16, (UINT64_C(1) << 63) - 1, &n) && n == UINT64_MAX - 1);
    CHECK(fh_dtype_bits(FH_DTYPE_Q6_K) == 6.5625);
    CHECK(fh_dtype_bits(FH_DTYPE_Q1_0) == 1.125);
}

TEST(tensor, shapes_count_their_elements) {
    const fh_shape scalar = {0, {0}}, plain = {3, {4, 5, 6}}, row = {1, {7}}, empty = {2, {0, 9}};
    uint64_t n;
    CHECK(fh_shape_count(&scalar, &n) && n == 1);
    CHECK(fh_shape_count(&plain, &n) && n == 120);
    CHECK(fh_shape_count(&empty, &n) && n == 0);
    CHECK(fh_shape_cols(&scalar) == 1 && fh_shape_rows(&scalar) == 1);
    CHECK(fh_shape_cols(&plain) == 6 && fh_shape_rows(&plain) == 20);
    CHECK(fh_shape_cols(&row) == 7 && fh_shape_rows(&row) == 1);
    CHECK(fh_shape_cols(&empty) == 9 && fh_shape_rows(&empty) == 0);
}

TEST(tensor, shapes_that_do_not_fit_are_refused) {
    const uint64_t big = UINT64_C(1) << 40;
    const fh_shape wide = {2, {big, big}}, tail = {3, {big, big, 0}}, head = {3, {0, big, big}};
    const fh_shape most = {2, {UINT64_C(1) << 32, UINT64_C(0xffffffff)}};
    uint64_t n = 7;
    CHECK(!fh_shape_count(&wide, &n));
    CHECK(!fh_shape_count(&tail, &n)); /* no elements, but its rows would wrap */
    CHECK(!fh_shape_count(&head, &n));
    CHECK_U64(n, 7);
    CHECK(fh_shape_count(&most, &n) && n == UINT64_C(0xffffffff00000000));
}

TEST(tensor, shapes_compare_and_print) {
    const fh_shape a = {2, {4096, 128}}, b = {2, {4096, 128, 9}}, c = {3, {4096, 128, 1}};
    const fh_shape d = {2, {4096, 127}}, scalar = {0, {0}};
    char text[64], small[8];
    CHECK(fh_shape_eq(&a, &b)); /* dimensions beyond n_dim do not count */
    CHECK(!fh_shape_eq(&a, &c) && !fh_shape_eq(&a, &d));
    CHECK_STR(fh_str_of(fh_shape_text(&a, text, sizeof text)), "[4096, 128]");
    CHECK_STR(fh_str_of(fh_shape_text(&scalar, text, sizeof text)), "[]");
    CHECK_STR(fh_str_of(fh_shape_text(&c, small, sizeof small)), "[4096, ");
    fh_shape_text(&a, small, 0); /* must not write */
}

TEST(tensor, weights_add_up_their_parts) {
    static const uint8_t bytes[64];
    const fh_tensor codes = {.data = {bytes, 50}}, scale = {.data = {bytes, 7}};
    const fh_tensor global = {.data = {bytes, 4}};
    fh_weight w = {.codes = &codes};
    CHECK_U64(fh_weight_stored_bytes(&w), 50);
    w.scale = &scale;
    w.global = &global;
    w.zero = &scale;
    CHECK_U64(fh_weight_stored_bytes(&w), 68);
}
