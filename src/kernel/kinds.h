/* kernel/kinds.h - the choices that arithmetic has: what graph/plan.h describes and kernels carry out.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_KERNEL_KINDS_H
#define FH_KERNEL_KINDS_H

/* SPLIT: columns 2i and 2i + 1 turn, and go to i and i + pairs. A file whose rows were interleaved when it was
 * converted then gives the same queries and keys, bit for bit, as its source does with HALVES. */
typedef enum fh_rope_layout { FH_ROPE_PAIRS, FH_ROPE_HALVES, FH_ROPE_SPLIT } fh_rope_layout;

typedef enum fh_norm_kind { FH_NORM_RMS, FH_NORM_LAYER, FH_NORM_L2 } fh_norm_kind;

typedef enum fh_map_kind {
    FH_MAP_NONE,
    FH_MAP_SILU,
    FH_MAP_GELU_TANH,
    FH_MAP_GELU_ERF,
    FH_MAP_RELU,
    FH_MAP_SIGMOID,
    FH_MAP_TANH,
    FH_MAP_SOFTPLUS,
    FH_MAP_SCALE,      /* c x */
    FH_MAP_SOFTCAP,    /* c tanh(x / c) */
    FH_MAP_CLAMP,      /* to [-c, c] */
    FH_MAP_OAI_SWIGLU, /* GLU only: g = min(g, c), u = clamp(u, c); g sigmoid(1.702 g) (u + 1) */
    FH_MAP_COUNT
} fh_map_kind;

typedef enum fh_mask_kind {
    FH_MASK_CAUSAL,
    FH_MASK_SLIDING,   /* causal, and q - k < window */
    FH_MASK_SYMMETRIC, /* |q - k| <= window / 2 */
    FH_MASK_CHUNKED,   /* causal, and k >= floor(q / window) * window */
    FH_MASK_NONE       /* every row the sequence has */
} fh_mask_kind;

typedef enum fh_gate_kind {
    FH_GATE_SOFTMAX,      /* softmax over all, then choose */
    FH_GATE_SOFTMAX_TOPK, /* choose by logits, softmax over the chosen */
    FH_GATE_SIGMOID       /* sigmoid each, then choose */
} fh_gate_kind;

typedef enum fh_group_rule { FH_GROUP_NONE, FH_GROUP_MAX, FH_GROUP_TOP2 } fh_group_rule;

typedef enum fh_head_map { FH_HEADS_GROUPED, FH_HEADS_TILED } fh_head_map; /* key head of h: h / ratio, or h % keys */

#endif
