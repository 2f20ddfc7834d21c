/* forge/convert_gguf.c - what a GGUF says about a model: keys, from the spec and from config.json.
 * SPDX-License-Identifier: Apache-2.0
 * Numbers come from the spec, so that whatever spelling config.json used has been understood before; the file is asked
 * itself only for what the spec has settled already. Refuses settings that GGUF has no key for and readers guess. */
#include <math.h>
#include <stdio.h>

#include "forge/convert_part.h"
#include "model/rope.h"

typedef struct keys {
    fh_convert_job *j;
    fh_gguf_build *b;
    fh_err *err;
    fh_status s;
} keys;

static const char *key(const keys *k, const char *name, char out[128]) {
    snprintf(out, 128, "%s.%s", k->j->row->gguf, name);
    return out;
}

static void put_u32(keys *k, const char *name, uint64_t v) {
    char t[128];
    if (k->s == FH_OK) k->s = fh_gguf_build_add_u32(k->b, key(k, name, t), (uint32_t)v, k->err);
}
static void put_f32(keys *k, const char *name, double v) {
    char t[128];
    if (k->s == FH_OK) k->s = fh_gguf_build_add_f32(k->b, key(k, name, t), (float)v, k->err);
}
static void put_bool(keys *k, const char *name, bool v) {
    char t[128];
    if (k->s == FH_OK) k->s = fh_gguf_build_add_bool(k->b, key(k, name, t), v, k->err);
}
static void put_str(keys *k, const char *name, const char *v) {
    char t[128];
    if (k->s == FH_OK) k->s = fh_gguf_build_add_str(k->b, key(k, name, t), fh_str_of(v), k->err);
}
static void refuse(keys *k, const char *what) {
    if (k->s == FH_OK) k->s = fh_fail(k->err, FH_ERR_UNSUPPORTED, "GGUF has no key for %s", what);
}

/* ---- groups ---- */

/* Models whose GGUF turns neighbours: their readers want two more keys. */
static bool turns_pairs(const fh_spec *s) {
    return s->family->rope_gguf != FH_ROPE_HALVES && s->n_rope && s->layer[s->n_layer - 1].rope != FH_NO_ID;
}

/* A number for all layers, or a list where they differ. */
static void put_layers(keys *k, const char *name, const uint32_t *v, uint32_t n) {
    char t[128];
    bool same = true;
    for (uint32_t i = 1; i < n; i++) same = same && v[i] == v[0];
    if (same) {
        put_u32(k, name, v[0]);
        return;
    }
    fh_gguf_kv kv = {.key = fh_str_of(key(k, name, t)), .type = FH_GGUF_ARRAY, .elem = FH_GGUF_U32, .n = n};
    kv.payload = (fh_bytes){(const uint8_t *)v, n * sizeof *v};
    if (k->s == FH_OK) k->s = fh_gguf_build_add_kv(k->b, &kv, k->err);
}

static void put_rope_one(keys *k, const fh_rope_spec *r) {
    if (r->scaling == FH_ROPE_LINEAR) {
        put_str(k, "rope.scaling.type", "linear");
        put_f32(k, "rope.scaling.factor", r->factor);
    } else if (r->scaling == FH_ROPE_YARN) {
        put_str(k, "rope.scaling.type", "yarn");
        put_f32(k, "rope.scaling.factor", r->factor);
        put_u32(k, "rope.scaling.original_context_length", r->original);
        const fh_hf_rope *said = fh_hf_ropes_find(fh_hf_config_ropes(k->j->meta.hf), FH_ROPE_FULL);
        if (said && (said->has & FH_ROPE_HAS_BETA_FAST)) {
            put_f32(k, "rope.scaling.yarn_beta_fast", r->beta_fast);
            put_f32(k, "rope.scaling.yarn_beta_slow", r->beta_slow);
        }
        if (r->mscale_all_dim > 0) put_f32(k, "rope.scaling.yarn_log_multiplier", 0.1 * r->mscale_all_dim);
        if (r->mscale != r->mscale_all_dim) refuse(k, "YaRN with mscale other than mscale_all_dim");
        if (r->attention_factor > 0) put_f32(k, "rope.scaling.attn_factor", r->attention_factor);
    } else if (r->scaling != FH_ROPE_DEFAULT && r->scaling != FH_ROPE_LLAMA3) {
        refuse(k, "this kind of rope scaling");
    }
}

static void put_rope(keys *k) {
    const fh_spec *s = k->j->spec;
    const fh_layer *l = &s->layer[0];
    if (!s->n_rope || (l->rope == FH_NO_ID && s->layer[s->n_layer - 1].rope == FH_NO_ID)) return;
    put_f32(k, "rope.freq_base", s->rope[0].theta);
    if (s->n_rope > 1) put_f32(k, "rope.freq_base_swa", s->rope[1].theta);
    put_rope_one(k, &s->rope[0]);
    if (s->n_rope > 1 && s->rope[1].scaling != FH_ROPE_DEFAULT) refuse(k, "rope scaling of sliding layers");
    if (turns_pairs(s) || s->rope[0].n_rot != s->layer[s->n_layer - 1].k_width)
        put_u32(k, "rope.dimension_count", s->rope[0].n_rot);
}

