/* model/compile.c - from a spec and bound tensors to plans: the residual stream, layer by layer.
 * SPDX-License-Identifier: Apache-2.0
 * One driver for decoders, encoders and both together. Which norms stand where follows from the tensors: before a
 * block (attn_norm), on its output (attn_post_norm), on the sum (attn_sum_norm). */
#include "model/compile.h"

#include <stdio.h>

#include "model/model.h"
#include "model/rope.h"

/* ---- emitters ---- */

bool fh_has(const fh_compile *c, fh_slot slot) { return fh_bind_has(c->bind, c->stack, slot, c->il); }

static void named(const fh_compile *c, const char *name, char *text, size_t size) {
    const char *of = c->stack == FH_STACK_ENCODER ? "encoder." : "";
    if (c->il >= 0) snprintf(text, size, "%slayers.%d.%s", of, (int)c->il, name);
    else snprintf(text, size, "%s%s", of, name);
}

fh_view fh_emit_value(fh_compile *c, uint32_t per, uint32_t width, const char *name) {
    char text[128];
    named(c, name, text, sizeof text);
    return fh_plan_value(c->plan, c->dim, per, width, "%s", text);
}

static uint32_t vector(fh_compile *c, fh_slot slot, uint64_t n, fh_vector_form form) {
    return slot == FH_SLOT_COUNT ? FH_NO_ID : fh_bind_vector(c->bind, c->stack, slot, c->il, n, form, true);
}

static fh_view value_of_slot(fh_compile *c, uint32_t width, fh_slot slot) {
    const char *name = fh_bind_name(c->bind, c->stack, slot, c->il).ptr;
    return fh_plan_value(c->plan, c->dim, 1, width, "%s", name ? name : "");
}

static fh_view product(fh_compile *c, fh_slot slot, fh_slot bias, fh_view x, uint32_t out, uint32_t turn) {
    fh_view y = value_of_slot(c, out, slot);
    uint32_t in = x.heads * x.width;
    uint32_t m = fh_bind_matrix(c->bind, c->stack, slot, c->il, out, in, 1, false);
    uint32_t b = vector(c, bias, out, FH_VECTOR_PLAIN);
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_MATMUL, c->il);
    if (!op) return y;
    op->in[0] = x;
    op->out[0] = y;
    op->matrix = m;
    op->vec[0] = b;
    op->u.matmul.turn = turn;
    return y;
}

fh_view fh_emit_matmul(fh_compile *c, fh_slot slot, fh_slot bias, fh_view x, uint32_t out) {
    return product(c, slot, bias, x, out, 0);
}

fh_view fh_emit_turned(fh_compile *c, fh_slot slot, fh_view heads, uint32_t out, uint32_t turn) {
    return product(c, slot, FH_SLOT_COUNT, heads, out, turn);
}

static fh_vector_form norm_form(const fh_compile *c) {
    return c->spec->norm_plus_one ? FH_VECTOR_PLUS_ONE : FH_VECTOR_PLAIN;
}

fh_view fh_emit_norm(fh_compile *c, fh_slot weight, fh_slot bias, fh_view x) {
    if (!fh_has(c, weight)) return x;
    fh_view y = value_of_slot(c, x.width, weight);
    uint32_t w = vector(c, weight, x.width, norm_form(c)), b = vector(c, bias, x.width, FH_VECTOR_PLAIN);
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_NORM, c->il);
    if (!op) return y;
    op->in[0] = x;
    op->out[0] = y;
    op->vec[0] = w;
    op->vec[1] = b;
    op->u.norm = (fh_norm_args){.kind = c->spec->norm, .eps = c->spec->norm_eps};
    return y;
}

void fh_emit_head_norm(fh_compile *c, fh_slot weight, fh_view heads) {
    uint64_t n = fh_bind_count(c->bind, c->stack, weight, c->il);
    if (!n) return;
    if (n == (uint64_t)heads.heads * heads.width && heads.stride == heads.width) { /* all heads as one row */
        heads.width *= heads.heads;
        heads.stride = heads.width;
        heads.heads = 1;
    }
    uint32_t w = vector(c, weight, heads.width, norm_form(c));
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_NORM, c->il);
    if (!op) return;
    op->in[0] = op->out[0] = heads;
    op->vec[0] = w;
    op->u.norm = (fh_norm_args){.kind = FH_NORM_RMS, .eps = c->spec->norm_eps};
}

