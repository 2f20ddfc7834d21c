/* model/family_t5.c - T5, Flan-T5: an encoder, a decoder that looks at it, distances instead of positions.
 * SPDX-License-Identifier: Apache-2.0
 * Scores are not scaled. One table of distance biases, in the first layer, serves all layers of its stack. The first
 * T5 ties the head and scales what goes into it by 1 / sqrt(width); later ones (gated feed-forward) do not. */
#include <math.h>

#include "model/family.h"

static bool scales_output(const fh_spec *s, const fh_meta *m) {
    fh_str proj;
    if (s->gguf) return !s->glu;
    if (fh_meta_bool_or(m, FH_META_TIE, true)) return true;
    return !fh_meta_str(m, FH_META_FF_PROJ, &proj);
}

static void plain_layer(fh_layer *l, bool encoder) {
    l->mask = encoder ? FH_MASK_NONE : FH_MASK_CAUSAL;
    l->rope = FH_NO_ID;
    l->score_scale = 1;
    l->moe = false;
}

static fh_status describe(fh_spec *s, fh_layer *layer, const fh_meta *m, fh_arena *arena, fh_err *err) {
    fh_str proj = fh_str_of("relu");
    s->topology = FH_TOPOLOGY_ENCODER_DECODER;
    s->rel_buckets = fh_meta_u32_or(m, FH_META_REL_BUCKETS, 32);
    s->rel_distance = fh_meta_u32_or(m, FH_META_REL_DISTANCE, 128);
    s->n_context = fh_meta_u32_or(m, FH_META_N_CONTEXT, 512);
    fh_meta_str(m, FH_META_FF_PROJ, &proj);
    if (s->gguf && fh_bundle_find_weight(m->bundle, fh_str_of("enc.blk.0.ffn_gate.weight")))
        proj = fh_str_of("gated-gelu");
    s->glu = fh_str_starts(proj, "gated");
    s->act = fh_str_ends(proj, "gelu") ? FH_MAP_GELU_TANH : fh_str_ends(proj, "silu") ? FH_MAP_SILU : FH_MAP_RELU;
    s->n_encoder_layer = s->n_layer;
    fh_layer *encoder = fh_arena_alloc(arena, s->n_encoder_layer, sizeof *encoder);
    if (!encoder) return fh_arena_fail(arena, err);
    for (uint32_t i = 0; i < s->n_encoder_layer; i++) {
        encoder[i] = layer[i];
        plain_layer(&encoder[i], true);
    }
    s->encoder = encoder;
    uint32_t n = fh_meta_u32_or(m, FH_META_N_DECODER_LAYER, s->n_layer);
    fh_layer *decoder = fh_arena_alloc(arena, n, sizeof *decoder);
    if (!decoder) return fh_arena_fail(arena, err);
    for (uint32_t i = 0; i < n; i++) {
        decoder[i] = layer[0];
        plain_layer(&decoder[i], false);
    }
    s->layer = decoder;
    s->n_layer = n;
    if (scales_output(s, m)) s->logit_scale = (float)(1 / sqrt(s->n_embd));
    if (!s->gguf && fh_hf_config_decoder_start(m->hf)->n) s->decoder_start = fh_hf_config_decoder_start(m->hf)->item[0];
    s->decoder_start = s->gguf ? fh_meta_u32_or(m, FH_META_DECODER_START, 0) : s->decoder_start;
    return FH_OK;
}

#define SELF "block.%u.layer.0."
#define DENSE(n) "block.%u.layer." n ".DenseReluDense."

