/* forge/convert_hf.c - config.json for a model that came as a GGUF.
 * SPDX-License-Identifier: Apache-2.0
 * Every number is what the spec says; names and shapes of objects are those that transformers reads. Refuses settings
 * that the class has no field for. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json_member.h"
#include "forge/convert_part.h"
#include "model/rope.h"

/* The number as a person would have written it: the shortest that is the same in f32. */
static double short_f32(double v) {
    char text[40];
    for (int digits = 1; digits < 10; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if ((float)strtod(text, NULL) == (float)v) return strtod(text, NULL);
    }
    return v;
}

/* A whole number keeps its point: readers tell numbers of the two kinds apart. */
static void put_f64(fh_json_writer *w, const char *key, double v) {
    char text[40];
    fh_json_put_key(w, key);
    snprintf(text, sizeof text, "%.1f", v);
    fh_json_node whole = {.text = fh_str_of(text), .span = 1, .kind = FH_JSON_NUMBER};
    if (v == floor(v) && fabs(v) < 1e15) fh_json_put_tree(w, &whole);
    else fh_json_put_f64(w, v);
}

const char *fh_convert_dtype_word(fh_dtype t) {
    return t == FH_DTYPE_F32 ? "float32" : t == FH_DTYPE_F16 ? "float16" : "bfloat16";
}

static const char *act_word(fh_map_kind k) {
    switch (k) {
    case FH_MAP_GELU_TANH: return "gelu_pytorch_tanh";
    case FH_MAP_GELU_ERF: return "gelu";
    case FH_MAP_RELU: return "relu";
    default: return "silu";
    }
}

/* ---- rotation ---- */

/* Do these settings give the file's divisors again, to a few units of the last place? */
static bool is_llama3(const fh_rope_spec *r, const fh_rope_spec *try, bool *exact) {
    *exact = true;
    for (uint32_t i = 0; i < r->n_rot / 2; i++) {
        float d = fh_rope_divisor(try, i);
        if (!(fabsf(d - r->divide[i]) <= 1e-6f * d)) return false;
        *exact = *exact && d == r->divide[i];
    }
    return true;
}

/* Llama 3's settings from divisors: the published bounds, the factor as the largest divisor, and the original length
 * from a pair that is blended, or a power of two. */
static bool find_llama3(const fh_rope_spec *r, fh_rope_spec *out, bool *exact) {
    float most = 1;
    for (uint32_t i = 0; i < r->n_rot / 2; i++) most = fmaxf(most, r->divide[i]);
    fh_rope_spec t = {.theta = r->theta, .n_rot = r->n_rot, .scaling = FH_ROPE_LLAMA3, .factor = (double)most};
    t.low_freq = 1;
    t.high_freq = 4;
    for (uint32_t i = 0; i < r->n_rot / 2; i++) {
        double d = (double)r->divide[i], f = pow(r->theta, -2.0 * i / r->n_rot);
        if (d == 1 || d == t.factor) continue;
        double keep = (1 / d - 1 / t.factor) / (1 - 1 / t.factor);
        t.original = (uint32_t)lround((keep * 3 + 1) * 6.283185307179586 / f);
        *out = t;
        if (is_llama3(r, &t, exact)) return true;
    }
    for (uint32_t k = 0; k < 24; k++) {
        t.original = 1u << k;
        if (!is_llama3(r, &t, exact)) continue;
        *out = t;
        return true;
    }
    return false;
}

static void put_list(fh_json_writer *w, const char *key, const float *v, uint32_t n) {
    fh_json_put_key(w, key);
    fh_json_put_array(w);
    for (uint32_t i = 0; i < n; i++) fh_json_put_f64(w, (double)v[i]);
    fh_json_put_end(w);
}

static void put_scaling(fh_json_writer *w, const fh_convert_job *j, const fh_rope_spec *r) {
    fh_rope_spec found;
    bool exact = true, llama3 = r->divide && find_llama3(r, &found, &exact);
    fh_put_z(w, "rope_type",
             llama3                         ? "llama3"
             : r->divide                    ? "longrope"
             : r->scaling == FH_ROPE_LINEAR ? "linear"
             : r->scaling == FH_ROPE_YARN   ? "yarn"
                                            : "default");
    if (llama3) {
        put_f64(w, "factor", found.factor);
        put_f64(w, "low_freq_factor", found.low_freq);
        put_f64(w, "high_freq_factor", found.high_freq);
        fh_put_u64(w, "original_max_position_embeddings", found.original);
        if (!exact) put_list(w, "short_factor", r->divide, r->n_rot / 2); /* for readers who want the same bits */
    } else if (r->divide) { /* no formula: the divisors themselves, for short and long alike */
        put_list(w, "short_factor", r->divide, r->n_rot / 2);
        put_list(w, "long_factor", r->divide, r->n_rot / 2);
        put_f64(w, "attention_factor", 1);
        fh_put_u64(w, "original_max_position_embeddings", j->spec->n_context);
    } else if (r->scaling == FH_ROPE_LINEAR) {
        put_f64(w, "factor", short_f32(r->factor));
    } else if (r->scaling == FH_ROPE_YARN) {
        put_f64(w, "factor", short_f32(r->factor));
        fh_put_u64(w, "original_max_position_embeddings", r->original);
        put_f64(w, "beta_fast", r->beta_fast);
        put_f64(w, "beta_slow", r->beta_slow);
        if (r->mscale_all_dim > 0) {
            put_f64(w, "mscale", short_f32(r->mscale));
            put_f64(w, "mscale_all_dim", short_f32(r->mscale_all_dim));
        }
        if (r->attention_factor > 0) put_f64(w, "attention_factor", short_f32(r->attention_factor));
        if (!r->truncate) fh_put_bool(w, "truncate", false);
    }
}

