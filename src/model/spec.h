/* model/spec.h - what a model is, whatever file said it: numbers for the whole and for each layer. Plain data.
 * SPDX-License-Identifier: Apache-2.0
 * Read by model/spec_read.c from GGUF keys or config.json through one table (meta.def), completed by the family's
 * hook, used by the blocks. A knob is here only where two families need it, or where a file may set it. */
#ifndef FH_MODEL_SPEC_H
#define FH_MODEL_SPEC_H

#include "format/hf_rope.h"
#include "graph/plan.h"

typedef struct fh_family fh_family;

typedef enum fh_topology { FH_TOPOLOGY_DECODER, FH_TOPOLOGY_ENCODER, FH_TOPOLOGY_ENCODER_DECODER } fh_topology;
typedef enum fh_mixer { FH_MIXER_ATTENTION, FH_MIXER_LATENT, FH_MIXER_DELTA } fh_mixer;
typedef enum fh_pooling {
    FH_POOLING_NONE,
    FH_POOLING_MEAN,
    FH_POOLING_CLS,
    FH_POOLING_LAST,
    FH_POOLING_RANK
} fh_pooling;

#define FH_SPEC_ROPES 4

typedef struct fh_layer {
    fh_mixer mixer;
    uint32_t n_head, n_kv_head; /* ATTENTION, LATENT */
    uint32_t k_width, v_width;  /* of one head; LATENT: unrotated and rotated part together */
    uint32_t rope;              /* in spec.rope, or FH_NO_ID: no rotation */
    fh_mask_kind mask;
    uint32_t window;
    float score_scale;
    bool moe;
    uint32_t ff; /* of the dense feed-forward */
} fh_layer;

/* One kind of rotation; rope.c turns it into angles. */
typedef struct fh_rope_spec {
    double theta;
    uint32_t n_rot;       /* columns of a head that turn */
    fh_rope_type scaling; /* format/hf_rope.h */
    double factor, low_freq, high_freq, beta_fast, beta_slow, mscale, mscale_all_dim, attention_factor;
    bool truncate;
    uint32_t original, context;
    const float *divide;                     /* [n_rot / 2] rope_freqs of a GGUF, or NULL */
    const float *short_divide, *long_divide; /* longrope */
} fh_rope_spec;

typedef struct fh_moe_spec {
    uint32_t n_expert, n_used, n_shared, expert_ff, shared_ff;
    fh_gate_kind gate;
    fh_group_rule group_rule;
    uint32_t n_group, n_group_used;
    bool renorm;
    float scale;
} fh_moe_spec;

typedef struct fh_delta_spec {
    uint32_t k_heads, v_heads, k_width, v_width, taps;
    fh_head_map map;
} fh_delta_spec;

typedef struct fh_spec {
    const fh_family *family;
    fh_str arch; /* as the file calls it */
    bool gguf;   /* which of the two names, layouts and conventions */
    fh_topology topology;
    uint32_t n_layer, n_embd, n_vocab, n_context;
    const fh_layer *layer; /* [n_layer] of the decoder, or of the only stack */
    uint32_t n_encoder_layer;
    const fh_layer *encoder; /* [n_encoder_layer] */
    fh_norm_kind norm;
    float norm_eps;
    bool norm_plus_one; /* stored norms are w - 1 (safetensors only) */
    fh_map_kind act;
    bool glu;
    float act_limit; /* clamp of gate and up; 0: none */
    fh_rope_layout rope_layout;
    fh_rope_spec rope[FH_SPEC_ROPES];
    uint32_t n_rope;
    float embed_scale, logit_scale, final_softcap, score_softcap; /* scales 1, caps 0: none */
    fh_moe_spec moe;
    uint32_t q_rank, kv_rank, rope_width; /* LATENT; q_rank 0: q without low rank */
    bool q_gate_packed;                   /* each head of q is followed by its output gate */
    fh_delta_spec delta;
    uint32_t rel_buckets, rel_distance;
    uint32_t position_offset; /* of a learned position table */
    fh_pooling pooling;
    bool pool_normalize;
    bool tied;              /* the head is the table of tokens, whatever else the file holds */
    uint32_t decoder_start; /* ENCODER_DECODER: the token that starts an answer */
} fh_spec;

#endif
