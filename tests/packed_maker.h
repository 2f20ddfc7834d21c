/* tests/packed_maker.h - quantized checkpoints by hand: stored tensors, packed bit by bit, and their config.
 * SPDX-License-Identifier: Apache-2.0
 * Packs with loops of its own over single bits, so that a mistake in the code under test shows. */
#ifndef FH_TESTS_PACKED_MAKER_H
#define FH_TESTS_PACKED_MAKER_H

#include "base/json.h"
#include "base/mem.h"
#include "format/packed.h"
#include "kernel/decode.h"
#include "test.h"

#define MAKE_MAX 64

typedef struct store {
    fh_arena arena;
    fh_tensor t[MAKE_MAX];
    const fh_tensor *ptr[MAKE_MAX];
    size_t n;
    fh_weights w;
    fh_json *config;
    uint32_t seed;
} store;

static inline void store_init(store *s) {
    *s = (store){.seed = 12345};
    fh_arena_init(&s->arena, (size_t)64 << 20);
}

static inline void store_free(store *s) {
    fh_arena_release(&s->arena);
    fh_json_free(s->config);
}

static inline uint32_t store_random(store *s) {
    s->seed = s->seed * 1664525u + 1013904223u;
    return s->seed >> 8;
}

/* A zeroed tensor; dims end at the first 0. Returns its bytes to fill. */
static inline uint8_t *store_add(store *s, const char *name, fh_dtype dtype, const uint64_t dim[4]) {
    uint64_t n = 1, bytes = 0;
    fh_tensor *t = &s->t[s->n];
    CHECK(s->n < MAKE_MAX);
    *t = (fh_tensor){.dtype = dtype, .file_offset = s->n};
    CHECK(fh_arena_copy(&s->arena, fh_str_of(name), &t->name));
    for (uint32_t k = 0; k < 4 && dim[k]; k++) {
        t->shape.dim[t->shape.n_dim++] = dim[k];
        n *= dim[k];
    }
    CHECK(fh_dtype_bytes(dtype, n, &bytes));
    uint8_t *data = fh_arena_alloc(&s->arena, (size_t)bytes, 1);
    CHECK(data != NULL);
    t->data = (fh_bytes){data, (size_t)bytes};
    s->ptr[s->n] = t;
    s->n++;
    return data;
}
#define DIMS(...) ((const uint64_t[4]){__VA_ARGS__})

/* Random finite scales between 2^-9 and 2^-5, in a float type. */
static inline void fill_scales(store *s, uint8_t *data, fh_dtype dtype, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float f = (float)(1 + store_random(s) % 15) / 512.0f;
        if (dtype == FH_DTYPE_F32) memcpy(data + 4 * i, &f, 4);
        else if (dtype == FH_DTYPE_F8_E8M0) data[i] = (uint8_t)(110 + store_random(s) % 20);
        else if (dtype == FH_DTYPE_U8) data[i] = (uint8_t)(110 + store_random(s) % 20);
        else if (dtype == FH_DTYPE_F8_E4M3) data[i] = (uint8_t)(1 + store_random(s) % 126);
        else fh_encode(dtype, &f, data + 2 * i, 1);
    }
}

static inline void fill_bytes(store *s, uint8_t *data, size_t n) {
    for (size_t i = 0; i < n; i++) data[i] = (uint8_t)store_random(s);
}

/* Sets `bits` bits from bit number `at` of little-endian I32 words that lie `stride` words apart. */
static inline void put_bits(uint8_t *words, size_t first, size_t stride, uint64_t at, unsigned bits, uint32_t v) {
    for (unsigned k = 0; k < bits; k++) {
        size_t bit = (size_t)(at + k), word = first + bit / 32 * stride;
        if (v >> k & 1) words[word * 4 + bit % 32 / 8] = (uint8_t)(words[word * 4 + bit % 32 / 8] | 1u << (bit % 8));
    }
}

static inline fh_status store_try(store *s, const char *config, fh_err *err) {
    fh_json *doc = NULL;
    if (config) CHECK_OK(fh_json_parse(&doc, fh_str_of(config), NULL, err), *err);
    fh_json_free(s->config);
    s->config = doc;
    return fh_packed_bind(&s->w, &s->arena, s->ptr, s->n, doc ? fh_json_root(doc) : NULL, err);
}

static inline void store_bind(store *s, const char *config) {
    fh_err err = {0};
    CHECK_OK(store_try(s, config, &err), err);
}

static inline const fh_weight *store_find(const store *s, const char *name) {
    for (size_t i = 0; i < s->w.n; i++)
        if (fh_str_is(s->w.item[i].name, name)) return &s->w.item[i];
    fh_test_fail(__FILE__, __LINE__, "no weight '%s'", name);
}

#endif
