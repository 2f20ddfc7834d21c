/* tools/make_tiny_model.c - writes the tiny GGUF that stands in for the default model: make_tiny_model OUT
 * SPDX-License-Identifier: Apache-2.0
 * Llama shapes, random weights from the counter-based generator: the same bytes on every machine. */
#include <stdio.h>

#include "base/num.h"
#include "base/rng.h"
#include "format/gguf.h"
#include "kernel/decode.h"

enum { N_LAYER = 2, N_EMBD = 64, N_FF = 128, N_HEAD = 4, N_HEAD_KV = 2, N_CTX = 512, N_VOCAB = 258 };
enum { BYTES_MOST = 1 << 20 };

typedef struct maker {
    fh_gguf_build *build;
    fh_arena arena; /* of the tensor data */
    uint64_t stream;
    fh_err err;
} maker;

/* Near-normal values by the sum of twelve uniform ones: exact arithmetic, unlike log and cos. */
static void fill_random(maker *m, float *v, size_t n, float scale) {
    fh_rng r;
    fh_rng_init(&r, 20261121, m->stream++);
    for (size_t i = 0; i < n; i++) {
        double sum = -6;
        for (int k = 0; k < 12; k++) sum += fh_rng_f64(&r);
        v[i] = (float)(sum * (double)scale);
    }
}

static fh_status add_tensor(maker *m, const char *name, fh_dtype dtype, uint64_t rows, uint64_t cols) {
    fh_tensor t = {.name = fh_str_of(name), .dtype = dtype};
    uint64_t bytes;
    size_t n = (size_t)(rows * cols);
    t.shape = rows == 1 ? (fh_shape){1, {cols}} : (fh_shape){2, {rows, cols}};
    float *v = fh_arena_alloc(&m->arena, n, sizeof *v);
    FH_REQUIRE(fh_dtype_bytes(dtype, n, &bytes));
    uint8_t *data = fh_arena_alloc(&m->arena, (size_t)bytes, 1);
    if (!v || !data) return fh_arena_fail(&m->arena, &m->err);
    if (rows == 1)
        for (size_t i = 0; i < n; i++) v[i] = 1.0f;
    else fill_random(m, v, n, 0.125f);
    fh_encode(dtype, v, data, n);
    t.data = (fh_bytes){data, (size_t)bytes};
    return fh_gguf_build_add_tensor(m->build, &t, &m->err);
}

static fh_status add_keys(maker *m) {
    static const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"llama.block_count", N_LAYER},
        {"llama.context_length", N_CTX},
        {"llama.embedding_length", N_EMBD},
        {"llama.feed_forward_length", N_FF},
        {"llama.attention.head_count", N_HEAD},
        {"llama.attention.head_count_kv", N_HEAD_KV},
        {"llama.rope.dimension_count", N_EMBD / N_HEAD},
        {"llama.vocab_size", N_VOCAB},
        {"general.file_type", 7},
        {"general.quantization_version", 2},
        {"tokenizer.ggml.bos_token_id", 256},
        {"tokenizer.ggml.eos_token_id", 257},
    };
    fh_gguf_build *b = m->build;
    fh_err *err = &m->err;
    FH_TRY(fh_gguf_build_add_str(b, "general.architecture", FH_STR("llama"), err));
    FH_TRY(fh_gguf_build_add_str(b, "general.name", FH_STR("freehold tiny (random weights)"), err));
    FH_TRY(fh_gguf_build_add_str(b, "general.license", FH_STR("apache-2.0"), err));
    FH_TRY(fh_gguf_build_add_bool(b, "freehold.placeholder", true, err));
    for (size_t i = 0; i < FH_COUNT(numbers); i++)
        FH_TRY(fh_gguf_build_add_u32(b, numbers[i].key, numbers[i].value, err));
    FH_TRY(fh_gguf_build_add_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f, err));
    FH_TRY(fh_gguf_build_add_f32(b, "llama.rope.freq_base", 10000.0f, err));
    FH_TRY(fh_gguf_build_add_str(b, "tokenizer.ggml.model", FH_STR("gpt2"), err));
    return fh_gguf_build_add_str(b, "tokenizer.ggml.pre", FH_STR("gpt-2"), err);
}