static const fh_name names[] = {
    {.slot = FH_SLOT_TOKENS, .hf = "/shared|/decoder.embed_tokens"},
    {.slot = FH_SLOT_OUT_NORM, .gguf = "dec.output_norm", .hf = "decoder.final_layer_norm"},
    {.slot = FH_SLOT_ATTN_NORM, .gguf = "dec.blk.%u.attn_norm", .hf = "decoder." SELF "layer_norm"},
    {.slot = FH_SLOT_ATTN_Q, .gguf = "dec.blk.%u.attn_q", .hf = "decoder." SELF "SelfAttention.q"},
    {.slot = FH_SLOT_ATTN_K, .gguf = "dec.blk.%u.attn_k", .hf = "decoder." SELF "SelfAttention.k"},
    {.slot = FH_SLOT_ATTN_V, .gguf = "dec.blk.%u.attn_v", .hf = "decoder." SELF "SelfAttention.v"},
    {.slot = FH_SLOT_ATTN_O, .gguf = "dec.blk.%u.attn_o", .hf = "decoder." SELF "SelfAttention.o"},
    {.slot = FH_SLOT_ATTN_REL_BIAS,
     .gguf = "dec.blk.%u.attn_rel_b|dec.blk.0.attn_rel_b",
     .hf = "decoder." SELF "SelfAttention.relative_attention_bias|"
           "decoder.block.0.layer.0.SelfAttention.relative_attention_bias"},
    {.slot = FH_SLOT_CROSS_NORM, .gguf = "dec.blk.%u.cross_attn_norm", .hf = "decoder.block.%u.layer.1.layer_norm"},
    {.slot = FH_SLOT_CROSS_Q, .gguf = "dec.blk.%u.cross_attn_q", .hf = "decoder.block.%u.layer.1.EncDecAttention.q"},
    {.slot = FH_SLOT_CROSS_K, .gguf = "dec.blk.%u.cross_attn_k", .hf = "decoder.block.%u.layer.1.EncDecAttention.k"},
    {.slot = FH_SLOT_CROSS_V, .gguf = "dec.blk.%u.cross_attn_v", .hf = "decoder.block.%u.layer.1.EncDecAttention.v"},
    {.slot = FH_SLOT_CROSS_O, .gguf = "dec.blk.%u.cross_attn_o", .hf = "decoder.block.%u.layer.1.EncDecAttention.o"},
    {.slot = FH_SLOT_FFN_NORM, .gguf = "dec.blk.%u.ffn_norm", .hf = "decoder.block.%u.layer.2.layer_norm"},
    {.slot = FH_SLOT_FFN_GATE, .gguf = "dec.blk.%u.ffn_gate", .hf = "decoder." DENSE("2") "wi_0"},
    {.slot = FH_SLOT_FFN_UP, .gguf = "dec.blk.%u.ffn_up", .hf = "decoder." DENSE("2") "wi|decoder." DENSE("2") "wi_1"},
    {.slot = FH_SLOT_FFN_DOWN, .gguf = "dec.blk.%u.ffn_down", .hf = "decoder." DENSE("2") "wo"},
};

static const fh_name encoder_names[] = {
    {.slot = FH_SLOT_OUT_NORM, .gguf = "enc.output_norm", .hf = "encoder.final_layer_norm"},
    {.slot = FH_SLOT_ATTN_NORM, .gguf = "enc.blk.%u.attn_norm", .hf = "encoder." SELF "layer_norm"},
    {.slot = FH_SLOT_ATTN_Q, .gguf = "enc.blk.%u.attn_q", .hf = "encoder." SELF "SelfAttention.q"},
    {.slot = FH_SLOT_ATTN_K, .gguf = "enc.blk.%u.attn_k", .hf = "encoder." SELF "SelfAttention.k"},
    {.slot = FH_SLOT_ATTN_V, .gguf = "enc.blk.%u.attn_v", .hf = "encoder." SELF "SelfAttention.v"},
    {.slot = FH_SLOT_ATTN_O, .gguf = "enc.blk.%u.attn_o", .hf = "encoder." SELF "SelfAttention.o"},
    {.slot = FH_SLOT_ATTN_REL_BIAS,
     .gguf = "enc.blk.%u.attn_rel_b|enc.blk.0.attn_rel_b",
     .hf = "encoder." SELF "SelfAttention.relative_attention_bias|"
           "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"},
    {.slot = FH_SLOT_FFN_NORM, .gguf = "enc.blk.%u.ffn_norm", .hf = "encoder.block.%u.layer.1.layer_norm"},
    {.slot = FH_SLOT_FFN_GATE, .gguf = "enc.blk.%u.ffn_gate", .hf = "encoder." DENSE("1") "wi_0"},
    {.slot = FH_SLOT_FFN_UP, .gguf = "enc.blk.%u.ffn_up", .hf = "encoder." DENSE("1") "wi|encoder." DENSE("1") "wi_1"},
    {.slot = FH_SLOT_FFN_DOWN, .gguf = "enc.blk.%u.ffn_down", .hf = "encoder." DENSE("1") "wo"},
};

const fh_family fh_family_t5 = {
    .name = "t5",
    .covers = "T5, T5 v1.1, Flan-T5",
    .gguf = "t5",
    .hf = "t5",
    .hf_prefix = "|",
    .unused = "encoder.embed_tokens.weight|decoder.embed_tokens.weight",
    .act = FH_MAP_RELU,
    .names = names,
    .n_names = FH_COUNT(names),
    .encoder_names = encoder_names,
    .n_encoder_names = FH_COUNT(encoder_names),
    .describe = describe,
};