static void put_heads(keys *k) {
    const fh_spec *s = k->j->spec;
    const fh_layer *l = s->n_encoder_layer ? s->encoder : s->layer, *last = &l[s->n_layer - 1];
    uint32_t n = s->n_encoder_layer ? s->n_encoder_layer : s->n_layer;
    uint32_t *v = fh_arena_alloc(&k->j->arena, n, 2 * sizeof *v);
    uint64_t dim;
    if (!v) {
        if (k->s == FH_OK) k->s = fh_arena_fail(&k->j->arena, k->err);
        return;
    }
    for (uint32_t i = 0; i < n; i++) v[i] = l[i].n_head, v[n + i] = l[i].n_kv_head;
    put_layers(k, "attention.head_count", v, n);
    if (l->mixer == FH_MIXER_LATENT) {
        put_u32(k, "attention.head_count_kv", 1);
        if (s->q_rank) put_u32(k, "attention.q_lora_rank", s->q_rank);
        put_u32(k, "attention.kv_lora_rank", s->kv_rank);
        put_u32(k, "attention.key_length", s->kv_rank + s->rope_width);
        put_u32(k, "attention.value_length", s->kv_rank);
        put_u32(k, "attention.key_length_mla", l->k_width);
        put_u32(k, "attention.value_length_mla", l->v_width);
        return;
    }
    if (fh_meta_u64(&k->j->meta, FH_META_N_HEAD_KV, &dim)) put_layers(k, "attention.head_count_kv", v + n, n);
    if (fh_meta_u64(&k->j->meta, FH_META_K_WIDTH, &dim) || last->k_width != s->n_embd / last->n_head) {
        put_u32(k, "attention.key_length", last->k_width);
        put_u32(k, "attention.value_length", last->v_width);
    }
    float plain = (float)(1 / sqrt(last->k_width));
    if (last->score_scale != plain && s->topology != FH_TOPOLOGY_ENCODER_DECODER) {
        put_f32(k, "attention.scale", last->score_scale);
        for (uint32_t i = 0; i < n; i++)
            if (l[i].mixer == FH_MIXER_ATTENTION && l[i].score_scale != last->score_scale)
                refuse(k, "scores scaled by layer");
    }
}

static void put_windows(keys *k) {
    const fh_spec *s = k->j->spec;
    uint32_t window = 0;
    for (uint32_t i = 0; i < s->n_layer; i++) window = FH_MAX(window, s->layer[i].window);
    if (!window) return;
    put_u32(k, "attention.sliding_window", window);
    uint32_t *slide = fh_arena_alloc(&k->j->arena, s->n_layer, sizeof *slide);
    if (!slide) {
        if (k->s == FH_OK) k->s = fh_arena_fail(&k->j->arena, k->err);
        return;
    }
    /* which layers slide: stated where it is not what readers take for granted of this architecture */
    uint32_t period = 0;
    bool regular = true;
    for (uint32_t i = 0; i < s->n_layer; i++) {
        slide[i] = s->layer[i].window != 0;
        if (!slide[i] && !period) period = i + 1;
        if (slide[i] && s->layer[i].window != window) refuse(k, "windows of several sizes");
    }
    for (uint32_t i = 0; period && i < s->n_layer; i++) regular = regular && slide[i] == ((i + 1) % period != 0);
    uint32_t usual = s->n_rope > 1 ? 6 : 2;
    if (regular && (period == usual || (!period && s->n_layer < usual))) return;
    if (regular && period) put_u32(k, "attention.sliding_window_pattern", period);
    else put_layers(k, "attention.sliding_window_pattern", slide, s->n_layer);
}

