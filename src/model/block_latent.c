/* model/block_latent.c - latent attention (MLA), absorbed: one cached row per token serves every head.
 * SPDX-License-Identifier: Apache-2.0
 * A row is [latent | rotated key part]. Each head's unrotated query goes through its key matrix into the latent space,
 * scores run over the whole row, and the mixed latents go through its value matrix. Files hold those matrices fused
 * (kv_b: for every head k rows, then v rows, over the latent) or apart (k_b already turned round). */
#include "model/compile.h"

static fh_view query(fh_compile *c, fh_view x) {
    uint32_t n = c->layer->n_head * c->layer->k_width;
    if (!fh_has(c, FH_SLOT_LATENT_Q_A)) return fh_emit_matmul(c, FH_SLOT_ATTN_Q, FH_SLOT_ATTN_Q_BIAS, x, n);
    fh_view a = fh_emit_matmul(c, FH_SLOT_LATENT_Q_A, FH_SLOT_COUNT, x, c->spec->q_rank);
    a = fh_emit_norm(c, FH_SLOT_LATENT_Q_A_NORM, FH_SLOT_COUNT, a);
    return fh_emit_matmul(c, FH_SLOT_LATENT_Q_B, FH_SLOT_COUNT, a, n);
}

static void by_head(fh_compile *c, fh_view in, fh_view out, uint32_t matrix) {
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_MATMUL_HEADS, c->il);
    if (!op) return;
    op->in[0] = in;
    op->out[0] = out;
    op->matrix = matrix;
}

static uint32_t key_matrices(fh_compile *c, uint32_t nope) {
    const fh_layer *l = c->layer;
    uint32_t rank = c->spec->kv_rank, rows = nope + l->v_width;
    if (fh_has(c, FH_SLOT_LATENT_K_B))
        return fh_bind_matrix(c->bind, c->stack, FH_SLOT_LATENT_K_B, c->il, rank, nope, l->n_head, false);
    fh_piece p = {.whole_rows = (uint64_t)l->n_head * rows, .first = 0, .stride = rows, .transposed = true};
    return fh_bind_piece(c->bind, c->stack, FH_SLOT_LATENT_KV_B, c->il, rank, nope, l->n_head, &p);
}

static uint32_t value_matrices(fh_compile *c, uint32_t nope) {
    const fh_layer *l = c->layer;
    uint32_t rank = c->spec->kv_rank, rows = nope + l->v_width;
    if (fh_has(c, FH_SLOT_LATENT_V_B))
        return fh_bind_matrix(c->bind, c->stack, FH_SLOT_LATENT_V_B, c->il, l->v_width, rank, l->n_head, false);
    fh_piece p = {.whole_rows = (uint64_t)l->n_head * rows, .first = nope, .stride = rows};
    return fh_bind_piece(c->bind, c->stack, FH_SLOT_LATENT_KV_B, c->il, l->v_width, rank, l->n_head, &p);
}

/* Queries as rows of the cache see them: [absorbed | rotated] per head. */
static fh_view absorb(fh_compile *c, fh_view q, uint32_t nope, uint32_t turning) {
    const fh_layer *l = c->layer;
    uint32_t rank = c->spec->kv_rank, row = rank + turning;
    fh_view all = fh_view_heads(fh_emit_value(c, 1, l->n_head * row, "attn.absorbed"), l->n_head, row, row);
    by_head(c, fh_view_cols(q, 0, nope), fh_view_cols(all, 0, rank), key_matrices(c, nope));
    if (!turning) return all;
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_MAP, c->il);
    if (!op) return all;
    op->in[0] = fh_view_cols(q, nope, turning);
    op->out[0] = fh_view_cols(all, rank, turning);
    op->u.map = (fh_map_args){.kind = FH_MAP_NONE};
    return all;
}

fh_view fh_block_latent(fh_compile *c, fh_view x) {
    const fh_layer *l = c->layer;
    uint32_t rank = c->spec->kv_rank, turning = c->spec->rope_width, nope = l->k_width - turning;
    fh_view q = fh_view_heads(query(c, x), l->n_head, l->k_width, l->k_width);
    fh_view row = fh_emit_matmul(c, FH_SLOT_LATENT_KV_A, FH_SLOT_COUNT, x, rank + turning);
    fh_emit_head_norm(c, FH_SLOT_LATENT_KV_A_NORM, fh_view_cols(row, 0, rank));
    if (turning) {
        fh_emit_rope(c, fh_view_cols(q, nope, turning), l->rope);
        fh_emit_rope(c, fh_view_cols(row, rank, turning), l->rope);
    }
    fh_state latent = {
        .kind = FH_STATE_LATENT, .layer = (uint32_t)c->il, .heads = 1, .k_width = rank + turning, .v_width = rank};
    uint32_t state = fh_bind_state(c->bind, latent, 0, false, "latent");
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_STORE, c->il);
    if (op) {
        op->in[0] = row;
        op->state = state;
    }
    fh_view absorbed = absorb(c, q, nope, turning);
    fh_view mixed = fh_emit_value(c, 1, l->n_head * rank, "attn.mixed");
    mixed = fh_view_heads(mixed, l->n_head, rank, rank);
    op = fh_plan_add_op(c->plan, FH_OP_ATTEND, c->il);
    if (op) {
        op->in[0] = absorbed;
        op->out[0] = mixed;
        op->state = state;
        op->u.attend = (fh_attend_args){.mask = l->mask, .window = l->window, .scale = l->score_scale};
    }
    fh_view y = fh_emit_value(c, 1, l->n_head * l->v_width, "attn.values");
    by_head(c, mixed, fh_view_heads(y, l->n_head, l->v_width, l->v_width), value_matrices(c, nope));
    return fh_emit_matmul(c, FH_SLOT_ATTN_O, FH_SLOT_ATTN_O_BIAS, y, c->spec->n_embd);
}
