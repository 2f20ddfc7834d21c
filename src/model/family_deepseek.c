/* model/family_deepseek.c - DeepSeek V2, V3, R1 and Kimi K2: latent attention, experts in groups.
 * SPDX-License-Identifier: Apache-2.0
 * V2 ranks groups by their best expert, V3 by the sum of the best two; V2 has no bias for the choice. Where YaRN
 * stretches, scores are scaled by the square of its magnitude for mscale_all_dim. GGUF keeps a tenth of that number. */
#include <math.h>

#include "model/family.h"

static double mscale_all_dim(const fh_spec *s, const fh_meta *m) {
    double tenth = 0;
    if (!s->gguf) return s->rope[0].mscale_all_dim;
    return fh_meta_f64(m, FH_META_YARN_LOG_MULTIPLIER, &tenth) ? tenth * 10 : 0;
}

static void describe_experts(fh_spec *s, const fh_meta *m) {
    fh_str method;
    bool v2 = !s->gguf && fh_str_is(s->arch, "deepseek_v2");
    bool sigmoid = s->moe.gate == FH_GATE_SIGMOID;
    if (s->gguf) {
        s->moe.renorm = fh_meta_bool_or(m, FH_META_EXPERT_RENORM, false);
        v2 = !sigmoid;
    } else {
        s->moe.gate = v2 ? FH_GATE_SOFTMAX : FH_GATE_SIGMOID;
        s->moe.renorm = !v2 && s->moe.renorm;
    }
    if (s->moe.group_rule != FH_GROUP_NONE) s->moe.group_rule = v2 ? FH_GROUP_MAX : FH_GROUP_TOP2;
    if (v2 && fh_meta_str(m, FH_META_TOPK_METHOD, &method) && fh_str_is(method, "greedy"))
        s->moe.group_rule = FH_GROUP_NONE;
}

static fh_status describe(fh_spec *s, fh_layer *layer, const fh_meta *m, fh_arena *arena, fh_err *err) {
    (void)arena;
    uint32_t turning = fh_meta_u32_or(m, FH_META_LATENT_ROPE_WIDTH, 0), nope = fh_meta_u32_or(m, FH_META_NOPE_WIDTH, 0);
    uint32_t whole = s->gguf ? fh_meta_u32_or(m, FH_META_K_WIDTH_LATENT, 0) : nope + turning;
    uint32_t v = fh_meta_u32_or(m, FH_META_V_WIDTH_LATENT, 0);
    if (!s->kv_rank || whole <= turning || !v)
        return fh_fail(err, FH_ERR_FORMAT, "latent attention with rank %u, heads of %u and %u, %u of them turning",
                       s->kv_rank, whole, v, turning);
    s->rope_width = turning;
    fh_rope_spec *r = &s->rope[0];
    double all = mscale_all_dim(s, m), scale = 1 / sqrt(whole);
    if (r->scaling == FH_ROPE_YARN && all > 0 && r->factor > 1) {
        double by = 0.1 * all * log(r->factor) + 1;
        scale *= by * by;
        if (s->gguf) r->mscale = r->mscale_all_dim = all; /* the file keeps one: the other is equal */
    }
    r->n_rot = turning;
    describe_experts(s, m);
    for (uint32_t i = 0; i < s->n_layer; i++) {
        layer[i].mixer = FH_MIXER_LATENT;
        layer[i].n_kv_head = layer[i].n_head;
        layer[i].k_width = whole;
        layer[i].v_width = v;
        layer[i].score_scale = (float)scale;
    }
    return FH_OK;
}

static const fh_name names[] = {
    {.slot = FH_SLOT_MOE_CHOICE_BIAS, .hf = "layers.%u.mlp.gate.e_score_correction_bias"},
};

const fh_family fh_family_deepseek = {
    .name = "deepseek",
    .covers = "DeepSeek V2, V2 Lite, V3, V3.1, R1; Kimi K2 and K2.5 (text)",
    .gguf = "deepseek2",
    .hf = "deepseek_v2|deepseek_v3|kimi_k2",
    .hf_prefix = "model.|language_model.model.|model.language_model.|",
    .unused = "vision_tower.*|mm_projector.*|model.mm_projector.*|model.vision_tower.*",
    .rope_gguf = FH_ROPE_PAIRS,
    .rope_hf = FH_ROPE_PAIRS,
    .act = FH_MAP_SILU,
    .names = names,
    .n_names = FH_COUNT(names),
    .describe = describe,
};