static void put_experts(keys *k) {
    const fh_spec *s = k->j->spec;
    const fh_moe_spec *e = &s->moe;
    uint32_t lead = 0;
    if (!e->n_expert) return;
    put_u32(k, "expert_count", e->n_expert);
    put_u32(k, "expert_used_count", e->n_used);
    while (lead < s->n_layer && !s->layer[lead].moe) lead++;
    for (uint32_t i = lead; i < s->n_layer; i++)
        if (!s->layer[i].moe) refuse(k, "dense layers behind layers with experts");
    if (lead || s->layer[0].mixer == FH_MIXER_LATENT) put_u32(k, "leading_dense_block_count", lead);
    if (e->expert_ff && e->expert_ff != s->layer[0].ff) put_u32(k, "expert_feed_forward_length", e->expert_ff);
    else if (fh_meta_u32_or(&k->j->meta, FH_META_EXPERT_FF, 0) || s->act == FH_MAP_OAI_SWIGLU)
        put_u32(k, "expert_feed_forward_length", e->expert_ff);
    if (e->shared_ff) put_u32(k, "expert_shared_feed_forward_length", e->shared_ff);
    if (e->n_shared) put_u32(k, "expert_shared_count", e->n_shared);
    uint64_t groups;
    if (fh_meta_u64(&k->j->meta, FH_META_N_GROUP, &groups)) {
        put_u32(k, "expert_group_count", e->n_group);
        put_u32(k, "expert_group_used_count", e->n_group_used);
    }
    if (s->layer[0].mixer == FH_MIXER_LATENT) put_u32(k, "expert_gating_func", e->gate == FH_GATE_SIGMOID ? 2 : 1);
    if (e->scale != 1 || s->layer[0].mixer == FH_MIXER_LATENT) put_f32(k, "expert_weights_scale", e->scale);
    /* what is not said is no to readers of latent attention, and yes to the others */
    if (e->renorm == (s->layer[0].mixer == FH_MIXER_LATENT)) put_bool(k, "expert_weights_norm", e->renorm);
}

static void put_memory(keys *k) {
    const fh_delta_spec *d = &k->j->spec->delta;
    uint32_t period = 0;
    if (!d->taps) return;
    put_u32(k, "ssm.conv_kernel", d->taps);
    put_u32(k, "ssm.state_size", d->k_width);
    put_u32(k, "ssm.group_count", d->k_heads);
    put_u32(k, "ssm.time_step_rank", d->v_heads);
    put_u32(k, "ssm.inner_size", d->v_width * d->v_heads);
    for (uint32_t i = 0; i < k->j->spec->n_layer; i++) {
        bool full = k->j->spec->layer[i].mixer == FH_MIXER_ATTENTION;
        if (full && !period) period = i + 1;
        if (full != (period && (i + 1) % period == 0)) refuse(k, "layers with attention at irregular places");
    }
    put_u32(k, "full_attention_interval", period);
    const fh_hf_ropes *r = fh_hf_config_ropes(k->j->meta.hf);
    if (!r->n || !r->item[0].n_section) return;
    uint32_t section[4] = {0};
    for (uint32_t i = 0; i < FH_MIN(r->item[0].n_section, 4u); i++) section[i] = r->item[0].section[i];
    char t[128];
    fh_gguf_kv kv = {.type = FH_GGUF_ARRAY, .elem = FH_GGUF_I32, .n = 4};
    kv.key = fh_str_of(key(k, "rope.dimension_sections", t));
    kv.payload = (fh_bytes){(const uint8_t *)section, sizeof section};
    if (k->s == FH_OK) k->s = fh_gguf_build_add_kv(k->b, &kv, k->err);
}

static void put_encoder(keys *k) {
    const fh_spec *s = k->j->spec;
    if (s->topology == FH_TOPOLOGY_ENCODER_DECODER) {
        put_u32(k, "decoder_block_count", s->n_layer);
        put_u32(k, "attention.relative_buckets_count", s->rel_buckets);
        if (s->rel_distance != 128) put_u32(k, "attention.relative_buckets_max_distance", s->rel_distance);
        put_u32(k, "decoder_start_token_id", s->decoder_start);
    }
    if (s->topology == FH_TOPOLOGY_ENCODER && s->norm == FH_NORM_LAYER) put_bool(k, "attention.causal", false);
}

/* A decoder whose class has no head is there for its hidden rows: GGUF says so by how they are pooled. */
static bool is_headless(const fh_convert_job *j) {
    static const char *const heads[] = {"ForCausalLM", "ForConditionalGeneration", "LMHeadModel"};
    size_t n = fh_hf_config_n_architecture(j->meta.hf);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < FH_COUNT(heads); k++)
            if (fh_str_ends(fh_hf_config_architecture(j->meta.hf, i), heads[k])) return false;
    return n > 0 && j->spec->topology == FH_TOPOLOGY_DECODER;
}

/* Sentence encoders say in a file of their own how rows become one vector. */
static void put_pooling(keys *k) {
    static const struct {
        const char *flag;
        fh_pooling pooling;
    } kinds[] = {{"pooling_mode_mean_tokens", FH_POOLING_MEAN},
                 {"pooling_mode_cls_token", FH_POOLING_CLS},
                 {"pooling_mode_lasttoken", FH_POOLING_LAST}};
    fh_pooling found = is_headless(k->j) ? k->j->spec->pooling : FH_POOLING_NONE;
    fh_buf text;
    fh_json *doc = NULL;
    if (fh_bundle_read_side(fh_model_bundle(k->j->m), "1_Pooling/config.json", (size_t)1 << 20, &text, NULL) == FH_OK) {
        if (fh_json_parse(&doc, fh_buf_str(&text), NULL, NULL) == FH_OK)
            for (size_t i = 0; i < FH_COUNT(kinds); i++) {
                bool on = false;
                if (fh_json_to_bool(fh_json_get(fh_json_root(doc), kinds[i].flag), &on) && on) found = kinds[i].pooling;
            }
        fh_json_free(doc);
        fh_buf_release(&text);
    }
    if (found != FH_POOLING_NONE) put_u32(k, "pooling_type", (uint32_t)found); /* the enum counts as the key does */
}

