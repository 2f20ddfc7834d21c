/* tests/fuzz/fuzz_safetensors.c - libFuzzer target for format/safetensors and format/packed.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: a refusal names a byte of the file, memory stays under its ceiling, ranges cover the data, the
 * writer's rules take what the reader took. Then the tensors are bound, without a config and with one of a few chosen
 * by the first and last byte: every stored byte belongs to one weight, and the first and last row of each decode. */
#include "base/json.h"
#include "base/mem.h"
#include "base/num.h"
#include "format/packed.h"
#include "format/safetensors.h"
#include "kernel/weight_decode.h"

#define MAX_COLS (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that every byte handed out is really read */

#define CT(weights) \
    "{\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"g\":{\"weights\":" \
    "{" weights "}}}}}"

static const char *const configs[] = {
    "{}",
    "{\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[2,3]}}",
    "{\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":null}}",
    "{\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\"}}",
    "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":8}}",
    "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":3,\"group_size\":-1,\"checkpoint_format\":\"gptq_"
    "v2\"}}",
    "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":2,\"group_size\":16,\"dynamic\":{\"x\":{}}}}",
    "{\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":8}}",
    "{\"quantization_config\":{\"quant_method\":\"bitsandbytes\"}}",
    CT("\"num_bits\":4,\"type\":\"int\",\"strategy\":\"group\",\"group_size\":8"),
    CT("\"num_bits\":3,\"type\":\"int\",\"strategy\":\"channel\",\"symmetric\":false"),
    CT("\"num_bits\":8,\"type\":\"int\",\"strategy\":\"channel\""),
    CT("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"tensor\""),
    CT("\"num_bits\":4,\"type\":\"float\",\"strategy\":\"group\",\"group_size\":16"),
};

static void walk(const fh_st *s, size_t size) {
    uint64_t sum = 0;
    for (size_t i = 0; i < fh_st_n_tensor(s); i++) {
        const fh_tensor *t = fh_st_get_tensor(s, i);
        uint64_t n = 0, bytes = 0;
        FH_REQUIRE(fh_st_find_tensor(s, t->name) == t && fh_utf8_valid(t->name));
        FH_REQUIRE(fh_shape_count(&t->shape, &n) && fh_dtype_bytes(t->dtype, n, &bytes) && bytes == t->data.len);
        FH_REQUIRE(t->file_offset >= fh_st_data_offset(s) && t->file_offset + t->data.len <= size);
        if (t->data.len) sink += t->data.ptr[0] + t->data.ptr[t->data.len - 1];
        sum += t->data.len;
    }
    FH_REQUIRE(sum == size - fh_st_data_offset(s));
    for (size_t i = 0; i < fh_st_n_meta(s); i++) {
        fh_str key, value;
        fh_st_get_meta(s, i, &key, &value);
        FH_REQUIRE(fh_utf8_valid(key) && fh_utf8_valid(value));
    }
}

static void rebuild(const fh_st *s) {
    fh_st_build *b = NULL;
    fh_err err = {0};
    FH_REQUIRE(fh_st_build_new(&b, &err) == FH_OK);
    for (size_t i = 0; i < fh_st_n_tensor(s); i++)
        FH_REQUIRE(fh_st_build_add_tensor(b, fh_st_get_tensor(s, i), &err) == FH_OK);
    FH_REQUIRE(fh_st_build_sort(b, &err) == FH_OK);
    fh_st_build_free(b);
}

static void decode(const fh_weight *w) {
    uint64_t cols = fh_weight_cols(w), rows = fh_weight_rows(w) * fh_weight_matrices(w);
    if (rows == 0 || cols == 0 || cols > MAX_COLS || !fh_weight_can_decode(w)) return;
    float *row = fh_alloc((size_t)cols, sizeof *row);
    FH_REQUIRE(row != NULL);
    fh_weight_decode(w, 0, 1, row);
    sink += row[0] > 0;
    fh_weight_decode(w, rows - 1, 1, row);
    sink += row[cols - 1] > 0;
    fh_free(row);
}

static void bind(const fh_st *s, const char *config) {
    size_t n = fh_st_n_tensor(s);
    fh_arena arena;
    fh_err err = {0};
    fh_json *doc = NULL;
    fh_weights w = {NULL, 0};
    const fh_tensor **all = fh_alloc(n, sizeof *all);
    FH_REQUIRE(all != NULL);
    fh_arena_init(&arena, 256u << 20);
    for (size_t i = 0; i < n; i++) all[i] = fh_st_get_tensor(s, i);
    if (config) FH_REQUIRE(fh_json_parse(&doc, fh_str_of(config), NULL, &err) == FH_OK);
    fh_status status = fh_packed_bind(&w, &arena, all, n, config ? fh_json_root(doc) : NULL, &err);
    if (status == FH_OK) {
        uint64_t stored = 0, bound = 0;
        for (size_t i = 0; i < n; i++) stored += all[i]->data.len;
        for (size_t i = 0; i < w.n; i++) {
            bound += fh_weight_stored_bytes(&w.item[i]);
            decode(&w.item[i]);
        }
        FH_REQUIRE(stored == bound);
    } else {
        FH_REQUIRE(config && err.status == status && err.message[0] && !w.item);
    }
    fh_json_free(doc);
    fh_arena_release(&arena);
    fh_free(all);
}

static void check_index(fh_str text) {
    fh_st_index *x = NULL;
    fh_err err = {0};
    if (fh_st_index_parse(&x, text, &err) != FH_OK) {
        FH_REQUIRE(!x && err.message[0] && (err.offset == FH_NO_OFFSET || err.offset <= text.len));
        return;
    }
    for (size_t i = 0; i < fh_st_index_n_shard(x); i++) FH_REQUIRE(fh_path_is_plain_name(fh_st_index_get_shard(x, i)));
    sink += fh_st_index_n_tensor(x);
    fh_st_index_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_st *s = NULL;
    fh_err err = {0};
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_mem_reset_peak();
    fh_status status = fh_st_open(&s, (fh_bytes){data, size}, &err);
    FH_REQUIRE(fh_mem_get_stats().peak_bytes - live <= 2 * (uint64_t)size + (16u << 20));
    if (status == FH_OK) {
        walk(s, size);
        rebuild(s);
        bind(s, NULL);
        bind(s, configs[(data[0] ^ data[size - 1]) % FH_COUNT(configs)]);
        fh_st_close(s);
    } else {
        FH_REQUIRE(!s && err.status == status && err.message[0] && err.offset <= size);
        check_index((fh_str){(const char *)data, size});
    }
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    return 0;
}
