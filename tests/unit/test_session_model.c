/* tests/unit/test_session_model.c - the tiny models of the session tests.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "test.h"
#include "unit/test_session_part.h"

#define EMBD 32u
#define HEADS 2u
#define WIDTH 16u
#define MOST 256u

struct tiny {
    tiny_options o;
    fh_arena arena;
    fh_rng rng;
    fh_matrix matrix[MOST];
    fh_vector vector[MOST];
    fh_state state[32];
    fh_state_group group[FH_MAX_GROUPS];
    uint32_t n_matrix, n_vector, n_state, n_group;
    fh_plan step, encode;
    fh_plan_builder *b;
    uint32_t tokens; /* the table of both stacks */
    fh_rope rope;
    uint32_t rope_id;
    int32_t layer;
    bool encoding, whole;
};

static void *need(void *p) {
    CHECK(p != NULL);
    return p;
}

static float *random_floats(tiny *t, size_t n, float scale) {
    float *v = need(fh_arena_alloc(&t->arena, n, sizeof *v));
    for (size_t i = 0; i < n; i++) v[i] = ((float)(fh_rng_u32(&t->rng) >> 8) / 8388608.0f - 1.0f) * scale;
    return v;
}

static uint32_t add_matrix(tiny *t, uint32_t out, uint32_t in) {
    fh_weight *w = need(fh_arena_alloc(&t->arena, 1, sizeof *w));
    fh_tensor *x = need(fh_arena_alloc(&t->arena, 1, sizeof *x));
    const fh_weight **list = need(fh_arena_alloc(&t->arena, 1, sizeof *list));
    float *v = random_floats(t, (size_t)out * in, 1.7f / sqrtf((float)in));
    *x = (fh_tensor){.name = FH_STR("w"),
                     .dtype = FH_DTYPE_F32,
                     .shape = {.n_dim = 2, .dim = {out, in}},
                     .data = {(const uint8_t *)v, (size_t)out * in * sizeof *v}};
    *w = (fh_weight){.name = FH_STR("w"), .shape = x->shape, .codes = x, .layout = ""};
    *list = w;
    CHECK(t->n_matrix < MOST);
    t->matrix[t->n_matrix] = (fh_matrix){
        .name = FH_STR("w"), .weight = list, .n_weight = 1, .n_mat = 1, .out = out, .in = in, .stride = out, .step = 1};
    return t->n_matrix++;
}

static uint32_t add_vector(tiny *t, uint32_t n, float scale) {
    CHECK(t->n_vector < MOST);
    t->vector[t->n_vector] = (fh_vector){.name = FH_STR("v"), .v = random_floats(t, n, scale), .n = n};
    return t->n_vector++;
}

static uint32_t add_state(tiny *t, fh_state s, uint32_t window) {
    uint32_t g = 0;
    bool of_encoder = t->encoding || s.kind == FH_STATE_CROSS;
    while (g < t->n_group &&
           (t->group[g].kind != s.kind || t->group[g].window != window || t->group[g].of_encoder != of_encoder))
        g++;
    CHECK(g < FH_MAX_GROUPS && t->n_state < 32);
    if (g == t->n_group) t->group[t->n_group++] = (fh_state_group){s.kind, window, of_encoder};
    s.name = FH_STR("state");
    s.layer = (uint32_t)t->layer;
    s.group = g;
    t->state[t->n_state] = s;
    return t->n_state++;
}

static fh_op *op(tiny *t, fh_op_kind kind) { return need(fh_plan_add_op(t->b, kind, t->layer)); }

static fh_view value(tiny *t, uint32_t width) {
    static unsigned n;
    return fh_plan_value(t->b, FH_DIM_TOKENS, 1, width, "v%u", n++);
}

static void multiply(tiny *t, fh_view x, fh_view y) {
    uint32_t m = add_matrix(t, y.width, x.width * x.heads);
    fh_op *o = op(t, FH_OP_MATMUL);
    o->in[0] = x;
    o->out[0] = y;
    o->matrix = m;
}

static fh_view product(tiny *t, fh_view x, uint32_t out) {
    fh_view y = value(t, out);
    multiply(t, x, y);
    return y;
}

