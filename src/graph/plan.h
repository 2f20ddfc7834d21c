/* graph/plan.h - a plan: ops in order over named values. Description only; it runs nothing and knows no family.
 * SPDX-License-Identifier: Apache-2.0
 * Compiled once per model, for any number of tokens: a value has `per` rows for each unit of its dim, a symbol whose
 * size is known when a batch comes, and whose ceiling is known when an executor is made (fh_plan_layout prices
 * scratch at the ceilings). Values are f32 (or i32 where said), row-major [rows, width].
 *
 * An operand is a view: `heads` pieces of `width` columns, `stride` columns apart, from column `col` of its value.
 * So fused projections, packed gates, rotated tails and heads need no copies and no ops of their own.
 *
 * State is an operand: keys and values, latent rows, recurrent state, each declared with its kind and group. An op
 * has no hidden state. Ops name matrices and vectors by number in the model's tables.
 *
 * The plan is the canonical, unfused one: it is what is traced, priced and reversed. Owns its arrays (one arena). */
#ifndef FH_GRAPH_PLAN_H
#define FH_GRAPH_PLAN_H

#include "base/buf.h"
#include "base/mem.h"
#include "kernel/kinds.h"
#include "tensor/dtype.h"
#include "tensor/matrix.h"

typedef enum fh_op_kind {
#define FH_OP_ROW(id, name, in, out, parts) FH_OP_##id,
#include "graph/op.def"
#undef FH_OP_ROW
    FH_OP_COUNT
} fh_op_kind;

/* Symbols: sizes of a batch. */
typedef enum fh_dim {
    FH_DIM_ONE,    /* always 1 */
    FH_DIM_TOKENS, /* tokens in the batch */
    FH_DIM_ROWS,   /* tokens whose results were asked for */
    FH_DIM_COUNT
} fh_dim;

#define FH_NO_VALUE UINT32_MAX
#define FH_NO_ID UINT32_MAX /* of a matrix, vector, state, rope */

typedef struct fh_value {
    fh_str name; /* "layers.3.attn.q": what freehold trace calls it */
    fh_dim dim;
    uint32_t per;   /* rows per unit of dim */
    uint32_t width; /* columns */
    bool is_int;    /* i32 instead of f32 */
    bool keep;      /* exported: its memory is not given to later values */
    uint32_t first_op, last_op;
} fh_value;

typedef struct fh_view {
    uint32_t value; /* FH_NO_VALUE: absent */
    uint32_t col, heads, width, stride;
} fh_view;

/* ---- state ---- */
typedef enum fh_state_kind {
    FH_STATE_KV,       /* a row of keys and a row of values per token and head, in pages */
    FH_STATE_LATENT,   /* one row per token; values are the first v_width of it (MLA), in pages */
    FH_STATE_CROSS,    /* as KV, of the encoder's tokens: written by the encode plan, then only read */
    FH_STATE_RECURRENT /* f32 [size], per sequence; cannot be cut, only restored from a snapshot */
} fh_state_kind;

typedef struct fh_state {
    fh_str name; /* "layers.3.kv" */
    fh_state_kind kind;
    uint32_t layer;
    uint32_t group;                   /* paged states with the same window live in the same pages */
    uint32_t heads, k_width, v_width; /* LATENT: heads 1 */
    uint64_t size;                    /* RECURRENT: floats */
} fh_state;

/* Paged states by how long rows must be kept. */
typedef struct fh_state_group {
    fh_state_kind kind;
    uint32_t window; /* 0: all; else rows more than window behind the newest may go */
    bool of_encoder; /* rows are the encoder's tokens */
} fh_state_group;

/* ---- rotation ---- */
/* Angle of pair i at position p: p * freq[i]; cos and sin are multiplied with magnitude. Where long_freq is set it
 * holds for sequences that are longer than long_from, for all their positions. */
typedef struct fh_rope {
    fh_rope_layout layout;
    uint32_t n_rot;         /* columns that turn: 2 * pairs */
    const float *freq;      /* [n_rot / 2] */
    const float *long_freq; /* or NULL */
    uint32_t long_from;
    float magnitude, long_magnitude;
} fh_rope;

/* ---- parameters ---- */
typedef enum fh_embed_from { FH_EMBED_TOKEN, FH_EMBED_POSITION, FH_EMBED_ROW_0 } fh_embed_from;
/* out = (add ? out : 0) + scale * row(M, index + offset). */
typedef struct fh_embed_args {
    fh_embed_from from;
    uint32_t offset;
    float scale;
    bool add;
} fh_embed_args;

/* Over each head of the view: RMS x / sqrt(mean x^2 + eps); LAYER (x - mean) / sqrt(var + eps); L2 x / sqrt(sum x^2 +
 * eps). Then times vec[0], plus vec[1], where present: [width], or [heads * width] where per_head. */
typedef struct fh_norm_args {
    fh_norm_kind kind;
    float eps;
    bool per_head;
} fh_norm_args;

