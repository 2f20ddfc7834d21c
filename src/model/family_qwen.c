/* model/family_qwen.c - Qwen 2, 2.5 and 3, dense and with experts; QwQ, R1 distills, Qwen3 embedders and rerankers.
 * SPDX-License-Identifier: Apache-2.0
 * Biases on q, k, v (2) and norms of heads (3) are there when their tensors are. Qwen 3 renormalizes the chosen
 * experts' weights when config.json says so; GGUF files have no key for it, and mean yes. */
#include "model/family.h"

static fh_status describe(fh_spec *s, fh_layer *layer, const fh_meta *m, fh_arena *arena, fh_err *err) {
    (void)layer, (void)arena, (void)err;
    s->moe.renorm = fh_meta_bool_or(m, FH_META_EXPERT_RENORM, s->gguf);
    if (s->pooling == FH_POOLING_NONE) s->pooling = FH_POOLING_LAST;
    return FH_OK;
}

const fh_family fh_family_qwen = {
    .name = "qwen",
    .covers = "Qwen 2, 2.5 and 3, dense and MoE; QwQ; Qwen3 Embedding and Reranker",
    .gguf = "qwen2|qwen3|qwen3moe",
    .hf = "qwen2|qwen3|qwen3_moe",
    .hf_prefix = "model.|",
    .rope_gguf = FH_ROPE_HALVES,
    .rope_hf = FH_ROPE_HALVES,
    .act = FH_MAP_SILU,
    .describe = describe,
};