static void put_rope(fh_json_writer *w, const fh_convert_job *j) {
    const fh_spec *s = j->spec;
    const fh_rope_spec *r = &s->rope[0];
    const fh_layer *last = &s->layer[s->n_layer - 1];
    uint32_t head = s->rope_width ? s->rope_width : last->k_width;
    if (!s->n_rope || last->rope == FH_NO_ID) return;
    put_f64(w, "rope_theta", short_f32(r->theta));
    if (s->n_rope > 1) put_f64(w, "rope_local_base_freq", short_f32(s->rope[1].theta));
    bool partial = r->n_rot != head, scaled = r->divide || r->scaling != FH_ROPE_DEFAULT;
    const fh_gguf_kv *sections = NULL;
    if (s->delta.taps) {
        char key[128];
        snprintf(key, sizeof key, "%s.rope.dimension_sections", j->row->gguf);
        sections = fh_gguf_find(j->meta.gguf, key);
    }
    if (!partial && !scaled && !sections) return;
    fh_json_put_key(w, partial || sections ? "rope_parameters" : "rope_scaling");
    fh_json_put_object(w);
    put_scaling(w, j, r);
    if (partial || sections) put_f64(w, "rope_theta", short_f32(r->theta));
    if (partial) put_f64(w, "partial_rotary_factor", (double)r->n_rot / head);
    if (sections) {
        uint64_t v;
        fh_json_put_key(w, "mrope_section");
        fh_json_put_array(w);
        for (uint64_t i = 0; i < 3 && fh_gguf_elem_u64(sections, i, &v); i++) fh_json_put_u64(w, v);
        fh_json_put_end(w);
        fh_put_bool(w, "mrope_interleaved", true);
    }
    fh_json_put_end(w);
}

/* ---- groups ---- */

static fh_status put_heads(fh_json_writer *w, const fh_convert_job *j, fh_err *err) {
    const fh_spec *s = j->spec;
    const fh_layer *l = &s->layer[s->n_layer - 1];
    for (uint32_t i = 0; i < s->n_layer; i++)
        if (s->layer[i].n_head != l->n_head || s->layer[i].k_width != l->k_width)
            return fh_fail(err, FH_ERR_UNSUPPORTED, "config.json has no field for heads that differ by layer");
    fh_put_u64(w, "num_attention_heads", l->n_head);
    fh_put_u64(w, "num_key_value_heads", l->n_kv_head);
    if (l->mixer == FH_MIXER_LATENT) {
        fh_json_put_key(w, "q_lora_rank");
        if (s->q_rank) fh_json_put_u64(w, s->q_rank);
        else fh_json_put_null(w);
        fh_put_u64(w, "kv_lora_rank", s->kv_rank);
        fh_put_u64(w, "qk_nope_head_dim", l->k_width - s->rope_width);
        fh_put_u64(w, "qk_rope_head_dim", s->rope_width);
        fh_put_u64(w, "v_head_dim", l->v_width);
        return FH_OK;
    }
    if (s->norm != FH_NORM_LAYER) fh_put_u64(w, "head_dim", l->k_width);
    float plain = (float)(1 / sqrt(l->k_width));
    if (s->family->norm_plus_one && !s->delta.taps) { /* the class has its own default */
        double scalar = l->k_width;
        if (l->score_scale != plain) scalar = (double)s->n_embd / l->n_head;
        if ((float)(1 / sqrt(scalar)) != l->score_scale) scalar = 1 / ((double)l->score_scale * (double)l->score_scale);
        if ((float)(1 / sqrt(scalar)) != l->score_scale)
            return fh_fail(err, FH_ERR_UNSUPPORTED, "no query_pre_attn_scalar gives scores scaled by %g",
                           (double)l->score_scale);
        put_f64(w, "query_pre_attn_scalar", scalar);
    } else if (l->score_scale != plain && s->topology != FH_TOPOLOGY_ENCODER_DECODER) {
        return fh_fail(err, FH_ERR_UNSUPPORTED, "config.json has no field for scores scaled by %g",
                       (double)l->score_scale);
    }
    return FH_OK;
}

