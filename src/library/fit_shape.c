/* library/fit_shape.c - tensors, parameters and state of a decoder, counted from its numbers.
 * SPDX-License-Identifier: Apache-2.0
 * Tensors carry the names that a GGUF of the model has, because the rules of quantization go by them. Refuses nothing:
 * where a number is missing the tensors stay unknown; where a layer's state is, the state does. */
#include <stdio.h>

#include "base/num.h"
#include "library/fit_part.h"

#define TENSORS_A_LAYER 40u
#define MOST_VALUES ((uint64_t)1 << 62)

typedef struct counter {
    fh_fit_shape *s;
    const fh_fit_config *c;
    unsigned traits;
    size_t cap;
    uint64_t n_expert_value;
    bool overflow;
    fh_status status;
} counter;

/* A matrix [rows, cols], mats of them; rows 0: a vector. */
static void add(counter *k, uint32_t il, const char *name, uint64_t mats, uint64_t rows, uint64_t cols) {
    fh_fit_shape *s = k->s;
    char full[80];
    if (k->status != FH_OK || k->overflow) return;
    if (s->n_tensor == k->cap) {
        k->overflow = true;
        return;
    }
    const char *end = rows || mats == 1 ? "weight" : "bias";
    if (il == UINT32_MAX) snprintf(full, sizeof full, "%s.%s", name, end);
    else snprintf(full, sizeof full, "blk.%u.%s.%s", il, name, end);
    fh_tensor *t = &s->tensor[s->n_tensor];
    *t = (fh_tensor){.dtype = rows ? FH_DTYPE_BF16 : FH_DTYPE_F32};
    if (mats > 1) t->shape.dim[t->shape.n_dim++] = mats;
    if (rows) t->shape.dim[t->shape.n_dim++] = rows;
    t->shape.dim[t->shape.n_dim++] = cols;
    uint64_t n;
    if (!fh_shape_count(&t->shape, &n) || n > MOST_VALUES || s->n_value > MOST_VALUES) k->overflow = true;
    else if (!fh_arena_copy(&s->arena, fh_str_of(full), &t->name)) k->status = fh_arena_fail(&s->arena, NULL);
    if (k->overflow || k->status != FH_OK) return;
    s->n_value += n;
    if (mats > 1) k->n_expert_value += n;
    s->n_tensor++;
}

static void add_vector(counter *k, uint32_t il, const char *name, uint64_t n) {
    if (n) add(k, il, name, 1, 0, n);
}

static void add_norm(counter *k, uint32_t il, const char *name, uint64_t n) {
    if (k->traits & FH_FIT_NO_NORM) return;
    add_vector(k, il, name, k->traits & FH_FIT_NORM_BIAS ? 2 * n : n);
}

static void count_latent(counter *k, uint32_t il) {
    const fh_fit_config *c = k->c;
    uint64_t head = (uint64_t)c->nope + c->rope, v = c->v_width ? c->v_width : c->nope;
    if (c->q_rank) {
        add(k, il, "attn_q_a", 1, c->q_rank, c->n_embd);
        add_norm(k, il, "attn_q_a_norm", c->q_rank);
        add(k, il, "attn_q_b", 1, c->n_head * head, c->q_rank);
    } else {
        add(k, il, "attn_q", 1, c->n_head * head, c->n_embd);
    }
    add(k, il, "attn_kv_a_mqa", 1, (uint64_t)c->kv_rank + c->rope, c->n_embd);
    add_norm(k, il, "attn_kv_a_norm", c->kv_rank);
    add(k, il, "attn_kv_b", 1, c->n_head * ((uint64_t)c->nope + v), c->kv_rank);
    add(k, il, "attn_output", 1, c->n_embd, c->n_head * v);
}

static void count_delta(counter *k, uint32_t il) {
    const fh_fit_config *c = k->c;
    uint64_t nk = (uint64_t)c->dk_heads * c->dk_width, nv = (uint64_t)c->dv_heads * c->dv_width;
    add(k, il, "attn_qkv", 1, 2 * nk + nv, c->n_embd);
    add(k, il, "attn_gate", 1, nv, c->n_embd);
    add(k, il, "ssm_beta", 1, c->dv_heads, c->n_embd);
    add(k, il, "ssm_alpha", 1, c->dv_heads, c->n_embd);
    add_vector(k, il, "ssm_conv1d", (2 * nk + nv) * c->taps);
    add_vector(k, il, "ssm_a", c->dv_heads);
    add_vector(k, il, "ssm_dt", c->dv_heads);
    add_vector(k, il, "ssm_norm", c->dv_width);
    add(k, il, "ssm_out", 1, c->n_embd, nv);
}

