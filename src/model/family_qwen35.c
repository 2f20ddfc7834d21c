/* model/family_qwen35.c - Qwen 3.5 and 3.6: three layers with a memory for each one with attention.
 * SPDX-License-Identifier: Apache-2.0
 * Queries carry their output gate. Safetensors store norms less one (all but the memory's own) and group value heads
 * by key head; GGUF deals them out in turn. Text positions are the same on all axes, so sections do not matter. */
#include "model/family.h"

static fh_status describe(fh_spec *s, fh_layer *layer, const fh_meta *m, fh_arena *arena, fh_err *err) {
    (void)arena;
    fh_delta_spec *d = &s->delta;
    d->taps = fh_meta_u32_or(m, FH_META_CONV_TAPS, 4);
    d->k_heads = fh_meta_u32_or(m, FH_META_DELTA_K_HEADS, 0);
    d->v_heads = fh_meta_u32_or(m, FH_META_DELTA_V_HEADS, 0);
    d->k_width = fh_meta_u32_or(m, FH_META_STATE_WIDTH, 0);
    d->v_width = fh_meta_u32_or(m, FH_META_DELTA_V_WIDTH, 0);
    if (s->gguf && d->v_heads) d->v_width = fh_meta_u32_or(m, FH_META_DELTA_INNER, 0) / d->v_heads;
    d->map = s->gguf ? FH_HEADS_TILED : FH_HEADS_GROUPED;
    if (!d->k_heads || !d->v_heads || d->v_heads % d->k_heads || !d->k_width || !d->v_width || d->taps < 2 ||
        d->taps > 64 || d->k_heads > 65536 || d->v_heads > 65536 || d->k_width > 65536 || d->v_width > 65536)
        return fh_fail(err, FH_ERR_FORMAT, "memory of %u x %u and %u x %u columns over %u tokens cannot be", d->k_heads,
                       d->k_width, d->v_heads, d->v_width, d->taps);
    s->q_gate_packed = true;
    s->moe.renorm = true;
    uint32_t every = fh_meta_u32_or(m, FH_META_FULL_INTERVAL, 4);
    for (uint32_t i = 0; i < s->n_layer; i++) {
        bool full = fh_meta_layer_type_is(m, i, "full_attention", every && (i + 1) % every == 0);
        if (!full) layer[i].mixer = FH_MIXER_DELTA;
        layer[i].moe = s->moe.n_expert > 0;
    }
    return FH_OK;
}

static const fh_name names[] = {
    {.slot = FH_SLOT_FFN_NORM, .gguf = "blk.%u.post_attention_norm"},
    {.slot = FH_SLOT_ATTN_POST_NORM, .gguf = ""},
    {.slot = FH_SLOT_ATTN_QKV, .gguf = ""},
};

const fh_family fh_family_qwen35 = {
    .name = "qwen35",
    .covers = "Qwen 3.5 and 3.6, dense and MoE (text)",
    .gguf = "qwen35|qwen35moe",
    .hf = "qwen3_5_text|qwen3_5_moe_text",
    .hf_prefix = "model.|model.language_model.|language_model.model.|",
    .unused = "model.visual.*|visual.*|mtp.*|blk.*.nextn.*",
    .rope_gguf = FH_ROPE_HALVES,
    .rope_hf = FH_ROPE_HALVES,
    .norm_plus_one = true,
    .act = FH_MAP_SILU,
    .names = names,
    .n_names = FH_COUNT(names),
    .describe = describe,
};
