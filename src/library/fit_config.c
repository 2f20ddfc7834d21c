/* library/fit_config.c - what a config.json says about sizes, and what its architecture leaves unsaid.
 * SPDX-License-Identifier: Apache-2.0
 * Covers decoders whose layers attend (all, a window, a latent row) or run the delta rule. For an architecture that is
 * not in the table nothing is known: it might add a tensor to every layer. */
#include "base/num.h"
#include "library/fit_part.h"

#define QK FH_FIT_QK_NORM
static const fh_fit_arch archs[] = {
    {"llama", 0, FH_FIT_RULE_FULL, 0},
    {"llama4_text", FH_FIT_EXPERTS_OF_FF | FH_FIT_ONE_SHARED, FH_FIT_RULE_PERIOD_LAST, 4},
    {"mistral", 0, FH_FIT_RULE_ALL_SLIDE, 0},
    {"mixtral", FH_FIT_EXPERTS_OF_FF, FH_FIT_RULE_ALL_SLIDE, 0},
    {"ministral3", 0, FH_FIT_RULE_ALL_SLIDE, 0},
    {"qwen2", FH_FIT_QKV_BIAS, FH_FIT_RULE_FULL, 0},
    {"qwen2_5_vl_text", FH_FIT_QKV_BIAS, FH_FIT_RULE_FULL, 0},
    {"qwen2_moe", FH_FIT_QKV_BIAS | FH_FIT_SHARED_SCORE, FH_FIT_RULE_FULL, 0},
    {"qwen3", QK, FH_FIT_RULE_FULL, 0},
    {"qwen3_moe", QK, FH_FIT_RULE_FULL, 0},
    {"qwen3_vl_text", QK, FH_FIT_RULE_FULL, 0},
    {"qwen3_next", QK | FH_FIT_Q_GATE | FH_FIT_SHARED_SCORE, FH_FIT_RULE_DELTA, 4},
    {"qwen3_5_text", QK | FH_FIT_Q_GATE, FH_FIT_RULE_DELTA, 4},
    {"qwen3_5_moe_text", QK | FH_FIT_Q_GATE | FH_FIT_SHARED_SCORE, FH_FIT_RULE_DELTA, 4},
    {"gemma", FH_FIT_TIED, FH_FIT_RULE_FULL, 0},
    {"gemma2", FH_FIT_TIED | FH_FIT_FOUR_NORMS, FH_FIT_RULE_EVEN_SLIDE, 0},
    {"gemma3_text", FH_FIT_TIED | FH_FIT_FOUR_NORMS | QK, FH_FIT_RULE_PERIOD_LAST, 6},
    {"gpt_oss", FH_FIT_QKV_BIAS | FH_FIT_O_BIAS | FH_FIT_SINKS | FH_FIT_EXPERT_BIAS | FH_FIT_EXPERTS_OF_FF,
     FH_FIT_RULE_EVEN_SLIDE, 0},
    {"deepseek_v2", 0, FH_FIT_RULE_FULL, 0},
    {"deepseek_v3", FH_FIT_CHOICE_BIAS, FH_FIT_RULE_FULL, 0},
    {"kimi_k2", FH_FIT_CHOICE_BIAS, FH_FIT_RULE_FULL, 0},
    {"glm4_moe_lite", FH_FIT_CHOICE_BIAS, FH_FIT_RULE_FULL, 0},
    {"glm4_moe", FH_FIT_CHOICE_BIAS, FH_FIT_RULE_FULL, 0},
    {"glm4", FH_FIT_FOUR_NORMS, FH_FIT_RULE_FULL, 0},
    {"phi3", 0, FH_FIT_RULE_ALL_SLIDE, 0},
    {"olmo", FH_FIT_NO_NORM, FH_FIT_RULE_FULL, 0},
    {"olmo2", FH_FIT_QK_NORM_WIDE, FH_FIT_RULE_FULL, 0},
    {"olmo3", FH_FIT_QK_NORM_WIDE, FH_FIT_RULE_PERIOD_LAST, 4},
    {"olmoe", FH_FIT_QK_NORM_WIDE | FH_FIT_EXPERTS_OF_FF, FH_FIT_RULE_FULL, 0},
    {"smollm3", FH_FIT_TIED, FH_FIT_RULE_FULL, 0},
    {"seed_oss", 0, FH_FIT_RULE_FULL, 0},
    {"granite", 0, FH_FIT_RULE_FULL, 0},
    {"ernie4_5", 0, FH_FIT_RULE_FULL, 0},
    {"arcee", FH_FIT_NO_GLU, FH_FIT_RULE_FULL, 0},
    {"gpt_neox", FH_FIT_QKV_BIAS | FH_FIT_O_BIAS | FH_FIT_MLP_BIAS | FH_FIT_NORM_BIAS | FH_FIT_NO_GLU, FH_FIT_RULE_FULL,
     0},
    {"starcoder2", FH_FIT_QKV_BIAS | FH_FIT_O_BIAS | FH_FIT_MLP_BIAS | FH_FIT_NORM_BIAS | FH_FIT_NO_GLU | FH_FIT_TIED,
     FH_FIT_RULE_ALL_SLIDE, 0},
};

const fh_fit_arch *fh_fit_arch_find(fh_str model_type) {
    for (size_t i = 0; i < FH_COUNT(archs); i++)
        if (fh_str_is(model_type, archs[i].name)) return &archs[i];
    return NULL;
}