static void put_layer_types(fh_json_writer *w, const fh_spec *s) {
    uint32_t window = 0;
    for (uint32_t i = 0; i < s->n_layer; i++) window = FH_MAX(window, s->layer[i].window);
    if (window) fh_put_u64(w, "sliding_window", window);
    if (!window && !s->delta.taps) return;
    fh_json_put_key(w, "layer_types");
    fh_json_put_array(w);
    for (uint32_t i = 0; i < s->n_layer; i++)
        fh_json_put_z(w, s->layer[i].mixer == FH_MIXER_DELTA ? "linear_attention"
                         : s->layer[i].window                ? "sliding_attention"
                                                             : "full_attention");
    fh_json_put_end(w);
}

static void put_experts(fh_json_writer *w, const fh_convert_job *j) {
    const fh_spec *s = j->spec;
    const fh_moe_spec *e = &s->moe;
    uint32_t lead = 0;
    if (!e->n_expert) return;
    bool latent = s->kv_rank > 0;
    while (lead < s->n_layer && !s->layer[lead].moe) lead++;
    bool local = j->row->prefer[0] && !latent; /* two classes call them so */
    fh_put_u64(w, latent ? "n_routed_experts" : local ? "num_local_experts" : "num_experts", e->n_expert);
    fh_put_u64(w, "num_experts_per_tok", e->n_used);
    if (!local) fh_put_u64(w, "moe_intermediate_size", e->expert_ff);
    if (e->shared_ff) fh_put_u64(w, "shared_expert_intermediate_size", e->shared_ff);
    if (!local) fh_put_bool(w, "norm_topk_prob", e->renorm);
    if (!latent) return;
    fh_put_u64(w, "n_shared_experts", e->n_shared);
    fh_put_u64(w, "first_k_dense_replace", lead);
    put_f64(w, "routed_scaling_factor", short_f32((double)e->scale));
    bool sigmoid = e->gate == FH_GATE_SIGMOID;
    fh_put_z(w, "scoring_func", sigmoid ? "sigmoid" : "softmax");
    fh_put_z(w, "topk_method",
             sigmoid                          ? "noaux_tc"
             : e->group_rule == FH_GROUP_NONE ? "greedy"
                                              : "group_limited_greedy");
    fh_put_u64(w, "n_group", e->n_group);
    fh_put_u64(w, "topk_group", e->n_group_used);
}

static void put_memory(fh_json_writer *w, const fh_delta_spec *d) {
    if (!d->taps) return;
    fh_put_u64(w, "linear_conv_kernel_dim", d->taps);
    fh_put_u64(w, "linear_key_head_dim", d->k_width);
    fh_put_u64(w, "linear_value_head_dim", d->v_width);
    fh_put_u64(w, "linear_num_key_heads", d->k_heads);
    fh_put_u64(w, "linear_num_value_heads", d->v_heads);
}

static void put_seq2seq(fh_json_writer *w, const fh_spec *s) {
    fh_put_u64(w, "d_model", s->n_embd);
    fh_put_u64(w, "d_kv", s->layer[0].k_width);
    fh_put_u64(w, "d_ff", s->layer[0].ff);
    fh_put_u64(w, "num_layers", s->n_encoder_layer);
    fh_put_u64(w, "num_decoder_layers", s->n_layer);
    fh_put_u64(w, "num_heads", s->layer[0].n_head);
    fh_put_u64(w, "relative_attention_num_buckets", s->rel_buckets);
    fh_put_u64(w, "relative_attention_max_distance", s->rel_distance);
    fh_put_z(w, "feed_forward_proj", s->glu ? "gated-gelu" : "relu");
    put_f64(w, "layer_norm_epsilon", short_f32((double)s->norm_eps));
    fh_put_u64(w, "n_positions", s->n_context);
    fh_put_u64(w, "decoder_start_token_id", s->decoder_start);
    fh_put_bool(w, "is_encoder_decoder", true);
}

static bool has_slot(const fh_convert_job *j, fh_slot slot) {
    for (uint32_t i = 0; i < j->tables->n_matrix; i++)
        if (j->bind.matrix_of[i].slot == slot) return true;
    return false;
}
static bool has_vector(const fh_convert_job *j, fh_slot slot) {
    for (uint32_t i = 0; i < j->tables->n_vector; i++)
        if (j->bind.vector_of[i].slot == slot) return true;
    return false;
}