/* The byte alphabet of byte-level BPE: printable Latin-1 stands for itself, the rest from U+0100 on. */
static size_t spell_byte(unsigned byte, unsigned *next, char out[4]) {
    bool plain = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    unsigned c = plain ? byte : (*next)++;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 63));
    return 2;
}

static fh_status add_vocab(maker *m) {
    static char spelled[256][4];
    fh_str token[N_VOCAB];
    uint8_t types[N_VOCAB * 4] = {0};
    unsigned next = 0x100;
    for (unsigned i = 0; i < 256; i++) {
        size_t n = spell_byte(i, &next, spelled[i]);
        token[i] = (fh_str){spelled[i], n};
    }
    token[256] = FH_STR("<s>");
    token[257] = FH_STR("</s>");
    for (size_t i = 0; i < N_VOCAB; i++) types[4 * i] = i < 256 ? 1 : 3; /* normal, control */
    FH_TRY(fh_gguf_build_add_strs(m->build, "tokenizer.ggml.tokens", token, N_VOCAB, &m->err));
    fh_gguf_kv kv = {.key = FH_STR("tokenizer.ggml.token_type"),
                     .type = FH_GGUF_ARRAY,
                     .elem = FH_GGUF_I32,
                     .n = N_VOCAB,
                     .payload = {types, sizeof types}};
    FH_TRY(fh_gguf_build_add_kv(m->build, &kv, &m->err));
    return fh_gguf_build_add_strs(m->build, "tokenizer.ggml.merges", NULL, 0, &m->err);
}

static fh_status add_layer(maker *m, int il) {
    static const struct {
        const char *name;
        fh_dtype dtype;
        uint64_t rows, cols;
    } part[] = {
        {"attn_norm", FH_DTYPE_F32, 1, N_EMBD},
        {"attn_q", FH_DTYPE_Q8_0, N_EMBD, N_EMBD},
        {"attn_k", FH_DTYPE_Q8_0, N_EMBD / N_HEAD * N_HEAD_KV, N_EMBD},
        {"attn_v", FH_DTYPE_Q8_0, N_EMBD / N_HEAD * N_HEAD_KV, N_EMBD},
        {"attn_output", FH_DTYPE_Q8_0, N_EMBD, N_EMBD},
        {"ffn_norm", FH_DTYPE_F32, 1, N_EMBD},
        {"ffn_gate", FH_DTYPE_Q8_0, N_FF, N_EMBD},
        {"ffn_up", FH_DTYPE_Q8_0, N_FF, N_EMBD},
        {"ffn_down", FH_DTYPE_Q8_0, N_EMBD, N_FF},
    };
    char name[64];
    for (size_t i = 0; i < FH_COUNT(part); i++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", il, part[i].name);
        FH_TRY(add_tensor(m, name, part[i].dtype, part[i].rows, part[i].cols));
    }
    return FH_OK;
}

static fh_status make(maker *m, const char *path) {
    FH_TRY(fh_gguf_build_new(&m->build, &m->err));
    FH_TRY(add_keys(m));
    FH_TRY(add_vocab(m));
    FH_TRY(add_tensor(m, "token_embd.weight", FH_DTYPE_Q8_0, N_VOCAB, N_EMBD));
    for (int il = 0; il < N_LAYER; il++) FH_TRY(add_layer(m, il));
    FH_TRY(add_tensor(m, "output_norm.weight", FH_DTYPE_F32, 1, N_EMBD));
    return fh_gguf_write(m->build, path, NULL, NULL, &m->err);
}

int main(int argc, char **argv) {
    maker m = {.build = NULL};
    char text[1200];
    if (argc != 2) {
        fprintf(stderr, "usage: make_tiny_model OUT.gguf\n");
        return 2;
    }
    fh_arena_init(&m.arena, BYTES_MOST);
    fh_status st = make(&m, argv[1]);
    if (st != FH_OK) fprintf(stderr, "make_tiny_model: %s\n", fh_err_text(&m.err, text, sizeof text));
    fh_gguf_build_free(m.build);
    fh_arena_release(&m.arena);
    return fh_status_exit(st);
}
