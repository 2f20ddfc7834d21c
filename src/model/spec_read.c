/* model/spec_read.c - from metadata to a spec: what all families read alike; their hooks do the rest.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses numbers that cannot be, so that blocks need not: a layer's heads, widths and windows are consistent here or
 * nowhere. */
#include "model/spec_read.h"

#include <math.h>

#include "model/rope.h"

/* ---- parts ---- */

static fh_map_kind activation(const fh_meta *m, fh_map_kind otherwise) {
    static const struct {
        const char *name;
        fh_map_kind kind;
    } known[] = {
        {"silu", FH_MAP_SILU},
        {"swish", FH_MAP_SILU},
        {"gelu", FH_MAP_GELU_ERF},
        {"gelu_python", FH_MAP_GELU_ERF},
        {"gelu_pytorch_tanh", FH_MAP_GELU_TANH},
        {"gelu_new", FH_MAP_GELU_TANH},
        {"gelu_fast", FH_MAP_GELU_TANH},
        {"relu", FH_MAP_RELU},
    };
    fh_str s;
    if (!fh_meta_str(m, FH_META_ACTIVATION, &s)) return otherwise;
    for (size_t i = 0; i < FH_COUNT(known); i++)
        if (fh_str_is(s, known[i].name)) return known[i].kind;
    return FH_MAP_COUNT;
}

static void read_moe(fh_spec *s, const fh_meta *m) {
    fh_moe_spec *e = &s->moe;
    fh_str score, method;
    e->n_expert = fh_meta_u32_or(m, FH_META_N_EXPERT, 0);
    e->n_used = fh_meta_u32_or(m, FH_META_N_EXPERT_USED, 0);
    e->n_shared = fh_meta_u32_or(m, FH_META_N_EXPERT_SHARED, 0);
    e->expert_ff = fh_meta_u32_or(m, FH_META_EXPERT_FF, fh_meta_u32_or(m, FH_META_N_FF, 0));
    e->shared_ff = fh_meta_u32_or(m, FH_META_SHARED_FF, 0);
    e->n_group = fh_meta_u32_or(m, FH_META_N_GROUP, 1);
    e->n_group_used = fh_meta_u32_or(m, FH_META_N_GROUP_USED, 1);
    e->renorm = fh_meta_bool_or(m, FH_META_EXPERT_RENORM, true);
    e->scale = fh_meta_f32_or(m, FH_META_EXPERT_SCALE, 1);
    uint32_t gate = fh_meta_u32_or(m, FH_META_EXPERT_GATE, 1);
    e->gate = gate == 2 ? FH_GATE_SIGMOID : gate == 3 ? FH_GATE_SOFTMAX_TOPK : FH_GATE_SOFTMAX;
    if (fh_meta_str(m, FH_META_EXPERT_SCORE, &score) && fh_str_is(score, "sigmoid")) e->gate = FH_GATE_SIGMOID;
    e->group_rule = FH_GROUP_NONE;
    if (e->n_group > 1 && e->n_group_used < e->n_group) {
        e->group_rule = FH_GROUP_TOP2;
        if (fh_meta_str(m, FH_META_TOPK_METHOD, &method) && fh_str_is(method, "group_limited_greedy"))
            e->group_rule = FH_GROUP_MAX;
    }
}

static bool is_moe_layer(const fh_spec *s, const fh_meta *m, uint32_t il) {
    uint64_t v;
    if (!s->moe.n_expert || il < fh_meta_u32_or(m, FH_META_N_DENSE_LEAD, 0)) return false;
    uint32_t step = fh_meta_u32_or(m, FH_META_MOE_INTERVAL, 1);
    if (step > 1 && (il + 1) % step) return false;
    for (size_t i = 0; m->hf && i < s->n_layer && fh_meta_u64_at(m, FH_META_MLP_ONLY_LAYERS, i, &v); i++)
        if (v == il) return false;
    return true;
}

static uint32_t at(const fh_meta *m, fh_meta_field f, uint32_t il, uint32_t otherwise) {
    uint64_t v = 0;
    return fh_meta_u64_at(m, f, il, &v) && v < UINT32_MAX ? (uint32_t)v : otherwise;
}

static void read_layer(const fh_spec *s, const fh_meta *m, uint32_t il, fh_layer *l) {
    l->mixer = FH_MIXER_ATTENTION;
    l->n_head = at(m, FH_META_N_HEAD, il, 0);
    l->n_kv_head = at(m, FH_META_N_HEAD_KV, il, l->n_head);
    l->k_width = at(m, FH_META_K_WIDTH, il, l->n_head ? s->n_embd / l->n_head : 0);
    l->v_width = at(m, FH_META_V_WIDTH, il, l->k_width);
    l->rope = 0;
    l->mask = FH_MASK_CAUSAL;
    double scalar = 0, scale = 0;
    l->score_scale = l->k_width ? (float)(1 / sqrt(l->k_width)) : 1;
    if (fh_meta_f64(m, FH_META_QUERY_SCALAR, &scalar) && scalar > 0) l->score_scale = (float)(1 / sqrt(scalar));
    if (fh_meta_f64(m, FH_META_SCORE_SCALE, &scale) && scale > 0) l->score_scale = (float)scale;
    l->moe = is_moe_layer(s, m, il);
    l->ff = at(m, FH_META_N_FF, il, 0);
}