static fh_status put_stack(fh_json_writer *w, const fh_convert_job *j, fh_err *err) {
    const fh_spec *s = j->spec;
    bool roberta = fh_str_ends(fh_str_of(j->row->hf), "roberta");
    uint64_t ff = s->layer[0].ff;
    fh_meta_u64(&j->meta, FH_META_N_FF, &ff);
    fh_put_u64(w, "hidden_size", s->n_embd);
    fh_put_u64(w, "intermediate_size", ff);
    fh_put_u64(w, "num_hidden_layers", s->n_layer);
    FH_TRY(put_heads(w, j, err));
    fh_put_z(w, "hidden_act", act_word(s->act));
    if (s->act == FH_MAP_GELU_TANH && s->norm != FH_NORM_LAYER) fh_put_z(w, "hidden_activation", act_word(s->act));
    fh_put_u64(w, "max_position_embeddings", s->n_context + (roberta ? 2u : 0u));
    put_f64(w, s->norm == FH_NORM_LAYER ? "layer_norm_eps" : "rms_norm_eps", short_f32((double)s->norm_eps));
    put_rope(w, j);
    put_layer_types(w, s);
    put_experts(w, j);
    put_memory(w, &s->delta);
    if (s->act_limit > 0) put_f64(w, "swiglu_limit", (double)s->act_limit);
    if (s->score_softcap > 0) put_f64(w, "attn_logit_softcapping", (double)s->score_softcap);
    if (s->final_softcap > 0) put_f64(w, "final_logit_softcapping", (double)s->final_softcap);
    if (s->topology == FH_TOPOLOGY_ENCODER && s->norm != FH_NORM_LAYER)
        fh_put_bool(w, "use_bidirectional_attention", true);
    if (s->norm != FH_NORM_LAYER) fh_put_bool(w, "attention_bias", has_vector(j, FH_SLOT_ATTN_Q_BIAS));
    for (uint32_t i = 0; i < j->tables->n_matrix; i++)
        if (j->bind.matrix_of[i].slot == FH_SLOT_TOKEN_TYPES) {
            fh_put_u64(w, "type_vocab_size", j->tables->matrix[i].out);
            break;
        }
    if (has_slot(j, FH_SLOT_SCORE_OUT)) fh_put_u64(w, "num_labels", 1);
    return FH_OK;
}

static void put_token(fh_json_writer *w, const fh_convert_job *j, const char *key, const char *gguf,
                      uint64_t otherwise) {
    uint64_t id;
    fh_json_put_key(w, key);
    if (fh_gguf_to_u64(fh_gguf_find(j->meta.gguf, gguf), &id) || (id = otherwise) != UINT64_MAX) fh_json_put_u64(w, id);
    else fh_json_put_null(w);
}

/* A decoder whose GGUF says how to pool is there for its hidden rows: the class without a head. */
static const char *class_name(const fh_convert_job *j, char out[128]) {
    static const char head[] = "ForCausalLM";
    uint64_t pooling = 0;
    fh_str cls = fh_str_of(j->row->cls);
    bool embeds = fh_meta_u64(&j->meta, FH_META_POOLING, &pooling) && pooling > 0 && fh_str_ends(cls, head);
    if (!embeds) return j->row->cls;
    snprintf(out, 128, "%.*sModel", (int)(cls.len - (sizeof head - 1)), cls.ptr);
    return out;
}

fh_status fh_convert_put_config(fh_convert_job *j, fh_json_writer *w, fh_err *err) {
    const fh_spec *s = j->spec;
    bool roberta = fh_str_ends(fh_str_of(j->row->hf), "roberta");
    char cls[128];
    fh_json_put_object(w);
    fh_put_z(w, "model_type", j->row->hf);
    fh_json_put_key(w, "architectures");
    fh_json_put_array(w);
    fh_json_put_z(w, class_name(j, cls));
    fh_json_put_end(w);
    if (s->topology == FH_TOPOLOGY_ENCODER_DECODER) put_seq2seq(w, s);
    else FH_TRY(put_stack(w, j, err));
    bool two = s->topology == FH_TOPOLOGY_ENCODER_DECODER; /* there the word stands for scaled logits, too */
    fh_put_bool(w, "tie_word_embeddings", two ? s->logit_scale != 1 : !has_slot(j, FH_SLOT_HEAD));
    fh_put_u64(w, "vocab_size", s->n_vocab);
    put_token(w, j, "bos_token_id", "tokenizer.ggml.bos_token_id", UINT64_MAX);
    put_token(w, j, "eos_token_id", "tokenizer.ggml.eos_token_id", UINT64_MAX);
    put_token(w, j, "pad_token_id", "tokenizer.ggml.padding_token_id", roberta ? 1 : UINT64_MAX);
    fh_put_z(w, "torch_dtype", fh_convert_dtype_word(j->main_type));
    fh_json_put_end(w);
    return FH_OK;
}