/* MAP: out = f(in), plus vec[0] [width] afterwards where present. GLU: out = f(in[0]) * in[1]; an in[0] of width 1
 * serves all columns of its head. limit > 0: in[0] is cut to at most limit, in[1] to [-limit, limit], before f. */
typedef struct fh_map_args {
    fh_map_kind kind;
    float c;
    float limit;
} fh_map_args;

/* out = in[0] + scale * in[1] */
typedef struct fh_add_args {
    float scale;
} fh_add_args;

/* In place (out is in) over a view whose width is n_rot. */
typedef struct fh_rope_args {
    uint32_t rope; /* in the plan's list */
    bool inverse;
} fh_rope_args;

/* out[h] = sum_k softmax_k(cap(scale * q[h].k) + bias) v[k]. vec[0]: sinks [heads], one more term of the denominator;
 * vec[1]: bias [buckets, heads] by distance (T5's buckets). Key head of head h: h / (heads / state heads). */
typedef struct fh_attend_args {
    fh_mask_kind mask;
    uint32_t window;
    float scale, softcap; /* softcap 0: none */
    uint32_t buckets, max_distance;
    bool bidirectional; /* of the buckets */
} fh_attend_args;

/* MATMUL: a sum in f32 depends on its order, and files deal the heads of in[0] out in different ways. In exact mode
 * sums run over head 0, turn, 2 turn, ..., then 1, turn + 1, ..., so that all of them give the same bits. 0: as they
 * lie. */
typedef struct fh_matmul_args {
    uint32_t turn;
} fh_matmul_args;

/* in: router logits [tokens, experts]; out[0]: chosen experts (i32) [tokens, k], best first; out[1]: weights. vec[0]:
 * added to the scores for the choice only. Losing groups cannot be chosen. */
typedef struct fh_route_args {
    fh_gate_kind gate;
    fh_group_rule group_rule;
    uint32_t n_expert, k, n_group, n_group_used;
    bool renorm;
    float scale;
} fh_route_args;
/* GROUP: in: chosen experts; out[0] (i32, ONE, width n_expert + 1): where each expert's list starts in out[1] (i32,
 * [tokens * k] of width 1): the numbers token * k + slot, by expert and ascending.
 * MATMUL_EXPERTS: in[0] [tokens] or [tokens * k] rows; in[1], in[2]: GROUP's two; out [tokens * k]: row i is the
 * product of its expert's matrix, plus its row of vec[0] [n_mat, out] where present.
 * COMBINE: in[0] [tokens * k], in[1] weights; out[token] = sum over slots of weight * row.
 * MATMUL: M x, plus vec[0] [out] where present. MATMUL_HEADS: head h of in times matrix h.
 * ROWS: out [rows]: the rows of in that were asked for. SILU's and others' formulas: kernel/ref_op.h.
 * STORE: in[0] keys, in[1] values (absent for LATENT) of every token into the state. */

/* CONV: causal, depthwise: vec[0] [channels, taps], oldest first; vec[1] bias or absent; then map. State: the last
 * taps - 1 inputs. DECAY: out = vec[0] * softplus(in + vec[1]).
 * DELTA: in q, k, v, log decay g (width 1 a head), beta (width 1 a head); per head S [k width, v width]:
 * S *= exp(g); d = beta (v - S^T k); S += k d^T; out = S^T q. q and k are normalized and q scaled before. */
typedef struct fh_conv_args {
    uint32_t taps;
    fh_map_kind map;
} fh_conv_args;
typedef struct fh_delta_args {
    fh_head_map map;
} fh_delta_args;

#define FH_OP_MAX_IN 5
#define FH_OP_MAX_OUT 2
#define FH_OP_MAX_VEC 2

typedef struct fh_op {
    fh_op_kind kind;
    int32_t layer; /* -1 outside layers */
    fh_view in[FH_OP_MAX_IN], out[FH_OP_MAX_OUT];
    uint32_t matrix, state, vec[FH_OP_MAX_VEC]; /* FH_NO_ID where absent */
    union {
        fh_embed_args embed;
        fh_matmul_args matmul;
        fh_norm_args norm;
        fh_map_args map;
        fh_add_args add;
        fh_rope_args rope;
        fh_attend_args attend;
        fh_route_args route;
        fh_conv_args conv;
        fh_delta_args delta;
    } u;
} fh_op;

/* A vector: small f32 numbers that were decoded when the model was bound (norms, biases, sinks, kernels). */
typedef struct fh_vector {
    fh_str name;
    const float *v;
    uint64_t n;
} fh_vector;

/* What a plan may export. */
typedef enum fh_export { FH_EXPORT_HIDDEN, FH_EXPORT_LOGITS, FH_EXPORT_SCORE, FH_EXPORT_COUNT } fh_export;