void fh_emit_rope(fh_compile *c, fh_view heads, uint32_t rope) {
    if (rope == FH_NO_ID) return;
    if (c->rope[rope] == FH_NO_ID) {
        fh_rope r;
        fh_status s = fh_rope_make(&c->spec->rope[rope], c->spec->rope_layout, c->bind->arena, &r, c->bind->err);
        if (s != FH_OK && c->bind->status == FH_OK) c->bind->status = s;
        if (s != FH_OK) return;
        c->rope[rope] = fh_plan_add_rope(c->plan, &r);
    }
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_ROPE, c->il);
    if (!op) return;
    op->in[0] = op->out[0] = fh_view_cols(heads, 0, c->spec->rope[rope].n_rot);
    op->u.rope = (fh_rope_args){.rope = c->rope[rope]};
}

fh_view fh_emit_add(fh_compile *c, fh_view a, fh_view b, const char *name) {
    fh_view y = fh_emit_value(c, 1, a.width, name);
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_ADD, c->il);
    if (!op) return y;
    op->in[0] = a;
    op->in[1] = b;
    op->out[0] = y;
    op->u.add = (fh_add_args){.scale = 1};
    return y;
}

void fh_emit_map(fh_compile *c, fh_view x, fh_map_kind kind, float k) {
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_MAP, c->il);
    if (!op) return;
    op->in[0] = op->out[0] = x;
    op->u.map = (fh_map_args){.kind = kind, .c = k};
}

fh_view fh_emit_glu(fh_compile *c, fh_view gate, fh_view up, fh_map_kind kind, const char *name) {
    fh_view y = name ? fh_emit_value(c, 1, up.heads * up.width, name) : up;
    if (name && up.heads > 1) y = fh_view_heads(y, up.heads, up.width, up.width);
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_GLU, c->il);
    if (!op) return y;
    op->in[0] = gate;
    op->in[1] = up;
    op->out[0] = y;
    op->u.map = (fh_map_args){.kind = kind, .c = c->spec->act_limit};
    return y;
}

/* ---- the stream ---- */

static fh_view embed(fh_compile *c, fh_slot slot, fh_embed_args args, fh_view onto) {
    uint32_t rows = (uint32_t)fh_bind_rows(c->bind, c->stack, slot, -1);
    fh_view y = onto.value == FH_NO_VALUE ? fh_emit_value(c, 1, c->spec->n_embd, "embedded") : onto;
    uint32_t m = fh_bind_matrix(c->bind, c->stack, slot, -1, rows, c->spec->n_embd, 1, false);
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_EMBED, -1);
    if (!op) return y;
    op->out[0] = y;
    op->matrix = m;
    op->u.embed = args;
    return y;
}

static fh_view enter(fh_compile *c) {
    const fh_spec *s = c->spec;
    fh_view none = {.value = FH_NO_VALUE};
    fh_stack stack = c->stack;
    c->il = -1;
    c->stack = FH_STACK_MAIN; /* one table of tokens serves both stacks */
    fh_view x = embed(c, FH_SLOT_TOKENS, (fh_embed_args){.from = FH_EMBED_TOKEN, .scale = s->embed_scale}, none);
    c->stack = stack;
    if (fh_has(c, FH_SLOT_POSITIONS))
        x = embed(c, FH_SLOT_POSITIONS,
                  (fh_embed_args){.from = FH_EMBED_POSITION, .offset = s->position_offset, .scale = 1, .add = true}, x);
    if (fh_has(c, FH_SLOT_TOKEN_TYPES))
        x = embed(c, FH_SLOT_TOKEN_TYPES, (fh_embed_args){.from = FH_EMBED_ROW_0, .scale = 1, .add = true}, x);
    return fh_emit_norm(c, FH_SLOT_TOKENS_NORM, FH_SLOT_TOKENS_NORM_BIAS, x);
}