static fh_view norm(tiny *t, fh_view x, fh_view y, fh_norm_kind kind) {
    fh_op *o = op(t, FH_OP_NORM);
    o->in[0] = x;
    o->out[0] = y;
    o->u.norm = (fh_norm_args){.kind = kind, .eps = 1e-6f};
    return y;
}

static void map(tiny *t, fh_view x, fh_map_kind kind) {
    fh_op *o = op(t, FH_OP_MAP);
    o->in[0] = o->out[0] = x;
    o->u.map.kind = kind;
}

static fh_view add(tiny *t, fh_view a, fh_view b) {
    fh_view y = value(t, a.width);
    fh_op *o = op(t, FH_OP_ADD);
    o->in[0] = a;
    o->in[1] = b;
    o->out[0] = y;
    o->u.add.scale = 1;
    return y;
}

static void rotate(tiny *t, fh_view x) {
    fh_op *o = op(t, FH_OP_ROPE);
    o->in[0] = o->out[0] = fh_view_cols(x, 0, WIDTH);
    o->u.rope.rope = t->rope_id;
}

static fh_view attention(tiny *t, fh_view x, char kind) {
    bool latent = kind == 'L', cross = kind == 'X';
    uint32_t kw = latent ? WIDTH + 8 : WIDTH;
    fh_view q = fh_view_heads(product(t, x, HEADS * kw), HEADS, kw, kw);
    uint32_t s = 0;
    if (cross) {
        while (t->state[s].kind != FH_STATE_CROSS) s++;
    } else {
        s = add_state(
            t, (fh_state){.kind = latent ? FH_STATE_LATENT : FH_STATE_KV, .heads = 1, .k_width = kw, .v_width = WIDTH},
            kind == 'S' ? t->o.window : 0);
        fh_view k = product(t, x, kw), v = latent ? (fh_view){.value = FH_NO_VALUE} : product(t, x, WIDTH);
        rotate(t, q);
        rotate(t, k);
        fh_op *o = op(t, FH_OP_STORE);
        o->in[0] = k;
        o->in[1] = v;
        o->state = s;
    }
    fh_view y = value(t, HEADS * WIDTH);
    fh_op *o = op(t, FH_OP_ATTEND);
    o->in[0] = q;
    o->out[0] = fh_view_heads(y, HEADS, WIDTH, WIDTH);
    o->state = s;
    o->u.attend = (fh_attend_args){.mask = kind == 'S'            ? FH_MASK_SLIDING
                                           : kind == 'N' || cross ? FH_MASK_NONE
                                                                  : FH_MASK_CAUSAL,
                                   .window = kind == 'S' ? t->o.window : 0,
                                   .scale = 0.25f};
    return product(t, y, EMBD);
}

static fh_view recurrent(tiny *t, fh_view x) {
    uint32_t kw = 8, nv = 2 * WIDTH / 2, channels = 2 * kw + nv;
    fh_view in = product(t, x, channels), all = value(t, channels);
    uint32_t conv = add_state(t, (fh_state){.kind = FH_STATE_RECURRENT, .size = 3 * channels}, 0);
    uint32_t memory = add_state(t, (fh_state){.kind = FH_STATE_RECURRENT, .size = kw * nv}, 0);
    uint32_t kernel = add_vector(t, channels * 4, 0.7f);
    fh_op *o = op(t, FH_OP_CONV);
    o->in[0] = in;
    o->out[0] = all;
    o->vec[0] = kernel;
    o->state = conv;
    o->u.conv = (fh_conv_args){.taps = 4, .map = FH_MAP_SILU};
    fh_view q = fh_view_cols(all, 0, kw), k = fh_view_cols(all, kw, kw);
    fh_view v = fh_view_heads(fh_view_cols(all, 2 * kw, nv), 2, nv / 2, nv / 2);
    norm(t, q, q, FH_NORM_L2);
    norm(t, k, k, FH_NORM_L2);
    fh_view a = product(t, x, 2), g = value(t, 2), beta = product(t, x, 2), y = value(t, nv);
    uint32_t rate = add_vector(t, 2, 0.5f), dt = add_vector(t, 2, 0.5f);
    float *r = need(fh_arena_alloc(&t->arena, 2, sizeof *r));
    r[0] = -0.1f, r[1] = -0.3f;
    t->vector[rate].v = r;
    o = op(t, FH_OP_DECAY);
    o->in[0] = a;
    o->out[0] = g;
    o->vec[0] = rate;
    o->vec[1] = dt;
    map(t, beta, FH_MAP_SIGMOID);
    o = op(t, FH_OP_DELTA);
    o->in[0] = fh_view_heads(q, 1, kw, kw);
    o->in[1] = fh_view_heads(k, 1, kw, kw);
    o->in[2] = v;
    o->in[3] = fh_view_heads(g, 2, 1, 1);
    o->in[4] = fh_view_heads(beta, 2, 1, 1);
    o->out[0] = fh_view_heads(y, 2, nv / 2, nv / 2);
    o->state = memory;
    return product(t, y, EMBD);
}

