/* model/family_gemma3.c - Gemma 3 and EmbeddingGemma: five sliding layers, then a full one; norms around both blocks.
 * SPDX-License-Identifier: Apache-2.0
 * Embeddings are scaled by sqrt(width). Safetensors store norms less one. The embedder looks both ways, through a
 * window that counts both sides. The 27B divides scores by sqrt(width / heads). */
#include <math.h>

#include "model/family.h"

static bool looks_both_ways(const fh_spec *s, const fh_meta *m) {
    bool flag = false;
    fh_hf_state state = FH_HF_MISSING;
    if (s->gguf) return fh_str_is(s->arch, "gemma-embedding");
    return fh_hf_get_bool(fh_hf_config_view(m->hf), "use_bidirectional_attention", &state, &flag, NULL) == FH_OK &&
           flag;
}

static fh_status describe(fh_spec *s, fh_layer *layer, const fh_meta *m, fh_arena *arena, fh_err *err) {
    (void)arena, (void)err;
    bool both = looks_both_ways(s, m);
    s->embed_scale = (float)sqrt(s->n_embd);
    if (!s->gguf || s->n_rope > 1) s->rope[1].theta = s->n_rope > 1 ? s->rope[1].theta : 10000;
    if (s->n_rope == 1) {
        s->rope[1] = s->rope[0];
        s->rope[1].theta = 10000;
        s->rope[1].scaling = FH_ROPE_DEFAULT;
        s->n_rope = 2;
    }
    fh_family_slide(s, layer, m, 6, true, fh_meta_u32_or(m, FH_META_WINDOW, 0));
    for (uint32_t i = 0; i < s->n_layer; i++) {
        if (s->gguf && s->n_layer == 62) /* 27B: no key says so */
            layer[i].score_scale = (float)(1 / sqrt((double)s->n_embd / layer[i].n_head));
        if (both) layer[i].mask = layer[i].window ? FH_MASK_SYMMETRIC : FH_MASK_NONE;
    }
    if (both) {
        s->topology = FH_TOPOLOGY_ENCODER;
        if (s->pooling == FH_POOLING_NONE) s->pooling = FH_POOLING_MEAN;
    }
    return FH_OK;
}

static const fh_name names[] = {
    {.slot = FH_SLOT_ATTN_POST_NORM, .hf = "layers.%u.post_attention_layernorm"},
    {.slot = FH_SLOT_FFN_NORM, .hf = "layers.%u.pre_feedforward_layernorm"},
    {.slot = FH_SLOT_FFN_POST_NORM, .hf = "layers.%u.post_feedforward_layernorm"},
};

const fh_family fh_family_gemma3 = {
    .name = "gemma3",
    .covers = "Gemma 3 (text), EmbeddingGemma",
    .gguf = "gemma3|gemma-embedding",
    .hf = "gemma3_text",
    .hf_prefix = "model.|language_model.model.|model.language_model.|",
    .unused = "vision_tower.*|model.vision_tower.*|multi_modal_projector.*|model.multi_modal_projector.*",
    .rope_gguf = FH_ROPE_HALVES,
    .rope_hf = FH_ROPE_HALVES,
    .norm_plus_one = true,
    .act = FH_MAP_GELU_TANH,
    .names = names,
    .n_names = FH_COUNT(names),
    .describe = describe,
};