static fh_view mix(fh_compile *c, fh_view x) {
    switch (c->layer->mixer) {
    case FH_MIXER_ATTENTION: return fh_block_attention(c, x);
    case FH_MIXER_LATENT: return fh_block_latent(c, x);
    case FH_MIXER_DELTA: return fh_block_delta(c, x);
    }
    return x;
}

static fh_view layer(fh_compile *c, fh_view x) {
    fh_view h = mix(c, fh_emit_norm(c, FH_SLOT_ATTN_NORM, FH_SLOT_ATTN_NORM_BIAS, x));
    h = fh_emit_norm(c, FH_SLOT_ATTN_POST_NORM, FH_SLOT_COUNT, h);
    x = fh_emit_add(c, x, h, "attn.sum");
    x = fh_emit_norm(c, FH_SLOT_ATTN_SUM_NORM, FH_SLOT_ATTN_SUM_NORM_BIAS, x);
    if (fh_has(c, FH_SLOT_CROSS_Q)) {
        h = fh_block_cross(c, fh_emit_norm(c, FH_SLOT_CROSS_NORM, FH_SLOT_COUNT, x));
        x = fh_emit_add(c, x, h, "cross.sum");
    }
    h = fh_emit_norm(c, FH_SLOT_FFN_NORM, FH_SLOT_FFN_NORM_BIAS, x);
    h = c->layer->moe ? fh_block_moe(c, h) : fh_block_ffn(c, h);
    h = fh_emit_norm(c, FH_SLOT_FFN_POST_NORM, FH_SLOT_COUNT, h);
    x = fh_emit_add(c, x, h, "sum");
    return fh_emit_norm(c, FH_SLOT_FFN_SUM_NORM, FH_SLOT_FFN_SUM_NORM_BIAS, x);
}

static fh_view stack(fh_compile *c, const fh_layer *layers, uint32_t n) {
    fh_view x = enter(c);
    for (uint32_t i = 0; i < n && c->bind->status == FH_OK; i++) {
        c->il = (int32_t)i;
        c->layer = &layers[i];
        x = layer(c, x);
    }
    c->il = -1;
    c->layer = NULL;
    return fh_emit_norm(c, FH_SLOT_OUT_NORM, FH_SLOT_OUT_NORM_BIAS, x);
}

/* ---- ends ---- */

static fh_view asked_rows(fh_compile *c, fh_view x) {
    c->dim = FH_DIM_ROWS;
    fh_view y = fh_emit_value(c, 1, x.width, "rows");
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_ROWS, -1);
    if (!op) return y;
    op->in[0] = x;
    op->out[0] = y;
    return y;
}

static void head(fh_compile *c, fh_view hidden) {
    const fh_spec *s = c->spec;
    bool own = fh_has(c, FH_SLOT_HEAD) && !s->tied;
    fh_slot slot = own ? FH_SLOT_HEAD : FH_SLOT_TOKENS;
    uint32_t n = (uint32_t)fh_bind_rows(c->bind, c->stack, slot, -1);
    fh_view y = fh_emit_value(c, 1, n, "logits");
    uint32_t m = fh_bind_matrix(c->bind, c->stack, slot, -1, n, s->n_embd, 1, false);
    uint32_t b = vector(c, FH_SLOT_HEAD_BIAS, n, FH_VECTOR_PLAIN);
    fh_op *op = fh_plan_add_op(c->plan, FH_OP_MATMUL, -1);
    if (!op) return;
    op->in[0] = hidden;
    op->out[0] = y;
    op->matrix = m;
    op->vec[0] = b;
    if (s->logit_scale != 1) fh_emit_map(c, y, FH_MAP_SCALE, s->logit_scale);
    if (s->final_softcap > 0) fh_emit_map(c, y, FH_MAP_SOFTCAP, s->final_softcap);
    fh_plan_export(c->plan, FH_EXPORT_LOGITS, y);
}

