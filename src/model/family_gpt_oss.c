/* model/family_gpt_oss.c - gpt-oss: sinks, every second layer sliding, clamped experts with biases.
 * SPDX-License-Identifier: Apache-2.0
 * YaRN's ramp is not rounded to whole pairs; GGUF has no key for that. Safetensors interleave gate and up rows, and
 * keep experts turned round ([in, out]) while they are not quantized. */
#include "model/family.h"

#define DEFAULT_LIMIT 7.0f

static fh_status describe(fh_spec *s, fh_layer *layer, const fh_meta *m, fh_arena *arena, fh_err *err) {
    (void)arena, (void)err;
    s->act = FH_MAP_OAI_SWIGLU;
    s->act_limit = fh_meta_f32_or(m, FH_META_ACT_LIMIT, DEFAULT_LIMIT);
    s->moe.gate = FH_GATE_SOFTMAX_TOPK;
    s->rope[0].truncate = s->gguf ? false : s->rope[0].truncate;
    fh_family_slide(s, layer, m, 2, true, fh_meta_u32_or(m, FH_META_WINDOW, 0));
    for (uint32_t i = 0; i < s->n_layer; i++) layer[i].moe = true;
    return FH_OK;
}

static const fh_name names[] = {
    {.slot = FH_SLOT_FFN_NORM, .gguf = "blk.%u.post_attention_norm"},
    {.slot = FH_SLOT_ATTN_POST_NORM, .gguf = ""},
    {.slot = FH_SLOT_MOE_GATE,
     .hf = "layers.%u.mlp.experts.gate_up_proj",
     .part = FH_PART_EVEN,
     .plain_transposed = true},
    {.slot = FH_SLOT_MOE_GATE_BIAS, .hf = "layers.%u.mlp.experts.gate_up_proj_bias", .part = FH_PART_EVEN},
    {.slot = FH_SLOT_MOE_UP, .hf = "layers.%u.mlp.experts.gate_up_proj", .part = FH_PART_ODD, .plain_transposed = true},
    {.slot = FH_SLOT_MOE_UP_BIAS, .hf = "layers.%u.mlp.experts.gate_up_proj_bias", .part = FH_PART_ODD},
    {.slot = FH_SLOT_MOE_DOWN, .hf = "layers.%u.mlp.experts.down_proj", .plain_transposed = true},
    {.slot = FH_SLOT_MOE_DOWN_BIAS, .hf = "layers.%u.mlp.experts.down_proj_bias"},
};

const fh_family fh_family_gpt_oss = {
    .name = "gpt-oss",
    .covers = "gpt-oss 20b and 120b",
    .gguf = "gpt-oss",
    .hf = "gpt_oss",
    .hf_prefix = "model.|",
    .rope_gguf = FH_ROPE_HALVES,
    .rope_hf = FH_ROPE_HALVES,
    .act = FH_MAP_OAI_SWIGLU,
    .names = names,
    .n_names = FH_COUNT(names),
    .describe = describe,
};