static fh_view stack(tiny *t, const char *layers) {
    fh_view x = value(t, EMBD);
    fh_op *o = op(t, FH_OP_EMBED);
    o->out[0] = x;
    o->matrix = t->tokens;
    o->u.embed.scale = 1;
    t->rope_id = fh_plan_add_rope(t->b, &t->rope);
    for (t->layer = 0; layers[t->layer]; t->layer++) {
        char kind = layers[t->layer];
        t->whole = t->whole || kind == 'N';
        fh_view h = norm(t, x, value(t, EMBD), FH_NORM_RMS);
        x = add(t, x, kind == 'R' ? recurrent(t, h) : attention(t, h, kind));
        h = product(t, norm(t, x, value(t, EMBD), FH_NORM_RMS), 2 * EMBD);
        map(t, h, FH_MAP_SILU);
        x = add(t, x, product(t, h, EMBD));
    }
    t->layer = -1;
    return norm(t, x, value(t, EMBD), FH_NORM_RMS);
}

static void make_encode(tiny *t) {
    t->encoding = true;
    fh_view x = stack(t, t->o.encoder), k = product(t, x, WIDTH), v = product(t, x, WIDTH);
    uint32_t s = add_state(t, (fh_state){.kind = FH_STATE_CROSS, .heads = 1, .k_width = WIDTH, .v_width = WIDTH}, 0);
    fh_op *o = op(t, FH_OP_STORE);
    o->in[0] = k;
    o->in[1] = v;
    o->state = s;
    t->encoding = false;
}

static void make_step(tiny *t) {
    fh_view x = stack(t, t->o.layers);
    fh_view rows = fh_plan_value(t->b, FH_DIM_ROWS, 1, EMBD, "rows");
    fh_op *o = op(t, FH_OP_ROWS);
    o->in[0] = x;
    o->out[0] = rows;
    fh_plan_export(t->b, FH_EXPORT_HIDDEN, rows);
    fh_view y = fh_plan_value(t->b, FH_DIM_ROWS, 1, TINY_VOCAB, "logits");
    multiply(t, rows, y);
    fh_plan_export(t->b, FH_EXPORT_LOGITS, y);
}

static void finish(tiny *t, fh_plan *plan, bool whole) {
    fh_err err = {0};
    fh_plan tables = {.matrix = t->matrix,
                      .vector = t->vector,
                      .state = t->state,
                      .group = t->group,
                      .n_matrix = t->n_matrix,
                      .n_vector = t->n_vector,
                      .n_state = t->n_state,
                      .n_group = t->n_group,
                      .whole_sequences = whole};
    CHECK_OK(fh_plan_end(t->b, &tables, plan, &err), err);
    fh_plan_drop(t->b);
    t->b = NULL;
}

static void make_rope(tiny *t) {
    float *freq = need(fh_arena_alloc(&t->arena, WIDTH / 2, sizeof *freq));
    float *slow = need(fh_arena_alloc(&t->arena, WIDTH / 2, sizeof *slow));
    for (uint32_t i = 0; i < WIDTH / 2; i++) {
        freq[i] = 1.0f / (float)(1u << i);
        slow[i] = freq[i] / 3.0f;
    }
    t->rope = (fh_rope){.layout = FH_ROPE_HALVES, .n_rot = WIDTH, .freq = freq, .magnitude = 1};
    if (!t->o.long_from) return;
    t->rope.long_freq = slow;
    t->rope.long_from = t->o.long_from;
    t->rope.long_magnitude = 1.25f;
}