static void count_attention(counter *k, uint32_t il, bool full) {
    const fh_fit_config *c = k->c;
    uint64_t width = full && c->full_width ? c->full_width : c->width;
    uint64_t kv = full && c->full_kv ? c->full_kv : c->n_kv;
    uint64_t q = c->n_head * width, kw = kv * width, vw = kv * (c->v_width ? c->v_width : width);
    bool gate = k->traits & FH_FIT_Q_GATE;
    add(k, il, "attn_q", 1, gate ? 2 * q : q, c->n_embd);
    add(k, il, "attn_k", 1, kw, c->n_embd);
    add(k, il, "attn_v", 1, vw, c->n_embd);
    add(k, il, "attn_output", 1, c->n_embd, q);
    if (k->traits & FH_FIT_QKV_BIAS || c->qkv_bias) add_vector(k, il, "attn_bias", q + kw + vw);
    if (k->traits & FH_FIT_O_BIAS || c->o_bias) add_vector(k, il, "attn_output_bias", c->n_embd);
    if (k->traits & FH_FIT_QK_NORM_WIDE) add_vector(k, il, "attn_qk_norm", q + kw);
    else if (k->traits & FH_FIT_QK_NORM || c->qk_norm) add_vector(k, il, "attn_qk_norm", 2 * width);
    if (k->traits & FH_FIT_SINKS) add_vector(k, il, "attn_sinks", c->n_head);
}

static void count_dense(counter *k, uint32_t il) {
    const fh_fit_config *c = k->c;
    bool glu = !(k->traits & FH_FIT_NO_GLU);
    if (glu) add(k, il, "ffn_gate", 1, c->n_ff, c->n_embd);
    add(k, il, "ffn_up", 1, c->n_ff, c->n_embd);
    add(k, il, "ffn_down", 1, c->n_embd, c->n_ff);
    if (k->traits & FH_FIT_MLP_BIAS || c->mlp_bias)
        add_vector(k, il, "ffn_bias", (glu ? 2ull : 1ull) * c->n_ff + c->n_embd);
}

static void count_moe(counter *k, uint32_t il) {
    const fh_fit_config *c = k->c;
    uint64_t n = c->n_expert, ff = c->expert_ff;
    uint64_t n_shared = k->traits & FH_FIT_ONE_SHARED ? 1 : c->n_shared;
    uint64_t shared = c->shared_ff ? c->shared_ff : n_shared * ff;
    add(k, il, "ffn_gate_inp", 1, n, c->n_embd);
    add(k, il, "ffn_gate_exps", n, ff, c->n_embd);
    add(k, il, "ffn_up_exps", n, ff, c->n_embd);
    add(k, il, "ffn_down_exps", n, c->n_embd, ff);
    if (k->traits & FH_FIT_EXPERT_BIAS) {
        add(k, il, "ffn_exps", n, 0, 2 * ff + c->n_embd);
        add_vector(k, il, "ffn_gate_inp_bias", n);
    }
    if (k->traits & FH_FIT_CHOICE_BIAS) add_vector(k, il, "exp_probs_b", n);
    if (!shared) return;
    add(k, il, "ffn_gate_shexp", 1, shared, c->n_embd);
    add(k, il, "ffn_up_shexp", 1, shared, c->n_embd);
    add(k, il, "ffn_down_shexp", 1, c->n_embd, shared);
    if (k->traits & FH_FIT_SHARED_SCORE) add_vector(k, il, "ffn_gate_inp_shexp", c->n_embd);
}

static fh_fit_layer kind_of(const fh_fit_arch *arch, const fh_fit_config *c, uint32_t il) {
    uint32_t period = c->period ? c->period : arch->period ? arch->period : 1;
    if (c->kind) return (fh_fit_layer)c->kind[il];
    switch (arch->rule) {
    case FH_FIT_RULE_FULL: return FH_FIT_LAYER_FULL;
    case FH_FIT_RULE_ALL_SLIDE: return c->window ? FH_FIT_LAYER_SLIDING : FH_FIT_LAYER_FULL;
    case FH_FIT_RULE_EVEN_SLIDE: return il % 2 ? FH_FIT_LAYER_FULL : FH_FIT_LAYER_SLIDING;
    case FH_FIT_RULE_PERIOD_LAST: return (il + 1) % period ? FH_FIT_LAYER_SLIDING : FH_FIT_LAYER_FULL;
    case FH_FIT_RULE_DELTA: return (il + 1) % period ? FH_FIT_LAYER_DELTA : FH_FIT_LAYER_FULL;
    }
    return FH_FIT_LAYER_OTHER;
}

static bool is_moe(const fh_fit_config *c, uint32_t il) {
    return c->n_expert && il >= c->n_dense && (c->moe_step < 2 || (il + 1) % c->moe_step == 0);
}

static bool enough(const fh_fit_config *c) {
    bool heads = c->kv_rank ? c->n_head && c->nope : c->n_head && c->n_kv && c->width;
    bool ff = c->n_expert ? c->expert_ff && c->n_used && (!c->n_dense || c->n_ff) : c->n_ff;
    return c->n_layer && c->n_embd && c->n_vocab && heads && ff;
}

