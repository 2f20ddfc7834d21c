/* library/facts_gguf.c - facts from GGUF metadata.
 * SPDX-License-Identifier: Apache-2.0
 * Keys are "<architecture>.<field>"; a field that may differ by layer comes as an array: its largest counts. */
#include <stdio.h>

#include "base/num.h"
#include "library/facts_part.h"

/* general.file_type, as llama.cpp numbers its mixes. */
static const char *const file_types[] = {
    [0] = "F32",     [1] = "F16",     [2] = "Q4_0",       [3] = "Q4_1",    [7] = "Q8_0",     [8] = "Q5_0",
    [9] = "Q5_1",    [10] = "Q2_K",   [11] = "Q3_K_S",    [12] = "Q3_K_M", [13] = "Q3_K_L",  [14] = "Q4_K_S",
    [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",    [18] = "Q6_K",   [19] = "IQ2_XXS", [20] = "IQ2_XS",
    [21] = "Q2_K_S", [22] = "IQ3_XS", [23] = "IQ3_XXS",   [24] = "IQ1_S",  [25] = "IQ4_NL",  [26] = "IQ3_S",
    [27] = "IQ3_M",  [28] = "IQ2_S",  [29] = "IQ2_M",     [30] = "IQ4_XS", [31] = "IQ1_M",   [32] = "BF16",
    [36] = "TQ1_0",  [37] = "TQ2_0",  [38] = "MXFP4_MOE", [39] = "NVFP4",  [40] = "Q1_0",    [41] = "Q2_0",
};

static const fh_gguf_kv *arch_key(const fh_gguf *g, fh_str arch, const char *field) {
    char key[160];
    int n = snprintf(key, sizeof key, "%.*s.%s", FH_STR_ARG(arch), field);
    return n > 0 && n < (int)sizeof key ? fh_gguf_find(g, key) : NULL;
}

/* A number, or the largest of an array. */
static uint64_t number(const fh_gguf *g, fh_str arch, const char *field) {
    const fh_gguf_kv *kv = arch_key(g, arch, field);
    uint64_t v = 0, most = 0;
    if (!kv) return 0;
    if (kv->type != FH_GGUF_ARRAY) return fh_gguf_to_u64(kv, &v) ? v : 0;
    for (uint64_t i = 0; i < kv->n; i++)
        if (fh_gguf_elem_u64(kv, i, &v)) most = FH_MAX(most, v);
    return most;
}

static void text(const fh_gguf *g, const char *key, fh_str *out) { (void)fh_gguf_to_str(fh_gguf_find(g, key), out); }

static fh_status rope(fh_facts *f, const fh_gguf *g, fh_err *err) {
    fh_str type = {NULL, 0};
    double factor = 0;
    char said[64];
    (void)fh_gguf_to_f64(arch_key(g, f->architecture, "rope.freq_base"), &f->rope_theta);
    if (!fh_gguf_to_str(arch_key(g, f->architecture, "rope.scaling.type"), &type) || fh_str_is(type, "none"))
        return FH_OK;
    (void)fh_gguf_to_f64(arch_key(g, f->architecture, "rope.scaling.factor"), &factor);
    if (factor > 0) snprintf(said, sizeof said, "%.*s x%g", (int)FH_MIN(type.len, (size_t)32), type.ptr, factor);
    else snprintf(said, sizeof said, "%.*s", (int)FH_MIN(type.len, (size_t)32), type.ptr);
    return fh_arena_copy(&f->arena, fh_str_of(said), &f->rope_scaling) ? FH_OK : fh_arena_fail(&f->arena, err);
}

static fh_status tokenizer(fh_facts *f, const fh_gguf *g, fh_err *err) {
    fh_str model = {NULL, 0}, pre = {NULL, 0};
    char said[160];
    text(g, "tokenizer.ggml.model", &model);
    text(g, "tokenizer.ggml.pre", &pre);
    snprintf(said, sizeof said, "%.*s%s%.*s", (int)FH_MIN(model.len, (size_t)64), model.len ? model.ptr : "",
             pre.len ? " / " : "", (int)FH_MIN(pre.len, (size_t)64), pre.len ? pre.ptr : "");
    return fh_arena_copy(&f->arena, fh_str_of(said), &f->tokenizer) ? FH_OK : fh_arena_fail(&f->arena, err);
}

static uint64_t head_dim(const fh_facts *f, const fh_gguf *g) {
    uint64_t mla = number(g, f->architecture, "attention.key_length_mla");
    uint64_t stated = mla ? mla : number(g, f->architecture, "attention.key_length");
    return stated ? stated : f->n_head ? f->n_embd / f->n_head : 0;
}

fh_status fh_facts_from_gguf(fh_facts *f, const fh_bundle *b, fh_err *err) {
    const fh_gguf *g = fh_bundle_gguf(b, 0);
    uint64_t file_type;
    text(g, "general.architecture", &f->architecture);
    text(g, "general.name", &f->name);
    text(g, "general.author", &f->author);
    text(g, "general.version", &f->version);
    text(g, "general.license", &f->license);
    text(g, "tokenizer.chat_template", &f->template_text);
    if (f->license.len) f->license_from = FH_STR("general.license");
    fh_str a = f->architecture;
    f->n_context = number(g, a, "context_length");
    f->n_layer = number(g, a, "block_count");
    f->n_embd = number(g, a, "embedding_length");
    f->n_ff = number(g, a, "feed_forward_length");
    f->n_ff_expert = number(g, a, "expert_feed_forward_length");
    f->n_head = number(g, a, "attention.head_count");
    f->n_head_kv = number(g, a, "attention.head_count_kv");
    if (!f->n_head_kv) f->n_head_kv = f->n_head;
    f->head_dim = head_dim(f, g);
    f->n_expert = number(g, a, "expert_count");
    f->n_expert_used = number(g, a, "expert_used_count");
    f->n_expert_shared = number(g, a, "expert_shared_count");
    f->window = number(g, a, "attention.sliding_window");
    f->n_vocab = number(g, a, "vocab_size");
    const fh_gguf_kv *tokens = fh_gguf_find(g, "tokenizer.ggml.tokens");
    if (!f->n_vocab && tokens && tokens->type == FH_GGUF_ARRAY) f->n_vocab = tokens->n;
    if (fh_gguf_to_u64(fh_gguf_find(g, "general.file_type"), &file_type) && file_type < FH_COUNT(file_types) &&
        file_types[file_type])
        f->quantization = fh_str_of(file_types[file_type]);
    FH_TRY(rope(f, g, err));
    return tokenizer(f, g, err);
}