typedef struct fh_plan {
    fh_str name; /* "step", "encode" */
    const fh_value *value;
    const fh_op *op;
    uint32_t n_value, n_op;
    const fh_rope *rope;
    uint32_t n_rope;
    uint32_t exported[FH_EXPORT_COUNT]; /* value, or FH_NO_VALUE */
    /* Shared by the plans of one model; borrowed. */
    const fh_matrix *matrix;
    const fh_vector *vector;
    const fh_state *state;
    const fh_state_group *group;
    uint32_t n_matrix, n_vector, n_state, n_group;
    bool whole_sequences; /* a sequence must come in one batch: some mask looks ahead */
} fh_plan;

/* ---- building (graph/plan_build.c) ---- */
/* Collects one plan; failure is sticky and told by fh_plan_end. Values that nothing reads are allowed. */
typedef struct fh_plan_builder fh_plan_builder;
FH_MUST_USE fh_status fh_plan_begin(fh_plan_builder **out, fh_arena *arena, fh_str name, fh_err *err);
void fh_plan_drop(fh_plan_builder *b); /* NULL is fine */
/* Returns the whole value as a view (heads 1). name is printf-like: "layers.%u.attn.q". */
fh_view fh_plan_value(fh_plan_builder *b, fh_dim dim, uint32_t per, uint32_t width, const char *name, ...)
    __attribute__((format(printf, 5, 6)));
fh_view fh_plan_int_value(fh_plan_builder *b, fh_dim dim, uint32_t per, uint32_t width, const char *name, ...)
    __attribute__((format(printf, 5, 6)));
uint32_t fh_plan_add_rope(fh_plan_builder *b, const fh_rope *rope); /* borrowed freqs; equal ones share a number */
/* An op with absent operands, to be filled in; NULL after a failure. Valid until the next fh_plan_add_op. */
fh_op *fh_plan_add_op(fh_plan_builder *b, fh_op_kind kind, int32_t layer);
void fh_plan_export(fh_plan_builder *b, fh_export what, fh_view v);
/* Checks everything (fh_plan_check) and hands out the plan, which lives in the arena. The tables are borrowed; the
 * builder is still the caller's to drop. */
FH_MUST_USE fh_status fh_plan_end(fh_plan_builder *b, const fh_plan *tables, fh_plan *out, fh_err *err);

/* A piece of a view: columns [col, col + width) of every head; or `heads` heads of `width`, `stride` apart, of a view
 * that has one head. */
fh_view fh_view_cols(fh_view v, uint32_t col, uint32_t width);
fh_view fh_view_heads(fh_view v, uint32_t heads, uint32_t width, uint32_t stride);

/* No gaps between its heads; and a view of the same numbers with that many heads of that width, where there is one
 * (the same shape, or a view without gaps). Ops whose operands differ only so are fine: [1 x 64] is [4 x 16]. */
bool fh_view_is_dense(fh_view v);
static inline bool fh_view_same(const fh_view *a, const fh_view *b) {
    return a->value == b->value && a->col == b->col && a->heads == b->heads && a->width == b->width &&
           a->stride == b->stride;
}
FH_MUST_USE bool fh_view_reshape(fh_view *v, uint32_t heads, uint32_t width);

/* Every operand inside its value, shapes as the op demands, matrices and vectors of the right extents. */
FH_MUST_USE fh_status fh_plan_check(const fh_plan *p, fh_err *err);

/* ---- sizes and prices ---- */
typedef struct fh_extent {
    uint64_t size[FH_DIM_COUNT]; /* [ONE] = 1 */
} fh_extent;
/* Offset of every value in one scratch block, and the block's bytes (64-byte aligned pieces; memory is reused when a
 * value is not needed any more). offset: [n_value]. all: nothing is reused, for tracing. */
FH_MUST_USE fh_status fh_plan_layout(const fh_plan *p, const fh_extent *ceiling, bool all, uint64_t *offset,
                                     uint64_t *bytes, fh_err *err);
uint64_t fh_value_rows(const fh_value *v, const fh_extent *e);

typedef struct fh_op_cost {
    uint64_t weight_bytes, state_bytes, value_bytes; /* read or written once each */
    uint64_t flops;                                  /* multiplications and additions */
} fh_op_cost;
/* For a batch of that extent whose tokens each see `keys` earlier rows. */
fh_op_cost fh_plan_cost(const fh_plan *p, uint32_t op, const fh_extent *e, uint64_t keys);

const char *fh_op_name(fh_op_kind k);
/* Rows times a matrix, or times one of several. */
static inline bool fh_op_is_product(fh_op_kind k) {
    return k == FH_OP_MATMUL || k == FH_OP_MATMUL_HEADS || k == FH_OP_MATMUL_EXPERTS;
}
const char *fh_map_name(fh_map_kind k);
const char *fh_state_kind_name(fh_state_kind k);
const char *fh_mask_name(fh_mask_kind k);
/* One line: "attend layers.3.attn.out = layers.3.attn.q [4 x 16], layers.3.kv, causal, scale 0.25". */
FH_MUST_USE fh_status fh_plan_print_op(const fh_plan *p, uint32_t op, fh_buf *out);

#endif