static void put_sizes(keys *k) {
    const fh_spec *s = k->j->spec;
    uint64_t ff = 0, context = s->n_context;
    put_u32(k, "block_count", s->n_encoder_layer ? s->n_encoder_layer : s->n_layer);
    put_u32(k, "context_length", context);
    put_u32(k, "embedding_length", s->n_embd);
    if (fh_meta_u64(&k->j->meta, FH_META_N_FF, &ff)) put_u32(k, "feed_forward_length", ff);
    if (s->norm == FH_NORM_LAYER || s->topology == FH_TOPOLOGY_ENCODER_DECODER)
        put_f32(k, "attention.layer_norm_epsilon", (double)s->norm_eps);
    if (s->norm != FH_NORM_LAYER) put_f32(k, "attention.layer_norm_rms_epsilon", (double)s->norm_eps);
    if (s->score_softcap > 0) put_f32(k, "attn_logit_softcapping", (double)s->score_softcap);
    if (s->final_softcap > 0) put_f32(k, "final_logit_softcapping", (double)s->final_softcap);
    if (turns_pairs(s)) put_u32(k, "vocab_size", s->n_vocab);
}

static uint32_t file_type(const fh_convert_job *j) {
    bool mxfp4 = false, nvfp4 = false;
    for (uint32_t i = 0; i < j->n_tensor; i++) {
        mxfp4 |= j->tensor[i].block == FH_DTYPE_MXFP4 && j->tensor[i].matrix[0] != FH_CONVERT_NO_ID;
        nvfp4 |= j->tensor[i].block == FH_DTYPE_NVFP4;
    }
    if (mxfp4) return 38;
    if (nvfp4) return 39;
    fh_dtype t = j->opt->type == FH_CONVERT_F32    ? FH_DTYPE_F32
                 : j->opt->type == FH_CONVERT_F16  ? FH_DTYPE_F16
                 : j->opt->type == FH_CONVERT_BF16 ? FH_DTYPE_BF16
                                                   : j->main_type;
    return t == FH_DTYPE_F32 ? 0 : t == FH_DTYPE_F16 ? 1 : 32;
}

static fh_str folder_name(const fh_convert_job *j) {
    fh_str s = fh_str_of(fh_bundle_folder(fh_model_bundle(j->m)));
    while (s.len > 1 && s.ptr[s.len - 1] == '/') s.len--;
    s = fh_path_base(s);
    return s.len ? s : FH_STR("model");
}

fh_status fh_convert_put_keys(fh_convert_job *j, fh_gguf_build *b, fh_err *err) {
    keys k = {.j = j, .b = b, .err = err};
    k.s = fh_gguf_build_add_str(b, "general.architecture", fh_str_of(j->row->gguf), err);
    if (k.s == FH_OK) k.s = fh_gguf_build_add_str(b, "general.type", FH_STR("model"), err);
    if (k.s == FH_OK) k.s = fh_gguf_build_add_str(b, "general.name", folder_name(j), err);
    put_sizes(&k);
    put_heads(&k);
    put_rope(&k);
    put_windows(&k);
    put_experts(&k);
    put_memory(&k);
    put_encoder(&k);
    put_pooling(&k);
    if (k.s == FH_OK) k.s = fh_gguf_build_add_u32(b, "general.file_type", file_type(j), err);
    if (k.s == FH_OK) k.s = fh_gguf_build_add_u32(b, "general.quantization_version", 2, err);
    return k.s;
}

/* Llama 3's scaling has no keys: GGUF keeps what each pair's frequency is divided by. */
fh_status fh_convert_rope_list(fh_convert_job *j, fh_err *err) {
    const fh_rope_spec *r = &j->spec->rope[0];
    if (!j->spec->n_rope || r->scaling != FH_ROPE_LLAMA3) return FH_OK;
    uint32_t n = r->n_rot / 2;
    float *v = fh_arena_alloc(&j->arena, n, sizeof *v);
    if (!v) return fh_arena_fail(&j->arena, err);
    for (uint32_t i = 0; i < n; i++) v[i] = fh_rope_divisor(r, i);
    return fh_convert_add_list(j, "rope_freqs.weight", v, n, err);
}