/* The one number, or the largest of a list: what memory has to be there for. */
static uint32_t number(const fh_hf_config *c, fh_hf_field f) {
    uint64_t v = 0, most = 0;
    if (fh_hf_config_u64(c, f, &v)) return (uint32_t)FH_MIN(v, (uint64_t)UINT32_MAX);
    for (size_t i = 0; fh_hf_config_u64_at(c, f, i, &v); i++) most = FH_MAX(most, v);
    return (uint32_t)FH_MIN(most, (uint64_t)UINT32_MAX);
}

static bool flag(const fh_hf_config *c, fh_hf_field f) {
    bool b = false;
    return fh_hf_config_bool(c, f, &b) && b;
}

static fh_status read_kinds(fh_fit_config *out, const fh_hf_config *c, fh_arena *arena, fh_err *err) {
    size_t n = fh_hf_config_n_layer_type(c);
    if (n < out->n_layer) return FH_OK;
    uint8_t *kind = fh_arena_alloc(arena, n, 1);
    if (!kind) return fh_arena_fail(arena, err);
    for (size_t i = 0; i < out->n_layer; i++) {
        fh_str t = fh_hf_config_layer_type(c, i);
        kind[i] = fh_str_is(t, "full_attention") || fh_str_is(t, "attention")              ? FH_FIT_LAYER_FULL
                  : fh_str_is(t, "sliding_attention") || fh_str_is(t, "chunked_attention") ? FH_FIT_LAYER_SLIDING
                  : fh_str_is(t, "linear_attention")                                       ? FH_FIT_LAYER_DELTA
                                                                                           : FH_FIT_LAYER_OTHER;
    }
    out->kind = kind;
    return FH_OK;
}

static void read_experts(fh_fit_config *o, const fh_fit_arch *arch, const fh_hf_config *c) {
    o->n_expert = number(c, FH_HF_N_EXPERT);
    o->n_used = number(c, FH_HF_N_EXPERT_USED);
    o->n_shared = number(c, FH_HF_N_EXPERT_SHARED);
    o->expert_ff = arch->traits & FH_FIT_EXPERTS_OF_FF ? o->n_ff : number(c, FH_HF_EXPERT_FF);
    o->shared_ff = number(c, FH_HF_SHARED_FF);
    o->n_dense = number(c, FH_HF_N_DENSE_LEAD);
    o->moe_step = number(c, FH_HF_MOE_INTERVAL);
}

static void read_delta(fh_fit_config *o, const fh_hf_config *c) {
    o->dk_heads = number(c, FH_HF_LINEAR_KEY_HEADS);
    o->dv_heads = number(c, FH_HF_LINEAR_VALUE_HEADS);
    o->dk_width = number(c, FH_HF_LINEAR_KEY_DIM);
    o->dv_width = number(c, FH_HF_LINEAR_VALUE_DIM);
    o->taps = number(c, FH_HF_CONV_KERNEL);
}

fh_status fh_fit_config_read(fh_fit_config *out, const fh_fit_arch *arch, const fh_hf_config *c, fh_arena *arena,
                             fh_err *err) {
    fh_fit_config o = {.n_layer = number(c, FH_HF_N_LAYER),
                       .n_embd = number(c, FH_HF_N_EMBD),
                       .n_head = number(c, FH_HF_N_HEAD),
                       .n_kv = number(c, FH_HF_N_HEAD_KV),
                       .width = number(c, FH_HF_HEAD_DIM),
                       .n_ff = number(c, FH_HF_N_FF),
                       .n_vocab = number(c, FH_HF_N_VOCAB),
                       .n_context = number(c, FH_HF_N_CTX),
                       .q_rank = number(c, FH_HF_Q_LORA),
                       .kv_rank = number(c, FH_HF_KV_LORA),
                       .nope = number(c, FH_HF_QK_NOPE_DIM),
                       .rope = number(c, FH_HF_QK_ROPE_DIM),
                       .window = number(c, FH_HF_SLIDING_WINDOW),
                       .period = number(c, FH_HF_SLIDING_PATTERN),
                       .qk_norm = flag(c, FH_HF_QK_NORM),
                       .qkv_bias = flag(c, FH_HF_QKV_BIAS),
                       .mlp_bias = flag(c, FH_HF_MLP_BIAS)};
    if (!o.n_kv) o.n_kv = o.n_head;
    if (!o.width && o.n_head) o.width = o.n_embd / o.n_head;
    if (o.kv_rank) o.v_width = number(c, FH_HF_V_DIM);
    if (arch->rule == FH_FIT_RULE_DELTA) o.period = number(c, FH_HF_FULL_INTERVAL);
    /* one key sets all biases of attention; Qwen 2 has those of q, k and v, and no such key */
    o.o_bias = o.qkv_bias && fh_str_is(fh_str_of(arch->name), "llama");
    bool tied = false, uses_window = true;
    if (fh_hf_config_bool(c, FH_HF_TIE_EMBEDDINGS, &tied)) {
        o.tied = tied;
        o.untied = !tied;
    }
    if (fh_hf_config_bool(c, FH_HF_USE_SLIDING, &uses_window) && !uses_window) o.window = 0;
    read_experts(&o, arch, c);
    if (number(c, FH_HF_N_FF_DENSE)) o.n_ff = number(c, FH_HF_N_FF_DENSE);
    if (number(c, FH_HF_CHUNK_WINDOW)) o.window = number(c, FH_HF_CHUNK_WINDOW);
    read_delta(&o, c);
    FH_TRY(read_kinds(&o, c, arena, err));
    *out = o;
    return FH_OK;
}
