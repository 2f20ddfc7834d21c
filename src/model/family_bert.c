/* model/family_bert.c - BERT, RoBERTa, XLM-R: encoders with learned positions; MiniLM, BGE, E5, and rerankers on them.
 * SPDX-License-Identifier: Apache-2.0
 * Norms stand on the sums. RoBERTa's positions start behind the padding id; GGUF files have cut those rows off. */
#include "model/family.h"

static fh_status describe(fh_spec *s, fh_layer *layer, const fh_meta *m, fh_arena *arena, fh_err *err) {
    (void)arena, (void)err;
    s->topology = FH_TOPOLOGY_ENCODER;
    s->norm = FH_NORM_LAYER;
    s->norm_eps = fh_meta_f32_or(m, FH_META_LAYER_EPS, 1e-12f);
    for (uint32_t i = 0; i < s->n_layer; i++) {
        layer[i].mask = FH_MASK_NONE;
        layer[i].rope = FH_NO_ID;
    }
    if (!s->gguf && !fh_str_is(s->arch, "bert")) {
        const fh_hf_ids *pad = fh_hf_config_pad(m->hf);
        s->position_offset = (pad->n ? pad->item[0] : 1) + 1;
        s->n_context = s->n_context > s->position_offset ? s->n_context - s->position_offset : s->n_context;
    }
    if (s->pooling == FH_POOLING_NONE) s->pooling = FH_POOLING_MEAN;
    return FH_OK;
}

#define LAYER "encoder.layer.%u."

static const fh_name names[] = {
    {.slot = FH_SLOT_TOKENS, .hf = "embeddings.word_embeddings"},
    {.slot = FH_SLOT_OUT_NORM, .gguf = "", .hf = ""},
    {.slot = FH_SLOT_ATTN_NORM, .gguf = "", .hf = ""},
    {.slot = FH_SLOT_FFN_NORM, .gguf = "", .hf = ""},
    {.slot = FH_SLOT_ATTN_Q, .hf = LAYER "attention.self.query"},
    {.slot = FH_SLOT_ATTN_Q_BIAS, .hf = LAYER "attention.self.query.bias"},
    {.slot = FH_SLOT_ATTN_K, .hf = LAYER "attention.self.key"},
    {.slot = FH_SLOT_ATTN_K_BIAS, .hf = LAYER "attention.self.key.bias"},
    {.slot = FH_SLOT_ATTN_V, .hf = LAYER "attention.self.value"},
    {.slot = FH_SLOT_ATTN_V_BIAS, .hf = LAYER "attention.self.value.bias"},
    {.slot = FH_SLOT_ATTN_O, .hf = LAYER "attention.output.dense"},
    {.slot = FH_SLOT_ATTN_O_BIAS, .hf = LAYER "attention.output.dense.bias"},
    {.slot = FH_SLOT_ATTN_SUM_NORM, .hf = LAYER "attention.output.LayerNorm"},
    {.slot = FH_SLOT_ATTN_SUM_NORM_BIAS, .hf = LAYER "attention.output.LayerNorm.bias"},
    {.slot = FH_SLOT_FFN_UP, .hf = LAYER "intermediate.dense"},
    {.slot = FH_SLOT_FFN_UP_BIAS, .hf = LAYER "intermediate.dense.bias"},
    {.slot = FH_SLOT_FFN_DOWN, .hf = LAYER "output.dense"},
    {.slot = FH_SLOT_FFN_DOWN_BIAS, .hf = LAYER "output.dense.bias"},
    {.slot = FH_SLOT_FFN_SUM_NORM, .hf = LAYER "output.LayerNorm"},
    {.slot = FH_SLOT_FFN_SUM_NORM_BIAS, .hf = LAYER "output.LayerNorm.bias"},
};

const fh_family fh_family_bert = {
    .name = "bert",
    .covers = "BERT, RoBERTa, XLM-R: MiniLM, BGE, E5, GTE, bge-m3, bge-reranker",
    .gguf = "bert",
    .hf = "bert|roberta|xlm-roberta|camembert",
    .hf_prefix = "|bert.|roberta.",
    .unused = "*pooler.dense.weight|*pooler.dense.bias|cls.predictions.*|lm_head.*",
    .act = FH_MAP_GELU_ERF,
    .names = names,
    .n_names = FH_COUNT(names),
    .describe = describe,
};