static void read_pooling(fh_spec *s, const fh_meta *m) {
    static const fh_pooling by_number[] = {FH_POOLING_NONE, FH_POOLING_MEAN, FH_POOLING_CLS, FH_POOLING_LAST,
                                           FH_POOLING_RANK};
    uint32_t p = fh_meta_u32_or(m, FH_META_POOLING, 0);
    s->pooling = p < FH_COUNT(by_number) ? by_number[p] : FH_POOLING_NONE;
    s->pool_normalize = true;
}

/* ---- checks ---- */

static fh_status check_layer(const fh_spec *s, const fh_layer *l, uint32_t il, fh_err *err) {
    if (l->mixer != FH_MIXER_DELTA) {
        if (!l->n_head || !l->n_kv_head || l->n_head % l->n_kv_head)
            return fh_fail(err, FH_ERR_FORMAT, "layer %u: %u heads cannot share %u key heads", il, l->n_head,
                           l->n_kv_head);
        if (!l->k_width || !l->v_width || l->k_width > 65536 || l->v_width > 65536)
            return fh_fail(err, FH_ERR_FORMAT, "layer %u: heads of %u and %u columns", il, l->k_width, l->v_width);
        if (l->mask == FH_MASK_SLIDING && !l->window)
            return fh_fail(err, FH_ERR_FORMAT, "layer %u slides without a window", il);
    }
    if (l->rope != FH_NO_ID && l->rope >= s->n_rope)
        return fh_fail(err, FH_ERR_FORMAT, "layer %u has no rotation settings", il);
    if (!l->moe && !l->ff) return fh_fail(err, FH_ERR_FORMAT, "layer %u: no width of its feed-forward", il);
    return FH_OK;
}

static fh_status check(const fh_spec *s, fh_err *err) {
    const fh_moe_spec *e = &s->moe;
    if (s->act == FH_MAP_COUNT) return fh_fail(err, FH_ERR_UNSUPPORTED, "an activation that is not known");
    if (!(s->norm_eps >= 0)) return fh_fail(err, FH_ERR_FORMAT, "norm epsilon %g", (double)s->norm_eps);
    if (e->n_expert &&
        (!e->n_used || e->n_used > e->n_expert || !e->n_group || e->n_expert % e->n_group || !e->n_group_used ||
         e->n_group_used > e->n_group || e->n_expert / e->n_group * e->n_group_used < e->n_used))
        return fh_fail(err, FH_ERR_FORMAT, "%u of %u experts in %u of %u groups cannot be", e->n_used, e->n_expert,
                       e->n_group_used, e->n_group);
    for (uint32_t i = 0; i < s->n_layer; i++) FH_TRY(check_layer(s, &s->layer[i], i, err));
    for (uint32_t i = 0; i < s->n_encoder_layer; i++) FH_TRY(check_layer(s, &s->encoder[i], i, err));
    return FH_OK;
}

fh_status fh_spec_read(fh_spec *out, const fh_family *f, const fh_meta *m, fh_str arch, const fh_bundle *b,
                       fh_arena *arena, fh_err *err) {
    fh_spec s = {.family = f, .arch = arch, .gguf = m->gguf != NULL, .glu = true, .embed_scale = 1, .logit_scale = 1};
    s.n_layer = fh_meta_u32_or(m, FH_META_N_LAYER, 0);
    s.n_embd = fh_meta_u32_or(m, FH_META_N_EMBD, 0);
    s.n_context = fh_meta_u32_or(m, FH_META_N_CONTEXT, 0);
    if (!s.n_layer || s.n_layer > FH_HF_MAX_LAYER || !s.n_embd || s.n_embd > 1u << 20)
        return fh_fail(err, FH_ERR_FORMAT, "%u layers of width %u", s.n_layer, s.n_embd);
    if (!s.n_context) s.n_context = 2048;
    s.norm_plus_one = f->norm_plus_one && !s.gguf;
    s.rope_layout = s.gguf ? f->rope_gguf : f->rope_hf;
    s.act = activation(m, f->act);
    s.norm_eps = fh_meta_f32_or(m, FH_META_RMS_EPS, fh_meta_f32_or(m, FH_META_LAYER_EPS, 1e-5f));
    s.act_limit = 0;
    s.score_softcap = fh_meta_f32_or(m, FH_META_SCORE_SOFTCAP, 0);
    s.final_softcap = fh_meta_f32_or(m, FH_META_FINAL_SOFTCAP, 0);
    s.embed_scale = fh_meta_f32_or(m, FH_META_EMBED_SCALE, 1);
    s.logit_scale = fh_meta_f32_or(m, FH_META_LOGIT_SCALE, 1);
    s.q_rank = fh_meta_u32_or(m, FH_META_Q_RANK, 0);
    s.kv_rank = fh_meta_u32_or(m, FH_META_KV_RANK, 0);
    s.tied = fh_meta_bool_or(m, FH_META_TIE, false);
    read_moe(&s, m);
    read_pooling(&s, m);
    fh_layer *layer = fh_arena_alloc(arena, s.n_layer, sizeof *layer);
    if (!layer) return fh_arena_fail(arena, err);
    for (uint32_t i = 0; i < s.n_layer; i++) read_layer(&s, m, i, &layer[i]);
    s.layer = layer;
    FH_TRY(fh_rope_read(&s, m, b, layer[0].k_width, arena, err));
    if (f->describe) FH_TRY(f->describe(&s, layer, m, arena, err));
    FH_TRY(check(&s, err));
    *out = s;
    return FH_OK;
}
