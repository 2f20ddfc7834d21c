/* format/hf_rope.h - rotary position settings of a config.json, both ways of writing them, as one
 * list.
 * SPDX-License-Identifier: Apache-2.0
 * The older way: rope_theta, rope_scaling, partial_rotary_factor, rope_local_base_freq ... beside
 * one another. The newer: rope_parameters, flat or one object per layer kind. Precedence is that of
 * the reference: rope_scaling before rope_parameters, what stands inside them before what stands
 * beside them (except original_max_position_embeddings of flat yarn, longrope and llama3 settings,
 * where the outer value wins).
 * What a family does on its own (its default theta, scaling on some layers only) is not known here:
 * `has` says what the file says. Lists are in the arena that was handed in; labels point into the
 * tree. */
#ifndef FH_FORMAT_HF_ROPE_H
#define FH_FORMAT_HF_ROPE_H

#include "format/hf_view.h"

#define FH_ROPE_MAX_ENTRIES 8
#define FH_ROPE_MAX_SECTIONS 4
#define FH_ROPE_MAX_FACTORS 4096

typedef enum fh_rope_scope {
    FH_ROPE_ALL,
    FH_ROPE_FULL,     /* full_attention, global */
    FH_ROPE_SLIDING,  /* sliding_attention, local, swa */
    FH_ROPE_COMPRESS, /* layers over compressed keys */
    FH_ROPE_MAIN,     /* the others beside FH_ROPE_COMPRESS */
    FH_ROPE_OTHER     /* another kind: see label */
} fh_rope_scope;

typedef enum fh_rope_type {
    FH_ROPE_NONE, /* rope_parameters has null for this kind: no rotation */
    FH_ROPE_DEFAULT,
    FH_ROPE_LINEAR,
    FH_ROPE_DYNAMIC,
    FH_ROPE_YARN,
    FH_ROPE_LONGROPE, /* also "su" */
    FH_ROPE_LLAMA3,
    FH_ROPE_PROPORTIONAL,
    FH_ROPE_UNKNOWN /* newer than this reader: fine for showing the model, whoever computes must refuse it */
} fh_rope_type;

/* Bits of fh_hf_rope.has: the file gives this value (and not null). */
enum {
    FH_ROPE_HAS_THETA = 1 << 0,
    FH_ROPE_HAS_FACTOR = 1 << 1,
    FH_ROPE_HAS_ORIGINAL = 1 << 2,
    FH_ROPE_HAS_BETA_FAST = 1 << 3,
    FH_ROPE_HAS_BETA_SLOW = 1 << 4,
    FH_ROPE_HAS_MSCALE = 1 << 5,
    FH_ROPE_HAS_MSCALE_ALL_DIM = 1 << 6,
    FH_ROPE_HAS_ATTENTION_FACTOR = 1 << 7,
    FH_ROPE_HAS_TRUNCATE = 1 << 8,
    FH_ROPE_HAS_LOW_FREQ = 1 << 9,
    FH_ROPE_HAS_HIGH_FREQ = 1 << 10,
    FH_ROPE_HAS_PARTIAL = 1 << 11,
    FH_ROPE_HAS_ROTARY_DIM = 1 << 12,
    FH_ROPE_HAS_SHORT_MSCALE = 1 << 13,
    FH_ROPE_HAS_LONG_MSCALE = 1 << 14,
    FH_ROPE_HAS_ALPHA = 1 << 15,
    FH_ROPE_HAS_TEMPERATURE_BETA = 1 << 16
};

/* In brackets: what stands here without the bit. */
typedef struct fh_hf_rope {
    fh_rope_scope scope;
    fh_str label; /* key in rope_parameters, or "" */
    fh_rope_type type;
    fh_str type_text; /* as the file names it, or "" */
    uint32_t has;
    double theta;                   /* [0: the family's] */
    double factor;                  /* [yarn, longrope: max_position / original; otherwise 1] */
    uint32_t original_max_position; /* [yarn, longrope, llama3: max_position_embeddings; otherwise 0] */
    double beta_fast, beta_slow;    /* [32, 1], as for the value 0 */
    double mscale, mscale_all_dim;  /* [0] */
    double attention_factor;        /* [0: derived from the others] */
    bool truncate;                  /* [true] */
    double low_freq_factor, high_freq_factor;
    double partial;      /* share of the head that rotates [1] */
    uint32_t rotary_dim; /* the same in elements [0] */
    double short_mscale, long_mscale, alpha;
    double temperature_beta;                  /* llama_4_scaling_beta */
    const double *short_factor, *long_factor; /* [n_short], [n_long] */
    uint32_t n_short, n_long;
    uint32_t section[FH_ROPE_MAX_SECTIONS], n_section; /* mrope */
    bool section_interleaved;
} fh_hf_rope;

typedef struct fh_hf_ropes {
    uint32_t n;
    fh_hf_rope item[FH_ROPE_MAX_ENTRIES]; /* scopes differ */
    /* Per-layer lists, where a config has such: theta 0 = no rotation in that layer. */
    const double *layer_theta, *layer_partial;
    uint32_t n_layer_theta, n_layer_partial;
} fh_hf_ropes;

/* n = 0 when the config says nothing about rotation. */
FH_MUST_USE fh_status fh_hf_ropes_read(fh_hf_ropes *out, const fh_hf_view *config, fh_arena *arena, fh_err *err);
/* The entry that serves a scope: that scope's own, else FH_ROPE_ALL's, else NULL. */
const fh_hf_rope *fh_hf_ropes_find(const fh_hf_ropes *r, fh_rope_scope scope);
const char *fh_rope_type_name(fh_rope_type t);

#endif