/* A classifier over one row: dense, tanh, out. */
static void score(fh_compile *c, fh_view hidden) {
    fh_view x = hidden;
    if (fh_has(c, FH_SLOT_SCORE_DENSE)) {
        x = fh_emit_matmul(c, FH_SLOT_SCORE_DENSE, FH_SLOT_SCORE_DENSE_BIAS, x, c->spec->n_embd);
        fh_emit_map(c, x, FH_MAP_TANH, 0);
    }
    uint32_t n = (uint32_t)fh_bind_rows(c->bind, c->stack, FH_SLOT_SCORE_OUT, -1);
    fh_plan_export(c->plan, FH_EXPORT_SCORE, fh_emit_matmul(c, FH_SLOT_SCORE_OUT, FH_SLOT_SCORE_OUT_BIAS, x, n));
}

static void start(fh_compile *c, fh_binder *b, fh_plan_builder *plan, fh_stack of) {
    *c = (fh_compile){.bind = b, .spec = b->spec, .plan = plan, .stack = of, .dim = FH_DIM_TOKENS, .il = -1};
    for (size_t i = 0; i < FH_COUNT(c->rope); i++) c->rope[i] = FH_NO_ID;
}

static void compile_step(fh_binder *b, fh_plan_builder *plan) {
    fh_compile c;
    start(&c, b, plan, FH_STACK_MAIN);
    fh_view x = asked_rows(&c, stack(&c, b->spec->layer, b->spec->n_layer));
    fh_plan_export(plan, FH_EXPORT_HIDDEN, x);
    if (fh_has(&c, FH_SLOT_SCORE_OUT)) score(&c, x);
    if (b->spec->topology != FH_TOPOLOGY_ENCODER) head(&c, x);
}

/* The encoder, and what every decoder layer will want of it. */
static void compile_encode(fh_binder *b, fh_plan_builder *plan) {
    fh_compile c;
    start(&c, b, plan, FH_STACK_ENCODER);
    fh_view x = stack(&c, b->spec->encoder, b->spec->n_encoder_layer);
    start(&c, b, plan, FH_STACK_MAIN);
    for (uint32_t i = 0; i < b->spec->n_layer; i++) {
        c.il = (int32_t)i;
        c.layer = &b->spec->layer[i];
        fh_block_cross_store(&c, x);
    }
    c.il = -1;
    c.stack = FH_STACK_ENCODER;
    fh_plan_export(plan, FH_EXPORT_HIDDEN, asked_rows(&c, x));
}

static bool looks_ahead(const fh_layer *l, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (l[i].mask == FH_MASK_NONE || l[i].mask == FH_MASK_SYMMETRIC) return true;
    return false;
}

fh_status fh_compile_model(fh_binder *b, fh_plan *plans, bool *have, fh_err *err) {
    fh_plan_builder *build[FH_PLAN_COUNT] = {0};
    static const char *const names[FH_PLAN_COUNT] = {"step", "encode"};
    fh_status s = FH_OK;
    have[FH_PLAN_STEP] = true;
    have[FH_PLAN_ENCODE] = b->spec->topology == FH_TOPOLOGY_ENCODER_DECODER;
    for (int k = FH_PLAN_COUNT - 1; s == FH_OK && k >= 0; k--) { /* encode first: it declares the CROSS states */
        if (!have[k]) continue;
        s = fh_plan_begin(&build[k], b->arena, fh_str_of(names[k]), err);
        if (s == FH_OK && k == FH_PLAN_STEP) compile_step(b, build[k]);
        if (s == FH_OK && k == FH_PLAN_ENCODE) compile_encode(b, build[k]);
        if (s == FH_OK) s = b->status;
    }
    fh_plan tables = {.matrix = b->matrix,
                      .vector = b->vector,
                      .state = b->state,
                      .group = b->group,
                      .n_matrix = b->n_matrix,
                      .n_vector = b->n_vector,
                      .n_state = b->n_state,
                      .n_group = b->n_group};
    for (int k = 0; s == FH_OK && k < FH_PLAN_COUNT; k++) {
        if (!have[k]) continue;
        tables.whole_sequences = k == FH_PLAN_ENCODE ? looks_ahead(b->spec->encoder, b->spec->n_encoder_layer)
                                                     : looks_ahead(b->spec->layer, b->spec->n_layer);
        s = fh_plan_end(build[k], &tables, &plans[k], err);
    }
    for (int k = 0; k < FH_PLAN_COUNT; k++) fh_plan_drop(build[k]);
    return s;
}