tiny *tiny_new(const tiny_options *o) {
    fh_err err = {0};
    tiny *t = need(fh_alloc_zero(1, sizeof *t));
    t->o = *o;
    fh_arena_init(&t->arena, 64u << 20);
    fh_rng_init(&t->rng, o->seed, 1);
    make_rope(t);
    t->tokens = add_matrix(t, TINY_VOCAB, EMBD);
    if (o->encoder) {
        CHECK_OK(fh_plan_begin(&t->b, &t->arena, FH_STR("encode"), &err), err);
        make_encode(t);
        fh_plan_builder *b = t->b;
        bool whole = t->whole;
        t->whole = false;
        CHECK_OK(fh_plan_begin(&t->b, &t->arena, FH_STR("step"), &err), err);
        make_step(t);
        finish(t, &t->step, t->whole);
        t->b = b;
        finish(t, &t->encode, whole);
        return t;
    }
    CHECK_OK(fh_plan_begin(&t->b, &t->arena, FH_STR("step"), &err), err);
    make_step(t);
    finish(t, &t->step, t->whole);
    return t;
}

void tiny_free(tiny *t) {
    fh_arena_release(&t->arena);
    fh_free(t);
}

fh_engine_source tiny_source(const tiny *t) {
    return (fh_engine_source){
        .step = &t->step, .encode = t->o.encoder ? &t->encode : NULL, .n_context = t->o.context, .n_vocab = TINY_VOCAB};
}

fh_engine *tiny_engine(const tiny *t, const fh_engine_options *o) {
    fh_err err = {0};
    fh_engine *e = NULL;
    fh_engine_source src = tiny_source(t);
    CHECK_OK(fh_engine_new_from(&e, &src, o, &err), err);
    return e;
}

/* ---- rows ---- */
void tiny_rows_release(tiny_rows *r) {
    fh_free(r->at);
    *r = (tiny_rows){0};
}

fh_status tiny_keep_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    tiny_rows *r = ctx;
    r->width = r->width ? r->width : TINY_VOCAB;
    if (r->n == r->cap) {
        uint32_t cap = r->cap ? r->cap * 2 : 64;
        float *wide = fh_realloc(r->at, cap, r->width * sizeof *wide);
        if (!wide) return fh_fail_memory(err, cap);
        r->at = wide;
        r->cap = cap;
    }
    CHECK(r->n < 8192);
    r->work[r->n] = work;
    r->index[r->n] = index;
    memcpy(r->at + (size_t)r->n++ * r->width, row, r->width * sizeof *row);
    return FH_OK;
}

fh_status tiny_append(fh_session *s, const uint32_t *token, uint32_t n, fh_want want, tiny_rows *rows, fh_err *err) {
    fh_work w = {.session = s, .token = token, .n = n, .want = want};
    return fh_engine_step(s->engine, &w, 1, FH_EXPORT_LOGITS, tiny_keep_row, rows, NULL, err);
}

void tiny_fresh(const tiny *t, const uint32_t *input, uint32_t n_input, const uint32_t *token, uint32_t n, float *out) {
    fh_err err = {0};
    fh_engine_options o = {.threads = 1, .batch = 4096, .rows = 1, .exact = true, .no_prefix_cache = true};
    fh_engine *e = tiny_engine(t, &o);
    fh_session *s = NULL;
    tiny_rows rows = {0};
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
    if (n_input) CHECK_OK(fh_session_encode(s, input, n_input, &err), err);
    CHECK_OK(tiny_append(s, token, n, FH_WANT_LAST, &rows, &err), err);
    CHECK_U64(rows.n, 1);
    memcpy(out, rows.at, TINY_VOCAB * sizeof *out);
    tiny_rows_release(&rows);
    fh_session_free(s);
    fh_engine_free(e);
}