static fh_status count_tensors(fh_fit_shape *s, const fh_fit_arch *arch, const fh_fit_config *c, fh_err *err) {
    counter k = {.s = s, .c = c, .traits = arch->traits, .cap = (size_t)c->n_layer * TENSORS_A_LAYER + 8};
    s->tensor = fh_arena_alloc(&s->arena, k.cap, sizeof *s->tensor);
    if (!s->tensor) return fh_arena_fail(&s->arena, err);
    bool tied = c->tied || (!c->untied && arch->traits & FH_FIT_TIED);
    s->n_value = 0;
    add(&k, UINT32_MAX, "token_embd", 1, c->n_vocab, c->n_embd);
    if (!tied) add(&k, UINT32_MAX, "output", 1, c->n_vocab, c->n_embd);
    add_norm(&k, UINT32_MAX, "output_norm", c->n_embd);
    for (uint32_t il = 0; il < c->n_layer; il++) {
        fh_fit_layer kind = kind_of(arch, c, il);
        if (kind == FH_FIT_LAYER_OTHER || (kind == FH_FIT_LAYER_DELTA && !c->dv_heads)) k.overflow = true;
        if (kind == FH_FIT_LAYER_DELTA) count_delta(&k, il);
        else if (c->kv_rank) count_latent(&k, il);
        else count_attention(&k, il, kind == FH_FIT_LAYER_FULL);
        if (is_moe(c, il)) count_moe(&k, il);
        else count_dense(&k, il);
        bool four = arch->traits & FH_FIT_FOUR_NORMS;
        add_norm(&k, il, "norms", (four ? 4ull : arch->traits & FH_FIT_ONE_NORM ? 1ull : 2ull) * c->n_embd);
    }
    if (k.status != FH_OK) return fh_arena_fail(&s->arena, err);
    if (k.overflow) {
        s->tensor = NULL;
        s->n_tensor = 0;
        s->n_value = 0;
        return FH_OK;
    }
    s->counted = true;
    s->n_table = tied ? 0 : (uint64_t)c->n_vocab * c->n_embd;
    s->n_expert_value = k.n_expert_value;
    s->n_active = s->n_value;
    if (c->n_expert) s->n_active -= k.n_expert_value / c->n_expert * (c->n_expert - FH_MIN(c->n_used, c->n_expert));
    return FH_OK;
}

void fh_fit_add_part(fh_fit_shape *s, const fh_fit_part *p) {
    for (size_t i = 0; i < s->n_part; i++) {
        fh_fit_part *q = &s->part[i];
        if (q->kind != p->kind || q->of_encoder != p->of_encoder || q->heads != p->heads || q->k_width != p->k_width ||
            q->v_width != p->v_width || q->window != p->window || q->floats != p->floats)
            continue;
        q->n_layer += p->n_layer;
        return;
    }
    if (s->n_part == FH_FIT_MOST_PARTS) s->state_known = false;
    else s->part[s->n_part++] = *p;
}

static void count_state(fh_fit_shape *s, const fh_fit_arch *arch, const fh_fit_config *c) {
    s->state_known = c->n_layer && (c->kv_rank || (c->n_kv && c->width));
    for (uint32_t il = 0; il + c->n_shared_kv < c->n_layer && s->state_known; il++) {
        fh_fit_layer kind = kind_of(arch, c, il);
        fh_fit_part p = {.kind = FH_FIT_FULL, .n_layer = 1};
        if (kind == FH_FIT_LAYER_OTHER) s->state_known = false;
        if (kind == FH_FIT_LAYER_DELTA) {
            uint64_t nk = (uint64_t)c->dk_heads * c->dk_width, nv = (uint64_t)c->dv_heads * c->dv_width;
            p.kind = FH_FIT_RECURRENT;
            p.floats = nv * c->dk_width;
            if (!p.floats || !c->taps) s->state_known = false;
            else fh_fit_add_part(s, &p);
            p.floats = (2 * nk + nv) * (c->taps - 1);
            if (!p.floats) continue;
        } else if (c->kv_rank) {
            p.kind = FH_FIT_LATENT;
            p.heads = 1;
            p.k_width = c->kv_rank + c->rope;
        } else {
            bool full = kind == FH_FIT_LAYER_FULL || !c->window;
            p.kind = full ? FH_FIT_FULL : FH_FIT_SLIDING;
            p.window = full ? 0 : c->window;
            p.heads = full && c->full_kv ? c->full_kv : c->n_kv;
            p.k_width = full && c->full_width ? c->full_width : c->width;
            p.v_width = c->v_width ? c->v_width : p.k_width;
        }
        fh_fit_add_part(s, &p);
    }
}

fh_status fh_fit_count(fh_fit_shape *s, const fh_fit_arch *arch, const fh_fit_config *c, fh_err *err) {
    s->n_layer = c->n_layer;
    s->n_embd = c->n_embd;
    s->n_head = c->n_head;
    s->k_width = c->kv_rank ? (uint64_t)c->nope + c->rope : c->width;
    s->n_vocab = c->n_vocab;
    s->n_context = c->n_context;
    s->n_expert = c->n_expert;
    s->n_used = c->n_used;
    s->n_ff = FH_MAX(c->n_ff, c->n_used * c->expert_ff);
    s->mix = (fh_mix_model){.arch = FH_STR("decoder"),
                            .n_layer = c->n_layer,
                            .n_expert = c->n_expert,
                            .n_head = c->n_head,
                            .n_head_kv = c->n_kv};
    count_state(s, arch, c);
    return enough(c) ? count_tensors(s, arch, c, err) : FH_OK;
}
